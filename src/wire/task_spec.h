/* The neutral task specification, and the ECS agent protocol's task object.
 *
 * The control plane makes a struct fl_task_spec from a task definition and its overrides; it
 * travels as the protocol's Task object (Docker's strings included, so that the official agent
 * understands it); our agent turns it back into the same structure. Docker's JSON never goes
 * further than this module. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"
#include "wire/json.h"

enum fl_network_mode { FL_NET_BRIDGE, FL_NET_HOST, FL_NET_NONE, FL_NET_AWSVPC };

/* Whose process or IPC namespace a task's containers are in; PRIVATE: each its own. NONE (IPC
 * only): its own, without shared memory. */
enum fl_namespace_mode { FL_NS_PRIVATE, FL_NS_TASK, FL_NS_HOST, FL_NS_NONE };

struct fl_key_value {
    struct fl_str key;
    struct fl_str value;
};

struct fl_port_mapping {
    uint16_t container_port;
    uint16_t host_port; /* 0: chosen by the agent */
    bool udp;
    uint16_t more; /* of a range: how many ports follow container_port; the host's are chosen */
};

/* "8080-8089" as the first port and how many follow; false unless 1 <= first < last <= 65535. */
bool fl_port_range_read(struct fl_str text, uint16_t *ret_first, uint16_t *ret_more);
#define FL_PORT_RANGE_SIZE 12
/* The same written out; first + more is a port. */
void fl_port_range_text(uint16_t first, uint16_t more, char ret_text[FL_PORT_RANGE_SIZE]);

struct fl_ulimit {
    struct fl_str name; /* without RLIMIT_, lower case: "nofile" */
    int64_t soft;       /* -1: unlimited */
    int64_t hard;
};

struct fl_mount_point {
    struct fl_str source_volume;
    struct fl_str container_path;
    bool read_only;
};

/* When a container may start, seen from one that it depends on. */
enum fl_condition { FL_WHEN_STARTED, FL_WHEN_COMPLETE, FL_WHEN_SUCCESS, FL_WHEN_HEALTHY };

struct fl_dependency {
    struct fl_str container;
    enum fl_condition condition;
};

/* A command that says whether the container is well. */
struct fl_health_check {
    struct fl_str *test; /* "CMD" and arguments, or "CMD-SHELL" and a line; NULL: no check */
    size_t test_count;
    int64_t interval_ms;
    int64_t timeout_ms;
    int64_t start_period_ms; /* failures at the beginning that do not count */
    int64_t retries;         /* failures in a row that make it unhealthy */
};

struct fl_restart_policy {
    bool enabled;
    int64_t *ignored_exit_codes;
    size_t ignored_exit_code_count;
    int64_t attempt_period_s; /* how long it must have run to be restarted */
};

struct fl_volumes_from {
    struct fl_str source_container;
    bool read_only;
};

struct fl_device_spec {
    struct fl_str host_path;      /* a device, or a directory of them */
    struct fl_str container_path; /* empty: the same */
    struct fl_str permissions;    /* of "rwm"; empty: all */
};

/* What of a container rides in Docker's Config and HostConfig alone. Values are as they came:
 * whoever carries them out checks them. */
struct fl_docker_spec {
    struct fl_str *dns_servers;
    size_t dns_server_count;
    struct fl_str *dns_search;
    size_t dns_search_count;
    struct fl_str *extra_hosts; /* "name:address" */
    size_t extra_host_count;
    struct fl_str *security_options;
    size_t security_option_count;
    struct fl_str *cap_add; /* "SYS_PTRACE", "CAP_SYS_PTRACE" or "ALL" */
    size_t cap_add_count;
    struct fl_str *cap_drop;
    size_t cap_drop_count;
    struct fl_device_spec *devices;
    size_t device_count;
    struct fl_key_value *tmpfs; /* where to, and options as of mount(8): "size=64m,noexec" */
    size_t tmpfs_count;
    struct fl_key_value *sysctls;
    size_t sysctl_count;
    int64_t shm_size_bytes;    /* 0: unset */
    int64_t memory_swap_bytes; /* memory and swap together; 0: unset, -1: unlimited */
    int64_t swappiness;        /* 0 to 100, if has_swappiness */
    bool has_swappiness;
    bool init;
    bool tty;
    bool open_stdin;
    bool network_disabled;
};

enum fl_secret_provider { FL_SECRET_SSM, FL_SECRET_ASM };

/* A value that the agent asks for by itself, with the task's execution role: an environment
 * variable or an option of the log driver. The value is never in here. */
struct fl_secret_spec {
    struct fl_str name;
    struct fl_str value_from; /* of a parameter or a secret (wire/secret_ref.h) */
    struct fl_str region;
    enum fl_secret_provider provider;
    bool is_log_option;
};

