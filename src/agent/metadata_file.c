/* The container metadata file; see the header. */
#include "agent/metadata_file.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>

#include "base/fs.h"

enum { NAME_MAX_BYTES = 255, DOCUMENT_MAX = 256 * 1024, MOUNT_ID = 32 };

/* One component of a path and nothing else. */
static bool is_plain(struct fl_str name)
{
    for (size_t i = 0; i < name.n; i++)
        if (!isalnum((unsigned char)name.p[i]) && name.p[i] != '-' && name.p[i] != '_')
            return false;
    return name.n > 0 && name.n <= NAME_MAX_BYTES;
}

static struct fl_str task_dir(struct fl_str state_dir, const struct fl_metadata_facts *facts,
                              struct fl_str task_arn, struct fl_arena *arena)
{
    struct fl_str cluster = fl_task_id(facts->cluster); /* the last part of an ARN, or all of it */
    struct fl_str task = fl_task_id(task_arn);
    if (!is_plain(cluster) || !is_plain(task))
        return FL_STR("");
    return fl_str_printf(arena, "%.*s/metadata/%.*s/%.*s", FL_STR_ARG(state_dir),
                         FL_STR_ARG(cluster), FL_STR_ARG(task));
}

struct fl_str fl_metadata_file_dir(struct fl_str state_dir, const struct fl_metadata_facts *facts,
                                   const struct fl_task_container *container,
                                   struct fl_arena *arena)
{
    struct fl_str task = task_dir(state_dir, facts, container->task->arn, arena);
    if (task.n == 0 || !is_plain(container->spec->name))
        return FL_STR("");
    return fl_str_printf(arena, "%.*s/%.*s", FL_STR_ARG(task), FL_STR_ARG(container->spec->name));
}

struct fl_str fl_metadata_file_mount(const struct fl_task_container *container,
                                     struct fl_arena *arena)
{
    return fl_str_printf(arena, "/opt/ecs/metadata/%.*s", MOUNT_ID, container->id);
}

int fl_metadata_file_write(struct fl_str state_dir, const struct fl_metadata_facts *facts,
                           const struct fl_task_container *container, bool ready,
                           struct fl_err *err)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(DOCUMENT_MAX);
    struct fl_json_writer jw = {.buf = &text};
    struct fl_str dir = fl_metadata_file_dir(state_dir, facts, container, arena);
    if (dir.n == 0)
        return fl_err_set(err, -EINVAL, "the container's name is none of a directory");
    fl_metadata_write_file(facts, container, ready, &jw);
    struct fl_str path = fl_str_printf(arena, "%.*s/" FL_METADATA_FILE, FL_STR_ARG(dir));
    int r = text.overflow ? -EFBIG : fl_fs_mkdirs(dir.p, 0755);
    if (r == 0)
        r = fl_fs_write_fast(AT_FDCWD, path.p, fl_buf_str(&text), 0644);
    return r < 0 ? fl_err_errno(err, r, "cannot write %s", path.p) : 0;
}

void fl_metadata_file_remove(struct fl_str state_dir, const struct fl_metadata_facts *facts,
                             struct fl_str task_arn)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_str dir = task_dir(state_dir, facts, task_arn, arena);
    if (dir.n > 0)
        (void)fl_fs_remove_tree(AT_FDCWD, dir.p);
}
