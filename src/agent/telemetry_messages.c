/* Telemetry messages; see the header. */
#include "agent/telemetry_internal.h"

/* ---- sets ---- */

static void write_set(const char *key, const struct fl_stats_set *set, struct fl_json_writer *jw)
{
    fl_jw_key(jw, key);
    fl_jw_object_begin(jw);
    fl_jw_key(jw, "max");
    fl_jw_double(jw, set->max);
    fl_jw_key(jw, "min");
    fl_jw_double(jw, set->min);
    fl_jw_member_int(jw, "sampleCount", set->count);
    fl_jw_key(jw, "sum");
    fl_jw_double(jw, set->sum);
    fl_jw_object_end(jw);
}

/* Numbers of the wire are signed; what goes beyond is carried in a member of its own. */
static void member_wide(struct fl_json_writer *jw, const char *key, const char *overflow_key,
                        uint64_t value)
{
    const uint64_t most = INT64_MAX;
    fl_jw_member_int(jw, key, (int64_t)FL_MIN(value, most));
    fl_jw_member_int(jw, overflow_key, value > most ? (int64_t)(value % most) : 0);
}

static void write_counter_set(const char *key, const struct fl_stats_counter_set *set,
                              struct fl_json_writer *jw)
{
    fl_jw_key(jw, key);
    fl_jw_object_begin(jw);
    member_wide(jw, "max", "overflowMax", set->max);
    member_wide(jw, "min", "overflowMin", set->min);
    member_wide(jw, "sum", "overflowSum", set->sum);
    fl_jw_member_int(jw, "sampleCount", set->count);
    fl_jw_object_end(jw);
}

static void write_network(const struct fl_stats_round *round, struct fl_json_writer *jw)
{
    static const char *const names[FL_STATS_READ_BYTES] = {
        [FL_STATS_RX_BYTES] = "rxBytes",   [FL_STATS_RX_DROPPED] = "rxDropped",
        [FL_STATS_RX_ERRORS] = "rxErrors", [FL_STATS_RX_PACKETS] = "rxPackets",
        [FL_STATS_TX_BYTES] = "txBytes",   [FL_STATS_TX_DROPPED] = "txDropped",
        [FL_STATS_TX_ERRORS] = "txErrors", [FL_STATS_TX_PACKETS] = "txPackets",
    };
    fl_jw_key(jw, "networkStatsSet");
    fl_jw_object_begin(jw);
    for (size_t i = 0; i < FL_ARRAY_SIZE(names); i++)
        write_counter_set(names[i], &round->counters[i], jw);
    write_set("rxBytesPerSecond", &round->rx_per_second, jw);
    write_set("txBytesPerSecond", &round->tx_per_second, jw);
    fl_jw_object_end(jw);
}

/* ---- metrics ---- */

static void write_container(const struct fl_task_container *container,
                            const struct fl_stats_round *round, struct fl_json_writer *jw)
{
    fl_jw_object_begin(jw);
    fl_jw_member_str(jw, "containerName", container->spec->name);
    if (container->spec->arn.n > 0)
        fl_jw_member_str(jw, "containerArn", container->spec->arn);
    write_set("cpuStatsSet", &round->cpu_percent, jw);
    write_set("memoryStatsSet", &round->memory_mib, jw);
    if (round->has_network)
        write_network(round, jw);
    fl_jw_key(jw, "storageStatsSet");
    fl_jw_object_begin(jw);
    write_counter_set("readSizeBytes", &round->counters[FL_STATS_READ_BYTES], jw);
    write_counter_set("writeSizeBytes", &round->counters[FL_STATS_WRITE_BYTES], jw);
    fl_jw_object_end(jw);
    if (container->spec->restart.enabled) {
        fl_jw_key(jw, "restartStatsSet");
        fl_jw_object_begin(jw);
        fl_jw_member_int(jw, "restartCount", container->restarts);
        fl_jw_object_end(jw);
    }
    fl_jw_object_end(jw);
}

void fl_tcs_begin_task(const struct fl_task *task, const char *list, struct fl_json_writer *jw)
{
    fl_jw_object_begin(jw);
    fl_jw_member_str(jw, "taskArn", task->arn);
    fl_jw_member_str(jw, "clusterArn", task->cluster_arn);
    fl_jw_member_str(jw, "taskDefinitionFamily", task->spec->family);
    fl_jw_member_str(jw, "taskDefinitionVersion", task->spec->revision);
    fl_jw_key(jw, list);
    fl_jw_array_begin(jw);
}

void fl_tcs_end_task(struct fl_json_writer *jw)
{
    fl_jw_array_end(jw);
    fl_jw_object_end(jw);
}

static void write_task_metrics(const struct fl_tcs_source *source, const struct fl_task *task,
                               struct fl_json_writer *jw)
{
    fl_tcs_begin_task(task, "containerMetrics", jw);
    for (size_t i = 0; i < task->container_count; i++) {
        const struct fl_stats_round *round =
            fl_stats_round(source->stats, fl_str_of(task->containers[i].id));
        if (round)
            write_container(&task->containers[i], round, jw);
    }
    fl_tcs_end_task(jw);
}

