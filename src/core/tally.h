/* How many tasks of a group there are by value of an attribute: what spreading over it compares.
 * Private to core.
 *
 * A level is an attribute that some view spreads over, with every seat's value as a number (0: has
 * none). A tally is one group's counts on one level. Both are made by a walk when they are first
 * asked for and then kept by every change of a task or an instance, so that kinds of tasks that
 * differ in their group alone can share a view. Dropping them changes no choice. */
#pragma once

#include "core/index.h"

enum {
    FL_MAX_TALLIES = 4096,         /* of a cluster */
    FL_MAX_TALLY_COUNTS = 4 << 20, /* of them together, unless one alone has more: 32 MiB */
};

struct fl_value; /* of a level; tally.c's */
RB_HEAD(fl_value_tree, fl_value);

struct fl_level {
    TAILQ_ENTRY(fl_level) in_index;
    struct fl_str name;
    struct fl_value_tree values;
    uint32_t value_count;
    uint32_t *by_seat;
    uint32_t seat_count, seat_cap;
    size_t users; /* views */
};

struct fl_tally {
    TAILQ_ENTRY(fl_tally) by_use;
    SLIST_ENTRY(fl_tally) of_group;
    struct fl_level *level;
    struct fl_group *group;
    int64_t *counts; /* by number of the value */
    uint32_t cap;
};

/* The cluster's level for an attribute, for one user more. Seats must be settled. */
struct fl_level *fl_level_use(struct fl_cluster *cluster, struct fl_str name);
void fl_level_release(struct fl_cluster *cluster, struct fl_level *level);
static inline uint32_t fl_level_of(const struct fl_level *level, const struct fl_instance *instance)
{
    return level->by_seat[instance->seat];
}

/* A group's or part's counts on a level, found or made; the tally is a user of it. They stay while
 * index->epoch does. Room for those that a placement needs is made before, at the cost of the ones
 * asked for longest ago. */
void fl_tally_make_room(struct fl_cluster *cluster, size_t count);
struct fl_tally *fl_tally_get(struct fl_cluster *cluster, struct fl_level *level,
                              struct fl_group *group);
static inline int64_t fl_tally_count(const struct fl_tally *tally, uint32_t value)
{
    return value == 0 ? INT64_MAX : value < tally->cap ? tally->counts[value] : 0;
}

/* The group has `more` tasks on the instance than before. */
void fl_tally_change(struct fl_group *group, const struct fl_instance *instance, int64_t more);
/* An instance has come, or its attributes may be others. */
void fl_levels_add(struct fl_index *index, const struct fl_instance *instance);
void fl_levels_alter(struct fl_index *index, const struct fl_instance *instance);
