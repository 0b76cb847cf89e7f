/* The life of tasks, case by case. Method: events are fed to a brain, the effects of each turn are
 * compared as text, the state is read back; restarts go through the records. */
#include "task/report.h"
#include "task/test_brain.h"

#include <jansson.h>

#define T1 "arn:aws:ecs:r:a:task/c/t1"

static struct fl_container_spec containers[] = {
    {.name = {"web", 3}, .image = {"web:1", 5}, .essential = true, .stop_timeout_s = 5},
    {.name = {"side", 4}, .image = {"side", 4}, .essential = false, .stop_timeout_s = -1},
};

static struct fl_task_spec make_spec(const char *arn, size_t count, bool running)
{
    return (struct fl_task_spec){.arn = fl_str_of(arn),
                                 .cluster_arn = FL_STR("arn:c"),
                                 .family = FL_STR("f"),
                                 .revision = FL_STR("1"),
                                 .desired_running = running,
                                 .containers = containers,
                                 .container_count = count};
}

static void payload(struct rig *rig, const struct fl_task_spec *spec, int64_t seq)
{
    struct fl_brain_order order = {
        .arn = spec->arn, .cluster_arn = spec->cluster_arn, .spec = spec};
    struct fl_brain_event event = {.type = FL_EVENT_PAYLOAD};
    event.payload.header = (struct fl_acs_header){.message_id = FL_STR("m"), .seq = seq};
    event.payload.orders = &order;
    event.payload.order_count = 1;
    event.random[0] = (uint8_t)spec->arn.p[spec->arn.n - 1];
    rig_step(rig, event);
}

static void start(struct rig *rig, size_t count)
{
    struct fl_task_spec spec = make_spec(T1, count, true);
    payload(rig, &spec, fl_acs_seq(1, 1));
}

static void stop(struct rig *rig)
{
    struct fl_task_spec spec = make_spec(T1, 2, false);
    payload(rig, &spec, fl_acs_seq(1, 2));
}

static void image_ready(struct rig *rig, const char *name, int stop_signal)
{
    struct fl_brain_event event = {.type = FL_EVENT_IMAGE_READY};
    event.image.container_id = rig_id(rig, T1, name);
    event.image.digest = FL_STR("sha256:1");
    event.image.stop_signal = stop_signal;
    event.image.pull_started_ms = 1000;
    event.image.pull_stopped_ms = 2000;
    rig_step(rig, event);
}

static void prepared(struct rig *rig, const char *name)
{
    static const struct fl_task_binding bindings[] = {{80, 32768, false, 0, false}};
    struct fl_brain_event event = {.type = FL_EVENT_PREPARED};
    event.prepared.container_id = rig_id(rig, T1, name);
    event.prepared.address[0] = 10;
    event.prepared.bindings = bindings;
    event.prepared.binding_count = 1;
    rig_step(rig, event);
}

static void process(struct rig *rig, enum fl_brain_event_type type, const char *name, int code,
                    bool oom)
{
    struct fl_brain_event event = {.type = type};
    event.process.container_id = rig_id(rig, T1, name);
    event.process.at_ms = 3000;
    event.process.exit_code = code;
    event.process.oom_killed = oom;
    rig_step(rig, event);
}

static void failed(struct rig *rig, const char *name, enum fl_failure failure)
{
    struct fl_brain_event event = {.type = FL_EVENT_FAILED};
    event.failed.container_id = rig_id(rig, T1, name);
    event.failed.failure = failure;
    event.failed.effect = failure == FL_FAILURE_PULL || failure == FL_FAILURE_RESOURCE
                              ? FL_EFFECT_ENSURE_IMAGE
                              : FL_EFFECT_LAUNCH;
    event.failed.text = FL_STR("no luck");
    rig_step(rig, event);
}

static void acked(struct rig *rig, int64_t seq)
{
    struct fl_brain_event event = {.type = FL_EVENT_REPORT_ACKED};
    event.report.task_arn = FL_STR(T1);
    event.report.seq = seq;
    rig_step(rig, event);
}

static void timer(struct rig *rig, int64_t after_ms)
{
    rig->now_ms += after_ms;
    rig_step(rig, (struct fl_brain_event){.type = FL_EVENT_TIMER});
}

static void launch(struct rig *rig, const char *name)
{
    image_ready(rig, name, 3);
    prepared(rig, name);
}

