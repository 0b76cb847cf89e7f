/* Placement by a plain scan that counts everything from the tasks' records each time: the oracle of
 * the tests, and what the benchmark measures views against. Not for production. */
#pragma once

#include "core/placement.h"

enum { NAIVE_MAX_VALUES = 64 };

struct naive_counts { /* of one attribute to spread over */
    struct fl_str values[NAIVE_MAX_VALUES];
    int64_t counts[NAIVE_MAX_VALUES];
    size_t n;
};

struct naive {
    const struct fl_cluster *cluster;
    const struct fl_placement *placement;
    struct naive_counts spread[FL_MAX_STRATEGIES];
    struct fl_instance **ties;
    size_t tie_count;
    bool any_tie; /* do not bother with the order of ties */
};

static inline bool naive_has_port(const struct fl_int_list *ports, int32_t port)
{
    for (size_t i = 0; i < ports->n; i++)
        if (ports->items[i] == port)
            return true;
    return false;
}

static inline bool naive_port_taken(const struct fl_instance *instance, int32_t port)
{
    struct fl_task *task;
    if (naive_has_port(&instance->rec->ports, port))
        return true;
    RB_FOREACH (task, fl_held_tree, (struct fl_held_tree *)&instance->tasks)
        if (naive_has_port(&task->rec->ports, port))
            return true;
    return false;
}

static inline int64_t naive_group_count(const struct fl_instance *instance, struct fl_str group)
{
    struct fl_task *task;
    int64_t count = 0;
    RB_FOREACH (task, fl_held_tree, (struct fl_held_tree *)&instance->tasks)
        count += task->rec->desired != REC_TaskStatus_STOPPED && fl_str_eq(task->rec->group, group);
    return count;
}

static inline int64_t naive_free(const struct fl_instance *instance, bool cpu)
{
    struct fl_task *task;
    int64_t left = cpu ? instance->rec->cpu : instance->rec->memory;
    RB_FOREACH (task, fl_held_tree, (struct fl_held_tree *)&instance->tasks)
        left -= cpu ? task->rec->cpu : task->rec->memory;
    return left;
}

static inline bool naive_gpu_taken(const struct fl_instance *instance, struct fl_str id)
{
    struct fl_task *task;
    RB_FOREACH (task, fl_held_tree, (struct fl_held_tree *)&instance->tasks)
        for (size_t i = 0; i < task->rec->containers.n; i++)
            for (size_t k = 0; k < task->rec->containers.items[i].gpuIds.n; k++)
                if (fl_str_eq(task->rec->containers.items[i].gpuIds.items[k], id))
                    return true;
    return false;
}

static inline int64_t naive_gpus(const struct fl_instance *instance)
{
    int64_t count = 0;
    for (size_t i = 0; i < instance->rec->gpus.n; i++)
        count += !naive_gpu_taken(instance, instance->rec->gpus.items[i]);
    return count;
}

static inline enum fl_obstacle naive_obstacle(const struct fl_placement *placement,
                                              const struct fl_instance *instance)
{
    const struct fl_requirement *r = &placement->requirement;
    if (!fl_str_is(instance->rec->status, "ACTIVE"))
        return FL_OBSTACLE_INACTIVE;
    if (!instance->connected)
        return FL_OBSTACLE_AGENT;
    struct fl_str ailment;
    if (fl_state_is_impaired(instance, &ailment))
        return FL_OBSTACLE_IMPAIRED;
    if (fl_filter_lacks(placement->filter, instance))
        return FL_OBSTACLE_ATTRIBUTE;
    if (fl_filter_fails(placement->filter, instance) >= 0)
        return FL_OBSTACLE_MEMBER_OF;
    if (r->distinct && naive_group_count(instance, r->group) > 0)
        return FL_OBSTACLE_DISTINCT;
    if (naive_free(instance, true) < r->cpu)
        return FL_OBSTACLE_CPU;
    if (naive_free(instance, false) < r->memory)
        return FL_OBSTACLE_MEMORY;
    for (size_t i = 0; i < r->ports.n; i++)
        if (naive_port_taken(instance, r->ports.items[i]))
            return FL_OBSTACLE_PORTS;
    if (naive_gpus(instance) < (int64_t)r->gpus)
        return FL_OBSTACLE_GPU;
    return FL_OBSTACLE_NONE;
}

static inline struct fl_str naive_level(const struct ecs_PlacementStrategy *s)
{
    return fl_str_from(s->field, strlen("attribute:"));
}

static inline bool naive_is_level(const struct ecs_PlacementStrategy *s)
{
    return s->type == ECS_PlacementStrategyType_spread && !fl_is_instance_field(s->field);
}

static inline int64_t *naive_count_of(struct naive_counts *counts, struct fl_str value)
{
    for (size_t i = 0; i < counts->n; i++)
        if (fl_str_eq(counts->values[i], value))
            return &counts->counts[i];
    FL_ASSERT(counts->n < NAIVE_MAX_VALUES);
    counts->values[counts->n] = value;
    return &counts->counts[counts->n++];
}

