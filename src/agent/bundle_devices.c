/* Listing /dev; bounded in depth and number, following no link. */
#include "agent/bundle_devices.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

enum { DEPTH_MAX = 4, PATH_CAP = 512 };

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

static void write_device(struct fl_json_writer *jw, const char *path, const struct stat *st)
{
    fl_jw_object_begin(jw);
    fl_jw_member_str(jw, "path", fl_str_of(path));
    fl_jw_member_str(jw, "type", S_ISBLK(st->st_mode) ? FL_STR("b") : FL_STR("c"));
    fl_jw_member_int(jw, "major", major(st->st_rdev));
    fl_jw_member_int(jw, "minor", minor(st->st_rdev));
    fl_jw_member_int(jw, "fileMode", st->st_mode & 07777);
    fl_jw_member_int(jw, "uid", st->st_uid);
    fl_jw_member_int(jw, "gid", st->st_gid);
    fl_jw_object_end(jw);
}

static void walk(const char *dir, int depth, int *left, struct fl_json_writer *jw)
{
    DIR *stream = depth <= DEPTH_MAX ? opendir(dir) : NULL;
    struct dirent *entry;
    while (stream && *left > 0 && (entry = readdir(stream)) != NULL) {
        char path[PATH_CAP];
        struct stat st;
        int n = snprintf(path, sizeof(path), "%s/%s", dir, entry->d_name);
        if (entry->d_name[0] == '.' || n < 0 || (size_t)n >= sizeof(path) || is_skipped(path) ||
            lstat(path, &st) < 0)
            continue;
        if (S_ISDIR(st.st_mode)) {
            walk(path, depth + 1, left, jw);
        } else if (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode)) {
            write_device(jw, path, &st);
            (*left)--;
        }
    }
    if (stream)
        (void)closedir(stream);
}

static bool look_at(struct fl_str path, struct stat *st)
{
    return lstat(path.p, st) == 0 && (S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode));
}

void fl_bundle_nodes(const struct fl_str *paths, size_t count, struct fl_json_writer *jw)
{
    for (size_t i = 0; i < count; i++) {
        const char *name = strrchr(paths[i].p, '/');
        char path[PATH_CAP];
        struct stat st;
        int n = snprintf(path, sizeof(path), "/dev%s", name ? name : "");
        if (name && n > 0 && (size_t)n < sizeof(path) && look_at(paths[i], &st))
            write_device(jw, path, &st);
    }
}

void fl_bundle_allow_nodes(const struct fl_str *paths, size_t count, struct fl_json_writer *jw)
{
    for (size_t i = 0; i < count; i++) {
        struct stat st;
        if (!look_at(paths[i], &st))
            continue;
        fl_jw_object_begin(jw);
        fl_jw_member_bool(jw, "allow", true);
        fl_jw_member_str(jw, "type", S_ISBLK(st.st_mode) ? FL_STR("b") : FL_STR("c"));
        fl_jw_member_int(jw, "major", major(st.st_rdev));
        fl_jw_member_int(jw, "minor", minor(st.st_rdev));
        fl_jw_member_str(jw, "access", FL_STR("rw"));
        fl_jw_object_end(jw);
    }
}

void fl_bundle_devices(const char *dir, struct fl_json_writer *jw)
{
    int left = FL_BUNDLE_MAX_DEVICES;
    fl_jw_array_begin(jw);
    walk(dir, 0, &left, jw);
    fl_jw_array_end(jw);
}
