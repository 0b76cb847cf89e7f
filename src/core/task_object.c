/* From a task's record and definition to what its agent is sent. */
#include "core/decide.h"
#include "core/definition_check.h"
#include "core/service_change.h"
#include "wire/task_spec.h"

enum { MAX_TASK_OBJECT = 4 << 20, MIB = 1 << 20 };

static const struct ecs_ContainerOverride *override_of(const struct rec_Task *rec,
                                                       struct fl_str name)
{
    for (size_t i = 0; rec->overrides && i < rec->overrides->containerOverrides.n; i++)
        if (fl_str_eq(rec->overrides->containerOverrides.items[i].name, name))
            return &rec->overrides->containerOverrides.items[i];
    return NULL;
}

static void add_environment(struct fl_container_spec *spec, const struct ecs_KeyValuePair_list *env)
{
    for (size_t i = 0; i < env->n; i++) {
        size_t at = 0;
        while (at < spec->environment_count &&
               !fl_str_eq(spec->environment[at].key, env->items[i].name))
            at++;
        spec->environment[at] = (struct fl_key_value){env->items[i].name, env->items[i].value};
        if (at == spec->environment_count)
            spec->environment_count++;
    }
}

static void set_environment(struct fl_decision *d, const struct ecs_ContainerDefinition *c,
                            const struct ecs_ContainerOverride *o, struct fl_container_spec *spec)
{
    size_t most = c->environment.n + (o ? o->environment.n : 0);
    spec->environment = fl_arena_new_array(d->arena, struct fl_key_value, most);
    add_environment(spec, &c->environment);
    if (o)
        add_environment(spec, &o->environment);
}

static void set_ports(struct fl_decision *d, const struct ecs_ContainerDefinition *c,
                      struct fl_container_spec *spec)
{
    spec->ports = fl_arena_new_array(d->arena, struct fl_port_mapping, c->portMappings.n);
    for (size_t i = 0; i < c->portMappings.n; i++) {
        const struct ecs_PortMapping *port = &c->portMappings.items[i];
        struct fl_port_mapping *to = &spec->ports[spec->port_count++];
        *to = (struct fl_port_mapping){
            .container_port = (uint16_t)port->containerPort,
            .host_port = (uint16_t)port->hostPort,
            .udp = port->protocol == ECS_TransportProtocol_udp,
        };
        if (FL_HAS(port, ecs_PortMapping, containerPortRange))
            (void)fl_port_range_read(port->containerPortRange, &to->container_port, &to->more);
    }
}

static struct fl_key_value *copy_map(struct fl_decision *d, const struct fl_str_map *map)
{
    struct fl_key_value *items = fl_arena_new_array(d->arena, struct fl_key_value, map->n);
    for (size_t i = 0; i < map->n; i++)
        items[i] = (struct fl_key_value){map->items[i].key, map->items[i].value};
    return items;
}

/* The account's defaultLogDriverMode is for drivers that send lines elsewhere. */
static void add_mode(struct fl_decision *d, const struct ecs_LogConfiguration *log,
                     struct fl_container_spec *spec)
{
    if (log->logDriver == ECS_LogDriver_json_file || fl_log_option(&log->options, "mode").n > 0)
        return;
    spec->log_options[spec->log_option_count++] = (struct fl_key_value){
        FL_STR("mode"), fl_effective_setting(d, ECS_SettingName_defaultLogDriverMode)};
}

/* The control plane turns awslogs-stream-prefix into the stream's name; the agent has no rule for
 * prefixes (spec: agent protocol, task object). */
static void set_log(struct fl_decision *d, const struct rec_Task *rec,
                    const struct ecs_ContainerDefinition *c, struct fl_container_spec *spec)
{
    const struct ecs_LogConfiguration *log = c->logConfiguration;
    if (!log)
        return;
    spec->log_driver = fl_str_of(fl_enum_text(&ecs_enum_LogDriver, (int)log->logDriver));
    spec->log_options = fl_arena_new_array(d->arena, struct fl_key_value, log->options.n + 1);
    for (size_t i = 0; i < log->options.n; i++)
        spec->log_options[i] =
            (struct fl_key_value){log->options.items[i].key, log->options.items[i].value};
    spec->log_option_count = log->options.n;
    add_mode(d, log, spec);
    for (size_t i = 0; i < spec->log_option_count; i++) {
        struct fl_key_value *option = &spec->log_options[i];
        if (log->logDriver != ECS_LogDriver_awslogs ||
            !fl_str_is(option->key, "awslogs-stream-prefix"))
            continue;
        option->key = FL_STR("awslogs-stream");
        option->value = fl_str_printf(d->arena, "%.*s/%.*s/%.*s", FL_STR_ARG(option->value),
                                      FL_STR_ARG(c->name), FL_STR_ARG(rec->id));
    }
}

