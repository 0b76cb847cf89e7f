/* The runtime's life and its public calls: open, adopt, kill, remove. */
#include "agent/runtime.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/runtime_internal.h"
#include "base/fs.h"
#include "base/id.h"
#include "base/log.h"

/* Where programs of distributions lie; the agent's own PATH is not trusted. */
static const char *const program_dirs[] = {"/usr/local/bin", "/usr/bin", "/usr/sbin", "/bin"};

/* The first line of `crun --version`, "crun version 1.8.1", without the middle word; false when the
 * program does not run here. */
static bool ask_version(struct fl_runtime *runtime)
{
    posix_spawn_file_actions_t actions;
    char *argv[] = {(char *)(uintptr_t)runtime->runtime_path.p, (char *)"--version", NULL};
    char *const environment[] = {NULL};
    char text[256] = "";
    int fds[2];
    int status = 1;
    pid_t pid;
    if (pipe2(fds, O_CLOEXEC) < 0)
        return false;
    (void)posix_spawn_file_actions_init(&actions);
    (void)posix_spawn_file_actions_adddup2(&actions, fds[1], STDOUT_FILENO);
    int rc = posix_spawn(&pid, argv[0], &actions, NULL, argv, environment);
    (void)posix_spawn_file_actions_destroy(&actions);
    (void)close(fds[1]);
    ssize_t n = rc == 0 ? read(fds[0], text, sizeof(text) - 1) : 0;
    (void)close(fds[0]);
    if (rc == 0)
        (void)waitpid(pid, &status, 0);
    struct fl_str rest = {text, n > 0 ? (size_t)n : 0};
    struct fl_str line = FL_STR("");
    (void)fl_str_split(&rest, '\n', &line);
    ptrdiff_t space = fl_str_rindex(line, ' ');
    runtime->runtime_version =
        fl_str_dup(runtime->arena, space < 0 ? line : fl_str_from(line, (size_t)space + 1));
    return status == 0;
}

static bool find_program(struct fl_runtime *runtime, const char *name)
{
    for (size_t i = 0; i < FL_ARRAY_SIZE(program_dirs); i++) {
        runtime->runtime_path = fl_str_printf(runtime->arena, "%s/%s", program_dirs[i], name);
        if (access(runtime->runtime_path.p, X_OK) == 0 && ask_version(runtime))
            return true;
    }
    return false;
}

static int find_runtime(struct fl_runtime *runtime, struct fl_err *err)
{
    if (find_program(runtime, "crun"))
        return 0;
    runtime->host.is_runc = true;
    if (find_program(runtime, "runc"))
        return 0;
    return fl_err_set(err, -ENOENT, "no container runtime that works: install the package crun");
}

/* Where it knows the mark, ext4 gives each container's directory a place of its own on the disk:
 * what is made in it finds room at once, however much was removed next door a moment ago. */
static void spread_out(const char *path)
{
    FL_CLEANUP_FD int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int flags = 0;
    if (fd >= 0 && ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0 && !(flags & FS_TOPDIR_FL)) {
        flags |= FS_TOPDIR_FL;
        (void)ioctl(fd, FS_IOC_SETFLAGS, &flags);
    }
}

static int make_dirs(struct fl_runtime *runtime, struct fl_err *err)
{
    static const char *const names[] = {"containers", "volumes", "run", "run/runtime", "trash"};
    for (size_t i = 0; i < FL_ARRAY_SIZE(names); i++) {
        struct fl_str path =
            fl_str_printf(runtime->arena, "%.*s/%s", FL_STR_ARG(runtime->data_dir), names[i]);
        int rc = fl_fs_mkdirs(path.p, 0700);
        if (rc < 0)
            return fl_err_errno(err, rc, "cannot make %s", path.p);
        if (strcmp(names[i], "containers") == 0 || strcmp(names[i], "run/runtime") == 0)
            spread_out(path.p);
    }
    runtime->runtime_root =
        fl_str_printf(runtime->arena, "%.*s/run/runtime", FL_STR_ARG(runtime->data_dir));
    runtime->memory_root = fl_runtime_memory_root(runtime->tag, runtime->arena);
    return 0;
}

static void read_boot_id(struct fl_runtime *runtime)
{
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(128);
    if (fl_fs_read(AT_FDCWD, "/proc/sys/kernel/random/boot_id", 128, &text) < 0)
        fl_buf_add_z(&text, "unknown");
    runtime->boot_id = fl_str_dup(runtime->arena, fl_str_trim(fl_buf_str(&text)));
}

