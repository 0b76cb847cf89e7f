/* An expression becomes a program: each instruction reads a character, tests a place or says where
 * to go on, by distances, so that a piece of it can be copied for {m,n}. A match holds the set of
 * instructions that may come next; every one is in it once, however many ways lead there. */
#include "server/parameters_pattern.h"

#include <errno.h>

#include "wire/json.h"

enum {
    MAX_PROGRAM = 10000,
    MAX_DEPTH = 50,    /* of groups */
    MAX_REPEAT = 4096, /* in {m,n} */
    MAX_RANGES = 64,   /* of one class */
    LAST_CHAR = 0x10ffff,
};

enum step { STEP_CLASS, STEP_SPLIT, STEP_JUMP, STEP_BEGIN, STEP_END, STEP_MATCH };

struct range {
    uint32_t from, to;
};

struct class
{
    size_t n;
    struct range ranges[MAX_RANGES];
    bool is_negated;
    uint64_t ascii[2]; /* what it takes of the first 128 characters, once it is whole */
};

struct instruction {
    enum step step;
    int32_t a, b;              /* SPLIT: both ways; JUMP: the way, as distances */
    const struct class *class; /* CLASS */
};

struct fl_parameters_pattern {
    size_t n, cap;
    struct instruction *program;
};

struct parser {
    struct fl_str rest;
    struct fl_arena *arena;
    struct fl_parameters_pattern *pattern;
    struct instruction *scratch; /* what is being repeated */
    size_t scratch_cap;
    size_t depth;
    struct fl_err *err;
};

static int bad(const struct parser *parser, const char *why)
{
    return fl_err_set(parser->err, -EINVAL, "The allowed pattern is not valid: %s.", why);
}

static bool sees(const struct parser *parser, char c)
{
    return parser->rest.n > 0 && parser->rest.p[0] == c;
}

static bool take(struct parser *parser, char c)
{
    bool is_there = sees(parser, c);
    parser->rest = fl_str_from(parser->rest, is_there);
    return is_there;
}

/* The next character; false at the end. What is not UTF-8 is read as bytes. */
static bool next_char(struct fl_str *s, uint32_t *ret_char)
{
    static const unsigned char first_bits[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    if (s->n == 0)
        return false;
    size_t n = FL_MAX(fl_json_char_length(*s), (size_t)1);
    uint32_t c = (unsigned char)s->p[0] & (n == 1 ? 0xff : first_bits[n]);
    for (size_t i = 1; i < n; i++)
        c = c << 6 | ((unsigned char)s->p[i] & 0x3f);
    *s = fl_str_from(*s, n);
    *ret_char = c;
    return true;
}

/* ---- classes ---- */

static int add_range(struct parser *parser, struct class *class, uint32_t from, uint32_t to)
{
    if (class->n == MAX_RANGES)
        return bad(parser, "a class has too many ranges");
    class->ranges[class->n++] = (struct range){from, to};
    return 0;
}

/* \d, \w, \s, or in capitals what they leave out; 0: the letter stands for no class. */
static int add_named(struct parser *parser, struct class *class, char letter)
{
    static const struct {
        char letter;
        size_t n;
        struct range ranges[4]; /* in order */
    } named[] = {
        {'d', 1, {{'0', '9'}}},
        {'w', 4, {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}}},
        {'s', 2, {{'\t', '\r'}, {' ', ' '}}},
    };
    for (size_t i = 0; i < FL_ARRAY_SIZE(named); i++) {
        uint32_t from = 0;
        int r = 0;
        for (size_t k = 0; r == 0 && letter == named[i].letter && k < named[i].n; k++)
            r = add_range(parser, class, named[i].ranges[k].from, named[i].ranges[k].to);
        if (letter == named[i].letter)
            return r < 0 ? r : 1;
        if (letter != named[i].letter - 'a' + 'A')
            continue;
        for (size_t k = 0; r == 0 && k < named[i].n; k++) {
            r = add_range(parser, class, from, named[i].ranges[k].from - 1);
            from = named[i].ranges[k].to + 1;
        }
        r = r < 0 ? r : add_range(parser, class, from, LAST_CHAR);
        return r < 0 ? r : 1;
    }
    return 0;
}

