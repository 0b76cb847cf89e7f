/* Reading the clocks, and RFC 3339 without the C library's time zone state. */
#include "base/clock.h"

#include <stdio.h>
#include <time.h>

static int64_t read_ms(clockid_t id)
{
    struct timespec now;
    (void)clock_gettime(id, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t fl_clock_wall_ms(void)
{
    return read_ms(CLOCK_REALTIME);
}

int64_t fl_clock_mono_ms(void)
{
    return read_ms(CLOCK_BOOTTIME);
}

void fl_time_rfc3339(int64_t wall_ms, char ret_text[FL_RFC3339_SIZE])
{
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm tm;
    (void)gmtime_r(&seconds, &tm);
    char text[64];
    (void)snprintf(text, sizeof(text), "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", tm.tm_year + 1900,
                   tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec,
                   (int)(wall_ms % 1000));
    (void)snprintf(ret_text, FL_RFC3339_SIZE, "%.24s", text);
}
