/* Instances that are to take no more tasks: draining and deregistration, and the end of their
 * records.
 *
 * Deregistration is final: an INACTIVE instance stays describable for a while and never comes back.
 * No task that is not STOPPED is on one. */
#include "core/scheduler.h"

enum { MAX_UPDATED = 10 };

static struct fl_instance *find_active(struct fl_decision *d, const struct fl_cluster *cluster,
                                       struct fl_str given)
{
    struct fl_instance *instance = fl_state_instance(cluster, fl_id_of(given));
    if (instance && !fl_str_is(instance->rec->status, "INACTIVE"))
        return instance;
    (void)fl_refuse(d, "InvalidParameterException",
                    "The referenced container instance was not found.");
    return NULL;
}

/* The task is accounted for no more; what runs of it runs on until it ends by itself. */
static void orphan(struct fl_decision *d, struct fl_task *task, enum ecs_TaskStopCode code,
                   struct fl_str reason)
{
    struct rec_Task *rec = fl_shape_copy(&rec_shape_Task, task->rec, d->arena);
    if (!FL_HAS(rec, rec_Task, stopCode)) {
        FL_SET(rec, rec_Task, stopCode, code);
        FL_SET(rec, rec_Task, stoppedReason, reason);
        FL_SET(rec, rec_Task, stoppingAt, d->now_ms);
    }
    for (size_t i = 0; i < rec->containers.n; i++)
        rec->containers.items[i].status = REC_TaskStatus_STOPPED;
    rec->status = rec->desired = REC_TaskStatus_STOPPED;
    FL_SET(rec, rec_Task, stoppedAt, d->now_ms);
    FL_SET(rec, rec_Task, version, rec->version + 1);
    fl_put(d, FL_RECORD_TASK, rec);
    if (task->is_member)
        fl_scheduler_task_ended(d, task);
}

void fl_retire_instance(struct fl_decision *d, struct fl_instance *instance,
                        enum ecs_TaskStopCode code, struct fl_str reason)
{
    struct fl_task *task;
    while (FL_BUG(42, NULL, (task = RB_MIN(fl_held_tree, &instance->tasks))))
        orphan(d, task, code, reason);
    struct rec_Instance rec = *instance->rec;
    FL_SET(&rec, rec_Instance, status, FL_STR("INACTIVE"));
    FL_SET(&rec, rec_Instance, deregisteredAt, d->now_ms);
    FL_SET(&rec, rec_Instance, version, rec.version + 1);
    if (FL_BUG(45, false, instance->connected))
        fl_close_agent(d, instance);
    fl_put(d, FL_RECORD_INSTANCE, &rec);
}

int fl_deregister_instance(struct fl_decision *d, const void *input, void *output)
{
    const struct ecs_DeregisterContainerInstanceRequest *in = input;
    struct ecs_DeregisterContainerInstanceResponse *out = output;
    struct fl_cluster *cluster = fl_find_cluster(d, in->cluster);
    struct fl_instance *instance = cluster ? find_active(d, cluster, in->containerInstance) : NULL;
    if (!instance)
        return -1;
    if (!in->force && !RB_EMPTY(&instance->tasks))
        return fl_refuse(d, "InvalidParameterException", "Found running tasks on the instance.");
    bool was_connected = instance->connected;
    fl_retire_instance(d, instance, ECS_TaskStopCode_UserInitiated,
                       FL_STR("Container instance deregistration forced by user"));
    struct ecs_ContainerInstance *shown =
        fl_arena_new_object(d->arena, struct ecs_ContainerInstance);
    const struct ecs_ContainerInstanceField_list nothing_more = {0};
    fl_show_instance(d, instance, &nothing_more, shown);
    shown->agentConnected = was_connected;
    FL_SET(out, ecs_DeregisterContainerInstanceResponse, containerInstance, shown);
    return 0;
}

