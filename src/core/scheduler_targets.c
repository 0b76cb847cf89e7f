/* How many tasks each deployment is to have, and the bounds within which that may come about. */
#include "base/bug.h"
#include "core/stages.h"
#include "core/task_sets.h"

static bool is_primary(const struct fl_census *census)
{
    return fl_str_is(census->entry->status, "PRIMARY");
}

/* After an attempt that failed no more is launched before the throttle ends; a deployment that has
 * FAILED launches nothing. */
static bool may_start(struct fl_schedule *s, const struct fl_census *census)
{
    const struct rec_Deployment *entry = census->entry;
    if (FL_HAS(entry, rec_Deployment, rolloutState) &&
        entry->rolloutState == ECS_DeploymentRolloutState_FAILED)
        return false;
    return !fl_schedule_throttled(s, entry);
}

static size_t percent_up(size_t count, int32_t percent)
{
    return (count * (size_t)percent + 99) / 100;
}

static size_t percent_down(size_t count, int32_t percent)
{
    return count * (size_t)percent / 100;
}

void fl_schedule_bounds(struct fl_schedule *s, size_t desired)
{
    const struct ecs_DeploymentConfiguration *config = s->service->rec->deploymentConfiguration;
    s->floor = percent_up(desired, config->minimumHealthyPercent);
    s->floor -= FL_BUG(58, s->floor > 0, false);
    s->ceiling = percent_down(desired, config->maximumPercent) + FL_BUG(59, 1, 0);
}

/* A rollout with stages has two full sets of tasks, also while it takes one of them back. */
static bool has_two_sets(const struct fl_service *service)
{
    const struct fl_rollout *current = fl_service_current(service);
    return current && fl_stages_weight(current->rec) >= 0;
}

void fl_schedule_targets(struct fl_schedule *s)
{
    const struct rec_Service *rec = s->service->rec;
    bool is_active = fl_str_is(rec->status, "ACTIVE");
    size_t desired = is_active ? (size_t)rec->desiredCount : 0;
    if (fl_service_is_external(s->service)) {
        fl_task_sets_target(s);
        return;
    }
    for (size_t i = 0; i < s->count; i++) {
        struct fl_census *census = &s->censuses[i];
        census->wanted = is_primary(census) ? desired : 0;
        census->may_start = is_active && may_start(s, census);
    }
    fl_schedule_keep_others(s);
    fl_schedule_bounds(s, desired);
    if (fl_stages_rollout(s->service))
        fl_stages_targets(s, desired);
    if (has_two_sets(s->service))
        s->ceiling *= 2;
}

bool fl_schedule_show_targets(struct fl_schedule *s)
{
    bool differs = false;
    if (fl_service_is_external(s->service))
        return fl_task_sets_show(s);
    if (s->service->is_daemon)
        return false;
    for (size_t i = 0; i < s->count; i++)
        differs |= s->censuses[i].entry->desiredCount != (int32_t)s->censuses[i].wanted;
    if (!differs)
        return false;
    struct rec_Service *rec = fl_service_edit(s->d, s->service);
    for (size_t i = 0; i < s->count; i++)
        FL_SET(fl_service_entry(rec, s->censuses[i].deployment->number), rec_Deployment,
               desiredCount, (int32_t)s->censuses[i].wanted);
    fl_service_put(s->d, rec);
    return true;
}
