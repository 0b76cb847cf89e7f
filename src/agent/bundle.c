/* Writing config.json: process, mounts, namespaces, limits. */
#include "agent/bundle.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "agent/bundle_args.h"
#include "agent/bundle_devices.h"
#include "agent/bundle_user.h"
#include "base/fs.h"
#include "wire/json.h"

enum { CAP_COUNT = 41, CAP_SYS_RESOURCE_NUMBER = 24, PIDS_MAX = 16384, MIB = 1024 * 1024 };

const char *const fl_bundle_default_caps[FL_BUNDLE_DEFAULT_CAPS] = {
    "CAP_AUDIT_WRITE", "CAP_CHOWN",   "CAP_DAC_OVERRIDE",     "CAP_FOWNER",    "CAP_FSETID",
    "CAP_KILL",        "CAP_MKNOD",   "CAP_NET_BIND_SERVICE", "CAP_NET_RAW",   "CAP_SETFCAP",
    "CAP_SETGID",      "CAP_SETPCAP", "CAP_SETUID",           "CAP_SYS_CHROOT"};

/* By number, as in linux/capability.h. */
static const char *const all_caps[CAP_COUNT] = {"CAP_CHOWN",
                                                "CAP_DAC_OVERRIDE",
                                                "CAP_DAC_READ_SEARCH",
                                                "CAP_FOWNER",
                                                "CAP_FSETID",
                                                "CAP_KILL",
                                                "CAP_SETGID",
                                                "CAP_SETUID",
                                                "CAP_SETPCAP",
                                                "CAP_LINUX_IMMUTABLE",
                                                "CAP_NET_BIND_SERVICE",
                                                "CAP_NET_BROADCAST",
                                                "CAP_NET_ADMIN",
                                                "CAP_NET_RAW",
                                                "CAP_IPC_LOCK",
                                                "CAP_IPC_OWNER",
                                                "CAP_SYS_MODULE",
                                                "CAP_SYS_RAWIO",
                                                "CAP_SYS_CHROOT",
                                                "CAP_SYS_PTRACE",
                                                "CAP_SYS_PACCT",
                                                "CAP_SYS_ADMIN",
                                                "CAP_SYS_BOOT",
                                                "CAP_SYS_NICE",
                                                "CAP_SYS_RESOURCE",
                                                "CAP_SYS_TIME",
                                                "CAP_SYS_TTY_CONFIG",
                                                "CAP_MKNOD",
                                                "CAP_LEASE",
                                                "CAP_AUDIT_WRITE",
                                                "CAP_AUDIT_CONTROL",
                                                "CAP_SETFCAP",
                                                "CAP_MAC_OVERRIDE",
                                                "CAP_MAC_ADMIN",
                                                "CAP_SYSLOG",
                                                "CAP_WAKE_ALARM",
                                                "CAP_BLOCK_SUSPEND",
                                                "CAP_AUDIT_READ",
                                                "CAP_PERFMON",
                                                "CAP_BPF",
                                                "CAP_CHECKPOINT_RESTORE"};

/* The network namespace is missing on purpose: the runtime inherits the shim's. */
#define NAMESPACES                                                                                 \
    "[{\"type\":\"pid\"},{\"type\":\"ipc\"},{\"type\":\"uts\"},{\"type\":\"mount\"},"              \
    "{\"type\":\"cgroup\"}]"

/* What every container has mounted; the last option of those `by_mode` is "ro", or "rw" for the
 * privileged. */
static const struct {
    const char *destination;
    const char *type;
    const char *options; /* JSON strings */
    bool by_mode;
} own_mounts[] = {
    {"/proc", "proc", "\"nosuid\",\"noexec\",\"nodev\"", false},
    {"/dev", "tmpfs", "\"nosuid\",\"strictatime\",\"mode=755\",\"size=65536k\"", false},
    {"/dev/pts", "devpts",
     "\"nosuid\",\"noexec\",\"newinstance\",\"ptmxmode=0666\",\"mode=0620\",\"gid=5\"", false},
    {"/dev/mqueue", "mqueue", "\"nosuid\",\"noexec\",\"nodev\"", false},
    {"/dev/shm", "tmpfs", "\"nosuid\",\"noexec\",\"nodev\",\"mode=1777\",\"size=65536k\"", false},
    {"/sys", "sysfs", "\"nosuid\",\"noexec\",\"nodev\"", true},
    {"/sys/fs/cgroup", "cgroup", "\"nosuid\",\"noexec\",\"nodev\",\"relatime\"", true},
};

