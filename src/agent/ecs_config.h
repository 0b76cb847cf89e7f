/* The ECS agent's variables: from its file (ecs.config) and from the environment, which wins.
 *
 * One table (ecs_config.c) knows every variable that ECS documents: how it is read and its default,
 * or why it does nothing here. docs/ecs-config.md is that table for people; a lint compares them.
 */
#pragma once

#include "base/err.h"
#include "wire/task_spec.h"

/* The file that ECS-optimized images have. Bounds: bytes of a file, bytes of a value, items of a
 * list or map. */
#define FL_ECS_CONFIG_FILE "/etc/ecs/ecs.config"
enum { FL_ECS_CONFIG_MAX = 64 * 1024, FL_ECS_CONFIG_MAX_ITEMS = 100 };

struct fl_ecs_texts {
    const struct fl_str *items;
    size_t n;
};

struct fl_ecs_pairs {
    const struct fl_key_value *items;
    size_t n;
};

struct fl_ecs_range {
    int64_t low;
    int64_t high; /* both 0: not given */
};

/* What the variables say; a member's comment names its variable where the name does not. */
struct fl_ecs_settings {
    struct fl_str cluster;                   /* empty: not given */
    struct fl_str backend_host;              /* URL of the control plane; empty: not given */
    struct fl_str log_level;                 /* "debug", "info", "warn", "error", "crit" */
    struct fl_str audit_file;                /* ECS_AUDIT_LOGFILE; empty: not given */
    struct fl_ecs_texts reserved_ports;      /* decimal */
    struct fl_ecs_texts reserved_ports_udp;  /* decimal */
    struct fl_ecs_texts logging_drivers;     /* ECS_AVAILABLE_LOGGING_DRIVERS */
    struct fl_ecs_pairs instance_attributes; /* sent with the first registration */
    struct fl_ecs_pairs instance_tags;       /* ECS_CONTAINER_INSTANCE_TAGS */
    struct fl_ecs_range metadata_rps;        /* ECS_TASK_METADATA_RPS_LIMIT: steady, burst */
    struct fl_ecs_range dynamic_ports;       /* ECS_DYNAMIC_HOST_PORT_RANGE */
    int64_t reserved_memory_mib;             /* taken off what the host offers */
    int64_t cleanup_delay_ms;                /* ECS_ENGINE_TASK_CLEANUP_WAIT_DURATION */
    int64_t cleanup_jitter_ms;               /* …_JITTER: at most so much later */
    int64_t start_timeout_ms;                /* ECS_CONTAINER_START_TIMEOUT */
    int64_t cpu_period_ms;                   /* ECS_CGROUP_CPU_PERIOD: of a task's limit */
    int64_t stop_timeout_ms;                 /* ECS_CONTAINER_STOP_TIMEOUT */
    int64_t polling_interval_ms;             /* ECS_POLLING_METRICS_WAIT_DURATION */
    int64_t task_pids_limit;                 /* of a task's cgroup; 0: none */
    struct fl_str engine_auth_type;          /* "dockercfg", "docker"; empty: none */
    struct fl_str engine_auth_data;          /* credentials of registries, in that form */
    struct fl_str pull_behavior;             /* "default", "always", "once", "prefer-cached" */
    struct fl_str http_proxy;                /* to registries; empty: none */
    struct fl_str no_proxy;                  /* names without it */
    int64_t pull_inactivity_ms;              /* ECS_IMAGE_PULL_INACTIVITY_TIMEOUT */
    int64_t pull_timeout_ms;                 /* ECS_IMAGE_PULL_TIMEOUT */
    int64_t manifest_timeout_ms;             /* ECS_MANIFEST_PULL_TIMEOUT */
    int64_t image_cleanup_interval_ms;
    int64_t image_cleanup_age_ms;     /* ECS_IMAGE_MINIMUM_CLEANUP_AGE */
    int64_t untracked_cleanup_age_ms; /* NON_ECS_IMAGE_MINIMUM_CLEANUP_AGE */
    int64_t images_per_cycle;         /* ECS_NUM_IMAGES_DELETE_PER_CYCLE */
    struct fl_str excluded_images;    /* ECS_EXCLUDE_UNTRACKED_IMAGE: names, "a:1,b:2" */
    bool disable_image_cleanup;
    bool audit_off; /* ECS_AUDIT_LOGFILE_DISABLED */
    bool disable_metrics;
    bool disable_privileged;      /* privileged containers are refused on this host */
    bool container_metadata;      /* ECS_ENABLE_CONTAINER_METADATA: the file */
    bool task_cpu_mem_limit;      /* ECS_ENABLE_TASK_CPU_MEM_LIMIT */
    bool task_role;               /* ECS_ENABLE_TASK_IAM_ROLE */
    bool task_role_host;          /* ECS_ENABLE_TASK_IAM_ROLE_NETWORK_HOST */
    bool selinux;                 /* ECS_SELINUX_CAPABLE */
    bool apparmor;                /* ECS_APPARMOR_CAPABLE */
    bool match_shared_volumes;    /* ECS_SHARED_VOLUME_MATCH_FULL_CONFIG */
    bool propagate_memory;        /* ECS_PROPAGATE_TASK_MEMORY_LIMIT_CGROUPV2 */
    bool gpu_support;             /* ECS_ENABLE_GPU_SUPPORT */
    bool offhost_introspection;   /* ECS_ALLOW_OFFHOST_INTROSPECTION_ACCESS */
    bool pull_dependents_upfront; /* ECS_PULL_DEPENDENT_CONTAINERS_UPFRONT */
    bool exclude_ipv6_bindings;   /* ECS_EXCLUDE_IPV6_PORTBINDING */
    bool skip_localhost_filter;   /* ECS_SKIP_LOCALHOST_TRAFFIC_FILTER */
};

/* Lines for the log, each said once: variables that do nothing here and why, values that were not
 * understood (the default holds then, as in ECS's agent). */
struct fl_ecs_notes {
    const struct fl_str *lines;
    size_t n;
};

/* Reads the file and the environment; texts are in the arena. A path that does not exist is an
 * error only when `required`. -EINVAL: the file is no list of NAME=VALUE lines. */
int fl_ecs_config_read(const char *path, bool required, struct fl_arena *arena,
                       struct fl_ecs_settings *ret_settings, struct fl_ecs_notes *ret_notes,
                       struct fl_err *err);

/* The same of a text; `name` is what an error calls it. Notes say each thing once. */
int fl_ecs_config_parse(struct fl_str text, const char *name, struct fl_arena *arena,
                        struct fl_ecs_settings *ret_settings, struct fl_ecs_notes *ret_notes,
                        struct fl_err *err);

/* "3h", "90s", "1h30m", "1500ms" (Go's way, whole numbers) in milliseconds; -1 for what is none. */
int64_t fl_ecs_config_duration_ms(struct fl_str text);