static bool has_metrics(const struct fl_tcs_source *source, const struct fl_task *task)
{
    for (size_t i = 0; i < task->container_count; i++)
        if (fl_stats_round(source->stats, fl_str_of(task->containers[i].id)))
            return true;
    return false;
}

const struct fl_task *fl_tcs_next_task(const struct fl_tcs_source *source, fl_tcs_test test,
                                       const struct fl_task *after)
{
    do
        after = fl_brain_next_task(source->brain, after);
    while (after && (!after->spec || !test(source, after)));
    return after;
}

void fl_tcs_begin_message(const char *type, struct fl_json_writer *jw)
{
    fl_jw_object_begin(jw);
    fl_jw_member_str(jw, "type", fl_str_of(type));
    fl_jw_key(jw, "message");
    fl_jw_object_begin(jw);
}

void fl_tcs_begin_metadata(const struct fl_tcs_source *source, struct fl_str message_id,
                           struct fl_json_writer *jw)
{
    fl_jw_key(jw, "metadata");
    fl_jw_object_begin(jw);
    fl_jw_member_str(jw, "cluster", source->cluster);
    fl_jw_member_str(jw, "containerInstance", source->instance_arn);
    fl_jw_member_str(jw, "messageId", message_id);
}

void fl_tcs_end_message(int64_t wall_ms, struct fl_json_writer *jw)
{
    fl_jw_object_end(jw);
    fl_jw_key(jw, "timestamp");
    fl_jw_time(jw, wall_ms);
    fl_jw_object_end(jw);
    fl_jw_object_end(jw);
}

static void write_instance(const struct fl_tcs_source *source, struct fl_json_writer *jw)
{
    const struct {
        const char *name;
        double percent;
    } storage[] = {{"rootFilesystem", source->root_percent},
                   {"dataFilesystem", source->data_percent}};
    fl_jw_key(jw, "instanceMetrics");
    fl_jw_object_begin(jw);
    fl_jw_key(jw, "storage");
    fl_jw_object_begin(jw);
    for (size_t i = 0; i < FL_ARRAY_SIZE(storage); i++)
        if (storage[i].percent >= 0) {
            fl_jw_key(jw, storage[i].name);
            fl_jw_double(jw, storage[i].percent);
        }
    fl_jw_object_end(jw);
    fl_jw_object_end(jw);
}

const struct fl_task *fl_tcs_write_metrics(const struct fl_tcs_source *source,
                                           struct fl_str message_id, int64_t wall_ms,
                                           const struct fl_task *after, struct fl_json_writer *jw)
{
    const struct fl_task *last = after;
    const struct fl_task *task = fl_tcs_next_task(source, has_metrics, after);
    bool idle = !task && !after;
    fl_tcs_begin_message("PublishMetricsRequest", jw);
    if (!after)
        write_instance(source, jw);
    fl_jw_key(jw, "taskMetrics");
    fl_jw_array_begin(jw);
    for (int i = 0; task && i < FL_TELEMETRY_TASKS_PER_MESSAGE; i++) {
        write_task_metrics(source, task, jw);
        last = task;
        task = fl_tcs_next_task(source, has_metrics, task);
    }
    fl_jw_array_end(jw);
    fl_tcs_begin_metadata(source, message_id, jw);
    fl_jw_member_bool(jw, "idle", idle);
    fl_jw_member_bool(jw, "fin", !task);
    fl_tcs_end_message(wall_ms, jw);
    return task ? last : NULL;
}

/* ---- the instance's own status ---- */

void fl_tcs_write_status(const struct fl_tcs_source *source, struct fl_str message_id,
                         int64_t wall_ms, const struct fl_tcs_status *status,
                         struct fl_json_writer *jw)
{
    fl_tcs_begin_message("PublishInstanceStatusRequest", jw);
    fl_jw_key(jw, "statuses");
    fl_jw_array_begin(jw);
    fl_jw_object_begin(jw);
    fl_jw_member_str(jw, "type", FL_STR("CONTAINER_RUNTIME"));
    fl_jw_member_str(jw, "status", status->ailment ? FL_STR("IMPAIRED") : FL_STR("OK"));
    if (status->ailment)
        fl_jw_member_str(jw, "statusReason", fl_str_of(status->ailment));
    fl_jw_key(jw, "lastUpdated");
    fl_jw_time(jw, status->updated_ms);
    fl_jw_key(jw, "lastStatusChange");
    fl_jw_time(jw, status->changed_ms);
    fl_jw_object_end(jw);
    fl_jw_array_end(jw);
    fl_jw_key(jw, "metadata");
    fl_jw_object_begin(jw);
    fl_jw_member_str(jw, "cluster", source->cluster);
    fl_jw_member_str(jw, "containerInstance", source->instance_arn);
    fl_jw_member_str(jw, "requestId", message_id);
    fl_tcs_end_message(wall_ms, jw);
}
