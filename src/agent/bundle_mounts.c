/* What is mounted in a container: kernel file systems, its own files in /etc, tmpfs, volumes.
 *
 * Where a place that the definition or the image chose lies is the shim's to see, which has the
 * root file system: it mounts tmpfs and volumes there before the runtime starts. */
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <sys/mount.h>
#include <unistd.h>

#include "agent/bundle_args.h"
#include "agent/bundle_making.h"

#define INIT_PROGRAM "/usr/bin/tini-static"
enum { TMPFS_OPTIONS_MAX = 4000 };

#define SHM_BYTES (INT64_C(64) << 20)

/* What every container has mounted; the last option of those `by_mode` is "ro", or "rw" for the
 * privileged. /dev/mqueue and /dev/shm belong to the IPC namespace. */
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
    {"/sys", "sysfs", "\"nosuid\",\"noexec\",\"nodev\"", true},
    {"/sys/fs/cgroup", "cgroup", "\"nosuid\",\"noexec\",\"nodev\",\"relatime\"", true},
};

/* The container's own. */
static const char *const etc_names[] = {"hosts", "hostname", "resolv.conf"};

static void write_mount(struct fl_json_writer *jw, const char *destination, const char *type,
                        struct fl_str options)
{
    fl_jw_object_begin(jw);
    fl_jw_member_str(jw, "destination", fl_str_of(destination));
    fl_jw_member_str(jw, "type", fl_str_of(type));
    fl_jw_member_str(jw, "source", fl_str_of(type));
    fl_jw_key(jw, "options");
    fl_jw_raw(jw, options);
    fl_jw_object_end(jw);
}

static void write_bind(struct fl_json_writer *jw, struct fl_str source, struct fl_str destination,
                       bool read_only)
{
    fl_jw_object_begin(jw);
    fl_jw_member_str(jw, "destination", destination);
    fl_jw_member_str(jw, "type", FL_STR("bind"));
    fl_jw_member_str(jw, "source", source);
    fl_jw_key(jw, "options");
    fl_jw_raw(jw, read_only ? FL_STR("[\"rbind\",\"rprivate\",\"ro\"]")
                            : FL_STR("[\"rbind\",\"rprivate\",\"rw\"]"));
    fl_jw_object_end(jw);
}

static bool is_mounted(const struct fl_bundle_making *m, const char *path)
{
    for (size_t i = 0; i < m->mount_count; i++)
        if (fl_str_is(m->mounts[i].destination, path))
            return true;
    return false;
}

static void write_own_mounts(struct fl_bundle_making *m)
{
    const char *mode = m->launch->container->privileged ? ",\"rw\"" : ",\"ro\"";
    for (size_t i = 0; i < FL_ARRAY_SIZE(own_mounts); i++)
        write_mount(&m->jw, own_mounts[i].destination, own_mounts[i].type,
                    fl_str_printf(m->arena, "[%s%s]", own_mounts[i].options,
                                  own_mounts[i].by_mode ? mode : ""));
}

/* The shared memory is the namespace's: the host's, the task's (where its holder has it), or its
 * own; Docker's mode "none" has none. */
static void write_ipc_mounts(struct fl_bundle_making *m)
{
    const struct fl_docker_spec *docker = &m->launch->container->docker;
    int64_t size = docker->shm_size_bytes > 0 ? docker->shm_size_bytes : SHM_BYTES;
    enum fl_namespace_mode mode = m->launch->task->ipc_mode;
    write_mount(&m->jw, "/dev/mqueue", "mqueue", FL_STR("[\"nosuid\",\"noexec\",\"nodev\"]"));
    if (mode == FL_NS_NONE || is_mounted(m, "/dev/shm"))
        return;
    if (mode == FL_NS_HOST)
        write_bind(&m->jw, FL_STR("/dev/shm"), FL_STR("/dev/shm"), false);
    else if (mode == FL_NS_TASK)
        write_bind(&m->jw, m->paths->holder_shm, FL_STR("/dev/shm"), false);
    else
        write_mount(&m->jw, "/dev/shm", "tmpfs",
                    fl_str_printf(m->arena,
                                  "[\"nosuid\",\"noexec\",\"nodev\",\"mode=1777\",\"size=%lld\"]",
                                  (long long)size));
}