static int take_hex(struct parser *parser, size_t digits, uint32_t *ret_char)
{
    uint32_t c = 0;
    for (size_t i = 0; i < digits; i++) {
        static const char hex[] = "0123456789abcdef";
        char digit = parser->rest.n > 0 ? parser->rest.p[0] : 'x';
        const char *at = strchr(hex, digit >= 'A' && digit <= 'F' ? digit - 'A' + 'a' : digit);
        if (!at || !*at)
            return bad(parser, "\\x wants two hexadecimal digits and \\u four");
        c = c << 4 | (uint32_t)(at - hex);
        parser->rest = fl_str_from(parser->rest, 1);
    }
    *ret_char = c;
    return 0;
}

/* What follows a backslash: 1 when it was a class and has been added, 0 with a character. */
static int take_escape(struct parser *parser, struct class *class, uint32_t *ret_char)
{
    static const char letters[] = "tnrf", meant[] = "\t\n\r\f";
    uint32_t c = 0;
    if (!next_char(&parser->rest, &c))
        return bad(parser, "nothing follows the last backslash");
    if (c == 'x' || c == 'u')
        return take_hex(parser, c == 'x' ? 2 : 4, ret_char);
    int r = c < 128 ? add_named(parser, class, (char)c) : 0;
    if (r != 0)
        return r;
    const char *at = c > 0 && c < 128 ? strchr(letters, (int)c) : NULL;
    bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (!at && is_letter)
        return fl_err_set(parser->err, -EINVAL,
                          "The allowed pattern is not valid: \\%c is not supported.", (char)c);
    *ret_char = at ? (uint32_t)meant[at - letters] : c;
    return 0;
}

/* One member of [...]: 1 when it was a class and has been added, 0 with a character. */
static int take_member(struct parser *parser, struct class *class, uint32_t *ret_char)
{
    if (sees(parser, '[') || fl_str_starts(parser->rest, FL_STR("&&")))
        return bad(parser, "classes within classes are not supported");
    if (take(parser, '\\'))
        return take_escape(parser, class, ret_char);
    return next_char(&parser->rest, ret_char) ? 0 : bad(parser, "a [ is not closed");
}

static int take_class(struct parser *parser, struct class *class)
{
    class->is_negated = take(parser, '^');
    do {
        uint32_t from = 0, to;
        if (class->n == 0 && sees(parser, ']'))
            return bad(parser, "a class is empty");
        int r = take_member(parser, class, &from);
        if (r < 0)
            return r;
        if (r > 0)
            continue;
        to = from;
        if (sees(parser, '-') && !fl_str_starts(parser->rest, FL_STR("-]"))) {
            (void)take(parser, '-');
            r = take_member(parser, class, &to);
            if (r != 0 || to < from)
                return r < 0 ? r : bad(parser, "a range in a class has no order");
        }
        r = add_range(parser, class, from, to);
        if (r < 0)
            return r;
    } while (!take(parser, ']'));
    return 0;
}

static bool is_listed(const struct class *class, uint32_t c)
{
    for (size_t i = 0; i < class->n; i++)
        if (c >= class->ranges[i].from && c <= class->ranges[i].to)
            return !class->is_negated;
    return class->is_negated;
}

static bool is_in(const struct class *class, uint32_t c)
{
    return c < 128 ? class->ascii[c / 64] >> (c % 64) & 1 : is_listed(class, c);
}

static void finish(struct class *class)
{
    for (uint32_t c = 0; c < 128; c++)
        class->ascii[c / 64] |= (uint64_t)is_listed(class, c) << (c % 64);
}

/* ---- the program ---- */

