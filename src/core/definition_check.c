/* What RegisterTaskDefinition refuses, in ECS's words (spec: error codes and messages). */
#include "core/decide.h"
#include "core/gpu.h"
#include "core/placement.h"

enum {
    MAX_CONTAINERS = 10,
    MAX_DEFINITION_BYTES = 64 * 1024,
    MAX_NAME = 255,
    MIN_MEMORY_MIB = 4,
    MAX_PORTS = 100,
    MAX_STOP_TIMEOUT_S = 24 * 60 * 60,
    MAX_ITEMS = 600, /* what overrides add must still fit what an agent takes */
};

static bool is_name(struct fl_str s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              c == '-' || c == '_'))
            return false;
    }
    return s.n > 0 && s.n <= MAX_NAME;
}

/* The characters of image references: names, registry hosts and ports, tags, digests. */
static bool is_image(struct fl_str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] <= ' ' || s.p[i] > '~' || strchr("\"'\\`$&|;<>(){}[]*?!^,", s.p[i]))
            return false;
    return true;
}

static int check_text(struct fl_decision *d, const char *member, struct fl_str value, bool valid)
{
    if (value.n == 0)
        return fl_refuse(d, "ClientException", "Container.%s should not be null or empty.", member);
    if (!valid)
        return fl_refuse(d, "ClientException", "Container.%s contains invalid characters", member);
    return 0;
}

static int check_memory(struct fl_decision *d, const struct ecs_RegisterTaskDefinitionRequest *in,
                        const struct ecs_ContainerDefinition *c)
{
    bool has_memory = FL_HAS(c, ecs_ContainerDefinition, memory);
    bool has_reservation = FL_HAS(c, ecs_ContainerDefinition, memoryReservation);
    if (!has_memory && !has_reservation && in->memory.n == 0)
        return fl_refuse(d, "ClientException",
                         "Invalid setting for container '%.*s'. At least one of 'memory' or "
                         "'memoryReservation' must be specified.",
                         FL_STR_ARG(c->name));
    if ((has_memory && c->memory < MIN_MEMORY_MIB) ||
        (has_reservation && c->memoryReservation < MIN_MEMORY_MIB))
        return fl_refuse(d, "ClientException",
                         "Invalid setting for container '%.*s'. The 'memory' and "
                         "'memoryReservation' must be at least %d MiB.",
                         FL_STR_ARG(c->name), MIN_MEMORY_MIB);
    if (has_memory && has_reservation && c->memory <= c->memoryReservation)
        return fl_refuse(d, "ClientException",
                         "Invalid setting for container '%.*s'. The 'memory' must be greater "
                         "than the 'memoryReservation'.",
                         FL_STR_ARG(c->name));
    if (c->cpu < 0)
        return fl_refuse(d, "ClientException",
                         "Invalid setting for container '%.*s'. The 'cpu' must not be negative.",
                         FL_STR_ARG(c->name));
    return 0;
}

static int check_ports(struct fl_decision *d, const struct ecs_RegisterTaskDefinitionRequest *in,
                       const struct ecs_ContainerDefinition *c)
{
    bool has_mode = FL_HAS(in, ecs_RegisterTaskDefinitionRequest, networkMode);
    bool must_match = has_mode && (in->networkMode == ECS_NetworkMode_host ||
                                   in->networkMode == ECS_NetworkMode_awsvpc);
    if (c->portMappings.n > MAX_PORTS)
        return fl_refuse(d, "ClientException", "Container '%.*s' has more than %d port mappings.",
                         FL_STR_ARG(c->name), MAX_PORTS);
    for (size_t i = 0; i < c->portMappings.n; i++) {
        const struct ecs_PortMapping *port = &c->portMappings.items[i];
        if (port->containerPort < 0 || port->containerPort > 65535 || port->hostPort < 0 ||
            port->hostPort > 65535 ||
            (port->containerPort == 0 && !FL_HAS(port, ecs_PortMapping, containerPortRange)))
            return fl_refuse(d, "ClientException",
                             "Container '%.*s' has an invalid port mapping: ports are between 1 "
                             "and 65535.",
                             FL_STR_ARG(c->name));
        if (must_match && port->hostPort != 0 && port->hostPort != port->containerPort)
            return fl_refuse(d, "ClientException",
                             "When networkMode=%s, the host ports and container ports in port "
                             "mappings must match.",
                             fl_enum_text(&ecs_enum_NetworkMode, (int)in->networkMode));
    }
    return 0;
}

static struct fl_str option(const struct fl_str_map *options, const char *key)
{
    for (size_t i = 0; i < options->n; i++)
        if (fl_str_is(options->items[i].key, key))
            return options->items[i].value;
    return FL_STR("");
}

static int check_log(struct fl_decision *d, const struct ecs_ContainerDefinition *c)
{
    const struct ecs_LogConfiguration *log = c->logConfiguration;
    if (!log || log->logDriver != ECS_LogDriver_awslogs)
        return 0;
    if (option(&log->options, "awslogs-group").n == 0 ||
        option(&log->options, "awslogs-region").n == 0)
        return fl_refuse(d, "ClientException",
                         "Log driver awslogs requires options: awslogs-region, awslogs-group");
    return 0;
}

