/* DAEMON services: one task on every instance that is ACTIVE and meets the constraints. There are
 * never two on one: ECS allows a daemon no maximumPercent above 100, so that what is replaced goes
 * before its successor comes.
 *
 * An instance counts while its agent is there, or while the service has a task of the PRIMARY on
 * it. The floor is a percentage of the ones that count and are not lost; what runs elsewhere (on an
 * instance that is DRAINING, lost, or meets the constraints no more) is no part of it. Nothing is
 * started in the place of a task on a lost host: it is that host's. */
#include "base/bug.h"
#include "core/scheduler.h"

#include <stdlib.h>

/* Tasks of one event's sentence; starts and stops of one look. */
enum { BATCH = 10, MAX_STARTS = 200, MAX_STOPS = 100 };

struct seat {
    struct fl_member *member;
    const struct fl_census *census;
};

/* An instance that counts, or has tasks of the service. */
struct host {
    struct fl_instance *instance;
    struct seat *seats; /* the PRIMARY's first, each by creation */
    size_t count;
    struct fl_member *current; /* the PRIMARY's task that is to stay; NULL: none */
    bool is_eligible;          /* counts */
    bool is_violated;          /* ACTIVE, but the constraints are not met */
};

struct daemons {
    struct fl_schedule *s;
    struct fl_launch launch;
    struct host *hosts;
    size_t host_count;
    size_t eligible; /* hosts that count; of these: */
    size_t lost;
    size_t healthy;  /* have a healthy task */
    bool is_blocked; /* by the floor */
    struct fl_str reason;
    struct fl_task *stopped[MAX_STOPS];
    size_t stopped_count;
};

/* In the order of the cluster's tree. */
static int by_instance(const void *a, const void *b)
{
    const struct seat *x = a, *y = b;
    int order = fl_str_cmp(x->member->task->instance->id, y->member->task->instance->id);
    if (order)
        return order;
    if (x->census != y->census)
        return x->census < y->census ? -1 : 1;
    return x->member < y->member ? -1 : x->member > y->member;
}

static struct seat *take_seats(const struct fl_schedule *s, size_t *ret_count)
{
    size_t all = 0;
    for (size_t i = 0; i < s->count; i++)
        all += s->censuses[i].count;
    struct seat *seats = fl_arena_new_array(s->d->arena, struct seat, all);
    *ret_count = 0;
    for (size_t i = 0; i < s->count; i++)
        for (size_t k = 0; k < s->censuses[i].count; k++)
            if (s->censuses[i].members[k].task->instance)
                seats[(*ret_count)++] = (struct seat){&s->censuses[i].members[k], &s->censuses[i]};
    qsort(seats, *ret_count, sizeof(*seats), by_instance);
    return seats;
}

/* The one that has come furthest. */
static struct fl_member *find_current(const struct daemons *daemons, const struct host *host)
{
    struct fl_member *best = NULL;
    for (size_t i = 0; i < host->count; i++) {
        const struct seat *seat = &host->seats[i];
        if (seat->census == &daemons->s->censuses[0] && seat->member->state != FL_MEMBER_GOING &&
            seat->member->state != FL_MEMBER_UNHEALTHY &&
            (!best || seat->member->state > best->state))
            best = seat->member;
    }
    return best;
}

static void count_host(struct daemons *daemons, const struct host *host)
{
    bool is_healthy = false;
    daemons->eligible++;
    if (host->current && host->current->is_lost) {
        daemons->lost++;
        return;
    }
    for (size_t i = 0; i < host->count; i++)
        is_healthy |= host->seats[i].member->is_healthy;
    daemons->healthy += is_healthy;
}

/* Takes a host down if it matters. */
static void look_at(struct daemons *daemons, struct fl_instance *instance, struct seat *seats,
                    size_t count)
{
    struct fl_filter *filter = daemons->launch.placement.filter;
    struct host host = {.instance = instance, .seats = seats, .count = count};
    bool is_active = fl_str_is(instance->rec->status, "ACTIVE");
    bool passes = is_active && fl_filter_passes(filter, instance);
    host.is_violated = is_active && !passes && count && fl_filter_fails(filter, instance) >= 0;
    host.current = is_active && !host.is_violated ? find_current(daemons, &host) : NULL;
    host.is_eligible = host.current || (passes && instance->is_open);
    if (host.is_eligible)
        count_host(daemons, &host);
    if (host.is_eligible || count)
        daemons->hosts[daemons->host_count++] = host;
}

