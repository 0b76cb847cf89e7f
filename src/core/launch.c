/* What RunTask and StartTask share: everything about the request is checked before anything is put,
 * then each task is its record. */
#include "core/launch.h"

#include "core/gpu.h"
#include "core/service.h"

enum { MAX_TOKEN = 64, MAX_STARTED_BY = 128, MAX_GROUP = 255 };
/* ECS's bound on the overrides, their JSON's own characters included. */
enum { MAX_OVERRIDES = 8192 };
/* Together with the definition's own these stay below what an agent takes. */
enum { MAX_ITEMS = 600, MAX_OVERRIDDEN = 400 };

/* The members of a container definition that our agent cannot honour and that no attribute stands
 * for: running such a task would silently ignore them. */
static const char *unsupported_member(const struct ecs_ContainerDefinition *c)
{
#define REFUSE_IF(member, condition)                                                               \
    do {                                                                                           \
        if (condition)                                                                             \
            return #member;                                                                        \
    } while (0)
    REFUSE_IF(credentialSpecs, c->credentialSpecs.n > 0);
#undef REFUSE_IF
    return NULL;
}

static bool is_compatible(const struct ecs_TaskDefinition *def, enum ecs_Compatibility with)
{
    for (size_t i = 0; i < def->compatibilities.n; i++)
        if (def->compatibilities.items[i] == with)
            return true;
    return false;
}

static int check_supported(struct fl_decision *d, const struct ecs_RunTaskRequest *in,
                           const struct ecs_TaskDefinition *def)
{
    const char *member = NULL;
    if (in->capacityProviderStrategy.n)
        member = "capacityProviderStrategy";
    if (in->enableExecuteCommand)
        member = "enableExecuteCommand";
    if (in->volumeConfigurations.n)
        member = "volumeConfigurations";
    if (def->inferenceAccelerators.n)
        member = "inferenceAccelerators";
    for (size_t i = 0; i < def->containerDefinitions.n && !member; i++)
        member = unsupported_member(&def->containerDefinitions.items[i]);
    if (member)
        return fl_refuse(d, "ClientException", "%s is not implemented yet.", member);
    if (FL_HAS(in, ecs_RunTaskRequest, launchType) && in->launchType == ECS_LaunchType_FARGATE &&
        !is_compatible(def, ECS_Compatibility_FARGATE))
        return fl_refuse(d, "InvalidParameterException",
                         "Task definition does not support launch_type FARGATE.");
    if (FL_HAS(in, ecs_RunTaskRequest, launchType) && in->launchType != ECS_LaunchType_EC2)
        return fl_refuse(d, "ClientException", "The launch type %s is not implemented yet.",
                         fl_enum_text(&ecs_enum_LaunchType, (int)in->launchType));
    return 0;
}

static int check_network(struct fl_decision *d, const struct ecs_RunTaskRequest *in,
                         const struct ecs_TaskDefinition *def)
{
    bool is_awsvpc =
        FL_HAS(def, ecs_TaskDefinition, networkMode) && def->networkMode == ECS_NetworkMode_awsvpc;
    if (is_awsvpc && !in->networkConfiguration)
        return fl_refuse(d, "InvalidParameterException",
                         "Network Configuration must be provided when networkMode 'awsvpc' is "
                         "specified.");
    if (!is_awsvpc && in->networkConfiguration)
        return fl_refuse(d, "InvalidParameterException",
                         "Network Configuration is not valid for the given networkMode of this "
                         "task definition.");
    const struct ecs_AwsVpcConfiguration *vpc =
        is_awsvpc ? in->networkConfiguration->awsvpcConfiguration : NULL;
    if (is_awsvpc && (!vpc || vpc->subnets.n == 0))
        return fl_refuse(d, "InvalidParameterException", "subnets can not be empty.");
    if (vpc && FL_HAS(vpc, ecs_AwsVpcConfiguration, assignPublicIp) &&
        vpc->assignPublicIp == ECS_AssignPublicIp_ENABLED &&
        (!FL_HAS(in, ecs_RunTaskRequest, launchType) || in->launchType == ECS_LaunchType_EC2))
        return fl_refuse(d, "InvalidParameterException",
                         "Assign public IP is not supported for this launch type.");
    return 0;
}

