/* What a task or a listing demands of an instance beyond resources: required attributes and
 * expressions of the query language. Private to core.
 *
 * A filter is compiled once and kept with its cluster as long as it is among the recently used
 * ones; it remembers its verdict on every instance until the instance's record or session changes,
 * so constraints are evaluated once per change and not once per task. Expressions that look at
 * tasks are asked every time. */
#pragma once

#include "core/expression.h"
#include "core/index.h"

enum { FL_MAX_CONSTRAINTS = 10, FL_MAX_FILTERS = 64 };

struct fl_filter {
    TAILQ_ENTRY(fl_filter) by_use;
    RB_ENTRY(fl_filter) by_key;
    struct fl_arena *arena;
    struct fl_str key;
    struct ecs_Attribute_list attributes;
    struct fl_str texts[FL_MAX_CONSTRAINTS];
    struct fl_expression *members[FL_MAX_CONSTRAINTS];
    bool is_live[FL_MAX_CONSTRAINTS];
    size_t member_count, live_count;
    uint8_t *verdicts; /* by seat */
    uint32_t verdict_count;
    size_t users; /* views */
};

/* What is wanted: at most FL_MAX_CONSTRAINTS texts. */
struct fl_filter_spec {
    const struct ecs_Attribute_list *attributes; /* may be NULL */
    struct fl_str texts[FL_MAX_CONSTRAINTS];
    size_t text_count;
};

/* The cluster's filter for this, found or made; NULL after refusing. It lives at least until
 * FL_MAX_FILTERS others have been asked for. */
struct fl_filter *fl_filter_get(struct fl_decision *d, struct fl_cluster *cluster,
                                const struct fl_filter_spec *spec);
bool fl_filter_passes(struct fl_filter *filter, const struct fl_instance *instance);

/* The required attribute that the instance lacks, or NULL; the expression that it fails, or -1. */
const struct ecs_Attribute *fl_filter_lacks(const struct fl_filter *filter,
                                            const struct fl_instance *instance);
int fl_filter_fails(const struct fl_filter *filter, const struct fl_instance *instance);

/* Forgets the verdicts on one seat, or on all. */
void fl_filters_forget(struct fl_index *index, uint32_t seat);
void fl_filters_forget_all(struct fl_index *index);
void fl_filters_drop(struct fl_index *index);
