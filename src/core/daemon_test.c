/* DAEMON services: one task on every instance that takes it, first to come and last to go. */
#include "core/service_fixture.h"

static struct place *on_hosts(int hosts, const char *more)
{
    char text[1000];
    struct place *p = place_new();
    for (int i = 0; i < hosts; i++)
        place_add_host(p, i % 2 ? "b" : "a", 1000);
    (void)snprintf(text, sizeof(text), ",'schedulingStrategy':'DAEMON'%s", more);
    place_create(p, text);
    return p;
}

static void expect_everywhere(struct place *p, int hosts)
{
    for (int i = 0; i < hosts; i++)
        assert_int_equal(place_count(p, i), 1);
    assert_int_equal(place_service(p, "desiredCount"), hosts);
    assert_int_equal(place_service(p, "deployments.0.desiredCount"), hosts);
    assert_int_equal(place_service(p, "runningCount"), hosts);
    assert_true(place_is_steady(p));
}

static void one_on_every_host(FL_UNUSED void **state)
{
    struct place *p = on_hosts(3, "");
    expect_everywhere(p, 3);
    assert_int_equal(place_events(p, "has started 3 tasks"), 1);
    assert_int_equal(place_events(p, "has reached a steady state"), 1);
    place_add_host(p, "c", 1000);
    place_settle(p);
    expect_everywhere(p, 4);
    place_restart(p);
    place_settle(p);
    expect_everywhere(p, 4);
    char task[200];
    place_first(p, 1, task);
    fix_report(p->f, task, "STOPPED", "");
    place_settle(p);
    expect_everywhere(p, 4);
    fix_ok(p->f, "DeregisterContainerInstance", "{'containerInstance':'%s','force':true}",
           p->hosts[3]);
    place_settle(p);
    expect_everywhere(p, 3);
    fix_ok(p->f, "DeleteService", "{'service':'s','force':true}");
    place_settle(p);
    assert_int_equal(place_count(p, -1), 0);
    place_free(p);
}

static void no_host_at_all(FL_UNUSED void **state)
{
    struct place *p = on_hosts(0, "");
    expect_everywhere(p, 0);
    place_add_host(p, "a", 1000);
    place_settle(p);
    expect_everywhere(p, 1);
    place_free(p);
}

/* A host comes that has room for one task, and another service waits for it. */
static void daemons_come_first(FL_UNUSED void **state)
{
    struct place *p = on_hosts(0, "");
    fix_ok(p->f, "CreateService", "{'serviceName':'a','taskDefinition':'web','desiredCount':1}");
    fix_schedule(p->f);
    place_add_host(p, "a", 150);
    place_settle(p);
    expect_everywhere(p, 1);
    place_free(p);
}

static void by_its_attributes(FL_UNUSED void **state)
{
    struct place *p = on_hosts(3, ",'placementConstraints':[{'type':'memberOf',"
                                  "'expression':'attribute:role == edge'}]");
    assert_int_equal(place_count(p, -1), 0);
    fix_ok(p->f, "PutAttributes",
           "{'attributes':[{'name':'role','value':'edge','targetType':'container-instance',"
           "'targetId':'%s'}]}",
           p->hosts[1]);
    place_settle(p);
    assert_int_equal(place_count(p, 1), 1);
    assert_int_equal(place_service(p, "desiredCount"), 1);
    assert_true(place_is_steady(p));
    fix_ok(p->f, "PutAttributes",
           "{'attributes':[{'name':'role','value':'core','targetType':'container-instance',"
           "'targetId':'%s'}]}",
           p->hosts[1]);
    place_settle(p);
    assert_int_equal(place_count(p, -1), 0);
    assert_int_equal(place_service(p, "desiredCount"), 0);
    assert_int_equal(place_events(p, "no longer satisfies the placement constraints"), 1);
    assert_true(place_is_steady(p));
    place_free(p);
}

/* The daemon leaves a drained host after the other services' tasks. */
static void last_on_a_drained_host(FL_UNUSED void **state)
{
    struct place *p = on_hosts(2, "");
    fix_ok(p->f, "CreateService",
           "{'serviceName':'web','taskDefinition':'web','desiredCount':2,"
           "'availabilityZoneRebalancing':'DISABLED'}");
    place_settle(p);
    assert_int_equal(place_count(p, 0), 2);
    place_drain(p, 0, "DRAINING");
    fix_schedule(p->f);
    assert_int_equal(place_count(p, 0), 2);
    assert_int_equal(place_count(p, 1), 3);
    place_obey(p);
    p->f->now_ms += FL_CORE_STRICT_SETTLE_MS;
    fix_schedule(p->f);
    assert_int_equal(place_count(p, 0), 1);
    place_obey(p);
    assert_int_equal(place_count(p, 0), 0);
    place_settle(p);
    assert_int_equal(place_service(p, "desiredCount"), 1);
    assert_true(place_is_steady(p));
    place_drain(p, 0, "ACTIVE");
    place_settle(p);
    assert_int_equal(place_count(p, 0), 1);
    assert_int_equal(place_service(p, "desiredCount"), 2);
    assert_true(place_is_steady(p));
    place_free(p);
}

