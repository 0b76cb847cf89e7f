/* What a definition needs of an instance: requiresAttributes and compatibilities, derived when it
 * is registered. A feature that no agent of ours has keeps a task off our instances by its
 * attribute, so that nothing is silently ignored. */
#include "core/decide.h"

#define OLD_PREFIX "com.amazonaws.ecs.capability."
#define NEW_PREFIX "ecs.capability."

enum { MAX_ATTRIBUTES = 64 };

static void need(struct ecs_Attribute_list *list, struct fl_str name)
{
    for (size_t i = 0; i < list->n; i++)
        if (fl_str_eq(list->items[i].name, name))
            return;
    if (list->n == MAX_ATTRIBUTES)
        return; /* only volume drivers are without number, and none of them is ours */
    FL_SET(&list->items[list->n], ecs_Attribute, name, name);
    list->n++;
}

static void need_for_log(struct fl_decision *d, const struct ecs_TaskDefinition *def,
                         const struct ecs_LogConfiguration *log, struct ecs_Attribute_list *list)
{
    const char *driver = fl_enum_text(&ecs_enum_LogDriver, (int)log->logDriver);
    need(list, fl_str_printf(d->arena, OLD_PREFIX "logging-driver.%s", driver));
    need(list, log->logDriver == ECS_LogDriver_awslogs
                   ? FL_STR(OLD_PREFIX "docker-remote-api.1.19")
                   : FL_STR(OLD_PREFIX "docker-remote-api.1.18"));
    if (log->logDriver == ECS_LogDriver_awslogs &&
        FL_HAS(def, ecs_TaskDefinition, executionRoleArn))
        need(list, FL_STR(NEW_PREFIX "execution-role-awslogs"));
    if (log->secretOptions.n)
        need(list, FL_STR(NEW_PREFIX "secrets.ssm.bootstrap.log-driver"));
}

static void need_for_security_options(const struct ecs_ContainerDefinition *c,
                                      struct ecs_Attribute_list *list)
{
    for (size_t i = 0; i < c->dockerSecurityOptions.n; i++) {
        struct fl_str option = c->dockerSecurityOptions.items[i];
        if (fl_str_starts(option, FL_STR("apparmor")))
            need(list, FL_STR(OLD_PREFIX "apparmor"));
        if (fl_str_starts(option, FL_STR("label")))
            need(list, FL_STR(OLD_PREFIX "selinux"));
        if (fl_str_starts(option, FL_STR("credentialspec")))
            need(list, FL_STR(NEW_PREFIX "gmsa"));
    }
}

static void need_for_container(struct fl_decision *d, const struct ecs_TaskDefinition *def,
                               const struct ecs_ContainerDefinition *c,
                               struct ecs_Attribute_list *list)
{
    if (FL_HAS(c, ecs_ContainerDefinition, memoryReservation))
        need(list, FL_STR(OLD_PREFIX "docker-remote-api.1.21"));
    if (c->privileged)
        need(list, FL_STR(OLD_PREFIX "privileged-container"));
    if (c->logConfiguration)
        need_for_log(d, def, c->logConfiguration, list);
    if (c->dependsOn.n || FL_HAS(c, ecs_ContainerDefinition, startTimeout))
        need(list, FL_STR(NEW_PREFIX "container-ordering"));
    if (c->healthCheck)
        need(list, FL_STR(NEW_PREFIX "container-health-check"));
    if (c->restartPolicy)
        need(list, FL_STR(NEW_PREFIX "container-restart-policy"));
    if (c->environmentFiles.n)
        need(list, FL_STR(NEW_PREFIX "env-files.s3"));
    if (c->firelensConfiguration)
        need(list, c->firelensConfiguration->type == ECS_FirelensConfigurationType_fluentd
                       ? FL_STR(NEW_PREFIX "firelens.fluentd")
                       : FL_STR(NEW_PREFIX "firelens.fluentbit"));
    if (c->repositoryCredentials)
        need(list, FL_STR(NEW_PREFIX "private-registry-authentication.secretsmanager"));
    need_for_security_options(c, list);
    for (size_t i = 0; i < c->secrets.n; i++)
        need(list, fl_str_contains(c->secrets.items[i].valueFrom, FL_STR(":secretsmanager:"))
                       ? FL_STR(NEW_PREFIX "secrets.asm.environment-variables")
                       : FL_STR(NEW_PREFIX "secrets.ssm.environment-variables"));
    for (size_t i = 0; i < c->portMappings.n; i++)
        if (FL_HAS(&c->portMappings.items[i], ecs_PortMapping, containerPortRange))
            need(list, FL_STR(NEW_PREFIX "network.container-port-range"));
}

