/* The way back: by the circuit breaker, by StopServiceDeployment; what others do meanwhile; a
 * server restarted at each of these moments. */
#include "core/rollout_fixture.h"

#define BREAKER                                                                                    \
    ",'deploymentConfiguration':{'deploymentCircuitBreaker':{'enable':true,'rollback':true}}"

/* A service of three, COMPLETED; writes its deployment's id. */
static struct fix *fix_completed(const char *more, char ret_id[64])
{
    struct fix *f = fix_ready();
    fix_ok(f, "CreateService", "{'serviceName':'s','taskDefinition':'web','desiredCount':3%s}",
           more);
    fix_settle(f);
    (void)snprintf(ret_id, 64, "%s", fix_service(f, "services.0.deployments.0.id"));
    assert_string_equal(fix_service(f, "services.0.deployments.0.rolloutState"), "COMPLETED");
    return f;
}

/* Begins a deployment; writes its id. */
static void deploy(struct fix *f, char ret_id[64])
{
    f->now_ms += 1000;
    fix_ok(f, "UpdateService", "{'service':'s','forceNewDeployment':true}");
    (void)snprintf(ret_id, 64, "%s", fix_text(f, "service.deployments.0.id"));
    fix_schedule(f);
}

/* Fails what starts until the rollout goes back. */
static void fail_until_back(struct fix *f)
{
    for (int i = 0; i < 30 && strcmp(fix_rollout(f, "status"), "IN_PROGRESS") == 0; i++) {
        fix_recover(f, true);
        fix_stop_all(f);
        (void)fix_fail(f, "no");
        f->now_ms = FL_MAX(f->now_ms, fl_core_next_due(f->core));
        fix_schedule(f);
    }
}

static unsigned stop(struct fix *f, const char *more)
{
    char id[64];
    (void)snprintf(id, sizeof(id), "%s", fix_rollout(f, "id"));
    return fix_call(
        f, "StopServiceDeployment",
        "{'serviceDeploymentArn':'arn:aws:ecs:%s:%s:service-deployment/default/s/%s'%s}",
        fix_region, fix_account, id, more);
}

/* The good deployment is PRIMARY, COMPLETED and alone, and everybody has heard of it. */
static void check_back(struct fix *f, const char *good)
{
    char words[128];
    fix_settle(f);
    assert_string_equal(fix_service(f, "services.0.deployments.0.id"), good);
    assert_string_equal(fix_service(f, "services.0.deployments.0.rolloutState"), "COMPLETED");
    assert_int_equal(fix_size(f, "services.0.deployments"), 1);
    assert_int_equal(fix_int(f, "services.0.runningCount"), 3);
    assert_string_equal(fix_rollout(f, "status"), "ROLLBACK_SUCCESSFUL");
    assert_string_not_equal(fix_rollout(f, "finishedAt"), "(none)");
    (void)snprintf(words, sizeof(words), "rolling back to deployment %s.", good);
    assert_int_equal(fix_said(f, words), 1);
    assert_int_equal(fix_said(f, "deployment completed."), 2);
    assert_string_equal(fix_newest_event(f), "(service s) has reached a steady state.");
    fix_quiet(f);
}

static void the_breaker_leads_back(FL_UNUSED void **state)
{
    char good[64], bad[64], words[200];
    struct fix *f = fix_completed(BREAKER, good);
    deploy(f, bad);
    fail_until_back(f);
    assert_string_equal(fix_rollout(f, "breakerStatus"), "TRIGGERED");
    assert_string_equal(fix_rollout(f, "statusReason"),
                        "Service deployment rolled back because the circuit breaker threshold was "
                        "exceeded.");
    assert_string_equal(fix_rollout(f, "rollback.reason"), fix_rollout(f, "statusReason"));
    assert_string_equal(fix_service(f, "services.0.deployments.0.id"), good);
    (void)snprintf(words, sizeof(words),
                   "(service s) (deployment %s) deployment failed: tasks "
                   "failed to start.",
                   bad);
    assert_int_equal(fix_said(f, words), 1);
    check_back(f, good);
    /* What comes next may fail again, and leads back to the same. */
    deploy(f, bad);
    fail_until_back(f);
    fix_settle(f);
    assert_string_equal(fix_service(f, "services.0.deployments.0.id"), good);
    fix_free(f);
}

