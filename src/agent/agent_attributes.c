/* What this host can do, in the names that ECS schedulers match. Only what is really fulfilled. */
#include "agent/agent_attributes.h"

#include "agent/config_host.h"

static const char *const names[] = {
    "com.amazonaws.ecs.capability.privileged-container",
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
    "com.amazonaws.ecs.capability.logging-driver.awslogs",
    "com.amazonaws.ecs.capability.logging-driver.json-file",
    "ecs.capability.task-cpu-mem-limit",
    "ecs.capability.full-sync",
    "ecs.capability.execution-role-awslogs",
    "ecs.capability.container-ordering",
    "ecs.capability.container-health-check",
    "ecs.capability.container-restart-policy",
};

struct fl_key_value *fl_agent_capabilities(struct fl_arena *arena, size_t *ret_count)
{
    const struct fl_key_value valued[] = {
        {FL_STR("fairlead.protocol"), FL_STR("1")},
        {FL_STR("ecs.os-type"), FL_STR("linux")},
        {FL_STR("ecs.os-family"), FL_STR("LINUX")},
        {FL_STR("ecs.cpu-architecture"), fl_config_cpu_architecture(arena)},
    };
    size_t count = FL_ARRAY_SIZE(names) + FL_ARRAY_SIZE(valued);
    struct fl_key_value *list = fl_arena_new_array(arena, struct fl_key_value, count);
    for (size_t i = 0; i < FL_ARRAY_SIZE(names); i++)
        list[i] = (struct fl_key_value){.key = fl_str_of(names[i])};
    for (size_t i = 0; i < FL_ARRAY_SIZE(valued); i++)
        list[FL_ARRAY_SIZE(names) + i] = valued[i];
    *ret_count = count;
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

struct fl_key_value *fl_agent_custom_attributes(const struct fl_agent_config *config,
                                                struct fl_arena *arena, size_t *ret_count)
{
    const struct fl_key_value named[] = {
        {FL_STR("ecs.availability-zone"), config->zone},
        {FL_STR("ecs.instance-type"), config->instance_type},
        {FL_STR("fairlead.name"), config->name},
    };
    size_t count = 0, most = FL_ARRAY_SIZE(named) + config->attribute_count;
    struct fl_key_value *list = fl_arena_new_array(arena, struct fl_key_value, most);
    for (size_t i = 0; i < FL_ARRAY_SIZE(named); i++)
        if (named[i].value.n > 0)
            list[count++] = named[i];
    for (size_t i = 0; i < config->attribute_count; i++)
        list[count++] = split(config->attributes[i]);
    *ret_count = count;
    return list;
}
