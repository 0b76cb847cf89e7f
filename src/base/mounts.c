/* A mount namespace of one's own; see the header. */
#include "base/mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdbool.h>
#include <sys/mount.h>
#include <sys/stat.h>

enum { MAX_CLIMB = 1000 };

static int make_slave(void)
{
    return mount("none", "/", NULL, MS_REC | MS_SLAVE, NULL) < 0 ? -errno : 0;
}

/* From the current directory to the namespace's real root. */
static int climb(void)
{
    for (int i = 0; i < MAX_CLIMB; i++) {
        struct stat here;
        struct stat above;
        if (stat(".", &here) < 0 || stat("..", &above) < 0)
            return -errno;
        if (here.st_dev == above.st_dev && here.st_ino == above.st_ino)
            return 0;
        if (chdir("..") < 0)
            return -errno;
    }
    return -ELOOP;
}

/* Makes the current directory the root, by a recursive mount of it on itself. */
static int enter_as_mount(void)
{
    char path[PATH_MAX];
    if (!getcwd(path, sizeof(path)) || mount(".", ".", NULL, MS_BIND | MS_REC, NULL) < 0 ||
        chdir(path) < 0 || chroot(".") < 0)
        return -errno;
    return 0;
}

/* In a chroot whose root is no mount the one below it has no name, and container runtimes cannot
 * change roots. A process may leave a chroot by entering a deeper one while it holds the outer
 * directory: so the real root is named once, and the old one entered again as a mount. */
static int make_slave_from_outside(void)
{
    FL_CLEANUP_FD int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root < 0 || chroot("/proc") < 0 || fchdir(root) < 0)
        return -errno;
    int r = climb();
    if (r == 0 && chroot(".") < 0)
        r = -errno;
    if (r == 0)
        r = make_slave();
    /* A process must not go on in a root that it was not given. */
    bool is_back = fchdir(root) == 0 && (r == 0 ? (r = enter_as_mount()) == 0 : chroot(".") == 0);
    FL_ASSERT(is_back);
    return r;
}

int fl_mounts_unshare(struct fl_err *err)
{
    if (unshare(CLONE_NEWNS) < 0)
        return fl_err_errno(err, -errno, "cannot make a mount namespace (is this root?)");
    int r = chdir("/") < 0 ? -errno : make_slave();
    if (r == -EINVAL)
        r = make_slave_from_outside();
    return r < 0 ? fl_err_errno(err, r, "cannot detach the mount namespace from the host's") : 0;
}
