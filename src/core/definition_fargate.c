/* What Fargate takes: refused in ECS's words when the definition says that it is for Fargate, and
 * asked silently for `compatibilities` when it does not. */
#include "core/definition_check.h"

enum { MAX_STOP_TIMEOUT_S = 120 };

/* Memory of `first`, first + step, … to `last` MiB. A quarter of a CPU has sizes of its own. */
static const struct size {
    int64_t cpu, first, last, step;
    bool on_windows;
} sizes[] = {
    {256, 512, 512, 1, false},         {256, 1024, 2048, 1024, false},
    {512, 1024, 4096, 1024, false},    {1024, 2048, 8192, 1024, true},
    {2048, 4096, 16384, 1024, true},   {4096, 8192, 30720, 1024, true},
    {8192, 16384, 61440, 4096, false}, {16384, 32768, 122880, 8192, false},
};

static bool is_windows(const struct ecs_RegisterTaskDefinitionRequest *in)
{
    return in->runtimePlatform &&
           FL_HAS(in->runtimePlatform, ecs_RuntimePlatform, operatingSystemFamily) &&
           in->runtimePlatform->operatingSystemFamily != ECS_OSFamily_LINUX;
}

static bool is_size(int64_t cpu, int64_t memory, bool on_windows)
{
    for (size_t i = 0; i < FL_ARRAY_SIZE(sizes); i++)
        if (sizes[i].cpu == cpu && memory >= sizes[i].first && memory <= sizes[i].last &&
            (memory - sizes[i].first) % sizes[i].step == 0 && (sizes[i].on_windows || !on_windows))
            return true;
    return false;
}

static int check_size(struct fl_decision *d, const struct ecs_RegisterTaskDefinitionRequest *in)
{
    int64_t cpu, memory;
    if (!fl_read_cpu(in->cpu, &cpu))
        return fl_refuse(d, "ClientException",
                         "Fargate requires that 'cpu' be defined at the task level.");
    if (!fl_read_memory(in->memory, &memory))
        return fl_refuse(d, "ClientException",
                         "Fargate requires that 'memory' be defined at the task level.");
    if (!is_size(cpu, memory, is_windows(in)))
        return fl_refuse(d, "ClientException",
                         "No Fargate configuration exists for given values: %lld CPU, %lld memory. "
                         "See the Amazon ECS documentation for the valid values.",
                         (long long)cpu, (long long)memory);
    return 0;
}

static int unsupported(struct fl_decision *d, const char *member)
{
    return fl_refuse(d, "ClientException", "Fargate compatible task definitions do not support %s",
                     member);
}

static const char *unsupported_linux(const struct ecs_LinuxParameters *p)
{
    if (p->devices.n)
        return "devices";
    if (FL_HAS(p, ecs_LinuxParameters, sharedMemorySize))
        return "sharedMemorySize";
    if (p->tmpfs.n)
        return "tmpfs";
    if (FL_HAS(p, ecs_LinuxParameters, maxSwap))
        return "maxSwap";
    return FL_HAS(p, ecs_LinuxParameters, swappiness) ? "swappiness" : NULL;
}

static const char *unsupported_member(const struct ecs_ContainerDefinition *c)
{
    if (c->privileged)
        return "privileged";
    if (c->dockerSecurityOptions.n)
        return "dockerSecurityOptions";
    for (size_t i = 0; i < c->resourceRequirements.n; i++)
        if (c->resourceRequirements.items[i].type == ECS_ResourceType_GPU)
            return "gpu";
    return c->linuxParameters ? unsupported_linux(c->linuxParameters) : NULL;
}

static int check_log(struct fl_decision *d, const struct ecs_RegisterTaskDefinitionRequest *in,
                     const struct ecs_LogConfiguration *log)
{
    if (log->logDriver != ECS_LogDriver_awslogs && log->logDriver != ECS_LogDriver_splunk &&
        log->logDriver != ECS_LogDriver_awsfirelens)
        return fl_refuse(d, "ClientException",
                         "%s is not a valid log driver. Must be one of "
                         "[awslogs,splunk,awsfirelens]",
                         fl_enum_text(&ecs_enum_LogDriver, (int)log->logDriver));
    if (log->logDriver != ECS_LogDriver_awslogs)
        return 0;
    if (in->executionRoleArn.n == 0)
        return fl_refuse(d, "ClientException",
                         "Fargate requires task definition to have execution role ARN to support "
                         "log driver awslogs.");
    if (fl_log_option(&log->options, "awslogs-stream-prefix").n == 0)
        return fl_refuse(d, "ClientException",
                         "Log driver awslogs requires options: awslogs-stream-prefix");
    return 0;
}

