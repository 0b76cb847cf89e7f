/* The store's blobs: written to tmp/ under a salt, or to uploads/ under a name, hashed on the way,
 * renamed when verified. */
#include "image/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>

#include "base/fs.h"
#include "base/id.h"
#include "image/store_internal.h"

enum { COPY_CHUNK = 256 << 10 };

struct fl_blob_writer {
    struct fl_image_store *store;
    struct fl_hasher *hasher;
    int fd;
    uint64_t size;
    int dir_fd;    /* the store's tmp/ or uploads/ */
    char name[65]; /* in it */
};

static int open_dir(int at, const char *name, bool create)
{
    if (create && mkdirat(at, name, 0700) < 0 && errno != EEXIST)
        return -errno;
    int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    return fd < 0 ? -errno : fd;
}

void fl_image_store_sweep_tmp(int tmp_fd, int64_t min_age_seconds)
{
    int fd = openat(tmp_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;
    struct stat st;
    if (!dir)
        return;
    while ((entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] == '.' || fstatat(tmp_fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        if (st.st_mtime + min_age_seconds <= time(NULL))
            (void)fl_fs_remove_tree(tmp_fd, entry->d_name);
    }
    (void)closedir(dir);
}

void fl_image_store_sweep_uploads(struct fl_image_store *store)
{
    if (store->uploads_fd >= 0)
        fl_image_store_sweep_tmp(store->uploads_fd, FL_STORE_UPLOAD_SECONDS);
}

static int open_dirs(struct fl_image_store *store, const char *path, bool create)
{
    int rc = create ? fl_fs_mkdirs_synced(path, 0700) : 0;
    if (rc < 0)
        return rc;
    int root = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root < 0)
        return -errno;
    store->root_fd = root;
    FL_CLEANUP_FD int blobs = open_dir(root, "blobs", create);
    store->blobs_fd = blobs < 0 ? blobs : open_dir(blobs, "sha256", create);
    store->refs_fd = open_dir(root, "refs", create);
    store->repositories_fd = open_dir(root, "repositories", true);
    store->tmp_fd = open_dir(root, "tmp", create);
    store->uploads_fd = open_dir(root, "uploads", create);
    if (!create && store->uploads_fd == -ENOENT)
        store->uploads_fd = -1; /* a store of an earlier release, to be read */
    rc = FL_MIN(0, FL_MIN(store->blobs_fd,
                          FL_MIN(store->refs_fd, FL_MIN(store->repositories_fd, store->tmp_fd))));
    rc = FL_MIN(rc, create ? store->uploads_fd : 0);
    if (rc == 0 && create && (fsync(blobs) < 0 || fsync(root) < 0))
        rc = -errno;
    return rc;
}

int fl_image_store_open(struct fl_str dir, bool create, struct fl_image_store **ret_store,
                        struct fl_err *err)
{
    struct fl_image_store *store = fl_malloc(sizeof(*store));
    FL_CLEANUP_FREE char *path = fl_strndup(dir.p, dir.n);
    *store = (struct fl_image_store){-1, -1, -1, -1, -1, -1};
    int rc = open_dirs(store, path, create);
    if (rc < 0) {
        fl_image_store_close(store);
        return fl_err_errno(err, rc, "cannot open the image store %s", path);
    }
    if (create)
        fl_image_store_sweep_tmp(store->tmp_fd, FL_STORE_STALE_SECONDS);
    *ret_store = store;
    return 0;
}

void fl_image_store_close(struct fl_image_store *store)
{
    if (!store)
        return;
    fl_cleanup_fd(&store->root_fd);
    fl_cleanup_fd(&store->blobs_fd);
    fl_cleanup_fd(&store->refs_fd);
    fl_cleanup_fd(&store->repositories_fd);
    fl_cleanup_fd(&store->tmp_fd);
    fl_cleanup_fd(&store->uploads_fd);
    free(store);
}

int fl_image_store_lock(struct fl_image_store *store, struct fl_err *err)
{
    while (flock(store->root_fd, LOCK_EX) < 0) {
        if (errno != EINTR)
            return fl_err_errno(err, -errno, "cannot lock the image store");
    }
    return 0;
}

int fl_image_store_try_lock(struct fl_image_store *store)
{
    return flock(store->root_fd, LOCK_EX | LOCK_NB) < 0 ? -errno : 0;
}

void fl_image_store_unlock(struct fl_image_store *store)
{
    (void)flock(store->root_fd, LOCK_UN);
}

int fl_image_store_attend(struct fl_image_store *store)
{
    /* Who only looks whether a server is there holds the lock for a moment. */
    const struct timespec moment = {.tv_nsec = 10 * 1000 * 1000};
    for (int i = 0; flock(store->tmp_fd, LOCK_EX | LOCK_NB) < 0; i++) {
        if (errno != EWOULDBLOCK || i == 50)
            return -errno;
        (void)nanosleep(&moment, NULL);
    }
    /* Only a server writes without the lock, and there is no other one. */
    if (fl_image_store_try_lock(store) == 0) {
        fl_image_store_sweep_tmp(store->tmp_fd, 0);
        fl_image_store_sweep_uploads(store);
        fl_image_store_unlock(store);
    }
    return 0;
}

bool fl_image_store_is_attended(struct fl_image_store *store)
{
    if (flock(store->tmp_fd, LOCK_EX | LOCK_NB) < 0)
        return errno == EWOULDBLOCK;
    (void)flock(store->tmp_fd, LOCK_UN);
    return false;
}

uint64_t fl_image_store_room(const struct fl_image_store *store)
{
    struct statvfs vfs;
    if (fstatvfs(store->blobs_fd, &vfs) < 0)
        return 0;
    uint64_t size = (uint64_t)vfs.f_blocks * vfs.f_frsize;
    uint64_t available = (uint64_t)vfs.f_bavail * vfs.f_frsize;
    uint64_t reserve = FL_MIN(size / 20, (uint64_t)2 << 30);
    return available > reserve ? available - reserve : 0;
}

bool fl_image_store_renew(struct fl_image_store *store, const struct fl_digest *digest,
                          uint64_t *ret_size)
{
    return utimensat(store->blobs_fd, digest->hex, NULL, AT_SYMLINK_NOFOLLOW) == 0 &&
           fl_image_store_has(store, digest, ret_size);
}

bool fl_image_store_has(const struct fl_image_store *store, const struct fl_digest *digest,
                        uint64_t *ret_size)
{
    struct stat st;
    if (fstatat(store->blobs_fd, digest->hex, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
        return false;
    if (ret_size)
        *ret_size = (uint64_t)st.st_size;
    return true;
}

int fl_image_store_open_blob(const struct fl_image_store *store, const struct fl_digest *digest)
{
    int fd = openat(store->blobs_fd, digest->hex, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    return fd < 0 ? -errno : fd;
}

int fl_image_store_read_blob(const struct fl_image_store *store, const struct fl_digest *digest,
                             size_t max, struct fl_buf *buf)
{
    return fl_fs_read(store->blobs_fd, digest->hex, max, buf);
}

int fl_image_store_remove_blob(struct fl_image_store *store, const struct fl_digest *digest)
{
    return unlinkat(store->blobs_fd, digest->hex, 0) < 0 ? -errno : 0;
}

static void writer_free(struct fl_blob_writer *writer)
{
    fl_hasher_free(writer->hasher);
    fl_cleanup_fd(&writer->fd);
    free(writer);
}

/* The writer has its name and its directory. */
static int open_file(struct fl_blob_writer *writer, int flags, struct fl_err *err)
{
    writer->fd = openat(writer->dir_fd, writer->name,
                        O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | flags, 0600);
    return writer->fd < 0 ? fl_err_errno(err, -errno, "cannot write to the image store") : 0;
}

static struct fl_blob_writer *writer_new(struct fl_image_store *store, int dir_fd)
{
    struct fl_blob_writer *writer = fl_calloc(1, sizeof(*writer));
    writer->store = store;
    writer->dir_fd = dir_fd;
    writer->fd = -1;
    writer->hasher = fl_hasher_new();
    return writer;
}

int fl_blob_writer_begin(struct fl_image_store *store, struct fl_blob_writer **ret_writer,
                         struct fl_err *err)
{
    struct fl_blob_writer *writer = writer_new(store, store->tmp_fd);
    uint8_t salt[8];
    fl_random_bytes(salt, sizeof(salt));
    fl_hex(salt, sizeof(salt), writer->name);
    int rc = open_file(writer, O_EXCL, err);
    if (rc < 0)
        writer_free(writer);
    else
        *ret_writer = writer;
    return rc;
}

/* What lies there already is part of the blob, which goes on behind it. */
static int hash_written(struct fl_blob_writer *writer, struct fl_err *err)
{
    FL_CLEANUP_FREE char *chunk = fl_malloc(COPY_CHUNK);
    while (writer->size <= FL_BLOB_MAX_BYTES) {
        ssize_t got = pread(writer->fd, chunk, COPY_CHUNK, (off_t)writer->size);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return fl_err_errno(err, -errno, "cannot read what was uploaded");
        if (got == 0)
            return lseek(writer->fd, (off_t)writer->size, SEEK_SET) < 0 ? -errno : 0;
        fl_hasher_add(writer->hasher, chunk, (size_t)got);
        writer->size += (uint64_t)got;
    }
    return fl_err_set(err, -EFBIG, "a blob is larger than %llu bytes",
                      (unsigned long long)FL_BLOB_MAX_BYTES);
}

int fl_blob_writer_resume(struct fl_image_store *store, const struct fl_digest *name,
                          struct fl_blob_writer **ret_writer, struct fl_err *err)
{
    struct fl_blob_writer *writer = writer_new(store, store->uploads_fd);
    memcpy(writer->name, name->hex, sizeof(writer->name));
    int rc = open_file(writer, 0, err);
    if (rc < 0) {
        writer_free(writer);
        return rc;
    }
    (void)futimens(writer->fd, NULL);
    rc = hash_written(writer, err);
    if (rc < 0)
        fl_blob_writer_abort(writer);
    else
        *ret_writer = writer;
    return rc;
}

void fl_blob_writer_suspend(struct fl_blob_writer *writer)
{
    if (writer)
        writer_free(writer);
}

bool fl_image_store_has_upload(const struct fl_image_store *store, const struct fl_digest *name,
                               uint64_t *ret_size)
{
    struct stat st;
    if (fstatat(store->uploads_fd, name->hex, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
        return false;
    *ret_size = (uint64_t)st.st_size;
    return true;
}

void fl_image_store_remove_upload(struct fl_image_store *store, const struct fl_digest *name)
{
    (void)unlinkat(store->uploads_fd, name->hex, 0);
}

int fl_blob_writer_add(struct fl_blob_writer *writer, const void *bytes, size_t n,
                       struct fl_err *err)
{
    if (n > FL_BLOB_MAX_BYTES - writer->size)
        return fl_err_set(err, -EFBIG, "a blob is larger than %llu bytes",
                          (unsigned long long)FL_BLOB_MAX_BYTES);
    int rc = fl_fs_write_all(writer->fd, bytes, n);
    if (rc < 0)
        return fl_err_errno(err, rc, "cannot write to the image store");
    fl_hasher_add(writer->hasher, bytes, n);
    writer->size += n;
    return 0;
}

void fl_blob_writer_abort(struct fl_blob_writer *writer)
{
    if (!writer)
        return;
    (void)unlinkat(writer->dir_fd, writer->name, 0);
    writer_free(writer);
}

static int publish(struct fl_blob_writer *writer, const struct fl_digest *digest)
{
    struct fl_image_store *store = writer->store;
    if (fl_image_store_renew(store, digest, NULL)) {
        /* Who put it there may have ended before its name was on the disk. */
        if (fsync(store->blobs_fd) < 0)
            return -errno;
        return unlinkat(writer->dir_fd, writer->name, 0) < 0 ? -errno : 1;
    }
    /* Its last byte may have come a while ago; it is young from now on. */
    if (futimens(writer->fd, NULL) < 0 || fsync(writer->fd) < 0 ||
        renameat(writer->dir_fd, writer->name, store->blobs_fd, digest->hex) < 0 ||
        fsync(store->blobs_fd) < 0)
        return -errno;
    return 0;
}

int fl_blob_writer_commit(struct fl_blob_writer *writer, const struct fl_digest *expected,
                          struct fl_digest *ret_digest, struct fl_err *err)
{
    struct fl_digest digest = fl_hasher_end(writer->hasher);
    int rc = 0;
    if (expected && !fl_digest_eq(expected, &digest))
        rc = fl_err_set(err, -EBADMSG, "digest mismatch: expected sha256:%s, got sha256:%s",
                        expected->hex, digest.hex);
    else if ((rc = publish(writer, &digest)) < 0)
        (void)fl_err_errno(err, rc, "cannot write blob sha256:%s", digest.hex);
    if (rc < 0) {
        fl_blob_writer_abort(writer);
        return rc;
    }
    if (ret_digest)
        *ret_digest = digest;
    writer_free(writer);
    return rc;
}

static int copy_into(struct fl_blob_writer *writer, int fd, struct fl_err *err)
{
    FL_CLEANUP_FREE char *chunk = fl_malloc(COPY_CHUNK);
    for (;;) {
        ssize_t got = read(fd, chunk, COPY_CHUNK);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return fl_err_errno(err, -errno, "cannot read the blob");
        if (got == 0)
            return 0;
        int rc = fl_blob_writer_add(writer, chunk, (size_t)got, err);
        if (rc < 0)
            return rc;
    }
}

int fl_image_store_put_fd(struct fl_image_store *store, int fd, const struct fl_digest *expected,
                          struct fl_digest *ret_digest, uint64_t *ret_size, struct fl_err *err)
{
    struct fl_blob_writer *writer = NULL;
    int rc = fl_blob_writer_begin(store, &writer, err);
    if (rc < 0)
        return rc;
    rc = copy_into(writer, fd, err);
    uint64_t size = writer->size;
    if (rc < 0) {
        fl_blob_writer_abort(writer);
        return rc;
    }
    rc = fl_blob_writer_commit(writer, expected, ret_digest, err);
    if (rc >= 0 && ret_size)
        *ret_size = size;
    return rc;
}

int fl_image_store_put(struct fl_image_store *store, struct fl_str bytes,
                       struct fl_digest *ret_digest, struct fl_err *err)
{
    struct fl_blob_writer *writer = NULL;
    int rc = fl_blob_writer_begin(store, &writer, err);
    if (rc < 0)
        return rc;
    rc = fl_blob_writer_add(writer, bytes.p, bytes.n, err);
    if (rc < 0) {
        fl_blob_writer_abort(writer);
        return rc;
    }
    return fl_blob_writer_commit(writer, NULL, ret_digest, err);
}
