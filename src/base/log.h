/* The process's own log: one line per event on stderr, "<RFC 3339 time> <level> <text>".
 * Leaf code does not log; who handles a failure logs it once. */
#pragma once

#include "base/util.h"

enum fl_log_level { FL_LOG_ERROR, FL_LOG_WARN, FL_LOG_INFO, FL_LOG_DEBUG };

/* Lines above this level are dropped; FL_LOG_INFO at start. */
void fl_log_set_level(enum fl_log_level level);
void fl_log(enum fl_log_level level, const char *fmt, ...) FL_PRINTF(2, 3);

#define fl_log_error(...) fl_log(FL_LOG_ERROR, __VA_ARGS__)
#define fl_log_warn(...) fl_log(FL_LOG_WARN, __VA_ARGS__)
#define fl_log_info(...) fl_log(FL_LOG_INFO, __VA_ARGS__)
#define fl_log_debug(...) fl_log(FL_LOG_DEBUG, __VA_ARGS__)
