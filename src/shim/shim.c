/* One container from its start to its end, whatever becomes of the agent; see the header.
 *
 * It mounts the root file system, runs the OCI runtime, copies the output into the spool, waits for
 * the container's first process (whose parent it becomes as a subreaper), and tells what happened
 * by files that appear by rename: `failed`, or `started` and later `exit`. It holds nothing of the
 * agent's and is deaf to all signals but SIGKILL. */
#include "shim/shim.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "shim/console.h"
#include "shim/fill.h"
#include "shim/mounts.h"
#include "shim/namespaces.h"
#include "shim/orders.h"
#include "shim/place.h"
#include "shim/process.h"
#include "shim/rootfs.h"
#include "shim/spool.h"

enum {
    DRAIN_MS = 2000,   /* a process outside the container's pid namespace may hold the pipe */
    RECHECK_MS = 50,   /* while the spool is full */
    GATHER_MS = 2,     /* lines that come one by one are read together; a pipe holds more */
    DELETE_MS = 10000, /* for the runtime's own removal */
    REASON_MAX = 4096,
    ADOPT_TRIES = 10000,
    ADOPT_PAUSE_US = 100,
    KILL_ROUNDS = 100,
    GROUP_MAX_BYTES = 1 << 20,
};

/* A sealed copy knows that it cannot be overwritten from a container; the program's own file would
 * first copy and execute itself again. */
#define RUNTIME_PATH "/proc/self/fd/4"

struct shim {
    int dir_fd;
    int signal_fd;
    shim_program *program; /* the runtime's, where it is loaded already */
    pid_t runtime_pid;     /* the runtime, while it runs */
    int runtime_status;
    bool runtime_done;
    pid_t pid; /* the container's first process; 0 until it is known */
    int64_t start_time;
    int status;
    bool exited;
    bool drained;
    struct orders orders;
    struct spool spool;
};

static struct shim shim; /* zero pages cost nothing until used */

/* Reaping: before the container's pid is known only the runtime is reaped, so that an early exit
 * is not lost; afterwards whatever was left to us. */
static void reap(struct shim *s)
{
    int status;
    pid_t pid;
    pid_t which = s->pid > 0 ? -1 : s->runtime_pid;
    while (which != 0 && (pid = waitpid(which, &status, WNOHANG)) > 0) {
        if (pid == s->pid) {
            s->status = status;
            s->exited = true;
        } else if (pid == s->runtime_pid) {
            s->runtime_status = status;
            s->runtime_done = true;
            s->runtime_pid = 0;
            break;
        } else if (pid == s->spool.compressor) {
            s->spool.compressor = 0;
        }
    }
}

static void drain_signals(int fd)
{
    struct signalfd_siginfo info[8];
    ssize_t n;
    do
        n = read(fd, info, sizeof(info));
    while (n == (ssize_t)sizeof(info));
}

static int remaining_ms(int64_t deadline_ms)
{
    if (deadline_ms < 0)
        return -1;
    int64_t left = deadline_ms - fl_clock_mono_ms();
    return left < 0 ? 0 : (int)FL_MIN(left, 1000000);
}

static void poll_once(struct shim *s, int timeout_ms)
{
    bool has_room = spool_has_room(&s->spool);
    struct pollfd fds[3] = {
        {.fd = s->signal_fd, .events = POLLIN},
        {.fd = has_room ? s->spool.streams[0].fd : -1, .events = POLLIN},
        {.fd = has_room ? s->spool.streams[1].fd : -1, .events = POLLIN},
    };
    if (!has_room && (timeout_ms < 0 || timeout_ms > RECHECK_MS))
        timeout_ms = RECHECK_MS;
    if (poll(fds, FL_ARRAY_SIZE(fds), timeout_ms) <= 0)
        return;
    bool came_little = false;
    for (size_t i = 0; i < 2; i++)
        if (fds[1 + i].revents)
            came_little |= spool_pump(&s->spool, &s->spool.streams[i]);
    if (!fds[0].revents && came_little)
        (void)poll(fds, 1, GATHER_MS);
    if (fds[0].revents)
        drain_signals(s->signal_fd);
}

/* Copies output and reaps until *done or the deadline (monotonic; -1: none). */
static bool pump_until(struct shim *s, const bool *done, int64_t deadline_ms)
{
    for (;;) {
        reap(s);
        s->drained = spool_is_done(&s->spool);
        if (*done)
            return true;
        int timeout_ms = remaining_ms(deadline_ms);
        if (timeout_ms == 0)
            return false;
        poll_once(s, timeout_ms);
    }
}