/* The container's own hosts, hostname and resolv.conf, where nothing else is mounted. */
static void write_etc_binds(struct fl_bundle_making *m)
{
    if (m->mount_count > 0) /* then they are among the shim's orders */
        return;
    for (size_t i = 0; i < FL_ARRAY_SIZE(etc_names); i++) {
        struct fl_str to = fl_str_printf(m->arena, "/etc/%s", etc_names[i]);
        struct fl_str from =
            fl_str_printf(m->arena, "%.*s/%s", FL_STR_ARG(m->paths->dir), etc_names[i]);
        write_bind(&m->jw, from, to, false);
    }
}

/* Flags of a tmpfs; what would make another kind of mount of it is not here. */
static const struct {
    const char *name;
    unsigned long set;
    unsigned long clear;
} tmpfs_flags[] = {
    {"defaults", 0, 0},
    {"ro", MS_RDONLY, 0},
    {"rw", 0, MS_RDONLY},
    {"suid", 0, MS_NOSUID},
    {"nosuid", MS_NOSUID, 0},
    {"dev", 0, MS_NODEV},
    {"nodev", MS_NODEV, 0},
    {"exec", 0, MS_NOEXEC},
    {"noexec", MS_NOEXEC, 0},
    {"sync", MS_SYNCHRONOUS, 0},
    {"async", 0, MS_SYNCHRONOUS},
    {"dirsync", MS_DIRSYNC, 0},
    {"mand", MS_MANDLOCK, 0},
    {"nomand", 0, MS_MANDLOCK},
    {"atime", 0, MS_NOATIME},
    {"noatime", MS_NOATIME, 0},
    {"diratime", 0, MS_NODIRATIME},
    {"nodiratime", MS_NODIRATIME, 0},
    {"relatime", MS_RELATIME, 0},
    {"norelatime", 0, MS_RELATIME},
    {"strictatime", MS_STRICTATIME, 0},
    {"nostrictatime", 0, MS_STRICTATIME},
    {"private", 0, 0}, /* it is */
};

static bool take_tmpfs_flag(struct fl_str option, unsigned long *flags)
{
    for (size_t i = 0; i < FL_ARRAY_SIZE(tmpfs_flags); i++)
        if (fl_str_is(option, tmpfs_flags[i].name)) {
            *flags = (*flags | tmpfs_flags[i].set) & ~tmpfs_flags[i].clear;
            return true;
        }
    return false;
}

static bool is_tmpfs_value(struct fl_str option)
{
    static const char *const valued[] = {
        "size=", "mode=", "uid=", "gid=", "nr_inodes=", "nr_blocks=", "mpol="};
    for (size_t i = 0; i < option.n; i++)
        if (!isgraph((unsigned char)option.p[i]) || strchr("\"\\", option.p[i]))
            return false;
    for (size_t i = 0; i < FL_ARRAY_SIZE(valued); i++)
        if (fl_str_starts(option, fl_str_of(valued[i])))
            return true;
    return false;
}

/* "<flags> <options>"; Docker's three flags are there unless the definition says otherwise. */
static int read_tmpfs_options(struct fl_bundle_making *m, struct fl_str text,
                              struct fl_str *ret_options)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(TMPFS_OPTIONS_MAX);
    unsigned long flags = MS_NOSUID | MS_NODEV | MS_NOEXEC;
    struct fl_str option;
    while (fl_str_split(&text, ',', &option)) {
        if (take_tmpfs_flag(option, &flags))
            continue;
        if (!is_tmpfs_value(option))
            return fl_err_set(m->err, -EINVAL, "invalid tmpfs option [\"%.*s\"]",
                              FL_STR_ARG(fl_str_sub(option, 0, 100)));
        fl_buf_printf(&buf, "%s%.*s", buf.n > 0 ? "," : "", FL_STR_ARG(option));
    }
    if (buf.overflow)
        return fl_err_set(m->err, -EINVAL, "too many tmpfs options");
    *ret_options = fl_str_printf(m->arena, "%lu %.*s", flags, FL_STR_ARG(fl_buf_str(&buf)));
    return 0;
}

