/* Reports: the whole present state of a task, so that a later one makes an earlier one needless. */
#include "task/report.h"

enum { REPORT_MAX = 1024 * 1024 };

static struct fl_str shown(struct fl_str reason)
{
    return fl_str_sub(reason, 0, FL_REPORT_REASON_MAX);
}

static void add_bindings(const struct fl_task_container *container, struct fl_arena *arena,
                         struct ecs_ContainerStateChange *change)
{
    size_t count = FL_MIN(container->binding_count, (size_t)FL_REPORT_BINDINGS_MAX);
    struct ecs_NetworkBinding_list list = {count, NULL};
    if (count == 0)
        return;
    list.items = fl_arena_new_array(arena, struct ecs_NetworkBinding, count);
    for (size_t i = 0; i < count; i++) {
        const struct fl_task_binding *from = &container->bindings[i];
        struct ecs_NetworkBinding *to = &list.items[i];
        FL_SET(to, ecs_NetworkBinding, bindIP, FL_STR("0.0.0.0"));
        FL_SET(to, ecs_NetworkBinding, containerPort, from->container_port);
        FL_SET(to, ecs_NetworkBinding, hostPort, from->host_port);
        FL_SET(to, ecs_NetworkBinding, protocol,
               from->udp ? ECS_TransportProtocol_udp : ECS_TransportProtocol_tcp);
    }
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

static void fill_container(const struct fl_task_container *container, struct fl_arena *arena,
                           struct ecs_ContainerStateChange *change)
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
    add_bindings(container, arena, change);
}

static struct ecs_ContainerStateChange_list containers_of(const struct fl_task *task,
                                                          struct fl_arena *arena)
{
    struct ecs_ContainerStateChange_list list = {
        task->container_count,
        fl_arena_new_array(arena, struct ecs_ContainerStateChange, task->container_count)};
    for (size_t i = 0; i < list.n; i++)
        fill_container(&task->containers[i], arena, &list.items[i]);
    return list;
}

struct ecs_SubmitTaskStateChangeRequest fl_report_make(const struct fl_task *task,
                                                       struct fl_arena *arena)
{
    struct ecs_SubmitTaskStateChangeRequest report = {0};
    struct ecs_ContainerStateChange_list containers = containers_of(task, arena);
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
