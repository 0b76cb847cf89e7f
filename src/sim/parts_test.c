/* The queue and the disk, which everything else in the simulator stands on: events come out by time
 * and, at one time, in the order in which they went in; a disk keeps what was applied and nothing
 * that was lost. Method: random contents against the plain expectation. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/id.h"
#include "sim/disk.h"
#include "sim/queue.h"

static void events_come_in_order(FL_UNUSED void **state)
{
    enum { EVENTS = 5000, TIMES = 50 };
    struct sim_queue queue = {0};
    struct sim_event event, last = {.at_us = -1};
    struct fl_rand rand;
    fl_rand_seed(&rand, (const uint8_t[32]){1});
    assert_true(sim_queue_next(&queue) == INT64_MAX);
    for (uint64_t i = 0; i < EVENTS; i++)
        sim_queue_put(
            &queue, (struct sim_event){.at_us = (int64_t)fl_rand_below(&rand, TIMES), .number = i});
    for (int i = 0; i < EVENTS; i++) {
        assert_true(sim_queue_take(&queue, &event));
        assert_true(event.at_us > last.at_us ||
                    (event.at_us == last.at_us && event.number > last.number));
        last = event;
    }
    assert_false(sim_queue_take(&queue, &event));
    sim_queue_free(&queue);
}

static const char *value_of(const struct sim_disk *disk, const char *key)
{
    const struct sim_record *record = sim_disk_find(disk, fl_str_of(key));
    return record ? record->value->text.p : NULL;
}

static void a_disk_keeps_what_was_applied(FL_UNUSED void **state)
{
    struct sim_value *values[] = {sim_value_text(FL_STR("1")), sim_value_text(FL_STR("2")),
                                  sim_value_text(FL_STR("3"))};
    struct sim_write first[] = {{FL_STR("b"), values[0]}, {FL_STR("a"), values[1]}};
    struct sim_write second[] = {{FL_STR("b"), NULL}, {FL_STR("a"), values[2]}};
    struct sim_commit commits[] = {{.writes = first, .count = 2},
                                   {.writes = second, .count = 2},
                                   {.writes = first, .count = 2}};
    struct sim_disk disk;
    sim_disk_init(&disk);
    for (size_t i = 0; i < FL_ARRAY_SIZE(commits); i++)
        sim_disk_append(&disk, &commits[i]);
    assert_int_equal(disk.waiting_writes, 6);
    assert_null(value_of(&disk, "a"));
    assert_ptr_equal(sim_disk_apply(&disk), &commits[0]);
    const struct sim_record *at = sim_disk_next(&disk, NULL);
    assert_true(fl_str_is(at->key, "a"));
    assert_true(fl_str_is(sim_disk_next(&disk, at)->key, "b"));
    assert_ptr_equal(sim_disk_apply(&disk), &commits[1]);
    assert_int_equal(disk.waiting_writes, 2);
    assert_null(value_of(&disk, "b"));
    assert_memory_equal(value_of(&disk, "a"), "3", 1);
    assert_ptr_equal(sim_disk_lose(&disk), &commits[2]);
    assert_null(value_of(&disk, "b"));
    assert_null(sim_disk_lose(&disk));
    assert_null(sim_disk_apply(&disk));
    sim_disk_wipe(&disk);
    assert_null(sim_disk_next(&disk, NULL));
    for (size_t i = 0; i < FL_ARRAY_SIZE(values); i++) {
        assert_int_equal(values[i]->holders, 1);
        sim_value_release(values[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(events_come_in_order),
        cmocka_unit_test(a_disk_keeps_what_was_applied),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
