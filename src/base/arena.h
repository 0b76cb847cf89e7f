/* Arena: memory that dies with a request or an event, in one go.
 *
 * Allocation moves a pointer through chunks; nothing is freed singly. Bytes come zeroed and aligned
 * for any object. An arena never returns NULL: the caps on foreign input (body sizes, depths,
 * counts) bound what is asked of it. */
#pragma once

#include <stddef.h>

#include "base/util.h"

struct fl_arena;

/* A new, empty arena; owned by the caller. */
struct fl_arena *fl_arena_new(void);
void fl_arena_free(struct fl_arena *arena);
/* Forgets everything allocated, keeping the first chunk for reuse. */
void fl_arena_reset(struct fl_arena *arena);

/* Zeroed memory, aligned to 16 bytes, alive until reset or free. */
void *fl_arena_alloc(struct fl_arena *arena, size_t size);
/* Copy of n bytes with a NUL behind them. */
char *fl_arena_memdup(struct fl_arena *arena, const void *bytes, size_t n);

#define fl_arena_new_object(arena, type) ((type *)fl_arena_alloc((arena), sizeof(type)))
#define fl_arena_new_array(arena, type, count)                                                     \
    ((type *)fl_arena_alloc((arena), sizeof(type) * (size_t)(count)))

static inline void fl_cleanup_arena(struct fl_arena **arena)
{
    fl_arena_free(*arena);
}
#define FL_CLEANUP_ARENA __attribute__((cleanup(fl_cleanup_arena)))
