/* CreateService, UpdateService, DeleteService: what the user wants of a service. What follows from
 * it is the scheduler's. */
#include "core/stages.h"

enum { DEFAULT_MAX_PERCENT = 200, DEFAULT_MIN_PERCENT = 100 };

static struct fl_service *find_service(struct fl_decision *d, struct fl_cluster *cluster,
                                       struct fl_str given)
{
    struct fl_str name;
    struct fl_service *service = NULL;
    if (fl_read_name(d, given, "service", &name) < 0)
        return NULL;
    service = fl_state_service(cluster, name);
    if (!service)
        (void)fl_refuse(d, "ServiceNotFoundException", "Service not found.");
    return service;
}

/* A copy with every member that ECS fills in. */
static struct ecs_DeploymentConfiguration *
fill_configuration(struct fl_decision *d, const struct ecs_DeploymentConfiguration *given,
                   bool is_daemon)
{
    struct ecs_DeploymentConfiguration *out =
        fl_arena_new_object(d->arena, struct ecs_DeploymentConfiguration);
    if (given)
        *out = *given;
    if (!FL_HAS(out, ecs_DeploymentConfiguration, maximumPercent))
        FL_SET(out, ecs_DeploymentConfiguration, maximumPercent,
               is_daemon ? 100 : DEFAULT_MAX_PERCENT);
    if (!FL_HAS(out, ecs_DeploymentConfiguration, minimumHealthyPercent))
        FL_SET(out, ecs_DeploymentConfiguration, minimumHealthyPercent,
               is_daemon ? 0 : DEFAULT_MIN_PERCENT);
    if (!FL_HAS(out, ecs_DeploymentConfiguration, strategy))
        FL_SET(out, ecs_DeploymentConfiguration, strategy, ECS_DeploymentStrategy_ROLLING);
    return out;
}

int fl_create_service(struct fl_decision *d, const void *input, void *output)
{
    const struct ecs_CreateServiceRequest *in = input;
    struct ecs_CreateServiceResponse *out = output;
    struct fl_cluster *cluster = fl_find_cluster(d, in->cluster);
    struct rec_ServiceRevision revision = {0};
    struct rec_Service rec = {0};
    if (!cluster)
        return -1;
    struct fl_definition *definition = fl_find_runnable(d, in->taskDefinition);
    if (!definition)
        return -1;
    if (fl_state_service(cluster, in->serviceName))
        return fl_refuse(d, "InvalidParameterException", "Creation of service was not idempotent.");
    bool is_daemon = FL_HAS(in, ecs_CreateServiceRequest, schedulingStrategy) &&
                     in->schedulingStrategy == ECS_SchedulingStrategy_DAEMON;
    if (in->deploymentConfiguration &&
        fl_stages_check(d, in->deploymentConfiguration, is_daemon) < 0)
        return -1;
    FL_SET(&rec, rec_Service, v, FL_RECORD_VERSION);
    FL_SET(&rec, rec_Service, cluster, cluster->name);
    FL_SET(&rec, rec_Service, name, in->serviceName);
    FL_SET(&rec, rec_Service, status, FL_STR("ACTIVE"));
    FL_SET(&rec, rec_Service, desiredCount, in->desiredCount);
    FL_SET(&rec, rec_Service, schedulingStrategy,
           is_daemon ? ECS_SchedulingStrategy_DAEMON : ECS_SchedulingStrategy_REPLICA);
    FL_SET(&rec, rec_Service, deploymentController, ECS_DeploymentControllerType_ECS);
    FL_SET(&rec, rec_Service, deploymentConfiguration,
           fill_configuration(d, in->deploymentConfiguration, is_daemon));
    FL_SET(&rec, rec_Service, availabilityZoneRebalancing,
           ECS_AvailabilityZoneRebalancing_DISABLED);
    FL_SET(&rec, rec_Service, placementConstraints, in->placementConstraints);
    FL_SET(&rec, rec_Service, placementStrategy, in->placementStrategy);
    FL_SET(&rec, rec_Service, createdAt, d->now_ms);
    FL_SET(&revision, rec_ServiceRevision, family, definition->family);
    FL_SET(&revision, rec_ServiceRevision, revision, definition->revision);
    fl_rollout_begin(d, &rec, &revision);
    FL_SET(out, ecs_CreateServiceResponse, service,
           fl_arena_new_object(d->arena, struct ecs_Service));
    fl_show_service(d, fl_state_service(cluster, rec.name), true, out->service);
    return 0;
}

int fl_update_service(struct fl_decision *d, const void *input, void *output)
{
    const struct ecs_UpdateServiceRequest *in = input;
    struct ecs_UpdateServiceResponse *out = output;
    struct fl_cluster *cluster = fl_find_cluster(d, in->cluster);
    struct fl_service *service = cluster ? find_service(d, cluster, in->service) : NULL;
    if (!service)
        return -1;
    struct rec_Service *rec = fl_service_edit(d, service);
    if (FL_HAS(in, ecs_UpdateServiceRequest, desiredCount))
        FL_SET(rec, rec_Service, desiredCount, in->desiredCount);
    if (in->taskDefinition.n || in->forceNewDeployment) {
        const struct fl_revision *before =
            fl_service_revision(service, rec->deployments.items[0].number);
        struct rec_ServiceRevision revision = *before->rec;
        struct fl_definition *definition =
            in->taskDefinition.n ? fl_find_runnable(d, in->taskDefinition) : before->definition;
        if (!definition)
            return -1;
        FL_SET(&revision, rec_ServiceRevision, family, definition->family);
        FL_SET(&revision, rec_ServiceRevision, revision, definition->revision);
        fl_rollout_begin(d, rec, &revision);
    } else {
        FL_SET(&rec->deployments.items[0], rec_Deployment, desiredCount, rec->desiredCount);
        fl_service_put(d, rec);
    }
    FL_SET(out, ecs_UpdateServiceResponse, service,
           fl_arena_new_object(d->arena, struct ecs_Service));
    fl_show_service(d, service, true, out->service);
    return 0;
}

int fl_delete_service(struct fl_decision *d, const void *input, void *output)
{
    const struct ecs_DeleteServiceRequest *in = input;
    struct ecs_DeleteServiceResponse *out = output;
    struct fl_cluster *cluster = fl_find_cluster(d, in->cluster);
    struct fl_service *service = cluster ? find_service(d, cluster, in->service) : NULL;
    if (!service)
        return -1;
    if (!in->force && service->rec->desiredCount > 0)
        return fl_refuse(d, "InvalidParameterException",
                         "The service cannot be stopped while it is scaled above 0.");
    struct rec_Service *rec = fl_service_edit(d, service);
    FL_SET(rec, rec_Service, status, FL_STR("DRAINING"));
    fl_service_put(d, rec);
    FL_SET(out, ecs_DeleteServiceResponse, service,
           fl_arena_new_object(d->arena, struct ecs_Service));
    fl_show_service(d, service, true, out->service);
    return 0;
}
