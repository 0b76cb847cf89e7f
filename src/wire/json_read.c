/* The JSON reader: one pass over a copy of the text, which then holds the strings.
 *
 * The copy is the only thing written to: a string is unescaped where it stands (it only gets
 * shorter) and its closing quote becomes its NUL. A NUL is no part of any JSON, so the one behind
 * the copy ends every loop, and no other end is looked for. Values of containers that are still
 * open lie on a stack; a container that ends takes its own from there into the arena, one block
 * each, so that there is neither an allocation a value nor a table a member. Recursion is bounded
 * by FL_JSON_MAX_DEPTH. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "wire/json_plain.h"

enum {
    FIRST_STACK = 96, /* values; more of them move to the heap */
    FEW_MEMBERS = 64, /* looked through one by one for two of the same name */
    LAST_EXACT = 22,  /* 10^22 is the largest power of ten that is a double */
};

struct reader {
    char *at; /* in the copy */
    const char *begin, *end;
    struct fl_str text;
    struct fl_arena *arena;
    struct fl_err *err;
    unsigned depth;
    size_t values;
    size_t used, cap;
    struct fl_json *stack; /* first, or on the heap */
    struct fl_json first[FIRST_STACK];
};

/* ---- refusals ---- */

/* Line and column are those of the text, whose copy may have been written to. */
static bool fail(struct reader *r, const char *at, const char *why)
{
    size_t offset = (size_t)(at - r->begin), line = 1, column = 1;
    if (at < r->end && *at == '\0') {
        (void)fl_err_set(r->err, -EINVAL, "the JSON text has a NUL byte at offset %zu", offset);
        return false;
    }
    for (size_t i = 0; i < offset; i++) {
        column = r->text.p[i] == '\n' ? 1 : column + 1;
        line += r->text.p[i] == '\n';
    }
    (void)fl_err_set(r->err, -EINVAL, "not valid JSON: %s at line %zu, column %zu",
                     at == r->end ? "the end comes too early" : why, line, column);
    return false;
}

/* ---- strings ---- */

/* The first byte from p on that does not stand for itself in a string: at the latest the NUL. */
static char *skip_plain(const struct reader *r, char *p)
{
    while (r->end - p >= 8 && fl_json_8_plain(p))
        p += 8;
    while (fl_json_is_plain(*p))
        p++;
    return p;
}

static bool read_hex(const char *p, unsigned *ret_code)
{
    unsigned code = 0;
    for (int i = 0; i < 4; i++) {
        unsigned char c = (unsigned char)p[i];
        unsigned lower = c | 0x20u;
        if (c >= '0' && c <= '9')
            code = code << 4 | (c - (unsigned)'0');
        else if (lower >= 'a' && lower <= 'f')
            code = code << 4 | (lower - 'a' + 10);
        else
            return false;
    }
    *ret_code = code;
    return true;
}

static char *put_char(char *to, unsigned code)
{
    if (code < 0x80) {
        *to++ = (char)code;
        return to;
    }
    if (code < 0x800) {
        *to++ = (char)(0xc0 | code >> 6);
    } else {
        if (code < 0x10000) {
            *to++ = (char)(0xe0 | code >> 12);
        } else {
            *to++ = (char)(0xf0 | code >> 18);
            *to++ = (char)(0x80 | (code >> 12 & 0x3f));
        }
        *to++ = (char)(0x80 | (code >> 6 & 0x3f));
    }
    *to++ = (char)(0x80 | (code & 0x3f));
    return to;
}

/* "\uXXXX", or two of them for one character, at r->at. */
static bool read_unicode(struct reader *r, char **to)
{
    const char *from = r->at;
    unsigned code, low;
    if (!read_hex(from + 2, &code))
        return fail(r, from, "\\u without four hexadecimal digits");
    r->at += 6;
    if (code == 0) {
        (void)fl_err_set(r->err, -EINVAL, "the JSON text has a NUL character at offset %zu",
                         (size_t)(from - r->begin));
        return false;
    }
    if (code >= 0xd800 && code < 0xe000) {
        if (code >= 0xdc00 || r->at[0] != '\\' || r->at[1] != 'u' || !read_hex(r->at + 2, &low) ||
            low < 0xdc00 || low > 0xdfff)
            return fail(r, from, "half of a surrogate pair");
        code = 0x10000 + ((code - 0xd800) << 10 | (low - 0xdc00));
        r->at += 6;
    }
    *to = put_char(*to, code);
    return true;
}

