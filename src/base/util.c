/* Allocation that does not return NULL, and the end of the process when an invariant is broken. */
#include "base/util.h"

#include <stdio.h>
#include <string.h>

void fl_assert_failed(const char *cond, const char *file, int line)
{
    (void)fprintf(stderr, "fairlead: assertion failed: %s (%s:%d)\n", cond, file, line);
    abort();
}

static void *must(void *ptr)
{
    if (!ptr) {
        (void)fputs("fairlead: out of memory\n", stderr);
        abort();
    }
    return ptr;
}

void *fl_malloc(size_t size)
{
    return must(malloc(size ? size : 1));
}

void *fl_calloc(size_t count, size_t size)
{
    return must(calloc(count ? count : 1, size ? size : 1));
}

void *fl_realloc(void *ptr, size_t size)
{
    return must(realloc(ptr, size ? size : 1));
}

void *fl_alloc_lines(size_t size)
{
    enum { LINE = 64 };
    size_t whole = (size / LINE + 1) * LINE;
    return memset(must(aligned_alloc(LINE, whole)), 0, whole);
}

char *fl_strndup(const char *s, size_t n)
{
    char *copy = fl_malloc(n + 1);
    if (n)
        memcpy(copy, s, n);
    copy[n] = '\0';
    return copy;
}