static void set_ulimits(struct fl_decision *d, const struct ecs_ContainerDefinition *c,
                        struct fl_container_spec *spec)
{
    spec->ulimits = fl_arena_new_array(d->arena, struct fl_ulimit, c->ulimits.n);
    for (size_t i = 0; i < c->ulimits.n; i++)
        spec->ulimits[spec->ulimit_count++] = (struct fl_ulimit){
            .name = fl_str_of(fl_enum_text(&ecs_enum_UlimitName, (int)c->ulimits.items[i].name)),
            .soft = c->ulimits.items[i].softLimit,
            .hard = c->ulimits.items[i].hardLimit,
        };
}

static void set_mounts(struct fl_decision *d, const struct ecs_ContainerDefinition *c,
                       struct fl_container_spec *spec)
{
    spec->mounts = fl_arena_new_array(d->arena, struct fl_mount_point, c->mountPoints.n);
    for (size_t i = 0; i < c->mountPoints.n; i++)
        spec->mounts[spec->mount_count++] = (struct fl_mount_point){
            .source_volume = c->mountPoints.items[i].sourceVolume,
            .container_path = c->mountPoints.items[i].containerPath,
            .read_only = c->mountPoints.items[i].readOnly,
        };
}

static void set_volumes_from(struct fl_decision *d, const struct ecs_ContainerDefinition *c,
                             struct fl_container_spec *spec)
{
    spec->volumes_from = fl_arena_new_array(d->arena, struct fl_volumes_from, c->volumesFrom.n);
    for (size_t i = 0; i < c->volumesFrom.n; i++)
        spec->volumes_from[spec->volumes_from_count++] = (struct fl_volumes_from){
            .source_container = c->volumesFrom.items[i].sourceContainer,
            .read_only = c->volumesFrom.items[i].readOnly,
        };
}

static void set_extra_hosts(struct fl_decision *d, const struct ecs_ContainerDefinition *c,
                            struct fl_docker_spec *docker)
{
    docker->extra_hosts = fl_arena_new_array(d->arena, struct fl_str, c->extraHosts.n);
    for (size_t i = 0; i < c->extraHosts.n; i++)
        docker->extra_hosts[docker->extra_host_count++] =
            fl_str_printf(d->arena, "%.*s:%.*s", FL_STR_ARG(c->extraHosts.items[i].hostname),
                          FL_STR_ARG(c->extraHosts.items[i].ipAddress));
}

static void set_sysctls(struct fl_decision *d, const struct ecs_ContainerDefinition *c,
                        struct fl_docker_spec *docker)
{
    docker->sysctls = fl_arena_new_array(d->arena, struct fl_key_value, c->systemControls.n);
    for (size_t i = 0; i < c->systemControls.n; i++)
        docker->sysctls[docker->sysctl_count++] = (struct fl_key_value){
            c->systemControls.items[i].namespace, c->systemControls.items[i].value};
}

/* read, write and mknod become "rwm"; none given means all. */
static struct fl_str device_permissions(struct fl_decision *d, const struct ecs_Device *device)
{
    bool has[3] = {false};
    for (size_t i = 0; i < device->permissions.n; i++) {
        switch (device->permissions.items[i]) {
        case ECS_DeviceCgroupPermission_read:
            has[0] = true;
            break;
        case ECS_DeviceCgroupPermission_write:
            has[1] = true;
            break;
        case ECS_DeviceCgroupPermission_mknod:
            has[2] = true;
            break;
        }
    }
    if (device->permissions.n == 0)
        return FL_STR("rwm");
    return fl_str_printf(d->arena, "%s%s%s", has[0] ? "r" : "", has[1] ? "w" : "",
                         has[2] ? "m" : "");
}

static void set_devices(struct fl_decision *d, const struct ecs_LinuxParameters *params,
                        struct fl_docker_spec *docker)
{
    docker->devices = fl_arena_new_array(d->arena, struct fl_device_spec, params->devices.n);
    for (size_t i = 0; i < params->devices.n; i++) {
        const struct ecs_Device *device = &params->devices.items[i];
        docker->devices[docker->device_count++] = (struct fl_device_spec){
            .host_path = device->hostPath,
            .container_path = device->containerPath,
            .permissions = device_permissions(d, device),
        };
    }
}

