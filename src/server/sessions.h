/* Agents' ACS sessions: one websocket per container instance.
 *
 * A newer session fences an older one of the same agent: its connection was lost, and we have not
 * heard of it yet. Our agents name their process by a nonce, so that two of them with one identity
 * (a copied data directory) are told apart: the second is refused as long as the first one lives.
 *
 * What is sent follows from the core's effects; what an agent has not acknowledged is sent again
 * after it reconnects, because the core works it out anew then. */
#pragma once

#include <uv.h>

#include "core/core.h"
#include "net/http_server.h"
#include "server/certificate.h"
#include "server/credentials.h"
#include "server/engine.h"

enum {
    FL_SESSION_HEARTBEAT_MS = 30 * 1000, /* who has left two unanswered is gone */
    FL_SESSION_ACK_MS = 20 * 1000,       /* a payload not acknowledged by then: reconnect */
    FL_SESSION_PROBE_MS = 5 * 1000,      /* a session that is doubted has to speak by then */
    FL_SESSION_LIFE_MS = 30 * 60 * 1000, /* and up to a sixth more: then the agent comes anew */
    FL_SESSION_GRACE_MS = 3 * 1000,      /* and has this long for it */
    FL_SESSION_MAX = 20000,
};

struct fl_sessions;

struct fl_sessions_config {
    uint64_t epoch;
    int64_t life_ms;      /* of a connection; 0: FL_SESSION_LIFE_MS */
    int64_t heartbeat_ms; /* 0: FL_SESSION_HEARTBEAT_MS */
    struct fl_keys *keys; /* agents get their next one over their session; or NULL */
    const struct fl_certificate *certificate; /* and learn of the next certificate; or NULL */
};

struct fl_sessions *fl_sessions_new(uv_loop_t *loop, struct fl_core *core,
                                    const struct fl_sessions_config *config);
/* Both are made after the sessions; needed before the first request. */
void fl_sessions_attach(struct fl_sessions *sessions, struct fl_engine *engine,
                        const struct fl_issuer *issuer);
void fl_sessions_free(struct fl_sessions *sessions);

/* A GET of <endpoint>/ws whose signature is good: upgrades it, or answers why not. */
void fl_sessions_accept(struct fl_sessions *sessions, struct fl_http_exchange *exchange);
/* May the agent with this nonce (headers of its call; empty: it has none) speak for the instance?
 * Not while another one holds the session; then the answer is FL_SESSION_IN_USE. */
bool fl_sessions_hears(struct fl_sessions *sessions, struct fl_str instance_arn,
                       struct fl_str nonce, struct fl_str peer);
#define FL_SESSION_IN_USE                                                                          \
    "Another agent is connected as this container instance. Two hosts with one identity? One has " \
    "a copy of the other's data directory."

/* FL_CORE_EFFECT_AGENT_TASK: gathers the task for its instance's next payload. */
void fl_sessions_task(struct fl_sessions *sessions, const struct fl_core_effect *effect);
/* FL_CORE_EFFECT_AGENT_CLOSE: tells the agent that its instance is INACTIVE and ends its session.
 */
void fl_sessions_end(struct fl_sessions *sessions, const struct fl_core_effect *effect);
/* FL_CORE_EFFECT_AGENT_MANIFEST and FL_CORE_EFFECT_AGENT_STOP_LIST: sent at once, after what was
 * gathered for the agent. */
void fl_sessions_manifest(struct fl_sessions *sessions, const struct fl_core_effect *effect);
void fl_sessions_stop_list(struct fl_sessions *sessions, const struct fl_core_effect *effect);
/* The certificates have changed: tells every agent of ours. */
void fl_sessions_announce(struct fl_sessions *sessions);
/* Sends what was gathered. */
void fl_sessions_flush(struct fl_sessions *sessions);