#define MASKED_PATHS                                                                               \
    "[\"/proc/asound\",\"/proc/acpi\",\"/proc/kcore\",\"/proc/keys\",\"/proc/latency_stats\","     \
    "\"/proc/timer_list\",\"/proc/timer_stats\",\"/proc/sched_debug\",\"/proc/scsi\","             \
    "\"/sys/firmware\",\"/sys/devices/virtual/powercap\"]"

#define READONLY_PATHS                                                                             \
    "[\"/proc/bus\",\"/proc/fs\",\"/proc/irq\",\"/proc/sys\",\"/proc/sysrq-trigger\"]"

static int read_oom_score_adj(void)
{
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(64);
    int64_t value = 0;
    if (fl_fs_read(AT_FDCWD, "/proc/self/oom_score_adj", 64, &text) < 0 ||
        !fl_str_to_i64(fl_str_trim(fl_buf_str(&text)), &value))
        return 0;
    return (int)value;
}

void fl_bundle_look_at_host(struct fl_bundle_host *ret_host)
{
    ret_host->bounding_caps = 0;
    for (int i = 0; i < CAP_COUNT; i++)
        if (prctl(PR_CAPBSET_READ, i, 0, 0, 0) == 1)
            ret_host->bounding_caps |= UINT64_C(1) << i;
    ret_host->may_raise_limits =
        (ret_host->bounding_caps & (UINT64_C(1) << CAP_SYS_RESOURCE_NUMBER)) != 0;
    ret_host->oom_score_adj = read_oom_score_adj();
    for (int i = 0; i < RLIM_NLIMITS; i++)
        if (getrlimit((__rlimit_resource_t)i, &ret_host->limits[i]) < 0)
            ret_host->limits[i] = (struct rlimit){RLIM_INFINITY, RLIM_INFINITY};
}

/* What the writing functions share. */
struct making {
    const struct fl_bundle_host *host;
    const struct fl_launch *launch;
    const struct fl_bundle_paths *paths;
    struct fl_arena *arena;
    struct fl_json_writer jw;
    struct fl_str hostname;
    struct fl_buf note;
    struct fl_err *err;
};

static void write_strings(struct fl_json_writer *jw, const char *key, const struct fl_str *items,
                          size_t count)
{
    fl_jw_key(jw, key);
    fl_jw_array_begin(jw);
    for (size_t i = 0; i < count; i++)
        fl_jw_str(jw, items[i]);
    fl_jw_array_end(jw);
}

static bool is_offered(const struct fl_bundle_host *host, const char *cap)
{
    for (int i = 0; i < CAP_COUNT; i++)
        if (strcmp(all_caps[i], cap) == 0)
            return (host->bounding_caps & (UINT64_C(1) << i)) != 0;
    return false;
}

static void write_cap_set(struct making *m, const char *key)
{
    bool all = m->launch->container->privileged;
    const char *const *caps = all ? all_caps : fl_bundle_default_caps;
    size_t count = all ? CAP_COUNT : FL_BUNDLE_DEFAULT_CAPS;
    fl_jw_key(&m->jw, key);
    fl_jw_array_begin(&m->jw);
    for (size_t i = 0; i < count; i++)
        if (is_offered(m->host, caps[i]))
            fl_jw_str(&m->jw, fl_str_of(caps[i]));
    fl_jw_array_end(&m->jw);
}

