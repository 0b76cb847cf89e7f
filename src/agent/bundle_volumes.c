/* Where volumes lie on the host, and which of them a container sees.
 *
 *     <volumes>/<task>/<name>                     a task's own
 *     <volumes>/<task>/.image-<container>/<path>  a VOLUME of a container's image
 *     <shared>/<name>/data                        one that outlives its tasks
 *
 * A volume's directory is only ever replaced by us: containers see what is in it, not itself. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/bundle_making.h"
#include "base/fs.h"

enum { NAME_BYTES = 255 };

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
    return name.n > 0 && name.n <= NAME_BYTES;
}

/* As one path component: what is neither letter nor digit as %xx. */
static struct fl_str encode_name(struct fl_str text, struct fl_arena *arena)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(NAME_BYTES + 1);
    for (size_t i = 0; i < text.n; i++)
        if (isalnum((unsigned char)text.p[i]))
            fl_buf_add_char(&buf, text.p[i]);
        else
            fl_buf_printf(&buf, "%%%02x", (unsigned char)text.p[i]);
    return buf.overflow ? FL_STR("") : fl_str_dup(arena, fl_buf_str(&buf));
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static struct fl_str decode_name(struct fl_str name, struct fl_arena *arena)
{
    char *text = fl_arena_alloc(arena, name.n + 1);
    size_t n = 0;
    for (size_t i = 0; i < name.n; i++) {
        if (name.p[i] != '%' || i + 2 >= name.n || hex_digit(name.p[i + 1]) < 0 ||
            hex_digit(name.p[i + 2]) < 0) {
            text[n++] = name.p[i];
            continue;
        }
        text[n++] = (char)(hex_digit(name.p[i + 1]) * 16 + hex_digit(name.p[i + 2]));
        i += 2;
    }
    return (struct fl_str){text, n};
}

static int make_dir(struct fl_bundle_making *m, struct fl_str path)
{
    int rc = fl_fs_mkdirs(fl_str_z(m->arena, path), 0755);
    return rc < 0 ? fl_err_errno(m->err, rc, "cannot make the volume's directory %.*s",
                                 FL_STR_ARG(path))
                  : 0;
}

/* What is there is taken, a file too; what is not becomes a directory, as under Docker. */
static int find_host_path(struct fl_bundle_making *m, struct fl_str path)
{
    struct stat st;
    if (fl_bundle_plain_path(path, m->arena).n == 0)
        return fl_err_set(m->err, -EINVAL, "the volume path '%.*s' is not absolute",
                          FL_STR_ARG(path));
    if (stat(fl_str_z(m->arena, path), &st) == 0)
        return 0;
    return make_dir(m, path);
}

/* The one mount that Docker's local driver makes and that needs no mounting: another directory. */
static int find_device_option(struct fl_bundle_making *m, const struct fl_volume_spec *volume,
                              struct fl_str *ret_path)
{
    struct fl_str type = FL_STR(""), device = FL_STR(""), options = FL_STR("");
    for (size_t i = 0; i < volume->driver_opt_count; i++) {
        const struct fl_key_value *option = &volume->driver_opts[i];
        if (fl_str_is(option->key, "type"))
            type = option->value;
        else if (fl_str_is(option->key, "device"))
            device = option->value;
        else if (fl_str_is(option->key, "o"))
            options = option->value;
        else
            return fl_err_set(m->err, -EINVAL, "volume '%.*s': invalid option: \"%.*s\"",
                              FL_STR_ARG(volume->name), FL_STR_ARG(option->key));
    }
    if (!fl_str_is(type, "none") || !fl_str_is(options, "bind") ||
        fl_bundle_plain_path(device, m->arena).n == 0)
        return fl_err_set(m->err, -EINVAL,
                          "volume '%.*s': of the local driver's mounts only type=none, o=bind with "
                          "an absolute device is supported",
                          FL_STR_ARG(volume->name));
    if (access(fl_str_z(m->arena, device), F_OK) < 0)
        return fl_err_errno(m->err, -errno, "volume '%.*s': failed to mount %.*s",
                            FL_STR_ARG(volume->name), FL_STR_ARG(device));
    *ret_path = device;
    return 0;
}

/* What the volume was made with, for whoever looks after it later. */
static void describe_shared(struct fl_bundle_making *m, const struct fl_volume_spec *volume,
                            struct fl_str dir)
{
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(256 * 1024);
    struct fl_json_writer jw = {.buf = &text};
    fl_jw_object_begin(&jw);
    fl_jw_member_str(&jw, "driver", FL_STR("local"));
    fl_jw_key(&jw, "labels");
    fl_jw_object_begin(&jw);
    for (size_t i = 0; i < volume->label_count; i++) {
        fl_jw_key_str(&jw, volume->labels[i].key);
        fl_jw_str(&jw, volume->labels[i].value);
    }
    fl_jw_object_end(&jw);
    fl_jw_object_end(&jw);
    struct fl_str path = fl_str_printf(m->arena, "%.*s/volume.json", FL_STR_ARG(dir));
    (void)fl_fs_write_fast(AT_FDCWD, path.p, fl_buf_str(&text), 0600);
}