static void run(struct rig *rig, const char *name)
{
    launch(rig, name);
    process(rig, FL_EVENT_STARTED, name, 0, false);
}

static const struct fl_task *task(const struct rig *rig)
{
    return fl_brain_task(rig->brain, FL_STR(T1));
}

static void assert_text(struct fl_str actual, const char *expected)
{
    FL_CLEANUP_FREE char *z = fl_strndup(actual.p ? actual.p : "", actual.n);
    assert_string_equal(z, expected);
}

static void one_container_runs_and_ends(FL_UNUSED void **state)
{
    struct rig *rig = rig_new();
    start(rig, 1);
    assert_string_equal(rig->effects, "ensure web, ack");
    image_ready(rig, "web", 0);
    assert_string_equal(rig->effects, "prepare web");
    prepared(rig, "web");
    assert_string_equal(rig->effects, "launch web");
    process(rig, FL_EVENT_STARTED, "web", 0, false);
    assert_string_equal(rig->effects, "report RUNNING");
    acked(rig, 1);
    process(rig, FL_EVENT_EXITED, "web", 7, false);
    assert_string_equal(rig->effects, "release web, report STOPPED");
    assert_int_equal(task(rig)->containers[0].exit_code, 7);
    assert_int_equal(task(rig)->execution_stopped_ms, 3000);
    acked(rig, 2);
    assert_int_equal(fl_brain_next_due(rig->brain), 10000);
    timer(rig, 10000);
    assert_string_equal(rig->effects, "remove");
    rig_step(rig,
             (struct fl_brain_event){.type = FL_EVENT_REMOVED, .removed.task_arn = FL_STR(T1)});
    assert_null(task(rig));
    assert_int_equal(fl_brain_next_due(rig->brain), INT64_MAX);
    rig_free(rig);
}

static void the_report_holds_what_the_api_shows(FL_UNUSED void **state)
{
    struct rig *rig = rig_new();
    start(rig, 1);
    run(rig, "web");
    char text[1024];
    (void)snprintf(text, sizeof(text),
                   "{\"cluster\":\"arn:c\",\"task\":\"" T1 "\",\"status\":\"RUNNING\","
                   "\"containers\":[{\"containerName\":\"web\",\"status\":\"RUNNING\","
                   "\"runtimeId\":\"%.*s\",\"imageDigest\":\"sha256:1\",\"networkBindings\":"
                   "[{\"bindIP\":\"0.0.0.0\",\"containerPort\":80,\"hostPort\":32768,"
                   "\"protocol\":\"tcp\"}]}]}",
                   FL_STR_ARG(rig_id(rig, T1, "web")));
    json_t *want = json_loads(text, 0, NULL);
    json_t *got = json_loadb(rig->turn.first->text.p, rig->turn.first->text.n, 0, NULL);
    static const char *const times[] = {"pullStartedAt", "pullStoppedAt"};
    for (int i = 0; i < 2; i++) {
        assert_true(json_number_value(json_object_get(got, times[i])) == i + 1);
        json_object_del(got, times[i]);
    }
    assert_true(json_equal(want, got));
    json_decref(want);
    json_decref(got);
    rig_free(rig);
}

/* Also by the next agent, from the records. A range is one binding; :: is told if it is wanted. */
static void ranges_and_ipv6_are_told(FL_UNUSED void **state)
{
    static const struct fl_task_binding bindings[] = {{80, 32768, false, 0, true},
                                                      {9000, 40000, true, 9, false}};
    struct rig *rig = rig_new();
    struct fl_brain_event event = {.type = FL_EVENT_PREPARED};
    start(rig, 1);
    image_ready(rig, "web", 3);
    event.prepared.container_id = rig_id(rig, T1, "web");
    event.prepared.bindings = bindings;
    event.prepared.binding_count = 2;
    rig_step(rig, event);
    rig_restart(rig, "boot-1");
    for (int with_ipv6 = 0; with_ipv6 < 2; with_ipv6++) {
        struct ecs_SubmitTaskStateChangeRequest report =
            fl_report_make(task(rig), with_ipv6, rig->arena);
        const struct ecs_NetworkBinding_list *told = &report.containers.items[0].networkBindings;
        assert_int_equal(told->n, 2 + with_ipv6);
        assert_text(told->items[1].containerPortRange, "9000-9009");
        assert_text(told->items[1].hostPortRange, "40000-40009");
        assert_false(FL_HAS(&told->items[1], ecs_NetworkBinding, containerPort));
        assert_text(told->items[0].bindIP, "0.0.0.0");
        if (with_ipv6) {
            assert_text(told->items[2].bindIP, "::");
            assert_int_equal(told->items[2].hostPort, 32768);
        }
    }
    rig_free(rig);
}