/* Inheritable and ambient stay empty; who is not root starts with none, as under Docker. */
static void write_capabilities(struct making *m, const struct fl_bundle_user *user)
{
    fl_jw_key(&m->jw, "capabilities");
    fl_jw_object_begin(&m->jw);
    write_cap_set(m, "bounding");
    if (user->uid == 0) {
        write_cap_set(m, "effective");
        write_cap_set(m, "permitted");
    }
    fl_jw_object_end(&m->jw);
}

static void write_user(struct making *m, const struct fl_bundle_user *user)
{
    fl_jw_key(&m->jw, "user");
    fl_jw_object_begin(&m->jw);
    fl_jw_member_int(&m->jw, "uid", user->uid);
    fl_jw_member_int(&m->jw, "gid", user->gid);
    if (user->group_count > 0) {
        fl_jw_key(&m->jw, "additionalGids");
        fl_jw_array_begin(&m->jw);
        for (size_t i = 0; i < user->group_count; i++)
            fl_jw_int(&m->jw, user->groups[i]);
        fl_jw_array_end(&m->jw);
    }
    fl_jw_object_end(&m->jw);
}

/* OCI limits are unsigned: -1 becomes the largest, which no signed integer holds. */
static void write_limit_value(struct fl_json_writer *jw, const char *key, rlim_t value)
{
    char text[32];
    (void)snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
    fl_jw_key(jw, key);
    fl_jw_raw(jw, fl_str_of(text));
}

static rlim_t wanted_limit(int64_t value)
{
    return value < 0 ? RLIM_INFINITY : (rlim_t)value;
}

/* Without CAP_SYS_RESOURCE our own hard limit is the most we can give; refusing to start would
 * help nobody. */
static void write_rlimit(struct making *m, const struct fl_ulimit *limit, int number)
{
    rlim_t most = m->host->may_raise_limits ? RLIM_INFINITY : m->host->limits[number].rlim_max;
    rlim_t hard = FL_MIN(wanted_limit(limit->hard), most);
    rlim_t soft = FL_MIN(wanted_limit(limit->soft), hard);
    char name[32] = "RLIMIT_";
    size_t n = strlen(name);
    for (size_t i = 0; i < limit->name.n && n + 1 < sizeof(name); i++)
        name[n++] = (char)toupper((unsigned char)limit->name.p[i]);
    if (hard < wanted_limit(limit->hard))
        fl_buf_printf(&m->note, "%s%.*s lowered to the host's hard limit %llu",
                      m->note.n ? ", " : "", FL_STR_ARG(limit->name), (unsigned long long)hard);
    fl_jw_object_begin(&m->jw);
    fl_jw_member_str(&m->jw, "type", (struct fl_str){name, n});
    write_limit_value(&m->jw, "hard", hard);
    write_limit_value(&m->jw, "soft", soft);
    fl_jw_object_end(&m->jw);
}

/* The agent raises its own limit of descriptors; a container must not inherit that. */
static void write_descriptor_limit(struct making *m)
{
    const struct rlimit *host = &m->host->limits[RLIMIT_NOFILE];
    const struct fl_ulimit limit = {
        .name = FL_STR("nofile"),
        .soft = host->rlim_cur == RLIM_INFINITY ? -1 : (int64_t)host->rlim_cur,
        .hard = host->rlim_max == RLIM_INFINITY ? -1 : (int64_t)host->rlim_max,
    };
    write_rlimit(m, &limit, RLIMIT_NOFILE);
}

static int write_rlimits(struct making *m)
{
    const struct fl_container_spec *container = m->launch->container;
    bool has_descriptors = false;
    fl_jw_key(&m->jw, "rlimits");
    fl_jw_array_begin(&m->jw);
    for (size_t i = 0; i < container->ulimit_count; i++) {
        int number = fl_bundle_rlimit_number(container->ulimits[i].name);
        if (number < 0)
            return fl_err_set(m->err, -EINVAL, "invalid ulimit type: %.*s",
                              FL_STR_ARG(container->ulimits[i].name));
        write_rlimit(m, &container->ulimits[i], number);
        has_descriptors |= number == RLIMIT_NOFILE;
    }
    if (!has_descriptors)
        write_descriptor_limit(m);
    fl_jw_array_end(&m->jw);
    return 0;
}

