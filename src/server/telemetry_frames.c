/* Reading what agents tell. Whatever is missing or of a wrong type counts as not said. */
#include "server/telemetry_frames.h"

#include <errno.h>

#include "shapes/ecs_shapes.h"
#include "wire/acs.h"
#include "wire/arn.h"
#include "wire/json.h"

enum { MAX_HEAD = 16 * 1024, MAX_TASKS = 100, MAX_CHECKS = 16, MAX_NAME = 255 };

/* The head is lines like HTTP's and an empty one; we have verified the handshake's signature, and
 * the connection is the same one. */
struct fl_str fl_telemetry_body(struct fl_str frame)
{
    struct fl_str text = fl_str_trim(frame);
    if (text.n && text.p[0] == '{')
        return text;
    size_t most = FL_MIN(text.n, (size_t)MAX_HEAD);
    const char *end = most ? memmem(text.p, most, "\r\n\r\n", 4) : NULL;
    if (end)
        return fl_str_from(text, (size_t)(end - text.p) + 4);
    end = most ? memmem(text.p, most, "\n\n", 2) : NULL;
    return end ? fl_str_from(text, (size_t)(end - text.p) + 2) : FL_STR("");
}

/* Mean of a statistics set. */
static double mean(const struct fl_json *set)
{
    double count = fl_json_number(fl_json_get(set, "sampleCount"));
    double sum = fl_json_number(fl_json_get(set, "sum"));
    return count > 0 ? sum / count : 0;
}

static size_t read_measures(const struct fl_json *task,
                            struct fl_measure list[FL_MEASURES_MAX_CONTAINERS])
{
    const struct fl_json *containers = fl_json_get(task, "containerMetrics");
    size_t count = FL_MIN(fl_json_items(containers), (size_t)FL_MEASURES_MAX_CONTAINERS);
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        const struct fl_json *c = fl_json_item(containers, i);
        const struct fl_json *restarts = fl_json_get(c, "restartStatsSet");
        struct fl_measure measure = {
            .name = fl_json_text(fl_json_get(c, "containerName")),
            .cpu_percent = mean(fl_json_get(c, "cpuStatsSet")),
            .memory_mib = mean(fl_json_get(c, "memoryStatsSet")),
            .restarts = fl_json_int(fl_json_get(restarts, "restartCount")),
        };
        if (measure.name.n && measure.name.n <= MAX_NAME)
            list[n++] = measure;
    }
    return n;
}

static bool get_bool(const struct fl_json *body, const char *name)
{
    return fl_json_is_true(fl_json_get(fl_json_get(body, "metadata"), name));
}

static void take_metrics(const struct fl_telemetry_source *source, const struct fl_json *body,
                         struct fl_measures *measures, int64_t now_ms)
{
    struct fl_measure list[FL_MEASURES_MAX_CONTAINERS];
    const struct fl_json *tasks = fl_json_get(body, "taskMetrics");
    size_t count = FL_MIN(fl_json_items(tasks), (size_t)MAX_TASKS);
    for (size_t i = 0; i < count; i++) {
        const struct fl_json *task = fl_json_item(tasks, i);
        struct fl_str id = fl_arn_last(fl_json_text(fl_json_get(task, "taskArn")));
        size_t n = read_measures(task, list);
        fl_measures_task(measures, source->cluster, source->instance, id, list, n, now_ms);
    }
    if (get_bool(body, "fin"))
        fl_measures_round(measures, source->cluster, source->instance, now_ms);
}

static void step(const struct fl_telemetry_source *source, enum fl_core_event_kind kind,
                 struct fl_str task, const struct fl_core_health *health, size_t count,
                 struct fl_engine *engine)
{
    struct fl_core_event event = {
        .kind = kind,
        .cluster = source->cluster,
        .instance = source->instance,
        .task = task,
        .health = health,
        .health_count = count,
    };
    fl_engine_step(engine, &event);
}

