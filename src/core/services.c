/* CreateService, UpdateService, DeleteService: what the user wants of a service. What follows from
 * it is the scheduler's. */
#include "core/service_check.h"
#include "core/stages.h"
#include "wire/arn.h"

enum { DEFAULT_MAX_PERCENT = 200, DEFAULT_MIN_PERCENT = 100 };

static bool has_status(const struct fl_service *service, const char *status)
{
    return fl_str_is(service->rec->status, status);
}

/* What stands before the name in "cluster/name" or behind the type in an ARN; empty: nothing. */
static struct fl_str cluster_named(struct fl_str given)
{
    struct fl_arn arn;
    struct fl_str rest = fl_arn_parse(given, &arn) ? arn.rest : given;
    ptrdiff_t end = fl_str_index(rest, '/');
    return fl_str_sub(rest, 0, end < 0 ? 0 : (size_t)end);
}

int fl_read_service_name(struct fl_decision *d, const struct fl_cluster *cluster,
                         struct fl_str given, struct fl_str *ret_name)
{
    struct fl_str named = cluster_named(given);
    if (fl_read_name(d, given, "service", ret_name) < 0)
        return -1;
    if (named.n == 0 || fl_str_eq(named, cluster->name))
        return 0;
    return fl_refuse(d, "InvalidParameterException",
                     "Invalid identifier: Identifier is for cluster %.*s. Your cluster is %.*s",
                     FL_STR_ARG(fl_cut(named, 255)), FL_STR_ARG(cluster->name));
}

struct fl_service *fl_find_service(struct fl_decision *d, struct fl_cluster *cluster,
                                   struct fl_str given)
{
    struct fl_str name;
    struct fl_service *service = NULL;
    if (fl_read_service_name(d, cluster, given, &name) < 0)
        return NULL;
    service = fl_state_service(cluster, name);
    if (!service)
        (void)fl_refuse(d, "ServiceNotFoundException", "Service not found.");
    return service;
}

/* ---- members ---- */

/* Takes over what is given; the rest stays as it was. */
static void merge_configuration(struct ecs_DeploymentConfiguration *to,
                                const struct ecs_DeploymentConfiguration *given)
{
#define TAKE(member)                                                                               \
    do {                                                                                           \
        if (FL_HAS(given, ecs_DeploymentConfiguration, member))                                    \
            FL_SET(to, ecs_DeploymentConfiguration, member, given->member);                        \
    } while (0)
    TAKE(deploymentCircuitBreaker);
    TAKE(maximumPercent);
    TAKE(minimumHealthyPercent);
    TAKE(alarms);
    TAKE(strategy);
    TAKE(bakeTimeInMinutes);
    TAKE(lifecycleHooks);
    TAKE(linearConfiguration);
    TAKE(canaryConfiguration);
    TAKE(earlySuccessCriteria);
#undef TAKE
}

/* The members that ECS fills in whether or not they were sent. */
static void fill_configuration(struct fl_decision *d, struct ecs_DeploymentConfiguration *config,
                               bool is_daemon)
{
    if (!FL_HAS(config, ecs_DeploymentConfiguration, deploymentCircuitBreaker)) {
        struct ecs_DeploymentCircuitBreaker *off =
            fl_arena_new_object(d->arena, struct ecs_DeploymentCircuitBreaker);
        FL_SET(off, ecs_DeploymentCircuitBreaker, enable, false);
        FL_SET(off, ecs_DeploymentCircuitBreaker, rollback, false);
        FL_SET(config, ecs_DeploymentConfiguration, deploymentCircuitBreaker, off);
    }
    if (!FL_HAS(config, ecs_DeploymentConfiguration, maximumPercent))
        FL_SET(config, ecs_DeploymentConfiguration, maximumPercent,
               is_daemon ? 100 : DEFAULT_MAX_PERCENT);
    if (!FL_HAS(config, ecs_DeploymentConfiguration, minimumHealthyPercent))
        FL_SET(config, ecs_DeploymentConfiguration, minimumHealthyPercent,
               is_daemon ? 0 : DEFAULT_MIN_PERCENT);
    if (!FL_HAS(config, ecs_DeploymentConfiguration, strategy))
        FL_SET(config, ecs_DeploymentConfiguration, strategy, ECS_DeploymentStrategy_ROLLING);
    if (!FL_HAS(config, ecs_DeploymentConfiguration, bakeTimeInMinutes))
        FL_SET(config, ecs_DeploymentConfiguration, bakeTimeInMinutes, 0);
}

