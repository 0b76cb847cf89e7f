/* What the files of the measures share. */
#pragma once

#include <bsd/sys/tree.h>

#include "server/measures.h"

struct fl_point {
    int64_t at_ms;
    float cpu; /* units: 1024 to a processor */
    float memory;
};

/* The latest `count` of them; items[next] is overwritten next. */
struct fl_points {
    struct fl_point *items;
    uint32_t cap, count, next;
};

struct fl_container_measures {
    char *name;
    struct fl_points points;
    int64_t restarts;
};

struct fl_task_measures {
    RB_ENTRY(fl_task_measures) by_id;
    char *id;
    int64_t updated_ms;
    uint64_t round; /* of its instance, in which it was last told of */
    struct fl_container_measures *containers;
    size_t container_count;
};
RB_HEAD(fl_task_measures_tree, fl_task_measures);

struct fl_instance_measures {
    RB_ENTRY(fl_instance_measures) by_id;
    char *id;
    int64_t updated_ms;
    uint64_t round;
    struct fl_task_measures_tree tasks;
    struct fl_points points;
};
RB_HEAD(fl_instance_measures_tree, fl_instance_measures);

struct fl_cluster_measures {
    RB_ENTRY(fl_cluster_measures) by_name;
    char *name;
    struct fl_instance_measures_tree instances;
    struct fl_points points;
};
RB_HEAD(fl_cluster_measures_tree, fl_cluster_measures);

struct fl_measures {
    const struct fl_core *core;
    struct fl_cluster_measures_tree clusters;
};

int fl_task_measures_order(const struct fl_task_measures *a, const struct fl_task_measures *b);
int fl_instance_measures_order(const struct fl_instance_measures *a,
                               const struct fl_instance_measures *b);
int fl_cluster_measures_order(const struct fl_cluster_measures *a,
                              const struct fl_cluster_measures *b);
RB_PROTOTYPE(fl_task_measures_tree, fl_task_measures, by_id, fl_task_measures_order)
RB_PROTOTYPE(fl_instance_measures_tree, fl_instance_measures, by_id, fl_instance_measures_order)
RB_PROTOTYPE(fl_cluster_measures_tree, fl_cluster_measures, by_name, fl_cluster_measures_order)

/* The newest point; zeroes when there is none. */
struct fl_point fl_points_last(const struct fl_points *points);
/* Sums of a cluster's instances that have told lately. */
struct fl_point fl_cluster_measures_sum(const struct fl_cluster_measures *cluster, int64_t now_ms,
                                        size_t *ret_telling);
