/* What is mounted in a container: kernel file systems, its own files in /etc, tmpfs, volumes.
 *
 * Whether a place is one in the image is the shim's to see, which has the root file system: every
 * place that the definition or the image chose is among its orders. */
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <unistd.h>

#include "agent/bundle_args.h"
#include "agent/bundle_making.h"

#define INIT_PROGRAM "/usr/bin/tini-static"
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

/* The container's own hosts, hostname and resolv.conf, unless it mounts others there. */
static void write_etc_binds(struct fl_bundle_making *m)
{
    static const char *const names[] = {"hosts", "hostname", "resolv.conf"};
    for (size_t i = 0; i < FL_ARRAY_SIZE(names); i++) {
        struct fl_str to = fl_str_printf(m->arena, "/etc/%s", names[i]);
        struct fl_str from =
            fl_str_printf(m->arena, "%.*s/%s", FL_STR_ARG(m->paths->dir), names[i]);
        if (!is_mounted(m, to.p))
            write_bind(&m->jw, from, to, false);
    }
}

/* What a tmpfs may be given; what would make another kind of mount of it is not here. */
static bool is_tmpfs_option(struct fl_str option)
{
    static const char *const flags[] = {
        "defaults", "ro",      "rw",         "suid",        "nosuid",       "dev",
        "nodev",    "exec",    "noexec",     "sync",        "async",        "dirsync",
        "mand",     "nomand",  "atime",      "noatime",     "diratime",     "nodiratime",
        "relatime", "private", "norelatime", "strictatime", "nostrictatime"};
    static const char *const valued[] = {
        "size=", "mode=", "uid=", "gid=", "nr_inodes=", "nr_blocks=", "mpol="};
    for (size_t i = 0; i < FL_ARRAY_SIZE(flags); i++)
        if (fl_str_is(option, flags[i]))
            return true;
    for (size_t i = 0; i < option.n; i++)
        if (!isgraph((unsigned char)option.p[i]) || strchr("\"\\", option.p[i]))
            return false;
    for (size_t i = 0; i < FL_ARRAY_SIZE(valued); i++)
        if (fl_str_starts(option, fl_str_of(valued[i])))
            return true;
    return false;
}

static bool has_option(struct fl_str text, const char *wanted)
{
    struct fl_str option;
    while (fl_str_split(&text, ',', &option))
        if (fl_str_is(option, wanted))
            return true;
    return false;
}

/* Docker's three, unless the definition has the opposite. */
static void add_tmpfs_defaults(struct fl_str text, struct fl_buf *buf)
{
    static const char *const flags[] = {"nosuid", "nodev", "noexec"};
    fl_buf_add_z(buf, "\"mode=1777\"");
    for (size_t i = 0; i < FL_ARRAY_SIZE(flags); i++)
        if (!has_option(text, flags[i] + strlen("no")))
            fl_buf_printf(buf, ",\"%s\"", flags[i]);
}

static int read_tmpfs_options(struct fl_bundle_making *m, struct fl_str text,
                              struct fl_str *ret_options)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(8192);
    struct fl_str option;
    add_tmpfs_defaults(text, &buf);
    while (fl_str_split(&text, ',', &option)) {
        if (!is_tmpfs_option(option))
            return fl_err_set(m->err, -EINVAL, "invalid tmpfs option [\"%.*s\"]",
                              FL_STR_ARG(fl_str_sub(option, 0, 100)));
        if (!fl_str_is(option, "defaults"))
            fl_buf_printf(&buf, ",\"%.*s\"", FL_STR_ARG(option));
    }
    if (buf.overflow)
        return fl_err_set(m->err, -EINVAL, "too many tmpfs options");
    *ret_options = fl_str_dup(m->arena, fl_buf_str(&buf));
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

/* A line of orders ends with the place, which holds no control character. */
static void order_place(struct fl_bundle_making *m, const struct fl_bundle_mount *mount)
{
    fl_buf_printf(m->orders, "place %.*s\n", FL_STR_ARG(mount->destination));
    if (mount->is_filled)
        fl_buf_printf(m->orders, "fill %.*s\nfrom %.*s\n", FL_STR_ARG(mount->source),
                      FL_STR_ARG(mount->destination));
}

int fl_bundle_find_mounts(struct fl_bundle_making *m)
{
    int rc = find_tmpfs(m);
    if (rc == 0)
        rc = find_init(m);
    if (rc == 0)
        rc = fl_bundle_find_volumes(m);
    for (size_t i = 0; rc == 0 && i < m->mount_count; i++)
        order_place(m, &m->mounts[i]);
    return rc;
}

static void write_user_mount(struct fl_bundle_making *m, const struct fl_bundle_mount *mount)
{
    if (mount->source.n > 0)
        write_bind(&m->jw, mount->source, mount->destination, mount->read_only);
    else
        write_mount(&m->jw, fl_str_z(m->arena, mount->destination), "tmpfs",
                    fl_str_printf(m->arena, "[%.*s]", FL_STR_ARG(mount->options)));
}

static size_t depth(struct fl_str path)
{
    size_t n = 0;
    for (size_t i = 0; i < path.n; i++)
        n += path.p[i] == '/';
    return n;
}

/* What lies higher is mounted first, so that one mount does not hide another. */
static void write_user_mounts(struct fl_bundle_making *m)
{
    size_t done = 0;
    for (size_t level = 1; done < m->mount_count && level <= PATH_MAX; level++)
        for (size_t i = 0; i < m->mount_count; i++)
            if (depth(m->mounts[i].destination) == level) {
                write_user_mount(m, &m->mounts[i]);
                done++;
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
