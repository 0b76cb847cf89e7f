/* Why a task has no place, in words. Private to core. */
#pragma once

#include "core/decide.h"

/* Explains event->call, or else event->task, event->service's next task or one of
 * event->definition, on event->cluster (empty:
 * "default"; a call may name its own). The body
 * is JSON: what is asked for, how many instances fit, what excludes the others (grouped, the most
 * frequent first) and the whole as text for a person. 0 or refused. */
int fl_explain(struct fl_decision *d, const struct fl_core_event *event, struct fl_str *ret_body);

/* Its parts about services and ends of tasks. */

/* An id's beginning: ids are long, and their beginnings tell them apart. */
void fl_explain_id(struct fl_buf *text, struct fl_str id);
/* What delays the service and what it waits for, a line each. Control characters of others' words
 * become spaces. */
void fl_explain_service(struct fl_decision *d, const struct fl_service *service,
                        struct fl_buf *text);
/* Why a task stopped and which of its containers did not end well, with the line's end. */
void fl_explain_end(const struct rec_Task *rec, struct fl_buf *text);
