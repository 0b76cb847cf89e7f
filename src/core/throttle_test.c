/* The throttle: tasks that never reach RUNNING are tried again later and later, what else ends a
 * task is not held against it, and who comes up is forgiven. */
#include "core/rollout_fixture.h"
#include "core/scheduler.h"

/* When the next look is due, from now. */
static int64_t wait_ms(struct fix *f)
{
    fix_schedule(f);
    return fl_core_next_due(f->core) - f->now_ms;
}

static struct fix *fix_one(const char *more)
{
    struct fix *f = fix_ready();
    fix_ok(f, "CreateService", "{'serviceName':'s','taskDefinition':'web','desiredCount':2%s}",
           more);
    fix_schedule(f);
    return f;
}

static void waits_grow_to_27_minutes(FL_UNUSED void **state)
{
    static const int64_t expected_ms[] = {1000,   2000,   4000,   8000,    16000,   32000,  64000,
                                          128000, 256000, 512000, 1024000, 1620000, 1620000};
    struct fix *f = fix_one("");
    for (size_t i = 0; i < FL_ARRAY_SIZE(expected_ms); i++) {
        assert_int_equal(fix_fail(f, "ResourceInitializationError: later"), 2);
        assert_int_equal(fix_service_int(f, "services.0.deployments.0.failedTasks"),
                         2 * (int64_t)(i + 1));
        assert_int_equal(fix_said(f, "(service s) was unable to place a task. Reason: "
                                     "ResourceInitializationError: later."),
                         1);
        assert_int_equal(fix_said(f, "is unable to consistently start tasks successfully. For "),
                         i < 2 ? 0 : 1);
        if (i % 4 == 0)
            fix_quiet(f);
        f->now_ms += expected_ms[i] - 1;
        fix_schedule(f);
        assert_int_equal(fix_service_int(f, "services.0.pendingCount"), 0);
        f->now_ms++;
        fix_schedule(f);
        assert_int_equal(fix_service_int(f, "services.0.pendingCount"), 2);
    }
    fix_quiet(f);
    fix_free(f);
}

static void one_round_is_one_failure(FL_UNUSED void **state)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fix *f = fix_one("");
    fix_ok(f, "ListTasks", "{}");
    const struct fl_json *arns = fix_copy(fix_at(f->reply, "taskArns"), arena);
    f->now_ms += 100;
    fix_report(f, fl_json_z(fl_json_item(arns, 0)), "STOPPED", ",'reason':'no'");
    assert_int_equal(wait_ms(f), 1000);
    f->now_ms += 5000; /* the other one takes its time */
    fix_schedule(f);
    assert_int_equal(fix_service_int(f, "services.0.pendingCount"), 2);
    fix_report(f, fl_json_z(fl_json_item(arns, 1)), "STOPPED", ",'reason':'no'");
    fix_schedule(f);
    assert_int_equal(fix_service_int(f, "services.0.pendingCount"), 2);
    assert_int_equal(fix_service_int(f, "services.0.deployments.0.failedTasks"), 2);
    fix_free(f);
}

static void who_comes_up_is_forgiven(FL_UNUSED void **state)
{
    struct fix *f = fix_one("");
    for (int i = 0; i < 4; i++) {
        assert_int_equal(fix_fail(f, "no"), 2);
        f->now_ms += wait_ms(f);
        fix_schedule(f);
    }
    fix_obey(f);
    assert_int_equal(fix_service_int(f, "services.0.deployments.0.failedTasks"), 0);
    fix_quiet(f);
    /* RUNNING and dead at once: it is replaced at once. */
    for (int i = 0; i < 3; i++) {
        assert_int_equal(fix_report_all(f, "RUNNING", "RUNNING", "STOPPED", ""), 2);
        fix_schedule(f);
        assert_int_equal(fix_service_int(f, "services.0.pendingCount"), 2);
        fix_obey(f);
    }
    fix_free(f);
}

/* It ran and ended between two reports. */
static void a_short_life_is_a_life(FL_UNUSED void **state)
{
    static const char exited[] =
        ",'containers':[{'containerName':'app','status':'STOPPED','exitCode':1}]";
    struct fix *f = fix_one("");
    for (int i = 0; i < 3; i++) {
        assert_int_equal(fix_report_all(f, "RUNNING", "PENDING", "STOPPED", exited), 2);
        fix_schedule(f);
        assert_int_equal(fix_service_int(f, "services.0.pendingCount"), 2);
    }
    assert_int_equal(fix_fail(f, "no"), 2);
    assert_int_equal(wait_ms(f), 1000);
    f->now_ms += 1000;
    fix_schedule(f);
    assert_int_equal(fix_report_all(f, "RUNNING", "PENDING", "STOPPED", exited), 2);
    fix_schedule(f);
    assert_int_equal(fix_service_int(f, "services.0.deployments.0.failedTasks"), 0);
    assert_int_equal(fix_service_int(f, "services.0.pendingCount"), 2);
    fix_free(f);
}

