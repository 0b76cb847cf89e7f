/* HTTP client: libcurl's multi interface in our loop. */
#pragma once

#include <uv.h>

#include "base/err.h"
#include "base/str.h"
#include "net/tls.h"
#include "wire/sigv4.h"

struct fl_http_client;

struct fl_http_response {
    unsigned status; /* 0: no answer; body then holds the reason */
    struct fl_str body;
};

typedef void (*fl_http_done)(void *context, const struct fl_http_response *response);

/* Connections are kept alive and reused. */
int fl_http_client_new(uv_loop_t *loop, struct fl_http_client **ret_client, struct fl_err *err);
/* Servers of https:// addresses are believed if their certificate is among the pins, which must
 * outlive the client and may change; without pins, if the system trusts them. */
void fl_http_client_pin(struct fl_http_client *client, const struct fl_tls_pins *pins);
/* Ends every request without calling back. */
void fl_http_client_free(struct fl_http_client *client);

struct fl_http_request {
    struct fl_str method;
    struct fl_str url; /* http://… or https://… */
    const struct fl_header *headers;
    size_t header_count;
    struct fl_str body;
    unsigned timeout_ms; /* whole request; 0: 30 s */
    size_t max_body;     /* larger answers fail; 0: 16 MiB */
};

/* Everything is copied. done is called once, never before this returns. */
void fl_http_client_send(struct fl_http_client *client, const struct fl_http_request *request,
                         fl_http_done done, void *context);
