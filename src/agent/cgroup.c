/* Detecting cgroup layouts in a private mount namespace; groups of tasks. */
#include "agent/cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "base/fs.h"
#include "base/mounts.h"

#define ROOT "/sys/fs/cgroup"

enum {
    FILE_MAX = 64 * 1024,
    CPU_PERIOD_US = 100000,
    CPU_QUOTA_MIN_US = 1000,
    KILL_ROUNDS = 50,
    ROOM_ROUNDS = 10,
    FREE_FD = 10,
    TREE_DEPTH_MAX = 32
};

static long file_system_type(const char *path)
{
    struct statfs fs;
    return statfs(path, &fs) < 0 ? 0 : (long)fs.f_type;
}

static bool exists(const char *dir, const char *name)
{
    char path[512];
    int n = snprintf(path, sizeof(path), "%s/%s", dir, name);
    return n > 0 && (size_t)n < sizeof(path) && access(path, F_OK) == 0;
}

static int write_value(const char *dir, const char *name, const char *value)
{
    char path[512];
    int n = snprintf(path, sizeof(path), "%s/%s", dir, name);
    if (n < 0 || (size_t)n >= sizeof(path))
        return -ENAMETOOLONG;
    FL_CLEANUP_FD int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    return fl_fs_write_all(fd, value, strlen(value));
}

static int write_number(const char *dir, const char *name, int64_t value)
{
    char text[32];
    (void)snprintf(text, sizeof(text), "%lld", (long long)value);
    return write_value(dir, name, text);
}

static int read_file(const char *dir, const char *name, struct fl_buf *buf)
{
    char path[512];
    int n = snprintf(path, sizeof(path), "%s/%s", dir, name);
    if (n < 0 || (size_t)n >= sizeof(path))
        return -ENAMETOOLONG;
    return fl_fs_read(AT_FDCWD, path, FILE_MAX, buf);
}

static bool has_word(struct fl_str text, const char *word)
{
    struct fl_str part;
    text = fl_str_trim(text);
    while (fl_str_split(&text, ' ', &part))
        if (fl_str_is(part, word))
            return true;
    return false;
}

/* crun refuses a v1 host whose v2 tree carries controllers, so in here that tree does not exist. */
static bool hide_v2(void)
{
    DIR *dir = opendir(ROOT);
    struct dirent *entry;
    bool hidden = false;
    if (!dir)
        return false;
    while ((entry = readdir(dir)) != NULL) {
        char path[512];
        int n = snprintf(path, sizeof(path), ROOT "/%s", entry->d_name);
        if (entry->d_name[0] == '.' || n < 0 || (size_t)n >= sizeof(path))
            continue;
        if (file_system_type(path) == CGROUP2_SUPER_MAGIC && umount2(path, MNT_DETACH) == 0)
            hidden = true;
    }
    (void)closedir(dir);
    return hidden;
}

/* The real directories are the hierarchies; "cpu" may be a symlink to "cpu,cpuacct". */
static void list_v1(struct fl_cgroup *cgroup)
{
    DIR *dir = opendir(ROOT);
    struct dirent *entry;
    while (dir && (entry = readdir(dir)) != NULL) {
        char path[512];
        struct stat st;
        int n = snprintf(path, sizeof(path), ROOT "/%s", entry->d_name);
        if (entry->d_name[0] == '.' || n < 0 || (size_t)n >= sizeof(path) || lstat(path, &st) < 0 ||
            !S_ISDIR(st.st_mode) || file_system_type(path) != CGROUP_SUPER_MAGIC)
            continue;
        if (cgroup->hierarchy_count < FL_CGROUP_MAX_HIERARCHIES)
            cgroup->hierarchies[cgroup->hierarchy_count++] = fl_strndup(path, (size_t)n);
    }
    if (dir)
        (void)closedir(dir);
}

static void look_v1(struct fl_cgroup *cgroup)
{
    cgroup->layout = hide_v2() ? FL_CGROUP_HYBRID : FL_CGROUP_V1;
    list_v1(cgroup);
    cgroup->has_memory = exists(ROOT "/memory", "memory.limit_in_bytes");
    cgroup->has_swap = exists(ROOT "/memory", "memory.memsw.limit_in_bytes");
    cgroup->has_cpu = exists(ROOT "/cpu", "cpu.shares") || exists(ROOT "/cpu", "tasks");
    cgroup->has_cpuset = exists(ROOT "/cpuset", "cpuset.cpus");
    cgroup->has_pids = exists(ROOT "/pids", "tasks");
    cgroup->has_devices =
        exists(ROOT "/devices", "devices.list") || exists(ROOT "/devices", "tasks");
}

