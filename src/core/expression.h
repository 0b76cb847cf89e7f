/* Evaluating the cluster query language on instances. Private to core. */
#pragma once

#include "core/decide.h"
#include "wire/query.h"

/* A parsed expression ready to be asked; in the decision's arena. */
struct fl_expression;

/* NULL after refusing (InvalidParameterException naming what is wrong). */
struct fl_expression *fl_expression_compile(struct fl_decision *d, struct fl_str text);
bool fl_expression_matches(const struct fl_expression *expression,
                           const struct fl_instance *instance);

/* An instance's attribute, as `attribute:<name>` sees it; false when it has none of that name. */
bool fl_instance_attribute(const struct fl_instance *instance, struct fl_str name,
                           struct fl_str *ret_value);
