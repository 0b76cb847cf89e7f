/* JSON: reading with bounds on size and depth, writing straight into a buffer. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

/* Deepest nesting and most values accepted from outside. */
enum { FL_JSON_MAX_DEPTH = 40, FL_JSON_MAX_VALUES = 500000 };

/* Parses one JSON text of any type. Returns a new reference, or NULL with err filled: what is not
 * JSON, goes beyond these bounds, is not UTF-8, or is followed by more than blanks is
 * refused. Duplicate members: the last one wins, as in AWS's parsers. */
json_t *fl_json_parse(struct fl_str text, struct fl_err *err);

static inline void fl_cleanup_json(json_t **json)
{
    json_decref(*json);
}
#define FL_CLEANUP_JSON __attribute__((cleanup(fl_cleanup_json)))

/* A string's bytes, valid as long as the value; empty when json is NULL or no string. */
struct fl_str fl_json_str(const json_t *json);

/* Writer. Commas are its business: begin, key, value, end, in JSON's order. */
struct fl_json_writer {
    struct fl_buf *buf;
    bool need_comma;
};

void fl_jw_object_begin(struct fl_json_writer *jw);
void fl_jw_object_end(struct fl_json_writer *jw);
void fl_jw_array_begin(struct fl_json_writer *jw);
void fl_jw_array_end(struct fl_json_writer *jw);
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

/* The writer's members by key, for the common case. */
void fl_jw_member_str(struct fl_json_writer *jw, const char *key, struct fl_str value);
void fl_jw_member_int(struct fl_json_writer *jw, const char *key, int64_t value);
void fl_jw_member_bool(struct fl_json_writer *jw, const char *key, bool value);
