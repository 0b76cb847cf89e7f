/* What a registry gives, fetched: manifests, configurations, layers.
 *
 * A source is one repository and the places that have it: mirrors first, the registry last. A fetch
 * is one GET from it with all that may stand between: a token, a redirect, a cut that is resumed
 * with Range, a mirror that has it not. Length and digest are checked on the way; the rules of
 * whom to ask and to believe are src/image's (auth.h, pull.h). */
#pragma once

#include <uv.h>

#include "base/err.h"
#include "image/auth.h"
#include "image/digest.h"
#include "image/pull.h"
#include "net/aws_client.h"

struct fl_puller;

struct fl_puller_config {
    uv_loop_t *loop;
    struct fl_http_client *http;   /* to the server */
    struct fl_aws_client *aws;     /* the server: where its registry is, and a token for it */
    struct fl_str registries_file; /* empty: FL_REGISTRIES_FILE, if it is there */
    struct fl_str login_type;      /* ECS_ENGINE_AUTH_TYPE */
    struct fl_str login_data;      /* ECS_ENGINE_AUTH_DATA */
    struct fl_str proxy;           /* HTTP_PROXY; empty: none */
    struct fl_str no_proxy;        /* NO_PROXY */
    unsigned idle_timeout_ms;      /* ECS_IMAGE_PULL_INACTIVITY_TIMEOUT */
};

#define FL_REGISTRIES_FILE "/etc/fairlead/registries.json"

/* -EINVAL when the operator's word on registries or credentials is not understood. */
int fl_puller_open(const struct fl_puller_config *config, struct fl_puller **ret_puller,
                   struct fl_err *err);
/* All fetches must have ended or been cancelled. */
void fl_puller_close(struct fl_puller *puller);

/* A repository somewhere; counted references. */
struct fl_source;
/* host: as in image names; empty: the built-in registry of the server. login: a task's own for that
 * host and no other place, in place of the operator's (its host is not looked at); NULL: none. */
struct fl_source *fl_source_new(struct fl_puller *puller, struct fl_str host,
                                struct fl_str repository, const struct fl_registry_login *login);
struct fl_source *fl_source_ref(struct fl_source *source);
void fl_source_unref(struct fl_source *source);

/* Why a fetch failed, where somebody may want to go on. */
enum fl_fetch_failure {
    FL_FETCH_DONE,
    FL_FETCH_NOT_FOUND,
    FL_FETCH_DENIED,
    FL_FETCH_IDLE, /* nothing came for idle_timeout_ms */
    FL_FETCH_FAILED
};

struct fl_fetched {
    enum fl_fetch_failure failure;
    struct fl_str error;        /* a sentence */
    struct fl_str body;         /* without a sink */
    struct fl_str content_type; /* may be empty */
    struct fl_digest digest;    /* of what came */
};

typedef void (*fl_fetch_done)(void *context, const struct fl_fetched *fetched);

struct fl_fetch_order {
    struct fl_str path;             /* "manifests/latest", "blobs/sha256:…" */
    struct fl_str accept;           /* empty: anything */
    uint64_t size;                  /* what it must have; 0: not known */
    uint64_t max;                   /* bytes, where the size is not known */
    const struct fl_digest *digest; /* what it must have; NULL: not known */
    /* Takes the body in order (net/http_client.h); NULL: it is kept for done. */
    enum fl_http_flow (*piece)(void *context, struct fl_str bytes);
};

struct fl_fetch;
/* Everything is copied, the source referenced. done is called once, never before this returns. */
struct fl_fetch *fl_fetch_start(struct fl_source *source, const struct fl_fetch_order *order,
                                fl_fetch_done done, void *context);
/* done is not called. Not from within a piece. */
void fl_fetch_cancel(struct fl_fetch *fetch);
/* After FL_HTTP_LATER. */
void fl_fetch_resume(struct fl_fetch *fetch);
