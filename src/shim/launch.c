/* fairlead-launch.so: shims and runtimes without the start of a program.
 *
 * To start crun is a quarter of what it does: a dynamic program with eleven libraries is
 * mapped, relocated and initialised, and the C library asks the processor some sixty questions
 * (CPUID), each of which traps in a virtual machine. So the agent starts it once, with this module
 * loaded before it: its main function is held back, and for each container a copy of the process
 * becomes the shim, and a copy of that calls the main function with the arguments of one run.
 *
 * The agent is at the other end of descriptor 0, a SOCK_SEQPACKET socket: one byte from us says
 * that we are ready; each message from it (base/launch.h) names a container's directory; the answer
 * is that name again, with the shim's pidfd. The end of the socket is our end, and no shim's. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/launch.h"
#include "base/spawn.h"
#include "base/util.h"
#include "shim/shim.h"

enum { SOCKET_FD = STDIN_FILENO, FREE_FD = 10 };

typedef int start_main(shim_program *program, int argc, char **argv, void (*init)(void),
                       void (*fini)(void), void (*rtld_fini)(void), void *stack_end);

__attribute__((visibility("default"))) start_main __libc_start_main;

struct launcher {
    shim_program *program;
    char *title; /* the arguments' memory, which `ps` shows */
    size_t title_size;
    const char *shim_path;
    int signal_fd;
};

static struct launcher launcher;

struct request {
    char bytes[1 + PATH_MAX];
    int fds[FL_LAUNCH_FDS];
    size_t fd_count;
};

static void close_fds(struct request *request)
{
    while (request->fd_count > 0)
        (void)close(request->fds[--request->fd_count]);
}

static void take_fds(struct msghdr *message, struct request *request)
{
    struct cmsghdr *head = CMSG_FIRSTHDR(message);
    if (!head || head->cmsg_type != SCM_RIGHTS)
        return;
    request->fd_count = FL_MIN((head->cmsg_len - CMSG_LEN(0)) / sizeof(int), FL_LAUNCH_FDS);
    memcpy(request->fds, CMSG_DATA(head), request->fd_count * sizeof(int));
}

/* 1: a request, 0: nothing to do, -1: the agent is gone. */
static int receive(struct request *request)
{
    union {
        struct cmsghdr head;
        char space[CMSG_SPACE(FL_LAUNCH_FDS * sizeof(int))];
    } control;
    struct iovec part = {.iov_base = request->bytes, .iov_len = sizeof(request->bytes) - 1};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof(control)};
    request->fd_count = 0;
    ssize_t n = recvmsg(SOCKET_FD, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -1;
    take_fds(&message, request);
    if (n < 2) {
        close_fds(request);
        return n == 0 ? -1 : 0;
    }
    request->bytes[n] = '\0';
    return 1;
}

/* "<shim's program>\0<directory>\0", as if it had been executed. */
static void set_title(const char *dir)
{
    size_t used = strlen(launcher.shim_path) + 1;
    char path[PATH_MAX] = "";
    if (used >= sizeof(path))
        return;
    memcpy(path, launcher.shim_path, used);
    memset(launcher.title, 0, launcher.title_size);
    if (used + strlen(dir) + 1 > launcher.title_size)
        return;
    memcpy(launcher.title, path, used);
    memcpy(launcher.title + used, dir, strlen(dir));
}

/* Out of the way first: what was received may have the number that another one is to get. */
static bool place_fds(const struct request *request)
{
    static const struct {
        int flag;
        int fd;
    } wanted[FL_LAUNCH_FDS] = {{FL_LAUNCH_NETNS, SHIM_NETNS_FD}, {FL_LAUNCH_LOCK, SHIM_LOCK_FD}};
    int moved[FL_LAUNCH_FDS];
    size_t next = 0;
    for (size_t i = 0; i < request->fd_count; i++)
        if ((moved[i] = fcntl(request->fds[i], F_DUPFD_CLOEXEC, FREE_FD)) < 0)
            return false;
    (void)close_range(STDERR_FILENO + 1, SHIM_LOCK_FD, 0);
    for (size_t i = 0; i < FL_LAUNCH_FDS; i++)
        if ((request->bytes[0] & wanted[i].flag) &&
            (next >= request->fd_count || dup2(moved[next++], wanted[i].fd) < 0))
            return false;
    return next == request->fd_count;
}

