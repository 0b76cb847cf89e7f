/* Containers through the OCI runtime: bundles, the shim, cgroups, signals.
 *
 * One directory per container holds all that is known of it: the bundle's config.json, the shim's
 * orders (`orders`), and what the shim writes: `shim` ("pid starttime" of itself), `log` (the
 * spool), then exactly one of `failed` (a sentence) or `started` ("pid starttime wall_ms boot_id"),
 * and after `started`, once, `exit` ("code oom wall_ms"; code 128+n for signal n, oom 0 or 1; by
 * then the container's cgroup is gone). A restart takes these away and writes its number into `run`
 * before it begins. The files appear by rename. The shim's
 * life does not depend on ours: a restarted agent watches the same directories again. */
#pragma once

#include <uv.h>

#include "agent/log_options.h"
#include "base/err.h"
#include "base/str.h"
#include "wire/task_spec.h"

struct fl_runtime;

enum { FL_RUNTIME_START_MS = 180 * 1000 };

struct fl_runtime_config {
    struct fl_str data_dir;    /* the agent's, absolute */
    struct fl_str libexec_dir; /* where fairlead-shim lies */
    struct fl_str tag;         /* "fl1a2b3c": names cgroups of this installation */
    bool no_task_limits;       /* a task's own CPU and memory are not enforced */
    int64_t task_pids;         /* processes and threads a task may have; 0: no limit */
    int64_t start_timeout_ms;  /* of the container runtime; 0: FL_RUNTIME_START_MS */
    int64_t cpu_period_ms;     /* that a task's CPU limit is counted in; 0: 100 */
    bool match_volumes;        /* a shared volume that exists must be as its task has it */
    bool propagate_memory;     /* cgroup v2: a container without a limit has its task's, too */
};

/* What the runtime tells; in the loop, never from within fl_runtime_launch. */
struct fl_runtime_callbacks {
    void (*started)(void *context, struct fl_str container_id, int64_t wall_ms);
    void (*failed)(void *context, struct fl_str container_id, struct fl_str reason);
    void (*exited)(void *context, struct fl_str container_id, int exit_code, bool oom_killed,
                   int64_t wall_ms);
};

/* Detects cgroups (v1, hybrid, v2), enters a private mount namespace (on hybrid hosts one whose
 * /sys/fs/cgroup shows only v1; with a favordynmods mount where that helps), compiles the seccomp
 * profile, finds crun (else runc). To be called once, early, before threads exist. */
int fl_runtime_open(uv_loop_t *loop, const struct fl_runtime_config *config,
                    const struct fl_runtime_callbacks *callbacks, void *context,
                    struct fl_runtime **ret_runtime, struct fl_err *err);
/* Containers and their cgroups stay, also those that are just being started. */
void fl_runtime_close(struct fl_runtime *runtime);
/* One line for `status` and the log: "crun 1.8.1, cgroup hybrid, seccomp on". */
struct fl_str fl_runtime_describe(const struct fl_runtime *runtime);

/* What an image says that a container may override. */
struct fl_image_config {
    struct fl_str *entry_point;
    size_t entry_point_count;
    struct fl_str *command;
    size_t command_count;
    struct fl_str *environment; /* "NAME=value" */
    size_t environment_count;
    struct fl_str user;
    struct fl_str working_dir;
    struct fl_str stop_signal; /* "SIGTERM", "15", or empty */
    struct fl_str *volumes;    /* paths that the image wants to be volumes */
    size_t volume_count;
};