static bool run_to_end(struct shim *s, char *const argv[], int out_fd, int err_fd,
                       int64_t timeout_ms)
{
    s->runtime_done = false;
    pid_t pid = process_start(argv[0], argv, -1, out_fd, err_fd);
    if (pid < 0) {
        s->runtime_status = 127 << 8;
        return true;
    }
    s->runtime_pid = pid;
    if (pump_until(s, &s->runtime_done, fl_clock_mono_ms() + timeout_ms))
        return true;
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, &s->runtime_status, 0);
    s->runtime_pid = 0;
    return false;
}

/* A cgroup whose last process has just died may be busy for a moment. */
static bool remove_cgroup(const char *path)
{
    for (int try = 0; try < 20; try++) {
        if (rmdir(path) == 0 || errno == ENOENT)
            return true;
        if (errno != EBUSY)
            return false;
        (void)poll(NULL, 0, 1);
    }
    return false;
}

/* After the end of the pid namespace only empty directories are left; removing them ourselves
 * takes a fiftieth of the runtime's time. Where anything resists, the runtime does it. */
static void clean_up(struct shim *s)
{
    bool ok = true;
    for (size_t i = 0; i < s->orders.cgroup_count; i++)
        ok = remove_cgroup(s->orders.cgroups[i]) && ok;
    if (ok && fl_fs_remove_tree(AT_FDCWD, s->orders.state_dir) == 0)
        return;
    if (s->orders.delete_count > 0)
        (void)run_to_end(s, s->orders.delete, -1, -1, DELETE_MS);
    for (size_t i = 0; i < s->orders.cgroup_count; i++)
        (void)rmdir(s->orders.cgroups[i]);
}

static int fail(struct shim *s, struct fl_str reason)
{
    (void)fl_fs_write_fast(s->dir_fd, "failed", reason, 0600);
    return 1;
}

static int fail_errno(struct shim *s, const char *what, int rc)
{
    char text[256];
    (void)snprintf(text, sizeof(text), "%s: %s", what, strerror(-rc));
    return fail(s, fl_str_of(text));
}

static int fail_place(struct shim *s, const char *place, int rc)
{
    char text[512];
    (void)snprintf(text, sizeof(text), "invalid mount path: '%.300s' %s", place,
                   rc == -EPERM ? "leads into /proc or /sys, or to '/', in this image"
                                : strerror(-rc));
    return fail(s, fl_str_of(text));
}

/* The runtime's own words, for the agent to translate; "runtime" marks them. */
static int fail_runtime(struct shim *s, bool in_time)
{
    struct fl_buf text = FL_BUF_INIT(REASON_MAX + 64);
    fl_buf_add_z(&text, "runtime ");
    if (!in_time)
        fl_buf_add_z(&text, "the container runtime did not finish in time");
    else if (fl_fs_read(s->dir_fd, "runtime.log", REASON_MAX, &text) < 0 || text.n <= 8)
        fl_buf_printf(&text, "the container runtime ended with wait status %d and no message",
                      s->runtime_status);
    clean_up(s);
    return fail(s, fl_buf_str(&text));
}

static int open_pipes(struct shim *s, int write_ends[2])
{
    for (int i = 0; i < 2; i++) {
        int fds[2];
        if (pipe2(fds, O_CLOEXEC) < 0)
            return -errno;
        s->spool.streams[i].fd = fds[0];
        write_ends[i] = fds[1];
    }
    return 0;
}

static int write_started(struct shim *s, int64_t wall_ms)
{
    char text[160];
    int n = snprintf(text, sizeof(text), "%d %lld %lld %s\n", (int)s->pid, (long long)s->start_time,
                     (long long)wall_ms, s->orders.boot_id);
    return fl_fs_write_fast(s->dir_fd, "started", (struct fl_str){text, (size_t)n}, 0600);
}

/* Its end must be ours to see: nobody else's child is waited for, nor one reaped already. It
 * becomes ours when the runtime's last helper ends, which may be a moment after the runtime itself.
 */
static bool becomes_child(pid_t pid)
{
    siginfo_t info;
    for (int i = 0; i < ADOPT_TRIES; i++) {
        if (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0)
            return true;
        if (kill(pid, 0) < 0)
            return false;
        (void)usleep(ADOPT_PAUSE_US);
    }
    return false;
}

