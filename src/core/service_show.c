/* Services as the API shows them. */
#include "core/scheduler.h"

static struct ecs_Deployment_list show_deployments(struct fl_decision *d,
                                                   const struct fl_service *service)
{
    struct ecs_Deployment_list list = {0};
    const struct fl_deployment *deployment;
    list.items = fl_arena_new_array(d->arena, struct ecs_Deployment, service->rec->deployments.n);
    TAILQ_FOREACH (deployment, &service->deployments, in_service) {
        const struct rec_Deployment *entry = fl_deployment_rec(deployment);
        struct ecs_Deployment *out = &list.items[list.n++];
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
        FL_SET(out, ecs_Deployment, rolloutStateReason, entry->rolloutStateReason);
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

static void count_tasks(const struct fl_service *service, struct ecs_Service *out)
{
    const struct fl_deployment *deployment;
    size_t running = 0, pending = 0;
    TAILQ_FOREACH (deployment, &service->deployments, in_service) {
        running += deployment->running_count;
        pending += deployment->pending_count;
    }
    FL_SET(out, ecs_Service, runningCount, (int32_t)running);
    FL_SET(out, ecs_Service, pendingCount, (int32_t)pending);
}

void fl_show_service(struct fl_decision *d, const struct fl_service *service, bool with_tags,
                     struct ecs_Service *out)
{
    const struct rec_Service *rec = service->rec;
    FL_SET(out, ecs_Service, serviceArn, fl_service_arn(d, rec));
    FL_SET(out, ecs_Service, serviceName, rec->name);
    FL_SET(out, ecs_Service, clusterArn, fl_cluster_arn(d, rec->cluster));
    FL_SET(out, ecs_Service, status, rec->status);
    FL_SET(out, ecs_Service, desiredCount, rec->desiredCount);
    count_tasks(service, out);
    FL_SET(out, ecs_Service, deployments, show_deployments(d, service));
    FL_SET(out, ecs_Service, events, show_events(d, service));
    FL_SET(out, ecs_Service, createdAt, rec->createdAt);
    if (with_tags)
        FL_SET(out, ecs_Service, tags, rec->tags);
    /* The records may be replaced before the turn's end: what is shown must not change with them.
     */
    *out = *(struct ecs_Service *)fl_shape_copy(&ecs_shape_Service, out, d->arena);
}

int fl_describe_services(struct fl_decision *d, const void *input, void *output)
{
    const struct ecs_DescribeServicesRequest *in = input;
    struct ecs_DescribeServicesResponse *out = output;
    struct fl_cluster *cluster = fl_find_cluster(d, in->cluster);
    if (!cluster)
        return -1;
    out->services.items = fl_arena_new_array(d->arena, struct ecs_Service, in->services.n);
    for (size_t i = 0; i < in->services.n; i++) {
        struct fl_service *service = fl_state_service(cluster, fl_id_of(in->services.items[i]));
        if (service)
            fl_show_service(d, service, false, &out->services.items[out->services.n++]);
    }
    FL_SET(out, ecs_DescribeServicesResponse, services, out->services);
    FL_SET(out, ecs_DescribeServicesResponse, failures, out->failures);
    return 0;
}
