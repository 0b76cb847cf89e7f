/* The agent's way to its control plane: registration, discovery, the websocket, and all of them
 * again whenever the connection is lost, for ever. */
#pragma once

#include <uv.h>

#include "agent/admission.h"
#include "agent/ecs_config.h"
#include "agent/identity.h"
#include "net/aws_client.h"
#include "wire/task_spec.h"

struct fl_session;

struct fl_session_config {
    uv_loop_t *loop;
    struct fl_aws_client *aws;
    struct fl_http_client *http; /* the one behind aws */
    struct fl_str server_url;
    struct fl_admitted *admitted;  /* as read; kept up to date */
    struct fl_admission admission; /* for who has no key, or a dead one */
    struct fl_str state_dir;       /* the agent's data, where the identity is saved */
    struct fl_identity identity;   /* as opened there */
    struct fl_str ec2_instance_id; /* the machine; empty: not known */
    struct fl_str cluster;
    struct fl_str describe;                  /* the container runtime in a few words */
    const struct fl_key_value *capabilities; /* attributes sent always; empty value: name only */
    size_t capability_count;
    const struct fl_key_value *custom; /* attributes of the first registration only */
    size_t custom_count;
    int64_t cpu_units;
    int64_t memory_mib;
    struct fl_ecs_texts reserved_ports; /* decimal; tcp */
    struct fl_ecs_texts reserved_ports_udp;
    const struct fl_gpus *gpus; /* may be NULL */
    struct fl_ecs_pairs tags;   /* of the first registration */
};

struct fl_session_callbacks {
    /* Registered, and the control plane found: its telemetry endpoint (empty: none) and our ARN. */
    void (*discovered)(void *context, struct fl_str telemetry_endpoint, struct fl_str instance_arn);
    void (*opened)(void *context);
    void (*message)(void *context, struct fl_str text);
};

/* Texts of the configuration must outlive the session. Begins at once. */
struct fl_session *fl_session_start(const struct fl_session_config *config,
                                    const struct fl_session_callbacks *callbacks, void *context);
/* Ends it without further callbacks. API calls under way must have been ended before
 * (fl_http_client_free); the loop must run until the handles are closed. */
void fl_session_close(struct fl_session *session);
/* FL_ACS_KEY, FL_ACS_CERTIFICATES: what lets us in from now on. */
void fl_session_take_key(struct fl_session *session, const struct fl_json *body);
void fl_session_take_certificates(struct fl_session *session, const struct fl_json *body);
/* Sends one frame; dropped when there is no connection: what matters is sent again on opening. */
void fl_session_send(struct fl_session *session, struct fl_str text);
