/* Lifecycle hooks of rollouts with stages: pauses, tasks, answers, times, refusals. After each
 * part a core built from the records must agree. */
#include "core/staged_fixture.h"
#include "core/state.h"

#define ROLLOUT_ARN "arn:aws:ecs:eu-central-1:000000000000:service-deployment/default/s/"
#define HOOK_ARN "arn:aws:ecs:eu-central-1:000000000000:task-definition/hook:1"

/* Detail of the hook that was begun last, or the named member of it. */
static const char *hook_of(struct fix *f, const char *member, struct fl_arena *arena)
{
    const struct fl_json *hooks = fl_json_get(staged_rollout(f, arena), "hooks");
    assert_true(fl_json_items(hooks) > 0);
    const struct fl_json *hook = fl_json_item(hooks, fl_json_items(hooks) - 1);
    const char *of_entry = fl_json_z(fl_json_get(hook, member));
    return of_entry ? of_entry : fl_json_z(fl_json_get(fl_json_get(hook, "detail"), member));
}

static void expect_hook(struct fix *f, const char *status)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    assert_string_equal(hook_of(f, "status", arena), status);
}

static void answer(struct fix *f, const char *action)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    const struct fl_json *rollout = staged_rollout(f, arena);
    fix_ok(f, "ContinueServiceDeployment",
           "{'serviceDeploymentArn':'" ROLLOUT_ARN "%s','hookId':'%s'%s}",
           fl_json_z(fl_json_get(rollout, "id")), hook_of(f, "hookId", arena), action);
    assert_non_null(strstr(fix_text(f, "serviceDeploymentArn"), ROLLOUT_ARN));
}

/* A service whose first rollout came through its pauses. */
static struct fix *paused_new(const char *stages, const char *more)
{
    char configuration[1000];
    struct fix *f = staged_new();
    (void)snprintf(configuration, sizeof(configuration),
                   "'strategy':'BLUE_GREEN','bakeTimeInMinutes':1,'lifecycleHooks':["
                   "{'targetType':'PAUSE','lifecycleStages':[%s]%s}]",
                   stages, more);
    staged_create(f, configuration);
    f->now_ms += 1;
    for (int i = 0; i < 10; i++) {
        FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
        staged_obey(f);
        const char *status = fl_json_z(fl_json_get(staged_rollout(f, arena), "status"));
        if (strcmp(status, "SUCCESSFUL") == 0)
            break;
        answer(f, "");
    }
    staged_expect(f, "status", "SUCCESSFUL");
    return f;
}

static void a_pause_waits_for_an_answer(FL_UNUSED void **state)
{
    struct fix *f = paused_new("'PRE_SCALE_UP','POST_SCALE_UP'", "");
    staged_deploy(f);
    staged_at(f, "PRE_SCALE_UP");
    expect_hook(f, "AWAITING_ACTION");
    staged_count(f, 0, 2);
    fix_ok(f, "DescribeServices", "{'services':['s']}");
    assert_int_equal(fix_int(f, "services.0.deployments.0.desiredCount"), 0);
    answer(f, "");
    expect_hook(f, "SUCCEEDED");
    staged_obey(f);
    staged_at(f, "POST_SCALE_UP");
    expect_hook(f, "AWAITING_ACTION");
    staged_count(f, 2, 2);
    answer(f, ",'action':'CONTINUE'");
    staged_at(f, "BAKE_TIME");
    fix_free(f);
}

/* `fairlead explain service` says what is waited for. */
static void a_pause_is_explained(FL_UNUSED void **state)
{
    struct fl_core_event event = {
        .kind = FL_CORE_EVENT_EXPLAIN, .request_id = 7, .service = FL_STR("s")};
    struct fix *f = paused_new("'POST_SCALE_UP'", "");
    staged_deploy(f);
    staged_obey(f);
    fix_step(f, &event);
    assert_int_equal(f->status, 200);
    const char *text = fix_text(f, "text");
    assert_non_null(strstr(text, "\n  the deployment is at POST_SCALE_UP\n  its hook ecs-pause-"));
    assert_non_null(strstr(text, " waits for ContinueServiceDeployment\n"));
    fix_free(f);
}

