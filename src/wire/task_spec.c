/* The neutral task specification written as the agent protocol's Task object.
 *
 * What the protocol has no member for rides in dockerConfig, two JSON texts inside strings:
 * Docker's Config and HostConfig. Absent and empty values are left out. */
#include "wire/task_spec.h"

#include <stdio.h>

#include "wire/json.h"

enum { DOCKER_TEXT_MAX = 512 * 1024, NS_PER_MS = 1000 * 1000 };

static const char *const network_names[] = {
    [FL_NET_BRIDGE] = "bridge",
    [FL_NET_HOST] = "host",
    [FL_NET_NONE] = "none",
    [FL_NET_AWSVPC] = "awsvpc",
};

/* Absent where each container has its own. */
static const char *const namespace_names[] = {
    [FL_NS_PRIVATE] = "",
    [FL_NS_TASK] = "task",
    [FL_NS_HOST] = "host",
    [FL_NS_NONE] = "none",
};

static void member_str(struct fl_json_writer *jw, const char *key, struct fl_str value)
{
    if (value.n > 0)
        fl_jw_member_str(jw, key, value);
}

static void member_positive(struct fl_json_writer *jw, const char *key, int64_t value)
{
    if (value > 0)
        fl_jw_member_int(jw, key, value);
}

static void member_true(struct fl_json_writer *jw, const char *key, bool value)
{
    if (value)
        fl_jw_member_bool(jw, key, true);
}

static void member_strings(struct fl_json_writer *jw, const char *key, const struct fl_str *items,
                           size_t count)
{
    if (count == 0)
        return;
    fl_jw_key(jw, key);
    fl_jw_array_begin(jw);
    for (size_t i = 0; i < count; i++)
        fl_jw_str(jw, items[i]);
    fl_jw_array_end(jw);
}

static void member_map(struct fl_json_writer *jw, const char *key, const struct fl_key_value *items,
                       size_t count)
{
    if (count == 0)
        return;
    fl_jw_key(jw, key);
    fl_jw_object_begin(jw);
    for (size_t i = 0; i < count; i++) {
        fl_jw_key_str(jw, items[i].key);
        fl_jw_str(jw, items[i].value);
    }
    fl_jw_object_end(jw);
}

bool fl_port_range_read(struct fl_str text, uint16_t *ret_first, uint16_t *ret_more)
{
    int64_t first, last;
    ptrdiff_t dash = fl_str_index(text, '-');
    if (dash < 0 || !fl_str_to_i64(fl_str_sub(text, 0, (size_t)dash), &first) ||
        !fl_str_to_i64(fl_str_from(text, (size_t)dash + 1), &last))
        return false;
    if (first < 1 || first >= last || last > UINT16_MAX)
        return false;
    *ret_first = (uint16_t)first;
    *ret_more = (uint16_t)(last - first);
    return true;
}

void fl_port_range_text(uint16_t first, uint16_t more, char ret_text[FL_PORT_RANGE_SIZE])
{
    uint16_t last = (uint16_t)(first + more);
    (void)snprintf(ret_text, FL_PORT_RANGE_SIZE, "%u-%u", first, last);
}

static void write_range(struct fl_json_writer *jw, const struct fl_port_mapping *port)
{
    char text[FL_PORT_RANGE_SIZE];
    fl_port_range_text(port->container_port, port->more, text);
    fl_jw_member_str(jw, "containerPortRange", fl_str_of(text));
}

static void write_ports(struct fl_json_writer *jw, const struct fl_container_spec *container)
{
    if (container->port_count == 0)
        return;
    fl_jw_key(jw, "portMappings");
    fl_jw_array_begin(jw);
    for (size_t i = 0; i < container->port_count; i++) {
        const struct fl_port_mapping *port = &container->ports[i];
        fl_jw_object_begin(jw);
        if (port->more > 0) {
            write_range(jw, port);
        } else {
            fl_jw_member_int(jw, "containerPort", port->container_port);
            fl_jw_member_int(jw, "hostPort", port->host_port);
        }
        fl_jw_member_str(jw, "protocol", port->udp ? FL_STR("udp") : FL_STR("tcp"));
        fl_jw_object_end(jw);
    }
    fl_jw_array_end(jw);
}

