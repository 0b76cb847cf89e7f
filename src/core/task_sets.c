/* Task sets: the calls that make, scale, promote and remove them, and what the scheduler makes of
 * their scale. */
#include "core/task_sets.h"

#include "core/service_check.h"
#include "wire/arn.h"

enum { MAX_TOKEN = 36, MAX_EXTERNAL_ID = 255, MAX_DESCRIBED = 100 };
/* Hundredths of a percent: what a record knows of a scale. */
enum { FULL_SCALE = 10000 };

bool fl_service_is_external(const struct fl_service *service)
{
    return service->rec->deploymentController == ECS_DeploymentControllerType_EXTERNAL;
}

static bool is_draining(const struct rec_Deployment *entry)
{
    return fl_str_is(entry->status, "DRAINING");
}

/* Rounded up. */
static size_t computed_count(const struct rec_Service *rec, const struct rec_Deployment *entry)
{
    if (is_draining(entry))
        return 0;
    return ((size_t)rec->desiredCount * (size_t)entry->scale + FULL_SCALE - 1) / FULL_SCALE;
}

/* ---- the scheduler's part ---- */

void fl_task_sets_target(struct fl_schedule *s)
{
    const struct rec_Service *rec = s->service->rec;
    bool is_active = fl_str_is(rec->status, "ACTIVE");
    size_t all = 0;
    for (size_t i = 0; i < s->count; i++) {
        struct fl_census *census = &s->censuses[i];
        const struct rec_Deployment *entry = census->entry;
        census->wanted = is_active ? computed_count(rec, entry) : 0;
        census->may_start = is_active && !fl_schedule_throttled(s, entry);
        all += census->wanted;
    }
    s->floor = (all * (size_t)rec->deploymentConfiguration->minimumHealthyPercent + 99) / 100;
    s->ceiling = all * (size_t)rec->deploymentConfiguration->maximumPercent / 100;
}

static bool is_stable(const struct fl_census *census)
{
    return census->count == census->wanted && census->healthy == census->wanted &&
           census->in_state[FL_MEMBER_DRAINED] == 0;
}

bool fl_task_sets_show(struct fl_schedule *s)
{
    struct rec_Service *rec = NULL;
    for (size_t i = 0; i < s->count; i++) {
        const struct fl_census *census = &s->censuses[i];
        if (census->entry->desiredCount == (int32_t)census->wanted)
            continue;
        if (!rec)
            rec = fl_service_edit(s->d, s->service);
        struct rec_Deployment *entry = &rec->deployments.items[i];
        FL_SET(entry, rec_Deployment, desiredCount, (int32_t)census->wanted);
        FL_SET(entry, rec_Deployment, updatedAt, s->d->now_ms);
        fl_service_say(s->d, s->service,
                       "updated computedDesiredCount for taskSet ecs-svc/%lld to %zu.",
                       (long long)entry->number, census->wanted);
    }
    if (rec)
        fl_service_put(s->d, rec);
    return rec != NULL;
}

static bool note_stability(struct fl_schedule *s, const struct fl_census *census,
                           struct rec_Deployment *entry)
{
    enum ecs_StabilityStatus now =
        is_stable(census) ? ECS_StabilityStatus_STEADY_STATE : ECS_StabilityStatus_STABILIZING;
    if (FL_HAS(entry, rec_Deployment, stabilityStatus) && entry->stabilityStatus == now)
        return false;
    FL_SET(entry, rec_Deployment, stabilityStatus, now);
    FL_SET(entry, rec_Deployment, stabilityStatusAt, s->d->now_ms);
    FL_SET(entry, rec_Deployment, updatedAt, s->d->now_ms);
    if (now == ECS_StabilityStatus_STEADY_STATE)
        fl_service_say_of(s->d, s->service, entry->number, "updated state to STEADY_STATE.");
    return true;
}

