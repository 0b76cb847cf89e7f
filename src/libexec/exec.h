/* fairlead-exec: one command in a running container, with exactly the container's confinement. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "base/exec_orders.h"

struct exec_limit {
    int number;
    struct rlimit value;
};

/* Everything points into the orders' bytes, which stay. */
struct exec_orders {
    char *args[FL_EXEC_ARGS_MAX + 1];
    char *envs[FL_EXEC_ENVS_MAX + 1];
    const char *cgroups[FL_EXEC_CGROUPS_MAX];
    gid_t groups[FL_EXEC_GROUPS_MAX];
    struct exec_limit limits[FL_EXEC_LIMITS_MAX];
    size_t arg_count, env_count, cgroup_count, group_count, limit_count;
    const char *cwd;
    const char *profile; /* AppArmor's; NULL: none */
    const char *label;   /* SELinux's; NULL: none */
    uid_t uid;
    gid_t gid;
    bool is_confined; /* the masks have been given */
    uint64_t bounding, effective, permitted, inheritable, ambient;
    const void *seccomp;
    size_t seccomp_bytes;
    bool has_oom;
    int oom_score_adj;
    bool no_new_privileges;
    mode_t umask;
    int64_t timeout_ms;
    size_t output_max;
};

/* Adds the items of a file to the orders. 0 or -errno. */
int exec_orders_read(int fd, struct exec_orders *orders);
/* True when nothing is missing that has no default. */
bool exec_orders_are_whole(const struct exec_orders *orders);

/* Becomes the command, in a child that is in the container's pid namespace already. Comes back only
 * in failure: -errno, with *ret_what naming the step. cgroup_fds are the orders' cgroup.procs,
 * opened for writing. */
int exec_become(const struct exec_orders *orders, const int *cgroup_fds, const char **ret_what);