static void write_mounts(struct fl_json_writer *jw, const struct fl_container_spec *container)
{
    if (container->mount_count == 0)
        return;
    fl_jw_key(jw, "mountPoints");
    fl_jw_array_begin(jw);
    for (size_t i = 0; i < container->mount_count; i++) {
        const struct fl_mount_point *mount = &container->mounts[i];
        fl_jw_object_begin(jw);
        fl_jw_member_str(jw, "sourceVolume", mount->source_volume);
        fl_jw_member_str(jw, "containerPath", mount->container_path);
        fl_jw_member_bool(jw, "readOnly", mount->read_only);
        fl_jw_object_end(jw);
    }
    fl_jw_array_end(jw);
}

static const char *const condition_names[] = {
    [FL_WHEN_STARTED] = "START",
    [FL_WHEN_COMPLETE] = "COMPLETE",
    [FL_WHEN_SUCCESS] = "SUCCESS",
    [FL_WHEN_HEALTHY] = "HEALTHY",
};

const char *fl_condition_name(enum fl_condition condition)
{
    return condition_names[condition];
}

bool fl_condition_read(struct fl_str name, enum fl_condition *ret_condition)
{
    for (size_t i = 0; i < FL_ARRAY_SIZE(condition_names); i++)
        if (fl_str_is(name, condition_names[i])) {
            *ret_condition = (enum fl_condition)i;
            return true;
        }
    return false;
}

static void write_dependencies(struct fl_json_writer *jw, const struct fl_container_spec *container)
{
    if (container->depends_on_count == 0)
        return;
    fl_jw_key(jw, "dependsOn");
    fl_jw_array_begin(jw);
    for (size_t i = 0; i < container->depends_on_count; i++) {
        const struct fl_dependency *dependency = &container->depends_on[i];
        fl_jw_object_begin(jw);
        fl_jw_member_str(jw, "containerName", dependency->container);
        fl_jw_member_str(jw, "condition", fl_str_of(fl_condition_name(dependency->condition)));
        fl_jw_object_end(jw);
    }
    fl_jw_array_end(jw);
}

static void write_volumes_from(struct fl_json_writer *jw, const struct fl_container_spec *container)
{
    if (container->volumes_from_count == 0)
        return;
    fl_jw_key(jw, "volumesFrom");
    fl_jw_array_begin(jw);
    for (size_t i = 0; i < container->volumes_from_count; i++) {
        fl_jw_object_begin(jw);
        fl_jw_member_str(jw, "sourceContainer", container->volumes_from[i].source_container);
        fl_jw_member_bool(jw, "readOnly", container->volumes_from[i].read_only);
        fl_jw_object_end(jw);
    }
    fl_jw_array_end(jw);
}

static void write_restart_policy(struct fl_json_writer *jw, const struct fl_restart_policy *restart)
{
    if (!restart->enabled)
        return;
    fl_jw_key(jw, "restartPolicy");
    fl_jw_object_begin(jw);
    fl_jw_member_bool(jw, "enabled", true);
    fl_jw_key(jw, "ignoredExitCodes");
    fl_jw_array_begin(jw);
    for (size_t i = 0; i < restart->ignored_exit_code_count; i++)
        fl_jw_int(jw, restart->ignored_exit_codes[i]);
    fl_jw_array_end(jw);
    fl_jw_member_int(jw, "restartAttemptPeriod", restart->attempt_period_s);
    fl_jw_object_end(jw);
}

/* What the protocol has members for; the health check's own description is Docker's. */
static void write_life(struct fl_json_writer *jw, const struct fl_container_spec *container)
{
    write_dependencies(jw, container);
    member_positive(jw, "startTimeout", container->start_timeout_s);
    if (container->stop_timeout_s >= 0)
        fl_jw_member_int(jw, "stopTimeout", container->stop_timeout_s);
    write_restart_policy(jw, &container->restart);
    if (container->health_check.test_count > 0)
        fl_jw_member_str(jw, "healthCheckType", FL_STR("docker"));
}

/* Docker counts in nanoseconds. */
static void write_health_check(struct fl_json_writer *jw, const struct fl_health_check *check)
{
    if (check->test_count == 0)
        return;
    fl_jw_key(jw, "Healthcheck");
    fl_jw_object_begin(jw);
    member_strings(jw, "Test", check->test, check->test_count);
    fl_jw_member_int(jw, "Interval", check->interval_ms * NS_PER_MS);
    fl_jw_member_int(jw, "Timeout", check->timeout_ms * NS_PER_MS);
    fl_jw_member_int(jw, "StartPeriod", check->start_period_ms * NS_PER_MS);
    fl_jw_member_int(jw, "Retries", check->retries);
    fl_jw_object_end(jw);
}

