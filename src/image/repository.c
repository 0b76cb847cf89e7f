/* Repositories as directories of small files; names are encoded as those of references are. */
#include "image/repository.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "image/store_internal.h"

enum { IMAGE_FILE_MAX = 512 };

static const char record_name[] = "record";

static int open_existing(const struct fl_image_store *store, struct fl_str repository)
{
    return fl_image_store_open_name(store->repositories_fd, repository);
}

static int open_or_make(struct fl_image_store *store, struct fl_str repository)
{
    return fl_image_store_make_name(store->repositories_fd, repository);
}

static int write_image(int dir, const struct fl_repository_image *image)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(IMAGE_FILE_MAX);
    fl_buf_printf(&buf, "%llu %lld %s %.*s\n", (unsigned long long)image->size,
                  (long long)image->pushed_at_ms, image->has_subject ? image->subject.hex : "-",
                  FL_STR_ARG(image->media_type));
    return fl_fs_write_atomic(dir, image->digest.hex, fl_buf_str(&buf), 0600);
}

int fl_repository_add_image(struct fl_image_store *store, struct fl_str repository,
                            const struct fl_repository_image *image, struct fl_err *err)
{
    if (image->media_type.n > FL_MEDIA_TYPE_MAX)
        return fl_err_set(err, -EINVAL, "not a valid media type");
    FL_CLEANUP_FD int dir = open_or_make(store, repository);
    int rc = dir < 0 ? dir : 0;
    if (rc == 0 && faccessat(dir, image->digest.hex, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
        rc = write_image(dir, image);
    if (rc < 0)
        return fl_err_errno(err, rc, "cannot write to the repository %.*s", FL_STR_ARG(repository));
    return 0;
}

static bool parse_image(struct fl_str text, struct fl_arena *arena,
                        struct fl_repository_image *image)
{
    struct fl_str rest = fl_str_trim(text), size, pushed, subject;
    if (!fl_str_split(&rest, ' ', &size) || !fl_str_to_u64(size, &image->size) ||
        !fl_str_split(&rest, ' ', &pushed) || !fl_str_to_i64(pushed, &image->pushed_at_ms) ||
        !fl_str_split(&rest, ' ', &subject))
        return false;
    image->has_subject = fl_digest_parse_hex(subject, &image->subject);
    image->media_type = fl_str_dup(arena, rest);
    return true;
}

static int read_image(int dir, const struct fl_digest *digest, struct fl_arena *arena,
                      struct fl_repository_image *ret_image)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(IMAGE_FILE_MAX);
    struct fl_repository_image image = {.digest = *digest};
    int rc = fl_fs_read(dir, digest->hex, IMAGE_FILE_MAX, &buf);
    if (rc == 0 && !parse_image(fl_buf_str(&buf), arena, &image))
        rc = -EBADMSG;
    if (rc == 0)
        *ret_image = image;
    return rc;
}

/* An image that a store of an older version knows by its tags alone. */
static struct fl_repository_image from_ref(const struct fl_image_store *store,
                                           const struct fl_ref *ref)
{
    struct stat st = {0};
    (void)fstatat(store->blobs_fd, ref->digest.hex, &st, AT_SYMLINK_NOFOLLOW);
    return (struct fl_repository_image){
        .digest = ref->digest,
        .size = ref->size,
        .pushed_at_ms = (int64_t)st.st_mtime * 1000,
        .media_type = ref->media_type,
    };
}

int fl_repository_find_image(const struct fl_image_store *store, struct fl_str repository,
                             const struct fl_digest *digest, struct fl_arena *arena,
                             struct fl_repository_image *ret_image)
{
    struct fl_ref *refs = NULL;
    size_t count = 0;
    FL_CLEANUP_FD int dir = open_existing(store, repository);
    int rc = dir < 0 ? dir : read_image(dir, digest, arena, ret_image);
    if (rc != -ENOENT)
        return rc;
    rc = fl_image_store_list_tags(store, repository, arena, &refs, &count);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        if (!fl_digest_eq(&refs[i].digest, digest))
            continue;
        *ret_image = from_ref(store, &refs[i]);
        return 0;
    }
    return rc < 0 ? rc : -ENOENT;
}

struct listing {
    struct fl_repository_image *images;
    size_t count, cap;
};

static int listing_add(struct listing *list, const struct fl_repository_image *image)
{
    if (list->count == FL_REFS_MAX)
        return -E2BIG;
    if (list->count == list->cap) {
        list->cap = FL_MAX(64, list->cap * 2);
        list->images = fl_realloc(list->images, list->cap * sizeof(*list->images));
    }
    list->images[list->count++] = *image;
    return 0;
}