static bool read_escape(struct reader *r, char **to)
{
    static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    char c = r->at[1];
    const char *found = c ? strchr(names, c) : NULL;
    if (c == 'u')
        return read_unicode(r, to);
    if (!found)
        return fail(r, r->at + (c == '\0'), "an unknown escape");
    *(*to)++ = values[found - names];
    r->at += 2;
    return true;
}

/* Moves what is not plain at r->at to *to: an escape or a character beyond ASCII. */
static bool read_special(struct reader *r, char **to)
{
    unsigned char c = (unsigned char)*r->at;
    if (c == '\\')
        return read_escape(r, to);
    if (c < 0x80)
        return fail(r, r->at, "a control character in a string");
    size_t n = fl_json_char_length((struct fl_str){r->at, (size_t)(r->end - r->at)});
    if (n == 0) {
        (void)fl_err_set(r->err, -EINVAL, "the JSON text is not UTF-8 at offset %zu",
                         (size_t)(r->at - r->begin));
        return false;
    }
    memmove(*to, r->at, n);
    *to += n;
    r->at += n;
    return true;
}

/* r->at is at the opening quote. */
static bool read_string(struct reader *r, struct fl_json *ret)
{
    char *from = ++r->at, *to = from;
    for (;;) {
        char *plain = r->at;
        r->at = skip_plain(r, plain);
        if (to != plain)
            memmove(to, plain, (size_t)(r->at - plain));
        to += r->at - plain;
        if (*r->at == '"')
            break;
        if (!read_special(r, &to))
            return false;
    }
    r->at++;
    *to = '\0';
    *ret = (struct fl_json){FL_JSON_STRING, (uint32_t)(to - from), {.text = from}};
    return true;
}

/* ---- numbers ---- */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Digits from r->at on, into *value while they fit; returns how many there were. */
static size_t read_digits(struct reader *r, uint64_t *value, size_t *digits)
{
    const char *from = r->at;
    for (; is_digit(*r->at); r->at++, (*digits)++)
        if (*digits < 19)
            *value = *value * 10 + (uint64_t)(*r->at - '0');
    return (size_t)(r->at - from);
}

/* What is short enough is a quotient of two exact doubles, and so rounded once, as it must be.
 * from is where the number begins, digits say how long the mantissa is. */
static bool finish_real(struct reader *r, const char *from, uint64_t mantissa, size_t digits,
                        size_t decimals, struct fl_json *ret)
{
    static const double powers[LAST_EXACT + 1] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                                  1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                                  1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    double real;
    if (digits <= 15 && decimals <= LAST_EXACT && *r->at != 'e' && *r->at != 'E') {
        real = (double)mantissa / powers[decimals];
        real = *from == '-' ? -real : real;
    } else {
        char *end;
        real = strtod(from, &end);
        if (!isfinite(real))
            return fail(r, from, "a number that is too large");
    }
    *ret = (struct fl_json){FL_JSON_REAL, 0, {.real = real}};
    return true;
}

static bool skip_exponent(struct reader *r)
{
    uint64_t ignored = 0;
    size_t digits = 0;
    char *p = r->at;
    r->at += 1 + (p[1] == '+' || p[1] == '-');
    return read_digits(r, &ignored, &digits) > 0;
}

static bool read_real(struct reader *r, const char *from, uint64_t mantissa, size_t digits,
                      struct fl_json *ret)
{
    size_t decimals = 0;
    if (*r->at == '.') {
        r->at++;
        decimals = read_digits(r, &mantissa, &digits);
        if (decimals == 0)
            return fail(r, r->at, "a number without digits behind its point");
    }
    if (!finish_real(r, from, mantissa, digits, decimals, ret))
        return false;
    if ((*r->at == 'e' || *r->at == 'E') && !skip_exponent(r))
        return fail(r, r->at, "a number without digits in its exponent");
    return true;
}

static bool read_number(struct reader *r, struct fl_json *ret)
{
    const char *from = r->at;
    bool negative = *from == '-';
    uint64_t value = 0;
    size_t digits = 0;
    r->at += negative;
    if (*r->at == '0' && is_digit(r->at[1]))
        return fail(r, r->at, "a number that begins with 0");
    if (read_digits(r, &value, &digits) == 0)
        return fail(r, r->at, "a number without digits");
    if (*r->at == '.' || *r->at == 'e' || *r->at == 'E')
        return read_real(r, from, value, digits, ret);
    if (digits > 19 || value > (uint64_t)INT64_MAX + negative)
        return fail(r, from, "an integer of more than 64 bits");
    int64_t integer = negative ? (int64_t)(UINT64_C(0) - value) : (int64_t)value;
    *ret = (struct fl_json){FL_JSON_INTEGER, 0, {.integer = integer}};
    return true;
}

