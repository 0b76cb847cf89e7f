/* What RegisterTaskDefinition refuses about one container, in ECS's words where they are known. */
#include "core/definition_check.h"
#include "core/gpu.h"
#include "wire/arn.h"

enum {
    MIN_MEMORY_MIB = 4,
    MAX_STOP_TIMEOUT_S = 24 * 60 * 60,
    MAX_ENVIRONMENT_FILES = 10,
    MAX_PARAMETER = 2048,
    MAX_ITEMS = 600, /* what overrides add must still fit what an agent takes */
};

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
    if (has_memory && has_reservation && c->memory < c->memoryReservation)
        return fl_refuse(d, "ClientException",
                         "Invalid setting for container '%.*s'. 'memory' must be greater than or "
                         "equal to 'memoryReservation'.",
                         FL_STR_ARG(c->name));
    if (c->cpu < 0)
        return fl_refuse(d, "ClientException",
                         "Invalid setting for container '%.*s'. The 'cpu' must not be negative.",
                         FL_STR_ARG(c->name));
    return 0;
}

static int check_number(struct fl_decision *d, const struct ecs_ContainerDefinition *c,
                        const char *member, bool is_given, int32_t value, int32_t min, int32_t max)
{
    if (!is_given || (value >= min && value <= max))
        return 0;
    return fl_refuse(d, "ClientException",
                     "Invalid setting for container '%.*s'. The '%s' must be between %d and %d.",
                     FL_STR_ARG(c->name), member, min, max);
}

/* The options that are missing, in the order in which ECS names them. */
static int check_log(struct fl_decision *d, const struct ecs_ContainerDefinition *c)
{
    const struct ecs_LogConfiguration *log = c->logConfiguration;
    if (!log)
        return 0;
    bool is_awslogs = log->logDriver == ECS_LogDriver_awslogs;
    bool has_region = fl_log_option(&log->options, "awslogs-region").n > 0;
    bool has_group = fl_log_option(&log->options, "awslogs-group").n > 0;
    if (is_awslogs && (!has_region || !has_group))
        return fl_refuse(d, "ClientException", "Log driver awslogs requires options: %s%s%s",
                         has_region ? "" : "awslogs-region", has_region || has_group ? "" : ", ",
                         has_group ? "" : "awslogs-group");
    struct fl_str mode = fl_log_option(&log->options, "mode");
    if (mode.n && !fl_str_is(mode, "blocking") && !fl_str_is(mode, "non-blocking"))
        return fl_refuse(d, "ClientException",
                         "The log option mode of container '%.*s' should be one of "
                         "[blocking,non-blocking]",
                         FL_STR_ARG(c->name));
    return 0;
}

static int check_mounts(struct fl_decision *d, const struct ecs_RegisterTaskDefinitionRequest *in,
                        const struct ecs_ContainerDefinition *c)
{
    for (size_t i = 0; i < c->mountPoints.n; i++) {
        const struct ecs_MountPoint *mount = &c->mountPoints.items[i];
        bool known = false;
        for (size_t k = 0; k < in->volumes.n; k++)
            known |= fl_str_eq(in->volumes.items[k].name, mount->sourceVolume);
        if (!known)
            return fl_refuse(d, "ClientException", "Unknown volume '%.*s'.",
                             FL_STR_ARG(mount->sourceVolume));
        if (mount->containerPath.n == 0)
            return fl_refuse(d, "ClientException",
                             "Container.mountPoints.containerPath should not be null or empty.");
        for (size_t k = 0; k < i; k++)
            if (fl_str_eq(c->mountPoints.items[k].containerPath, mount->containerPath))
                return fl_refuse(d, "ClientException",
                                 "Container '%.*s' has more than one mount point at '%.*s'.",
                                 FL_STR_ARG(c->name), FL_STR_ARG(mount->containerPath));
    }
    return 0;
}

static int check_ulimits(struct fl_decision *d, const struct ecs_ContainerDefinition *c)
{
    for (size_t i = 0; i < c->ulimits.n; i++) {
        const struct ecs_Ulimit *u = &c->ulimits.items[i];
        const char *name = fl_enum_text(&ecs_enum_UlimitName, (int)u->name);
        bool is_above = u->hardLimit != -1 && (u->softLimit == -1 || u->softLimit > u->hardLimit);
        if (is_above)
            return fl_refuse(d, "ClientException", "Soft limit exceeds hard limit for ulimit %s",
                             name);
        for (size_t k = 0; k < i; k++)
            if (c->ulimits.items[k].name == u->name)
                return fl_refuse(d, "ClientException", "Duplicate ulimit %s.", name);
    }
    return 0;
}

