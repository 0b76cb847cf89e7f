/* A tournament over places: who can take a task, by key; the least key wins. Private to core.
 *
 * Nodes stand in rows of fours, each four in a cache line of its own: row 0 are the places, a node
 * of the row above holds the least key of the four below it and how many places have it; nobody's
 * key is greater than any and counts none. One place may stand apart, its leaf being nobody's: the
 * winner that is expected to win again, so that what changes about it costs nothing. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fl_node {
    uint64_t high;
    uint32_t low;
    uint32_t count; /* places with this key below; of a leaf 1, or 0 for nobody */
};

static const struct fl_node fl_node_nobody = {UINT64_MAX, UINT32_MAX, 0};

#define FL_NO_PLACE UINT32_MAX
enum { FL_MAX_ROWS = 16 };

struct fl_tournament {
    struct fl_node *rows[FL_MAX_ROWS]; /* one block of memory, which begins with row 0 */
    unsigned row_count;
    void **holders; /* by place: whoever it is; not the tournament's */
    uint32_t cap;   /* of row 0: a multiple of four */
    uint32_t count; /* places in use */
    uint32_t apart; /* place, or FL_NO_PLACE */
    struct fl_node apart_leaf;
    struct fl_node top;  /* of the places that do not stand apart */
    struct fl_node root; /* of all places */
};

static inline bool fl_node_same_key(const struct fl_node *a, const struct fl_node *b)
{
    return a->high == b->high && a->low == b->low;
}

void fl_tournament_init(struct fl_tournament *t);
void fl_tournament_free(struct fl_tournament *t);
/* One place more for the holder; nobody's as far as keys go, for now. */
void fl_tournament_add(struct fl_tournament *t, void *holder);
/* Sets a leaf; with `climb` its ancestors follow, else fl_tournament_settle must be called. */
void fl_tournament_set(struct fl_tournament *t, uint32_t place, struct fl_node leaf, bool climb);
void fl_tournament_settle(struct fl_tournament *t);
/* Has the place that stands apart won alone? */
static inline bool fl_tournament_won_again(const struct fl_tournament *t)
{
    return t->apart != FL_NO_PLACE && t->root.count == 1 &&
           fl_node_same_key(&t->root, &t->apart_leaf);
}
/* The nth (from 0) of the places that have the least key; n is below the root's count. It is set
 * apart if it is expected to win again. */
uint32_t fl_tournament_pick(struct fl_tournament *t, uint32_t n, bool wins_again);
