/* What the two ways into a websocket (the server's upgrade, the client's handshake) share with the
 * frames behind it. A ws is made first and gets its socket when the handshake is through. */
#pragma once

#include "net/ws.h"

/* Called once, when the ws uses its socket no more: the place to close it. */
typedef void (*fl_ws_release)(void *context);
/* Called when a ws ends before it got a socket: the handshake must let go of it. */
typedef void (*fl_ws_abandon)(void *context);

/* A ws without a socket; it lives until its `closed` has been called. Messages may be queued. */
struct fl_ws *fl_ws_new(uv_loop_t *loop, bool is_server, const struct fl_ws_callbacks *callbacks,
                        void *context, fl_ws_abandon abandon, void *abandon_context);
/* Gives it its non-blocking socket, what speaks TLS on it (NULL: nothing does; the ws's to free),
 * and the n bytes that were read from it already (copied). */
void fl_ws_attach(struct fl_ws *ws, int fd, struct fl_tls_link *tls, const void *extra, size_t n,
                  fl_ws_release release, void *release_context);
/* Ends it at once: `closed` with 1006, the handshake's status and a text. */
void fl_ws_break(struct fl_ws *ws, unsigned http_status, struct fl_str text);
/* Sec-WebSocket-Accept for a Sec-WebSocket-Key, in the arena. */
struct fl_str fl_ws_accept(struct fl_arena *arena, struct fl_str key);
