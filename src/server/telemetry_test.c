/* Telemetry: its frames, and what becomes of the measures in them over an hour. Frames are stepped
 * through a real core by hand; times are made up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

#include "server/measures.h"
#include "server/telemetry_frames.h"
#include "shapes/ecs_shapes.h"
#include "wire/json.h"

#define HOST "0123456789abcdef0123456789abcdef"

static struct fl_core_event last_event;
static unsigned steps;

/* The frames' only way to the core. */
void fl_engine_step(FL_UNUSED struct fl_engine *engine, struct fl_core_event *event)
{
    last_event = *event;
    steps++;
}

struct rig {
    struct fl_core *core;
    struct fl_measures *measures;
    struct fl_arena *arena;
    struct fl_telemetry_source source;
    int64_t now_ms;
    struct fl_str task;
};

static const struct fl_json *ask(struct rig *rig, int operation, const char *request)
{
    struct fl_turn turn;
    struct fl_err err;
    struct fl_shape_error fault;
    const struct fl_shape *shape = ecs_service.operations[operation].input;
    void *input = fl_arena_alloc(rig->arena, fl_shape_size(shape));
    assert_int_equal(fl_shape_decode(shape, fl_json_read(fl_str_of(request), rig->arena, &err),
                                     rig->arena, input, &fault),
                     0);
    struct fl_core_event event = {.kind = FL_CORE_EVENT_COMMAND,
                                  .operation = operation,
                                  .input = input,
                                  .now_ms = rig->now_ms};
    fl_turn_init(&turn);
    fl_core_step(rig->core, &event, &turn);
    const struct fl_json *answer = NULL;
    for (size_t i = 0; i < turn.effect_count; i++)
        if (turn.effects[i].kind == FL_CORE_EFFECT_REPLY) {
            assert_int_equal(turn.effects[i].status, 200);
            answer = fl_json_read(turn.effects[i].body, rig->arena, &err);
        }
    fl_turn_free(&turn);
    return answer;
}

static struct rig *rig_new(void)
{
    struct rig *rig = fl_calloc(1, sizeof(*rig));
    const struct fl_core_config config = {.region = FL_STR("r"), .account = FL_STR("1")};
    rig->now_ms = INT64_C(1700000000000);
    rig->arena = fl_arena_new();
    rig->core = fl_core_new(&config);
    rig->measures = fl_measures_new(rig->core);
    rig->source = (struct fl_telemetry_source){FL_STR("default"), FL_STR(HOST)};
    (void)ask(rig, ECS_OP_CreateCluster, "{}");
    (void)ask(rig, ECS_OP_RegisterContainerInstance,
              "{\"clientToken\":\"01234567-89ab-cdef-0123-456789abcdef\",\"totalResources\":"
              "[{\"name\":\"CPU\",\"integerValue\":4096},{\"name\":\"MEMORY\","
              "\"integerValue\":1000}]}");
    (void)ask(rig, ECS_OP_RegisterTaskDefinition,
              "{\"family\":\"f\",\"containerDefinitions\":[{\"name\":\"main\",\"image\":\"i\","
              "\"cpu\":1024,\"memory\":100}]}");
    struct fl_core_event event = {.kind = FL_CORE_EVENT_AGENT_CONNECTED,
                                  .cluster = FL_STR("default"),
                                  .instance = FL_STR(HOST),
                                  .session = 1,
                                  .now_ms = rig->now_ms};
    struct fl_turn turn;
    fl_turn_init(&turn);
    fl_core_step(rig->core, &event, &turn);
    fl_turn_free(&turn);
    const struct fl_json *tasks =
        fl_json_get(ask(rig, ECS_OP_StartTask,
                        "{\"taskDefinition\":\"f\",\"containerInstances\":[\"" HOST "\"]}"),
                    "tasks");
    rig->task = fl_json_text(fl_json_get(fl_json_item(tasks, 0), "taskArn"));
    assert_true(rig->task.n > 0);
    steps = 0;
    return rig;
}

static void rig_free(struct rig *rig)
{
    fl_measures_free(rig->measures);
    fl_core_free(rig->core);
    fl_arena_free(rig->arena);
    free(rig);
}

static const char *take(struct rig *rig, const char *fmt, ...) FL_PRINTF(2, 3);
static const char *take(struct rig *rig, const char *fmt, ...)
{
    char text[4096];
    struct fl_err err;
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    for (int i = 0; i < n; i++)
        if (text[i] == '\'')
            text[i] = '"';
    return fl_telemetry_take(&rig->source, (struct fl_str){text, (size_t)n}, rig->measures, NULL,
                             rig->now_ms, &err);
}

