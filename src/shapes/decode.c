/* JSON into objects, validated on the way.
 *
 * Nothing is asserted about the JSON: whatever it holds ends in an object or in a fault with a
 * path. The path is a chain of steps on the stack, written out only when there is a fault. Depth is
 * bounded by the parser (FL_JSON_MAX_DEPTH), counts by MAX_ITEMS or the table. */
#include <errno.h>
#include <math.h>
#include <stdio.h>

#include "shapes/walker.h"

/* Of a list or map whose table has no upper bound. */
enum { MAX_ITEMS = 10000 };
/* Of a foreign value that a sentence quotes, in bytes. */
enum { MAX_QUOTED = 100 };
/* Of a member of any JSON, written anew; far more than what a text within the bounds can become. */
enum { MAX_JSON_TEXT = 1 << 30 };

/* The furthest moment that a timestamp can hold, in seconds: the year 9999. */
static const double MAX_SECONDS = 253402300800.0;

struct step {
    const struct step *up;
    const char *member; /* or NULL: an entry of a list or map */
    const char *key;    /* of a map's entry */
    size_t index;
};

struct decoder {
    struct fl_arena *arena;
    struct fl_shape_error *err;
};

static size_t append(char *path, size_t size, size_t at, const char *text)
{
    int n = snprintf(path + at, size - at, "%s", text);
    return FL_MIN(at + (size_t)n, size - 1);
}

/* Writes the steps from the root on; returns where the next one goes. */
static size_t write_path(const struct step *step, char *path, size_t size)
{
    if (!step)
        return 0;
    size_t at = write_path(step->up, path, size);
    char index[32];
    if (step->member) {
        at = append(path, size, at, at ? "." : "");
        return append(path, size, at, step->member);
    }
    if (!step->key) {
        (void)snprintf(index, sizeof(index), "[%zu]", step->index);
        return append(path, size, at, index);
    }
    at = append(path, size, at, "[");
    at = append(path, size, at, step->key);
    return append(path, size, at, "]");
}

static const char *what_of(const struct fl_shape_error *err)
{
    return err->path[0] ? err->path : "the body";
}

/* Fills the error's fault and path; the caller adds the sentence. Returns -EINVAL. */
static int fault_at(struct decoder *d, const struct step *step, enum fl_shape_fault fault)
{
    d->err->fault = fault;
    d->err->path[0] = '\0';
    (void)write_path(step, d->err->path, sizeof(d->err->path));
    return -EINVAL;
}

/* The length of s for a quotation: whole characters, at most MAX_QUOTED bytes. */
static int quoted(struct fl_str s)
{
    size_t n = FL_MIN(s.n, (size_t)MAX_QUOTED);
    while (n < s.n && n > 0 && ((unsigned char)s.p[n] & 0xc0) == 0x80)
        n--;
    return (int)n;
}

static const char *json_type_name(const struct fl_json *json)
{
    switch (json->kind) {
    case FL_JSON_OBJECT:
        return "an object";
    case FL_JSON_ARRAY:
        return "a list";
    case FL_JSON_STRING:
        return "a string";
    case FL_JSON_INTEGER:
    case FL_JSON_REAL:
        return "a number";
    case FL_JSON_TRUE:
    case FL_JSON_FALSE:
        return "a boolean";
    case FL_JSON_NULL:
        break;
    }
    return "null";
}

static int wrong_type(struct decoder *d, const struct step *step, const char *wanted,
                      const struct fl_json *json)
{
    int r = fault_at(d, step, FL_SHAPE_TYPE);
    (void)snprintf(d->err->text, sizeof(d->err->text), "%s must be %s, not %s", what_of(d->err),
                   wanted, json_type_name(json));
    return r;
}

/* Writes "at least 1", "at most 5" or "between 1 and 5". */
static void write_bounds(const struct fl_type *type, char *text, size_t size)
{
    if (type->has_min && type->has_max)
        (void)snprintf(text, size, "between %lld and %lld", (long long)type->min,
                       (long long)type->max);
    else if (type->has_min)
        (void)snprintf(text, size, "at least %lld", (long long)type->min);
    else
        (void)snprintf(text, size, "at most %lld",
                       type->has_max ? (long long)type->max : (long long)MAX_ITEMS);
}

