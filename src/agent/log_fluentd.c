/* Fluentd's forward protocol, written in MessagePack: [tag, [[time, record], …]]. */
#include "agent/log_format.h"
#include "wire/json_plain.h"

enum { COUNT_BYTES = 4, FIXED_MEMBERS = 4 };

static void add_bytes(struct fl_buf *buf, uint64_t value, unsigned bytes)
{
    while (bytes-- > 0)
        fl_buf_add_char(buf, (char)(value >> (8 * bytes)));
}

static void add_str_head(struct fl_buf *buf, size_t n)
{
    if (n < 32) {
        fl_buf_add_char(buf, (char)(0xa0 | n));
    } else {
        fl_buf_add_char(buf, (char)0xdb);
        add_bytes(buf, n, 4);
    }
}

/* Bytes of the text that are UTF-8 from its beginning on. */
static size_t good_length(struct fl_str text)
{
    size_t n = 0;
    while (n < text.n) {
        size_t length = 1;
        if ((unsigned char)text.p[n] >= 0x80)
            length = fl_json_char_length(fl_str_from(text, n));
        if (length == 0)
            break;
        n += length;
    }
    return n;
}

/* A str of MessagePack is UTF-8: every other byte becomes U+FFFD. */
static void add_str(struct fl_buf *buf, struct fl_str text)
{
    size_t good = good_length(text);
    if (good == text.n) {
        add_str_head(buf, text.n);
        fl_buf_add_str(buf, text);
        return;
    }
    FL_CLEANUP_BUF struct fl_buf mended = FL_BUF_INIT(3 * text.n);
    for (;;) {
        fl_buf_add_str(&mended, fl_str_sub(text, 0, good));
        text = fl_str_from(text, good);
        if (text.n == 0)
            break;
        fl_buf_add_z(&mended, "\xef\xbf\xbd");
        text = fl_str_from(text, 1);
        good = good_length(text);
    }
    add_str_head(buf, mended.n);
    fl_buf_add_str(buf, fl_buf_str(&mended));
}

static void add_member(struct fl_buf *buf, const char *name, struct fl_str value)
{
    add_str(buf, fl_str_of(name));
    add_str(buf, value);
}

/* EventTime, extension type 0: seconds and nanoseconds. */
static void add_time(struct fl_buf *buf, int64_t time_ms, bool has_fractions)
{
    if (!has_fractions) {
        fl_buf_add_char(buf, (char)0xce);
        add_bytes(buf, (uint64_t)time_ms / 1000, 4);
        return;
    }
    fl_buf_add(buf, "\xd7\x00", 2);
    add_bytes(buf, (uint64_t)time_ms / 1000, 4);
    add_bytes(buf, (uint64_t)(time_ms % 1000) * 1000000, 4);
}

void fl_log_fluentd_begin(const struct fl_log_plan *plan, struct fl_buf *buf)
{
    fl_buf_add_char(buf, (char)0x92);
    add_str(buf, plan->tag);
    fl_buf_add_char(buf, (char)0xdd);
    add_bytes(buf, 0, COUNT_BYTES);
}

void fl_log_fluentd_add(const struct fl_log_plan *plan, const struct fl_log_facts *facts,
                        const struct fl_log_event *event, struct fl_buf *buf)
{
    size_t members = FIXED_MEMBERS + event->is_partial + plan->attr_count;
    fl_buf_add_char(buf, (char)0x92);
    add_time(buf, event->time_ms, plan->has_fractions);
    fl_buf_add_char(buf, (char)0xde);
    add_bytes(buf, members, 2);
    add_member(buf, "container_id", facts->id);
    add_str(buf, FL_STR("container_name"));
    add_str_head(buf, facts->name.n + 1);
    fl_buf_add_char(buf, '/');
    fl_buf_add_str(buf, facts->name);
    add_member(buf, "source",
               event->stream == 'o' ? FL_STR("stdout")
                                    : (event->stream == 'e' ? FL_STR("stderr") : FL_STR("agent")));
    add_member(buf, "log", event->text);
    if (event->is_partial)
        add_member(buf, "partial_message", FL_STR("true"));
    for (size_t i = 0; i < plan->attr_count; i++) {
        add_str(buf, plan->attrs[i].key);
        add_str(buf, plan->attrs[i].value);
    }
}

void fl_log_fluentd_end(const struct fl_log_plan *plan, char *message, uint32_t entries)
{
    FL_CLEANUP_BUF struct fl_buf head = FL_BUF_INIT(64 * 1024);
    fl_log_fluentd_begin(plan, &head);
    for (unsigned i = 0; i < COUNT_BYTES; i++)
        message[head.n - 1 - i] = (char)(entries >> (8 * i));
}
