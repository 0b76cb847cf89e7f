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
    bool timed_out; /* with status 0: time was up, in whole or without a byte */
    void *headers;  /* for fl_http_response_header; NULL: there are none */
};

/* The value of the nth header of that name (any case), from 0; empty when there are not so many.
 * Valid during the callback. */
struct fl_str fl_http_response_header(const struct fl_http_response *response, const char *name,
                                      size_t nth);

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
    unsigned timeout_ms;      /* whole request; 0: 30 s */
    size_t max_body;          /* larger answers fail; 0: 16 MiB */
    unsigned idle_timeout_ms; /* ends when nothing comes for so long (whole seconds); 0: never */
    struct fl_str ca_file;    /* whom to believe about names, in place of the system's; or empty */
    struct fl_str proxy;      /* URL; empty: what the process's environment says */
    struct fl_str no_proxy;   /* names without it, beside this machine's; empty: the same */
    const struct fl_http_taker *taker; /* takes a body piece by piece; NULL: the response has it */
};

/* What becomes of a piece of a body. */
enum fl_http_flow {
    FL_HTTP_TAKEN,
    FL_HTTP_LATER, /* not taken: it comes again after fl_http_resume, and nothing before */
    FL_HTTP_ENOUGH /* the request fails */
};

/* Called with the response's head (no body yet) before the first piece, then with each. Neither may
 * cancel a request. Answers that the head function does not want (false) end up in the response's
 * body as without a taker. */
struct fl_http_taker {
    bool (*head)(void *context, const struct fl_http_response *head);
    enum fl_http_flow (*piece)(void *context, struct fl_str bytes);
};

/* A request under way; valid until done is called. */
struct fl_http_flight;

/* Everything but *taker is copied. done is called once, never before this returns. */
struct fl_http_flight *fl_http_client_send(struct fl_http_client *client,
                                           const struct fl_http_request *request, fl_http_done done,
                                           void *context);
/* Ends the request; done is not called. Not from within a taker. */
void fl_http_cancel(struct fl_http_flight *flight);
/* The taker has room again. It may be called before this returns. */
void fl_http_resume(struct fl_http_flight *flight);
