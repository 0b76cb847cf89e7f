/* Dependencies, timeouts, health checks and restarts, case by case. Method as in brain_test.c: the
 * effects of each turn are compared as text; restarts of the agent go through the records. */
#include "task/brain_impl.h"
#include "task/test_brain.h"

#define T1 "arn:aws:ecs:r:a:task/c/t1"

/* The task of the cases: init must succeed, app must become healthy before web and side start, and
 * side is restarted. */
static struct fl_str check[] = {{"CMD-SHELL", 9}, {"true", 4}};
static int64_t ignored[] = {9};
static struct fl_dependency on_init[] = {{{"init", 4}, FL_WHEN_SUCCESS}};
static struct fl_dependency on_app[] = {{{"app", 3}, FL_WHEN_HEALTHY}};

static struct fl_container_spec containers[] = {
    {.name = {"web", 3},
     .image = {"web:1", 5},
     .essential = true,
     .stop_timeout_s = 5,
     .depends_on = on_app,
     .depends_on_count = 1},
    {.name = {"side", 4},
     .image = {"side", 4},
     .stop_timeout_s = -1,
     .depends_on = on_app,
     .depends_on_count = 1,
     .restart = {true, ignored, 1, 60}},
    {.name = {"app", 3},
     .image = {"app", 3},
     .essential = true,
     .stop_timeout_s = 7,
     .start_timeout_s = 100,
     .depends_on = on_init,
     .depends_on_count = 1,
     .health_check = {check, 2, 10000, 2000, 15000, 3}},
    {.name = {"init", 4}, .image = {"init:2", 6}, .stop_timeout_s = -1, .start_timeout_s = 50},
};

static void payload(struct rig *rig, bool running)
{
    static int64_t seq;
    struct fl_task_spec spec = {.arn = FL_STR(T1),
                                .cluster_arn = FL_STR("arn:c"),
                                .family = FL_STR("f"),
                                .revision = FL_STR("1"),
                                .desired_running = running,
                                .containers = containers,
                                .container_count = FL_ARRAY_SIZE(containers)};
    struct fl_brain_order order = {.arn = spec.arn, .cluster_arn = spec.cluster_arn, .spec = &spec};
    struct fl_brain_event event = {.type = FL_EVENT_PAYLOAD};
    event.payload.header =
        (struct fl_acs_header){.message_id = FL_STR("m"), .seq = fl_acs_seq(1, (uint32_t)++seq)};
    event.payload.orders = &order;
    event.payload.order_count = 1;
    rig_step(rig, event);
}

static const struct fl_task_container *container(const struct rig *rig, const char *name)
{
    return fl_brain_container(rig->brain, rig_id(rig, T1, name));
}

static int64_t wall_ms(const struct rig *rig)
{
    return 1700000000000 + rig->now_ms;
}

static void prepare(struct rig *rig, const char *name)
{
    struct fl_brain_event ready = {.type = FL_EVENT_IMAGE_READY};
    ready.image.container_id = rig_id(rig, T1, name);
    ready.image.digest = FL_STR("sha256:1");
    rig_step(rig, ready);
}

static void launch(struct rig *rig, const char *name)
{
    struct fl_brain_event prepared = {.type = FL_EVENT_PREPARED};
    prepared.prepared.container_id = rig_id(rig, T1, name);
    rig_step(rig, prepared);
}

static void process(struct rig *rig, enum fl_brain_event_type type, const char *name, int run,
                    int code)
{
    struct fl_brain_event event = {.type = type};
    event.process.container_id = rig_id(rig, T1, name);
    event.process.at_ms = wall_ms(rig);
    event.process.run = run;
    event.process.exit_code = code;
    rig_step(rig, event);
}

static void run(struct rig *rig, const char *name)
{
    prepare(rig, name);
    launch(rig, name);
    process(rig, FL_EVENT_STARTED, name, 0, 0);
}

static void health(struct rig *rig, const char *name, int code)
{
    struct fl_brain_event event = {.type = FL_EVENT_HEALTH};
    event.health.container_id = rig_id(rig, T1, name);
    event.health.run = container(rig, name)->restarts;
    event.health.exit_code = code;
    event.health.output = FL_STR("said");
    rig_step(rig, event);
}

