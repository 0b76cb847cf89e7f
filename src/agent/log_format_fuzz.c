/* A container's text in every form of every driver: it can neither begin another message nor leave
 * its field, and what must be UTF-8 is. */
#include "agent/log_format.h"
#include "wire/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static const struct fl_log_facts facts = {.id = FL_STR("0123456789abcdef"),
                                          .name = FL_STR("n"),
                                          .image = FL_STR("i"),
                                          .hostname = FL_STR("h")};

static void check_syslog(const struct fl_log_plan *plan, const struct fl_log_event *event)
{
    struct fl_buf out = FL_BUF_INIT(1 << 20);
    fl_log_syslog_add(plan, &facts, event, &out);
    FL_ASSERT(!out.overflow && fl_str_starts(fl_buf_str(&out), FL_STR("<")));
    FL_ASSERT(fl_str_ends(fl_buf_str(&out), event->text));
    struct fl_str head = fl_str_sub(fl_buf_str(&out), 0, out.n - event->text.n);
    FL_ASSERT(fl_str_index(head, '\n') < 0);
    fl_buf_free(&out);
}

/* Walks over the fields as journald does; the text is the first one's value. */
static void check_journald(const struct fl_log_plan *plan, const struct fl_log_event *event)
{
    struct fl_buf out = FL_BUF_INIT(1 << 20);
    fl_log_journald_add(plan, &facts, event, &out);
    struct fl_str rest = fl_buf_str(&out), line;
    for (size_t fields = 0; fl_str_split(&rest, '\n', &line); fields++) {
        FL_ASSERT(line.n > 0 && line.p[0] >= 'A' && line.p[0] <= 'Z');
        if (fl_str_index(line, '=') >= 0)
            continue;
        uint64_t size = 0;
        for (int i = 7; i >= 0; i--)
            size = size << 8 | (unsigned char)rest.p[i];
        FL_ASSERT(rest.n > 8 + size && rest.p[8 + size] == '\n');
        FL_ASSERT(fields > 0 || fl_str_eq(fl_str_sub(rest, 8, size), event->text));
        rest = fl_str_from(rest, 8 + size + 1);
    }
    fl_buf_free(&out);
}

/* The message without its beginning: [time, {names and texts}]; every text is UTF-8. */
static void check_fluentd(const struct fl_log_plan *plan, const struct fl_log_event *event)
{
    struct fl_buf out = FL_BUF_INIT(1 << 20);
    fl_log_fluentd_add(plan, &facts, event, &out);
    size_t at = 1 + (plan->has_fractions ? 10 : 5) + 3;
    unsigned texts = 0;
    for (; at < out.n; texts++) {
        unsigned char head = (unsigned char)out.p[at++];
        size_t size = head & 31;
        if (head == 0xdb) {
            size = 0;
            for (int i = 0; i < 4; i++)
                size = size << 8 | (unsigned char)out.p[at++];
        }
        FL_ASSERT((head == 0xdb || (head & 0xe0) == 0xa0) && at + size <= out.n);
        for (size_t end = at + size; at < end;) {
            size_t length = fl_json_char_length((struct fl_str){out.p + at, end - at});
            FL_ASSERT(length > 0 || (unsigned char)out.p[at] < 0x80);
            at += length ? length : 1;
        }
    }
    FL_ASSERT(texts % 2 == 0 && texts == 2 * (4U + event->is_partial + (unsigned)plan->attr_count));
    fl_buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    if (n < 2)
        return 0;
    struct fl_str text = {(const char *)bytes + 2, n - 2}, tag = text;
    (void)fl_str_split(&text, '\n', &tag);
    struct fl_key_value attr = {tag, text};
    const struct fl_log_plan plan = {.tag = tag,
                                     .form = (enum fl_syslog_form)(bytes[0] & 3),
                                     .facility = bytes[0] >> 2 & 7,
                                     .has_fractions = bytes[0] & 32,
                                     .attrs = &attr,
                                     .attr_count = bytes[0] >> 6 & 1};
    const struct fl_log_event event = {.time_ms = (int64_t)bytes[1] << 33,
                                       .stream = "oed"[bytes[1] % 3],
                                       .is_partial = bytes[1] & 128,
                                       .text = text};
    check_syslog(&plan, &event);
    check_journald(&plan, &event);
    check_fluentd(&plan, &event);
    return 0;
}
