/* What RegisterTaskDefinition refuses about the definition as a whole, in ECS's words (spec: error
 * codes and messages). What it refuses about a container is in definition_container.c. */
#include "core/definition_check.h"

#include "core/placement.h"
#include "wire/arn.h"

enum {
    MAX_CONTAINERS = 10,
    MAX_DEFINITION_BYTES = 64 * 1024,
    MAX_NAME = 255,
    MAX_ROLE_NAME = 64,
    MIN_MEMORY_MIB = 4,
    MIN_CPU = 128,
    MAX_CPU = 196608,
};

bool fl_is_definition_name(struct fl_str s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              c == '-' || c == '_'))
            return false;
    }
    return s.n > 0 && s.n <= MAX_NAME;
}

enum ecs_NetworkMode fl_network_mode(const struct ecs_RegisterTaskDefinitionRequest *in)
{
    return FL_HAS(in, ecs_RegisterTaskDefinitionRequest, networkMode) ? in->networkMode
                                                                      : ECS_NetworkMode_bridge;
}

struct fl_str fl_log_option(const struct fl_str_map *options, const char *key)
{
    for (size_t i = 0; i < options->n; i++)
        if (fl_str_is(options->items[i].key, key))
            return options->items[i].value;
    return FL_STR("");
}

ptrdiff_t fl_container_index(const struct ecs_RegisterTaskDefinitionRequest *in, struct fl_str name)
{
    for (size_t i = 0; i < in->containerDefinitions.n; i++)
        if (fl_str_eq(in->containerDefinitions.items[i].name, name))
            return (ptrdiff_t)i;
    return -1;
}

/* "<number><blanks><unit>", the number with up to three decimals, in thousandths. */
static bool read_quantity(struct fl_str text, const char *unit, int64_t *ret_thousandths)
{
    enum { MOST = 1000000 };
    size_t unit_n = strlen(unit);
    if (text.n <= unit_n || !fl_str_case_eq(fl_str_from(text, text.n - unit_n), fl_str_of(unit)))
        return false;
    struct fl_str number = fl_str_trim(fl_str_sub(text, 0, text.n - unit_n));
    ptrdiff_t dot = fl_str_index(number, '.');
    struct fl_str whole = dot < 0 ? number : fl_str_sub(number, 0, (size_t)dot);
    struct fl_str part = dot < 0 ? FL_STR("0") : fl_str_from(number, (size_t)dot + 1);
    uint64_t ones = 0, decimals;
    if ((whole.n || dot < 0) && !fl_str_to_u64(whole, &ones))
        return false;
    if (part.n > 3 || !fl_str_to_u64(part, &decimals) || ones > MOST)
        return false;
    for (size_t i = part.n; i < 3; i++)
        decimals *= 10;
    *ret_thousandths = (int64_t)(ones * 1000 + decimals);
    return true;
}

static bool read_size(struct fl_str text, const char *unit, int64_t *ret_value)
{
    int64_t thousandths;
    if (fl_str_to_i64(text, ret_value))
        return true;
    if (!read_quantity(fl_str_trim(text), unit, &thousandths))
        return false;
    *ret_value = thousandths * 1024 / 1000;
    return thousandths * 1024 % 1000 == 0;
}

bool fl_read_cpu(struct fl_str text, int64_t *ret_units)
{
    return read_size(text, "vcpu", ret_units);
}

bool fl_read_memory(struct fl_str text, int64_t *ret_mib)
{
    return read_size(text, "gb", ret_mib);
}

static int check_task_size(struct fl_decision *d,
                           const struct ecs_RegisterTaskDefinitionRequest *in)
{
    int64_t value;
    if (FL_HAS(in, ecs_RegisterTaskDefinitionRequest, cpu) &&
        (!fl_read_cpu(in->cpu, &value) || value < MIN_CPU || value > MAX_CPU))
        return fl_refuse(d, "ClientException",
                         "Invalid 'cpu' setting for task. For more information, see the "
                         "Troubleshooting section of the Amazon ECS Developer Guide.");
    if (FL_HAS(in, ecs_RegisterTaskDefinitionRequest, memory) &&
        (!fl_read_memory(in->memory, &value) || value < MIN_MEMORY_MIB || value > INT32_MAX))
        return fl_refuse(d, "ClientException", "Invalid 'memory' setting for task.");
    return 0;
}

