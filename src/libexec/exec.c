/* fairlead-exec: runs commands in containers. It takes requests as long as its agent lives, and for
 * each it forks: beginning a program anew would cost more than all the rest. The child runs one
 * command, watches its time and its output, answers, ends.
 *
 * The descriptors are described in base/exec_orders.h. Both stay outside, in the agent's cgroup and
 * namespaces: what the container does to the command it cannot do to them. When the agent goes,
 * nobody wants the answer any more, and the command is killed. */
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "libexec/exec.h"

enum {
    NOT_BEGUN = -1,
    NOT_FOUND = 127,
    NOT_EXECUTABLE = 126,
    REQUESTS_FD = 0,
    FREE_FD = 10,
    GRACE_S = 3, /* for what is not the command, should it hang */
};

struct run {
    struct exec_orders orders;
    int cgroup_fds[FL_EXEC_CGROUPS_MAX];
    int output_fd;
    pid_t pid;
    int pidfd;
    size_t output_n;
    char output[FL_EXEC_OUTPUT_MAX];
};

static struct run run; /* zero pages cost nothing until used */

static int answer(const struct run *r, int status, bool timed_out)
{
    struct fl_exec_answer head = {.status = status, .timed_out = timed_out};
    int rc = fl_fs_write_all(FL_EXEC_ANSWER_FD, &head, sizeof(head));
    if (rc == 0)
        rc = fl_fs_write_all(FL_EXEC_ANSWER_FD, r->output, r->output_n);
    return rc < 0;
}

static int refuse(struct run *r, const char *what, int rc)
{
    int n = snprintf(r->output, sizeof(r->output), "%s: %s", what, strerror(-rc));
    r->output_n = n > 0 ? (size_t)n : 0;
    return answer(r, NOT_BEGUN, false);
}

static int open_cgroups(struct run *r)
{
    for (size_t i = 0; i < r->orders.cgroup_count; i++) {
        char path[4096];
        int n = snprintf(path, sizeof(path), "%s/cgroup.procs", r->orders.cgroups[i]);
        if (n < 0 || (size_t)n >= sizeof(path))
            return -ENAMETOOLONG;
        r->cgroup_fds[i] = open(path, O_WRONLY | O_CLOEXEC);
        if (r->cgroup_fds[i] < 0)
            return -errno;
    }
    return 0;
}

/* In the child: what goes wrong is its output, as a shell's complaint would be. */
static _Noreturn void become(const struct run *r, int output_fd)
{
    const char *what = "output";
    int rc = 0;
    if (dup2(output_fd, STDOUT_FILENO) < 0 || dup2(output_fd, STDERR_FILENO) < 0)
        rc = -errno;
    if (rc == 0)
        rc = exec_become(&r->orders, r->cgroup_fds, &what);
    (void)dprintf(STDERR_FILENO, "%s: %s\n", what, strerror(-rc));
    _exit(rc == -ENOENT ? NOT_FOUND : NOT_EXECUTABLE);
}

static int start(struct run *r)
{
    int fds[2];
    int null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (null_fd < 0 || dup2(null_fd, STDIN_FILENO) < 0 || pipe2(fds, O_CLOEXEC) < 0)
        return -errno;
    if (setns(FL_EXEC_PIDFD, CLONE_NEWPID) < 0)
        return -errno;
    r->pid = fork();
    if (r->pid < 0)
        return -errno;
    if (r->pid == 0)
        become(r, fds[1]);
    (void)close(fds[1]);
    r->output_fd = fds[0];
    r->pidfd = pidfd_open(r->pid, 0);
    return r->pidfd < 0 || fcntl(fds[0], F_SETFL, O_NONBLOCK) < 0 ? -errno : 0;
}

/* Keeps what fits and throws the rest away; false at the end of the output. */
static bool read_output(struct run *r)
{
    char bytes[4096];
    ssize_t n;
    while ((n = read(r->output_fd, bytes, sizeof(bytes))) > 0) {
        size_t room = r->orders.output_max - r->output_n;
        size_t take = FL_MIN((size_t)n, room);
        memcpy(r->output + r->output_n, bytes, take);
        r->output_n += take;
        if ((size_t)n < sizeof(bytes))
            return true; /* a writer without end must not keep us from looking at the time */
    }
    return n < 0 && (errno == EAGAIN || errno == EINTR);
}

/* True when the command has ended, false when its time has, or when nobody listens any more. */
static bool watch(struct run *r, int64_t deadline_ms)
{
    struct pollfd fds[3] = {
        {.fd = r->pidfd, .events = POLLIN},
        {.fd = r->output_fd, .events = POLLIN},
        {.fd = FL_EXEC_ANSWER_FD, .events = 0},
    };
    for (;;) {
        int64_t left_ms = deadline_ms - fl_clock_mono_ms();
        if (left_ms <= 0)
            return false;
        if (poll(fds, 3, (int)FL_MIN(left_ms, 60000)) < 0 && errno != EINTR)
            return false;
        if (fds[1].revents && !read_output(r))
            fds[1].fd = -1;
        if (fds[2].revents)
            return false;
        if (fds[0].revents)
            return true;
    }
}

