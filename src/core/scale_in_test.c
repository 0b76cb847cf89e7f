/* Who goes when a service has too many tasks. */
#include "core/service_fixture.h"

static void scale(struct place *p, int count)
{
    fix_ok(p->f, "UpdateService", "{'service':'s','desiredCount':%d}", count);
    place_settle(p);
    assert_int_equal(place_count(p, -1), count);
}

static void zones_stay_balanced(FL_UNUSED void **state)
{
    struct place *p = place_new();
    place_add_host(p, "a", 1000);
    place_add_host(p, "a", 1000);
    place_add_host(p, "b", 1000);
    place_create(p, ",'desiredCount':8");
    assert_int_equal(place_count(p, 0), 2);
    assert_int_equal(place_count(p, 1), 2);
    assert_int_equal(place_count(p, 2), 4);
    for (int count = 7; count > 0; count--) {
        scale(p, count);
        size_t a = place_count(p, 0) + place_count(p, 1), b = place_count(p, 2);
        assert_true(a <= b + 1 && b <= a + 1);
        assert_true(place_count(p, 0) <= place_count(p, 1) + 1);
        assert_true(place_count(p, 1) <= place_count(p, 0) + 1);
    }
    place_free(p);
}

static void many_at_once(FL_UNUSED void **state)
{
    struct place *p = place_new();
    for (int i = 0; i < 6; i++)
        place_add_host(p, i < 3 ? "a" : i < 5 ? "b" : "c", 4000);
    place_create(p, ",'desiredCount':60");
    scale(p, 9);
    assert_int_equal(place_count(p, 0) + place_count(p, 1) + place_count(p, 2), 3);
    assert_int_equal(place_count(p, 3) + place_count(p, 4), 3);
    assert_int_equal(place_count(p, 5), 3);
    assert_int_equal(place_events(p, "has stopped 10 running tasks:"), 5);
    assert_int_equal(place_events(p, "has stopped 1 running tasks:"), 1);
    assert_true(place_is_steady(p));
    place_free(p);
}

/* What goes is on the instance that has the most room then, so that it becomes empty. */
static void packed_tasks_stay_together(FL_UNUSED void **state)
{
    struct place *p = place_new();
    place_add_host(p, "a", 1000);
    place_add_host(p, "b", 1000);
    place_create(p, ",'desiredCount':14,"
                    "'placementStrategy':[{'type':'binpack','field':'cpu'}]");
    size_t full = place_count(p, 0) == 10 ? 0 : 1;
    assert_int_equal(place_count(p, (int)full), 10);
    assert_int_equal(place_count(p, (int)(1 - full)), 4);
    scale(p, 10);
    assert_int_equal(place_count(p, (int)full), 10);
    place_free(p);
}

static void spread_over_an_attribute(FL_UNUSED void **state)
{
    struct place *p = place_new();
    for (int i = 0; i < 4; i++) {
        size_t at = place_add_host(p, "a", 1000);
        fix_ok(p->f, "PutAttributes",
               "{'attributes':[{'name':'rack','value':'%s','targetType':'container-instance',"
               "'targetId':'%s'}]}",
               i < 3 ? "r1" : "r2", p->hosts[at]);
    }
    place_create(p, ",'desiredCount':8,"
                    "'placementStrategy':[{'type':'spread','field':'attribute:rack'}]");
    assert_int_equal(place_count(p, 3), 4);
    scale(p, 4);
    assert_int_equal(place_count(p, 3), 2);
    place_free(p);
}

/* Who is not RUNNING yet goes before who is. */
static void the_unborn_go_first(FL_UNUSED void **state)
{
    struct place *p = place_new();
    char running[200];
    place_add_host(p, "a", 1000);
    place_create(p, ",'desiredCount':1");
    place_first(p, 0, running);
    fix_ok(p->f, "UpdateService", "{'service':'s','desiredCount':5}");
    fix_schedule(p->f);
    assert_int_equal(place_count(p, 0), 5);
    scale(p, 1);
    char left[200];
    place_first(p, 0, left);
    assert_string_equal(left, running);
    assert_int_equal(place_events(p, "(service s) stopped 4 pending tasks."), 1);
    assert_int_equal(place_events(p, "running tasks"), 0);
    place_free(p);
}