static void ack(struct rig *rig)
{
    struct fl_brain_event event = {.type = FL_EVENT_REPORT_ACKED};
    event.report.task_arn = FL_STR(T1);
    event.report.seq = fl_brain_task(rig->brain, FL_STR(T1))->sent_seq;
    if (event.report.seq)
        rig_step(rig, event);
}

static void timer(struct rig *rig, int64_t after_ms)
{
    rig->now_ms += after_ms;
    rig_step(rig, (struct fl_brain_event){.type = FL_EVENT_TIMER});
}

static void expect(const struct rig *rig, const char *effects)
{
    assert_string_equal(rig->effects, effects);
}

static void assert_text(struct fl_str actual, const char *expected)
{
    FL_CLEANUP_FREE char *z = fl_strndup(actual.p ? actual.p : "", actual.n);
    assert_string_equal(z, expected);
}

/* Up to where app runs and is not yet well. */
static struct rig *app_runs(void)
{
    struct rig *rig = rig_new();
    payload(rig, true);
    run(rig, "init");
    process(rig, FL_EVENT_EXITED, "init", 0, 0);
    run(rig, "app");
    ack(rig);
    ack(rig);
    return rig;
}

static struct rig *all_run(void)
{
    struct rig *rig = app_runs();
    health(rig, "app", 0);
    run(rig, "web");
    run(rig, "side");
    for (int i = 0; i < 3; i++)
        ack(rig);
    return rig;
}

static void containers_start_in_order(FL_UNUSED void **state)
{
    struct rig *rig = rig_new();
    payload(rig, true);
    expect(rig, "ensure init, ack");
    prepare(rig, "init");
    launch(rig, "init");
    process(rig, FL_EVENT_STARTED, "init", 0, 0);
    expect(rig, "report PENDING");
    process(rig, FL_EVENT_EXITED, "init", 0, 0);
    expect(rig, "release init, ensure app");
    run(rig, "app");
    expect(rig, "");
    ack(rig);
    expect(rig, "report PENDING");
    timer(rig, 10000);
    expect(rig, "check app");
    health(rig, "app", 0);
    expect(rig, "ensure web, ensure side");
    run(rig, "web");
    run(rig, "side");
    ack(rig);
    expect(rig, "report RUNNING");
    assert_true(fl_str_contains(rig->turn.first->text, FL_STR("\"healthStatus\":\"HEALTHY\"")));
    rig_free(rig);
}

static void an_init_that_fails_ends_the_task(FL_UNUSED void **state)
{
    struct rig *rig = rig_new();
    payload(rig, true);
    run(rig, "init");
    ack(rig);
    process(rig, FL_EVENT_EXITED, "init", 0, 3);
    expect(rig, "release init, report STOPPED");
    assert_int_equal(container(rig, "app")->exit_code, 143);
    static const char words[] =
        "CannotStartContainerError: dependency graph: failed to resolve container ordering "
        "dependency [init(init:2) (STOPPED->STOPPED) - Exit: 3] for target [app(app) "
        "(NONE->RUNNING)] as dependency did not exit successfully.";
    assert_text(container(rig, "app")->reason, words);
    assert_text(container(rig, "app")->task->reason, words);
    assert_int_equal(container(rig, "app")->task->execution_stopped_ms, 0);
    rig_free(rig);
}

static void an_image_that_is_missing_ends_those_that_wait(FL_UNUSED void **state)
{
    struct rig *rig = rig_new();
    struct fl_brain_event event = {.type = FL_EVENT_FAILED};
    payload(rig, true);
    event.failed.container_id = rig_id(rig, T1, "init");
    event.failed.effect = FL_EFFECT_ENSURE_IMAGE;
    event.failed.text = FL_STR("no");
    rig_step(rig, event);
    expect(rig, "report STOPPED");
    assert_true(fl_str_contains(container(rig, "app")->reason, FL_STR("did not exit")));
    rig_free(rig);
}

