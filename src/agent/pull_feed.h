/* A layer on its way from a registry into a pipe, whose reader sets the pace. */
#pragma once

#include "agent/pull.h"

struct fl_feed;

/* All of it is in the pipe and its digest is right (error empty), or not: then what was read from
 * the pipe is worth nothing. broken: the reader has gone before the end. */
typedef void (*fl_feed_done)(void *context, struct fl_str error, bool broken);

/* *ret_read_fd is the caller's. done is called once, never before this returns, after the writing
 * end has been closed. */
int fl_feed_start(uv_loop_t *loop, struct fl_source *source, const struct fl_digest *digest,
                  uint64_t size, fl_feed_done done, void *context, struct fl_feed **ret_feed,
                  int *ret_read_fd, struct fl_err *err);
/* done is not called. */
void fl_feed_cancel(struct fl_feed *feed);
/* While it is held it takes nothing more from the registry. */
void fl_feed_hold(struct fl_feed *feed, bool is_held);
/* Bytes so far. */
uint64_t fl_feed_received(const struct fl_feed *feed);
