/* The bundle's config.json: what the OCI runtime is told of one container. */
#pragma once

#include <sys/resource.h>

#include "agent/bundle_security.h"
#include "agent/cgroup.h"
#include "agent/runtime.h"
#include "agent/seccomp.h"

enum { FL_BUNDLE_CONFIG_MAX = 4 * 1024 * 1024 };

/* What is the same for every container of this host. */
struct fl_bundle_host {
    const struct fl_cgroup *cgroup;
    const struct fl_seccomp *seccomp;
    bool is_runc;
    bool has_apparmor;
    bool has_selinux;
    bool match_volumes;    /* a shared volume that exists must be as the task has it */
    bool propagate_memory; /* cgroup v2: a container without a limit has its task's, too */
    bool may_raise_limits; /* CAP_SYS_RESOURCE is ours */
    uint64_t bounding_caps;
    int oom_score_adj; /* our own */
    struct rlimit limits[RLIM_NLIMITS];
};

/* Which security modules the kernel has switched on. */
bool fl_bundle_has_apparmor(void);
bool fl_bundle_has_selinux(void);

/* Looks at this process and kernel: capabilities, limits, oom_score_adj, security modules. The rest
 * is the caller's to fill. */
void fl_bundle_look_at_host(struct fl_bundle_host *ret_host);

struct fl_bundle_paths {
    struct fl_str dir;         /* the container's directory */
    struct fl_str volumes_dir; /* the task's own volumes lie beneath it */
    struct fl_str shared_dir;  /* volumes that outlive tasks */
    struct fl_str holder_shm;  /* where the task's shared memory is mounted; with ipc_mode TASK */
    pid_t holder_pid;          /* whose namespaces are the task's; 0: it shares none */
    struct fl_str cgroup_path; /* "/tag/task/container" */
};

/* Appends the configuration to ret_config, what the shim has to do for it to ret_orders, and makes
 * the directories of its volumes. *ret_note gets a sentence on what was not done as asked (limits
 * that were lowered to what this process may give, for one), or empty. -errno with the sentence
 * that users see. */
int fl_bundle_make(const struct fl_bundle_host *host, const struct fl_launch *launch,
                   const struct fl_bundle_paths *paths, const struct fl_bundle_security *security,
                   struct fl_arena *arena, struct fl_buf *ret_config, struct fl_buf *ret_orders,
                   struct fl_str *ret_note, struct fl_err *err);
