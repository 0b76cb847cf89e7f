/* Writing log lines: one write per line, so that lines of several processes do not mix. */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/clock.h"

static enum fl_log_level threshold = FL_LOG_INFO;

void fl_log_set_level(enum fl_log_level level)
{
    threshold = level;
}

/* Texts from outside get into lines; none may begin a line of its own or speak to a terminal. */
static void make_printable(char *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)text[i] < ' ' || text[i] == 0x7f)
            text[i] = '?';
}

void fl_log(enum fl_log_level level, const char *fmt, ...)
{
    static const char *const names[] = {"error", "warn", "info", "debug"};
    char line[2048];
    char when[FL_RFC3339_SIZE];
    if (level > threshold)
        return;
    fl_time_rfc3339(fl_clock_wall_ms(), when);
    int n = snprintf(line, sizeof(line), "%s %s ", when, names[level]);
    va_list args;
    va_start(args, fmt);
    int m = vsnprintf(line + n, sizeof(line) - (size_t)n - 1, fmt, args);
    va_end(args);
    size_t end = FL_MIN((size_t)n + (size_t)FL_MAX(m, 0), sizeof(line) - 2);
    make_printable(line, end);
    line[end] = '\n';
    ssize_t written = write(STDERR_FILENO, line, end + 1);
    (void)written;
}
