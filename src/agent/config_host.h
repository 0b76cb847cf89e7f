/* What the agent finds out about its host, and its configuration made complete. */
#pragma once

#include "agent/agent.h"
#include "base/err.h"

/* A configuration with ecs.config, the environment and every default filled in; texts are in the
 * arena. */
int fl_config_complete(const struct fl_agent_config *config, struct fl_arena *arena,
                       struct fl_agent_config *ret_config, struct fl_err *err);

/* Changes with every boot of the host; empty when the kernel does not tell. */
struct fl_str fl_config_boot_id(struct fl_arena *arena);
struct fl_str fl_config_hostname(struct fl_arena *arena);
/* "x86_64" or "arm64", as ECS names them. */
struct fl_str fl_config_cpu_architecture(struct fl_arena *arena);
