/* A block: events of one stream as bytes, first what describes each of them, then their messages
 * back to back, which is what compresses well and can be walked without a copy. For this folder
 * only. */
#pragma once

#include "store/logs_store.h"

/* Bytes that a block may have before compression: a batch and one event beyond it. */
enum { FL_LOGS_BLOCK_MAX = 8 * 1024 * 1024 };
/* What describes an event takes no more than this. */
enum { FL_LOGS_HEAD_BYTES = 40 };

/* Appends the block of events, which are in order. */
void fl_logs_block_write(struct fl_buf *buf, const struct fl_logs_event *const *events,
                         size_t count);

struct fl_logs_block_reader {
    struct fl_str heads;
    struct fl_str messages;
    size_t left;
    struct fl_logs_event event; /* the last one read; its message lies in the block */
};

/* False when the bytes are no block. */
bool fl_logs_block_open(struct fl_logs_block_reader *reader, struct fl_str bytes);
/* The next event into reader->event; false at the end, and where the bytes are damaged. */
bool fl_logs_block_next(struct fl_logs_block_reader *reader);
