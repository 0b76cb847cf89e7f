/* Tasks that end without having been RUNNING, launches that are refused, health checks that fail:
 * what a deployment remembers of them, when the next attempt is made, and when it is forgotten.
 *
 * Failures are counted for show and for a rollback (failedTasks), for the throttle (failedStarts:
 * rounds, what was launched before the throttle's end being one) and for the circuit breaker. A
 * task that reaches RUNNING after the last failure resets the first two. Of tasks whose health
 * checks have failed only failedTasks and the breaker know; they count for the former while the
 * deployment has no healthy task, and one that is healthy resets it. */
#include "core/scheduler.h"

/* From so many rounds on a user is told. */
enum { CONSISTENTLY = 3 };
enum { FIRST_MS = 1000, STRICT_FIRST_MS = 10 * 1000, LONGEST_MS = 27 * 60 * 1000 };

int64_t fl_throttle_ms(const struct fl_core *core, int32_t rounds)
{
    int64_t ms = core->strict ? STRICT_FIRST_MS : FIRST_MS;
    for (int32_t i = 1; i < rounds && ms < LONGEST_MS; i++)
        ms *= 2;
    return FL_MIN(ms, (int64_t)LONGEST_MS);
}

static bool is_throttled(const struct rec_Deployment *entry)
{
    return FL_HAS(entry, rec_Deployment, nextStartAt);
}

/* An end that is further away than any throttle lasts was set before the clock was set back. */
static bool holds(const struct fl_decision *d, const struct rec_Deployment *entry)
{
    return is_throttled(entry) && entry->nextStartAt - d->now_ms <= LONGEST_MS;
}

bool fl_schedule_throttled(struct fl_schedule *s, const struct rec_Deployment *entry)
{
    return holds(s->d, entry) && fl_schedule_await(s, entry->nextStartAt);
}

/* When the last round failed. */
static int64_t failed_at(const struct fl_core *core, const struct rec_Deployment *entry)
{
    return entry->nextStartAt - fl_throttle_ms(core, entry->failedStarts);
}

static void forget_failures(struct fl_decision *d, struct rec_Deployment *entry)
{
    FL_SET(entry, rec_Deployment, failedTasks, 0);
    FL_SET(entry, rec_Deployment, failedStarts, 0);
    FL_UNSET(entry, rec_Deployment, nextStartAt);
    entry->nextStartAt = 0;
    FL_SET(entry, rec_Deployment, updatedAt, d->now_ms);
}

/* What was launched at launched_ms has failed. */
static void add_failure(struct fl_decision *d, struct rec_Deployment *entry, int64_t launched_ms)
{
    FL_SET(entry, rec_Deployment, failedTasks, entry->failedTasks + 1);
    FL_SET(entry, rec_Deployment, updatedAt, d->now_ms);
    if (holds(d, entry) && launched_ms < entry->nextStartAt)
        return;
    FL_SET(entry, rec_Deployment, failedStarts, entry->failedStarts + 1);
    FL_SET(entry, rec_Deployment, nextStartAt,
           d->now_ms + fl_throttle_ms(d->core, entry->failedStarts));
}

static void note_failure(struct fl_decision *d, const struct fl_deployment *deployment,
                         int64_t launched_ms, struct fl_str reason, bool is_incurable)
{
    struct fl_service *service = deployment->service;
    int64_t number = deployment->number;
    struct rec_Service *rec = fl_service_edit(d, service);
    struct rec_Deployment *entry = fl_service_entry(rec, number);
    add_failure(d, entry, launched_ms);
    int32_t rounds = entry->failedStarts;
    fl_service_put(d, rec);
    fl_breaker_count(d, service, number, reason);
    if (is_incurable && deployment->running_count == 0 && !d->core->strict)
        fl_breaker_give_up(d, service, number);
    if (rounds >= CONSISTENTLY)
        fl_service_say_until(d, service, "has reached a steady state",
                             "is unable to consistently start tasks successfully. For more "
                             "information, see the Troubleshooting section of the Amazon ECS "
                             "Developer Guide.");
}

/* It ran, and that may be news. */
static void note_run(struct fl_decision *d, const struct fl_deployment *deployment,
                     int64_t started_ms)
{
    const struct rec_Deployment *entry = fl_deployment_rec(deployment);
    if (!is_throttled(entry) || started_ms < failed_at(d->core, entry))
        return;
    struct rec_Service *rec = fl_service_edit(d, deployment->service);
    forget_failures(d, fl_service_entry(rec, deployment->number));
    fl_service_put(d, rec);
}

