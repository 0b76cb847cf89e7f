/* Hosts that stay away for longer than the server was told to wait: their tasks of services are
 * replaced, and stopped there only when they were. */
#include "core/service_fixture.h"

enum { LOST_AFTER_MS = 120 * 1000 };

/* Three hosts with one task each. */
static struct place *three(const char *more)
{
    struct place *p = place_new();
    for (int i = 0; i < 3; i++)
        place_add_host(p, "a", 1000);
    place_create(p, more);
    for (int i = 0; i < 3; i++)
        assert_int_equal(place_count(p, i), 1);
    return p;
}

static void a_host_stays_away(FL_UNUSED void **state)
{
    struct place *p = three(",'desiredCount':3");
    place_away(p, 2);
    place_pass(p, LOST_AFTER_MS - 10 * 1000);
    assert_int_equal(place_count(p, -1), 3);
    place_pass(p, 10 * 1000);
    assert_int_equal(place_count(p, -1), 4);
    assert_int_equal(place_count(p, 2), 1);
    place_settle(p);
    assert_int_equal(place_count(p, -1), 3);
    assert_int_equal(place_count(p, 2), 0);
    assert_int_equal(place_service(p, "runningCount"), 3);
    assert_true(place_is_steady(p));
    place_restart(p);
    assert_true(place_is_steady(p));
    place_back(p, 2);
    assert_int_equal(fl_json_items(p->f->sent), 1);
    place_settle(p);
    assert_int_equal(place_count(p, -1), 3);
    assert_int_equal(place_count(p, 2), 0);
    place_free(p);
}

static void it_returns_in_time(FL_UNUSED void **state)
{
    struct place *p = three(",'desiredCount':3");
    place_away(p, 2);
    place_pass(p, LOST_AFTER_MS - 10 * 1000);
    place_back(p, 2);
    place_settle(p);
    for (int i = 0; i < 3; i++)
        assert_int_equal(place_count(p, i), 1);
    assert_int_equal(place_events(p, "has stopped"), 0);
    place_free(p);
}

/* No replacement has become healthy: it is not needed any more. */
static void it_returns_before_its_replacement_runs(FL_UNUSED void **state)
{
    struct place *p = three(",'desiredCount':3");
    place_away(p, 2);
    p->f->now_ms += LOST_AFTER_MS;
    fix_schedule(p->f);
    assert_int_equal(place_count(p, -1), 4);
    place_back(p, 2);
    place_settle(p);
    assert_int_equal(place_count(p, -1), 3);
    assert_int_equal(place_count(p, 2), 1);
    place_free(p);
}

/* There is room nowhere else. */
static void it_returns_before_there_was_room(FL_UNUSED void **state)
{
    struct place *p =
        three(",'desiredCount':3,'placementConstraints':[{'type':'distinctInstance'}]");
    place_away(p, 2);
    place_pass(p, 2 * LOST_AFTER_MS);
    assert_int_equal(place_count(p, -1), 3);
    place_back(p, 2);
    place_settle(p);
    assert_int_equal(place_count(p, 2), 1);
    assert_int_equal(place_events(p, "has stopped"), 0);
    place_free(p);
}

static void all_are_away(FL_UNUSED void **state)
{
    struct place *p = three(",'desiredCount':3");
    for (size_t i = 0; i < 3; i++)
        place_away(p, i);
    place_pass(p, 2 * LOST_AFTER_MS);
    assert_int_equal(place_count(p, -1), 3);
    for (size_t i = 0; i < 3; i++)
        place_back(p, i);
    place_settle(p);
    for (int i = 0; i < 3; i++)
        assert_int_equal(place_count(p, i), 1);
    assert_int_equal(place_events(p, "has stopped"), 0);
    place_free(p);
}

/* A server that has just begun has seen nobody go. */
static void a_restarted_server_waits(FL_UNUSED void **state)
{
    struct place *p = three(",'desiredCount':3");
    place_away(p, 2);
    place_pass(p, LOST_AFTER_MS - 10 * 1000);
    p->f->now_ms += 60 * 60 * 1000;
    place_restart(p);
    fix_schedule(p->f);
    place_pass(p, LOST_AFTER_MS - 10 * 1000);
    assert_int_equal(place_count(p, -1), 3);
    place_pass(p, 20 * 1000);
    assert_int_equal(place_count(p, -1), 4);
    place_free(p);
}

/* A deployment and a deletion do not wait for a host that never comes back. */
static void the_service_goes_on(FL_UNUSED void **state)
{
    struct place *p = three(",'desiredCount':3");
    place_away(p, 2);
    place_settle(p);
    fix_ok(p->f, "UpdateService", "{'service':'s','forceNewDeployment':true}");
    place_settle(p);
    assert_true(place_is_steady(p));
    place_away(p, 1);
    fix_ok(p->f, "UpdateService", "{'service':'s','forceNewDeployment':true}");
    place_settle(p);
    place_settle(p);
    assert_true(place_is_steady(p));
    place_away(p, 0);
    fix_ok(p->f, "DeleteService", "{'service':'s','force':true}");
    place_settle(p);
    fix_ok(p->f, "DescribeServices", "{'services':['s']}");
    assert_string_equal(fix_text(p->f, "services.0.status"), "INACTIVE");
    place_restart(p);
    p->f->now_ms += 2 * 60 * 60 * 1000;
    fix_schedule(p->f);
    for (size_t i = 0; i < 3; i++)
        place_back(p, i);
    place_settle(p);
    assert_int_equal(place_count(p, -1), 0);
    fix_ok(p->f, "DescribeClusters", "{}");
    assert_int_equal(fix_int(p->f, "clusters.0.runningTasksCount"), 0);
    place_free(p);
}

/* What it still runs is in the way of nobody, and is ended with its registration. */
static void the_lost_host_is_deregistered(FL_UNUSED void **state)
{
    struct place *p = three(",'desiredCount':3");
    place_away(p, 2);
    place_settle(p);
    fix_ok(p->f, "DescribeClusters", "{}");
    assert_int_equal(fix_int(p->f, "clusters.0.runningTasksCount"), 4);
    fix_ok(p->f, "DeregisterContainerInstance", "{'containerInstance':'%s','force':true}",
           p->hosts[2]);
    place_settle(p);
    fix_ok(p->f, "DescribeClusters", "{}");
    assert_int_equal(fix_int(p->f, "clusters.0.runningTasksCount"), 3);
    assert_true(place_is_steady(p));
    place_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_host_stays_away),
        cmocka_unit_test(it_returns_in_time),
        cmocka_unit_test(it_returns_before_its_replacement_runs),
        cmocka_unit_test(it_returns_before_there_was_room),
        cmocka_unit_test(all_are_away),
        cmocka_unit_test(a_restarted_server_waits),
        cmocka_unit_test(the_service_goes_on),
        cmocka_unit_test(the_lost_host_is_deregistered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
