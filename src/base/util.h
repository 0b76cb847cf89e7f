/* Small things every module uses: ownership helpers, array sizes, assertions.
 *
 * Ownership follows systemd's idiom: a variable that owns something carries a cleanup attribute,
 * and FL_TAKE_PTR / FL_TAKE_FD hand it on. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#define FL_ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define FL_MIN(a, b) ((a) < (b) ? (a) : (b))
#define FL_MAX(a, b) ((a) > (b) ? (a) : (b))
#define FL_UNUSED __attribute__((unused))
#define FL_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define FL_CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

/* Stops the process when what we believe does not hold; on in release builds too. For our own
 * invariants only: input from outside is validated, never asserted. */
#define FL_ASSERT(cond)                                                                            \
    do {                                                                                           \
        if (__builtin_expect(!(cond), 0))                                                          \
            fl_assert_failed(#cond, __FILE__, __LINE__);                                           \
    } while (0)

_Noreturn void fl_assert_failed(const char *cond, const char *file, int line);

static inline void fl_cleanup_free(void *p)
{
    free(*(void **)p);
}

static inline void fl_cleanup_fd(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
}

#define FL_CLEANUP_FREE __attribute__((cleanup(fl_cleanup_free)))
#define FL_CLEANUP_FD __attribute__((cleanup(fl_cleanup_fd)))

#define FL_TAKE_PTR(p)                                                                             \
    ({                                                                                             \
        __typeof__(p) fl_taken_ = (p);                                                             \
        (p) = NULL;                                                                                \
        fl_taken_;                                                                                 \
    })

#define FL_TAKE_FD(fd)                                                                             \
    ({                                                                                             \
        int fl_taken_ = (fd);                                                                      \
        (fd) = -1;                                                                                 \
        fl_taken_;                                                                                 \
    })

/* malloc family that never returns NULL: a process out of memory stops with one line. */
void *fl_malloc(size_t size);
void *fl_calloc(size_t count, size_t size);
void *fl_realloc(void *ptr, size_t size);
/* Zeroed memory that begins with a cache line, to be freed. */
void *fl_alloc_lines(size_t size);
char *fl_strndup(const char *s, size_t n);
