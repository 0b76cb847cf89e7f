/* PublishHealthRequest: what the health checks of running containers say. */
#include "agent/telemetry_internal.h"

/* A container without a check, or that does not run, is not spoken of. */
static bool is_checked(const struct fl_task_container *container)
{
    return container->state == FL_CONTAINER_RUNNING && container->spec->health_check.test_count > 0;
}

static bool has_check(FL_UNUSED const struct fl_tcs_source *source, const struct fl_task *task)
{
    for (size_t i = 0; i < task->container_count; i++)
        if (is_checked(&task->containers[i]))
            return true;
    return false;
}

bool fl_tcs_has_health(const struct fl_tcs_source *source)
{
    return fl_tcs_next_task(source, has_check, NULL) != NULL;
}

static void write_container(const struct fl_task_container *container, struct fl_json_writer *jw)
{
    int64_t since_ms =
        container->health_since_ms ? container->health_since_ms : container->run_started_ms;
    fl_jw_object_begin(jw);
    fl_jw_member_str(jw, "containerName", container->spec->name);
    fl_jw_member_str(jw, "healthStatus", fl_str_of(fl_health_name(container->health)));
    fl_jw_key(jw, "statusSince");
    fl_jw_time(jw, since_ms);
    fl_jw_object_end(jw);
}

static void write_task(const struct fl_task *task, struct fl_json_writer *jw)
{
    fl_tcs_begin_task(task, "containers", jw);
    for (size_t i = 0; i < task->container_count; i++)
        if (is_checked(&task->containers[i]))
            write_container(&task->containers[i], jw);
    fl_tcs_end_task(jw);
}

const struct fl_task *fl_tcs_write_health(const struct fl_tcs_source *source,
                                          struct fl_str message_id, int64_t wall_ms,
                                          const struct fl_task *after, struct fl_json_writer *jw)
{
    const struct fl_task *last = after;
    const struct fl_task *task = fl_tcs_next_task(source, has_check, after);
    fl_tcs_begin_message("PublishHealthRequest", jw);
    fl_jw_key(jw, "tasks");
    fl_jw_array_begin(jw);
    for (int i = 0; task && i < FL_TELEMETRY_TASKS_PER_MESSAGE; i++) {
        write_task(task, jw);
        last = task;
        task = fl_tcs_next_task(source, has_check, task);
    }
    fl_jw_array_end(jw);
    fl_tcs_begin_metadata(source, message_id, jw);
    fl_jw_member_bool(jw, "fin", !task);
    fl_tcs_end_message(wall_ms, jw);
    return task ? last : NULL;
}
