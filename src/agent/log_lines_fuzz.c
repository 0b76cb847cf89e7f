/* Patterns from definitions on lines from containers. Whatever either is: each event is one range
 * of the spool behind the one before, none is longer than CloudWatch's limit, reading that resumes
 * at an event's end gives the next one, and the lines together are those that the spool holds. */
#include "agent/log_lines.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

enum { NOW_MS = 2 };

static size_t text_bytes(struct fl_str text)
{
    size_t n = 0;
    for (size_t i = 0; i < text.n; i++)
        n += text.p[i] != '\n';
    return n;
}

/* Bytes of text in all events; each is read again from where the one before ended. */
static size_t read_all(struct fl_log_lines *lines, struct fl_str data, bool final)
{
    struct fl_buf text = FL_BUF_INIT(FL_SPOOL_TEXT_CAP);
    struct fl_log_event event;
    size_t at = 0, start = 0, total = 0;
    bool waits;
    while (fl_log_lines_next(lines, data, final, final, NOW_MS, &at, &event, &text, &waits)) {
        FL_ASSERT(at > start && at <= data.n && !waits && !text.overflow);
        size_t again = 0;
        struct fl_str rest = fl_str_from(data, start);
        size_t n = event.text.n;
        FL_ASSERT(
            fl_log_lines_next(lines, rest, final, final, NOW_MS, &again, &event, &text, &waits));
        FL_ASSERT(again == at - start && event.text.n == n);
        total += text_bytes(event.text);
        start = at;
    }
    fl_buf_free(&text);
    return total;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct fl_str rest = {(const char *)bytes, n}, pattern;
    if (!fl_str_split(&rest, '\n', &pattern))
        return 0;
    struct fl_log_lines lines = {.pieces = FL_LOG_JOINED, .next = FL_BUF_INIT(FL_SPOOL_TEXT_CAP)};
    size_t alone = read_all(&lines, rest, true);
    lines.pattern = fl_log_pattern_new(pattern, NULL);
    if (lines.pattern) {
        FL_ASSERT(read_all(&lines, rest, true) == alone);
        FL_ASSERT(read_all(&lines, rest, false) <= alone);
    }
    fl_log_lines_free(&lines);
    return 0;
}
