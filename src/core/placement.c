/* Placement: constraints and strategies checked, a view asked for the best instance, and words for
 * what keeps an instance from taking a task. */
#include "core/placement.h"

enum { MAX_SHOWN = 200 }; /* bytes of a text that is refused */

static int add_constraints(struct fl_decision *d, const struct ecs_TaskDefinition *def,
                           const struct ecs_PlacementConstraint_list *constraints,
                           struct fl_filter_spec *spec, bool *ret_distinct)
{
    if (def->placementConstraints.n + constraints->n > FL_MAX_CONSTRAINTS)
        return fl_refuse(d, "InvalidParameterException",
                         "Too many placement constraints: at most %d apply to a task, those of "
                         "its definition included.",
                         FL_MAX_CONSTRAINTS);
    for (size_t i = 0; i < def->placementConstraints.n; i++)
        spec->texts[spec->text_count++] = def->placementConstraints.items[i].expression;
    for (size_t i = 0; i < constraints->n; i++) {
        const struct ecs_PlacementConstraint *c = &constraints->items[i];
        if (!FL_HAS(c, ecs_PlacementConstraint, type))
            return fl_refuse(d, "InvalidParameterException",
                             "A placement constraint needs a type.");
        if (c->type == ECS_PlacementConstraintType_distinctInstance)
            *ret_distinct = true;
        else
            spec->texts[spec->text_count++] = c->expression;
    }
    return 0;
}

/* As long as an attribute's name may be, and no longer: views are kept by it. */
static bool is_attribute_field(struct fl_str field)
{
    enum { MAX_NAME = 128 };
    struct fl_str prefix = FL_STR("attribute:");
    return fl_str_starts(field, prefix) && field.n > prefix.n && field.n <= prefix.n + MAX_NAME;
}

static bool field_is_valid(const struct ecs_PlacementStrategy *s)
{
    switch (s->type) {
    case ECS_PlacementStrategyType_random:
        return true;
    case ECS_PlacementStrategyType_spread:
        return fl_is_instance_field(s->field) || is_attribute_field(s->field);
    case ECS_PlacementStrategyType_binpack:
        return fl_str_case_eq(s->field, FL_STR("cpu")) ||
               fl_str_case_eq(s->field, FL_STR("memory"));
    }
    return false;
}

static int check_strategies(struct fl_decision *d, const struct ecs_PlacementStrategy_list *list)
{
    if (list->n > FL_MAX_STRATEGIES)
        return fl_refuse(d, "InvalidParameterException",
                         "Too many placement strategies: at most %d.", FL_MAX_STRATEGIES);
    for (size_t i = 0; i < list->n; i++) {
        const struct ecs_PlacementStrategy *s = &list->items[i];
        if (!FL_HAS(s, ecs_PlacementStrategy, type))
            return fl_refuse(d, "InvalidParameterException", "A placement strategy needs a type.");
        if (!field_is_valid(s))
            return fl_refuse(d, "InvalidParameterException",
                             "'%.*s' is not a valid field for a placement strategy of type %s.",
                             FL_STR_ARG(fl_cut(s->field, MAX_SHOWN)),
                             fl_enum_text(&ecs_enum_PlacementStrategyType, (int)s->type));
    }
    return 0;
}

int fl_placement_prepare(struct fl_decision *d, struct fl_cluster *cluster,
                         const struct ecs_TaskDefinition *def,
                         const struct ecs_PlacementConstraint_list *constraints,
                         const struct ecs_PlacementStrategy_list *strategies,
                         struct fl_placement *ret_placement)
{
    struct fl_filter_spec spec = {.attributes = &def->requiresAttributes};
    bool distinct = false;
    if (add_constraints(d, def, constraints, &spec, &distinct) < 0)
        return -1;
    struct fl_filter *filter = fl_filter_get(d, cluster, &spec);
    if (!filter || check_strategies(d, strategies) < 0)
        return -1;
    *ret_placement = (struct fl_placement){
        .requirement.distinct = distinct, .filter = filter, .strategies = *strategies};
    return 0;
}