static void write_docker_config(struct fl_buf *buf, const struct fl_container_spec *container)
{
    struct fl_json_writer jw = {.buf = buf};
    fl_jw_object_begin(&jw);
    member_str(&jw, "User", container->user);
    member_str(&jw, "WorkingDir", container->working_dir);
    member_str(&jw, "Hostname", container->hostname);
    member_map(&jw, "Labels", container->labels, container->label_count);
    write_health_check(&jw, &container->health_check);
    member_true(&jw, "Tty", container->docker.tty);
    member_true(&jw, "OpenStdin", container->docker.open_stdin);
    member_true(&jw, "NetworkDisabled", container->docker.network_disabled);
    fl_jw_object_end(&jw);
}

static void write_log_config(struct fl_json_writer *jw, const struct fl_container_spec *container)
{
    if (container->log_driver.n == 0)
        return;
    fl_jw_key(jw, "LogConfig");
    fl_jw_object_begin(jw);
    fl_jw_member_str(jw, "Type", container->log_driver);
    member_map(jw, "Config", container->log_options, container->log_option_count);
    fl_jw_object_end(jw);
}

static void write_ulimits(struct fl_json_writer *jw, const struct fl_container_spec *container)
{
    if (container->ulimit_count == 0)
        return;
    fl_jw_key(jw, "Ulimits");
    fl_jw_array_begin(jw);
    for (size_t i = 0; i < container->ulimit_count; i++) {
        fl_jw_object_begin(jw);
        fl_jw_member_str(jw, "Name", container->ulimits[i].name);
        fl_jw_member_int(jw, "Soft", container->ulimits[i].soft);
        fl_jw_member_int(jw, "Hard", container->ulimits[i].hard);
        fl_jw_object_end(jw);
    }
    fl_jw_array_end(jw);
}

static void write_devices(struct fl_json_writer *jw, const struct fl_docker_spec *docker)
{
    if (docker->device_count == 0)
        return;
    fl_jw_key(jw, "Devices");
    fl_jw_array_begin(jw);
    for (size_t i = 0; i < docker->device_count; i++) {
        const struct fl_device_spec *device = &docker->devices[i];
        fl_jw_object_begin(jw);
        fl_jw_member_str(jw, "PathOnHost", device->host_path);
        fl_jw_member_str(jw, "PathInContainer",
                         device->container_path.n ? device->container_path : device->host_path);
        fl_jw_member_str(jw, "CgroupPermissions",
                         device->permissions.n ? device->permissions : FL_STR("rwm"));
        fl_jw_object_end(jw);
    }
    fl_jw_array_end(jw);
}

static void write_docker_spec(struct fl_json_writer *jw, const struct fl_docker_spec *docker)
{
    member_strings(jw, "Dns", docker->dns_servers, docker->dns_server_count);
    member_strings(jw, "DnsSearch", docker->dns_search, docker->dns_search_count);
    member_strings(jw, "ExtraHosts", docker->extra_hosts, docker->extra_host_count);
    member_strings(jw, "SecurityOpt", docker->security_options, docker->security_option_count);
    member_strings(jw, "CapAdd", docker->cap_add, docker->cap_add_count);
    member_strings(jw, "CapDrop", docker->cap_drop, docker->cap_drop_count);
    write_devices(jw, docker);
    member_map(jw, "Tmpfs", docker->tmpfs, docker->tmpfs_count);
    member_map(jw, "Sysctls", docker->sysctls, docker->sysctl_count);
    member_positive(jw, "ShmSize", docker->shm_size_bytes);
    if (docker->memory_swap_bytes != 0)
        fl_jw_member_int(jw, "MemorySwap", docker->memory_swap_bytes);
    if (docker->has_swappiness)
        fl_jw_member_int(jw, "MemorySwappiness", docker->swappiness);
    member_true(jw, "Init", docker->init);
}

static void write_host_config(struct fl_buf *buf, const struct fl_container_spec *container,
                              enum fl_network_mode mode)
{
    struct fl_json_writer jw = {.buf = buf};
    fl_jw_object_begin(&jw);
    if (mode != FL_NET_AWSVPC)
        fl_jw_member_str(&jw, "NetworkMode", fl_str_of(network_names[mode]));
    write_log_config(&jw, container);
    write_ulimits(&jw, container);
    member_positive(&jw, "MemoryReservation", container->memory_reservation_mib * 1024 * 1024);
    member_true(&jw, "ReadonlyRootfs", container->readonly_rootfs);
    member_true(&jw, "Privileged", container->privileged);
    write_docker_spec(&jw, &container->docker);
    fl_jw_object_end(&jw);
}