/* Whether a path, as it is written, leads into /proc: "//proc/1", "/a/../proc". The image's links
 * are not looked at; they cannot lead the runtime out of the root. */
static bool lies_in_proc(struct fl_str path)
{
    struct fl_str part;
    size_t depth = 0;
    bool in_proc = false;
    while (fl_str_split(&path, '/', &part)) {
        if (part.n == 0 || fl_str_is(part, "."))
            continue;
        if (fl_str_is(part, ".."))
            depth -= depth > 0;
        else if (depth++ == 0)
            in_proc = fl_str_is(part, "proc");
    }
    return in_proc && depth > 0;
}

/* A working directory is a path in the container; what leads into /proc is a way out of it. */
static int working_dir(struct making *m, struct fl_str *ret_dir)
{
    struct fl_str dir = m->launch->container->working_dir;
    if (dir.n == 0)
        dir = m->launch->image->working_dir;
    if (dir.n == 0)
        dir = FL_STR("/");
    if (dir.p[0] != '/')
        return fl_err_set(
            m->err, -EINVAL,
            "the working directory '%.*s' is invalid, it needs to be an absolute path",
            FL_STR_ARG(dir));
    if (lies_in_proc(dir))
        return fl_err_set(m->err, -EINVAL, "the working directory '%.*s' lies in /proc",
                          FL_STR_ARG(dir));
    *ret_dir = dir;
    return 0;
}

static int find_user(struct making *m, struct fl_bundle_user *ret_user)
{
    const struct fl_launch *launch = m->launch;
    struct fl_str user =
        launch->container->user.n > 0 ? launch->container->user : launch->image->user;
    struct fl_str passwd =
        fl_bundle_read_etc(launch->layers, launch->layer_count, "passwd", m->arena);
    struct fl_str group =
        fl_bundle_read_etc(launch->layers, launch->layer_count, "group", m->arena);
    return fl_bundle_user_resolve(user, passwd, group, m->arena, ret_user, m->err);
}

static int write_process(struct making *m)
{
    struct fl_bundle_user user;
    struct fl_str *items;
    struct fl_str dir;
    size_t count;
    int rc = working_dir(m, &dir);
    if (rc == 0)
        rc = find_user(m, &user);
    if (rc == 0)
        rc = fl_bundle_args(m->launch->container, m->launch->image, m->arena, &items, &count,
                            m->err);
    if (rc < 0)
        return rc;
    fl_jw_key(&m->jw, "process");
    fl_jw_object_begin(&m->jw);
    fl_jw_member_bool(&m->jw, "terminal", false);
    fl_jw_member_bool(&m->jw, "noNewPrivileges", false);
    write_user(m, &user);
    write_strings(&m->jw, "args", items, count);
    fl_bundle_environment(m->launch, m->hostname, m->arena, &items, &count);
    write_strings(&m->jw, "env", items, count);
    fl_jw_member_str(&m->jw, "cwd", dir);
    write_capabilities(m, &user);
    if (m->host->oom_score_adj < 0)
        fl_jw_member_int(&m->jw, "oomScoreAdj", 0);
    rc = write_rlimits(m);
    fl_jw_object_end(&m->jw);
    return rc;
}

static void write_bind(struct fl_json_writer *jw, struct fl_str source, struct fl_str destination,
                       bool read_only)
{
    fl_jw_object_begin(jw);
    fl_jw_member_str(jw, "destination", destination);
    fl_jw_member_str(jw, "type", FL_STR("bind"));
    fl_jw_member_str(jw, "source", source);
    fl_jw_key(jw, "options");
    fl_jw_array_begin(jw);
    fl_jw_str(jw, FL_STR("rbind"));
    fl_jw_str(jw, FL_STR("rprivate"));
    fl_jw_str(jw, read_only ? FL_STR("ro") : FL_STR("rw"));
    fl_jw_array_end(jw);
    fl_jw_object_end(jw);
}

