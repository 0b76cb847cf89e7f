/* Availability-zone rebalancing: tasks move to emptier zones, start first, and then there is quiet.
 */
#include "core/service_fixture.h"

#define ENABLED ",'availabilityZoneRebalancing':'ENABLED'"

/* All tasks in one zone, and then a host in another. */
static struct place *uneven(int tasks, const char *more)
{
    char text[1000];
    struct place *p = place_new();
    place_add_host(p, "a", 4000);
    (void)snprintf(text, sizeof(text), ",'desiredCount':%d%s", tasks, more);
    place_create(p, text);
    assert_int_equal(place_count(p, 0), tasks);
    place_add_host(p, "b", 4000);
    return p;
}

static void watch(struct place *p, int rounds, size_t least, int64_t most)
{
    for (int round = 0; round < rounds; round++) {
        fix_schedule(p->f);
        assert_true(place_running(p) >= least);
        assert_true(place_all(p) <= most);
        place_obey(p);
        p->f->now_ms += 10 * 1000;
    }
}

/* Looks are taken, and nothing is put. */
static void expect_quiet(struct place *p)
{
    for (int i = 0; i < 50; i++) {
        p->f->now_ms += 30 * 1000;
        fix_timer(p->f);
        assert_int_equal(p->f->records_put, 0);
    }
}

static void half_of_them_move(FL_UNUSED void **state)
{
    struct place *p = uneven(6, ENABLED);
    watch(p, 40, 6, 12);
    assert_int_equal(place_count(p, 0), 3);
    assert_int_equal(place_count(p, 1), 3);
    assert_true(place_is_steady(p));
    assert_int_equal(place_events(p,
                                  "(service s) is not AZ balanced with 6 tasks in eu-central-1a, "
                                  "0 tasks in eu-central-1b. AZ Rebalancing in progress."),
                     1);
    assert_int_equal(place_events(p, "has started 3 tasks in eu-central-1b to AZ Rebalance: (task"),
                     1);
    assert_int_equal(
        place_events(p,
                     "has stopped 3 running tasks in eu-central-1a due to AZ rebalancing: (task"),
        1);
    assert_int_equal(place_events(p, "is AZ balanced with 3 tasks in eu-central-1a, 3 tasks in "
                                     "eu-central-1b."),
                     1);
    expect_quiet(p);
    place_restart(p);
    place_settle(p);
    expect_quiet(p);
    place_free(p);
}

static void only_when_it_is_enabled(FL_UNUSED void **state)
{
    struct place *p = uneven(4, ",'availabilityZoneRebalancing':'DISABLED'");
    watch(p, 40, 4, 4);
    assert_int_equal(place_count(p, 1), 0);
    place_free(p);
}

/* One above the desired count is all that the ceiling allows. */
static void below_the_ceiling(FL_UNUSED void **state)
{
    struct place *p = uneven(
        4, ENABLED ",'deploymentConfiguration':{'minimumHealthyPercent':100,'maximumPercent':125}");
    watch(p, 60, 4, 5);
    assert_int_equal(place_count(p, 0), 2);
    assert_int_equal(place_count(p, 1), 2);
    expect_quiet(p);
    place_free(p);
}

static void many(FL_UNUSED void **state)
{
    struct place *p = uneven(30, ENABLED);
    place_add_host(p, "c", 4000);
    watch(p, 80, 30, 60);
    for (int i = 0; i < 3; i++)
        assert_int_equal(place_count(p, i), 10);
    expect_quiet(p);
    place_free(p);
}

/* The emptier zone has room for one. */
static void as_far_as_there_is_room(FL_UNUSED void **state)
{
    struct place *p = place_new();
    place_add_host(p, "a", 1000);
    place_create(p, ",'desiredCount':4" ENABLED);
    place_add_host(p, "b", 150);
    watch(p, 40, 4, 8);
    assert_int_equal(place_count(p, 0), 3);
    assert_int_equal(place_count(p, 1), 1);
    assert_int_equal(place_events(p, "is unable to place a task in eu-central-1b because no "
                                     "container instance met all of its requirements."),
                     1);
    p->f->now_ms += 20 * 60 * 1000;
    place_settle(p);
    expect_quiet(p);
    place_add_host(p, "b", 1000);
    place_settle(p);
    assert_int_equal(place_count(p, 0), 2);
    place_free(p);
}

