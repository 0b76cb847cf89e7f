/* Copying a tree out of the image, by descriptors: no link is followed on either side. */
#include "shim/fill.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/file.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/util.h"
#include "shim/place.h"

enum { DEPTH_MAX = 200, CHUNK_BYTES = 1 << 20 };

static int copy_dir(int from_fd, int to_fd, int depth);

static int copy_bytes(int from_fd, int to_fd)
{
    ssize_t n;
    do
        n = sendfile(to_fd, from_fd, NULL, CHUNK_BYTES);
    while (n > 0 || (n < 0 && errno == EINTR));
    return n < 0 ? -errno : 0;
}

/* Owner before mode: a change of owner takes setuid away. */
static int copy_attributes(int fd, const struct stat *st)
{
    const struct timespec times[2] = {st->st_atim, st->st_mtim};
    if (fchown(fd, st->st_uid, st->st_gid) < 0 || fchmod(fd, st->st_mode & 07777) < 0 ||
        futimens(fd, times) < 0)
        return -errno;
    return 0;
}

static int copy_file(int from_dir, int to_dir, const char *name, const struct stat *st)
{
    FL_CLEANUP_FD int from_fd = openat(from_dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    FL_CLEANUP_FD int to_fd =
        openat(to_dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (from_fd < 0 || to_fd < 0)
        return -errno;
    int rc = copy_bytes(from_fd, to_fd);
    return rc < 0 ? rc : copy_attributes(to_fd, st);
}

static int copy_subdir(int from_dir, int to_dir, const char *name, const struct stat *st, int depth)
{
    const int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    if (mkdirat(to_dir, name, 0700) < 0)
        return -errno;
    FL_CLEANUP_FD int from_fd = openat(from_dir, name, flags);
    FL_CLEANUP_FD int to_fd = openat(to_dir, name, flags);
    if (from_fd < 0 || to_fd < 0)
        return -errno;
    int rc = copy_dir(from_fd, to_fd, depth + 1);
    return rc < 0 ? rc : copy_attributes(to_fd, st);
}

static int copy_link(int from_dir, int to_dir, const char *name, const struct stat *st)
{
    char target[PATH_MAX];
    ssize_t n = readlinkat(from_dir, name, target, sizeof(target) - 1);
    if (n < 0)
        return -errno;
    target[n] = '\0';
    if (symlinkat(target, to_dir, name) < 0 ||
        fchownat(to_dir, name, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW) < 0)
        return -errno;
    return 0;
}

static int copy_node(int to_dir, const char *name, const struct stat *st)
{
    if (mknodat(to_dir, name, st->st_mode, st->st_rdev) < 0 ||
        fchownat(to_dir, name, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW) < 0 ||
        fchmodat(to_dir, name, st->st_mode & 07777, 0) < 0)
        return -errno;
    return 0;
}

static int copy_entry(int from_dir, int to_dir, const char *name, int depth)
{
    struct stat st;
    if (fstatat(from_dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return -errno;
    if (S_ISREG(st.st_mode))
        return copy_file(from_dir, to_dir, name, &st);
    if (S_ISDIR(st.st_mode))
        return copy_subdir(from_dir, to_dir, name, &st, depth);
    if (S_ISLNK(st.st_mode))
        return copy_link(from_dir, to_dir, name, &st);
    return S_ISSOCK(st.st_mode) ? 0 : copy_node(to_dir, name, &st);
}

static bool is_dots(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

static int copy_dir(int from_fd, int to_fd, int depth)
{
    struct dirent *entry;
    int rc = 0;
    int fd = depth < DEPTH_MAX ? openat(from_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    DIR *stream = fd < 0 ? NULL : fdopendir(fd);
    if (!stream)
        return depth < DEPTH_MAX ? -errno : -ELOOP;
    while (rc == 0 && (entry = readdir(stream)) != NULL)
        if (!is_dots(entry->d_name))
            rc = copy_entry(from_fd, to_fd, entry->d_name, depth);
    (void)closedir(stream);
    return rc;
}

static bool is_empty(int fd)
{
    struct dirent *entry;
    bool empty = true;
    int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *stream = copy < 0 ? NULL : fdopendir(copy);
    if (!stream)
        return false;
    while (empty && (entry = readdir(stream)) != NULL)
        empty = is_dots(entry->d_name);
    (void)closedir(stream);
    return empty;
}

/* Two containers that start at once on one volume: the second one finds it filled. */
static int fill(int rootfs_fd, const char *volume, const char *place)
{
    char path[PATH_MAX];
    struct stat st;
    int rc = place_resolve(rootfs_fd, place, path);
    if (rc < 0) /* the mount will be refused for it */
        return 0;
    FL_CLEANUP_FD int from_fd = openat(rootfs_fd, path[1] ? path + 1 : ".",
                                       O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (from_fd < 0)
        return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
    FL_CLEANUP_FD int to_fd = open(volume, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (to_fd < 0 || flock(to_fd, LOCK_EX) < 0 || fstat(from_fd, &st) < 0)
        return -errno;
    if (!is_empty(to_fd))
        return 0;
    rc = copy_dir(from_fd, to_fd, 0);
    return rc < 0 ? rc : copy_attributes(to_fd, &st);
}

int fill_volumes(int dir_fd, const struct orders *orders)
{
    int rc = 0;
    if (orders->fills.count == 0)
        return 0;
    FL_CLEANUP_FD int rootfs_fd = openat(dir_fd, "rootfs", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (rootfs_fd < 0)
        return -errno;
    for (size_t i = 0; rc == 0 && i < orders->fills.count; i += 2)
        rc = fill(rootfs_fd, orders->fills.items[i], orders->fills.items[i + 1]);
    return rc;
}