/* Room for n instructions; those that were there are copied. */
static void grow(struct parser *parser, struct instruction **program, size_t *cap, size_t n)
{
    struct instruction *old = *program;
    size_t had = *cap;
    if (n <= had)
        return;
    *cap = FL_MAX(n, 2 * had);
    *program = fl_arena_new_array(parser->arena, struct instruction, *cap);
    if (had > 0)
        memcpy(*program, old, had * sizeof(*old));
}

static int emit(struct parser *parser, struct instruction instruction)
{
    struct fl_parameters_pattern *pattern = parser->pattern;
    if (pattern->n == MAX_PROGRAM)
        return bad(parser, "it is too large");
    grow(parser, &pattern->program, &pattern->cap, pattern->n + 1);
    pattern->program[pattern->n++] = instruction;
    return 0;
}

/* Puts an instruction before those from `at` on, whose distances stay what they are. */
static int insert(struct parser *parser, size_t at, struct instruction instruction)
{
    int r = emit(parser, instruction);
    struct instruction *program = parser->pattern->program;
    if (r < 0)
        return r;
    memmove(&program[at + 1], &program[at], (parser->pattern->n - 1 - at) * sizeof(*program));
    program[at] = instruction;
    return 0;
}

/* What lies from `at` on may be left out, or may be repeated as well. */
static int make_optional(struct parser *parser, size_t at, bool may_repeat)
{
    int32_t n = (int32_t)(parser->pattern->n - at);
    struct instruction split = {STEP_SPLIT, 1, n + 1 + may_repeat, NULL};
    int r = insert(parser, at, split);
    return r < 0 || !may_repeat ? r
                                : emit(parser, (struct instruction){STEP_JUMP, -n - 1, 0, NULL});
}

/* What lies from `at` on, from low to high times; high < 0: or more. */
static int repeat(struct parser *parser, size_t at, int32_t low, int32_t high)
{
    size_t n = parser->pattern->n - at;
    int r = 0;
    if (n == 0) /* an empty group: as often as one likes */
        return 0;
    grow(parser, &parser->scratch, &parser->scratch_cap, n);
    memcpy(parser->scratch, &parser->pattern->program[at], n * sizeof(*parser->scratch));
    parser->pattern->n = at;
    for (int32_t i = 0; r == 0 && (i < high || i < low || (high < 0 && i == low)); i++) {
        size_t begin = parser->pattern->n;
        for (size_t k = 0; r == 0 && k < n; k++)
            r = emit(parser, parser->scratch[k]);
        if (r == 0 && i >= low)
            r = make_optional(parser, begin, high < 0);
    }
    return r;
}

static int take_count(struct parser *parser, int32_t *ret_count)
{
    int32_t count = 0;
    bool has_digits = false;
    while (parser->rest.n > 0 && parser->rest.p[0] >= '0' && parser->rest.p[0] <= '9') {
        count = count * 10 + (parser->rest.p[0] - '0');
        if (count > MAX_REPEAT)
            return bad(parser, "a number of repetitions is too large");
        parser->rest = fl_str_from(parser->rest, 1);
        has_digits = true;
    }
    *ret_count = count;
    return has_digits;
}

/* m}, m,} or m,n} */
static int take_counts(struct parser *parser, int32_t *ret_low, int32_t *ret_high)
{
    int r = take_count(parser, ret_low);
    if (r == 0)
        return bad(parser, "no number follows a {");
    *ret_high = *ret_low;
    if (r > 0 && take(parser, ',')) {
        r = take_count(parser, ret_high);
        *ret_high = r == 0 ? -1 : *ret_high;
    }
    if (r < 0)
        return r;
    if (!take(parser, '}'))
        return bad(parser, "a { is not closed");
    return *ret_high >= 0 && *ret_high < *ret_low ? bad(parser, "in {m,n} n is less than m") : 0;
}

