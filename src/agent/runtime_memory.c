/* What of a container must never be on a disk: its configuration when that holds the values of
 * secrets, with what the runtime and `fairlead-exec` make of it, and the secret options of its log
 * driver. It lies in a file system that is the machine's memory, gone with a reboot as the
 * container is:
 *
 *     /run/fairlead-<tag>/<container>/     (/dev/shm where /run is on a disk); root's alone
 *         config.json    the bundle has a link to it in place of its own; until the last end
 *         confinement.1  what fairlead-exec needs (exec.c)
 *         runtime/       the runtime's state, which has a copy
 *         log            the log driver's options; until the container is removed
 *
 * Nothing is there for containers without secrets. */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "agent/runtime_internal.h"
#include "base/exec_orders.h"
#include "base/fs.h"
#include "wire/json.h"

#define LOG_OPTIONS "log"

enum { LOG_OPTIONS_MAX = 1 << 20 };

/* NULL: there is none. */
static const char *memory_file_system(void)
{
    static const char *const places[] = {"/run", "/dev/shm"};
    struct statfs st;
    for (size_t i = 0; i < FL_ARRAY_SIZE(places); i++)
        if (statfs(places[i], &st) == 0 &&
            (st.f_type == TMPFS_MAGIC || st.f_type == (__typeof__(st.f_type))RAMFS_MAGIC))
            return places[i];
    return NULL;
}

bool fl_runtime_has_memory(void)
{
    return memory_file_system() != NULL;
}

struct fl_str fl_runtime_memory_root(struct fl_str tag, struct fl_arena *arena)
{
    const char *place = memory_file_system();
    return place ? fl_str_printf(arena, "%s/fairlead-%.*s", place, FL_STR_ARG(tag)) : FL_STR("");
}

struct fl_str fl_runtime_memory_dir(const struct fl_runtime *runtime, struct fl_str id,
                                    struct fl_arena *arena)
{
    return fl_str_printf(arena, "%.*s/%.*s", FL_STR_ARG(runtime->memory_root), FL_STR_ARG(id));
}

/* Everybody may make names in /dev/shm: what is not ours alone is not used. */
static int make_root(const struct fl_runtime *runtime, struct fl_err *err)
{
    struct stat st;
    const char *root = runtime->memory_root.p;
    if (runtime->memory_root.n == 0)
        return fl_err_set(err, -ENOTSUP,
                          "neither /run nor /dev/shm is in memory, and secrets are not written to "
                          "a disk");
    if (mkdir(root, 0700) < 0 && errno != EEXIST)
        return fl_err_errno(err, -errno, "cannot make %s", root);
    if (lstat(root, &st) < 0)
        return fl_err_errno(err, -errno, "cannot look at %s", root);
    if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 077) != 0)
        return fl_err_set(err, -EPERM, "%s is somebody else's", root);
    return 0;
}

int fl_runtime_memory_make(const struct fl_runtime *runtime, struct fl_str id, struct fl_str config,
                           const struct fl_launch *launch, struct fl_err *err)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    FL_CLEANUP_BUF struct fl_buf options = FL_BUF_INIT(LOG_OPTIONS_MAX);
    struct fl_json_writer jw = {.buf = &options};
    struct fl_str dir = fl_runtime_memory_dir(runtime, id, arena);
    int rc = make_root(runtime, err);
    if (rc < 0)
        return rc;
    fl_jw_object_begin(&jw);
    for (size_t i = 0; i < launch->log_secret_count; i++) {
        fl_jw_key_str(&jw, launch->log_secrets[i].key);
        fl_jw_str(&jw, launch->log_secrets[i].value);
    }
    fl_jw_object_end(&jw);
    if (options.overflow)
        return fl_err_set(err, -E2BIG, "the log driver's options are too large");
    (void)fl_fs_remove_tree(AT_FDCWD, dir.p);
    if (mkdir(dir.p, 0700) < 0)
        return fl_err_errno(err, -errno, "cannot make %s", dir.p);
    rc = fl_fs_write_fast(AT_FDCWD, fl_str_printf(arena, "%s/config.json", dir.p).p, config, 0600);
    if (rc == 0 && launch->log_secret_count > 0)
        rc = fl_fs_write_fast(AT_FDCWD, fl_str_printf(arena, "%s/" LOG_OPTIONS, dir.p).p,
                              fl_buf_str(&options), 0600);
    return rc < 0 ? fl_err_errno(err, rc, "cannot write into %s", dir.p) : 0;
}

struct fl_str fl_runtime_config_dir(const struct fl_runtime *runtime, struct fl_str id,
                                    struct fl_arena *arena)
{
    struct stat st;
    struct fl_str dir = fl_runtime_dir(runtime, id, arena);
    const char *config = fl_str_printf(arena, "%.*s/config.json", FL_STR_ARG(dir)).p;
    if (runtime->memory_root.n > 0 && lstat(config, &st) == 0 && S_ISLNK(st.st_mode))
        return fl_runtime_memory_dir(runtime, id, arena);
    return dir;
}

bool fl_runtime_log_secrets(const struct fl_runtime *runtime, struct fl_str id,
                            struct fl_arena *arena, struct fl_key_value **ret_pairs,
                            size_t *ret_count)
{
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(LOG_OPTIONS_MAX);
    struct fl_str dir = fl_runtime_memory_dir(runtime, id, arena);
    const char *path = fl_str_printf(arena, "%.*s/" LOG_OPTIONS, FL_STR_ARG(dir)).p;
    if (runtime->memory_root.n == 0 || fl_fs_read(AT_FDCWD, path, LOG_OPTIONS_MAX, &text) < 0)
        return false;
    const struct fl_json *json = fl_json_read(fl_buf_str(&text), arena, NULL);
    size_t count = fl_json_members(json);
    struct fl_key_value *pairs = fl_arena_new_array(arena, struct fl_key_value, count);
    for (size_t i = 0; i < count; i++)
        pairs[i] = (struct fl_key_value){fl_json_text(fl_json_member_name(json, i)),
                                         fl_json_text(fl_json_member(json, i))};
    *ret_pairs = pairs;
    *ret_count = count;
    return true;
}

void fl_runtime_memory_clear(const struct fl_runtime *runtime, struct fl_str id)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    static const char *const names[] = {"config.json", FL_EXEC_CONFINEMENT, "runtime"};
    struct fl_str dir = fl_runtime_memory_dir(runtime, id, arena);
    if (runtime->memory_root.n == 0 || access(dir.p, F_OK) < 0)
        return;
    for (size_t i = 0; i < FL_ARRAY_SIZE(names); i++)
        (void)fl_fs_remove_tree(AT_FDCWD, fl_str_printf(arena, "%s/%s", dir.p, names[i]).p);
}

/* The last container's takes the installation's directory with it. */
void fl_runtime_memory_remove(const struct fl_runtime *runtime, struct fl_str id)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    if (runtime->memory_root.n == 0)
        return;
    (void)fl_fs_remove_tree(AT_FDCWD, fl_runtime_memory_dir(runtime, id, arena).p);
    (void)rmdir(runtime->memory_root.p);
}

void fl_runtime_forget_memory(struct fl_str tag)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_str root = fl_runtime_memory_root(tag, arena);
    if (root.n > 0)
        (void)fl_fs_remove_tree(AT_FDCWD, root.p);
}
