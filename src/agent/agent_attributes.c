/* What this host can do, in the names that ECS schedulers match. Only what is really fulfilled. */
#include "agent/agent_attributes.h"

#include <unistd.h>

#include "agent/bundle.h"
#include "agent/config_host.h"

static const char *const names[] = {
    "com.amazonaws.ecs.capability.docker-remote-api.1.17",
    "com.amazonaws.ecs.capability.docker-remote-api.1.18",
    "com.amazonaws.ecs.capability.docker-remote-api.1.19",
    "com.amazonaws.ecs.capability.docker-remote-api.1.20",
    "com.amazonaws.ecs.capability.docker-remote-api.1.21",
    "com.amazonaws.ecs.capability.docker-remote-api.1.22",
    "com.amazonaws.ecs.capability.docker-remote-api.1.23",
    "com.amazonaws.ecs.capability.docker-remote-api.1.24",
    "com.amazonaws.ecs.capability.docker-remote-api.1.25",
    "com.amazonaws.ecs.capability.docker-remote-api.1.26",
    "com.amazonaws.ecs.capability.docker-remote-api.1.27",
    "com.amazonaws.ecs.capability.docker-remote-api.1.28",
    "com.amazonaws.ecs.capability.docker-remote-api.1.29",
    "com.amazonaws.ecs.capability.docker-remote-api.1.30",
    "com.amazonaws.ecs.capability.docker-remote-api.1.31",
    "com.amazonaws.ecs.capability.docker-remote-api.1.32",
    "com.amazonaws.ecs.capability.docker-remote-api.1.33",
    "com.amazonaws.ecs.capability.docker-remote-api.1.34",
    "com.amazonaws.ecs.capability.docker-remote-api.1.35",
    "com.amazonaws.ecs.capability.ecr-auth",
    "ecs.capability.execution-role-ecr-pull",
    "ecs.capability.task-cpu-mem-limit",
    "ecs.capability.full-sync",
    "ecs.capability.execution-role-awslogs",
    "ecs.capability.container-ordering",
    "ecs.capability.container-health-check",
    "ecs.capability.container-restart-policy",
    "ecs.capability.docker-plugin.local",
    "ecs.capability.pid-ipc-namespace-sharing",
    "ecs.capability.network.container-port-range",
};

/* Where values can be kept in memory alone. */
static const char *const secret_names[] = {
    "ecs.capability.private-registry-authentication.secretsmanager",
    "ecs.capability.secrets.asm.environment-variables",
    "ecs.capability.secrets.ssm.environment-variables",
    "ecs.capability.secrets.asm.bootstrap.log-driver",
    "ecs.capability.secrets.ssm.bootstrap.log-driver",
};

/* Logging drivers that this agent has; "none" writes nothing and needs no capability. */
static const char *const drivers[] = {"awslogs", "fluentd", "journald", "json-file", "syslog"};

bool fl_agent_has_logging_driver(struct fl_str driver)
{
    for (size_t i = 0; i < FL_ARRAY_SIZE(drivers); i++)
        if (fl_str_is(driver, drivers[i]))
            return true;
    return fl_str_is(driver, "none");
}

/* A host without a journal has nothing to log to. */
static bool offers_driver(const struct fl_ecs_settings *ecs, const char *driver)
{
    if (strcmp(driver, "journald") == 0 && access("/run/systemd/journal/socket", F_OK) < 0)
        return false;
    for (size_t i = 0; i < ecs->logging_drivers.n; i++)
        if (fl_str_is(ecs->logging_drivers.items[i], driver))
            return true;
    return false;
}

/* Those that settings or the host decide on. */
enum { OPTIONAL = 5 };

struct fl_key_value *fl_agent_capabilities(const struct fl_agent_config *config,
                                           struct fl_arena *arena, size_t *ret_count)
{
    const struct fl_key_value valued[] = {
        {FL_STR("fairlead.protocol"), FL_STR("1")},
        {FL_STR("ecs.os-type"), FL_STR("linux")},
        {FL_STR("ecs.os-family"), FL_STR("LINUX")},
        {FL_STR("ecs.cpu-architecture"), fl_config_cpu_architecture(arena)},
    };
    size_t most = FL_ARRAY_SIZE(names) + FL_ARRAY_SIZE(drivers) + OPTIONAL + FL_ARRAY_SIZE(valued) +
                  FL_ARRAY_SIZE(secret_names);
    struct fl_key_value *list = fl_arena_new_array(arena, struct fl_key_value, most);
    size_t n = 0;
    if (config->ecs.task_role)
        list[n++].key = FL_STR("com.amazonaws.ecs.capability.task-iam-role");
    if (config->ecs.task_role_host)
        list[n++].key = FL_STR("com.amazonaws.ecs.capability.task-iam-role-network-host");
    if (config->ecs.apparmor && fl_bundle_has_apparmor())
        list[n++].key = FL_STR("com.amazonaws.ecs.capability.apparmor");
    if (config->ecs.selinux && fl_bundle_has_selinux())
        list[n++].key = FL_STR("com.amazonaws.ecs.capability.selinux");
    if (!config->ecs.disable_privileged)
        list[n++].key = FL_STR("com.amazonaws.ecs.capability.privileged-container");
    for (size_t i = 0; i < FL_ARRAY_SIZE(names); i++)
        list[n++].key = fl_str_of(names[i]);
    for (size_t i = 0; fl_runtime_has_memory() && i < FL_ARRAY_SIZE(secret_names); i++)
        list[n++].key = fl_str_of(secret_names[i]);
    for (size_t i = 0; i < FL_ARRAY_SIZE(drivers); i++)
        if (offers_driver(&config->ecs, drivers[i]))
            list[n++].key =
                fl_str_printf(arena, "com.amazonaws.ecs.capability.logging-driver.%s", drivers[i]);
    for (size_t i = 0; i < FL_ARRAY_SIZE(valued); i++)
        list[n++] = valued[i];
    *ret_count = n;
    return list;
}

static struct fl_key_value split(struct fl_str text)
{
    ptrdiff_t sign = fl_str_index(text, '=');
    if (sign < 0)
        return (struct fl_key_value){.key = text};
    return (struct fl_key_value){fl_str_sub(text, 0, (size_t)sign),
                                 fl_str_from(text, (size_t)sign + 1)};
}

static bool has_name(const struct fl_key_value *list, size_t count, struct fl_str name)
{
    for (size_t i = 0; i < count; i++)
        if (fl_str_eq(list[i].key, name))
            return true;
    return false;
}

struct fl_key_value *fl_agent_custom_attributes(const struct fl_agent_config *config,
                                                struct fl_arena *arena, size_t *ret_count)
{
    const struct fl_key_value named[] = {
        {FL_STR("ecs.availability-zone"), config->zone},
        {FL_STR("ecs.instance-type"), config->instance_type},
        {FL_STR("fairlead.name"), config->name},
    };
    size_t count = 0, most = FL_ARRAY_SIZE(named) + config->attribute_count +
                             config->ecs.instance_attributes.n;
    struct fl_key_value *list = fl_arena_new_array(arena, struct fl_key_value, most);
    for (size_t i = 0; i < FL_ARRAY_SIZE(named); i++)
        if (named[i].value.n > 0)
            list[count++] = named[i];
    for (size_t i = 0; i < config->attribute_count; i++)
        list[count++] = split(config->attributes[i]);
    for (size_t i = 0; i < config->ecs.instance_attributes.n; i++)
        if (!has_name(list, count, config->ecs.instance_attributes.items[i].key))
            list[count++] = config->ecs.instance_attributes.items[i];
    *ret_count = count;
    return list;
}
