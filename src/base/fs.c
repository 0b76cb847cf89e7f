/* Files: whole reads, atomic replacement, removal of trees beneath a directory. */
#include "base/fs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/id.h"

int fl_fs_write_all(int fd, const void *bytes, size_t n)
{
    const char *p = bytes;
    while (n > 0) {
        ssize_t written = write(fd, p, n);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return -errno;
        p += written;
        n -= (size_t)written;
    }
    return 0;
}

int fl_fs_read(int dir_fd, const char *path, size_t max, struct fl_buf *buf)
{
    FL_CLEANUP_FD int fd = openat(dir_fd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    char chunk[16384];
    size_t total = 0;
    if (fd < 0)
        return -errno;
    for (;;) {
        ssize_t got = read(fd, chunk, sizeof(chunk));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        if (got == 0)
            return buf->overflow ? -EFBIG : 0;
        total += (size_t)got;
        if (total > max)
            return -EFBIG;
        fl_buf_add(buf, chunk, (size_t)got);
    }
}

static int sync_parent(int dir_fd, const char *path)
{
    char parent[PATH_MAX];
    const char *slash = strrchr(path, '/');
    size_t n = slash ? (size_t)(slash - path) : 0;
    if (n >= sizeof(parent))
        return -ENAMETOOLONG;
    memcpy(parent, path, n);
    parent[n] = '\0';
    FL_CLEANUP_FD int fd =
        openat(dir_fd, n ? parent : (slash ? "/" : "."), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) < 0)
        return -errno;
    return 0;
}

/* What is being written has a name that nothing else has: hidden, in the same directory. */
static int name_temporary(const char *path, char ret_name[PATH_MAX])
{
    uint8_t salt[6];
    char hex[13];
    const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
    fl_random_bytes(salt, sizeof(salt));
    fl_hex(salt, sizeof(salt), hex);
    int n = snprintf(ret_name, PATH_MAX, "%.*s.%s.%s.tmp", (int)(base - path), path, base, hex);
    return n < 0 || n >= PATH_MAX ? -ENAMETOOLONG : 0;
}

