/* What the agent finds out about its host, and the settings that reach it by environment. */
#pragma once

#include "agent/agent.h"
#include "base/err.h"

/* A configuration with every default and environment setting filled in; texts are in the arena. */
int fl_config_complete(const struct fl_agent_config *config, struct fl_arena *arena,
                       struct fl_agent_config *ret_config, struct fl_err *err);

/* Changes with every boot of the host; empty when the kernel does not tell. */
struct fl_str fl_config_boot_id(struct fl_arena *arena);
struct fl_str fl_config_hostname(struct fl_arena *arena);
/* "x86_64" or "arm64", as ECS names them. */
struct fl_str fl_config_cpu_architecture(struct fl_arena *arena);
/* "3h", "90s", "1h30m", "1500ms" (Go's way, whole numbers) in milliseconds; -1 for what is none. */
int64_t fl_config_duration_ms(struct fl_str text);