struct emptying {
    uv_work_t work;
    char *path;
};

static void empty_path(uv_work_t *work)
{
    struct emptying *job = FL_CONTAINER_OF(work, struct emptying, work);
    (void)fl_fs_remove_tree(AT_FDCWD, job->path);
}

static void end_emptying(uv_work_t *work, int status)
{
    struct emptying *job = FL_CONTAINER_OF(work, struct emptying, work);
    (void)status;
    free(job->path);
    free(job);
}

/* A large tree takes its time: the loop does not wait for it. */
static void empty_later(struct fl_runtime *runtime, struct fl_str path)
{
    struct emptying *job = fl_calloc(1, sizeof(*job));
    job->path = fl_strndup(path.p, path.n);
    if (uv_queue_work(runtime->loop, &job->work, empty_path, end_emptying) < 0)
        end_emptying(&job->work, 0);
}

/* Moves a directory out of sight, then removes it; what a crash leaves in the trash goes at the
 * next start. */
static int discard(struct fl_runtime *runtime, struct fl_str path, struct fl_arena *arena)
{
    uint8_t salt[8];
    char hex[17];
    fl_random_bytes(salt, sizeof(salt));
    fl_hex(salt, sizeof(salt), hex);
    struct fl_str to = fl_str_printf(arena, "%.*s/trash/%s", FL_STR_ARG(runtime->data_dir), hex);
    if (rename(path.p, to.p) < 0)
        return errno == ENOENT ? 0 : -errno;
    empty_later(runtime, to);
    return 0;
}

static void empty_trash(struct fl_runtime *runtime)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_str trash = fl_str_printf(arena, "%.*s/trash", FL_STR_ARG(runtime->data_dir));
    if (rmdir(trash.p) == 0 || errno == ENOENT) {
        (void)mkdir(trash.p, 0700);
        return;
    }
    struct fl_str old =
        fl_str_printf(arena, "%.*s/run/trash-%d", FL_STR_ARG(runtime->data_dir), (int)getpid());
    if (rename(trash.p, old.p) == 0)
        empty_later(runtime, old);
    (void)mkdir(trash.p, 0700);
}

static int open_parts(struct fl_runtime *runtime, struct fl_err *err)
{
    int rc = make_dirs(runtime, err);
    if (rc == 0)
        rc = find_runtime(runtime, err);
    if (rc == 0)
        rc = fl_cgroup_open(&runtime->cgroup, err);
    if (rc == 0)
        rc = fl_seccomp_load(FL_SECCOMP_PROFILE, fl_bundle_default_caps, FL_BUNDLE_DEFAULT_CAPS,
                             &runtime->seccomp, err);
    if (rc == 0)
        rc = fl_runtime_watch_open(runtime, err);
    return rc;
}

int fl_runtime_open(uv_loop_t *loop, const struct fl_runtime_config *config,
                    const struct fl_runtime_callbacks *callbacks, void *context,
                    struct fl_runtime **ret_runtime, struct fl_err *err)
{
    if (memchr(config->data_dir.p, '\n', config->data_dir.n))
        return fl_err_set(err, -EINVAL, "the data directory's name holds a newline");
    struct fl_runtime *runtime = fl_calloc(1, sizeof(*runtime));
    runtime->loop = loop;
    runtime->arena = fl_arena_new();
    runtime->data_dir = fl_str_dup(runtime->arena, config->data_dir);
    runtime->shim_path =
        fl_str_printf(runtime->arena, "%.*s/fairlead-shim", FL_STR_ARG(config->libexec_dir));
    runtime->tag = fl_str_dup(runtime->arena, config->tag);
    runtime->no_task_limits = config->no_task_limits;
    runtime->task_pids = config->task_pids;
    runtime->start_timeout_ms =
        config->start_timeout_ms > 0 ? config->start_timeout_ms : FL_RUNTIME_START_MS;
    runtime->cpu_period_ms = config->cpu_period_ms;
    runtime->host.match_volumes = config->match_volumes;
    runtime->host.propagate_memory = config->propagate_memory;
    runtime->callbacks = *callbacks;
    runtime->context = context;
    runtime->inotify_fd = -1;
    runtime->program_fd = -1;
    runtime->launcher_fd = -1;
    runtime->cgroup.quick_fd = -1;
    int rc = open_parts(runtime, err);
    if (rc < 0) {
        fl_runtime_close(runtime);
        return rc;
    }
    if (!runtime->host.is_runc)
        runtime->program_fd = fl_runtime_seal_program(runtime->runtime_path.p);
    fl_runtime_launcher_open(runtime);
    fl_bundle_look_at_host(&runtime->host);
    runtime->host.cgroup = &runtime->cgroup;
    runtime->host.seccomp = &runtime->seccomp;
    read_boot_id(runtime);
    empty_trash(runtime);
    runtime->description = fl_str_printf(
        runtime->arena, "%s %.*s, cgroup %s, seccomp on", runtime->host.is_runc ? "runc" : "crun",
        FL_STR_ARG(runtime->runtime_version), fl_cgroup_layout_name(&runtime->cgroup));
    *ret_runtime = runtime;
    return 0;
}

