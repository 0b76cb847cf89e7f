/* Rebalancing: the zones of a cluster and of a service's tasks, and what is to be moved. */
#include "core/rebalance.h"

#include <stdlib.h>

enum {
    MAX_MOVES = 10,            /* started at once */
    LOOK_MS = 60 * 1000,       /* between looks at a service for which nothing else is to do */
    ZONES_MS = 10 * 1000,      /* that the list of a cluster's zones is good for */
    AGAIN_MS = 10 * 60 * 1000, /* after a step that came to nothing */
};

struct fl_zones {
    uint64_t seen; /* index->altered */
    int64_t made_ms;
    size_t n;
    struct fl_str *names; /* in order, each once; owned */
};

struct zone {
    struct fl_str name;
    size_t count;   /* of the service's tasks */
    size_t unbound; /* of these: not protected */
};

struct zone_list {
    struct zone *items;
    size_t n;
};

static struct fl_str zone_of(const struct fl_instance *instance)
{
    struct fl_str zone = FL_STR("");
    if (instance)
        (void)fl_instance_attribute(instance, FL_STR("ecs.availability-zone"), &zone);
    return zone;
}

static int by_text(const void *a, const void *b)
{
    return fl_str_cmp(*(const struct fl_str *)a, *(const struct fl_str *)b);
}

/* Sorts, and leaves each once. */
static size_t unique(struct fl_str *texts, size_t count)
{
    size_t n = 0;
    qsort(texts, count, sizeof(*texts), by_text);
    for (size_t i = 0; i < count; i++)
        if (n == 0 || !fl_str_eq(texts[i], texts[n - 1]))
            texts[n++] = texts[i];
    return n;
}

/* ---- a cluster's zones ---- */

static void drop_names(struct fl_zones *zones)
{
    for (size_t i = 0; i < zones->n; i++)
        free((char *)zones->names[i].p);
    free(zones->names);
    zones->names = NULL;
    zones->n = 0;
}

void fl_zones_free(struct fl_cluster *cluster)
{
    if (!cluster->zones)
        return;
    drop_names(cluster->zones);
    free(FL_TAKE_PTR(cluster->zones));
}

static void list_zones(struct fl_decision *d, struct fl_cluster *cluster)
{
    struct fl_zones *zones = cluster->zones;
    struct fl_instance *instance;
    struct fl_str *names;
    size_t n = 0;
    fl_index_settle(cluster);
    names = fl_arena_new_array(d->arena, struct fl_str, cluster->index->count);
    RB_FOREACH (instance, fl_instance_tree, &cluster->instances)
        if (instance->is_open)
            names[n++] = zone_of(instance);
    n = unique(names, n);
    drop_names(zones);
    zones->names = fl_calloc(n + 1, sizeof(*zones->names));
    for (size_t i = 0; i < n; i++)
        zones->names[i] = (struct fl_str){fl_strndup(names[i].p, names[i].n), names[i].n};
    zones->n = n;
    zones->seen = cluster->index->altered;
    zones->made_ms = d->now_ms;
}

static const struct fl_zones *zones_of(struct fl_decision *d, struct fl_cluster *cluster)
{
    bool is_new = !cluster->zones;
    if (is_new)
        cluster->zones = fl_calloc(1, sizeof(*cluster->zones));
    if (is_new ||
        (cluster->zones->seen != cluster->index->altered &&
         (cluster->zones->made_ms + ZONES_MS <= d->now_ms || cluster->zones->made_ms > d->now_ms)))
        list_zones(d, cluster);
    return cluster->zones;
}

/* ---- a service's zones ---- */

