/* Stopping: what is not wanted any more, or is to be replaced, as far as the floor allows.
 *
 * What is healthy is stopped only while more than the floor's number are; what only may be healthy
 * (SETTLING), only while no less are. What is lost goes when healthy tasks have taken its place: a
 * host that is back before finds everything as it was. */
#include "base/bug.h"
#include "core/rebalance.h"
#include "core/scheduler_pick.h"
#include "core/task_sets.h"

/* Tasks of one event's sentence; stops of one look at one deployment. */
enum { BATCH = 10, MAX_STOPS = 100 };

struct stops {
    struct fl_schedule *s;
    size_t healthy;     /* of all deployments, what is to be stopped left out */
    size_t own_healthy; /* the same, of the one that is looked at */
    size_t own_floor;   /* which keeps so many */
    size_t spare_lost;  /* lost tasks that healthy ones have taken the place of */
    size_t there;       /* of all deployments, what was started now included */
    bool has_room;      /* below the ceilings, and on the instances */
    struct fl_str reason;
    struct fl_picker *picker; /* NULL: not needed yet */
    struct fl_task *tasks[MAX_STOPS];
    size_t n;
};

static bool may_go(const struct stops *stops, const struct fl_member *member)
{
    if (stops->n == MAX_STOPS)
        return false;
    if (member->is_healthy)
        return FL_BUG(68, true, stops->healthy > stops->s->floor) &&
               stops->own_healthy > stops->own_floor;
    return member->is_unhealthy || !fl_member_is_running(member) ||
           stops->healthy >= stops->s->floor;
}

static void stop(struct stops *stops, struct fl_member *member, struct fl_str reason)
{
    stops->healthy -= member->is_healthy;
    stops->own_healthy -= member->is_healthy;
    stops->tasks[stops->n++] = member->task;
    fl_request_stop(stops->s->d, member->task, ECS_TaskStopCode_ServiceSchedulerInitiated, reason);
    member->state = FL_MEMBER_GOING;
}

static void stop_lost(struct stops *stops, struct fl_census *census)
{
    size_t lost = census->in_state[FL_MEMBER_LOST];
    size_t replaced = fl_count_above(census->in_state[FL_MEMBER_HEALTHY] + lost, census->wanted);
    replaced = FL_MIN(replaced, stops->spare_lost);
    for (size_t i = 0; i < census->count && replaced && stops->n < MAX_STOPS; i++) {
        struct fl_member *member = &census->members[i];
        if (member->state != FL_MEMBER_LOST)
            continue;
        replaced--;
        stops->spare_lost--;
        stop(stops, member,
             fl_str_printf(stops->s->d->arena,
                           "Host (instance %.*s) was away for too long: the task was replaced.",
                           FL_STR_ARG(member->task->rec->instance)));
    }
}

static void stop_drained(struct stops *stops, struct fl_census *census)
{
    for (size_t i = 0; i < census->count; i++) {
        struct fl_member *member = &census->members[i];
        if (member->state == FL_MEMBER_DRAINED && FL_BUG(63, false, may_go(stops, member)))
            stop(stops, member, stops->reason);
    }
}

static void stop_failed(struct stops *stops, const struct fl_census *census,
                        struct fl_member *member)
{
    fl_service_say_of(stops->s->d, stops->s->service, member->task->rec->deployment,
                      "(task %.*s) failed container health checks.",
                      FL_STR_ARG(member->task->rec->id));
    fl_schedule_note_unhealthy(stops->s, census);
    stop(stops, member, FL_STR("Task failed container health checks"));
}

/* Its replacement comes first where there is room for one, else it goes first, one at a time: the
 * next one when the last one's replacement runs. Whether that is healthy is not waited for, or
 * tasks that come and go for reasons of their own would keep an unhealthy one for ever. Of a
 * deployment that is to have no tasks it goes like any other. */
static void stop_unhealthy(struct stops *stops, struct fl_census *census)
{
    bool is_replaced = census->in_state[FL_MEMBER_HEALTHY] >= census->wanted;
    bool is_moving = census->in_state[FL_MEMBER_GOING] || census->in_state[FL_MEMBER_PENDING] ||
                     stops->s->started;
    bool one_by_one = !stops->has_room && !is_moving;
    for (size_t i = 0; i < census->count && (is_replaced || one_by_one); i++) {
        struct fl_member *member = &census->members[i];
        if (member->state != FL_MEMBER_UNHEALTHY || stops->n == MAX_STOPS)
            continue;
        if (census->wanted == 0)
            stop(stops, member, stops->reason);
        else
            stop_failed(stops, census, member);
        one_by_one = false;
    }
}

