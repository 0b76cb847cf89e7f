/* Time. All times are milliseconds in int64_t: since 1970 (UTC) for `_ms` wall clock values, since
 * boot for monotonic ones. core and task never call these: time comes to them in events. */
#pragma once

#include <stddef.h>
#include <stdint.h>

int64_t fl_clock_wall_ms(void);
int64_t fl_clock_mono_ms(void);

#define FL_RFC3339_SIZE 25
/* "2026-11-20T15:04:05.123Z" of a wall-clock time; pure. */
void fl_time_rfc3339(int64_t wall_ms, char ret_text[FL_RFC3339_SIZE]);