static void patience_ends(FL_UNUSED void **state)
{
    struct rig *rig = app_runs();
    rig->now_ms += 40000;
    rig_restart(rig, "boot-1");
    expect(rig, "adopt app");
    for (int i = 0; i < 20; i++) {
        timer(rig, 3000);
        if (fl_str_contains(fl_str_of(rig->effects), FL_STR("signal")))
            break;
        health(rig, "app", 1);
    }
    assert_true(rig->now_ms >= 100000 && rig->now_ms < 104000);
    expect(rig, "signal app 15");
    assert_text(container(rig, "web")->reason,
                "CannotStartContainerError: dependency graph: container ordering dependency "
                "[app(app) (RUNNING->RUNNING)] for target [web(web:1) (NONE->RUNNING)] has timed "
                "out.");
    assert_int_equal(container(rig, "init")->start_due_ms, 0);
    process(rig, FL_EVENT_EXITED, "app", 0, 143);
    ack(rig);
    assert_int_equal(container(rig, "app")->task->status, FL_TASK_STOPPED);
    rig_free(rig);
}

static void containers_stop_in_the_reverse_order(FL_UNUSED void **state)
{
    struct rig *rig = all_run();
    payload(rig, false);
    expect(rig, "signal web 15, signal side 15, ack");
    process(rig, FL_EVENT_EXITED, "web", 0, 0);
    expect(rig, "release web");
    rig_restart(rig, "boot-1");
    assert_true(fl_str_contains(fl_str_of(rig->effects), FL_STR("signal side 15")));
    assert_false(fl_str_contains(fl_str_of(rig->effects), FL_STR("signal app")));
    process(rig, FL_EVENT_EXITED, "side", 0, 0);
    expect(rig, "release side, signal app 15");
    timer(rig, 7000);
    expect(rig, "signal app 9");
    process(rig, FL_EVENT_EXITED, "app", 0, 137);
    expect(rig, "release app, report STOPPED");
    assert_int_equal(container(rig, "app")->task->status, FL_TASK_STOPPED);
    rig_free(rig);
}

static void a_launch_under_way_holds_back_the_stop_of_what_it_needs(FL_UNUSED void **state)
{
    struct rig *rig = app_runs();
    health(rig, "app", 0);
    run(rig, "side");
    prepare(rig, "web");
    launch(rig, "web");
    payload(rig, false);
    expect(rig, "signal side 15, ack");
    process(rig, FL_EVENT_EXITED, "side", 0, 0);
    process(rig, FL_EVENT_STARTED, "web", 0, 0);
    expect(rig, "signal web 15");
    process(rig, FL_EVENT_EXITED, "web", 0, 0);
    expect(rig, "release web, signal app 15");
    rig_free(rig);
}

static void failures_count_after_the_start_period(FL_UNUSED void **state)
{
    struct rig *rig = app_runs();
    for (int i = 0; i < 4; i++) {
        timer(rig, 3000);
        health(rig, "app", 1);
        assert_int_equal(container(rig, "app")->health_streak, 0);
        assert_int_equal(rig->turn.record_count, 0);
    }
    timer(rig, 5000);
    for (int i = 1; i <= 3; i++) {
        assert_int_equal(container(rig, "app")->health, FL_HEALTH_UNKNOWN);
        health(rig, "app", 1);
        assert_int_equal(container(rig, "app")->health_streak, i);
        rig_restart(rig, "boot-1");
        ack(rig);
    }
    assert_int_equal(container(rig, "app")->health, FL_HEALTH_UNHEALTHY);
    assert_true(container(rig, "app")->task->desired_running);
    health(rig, "app", 0);
    assert_int_equal(container(rig, "app")->health, FL_HEALTH_HEALTHY);
    assert_string_equal(container(rig, "app")->health_output, "said");
    rig_free(rig);
}

static void what_does_not_change_is_not_recorded(FL_UNUSED void **state)
{
    struct rig *rig = all_run();
    for (int i = 0; i < 3; i++) {
        timer(rig, 10000);
        expect(rig, "check app");
        assert_int_equal(rig->turn.record_count, 0);
        health(rig, "app", 0);
        assert_int_equal(rig->turn.record_count, 0);
        assert_int_equal(fl_brain_next_due(rig->brain), FL_MIN(50000, rig->now_ms + 10000));
    }
    rig_free(rig);
}

