/* Our own files: atomic replacement, blobs and references of the image store. Each is a cell of its
 * own: it holds what was acknowledged last, or anything that was tried since. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/fs.h"
#include "image/repository.h"
#include "subject.h"

enum { FILES = 6, REFS = 4, BLOBS = 8, MAX_TRIED = 12, MAX_BYTES = 3000 };
enum { FIRST_REF = FILES, FIRST_BLOB = FIRST_REF + REFS, CELLS = FIRST_BLOB + BLOBS };
enum { TRIED, ACKED };

struct cell {
    uint64_t acked; /* 0: not there */
    uint64_t tried[MAX_TRIED];
    uint32_t count;
};

struct model {
    struct cell cells[CELLS];
};

struct life {
    struct proof_disk *disk;
    struct proof_rng *rng;
    struct fl_image_store *store;
    uint32_t injected; /* before the present operation */
};

static void init(FL_UNUSED void *model)
{
}

static void apply(void *context, const struct proof_mark *mark)
{
    struct model *model = context;
    struct cell *cell = &model->cells[mark->index];
    if (mark->kind == ACKED) {
        cell->acked = mark->value;
        cell->count = 0;
        return;
    }
    FL_ASSERT(cell->count < MAX_TRIED);
    cell->tried[cell->count++] = mark->value;
}

static bool may_hold(const struct cell *cell, uint64_t value)
{
    bool may = cell->acked == value;
    for (uint32_t i = 0; i < cell->count; i++)
        may |= cell->tried[i] == value;
    return may;
}

/* The bytes of blob number i: always the same, of different lengths. */
static struct fl_str blob_bytes(uint32_t number, char *bytes)
{
    struct proof_rng rng = {number * 77 + 5};
    size_t n = proof_below(&rng, MAX_BYTES);
    for (size_t i = 0; i < n; i++)
        bytes[i] = (char)proof_random(&rng);
    return (struct fl_str){bytes, n};
}

static const struct fl_digest *digest_of(uint32_t number)
{
    static struct fl_digest digests[BLOBS];
    static bool made;
    char bytes[MAX_BYTES];
    for (uint32_t i = 0; !made && i < BLOBS; i++)
        digests[i] = fl_digest_of(blob_bytes(i, bytes));
    made = true;
    return &digests[number];
}

static const char *file_path(const char *root, uint32_t number)
{
    static char path[128];
    (void)snprintf(path, sizeof(path), "%s/conf/%c/file-%u", root, number % 2 ? 'a' : 'b', number);
    return path;
}

static const char *store_path(const char *root)
{
    static char path[128];
    (void)snprintf(path, sizeof(path), "%s/images", root);
    return path;
}

static struct fl_ref ref_of(uint32_t number)
{
    static const char *const repositories[] = {"web/app", "db"};
    static const char *const tags[] = {"latest", "v1"};
    return (struct fl_ref){.repository = fl_str_of(repositories[number % 2]),
                           .tag = fl_str_of(tags[number / 2]),
                           .media_type = FL_STR("application/vnd.oci.image.manifest.v1+json")};
}

/* What is read. */

static uint64_t read_file(const char *root, uint32_t number)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(1 << 20);
    if (fl_fs_read(AT_FDCWD, file_path(root, number), 1 << 20, &buf) < 0)
        return 0;
    struct fl_str text = fl_buf_str(&buf);
    return proof_hash(text.p, text.n);
}

/* The number of the blob it leads to + 1. */
static uint64_t read_ref(const struct fl_image_store *store, uint32_t number)
{
    struct fl_arena *arena = fl_arena_new();
    struct fl_ref ref = ref_of(number);
    uint64_t value = BLOBS + 1;
    int rc = fl_image_store_get_ref(store, ref.repository, ref.tag, arena, &ref);
    for (uint32_t i = 0; rc == 0 && i < BLOBS; i++)
        if (fl_digest_eq(&ref.digest, digest_of(i)))
            value = i + 1;
    fl_arena_free(arena);
    return rc == -ENOENT ? 0 : value;
}