/* The containers together, and each alone, fit into the task. */
static int check_shares(struct fl_decision *d, const struct ecs_RegisterTaskDefinitionRequest *in)
{
    int64_t cpu, memory, cpu_sum = 0, reserved = 0;
    bool has_memory = fl_read_memory(in->memory, &memory);
    for (size_t i = 0; i < in->containerDefinitions.n; i++) {
        const struct ecs_ContainerDefinition *c = &in->containerDefinitions.items[i];
        cpu_sum += c->cpu;
        reserved += c->memoryReservation;
        if (has_memory && c->memory > memory)
            return fl_refuse(d, "ClientException",
                             "The 'memory' setting for container '%.*s' is greater than for the "
                             "task.",
                             FL_STR_ARG(c->name));
    }
    if (has_memory && reserved > memory)
        return fl_refuse(d, "ClientException",
                         "The sum of all container 'memoryReservation' values cannot be greater "
                         "than the task-level 'memory' value.");
    if (fl_read_cpu(in->cpu, &cpu) && cpu_sum > cpu)
        return fl_refuse(d, "ClientException",
                         "The sum of all container 'cpu' values cannot be greater than the "
                         "task-level 'cpu' value.");
    return 0;
}

bool fl_is_role(struct fl_str s)
{
    struct fl_arn arn;
    if (s.n > FL_ROLE_MAX)
        return false;
    if (fl_str_starts(s, FL_STR("arn:")))
        return fl_arn_parse(s, &arn) && fl_str_is(arn.service, "iam") &&
               fl_str_is(arn.type, "role") && arn.rest.n > 0;
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] <= ' ' || s.p[i] > '~' || s.p[i] == ':' || s.p[i] == '/')
            return false;
    return s.n <= MAX_ROLE_NAME;
}

static int check_efs(struct fl_decision *d, const struct ecs_EFSVolumeConfiguration *efs)
{
    bool is_encrypted = FL_HAS(efs, ecs_EFSVolumeConfiguration, transitEncryption) &&
                        efs->transitEncryption == ECS_EFSTransitEncryption_ENABLED;
    const struct ecs_EFSAuthorizationConfig *auth = efs->authorizationConfig;
    bool by_iam = auth && FL_HAS(auth, ecs_EFSAuthorizationConfig, iam) &&
                  auth->iam == ECS_EFSAuthorizationConfigIAM_ENABLED;
    if (by_iam && !is_encrypted)
        return fl_refuse(d, "ClientException",
                         "EFS IAM authorization requires TransitEncryption to be enabled.");
    if (FL_HAS(efs, ecs_EFSVolumeConfiguration, transitEncryptionPort) && !is_encrypted)
        return fl_refuse(d, "ClientException",
                         "TransitEncryptionPort requires that TransitEncryption is enabled.");
    if (auth && auth->accessPointId.n && efs->rootDirectory.n &&
        !fl_str_is(efs->rootDirectory, "/"))
        return fl_refuse(d, "ClientException",
                         "When using an EFS access point, the root directory must either be set "
                         "to \"/\" or be omitted.");
    return 0;
}

static bool is_mounted(const struct ecs_RegisterTaskDefinitionRequest *in, struct fl_str volume)
{
    for (size_t i = 0; i < in->containerDefinitions.n; i++) {
        const struct ecs_MountPoint_list *mounts = &in->containerDefinitions.items[i].mountPoints;
        for (size_t k = 0; k < mounts->n; k++)
            if (fl_str_eq(mounts->items[k].sourceVolume, volume))
                return true;
    }
    return false;
}