bool fl_task_sets_settle(struct fl_schedule *s, struct rec_Service *rec, bool *ret_stable)
{
    bool changed = false, all_stable = true;
    size_t n = 0;
    for (size_t i = 0; i < s->count; i++) {
        struct fl_census *census = &s->censuses[i];
        struct rec_Deployment *entry = &rec->deployments.items[i];
        if (is_draining(entry) && census->count == 0) {
            changed = true;
            continue;
        }
        changed |= note_stability(s, census, entry);
        all_stable &= is_stable(census);
        rec->deployments.items[n++] = *entry;
    }
    rec->deployments.n = n;
    *ret_stable = all_stable && n;
    return changed;
}

/* ---- as the API shows them ---- */

static struct fl_str set_arn(struct fl_decision *d, const struct fl_service *service,
                             int64_t number)
{
    return fl_str_printf(d->arena, "arn:aws:ecs:%.*s:%.*s:task-set/%.*s/%.*s/ecs-svc/%lld",
                         FL_STR_ARG(d->core->region), FL_STR_ARG(d->core->account),
                         FL_STR_ARG(service->cluster->name), FL_STR_ARG(service->name),
                         (long long)number);
}

static void show_configuration(const struct fl_revision *revision, struct ecs_TaskSet *out)
{
    const struct rec_ServiceRevision *rec = revision->rec;
    FL_SET(out, ecs_TaskSet, taskDefinition,
           revision->definition->rec->definition->taskDefinitionArn);
    FL_SET(out, ecs_TaskSet, launchType,
           FL_HAS(rec, rec_ServiceRevision, launchType) ? rec->launchType : ECS_LaunchType_EC2);
    if (FL_HAS(rec, rec_ServiceRevision, networkConfiguration))
        FL_SET(out, ecs_TaskSet, networkConfiguration, rec->networkConfiguration);
    FL_SET(out, ecs_TaskSet, loadBalancers, rec->loadBalancers);
    FL_SET(out, ecs_TaskSet, serviceRegistries, rec->serviceRegistries);
}

static void show_set(struct fl_decision *d, const struct fl_deployment *set, bool with_tags,
                     struct ecs_TaskSet *out)
{
    const struct fl_service *service = set->service;
    const struct rec_Deployment *entry = fl_deployment_rec(set);
    struct ecs_Scale *scale = fl_arena_new_object(d->arena, struct ecs_Scale);
    FL_SET(scale, ecs_Scale, value, entry->scale / 100.0);
    FL_SET(scale, ecs_Scale, unit, ECS_ScaleUnit_PERCENT);
    FL_SET(out, ecs_TaskSet, id, fl_deployment_id(d, set->number));
    FL_SET(out, ecs_TaskSet, taskSetArn, set_arn(d, service, set->number));
    FL_SET(out, ecs_TaskSet, serviceArn, fl_service_arn(d, service->rec));
    FL_SET(out, ecs_TaskSet, clusterArn, fl_cluster_arn(d, service->cluster->name));
    FL_SET(out, ecs_TaskSet, status, entry->status);
    FL_SET(out, ecs_TaskSet, computedDesiredCount, (int32_t)computed_count(service->rec, entry));
    FL_SET(out, ecs_TaskSet, pendingCount, (int32_t)set->pending_count);
    FL_SET(out, ecs_TaskSet, runningCount, (int32_t)set->running_count);
    FL_SET(out, ecs_TaskSet, createdAt, entry->createdAt);
    FL_SET(out, ecs_TaskSet, updatedAt, entry->updatedAt);
    FL_SET(out, ecs_TaskSet, scale, scale);
    FL_SET(out, ecs_TaskSet, stabilityStatus,
           FL_HAS(entry, rec_Deployment, stabilityStatus) ? entry->stabilityStatus
                                                          : ECS_StabilityStatus_STABILIZING);
    FL_SET(out, ecs_TaskSet, stabilityStatusAt,
           FL_HAS(entry, rec_Deployment, stabilityStatusAt) ? entry->stabilityStatusAt
                                                            : entry->createdAt);
    if (FL_HAS(entry, rec_Deployment, externalId))
        FL_SET(out, ecs_TaskSet, externalId, entry->externalId);
    show_configuration(fl_service_revision(service, set->number), out);
    FL_SET(out, ecs_TaskSet, tags, out->tags);
    if (with_tags)
        out->tags = entry->tags;
    *out = *(struct ecs_TaskSet *)fl_shape_copy(&ecs_shape_TaskSet, out, d->arena);
}