static int by_digest(const void *pa, const void *pb)
{
    const struct fl_repository_image *a = pa, *b = pb;
    return memcmp(a->digest.hex, b->digest.hex, 64);
}

static int ref_by_digest(const void *pa, const void *pb)
{
    const struct fl_ref *a = pa, *b = pb;
    int order = memcmp(a->digest.hex, b->digest.hex, 64);
    return order ? order : fl_str_cmp(a->tag, b->tag);
}

static int list_files(const struct fl_image_store *store, struct fl_str repository,
                      struct fl_arena *arena, struct listing *list)
{
    struct dirent *entry;
    int rc = 0, fd = open_existing(store, repository);
    if (fd < 0)
        return fd == -ENOENT ? 0 : fd;
    DIR *dir = fdopendir(fd);
    if (!dir) {
        (void)close(fd);
        return -ENOMEM;
    }
    while (rc == 0 && (entry = readdir(dir)) != NULL) {
        struct fl_digest digest;
        struct fl_repository_image image;
        if (fl_digest_parse_hex(fl_str_of(entry->d_name), &digest) &&
            read_image(fd, &digest, arena, &image) == 0)
            rc = listing_add(list, &image);
    }
    (void)closedir(dir);
    if (list->count)
        qsort(list->images, list->count, sizeof(*list->images), by_digest);
    return rc;
}

/* Gives each image its tags, which lie side by side in one list; both lists are sorted by digest.
 * Tags of images without a file make images of their own, which are sorted in by the caller. */
static int join_tags(const struct fl_image_store *store, struct fl_ref *refs, size_t ref_count,
                     struct fl_arena *arena, struct listing *list)
{
    struct fl_str *tags = fl_arena_new_array(arena, struct fl_str, ref_count);
    size_t known = list->count, n, i = 0;
    int rc = 0;
    for (size_t r = 0; rc == 0 && r < ref_count; r += n) {
        struct fl_repository_image *image = NULL;
        for (n = 0; r + n < ref_count && fl_digest_eq(&refs[r + n].digest, &refs[r].digest); n++)
            tags[r + n] = refs[r + n].tag;
        while (i < known && memcmp(list->images[i].digest.hex, refs[r].digest.hex, 64) < 0)
            i++;
        if (i < known && fl_digest_eq(&list->images[i].digest, &refs[r].digest)) {
            image = &list->images[i];
        } else {
            struct fl_repository_image unlisted = from_ref(store, &refs[r]);
            rc = listing_add(list, &unlisted);
            image = rc == 0 ? &list->images[list->count - 1] : NULL;
        }
        if (image) {
            image->tags = &tags[r];
            image->tag_count = n;
        }
    }
    return rc;
}

int fl_repository_list_images(const struct fl_image_store *store, struct fl_str repository,
                              struct fl_arena *arena, struct fl_repository_image **ret_images,
                              size_t *ret_count)
{
    struct listing list = {0};
    struct fl_ref *refs = NULL;
    size_t ref_count = 0;
    int rc = list_files(store, repository, arena, &list);
    if (rc == 0)
        rc = fl_image_store_list_tags(store, repository, arena, &refs, &ref_count);
    if (rc == 0 && ref_count) {
        qsort(refs, ref_count, sizeof(*refs), ref_by_digest);
        rc = join_tags(store, refs, ref_count, arena, &list);
    }
    if (rc == 0) {
        *ret_images = fl_arena_new_array(arena, struct fl_repository_image, list.count + 1);
        *ret_count = list.count;
    }
    if (rc == 0 && list.count) {
        qsort(list.images, list.count, sizeof(*list.images), by_digest);
        memcpy(*ret_images, list.images, list.count * sizeof(*list.images));
    }
    free(list.images);
    return rc;
}

static void remove_when_empty(struct fl_image_store *store, struct fl_str repository)
{
    struct fl_dir_name name;
    if (fl_image_store_encode(repository, &name))
        (void)unlinkat(store->repositories_fd, name.z, AT_REMOVEDIR);
}

int fl_repository_forget_image(struct fl_image_store *store, struct fl_str repository,
                               const struct fl_digest *digest)
{
    FL_CLEANUP_FD int dir = open_existing(store, repository);
    if (dir < 0)
        return dir;
    if (unlinkat(dir, digest->hex, 0) < 0 || fsync(dir) < 0)
        return -errno;
    remove_when_empty(store, repository);
    return 0;
}

