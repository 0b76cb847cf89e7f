/* The agent protocol's Task object read into the neutral specification.
 *
 * Errors stick: the first one fills err and every later step is harmless, so that the readers need
 * no branches of their own. null counts as absent, unknown members are ignored. */
#include "wire/task_spec.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "wire/json.h"

enum { NS_PER_MS = 1000 * 1000, DEFAULT_INTERVAL_MS = 30 * 1000, DEFAULT_RETRIES = 3 };
enum { MAX_EXIT_CODES = 50, DEFAULT_ATTEMPT_PERIOD_S = 300 };
#define MAX_DURATION_NS INT64_C(86400000000000)

struct decoder {
    struct fl_arena *arena;
    struct fl_arena *scratch; /* JSON within JSON */
    struct fl_err *err;
    int status;
    char scope[160]; /* "containers[2] " while inside one */
};

static void fail(struct decoder *d, const char *name, const char *what)
{
    if (d->status == 0)
        d->status = fl_err_set(d->err, -EINVAL, "task: %s%s %s", d->scope, name, what);
}

static const struct fl_json *member(const struct fl_json *object, const char *name)
{
    const struct fl_json *value = fl_json_get(object, name);
    return fl_json_is(value, FL_JSON_NULL) ? NULL : value;
}

static struct fl_str read_str(struct decoder *d, const struct fl_json *object, const char *name)
{
    const struct fl_json *value = member(object, name);
    if (!value)
        return (struct fl_str){0};
    if (!fl_json_is(value, FL_JSON_STRING))
        fail(d, name, "is not a string");
    return fl_str_dup(d->arena, fl_json_text(value));
}

static struct fl_str read_required_str(struct decoder *d, const struct fl_json *object,
                                       const char *name)
{
    struct fl_str value = read_str(d, object, name);
    if (value.n == 0)
        fail(d, name, "is missing");
    return value;
}

static int64_t read_int(struct decoder *d, const struct fl_json *object, const char *name,
                        int64_t low, int64_t high, int64_t absent)
{
    const struct fl_json *value = member(object, name);
    if (!value)
        return absent;
    if (!fl_json_is(value, FL_JSON_INTEGER)) {
        fail(d, name, "is not an integer");
        return absent;
    }
    int64_t number = fl_json_int(value);
    if (number < low || number > high) {
        fail(d, name, "is out of range");
        return absent;
    }
    return number;
}

static bool read_bool(struct decoder *d, const struct fl_json *object, const char *name,
                      bool absent)
{
    const struct fl_json *value = member(object, name);
    if (value && !fl_json_is_true(value) && !fl_json_is(value, FL_JSON_FALSE))
        fail(d, name, "is not a boolean");
    return value ? fl_json_is_true(value) : absent;
}

static const struct fl_json *read_object(struct decoder *d, const struct fl_json *object,
                                         const char *name)
{
    const struct fl_json *value = member(object, name);
    if (value && !fl_json_is(value, FL_JSON_OBJECT))
        fail(d, name, "is not an object");
    return fl_json_is(value, FL_JSON_OBJECT) ? value : NULL;
}

/* The list and its length, at most max. */
static const struct fl_json *read_list(struct decoder *d, const struct fl_json *object,
                                       const char *name, size_t max, size_t *ret_count)
{
    const struct fl_json *value = member(object, name);
    *ret_count = 0;
    if (!value)
        return NULL;
    if (!fl_json_is(value, FL_JSON_ARRAY)) {
        fail(d, name, "is not a list");
        return NULL;
    }
    if (fl_json_items(value) > max) {
        fail(d, name, "has too many items");
        return NULL;
    }
    *ret_count = fl_json_items(value);
    return value;
}

static struct fl_str *read_strings(struct decoder *d, const struct fl_json *object,
                                   const char *name, size_t *ret_count)
{
    const struct fl_json *list = read_list(d, object, name, FL_TASK_SPEC_MAX_ITEMS, ret_count);
    if (*ret_count == 0)
        return NULL;
    struct fl_str *items = fl_arena_new_array(d->arena, struct fl_str, *ret_count);
    for (size_t i = 0; i < *ret_count; i++) {
        const struct fl_json *item = fl_json_item(list, i);
        if (!fl_json_is(item, FL_JSON_STRING))
            fail(d, name, "holds something that is not a string");
        items[i] = fl_str_dup(d->arena, fl_json_text(item));
    }
    return items;
}