static void write_secret(struct fl_json_writer *jw, const struct fl_secret_spec *secret)
{
    bool is_asm = secret->provider == FL_SECRET_ASM;
    fl_jw_object_begin(jw);
    fl_jw_member_str(jw, "name", secret->name);
    fl_jw_member_str(jw, "valueFrom", secret->value_from);
    fl_jw_member_str(jw, "provider", is_asm ? FL_STR("asm") : FL_STR("ssm"));
    fl_jw_member_str(jw, "type", FL_STR("ENVIRONMENT_VARIABLE"));
    member_str(jw, "region", secret->region);
    fl_jw_member_str(jw, "target",
                     secret->is_log_option ? FL_STR("LOG_DRIVER") : FL_STR("CONTAINER"));
    fl_jw_object_end(jw);
}

static void write_secrets(struct fl_json_writer *jw, const struct fl_container_spec *container)
{
    if (container->secret_count == 0)
        return;
    fl_jw_key(jw, "secrets");
    fl_jw_array_begin(jw);
    for (size_t i = 0; i < container->secret_count; i++)
        write_secret(jw, &container->secrets[i]);
    fl_jw_array_end(jw);
}

static void write_registry_secret(struct fl_json_writer *jw,
                                  const struct fl_container_spec *container)
{
    if (container->registry_secret.n == 0)
        return;
    fl_jw_key(jw, "registryAuthentication");
    fl_jw_object_begin(jw);
    fl_jw_member_str(jw, "type", FL_STR("asm"));
    fl_jw_key(jw, "asmAuthData");
    fl_jw_object_begin(jw);
    fl_jw_member_str(jw, "credentialsParameter", container->registry_secret);
    member_str(jw, "region", container->registry_secret_region);
    fl_jw_object_end(jw);
    fl_jw_object_end(jw);
}

static void write_docker(struct fl_json_writer *jw, const struct fl_container_spec *container,
                         enum fl_network_mode mode)
{
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(DOCKER_TEXT_MAX);
    fl_jw_key(jw, "dockerConfig");
    fl_jw_object_begin(jw);
    fl_jw_member_str(jw, "version", FL_STR("1.17"));
    write_docker_config(&text, container);
    fl_jw_member_str(jw, "config", fl_buf_str(&text));
    fl_buf_clear(&text);
    write_host_config(&text, container, mode);
    fl_jw_member_str(jw, "hostConfig", fl_buf_str(&text));
    fl_jw_object_end(jw);
}

static void write_container(struct fl_json_writer *jw, const struct fl_container_spec *container,
                            enum fl_network_mode mode)
{
    fl_jw_object_begin(jw);
    fl_jw_member_str(jw, "name", container->name);
    fl_jw_member_str(jw, "image", container->image);
    member_str(jw, "containerArn", container->arn);
    fl_jw_member_bool(jw, "essential", container->essential);
    fl_jw_member_int(jw, "cpu", container->cpu_units);
    fl_jw_member_int(jw, "memory", container->memory_mib);
    member_strings(jw, "entryPoint", container->entry_point, container->entry_point_count);
    member_strings(jw, "command", container->command, container->command_count);
    member_map(jw, "environment", container->environment, container->environment_count);
    write_secrets(jw, container);
    write_registry_secret(jw, container);
    write_ports(jw, container);
    write_mounts(jw, container);
    write_life(jw, container);
    write_volumes_from(jw, container);
    member_strings(jw, "links", container->links, container->link_count);
    member_true(jw, "privileged", container->privileged);
    write_docker(jw, container, mode);
    fl_jw_object_end(jw);
}

static void write_docker_volume(struct fl_json_writer *jw, const struct fl_volume_spec *volume)
{
    fl_jw_member_str(jw, "type", FL_STR("docker"));
    fl_jw_key(jw, "dockerVolumeConfiguration");
    fl_jw_object_begin(jw);
    fl_jw_member_str(jw, "scope", volume->is_shared ? FL_STR("shared") : FL_STR("task"));
    fl_jw_member_bool(jw, "autoprovision", volume->autoprovision);
    member_str(jw, "driver", volume->driver);
    member_map(jw, "driverOpts", volume->driver_opts, volume->driver_opt_count);
    member_map(jw, "labels", volume->labels, volume->label_count);
    fl_jw_object_end(jw);
}