static void take_configuration(struct fl_decision *d, const struct ecs_CreateServiceRequest *in,
                               struct rec_Service *rec)
{
    struct ecs_DeploymentConfiguration *config =
        fl_arena_new_object(d->arena, struct ecs_DeploymentConfiguration);
    if (rec->deploymentConfiguration)
        *config = *rec->deploymentConfiguration;
    if (in->deploymentConfiguration)
        merge_configuration(config, in->deploymentConfiguration);
    fill_configuration(d, config, rec->schedulingStrategy == ECS_SchedulingStrategy_DAEMON);
    FL_SET(rec, rec_Service, deploymentConfiguration, config);
}

/* What the service keeps of a request, and may be changed at any time. */
static void take_members(struct fl_decision *d, const struct ecs_CreateServiceRequest *in,
                         struct rec_Service *rec)
{
#define TAKE(member)                                                                               \
    do {                                                                                           \
        if (FL_HAS(in, ecs_CreateServiceRequest, member))                                          \
            FL_SET(rec, rec_Service, member, in->member);                                          \
    } while (0)
    TAKE(desiredCount);
    TAKE(availabilityZoneRebalancing);
    TAKE(placementConstraints);
    TAKE(placementStrategy);
    TAKE(healthCheckGracePeriodSeconds);
    TAKE(enableECSManagedTags);
    TAKE(propagateTags);
    TAKE(enableExecuteCommand);
#undef TAKE
    take_configuration(d, in, rec);
}

/* What makes a revision, but for the definition. */
static void take_revision(const struct ecs_CreateServiceRequest *in,
                          struct rec_ServiceRevision *config)
{
    if (FL_HAS(in, ecs_CreateServiceRequest, networkConfiguration))
        FL_SET(config, rec_ServiceRevision, networkConfiguration, in->networkConfiguration);
    if (FL_HAS(in, ecs_CreateServiceRequest, serviceConnectConfiguration))
        FL_SET(config, rec_ServiceRevision, serviceConnectConfiguration,
               in->serviceConnectConfiguration);
}

static void set_definition(struct rec_ServiceRevision *config,
                           const struct fl_definition *definition)
{
    FL_SET(config, rec_ServiceRevision, family, definition->family);
    FL_SET(config, rec_ServiceRevision, revision, definition->revision);
}

static struct ecs_Service *show(struct fl_decision *d, const struct fl_service *service)
{
    struct ecs_Service *out = fl_arena_new_object(d->arena, struct ecs_Service);
    fl_show_service(d, service, true, out);
    return out;
}

/* ---- CreateService ---- */

static void fill_new(struct fl_decision *d, const struct ecs_CreateServiceRequest *in,
                     const struct fl_cluster *cluster, struct rec_Service *rec)
{
    bool is_daemon = FL_HAS(in, ecs_CreateServiceRequest, schedulingStrategy) &&
                     in->schedulingStrategy == ECS_SchedulingStrategy_DAEMON;
    FL_SET(rec, rec_Service, v, FL_RECORD_VERSION);
    FL_SET(rec, rec_Service, cluster, cluster->name);
    FL_SET(rec, rec_Service, name, in->serviceName);
    FL_SET(rec, rec_Service, status, FL_STR("ACTIVE"));
    FL_SET(rec, rec_Service, desiredCount, 0);
    FL_SET(rec, rec_Service, launchType,
           FL_HAS(in, ecs_CreateServiceRequest, launchType) ? in->launchType : ECS_LaunchType_EC2);
    FL_SET(rec, rec_Service, schedulingStrategy,
           is_daemon ? ECS_SchedulingStrategy_DAEMON : ECS_SchedulingStrategy_REPLICA);
    FL_SET(rec, rec_Service, deploymentController,
           in->deploymentController ? in->deploymentController->type
                                    : ECS_DeploymentControllerType_ECS);
    FL_SET(rec, rec_Service, enableECSManagedTags, false);
    FL_SET(rec, rec_Service, propagateTags, ECS_PropagateTags_NONE);
    FL_SET(rec, rec_Service, enableExecuteCommand, false);
    FL_SET(rec, rec_Service, createdAt, d->now_ms);
    FL_SET(rec, rec_Service, createdBy, fl_root_arn(d));
    FL_SET(rec, rec_Service, tags, in->tags);
    take_members(d, in, rec);
    if (!FL_HAS(in, ecs_CreateServiceRequest, availabilityZoneRebalancing))
        FL_SET(rec, rec_Service, availabilityZoneRebalancing,
               fl_service_rebalancing_obstacle(rec) ? ECS_AvailabilityZoneRebalancing_DISABLED
                                                    : ECS_AvailabilityZoneRebalancing_ENABLED);
}

