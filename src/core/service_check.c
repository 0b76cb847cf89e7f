/* What is refused of a service. */
#include "core/service_check.h"

#include "core/hooks.h"

enum { MAX_NAME = 255, MAX_TOKEN = 36 };
enum { MAX_MINUTES = 1440, MIN_STEP_TENTHS = 30 };
/* Far beyond what any quota lets run. */
enum { MAX_PERCENT = 10000 };

static const char invalid[] = "InvalidParameterException";

static int check_name(struct fl_decision *d, struct fl_str name)
{
    bool is_valid = name.n > 0 && name.n <= MAX_NAME;
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];
        is_valid &= (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                    c == '-' || c == '_';
    }
    if (name.n == 0)
        return fl_refuse(d, invalid, "Service name cannot be empty.");
    if (!is_valid)
        return fl_refuse(d, invalid,
                         "Service name '%.*s' is not valid: up to 255 letters (uppercase and "
                         "lowercase), numbers, underscores, and hyphens are allowed.",
                         FL_STR_ARG(fl_cut(name, 300)));
    return 0;
}

static int check_token(struct fl_decision *d, struct fl_str token)
{
    if (token.n > MAX_TOKEN)
        return fl_refuse(d, invalid, "idempotency token longer than %d.", MAX_TOKEN);
    for (size_t i = 0; i < token.n; i++)
        if (token.p[i] < '!' || token.p[i] > '~')
            return fl_refuse(d, invalid,
                             "clientToken contains invalid characters: those between 33 and 126 "
                             "are allowed.");
    return 0;
}

/* What a service may ask for and we cannot give. */
static const char *unsupported_member(const struct ecs_CreateServiceRequest *in)
{
    const struct ecs_DeploymentConfiguration *config = in->deploymentConfiguration;
    if (in->capacityProviderStrategy.n)
        return "capacityProviderStrategy";
    if (in->loadBalancers.n)
        return "loadBalancers";
    if (in->serviceRegistries.n)
        return "serviceRegistries";
    if (in->serviceConnectConfiguration && in->serviceConnectConfiguration->enabled)
        return "serviceConnectConfiguration";
    if (in->volumeConfigurations.n)
        return "volumeConfigurations";
    if (in->vpcLatticeConfigurations.n)
        return "vpcLatticeConfigurations";
    if (in->gatewayConnectors.n)
        return "gatewayConnectors";
    if (in->monitoring && in->monitoring->metricConfigurations.n)
        return "monitoring";
    if (in->enableExecuteCommand)
        return "enableExecuteCommand";
    if (in->role.n)
        return "role";
    if (config && config->alarms && config->alarms->enable)
        return "deploymentConfiguration.alarms";
    return NULL;
}

static int check_launch_type(struct fl_decision *d, const struct ecs_CreateServiceRequest *in)
{
    bool has_type = FL_HAS(in, ecs_CreateServiceRequest, launchType);
    if (has_type && in->capacityProviderStrategy.n)
        return fl_refuse(d, invalid,
                         "Specifying both a launch type and capacity provider strategy is not "
                         "supported. Remove one and try again.");
    if (in->capacityProviderStrategy.n &&
        FL_HAS(in, ecs_CreateServiceRequest, schedulingStrategy) &&
        in->schedulingStrategy == ECS_SchedulingStrategy_DAEMON)
        return fl_refuse(d, invalid,
                         "Specifying a capacity provider strategy is not supported when you "
                         "create a service using the DAEMON scheduling strategy.");
    if ((!has_type || in->launchType == ECS_LaunchType_EC2) && !in->capacityProviderStrategy.n &&
        in->platformVersion.n)
        return fl_refuse(d, invalid,
                         "The platform version must be null when specifying an EC2 launch type.");
    return 0;
}

static int check_range(struct fl_decision *d, const char *member, int64_t value, int64_t least,
                       int64_t most)
{
    if (value >= least && value <= most)
        return 0;
    return fl_refuse(d, invalid, "%s should be between %lld and %lld.", member, (long long)least,
                     (long long)most);
}

static int check_breaker(struct fl_decision *d, const struct ecs_DeploymentCircuitBreaker *breaker)
{
    const struct ecs_ThresholdConfiguration *threshold =
        breaker ? breaker->thresholdConfiguration : NULL;
    if (!threshold)
        return 0;
    return check_range(d, "The value of the deploymentCircuitBreaker's thresholdConfiguration",
                       threshold->value, 1,
                       threshold->type == ECS_ThresholdType_COUNT ? FL_MAX_DESIRED : 100);
}

