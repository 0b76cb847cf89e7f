/* Multi-line events. */
#include "agent/log_lines.h"

static bool begins(struct fl_log_lines *lines, const struct fl_log_event *event)
{
    return event->stream == 'd' || fl_log_pattern_matches(lines->pattern, event->text);
}

/* Adds the lines that belong to the first one; false while nobody knows whether more will. */
static bool gather(struct fl_log_lines *lines, struct fl_str data, bool final, size_t *at,
                   struct fl_buf *text)
{
    struct fl_log_event event;
    size_t end = *at;
    for (;;) {
        if (!fl_log_spool_next(data, lines->pieces, final, &end, &event, &lines->next))
            return final;
        if (begins(lines, &event) || text->n + 1 + event.text.n > FL_SPOOL_MAX_TEXT)
            return true;
        fl_buf_add_char(text, '\n');
        fl_buf_add_str(text, event.text);
        *at = end;
    }
}

bool fl_log_lines_next(struct fl_log_lines *lines, struct fl_str data, bool final, bool force,
                       int64_t now_ms, size_t *at, struct fl_log_event *ret_event,
                       struct fl_buf *text, bool *ret_waits)
{
    *ret_waits = false;
    size_t end = *at;
    if (!fl_log_spool_next(data, lines->pieces, final, &end, ret_event, text)) {
        *at = end;
        return false;
    }
    if (lines->pattern && ret_event->stream != 'd') {
        bool ends = gather(lines, data, final, &end, text);
        if (!ends && !force && now_ms - ret_event->time_ms < FL_LOG_LINES_AGE_MS &&
            now_ms >= ret_event->time_ms) {
            *ret_waits = true;
            return false;
        }
        ret_event->text = fl_buf_str(text);
    }
    *at = end;
    return true;
}

void fl_log_lines_free(struct fl_log_lines *lines)
{
    fl_log_pattern_free(lines->pattern);
    fl_buf_free(&lines->next);
    lines->pattern = NULL;
}