static const struct ecs_ContainerOverride *override_of(const struct ecs_TaskOverride *overrides,
                                                       struct fl_str name)
{
    for (size_t i = 0; overrides && i < overrides->containerOverrides.n; i++)
        if (fl_str_eq(overrides->containerOverrides.items[i].name, name))
            return &overrides->containerOverrides.items[i];
    return NULL;
}

/* A size given as text: absent, or a number that an instance could have. */
static bool size_is_valid(struct fl_str text)
{
    int64_t value;
    return text.n == 0 || (fl_str_to_i64(text, &value) && value >= 0 && value <= INT32_MAX);
}

static int check_overrides(struct fl_decision *d, const struct ecs_TaskOverride *overrides,
                           const struct ecs_TaskDefinition *def)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(MAX_OVERRIDES);
    if (overrides)
        fl_shape_encode(&ecs_shape_TaskOverride, overrides, &buf);
    if (buf.overflow)
        return fl_refuse(d, "InvalidParameterException",
                         "The overrides are longer than %d characters.", MAX_OVERRIDES);
    if (overrides && (!size_is_valid(overrides->cpu) || !size_is_valid(overrides->memory)))
        return fl_refuse(d, "InvalidParameterException",
                         "Invalid '%s' override for task: it must be a whole number, not negative.",
                         size_is_valid(overrides->cpu) ? "memory" : "cpu");
    if (overrides &&
        (!fl_is_role(overrides->taskRoleArn) || !fl_is_role(overrides->executionRoleArn)))
        return fl_refuse(d, "ClientException", "Role is not valid");
    for (size_t i = 0; overrides && i < overrides->containerOverrides.n; i++) {
        const struct ecs_ContainerOverride *o = &overrides->containerOverrides.items[i];
        bool known = false;
        for (size_t k = 0; k < def->containerDefinitions.n; k++)
            known |= fl_str_eq(def->containerDefinitions.items[k].name, o->name);
        if (!known)
            return fl_refuse(d, "InvalidParameterException",
                             "Override for container named %.*s is not a container in the "
                             "TaskDefinition.",
                             FL_STR_ARG(o->name));
        if (o->cpu < 0 || o->memory < 0 || o->memoryReservation < 0)
            return fl_refuse(d, "InvalidParameterException",
                             "Override for container %.*s: cpu and memory must not be negative.",
                             FL_STR_ARG(o->name));
        if (o->command.n > MAX_ITEMS || o->environment.n > MAX_OVERRIDDEN)
            return fl_refuse(d, "InvalidParameterException",
                             "Override for container %.*s: too many items.", FL_STR_ARG(o->name));
        if (o->environmentFiles.n)
            return fl_refuse(d, "ClientException",
                             "Overriding environmentFiles is not implemented yet.");
        if (fl_gpu_check(d, "InvalidParameterException", o->name, &o->resourceRequirements) < 0)
            return -1;
    }
    return 0;
}

static int check_launch_type(struct fl_decision *d, const struct ecs_RunTaskRequest *in)
{
    bool has_type = FL_HAS(in, ecs_RunTaskRequest, launchType);
    bool is_ec2 = !has_type || in->launchType == ECS_LaunchType_EC2;
    if (has_type && in->capacityProviderStrategy.n)
        return fl_refuse(d, "InvalidParameterException",
                         "Specifying both a launch type and capacity provider strategy is not "
                         "supported. Remove one and try again.");
    if (is_ec2 && !in->capacityProviderStrategy.n && in->platformVersion.n)
        return fl_refuse(d, "InvalidParameterException",
                         "The platform version must be null when specifying an EC2 launch type.");
    return 0;
}

