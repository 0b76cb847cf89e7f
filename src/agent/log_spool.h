/* Reading a container's spool: records "<wall_ms> <o|e|d> <F|P> <text>\n" become log events. Pure.
 * Stream d is the shim's own: what it says there about the log itself.
 *
 * A record marked P is continued by the next one if that is of the same stream; what is joined ends
 * at FL_SPOOL_MAX_TEXT, CloudWatch's limit for an event, or where the other stream cuts in. So an
 * event is always one contiguous range of the file, and reading again from the end of any event
 * gives the same events. What is no record (a file torn by a power cut, the edge of a punched hole)
 * is skipped up to the next newline. */
#pragma once

#include "base/str.h"

enum {
    FL_SPOOL_MAX_TEXT = 256 * 1024 - 26,
    FL_SPOOL_MAX_RECORD = 64 * 1024,           /* longer without a newline is damage */
    FL_SPOOL_TEXT_CAP = 3 * FL_SPOOL_MAX_TEXT, /* for the buffer: a NUL becomes U+FFFD */
};

struct fl_log_event {
    int64_t time_ms;
    char stream;     /* 'o', 'e', 'd' */
    bool is_partial; /* a line's piece that is not its last; only if pieces are not joined */
    struct fl_str text;
};

enum fl_log_pieces { FL_LOG_JOINED, FL_LOG_IN_PIECES };

/* The next event of data from *at on: its text, which lies in `text` and replaces what is there, is
 * empty for an empty line; *at moves behind it. Pieces of a long line are joined, or an event each.
 * False when data ends before the event does; *at then moved over damage at most. With `final` no
 * more will come: an unterminated record is complete, and a line that was to go on ends. */
bool fl_log_spool_next(struct fl_str data, enum fl_log_pieces pieces, bool final, size_t *at,
                       struct fl_log_event *ret_event, struct fl_buf *text);