static int find_tmpfs(struct fl_bundle_making *m)
{
    const struct fl_docker_spec *docker = &m->launch->container->docker;
    for (size_t i = 0; i < docker->tmpfs_count; i++) {
        struct fl_bundle_mount mount = {.destination = docker->tmpfs[i].key};
        bool added;
        int rc = read_tmpfs_options(m, docker->tmpfs[i].value, &mount.options);
        if (rc == 0)
            rc = fl_bundle_add_mount(m, &mount, &added);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* The init that Docker would have brought comes from the distribution. */
static int find_init(struct fl_bundle_making *m)
{
    struct fl_bundle_mount mount = {.destination = FL_STR(FL_BUNDLE_INIT_PLACE),
                                    .source = FL_STR(INIT_PROGRAM),
                                    .read_only = true};
    bool added;
    if (!m->launch->container->docker.init)
        return 0;
    if (access(INIT_PROGRAM, X_OK) < 0)
        return fl_err_set(m->err, -ENOENT,
                          "exec: \"docker-init\": executable file not found in $PATH (" INIT_PROGRAM
                          " of the package tini is missing on the host)");
    return fl_bundle_add_mount(m, &mount, &added);
}

/* What lies in these is the runtime's to mount, which makes them anew. */
static bool is_the_runtimes(const struct fl_bundle_mount *mount)
{
    return fl_bundle_lies_in(mount->destination, "/dev") ||
           fl_bundle_lies_in(mount->destination, "/sys");
}

static bool lies_below(const struct fl_bundle_mount *mount, struct fl_str path)
{
    return path.n > mount->destination.n && fl_str_starts(path, mount->destination) &&
           path.p[mount->destination.n] == '/';
}

/* Links in a volume are not followed by the runtime. */
static int check_runtimes(struct fl_bundle_making *m, const struct fl_bundle_mount *mount)
{
    for (size_t i = 0; i < m->mount_count; i++)
        if (lies_below(&m->mounts[i], mount->destination))
            return fl_err_set(m->err, -EINVAL,
                              "invalid mount path: '%.*s' lies in another mount in /dev or /sys",
                              FL_STR_ARG(mount->destination));
    return 0;
}

static int find_metadata(struct fl_bundle_making *m)
{
    const struct fl_launch *launch = m->launch;
    struct fl_bundle_mount mount = {
        .destination = launch->metadata_mount, .source = launch->metadata_dir, .read_only = true};
    bool added;
    return launch->metadata_dir.n > 0 ? fl_bundle_add_mount(m, &mount, &added) : 0;
}

/* Lines of orders end with paths, which hold no control character. */
static int order_mount(struct fl_bundle_making *m, const struct fl_bundle_mount *mount)
{
    if (mount->is_filled)
        fl_buf_printf(m->orders, "fill %.*s\nfrom %.*s\n", FL_STR_ARG(mount->source),
                      FL_STR_ARG(mount->destination));
    if (is_the_runtimes(mount))
        return check_runtimes(m, mount);
    if (mount->source.n > 0)
        fl_buf_printf(m->orders, "mount b%.*s\n", FL_STR_ARG(mount->source));
    else
        fl_buf_printf(m->orders, "mount t%.*s\n", FL_STR_ARG(mount->options));
    fl_buf_printf(m->orders, "at %c%.*s\n", mount->read_only ? 'r' : 'w',
                  FL_STR_ARG(mount->destination));
    return 0;
}

static size_t depth(struct fl_str path)
{
    size_t n = 0;
    for (size_t i = 0; i < path.n; i++)
        n += path.p[i] == '/';
    return n;
}

/* What lies higher is mounted first, so that one mount does not hide another. */
static int order_mounts(struct fl_bundle_making *m)
{
    size_t done = 0;
    for (size_t level = 1; done < m->mount_count && level <= PATH_MAX; level++)
        for (size_t i = 0; i < m->mount_count; i++) {
            if (depth(m->mounts[i].destination) != level)
                continue;
            int rc = order_mount(m, &m->mounts[i]);
            if (rc < 0)
                return rc;
            done++;
        }
    return 0;
}

static bool lies_below_any(const struct fl_bundle_making *m, struct fl_str path)
{
    for (size_t i = 0; i < m->mount_count; i++)
        if (lies_below(&m->mounts[i], path))
            return true;
    return false;
}

/* Where there are volumes, the runtime must not look for a place of these either: by a link in the
 * image it might lie in one. They come first, but for those that a volume would hide. */
static int order_etc(struct fl_bundle_making *m)
{
    int rc = 0;
    bool added;
    size_t count = m->mount_count;
    for (size_t i = 0; rc == 0 && count > 0 && i < FL_ARRAY_SIZE(etc_names); i++) {
        struct fl_bundle_mount mount = {
            .destination = fl_str_printf(m->arena, "/etc/%s", etc_names[i]),
            .source = fl_str_printf(m->arena, "%.*s/%s", FL_STR_ARG(m->paths->dir), etc_names[i])};
        if (lies_below_any(m, mount.destination))
            rc = fl_bundle_add_mount(m, &mount, &added);
        else if (!is_mounted(m, mount.destination.p))
            rc = order_mount(m, &mount);
    }
    return rc;
}

int fl_bundle_find_mounts(struct fl_bundle_making *m)
{
    int rc = find_tmpfs(m);
    if (rc == 0)
        rc = find_init(m);
    if (rc == 0)
        rc = fl_bundle_find_volumes(m);
    if (rc == 0)
        rc = find_metadata(m);
    if (rc == 0)
        rc = order_etc(m);
    return rc == 0 ? order_mounts(m) : rc;
}

/* In the runtime's words. */
static void write_tmpfs(struct fl_bundle_making *m, const struct fl_bundle_mount *mount)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(2 * TMPFS_OPTIONS_MAX);
    struct fl_str rest = mount->options, option;
    int64_t flags = 0;
    if (fl_str_split(&rest, ' ', &option))
        (void)fl_str_to_i64(option, &flags);
    fl_buf_add_z(&buf, "[\"private\"");
    for (size_t i = 0; i < FL_ARRAY_SIZE(tmpfs_flags); i++)
        if (tmpfs_flags[i].set & (unsigned long)flags)
            fl_buf_printf(&buf, ",\"%s\"", tmpfs_flags[i].name);
    while (fl_str_split(&rest, ',', &option))
        fl_buf_printf(&buf, ",\"%.*s\"", FL_STR_ARG(option));
    fl_buf_add_char(&buf, ']');
    write_mount(&m->jw, fl_str_z(m->arena, mount->destination), "tmpfs", fl_buf_str(&buf));
}

/* Only what the runtime mounts; the rest is there already. */
static void write_user_mounts(struct fl_bundle_making *m)
{
    for (size_t i = 0; i < m->mount_count; i++) {
        const struct fl_bundle_mount *mount = &m->mounts[i];
        if (is_the_runtimes(mount) && mount->source.n > 0)
            write_bind(&m->jw, mount->source, mount->destination, mount->read_only);
        else if (is_the_runtimes(mount))
            write_tmpfs(m, mount);
    }
}

void fl_bundle_write_mounts(struct fl_bundle_making *m)
{
    fl_jw_key(&m->jw, "mounts");
    fl_jw_array_begin(&m->jw);
    write_own_mounts(m);
    write_ipc_mounts(m);
    write_etc_binds(m);
    write_user_mounts(m);
    fl_jw_array_end(&m->jw);
}
