/* What others may know of a launched container's processes and groups. */
#pragma once

#include <sys/types.h>

#include "agent/cgroup.h"
#include "agent/runtime.h"

/* The container's first process while it runs; 0: it does not. */
pid_t fl_runtime_pid(struct fl_runtime *runtime, struct fl_str container_id);
/* When its bundle was written, wall clock; 0: there is none. */
int64_t fl_runtime_created_ms(const struct fl_runtime *runtime, struct fl_str container_id);
/* Its control group ("/tag/task/container"), in the arena. */
struct fl_str fl_runtime_group(const struct fl_runtime *runtime, struct fl_str task_id,
                               struct fl_str container_id, struct fl_arena *arena);
enum fl_cgroup_layout fl_runtime_layout(const struct fl_runtime *runtime);
/* Whether containers could be started now, as far as that can be seen: the runtime's program and
 * the shim are there. */
bool fl_runtime_is_well(const struct fl_runtime *runtime);