/* A number of the answer for the cluster: "cpuUsed", or of its only instance's only task. */
static const struct fl_json *show(struct rig *rig)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(1 << 20);
    const struct fl_measures_wanted wanted = {.instances = true, .tasks = true, .history = true};
    struct fl_err err;
    assert_true(fl_measures_show(rig->measures, &wanted, rig->now_ms, &buf));
    const struct fl_json *answer = fl_json_read(fl_buf_str(&buf), rig->arena, &err);
    assert_non_null(answer);
    assert_int_equal(fl_json_items(fl_json_get(answer, "clusters")), 1);
    return fl_json_item(fl_json_get(answer, "clusters"), 0);
}

static const struct fl_json *host_of(const struct fl_json *cluster)
{
    return fl_json_item(fl_json_get(cluster, "containerInstances"), 0);
}

static int number(const struct fl_json *json, const char *name)
{
    const struct fl_json *value = fl_json_get(json, name);
    assert_true(fl_json_is_number(value));
    return (int)(fl_json_number(value) + 0.5);
}

static const char *publish(struct rig *rig, double cpu, double memory)
{
    return take(rig,
                "{'type':'PublishMetricsRequest','message':{'metadata':{'fin':true},"
                "'taskMetrics':[{'taskArn':'%.*s','containerMetrics':[{'containerName':'main',"
                "'cpuStatsSet':{'sampleCount':4,'sum':%f},'memoryStatsSet':{'sampleCount':4,"
                "'sum':%f}}]}]}}",
                FL_STR_ARG(rig->task), 4 * cpu, 4 * memory);
}

static void heads_are_skipped(FL_UNUSED void **state)
{
    static const struct {
        const char *frame, *body;
    } rows[] = {
        {"{\"a\":1}", "{\"a\":1}"},
        {"  {}\n", "{}"},
        {"Authorization: x\r\nHost: {y}\r\n\r\n{}", "{}"},
        {"A: b\n\n{}", "{}"},
        {"A: b\r\n", ""},
        {"", ""},
        {"\r\n\r\n", ""},
    };
    for (size_t i = 0; i < FL_ARRAY_SIZE(rows); i++)
        assert_true(fl_str_is(fl_telemetry_body(fl_str_of(rows[i].frame)), rows[i].body));
    char *text = fl_calloc(1, 40000);
    memset(text, 'a', 39000);
    memcpy(text + 20000, "\r\n\r\n{}", 6);
    assert_int_equal(fl_telemetry_body(fl_str_of(text)).n, 0);
    free(text);
}

static void messages_are_acknowledged_by_their_type(FL_UNUSED void **state)
{
    struct rig *rig = rig_new();
    assert_string_equal(take(rig, "{'type':'PublishMetricsRequest','message':{}}"),
                        "AckPublishMetric");
    assert_string_equal(take(rig, "A: b\r\n\r\n{'type':'PublishHealthRequest','message':{}}"),
                        "AckPublishHealth");
    assert_string_equal(take(rig, "{'type':'PublishInstanceStatusRequest','message':{}}"),
                        "AckPublishInstanceStatus");
    assert_null(take(rig, "{'type':'Other','message':{}}"));
    assert_null(take(rig, "nonsense"));
    assert_null(take(rig, "{'type':'PublishMetricsRequest'"));
    assert_int_equal(steps, 0);
    rig_free(rig);
}

static void utilization_adds_up(FL_UNUSED void **state)
{
    struct rig *rig = rig_new();
    const struct fl_json *cluster = show(rig);
    assert_int_equal(number(cluster, "instancesRegistered"), 1);
    assert_int_equal(number(cluster, "instancesMeasured"), 0);
    assert_non_null(publish(rig, 12.5, 50));
    cluster = show(rig);
    assert_int_equal(number(cluster, "instancesMeasured"), 1);
    assert_int_equal(number(cluster, "cpuUsed"), 512);   /* an eighth of 4096 */
    assert_int_equal(number(cluster, "cpuPercent"), 50); /* of the 1024 reserved */
    assert_int_equal(number(cluster, "memoryPercent"), 50);
    const struct fl_json *task = fl_json_item(fl_json_get(host_of(cluster), "tasks"), 0);
    assert_int_equal(number(task, "cpuUsed"), 512);
    /* A round without the task: it is gone. */
    rig->now_ms += 20000;
    (void)take(rig, "{'type':'PublishMetricsRequest','message':{'metadata':{'fin':true}}}");
    cluster = show(rig);
    assert_int_equal(number(cluster, "cpuUsed"), 0);
    assert_int_equal(fl_json_items(fl_json_get(host_of(cluster), "tasks")), 0);
    assert_int_equal(fl_json_items(fl_json_get(host_of(cluster), "history")), 2);
    rig_free(rig);
}

