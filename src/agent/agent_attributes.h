/* The attributes with which a host registers. */
#pragma once

#include "agent/agent.h"
#include "wire/task_spec.h"

/* Sent at every registration; an empty value means a name alone. In the arena. */
struct fl_key_value *fl_agent_capabilities(const struct fl_agent_config *config,
                                           struct fl_arena *arena, size_t *ret_count);
/* What the operator gave, by flags (which win) or in ecs.config: sent at the first registration
 * only, as the ECS agent does. */
struct fl_key_value *fl_agent_custom_attributes(const struct fl_agent_config *config,
                                                struct fl_arena *arena, size_t *ret_count);
/* Whether containers' output can go there. */
bool fl_agent_has_logging_driver(struct fl_str driver);
