/* Dependencies, health checks and restart policies in the control plane: what
 * RegisterTaskDefinition refuses and fills in, what an agent is sent, what DescribeTasks says of
 * reports about it. */
#include "core/core_fixture.h"

#include "wire/task_spec.h"

#define TWO(app, side)                                                                             \
    "{'family':'two','containerDefinitions':[{'name':'app','image':'b','memory':8" app             \
    "},{'name':'side','image':'b','memory':8" side "}]}"
#define HEALTH(more) ",'healthCheck':{'command':['CMD','true']" more "}"
#define ON(name, condition)                                                                        \
    ",'dependsOn':[{'containerName':'" name "','condition':'" condition "'}]"

static void wrong_lives_are_refused(FL_UNUSED void **state)
{
    static const char *const rows[][2] = {
        {TWO(ON("none", "START"), ""),
         "Cannot depend on container + 'none' because it does not exist"},
        {TWO(ON("side", "SUCCESS"), ""),
         "A dependency container with SUCCESS or COMPLETE condition cannot be an essential "
         "container"},
        {TWO(ON("side", "COMPLETE"), ",'essential':true"),
         "A dependency container with SUCCESS or COMPLETE condition cannot be an essential "
         "container"},
        {TWO(ON("side", "HEALTHY"), ""),
         "A dependency container with HEALTHY condition must have health check configured"},
        {TWO(ON("side", "HEALTHY"), ",'healthCheck':{'command':['NONE']}"),
         "A dependency container with HEALTHY condition must have health check configured"},
        {TWO(ON("app", "START"), ""), "Container 'app' has a circular dependency."},
        {TWO(ON("side", "START"), ON("app", "START")),
         "Container 'app' has a circular dependency."},
        {TWO(",'dependsOn':[{'containerName':'side','condition':'START'},{'containerName':'side',"
             "'condition':'START'}]",
             ""),
         "Container 'app' depends on container 'side' twice."},
        {TWO(ON("side", "START"), ",'links':['app:a']"),
         "Container 'app' has a circular dependency."},
        {TWO(",'startTimeout':-1", ""),
         "Invalid setting for container 'app'. The 'startTimeout' must be between 0 and 86400."},
        {TWO(HEALTH(",'interval':4"), ""),
         "Invalid setting for container 'app'. The 'healthCheck.interval' must be between 5 and "
         "300."},
        {TWO(HEALTH(",'timeout':61"), ""),
         "Invalid setting for container 'app'. The 'healthCheck.timeout' must be between 2 and "
         "60."},
        {TWO(HEALTH(",'retries':0"), ""),
         "Invalid setting for container 'app'. The 'healthCheck.retries' must be between 1 and "
         "10."},
        {TWO(HEALTH(",'startPeriod':301"), ""),
         "Invalid setting for container 'app'. The 'healthCheck.startPeriod' must be between 0 and "
         "300."},
        {TWO(",'healthCheck':{'command':['true']}", ""),
         "Invalid setting for container 'app'. The 'healthCheck.command' must start with CMD or "
         "CMD-SHELL, followed by a command."},
        {TWO(",'restartPolicy':{'enabled':true,'restartAttemptPeriod':59}", ""),
         "Invalid setting for container 'app'. The 'restartPolicy.restartAttemptPeriod' must be "
         "between 60 and 1800."},
    };
    struct fix *f = fix_new();
    for (size_t i = 0; i < FL_ARRAY_SIZE(rows); i++) {
        assert_int_equal(fix_call(f, "RegisterTaskDefinition", "%s", rows[i][0]), 400);
        assert_string_equal(fix_text(f, "message"), rows[i][1]);
    }
    fix_free(f);
}

static void what_is_left_out_is_filled_in(FL_UNUSED void **state)
{
    struct fix *f = fix_new();
    fix_ok(f, "RegisterTaskDefinition", TWO(HEALTH(""), ""));
#define CHECK "taskDefinition.containerDefinitions.0.healthCheck."
    assert_int_equal(fix_int(f, CHECK "interval"), 30);
    assert_int_equal(fix_int(f, CHECK "timeout"), 5);
    assert_int_equal(fix_int(f, CHECK "retries"), 3);
    assert_null(fix_at(f->reply, CHECK "startPeriod"));
#undef CHECK
    fix_free(f);
}

static void run(struct fix *f, char task[200])
{
    char instance[64];
    fix_ok(f, "CreateCluster", "{}");
    fix_add_instance(f, "default", 1024, 1000,
                     "{'name':'ecs.capability.container-ordering'},"
                     "{'name':'ecs.capability.container-health-check'},"
                     "{'name':'ecs.capability.container-restart-policy'}",
                     instance);
    fix_ok(f, "RegisterTaskDefinition",
           TWO(ON("side", "HEALTHY") HEALTH(",'startPeriod':10"),
               ",'startTimeout':9,'essential':false,'restartPolicy':{'enabled':true,"
               "'ignoredExitCodes':[3]}" HEALTH(",'interval':6")));
    fix_ok(f, "RunTask", "{'taskDefinition':'two'}");
    (void)snprintf(task, 200, "%s", fix_text(f, "tasks.0.taskArn"));
}

