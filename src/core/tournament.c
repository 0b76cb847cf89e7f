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

static void find_root(struct fl_tournament *t)
{
    const struct fl_node *top = t->cap ? &t->nodes[1] : &fl_node_nobody;
    t->root = t->apart == FL_NO_PLACE ? *top : better(top, &t->apart_leaf);
}

void fl_tournament_init(struct fl_tournament *t)
{
    *t = (struct fl_tournament){.apart = FL_NO_PLACE, .root = fl_node_nobody};
}

void fl_tournament_settle(struct fl_tournament *t)
{
    for (uint32_t i = t->cap ? t->cap - 1 : 0; i > 0; i--)
        t->nodes[i] = better(&t->nodes[2 * i], &t->nodes[2 * i + 1]);
    find_root(t);
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

static void climb_from(struct fl_tournament *t, uint32_t place)
{
    uint32_t i = t->cap + place;
    while (i > 1) {
        i /= 2;
        struct fl_node node = better(&t->nodes[2 * i], &t->nodes[2 * i + 1]);
        if (fl_node_same_key(&node, &t->nodes[i]) && node.count == t->nodes[i].count)
            return;
        t->nodes[i] = node;
    }
}

void fl_tournament_set(struct fl_tournament *t, uint32_t place, struct fl_node leaf, bool climb)
{
    struct fl_node *at = place == t->apart ? &t->apart_leaf : &t->nodes[t->cap + place];
    if (fl_node_same_key(at, &leaf) && at->count == leaf.count)
        return;
    *at = leaf;
    if (climb && place != t->apart)
        climb_from(t, place);
    find_root(t);
}

static void rejoin(struct fl_tournament *t)
{
    uint32_t place = t->apart;
    if (place == FL_NO_PLACE)
        return;
    t->apart = FL_NO_PLACE;
    t->nodes[t->cap + place] = t->apart_leaf;
    climb_from(t, place);
}

static void set_apart(struct fl_tournament *t, uint32_t place)
{
    t->apart = place;
    t->apart_leaf = t->nodes[t->cap + place];
    t->nodes[t->cap + place] = fl_node_nobody;
    climb_from(t, place);
}

uint32_t fl_tournament_pick(struct fl_tournament *t, uint32_t n, bool wins_again)
{
    uint32_t i = 1;
    if (t->apart != FL_NO_PLACE && t->root.count == 1 && fl_node_same_key(&t->root, &t->apart_leaf))
        return t->apart;
    rejoin(t);
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
    if (wins_again)
        set_apart(t, i - t->cap);
    return i - t->cap;
}
