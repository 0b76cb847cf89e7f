/* A store as it is at one moment, for a backup: links to its files, which are replaced and never
 * written to, so that what happens to the store afterwards changes nothing. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "image/store_internal.h"

enum { DEPTH_MAX = 8, CHUNK = 1 << 20 };

static int copy_bytes(int from, int to)
{
    FL_CLEANUP_FREE char *chunk = fl_malloc(CHUNK);
    for (;;) {
        ssize_t n = read(from, chunk, CHUNK);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : 0;
        int rc = fl_fs_write_all(to, chunk, (size_t)n);
        if (rc < 0)
            return rc;
    }
}

static int copy_file(int from_dir, int to_dir, const char *name)
{
    struct stat st;
    FL_CLEANUP_FD int from = openat(from_dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    FL_CLEANUP_FD int to = openat(to_dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (from < 0 || to < 0 || fstat(from, &st) < 0)
        return -errno;
    const struct timespec times[2] = {st.st_atim, st.st_mtim};
    int rc = copy_bytes(from, to);
    return rc == 0 && futimens(to, times) < 0 ? -errno : rc;
}

/* Where the file system has no links, or has no more, bytes are as good. */
static int take_file(int from_dir, int to_dir, const char *name)
{
    if (linkat(from_dir, name, to_dir, name, 0) == 0)
        return 0;
    return errno == EXDEV || errno == EPERM || errno == EMLINK ? copy_file(from_dir, to_dir, name)
                                                               : -errno;
}

static int take(int from_dir, int to_dir, const char *name, unsigned depth);

static int take_entries(int from_dir, int to_dir, unsigned depth)
{
    int fd = openat(from_dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *entries = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;
    int rc = entries ? 0 : -errno;
    while (rc == 0 && (entry = readdir(entries)) != NULL)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            rc = take(from_dir, to_dir, entry->d_name, depth);
    if (entries)
        (void)closedir(entries);
    return rc;
}

static int take_dir(int from_dir, int to_dir, const char *name, unsigned depth)
{
    if (depth == 0)
        return -ELOOP;
    if (mkdirat(to_dir, name, 0700) < 0)
        return -errno;
    FL_CLEANUP_FD int from =
        openat(from_dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    FL_CLEANUP_FD int to = openat(to_dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    return from < 0 || to < 0 ? -errno : take_entries(from, to, depth - 1);
}

/* What goes meanwhile was not needed. */
static int take(int from_dir, int to_dir, const char *name, unsigned depth)
{
    struct stat st;
    if (fstatat(from_dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : -errno;
    int rc = 0;
    if (S_ISDIR(st.st_mode))
        rc = take_dir(from_dir, to_dir, name, depth);
    else if (S_ISREG(st.st_mode))
        rc = take_file(from_dir, to_dir, name);
    return rc == -ENOENT ? 0 : rc;
}

int fl_image_store_snapshot(struct fl_image_store *store, const char *dir, struct fl_err *err)
{
    static const char *const kept[] = {"blobs", "refs", "repositories", "needed"};
    int rc = mkdir(dir, 0700) < 0 ? -errno : 0;
    FL_CLEANUP_FD int to = rc < 0 ? -1 : open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (rc == 0 && to < 0)
        rc = -errno;
    if (rc == 0)
        rc = fl_image_store_lock(store, err);
    if (rc < 0)
        return fl_err_errno(err, rc, "cannot make %s", dir);
    for (size_t i = 0; rc == 0 && i < FL_ARRAY_SIZE(kept); i++)
        rc = take(store->root_fd, to, kept[i], DEPTH_MAX);
    fl_image_store_unlock(store);
    return rc < 0 ? fl_err_errno(err, rc, "cannot copy the image store") : 0;
}