static void an_essential_exit_stops_the_others(FL_UNUSED void **state)
{
    struct rig *rig = rig_new();
    start(rig, 2);
    assert_string_equal(rig->effects, "ensure web, ensure side, ack");
    run(rig, "web");
    assert_string_equal(rig->effects, "");
    run(rig, "side");
    assert_string_equal(rig->effects, "report RUNNING");
    acked(rig, 1);
    process(rig, FL_EVENT_EXITED, "web", 0, false);
    assert_string_equal(rig->effects, "release web, signal side 3");
    assert_false(task(rig)->desired_running);
    assert_int_equal(fl_brain_next_due(rig->brain), 30000);
    timer(rig, 30000);
    assert_string_equal(rig->effects, "signal side 9");
    timer(rig, 10000);
    assert_string_equal(rig->effects, "signal side 9");
    process(rig, FL_EVENT_EXITED, "side", 137, false);
    assert_string_equal(rig->effects, "release side, report STOPPED");
    assert_int_equal(task(rig)->reason.n, 0);
    rig_free(rig);
}

static void a_non_essential_exit_is_reported_and_nothing_else(FL_UNUSED void **state)
{
    struct rig *rig = rig_new();
    start(rig, 2);
    run(rig, "side");
    process(rig, FL_EVENT_EXITED, "side", 0, false);
    assert_string_equal(rig->effects, "release side");
    run(rig, "web");
    assert_string_equal(rig->effects, "report RUNNING");
    assert_true(task(rig)->desired_running);
    rig_free(rig);

    rig = rig_new();
    start(rig, 2);
    run(rig, "web");
    run(rig, "side");
    process(rig, FL_EVENT_EXITED, "side", 4, false);
    assert_string_equal(rig->effects, "release side");
    acked(rig, 1);
    assert_string_equal(rig->effects, "report RUNNING");
    assert_int_equal(rig->turn.first->number, 2);
    rig_free(rig);
}

static void stop_signals_then_kills(FL_UNUSED void **state)
{
    struct rig *rig = rig_new();
    start(rig, 2);
    run(rig, "web");
    run(rig, "side");
    stop(rig);
    assert_string_equal(rig->effects, "signal web 3, signal side 3, ack");
    stop(rig);
    assert_string_equal(rig->effects, "ack");
    timer(rig, 4999);
    assert_string_equal(rig->effects, "");
    timer(rig, 1);
    assert_string_equal(rig->effects, "signal web 9");
    rig_free(rig);
}

static void a_stop_before_the_launch_stops_at_once(FL_UNUSED void **state)
{
    struct rig *rig = rig_new();
    start(rig, 2);
    image_ready(rig, "side", 15);
    stop(rig);
    assert_string_equal(rig->effects, "report STOPPED, ack");
    image_ready(rig, "web", 15);
    assert_string_equal(rig->effects, "");
    prepared(rig, "side");
    assert_string_equal(rig->effects, "release side");
    assert_false(task(rig)->containers[0].has_exit_code);
    rig_free(rig);
}

static void a_stop_during_the_launch_waits_for_it(FL_UNUSED void **state)
{
    struct rig *rig = rig_new();
    start(rig, 1);
    launch(rig, "web");
    stop(rig);
    assert_string_equal(rig->effects, "ack");
    process(rig, FL_EVENT_STARTED, "web", 0, false);
    assert_string_equal(rig->effects, "signal web 3");
    process(rig, FL_EVENT_EXITED, "web", 143, false);
    assert_string_equal(rig->effects, "release web, report STOPPED");
    rig_free(rig);
}

static void a_stop_that_comes_first_wins(FL_UNUSED void **state)
{
    struct rig *rig = rig_new();
    stop(rig);
    assert_string_equal(rig->effects, "report STOPPED, ack");
    start(rig, 2);
    assert_string_equal(rig->effects, "ack");
    rig_free(rig);
}

