/* Instances that are DRAINING, or deregistered by force: what their services do. */
#include "core/service_fixture.h"

/* Three hosts, two tasks each. */
static struct place *three(const char *more)
{
    char text[1000];
    struct place *p = place_new();
    for (int i = 0; i < 3; i++)
        place_add_host(p, "a", 1000);
    (void)snprintf(text, sizeof(text), ",'desiredCount':6%s", more);
    place_create(p, text);
    for (int i = 0; i < 3; i++)
        assert_int_equal(place_count(p, i), 2);
    return p;
}

/* Time goes by; fewer never run, more are never there. */
static void watch(struct place *p, size_t least, int64_t most)
{
    for (int round = 0; round < 30; round++) {
        fix_schedule(p->f);
        assert_true(place_running(p) >= least);
        assert_true(place_all(p) <= most);
        place_obey(p);
        p->f->now_ms += 10 * 1000;
    }
}

static void replacements_come_first(FL_UNUSED void **state)
{
    struct place *p = three("");
    place_drain(p, 0, "DRAINING");
    watch(p, 6, 12);
    assert_int_equal(place_count(p, 0), 0);
    assert_int_equal(place_count(p, -1), 6);
    assert_true(place_is_steady(p));
    place_restart(p);
    place_settle(p);
    assert_int_equal(place_events(p, "has started"), 2);
    place_free(p);
}

static void within_narrow_bounds(FL_UNUSED void **state)
{
    struct place *p =
        three(",'deploymentConfiguration':{'minimumHealthyPercent':80,'maximumPercent':100}");
    place_drain(p, 0, "DRAINING");
    watch(p, 5, 6);
    assert_int_equal(place_count(p, 0), 0);
    assert_true(place_is_steady(p));
    place_free(p);
}

static void no_leeway_at_all(FL_UNUSED void **state)
{
    struct place *p =
        three(",'deploymentConfiguration':{'minimumHealthyPercent':95,'maximumPercent':100}");
    place_drain(p, 0, "DRAINING");
    watch(p, 6, 6);
    assert_int_equal(place_count(p, 0), 2);
    assert_int_equal(place_events(p,
                                  "was unable to stop or start tasks during a deployment because "
                                  "of the service deployment configuration."),
                     1);
    place_drain(p, 0, "ACTIVE");
    watch(p, 6, 6);
    assert_int_equal(place_count(p, 0), 2);
    place_free(p);
}

static void pending_tasks_go_at_once(FL_UNUSED void **state)
{
    struct place *p = place_new();
    place_add_host(p, "a", 1000);
    fix_ok(p->f, "CreateService", "{'serviceName':'s','taskDefinition':'web','desiredCount':2}");
    fix_schedule(p->f);
    fix_ok(p->f, "RunTask", "{'taskDefinition':'web'}");
    assert_int_equal(place_count(p, 0), 3);
    place_drain(p, 0, "DRAINING");
    fix_schedule(p->f);
    assert_int_equal(place_count(p, 0), 1);
    place_add_host(p, "a", 1000);
    place_settle(p);
    assert_int_equal(place_count(p, 0), 1);
    assert_int_equal(place_count(p, 1), 2);
    assert_true(place_is_steady(p));
    place_free(p);
}

/* There is no room elsewhere: it is said, and the tasks stay. */
static void nowhere_to_go(FL_UNUSED void **state)
{
    struct place *p = place_new();
    place_add_host(p, "a", 200);
    place_add_host(p, "a", 200);
    place_create(p, ",'desiredCount':4");
    place_drain(p, 0, "DRAINING");
    watch(p, 4, 4);
    assert_int_equal(place_count(p, 0), 2);
    assert_int_equal(place_events(p, "was unable to place a task"), 1);
    place_add_host(p, "a", 200);
    watch(p, 4, 6);
    assert_int_equal(place_count(p, 0), 0);
    assert_true(place_is_steady(p));
    place_free(p);
}

