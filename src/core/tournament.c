/* Tournament trees in rows. */
#include "core/tournament.h"

#include <string.h>

#include "base/util.h"

enum { WIDTH = 4 };

static struct fl_node better(const struct fl_node *a, const struct fl_node *b)
{
    struct fl_node node = b->high < a->high || (b->high == a->high && b->low < a->low) ? *b : *a;
    if (fl_node_same_key(a, b))
        node.count = a->count + b->count;
    return node;
}

static struct fl_node best_of(const struct fl_node *four)
{
    struct fl_node left = better(&four[0], &four[1]), right = better(&four[2], &four[3]);
    return better(&left, &right);
}

static void find_root(struct fl_tournament *t)
{
    t->root = t->apart == FL_NO_PLACE ? t->top : better(&t->top, &t->apart_leaf);
}

void fl_tournament_init(struct fl_tournament *t)
{
    *t =
        (struct fl_tournament){.apart = FL_NO_PLACE, .top = fl_node_nobody, .root = fl_node_nobody};
}

void fl_tournament_free(struct fl_tournament *t)
{
    free(t->rows[0]);
    free(t->holders);
}

/* Nodes of the row above one of that size; both are multiples of four. */
static uint32_t above(uint32_t size)
{
    return (size / WIDTH + WIDTH - 1) / WIDTH * WIDTH;
}

static size_t nodes_for(uint32_t cap)
{
    size_t nodes = cap;
    for (uint32_t size = cap; size > WIDTH; size = above(size))
        nodes += above(size);
    return nodes;
}

void fl_tournament_settle(struct fl_tournament *t)
{
    uint32_t size = t->cap;
    if (t->row_count == 0)
        return;
    for (unsigned row = 0; row + 1 < t->row_count; row++) {
        for (uint32_t i = 0; i < size / WIDTH; i++)
            t->rows[row + 1][i] = best_of(&t->rows[row][i * WIDTH]);
        size = above(size);
    }
    t->top = best_of(t->rows[t->row_count - 1]);
    find_root(t);
}

static void grow(struct fl_tournament *t)
{
    uint32_t cap = (t->cap + t->cap / 2 + WIDTH) / WIDTH * WIDTH;
    size_t nodes = nodes_for(cap);
    struct fl_node *block = fl_alloc_lines(nodes * sizeof(*block));
    for (size_t i = 0; i < nodes; i++)
        block[i] = i < t->count ? t->rows[0][i] : fl_node_nobody;
    free(t->rows[0]);
    t->row_count = 0;
    for (uint32_t size = cap;; size = above(size)) {
        FL_ASSERT(t->row_count < FL_MAX_ROWS);
        t->rows[t->row_count++] = block;
        block += size;
        if (size == WIDTH)
            break;
    }
    t->cap = cap;
    t->holders = fl_realloc(t->holders, cap * sizeof(*t->holders));
    fl_tournament_settle(t);
}

void fl_tournament_add(struct fl_tournament *t, void *holder)
{
    if (t->count == t->cap)
        grow(t);
    t->holders[t->count++] = holder;
}

static void climb_from(struct fl_tournament *t, uint32_t place)
{
    uint32_t at = place;
    for (unsigned row = 0; row + 1 < t->row_count; row++) {
        struct fl_node node = best_of(&t->rows[row][at - at % WIDTH]);
        at /= WIDTH;
        struct fl_node *parent = &t->rows[row + 1][at];
        if (fl_node_same_key(&node, parent) && node.count == parent->count)
            return;
        *parent = node;
    }
    t->top = best_of(t->rows[t->row_count - 1]);
}

void fl_tournament_set(struct fl_tournament *t, uint32_t place, struct fl_node leaf, bool climb)
{
    struct fl_node *at = place == t->apart ? &t->apart_leaf : &t->rows[0][place];
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
    if (t->apart_leaf.count == 0)
        return; /* nobody stands in its place already */
    t->rows[0][place] = t->apart_leaf;
    climb_from(t, place);
}

static void set_apart(struct fl_tournament *t, uint32_t place)
{
    t->apart = place;
    t->apart_leaf = t->rows[0][place];
    t->rows[0][place] = fl_node_nobody;
    climb_from(t, place);
}

uint32_t fl_tournament_pick(struct fl_tournament *t, uint32_t n, bool wins_again)
{
    uint32_t at = 0;
    rejoin(t);
    const struct fl_node best = t->top;
    for (unsigned row = t->row_count; row-- > 0;) {
        const struct fl_node *four = &t->rows[row][at * WIDTH];
        uint32_t i = 0;
        for (;; i++) {
            uint32_t here = fl_node_same_key(&four[i], &best) ? four[i].count : 0;
            if (n < here)
                break;
            n -= here;
        }
        at = at * WIDTH + i;
        if (row == 1)
            __builtin_prefetch(&t->holders[at * WIDTH]);
    }
    __builtin_prefetch(t->holders[at], 1);
    if (wins_again)
        set_apart(t, at);
    return at;
}