static int check_count(struct decoder *d, const struct step *step, const struct fl_type *type,
                       size_t n, const char *unit)
{
    if (!(type->has_min && (int64_t)n < type->min) && !(type->has_max && (int64_t)n > type->max))
        return 0;
    char bounds[64];
    write_bounds(type, bounds, sizeof(bounds));
    int r = fault_at(d, step, FL_SHAPE_LENGTH);
    (void)snprintf(d->err->text, sizeof(d->err->text), "%s has %zu %s, but must have %s",
                   what_of(d->err), n, unit, bounds);
    return r;
}

/* Lists and maps are bounded even where their tables say nothing. */
static int check_items(struct decoder *d, const struct step *step, const struct fl_type *type,
                       size_t n, const char *unit)
{
    struct fl_type bounded = *type;
    if (!bounded.has_max) {
        bounded.has_max = true;
        bounded.max = MAX_ITEMS;
    }
    return check_count(d, step, &bounded, n, unit);
}

static bool in_class(const struct fl_pattern *pattern, unsigned char c)
{
    return c < 128 ? (pattern->ascii[c / 64] >> (c % 64)) & 1 : pattern->beyond_ascii;
}

static bool matches(const struct fl_pattern *pattern, struct fl_str s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (!in_class(pattern, (unsigned char)s.p[i]))
            return false;
    }
    return s.n > 0 || pattern->may_be_empty;
}

/* Characters, not bytes: continuation bytes do not count. */
static size_t characters(struct fl_str s)
{
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++)
        n += ((unsigned char)s.p[i] & 0xc0) != 0x80;
    return n;
}

static int check_string(struct decoder *d, const struct step *step, const struct fl_type *type,
                        struct fl_str s)
{
    if (type->has_min || type->has_max) {
        int r = check_count(d, step, type, characters(s), "characters");
        if (r < 0)
            return r;
    }
    if (!type->pattern || matches(type->pattern, s))
        return 0;
    int r = fault_at(d, step, FL_SHAPE_PATTERN);
    (void)snprintf(d->err->text, sizeof(d->err->text), "%s '%.*s' is not valid: it must match %s",
                   what_of(d->err), quoted(s), s.p, type->pattern->text);
    return r;
}

static int decode_string(struct decoder *d, const struct step *step, const struct fl_type *type,
                         const struct fl_json *json, void *to)
{
    if (!fl_json_is(json, FL_JSON_STRING))
        return wrong_type(d, step, "a string", json);
    struct fl_str s = fl_json_text(json);
    int r = check_string(d, step, type, s);
    if (r < 0)
        return r;
    *(struct fl_str *)to = s;
    return 0;
}

static int check_range(struct decoder *d, const struct step *step, const struct fl_type *type,
                       double value)
{
    if (!(type->has_min && value < (double)type->min) &&
        !(type->has_max && value > (double)type->max))
        return 0;
    char bounds[64];
    write_bounds(type, bounds, sizeof(bounds));
    int r = fault_at(d, step, FL_SHAPE_RANGE);
    (void)snprintf(d->err->text, sizeof(d->err->text), "%s must be %s, not %.17g", what_of(d->err),
                   bounds, value);
    return r;
}

/* Integers come as such, or as a real without a fraction ("1.0"). */
static bool integer_of(const struct fl_json *json, int64_t min, int64_t max, int64_t *ret_value)
{
    int64_t value;
    if (fl_json_is(json, FL_JSON_INTEGER)) {
        value = fl_json_int(json);
    } else {
        double real = fl_json_is(json, FL_JSON_REAL) ? fl_json_number(json) : NAN;
        if (!(real > -9e18 && real < 9e18))
            return false;
        value = (int64_t)real;
        if ((double)value != real)
            return false;
    }
    if (value < min || value > max)
        return false;
    *ret_value = value;
    return true;
}

static int decode_integer(struct decoder *d, const struct step *step, const struct fl_type *type,
                          const struct fl_json *json, void *to)
{
    int64_t value;
    if (!integer_of(json, INT32_MIN, INT32_MAX, &value))
        return wrong_type(d, step, "an integer of 32 bits", json);
    *(int32_t *)to = (int32_t)value;
    return check_range(d, step, type, (double)value);
}

static int decode_long(struct decoder *d, const struct step *step, const struct fl_type *type,
                       const struct fl_json *json, void *to)
{
    if (!integer_of(json, INT64_MIN, INT64_MAX, to))
        return wrong_type(d, step, "an integer of 64 bits", json);
    return check_range(d, step, type, (double)*(const int64_t *)to);
}

static int decode_double(struct decoder *d, const struct step *step, const struct fl_type *type,
                         const struct fl_json *json, void *to)
{
    if (!fl_json_is_number(json))
        return wrong_type(d, step, "a number", json);
    *(double *)to = fl_json_number(json);
    return check_range(d, step, type, *(const double *)to);
}