/* What the runtime, and by it the container, gets as standard streams. */
struct streams {
    int in;
    int ends[2];
    int console; /* the listening socket; -1: no terminal */
};

/* The other end of stdin stays open with us, and nobody writes. */
static int open_stdin(struct streams *streams)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) < 0)
        return -errno;
    streams->in = fds[0];
    return 0;
}

static int open_streams(struct shim *s, struct streams *streams)
{
    *streams = (struct streams){.in = -1, .ends = {-1, -1}, .console = -1};
    if (s->orders.has_console) {
        streams->console = console_listen();
        return FL_MIN(streams->console, 0);
    }
    int rc = s->orders.has_stdin ? open_stdin(streams) : 0;
    return rc < 0 ? rc : open_pipes(s, streams->ends);
}

static void close_ends(struct streams *streams)
{
    const int fds[] = {streams->in, streams->ends[0], streams->ends[1]};
    for (size_t i = 0; i < FL_ARRAY_SIZE(fds); i++)
        if (fds[i] >= 0)
            (void)close(fds[i]);
}

static int await_runtime(struct shim *s, pid_t pid)
{
    s->runtime_pid = pid;
    if (pump_until(s, &s->runtime_done, fl_clock_mono_ms() + s->orders.run_timeout_ms))
        return 0;
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, &s->runtime_status, 0);
    s->runtime_pid = 0;
    return fail_runtime(s, false);
}

static pid_t start_runtime(struct shim *s, const struct streams *streams)
{
    if (s->program)
        return process_call(s->program, s->orders.run, streams->in, streams->ends[0],
                            streams->ends[1]);
    return process_start(s->orders.has_runtime_fd ? RUNTIME_PATH : s->orders.run[0], s->orders.run,
                         streams->in, streams->ends[0], streams->ends[1]);
}

/* Runs the runtime and learns the container's first process. 0, or the exit status to end with. */
static int start_container(struct shim *s)
{
    struct streams streams;
    int rc = open_streams(s, &streams);
    if (rc < 0)
        return fail_errno(s, "cannot make the container's streams", rc);
    pid_t pid = start_runtime(s, &streams);
    close_ends(&streams);
    if (s->orders.has_runtime_fd && !s->program)
        (void)close(SHIM_RUNTIME_FD);
    if (pid < 0)
        return fail_errno(s, s->orders.run[0], pid);
    rc = await_runtime(s, pid);
    if (rc != 0)
        return rc;
    int64_t wall_ms = fl_clock_wall_ms();
    int64_t number = process_read_number(s->dir_fd, "pid");
    if (streams.console >= 0) {
        rc = console_receive(streams.console);
        s->spool.streams[0].fd = FL_MAX(rc, -1);
    }
    if (s->runtime_status != 0 || number <= 1)
        return fail_runtime(s, true);
    if (!becomes_child((pid_t)number))
        return fail_runtime(s, true);
    s->pid = (pid_t)number;
    s->start_time = process_start_time(s->pid);
    return write_started(s, wall_ms) < 0 ? 1 : 0;
}

/* Kills who is in the group now; false when nobody is. */
static bool kill_round(const char *group)
{
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(GROUP_MAX_BYTES);
    char path[600];
    struct fl_str line;
    int64_t pid;
    int n = snprintf(path, sizeof(path), "%s/cgroup.procs", group);
    if (n < 0 || (size_t)n >= sizeof(path) ||
        fl_fs_read(AT_FDCWD, path, GROUP_MAX_BYTES, &text) < 0 || text.n == 0)
        return false;
    struct fl_str rest = fl_buf_str(&text);
    while (fl_str_split(&rest, '\n', &line))
        if (fl_str_to_i64(line, &pid) && pid > 1)
            (void)kill((pid_t)pid, SIGKILL);
    return true;
}

/* Where processes are shared with others, the end of the first one leaves the rest alive. */
static void kill_rest(struct shim *s)
{
    for (int i = 0; i < KILL_ROUNDS && s->orders.cgroup_count > 0; i++) {
        if (!kill_round(s->orders.cgroups[0]))
            return;
        (void)poll(NULL, 0, 1);
        reap(s);
    }
}