/* At no time do fewer run or are more there than the bounds allow. */
static void roll(struct place *p, int hosts, size_t least, int64_t most)
{
    fix_ok(p->f, "UpdateService", "{'service':'s','forceNewDeployment':true}");
    for (int round = 0; round < 60; round++) {
        fix_schedule(p->f);
        assert_true(place_running(p) >= least);
        assert_true(place_all(p) <= most);
        place_obey(p);
        p->f->now_ms += 10 * 1000;
    }
    expect_everywhere(p, hosts);
    assert_int_equal(place_events(p, "deployment completed"), 2);
}

static void it_rolls_all_at_once(FL_UNUSED void **state)
{
    struct place *p = on_hosts(4, "");
    roll(p, 4, 0, 4);
    place_free(p);
}

static void it_rolls_one_by_one(FL_UNUSED void **state)
{
    struct place *p = on_hosts(4, ",'deploymentConfiguration':{'minimumHealthyPercent':75}");
    roll(p, 4, 3, 4);
    place_free(p);
}

/* Its port is taken by the one that it is to replace. */
static void it_rolls_with_a_port(FL_UNUSED void **state)
{
    struct place *p = place_new();
    fix_ok(p->f, "RegisterTaskDefinition",
           "{'family':'port','containerDefinitions':[{'name':'app','image':'busybox:1','cpu':10,"
           "'memory':10,'portMappings':[{'containerPort':80,'hostPort':80}]}]}");
    for (int i = 0; i < 2; i++)
        place_add_host(p, "a", 1000);
    fix_ok(p->f, "CreateService",
           "{'serviceName':'s','taskDefinition':'port','schedulingStrategy':'DAEMON',"
           "'deploymentConfiguration':{'minimumHealthyPercent':50}}");
    place_settle(p);
    roll(p, 2, 1, 2);
    place_free(p);
}

/* One of one must stay healthy, and one is all that there may be. */
static void it_cannot_roll(FL_UNUSED void **state)
{
    struct place *p = on_hosts(1, ",'deploymentConfiguration':{'minimumHealthyPercent':50}");
    fix_ok(p->f, "UpdateService", "{'service':'s','forceNewDeployment':true}");
    place_settle(p);
    assert_int_equal(place_count(p, -1), 1);
    assert_int_equal(place_events(p, "was unable to stop or start tasks during a deployment"), 1);
    place_add_host(p, "b", 1000);
    place_settle(p);
    expect_everywhere(p, 2);
    place_free(p);
}

/* What fails its health checks goes first; then comes another one. */
static void an_unhealthy_one(FL_UNUSED void **state)
{
    struct place *p = place_new();
    char task[200], next[200];
    fix_register(p->f, "checked", 10, 10, ",'healthCheck':{'command':['CMD','true']}");
    place_add_host(p, "a", 1000);
    fix_ok(p->f, "CreateService",
           "{'serviceName':'s','taskDefinition':'checked','schedulingStrategy':'DAEMON'}");
    place_settle(p);
    place_first(p, 0, task);
    fix_report(p->f, task, "RUNNING",
               ",'containers':[{'containerName':'app','status':'RUNNING',"
               "'healthStatus':'UNHEALTHY'}]");
    place_settle(p);
    place_first(p, 0, next);
    assert_string_not_equal(task, next);
    assert_int_equal(place_count(p, -1), 1);
    assert_int_equal(place_events(p, "failed container health checks."), 1);
    place_free(p);
}

/* A host that does not have the room: it counts, and it is said why. */
static void no_room_on_a_host(FL_UNUSED void **state)
{
    struct place *p = on_hosts(1, "");
    place_add_host(p, "a", 50);
    place_settle(p);
    assert_int_equal(place_service(p, "desiredCount"), 2);
    assert_int_equal(place_service(p, "runningCount"), 1);
    assert_int_equal(place_events(p, "has insufficient CPU units available"), 1);
    place_free(p);
}

/* What runs on a lost host is that host's; neither deployments nor the end wait for it. */
static void a_host_is_lost(FL_UNUSED void **state)
{
    struct place *p = on_hosts(3, "");
    char before[200], after[200];
    place_first(p, 2, before);
    place_away(p, 2);
    place_settle(p);
    expect_everywhere(p, 3);
    place_back(p, 2);
    place_settle(p);
    place_first(p, 2, after);
    assert_string_equal(before, after);
    place_away(p, 2);
    place_settle(p);
    fix_ok(p->f, "UpdateService", "{'service':'s','forceNewDeployment':true}");
    place_settle(p);
    assert_int_equal(place_service(p, "desiredCount"), 2);
    assert_true(place_is_steady(p));
    place_restart(p);
    place_back(p, 2);
    place_settle(p);
    expect_everywhere(p, 3);
    place_first(p, 2, after);
    assert_string_not_equal(before, after);
    place_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_on_every_host),      cmocka_unit_test(no_host_at_all),
        cmocka_unit_test(daemons_come_first),     cmocka_unit_test(by_its_attributes),
        cmocka_unit_test(last_on_a_drained_host), cmocka_unit_test(it_rolls_all_at_once),
        cmocka_unit_test(it_rolls_one_by_one),    cmocka_unit_test(it_rolls_with_a_port),
        cmocka_unit_test(it_cannot_roll),         cmocka_unit_test(an_unhealthy_one),
        cmocka_unit_test(no_room_on_a_host),      cmocka_unit_test(a_host_is_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