static void take_hosts(struct daemons *daemons)
{
    struct fl_instance_tree *tree = &daemons->s->service->cluster->instances;
    struct fl_instance *instance;
    size_t all = 0, count, first = 0;
    struct seat *seats = take_seats(daemons->s, &count);
    fl_index_settle(daemons->s->service->cluster);
    RB_FOREACH (instance, fl_instance_tree, tree)
        all++;
    daemons->hosts = fl_arena_new_array(daemons->s->d->arena, struct host, all);
    RB_FOREACH (instance, fl_instance_tree, tree) {
        size_t n = 0;
        while (first + n < count && seats[first + n].member->task->instance == instance)
            n++;
        look_at(daemons, instance, seats + first, n);
        first += n;
    }
    FL_ASSERT(first == count);
}

/* ---- starting ---- */

/* What is still there must have gone before. */
static bool is_lacking(const struct host *host)
{
    return host->is_eligible && FL_BUG(67, host->count < 2, host->count == 0) &&
           host->instance->is_open;
}

static void start(struct daemons *daemons)
{
    struct fl_schedule *s = daemons->s;
    struct fl_task *batch[BATCH];
    size_t n = 0, most = 0;
    bool is_short = false;
    for (size_t i = 0; i < daemons->host_count; i++)
        most += is_lacking(&daemons->hosts[i]);
    most = fl_schedule_allowance(s, FL_MIN(most, (size_t)MAX_STARTS));
    for (size_t i = 0; i < daemons->host_count && s->started < most; i++) {
        const struct host *host = &daemons->hosts[i];
        if (!is_lacking(host))
            continue;
        if (fl_placement_hindrance(&daemons->launch.placement, host->instance).obstacle !=
            FL_OBSTACLE_NONE) {
            is_short = true;
            continue;
        }
        batch[n++] = fl_launch_on(s->d, &daemons->launch, host->instance);
        s->started++;
        if (n < BATCH)
            continue;
        fl_schedule_say_started(s, batch, n, 0);
        n = 0;
    }
    fl_schedule_say_started(s, batch, n, 0);
    fl_service_set_waiting(s->service, is_short);
    if (is_short)
        fl_schedule_say_unplaced(s, &daemons->launch);
}

/* ---- stopping ---- */

static void stop(struct daemons *daemons, struct fl_member *member, struct fl_str reason)
{
    if (daemons->stopped_count == MAX_STOPS)
        return;
    daemons->stopped[daemons->stopped_count++] = member->task;
    fl_request_stop(daemons->s->d, member->task, ECS_TaskStopCode_ServiceSchedulerInitiated,
                    reason);
    member->state = FL_MEMBER_GOING;
}

/* A service's task that is no daemon, and not given up. */
static bool is_served(const struct fl_instance *instance)
{
    struct fl_task *task;
    RB_FOREACH (task, fl_held_tree, (struct fl_held_tree *)&instance->tasks)
        if (task->is_member && task->deployment && !task->deployment->service->is_daemon)
            return true;
    return false;
}

/* The last one to go from an instance that is DRAINING. */
static void leave_drained(struct daemons *daemons, struct host *host, struct fl_member *member)
{
    if (!fl_member_is_running(member) || !is_served(host->instance))
        stop(daemons, member, daemons->reason);
}

static void leave_violated(struct daemons *daemons, struct host *host, struct fl_member *member)
{
    fl_service_say(daemons->s->d, daemons->s->service,
                   "(task %.*s) (container-instance %.*s) no longer satisfies the placement "
                   "constraints of the daemon.",
                   FL_STR_ARG(member->task->rec->id), FL_STR_ARG(host->instance->id));
    stop(daemons, member, FL_STR("Task violates the placement constraints of its service"));
}

/* Will its place be taken when it is gone, or has it been? */
static bool may_be_replaced(const struct daemons *daemons, const struct host *host)
{
    if (host->current)
        return true;
    return daemons->s->censuses[0].may_start && host->instance->is_open;
}

