/* A container instance as the API shows it. */
#include "core/decide.h"
#include "core/gpu.h"

static struct ecs_Resource *add_resource(struct ecs_Resource_list *list, const char *name,
                                         const char *type)
{
    struct ecs_Resource *r = &list->items[list->n++];
    FL_SET(r, ecs_Resource, name, fl_str_of(name));
    FL_SET(r, ecs_Resource, type, fl_str_of(type));
    FL_SET(r, ecs_Resource, doubleValue, 0);
    FL_SET(r, ecs_Resource, longValue, 0);
    FL_SET(r, ecs_Resource, integerValue, 0);
    return r;
}

static void append_port(struct fl_decision *d, int32_t port, int udp, struct fl_str_list *list)
{
    if ((port & 1) == udp)
        list->items[list->n++] = fl_str_printf(d->arena, "%d", port / 2);
}

static struct fl_str_list port_set(struct fl_decision *d, const struct fl_instance *instance,
                                   int udp, bool with_tasks)
{
    const struct fl_int_list *own = &instance->rec->ports;
    struct fl_task *task;
    size_t count = own->n;
    RB_FOREACH (task, fl_held_tree, (struct fl_held_tree *)&instance->tasks)
        count += task->rec->ports.n;
    struct fl_str_list list = {.items = fl_arena_new_array(d->arena, struct fl_str, count)};
    for (size_t i = 0; i < own->n; i++)
        append_port(d, own->items[i], udp, &list);
    if (!with_tasks)
        return list;
    RB_FOREACH (task, fl_held_tree, (struct fl_held_tree *)&instance->tasks)
        for (size_t i = 0; i < task->rec->ports.n; i++)
            append_port(d, task->rec->ports.items[i], udp, &list);
    return list;
}

static struct ecs_Resource_list resources(struct fl_decision *d, const struct fl_instance *instance,
                                          bool remaining)
{
    const struct rec_Instance *rec = instance->rec;
    struct ecs_Resource_list list = {.items = fl_arena_new_array(d->arena, struct ecs_Resource, 5)};
    int64_t cpu = rec->cpu - (remaining ? instance->cpu_used : 0);
    int64_t memory = rec->memory - (remaining ? instance->memory_used : 0);
    add_resource(&list, "CPU", "INTEGER")->integerValue = (int32_t)cpu;
    add_resource(&list, "MEMORY", "INTEGER")->integerValue = (int32_t)memory;
    struct ecs_Resource *tcp = add_resource(&list, "PORTS", "STRINGSET");
    struct ecs_Resource *udp = add_resource(&list, "PORTS_UDP", "STRINGSET");
    FL_SET(tcp, ecs_Resource, stringSetValue, port_set(d, instance, 0, remaining));
    FL_SET(udp, ecs_Resource, stringSetValue, port_set(d, instance, 1, remaining));
    if (rec->gpus.n) {
        struct ecs_Resource *gpus = add_resource(&list, "GPU", "STRINGSET");
        FL_SET(gpus, ecs_Resource, stringSetValue, fl_gpu_ids(d, instance, remaining));
    }
    return list;
}

static struct ecs_VersionInfo *version_info(struct fl_decision *d, const struct rec_Instance *rec)
{
    struct ecs_VersionInfo *info = fl_arena_new_object(d->arena, struct ecs_VersionInfo);
    if (rec->agentVersion.n)
        FL_SET(info, ecs_VersionInfo, agentVersion, rec->agentVersion);
    if (rec->agentHash.n)
        FL_SET(info, ecs_VersionInfo, agentHash, rec->agentHash);
    if (rec->dockerVersion.n)
        FL_SET(info, ecs_VersionInfo, dockerVersion, rec->dockerVersion);
    return info;
}

void fl_show_instance(struct fl_decision *d, const struct fl_instance *instance,
                      const struct ecs_ContainerInstanceField_list *include,
                      struct ecs_ContainerInstance *out)
{
    const struct rec_Instance *rec = instance->rec;
    FL_SET(out, ecs_ContainerInstance, containerInstanceArn, fl_instance_arn(d, rec));
    if (FL_HAS(rec, rec_Instance, ec2InstanceId))
        FL_SET(out, ecs_ContainerInstance, ec2InstanceId, rec->ec2InstanceId);
    FL_SET(out, ecs_ContainerInstance, version, rec->version);
    FL_SET(out, ecs_ContainerInstance, versionInfo, version_info(d, rec));
    FL_SET(out, ecs_ContainerInstance, remainingResources, resources(d, instance, true));
    FL_SET(out, ecs_ContainerInstance, registeredResources, resources(d, instance, false));
    FL_SET(out, ecs_ContainerInstance, status, rec->status);
    FL_SET(out, ecs_ContainerInstance, agentConnected, instance->connected);
    FL_SET(out, ecs_ContainerInstance, runningTasksCount, (int32_t)instance->running_count);
    FL_SET(out, ecs_ContainerInstance, pendingTasksCount, (int32_t)instance->pending_count);
    FL_SET(out, ecs_ContainerInstance, attributes, rec->attributes);
    FL_SET(out, ecs_ContainerInstance, registeredAt, rec->registeredAt);
    FL_SET(out, ecs_ContainerInstance, attachments, out->attachments);
    FL_SET(out, ecs_ContainerInstance, tags, out->tags);
    for (size_t i = 0; i < include->n; i++)
        switch (include->items[i]) {
        case ECS_ContainerInstanceField_TAGS:
            out->tags = rec->tags;
            break;
        case ECS_ContainerInstanceField_CONTAINER_INSTANCE_HEALTH:
            FL_SET(out, ecs_ContainerInstance, healthStatus, fl_show_health(d, instance));
            break;
        }
}