static int check_shifts(struct fl_decision *d, const struct ecs_DeploymentConfiguration *config)
{
    const struct ecs_LinearConfiguration *linear = config->linearConfiguration;
    const struct ecs_CanaryConfiguration *canary = config->canaryConfiguration;
    int32_t tenths;
    if (linear && FL_HAS(linear, ecs_LinearConfiguration, stepPercent) &&
        (!fl_percent_tenths(linear->stepPercent, &tenths) || tenths < MIN_STEP_TENTHS))
        return fl_refuse(d, invalid, "stepPercent should be a multiple of 0.1 from 3.0 to 100.0.");
    if (canary && FL_HAS(canary, ecs_CanaryConfiguration, canaryPercent) &&
        (!fl_percent_tenths(canary->canaryPercent, &tenths) || tenths == 0))
        return fl_refuse(d, invalid,
                         "canaryPercent should be a multiple of 0.1 from 0.1 to 100.0.");
    if (linear &&
        check_range(d, "stepBakeTimeInMinutes", linear->stepBakeTimeInMinutes, 0, MAX_MINUTES) < 0)
        return -1;
    if (canary && check_range(d, "canaryBakeTimeInMinutes", canary->canaryBakeTimeInMinutes, 0,
                              MAX_MINUTES) < 0)
        return -1;
    return check_range(d, "bakeTimeInMinutes", config->bakeTimeInMinutes, 0, MAX_MINUTES);
}

static int check_percents(struct fl_decision *d, const struct ecs_DeploymentConfiguration *config)
{
    if (check_range(d, "minimumHealthyPercent", config->minimumHealthyPercent, 0, MAX_PERCENT) < 0)
        return -1;
    return check_range(d, "maximumPercent", config->maximumPercent, 0, MAX_PERCENT);
}

static int check_configuration(struct fl_decision *d,
                               const struct ecs_DeploymentConfiguration *config)
{
    if (!config)
        return 0;
    if (check_percents(d, config) < 0 || check_breaker(d, config->deploymentCircuitBreaker) < 0 ||
        check_shifts(d, config) < 0)
        return -1;
    return fl_hooks_check(d, config);
}

static int check_counts(struct fl_decision *d, const struct ecs_CreateServiceRequest *in)
{
    if (in->desiredCount < 0)
        return fl_refuse(d, invalid, "DesiredCount can not be lesser than 0");
    if (in->desiredCount > FL_MAX_DESIRED)
        return fl_refuse(d, invalid, "DesiredCount can not be greater than %d", FL_MAX_DESIRED);
    return check_range(d, "healthCheckGracePeriodSeconds", in->healthCheckGracePeriodSeconds, 0,
                       INT32_MAX);
}

int fl_service_check_size(struct fl_decision *d)
{
    enum { MAX_BYTES = 64 * 1024 };
    if (d->input_size <= MAX_BYTES)
        return 0;
    return fl_refuse(d, invalid, "The request is longer than %d bytes.", MAX_BYTES);
}

int fl_service_check_request(struct fl_decision *d, const struct ecs_CreateServiceRequest *in)
{
    if (check_name(d, in->serviceName) < 0 || check_token(d, in->clientToken) < 0)
        return -1;
    if (fl_service_check_size(d) < 0)
        return -1;
    if (check_launch_type(d, in) < 0 || check_counts(d, in) < 0 ||
        check_configuration(d, in->deploymentConfiguration) < 0 ||
        fl_check_tags(d, &in->tags, invalid) < 0)
        return -1;
    const char *member = unsupported_member(in);
    if (member)
        return fl_refuse(d, "ClientException", "%s is not implemented yet.", member);
    if (in->deploymentController &&
        in->deploymentController->type == ECS_DeploymentControllerType_CODE_DEPLOY)
        return fl_refuse(d, "ClientException",
                         "The deployment controller CODE_DEPLOY is not implemented yet.");
    return 0;
}

/* ---- the service as a whole ---- */

static int check_early_success(struct fl_decision *d,
                               const struct ecs_DeploymentConfiguration *config)
{
    const struct ecs_DeploymentEarlySuccessCriteria *criteria = config->earlySuccessCriteria;
    if (!criteria || !criteria->enable)
        return 0;
    if (config->strategy != ECS_DeploymentStrategy_ROLLING)
        return fl_refuse(d, invalid, "earlySuccessCriteria is for the ROLLING strategy only.");
    if (!FL_HAS(criteria, ecs_DeploymentEarlySuccessCriteria, healthyPercent) ||
        !FL_HAS(criteria, ecs_DeploymentEarlySuccessCriteria, sourceServiceRevisionCleanup))
        return fl_refuse(d, invalid,
                         "earlySuccessCriteria needs both healthyPercent and "
                         "sourceServiceRevisionCleanup.");
    if (criteria->healthyPercent < config->minimumHealthyPercent || criteria->healthyPercent > 100)
        return fl_refuse(d, invalid,
                         "healthyPercent should be between minimumHealthyPercent and 100.");
    return 0;
}

