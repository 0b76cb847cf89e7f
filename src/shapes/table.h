/* What the generated tables are made of. Only generated files and the walker look inside; everyone
 * else treats struct fl_shape as a name. All of it is constant data. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shapes/shape.h"

enum fl_kind {
    FL_KIND_STRING,    /* struct fl_str */
    FL_KIND_INTEGER,   /* int32_t */
    FL_KIND_LONG,      /* int64_t */
    FL_KIND_DOUBLE,    /* double */
    FL_KIND_BOOLEAN,   /* bool */
    FL_KIND_TIMESTAMP, /* int64_t, ms since 1970 */
    FL_KIND_JSON,      /* struct fl_str: any JSON value as text */
    FL_KIND_ENUM,      /* enum, the size of an int */
    FL_KIND_STRUCT,    /* in a list or map inline, as a member by pointer */
    FL_KIND_LIST,      /* struct fl_seq of items */
    FL_KIND_MAP,       /* struct fl_seq of (struct fl_str, value) */
};

/* How every list and map lies in memory, whatever the type of its items. */
struct fl_seq {
    size_t n;
    void *items;
};

/* One class of characters, repeated: the only kind of pattern there is. Other characters than
 * ASCII are accepted together or not at all. */
struct fl_pattern {
    const char *text;
    uint64_t ascii[2];
    bool beyond_ascii;
    bool may_be_empty;
};

struct fl_type {
    enum fl_kind kind;
    bool has_min;
    bool has_max;
    int64_t min; /* of the number; of the characters, items or entries */
    int64_t max;
    const struct fl_pattern *pattern;
    const struct fl_enum *values; /* FL_KIND_ENUM */
    const struct fl_shape *shape; /* FL_KIND_STRUCT */
    const struct fl_type *key;    /* FL_KIND_MAP: constraints on its keys */
    const struct fl_type *item;   /* FL_KIND_LIST, FL_KIND_MAP */
    size_t stride;                /* size of one item as it lies in the list or map */
    size_t value_offset;          /* FL_KIND_MAP: of the value in an item */
};

struct fl_member {
    const char *name;
    const struct fl_type *type;
    size_t offset;
};

struct fl_shape {
    const char *name;
    size_t size;
    const struct fl_member *members; /* member i's presence is bit i */
    const uint8_t *by_name;          /* indexes of members, ordered by name */
    size_t n;
    uint64_t required; /* bits of the members that must be there */
};
