/* The way of this host's tasks to a server that is reached by TLS: a port on 127.0.0.1, and behind
 * it a TLS connection to the server for each that comes, whose certificate is one of the pinned.
 * Bytes are carried as they are: nothing is read, nothing is added, least of all a key
 * (docs/decisions/0008).
 *
 * A server on this very machine is not gone to: there the connection would be taken for the
 * machine's own, which the server trusts with more. Bounds: config's, 16 KiB each way for each
 * connection, and 10 s from a connection's coming until the server has shaken hands. */
#pragma once

#include <uv.h>

#include "base/err.h"
#include "base/str.h"
#include "net/tls.h"

struct fl_tunnel;

enum {
    FL_TUNNEL_PORT = 51681,
    FL_TUNNEL_CONNECTIONS = 256,
    FL_TUNNEL_PER_PEER = 64,
    FL_TUNNEL_IDLE_MS = 75 * 1000, /* the server ends what is idle after 60 s */
};

/* What is pointed to must outlive the tunnel. */
struct fl_tunnel_config {
    uv_loop_t *loop;
    struct fl_str
        state_dir; /* the agent's: keeps the port, which tasks have in their environment */
    const struct fl_tls_pins *pins;
    struct fl_str (*server_url)(void *context); /* where the server is now; asked for each */
    void *context;
    unsigned max_connections;
    unsigned max_per_peer;
    unsigned idle_ms; /* nothing came from either side */
    bool allow_here;  /* a server on this machine will do: for tests */
};

int fl_tunnel_open(const struct fl_tunnel_config *config, struct fl_tunnel **ret_tunnel,
                   struct fl_err *err);
uint16_t fl_tunnel_port(const struct fl_tunnel *tunnel);
/* Connections that are there. */
unsigned fl_tunnel_count(const struct fl_tunnel *tunnel);
/* Ends every connection; memory goes when the loop has closed the handles. */
void fl_tunnel_close(struct fl_tunnel *tunnel);