/* Half of the tasks are there already, and run. */
static void what_failed_stays_to_be_seen(FL_UNUSED void **state)
{
    char good[64], bad[64], reason[128];
    struct fix *f = fix_completed(
        ",'deploymentConfiguration':{'minimumHealthyPercent':0,'maximumPercent':100,"
        "'deploymentCircuitBreaker':{'enable':true,'rollback':true,'resetOnHealthyTask':false}}",
        good);
    deploy(f, bad);
    fix_stop_all(f);
    assert_int_equal(fix_service_int(f, "services.0.runningCount"), 0);
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    fix_ok(f, "ListTasks", "{}");
    const struct fl_json *arns = fix_copy(fix_at(f->reply, "taskArns"), arena);
    fix_report(f, fl_json_z(fl_json_item(arns, 0)), "RUNNING", "");
    fail_until_back(f);
    fix_recover(f, true);
    assert_string_equal(fix_service(f, "services.0.deployments.0.id"), good);
    assert_string_equal(fix_service(f, "services.0.deployments.0.status"), "PRIMARY");
    assert_string_equal(fix_service(f, "services.0.deployments.0.rolloutState"), "IN_PROGRESS");
    (void)snprintf(reason, sizeof(reason),
                   "ECS deployment circuit breaker: rolling back to deploymentId %s.", good);
    assert_string_equal(fix_service(f, "services.0.deployments.0.rolloutStateReason"), reason);
    assert_string_equal(fix_service(f, "services.0.deployments.1.id"), bad);
    assert_string_equal(fix_service(f, "services.0.deployments.1.status"), "ACTIVE");
    assert_string_equal(fix_service(f, "services.0.deployments.1.rolloutState"), "FAILED");
    assert_string_equal(fix_service(f, "services.0.deployments.1.rolloutStateReason"),
                        "ECS deployment circuit breaker: tasks failed to start.");
    check_back(f, good);
    fix_free(f);
}

static void a_user_leads_back(FL_UNUSED void **state)
{
    char good[64], bad[64];
    struct fix *f = fix_completed("", good);
    assert_int_equal(stop(f, ""), 400);
    assert_string_equal(fix_text(f, "__type"), "ConflictException");
    assert_string_equal(fix_text(f, "message"),
                        "The service deployment cannot be stopped: SUCCESSFUL.");
    deploy(f, bad);
    assert_int_equal(stop(f, ",'stopType':'ABORT'"), 400);
    assert_string_equal(fix_text(f, "__type"), "InvalidParameterException");
    assert_int_equal(stop(f, ",'stopType':'ROLLBACK'"), 200);
    assert_non_null(strstr(fix_text(f, "serviceDeploymentArn"), ":service-deployment/default/s/"));
    assert_string_equal(fix_rollout(f, "status"), "ROLLBACK_REQUESTED");
    fix_recover(f, true);
    fix_schedule(f);
    assert_string_equal(fix_rollout(f, "status"), "ROLLBACK_IN_PROGRESS");
    assert_int_equal(stop(f, ""), 200);
    assert_int_equal(f->records_put, 0);
    assert_string_equal(fix_rollout(f, "breakerStatus"), "DISABLED");
    assert_int_equal(fix_said(f, "deployment failed: Service deployment rolled back because it was "
                                 "stopped by the user."),
                     1);
    check_back(f, good);
    assert_int_equal(stop(f, ""), 400);
    fix_refused(f, "ServiceDeploymentNotFoundException", "Service deployment not found.",
                "StopServiceDeployment",
                "{'serviceDeploymentArn':'arn:aws:ecs:%s:%s:service-deployment/default/s/nope'}",
                fix_region, fix_account);
    fix_refused(f, "InvalidParameterException",
                "Invalid identifier: 'nope' is not the ARN of a service-deployment.",
                "StopServiceDeployment", "{'serviceDeploymentArn':'nope'}");
    fix_free(f);
}

static void the_first_one_cannot_go_back(FL_UNUSED void **state)
{
    struct fix *f = fix_ready();
    fix_ok(f, "CreateService", "{'serviceName':'s','taskDefinition':'web','desiredCount':3}");
    fix_schedule(f);
    assert_int_equal(stop(f, ""), 200);
    fix_schedule(f);
    assert_string_equal(fix_rollout(f, "status"), "ROLLBACK_FAILED");
    assert_string_equal(fix_rollout(f, "statusReason"),
                        "No rollback candidate was found to run the rollback.");
    assert_string_equal(fix_service(f, "services.0.deployments.0.rolloutState"), "FAILED");
    assert_int_equal(fix_service_int(f, "services.0.pendingCount"), 3);
    fix_quiet(f);
    fix_free(f);
}

