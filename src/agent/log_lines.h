/* Lines of a spool that belong together: where a pattern matches, a new event begins (Docker's
 * awslogs-multiline-pattern).
 *
 * An event ends before the next line that matches, before it grew beyond CloudWatch's limit, before
 * a word of the shim's own, or when its first line is FL_LOG_LINES_AGE_MS old. Like a line's, it is
 * one contiguous range of the spool. */
#pragma once

#include "agent/log_pattern.h"
#include "agent/log_spool.h"

enum { FL_LOG_LINES_AGE_MS = 5000 };

struct fl_log_lines {
    struct fl_log_pattern *pattern; /* NULL: every line is an event */
    enum fl_log_pieces pieces;
    struct fl_buf next; /* the line that is looked at */
};

/* As fl_log_spool_next. *ret_waits says, with false, that lines are there and their event is open:
 * ask again, for it may be by age alone that it ends. With `force` it ends where data ends. */
bool fl_log_lines_next(struct fl_log_lines *lines, struct fl_str data, bool final, bool force,
                       int64_t now_ms, size_t *at, struct fl_log_event *ret_event,
                       struct fl_buf *text, bool *ret_waits);
void fl_log_lines_free(struct fl_log_lines *lines);