static int check_container(struct fl_decision *d,
                           const struct ecs_RegisterTaskDefinitionRequest *in,
                           const struct ecs_ContainerDefinition *c)
{
    const char *member = unsupported_member(c);
    const struct ecs_KernelCapabilities *caps =
        c->linuxParameters ? c->linuxParameters->capabilities : NULL;
    if (member)
        return unsupported(d, member);
    for (size_t i = 0; caps && i < caps->add.n; i++)
        if (!fl_str_is(caps->add.items[i], "SYS_PTRACE"))
            return fl_refuse(d, "ClientException", "%.*s is not allowed on Fargate.",
                             FL_STR_ARG(caps->add.items[i]));
    if (c->stopTimeout > MAX_STOP_TIMEOUT_S || c->startTimeout > MAX_STOP_TIMEOUT_S)
        return fl_refuse(d, "ClientException",
                         "Invalid setting for container '%.*s'. On Fargate the '%s' must be at "
                         "most %d.",
                         FL_STR_ARG(c->name),
                         c->stopTimeout > MAX_STOP_TIMEOUT_S ? "stopTimeout" : "startTimeout",
                         MAX_STOP_TIMEOUT_S);
    if (in->executionRoleArn.n == 0 && fl_str_contains(c->image, FL_STR(".dkr.ecr.")))
        return fl_refuse(d, "ClientException",
                         "Fargate requires task definition to have execution role ARN to support "
                         "ECR images.");
    return c->logConfiguration ? check_log(d, in, c->logConfiguration) : 0;
}

static int check_volume(struct fl_decision *d, const struct ecs_Volume *v)
{
    if (v->dockerVolumeConfiguration)
        return unsupported(d, "dockerVolumeConfiguration");
    if (v->host && v->host->sourcePath.n)
        return unsupported(d, "sourcePath");
    return v->fsxWindowsFileServerVolumeConfiguration
               ? unsupported(d, "fsxWindowsFileServerVolumeConfiguration")
               : 0;
}

int fl_check_fargate(struct fl_decision *d, const struct ecs_RegisterTaskDefinitionRequest *in)
{
    if (fl_network_mode(in) != ECS_NetworkMode_awsvpc)
        return fl_refuse(d, "ClientException", "Fargate only supports network mode ‘awsvpc’.");
    if (check_size(d, in) < 0)
        return -1;
    if (FL_HAS(in, ecs_RegisterTaskDefinitionRequest, pidMode) && in->pidMode != ECS_PidMode_task)
        return fl_refuse(d, "ClientException",
                         "Tasks using the Fargate launch type do not support pidMode '%s'. The "
                         "supported value for pidMode is 'task'.",
                         fl_enum_text(&ecs_enum_PidMode, (int)in->pidMode));
    if (FL_HAS(in, ecs_RegisterTaskDefinitionRequest, ipcMode))
        return unsupported(d, "ipcMode");
    if (in->placementConstraints.n)
        return unsupported(d, "constraints");
    for (size_t i = 0; i < in->volumes.n; i++)
        if (check_volume(d, &in->volumes.items[i]) < 0)
            return -1;
    for (size_t i = 0; i < in->containerDefinitions.n; i++)
        if (check_container(d, in, &in->containerDefinitions.items[i]) < 0)
            return -1;
    return 0;
}

/* An instance of one's own can do nothing about a network interface of the task's. */
void fl_derive_compatibilities(struct fl_decision *d,
                               const struct ecs_RegisterTaskDefinitionRequest *in,
                               struct ecs_TaskDefinition *def)
{
    struct ecs_Compatibility_list list = {0};
    list.items = fl_arena_new_array(d->arena, enum ecs_Compatibility, 3);
    if (fl_network_mode(in) != ECS_NetworkMode_awsvpc)
        list.items[list.n++] = ECS_Compatibility_EXTERNAL;
    list.items[list.n++] = ECS_Compatibility_EC2;
    if (fl_check_fargate(d, in) == 0)
        list.items[list.n++] = ECS_Compatibility_FARGATE;
    d->error_code = NULL;
    d->error_text = FL_STR("");
    FL_SET(def, ecs_TaskDefinition, compatibilities, list);
}
