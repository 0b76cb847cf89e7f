/* AllowedPattern: the regular expression that all of a parameter's value has to match. AWS reads it
 * as Java does; PCRE2, which reads it here, knows nearly all of that. How much is tried for one
 * value is bounded. */
#pragma once

#include "base/err.h"
#include "base/str.h"

struct fl_parameters_pattern;

/* NULL, and a sentence, for what is malformed or too large. The text is UTF-8. */
struct fl_parameters_pattern *fl_parameters_pattern_new(struct fl_str text, struct fl_err *err);
void fl_parameters_pattern_free(struct fl_parameters_pattern *pattern);
/* Does it match the whole text (UTF-8)? 1 or 0; -E2BIG: that is not found out in bounded time. */
int fl_parameters_pattern_match(struct fl_parameters_pattern *pattern, struct fl_str text);
