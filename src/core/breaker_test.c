/* The circuit breaker: what it counts, when it opens, what then becomes of the deployment. */
#include "core/rollout_fixture.h"
#include "core/scheduler.h"

#define BREAKER(rollback, more)                                                                    \
    ",'deploymentConfiguration':{'deploymentCircuitBreaker':{'enable':true,'rollback':" rollback   \
        more "}}"

static void begin(struct fix *f, int count, const char *more)
{
    fix_ok(f, "CreateService", "{'serviceName':'s','taskDefinition':'web','desiredCount':%d%s}",
           count, more);
    fix_schedule(f);
}

/* One round after the other fails, until the breaker opens; returns the tasks that have failed. */
static int fail_until_open(struct fix *f)
{
    int failed = 0;
    for (int i = 0; i < 30 && strcmp(fix_rollout(f, "status"), "IN_PROGRESS") == 0; i++) {
        failed += (int)fix_fail(f, "no");
        f->now_ms = FL_MAX(f->now_ms, fl_core_next_due(f->core));
        fix_schedule(f);
    }
    return failed;
}

static void thresholds(FL_UNUSED void **state)
{
    static const struct {
        int count;
        const char *more;
        int failures;
    } cases[] = {
        {1, "", 3},
        {4, "", 4},
        {8, "", 8},
        {2, ",'thresholdConfiguration':{'type':'COUNT','value':5}", 6},
        {2, ",'thresholdConfiguration':{'type':'COUNT','value':1}", 2},
        {3, ",'thresholdConfiguration':{'type':'UNBOUNDED_PERCENT','value':10}", 3},
        {10, ",'thresholdConfiguration':{'type':'UNBOUNDED_PERCENT','value':100}", 10},
        {10, ",'thresholdConfiguration':{'type':'BOUNDED_PERCENT','value':100}", 10},
    };
    for (size_t i = 0; i < FL_ARRAY_SIZE(cases); i++) {
        char more[400];
        struct fix *f = fix_ready();
        (void)snprintf(more, sizeof(more), BREAKER("false", "%s"), cases[i].more);
        begin(f, cases[i].count, more);
        assert_string_equal(fix_rollout(f, "breakerStatus"), "MONITORING");
        assert_int_equal(fail_until_open(f), cases[i].failures);
        assert_string_equal(fix_rollout(f, "breakerStatus"), "TRIGGERED");
        fix_free(f);
    }
}

static void without_rollback_it_stalls(FL_UNUSED void **state)
{
    struct fix *f = fix_ready();
    begin(f, 1, BREAKER("false", ""));
    assert_int_equal(fail_until_open(f), 3);
    assert_string_equal(fix_service(f, "services.0.deployments.0.rolloutState"), "FAILED");
    assert_string_equal(fix_service(f, "services.0.deployments.0.rolloutStateReason"),
                        "ECS deployment circuit breaker: tasks failed to start.");
    assert_string_equal(fix_rollout(f, "status"), "STOPPED");
    assert_string_equal(fix_rollout(f, "statusReason"),
                        "Service deployment stopped because the circuit breaker threshold was "
                        "exceeded.");
    assert_int_equal(fix_said(f, "deployment failed: tasks failed to start."), 1);
    assert_int_equal(fix_said(f, "could not launch 3 tasks for deployment ecs-svc/"), 1);
    fix_quiet(f);
    f->now_ms += 60 * 60 * 1000;
    fix_schedule(f);
    assert_int_equal(fix_service_int(f, "services.0.pendingCount"), 0);
    /* The next one may be better. */
    fix_ok(f, "UpdateService", "{'service':'s','forceNewDeployment':true}");
    fix_settle(f);
    assert_string_equal(fix_service(f, "services.0.deployments.0.rolloutState"), "COMPLETED");
    assert_int_equal(fix_size(f, "services.0.deployments"), 1);
    assert_string_equal(fix_rollout(f, "breakerStatus"), "MONITORING_COMPLETE");
    fix_quiet(f);
    fix_free(f);
}

