/* Why a task has no place, in words. Private to core. */
#pragma once

#include "core/decide.h"

/* Explains event->call, or else event->task, event->service's next task or one of
 * event->definition, on event->cluster (empty:
 * "default"; a call may name its own). The body
 * is JSON: what is asked for, how many instances fit, what excludes the others (grouped, the most
 * frequent first) and the whole as text for a person. 0 or refused. */
int fl_explain(struct fl_decision *d, const struct fl_core_event *event, struct fl_str *ret_body);
