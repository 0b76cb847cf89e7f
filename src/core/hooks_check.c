/* What is said about strategies and lifecycle hooks, checked. Where the API names a bound it is
 * ECS's; hooks and the length of their details have bounds of our own. */
#include "core/hooks.h"
#include "core/stages.h"
#include "wire/arn.h"

enum { MAX_HOOKS = 10, MAX_DETAILS = 2048, MAX_MINUTES = 1440, MIN_STEP = 30, MIN_CANARY = 1 };

static int refuse_hook(struct fl_decision *d, const char *text)
{
    return fl_refuse(d, "InvalidParameterException", "Invalid lifecycle hook: %s", text);
}

static int check_pause(struct fl_decision *d, const struct ecs_DeploymentLifecycleHook *hook)
{
    if (hook->hookTargetArn.n || hook->roleArn.n)
        return refuse_hook(d, "hookTargetArn and roleArn are not applicable for PAUSE hooks.");
    for (size_t i = 0; i < hook->lifecycleStages.n; i++)
        if (hook->lifecycleStages.items[i] == ECS_DeploymentLifecycleHookStage_TEST_TRAFFIC_SHIFT ||
            hook->lifecycleStages.items[i] ==
                ECS_DeploymentLifecycleHookStage_PRODUCTION_TRAFFIC_SHIFT)
            return refuse_hook(d, "PAUSE hooks cannot be configured at TEST_TRAFFIC_SHIFT or "
                                  "PRODUCTION_TRAFFIC_SHIFT.");
    return 0;
}

/* Lambda functions are not ours to call; in their place a task definition can stand. */
static int check_target(struct fl_decision *d, const struct ecs_DeploymentLifecycleHook *hook)
{
    struct fl_arn arn;
    if (hook->hookTargetArn.n == 0)
        return refuse_hook(d, "hookTargetArn is required for AWS_LAMBDA hooks.");
    bool is_task = !d->core->strict && fl_arn_parse(hook->hookTargetArn, &arn) &&
                   fl_str_is(arn.service, "ecs") && fl_str_is(arn.type, "task-definition");
    if (!is_task)
        return fl_refuse(
            d, "UnsupportedFeatureException",
            "AWS_LAMBDA lifecycle hooks that call a function are not implemented%s.",
            d->core->strict ? "" : "; hookTargetArn may be the ARN of a task definition to be run");
    return fl_find_runnable(d, hook->hookTargetArn) ? 0 : -1;
}

static int check_hook(struct fl_decision *d, const struct ecs_DeploymentLifecycleHook *hook)
{
    bool is_pause = FL_HAS(hook, ecs_DeploymentLifecycleHook, targetType) &&
                    hook->targetType == ECS_DeploymentLifecycleHookTargetType_PAUSE;
    if (hook->lifecycleStages.n == 0)
        return refuse_hook(d, "lifecycleStages cannot be empty.");
    for (size_t i = 0; i < hook->lifecycleStages.n; i++)
        for (size_t k = 0; k < i; k++)
            if (hook->lifecycleStages.items[i] == hook->lifecycleStages.items[k])
                return refuse_hook(d, "a lifecycle stage is named twice.");
    if (hook->hookDetails.n > MAX_DETAILS)
        return fl_refuse(d, "InvalidParameterException",
                         "Invalid lifecycle hook: hookDetails are longer than %d characters.",
                         MAX_DETAILS);
    return is_pause ? check_pause(d, hook) : check_target(d, hook);
}

int fl_hooks_check(struct fl_decision *d, const struct ecs_DeploymentConfiguration *config)
{
    if (config->lifecycleHooks.n > MAX_HOOKS)
        return fl_refuse(d, "InvalidParameterException", "At most %d lifecycle hooks are possible.",
                         MAX_HOOKS);
    for (size_t i = 0; i < config->lifecycleHooks.n; i++)
        if (check_hook(d, &config->lifecycleHooks.items[i]) < 0)
            return -1;
    return 0;
}

static int check_minutes(struct fl_decision *d, const char *member, int32_t minutes)
{
    if (minutes >= 0 && minutes <= MAX_MINUTES)
        return 0;
    return fl_refuse(d, "InvalidParameterException", "%s must be between 0 and %d.", member,
                     MAX_MINUTES);
}

static int check_linear(struct fl_decision *d, const struct ecs_LinearConfiguration *linear)
{
    int32_t tenths;
    if (FL_HAS(linear, ecs_LinearConfiguration, stepPercent) &&
        (!fl_percent_tenths(linear->stepPercent, &tenths) || tenths < MIN_STEP))
        return fl_refuse(d, "InvalidParameterException",
                         "stepPercent must be a multiple of 0.1 from 3.0 to 100.0.");
    return check_minutes(d, "stepBakeTimeInMinutes", linear->stepBakeTimeInMinutes);
}

static int check_canary(struct fl_decision *d, const struct ecs_CanaryConfiguration *canary)
{
    int32_t tenths;
    if (FL_HAS(canary, ecs_CanaryConfiguration, canaryPercent) &&
        (!fl_percent_tenths(canary->canaryPercent, &tenths) || tenths < MIN_CANARY))
        return fl_refuse(d, "InvalidParameterException",
                         "canaryPercent must be a multiple of 0.1 from 0.1 to 100.0.");
    return check_minutes(d, "canaryBakeTimeInMinutes", canary->canaryBakeTimeInMinutes);
}

/* What only goes with some strategies. */
static int check_strategy(struct fl_decision *d, const struct ecs_DeploymentConfiguration *config,
                          enum ecs_DeploymentStrategy strategy)
{
    const char *member = NULL;
    if (config->linearConfiguration && strategy != ECS_DeploymentStrategy_LINEAR)
        member = "linearConfiguration";
    else if (config->canaryConfiguration && strategy != ECS_DeploymentStrategy_CANARY)
        member = "canaryConfiguration";
    else if (config->lifecycleHooks.n && strategy == ECS_DeploymentStrategy_ROLLING)
        member = "lifecycleHooks";
    if (!member)
        return 0;
    return fl_refuse(d, "InvalidParameterException",
                     "%s is not valid for the deployment strategy %s.", member,
                     fl_enum_text(&ecs_enum_DeploymentStrategy, (int)strategy));
}

int fl_stages_check(struct fl_decision *d, const struct ecs_DeploymentConfiguration *config,
                    bool is_daemon)
{
    enum ecs_DeploymentStrategy strategy = FL_HAS(config, ecs_DeploymentConfiguration, strategy)
                                               ? config->strategy
                                               : ECS_DeploymentStrategy_ROLLING;
    if (is_daemon && strategy != ECS_DeploymentStrategy_ROLLING)
        return fl_refuse(d, "InvalidParameterException",
                         "The deployment strategy %s is not valid for the scheduling strategy "
                         "DAEMON.",
                         fl_enum_text(&ecs_enum_DeploymentStrategy, (int)strategy));
    if (check_strategy(d, config, strategy) < 0 ||
        check_minutes(d, "bakeTimeInMinutes", config->bakeTimeInMinutes) < 0)
        return -1;
    if (config->linearConfiguration && check_linear(d, config->linearConfiguration) < 0)
        return -1;
    if (config->canaryConfiguration && check_canary(d, config->canaryConfiguration) < 0)
        return -1;
    return fl_hooks_check(d, config);
}
