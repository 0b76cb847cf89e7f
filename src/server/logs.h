/* The CloudWatch Logs endpoint: the operations of api/logs.api that are served, and ShipLogs, the
 * way in for our own agents. Everything happens on the logs store's thread, in the order asked. */
#pragma once

#include <stdint.h>
#include <uv.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"
#include "net/http_server.h"
#include "store/store.h"

struct fl_logs;

/* status 200: body is the answer's JSON. 400 or 503: error_code is AWS's name ("…Exception") and
 * body the sentence for its message. The strings are valid during the call. */
typedef void (*fl_logs_reply)(void *context, unsigned status, struct fl_str error_code,
                              struct fl_str body);

struct fl_logs_config {
    const char *path;
    struct fl_str region;
    struct fl_str account;
    int64_t max_bytes; /* of the file; 0: what the disk can spare */
};

/* Opens (creating it) the history file; -EBUSY when another process has it. From then on what is
 * too old, or too much, is deleted now and then. */
int fl_logs_open(uv_loop_t *loop, const struct fl_logs_config *config, struct fl_logs **ret_logs,
                 struct fl_err *err);
/* Answers what is queued, then closes; the loop must run once more. Live tails must have ended with
 * their HTTP server. */
void fl_logs_close(struct fl_logs *logs);

/* Carries out operation (enum logs_operation) on its decoded and validated input. input and arena
 * must live until the reply and nobody may touch the arena until then: the store's thread works in
 * it. An operation that is not served is refused with InvalidParameterException. */
void fl_logs_handle(struct fl_logs *logs, int operation, const void *input, struct fl_arena *arena,
                    int64_t now_ms, fl_logs_reply reply, void *context);

/* StartLiveTail: a refusal goes to reply; otherwise the exchange, whose arena is the input's, is
 * answered with a stream of events (application/vnd.amazon.eventstream). */
void fl_logs_live_tail(struct fl_logs *logs, const void *input, struct fl_http_exchange *exchange,
                       int64_t now_ms, fl_logs_reply reply, void *context);

/* ShipLogs (target Fairlead_20261120.ShipLogs), for our agents only:
 *   {"logGroupName", "logStreamName", "createGroup": bool, "offset": N, "nextOffset": M,
 *    "events": [{"timestamp": ms, "message"}]}
 * makes sure that the stream exists, and the group if createGroup says so (else
 * ResourceNotFoundException). If offset is the stream's stored offset, the events and nextOffset
 * are stored in one transaction, otherwise nothing is. Always answers {"nextOffset": the stored
 * one}. body and arena as input and arena above. stream: the only one that the caller may add to;
 * empty: any. */
void fl_logs_ship(struct fl_logs *logs, struct fl_str body, struct fl_str stream,
                  struct fl_arena *arena, int64_t now_ms, fl_logs_reply reply, void *context);

/* As fl_store_copy. */
void fl_logs_copy(struct fl_logs *logs, const char *path, fl_store_copied done, void *context);
