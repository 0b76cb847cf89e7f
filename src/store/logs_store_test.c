/* The logs store: what jobs write they and later jobs see, events come in order of time and
 * insertion within any bounds and both ways, offsets and counters are kept, a full disk undoes the
 * whole transaction and the store goes on. Method: jobs that are C functions, on a file in a
 * temporary directory; the full disk is SQLite's own page limit. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/fs.h"
#include "base/id.h"
#include "store/logs_db.h"

struct fixture {
    uv_loop_t loop;
    struct fl_logs_store *store;
    struct fl_arena *arena;
    char dir[64];
    char path[80];
};

struct test_job {
    struct fl_logs_job job;
    void (*body)(struct fl_logs_db *db, struct test_job *test);
    struct fixture *f;
    int done;
    bool stored;
    char text[1024];
    size_t n;
};

static void open_store(struct fixture *f)
{
    struct fl_err err = {0};
    if (fl_logs_store_open(f->path, &f->loop, &f->store, &err) != 0)
        fail_msg("%s", err.text);
}

static void close_store(struct fixture *f)
{
    fl_logs_store_close(f->store);
    f->store = NULL;
    assert_int_equal(uv_run(&f->loop, UV_RUN_DEFAULT), 0);
}

static int setup(void **state)
{
    struct fixture *f = fl_calloc(1, sizeof(*f));
    (void)snprintf(f->dir, sizeof(f->dir), "/tmp/fl-logs-test-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    (void)snprintf(f->path, sizeof(f->path), "%s/logs.db", f->dir);
    assert_int_equal(uv_loop_init(&f->loop), 0);
    f->arena = fl_arena_new();
    open_store(f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    if (f->store)
        close_store(f);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    assert_int_equal(fl_fs_remove_tree(AT_FDCWD, f->dir), 0);
    fl_arena_free(f->arena);
    free(f);
    return 0;
}

static void run_body(struct fl_logs_job *job, struct fl_logs_db *db)
{
    struct test_job *test = FL_CONTAINER_OF(job, struct test_job, job);
    test->body(db, test);
}

static void note_done(struct fl_logs_job *job, bool stored)
{
    struct test_job *test = FL_CONTAINER_OF(job, struct test_job, job);
    test->done++;
    test->stored = stored;
}

static void submit(struct fixture *f, struct test_job *test,
                   void (*body)(struct fl_logs_db *db, struct test_job *test))
{
    *test = (struct test_job){.job = {.run = run_body, .done = note_done}, .body = body, .f = f};
    fl_logs_store_submit(f->store, &test->job);
}

/* Runs one body and returns what it wrote into text. */
static const char *run(struct fixture *f, struct test_job *test,
                       void (*body)(struct fl_logs_db *db, struct test_job *test))
{
    submit(f, test, body);
    (void)uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_int_equal(test->done, 1);
    assert_true(test->stored);
    return test->text;
}

static bool add_text(struct test_job *test, int64_t number, struct fl_str text)
{
    test->n += (size_t)snprintf(test->text + test->n, sizeof(test->text) - test->n, "%lld%.*s ",
                                (long long)number, FL_STR_ARG(text));
    return true;
}

static void add_named_group(struct fl_logs_db *db, const char *name,
                            struct fl_logs_group *ret_group)
{
    const struct fl_logs_group group = {.name = fl_str_of(name),
                                        .created_ms = 1000,
                                        .class = FL_STR("STANDARD"),
                                        .tags = FL_STR("{}")};
    fl_logs_add_group(db, &group, ret_group);
}