static void what_is_there_stays(FL_UNUSED void **state)
{
    struct fix *f = fix_ready();
    begin(f, 4,
          ",'deploymentConfiguration':{'minimumHealthyPercent':50,'maximumPercent':100,"
          "'deploymentCircuitBreaker':{'enable':true,'rollback':false}}");
    fix_settle(f);
    fix_ok(f, "UpdateService", "{'service':'s','forceNewDeployment':true}");
    fix_schedule(f);
    fix_stop_all(f);
    assert_int_equal(fix_service_int(f, "services.0.deployments.1.runningCount"), 2);
    assert_int_equal(fail_until_open(f), 4);
    assert_string_equal(fix_service(f, "services.0.deployments.0.rolloutState"), "FAILED");
    assert_int_equal(fix_service_int(f, "services.0.deployments.1.runningCount"), 2);
    fix_quiet(f);
    /* Scaled in, it keeps what it has. */
    fix_ok(f, "UpdateService", "{'service':'s','desiredCount':1}");
    fix_schedule(f);
    fix_stop_all(f);
    assert_int_equal(fix_service_int(f, "services.0.runningCount"), 1);
    assert_string_equal(fix_service(f, "services.0.deployments.0.rolloutState"), "FAILED");
    fix_quiet(f);
    fix_free(f);
}

static void the_first_one_has_no_way_back(FL_UNUSED void **state)
{
    struct fix *f = fix_ready();
    begin(f, 1, BREAKER("true", ""));
    assert_int_equal(fail_until_open(f), 3);
    assert_string_equal(fix_rollout(f, "status"), "ROLLBACK_FAILED");
    assert_string_equal(fix_rollout(f, "statusReason"),
                        "No rollback candidate was found to run the rollback.");
    assert_string_equal(fix_service(f, "services.0.deployments.0.rolloutState"), "FAILED");
    f->now_ms += 60 * 60 * 1000;
    fix_schedule(f);
    assert_int_equal(fix_service_int(f, "services.0.pendingCount"), 0);
    fix_quiet(f);
    fix_free(f);
}

static void healthy_tasks_reset_it(FL_UNUSED void **state)
{
    for (int resets = 0; resets < 2; resets++) {
        struct fix *f = fix_ready();
        begin(f, 1,
              resets ? BREAKER("false", "") : BREAKER("false", ",'resetOnHealthyTask':false"));
        for (int i = 0; i < 2; i++) {
            assert_int_equal(fix_fail(f, "no"), 1);
            f->now_ms += 3000;
            fix_schedule(f);
        }
        assert_string_equal(fix_rollout(f, "failureCount"), "2");
        /* Two are wanted now: one becomes healthy, and then the other one fails. */
        (void)fix_report_all(f, "RUNNING", "PENDING", "RUNNING", "");
        fix_ok(f, "UpdateService", "{'service':'s','desiredCount':2}");
        fix_schedule(f);
        f->now_ms += FL_CORE_STRICT_SETTLE_MS;
        fix_schedule(f);
        assert_string_equal(fix_rollout(f, "failureCount"), resets ? "0" : "2");
        fix_quiet(f);
        assert_int_equal(fix_fail(f, "no"), 1);
        assert_string_equal(fix_rollout(f, "status"), resets ? "IN_PROGRESS" : "STOPPED");
        assert_string_equal(fix_rollout(f, "failureCount"), resets ? "1" : "3");
        fix_quiet(f);
        fix_free(f);
    }
}

