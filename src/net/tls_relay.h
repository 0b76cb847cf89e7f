/* Carries bytes between a TLS link and a plain socket, for who has both: the TLS port in front of
 * the HTTP server, and the agent's way to the server for tasks.
 *
 * A direction has one buffer: while it holds something, nothing more is read for it, so a slow
 * reader holds its writer back and costs no memory. What one event moves is bounded. Each side's
 * end is passed on to the other; when it is all over, the owner says. */
#pragma once

#include <stdbool.h>
#include <uv.h>

#include "net/tls.h"

enum { FL_TLS_RELAY_BUFFER = 16 * 1024 };

struct fl_tls_flow {
    char bytes[FL_TLS_RELAY_BUFFER];
    size_t at, n; /* what is left is [at, n) */
    bool at_end;  /* nothing more comes */
};

/* Zeroed, but for the link and the plain socket, which stay the owner's. */
struct fl_tls_relay {
    struct fl_tls_link *tls;
    int plain;
    struct fl_tls_flow in, out; /* from and to the link */
    bool stopped_short;         /* there was more to move when the bound was reached */
};

/* Moves what can be moved; the handshake is done. False: one side is gone. ret_moved: whether there
 * was anything; may be NULL. */
bool fl_tls_relay_move(struct fl_tls_relay *relay, bool *ret_moved);
/* Everything that came has been passed on, and nothing more will come. */
bool fl_tls_flow_is_over(const struct fl_tls_flow *flow);
/* Waits for what is to be done next, on the link's socket and the plain one. */
void fl_tls_relay_watch(const struct fl_tls_relay *relay, uv_poll_t *tls_poll,
                        uv_poll_t *plain_poll, uv_poll_cb on_event);
/* No events: waits for nothing. */
void fl_tls_relay_poll(uv_poll_t *poll, int events, uv_poll_cb on_event);
