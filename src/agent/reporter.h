/* Reports to the control plane: SubmitTaskStateChange, each repeated until it is taken.
 *
 * The brain hands over one report per task at a time, so that order per task comes for free. At
 * most FL_REPORTER_PARALLEL calls are under way. */
#pragma once

#include <uv.h>

#include "net/aws_client.h"

enum { FL_REPORTER_PARALLEL = 16 };

struct fl_reporter;

/* The report of that sequence has been taken. */
typedef void (*fl_reporter_acked)(void *context, struct fl_str task_arn, int64_t seq);

struct fl_reporter *fl_reporter_new(uv_loop_t *loop, struct fl_aws_client *aws,
                                    fl_reporter_acked acked, void *context);
/* Forgets what is waiting: the brain's records know it. Calls under way must have been ended
 * before (fl_http_client_free). */
void fl_reporter_free(struct fl_reporter *reporter);
/* Everything is copied. */
void fl_reporter_send(struct fl_reporter *reporter, struct fl_str task_arn, int64_t seq,
                      struct fl_str body);
/* The control plane is there again: what waits for its next attempt is tried at once. */
void fl_reporter_hurry(struct fl_reporter *reporter);