static void what_no_retry_cures_fails_at_once(FL_UNUSED void **state)
{
    static const struct {
        const char *reason;
        bool at_once;
    } cases[] = {
        {"CannotPullContainerError: failed to resolve reference \\\"h/nope:1\\\": not found", true},
        {"CannotPullContainerError: failed to resolve reference \\\"h/nope:1\\\": pull access "
         "denied, repository does not exist or may require authorization: server message",
         true},
        {"CannotPullImageManifestError: failed to resolve reference: manifest unknown", true},
        {"CannotStartContainerError: failed to initialize logging driver: "
         "ResourceNotFoundException: The specified log group does not exist.",
         true},
        {"Fetching secret data from AWS Secrets Manager in region r: secret arn: "
         "ResourceNotFoundException: Secrets Manager cannot find the specified secret.",
         true},
        {"Fetching secret data from AWS Secrets Manager in region r: secret arn: "
         "AccessDeniedException: no",
         true},
        {"Fetching secret data from AWS Secrets Manager in region r: secret arn: retrieved secret "
         "from Secrets Manager did not contain json key k",
         true},
        {"Fetching secret data from SSM Parameter Store in r: invalid parameters: /a", true},
        {"asm fetching secret from the service for arn: ResourceNotFoundException: no", true},
        {"asm fetching username: AuthorizationData is malformed, empty field", true},
        {"Fetching secret data from AWS Secrets Manager in region r: secret arn: "
         "ServiceUnavailable: try again",
         false},
        {"Fetching secret data from SSM Parameter Store in r: no answer: timed out", false},
        {"CannotPullContainerError: unexpected status from GET request: 503", false},
        {"DockerTimeoutError: Could not transition to PULLED", false},
        {"Task failed to start: not found", false},
    };
    for (size_t i = 0; i < FL_ARRAY_SIZE(cases); i++) {
        struct fix *f = fix_ready();
        begin(f, 1, BREAKER("false", ""));
        assert_int_equal(fix_fail(f, cases[i].reason), 1);
        assert_string_equal(fix_rollout(f, "status"), cases[i].at_once ? "STOPPED" : "IN_PROGRESS");
        assert_int_equal(fix_said(f, "deployment failed: tasks failed to start."),
                         cases[i].at_once);
        if (cases[i].at_once)
            assert_non_null(strstr(fix_rollout(f, "statusReason"),
                                   "Service deployment stopped because its tasks cannot be "
                                   "started: "));
        fix_quiet(f);
        fix_free(f);
    }
    assert_true(fl_is_incurable(FL_STR("ResourceInitializationError: unable to pull secrets or "
                                       "registry auth: ResourceNotFoundException: no such one")));
    /* ECS has no such rule. */
    struct fix *e = fix_ready();
    e->core->strict = true;
    begin(e, 1, BREAKER("false", ""));
    assert_int_equal(fix_fail(e, cases[0].reason), 1);
    assert_string_equal(fix_rollout(e, "status"), "IN_PROGRESS");
    fix_free(e);
    /* Without a breaker it is only tried again. */
    struct fix *f = fix_ready();
    begin(f, 1, "");
    assert_string_equal(fix_rollout(f, "breakerStatus"), "DISABLED");
    for (int i = 0; i < 8; i++) {
        assert_int_equal(fix_fail(f, cases[0].reason), 1);
        f->now_ms = fl_core_next_due(f->core);
        fix_schedule(f);
    }
    assert_string_equal(fix_rollout(f, "status"), "IN_PROGRESS");
    assert_string_equal(fix_rollout(f, "failureCount"), "(none)");
    fix_free(f);
}

#define HEALTH(status)                                                                             \
    ",'containers':[{'containerName':'app','status':'RUNNING','healthStatus':'" status "'}]"

/* They run, and their checks fail: each one that is replaced counts. */
static void failed_checks_count(FL_UNUSED void **state)
{
    char instance[64];
    struct fix *f = fix_new();
    fix_ok(f, "CreateCluster", "{}");
    fix_add_instance(f, "default", 1000, 1000,
                     "{'name':'ecs.capability.container-health-check'},"
                     "{'name':'com.amazonaws.ecs.capability.docker-remote-api.1.24'}",
                     instance);
    fix_register(f, "web", 100, 50, ",'healthCheck':{'command':['CMD','true']}");
    begin(f, 2, BREAKER("true", ""));
    assert_int_equal(fix_report_all(f, "RUNNING", "PENDING", "RUNNING", HEALTH("HEALTHY")), 2);
    fix_quiet(f);
    assert_string_equal(fix_service(f, "services.0.deployments.0.rolloutState"), "COMPLETED");
    f->now_ms += 1000;
    fix_ok(f, "UpdateService", "{'service':'s','forceNewDeployment':true}");
    fix_schedule(f);
    for (int i = 0; i < 12 && strcmp(fix_rollout(f, "status"), "IN_PROGRESS") == 0; i++) {
        assert_int_equal(fix_service_int(f, "services.0.deployments.1.runningCount"), 2);
        (void)fix_report_all(f, "RUNNING", "PENDING", "RUNNING", HEALTH("UNHEALTHY"));
        fix_schedule(f);
        fix_stop_all(f);
    }
    assert_string_equal(fix_rollout(f, "breakerStatus"), "TRIGGERED");
    assert_string_equal(fix_rollout(f, "failureCount"), "3");
    assert_string_equal(fix_rollout(f, "lastFailure"), "(none)");
    assert_true(fix_said(f, "failed container health checks.") >= 3);
    assert_int_equal(fix_said(f, "could not launch"), 0);
    fix_stop_all(f);
    fix_quiet(f);
    assert_string_equal(fix_rollout(f, "status"), "ROLLBACK_SUCCESSFUL");
    assert_int_equal(fix_service_int(f, "services.0.runningCount"), 2);
    fix_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(thresholds),
        cmocka_unit_test(without_rollback_it_stalls),
        cmocka_unit_test(what_is_there_stays),
        cmocka_unit_test(the_first_one_has_no_way_back),
        cmocka_unit_test(healthy_tasks_reset_it),
        cmocka_unit_test(what_no_retry_cures_fails_at_once),
        cmocka_unit_test(failed_checks_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
