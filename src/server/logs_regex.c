/* An expression is a row of items, alternatives one behind the other, each ended by an item that
 * accepts. A state is the set of items that may take the next byte; an item that may be left out
 * lets the one behind it in, too. */
#include "server/logs_regex.h"

#include <ctype.h>
#include <errno.h>

enum { MAX_ITEMS = 1024, MAX_REPEAT = 255, WORD_BITS = 64 };

enum kind { KIND_BYTES, KIND_ACCEPT, KIND_ACCEPT_AT_END };

struct item {
    enum kind kind;
    uint64_t set[256 / WORD_BITS];
    bool may_miss;
    bool may_repeat;
    bool begins;   /* an alternative */
    bool anchored; /* begins one that matches at the text's beginning only */
};

struct fl_logs_regex {
    size_t count;
    struct item *items;
};

struct parser {
    struct fl_str rest;
    struct fl_logs_regex *regex;
    bool begins;
    struct fl_err *err;
};

static void add_byte(struct item *item, unsigned char c)
{
    item->set[c / WORD_BITS] |= UINT64_C(1) << (c % WORD_BITS);
}

static bool has_byte(const struct item *item, unsigned char c)
{
    return item->set[c / WORD_BITS] >> (c % WORD_BITS) & 1;
}

static void invert(struct item *item)
{
    for (size_t i = 0; i < FL_ARRAY_SIZE(item->set); i++)
        item->set[i] = ~item->set[i];
}

static bool is_word(int c)
{
    return isalnum(c) || c == '_';
}

/* \d, \s, \w and their opposites; false for other letters. */
static bool add_class(struct item *item, char letter)
{
    struct item class = {0};
    for (int c = 0; c < 128; c++) {
        int lower = tolower((unsigned char)letter);
        if ((lower == 'd' && isdigit(c)) || (lower == 's' && isspace(c)) ||
            (lower == 'w' && is_word(c)))
            add_byte(&class, (unsigned char)c);
    }
    if (!strchr("dDsSwW", letter))
        return false;
    if (isupper((unsigned char)letter))
        invert(&class);
    for (size_t i = 0; i < FL_ARRAY_SIZE(item->set); i++)
        item->set[i] |= class.set[i];
    return true;
}

static int bad(const struct parser *parser, const char *why)
{
    return fl_err_set(parser->err, -EINVAL, "Invalid regular expression: %s.", why);
}

static int take_byte(struct parser *parser, unsigned char *ret_byte)
{
    *ret_byte = (unsigned char)parser->rest.p[0];
    parser->rest = fl_str_from(parser->rest, 1);
    return *ret_byte < 128 ? 0 : bad(parser, "only ASCII characters are supported");
}

/* What follows a backslash: 1 when it was a class and has been added, 0 with a byte. */
static int take_escape(struct parser *parser, struct item *item, unsigned char *ret_byte)
{
    unsigned char c = 0;
    if (parser->rest.n == 0)
        return bad(parser, "nothing follows the last backslash");
    int r = take_byte(parser, &c);
    if (r < 0)
        return r;
    if (c == 'x') {
        char digits[3] = {0};
        for (size_t i = 0; i < 2 && i < parser->rest.n; i++)
            digits[i] = parser->rest.p[i];
        if (!isxdigit((unsigned char)digits[0]) || !isxdigit((unsigned char)digits[1]))
            return bad(parser, "\\x wants two hexadecimal digits");
        *ret_byte = (unsigned char)strtoul(digits, NULL, 16);
        parser->rest = fl_str_from(parser->rest, 2);
        return 0;
    }
    if (add_class(item, (char)c))
        return 1;
    if (isalnum(c))
        return bad(parser, "an escape is not supported");
    *ret_byte = c;
    return 0;
}

/* One member of a set, a class or a byte that may begin a range. */
static int take_member(struct parser *parser, struct item *item)
{
    unsigned char first = 0, last;
    int r = take_byte(parser, &first);
    if (r == 0 && first == '\\')
        r = take_escape(parser, item, &first);
    if (r != 0)
        return r < 0 ? r : 0;
    last = first;
    if (parser->rest.n > 1 && parser->rest.p[0] == '-' && parser->rest.p[1] != ']') {
        struct item class = {0};
        parser->rest = fl_str_from(parser->rest, 1);
        r = take_byte(parser, &last);
        if (r == 0 && last == '\\')
            r = take_escape(parser, &class, &last);
        if (r != 0 || last < first)
            return r < 0 ? r : bad(parser, "a range in [] goes backwards");
    }
    for (unsigned c = first; c <= last; c++)
        add_byte(item, (unsigned char)c);
    return 0;
}

