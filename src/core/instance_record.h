/* Instance records as the state keeps them. Private to core.
 *
 * Hosts of one kind have the same attributes, some forty each. A kept record points to one list of
 * these per kind, which lives as long as an instance has it. */
#pragma once

#include "core/state.h"

struct fl_attribute_set {
    RB_ENTRY(fl_attribute_set) by_content;
    struct rec_Instance *holder; /* a record of which only the attributes are set */
    size_t users;
};

/* A clone; given back by fl_instance_record_drop alone, which takes the set as well. */
struct rec_Instance *fl_instance_record_keep(struct fl_cluster *cluster,
                                             const struct rec_Instance *rec,
                                             struct fl_attribute_set **ret_set);
void fl_instance_record_drop(struct fl_cluster *cluster, struct rec_Instance *rec,
                             struct fl_attribute_set *set);
