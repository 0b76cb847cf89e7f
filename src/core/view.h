/* A view: all instances of a cluster in the order in which they would be given one more task of a
 * kind. Private to core.
 *
 * A kind of task is a requirement (size, ports, group), a filter and strategies. Instances with the
 * same values of the attributes to spread over share a bucket; in a bucket a tournament keeps the
 * least key (what binpack and spread by instance look at) among those that can take the task, and
 * how many have it. A choice looks at one root per bucket and goes down one tree; a changed
 * instance is looked at once, whatever changed about it, and only when the view is next used.
 * What is equally good is drawn from, every one with the same chance, in an order that follows from
 * the records: buckets by their first seat, then seats. */
#pragma once

#include "core/filter.h"

enum {
    FL_MAX_STRATEGIES = 5,
    FL_MAX_VIEWS = 1024,         /* of a cluster */
    FL_MAX_VIEW_SEATS = 1 << 22, /* of a cluster's views together, unless one alone has more: a
                                    seat takes about 50 bytes, so these take 200 MiB */
};

/* What a task asks of an instance. */
struct fl_requirement {
    int64_t cpu;
    int64_t memory;
    uint32_t gpus;
    struct fl_int_list ports; /* static host ports: port * 2 + udp */
    struct fl_str group;      /* for distinctInstance, and for spread if there is no part */
    struct fl_str part;       /* of the group, for spread; empty: none */
    bool distinct;            /* no other task of the group beside it */
};

/* The cluster's view for this, found or made. It stays while index->epoch does. */
struct fl_view *fl_view_get(struct fl_cluster *cluster, struct fl_filter *filter,
                            const struct fl_requirement *requirement,
                            const struct ecs_PlacementStrategy_list *strategies);
/* The best instance now, or NULL when none can take the task. */
struct fl_instance *fl_view_choose(struct fl_cluster *cluster, struct fl_view *view,
                                   struct fl_tally *const *tallies, struct fl_rand *rand);
/* What the tasks that are spread weigh in the view's choices: a tally for each attribute that it
 * spreads over. They stay while index->epoch does. */
void fl_view_tallies(struct fl_cluster *cluster, const struct fl_view *view,
                     const struct fl_requirement *requirement,
                     struct fl_tally *tallies[FL_MAX_STRATEGIES]);
void fl_view_drop(struct fl_cluster *cluster, struct fl_view *view);

/* "instanceId" or "host": spread over instances themselves. */
bool fl_is_instance_field(struct fl_str field);
