/* Rollouts that go through stages, as a user sees them, and how they come back from each stage.
 * After each part a core built from the records must agree. */
#include "core/staged_fixture.h"

static void blue_stays_until_green_has_baked(FL_UNUSED void **state)
{
    struct fix *f = staged_new();
    staged_create_done(f, "'strategy':'BLUE_GREEN','bakeTimeInMinutes':10");
    staged_deploy(f);
    staged_expect(f, "lifecycleStage", "PRE_SCALE_UP");
    staged_at(f, "SCALE_UP");
    fix_ok(f, "DescribeServices", "{'services':['s']}");
    assert_int_equal(fix_size(f, "services.0.deployments"), 2);
    assert_int_equal(fix_int(f, "services.0.deployments.0.desiredCount"), 2);
    assert_int_equal(fix_int(f, "services.0.deployments.0.pendingCount"), 2);
    assert_int_equal(fix_int(f, "services.0.deployments.1.desiredCount"), 2);
    assert_int_equal(fix_int(f, "services.0.deployments.1.runningCount"), 2);
    staged_report(f, "'desiredStatus':'RUNNING'", "RUNNING");
    staged_at(f, "SCALE_UP");
    f->now_ms += FL_CORE_STRICT_SETTLE_MS;
    staged_at(f, "BAKE_TIME");
    staged_count(f, 2, 2);
    f->now_ms += 10 * MINUTE - 1;
    staged_at(f, "BAKE_TIME");
    f->now_ms += 1;
    staged_at(f, "CLEAN_UP");
    staged_report(f, "'desiredStatus':'STOPPED'", "STOPPED");
    fix_schedule(f);
    staged_expect(f, "status", "SUCCESSFUL");
    staged_count(f, 2, 0);
    fix_ok(f, "DescribeServices", "{'services':['s']}");
    assert_int_equal(fix_size(f, "services.0.deployments"), 1);
    assert_string_equal(fix_text(f, "services.0.deployments.0.rolloutState"), "COMPLETED");
    fix_recover(f, false);
    fix_free(f);
}

static void the_first_one_waits_for_nothing(FL_UNUSED void **state)
{
    struct fix *f = staged_new();
    staged_create(f, "'strategy':'LINEAR','bakeTimeInMinutes':60");
    staged_at(f, "SCALE_UP");
    staged_obey(f);
    staged_expect(f, "status", "SUCCESSFUL");
    staged_expect(f, "lifecycleStage", "CLEAN_UP");
    fix_recover(f, false);
    fix_free(f);
}

static void a_canary_goes_first(FL_UNUSED void **state)
{
    struct fix *f = staged_new();
    staged_create_done(f, "'strategy':'CANARY','bakeTimeInMinutes':1,"
                          "'canaryConfiguration':{'canaryPercent':7.5,"
                          "'canaryBakeTimeInMinutes':5}");
    staged_deploy(f);
    staged_obey(f);
    staged_at(f, "PRODUCTION_TRAFFIC_SHIFT");
    f->now_ms += 5 * MINUTE - 1;
    staged_at(f, "PRODUCTION_TRAFFIC_SHIFT");
    f->now_ms += 1;
    staged_at(f, "BAKE_TIME");
    f->now_ms += MINUTE;
    staged_at(f, "CLEAN_UP");
    staged_obey(f);
    staged_expect(f, "status", "SUCCESSFUL");
    fix_free(f);
}

static void traffic_moves_in_steps(FL_UNUSED void **state)
{
    struct fix *f = staged_new();
    staged_create_done(f, "'strategy':'LINEAR','linearConfiguration':{'stepPercent':33.4,"
                          "'stepBakeTimeInMinutes':2}");
    staged_deploy(f);
    staged_obey(f);
    for (int step = 0; step < 2; step++) {
        staged_at(f, "PRODUCTION_TRAFFIC_SHIFT");
        f->now_ms += 2 * MINUTE;
    }
    staged_at(f, "CLEAN_UP"); /* the third step is the last, and there is no bake time */
    staged_obey(f);
    staged_expect(f, "status", "SUCCESSFUL");
    fix_free(f);
}

static void the_count_changes_in_between(FL_UNUSED void **state)
{
    struct fix *f = staged_new();
    staged_create_done(f, "'strategy':'BLUE_GREEN','bakeTimeInMinutes':10");
    staged_deploy(f);
    staged_obey(f);
    staged_at(f, "BAKE_TIME");
    fix_ok(f, "UpdateService", "{'service':'s','desiredCount':3}");
    staged_obey(f);
    staged_at(f, "BAKE_TIME");
    staged_count(f, 3, 3);
    fix_ok(f, "UpdateService", "{'service':'s','desiredCount':1}");
    staged_obey(f);
    staged_at(f, "BAKE_TIME");
    staged_count(f, 1, 1);
    f->now_ms += 10 * MINUTE;
    staged_obey(f);
    staged_expect(f, "status", "SUCCESSFUL");
    staged_count(f, 1, 0);
    fix_free(f);
}