/* The way back is no better: it is tried on, and later and later, and that is all. */
static void a_failing_way_back_does_not_loop(FL_UNUSED void **state)
{
    char good[64], bad[64];
    struct fix *f =
        fix_completed(",'deploymentConfiguration':{'minimumHealthyPercent':0,'maximumPercent':100,"
                      "'deploymentCircuitBreaker':{'enable':true,'rollback':true}}",
                      good);
    deploy(f, bad);
    fix_stop_all(f);
    fail_until_back(f);
    assert_string_equal(fix_rollout(f, "status"), "ROLLBACK_IN_PROGRESS");
    for (int i = 0; i < 12; i++) {
        (void)fix_fail(f, "no");
        f->now_ms = FL_MAX(f->now_ms, fl_core_next_due(f->core));
        fix_schedule(f);
        fix_recover(f, true);
        fix_schedule(f);
    }
    assert_string_equal(fix_rollout(f, "status"), "ROLLBACK_FAILED");
    assert_int_equal(fix_said(f, "rolling back to deployment"), 1);
    assert_int_equal(fix_said(f, "deployment failed: tasks failed to start."), 2);
    assert_string_equal(fix_service(f, "services.0.deployments.0.id"), good);
    assert_int_equal(fix_size(f, "services.0.deployments"), 1);
    fix_quiet(f);
    /* The cause is gone: nobody needs to do anything. */
    f->now_ms += 27 * 60 * 1000;
    fix_settle(f);
    assert_int_equal(fix_service_int(f, "services.0.runningCount"), 3);
    assert_string_equal(fix_service(f, "services.0.deployments.0.rolloutState"), "COMPLETED");
    fix_quiet(f);
    fix_free(f);
}

static void another_deployment_takes_over(FL_UNUSED void **state)
{
    char good[64], bad[64], better[64];
    struct fix *f = fix_completed(BREAKER, good);
    deploy(f, bad);
    assert_int_equal(stop(f, ""), 200);
    fix_schedule(f);
    deploy(f, better);
    assert_string_equal(fix_service(f, "services.0.deployments.0.id"), better);
    fix_recover(f, true);
    fix_settle(f);
    assert_string_equal(fix_service(f, "services.0.deployments.0.id"), better);
    assert_string_equal(fix_service(f, "services.0.deployments.0.rolloutState"), "COMPLETED");
    assert_int_equal(fix_size(f, "services.0.deployments"), 1);
    assert_string_equal(fix_rollout(f, "status"), "SUCCESSFUL");
    fix_quiet(f);
    /* Asked for, and overtaken before it began. */
    deploy(f, bad);
    assert_int_equal(stop(f, ""), 200);
    deploy(f, good);
    assert_string_equal(fix_rollout(f, "status"), "IN_PROGRESS");
    fail_until_back(f);
    fix_settle(f);
    assert_string_equal(fix_service(f, "services.0.deployments.0.id"), better);
    fix_quiet(f);
    fix_free(f);
}

static void the_count_changes_meanwhile(FL_UNUSED void **state)
{
    char good[64], bad[64];
    struct fix *f = fix_completed(BREAKER, good);
    deploy(f, bad);
    fix_ok(f, "UpdateService", "{'service':'s','desiredCount':5}");
    fix_schedule(f);
    fail_until_back(f);
    fix_ok(f, "UpdateService", "{'service':'s','desiredCount':1}");
    fix_recover(f, true);
    fix_settle(f);
    assert_string_equal(fix_service(f, "services.0.deployments.0.id"), good);
    assert_int_equal(fix_service_int(f, "services.0.runningCount"), 1);
    assert_string_equal(fix_rollout(f, "status"), "ROLLBACK_SUCCESSFUL");
    fix_quiet(f);
    deploy(f, bad);
    fix_ok(f, "UpdateService", "{'service':'s','desiredCount':0}");
    fix_settle(f);
    assert_string_equal(fix_service(f, "services.0.deployments.0.rolloutState"), "COMPLETED");
    assert_int_equal(fix_service_int(f, "services.0.runningCount"), 0);
    fix_quiet(f);
    fix_free(f);
}

