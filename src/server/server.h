/* The control plane's process: HTTP endpoints, the core's turns, agent sessions. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

struct fl_server_config {
    struct fl_str data_dir;   /* absolute; exists */
    struct fl_str listen;     /* "127.0.0.1:4566" */
    struct fl_str tls_listen; /* the same over TLS, for agents on other hosts; empty: nowhere */
    struct fl_str advertise;  /* URL that agents are told; empty: by which they have come */
    struct fl_str region;
    struct fl_str account; /* 12 digits */
    bool strict;
    int64_t settle_ms; /* as in fl_core_config, both */
    int64_t lost_after_ms;
    int64_t logs_max_bytes; /* of the logs' file; 0: what the disk can spare */
    /* Of agents' connections; 0: half an hour. Credentials of roles live twice as long. */
    int64_t session_life_ms;
    int64_t heartbeat_ms;        /* between heartbeats to agents; 0: half a minute */
    int64_t key_life_ms;         /* of agents' keys; 0: a day */
    int64_t certificate_life_ms; /* of our own certificate; 0: a year */
};

/* Runs in the foreground until SIGTERM or SIGINT. Keys are read from <data_dir>/keys (operator.json
 * and agent.json). Returns the exit status; a failure to start has said so on stderr, in one
 * line. */
int fl_server_run(const struct fl_server_config *config);
