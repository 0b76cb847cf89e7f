/* Reports: the whole present state of a task, so that a later one makes an earlier one needless. */
#include "task/report.h"

#include "wire/json.h"

enum { REPORT_MAX = 1024 * 1024 };

static void put_reason(struct fl_json_writer *jw, struct fl_str reason)
{
    if (reason.n > 0)
        fl_jw_member_str(jw, "reason", fl_str_sub(reason, 0, FL_REPORT_REASON_MAX));
}

static void put_time(struct fl_json_writer *jw, const char *key, int64_t wall_ms)
{
    if (wall_ms == 0)
        return;
    fl_jw_key(jw, key);
    fl_jw_time(jw, wall_ms);
}

static void write_bindings(struct fl_json_writer *jw, const struct fl_task_container *container)
{
    if (container->binding_count == 0)
        return;
    fl_jw_key(jw, "networkBindings");
    fl_jw_array_begin(jw);
    for (size_t i = 0; i < FL_MIN(container->binding_count, (size_t)FL_REPORT_BINDINGS_MAX); i++) {
        const struct fl_task_binding *binding = &container->bindings[i];
        fl_jw_object_begin(jw);
        fl_jw_member_str(jw, "bindIP", FL_STR("0.0.0.0"));
        fl_jw_member_int(jw, "containerPort", binding->container_port);
        fl_jw_member_int(jw, "hostPort", binding->host_port);
        fl_jw_member_str(jw, "protocol", binding->udp ? FL_STR("udp") : FL_STR("tcp"));
        fl_jw_object_end(jw);
    }
    fl_jw_array_end(jw);
}

/* One that is being restarted has not stopped, as the API sees it. */
static const char *status_name(const struct fl_task_container *container)
{
    switch (container->state) {
    case FL_CONTAINER_NONE:
    case FL_CONTAINER_PULLED:
    case FL_CONTAINER_CREATED:
        return container->restarts > 0 ? "RUNNING" : "PENDING";
    case FL_CONTAINER_RUNNING:
        return "RUNNING";
    case FL_CONTAINER_STOPPED:
        return "STOPPED";
    }
    return "PENDING";
}

static void write_container(struct fl_json_writer *jw, const struct fl_task_container *container)
{
    fl_jw_object_begin(jw);
    fl_jw_member_str(jw, "containerName", container->spec->name);
    fl_jw_member_str(jw, "status", fl_str_of(status_name(container)));
    if (container->launched)
        fl_jw_member_str(jw, "runtimeId", fl_str_of(container->id));
    if (container->has_exit_code)
        fl_jw_member_int(jw, "exitCode", container->exit_code);
    put_reason(jw, container->reason);
    if (container->image_digest.n > 0)
        fl_jw_member_str(jw, "imageDigest", container->image_digest);
    if (container->spec->health_check.test_count > 0)
        fl_jw_member_str(jw, "healthStatus", fl_str_of(fl_health_name(container->health)));
    write_bindings(jw, container);
    fl_jw_object_end(jw);
}

struct fl_str fl_report_write(const struct fl_task *task, struct fl_arena *arena)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(REPORT_MAX);
    struct fl_json_writer jw = {.buf = &buf};
    fl_jw_object_begin(&jw);
    if (task->cluster_arn.n > 0)
        fl_jw_member_str(&jw, "cluster", task->cluster_arn);
    fl_jw_member_str(&jw, "task", task->arn);
    fl_jw_member_str(&jw, "status", fl_str_of(fl_task_status_name(task->status)));
    put_reason(&jw, task->reason);
    fl_jw_key(&jw, "containers");
    fl_jw_array_begin(&jw);
    for (size_t i = 0; i < task->container_count; i++)
        write_container(&jw, &task->containers[i]);
    fl_jw_array_end(&jw);
    put_time(&jw, "pullStartedAt", task->pull_started_ms);
    put_time(&jw, "pullStoppedAt", task->pull_stopped_ms);
    put_time(&jw, "executionStoppedAt", task->execution_stopped_ms);
    fl_jw_object_end(&jw);
    FL_ASSERT(!buf.overflow);
    return fl_str_dup(arena, fl_buf_str(&buf));
}
