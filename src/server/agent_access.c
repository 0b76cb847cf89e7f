/* Who an operation is about, and whether the caller's key is good for that.
 *
 * An instance's own key is good for the instance and its tasks. The machine's key, which an agent
 * that is not ours uses for all it does, is good for instances that have no key of their own. */
#include "server/agent_access.h"

#include "base/id.h"
#include "shapes/ecs_shapes.h"
#include "wire/arn.h"

static const int allowed[] = {
    ECS_OP_CreateCluster,
    ECS_OP_DiscoverPollEndpoint,
    ECS_OP_ListTagsForResource, /* for the task metadata endpoint */
    ECS_OP_RegisterContainerInstance,
    ECS_OP_SubmitAttachmentStateChanges,
    ECS_OP_SubmitContainerStateChange,
    ECS_OP_SubmitTaskStateChange,
    ECS_OP_UpdateContainerInstancesState,
};

bool fl_access_operation(int operation)
{
    for (size_t i = 0; i < FL_ARRAY_SIZE(allowed); i++)
        if (allowed[i] == operation)
            return true;
    return false;
}

static struct fl_str cluster_name(struct fl_str given)
{
    struct fl_str name = fl_arn_last(given);
    return name.n ? name : FL_STR("default");
}

static bool refuse(const struct fl_access *access, const char *type, struct fl_str cluster,
                   struct fl_str id, struct fl_str *ret_resource)
{
    *ret_resource = id.n ? fl_str_printf(access->arena, "%s/%.*s/%.*s", type, FL_STR_ARG(cluster),
                                         FL_STR_ARG(id))
                         : fl_str_printf(access->arena, "%s/%.*s", type, FL_STR_ARG(cluster));
    return false;
}

/* Is the caller's key good for an instance of that id? */
static bool is_own(const struct fl_access *access, struct fl_str instance)
{
    if (access->caller->instance.n == 0)
        return !fl_keys_has(access->keys, instance);
    return fl_str_eq(access->caller->instance, instance);
}

static bool is_own_cluster(const struct fl_access *access, struct fl_str cluster)
{
    return access->caller->instance.n == 0 || fl_str_eq(access->caller->cluster, cluster);
}

bool fl_access_instance(const struct fl_access *access, struct fl_str cluster,
                        struct fl_str instance, struct fl_str *ret_resource)
{
    struct fl_str name = cluster_name(cluster), id = fl_arn_last(instance);
    if (is_own_cluster(access, name) && is_own(access, id))
        return true;
    return refuse(access, "container-instance", name, id, ret_resource);
}

/* Of a task that nobody knows (any more) anybody may speak: nothing comes of it. */
static bool may_task(const struct fl_access *access, struct fl_str cluster, struct fl_str task,
                     struct fl_str *ret_resource)
{
    struct fl_str name = cluster_name(cluster), id = fl_arn_last(task);
    struct fl_str instance = fl_core_task_instance(access->core, name, id);
    if (is_own_cluster(access, name) && (instance.n == 0 || is_own(access, instance)))
        return true;
    return refuse(access, "task", name, id, ret_resource);
}

/* A stream without a prefix has a name of the runtime's, which leads to no task. */
bool fl_access_stream(const struct fl_access *access, struct fl_str stream,
                      struct fl_str *ret_resource)
{
    return may_task(access, access->caller->cluster, fl_arn_last(stream), ret_resource);
}

/* The id that a registration will have, or had: the ARN's, or the client token's digits. */
static struct fl_str registered_id(const struct fl_access *access,
                                   const struct ecs_RegisterContainerInstanceRequest *in)
{
    char *digits = fl_arena_alloc(access->arena, FL_INSTANCE_ID_SIZE + 1);
    uint8_t bytes[FL_INSTANCE_ID_SIZE / 2];
    size_t n = 0;
    if (in->containerInstanceArn.n)
        return fl_arn_last(in->containerInstanceArn);
    for (size_t i = 0; i < in->clientToken.n && n < FL_INSTANCE_ID_SIZE; i++)
        if (in->clientToken.p[i] != '-')
            digits[n++] = in->clientToken.p[i];
    if (!fl_unhex((struct fl_str){digits, n}, bytes, sizeof(bytes)))
        return FL_STR("");
    fl_hex(bytes, sizeof(bytes), digits);
    return (struct fl_str){digits, FL_INSTANCE_ID_SIZE};
}

static bool may_tags(const struct fl_access *access, struct fl_str given,
                     struct fl_str *ret_resource)
{
    struct fl_arn arn;
    struct fl_str cluster = FL_STR(""), id;
    if (!fl_arn_parse(given, &arn)) /* the core has words for that */
        return true;
    id = arn.rest;
    (void)fl_str_split(&id, '/', &cluster);
    if (fl_str_is(arn.type, "container-instance"))
        return fl_access_instance(access, cluster, id, ret_resource);
    if (fl_str_is(arn.type, "task"))
        return may_task(access, cluster, id, ret_resource);
    *ret_resource =
        fl_str_printf(access->arena, "%.*s/%.*s", FL_STR_ARG(arn.type), FL_STR_ARG(arn.rest));
    return access->caller->instance.n == 0;
}

static bool may_update(const struct fl_access *access,
                       const struct ecs_UpdateContainerInstancesStateRequest *in,
                       struct fl_str *ret_resource)
{
    for (size_t i = 0; i < in->containerInstances.n; i++)
        if (!fl_access_instance(access, in->cluster, in->containerInstances.items[i], ret_resource))
            return false;
    return true;
}

bool fl_access_input(const struct fl_access *access, int operation, const void *input,
                     struct fl_str *ret_resource)
{
    const struct ecs_CreateClusterRequest *create = input;
    const struct ecs_DiscoverPollEndpointRequest *discover = input;
    const struct ecs_ListTagsForResourceRequest *tags = input;
    const struct ecs_RegisterContainerInstanceRequest *registered = input;
    const struct ecs_SubmitAttachmentStateChangesRequest *attachments = input;
    const struct ecs_SubmitContainerStateChangeRequest *container = input;
    const struct ecs_SubmitTaskStateChangeRequest *task = input;
    switch (operation) {
    case ECS_OP_CreateCluster:
        return is_own_cluster(access, cluster_name(create->clusterName)) ||
               refuse(access, "cluster", cluster_name(create->clusterName), FL_STR(""),
                      ret_resource);
    case ECS_OP_DiscoverPollEndpoint:
        return discover->containerInstance.n == 0 ||
               fl_access_instance(access, discover->cluster, discover->containerInstance,
                                  ret_resource);
    case ECS_OP_ListTagsForResource:
        return may_tags(access, tags->resourceArn, ret_resource);
    case ECS_OP_RegisterContainerInstance:
        return fl_access_instance(access, registered->cluster, registered_id(access, registered),
                                  ret_resource);
    case ECS_OP_SubmitAttachmentStateChanges:
        return is_own_cluster(access, cluster_name(attachments->cluster)) ||
               refuse(access, "cluster", cluster_name(attachments->cluster), FL_STR(""),
                      ret_resource);
    case ECS_OP_SubmitContainerStateChange:
        return may_task(access, container->cluster, container->task, ret_resource);
    case ECS_OP_SubmitTaskStateChange:
        return may_task(access, task->cluster, task->task, ret_resource);
    case ECS_OP_UpdateContainerInstancesState:
        return may_update(access, input, ret_resource);
    }
    return false;
}