static void replace(struct daemons *daemons, struct host *host, const struct seat *seat)
{
    struct fl_member *member = seat->member;
    bool is_only = member->is_healthy && !(host->current && host->current->is_healthy);
    if (member->state == FL_MEMBER_UNHEALTHY) {
        fl_service_say(daemons->s->d, daemons->s->service,
                       "(task %.*s) failed container health checks.",
                       FL_STR_ARG(member->task->rec->id));
        fl_schedule_note_unhealthy(daemons->s, seat->census);
        stop(daemons, member, FL_STR("Task failed container health checks"));
        return;
    }
    bool is_needed =
        is_only ? daemons->healthy <= daemons->s->floor
                : member->state == FL_MEMBER_SETTLING && daemons->healthy < daemons->s->floor;
    daemons->is_blocked |= is_needed;
    if (is_needed || member->is_protected)
        return;
    daemons->healthy -= is_only;
    stop(daemons, member, daemons->reason);
}

static void stop_on(struct daemons *daemons, struct host *host)
{
    for (size_t i = 0; i < host->count; i++) {
        struct fl_member *member = host->seats[i].member;
        if (member->state == FL_MEMBER_GOING || member == host->current ||
            daemons->stopped_count == MAX_STOPS)
            continue;
        if (member->is_lost)
            stop(daemons, member, daemons->reason);
        else if (host->is_violated)
            leave_violated(daemons, host, member);
        else if (!fl_str_is(host->instance->rec->status, "ACTIVE"))
            leave_drained(daemons, host, member);
        else if (may_be_replaced(daemons, host))
            replace(daemons, host, &host->seats[i]);
    }
}

/* A service that is being deleted has none. */
static void stop_all(struct daemons *daemons)
{
    for (size_t i = 0; i < daemons->s->count; i++)
        for (size_t k = 0; k < daemons->s->censuses[i].count; k++)
            if (daemons->s->censuses[i].members[k].state != FL_MEMBER_GOING)
                stop(daemons, &daemons->s->censuses[i].members[k], daemons->reason);
}

/* ---- the look ---- */

/* How many there are to be is shown, and is written down to be. */
static void note_desired(struct fl_schedule *s, size_t desired)
{
    struct rec_Service *rec = NULL;
    for (size_t i = 0; i < s->count; i++) {
        size_t wanted = i == 0 ? desired : 0;
        if ((size_t)s->censuses[i].entry->desiredCount == wanted)
            continue;
        if (!rec)
            rec = fl_service_edit(s->d, s->service);
        FL_SET(&rec->deployments.items[i], rec_Deployment, desiredCount, (int32_t)wanted);
    }
    if (!rec)
        return;
    fl_service_put(s->d, rec);
    for (size_t i = 0; i < s->count; i++)
        s->censuses[i].entry = fl_deployment_rec(s->censuses[i].deployment);
}

/* What is on lost hosts counts as it was: it keeps nobody from being steady. */
static void set_wanted(struct daemons *daemons)
{
    struct fl_census *primary = &daemons->s->censuses[0];
    primary->wanted = daemons->eligible;
    primary->healthy += daemons->lost;
    note_desired(daemons->s, daemons->eligible);
}

static void keep(struct daemons *daemons)
{
    struct fl_schedule *s = daemons->s;
    take_hosts(daemons);
    fl_schedule_bounds(s, daemons->eligible - daemons->lost);
    if (s->censuses[0].may_start)
        start(daemons);
    for (size_t i = 0; i < daemons->host_count; i++)
        stop_on(daemons, &daemons->hosts[i]);
    if (daemons->is_blocked && s->floor >= daemons->eligible - daemons->lost)
        fl_schedule_say_blocked(s);
    set_wanted(daemons);
}

void fl_schedule_daemon(struct fl_schedule *s)
{
    struct daemons daemons = {.s = s};
    if (s->count == 0)
        return;
    daemons.reason =
        fl_str_printf(s->d->arena, "Scaling activity initiated by (deployment ecs-svc/%lld)",
                      (long long)s->censuses[0].deployment->number);
    if (!fl_str_is(s->service->rec->status, "ACTIVE"))
        stop_all(&daemons);
    else if (fl_schedule_launch(s, &s->censuses[0], &daemons.launch) == 0)
        keep(&daemons);
    else if (s->censuses[0].may_start)
        fl_schedule_refused(s, &s->censuses[0]);
    fl_schedule_say_stopped(s, daemons.stopped, daemons.stopped_count);
}