static void back_in_the_middle(FL_UNUSED void **state)
{
    struct place *p = three("");
    place_drain(p, 0, "DRAINING");
    fix_schedule(p->f);
    assert_int_equal(place_count(p, -1), 8);
    place_drain(p, 0, "ACTIVE");
    watch(p, 6, 8);
    assert_int_equal(place_count(p, 0), 2);
    assert_int_equal(place_count(p, -1), 6);
    assert_true(place_is_steady(p));
    place_free(p);
}

static void deregistered_by_force(FL_UNUSED void **state)
{
    struct place *p = three("");
    char task[200];
    place_first(p, 0, task);
    fix_ok(p->f, "DeregisterContainerInstance", "{'containerInstance':'%s','force':true}",
           p->hosts[0]);
    p->sessions[0] = 0;
    watch(p, 4, 6);
    assert_int_equal(place_count(p, -1), 6);
    assert_true(place_is_steady(p));
    fix_ok(p->f, "DescribeTasks", "{'tasks':['%s']}", task);
    assert_string_equal(fix_text(p->f, "tasks.0.stoppedReason"),
                        "Container instance deregistration forced by user");
    place_free(p);
}

/* A drained host that is away and stays away holds nobody up. */
static void drained_and_lost(FL_UNUSED void **state)
{
    struct place *p = three("");
    place_away(p, 0);
    place_drain(p, 0, "DRAINING");
    place_settle(p);
    assert_int_equal(place_count(p, -1), 6);
    assert_true(place_is_steady(p));
    place_back(p, 0);
    place_settle(p);
    assert_int_equal(place_all(p), 6);
    place_free(p);
}

/* A deployment's tasks are spread over all hosts, wherever those are that they replace. */
static void back_before_a_deployment(FL_UNUSED void **state)
{
    static const char *const strategies[] = {
        "",
        ",'placementStrategy':[{'type':'spread','field':'attribute:ecs.availability-zone'}]",
        ",'placementStrategy':[{'type':'spread','field':'instanceId'}]",
    };
    for (size_t i = 0; i < FL_ARRAY_SIZE(strategies); i++) {
        struct place *p = place_new();
        char more[300];
        for (int host = 0; host < 3; host++)
            place_add_host(p, host == 0 ? "a" : host == 1 ? "b" : "c", 1500);
        (void)snprintf(more, sizeof(more),
                       ",'desiredCount':6,'availabilityZoneRebalancing':'DISABLED'%s",
                       strategies[i]);
        place_create(p, more);
        place_drain(p, 0, "DRAINING");
        place_settle(p);
        place_drain(p, 0, "ACTIVE");
        place_settle(p);
        assert_int_equal(place_count(p, 0), 0);
        fix_ok(p->f, "UpdateService", "{'service':'s','forceNewDeployment':true}");
        place_settle(p);
        assert_true(place_is_steady(p));
        for (int host = 0; host < 3; host++)
            assert_int_equal(place_count(p, host), 2);
        place_free(p);
    }
}

/* What must be alone is alone beside other deployments' tasks, too. */
static void distinct_over_deployments(FL_UNUSED void **state)
{
    struct place *p = place_new();
    for (int host = 0; host < 3; host++)
        place_add_host(p, "a", 1500);
    place_create(p, ",'desiredCount':2,'placementConstraints':[{'type':'distinctInstance'}]");
    fix_ok(p->f, "UpdateService", "{'service':'s','forceNewDeployment':true}");
    fix_schedule(p->f);
    for (int host = 0; host < 3; host++)
        assert_int_equal(place_count(p, host), 1);
    place_settle(p);
    assert_true(place_is_steady(p));
    place_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replacements_come_first),
        cmocka_unit_test(within_narrow_bounds),
        cmocka_unit_test(no_leeway_at_all),
        cmocka_unit_test(pending_tasks_go_at_once),
        cmocka_unit_test(nowhere_to_go),
        cmocka_unit_test(back_in_the_middle),
        cmocka_unit_test(deregistered_by_force),
        cmocka_unit_test(drained_and_lost),
        cmocka_unit_test(back_before_a_deployment),
        cmocka_unit_test(distinct_over_deployments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
