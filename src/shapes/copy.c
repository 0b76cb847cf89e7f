/* Deep copies and comparison of any shape.
 *
 * A clone is measured first and then laid into one block: both passes round every piece up to
 * ALIGNMENT and visit the same values, so the measure is exact, which is asserted. */
#include <stdlib.h>

#include "shapes/walker.h"

enum { ALIGNMENT = 8 };

static size_t rounded(size_t size)
{
    return (size + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
}

static size_t measure_object(const struct fl_shape *shape, const void *object);

/* Bytes that a value needs beside itself. */
static size_t measure_value(const struct fl_type *type, const void *at, bool is_inline);

static size_t measure_string(const void *at)
{
    const struct fl_str *s = at;
    return s->n ? rounded(s->n + 1) : 0;
}

static size_t measure_list(const struct fl_type *type, const void *at)
{
    struct fl_seq seq = fl_seq_get(at);
    size_t size = rounded(seq.n * type->stride);
    for (size_t i = 0; i < seq.n; i++)
        size += measure_value(type->item, fl_seq_item(type, seq, i), true);
    return size;
}

static size_t measure_map(const struct fl_type *type, const void *at)
{
    struct fl_seq seq = fl_seq_get(at);
    size_t size = rounded(seq.n * type->stride);
    for (size_t i = 0; i < seq.n; i++) {
        const char *item = fl_seq_item(type, seq, i);
        size += measure_string(item) + measure_value(type->item, item + type->value_offset, true);
    }
    return size;
}

static size_t measure_value(const struct fl_type *type, const void *at, bool is_inline)
{
    switch (type->kind) {
    case FL_KIND_STRING:
    case FL_KIND_JSON:
        return measure_string(at);
    case FL_KIND_STRUCT:
        return is_inline
                   ? measure_object(type->shape, at)
                   : rounded(type->shape->size) + measure_object(type->shape, fl_pointer_get(at));
    case FL_KIND_LIST:
        return measure_list(type, at);
    case FL_KIND_MAP:
        return measure_map(type, at);
    case FL_KIND_INTEGER:
    case FL_KIND_LONG:
    case FL_KIND_DOUBLE:
    case FL_KIND_BOOLEAN:
    case FL_KIND_TIMESTAMP:
    case FL_KIND_ENUM:
        break;
    }
    return 0;
}

static size_t measure_object(const struct fl_shape *shape, const void *object)
{
    size_t size = 0;
    for (uint64_t has = fl_presence(object); has; has &= has - 1) {
        const struct fl_member *member = &shape->members[__builtin_ctzll(has)];
        size += measure_value(member->type, fl_member_at(member, object), false);
    }
    return size;
}

/* Where copies go: an arena, or a block of known size. */
struct target {
    struct fl_arena *arena;
    char *next;
};

static void *take(struct target *target, size_t size)
{
    if (target->arena)
        return fl_arena_alloc(target->arena, size);
    void *taken = target->next;
    target->next += rounded(size);
    return taken;
}

static void copy_object(struct target *target, const struct fl_shape *shape, const void *object,
                        void *copy);
static void copy_value(struct target *target, const struct fl_type *type, const void *at, void *to,
                       bool is_inline);

static void copy_string(struct target *target, const void *at, void *to)
{
    const struct fl_str *s = at;
    if (s->n == 0) {
        *(struct fl_str *)to = FL_STR("");
        return;
    }
    char *bytes = take(target, s->n + 1);
    memcpy(bytes, s->p, s->n);
    bytes[s->n] = '\0';
    *(struct fl_str *)to = (struct fl_str){bytes, s->n};
}

static void copy_struct(struct target *target, const struct fl_shape *shape, const void *at,
                        void *to)
{
    void *copy = take(target, shape->size);
    copy_object(target, shape, fl_pointer_get(at), copy);
    fl_pointer_put(to, copy);
}

static void copy_list(struct target *target, const struct fl_type *type, const void *at, void *to)
{
    struct fl_seq seq = fl_seq_get(at);
    struct fl_seq copy = {.n = seq.n, .items = seq.n ? take(target, seq.n * type->stride) : NULL};
    for (size_t i = 0; i < seq.n; i++)
        copy_value(target, type->item, fl_seq_item(type, seq, i), fl_seq_item(type, copy, i), true);
    fl_seq_put(to, copy);
}

static void copy_map(struct target *target, const struct fl_type *type, const void *at, void *to)
{
    struct fl_seq seq = fl_seq_get(at);
    struct fl_seq copy = {.n = seq.n, .items = seq.n ? take(target, seq.n * type->stride) : NULL};
    for (size_t i = 0; i < seq.n; i++) {
        const char *item = fl_seq_item(type, seq, i);
        char *item_copy = fl_seq_item(type, copy, i);
        copy_string(target, item, item_copy);
        copy_value(target, type->item, item + type->value_offset, item_copy + type->value_offset,
                   true);
    }
    fl_seq_put(to, copy);
}

static void copy_value(struct target *target, const struct fl_type *type, const void *at, void *to,
                       bool is_inline)
{
    switch (type->kind) {
    case FL_KIND_STRING:
    case FL_KIND_JSON:
        copy_string(target, at, to);
        break;
    case FL_KIND_STRUCT:
        if (is_inline)
            copy_object(target, type->shape, at, to);
        else
            copy_struct(target, type->shape, at, to);
        break;
    case FL_KIND_LIST:
        copy_list(target, type, at, to);
        break;
    case FL_KIND_MAP:
        copy_map(target, type, at, to);
        break;
    case FL_KIND_INTEGER:
    case FL_KIND_LONG:
    case FL_KIND_DOUBLE:
    case FL_KIND_BOOLEAN:
    case FL_KIND_TIMESTAMP:
    case FL_KIND_ENUM:
        memcpy(to, at, fl_type_size(type));
        break;
    }
}

/* Members that are absent become zero, whatever stands in the original. */
static void copy_object(struct target *target, const struct fl_shape *shape, const void *object,
                        void *copy)
{
    uint64_t has = fl_presence(object);
    memset(copy, 0, shape->size);
    memcpy(copy, &has, sizeof(has));
    for (; has; has &= has - 1) {
        const struct fl_member *member = &shape->members[__builtin_ctzll(has)];
        copy_value(target, member->type, fl_member_at(member, object), fl_member_at(member, copy),
                   false);
    }
}

size_t fl_shape_clone_size(const struct fl_shape *shape, const void *object)
{
    return rounded(shape->size) + measure_object(shape, object);
}

void *fl_shape_clone(const struct fl_shape *shape, const void *object)
{
    size_t size = fl_shape_clone_size(shape, object);
    char *block = fl_malloc(size);
    struct target target = {.next = block};
    copy_object(&target, shape, object, take(&target, shape->size));
    FL_ASSERT(target.next == block + size);
    return block;
}

void *fl_shape_copy(const struct fl_shape *shape, const void *object, struct fl_arena *arena)
{
    struct target target = {.arena = arena};
    void *copy = take(&target, shape->size);
    copy_object(&target, shape, object, copy);
    return copy;
}

static bool equal_values(const struct fl_type *type, const void *a, const void *b, bool is_inline);

static bool equal_lists(const struct fl_type *type, const void *a, const void *b)
{
    struct fl_seq left = fl_seq_get(a), right = fl_seq_get(b);
    if (left.n != right.n)
        return false;
    for (size_t i = 0; i < left.n; i++) {
        if (!equal_values(type->item, fl_seq_item(type, left, i), fl_seq_item(type, right, i),
                          true))
            return false;
    }
    return true;
}

/* The order of entries counts: a clone keeps it. */
static bool equal_maps(const struct fl_type *type, const void *a, const void *b)
{
    struct fl_seq left = fl_seq_get(a), right = fl_seq_get(b);
    if (left.n != right.n)
        return false;
    for (size_t i = 0; i < left.n; i++) {
        const char *one = fl_seq_item(type, left, i), *other = fl_seq_item(type, right, i);
        if (!fl_str_eq(*(const struct fl_str *)one, *(const struct fl_str *)other) ||
            !equal_values(type->item, one + type->value_offset, other + type->value_offset, true))
            return false;
    }
    return true;
}

static bool equal_structs(const struct fl_shape *shape, const void *a, const void *b,
                          bool is_inline)
{
    if (is_inline)
        return fl_shape_equal(shape, a, b);
    return fl_shape_equal(shape, fl_pointer_get(a), fl_pointer_get(b));
}

static bool equal_doubles(const void *a, const void *b)
{
    return *(const double *)a == *(const double *)b;
}

static bool equal_values(const struct fl_type *type, const void *a, const void *b, bool is_inline)
{
    switch (type->kind) {
    case FL_KIND_STRING:
    case FL_KIND_JSON:
        return fl_str_eq(*(const struct fl_str *)a, *(const struct fl_str *)b);
    case FL_KIND_STRUCT:
        return equal_structs(type->shape, a, b, is_inline);
    case FL_KIND_LIST:
        return equal_lists(type, a, b);
    case FL_KIND_MAP:
        return equal_maps(type, a, b);
    case FL_KIND_DOUBLE:
        return equal_doubles(a, b);
    case FL_KIND_INTEGER:
    case FL_KIND_LONG:
    case FL_KIND_BOOLEAN:
    case FL_KIND_TIMESTAMP:
    case FL_KIND_ENUM:
        break;
    }
    return memcmp(a, b, fl_type_size(type)) == 0;
}

bool fl_shape_equal(const struct fl_shape *shape, const void *a, const void *b)
{
    uint64_t has = fl_presence(a);
    if (has != fl_presence(b))
        return false;
    for (; has; has &= has - 1) {
        const struct fl_member *member = &shape->members[__builtin_ctzll(has)];
        if (!equal_values(member->type, fl_member_at(member, a), fl_member_at(member, b), false))
            return false;
    }
    return true;
}