/* Its whole session's group, and itself should it not have come so far. Before it is waited for, so
 * that the numbers are still its own. */
static void kill_all(const struct run *r)
{
    (void)kill(-r->pid, SIGKILL);
    (void)kill(r->pid, SIGKILL);
}

static int serve(struct run *r)
{
    int status = 0;
    (void)close_range(FL_EXEC_CONFINEMENT_FD + 1, ~0U, 0);
    (void)fcntl(FL_EXEC_ANSWER_FD, F_SETFD, FD_CLOEXEC);
    (void)signal(SIGCHLD, SIG_DFL);
    (void)alarm(GRACE_S);
    int rc = exec_orders_read(FL_EXEC_ORDERS_FD, &r->orders);
    if (rc == 0)
        rc = exec_orders_read(FL_EXEC_CONFINEMENT_FD, &r->orders);
    if (rc == 0 && !exec_orders_are_whole(&r->orders))
        rc = -EINVAL;
    if (rc < 0)
        return refuse(r, "orders", rc);
    int64_t deadline_ms = fl_clock_mono_ms() + r->orders.timeout_ms;
    (void)alarm((unsigned)FL_MIN(r->orders.timeout_ms / 1000, INT32_MAX / 2) + GRACE_S);
    rc = open_cgroups(r);
    if (rc < 0)
        return refuse(r, "cgroup", rc);
    rc = start(r);
    if (rc < 0 && r->pid > 0)
        kill_all(r);
    if (rc < 0)
        return refuse(r, "start", rc);
    bool ended = watch(r, deadline_ms);
    if (!ended)
        kill_all(r);
    if (waitpid(r->pid, &status, 0) < 0)
        return refuse(r, "wait", -errno);
    (void)read_output(r);
    return answer(r, WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status), !ended);
}

/* ---- requests ---- */

/* True when a whole request has come; *ret_is_over when none will. */
static bool receive(int fds[FL_EXEC_FDS], bool *ret_is_over)
{
    char byte;
    union {
        struct cmsghdr head;
        char space[CMSG_SPACE(FL_EXEC_FDS * sizeof(int))];
    } control;
    struct iovec part = {.iov_base = &byte, .iov_len = 1};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof(control)};
    ssize_t n = recvmsg(REQUESTS_FD, &message, MSG_CMSG_CLOEXEC);
    *ret_is_over = n == 0 || (n < 0 && errno != EINTR);
    struct cmsghdr *head = n > 0 ? CMSG_FIRSTHDR(&message) : NULL;
    if (!head || head->cmsg_type != SCM_RIGHTS ||
        head->cmsg_len != CMSG_LEN(FL_EXEC_FDS * sizeof(int)))
        return false;
    memcpy(fds, CMSG_DATA(head), FL_EXEC_FDS * sizeof(int));
    return true;
}

/* The received descriptors get the numbers that serve() knows; they are out of each other's way
 * first. */
static bool place(const int fds[FL_EXEC_FDS])
{
    static const int wanted[FL_EXEC_FDS] = {FL_EXEC_ORDERS_FD, FL_EXEC_ANSWER_FD, FL_EXEC_PIDFD,
                                            FL_EXEC_CONFINEMENT_FD};
    int moved[FL_EXEC_FDS];
    for (size_t i = 0; i < FL_EXEC_FDS; i++)
        if ((moved[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, FREE_FD)) < 0)
            return false;
    for (size_t i = 0; i < FL_EXEC_FDS; i++)
        if (dup2(moved[i], wanted[i]) < 0)
            return false;
    return true;
}

/* Who cannot fork says so by closing the answer's end. Who serves dies with us: so our agent ends
 * what hangs. */
static void begin(const int fds[FL_EXEC_FDS])
{
    pid_t self = getpid();
    if (fork() == 0) {
        bool is_mine = prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) == 0 && getppid() == self;
        _exit(is_mine && place(fds) ? serve(&run) : 2);
    }
    for (size_t i = 0; i < FL_EXEC_FDS; i++)
        (void)close(fds[i]);
}

/* Wakes recvmsg, after which what has ended is reaped. */
static void on_child(FL_UNUSED int number)
{
}

/* Without the C library's own end: what looks for leaks there would have to trace this process. */
int main(void)
{
    const struct sigaction wake = {.sa_handler = on_child, .sa_flags = SA_NOCLDSTOP};
    int fds[FL_EXEC_FDS];
    bool is_over = false;
    (void)close_range(STDERR_FILENO + 1, ~0U, 0);
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 || sigaction(SIGCHLD, &wake, NULL) < 0)
        _exit(2);
    while (!is_over) {
        if (receive(fds, &is_over))
            begin(fds);
        while (waitpid(-1, NULL, WNOHANG) > 0)
            continue;
    }
    _exit(0);
}