static void failures_have_ecs_names(FL_UNUSED void **state)
{
    struct rig *rig = rig_new();
    start(rig, 2);
    run(rig, "side");
    failed(rig, "web", FL_FAILURE_PULL);
    assert_string_equal(rig->effects, "signal side 3");
    assert_text(task(rig)->containers[0].reason, "CannotPullContainerError: no luck");
    assert_text(task(rig)->reason, "CannotPullContainerError: no luck");
    process(rig, FL_EVENT_EXITED, "side", 0, false);
    assert_string_equal(rig->effects, "release side, report STOPPED");
    rig_free(rig);

    rig = rig_new();
    start(rig, 1);
    launch(rig, "web");
    failed(rig, "web", FL_FAILURE_START);
    assert_string_equal(rig->effects, "release web, report STOPPED");
    assert_text(task(rig)->reason, "CannotStartContainerError: no luck");
    rig_free(rig);
}

static void a_task_without_its_secrets_ends_whoever_asked(FL_UNUSED void **state)
{
    struct rig *rig = rig_new();
    start(rig, 2);
    failed(rig, "side", FL_FAILURE_RESOURCE); /* not an essential one */
    assert_text(task(rig)->reason, "no luck");
    assert_text(task(rig)->containers[1].reason, "no luck");
    assert_int_equal(task(rig)->status, FL_TASK_STOPPED);
    assert_string_equal(rig->effects, "report STOPPED");
    rig_free(rig);
}

static void an_oom_kill_is_named(FL_UNUSED void **state)
{
    struct rig *rig = rig_new();
    start(rig, 1);
    run(rig, "web");
    process(rig, FL_EVENT_EXITED, "web", 137, true);
    assert_text(task(rig)->containers[0].reason,
                "OutOfMemoryError: Container killed due to memory usage");
    assert_int_equal(task(rig)->containers[0].exit_code, 137);
    rig_free(rig);
}

static void repeated_payloads_change_nothing(FL_UNUSED void **state)
{
    struct rig *rig = rig_new();
    start(rig, 1);
    struct fl_str id = fl_str_dup(rig->arena, rig_id(rig, T1, "web"));
    char before[65];
    memcpy(before, id.p, 64);
    start(rig, 1);
    assert_string_equal(rig->effects, "ack");
    assert_memory_equal(rig_id(rig, T1, "web").p, before, 64);
    rig_free(rig);
}

static void an_order_for_an_ended_task_is_answered_with_its_end(FL_UNUSED void **state)
{
    struct rig *rig = rig_new();
    start(rig, 1);
    run(rig, "web");
    acked(rig, 1);
    process(rig, FL_EVENT_EXITED, "web", 0, false);
    start(rig, 1);
    assert_string_equal(rig->effects, "ack");
    acked(rig, 2);
    start(rig, 1);
    assert_string_equal(rig->effects, "report STOPPED, ack");
    assert_int_equal(fl_brain_next_due(rig->brain), INT64_MAX);
    acked(rig, 3);
    assert_int_equal(fl_brain_next_due(rig->brain), 10000);
    rig_free(rig);
}

static void an_older_epoch_is_refused(FL_UNUSED void **state)
{
    struct rig *rig = rig_new();
    struct fl_task_spec spec = make_spec(T1, 1, true);
    payload(rig, &spec, fl_acs_seq(5, 9));
    assert_true(rig->obeyed);
    spec.desired_running = false;
    payload(rig, &spec, fl_acs_seq(4, 100));
    assert_false(rig->obeyed);
    assert_string_equal(rig->effects, "");
    rig_restart(rig, "boot-1");
    payload(rig, &spec, fl_acs_seq(4, 100));
    assert_false(rig->obeyed);
    payload(rig, &spec, fl_acs_seq(5, 2));
    assert_true(rig->obeyed);
    rig_free(rig);
}

static void what_cannot_be_read_is_reported_stopped(FL_UNUSED void **state)
{
    struct rig *rig = rig_new();
    struct fl_brain_order order = {.arn = FL_STR(T1), .error = FL_STR("image is missing")};
    struct fl_brain_event event = {.type = FL_EVENT_PAYLOAD};
    event.payload.orders = &order;
    event.payload.order_count = 1;
    rig_step(rig, event);
    assert_string_equal(rig->effects, "report STOPPED, ack");
    assert_text(task(rig)->reason, "UnrecogniedTaskError: Error loading task - image is missing");
    rig_restart(rig, "boot-1");
    assert_string_equal(rig->effects, "report STOPPED");
    rig_free(rig);
}

