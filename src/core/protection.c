/* Task scale-in protection: a time in a task's record until which the service scheduler stops it
 * neither to scale in nor for a deployment. */
#include "core/scheduler.h"

enum { MAX_READ = 100, MAX_UPDATED = 10, DEFAULT_MINUTES = 120, MAX_MINUTES = 2880 };

static bool is_protected(const struct fl_decision *d, const struct fl_task *task)
{
    return FL_HAS(task->rec, rec_Task, protectedUntil) && task->rec->protectedUntil > d->now_ms;
}

static void show(struct fl_decision *d, const struct fl_task *task, struct ecs_ProtectedTask *out)
{
    FL_SET(out, ecs_ProtectedTask, taskArn, fl_task_arn(d, task->rec));
    FL_SET(out, ecs_ProtectedTask, protectionEnabled, is_protected(d, task));
    if (is_protected(d, task))
        FL_SET(out, ecs_ProtectedTask, expirationDate, task->rec->protectedUntil);
}

/* NULL, or why the task can have no protection. */
static const char *reason_against(const struct fl_task *task)
{
    if (!task)
        return "MISSING";
    bool is_going = task->rec->desired == REC_TaskStatus_STOPPED;
    return task->is_member && task->deployment && !is_going ? NULL : "TASK_NOT_VALID";
}

/* A deployment that is being replaced would wait for what is protected now. */
static bool would_block(const struct fl_task *task)
{
    const struct rec_Service *rec = task->deployment->service->rec;
    return rec->deploymentController == ECS_DeploymentControllerType_ECS &&
           !fl_str_is(fl_deployment_rec(task->deployment)->status, "PRIMARY");
}

static void fail(struct fl_decision *d, const struct fl_cluster *cluster, struct fl_str id,
                 const char *reason, struct ecs_Failure *out)
{
    const struct rec_Task missing = {.cluster = cluster->name, .id = id};
    FL_SET(out, ecs_Failure, arn, fl_task_arn(d, &missing));
    FL_SET(out, ecs_Failure, reason, fl_str_of(reason));
}

/* The ids that a request names, at most max. 0 or refused. */
static int read_ids(struct fl_decision *d, const struct fl_str_list *tasks, size_t max,
                    struct fl_str *ret_ids)
{
    if (tasks->n > max)
        return fl_refuse(d, "InvalidParameterException", "At most %zu tasks can be named.", max);
    for (size_t i = 0; i < tasks->n; i++)
        if (fl_read_name(d, tasks->items[i], "task", &ret_ids[i]) < 0)
            return -1;
    return 0;
}

/* Nobody is named: whoever is protected. */
static void show_protected(struct fl_decision *d, struct fl_cluster *cluster,
                           struct ecs_ProtectedTask_list *list)
{
    struct fl_task *task;
    RB_FOREACH (task, fl_task_tree, &cluster->tasks)
        if (list->n < MAX_READ && !reason_against(task) && is_protected(d, task))
            show(d, task, &list->items[list->n++]);
}

int fl_get_protection(struct fl_decision *d, const void *input, void *output)
{
    const struct ecs_GetTaskProtectionRequest *in = input;
    struct ecs_GetTaskProtectionResponse *out = output;
    struct fl_cluster *cluster = fl_find_cluster(d, in->cluster);
    struct fl_str ids[MAX_READ];
    if (!cluster || read_ids(d, &in->tasks, MAX_READ, ids) < 0)
        return -1;
    out->protectedTasks.items = fl_arena_new_array(d->arena, struct ecs_ProtectedTask, MAX_READ);
    out->failures.items = fl_arena_new_array(d->arena, struct ecs_Failure, MAX_READ);
    for (size_t i = 0; i < in->tasks.n; i++) {
        struct fl_task *task = fl_state_task(cluster, ids[i]);
        const char *reason = reason_against(task);
        if (reason)
            fail(d, cluster, ids[i], reason, &out->failures.items[out->failures.n++]);
        else
            show(d, task, &out->protectedTasks.items[out->protectedTasks.n++]);
    }
    if (in->tasks.n == 0)
        show_protected(d, cluster, &out->protectedTasks);
    FL_SET(out, ecs_GetTaskProtectionResponse, protectedTasks, out->protectedTasks);
    FL_SET(out, ecs_GetTaskProtectionResponse, failures, out->failures);
    return 0;
}

