/* An agent's telemetry frames, decoded and handed on. Private to the telemetry. */
#pragma once

#include "server/engine.h"
#include "server/measures.h"

/* Who speaks: cluster by name, instance by id. */
struct fl_telemetry_source {
    struct fl_str cluster;
    struct fl_str instance;
};

/* The JSON behind the lines of a signature that agents put before it; empty when there is none. */
struct fl_str fl_telemetry_body(struct fl_str frame);
/* Takes one message; returns the type of the acknowledgement, or NULL for none (err then says why,
 * unless the message is of no known type). */
const char *fl_telemetry_take(const struct fl_telemetry_source *source, struct fl_str frame,
                              struct fl_measures *measures, struct fl_engine *engine,
                              int64_t now_ms, struct fl_err *err);
