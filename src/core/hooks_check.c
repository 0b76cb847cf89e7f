/* What is said about strategies and lifecycle hooks, checked. Where the API names a bound it is
 * ECS's; hooks and the length of their details have bounds of our own. */
#include "core/hooks.h"
#include "core/stages.h"
#include "wire/arn.h"

enum { MAX_HOOKS = 10, MAX_DETAILS = 2048 };

static int refuse_hook(struct fl_decision *d, const char *text)
{
    return fl_refuse(d, "InvalidParameterException", "%s", text);
}

static int check_pause(struct fl_decision *d, const struct ecs_DeploymentLifecycleHook *hook)
{
    if (hook->hookTargetArn.n || hook->roleArn.n)
        return refuse_hook(
            d, "A lifecycle hook of type PAUSE takes neither hookTargetArn nor roleArn.");
    for (size_t i = 0; i < hook->lifecycleStages.n; i++) {
        enum ecs_DeploymentLifecycleHookStage stage = hook->lifecycleStages.items[i];
        if (stage == ECS_DeploymentLifecycleHookStage_TEST_TRAFFIC_SHIFT ||
            stage == ECS_DeploymentLifecycleHookStage_PRODUCTION_TRAFFIC_SHIFT)
            return fl_refuse(d, "InvalidParameterException",
                             "A lifecycle hook of type PAUSE cannot be configured at %s.",
                             fl_enum_text(&ecs_enum_DeploymentLifecycleHookStage, (int)stage));
    }
    return 0;
}

/* Lambda functions are not ours to call; in their place a task definition can stand. */
static int check_target(struct fl_decision *d, const struct ecs_DeploymentLifecycleHook *hook)
{
    struct fl_arn arn;
    if (hook->hookTargetArn.n == 0)
        return refuse_hook(d, "A lifecycle hook of type AWS_LAMBDA needs a hookTargetArn.");
    bool is_task = !d->core->strict && fl_arn_parse(hook->hookTargetArn, &arn) &&
                   fl_str_is(arn.service, "ecs") && fl_str_is(arn.type, "task-definition");
    if (!is_task)
        return fl_refuse(d, "ClientException",
                         "Lifecycle hooks of type AWS_LAMBDA are not implemented yet%s.",
                         d->core->strict ? ""
                                         : ", unless hookTargetArn is the ARN of a task "
                                           "definition, which is then run");
    return fl_find_runnable(d, hook->hookTargetArn) ? 0 : -1;
}

static int check_hook(struct fl_decision *d, const struct ecs_DeploymentLifecycleHook *hook)
{
    bool is_pause = FL_HAS(hook, ecs_DeploymentLifecycleHook, targetType) &&
                    hook->targetType == ECS_DeploymentLifecycleHookTargetType_PAUSE;
    if (hook->lifecycleStages.n == 0)
        return refuse_hook(d, "A lifecycle hook needs at least one lifecycle stage.");
    for (size_t i = 0; i < hook->lifecycleStages.n; i++)
        for (size_t k = 0; k < i; k++)
            if (hook->lifecycleStages.items[i] == hook->lifecycleStages.items[k])
                return refuse_hook(d, "A lifecycle hook names a lifecycle stage twice.");
    if (hook->hookDetails.n > MAX_DETAILS)
        return fl_refuse(d, "InvalidParameterException",
                         "The hookDetails of a lifecycle hook are longer than %d characters.",
                         MAX_DETAILS);
    return is_pause ? check_pause(d, hook) : check_target(d, hook);
}

int fl_hooks_check(struct fl_decision *d, const struct ecs_DeploymentConfiguration *config)
{
    if (config->lifecycleHooks.n > MAX_HOOKS)
        return fl_refuse(d, "InvalidParameterException", "At most %d lifecycle hooks are allowed.",
                         MAX_HOOKS);
    for (size_t i = 0; i < config->lifecycleHooks.n; i++)
        if (check_hook(d, &config->lifecycleHooks.items[i]) < 0)
            return -1;
    return 0;
}

/* What goes with one strategy only. */
static const char *misplaced(const struct ecs_DeploymentConfiguration *given,
                             enum ecs_DeploymentStrategy strategy)
{
    if (given->linearConfiguration && strategy != ECS_DeploymentStrategy_LINEAR)
        return "linearConfiguration";
    if (given->canaryConfiguration && strategy != ECS_DeploymentStrategy_CANARY)
        return "canaryConfiguration";
    if (given->lifecycleHooks.n && strategy == ECS_DeploymentStrategy_ROLLING)
        return "lifecycleHooks";
    return NULL;
}

int fl_stages_check(struct fl_decision *d, const struct ecs_DeploymentConfiguration *given,
                    const struct rec_Service *rec)
{
    enum ecs_DeploymentStrategy strategy = rec->deploymentConfiguration->strategy;
    const char *name = fl_enum_text(&ecs_enum_DeploymentStrategy, (int)strategy);
    const char *member = given ? misplaced(given, strategy) : NULL;
    if (member)
        return fl_refuse(d, "InvalidParameterException",
                         "%s is not valid for the deployment strategy %s.", member, name);
    if (strategy != ECS_DeploymentStrategy_ROLLING &&
        rec->deploymentController != ECS_DeploymentControllerType_ECS)
        return fl_refuse(d, "InvalidParameterException",
                         "The deployment strategy %s is for the deployment controller ECS alone.",
                         name);
    return 0;
}
