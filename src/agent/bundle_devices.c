/* Devices: all of the host's for the privileged, the definition's for everybody. Listing is bounded
 * in depth and number and follows no link. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "agent/bundle_making.h"

enum { MAX_DEVICES = 1024, DEPTH_MAX = 4, PATH_CAP = 512 };

/* The runtime makes these itself, or they belong to a file system of the container's own. */
static bool is_skipped(const char *path)
{
    static const char *const skipped[] = {
        "/dev/pts",    "/dev/shm",  "/dev/mqueue",  "/dev/fd",       "/dev/stdin",  "/dev/stdout",
        "/dev/stderr", "/dev/null", "/dev/zero",    "/dev/full",     "/dev/random", "/dev/urandom",
        "/dev/tty",    "/dev/ptmx", "/dev/console", "/dev/hugepages"};
    for (size_t i = 0; i < FL_ARRAY_SIZE(skipped); i++)
        if (strcmp(path, skipped[i]) == 0)
            return true;
    return false;
}

static struct fl_bundle_device device_of(struct fl_str path, const struct stat *st,
                                         struct fl_str access)
{
    return (struct fl_bundle_device){
        .path = path,
        .is_block = S_ISBLK(st->st_mode),
        .major = major(st->st_rdev),
        .minor = minor(st->st_rdev),
        .mode = st->st_mode & 07777,
        .uid = st->st_uid,
        .gid = st->st_gid,
        .access = access,
    };
}

static void write_device(struct fl_json_writer *jw, const struct fl_bundle_device *device)
{
    fl_jw_object_begin(jw);
    fl_jw_member_str(jw, "path", device->path);
    fl_jw_member_str(jw, "type", device->is_block ? FL_STR("b") : FL_STR("c"));
    fl_jw_member_int(jw, "major", device->major);
    fl_jw_member_int(jw, "minor", device->minor);
    fl_jw_member_int(jw, "fileMode", device->mode);
    fl_jw_member_int(jw, "uid", device->uid);
    fl_jw_member_int(jw, "gid", device->gid);
    fl_jw_object_end(jw);
}

/* Who is shown the devices beneath a directory; false ends the walk. */
struct walk {
    bool (*visit)(struct walk *walk, const char *path, const struct stat *st);
    bool skips_usual;
    struct fl_json_writer *jw;
    struct fl_bundle_making *making;
    const struct fl_device_spec *spec;
    int left; /* devices that may still come */
};

static bool walk_dir(struct walk *walk, const char *dir, int depth)
{
    DIR *stream = depth <= DEPTH_MAX ? opendir(dir) : NULL;
    struct dirent *entry;
    bool goes_on = true;
    while (stream && goes_on && (entry = readdir(stream)) != NULL) {
        char path[PATH_CAP];
        struct stat st;
        int n = snprintf(path, sizeof(path), "%s/%s", dir, entry->d_name);
        if (entry->d_name[0] == '.' || n < 0 || (size_t)n >= sizeof(path) ||
            (walk->skips_usual && is_skipped(path)) || lstat(path, &st) < 0)
            continue;
        if (S_ISDIR(st.st_mode))
            goes_on = walk_dir(walk, path, depth + 1);
        else if (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode))
            goes_on = walk->left-- > 0 && walk->visit(walk, path, &st);
    }
    if (stream)
        (void)closedir(stream);
    return goes_on;
}

static bool write_one(struct walk *walk, const char *path, const struct stat *st)
{
    struct fl_bundle_device device = device_of(fl_str_of(path), st, FL_STR("rwm"));
    write_device(walk->jw, &device);
    return true;
}

static struct fl_str place_of(const struct fl_device_spec *spec)
{
    return spec->container_path.n > 0 ? spec->container_path : spec->host_path;
}

static void add_device(struct fl_bundle_making *m, struct fl_str path, const struct stat *st,
                       const struct fl_device_spec *spec)
{
    if (!m->devices)
        m->devices = fl_arena_new_array(m->arena, struct fl_bundle_device, MAX_DEVICES);
    if (m->device_count < MAX_DEVICES)
        m->devices[m->device_count++] =
            device_of(path, st, spec->permissions.n > 0 ? spec->permissions : FL_STR("rwm"));
    fl_buf_printf(m->orders, "place %.*s\n", FL_STR_ARG(path));
}

/* A device in a directory keeps its place there. */
static bool add_one(struct walk *walk, const char *path, const struct stat *st)
{
    struct fl_bundle_making *m = walk->making;
    struct fl_str below = fl_str_from(fl_str_of(path), walk->spec->host_path.n);
    struct fl_str place = fl_bundle_plain_path(
        fl_str_printf(m->arena, "%.*s/%.*s", FL_STR_ARG(place_of(walk->spec)), FL_STR_ARG(below)),
        m->arena);
    if (place.n > 0)
        add_device(m, place, st, walk->spec);
    return place.n > 0;
}

