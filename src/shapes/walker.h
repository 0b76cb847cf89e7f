/* What decode, encode and copy share: how values lie in memory. For this folder's files only.
 *
 * Lists and maps are read and written through struct fl_seq by memcpy, because their C types
 * differ by shape while their layout does not. */
#pragma once

#include <string.h>

#include "shapes/table.h"

static inline struct fl_seq fl_seq_get(const void *at)
{
    struct fl_seq seq;
    memcpy(&seq, at, sizeof(seq));
    return seq;
}

static inline void fl_seq_put(void *at, struct fl_seq seq)
{
    memcpy(at, &seq, sizeof(seq));
}

static inline void *fl_seq_item(const struct fl_type *type, struct fl_seq seq, size_t i)
{
    return (char *)seq.items + i * type->stride;
}

static inline void *fl_pointer_get(const void *at)
{
    void *pointer;
    memcpy(&pointer, at, sizeof(pointer));
    return pointer;
}

static inline void fl_pointer_put(void *at, void *pointer)
{
    memcpy(at, &pointer, sizeof(pointer));
}

static inline void *fl_member_at(const struct fl_member *member, const void *object)
{
    return (char *)object + member->offset;
}

/* Every structure begins with its presence bits. */
static inline uint64_t fl_presence(const void *object)
{
    uint64_t has;
    memcpy(&has, object, sizeof(has));
    return has;
}

/* Bytes of a value that is a member itself, without what it points to. */
size_t fl_type_size(const struct fl_type *type);