static void a_pause_can_go_back(FL_UNUSED void **state)
{
    static const char *const stages[] = {"PRE_SCALE_UP", "POST_SCALE_UP", "POST_TEST_TRAFFIC_SHIFT",
                                         "PRE_PRODUCTION_TRAFFIC_SHIFT",
                                         "POST_PRODUCTION_TRAFFIC_SHIFT"};
    for (size_t i = 0; i < FL_ARRAY_SIZE(stages); i++) {
        char named[100];
        (void)snprintf(named, sizeof(named), "'%s'", stages[i]);
        struct fix *f = paused_new(named, "");
        staged_deploy(f);
        staged_obey(f);
        staged_at(f, strcmp(stages[i], "PRE_PRODUCTION_TRAFFIC_SHIFT") ? stages[i]
                                                                       : "POST_TEST_TRAFFIC_SHIFT");
        staged_count(f, i ? 2 : 0, 2);
        answer(f, ",'action':'ROLLBACK'");
        fix_schedule(f);
        fix_recover(f, true);
        staged_count(f, 2, i ? 2 : 0); /* blue is PRIMARY at once */
        staged_obey(f);
        staged_expect(f, "status", "ROLLBACK_SUCCESSFUL");
        expect_hook(f, "FAILED");
        staged_count(f, 2, 0);
        fix_recover(f, false);
        fix_free(f);
    }
}

static void a_pause_times_out(FL_UNUSED void **state)
{
    struct fix *f = paused_new("'POST_SCALE_UP'", ",'timeoutConfiguration':{'timeoutInMinutes':3}");
    staged_deploy(f);
    staged_obey(f);
    f->now_ms += 3 * MINUTE - FL_CORE_STRICT_SETTLE_MS;
    staged_at(f, "POST_SCALE_UP");
    f->now_ms += FL_CORE_STRICT_SETTLE_MS;
    staged_obey(f);
    expect_hook(f, "TIMED_OUT");
    staged_expect(f, "status", "ROLLBACK_SUCCESSFUL");
    staged_count(f, 2, 0);
    fix_free(f);
    f = paused_new("'POST_SCALE_UP'",
                   ",'timeoutConfiguration':{'timeoutInMinutes':3,'action':'CONTINUE'}");
    staged_deploy(f);
    staged_obey(f);
    f->now_ms += 3 * MINUTE;
    fix_schedule(f);
    expect_hook(f, "TIMED_OUT");
    staged_at(f, "BAKE_TIME");
    fix_free(f);
}

/* A clock that is set back gives a hook its time anew, and no more. */
static void a_pause_ends_whatever_the_clock_does(FL_UNUSED void **state)
{
    struct fix *f = paused_new("'POST_SCALE_UP'", ",'timeoutConfiguration':{'timeoutInMinutes':3}");
    staged_deploy(f);
    staged_obey(f);
    f->now_ms -= 24 * 60 * MINUTE;
    staged_at(f, "POST_SCALE_UP");
    fix_recover(f, true);
    f->now_ms += 3 * MINUTE - 1;
    staged_at(f, "POST_SCALE_UP");
    f->now_ms += 1;
    staged_obey(f);
    expect_hook(f, "TIMED_OUT");
    fix_free(f);
}

static void an_answer_to_nothing_is_refused(FL_UNUSED void **state)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    char arn[200];
    struct fix *f = paused_new("'POST_SCALE_UP'", "");
    staged_deploy(f);
    staged_obey(f);
    (void)snprintf(arn, sizeof(arn), ROLLOUT_ARN "%s",
                   fl_json_z(fl_json_get(staged_rollout(f, arena), "id")));
    fix_refused(f, "ServiceDeploymentNotFoundException", "Service deployment not found.",
                "ContinueServiceDeployment",
                "{'serviceDeploymentArn':'" ROLLOUT_ARN "none','hookId':'x'}");
    fix_refused(f, "InvalidParameterException",
                "The service deployment cannot be continued: the service deployment has no "
                "lifecycle hook of that hookId.",
                "ContinueServiceDeployment", "{'serviceDeploymentArn':'%s','hookId':'x'}", arn);
    answer(f, "");
    fix_refused(f, "InvalidParameterException",
                "The service deployment cannot be continued: the lifecycle hook is not "
                "AWAITING_ACTION.",
                "ContinueServiceDeployment", "{'serviceDeploymentArn':'%s','hookId':'%s'}", arn,
                hook_of(f, "hookId", arena));
    fix_free(f);
}

