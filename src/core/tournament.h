/* A tournament over places: who can take a task, by key; the least key wins. Private to core.
 *
 * Nodes lie as in a heap: 1 is the top, the places are the leaves. Every node holds the least key
 * below it and how many places have it; nobody's key is greater than any and counts none. One place
 * may stand apart, its leaf being nobody's: the winner that is expected to win again, so that what
 * changes about it costs nothing. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct fl_node {
    uint64_t high;
    uint32_t low;
    uint32_t count; /* places with this key below; of a leaf 1, or 0 for nobody */
};

static const struct fl_node fl_node_nobody = {UINT64_MAX, UINT32_MAX, 0};

#define FL_NO_PLACE UINT32_MAX

struct fl_tournament {
    struct fl_node *nodes; /* 2 * cap */
    uint32_t cap;          /* power of two, or 0 */
    uint32_t count;        /* places in use */
    uint32_t apart;        /* place, or FL_NO_PLACE */
    struct fl_node apart_leaf;
    struct fl_node root; /* of all places */
};

static inline bool fl_node_same_key(const struct fl_node *a, const struct fl_node *b)
{
    return a->high == b->high && a->low == b->low;
}

void fl_tournament_init(struct fl_tournament *t);
/* One place more, nobody's for now. */
void fl_tournament_add(struct fl_tournament *t);
/* Sets a leaf; with `climb` its ancestors follow, else fl_tournament_settle must be called. */
void fl_tournament_set(struct fl_tournament *t, uint32_t place, struct fl_node leaf, bool climb);
void fl_tournament_settle(struct fl_tournament *t);
/* The nth (from 0) of the places that have the least key; n is below the root's count. It is set
 * apart if it is expected to win again. */
uint32_t fl_tournament_pick(struct fl_tournament *t, uint32_t n, bool wins_again);
