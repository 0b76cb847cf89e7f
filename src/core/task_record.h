/* Task records as the state keeps them. Private to core.
 *
 * A million tasks repeat the same few texts: the names of what they refer to, and the digests of
 * their images. A kept record points to one copy of these, which lives as long as a task uses it.
 */
#pragma once

#include "core/state.h"

/* What the record refers to; instance and definition may be NULL, group is NULL for a task that
 * holds nothing. All of them outlive the kept record. */
struct fl_task_context {
    struct fl_cluster *cluster;
    const struct fl_instance *instance;
    const struct fl_definition *definition;
    const struct fl_group *group;
};

/* A clone that leans on the context; given back by fl_task_record_drop alone. */
struct rec_Task *fl_task_record_keep(const struct fl_task_context *context,
                                     const struct rec_Task *rec);
void fl_task_record_drop(struct fl_cluster *cluster, struct rec_Task *rec);
