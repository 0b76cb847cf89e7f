/* DescribeTasks, ListTasks, StopTask, and how a task is shown. */
#include "core/decide.h"
#include "core/page.h"
#include "core/service_change.h"
#include "wire/arn.h"

enum { MAX_DESCRIBED = 100, MAX_REASON = 1024 };

static struct fl_str status_text(enum rec_TaskStatus status)
{
    return fl_str_of(fl_enum_text(&rec_enum_TaskStatus, (int)status));
}

static struct fl_str number(struct fl_decision *d, int64_t value)
{
    return fl_str_printf(d->arena, "%lld", (long long)value);
}

static const struct ecs_ContainerDefinition *definition_of(const struct fl_task *task,
                                                           struct fl_str name)
{
    const struct ecs_TaskDefinition *def = task->definition->rec->definition;
    for (size_t i = 0; i < def->containerDefinitions.n; i++)
        if (fl_str_eq(def->containerDefinitions.items[i].name, name))
            return &def->containerDefinitions.items[i];
    return NULL;
}

static enum ecs_HealthStatus health_of(const struct rec_TaskContainer *c)
{
    return FL_HAS(c, rec_TaskContainer, healthStatus) ? c->healthStatus : ECS_HealthStatus_UNKNOWN;
}

/* Of the essential containers: one UNHEALTHY makes the task so, else one UNKNOWN (a container
 * without a check is). */
static enum ecs_HealthStatus task_health(const struct fl_task *task)
{
    enum ecs_HealthStatus health = ECS_HealthStatus_HEALTHY;
    for (size_t i = 0; i < task->rec->containers.n; i++) {
        const struct rec_TaskContainer *rec = &task->rec->containers.items[i];
        const struct ecs_ContainerDefinition *c = definition_of(task, rec->name);
        if (FL_BUG(57, false, c && !c->essential))
            continue;
        if (health_of(rec) == ECS_HealthStatus_UNHEALTHY)
            return ECS_HealthStatus_UNHEALTHY;
        if (health_of(rec) == ECS_HealthStatus_UNKNOWN)
            health = ECS_HealthStatus_UNKNOWN;
    }
    return health;
}

enum fl_checks fl_task_checks(const struct fl_task *task)
{
    enum fl_checks checks = FL_CHECKS_NONE;
    for (size_t i = 0; i < task->rec->containers.n; i++) {
        const struct rec_TaskContainer *rec = &task->rec->containers.items[i];
        const struct ecs_ContainerDefinition *c = definition_of(task, rec->name);
        if (!c || !c->essential || !c->healthCheck)
            continue;
        if (health_of(rec) == ECS_HealthStatus_UNHEALTHY)
            return FL_CHECKS_FAILED;
        if (health_of(rec) == ECS_HealthStatus_UNKNOWN)
            checks = FL_CHECKS_UNKNOWN;
        else if (checks == FL_CHECKS_NONE)
            checks = FL_CHECKS_PASSED;
    }
    return checks;
}

static void show_container(struct fl_decision *d, const struct fl_task *task,
                           const struct rec_TaskContainer *rec, struct ecs_Container *out)
{
    const struct ecs_ContainerDefinition *c = definition_of(task, rec->name);
    FL_SET(out, ecs_Container, containerArn, fl_container_arn(d, task->rec, rec));
    FL_SET(out, ecs_Container, taskArn, fl_task_arn(d, task->rec));
    FL_SET(out, ecs_Container, name, rec->name);
    FL_SET(out, ecs_Container, lastStatus, status_text(rec->status));
    FL_SET(out, ecs_Container, networkBindings, rec->networkBindings);
    FL_SET(out, ecs_Container, networkInterfaces, out->networkInterfaces);
    FL_SET(out, ecs_Container, healthStatus, health_of(rec));
    if (FL_HAS(rec, rec_TaskContainer, runtimeId))
        FL_SET(out, ecs_Container, runtimeId, rec->runtimeId);
    if (FL_HAS(rec, rec_TaskContainer, imageDigest))
        FL_SET(out, ecs_Container, imageDigest, rec->imageDigest);
    if (FL_HAS(rec, rec_TaskContainer, exitCode))
        FL_SET(out, ecs_Container, exitCode, rec->exitCode);
    if (FL_HAS(rec, rec_TaskContainer, reason))
        FL_SET(out, ecs_Container, reason, rec->reason);
    if (FL_HAS(rec, rec_TaskContainer, gpuIds))
        FL_SET(out, ecs_Container, gpuIds, rec->gpuIds);
    if (!c)
        return;
    FL_SET(out, ecs_Container, image, c->image);
    FL_SET(out, ecs_Container, cpu, number(d, c->cpu));
    if (FL_HAS(c, ecs_ContainerDefinition, memory))
        FL_SET(out, ecs_Container, memory, number(d, c->memory));
    if (FL_HAS(c, ecs_ContainerDefinition, memoryReservation))
        FL_SET(out, ecs_Container, memoryReservation, number(d, c->memoryReservation));
}