struct fl_instance *fl_placement_choose(struct fl_decision *d, struct fl_placement *placement,
                                        struct fl_cluster *cluster)
{
    struct fl_index *index = cluster->index;
    fl_index_settle(cluster);
    if (!placement->view || placement->view_epoch != index->epoch) {
        placement->view = fl_view_get(cluster, placement->filter, &placement->requirement,
                                      &placement->strategies);
        fl_view_tallies(cluster, placement->view, &placement->requirement, placement->tallies);
        placement->view_epoch = index->epoch;
    }
    return fl_view_choose(cluster, placement->view, placement->tallies, &d->rand);
}

static struct fl_hindrance check_resources(const struct fl_placement *placement,
                                           const struct fl_instance *instance)
{
    const struct fl_requirement *r = &placement->requirement;
    int64_t cpu = instance->rec->cpu - instance->cpu_used;
    int64_t memory = instance->rec->memory - instance->memory_used;
    if (cpu < r->cpu)
        return (struct fl_hindrance){.obstacle = FL_OBSTACLE_CPU, .lacks = r->cpu - cpu};
    if (memory < r->memory)
        return (struct fl_hindrance){.obstacle = FL_OBSTACLE_MEMORY, .lacks = r->memory - memory};
    for (size_t i = 0; i < r->ports.n; i++)
        if (fl_load_has_port(instance, r->ports.items[i]))
            return (struct fl_hindrance){.obstacle = FL_OBSTACLE_PORTS,
                                         .lacks = r->ports.items[i] / 2};
    if (instance->gpus_free < r->gpus)
        return (struct fl_hindrance){.obstacle = FL_OBSTACLE_GPU,
                                     .lacks = r->gpus - instance->gpus_free};
    return (struct fl_hindrance){.obstacle = FL_OBSTACLE_NONE};
}

/* The group's tasks there, without those that are being stopped. */
static uint32_t group_here(const struct fl_instance *instance, struct fl_str group)
{
    for (uint32_t i = 0; i < instance->group_count; i++)
        if (!instance->groups[i].group->is_part &&
            fl_str_eq(instance->groups[i].group->name, group))
            return instance->groups[i].count;
    return 0;
}

struct fl_hindrance fl_placement_hindrance(const struct fl_placement *placement,
                                           const struct fl_instance *instance)
{
    const struct fl_requirement *r = &placement->requirement;
    const struct fl_filter *filter = placement->filter;
    if (!fl_str_is(instance->rec->status, "ACTIVE"))
        return (struct fl_hindrance){.obstacle = FL_OBSTACLE_INACTIVE};
    if (!instance->connected)
        return (struct fl_hindrance){.obstacle = FL_OBSTACLE_AGENT};
    struct fl_str ailment;
    if (fl_state_is_impaired(instance, &ailment))
        return (struct fl_hindrance){.obstacle = FL_OBSTACLE_IMPAIRED, .what = ailment};
    const struct ecs_Attribute *missing = fl_filter_lacks(filter, instance);
    if (missing)
        return (struct fl_hindrance){.obstacle = FL_OBSTACLE_ATTRIBUTE, .what = missing->name};
    int failed = fl_filter_fails(filter, instance);
    if (failed >= 0)
        return (struct fl_hindrance){.obstacle = FL_OBSTACLE_MEMBER_OF,
                                     .what = filter->texts[failed]};
    if (r->distinct && group_here(instance, r->group) > 0)
        return (struct fl_hindrance){.obstacle = FL_OBSTACLE_DISTINCT};
    return check_resources(placement, instance);
}

const char *fl_placement_reason(enum fl_obstacle obstacle)
{
    static const char *const reasons[] = {
        [FL_OBSTACLE_NONE] = "",
        [FL_OBSTACLE_INACTIVE] = "INACTIVE",
        [FL_OBSTACLE_AGENT] = "AGENT",
        [FL_OBSTACLE_IMPAIRED] = "AGENT",
        [FL_OBSTACLE_ATTRIBUTE] = "ATTRIBUTE",
        [FL_OBSTACLE_MEMBER_OF] = "MemberOf placement constraint unsatisfied.",
        [FL_OBSTACLE_DISTINCT] = "DistinctInstance placement constraint unsatisfied.",
        [FL_OBSTACLE_CPU] = "RESOURCE:CPU",
        [FL_OBSTACLE_MEMORY] = "RESOURCE:MEMORY",
        [FL_OBSTACLE_PORTS] = "RESOURCE:PORTS",
        [FL_OBSTACLE_GPU] = "RESOURCE:GPU",
    };
    return reasons[obstacle];
}

