/* Evaluating the cluster query language on instances. Private to core.
 *
 * An expression is compiled once and kept (filter.h): it owns its regular expressions. */
#pragma once

#include "core/decide.h"
#include "wire/query.h"

/* A parsed expression ready to be asked. */
struct fl_expression;

/* NULL and a sentence naming what is wrong. The tree is in the arena; fl_expression_free releases
 * what is not, before the arena goes. */
struct fl_expression *fl_expression_compile(struct fl_arena *arena, struct fl_str text,
                                            struct fl_err *err);
void fl_expression_free(struct fl_expression *expression);
/* 0, or refused with InvalidParameterException. */
int fl_expression_check(struct fl_decision *d, struct fl_str text);

bool fl_expression_matches(const struct fl_expression *expression,
                           const struct fl_instance *instance);
/* Does its answer follow tasks (runningTasksCount, task:group), and not only what changes with the
 * instance's record and its agent's session? */
bool fl_expression_is_live(const struct fl_expression *expression);

/* An instance's attribute, as `attribute:<name>` sees it; false when it has none of that name. */
bool fl_instance_attribute(const struct fl_instance *instance, struct fl_str name,
                           struct fl_str *ret_value);

/* A time as `registeredAt` compares it: 2018-06-18, 2018-06-18T22:28:28 with nothing (UTC), Z or an
 * offset like +02:00 behind it; seconds since 1970. */
bool fl_expression_time(struct fl_str text, int64_t *ret_s);
