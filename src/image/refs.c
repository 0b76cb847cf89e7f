/* The store's references: one small file each, in a directory per repository.
 *
 * Only names that pass image/name.h's grammar reach the file system; it has no '+', so writing '/'
 * as '+' is reversible and nothing can leave refs/. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/fs.h"
#include "image/repository.h"
#include "image/store_internal.h"

enum { REF_FILE_MAX = 512 };

bool fl_image_store_encode(struct fl_str repository, struct fl_dir_name *ret_name)
{
    if (!fl_repository_valid(repository))
        return false;
    for (size_t i = 0; i < repository.n; i++)
        ret_name->z[i] = repository.p[i] == '/' ? '+' : repository.p[i];
    ret_name->z[repository.n] = '\0';
    return true;
}

struct fl_str fl_image_store_decode(const char *name, struct fl_arena *arena)
{
    size_t n = strlen(name);
    char *text = fl_arena_memdup(arena, name, n);
    for (size_t i = 0; i < n; i++) {
        if (text[i] == '+')
            text[i] = '/';
    }
    return (struct fl_str){text, n};
}

int fl_image_store_open_name(int at, struct fl_str repository)
{
    struct fl_dir_name name;
    if (!fl_image_store_encode(repository, &name))
        return -EINVAL;
    int fd = openat(at, name.z, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    return fd < 0 ? -errno : fd;
}

int fl_image_store_make_name(int at, struct fl_str repository)
{
    struct fl_dir_name name;
    if (!fl_image_store_encode(repository, &name))
        return -EINVAL;
    if (mkdirat(at, name.z, 0700) < 0 && errno != EEXIST)
        return -errno;
    /* Who made it, if it is there, may have ended before this. */
    if (fsync(at) < 0)
        return -errno;
    return fl_image_store_open_name(at, repository);
}

static int open_repository(const struct fl_image_store *store, struct fl_str repository)
{
    return fl_image_store_open_name(store->refs_fd, repository);
}

/* The tag's image is its repository's too, from before the tag leads to it. */
static int add_image(struct fl_image_store *store, const struct fl_ref *ref, struct fl_err *err)
{
    const struct fl_repository_image image = {
        .digest = ref->digest,
        .size = ref->size,
        .pushed_at_ms = fl_clock_wall_ms(),
        .media_type = ref->media_type,
    };
    return fl_repository_add_image(store, ref->repository, &image, err);
}

int fl_image_store_set_ref(struct fl_image_store *store, const struct fl_ref *ref,
                           struct fl_err *err)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(REF_FILE_MAX);
    char tag[FL_TAG_MAX + 1];
    if (!fl_tag_valid(ref->tag) || ref->media_type.n > FL_MEDIA_TYPE_MAX)
        return fl_err_set(err, -EINVAL, "not a valid reference");
    int rc = add_image(store, ref, err);
    if (rc < 0)
        return rc;
    FL_CLEANUP_FD int dir = fl_image_store_make_name(store->refs_fd, ref->repository);
    memcpy(tag, ref->tag.p, ref->tag.n);
    tag[ref->tag.n] = '\0';
    fl_buf_printf(&buf, "sha256:%s %llu %.*s\n", ref->digest.hex, (unsigned long long)ref->size,
                  FL_STR_ARG(ref->media_type));
    rc = dir < 0 ? dir : fl_fs_write_atomic(dir, tag, fl_buf_str(&buf), 0600);
    if (rc < 0)
        return fl_err_errno(err, rc, "cannot write the reference %.*s:%s",
                            FL_STR_ARG(ref->repository), tag);
    return 0;
}

static bool parse_ref(struct fl_str text, struct fl_arena *arena, struct fl_ref *ref)
{
    struct fl_str rest = fl_str_trim(text), digest, size;
    if (!fl_str_split(&rest, ' ', &digest) || !fl_digest_parse(digest, &ref->digest))
        return false;
    if (!fl_str_split(&rest, ' ', &size) || !fl_str_to_u64(size, &ref->size))
        return false;
    ref->media_type = fl_str_dup(arena, rest);
    return true;
}

static int read_ref(int dir, const char *tag, struct fl_arena *arena, struct fl_ref *ref)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(REF_FILE_MAX);
    int rc = fl_fs_read(dir, tag, REF_FILE_MAX, &buf);
    if (rc < 0)
        return rc;
    return parse_ref(fl_buf_str(&buf), arena, ref) ? 0 : -EBADMSG;
}

int fl_image_store_get_ref(const struct fl_image_store *store, struct fl_str repository,
                           struct fl_str tag, struct fl_arena *arena, struct fl_ref *ret_ref)
{
    struct fl_ref ref = {.repository = fl_str_dup(arena, repository),
                         .tag = fl_str_dup(arena, tag)};
    if (!fl_tag_valid(tag))
        return -EINVAL;
    FL_CLEANUP_FD int dir = open_repository(store, repository);
    int rc = dir < 0 ? dir : read_ref(dir, ref.tag.p, arena, &ref);
    if (rc == 0)
        *ret_ref = ref;
    return rc;
}

struct listing {
    struct fl_ref *refs;
    size_t count, cap;
};

static int listing_add(struct listing *list, const struct fl_ref *ref)
{
    if (list->count == FL_REFS_MAX)
        return -E2BIG;
    if (list->count == list->cap) {
        list->cap = FL_MAX(64, list->cap * 2);
        list->refs = fl_realloc(list->refs, list->cap * sizeof(*list->refs));
    }
    list->refs[list->count++] = *ref;
    return 0;
}

