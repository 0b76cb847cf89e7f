/* The telemetry session against a control plane in this very process: connection, signed messages
 * in the protocol's form, several of them where there are many tasks, and the connection again when
 * it was lost. Method: a real HTTP server on a loopback port; a brain with tasks from a payload;
 * control groups made up. Times are awaited as conditions. */
#include "net/test_loop.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "agent/telemetry.h"
#include "base/clock.h"
#include "base/log.h"
#include "net/aws_client.h"
#include "wire/acs.h"

#define INSTANCE "arn:aws:ecs:r:a:container-instance/default/i1"

enum { SAMPLE_MS = 20, PUBLISH_MS = 40, MOST_TASKS = 16, MOST_FRAMES = 512 };

struct plane {
    struct test_loop t;
    struct fl_http_client *http;
    struct fl_aws_client *aws;
    struct fl_brain *brain;
    struct fl_stats *stats;
    struct fl_tcs *telemetry;
    struct fl_ws *ws; /* the server's end */
    struct fl_sigv4_cache *cache;
    char query[1024];
    unsigned upgraded;
    unsigned refusals;           /* upgrades to be refused first */
    json_t *frames[MOST_FRAMES]; /* in the order of their coming */
    size_t frame_count;
};

static bool lookup(FL_UNUSED void *context, struct fl_str access_key_id,
                   struct fl_credentials *ret_key)
{
    *ret_key = (struct fl_credentials){FL_STR("AKID"), FL_STR("secret"), {0}};
    return fl_str_is(access_key_id, "AKID");
}

/* Header lines, an empty line, the JSON; the signature is over a GET of the URL with the JSON as
 * body. */
static void check_signature(struct plane *plane, struct fl_str head, struct fl_str json)
{
    struct fl_header headers[8];
    size_t count = 0;
    struct fl_str line, name;
    while (fl_str_split(&head, '\n', &line)) {
        assert_true(fl_str_ends(line, FL_STR("\r")) && count < FL_ARRAY_SIZE(headers));
        assert_true(fl_str_split(&line, ':', &name));
        headers[count++] = (struct fl_header){name, fl_str_trim(line)};
    }
    const struct fl_sigv4_request request = {.method = FL_STR("GET"),
                                             .path = FL_STR("/tcs/ws"),
                                             .query = fl_str_of(plane->query),
                                             .headers = headers,
                                             .header_count = count,
                                             .body = json};
    struct fl_sigv4_result result =
        fl_sigv4_verify(&request, FL_STR("us-east-1"), fl_clock_wall_ms(), plane->cache, lookup,
                        NULL, plane->t.arena);
    assert_int_equal(result.status, FL_SIGV4_OK);
    assert_true(fl_str_is(result.service, "ecs"));
}

static void on_ws_message(void *context, FL_UNUSED struct fl_ws *ws, struct fl_str text)
{
    struct plane *plane = context;
    const char *gap = memmem(text.p, text.n, "\r\n\r\n", 4);
    assert_non_null(gap);
    struct fl_str json = fl_str_from(text, (size_t)(gap - text.p) + 4);
    check_signature(plane, fl_str_sub(text, 0, (size_t)(gap - text.p) + 2), json);
    assert_true(plane->frame_count < MOST_FRAMES);
    plane->frames[plane->frame_count] = json_loadb(json.p, json.n, 0, NULL);
    assert_non_null(plane->frames[plane->frame_count]);
    plane->frame_count++;
    fl_ws_send(plane->ws, FL_STR("{\"type\":\"AckPublishMetric\",\"message\":{}}"));
}

static void on_ws_closed(void *context, FL_UNUSED struct fl_ws *ws, FL_UNUSED uint16_t code,
                         FL_UNUSED unsigned status, FL_UNUSED struct fl_str text)
{
    struct plane *plane = context;
    plane->ws = NULL;
}

