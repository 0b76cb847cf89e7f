/* What a service says when no instance takes its tasks, or its own bounds forbid every step: ECS's
 * sentences, and each of them once. */
#include "core/rollout_fixture.h"

#define UNPLACED                                                                                   \
    "(service s) was unable to place a task because no container instance met all of its "         \
    "requirements. "
#define GUIDE                                                                                      \
    " For more information, see the Troubleshooting section of the Amazon ECS Developer Guide."

static void nowhere(FL_UNUSED void **state)
{
    char instance[64];
    struct fix *f = fix_new();
    fix_ok(f, "CreateCluster", "{}");
    fix_register(f, "web", 100, 50, "");
    fix_ok(f, "CreateService", "{'serviceName':'s','taskDefinition':'web','desiredCount':2}");
    fix_schedule(f);
    assert_string_equal(fix_newest_event(f), UNPLACED
                        "Reason: No Container Instances were found in your cluster." GUIDE);
    fix_quiet(f);
    f->now_ms += 6 * 60 * 60 * 1000 - 1;
    fix_quiet(f);
    assert_int_equal(fix_said(f, "was unable to place"), 1);
    f->now_ms++;
    fix_quiet(f);
    assert_int_equal(fix_said(f, "was unable to place"), 2);
    fix_add_instance(f, "default", 1000, 1000, "", instance);
    fix_schedule(f);
    assert_int_equal(fix_service_int(f, "services.0.pendingCount"), 2);
    fix_free(f);
}

/* One instance, one task, and what is said of them. */
static void check_closest(int cpu, int memory, const char *definition, const char *more,
                          const char *words)
{
    char instance[64], expected[600];
    struct fix *f = fix_new();
    fix_ok(f, "CreateCluster", "{}");
    fix_add_instance(f, "default", cpu, memory, "", instance);
    fix_register(f, "web", 100, 100, definition);
    fix_ok(f, "CreateService", "{'serviceName':'s','taskDefinition':'web','desiredCount':2%s}",
           more);
    fix_schedule(f);
    (void)snprintf(expected, sizeof(expected),
                   UNPLACED "The closest matching (container-instance %s) %s." GUIDE, instance,
                   words);
    assert_string_equal(fix_newest_event(f), expected);
    assert_int_equal(fix_said(f, "was unable to place"), 1);
    fix_quiet(f);
    assert_int_equal(fix_said(f, "was unable to place"), 1);
    fix_free(f);
}

static void every_obstacle(FL_UNUSED void **state)
{
    check_closest(50, 1000, "", "", "has insufficient CPU units available");
    check_closest(1000, 50, "", "", "has insufficient memory available");
    check_closest(1000, 1000, ",'portMappings':[{'containerPort':80,'hostPort':80}]", "",
                  "is already using a port required by your task");
    check_closest(1000, 1000, ",'privileged':true", "",
                  "is missing an attribute required by your task");
    check_closest(1000, 1000, "",
                  ",'placementConstraints':[{'type':'memberOf','expression':"
                  "'attribute:rack == r9'}]",
                  "encountered error \"MemberOf placement constraint unsatisfied.\"");
    check_closest(1000, 1000, "", ",'placementConstraints':[{'type':'distinctInstance'}]",
                  "encountered error \"DistinctInstance placement constraint unsatisfied.\"");
}

/* Of several the one that is nearest to taking the task; an absent agent is farther than a full
 * instance. */
static void the_closest(FL_UNUSED void **state)
{
    char away[64], small[64], smaller[64], words[200];
    struct fix *f = fix_new();
    fix_ok(f, "CreateCluster", "{}");
    fix_add_instance(f, "default", 1000, 1000, "", away);
    fix_disconnect(f, "default", away, f->sessions[0].session);
    fix_register(f, "web", 100, 100, "");
    fix_ok(f, "CreateService", "{'serviceName':'s','taskDefinition':'web','desiredCount':1}");
    fix_schedule(f);
    (void)snprintf(words, sizeof(words),
                   "(container-instance %s) doesn't have the agent connected.", away);
    assert_int_equal(fix_said(f, words), 0); /* the server has just begun: it may come yet */
    f->now_ms += 60 * 1000;
    fix_schedule(f);
    assert_int_equal(fix_said(f, words), 1);
    f->now_ms += 61 * 1000;
    fix_add_instance(f, "default", 80, 1000, "", small);
    fix_add_instance(f, "default", 70, 1000, "", smaller);
    fix_schedule(f);
    f->now_ms += 61 * 1000;
    fix_quiet(f);
    (void)snprintf(words, sizeof(words), "(container-instance %s) has insufficient CPU", small);
    assert_int_equal(fix_said(f, words), 1);
    assert_int_equal(fix_said(f, "was unable to place"), 2);
    fix_quiet(f);
    /* Room comes, and the cause is gone; a new one is said again. */
    (void)fix_connect(f, "default", away);
    fix_schedule(f);
    assert_int_equal(fix_service_int(f, "services.0.pendingCount"), 1);
    fix_ok(f, "UpdateService", "{'service':'s','desiredCount':11}");
    fix_schedule(f);
    assert_int_equal(fix_service_int(f, "services.0.pendingCount"), 10);
    assert_int_equal(fix_said(f, "has insufficient CPU"), 2);
    assert_int_equal(fix_said(f, "was unable to place"), 3);
    fix_quiet(f);
    fix_free(f);
}

/* A task ends elsewhere, and who waits gets its place. */
static void room_is_used(FL_UNUSED void **state)
{
    struct fix *f = fix_ready();
    fix_register(f, "large", 900, 900, "");
    fix_ok(f, "RunTask", "{'taskDefinition':'large','count':2}");
    fix_ok(f, "CreateService", "{'serviceName':'s','taskDefinition':'large','desiredCount':1}");
    fix_quiet(f);
    assert_int_equal(fix_service_int(f, "services.0.pendingCount"), 0);
    (void)fix_report_all(f, "RUNNING", "PENDING", "RUNNING", "");
    (void)fix_report_all(f, "RUNNING", "RUNNING", "STOPPED", "");
    fix_schedule(f);
    assert_int_equal(fix_service_int(f, "services.0.pendingCount"), 1);
    fix_quiet(f);
    fix_free(f);
}

static void bounds_forbid_every_step(FL_UNUSED void **state)
{
    static const char words[] =
        "(service s) was unable to stop or start tasks during a deployment because of the service "
        "deployment configuration. Update the minimumHealthyPercent or maximumPercent value and "
        "try again.";
    struct fix *f = fix_ready();
    fix_ok(f, "CreateService",
           "{'serviceName':'s','taskDefinition':'web','desiredCount':2,'deploymentConfiguration':"
           "{'minimumHealthyPercent':100,'maximumPercent':125}}");
    fix_settle(f);
    assert_int_equal(fix_said(f, "was unable to stop or start tasks"), 0);
    fix_ok(f, "UpdateService", "{'service':'s','forceNewDeployment':true}");
    fix_schedule(f);
    assert_string_equal(fix_newest_event(f), words);
    fix_quiet(f);
    assert_int_equal(fix_said(f, "was unable to stop or start tasks"), 1);
    assert_int_equal(fix_service_int(f, "services.0.runningCount"), 2);
    fix_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nowhere),
        cmocka_unit_test(every_obstacle),
        cmocka_unit_test(the_closest),
        cmocka_unit_test(room_is_used),
        cmocka_unit_test(bounds_forbid_every_step),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
