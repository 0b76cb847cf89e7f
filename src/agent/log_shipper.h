/* Ships containers' spools to the server's Logs endpoint, each line once and in order.
 *
 * The server keeps, per log stream, how far the spool is stored, in the transaction that stores
 * the lines: every answer says where to go on, so whoever restarts, nothing is lost or doubled.
 * One call per stream is under way at a time; while the server is away the spool grows and the
 * call is repeated for ever. What the server has stored is punched out of the spool. */
#pragma once

#include <uv.h>

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
    struct fl_str group;
    struct fl_str stream;
    bool create_group; /* awslogs-create-group */
};

/* error is empty, or the sentence that stands behind "CannotStartContainerError: ". */
typedef void (*fl_log_ensured)(void *context, struct fl_str error);
typedef void (*fl_log_finished)(void *context);

/* Before the container starts: makes sure that group and stream are there. The target is copied
 * and known from then on unless error is not empty. Waits up to 30 s for a server that is away.
 * done is never called from within. */
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