static int take_set(struct parser *parser, struct item *item)
{
    bool inverted = parser->rest.n > 0 && parser->rest.p[0] == '^';
    bool first = true;
    if (inverted)
        parser->rest = fl_str_from(parser->rest, 1);
    while (parser->rest.n > 0 && (first || parser->rest.p[0] != ']')) {
        int r = take_member(parser, item);
        if (r < 0)
            return r;
        first = false;
    }
    if (parser->rest.n == 0)
        return bad(parser, "a [ is not closed");
    parser->rest = fl_str_from(parser->rest, 1);
    if (inverted)
        invert(item);
    return 0;
}

static int take_item(struct parser *parser, struct item *item)
{
    unsigned char c = 0;
    int r = take_byte(parser, &c);
    if (r < 0)
        return r;
    switch (c) {
    case '[':
        return take_set(parser, item);
    case '.':
        invert(item);
        return 0;
    case '\\':
        r = take_escape(parser, item, &c);
        if (r == 0)
            add_byte(item, c);
        return r < 0 ? r : 0;
    case '(':
    case ')':
        return bad(parser, "groups in () are not supported");
    case '^':
    case '$':
        return bad(parser, "^ and $ stand at an end");
    case '?':
    case '*':
    case '+':
    case '{':
        return bad(parser, "nothing stands before a repetition");
    }
    add_byte(item, c);
    return 0;
}

/* {m}, {m,} and {m,n}; *ret_most -1: without end. */
static int take_braces(struct parser *parser, int *ret_least, int *ret_most)
{
    struct fl_str inner, least;
    uint64_t m, n;
    ptrdiff_t end = fl_str_index(parser->rest, '}');
    if (end < 0)
        return bad(parser, "a { is not closed");
    inner = fl_str_sub(parser->rest, 1, (size_t)end - 1);
    parser->rest = fl_str_from(parser->rest, (size_t)end + 1);
    bool has_comma = fl_str_index(inner, ',') >= 0;
    if (!fl_str_split(&inner, ',', &least) || !fl_str_to_u64(least, &m) || m > MAX_REPEAT)
        return bad(parser, "{} wants numbers up to 255");
    *ret_least = (int)m;
    *ret_most = has_comma ? -1 : (int)m;
    if (inner.n == 0)
        return 0;
    if (!fl_str_to_u64(inner, &n) || n > MAX_REPEAT || n < m)
        return bad(parser, "{} wants two numbers up to 255, the smaller one first");
    *ret_most = (int)n;
    return 0;
}

static int take_repetition(struct parser *parser, int *ret_least, int *ret_most)
{
    char c = parser->rest.n > 0 ? parser->rest.p[0] : '\0';
    *ret_least = *ret_most = 1;
    if (c == '{')
        return take_braces(parser, ret_least, ret_most);
    if (c != '?' && c != '*' && c != '+')
        return 0;
    *ret_least = c == '+' ? 1 : 0;
    *ret_most = c == '?' ? 1 : -1;
    parser->rest = fl_str_from(parser->rest, 1);
    return 0;
}

static int append(struct parser *parser, const struct item *item)
{
    if (parser->regex->count == MAX_ITEMS)
        return bad(parser, "it is too long");
    struct item *added = &parser->regex->items[parser->regex->count++];
    bool anchored = added->anchored;
    *added = *item;
    added->begins = parser->begins;
    added->anchored = anchored;
    parser->begins = false;
    return 0;
}

/* What must be there, then what may be. */
static int append_times(struct parser *parser, struct item *item, int least, int most)
{
    int r = 0;
    for (int i = 0; i < least && r == 0; i++) {
        item->may_repeat = most < 0 && i == least - 1;
        r = append(parser, item);
    }
    item->may_miss = true;
    item->may_repeat = most < 0;
    if (most < 0)
        return r < 0 || least > 0 ? r : append(parser, item);
    for (int i = least; i < most && r == 0; i++)
        r = append(parser, item);
    return r;
}

static int end_alternative(struct parser *parser, enum kind kind)
{
    const struct item end = {.kind = kind};
    return append(parser, &end);
}

