/* Services as the API shows them. */
#include "core/task_sets.h"
#include "wire/arn.h"

enum { MAX_DESCRIBED = 10 };

static void show_revision_of(const struct fl_revision *revision, struct ecs_Deployment *out)
{
    const struct rec_ServiceRevision *rec = revision->rec;
    FL_SET(out, ecs_Deployment, taskDefinition,
           revision->definition->rec->definition->taskDefinitionArn);
    if (FL_HAS(rec, rec_ServiceRevision, launchType))
        FL_SET(out, ecs_Deployment, launchType, rec->launchType);
    if (FL_HAS(rec, rec_ServiceRevision, networkConfiguration))
        FL_SET(out, ecs_Deployment, networkConfiguration, rec->networkConfiguration);
    if (FL_HAS(rec, rec_ServiceRevision, serviceConnectConfiguration))
        FL_SET(out, ecs_Deployment, serviceConnectConfiguration, rec->serviceConnectConfiguration);
}

static void show_deployment(struct fl_decision *d, const struct fl_deployment *deployment,
                            struct ecs_Deployment *out)
{
    const struct rec_Deployment *entry = fl_deployment_rec(deployment);
    const struct fl_revision *revision =
        fl_service_revision(deployment->service, deployment->number);
    FL_SET(out, ecs_Deployment, id, fl_deployment_id(d, entry->number));
    FL_SET(out, ecs_Deployment, status, entry->status);
    FL_SET(out, ecs_Deployment, desiredCount, entry->desiredCount);
    FL_SET(out, ecs_Deployment, pendingCount, (int32_t)deployment->pending_count);
    FL_SET(out, ecs_Deployment, runningCount, (int32_t)deployment->running_count);
    FL_SET(out, ecs_Deployment, failedTasks, entry->failedTasks);
    FL_SET(out, ecs_Deployment, createdAt, entry->createdAt);
    FL_SET(out, ecs_Deployment, updatedAt, entry->updatedAt);
    if (FL_HAS(entry, rec_Deployment, rolloutState))
        FL_SET(out, ecs_Deployment, rolloutState, entry->rolloutState);
    if (FL_HAS(entry, rec_Deployment, rolloutStateReason))
        FL_SET(out, ecs_Deployment, rolloutStateReason, entry->rolloutStateReason);
    if (revision)
        show_revision_of(revision, out);
}

/* Under an external controller there are task sets instead. */
static struct ecs_Deployment_list show_deployments(struct fl_decision *d,
                                                   const struct fl_service *service)
{
    struct ecs_Deployment_list list = {0};
    const struct fl_deployment *deployment;
    if (fl_service_is_external(service))
        return list;
    list.items = fl_arena_new_array(d->arena, struct ecs_Deployment, service->rec->deployments.n);
    TAILQ_FOREACH (deployment, &service->deployments, in_service)
        show_deployment(d, deployment, &list.items[list.n++]);
    return list;
}

static struct ecs_ServiceCurrentRevisionSummary_list
show_revisions(struct fl_decision *d, const struct fl_service *service)
{
    struct ecs_ServiceCurrentRevisionSummary_list list = {0};
    const struct fl_deployment *deployment;
    list.items = fl_arena_new_array(d->arena, struct ecs_ServiceCurrentRevisionSummary,
                                    service->rec->deployments.n);
    TAILQ_FOREACH (deployment, &service->deployments, in_service) {
        struct ecs_ServiceCurrentRevisionSummary *out = &list.items[list.n++];
        FL_SET(out, ecs_ServiceCurrentRevisionSummary, arn,
               fl_revision_arn(d, service->rec, deployment->number));
        FL_SET(out, ecs_ServiceCurrentRevisionSummary, requestedTaskCount,
               fl_deployment_rec(deployment)->desiredCount);
        FL_SET(out, ecs_ServiceCurrentRevisionSummary, runningTaskCount,
               (int32_t)deployment->running_count);
        FL_SET(out, ecs_ServiceCurrentRevisionSummary, pendingTaskCount,
               (int32_t)deployment->pending_count);
    }
    return list;
}