/* A sentence without its full stop. */
static struct fl_str clause(struct fl_str text)
{
    return fl_str_ends(text, FL_STR(".")) ? fl_str_sub(text, 0, text.n - 1) : text;
}

/* Once for a cause: the next attempts are made for it, too. */
static void say_why(struct fl_decision *d, struct fl_service *service, struct fl_str reason)
{
    if (reason.n)
        fl_service_say_until(d, service, "has reached a steady state",
                             "was unable to place a task. Reason: %.*s.",
                             FL_STR_ARG(clause(reason)));
}

void fl_scheduler_task_ended(struct fl_decision *d, const struct fl_task *task)
{
    const struct rec_Task *rec = task->rec;
    const struct fl_deployment *deployment = fl_task_deployment_of(task->cluster, rec);
    if (!deployment || !fl_str_is(deployment->service->rec->status, "ACTIVE"))
        return;
    if (FL_HAS(rec, rec_Task, startedAt)) {
        note_run(d, deployment, rec->startedAt);
    } else if (rec->stopCode == ECS_TaskStopCode_TaskFailedToStart) {
        say_why(d, deployment->service, rec->stoppedReason);
        note_failure(d, deployment, rec->createdAt, rec->stoppedReason,
                     fl_is_incurable(rec->stoppedReason));
    }
}

/* The service's record was replaced. */
static void read_entries(struct fl_schedule *s)
{
    for (size_t i = 0; i < s->count; i++)
        s->censuses[i].entry = fl_deployment_rec(s->censuses[i].deployment);
}

void fl_schedule_refused(struct fl_schedule *s, const struct fl_census *census)
{
    struct fl_str reason = clause(s->d->error_text);
    fl_service_say_until(s->d, s->service, "has started",
                         "was unable to place a task. Reason: %.*s.", FL_STR_ARG(reason));
    note_failure(s->d, census->deployment, s->d->now_ms, reason, true);
    read_entries(s);
}

void fl_schedule_note_unhealthy(struct fl_schedule *s, const struct fl_census *census)
{
    fl_breaker_count(s->d, s->service, census->deployment->number, FL_STR(""));
    if (census->healthy)
        return;
    struct rec_Service *rec = fl_service_edit(s->d, s->service);
    struct rec_Deployment *entry = fl_service_entry(rec, census->deployment->number);
    FL_SET(entry, rec_Deployment, failedTasks, entry->failedTasks + 1);
    FL_SET(entry, rec_Deployment, updatedAt, s->d->now_ms);
    fl_service_put(s->d, rec);
    read_entries(s);
}

void fl_schedule_keep_others(struct fl_schedule *s)
{
    const struct fl_census *primary = &s->censuses[0];
    if (s->count == 0 || !FL_HAS(primary->entry, rec_Deployment, rolloutState) ||
        primary->entry->rolloutState != ECS_DeploymentRolloutState_FAILED)
        return;
    size_t good = fl_census_good(primary);
    size_t missing = primary->wanted > good ? primary->wanted - good : 0;
    for (size_t i = 1; i < s->count; i++) {
        struct fl_census *other = &s->censuses[i];
        other->wanted = FL_MIN(missing, fl_census_good(other));
        missing -= other->wanted;
    }
}

static bool has_come_up(const struct fl_schedule *s, const struct fl_census *census)
{
    const struct rec_Deployment *entry = census->entry;
    if (!is_throttled(entry))
        return entry->failedTasks > 0 && census->healthy > 0;
    int64_t since_ms = failed_at(s->d->core, entry);
    for (size_t i = 0; i < census->count; i++) {
        const struct rec_Task *rec = census->members[i].task->rec;
        if (rec->status == REC_TaskStatus_RUNNING && rec->startedAt >= since_ms)
            return true;
    }
    return false;
}

static bool forget_what_is_over(struct fl_schedule *s)
{
    struct rec_Service *rec = NULL;
    for (size_t i = 0; i < s->count; i++) {
        if (!has_come_up(s, &s->censuses[i]))
            continue;
        if (!rec)
            rec = fl_service_edit(s->d, s->service);
        forget_failures(s->d, fl_service_entry(rec, s->censuses[i].deployment->number));
    }
    if (rec)
        fl_service_put(s->d, rec);
    return rec != NULL;
}

bool fl_schedule_judge(struct fl_schedule *s)
{
    if (!fl_str_is(s->service->rec->status, "ACTIVE"))
        return false;
    return forget_what_is_over(s) || fl_schedule_breaker(s) || fl_schedule_rollback(s);
}
