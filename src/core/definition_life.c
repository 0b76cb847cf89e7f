/* What RegisterTaskDefinition says to the members that govern a container's life: dependencies,
 * timeouts, health check, restart policy. Words that the specification does not give are ours. */
#include "core/decide.h"

enum {
    MAX_TIMEOUT_S = 24 * 60 * 60,
    MAX_EXIT_CODES = 50,
    MIN_ATTEMPT_PERIOD_S = 60,
    MAX_ATTEMPT_PERIOD_S = 1800,
    DEFAULT_INTERVAL_S = 30,
    DEFAULT_TIMEOUT_S = 5,
    DEFAULT_RETRIES = 3,
};

static int check_range(struct fl_decision *d, const struct ecs_ContainerDefinition *c,
                       const char *member, bool is_set, int64_t value, int64_t low, int64_t high)
{
    if (!is_set || (value >= low && value <= high))
        return 0;
    return fl_refuse(d, "ClientException",
                     "Invalid setting for container '%.*s'. The '%s' must be between %lld and "
                     "%lld.",
                     FL_STR_ARG(c->name), member, (long long)low, (long long)high);
}

static bool is_health_checked(const struct ecs_ContainerDefinition *c)
{
    return c->healthCheck && c->healthCheck->command.n > 0 &&
           !fl_str_is(c->healthCheck->command.items[0], "NONE");
}

static int check_health(struct fl_decision *d, const struct ecs_ContainerDefinition *c)
{
    const struct ecs_HealthCheck *check = c->healthCheck;
    if (!check)
        return 0;
    struct fl_str kind = check->command.n ? check->command.items[0] : FL_STR("");
    bool is_none = fl_str_is(kind, "NONE") && check->command.n == 1;
    bool is_command = fl_str_is(kind, "CMD") || fl_str_is(kind, "CMD-SHELL");
    if (!is_none && (!is_command || check->command.n < 2))
        return fl_refuse(d, "ClientException",
                         "Invalid setting for container '%.*s'. The 'healthCheck.command' must "
                         "start with CMD or CMD-SHELL, followed by a command.",
                         FL_STR_ARG(c->name));
#define IN_RANGE(member, low, high)                                                                \
    check_range(d, c, "healthCheck." #member, FL_HAS(check, ecs_HealthCheck, member),              \
                check->member, low, high)
    if (IN_RANGE(interval, 5, 300) < 0 || IN_RANGE(timeout, 2, 60) < 0 ||
        IN_RANGE(retries, 1, 10) < 0 || IN_RANGE(startPeriod, 0, 300) < 0)
        return -1;
#undef IN_RANGE
    return 0;
}

static int check_restart(struct fl_decision *d, const struct ecs_ContainerDefinition *c)
{
    const struct ecs_ContainerRestartPolicy *policy = c->restartPolicy;
    if (!policy)
        return 0;
    if (policy->ignoredExitCodes.n > MAX_EXIT_CODES)
        return fl_refuse(d, "ClientException",
                         "Invalid setting for container '%.*s'. At most %d "
                         "'restartPolicy.ignoredExitCodes' are allowed.",
                         FL_STR_ARG(c->name), MAX_EXIT_CODES);
    if (FL_HAS(policy, ecs_ContainerRestartPolicy, restartAttemptPeriod) &&
        (policy->restartAttemptPeriod < MIN_ATTEMPT_PERIOD_S ||
         policy->restartAttemptPeriod > MAX_ATTEMPT_PERIOD_S))
        return fl_refuse(d, "ClientException",
                         "The 'restartAttemptPeriod' setting for container '%.*s' must be between "
                         "%d and %d.",
                         FL_STR_ARG(c->name), MIN_ATTEMPT_PERIOD_S, MAX_ATTEMPT_PERIOD_S);
    return 0;
}

static const struct ecs_ContainerDefinition *
find_container(const struct ecs_RegisterTaskDefinitionRequest *in, struct fl_str name)
{
    for (size_t i = 0; i < in->containerDefinitions.n; i++)
        if (fl_str_eq(in->containerDefinitions.items[i].name, name))
            return &in->containerDefinitions.items[i];
    return NULL;
}

