/* Stopping: what is not wanted any more, or is to be replaced, as far as the floor allows.
 *
 * What is healthy is stopped only while more than the floor's number are; what only may be healthy
 * (SETTLING), only while no less are. What is lost goes when something has taken its place. */
#include "core/scheduler.h"

/* Tasks of one event's sentence; stops of one look at one deployment. */
enum { BATCH = 10, MAX_STOPS = 100 };

struct stops {
    struct fl_schedule *s;
    size_t healthy;     /* of all deployments, what is to be stopped left out */
    size_t own_healthy; /* the same, of the one that is looked at */
    size_t own_floor;   /* which keeps so many */
    struct fl_str reason;
    struct fl_task *tasks[MAX_STOPS];
    size_t n;
};

static bool may_go(const struct stops *stops, const struct fl_member *member)
{
    if (stops->n == MAX_STOPS)
        return false;
    if (member->is_healthy)
        return stops->healthy > stops->s->floor && stops->own_healthy > stops->own_floor;
    return member->state != FL_MEMBER_SETTLING || stops->healthy >= stops->s->floor;
}

static void stop(struct stops *stops, struct fl_member *member, struct fl_str reason)
{
    stops->healthy -= member->is_healthy;
    stops->own_healthy -= member->is_healthy;
    stops->tasks[stops->n++] = member->task;
    fl_request_stop(stops->s->d, member->task, ECS_TaskStopCode_ServiceSchedulerInitiated, reason);
    member->state = FL_MEMBER_GOING;
}

static bool is_running(const struct fl_member *member)
{
    return member->task->rec->status == REC_TaskStatus_RUNNING;
}

static void stop_lost(struct stops *stops, struct fl_census *census)
{
    size_t lost = census->in_state[FL_MEMBER_LOST], there = fl_census_good(census) + lost;
    size_t replaced = there > census->wanted ? FL_MIN(there - census->wanted, lost) : 0;
    for (size_t i = 0; i < census->count && replaced && stops->n < MAX_STOPS; i++) {
        struct fl_member *member = &census->members[i];
        if (member->state != FL_MEMBER_LOST)
            continue;
        replaced--;
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
        if (member->state == FL_MEMBER_DRAINED && (!is_running(member) || may_go(stops, member)) &&
            stops->n < MAX_STOPS)
            stop(stops, member, stops->reason);
    }
}

/* Its replacement comes first where there is room for one, else it goes first, one at a time. */
static void stop_unhealthy(struct stops *stops, struct fl_census *census, bool has_room)
{
    bool is_replaced = census->in_state[FL_MEMBER_HEALTHY] >= census->wanted;
    bool one_by_one = !has_room && census->in_state[FL_MEMBER_GOING] == 0;
    for (size_t i = 0; i < census->count && (is_replaced || one_by_one); i++) {
        struct fl_member *member = &census->members[i];
        if (member->state != FL_MEMBER_UNHEALTHY || stops->n == MAX_STOPS)
            continue;
        fl_service_say(stops->s->d, stops->s->service,
                       "(task %.*s) failed container health checks.",
                       FL_STR_ARG(member->task->rec->id));
        fl_schedule_note_unhealthy(stops->s, census);
        stop(stops, member, FL_STR("Task failed container health checks"));
        one_by_one = false;
    }
}

/* Whoever is not RUNNING yet goes first, then who is not known to be healthy. */
static void stop_excess(struct stops *stops, struct fl_census *census)
{
    size_t good = fl_census_good(census), n = 0;
    size_t excess = good > census->wanted ? good - census->wanted : 0;
    struct fl_member **order = fl_arena_new_array(stops->s->d->arena, struct fl_member *, good);
    if (excess == 0)
        return;
    for (enum fl_member_state state = FL_MEMBER_PENDING; state <= FL_MEMBER_HEALTHY; state++) {
        size_t first = n;
        for (size_t i = 0; i < census->count; i++)
            if (census->members[i].state == state && !census->members[i].is_protected)
                order[n++] = &census->members[i];
        fl_schedule_order_stops(stops->s, census, order + first, n - first);
    }
    for (size_t i = 0; i < n && excess; i++) {
        if (!may_go(stops, order[i]))
            continue;
        stop(stops, order[i], stops->reason);
        excess--;
    }
}

static void say_stopped(const struct stops *stops)
{
    for (size_t first = 0; first < stops->n; first += BATCH) {
        FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(1024);
        size_t n = FL_MIN(stops->n - first, (size_t)BATCH);
        for (size_t i = 0; i < n; i++)
            fl_buf_printf(&text, " (task %.*s)", FL_STR_ARG(stops->tasks[first + i]->rec->id));
        fl_service_say(stops->s->d, stops->s->service, "has stopped %zu running tasks:%.*s.", n,
                       FL_STR_ARG(fl_buf_str(&text)));
    }
}

static void stop_of(struct stops *stops, struct fl_census *census, bool has_room)
{
    stops->n = 0;
    stops->own_healthy = census->healthy;
    stops->own_floor = census->floor;
    stop_lost(stops, census);
    stop_drained(stops, census);
    stop_unhealthy(stops, census, has_room);
    stop_excess(stops, census);
    say_stopped(stops);
}

void fl_schedule_stop(struct fl_schedule *s)
{
    struct stops stops = {.s = s};
    size_t there = 0;
    if (s->count == 0)
        return;
    for (size_t i = 0; i < s->count; i++) {
        stops.healthy += s->censuses[i].healthy;
        there += s->censuses[i].count - s->censuses[i].in_state[FL_MEMBER_LOST];
    }
    stops.reason =
        fl_str_printf(s->d->arena, "Scaling activity initiated by (deployment ecs-svc/%lld)",
                      (long long)s->censuses[0].deployment->number);
    for (size_t i = s->count; i > 0; i--)
        stop_of(&stops, &s->censuses[i - 1], there + s->started < s->ceiling);
}
