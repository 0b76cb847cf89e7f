/* The Query protocol: names like Tags.member.2.Key on the way in, elements on the way out.
 *
 * Nothing is asserted about the form: depth and lengths are bounded by the names that it has, for
 * only what is there is walked. */
#include "shapes/query.h"

#include <stdio.h>

#include "shapes/walker.h"

/* Of names, which bounds the depth of what they lead to. */
enum { MAX_NAME = 1024 };

struct reader {
    const struct fl_form *form;
    struct fl_json_writer jw;
    char name[MAX_NAME]; /* of the parameter that is looked at */
};

static void read_object(struct reader *r, const struct fl_shape *shape, size_t n);
static void read_value(struct reader *r, const struct fl_type *type, size_t n);

/* Puts text behind the first n characters of the name; 0 when there is no room. */
static size_t go_down(struct reader *r, size_t n, const char *text)
{
    size_t added = strlen(text);
    if (n >= MAX_NAME || added >= MAX_NAME - n - 1)
        return 0;
    if (n > 0)
        r->name[n++] = '.';
    memcpy(r->name + n, text, added);
    return n + added;
}

static bool is_there(const struct reader *r, size_t n)
{
    return n && fl_form_has(r->form, (struct fl_str){r->name, n});
}

static struct fl_str value_at(const struct reader *r, size_t n)
{
    const struct fl_form_item *item = fl_form_find(r->form, (struct fl_str){r->name, n});
    return item ? item->value : FL_STR("");
}

/* Where the list's item i stands: Name.member.i, or Name.i where lists are flat; 0 at its end. */
static size_t item_at(struct reader *r, size_t n, const char *word, size_t i)
{
    char number[24];
    (void)snprintf(number, sizeof(number), "%zu", i);
    size_t inner = go_down(r, n, word);
    inner = inner ? go_down(r, inner, number) : 0;
    if (is_there(r, inner))
        return inner;
    inner = go_down(r, n, number);
    return is_there(r, inner) ? inner : 0;
}

static void read_list(struct reader *r, const struct fl_type *type, size_t n)
{
    size_t inner;
    fl_jw_array_begin(&r->jw);
    for (size_t i = 1; (inner = item_at(r, n, "member", i)) != 0; i++)
        read_value(r, type->item, inner);
    fl_jw_array_end(&r->jw);
}

static void read_map(struct reader *r, const struct fl_type *type, size_t n)
{
    size_t inner;
    fl_jw_object_begin(&r->jw);
    for (size_t i = 1; (inner = item_at(r, n, "entry", i)) != 0; i++) {
        size_t key = go_down(r, inner, "key");
        fl_jw_key_str(&r->jw, key ? value_at(r, key) : FL_STR(""));
        size_t value = go_down(r, inner, "value");
        if (value)
            read_value(r, type->item, value);
        else
            fl_jw_str(&r->jw, FL_STR(""));
    }
    fl_jw_object_end(&r->jw);
}

static bool is_number(struct fl_str s)
{
    size_t digits = 0, dots = 0;
    for (size_t i = s.n && s.p[0] == '-'; i < s.n; i++) {
        digits += s.p[i] >= '0' && s.p[i] <= '9';
        dots += s.p[i] == '.' && i + 1 < s.n && digits > 0;
    }
    bool is_padded = s.n > 1 && s.p[0] == '0' && s.p[1] != '.';
    return digits > 0 && dots <= 1 && digits + dots + (s.p[0] == '-') == s.n && !is_padded &&
           !fl_str_starts(s, FL_STR("-0"));
}

static void read_scalar(struct reader *r, const struct fl_type *type, struct fl_str text)
{
    bool is_word = fl_str_is(text, "true") || fl_str_is(text, "false");
    bool is_bare = type->kind == FL_KIND_BOOLEAN ? is_word : is_number(text);
    if (is_bare && type->kind != FL_KIND_STRING && type->kind != FL_KIND_ENUM)
        fl_jw_raw(&r->jw, text);
    else
        fl_jw_str(&r->jw, text);
}

static void read_value(struct reader *r, const struct fl_type *type, size_t n)
{
    switch (type->kind) {
    case FL_KIND_STRING:
    case FL_KIND_ENUM:
    case FL_KIND_INTEGER:
    case FL_KIND_LONG:
    case FL_KIND_DOUBLE:
    case FL_KIND_BOOLEAN:
    case FL_KIND_TIMESTAMP:
    case FL_KIND_JSON:
        read_scalar(r, type, value_at(r, n));
        return;
    case FL_KIND_STRUCT:
        read_object(r, type->shape, n);
        return;
    case FL_KIND_LIST:
        read_list(r, type, n);
        return;
    case FL_KIND_MAP:
        read_map(r, type, n);
        return;
    }
}

static void read_object(struct reader *r, const struct fl_shape *shape, size_t n)
{
    fl_jw_object_begin(&r->jw);
    for (size_t i = 0; i < shape->n; i++) {
        size_t inner = go_down(r, n, shape->members[i].name);
        if (!is_there(r, inner))
            continue;
        fl_jw_key(&r->jw, shape->members[i].name);
        read_value(r, shape->members[i].type, inner);
    }
    fl_jw_object_end(&r->jw);
}

