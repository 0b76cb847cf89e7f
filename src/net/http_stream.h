/* An answer that is not over yet: chunks of a body, sent as they come. */
#pragma once

#include "net/http_server.h"

struct fl_http_stream;

/* Bytes that wait for a client that does not read; beyond them nothing is taken. */
enum { FL_HTTP_STREAM_BACKLOG = 4 * 1024 * 1024 };

/* Answers the exchange, which is gone, with a body to come. gone is called once, when the client
 * has left, the stream has ended or the server stops; the stream is gone, too, then. It may be
 * called before this returns. Handlers and timers may use a stream; gone may not. */
struct fl_http_stream *fl_http_stream_start(struct fl_http_exchange *exchange, unsigned status,
                                            const struct fl_header *headers, size_t header_count,
                                            void (*gone)(void *context), void *context);
/* False, and nothing is sent, when the bytes would not fit into the backlog. */
bool fl_http_stream_write(struct fl_http_stream *stream, struct fl_str bytes);
/* The body ends with what has been written. */
void fl_http_stream_end(struct fl_http_stream *stream);