static struct ecs_ServiceEvent_list show_events(struct fl_decision *d,
                                                const struct fl_service *service)
{
    struct ecs_ServiceEvent_list list = {0};
    const struct fl_service_event *event;
    list.items = fl_arena_new_array(d->arena, struct ecs_ServiceEvent, service->event_count);
    TAILQ_FOREACH_REVERSE(event, &service->events, fl_service_event_list, in_service)
    {
        struct ecs_ServiceEvent *out = &list.items[list.n++];
        FL_SET(out, ecs_ServiceEvent, id, event->rec->id);
        FL_SET(out, ecs_ServiceEvent, createdAt, event->rec->createdAt);
        FL_SET(out, ecs_ServiceEvent, message, event->rec->message);
    }
    return list;
}

/* Of a DAEMON service as many are desired as the scheduler says. */
static void show_counts(const struct fl_service *service, struct ecs_Service *out)
{
    const struct rec_Service *rec = service->rec;
    const struct fl_deployment *deployment;
    size_t running = 0, pending = 0;
    bool is_daemon = rec->schedulingStrategy == ECS_SchedulingStrategy_DAEMON;
    TAILQ_FOREACH (deployment, &service->deployments, in_service) {
        running += deployment->running_count;
        pending += deployment->pending_count;
    }
    FL_SET(out, ecs_Service, desiredCount,
           is_daemon && rec->deployments.n ? rec->deployments.items[0].desiredCount
                                           : rec->desiredCount);
    FL_SET(out, ecs_Service, runningCount, (int32_t)running);
    FL_SET(out, ecs_Service, pendingCount, (int32_t)pending);
}

/* What was asked for of the service itself. */
static void show_wishes(struct fl_decision *d, const struct rec_Service *rec,
                        struct ecs_Service *out)
{
    struct ecs_DeploymentController *controller =
        fl_arena_new_object(d->arena, struct ecs_DeploymentController);
    FL_SET(controller, ecs_DeploymentController, type, rec->deploymentController);
    FL_SET(out, ecs_Service, deploymentController, controller);
    FL_SET(out, ecs_Service, deploymentConfiguration, rec->deploymentConfiguration);
    FL_SET(out, ecs_Service, schedulingStrategy, rec->schedulingStrategy);
    FL_SET(out, ecs_Service, placementConstraints, rec->placementConstraints);
    FL_SET(out, ecs_Service, placementStrategy, rec->placementStrategy);
    FL_SET(out, ecs_Service, enableECSManagedTags, rec->enableECSManagedTags);
    FL_SET(out, ecs_Service, enableExecuteCommand, rec->enableExecuteCommand);
    FL_SET(out, ecs_Service, availabilityZoneRebalancing, rec->availabilityZoneRebalancing);
    FL_SET(out, ecs_Service, resourceManagementType, ECS_ResourceManagementType_CUSTOMER);
    if (FL_HAS(rec, rec_Service, propagateTags))
        FL_SET(out, ecs_Service, propagateTags, rec->propagateTags);
    if (FL_HAS(rec, rec_Service, launchType))
        FL_SET(out, ecs_Service, launchType, rec->launchType);
    if (FL_HAS(rec, rec_Service, healthCheckGracePeriodSeconds))
        FL_SET(out, ecs_Service, healthCheckGracePeriodSeconds, rec->healthCheckGracePeriodSeconds);
    if (FL_HAS(rec, rec_Service, createdBy))
        FL_SET(out, ecs_Service, createdBy, rec->createdBy);
}

static void show_configuration(const struct fl_revision *revision, struct ecs_Service *out)
{
    FL_SET(out, ecs_Service, taskDefinition,
           revision->definition->rec->definition->taskDefinitionArn);
    if (FL_HAS(revision->rec, rec_ServiceRevision, networkConfiguration))
        FL_SET(out, ecs_Service, networkConfiguration, revision->rec->networkConfiguration);
}

/* The PRIMARY task set's. */
static void show_primary_set(const struct fl_service *service, struct ecs_Service *out)
{
    const struct rec_Deployment_list *sets = &service->rec->deployments;
    if (sets->n && fl_str_is(sets->items[0].status, "PRIMARY"))
        show_configuration(fl_service_revision(service, sets->items[0].number), out);
}

