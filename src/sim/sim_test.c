/* The simulator itself: many seeds hold every invariant, one seed always gives the same
 * history, and other seeds give others. Method: whole runs, small ones; a violation prints how to
 * repeat it with `fairlead sim`. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/util.h"
#include "sim/sim.h"

/* The build with sanitizers, some ten times slower, plays a few seeds of its own. */
#if defined(__SANITIZE_ADDRESS__)
enum { FIRST = 100000, SEEDS = 20 };
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
enum { FIRST = 100000, SEEDS = 20 };
#else
enum { FIRST = 1, SEEDS = 160 };
#endif
#else
enum { FIRST = 1, SEEDS = 160 };
#endif

enum { HOSTS = 6 };

static struct fl_sim_result play(uint64_t seed, enum fl_sim_mode mode)
{
    struct fl_sim_config config = {.seed = seed, .hosts = HOSTS, .mode = mode};
    struct fl_sim_result result;
    fl_sim_run(&config, &result);
    if (result.violations)
        print_message("# %s\n", result.text);
    return result;
}

static void nothing_wrong_is_ever_seen(FL_UNUSED void **state)
{
    for (uint64_t seed = FIRST; seed < FIRST + SEEDS; seed++) {
        struct fl_sim_result result = play(seed, FL_SIM_SAFETY);
        assert_int_equal(result.violations, 0);
    }
}

static void when_faults_stop_everything_comes_about(FL_UNUSED void **state)
{
    uint64_t placed = 0;
    for (uint64_t seed = FIRST + SEEDS; seed < FIRST + 2 * SEEDS; seed++) {
        struct fl_sim_result result = play(seed, FL_SIM_LIVENESS);
        assert_int_equal(result.violations, 0);
        placed += result.tasks;
    }
    assert_true(placed > (uint64_t)SEEDS * HOSTS); /* a cluster without tasks shows nothing */
}

static void a_seed_is_a_history(FL_UNUSED void **state)
{
    struct fl_sim_result first = play(7, FL_SIM_SAFETY), again = play(7, FL_SIM_SAFETY);
    struct fl_sim_result other = play(8, FL_SIM_SAFETY);
    assert_true(first.trace_hash == again.trace_hash);
    assert_true(first.events == again.events);
    assert_true(first.trace_hash != other.trace_hash);
}

/* What goes through the production's JSON and what does not make the same history. */
static void the_codecs_change_nothing(FL_UNUSED void **state)
{
    enum { RUNS = 4 };
    for (uint64_t seed = 1; seed <= RUNS; seed++) {
        struct fl_sim_config config = {.seed = seed, .hosts = HOSTS, .mode = FL_SIM_LIVENESS};
        struct fl_sim_result with, without;
        config.codecs = FL_SIM_CODECS_ALWAYS;
        fl_sim_run(&config, &with);
        config.codecs = FL_SIM_CODECS_NEVER;
        fl_sim_run(&config, &without);
        assert_int_equal(with.violations + without.violations, 0);
        assert_true(with.trace_hash == without.trace_hash);
    }
}

/* Many services at once, with faults: all of them are complete, and once more after an update. */
static void services_are_rolled(FL_UNUSED void **state)
{
    for (uint64_t seed = FIRST; seed < FIRST + 4; seed++) {
        struct fl_sim_config config = {
            .seed = seed, .hosts = 60, .services = 20, .tasks = 10, .mode = FL_SIM_LIVENESS};
        struct fl_sim_result result;
        fl_sim_run(&config, &result);
        if (result.violations)
            print_message("# %s\n", result.text);
        assert_int_equal(result.violations, 0);
        assert_true(result.created_ms > 0 && result.rolled_ms > 0 && result.faults_ms > 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_wrong_is_ever_seen),
        cmocka_unit_test(when_faults_stop_everything_comes_about),
        cmocka_unit_test(services_are_rolled),
        cmocka_unit_test(a_seed_is_a_history),
        cmocka_unit_test(the_codecs_change_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