static void another_one_begins_in_between(FL_UNUSED void **state)
{
    struct fix *f = staged_new();
    staged_create_done(f, "'strategy':'BLUE_GREEN','bakeTimeInMinutes':10");
    staged_deploy(f);
    staged_obey(f);
    staged_at(f, "BAKE_TIME");
    staged_deploy(f);
    staged_expect(f, "lifecycleStage", "RECONCILE_SERVICE");
    staged_at(f, "RECONCILE_SERVICE");
    staged_count(f, 0, 4);
    staged_report(f, "'desiredStatus':'STOPPED'", "STOPPED");
    staged_at(f, "SCALE_UP");
    staged_count(f, 0, 2);
    staged_obey(f);
    staged_at(f, "BAKE_TIME");
    f->now_ms += 10 * MINUTE;
    staged_obey(f);
    staged_expect(f, "status", "SUCCESSFUL");
    staged_count(f, 2, 0);
    fix_free(f);
}

static void the_service_goes_in_between(FL_UNUSED void **state)
{
    struct fix *f = staged_new();
    staged_create_done(f, "'strategy':'BLUE_GREEN','bakeTimeInMinutes':10");
    staged_deploy(f);
    staged_obey(f);
    staged_at(f, "BAKE_TIME");
    fix_ok(f, "DeleteService", "{'service':'s','force':true}");
    staged_obey(f);
    staged_expect(f, "status", "STOPPED");
    fix_ok(f, "DescribeServices", "{'services':['s']}");
    assert_string_equal(fix_text(f, "services.0.status"), "INACTIVE");
    fix_recover(f, false);
    fix_free(f);
}

static void nothing_that_serves_is_drained_away(FL_UNUSED void **state)
{
    char instance[64];
    struct fix *f = staged_new();
    staged_create_done(f, "'strategy':'BLUE_GREEN','bakeTimeInMinutes':10");
    fix_ok(f, "ListContainerInstances", "{}");
    (void)snprintf(instance, sizeof(instance), "%s",
                   fix_id(fix_text(f, "containerInstanceArns.0")));
    staged_deploy(f);
    staged_obey(f);
    staged_at(f, "BAKE_TIME");
    fix_ok(f, "UpdateContainerInstancesState", "{'containerInstances':['%s'],'status':'DRAINING'}",
           instance);
    fix_schedule(f);
    /* Every deployment keeps its own two until their replacements are healthy. */
    fix_ok(f, "DescribeServices", "{'services':['s']}");
    assert_int_equal(fix_int(f, "services.0.runningCount"), 4);
    staged_report(f, "'desiredStatus':'STOPPED'", "STOPPED");
    staged_count(f, 2, 2);
    for (int i = 0; i < 3; i++)
        staged_obey(f);
    staged_count(f, 2, 2);
    fix_ok(f, "DescribeContainerInstances", "{'containerInstances':['%s']}", instance);
    assert_int_equal(fix_int(f, "containerInstances.0.runningTasksCount"), 0);
    fix_free(f);
}

/* ARN of the service deployment that is under way, or was last. */
static const char *rollout_arn(struct fix *f)
{
    static char arn[200];
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    (void)snprintf(arn, sizeof(arn),
                   "arn:aws:ecs:eu-central-1:000000000000:service-deployment/default/s/%s",
                   fl_json_z(fl_json_get(staged_rollout(f, arena), "id")));
    return arn;
}

/* It ends as it was: green is gone, blue has had its two tasks all the time. */
static void expect_way_back(struct fix *f)
{
    for (int i = 0; i < 3; i++) {
        fix_schedule(f);
        fix_recover(f, true);
        fix_ok(f, "DescribeServices", "{'services':['s']}");
        assert_true(fix_int(f, "services.0.deployments.0.runningCount") == 2);
        staged_obey(f);
    }
    staged_expect(f, "status", "ROLLBACK_SUCCESSFUL");
    staged_count(f, 2, 0);
    fix_ok(f, "DescribeServices", "{'services':['s']}");
    assert_int_equal(fix_size(f, "services.0.deployments"), 1);
    assert_string_equal(fix_text(f, "services.0.deployments.0.rolloutState"), "COMPLETED");
    fix_timer(f);
    assert_int_equal(f->records_put, 0);
    fix_recover(f, false);
    fix_free(f);
}

static struct fix *canary_new(void)
{
    struct fix *f = staged_new();
    staged_create_done(f, "'strategy':'CANARY','bakeTimeInMinutes':10,"
                          "'deploymentCircuitBreaker':{'enable':true,'rollback':true}");
    staged_deploy(f);
    return f;
}