static void deletion_ends_it(FL_UNUSED void **state)
{
    for (int moment = 0; moment < 3; moment++) {
        char good[64], bad[64];
        struct fix *f = fix_completed(BREAKER, good);
        deploy(f, bad);
        if (moment >= 1)
            assert_int_equal(stop(f, ""), 200);
        if (moment == 2)
            fix_schedule(f);
        fix_ok(f, "DeleteService", "{'service':'s','force':true}");
        fix_recover(f, true);
        fix_schedule(f);
        assert_int_equal(stop(f, ""), 400);
        assert_string_equal(fix_text(f, "__type"), "ConflictException");
        fix_stop_all(f);
        assert_string_equal(fix_service(f, "services.0.status"), "INACTIVE");
        assert_string_equal(fix_rollout(f, "status"), "STOPPED");
        fix_quiet(f);
        fix_free(f);
    }
}

/* Steady, it bakes; and only then is it the one to go back to. */
static void it_bakes(FL_UNUSED void **state)
{
    struct fix *f = fix_ready();
    fix_ok(f, "CreateService",
           "{'serviceName':'s','taskDefinition':'web','desiredCount':1,"
           "'deploymentConfiguration':{'strategy':'ROLLING','bakeTimeInMinutes':20}}");
    fix_schedule(f);
    fix_obey(f);
    f->now_ms += FL_CORE_STRICT_SETTLE_MS;
    fix_schedule(f);
    assert_string_equal(fix_newest_event(f), "(service s) has reached a steady state.");
    assert_string_equal(fix_rollout(f, "lifecycleStage"), "BAKE_TIME");
    fix_quiet(f);
    f->now_ms += 20 * 60 * 1000 - 1;
    fix_quiet(f);
    assert_string_equal(fix_rollout(f, "status"), "IN_PROGRESS");
    f->now_ms++;
    fix_quiet(f);
    assert_string_equal(fix_rollout(f, "status"), "SUCCESSFUL");
    assert_string_equal(fix_service(f, "services.0.deployments.0.rolloutState"), "COMPLETED");
    fix_free(f);
}

#define EARLY(members)                                                                             \
    "CreateService",                                                                               \
        "{'serviceName':'s','taskDefinition':'web','desiredCount':4,'deploymentConfiguration':"    \
        "{'minimumHealthyPercent':50,'maximumPercent':150,'earlySuccessCriteria':{" members "}}}"

static void early_success(FL_UNUSED void **state)
{
    for (int deferred = 0; deferred < 2; deferred++) {
        char id[64];
        struct fix *f = fix_ready();
        fix_ok(f, EARLY("'enable':true,'healthyPercent':50,'sourceServiceRevisionCleanup':'%s'"),
               deferred ? "DEFERRED" : "BLOCKING");
        fix_settle(f);
        deploy(f, id);
        fix_stop_all(f);
        fix_obey(f);
        f->now_ms += FL_CORE_STRICT_SETTLE_MS;
        fix_schedule(f);
        assert_true(fix_service_int(f, "services.0.deployments.1.runningCount") > 0);
        assert_string_equal(fix_service(f, "services.0.deployments.0.rolloutState"),
                            deferred ? "COMPLETED" : "IN_PROGRESS");
        fix_settle(f);
        assert_string_equal(fix_service(f, "services.0.deployments.0.rolloutState"), "COMPLETED");
        assert_int_equal(fix_size(f, "services.0.deployments"), 1);
        assert_int_equal(fix_said(f, "deployment completed."), 2);
        fix_quiet(f);
        fix_free(f);
    }
}

static void nothing_wanted_is_steady(FL_UNUSED void **state)
{
    struct fix *f = fix_ready();
    fix_ok(f, "CreateService", "{'serviceName':'s','taskDefinition':'web','desiredCount':0}");
    assert_int_equal(fix_size(f, "service.deployments"), 1);
    fix_quiet(f);
    assert_string_equal(fix_service(f, "services.0.deployments.0.rolloutState"), "COMPLETED");
    assert_string_equal(fix_newest_event(f), "(service s) has reached a steady state.");
    f->now_ms += 6 * 60 * 60 * 1000;
    fix_quiet(f);
    assert_int_equal(fix_said(f, "has reached a steady state."), 2);
    fix_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_breaker_leads_back),
        cmocka_unit_test(what_failed_stays_to_be_seen),
        cmocka_unit_test(a_user_leads_back),
        cmocka_unit_test(the_first_one_cannot_go_back),
        cmocka_unit_test(a_failing_way_back_does_not_loop),
        cmocka_unit_test(another_deployment_takes_over),
        cmocka_unit_test(the_count_changes_meanwhile),
        cmocka_unit_test(deletion_ends_it),
        cmocka_unit_test(it_bakes),
        cmocka_unit_test(early_success),
        cmocka_unit_test(nothing_wanted_is_steady),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
