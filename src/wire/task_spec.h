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

struct fl_key_value {
    struct fl_str key;
    struct fl_str value;
};

struct fl_port_mapping {
    uint16_t container_port;
    uint16_t host_port; /* 0: chosen by the agent */
    bool udp;
};

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

struct fl_container_spec {
    struct fl_str name;
    struct fl_str image;
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
    struct fl_port_mapping *ports;
    size_t port_count;
    struct fl_str user;        /* empty: the image's */
    struct fl_str working_dir; /* empty: the image's */
    struct fl_str hostname;    /* empty: chosen by the agent */
    int64_t stop_timeout_s;    /* -1: the agent's default (30) */
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
};

struct fl_volume_spec {
    struct fl_str name;
    struct fl_str host_path; /* empty: the agent makes a directory for the task */
};

struct fl_task_spec {
    struct fl_str arn;
    struct fl_str cluster_arn;
    struct fl_str family;
    struct fl_str revision; /* decimal, a string on the wire */
    bool desired_running;   /* desiredStatus RUNNING, else STOPPED */
    enum fl_network_mode network_mode;
    int64_t cpu_units;  /* task-level limit; 0: none. On the wire: vCPUs as a double */
    int64_t memory_mib; /* task-level limit; 0: none */
    struct fl_str group;
    struct fl_str launch_type;
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
