/* Request limits: a full bucket's burst, then the sustained rate; buckets that operations share;
 * what has no limit. Time is the test's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/util.h"
#include "server/throttle.h"
#include "shapes/ecs_shapes.h"

static int take(struct fl_throttle *throttle, int operation, int64_t now_ms)
{
    int taken = 0;
    while (taken < 1000 && fl_throttle_take(throttle, operation, now_ms))
        taken++;
    return taken;
}

static void a_bucket_empties_and_fills(FL_UNUSED void **state)
{
    struct fl_throttle *throttle = fl_throttle_new();
    assert_int_equal(take(throttle, ECS_OP_RunTask, 5000), 100);
    assert_int_equal(take(throttle, ECS_OP_RunTask, 5000), 0);
    assert_int_equal(take(throttle, ECS_OP_RunTask, 5024), 0);
    assert_int_equal(take(throttle, ECS_OP_RunTask, 5025), 1);
    assert_int_equal(take(throttle, ECS_OP_RunTask, 6025), 40);
    assert_int_equal(take(throttle, ECS_OP_RunTask, 9000000), 100);
    assert_int_equal(take(throttle, ECS_OP_RunTask, 8000000), 0); /* a clock that went back */
    assert_int_equal(take(throttle, ECS_OP_RunTask, INT64_MAX), 100);
    fl_throttle_free(throttle);
}

static void operations_share_buckets(FL_UNUSED void **state)
{
    struct fl_throttle *throttle = fl_throttle_new();
    assert_int_equal(take(throttle, ECS_OP_CreateCluster, 1), 20);
    assert_int_equal(take(throttle, ECS_OP_DeleteCluster, 1), 0);
    assert_int_equal(take(throttle, ECS_OP_DescribeClusters, 1), 50);
    assert_int_equal(take(throttle, ECS_OP_ListTasks, 1), 100);
    assert_int_equal(take(throttle, ECS_OP_DescribeTasks, 1), 0);
    assert_int_equal(take(throttle, ECS_OP_DeleteTaskDefinitions, 1), 5);
    fl_throttle_free(throttle);
}

static void others_are_not_limited(FL_UNUSED void **state)
{
    struct fl_throttle *throttle = fl_throttle_new();
    assert_int_equal(take(throttle, ECS_OP_DiscoverPollEndpoint, 1), 1000);
    fl_throttle_free(throttle);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_bucket_empties_and_fills),
        cmocka_unit_test(operations_share_buckets),
        cmocka_unit_test(others_are_not_limited),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