/* 1 when it is there and whole. */
static uint64_t read_blob(const struct fl_image_store *store, uint32_t number)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(1 << 20);
    char bytes[MAX_BYTES];
    if (!fl_image_store_has(store, digest_of(number), NULL))
        return 0;
    int rc = fl_image_store_read_blob(store, digest_of(number), 1 << 20, &buf);
    return rc == 0 && fl_str_eq(fl_buf_str(&buf), blob_bytes(number, bytes)) ? 1 : 2;
}

static uint64_t read_cell(const char *root, const struct fl_image_store *store, uint32_t cell)
{
    return cell < FIRST_REF    ? read_file(root, cell)
           : cell < FIRST_BLOB ? read_ref(store, cell - FIRST_REF)
                               : read_blob(store, cell - FIRST_BLOB);
}

static bool check(const char *root, const void *context, char *why, size_t size)
{
    const struct model *model = context;
    FL_CLEANUP_IMAGE_STORE struct fl_image_store *store = NULL;
    struct fl_err err = {0};
    uint64_t values[CELLS];
    if (fl_image_store_open(fl_str_of(store_path(root)), true, &store, &err) < 0) {
        (void)snprintf(why, size, "the image store does not open: %s", err.text);
        return false;
    }
    for (uint32_t i = 0; i < CELLS; i++) {
        const struct cell *cell = &model->cells[i];
        values[i] = read_cell(root, store, i);
        if (!may_hold(cell, values[i])) {
            (void)snprintf(why, size, "cell %u holds %llx, acknowledged is %llx, %u more tried", i,
                           (unsigned long long)values[i], (unsigned long long)cell->acked,
                           cell->count);
            return false;
        }
    }
    for (uint32_t i = FIRST_REF; i < FIRST_BLOB; i++) {
        if (values[i] && values[FIRST_BLOB + values[i] - 1] != 1) {
            (void)snprintf(why, size, "reference %u leads to blob %u, which is not there",
                           i - FIRST_REF, (unsigned)values[i] - 1);
            return false;
        }
    }
    return true;
}

/* What is done. */

static void mark(int kind, uint32_t cell, uint64_t value)
{
    proof_record_mark(&(struct proof_mark){kind, cell, value});
}

static void finish(struct life *life, int rc, uint32_t cell, uint64_t value, const char *what)
{
    if (rc >= 0)
        mark(ACKED, cell, value);
    else if (life->disk->injected == life->injected)
        proof_violated(life->disk, "%s failed with %s though no call did", what, strerror(-rc));
    else
        life->disk->undone++;
}

static void replace_file(struct life *life, uint32_t number)
{
    char bytes[MAX_BYTES];
    size_t n = proof_below(life->rng, MAX_BYTES);
    for (size_t i = 0; i < n; i++)
        bytes[i] = (char)proof_random(life->rng);
    uint64_t value = proof_hash(bytes, n);
    mark(TRIED, number, value);
    int rc = fl_fs_write_atomic(AT_FDCWD, file_path(life->disk->root, number),
                                (struct fl_str){bytes, n}, 0600);
    finish(life, rc, number, value, "replacing a file");
}

static void put_blob(struct life *life, uint32_t number)
{
    char bytes[MAX_BYTES];
    struct fl_digest digest;
    mark(TRIED, FIRST_BLOB + number, 1);
    int rc = fl_image_store_put(life->store, blob_bytes(number, bytes), &digest, NULL);
    finish(life, rc, FIRST_BLOB + number, 1, "storing a blob");
}

/* Collecting is not promised to last, but must never reach what a reference leads to. */
static void remove_blob(struct life *life, uint32_t number)
{
    const struct model *model = (void *)life->disk->model;
    for (uint32_t i = FIRST_REF; i < FIRST_BLOB; i++)
        if (may_hold(&model->cells[i], number + 1))
            return;
    mark(TRIED, FIRST_BLOB + number, 0);
    (void)fl_image_store_remove_blob(life->store, digest_of(number));
}

