/* A cluster's instances as placement looks at them. Private to core.
 *
 * Every instance has a seat: the seats are in the order of registration (time, then id), so what is
 * decided by seat follows from the records and not from what happened when. The instances also
 * stand in the order of their last change, so that whoever derives something from them (views,
 * view.h) catches up with exactly those that changed since it last looked, each once. */
#pragma once

#include "core/state.h"

struct fl_filter;
struct fl_view;
struct fl_level;
struct fl_tally;

TAILQ_HEAD(fl_change_list, fl_instance);
TAILQ_HEAD(fl_filter_list, fl_filter);
TAILQ_HEAD(fl_view_list, fl_view);
TAILQ_HEAD(fl_level_list, fl_level);
TAILQ_HEAD(fl_tally_list, fl_tally);
RB_HEAD(fl_filter_tree, fl_filter);
RB_HEAD(fl_view_tree, fl_view);

/* The seat of an INACTIVE instance: it has none. */
#define FL_NO_SEAT UINT32_MAX

struct fl_index {
    struct fl_instance **seats; /* NULL: whoever sat there is gone */
    uint32_t count, cap;
    bool is_unsorted;              /* seats must be put in order before the next look */
    bool has_gaps;                 /* and closed up */
    bool has_old_values;           /* levels must be made anew, with the views on them */
    uint64_t clock;                /* grows with every change */
    uint64_t altered;              /* at the last one of a record or session */
    struct fl_change_list changes; /* the latest last */
    struct fl_filter_list filters; /* most recently used first, as the views */
    struct fl_view_list views;
    struct fl_filter_tree filters_by_key;
    struct fl_view_tree views_by_key;
    struct fl_level_list levels;  /* tally.h */
    struct fl_tally_list tallies; /* most recently used first */
    size_t tally_count, tally_counts;
    size_t filter_count, view_count;
    size_t view_seats; /* of all views together */
    uint64_t epoch;    /* grows when a view or tally is dropped */
};

struct fl_index *fl_index_new(void);
/* Views and filters too. */
void fl_index_free(struct fl_cluster *cluster);

void fl_index_add(struct fl_index *index, struct fl_instance *instance);
/* It is INACTIVE now, for ever. */
void fl_index_remove(struct fl_index *index, struct fl_instance *instance);
/* Its tasks changed. */
void fl_index_touch(struct fl_index *index, struct fl_instance *instance);
/* Its record or session changed. */
void fl_index_alter(struct fl_index *index, struct fl_instance *instance);

/* Puts the seats in order; to be called before they are looked at. */
void fl_index_settle(struct fl_cluster *cluster);
/* Drops all views; they are built again when they are asked for. */
void fl_index_drop_views(struct fl_cluster *cluster);
