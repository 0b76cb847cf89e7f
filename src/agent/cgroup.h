/* The host's control groups: which layout, which controllers, and our groups in them.
 *
 * A container's group is /<tag>/<task id>/<container id> in every hierarchy; the runtime makes it
 * and the shim removes it. The task's group, with the task's own limits, is ours. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/str.h"

enum { FL_CGROUP_MAX_HIERARCHIES = 20 };

/* Of v2: where a cgroup namespace's processes go that were in its root; `uninstall` moves them
 * back. */
#define FL_CGROUP_ROOM "/fairlead.host"

enum fl_cgroup_layout { FL_CGROUP_V1, FL_CGROUP_HYBRID, FL_CGROUP_V2 };

struct fl_cgroup {
    enum fl_cgroup_layout layout;
    bool has_memory;
    bool has_swap; /* swap is accounted, so it can be limited */
    bool has_cpu;
    bool has_cpuset;
    bool has_pids;
    bool has_devices; /* v2: by a BPF program */
    int quick_fd; /* a hierarchy with favordynmods: moving processes costs microseconds; or -1 */
    char *hierarchies[FL_CGROUP_MAX_HIERARCHIES]; /* mount points, absolute */
    size_t hierarchy_count;
};

/* Moves the process into a mount namespace of its own, where /sys/fs/cgroup holds either v1
 * hierarchies alone or v2 alone, and looks at what there is; has v2's root hand its controllers
 * down, for which it may have to move processes (see FL_CGROUP_ROOM). To be called before threads
 * exist. */
int fl_cgroup_open(struct fl_cgroup *ret_cgroup, struct fl_err *err);
void fl_cgroup_close(struct fl_cgroup *cgroup);
/* "v1", "hybrid" or "v2". */
const char *fl_cgroup_layout_name(const struct fl_cgroup *cgroup);

/* What a task's containers may use together; 0: as much as the host has. */
struct fl_cgroup_limits {
    int64_t cpu_units;
    int64_t memory_mib;
    int64_t pids;          /* processes and threads */
    int64_t cpu_period_us; /* what CPU is counted in; 0: 100 ms */
};

/* Makes the group `path` ("/tag/task") with the task's limits. Nothing to do when there are none.
 */
int fl_cgroup_limit_task(const struct fl_cgroup *cgroup, const char *path,
                         const struct fl_cgroup_limits *limits, struct fl_err *err);
/* Makes the group `path` where processes are looked for, and moves the process into it. -errno. */
int fl_cgroup_enter(const struct fl_cgroup *cgroup, const char *path, pid_t pid);
/* The file of group `path` that counts its OOM kills, in the arena; empty without one. */
struct fl_str fl_cgroup_oom_file(const struct fl_cgroup *cgroup, const char *path,
                                 struct fl_arena *arena);
/* SIGKILLs every process of group `path`; ends when it is empty or after a few rounds. */
void fl_cgroup_kill(const struct fl_cgroup *cgroup, const char *path);
/* The same for group `path` and all groups below it. */
void fl_cgroup_kill_tree(const struct fl_cgroup *cgroup, const char *path);
/* Removes group `path` and all below it in every hierarchy; false when something is left. */
bool fl_cgroup_remove_tree(const struct fl_cgroup *cgroup, const char *path);
/* Removes the empty group `path` in every hierarchy. */
void fl_cgroup_remove(const struct fl_cgroup *cgroup, const char *path);
