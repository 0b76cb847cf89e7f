/* AWS's Query protocol on the same port: form-encoded parameters in, XML out. */
#pragma once

#include "net/http_server.h"
#include "server/credentials.h"
#include "server/keys.h"
#include "wire/sigv4.h"

/* Who calls, once the signature is verified. */
struct fl_query_caller {
    enum fl_role role;
    struct fl_str account;
    struct fl_str service;                 /* that the signature is for */
    const struct fl_role_session *session; /* NULL: a key of its own */
};

/* Is this request one of the Query protocol? */
bool fl_query_is(const struct fl_http_exchange *exchange);
/* Answers that the signature did not verify, in the words of Query services. */
void fl_query_refuse_auth(struct fl_http_exchange *exchange, const struct fl_sigv4_result *result);
/* Answers the request. */
void fl_query_handle(struct fl_http_exchange *exchange, const struct fl_query_caller *caller);

/* The exchange's id in a UUID's form: what users quote in questions. */
struct fl_str fl_request_id(const struct fl_http_exchange *exchange, char text[37]);
