/* Shapes: tables generated from the .api files of api/ and the one walker that decodes, validates,
 * encodes and copies any of them.
 *
 * For a structure Foo of api/ecs.api the generator makes (in shapes/ecs_shapes.h) struct ecs_Foo,
 * whose first member is `uint64_t has` (presence bits), an enum of bit numbers ecs_Foo_<member>,
 * and the table ecs_shape_Foo. C types: string → struct fl_str; integer → int32_t; long → int64_t;
 * double → double; boolean → bool; timestamp → int64_t (ms since 1970); json (any value) → struct
 * fl_str, its text; enum E → enum ecs_E (constants ECS_E_<value>: ECS_LogDriver_json_file, with
 * '_' for what C refuses); structure → pointer; list → struct ecs_Foo_list { size_t n; T *items; }
 * (structures inline); map → struct ecs_Foo_map, the same with items struct { struct fl_str key;
 * T value; }. Lists and maps of primitives are the types below. A member named like a word of C has
 * an underscore behind its name, in its bit too. Errors are structures as well, and
 * ecs_error_<Name> is the name as text. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"
#include "wire/json.h"

#define FL_HAS(object, type, member) (((object)->has >> type##_##member) & 1u)
#define FL_SET(object, type, member, value_)                                                       \
    ((object)->has |= UINT64_C(1) << type##_##member, (object)->member = (value_))
#define FL_UNSET(object, type, member) ((object)->has &= ~(UINT64_C(1) << type##_##member))

struct fl_str_list {
    size_t n;
    struct fl_str *items;
};

struct fl_int_list {
    size_t n;
    int32_t *items;
};

struct fl_str_map_item {
    struct fl_str key;
    struct fl_str value;
};

struct fl_str_map {
    size_t n;
    struct fl_str_map_item *items;
};

struct fl_shape; /* a generated table */

enum fl_shape_fault {
    FL_SHAPE_TYPE,     /* another JSON type than the shape's: AWS's SerializationException */
    FL_SHAPE_REQUIRED, /* a required member is absent or null */
    FL_SHAPE_ENUM,     /* not one of the values */
    FL_SHAPE_LENGTH,   /* string, list or map too short or too long */
    FL_SHAPE_RANGE,    /* number out of bounds */
    FL_SHAPE_PATTERN,
};

struct fl_shape_error {
    enum fl_shape_fault fault;
    char path[160]; /* "containerDefinitions[0].name" */
    char text[512]; /* one sentence naming member, value and what is allowed */
};

/* Decodes json into *ret_object (the shape's struct, zeroed first), everything in the arena but the
 * strings, which stay in json's, and validates. Unknown members are ignored, null members are
 * absent. 0 or -EINVAL with *err. */
int fl_shape_decode(const struct fl_shape *shape, const struct fl_json *json,
                    struct fl_arena *arena, void *ret_object, struct fl_shape_error *err);

/* Appends the object as JSON: present members only, in the table's order. */
void fl_shape_encode(const struct fl_shape *shape, const void *object, struct fl_buf *buf);

/* A deep copy in one block: free() releases it all. */
void *fl_shape_clone(const struct fl_shape *shape, const void *object);
/* Bytes that such a block takes. */
size_t fl_shape_clone_size(const struct fl_shape *shape, const void *object);
/* A deep copy in the arena. */
void *fl_shape_copy(const struct fl_shape *shape, const void *object, struct fl_arena *arena);
bool fl_shape_equal(const struct fl_shape *shape, const void *a, const void *b);
/* Size of the shape's C structure. */
size_t fl_shape_size(const struct fl_shape *shape);
const char *fl_shape_name(const struct fl_shape *shape);

struct fl_operation {
    const char *name;
    const struct fl_shape *input;
    const struct fl_shape *output;
    const char *const *errors; /* NULL-terminated: modelled error names */
};

struct fl_aws_service {
    const char *name;          /* "ecs" */
    const char *target_prefix; /* JSON: before the dot in X-Amz-Target; Query: the host of its
                                * XML's namespace */
    const char *signing_name;
    const char *version; /* "1.1"; of a Query service the API's: "2011-06-15" */
    const struct fl_operation *operations;
    size_t operation_count; /* operation i is enum ecs_operation's ECS_OP_<Name> */
};

/* The operation's index, or -1. */
int fl_aws_service_find(const struct fl_aws_service *service, struct fl_str operation);

/* Enum value ↔ text, for generated enums: ecs_enum_LaunchType. */
struct fl_enum {
    const char *name;
    const char *const *values;
    size_t n;
};
const char *fl_enum_text(const struct fl_enum *e, int value);
/* -1 when it is none of them. */
int fl_enum_value(const struct fl_enum *e, struct fl_str text);

/* A percentage as whole tenths, for who must not calculate with floating point; false when it is
 * not between 0 and 100 or has more than one decimal place. */
bool fl_percent_tenths(double percent, int32_t *ret_tenths);
double fl_percent_of(int32_t tenths);