/* Constraints keep it out of the other zone. */
static void not_where_it_must_not(FL_UNUSED void **state)
{
    struct place *p = uneven(4, ENABLED ",'placementConstraints':[{'type':'memberOf','expression':"
                                        "'attribute:ecs.availability-zone == eu-central-1a'}]");
    watch(p, 20, 4, 4);
    assert_int_equal(place_count(p, 0), 4);
    expect_quiet(p);
    place_free(p);
}

/* What is started dies: the old ones stay, and it is tried again only after a while. */
static void what_cannot_start(FL_UNUSED void **state)
{
    struct place *p = uneven(4, ENABLED);
    place_pass(p, 0);
    for (int round = 0; round < 30; round++) {
        FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
        p->f->now_ms += 10 * 1000;
        fix_schedule(p->f);
        const struct fl_json *arns = place_tasks(p, 1, "RUNNING", arena);
        for (size_t i = 0; i < fl_json_items(arns); i++)
            fix_report(p->f, fl_json_z(fl_json_item(arns, i)), "STOPPED",
                       ",'reason':'CannotStartContainerError: no'");
        assert_true(place_count(p, 0) == 4);
    }
    assert_int_equal(place_events(p, "to AZ Rebalance"), 1);
    p->f->now_ms += 20 * 60 * 1000;
    place_settle(p);
    assert_int_equal(place_count(p, 0), 2);
    assert_int_equal(place_count(p, 1), 2);
    place_free(p);
}

/* A deployment begins in the middle: nothing is left over. */
static void a_deployment_in_the_middle(FL_UNUSED void **state)
{
    struct place *p = uneven(4, ENABLED);
    p->f->now_ms += 60 * 1000;
    fix_schedule(p->f);
    assert_int_equal(place_count(p, -1), 6);
    fix_ok(p->f, "UpdateService", "{'service':'s','forceNewDeployment':true}");
    watch(p, 60, 4, 8);
    assert_int_equal(place_count(p, 0), 2);
    assert_int_equal(place_count(p, 1), 2);
    assert_true(place_is_steady(p));
    expect_quiet(p);
    place_free(p);
}

/* A zone goes, and comes back. */
static void a_zone_is_away(FL_UNUSED void **state)
{
    struct place *p = uneven(4, ENABLED);
    watch(p, 40, 4, 8);
    place_away(p, 1);
    place_pass(p, 10 * 60 * 1000);
    assert_int_equal(place_count(p, 0), 4);
    place_back(p, 1);
    place_pass(p, 10 * 60 * 1000);
    assert_int_equal(place_count(p, 0), 2);
    assert_int_equal(place_count(p, 1), 2);
    expect_quiet(p);
    place_free(p);
}

/* What is protected is not moved. */
static void protected_tasks_stay(FL_UNUSED void **state)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct place *p = uneven(4, "");
    const struct fl_json *arns = place_tasks(p, 0, "RUNNING", arena);
    for (size_t i = 0; i < 3; i++)
        fix_ok(p->f, "UpdateTaskProtection",
               "{'cluster':'default','tasks':['%s'],'protectionEnabled':true}",
               fl_json_z(fl_json_item(arns, i)));
    watch(p, 100, 4, 8);
    assert_int_equal(place_count(p, 0), 3);
    assert_int_equal(place_count(p, 1), 1);
    assert_int_equal(place_events(p, "to AZ Rebalance"), 1);
    p->f->now_ms += 121 * 60 * 1000;
    place_settle(p);
    assert_int_equal(place_count(p, 0), 2);
    place_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(half_of_them_move),       cmocka_unit_test(only_when_it_is_enabled),
        cmocka_unit_test(below_the_ceiling),       cmocka_unit_test(many),
        cmocka_unit_test(as_far_as_there_is_room), cmocka_unit_test(not_where_it_must_not),
        cmocka_unit_test(what_cannot_start),       cmocka_unit_test(a_deployment_in_the_middle),
        cmocka_unit_test(a_zone_is_away),          cmocka_unit_test(protected_tasks_stay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
