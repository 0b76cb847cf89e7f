/* The service scheduler: keeps what services want and what runs the same. Private to core.
 *
 * It looks at a service when something about it, its tasks or their instances has changed, and when
 * a time has come that it waited for (a task has settled, a throttle ends). A look is a function of
 * the state and the time: it takes a census of the service's tasks, says how many each deployment
 * is to have, starts and stops within the bounds, and settles the deployments. What it does changes
 * records, and that brings the next look, until there is nothing to do. So nothing is lost with a
 * restart, which begins with a look at every service.
 *
 * It never begins a step that would leave fewer healthy tasks than minimumHealthyPercent or more
 * tasks than maximumPercent allow; what a dying host does to these bounds it repairs. */
#pragma once

#include "core/launch.h"
#include "core/service_change.h"

/* When the first service is to be looked at, or INT64_MAX. */
int64_t fl_scheduler_due(const struct fl_core *core);
/* Looks at the services whose time has come, a bounded number of them. */
void fl_scheduler_run(struct fl_decision *d);
/* A service's task has just become STOPPED. */
void fl_scheduler_task_ended(struct fl_decision *d, const struct fl_task *task);

/* ---- one look, as its parts see it ---- */

/* What a task that is not STOPPED is to the scheduler. */
enum fl_member_state {
    FL_MEMBER_GOING,     /* it is being stopped */
    FL_MEMBER_LOST,      /* its host has been away for longer than lost_after_ms */
    FL_MEMBER_DRAINED,   /* its instance is DRAINING */
    FL_MEMBER_UNHEALTHY, /* checks have failed, and its grace period is over */
    FL_MEMBER_PENDING,   /* not RUNNING yet */
    FL_MEMBER_SETTLING,  /* RUNNING, and not known to be healthy */
    FL_MEMBER_HEALTHY,
    FL_MEMBER_STATES
};

struct fl_member {
    struct fl_task *task;
    enum fl_member_state state;
    bool is_healthy;   /* HEALTHY, or would be if it were not DRAINED */
    bool is_unhealthy; /* UNHEALTHY, or would be if it were not DRAINED */
    bool is_lost;      /* LOST, or would be if it were not GOING */
    bool is_protected;
};

static inline bool fl_member_is_running(const struct fl_member *member)
{
    return member->task->rec->status == REC_TaskStatus_RUNNING;
}

/* By how much a count is above a bound; 0: it is not. */
static inline size_t fl_count_above(size_t count, size_t bound)
{
    return count > bound ? count - bound : 0;
}

/* A deployment's tasks, in order of creation. */
struct fl_census {
    struct fl_deployment *deployment;
    const struct rec_Deployment *entry; /* valid until the service's record is put */
    struct fl_member *members;
    size_t count;
    size_t in_state[FL_MEMBER_STATES];
    size_t healthy; /* is_healthy */
    size_t wanted;  /* set by fl_schedule_targets */
    size_t floor;   /* the same: healthy ones of this deployment that must stay */
    size_t ceiling; /* the same: tasks of this deployment that may be there */
    bool may_start; /* the same */
};

struct fl_schedule {
    struct fl_decision *d;
    struct fl_service *service;
    struct fl_census *censuses; /* the PRIMARY first */
    size_t count;
    size_t floor;   /* healthy tasks that must stay */
    size_t ceiling; /* tasks that may be there, the ones that go included */
    int64_t due_ms; /* the next look, unless something changes */
    size_t started;
};

/* Tasks that are wanted and neither lost, drained nor unhealthy. */
size_t fl_census_good(const struct fl_census *census);
/* Tasks that are there, or may be: what a lost host still runs is not ours to count. */
size_t fl_census_there(const struct fl_census *census);
/* Is the time still to come? Then the next look is then at the latest. */
bool fl_schedule_await(struct fl_schedule *s, int64_t when_ms);
/* The same for what lasts so long from a time on. If that is later than now, it was before the
 * clock was set back, who knows when: it is not waited for. */
bool fl_schedule_await_since(struct fl_schedule *s, int64_t since_ms, int64_t span_ms);

/* scheduler_census.c: fills in the censuses. */
void fl_schedule_observe(struct fl_schedule *s);
/* scheduler_failures.c: what follows from tasks that have failed, or have come up in spite of it.
 * True: records have changed, and the look is over; the next one follows. */