static void free_profiles(struct fl_runtime *runtime)
{
    struct fl_runtime_profile *profile;
    while ((profile = runtime->profiles) != NULL) {
        runtime->profiles = profile->next;
        fl_seccomp_free(&profile->seccomp);
        free(profile);
    }
}

void fl_runtime_close(struct fl_runtime *runtime)
{
    if (!runtime)
        return;
    fl_runtime_launcher_close(runtime);
    fl_runtime_watch_close(runtime);
    fl_cgroup_close(&runtime->cgroup);
    if (runtime->program_fd >= 0)
        (void)close(runtime->program_fd);
    fl_seccomp_free(&runtime->seccomp);
    free_profiles(runtime);
    fl_arena_free(runtime->arena);
    free(runtime);
}

struct fl_str fl_runtime_describe(const struct fl_runtime *runtime)
{
    return runtime->description;
}

/* What `started` says was said in another boot: the container ended with the host. */
static bool is_of_this_boot(const struct fl_runtime *runtime, struct fl_str id,
                            struct fl_arena *arena)
{
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(2 * FL_RUNTIME_FILE_MAX);
    struct fl_str path =
        fl_str_printf(arena, "%.*s/orders", FL_STR_ARG(fl_runtime_dir(runtime, id, arena)));
    struct fl_str line = {NULL, 0};
    if (fl_fs_read(AT_FDCWD, path.p, 2 * FL_RUNTIME_FILE_MAX, &text) < 0)
        return false;
    struct fl_str rest = fl_buf_str(&text);
    return fl_str_split(&rest, '\n', &line) && fl_str_starts(line, FL_STR("boot ")) &&
           fl_str_eq(fl_str_from(line, strlen("boot ")), runtime->boot_id);
}

/* The shim's pidfd, -ENOENT while it has not named itself, -ESRCH when it is gone. */
static int find_shim(const struct fl_runtime *runtime, struct fl_str id, struct fl_arena *arena)
{
    struct fl_str words[2];
    int64_t pid;
    int64_t start_time;
    int rc = fl_runtime_read_words(runtime, id, "shim", arena, words, 2);
    if (rc < 0)
        return rc;
    if (rc != 2 || !fl_str_to_i64(words[0], &pid) || !fl_str_to_i64(words[1], &start_time))
        return -ESRCH;
    return fl_runtime_open_process((pid_t)pid, start_time);
}

int fl_runtime_adopt(struct fl_runtime *runtime, struct fl_str container_id, struct fl_err *err)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_runtime_container *container = fl_runtime_watch_add(runtime, container_id, err);
    if (!container)
        return err ? err->status : -ENOENT;
    if (is_of_this_boot(runtime, container_id, arena)) {
        int pidfd = find_shim(runtime, container_id, arena);
        if (pidfd >= 0)
            (void)fl_runtime_watch_shim(container, pidfd);
        else if (pidfd == -ENOENT)
            fl_runtime_watch_grace(container);
    }
    fl_runtime_watch_later(container);
    return 0;
}

/* In a pid namespace of its own the first process takes all others with it. */
int fl_runtime_kill(struct fl_runtime *runtime, struct fl_str container_id, int signal)
{
    struct fl_runtime_container *container = fl_runtime_find(runtime, container_id);
    if (!container || container->state == FL_RUNTIME_ENDED)
        return 0;
    if (container->state == FL_RUNTIME_LAUNCHED) {
        if (container->pending_signal != SIGKILL)
            container->pending_signal = signal;
        return 0;
    }
    FL_CLEANUP_FD int pidfd = fl_runtime_open_process(container->pid, container->start_time);
    if (pidfd < 0)
        return pidfd == -ESRCH || pidfd == -ENOENT ? 0 : pidfd;
    if (pidfd_send_signal(pidfd, signal, NULL, 0) < 0 && errno != ESRCH)
        return -errno;
    return 0;
}

