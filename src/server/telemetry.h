/* The telemetry endpoint (TCS): a websocket per agent on which it tells what it measures and how
 * its containers are. Utilization is kept in memory (measures.h); health goes into the core's
 * records when it changes. */
#pragma once

#include <uv.h>

#include "net/http_server.h"
#include "server/engine.h"
#include "server/measures.h"

enum {
    FL_TELEMETRY_HEARTBEAT_MS = 30 * 1000,
    FL_TELEMETRY_SILENCE_MS = 5 * 60 * 1000, /* agents publish three times a minute */
    FL_TELEMETRY_LIFE_MS = 30 * 60 * 1000,   /* and up to a sixth more: then it connects again */
    FL_TELEMETRY_MAX_FRAME = 1 << 20,
    FL_TELEMETRY_MAX = 20000,
};

struct fl_telemetry;

/* Core and engine outlive it. */
struct fl_telemetry *fl_telemetry_new(uv_loop_t *loop, const struct fl_core *core,
                                      struct fl_engine *engine);
/* When the HTTP server has been stopped; the loop must run once more. */
void fl_telemetry_free(struct fl_telemetry *telemetry);

/* A GET of <telemetry endpoint>/ws whose signature is good: upgrades it, or answers why not. */
void fl_telemetry_accept(struct fl_telemetry *telemetry, struct fl_http_exchange *exchange);
const struct fl_measures *fl_telemetry_measures(const struct fl_telemetry *telemetry);