static struct fl_key_value *read_map(struct decoder *d, const struct fl_json *object,
                                     const char *name, size_t *ret_count)
{
    const struct fl_json *map = read_object(d, object, name);
    *ret_count = 0;
    if (fl_json_members(map) > FL_TASK_SPEC_MAX_ITEMS) {
        fail(d, name, "has too many items");
        return NULL;
    }
    struct fl_key_value *items =
        fl_arena_new_array(d->arena, struct fl_key_value, fl_json_members(map));
    for (size_t i = 0; i < fl_json_members(map); i++) {
        const struct fl_json *value = fl_json_member(map, i);
        if (!fl_json_is(value, FL_JSON_STRING))
            fail(d, name, "holds a value that is not a string");
        items[(*ret_count)++] = (struct fl_key_value){
            .key = fl_str_dup(d->arena, fl_json_text(fl_json_member_name(map, i))),
            .value = fl_str_dup(d->arena, fl_json_text(value)),
        };
    }
    return items;
}

/* JSON inside a string (Docker's way), or, as the protocol allows for some, the object itself. */
static const struct fl_json *read_embedded(struct decoder *d, const struct fl_json *object,
                                           const char *name)
{
    const struct fl_json *value = member(object, name);
    if (fl_json_is(value, FL_JSON_OBJECT))
        return value;
    struct fl_str text = fl_json_text(value);
    if (value && !fl_json_is(value, FL_JSON_STRING))
        fail(d, name, "is neither a string nor an object");
    if (text.n == 0)
        return NULL;
    struct fl_err why = {0};
    const struct fl_json *parsed = fl_json_read(text, d->scratch, &why);
    if (!fl_json_is(parsed, FL_JSON_OBJECT)) {
        fail(d, name, parsed ? "holds no object" : why.text);
        return NULL;
    }
    return parsed;
}

/* The host's ports are the agent's to choose. */
static void read_range(struct decoder *d, const struct fl_json *item, struct fl_port_mapping *port)
{
    struct fl_str range = read_str(d, item, "containerPortRange");
    if (!fl_port_range_read(range, &port->container_port, &port->more))
        fail(d, "containerPortRange", "is no range of ports");
}

static void read_port(struct decoder *d, const struct fl_json *item, struct fl_port_mapping *port)
{
    port->container_port = (uint16_t)read_int(d, item, "containerPort", 1, 65535, 0);
    port->host_port = (uint16_t)read_int(d, item, "hostPort", 0, 65535, 0);
    if (port->container_port == 0)
        fail(d, "containerPort", "is missing");
}

static void read_ports(struct decoder *d, const struct fl_json *json,
                       struct fl_container_spec *container)
{
    size_t count;
    const struct fl_json *list = read_list(d, json, "portMappings", FL_TASK_SPEC_MAX_ITEMS, &count);
    container->ports = fl_arena_new_array(d->arena, struct fl_port_mapping, count);
    container->port_count = count;
    for (size_t i = 0; i < count; i++) {
        const struct fl_json *item = fl_json_item(list, i);
        struct fl_str protocol = read_str(d, item, "protocol");
        struct fl_port_mapping *port = &container->ports[i];
        if (protocol.n > 0 && !fl_str_is(protocol, "tcp") && !fl_str_is(protocol, "udp"))
            fail(d, "protocol", "is neither tcp nor udp");
        port->udp = fl_str_is(protocol, "udp");
        if (member(item, "containerPortRange"))
            read_range(d, item, port);
        else
            read_port(d, item, port);
    }
}

static void read_secret(struct decoder *d, const struct fl_json *item,
                        struct fl_secret_spec *secret)
{
    struct fl_str provider = read_str(d, item, "provider");
    struct fl_str type = read_str(d, item, "type");
    struct fl_str target = read_str(d, item, "target");
    *secret = (struct fl_secret_spec){
        .name = read_required_str(d, item, "name"),
        .value_from = read_required_str(d, item, "valueFrom"),
        .region = read_str(d, item, "region"),
        .provider = fl_str_is(provider, "asm") ? FL_SECRET_ASM : FL_SECRET_SSM,
        .is_log_option = fl_str_is(target, "LOG_DRIVER"),
    };
    if (!fl_str_is(provider, "asm") && !fl_str_is(provider, "ssm"))
        fail(d, "provider", "is neither asm nor ssm");
    if (type.n > 0 && !fl_str_is(type, "ENVIRONMENT_VARIABLE"))
        fail(d, "type", "is no type of secret that is supported");
    if (target.n > 0 && !fl_str_is(target, "CONTAINER") && !fl_str_is(target, "LOG_DRIVER"))
        fail(d, "target", "is neither CONTAINER nor LOG_DRIVER");
}