static int check_volume(struct fl_decision *d, const struct ecs_Volume *v)
{
    const struct ecs_DockerVolumeConfiguration *docker = v->dockerVolumeConfiguration;
    int kinds = (v->host != NULL) + (docker != NULL) + (v->efsVolumeConfiguration != NULL) +
                (v->s3filesVolumeConfiguration != NULL) +
                (v->fsxWindowsFileServerVolumeConfiguration != NULL) + v->configuredAtLaunch;
    if (!fl_is_definition_name(v->name))
        return fl_refuse(d, "ClientException",
                         v->name.n ? "Volume.name contains invalid characters."
                                   : "Volume.name should not be null or empty.");
    if (kinds > 1)
        return fl_refuse(d, "ClientException",
                         "Volume '%.*s' can be configured in one way only: by host, "
                         "dockerVolumeConfiguration, efsVolumeConfiguration, "
                         "s3filesVolumeConfiguration, fsxWindowsFileServerVolumeConfiguration or "
                         "configuredAtLaunch.",
                         FL_STR_ARG(v->name));
    if (docker && FL_HAS(docker, ecs_DockerVolumeConfiguration, autoprovision) &&
        docker->scope != ECS_Scope_shared)
        return fl_refuse(d, "ClientException",
                         "Volume '%.*s': autoprovision is valid for the scope 'shared' only.",
                         FL_STR_ARG(v->name));
    return v->efsVolumeConfiguration ? check_efs(d, v->efsVolumeConfiguration) : 0;
}

static int check_volumes(struct fl_decision *d, const struct ecs_RegisterTaskDefinitionRequest *in)
{
    size_t at_launch = 0;
    for (size_t i = 0; i < in->volumes.n; i++) {
        const struct ecs_Volume *v = &in->volumes.items[i];
        if (check_volume(d, v) < 0)
            return -1;
        for (size_t k = 0; k < i; k++)
            if (fl_str_eq(in->volumes.items[k].name, v->name))
                return fl_refuse(d, "ClientException", "Duplicate volume name: '%.*s'.",
                                 FL_STR_ARG(v->name));
        at_launch += v->configuredAtLaunch;
        if (v->configuredAtLaunch && !is_mounted(in, v->name))
            return fl_refuse(d, "ClientException",
                             "Volumes [%.*s] are not referenced by any of the containers.",
                             FL_STR_ARG(v->name));
    }
    if (at_launch > 1)
        return fl_refuse(d, "ClientException", "Only one volume can be configured at launch.");
    return 0;
}

static int check_constraints(struct fl_decision *d,
                             const struct ecs_TaskDefinitionPlacementConstraint_list *list)
{
    if (list->n > FL_MAX_CONSTRAINTS)
        return fl_refuse(d, "ClientException",
                         "A task definition can have at most %d placement constraints.",
                         FL_MAX_CONSTRAINTS);
    for (size_t i = 0; i < list->n; i++)
        if (fl_expression_check(d, list->items[i].expression) < 0)
            return -1;
    return 0;
}

/* The log router and those who log through it need each other. */
static int check_firelens(struct fl_decision *d, const struct ecs_RegisterTaskDefinitionRequest *in)
{
    size_t routers = 0, senders = 0;
    for (size_t i = 0; i < in->containerDefinitions.n; i++) {
        const struct ecs_ContainerDefinition *c = &in->containerDefinitions.items[i];
        routers += c->firelensConfiguration != NULL;
        senders +=
            c->logConfiguration && c->logConfiguration->logDriver == ECS_LogDriver_awsfirelens;
    }
    if (senders && !routers)
        return fl_refuse(d, "ClientException",
                         "When awsfirelens log driver is specified in log configuration, a "
                         "firelens configuration object must be specified.");
    if (routers && !senders)
        return fl_refuse(d, "ClientException",
                         "When a firelensConfiguration object is specified, at least one container "
                         "has to be configured with the awsfirelens log driver.");
    if (routers > 1)
        return fl_refuse(d, "ClientException",
                         "Only one container can have a firelensConfiguration.");
    return 0;
}

static int check_proxy(struct fl_decision *d, const struct ecs_RegisterTaskDefinitionRequest *in)
{
    const struct ecs_ProxyConfiguration *proxy = in->proxyConfiguration;
    if (proxy && fl_network_mode(in) != ECS_NetworkMode_awsvpc)
        return fl_refuse(d, "ClientException",
                         "proxyConfiguration is only supported when networkMode=awsvpc.");
    if (proxy && fl_container_index(in, proxy->containerName) < 0)
        return fl_refuse(d, "ClientException",
                         "The container '%.*s' of proxyConfiguration does not exist.",
                         FL_STR_ARG(proxy->containerName));
    return 0;
}

