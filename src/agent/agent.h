/* The agent: registers this host with a control plane and runs the tasks that it is sent. */
#pragma once

#include <stdint.h>

#include "base/str.h"
#include "wire/sigv4.h"

enum { FL_AGENT_MAX_ATTRIBUTES = 64 };

struct fl_agent_config {
    struct fl_str data_dir;   /* the installation's, absolute; the agent's is "agent" inside it */
    struct fl_str server_url; /* "http://127.0.0.1:4566" */
    struct fl_credentials key;
    struct fl_str region;
    struct fl_str account;
    struct fl_str registry_dir;      /* of the built-in image store; empty: <data_dir>/registry */
    struct fl_str libexec_dir;       /* absolute; empty: found beside the executable */
    struct fl_str cluster;           /* name or ARN; empty: default */
    struct fl_str name;              /* of this host; empty: none */
    struct fl_str zone;              /* empty: none */
    struct fl_str instance_type;     /* empty: none */
    const struct fl_str *attributes; /* "name=value" or "name" */
    size_t attribute_count;
    int64_t cpu_units;           /* 0: 1024 per processor */
    int64_t memory_mib;          /* 0: all of the host's memory */
    int64_t reserved_memory_mib; /* taken off the host's memory */
    int64_t stop_timeout_ms;     /* 0: ECS_CONTAINER_STOP_TIMEOUT or 30 s */
    int64_t cleanup_delay_ms;    /* 0: ECS_ENGINE_TASK_CLEANUP_WAIT_DURATION or 10 s */
};

/* Runs in the foreground until SIGTERM or SIGINT; tasks are not touched by its end. Returns the
 * process's exit status: 0, or 1 after one line on stderr. */
int fl_agent_run(const struct fl_agent_config *config);
