/* What follows when nothing is left to start or to stop: deployments that are empty go, a rollout
 * is complete, the service is steady, or has ended. */
#include "core/task_sets.h"

enum { STEADY_AGAIN_MS = 6 * 60 * 60 * 1000 };

static bool is_stable(const struct fl_schedule *s)
{
    if (s->count != 1)
        return false;
    const struct fl_census *primary = &s->censuses[0];
    return primary->count == primary->wanted && primary->healthy == primary->wanted;
}

/* Deployments that are not PRIMARY and have no tasks any more. */
static bool drop_empty(struct fl_schedule *s, struct rec_Service *rec)
{
    size_t n = 0;
    for (size_t i = 0; i < s->count; i++)
        if (s->censuses[i].count || fl_str_is(s->censuses[i].entry->status, "PRIMARY"))
            rec->deployments.items[n++] = rec->deployments.items[i];
    bool dropped = n < rec->deployments.n;
    rec->deployments.n = n;
    return dropped;
}

static bool complete(struct fl_schedule *s, struct rec_Service *rec)
{
    struct rec_Deployment *primary = &rec->deployments.items[0];
    long long number = (long long)primary->number;
    if (primary->rolloutState != ECS_DeploymentRolloutState_IN_PROGRESS)
        return false;
    fl_entry_set_rollout(
        s->d, primary, ECS_DeploymentRolloutState_COMPLETED,
        fl_str_printf(s->d->arena, "ECS deployment ecs-svc/%lld completed.", number));
    FL_SET(rec, rec_Service, lastCompleted, primary->number);
    fl_rollout_end(s->d, s->service, rec, ECS_ServiceDeploymentStatus_SUCCESSFUL, FL_STR(""));
    fl_service_say(s->d, s->service, "(deployment ecs-svc/%lld) deployment completed.", number);
    return true;
}

static bool be_steady(struct fl_schedule *s, struct rec_Service *rec)
{
    bool was_steady = FL_HAS(rec, rec_Service, steadyAt);
    if (was_steady && fl_schedule_await(s, rec->steadyAt + STEADY_AGAIN_MS))
        return false;
    FL_SET(rec, rec_Service, steadyAt, s->d->now_ms);
    fl_service_say(s->d, s->service, "has reached a steady state.");
    return true;
}

static bool be_unsteady(struct rec_Service *rec)
{
    bool was_steady = FL_HAS(rec, rec_Service, steadyAt);
    FL_UNSET(rec, rec_Service, steadyAt);
    return was_steady;
}

static bool end_service(struct fl_schedule *s, struct rec_Service *rec)
{
    for (size_t i = 0; i < s->count; i++)
        if (s->censuses[i].count)
            return false;
    fl_rollout_end(s->d, s->service, rec, ECS_ServiceDeploymentStatus_STOPPED,
                   FL_STR("Service deployment stopped: the service was deleted."));
    rec->deployments.n = 0;
    FL_SET(rec, rec_Service, status, FL_STR("INACTIVE"));
    FL_SET(rec, rec_Service, endedAt, s->d->now_ms);
    return true;
}

void fl_schedule_settle(struct fl_schedule *s)
{
    struct rec_Service *rec = fl_service_edit(s->d, s->service);
    bool changed;
    if (fl_str_is(rec->status, "DRAINING")) {
        changed = end_service(s, rec);
    } else if (fl_service_is_external(s->service)) {
        changed = fl_task_sets_settle(s, rec);
    } else if (is_stable(s)) {
        changed = complete(s, rec);
        changed |= be_steady(s, rec);
    } else {
        changed = drop_empty(s, rec);
        changed |= be_unsteady(rec);
    }
    if (!changed)
        return;
    bool has_lost = rec->deployments.n < s->count;
    fl_service_put(s->d, rec);
    if (has_lost)
        fl_service_prune(s->d, s->service);
}