static void every_stage_has_a_way_back(FL_UNUSED void **state)
{
    static const char *const stages[] = {"SCALE_UP", "PRODUCTION_TRAFFIC_SHIFT", "BAKE_TIME"};
    for (size_t i = 0; i < FL_ARRAY_SIZE(stages); i++) {
        struct fix *f = canary_new();
        if (i > 0)
            staged_obey(f);
        if (i > 1)
            f->now_ms += 10 * MINUTE;
        staged_at(f, stages[i]);
        fix_ok(f, "StopServiceDeployment", "{'serviceDeploymentArn':'%s'}", rollout_arn(f));
        expect_way_back(f);
    }
}

static void from_clean_up_there_is_none(FL_UNUSED void **state)
{
    struct fix *f = canary_new();
    staged_obey(f);
    f->now_ms += 10 * MINUTE;
    staged_at(f, "BAKE_TIME");
    f->now_ms += 10 * MINUTE;
    staged_at(f, "CLEAN_UP");
    fix_refused(f, "ConflictException",
                "The service deployment cannot be stopped: what it replaces is being cleaned up.",
                "StopServiceDeployment", "{'serviceDeploymentArn':'%s'}", rollout_arn(f));
    staged_obey(f);
    staged_expect(f, "status", "SUCCESSFUL");
    fix_free(f);
}

static void the_circuit_breaker_goes_back(FL_UNUSED void **state)
{
    struct fix *f = canary_new();
    for (int i = 0; i < 3; i++) {
        FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
        staged_at(f, "SCALE_UP");
        fix_ok(f, "ListTasks", "{}");
        const struct fl_json *arns = fix_copy(fix_at(f->reply, "taskArns"), arena);
        for (size_t k = 0; k < fl_json_items(arns); k++) {
            const char *arn = fl_json_z(fl_json_item(arns, k));
            fix_ok(f, "DescribeTasks", "{'tasks':['%s']}", arn);
            if (strcmp(fix_text(f, "tasks.0.lastStatus"), "PENDING") == 0)
                fix_report(f, arn, "STOPPED", ",'reason':'CannotStartContainerError: no'");
        }
        f->now_ms += MINUTE;
        fix_schedule(f);
        if (i == 1)
            break; /* two tasks twice: the threshold of three is exceeded */
    }
    expect_way_back(f);
}

static int weight(struct fix *f)
{
    fix_ok(f, "DescribeServiceDeployments", "{'serviceDeploymentArns':['%s']}", rollout_arn(f));
    const struct fl_json *target = fix_at(f->reply, "serviceDeployments.0.targetServiceRevision");
    const struct fl_json *value = fl_json_get(target, "requestedProductionTrafficWeight");
    assert_true(fl_json_is_number(value));
    return (int)(fl_json_number(value) * 10 + 0.5);
}

static void weights_are_shown(FL_UNUSED void **state)
{
    struct fix *f = staged_new();
    staged_create_done(f, "'strategy':'LINEAR','bakeTimeInMinutes':1,"
                          "'linearConfiguration':{'stepPercent':33.4}");
    assert_int_equal(weight(f), 1000);
    staged_deploy(f);
    assert_int_equal(weight(f), 0);
    staged_obey(f);
    assert_int_equal(weight(f), 334);
    f->now_ms += 6 * MINUTE;
    fix_schedule(f);
    assert_int_equal(weight(f), 668);
    f->now_ms += 6 * MINUTE;
    fix_schedule(f);
    assert_int_equal(weight(f), 1000);
    fix_ok(f, "StopServiceDeployment", "{'serviceDeploymentArn':'%s'}", rollout_arn(f));
    fix_schedule(f);
    assert_int_equal(weight(f), 0);
    fix_free(f);
}

static void a_clock_that_is_set_back_begins_a_stage_anew(FL_UNUSED void **state)
{
    struct fix *f = staged_new();
    staged_create_done(f, "'strategy':'BLUE_GREEN','bakeTimeInMinutes':10");
    staged_deploy(f);
    staged_obey(f);
    staged_at(f, "BAKE_TIME");
    f->now_ms -= 60 * MINUTE;
    fix_timer(f);
    staged_at(f, "BAKE_TIME");
    f->now_ms += 10 * MINUTE;
    staged_at(f, "CLEAN_UP");
    fix_free(f);
}

