/* One more task of a service, as the launch of it: what RunTask would be asked for. */
#include "core/scheduler.h"

/* As ECS does for services that name none: balanced over the zones, then over the instances of
 * each, by this service's tasks. It is not shown. */
static struct ecs_PlacementStrategy_list default_strategies(struct fl_decision *d)
{
    static const struct fl_str fields[] = {{"attribute:ecs.availability-zone", 31},
                                           {"instanceId", 10}};
    struct ecs_PlacementStrategy_list list = {.n = FL_ARRAY_SIZE(fields)};
    list.items = fl_arena_new_array(d->arena, struct ecs_PlacementStrategy, list.n);
    for (size_t i = 0; i < list.n; i++) {
        FL_SET(&list.items[i], ecs_PlacementStrategy, type, ECS_PlacementStrategyType_spread);
        FL_SET(&list.items[i], ecs_PlacementStrategy, field, fields[i]);
    }
    return list;
}

static void add_tags(const struct rec_Service *rec, struct ecs_RunTaskRequest *run)
{
    if (FL_HAS(rec, rec_Service, enableECSManagedTags))
        FL_SET(run, ecs_RunTaskRequest, enableECSManagedTags, rec->enableECSManagedTags);
    if (!FL_HAS(rec, rec_Service, propagateTags))
        return;
    if (rec->propagateTags == ECS_PropagateTags_SERVICE)
        FL_SET(run, ecs_RunTaskRequest, tags, rec->tags);
    else
        FL_SET(run, ecs_RunTaskRequest, propagateTags, rec->propagateTags);
}

static struct ecs_RunTaskRequest request_of(struct fl_decision *d, const struct rec_Service *rec,
                                            const struct rec_ServiceRevision *config)
{
    struct ecs_RunTaskRequest run = {0};
    bool has_strategy =
        rec->placementStrategy.n || rec->schedulingStrategy == ECS_SchedulingStrategy_DAEMON;
    FL_SET(&run, ecs_RunTaskRequest, group,
           fl_str_printf(d->arena, "service:%.*s", FL_STR_ARG(rec->name)));
    FL_SET(&run, ecs_RunTaskRequest, startedBy, fl_deployment_id(d, config->number));
    FL_SET(&run, ecs_RunTaskRequest, placementConstraints, rec->placementConstraints);
    FL_SET(&run, ecs_RunTaskRequest, placementStrategy,
           has_strategy ? rec->placementStrategy : default_strategies(d));
    if (FL_HAS(config, rec_ServiceRevision, launchType))
        FL_SET(&run, ecs_RunTaskRequest, launchType, config->launchType);
    if (FL_HAS(config, rec_ServiceRevision, networkConfiguration))
        FL_SET(&run, ecs_RunTaskRequest, networkConfiguration, config->networkConfiguration);
    add_tags(rec, &run);
    return run;
}

int fl_service_prepare(struct fl_decision *d, const struct rec_Service *rec,
                       const struct rec_ServiceRevision *config, struct fl_definition *definition,
                       struct fl_launch *ret_launch)
{
    struct fl_cluster *cluster = fl_state_cluster(d->core, rec->cluster);
    struct ecs_RunTaskRequest run = request_of(d, rec, config);
    if (fl_launch_prepare_for(d, &run, cluster, definition, ret_launch) < 0)
        return -1;
    char part[FL_PART_NAME];
    ret_launch->placement.requirement.part =
        fl_str_dup(d->arena, fl_part_name(part, rec->name, config->number));
    FL_SET(&ret_launch->rec, rec_Task, deployment, config->number);
    return 0;
}
