/* Services as a user sees them: create, keep, update, scale, delete. After each part a core built
 * from the records must agree. */
#include "core/core_fixture.h"

/* A core with a cluster, two instances in two zones, and the definition "web". */
static struct fix *fix_ready(void)
{
    char instance[64];
    struct fix *f = fix_new();
    fix_ok(f, "CreateCluster", "{}");
    for (int i = 0; i < 2; i++)
        fix_add_instance(f, "default", 1024, 1000, "{'name':'rack','value':'r1'}", instance);
    fix_register(f, "web", 100, 50, "");
    return f;
}

/* Every task that is wanted has started, every other one has stopped. */
static void obey(struct fix *f)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    for (int round = 0; round < 2; round++) {
        fix_ok(f, "ListTasks", "{'desiredStatus':'%s'}", round ? "STOPPED" : "RUNNING");
        const struct fl_json *arns = fix_copy(fix_at(f->reply, "taskArns"), arena);
        for (size_t i = 0; i < fl_json_items(arns); i++)
            fix_report(f, fl_json_z(fl_json_item(arns, i)), round ? "STOPPED" : "RUNNING", "");
    }
    fix_schedule(f);
}

static void a_service_lives(FL_UNUSED void **state)
{
    struct fix *f = fix_ready();
    fix_ok(f, "CreateService", "{'serviceName':'s','taskDefinition':'web','desiredCount':3}");
    assert_string_equal(fix_text(f, "service.deployments.0.rolloutState"), "IN_PROGRESS");
    fix_schedule(f);
    fix_ok(f, "DescribeServices", "{'services':['s']}");
    assert_int_equal(fix_int(f, "services.0.pendingCount"), 3);
    obey(f);
    f->now_ms += FL_CORE_STRICT_SETTLE_MS;
    fix_schedule(f);
    fix_ok(f, "DescribeServices", "{'services':['s']}");
    assert_int_equal(fix_int(f, "services.0.runningCount"), 3);
    assert_string_equal(fix_text(f, "services.0.deployments.0.rolloutState"), "COMPLETED");
    assert_string_equal(fix_text(f, "services.0.events.0.message"),
                        "(service s) has reached a steady state.");
    fix_recover(f, true);
    fix_ok(f, "UpdateService", "{'service':'s','forceNewDeployment':true}");
    fix_schedule(f);
    obey(f);
    fix_ok(f, "DescribeServices", "{'services':['s']}");
    assert_int_equal(fix_int(f, "services.0.runningCount"), 6);
    assert_int_equal(fix_size(f, "services.0.deployments"), 2);
    f->now_ms += FL_CORE_STRICT_SETTLE_MS;
    fix_schedule(f);
    obey(f);
    fix_ok(f, "DescribeServices", "{'services':['s']}");
    assert_int_equal(fix_int(f, "services.0.runningCount"), 3);
    assert_int_equal(fix_size(f, "services.0.deployments"), 1);
    fix_ok(f, "UpdateService", "{'service':'s','desiredCount':1}");
    fix_schedule(f);
    obey(f);
    fix_ok(f, "DescribeServices", "{'services':['s']}");
    assert_int_equal(fix_int(f, "services.0.runningCount"), 1);
    fix_recover(f, true);
    fix_refused(f, "InvalidParameterException",
                "The service cannot be stopped while it is scaled above 0.", "DeleteService",
                "{'service':'s'}");
    fix_ok(f, "DeleteService", "{'service':'s','force':true}");
    fix_schedule(f);
    obey(f);
    fix_ok(f, "DescribeServices", "{'services':['s']}");
    assert_string_equal(fix_text(f, "services.0.status"), "INACTIVE");
    fix_recover(f, false);
    fix_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_service_lives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