static struct fl_str tmpfs_options(struct fl_decision *d, const struct ecs_Tmpfs *tmpfs)
{
    struct fl_str options = fl_str_printf(d->arena, "size=%dm", tmpfs->size);
    for (size_t i = 0; i < tmpfs->mountOptions.n; i++)
        options = fl_str_printf(d->arena, "%.*s,%.*s", FL_STR_ARG(options),
                                FL_STR_ARG(tmpfs->mountOptions.items[i]));
    return options;
}

static void set_tmpfs(struct fl_decision *d, const struct ecs_LinuxParameters *params,
                      struct fl_docker_spec *docker)
{
    docker->tmpfs = fl_arena_new_array(d->arena, struct fl_key_value, params->tmpfs.n);
    for (size_t i = 0; i < params->tmpfs.n; i++)
        docker->tmpfs[docker->tmpfs_count++] = (struct fl_key_value){
            params->tmpfs.items[i].containerPath, tmpfs_options(d, &params->tmpfs.items[i])};
}

/* Docker counts memory and swap together; without a limit of the one there is none of the other. */
static void set_linux(struct fl_decision *d, const struct ecs_LinuxParameters *params,
                      struct fl_container_spec *spec)
{
    struct fl_docker_spec *docker = &spec->docker;
    if (params->capabilities) {
        docker->cap_add = params->capabilities->add.items;
        docker->cap_add_count = params->capabilities->add.n;
        docker->cap_drop = params->capabilities->drop.items;
        docker->cap_drop_count = params->capabilities->drop.n;
    }
    set_devices(d, params, docker);
    set_tmpfs(d, params, docker);
    docker->init = params->initProcessEnabled;
    docker->shm_size_bytes = (int64_t)params->sharedMemorySize * MIB;
    if (FL_HAS(params, ecs_LinuxParameters, maxSwap) && spec->memory_mib > 0) {
        docker->memory_swap_bytes = (spec->memory_mib + params->maxSwap) * MIB;
        docker->has_swappiness = FL_HAS(params, ecs_LinuxParameters, swappiness);
        docker->swappiness = params->swappiness;
    }
}

/* What only Docker's strings carry. */
static void set_docker(struct fl_decision *d, const struct ecs_ContainerDefinition *c,
                       struct fl_container_spec *spec)
{
    struct fl_docker_spec *docker = &spec->docker;
    docker->dns_servers = c->dnsServers.items;
    docker->dns_server_count = c->dnsServers.n;
    docker->dns_search = c->dnsSearchDomains.items;
    docker->dns_search_count = c->dnsSearchDomains.n;
    docker->security_options = c->dockerSecurityOptions.items;
    docker->security_option_count = c->dockerSecurityOptions.n;
    docker->tty = c->pseudoTerminal;
    docker->open_stdin = c->interactive;
    docker->network_disabled = c->disableNetworking;
    set_extra_hosts(d, c, docker);
    set_sysctls(d, c, docker);
    if (c->linuxParameters)
        set_linux(d, c->linuxParameters, spec);
}

static void set_limits(const struct ecs_ContainerDefinition *c,
                       const struct ecs_ContainerOverride *o, struct fl_container_spec *spec)
{
    spec->cpu_units = o && FL_HAS(o, ecs_ContainerOverride, cpu) ? o->cpu : c->cpu;
    spec->memory_mib = o && FL_HAS(o, ecs_ContainerOverride, memory) ? o->memory : c->memory;
    spec->memory_reservation_mib = o && FL_HAS(o, ecs_ContainerOverride, memoryReservation)
                                       ? o->memoryReservation
                                       : c->memoryReservation;
}

static enum fl_condition condition_of(enum ecs_ContainerCondition condition)
{
    switch (condition) {
    case ECS_ContainerCondition_START:
        return FL_WHEN_STARTED;
    case ECS_ContainerCondition_COMPLETE:
        return FL_WHEN_COMPLETE;
    case ECS_ContainerCondition_SUCCESS:
        return FL_WHEN_SUCCESS;
    case ECS_ContainerCondition_HEALTHY:
        return FL_WHEN_HEALTHY;
    }
    return FL_WHEN_STARTED;
}

static void set_dependencies(struct fl_decision *d, const struct ecs_ContainerDefinition *c,
                             struct fl_container_spec *spec)
{
    spec->depends_on = fl_arena_new_array(d->arena, struct fl_dependency, c->dependsOn.n);
    for (size_t i = 0; i < c->dependsOn.n; i++)
        spec->depends_on[spec->depends_on_count++] = (struct fl_dependency){
            .container = c->dependsOn.items[i].containerName,
            .condition = condition_of(c->dependsOn.items[i].condition),
        };
}