/* A descriptor of its own, so that closing the stream leaves dir_fd open. */
static DIR *open_stream(int dir_fd)
{
    int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? NULL : fdopendir(fd);
}

static int list_repository(int dir_fd, struct fl_str repository, struct fl_arena *arena,
                           struct listing *list)
{
    DIR *dir = open_stream(dir_fd);
    struct dirent *entry;
    int rc = 0;
    if (!dir)
        return -errno;
    while (rc == 0 && (entry = readdir(dir)) != NULL) {
        struct fl_ref ref = {.repository = repository};
        if (!fl_tag_valid(fl_str_of(entry->d_name)) ||
            read_ref(dir_fd, entry->d_name, arena, &ref) < 0)
            continue;
        ref.tag = fl_str_dup(arena, fl_str_of(entry->d_name));
        rc = listing_add(list, &ref);
    }
    (void)closedir(dir);
    return rc;
}

static int by_name(const void *pa, const void *pb)
{
    const struct fl_ref *a = pa, *b = pb;
    int order = fl_str_cmp(a->repository, b->repository);
    return order ? order : fl_str_cmp(a->tag, b->tag);
}

static int list_all(const struct fl_image_store *store, struct fl_arena *arena,
                    struct listing *list)
{
    DIR *dir = open_stream(store->refs_fd);
    struct dirent *entry;
    int rc = 0;
    if (!dir)
        return -errno;
    while (rc == 0 && (entry = readdir(dir)) != NULL) {
        struct fl_str repository = fl_image_store_decode(entry->d_name, arena);
        FL_CLEANUP_FD int fd = open_repository(store, repository);
        if (fd >= 0)
            rc = list_repository(fd, repository, arena, list);
    }
    (void)closedir(dir);
    return rc;
}

/* Hands a list over, sorted, in the arena. */
static void hand_over(struct listing *list, struct fl_arena *arena, struct fl_ref **ret_refs,
                      size_t *ret_count)
{
    *ret_refs = fl_arena_new_array(arena, struct fl_ref, list->count + 1);
    *ret_count = list->count;
    if (list->count) {
        memcpy(*ret_refs, list->refs, list->count * sizeof(*list->refs));
        qsort(*ret_refs, list->count, sizeof(**ret_refs), by_name);
    }
}

int fl_image_store_list_refs(const struct fl_image_store *store, struct fl_arena *arena,
                             struct fl_ref **ret_refs, size_t *ret_count)
{
    struct listing list = {0};
    int rc = list_all(store, arena, &list);
    if (rc == 0)
        hand_over(&list, arena, ret_refs, ret_count);
    free(list.refs);
    return rc;
}

int fl_image_store_list_tags(const struct fl_image_store *store, struct fl_str repository,
                             struct fl_arena *arena, struct fl_ref **ret_refs, size_t *ret_count)
{
    struct listing list = {0};
    FL_CLEANUP_FD int dir = open_repository(store, repository);
    int rc = dir >= 0 ? list_repository(dir, repository, arena, &list) : dir == -ENOENT ? 0 : dir;
    if (rc == 0)
        hand_over(&list, arena, ret_refs, ret_count);
    free(list.refs);
    return rc;
}

/* The image goes with its last tag. */
static int forget_untagged(struct fl_image_store *store, const struct fl_ref *removed)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_ref *refs = NULL;
    size_t count = 0;
    int rc = fl_image_store_list_tags(store, removed->repository, arena, &refs, &count);
    for (size_t i = 0; rc == 0 && i < count; i++)
        if (fl_digest_eq(&refs[i].digest, &removed->digest))
            return 0;
    if (rc == 0)
        rc = fl_repository_forget_image(store, removed->repository, &removed->digest);
    return rc == -ENOENT ? 0 : rc;
}

int fl_image_store_unlink_tags(struct fl_image_store *store, struct fl_str repository,
                               const struct fl_str *tags, size_t count)
{
    struct fl_dir_name name;
    char tag[FL_TAG_MAX + 1];
    FL_CLEANUP_FD int dir = open_repository(store, repository);
    if (dir < 0)
        return dir;
    for (size_t i = 0; i < count; i++) {
        FL_ASSERT(fl_tag_valid(tags[i]));
        memcpy(tag, tags[i].p, tags[i].n);
        tag[tags[i].n] = '\0';
        if (unlinkat(dir, tag, 0) < 0)
            return -errno;
    }
    /* Synced, so that they do not come back when their blobs have been collected. */
    if (fsync(dir) < 0)
        return -errno;
    /* The directory goes with its last tag. */
    if (fl_image_store_encode(repository, &name) &&
        unlinkat(store->refs_fd, name.z, AT_REMOVEDIR) < 0 && errno != ENOTEMPTY)
        return -errno;
    return 0;
}

int fl_image_store_remove_ref(struct fl_image_store *store, struct fl_str repository,
                              struct fl_str tag)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_ref ref;
    int rc = fl_image_store_get_ref(store, repository, tag, arena, &ref);
    if (rc == 0)
        rc = fl_image_store_unlink_tags(store, repository, &ref.tag, 1);
    return rc == 0 ? forget_untagged(store, &ref) : rc;
}