/* NULL, or why the instance cannot be given the state. */
static const char *change_status(struct fl_decision *d, struct fl_instance *instance,
                                 struct fl_str status)
{
    if (!instance)
        return "MISSING";
    if (fl_str_is(instance->rec->status, "INACTIVE"))
        return "INACTIVE";
    if (fl_str_eq(instance->rec->status, status))
        return NULL;
    struct rec_Instance rec = *instance->rec;
    FL_SET(&rec, rec_Instance, status, status);
    FL_SET(&rec, rec_Instance, version, rec.version + 1);
    fl_put(d, FL_RECORD_INSTANCE, &rec);
    return NULL;
}

static int check_update(struct fl_decision *d,
                        const struct ecs_UpdateContainerInstancesStateRequest *in)
{
    if (in->containerInstances.n == 0)
        return fl_refuse(d, "InvalidParameterException", "Container Instances cannot be empty.");
    if (in->containerInstances.n > MAX_UPDATED)
        return fl_refuse(d, "InvalidParameterException",
                         "At most %d container instances can be updated at a time.", MAX_UPDATED);
    if (in->status != ECS_ContainerInstanceStatus_ACTIVE &&
        in->status != ECS_ContainerInstanceStatus_DRAINING)
        return fl_refuse(d, "InvalidParameterException",
                         "Container instance status should be one of [ACTIVE, DRAINING]");
    return 0;
}

int fl_update_instances_state(struct fl_decision *d, const void *input, void *output)
{
    const struct ecs_UpdateContainerInstancesStateRequest *in = input;
    struct ecs_UpdateContainerInstancesStateResponse *out = output;
    struct fl_cluster *cluster = fl_find_cluster(d, in->cluster);
    const struct ecs_ContainerInstanceField_list nothing_more = {0};
    struct fl_instance *changed[MAX_UPDATED];
    if (!cluster || check_update(d, in) < 0)
        return -1;
    struct fl_str status =
        fl_str_of(fl_enum_text(&ecs_enum_ContainerInstanceStatus, (int)in->status));
    out->containerInstances.items =
        fl_arena_new_array(d->arena, struct ecs_ContainerInstance, MAX_UPDATED);
    out->failures.items = fl_arena_new_array(d->arena, struct ecs_Failure, MAX_UPDATED);
    for (size_t i = 0; i < in->containerInstances.n; i++) {
        struct fl_str given = in->containerInstances.items[i];
        struct fl_instance *instance = fl_state_instance(cluster, fl_id_of(given));
        const char *why_not = change_status(d, instance, status);
        if (why_not)
            fl_fail_instance(d, cluster, given, why_not, &out->failures.items[out->failures.n++]);
        else
            changed[out->containerInstances.n++] = instance;
    }
    /* Shown when all has been put: one may have been named twice. */
    for (size_t i = 0; i < out->containerInstances.n; i++)
        fl_show_instance(d, changed[i], &nothing_more, &out->containerInstances.items[i]);
    FL_SET(out, ecs_UpdateContainerInstancesStateResponse, containerInstances,
           out->containerInstances);
    FL_SET(out, ecs_UpdateContainerInstancesStateResponse, failures, out->failures);
    return 0;
}

/* We have no update to give: our agent is a part of the installed package, and of the official one
 * we know no newer version. */
int fl_update_agent(struct fl_decision *d, const void *input, void *output)
{
    const struct ecs_UpdateContainerAgentRequest *in = input;
    struct fl_cluster *cluster = fl_find_cluster(d, in->cluster);
    struct fl_instance *instance = cluster ? find_active(d, cluster, in->containerInstance) : NULL;
    (void)output;
    if (!instance)
        return -1;
    if (!instance->rec->agentVersion.n)
        return fl_refuse(d, "MissingVersionException",
                         "The version of the container agent is not known: it has not connected.");
    return fl_refuse(
        d, "NoUpdateAvailableException",
        "There is no update available for the container agent %.*s: agents are updated "
        "with the package that they were installed from.",
        FL_STR_ARG(instance->rec->agentVersion));
}