static void handle(void *context, struct fl_http_exchange *exchange)
{
    static const struct fl_ws_callbacks callbacks = {.message = on_ws_message,
                                                     .closed = on_ws_closed};
    struct plane *plane = context;
    assert_true(fl_str_is(exchange->path, "/tcs/ws"));
    assert_true(fl_http_header(exchange, "Authorization").n > 0);
    if (plane->refusals > 0) {
        plane->refusals--;
        fl_http_reply(exchange, 503, NULL, 0, FL_STR("{\"ServerException\":\"later\"}"));
        return;
    }
    (void)snprintf(plane->query, sizeof(plane->query), "%.*s", FL_STR_ARG(exchange->query));
    plane->upgraded++;
    plane->ws = fl_http_upgrade(exchange, &callbacks, plane);
}

static const char *no_ailment(FL_UNUSED void *context)
{
    return NULL;
}

/* ---- a host with tasks ---- */

static void step(struct plane *plane, struct fl_brain_event *event)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_brain_turn turn = {.arena = arena};
    event->now_ms = 1000;
    event->wall_ms = 1763629204000;
    assert_true(fl_brain_step(plane->brain, event, &turn));
    fl_brain_flush(plane->brain, &turn);
}

static void add_tasks(struct plane *plane, int count, struct fl_health_check check)
{
    struct fl_brain_order orders[MOST_TASKS];
    struct fl_task_spec specs[MOST_TASKS];
    struct fl_container_spec container = {.name = FL_STR("web"),
                                          .image = FL_STR("web:1"),
                                          .arn = FL_STR("arn:c/1"),
                                          .essential = true,
                                          .health_check = check,
                                          .restart = {.enabled = true},
                                          .stop_timeout_s = -1};
    for (int i = 0; i < count; i++) {
        specs[i] = (struct fl_task_spec){
            .arn = fl_str_printf(plane->t.arena, "arn:aws:ecs:r:a:task/default/%d", i),
            .cluster_arn = FL_STR("arn:c"),
            .family = FL_STR("web"),
            .revision = FL_STR("7"),
            .desired_running = true,
            .containers = &container,
            .container_count = 1,
        };
        orders[i] = (struct fl_brain_order){
            .arn = specs[i].arn, .cluster_arn = FL_STR("arn:c"), .spec = &specs[i]};
    }
    struct fl_brain_event event = {.type = FL_EVENT_PAYLOAD};
    event.payload.header.seq = fl_acs_seq(1, 1);
    event.payload.orders = orders;
    event.payload.order_count = (size_t)count;
    step(plane, &event);
    const struct fl_task *task = NULL;
    while ((task = fl_brain_next_task(plane->brain, task)) != NULL)
        fl_stats_add(plane->stats, fl_str_of(task->containers[0].id), FL_STR("/none"), 1, true);
}

/* Image, preparation and start of the first task's container, and one answer of its check. */
static void let_be_healthy(struct plane *plane)
{
    const struct fl_task *task = fl_brain_next_task(plane->brain, NULL);
    struct fl_str id = fl_str_dup(plane->t.arena, fl_str_of(task->containers[0].id));
    struct fl_brain_event image = {.type = FL_EVENT_IMAGE_READY};
    struct fl_brain_event prepared = {.type = FL_EVENT_PREPARED};
    struct fl_brain_event started = {.type = FL_EVENT_STARTED};
    struct fl_brain_event health = {.type = FL_EVENT_HEALTH};
    image.image.container_id = prepared.prepared.container_id = started.process.container_id =
        health.health.container_id = id;
    started.process.at_ms = 1763629204000;
    step(plane, &image);
    step(plane, &prepared);
    step(plane, &started);
    step(plane, &health);
    assert_int_equal(fl_brain_container(plane->brain, id)->health, FL_HEALTH_HEALTHY);
}