static struct zone *find_zone(const struct zone_list *list, struct fl_str name)
{
    size_t low = 0, high = list->n;
    while (low < high) {
        size_t middle = (low + high) / 2;
        int order = fl_str_cmp(list->items[middle].name, name);
        if (order == 0)
            return &list->items[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

/* The cluster's zones, and those that the service's tasks are in. */
static struct zone_list count_zones(struct fl_schedule *s)
{
    const struct fl_census *primary = &s->censuses[0];
    const struct fl_zones *zones = zones_of(s->d, s->service->cluster);
    struct fl_str *names =
        fl_arena_new_array(s->d->arena, struct fl_str, zones->n + primary->count);
    struct zone_list list = {0};
    for (size_t i = 0; i < zones->n; i++)
        names[i] = fl_str_dup(s->d->arena, zones->names[i]);
    for (size_t i = 0; i < primary->count; i++)
        names[zones->n + i] = zone_of(primary->members[i].task->instance);
    list.n = unique(names, zones->n + primary->count);
    list.items = fl_arena_new_array(s->d->arena, struct zone, list.n);
    for (size_t i = 0; i < list.n; i++)
        list.items[i].name = names[i];
    for (size_t i = 0; i < primary->count; i++) {
        struct zone *zone = find_zone(&list, zone_of(primary->members[i].task->instance));
        zone->count++;
        zone->unbound += !primary->members[i].is_protected;
    }
    return list;
}

/* Of those from which a task may be taken; NULL: none. */
static struct zone *fullest(const struct zone_list *list)
{
    struct zone *best = NULL;
    for (size_t i = 0; i < list->n; i++)
        if (list->items[i].unbound && (!best || list->items[i].count > best->count))
            best = &list->items[i];
    return best;
}

static bool is_even(const struct zone_list *list)
{
    size_t most = 0, least = SIZE_MAX;
    for (size_t i = 0; i < list->n; i++) {
        most = FL_MAX(most, list->items[i].count);
        least = FL_MIN(least, list->items[i].count);
    }
    return list->n < 2 || most - least <= 1;
}

/* ---- saying so ---- */

static void say_zones(struct fl_schedule *s, const struct zone_list *list, bool is_even_now)
{
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(2048);
    for (size_t i = 0; i < list->n; i++)
        fl_buf_printf(&text, "%s%zu tasks in %.*s", i ? ", " : "", list->items[i].count,
                      FL_STR_ARG(list->items[i].name));
    fl_service_say(s->d, s->service, "is %sAZ balanced with %.*s.%s", is_even_now ? "" : "not ",
                   FL_STR_ARG(fl_buf_str(&text)),
                   is_even_now ? "" : " AZ Rebalancing in progress.");
}

/* One event for every zone; the tasks of one are one after the other. */
static void say_by_zone(struct fl_schedule *s, struct fl_task *const *tasks, size_t count,
                        bool is_start)
{
    for (size_t first = 0, n; first < count; first += n) {
        FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(1024);
        struct fl_str zone = zone_of(tasks[first]->instance);
        for (n = 0; first + n < count && n < MAX_MOVES &&
                    fl_str_eq(zone_of(tasks[first + n]->instance), zone);
             n++)
            fl_buf_printf(&text, " (task %.*s)", FL_STR_ARG(tasks[first + n]->rec->id));
        fl_service_say(s->d, s->service,
                       is_start
                           ? "has started %zu tasks in %.*s to AZ Rebalance:%.*s."
                           : "has stopped %zu running tasks in %.*s due to AZ rebalancing:%.*s.",
                       n, FL_STR_ARG(zone), FL_STR_ARG(fl_buf_str(&text)));
    }
}

static int by_zone(const void *a, const void *b)
{
    return fl_str_cmp(zone_of((*(struct fl_task *const *)a)->instance),
                      zone_of((*(struct fl_task *const *)b)->instance));
}

static struct fl_task **sorted(struct fl_decision *d, struct fl_task *const *tasks, size_t n)
{
    struct fl_task **copy = fl_arena_new_array(d->arena, struct fl_task *, n);
    for (size_t i = 0; i < n; i++)
        copy[i] = tasks[i];
    qsort(copy, n, sizeof(struct fl_task *), by_zone);
    return copy;
}

bool fl_rebalance_stops(const struct fl_schedule *s)
{
    const struct rec_Service *rec = s->service->rec;
    return s->count == 1 && FL_HAS(rec, rec_Service, rebalancing) && rec->rebalancing == 0;
}

void fl_rebalance_say_stopped(struct fl_schedule *s, struct fl_task *const *tasks, size_t n)
{
    say_by_zone(s, sorted(s->d, tasks, n), n, false);
}

/* ---- steps ---- */

/* The entry is read anew: the record was replaced. */
static void put(struct fl_schedule *s, struct rec_Service *rec)
{
    fl_service_put(s->d, rec);
    for (size_t i = 0; i < s->count; i++)
        s->censuses[i].entry = fl_deployment_rec(s->censuses[i].deployment);
}

static void set_extra(struct fl_schedule *s, size_t extra)
{
    struct rec_Service *rec = fl_service_edit(s->d, s->service);
    FL_SET(rec, rec_Service, rebalancing, (int32_t)extra);
    if (extra)
        FL_SET(rec, rec_Service, rebalancedAt, s->d->now_ms);
    put(s, rec);
}

static void end(struct fl_schedule *s, bool is_done)
{
    struct rec_Service *rec = fl_service_edit(s->d, s->service);
    FL_UNSET(rec, rec_Service, rebalancing);
    rec->rebalancing = 0;
    if (is_done)
        FL_UNSET(rec, rec_Service, rebalancedAt);
    put(s, rec);
}

/* May its zones be evened out at all, now? */
static bool applies(const struct fl_schedule *s)
{
    const struct rec_Service *rec = s->service->rec;
    return rec->availabilityZoneRebalancing == ECS_AvailabilityZoneRebalancing_ENABLED &&
           fl_str_is(rec->status, "ACTIVE") && !s->service->is_daemon && s->count == 1 &&
           rec->deploymentController == ECS_DeploymentControllerType_ECS &&
           s->censuses[0].entry->rolloutState == ECS_DeploymentRolloutState_COMPLETED &&
           s->censuses[0].may_start;
}

static bool is_quiet(const struct fl_census *primary)
{
    return primary->count == primary->wanted &&
           primary->in_state[FL_MEMBER_HEALTHY] == primary->count;
}

/* Starts tasks where they make the zones more even; returns how many. */
static size_t move(struct fl_schedule *s, struct zone_list *list, struct fl_launch *launch)
{
    struct fl_task *started[MAX_MOVES];
    size_t n = 0, there = s->censuses[0].count;
    while (n < MAX_MOVES && there + n < s->ceiling) {
        struct zone *from = fullest(list), *to;
        struct fl_instance *instance =
            from ? fl_placement_choose(s->d, &launch->placement, s->service->cluster) : NULL;
        to = instance ? find_zone(list, zone_of(instance)) : NULL;
        if (!to || to->count + 1 >= from->count)
            break;
        if (n == 0 && !FL_HAS(s->service->rec, rec_Service, rebalancing))
            say_zones(s, list, false);
        started[n++] = fl_launch_on(s->d, launch, instance);
        to->count++;
        from->count--;
        from->unbound--;
    }
    s->started += n;
    say_by_zone(s, sorted(s->d, started, n), n, true);
    return n;
}

/* An instance that would take a task if it had room, in a zone that has too few; NULL: none. */
static const struct fl_instance *find_full(struct fl_schedule *s, const struct zone_list *list,
                                           const struct fl_launch *launch)
{
    struct fl_instance *at;
    size_t most = fullest(list) ? fullest(list)->count : 0;
    RB_FOREACH (at, fl_instance_tree, &s->service->cluster->instances) {
        const struct zone *zone = at->is_open ? find_zone(list, zone_of(at)) : NULL;
        if (zone && zone->count + 1 < most &&
            fl_placement_hindrance(&launch->placement, at).obstacle >= FL_OBSTACLE_DISTINCT)
            return at;
    }
    return NULL;
}

/* Is there a task that could be moved if a zone with fewer would take it? */
static bool has_surplus(const struct zone_list *list)
{
    const struct zone *from = fullest(list);
    for (size_t i = 0; i < list->n; i++)
        if (from && list->items[i].count + 1 < from->count)
            return true;
    return false;
}

/* Is it too early to try again, or to give up? A clock that was set back since makes nobody wait.
 */
static bool is_recent(struct fl_schedule *s)
{
    return fl_schedule_await_since(s, s->service->rec->rebalancedAt, AGAIN_MS);
}

/* Nothing could be moved. If that is for want of room, room wakes the service; if constraints keep
 * it out, nothing will be different before instances are. */
static void give_up(struct fl_schedule *s, const struct zone_list *list,
                    const struct fl_launch *launch)
{
    const struct fl_instance *full = find_full(s, list, launch);
    if (!full && has_surplus(list))
        s->service->uneven_seen = s->service->cluster->zones->seen;
    fl_service_set_waiting(s->service, full != NULL);
    if (full)
        fl_service_say_once(s->d, s->service,
                            "is unable to place a task in %.*s because no container instance met "
                            "all of its requirements.",
                            FL_STR_ARG(zone_of(full)));
}

/* The service is steady: are its zones even? */
static void look(struct fl_schedule *s)
{
    const struct rec_Service *rec = s->service->rec;
    bool is_moving = FL_HAS(rec, rec_Service, rebalancing);
    struct zone_list list = count_zones(s);
    struct fl_launch launch;
    size_t moved = 0;
    if (is_even(&list)) {
        if (is_moving) {
            say_zones(s, &list, true);
            end(s, true);
        }
        return;
    }
    if (!is_moving && FL_HAS(rec, rec_Service, rebalancedAt) && is_recent(s))
        return;
    if (s->service->uneven_seen != s->service->cluster->zones->seen &&
        fl_schedule_allowance(s, MAX_MOVES) == MAX_MOVES &&
        fl_schedule_launch(s, &s->censuses[0], &launch) == 0) {
        moved = move(s, &list, &launch);
        if (moved)
            set_extra(s, moved);
        else
            give_up(s, &list, &launch);
    }
    if (is_moving && !moved)
        end(s, false);
}

/* More are wanted until all of them are healthy; for ever they are not. */
static void wait_for_extra(struct fl_schedule *s)
{
    const struct rec_Service *rec = s->service->rec;
    struct fl_census *primary = &s->censuses[0];
    size_t desired = primary->wanted;
    primary->wanted += (size_t)rec->rebalancing;
    bool is_there = is_quiet(primary);
    if (!is_there && is_recent(s))
        return;
    if (is_there)
        set_extra(s, 0);
    else
        end(s, false);
    primary->wanted = desired;
}

void fl_schedule_rebalance(struct fl_schedule *s)
{
    const struct rec_Service *rec = s->service->rec;
    bool is_moving = FL_HAS(rec, rec_Service, rebalancing);
    if (s->count == 0 || !applies(s)) {
        if (is_moving && s->count)
            end(s, s->censuses[0].may_start); /* else what was started has failed */
    } else if (rec->rebalancing) {
        wait_for_extra(s);
    } else if (is_moving || rec->desiredCount > 1) {
        (void)fl_schedule_await(s, s->d->now_ms + LOOK_MS);
        if (is_quiet(&s->censuses[0]))
            look(s);
    }
}