struct fl_launch {
    struct fl_str container_id; /* 64 hex digits; also the runtime's id */
    struct fl_str task_id;      /* names the task's cgroup */
    const struct fl_task_spec *task;
    const struct fl_container_spec *container;
    const struct fl_image_config *image;
    const struct fl_str *layers; /* unpacked layers, absolute, topmost first */
    size_t layer_count;
    const struct fl_key_value *extra_environment; /* over the image's, under the definition's */
    size_t extra_environment_count;
    /* Variables over all others, and options of the log driver, whose values are secret: they are
     * in memory alone, and so is a configuration that holds them. */
    const struct fl_key_value *secrets;
    size_t secret_count;
    const struct fl_key_value *log_secrets;
    size_t log_secret_count;
    struct fl_str metadata_dir; /* bound read-only at metadata_mount; empty: none */
    struct fl_str metadata_mount;
    const struct fl_str *device_nodes; /* of the host, to be the container's too, beneath /dev */
    size_t device_node_count;
    struct fl_str hostname;
    struct fl_str etc_hosts;       /* contents of /etc/hosts */
    struct fl_str etc_resolv_conf; /* contents of /etc/resolv.conf */
    int netns_fd;                  /* the shim enters it before the runtime; -1: the host's */
    const struct fl_log_plan *log; /* what becomes of the output; NULL: Docker's json-file */
};

/* Whether containers can have secrets: some file system here is in memory. */
bool fl_runtime_has_memory(void);
/* For `uninstall`: what containers of an installation had in memory alone. */
void fl_runtime_forget_memory(struct fl_str tag);
/* The secret options of the container's log driver, in the arena, from its launch until its
 * removal. False: none are kept. */
bool fl_runtime_log_secrets(const struct fl_runtime *runtime, struct fl_str container_id,
                            struct fl_arena *arena, struct fl_key_value **ret_pairs,
                            size_t *ret_count);

/* Writes bundle and orders, starts the shim. 0: started or failed will follow. Failures that are
 * known at once (no such user, command missing) come back here with the sentence that ECS users
 * see behind CannotStartContainerError / CannotCreateContainerError. */
int fl_runtime_launch(struct fl_runtime *runtime, const struct fl_launch *launch,
                      struct fl_err *err);
struct fl_relaunch {
    struct fl_str container_id;
    struct fl_str task_id;
    const struct fl_task_spec *task;
    int run; /* the number of this start; the first was 0 */
    struct fl_str etc_hosts;
    int netns_fd;
};

/* Starts a container that has ended once more, as it was launched, on the files that it left. Then
 * as after fl_runtime_launch. */
int fl_runtime_relaunch(struct fl_runtime *runtime, const struct fl_relaunch *relaunch,
                        struct fl_err *err);
/* The container will not be started again: what was kept for that is given back. */
void fl_runtime_let_go(struct fl_runtime *runtime, struct fl_str container_id);
/* The number of the last start that was begun of a container; 0 also when nothing is there. */
int fl_runtime_run(const struct fl_runtime *runtime, struct fl_str container_id);
/* Watches a container launched by an earlier agent; what has happened is told (again). */
int fl_runtime_adopt(struct fl_runtime *runtime, struct fl_str container_id, struct fl_err *err);
/* Sends a signal to the container's first process; 0 also when it is gone. SIGKILL reaches every
 * process of the container. */
int fl_runtime_kill(struct fl_runtime *runtime, struct fl_str container_id, int signal);
/* The number of "SIGTERM", "TERM" or "15"; -1 for none. */
int fl_runtime_signal_number(struct fl_str name);
/* Where the spool of a container lies, absolute; in the arena. */
struct fl_str fl_runtime_log_path(const struct fl_runtime *runtime, struct fl_str container_id,
                                  struct fl_arena *arena);
/* Removes what a stopped container left: directory, runtime state, cgroup. */
int fl_runtime_remove(struct fl_runtime *runtime, struct fl_str container_id, struct fl_err *err);
/* Removes the cgroup and the volumes of a task whose containers are all removed. */
void fl_runtime_remove_task(struct fl_runtime *runtime, struct fl_str task_id);
/* For `uninstall`, without an agent: kills every container and shim of an installation and removes
 * its cgroups. -EBUSY with a sentence when something resists. */
int fl_runtime_destroy(const struct fl_runtime_config *config, struct fl_err *err);
