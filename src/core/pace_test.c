/* The pace of launches: a strict server launches at most 500 tasks of a service in any minute,
 * whatever they are launched for and however often it is restarted; another one as many as it can.
 */
#include "core/service_fixture.h"

enum { MINUTE_MS = 60 * 1000 };

/* So many instances, with room for six hundred tasks each, and a service. */
static struct fix *pace_new(bool is_strict, int instances, const char *service)
{
    char instance[64];
    fix_is_strict = is_strict;
    struct fix *f = fix_new();
    fix_ok(f, "CreateCluster", "{}");
    for (int i = 0; i < instances; i++)
        fix_add_instance(f, "default", 6000, 6000, "", instance);
    fix_register(f, "web", 10, 10, "");
    fix_ok(f, "CreateService", "{'serviceName':'s','taskDefinition':'web',%s}", service);
    fix_schedule(f);
    return f;
}

static void pace_end(struct fix *f)
{
    fix_recover(f, false);
    fix_free(f);
    fix_is_strict = false;
}

static int64_t pending(struct fix *f)
{
    fix_ok(f, "DescribeServices", "{'services':['s']}");
    return fix_int(f, "services.0.pendingCount");
}

static void after(struct fix *f, int64_t ms)
{
    f->now_ms += ms;
    fix_schedule(f);
}

static void no_minute_has_more_than_500(FL_UNUSED void **state)
{
    struct fix *f = pace_new(true, 3, "'desiredCount':200");
    assert_int_equal(pending(f), 200);
    f->now_ms += MINUTE_MS / 2;
    fix_ok(f, "UpdateService", "{'service':'s','desiredCount':1300}");
    fix_schedule(f);
    assert_int_equal(pending(f), 500);
    assert_int_equal(fl_core_next_due(f->core), f->now_ms + MINUTE_MS / 2);
    after(f, MINUTE_MS / 2 - 1);
    assert_int_equal(pending(f), 500);
    after(f, 1); /* the first 200 are a minute old */
    assert_int_equal(pending(f), 700);
    after(f, MINUTE_MS / 2);
    assert_int_equal(pending(f), 1000);
    after(f, MINUTE_MS);
    assert_int_equal(pending(f), 1300);
    pace_end(f);
}

/* Is a user told that it is the pace? */
static void explain_waits(struct fix *f, bool expected)
{
    struct fl_core_event event = {.kind = FL_CORE_EVENT_EXPLAIN, .service = FL_STR("s")};
    fix_step(f, &event);
    assert_int_equal(f->status, 200);
    const char *said = strstr(
        fix_text(f, "text"), "500 tasks were launched in the last minute: the next one is launched "
                             "in 1 seconds\n");
    assert_int_equal(said != NULL, expected);
}

static void a_restart_is_no_new_minute(FL_UNUSED void **state)
{
    struct fix *f = pace_new(true, 2, "'desiredCount':1000");
    assert_int_equal(pending(f), 500);
    fix_recover(f, true);
    after(f, MINUTE_MS - 1);
    assert_int_equal(pending(f), 500);
    fix_recover(f, true);
    explain_waits(f, true);
    after(f, 1);
    assert_int_equal(pending(f), 1000);
    pace_end(f);
}

/* A task that came up and ended is replaced at once, within the bound. */
static void who_ended_counts(FL_UNUSED void **state)
{
    struct fix *f = pace_new(true, 1, "'desiredCount':499");
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    fix_ok(f, "ListTasks", "{'maxResults':2}");
    const struct fl_json *arns = fix_copy(fix_at(f->reply, "taskArns"), arena);
    assert_int_equal(fl_json_items(arns), 2);
    for (size_t i = 0; i < 2; i++) {
        fix_report(f, fl_json_z(fl_json_item(arns, i)), "RUNNING", "");
        fix_report(f, fl_json_z(fl_json_item(arns, i)), "STOPPED", "");
    }
    fix_schedule(f);
    assert_int_equal(pending(f), 498);
    after(f, MINUTE_MS);
    assert_int_equal(pending(f), 499);
    pace_end(f);
}

/* The time that a clock had before it was set back is not waited for. */
static void a_clock_that_was_set_back_holds_nobody(FL_UNUSED void **state)
{
    struct fix *f = pace_new(true, 2, "'desiredCount':1000");
    assert_int_equal(pending(f), 500);
    f->now_ms -= 60 * MINUTE_MS;
    fix_ok(f, "UpdateService", "{'service':'s','desiredCount':900}");
    fix_schedule(f);
    assert_int_equal(pending(f), 900);
    pace_end(f);
}

static void a_name_that_is_used_again_begins_anew(FL_UNUSED void **state)
{
    struct fix *f = pace_new(true, 1, "'desiredCount':500");
    char instance[64];
    f->now_ms += 1;
    fix_ok(f, "DeleteService", "{'service':'s','force':true}");
    fix_ok(f, "ListContainerInstances", "{}");
    (void)snprintf(instance, sizeof(instance), "%s",
                   strrchr(fix_text(f, "containerInstanceArns.0"), '/') + 1);
    fix_ok(f, "DeregisterContainerInstance", "{'containerInstance':'%s','force':true}", instance);
    fix_add_instance(f, "default", 6000, 6000, "", instance);
    fix_schedule(f);
    fix_ok(f, "CreateService", "{'serviceName':'s','taskDefinition':'web','desiredCount':500}");
    fix_schedule(f);
    assert_int_equal(pending(f), 500);
    pace_end(f);
}

static void without_strict_there_is_no_bound(FL_UNUSED void **state)
{
    struct fix *f = pace_new(false, 2, "'desiredCount':1200");
    assert_int_equal(pending(f), 1200);
    explain_waits(f, false);
    pace_end(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_minute_has_more_than_500),
        cmocka_unit_test(a_restart_is_no_new_minute),
        cmocka_unit_test(who_ended_counts),
        cmocka_unit_test(a_clock_that_was_set_back_holds_nobody),
        cmocka_unit_test(a_name_that_is_used_again_begins_anew),
        cmocka_unit_test(without_strict_there_is_no_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