static int decode_timestamp(struct decoder *d, const struct step *step, const struct fl_json *json,
                            void *to)
{
    double seconds = fl_json_is_number(json) ? fl_json_number(json) : NAN;
    if (!(seconds >= -MAX_SECONDS && seconds <= MAX_SECONDS))
        return wrong_type(d, step, "a timestamp: a number of seconds since 1970", json);
    *(int64_t *)to = (int64_t)(seconds * 1000 + (seconds < 0 ? -0.5 : 0.5));
    return 0;
}

static int decode_boolean(struct decoder *d, const struct step *step, const struct fl_json *json,
                          void *to)
{
    if (!fl_json_is(json, FL_JSON_FALSE) && !fl_json_is_true(json))
        return wrong_type(d, step, "a boolean", json);
    *(bool *)to = fl_json_is_true(json);
    return 0;
}

static int unknown_value(struct decoder *d, const struct step *step, const struct fl_enum *values,
                         struct fl_str s)
{
    int r = fault_at(d, step, FL_SHAPE_ENUM);
    char *text = d->err->text;
    size_t size = sizeof(d->err->text), at = 0;
    int n = snprintf(text, size, "%s '%.*s' is not valid: must be one of [", what_of(d->err),
                     quoted(s), s.p);
    at = FL_MIN((size_t)n, size - 1);
    for (size_t i = 0; i < values->n; i++) {
        at = append(text, size, at, i ? ", " : "");
        at = append(text, size, at, values->values[i]);
    }
    (void)append(text, size, at, "]");
    return r;
}

static int decode_enum(struct decoder *d, const struct step *step, const struct fl_type *type,
                       const struct fl_json *json, void *to)
{
    if (!fl_json_is(json, FL_JSON_STRING))
        return wrong_type(d, step, "a string", json);
    int value = fl_enum_value(type->values, fl_json_text(json));
    if (value < 0)
        return unknown_value(d, step, type->values, fl_json_text(json));
    unsigned stored = (unsigned)value;
    memcpy(to, &stored, sizeof(stored));
    return 0;
}

/* Whatever it is, as compact text. */
static int decode_json(struct decoder *d, const struct fl_json *json, void *to)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(MAX_JSON_TEXT);
    fl_jw_json(&(struct fl_json_writer){.buf = &buf}, json);
    FL_ASSERT(!buf.overflow);
    *(struct fl_str *)to = fl_str_dup(d->arena, fl_buf_str(&buf));
    return 0;
}

static int decode_object(struct decoder *d, const struct step *step, const struct fl_shape *shape,
                         const struct fl_json *json, void *object);
static int decode_value(struct decoder *d, const struct step *step, const struct fl_type *type,
                        const struct fl_json *json, void *to, bool is_inline);

static int decode_struct(struct decoder *d, const struct step *step, const struct fl_shape *shape,
                         const struct fl_json *json, void *to)
{
    void *object = fl_arena_alloc(d->arena, shape->size);
    fl_pointer_put(to, object);
    return decode_object(d, step, shape, json, object);
}

static int decode_list(struct decoder *d, const struct step *step, const struct fl_type *type,
                       const struct fl_json *json, void *to)
{
    if (!fl_json_is(json, FL_JSON_ARRAY))
        return wrong_type(d, step, "a list", json);
    struct fl_seq seq = {.n = fl_json_items(json)};
    int r = check_items(d, step, type, seq.n, "items");
    if (r < 0)
        return r;
    seq.items = seq.n ? fl_arena_alloc(d->arena, seq.n * type->stride) : NULL;
    for (size_t i = 0; i < seq.n; i++) {
        const struct step item = {.up = step, .index = i};
        r = decode_value(d, &item, type->item, fl_json_item(json, i), fl_seq_item(type, seq, i),
                         true);
        if (r < 0)
            return r;
    }
    fl_seq_put(to, seq);
    return 0;
}

static int decode_entry(struct decoder *d, const struct step *step, const struct fl_type *type,
                        struct fl_str key, const struct fl_json *json, char *item)
{
    int r = type->key ? check_string(d, step, type->key, key) : 0;
    if (r < 0)
        return r;
    *(struct fl_str *)(void *)item = key;
    return decode_value(d, step, type->item, json, item + type->value_offset, true);
}

