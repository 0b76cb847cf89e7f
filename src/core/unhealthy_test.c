/* Tasks whose health checks fail: when they go, and how a deployment counts them. */
#include "core/rollout_fixture.h"

#define HEALTH(status)                                                                             \
    ",'containers':[{'containerName':'app','status':'RUNNING','healthStatus':'" status "'}]"
#define PERCENTS(most, least)                                                                      \
    ",'deploymentConfiguration':{'maximumPercent':" most ",'minimumHealthyPercent':" least "}"

/* A service of tasks that have a health check, all of them started and none of them checked. */
static struct fix *begin(int count, const char *more)
{
    char instance[64];
    struct fix *f = fix_new();
    fix_ok(f, "CreateCluster", "{}");
    fix_add_instance(f, "default", 1000, 1000,
                     "{'name':'ecs.capability.container-health-check'},"
                     "{'name':'com.amazonaws.ecs.capability.docker-remote-api.1.24'}",
                     instance);
    fix_register(f, "web", 100, 50, ",'healthCheck':{'command':['CMD','true']}");
    fix_ok(f, "CreateService", "{'serviceName':'s','taskDefinition':'web','desiredCount':%d%s}",
           count, more);
    fix_schedule(f);
    assert_int_equal(fix_report_all(f, "RUNNING", "PENDING", "RUNNING", ""), (size_t)count);
    fix_schedule(f);
    return f;
}

static size_t going(struct fix *f)
{
    fix_ok(f, "ListTasks", "{'desiredStatus':'STOPPED'}");
    return fix_size(f, "taskArns");
}

static void nth(struct fix *f, size_t n, char ret_arn[200])
{
    char path[40];
    fix_ok(f, "ListTasks", "{}");
    (void)snprintf(path, sizeof(path), "taskArns.%zu", n);
    (void)snprintf(ret_arn, 200, "%s", fix_text(f, path));
}

/* Without room for replacements they go one after the other. */
static void one_at_a_time(FL_UNUSED void **state)
{
    struct fix *f = begin(3, PERCENTS("100", "50"));
    (void)fix_report_all(f, "RUNNING", "RUNNING", "RUNNING", HEALTH("UNHEALTHY"));
    for (int i = 1; i <= 3; i++) {
        fix_schedule(f);
        assert_int_equal(fix_said(f, "failed container health checks."), i);
        fix_stop_all(f);
        assert_int_equal(fix_said(f, "failed container health checks."), i);
        assert_int_equal(fix_report_all(f, "RUNNING", "PENDING", "RUNNING", HEALTH("HEALTHY")), 1);
    }
    fix_schedule(f);
    assert_string_equal(fix_service(f, "services.0.deployments.0.rolloutState"), "COMPLETED");
    fix_quiet(f);
    fix_free(f);
}

/* A task that dies again and again is never known to be healthy; another one's health is no matter
 * of its. */
static void others_come_and_go(FL_UNUSED void **state)
{
    char dying[200], ill[200];
    struct fix *f = begin(2, PERCENTS("100", "50"));
    nth(f, 0, dying);
    nth(f, 1, ill);
    fix_report(f, dying, "STOPPED", "");
    fix_schedule(f);
    fix_report(f, ill, "RUNNING", HEALTH("UNHEALTHY"));
    fix_schedule(f);
    assert_int_equal(fix_said(f, "failed container health checks."), 0);
    assert_int_equal(fix_report_all(f, "RUNNING", "PENDING", "RUNNING", ""), 1);
    fix_schedule(f);
    assert_int_equal(fix_said(f, "failed container health checks."), 1);
    fix_ok(f, "DescribeTasks", "{'tasks':['%s']}", ill);
    assert_string_equal(fix_text(f, "tasks.0.desiredStatus"), "STOPPED");
    assert_string_equal(fix_text(f, "tasks.0.stoppedReason"),
                        "Task failed container health checks");
    fix_free(f);
}

static int64_t failed_tasks(struct fix *f)
{
    return fix_service_int(f, "services.0.deployments.0.failedTasks");
}

/* They are failures of their deployment in a row until one task of it is healthy. */
static void they_count(FL_UNUSED void **state)
{
    char well[200];
    struct fix *f = begin(2, "");
    (void)fix_report_all(f, "RUNNING", "RUNNING", "RUNNING", HEALTH("UNHEALTHY"));
    fix_schedule(f);
    assert_int_equal(fix_report_all(f, "RUNNING", "PENDING", "RUNNING", HEALTH("UNHEALTHY")), 2);
    fix_schedule(f);
    fix_stop_all(f);
    assert_true(failed_tasks(f) > 0);
    assert_int_equal(fix_said(f, "). Amazon ECS replaced 2 tasks due to an unhealthy status."), 1);
    (void)fix_report_all(f, "RUNNING", "PENDING", "RUNNING", HEALTH("HEALTHY"));
    fix_schedule(f);
    assert_int_equal(failed_tasks(f), 0);
    fix_stop_all(f);
    (void)fix_report_all(f, "RUNNING", "PENDING", "RUNNING", HEALTH("HEALTHY"));
    fix_schedule(f);
    nth(f, 0, well);
    fix_report(f, well, "RUNNING", HEALTH("UNHEALTHY"));
    fix_schedule(f);
    assert_int_equal(failed_tasks(f), 0);
    assert_int_equal(going(f) > 0, 1);
    fix_quiet(f);
    fix_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_at_a_time),
        cmocka_unit_test(others_come_and_go),
        cmocka_unit_test(they_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