struct ecs_TaskSet_list fl_show_task_sets(struct fl_decision *d, const struct fl_service *service)
{
    const struct fl_deployment *set;
    struct ecs_TaskSet_list list = {0};
    list.items = fl_arena_new_array(d->arena, struct ecs_TaskSet, service->rec->deployments.n);
    TAILQ_FOREACH (set, &service->deployments, in_service)
        show_set(d, set, false, &list.items[list.n++]);
    return list;
}

static struct ecs_TaskSet *shown(struct fl_decision *d, const struct fl_deployment *set)
{
    struct ecs_TaskSet *out = fl_arena_new_object(d->arena, struct ecs_TaskSet);
    show_set(d, set, true, out);
    return out;
}

/* ---- the calls ---- */

/* The PRIMARY is the first of the record. */
static void put_primary_first(struct rec_Service *rec)
{
    struct rec_Deployment *items = rec->deployments.items;
    for (size_t i = 1; i < rec->deployments.n; i++) {
        struct rec_Deployment entry = items[i];
        if (!fl_str_is(entry.status, "PRIMARY"))
            continue;
        memmove(&items[1], &items[0], i * sizeof(*items));
        items[0] = entry;
        return;
    }
}

/* NULL after refusing: a service that is ACTIVE and has task sets. */
static struct fl_service *find_external(struct fl_decision *d, struct fl_str cluster_name,
                                        struct fl_str given)
{
    struct fl_cluster *cluster = fl_find_cluster(d, cluster_name);
    struct fl_service *service = cluster ? fl_find_service(d, cluster, given) : NULL;
    if (!service)
        return NULL;
    if (!fl_str_is(service->rec->status, "ACTIVE")) {
        (void)fl_refuse(d, "ServiceNotActiveException", "Service was not ACTIVE.");
        return NULL;
    }
    if (!fl_service_is_external(service)) {
        (void)fl_refuse(d, "InvalidParameterException",
                        "Task sets are for services with the EXTERNAL deployment controller.");
        return NULL;
    }
    return service;
}

/* "ecs-svc/<number>", the number alone, or the ARN, which is this service's. NULL: none. */
static struct fl_deployment *lookup(struct fl_decision *d, const struct fl_service *service,
                                    struct fl_str given)
{
    int64_t number;
    struct fl_deployment *set =
        fl_str_to_i64(fl_id_of(given), &number) ? fl_service_deployment(service, number) : NULL;
    if (set && fl_str_starts(given, FL_STR("arn:")) &&
        !fl_str_eq(given, set_arn(d, service, number)))
        return NULL;
    return set;
}

static struct fl_deployment *find_set(struct fl_decision *d, const struct fl_service *service,
                                      struct fl_str given)
{
    struct fl_deployment *set = lookup(d, service, given);
    if (!set)
        (void)fl_refuse(d, "TaskSetNotFoundException", "The specified task set was not found.");
    return set;
}

static int check_scale(struct fl_decision *d, const struct ecs_Scale *scale)
{
    if (scale && !(scale->value >= 0 && scale->value <= 100))
        return fl_refuse(d, "InvalidParameterException",
                         "scale.value must be between 0 and 100 percent.");
    return 0;
}

static int32_t hundredths(const struct ecs_Scale *scale)
{
    return (int32_t)(scale->value * 100 + 0.5);
}

