/* Service deployments and revisions as clients follow them. */
#include "core/core_fixture.h"

static struct fix *fix_ready(void)
{
    char instance[64];
    struct fix *f = fix_new();
    fix_ok(f, "CreateCluster", "{}");
    fix_add_instance(f, "default", 1024, 1000, "", instance);
    fix_register(f, "web", 100, 50, "");
    return f;
}

/* The way of Terraform's wait_for_steady_state: the PRIMARY deployment's number is part of the
 * target's ARN, and the service deployment is there as soon as the call has returned. */
static void ids_join(FL_UNUSED void **state)
{
    struct fix *f = fix_ready();
    char number[64], arn[300];
    fix_ok(f, "CreateService", "{'serviceName':'s','taskDefinition':'web','desiredCount':1}");
    assert_string_equal(fix_text(f, "service.deploymentController.type"), "ECS");
    (void)snprintf(number, sizeof(number), "%s", fix_id(fix_text(f, "service.deployments.0.id")));
    fix_ok(f, "ListServiceDeployments", "{'service':'s','createdAt':{'after':1700000000}}");
    assert_int_equal(fix_size(f, "serviceDeployments"), 1);
    assert_string_equal(fix_id(fix_text(f, "serviceDeployments.0.targetServiceRevisionArn")),
                        number);
    assert_string_equal(fix_text(f, "serviceDeployments.0.status"), "IN_PROGRESS");
    (void)snprintf(arn, sizeof(arn), "%s",
                   fix_text(f, "serviceDeployments.0.serviceDeploymentArn"));
    fix_ok(f, "DescribeServiceDeployments", "{'serviceDeploymentArns':['%s']}", arn);
    assert_string_equal(fix_text(f, "serviceDeployments.0.serviceDeploymentArn"), arn);
    assert_int_equal(fix_int(f, "serviceDeployments.0.targetServiceRevision.requestedTaskCount"),
                     1);
    assert_int_equal(fix_size(f, "serviceDeployments.0.sourceServiceRevisions"), 0);
    assert_string_equal(fix_text(f, "serviceDeployments.0.deploymentCircuitBreaker.status"),
                        "DISABLED");
    fix_ok(f, "DescribeServices", "{'services':['s']}");
    assert_string_equal(fix_text(f, "services.0.currentServiceDeployment"), arn);
    assert_string_equal(fix_id(fix_text(f, "services.0.currentServiceRevisions.0.arn")), number);
    fix_recover(f, false);
    fix_free(f);
}

static void revisions_are_shown(FL_UNUSED void **state)
{
    struct fix *f = fix_ready();
    char arn[300];
    fix_ok(f, "CreateService", "{'serviceName':'s','taskDefinition':'web','desiredCount':1}");
    (void)snprintf(arn, sizeof(arn), "%s", fix_text(f, "service.currentServiceRevisions.0.arn"));
    fix_ok(f, "DescribeServiceRevisions", "{'serviceRevisionArns':['%s','%s0']}", arn, arn);
    assert_string_equal(fix_text(f, "serviceRevisions.0.serviceRevisionArn"), arn);
    assert_string_equal(fix_id(fix_text(f, "serviceRevisions.0.taskDefinition")), "web:1");
    assert_string_equal(fix_text(f, "serviceRevisions.0.launchType"), "EC2");
    assert_string_equal(fix_text(f, "serviceRevisions.0.containerImages.0.containerName"), "app");
    assert_string_equal(fix_text(f, "serviceRevisions.0.containerImages.0.image"), "busybox:1");
    assert_null(fix_at(f->reply, "serviceRevisions.0.containerImages.0.imageDigest"));
    assert_int_equal(fix_size(f, "failures"), 1);
    assert_string_equal(fix_text(f, "failures.0.reason"), "MISSING");
    fix_free(f);
}

/* However many begin in a millisecond, the last one is the one that counts. */
static void the_last_one_counts(FL_UNUSED void **state)
{
    char number[64], arn[300];
    struct fix *f = fix_ready();
    fix_ok(f, "CreateService", "{'serviceName':'s','taskDefinition':'web','desiredCount':0}");
    for (int i = 0; i < 30; i++) {
        fix_ok(f, "UpdateService", "{'service':'s','forceNewDeployment':true}");
        (void)snprintf(number, sizeof(number), "%s",
                       fix_id(fix_text(f, "service.deployments.0.id")));
        (void)snprintf(arn, sizeof(arn), "%s", fix_text(f, "service.currentServiceDeployment"));
        fix_schedule(f); /* it is complete */
        fix_ok(f, "DescribeServices", "{'services':['s']}");
        assert_string_equal(fix_text(f, "services.0.deployments.0.rolloutState"), "COMPLETED");
        assert_string_equal(fix_text(f, "services.0.currentServiceDeployment"), arn);
        fix_ok(f, "ListServiceDeployments", "{'service':'s','maxResults':1}");
        assert_string_equal(fix_text(f, "serviceDeployments.0.serviceDeploymentArn"), arn);
        assert_string_equal(fix_id(fix_text(f, "serviceDeployments.0.targetServiceRevisionArn")),
                            number);
    }
    fix_recover(f, false);
    fix_free(f);
}

