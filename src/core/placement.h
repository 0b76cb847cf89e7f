/* Placement: (a cluster, a requirement, constraints, strategies) → an instance, or why none.
 * Private to core. */
#pragma once

#include "core/view.h"

enum { FL_MAX_FAILURES = 100 };

/* Good for one cluster. The requirement may be filled in until the first choice. */
struct fl_placement {
    struct fl_requirement requirement;
    struct fl_filter *filter;
    struct ecs_PlacementStrategy_list strategies;
    struct fl_view *view; /* of the index's epoch; NULL: not looked for yet */
    struct fl_tally *tallies[FL_MAX_STRATEGIES];
    uint64_t view_epoch;
};

/* Compiles constraints (the definition's and the call's) and checks strategies. 0 or refused. */
int fl_placement_prepare(struct fl_decision *d, struct fl_cluster *cluster,
                         const struct ecs_TaskDefinition *def,
                         const struct ecs_PlacementConstraint_list *constraints,
                         const struct ecs_PlacementStrategy_list *strategies,
                         struct fl_placement *ret_placement);

/* The instance for one more task, or NULL. Reads the state as it is, so the tasks that were put
 * before count. */
struct fl_instance *fl_placement_choose(struct fl_decision *d, struct fl_placement *placement,
                                        struct fl_cluster *cluster);

/* What keeps an instance from taking a task, in the order in which it is looked at. */
enum fl_obstacle {
    FL_OBSTACLE_NONE,
    FL_OBSTACLE_INACTIVE,
    FL_OBSTACLE_AGENT,
    FL_OBSTACLE_IMPAIRED, /* its agent can start no container; AGENT in ECS's words */
    FL_OBSTACLE_ATTRIBUTE,
    FL_OBSTACLE_MEMBER_OF,
    FL_OBSTACLE_DISTINCT,
    FL_OBSTACLE_CPU,
    FL_OBSTACLE_MEMORY,
    FL_OBSTACLE_PORTS,
    FL_OBSTACLE_GPU,
};
struct fl_hindrance {
    enum fl_obstacle obstacle;
    struct fl_str what; /* the attribute or expression; in the placement's filter */
    int64_t lacks;      /* CPU units, MiB or GPUs; the number of the port */
};
struct fl_hindrance fl_placement_hindrance(const struct fl_placement *placement,
                                           const struct fl_instance *instance);
/* What an instance has of the resource that an obstacle is about, and how much of it is asked for.
 */
struct fl_supply {
    const char *unit; /* NULL: the obstacle is about none */
    int64_t all, left, wanted;
};
struct fl_supply fl_placement_supply(const struct fl_placement *placement,
                                     const struct fl_instance *instance, enum fl_obstacle obstacle);
/* ECS's word for it. */
const char *fl_placement_reason(enum fl_obstacle obstacle);
/* A failure of RunTask or StartTask: ECS's reason, and what is missing in our words
 * (of which ECS, and we when strict, tell the attribute only). */
void fl_placement_fail(struct fl_decision *d, const struct fl_placement *placement,
                       const struct fl_instance *instance, struct fl_hindrance hindrance,
                       struct ecs_Failure *ret_failure);

/* Appends one failure per instance that cannot take the task, at most FL_MAX_FAILURES in all. */
void fl_placement_explain(struct fl_decision *d, const struct fl_placement *placement,
                          struct fl_cluster *cluster, struct ecs_Failure_list *failures);
