/* After the agent's own restart: what lives is taken over, what has still to be shipped is. */
#include <errno.h>

#include "agent/agent_internal.h"
#include "base/log.h"

static struct fl_binding *bindings_of(const struct fl_task_container *container,
                                      struct fl_arena *arena)
{
    struct fl_binding *bindings =
        fl_arena_new_array(arena, struct fl_binding, container->binding_count);
    for (size_t i = 0; i < container->binding_count; i++)
        bindings[i] = (struct fl_binding){
            .container_port = container->bindings[i].container_port,
            .host_port = container->bindings[i].host_port,
            .udp = container->bindings[i].udp,
            .more = container->bindings[i].more,
            .ipv6 = container->bindings[i].ipv6,
        };
    return bindings;
}

/* The network's tables are ours alone and are built anew from what was recorded. */
static void restore_endpoint(struct fl_agent *agent, const struct fl_task_container *container)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_err err = {0};
    struct fl_endpoint endpoint = {
        .bindings = bindings_of(container, arena),
        .binding_count = container->binding_count,
        .netns_fd = -1,
    };
    if (container->task->spec->network_mode == FL_NET_HOST)
        return;
    memcpy(endpoint.address, container->address, sizeof(endpoint.address));
    if (fl_network_restore(agent->network, fl_str_of(container->id), &endpoint, &err) < 0)
        fl_log_warn("container %.12s: its network is not restored: %s", container->id, err.text);
}

static void restore_log(struct fl_agent *agent, const struct fl_task_container *container)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    if (!fl_agent_is_shipped(container->spec))
        return;
    struct fl_log_target target = fl_agent_log_target(agent, container, arena);
    fl_log_shipper_start(agent->shipper, &target);
    fl_agent_log_begin(agent, target.container_id);
    if (container->state == FL_CONTAINER_STOPPED)
        (void)fl_agent_log_finish(agent, target.container_id);
}

static void restore_container(struct fl_agent *agent, const struct fl_task_container *container)
{
    if (!container->launched)
        return;
    if (container->state != FL_CONTAINER_STOPPED)
        restore_endpoint(agent, container);
    restore_log(agent, container);
}

void fl_agent_restore(struct fl_agent *agent)
{
    struct fl_err err = {0};
    const struct fl_task *task = NULL;
    fl_network_restore_begin(agent->network);
    while ((task = fl_brain_next_task(agent->brain, task)) != NULL)
        for (size_t i = 0; i < task->container_count; i++)
            restore_container(agent, &task->containers[i]);
    if (fl_network_restore_end(agent->network, &err) < 0)
        fl_log_error("the containers' network is not restored: %s", err.text);
}

static void tell_gone(struct fl_agent *agent, struct fl_str container_id)
{
    struct fl_brain_event event = {.type = FL_EVENT_GONE};
    event.process.container_id = container_id;
    (void)fl_agent_post(agent, &event);
}

void fl_agent_adopt(struct fl_agent *agent, struct fl_str container_id)
{
    struct fl_err err = {0};
    const struct fl_task_container *container = fl_brain_container(agent->brain, container_id);
    if (!container || fl_agent_live(agent, container_id))
        return;
    fl_agent_live_new(agent, container_id)->attached = true;
    int r = -ENOENT;
    if (fl_runtime_run(agent->runtime, container_id) >= container->restarts)
        r = fl_runtime_adopt(agent->runtime, container_id, &err);
    if (r == 0)
        return;
    if (r != -ENOENT)
        fl_log_warn("container %.12s cannot be adopted: %s", container->id, err.text);
    tell_gone(agent, container_id);
}