/* What no task set of ours can have yet. */
static int check_supported(struct fl_decision *d, const struct ecs_CreateTaskSetRequest *in)
{
    const char *member = in->loadBalancers.n              ? "loadBalancers"
                         : in->serviceRegistries.n        ? "serviceRegistries"
                         : in->capacityProviderStrategy.n ? "capacityProviderStrategy"
                         : in->platformVersion.n          ? "platformVersion"
                                                          : NULL;
    if (member)
        return fl_refuse(d, "ClientException", "%s is not implemented yet.", member);
    return 0;
}

static int check_create(struct fl_decision *d, const struct fl_service *service,
                        const struct ecs_CreateTaskSetRequest *in)
{
    if (in->clientToken.n > MAX_TOKEN)
        return fl_refuse(d, "InvalidParameterException", "idempotency token longer than 36.");
    if (in->externalId.n > MAX_EXTERNAL_ID)
        return fl_refuse(d, "InvalidParameterException", "externalId longer than %d.",
                         MAX_EXTERNAL_ID);
    if (service->rec->deployments.n >= FL_MAX_TASK_SETS)
        return fl_refuse(d, "LimitExceededException", "A service can have at most %d task sets.",
                         FL_MAX_TASK_SETS);
    if (fl_service_check_size(d) < 0 || check_scale(d, in->scale) < 0 || check_supported(d, in) < 0)
        return -1;
    return fl_check_tags(d, &in->tags, "InvalidParameterException");
}

static struct fl_deployment *made_with(const struct fl_service *service, struct fl_str token)
{
    const struct rec_Deployment_list *list = &service->rec->deployments;
    for (size_t i = 0; token.n && i < list->n; i++)
        if (fl_str_eq(list->items[i].clientToken, token))
            return fl_service_deployment(service, list->items[i].number);
    return NULL;
}

static void put_revision(struct fl_decision *d, const struct fl_service *service, int64_t number,
                         const struct ecs_CreateTaskSetRequest *in,
                         const struct fl_definition *definition)
{
    struct rec_ServiceRevision rec = {0};
    FL_SET(&rec, rec_ServiceRevision, v, FL_RECORD_VERSION);
    FL_SET(&rec, rec_ServiceRevision, cluster, service->cluster->name);
    FL_SET(&rec, rec_ServiceRevision, service, service->name);
    FL_SET(&rec, rec_ServiceRevision, number, number);
    FL_SET(&rec, rec_ServiceRevision, createdAt, d->now_ms);
    FL_SET(&rec, rec_ServiceRevision, family, definition->family);
    FL_SET(&rec, rec_ServiceRevision, revision, definition->revision);
    if (FL_HAS(in, ecs_CreateTaskSetRequest, launchType))
        FL_SET(&rec, rec_ServiceRevision, launchType, in->launchType);
    if (in->networkConfiguration)
        FL_SET(&rec, rec_ServiceRevision, networkConfiguration, in->networkConfiguration);
    fl_put(d, FL_RECORD_REVISION, &rec);
}

/* What the scheduler will ask for must be possible in principle. */
static int check_launch(struct fl_decision *d, const struct fl_service *service,
                        const struct ecs_CreateTaskSetRequest *in, struct fl_definition *definition)
{
    struct ecs_RunTaskRequest run = {0};
    struct fl_launch launch;
    FL_SET(&run, ecs_RunTaskRequest, placementConstraints, service->rec->placementConstraints);
    FL_SET(&run, ecs_RunTaskRequest, placementStrategy, service->rec->placementStrategy);
    if (FL_HAS(in, ecs_CreateTaskSetRequest, launchType))
        FL_SET(&run, ecs_RunTaskRequest, launchType, in->launchType);
    if (in->networkConfiguration)
        FL_SET(&run, ecs_RunTaskRequest, networkConfiguration, in->networkConfiguration);
    return fl_launch_prepare_for(d, &run, service->cluster, definition, &launch);
}

