/* The holder of a task's namespaces.
 *
 * Two processes: one waits for the lock that every shim of the task holds, in a mount namespace
 * with the task's shared memory; the other, where processes are shared, is process 1 of their
 * namespace: it buries whom nobody else does. That one can be seen by the containers, so it has
 * nothing that they could want: an empty root, no capability, no way to get one. */
#include "shim/hold.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/util.h"

#define HOLD_FLAGS (MS_NOSUID | MS_NODEV | MS_NOEXEC)

static int mount_shared_memory(const char *dir, const char *size)
{
    char options[64];
    (void)snprintf(options, sizeof(options), "mode=1777,size=%s", size);
    if (unshare(CLONE_NEWNS) < 0 || mount("shm", dir, "tmpfs", HOLD_FLAGS, options) < 0)
        return -errno;
    return 0;
}

/* A file system of its own and nothing else: the host's is gone from this mount namespace. */
static int empty_root(const char *dir)
{
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("none", dir, "tmpfs", HOLD_FLAGS, "size=4k,mode=555") < 0 || chdir(dir) < 0 ||
        syscall(SYS_pivot_root, ".", ".") < 0 || umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
        return -errno;
    return mount(NULL, "/", NULL, MS_REMOUNT | MS_RDONLY | HOLD_FLAGS, NULL) < 0 ? -errno : 0;
}

static int drop_capabilities(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[2] = {0};
    for (int i = 0; prctl(PR_CAPBSET_READ, i, 0, 0, 0) >= 0; i++)
        (void)prctl(PR_CAPBSET_DROP, i, 0, 0, 0);
    if (syscall(SYS_capset, &header, none) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return -errno;
    return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 ? -errno : 0;
}

/* Signals stay blocked: process 1 ends when its parent does. */
static void bury(void)
{
    sigset_t child;
    (void)sigemptyset(&child);
    (void)sigaddset(&child, SIGCHLD);
    for (;;) {
        while (waitpid(-1, NULL, WNOHANG) > 0)
            ;
        (void)sigwaitinfo(&child, NULL);
    }
}

/* Says when it is ready by closing its end of the pipe after one byte. */
static void run_first(const char *dir, int ready_fd)
{
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || empty_root(dir) < 0 || drop_capabilities() < 0 ||
        write(ready_fd, "1", 1) != 1)
        _exit(1);
    (void)close_range(0, ~0U, 0);
    bury();
}

static pid_t start_first(const char *dir, int lock_fd)
{
    int fds[2];
    char byte;
    if (unshare(CLONE_NEWPID) < 0 || pipe2(fds, O_CLOEXEC) < 0)
        return -errno;
    pid_t pid = fork();
    if (pid == 0) {
        (void)close(lock_fd);
        (void)close(fds[0]);
        run_first(dir, fds[1]);
    }
    (void)close(fds[1]);
    bool ready = pid > 0 && read(fds[0], &byte, 1) == 1;
    (void)close(fds[0]);
    return ready ? pid : -EIO;
}

static int hold(const char *lock, const char *dir, const char *size, const char *namespaces)
{
    bool has_pid = strstr(namespaces, "pid") != NULL;
    pid_t first = getpid();
    sigset_t all;
    (void)sigfillset(&all);
    (void)sigprocmask(SIG_SETMASK, &all, NULL);
    FL_CLEANUP_FD int lock_fd = open(lock, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (lock_fd < 0 || mount_shared_memory(dir, size) < 0)
        return 1;
    if (strstr(namespaces, "ipc") && unshare(CLONE_NEWIPC) < 0)
        return 1;
    if (has_pid)
        first = start_first(dir, lock_fd);
    if (first < 0 || dprintf(STDOUT_FILENO, "%d %d\n", (int)getpid(), (int)first) < 0)
        return 1;
    (void)close(STDOUT_FILENO);
    while (flock(lock_fd, LOCK_EX) < 0 && errno == EINTR)
        ;
    if (has_pid && kill(first, SIGKILL) == 0)
        (void)waitpid(first, NULL, 0);
    return 0;
}

int hold_main(int argc, char *argv[])
{
    if (argc != 4)
        return 2;
    (void)close_range(STDERR_FILENO + 1, ~0U, 0);
    /* Who started us waits for this one; the holder outlives it, and is nobody's to bury. */
    pid_t pid = fork();
    if (pid != 0)
        return pid < 0;
    return hold(argv[0], argv[1], argv[2], argv[3]);
}