static int exit_code(int status)
{
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* An OOM kill of a child that the container lived through well is not its end's reason. */
static bool was_oom(const struct shim *s)
{
    return exit_code(s->status) != 0 && s->orders.oom_file &&
           process_read_oom_kills(s->orders.oom_file) > 0;
}

/* The exit is told when output and state are settled, so that who hears it may remove all. */
static int finish(struct shim *s)
{
    char text[64];
    int64_t wall_ms = fl_clock_wall_ms();
    bool oom = was_oom(s);
    if (s->orders.kills_group)
        kill_rest(s);
    s->spool.is_ending = true;
    (void)pump_until(s, &s->drained, fl_clock_mono_ms() + DRAIN_MS);
    spool_finish(&s->spool);
    clean_up(s);
    int n =
        snprintf(text, sizeof(text), "%d %d %lld\n", exit_code(s->status), oom, (long long)wall_ms);
    return fl_fs_write_atomic(s->dir_fd, "exit", (struct fl_str){text, (size_t)n}, 0600) < 0;
}

static int open_signals(void)
{
    static const int deaf_to[] = {SIGTERM, SIGHUP, SIGINT, SIGQUIT, SIGPIPE, SIGUSR1, SIGUSR2};
    sigset_t child;
    for (size_t i = 0; i < FL_ARRAY_SIZE(deaf_to); i++)
        (void)signal(deaf_to[i], SIG_IGN);
    (void)sigemptyset(&child);
    (void)sigaddset(&child, SIGCHLD);
    (void)sigprocmask(SIG_SETMASK, &child, NULL);
    return signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* Who we are, for an agent that comes later. */
static int write_shim(int dir_fd)
{
    char text[64];
    int n = snprintf(text, sizeof(text), "%d %lld\n", (int)getpid(),
                     (long long)process_start_time(getpid()));
    return fl_fs_write_fast(dir_fd, "shim", (struct fl_str){text, (size_t)n}, 0600);
}

static int settle(struct shim *s, const char *dir)
{
    (void)close_range(SHIM_QUICK_FD + 1, ~0U, 0);
    (void)close_range(SHIM_NETNS_FD, SHIM_QUICK_FD, CLOSE_RANGE_CLOEXEC);
    (void)umask(0022);
    (void)prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    s->spool.streams[0].fd = s->spool.streams[1].fd = -1;
    s->signal_fd = open_signals();
    /* Before anything is opened that the mount refers to: a descriptor stays in its namespace. */
    if (unshare(CLONE_NEWNS) < 0)
        return -errno;
    s->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (s->dir_fd < 0 || s->signal_fd < 0 || fchdir(s->dir_fd) < 0)
        return -errno;
    return write_shim(s->dir_fd);
}

/* A failure is told in the file `failed`. */
static int prepare(struct shim *s, const char *dir)
{
    const char *place = "";
    int rc = namespaces_enter_holder(&s->orders, dir, &s->dir_fd);
    if (rc < 0)
        return fail_errno(s, "cannot enter the task's namespaces", rc);
    rc = rootfs_mount(s->dir_fd, &s->orders);
    if (rc < 0)
        return fail_errno(s, "cannot mount the root file system", rc);
    rc = place_check(s->dir_fd, &s->orders, &place);
    if (rc < 0)
        return fail_place(s, place, rc);
    rc = fill_volumes(s->dir_fd, &s->orders);
    if (rc < 0)
        return fail_errno(s, "cannot copy the image's files into a volume", rc);
    rc = mounts_make(s->dir_fd, &s->orders, &place);
    if (rc < 0)
        return fail_place(s, place, rc);
    rc = namespaces_enter_network(&s->orders);
    if (rc < 0)
        return fail_errno(s, "cannot enter the network namespace", rc);
    rc = namespaces_set_sysctls(&s->orders);
    if (rc < 0)
        return fail_errno(s, "cannot set the system controls", rc);
    rc = spool_open(&s->spool, s->dir_fd, &s->orders.log);
    return rc < 0 ? fail_errno(s, "cannot open the log", rc) : 0;
}

int shim_run(const char *dir, shim_program *program)
{
    struct shim *s = &shim;
    s->program = program;
    if (settle(s, dir) < 0)
        return 2;
    int rc = orders_read(s->dir_fd, &s->orders);
    if (rc < 0)
        return fail_errno(s, "cannot read the orders", rc);
    rc = prepare(s, dir);
    if (rc == 0)
        rc = start_container(s);
    if (rc != 0)
        return rc;
    (void)pump_until(s, &s->exited, -1);
    return finish(s);
}
