/* Writing the metadata documents; see the header. */
#include "agent/metadata_documents.h"

#include <arpa/inet.h>
#include <ctype.h>

#include "base/clock.h"

enum { NAME_SUFFIX = 20, CPU_UNITS = 1024, LEAST_CPU_UNITS = 2, MAX_PORTS_SHOWN = 200 };

static void member_some(struct fl_json_writer *jw, const char *key, struct fl_str value)
{
    if (value.n > 0)
        fl_jw_member_str(jw, key, value);
}

void fl_metadata_member_time(struct fl_json_writer *jw, const char *key, int64_t wall_ms)
{
    char text[FL_RFC3339_SIZE];
    if (wall_ms <= 0)
        return;
    fl_time_rfc3339(wall_ms, text);
    fl_jw_member_str(jw, key, fl_str_of(text));
}

/* ---- names and states ---- */

struct fl_str fl_metadata_docker_name(const struct fl_task_container *container,
                                      struct fl_arena *arena)
{
    const struct fl_task_spec *task = container->task->spec;
    struct fl_str name = fl_str_dup(arena, container->spec->name);
    char *plain = fl_arena_alloc(arena, name.n + 1);
    size_t n = 0;
    for (size_t i = 0; i < name.n; i++)
        if (isalnum((unsigned char)name.p[i]) || name.p[i] == '-')
            plain[n++] = name.p[i];
    return fl_str_printf(arena, "ecs-%.*s-%.*s-%.*s-%.*s", FL_STR_ARG(task->family),
                         FL_STR_ARG(task->revision), (int)n, plain, NAME_SUFFIX, container->id);
}

/* A task that is not RUNNING yet is as far as its slowest container. */
const char *fl_metadata_task_status(const struct fl_task *task)
{
    enum fl_container_state least = FL_CONTAINER_STOPPED;
    const struct fl_task_container *slowest = NULL;
    if (task->status != FL_TASK_PENDING)
        return fl_task_status_name(task->status);
    for (size_t i = 0; i < task->container_count; i++)
        if (task->containers[i].state < least) {
            least = task->containers[i].state;
            slowest = &task->containers[i];
        }
    bool between = !slowest || least >= FL_CONTAINER_RUNNING;
    return between ? "CREATED" : fl_container_state_name(slowest->state);
}

static struct fl_str desired_status(const struct fl_task *task)
{
    return task->desired_running ? FL_STR("RUNNING") : FL_STR("STOPPED");
}

/* ---- parts of a container ---- */

/* Each port of a range by itself, and of both families, as Docker tells them. */
static void write_port(const struct fl_task_binding *binding, unsigned more,
                       const char *address_key, struct fl_json_writer *jw)
{
    for (int ipv6 = 0; ipv6 <= binding->ipv6; ipv6++) {
        fl_jw_object_begin(jw);
        fl_jw_member_int(jw, "ContainerPort", binding->container_port + more);
        fl_jw_member_str(jw, "Protocol", binding->udp ? FL_STR("udp") : FL_STR("tcp"));
        fl_jw_member_int(jw, "HostPort", binding->host_port + more);
        fl_jw_member_str(jw, address_key, ipv6 ? FL_STR("::") : FL_STR("0.0.0.0"));
        fl_jw_object_end(jw);
    }
}

void fl_metadata_write_ports(const struct fl_task_container *container, const char *key,
                             const char *address_key, struct fl_json_writer *jw)
{
    if (container->binding_count == 0)
        return;
    size_t left = MAX_PORTS_SHOWN;
    fl_jw_key(jw, key);
    fl_jw_array_begin(jw);
    for (size_t i = 0; i < container->binding_count; i++)
        for (unsigned more = 0; more <= container->bindings[i].more && left > 0; more++, left--)
            write_port(&container->bindings[i], more, address_key, jw);
    fl_jw_array_end(jw);
}

static struct fl_str network_mode(const struct fl_task_container *container)
{
    switch (container->task->spec->network_mode) {
    case FL_NET_BRIDGE:
        return FL_STR("bridge");
    case FL_NET_HOST:
        return FL_STR("host");
    case FL_NET_NONE:
        return FL_STR("none");
    case FL_NET_AWSVPC:
        return FL_STR("awsvpc");
    }
    return FL_STR("bridge");
}

