/* What tasks hold of an instance, so that placement asks and never counts: CPU, memory, static host
 * ports, and how many tasks of which group. Private to core; changed by fl_state_apply alone.
 *
 * Groups' names are kept once per cluster, so that comparing groups compares pointers. */
#pragma once

#include <bsd/sys/queue.h>
#include <bsd/sys/tree.h>

#include "shapes/shape.h"

struct fl_cluster;
struct fl_instance;
struct fl_tally;

/* A task counts for its group, and for a part of it if it has one: a deployment's tasks are a part
 * of their service's. Parts have names of their own. */
struct fl_group {
    RB_ENTRY(fl_group) by_name;
    struct fl_str name;
    bool is_part;
    size_t users;
    size_t task_count;              /* on all instances together, as in fl_group_count */
    SLIST_HEAD(, fl_tally) tallies; /* tally.h */
};
RB_HEAD(fl_group_tree, fl_group);

/* The group's or part's tasks on one instance, those that are being stopped left out. */
struct fl_group_count {
    struct fl_group *group;
    uint32_t count;
};

/* Most instances have tasks of so few groups; more are kept apart. */
enum { FL_OWN_GROUPS = 2 };

/* The cluster's one object for the name; every call is one user more. */
struct fl_group *fl_group_use(struct fl_cluster *cluster, struct fl_str name);
struct fl_group *fl_part_use(struct fl_cluster *cluster, struct fl_str name);
void fl_group_release(struct fl_cluster *cluster, struct fl_group *group);

/* The same for digests of images, of which many tasks have the same few. */
struct fl_str fl_digest_use(struct fl_cluster *cluster, struct fl_str digest);
void fl_digest_release(struct fl_cluster *cluster, struct fl_str digest);
void fl_digest_each(struct fl_cluster *cluster, void (*each)(void *context, struct fl_str digest),
                    void *context);

/* One task's share: a negative sign gives back what a positive one took. `is_counted` is false for
 * a task that is being stopped, which holds everything but its place in the group. */
struct fl_share {
    int64_t cpu;
    int64_t memory;
    const struct fl_int_list *ports; /* port * 2 + udp */
    struct fl_group *group;
    struct fl_group *part; /* NULL: none */
    bool is_counted;
};
void fl_load_change(struct fl_instance *instance, const struct fl_share *share, int sign);
/* The host's own ports, which are taken in the same set. */
void fl_load_add_ports(struct fl_instance *instance, const struct fl_int_list *ports);
void fl_load_remove_ports(struct fl_instance *instance, const struct fl_int_list *ports);
void fl_load_init(struct fl_instance *instance);
void fl_load_free(struct fl_instance *instance);

uint32_t fl_load_group(const struct fl_instance *instance, const struct fl_group *group);
bool fl_load_has_port(const struct fl_instance *instance, int32_t port);