/* From here on it is a shim like one that was executed. */
static void become_shim(struct request *request)
{
    const char *dir = request->bytes + 1;
    if (!place_fds(request) || setsid() < 0 || dup2(STDOUT_FILENO, STDIN_FILENO) < 0)
        _exit(2);
    set_title(dir);
    (void)prctl(PR_SET_NAME, "fairlead-shim");
    _exit(shim_run(dir, launcher.program));
}

/* The answer carries what says when the shim is gone; nobody else may reap it before that is made.
 */
static bool answer(struct request *request, int pidfd)
{
    union {
        struct cmsghdr head;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {.head = {.cmsg_len = CMSG_LEN(sizeof(int)),
                          .cmsg_level = SOL_SOCKET,
                          .cmsg_type = SCM_RIGHTS}};
    struct iovec part = {.iov_base = request->bytes + 1, .iov_len = strlen(request->bytes + 1)};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (pidfd >= 0) {
        memcpy(CMSG_DATA(&control.head), &pidfd, sizeof(pidfd));
        message.msg_control = &control;
        message.msg_controllen = sizeof(control);
    }
    return sendmsg(SOCKET_FD, &message, MSG_NOSIGNAL) >= 0;
}

static bool launch(struct request *request)
{
    pid_t pid = fork();
    if (pid == 0)
        become_shim(request);
    close_fds(request);
    FL_CLEANUP_FD int pidfd = pid > 0 ? pidfd_open(pid, 0) : -1;
    return answer(request, pidfd);
}

static void bury(void)
{
    struct signalfd_siginfo info[8];
    while (read(launcher.signal_fd, info, sizeof(info)) == (ssize_t)sizeof(info))
        ;
    while (waitpid(-1, NULL, WNOHANG) > 0)
        ;
}

static void serve(void)
{
    static struct request request;
    struct pollfd fds[2] = {{.fd = SOCKET_FD, .events = POLLIN},
                            {.fd = launcher.signal_fd, .events = POLLIN}};
    for (;;) {
        if (poll(fds, 2, -1) < 0)
            continue;
        if (fds[1].revents)
            bury();
        int rc = fds[0].revents ? receive(&request) : 0;
        if (rc < 0 || (rc > 0 && !launch(&request)))
            return;
    }
}

/* Deaf to all signals: the agent's end is ours, nobody else's word. */
static bool settle(int argc, char **argv)
{
    sigset_t all;
    (void)sigfillset(&all);
    if (argc != FL_LAUNCH_ARGS || sigprocmask(SIG_SETMASK, &all, NULL) < 0)
        return false;
    launcher.title = argv[0];
    launcher.title_size = (size_t)(argv[argc - 1] - argv[0]) + strlen(argv[argc - 1]) + 1;
    launcher.shim_path = strdup(argv[1]);
    memset(argv[1], 0, launcher.title_size - (size_t)(argv[1] - argv[0])); /* no sight */
    environ = (char **)(uintptr_t)fl_spawn_environment;
    (void)close_range(STDERR_FILENO + 1, SHIM_LOCK_FD, 0);
    (void)close_range(SHIM_QUICK_FD + 1, ~0U, 0);
    (void)prctl(PR_SET_NAME, "fairlead-launch");
    int fd = signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK);
    launcher.signal_fd = fcntl(fd, F_DUPFD_CLOEXEC, FREE_FD);
    (void)close(fd);
    return launcher.shim_path && launcher.signal_fd >= 0 &&
           send(SOCKET_FD, "1", 1, MSG_NOSIGNAL) == 1;
}

static int launcher_main(int argc, char **argv, FL_UNUSED char **environment)
{
    if (settle(argc, argv))
        serve();
    _exit(0);
}

/* The start of the program comes by here with its main function. */
int __libc_start_main(shim_program *program, int argc, char **argv, void (*init)(void),
                      void (*fini)(void), void (*rtld_fini)(void), void *stack_end)
{
    start_main *real;
    void *found = dlsym(RTLD_NEXT, "__libc_start_main");
    memcpy(&real, &found, sizeof(real));
    launcher.program = program;
    return real ? real(launcher_main, argc, argv, init, fini, rtld_fini, stack_end) : 1;
}
