/* Mounting the overlay.
 *
 * Each directory is opened first and named by its descriptor, relative to /proc/self/fd: 128
 * layers fit into the page that mount(2) takes, and no character of a path needs quoting. */
#include "shim/rootfs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"

/* What is open while the mount is made. */
struct opened {
    int fds[ORDERS_MAX_LAYERS + 3];
    size_t count;
};

static void close_all(struct opened *opened)
{
    while (opened->count > 0)
        (void)close(opened->fds[--opened->count]);
}

static int open_dir(struct opened *opened, int dir_fd, const char *path)
{
    int fd = openat(dir_fd, path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    FL_ASSERT(opened->count < FL_ARRAY_SIZE(opened->fds));
    opened->fds[opened->count++] = fd;
    return fd;
}

static int make_dir(struct opened *opened, int dir_fd, const char *name)
{
    if (mkdirat(dir_fd, name, 0755) < 0 && errno != EEXIST)
        return -errno;
    return open_dir(opened, dir_fd, name);
}

/* The upper directory's owner and mode are those of the container's "/". */
static int copy_root_attributes(int layer_fd, int dir_fd)
{
    struct stat st;
    if (fstat(layer_fd, &st) < 0)
        return -errno;
    if (fchownat(dir_fd, "upper", st.st_uid, st.st_gid, AT_SYMLINK_NOFOLLOW) < 0 ||
        fchmodat(dir_fd, "upper", st.st_mode & 07777, 0) < 0)
        return -errno;
    return 0;
}

static int open_layers(struct opened *opened, const struct orders *orders, int dir_fd,
                       struct fl_buf *options)
{
    for (size_t i = 0; i < orders->layer_count; i++) {
        int fd = open_dir(opened, AT_FDCWD, orders->layers[i]);
        int rc = fd < 0 ? fd : i == 0 ? copy_root_attributes(fd, dir_fd) : 0;
        if (rc < 0)
            return rc;
        fl_buf_printf(options, "%s%d", i == 0 ? "lowerdir=" : ":", fd);
    }
    return 0;
}

/* volatile: the upper directory dies with the container, so no sync is worth its time. */
static int mount_overlay(const char *options, int rootfs_fd)
{
    char target[32];
    (void)snprintf(target, sizeof(target), "%d", rootfs_fd);
    if (chdir("/proc/self/fd") < 0)
        return -errno;
    return mount("overlay", target, "overlay", 0, options) < 0 ? -errno : 0;
}

static int mount_either(struct fl_buf *options, int rootfs_fd)
{
    size_t plain = options->n;
    fl_buf_add_z(options, ",volatile");
    if (options->overflow)
        return -E2BIG;
    int rc = mount_overlay(options->p, rootfs_fd);
    if (rc != -EINVAL)
        return rc;
    options->p[plain] = '\0'; /* kernels before 5.10 do not know it */
    return mount_overlay(options->p, rootfs_fd);
}

static int open_and_mount(struct opened *opened, int dir_fd, const struct orders *orders)
{
    FL_CLEANUP_BUF struct fl_buf options = FL_BUF_INIT(4000);
    int upper_fd = make_dir(opened, dir_fd, "upper");
    int work_fd = make_dir(opened, dir_fd, "work");
    int rootfs_fd = make_dir(opened, dir_fd, "rootfs");
    if (upper_fd < 0 || work_fd < 0 || rootfs_fd < 0)
        return FL_MIN(FL_MIN(upper_fd, work_fd), rootfs_fd);
    int rc = open_layers(opened, orders, dir_fd, &options);
    if (rc < 0)
        return rc;
    fl_buf_printf(&options, ",upperdir=%d,workdir=%d", upper_fd, work_fd);
    return mount_either(&options, rootfs_fd);
}

int rootfs_mount(int dir_fd, const struct orders *orders)
{
    struct opened opened = {.count = 0};
    int rc = open_and_mount(&opened, dir_fd, orders);
    close_all(&opened);
    if (fchdir(dir_fd) < 0 && rc == 0)
        rc = -errno;
    return rc;
}
