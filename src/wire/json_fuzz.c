/* JSON of any kind: what is accepted is written by our writer, read again and equal to itself. */
#include "wire/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static void write_value(struct fl_json_writer *jw, const json_t *value);

static void write_members(struct fl_json_writer *jw, json_t *object)
{
    const char *key;
    json_t *value;
    size_t n;
    fl_jw_object_begin(jw);
    json_object_keylen_foreach(object, key, n, value)
    {
        fl_jw_key_str(jw, (struct fl_str){key, n});
        write_value(jw, value);
    }
    fl_jw_object_end(jw);
}

static void write_items(struct fl_json_writer *jw, const json_t *array)
{
    fl_jw_array_begin(jw);
    for (size_t i = 0; i < json_array_size(array); i++)
        write_value(jw, json_array_get(array, i));
    fl_jw_array_end(jw);
}

static void write_value(struct fl_json_writer *jw, const json_t *value)
{
    if (json_is_object(value))
        write_members(jw, (json_t *)value);
    else if (json_is_array(value))
        write_items(jw, value);
    else if (json_is_string(value))
        fl_jw_str(jw, fl_json_str(value));
    else if (json_is_integer(value))
        fl_jw_int(jw, json_integer_value(value));
    else if (json_is_real(value))
        fl_jw_double(jw, json_real_value(value));
    else if (json_is_boolean(value))
        fl_jw_bool(jw, json_is_true(value));
    else
        fl_jw_raw(jw, FL_STR("null"));
}

/* Whole numbers may be written without a point, so that a real comes back as an integer. */
static bool same(const json_t *a, const json_t *b)
{
    if (json_is_array(a) && json_array_size(a) == json_array_size(b)) {
        for (size_t i = 0; i < json_array_size(a); i++)
            if (!same(json_array_get(a, i), json_array_get(b, i)))
                return false;
        return true;
    }
    if (json_is_object(a) && json_object_size(a) == json_object_size(b)) {
        const char *key;
        json_t *value;
        size_t n;
        json_object_keylen_foreach((json_t *)a, key, n, value)
        {
            if (!same(value, json_object_getn(b, key, n)))
                return false;
        }
        return true;
    }
    if (json_is_real(a))
        return json_is_number(b) && json_real_value(a) - json_number_value(b) == 0;
    return json_equal(a, b);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct fl_err err;
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(64 << 20);
    struct fl_json_writer jw = {.buf = &buf};
    FL_CLEANUP_JSON json_t *first = fl_json_parse((struct fl_str){(const char *)bytes, n}, &err);
    if (!first)
        return 0;
    write_value(&jw, first);
    FL_CLEANUP_JSON json_t *second = fl_json_parse(fl_buf_str(&buf), &err);
    FL_ASSERT(second && same(first, second));
    buf.n = 0;
    jw.need_comma = false;
    fl_jw_str(&jw, (struct fl_str){(const char *)bytes, n});
    FL_CLEANUP_JSON json_t *text = fl_json_parse(fl_buf_str(&buf), &err);
    FL_ASSERT(text || memchr(bytes, '\0', n));
    return 0;
}
