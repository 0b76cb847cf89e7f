/* What a session sends and reads, as text: no I/O. */
#pragma once

#include "agent/session.h"

#define FL_ECS_TARGET "AmazonEC2ContainerServiceV20141113."

enum { FL_SESSION_MAX_BODY = 256 * 1024 };

/* The body of RegisterContainerInstance. */
void fl_session_write_register(const struct fl_session_config *config,
                               const struct fl_identity *identity, struct fl_buf *buf);
/* The instance's ARN from its answer, in the arena; empty when there is none. */
struct fl_str fl_session_read_registered(struct fl_str body, struct fl_arena *arena);
/* The websocket's URL: endpoint (ending in '/') and the parameters that describe us. */
struct fl_str fl_session_url(struct fl_str endpoint, const struct fl_session_config *config,
                             const struct fl_identity *identity, bool send_credentials,
                             struct fl_arena *arena);