static void read_secrets(struct decoder *d, const struct fl_json *json,
                         struct fl_container_spec *container)
{
    size_t count;
    const struct fl_json *list = read_list(d, json, "secrets", FL_TASK_SPEC_MAX_ITEMS, &count);
    container->secrets = fl_arena_new_array(d->arena, struct fl_secret_spec, count);
    container->secret_count = count;
    for (size_t i = 0; i < count; i++)
        read_secret(d, fl_json_item(list, i), &container->secrets[i]);
}

/* The other type is ecr: the agent has its own way to the built-in registry. */
static void read_registry_secret(struct decoder *d, const struct fl_json *json,
                                 struct fl_container_spec *container)
{
    const struct fl_json *auth = read_object(d, json, "registryAuthentication");
    if (!auth || !fl_str_is(read_str(d, auth, "type"), "asm"))
        return;
    const struct fl_json *data = read_object(d, auth, "asmAuthData");
    container->registry_secret = read_required_str(d, data, "credentialsParameter");
    container->registry_secret_region = read_str(d, data, "region");
}

static void read_mounts(struct decoder *d, const struct fl_json *json,
                        struct fl_container_spec *container)
{
    size_t count;
    const struct fl_json *list = read_list(d, json, "mountPoints", FL_TASK_SPEC_MAX_ITEMS, &count);
    container->mounts = fl_arena_new_array(d->arena, struct fl_mount_point, count);
    container->mount_count = count;
    for (size_t i = 0; i < count; i++) {
        const struct fl_json *item = fl_json_item(list, i);
        container->mounts[i] = (struct fl_mount_point){
            .source_volume = read_required_str(d, item, "sourceVolume"),
            .container_path = read_required_str(d, item, "containerPath"),
            .read_only = read_bool(d, item, "readOnly", false),
        };
    }
}

static void read_dependencies(struct decoder *d, const struct fl_json *json,
                              struct fl_container_spec *container)
{
    size_t count;
    const struct fl_json *list =
        read_list(d, json, "dependsOn", FL_TASK_SPEC_MAX_CONTAINERS, &count);
    container->depends_on = fl_arena_new_array(d->arena, struct fl_dependency, count);
    container->depends_on_count = count;
    for (size_t i = 0; i < count; i++) {
        const struct fl_json *item = fl_json_item(list, i);
        container->depends_on[i].container = read_required_str(d, item, "containerName");
        if (!fl_condition_read(read_required_str(d, item, "condition"),
                               &container->depends_on[i].condition))
            fail(d, "condition", "is unknown");
    }
}

static void read_restart_policy(struct decoder *d, const struct fl_json *json,
                                struct fl_restart_policy *restart)
{
    const struct fl_json *policy = read_object(d, json, "restartPolicy");
    size_t count;
    const struct fl_json *codes = read_list(d, policy, "ignoredExitCodes", MAX_EXIT_CODES, &count);
    restart->enabled = read_bool(d, policy, "enabled", false);
    restart->attempt_period_s =
        read_int(d, policy, "restartAttemptPeriod", 0, INT32_MAX, DEFAULT_ATTEMPT_PERIOD_S);
    restart->ignored_exit_codes = fl_arena_new_array(d->arena, int64_t, count);
    restart->ignored_exit_code_count = count;
    for (size_t i = 0; i < count; i++) {
        if (!fl_json_is(fl_json_item(codes, i), FL_JSON_INTEGER))
            fail(d, "ignoredExitCodes", "holds something that is not an integer");
        restart->ignored_exit_codes[i] = fl_json_int(fl_json_item(codes, i));
    }
}

static void read_life(struct decoder *d, const struct fl_json *json,
                      struct fl_container_spec *container)
{
    container->start_timeout_s = read_int(d, json, "startTimeout", 0, INT32_MAX, 0);
    container->stop_timeout_s = read_int(d, json, "stopTimeout", 0, INT32_MAX, -1);
    read_dependencies(d, json, container);
    read_restart_policy(d, json, &container->restart);
}