void fl_metadata_write_networks(const struct fl_task_container *container,
                                struct fl_json_writer *jw)
{
    static const uint8_t none[4];
    char text[INET_ADDRSTRLEN];
    if (container->state < FL_CONTAINER_CREATED)
        return;
    fl_jw_key(jw, "Networks");
    fl_jw_array_begin(jw);
    fl_jw_object_begin(jw);
    fl_jw_member_str(jw, "NetworkMode", network_mode(container));
    if (memcmp(container->address, none, sizeof(none)) != 0 &&
        inet_ntop(AF_INET, container->address, text, sizeof(text))) {
        fl_jw_key(jw, "IPv4Addresses");
        fl_jw_array_begin(jw);
        fl_jw_str(jw, fl_str_of(text));
        fl_jw_array_end(jw);
    }
    fl_jw_object_end(jw);
    fl_jw_array_end(jw);
}

static void write_labels(const struct fl_metadata_facts *facts,
                         const struct fl_task_container *container, struct fl_json_writer *jw)
{
    const struct fl_task_spec *task = container->task->spec;
    const struct fl_container_spec *spec = container->spec;
    fl_jw_key(jw, "Labels");
    fl_jw_object_begin(jw);
    fl_jw_member_str(jw, "com.amazonaws.ecs.cluster", facts->cluster);
    fl_jw_member_str(jw, "com.amazonaws.ecs.container-name", spec->name);
    fl_jw_member_str(jw, "com.amazonaws.ecs.task-arn", container->task->arn);
    fl_jw_member_str(jw, "com.amazonaws.ecs.task-definition-family", task->family);
    fl_jw_member_str(jw, "com.amazonaws.ecs.task-definition-version", task->revision);
    for (size_t i = 0; i < spec->label_count; i++) {
        if (fl_str_starts(spec->labels[i].key, FL_STR("com.amazonaws.ecs.")))
            continue;
        fl_jw_key_str(jw, spec->labels[i].key);
        fl_jw_str(jw, spec->labels[i].value);
    }
    fl_jw_object_end(jw);
}

static void write_container_limits(const struct fl_container_spec *spec, struct fl_json_writer *jw)
{
    fl_jw_key(jw, "Limits");
    fl_jw_object_begin(jw);
    fl_jw_member_int(jw, "CPU", FL_MAX(spec->cpu_units, LEAST_CPU_UNITS));
    if (spec->memory_mib > 0)
        fl_jw_member_int(jw, "Memory", spec->memory_mib);
    fl_jw_object_end(jw);
}

static struct fl_str volume_source(const struct fl_task_spec *task, struct fl_str name)
{
    for (size_t i = 0; i < task->volume_count; i++)
        if (fl_str_eq(task->volumes[i].name, name))
            return task->volumes[i].host_path;
    return FL_STR("");
}

/* A volume of the host is named by its source, one of ours by its name. */
void fl_metadata_write_volumes(const struct fl_task_container *container, struct fl_json_writer *jw)
{
    const struct fl_container_spec *spec = container->spec;
    if (spec->mount_count == 0)
        return;
    fl_jw_key(jw, "Volumes");
    fl_jw_array_begin(jw);
    for (size_t i = 0; i < spec->mount_count; i++) {
        struct fl_str name = spec->mounts[i].source_volume;
        struct fl_str source = volume_source(container->task->spec, name);
        fl_jw_object_begin(jw);
        if (source.n == 0)
            fl_jw_member_str(jw, "DockerName", name);
        member_some(jw, "Source", source);
        fl_jw_member_str(jw, "Destination", spec->mounts[i].container_path);
        fl_jw_object_end(jw);
    }
    fl_jw_array_end(jw);
}

/* Options that hold a password or a token are not for every process of the task. */
static bool is_secret_option(struct fl_str name)
{
    return fl_str_ends(name, FL_STR("token")) || fl_str_contains(name, FL_STR("password")) ||
           fl_str_contains(name, FL_STR("secret"));
}

static void write_log_options(const struct fl_task_container *container, struct fl_json_writer *jw)
{
    const struct fl_container_spec *spec = container->spec;
    member_some(jw, "LogDriver", spec->log_driver);
    if (spec->log_option_count == 0)
        return;
    fl_jw_key(jw, "LogOptions");
    fl_jw_object_begin(jw);
    for (size_t i = 0; i < spec->log_option_count; i++) {
        struct fl_str name = spec->log_options[i].key;
        if (is_secret_option(name) || fl_str_is(name, "awslogs-stream-prefix") ||
            (container->log_stream.n > 0 && fl_str_is(name, "awslogs-stream")))
            continue;
        fl_jw_key_str(jw, name);
        fl_jw_str(jw, spec->log_options[i].value);
    }
    member_some(jw, "awslogs-stream", container->log_stream);
    fl_jw_object_end(jw);
}

