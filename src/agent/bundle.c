/* Writing config.json: the whole and its process. What takes finding out (mounts, devices) is found
 * first; then it is written from top to bottom. */
#include "agent/bundle.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "agent/bundle_args.h"
#include "agent/bundle_making.h"
#include "agent/bundle_user.h"
#include "base/fs.h"

enum { CAP_SYS_RESOURCE_NUMBER = 24, NOTE_MAX = 4096 };

#define APPARMOR_FILE "/sys/module/apparmor/parameters/enabled"
#define SELINUX_FILE "/sys/fs/selinux/enforce"

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

bool fl_bundle_has_apparmor(void)
{
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(64);
    return fl_fs_read(AT_FDCWD, APPARMOR_FILE, 64, &text) == 0 &&
           fl_str_starts(fl_buf_str(&text), FL_STR("Y"));
}

bool fl_bundle_has_selinux(void)
{
    return access(SELINUX_FILE, F_OK) == 0;
}

void fl_bundle_look_at_host(struct fl_bundle_host *ret_host)
{
    ret_host->bounding_caps = 0;
    for (int i = 0; i < FL_BUNDLE_CAP_COUNT; i++)
        if (prctl(PR_CAPBSET_READ, i, 0, 0, 0) == 1)
            ret_host->bounding_caps |= UINT64_C(1) << i;
    ret_host->may_raise_limits =
        (ret_host->bounding_caps & (UINT64_C(1) << CAP_SYS_RESOURCE_NUMBER)) != 0;
    ret_host->oom_score_adj = read_oom_score_adj();
    ret_host->has_apparmor = fl_bundle_has_apparmor();
    ret_host->has_selinux = fl_bundle_has_selinux();
    for (int i = 0; i < RLIM_NLIMITS; i++)
        if (getrlimit((__rlimit_resource_t)i, &ret_host->limits[i]) < 0)
            ret_host->limits[i] = (struct rlimit){RLIM_INFINITY, RLIM_INFINITY};
}

void fl_bundle_note(struct fl_bundle_making *m, const char *fmt, ...)
{
    char text[256];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    fl_buf_printf(&m->note, "%s%s", m->note.n > 0 ? ", " : "", text);
}

void fl_bundle_write_strings(struct fl_json_writer *jw, const char *key, const struct fl_str *items,
                             size_t count)
{
    fl_jw_key(jw, key);
    fl_jw_array_begin(jw);
    for (size_t i = 0; i < count; i++)
        fl_jw_str(jw, items[i]);
    fl_jw_array_end(jw);
}

static bool has_control_character(struct fl_str text)
{
    for (size_t i = 0; i < text.n; i++)
        if ((unsigned char)text.p[i] < ' ' || text.p[i] == 0x7f)
            return true;
    return false;
}

struct fl_str fl_bundle_plain_path(struct fl_str path, struct fl_arena *arena)
{
    char *text = fl_arena_alloc(arena, path.n + 2);
    size_t n = 0;
    struct fl_str part;
    if (path.n == 0 || path.p[0] != '/' || has_control_character(path))
        return FL_STR("");
    while (fl_str_split(&path, '/', &part)) {
        if (part.n == 0 || fl_str_is(part, "."))
            continue;
        if (fl_str_is(part, "..")) {
            while (n > 0 && text[--n] != '/')
                ;
            continue;
        }
        text[n++] = '/';
        memcpy(text + n, part.p, part.n);
        n += part.n;
    }
    if (n == 0)
        text[n++] = '/';
    text[n] = '\0';
    return (struct fl_str){text, n};
}

bool fl_bundle_lies_in(struct fl_str path, const char *dir)
{
    struct fl_str prefix = fl_str_of(dir);
    return fl_str_starts(path, prefix) && (path.n == prefix.n || path.p[prefix.n] == '/');
}

static void write_cap_set(struct fl_bundle_making *m, const char *key)
{
    uint64_t caps = m->security.caps & m->host->bounding_caps;
    fl_jw_key(&m->jw, key);
    fl_jw_array_begin(&m->jw);
    for (int i = 0; i < FL_BUNDLE_CAP_COUNT; i++)
        if (caps & (UINT64_C(1) << i))
            fl_jw_str(&m->jw, fl_str_of(fl_bundle_all_caps[i]));
    fl_jw_array_end(&m->jw);
}

/* Inheritable and ambient stay empty; who is not root starts with none, as under Docker. */
static void write_capabilities(struct fl_bundle_making *m, const struct fl_bundle_user *user)
{
    uint64_t missing = m->security.caps & ~m->host->bounding_caps & ~FL_BUNDLE_DEFAULT_CAP_BITS;
    for (int i = 0; !m->launch->container->privileged && i < FL_BUNDLE_CAP_COUNT; i++)
        if (missing & (UINT64_C(1) << i))
            fl_bundle_note(m, "%s left out, the host does not have it", fl_bundle_all_caps[i]);
    fl_jw_key(&m->jw, "capabilities");
    fl_jw_object_begin(&m->jw);
    write_cap_set(m, "bounding");
    if (user->uid == 0) {
        write_cap_set(m, "effective");
        write_cap_set(m, "permitted");
    }
    fl_jw_object_end(&m->jw);
}

static void write_user(struct fl_bundle_making *m, const struct fl_bundle_user *user)
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

/* A working directory is a path in the container; what leads into /proc is a way out of it. */
static int working_dir(struct fl_bundle_making *m, struct fl_str *ret_dir)
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
    if (fl_bundle_lies_in(fl_bundle_plain_path(dir, m->arena), "/proc"))
        return fl_err_set(m->err, -EINVAL, "the working directory '%.*s' lies in /proc",
                          FL_STR_ARG(dir));
    *ret_dir = dir;
    return 0;
}