/* ECS lists every container among the overrides, those without any by name alone. */
static struct ecs_TaskOverride *show_overrides(struct fl_decision *d, const struct rec_Task *rec)
{
    struct ecs_TaskOverride *out = fl_arena_new_object(d->arena, struct ecs_TaskOverride);
    struct ecs_ContainerOverride_list list = {.n = rec->containers.n};
    if (rec->overrides)
        *out = *rec->overrides;
    list.items = fl_arena_new_array(d->arena, struct ecs_ContainerOverride, list.n);
    for (size_t i = 0; i < list.n; i++) {
        struct fl_str name = rec->containers.items[i].name;
        FL_SET(&list.items[i], ecs_ContainerOverride, name, name);
        for (size_t k = 0; k < out->containerOverrides.n; k++)
            if (fl_str_eq(out->containerOverrides.items[k].name, name))
                list.items[i] = out->containerOverrides.items[k];
    }
    FL_SET(out, ecs_TaskOverride, containerOverrides, list);
    FL_SET(out, ecs_TaskOverride, inferenceAcceleratorOverrides,
           out->inferenceAcceleratorOverrides);
    return out;
}

static void show_place(struct fl_decision *d, const struct fl_task *task, struct ecs_Task *out)
{
    const struct fl_instance *instance = task->instance;
    const struct ecs_Attribute_list *attributes = &instance->rec->attributes;
    FL_SET(out, ecs_Task, containerInstanceArn, fl_instance_arn(d, instance->rec));
    if (task->rec->status == REC_TaskStatus_RUNNING)
        FL_SET(out, ecs_Task, connectivity,
               instance->connected ? ECS_Connectivity_CONNECTED : ECS_Connectivity_DISCONNECTED);
    for (size_t i = 0; i < attributes->n; i++) {
        if (fl_str_is(attributes->items[i].name, "ecs.availability-zone"))
            FL_SET(out, ecs_Task, availabilityZone, attributes->items[i].value);
        if (fl_str_is(attributes->items[i].name, "ecs.cpu-architecture"))
            FL_SET(out, ecs_Task, attributes,
                   ((struct ecs_Attribute_list){1, &attributes->items[i]}));
    }
}

static void show_times(const struct rec_Task *rec, struct ecs_Task *out)
{
#define COPY(member)                                                                               \
    do {                                                                                           \
        if (FL_HAS(rec, rec_Task, member))                                                         \
            FL_SET(out, ecs_Task, member, rec->member);                                            \
    } while (0)
    COPY(createdAt);
    COPY(pullStartedAt);
    COPY(pullStoppedAt);
    COPY(startedAt);
    COPY(stoppingAt);
    COPY(executionStoppedAt);
    COPY(stoppedAt);
    COPY(stopCode);
    COPY(stoppedReason);
    COPY(startedBy);
#undef COPY
}