static void a_service_that_goes_goes_on_no_more(FL_UNUSED void **state)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    char arn[200];
    struct fix *f = paused_new("'POST_SCALE_UP'", "");
    staged_deploy(f);
    staged_obey(f);
    (void)snprintf(arn, sizeof(arn), ROLLOUT_ARN "%s",
                   fl_json_z(fl_json_get(staged_rollout(f, arena), "id")));
    const char *hook = hook_of(f, "hookId", arena);
    fix_ok(f, "DeleteService", "{'service':'s','force':true}");
    fix_refused(f, "InvalidParameterException",
                "The service deployment cannot be continued: its service is being deleted.",
                "ContinueServiceDeployment",
                "{'serviceDeploymentArn':'%s','hookId':'%s','action':'ROLLBACK'}", arn, hook);
    staged_obey(f);
    staged_expect(f, "status", "STOPPED");
    fix_free(f);
}

static void a_pause_comes_with_every_step(FL_UNUSED void **state)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fix *f = staged_new();
    staged_create(f, "'strategy':'LINEAR','linearConfiguration':{'stepPercent':50,"
                     "'stepBakeTimeInMinutes':1},'lifecycleHooks':[{'targetType':'PAUSE',"
                     "'lifecycleStages':['PRE_PRODUCTION_TRAFFIC_SHIFT']}]");
    f->now_ms += 1;
    staged_obey(f);
    answer(f, "");
    staged_obey(f);
    staged_expect(f, "status", "SUCCESSFUL");
    staged_deploy(f);
    staged_obey(f);
    staged_at(f, "POST_TEST_TRAFFIC_SHIFT");
    const char *first = hook_of(f, "hookId", arena);
    answer(f, "");
    staged_at(f, "PRODUCTION_TRAFFIC_SHIFT");
    f->now_ms += MINUTE;
    staged_at(f, "PRODUCTION_TRAFFIC_SHIFT");
    expect_hook(f, "AWAITING_ACTION");
    assert_string_not_equal(hook_of(f, "hookId", arena), first);
    answer(f, "");
    staged_at(f, "CLEAN_UP");
    fix_free(f);
}

/* ---- tasks ---- */

static struct fix *task_hook_new(const char *stage, const char *more)
{
    char configuration[1000];
    struct fix *f = staged_new();
    (void)snprintf(configuration, sizeof(configuration),
                   "'strategy':'BLUE_GREEN','lifecycleHooks':[{'hookTargetArn':'" HOOK_ARN
                   "','lifecycleStages':['%s']%s}]",
                   stage, more);
    staged_create(f, configuration);
    f->now_ms += 1;
    return f;
}

/* The hook's task runs to its end. */
static void end_task(struct fix *f, const char *containers)
{
    char task[200];
    fix_ok(f, "ListTasks", "{'family':'hook'}");
    assert_int_equal(fix_size(f, "taskArns"), 1);
    (void)snprintf(task, sizeof(task), "%s", fix_text(f, "taskArns.0"));
    fix_report(f, task, "RUNNING", "");
    fix_schedule(f);
    expect_hook(f, "IN_PROGRESS");
    fix_report(f, task, "STOPPED", containers);
    fix_schedule(f);
}

static void end_well(struct fix *f)
{
    end_task(f, ",'containers':[{'containerName':'app','exitCode':0,'status':'STOPPED'}]");
}

static void a_task_decides(FL_UNUSED void **state)
{
    struct fix *f = task_hook_new("PRE_SCALE_UP", ",'hookDetails':{'a':1}");
    fix_schedule(f);
    staged_at(f, "PRE_SCALE_UP");
    fix_ok(f, "ListTasks", "{'family':'hook'}");
    fix_ok(f, "DescribeTasks", "{'tasks':['%s']}", fix_text(f, "taskArns.0"));
    assert_string_equal(fix_text(f, "tasks.0.group"), "service-hook:s");
    assert_non_null(strstr(fix_text(f, "tasks.0.startedBy"), "ecs-svc/"));
    assert_string_equal(fix_text(f, "tasks.0.overrides.containerOverrides.0.environment.0.value"),
                        "PRE_SCALE_UP");
    assert_string_equal(fix_text(f, "tasks.0.overrides.containerOverrides.0.environment.6.value"),
                        "{\"a\":1}");
    end_well(f);
    expect_hook(f, "SUCCEEDED");
    staged_obey(f);
    staged_expect(f, "status", "SUCCESSFUL");
    staged_deploy(f);
    staged_at(f, "PRE_SCALE_UP");
    end_task(f, ",'containers':[{'containerName':'app','exitCode':3,'status':'STOPPED'}]");
    expect_hook(f, "FAILED");
    staged_obey(f);
    staged_expect(f, "status", "ROLLBACK_SUCCESSFUL");
    staged_count(f, 2, 0);
    fix_free(f);
}

