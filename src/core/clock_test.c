/* Services when the clock is set back, and when very many of them wait for the same thing. */
#include "core/rollout_fixture.h"

enum { DAY_MS = 24 * 60 * 60 * 1000 };

/* The next event tells. */
static void set_back(struct fix *f)
{
    f->now_ms -= DAY_MS;
    fix_timer(f);
    fix_schedule(f);
}

/* What is waited for is waited for anew at most, not until the old time has come again. */
static void a_service_settles_all_the_same(FL_UNUSED void **state)
{
    struct fix *f = fix_ready();
    fix_ok(f, "CreateService", "{'serviceName':'s','taskDefinition':'web','desiredCount':2}");
    fix_schedule(f);
    fix_obey(f);
    f->now_ms += 1000;
    fix_schedule(f);
    assert_string_equal(fix_service(f, "services.0.deployments.0.rolloutState"), "IN_PROGRESS");
    set_back(f);
    f->now_ms += FL_CORE_STRICT_SETTLE_MS;
    fix_schedule(f);
    assert_string_equal(fix_service(f, "services.0.deployments.0.rolloutState"), "COMPLETED");
    fix_recover(f, false);
    fix_free(f);
}

/* How long the next start is away. */
static int64_t throttle_ms(struct fix *f)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    const struct fl_json *rec =
        fix_parse(fl_str_of(f->records[fix_find_record(f, "m/")].value), arena);
    const struct fl_json *at = fix_at(rec, "deployments.0.nextStartAt");
    assert_non_null(at);
    return (int64_t)(fl_json_number(at) * 1000 + 0.5) - f->now_ms;
}

static void what_fails_is_throttled_all_the_same(FL_UNUSED void **state)
{
    struct fix *f = fix_ready();
    fix_ok(f, "CreateService", "{'serviceName':'s','taskDefinition':'web','desiredCount':1}");
    fix_schedule(f);
    assert_int_equal(fix_fail(f, "Task failed"), 1);
    set_back(f);
    assert_int_equal(fix_fail(f, "Task failed"), 1);
    assert_in_range(throttle_ms(f), 1, 60 * 1000);
    assert_int_equal(fix_fail(f, "Task failed"), 0);
    fix_recover(f, false);
    fix_free(f);
}

/* A thousand services that wait for room do not all look at once, again and again, whenever a task
 * stops somewhere; and still each of them looks. */
static void who_waits_looks_in_turn(FL_UNUSED void **state)
{
    enum { WAITING = 1000, TURN_MS = WAITING / 5 };
    char arn[200];
    struct fix *f = fix_ready();
    fix_register(f, "big", 100, 5000, "");
    fix_ok(f, "RunTask", "{'taskDefinition':'web','count':2}");
    (void)snprintf(arn, sizeof(arn), "%s", fix_text(f, "tasks.0.taskArn"));
    for (int i = 0; i < WAITING; i++)
        fix_ok(f, "CreateService", "{'serviceName':'s%d','taskDefinition':'big','desiredCount':1}",
               i);
    fix_schedule(f);
    f->now_ms += TURN_MS;
    fix_ok(f, "StopTask", "{'task':'%s'}", arn);
    assert_true(fl_core_next_due(f->core) <= f->now_ms);
    fix_schedule(f);
    f->now_ms++;
    fix_report(f, arn, "STOPPED", "");
    assert_true(fl_core_next_due(f->core) > f->now_ms);
    f->now_ms += TURN_MS;
    assert_true(fl_core_next_due(f->core) <= f->now_ms);
    fix_schedule(f);
    fix_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_service_settles_all_the_same),
        cmocka_unit_test(what_fails_is_throttled_all_the_same),
        cmocka_unit_test(who_waits_looks_in_turn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
