/* Chunked bump allocator. Chunks double up to a limit; large requests get a chunk of their own. */
#include "base/arena.h"

#include <string.h>

enum { FIRST_CHUNK = 4096, LARGEST_CHUNK = 256 * 1024, ALIGNMENT = 16 };

struct chunk {
    struct chunk *next;
    size_t size;
    size_t used;
    size_t pad; /* keeps bytes[] aligned to 16 */
    char bytes[];
};

struct fl_arena {
    struct chunk *current; /* newest first */
    size_t next_size;
};

static struct chunk *chunk_new(size_t size, struct chunk *next)
{
    struct chunk *chunk = fl_malloc(sizeof(*chunk) + size);
    *chunk = (struct chunk){.next = next, .size = size};
    return chunk;
}

struct fl_arena *fl_arena_new(void)
{
    struct fl_arena *arena = fl_calloc(1, sizeof(*arena));
    arena->next_size = FIRST_CHUNK;
    return arena;
}

static void free_chunks(struct chunk *chunk)
{
    while (chunk) {
        struct chunk *next = chunk->next;
        free(chunk);
        chunk = next;
    }
}

void fl_arena_free(struct fl_arena *arena)
{
    if (!arena)
        return;
    free_chunks(arena->current);
    free(arena);
}

void fl_arena_reset(struct fl_arena *arena)
{
    struct chunk *keep = arena->current;
    if (!keep)
        return;
    free_chunks(keep->next);
    keep->next = NULL;
    keep->used = 0;
    if (keep->size > LARGEST_CHUNK) {
        free(keep);
        arena->current = NULL;
        arena->next_size = FIRST_CHUNK;
    }
}

/* Not zeroed. */
static void *take(struct fl_arena *arena, size_t size)
{
    size_t need = (size + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
    struct chunk *chunk = arena->current;
    FL_ASSERT(need >= size);
    if (!chunk || chunk->size - chunk->used < need) {
        chunk = chunk_new(FL_MAX(need, arena->next_size), arena->current);
        arena->current = chunk;
        arena->next_size = FL_MIN(arena->next_size * 2, (size_t)LARGEST_CHUNK);
    }
    void *ptr = chunk->bytes + chunk->used;
    chunk->used += need;
    return ptr;
}

void *fl_arena_alloc(struct fl_arena *arena, size_t size)
{
    return memset(take(arena, size), 0, size);
}

char *fl_arena_memdup(struct fl_arena *arena, const void *bytes, size_t n)
{
    char *copy = take(arena, n + 1);
    if (n)
        memcpy(copy, bytes, n);
    copy[n] = '\0';
    return copy;
}
