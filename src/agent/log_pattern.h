/* Regular expressions from definitions: compiled and matched within bounds, so that no pattern and
 * no line takes the agent's time. */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "base/str.h"

struct fl_log_pattern;

/* NULL with err set for what is none. */
struct fl_log_pattern *fl_log_pattern_new(struct fl_str text, struct fl_err *err);
void fl_log_pattern_free(struct fl_log_pattern *pattern);
/* Somewhere in the line; a line that takes too long to be matched matches not. A pattern that does
 * so again and again is given up, and matches every line from then on. */
bool fl_log_pattern_matches(struct fl_log_pattern *pattern, struct fl_str line);