bool fl_schedule_judge(struct fl_schedule *s);
/* While the PRIMARY has FAILED, and launches nothing, what others have takes its tasks' place. */
void fl_schedule_keep_others(struct fl_schedule *s);
/* A task cannot be launched, for the reason in the decision's error: counts and says it. */
void fl_schedule_refused(struct fl_schedule *s, const struct fl_census *census);
/* A task is about to be stopped because its health checks have failed. */
void fl_schedule_note_unhealthy(struct fl_schedule *s, const struct fl_census *census);
/* What is waited for before the next attempt, after so many rounds in a row that failed (>= 1). */
int64_t fl_throttle_ms(const struct fl_core *core, int32_t rounds);
/* Is that still to come? */
bool fl_schedule_throttled(struct fl_schedule *s, const struct rec_Deployment *entry);
/* scheduler_targets.c: how many tasks each deployment is to have, and the bounds. */
void fl_schedule_targets(struct fl_schedule *s);
/* The same: the bounds when so many tasks are wanted. */
void fl_schedule_bounds(struct fl_schedule *s, size_t desired);
/* The same: what the deployments are shown to be asked for. True when records were put. */
bool fl_schedule_show_targets(struct fl_schedule *s);
/* scheduler_start.c: starts what is wanted and has room. */
void fl_schedule_start(struct fl_schedule *s);
/* scheduler_pace.c: how many tasks may be launched now, `wanted` at most; if that is less, the next
 * look is when it is more. */
size_t fl_schedule_allowance(struct fl_schedule *s, size_t wanted);
/* The same: when the service may launch another one; now_ms: now. */
int64_t fl_service_next_launch(const struct fl_service *service, int64_t now_ms);
/* One launch for a deployment's tasks: 0, or -1 when it cannot be prepared (the reason is in the
 * decision's error). */
int fl_schedule_launch(struct fl_schedule *s, const struct fl_census *census,
                       struct fl_launch *ret_launch);
/* service_launch.c: the same for a service's record and revision as they are or would be. */
int fl_service_prepare(struct fl_decision *d, const struct rec_Service *rec,
                       const struct rec_ServiceRevision *config, struct fl_definition *definition,
                       struct fl_launch *ret_launch);
/* scheduler_say.c: why no instance takes one more of these tasks: the closest one, and what it
 * lacks. */
void fl_schedule_say_unplaced(struct fl_schedule *s, const struct fl_launch *launch);
/* The bounds allow neither to start nor to stop anything, and something is left to do. */
void fl_schedule_say_stuck(struct fl_schedule *s);
/* Says that the bounds are in the way. */
void fl_schedule_say_blocked(struct fl_schedule *s);
/* Says that these tasks, at most ten, were started, so many of them in the place of unhealthy ones.
 */
void fl_schedule_say_started(struct fl_schedule *s, struct fl_task *const *tasks, size_t n,
                             size_t replaced);
/* scheduler_stop.c: stops what is not wanted any more, as far as the floor allows. */
void fl_schedule_stop(struct fl_schedule *s);
/* The same: gives up what is being stopped on hosts that are lost. Whoever returns from there still
 * stops it, but the service waits for that no more. */
void fl_schedule_forsake(struct fl_schedule *s);
/* protection.c: no task is protected for longer than it can be: an end that is further away was set
 * before the clock was set back. */
void fl_schedule_bound_protection(struct fl_schedule *s);
/* Says that these tasks were stopped. */
void fl_schedule_say_stopped(struct fl_schedule *s, struct fl_task *const *tasks, size_t n);
/* scheduler_daemon.c: start and stop of a DAEMON service, one task per instance. */
void fl_schedule_daemon(struct fl_schedule *s);
/* rollout.c: ends rollouts, and deployments and services that have no tasks any more. */
void fl_schedule_settle(struct fl_schedule *s);

/* ---- deployments that fail ---- */

/* breaker.c: failures at which the circuit breaker opens. */
int32_t fl_breaker_threshold(const struct fl_service *service,
                             const struct rec_ServiceDeployment *rollout);
/* Counts one, if the breaker watches this deployment. The reason is empty for a task that was
 * RUNNING. */
void fl_breaker_count(struct fl_decision *d, struct fl_service *service, int64_t number,
                      struct fl_str reason);
/* What was counted last no retry can cure: the rollout fails at once. */
void fl_breaker_give_up(struct fl_decision *d, struct fl_service *service, int64_t number);
/* Is a task's stoppedReason of that kind? */
bool fl_is_incurable(struct fl_str stopped_reason);
/* A part of fl_schedule_judge. */
bool fl_schedule_breaker(struct fl_schedule *s);

/* rollback.c: asks for the way back from the current rollout; the scheduler takes it with its next
 * look. The reason is shown as the rollout's statusReason. */
void fl_rollback_request(struct fl_decision *d, struct fl_service *service, struct fl_str reason);
/* Ends the current rollout without one: its deployment is FAILED and launches nothing any more. */
void fl_rollout_fail(struct fl_decision *d, struct fl_service *service, struct fl_str reason);
/* The current rollout's way back leads nowhere: it ends, and its tasks are tried for on. */
void fl_rollback_fail(struct fl_decision *d, struct fl_service *service, struct fl_str reason);
/* Is the rollout one that has not begun its way back (PENDING, IN_PROGRESS)? */
bool fl_rollout_is_forward(const struct rec_ServiceDeployment *rec);
/* A part of fl_schedule_judge: begins the way back that was asked for. */
bool fl_schedule_rollback(struct fl_schedule *s);