/* What describe_shared wrote; NULL: it was made before there were such files. */
static const struct fl_json *read_shared(struct fl_bundle_making *m, struct fl_str dir)
{
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(256 * 1024);
    struct fl_str path = fl_str_printf(m->arena, "%.*s/volume.json", FL_STR_ARG(dir));
    if (fl_fs_read(AT_FDCWD, path.p, text.max, &text) < 0)
        return NULL;
    return fl_json_get(fl_json_read(fl_str_dup(m->arena, fl_buf_str(&text)), m->arena, NULL),
                       "labels");
}

/* Of what a volume is made with only labels can differ: there is one driver, and its options make
 * no volume of ours. */
static bool is_as_described(struct fl_bundle_making *m, const struct fl_volume_spec *volume,
                            struct fl_str dir)
{
    const struct fl_json *labels = read_shared(m, dir);
    if (fl_json_members(labels) != volume->label_count)
        return false;
    for (size_t i = 0; i < volume->label_count; i++) {
        struct fl_str key = fl_str_dup(m->arena, volume->labels[i].key);
        const struct fl_json *value = fl_json_get(labels, key.p);
        if (!value || !fl_str_eq(fl_json_text(value), volume->labels[i].value))
            return false;
    }
    return true;
}

static int check_shared(struct fl_bundle_making *m, const struct fl_volume_spec *volume,
                        struct fl_str dir)
{
    if (!m->host->match_volumes || is_as_described(m, volume, dir))
        return 0;
    return fl_err_set(m->err, -EINVAL,
                      "initialize volume: volume '%.*s' exists, and its labels are not those of "
                      "the task definition",
                      FL_STR_ARG(volume->name));
}

static int find_shared(struct fl_bundle_making *m, const struct fl_volume_spec *volume,
                       struct fl_str *ret_source)
{
    struct fl_str dir = fl_str_printf(m->arena, "%.*s/%.*s", FL_STR_ARG(m->paths->shared_dir),
                                      FL_STR_ARG(volume->name));
    *ret_source = fl_str_printf(m->arena, "%s/data", dir.p);
    if (access(ret_source->p, F_OK) == 0)
        return check_shared(m, volume, dir);
    if (!volume->autoprovision)
        return fl_err_set(m->err, -EINVAL,
                          "initialize volume: volume detection failed, volume '%.*s' does not "
                          "exist and autoprovision is set to false",
                          FL_STR_ARG(volume->name));
    int rc = make_dir(m, *ret_source);
    if (rc == 0)
        describe_shared(m, volume, dir);
    return rc;
}

static int find_source(struct fl_bundle_making *m, const struct fl_volume_spec *volume,
                       struct fl_bundle_mount *mount)
{
    mount->source = volume->host_path;
    if (volume->host_path.n > 0)
        return find_host_path(m, volume->host_path);
    if (!is_plain_name(volume->name))
        return fl_err_set(m->err, -EINVAL, "the volume name '%.*s' is invalid",
                          FL_STR_ARG(volume->name));
    if (volume->driver.n > 0 && !fl_str_is(volume->driver, "local"))
        return fl_err_set(m->err, -EINVAL, "volume '%.*s': the driver '%.*s' is not supported",
                          FL_STR_ARG(volume->name), FL_STR_ARG(volume->driver));
    if (volume->driver_opt_count > 0)
        return find_device_option(m, volume, &mount->source);
    mount->is_filled = true;
    if (volume->is_shared)
        return find_shared(m, volume, &mount->source);
    mount->source = fl_str_printf(m->arena, "%.*s/%.*s", FL_STR_ARG(m->paths->volumes_dir),
                                  FL_STR_ARG(volume->name));
    return make_dir(m, mount->source);
}

static int find_destination(struct fl_bundle_making *m, struct fl_str path,
                            struct fl_bundle_mount *mount)
{
    mount->destination = fl_bundle_plain_path(path, m->arena);
    if (mount->destination.n < 2)
        return fl_err_set(m->err, -EINVAL,
                          "invalid mount path: '%.*s' mount path must be absolute and not '/'",
                          FL_STR_ARG(path));
    /* The runtime itself still works with this /proc. */
    if (fl_bundle_lies_in(mount->destination, "/proc"))
        return fl_err_set(m->err, -EINVAL,
                          "invalid mount path: '%.*s' cannot be mounted because it is inside /proc",
                          FL_STR_ARG(path));
    return 0;
}

int fl_bundle_add_mount(struct fl_bundle_making *m, const struct fl_bundle_mount *mount,
                        bool *ret_added)
{
    struct fl_bundle_mount plain = *mount;
    int rc = find_destination(m, mount->destination, &plain);
    *ret_added = false;
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < m->mount_count; i++)
        if (fl_str_eq(m->mounts[i].destination, plain.destination))
            return 0;
    if (m->mount_count == FL_BUNDLE_MAX_MOUNTS)
        return fl_err_set(m->err, -E2BIG, "more than %d mounts", FL_BUNDLE_MAX_MOUNTS);
    if (!m->mounts)
        m->mounts = fl_arena_new_array(m->arena, struct fl_bundle_mount, FL_BUNDLE_MAX_MOUNTS);
    m->mounts[m->mount_count++] = plain;
    *ret_added = true;
    return 0;
}