static int check_update(struct fl_decision *d, const struct ecs_UpdateTaskProtectionRequest *in)
{
    if (in->tasks.n == 0)
        return fl_refuse(d, "InvalidParameterException", "Tasks cannot be empty.");
    if (FL_HAS(in, ecs_UpdateTaskProtectionRequest, expiresInMinutes) &&
        (in->expiresInMinutes < 1 || in->expiresInMinutes > MAX_MINUTES))
        return fl_refuse(d, "InvalidParameterException",
                         "expiresInMinutes must be between 1 and %d.", MAX_MINUTES);
    return 0;
}

static void put_until(struct fl_decision *d, const struct fl_task *task, int64_t until_ms)
{
    struct rec_Task rec = *task->rec;
    if (until_ms)
        FL_SET(&rec, rec_Task, protectedUntil, until_ms);
    else
        FL_UNSET(&rec, rec_Task, protectedUntil);
    FL_SET(&rec, rec_Task, version, rec.version + 1);
    fl_put(d, FL_RECORD_TASK, &rec);
}

void fl_schedule_bound_protection(struct fl_schedule *s)
{
    int64_t latest_ms = s->d->now_ms + (int64_t)MAX_MINUTES * 60 * 1000;
    for (size_t i = 0; i < s->count; i++)
        for (size_t k = 0; k < s->censuses[i].count; k++) {
            const struct fl_member *member = &s->censuses[i].members[k];
            if (member->is_protected && member->task->rec->protectedUntil > latest_ms)
                put_until(s->d, member->task, latest_ms);
        }
}

static void protect(struct fl_decision *d, struct fl_task *task,
                    const struct ecs_UpdateTaskProtectionRequest *in)
{
    int64_t minutes = FL_HAS(in, ecs_UpdateTaskProtectionRequest, expiresInMinutes)
                          ? in->expiresInMinutes
                          : DEFAULT_MINUTES;
    put_until(d, task, in->protectionEnabled ? d->now_ms + minutes * 60 * 1000 : 0);
}

int fl_update_protection(struct fl_decision *d, const void *input, void *output)
{
    const struct ecs_UpdateTaskProtectionRequest *in = input;
    struct ecs_UpdateTaskProtectionResponse *out = output;
    struct fl_cluster *cluster = fl_find_cluster(d, in->cluster);
    struct fl_str ids[MAX_UPDATED];
    if (!cluster || check_update(d, in) < 0 || read_ids(d, &in->tasks, MAX_UPDATED, ids) < 0)
        return -1;
    out->protectedTasks.items = fl_arena_new_array(d->arena, struct ecs_ProtectedTask, MAX_UPDATED);
    out->failures.items = fl_arena_new_array(d->arena, struct ecs_Failure, MAX_UPDATED);
    for (size_t i = 0; i < in->tasks.n; i++) {
        struct fl_task *task = fl_state_task(cluster, ids[i]);
        const char *reason = reason_against(task);
        if (!reason && in->protectionEnabled && would_block(task))
            reason = "DEPLOYMENT_BLOCKED";
        if (reason) {
            fail(d, cluster, ids[i], reason, &out->failures.items[out->failures.n++]);
            continue;
        }
        protect(d, task, in);
        show(d, task, &out->protectedTasks.items[out->protectedTasks.n++]);
    }
    FL_SET(out, ecs_UpdateTaskProtectionResponse, protectedTasks, out->protectedTasks);
    FL_SET(out, ecs_UpdateTaskProtectionResponse, failures, out->failures);
    return 0;
}