static void write_container_life(const struct fl_metadata_facts *facts,
                                 const struct fl_task_container *container,
                                 struct fl_json_writer *jw)
{
    int64_t created_ms = facts->created_ms && container->launched
                             ? facts->created_ms(facts->context, fl_str_of(container->id))
                             : 0;
    fl_jw_member_str(jw, "DesiredStatus", desired_status(container->task));
    fl_jw_member_str(jw, "KnownStatus", fl_str_of(fl_container_state_name(container->state)));
    if (container->has_exit_code)
        fl_jw_member_int(jw, "ExitCode", container->exit_code);
    write_container_limits(container->spec, jw);
    fl_metadata_member_time(jw, "CreatedAt", created_ms);
    fl_metadata_member_time(jw, "StartedAt",
                            container->run_started_ms ? container->run_started_ms
                                                      : container->started_ms);
    fl_metadata_member_time(jw, "FinishedAt", container->finished_ms);
    fl_jw_member_str(jw, "Type", FL_STR("NORMAL"));
}

static void write_health(const struct fl_task_container *container, struct fl_json_writer *jw)
{
    if (container->spec->health_check.test_count == 0)
        return;
    fl_jw_key(jw, "Health");
    fl_jw_object_begin(jw);
    fl_jw_member_str(jw, "status", fl_str_of(fl_health_name(container->health)));
    fl_metadata_member_time(jw, "statusSince", container->health_since_ms);
    if (container->health_exit_code != 0)
        fl_jw_member_int(jw, "exitCode", container->health_exit_code);
    if (container->health_output)
        member_some(jw, "output", fl_str_of(container->health_output));
    fl_jw_object_end(jw);
}

void fl_metadata_write_container(const struct fl_metadata_facts *facts,
                                 const struct fl_task_container *container,
                                 enum fl_metadata_version version, struct fl_json_writer *jw)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    fl_jw_object_begin(jw);
    fl_jw_member_str(jw, "DockerId", fl_str_of(container->id));
    fl_jw_member_str(jw, "Name", container->spec->name);
    fl_jw_member_str(jw, "DockerName", fl_metadata_docker_name(container, arena));
    fl_jw_member_str(jw, "Image", container->spec->image);
    fl_jw_member_str(jw, "ImageID", container->image_digest);
    fl_metadata_write_ports(container, "Ports", "HostIp", jw);
    write_labels(facts, container, jw);
    write_container_life(facts, container, jw);
    write_health(container, jw);
    fl_metadata_write_volumes(container, jw);
    write_log_options(container, jw);
    member_some(jw, "ContainerARN", container->spec->arn);
    if (version == FL_METADATA_V4 && container->launched)
        fl_jw_member_str(jw, "Snapshotter", FL_STR("overlayfs"));
    if (version == FL_METADATA_V4 && container->spec->restart.enabled)
        fl_jw_member_int(jw, "RestartCount", container->restarts);
    fl_metadata_write_networks(container, jw);
    fl_jw_object_end(jw);
}

/* ---- the task ---- */

static void write_task_limits(const struct fl_task_spec *spec, struct fl_json_writer *jw)
{
    if (spec->cpu_units <= 0 && spec->memory_mib <= 0)
        return;
    fl_jw_key(jw, "Limits");
    fl_jw_object_begin(jw);
    if (spec->cpu_units > 0) {
        fl_jw_key(jw, "CPU");
        fl_jw_double(jw, (double)spec->cpu_units / CPU_UNITS);
    }
    if (spec->memory_mib > 0)
        fl_jw_member_int(jw, "Memory", spec->memory_mib);
    fl_jw_object_end(jw);
}

static void write_tag_set(const char *key, const struct fl_json *tags, struct fl_json_writer *jw)
{
    if (fl_json_items(tags) == 0)
        return;
    fl_jw_key(jw, key);
    fl_jw_object_begin(jw);
    for (size_t i = 0; i < fl_json_items(tags); i++) {
        const struct fl_json *tag = fl_json_item(tags, i);
        fl_jw_key_str(jw, fl_json_text(fl_json_get(tag, "key")));
        fl_jw_str(jw, fl_json_text(fl_json_get(tag, "value")));
    }
    fl_jw_object_end(jw);
}

static void write_tag_error(const struct fl_metadata_tags *tags, struct fl_json_writer *jw)
{
    fl_jw_object_begin(jw);
    fl_jw_member_str(jw, "ErrorField", tags->error_field);
    fl_jw_member_str(jw, "ErrorCode", tags->error_code);
    fl_jw_member_str(jw, "ErrorMessage", tags->error_message);
    fl_jw_member_int(jw, "StatusCode", tags->status);
    fl_jw_member_str(jw, "ResourceARN", tags->resource_arn);
    fl_jw_object_end(jw);
}

