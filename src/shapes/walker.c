/* The walker's questions about tables; decode.c, encode.c and copy.c do the walking. */
#include "shapes/walker.h"

size_t fl_shape_size(const struct fl_shape *shape)
{
    return shape->size;
}

const char *fl_shape_name(const struct fl_shape *shape)
{
    return shape->name;
}

size_t fl_type_size(const struct fl_type *type)
{
    switch (type->kind) {
    case FL_KIND_STRING:
    case FL_KIND_JSON:
        return sizeof(struct fl_str);
    case FL_KIND_INTEGER:
        return sizeof(int32_t);
    case FL_KIND_LONG:
    case FL_KIND_TIMESTAMP:
        return sizeof(int64_t);
    case FL_KIND_DOUBLE:
        return sizeof(double);
    case FL_KIND_BOOLEAN:
        return sizeof(bool);
    case FL_KIND_ENUM:
        return sizeof(unsigned);
    case FL_KIND_STRUCT:
        return sizeof(void *);
    case FL_KIND_LIST:
    case FL_KIND_MAP:
        return sizeof(struct fl_seq);
    }
    FL_ASSERT(false);
    return 0;
}
