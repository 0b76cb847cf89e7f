/* Launching: the container's directory with bundle and orders, then the shim. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/runtime_internal.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/spawn.h"
#include "wire/json.h"

enum {
    NETNS_FD = 3,
    PROGRAM_FD = 4,
    LOCK_FD = 5,
    QUICK_FD = 6,
    FREE_FD = 10,
    PROGRAM_MAX = 64 * 1024 * 1024,
    PROFILES_MAX = 64,
    LOG_ATTRS_MAX = 8192,
};

/* crun must not be overwritten through /proc/self/exe from a container (CVE-2019-5736), so it
 * copies its program into sealed memory and executes itself again, at each start. A copy that is
 * sealed already it takes as it is, and half of its start-up time is saved. */
int fl_runtime_seal_program(const char *path)
{
    FL_CLEANUP_FD int from = open(path, O_RDONLY | O_CLOEXEC);
    FL_CLEANUP_FD int to = memfd_create("crun", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    struct stat st;
    if (from < 0 || to < 0 || fstat(from, &st) < 0 || st.st_size > PROGRAM_MAX)
        return -EINVAL;
    for (off_t at = 0; at < st.st_size;)
        if (sendfile(to, from, &at, (size_t)(st.st_size - at)) <= 0)
            return -EIO;
    if (fchmod(to, 0755) < 0 ||
        fcntl(to, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
        return -errno;
    int fd = fcntl(to, F_DUPFD_CLOEXEC, FREE_FD);
    return fd < 0 ? -errno : fd;
}

/* All numbers but the network namespace's are above those that are given away here. */
static void set_actions(posix_spawn_file_actions_t *actions, const struct fl_runtime *runtime,
                        int netns_fd, int lock_fd)
{
    (void)posix_spawn_file_actions_addopen(actions, STDIN_FILENO, "/dev/null", O_RDWR, 0);
    (void)posix_spawn_file_actions_adddup2(actions, STDIN_FILENO, STDOUT_FILENO);
    (void)posix_spawn_file_actions_adddup2(actions, STDIN_FILENO, STDERR_FILENO);
    if (netns_fd >= 0)
        (void)posix_spawn_file_actions_adddup2(actions, netns_fd, NETNS_FD);
    if (runtime->program_fd >= 0)
        (void)posix_spawn_file_actions_adddup2(actions, runtime->program_fd, PROGRAM_FD);
    if (lock_fd >= 0)
        (void)posix_spawn_file_actions_adddup2(actions, lock_fd, LOCK_FD);
    if (runtime->cgroup.quick_fd >= 0)
        (void)posix_spawn_file_actions_adddup2(actions, runtime->cgroup.quick_fd, QUICK_FD);
}

/* posix_spawn does not copy the agent's page tables, which fork would. */
int fl_runtime_spawn_shim(struct fl_runtime *runtime, struct fl_str dir, int netns_fd, int lock_fd,
                          pid_t *ret_pid)
{
    posix_spawnattr_t attr;
    posix_spawn_file_actions_t actions;
    char *argv[] = {(char *)(uintptr_t)runtime->shim_path.p, (char *)(uintptr_t)dir.p, NULL};
    if (posix_spawnattr_init(&attr) != 0 || posix_spawn_file_actions_init(&actions) != 0)
        return -ENOMEM;
    fl_spawn_reset_signals(&attr, POSIX_SPAWN_SETSID);
    set_actions(&actions, runtime, netns_fd, lock_fd);
    int rc = posix_spawn(ret_pid, argv[0], &actions, &attr, argv, fl_spawn_environment);
    (void)posix_spawn_file_actions_destroy(&actions);
    (void)posix_spawnattr_destroy(&attr);
    return -rc;
}

static void add_order(struct fl_buf *buf, const char *word, struct fl_str value)
{
    fl_buf_printf(buf, "%s %.*s\n", word, FL_STR_ARG(value));
}

static bool has_secrets(const struct fl_launch *launch)
{
    return launch->secret_count + launch->log_secret_count > 0;
}

/* The runtime keeps a copy of the configuration with its state. */
static struct fl_str root_of(const struct fl_runtime *runtime, const struct fl_launch *launch,
                             struct fl_arena *arena)
{
    struct fl_str dir = fl_runtime_memory_dir(runtime, launch->container_id, arena);
    if (!has_secrets(launch))
        return runtime->runtime_root;
    return fl_str_printf(arena, "%.*s/runtime", FL_STR_ARG(dir));
}

static void order_run(const struct fl_runtime *runtime, const struct fl_launch *launch,
                      struct fl_str root, struct fl_buf *buf)
{
    add_order(buf, "run", runtime->runtime_path);
    add_order(buf, "run", FL_STR("--root"));
    add_order(buf, "run", root);
    if (!runtime->host.is_runc)
        add_order(buf, "run", FL_STR("--cgroup-manager=cgroupfs"));
    add_order(buf, "run", FL_STR("--log=runtime.log"));
    add_order(buf, "run", FL_STR("run"));
    add_order(buf, "run", FL_STR("--detach"));
    add_order(buf, "run", FL_STR("--bundle=."));
    add_order(buf, "run", FL_STR("--pid-file=pid"));
    if (launch->container->docker.tty)
        add_order(buf, "run", FL_STR("--console-socket=console"));
    add_order(buf, "run", launch->container_id);
}

static void order_delete(const struct fl_runtime *runtime, struct fl_str id, struct fl_str root,
                         struct fl_buf *buf)
{
    add_order(buf, "delete", runtime->runtime_path);
    add_order(buf, "delete", FL_STR("--root"));
    add_order(buf, "delete", root);
    if (!runtime->host.is_runc)
        add_order(buf, "delete", FL_STR("--cgroup-manager=cgroupfs"));
    add_order(buf, "delete", FL_STR("delete"));
    add_order(buf, "delete", FL_STR("--force"));
    add_order(buf, "delete", id);
}

static void order_cgroups(const struct fl_runtime *runtime, struct fl_str group,
                          struct fl_arena *arena, struct fl_buf *buf)
{
    add_order(buf, "group", group);
    for (size_t i = 0; i < runtime->cgroup.hierarchy_count; i++)
        add_order(buf, "cgroup",
                  fl_str_printf(arena, "%s%s", runtime->cgroup.hierarchies[i], group.p));
    struct fl_str oom_file = fl_cgroup_oom_file(&runtime->cgroup, group.p, arena);
    if (oom_file.n > 0)
        add_order(buf, "oom", oom_file);
}

static void order_number(const char *word, int64_t number, struct fl_arena *arena,
                         struct fl_buf *buf)
{
    if (number > 0)
        add_order(buf, word, fl_str_printf(arena, "%lld", (long long)number));
}

/* Docker's `"attrs":{…},` of a json-file's line; what is too long for every line is left out. */
static void order_attrs(const struct fl_log_plan *log, struct fl_buf *buf)
{
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(LOG_ATTRS_MAX);
    struct fl_json_writer jw = {.buf = &text};
    fl_jw_object_begin(&jw);
    for (size_t i = 0; i < log->attr_count; i++) {
        fl_jw_key_str(&jw, log->attrs[i].key);
        fl_jw_str(&jw, log->attrs[i].value);
    }
    if (log->tag.n > 0)
        fl_jw_member_str(&jw, "tag", log->tag);
    fl_jw_object_end(&jw);
    if (!text.overflow && (log->attr_count > 0 || log->tag.n > 0))
        fl_buf_printf(buf, "attrs \"attrs\":%.*s,\n", (int)text.n, text.p);
}

static void order_log(const struct fl_log_plan *log, struct fl_arena *arena, struct fl_buf *buf)
{
    bool is_file = !log || log->kind == FL_LOG_JSON_FILE;
    bool is_silent = log && log->kind == FL_LOG_NONE;
    add_order(buf, "shipped", is_file || is_silent ? FL_STR("0") : FL_STR("1"));
    if (!log)
        return;
    add_order(buf, "silent", is_silent ? FL_STR("1") : FL_STR("0"));
    add_order(buf, "drops", log->drops ? FL_STR("1") : FL_STR("0"));
    add_order(buf, "compress", log->compresses ? FL_STR("1") : FL_STR("0"));
    order_number("buffer", log->buffer_bytes, arena, buf);
    order_number("file_bytes", log->file_bytes, arena, buf);
    order_number("files", log->file_count, arena, buf);
    if (is_file)
        order_attrs(log, buf);
}

static void make_orders(const struct fl_runtime *runtime, const struct fl_launch *launch,
                        const struct fl_runtime_hold *hold, struct fl_str group,
                        struct fl_arena *arena, struct fl_buf *buf)
{
    struct fl_str root = root_of(runtime, launch, arena);
    add_order(buf, "boot", runtime->boot_id);
    add_order(buf, "timeout_ms",
              fl_str_printf(arena, "%lld", (long long)runtime->start_timeout_ms));
    add_order(buf, "netns", launch->netns_fd >= 0 ? FL_STR("1") : FL_STR("0"));
    add_order(buf, "runtime_fd", runtime->program_fd >= 0 ? FL_STR("1") : FL_STR("0"));
    order_log(launch->log, arena, buf);
    add_order(
        buf, "state",
        fl_str_printf(arena, "%.*s/%.*s", FL_STR_ARG(root), FL_STR_ARG(launch->container_id)));
    for (size_t i = 0; i < launch->layer_count; i++)
        add_order(buf, "layer", launch->layers[i]);
    order_cgroups(runtime, group, arena, buf);
    if (hold->lock_fd >= 0)
        add_order(buf, "holder", fl_str_printf(arena, "%d", (int)hold->holder_pid));
    if (launch->task->ipc_mode == FL_NS_TASK)
        add_order(buf, "ipc", FL_STR("1"));
    if (launch->task->pid_mode != FL_NS_PRIVATE)
        add_order(buf, "kill", FL_STR("1"));
    order_run(runtime, launch, root, buf);
    order_delete(runtime, launch->container_id, root, buf);
}

/* Nothing reads these files before they are whole, so they need no rename. */
static int write_file(int dir_fd, const char *name, struct fl_str text, mode_t mode)
{
    FL_CLEANUP_FD int fd =
        openat(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
    if (fd < 0)
        return -errno;
    return fl_fs_write_all(fd, text.p, text.n);
}

static int write_files(int dir_fd, const struct fl_launch *launch, struct fl_str orders,
                       struct fl_arena *arena)
{
    struct fl_str name =
        launch->hostname.n ? launch->hostname : fl_str_sub(launch->container_id, 0, 12);
    const struct {
        const char *name;
        struct fl_str text;
        mode_t mode;
    } files[] = {
        {"hosts", launch->etc_hosts, 0644},
        {"hostname", fl_str_printf(arena, "%.*s\n", FL_STR_ARG(name)), 0644},
        {"resolv.conf", launch->etc_resolv_conf, 0644},
        {"orders", orders, 0600},
    };
    for (size_t i = 0; i < FL_ARRAY_SIZE(files); i++) {
        int rc = write_file(dir_fd, files[i].name, files[i].text, files[i].mode);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* The bundle's own, or a link to what is in memory alone. */
static int write_config(const struct fl_runtime *runtime, int dir_fd,
                        const struct fl_launch *launch, struct fl_str config,
                        struct fl_arena *arena, struct fl_err *err)
{
    struct fl_str dir = fl_runtime_memory_dir(runtime, launch->container_id, arena);
    const char *path = fl_str_printf(arena, "%.*s/config.json", FL_STR_ARG(dir)).p;
    int rc;
    if (!has_secrets(launch)) {
        rc = write_file(dir_fd, "config.json", config, 0600);
        return rc < 0 ? fl_err_errno(err, rc, "cannot write config.json") : 0;
    }
    rc = fl_runtime_memory_make(runtime, launch->container_id, config, launch, err);
    if (rc == 0 && symlinkat(path, dir_fd, "config.json") < 0)
        rc = fl_err_errno(err, -errno, "cannot make a link to %s", path);
    return rc;
}

static bool holds_newline(const struct fl_launch *launch)
{
    for (size_t i = 0; i < launch->layer_count; i++)
        if (memchr(launch->layers[i].p, '\n', launch->layers[i].n))
            return true;
    return false;
}

static int check_launch(const struct fl_launch *launch, struct fl_err *err)
{
    if (!fl_runtime_id_is_valid(launch->container_id) || !fl_runtime_id_is_valid(launch->task_id))
        return fl_err_set(err, -EINVAL, "the container's or the task's id is invalid");
    if (launch->layer_count == 0 || launch->layer_count > 128 || holds_newline(launch))
        return fl_err_set(err, -EINVAL, "the image has %zu layers; 1 to 128 are possible",
                          launch->layer_count);
    return 0;
}

static int make_dir(struct fl_str dir, struct fl_err *err, int *ret_fd)
{
    if (mkdir(dir.p, 0700) < 0)
        return fl_err_errno(err, -errno, "cannot make the container's directory %s", dir.p);
    int fd = open(dir.p, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return fl_err_errno(err, -errno, "cannot open %s", dir.p);
    *ret_fd = fd;
    return 0;
}

/* The profile allows some calls to who has some capabilities. */
static const struct fl_seccomp *find_profile(struct fl_runtime *runtime,
                                             const struct fl_bundle_security *security)
{
    size_t count = 0, cap_count = 0;
    const char *caps[FL_BUNDLE_CAP_COUNT];
    struct fl_runtime_profile *profile;
    if (security->no_seccomp || security->caps == FL_BUNDLE_DEFAULT_CAP_BITS)
        return &runtime->seccomp;
    for (profile = runtime->profiles; profile; profile = profile->next, count++)
        if (profile->caps == security->caps)
            return &profile->seccomp;
    for (int i = 0; i < FL_BUNDLE_CAP_COUNT; i++)
        if (security->caps & (UINT64_C(1) << i))
            caps[cap_count++] = fl_bundle_all_caps[i];
    profile = fl_calloc(1, sizeof(*profile));
    profile->caps = security->caps;
    if (count >= PROFILES_MAX ||
        fl_seccomp_load(FL_SECCOMP_PROFILE, caps, cap_count, &profile->seccomp, NULL) < 0) {
        free(profile);
        return &runtime->seccomp;
    }
    profile->next = runtime->profiles;
    runtime->profiles = profile;
    return &profile->seccomp;
}

static int make_bundle(struct fl_runtime *runtime, const struct fl_launch *launch,
                       const struct fl_bundle_paths *paths, struct fl_arena *arena,
                       struct fl_buf *config, struct fl_buf *orders, struct fl_err *err)
{
    struct fl_bundle_security security;
    struct fl_bundle_host host = runtime->host;
    struct fl_str note = {NULL, 0};
    int rc = fl_bundle_security(launch->container, &security, err);
    if (rc < 0)
        return rc;
    host.seccomp = find_profile(runtime, &security);
    rc = fl_bundle_make(&host, launch, paths, &security, arena, config, orders, &note, err);
    if (rc == 0 && note.n > 0)
        fl_log_info("container %.*s: %.*s", FL_STR_ARG(launch->container_id), FL_STR_ARG(note));
    return rc;
}

/* Everything up to the shim: all that can be refused is refused here. */
static int limit_task(const struct fl_runtime *runtime, const struct fl_launch *launch,
                      struct fl_arena *arena, struct fl_err *err)
{
    struct fl_str group = fl_runtime_cgroup_path(runtime, launch->task_id, FL_STR(""), arena);
    struct fl_cgroup_limits limits = {.pids = runtime->task_pids,
                                      .cpu_period_us = runtime->cpu_period_ms * 1000};
    if (!runtime->no_task_limits) {
        limits.cpu_units = launch->task->cpu_units;
        limits.memory_mib = launch->task->memory_mib;
    }
    return fl_cgroup_limit_task(&runtime->cgroup, group.p, &limits, err);
}

static int prepare(struct fl_runtime *runtime, const struct fl_launch *launch,
                   const struct fl_runtime_hold *hold, struct fl_str dir, struct fl_arena *arena,
                   struct fl_err *err)
{
    FL_CLEANUP_BUF struct fl_buf config = FL_BUF_INIT(FL_BUNDLE_CONFIG_MAX);
    FL_CLEANUP_BUF struct fl_buf orders = FL_BUF_INIT(2 * FL_RUNTIME_FILE_MAX);
    FL_CLEANUP_FD int dir_fd = -1;
    struct fl_str group =
        fl_runtime_cgroup_path(runtime, launch->task_id, launch->container_id, arena);
    struct fl_bundle_paths paths = {
        .dir = dir,
        .volumes_dir = fl_str_printf(arena, "%.*s/volumes/%.*s", FL_STR_ARG(runtime->data_dir),
                                     FL_STR_ARG(launch->task_id)),
        .shared_dir = fl_str_printf(arena, "%.*s/shared", FL_STR_ARG(runtime->data_dir)),
        .holder_shm = hold->shm,
        .holder_pid = hold->init_pid,
        .cgroup_path = group,
    };
    make_orders(runtime, launch, hold, group, arena, &orders);
    int rc = make_bundle(runtime, launch, &paths, arena, &config, &orders, err);
    if (rc < 0)
        return rc;
    rc = make_dir(dir, err, &dir_fd);
    if (rc < 0)
        return rc;
    rc = write_files(dir_fd, launch, fl_buf_str(&orders), arena);
    if (rc < 0 || orders.overflow)
        return fl_err_errno(err, rc < 0 ? rc : -E2BIG, "cannot write into %s", dir.p);
    rc = write_config(runtime, dir_fd, launch, fl_buf_str(&config), arena, err);
    if (rc < 0)
        return rc;
    return limit_task(runtime, launch, arena, err);
}

int fl_runtime_start(struct fl_runtime *runtime, struct fl_str id, struct fl_str dir, int netns_fd,
                     int lock_fd, struct fl_err *err)
{
    pid_t pid;
    struct fl_runtime_container *container = fl_runtime_watch_add(runtime, id, err);
    if (!container)
        return err ? err->status : -EINVAL;
    if (fl_runtime_launcher_ask(runtime, container, dir, netns_fd, lock_fd) == 0)
        return 0;
    int rc = fl_runtime_spawn_shim(runtime, dir, netns_fd, lock_fd, &pid);
    if (rc < 0) {
        fl_runtime_watch_remove(container);
        return fl_err_errno(err, rc, "cannot start %s", runtime->shim_path.p);
    }
    container->shim_child = pid;
    int pidfd = pidfd_open(pid, 0);
    if (pidfd < 0)
        return 0; /* the shim's files are watched all the same */
    (void)fl_runtime_watch_shim(container, pidfd);
    return 0;
}

int fl_runtime_launch(struct fl_runtime *runtime, const struct fl_launch *launch,
                      struct fl_err *err)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    int rc = check_launch(launch, err);
    if (rc < 0)
        return rc;
    struct fl_runtime_hold hold;
    rc = fl_runtime_hold(runtime, launch, arena, &hold, err);
    if (rc < 0)
        return rc;
    struct fl_str dir = fl_runtime_dir(runtime, launch->container_id, arena);
    rc = prepare(runtime, launch, &hold, dir, arena, err);
    if (rc == 0)
        rc = fl_runtime_start(runtime, launch->container_id, dir, launch->netns_fd, hold.lock_fd,
                              err);
    if (rc == 0 && hold.lock_fd >= 0 && launch->container->restart.enabled)
        fl_runtime_keep_hold(runtime, launch->container_id, FL_TAKE_FD(hold.lock_fd));
    if (hold.lock_fd >= 0)
        (void)close(hold.lock_fd);
    if (rc < 0 && rc != -EEXIST) {
        fl_runtime_memory_remove(runtime, launch->container_id);
        (void)fl_fs_remove_tree(AT_FDCWD, dir.p);
    }
    return rc;
}
