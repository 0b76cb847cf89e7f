/* The HTTP face of the API: authenticates a request, finds its service and operation, decodes and
 * validates its input by the tables, and hands it on. */
#pragma once

#include "core/core.h"
#include "net/http_server.h"
#include "server/backup.h"
#include "server/certificate.h"
#include "server/credentials.h"
#include "server/engine.h"
#include "server/keys.h"
#include "server/logs.h"
#include "server/registry.h"
#include "server/secrets.h"
#include "server/sessions.h"
#include "server/telemetry.h"
#include "server/throttle.h"
#include "server/vault.h"

/* Largest request body: PutLogEvents' mebibyte of messages with every character escaped. */
enum { FL_API_MAX_BODY = 8 << 20 };

struct fl_api {
    struct fl_keys *keys;
    struct fl_vault *vault;
    struct fl_certificate *certificate;
    const struct fl_core *core;
    struct fl_issuer *issuer; /* of credentials of roles */
    struct fl_sigv4_cache *cache;
    struct fl_engine *engine;
    struct fl_logs *logs;
    struct fl_registry *registry;
    struct fl_secrets *secrets;
    struct fl_sessions *sessions;
    struct fl_telemetry *telemetry;
    struct fl_backup *backup;
    struct fl_str region;
    struct fl_str account;
    struct fl_str advertise;      /* URL that agents are told; empty: the one that they have */
    int64_t refused_join_ms;      /* monotonic: when one was logged last */
    struct fl_throttle *throttle; /* NULL: not --strict */
};

/* The server's fl_http_handler; context is the struct fl_api. */
void fl_api_handle(void *context, struct fl_http_exchange *exchange);
/* The same for its fl_http_sink_opener. */
struct fl_http_sink *fl_api_open_sink(void *context, struct fl_http_exchange *exchange);
/* Answers in AWS JSON. */
void fl_api_answer(struct fl_http_exchange *exchange, unsigned status, struct fl_str body);
void fl_api_refuse(struct fl_http_exchange *exchange, unsigned status, struct fl_str code,
                   struct fl_str text);
/* Answers the exchange that a reply effect's request_id stands for. */
void fl_api_reply(uint64_t request_id, unsigned status, struct fl_str body);
