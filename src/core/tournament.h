/* A tournament over places: who can take a task, by key; the least key wins. Private to core.
 *
 * Nodes lie as in a heap: 1 is the root, the places are the leaves. Every node holds the least key
 * below it and how many places have it; nobody's key is greater than any and counts none. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct fl_node {
    uint64_t high;
    uint32_t low;
    uint32_t count; /* places with this key below; of a leaf 1, or 0 for nobody */
};

static const struct fl_node fl_node_nobody = {UINT64_MAX, UINT32_MAX, 0};

struct fl_tournament {
    struct fl_node *nodes; /* 2 * cap */
    uint32_t cap;          /* power of two, or 0 */
    uint32_t count;        /* places in use */
};

static inline bool fl_node_same_key(const struct fl_node *a, const struct fl_node *b)
{
    return a->high == b->high && a->low == b->low;
}

/* One place more, nobody's for now. */
void fl_tournament_add(struct fl_tournament *t);
/* Sets a leaf; with `climb` its ancestors follow, else fl_tournament_settle must be called. */
void fl_tournament_set(struct fl_tournament *t, uint32_t place, struct fl_node leaf, bool climb);
void fl_tournament_settle(struct fl_tournament *t);
/* The nth (from 0) of the places that have the least key; n is below the root's count. */
uint32_t fl_tournament_pick(const struct fl_tournament *t, uint32_t n);

static inline struct fl_node fl_tournament_root(const struct fl_tournament *t)
{
    return t->cap ? t->nodes[1] : fl_node_nobody;
}
