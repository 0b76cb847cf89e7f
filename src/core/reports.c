/* What agents report. A report only moves a state forward; a repeated, stale or unknown one is
 * answered 200 and changes nothing, or the agent would send it for ever. */
#include "core/scheduler.h"
#include "wire/arn.h"

enum { MAX_REASON = 1024, MAX_RUNTIME_ID = 255, MAX_BINDINGS = 100, MAX_BINDING_TEXT = 64 };

/* The task that a report names: its ARN holds the cluster. NULL when we know none. */
static struct fl_task *reported_task(struct fl_decision *d, struct fl_str cluster_name,
                                     struct fl_str task)
{
    struct fl_arn arn;
    struct fl_str rest, part = FL_STR("");
    if (fl_arn_parse(task, &arn)) {
        rest = arn.rest;
        if (fl_str_index(rest, '/') >= 0 && fl_str_split(&rest, '/', &part))
            cluster_name = part;
    }
    struct fl_str name = cluster_name.n ? fl_id_of(cluster_name) : FL_STR("default");
    struct fl_cluster *cluster = fl_state_cluster(d->core, name);
    return cluster ? fl_state_task(cluster, fl_id_of(task)) : NULL;
}

/* The three words of the protocol; anything else counts as PENDING, which moves nothing. */
static enum rec_TaskStatus status_of(struct fl_str text)
{
    if (fl_str_is(text, "RUNNING"))
        return REC_TaskStatus_RUNNING;
    if (fl_str_is(text, "STOPPED"))
        return REC_TaskStatus_STOPPED;
    return REC_TaskStatus_PENDING;
}

static bool bindings_are_sane(const struct ecs_NetworkBinding_list *list)
{
    for (size_t i = 0; i < list->n; i++)
        if (list->items[i].bindIP.n > MAX_BINDING_TEXT ||
            list->items[i].containerPortRange.n > MAX_BINDING_TEXT ||
            list->items[i].hostPortRange.n > MAX_BINDING_TEXT)
            return false;
    return list->n <= MAX_BINDINGS;
}

static void move_container(const struct ecs_ContainerStateChange *change,
                           struct rec_TaskContainer *c)
{
    enum rec_TaskStatus status = status_of(change->status);
    if (c->status == REC_TaskStatus_STOPPED || status < c->status)
        return;
    c->status = status;
    if (change->runtimeId.n)
        FL_SET(c, rec_TaskContainer, runtimeId, fl_cut(change->runtimeId, MAX_RUNTIME_ID));
    if (change->imageDigest.n)
        FL_SET(c, rec_TaskContainer, imageDigest, fl_cut(change->imageDigest, MAX_RUNTIME_ID));
    if (change->reason.n)
        FL_SET(c, rec_TaskContainer, reason, fl_cut(change->reason, MAX_REASON));
    if (FL_HAS(change, ecs_ContainerStateChange, exitCode))
        FL_SET(c, rec_TaskContainer, exitCode, change->exitCode);
    if (FL_HAS(change, ecs_ContainerStateChange, healthStatus))
        FL_SET(c, rec_TaskContainer, healthStatus, change->healthStatus);
    if (change->networkBindings.n && bindings_are_sane(&change->networkBindings))
        FL_SET(c, rec_TaskContainer, networkBindings, change->networkBindings);
}

static bool is_essential(const struct fl_task *task, struct fl_str name)
{
    const struct ecs_ContainerDefinition_list *list =
        &task->definition->rec->definition->containerDefinitions;
    for (size_t i = 0; i < list->n; i++)
        if (fl_str_eq(list->items[i].name, name))
            return list->items[i].essential;
    return true;
}

/* A task that ran and ended between two reports: all of its essential containers have ended, and
 * there is none that could not be started (which may come with an exit code, too) or was not yet
 * when another one ended it all. */
static bool has_run_unseen(const struct fl_task *task, const struct rec_Task *rec)
{
    bool exited = false;
    for (size_t i = 0; i < rec->containers.n; i++) {
        const struct rec_TaskContainer *c = &rec->containers.items[i];
        if (!is_essential(task, c->name))
            continue;
        if (!FL_HAS(c, rec_TaskContainer, exitCode) || fl_str_starts(c->reason, FL_STR("Cannot")))
            return false;
        exited = true;
    }
    return exited;
}

/* Why it stopped: what was asked for, else what the agent says, else what its containers did. */
static void explain_stop(struct fl_decision *d, const struct ecs_SubmitTaskStateChangeRequest *in,
                         struct rec_Task *rec)
{
    bool has_run = FL_HAS(rec, rec_Task, startedAt);
    if (FL_BUG(10, false, FL_HAS(rec, rec_Task, stopCode)))
        return;
    FL_SET(rec, rec_Task, stoppingAt, d->now_ms);
    FL_SET(rec, rec_Task, stopCode,
           has_run ? ECS_TaskStopCode_EssentialContainerExited
                   : ECS_TaskStopCode_TaskFailedToStart);
    FL_SET(rec, rec_Task, stoppedReason,
           in->reason.n ? fl_cut(in->reason, MAX_REASON)
           : has_run    ? FL_STR("Essential container in task exited")
                        : FL_STR("Task failed to start"));
}

