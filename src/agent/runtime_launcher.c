/* The process that launches shims (src/shim/launch.c): its start, what it is asked, and what it
 * answers. Where it cannot be, each shim is a program started anew. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/runtime_internal.h"
#include "base/launch.h"
#include "base/log.h"
#include "base/spawn.h"

enum {
    SOCKET_FD = STDIN_FILENO,
    QUICK_FD = 6,
    MODULE_FD = 7,
    FREE_FD = 10,
    READY_MS = 5000,
    PADDING = 1024, /* longer than directories of containers are */
};

static void free_handle(uv_handle_t *handle)
{
    free(handle);
}

/* What it was asked for may have begun or not: who does not show itself in a while is lost. */
static void end_launcher(struct fl_runtime *runtime)
{
    struct fl_runtime_container *container, *next;
    if (runtime->launcher_poll)
        uv_close((uv_handle_t *)FL_TAKE_PTR(runtime->launcher_poll), free_handle);
    if (runtime->launcher_fd >= 0)
        (void)close(FL_TAKE_FD(runtime->launcher_fd));
    if (runtime->launcher_pid > 0) {
        (void)kill(runtime->launcher_pid, SIGKILL);
        (void)waitpid(runtime->launcher_pid, NULL, 0);
        runtime->launcher_pid = 0;
    }
    HASH_ITER(by_id, runtime->containers, container, next)
    {
        if (container->is_asked)
            fl_runtime_watch_grace(container);
        container->is_asked = false;
    }
}

/* ---- answers ---- */

/* A directory and, where there is a shim, its pidfd; the length, 0 at the end, -errno. */
static ssize_t receive(int fd, char *path, size_t size, int *ret_pidfd)
{
    union {
        struct cmsghdr head;
        char space[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec part = {.iov_base = path, .iov_len = size - 1};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof(control)};
    *ret_pidfd = -1;
    ssize_t n = recvmsg(fd, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    if (n < 0)
        return -errno;
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    if (head && head->cmsg_type == SCM_RIGHTS && head->cmsg_len == CMSG_LEN(sizeof(int)))
        memcpy(ret_pidfd, CMSG_DATA(head), sizeof(int));
    return n;
}

static void take_answer(struct fl_runtime *runtime, struct fl_str dir, int pidfd)
{
    ptrdiff_t slash = fl_str_rindex(dir, '/');
    struct fl_runtime_container *container =
        slash < 0 ? NULL : fl_runtime_find(runtime, fl_str_from(dir, (size_t)slash + 1));
    bool is_awaited = container && container->is_asked;
    if (is_awaited)
        container->is_asked = false;
    if (is_awaited && pidfd >= 0)
        (void)fl_runtime_watch_shim(container, pidfd);
    else if (is_awaited)
        fl_runtime_watch_later(container);
    else if (pidfd >= 0)
        (void)close(pidfd);
}

static void on_answer(uv_poll_t *poll, FL_UNUSED int status, FL_UNUSED int events)
{
    struct fl_runtime *runtime = poll->data;
    char path[PATH_MAX];
    int pidfd;
    ssize_t n = 0;
    while (runtime->launcher_fd >= 0 &&
           (n = receive(runtime->launcher_fd, path, sizeof(path), &pidfd)) > 0)
        take_answer(runtime, (struct fl_str){path, (size_t)n}, pidfd);
    if (n == -EAGAIN || n == -EINTR)
        return;
    fl_log_warn("the launcher of containers has ended; their monitors are started one by one");
    end_launcher(runtime);
}

/* ---- its start ---- */

/* LD_PRELOAD takes no name with a space or a colon: a descriptor's has neither. */
static int spawn(struct fl_runtime *runtime, int module_fd, int socket_fd)
{
    static char padding[PADDING];
    char program[32], preload[64];
    posix_spawnattr_t attr;
    posix_spawn_file_actions_t actions;
    memset(padding, '-', sizeof(padding) - 1);
    (void)snprintf(program, sizeof(program), "/proc/self/fd/%d", runtime->program_fd);
    (void)snprintf(preload, sizeof(preload), "LD_PRELOAD=/proc/self/fd/%d", MODULE_FD);
    char *const argv[FL_LAUNCH_ARGS + 1] = {(char *)"fairlead-launch",
                                            (char *)(uintptr_t)runtime->shim_path.p, padding, NULL};
    char *const environment[] = {preload, NULL};
    if (posix_spawnattr_init(&attr) != 0 || posix_spawn_file_actions_init(&actions) != 0)
        return -ENOMEM;
    fl_spawn_reset_signals(&attr, POSIX_SPAWN_SETSID);
    (void)posix_spawn_file_actions_adddup2(&actions, socket_fd, SOCKET_FD);
    (void)posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_RDWR, 0);
    (void)posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO);
    (void)posix_spawn_file_actions_adddup2(&actions, module_fd, MODULE_FD);
    if (runtime->cgroup.quick_fd >= 0)
        (void)posix_spawn_file_actions_adddup2(&actions, runtime->cgroup.quick_fd, QUICK_FD);
    int rc = posix_spawn(&runtime->launcher_pid, program, &actions, &attr, argv, environment);
    (void)posix_spawn_file_actions_destroy(&actions);
    (void)posix_spawnattr_destroy(&attr);
    return -rc;
}

