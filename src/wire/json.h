/* JSON: reading into an arena with bounds on size and depth, writing straight into a buffer. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

/* Deepest nesting and most values accepted from outside. */
enum { FL_JSON_MAX_DEPTH = 40, FL_JSON_MAX_VALUES = 500000 };

enum fl_json_kind {
    FL_JSON_NULL,
    FL_JSON_FALSE,
    FL_JSON_TRUE,
    FL_JSON_INTEGER,
    FL_JSON_REAL,
    FL_JSON_STRING,
    FL_JSON_ARRAY,
    FL_JSON_OBJECT,
};

/* One value. Everybody but its reader uses the functions below, which take NULL for absent. */
struct fl_json {
    enum fl_json_kind kind;
    uint32_t n; /* bytes of a string, items of an array, members of an object */
    union {
        const char *text; /* a string's, with a NUL behind it and none within */
        int64_t integer;
        double real;
        const struct fl_json *items; /* of an array; of an object name and value in turn */
    };
};

/* Reads one JSON text of any type. The value and all that hangs on it, strings included, live in
 * the arena and not in the text. NULL with err filled for what is not JSON, goes beyond the bounds
 * above, is not UTF-8, holds a NUL (escaped or not), a number beyond int64_t or double, or is
 * followed by more than blanks. Of members with the same name the last one counts, as in AWS's
 * parsers; an object shows it once. */
const struct fl_json *fl_json_read(struct fl_str text, struct fl_arena *arena, struct fl_err *err);

static inline bool fl_json_is(const struct fl_json *json, enum fl_json_kind kind)
{
    return json && json->kind == kind;
}

/* A string's bytes, with a NUL behind them; empty when json is no string. */
static inline struct fl_str fl_json_text(const struct fl_json *json)
{
    return fl_json_is(json, FL_JSON_STRING) ? (struct fl_str){json->text, json->n} : FL_STR("");
}

/* A string that ends in NUL, or NULL when json is no string. */
static inline const char *fl_json_z(const struct fl_json *json)
{
    return fl_json_is(json, FL_JSON_STRING) ? json->text : NULL;
}

/* 0 when json is no integer. */
static inline int64_t fl_json_int(const struct fl_json *json)
{
    return fl_json_is(json, FL_JSON_INTEGER) ? json->integer : 0;
}

static inline bool fl_json_is_number(const struct fl_json *json)
{
    return fl_json_is(json, FL_JSON_INTEGER) || fl_json_is(json, FL_JSON_REAL);
}

/* 0 when json is no number. */
static inline double fl_json_number(const struct fl_json *json)
{
    return fl_json_is(json, FL_JSON_REAL) ? json->real : (double)fl_json_int(json);
}

static inline bool fl_json_is_true(const struct fl_json *json)
{
    return fl_json_is(json, FL_JSON_TRUE);
}

/* An array's length; 0 when json is none. */
static inline size_t fl_json_items(const struct fl_json *json)
{
    return fl_json_is(json, FL_JSON_ARRAY) ? json->n : 0;
}

/* NULL beyond an array's end. */
static inline const struct fl_json *fl_json_item(const struct fl_json *json, size_t i)
{
    return i < fl_json_items(json) ? &json->items[i] : NULL;
}

/* How many members an object has; 0 when json is none. */
static inline size_t fl_json_members(const struct fl_json *json)
{
    return fl_json_is(json, FL_JSON_OBJECT) ? json->n : 0;
}

/* Name and value of member i < fl_json_members(json), in the text's order. */
static inline const struct fl_json *fl_json_member_name(const struct fl_json *json, size_t i)
{
    return &json->items[2 * i];
}

static inline const struct fl_json *fl_json_member(const struct fl_json *json, size_t i)
{
    return &json->items[2 * i + 1];
}

/* The member of that name, or NULL. */
const struct fl_json *fl_json_get(const struct fl_json *json, const char *name);

/* Bytes of the character that s (not empty) begins with, or 0 when it is not UTF-8: overlong
 * forms, surrogates and what lies beyond U+10FFFF are none. */
size_t fl_json_char_length(struct fl_str s);

/* Writer. Commas are its business: begin, key, value, end, in JSON's order. */
struct fl_json_writer {
    struct fl_buf *buf;
    bool need_comma;
};

void fl_jw_object_begin(struct fl_json_writer *jw);
void fl_jw_object_end(struct fl_json_writer *jw);
void fl_jw_array_begin(struct fl_json_writer *jw);
void fl_jw_array_end(struct fl_json_writer *jw);
/* A name of our own, which needs no escapes; for one of a stranger there is the next. */
void fl_jw_key(struct fl_json_writer *jw, const char *key);
void fl_jw_key_str(struct fl_json_writer *jw, struct fl_str key);
/* Escapes what JSON asks for; bytes that are not UTF-8 become U+FFFD. */
void fl_jw_str(struct fl_json_writer *jw, struct fl_str value);
void fl_jw_int(struct fl_json_writer *jw, int64_t value);
void fl_jw_double(struct fl_json_writer *jw, double value);
void fl_jw_bool(struct fl_json_writer *jw, bool value);
/* Milliseconds since 1970 as seconds with up to three decimals, AWS JSON's timestamp. */
void fl_jw_time(struct fl_json_writer *jw, int64_t wall_ms);
/* A value that is JSON already. */
void fl_jw_raw(struct fl_json_writer *jw, struct fl_str json);
/* A value that was read. */
void fl_jw_json(struct fl_json_writer *jw, const struct fl_json *json);

/* The writer's members by key, for the common case. */
void fl_jw_member_str(struct fl_json_writer *jw, const char *key, struct fl_str value);
void fl_jw_member_int(struct fl_json_writer *jw, const char *key, int64_t value);
void fl_jw_member_bool(struct fl_json_writer *jw, const char *key, bool value);
