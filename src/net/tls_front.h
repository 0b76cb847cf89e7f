/* A TLS port in front of an HTTP server: accepts, decrypts, and hands each connection on as a plain
 * one, over a socket pair. (libmicrohttpd's own TLS carries a websocket four bytes at a time.)
 *
 * Bounds: max_connections, 10 s for a handshake, 16 KiB each way for each connection; all the rest
 * is the HTTP server's business. */
#pragma once

#include <uv.h>

#include "base/err.h"
#include "net/http_server.h"

struct fl_tls_front;

struct fl_tls_front_config {
    struct fl_str listen; /* "0.0.0.0:4567"; port 0 picks one */
    const char *pem;      /* key and certificate */
    unsigned max_connections;
    struct fl_http_server *http; /* outlives the front */
};

int fl_tls_front_open(uv_loop_t *loop, const struct fl_tls_front_config *config,
                      struct fl_tls_front **ret_front, struct fl_err *err);
uint16_t fl_tls_front_port(const struct fl_tls_front *front);
/* New connections are met with another certificate. */
int fl_tls_front_change(struct fl_tls_front *front, const char *pem, struct fl_err *err);
/* Ends every connection; memory goes when the loop has closed the handles. */
void fl_tls_front_close(struct fl_tls_front *front);