static void an_answer_that_never_comes_is_asked_for_again(FL_UNUSED void **state)
{
    struct rig *rig = all_run();
    timer(rig, 10000);
    expect(rig, "check app");
    timer(rig, 61999);
    expect(rig, "");
    timer(rig, 1);
    expect(rig, "check app");
    rig_free(rig);
}

static void a_task_of_its_own_lives_on_unhealthy(FL_UNUSED void **state)
{
    struct rig *rig = all_run();
    for (int i = 0; i < 3; i++)
        health(rig, "app", 1);
    expect(rig, "report RUNNING");
    assert_true(fl_str_contains(rig->turn.first->text, FL_STR("UNHEALTHY")));
    assert_true(container(rig, "app")->task->desired_running);
    rig_free(rig);
}

static void the_policy_restarts_one_and_touches_no_other(FL_UNUSED void **state)
{
    struct rig *rig = all_run();
    rig->now_ms += 60000;
    process(rig, FL_EVENT_EXITED, "side", 0, 1);
    expect(rig, "release side, prepare side");
    launch(rig, "side");
    expect(rig, "launch side");
    process(rig, FL_EVENT_EXITED, "side", 0, 1); /* told twice */
    expect(rig, "");
    process(rig, FL_EVENT_STARTED, "side", 1, 0);
    expect(rig, "report RUNNING");
    assert_false(fl_str_contains(rig->turn.first->text, FL_STR("exitCode\":1")));
    assert_int_equal(container(rig, "side")->restarts, 1);
    process(rig, FL_EVENT_EXITED, "side", 1, 1); /* at once: not again */
    expect(rig, "release side");
    assert_int_equal(container(rig, "side")->state, FL_CONTAINER_STOPPED);
    assert_int_equal(container(rig, "web")->state, FL_CONTAINER_RUNNING);
    rig_free(rig);
}

static void ignored_exit_codes_are_not_restarted(FL_UNUSED void **state)
{
    struct rig *rig = all_run();
    rig->now_ms += 60000;
    process(rig, FL_EVENT_EXITED, "side", 0, 9);
    expect(rig, "release side, report RUNNING");
    assert_int_equal(container(rig, "side")->state, FL_CONTAINER_STOPPED);
    rig_free(rig);
}

static void a_stop_is_not_answered_with_a_restart(FL_UNUSED void **state)
{
    struct rig *rig = all_run();
    rig->now_ms += 60000;
    payload(rig, false);
    process(rig, FL_EVENT_EXITED, "side", 0, 1);
    expect(rig, "release side");
    rig_free(rig);
}

/* Wherever the agent dies, the restart happens, once. */
static void a_restart_survives_the_agent(FL_UNUSED void **state)
{
    struct rig *rig = all_run();
    struct fl_brain_event gone = {.type = FL_EVENT_GONE};
    rig->now_ms += 60000;
    process(rig, FL_EVENT_EXITED, "side", 0, 1);
    rig_restart(rig, "boot-1");
    expect(rig, "adopt web, prepare side, adopt app");
    launch(rig, "side");
    expect(rig, "launch side");
    rig_restart(rig, "boot-1");
    expect(rig, "adopt web, adopt side, adopt app");
    gone.process.container_id = rig_id(rig, T1, "side");
    rig_step(rig, gone);
    expect(rig, "release side, prepare side");
    launch(rig, "side");
    process(rig, FL_EVENT_STARTED, "side", 1, 0);
    assert_int_equal(container(rig, "side")->restarts, 1);
    rig->now_ms += 60000;
    process(rig, FL_EVENT_EXITED, "side", 1, 5);
    payload(rig, false);
    assert_int_equal(container(rig, "side")->state, FL_CONTAINER_STOPPED);
    assert_int_equal(container(rig, "side")->exit_code, 5);
    assert_true(container(rig, "side")->has_exit_code);
    rig_free(rig);
}

/* An essential container that is restarted takes nobody along; who waited for its health before
 * does not again. */