struct fl_supply fl_placement_supply(const struct fl_placement *placement,
                                     const struct fl_instance *at, enum fl_obstacle obstacle)
{
    const struct fl_requirement *r = &placement->requirement;
    const struct rec_Instance *rec = at->rec;
    switch (obstacle) {
    case FL_OBSTACLE_CPU:
        return (struct fl_supply){"CPU units", rec->cpu, rec->cpu - at->cpu_used, r->cpu};
    case FL_OBSTACLE_MEMORY:
        return (struct fl_supply){"MiB", rec->memory, rec->memory - at->memory_used, r->memory};
    case FL_OBSTACLE_GPU:
        return (struct fl_supply){"GPUs", (int64_t)rec->gpus.n, at->gpus_free, r->gpus};
    case FL_OBSTACLE_NONE:
    case FL_OBSTACLE_INACTIVE:
    case FL_OBSTACLE_AGENT:
    case FL_OBSTACLE_IMPAIRED:
    case FL_OBSTACLE_ATTRIBUTE:
    case FL_OBSTACLE_MEMBER_OF:
    case FL_OBSTACLE_DISTINCT:
    case FL_OBSTACLE_PORTS:
        break;
    }
    return (struct fl_supply){0};
}

/* What is missing, where it is more than the reason says. */
static struct fl_str detail(struct fl_decision *d, const struct fl_placement *placement,
                            const struct fl_instance *instance, struct fl_hindrance h)
{
    struct fl_supply s = fl_placement_supply(placement, instance, h.obstacle);
    if (s.unit)
        return fl_str_printf(d->arena, "%lld %s are needed, %lld of %lld are free",
                             (long long)s.wanted, s.unit, (long long)s.left, (long long)s.all);
    if (h.obstacle == FL_OBSTACLE_PORTS)
        return fl_str_printf(d->arena, "host port %lld is taken", (long long)h.lacks);
    if (h.obstacle == FL_OBSTACLE_INACTIVE)
        return fl_str_printf(d->arena, "the instance is %.*s", FL_STR_ARG(instance->rec->status));
    return h.what.n ? fl_str_dup(d->arena, h.what) : FL_STR("");
}

void fl_placement_fail(struct fl_decision *d, const struct fl_placement *placement,
                       const struct fl_instance *instance, struct fl_hindrance hindrance,
                       struct ecs_Failure *ret_failure)
{
    struct fl_str text = detail(d, placement, instance, hindrance);
    bool is_ecs = hindrance.obstacle == FL_OBSTACLE_ATTRIBUTE;
    FL_SET(ret_failure, ecs_Failure, arn, fl_instance_arn(d, instance->rec));
    FL_SET(ret_failure, ecs_Failure, reason, fl_str_of(fl_placement_reason(hindrance.obstacle)));
    if (text.n && (is_ecs || !d->core->strict))
        FL_SET(ret_failure, ecs_Failure, detail, text);
}

void fl_placement_explain(struct fl_decision *d, const struct fl_placement *placement,
                          struct fl_cluster *cluster, struct ecs_Failure_list *failures)
{
    struct fl_instance *at;
    failures->items = fl_arena_new_array(d->arena, struct ecs_Failure, FL_MAX_FAILURES);
    RB_FOREACH (at, fl_instance_tree, &cluster->instances) {
        struct fl_hindrance h = fl_placement_hindrance(placement, at);
        if (h.obstacle == FL_OBSTACLE_NONE || h.obstacle == FL_OBSTACLE_INACTIVE)
            continue;
        if (failures->n == FL_MAX_FAILURES)
            break;
        fl_placement_fail(d, placement, at, h, &failures->items[failures->n++]);
    }
}