static int write_replace(int dir_fd, const char *path, struct fl_str bytes, mode_t mode, bool sync)
{
    char temporary[PATH_MAX];
    int rc = name_temporary(path, temporary);
    if (rc < 0)
        return rc;
    FL_CLEANUP_FD int fd =
        openat(dir_fd, temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
    if (fd < 0)
        return -errno;
    rc = fl_fs_write_all(fd, bytes.p, bytes.n);
    if (rc == 0 && sync && fsync(fd) < 0)
        rc = -errno;
    if (rc == 0 && renameat(dir_fd, temporary, dir_fd, path) < 0)
        rc = -errno;
    if (rc < 0) {
        (void)unlinkat(dir_fd, temporary, 0);
        return rc;
    }
    return sync ? sync_parent(dir_fd, path) : 0;
}

int fl_fs_write_atomic(int dir_fd, const char *path, struct fl_str bytes, mode_t mode)
{
    return write_replace(dir_fd, path, bytes, mode, true);
}

int fl_fs_write_fast(int dir_fd, const char *path, struct fl_str bytes, mode_t mode)
{
    return write_replace(dir_fd, path, bytes, mode, false);
}

int fl_fs_mkdirs(const char *path, mode_t mode)
{
    char partial[PATH_MAX];
    size_t n = strlen(path);
    if (n == 0 || n >= sizeof(partial))
        return n ? -ENAMETOOLONG : -EINVAL;
    memcpy(partial, path, n + 1);
    for (size_t i = 1; i <= n; i++) {
        if (partial[i] != '/' && partial[i] != '\0')
            continue;
        char saved = partial[i];
        partial[i] = '\0';
        if (mkdir(partial, mode) < 0 && errno != EEXIST)
            return -errno;
        partial[i] = saved;
    }
    return 0;
}

/* Directories of others that we may not read hold nothing that we made; some file systems know no
 * sync. */
int fl_fs_mkdirs_synced(const char *path, mode_t mode)
{
    char partial[PATH_MAX];
    int rc = fl_fs_mkdirs(path, mode);
    if (rc < 0)
        return rc;
    size_t n = strlen(path);
    memcpy(partial, path, n + 1);
    while (rc == 0 && n > 0) {
        rc = sync_parent(AT_FDCWD, partial);
        rc = rc == -EACCES || rc == -EINVAL ? 0 : rc;
        while (n > 0 && partial[n - 1] != '/')
            n--;
        while (n > 0 && partial[n - 1] == '/')
            n--;
        partial[n] = '\0';
    }
    return rc;
}

/* Directories open at a time. A tree may be deeper than there are descriptors or stack: what lies
 * deeper is moved up to the top, and its turn comes there. */
enum { LEVELS_MAX = 64 };

struct removal {
    dev_t device;
    int top_fd;
    uint64_t salt; /* of the names of what is moved up */
    unsigned moved;
};

static int remove_entry(struct removal *removal, int dir_fd, const char *name, int level);

static int remove_children(struct removal *removal, DIR *dir, int level)
{
    struct dirent *entry;
    int rc = 0;
    while (rc == 0 && (entry = readdir(dir)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        rc = remove_entry(removal, dirfd(dir), entry->d_name, level + 1);
    }
    return rc;
}

static int move_up(struct removal *removal, int dir_fd, const char *name)
{
    char to[64];
    (void)snprintf(to, sizeof(to), ".removed-%016llx-%u", (unsigned long long)removal->salt,
                   removal->moved++);
    return renameat(dir_fd, name, removal->top_fd, to) < 0 ? -errno : 0;
}

/* Empties it; at the top until nothing more was moved there. */
static int empty_directory(struct removal *removal, DIR *dir, int level)
{
    unsigned moved;
    int rc;
    if (level == 0)
        removal->top_fd = dirfd(dir);
    do {
        moved = removal->moved;
        rewinddir(dir);
        rc = remove_children(removal, dir, level);
    } while (rc == 0 && level == 0 && removal->moved != moved);
    return rc;
}

static int remove_directory(struct removal *removal, int dir_fd, const char *name, int level)
{
    FL_CLEANUP_FD int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return -errno;
    if (st.st_dev != removal->device)
        return -EXDEV;
    DIR *dir = fdopendir(fd);
    if (!dir)
        return -errno;
    (void)FL_TAKE_FD(fd); /* dir's now */
    int rc = empty_directory(removal, dir, level);
    (void)closedir(dir);
    if (rc == 0 && unlinkat(dir_fd, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
        rc = -errno;
    return rc;
}

static int remove_entry(struct removal *removal, int dir_fd, const char *name, int level)
{
    if (unlinkat(dir_fd, name, 0) == 0 || errno == ENOENT)
        return 0;
    if (errno != EISDIR && errno != EPERM)
        return -errno;
    if (level < LEVELS_MAX)
        return remove_directory(removal, dir_fd, name, level);
    /* An empty one need not be moved. */
    if (unlinkat(dir_fd, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
        return 0;
    return move_up(removal, dir_fd, name);
}

int fl_fs_remove_tree(int dir_fd, const char *name)
{
    struct stat st;
    if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : -errno;
    /* The tree must lie in its parent's file system: a mount point is refused. */
    FL_CLEANUP_FD int parent = -1;
    const char *slash = strrchr(name, '/');
    char path[PATH_MAX];
    size_t n = slash ? (size_t)(slash - name) : 0;
    if (n >= sizeof(path))
        return -ENAMETOOLONG;
    memcpy(path, name, n);
    path[n] = '\0';
    parent = openat(dir_fd, n ? path : (slash ? "/" : "."), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct stat parent_st;
    if (parent < 0 || fstat(parent, &parent_st) < 0)
        return -errno;
    if (parent_st.st_dev != st.st_dev)
        return -EXDEV;
    struct removal removal = {.device = st.st_dev, .top_fd = -1};
    fl_random_bytes(&removal.salt, sizeof(removal.salt));
    return remove_entry(&removal, dir_fd, name, 0);
}