static void reports_coalesce_while_one_is_under_way(FL_UNUSED void **state)
{
    struct rig *rig = rig_new();
    start(rig, 1);
    run(rig, "web");
    process(rig, FL_EVENT_EXITED, "web", 0, false);
    assert_string_equal(rig->effects, "release web");
    acked(rig, 1);
    assert_string_equal(rig->effects, "report STOPPED");
    acked(rig, 1);
    assert_string_equal(rig->effects, "");
    acked(rig, 99);
    assert_string_equal(rig->effects, "");
    rig_free(rig);
}

static void a_restarted_agent_takes_up_where_it_was(FL_UNUSED void **state)
{
    struct rig *rig = rig_new();
    start(rig, 2);
    rig_restart(rig, "boot-1");
    assert_string_equal(rig->effects, "ensure web, ensure side");
    image_ready(rig, "side", 15);
    run(rig, "web");
    rig_restart(rig, "boot-1");
    assert_string_equal(rig->effects, "adopt web, ensure side");
    run(rig, "side");
    rig_restart(rig, "boot-1");
    assert_string_equal(rig->effects, "adopt web, adopt side, report RUNNING");
    stop(rig);
    rig_restart(rig, "boot-1");
    assert_string_equal(rig->effects,
                        "adopt web, signal web 3, adopt side, signal side 3, report RUNNING");
    timer(rig, 30000);
    assert_string_equal(rig->effects, "signal web 9, signal side 9");
    rig_free(rig);
}

static void a_launch_that_never_happened_begins_anew(FL_UNUSED void **state)
{
    struct rig *rig = rig_new();
    start(rig, 1);
    launch(rig, "web");
    rig_restart(rig, "boot-1");
    assert_string_equal(rig->effects, "adopt web");
    process(rig, FL_EVENT_GONE, "web", 0, false);
    assert_string_equal(rig->effects, "release web, ensure web");
    run(rig, "web");
    assert_string_equal(rig->effects, "report RUNNING");
    process(rig, FL_EVENT_GONE, "web", 0, false);
    assert_text(task(rig)->reason, "ContainerVanishedError: No container matching saved ID found");
    rig_free(rig);
}

static void a_restarted_host_has_lost_its_containers(FL_UNUSED void **state)
{
    struct rig *rig = rig_new();
    start(rig, 2);
    run(rig, "web");
    rig_restart(rig, "boot-2");
    assert_string_equal(rig->effects, "release web, report STOPPED");
    assert_text(task(rig)->containers[0].reason, "The host was restarted.");
    assert_false(task(rig)->containers[0].has_exit_code);
    acked(rig, task(rig)->change_seq);
    rig_restart(rig, "boot-2");
    assert_string_equal(rig->effects, "");
    rig_free(rig);
}

static void manifest(struct rig *rig, enum fl_brain_event_type type, int64_t seq, const char *arn)
{
    struct fl_acs_task listed = {
        .arn = fl_str_of(arn),
        .cluster_arn = FL_STR("arn:c"),
        .desired_running = true,
        .is_running = fl_str_is(fl_str_of(arn), "lost"),
    };
    struct fl_brain_event event = {.type = type};
    event.list.header = (struct fl_acs_header){.message_id = FL_STR("mf"), .seq = seq};
    event.list.tasks = &listed;
    event.list.task_count = 1;
    rig_step(rig, event);
}

static void a_manifest_without_a_task_asks_before_stopping_it(FL_UNUSED void **state)
{
    struct rig *rig = rig_new();
    start(rig, 1);
    run(rig, "web");
    manifest(rig, FL_EVENT_MANIFEST, fl_acs_seq(1, 5), T1);
    assert_string_equal(rig->effects, "ack");
    manifest(rig, FL_EVENT_MANIFEST, fl_acs_seq(1, 5), "other");
    assert_false(rig->obeyed);
    manifest(rig, FL_EVENT_STOP_LIST, 0, T1);
    assert_string_equal(rig->effects, "");
    manifest(rig, FL_EVENT_MANIFEST, fl_acs_seq(1, 6), "other");
    assert_string_equal(rig->effects, "ack, verify");
    assert_true(fl_str_is(rig->turn.last->tasks[0].arn, T1));
    manifest(rig, FL_EVENT_STOP_LIST, 0, T1);
    assert_string_equal(rig->effects, "signal web 3");
    rig_free(rig);
}

