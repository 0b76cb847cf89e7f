/* Mounting by descriptor: a place is resolved as text, then opened without following any link. */
#include "shim/mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/str.h"
#include "shim/place.h"

static int open_plain(int root_fd, const char *path)
{
    struct open_how how = {.flags = O_PATH | O_CLOEXEC,
                           .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS};
    int fd = (int)syscall(SYS_openat2, root_fd, path, &how, sizeof(how));
    return fd < 0 ? -errno : fd;
}

/* A directory, or at the path's end what the source is. */
static int make_component(int dir_fd, const char *name, bool is_dir)
{
    if (is_dir)
        return mkdirat(dir_fd, name, 0755) < 0 && errno != EEXIST ? -errno : 0;
    int fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (fd < 0)
        return -errno;
    (void)close(fd);
    return 0;
}

static int step_into(int *dir_fd, const char *name)
{
    int next = openat(*dir_fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    struct stat st;
    if (next < 0 || fstat(next, &st) < 0) {
        int rc = -errno;
        if (next >= 0)
            (void)close(next);
        return rc;
    }
    (void)close(*dir_fd);
    *dir_fd = next;
    return S_ISLNK(st.st_mode) ? -ELOOP : 0;
}

static int enter(int *dir_fd, struct fl_str name, bool is_dir)
{
    char text[NAME_MAX + 1];
    if (name.n > NAME_MAX)
        return -ENAMETOOLONG;
    memcpy(text, name.p, name.n);
    text[name.n] = '\0';
    int rc = step_into(dir_fd, text);
    if (rc != -ENOENT)
        return rc;
    rc = make_component(*dir_fd, text, is_dir);
    return rc < 0 ? rc : step_into(dir_fd, text);
}

/* Makes what is missing of a path without links, and opens its end. */
static int make_place(int root_fd, const char *path, bool is_dir)
{
    FL_CLEANUP_FD int fd = open_plain(root_fd, ".");
    struct fl_str rest = fl_str_of(path), name;
    int rc = FL_MIN(fd, 0);
    while (rc == 0 && fl_str_split(&rest, '/', &name))
        if (name.n > 0)
            rc = enter(&fd, name, rest.n > 0 || is_dir);
    return rc < 0 ? rc : FL_TAKE_FD(fd);
}

static int open_place(int root_fd, const char *place, bool is_dir)
{
    char path[PATH_MAX];
    int rc = place_resolve(root_fd, place, path);
    if (rc < 0)
        return rc;
    if (place_is_forbidden(path, place))
        return -EPERM;
    int fd = open_plain(root_fd, path);
    return fd == -ENOENT ? make_place(root_fd, path, is_dir) : fd;
}

static int bind(int root_fd, const char *source, const char *place, bool read_only)
{
    struct mount_attr attr = {.attr_set = read_only ? MOUNT_ATTR_RDONLY : 0,
                              .propagation = MS_PRIVATE};
    struct stat st;
    FL_CLEANUP_FD int tree =
        open_tree(AT_FDCWD, source, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
    if (tree < 0 || fstat(tree, &st) < 0 ||
        mount_setattr(tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr, sizeof(attr)) < 0)
        return -errno;
    FL_CLEANUP_FD int fd = open_place(root_fd, place, S_ISDIR(st.st_mode));
    if (fd < 0)
        return fd;
    int rc = move_mount(tree, "", fd, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
    return rc < 0 ? -errno : 0;
}

/* "<flags of mount(2)> <options>" */
static int mount_tmpfs(int root_fd, const char *order, const char *place)
{
    char target[64];
    char *options;
    unsigned long flags = strtoul(order, &options, 10);
    FL_CLEANUP_FD int fd = open_place(root_fd, place, true);
    if (fd < 0)
        return fd;
    (void)snprintf(target, sizeof(target), "/proc/self/fd/%d", fd);
    options += *options == ' ';
    return mount("tmpfs", target, "tmpfs", flags, options) < 0 ? -errno : 0;
}

int mounts_make(int dir_fd, const struct orders *orders, const char **ret_place)
{
    int rc = 0;
    if (orders->mounts.count == 0)
        return 0;
    FL_CLEANUP_FD int root_fd = openat(dir_fd, "rootfs", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root_fd < 0)
        return -errno;
    for (size_t i = 0; rc == 0 && i < orders->mounts.count; i += 2) {
        const char *what = orders->mounts.items[i], *place = orders->mounts.items[i + 1];
        *ret_place = place + 1;
        rc = what[0] == 'b' ? bind(root_fd, what + 1, place + 1, place[0] == 'r')
                            : mount_tmpfs(root_fd, what + 1, place + 1);
    }
    return rc;
}