static void finish(struct fl_decision *d, const struct fl_task *task,
                   const struct ecs_SubmitTaskStateChangeRequest *in, struct rec_Task *rec)
{
    if (!FL_HAS(rec, rec_Task, startedAt) && has_run_unseen(task, rec))
        FL_SET(rec, rec_Task, startedAt,
               FL_HAS(rec, rec_Task, executionStoppedAt) ? rec->executionStoppedAt : d->now_ms);
    explain_stop(d, in, rec);
    FL_SET(rec, rec_Task, desired, REC_TaskStatus_STOPPED);
    FL_SET(rec, rec_Task, stoppedAt, d->now_ms);
    for (size_t i = 0; i < rec->containers.n; i++)
        rec->containers.items[i].status = REC_TaskStatus_STOPPED;
}

static void move_containers(const struct ecs_SubmitTaskStateChangeRequest *in, struct rec_Task *rec)
{
    for (size_t i = 0; i < in->containers.n; i++)
        for (size_t k = 0; k < rec->containers.n; k++)
            if (fl_str_eq(in->containers.items[i].containerName, rec->containers.items[k].name))
                move_container(&in->containers.items[i], &rec->containers.items[k]);
}

static void move_task(struct fl_decision *d, struct fl_task *task,
                      const struct ecs_SubmitTaskStateChangeRequest *in)
{
    enum rec_TaskStatus status = status_of(in->status);
    struct rec_Task *rec = fl_shape_copy(&rec_shape_Task, task->rec, d->arena);
    if (FL_BUG(8, false, rec->status == REC_TaskStatus_STOPPED))
        return;
#define TAKE_ONCE(member)                                                                          \
    do {                                                                                           \
        if (FL_HAS(in, ecs_SubmitTaskStateChangeRequest, member) &&                                \
            !FL_HAS(rec, rec_Task, member))                                                        \
            FL_SET(rec, rec_Task, member, in->member);                                             \
    } while (0)
    TAKE_ONCE(pullStartedAt);
    TAKE_ONCE(pullStoppedAt);
    TAKE_ONCE(executionStoppedAt);
#undef TAKE_ONCE
    move_containers(in, rec);
    if (status == REC_TaskStatus_RUNNING && !FL_HAS(rec, rec_Task, startedAt))
        FL_SET(rec, rec_Task, startedAt, d->now_ms);
    if (status == REC_TaskStatus_STOPPED)
        finish(d, task, in, rec);
    if (status > rec->status)
        rec->status = status;
    if (fl_shape_equal(&rec_shape_Task, rec, task->rec))
        return;
    FL_SET(rec, rec_Task, version, rec->version + FL_BUG(9, 0, 1));
    fl_put(d, FL_RECORD_TASK, rec);
    if (task->is_member)
        fl_revision_pin(d, task);
    if (task->is_member && status == REC_TaskStatus_STOPPED)
        fl_scheduler_task_ended(d, task);
}

int fl_submit_task_state(struct fl_decision *d, const void *input, void *output)
{
    const struct ecs_SubmitTaskStateChangeRequest *in = input;
    struct ecs_SubmitTaskStateChangeResponse *out = output;
    struct fl_task *task = reported_task(d, in->cluster, in->task);
    if (task)
        move_task(d, task, in);
    FL_SET(out, ecs_SubmitTaskStateChangeResponse, acknowledgment, FL_STR("OK"));
    return 0;
}

/* The older form: one container by itself. */
int fl_submit_container_state(struct fl_decision *d, const void *input, void *output)
{
    const struct ecs_SubmitContainerStateChangeRequest *in = input;
    struct ecs_SubmitContainerStateChangeResponse *out = output;
    struct fl_task *task = reported_task(d, in->cluster, in->task);
    struct ecs_ContainerStateChange change = {0};
    struct ecs_SubmitTaskStateChangeRequest report = {.containers = {1, &change}};
    FL_SET(&change, ecs_ContainerStateChange, containerName, in->containerName);
    FL_SET(&change, ecs_ContainerStateChange, status, in->status);
    FL_SET(&change, ecs_ContainerStateChange, runtimeId, in->runtimeId);
    FL_SET(&change, ecs_ContainerStateChange, reason, in->reason);
    FL_SET(&change, ecs_ContainerStateChange, networkBindings, in->networkBindings);
    if (FL_HAS(in, ecs_SubmitContainerStateChangeRequest, exitCode))
        FL_SET(&change, ecs_ContainerStateChange, exitCode, in->exitCode);
    if (task)
        move_task(d, task, &report);
    FL_SET(out, ecs_SubmitContainerStateChangeResponse, acknowledgment, FL_STR("OK"));
    return 0;
}

/* No task of ours has attachments yet, so there is nothing that such a report could move. */
int fl_submit_attachment_states(struct fl_decision *d, const void *input, void *output)
{
    struct ecs_SubmitAttachmentStateChangesResponse *out = output;
    (void)d;
    (void)input;
    FL_SET(out, ecs_SubmitAttachmentStateChangesResponse, acknowledgment, FL_STR("OK"));
    return 0;
}
