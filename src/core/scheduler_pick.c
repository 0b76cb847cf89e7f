/* Picking tasks to stop: a table of the instances that the service's tasks are on, and for every
 * rule what it counts there. */
#include "core/scheduler_pick.h"

#include <stdlib.h>

/* The strategies, and what breaks their ties. */
enum { MAX_RULES = FL_MAX_STRATEGIES + 1 };

enum rule_kind { SPREAD, FREE_CPU, FREE_MEMORY };

struct rule {
    enum rule_kind kind;
    struct fl_str attribute; /* SPREAD: over its values; empty: over instances */
    size_t *counts;          /* SPREAD: tasks by number of the value */
};

/* An instance, with what the rules know of it. */
struct place {
    const struct fl_instance *instance;
    size_t values[MAX_RULES]; /* numbers */
    int64_t cpu_gone;         /* of tasks that were picked */
    int64_t memory_gone;
};

struct candidate {
    struct fl_member *member;
    struct place *place;
};

struct fl_picker {
    struct fl_decision *d;
    struct rule rules[MAX_RULES];
    size_t rule_count;
    struct place *places; /* by address of the instance: to be found, not to be chosen by */
    size_t place_count;
    struct candidate *candidates;
    size_t candidate_count;
};

static bool is_kept(const struct fl_member *member)
{
    return member->state != FL_MEMBER_GOING && member->state != FL_MEMBER_LOST;
}

static int by_instance(const void *a, const void *b)
{
    const struct place *x = a, *y = b;
    return x->instance < y->instance ? -1 : x->instance > y->instance;
}

static void make_places(struct fl_picker *p, const struct fl_schedule *s)
{
    size_t all = 0, n = 0;
    for (size_t i = 0; i < s->count; i++)
        all += s->censuses[i].count;
    p->places = fl_arena_new_array(s->d->arena, struct place, all);
    for (size_t i = 0; i < s->count; i++)
        for (size_t k = 0; k < s->censuses[i].count; k++)
            p->places[n++].instance = s->censuses[i].members[k].task->instance;
    qsort(p->places, n, sizeof(*p->places), by_instance);
    for (size_t i = 0; i < n; i++)
        if (i == 0 || p->places[i].instance != p->places[i - 1].instance)
            p->places[p->place_count++] = p->places[i];
}

static struct place *place_of(const struct fl_picker *p, const struct fl_member *member)
{
    struct place probe = {.instance = member->task->instance};
    struct place *place =
        bsearch(&probe, p->places, p->place_count, sizeof(*p->places), by_instance);
    FL_ASSERT(place);
    return place;
}

static struct fl_str value_of(const struct fl_instance *instance, struct fl_str attribute)
{
    struct fl_str value = FL_STR("");
    if (instance)
        (void)fl_instance_attribute(instance, attribute, &value);
    return value;
}

struct named {
    struct fl_str value;
    struct place *place;
};

static int by_value(const void *a, const void *b)
{
    return fl_str_cmp(((const struct named *)a)->value, ((const struct named *)b)->value);
}

/* Equal values get the same number. */
static void number_values(struct fl_picker *p, size_t rule)
{
    struct fl_str attribute = p->rules[rule].attribute;
    struct named *names = fl_arena_new_array(p->d->arena, struct named, p->place_count);
    for (size_t i = 0; i < p->place_count; i++)
        names[i] = (struct named){value_of(p->places[i].instance, attribute), &p->places[i]};
    qsort(names, p->place_count, sizeof(*names), by_value);
    for (size_t i = 0, number = 0; i < p->place_count; i++) {
        number += i > 0 && !fl_str_eq(names[i].value, names[i - 1].value);
        names[i].place->values[rule] = number;
    }
}

static void add_rule(struct fl_picker *p, enum rule_kind kind, struct fl_str attribute)
{
    size_t at = p->rule_count++;
    p->rules[at] = (struct rule){.kind = kind, .attribute = attribute};
    if (kind != SPREAD)
        return;
    p->rules[at].counts = fl_arena_new_array(p->d->arena, size_t, p->place_count);
    if (attribute.n)
        number_values(p, at);
    else
        for (size_t i = 0; i < p->place_count; i++)
            p->places[i].values[at] = i;
}