/* A definition of an earlier release may lack what registration fills in today. */
static void set_health_check(const struct ecs_ContainerDefinition *c,
                             struct fl_container_spec *spec)
{
    const struct ecs_HealthCheck *check = c->healthCheck;
    if (!check || check->command.n == 0)
        return;
    spec->health_check = (struct fl_health_check){
        .test = check->command.items,
        .test_count = check->command.n,
        .interval_ms = INT64_C(1000) * (check->interval ? check->interval : 30),
        .timeout_ms = INT64_C(1000) * (check->timeout ? check->timeout : 5),
        .start_period_ms = INT64_C(1000) * check->startPeriod,
        .retries = check->retries ? check->retries : 3,
    };
}

static void set_restart_policy(struct fl_decision *d, const struct ecs_ContainerDefinition *c,
                               struct fl_container_spec *spec)
{
    const struct ecs_ContainerRestartPolicy *policy = c->restartPolicy;
    if (!policy)
        return;
    const struct fl_int_list *codes = &policy->ignoredExitCodes;
    spec->restart = (struct fl_restart_policy){
        .enabled = policy->enabled,
        .ignored_exit_codes = fl_arena_new_array(d->arena, int64_t, codes->n),
        .ignored_exit_code_count = codes->n,
        .attempt_period_s = policy->restartAttemptPeriod ? policy->restartAttemptPeriod : 300,
    };
    for (size_t i = 0; i < codes->n; i++)
        spec->restart.ignored_exit_codes[i] = codes->items[i];
}

static void set_life(struct fl_decision *d, const struct ecs_ContainerDefinition *c,
                     struct fl_container_spec *spec)
{
    spec->start_timeout_s = c->startTimeout;
    spec->stop_timeout_s = FL_HAS(c, ecs_ContainerDefinition, stopTimeout) ? c->stopTimeout : -1;
    set_dependencies(d, c, spec);
    set_health_check(c, spec);
    set_restart_policy(d, c, spec);
}

static void make_container(struct fl_decision *d, const struct rec_Task *rec,
                           const struct ecs_ContainerDefinition *c, struct fl_container_spec *spec)
{
    const struct ecs_ContainerOverride *o = override_of(rec, c->name);
    const struct fl_str_list *command = o && o->command.n ? &o->command : &c->command;
    spec->name = c->name;
    spec->essential = c->essential;
    spec->entry_point = c->entryPoint.items;
    spec->entry_point_count = c->entryPoint.n;
    spec->command = command->items;
    spec->command_count = command->n;
    spec->user = c->user;
    spec->working_dir = c->workingDirectory;
    spec->hostname = c->hostname;
    spec->readonly_rootfs = c->readonlyRootFilesystem;
    spec->privileged = c->privileged;
    spec->labels = copy_map(d, &c->dockerLabels);
    spec->label_count = c->dockerLabels.n;
    set_life(d, c, spec);
    set_limits(c, o, spec);
    set_environment(d, c, o, spec);
    fl_task_object_secrets(d, c, spec);
    set_ports(d, c, spec);
    set_log(d, rec, c, spec);
    set_ulimits(d, c, spec);
    set_mounts(d, c, spec);
    set_volumes_from(d, c, spec);
    spec->links = c->links.items;
    spec->link_count = c->links.n;
    set_docker(d, c, spec);
}

static enum fl_network_mode network_mode(const struct ecs_TaskDefinition *def)
{
    if (!FL_HAS(def, ecs_TaskDefinition, networkMode))
        return FL_NET_BRIDGE;
    switch (def->networkMode) {
    case ECS_NetworkMode_bridge:
        return FL_NET_BRIDGE;
    case ECS_NetworkMode_host:
        return FL_NET_HOST;
    case ECS_NetworkMode_none:
        return FL_NET_NONE;
    case ECS_NetworkMode_awsvpc:
        return FL_NET_AWSVPC;
    }
    return FL_NET_BRIDGE;
}

static enum fl_namespace_mode pid_mode(const struct ecs_TaskDefinition *def)
{
    if (!FL_HAS(def, ecs_TaskDefinition, pidMode))
        return FL_NS_PRIVATE;
    return def->pidMode == ECS_PidMode_host ? FL_NS_HOST : FL_NS_TASK;
}