/* Docker's durations are nanoseconds, and 0 stands for its default. */
static int64_t read_duration_ms(struct decoder *d, const struct fl_json *object, const char *name,
                                int64_t absent_ms)
{
    int64_t ns = read_int(d, object, name, 0, MAX_DURATION_NS, 0);
    return ns > 0 ? FL_MAX(ns / NS_PER_MS, 1) : absent_ms;
}

/* A dependency on a container that is not there, or on itself, could never be met. */
static void check_dependencies(struct decoder *d, const struct fl_task_spec *spec)
{
    for (size_t i = 0; i < spec->container_count; i++)
        for (size_t k = 0; k < spec->containers[i].depends_on_count; k++) {
            bool known = false;
            for (size_t other = 0; other < spec->container_count; other++)
                known |= other != i && fl_str_eq(spec->containers[other].name,
                                                 spec->containers[i].depends_on[k].container);
            if (!known)
                fail(d, "dependsOn", "names no other container of the task");
        }
}

/* Only a check that the control plane asked for counts; what comes with an image does not. */
static void read_health_check(struct decoder *d, const struct fl_json *json,
                              const struct fl_json *config, struct fl_health_check *check)
{
    const struct fl_json *health = read_object(d, config, "Healthcheck");
    if (!health || !fl_str_is(read_str(d, json, "healthCheckType"), "docker"))
        return;
    check->interval_ms = read_duration_ms(d, health, "Interval", DEFAULT_INTERVAL_MS);
    check->timeout_ms = read_duration_ms(d, health, "Timeout", DEFAULT_INTERVAL_MS);
    check->start_period_ms = read_duration_ms(d, health, "StartPeriod", 0);
    check->retries = read_int(d, health, "Retries", 0, INT32_MAX, 0);
    if (check->retries == 0)
        check->retries = DEFAULT_RETRIES;
    check->test = read_strings(d, health, "Test", &check->test_count);
    if (check->test_count > 0 && fl_str_is(check->test[0], "NONE"))
        *check = (struct fl_health_check){0};
    else if (check->test_count < 2 ||
             (!fl_str_is(check->test[0], "CMD") && !fl_str_is(check->test[0], "CMD-SHELL")))
        fail(d, "Healthcheck", "is neither CMD nor CMD-SHELL with a command");
}

static void read_volumes_from(struct decoder *d, const struct fl_json *json,
                              struct fl_container_spec *container)
{
    size_t count;
    const struct fl_json *list = read_list(d, json, "volumesFrom", FL_TASK_SPEC_MAX_ITEMS, &count);
    container->volumes_from = fl_arena_new_array(d->arena, struct fl_volumes_from, count);
    container->volumes_from_count = count;
    for (size_t i = 0; i < count; i++) {
        const struct fl_json *item = fl_json_item(list, i);
        container->volumes_from[i] = (struct fl_volumes_from){
            .source_container = read_required_str(d, item, "sourceContainer"),
            .read_only = read_bool(d, item, "readOnly", false),
        };
    }
}

static void read_docker_config(struct decoder *d, const struct fl_json *json,
                               const struct fl_json *docker, struct fl_container_spec *container)
{
    const struct fl_json *config = read_embedded(d, docker, "config");
    read_health_check(d, json, config, &container->health_check);
    container->user = read_str(d, config, "User");
    container->working_dir = read_str(d, config, "WorkingDir");
    container->hostname = read_str(d, config, "Hostname");
    container->labels = read_map(d, config, "Labels", &container->label_count);
    container->docker.tty = read_bool(d, config, "Tty", false);
    container->docker.open_stdin = read_bool(d, config, "OpenStdin", false);
    container->docker.network_disabled = read_bool(d, config, "NetworkDisabled", false);
}

static void read_ulimits(struct decoder *d, const struct fl_json *host,
                         struct fl_container_spec *container)
{
    size_t count;
    const struct fl_json *list = read_list(d, host, "Ulimits", FL_TASK_SPEC_MAX_ITEMS, &count);
    container->ulimits = fl_arena_new_array(d->arena, struct fl_ulimit, count);
    container->ulimit_count = count;
    for (size_t i = 0; i < count; i++) {
        const struct fl_json *item = fl_json_item(list, i);
        container->ulimits[i] = (struct fl_ulimit){
            .name = read_required_str(d, item, "Name"),
            .soft = read_int(d, item, "Soft", -1, INT64_MAX, -1),
            .hard = read_int(d, item, "Hard", -1, INT64_MAX, -1),
        };
    }
}