static struct plane *plane_with(bool metrics_off)
{
    struct plane *plane = fl_calloc(1, sizeof(*plane));
    struct fl_err err;
    struct fl_brain_event boot = {.type = FL_EVENT_BOOT};
    const struct fl_brain_config brain = {.stop_timeout_ms = 1000, .cleanup_delay_ms = 1000};
    const struct fl_stats_config stats = {
        .layout = FL_CGROUP_V2, .cgroup_root = FL_STR("/nowhere"), .proc_root = FL_STR("/proc")};
    fl_log_set_level(FL_LOG_ERROR);
    test_start(&plane->t, handle, plane);
    const struct fl_aws_config config = {.endpoint = test_url(&plane->t, ""),
                                         .region = FL_STR("us-east-1"),
                                         .key = {FL_STR("AKID"), FL_STR("secret"), {0}}};
    assert_int_equal(fl_http_client_new(&plane->t.loop, &plane->http, &err), 0);
    plane->aws = fl_aws_client_new(plane->http, &config);
    plane->brain = fl_brain_new(&brain);
    plane->stats = fl_stats_new(&stats);
    plane->cache = fl_sigv4_cache_new();
    boot.boot.boot_id = FL_STR("boot");
    step(plane, &boot);
    const struct fl_tcs_config telemetry = {.loop = &plane->t.loop,
                                            .aws = plane->aws,
                                            .brain = plane->brain,
                                            .stats = plane->stats,
                                            .data_dir = FL_STR("/nowhere"),
                                            .cluster = FL_STR("default"),
                                            .sample_ms = SAMPLE_MS,
                                            .publish_ms = PUBLISH_MS,
                                            .metrics_off = metrics_off,
                                            .ailment = no_ailment};
    plane->telemetry = fl_tcs_new(&telemetry);
    return plane;
}

static struct plane *plane_new(void)
{
    return plane_with(false);
}

static void plane_free(struct plane *plane)
{
    fl_http_client_free(plane->http);
    fl_tcs_close(plane->telemetry);
    TEST_AWAIT(&plane->t, plane->ws == NULL);
    test_stop(&plane->t);
    fl_aws_client_free(plane->aws);
    fl_stats_free(plane->stats);
    fl_brain_free(plane->brain);
    fl_sigv4_cache_free(plane->cache);
    for (size_t i = 0; i < plane->frame_count; i++)
        json_decref(plane->frames[i]);
    free(plane);
}

/* The n-th frame of a type; NULL: it has not come yet. */
static const json_t *frame(const struct plane *plane, const char *type, size_t n)
{
    for (size_t i = 0; i < plane->frame_count; i++)
        if (strcmp(json_string_value(json_object_get(plane->frames[i], "type")), type) == 0 &&
            n-- == 0)
            return json_object_get(plane->frames[i], "message");
    return NULL;
}

static const json_t *metadata(const json_t *message, const char *member)
{
    return json_object_get(json_object_get(message, "metadata"), member);
}

static void discover(struct plane *plane)
{
    fl_tcs_discovered(plane->telemetry, test_url(&plane->t, "/tcs"), FL_STR(INSTANCE));
}

/* ---- tests ---- */

static void an_idle_host_says_so(FL_UNUSED void **state)
{
    struct plane *plane = plane_new();
    discover(plane);
    TEST_AWAIT(&plane->t, frame(plane, "PublishMetricsRequest", 0) != NULL);
    const json_t *message = frame(plane, "PublishMetricsRequest", 0);
    assert_true(json_is_true(metadata(message, "idle")) && json_is_true(metadata(message, "fin")));
    assert_string_equal(json_string_value(metadata(message, "cluster")), "default");
    assert_string_equal(json_string_value(metadata(message, "containerInstance")), INSTANCE);
    assert_int_equal(json_string_length(metadata(message, "messageId")), 32);
    assert_int_equal(json_array_size(json_object_get(message, "taskMetrics")), 0);
    assert_true(json_is_number(json_object_get(message, "timestamp")));
    const json_t *storage = json_object_get(json_object_get(message, "instanceMetrics"), "storage");
    double root = json_number_value(json_object_get(storage, "rootFilesystem"));
    assert_true(root > 0 && root <= 100);
    assert_null(json_object_get(storage, "dataFilesystem")); /* there is no such directory */
    assert_non_null(strstr(plane->query, "agentVersion="));
    assert_non_null(strstr(plane->query, "&cluster=default&containerInstance=arn%3Aaws%3Aecs"));
    const json_t *status = frame(plane, "PublishInstanceStatusRequest", 0);
    assert_non_null(status);
    assert_non_null(metadata(status, "requestId"));
    const json_t *row = json_array_get(json_object_get(status, "statuses"), 0);
    assert_string_equal(json_string_value(json_object_get(row, "type")), "CONTAINER_RUNTIME");
    assert_string_equal(json_string_value(json_object_get(row, "status")), "OK");
    plane_free(plane);
}

