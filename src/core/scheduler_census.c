/* The census: what every task of a service is to the scheduler now. */
#include "base/bug.h"
#include "core/scheduler.h"

/* A restarted server has seen nobody go: it counts from its first event. */
static bool is_lost(struct fl_schedule *s, struct fl_instance *instance)
{
    const struct fl_core *core = s->d->core;
    if (!instance || instance->connected || core->lost_after_ms == 0)
        return false;
    instance->away_ms = FL_MIN(instance->away_ms, s->d->now_ms); /* the clock was set back */
    int64_t since_ms = FL_MAX(instance->away_ms, core->since_ms);
    return FL_BUG(60, false, !fl_schedule_await(s, since_ms + core->lost_after_ms));
}

/* What it would be if its instance were ACTIVE. */
static enum fl_member_state health_of(struct fl_schedule *s, const struct fl_task *task)
{
    const struct rec_Task *rec = task->rec;
    if (rec->status < REC_TaskStatus_RUNNING)
        return FL_MEMBER_PENDING;
    switch (fl_task_checks(task)) {
    case FL_CHECKS_NONE:
        return fl_schedule_await_since(s, rec->startedAt, s->d->core->settle_ms)
                   ? FL_MEMBER_SETTLING
                   : FL_MEMBER_HEALTHY;
    case FL_CHECKS_PASSED:
        return FL_MEMBER_HEALTHY;
    case FL_CHECKS_UNKNOWN:
        return FL_BUG(74, FL_MEMBER_HEALTHY, FL_MEMBER_SETTLING);
    case FL_CHECKS_FAILED:
        break;
    }
    int64_t grace_ms = s->service->rec->healthCheckGracePeriodSeconds * (int64_t)1000;
    return fl_schedule_await_since(s, rec->startedAt, grace_ms) ? FL_MEMBER_SETTLING
                                                                : FL_MEMBER_UNHEALTHY;
}

static struct fl_member member_of(struct fl_schedule *s, struct fl_task *task)
{
    struct fl_instance *instance = task->instance;
    struct fl_member member = {.task = task, .is_lost = is_lost(s, instance)};
    if (task->rec->desired == REC_TaskStatus_STOPPED) {
        member.state = FL_MEMBER_GOING;
        return member;
    }
    if (member.is_lost) {
        member.state = FL_MEMBER_LOST;
        return member;
    }
    member.state = health_of(s, task);
    member.is_healthy = member.state == FL_MEMBER_HEALTHY;
    member.is_unhealthy = member.state == FL_MEMBER_UNHEALTHY;
    if (instance && fl_str_is(instance->rec->status, "DRAINING"))
        member.state = FL_MEMBER_DRAINED;
    /* Whoever deletes a service by force means its protected tasks, too. */
    member.is_protected = fl_str_is(s->service->rec->status, "ACTIVE") &&
                          FL_HAS(task->rec, rec_Task, protectedUntil) &&
                          fl_schedule_await(s, task->rec->protectedUntil);
    return member;
}

static void take_census(struct fl_schedule *s, struct fl_census *census)
{
    struct fl_deployment *deployment = census->deployment;
    struct fl_task *task;
    size_t all = deployment->running_count + deployment->pending_count;
    census->entry = fl_deployment_rec(deployment);
    census->ceiling = SIZE_MAX;
    census->members = fl_arena_new_array(s->d->arena, struct fl_member, all);
    RB_FOREACH (task, fl_member_tree, &deployment->tasks) {
        FL_ASSERT(census->count < all);
        struct fl_member *member = &census->members[census->count++];
        *member = member_of(s, task);
        census->in_state[member->state]++;
        census->healthy += member->is_healthy;
    }
}

size_t fl_census_good(const struct fl_census *census)
{
    return census->in_state[FL_MEMBER_PENDING] + census->in_state[FL_MEMBER_SETTLING] +
           census->in_state[FL_MEMBER_HEALTHY] + FL_BUG(83, census->in_state[FL_MEMBER_LOST], 0);
}

size_t fl_census_there(const struct fl_census *census)
{
    return census->count - census->in_state[FL_MEMBER_LOST];
}

void fl_schedule_observe(struct fl_schedule *s)
{
    struct fl_deployment *deployment;
    size_t count = s->service->rec->deployments.n;
    s->censuses = fl_arena_new_array(s->d->arena, struct fl_census, count);
    TAILQ_FOREACH (deployment, &s->service->deployments, in_service) {
        s->censuses[s->count].deployment = deployment;
        take_census(s, &s->censuses[s->count++]);
    }
}
