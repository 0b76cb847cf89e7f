/* The record store: random batches, some in one transaction, clean closes and reopens. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/store.h"
#include "subject.h"

enum { KEYS = 24, MAX_GROUP = 4, MAX_OPS = 8, MAX_VALUE = 2500 };

/* Hash of each key's value, 0 where there is none. */
struct content {
    uint64_t values[KEYS];
    char last[32];
    bool disorder;
};

struct batch {
    struct fl_store_op ops[MAX_OPS];
    size_t count;
    uint32_t index;
    char keys[MAX_OPS][32];
    char *bytes;
};

struct life {
    struct proof_disk *disk;
    struct proof_rng *rng;
    uv_loop_t loop;
    struct fl_store *store;
    struct content content; /* as after everything submitted */
    uint32_t index;
};

static uint64_t hash_content(const struct content *content)
{
    uint64_t hash = 0x5151;
    for (size_t i = 0; i < KEYS; i++)
        hash = proof_mix(hash, content->values[i]);
    return hash;
}

static int add_record(void *context, struct fl_str key, struct fl_str value)
{
    struct content *content = context;
    char name[32];
    unsigned number = KEYS;
    (void)snprintf(name, sizeof(name), "%.*s", FL_STR_ARG(key));
    content->disorder |= strcmp(content->last, name) >= 0;
    memcpy(content->last, name, sizeof(name));
    if (sscanf(name, "key-%u", &number) != 1 || number >= KEYS || value.n == 0)
        content->disorder = true;
    else
        content->values[number] = proof_hash(value.p, value.n);
    return 0;
}

static void init(void *model)
{
    struct proof_history *history = model;
    history->hashes[0] = hash_content(&(struct content){0});
}

static const char *path_of(const char *root)
{
    static char path[128];
    (void)snprintf(path, sizeof(path), "%s/server.db", root);
    return path;
}

static int read_store(const char *root, uv_loop_t *loop, struct fl_store **ret_store,
                      struct content *content, struct fl_err *err)
{
    int rc = fl_store_open_sqlite(path_of(root), loop, ret_store, err);
    memset(content, 0, sizeof(*content));
    return rc < 0 ? rc : fl_store_load(*ret_store, add_record, content, err);
}

static int open_life(struct life *life)
{
    const struct proof_history *model = (void *)life->disk->model;
    struct fl_err err = {0};
    char why[200];
    int rc = read_store(life->disk->root, &life->loop, &life->store, &life->content, &err);
    if (rc < 0) {
        (void)fprintf(stderr, "%s\n", err.text);
        return PROOF_REFUSED;
    }
    int found = proof_history_find(model, hash_content(&life->content), why, sizeof(why));
    if (found < 0 || life->content.disorder)
        proof_violated(life->disk, "%s", found < 0 ? why : "records out of order");
    if (fl_store_epoch(life->store) <= model->epoch)
        proof_violated(life->disk, "epoch %llu again",
                       (unsigned long long)fl_store_epoch(life->store));
    life->index = (uint32_t)found;
    proof_record_mark(&(struct proof_mark){PROOF_SHOWN, life->index, 0});
    proof_record_mark(&(struct proof_mark){PROOF_EPOCH, 0, fl_store_epoch(life->store)});
    return 0;
}

static void batch_done(void *context)
{
    struct batch *batch = context;
    proof_record_mark(&(struct proof_mark){PROOF_ACKED, batch->index, 0});
    free(batch->bytes);
    free(batch);
}

static void add_op(struct life *life, struct batch *batch, size_t i)
{
    uint32_t key = proof_below(life->rng, KEYS);
    size_t n = proof_below(life->rng, 4) ? 1 + proof_below(life->rng, MAX_VALUE) : 0;
    char *value = batch->bytes + i * (MAX_VALUE + 8);
    for (size_t at = 0; at < n; at += 8) {
        uint64_t word = proof_random(life->rng);
        memcpy(value + at, &word, 8);
    }
    (void)snprintf(batch->keys[i], sizeof(batch->keys[i]), "key-%02u", key);
    batch->ops[i] = (struct fl_store_op){fl_str_of(batch->keys[i]), {value, n}};
    life->content.values[key] = n ? proof_hash(value, n) : 0;
}

static void submit(struct life *life)
{
    struct batch *batch = fl_calloc(1, sizeof(*batch));
    batch->bytes = fl_malloc((size_t)MAX_OPS * (MAX_VALUE + 8));
    batch->count = proof_below(life->rng, MAX_OPS + 1);
    for (size_t i = 0; i < batch->count; i++)
        add_op(life, batch, i);
    batch->index = ++life->index;
    proof_record_mark(
        &(struct proof_mark){PROOF_SUBMITTED, batch->index, hash_content(&life->content)});
    fl_store_commit(life->store, batch->ops, batch->count, batch_done, batch);
}

static void close_life(struct life *life)
{
    fl_store_close(FL_TAKE_PTR(life->store));
    (void)uv_run(&life->loop, UV_RUN_DEFAULT);
}

static int live(struct proof_disk *disk, struct proof_rng *rng)
{
    struct life life = {.disk = disk, .rng = rng};
    uint32_t groups = 4 + proof_below(rng, 12);
    (void)uv_loop_init(&life.loop);
    int status = open_life(&life);
    for (uint32_t i = 0; status == 0 && i < groups; i++) {
        uint32_t size = 1 + proof_below(rng, MAX_GROUP);
        proof_gate_close();
        for (uint32_t j = 0; j < size; j++)
            submit(&life);
        proof_gate_open();
        (void)uv_run(&life.loop, UV_RUN_DEFAULT);
        if (proof_below(rng, 10) == 0) {
            close_life(&life);
            status = open_life(&life);
        }
    }
    if (status == 0 && proof_below(rng, 2))
        close_life(&life);
    return status;
}

static bool check(const char *root, const void *model, char *why, size_t size)
{
    static uv_loop_t loop;
    static bool has_loop;
    const struct proof_history *history = model;
    struct fl_store *store = NULL;
    struct content content;
    struct fl_err err = {0};
    if (!has_loop)
        has_loop = uv_loop_init(&loop) == 0;
    int rc = read_store(root, &loop, &store, &content, &err);
    bool good = false;
    if (rc < 0)
        (void)snprintf(why, size, "it does not open: %s", err.text);
    else if (content.disorder)
        (void)snprintf(why, size, "records out of order");
    else if (fl_store_epoch(store) <= history->epoch)
        (void)snprintf(why, size, "epoch %llu was handed out before",
                       (unsigned long long)fl_store_epoch(store));
    else
        good = proof_history_find(history, hash_content(&content), why, size) >= 0;
    fl_store_close(store);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    return good;
}

const struct proof_subject proof_store = {
    .name = "store",
    .cut_one_in = 64,
    .may_stop = true,
    .live = live,
    .init = init,
    .apply = proof_history_apply,
    .check = check,
};