static void check_container(const json_t *container)
{
    static const char *const sets[] = {"cpuStatsSet", "memoryStatsSet"};
    static const char *const network[] = {"rxBytes", "rxDropped", "rxErrors", "rxPackets",
                                          "txBytes", "txDropped", "txErrors", "txPackets"};
    static const char *const members[] = {"min", "max", "sum", "sampleCount"};
    assert_string_equal(json_string_value(json_object_get(container, "containerName")), "web");
    assert_string_equal(json_string_value(json_object_get(container, "containerArn")), "arn:c/1");
    for (size_t i = 0; i < FL_ARRAY_SIZE(sets); i++)
        for (size_t j = 0; j < FL_ARRAY_SIZE(members); j++)
            assert_true(
                json_is_number(json_object_get(json_object_get(container, sets[i]), members[j])));
    const json_t *counters = json_object_get(container, "networkStatsSet");
    for (size_t i = 0; i < FL_ARRAY_SIZE(network); i++)
        assert_true(
            json_is_integer(json_object_get(json_object_get(counters, network[i]), "overflowSum")));
    assert_non_null(json_object_get(counters, "txBytesPerSecond"));
    assert_non_null(
        json_object_get(json_object_get(container, "storageStatsSet"), "writeSizeBytes"));
    assert_int_equal(json_integer_value(json_object_get(
                         json_object_get(container, "restartStatsSet"), "restartCount")),
                     0);
}

static void many_tasks_come_in_several_messages(FL_UNUSED void **state)
{
    struct plane *plane = plane_new();
    add_tasks(plane, 12, (struct fl_health_check){0});
    discover(plane);
    TEST_AWAIT(&plane->t, frame(plane, "PublishMetricsRequest", 1) != NULL);
    const json_t *first = frame(plane, "PublishMetricsRequest", 0);
    const json_t *second = frame(plane, "PublishMetricsRequest", 1);
    assert_true(json_is_false(metadata(first, "fin")) && json_is_true(metadata(second, "fin")));
    assert_true(json_is_false(metadata(first, "idle")) && json_is_false(metadata(second, "idle")));
    assert_true(json_equal(metadata(first, "messageId"), metadata(second, "messageId")));
    assert_non_null(json_object_get(first, "instanceMetrics"));
    assert_null(json_object_get(second, "instanceMetrics"));
    const json_t *tasks = json_object_get(first, "taskMetrics");
    assert_int_equal(json_array_size(tasks), 10);
    assert_int_equal(json_array_size(json_object_get(second, "taskMetrics")), 2);
    const json_t *task = json_array_get(tasks, 0);
    assert_string_equal(json_string_value(json_object_get(task, "taskArn")),
                        "arn:aws:ecs:r:a:task/default/0");
    assert_string_equal(json_string_value(json_object_get(task, "clusterArn")), "arn:c");
    assert_string_equal(json_string_value(json_object_get(task, "taskDefinitionFamily")), "web");
    assert_string_equal(json_string_value(json_object_get(task, "taskDefinitionVersion")), "7");
    check_container(json_array_get(json_object_get(task, "containerMetrics"), 0));
    plane_free(plane);
}

static void without_metrics_the_status_is_still_told(FL_UNUSED void **state)
{
    struct plane *plane = plane_with(true);
    add_tasks(plane, 1, (struct fl_health_check){0});
    discover(plane);
    TEST_AWAIT(&plane->t, frame(plane, "PublishInstanceStatusRequest", 0) != NULL);
    fl_ws_close(plane->ws, 1000, FL_STR(""));
    TEST_AWAIT(&plane->t, frame(plane, "PublishInstanceStatusRequest", 1) != NULL);
    assert_null(frame(plane, "PublishMetricsRequest", 0));
    plane_free(plane);
}