int fl_create_task_set(struct fl_decision *d, const void *input, void *output)
{
    const struct ecs_CreateTaskSetRequest *in = input;
    struct ecs_CreateTaskSetResponse *out = output;
    struct fl_service *service = find_external(d, in->cluster, in->service);
    if (!service)
        return -1;
    struct fl_deployment *earlier = made_with(service, in->clientToken);
    struct fl_str hash = fl_request_hash(d, &ecs_shape_CreateTaskSetRequest, in);
    if (earlier && !fl_str_eq(fl_deployment_rec(earlier)->requestHash, hash))
        return fl_refuse(d, "InvalidParameterException",
                         "Creation of task set was not idempotent.");
    if (earlier) {
        FL_SET(out, ecs_CreateTaskSetResponse, taskSet, shown(d, earlier));
        return 0;
    }
    if (check_create(d, service, in) < 0)
        return -1;
    struct fl_definition *definition = fl_find_runnable(d, in->taskDefinition);
    if (!definition || check_launch(d, service, in, definition) < 0)
        return -1;
    int64_t number = fl_new_number(d, service);
    struct rec_Service *rec = fl_service_edit(d, service);
    struct rec_Deployment *entry = fl_service_add_entry(d, rec, number, FL_STR("ACTIVE"));
    FL_SET(entry, rec_Deployment, scale, in->scale ? hundredths(in->scale) : 0);
    if (in->externalId.n)
        FL_SET(entry, rec_Deployment, externalId, in->externalId);
    if (in->clientToken.n) {
        FL_SET(entry, rec_Deployment, clientToken, in->clientToken);
        FL_SET(entry, rec_Deployment, requestHash, hash);
    }
    FL_SET(entry, rec_Deployment, tags, in->tags);
    put_primary_first(rec);
    fl_service_put(d, rec);
    put_revision(d, service, number, in, definition);
    FL_SET(out, ecs_CreateTaskSetResponse, taskSet,
           shown(d, fl_service_deployment(service, number)));
    return 0;
}

int fl_update_task_set(struct fl_decision *d, const void *input, void *output)
{
    const struct ecs_UpdateTaskSetRequest *in = input;
    struct ecs_UpdateTaskSetResponse *out = output;
    struct fl_service *service = find_external(d, in->cluster, in->service);
    struct fl_deployment *set = service ? find_set(d, service, in->taskSet) : NULL;
    if (!set || check_scale(d, in->scale) < 0)
        return -1;
    if (is_draining(fl_deployment_rec(set)))
        return fl_refuse(d, "InvalidParameterException", "The task set is being deleted.");
    struct rec_Service *rec = fl_service_edit(d, service);
    struct rec_Deployment *entry = fl_service_entry(rec, set->number);
    FL_SET(entry, rec_Deployment, scale, hundredths(in->scale));
    FL_SET(entry, rec_Deployment, updatedAt, d->now_ms);
    fl_service_put(d, rec);
    FL_SET(out, ecs_UpdateTaskSetResponse, taskSet, shown(d, set));
    return 0;
}

/* The one that was PRIMARY stays ACTIVE until it is scaled down or deleted. */
int fl_set_primary_task_set(struct fl_decision *d, const void *input, void *output)
{
    const struct ecs_UpdateServicePrimaryTaskSetRequest *in = input;
    struct ecs_UpdateServicePrimaryTaskSetResponse *out = output;
    struct fl_service *service = find_external(d, in->cluster, in->service);
    struct fl_deployment *set = service ? find_set(d, service, in->primaryTaskSet) : NULL;
    if (!set)
        return -1;
    if (is_draining(fl_deployment_rec(set)))
        return fl_refuse(d, "InvalidParameterException", "The task set is being deleted.");
    struct rec_Service *rec = fl_service_edit(d, service);
    for (size_t i = 0; i < rec->deployments.n; i++) {
        struct rec_Deployment *entry = &rec->deployments.items[i];
        if (entry->number == set->number)
            FL_SET(entry, rec_Deployment, status, FL_STR("PRIMARY"));
        else if (!is_draining(entry))
            FL_SET(entry, rec_Deployment, status, FL_STR("ACTIVE"));
    }
    put_primary_first(rec);
    fl_service_put(d, rec);
    FL_SET(out, ecs_UpdateServicePrimaryTaskSetResponse, taskSet, shown(d, set));
    return 0;
}