/* Group g with streams x and y; events of x and y mixed in time, two of them at one time. */
static void fill(struct fl_logs_db *db, struct test_job *test)
{
    struct fl_logs_event x[] = {
        {.time_ms = 10, .message = FL_STR("a")},
        {.time_ms = 30, .message = FL_STR("b")},
        {.time_ms = 20, .message = FL_STR("c")},
        {.time_ms = 20, .message = FL_STR("d")},
    };
    struct fl_logs_event y[] = {
        {.time_ms = 20, .message = FL_STR("e")},
        {.time_ms = 5, .message = FL_STR("f")},
    };
    struct fl_logs_group group;
    struct fl_logs_stream streams[2];
    assert_false(fl_logs_find_group(db, FL_STR("g"), test->f->arena, &group));
    add_named_group(db, "g", &group);
    fl_logs_add_stream(db, group.id, FL_STR("x"), 1001, &streams[0]);
    fl_logs_add_stream(db, group.id, FL_STR("y"), 1002, &streams[1]);
    streams[0].ship_offset = 4711;
    fl_logs_add_events(db, &streams[0], x, FL_ARRAY_SIZE(x), 2000);
    fl_logs_add_events(db, &streams[1], y, FL_ARRAY_SIZE(y), 2001);
}

static struct fl_logs_stream find(struct fl_logs_db *db, struct test_job *test, const char *stream)
{
    struct fl_logs_group group;
    struct fl_logs_stream found;
    FL_ASSERT(fl_logs_find_group(db, FL_STR("g"), test->f->arena, &group));
    FL_ASSERT(fl_logs_find_stream(db, group.id, fl_str_of(stream), test->f->arena, &found));
    return found;
}

static void read_events(struct fl_logs_db *db, struct test_job *test, struct fl_logs_query query)
{
    struct fl_logs_page page;
    query.max_events = query.max_bytes = SIZE_MAX / 4;
    fl_logs_read(db, &query, test->f->arena, &page);
    assert_false(page.more);
    for (size_t i = 0; i < page.count; i++)
        (void)add_text(test, page.events[i].time_ms, page.events[i].message);
}

static void scan_stream_up(struct fl_logs_db *db, struct test_job *test)
{
    read_events(db, test,
                (struct fl_logs_query){.stream_id = find(db, test, "x").id,
                                       .after = FL_LOGS_BEGINNING,
                                       .before = FL_LOGS_END});
}

static void scan_stream_down(struct fl_logs_db *db, struct test_job *test)
{
    read_events(db, test,
                (struct fl_logs_query){.stream_id = find(db, test, "x").id,
                                       .descending = true,
                                       .after = FL_LOGS_BEGINNING,
                                       .before = FL_LOGS_END});
}

/* The events of x have the sequence numbers 1 to 4. */
static void scan_stream_within(struct fl_logs_db *db, struct test_job *test)
{
    read_events(db, test,
                (struct fl_logs_query){
                    .stream_id = find(db, test, "x").id, .after = {20, 3}, .before = {30, 2}});
}

static void scan_group_up(struct fl_logs_db *db, struct test_job *test)
{
    read_events(db, test,
                (struct fl_logs_query){.group_id = find(db, test, "x").group_id,
                                       .after = {5, INT64_MAX},
                                       .before = FL_LOGS_END});
}

static void scan_group_down(struct fl_logs_db *db, struct test_job *test)
{
    read_events(db, test,
                (struct fl_logs_query){.group_id = find(db, test, "x").group_id,
                                       .descending = true,
                                       .after = FL_LOGS_BEGINNING,
                                       .before = {30, INT64_MIN}});
}

static void events_come_in_order_of_time_and_insertion(void **state)
{
    struct fixture *f = *state;
    struct test_job test;
    (void)run(f, &test, fill);
    assert_string_equal(run(f, &test, scan_stream_up), "10a 20c 20d 30b ");
    assert_string_equal(run(f, &test, scan_stream_down), "30b 20d 20c 10a ");
    assert_string_equal(run(f, &test, scan_stream_within), "20d ");
    assert_string_equal(run(f, &test, scan_group_up), "10a 20c 20d 20e 30b ");
    assert_string_equal(run(f, &test, scan_group_down), "20e 20d 20c 10a 5f ");
}