static int check_bounds(struct fl_decision *d, const struct ecs_DeploymentConfiguration *config,
                        bool is_daemon)
{
    int32_t most = config->maximumPercent, least = config->minimumHealthyPercent;
    if (is_daemon && most > 100)
        return fl_refuse(d, invalid,
                         "The daemon scheduling strategy does not support values above 100 for "
                         "maximumPercent on a deployment configuration. Change the maximumPercent "
                         "value to 100, and try again");
    if (most == 100 && least == 100)
        return fl_refuse(d, invalid,
                         "Both maximumPercent and minimumHealthyPercent cannot be 100 as this "
                         "will block deployments.");
    if (most == 0 && least == 0)
        return fl_refuse(d, invalid,
                         "Both maximumPercent and minimumHealthyPercent cannot be 0 as this will "
                         "block deployments.");
    if (least > 100)
        return fl_refuse(d, invalid, "minimumHealthyPercent should be between 0 and 100.");
    if (most < 100)
        return fl_refuse(d, invalid, "maximumPercent should be at least 100.");
    return check_early_success(d, config);
}

/* ECS keeps to its defaults there. */
static int check_external(struct fl_decision *d, const struct ecs_DeploymentConfiguration *config)
{
    if (config->maximumPercent == 200 && config->minimumHealthyPercent == 100)
        return 0;
    return fl_refuse(d, invalid,
                     "A service with the EXTERNAL deployment controller cannot have a "
                     "maximumPercent other than 200 or a minimumHealthyPercent other than 100.");
}

static int check_daemon(struct fl_decision *d, const struct rec_Service *rec)
{
    if (rec->deploymentController == ECS_DeploymentControllerType_EXTERNAL)
        return fl_refuse(d, invalid,
                         "The daemon scheduling strategy does not support the EXTERNAL deployment "
                         "controller. Change the deployment controller and try again");
    if (rec->placementStrategy.n)
        return fl_refuse(d, invalid,
                         "The daemon scheduling strategy does not support placement strategies. "
                         "Remove the placement strategy and try again");
    if (rec->launchType == ECS_LaunchType_FARGATE)
        return fl_refuse(d, invalid,
                         "The daemon scheduling strategy does not support the FARGATE launch type. "
                         "Change the launch type and try again");
    if (rec->deploymentConfiguration->strategy != ECS_DeploymentStrategy_ROLLING)
        return fl_refuse(d, invalid,
                         "The daemon scheduling strategy supports the deployment strategy ROLLING "
                         "alone.");
    return 0;
}

static bool spreads_over_zones(const struct ecs_PlacementStrategy *strategy)
{
    return strategy->type == ECS_PlacementStrategyType_spread &&
           fl_str_is(strategy->field, "attribute:ecs.availability-zone");
}

const char *fl_service_rebalancing_obstacle(const struct rec_Service *rec)
{
    if (rec->schedulingStrategy == ECS_SchedulingStrategy_DAEMON)
        return "the DAEMON scheduling strategy";
    if (rec->deploymentController != ECS_DeploymentControllerType_ECS)
        return "the EXTERNAL deployment controller";
    if (rec->launchType == ECS_LaunchType_EXTERNAL)
        return "the EXTERNAL launch type";
    if (rec->deploymentConfiguration->maximumPercent <= 100)
        return "maximumPercent <= 100%";
    if (rec->placementStrategy.n && !spreads_over_zones(&rec->placementStrategy.items[0]))
        return "a first placement strategy other than spread over attribute:ecs.availability-zone";
    return NULL;
}

static int check_rebalancing(struct fl_decision *d, const struct rec_Service *rec)
{
    const char *obstacle = fl_service_rebalancing_obstacle(rec);
    if (!obstacle || rec->availabilityZoneRebalancing != ECS_AvailabilityZoneRebalancing_ENABLED)
        return 0;
    return fl_refuse(d, invalid, "Availability Zone Rebalancing does not support %s.", obstacle);
}

/* The parts of a launch that a definition is not needed for. */
static int check_placement(struct fl_decision *d, const struct rec_Service *rec)
{
    const struct ecs_TaskDefinition nothing = {0};
    struct fl_placement placement;
    return fl_placement_prepare(d, fl_state_cluster(d->core, rec->cluster), &nothing,
                                &rec->placementConstraints, &rec->placementStrategy, &placement);
}

int fl_service_check(struct fl_decision *d, const struct rec_Service *rec,
                     const struct rec_ServiceRevision *config, struct fl_definition *definition)
{
    bool is_daemon = rec->schedulingStrategy == ECS_SchedulingStrategy_DAEMON;
    bool is_external = rec->deploymentController == ECS_DeploymentControllerType_EXTERNAL;
    struct fl_launch launch;
    if (is_external && !is_daemon && check_external(d, rec->deploymentConfiguration) < 0)
        return -1;
    if ((is_daemon && check_daemon(d, rec) < 0) ||
        check_bounds(d, rec->deploymentConfiguration, is_daemon) < 0)
        return -1;
    if (check_rebalancing(d, rec) < 0)
        return -1;
    return definition ? fl_service_prepare(d, rec, config, definition, &launch)
                      : check_placement(d, rec);
}
