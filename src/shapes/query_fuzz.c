/* Forms of Query requests: the first byte chooses the shape, the rest is the form. What it becomes
 * is JSON within the parser's bounds or not decoded; what is decoded can be written as XML. */
#include "shapes/ecs_shapes.h"
#include "shapes/query.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(64 << 20);
    FL_CLEANUP_BUF struct fl_buf xml = FL_BUF_INIT(64 << 20);
    struct fl_shape_error fault;
    struct fl_form form;
    struct fl_err err;
    if (n == 0 || bytes[0] >= ecs_service.operation_count)
        return 0;
    const struct fl_shape *shape = ecs_service.operations[bytes[0]].input;
    if (fl_form_parse(arena, (struct fl_str){(const char *)bytes + 1, n - 1}, &form, &err) < 0)
        return 0;
    fl_query_to_json(shape, &form, &text);
    const struct fl_json *json =
        text.overflow ? NULL : fl_json_read(fl_buf_str(&text), arena, &err);
    void *object = fl_arena_alloc(arena, fl_shape_size(shape));
    if (!json || fl_shape_decode(shape, json, arena, object, &fault) < 0)
        return 0;
    fl_query_encode(shape, object, &xml);
    FL_ASSERT(!xml.overflow);
    return 0;
}