/* Stops up to so many of the deployment's tasks in a state; returns how many. */
static size_t stop_some(struct stops *stops, struct fl_census *census, enum fl_member_state state,
                        size_t count)
{
    struct fl_member **offer =
        fl_arena_new_array(stops->s->d->arena, struct fl_member *, census->in_state[state]);
    struct fl_member *member;
    size_t n = 0, stopped = 0;
    for (size_t i = 0; i < census->count; i++)
        if (census->members[i].state == state && FL_BUG(72, true, !census->members[i].is_protected))
            offer[n++] = &census->members[i];
    if (n == 0 || !may_go(stops, offer[0]))
        return 0;
    if (!stops->picker)
        stops->picker = fl_picker_new(stops->s);
    fl_picker_offer(stops->picker, offer, n);
    while (stopped < count && may_go(stops, offer[0]) && (member = fl_picker_next(stops->picker))) {
        stop(stops, member, stops->reason);
        stopped++;
    }
    return stopped;
}

static void say_protected(const struct stops *stops, const struct fl_census *census)
{
    size_t n = 0;
    for (size_t i = 0; i < census->count; i++)
        n += census->members[i].is_protected;
    if (n > census->wanted)
        fl_service_say_once(
            stops->s->d, stops->s->service,
            "was unable to reach steady state because task set (ecs-svc/%lld) was unable to scale "
            "in. Reason: The number of protected tasks are more than the desired count of tasks.",
            (long long)census->deployment->number);
}

/* Whoever is not RUNNING yet goes first, then who is not known to be healthy. */
static void stop_excess(struct stops *stops, struct fl_census *census)
{
    size_t excess = fl_count_above(fl_census_good(census), census->wanted);
    for (enum fl_member_state state = FL_MEMBER_PENDING; state <= FL_MEMBER_HEALTHY; state++)
        if (excess && census->in_state[state])
            excess -= stop_some(stops, census, state, excess);
    if (excess)
        say_protected(stops, census);
}

/* Of one event's tasks, the ones that were RUNNING by their ids. */
static void say_batch(struct fl_schedule *s, struct fl_task *const *tasks, size_t count)
{
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(1024);
    size_t running = 0;
    for (size_t i = 0; i < count; i++) {
        if (tasks[i]->rec->status != REC_TaskStatus_RUNNING)
            continue;
        fl_buf_printf(&text, " (task %.*s)", FL_STR_ARG(tasks[i]->rec->id));
        running++;
    }
    if (count > running)
        fl_service_say_of(s->d, s->service, tasks[0]->rec->deployment, "stopped %zu pending tasks.",
                          count - running);
    if (running)
        fl_service_say_of(s->d, s->service, tasks[0]->rec->deployment,
                          "has stopped %zu running tasks:%.*s.", running,
                          FL_STR_ARG(fl_buf_str(&text)));
}

void fl_schedule_say_stopped(struct fl_schedule *s, struct fl_task *const *tasks, size_t count)
{
    for (size_t first = 0; first < count; first += BATCH)
        say_batch(s, tasks + first, FL_MIN(count - first, (size_t)BATCH));
}

static void stop_of(struct stops *stops, struct fl_census *census)
{
    bool is_external = fl_service_is_external(stops->s->service);
    stops->n = 0;
    stops->own_healthy = census->healthy;
    stops->own_floor = census->floor;
    stops->has_room = stops->there < stops->s->ceiling &&
                      fl_census_there(census) < census->ceiling && !stops->s->service->is_waiting;
    stops->reason = fl_str_printf(
        stops->s->d->arena, "Scaling activity initiated by (deployment ecs-svc/%lld)",
        (long long)(is_external ? census : &stops->s->censuses[0])->deployment->number);
    stop_lost(stops, census);
    stop_drained(stops, census);
    stop_unhealthy(stops, census);
    stop_excess(stops, census);
    if (fl_rebalance_stops(stops->s))
        fl_rebalance_say_stopped(stops->s, stops->tasks, stops->n);
    else
        fl_schedule_say_stopped(stops->s, stops->tasks, stops->n);
}

static void forsake(struct fl_decision *d, const struct fl_task *task)
{
    struct rec_Task rec = *task->rec;
    FL_SET(&rec, rec_Task, lostAt, d->now_ms);
    FL_SET(&rec, rec_Task, version, rec.version + 1);
    fl_put(d, FL_RECORD_TASK, &rec);
}

void fl_schedule_forsake(struct fl_schedule *s)
{
    for (size_t i = 0; i < s->count; i++) {
        const struct fl_census *census = &s->censuses[i];
        for (size_t k = 0; k < census->count; k++)
            if (FL_BUG(82, false, census->members[k].is_lost) &&
                census->members[k].state == FL_MEMBER_GOING)
                forsake(s->d, census->members[k].task);
    }
}

void fl_schedule_stop(struct fl_schedule *s)
{
    struct stops stops = {.s = s, .there = s->started};
    size_t lost = 0, wanted = 0;
    if (s->count == 0)
        return;
    for (size_t i = 0; i < s->count; i++) {
        stops.healthy += s->censuses[i].healthy;
        lost += s->censuses[i].in_state[FL_MEMBER_LOST];
        stops.there += fl_census_there(&s->censuses[i]);
        wanted += s->censuses[i].wanted;
    }
    stops.spare_lost = FL_MIN(fl_count_above(stops.healthy + lost, wanted), lost);
    for (size_t i = s->count; i > 0; i--)
        stop_of(&stops, &s->censuses[i - 1]);
}
