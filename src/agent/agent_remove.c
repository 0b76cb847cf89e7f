/* What a stopped, reported task leaves behind goes. */
#include "agent/agent_internal.h"
#include "base/log.h"

/* Lines that wait for a server are not thrown away. */
static bool has_open_log(struct fl_agent *agent, const struct fl_task *task)
{
    bool open = false;
    for (size_t i = 0; i < task->container_count; i++)
        open |= fl_agent_log_delays_removal(agent, fl_str_of(task->containers[i].id));
    return open;
}

static bool remove_containers(struct fl_agent *agent, const struct fl_task *task)
{
    bool removed = true;
    for (size_t i = 0; i < task->container_count; i++) {
        struct fl_err err = {0};
        const struct fl_task_container *container = &task->containers[i];
        if (!container->launched ||
            fl_runtime_remove(agent->runtime, fl_str_of(container->id), &err) == 0)
            continue;
        fl_log_warn("container %.12s: what it left cannot be removed: %s", container->id, err.text);
        removed = false;
    }
    return removed;
}

void fl_agent_remove(struct fl_agent *agent, struct fl_str task_arn)
{
    const struct fl_task *task = fl_brain_task(agent->brain, task_arn);
    if (!task || task->status != FL_TASK_STOPPED || has_open_log(agent, task) ||
        !remove_containers(agent, task))
        return;
    fl_runtime_remove_task(agent->runtime, fl_task_id(task->arn));
    fl_agent_services_removed(agent, task->arn);
    struct fl_brain_event event = {.type = FL_EVENT_REMOVED};
    event.removed.task_arn = task->arn;
    (void)fl_agent_post(agent, &event);
}
