/* Shortening a seccomp program by evaluating it beforehand.
 *
 * libseccomp writes two to three instructions for each call of each architecture, some 1,400, which
 * the kernel checks, translates and keeps for every container. But all that such a program does
 * with the call's number is to compare it with constants: between two of these it answers alike. So
 * it is run here for every architecture that it knows and for one number of each such interval;
 * what depends on an argument stays behind as a small tree. Neighbours with the same tree are one
 * range, and the new program searches the ranges by halves. A program that does anything else is
 * left alone. */
#include "agent/seccomp_shrink.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"

enum {
    NODES_MAX = 2048,
    CUTS_MAX = 2 * BPF_MAXINSNS + 1,
    ARCHES_MAX = 8,
    STEPS_MAX = 10000, /* of one evaluation, which libseccomp's programs end after a few dozen */
    JUMP_MAX = 255,
};

/* What is left of the program when number and architecture are known: an end, or a question about a
 * word of the arguments. Equal ones are one. */
struct node {
    uint16_t code; /* BPF_RET | BPF_K, or a comparison's */
    uint32_t k;
    uint32_t word; /* its offset in seccomp_data */
    uint32_t mask; /* of the word */
    int yes, no;
};

/* The accumulator. */
enum holding { NOTHING, NUMBER, ARCH, WORD };

struct state {
    enum holding holding;
    uint32_t word;
    uint32_t mask;
};

struct range {
    uint32_t first;
    int node;
};

struct shrinking {
    const struct sock_filter *in;
    size_t count;
    uint32_t *cuts; /* where another answer may begin */
    size_t cut_count;
    struct range *ranges; /* of the architecture at hand */
    size_t range_count;
    struct node *nodes;
    size_t node_count;
    uint32_t arches[ARCHES_MAX];
    size_t arch_count;
    bool is_other; /* the architecture is none of them */
    uint32_t number, arch;
    int steps;
    struct sock_filter *out; /* from its end to its beginning */
    size_t out_count;
};

/* ---- evaluation ---- */

static int add_node(struct shrinking *s, struct node wanted)
{
    if (wanted.code != (BPF_RET | BPF_K) && wanted.yes == wanted.no)
        return wanted.yes;
    for (size_t i = 0; i < s->node_count; i++) {
        const struct node *n = &s->nodes[i];
        if (n->code == wanted.code && n->k == wanted.k && n->word == wanted.word &&
            n->mask == wanted.mask && n->yes == wanted.yes && n->no == wanted.no)
            return (int)i;
    }
    if (s->node_count >= NODES_MAX)
        return -E2BIG;
    s->nodes[s->node_count] = wanted;
    return (int)s->node_count++;
}

static bool note_arch(struct shrinking *s, uint32_t arch)
{
    for (size_t i = 0; i < s->arch_count; i++)
        if (s->arches[i] == arch)
            return true;
    if (s->arch_count >= ARCHES_MAX)
        return false;
    s->arches[s->arch_count++] = arch;
    return true;
}

/* 1 or 0; -ENOTSUP for what is no comparison with a constant. */
static int compare(uint16_t code, uint32_t value, uint32_t k)
{
    switch (code) {
    case BPF_JMP | BPF_JEQ | BPF_K:
        return value == k;
    case BPF_JMP | BPF_JGT | BPF_K:
        return value > k;
    case BPF_JMP | BPF_JGE | BPF_K:
        return value >= k;
    }
    return -ENOTSUP;
}

static int compare_arch(struct shrinking *s, const struct sock_filter *f)
{
    if (!s->is_other)
        return compare(f->code, s->arch, f->k);
    return f->code == (BPF_JMP | BPF_JEQ | BPF_K) && note_arch(s, f->k) ? 0 : -ENOTSUP;
}

static bool is_question(uint16_t code)
{
    return code == (BPF_JMP | BPF_JEQ | BPF_K) || code == (BPF_JMP | BPF_JGT | BPF_K) ||
           code == (BPF_JMP | BPF_JGE | BPF_K) || code == (BPF_JMP | BPF_JSET | BPF_K);
}

static int evaluate(struct shrinking *s, size_t at, struct state state);

