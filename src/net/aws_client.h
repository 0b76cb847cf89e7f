/* Signed AWS JSON calls: what an SDK's client does, for the agent and the operator's commands. */
#pragma once

#include "net/http_client.h"

struct fl_aws_client;

struct fl_aws_config {
    struct fl_str endpoint; /* "http://127.0.0.1:4566" */
    struct fl_str region;
    struct fl_credentials key;
};

/* Everything is copied. http must outlive the client. */
struct fl_aws_client *fl_aws_client_new(struct fl_http_client *http,
                                        const struct fl_aws_config *config);
void fl_aws_client_free(struct fl_aws_client *client);
/* Calls and handshakes are signed with this key from now on (copied), or go to this endpoint. */
void fl_aws_client_set_key(struct fl_aws_client *client, const struct fl_credentials *key);
void fl_aws_client_set_endpoint(struct fl_aws_client *client, struct fl_str endpoint);
/* Where calls go now; valid until the next one is set. */
struct fl_str fl_aws_client_endpoint(const struct fl_aws_client *client);
/* From now on calls carry these two headers, unsigned: who calls, in more words than the key's. */
void fl_aws_client_introduce(struct fl_aws_client *client, const struct fl_header headers[2]);

/* Calls target "AmazonEC2ContainerServiceV20141113.RunTask" of signing service "ecs" with a JSON
 * body. done gets the HTTP response; for status ≥ 400 fl_aws_error reads code and message. */
struct fl_aws_request {
    const char *service;
    const char *target;
    struct fl_str body;
    unsigned timeout_ms;
    const struct fl_header *extra;    /* unsigned; NULL: none */
    const struct fl_credentials *key; /* NULL: the client's, with what introduces it */
};
void fl_aws_send(struct fl_aws_client *client, const struct fl_aws_request *request,
                 fl_http_done done, void *context);
/* The same, with nothing extra. */
void fl_aws_call(struct fl_aws_client *client, const char *service, const char *target,
                 struct fl_str body, unsigned timeout_ms, fl_http_done done, void *context);

/* Headers for a websocket to url, signed as a GET of it: the handshake's with an empty body, and
 * with a message as body those that the agent protocol's telemetry puts before each. Host is the
 * first. In the arena; returns their number. */
size_t fl_aws_sign_websocket(struct fl_aws_client *client, const char *service, struct fl_str url,
                             struct fl_str body, struct fl_arena *arena,
                             struct fl_header **ret_headers);

/* Error code ("ClusterNotFoundException") and message of an error answer, in the arena. */
void fl_aws_error(const struct fl_http_response *response, struct fl_arena *arena,
                  struct fl_str *ret_code, struct fl_str *ret_message);

/* One call from start to end, with a loop of its own: for the operator's commands. 0, or -errno
 * when there was no answer. body of *ret_response is in the arena. */
int fl_aws_call_wait(const struct fl_aws_config *config, const char *service, const char *target,
                     struct fl_str body, unsigned timeout_ms, struct fl_arena *arena,
                     struct fl_http_response *ret_response, struct fl_err *err);