static int check_count(struct fl_decision *d, const struct ecs_CreateServiceRequest *in,
                       const struct rec_Service *rec)
{
    bool has_count = FL_HAS(in, ecs_CreateServiceRequest, desiredCount);
    bool is_daemon = rec->schedulingStrategy == ECS_SchedulingStrategy_DAEMON;
    if (is_daemon && has_count)
        return fl_refuse(d, "InvalidParameterException",
                         "The daemon scheduling strategy does not support a desired count for "
                         "services. Remove the desired count value and try again");
    bool is_external = rec->deploymentController == ECS_DeploymentControllerType_EXTERNAL;
    if (!is_daemon && !is_external && !has_count && rec->version == 0)
        return fl_refuse(d, "InvalidParameterException", "DesiredCount is missing");
    return 0;
}

/* Its revision belongs to its task sets, not to the service. */
static int check_external(struct fl_decision *d, const struct ecs_CreateServiceRequest *in)
{
    const char *member = in->taskDefinition.n                               ? "taskDefinition"
                         : in->networkConfiguration                         ? "networkConfiguration"
                         : FL_HAS(in, ecs_CreateServiceRequest, launchType) ? "launchType"
                                                                            : NULL;
    if (!member)
        return 0;
    return fl_refuse(d, "InvalidParameterException",
                     "%s is not valid for a service with the EXTERNAL deployment controller: it is "
                     "a matter of its task sets.",
                     member);
}

/* A name that is taken: 0 when the service is what the same request made before. */
static int check_taken(struct fl_decision *d, const struct ecs_CreateServiceRequest *in,
                       struct fl_str hash, const struct fl_service *service)
{
    if (has_status(service, "DRAINING"))
        return fl_refuse(d, "InvalidParameterException",
                         "Unable to Start a service that is still Draining.");
    if (in->clientToken.n && fl_str_eq(service->rec->clientToken, in->clientToken) &&
        fl_str_eq(service->rec->requestHash, hash))
        return 0;
    return fl_refuse(d, "InvalidParameterException", "Creation of service was not idempotent.");
}

/* Puts the service; one that was INACTIVE gives its name away. */
static void put_new(struct fl_decision *d, struct fl_service *before, struct rec_Service *rec,
                    struct rec_ServiceRevision *revision)
{
    if (before)
        fl_drop_service(d, before);
    if (rec->deploymentController == ECS_DeploymentControllerType_ECS)
        (void)fl_rollout_begin(d, rec, revision);
    else
        fl_service_put(d, rec);
}

static int create(struct fl_decision *d, const struct ecs_CreateServiceRequest *in,
                  struct fl_cluster *cluster, struct fl_service *before, struct fl_str hash)
{
    struct rec_Service rec = {0};
    struct rec_ServiceRevision revision = {0};
    struct fl_definition *definition = NULL;
    fill_new(d, in, cluster, &rec);
    bool is_external = rec.deploymentController == ECS_DeploymentControllerType_EXTERNAL;
    if (check_count(d, in, &rec) < 0 || fl_stages_check(d, in->deploymentConfiguration, &rec) < 0 ||
        (is_external && check_external(d, in) < 0))
        return -1;
    if (!is_external && !(definition = fl_find_runnable(d, in->taskDefinition)))
        return -1;
    FL_SET(&revision, rec_ServiceRevision, launchType, rec.launchType);
    take_revision(in, &revision);
    if (definition)
        set_definition(&revision, definition);
    if (fl_service_check(d, &rec, &revision, definition) < 0)
        return -1;
    if (cluster->active_services >= FL_MAX_SERVICES)
        return fl_refuse(d, "ClientException", "There can be at most %d services in a cluster.",
                         FL_MAX_SERVICES);
    if (in->clientToken.n) {
        FL_SET(&rec, rec_Service, clientToken, in->clientToken);
        FL_SET(&rec, rec_Service, requestHash, hash);
    }
    put_new(d, before, &rec, &revision);
    return 0;
}

int fl_create_service(struct fl_decision *d, const void *input, void *output)
{
    const struct ecs_CreateServiceRequest *in = input;
    struct ecs_CreateServiceResponse *out = output;
    struct fl_cluster *cluster = fl_find_cluster(d, in->cluster);
    if (!cluster || fl_service_check_request(d, in) < 0)
        return -1;
    struct fl_str hash = fl_request_hash(d, &ecs_shape_CreateServiceRequest, in);
    struct fl_service *before = fl_state_service(cluster, in->serviceName);
    bool is_taken = before && !has_status(before, "INACTIVE");
    if ((is_taken ? check_taken(d, in, hash, before) : create(d, in, cluster, before, hash)) < 0)
        return -1;
    FL_SET(out, ecs_CreateServiceResponse, service,
           show(d, fl_state_service(cluster, in->serviceName)));
    return 0;
}