static int decode_map(struct decoder *d, const struct step *step, const struct fl_type *type,
                      const struct fl_json *json, void *to)
{
    if (!fl_json_is(json, FL_JSON_OBJECT))
        return wrong_type(d, step, "an object", json);
    struct fl_seq seq = {.n = fl_json_members(json)};
    int r = check_items(d, step, type, seq.n, "entries");
    if (r < 0)
        return r;
    seq.items = seq.n ? fl_arena_alloc(d->arena, seq.n * type->stride) : NULL;
    for (size_t i = 0; i < seq.n; i++) {
        struct fl_str key = fl_json_text(fl_json_member_name(json, i));
        const struct step entry = {.up = step, .key = key.p};
        r = decode_entry(d, &entry, type, key, fl_json_member(json, i), fl_seq_item(type, seq, i));
        if (r < 0)
            return r;
    }
    fl_seq_put(to, seq);
    return 0;
}

static int decode_value(struct decoder *d, const struct step *step, const struct fl_type *type,
                        const struct fl_json *json, void *to, bool is_inline)
{
    switch (type->kind) {
    case FL_KIND_STRING:
        return decode_string(d, step, type, json, to);
    case FL_KIND_INTEGER:
        return decode_integer(d, step, type, json, to);
    case FL_KIND_LONG:
        return decode_long(d, step, type, json, to);
    case FL_KIND_DOUBLE:
        return decode_double(d, step, type, json, to);
    case FL_KIND_BOOLEAN:
        return decode_boolean(d, step, json, to);
    case FL_KIND_TIMESTAMP:
        return decode_timestamp(d, step, json, to);
    case FL_KIND_JSON:
        return decode_json(d, json, to);
    case FL_KIND_ENUM:
        return decode_enum(d, step, type, json, to);
    case FL_KIND_STRUCT:
        return is_inline ? decode_object(d, step, type->shape, json, to)
                         : decode_struct(d, step, type->shape, json, to);
    case FL_KIND_LIST:
        return decode_list(d, step, type, json, to);
    case FL_KIND_MAP:
        return decode_map(d, step, type, json, to);
    }
    FL_ASSERT(false);
    return -EINVAL;
}

/* The member's index, or -1: the one behind `after` (what we have written comes in the table's
 * order), or by binary search in the order by name. */
static int find_member(const struct fl_shape *shape, const char *name, int after)
{
    size_t low = 0, high = shape->n, next = (size_t)(after + 1);
    if (next < shape->n && strcmp(name, shape->members[next].name) == 0)
        return (int)next;
    while (low < high) {
        size_t middle = (low + high) / 2;
        int order = strcmp(name, shape->members[shape->by_name[middle]].name);
        if (order == 0)
            return shape->by_name[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return -1;
}

static int missing_member(struct decoder *d, const struct step *step, const struct fl_shape *shape,
                          uint64_t missing)
{
    const char *name = shape->members[__builtin_ctzll(missing)].name;
    const struct step member = {.up = step, .member = name};
    int r = fault_at(d, &member, FL_SHAPE_REQUIRED);
    (void)snprintf(d->err->text, sizeof(d->err->text), "%s is required", d->err->path);
    return r;
}

/* object is zeroed memory of the shape's size. */
static int decode_object(struct decoder *d, const struct step *step, const struct fl_shape *shape,
                         const struct fl_json *json, void *object)
{
    if (!fl_json_is(json, FL_JSON_OBJECT))
        return wrong_type(d, step, "an object", json);
    uint64_t has = 0;
    int i = -1;
    for (size_t at = 0; at < fl_json_members(json); at++) {
        const struct fl_json *value = fl_json_member(json, at);
        int found = find_member(shape, fl_json_member_name(json, at)->text, i);
        if (found < 0 || fl_json_is(value, FL_JSON_NULL))
            continue;
        i = found;
        const struct fl_member *member = &shape->members[i];
        const struct step next = {.up = step, .member = member->name};
        int r = decode_value(d, &next, member->type, value, fl_member_at(member, object), false);
        if (r < 0)
            return r;
        has |= UINT64_C(1) << i;
    }
    memcpy(object, &has, sizeof(has));
    uint64_t missing = shape->required & ~has;
    return missing ? missing_member(d, step, shape, missing) : 0;
}

int fl_shape_decode(const struct fl_shape *shape, const struct fl_json *json,
                    struct fl_arena *arena, void *ret_object, struct fl_shape_error *err)
{
    struct fl_shape_error unread;
    struct decoder d = {.arena = arena, .err = err ? err : &unread};
    memset(ret_object, 0, shape->size);
    return decode_object(&d, NULL, shape, json, ret_object);
}
