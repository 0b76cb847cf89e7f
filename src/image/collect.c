/* Which blobs nothing leads to: marks from repositories, references and what is needed, then a
 * sweep.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>

#include "base/fs.h"
#include "image/repository.h"
#include "image/store_internal.h"

enum { NEEDED_FILE_MAX = 64 << 20 };

static const char needed_name[] = "needed";

/* Digests in use, sorted before lookups. */
struct marks {
    struct fl_digest *list;
    size_t count, cap;
};

static void mark(struct marks *marks, const struct fl_digest *digest)
{
    if (marks->count == marks->cap) {
        marks->cap = FL_MAX(256, marks->cap * 2);
        marks->list = fl_realloc(marks->list, marks->cap * sizeof(*marks->list));
    }
    marks->list[marks->count++] = *digest;
}

/* What is no manifest, or is not there, leads to nothing; what cannot be read might lead anywhere,
 * so that nothing may be removed. */
static bool leads_nowhere(int rc)
{
    return rc == -ENOENT || rc == -EINVAL || rc == -E2BIG || rc == -EFBIG;
}

static int mark_manifest(const struct fl_image_store *store, const struct fl_digest *digest,
                         int depth, struct marks *marks)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_manifest m;
    mark(marks, digest);
    if (depth > 2)
        return 0;
    int rc = fl_image_store_read_manifest(store, digest, arena, &m, NULL);
    if (rc < 0)
        return leads_nowhere(rc) ? 0 : rc;
    if (!m.is_index)
        mark(marks, &m.config.digest);
    for (size_t i = 0; i < m.layer_count; i++)
        mark(marks, &m.layers[i].digest);
    for (size_t i = 0; rc == 0 && i < m.manifest_count; i++)
        rc = mark_manifest(store, &m.manifests[i].digest, depth + 1, marks);
    return rc;
}

static int by_hex(const void *a, const void *b)
{
    return memcmp(a, b, 64);
}

static bool is_marked(const struct marks *marks, const struct fl_digest *digest)
{
    return marks->count && bsearch(digest, marks->list, marks->count, sizeof(*marks->list), by_hex);
}

static bool is_young(int dir_fd, const char *name, int64_t newest, uint64_t *ret_size)
{
    struct stat st;
    if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return true;
    *ret_size = (uint64_t)st.st_size;
    return st.st_mtime > newest;
}

/* Whoever pushes makes a blob young that is there already, without the lock. So it is taken away
 * first and looked at then: who came before that has it back, who comes later writes it again. */
static void sweep_blob(struct fl_image_store *store, const char *name, const struct marks *marks,
                       int64_t newest, uint64_t *freed)
{
    struct fl_digest digest;
    uint64_t size;
    if (!fl_digest_parse_hex(fl_str_of(name), &digest) || is_marked(marks, &digest) ||
        is_young(store->blobs_fd, name, newest, &size) ||
        renameat(store->blobs_fd, name, store->tmp_fd, name) < 0)
        return;
    if (is_young(store->tmp_fd, name, newest, &size))
        (void)renameat(store->tmp_fd, name, store->blobs_fd, name);
    else if (unlinkat(store->tmp_fd, name, 0) == 0)
        *freed += size;
}

int fl_image_store_set_needed(struct fl_image_store *store, const struct fl_digest *digests,
                              size_t count, struct fl_err *err)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(NEEDED_FILE_MAX);
    for (size_t i = 0; i < count; i++)
        fl_buf_printf(&buf, "%s\n", digests[i].hex);
    int rc = buf.overflow ? -EFBIG
                          : fl_fs_write_atomic(store->root_fd, needed_name, fl_buf_str(&buf), 0600);
    return rc < 0 ? fl_err_errno(err, rc, "cannot write to the image store") : 0;
}

/* A list that cannot be read keeps everything: its digests may be anybody's. */
static int mark_needed(const struct fl_image_store *store, struct marks *marks)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(NEEDED_FILE_MAX);
    struct fl_digest digest;
    struct fl_str line;
    int rc = fl_fs_read(store->root_fd, needed_name, NEEDED_FILE_MAX, &buf);
    if (rc < 0)
        return rc == -ENOENT ? 0 : rc;
    struct fl_str rest = fl_buf_str(&buf);
    while (rc == 0 && fl_str_split(&rest, '\n', &line))
        if (fl_digest_parse_hex(line, &digest))
            rc = mark_manifest(store, &digest, 0, marks);
    return rc;
}

static int mark_repository(const struct fl_image_store *store, struct fl_str name,
                           struct marks *marks)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_repository_image *images = NULL;
    size_t count = 0;
    int rc = fl_repository_list_images(store, name, arena, &images, &count);
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = mark_manifest(store, &images[i].digest, 0, marks);
    return rc;
}

/* Fills marks, sorted; the caller frees the list. */
static int mark_all(const struct fl_image_store *store, struct marks *marks)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_str *names = NULL;
    size_t count = 0;
    int rc = fl_repository_list(store, arena, &names, &count);
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = mark_repository(store, names[i], marks);
    if (rc == 0)
        rc = mark_needed(store, marks);
    if (rc == 0 && marks->count)
        qsort(marks->list, marks->count, sizeof(*marks->list), by_hex);
    return rc;
}

int fl_image_store_collect(struct fl_image_store *store, int64_t min_age_seconds,
                           uint64_t *ret_freed_bytes, struct fl_err *err)
{
    struct marks marks = {0};
    uint64_t freed = 0;
    struct dirent *entry;
    int64_t newest = (int64_t)time(NULL) - min_age_seconds;
    int rc = mark_all(store, &marks);
    int fd = rc < 0 ? -1 : openat(store->blobs_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    while (dir && (entry = readdir(dir)) != NULL)
        sweep_blob(store, entry->d_name, &marks, newest, &freed);
    if (dir)
        (void)closedir(dir);
    fl_image_store_sweep_tmp(store->tmp_fd, FL_STORE_STALE_SECONDS);
    fl_image_store_sweep_uploads(store);
    free(marks.list);
    if (rc < 0)
        return fl_err_errno(err, rc, "cannot list the image store");
    *ret_freed_bytes = freed;
    return 0;
}

int fl_image_store_is_used(struct fl_image_store *store, const struct fl_digest *digest,
                           bool *ret_used, struct fl_err *err)
{
    struct marks marks = {0};
    int rc = mark_all(store, &marks);
    if (rc == 0)
        *ret_used = is_marked(&marks, digest);
    free(marks.list);
    return rc < 0 ? fl_err_errno(err, rc, "cannot list the image store") : 0;
}