/* The newest first; a page ends where the next one begins. */
static void they_are_listed(FL_UNUSED void **state)
{
    struct fix *f = fix_ready();
    char token[200], last[300];
    fix_ok(f, "CreateService", "{'serviceName':'s','taskDefinition':'web','desiredCount':0}");
    for (int i = 0; i < 24; i++) {
        f->now_ms += 1000;
        fix_ok(f, "UpdateService", "{'service':'s','forceNewDeployment':true}");
    }
    (void)snprintf(last, sizeof(last), "%s", fix_text(f, "service.currentServiceDeployment"));
    fix_ok(f, "ListServiceDeployments", "{'service':'s'}");
    assert_int_equal(fix_size(f, "serviceDeployments"), 20);
    assert_string_equal(fix_text(f, "serviceDeployments.0.serviceDeploymentArn"), last);
    (void)snprintf(token, sizeof(token), "%s", fix_text(f, "nextToken"));
    fix_ok(f, "ListServiceDeployments", "{'service':'s','nextToken':'%s'}", token);
    assert_int_equal(fix_size(f, "serviceDeployments"), 5);
    assert_null(fix_at(f->reply, "nextToken"));
    fix_ok(f, "ListServiceDeployments", "{'service':'s','status':['IN_PROGRESS']}");
    assert_int_equal(fix_size(f, "serviceDeployments"), 1);
    fix_ok(f, "ListServiceDeployments",
           "{'service':'s','status':['STOPPED'],'createdAt':{'before':1700000010.123,"
           "'after':1700000005.123}}");
    assert_int_equal(fix_size(f, "serviceDeployments"), 4);
    fix_recover(f, false);
    fix_free(f);
}

/* What the circuit breaker watches is told with its threshold. */
static void the_breaker_is_shown(FL_UNUSED void **state)
{
    struct fix *f = fix_ready();
    fix_ok(f, "CreateService",
           "{'serviceName':'s','taskDefinition':'web','desiredCount':8,'deploymentConfiguration':{"
           "'deploymentCircuitBreaker':{'enable':true,'rollback':true}}}");
    fix_ok(f, "DescribeServiceDeployments", "{'serviceDeploymentArns':['%s']}",
           fix_text(f, "service.currentServiceDeployment"));
    assert_string_equal(fix_text(f, "serviceDeployments.0.deploymentCircuitBreaker.status"),
                        "MONITORING");
    assert_int_equal(fix_int(f, "serviceDeployments.0.deploymentCircuitBreaker.failureCount"), 0);
    assert_int_equal(fix_int(f, "serviceDeployments.0.deploymentCircuitBreaker.threshold"), 4);
    assert_string_equal(fix_text(f, "serviceDeployments.0.alarms.status"), "DISABLED");
    fix_free(f);
}

static void they_refuse(FL_UNUSED void **state)
{
    struct fix *f = fix_ready();
    fix_refused(f, "ServiceNotFoundException", "Service not found.", "ListServiceDeployments",
                "{'service':'s'}");
    fix_refused(f, "InvalidParameterException", "serviceDeploymentArns cannot be empty.",
                "DescribeServiceDeployments", "{'serviceDeploymentArns':[]}");
    fix_refused(f, "InvalidParameterException",
                "Invalid identifier: 'x' is not the ARN of a service-deployment.",
                "DescribeServiceDeployments", "{'serviceDeploymentArns':['x']}");
    FL_CLEANUP_BUF struct fl_buf many = FL_BUF_INIT(8192);
    for (int i = 0; i < 21; i++)
        fl_buf_printf(&many, "%s'a'", i ? "," : "");
    fix_refused(f, "InvalidParameterException", "serviceRevisionArns cannot be more than 20.",
                "DescribeServiceRevisions", "{'serviceRevisionArns':[%s]}", many.p);
    static const char *const missing[] = {
        "arn:aws:ecs:eu-central-1:000000000000:service-deployment/default/s/x",
        "arn:aws:ecs:eu-central-1:000000000000:service-deployment/s/x",
        "arn:aws:ecs:eu-central-1:000000000000:service-deployment/no/s/x/y",
    };
    for (size_t i = 0; i < FL_ARRAY_SIZE(missing); i++) {
        fix_ok(f, "DescribeServiceDeployments", "{'serviceDeploymentArns':['%s']}", missing[i]);
        assert_string_equal(fix_text(f, "failures.0.reason"), "MISSING");
        assert_string_equal(fix_text(f, "failures.0.arn"), missing[i]);
    }
    fix_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_join),
        cmocka_unit_test(revisions_are_shown),
        cmocka_unit_test(the_last_one_counts),
        cmocka_unit_test(they_are_listed),
        cmocka_unit_test(the_breaker_is_shown),
        cmocka_unit_test(they_refuse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