static int find_user(struct fl_bundle_making *m, struct fl_bundle_user *ret_user)
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

static int write_process(struct fl_bundle_making *m)
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
    fl_jw_member_bool(&m->jw, "terminal", m->launch->container->docker.tty);
    fl_jw_member_bool(&m->jw, "noNewPrivileges", m->security.no_new_privileges);
    if (m->security.apparmor.n > 0 && m->host->has_apparmor)
        fl_jw_member_str(&m->jw, "apparmorProfile", m->security.apparmor);
    if (m->security.has_label && m->host->has_selinux)
        fl_jw_member_str(&m->jw, "selinuxLabel", fl_bundle_label(&m->security, m->arena));
    write_user(m, &user);
    fl_bundle_write_strings(&m->jw, "args", items, count);
    fl_bundle_environment(m->launch, m->hostname, m->arena, &items, &count);
    fl_bundle_write_strings(&m->jw, "env", items, count);
    fl_jw_member_str(&m->jw, "cwd", dir);
    write_capabilities(m, &user);
    if (m->host->oom_score_adj < 0)
        fl_jw_member_int(&m->jw, "oomScoreAdj", 0);
    rc = fl_bundle_write_rlimits(m);
    fl_jw_object_end(&m->jw);
    return rc;
}

/* crun installs the compiled program of the annotation only where this member is there too. */
static void write_seccomp(struct fl_bundle_making *m)
{
    if (m->security.no_seccomp || !m->host->seccomp)
        return;
    fl_jw_key(&m->jw, "seccomp");
    fl_jw_raw(&m->jw, m->host->is_runc ? m->host->seccomp->json
                                       : FL_STR("{\"defaultAction\":\"SCMP_ACT_ERRNO\"}"));
}

static int write_linux(struct fl_bundle_making *m)
{
    fl_jw_key(&m->jw, "linux");
    fl_jw_object_begin(&m->jw);
    fl_jw_member_str(&m->jw, "cgroupsPath", m->paths->cgroup_path);
    fl_bundle_write_namespaces(m);
    fl_bundle_write_resources(m);
    write_seccomp(m);
    fl_bundle_write_devices(m);
    if (!m->launch->container->privileged) {
        fl_jw_key(&m->jw, "maskedPaths");
        fl_jw_raw(&m->jw, FL_STR(MASKED_PATHS));
        fl_jw_key(&m->jw, "readonlyPaths");
        fl_jw_raw(&m->jw, FL_STR(READONLY_PATHS));
    }
    int rc = fl_bundle_write_sysctls(m);
    fl_jw_object_end(&m->jw);
    return rc;
}

static void write_annotations(struct fl_bundle_making *m)
{
    if (m->security.no_seccomp || m->host->is_runc || !m->host->seccomp)
        return;
    fl_jw_key(&m->jw, "annotations");
    fl_jw_object_begin(&m->jw);
    fl_jw_member_str(&m->jw, "run.oci.seccomp_bpf_data", m->host->seccomp->base64);
    fl_jw_object_end(&m->jw);
}

static int write_config(struct fl_bundle_making *m)
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
    if (rc < 0)
        return rc;
    fl_bundle_write_mounts(m);
    rc = write_linux(m);
    if (rc < 0)
        return rc;
    write_annotations(m);
    fl_jw_object_end(&m->jw);
    if (m->jw.buf->overflow || m->orders->overflow)
        return fl_err_set(m->err, -E2BIG, "the container's configuration is too large");
    return 0;
}

/* Placement keeps such tasks away; what comes all the same is not run with less than it asked for.
 */
static int check_modules(struct fl_bundle_making *m)
{
    if (m->security.has_label && !m->host->has_selinux)
        return fl_err_set(m->err, -EINVAL, "label: SELinux is not enabled on this host");
    if (m->security.apparmor.n == 0 || m->host->has_apparmor ||
        fl_str_is(m->security.apparmor, "unconfined"))
        return 0;
    return fl_err_set(m->err, -EINVAL,
                      "apparmor profile \"%.*s\": AppArmor is not enabled on this host",
                      FL_STR_ARG(m->security.apparmor));
}

static void order_terminal(struct fl_bundle_making *m)
{
    if (m->launch->container->docker.tty)
        fl_buf_add_z(m->orders, "console 1\n");
    else if (m->launch->container->docker.open_stdin)
        fl_buf_add_z(m->orders, "stdin 1\n");
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
                   const struct fl_bundle_paths *paths, const struct fl_bundle_security *security,
                   struct fl_arena *arena, struct fl_buf *ret_config, struct fl_buf *ret_orders,
                   struct fl_str *ret_note, struct fl_err *err)
{
    struct fl_bundle_making m = {
        .host = host,
        .launch = launch,
        .paths = paths,
        .security = *security,
        .arena = arena,
        .jw = {.buf = ret_config},
        .orders = ret_orders,
        .hostname = pick_hostname(launch, arena),
        .note = FL_BUF_INIT(NOTE_MAX),
        .err = err,
    };
    int rc = check_modules(&m);
    if (rc == 0)
        rc = fl_bundle_find_mounts(&m);
    if (rc == 0)
        rc = fl_bundle_find_devices(&m);
    order_terminal(&m);
    if (rc == 0)
        rc = write_config(&m);
    if (rc == 0)
        *ret_note = fl_str_dup(arena, fl_buf_str(&m.note));
    fl_buf_free(&m.note);
    return rc;
}
