/* The scheduler's rounds: which service is looked at, and when again. */
#include "core/rebalance.h"
#include "core/stages.h"

/* What one event may bring about; what is left over is due at once. So many tasks of a service cost
 * as much as a look. */
enum { MAX_LOOKS = 256, MAX_STARTED = 200, TASKS_A_LOOK = 50 };
/* Services that wait for room, of one cluster, that look for it in a millisecond. */
enum { WAITING_A_MS = 5 };

bool fl_schedule_await(struct fl_schedule *s, int64_t when_ms)
{
    if (when_ms <= s->d->now_ms)
        return false;
    s->due_ms = FL_MIN(s->due_ms, when_ms);
    return true;
}

bool fl_schedule_await_since(struct fl_schedule *s, int64_t since_ms, int64_t span_ms)
{
    return FL_BUG(75, false, since_ms <= s->d->now_ms) && fl_schedule_await(s, since_ms + span_ms);
}

static void look_at_inactive(struct fl_decision *d, struct fl_service *service)
{
    int64_t end_ms = service->rec->endedAt + FL_INACTIVE_SERVICE_MS;
    if (end_ms <= d->now_ms)
        fl_drop_service(d, service);
    else
        fl_service_set_due(d->core, service, end_ms);
}

static void act(struct fl_schedule *s)
{
    size_t records_before = s->d->turn->record_count;
    if (s->service->is_daemon) {
        fl_schedule_daemon(s);
        return;
    }
    fl_schedule_rebalance(s);
    fl_schedule_start(s);
    fl_schedule_stop(s);
    if (s->d->turn->record_count == records_before)
        fl_schedule_say_stuck(s);
}

/* Every change of a record brings another look, which finds less to do. */
static size_t look(struct fl_decision *d, struct fl_service *service)
{
    size_t records_before = d->turn->record_count;
    struct fl_schedule s = {.d = d, .service = service, .due_ms = INT64_MAX};
    if (fl_str_is(service->rec->status, "INACTIVE")) {
        look_at_inactive(d, service);
        return 0;
    }
    fl_service_set_waiting(service, false);
    fl_schedule_observe(&s);
    fl_schedule_forsake(&s);
    fl_schedule_bound_protection(&s);
    if (!fl_schedule_judge(&s)) {
        fl_schedule_targets(&s);
        if (!fl_schedule_show_targets(&s) && !fl_schedule_stages(&s)) {
            act(&s);
            fl_schedule_settle(&s);
        }
    }
    bool is_quiet = d->turn->record_count == records_before;
    fl_service_set_due(d->core, service, is_quiet ? s.due_ms : 0);
    service->again_ms = d->now_ms + (int64_t)(service->cluster->waiting_count / WAITING_A_MS);
    return s.started;
}

int64_t fl_scheduler_due(const struct fl_core *core)
{
    const struct fl_service *first = RB_MIN(fl_due_tree, (struct fl_due_tree *)&core->due);
    return first && !core->is_held ? first->due_ms : INT64_MAX;
}

/* A look's, in looks at services without tasks. */
static size_t cost_of(const struct fl_service *service)
{
    const struct fl_deployment *deployment;
    size_t tasks = 0;
    TAILQ_FOREACH (deployment, &service->deployments, in_service)
        tasks += deployment->running_count + deployment->pending_count;
    return 1 + tasks / TASKS_A_LOOK;
}

void fl_scheduler_run(struct fl_decision *d)
{
    size_t started = 0, looks = 0;
    while (looks < MAX_LOOKS && started < MAX_STARTED) {
        struct fl_service *first = RB_MIN(fl_due_tree, &d->core->due);
        if (!first || d->core->is_held || first->due_ms > d->now_ms)
            return;
        looks += cost_of(first);
        started += look(d, first);
    }
}