int fl_runtime_remove(struct fl_runtime *runtime, struct fl_str container_id, struct fl_err *err)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_runtime_container *container = fl_runtime_find(runtime, container_id);
    if (container && container->state != FL_RUNTIME_ENDED)
        return fl_err_set(err, -EBUSY, "container %.*s has not ended", FL_STR_ARG(container_id));
    struct fl_str group = fl_runtime_ordered_cgroup(runtime, container_id, arena);
    if (container)
        fl_runtime_watch_remove(container);
    if (group.n > 0)
        fl_cgroup_remove(&runtime->cgroup, group.p);
    struct fl_str state = fl_str_printf(arena, "%.*s/%.*s", FL_STR_ARG(runtime->runtime_root),
                                        FL_STR_ARG(container_id));
    (void)fl_fs_remove_tree(AT_FDCWD, state.p);
    fl_runtime_memory_remove(runtime, container_id);
    struct fl_str dir = fl_runtime_dir(runtime, container_id, arena);
    int rc = discard(runtime, dir, arena);
    return rc < 0 ? fl_err_errno(err, rc, "cannot remove %s", dir.p) : 0;
}

void fl_runtime_remove_task(struct fl_runtime *runtime, struct fl_str task_id)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    if (!fl_runtime_id_is_valid(task_id)) /* then nothing of it was ever launched */
        return;
    fl_runtime_hold_remove(runtime, task_id, arena);
    fl_cgroup_remove(&runtime->cgroup,
                     fl_runtime_cgroup_path(runtime, task_id, FL_STR(""), arena).p);
    struct fl_str volumes = fl_str_printf(arena, "%.*s/volumes/%.*s", FL_STR_ARG(runtime->data_dir),
                                          FL_STR_ARG(task_id));
    int rc = discard(runtime, volumes, arena);
    if (rc < 0)
        fl_log_warn("cannot remove %s: %s", volumes.p, strerror(-rc));
}

static const struct {
    const char *name;
    int number;
} signals[] = {
    {"HUP", SIGHUP},       {"INT", SIGINT},   {"QUIT", SIGQUIT},     {"ILL", SIGILL},
    {"TRAP", SIGTRAP},     {"ABRT", SIGABRT}, {"IOT", SIGABRT},      {"BUS", SIGBUS},
    {"FPE", SIGFPE},       {"KILL", SIGKILL}, {"USR1", SIGUSR1},     {"SEGV", SIGSEGV},
    {"USR2", SIGUSR2},     {"PIPE", SIGPIPE}, {"ALRM", SIGALRM},     {"TERM", SIGTERM},
    {"STKFLT", SIGSTKFLT}, {"CHLD", SIGCHLD}, {"CONT", SIGCONT},     {"STOP", SIGSTOP},
    {"TSTP", SIGTSTP},     {"TTIN", SIGTTIN}, {"TTOU", SIGTTOU},     {"URG", SIGURG},
    {"XCPU", SIGXCPU},     {"XFSZ", SIGXFSZ}, {"VTALRM", SIGVTALRM}, {"PROF", SIGPROF},
    {"WINCH", SIGWINCH},   {"IO", SIGIO},     {"POLL", SIGIO},       {"PWR", SIGPWR},
    {"SYS", SIGSYS},
};

/* "RTMIN", "RTMIN+3", "RTMAX-1"; the C library's first two belong to it, images count from 34. */
static int realtime_number(struct fl_str name)
{
    uint64_t offset = 0;
    bool is_min = fl_str_starts(name, FL_STR("RTMIN"));
    if (!is_min && !fl_str_starts(name, FL_STR("RTMAX")))
        return -1;
    struct fl_str rest = fl_str_from(name, strlen("RTMIN"));
    if (rest.n > 0 && (rest.p[0] != (is_min ? '+' : '-') ||
                       !fl_str_to_u64(fl_str_from(rest, 1), &offset) || offset > 30))
        return -1;
    return is_min ? 34 + (int)offset : 64 - (int)offset;
}

int fl_runtime_signal_number(struct fl_str name)
{
    uint64_t number;
    if (fl_str_to_u64(name, &number))
        return number >= 1 && number <= 64 ? (int)number : -1;
    if (name.n > 3 && fl_str_case_eq(fl_str_sub(name, 0, 3), FL_STR("SIG")))
        name = fl_str_from(name, 3);
    for (size_t i = 0; i < FL_ARRAY_SIZE(signals); i++)
        if (fl_str_case_eq(name, fl_str_of(signals[i].name)))
            return signals[i].number;
    return realtime_number(name);
}