/* A program that is linked statically never loads the module and ends with an error. */
static bool is_ready(int fd)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    char byte;
    return poll(&poll_fd, 1, READY_MS) == 1 && recv(fd, &byte, 1, MSG_DONTWAIT) == 1;
}

static int open_module(const struct fl_runtime *runtime)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    ptrdiff_t slash = fl_str_rindex(runtime->shim_path, '/');
    struct fl_str dir = fl_str_sub(runtime->shim_path, 0, (size_t)FL_MAX(slash, 0));
    FL_CLEANUP_FD int fd = open(fl_str_printf(arena, "%.*s/fairlead-launch.so", FL_STR_ARG(dir)).p,
                                O_RDONLY | O_CLOEXEC);
    return fd < 0 ? -errno : fcntl(fd, F_DUPFD_CLOEXEC, FREE_FD);
}

static bool start(struct fl_runtime *runtime)
{
    int fds[2];
    FL_CLEANUP_FD int module_fd = open_module(runtime);
    if (module_fd < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
        return false;
    FL_CLEANUP_FD int theirs = fcntl(fds[1], F_DUPFD_CLOEXEC, FREE_FD);
    (void)close(fds[1]);
    runtime->launcher_fd = fds[0];
    if (theirs < 0 || spawn(runtime, module_fd, theirs) < 0)
        return false;
    (void)close(FL_TAKE_FD(theirs)); /* else its end would not be seen */
    return is_ready(runtime->launcher_fd);
}

void fl_runtime_launcher_open(struct fl_runtime *runtime)
{
    if (runtime->program_fd < 0)
        return;
    if (!start(runtime)) {
        end_launcher(runtime);
        return;
    }
    uv_poll_t *poll = fl_calloc(1, sizeof(*poll));
    FL_ASSERT(uv_poll_init(runtime->loop, poll, runtime->launcher_fd) == 0);
    poll->data = runtime;
    runtime->launcher_poll = poll;
    FL_ASSERT(uv_poll_start(poll, UV_READABLE, on_answer) == 0);
}

void fl_runtime_launcher_close(struct fl_runtime *runtime)
{
    end_launcher(runtime);
}

/* ---- requests ---- */

int fl_runtime_launcher_ask(struct fl_runtime *runtime, struct fl_runtime_container *container,
                            struct fl_str dir, int netns_fd, int lock_fd)
{
    union {
        struct cmsghdr head;
        char space[CMSG_SPACE(FL_LAUNCH_FDS * sizeof(int))];
    } control = {.head = {.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
    char flags =
        (char)((netns_fd >= 0 ? FL_LAUNCH_NETNS : 0) | (lock_fd >= 0 ? FL_LAUNCH_LOCK : 0));
    struct iovec parts[2] = {{&flags, 1}, {(char *)(uintptr_t)dir.p, dir.n}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    const int given[FL_LAUNCH_FDS] = {netns_fd, lock_fd};
    int fds[FL_LAUNCH_FDS];
    size_t count = 0;
    if (runtime->launcher_fd < 0)
        return -ENOENT;
    for (size_t i = 0; i < FL_LAUNCH_FDS; i++)
        if (given[i] >= 0)
            fds[count++] = given[i];
    if (count > 0) {
        control.head.cmsg_len = CMSG_LEN(count * sizeof(int));
        memcpy(CMSG_DATA(&control.head), fds, count * sizeof(int));
        message.msg_control = &control;
        message.msg_controllen = CMSG_SPACE(count * sizeof(int));
    }
    if (sendmsg(runtime->launcher_fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
        return -errno;
    container->is_asked = true;
    return 0;
}
