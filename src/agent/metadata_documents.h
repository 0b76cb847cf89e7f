/* The documents of the task metadata endpoint, version 2 to 4, and the container metadata file, as
 * JSON from what the brain knows. No I/O. Members, spelling and omissions are ECS's (task metadata
 * endpoint versions 2, 3 and 4). */
#pragma once

#include "task/task.h"
#include "wire/json.h"

enum fl_metadata_version { FL_METADATA_V2 = 2, FL_METADATA_V3 = 3, FL_METADATA_V4 = 4 };

/* What the agent knows of itself and its host. */
struct fl_metadata_facts {
    struct fl_str cluster;      /* as configured: name or ARN */
    struct fl_str instance_arn; /* empty: not registered yet */
    struct fl_str zone;         /* empty: none */
    struct fl_str host_address; /* private IPv4 of the host, text; empty: none */
    /* When the container was created, wall clock; 0: not known. */
    int64_t (*created_ms)(void *context, struct fl_str container_id);
    void *context;
};

/* What ListTagsForResource said of a resource: its answer, or an error. */
struct fl_metadata_tags {
    const struct fl_json *tags; /* array of {key, value}; NULL: an error */
    struct fl_str error_field;  /* "TaskTags" or "ContainerInstanceTags" */
    struct fl_str error_code;
    struct fl_str error_message;
    unsigned status;
    struct fl_str resource_arn;
};

/* The name that Docker would give the container: ecs-<family>-<revision>-<name>-<20 hex>. In the
 * arena. */
struct fl_str fl_metadata_docker_name(const struct fl_task_container *container,
                                      struct fl_arena *arena);
void fl_metadata_write_container(const struct fl_metadata_facts *facts,
                                 const struct fl_task_container *container,
                                 enum fl_metadata_version version, struct fl_json_writer *jw);
/* tags: NULL, or the task's and the instance's. */
void fl_metadata_write_task(const struct fl_metadata_facts *facts, const struct fl_task *task,
                            enum fl_metadata_version version, const struct fl_metadata_tags tags[2],
                            struct fl_json_writer *jw);
/* The container metadata file: what is known before the start, or, with `ready`, all. */
void fl_metadata_write_file(const struct fl_metadata_facts *facts,
                            const struct fl_task_container *container, bool ready,
                            struct fl_json_writer *jw);

/* "Networks": […] and "Ports": […] of a container, each written only where there is something;
 * the keys of a port differ between the endpoint (HostIp) and the file (BindIp). */
void fl_metadata_write_networks(const struct fl_task_container *container,
                                struct fl_json_writer *jw);
void fl_metadata_write_ports(const struct fl_task_container *container, const char *key,
                             const char *address_key, struct fl_json_writer *jw);
void fl_metadata_write_volumes(const struct fl_task_container *container,
                               struct fl_json_writer *jw);
/* A task's state in ECS's words. */
const char *fl_metadata_task_status(const struct fl_task *task);
/* RFC 3339; nothing for 0. */
void fl_metadata_member_time(struct fl_json_writer *jw, const char *key, int64_t wall_ms);
