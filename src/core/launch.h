/* Tasks about to be made: what RunTask and StartTask share. Private to core. */
#pragma once

#include "core/placement.h"

/* Tasks of one call. */
enum { FL_MAX_LAUNCHED = 10 };

struct fl_launch {
    struct fl_cluster *cluster;
    struct fl_definition *definition;
    struct fl_placement placement;
    struct rec_Task rec; /* of every task, but for id, instance and containers */
};

/* Bounds on the request's members; 0 or refused. */
int fl_launch_check(struct fl_decision *d, const struct ecs_RunTaskRequest *in);
/* Everything else that may refuse the call. */
int fl_launch_prepare(struct fl_decision *d, const struct ecs_RunTaskRequest *in,
                      struct fl_cluster *cluster, struct fl_launch *ret_launch);
/* The same for a definition that is found already, and may be INACTIVE, on a cluster that may be
 * empty. */
int fl_launch_prepare_for(struct fl_decision *d, const struct ecs_RunTaskRequest *in,
                          struct fl_cluster *cluster, struct fl_definition *definition,
                          struct fl_launch *ret_launch);
/* The ACTIVE definition of a name; NULL after refusing. */
struct fl_definition *fl_find_runnable(struct fl_decision *d, struct fl_str name);
/* Puts one task on the instance and sends it. */
struct fl_task *fl_launch_on(struct fl_decision *d, struct fl_launch *launch,
                             const struct fl_instance *instance);
/* What a task of the definition asks of an instance, the request's overrides considered. */
void fl_launch_require(struct fl_decision *d, const struct ecs_RunTaskRequest *in,
                       const struct fl_definition *definition, struct fl_requirement *requirement);
