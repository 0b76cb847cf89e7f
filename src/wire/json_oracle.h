/* For the tests of the reader: jansson, which reads the same JSON in another way, as its oracle. */
#pragma once

#include <jansson.h>

#include "wire/json.h"

static bool oracle_agrees(const struct fl_json *json, const json_t *other);

static FL_UNUSED bool oracle_members(const struct fl_json *json, const json_t *other)
{
    for (size_t i = 0; i < fl_json_members(json); i++) {
        struct fl_str name = fl_json_text(fl_json_member_name(json, i));
        if (!oracle_agrees(fl_json_member(json, i), json_object_getn(other, name.p, name.n)) ||
            fl_json_get(json, name.p) != fl_json_member(json, i))
            return false;
    }
    return fl_json_members(json) == json_object_size(other);
}

static FL_UNUSED bool oracle_items(const struct fl_json *json, const json_t *other)
{
    for (size_t i = 0; i < fl_json_items(json); i++)
        if (!oracle_agrees(fl_json_item(json, i), json_array_get(other, i)))
            return false;
    return fl_json_items(json) == json_array_size(other);
}

/* The same value, numbers to the last bit. */
static FL_UNUSED bool oracle_agrees(const struct fl_json *json, const json_t *other)
{
    if (!json || !other)
        return !json && !other;
    switch (json->kind) {
    case FL_JSON_NULL:
        return json_is_null(other);
    case FL_JSON_FALSE:
        return json_is_false(other);
    case FL_JSON_TRUE:
        return json_is_true(other);
    case FL_JSON_INTEGER:
        return json_is_integer(other) && json_integer_value(other) == fl_json_int(json);
    case FL_JSON_REAL: {
        double a = fl_json_number(json), b = json_real_value(other);
        return json_is_real(other) && memcmp(&a, &b, sizeof(a)) == 0;
    }
    case FL_JSON_STRING:
        return json_is_string(other) && strlen(json->text) == json->n &&
               fl_str_eq(fl_json_text(json),
                         (struct fl_str){json_string_value(other), json_string_length(other)});
    case FL_JSON_ARRAY:
        return json_is_array(other) && oracle_items(json, other);
    case FL_JSON_OBJECT:
        return json_is_object(other) && oracle_members(json, other);
    }
    return false;
}

/* Whether both accept the text and see the same in it, or both refuse it; our own bounds are for
 * us alone, and jansson loses a NUL behind a number. The value is in the arena, NULL when the text
 * was refused. */
static FL_UNUSED bool oracle_check(struct fl_str text, struct fl_arena *arena,
                                   const struct fl_json **ret_json)
{
    struct fl_err err = {0};
    json_error_t error;
    *ret_json = fl_json_read(text, arena, &err);
    if (!*ret_json &&
        (strstr(err.text, "nested deeper") || strstr(err.text, "more than 500000 values")))
        return true;
    json_t *other = NULL;
    if (text.n > 0 && !memchr(text.p, '\0', text.n))
        other = json_loadb(text.p, text.n, JSON_DECODE_ANY, &error);
    bool agrees = oracle_agrees(*ret_json, other);
    json_decref(other);
    return agrees;
}