static void health_is_told_when_it_changes(FL_UNUSED void **state)
{
    struct fl_str test[2] = {FL_STR("CMD"), FL_STR("true")};
    struct plane *plane = plane_new();
    add_tasks(
        plane, 1,
        (struct fl_health_check){
            .test = test, .test_count = 2, .interval_ms = 30000, .timeout_ms = 5000, .retries = 3});
    discover(plane);
    TEST_AWAIT(&plane->t, frame(plane, "PublishInstanceStatusRequest", 0) != NULL);
    assert_null(frame(plane, "PublishHealthRequest", 0));
    let_be_healthy(plane);
    fl_tcs_health_changed(plane->telemetry);
    TEST_AWAIT(&plane->t, frame(plane, "PublishHealthRequest", 0) != NULL);
    const json_t *message = frame(plane, "PublishHealthRequest", 0);
    assert_true(json_is_true(metadata(message, "fin")));
    assert_null(metadata(message, "idle"));
    const json_t *task = json_array_get(json_object_get(message, "tasks"), 0);
    assert_string_equal(json_string_value(json_object_get(task, "taskArn")),
                        "arn:aws:ecs:r:a:task/default/0");
    const json_t *container = json_array_get(json_object_get(task, "containers"), 0);
    assert_string_equal(json_string_value(json_object_get(container, "containerName")), "web");
    assert_string_equal(json_string_value(json_object_get(container, "healthStatus")), "HEALTHY");
    assert_true(json_is_number(json_object_get(container, "statusSince")));
    plane_free(plane);
}

static void a_lost_connection_is_opened_again(FL_UNUSED void **state)
{
    struct plane *plane = plane_new();
    plane->refusals = 1;
    discover(plane);
    TEST_AWAIT(&plane->t, plane->ws != NULL);
    fl_ws_send(plane->ws, FL_STR("no JSON at all"));
    fl_ws_send(plane->ws, FL_STR("{\"type\":\"ServerException\",\"message\":{}}"));
    TEST_AWAIT(&plane->t, frame(plane, "PublishMetricsRequest", 0) != NULL);
    fl_ws_send(plane->ws, FL_STR("{\"type\":\"StopTelemetrySessionMessage\",\"message\":{}}"));
    TEST_AWAIT(&plane->t, plane->upgraded == 2);
    plane_free(plane);
}

/* A host whose instance was deregistered joins as another one: from then on it speaks for that. */
static void another_instance_gets_a_connection_of_its_own(FL_UNUSED void **state)
{
    struct plane *plane = plane_new();
    discover(plane);
    TEST_AWAIT(&plane->t, frame(plane, "PublishInstanceStatusRequest", 0) != NULL);
    discover(plane);
    TEST_AWAIT(&plane->t, frame(plane, "PublishMetricsRequest", 0) != NULL);
    assert_int_equal(plane->upgraded, 1);
    fl_tcs_discovered(plane->telemetry, test_url(&plane->t, "/tcs"), FL_STR(INSTANCE "2"));
    TEST_AWAIT(&plane->t, frame(plane, "PublishInstanceStatusRequest", 1) != NULL);
    assert_int_equal(plane->upgraded, 2);
    assert_true(fl_str_ends(fl_str_of(plane->query), FL_STR("2")));
    plane_free(plane);
}

static void without_an_endpoint_nothing_happens(FL_UNUSED void **state)
{
    struct plane *plane = plane_new();
    fl_tcs_discovered(plane->telemetry, FL_STR(""), FL_STR(INSTANCE));
    for (int i = 0; i < 3; i++)
        (void)uv_run(&plane->t.loop, UV_RUN_ONCE);
    assert_int_equal(plane->upgraded, 0);
    plane_free(plane);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_idle_host_says_so),
        cmocka_unit_test(many_tasks_come_in_several_messages),
        cmocka_unit_test(without_metrics_the_status_is_still_told),
        cmocka_unit_test(health_is_told_when_it_changes),
        cmocka_unit_test(a_lost_connection_is_opened_again),
        cmocka_unit_test(another_instance_gets_a_connection_of_its_own),
        cmocka_unit_test(without_an_endpoint_nothing_happens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