int fl_launch_check(struct fl_decision *d, const struct ecs_RunTaskRequest *in)
{
    if (FL_HAS(in, ecs_RunTaskRequest, count) && (in->count < 1 || in->count > FL_MAX_LAUNCHED))
        return fl_refuse(d, "InvalidParameterException", "count should be between 1 and %d.",
                         FL_MAX_LAUNCHED);
    if (in->clientToken.n > MAX_TOKEN)
        return fl_refuse(d, "InvalidParameterException", "clientToken longer than %d.", MAX_TOKEN);
    if (in->startedBy.n > MAX_STARTED_BY)
        return fl_refuse(d, "InvalidParameterException", "startedBy longer than %d.",
                         MAX_STARTED_BY);
    if (in->group.n > MAX_GROUP)
        return fl_refuse(d, "InvalidParameterException", "group longer than %d.", MAX_GROUP);
    if (fl_service_of_group(in->group).n)
        return fl_refuse(d, "InvalidParameterException",
                         "The group '%.*s' is not valid: groups that begin with 'service:' are "
                         "reserved for the tasks of services.",
                         FL_STR_ARG(in->group));
    for (size_t i = 0; i < in->clientToken.n; i++)
        if (in->clientToken.p[i] < '!' || in->clientToken.p[i] > '~')
            return fl_refuse(d, "InvalidParameterException",
                             "clientToken contains invalid characters: those between 33 and 126 "
                             "are allowed.");
    if (FL_HAS(in, ecs_RunTaskRequest, propagateTags) &&
        in->propagateTags == ECS_PropagateTags_SERVICE)
        return fl_refuse(d, "InvalidParameterException",
                         "propagateTags=SERVICE is for tasks of a service: specify "
                         "TASK_DEFINITION or NONE.");
    if (check_launch_type(d, in) < 0)
        return -1;
    return fl_check_tags(d, &in->tags, "InvalidParameterException");
}

/* What one container asks for, its override considered. */
static void add_container(const struct ecs_ContainerDefinition *c,
                          const struct ecs_ContainerOverride *o, int64_t *cpu, int64_t *memory)
{
    *cpu += o && FL_HAS(o, ecs_ContainerOverride, cpu) ? o->cpu : c->cpu;
    if (o && FL_HAS(o, ecs_ContainerOverride, memoryReservation))
        *memory += o->memoryReservation;
    else if (FL_HAS(c, ecs_ContainerDefinition, memoryReservation))
        *memory += c->memoryReservation;
    else if (o && FL_HAS(o, ecs_ContainerOverride, memory))
        *memory += o->memory;
    else
        *memory += c->memory;
}

static int64_t sum_or(struct fl_str first, struct fl_str second, int64_t sum)
{
    int64_t value;
    if (fl_str_to_i64(first, &value) || fl_str_to_i64(second, &value))
        return value;
    return sum;
}

static void add_ports(const struct ecs_ContainerDefinition *c, bool is_host_mode,
                      struct fl_int_list *ports)
{
    for (size_t i = 0; i < c->portMappings.n; i++) {
        const struct ecs_PortMapping *port = &c->portMappings.items[i];
        int32_t host_port = is_host_mode ? port->containerPort : port->hostPort;
        if (host_port)
            ports->items[ports->n++] =
                host_port * 2 + (port->protocol == ECS_TransportProtocol_udp);
    }
}

