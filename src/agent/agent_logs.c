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

static struct fl_shipping *find(const struct fl_agent *agent, struct fl_str container_id)
{
    struct fl_shipping *shipping;
    HASH_FIND(hh, agent->shipping, container_id.p, container_id.n, shipping);
    return shipping;
}

bool fl_agent_log_delays_removal(struct fl_agent *agent, struct fl_str container_id)
{
    struct fl_shipping *shipping = find(agent, container_id);
    if (shipping)
        shipping->remove_after = true;
    return shipping != NULL;
}

void fl_agent_log_begin(struct fl_agent *agent, struct fl_str container_id)
{
    if (find(agent, container_id))
        return;
    struct fl_shipping *shipping = fl_calloc(1, sizeof(*shipping));
    shipping->agent = agent;
    FL_ASSERT(container_id.n == FL_CONTAINER_ID_SIZE - 1);
    memcpy(shipping->id, container_id.p, container_id.n);
    HASH_ADD_KEYPTR(hh, agent->shipping, shipping->id, container_id.n, shipping);
}

static void end(struct fl_shipping *shipping)
{
    HASH_DEL(shipping->agent->shipping, shipping);
    free(shipping);
}

void fl_agent_log_resume(struct fl_agent *agent, const struct fl_task_container *container)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    if (!fl_agent_is_shipped(container->spec) || find(agent, fl_str_of(container->id)))
        return;
    struct fl_log_target target = fl_agent_log_target(agent, container, arena);
    fl_log_shipper_start(agent->shipper, &target);
    fl_agent_log_begin(agent, target.container_id);
}

/* Patience with the last run's lines was over before their end; meanwhile the next one began. */
static bool runs_again(const struct fl_task_container *container, const struct fl_live *live)
{
    return container && container->restarts > 0 && !(live && live->exit_held) &&
           (container->state == FL_CONTAINER_CREATED || container->state == FL_CONTAINER_RUNNING);
}

static void on_finished(void *context)
{
    struct fl_shipping *shipping = context;
    struct fl_agent *agent = shipping->agent;
    struct fl_str id = fl_str_of(shipping->id);
    struct fl_live *live = fl_agent_live(agent, id);
    const struct fl_task_container *container = fl_brain_container(agent->brain, id);
    bool remove_after = shipping->remove_after;
    bool resume = runs_again(container, live);
    end(shipping);
    if (resume)
        fl_agent_log_resume(agent, container);
    if (live)
        fl_agent_exit_log_shipped(live);
    if (remove_after && container)
        fl_agent_remove(agent, container->task->arn);
}

bool fl_agent_log_finish(struct fl_agent *agent, struct fl_str container_id)
{
    struct fl_shipping *shipping = find(agent, container_id);
    if (!shipping || shipping->finishing)
        return shipping != NULL;
    shipping->finishing = true;
    if (fl_log_shipper_finish(agent->shipper, container_id, on_finished, shipping))
        return true;
    end(shipping);
    return false;
}

void fl_agent_log_free_all(struct fl_agent *agent)
{
    struct fl_shipping *shipping, *next;
    HASH_ITER(hh, agent->shipping, shipping, next)
    {
        end(shipping);
    }
}