static int take_quantifier(struct parser *parser, size_t at)
{
    int32_t low = 1, high = 1;
    int r = 0;
    if (take(parser, '*'))
        low = 0, high = -1;
    else if (take(parser, '+'))
        high = -1;
    else if (take(parser, '?'))
        low = 0;
    else if (take(parser, '{'))
        r = take_counts(parser, &low, &high);
    else
        return 0;
    if (r < 0)
        return r;
    (void)take(parser, '?'); /* how much it takes first is all the same to a match of the whole */
    if (sees(parser, '*') || sees(parser, '+') || sees(parser, '?') || sees(parser, '{'))
        return bad(parser, "a quantifier follows a quantifier");
    return repeat(parser, at, low, high);
}

static int take_alternatives(struct parser *parser);

static int take_group(struct parser *parser)
{
    if (take(parser, '?') && !take(parser, ':'))
        return bad(parser, "of groups with ? only (?: is supported");
    if (++parser->depth > MAX_DEPTH)
        return bad(parser, "its groups are too deep");
    int r = take_alternatives(parser);
    parser->depth--;
    if (r < 0)
        return r;
    return take(parser, ')') ? 0 : bad(parser, "a ( is not closed");
}

/* What '.' does not take: the ends of lines. */
static int add_line_ends(struct parser *parser, struct class *class)
{
    static const struct range ends[] = {{'\n', '\n'}, {'\r', '\r'}, {0x85, 0x85}, {0x2028, 0x2029}};
    int r = 0;
    for (size_t i = 0; r == 0 && i < FL_ARRAY_SIZE(ends); i++)
        r = add_range(parser, class, ends[i].from, ends[i].to);
    class->is_negated = true;
    return r;
}

static int take_character(struct parser *parser)
{
    struct class *class = fl_arena_new_object(parser->arena, struct class);
    uint32_t c = 0;
    int r = 0;
    if (sees(parser, '*') || sees(parser, '+') || sees(parser, '?') || sees(parser, '{'))
        return bad(parser, "a quantifier follows nothing");
    if (take(parser, '.'))
        r = add_line_ends(parser, class);
    else if (take(parser, '['))
        r = take_class(parser, class);
    else if (take(parser, '\\'))
        r = take_escape(parser, class, &c);
    else
        (void)next_char(&parser->rest, &c);
    if (r == 0 && class->n == 0)
        r = add_range(parser, class, c, c);
    if (r < 0)
        return r;
    finish(class);
    return emit(parser, (struct instruction){STEP_CLASS, 0, 0, class});
}

static int take_piece(struct parser *parser)
{
    size_t at = parser->pattern->n;
    int r;
    if (take(parser, '('))
        r = take_group(parser);
    else if (take(parser, '^'))
        r = emit(parser, (struct instruction){STEP_BEGIN, 0, 0, NULL});
    else if (take(parser, '$'))
        r = emit(parser, (struct instruction){STEP_END, 0, 0, NULL});
    else
        r = take_character(parser);
    return r < 0 ? r : take_quantifier(parser, at);
}

/* a|b|c: a split before each but the last, and after it a jump over those behind it. Until the end
 * is known each jump holds where the one before it is, and 0 is none: a split precedes the first.
 */
static int take_alternatives(struct parser *parser)
{
    struct fl_parameters_pattern *pattern = parser->pattern;
    size_t at = pattern->n, last_jump = 0;
    int r = 0;
    for (;;) {
        while (r == 0 && parser->rest.n > 0 && !sees(parser, '|') && !sees(parser, ')'))
            r = take_piece(parser);
        if (r < 0 || !take(parser, '|'))
            break;
        int32_t n = (int32_t)(pattern->n - at);
        r = insert(parser, at, (struct instruction){STEP_SPLIT, 1, n + 2, NULL});
        if (r == 0)
            r = emit(parser, (struct instruction){STEP_JUMP, (int32_t)last_jump, 0, NULL});
        last_jump = pattern->n - 1;
        at = pattern->n;
    }
    while (r == 0 && last_jump > 0) {
        struct instruction *jump = &pattern->program[last_jump];
        size_t before = (size_t)jump->a;
        jump->a = (int32_t)(pattern->n - last_jump);
        last_jump = before;
    }
    return r;
}