static bool is_access(struct fl_str access)
{
    for (size_t i = 0; i < access.n; i++)
        if (!strchr("rwm", access.p[i]) || !access.p[i])
            return false;
    return access.n <= 3;
}

static int find_device(struct fl_bundle_making *m, const struct fl_device_spec *spec)
{
    struct stat st;
    struct fl_str place = fl_bundle_plain_path(place_of(spec), m->arena);
    if (!is_access(spec->permissions) || fl_bundle_plain_path(spec->host_path, m->arena).n == 0 ||
        place.n < 2 || fl_bundle_lies_in(place, "/proc") || fl_bundle_lies_in(place, "/sys"))
        return fl_err_set(m->err, -EINVAL, "the device '%.*s' has an invalid path or permission",
                          FL_STR_ARG(fl_str_sub(spec->host_path, 0, 100)));
    const char *path = fl_str_z(m->arena, spec->host_path);
    if (stat(path, &st) < 0)
        return fl_err_errno(m->err, -errno,
                            "error gathering device information while adding custom device \"%s\"",
                            path);
    if (S_ISDIR(st.st_mode)) {
        struct walk walk = {.visit = add_one, .making = m, .spec = spec, .left = MAX_DEVICES};
        (void)walk_dir(&walk, path, 0);
        return 0;
    }
    if (!S_ISCHR(st.st_mode) && !S_ISBLK(st.st_mode))
        return fl_err_set(m->err, -EINVAL,
                          "error gathering device information while adding custom device \"%s\": "
                          "not a device node",
                          path);
    add_device(m, place, &st, spec);
    return 0;
}

/* A node of the host's that the agent found for the container (a GPU's) lies in /dev under its last
 * name; one that is gone is left out. */
static void add_node(struct fl_bundle_making *m, struct fl_str path)
{
    static const struct fl_device_spec spec = {.permissions = {"rw", 2}};
    struct stat st;
    ptrdiff_t slash = fl_str_rindex(path, '/');
    if (slash < 0 || lstat(fl_str_z(m->arena, path), &st) < 0 ||
        (!S_ISCHR(st.st_mode) && !S_ISBLK(st.st_mode)))
        return;
    struct fl_str name = fl_str_from(path, (size_t)slash);
    add_device(m, fl_str_printf(m->arena, "/dev%.*s", FL_STR_ARG(name)), &st, &spec);
}

int fl_bundle_find_devices(struct fl_bundle_making *m)
{
    const struct fl_docker_spec *docker = &m->launch->container->docker;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < docker->device_count; i++)
        rc = find_device(m, &docker->devices[i]);
    for (size_t i = 0; rc == 0 && i < m->launch->device_node_count; i++)
        add_node(m, m->launch->device_nodes[i]);
    return rc;
}

/* The privileged have every device at its own place; the definition may give some a second one. */
void fl_bundle_write_devices(struct fl_bundle_making *m)
{
    struct walk walk = {.visit = write_one, .skips_usual = true, .jw = &m->jw, .left = MAX_DEVICES};
    bool all = m->launch->container->privileged;
    if (!all && m->device_count == 0)
        return;
    fl_jw_key(&m->jw, "devices");
    fl_jw_array_begin(&m->jw);
    if (all)
        (void)walk_dir(&walk, "/dev", 0);
    for (size_t i = 0; i < m->device_count; i++)
        if (!all || !fl_str_starts(m->devices[i].path, FL_STR("/dev/")))
            write_device(&m->jw, &m->devices[i]);
    fl_jw_array_end(&m->jw);
}

/* The runtimes allow the usual devices (null, zero, random, tty, ptys) by themselves. */
void fl_bundle_write_device_rules(struct fl_bundle_making *m)
{
    bool all = m->launch->container->privileged;
    fl_jw_key(&m->jw, "devices");
    fl_jw_array_begin(&m->jw);
    fl_jw_raw(&m->jw, all ? FL_STR("{\"allow\":true,\"access\":\"rwm\"}")
                          : FL_STR("{\"allow\":false,\"access\":\"rwm\"}"));
    for (size_t i = 0; !all && i < m->device_count; i++) {
        fl_jw_object_begin(&m->jw);
        fl_jw_member_bool(&m->jw, "allow", true);
        fl_jw_member_str(&m->jw, "type", m->devices[i].is_block ? FL_STR("b") : FL_STR("c"));
        fl_jw_member_int(&m->jw, "major", m->devices[i].major);
        fl_jw_member_int(&m->jw, "minor", m->devices[i].minor);
        fl_jw_member_str(&m->jw, "access", m->devices[i].access);
        fl_jw_object_end(&m->jw);
    }
    fl_jw_array_end(&m->jw);
}