static bool is_for(const struct ecs_RegisterTaskDefinitionRequest *in, enum ecs_Compatibility what)
{
    for (size_t i = 0; i < in->requiresCompatibilities.n; i++)
        if (in->requiresCompatibilities.items[i] == what)
            return true;
    return false;
}

/* What concerns the task, not its containers. */
static int check_task(struct fl_decision *d, const struct ecs_RegisterTaskDefinitionRequest *in)
{
    if (check_task_size(d, in) < 0)
        return -1;
    if (!fl_is_role(in->taskRoleArn) || !fl_is_role(in->executionRoleArn))
        return fl_refuse(d, "ClientException", "Role is not valid");
    if (in->inferenceAccelerators.n)
        return fl_refuse(d, "ClientException", "Unsupported field 'inferenceAccelerators'.");
    if (in->ephemeralStorage &&
        (in->ephemeralStorage->sizeInGiB < 21 || in->ephemeralStorage->sizeInGiB > 200))
        return fl_refuse(d, "ClientException", "EphemeralStorage size should be %s",
                         in->ephemeralStorage->sizeInGiB < 21 ? "at least 21" : "at most 200");
    if (is_for(in, ECS_Compatibility_EXTERNAL) && fl_network_mode(in) == ECS_NetworkMode_awsvpc)
        return fl_refuse(d, "ClientException",
                         "External compatible task definitions do not support network mode "
                         "'awsvpc'.");
    if (check_volumes(d, in) < 0 || check_proxy(d, in) < 0)
        return -1;
    return check_constraints(d, &in->placementConstraints);
}

static int check_containers(struct fl_decision *d,
                            const struct ecs_RegisterTaskDefinitionRequest *in)
{
    bool has_essential = false;
    for (size_t i = 0; i < in->containerDefinitions.n; i++) {
        const struct ecs_ContainerDefinition *c = &in->containerDefinitions.items[i];
        if (fl_check_container(d, in, i) < 0)
            return -1;
        has_essential |= !FL_HAS(c, ecs_ContainerDefinition, essential) || c->essential;
    }
    if (!has_essential)
        return fl_refuse(d, "ClientException",
                         "Task definition doesn't have any essential container.");
    if (fl_check_life(d, in) < 0 || fl_check_ports(d, in) < 0 || check_shares(d, in) < 0)
        return -1;
    return check_firelens(d, in);
}

int fl_check_definition(struct fl_decision *d, const struct ecs_RegisterTaskDefinitionRequest *in)
{
    if (!fl_is_definition_name(in->family))
        return fl_refuse(d, "ClientException",
                         in->family.n ? "Family contains invalid characters."
                                      : "Family should not be null or empty.");
    if (in->containerDefinitions.n == 0)
        return fl_refuse(d, "ClientException", "Container list cannot be empty.");
    if (in->containerDefinitions.n > MAX_CONTAINERS)
        return fl_refuse(d, "ClientException",
                         "Too many containers: a task definition can have at most %d, this one has "
                         "%zu.",
                         MAX_CONTAINERS, in->containerDefinitions.n);
    if (d->input_size > MAX_DEFINITION_BYTES)
        return fl_refuse(d, "ClientException",
                         "Actual length: '%zu'. Max allowed length is '%d' bytes.", d->input_size,
                         MAX_DEFINITION_BYTES);
    if (FL_HAS(in, ecs_RegisterTaskDefinitionRequest, tags) && in->tags.n == 0)
        return fl_refuse(d, "ClientException", "Tags can not be empty.");
    if (fl_check_tags(d, &in->tags, "ClientException") < 0 || check_task(d, in) < 0 ||
        check_containers(d, in) < 0)
        return -1;
    return is_for(in, ECS_Compatibility_FARGATE) ? fl_check_fargate(d, in) : 0;
}