static void set_ref(struct life *life, uint32_t number)
{
    const struct model *model = (void *)life->disk->model;
    uint32_t blob = proof_below(life->rng, BLOBS);
    struct fl_ref ref = ref_of(number);
    const struct cell *its = &model->cells[FIRST_BLOB + blob];
    if (its->acked != 1 || may_hold(its, 0))
        return;
    ref.digest = *digest_of(blob);
    ref.size = 100 + blob;
    mark(TRIED, FIRST_REF + number, blob + 1);
    int rc = fl_image_store_set_ref(life->store, &ref, NULL);
    finish(life, rc, FIRST_REF + number, blob + 1, "setting a reference");
}

static void remove_ref(struct life *life, uint32_t number, bool repository)
{
    struct fl_ref ref = ref_of(number);
    uint32_t other = number < 2 ? number + 2 : number - 2;
    if (!fl_image_store_has_repository(life->store, ref.repository) ||
        (!repository && read_ref(life->store, number) == 0))
        return;
    mark(TRIED, FIRST_REF + number, 0);
    if (repository)
        mark(TRIED, FIRST_REF + other, 0);
    int rc = repository ? fl_repository_remove(life->store, ref.repository)
                        : fl_image_store_remove_ref(life->store, ref.repository, ref.tag);
    finish(life, rc, FIRST_REF + number, 0, "removing a reference");
    if (repository && rc == 0)
        mark(ACKED, FIRST_REF + other, 0);
}

static bool has_room(const struct life *life)
{
    const struct model *model = (void *)life->disk->model;
    for (uint32_t i = 0; i < CELLS; i++)
        if (model->cells[i].count + 2 > MAX_TRIED)
            return false;
    return true;
}

/* Who was interrupted tries again. */
static void retry_blobs(struct life *life)
{
    const struct model *model = (void *)life->disk->model;
    life->injected = life->disk->injected;
    for (uint32_t i = 0; i < BLOBS; i++) {
        const struct cell *cell = &model->cells[FIRST_BLOB + i];
        if (cell->count && cell->tried[cell->count - 1] == 1)
            put_blob(life, i);
    }
}

static void work(struct life *life)
{
    uint32_t kind = proof_below(life->rng, 16);
    life->injected = life->disk->injected;
    if (kind < 5)
        replace_file(life, proof_below(life->rng, FILES));
    else if (kind < 9)
        put_blob(life, proof_below(life->rng, BLOBS));
    else if (kind < 10)
        remove_blob(life, proof_below(life->rng, BLOBS));
    else if (kind < 14)
        set_ref(life, proof_below(life->rng, REFS));
    else
        remove_ref(life, proof_below(life->rng, REFS), kind == 15);
}

static int open_life(struct life *life)
{
    static const char *const dirs[] = {"conf/a", "conf/b"};
    struct fl_err err = {0};
    char path[128];
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < FL_ARRAY_SIZE(dirs); i++) {
        (void)snprintf(path, sizeof(path), "%s/%s", life->disk->root, dirs[i]);
        rc = fl_fs_mkdirs_synced(path, 0700);
        if (rc < 0)
            (void)fl_err_errno(&err, rc, "cannot create %s", path);
    }
    if (rc == 0)
        rc = fl_image_store_open(fl_str_of(store_path(life->disk->root)), true, &life->store, &err);
    if (rc < 0)
        (void)fprintf(stderr, "%s\n", err.text);
    return rc < 0 ? PROOF_REFUSED : 0;
}

static int live(struct proof_disk *disk, struct proof_rng *rng)
{
    struct life life = {.disk = disk, .rng = rng};
    uint32_t count = 20 + proof_below(rng, 40);
    int status = open_life(&life);
    if (status == 0 && has_room(&life))
        retry_blobs(&life);
    for (uint32_t i = 0; status == 0 && i < count && has_room(&life); i++) {
        work(&life);
        if (disk->injected > life.injected && has_room(&life))
            retry_blobs(&life);
    }
    fl_image_store_close(life.store);
    return status;
}

const struct proof_subject proof_files = {
    .name = "files",
    .cut_one_in = 8,
    .live = live,
    .init = init,
    .apply = apply,
    .check = check,
};
