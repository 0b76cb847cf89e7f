/* Daemons: see the header. No PID files: what /proc says cannot be stale. */
#include "cli/daemons.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fs.h"

enum {
    MAX_ARGUMENT_BYTES = 64 * 1024,
    STAT_MAX_BYTES = 4096,
    FLAGS_FIELD = 7,     /* of /proc/PID/stat, behind the command's ')' */
    FORK_NO_EXEC = 0x40, /* PF_FORKNOEXEC */
    KILL_WAIT_MS = 10 * 1000,
};

static bool in_our_pid_namespace(int proc)
{
    struct stat ours;
    struct stat theirs;
    return stat("/proc/self/ns/pid", &ours) == 0 && fstatat(proc, "ns/pid", &theirs, 0) == 0 &&
           ours.st_ino == theirs.st_ino && ours.st_dev == theirs.st_dev;
}

void fl_daemon_each_process(bool (*visit)(void *context, pid_t pid, struct fl_str arguments),
                            void *context)
{
    DIR *proc = opendir("/proc");
    if (!proc)
        return;
    bool go_on = true;
    for (struct dirent *entry = readdir(proc); entry && go_on; entry = readdir(proc)) {
        uint64_t pid;
        if (!fl_str_to_u64(fl_str_of(entry->d_name), &pid))
            continue;
        FL_CLEANUP_FD int dir =
            openat(dirfd(proc), entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        FL_CLEANUP_BUF struct fl_buf arguments = FL_BUF_INIT(MAX_ARGUMENT_BYTES);
        struct stat st;
        if (dir < 0 || fstat(dir, &st) < 0 || st.st_uid != 0 ||
            fl_fs_read(dir, "cmdline", arguments.max, &arguments) < 0 || arguments.n == 0 ||
            !in_our_pid_namespace(dir))
            continue;
        go_on = visit(context, (pid_t)pid, fl_buf_str(&arguments));
    }
    (void)closedir(proc);
}

struct search {
    struct fl_str data_dir;
    const char *role;
    pid_t found;
};

/* What a role starts has the role's own arguments until it has become the other program; when the
 * role is killed in between, this is all that is left of it. */
static bool is_unborn(pid_t pid)
{
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(STAT_MAX_BYTES);
    char path[64];
    uint64_t flags = 0;
    (void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    if (fl_fs_read(AT_FDCWD, path, text.max, &text) < 0)
        return true;
    struct fl_str field, rest = fl_buf_str(&text);
    rest = fl_str_from(rest, (size_t)(fl_str_rindex(rest, ')') + 2));
    for (int i = 0; i < FLAGS_FIELD; i++)
        if (!fl_str_split(&rest, ' ', &field))
            return true;
    return !fl_str_to_u64(field, &flags) || (flags & FORK_NO_EXEC) != 0;
}

static bool is_the_one(void *context, pid_t pid, struct fl_str arguments)
{
    struct search *search = context;
    struct fl_str part[4] = {0};
    for (size_t i = 0; i < FL_ARRAY_SIZE(part); i++) {
        if (!fl_str_split(&arguments, '\0', &part[i]))
            return true;
    }
    bool ours = fl_str_ends(part[0], FL_STR("/fairlead")) && fl_str_is(part[1], search->role) &&
                fl_str_is(part[2], "--data-dir") && fl_str_eq(part[3], search->data_dir);
    if (ours && pid != getpid() && !is_unborn(pid))
        search->found = pid;
    return search->found == 0;
}

struct fl_daemon fl_daemon_find(struct fl_str data_dir, const char *role)
{
    /* Twice: the number may change hands between finding and holding it. */
    struct search first = {.data_dir = data_dir, .role = role};
    fl_daemon_each_process(is_the_one, &first);
    if (first.found == 0)
        return (struct fl_daemon){.fd = -1};
    struct fl_daemon daemon = {.pid = first.found, .fd = pidfd_open(first.found, 0)};
    struct search second = {.data_dir = data_dir, .role = role};
    fl_daemon_each_process(is_the_one, &second);
    if (daemon.fd < 0 || second.found != first.found)
        fl_daemon_forget(&daemon);
    return daemon;
}

/* The environment of daemons is theirs alone: a proxy or a locale of the caller's has no place in
 * it. What the sanitizers are told passes. */
static char **clean_environment(void)
{
    static const char *const kept[] = {"ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS",
                                       "FAIRLEAD_LOG"};
    static char text[FL_ARRAY_SIZE(kept)][512];
    static char path[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    static char *environment[FL_ARRAY_SIZE(kept) + 2];
    size_t n = 0;
    environment[n++] = path;
    for (size_t i = 0; i < FL_ARRAY_SIZE(kept); i++) {
        const char *value = getenv(kept[i]);
        if (value &&
            snprintf(text[i], sizeof(text[i]), "%s=%s", kept[i], value) < (int)sizeof(text[i]))
            environment[n++] = text[i];
    }
    environment[n] = NULL;
    return environment;
}

/* In the child: nothing of the caller's stays. */
static _Noreturn void become_daemon(const char *const *argv, char **environment, int log)
{
    sigset_t none;
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    for (int i = 1; i < NSIG; i++)
        (void)signal(i, SIG_DFL);
    (void)umask(022);
    int null = open("/dev/null", O_RDWR);
    if (chdir("/") < 0 || null < 0 || dup2(null, 0) < 0 || dup2(log, 1) < 0 || dup2(log, 2) < 0)
        _exit(126);
    (void)close_range(3, ~0U, 0);
    (void)execve(argv[0], (char *const *)argv, environment);
    _exit(127);
}

int fl_daemon_start(const char *const *argv, const char *log, struct fl_daemon *ret_daemon,
                    struct fl_err *err)
{
    FL_CLEANUP_FD int log_fd =
        open(log, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (log_fd < 0)
        return fl_err_errno(err, -errno, "cannot open %s", log);
    char **environment = clean_environment();
    int pipe_fds[2];
    if (pipe2(pipe_fds, O_CLOEXEC) < 0)
        return fl_err_errno(err, -errno, "cannot make a pipe");
    FL_CLEANUP_FD int from_child = pipe_fds[0];
    FL_CLEANUP_FD int to_parent = pipe_fds[1];
    pid_t middle = fork();
    if (middle < 0)
        return fl_err_errno(err, -errno, "cannot start %s", argv[0]);
    if (middle == 0) {
        /* The session's leader forks once more and leaves, so that init adopts the daemon and no
         * terminal can become its own. */
        pid_t daemon = setsid() < 0 ? -1 : fork();
        if (daemon == 0)
            become_daemon(argv, environment, log_fd);
        _exit(daemon > 0 && fl_fs_write_all(to_parent, &daemon, sizeof(daemon)) == 0 ? 0 : 1);
    }
    int status = 0;
    while (waitpid(middle, &status, 0) < 0 && errno == EINTR)
        ;
    pid_t pid;
    if (status != 0 || read(from_child, &pid, sizeof(pid)) != (ssize_t)sizeof(pid))
        return fl_err_set(err, -EAGAIN, "cannot start %s", argv[0]);
    *ret_daemon = (struct fl_daemon){.pid = pid, .fd = pidfd_open(pid, 0)};
    return 0;
}

bool fl_daemon_is_this_program(const struct fl_daemon *daemon)
{
    char path[64];
    struct stat ours;
    struct stat theirs;
    (void)snprintf(path, sizeof(path), "/proc/%d/exe", (int)daemon->pid);
    return stat("/proc/self/exe", &ours) == 0 && stat(path, &theirs) == 0 &&
           ours.st_ino == theirs.st_ino && ours.st_dev == theirs.st_dev;
}

bool fl_daemon_runs(const struct fl_daemon *daemon)
{
    struct pollfd poll_fd = {.fd = daemon->fd, .events = POLLIN};
    return daemon->fd >= 0 && poll(&poll_fd, 1, 0) == 0;
}

static bool gone_within(const struct fl_daemon *daemon, unsigned patience_ms)
{
    struct pollfd poll_fd = {.fd = daemon->fd, .events = POLLIN};
    int r;
    do
        r = poll(&poll_fd, 1, (int)patience_ms);
    while (r < 0 && errno == EINTR);
    return r == 1;
}

int fl_daemon_stop(struct fl_daemon *daemon, unsigned patience_ms, struct fl_err *err)
{
    if (daemon->fd < 0)
        return 0;
    (void)pidfd_send_signal(daemon->fd, SIGTERM, NULL, 0);
    bool gone = gone_within(daemon, patience_ms);
    if (!gone) {
        (void)pidfd_send_signal(daemon->fd, SIGKILL, NULL, 0);
        gone = gone_within(daemon, KILL_WAIT_MS);
    }
    int r = gone ? 0 : fl_err_set(err, -ETIMEDOUT, "process %d does not end", (int)daemon->pid);
    fl_daemon_forget(daemon);
    return r;
}

void fl_daemon_forget(struct fl_daemon *daemon)
{
    if (daemon->fd >= 0)
        (void)close(daemon->fd);
    *daemon = (struct fl_daemon){.fd = -1};
}