/* ---- UpdateService ---- */

/* "To remove an existing placement strategy, specify an empty object." */
static bool is_empty_strategy(const struct ecs_PlacementStrategy_list *list)
{
    return list->n == 1 && !FL_HAS(&list->items[0], ecs_PlacementStrategy, type) &&
           !FL_HAS(&list->items[0], ecs_PlacementStrategy, field);
}

/* The members that the two requests share. */
static struct ecs_CreateServiceRequest as_create(const struct ecs_UpdateServiceRequest *in,
                                                 struct fl_str name)
{
    struct ecs_CreateServiceRequest create = {0};
#define SHARE(member)                                                                              \
    do {                                                                                           \
        if (FL_HAS(in, ecs_UpdateServiceRequest, member))                                          \
            FL_SET(&create, ecs_CreateServiceRequest, member, in->member);                         \
    } while (0)
    FL_SET(&create, ecs_CreateServiceRequest, serviceName, name);
    SHARE(desiredCount);
    SHARE(taskDefinition);
    SHARE(capacityProviderStrategy);
    SHARE(deploymentConfiguration);
    SHARE(availabilityZoneRebalancing);
    SHARE(networkConfiguration);
    SHARE(placementConstraints);
    SHARE(placementStrategy);
    SHARE(platformVersion);
    SHARE(healthCheckGracePeriodSeconds);
    SHARE(deploymentController);
    SHARE(enableExecuteCommand);
    SHARE(enableECSManagedTags);
    SHARE(loadBalancers);
    SHARE(propagateTags);
    SHARE(serviceRegistries);
    SHARE(serviceConnectConfiguration);
    SHARE(volumeConfigurations);
    SHARE(vpcLatticeConfigurations);
    SHARE(monitoring);
    SHARE(gatewayConnectors);
#undef SHARE
    if (is_empty_strategy(&create.placementStrategy))
        create.placementStrategy = (struct ecs_PlacementStrategy_list){0};
    return create;
}

/* Does anything change that makes tasks other ones? */
static bool is_other(const struct rec_Service *before, const struct rec_Service *after,
                     const struct rec_ServiceRevision *config,
                     const struct rec_ServiceRevision *changed)
{
    struct rec_Service placed = {0}, place = {0};
    FL_SET(&placed, rec_Service, placementConstraints, before->placementConstraints);
    FL_SET(&placed, rec_Service, placementStrategy, before->placementStrategy);
    FL_SET(&place, rec_Service, placementConstraints, after->placementConstraints);
    FL_SET(&place, rec_Service, placementStrategy, after->placementStrategy);
    return !fl_shape_equal(&rec_shape_Service, &placed, &place) ||
           !fl_shape_equal(&rec_shape_ServiceRevision, config, changed);
}

/* An external controller keeps revisions to itself. */
static int update_external(struct fl_decision *d, const struct ecs_UpdateServiceRequest *in,
                           const struct ecs_CreateServiceRequest *create, struct rec_Service *rec)
{
    if (in->forceNewDeployment)
        return fl_refuse(d, "InvalidParameterException",
                         "forceNewDeployment is not valid for a service with the EXTERNAL "
                         "deployment controller: it is a matter of its task sets.");
    if (check_external(d, create) < 0 || fl_service_check(d, rec, NULL, NULL) < 0)
        return -1;
    fl_service_put(d, rec);
    return 0;
}

/* The revision that new tasks are to be of: the PRIMARY deployment's with the changes. */
static int update_revision(struct fl_decision *d, const struct ecs_UpdateServiceRequest *in,
                           const struct ecs_CreateServiceRequest *create,
                           const struct fl_service *service, struct rec_Service *rec)
{
    const struct fl_revision *primary =
        fl_service_revision(service, rec->deployments.items[0].number);
    struct rec_ServiceRevision config = *primary->rec;
    struct fl_definition *definition = create->taskDefinition.n
                                           ? fl_find_runnable(d, create->taskDefinition)
                                           : primary->definition;
    if (!definition)
        return -1;
    take_revision(create, &config);
    set_definition(&config, definition);
    if (fl_service_check(d, rec, &config, definition) < 0)
        return -1;
    if (in->forceNewDeployment || is_other(service->rec, rec, primary->rec, &config)) {
        if (rec->deployments.n >= FL_MAX_DEPLOYMENTS)
            return fl_refuse(d, "InvalidParameterException",
                             "The service has %d deployments already: tasks of earlier ones must "
                             "stop before another one can begin.",
                             FL_MAX_DEPLOYMENTS);
        FL_UNSET(&config, rec_ServiceRevision, images);
        config.images = (struct rec_PinnedImage_list){0};
        (void)fl_rollout_begin(d, rec, &config);
        return 0;
    }
    if (rec->deployments.items[0].desiredCount != rec->desiredCount) {
        FL_SET(&rec->deployments.items[0], rec_Deployment, desiredCount, rec->desiredCount);
        FL_SET(&rec->deployments.items[0], rec_Deployment, updatedAt, d->now_ms);
    }
    if (!fl_shape_equal(&rec_shape_Service, rec, service->rec))
        fl_service_put(d, rec);
    return 0;
}

