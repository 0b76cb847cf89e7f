/* Filter patterns of CloudWatch Logs: terms (word, "phrase", ?any, -none, %regex%), JSON
 * ({ $.a.b = "x" && $.n > 3 }) and space-delimited ([ip, ..., status = 4*, bytes > 1000]).
 * Pure: a pattern is bytes in an arena, and matching looks at each byte of a message a bounded
 * number of times, whatever pattern and message say. */
#pragma once

#include "base/err.h"
#include "base/str.h"

struct fl_logs_pattern;

/* The pattern refers to text and lives in the arena. -EINVAL for what is malformed, with a
 * sentence that says where. */
int fl_logs_pattern_parse(struct fl_str text, struct fl_arena *arena,
                          const struct fl_logs_pattern **ret_pattern, struct fl_err *err);
/* As in CloudWatch, case counts. An empty pattern matches everything. scratch is the call's: it is
 * reset. */
bool fl_logs_pattern_matches(const struct fl_logs_pattern *pattern, struct fl_str message,
                             struct fl_arena *scratch);
/* What matching costs per byte, 1 being a search for one word. */
size_t fl_logs_pattern_effort(const struct fl_logs_pattern *pattern);

/* What a metric filter would take out of a message that matches: "$.a.b" or "$name" and its value,
 * for each that the pattern names. */
typedef void (*fl_logs_pattern_each)(void *context, struct fl_str name, struct fl_str value);
void fl_logs_pattern_extract(const struct fl_logs_pattern *pattern, struct fl_str message,
                             struct fl_arena *scratch, fl_logs_pattern_each each, void *context);
