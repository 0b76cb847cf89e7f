/* The spool's grammar. */
#include "agent/log_spool.h"

struct record {
    bool is_damaged;
    bool is_partial;
    char stream;
    int64_t time_ms;
    struct fl_str text;
    size_t end; /* offset behind it */
};

static bool parse_line(struct fl_str line, struct record *record)
{
    struct fl_str time, stream, kind;
    bool good = fl_str_split(&line, ' ', &time) && fl_str_split(&line, ' ', &stream) &&
                line.n >= 2 && line.p[1] == ' ' && fl_str_to_i64(time, &record->time_ms) &&
                record->time_ms >= 0 && stream.n == 1 && strchr("oed", stream.p[0]) &&
                strchr("FP", line.p[0]);
    if (!good)
        return false;
    kind = fl_str_sub(line, 0, 1);
    record->stream = stream.p[0];
    record->is_partial = kind.p[0] == 'P';
    record->text = fl_str_from(line, 2);
    return true;
}

/* False when the record at `at` is not complete. */
static bool read_record(struct fl_str data, bool final, size_t at, struct record *ret_record)
{
    struct fl_str rest = fl_str_from(data, at);
    const char *newline =
        rest.n > 0 ? memchr(rest.p, '\n', FL_MIN(rest.n, (size_t)FL_SPOOL_MAX_RECORD)) : NULL;
    *ret_record = (struct record){0};
    if (newline) {
        rest.n = (size_t)(newline - rest.p);
        ret_record->end = at + rest.n + 1;
        ret_record->is_damaged = !parse_line(rest, ret_record);
        return true;
    }
    if (rest.n >= FL_SPOOL_MAX_RECORD) {
        ret_record->end = at + FL_SPOOL_MAX_RECORD;
        ret_record->is_damaged = true;
        return true;
    }
    if (rest.n == 0 || !final)
        return false;
    ret_record->end = data.n;
    ret_record->is_damaged = !parse_line(rest, ret_record);
    return true;
}

/* JSON strings of the API hold no NUL. */
static void add_text(struct fl_buf *buf, struct fl_str text)
{
    const char *nul;
    while (text.n > 0 && (nul = memchr(text.p, '\0', text.n))) {
        fl_buf_add(buf, text.p, (size_t)(nul - text.p));
        fl_buf_add_z(buf, "\xef\xbf\xbd");
        text = fl_str_from(text, (size_t)(nul - text.p) + 1);
    }
    fl_buf_add_str(buf, text);
}

/* Whether the line so far, raw bytes of it given, ends before this record. */
static bool ends_before(const struct record *next, char stream, size_t bytes)
{
    return next->is_damaged || next->stream != stream || bytes + next->text.n > FL_SPOOL_MAX_TEXT;
}

/* Joins what follows a partial record that ends at `at`; returns where the line ends, or 0 when
 * that is not known yet. */
static size_t join(struct fl_str data, bool final, size_t at, const struct record *first,
                   struct fl_buf *text)
{
    struct record next;
    size_t bytes = first->text.n;
    for (;;) {
        if (!read_record(data, final, at, &next))
            return final ? at : 0;
        if (ends_before(&next, first->stream, bytes))
            return at;
        add_text(text, next.text);
        bytes += next.text.n;
        at = next.end;
        if (!next.is_partial)
            return at;
    }
}

bool fl_log_spool_next(struct fl_str data, enum fl_log_pieces pieces, bool final, size_t *at,
                       struct fl_log_event *ret_event, struct fl_buf *text)
{
    struct record record;
    for (;;) {
        if (!read_record(data, final, *at, &record))
            return false;
        if (!record.is_damaged)
            break;
        *at = record.end;
    }
    fl_buf_clear(text);
    add_text(text, record.text);
    bool joins = record.is_partial && pieces == FL_LOG_JOINED;
    size_t end = joins ? join(data, final, record.end, &record, text) : record.end;
    if (end == 0)
        return false;
    *at = end;
    *ret_event = (struct fl_log_event){.time_ms = record.time_ms,
                                       .stream = record.stream,
                                       .is_partial = record.is_partial && !joins,
                                       .text = fl_buf_str(text)};
    return true;
}