static bool is_mounted_by_user(const struct fl_container_spec *container, struct fl_str path)
{
    for (size_t i = 0; i < container->mount_count; i++)
        if (fl_str_eq(container->mounts[i].container_path, path))
            return true;
    return false;
}

/* The container's own hosts, hostname and resolv.conf, unless it mounts others there. */
static void write_etc_binds(struct making *m)
{
    static const char *const names[] = {"hosts", "hostname", "resolv.conf"};
    for (size_t i = 0; i < FL_ARRAY_SIZE(names); i++) {
        struct fl_str to = fl_str_printf(m->arena, "/etc/%s", names[i]);
        struct fl_str from =
            fl_str_printf(m->arena, "%.*s/%s", FL_STR_ARG(m->paths->dir), names[i]);
        if (!is_mounted_by_user(m->launch->container, to))
            write_bind(&m->jw, from, to, false);
    }
}

static const struct fl_volume_spec *find_volume(const struct fl_task_spec *task, struct fl_str name)
{
    for (size_t i = 0; i < task->volume_count; i++)
        if (fl_str_eq(task->volumes[i].name, name))
            return &task->volumes[i];
    return NULL;
}

/* A volume's name becomes one path component and nothing else. */
static bool is_plain_name(struct fl_str name)
{
    for (size_t i = 0; i < name.n; i++)
        if (!isalnum((unsigned char)name.p[i]) && !strchr("_-", name.p[i]))
            return false;
    return name.n > 0 && name.n <= 255;
}

static int volume_source(struct making *m, const struct fl_volume_spec *volume,
                         struct fl_str *ret_source)
{
    bool is_ours = volume->host_path.n == 0;
    struct fl_str source = volume->host_path;
    if (is_ours && !is_plain_name(volume->name))
        return fl_err_set(m->err, -EINVAL, "the volume name '%.*s' is invalid",
                          FL_STR_ARG(volume->name));
    if (is_ours)
        source = fl_str_printf(m->arena, "%.*s/%.*s", FL_STR_ARG(m->paths->volumes_dir),
                               FL_STR_ARG(volume->name));
    if (source.p[0] != '/' || memchr(source.p, '\0', source.n))
        return fl_err_set(m->err, -EINVAL, "the volume path '%.*s' is not absolute",
                          FL_STR_ARG(source));
    int rc = fl_fs_mkdirs(fl_str_z(m->arena, source), 0755);
    if (rc < 0)
        return fl_err_errno(m->err, rc, "cannot make the volume's directory %.*s",
                            FL_STR_ARG(source));
    *ret_source = source;
    return 0;
}

static size_t depth(struct fl_str path)
{
    size_t n = 0;
    for (size_t i = 0; i < path.n; i++)
        n += path.p[i] == '/';
    return n;
}

static int write_mount_point(struct making *m, const struct fl_mount_point *mount)
{
    const struct fl_volume_spec *volume = find_volume(m->launch->task, mount->source_volume);
    struct fl_str source;
    if (!volume)
        return fl_err_set(m->err, -EINVAL, "the mount point %.*s names no volume of the task",
                          FL_STR_ARG(mount->container_path));
    if (mount->container_path.n < 2 || mount->container_path.p[0] != '/')
        return fl_err_set(m->err, -EINVAL,
                          "invalid mount path: '%.*s' mount path must be absolute and not '/'",
                          FL_STR_ARG(mount->container_path));
    /* The runtime itself still works with this /proc. */
    if (lies_in_proc(mount->container_path))
        return fl_err_set(m->err, -EINVAL,
                          "invalid mount path: '%.*s' cannot be mounted because it is inside /proc",
                          FL_STR_ARG(mount->container_path));
    int rc = volume_source(m, volume, &source);
    if (rc == 0)
        write_bind(&m->jw, source, mount->container_path, mount->read_only);
    return rc;
}

