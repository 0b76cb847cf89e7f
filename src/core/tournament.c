/* Tournament trees in an array. */
#include "core/tournament.h"

#include "base/util.h"

static struct fl_node better(const struct fl_node *a, const struct fl_node *b)
{
    struct fl_node node = b->high < a->high || (b->high == a->high && b->low < a->low) ? *b : *a;
    if (fl_node_same_key(a, b))
        node.count = a->count + b->count;
    return node;
}

void fl_tournament_settle(struct fl_tournament *t)
{
    for (uint32_t i = t->cap ? t->cap - 1 : 0; i > 0; i--)
        t->nodes[i] = better(&t->nodes[2 * i], &t->nodes[2 * i + 1]);
}

static void grow(struct fl_tournament *t)
{
    uint32_t cap = t->cap ? t->cap * 2 : 1;
    struct fl_node *nodes = fl_calloc(2 * (size_t)cap, sizeof(*nodes));
    for (uint32_t i = 0; i < 2 * cap; i++)
        nodes[i] = fl_node_nobody;
    for (uint32_t i = 0; i < t->count; i++)
        nodes[cap + i] = t->nodes[t->cap + i];
    free(t->nodes);
    t->nodes = nodes;
    t->cap = cap;
    fl_tournament_settle(t);
}

void fl_tournament_add(struct fl_tournament *t)
{
    if (t->count == t->cap)
        grow(t);
    t->count++;
}

void fl_tournament_set(struct fl_tournament *t, uint32_t place, struct fl_node leaf, bool climb)
{
    uint32_t i = t->cap + place;
    t->nodes[i] = leaf;
    while (climb && i > 1) {
        i /= 2;
        struct fl_node node = better(&t->nodes[2 * i], &t->nodes[2 * i + 1]);
        if (fl_node_same_key(&node, &t->nodes[i]) && node.count == t->nodes[i].count)
            return;
        t->nodes[i] = node;
    }
}

uint32_t fl_tournament_pick(const struct fl_tournament *t, uint32_t n)
{
    uint32_t i = 1;
    while (i < t->cap) {
        const struct fl_node *left = &t->nodes[2 * i];
        uint32_t here = fl_node_same_key(left, &t->nodes[i]) ? left->count : 0;
        if (n < here) {
            i = 2 * i;
        } else {
            n -= here;
            i = 2 * i + 1;
        }
    }
    return i - t->cap;
}