static int branch(struct shrinking *s, size_t at, struct state state)
{
    const struct sock_filter *f = &s->in[at];
    if (state.holding == NUMBER || state.holding == ARCH) {
        int rc = state.holding == NUMBER ? compare(f->code, s->number, f->k) : compare_arch(s, f);
        return rc < 0 ? rc : evaluate(s, at + 1 + (rc ? f->jt : f->jf), state);
    }
    if (state.holding != WORD || !is_question(f->code))
        return -ENOTSUP;
    int yes = evaluate(s, at + 1 + f->jt, state);
    int no = yes < 0 ? yes : evaluate(s, at + 1 + f->jf, state);
    return no < 0 ? no
                  : add_node(s, (struct node){.code = f->code,
                                              .k = f->k,
                                              .word = state.word,
                                              .mask = state.mask,
                                              .yes = yes,
                                              .no = no});
}

static int load(struct state *state, uint32_t offset)
{
    if (offset % 4 != 0 || offset >= sizeof(struct seccomp_data))
        return -ENOTSUP;
    *state = (struct state){.holding = WORD, .word = offset, .mask = UINT32_MAX};
    if (offset == offsetof(struct seccomp_data, nr))
        state->holding = NUMBER;
    else if (offset == offsetof(struct seccomp_data, arch))
        state->holding = ARCH;
    return 0;
}

/* The node that the program comes to from here; -errno. Jumps lead forward only. */
static int evaluate(struct shrinking *s, size_t at, struct state state)
{
    for (; at < s->count && s->steps++ < STEPS_MAX; at++) {
        const struct sock_filter *f = &s->in[at];
        if (f->code == (BPF_RET | BPF_K))
            return add_node(s, (struct node){.code = f->code, .k = f->k});
        if (f->code == (BPF_JMP | BPF_JA))
            at += f->k;
        else if (f->code == (BPF_ALU | BPF_AND | BPF_K) && state.holding == WORD)
            state.mask &= f->k;
        else if (BPF_CLASS(f->code) == BPF_JMP)
            return branch(s, at, state);
        else if (f->code != (BPF_LD | BPF_W | BPF_ABS) || load(&state, f->k) < 0)
            return -ENOTSUP;
    }
    return -ENOTSUP;
}

/* ---- ranges ---- */

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

/* More than needed do no harm: constants of other comparisons are among them. */
static void find_cuts(struct shrinking *s)
{
    s->cuts[s->cut_count++] = 0;
    for (size_t i = 0; i < s->count; i++) {
        if (!is_question(s->in[i].code))
            continue;
        s->cuts[s->cut_count++] = s->in[i].k;
        if (s->in[i].k != UINT32_MAX)
            s->cuts[s->cut_count++] = s->in[i].k + 1;
    }
    qsort(s->cuts, s->cut_count, sizeof(*s->cuts), by_value);
}

static int find_ranges(struct shrinking *s)
{
    s->range_count = 0;
    for (size_t i = 0; i < s->cut_count; i++) {
        if (i > 0 && s->cuts[i] == s->cuts[i - 1])
            continue;
        s->number = s->cuts[i];
        s->steps = 0;
        int node = evaluate(s, 0, (struct state){.holding = NOTHING});
        if (node < 0)
            return node;
        if (s->range_count == 0 || s->ranges[s->range_count - 1].node != node)
            s->ranges[s->range_count++] = (struct range){s->cuts[i], node};
    }
    return 0;
}

/* ---- the new program, written from its end: a place is counted from there ---- */

static int put(struct shrinking *s, struct sock_filter f)
{
    if (s->out_count >= s->count)
        return -E2BIG;
    s->out[s->out_count++] = f;
    return (int)s->out_count - 1;
}

/* A place that two more instructions may jump to; -errno passes. */
static int reach(struct shrinking *s, int place)
{
    if (place < 0 || s->out_count - (size_t)place < JUMP_MAX - 2)
        return place;
    if (s->out[place].code == (BPF_RET | BPF_K))
        return put(s, s->out[place]);
    return put(s, (struct sock_filter)BPF_STMT(BPF_JMP | BPF_JA,
                                               (uint32_t)(s->out_count - (size_t)place - 1)));
}