static void need_for_volumes(struct fl_decision *d, const struct ecs_TaskDefinition *def,
                             struct ecs_Attribute_list *list)
{
    for (size_t i = 0; i < def->volumes.n; i++) {
        const struct ecs_Volume *volume = &def->volumes.items[i];
        if (volume->efsVolumeConfiguration)
            need(list, FL_STR(NEW_PREFIX "efs"));
        if (volume->s3filesVolumeConfiguration)
            need(list, FL_STR(NEW_PREFIX "storage.s3-files"));
        if (volume->fsxWindowsFileServerVolumeConfiguration)
            need(list, FL_STR(NEW_PREFIX "fsxWindowsFileServer"));
        if (volume->configuredAtLaunch)
            need(list, FL_STR(NEW_PREFIX "storage.ebs-task-volume-attach"));
        if (volume->dockerVolumeConfiguration) {
            struct fl_str driver = volume->dockerVolumeConfiguration->driver;
            need(list, fl_str_printf(d->arena, NEW_PREFIX "docker-plugin.%.*s",
                                     FL_STR_ARG(driver.n ? driver : FL_STR("local"))));
        }
    }
}

static void derive_compatibilities(struct fl_decision *d, struct ecs_TaskDefinition *def)
{
    struct ecs_Compatibility_list list = {0};
    bool is_awsvpc =
        FL_HAS(def, ecs_TaskDefinition, networkMode) && def->networkMode == ECS_NetworkMode_awsvpc;
    list.items = fl_arena_new_array(d->arena, enum ecs_Compatibility, 3);
    if (!is_awsvpc)
        list.items[list.n++] = ECS_Compatibility_EXTERNAL;
    list.items[list.n++] = ECS_Compatibility_EC2;
    for (size_t i = 0; i < def->requiresCompatibilities.n; i++)
        if (def->requiresCompatibilities.items[i] == ECS_Compatibility_FARGATE) {
            list.items[list.n++] = ECS_Compatibility_FARGATE;
            break;
        }
    FL_SET(def, ecs_TaskDefinition, compatibilities, list);
}

static void need_value(struct ecs_Attribute_list *list, struct fl_str name, struct fl_str value)
{
    need(list, name);
    FL_SET(&list->items[list->n - 1], ecs_Attribute, value, value);
}

/* Every agent tells its system and architecture, so that a task for another one stays away. */
static void need_for_platform(const struct ecs_RuntimePlatform *platform,
                              struct ecs_Attribute_list *list)
{
    if (FL_HAS(platform, ecs_RuntimePlatform, cpuArchitecture))
        need_value(list, FL_STR("ecs.cpu-architecture"),
                   platform->cpuArchitecture == ECS_CPUArchitecture_ARM64 ? FL_STR("arm64")
                                                                          : FL_STR("x86_64"));
    if (FL_HAS(platform, ecs_RuntimePlatform, operatingSystemFamily))
        need_value(list, FL_STR("ecs.os-type"),
                   platform->operatingSystemFamily == ECS_OSFamily_LINUX ? FL_STR("linux")
                                                                         : FL_STR("windows"));
}

void fl_derive_attributes(struct fl_decision *d, struct ecs_TaskDefinition *def)
{
    struct ecs_Attribute_list list = {0};
    list.items = fl_arena_new_array(d->arena, struct ecs_Attribute, MAX_ATTRIBUTES);
    if (FL_HAS(def, ecs_TaskDefinition, networkMode) &&
        def->networkMode == ECS_NetworkMode_awsvpc) {
        need(&list, FL_STR(NEW_PREFIX "task-eni"));
        need(&list, FL_STR(OLD_PREFIX "docker-remote-api.1.18"));
    }
    if (def->runtimePlatform)
        need_for_platform(def->runtimePlatform, &list);
    if (FL_HAS(def, ecs_TaskDefinition, taskRoleArn)) {
        need(&list, FL_STR(OLD_PREFIX "task-iam-role"));
        need(&list, FL_STR(OLD_PREFIX "docker-remote-api.1.17"));
    }
    if (FL_HAS(def, ecs_TaskDefinition, cpu) || FL_HAS(def, ecs_TaskDefinition, memory))
        need(&list, FL_STR(NEW_PREFIX "task-cpu-mem-limit"));
    if (FL_HAS(def, ecs_TaskDefinition, pidMode) || FL_HAS(def, ecs_TaskDefinition, ipcMode))
        need(&list, FL_STR(NEW_PREFIX "pid-ipc-namespace-sharing"));
    if (FL_HAS(def, ecs_TaskDefinition, proxyConfiguration))
        need(&list, FL_STR(NEW_PREFIX "aws-appmesh"));
    if (def->enableFaultInjection)
        need(&list, FL_STR(NEW_PREFIX "fault-injection"));
    for (size_t i = 0; i < def->containerDefinitions.n; i++)
        need_for_container(d, def, &def->containerDefinitions.items[i], &list);
    need_for_volumes(d, def, &list);
    FL_SET(def, ecs_TaskDefinition, requiresAttributes, list);
    derive_compatibilities(d, def);
}