static int check_mounts(struct fl_decision *d, const struct ecs_RegisterTaskDefinitionRequest *in,
                        const struct ecs_ContainerDefinition *c)
{
    for (size_t i = 0; i < c->mountPoints.n; i++) {
        bool known = false;
        for (size_t k = 0; k < in->volumes.n; k++)
            known |= fl_str_eq(in->volumes.items[k].name, c->mountPoints.items[i].sourceVolume);
        if (!known)
            return fl_refuse(d, "ClientException", "Unknown volume '%.*s'.",
                             FL_STR_ARG(c->mountPoints.items[i].sourceVolume));
    }
    return 0;
}

/* Lists longer than an agent takes would make a task that can never start. */
static int check_lists(struct fl_decision *d, const struct ecs_ContainerDefinition *c)
{
    const struct {
        const char *member;
        size_t n;
    } lists[] = {
        {"command", c->command.n},
        {"entryPoint", c->entryPoint.n},
        {"environment", c->environment.n},
        {"mountPoints", c->mountPoints.n},
        {"dockerLabels", c->dockerLabels.n},
        {"ulimits", c->ulimits.n},
        {"log options", c->logConfiguration ? c->logConfiguration->options.n : 0},
    };
    for (size_t i = 0; i < FL_ARRAY_SIZE(lists); i++)
        if (lists[i].n > MAX_ITEMS)
            return fl_refuse(d, "ClientException", "Container '%.*s' has more than %d items of %s.",
                             FL_STR_ARG(c->name), MAX_ITEMS, lists[i].member);
    return 0;
}

static int check_container(struct fl_decision *d,
                           const struct ecs_RegisterTaskDefinitionRequest *in, size_t index)
{
    const struct ecs_ContainerDefinition *c = &in->containerDefinitions.items[index];
    if (check_text(d, "name", c->name, is_name(c->name)) < 0 ||
        check_text(d, "image", c->image, is_image(c->image)) < 0)
        return -1;
    for (size_t i = 0; i < index; i++)
        if (fl_str_eq(in->containerDefinitions.items[i].name, c->name))
            return fl_refuse(d, "ClientException",
                             "Container names must be unique: '%.*s' occurs twice.",
                             FL_STR_ARG(c->name));
    if (FL_HAS(c, ecs_ContainerDefinition, stopTimeout) &&
        (c->stopTimeout < 0 || c->stopTimeout > MAX_STOP_TIMEOUT_S))
        return fl_refuse(d, "ClientException",
                         "Invalid setting for container '%.*s'. The 'stopTimeout' must be "
                         "between 0 and %d.",
                         FL_STR_ARG(c->name), MAX_STOP_TIMEOUT_S);
    if (check_memory(d, in, c) < 0 || check_ports(d, in, c) < 0 || check_log(d, c) < 0 ||
        check_lists(d, c) < 0 ||
        fl_gpu_check(d, "ClientException", c->name, &c->resourceRequirements) < 0)
        return -1;
    return check_mounts(d, in, c);
}

static int check_task_size(struct fl_decision *d,
                           const struct ecs_RegisterTaskDefinitionRequest *in)
{
    int64_t value;
    if (FL_HAS(in, ecs_RegisterTaskDefinitionRequest, cpu) &&
        (!fl_str_to_i64(in->cpu, &value) || value < 0 || value > 196608))
        return fl_refuse(d, "ClientException",
                         "Invalid 'cpu' setting for task. For more information, see the "
                         "Troubleshooting section of the Amazon ECS Developer Guide.");
    if (FL_HAS(in, ecs_RegisterTaskDefinitionRequest, memory) &&
        (!fl_str_to_i64(in->memory, &value) || value < MIN_MEMORY_MIB || value > INT32_MAX))
        return fl_refuse(d, "ClientException", "Invalid 'memory' setting for task.");
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

int fl_check_definition(struct fl_decision *d, const struct ecs_RegisterTaskDefinitionRequest *in)
{
    bool has_essential = false;
    if (!is_name(in->family))
        return fl_refuse(d, "ClientException",
                         in->family.n ? "Family contains invalid characters."
                                      : "Family should not be null or empty.");
    if (in->containerDefinitions.n == 0)
        return fl_refuse(d, "ClientException", "Container list cannot be empty.");
    if (in->containerDefinitions.n > MAX_CONTAINERS)
        return fl_refuse(d, "ClientException",
                         "A task definition can have at most %d containers, this one has %zu.",
                         MAX_CONTAINERS, in->containerDefinitions.n);
    if (d->input_size > MAX_DEFINITION_BYTES)
        return fl_refuse(d, "ClientException",
                         "Actual length: '%zu'. Max allowed length is '%d' bytes.", d->input_size,
                         MAX_DEFINITION_BYTES);
    if (check_task_size(d, in) < 0)
        return -1;
    for (size_t i = 0; i < in->containerDefinitions.n; i++) {
        const struct ecs_ContainerDefinition *c = &in->containerDefinitions.items[i];
        if (check_container(d, in, i) < 0)
            return -1;
        has_essential |= !FL_HAS(c, ecs_ContainerDefinition, essential) || c->essential;
    }
    if (!has_essential)
        return fl_refuse(d, "ClientException",
                         "A task definition must have at least one essential container.");
    return check_constraints(d, &in->placementConstraints);
}
