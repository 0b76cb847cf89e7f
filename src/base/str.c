/* Slices and capped buffers. */
#include "base/str.h"

#include <stdio.h>
#include <strings.h>

enum { SHORT_TEXT = 256 };

int fl_str_cmp(struct fl_str a, struct fl_str b)
{
    size_t common = FL_MIN(a.n, b.n);
    int order = common ? memcmp(a.p, b.p, common) : 0;
    if (order != 0)
        return order;
    return a.n < b.n ? -1 : a.n > b.n;
}

bool fl_str_case_eq(struct fl_str a, struct fl_str b)
{
    return a.n == b.n && (a.n == 0 || strncasecmp(a.p, b.p, a.n) == 0);
}

bool fl_str_starts(struct fl_str s, struct fl_str prefix)
{
    return s.n >= prefix.n && (prefix.n == 0 || memcmp(s.p, prefix.p, prefix.n) == 0);
}

bool fl_str_ends(struct fl_str s, struct fl_str suffix)
{
    return s.n >= suffix.n && fl_str_eq(fl_str_from(s, s.n - suffix.n), suffix);
}

struct fl_str fl_str_from(struct fl_str s, size_t from)
{
    return from >= s.n ? (struct fl_str){"", 0} : (struct fl_str){s.p + from, s.n - from};
}

struct fl_str fl_str_sub(struct fl_str s, size_t from, size_t n)
{
    struct fl_str rest = fl_str_from(s, from);
    rest.n = FL_MIN(rest.n, n);
    return rest;
}

ptrdiff_t fl_str_index(struct fl_str s, char c)
{
    const char *hit = s.n ? memchr(s.p, c, s.n) : NULL;
    return hit ? hit - s.p : -1;
}

ptrdiff_t fl_str_rindex(struct fl_str s, char c)
{
    const char *hit = s.n ? memrchr(s.p, c, s.n) : NULL;
    return hit ? hit - s.p : -1;
}

bool fl_str_contains(struct fl_str s, struct fl_str needle)
{
    return needle.n == 0 || (s.n >= needle.n && memmem(s.p, s.n, needle.p, needle.n));
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

struct fl_str fl_str_trim(struct fl_str s)
{
    while (s.n && is_blank(s.p[0]))
        s = fl_str_from(s, 1);
    while (s.n && is_blank(s.p[s.n - 1]))
        s.n--;
    return s;
}

bool fl_str_split(struct fl_str *s, char sep, struct fl_str *ret_head)
{
    if (s->n == 0)
        return false;
    ptrdiff_t at = fl_str_index(*s, sep);
    if (at < 0) {
        *ret_head = *s;
        *s = (struct fl_str){"", 0};
        return true;
    }
    *ret_head = fl_str_sub(*s, 0, (size_t)at);
    *s = fl_str_from(*s, (size_t)at + 1);
    return true;
}

bool fl_str_to_u64(struct fl_str s, uint64_t *ret_value)
{
    uint64_t value = 0;
    if (s.n == 0 || s.n > 20)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(s.p[i] - '0'), &value))
            return false;
    }
    *ret_value = value;
    return true;
}

bool fl_str_to_i64(struct fl_str s, int64_t *ret_value)
{
    uint64_t magnitude;
    bool negative = s.n > 0 && s.p[0] == '-';
    if (!fl_str_to_u64(negative ? fl_str_from(s, 1) : s, &magnitude) || magnitude > INT64_MAX)
        return false;
    *ret_value = negative ? -(int64_t)magnitude : (int64_t)magnitude;
    return true;
}

struct fl_str fl_str_dup(struct fl_arena *arena, struct fl_str s)
{
    return (struct fl_str){fl_arena_memdup(arena, s.p, s.n), s.n};
}

/* Most texts are short, and are formatted once. */
struct fl_str fl_str_printf(struct fl_arena *arena, const char *fmt, ...)
{
    char small[SHORT_TEXT];
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int n = vsnprintf(small, sizeof(small), fmt, args);
    va_end(args);
    FL_ASSERT(n >= 0);
    char *p = small;
    if ((size_t)n < sizeof(small)) {
        p = fl_arena_memdup(arena, small, (size_t)n);
    } else {
        p = fl_arena_alloc(arena, (size_t)n + 1);
        (void)vsnprintf(p, (size_t)n + 1, fmt, again);
    }
    va_end(again);
    return (struct fl_str){p, (size_t)n};
}

const char *fl_str_z(struct fl_arena *arena, struct fl_str s)
{
    return fl_arena_memdup(arena, s.p, s.n);
}

char *fl_buf_reserve(struct fl_buf *buf, size_t n)
{
    if (buf->overflow || n > buf->max || buf->n > buf->max - n) {
        buf->overflow = true;
        return NULL;
    }
    if (buf->n + n + 1 > buf->cap) {
        size_t cap = FL_MAX(buf->cap * 2, buf->n + n + 1);
        cap = FL_MIN(FL_MAX(cap, 256), buf->max + 1);
        buf->p = fl_realloc(buf->p, cap);
        buf->cap = cap;
    }
    return buf->p + buf->n;
}

void fl_buf_add(struct fl_buf *buf, const void *bytes, size_t n)
{
    char *to = fl_buf_reserve(buf, n);
    if (!to)
        return;
    if (n)
        memcpy(to, bytes, n);
    buf->n += n;
    buf->p[buf->n] = '\0';
}

void fl_buf_add_str(struct fl_buf *buf, struct fl_str s)
{
    fl_buf_add(buf, s.p, s.n);
}

void fl_buf_add_z(struct fl_buf *buf, const char *z)
{
    fl_buf_add(buf, z, strlen(z));
}

void fl_buf_add_char(struct fl_buf *buf, char c)
{
    fl_buf_add(buf, &c, 1);
}

void fl_buf_printf(struct fl_buf *buf, const char *fmt, ...)
{
    char small[SHORT_TEXT];
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int n = vsnprintf(small, sizeof(small), fmt, args);
    va_end(args);
    FL_ASSERT(n >= 0);
    if ((size_t)n < sizeof(small)) {
        fl_buf_add(buf, small, (size_t)n);
    } else {
        char *to = fl_buf_reserve(buf, (size_t)n);
        if (to) {
            (void)vsnprintf(to, (size_t)n + 1, fmt, again);
            buf->n += (size_t)n;
        }
    }
    va_end(again);
}

void fl_buf_consume(struct fl_buf *buf, size_t n)
{
    FL_ASSERT(n <= buf->n);
    if (n == 0)
        return;
    memmove(buf->p, buf->p + n, buf->n - n + 1);
    buf->n -= n;
}

void fl_buf_clear(struct fl_buf *buf)
{
    buf->n = 0;
    buf->overflow = false;
    if (buf->p)
        buf->p[0] = '\0';
}

void fl_buf_free(struct fl_buf *buf)
{
    free(buf->p);
    *buf = (struct fl_buf){.max = buf->max};
}
