/* Where the events of one container's spool go: one implementation per log driver.
 *
 * A sink takes events until it has enough, then sends them as one batch, which is a contiguous
 * range of the spool, and says how far the spool is stored: by the backend, where that keeps it,
 * else by the sink itself beside the spool. */
#pragma once

#include <uv.h>

#include "agent/log_options.h"
#include "agent/log_spool.h"
#include "net/aws_client.h"

struct fl_log_sink;

/* Text lives as long as the call. */
struct fl_log_answer {
    int64_t offset; /* how far the spool is stored; -1: the batch failed */
    bool is_final;  /* trying again is pointless */
    struct fl_str code;
    struct fl_str message;
};

typedef void (*fl_log_answered)(void *context, const struct fl_log_answer *answer);

struct fl_log_sink_ops {
    const char *failure; /* what a start that failed here begins with */
    /* Adds an event to the batch; false when it has no room for it. */
    bool (*add)(struct fl_log_sink *sink, const struct fl_log_event *event);
    /* Sends the batch, the spool's bytes [from, to), and empties it; equal ones ask how far the
     * spool is stored, and whether the backend is there. One at a time; answered once, later. */
    void (*send)(struct fl_log_sink *sink, int64_t from, int64_t to);
    /* Frees it; what is under way is never answered. */
    void (*close)(struct fl_log_sink *sink);
};

struct fl_log_sink {
    const struct fl_log_sink_ops *ops;
    enum fl_log_pieces pieces;
    fl_log_answered answered; /* both are the follow's */
    void *context;
};

struct fl_log_sink *fl_log_awslogs_new(struct fl_aws_client *client,
                                       const struct fl_log_plan *plan);
/* syslog, journald, fluentd. The offset is kept in `<spool_path>.offset`. Everything is copied. */
struct fl_log_sink *fl_log_local_new(uv_loop_t *loop, const struct fl_log_plan *plan,
                                     const struct fl_log_facts *facts, struct fl_str spool_path);
