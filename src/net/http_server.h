/* HTTP/1.1 server: libmicrohttpd driven by our loop, requests delivered whole, but for bodies that
 * somebody has opened a sink for: those go there piece by piece.
 *
 * Bounds: header block 32 KiB, body `max_body` (413 beyond; of the rest at most 16 MiB are read,
 * and dropped), 128 MiB for all bodies above 64 KiB together (503), 10 s for the headers and 30 s
 * for the body from the first byte on (408 beyond), 60 s idle (less when connections are nearly
 * used up), max_connections. A handler may answer at once or later: the connection waits suspended.
 * A body that goes into a sink has no bound but the sink's; it must come at 16 KiB a second or more
 * on the whole, half a minute and the sink's own time left out. */
#pragma once

#include <uv.h>

#include "base/err.h"
#include "base/str.h"
#include "net/ws.h"
#include "wire/sigv4.h"

struct fl_http_server;

/* Takes a body piece by piece. All calls come on the loop's thread. */
struct fl_http_sink {
    /* Takes all n bytes (they are valid during the call), or returns false: not now. The connection
     * then pauses until fl_http_sink_ready, and the same bytes come again. */
    bool (*take)(struct fl_http_sink *sink, const char *bytes, size_t n);
    /* The request ended before its body did: the client has gone, was too slow, or was refused. The
     * exchange is no more. */
    void (*gone)(struct fl_http_sink *sink);
};

/* A request and its answer-to-be. Valid from the handler's call until it is answered (or upgraded);
 * the pointers live as long. If the client goes away first, the answer goes nowhere, harmlessly. */
struct fl_http_exchange {
    struct fl_str method;
    struct fl_str path;  /* raw, before '?' */
    struct fl_str query; /* raw, after '?' */
    const struct fl_header *headers;
    size_t header_count;
    struct fl_str body;
    struct fl_http_sink *sink; /* has got the whole body, when the handler is called; or NULL */
    struct fl_str peer;        /* address of the client, text */
    bool peer_is_loopback;
    bool peer_is_here; /* the client is on this machine, whatever the address */
    bool is_tls;
    uint8_t id[16];         /* random: names the request */
    struct fl_arena *arena; /* dies with the exchange: the handler may use it */
};

/* Called in the loop's poll phase, never from a timer's. Must not stop the server. */
typedef void (*fl_http_handler)(void *context, struct fl_http_exchange *exchange);
/* Called when a request's headers are here: a sink for its body, or NULL, which has it collected.
 * It may refuse the request (fl_http_refuse_body) and return NULL. */
typedef struct fl_http_sink *(*fl_http_sink_opener)(void *context,
                                                    struct fl_http_exchange *exchange);

struct fl_http_server_config {
    struct fl_str listen; /* "127.0.0.1:4566", "[::1]:80"; port 0 picks one */
    const char
        *tls_pem; /* key and certificate; NULL: plain HTTP. Must live as long as the server */
    size_t max_body;
    unsigned max_connections;
    unsigned max_connections_per_peer; /* 0: as many */
    fl_http_handler handler;
    fl_http_sink_opener open_sink; /* NULL: every body is collected */
    void *context;
};

int fl_http_server_start(uv_loop_t *loop, const struct fl_http_server_config *config,
                         struct fl_http_server **ret_server, struct fl_err *err);
uint16_t fl_http_server_port(const struct fl_http_server *server);
/* Closes every connection (websockets: `closed` with 1006) before it returns; memory goes when the
 * loop has closed the handles. Exchanges not answered yet stay valid until they are. Not to be
 * called from a handler or a websocket's callback. */
void fl_http_server_stop(struct fl_http_server *server);

/* First header of that name (any case), or an empty string with p = NULL. */
struct fl_str fl_http_header(const struct fl_http_exchange *exchange, const char *name);

/* Answers; body and headers are copied. Exactly once per exchange, which is gone afterwards. */
void fl_http_reply(struct fl_http_exchange *exchange, unsigned status,
                   const struct fl_header *headers, size_t header_count, struct fl_str body);

/* Answers with size bytes of a file from offset on; fd is the server's from now on. A HEAD request
 * gets the headers alone. */
void fl_http_reply_file(struct fl_http_exchange *exchange, unsigned status,
                        const struct fl_header *headers, size_t header_count, int fd,
                        uint64_t offset, uint64_t size);

/* The sink takes bytes again. */
void fl_http_sink_ready(struct fl_http_exchange *exchange);
/* Answers before the body has come, and ends the connection; what still comes is thrown away. Only
 * from an opener or while a sink has the body; the sink's `gone` follows, then or later. */
void fl_http_refuse_body(struct fl_http_exchange *exchange, unsigned status, const char *reason,
                         const struct fl_header *headers, size_t header_count, struct fl_str body);

/* Turns the exchange into a websocket (RFC 6455); answers 400 and returns NULL if it is no valid
 * upgrade request. */
struct fl_ws *fl_http_upgrade(struct fl_http_exchange *exchange,
                              const struct fl_ws_callbacks *callbacks, void *context);