static int take_alternative(struct parser *parser)
{
    enum kind end = KIND_ACCEPT;
    parser->begins = true;
    if (parser->regex->count < MAX_ITEMS && parser->rest.n > 0 && parser->rest.p[0] == '^') {
        parser->regex->items[parser->regex->count].anchored = true;
        parser->rest = fl_str_from(parser->rest, 1);
    }
    while (parser->rest.n > 0 && parser->rest.p[0] != '|') {
        struct item item = {0};
        int least, most;
        if (parser->rest.p[0] == '$' && (parser->rest.n == 1 || parser->rest.p[1] == '|')) {
            end = KIND_ACCEPT_AT_END;
            parser->rest = fl_str_from(parser->rest, 1);
            break;
        }
        int r = take_item(parser, &item);
        if (r == 0)
            r = take_repetition(parser, &least, &most);
        if (r == 0)
            r = append_times(parser, &item, least, most);
        if (r < 0)
            return r;
    }
    return end_alternative(parser, end);
}

int fl_logs_regex_compile(struct fl_str text, struct fl_arena *arena,
                          const struct fl_logs_regex **ret_regex, struct fl_err *err)
{
    FL_CLEANUP_FREE struct item *items = fl_calloc(MAX_ITEMS, sizeof(*items));
    struct fl_logs_regex *regex = fl_arena_new_object(arena, struct fl_logs_regex);
    struct parser parser = {.rest = text, .regex = regex, .err = err};
    regex->items = items;
    if (text.n == 0)
        return bad(&parser, "it is empty");
    int r = take_alternative(&parser);
    while (r == 0 && parser.rest.n > 0) {
        parser.rest = fl_str_from(parser.rest, 1);
        r = take_alternative(&parser);
    }
    if (r < 0)
        return r;
    regex->items = fl_arena_new_array(arena, struct item, regex->count);
    memcpy(regex->items, items, regex->count * sizeof(*items));
    *ret_regex = regex;
    return 0;
}

/* ---- matching ---- */

struct state {
    uint64_t words[MAX_ITEMS / WORD_BITS];
    bool accepted;
    bool accepted_at_end;
};

/* The item and those behind it that may come in its place: they are in the state already where it
 * is, so that no item is entered twice for one byte. */
static void enter(const struct fl_logs_regex *regex, struct state *state, size_t i)
{
    for (;; i++) {
        const struct item *item = &regex->items[i];
        uint64_t *word = &state->words[i / WORD_BITS], bit = UINT64_C(1) << (i % WORD_BITS);
        state->accepted = state->accepted || item->kind == KIND_ACCEPT;
        state->accepted_at_end = state->accepted_at_end || item->kind == KIND_ACCEPT_AT_END;
        if (item->kind != KIND_BYTES || *word & bit)
            return;
        *word |= bit;
        if (!item->may_miss)
            return;
    }
}

static void enter_alternatives(const struct fl_logs_regex *regex, struct state *state,
                               bool at_begin)
{
    for (size_t i = 0; i < regex->count; i++)
        if (regex->items[i].begins && (at_begin || !regex->items[i].anchored))
            enter(regex, state, i);
}

static void step(const struct fl_logs_regex *regex, const struct state *from, unsigned char c,
                 struct state *ret_to)
{
    size_t words = (regex->count + WORD_BITS - 1) / WORD_BITS;
    for (size_t w = 0; w < words; w++) {
        for (uint64_t bits = from->words[w]; bits; bits &= bits - 1) {
            size_t i = w * WORD_BITS + (size_t)__builtin_ctzll(bits);
            if (!has_byte(&regex->items[i], c))
                continue;
            if (regex->items[i].may_repeat)
                enter(regex, ret_to, i);
            enter(regex, ret_to, i + 1);
        }
    }
}

bool fl_logs_regex_matches(const struct fl_logs_regex *regex, struct fl_str text)
{
    struct state always = {0}, state = {0};
    enter_alternatives(regex, &state, true);
    enter_alternatives(regex, &always, false);
    for (size_t i = 0; i < text.n && !state.accepted; i++) {
        struct state next = always;
        step(regex, &state, (unsigned char)text.p[i], &next);
        state = next;
    }
    return state.accepted || state.accepted_at_end;
}

size_t fl_logs_regex_effort(const struct fl_logs_regex *regex)
{
    return 16 + regex->count;
}
