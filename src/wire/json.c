/* The JSON writer, straight into a buffer.
 *
 * The writer keeps no stack: a comma is due exactly when a value has been written in the container
 * that is open. Buffers overflow silently and say so at the end, as base/str.h describes. */
#include "wire/json_plain.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>

static void before_value(struct fl_json_writer *jw)
{
    if (jw->need_comma)
        fl_buf_add_char(jw->buf, ',');
    jw->need_comma = true;
}

static void begin(struct fl_json_writer *jw, char bracket)
{
    before_value(jw);
    fl_buf_add_char(jw->buf, bracket);
    jw->need_comma = false;
}

static void end(struct fl_json_writer *jw, char bracket)
{
    fl_buf_add_char(jw->buf, bracket);
    jw->need_comma = true;
}

void fl_jw_object_begin(struct fl_json_writer *jw)
{
    begin(jw, '{');
}

void fl_jw_object_end(struct fl_json_writer *jw)
{
    end(jw, '}');
}

void fl_jw_array_begin(struct fl_json_writer *jw)
{
    begin(jw, '[');
}

void fl_jw_array_end(struct fl_json_writer *jw)
{
    end(jw, ']');
}

/* The character after the backslash in JSON's short escapes, or 0. */
static char short_escape(unsigned char c)
{
    switch (c) {
    case '"':
    case '\\':
        return (char)c;
    case '\n':
        return 'n';
    case '\r':
        return 'r';
    case '\t':
        return 't';
    case '\b':
        return 'b';
    case '\f':
        return 'f';
    }
    return 0;
}

/* Characters that stand for themselves: the quick way through most strings. */
static size_t plain_length(struct fl_str s)
{
    size_t n = 0;
    while (s.n - n >= 8 && fl_json_8_plain(s.p + n))
        n += 8;
    while (n < s.n && fl_json_is_plain(s.p[n]))
        n++;
    return n;
}

/* Writes the character that s begins with, one that is not plain; returns its bytes. */
static size_t add_special(struct fl_buf *buf, struct fl_str s)
{
    unsigned char c = (unsigned char)s.p[0];
    if (c >= 0x80) {
        size_t n = fl_json_char_length(s);
        fl_buf_add(buf, n ? s.p : "\xef\xbf\xbd", n ? n : 3);
        return n ? n : 1;
    }
    static const char digits[] = "0123456789abcdef";
    char shortened = short_escape(c);
    char escape[] = {'\\', 'u', '0', '0', digits[c >> 4], digits[c & 15]};
    if (shortened)
        escape[1] = shortened;
    fl_buf_add(buf, escape, shortened ? 2 : sizeof(escape));
    return 1;
}

/* A string that stands for itself, with what comes before and behind it, in one go. */
static void add_plain(struct fl_json_writer *jw, struct fl_str s, bool is_key)
{
    size_t n = s.n + 2 + jw->need_comma + is_key;
    char *to = fl_buf_reserve(jw->buf, n);
    if (!to)
        return;
    if (jw->need_comma)
        *to++ = ',';
    *to++ = '"';
    if (s.n)
        memcpy(to, s.p, s.n);
    to += s.n;
    *to++ = '"';
    if (is_key)
        *to++ = ':';
    *to = '\0';
    jw->buf->n += n;
}

static void add_escaped(struct fl_buf *buf, struct fl_str s)
{
    fl_buf_add_char(buf, '"');
    while (s.n > 0) {
        size_t n = plain_length(s);
        fl_buf_add(buf, s.p, n);
        s = fl_str_from(s, n);
        if (s.n > 0)
            s = fl_str_from(s, add_special(buf, s));
    }
    fl_buf_add_char(buf, '"');
}

void fl_jw_key_str(struct fl_json_writer *jw, struct fl_str key)
{
    if (plain_length(key) == key.n) {
        add_plain(jw, key, true);
    } else {
        before_value(jw);
        add_escaped(jw->buf, key);
        fl_buf_add_char(jw->buf, ':');
    }
    jw->need_comma = false;
}

void fl_jw_key(struct fl_json_writer *jw, const char *key)
{
    add_plain(jw, fl_str_of(key), true);
    jw->need_comma = false;
}

void fl_jw_str(struct fl_json_writer *jw, struct fl_str value)
{
    if (plain_length(value) == value.n) {
        add_plain(jw, value, false);
    } else {
        before_value(jw);
        add_escaped(jw->buf, value);
    }
    jw->need_comma = true;
}

