/* Ships containers' spools to their backends, each line once and in order.
 *
 * The server keeps, per log stream, how far the spool is stored, in the transaction that stores
 * the lines: every answer says where to go on, so whoever restarts, nothing is lost or doubled.
 * For other backends that is kept beside the spool. One batch per container is under way at a time;
 * while the backend is away the spool grows and the batch is repeated. What is stored is punched
 * out of the spool. */
#pragma once

#include <uv.h>

#include "agent/log_options.h"
#include "base/err.h"
#include "base/str.h"
#include "net/aws_client.h"

struct fl_log_shipper;

/* client must outlive the shipper's calls: close the shipper first. */
struct fl_log_shipper *fl_log_shipper_open(uv_loop_t *loop, struct fl_aws_client *client);
/* Forgets everything without calling back; spools stay as they are. The loop must run on until the
 * handles are closed; a call under way is let finish and its answer ignored. */
void fl_log_shipper_close(struct fl_log_shipper *shipper);

struct fl_log_target {
    struct fl_str container_id;
    struct fl_str spool_path; /* absolute; need not exist yet */
    const struct fl_log_plan *plan;
    const struct fl_log_facts *facts;
};

/* error is empty, or the sentence that stands behind "CannotStartContainerError: ". */
typedef void (*fl_log_ensured)(void *context, struct fl_str error);
typedef void (*fl_log_finished)(void *context);

/* Before the container starts: makes sure that the backend is there, with group and stream. The
 * target is copied and known from then on unless error is not empty. Waits up to 30 s for a server
 * that is away, and not for other backends; if the plan drops or is asynchronous, one that is away
 * is no error. done is never called from within. */
void fl_log_shipper_ensure(struct fl_log_shipper *shipper, const struct fl_log_target *target,
                           fl_log_ensured done, void *context);
/* Follows the spool; also without ensure before, for a container of an earlier agent. Repeating it
 * changes nothing. */
void fl_log_shipper_start(struct fl_log_shipper *shipper, const struct fl_log_target *target);
/* The container has ended and its spool will not grow: ships the rest, an unterminated last line
 * too, then forgets the target and calls done (never from within). A stream that the server
 * refuses for good is given up. False, and no call, when the container is not known. The spool
 * must stay until done. */
bool fl_log_shipper_finish(struct fl_log_shipper *shipper, struct fl_str container_id,
                           fl_log_finished done, void *context);