static void describe_stream(struct fl_logs_db *db, struct test_job *test)
{
    struct fl_logs_stream x = find(db, test, "x");
    (void)snprintf(test->text, sizeof(test->text), "%lld %lld %lld %lld %lld",
                   (long long)x.first_ms, (long long)x.last_ms, (long long)x.last_ingested_ms,
                   (long long)x.stored_bytes, (long long)x.ship_offset);
}

static void counters_and_offsets_survive_reopening(void **state)
{
    struct fixture *f = *state;
    struct test_job test;
    (void)run(f, &test, fill);
    close_store(f);
    open_store(f);
    assert_string_equal(run(f, &test, describe_stream), "10 30 2000 108 4711");
}

static bool add_group(void *context, const struct fl_logs_group *group)
{
    return add_text(context, 0, group->name);
}

static bool add_stream(void *context, const struct fl_logs_stream *stream)
{
    return add_text(context, stream->last_ms, stream->name);
}

static void list_groups(struct fl_logs_db *db, struct test_job *test)
{
    struct fl_logs_group group;
    add_named_group(db, "h", &group);
    add_named_group(db, "f", &group);
    fl_logs_scan_groups(db, FL_STR("g"), false, add_group, test);
    fl_logs_scan_groups(db, FL_STR("g"), true, add_group, test);
}

static void list_streams(struct fl_logs_db *db, struct test_job *test)
{
    struct fl_logs_stream_scan scan = {.group_id = find(db, test, "x").group_id};
    fl_logs_scan_streams(db, &scan, add_stream, test);
    scan.by_last_event = scan.descending = true;
    fl_logs_scan_streams(db, &scan, add_stream, test);
    scan.resume = true;
    scan.last_ms = 30;
    scan.name = FL_STR("x");
    fl_logs_scan_streams(db, &scan, add_stream, test);
}

static void groups_and_streams_are_listed_in_order(void **state)
{
    struct fixture *f = *state;
    struct test_job test;
    (void)run(f, &test, fill);
    assert_string_equal(run(f, &test, list_groups), "0g 0h 0h ");
    assert_string_equal(run(f, &test, list_streams), "30x 20y 30x 20y 20y ");
}

static void add_one_group(struct fl_logs_db *db, FL_UNUSED struct test_job *test)
{
    struct fl_logs_group group;
    add_named_group(db, "kept", &group);
}

static void fill_the_disk(struct fl_logs_db *db, FL_UNUSED struct test_job *test)
{
    struct fl_logs_group group;
    struct fl_logs_stream stream;
    char *text = fl_malloc(1 << 20);
    struct fl_logs_event event = {.message = {text, 1 << 20}};
    fl_random_bytes(text, 1 << 20);
    (void)fl_db_exec(&db->db, "PRAGMA max_page_count=64");
    add_named_group(db, "lost", &group);
    fl_logs_add_stream(db, group.id, FL_STR("s"), 1, &stream);
    fl_logs_add_events(db, &stream, &event, 1, 1);
    free(text);
}

static void list_all_groups(struct fl_logs_db *db, struct test_job *test)
{
    fl_logs_scan_groups(db, FL_STR(""), false, add_group, test);
}

static void a_full_disk_undoes_the_transaction_and_the_store_goes_on(void **state)
{
    struct fixture *f = *state;
    struct test_job test, after;
    (void)run(f, &test, add_one_group);
    submit(f, &test, fill_the_disk);
    (void)uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_false(test.stored);
    assert_string_equal(run(f, &after, list_all_groups), "0kept ");
}

static void a_second_opener_is_refused(void **state)
{
    struct fixture *f = *state;
    struct fl_logs_store *second = NULL;
    assert_int_equal(fl_logs_store_open(f->path, &f->loop, &second, NULL), -EBUSY);
    assert_null(second);
}

#define WITH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH(events_come_in_order_of_time_and_insertion),
        WITH(counters_and_offsets_survive_reopening),
        WITH(groups_and_streams_are_listed_in_order),
        WITH(a_full_disk_undoes_the_transaction_and_the_store_goes_on),
        WITH(a_second_opener_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
