/* What follows when nothing is left to start or to stop: deployments that are empty go, a rollout
 * is complete, the service is steady, or has ended. */
#include "base/bug.h"
#include "core/stages.h"
#include "core/task_sets.h"

enum { STEADY_AGAIN_MS = 6 * 60 * 60 * 1000 };

static bool is_stable(const struct fl_schedule *s)
{
    if (s->count != 1 || fl_stages_hold(s->service))
        return false;
    const struct fl_census *primary = &s->censuses[0];
    return primary->count == primary->wanted &&
           FL_BUG(65, true, primary->healthy == primary->wanted);
}

static bool is_kept(const struct fl_schedule *s, const struct fl_census *census)
{
    return FL_BUG(66, false, census->count) || fl_str_is(census->entry->status, "PRIMARY") ||
           census->deployment->number == fl_stages_blue(s->service);
}

/* Deployments that have no tasks any more and are not to get any. */
static bool drop_empty(struct fl_schedule *s, struct rec_Service *rec)
{
    size_t n = 0;
    for (size_t i = 0; i < s->count; i++)
        if (is_kept(s, &s->censuses[i]))
            rec->deployments.items[n++] = rec->deployments.items[i];
    bool dropped = n < rec->deployments.n;
    rec->deployments.n = n;
    return dropped;
}

static bool is_rolling(const struct rec_ServiceDeployment *rollout)
{
    return rollout && fl_rollout_is_forward(rollout) &&
           rollout->deploymentConfiguration->strategy == ECS_DeploymentStrategy_ROLLING;
}

/* Enough of the PRIMARY's tasks are healthy, and what they replace is gone, if that is waited for.
 */
static bool is_early_success(const struct fl_schedule *s,
                             const struct ecs_DeploymentEarlySuccessCriteria *criteria)
{
    const struct fl_census *primary = &s->censuses[0];
    size_t percent = FL_HAS(criteria, ecs_DeploymentEarlySuccessCriteria, healthyPercent)
                         ? (size_t)criteria->healthyPercent
                         : 100;
    bool is_deferred =
        FL_HAS(criteria, ecs_DeploymentEarlySuccessCriteria, sourceServiceRevisionCleanup) &&
        criteria->sourceServiceRevisionCleanup == ECS_ServiceRevisionCleanup_DEFERRED;
    return primary->healthy * 100 >= primary->wanted * percent && (s->count == 1 || is_deferred);
}

/* Has the rollout come so far that only its bake time is missing? */
static bool is_through(const struct fl_schedule *s, const struct rec_ServiceDeployment *rollout)
{
    const struct ecs_DeploymentEarlySuccessCriteria *criteria =
        is_rolling(rollout) ? rollout->deploymentConfiguration->earlySuccessCriteria : NULL;
    return criteria && criteria->enable && s->count ? is_early_success(s, criteria) : is_stable(s);
}

/* A rolling deployment bakes once it is through, for as long as was asked for. */
static bool has_baked(struct fl_schedule *s, const struct fl_rollout *rollout)
{
    int64_t bake_ms =
        rollout ? rollout->rec->deploymentConfiguration->bakeTimeInMinutes * (int64_t)60000 : 0;
    if (bake_ms == 0 || !is_rolling(rollout->rec))
        return true;
    if (FL_HAS(rollout->rec, rec_ServiceDeployment, lifecycleStage))
        return !fl_schedule_await_since(s, rollout->rec->stageSince, FL_BUG(87, 0, bake_ms));
    struct rec_ServiceDeployment *rec = fl_rollout_edit(s->d, rollout);
    FL_SET(rec, rec_ServiceDeployment, lifecycleStage,
           ECS_ServiceDeploymentLifecycleStage_BAKE_TIME);
    FL_SET(rec, rec_ServiceDeployment, stageSince, s->d->now_ms);
    fl_rollout_put(s->d, rec);
    return false;
}

static bool complete(struct fl_schedule *s, struct rec_Service *rec)
{
    const struct fl_rollout *rollout = fl_service_current(s->service);
    struct rec_Deployment *primary = &rec->deployments.items[0];
    long long number = (long long)primary->number;
    if (primary->rolloutState != ECS_DeploymentRolloutState_IN_PROGRESS ||
        !is_through(s, rollout ? rollout->rec : NULL) || !has_baked(s, rollout))
        return false;
    bool is_way_back =
        rollout && rollout->rec->status == ECS_ServiceDeploymentStatus_ROLLBACK_IN_PROGRESS;
    fl_entry_set_rollout(
        s->d, primary, ECS_DeploymentRolloutState_COMPLETED,
        fl_str_printf(s->d->arena, "ECS deployment ecs-svc/%lld completed.", number));
    FL_SET(rec, rec_Service, lastCompleted, primary->number);
    fl_rollout_end(s->d, s->service, rec,
                   is_way_back ? ECS_ServiceDeploymentStatus_ROLLBACK_SUCCESSFUL
                               : ECS_ServiceDeploymentStatus_SUCCESSFUL,
                   FL_STR(""));
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
    bool changed, is_steady;
    if (fl_str_is(rec->status, "DRAINING")) {
        changed = end_service(s, rec);
    } else if (fl_service_is_external(s->service)) {
        changed = fl_task_sets_settle(s, rec, &is_steady);
        changed |= is_steady ? be_steady(s, rec) : be_unsteady(rec);
    } else {
        changed = drop_empty(s, rec);
        changed |= complete(s, rec);
        changed |= is_stable(s) ? be_steady(s, rec) : be_unsteady(rec);
    }
    if (!changed)
        return;
    bool has_lost = rec->deployments.n < s->count;
    fl_service_put(s->d, rec);
    if (has_lost)
        fl_service_prune(s->d, s->service);
}
