/* The agent: registers this host with a control plane and runs the tasks that it is sent. */
#pragma once

#include <stdint.h>

#include "agent/admission.h"
#include "agent/ecs_config.h"
#include "base/str.h"
#include "wire/sigv4.h"

enum { FL_AGENT_MAX_ATTRIBUTES = 64 };

struct fl_agent_config {
    struct fl_str data_dir;   /* the installation's, absolute; the agent's is "agent" inside it */
    struct fl_str server_url; /* "http://127.0.0.1:4566"; empty: ECS_BACKEND_HOST */
    struct fl_admission admission; /* for who has not joined yet */
    struct fl_str region;
    struct fl_str account;
    struct fl_str registry_dir;      /* of the built-in image store; empty: <data_dir>/registry */
    struct fl_str libexec_dir;       /* absolute; empty: found beside the executable */
    struct fl_str cluster;           /* name or ARN; empty: ECS_CLUSTER or default */
    struct fl_str name;              /* of this host; empty: none */
    struct fl_str zone;              /* empty: none */
    struct fl_str instance_type;     /* empty: none */
    const struct fl_str *attributes; /* "name=value" or "name" */
    size_t attribute_count;
    int64_t cpu_units;           /* 0: 1024 per processor */
    int64_t memory_mib;          /* 0: all of the host's memory */
    uint16_t metadata_port;      /* 0: 51679, or another one if that is taken */
    uint16_t introspection_port; /* 0: 51678 */
    struct fl_str ecs_config;    /* the ECS agent's file; empty: FL_ECS_CONFIG_FILE, if present */
    /* Filled in from that file and the environment (fl_config_complete). */
    struct fl_ecs_settings ecs;
    struct fl_ecs_notes notes;
};

/* Runs in the foreground until SIGTERM or SIGINT; tasks are not touched by its end. Returns the
 * process's exit status: 0, or 1 after one line on stderr. */
int fl_agent_run(const struct fl_agent_config *config);