static void histories_are_bounded_and_what_is_old_is_no_present(FL_UNUSED void **state)
{
    struct rig *rig = rig_new();
    for (int i = 0; i < 400; i++) {
        rig->now_ms += 20000;
        (void)publish(rig, i % 100, 10);
        if (i % 3 == 0)
            fl_measures_minute(rig->measures, rig->now_ms);
    }
    const struct fl_json *cluster = show(rig);
    const struct fl_json *task = fl_json_item(fl_json_get(host_of(cluster), "tasks"), 0);
    const struct fl_json *container = fl_json_item(fl_json_get(task, "containers"), 0);
    assert_int_equal(fl_json_items(fl_json_get(container, "history")), FL_MEASURES_OF_CONTAINER);
    assert_int_equal(fl_json_items(fl_json_get(host_of(cluster), "history")),
                     FL_MEASURES_OF_INSTANCE);
    assert_int_equal(fl_json_items(fl_json_get(cluster, "history")), FL_MEASURES_OF_CLUSTER);
    const struct fl_json *last =
        fl_json_item(fl_json_get(container, "history"), FL_MEASURES_OF_CONTAINER - 1);
    assert_true(fl_json_number(fl_json_item(last, 0)) * 1000 > (double)rig->now_ms - 1);
    rig->now_ms += FL_MEASURES_STALE_MS + 1;
    assert_int_equal(number(show(rig), "instancesMeasured"), 0);
    rig->now_ms += FL_MEASURES_FORGET_MS;
    fl_measures_minute(rig->measures, rig->now_ms);
    assert_null(fl_json_get(host_of(show(rig)), "measuredAt"));
    rig_free(rig);
}

/* What an agent says of others' tasks, or of no number, counts for nothing. */
static void lies_are_not_believed(FL_UNUSED void **state)
{
    struct rig *rig = rig_new();
    (void)take(rig, "{'type':'PublishMetricsRequest','message':{'metadata':{'fin':true},"
                    "'taskMetrics':[{'taskArn':'arn:aws:ecs:r:1:task/default/unknown',"
                    "'containerMetrics':[{'containerName':'main','cpuStatsSet':{'sampleCount':1,"
                    "'sum':50}}]},7,{'taskArn':7},{}]}}");
    assert_int_equal(number(show(rig), "cpuUsed"), 0);
    (void)publish(rig, 1e30, -1e30);
    assert_int_equal(number(show(rig), "cpuUsed"), 4096);
    assert_int_equal(number(show(rig), "memoryUsed"), 0);
    rig->source.instance = FL_STR("ffffffffffffffffffffffffffffffff");
    (void)publish(rig, 50, 50);
    assert_int_equal(fl_json_items(fl_json_get(show(rig), "containerInstances")), 1);
    rig_free(rig);
}

static void health_becomes_events(FL_UNUSED void **state)
{
    struct rig *rig = rig_new();
    (void)take(rig,
               "{'type':'PublishHealthRequest','message':{'tasks':[{'taskArn':'%.*s','containers':"
               "[{'containerName':'main','healthStatus':'UNHEALTHY'},{'containerName':'x',"
               "'healthStatus':'odd'}]},{'taskArn':'a'}]}}",
               FL_STR_ARG(rig->task));
    assert_int_equal(steps, 1);
    assert_int_equal(last_event.kind, FL_CORE_EVENT_HEALTH);
    assert_int_equal(last_event.health_count, 1);
    (void)take(rig, "{'type':'PublishInstanceStatusRequest','message':{'statuses':["
                    "{'type':'CONTAINER_RUNTIME','status':'OK','lastStatusChange':17},"
                    "{'type':'CONTAINER_RUNTIME','status':'IMPAIRED'},{'type':'NEW'}]}}");
    assert_int_equal(steps, 2);
    assert_int_equal(last_event.kind, FL_CORE_EVENT_INSTANCE_HEALTH);
    assert_int_equal(last_event.health_count, 1);
    rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(heads_are_skipped),
        cmocka_unit_test(messages_are_acknowledged_by_their_type),
        cmocka_unit_test(utilization_adds_up),
        cmocka_unit_test(histories_are_bounded_and_what_is_old_is_no_present),
        cmocka_unit_test(lies_are_not_believed),
        cmocka_unit_test(health_becomes_events),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