static void derive_requirement(struct fl_decision *d, const struct ecs_RunTaskRequest *in,
                               const struct ecs_TaskDefinition *def, struct fl_requirement *r)
{
    const struct ecs_TaskOverride *o = in->overrides;
    bool is_host_mode =
        FL_HAS(def, ecs_TaskDefinition, networkMode) && def->networkMode == ECS_NetworkMode_host;
    int64_t cpu = 0, memory = 0;
    size_t ports = 0;
    r->gpus = 0;
    for (size_t i = 0; i < def->containerDefinitions.n; i++)
        ports += def->containerDefinitions.items[i].portMappings.n;
    r->ports.items = fl_arena_new_array(d->arena, int32_t, ports);
    for (size_t i = 0; i < def->containerDefinitions.n; i++) {
        const struct ecs_ContainerDefinition *c = &def->containerDefinitions.items[i];
        add_container(c, override_of(o, c->name), &cpu, &memory);
        r->gpus += fl_gpu_wanted(c, override_of(o, c->name));
        add_ports(c, is_host_mode, &r->ports);
    }
    r->cpu = sum_or(o ? o->cpu : FL_STR(""), def->cpu, cpu);
    r->memory = sum_or(o ? o->memory : FL_STR(""), def->memory, memory);
}

static void add_tag(struct ecs_Tag_list *list, struct fl_str key, struct fl_str value)
{
    struct ecs_Tag *tag = &list->items[list->n++];
    FL_SET(tag, ecs_Tag, key, key);
    FL_SET(tag, ecs_Tag, value, value);
}

static struct ecs_Tag_list task_tags(struct fl_decision *d, const struct ecs_RunTaskRequest *in,
                                     const struct fl_definition *definition, struct fl_str cluster)
{
    const struct ecs_Tag_list *inherited = &definition->rec->tags;
    struct fl_str service = fl_service_of_group(in->group);
    struct ecs_Tag_list list = {0};
    bool inherit = FL_HAS(in, ecs_RunTaskRequest, propagateTags) &&
                   in->propagateTags == ECS_PropagateTags_TASK_DEFINITION;
    list.items = fl_arena_new_array(d->arena, struct ecs_Tag, in->tags.n + inherited->n + 2);
    for (size_t i = 0; i < in->tags.n; i++)
        list.items[list.n++] = in->tags.items[i];
    for (size_t i = 0; inherit && i < inherited->n; i++) {
        bool given = false;
        for (size_t k = 0; k < in->tags.n; k++)
            given |= fl_str_eq(in->tags.items[k].key, inherited->items[i].key);
        if (!given)
            list.items[list.n++] = inherited->items[i];
    }
    if (in->enableECSManagedTags)
        add_tag(&list, FL_STR("aws:ecs:clusterName"), cluster);
    if (in->enableECSManagedTags && service.n)
        add_tag(&list, FL_STR("aws:ecs:serviceName"), service);
    return list;
}

static void make_containers(struct fl_decision *d, const struct ecs_TaskDefinition *def,
                            const struct fl_instance *instance, struct rec_Task *rec)
{
    struct rec_TaskContainer_list list = {.n = def->containerDefinitions.n};
    uint64_t gpus_taken = 0;
    list.items = fl_arena_new_array(d->arena, struct rec_TaskContainer, list.n);
    for (size_t i = 0; i < list.n; i++) {
        struct rec_TaskContainer *c = &list.items[i];
        FL_SET(c, rec_TaskContainer, id, fl_new_uuid(d));
        FL_SET(c, rec_TaskContainer, name, def->containerDefinitions.items[i].name);
        FL_SET(c, rec_TaskContainer, status, REC_TaskStatus_PENDING);
        fl_gpu_assign(d, instance,
                      fl_gpu_wanted(&def->containerDefinitions.items[i],
                                    override_of(rec->overrides, c->name)),
                      &gpus_taken, c);
    }
    FL_SET(rec, rec_Task, containers, list);
}