static void write_tags(const struct fl_metadata_tags tags[2], struct fl_json_writer *jw)
{
    if (!tags)
        return;
    write_tag_set("TaskTags", tags[0].tags, jw);
    write_tag_set("ContainerInstanceTags", tags[1].tags, jw);
    if (tags[0].tags && tags[1].tags)
        return;
    fl_jw_key(jw, "Errors");
    fl_jw_array_begin(jw);
    for (int i = 0; i < 2; i++)
        if (!tags[i].tags)
            write_tag_error(&tags[i], jw);
    fl_jw_array_end(jw);
}

/* A service's task is of the group "service:<name>". */
static void write_membership(const struct fl_task_spec *spec, struct fl_json_writer *jw)
{
    if (fl_str_starts(spec->group, FL_STR("service:")))
        fl_jw_member_str(jw, "ServiceName", fl_str_from(spec->group, strlen("service:")));
    member_some(jw, "Group", spec->group);
}

void fl_metadata_write_task(const struct fl_metadata_facts *facts, const struct fl_task *task,
                            enum fl_metadata_version version, const struct fl_metadata_tags tags[2],
                            struct fl_json_writer *jw)
{
    const struct fl_task_spec *spec = task->spec;
    fl_jw_object_begin(jw);
    fl_jw_member_str(jw, "Cluster", facts->cluster);
    fl_jw_member_str(jw, "TaskARN", task->arn);
    fl_jw_member_str(jw, "Family", spec->family);
    fl_jw_member_str(jw, "Revision", spec->revision);
    if (version == FL_METADATA_V4)
        write_membership(spec, jw);
    fl_jw_member_str(jw, "DesiredStatus", desired_status(task));
    fl_jw_member_str(jw, "KnownStatus", fl_str_of(fl_metadata_task_status(task)));
    fl_jw_key(jw, "Containers");
    fl_jw_array_begin(jw);
    for (size_t i = 0; i < task->container_count; i++)
        fl_metadata_write_container(facts, &task->containers[i], version, jw);
    fl_jw_array_end(jw);
    write_task_limits(spec, jw);
    fl_metadata_member_time(jw, "PullStartedAt", task->pull_started_ms);
    fl_metadata_member_time(jw, "PullStoppedAt", task->pull_stopped_ms);
    fl_metadata_member_time(jw, "ExecutionStoppedAt", task->execution_stopped_ms);
    member_some(jw, "AvailabilityZone", facts->zone);
    write_tags(tags, jw);
    fl_jw_member_str(jw, "LaunchType", spec->launch_type.n ? spec->launch_type : FL_STR("EC2"));
    if (version == FL_METADATA_V4)
        fl_jw_member_bool(jw, "FaultInjectionEnabled", false);
    fl_jw_object_end(jw);
}

/* ---- the file ---- */

static void write_file_rest(const struct fl_metadata_facts *facts,
                            const struct fl_task_container *container, struct fl_json_writer *jw)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_str name = fl_metadata_docker_name(container, arena);
    fl_jw_member_str(jw, "DockerContainerName", fl_str_printf(arena, "/%.*s", FL_STR_ARG(name)));
    fl_jw_member_str(jw, "ImageID", container->image_digest);
    fl_jw_member_str(jw, "ImageName", container->spec->image);
    fl_metadata_write_ports(container, "PortMappings", "BindIp", jw);
    fl_metadata_write_networks(container, jw);
    fl_jw_member_str(jw, "MetadataFileStatus", FL_STR("READY"));
    member_some(jw, "AvailabilityZone", facts->zone);
    member_some(jw, "HostPrivateIPv4Address", facts->host_address);
}

void fl_metadata_write_file(const struct fl_metadata_facts *facts,
                            const struct fl_task_container *container, bool ready,
                            struct fl_json_writer *jw)
{
    const struct fl_task_spec *task = container->task->spec;
    fl_jw_object_begin(jw);
    fl_jw_member_str(jw, "Cluster", facts->cluster);
    member_some(jw, "ContainerInstanceARN", facts->instance_arn);
    fl_jw_member_str(jw, "TaskARN", container->task->arn);
    fl_jw_member_str(jw, "TaskDefinitionFamily", task->family);
    fl_jw_member_str(jw, "TaskDefinitionRevision", task->revision);
    if (ready)
        fl_jw_member_str(jw, "ContainerID", fl_str_of(container->id));
    fl_jw_member_str(jw, "ContainerName", container->spec->name);
    if (ready)
        write_file_rest(facts, container, jw);
    else
        fl_jw_member_str(jw, "MetadataFileStatus", FL_STR("INITIAL"));
    fl_jw_object_end(jw);
}