struct fl_container_spec {
    struct fl_str name;
    struct fl_str image;
    struct fl_str registry_secret; /* a secret with user and password for the image's registry, or
                                      empty */
    struct fl_str registry_secret_region;
    struct fl_str arn;
    bool essential;
    int64_t cpu_units;              /* shares; 0: unset */
    int64_t memory_mib;             /* hard limit; 0: unset */
    int64_t memory_reservation_mib; /* soft limit; 0: unset */
    struct fl_str *entry_point;     /* NULL: the image's */
    size_t entry_point_count;
    struct fl_str *command; /* NULL: the image's */
    size_t command_count;
    struct fl_key_value *environment;
    size_t environment_count;
    struct fl_secret_spec *secrets;
    size_t secret_count;
    struct fl_port_mapping *ports;
    size_t port_count;
    struct fl_str user;        /* empty: the image's */
    struct fl_str working_dir; /* empty: the image's */
    struct fl_str hostname;    /* empty: chosen by the agent */
    int64_t stop_timeout_s;    /* -1: the agent's default (30) */
    int64_t start_timeout_s;   /* how long others wait for it once it has started; 0: for ever */
    struct fl_dependency *depends_on;
    size_t depends_on_count;
    struct fl_health_check health_check;
    struct fl_restart_policy restart;
    bool readonly_rootfs;
    bool privileged;
    struct fl_key_value *labels;
    size_t label_count;
    struct fl_ulimit *ulimits;
    size_t ulimit_count;
    struct fl_mount_point *mounts;
    size_t mount_count;
    struct fl_str *gpus; /* ids of the host's GPUs that are this container's */
    size_t gpu_count;
    struct fl_str log_driver; /* empty: json-file */
    struct fl_key_value *log_options;
    size_t log_option_count;
    struct fl_str *links; /* "name" or "name:alias" */
    size_t link_count;
    struct fl_volumes_from *volumes_from;
    size_t volumes_from_count;
    struct fl_docker_spec docker;
};

struct fl_volume_spec {
    struct fl_str name;
    struct fl_str host_path; /* empty: the agent makes a directory for the task */
    /* The rest is for Docker's volumes alone. */
    bool is_docker;
    bool is_shared;       /* outlives its tasks, and is everybody's who names it */
    bool autoprovision;   /* made where it does not exist; else it must */
    struct fl_str driver; /* empty: local */
    struct fl_key_value *driver_opts;
    size_t driver_opt_count;
    struct fl_key_value *labels;
    size_t label_count;
};

struct fl_task_spec {
    struct fl_str arn;
    struct fl_str cluster_arn;
    struct fl_str family;
    struct fl_str revision; /* decimal, a string on the wire */
    bool desired_running;   /* desiredStatus RUNNING, else STOPPED */
    enum fl_network_mode network_mode;
    enum fl_namespace_mode pid_mode; /* not NONE */
    enum fl_namespace_mode ipc_mode;
    int64_t cpu_units;  /* task-level limit; 0: none. On the wire: vCPUs as a double */
    int64_t memory_mib; /* task-level limit; 0: none */
    struct fl_str group;
    struct fl_str launch_type;
    struct fl_str credentials_id; /* of the task role's credentials, which are never in here */
    struct fl_container_spec *containers;
    size_t container_count;
    struct fl_volume_spec *volumes;
    size_t volume_count;
};

enum {
    FL_TASK_SPEC_MAX_CONTAINERS = 20,
    FL_TASK_SPEC_MAX_ITEMS = 1000,
    FL_TASK_SPEC_MAX_ASSOCIATIONS = 100
};

/* START, COMPLETE, SUCCESS, HEALTHY. */
const char *fl_condition_name(enum fl_condition condition);
bool fl_condition_read(struct fl_str name, enum fl_condition *ret_condition);

/* Whether a kernel parameter is one of an IPC namespace (as Docker has it; net.* are the
 * network's). */
bool fl_is_ipc_sysctl(struct fl_str name);

/* Appends the protocol's Task object (a JSON object) to buf. */
void fl_task_spec_encode(const struct fl_task_spec *spec, struct fl_buf *buf);

/* A deep copy in the arena. */
void fl_task_spec_copy(const struct fl_task_spec *spec, struct fl_arena *arena,
                       struct fl_task_spec *ret_copy);

/* Reads a protocol Task object, ours or AWS's, into the arena (nothing refers to json afterwards).
 * Unknown members are ignored; a wrong type, too many of anything, or a missing arn, name or image
 * is -EINVAL with err naming the member. */
int fl_task_spec_decode(const struct fl_json *json, struct fl_arena *arena,
                        struct fl_task_spec *ret_spec, struct fl_err *err);