static bool is_capability(struct fl_str name)
{
    static const char *const known[] = {
        "ALL",        "AUDIT_CONTROL",   "AUDIT_WRITE",      "BLOCK_SUSPEND",
        "CHOWN",      "DAC_OVERRIDE",    "DAC_READ_SEARCH",  "FOWNER",
        "FSETID",     "IPC_LOCK",        "IPC_OWNER",        "KILL",
        "LEASE",      "LINUX_IMMUTABLE", "MAC_ADMIN",        "MAC_OVERRIDE",
        "MKNOD",      "NET_ADMIN",       "NET_BIND_SERVICE", "NET_BROADCAST",
        "NET_RAW",    "SETFCAP",         "SETGID",           "SETPCAP",
        "SETUID",     "SYS_ADMIN",       "SYS_BOOT",         "SYS_CHROOT",
        "SYS_MODULE", "SYS_NICE",        "SYS_PACCT",        "SYS_PTRACE",
        "SYS_RAWIO",  "SYS_RESOURCE",    "SYS_TIME",         "SYS_TTY_CONFIG",
        "SYSLOG",     "WAKE_ALARM",
    };
    for (size_t i = 0; i < FL_ARRAY_SIZE(known); i++)
        if (fl_str_is(name, known[i]))
            return true;
    return false;
}

static int check_capabilities(struct fl_decision *d, const struct ecs_ContainerDefinition *c)
{
    const struct ecs_KernelCapabilities *caps =
        c->linuxParameters ? c->linuxParameters->capabilities : NULL;
    if (!caps)
        return 0;
    const struct fl_str_list *lists[] = {&caps->add, &caps->drop};
    for (size_t l = 0; l < FL_ARRAY_SIZE(lists); l++)
        for (size_t i = 0; i < lists[l]->n; i++)
            if (!is_capability(lists[l]->items[i]))
                return fl_refuse(d, "ClientException", "'%.*s' is not a valid Linux capability.",
                                 (int)FL_MIN(lists[l]->items[i].n, (size_t)100),
                                 lists[l]->items[i].p);
    return 0;
}

static int check_secret_names(struct fl_decision *d, const struct ecs_ContainerDefinition *c,
                              size_t index)
{
    struct fl_str name = c->secrets.items[index].name;
    bool is_shared = false;
    for (size_t i = 0; i < index; i++)
        is_shared |= fl_str_eq(c->secrets.items[i].name, name);
    for (size_t i = 0; i < c->environment.n; i++)
        is_shared |= fl_str_eq(c->environment.items[i].name, name);
    if (is_shared)
        return fl_refuse(d, "ClientException",
                         "The secret name must be unique and not shared with any new or existing "
                         "environment variables set on the container, such as '%.*s'.",
                         FL_STR_ARG(name));
    return 0;
}

/* An ARN of a secret or a parameter, or a parameter's name. */
static bool is_source(struct fl_str text)
{
    struct fl_arn arn;
    if (fl_str_starts(text, FL_STR("arn:")))
        return fl_arn_parse(text, &arn) &&
               (fl_str_is(arn.service, "secretsmanager") || fl_str_is(arn.service, "ssm"));
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              (c && strchr("_.-/", c))))
            return false;
    }
    return text.n <= MAX_PARAMETER;
}

static int check_secret_list(struct fl_decision *d, const struct ecs_ContainerDefinition *c,
                             const struct ecs_Secret_list *list)
{
    for (size_t i = 0; i < list->n; i++)
        if (!is_source(list->items[i].valueFrom))
            return fl_refuse(d, "ClientException",
                             "The Systems Manager parameter name specified for secret %.*s is "
                             "invalid. The parameter name can be up to 2048 characters and include "
                             "the following letters and symbols: a-zA-Z0-9_.-,",
                             FL_STR_ARG(list->items[i].name));
    for (size_t i = 0; i < list->n; i++)
        if (list->items[i].name.n == 0 || list->items[i].valueFrom.n == 0)
            return fl_refuse(d, "ClientException",
                             "Invalid setting for container '%.*s'. A secret's 'name' and "
                             "'valueFrom' should not be empty.",
                             FL_STR_ARG(c->name));
    return 0;
}

