/* Errors that a person reads: a status and a sentence.
 *
 * Functions that fail for the operating system's reasons return 0 or -errno. Where a person reads
 * the failure they also take a struct fl_err, filled only on failure. */
#pragma once

#include "base/util.h"

struct fl_err {
    int status;     /* -errno, or -1 when no errno fits */
    char text[512]; /* one sentence, no newline, NUL-terminated */
};

/* Fills *err (which may be NULL) and returns status, so that callers can `return fl_err_set(…)`.
 * The text is cut at the buffer's size. */
int fl_err_set(struct fl_err *err, int status, const char *fmt, ...) FL_PRINTF(3, 4);
/* The same with ": <strerror(-status)>" behind the sentence. */
int fl_err_errno(struct fl_err *err, int status, const char *fmt, ...) FL_PRINTF(3, 4);