static void a_first_one_has_no_way_back(FL_UNUSED void **state)
{
    struct fix *f = task_hook_new("POST_SCALE_UP", "");
    staged_obey(f);
    end_task(f, ",'reason':'CannotPullContainerError: no such image'");
    expect_hook(f, "FAILED");
    fix_schedule(f);
    staged_expect(f, "status", "ROLLBACK_FAILED");
    fix_recover(f, false);
    fix_free(f);
}

static void a_task_times_out(FL_UNUSED void **state)
{
    struct fix *f = task_hook_new("POST_SCALE_UP", ",'timeoutConfiguration':{'timeoutInMinutes':5,"
                                                   "'action':'CONTINUE'}");
    staged_obey(f);
    expect_hook(f, "IN_PROGRESS");
    f->now_ms += 5 * MINUTE;
    fix_schedule(f);
    expect_hook(f, "TIMED_OUT");
    fix_ok(f, "ListTasks", "{'family':'hook','desiredStatus':'STOPPED'}");
    assert_int_equal(fix_size(f, "taskArns"), 1);
    staged_obey(f);
    staged_expect(f, "status", "SUCCESSFUL");
    fix_free(f);
}

static void a_task_goes_with_its_rollout(FL_UNUSED void **state)
{
    struct fix *f = task_hook_new("POST_SCALE_UP", "");
    staged_obey(f);
    expect_hook(f, "IN_PROGRESS");
    staged_deploy(f);
    fix_schedule(f);
    fix_ok(f, "ListTasks", "{'family':'hook','desiredStatus':'STOPPED'}");
    assert_int_equal(fix_size(f, "taskArns"), 1);
    staged_obey(f);
    expect_hook(f, "IN_PROGRESS");
    fix_ok(f, "DeleteService", "{'service':'s','force':true}");
    fix_schedule(f);
    expect_hook(f, "FAILED");
    staged_obey(f);
    fix_ok(f, "ListTasks", "{}");
    assert_int_equal(fix_size(f, "taskArns"), 0);
    fix_recover(f, false);
    fix_free(f);
}

/* It needs more than any instance has left, until one comes. */
static void a_task_waits_for_room(FL_UNUSED void **state)
{
    char instance[64];
    struct fix *f = staged_new();
    fix_register(f, "large", 2000, 50, "");
    staged_create(f, "'strategy':'BLUE_GREEN','lifecycleHooks':[{'hookTargetArn':'arn:aws:ecs:"
                     "eu-central-1:000000000000:task-definition/large:1',"
                     "'lifecycleStages':['PRE_SCALE_UP']}]");
    staged_at(f, "PRE_SCALE_UP");
    fix_ok(f, "ListTasks", "{}");
    assert_int_equal(fix_size(f, "taskArns"), 0);
    fix_add_instance(f, "default", 4096, 1000, "", instance);
    fix_schedule(f);
    fix_ok(f, "ListTasks", "{'family':'large'}");
    assert_int_equal(fix_size(f, "taskArns"), 1);
    fix_free(f);
}