static void add_spread(struct fl_picker *p, struct fl_str field)
{
    bool is_instance = fl_is_instance_field(field);
    add_rule(p, SPREAD, is_instance ? FL_STR("") : fl_str_from(field, strlen("attribute:")));
}

static void make_rules(struct fl_picker *p, const struct ecs_PlacementStrategy_list *list)
{
    if (list->n == 0)
        add_rule(p, SPREAD, FL_STR("ecs.availability-zone"));
    for (size_t i = 0; i < list->n && i < FL_MAX_STRATEGIES; i++) {
        const struct ecs_PlacementStrategy *s = &list->items[i];
        switch (s->type) {
        case ECS_PlacementStrategyType_random:
            return;
        case ECS_PlacementStrategyType_binpack:
            add_rule(p, fl_str_case_eq(s->field, FL_STR("cpu")) ? FREE_CPU : FREE_MEMORY,
                     FL_STR(""));
            break;
        case ECS_PlacementStrategyType_spread:
            add_spread(p, s->field);
            break;
        }
    }
    add_rule(p, SPREAD, FL_STR(""));
}

static void count(struct fl_picker *p, const struct place *place, int sign)
{
    for (size_t i = 0; i < p->rule_count; i++)
        if (p->rules[i].kind == SPREAD)
            p->rules[i].counts[place->values[i]] += (size_t)sign;
}

struct fl_picker *fl_picker_new(struct fl_schedule *s)
{
    struct fl_picker *p = fl_arena_new_object(s->d->arena, struct fl_picker);
    p->d = s->d;
    make_places(p, s);
    make_rules(p, &s->service->rec->placementStrategy);
    for (size_t i = 0; i < s->count; i++)
        for (size_t k = 0; k < s->censuses[i].count; k++)
            if (is_kept(&s->censuses[i].members[k]))
                count(p, place_of(p, &s->censuses[i].members[k]), 1);
    return p;
}

void fl_picker_offer(struct fl_picker *p, struct fl_member *const *members, size_t n)
{
    p->candidates = fl_arena_new_array(p->d->arena, struct candidate, n);
    p->candidate_count = n;
    for (size_t i = 0; i < n; i++)
        p->candidates[i] = (struct candidate){members[i], place_of(p, members[i])};
}

/* The higher, the sooner it goes. */
static int64_t weigh(const struct fl_picker *p, size_t rule, const struct candidate *c)
{
    const struct fl_instance *instance = c->place->instance;
    const struct rec_Task *rec = c->member->task->rec;
    switch (p->rules[rule].kind) {
    case SPREAD:
        return (int64_t)p->rules[rule].counts[c->place->values[rule]];
    case FREE_CPU:
        return instance ? instance->cpu - instance->cpu_used + c->place->cpu_gone + rec->cpu : 0;
    case FREE_MEMORY:
        return instance
                   ? instance->memory - instance->memory_used + c->place->memory_gone + rec->memory
                   : 0;
    }
    return 0;
}

static int64_t compare(const struct fl_picker *p, const struct candidate *a,
                       const struct candidate *b)
{
    for (size_t i = 0; i < p->rule_count; i++) {
        int64_t more = weigh(p, i, a) - weigh(p, i, b);
        if (more)
            return more;
    }
    return 0;
}

struct fl_member *fl_picker_next(struct fl_picker *p)
{
    size_t best = 0, equal = 1;
    if (p->candidate_count == 0)
        return NULL;
    for (size_t i = 1; i < p->candidate_count; i++) {
        int64_t more = compare(p, &p->candidates[i], &p->candidates[best]);
        equal = more > 0 ? 1 : equal + (more == 0);
        if (more > 0 || (more == 0 && fl_rand_below(&p->d->rand, equal) == 0))
            best = i;
    }
    struct candidate picked = p->candidates[best];
    p->candidates[best] = p->candidates[--p->candidate_count];
    picked.place->cpu_gone += picked.member->task->rec->cpu;
    picked.place->memory_gone += picked.member->task->rec->memory;
    count(p, picked.place, -1);
    return picked.member;
}
