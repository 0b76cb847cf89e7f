/* Entering namespaces by descriptor and by process. */
#include "shim/namespaces.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "shim/shim.h"

int namespaces_enter_network(const struct orders *orders)
{
    if (!orders->has_netns)
        return 0;
    int rc = setns(SHIM_NETNS_FD, CLONE_NEWNET) < 0 ? -errno : 0;
    (void)close(SHIM_NETNS_FD);
    return rc;
}

static int enter_namespace(pid_t pid, const char *name, int type)
{
    char path[64];
    (void)snprintf(path, sizeof(path), "/proc/%d/ns/%s", (int)pid, name);
    FL_CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd < 0 || setns(fd, type) < 0 ? -errno : 0;
}

int namespaces_enter_holder(const struct orders *orders, const char *dir, int *dir_fd)
{
    pid_t pid = orders->holder_pid;
    if (pid == 0)
        return 0;
    int rc = orders->joins_ipc ? enter_namespace(pid, "ipc", CLONE_NEWIPC) : 0;
    if (rc == 0)
        rc = enter_namespace(pid, "mnt", CLONE_NEWNS);
    if (rc < 0 || unshare(CLONE_NEWNS) < 0)
        return rc < 0 ? rc : -errno;
    (void)close(*dir_fd);
    *dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return *dir_fd < 0 || fchdir(*dir_fd) < 0 ? -errno : 0;
}

/* "net/core/somaxconn 4096": by now we are in the namespaces that the parameters belong to. */
static int set_sysctl(const char *order)
{
    char path[1100];
    const char *value = strchr(order, ' ');
    if (!value || strstr(order, ".."))
        return -EINVAL;
    int n = snprintf(path, sizeof(path), "/proc/sys/%.*s", (int)(value - order), order);
    if (n < 0 || (size_t)n >= sizeof(path))
        return -ENAMETOOLONG;
    FL_CLEANUP_FD int fd = open(path, O_WRONLY | O_CLOEXEC);
    return fd < 0 ? -errno : fl_fs_write_all(fd, value + 1, strlen(value + 1));
}

int namespaces_set_sysctls(const struct orders *orders)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < orders->sysctls.count; i++)
        rc = set_sysctl(orders->sysctls.items[i]);
    return rc;
}