void fl_query_to_json(const struct fl_shape *shape, const struct fl_form *form, struct fl_buf *buf)
{
    struct reader r = {.form = form, .jw = {.buf = buf}};
    read_object(&r, shape, 0);
}

void fl_xml_text(struct fl_buf *buf, struct fl_str text)
{
    for (size_t i = 0; i < text.n; i++) {
        unsigned char c = (unsigned char)text.p[i];
        if (c == '&')
            fl_buf_add_z(buf, "&amp;");
        else if (c == '<')
            fl_buf_add_z(buf, "&lt;");
        else if (c == '>')
            fl_buf_add_z(buf, "&gt;");
        else if (c == '"')
            fl_buf_add_z(buf, "&quot;");
        else if (c == '\r')
            fl_buf_add_z(buf, "&#13;");
        else if (c < ' ' && c != '\t' && c != '\n')
            fl_buf_add_z(buf, "\xef\xbf\xbd");
        else
            fl_buf_add_char(buf, (char)c);
    }
}

static void open_element(struct fl_buf *buf, const char *name)
{
    fl_buf_printf(buf, "<%s>", name);
}

static void close_element(struct fl_buf *buf, const char *name)
{
    fl_buf_printf(buf, "</%s>", name);
}

/* "2026-11-20T15:04:05.123Z", by the civil calendar (years from 1970 on). */
static void write_time(struct fl_buf *buf, int64_t wall_ms)
{
    int64_t seconds = wall_ms / 1000, days = seconds / 86400 + 719468;
    int64_t era = days / 146097, day_of_era = days % 146097;
    int64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t month = (5 * day + 2) / 153; /* from March on */
    int64_t year = year_of_era + era * 400 + (month >= 10);
    fl_buf_printf(buf, "%04lld-%02lld-%02lldT%02lld:%02lld:%02lld.%03lldZ", (long long)year,
                  (long long)(month < 10 ? month + 3 : month - 9),
                  (long long)(day - (153 * month + 2) / 5 + 1), (long long)(seconds / 3600 % 24),
                  (long long)(seconds / 60 % 60), (long long)(seconds % 60),
                  (long long)(wall_ms % 1000));
}

static void write_value(struct fl_buf *buf, const struct fl_type *type, const void *at,
                        bool is_inline);

static void write_list(struct fl_buf *buf, const struct fl_type *type, const void *at)
{
    struct fl_seq seq = fl_seq_get(at);
    for (size_t i = 0; i < seq.n; i++) {
        open_element(buf, "member");
        write_value(buf, type->item, fl_seq_item(type, seq, i), true);
        close_element(buf, "member");
    }
}

static void write_map(struct fl_buf *buf, const struct fl_type *type, const void *at)
{
    struct fl_seq seq = fl_seq_get(at);
    for (size_t i = 0; i < seq.n; i++) {
        const char *item = fl_seq_item(type, seq, i);
        open_element(buf, "entry");
        open_element(buf, "key");
        fl_xml_text(buf, *(const struct fl_str *)item);
        close_element(buf, "key");
        open_element(buf, "value");
        write_value(buf, type->item, item + type->value_offset, true);
        close_element(buf, "value");
        close_element(buf, "entry");
    }
}

static void write_enum(struct fl_buf *buf, const struct fl_enum *values, const void *at)
{
    unsigned value;
    memcpy(&value, at, sizeof(value));
    fl_xml_text(buf, fl_str_of(fl_enum_text(values, (int)value)));
}

static void write_value(struct fl_buf *buf, const struct fl_type *type, const void *at,
                        bool is_inline)
{
    struct fl_json_writer number = {.buf = buf};
    switch (type->kind) {
    case FL_KIND_STRING:
    case FL_KIND_JSON:
        fl_xml_text(buf, *(const struct fl_str *)at);
        return;
    case FL_KIND_INTEGER:
        fl_jw_int(&number, *(const int32_t *)at);
        return;
    case FL_KIND_LONG:
        fl_jw_int(&number, *(const int64_t *)at);
        return;
    case FL_KIND_DOUBLE:
        fl_jw_double(&number, *(const double *)at);
        return;
    case FL_KIND_BOOLEAN:
        fl_jw_bool(&number, *(const bool *)at);
        return;
    case FL_KIND_TIMESTAMP:
        write_time(buf, *(const int64_t *)at);
        return;
    case FL_KIND_ENUM:
        write_enum(buf, type->values, at);
        return;
    case FL_KIND_STRUCT:
        fl_query_encode(type->shape, is_inline ? at : fl_pointer_get(at), buf);
        return;
    case FL_KIND_LIST:
        write_list(buf, type, at);
        return;
    case FL_KIND_MAP:
        write_map(buf, type, at);
        return;
    }
}

void fl_query_encode(const struct fl_shape *shape, const void *object, struct fl_buf *buf)
{
    for (uint64_t has = fl_presence(object); has; has &= has - 1) {
        const struct fl_member *member = &shape->members[__builtin_ctzll(has)];
        open_element(buf, member->name);
        write_value(buf, member->type, fl_member_at(member, object), false);
        close_element(buf, member->name);
    }
}