static void an_essential_one_may_be_restarted_too(FL_UNUSED void **state)
{
    containers[2].restart = (struct fl_restart_policy){true, ignored, 1, 0};
    struct rig *rig = all_run();
    process(rig, FL_EVENT_EXITED, "app", 0, 1);
    expect(rig, "release app, prepare app, report RUNNING");
    assert_int_equal(container(rig, "app")->health, FL_HEALTH_UNKNOWN);
    assert_true(container(rig, "app")->task->desired_running);
    ack(rig);
    launch(rig, "app");
    process(rig, FL_EVENT_STARTED, "app", 1, 0);
    ack(rig);
    timer(rig, 10000);
    expect(rig, "check app");
    process(rig, FL_EVENT_EXITED, "app", 1, 9); /* ignored: now it has ended */
    expect(rig, "release app, signal web 15, signal side 15");
    containers[2].restart = (struct fl_restart_policy){0};
    rig_free(rig);
}

static void images_may_be_made_ready_before(FL_UNUSED void **state)
{
    const struct fl_brain_config config = {
        .stop_timeout_ms = 30000, .cleanup_delay_ms = 10000, .pull_upfront = true};
    struct rig *rig = rig_new();
    fl_brain_free(rig->brain);
    rig->brain = fl_brain_new(&config);
    rig_boot(rig, "boot-1");
    payload(rig, true);
    expect(rig, "ensure web, ensure side, ensure app, ensure init, ack");
    prepare(rig, "app");
    expect(rig, "");
    run(rig, "init");
    process(rig, FL_EVENT_EXITED, "init", 0, 0);
    expect(rig, "release init, prepare app");
    prepare(rig, "web");
    payload(rig, false);
    expect(rig, "release web, ack");
    launch(rig, "app");
    expect(rig, "release app");
    ack(rig);
    expect(rig, "report STOPPED");
    rig_free(rig);
}

/* When tasks of which the same is told at the same time are removed: each at another time, none too
 * early or too late. */
static void removals_are_spread(FL_UNUSED void **state)
{
    enum { TASKS = 20, DELAY = 1000, JITTER = 100000 };
    const struct fl_brain_config config = {.cleanup_delay_ms = DELAY, .cleanup_jitter_ms = JITTER};
    struct fl_brain *brain = fl_brain_new(&config);
    int64_t low = INT64_MAX, high = 0;
    for (int i = 0; i < TASKS; i++) {
        char arn[32];
        (void)snprintf(arn, sizeof(arn), "arn:task/%d", i);
        const struct fl_task task = {.arn = fl_str_of(arn)};
        int64_t ms = fl_brain_cleanup_ms(brain, &task);
        assert_int_equal(fl_brain_cleanup_ms(brain, &task), ms);
        low = FL_MIN(low, ms);
        high = FL_MAX(high, ms);
    }
    assert_true(low >= DELAY && high <= DELAY + JITTER);
    assert_true(high - low > JITTER / 2);
    fl_brain_free(brain);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(containers_start_in_order),
        cmocka_unit_test(removals_are_spread),
        cmocka_unit_test(an_init_that_fails_ends_the_task),
        cmocka_unit_test(an_image_that_is_missing_ends_those_that_wait),
        cmocka_unit_test(patience_ends),
        cmocka_unit_test(containers_stop_in_the_reverse_order),
        cmocka_unit_test(a_launch_under_way_holds_back_the_stop_of_what_it_needs),
        cmocka_unit_test(failures_count_after_the_start_period),
        cmocka_unit_test(what_does_not_change_is_not_recorded),
        cmocka_unit_test(an_answer_that_never_comes_is_asked_for_again),
        cmocka_unit_test(a_task_of_its_own_lives_on_unhealthy),
        cmocka_unit_test(the_policy_restarts_one_and_touches_no_other),
        cmocka_unit_test(ignored_exit_codes_are_not_restarted),
        cmocka_unit_test(a_stop_is_not_answered_with_a_restart),
        cmocka_unit_test(a_restart_survives_the_agent),
        cmocka_unit_test(an_essential_one_may_be_restarted_too),
        cmocka_unit_test(images_may_be_made_ready_before),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
