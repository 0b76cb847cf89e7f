/* The regular expressions of filter patterns: ^ $ . [] ? * + {m,n} | \d \D \s \S \w \W \xhh, and
 * a backslash before any mark; no groups, as in CloudWatch. Matching takes time in proportion to
 * the text whatever the expression is: all its ways are gone at once. */
#pragma once

#include "base/err.h"
#include "base/str.h"

struct fl_logs_regex;

/* -EINVAL with a sentence for what is malformed, too long or not supported. */
int fl_logs_regex_compile(struct fl_str text, struct fl_arena *arena,
                          const struct fl_logs_regex **ret_regex, struct fl_err *err);
/* Whether it occurs anywhere in the text. */
bool fl_logs_regex_matches(const struct fl_logs_regex *regex, struct fl_str text);
/* Steps per byte at most, 1 being a search for one word. */
size_t fl_logs_regex_effort(const struct fl_logs_regex *regex);