/* ---- containers ---- */

static void push(struct reader *r, const struct fl_json *value)
{
    if (r->used == r->cap) {
        bool is_first = r->stack == r->first;
        r->cap *= 2;
        r->stack = fl_realloc(is_first ? NULL : r->stack, r->cap * sizeof(*r->stack));
        if (is_first)
            memcpy(r->stack, r->first, sizeof(r->first));
    }
    r->stack[r->used++] = *value;
}

static bool same_name(const struct fl_json *a, const struct fl_json *b)
{
    return a->n == b->n && memcmp(a->text, b->text, a->n) == 0;
}

/* Something that differs for most names. */
static unsigned name_mark(const struct fl_json *name)
{
    unsigned n = name->n;
    if (n == 0)
        return 0;
    return (n * 7u + (unsigned char)name->text[0] * 31u + (unsigned char)name->text[n - 1] * 17u +
            (unsigned char)name->text[n / 2] * 59u) &
           255u;
}

/* The later value takes the earlier one's place. pairs are of name and value; returns how many
 * members are left. */
static size_t unite_few(struct fl_json *pairs, size_t n)
{
    uint64_t seen[4] = {0};
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        const struct fl_json *name = &pairs[2 * i];
        unsigned mark = name_mark(name);
        size_t place = kept;
        if (seen[mark / 64] >> (mark % 64) & 1)
            for (place = 0; place < kept && !same_name(&pairs[2 * place], name);)
                place++;
        seen[mark / 64] |= UINT64_C(1) << (mark % 64);
        if (place != i) {
            pairs[2 * place] = *name;
            pairs[2 * place + 1] = pairs[2 * i + 1];
        }
        kept += place == kept;
    }
    return kept;
}

static int compare_names(const void *a, const void *b)
{
    const struct fl_json *x = *(struct fl_json *const *)a, *y = *(struct fl_json *const *)b;
    if (x->n != y->n)
        return x->n < y->n ? -1 : 1;
    int order = memcmp(x->text, y->text, x->n);
    return order ? order : (x > y) - (x < y);
}

/* The same in sorted order, so that strangers cannot make it quadratic. A member that goes has
 * its name's kind changed. */
static size_t unite_many(struct fl_json *pairs, size_t n)
{
    FL_CLEANUP_FREE struct fl_json **names = fl_malloc(n * sizeof(struct fl_json *));
    size_t kept = 0;
    for (size_t i = 0; i < n; i++)
        names[i] = &pairs[2 * i];
    qsort(names, n, sizeof(struct fl_json *), compare_names);
    for (size_t i = 1, first = 0; i < n; i++) {
        if (!same_name(names[first], names[i])) {
            first = i;
            continue;
        }
        names[first][1] = names[i][1];
        names[i]->kind = FL_JSON_NULL;
    }
    for (size_t i = 0; i < n; i++) {
        if (pairs[2 * i].kind != FL_JSON_STRING)
            continue;
        pairs[2 * kept] = pairs[2 * i];
        pairs[2 * kept++ + 1] = pairs[2 * i + 1];
    }
    return kept;
}

/* Makes a container of what lies on the stack from `base` on. */
static void close_container(struct reader *r, enum fl_json_kind kind, size_t base)
{
    struct fl_json *values = r->stack + base, *items = NULL;
    size_t count = r->used - base, n = count;
    if (kind == FL_JSON_OBJECT) {
        n = count / 2 <= FEW_MEMBERS ? unite_few(values, count / 2) : unite_many(values, count / 2);
        count = 2 * n;
    }
    if (count > 0) {
        items = fl_arena_new_array(r->arena, struct fl_json, count);
        memcpy(items, values, count * sizeof(*items));
    }
    r->used = base;
    push(r, &(struct fl_json){kind, (uint32_t)n, {.items = items}});
}

static void skip_blanks(struct reader *r)
{
    while (*r->at == ' ' || *r->at == '\n' || *r->at == '\r' || *r->at == '\t')
        r->at++;
}

static bool read_value(struct reader *r);

/* A member's name and the colon; what is no name is an error. */
static bool read_name(struct reader *r)
{
    struct fl_json name;
    if (*r->at != '"')
        return fail(r, r->at, "no name where one has to be");
    if (!read_string(r, &name))
        return false;
    push(r, &name);
    skip_blanks(r);
    if (*r->at != ':')
        return fail(r, r->at, "no colon behind a name");
    r->at++;
    skip_blanks(r);
    return true;
}