/* What an earlier rollout has left keeps the service up while blue cannot. */
static void leftovers_stay_where_blue_is_not_well(FL_UNUSED void **state)
{
    char of_blue[64];
    struct fix *f = staged_new();
    staged_create_done(f, "'strategy':'BLUE_GREEN','bakeTimeInMinutes':10");
    staged_deploy(f);
    staged_obey(f);
    staged_at(f, "BAKE_TIME");
    fix_ok(f, "DescribeServices", "{'services':['s']}");
    (void)snprintf(of_blue, sizeof(of_blue), "'startedBy':'%s'",
                   fix_text(f, "services.0.deployments.1.id"));
    staged_report(f, of_blue, "STOPPED");
    fix_schedule(f);
    staged_deploy(f);
    staged_at(f, "SCALE_UP"); /* blue's new tasks do not run yet */
    staged_count(f, 0, 2);
    for (int i = 0; i < 2; i++)
        staged_obey(f);
    staged_at(f, "BAKE_TIME");
    staged_count(f, 2, 2);
    fix_ok(f, "DescribeServices", "{'services':['s']}");
    assert_int_equal(fix_size(f, "services.0.deployments"), 2);
    fix_free(f);
}

static void blue_is_kept_alive(FL_UNUSED void **state)
{
    struct fix *f = staged_new();
    staged_create_done(f, "'strategy':'BLUE_GREEN','bakeTimeInMinutes':10");
    fix_ok(f, "ListTasks", "{}");
    char task[200];
    (void)snprintf(task, sizeof(task), "%s", fix_text(f, "taskArns.0"));
    staged_deploy(f);
    staged_obey(f);
    staged_at(f, "BAKE_TIME");
    fix_report(f, task, "STOPPED", "");
    staged_count(f, 2, 1);
    staged_obey(f);
    staged_at(f, "BAKE_TIME");
    staged_count(f, 2, 2);
    fix_free(f);
}

static void refused(struct fix *f, const char *message, const char *configuration)
{
    fix_refused(f, "InvalidParameterException", message, "CreateService",
                "{'serviceName':'s','taskDefinition':'web','desiredCount':2,"
                "'deploymentConfiguration':{%s}}",
                configuration);
}

static void what_makes_no_sense_is_refused(FL_UNUSED void **state)
{
    struct fix *f = staged_new();
    refused(f, "bakeTimeInMinutes should be between 0 and 1440.",
            "'strategy':'BLUE_GREEN','bakeTimeInMinutes':1441");
    refused(f, "stepPercent should be a multiple of 0.1 from 3.0 to 100.0.",
            "'strategy':'LINEAR','linearConfiguration':{'stepPercent':2.9}");
    refused(f, "stepPercent should be a multiple of 0.1 from 3.0 to 100.0.",
            "'strategy':'LINEAR','linearConfiguration':{'stepPercent':5.55}");
    refused(f, "canaryPercent should be a multiple of 0.1 from 0.1 to 100.0.",
            "'strategy':'CANARY','canaryConfiguration':{'canaryPercent':0}");
    refused(f, "linearConfiguration is not valid for the deployment strategy CANARY.",
            "'strategy':'CANARY','linearConfiguration':{}");
    fix_refused(f, "InvalidParameterException",
                "The deployment strategy CANARY is for the deployment controller ECS alone.",
                "CreateService",
                "{'serviceName':'s','desiredCount':1,'deploymentController':{'type':'EXTERNAL'},"
                "'deploymentConfiguration':{'strategy':'CANARY'}}");
    refused(f, "canaryBakeTimeInMinutes should be between 0 and 1440.",
            "'strategy':'CANARY','canaryConfiguration':{'canaryBakeTimeInMinutes':-1}");
    fix_refused(f, "InvalidParameterException",
                "The daemon scheduling strategy supports the deployment strategy ROLLING alone.",
                "CreateService",
                "{'serviceName':'s','taskDefinition':'web','schedulingStrategy':'DAEMON',"
                "'deploymentConfiguration':{'strategy':'BLUE_GREEN'}}");
    fix_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blue_stays_until_green_has_baked),
        cmocka_unit_test(the_first_one_waits_for_nothing),
        cmocka_unit_test(a_canary_goes_first),
        cmocka_unit_test(traffic_moves_in_steps),
        cmocka_unit_test(the_count_changes_in_between),
        cmocka_unit_test(another_one_begins_in_between),
        cmocka_unit_test(the_service_goes_in_between),
        cmocka_unit_test(nothing_that_serves_is_drained_away),
        cmocka_unit_test(every_stage_has_a_way_back),
        cmocka_unit_test(from_clean_up_there_is_none),
        cmocka_unit_test(the_circuit_breaker_goes_back),
        cmocka_unit_test(weights_are_shown),
        cmocka_unit_test(blue_is_kept_alive),
        cmocka_unit_test(a_clock_that_is_set_back_begins_a_stage_anew),
        cmocka_unit_test(leftovers_stay_where_blue_is_not_well),
        cmocka_unit_test(what_makes_no_sense_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
