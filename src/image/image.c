/* Whole images: from a digest to configuration and layers; and which blobs no image needs. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>

#include "image/store.h"
#include "image/store_internal.h"

static int read_manifest(const struct fl_image_store *store, const struct fl_digest *digest,
                         struct fl_arena *arena, struct fl_manifest *ret_manifest,
                         struct fl_err *err)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(FL_MANIFEST_MAX_BYTES);
    int rc = fl_image_store_read_blob(store, digest, FL_MANIFEST_MAX_BYTES, &buf);
    if (rc < 0)
        return fl_err_errno(err, rc, "cannot read the manifest sha256:%s", digest->hex);
    return fl_manifest_parse(fl_buf_str(&buf), FL_STR(""), arena, ret_manifest, err);
}

static int read_config(const struct fl_image_store *store, struct fl_arena *arena,
                       struct fl_image *image, struct fl_err *err)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(FL_CONFIG_MAX_BYTES);
    const struct fl_digest *digest = &image->manifest.config.digest;
    int rc = fl_image_store_read_blob(store, digest, FL_CONFIG_MAX_BYTES, &buf);
    if (rc < 0)
        return fl_err_errno(err, rc, "cannot read the image configuration sha256:%s", digest->hex);
    rc = fl_oci_config_parse(fl_buf_str(&buf), arena, &image->config, err);
    if (rc < 0)
        return rc;
    if (image->config.diff_id_count != image->manifest.layer_count)
        return fl_err_set(err, -EINVAL, "the image configuration has %zu diff_ids for %zu layers",
                          image->config.diff_id_count, image->manifest.layer_count);
    return 0;
}

int fl_image_store_read_image(const struct fl_image_store *store, const struct fl_digest *digest,
                              struct fl_arena *arena, struct fl_image *ret_image,
                              struct fl_err *err)
{
    struct fl_image image = {.digest = *digest};
    int rc = read_manifest(store, digest, arena, &image.manifest, err);
    if (rc < 0)
        return rc;
    if (image.manifest.is_index) {
        const struct fl_descriptor *chosen = fl_manifest_choose(&image.manifest);
        if (!chosen)
            return fl_err_set(err, -ENOENT,
                              "no matching manifest for linux/%.*s in the manifest list entries",
                              FL_STR_ARG(fl_image_architecture()));
        image.digest = chosen->digest;
        rc = read_manifest(store, &image.digest, arena, &image.manifest, err);
        if (rc == 0 && image.manifest.is_index)
            rc = fl_err_set(err, -EINVAL, "the image index lists another index");
    }
    if (rc == 0)
        rc = read_config(store, arena, &image, err);
    if (rc == 0)
        *ret_image = image;
    return rc;
}

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

static void mark_manifest(const struct fl_image_store *store, const struct fl_digest *digest,
                          int depth, struct marks *marks)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_manifest m;
    mark(marks, digest);
    if (depth > 2 || read_manifest(store, digest, arena, &m, NULL) < 0)
        return;
    if (!m.is_index)
        mark(marks, &m.config.digest);
    for (size_t i = 0; i < m.layer_count; i++)
        mark(marks, &m.layers[i].digest);
    for (size_t i = 0; i < m.manifest_count; i++)
        mark_manifest(store, &m.manifests[i].digest, depth + 1, marks);
}

static int by_hex(const void *a, const void *b)
{
    return memcmp(a, b, 64);
}

static bool is_marked(const struct marks *marks, const struct fl_digest *digest)
{
    return marks->count && bsearch(digest, marks->list, marks->count, sizeof(*marks->list), by_hex);
}

static void sweep_blob(struct fl_image_store *store, const char *name, const struct marks *marks,
                       int64_t newest, uint64_t *freed)
{
    struct fl_digest digest;
    struct stat st;
    if (!fl_digest_parse_hex(fl_str_of(name), &digest) || is_marked(marks, &digest) ||
        fstatat(store->blobs_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || st.st_mtime > newest)
        return;
    if (unlinkat(store->blobs_fd, name, 0) == 0)
        *freed += (uint64_t)st.st_size;
}

static int collect(struct fl_image_store *store, int64_t min_age_seconds, uint64_t *ret_freed_bytes,
                   struct fl_err *err)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct marks marks = {0};
    struct fl_ref *refs = NULL;
    size_t count = 0;
    uint64_t freed = 0;
    struct dirent *entry;
    int64_t newest = (int64_t)time(NULL) - min_age_seconds;
    int rc = fl_image_store_list_refs(store, arena, &refs, &count);
    if (rc < 0)
        return fl_err_errno(err, rc, "cannot list the image store");
    for (size_t i = 0; i < count; i++)
        mark_manifest(store, &refs[i].digest, 0, &marks);
    if (marks.count)
        qsort(marks.list, marks.count, sizeof(*marks.list), by_hex);
    int fd = openat(store->blobs_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    while (dir && (entry = readdir(dir)) != NULL)
        sweep_blob(store, entry->d_name, &marks, newest, &freed);
    if (dir)
        (void)closedir(dir);
    free(marks.list);
    *ret_freed_bytes = freed;
    return 0;
}

int fl_image_store_collect(struct fl_image_store *store, int64_t min_age_seconds,
                           uint64_t *ret_freed_bytes, struct fl_err *err)
{
    int rc = fl_image_store_lock(store, err);
    if (rc < 0)
        return rc;
    rc = collect(store, min_age_seconds, ret_freed_bytes, err);
    fl_image_store_unlock(store);
    return rc;
}