static void what_cannot_be_is_refused(FL_UNUSED void **state)
{
    static const struct {
        const char *code, *message, *hook;
    } rows[] = {
        {"InvalidParameterException", "A lifecycle hook needs at least one lifecycle stage.",
         "'targetType':'PAUSE'"},
        {"InvalidParameterException",
         "A lifecycle hook of type PAUSE cannot be configured at TEST_TRAFFIC_SHIFT.",
         "'targetType':'PAUSE','lifecycleStages':['TEST_TRAFFIC_SHIFT']"},
        {"InvalidParameterException", "A lifecycle hook of type AWS_LAMBDA needs a hookTargetArn.",
         "'lifecycleStages':['PRE_SCALE_UP']"},
        {"ClientException",
         "Lifecycle hooks of type AWS_LAMBDA are not implemented yet, unless hookTargetArn is the "
         "ARN of a task definition, which is then run.",
         "'lifecycleStages':['PRE_SCALE_UP'],'hookTargetArn':"
         "'arn:aws:lambda:eu-central-1:000000000000:function:f'"},
        {"ClientException", "TaskDefinition not found.",
         "'lifecycleStages':['PRE_SCALE_UP'],'hookTargetArn':"
         "'arn:aws:ecs:eu-central-1:000000000000:task-definition/none:1'"},
        {"InvalidParameterException", "A lifecycle hook names a lifecycle stage twice.",
         "'targetType':'PAUSE','lifecycleStages':['PRE_SCALE_UP','PRE_SCALE_UP']"},
    };
    struct fix *f = staged_new();
    for (size_t i = 0; i < FL_ARRAY_SIZE(rows); i++)
        fix_refused(
            f, rows[i].code, rows[i].message, "CreateService",
            "{'serviceName':'s','taskDefinition':'web','desiredCount':1,'deploymentConfiguration':"
            "{'strategy':'BLUE_GREEN','lifecycleHooks':[{%s}]}}",
            rows[i].hook);
    fix_refused(
        f, "InvalidParameterException",
        "lifecycleHooks is not valid for the deployment strategy ROLLING.", "CreateService",
        "{'serviceName':'s','taskDefinition':'web','desiredCount':1,'deploymentConfiguration':"
        "{'lifecycleHooks':[{'targetType':'PAUSE','lifecycleStages':['PRE_SCALE_UP']}]}}");
    fix_free(f);
}

static void there_are_bounds(FL_UNUSED void **state)
{
    FL_CLEANUP_BUF struct fl_buf hooks = FL_BUF_INIT(16 << 10);
    struct fix *f = staged_new();
    for (int i = 0; i < 11; i++)
        fl_buf_printf(&hooks, "%s{'targetType':'PAUSE','lifecycleStages':['PRE_SCALE_UP']}",
                      i ? "," : "");
    fix_refused(f, "InvalidParameterException", "At most 10 lifecycle hooks are allowed.",
                "CreateService",
                "{'serviceName':'s','taskDefinition':'web','desiredCount':1,"
                "'deploymentConfiguration':{'strategy':'BLUE_GREEN','lifecycleHooks':[%s]}}",
                hooks.p);
    fix_refused(f, "InvalidParameterException",
                "The hookDetails of a lifecycle hook are longer than 2048 characters.",
                "CreateService",
                "{'serviceName':'s','taskDefinition':'web','desiredCount':1,"
                "'deploymentConfiguration':{'strategy':'BLUE_GREEN','lifecycleHooks':[{"
                "'hookTargetArn':'" HOOK_ARN "','lifecycleStages':['PRE_SCALE_UP'],"
                "'hookDetails':'%02047d'}]}}",
                0);
    fix_free(f);
}

/* As ECS, which knows no such thing. */
static void a_strict_server_runs_no_tasks(FL_UNUSED void **state)
{
    struct fix *f = staged_new();
    f->core->strict = true;
    fix_refused(f, "ClientException", "Lifecycle hooks of type AWS_LAMBDA are not implemented yet.",
                "CreateService",
                "{'serviceName':'s','taskDefinition':'web','desiredCount':1,"
                "'deploymentConfiguration':{'strategy':'BLUE_GREEN','lifecycleHooks':[{"
                "'hookTargetArn':'" HOOK_ARN "','lifecycleStages':['PRE_SCALE_UP']}]}}");
    fix_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pause_waits_for_an_answer),
        cmocka_unit_test(a_pause_is_explained),
        cmocka_unit_test(a_pause_can_go_back),
        cmocka_unit_test(a_pause_times_out),
        cmocka_unit_test(a_pause_ends_whatever_the_clock_does),
        cmocka_unit_test(an_answer_to_nothing_is_refused),
        cmocka_unit_test(a_service_that_goes_goes_on_no_more),
        cmocka_unit_test(a_pause_comes_with_every_step),
        cmocka_unit_test(a_task_decides),
        cmocka_unit_test(a_first_one_has_no_way_back),
        cmocka_unit_test(a_task_times_out),
        cmocka_unit_test(a_task_goes_with_its_rollout),
        cmocka_unit_test(a_task_waits_for_room),
        cmocka_unit_test(what_cannot_be_is_refused),
        cmocka_unit_test(there_are_bounds),
        cmocka_unit_test(a_strict_server_runs_no_tasks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