static int put_jump(struct shrinking *s, uint16_t code, uint32_t k, int yes, int no)
{
    yes = reach(s, yes);
    no = reach(s, no);
    if (yes < 0 || no < 0)
        return FL_MIN(yes, no);
    size_t next = s->out_count - 1;
    return put(s, (struct sock_filter)BPF_JUMP(code, k, (uint8_t)(next - (size_t)yes),
                                               (uint8_t)(next - (size_t)no)));
}

static int find_end(const struct shrinking *s, uint32_t k)
{
    for (size_t i = s->out_count; i > 0 && s->out_count - i < JUMP_MAX / 2; i--)
        if (s->out[i - 1].code == (BPF_RET | BPF_K) && s->out[i - 1].k == k)
            return (int)i - 1;
    return -1;
}

static int put_node(struct shrinking *s, int index)
{
    struct node node = s->nodes[index];
    if (node.code == (BPF_RET | BPF_K)) {
        int known = find_end(s, node.k);
        return known >= 0 ? known : put(s, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, node.k));
    }
    int no = put_node(s, node.no);
    int yes = no < 0 ? no : put_node(s, node.yes);
    int place = yes < 0 ? yes : put_jump(s, node.code, node.k, yes, no);
    if (place >= 0 && node.mask != UINT32_MAX)
        place = put(s, (struct sock_filter)BPF_STMT(BPF_ALU | BPF_AND | BPF_K, node.mask));
    if (place >= 0)
        place = put(s, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, node.word));
    return place;
}

static int put_ranges(struct shrinking *s, size_t first, size_t end)
{
    if (end - first == 1)
        return put_node(s, s->ranges[first].node);
    size_t middle = first + (end - first) / 2;
    int high = put_ranges(s, middle, end);
    int low = high < 0 ? high : put_ranges(s, first, middle);
    return low < 0 ? low
                   : put_jump(s, BPF_JMP | BPF_JGE | BPF_K, s->ranges[middle].first, high, low);
}

static int put_arch(struct shrinking *s)
{
    int rc = find_ranges(s);
    int place = rc < 0 ? rc : put_ranges(s, 0, s->range_count);
    if (place >= 0 && s->range_count > 1)
        place = put(s, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
                                                    offsetof(struct seccomp_data, nr)));
    return place;
}

/* Those that the program asks for are known when it has been run for none of them. */
static int put_all(struct shrinking *s)
{
    s->is_other = true;
    int place = put_arch(s);
    s->is_other = false;
    for (size_t i = s->arch_count; place >= 0 && i > 0; i--) {
        s->arch = s->arches[i - 1];
        int yes = put_arch(s);
        place = yes < 0 ? yes : put_jump(s, BPF_JMP | BPF_JEQ | BPF_K, s->arch, yes, place);
    }
    if (place >= 0)
        place = put(s, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
                                                    offsetof(struct seccomp_data, arch)));
    return place;
}

static void replace(struct shrinking *s, struct fl_buf *program)
{
    fl_buf_clear(program);
    for (size_t i = s->out_count; i > 0; i--)
        fl_buf_add(program, &s->out[i - 1], sizeof(s->out[i - 1]));
}

void fl_seccomp_shrink(struct fl_buf *program)
{
    size_t count = program->n / sizeof(struct sock_filter);
    if (count == 0 || count > BPF_MAXINSNS || program->n % sizeof(struct sock_filter) != 0)
        return;
    struct sock_filter *in = fl_calloc(count, sizeof(*in));
    memcpy(in, program->p, program->n);
    struct shrinking s = {
        .in = in,
        .count = count,
        .cuts = fl_calloc(CUTS_MAX, sizeof(*s.cuts)),
        .ranges = fl_calloc(CUTS_MAX, sizeof(*s.ranges)),
        .nodes = fl_calloc(NODES_MAX, sizeof(*s.nodes)),
        .out = fl_calloc(count, sizeof(*s.out)),
    };
    find_cuts(&s);
    if (put_all(&s) >= 0)
        replace(&s, program);
    free(s.cuts);
    free(s.ranges);
    free(s.nodes);
    free(s.out);
    free(in);
}
