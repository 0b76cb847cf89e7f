/* AllowedPattern: the regular expression that all of a parameter's value has to match, as Java
 * reads it. Literals, '.', classes, groups, alternatives, ^ $ * + ? {m,n} and the escapes \d \D \w
 * \W \s \S \t \n \r \f \xhh \uhhhh; what else Java knows (look-around, references, flags,
 * possessive quantifiers, \b, \p) is refused by name. Matching takes time in proportion to value
 * times expression, whatever they are. No I/O, no state. */
#pragma once

#include "base/err.h"
#include "base/str.h"

struct fl_parameters_pattern;

/* -EINVAL with a sentence for what is malformed, too large or not supported. The text is UTF-8. */
int fl_parameters_pattern_compile(struct fl_str text, struct fl_arena *arena,
                                  const struct fl_parameters_pattern **ret_pattern,
                                  struct fl_err *err);
/* Does it match the whole text (UTF-8)? */
bool fl_parameters_pattern_matches(const struct fl_parameters_pattern *pattern, struct fl_str text,
                                   struct fl_arena *arena);