static void read_devices(struct decoder *d, const struct fl_json *host,
                         struct fl_docker_spec *docker)
{
    size_t count;
    const struct fl_json *list = read_list(d, host, "Devices", FL_TASK_SPEC_MAX_ITEMS, &count);
    docker->devices = fl_arena_new_array(d->arena, struct fl_device_spec, count);
    docker->device_count = count;
    for (size_t i = 0; i < count; i++) {
        const struct fl_json *item = fl_json_item(list, i);
        docker->devices[i] = (struct fl_device_spec){
            .host_path = read_required_str(d, item, "PathOnHost"),
            .container_path = read_str(d, item, "PathInContainer"),
            .permissions = read_str(d, item, "CgroupPermissions"),
        };
    }
}

static void read_docker_spec(struct decoder *d, const struct fl_json *host,
                             struct fl_docker_spec *docker)
{
    const struct fl_json *swappiness = member(host, "MemorySwappiness");
    docker->dns_servers = read_strings(d, host, "Dns", &docker->dns_server_count);
    docker->dns_search = read_strings(d, host, "DnsSearch", &docker->dns_search_count);
    docker->extra_hosts = read_strings(d, host, "ExtraHosts", &docker->extra_host_count);
    docker->security_options = read_strings(d, host, "SecurityOpt", &docker->security_option_count);
    docker->cap_add = read_strings(d, host, "CapAdd", &docker->cap_add_count);
    docker->cap_drop = read_strings(d, host, "CapDrop", &docker->cap_drop_count);
    read_devices(d, host, docker);
    docker->tmpfs = read_map(d, host, "Tmpfs", &docker->tmpfs_count);
    docker->sysctls = read_map(d, host, "Sysctls", &docker->sysctl_count);
    docker->shm_size_bytes = read_int(d, host, "ShmSize", 0, INT64_MAX, 0);
    docker->memory_swap_bytes = read_int(d, host, "MemorySwap", -1, INT64_MAX, 0);
    docker->swappiness = read_int(d, host, "MemorySwappiness", -1, 100, -1);
    docker->has_swappiness = swappiness && docker->swappiness >= 0;
    docker->init = read_bool(d, host, "Init", false);
}

/* Returns the network mode that Docker's HostConfig names; empty when it names none. */
static struct fl_str read_host_config(struct decoder *d, const struct fl_json *docker,
                                      struct fl_container_spec *container)
{
    const struct fl_json *host = read_embedded(d, docker, "hostConfig");
    const struct fl_json *log = read_object(d, host, "LogConfig");
    container->log_driver = read_str(d, log, "Type");
    container->log_options = read_map(d, log, "Config", &container->log_option_count);
    read_ulimits(d, host, container);
    container->memory_reservation_mib =
        read_int(d, host, "MemoryReservation", 0, INT64_MAX, 0) / (1024 * 1024);
    container->readonly_rootfs = read_bool(d, host, "ReadonlyRootfs", false);
    container->privileged |= read_bool(d, host, "Privileged", false);
    read_docker_spec(d, host, &container->docker);
    return read_str(d, host, "NetworkMode");
}

/* overrides: a JSON string or object whose one known key is the command. */
static void read_overrides(struct decoder *d, const struct fl_json *json,
                           struct fl_container_spec *container)
{
    const struct fl_json *overrides = read_embedded(d, json, "overrides");
    if (!member(overrides, "command"))
        return;
    container->command = read_strings(d, overrides, "command", &container->command_count);
}

static struct fl_str read_container(struct decoder *d, const struct fl_json *json,
                                    struct fl_container_spec *container)
{
    const int64_t most = INT32_MAX;
    *container = (struct fl_container_spec){
        .name = read_required_str(d, json, "name"),
        .image = read_required_str(d, json, "image"),
        .arn = read_str(d, json, "containerArn"),
        .essential = read_bool(d, json, "essential", true),
        .cpu_units = read_int(d, json, "cpu", 0, most, 0),
        .memory_mib = read_int(d, json, "memory", 0, most, 0),
        .privileged = read_bool(d, json, "privileged", false),
    };
    container->entry_point = read_strings(d, json, "entryPoint", &container->entry_point_count);
    container->command = read_strings(d, json, "command", &container->command_count);
    container->environment = read_map(d, json, "environment", &container->environment_count);
    read_secrets(d, json, container);
    read_registry_secret(d, json, container);
    read_ports(d, json, container);
    read_mounts(d, json, container);
    read_volumes_from(d, json, container);
    container->links = read_strings(d, json, "links", &container->link_count);
    read_overrides(d, json, container);
    read_life(d, json, container);
    const struct fl_json *docker = read_object(d, json, "dockerConfig");
    read_docker_config(d, json, docker, container);
    return read_host_config(d, docker, container);
}