int fl_parameters_pattern_compile(struct fl_str text, struct fl_arena *arena,
                                  const struct fl_parameters_pattern **ret_pattern,
                                  struct fl_err *err)
{
    struct fl_parameters_pattern *pattern =
        fl_arena_new_object(arena, struct fl_parameters_pattern);
    struct parser parser = {.rest = text, .arena = arena, .pattern = pattern, .err = err};
    pattern->cap = 64;
    pattern->program = fl_arena_new_array(arena, struct instruction, pattern->cap);
    int r = take_alternatives(&parser);
    if (r == 0 && parser.rest.n > 0)
        r = bad(&parser, "a ) closes nothing");
    if (r == 0)
        r = emit(&parser, (struct instruction){STEP_MATCH, 0, 0, NULL});
    *ret_pattern = pattern;
    return r;
}

/* ---- matching ---- */

struct states {
    size_t n;
    size_t *list; /* of instructions that read, or that end it */
};

struct match {
    const struct fl_parameters_pattern *pattern;
    struct fl_str text;
    size_t at;      /* the place in it */
    size_t *marked; /* by instruction: the round in which it was reached last */
    size_t round;
    size_t *stack;
};

static bool is_end(const struct match *match)
{
    return match->at == match->text.n ||
           (match->at + 1 == match->text.n && match->text.p[match->at] == '\n');
}

static void push(struct match *match, size_t to, size_t *depth)
{
    if (match->marked[to] == match->round)
        return;
    match->marked[to] = match->round;
    match->stack[(*depth)++] = to;
}

/* Adds the instruction and all that can be reached from it without reading. */
static void follow(struct match *match, size_t from, struct states *states)
{
    size_t depth = 0;
    push(match, from, &depth);
    while (depth > 0) {
        size_t i = match->stack[--depth];
        const struct instruction *now = &match->pattern->program[i];
        switch (now->step) {
        case STEP_CLASS:
        case STEP_MATCH:
            states->list[states->n++] = i;
            break;
        case STEP_SPLIT:
            push(match, i + (size_t)now->b, &depth);
            push(match, i + (size_t)now->a, &depth);
            break;
        case STEP_JUMP:
            push(match, (size_t)((ptrdiff_t)i + now->a), &depth);
            break;
        case STEP_BEGIN:
            if (match->at == 0)
                push(match, i + 1, &depth);
            break;
        case STEP_END:
            if (is_end(match))
                push(match, i + 1, &depth);
            break;
        }
    }
}

bool fl_parameters_pattern_matches(const struct fl_parameters_pattern *pattern, struct fl_str text,
                                   struct fl_arena *arena)
{
    struct match match = {
        .pattern = pattern,
        .text = text,
        .marked = fl_arena_new_array(arena, size_t, pattern->n),
        .round = 1,
        .stack = fl_arena_new_array(arena, size_t, pattern->n),
    };
    struct states now = {0, fl_arena_new_array(arena, size_t, pattern->n)};
    struct states next = {0, fl_arena_new_array(arena, size_t, pattern->n)};
    struct fl_str rest = text;
    uint32_t c = 0;
    follow(&match, 0, &now);
    while (now.n > 0 && next_char(&rest, &c)) {
        match.at = text.n - rest.n;
        match.round++;
        next.n = 0;
        for (size_t i = 0; i < now.n; i++) {
            const struct instruction *reads = &pattern->program[now.list[i]];
            if (reads->step == STEP_CLASS && is_in(reads->class, c))
                follow(&match, now.list[i] + 1, &next);
        }
        struct states swap = now;
        now = next;
        next = swap;
    }
    for (size_t i = 0; rest.n == 0 && i < now.n; i++)
        if (pattern->program[now.list[i]].step == STEP_MATCH)
            return true;
    return false;
}
