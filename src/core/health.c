/* What agents' telemetry says of health, as far as it is a fact of a task or an instance. A record
 * changes when its health does, not with every message. */
#include "core/decide.h"

enum { MAX_REASON = 1024 };

static struct fl_instance *speaker(struct fl_decision *d, const struct fl_core_event *event)
{
    struct fl_cluster *cluster = fl_state_cluster(d->core, event->cluster);
    struct fl_instance *instance = cluster ? fl_state_instance(cluster, event->instance) : NULL;
    return instance && !fl_str_is(instance->rec->status, "INACTIVE") ? instance : NULL;
}

static bool set_container(struct rec_TaskContainer *c, const struct fl_core_health *said)
{
    if (!fl_str_eq(c->name, said->name) || c->status == REC_TaskStatus_STOPPED)
        return false;
    bool is_known = FL_HAS(c, rec_TaskContainer, healthStatus);
    enum ecs_HealthStatus before = is_known ? c->healthStatus : ECS_HealthStatus_UNKNOWN;
    enum ecs_HealthStatus now = (enum ecs_HealthStatus)said->status;
    if (before != now)
        FL_SET(c, rec_TaskContainer, healthStatus, now);
    return before != now;
}

void fl_take_health(struct fl_decision *d, const struct fl_core_event *event)
{
    struct fl_instance *instance = speaker(d, event);
    struct fl_task *task = instance ? fl_state_task(instance->cluster, event->task) : NULL;
    bool changed = false;
    if (!task || task->instance != instance || task->rec->status == REC_TaskStatus_STOPPED)
        return;
    struct rec_Task *rec = fl_shape_copy(&rec_shape_Task, task->rec, d->arena);
    for (size_t i = 0; i < event->health_count; i++)
        for (size_t k = 0; k < rec->containers.n; k++)
            changed |= set_container(&rec->containers.items[k], &event->health[i]);
    if (!changed)
        return;
    FL_SET(rec, rec_Task, version, rec->version + 1);
    fl_put(d, FL_RECORD_TASK, rec);
}

static const struct ecs_InstanceHealthCheckResult *find_check(const struct rec_Instance *rec,
                                                              enum ecs_InstanceHealthCheckType type)
{
    for (size_t i = 0; i < rec->health.n; i++)
        if (rec->health.items[i].type == type)
            return &rec->health.items[i];
    return NULL;
}

/* As it is to be kept: since when it has this status is told by the agent, or begins now. */
static void set_check(struct fl_decision *d, const struct fl_core_health *said,
                      struct ecs_InstanceHealthCheckResult *out)
{
    *out = (struct ecs_InstanceHealthCheckResult){0};
    FL_SET(out, ecs_InstanceHealthCheckResult, type, (enum ecs_InstanceHealthCheckType)said->type);
    FL_SET(out, ecs_InstanceHealthCheckResult, status,
           (enum ecs_InstanceHealthCheckState)said->status);
    FL_SET(out, ecs_InstanceHealthCheckResult, lastUpdated, d->now_ms);
    FL_SET(out, ecs_InstanceHealthCheckResult, lastStatusChange,
           said->since_ms > 0 && said->since_ms < d->now_ms ? said->since_ms : d->now_ms);
    if (said->reason.n)
        FL_SET(out, ecs_InstanceHealthCheckResult, statusReason, fl_cut(said->reason, MAX_REASON));
}

void fl_take_instance_health(struct fl_decision *d, const struct fl_core_event *event)
{
    struct fl_instance *instance = speaker(d, event);
    struct ecs_InstanceHealthCheckResult_list list = {0};
    bool changed = false;
    if (!instance)
        return;
    list.items =
        fl_arena_new_array(d->arena, struct ecs_InstanceHealthCheckResult, event->health_count);
    for (size_t i = 0; i < event->health_count; i++) {
        const struct fl_core_health *said = &event->health[i];
        const struct ecs_InstanceHealthCheckResult *before =
            find_check(instance->rec, (enum ecs_InstanceHealthCheckType)said->type);
        changed |= !before || (int)before->status != said->status;
        set_check(d, said, &list.items[list.n++]);
    }
    instance->health_ms = d->now_ms;
    if (!changed && list.n == instance->rec->health.n)
        return;
    struct rec_Instance rec = *instance->rec;
    FL_SET(&rec, rec_Instance, health, list);
    FL_SET(&rec, rec_Instance, version, rec.version + 1);
    fl_put(d, FL_RECORD_INSTANCE, &rec);
}

/* The worst of them; nothing checked is nothing known. */
static enum ecs_InstanceHealthCheckState
overall(const struct ecs_InstanceHealthCheckResult_list *list)
{
    static const enum ecs_InstanceHealthCheckState worst_first[] = {
        ECS_InstanceHealthCheckState_IMPAIRED, ECS_InstanceHealthCheckState_INSUFFICIENT_DATA,
        ECS_InstanceHealthCheckState_INITIALIZING, ECS_InstanceHealthCheckState_OK};
    for (size_t i = 0; i < FL_ARRAY_SIZE(worst_first); i++)
        for (size_t k = 0; k < list->n; k++)
            if (list->items[k].status == worst_first[i])
                return worst_first[i];
    return ECS_InstanceHealthCheckState_INSUFFICIENT_DATA;
}

struct ecs_ContainerInstanceHealthStatus *fl_show_health(struct fl_decision *d,
                                                         const struct fl_instance *instance)
{
    struct ecs_ContainerInstanceHealthStatus *out =
        fl_arena_new_object(d->arena, struct ecs_ContainerInstanceHealthStatus);
    struct ecs_InstanceHealthCheckResult_list list = {.n = instance->rec->health.n};
    list.items = fl_arena_new_array(d->arena, struct ecs_InstanceHealthCheckResult, list.n);
    for (size_t i = 0; i < list.n; i++) {
        list.items[i] = instance->rec->health.items[i];
        list.items[i].lastUpdated = FL_MAX(list.items[i].lastUpdated, instance->health_ms);
    }
    FL_SET(out, ecs_ContainerInstanceHealthStatus, overallStatus, overall(&list));
    FL_SET(out, ecs_ContainerInstanceHealthStatus, details, list);
    return out;
}