static inline void naive_count_values(struct naive *n)
{
    const struct ecs_PlacementStrategy_list *list = &n->placement->strategies;
    struct fl_instance *at;
    struct fl_str value;
    for (size_t i = 0; i < list->n; i++) {
        n->spread[i].n = 0;
        memset(n->spread[i].counts, 0, sizeof(n->spread[i].counts));
        if (!naive_is_level(&list->items[i]))
            continue;
        RB_FOREACH (at, fl_instance_tree, (struct fl_instance_tree *)&n->cluster->instances)
            if (fl_instance_attribute(at, naive_level(&list->items[i]), &value))
                *naive_count_of(&n->spread[i], value) +=
                    naive_group_count(at, n->placement->requirement.group);
    }
}

static inline int64_t naive_score(struct naive *n, size_t strategy, struct fl_instance *instance)
{
    const struct ecs_PlacementStrategy *s = &n->placement->strategies.items[strategy];
    struct fl_str value;
    switch (s->type) {
    case ECS_PlacementStrategyType_random:
        return 0;
    case ECS_PlacementStrategyType_binpack:
        return naive_free(instance, fl_str_case_eq(s->field, FL_STR("cpu")));
    case ECS_PlacementStrategyType_spread:
        break;
    }
    if (!naive_is_level(s))
        return naive_group_count(instance, n->placement->requirement.group);
    if (!fl_instance_attribute(instance, naive_level(s), &value))
        return INT64_MAX;
    return *naive_count_of(&n->spread[strategy], value);
}

static inline int naive_seat_order(const struct fl_instance *a, const struct fl_instance *b)
{
    if (a->rec->registeredAt != b->rec->registeredAt)
        return a->rec->registeredAt < b->rec->registeredAt ? -1 : 1;
    return fl_str_cmp(a->rec->id, b->rec->id);
}

/* How many strategies decide: what is behind `random` does not. */
static inline size_t naive_strategies(const struct naive *n)
{
    const struct ecs_PlacementStrategy_list *list = &n->placement->strategies;
    size_t count = 0;
    while (count < list->n && list->items[count].type != ECS_PlacementStrategyType_random)
        count++;
    return count;
}

static inline bool naive_same_values(const struct naive *n, const struct fl_instance *a,
                                     const struct fl_instance *b)
{
    for (size_t i = 0; i < naive_strategies(n); i++) {
        const struct ecs_PlacementStrategy *s = &n->placement->strategies.items[i];
        struct fl_str x = {0}, y = {0};
        if (!naive_is_level(s))
            continue;
        if (fl_instance_attribute(a, naive_level(s), &x) !=
                fl_instance_attribute(b, naive_level(s), &y) ||
            !fl_str_eq(x, y))
            return false;
    }
    return true;
}

static inline const struct fl_instance *naive_first_like(const struct naive *n,
                                                         const struct fl_instance *instance)
{
    const struct fl_instance *first = instance;
    struct fl_instance *at;
    RB_FOREACH (at, fl_instance_tree, (struct fl_instance_tree *)&n->cluster->instances)
        if (naive_same_values(n, at, instance) && naive_seat_order(at, first) < 0)
            first = at;
    return first;
}

/* Those with the same values to spread over together, by the first of all that have them. */
static inline void naive_sort_ties(struct naive *n)
{
    for (size_t i = 1; i < n->tie_count; i++) {
        for (size_t k = i; k > 0; k--) {
            struct fl_instance *a = n->ties[k - 1], *b = n->ties[k];
            int order = naive_seat_order(naive_first_like(n, a), naive_first_like(n, b));
            if (order < 0 || (order == 0 && naive_seat_order(a, b) < 0))
                break;
            n->ties[k - 1] = b;
            n->ties[k] = a;
        }
    }
}

static inline struct fl_instance *naive_choose(struct naive *n, struct fl_rand *rand)
{
    size_t strategies = naive_strategies(n);
    int64_t best[FL_MAX_STRATEGIES] = {0};
    struct fl_instance *at;
    naive_count_values(n);
    n->tie_count = 0;
    RB_FOREACH (at, fl_instance_tree, (struct fl_instance_tree *)&n->cluster->instances) {
        if (naive_obstacle(n->placement, at) != FL_OBSTACLE_NONE)
            continue;
        int64_t scores[FL_MAX_STRATEGIES] = {0};
        int order = n->tie_count ? 0 : -1;
        for (size_t i = 0; i < strategies; i++) {
            scores[i] = naive_score(n, i, at);
            if (order == 0 && scores[i] != best[i])
                order = scores[i] < best[i] ? -1 : 1;
        }
        if (order > 0)
            continue;
        if (order < 0)
            n->tie_count = 0;
        memcpy(best, scores, sizeof(best));
        n->ties[n->tie_count++] = at;
    }
    if (n->tie_count == 0)
        return NULL;
    if (!n->any_tie)
        naive_sort_ties(n);
    return n->ties[n->tie_count > 1 ? fl_rand_below(rand, n->tie_count) : 0];
}