/* What lies higher is mounted first, so that one mount does not hide another. */
static int write_user_mounts(struct making *m)
{
    const struct fl_container_spec *container = m->launch->container;
    size_t done = 0;
    for (size_t level = 0; done < container->mount_count && level <= PATH_MAX; level++)
        for (size_t i = 0; i < container->mount_count; i++) {
            if (depth(container->mounts[i].container_path) != level)
                continue;
            int rc = write_mount_point(m, &container->mounts[i]);
            if (rc < 0)
                return rc;
            done++;
        }
    return 0;
}

static void write_own_mounts(struct making *m)
{
    const char *mode = m->launch->container->privileged ? ",\"rw\"" : ",\"ro\"";
    for (size_t i = 0; i < FL_ARRAY_SIZE(own_mounts); i++) {
        fl_jw_object_begin(&m->jw);
        fl_jw_member_str(&m->jw, "destination", fl_str_of(own_mounts[i].destination));
        fl_jw_member_str(&m->jw, "type", fl_str_of(own_mounts[i].type));
        fl_jw_member_str(&m->jw, "source", fl_str_of(own_mounts[i].type));
        fl_jw_key(&m->jw, "options");
        fl_jw_raw(&m->jw, fl_str_printf(m->arena, "[%s%s]", own_mounts[i].options,
                                        own_mounts[i].by_mode ? mode : ""));
        fl_jw_object_end(&m->jw);
    }
}

static int write_mounts(struct making *m)
{
    fl_jw_key(&m->jw, "mounts");
    fl_jw_array_begin(&m->jw);
    write_own_mounts(m);
    write_etc_binds(m);
    if (m->launch->metadata_dir.n > 0)
        write_bind(&m->jw, m->launch->metadata_dir, m->launch->metadata_mount, true);
    int rc = write_user_mounts(m);
    fl_jw_array_end(&m->jw);
    return rc;
}

static void write_memory(struct making *m)
{
    const struct fl_container_spec *container = m->launch->container;
    if (container->memory_mib <= 0 && container->memory_reservation_mib <= 0)
        return;
    fl_jw_key(&m->jw, "memory");
    fl_jw_object_begin(&m->jw);
    if (container->memory_mib > 0)
        fl_jw_member_int(&m->jw, "limit", container->memory_mib * MIB);
    if (container->memory_mib > 0 && m->host->cgroup->has_swap)
        fl_jw_member_int(&m->jw, "swap", container->memory_mib * MIB);
    if (container->memory_reservation_mib > 0)
        fl_jw_member_int(&m->jw, "reservation", container->memory_reservation_mib * MIB);
    fl_jw_object_end(&m->jw);
}

/* The runtimes allow the usual devices (null, zero, random, tty, ptys) by themselves. */
static void write_resources(struct making *m)
{
    const struct fl_container_spec *container = m->launch->container;
    fl_jw_key(&m->jw, "resources");
    fl_jw_object_begin(&m->jw);
    fl_jw_key(&m->jw, "devices");
    fl_jw_array_begin(&m->jw);
    fl_jw_raw(&m->jw, container->privileged ? FL_STR("{\"allow\":true,\"access\":\"rwm\"}")
                                            : FL_STR("{\"allow\":false,\"access\":\"rwm\"}"));
    fl_bundle_allow_nodes(m->launch->device_nodes, m->launch->device_node_count, &m->jw);
    fl_jw_array_end(&m->jw);
    write_memory(m);
    if (m->host->cgroup->has_cpu) {
        fl_jw_key(&m->jw, "cpu");
        fl_jw_object_begin(&m->jw);
        fl_jw_member_int(&m->jw, "shares", FL_MAX(container->cpu_units, 2));
        fl_jw_object_end(&m->jw);
    }
    if (m->host->cgroup->has_pids) {
        fl_jw_key(&m->jw, "pids");
        fl_jw_object_begin(&m->jw);
        fl_jw_member_int(&m->jw, "limit", PIDS_MAX);
        fl_jw_object_end(&m->jw);
    }
    fl_jw_object_end(&m->jw);
}