static void a_manifest_that_lists_an_ended_task_is_told_of_its_end(FL_UNUSED void **state)
{
    struct rig *rig = rig_new();
    start(rig, 1);
    run(rig, "web");
    process(rig, FL_EVENT_EXITED, "web", 7, false);
    acked(rig, task(rig)->change_seq);
    acked(rig, task(rig)->change_seq);
    manifest(rig, FL_EVENT_MANIFEST, fl_acs_seq(1, 5), T1);
    assert_string_equal(rig->effects, "ack, report STOPPED");
    acked(rig, task(rig)->change_seq);
    timer(rig, 20000);
    assert_string_equal(rig->effects, "remove");
    rig_free(rig);
}

static void a_task_that_is_believed_to_run_here_and_does_not_is_told(FL_UNUSED void **state)
{
    struct rig *rig = rig_new();
    manifest(rig, FL_EVENT_MANIFEST, fl_acs_seq(1, 5), "not begun");
    assert_string_equal(rig->effects, "ack");
    manifest(rig, FL_EVENT_MANIFEST, fl_acs_seq(1, 6), "lost");
    assert_string_equal(rig->effects, "ack, report STOPPED");
    manifest(rig, FL_EVENT_MANIFEST, fl_acs_seq(1, 7), "lost"); /* the report is under way */
    assert_string_equal(rig->effects, "ack");
    const struct fl_task *told = fl_brain_task(rig->brain, FL_STR("lost"));
    assert_true(told && told->status == FL_TASK_STOPPED && told->reason.n > 0);
    rig_free(rig);
}

static void unknown_records_refuse_to_load(FL_UNUSED void **state)
{
    struct fl_err err;
    struct fl_brain *brain = fl_brain_new(&rig_config);
    assert_int_not_equal(
        fl_brain_load(brain, FL_STR("task/x"), FL_STR("{\"version\":2,\"arn\":\"x\"}"), &err), 0);
    assert_int_not_equal(fl_brain_load(brain, FL_STR("task/x"), FL_STR("{"), &err), 0);
    assert_int_not_equal(fl_brain_load(brain, FL_STR("other"), FL_STR("{\"version\":1}"), &err), 0);
    assert_int_not_equal(fl_brain_load(brain, FL_STR("host"), FL_STR("{\"version\":9}"), &err), 0);
    fl_brain_free(brain);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_container_runs_and_ends),
        cmocka_unit_test(the_report_holds_what_the_api_shows),
        cmocka_unit_test(ranges_and_ipv6_are_told),
        cmocka_unit_test(an_essential_exit_stops_the_others),
        cmocka_unit_test(a_non_essential_exit_is_reported_and_nothing_else),
        cmocka_unit_test(stop_signals_then_kills),
        cmocka_unit_test(a_stop_before_the_launch_stops_at_once),
        cmocka_unit_test(a_stop_during_the_launch_waits_for_it),
        cmocka_unit_test(a_stop_that_comes_first_wins),
        cmocka_unit_test(failures_have_ecs_names),
        cmocka_unit_test(a_task_without_its_secrets_ends_whoever_asked),
        cmocka_unit_test(an_oom_kill_is_named),
        cmocka_unit_test(repeated_payloads_change_nothing),
        cmocka_unit_test(an_order_for_an_ended_task_is_answered_with_its_end),
        cmocka_unit_test(an_older_epoch_is_refused),
        cmocka_unit_test(what_cannot_be_read_is_reported_stopped),
        cmocka_unit_test(reports_coalesce_while_one_is_under_way),
        cmocka_unit_test(a_restarted_agent_takes_up_where_it_was),
        cmocka_unit_test(a_launch_that_never_happened_begins_anew),
        cmocka_unit_test(a_restarted_host_has_lost_its_containers),
        cmocka_unit_test(a_manifest_without_a_task_asks_before_stopping_it),
        cmocka_unit_test(a_manifest_that_lists_an_ended_task_is_told_of_its_end),
        cmocka_unit_test(a_task_that_is_believed_to_run_here_and_does_not_is_told),
        cmocka_unit_test(unknown_records_refuse_to_load),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