/* A container's mount points, its own or another's that it takes over. */
static int add_mount_points(struct fl_bundle_making *m, const struct fl_container_spec *container,
                            bool is_own, bool read_only)
{
    for (size_t i = 0; i < container->mount_count; i++) {
        const struct fl_mount_point *point = &container->mounts[i];
        const struct fl_volume_spec *volume = find_volume(m->launch->task, point->source_volume);
        struct fl_bundle_mount mount = {.destination = point->container_path,
                                        .read_only = read_only || point->read_only};
        bool added;
        if (!volume)
            return fl_err_set(m->err, -EINVAL, "the mount point %.*s names no volume of the task",
                              FL_STR_ARG(point->container_path));
        int rc = find_destination(m, point->container_path, &mount);
        if (rc == 0)
            rc = find_source(m, volume, &mount);
        if (rc == 0)
            rc = fl_bundle_add_mount(m, &mount, &added);
        if (rc < 0)
            return rc;
        if (is_own && !added)
            return fl_err_set(m->err, -EINVAL, "Duplicate mount point: %.*s",
                              FL_STR_ARG(point->container_path));
    }
    return 0;
}

static struct fl_str image_volumes_dir(const struct fl_bundle_making *m, struct fl_str container)
{
    return fl_str_printf(m->arena, "%.*s/.image-%.*s", FL_STR_ARG(m->paths->volumes_dir),
                         FL_STR_ARG(encode_name(container, m->arena)));
}

/* The image's VOLUMEs: directories of the task's, unless something is mounted there. */
static int add_image_volumes(struct fl_bundle_making *m)
{
    const struct fl_image_config *image = m->launch->image;
    for (size_t i = 0; i < image->volume_count; i++) {
        struct fl_str path = fl_bundle_plain_path(image->volumes[i], m->arena);
        struct fl_str name = encode_name(path, m->arena);
        if (name.n == 0)
            return fl_err_set(m->err, -EINVAL, "the image's volume '%.*s' is invalid",
                              FL_STR_ARG(fl_str_sub(image->volumes[i], 0, 100)));
        struct fl_bundle_mount mount = {
            .destination = path,
            .is_filled = true,
            .source = fl_str_printf(m->arena, "%s/%s",
                                    image_volumes_dir(m, m->launch->container->name).p, name.p)};
        bool added;
        int rc = fl_bundle_add_mount(m, &mount, &added);
        if (rc == 0 && added)
            rc = make_dir(m, mount.source);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* Another container's image VOLUMEs are known by the directories that its launch has made. */
static int add_others_image_volumes(struct fl_bundle_making *m, struct fl_str container,
                                    bool read_only)
{
    struct fl_str dir = image_volumes_dir(m, container);
    DIR *stream = opendir(dir.p);
    struct dirent *entry;
    int rc = 0;
    while (rc == 0 && stream && (entry = readdir(stream)) != NULL) {
        struct fl_bundle_mount mount = {
            .destination = decode_name(fl_str_of(entry->d_name), m->arena),
            .source = fl_str_printf(m->arena, "%s/%s", dir.p, entry->d_name),
            .read_only = read_only};
        bool added;
        if (entry->d_name[0] != '.')
            rc = fl_bundle_add_mount(m, &mount, &added);
    }
    if (stream)
        (void)closedir(stream);
    return rc;
}

static const struct fl_container_spec *find_container(const struct fl_task_spec *task,
                                                      struct fl_str name)
{
    for (size_t i = 0; i < task->container_count; i++)
        if (fl_str_eq(task->containers[i].name, name))
            return &task->containers[i];
    return NULL;
}

/* What another container has, what it has from others included; depth ends circles. */
static int add_volumes_from(struct fl_bundle_making *m, const struct fl_container_spec *container,
                            bool read_only, size_t depth)
{
    int rc = 0;
    if (depth > m->launch->task->container_count)
        return fl_err_set(m->err, -EINVAL, "volumesFrom leads back to its own container");
    for (size_t i = 0; rc == 0 && i < container->volumes_from_count; i++) {
        const struct fl_volumes_from *from = &container->volumes_from[i];
        const struct fl_container_spec *source =
            find_container(m->launch->task, from->source_container);
        bool ro = read_only || from->read_only;
        if (!source)
            return fl_err_set(m->err, -EINVAL, "volumesFrom: no such container: %.*s",
                              FL_STR_ARG(from->source_container));
        rc = add_mount_points(m, source, false, ro);
        if (rc == 0)
            rc = add_others_image_volumes(m, source->name, ro);
        if (rc == 0)
            rc = add_volumes_from(m, source, ro, depth + 1);
    }
    return rc;
}

int fl_bundle_find_volumes(struct fl_bundle_making *m)
{
    int rc = add_mount_points(m, m->launch->container, true, false);
    if (rc == 0)
        rc = add_volumes_from(m, m->launch->container, false, 0);
    return rc == 0 ? add_image_volumes(m) : rc;
}
