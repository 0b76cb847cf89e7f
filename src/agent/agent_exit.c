/* What the runtime tells of containers.
 *
 * An exit waits for the container's log to be shipped, so that who sees a task STOPPED finds its
 * last lines; but no longer than a second: a server that is away is told of the end first. */
#include "agent/agent_internal.h"
#include "base/log.h"

enum { LOG_PATIENCE_MS = 1000 };

static void free_handle(uv_handle_t *handle)
{
    free(handle);
}

void fl_agent_exit_forget(struct fl_live *live)
{
    if (!live->exit_timer)
        return;
    uv_close((uv_handle_t *)live->exit_timer, free_handle);
    live->exit_timer = NULL;
}

static void tell_exit(struct fl_live *live)
{
    if (!live->exit_held)
        return;
    live->exit_held = false;
    fl_agent_exit_forget(live);
    (void)fl_agent_post(live->agent, &live->exit);
}

/* The patience or the log's end, whichever is first; the other one finds nothing held. */
static void on_patience_over(uv_timer_t *timer)
{
    tell_exit(timer->data);
}

void fl_agent_exit_log_shipped(struct fl_live *live)
{
    tell_exit(live);
}

static void on_started(void *context, struct fl_str container_id, int64_t wall_ms)
{
    struct fl_brain_event event = {.type = FL_EVENT_STARTED};
    event.process.container_id = container_id;
    event.process.at_ms = wall_ms;
    (void)fl_agent_post(context, &event);
    fl_agent_services_started(context, container_id);
    fl_agent_launch_ended(context, container_id);
}

static void on_failed(void *context, struct fl_str container_id, struct fl_str reason)
{
    fl_agent_fail(context, container_id, FL_EFFECT_LAUNCH, FL_FAILURE_START, reason);
    fl_agent_launch_ended(context, container_id);
}

static void hold(struct fl_agent *agent, struct fl_live *live, const struct fl_brain_event *event)
{
    live->exit = *event;
    live->exit.process.container_id = fl_str_of(live->id);
    live->exit_held = true;
    live->exit_timer = fl_calloc(1, sizeof(*live->exit_timer));
    live->exit_timer->data = live;
    (void)uv_timer_init(&agent->loop, live->exit_timer);
    (void)uv_timer_start(live->exit_timer, on_patience_over, LOG_PATIENCE_MS, 0);
}

static void on_exited(void *context, struct fl_str container_id, int exit_code, bool oom_killed,
                      int64_t wall_ms)
{
    struct fl_agent *agent = context;
    struct fl_live *live = fl_agent_live(agent, container_id);
    struct fl_brain_event event = {.type = FL_EVENT_EXITED};
    event.process.container_id = container_id;
    event.process.at_ms = wall_ms;
    event.process.exit_code = exit_code;
    event.process.oom_killed = oom_killed;
    fl_agent_services_ended(agent, container_id);
    if (live && live->exit_held)
        return;
    if (live && fl_agent_log_finish(agent, container_id))
        hold(agent, live, &event);
    else
        (void)fl_agent_post(agent, &event);
}

const struct fl_runtime_callbacks fl_agent_runtime_callbacks = {
    .started = on_started,
    .failed = on_failed,
    .exited = on_exited,
};