/* Everything of the record but id, instance and containers, which differ between the tasks. */
static void fill_record(struct fl_decision *d, const struct ecs_RunTaskRequest *in,
                        const struct fl_cluster *cluster, const struct fl_definition *definition,
                        const struct fl_requirement *r, struct rec_Task *rec)
{
    FL_SET(rec, rec_Task, v, FL_RECORD_TASK_VERSION);
    FL_SET(rec, rec_Task, cluster, cluster->rec->name);
    FL_SET(rec, rec_Task, family, definition->family);
    FL_SET(rec, rec_Task, revision, definition->revision);
    FL_SET(rec, rec_Task, status, REC_TaskStatus_PENDING);
    FL_SET(rec, rec_Task, desired, REC_TaskStatus_RUNNING);
    FL_SET(rec, rec_Task, group, r->group);
    FL_SET(rec, rec_Task, cpu, (int32_t)r->cpu);
    FL_SET(rec, rec_Task, memory, (int32_t)r->memory);
    FL_SET(rec, rec_Task, ports, r->ports);
    FL_SET(rec, rec_Task, createdAt, d->now_ms);
    FL_SET(rec, rec_Task, version, 1);
    FL_SET(rec, rec_Task, tags, task_tags(d, in, definition, cluster->rec->name));
    if (FL_HAS(in, ecs_RunTaskRequest, startedBy))
        FL_SET(rec, rec_Task, startedBy, in->startedBy);
    if (in->overrides)
        FL_SET(rec, rec_Task, overrides, in->overrides);
}

struct fl_definition *fl_find_runnable(struct fl_decision *d, struct fl_str name)
{
    struct fl_definition *definition = fl_find_definition(d, name);
    if (!definition) {
        (void)fl_refuse(d, "ClientException", "TaskDefinition not found.");
        return NULL;
    }
    if (definition->rec->definition->status != ECS_TaskDefinitionStatus_ACTIVE) {
        (void)fl_refuse(d, "ClientException", "TaskDefinition is inactive");
        return NULL;
    }
    return definition;
}

int fl_launch_prepare(struct fl_decision *d, const struct ecs_RunTaskRequest *in,
                      struct fl_cluster *cluster, struct fl_launch *ret_launch)
{
    struct fl_definition *definition = fl_find_runnable(d, in->taskDefinition);
    if (!definition || fl_launch_prepare_for(d, in, cluster, definition, ret_launch) < 0)
        return -1;
    if (cluster->active_instances == 0)
        return fl_refuse(d, "InvalidParameterException",
                         "No Container Instances were found in your cluster.");
    return 0;
}

int fl_launch_prepare_for(struct fl_decision *d, const struct ecs_RunTaskRequest *in,
                          struct fl_cluster *cluster, struct fl_definition *definition,
                          struct fl_launch *ret_launch)
{
    struct fl_placement *placement = &ret_launch->placement;
    const struct ecs_TaskDefinition *def = definition->rec->definition;
    *ret_launch = (struct fl_launch){.cluster = cluster, .definition = definition};
    if (check_supported(d, in, def) < 0 || check_network(d, in, def) < 0 ||
        check_overrides(d, in->overrides, def) < 0 ||
        fl_placement_prepare(d, cluster, def, &in->placementConstraints, &in->placementStrategy,
                             placement) < 0)
        return -1;
    fl_launch_require(d, in, definition, &placement->requirement);
    fill_record(d, in, cluster, definition, &placement->requirement, &ret_launch->rec);
    return 0;
}

void fl_launch_require(struct fl_decision *d, const struct ecs_RunTaskRequest *in,
                       const struct fl_definition *definition, struct fl_requirement *requirement)
{
    requirement->group =
        in->group.n ? in->group
                    : fl_str_printf(d->arena, "family:%.*s", FL_STR_ARG(definition->family));
    derive_requirement(d, in, definition->rec->definition, requirement);
}

struct fl_task *fl_launch_on(struct fl_decision *d, struct fl_launch *launch,
                             const struct fl_instance *instance)
{
    struct rec_Task *rec = &launch->rec;
    FL_SET(rec, rec_Task, id, fl_new_id(d));
    FL_SET(rec, rec_Task, instance, instance->rec->id);
    make_containers(d, launch->definition->rec->definition, instance, rec);
    fl_put(d, FL_RECORD_TASK, rec);
    struct fl_task *task = fl_state_task(launch->cluster, rec->id);
    fl_send_task(d, task);
    return task;
}
