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
    return check_range(d, c, "restartPolicy.restartAttemptPeriod",
                       FL_HAS(policy, ecs_ContainerRestartPolicy, restartAttemptPeriod),
                       policy->restartAttemptPeriod, MIN_ATTEMPT_PERIOD_S, MAX_ATTEMPT_PERIOD_S);
}

static size_t find_index(const struct ecs_RegisterTaskDefinitionRequest *in, struct fl_str name)
{
    size_t i = 0;
    while (i < in->containerDefinitions.n &&
           !fl_str_eq(in->containerDefinitions.items[i].name, name))
        i++;
    return i;
}

static int check_dependency(struct fl_decision *d,
                            const struct ecs_RegisterTaskDefinitionRequest *in,
                            const struct ecs_ContainerDependency *dependency)
{
    size_t index = find_index(in, dependency->containerName);
    if (index == in->containerDefinitions.n)
        return fl_refuse(d, "ClientException",
                         "Cannot depend on container + '%.*s' because it does not exist",
                         FL_STR_ARG(dependency->containerName));
    const struct ecs_ContainerDefinition *on = &in->containerDefinitions.items[index];
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

/* One that is not there (a link may name anything) holds nobody back. */
static bool is_ready(const struct ecs_RegisterTaskDefinitionRequest *in, const bool *ready,
                     struct fl_str name)
{
    size_t i = find_index(in, name);
    return i == in->containerDefinitions.n || ready[i];
}

static struct fl_str linked(struct fl_str link)
{
    ptrdiff_t colon = fl_str_index(link, ':');
    return colon < 0 ? link : fl_str_sub(link, 0, (size_t)colon);
}

static bool can_start(const struct ecs_RegisterTaskDefinitionRequest *in, const bool *ready,
                      const struct ecs_ContainerDefinition *c)
{
    for (size_t i = 0; i < c->dependsOn.n; i++)
        if (!is_ready(in, ready, c->dependsOn.items[i].containerName))
            return false;
    for (size_t i = 0; i < c->links.n; i++)
        if (!is_ready(in, ready, linked(c->links.items[i])))
            return false;
    for (size_t i = 0; i < c->volumesFrom.n; i++)
        if (!is_ready(in, ready, c->volumesFrom.items[i].sourceContainer))
            return false;
    return true;
}

/* In each round those start whose dependencies have; who has not in as many rounds as there are
 * containers never will. Links and borrowed volumes are dependencies, too. */
static int check_order(struct fl_decision *d, const struct ecs_RegisterTaskDefinitionRequest *in)
{
    size_t n = in->containerDefinitions.n;
    bool *ready = fl_arena_new_array(d->arena, bool, n);
    for (size_t round = 0; round < n; round++)
        for (size_t i = 0; i < n; i++)
            ready[i] = ready[i] || can_start(in, ready, &in->containerDefinitions.items[i]);
    for (size_t i = 0; i < n; i++)
        if (!ready[i])
            return fl_refuse(d, "ClientException", "Container '%.*s' has a circular dependency.",
                             FL_STR_ARG(in->containerDefinitions.items[i].name));
    return 0;
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
    return check_order(d, in);
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