static int check_controller(struct fl_decision *d, const struct ecs_CreateServiceRequest *in,
                            const struct rec_Service *rec)
{
    if (!in->deploymentController || in->deploymentController->type == rec->deploymentController)
        return 0;
    return fl_refuse(d, "ClientException",
                     "Changing the deployment controller of a service is not implemented yet.");
}

static int update(struct fl_decision *d, const struct ecs_UpdateServiceRequest *in,
                  const struct fl_service *service)
{
    struct ecs_CreateServiceRequest create = as_create(in, service->name);
    struct rec_Service *rec = fl_service_edit(d, service);
    if (!has_status(service, "ACTIVE"))
        return fl_refuse(d, "ServiceNotActiveException", "Service was not ACTIVE.");
    if (fl_service_check_request(d, &create) < 0 || check_count(d, &create, rec) < 0 ||
        check_controller(d, &create, rec) < 0)
        return -1;
    take_members(d, &create, rec);
    if (fl_stages_check(d, in->deploymentConfiguration, rec) < 0)
        return -1;
    return rec->deploymentController == ECS_DeploymentControllerType_EXTERNAL
               ? update_external(d, in, &create, rec)
               : update_revision(d, in, &create, service, rec);
}

int fl_update_service(struct fl_decision *d, const void *input, void *output)
{
    const struct ecs_UpdateServiceRequest *in = input;
    struct ecs_UpdateServiceResponse *out = output;
    struct fl_cluster *cluster = fl_find_cluster(d, in->cluster);
    struct fl_service *service = cluster ? fl_find_service(d, cluster, in->service) : NULL;
    if (!service || update(d, in, service) < 0)
        return -1;
    FL_SET(out, ecs_UpdateServiceResponse, service, show(d, service));
    return 0;
}

/* ---- DeleteService ---- */

static int check_delete(struct fl_decision *d, const struct ecs_DeleteServiceRequest *in,
                        const struct rec_Service *rec)
{
    bool is_external = rec->deploymentController == ECS_DeploymentControllerType_EXTERNAL;
    if (in->force)
        return 0;
    if (rec->desiredCount > 0)
        return fl_refuse(d, "InvalidParameterException",
                         "The service cannot be stopped while it is scaled above 0.");
    if (rec->deployments.n > (is_external ? 0 : 1))
        return fl_refuse(d, "InvalidParameterException",
                         "The service cannot be stopped while deployments are active.");
    return 0;
}

static void drain(struct fl_decision *d, const struct fl_service *service)
{
    struct rec_Service *rec = fl_service_edit(d, service);
    FL_SET(rec, rec_Service, status, FL_STR("DRAINING"));
    FL_SET(rec, rec_Service, desiredCount, 0);
    for (size_t i = 0; i < rec->deployments.n; i++)
        FL_SET(&rec->deployments.items[i], rec_Deployment, desiredCount, 0);
    fl_service_put(d, rec);
}

int fl_delete_service(struct fl_decision *d, const void *input, void *output)
{
    const struct ecs_DeleteServiceRequest *in = input;
    struct ecs_DeleteServiceResponse *out = output;
    struct fl_cluster *cluster = fl_find_cluster(d, in->cluster);
    struct fl_service *service = cluster ? fl_find_service(d, cluster, in->service) : NULL;
    if (!service)
        return -1;
    if (has_status(service, "INACTIVE"))
        return fl_refuse(d, "ServiceNotFoundException", "Service not found.");
    if (has_status(service, "ACTIVE")) {
        if (check_delete(d, in, service->rec) < 0)
            return -1;
        drain(d, service);
    }
    FL_SET(out, ecs_DeleteServiceResponse, service, show(d, service));
    return 0;
}