static int check_secrets(struct fl_decision *d, const struct ecs_RegisterTaskDefinitionRequest *in,
                         const struct ecs_ContainerDefinition *c)
{
    static const struct ecs_Secret_list none;
    const struct ecs_Secret_list *options =
        c->logConfiguration ? &c->logConfiguration->secretOptions : &none;
    if (check_secret_list(d, c, &c->secrets) < 0 || check_secret_list(d, c, options) < 0)
        return -1;
    for (size_t i = 0; i < c->secrets.n; i++)
        if (check_secret_names(d, c, i) < 0)
            return -1;
    if ((c->secrets.n || options->n) && in->executionRoleArn.n == 0)
        return fl_refuse(d, "ClientException",
                         "When you are specifying container secrets, you must also specify a value "
                         "for 'executionRoleArn'.");
    return 0;
}

static int check_registry_secret(struct fl_decision *d,
                                 const struct ecs_RegisterTaskDefinitionRequest *in,
                                 const struct ecs_ContainerDefinition *c)
{
    if (!c->repositoryCredentials)
        return 0;
    if (c->repositoryCredentials->credentialsParameter.n == 0)
        return fl_refuse(d, "ClientException",
                         "Invalid setting for container '%.*s'. 'credentialsParameter' should not "
                         "be empty.",
                         FL_STR_ARG(c->name));
    if (in->executionRoleArn.n == 0)
        return fl_refuse(d, "ClientException",
                         "Private repository authentication requires that the task definition "
                         "specify a value for executionRoleArn.");
    return 0;
}

static int check_environment_files(struct fl_decision *d, const struct ecs_ContainerDefinition *c)
{
    if (c->environmentFiles.n > MAX_ENVIRONMENT_FILES)
        return fl_refuse(d, "ClientException",
                         "The maximum number of environment files was exceeded. Specify ten or "
                         "less and try again.");
    for (size_t i = 0; i < c->environmentFiles.n; i++)
        if (!fl_str_starts(c->environmentFiles.items[i].value, FL_STR("arn:")))
            return fl_refuse(d, "ClientException", "Invalid arn syntax.");
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
        {"secrets",
         c->secrets.n + (c->logConfiguration ? c->logConfiguration->secretOptions.n : 0)},
        {"log options", c->logConfiguration ? c->logConfiguration->options.n : 0},
    };
    for (size_t i = 0; i < FL_ARRAY_SIZE(lists); i++)
        if (lists[i].n > MAX_ITEMS)
            return fl_refuse(d, "ClientException", "Container '%.*s' has more than %d items of %s.",
                             FL_STR_ARG(c->name), MAX_ITEMS, lists[i].member);
    return 0;
}

int fl_check_container(struct fl_decision *d, const struct ecs_RegisterTaskDefinitionRequest *in,
                       size_t index)
{
    const struct ecs_ContainerDefinition *c = &in->containerDefinitions.items[index];
    if (check_text(d, "name", c->name, fl_is_definition_name(c->name)) < 0 ||
        check_text(d, "image", c->image, is_image(c->image)) < 0)
        return -1;
    if (fl_container_index(in, c->name) != (ptrdiff_t)index)
        return fl_refuse(d, "ClientException",
                         "Container names must be unique within a task definition: '%.*s' occurs "
                         "twice.",
                         FL_STR_ARG(c->name));
    if (check_number(d, c, "stopTimeout", FL_HAS(c, ecs_ContainerDefinition, stopTimeout),
                     c->stopTimeout, 0, MAX_STOP_TIMEOUT_S) < 0)
        return -1;
    if (check_memory(d, in, c) < 0 || check_log(d, c) < 0 || check_lists(d, c) < 0 ||
        check_ulimits(d, c) < 0)
        return -1;
    if (check_capabilities(d, c) < 0 || fl_check_linux(d, in, c) < 0 ||
        check_secrets(d, in, c) < 0 || check_registry_secret(d, in, c) < 0 ||
        check_environment_files(d, c) < 0)
        return -1;
    if (fl_gpu_check(d, "ClientException", c->name, &c->resourceRequirements) < 0)
        return -1;
    return check_mounts(d, in, c);
}