void fl_show_task(struct fl_decision *d, const struct fl_task *task, bool with_tags,
                  struct ecs_Task *ret_task)
{
    const struct rec_Task *rec = task->rec;
    struct ecs_Container_list containers = {.n = rec->containers.n};
    containers.items = fl_arena_new_array(d->arena, struct ecs_Container, containers.n);
    for (size_t i = 0; i < containers.n; i++)
        show_container(d, task, &rec->containers.items[i], &containers.items[i]);
    FL_SET(ret_task, ecs_Task, taskArn, fl_task_arn(d, rec));
    FL_SET(ret_task, ecs_Task, clusterArn, fl_cluster_arn(d, rec->cluster));
    FL_SET(ret_task, ecs_Task, taskDefinitionArn,
           task->definition->rec->definition->taskDefinitionArn);
    FL_SET(ret_task, ecs_Task, containers, containers);
    FL_SET(ret_task, ecs_Task, lastStatus, status_text(rec->status));
    FL_SET(ret_task, ecs_Task, desiredStatus, status_text(rec->desired));
    FL_SET(ret_task, ecs_Task, group, rec->group);
    FL_SET(ret_task, ecs_Task, launchType, ECS_LaunchType_EC2);
    FL_SET(ret_task, ecs_Task, healthStatus, task_health(task));
    FL_SET(ret_task, ecs_Task, cpu, number(d, rec->cpu));
    FL_SET(ret_task, ecs_Task, memory, number(d, rec->memory));
    FL_SET(ret_task, ecs_Task, overrides, show_overrides(d, rec));
    FL_SET(ret_task, ecs_Task, enableExecuteCommand, rec->enableExecuteCommand);
    FL_SET(ret_task, ecs_Task, attachments, ret_task->attachments);
    FL_SET(ret_task, ecs_Task, attributes, ret_task->attributes);
    FL_SET(ret_task, ecs_Task, tags, ret_task->tags);
    if (with_tags)
        ret_task->tags = rec->tags;
    FL_SET(ret_task, ecs_Task, version, rec->version);
    show_times(rec, ret_task);
    if (task->instance)
        show_place(d, task, ret_task);
    /* The record may be replaced before the turn's end: what is shown must not change with it. */
    *ret_task = *(struct ecs_Task *)fl_shape_copy(&ecs_shape_Task, ret_task, d->arena);
}

static struct fl_str missing_arn(struct fl_decision *d, const struct fl_cluster *cluster,
                                 struct fl_str given)
{
    struct fl_arn arn;
    struct rec_Task rec = {.cluster = cluster->rec->name, .id = fl_id_of(given)};
    return fl_arn_parse(given, &arn) ? given : fl_task_arn(d, &rec);
}

int fl_describe_tasks(struct fl_decision *d, const void *input, void *output)
{
    const struct ecs_DescribeTasksRequest *in = input;
    struct ecs_DescribeTasksResponse *out = output;
    struct fl_cluster *cluster = fl_find_cluster(d, in->cluster);
    bool with_tags = false;
    if (!cluster)
        return -1;
    if (in->tasks.n == 0)
        return fl_refuse(d, "InvalidParameterException", "Tasks cannot be empty.");
    if (in->tasks.n > MAX_DESCRIBED)
        return fl_refuse(d, "InvalidParameterException",
                         "At most %d tasks can be described at a time.", MAX_DESCRIBED);
    for (size_t i = 0; i < in->include.n; i++)
        with_tags |= in->include.items[i] == ECS_TaskField_TAGS;
    out->tasks.items = fl_arena_new_array(d->arena, struct ecs_Task, in->tasks.n);
    out->failures.items = fl_arena_new_array(d->arena, struct ecs_Failure, in->tasks.n);
    for (size_t i = 0; i < in->tasks.n; i++) {
        struct fl_str id;
        if (fl_read_name(d, in->tasks.items[i], "task", &id) < 0)
            return -1;
        struct fl_task *task = fl_state_task(cluster, id);
        if (task) {
            fl_show_task(d, task, with_tags, &out->tasks.items[out->tasks.n++]);
            continue;
        }
        struct ecs_Failure *failure = &out->failures.items[out->failures.n++];
        FL_SET(failure, ecs_Failure, arn, missing_arn(d, cluster, in->tasks.items[i]));
        FL_SET(failure, ecs_Failure, reason, FL_STR("MISSING"));
    }
    FL_SET(out, ecs_DescribeTasksResponse, tasks, out->tasks);
    FL_SET(out, ecs_DescribeTasksResponse, failures, out->failures);
    return 0;
}

static bool is_listed(const struct ecs_ListTasksRequest *in, const struct fl_task *task)
{
    const struct rec_Task *rec = task->rec;
    bool wants_stopped = FL_HAS(in, ecs_ListTasksRequest, desiredStatus) &&
                         in->desiredStatus == ECS_DesiredStatus_STOPPED;
    if (FL_HAS(in, ecs_ListTasksRequest, desiredStatus) &&
        in->desiredStatus == ECS_DesiredStatus_PENDING)
        return false;
    if (wants_stopped != (rec->desired == REC_TaskStatus_STOPPED))
        return false;
    if (in->containerInstance.n && !fl_str_eq(fl_id_of(in->containerInstance), rec->instance))
        return false;
    if (in->family.n && !fl_str_eq(in->family, rec->family))
        return false;
    if (in->serviceName.n &&
        !(task->is_member && fl_str_eq(fl_id_of(in->serviceName), fl_service_of_group(rec->group))))
        return false;
    if (in->startedBy.n && !fl_str_eq(in->startedBy, rec->startedBy))
        return false;
    return !FL_HAS(in, ecs_ListTasksRequest, launchType) || in->launchType == ECS_LaunchType_EC2;
}