static void an_agent_is_sent_it(FL_UNUSED void **state)
{
    struct fix *f = fix_new();
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_task_spec spec;
    struct fl_err err = {0};
    char task[200];
    run(f, task);
    const struct fl_json *sent = fl_json_get(fl_json_item(f->sent, 0), "task");
    assert_int_equal(fl_task_spec_decode(sent, arena, &spec, &err), 0);
    const struct fl_container_spec *app = &spec.containers[0], *side = &spec.containers[1];
    assert_int_equal(app->depends_on_count, 1);
    assert_true(fl_str_is(app->depends_on[0].container, "side"));
    assert_int_equal(app->depends_on[0].condition, FL_WHEN_HEALTHY);
    assert_int_equal(app->health_check.start_period_ms, 10000);
    assert_int_equal(side->health_check.interval_ms, 6000);
    assert_int_equal(side->health_check.timeout_ms, 5000);
    assert_int_equal(side->start_timeout_s, 9);
    assert_true(side->restart.enabled);
    assert_int_equal(side->restart.ignored_exit_codes[0], 3);
    assert_int_equal(side->restart.attempt_period_s, 300);
    fix_free(f);
}

static void expect_health(struct fix *f, const char *task, const char *of_task, const char *of_app,
                          const char *of_side)
{
    fix_ok(f, "DescribeTasks", "{'tasks':['%s']}", task);
    assert_string_equal(fix_text(f, "tasks.0.healthStatus"), of_task);
    assert_string_equal(fix_text(f, "tasks.0.containers.0.healthStatus"), of_app);
    assert_string_equal(fix_text(f, "tasks.0.containers.1.healthStatus"), of_side);
}

#define REPORT(app, side)                                                                          \
    ",'containers':[{'containerName':'app','status':'RUNNING','healthStatus':'" app                \
    "'},{'containerName':'side','status':'RUNNING','healthStatus':'" side "'}]"

static void reported_health_is_shown(FL_UNUSED void **state)
{
    struct fix *f = fix_new();
    char task[200];
    run(f, task);
    expect_health(f, task, "UNKNOWN", "UNKNOWN", "UNKNOWN");
    fix_report(f, task, "RUNNING", REPORT("UNKNOWN", "HEALTHY"));
    expect_health(f, task, "UNKNOWN", "UNKNOWN", "HEALTHY");
    fix_report(f, task, "RUNNING", REPORT("HEALTHY", "UNHEALTHY"));
    expect_health(f, task, "HEALTHY", "HEALTHY", "UNHEALTHY"); /* side is not essential */
    fix_report(f, task, "RUNNING", REPORT("UNHEALTHY", "HEALTHY"));
    expect_health(f, task, "UNHEALTHY", "UNHEALTHY", "HEALTHY");
    assert_string_equal(fix_text(f, "tasks.0.lastStatus"), "RUNNING");
    assert_string_equal(fix_text(f, "tasks.0.desiredStatus"), "RUNNING");
    fix_recover(f, true);
    expect_health(f, task, "UNHEALTHY", "UNHEALTHY", "HEALTHY");
    fix_free(f);
}

/* The dependant comes with an exit code although it never ran. */
static void a_dependency_that_failed_keeps_the_task_from_starting(FL_UNUSED void **state)
{
    struct fix *f = fix_new();
    char task[200];
    run(f, task);
    fix_report(f, task, "STOPPED",
               ",'reason':'CannotStartContainerError: dependency graph: no','containers':["
               "{'containerName':'side','status':'STOPPED','exitCode':1},{'containerName':'app',"
               "'status':'STOPPED','exitCode':143,'reason':'CannotStartContainerError: dependency "
               "graph: no'}]");
    fix_ok(f, "DescribeTasks", "{'tasks':['%s']}", task);
    assert_string_equal(fix_text(f, "tasks.0.stopCode"), "TaskFailedToStart");
    assert_string_equal(fix_text(f, "tasks.0.stoppedReason"),
                        "CannotStartContainerError: dependency graph: no");
    assert_int_equal(fix_int(f, "tasks.0.containers.0.exitCode"), 143);
    assert_null(fix_at(f->reply, "tasks.0.startedAt"));
    fix_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrong_lives_are_refused),
        cmocka_unit_test(what_is_left_out_is_filled_in),
        cmocka_unit_test(an_agent_is_sent_it),
        cmocka_unit_test(reported_health_is_shown),
        cmocka_unit_test(a_dependency_that_failed_keeps_the_task_from_starting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
