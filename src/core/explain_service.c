/* What `fairlead explain` says of a service besides its next task's place: what delays it, what its
 * deployment waits for, how its tasks have ended. */
#include "core/explain.h"

#include "core/stages.h"

enum { MAX_LOOKED_AT = 10000, MAX_REASON = 400 };

void fl_explain_id(struct fl_buf *text, struct fl_str id)
{
    fl_buf_printf(text, "%.*s%s", (int)FL_MIN(id.n, (size_t)8), id.p, id.n > 8 ? "…" : "");
}

/* The newest of the service's tasks that ended by themselves; of the last hour's no more than a
 * bound are looked at. NULL: none. */
static const struct fl_task *last_failed(struct fl_decision *d, const struct fl_service *service)
{
    struct fl_stopped_tree *stopped = &d->core->stopped;
    struct fl_str group = fl_str_printf(d->arena, "service:%.*s", FL_STR_ARG(service->name));
    struct fl_task *task = RB_MAX(fl_stopped_tree, stopped);
    for (size_t i = 0; task && i < MAX_LOOKED_AT; i++) {
        const struct rec_Task *rec = task->rec;
        if (fl_str_eq(rec->group, group) && fl_str_eq(rec->cluster, service->cluster->rec->name) &&
            FL_HAS(rec, rec_Task, stopCode) &&
            (rec->stopCode == ECS_TaskStopCode_TaskFailedToStart ||
             rec->stopCode == ECS_TaskStopCode_EssentialContainerExited))
            return task;
        task = RB_PREV(fl_stopped_tree, stopped, task);
    }
    return NULL;
}

/* Words of agents and registries, on one line of a person's terminal. */
static void add_foreign(struct fl_buf *text, struct fl_str words)
{
    for (size_t i = 0; i < FL_MIN(words.n, (size_t)MAX_REASON); i++) {
        unsigned char c = (unsigned char)words.p[i];
        fl_buf_add_char(text, c < ' ' || c == 0x7f ? ' ' : words.p[i]);
    }
}

/* Why it stopped, and which of its containers did not end well. */
void fl_explain_end(const struct rec_Task *rec, struct fl_buf *text)
{
    add_foreign(text, rec->stoppedReason);
    for (size_t i = 0; i < rec->containers.n; i++) {
        const struct rec_TaskContainer *container = &rec->containers.items[i];
        if (FL_HAS(container, rec_TaskContainer, exitCode) && container->exitCode)
            fl_buf_printf(text, "; %.*s ended with %d", FL_STR_ARG(container->name),
                          container->exitCode);
    }
    fl_buf_add_char(text, '\n');
}

static void add_last_failed(struct fl_decision *d, const struct fl_service *service,
                            struct fl_buf *text)
{
    const struct fl_task *task = last_failed(d, service);
    if (!task)
        return;
    fl_buf_add_z(text, "  the last task that failed: ");
    fl_explain_id(text, task->rec->id);
    fl_buf_printf(text, " of %.*s:%d: ", FL_STR_ARG(task->rec->family), task->rec->revision);
    fl_explain_end(task->rec, text);
}

/* Where a rollout that goes through stages is, and whose word it waits for. */
static void add_stage(const struct fl_service *service, struct fl_buf *text)
{
    const struct fl_rollout *rollout = fl_stages_rollout(service);
    if (!rollout)
        return;
    const struct rec_ServiceDeployment *rec = rollout->rec;
    fl_buf_printf(
        text, "  the deployment is at %s\n",
        fl_enum_text(&ecs_enum_ServiceDeploymentLifecycleStage, (int)rec->lifecycleStage));
    for (size_t i = 0; i < rec->hooks.n; i++) {
        const struct ecs_DeploymentLifecycleHookDetail *hook = rec->hooks.items[i].detail;
        if (hook->status == ECS_DeploymentLifecycleHookStatus_AWAITING_ACTION)
            fl_buf_printf(text, "  its hook %.*s waits for ContinueServiceDeployment\n",
                          FL_STR_ARG(hook->hookId));
    }
}

/* What else keeps the service from starting it. */
void fl_explain_service(struct fl_decision *d, const struct fl_service *service,
                        struct fl_buf *text)
{
    const struct rec_Deployment *entry = fl_deployment_rec(TAILQ_FIRST(&service->deployments));
    const struct fl_service_event *last = TAILQ_LAST(&service->events, fl_service_event_list);
    add_stage(service, text);
    if (FL_HAS(entry, rec_Deployment, rolloutState) &&
        entry->rolloutState == ECS_DeploymentRolloutState_FAILED)
        fl_buf_add_z(text, "  the deployment has FAILED: it starts no more tasks\n");
    if (FL_HAS(entry, rec_Deployment, nextStartAt) && entry->nextStartAt > d->now_ms)
        fl_buf_printf(text,
                      "  tasks have failed to start: the next one is started in %lld seconds\n",
                      (long long)(entry->nextStartAt - d->now_ms + 999) / 1000);
    int64_t pace_ms = fl_service_next_launch(service, d->now_ms) - d->now_ms;
    if (pace_ms > 0)
        fl_buf_printf(text,
                      "  500 tasks were launched in the last minute: the next one is launched in "
                      "%lld seconds\n",
                      (long long)(pace_ms + 999) / 1000);
    add_last_failed(d, service, text);
    if (last)
        fl_buf_printf(text, "  the last event: %.*s\n", FL_STR_ARG(last->rec->message));
}
