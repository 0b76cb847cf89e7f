/* JSON of any kind: jansson accepts and refuses the same texts and sees the same in them; what is
 * accepted is written by our writer, read again and equal to itself. */
#include "wire/json_oracle.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

/* Whole numbers may be written without a point, so that a real comes back as an integer. */
static bool same(const struct fl_json *a, const struct fl_json *b)
{
    if (a->kind == FL_JSON_REAL)
        return fl_json_is_number(b) && a->real - fl_json_number(b) == 0;
    if (a->kind != b->kind || a->n != b->n)
        return false;
    for (size_t i = 0; i < fl_json_items(a); i++)
        if (!same(fl_json_item(a, i), fl_json_item(b, i)))
            return false;
    for (size_t i = 0; i < fl_json_members(a); i++)
        if (!same(fl_json_member_name(a, i), fl_json_member_name(b, i)) ||
            !same(fl_json_member(a, i), fl_json_member(b, i)))
            return false;
    return fl_str_eq(fl_json_text(a), fl_json_text(b)) && fl_json_int(a) == fl_json_int(b);
}

static void read_again(const struct fl_json *json, struct fl_arena *arena)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(64 << 20);
    struct fl_err err;
    fl_jw_json(&(struct fl_json_writer){.buf = &buf}, json);
    const struct fl_json *second = fl_json_read(fl_buf_str(&buf), arena, &err);
    FL_ASSERT(second && same(json, second));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    const struct fl_str text = {(const char *)bytes, n};
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(64 << 20);
    struct fl_json_writer jw = {.buf = &buf};
    const struct fl_json *json;
    FL_ASSERT(oracle_check(text, arena, &json));
    if (json)
        read_again(json, arena);
    fl_jw_str(&jw, text);
    FL_ASSERT(oracle_check(fl_buf_str(&buf), arena, &json));
    FL_ASSERT(json || memchr(bytes, '\0', n));
    return 0;
}
