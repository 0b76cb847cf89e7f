/* A plain scan: filter by resources, attributes and constraints, then order by the strategies, the
 * first of them strongest, ties broken by the event's random stream. */
#include "core/placement.h"

static int add_member(struct fl_decision *d, struct fl_placement *placement, struct fl_str text)
{
    struct fl_expression *expression = fl_expression_compile(d, text);
    if (!expression)
        return -1;
    placement->members[placement->member_count++] = expression;
    return 0;
}

static int add_constraints(struct fl_decision *d, const struct ecs_TaskDefinition *def,
                           const struct ecs_PlacementConstraint_list *constraints,
                           struct fl_placement *placement)
{
    if (def->placementConstraints.n + constraints->n > FL_MAX_CONSTRAINTS)
        return fl_refuse(d, "InvalidParameterException",
                         "Too many placement constraints: at most %d apply to a task, those of "
                         "its definition included.",
                         FL_MAX_CONSTRAINTS);
    for (size_t i = 0; i < def->placementConstraints.n; i++)
        if (add_member(d, placement, def->placementConstraints.items[i].expression) < 0)
            return -1;
    for (size_t i = 0; i < constraints->n; i++) {
        const struct ecs_PlacementConstraint *c = &constraints->items[i];
        if (!FL_HAS(c, ecs_PlacementConstraint, type))
            return fl_refuse(d, "InvalidParameterException",
                             "A placement constraint needs a type.");
        if (c->type == ECS_PlacementConstraintType_distinctInstance)
            placement->distinct_instance = true;
        else if (add_member(d, placement, c->expression) < 0)
            return -1;
    }
    return 0;
}

static bool is_instance_field(struct fl_str field)
{
    return fl_str_is(field, "instanceId") || fl_str_is(field, "host");
}

static bool field_is_valid(const struct ecs_PlacementStrategy *s)
{
    switch (s->type) {
    case ECS_PlacementStrategyType_random:
        return true;
    case ECS_PlacementStrategyType_spread:
        return is_instance_field(s->field) ||
               (fl_str_starts(s->field, FL_STR("attribute:")) && s->field.n > 10);
    case ECS_PlacementStrategyType_binpack:
        return fl_str_case_eq(s->field, FL_STR("cpu")) ||
               fl_str_case_eq(s->field, FL_STR("memory"));
    }
    return false;
}

int fl_placement_prepare(struct fl_decision *d, const struct ecs_TaskDefinition *def,
                         const struct ecs_PlacementConstraint_list *constraints,
                         const struct ecs_PlacementStrategy_list *strategies,
                         struct fl_placement *ret_placement)
{
    if (add_constraints(d, def, constraints, ret_placement) < 0)
        return -1;
    if (strategies->n > FL_MAX_STRATEGIES)
        return fl_refuse(d, "InvalidParameterException",
                         "Too many placement strategies: at most %d.", FL_MAX_STRATEGIES);
    for (size_t i = 0; i < strategies->n; i++) {
        const struct ecs_PlacementStrategy *s = &strategies->items[i];
        if (!FL_HAS(s, ecs_PlacementStrategy, type))
            return fl_refuse(d, "InvalidParameterException", "A placement strategy needs a type.");
        if (!field_is_valid(s))
            return fl_refuse(d, "InvalidParameterException",
                             "'%.*s' is not a valid field for a placement strategy of type %s.",
                             FL_STR_ARG(s->field),
                             fl_enum_text(&ecs_enum_PlacementStrategyType, (int)s->type));
    }
    ret_placement->strategies = *strategies;
    ret_placement->requirement.attributes = def->requiresAttributes;
    return 0;
}

static bool has_port(const struct fl_int_list *ports, int32_t port)
{
    for (size_t i = 0; i < ports->n; i++)
        if (ports->items[i] == port)
            return true;
    return false;
}

static bool ports_are_free(const struct fl_int_list *wanted, const struct fl_instance *instance)
{
    struct fl_task *task;
    for (size_t i = 0; i < wanted->n; i++) {
        if (has_port(&instance->rec->ports, wanted->items[i]))
            return false;
        RB_FOREACH (task, fl_held_tree, (struct fl_held_tree *)&instance->tasks)
            if (has_port(&task->rec->ports, wanted->items[i]))
                return false;
    }
    return true;
}

/* The group's tasks there, without those that are being stopped. */
static size_t group_count(const struct fl_instance *instance, struct fl_str group)
{
    struct fl_task *task;
    size_t count = 0;
    RB_FOREACH (task, fl_held_tree, (struct fl_held_tree *)&instance->tasks)
        count += task->rec->desired != REC_TaskStatus_STOPPED && fl_str_eq(task->rec->group, group);
    return count;
}

static const char *attribute_reason(const struct ecs_Attribute_list *required,
                                    const struct fl_instance *instance, struct fl_str *ret_detail)
{
    for (size_t i = 0; i < required->n; i++) {
        const struct ecs_Attribute *attribute = &required->items[i];
        struct fl_str value;
        if (fl_instance_attribute(instance, attribute->name, &value) &&
            (attribute->value.n == 0 || fl_str_eq(value, attribute->value)))
            continue;
        *ret_detail = attribute->name;
        return "ATTRIBUTE";
    }
    return NULL;
}