int fl_list_tasks(struct fl_decision *d, const void *input, void *output)
{
    const struct ecs_ListTasksRequest *in = input;
    struct ecs_ListTasksResponse *out = output;
    struct fl_cluster *cluster = fl_find_cluster(d, in->cluster);
    struct fl_page_list list;
    struct fl_str instance, service;
    if (!cluster || fl_read_name(d, in->containerInstance, "container-instance", &instance) < 0)
        return -1;
    if (fl_read_service_name(d, cluster, in->serviceName, &service) < 0)
        return -1;
    if (service.n && !fl_state_service(cluster, service))
        return fl_refuse(d, "ServiceNotFoundException", "Service not found.");
    if (in->daemonName.n)
        return fl_refuse(d, "ClientException", "daemonName is not implemented yet.");
    if (fl_page_list_begin(d, in->nextToken, FL_HAS(in, ecs_ListTasksRequest, maxResults),
                           in->maxResults, &list) < 0)
        return -1;
    struct rec_Task after = {.id = list.page.after};
    struct fl_task probe = {.id_start = fl_id_start(after.id), .rec = &after};
    struct fl_task *task = RB_NFIND(fl_task_tree, &cluster->tasks, &probe);
    for (; task; task = RB_NEXT(fl_task_tree, &cluster->tasks, task)) {
        struct fl_str id = task->rec->id;
        if (fl_str_eq(id, list.page.after) || !is_listed(in, task))
            continue;
        if (!fl_page_list_add(&list, id, fl_task_arn(d, task->rec)))
            break;
    }
    FL_SET(out, ecs_ListTasksResponse, taskArns, list.list);
    if (list.more)
        FL_SET(out, ecs_ListTasksResponse, nextToken, fl_page_token(d, list.last_key));
    return 0;
}

void fl_request_stop(struct fl_decision *d, struct fl_task *task, enum ecs_TaskStopCode code,
                     struct fl_str reason)
{
    struct rec_Task rec = *task->rec;
    if (rec.desired == REC_TaskStatus_STOPPED)
        return;
    FL_SET(&rec, rec_Task, desired, REC_TaskStatus_STOPPED);
    FL_SET(&rec, rec_Task, stopCode, code);
    FL_SET(&rec, rec_Task, stoppedReason, reason);
    FL_SET(&rec, rec_Task, stoppingAt, d->now_ms);
    if (code == ECS_TaskStopCode_UserInitiated)
        FL_SET(&rec, rec_Task, tags, ((struct ecs_Tag_list){0})); /* as StopTask promises */
    FL_SET(&rec, rec_Task, version, rec.version + 1);
    fl_put(d, FL_RECORD_TASK, &rec);
    if (!FL_BUG(11, true, false))
        fl_send_task(d, task);
}

int fl_stop_task(struct fl_decision *d, const void *input, void *output)
{
    const struct ecs_StopTaskRequest *in = input;
    struct ecs_StopTaskResponse *out = output;
    struct fl_cluster *cluster = fl_find_cluster(d, in->cluster);
    if (!cluster)
        return -1;
    if (in->reason.n > MAX_REASON)
        return fl_refuse(d, "InvalidParameterException", "reason longer than %d.", MAX_REASON);
    struct fl_str id;
    if (fl_read_name(d, in->task, "task", &id) < 0)
        return -1;
    struct fl_task *task = fl_state_task(cluster, id);
    if (!task)
        return fl_refuse(d, "InvalidParameterException", "The referenced task was not found.");
    fl_request_stop(d, task, ECS_TaskStopCode_UserInitiated,
                    in->reason.n ? in->reason : FL_STR("Task stopped by user"));
    FL_SET(out, ecs_StopTaskResponse, task, fl_arena_new_object(d->arena, struct ecs_Task));
    fl_show_task(d, task, true, out->task);
    return 0;
}