static enum fl_namespace_mode ipc_mode(const struct ecs_TaskDefinition *def)
{
    if (!FL_HAS(def, ecs_TaskDefinition, ipcMode))
        return FL_NS_PRIVATE;
    switch (def->ipcMode) {
    case ECS_IpcMode_host:
        return FL_NS_HOST;
    case ECS_IpcMode_task:
        return FL_NS_TASK;
    case ECS_IpcMode_none:
        return FL_NS_NONE;
    }
    return FL_NS_PRIVATE;
}

static int64_t limit_of(struct fl_str override, struct fl_str definition)
{
    int64_t value;
    if (fl_str_to_i64(override, &value) || fl_str_to_i64(definition, &value))
        return value;
    return 0;
}

static void set_docker_volume(struct fl_decision *d,
                              const struct ecs_DockerVolumeConfiguration *docker,
                              struct fl_volume_spec *spec)
{
    spec->is_docker = true;
    spec->is_shared =
        FL_HAS(docker, ecs_DockerVolumeConfiguration, scope) && docker->scope == ECS_Scope_shared;
    spec->autoprovision = docker->autoprovision;
    spec->driver = docker->driver;
    spec->driver_opts = copy_map(d, &docker->driverOpts);
    spec->driver_opt_count = docker->driverOpts.n;
    spec->labels = copy_map(d, &docker->labels);
    spec->label_count = docker->labels.n;
}

static void set_volumes(struct fl_decision *d, const struct ecs_TaskDefinition *def,
                        struct fl_task_spec *spec)
{
    spec->volumes = fl_arena_new_array(d->arena, struct fl_volume_spec, def->volumes.n);
    for (size_t i = 0; i < def->volumes.n; i++) {
        const struct ecs_Volume *volume = &def->volumes.items[i];
        spec->volumes[spec->volume_count] = (struct fl_volume_spec){
            .name = volume->name,
            .host_path = volume->host ? volume->host->sourcePath : FL_STR(""),
        };
        if (volume->dockerVolumeConfiguration)
            set_docker_volume(d, volume->dockerVolumeConfiguration,
                              &spec->volumes[spec->volume_count]);
        spec->volume_count++;
    }
}

static struct fl_task_spec make_spec(struct fl_decision *d, const struct fl_task *task)
{
    const struct rec_Task *rec = task->rec;
    const struct ecs_TaskDefinition *def = task->definition->rec->definition;
    const struct ecs_TaskOverride *o = rec->overrides;
    struct fl_task_spec spec = {
        .arn = fl_task_arn(d, rec),
        .cluster_arn = fl_cluster_arn(d, rec->cluster),
        .family = rec->family,
        .revision = fl_str_printf(d->arena, "%d", rec->revision),
        .desired_running = rec->desired != REC_TaskStatus_STOPPED,
        .network_mode = network_mode(def),
        .pid_mode = pid_mode(def),
        .ipc_mode = ipc_mode(def),
        .cpu_units = limit_of(o ? o->cpu : FL_STR(""), def->cpu),
        .memory_mib = limit_of(o ? o->memory : FL_STR(""), def->memory),
        .group = rec->group,
        .launch_type = FL_STR("EC2"),
        .container_count = def->containerDefinitions.n,
    };
    spec.containers = fl_arena_new_array(d->arena, struct fl_container_spec, spec.container_count);
    for (size_t i = 0; i < spec.container_count; i++) {
        make_container(d, rec, &def->containerDefinitions.items[i], &spec.containers[i]);
        spec.containers[i].image = fl_revision_image(d, task, &def->containerDefinitions.items[i]);
        spec.containers[i].gpus = rec->containers.items[i].gpuIds.items;
        spec.containers[i].gpu_count = rec->containers.items[i].gpuIds.n;
        spec.containers[i].arn = fl_container_arn(d, rec, &rec->containers.items[i]);
    }
    set_volumes(d, def, &spec);
    return spec;
}

void fl_task_object(struct fl_decision *d, const struct fl_task *task,
                    struct fl_core_effect *effect)
{
    struct fl_task_spec spec = make_spec(d, task);
    const struct fl_core_taker *taker = d->turn->taker;
    if (taker) {
        effect->object = taker->task(taker->context, &spec);
        return;
    }
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(MAX_TASK_OBJECT);
    fl_task_spec_encode(&spec, &buf);
    FL_ASSERT(!buf.overflow);
    effect->roles = spec.desired_running ? fl_roles_of(d, task) : NULL;
    effect->task = fl_str_dup(d->arena, fl_buf_str(&buf));
}