const char *fl_placement_reason(const struct fl_placement *placement,
                                const struct fl_instance *instance, struct fl_str *ret_detail)
{
    const struct fl_requirement *r = &placement->requirement;
    const struct rec_Instance *rec = instance->rec;
    *ret_detail = FL_STR("");
    if (!instance->connected)
        return "AGENT";
    const char *reason = attribute_reason(&r->attributes, instance, ret_detail);
    if (reason)
        return reason;
    for (size_t i = 0; i < placement->member_count; i++)
        if (!fl_expression_matches(placement->members[i], instance))
            return "MemberOf placement constraint unsatisfied.";
    if (placement->distinct_instance && group_count(instance, r->group) > 0)
        return "DistinctInstance placement constraint unsatisfied.";
    if (rec->cpu - instance->cpu_used < r->cpu)
        return "RESOURCE:CPU";
    if (rec->memory - instance->memory_used < r->memory)
        return "RESOURCE:MEMORY";
    if (!ports_are_free(&r->ports, instance))
        return "RESOURCE:PORTS";
    return NULL;
}

static bool is_candidate(const struct fl_instance *instance)
{
    return fl_str_is(instance->rec->status, "ACTIVE");
}

/* How many of the group's tasks are where this instance's value of the field is. */
static int64_t spread_score(const struct fl_cluster *cluster, const struct fl_instance *instance,
                            struct fl_str field, struct fl_str group)
{
    struct fl_str name = fl_str_from(field, strlen("attribute:"));
    struct fl_str mine, other;
    struct fl_instance *at;
    int64_t count = 0;
    if (is_instance_field(field))
        return (int64_t)group_count(instance, group);
    if (!fl_instance_attribute(instance, name, &mine))
        return INT64_MAX;
    RB_FOREACH (at, fl_instance_tree, (struct fl_instance_tree *)&cluster->instances)
        if (fl_instance_attribute(at, name, &other) && fl_str_eq(mine, other))
            count += (int64_t)group_count(at, group);
    return count;
}

/* Lower is better. */
static int64_t score(struct fl_decision *d, const struct ecs_PlacementStrategy *s,
                     const struct fl_placement *placement, const struct fl_cluster *cluster,
                     const struct fl_instance *instance)
{
    switch (s->type) {
    case ECS_PlacementStrategyType_random:
        return (int64_t)(fl_rand_u64(&d->rand) >> 1);
    case ECS_PlacementStrategyType_spread:
        return spread_score(cluster, instance, s->field, placement->requirement.group);
    case ECS_PlacementStrategyType_binpack:
        return fl_str_case_eq(s->field, FL_STR("cpu"))
                   ? instance->rec->cpu - instance->cpu_used
                   : instance->rec->memory - instance->memory_used;
    }
    return 0;
}

struct candidate {
    struct fl_instance *instance;
    int64_t scores[FL_MAX_STRATEGIES + 1];
};

static bool is_better(const struct candidate *a, const struct candidate *b, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (a->scores[i] != b->scores[i])
            return a->scores[i] < b->scores[i];
    return false;
}

struct fl_instance *fl_placement_choose(struct fl_decision *d, const struct fl_placement *placement,
                                        const struct fl_cluster *cluster)
{
    size_t count = placement->strategies.n;
    struct candidate best = {0};
    struct fl_instance *at;
    struct fl_str detail;
    RB_FOREACH (at, fl_instance_tree, (struct fl_instance_tree *)&cluster->instances) {
        if (!is_candidate(at) || fl_placement_reason(placement, at, &detail))
            continue;
        struct candidate candidate = {.instance = at};
        for (size_t i = 0; i < count; i++)
            candidate.scores[i] = score(d, &placement->strategies.items[i], placement, cluster, at);
        candidate.scores[count] = (int64_t)(fl_rand_u64(&d->rand) >> 1);
        if (!best.instance || is_better(&candidate, &best, count + 1))
            best = candidate;
    }
    return best.instance;
}

void fl_placement_explain(struct fl_decision *d, const struct fl_placement *placement,
                          const struct fl_cluster *cluster, struct ecs_Failure_list *failures)
{
    struct fl_instance *at;
    struct fl_str detail;
    failures->items = fl_arena_new_array(d->arena, struct ecs_Failure, FL_MAX_FAILURES);
    RB_FOREACH (at, fl_instance_tree, (struct fl_instance_tree *)&cluster->instances) {
        if (!is_candidate(at) || failures->n == FL_MAX_FAILURES)
            continue;
        const char *reason = fl_placement_reason(placement, at, &detail);
        if (!reason)
            continue;
        struct ecs_Failure *failure = &failures->items[failures->n++];
        FL_SET(failure, ecs_Failure, arn, fl_instance_arn(d, at->rec));
        FL_SET(failure, ecs_Failure, reason, fl_str_of(reason));
        if (detail.n)
            FL_SET(failure, ecs_Failure, detail, detail);
    }
}