int fl_repository_remove_image(struct fl_image_store *store, struct fl_str repository,
                               const struct fl_digest *digest)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_ref *refs = NULL;
    struct fl_repository_image image = {.digest = *digest};
    size_t count = 0;
    int rc = fl_image_store_list_tags(store, repository, arena, &refs, &count);
    if (rc < 0)
        return rc;
    image.tags = fl_arena_new_array(arena, struct fl_str, count + 1);
    for (size_t i = 0; i < count; i++)
        if (fl_digest_eq(&refs[i].digest, digest))
            image.tags[image.tag_count++] = refs[i].tag;
    return fl_repository_remove_listed(store, repository, &image);
}

int fl_repository_remove_listed(struct fl_image_store *store, struct fl_str repository,
                                const struct fl_repository_image *image)
{
    int rc = 0;
    if (image->tag_count)
        rc = fl_image_store_unlink_tags(store, repository, image->tags, image->tag_count);
    if (rc < 0)
        return rc;
    rc = fl_repository_forget_image(store, repository, &image->digest);
    return rc == -ENOENT && image->tag_count ? 0 : rc;
}

bool fl_image_store_has_repository(const struct fl_image_store *store, struct fl_str repository)
{
    FL_CLEANUP_FD int dir = open_existing(store, repository);
    FL_CLEANUP_FD int refs = dir >= 0 ? -1 : fl_image_store_open_name(store->refs_fd, repository);
    return dir >= 0 || refs >= 0;
}

/* Names of one of the two directories, at names[*n] on; at most FL_REFS_MAX of each. */
static int add_names(int dir_fd, struct fl_arena *arena, struct fl_str **names, size_t *n)
{
    int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;
    if (!dir)
        return -errno;
    int rc = 0;
    size_t most = *n + FL_REFS_MAX;
    while ((entry = readdir(dir)) != NULL) {
        struct fl_str name = fl_image_store_decode(entry->d_name, arena);
        if (!fl_repository_valid(name))
            continue;
        if (*n == most) {
            rc = -E2BIG;
            break;
        }
        if ((*n & (*n - 1)) == 0) /* it is full at every power of two */
            *names = fl_realloc(*names, FL_MAX((size_t)1, *n * 2) * sizeof(**names));
        (*names)[(*n)++] = name;
    }
    (void)closedir(dir);
    return rc;
}

static int name_order(const void *a, const void *b)
{
    return fl_str_cmp(*(const struct fl_str *)a, *(const struct fl_str *)b);
}

int fl_repository_list(const struct fl_image_store *store, struct fl_arena *arena,
                       struct fl_str **ret_names, size_t *ret_count)
{
    FL_CLEANUP_FREE struct fl_str *names = NULL;
    size_t n = 0, kept = 0;
    int rc = add_names(store->repositories_fd, arena, &names, &n);
    if (rc == 0)
        rc = add_names(store->refs_fd, arena, &names, &n);
    if (rc < 0)
        return rc;
    if (n)
        qsort(names, n, sizeof(*names), name_order);
    *ret_names = fl_arena_new_array(arena, struct fl_str, n + 1);
    for (size_t i = 0; i < n; i++)
        if (i == 0 || !fl_str_eq(names[i], names[i - 1]))
            (*ret_names)[kept++] = names[i];
    *ret_count = kept;
    return 0;
}

int fl_repository_read_record(const struct fl_image_store *store, struct fl_str repository,
                              struct fl_buf *buf)
{
    FL_CLEANUP_FD int dir = open_existing(store, repository);
    return dir < 0 ? dir : fl_fs_read(dir, record_name, FL_REPOSITORY_RECORD_MAX, buf);
}

int fl_repository_write_record(struct fl_image_store *store, struct fl_str repository,
                               struct fl_str record, struct fl_err *err)
{
    FL_CLEANUP_FD int dir = open_or_make(store, repository);
    int rc = dir < 0 ? dir : fl_fs_write_atomic(dir, record_name, record, 0600);
    if (rc < 0)
        return fl_err_errno(err, rc, "cannot write to the repository %.*s", FL_STR_ARG(repository));
    return 0;
}

int fl_repository_remove(struct fl_image_store *store, struct fl_str repository)
{
    struct fl_dir_name name;
    if (!fl_image_store_encode(repository, &name))
        return -EINVAL;
    if (!fl_image_store_has_repository(store, repository))
        return -ENOENT;
    int rc = fl_fs_remove_tree(store->refs_fd, name.z);
    if (rc == 0)
        rc = fl_fs_remove_tree(store->repositories_fd, name.z);
    if (rc == 0 && (fsync(store->refs_fd) < 0 || fsync(store->repositories_fd) < 0))
        rc = -errno;
    return rc;
}
