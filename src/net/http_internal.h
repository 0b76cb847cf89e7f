/* The HTTP server's inside: shared by the daemon (http_server.c), the exchanges (http_exchange.c)
 * and the upgrade to websockets (http_upgrade.c). */
#pragma once

#include <microhttpd.h>
#include <netinet/in.h>
#include <sys/queue.h>
#include <uv.h>

#include "base/id.h"
#include "net/http_server.h"

/* Absolute limits, in milliseconds; a test shortens them. */
struct fl_http_deadlines {
    unsigned headers_ms; /* from a request's first byte to the end of its headers */
    unsigned body_ms;    /* from there to the end of its body; with a sink, to its minimal rate */
    unsigned idle_ms;    /* without a request */
};

enum fl_http_phase {
    FL_HTTP_WAITING,   /* for a request */
    FL_HTTP_HEADERS,   /* its first line is here */
    FL_HTTP_BODY,      /* its headers are here */
    FL_HTTP_ANSWERING, /* it is the handler's */
    FL_HTTP_UPGRADED,  /* it is a websocket */
};

/* One TCP connection; lives as long as MHD's. */
struct fl_http_connection {
    LIST_ENTRY(fl_http_connection) link;
    struct fl_http_server *server;
    struct MHD_Connection *mhd;
    int fd;
    enum fl_http_phase phase;
    int64_t deadline_ms; /* none while answering or upgraded */
    int64_t waiting_since_ms;
    bool first_byte_seen; /* of the request waited for */
    bool evicted;         /* its socket was shut down to make room */
    bool is_loopback;
    bool is_here; /* both ends have the same address */
    bool is_tls;  /* handed on by a TLS port */
    char peer[INET6_ADDRSTRLEN];
    struct fl_ws *ws;
    struct MHD_UpgradeResponseHandle *upgrade;
};

/* One request. Freed when it was answered *and* MHD is through with it, in either order. */
struct fl_http_request_state {
    struct fl_http_exchange exchange;      /* first: the handler's pointer is ours */
    struct fl_http_connection *connection; /* NULL: the client is gone */
    struct fl_buf body;
    size_t counted;            /* bytes of the body that are part of the server's body_bytes */
    struct fl_http_sink *sink; /* that has got or gets the body, until the handler has it */
    uint64_t streamed;         /* bytes that it took */
    int64_t body_since_ms;     /* without the time in which it took none */
    int64_t paused_ms;         /* since when it takes none; 0: it does */
    size_t drained;            /* bytes thrown away after a refusal */
    bool begun;                /* the headers are taken over */
    bool refused;
    bool handed; /* the handler has it */
    bool in_handler;
    bool answered;
    unsigned status;
    struct MHD_Response *response; /* to be queued */
    struct fl_ws *ws;              /* an upgrade on its way */
};

struct fl_http_server {
    uv_loop_t *loop;
    struct fl_http_server_config config;
    struct fl_http_deadlines deadlines;
    struct MHD_Daemon *daemon;
    uv_poll_t poll;   /* MHD's epoll descriptor */
    uv_timer_t timer; /* MHD's next timeout */
    uv_async_t wake;  /* MHD is to run soon */
    uv_timer_t sweep; /* runs while there are connections */
    unsigned open_handles;
    struct fl_random_stock random;
    size_t body_bytes; /* of all requests on their way in */
    int adopting;      /* the socket of the connection that is handed on just now; -1 */
    bool stopping;
    uint16_t port;
    LIST_HEAD(, fl_http_connection) connections; /* newest first */
    unsigned connection_count;
};

/* To be called right after start. */
void fl_http_server_set_deadlines(struct fl_http_server *server,
                                  const struct fl_http_deadlines *deadlines);
/* Takes a connection that somebody else accepted: fd is a plain one, outer the socket that the peer
 * is at the other end of. -errno when there is no room; fd is gone in any case. */
int fl_http_server_adopt(struct fl_http_server *server, int fd, int outer,
                         const struct sockaddr *peer, socklen_t peer_size);
/* A listening socket for "127.0.0.1:4566", and its port. */
int fl_http_listen(struct fl_str listen_at, int *ret_fd, struct fl_err *err);
uint16_t fl_http_bound_port(int fd);
/* Lets MHD run soon, whatever the caller is in the middle of. */
void fl_http_server_kick(struct fl_http_server *server);

/* MHD's hooks for a request's life. */
void *fl_http_on_uri(void *server, const char *uri, struct MHD_Connection *mhd);
enum MHD_Result fl_http_on_request(void *server, struct MHD_Connection *mhd, const char *url,
                                   const char *method, const char *version, const char *bytes,
                                   size_t *n, void **request);
void fl_http_on_completed(void *server, struct MHD_Connection *mhd, void **request,
                          enum MHD_RequestTerminationCode why);

struct fl_http_connection *fl_http_connection_of(struct MHD_Connection *mhd);
/* The clock of deadline_ms; not the loop's, which stands still during a turn. */
int64_t fl_http_now_ms(void);
/* Enters a phase and sets its deadline. */
void fl_http_connection_enter(struct fl_http_connection *connection, enum fl_http_phase phase);
/* Writes a whole answer past MHD, for the moments when MHD takes none: a body refused in its
 * middle, a deadline. The connection ends with it. The first one writes an AWS error. */
void fl_http_refuse(struct fl_http_connection *connection, unsigned status, const char *reason,
                    const char *type, const char *message);
void fl_http_refuse_with(struct fl_http_connection *connection, unsigned status, const char *reason,
                         const struct fl_header *headers, size_t header_count, struct fl_str body);

/* Takes the response (or the upgrade) as the request's answer. */
void fl_http_settle(struct fl_http_request_state *request, unsigned status,
                    struct MHD_Response *response);