static void write_host_volume(struct fl_json_writer *jw, const struct fl_volume_spec *volume)
{
    fl_jw_member_str(jw, "type", FL_STR("host"));
    fl_jw_key(jw, "host");
    fl_jw_object_begin(jw);
    member_str(jw, "sourcePath", volume->host_path);
    fl_jw_object_end(jw);
}

static void write_volumes(struct fl_json_writer *jw, const struct fl_task_spec *spec)
{
    if (spec->volume_count == 0)
        return;
    fl_jw_key(jw, "volumes");
    fl_jw_array_begin(jw);
    for (size_t i = 0; i < spec->volume_count; i++) {
        fl_jw_object_begin(jw);
        fl_jw_member_str(jw, "name", spec->volumes[i].name);
        if (spec->volumes[i].is_docker)
            write_docker_volume(jw, &spec->volumes[i]);
        else
            write_host_volume(jw, &spec->volumes[i]);
        fl_jw_object_end(jw);
    }
    fl_jw_array_end(jw);
}

/* A task's devices are its associations, each naming the container that has it. */
static void write_associations(struct fl_json_writer *jw, const struct fl_task_spec *spec)
{
    bool is_open = false;
    for (size_t i = 0; i < spec->container_count; i++) {
        for (size_t k = 0; k < spec->containers[i].gpu_count; k++) {
            if (!is_open) {
                fl_jw_key(jw, "associations");
                fl_jw_array_begin(jw);
                is_open = true;
            }
            fl_jw_object_begin(jw);
            fl_jw_member_str(jw, "type", FL_STR("gpu"));
            fl_jw_member_str(jw, "name", spec->containers[i].gpus[k]);
            member_strings(jw, "containers", &spec->containers[i].name, 1);
            fl_jw_object_end(jw);
        }
    }
    if (is_open)
        fl_jw_array_end(jw);
}

void fl_task_spec_encode(const struct fl_task_spec *spec, struct fl_buf *buf)
{
    struct fl_json_writer jw = {.buf = buf};
    fl_jw_object_begin(&jw);
    fl_jw_member_str(&jw, "arn", spec->arn);
    member_str(&jw, "taskClusterArn", spec->cluster_arn);
    fl_jw_member_str(&jw, "family", spec->family);
    fl_jw_member_str(&jw, "version", spec->revision);
    fl_jw_member_str(&jw, "desiredStatus",
                     spec->desired_running ? FL_STR("RUNNING") : FL_STR("STOPPED"));
    fl_jw_member_str(&jw, "networkMode", fl_str_of(network_names[spec->network_mode]));
    member_str(&jw, "pidMode", fl_str_of(namespace_names[spec->pid_mode]));
    member_str(&jw, "ipcMode", fl_str_of(namespace_names[spec->ipc_mode]));
    if (spec->cpu_units > 0) {
        fl_jw_key(&jw, "cpu");
        fl_jw_double(&jw, (double)spec->cpu_units / 1024.0);
    }
    member_positive(&jw, "memory", spec->memory_mib);
    member_str(&jw, "group", spec->group);
    member_str(&jw, "launchType", spec->launch_type);
    if (spec->credentials_id.n > 0) {
        fl_jw_key(&jw, "roleCredentials");
        fl_jw_object_begin(&jw);
        fl_jw_member_str(&jw, "credentialsId", spec->credentials_id);
        fl_jw_object_end(&jw);
    }
    fl_jw_key(&jw, "containers");
    fl_jw_array_begin(&jw);
    for (size_t i = 0; i < spec->container_count; i++)
        write_container(&jw, &spec->containers[i], spec->network_mode);
    fl_jw_array_end(&jw);
    write_volumes(&jw, spec);
    write_associations(&jw, spec);
    fl_jw_object_end(&jw);
}

bool fl_is_ipc_sysctl(struct fl_str name)
{
    static const char *const names[] = {"kernel.msgmax", "kernel.msgmnb",         "kernel.msgmni",
                                        "kernel.sem",    "kernel.shmall",         "kernel.shmmax",
                                        "kernel.shmmni", "kernel.shm_rmid_forced"};
    for (size_t i = 0; i < FL_ARRAY_SIZE(names); i++)
        if (fl_str_is(name, names[i]))
            return true;
    return fl_str_starts(name, FL_STR("fs.mqueue."));
}