static void add_u64(struct fl_buf *buf, uint64_t value)
{
    char digits[20];
    size_t at = sizeof(digits);
    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    fl_buf_add(buf, digits + at, sizeof(digits) - at);
}

void fl_jw_int(struct fl_json_writer *jw, int64_t value)
{
    before_value(jw);
    if (value < 0)
        fl_buf_add_char(jw->buf, '-');
    add_u64(jw->buf, value < 0 ? UINT64_C(0) - (uint64_t)value : (uint64_t)value);
}

/* The shortest of the forms that read back as the same number. JSON has no word for what is not
 * finite: null. A locale's decimal comma becomes a point. */
void fl_jw_double(struct fl_json_writer *jw, double value)
{
    char text[40] = "null";
    for (int digits = 15; isfinite(value) && digits <= 17; digits++) {
        (void)snprintf(text, sizeof(text), "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    char *comma = strchr(text, ',');
    if (comma)
        *comma = '.';
    before_value(jw);
    fl_buf_add_z(jw->buf, text);
}

void fl_jw_bool(struct fl_json_writer *jw, bool value)
{
    before_value(jw);
    fl_buf_add_z(jw->buf, value ? "true" : "false");
}

void fl_jw_time(struct fl_json_writer *jw, int64_t wall_ms)
{
    uint64_t ms = wall_ms < 0 ? UINT64_C(0) - (uint64_t)wall_ms : (uint64_t)wall_ms;
    unsigned fraction = (unsigned)(ms % 1000);
    before_value(jw);
    if (wall_ms < 0)
        fl_buf_add_char(jw->buf, '-');
    add_u64(jw->buf, ms / 1000);
    if (fraction) {
        char text[] = {'.', (char)('0' + fraction / 100), (char)('0' + fraction / 10 % 10),
                       (char)('0' + fraction % 10)};
        size_t n = sizeof(text);
        while (text[n - 1] == '0')
            n--;
        fl_buf_add(jw->buf, text, n);
    }
}

void fl_jw_raw(struct fl_json_writer *jw, struct fl_str json)
{
    before_value(jw);
    fl_buf_add_str(jw->buf, json.n ? json : FL_STR("null"));
}

static void write_object(struct fl_json_writer *jw, const struct fl_json *json)
{
    fl_jw_object_begin(jw);
    for (size_t i = 0; i < fl_json_members(json); i++) {
        fl_jw_key_str(jw, fl_json_text(fl_json_member_name(json, i)));
        fl_jw_json(jw, fl_json_member(json, i));
    }
    fl_jw_object_end(jw);
}

static void write_array(struct fl_json_writer *jw, const struct fl_json *json)
{
    fl_jw_array_begin(jw);
    for (size_t i = 0; i < fl_json_items(json); i++)
        fl_jw_json(jw, fl_json_item(json, i));
    fl_jw_array_end(jw);
}

void fl_jw_json(struct fl_json_writer *jw, const struct fl_json *json)
{
    switch (json->kind) {
    case FL_JSON_NULL:
        fl_jw_raw(jw, FL_STR("null"));
        break;
    case FL_JSON_FALSE:
    case FL_JSON_TRUE:
        fl_jw_bool(jw, json->kind == FL_JSON_TRUE);
        break;
    case FL_JSON_INTEGER:
        fl_jw_int(jw, json->integer);
        break;
    case FL_JSON_REAL:
        fl_jw_double(jw, json->real);
        break;
    case FL_JSON_STRING:
        fl_jw_str(jw, fl_json_text(json));
        break;
    case FL_JSON_ARRAY:
        write_array(jw, json);
        break;
    case FL_JSON_OBJECT:
        write_object(jw, json);
        break;
    }
}

void fl_jw_member_str(struct fl_json_writer *jw, const char *key, struct fl_str value)
{
    fl_jw_key(jw, key);
    fl_jw_str(jw, value);
}

void fl_jw_member_int(struct fl_json_writer *jw, const char *key, int64_t value)
{
    fl_jw_key(jw, key);
    fl_jw_int(jw, value);
}

void fl_jw_member_bool(struct fl_json_writer *jw, const char *key, bool value)
{
    fl_jw_key(jw, key);
    fl_jw_bool(jw, value);
}