static void protect(struct place *p, const char *task, bool is_on)
{
    fix_ok(p->f, "UpdateTaskProtection",
           "{'cluster':'default','tasks':['%s'],'protectionEnabled':%s}", task,
           is_on ? "true" : "false");
    assert_int_equal(fix_size(p->f, "failures"), 0);
}

static void protected_tasks_stay(FL_UNUSED void **state)
{
    struct place *p = place_new();
    char task[200], left[200];
    place_add_host(p, "a", 1000);
    place_create(p, ",'desiredCount':3");
    place_first(p, 0, task);
    protect(p, task, true);
    scale(p, 1);
    place_first(p, 0, left);
    assert_string_equal(left, task);
    assert_int_equal(place_events(p, "was unable to scale in"), 0);
    fix_ok(p->f, "UpdateService", "{'service':'s','desiredCount':0}");
    place_settle(p);
    assert_int_equal(place_count(p, -1), 1);
    assert_int_equal(place_events(p, ") was unable to scale in. Reason: The number of protected "
                                     "tasks are more than the desired count of tasks."),
                     1);
    protect(p, task, false);
    place_settle(p);
    assert_int_equal(place_count(p, -1), 0);
    place_free(p);
}

/* A deployment leaves them until their time is over; a drain does not. */
static void protected_from_deployments(FL_UNUSED void **state)
{
    struct place *p = place_new();
    char task[200];
    place_add_host(p, "a", 1000);
    place_add_host(p, "a", 1000);
    place_create(p, ",'desiredCount':2");
    place_first(p, 0, task);
    protect(p, task, true);
    fix_ok(p->f, "UpdateService", "{'service':'s','forceNewDeployment':true}");
    place_settle(p);
    assert_int_equal(place_count(p, -1), 3);
    assert_int_equal(place_service(p, "deployments.1.runningCount"), 1);
    p->f->now_ms += 121 * 60 * 1000;
    place_settle(p);
    assert_int_equal(place_count(p, -1), 2);
    assert_true(place_is_steady(p));
    place_first(p, 0, task);
    protect(p, task, true);
    place_drain(p, 0, "DRAINING");
    place_settle(p);
    assert_int_equal(place_count(p, 0), 0);
    place_free(p);
}

/* A clock that was set back makes nobody's protection outlast what can be asked for. */
static void protected_for_two_days_at_most(FL_UNUSED void **state)
{
    enum { MINUTE_MS = 60 * 1000 };
    struct place *p = place_new();
    char task[200];
    place_add_host(p, "a", 1000);
    place_create(p, ",'desiredCount':1");
    place_first(p, 0, task);
    fix_ok(p->f, "UpdateTaskProtection",
           "{'cluster':'default','tasks':['%s'],'protectionEnabled':true,'expiresInMinutes':2880}",
           task);
    p->f->now_ms -= 365 * 24 * 60 * (int64_t)MINUTE_MS;
    fix_ok(p->f, "UpdateService", "{'service':'s','desiredCount':0}");
    place_settle(p);
    place_restart(p);
    p->f->now_ms += 2870 * (int64_t)MINUTE_MS;
    place_settle(p);
    assert_int_equal(place_count(p, -1), 1);
    p->f->now_ms += 10 * (int64_t)MINUTE_MS;
    place_settle(p);
    assert_int_equal(place_count(p, -1), 0);
    place_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(zones_stay_balanced),
        cmocka_unit_test(many_at_once),
        cmocka_unit_test(packed_tasks_stay_together),
        cmocka_unit_test(spread_over_an_attribute),
        cmocka_unit_test(the_unborn_go_first),
        cmocka_unit_test(protected_tasks_stay),
        cmocka_unit_test(protected_from_deployments),
        cmocka_unit_test(protected_for_two_days_at_most),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