static enum fl_network_mode network_mode(struct decoder *d, struct fl_str name)
{
    if (name.n == 0 || fl_str_is(name, "bridge") || fl_str_is(name, "default"))
        return FL_NET_BRIDGE;
    if (fl_str_is(name, "host"))
        return FL_NET_HOST;
    if (fl_str_is(name, "none"))
        return FL_NET_NONE;
    if (!fl_str_is(name, "awsvpc"))
        fail(d, "networkMode", "is unknown");
    return FL_NET_AWSVPC;
}

static enum fl_namespace_mode namespace_mode(struct decoder *d, const struct fl_json *json,
                                             const char *name, bool may_be_none)
{
    struct fl_str mode = read_str(d, json, name);
    if (mode.n == 0)
        return FL_NS_PRIVATE;
    if (fl_str_is(mode, "task"))
        return FL_NS_TASK;
    if (fl_str_is(mode, "host"))
        return FL_NS_HOST;
    if (!may_be_none || !fl_str_is(mode, "none"))
        fail(d, name, "is unknown");
    return FL_NS_NONE;
}

static void read_containers(struct decoder *d, const struct fl_json *json,
                            struct fl_task_spec *spec)
{
    struct fl_str docker_mode = {0};
    const struct fl_json *list =
        read_list(d, json, "containers", FL_TASK_SPEC_MAX_CONTAINERS, &spec->container_count);
    spec->containers =
        fl_arena_new_array(d->arena, struct fl_container_spec, spec->container_count);
    for (size_t i = 0; i < spec->container_count; i++) {
        (void)snprintf(d->scope, sizeof(d->scope), "containers[%zu] ", i);
        struct fl_str mode = read_container(d, fl_json_item(list, i), &spec->containers[i]);
        docker_mode = docker_mode.n ? docker_mode : mode;
        for (size_t other = 0; other < i; other++)
            if (fl_str_eq(spec->containers[other].name, spec->containers[i].name))
                fail(d, "name", "occurs twice");
    }
    d->scope[0] = '\0';
    check_dependencies(d, spec);
    struct fl_str mode = read_str(d, json, "networkMode");
    spec->network_mode = network_mode(d, mode.n ? mode : docker_mode);
    if (spec->container_count == 0)
        fail(d, "containers", "is empty");
}

static void read_docker_volume(struct decoder *d, const struct fl_json *json,
                               struct fl_volume_spec *volume)
{
    struct fl_str scope = read_str(d, json, "scope");
    if (scope.n > 0 && !fl_str_is(scope, "task") && !fl_str_is(scope, "shared"))
        fail(d, "scope", "is neither task nor shared");
    volume->is_docker = true;
    volume->is_shared = fl_str_is(scope, "shared");
    volume->autoprovision = read_bool(d, json, "autoprovision", false);
    volume->driver = read_str(d, json, "driver");
    volume->driver_opts = read_map(d, json, "driverOpts", &volume->driver_opt_count);
    volume->labels = read_map(d, json, "labels", &volume->label_count);
}

static void read_volume(struct decoder *d, const struct fl_json *item,
                        struct fl_volume_spec *volume)
{
    struct fl_str type = read_str(d, item, "type");
    const struct fl_json *docker = read_object(d, item, "dockerVolumeConfiguration");
    bool is_docker = fl_str_is(type, "docker") || (type.n == 0 && docker);
    if (type.n > 0 && !is_docker && !fl_str_is(type, "host"))
        fail(d, fl_str_z(d->arena, fl_str_sub(type, 0, 40)),
             "is no type of volume that is "
             "supported");
    *volume = (struct fl_volume_spec){
        .name = read_required_str(d, item, "name"),
        .host_path = read_str(d, read_object(d, item, "host"), "sourcePath"),
    };
    if (is_docker)
        read_docker_volume(d, docker, volume);
}