static int check_dependency(struct fl_decision *d,
                            const struct ecs_RegisterTaskDefinitionRequest *in,
                            const struct ecs_ContainerDependency *dependency)
{
    const struct ecs_ContainerDefinition *on = find_container(in, dependency->containerName);
    if (!on)
        return fl_refuse(d, "ClientException",
                         "Cannot depend on container + '%.*s' because it does not exist",
                         FL_STR_ARG(dependency->containerName));
    bool is_essential = !FL_HAS(on, ecs_ContainerDefinition, essential) || on->essential;
    bool must_end = dependency->condition == ECS_ContainerCondition_SUCCESS ||
                    dependency->condition == ECS_ContainerCondition_COMPLETE;
    if (must_end && is_essential)
        return fl_refuse(d, "ClientException",
                         "A dependency container with SUCCESS or COMPLETE condition cannot be an "
                         "essential container");
    if (dependency->condition == ECS_ContainerCondition_HEALTHY && !is_health_checked(on))
        return fl_refuse(d, "ClientException",
                         "A dependency container with HEALTHY condition must have health check "
                         "configured");
    return 0;
}

/* A chain of dependencies longer than the list of containers has come around. Chains are few: no
 * container is named twice by one. */
static bool comes_around(const struct ecs_RegisterTaskDefinitionRequest *in,
                         const struct ecs_ContainerDefinition *c, size_t left)
{
    if (left == 0)
        return true;
    for (size_t i = 0; i < c->dependsOn.n; i++)
        if (comes_around(in, find_container(in, c->dependsOn.items[i].containerName), left - 1))
            return true;
    return false;
}

static int check_dependencies(struct fl_decision *d,
                              const struct ecs_RegisterTaskDefinitionRequest *in,
                              const struct ecs_ContainerDefinition *c)
{
    if (c->dependsOn.n > in->containerDefinitions.n)
        return fl_refuse(d, "ClientException",
                         "Container '%.*s' depends on more containers than there are.",
                         FL_STR_ARG(c->name));
    for (size_t i = 0; i < c->dependsOn.n; i++) {
        if (check_dependency(d, in, &c->dependsOn.items[i]) < 0)
            return -1;
        for (size_t k = 0; k < i; k++)
            if (fl_str_eq(c->dependsOn.items[k].containerName, c->dependsOn.items[i].containerName))
                return fl_refuse(
                    d, "ClientException", "Container '%.*s' depends on container '%.*s' twice.",
                    FL_STR_ARG(c->name), FL_STR_ARG(c->dependsOn.items[i].containerName));
    }
    return 0;
}

int fl_check_life(struct fl_decision *d, const struct ecs_RegisterTaskDefinitionRequest *in)
{
    for (size_t i = 0; i < in->containerDefinitions.n; i++) {
        const struct ecs_ContainerDefinition *c = &in->containerDefinitions.items[i];
        if (check_range(d, c, "startTimeout", FL_HAS(c, ecs_ContainerDefinition, startTimeout),
                        c->startTimeout, 0, MAX_TIMEOUT_S) < 0 ||
            check_health(d, c) < 0 || check_restart(d, c) < 0 || check_dependencies(d, in, c) < 0)
            return -1;
    }
    for (size_t i = 0; i < in->containerDefinitions.n; i++)
        if (comes_around(in, &in->containerDefinitions.items[i], in->containerDefinitions.n + 1))
            return fl_refuse(d, "ClientException",
                             "Container '%.*s' depends on itself, directly or through others.",
                             FL_STR_ARG(in->containerDefinitions.items[i].name));
    return 0;
}

void fl_default_life(struct ecs_ContainerDefinition *c)
{
    struct ecs_HealthCheck *check = c->healthCheck;
    if (!check)
        return;
    if (!FL_HAS(check, ecs_HealthCheck, interval))
        FL_SET(check, ecs_HealthCheck, interval, DEFAULT_INTERVAL_S);
    if (!FL_HAS(check, ecs_HealthCheck, timeout))
        FL_SET(check, ecs_HealthCheck, timeout, DEFAULT_TIMEOUT_S);
    if (!FL_HAS(check, ecs_HealthCheck, retries))
        FL_SET(check, ecs_HealthCheck, retries, DEFAULT_RETRIES);
}
