/* FilterLogEvents' filter patterns, the part that is implemented: terms that must all occur, quoted
 * phrases, -term for what must not occur, ?a ?b of which one must occur. Pure. */
#pragma once

#include "base/err.h"
#include "base/str.h"

struct fl_logs_term {
    struct fl_str text;
    enum { FL_LOGS_TERM_ALL, FL_LOGS_TERM_NONE, FL_LOGS_TERM_ANY } kind;
};

struct fl_logs_pattern {
    struct fl_logs_term *terms;
    size_t count;
};

/* The terms refer to text. -EINVAL for what is malformed or not implemented (JSON, space-delimited
 * and regular-expression patterns), with a sentence naming it. */
int fl_logs_pattern_parse(struct fl_str text, struct fl_arena *arena,
                          struct fl_logs_pattern *ret_pattern, struct fl_err *err);
/* As in CloudWatch, case counts. An empty pattern matches everything. */
bool fl_logs_pattern_matches(const struct fl_logs_pattern *pattern, struct fl_str message);