static void read_volumes(struct decoder *d, const struct fl_json *json, struct fl_task_spec *spec)
{
    const struct fl_json *list =
        read_list(d, json, "volumes", FL_TASK_SPEC_MAX_ITEMS, &spec->volume_count);
    spec->volumes = fl_arena_new_array(d->arena, struct fl_volume_spec, spec->volume_count);
    for (size_t i = 0; i < spec->volume_count; i++) {
        (void)snprintf(d->scope, sizeof(d->scope), "volumes[%zu] ", i);
        read_volume(d, fl_json_item(list, i), &spec->volumes[i]);
    }
    d->scope[0] = '\0';
}

/* cpu travels as a number of vCPUs, with a fraction. */
static int64_t read_vcpus(struct decoder *d, const struct fl_json *json)
{
    const struct fl_json *value = member(json, "cpu");
    if (!value)
        return 0;
    double vcpus = fl_json_is_number(value) ? fl_json_number(value) : -1;
    if (vcpus >= 0 && vcpus <= 65536)
        return (int64_t)(vcpus * 1024.0 + 0.5);
    fail(d, "cpu", "is not a number of vCPUs");
    return 0;
}

static bool read_desired(struct decoder *d, const struct fl_json *json)
{
    struct fl_str desired = read_required_str(d, json, "desiredStatus");
    if (desired.n > 0 && !fl_str_is(desired, "RUNNING") && !fl_str_is(desired, "STOPPED"))
        fail(d, "desiredStatus", "is neither RUNNING nor STOPPED");
    return fl_str_is(desired, "RUNNING");
}

static struct fl_container_spec *container_named(const struct fl_task_spec *spec,
                                                 struct fl_str name)
{
    for (size_t i = 0; i < spec->container_count; i++)
        if (fl_str_eq(spec->containers[i].name, name))
            return &spec->containers[i];
    return NULL;
}

/* associations: those of type gpu pin a GPU to the container that they name; others concern things
 * that we have not. */
static void read_associations(struct decoder *d, const struct fl_json *json,
                              const struct fl_task_spec *spec)
{
    size_t count, names;
    const struct fl_json *list =
        read_list(d, json, "associations", FL_TASK_SPEC_MAX_ASSOCIATIONS, &count);
    for (size_t i = 0; i < count; i++) {
        const struct fl_json *item = fl_json_item(list, i);
        if (!fl_str_is(read_str(d, item, "type"), "gpu"))
            continue;
        const struct fl_str *holders = read_strings(d, item, "containers", &names);
        struct fl_container_spec *c = names ? container_named(spec, holders[0]) : NULL;
        if (!c) {
            fail(d, "associations", "name no container of the task");
            return;
        }
        if (!c->gpus)
            c->gpus = fl_arena_new_array(d->arena, struct fl_str, count);
        c->gpus[c->gpu_count++] = read_required_str(d, item, "name");
    }
}

int fl_task_spec_decode(const struct fl_json *json, struct fl_arena *arena,
                        struct fl_task_spec *ret_spec, struct fl_err *err)
{
    FL_CLEANUP_ARENA struct fl_arena *scratch = fl_arena_new();
    struct decoder d = {.arena = arena, .scratch = scratch, .err = err};
    if (!fl_json_is(json, FL_JSON_OBJECT))
        return fl_err_set(err, -EINVAL, "task: not an object");
    struct fl_task_spec spec = {
        .arn = read_required_str(&d, json, "arn"),
        .cluster_arn = read_str(&d, json, "taskClusterArn"),
        .family = read_str(&d, json, "family"),
        .revision = read_str(&d, json, "version"),
        .desired_running = read_desired(&d, json),
        .pid_mode = namespace_mode(&d, json, "pidMode", false),
        .ipc_mode = namespace_mode(&d, json, "ipcMode", true),
        .cpu_units = read_vcpus(&d, json),
        .memory_mib = read_int(&d, json, "memory", 0, INT32_MAX, 0),
        .group = read_str(&d, json, "group"),
        .launch_type = read_str(&d, json, "launchType"),
        .credentials_id = read_str(&d, read_object(&d, json, "roleCredentials"), "credentialsId"),
    };
    read_containers(&d, json, &spec);
    read_volumes(&d, json, &spec);
    read_associations(&d, json, &spec);
    if (d.status == 0)
        *ret_spec = spec;
    return d.status;
}