static bool skip_comma(struct reader *r)
{
    if (*r->at != ',')
        return fail(r, r->at, "no comma between two values");
    r->at++;
    skip_blanks(r);
    return true;
}

/* r->at is at the opening bracket. */
static bool read_container(struct reader *r, enum fl_json_kind kind, char closing)
{
    size_t base = r->used;
    if (++r->depth > FL_JSON_MAX_DEPTH) {
        (void)fl_err_set(r->err, -EINVAL, "the JSON text is nested deeper than %d levels",
                         FL_JSON_MAX_DEPTH);
        return false;
    }
    r->at++;
    skip_blanks(r);
    for (bool is_first = true; *r->at != closing; is_first = false) {
        if (!is_first && !skip_comma(r))
            return false;
        if ((kind == FL_JSON_OBJECT && !read_name(r)) || !read_value(r))
            return false;
        skip_blanks(r);
    }
    r->at++;
    r->depth--;
    close_container(r, kind, base);
    return true;
}

static bool read_word(struct reader *r, const char *word, enum fl_json_kind kind)
{
    size_t n = strlen(word);
    if (strncmp(r->at, word, n) != 0)
        return fail(r, r->at, "an unknown word");
    r->at += n;
    push(r, &(struct fl_json){.kind = kind});
    return true;
}

static bool read_scalar(struct reader *r)
{
    struct fl_json value;
    if (*r->at == '"' ? !read_string(r, &value) : !read_number(r, &value))
        return false;
    push(r, &value);
    return true;
}

/* Pushes one value. */
static bool read_value(struct reader *r)
{
    if (++r->values > FL_JSON_MAX_VALUES) {
        (void)fl_err_set(r->err, -EINVAL, "the JSON text has more than %d values",
                         FL_JSON_MAX_VALUES);
        return false;
    }
    switch (*r->at) {
    case '{':
        return read_container(r, FL_JSON_OBJECT, '}');
    case '[':
        return read_container(r, FL_JSON_ARRAY, ']');
    case 't':
        return read_word(r, "true", FL_JSON_TRUE);
    case 'f':
        return read_word(r, "false", FL_JSON_FALSE);
    case 'n':
        return read_word(r, "null", FL_JSON_NULL);
    }
    if (*r->at == '"' || *r->at == '-' || is_digit(*r->at))
        return read_scalar(r);
    return fail(r, r->at, "no value where one has to be");
}

static bool read_text(struct reader *r)
{
    skip_blanks(r);
    if (!read_value(r))
        return false;
    skip_blanks(r);
    return r->at == r->end || fail(r, r->at, "more than one value");
}

const struct fl_json *fl_json_read(struct fl_str text, struct fl_arena *arena, struct fl_err *err)
{
    struct reader r;
    if (text.n >= UINT32_MAX) {
        (void)fl_err_set(err, -EINVAL, "the JSON text is too large");
        return NULL;
    }
    r.at = fl_arena_memdup(arena, text.p, text.n);
    r.begin = r.at;
    r.end = r.at + text.n;
    r.text = text;
    r.arena = arena;
    r.err = err;
    r.depth = 0;
    r.values = r.used = 0;
    r.cap = FIRST_STACK;
    r.stack = r.first;
    struct fl_json *root = NULL;
    if (read_text(&r)) {
        root = fl_arena_new_object(arena, struct fl_json);
        *root = r.stack[0];
    }
    if (r.stack != r.first)
        free(r.stack);
    return root;
}

const struct fl_json *fl_json_get(const struct fl_json *json, const char *name)
{
    size_t n = strlen(name);
    for (size_t i = 0; i < fl_json_members(json); i++) {
        const struct fl_json *other = fl_json_member_name(json, i);
        if (other->n == n && memcmp(other->text, name, n) == 0)
            return fl_json_member(json, i);
    }
    return NULL;
}

static bool is_continuation(char c)
{
    return ((unsigned char)c & 0xc0) == 0x80;
}

size_t fl_json_char_length(struct fl_str s)
{
    unsigned char first = (unsigned char)s.p[0];
    if (first < 0x80)
        return 1;
    size_t n = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    if (first < 0xc2 || first > 0xf4 || s.n < n)
        return 0;
    for (size_t i = 1; i < n; i++) {
        if (!is_continuation(s.p[i]))
            return 0;
    }
    unsigned char second = (unsigned char)s.p[1];
    if ((first == 0xe0 && second < 0xa0) || (first == 0xed && second > 0x9f) ||
        (first == 0xf0 && second < 0x90) || (first == 0xf4 && second > 0x8f))
        return 0;
    return n;
}