/* A group with processes in it hands no controller down, unless it is the system's root. Ours only
 * seems to be the root when we are in a container with a cgroup namespace; its processes, this one
 * among them, then make room by going into a group of their own. Those of outer namespaces, which
 * have no number here, cannot be moved. */
static void make_room(void)
{
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(FILE_MAX);
    struct fl_str line;
    int64_t pid;
    if ((mkdir(ROOT FL_CGROUP_ROOM, 0755) < 0 && errno != EEXIST) ||
        read_file(ROOT, "cgroup.procs", &text) < 0)
        return;
    struct fl_str rest = fl_buf_str(&text);
    while (fl_str_split(&rest, '\n', &line))
        if (fl_str_to_i64(line, &pid) && pid > 0)
            (void)write_number(ROOT FL_CGROUP_ROOM, "cgroup.procs", pid);
}

/* Memory first: it is refused where processes are in the way. The others might be granted, at the
 * price that the groups below could hold nothing but threads. */
static void hand_down_one(const char *dir)
{
    static const char *const controllers[] = {"+memory", "+cpu", "+pids", "+cpuset", "+io"};
    for (size_t i = 0; i < FL_ARRAY_SIZE(controllers); i++)
        if (write_value(dir, "cgroup.subtree_control", controllers[i]) == -EBUSY)
            return;
}

/* New processes may come while others go. */
static void hand_down_root(void)
{
    for (int i = 0; i < ROOM_ROUNDS; i++) {
        if (write_value(ROOT, "cgroup.subtree_control", "+memory") != -EBUSY)
            break;
        make_room();
    }
    hand_down_one(ROOT);
}

/* Only groups below the root have the file, and older kernels leave it out unless told to count
 * swap. */
static bool accounts_swap(void)
{
    char dir[64];
    (void)snprintf(dir, sizeof(dir), ROOT "/fairlead.probe-%d", (int)getpid());
    if (mkdir(dir, 0755) < 0)
        return false;
    bool found = exists(dir, "memory.swap.max");
    (void)rmdir(dir);
    return found;
}

/* What is handed down counts: the root may have more than it may give. */
static void look_v2(struct fl_cgroup *cgroup)
{
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(FILE_MAX);
    cgroup->layout = FL_CGROUP_V2;
    cgroup->hierarchies[cgroup->hierarchy_count++] = fl_strndup(ROOT, strlen(ROOT));
    hand_down_root();
    (void)read_file(ROOT, "cgroup.subtree_control", &text);
    cgroup->has_memory = has_word(fl_buf_str(&text), "memory");
    cgroup->has_swap = cgroup->has_memory && accounts_swap();
    cgroup->has_cpu = has_word(fl_buf_str(&text), "cpu");
    cgroup->has_cpuset = has_word(fl_buf_str(&text), "cpuset");
    cgroup->has_pids = has_word(fl_buf_str(&text), "pids");
    cgroup->has_devices = true;
}

static void mount_v1_controller(struct fl_str name)
{
    char path[512];
    char option[64];
    int n = snprintf(path, sizeof(path), ROOT "/%.*s", FL_STR_ARG(name));
    (void)snprintf(option, sizeof(option), "%.*s", FL_STR_ARG(name));
    if (n < 0 || (size_t)n >= sizeof(path) || (mkdir(path, 0755) < 0 && errno != EEXIST))
        return;
    if (mount("cgroup", path, "cgroup", MS_NOSUID | MS_NODEV | MS_NOEXEC, option) < 0)
        (void)rmdir(path);
}

