/* Requests of every operation: the first byte chooses the shape, the rest is JSON. What is decoded
 * equals its clone, and itself after encoding and decoding again. */
#include "shapes/ecs_shapes.h"
#include "shapes/logs_shapes.h"
#include "wire/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static const struct fl_shape *choose(uint8_t which)
{
    const struct fl_aws_service *services[] = {&ecs_service, &logs_service};
    size_t index = which;
    for (size_t i = 0; i < FL_ARRAY_SIZE(services); i++) {
        if (index < services[i]->operation_count)
            return services[i]->operations[index].input;
        index -= services[i]->operation_count;
    }
    return NULL;
}

static void *decode(const struct fl_shape *shape, struct fl_str text, struct fl_arena *arena)
{
    struct fl_err err;
    struct fl_shape_error fault;
    const struct fl_json *json = fl_json_read(text, arena, &err);
    void *object = fl_arena_alloc(arena, fl_shape_size(shape));
    if (!json)
        return NULL;
    if (fl_shape_decode(shape, json, arena, object, &fault) == 0)
        return object;
    FL_ASSERT(fault.text[0] && memchr(fault.text, '\0', sizeof(fault.text)) &&
              memchr(fault.path, '\0', sizeof(fault.path)));
    return NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    const struct fl_shape *shape = n > 0 ? choose(bytes[0]) : NULL;
    if (!shape)
        return 0;
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(64 << 20);
    void *first = decode(shape, (struct fl_str){(const char *)bytes + 1, n - 1}, arena);
    if (!first)
        return 0;
    FL_CLEANUP_FREE void *clone = fl_shape_clone(shape, first);
    FL_ASSERT(fl_shape_equal(shape, first, clone));
    FL_ASSERT(fl_shape_equal(shape, first, fl_shape_copy(shape, first, arena)));
    fl_shape_encode(shape, clone, &buf);
    FL_ASSERT(!buf.overflow);
    void *second = decode(shape, fl_buf_str(&buf), arena);
    FL_ASSERT(second && fl_shape_equal(shape, first, second));
    return 0;
}
