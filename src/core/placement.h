/* Placement: (a cluster, a requirement, constraints, strategies) → an instance, or why none.
 * Private to core. */
#pragma once

#include "core/decide.h"
#include "core/expression.h"

enum { FL_MAX_CONSTRAINTS = 10, FL_MAX_STRATEGIES = 5, FL_MAX_FAILURES = 100 };

/* What a task asks of an instance. */
struct fl_requirement {
    int64_t cpu;
    int64_t memory;
    struct fl_int_list ports; /* static host ports: port * 2 + udp */
    struct ecs_Attribute_list attributes;
    struct fl_str group; /* for distinctInstance and spread */
};

struct fl_placement {
    struct fl_requirement requirement;
    bool distinct_instance;
    struct fl_expression *members[FL_MAX_CONSTRAINTS]; /* memberOf */
    size_t member_count;
    struct ecs_PlacementStrategy_list strategies;
};

/* Compiles constraints (the definition's and the call's) and checks strategies. 0 or refused. */
int fl_placement_prepare(struct fl_decision *d, const struct ecs_TaskDefinition *def,
                         const struct ecs_PlacementConstraint_list *constraints,
                         const struct ecs_PlacementStrategy_list *strategies,
                         struct fl_placement *ret_placement);

/* The instance for one more task, or NULL. Reads the state as it is, so the tasks that were put
 * before count. */
struct fl_instance *fl_placement_choose(struct fl_decision *d, const struct fl_placement *placement,
                                        const struct fl_cluster *cluster);

/* Why this instance does not take the task: ECS's reason, and a detail; NULL if it does. */
const char *fl_placement_reason(const struct fl_placement *placement,
                                const struct fl_instance *instance, struct fl_str *ret_detail);

/* Appends one failure per instance that cannot take the task, at most FL_MAX_FAILURES in all. */
void fl_placement_explain(struct fl_decision *d, const struct fl_placement *placement,
                          const struct fl_cluster *cluster, struct ecs_Failure_list *failures);
