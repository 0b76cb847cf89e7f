/* Which containers' logs are shipped, and where to. */
#include "agent/agent_internal.h"

static struct fl_str option(const struct fl_container_spec *spec, const char *name)
{
    for (size_t i = 0; i < spec->log_option_count; i++)
        if (fl_str_is(spec->log_options[i].key, name))
            return spec->log_options[i].value;
    return (struct fl_str){0};
}

bool fl_agent_is_shipped(const struct fl_container_spec *spec)
{
    return fl_str_is(spec->log_driver, "awslogs");
}

struct fl_log_target fl_agent_log_target(struct fl_agent *agent,
                                         const struct fl_task_container *container,
                                         struct fl_arena *arena)
{
    struct fl_str id = fl_str_dup(arena, fl_str_of(container->id));
    struct fl_str stream = option(container->spec, "awslogs-stream");
    return (struct fl_log_target){
        .container_id = id,
        .spool_path = fl_runtime_log_path(agent->runtime, id, arena),
        .group = option(container->spec, "awslogs-group"),
        .stream = stream.n ? stream : id,
        .create_group = fl_str_is(option(container->spec, "awslogs-create-group"), "true"),
    };
}