/* crun installs the compiled program of the annotation only where this member is there too. */
static void write_seccomp(struct making *m)
{
    if (m->launch->container->privileged || !m->host->seccomp)
        return;
    fl_jw_key(&m->jw, "seccomp");
    fl_jw_raw(&m->jw, m->host->is_runc ? m->host->seccomp->json
                                       : FL_STR("{\"defaultAction\":\"SCMP_ACT_ERRNO\"}"));
}

static void write_linux(struct making *m)
{
    fl_jw_key(&m->jw, "linux");
    fl_jw_object_begin(&m->jw);
    fl_jw_member_str(&m->jw, "cgroupsPath", m->paths->cgroup_path);
    fl_jw_key(&m->jw, "namespaces");
    fl_jw_raw(&m->jw, FL_STR(NAMESPACES));
    write_resources(m);
    write_seccomp(m);
    if (m->launch->container->privileged) {
        fl_jw_key(&m->jw, "devices");
        fl_bundle_devices("/dev", &m->jw);
    } else {
        fl_jw_key(&m->jw, "devices");
        fl_jw_array_begin(&m->jw);
        fl_bundle_nodes(m->launch->device_nodes, m->launch->device_node_count, &m->jw);
        fl_jw_array_end(&m->jw);
        fl_jw_key(&m->jw, "maskedPaths");
        fl_jw_raw(&m->jw, FL_STR(MASKED_PATHS));
        fl_jw_key(&m->jw, "readonlyPaths");
        fl_jw_raw(&m->jw, FL_STR(READONLY_PATHS));
    }
    fl_jw_object_end(&m->jw);
}

static void write_annotations(struct making *m)
{
    if (m->launch->container->privileged || m->host->is_runc || !m->host->seccomp)
        return;
    fl_jw_key(&m->jw, "annotations");
    fl_jw_object_begin(&m->jw);
    fl_jw_member_str(&m->jw, "run.oci.seccomp_bpf_data", m->host->seccomp->base64);
    fl_jw_object_end(&m->jw);
}

static int write_config(struct making *m)
{
    fl_jw_object_begin(&m->jw);
    fl_jw_member_str(&m->jw, "ociVersion", FL_STR("1.0.2"));
    fl_jw_member_str(&m->jw, "hostname", m->hostname);
    fl_jw_key(&m->jw, "root");
    fl_jw_object_begin(&m->jw);
    fl_jw_member_str(&m->jw, "path", FL_STR("rootfs"));
    fl_jw_member_bool(&m->jw, "readonly", m->launch->container->readonly_rootfs);
    fl_jw_object_end(&m->jw);
    int rc = write_process(m);
    if (rc == 0)
        rc = write_mounts(m);
    if (rc < 0)
        return rc;
    write_linux(m);
    write_annotations(m);
    fl_jw_object_end(&m->jw);
    if (m->jw.buf->overflow)
        return fl_err_set(m->err, -E2BIG, "the container's configuration is too large");
    return 0;
}

/* Without a name given, a container is called by the start of its id, a host-mode one by the
 * host's name. */
static struct fl_str pick_hostname(const struct fl_launch *launch, struct fl_arena *arena)
{
    char name[256] = "";
    if (launch->hostname.n > 0)
        return launch->hostname;
    if (launch->task->network_mode == FL_NET_HOST && gethostname(name, sizeof(name) - 1) == 0)
        return fl_str_dup(arena, fl_str_of(name));
    return fl_str_sub(launch->container_id, 0, 12);
}

int fl_bundle_make(const struct fl_bundle_host *host, const struct fl_launch *launch,
                   const struct fl_bundle_paths *paths, struct fl_arena *arena,
                   struct fl_buf *ret_config, struct fl_str *ret_note, struct fl_err *err)
{
    struct making m = {
        .host = host,
        .launch = launch,
        .paths = paths,
        .arena = arena,
        .jw = {.buf = ret_config},
        .hostname = pick_hostname(launch, arena),
        .note = FL_BUF_INIT(4096),
        .err = err,
    };
    int rc = write_config(&m);
    if (rc == 0)
        *ret_note = fl_str_dup(arena, fl_buf_str(&m.note));
    fl_buf_free(&m.note);
    return rc;
}
