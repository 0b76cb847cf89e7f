/* The telemetry session (TCS): what containers use and how they are, published over a websocket of
 * its own, every message signed. One timer takes the samples, publishes every 20 s, watches for a
 * silent peer and waits before the next attempt; without a connection nothing is sampled. */
#pragma once

#include <uv.h>

#include "agent/stats.h"
#include "net/aws_client.h"
#include "task/brain.h"

struct fl_tcs;

/* What is pointed to must outlive the session. */
struct fl_tcs_config {
    uv_loop_t *loop;
    struct fl_aws_client *aws;
    const struct fl_tls_pins *pins; /* NULL: the server speaks no TLS */
    const struct fl_brain *brain;
    struct fl_stats *stats;
    struct fl_str cluster;
    struct fl_str data_dir;         /* the agent's */
    int64_t sample_ms;              /* how often containers are sampled */
    int64_t publish_ms;             /* 0: 20 s */
    bool metrics_off;               /* ECS_DISABLE_METRICS: only health and status */
    bool (*is_well)(void *context); /* the container runtime */
    void *context;
};

struct fl_tcs *fl_tcs_new(const struct fl_tcs_config *config);
/* The control plane was discovered (again): connects there, or stays connected if neither endpoint
 * nor instance has changed. An empty endpoint: there is no telemetry. */
void fl_tcs_discovered(struct fl_tcs *telemetry, struct fl_str endpoint,
                       struct fl_str instance_arn);
/* The health of a container has changed: told with the loop's next turn. */
void fl_tcs_health_changed(struct fl_tcs *telemetry);
/* The loop must run until the handles are closed. */
void fl_tcs_close(struct fl_tcs *telemetry);