/* Scaled down is a set that has no tasks, whatever its scale asks for: one that never got any goes
 * without force, as Terraform's provider relies on. */
static bool has_tasks(const struct fl_deployment *set)
{
    return set->running_count + set->pending_count > 0;
}

int fl_delete_task_set(struct fl_decision *d, const void *input, void *output)
{
    const struct ecs_DeleteTaskSetRequest *in = input;
    struct ecs_DeleteTaskSetResponse *out = output;
    struct fl_service *service = find_external(d, in->cluster, in->service);
    struct fl_deployment *set = service ? find_set(d, service, in->taskSet) : NULL;
    if (!set)
        return -1;
    if (!in->force && fl_deployment_rec(set)->scale > 0 && has_tasks(set))
        return fl_refuse(d, "InvalidParameterException",
                         "The task set cannot be deleted while it is scaled above 0: scale it to 0 "
                         "or use force.");
    struct rec_Service *rec = fl_service_edit(d, service);
    struct rec_Deployment *entry = fl_service_entry(rec, set->number);
    FL_SET(entry, rec_Deployment, status, FL_STR("DRAINING"));
    FL_SET(entry, rec_Deployment, updatedAt, d->now_ms);
    fl_service_put(d, rec);
    FL_SET(out, ecs_DeleteTaskSetResponse, taskSet, shown(d, set));
    return 0;
}

int fl_describe_task_sets(struct fl_decision *d, const void *input, void *output)
{
    const struct ecs_DescribeTaskSetsRequest *in = input;
    struct ecs_DescribeTaskSetsResponse *out = output;
    struct fl_service *service = find_external(d, in->cluster, in->service);
    bool with_tags = false;
    if (!service)
        return -1;
    if (in->taskSets.n > MAX_DESCRIBED)
        return fl_refuse(d, "InvalidParameterException",
                         "At most %d task sets can be described at a time.", MAX_DESCRIBED);
    for (size_t i = 0; i < in->include.n; i++)
        with_tags |= in->include.items[i] == ECS_TaskSetField_TAGS;
    size_t room = in->taskSets.n ? in->taskSets.n : service->rec->deployments.n;
    const struct fl_deployment *set;
    out->taskSets.items = fl_arena_new_array(d->arena, struct ecs_TaskSet, room);
    out->failures.items = fl_arena_new_array(d->arena, struct ecs_Failure, room);
    for (size_t i = 0; i < in->taskSets.n; i++) {
        struct ecs_Failure *failure = &out->failures.items[out->failures.n];
        if ((set = lookup(d, service, in->taskSets.items[i]))) {
            show_set(d, set, with_tags, &out->taskSets.items[out->taskSets.n++]);
            continue;
        }
        out->failures.n++;
        FL_SET(failure, ecs_Failure, arn, in->taskSets.items[i]);
        FL_SET(failure, ecs_Failure, reason, FL_STR("MISSING"));
    }
    if (in->taskSets.n == 0)
        TAILQ_FOREACH (set, &service->deployments, in_service)
            show_set(d, set, with_tags, &out->taskSets.items[out->taskSets.n++]);
    FL_SET(out, ecs_DescribeTaskSetsResponse, taskSets, out->taskSets);
    FL_SET(out, ecs_DescribeTaskSetsResponse, failures, out->failures);
    return 0;
}
