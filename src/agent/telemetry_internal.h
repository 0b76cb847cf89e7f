/* The frame that the telemetry messages share; for telemetry_messages.c and telemetry_health.c. */
#pragma once

#include "agent/telemetry_messages.h"

typedef bool (*fl_tcs_test)(const struct fl_tcs_source *source, const struct fl_task *task);

/* The next task behind `after` that passes; NULL: there is none. */
const struct fl_task *fl_tcs_next_task(const struct fl_tcs_source *source, fl_tcs_test test,
                                       const struct fl_task *after);
/* A task's members up to a list of its containers, which is left open. */
void fl_tcs_begin_task(const struct fl_task *task, const char *list, struct fl_json_writer *jw);
void fl_tcs_end_task(struct fl_json_writer *jw);
void fl_tcs_begin_message(const char *type, struct fl_json_writer *jw);
/* fin and, of metrics, idle follow: the metadata stand behind the tasks, as only then is known
 * whether there are more. */
void fl_tcs_begin_metadata(const struct fl_tcs_source *source, struct fl_str message_id,
                           struct fl_json_writer *jw);
/* Closes the metadata and the message. */
void fl_tcs_end_message(int64_t wall_ms, struct fl_json_writer *jw);