static void take_task_health(const struct fl_telemetry_source *source, const struct fl_json *task,
                             struct fl_engine *engine)
{
    struct fl_core_health list[FL_MEASURES_MAX_CONTAINERS];
    const struct fl_json *containers = fl_json_get(task, "containers");
    size_t count = FL_MIN(fl_json_items(containers), (size_t)FL_MEASURES_MAX_CONTAINERS);
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        const struct fl_json *c = fl_json_item(containers, i);
        int status =
            fl_enum_value(&ecs_enum_HealthStatus, fl_json_text(fl_json_get(c, "healthStatus")));
        if (status >= 0)
            list[n++] = (struct fl_core_health){
                .name = fl_json_text(fl_json_get(c, "containerName")), .status = status};
    }
    if (n)
        step(source, FL_CORE_EVENT_HEALTH, fl_arn_last(fl_json_text(fl_json_get(task, "taskArn"))),
             list, n, engine);
}

static void take_health(const struct fl_telemetry_source *source, const struct fl_json *body,
                        struct fl_engine *engine)
{
    const struct fl_json *tasks = fl_json_get(body, "tasks");
    size_t count = FL_MIN(fl_json_items(tasks), (size_t)MAX_TASKS);
    for (size_t i = 0; i < count; i++)
        take_task_health(source, fl_json_item(tasks, i), engine);
}

/* Each kind of check counts once, the first time. */
static bool is_told(const struct fl_core_health *list, size_t n, int type)
{
    for (size_t i = 0; i < n; i++)
        if (list[i].type == type)
            return true;
    return false;
}

static int64_t time_ms(const struct fl_json *value)
{
    double seconds = fl_json_number(value);
    return seconds > 0 && seconds < 1e11 ? (int64_t)(seconds * 1000) : 0;
}

static void take_instance_status(const struct fl_telemetry_source *source,
                                 const struct fl_json *body, struct fl_engine *engine)
{
    struct fl_core_health list[MAX_CHECKS];
    const struct fl_json *statuses = fl_json_get(body, "statuses");
    size_t count = FL_MIN(fl_json_items(statuses), (size_t)MAX_CHECKS);
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        const struct fl_json *s = fl_json_item(statuses, i);
        struct fl_core_health health = {
            .type = fl_enum_value(&ecs_enum_InstanceHealthCheckType,
                                  fl_json_text(fl_json_get(s, "type"))),
            .status = fl_enum_value(&ecs_enum_InstanceHealthCheckState,
                                    fl_json_text(fl_json_get(s, "status"))),
            .reason = fl_json_text(fl_json_get(s, "statusReason")),
            .since_ms = time_ms(fl_json_get(s, "lastStatusChange")),
        };
        if (health.type >= 0 && health.status >= 0 && !is_told(list, n, health.type))
            list[n++] = health;
    }
    if (n)
        step(source, FL_CORE_EVENT_INSTANCE_HEALTH, FL_STR(""), list, n, engine);
}

const char *fl_telemetry_take(const struct fl_telemetry_source *source, struct fl_str frame,
                              struct fl_measures *measures, struct fl_engine *engine,
                              int64_t now_ms, struct fl_err *err)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_acs_message message;
    struct fl_str text = fl_telemetry_body(frame);
    const char *ack = NULL;
    err->text[0] = '\0';
    if (text.n == 0) {
        (void)fl_err_set(err, -EINVAL, "a telemetry message without a body");
        return NULL;
    }
    if (fl_acs_decode(text, arena, &message, err) < 0)
        return NULL;
    if (fl_str_is(message.type_name, "PublishMetricsRequest")) {
        take_metrics(source, message.body, measures, now_ms);
        ack = "AckPublishMetric";
    } else if (fl_str_is(message.type_name, "PublishHealthRequest")) {
        take_health(source, message.body, engine);
        ack = "AckPublishHealth";
    } else if (fl_str_is(message.type_name, "PublishInstanceStatusRequest")) {
        take_instance_status(source, message.body, engine);
        ack = "AckPublishInstanceStatus";
    }
    return ack;
}