/* Every enabled controller of /proc/cgroups ("name hierarchy groups enabled"), in a tmpfs. */
static void mount_v1_all(void)
{
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(FILE_MAX);
    struct fl_str line;
    struct fl_str name;
    if (mount("cgroup", ROOT, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=755") < 0)
        return;
    if (fl_fs_read(AT_FDCWD, "/proc/cgroups", FILE_MAX, &text) < 0)
        return;
    struct fl_str rest = fl_buf_str(&text);
    while (fl_str_split(&rest, '\n', &line))
        if (!fl_str_starts(line, FL_STR("#")) && fl_str_ends(line, FL_STR("1")) &&
            fl_str_split(&line, '\t', &name))
            mount_v1_controller(name);
}

/* Nobody mounted any: a bare root without an init. v2 if it has what we need, else v1. */
static void mount_missing(void)
{
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(FILE_MAX);
    if (mount("cgroup2", ROOT, "cgroup2", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) == 0) {
        if (read_file(ROOT, "cgroup.controllers", &text) == 0 &&
            has_word(fl_buf_str(&text), "memory"))
            return;
        (void)umount2(ROOT, MNT_DETACH);
    }
    mount_v1_all();
}

/* The first write to cgroup.procs after a quiet moment waits for an RCU grace period of 7 to 15 ms,
 * in all hierarchies, unless one hierarchy is mounted so. This one is mounted nowhere: it lives as
 * long as a descriptor of it, which shims hold, too: a runtime that has seen it and is still
 * starting its container when the agent ends must find it again. The number is above those of
 * standard and of a shim's descriptors. */
static int mount_quick(void)
{
    FL_CLEANUP_FD int fs = fsopen("cgroup", FSOPEN_CLOEXEC);
    if (fs < 0)
        return -1;
    if (fsconfig(fs, FSCONFIG_SET_STRING, "name", "fairlead", 0) < 0 ||
        fsconfig(fs, FSCONFIG_SET_FLAG, "none", NULL, 0) < 0 ||
        fsconfig(fs, FSCONFIG_SET_FLAG, "favordynmods", NULL, 0) < 0 ||
        fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
        return -1;
    FL_CLEANUP_FD int mounted = fsmount(fs, FSMOUNT_CLOEXEC, 0);
    return mounted < 0 ? -1 : fcntl(mounted, F_DUPFD_CLOEXEC, FREE_FD);
}

int fl_cgroup_open(struct fl_cgroup *ret_cgroup, struct fl_err *err)
{
    struct fl_cgroup cgroup = {.quick_fd = -1};
    int rc = fl_mounts_unshare(err);
    if (rc < 0)
        return rc;
    long type = file_system_type(ROOT);
    if (type != CGROUP2_SUPER_MAGIC && type != TMPFS_MAGIC) {
        mount_missing();
        type = file_system_type(ROOT);
    }
    if (type == CGROUP2_SUPER_MAGIC)
        look_v2(&cgroup);
    else
        look_v1(&cgroup);
    if (cgroup.hierarchy_count == 0 || !cgroup.has_memory || !cgroup.has_cpu) {
        fl_cgroup_close(&cgroup);
        return fl_err_set(err, -ENOTSUP,
                          "no cgroups with cpu and memory under " ROOT
                          ": the kernel or an outer container does not offer them");
    }
    cgroup.quick_fd = mount_quick();
    *ret_cgroup = cgroup;
    return 0;
}

void fl_cgroup_close(struct fl_cgroup *cgroup)
{
    while (cgroup->hierarchy_count > 0)
        free(cgroup->hierarchies[--cgroup->hierarchy_count]);
    if (cgroup->quick_fd >= 0)
        (void)close(FL_TAKE_FD(cgroup->quick_fd));
}

const char *fl_cgroup_layout_name(const struct fl_cgroup *cgroup)
{
    switch (cgroup->layout) {
    case FL_CGROUP_V1:
        return "v1";
    case FL_CGROUP_HYBRID:
        return "hybrid";
    case FL_CGROUP_V2:
        return "v2";
    }
    return "unknown";
}

/* A v2 group has a controller's files only if every group above hands the controller down. */
static void hand_down(const char *path)
{
    char dir[512];
    for (const char *slash = path; slash; slash = strchr(slash + 1, '/')) {
        int n = snprintf(dir, sizeof(dir), ROOT "%.*s", (int)(slash - path), path);
        if (n < 0 || (size_t)n >= sizeof(dir))
            return;
        if (mkdir(dir, 0755) < 0 && errno != EEXIST)
            return;
        hand_down_one(dir);
    }
}

static int64_t period_us(const struct fl_cgroup_limits *limits)
{
    return limits->cpu_period_us > 0 ? limits->cpu_period_us : CPU_PERIOD_US;
}

static int64_t quota_us(const struct fl_cgroup_limits *limits)
{
    return FL_MAX(limits->cpu_units * period_us(limits) / 1024, CPU_QUOTA_MIN_US);
}

static int limit_v2(const char *path, const struct fl_cgroup_limits *limits)
{
    char dir[512];
    char text[64];
    int rc = 0;
    int n = snprintf(dir, sizeof(dir), ROOT "%s", path);
    if (n < 0 || (size_t)n >= sizeof(dir))
        return -ENAMETOOLONG;
    hand_down(path);
    if (mkdir(dir, 0755) < 0 && errno != EEXIST)
        return -errno;
    if (limits->memory_mib > 0)
        rc = write_number(dir, "memory.max", limits->memory_mib * 1024 * 1024);
    if (rc == 0 && limits->memory_mib > 0)
        (void)write_value(dir, "memory.swap.max", "0");
    (void)snprintf(text, sizeof(text), "%lld %lld", (long long)quota_us(limits),
                   (long long)period_us(limits));
    if (rc == 0 && limits->cpu_units > 0)
        rc = write_value(dir, "cpu.max", text);
    if (rc == 0 && limits->pids > 0)
        rc = write_number(dir, "pids.max", limits->pids);
    return rc;
}

static int limit_v1_memory(const char *path, int64_t memory_mib, bool has_swap)
{
    char dir[512];
    int n = snprintf(dir, sizeof(dir), ROOT "/memory%s", path);
    if (n < 0 || (size_t)n >= sizeof(dir))
        return -ENAMETOOLONG;
    int rc = fl_fs_mkdirs(dir, 0755);
    if (rc == 0)
        rc = write_number(dir, "memory.limit_in_bytes", memory_mib * 1024 * 1024);
    if (rc == 0 && has_swap)
        (void)write_number(dir, "memory.memsw.limit_in_bytes", memory_mib * 1024 * 1024);
    return rc;
}

static int limit_v1_cpu(const char *path, const struct fl_cgroup_limits *limits)
{
    char dir[512];
    int n = snprintf(dir, sizeof(dir), ROOT "/cpu%s", path);
    if (n < 0 || (size_t)n >= sizeof(dir))
        return -ENAMETOOLONG;
    int rc = fl_fs_mkdirs(dir, 0755);
    if (rc == 0)
        rc = write_number(dir, "cpu.cfs_period_us", period_us(limits));
    if (rc == 0)
        rc = write_number(dir, "cpu.cfs_quota_us", quota_us(limits));
    return rc;
}

static int limit_v1_pids(const char *path, int64_t pids)
{
    char dir[512];
    int n = snprintf(dir, sizeof(dir), ROOT "/pids%s", path);
    if (n < 0 || (size_t)n >= sizeof(dir))
        return -ENAMETOOLONG;
    int rc = fl_fs_mkdirs(dir, 0755);
    return rc == 0 ? write_number(dir, "pids.max", pids) : rc;
}

static int limit_v1(const char *path, const struct fl_cgroup_limits *limits, bool has_swap)
{
    int rc = 0;
    if (limits->memory_mib > 0)
        rc = limit_v1_memory(path, limits->memory_mib, has_swap);
    if (rc == 0 && limits->cpu_units > 0)
        rc = limit_v1_cpu(path, limits);
    if (rc == 0 && limits->pids > 0)
        rc = limit_v1_pids(path, limits->pids);
    return rc;
}

int fl_cgroup_limit_task(const struct fl_cgroup *cgroup, const char *path,
                         const struct fl_cgroup_limits *limits, struct fl_err *err)
{
    if (limits->cpu_units <= 0 && limits->memory_mib <= 0 && limits->pids <= 0)
        return 0;
    int rc = cgroup->layout == FL_CGROUP_V2 ? limit_v2(path, limits)
                                            : limit_v1(path, limits, cgroup->has_swap);
    return rc < 0 ? fl_err_errno(err, rc, "cannot set the task's limits") : 0;
}

int fl_cgroup_enter(const struct fl_cgroup *cgroup, const char *path, pid_t pid)
{
    char dir[512];
    const char *base = cgroup->layout == FL_CGROUP_V2 ? ROOT : ROOT "/memory";
    int n = snprintf(dir, sizeof(dir), "%s%s", base, path);
    if (n < 0 || (size_t)n >= sizeof(dir))
        return -ENAMETOOLONG;
    int rc = fl_fs_mkdirs(dir, 0755);
    return rc < 0 ? rc : write_number(dir, "cgroup.procs", pid);
}

struct fl_str fl_cgroup_oom_file(const struct fl_cgroup *cgroup, const char *path,
                                 struct fl_arena *arena)
{
    if (!cgroup->has_memory)
        return FL_STR("");
    if (cgroup->layout == FL_CGROUP_V2)
        return fl_str_printf(arena, ROOT "%s/memory.events", path);
    return fl_str_printf(arena, ROOT "/memory%s/memory.oom_control", path);
}

/* Kills who is in the group now; the number of processes seen, -errno when it is gone. */
static int kill_round(const char *dir)
{
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(1024 * 1024);
    struct fl_str line;
    int64_t pid;
    int seen = 0;
    int rc = read_file(dir, "cgroup.procs", &text);
    if (rc < 0)
        return rc;
    struct fl_str rest = fl_buf_str(&text);
    while (fl_str_split(&rest, '\n', &line))
        if (fl_str_to_i64(line, &pid) && pid > 1) {
            (void)kill((pid_t)pid, SIGKILL);
            seen++;
        }
    return seen;
}

/* Calls visit for dir and every group below it, the deepest first. */
static void walk_tree(const char *dir, int depth, void (*visit)(const char *dir))
{
    DIR *stream = depth <= TREE_DEPTH_MAX ? opendir(dir) : NULL;
    struct dirent *entry;
    if (!stream)
        return;
    while ((entry = readdir(stream)) != NULL) {
        char path[512];
        int n = snprintf(path, sizeof(path), "%s/%s", dir, entry->d_name);
        if (entry->d_type == DT_DIR && entry->d_name[0] != '.' && n > 0 && (size_t)n < sizeof(path))
            walk_tree(path, depth + 1, visit);
    }
    (void)closedir(stream);
    visit(dir);
}

static void kill_group(const char *dir)
{
    for (int i = 0; i < KILL_ROUNDS && kill_round(dir) > 0; i++)
        (void)usleep(1000);
}

/* Every hierarchy that the runtime knows holds the same processes; memory is always there. */
void fl_cgroup_kill(const struct fl_cgroup *cgroup, const char *path)
{
    char dir[512];
    const char *base = cgroup->layout == FL_CGROUP_V2 ? ROOT : ROOT "/memory";
    int n = snprintf(dir, sizeof(dir), "%s%s", base, path);
    if (n < 0 || (size_t)n >= sizeof(dir))
        return;
    if (cgroup->layout != FL_CGROUP_V2 || write_value(dir, "cgroup.kill", "1") < 0)
        kill_group(dir);
}

void fl_cgroup_kill_tree(const struct fl_cgroup *cgroup, const char *path)
{
    char dir[512];
    const char *base = cgroup->layout == FL_CGROUP_V2 ? ROOT : ROOT "/memory";
    int n = snprintf(dir, sizeof(dir), "%s%s", base, path);
    if (n > 0 && (size_t)n < sizeof(dir))
        walk_tree(dir, 0, kill_group);
}

static void remove_group(const char *dir)
{
    for (int i = 0; i < KILL_ROUNDS && rmdir(dir) < 0 && errno == EBUSY; i++)
        (void)usleep(1000);
}

/* On hybrid hosts the runtime makes the directories and files of a group in the folder, too, where
 * v2 was mounted: plain ones, which nobody else would ever remove. */
static void remove_plain(const struct fl_cgroup *cgroup, const char *path)
{
    char dir[512];
    int n = snprintf(dir, sizeof(dir), ROOT "/unified%s", path);
    if (cgroup->layout == FL_CGROUP_HYBRID && n > 0 && (size_t)n < sizeof(dir))
        (void)fl_fs_remove_tree(AT_FDCWD, dir);
}

bool fl_cgroup_remove_tree(const struct fl_cgroup *cgroup, const char *path)
{
    char dir[512];
    bool all = true;
    remove_plain(cgroup, path);
    for (size_t i = 0; i < cgroup->hierarchy_count; i++) {
        int n = snprintf(dir, sizeof(dir), "%s%s", cgroup->hierarchies[i], path);
        if (n < 0 || (size_t)n >= sizeof(dir))
            continue;
        walk_tree(dir, 0, remove_group);
        all = all && access(dir, F_OK) < 0;
    }
    return all;
}

void fl_cgroup_remove(const struct fl_cgroup *cgroup, const char *path)
{
    char dir[512];
    remove_plain(cgroup, path);
    for (size_t i = 0; i < cgroup->hierarchy_count; i++) {
        int n = snprintf(dir, sizeof(dir), "%s%s", cgroup->hierarchies[i], path);
        if (n > 0 && (size_t)n < sizeof(dir))
            (void)rmdir(dir);
    }
}
