/* Facts of launched containers; see the header. */
#include "agent/runtime_facts.h"

#include <sys/stat.h>
#include <unistd.h>

#include "agent/runtime_internal.h"

pid_t fl_runtime_pid(struct fl_runtime *runtime, struct fl_str container_id)
{
    const struct fl_runtime_container *container = fl_runtime_find(runtime, container_id);
    bool runs = container && container->state == FL_RUNTIME_STARTED &&
                fl_runtime_start_time(container->pid) == container->start_time;
    return runs ? container->pid : 0;
}

int64_t fl_runtime_created_ms(const struct fl_runtime *runtime, struct fl_str container_id)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct stat st;
    struct fl_str path = fl_str_printf(arena, "%.*s/orders",
                                       FL_STR_ARG(fl_runtime_dir(runtime, container_id, arena)));
    if (!fl_runtime_id_is_valid(container_id) || stat(path.p, &st) < 0)
        return 0;
    return (int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000;
}

struct fl_str fl_runtime_group(const struct fl_runtime *runtime, struct fl_str task_id,
                               struct fl_str container_id, struct fl_arena *arena)
{
    return fl_runtime_cgroup_path(runtime, task_id, container_id, arena);
}

enum fl_cgroup_layout fl_runtime_layout(const struct fl_runtime *runtime)
{
    return runtime->cgroup.layout;
}

bool fl_runtime_is_well(const struct fl_runtime *runtime)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    return access(fl_str_z(arena, runtime->runtime_path), X_OK) == 0 &&
           access(fl_str_z(arena, runtime->shim_path), X_OK) == 0;
}
