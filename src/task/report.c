/* Reports: the whole present state of a task, so that a later one makes an earlier one needless. */
#include "task/report.h"

enum { REPORT_MAX = 1024 * 1024 };

static struct fl_str shown(struct fl_str reason)
{
    return fl_str_sub(reason, 0, FL_REPORT_REASON_MAX);
}

static struct fl_str range_text(uint16_t first, uint16_t more, struct fl_arena *arena)
{
    char text[FL_PORT_RANGE_SIZE];
    fl_port_range_text(first, more, text);
    return fl_str_dup(arena, fl_str_of(text));
}

static void fill_binding(const struct fl_task_binding *from, struct fl_str address,
                         struct fl_arena *arena, struct ecs_NetworkBinding *to)
{
    FL_SET(to, ecs_NetworkBinding, bindIP, address);
    FL_SET(to, ecs_NetworkBinding, protocol,
           from->udp ? ECS_TransportProtocol_udp : ECS_TransportProtocol_tcp);
    if (from->more == 0) {
        FL_SET(to, ecs_NetworkBinding, containerPort, from->container_port);
        FL_SET(to, ecs_NetworkBinding, hostPort, from->host_port);
        return;
    }
    struct fl_str container_range = range_text(from->container_port, from->more, arena);
    struct fl_str host_range = range_text(from->host_port, from->more, arena);
    FL_SET(to, ecs_NetworkBinding, containerPortRange, container_range);
    FL_SET(to, ecs_NetworkBinding, hostPortRange, host_range);
}

/* What does not fit is left out: IPv6 first, which says nothing that IPv4 does not. */
static void add_bindings(const struct fl_task_container *container, bool with_ipv6,
                         struct fl_arena *arena, struct ecs_ContainerStateChange *change)
{
    struct ecs_NetworkBinding_list list = {0};
    size_t most = FL_MIN(container->binding_count * 2, (size_t)FL_REPORT_BINDINGS_MAX);
    if (container->binding_count == 0)
        return;
    list.items = fl_arena_new_array(arena, struct ecs_NetworkBinding, most);
    for (int ipv6 = 0; ipv6 <= with_ipv6; ipv6++)
        for (size_t i = 0; i < container->binding_count && list.n < most; i++)
            if (!ipv6 || container->bindings[i].ipv6)
                fill_binding(&container->bindings[i], ipv6 ? FL_STR("::") : FL_STR("0.0.0.0"),
                             arena, &list.items[list.n++]);
    FL_SET(change, ecs_ContainerStateChange, networkBindings, list);
}

/* One that is being restarted has not stopped, as the API sees it. */
static struct fl_str status_name(const struct fl_task_container *container)
{
    switch (container->state) {
    case FL_CONTAINER_NONE:
    case FL_CONTAINER_PULLED:
    case FL_CONTAINER_CREATED:
        return container->restarts > 0 ? FL_STR("RUNNING") : FL_STR("PENDING");
    case FL_CONTAINER_RUNNING:
        return FL_STR("RUNNING");
    case FL_CONTAINER_STOPPED:
        return FL_STR("STOPPED");
    }
    return FL_STR("PENDING");
}

static int health_status(enum fl_health health)
{
    static const int statuses[] = {
        [FL_HEALTH_UNKNOWN] = ECS_HealthStatus_UNKNOWN,
        [FL_HEALTH_HEALTHY] = ECS_HealthStatus_HEALTHY,
        [FL_HEALTH_UNHEALTHY] = ECS_HealthStatus_UNHEALTHY,
    };
    return statuses[health];
}

static void fill_container(const struct fl_task_container *container, bool with_ipv6,
                           struct fl_arena *arena, struct ecs_ContainerStateChange *change)
{
    FL_SET(change, ecs_ContainerStateChange, containerName, container->spec->name);
    FL_SET(change, ecs_ContainerStateChange, status, status_name(container));
    if (container->launched)
        FL_SET(change, ecs_ContainerStateChange, runtimeId, fl_str_of(container->id));
    if (container->has_exit_code)
        FL_SET(change, ecs_ContainerStateChange, exitCode, container->exit_code);
    if (container->reason.n)
        FL_SET(change, ecs_ContainerStateChange, reason, shown(container->reason));
    if (container->image_digest.n)
        FL_SET(change, ecs_ContainerStateChange, imageDigest, container->image_digest);
    if (container->spec->health_check.test_count > 0)
        FL_SET(change, ecs_ContainerStateChange, healthStatus, health_status(container->health));
    add_bindings(container, with_ipv6, arena, change);
}

static struct ecs_ContainerStateChange_list containers_of(const struct fl_task *task,
                                                          bool with_ipv6, struct fl_arena *arena)
{
    struct ecs_ContainerStateChange_list list = {
        task->container_count,
        fl_arena_new_array(arena, struct ecs_ContainerStateChange, task->container_count)};
    for (size_t i = 0; i < list.n; i++)
        fill_container(&task->containers[i], with_ipv6, arena, &list.items[i]);
    return list;
}

struct ecs_SubmitTaskStateChangeRequest fl_report_make(const struct fl_task *task, bool with_ipv6,
                                                       struct fl_arena *arena)
{
    struct ecs_SubmitTaskStateChangeRequest report = {0};
    struct ecs_ContainerStateChange_list containers = containers_of(task, with_ipv6, arena);
    if (task->cluster_arn.n)
        FL_SET(&report, ecs_SubmitTaskStateChangeRequest, cluster, task->cluster_arn);
    FL_SET(&report, ecs_SubmitTaskStateChangeRequest, task, task->arn);
    FL_SET(&report, ecs_SubmitTaskStateChangeRequest, status,
           fl_str_of(fl_task_status_name(task->status)));
    if (task->reason.n)
        FL_SET(&report, ecs_SubmitTaskStateChangeRequest, reason, shown(task->reason));
    FL_SET(&report, ecs_SubmitTaskStateChangeRequest, containers, containers);
    if (task->pull_started_ms)
        FL_SET(&report, ecs_SubmitTaskStateChangeRequest, pullStartedAt, task->pull_started_ms);
    if (task->pull_stopped_ms)
        FL_SET(&report, ecs_SubmitTaskStateChangeRequest, pullStoppedAt, task->pull_stopped_ms);
    if (task->execution_stopped_ms)
        FL_SET(&report, ecs_SubmitTaskStateChangeRequest, executionStoppedAt,
               task->execution_stopped_ms);
    return report;
}

struct fl_str fl_report_write(const struct ecs_SubmitTaskStateChangeRequest *report,
                              struct fl_arena *arena)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(REPORT_MAX);
    fl_shape_encode(&ecs_shape_SubmitTaskStateChangeRequest, report, &buf);
    FL_ASSERT(!buf.overflow);
    return fl_str_dup(arena, fl_buf_str(&buf));
}
