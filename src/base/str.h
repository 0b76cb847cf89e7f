/* Strings are pointer and length; buffers grow up to a cap given at creation.
 *
 * A struct fl_str never owns its bytes and need not end in NUL; p may be NULL only with n = 0. */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/arena.h"
#include "base/util.h"

struct fl_str {
    const char *p;
    size_t n;
};

#define FL_STR(literal) ((struct fl_str){"" literal, sizeof(literal) - 1})
/* For printf's "%.*s". */
#define FL_STR_ARG(s) (int)(s).n, ((s).p ? (s).p : "")

static inline struct fl_str fl_str_of(const char *z)
{
    return (struct fl_str){z, z ? strlen(z) : 0};
}

static inline bool fl_str_eq(struct fl_str a, struct fl_str b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

static inline bool fl_str_is(struct fl_str a, const char *z)
{
    return fl_str_eq(a, fl_str_of(z));
}

/* Order by bytes, a prefix before what it starts. */
int fl_str_cmp(struct fl_str a, struct fl_str b);
bool fl_str_case_eq(struct fl_str a, struct fl_str b);
bool fl_str_starts(struct fl_str s, struct fl_str prefix);
bool fl_str_ends(struct fl_str s, struct fl_str suffix);
/* From byte `from` on; empty when beyond the end. */
struct fl_str fl_str_from(struct fl_str s, size_t from);
struct fl_str fl_str_sub(struct fl_str s, size_t from, size_t n);
/* Index of the first/last c, or -1. */
ptrdiff_t fl_str_index(struct fl_str s, char c);
ptrdiff_t fl_str_rindex(struct fl_str s, char c);
bool fl_str_contains(struct fl_str s, struct fl_str needle);
struct fl_str fl_str_trim(struct fl_str s);
/* Cuts at the first sep: ret_head gets what is before it, *s what follows. False (and nothing
 * written) when *s is empty; without a sep the whole rest is the head. */
bool fl_str_split(struct fl_str *s, char sep, struct fl_str *ret_head);
/* Decimal, whole string, no sign for the unsigned kind; false on anything else or overflow. */
bool fl_str_to_i64(struct fl_str s, int64_t *ret_value);
bool fl_str_to_u64(struct fl_str s, uint64_t *ret_value);

/* Copy in the arena, NUL-terminated (so .p may cross the system-call border). */
struct fl_str fl_str_dup(struct fl_arena *arena, struct fl_str s);
struct fl_str fl_str_printf(struct fl_arena *arena, const char *fmt, ...) FL_PRINTF(2, 3);
/* NUL-terminated copy in the arena. */
const char *fl_str_z(struct fl_arena *arena, struct fl_str s);

/* A growable byte buffer. Beyond `max` bytes nothing more is appended and `overflow` stays set:
 * callers write on and check once at the end. The bytes are always followed by a NUL. */
struct fl_buf {
    char *p;
    size_t n;
    size_t cap;
    size_t max;
    bool overflow;
};

#define FL_BUF_INIT(max_bytes) ((struct fl_buf){.max = (max_bytes)})

void fl_buf_add(struct fl_buf *buf, const void *bytes, size_t n);
void fl_buf_add_str(struct fl_buf *buf, struct fl_str s);
void fl_buf_add_z(struct fl_buf *buf, const char *z);
void fl_buf_add_char(struct fl_buf *buf, char c);
void fl_buf_printf(struct fl_buf *buf, const char *fmt, ...) FL_PRINTF(2, 3);
/* Drops the first n bytes. */
void fl_buf_consume(struct fl_buf *buf, size_t n);
void fl_buf_clear(struct fl_buf *buf);
void fl_buf_free(struct fl_buf *buf);
/* The buffer must be able to take n more bytes: pointer to write at, or NULL on overflow; the
 * caller then adds to buf->n what it wrote. */
char *fl_buf_reserve(struct fl_buf *buf, size_t n);

static inline struct fl_str fl_buf_str(const struct fl_buf *buf)
{
    return (struct fl_str){buf->p ? buf->p : "", buf->n};
}

#define FL_CLEANUP_BUF __attribute__((cleanup(fl_buf_free)))