/* One essential container ended while another one was still on its way: it never ran. */
static void half_a_task_has_not_run(FL_UNUSED void **state)
{
    static const char half[] =
        ",'containers':[{'containerName':'app','status':'STOPPED','exitCode':1},"
        "{'containerName':'side','status':'STOPPED','reason':'Task stopped before image pull'}]";
    struct fix *f = fix_ready();
    fix_ok(f, "RegisterTaskDefinition",
           "{'family':'two','containerDefinitions':["
           "{'name':'app','image':'busybox:1','cpu':100,'memory':50,'essential':true},"
           "{'name':'side','image':'busybox:1','cpu':100,'memory':50,'essential':true}]}");
    fix_ok(f, "CreateService", "{'serviceName':'s','taskDefinition':'two','desiredCount':1}");
    fix_schedule(f);
    assert_int_equal(fix_report_all(f, "RUNNING", "PENDING", "STOPPED", half), 1);
    assert_int_equal(wait_ms(f), 1000);
    assert_int_equal(fix_service_int(f, "services.0.deployments.0.failedTasks"), 1);
    fix_free(f);
}

static void who_is_stopped_has_not_failed(FL_UNUSED void **state)
{
    struct fix *f = fix_one("");
    for (int i = 0; i < 4; i++) {
        FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
        fix_ok(f, "ListTasks", "{}");
        const struct fl_json *arns = fix_copy(fix_at(f->reply, "taskArns"), arena);
        assert_int_equal(fl_json_items(arns), 2);
        for (size_t k = 0; k < 2; k++)
            fix_ok(f, "StopTask", "{'task':'%s'}", fl_json_z(fl_json_item(arns, k)));
        fix_stop_all(f);
    }
    assert_int_equal(fix_service_int(f, "services.0.deployments.0.failedTasks"), 0);
    fix_ok(f, "UpdateService", "{'service':'s','desiredCount':0}");
    fix_schedule(f);
    fix_stop_all(f);
    assert_int_equal(fix_service_int(f, "services.0.deployments.0.failedTasks"), 0);
    fix_quiet(f);
    fix_free(f);
}

static void a_new_deployment_begins_anew(FL_UNUSED void **state)
{
    struct fix *f = fix_one("");
    for (int i = 0; i < 6; i++) {
        (void)fix_fail(f, "no");
        f->now_ms += wait_ms(f);
        fix_schedule(f);
    }
    (void)fix_fail(f, "no");
    fix_ok(f, "UpdateService", "{'service':'s','forceNewDeployment':true}");
    fix_schedule(f);
    assert_int_equal(fix_service_int(f, "services.0.deployments.0.failedTasks"), 0);
    assert_int_equal(fix_service_int(f, "services.0.deployments.0.pendingCount"), 2);
    (void)fix_fail(f, "no");
    assert_int_equal(wait_ms(f), 1000);
    /* A service that goes away waits for nothing. */
    fix_ok(f, "DeleteService", "{'service':'s','force':true}");
    fix_schedule(f);
    assert_string_equal(fix_service(f, "services.0.status"), "INACTIVE");
    fix_quiet(f);
    fix_free(f);
}

/* Replaces what a record of that kind says; a core that loads it goes on. */
static void forge(struct fix *f, const char *kind, const char *from, const char *to)
{
    struct fix_record *record = &f->records[fix_find_record(f, kind)];
    char *at = strstr(record->value, from), *text = NULL;
    assert_non_null(at);
    assert_true(asprintf(&text, "%.*s%s%s", (int)(at - record->value), record->value, to,
                         at + strlen(from)) > 0);
    free(record->value);
    record->value = text;
    fl_core_free(f->core);
    f->core = fix_load(f);
    fix_reconnect(f);
}

/* What an older release took may be refused by this one. */
static void who_cannot_be_launched_waits_too(FL_UNUSED void **state)
{
    struct fix *f = fix_ready();
    fix_ok(f, "RegisterTaskDefinition",
           "{'family':'odd','networkMode':'awsvpc','containerDefinitions':[{'name':'app',"
           "'image':'busybox:1','cpu':1,'memory':6}]}");
    fix_ok(f, "CreateService", "{'serviceName':'s','taskDefinition':'web','desiredCount':2}");
    forge(f, "r/", "\"family\":\"web\"", "\"family\":\"odd\"");
    fix_schedule(f);
    assert_int_equal(fix_said(f,
                              "was unable to place a task. Reason: Network Configuration must be "
                              "provided when networkMode 'awsvpc' is specified."),
                     1);
    assert_int_equal(fix_service_int(f, "services.0.deployments.0.failedTasks"), 1);
    assert_int_equal(wait_ms(f), 1000);
    fix_quiet(f);
    f->now_ms += 1000;
    assert_int_equal(wait_ms(f), 2000);
    assert_int_equal(fix_service_int(f, "services.0.deployments.0.failedTasks"), 2);
    assert_int_equal(fix_said(f, "was unable to place a task. Reason:"), 1);
    fix_quiet(f);
    fix_free(f);
}

static void strict_waits_are_longer(FL_UNUSED void **state)
{
    const struct fl_core strict = {.strict = true};
    assert_int_equal(fl_throttle_ms(&strict, 1), 10 * 1000);
    assert_int_equal(fl_throttle_ms(&strict, 2), 20 * 1000);
    assert_int_equal(fl_throttle_ms(&strict, 9), 27 * 60 * 1000);
    assert_int_equal(fl_throttle_ms(&strict, INT32_MAX), 27 * 60 * 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(waits_grow_to_27_minutes),
        cmocka_unit_test(one_round_is_one_failure),
        cmocka_unit_test(who_comes_up_is_forgiven),
        cmocka_unit_test(a_short_life_is_a_life),
        cmocka_unit_test(half_a_task_has_not_run),
        cmocka_unit_test(who_is_stopped_has_not_failed),
        cmocka_unit_test(a_new_deployment_begins_anew),
        cmocka_unit_test(who_cannot_be_launched_waits_too),
        cmocka_unit_test(strict_waits_are_longer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
