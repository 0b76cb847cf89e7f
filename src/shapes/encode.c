/* Objects as JSON: what is present, in the table's order. */
#include "shapes/walker.h"

static void encode_object(struct fl_json_writer *jw, const struct fl_shape *shape,
                          const void *object);
static void encode_value(struct fl_json_writer *jw, const struct fl_type *type, const void *at,
                         bool is_inline);

static void encode_enum(struct fl_json_writer *jw, const struct fl_enum *values, const void *at)
{
    unsigned value;
    memcpy(&value, at, sizeof(value));
    fl_jw_str(jw, fl_str_of(fl_enum_text(values, (int)value)));
}

static void encode_list(struct fl_json_writer *jw, const struct fl_type *type, const void *at)
{
    struct fl_seq seq = fl_seq_get(at);
    fl_jw_array_begin(jw);
    for (size_t i = 0; i < seq.n; i++)
        encode_value(jw, type->item, fl_seq_item(type, seq, i), true);
    fl_jw_array_end(jw);
}

static void encode_map(struct fl_json_writer *jw, const struct fl_type *type, const void *at)
{
    struct fl_seq seq = fl_seq_get(at);
    fl_jw_object_begin(jw);
    for (size_t i = 0; i < seq.n; i++) {
        const char *item = fl_seq_item(type, seq, i);
        fl_jw_key_str(jw, *(const struct fl_str *)item);
        encode_value(jw, type->item, item + type->value_offset, true);
    }
    fl_jw_object_end(jw);
}

static void encode_value(struct fl_json_writer *jw, const struct fl_type *type, const void *at,
                         bool is_inline)
{
    switch (type->kind) {
    case FL_KIND_STRING:
        fl_jw_str(jw, *(const struct fl_str *)at);
        break;
    case FL_KIND_JSON:
        fl_jw_raw(jw, *(const struct fl_str *)at);
        break;
    case FL_KIND_INTEGER:
        fl_jw_int(jw, *(const int32_t *)at);
        break;
    case FL_KIND_LONG:
        fl_jw_int(jw, *(const int64_t *)at);
        break;
    case FL_KIND_TIMESTAMP:
        fl_jw_time(jw, *(const int64_t *)at);
        break;
    case FL_KIND_DOUBLE:
        fl_jw_double(jw, *(const double *)at);
        break;
    case FL_KIND_BOOLEAN:
        fl_jw_bool(jw, *(const bool *)at);
        break;
    case FL_KIND_ENUM:
        encode_enum(jw, type->values, at);
        break;
    case FL_KIND_STRUCT:
        encode_object(jw, type->shape, is_inline ? at : fl_pointer_get(at));
        break;
    case FL_KIND_LIST:
        encode_list(jw, type, at);
        break;
    case FL_KIND_MAP:
        encode_map(jw, type, at);
        break;
    }
}

static void encode_object(struct fl_json_writer *jw, const struct fl_shape *shape,
                          const void *object)
{
    fl_jw_object_begin(jw);
    for (uint64_t has = fl_presence(object); has; has &= has - 1) {
        const struct fl_member *member = &shape->members[__builtin_ctzll(has)];
        fl_jw_key(jw, member->name);
        encode_value(jw, member->type, fl_member_at(member, object), false);
    }
    fl_jw_object_end(jw);
}

void fl_shape_encode(const struct fl_shape *shape, const void *object, struct fl_buf *buf)
{
    struct fl_json_writer jw = {.buf = buf};
    encode_object(&jw, shape, object);
}