/* The revision that counts, and the service deployment that is under way or was the last one. */
static void show_current(struct fl_decision *d, const struct fl_service *service,
                         struct ecs_Service *out)
{
    const struct rec_Service *rec = service->rec;
    const struct fl_rollout *last = fl_service_current(service);
    if (!last)
        last = RB_MAX(fl_rollout_tree, (struct fl_rollout_tree *)&service->rollouts);
    if (!last)
        return;
    int64_t number = rec->deployments.n ? rec->deployments.items[0].number : last->rec->target;
    const struct fl_revision *revision = fl_service_revision(service, number);
    FL_SET(out, ecs_Service, currentServiceDeployment, fl_rollout_arn(d, last->rec));
    FL_SET(out, ecs_Service, currentServiceRevisions, show_revisions(d, service));
    if (revision)
        show_configuration(revision, out);
}

void fl_show_service(struct fl_decision *d, const struct fl_service *service, bool with_tags,
                     struct ecs_Service *out)
{
    const struct rec_Service *rec = service->rec;
    FL_SET(out, ecs_Service, serviceArn, fl_service_arn(d, rec));
    FL_SET(out, ecs_Service, serviceName, rec->name);
    FL_SET(out, ecs_Service, clusterArn, fl_cluster_arn(d, rec->cluster));
    FL_SET(out, ecs_Service, status, rec->status);
    FL_SET(out, ecs_Service, loadBalancers, out->loadBalancers);
    FL_SET(out, ecs_Service, serviceRegistries, out->serviceRegistries);
    show_counts(service, out);
    show_wishes(d, rec, out);
    show_current(d, service, out);
    FL_SET(out, ecs_Service, deployments, show_deployments(d, service));
    if (fl_service_is_external(service)) {
        FL_SET(out, ecs_Service, taskSets, fl_show_task_sets(d, service));
        show_primary_set(service, out);
    }
    FL_SET(out, ecs_Service, events, show_events(d, service));
    FL_SET(out, ecs_Service, createdAt, rec->createdAt);
    if (with_tags)
        FL_SET(out, ecs_Service, tags, rec->tags);
    /* The records may be replaced before the turn's end: what is shown must not change with them.
     */
    *out = *(struct ecs_Service *)fl_shape_copy(&ecs_shape_Service, out, d->arena);
}

static struct fl_str missing_arn(struct fl_decision *d, const struct fl_cluster *cluster,
                                 struct fl_str given, struct fl_str name)
{
    struct fl_arn arn;
    struct rec_Service rec = {.cluster = cluster->name, .name = name};
    return fl_arn_parse(given, &arn) ? given : fl_service_arn(d, &rec);
}

int fl_describe_services(struct fl_decision *d, const void *input, void *output)
{
    const struct ecs_DescribeServicesRequest *in = input;
    struct ecs_DescribeServicesResponse *out = output;
    struct fl_cluster *cluster = fl_find_cluster(d, in->cluster);
    bool with_tags = false;
    if (!cluster)
        return -1;
    if (in->services.n == 0)
        return fl_refuse(d, "InvalidParameterException", "Services cannot be empty.");
    if (in->services.n > MAX_DESCRIBED)
        return fl_refuse(d, "InvalidParameterException",
                         "At most %d services can be described at a time.", MAX_DESCRIBED);
    for (size_t i = 0; i < in->include.n; i++)
        with_tags |= in->include.items[i] == ECS_ServiceField_TAGS;
    out->services.items = fl_arena_new_array(d->arena, struct ecs_Service, in->services.n);
    out->failures.items = fl_arena_new_array(d->arena, struct ecs_Failure, in->services.n);
    for (size_t i = 0; i < in->services.n; i++) {
        struct fl_str name;
        if (fl_read_service_name(d, cluster, in->services.items[i], &name) < 0)
            return -1;
        const struct fl_service *service = fl_state_service(cluster, name);
        if (service) {
            fl_show_service(d, service, with_tags, &out->services.items[out->services.n++]);
            continue;
        }
        struct ecs_Failure *failure = &out->failures.items[out->failures.n++];
        FL_SET(failure, ecs_Failure, arn, missing_arn(d, cluster, in->services.items[i], name));
        FL_SET(failure, ecs_Failure, reason, FL_STR("MISSING"));
    }
    FL_SET(out, ecs_DescribeServicesResponse, services, out->services);
    FL_SET(out, ecs_DescribeServicesResponse, failures, out->failures);
    return 0;
}
