/* Events in blocks: whatever was added, packed, aged and removed in whatever order, pages give back
 * exactly what a plain list would. Method: random histories (their seed is said when they fail)
 * beside that list; a file in the last format; damage on purpose. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/fs.h"
#include "base/id.h"
#include "store/logs_db.h"

enum { STREAMS = 4, MAX_EVENTS = 6000, DAY_MS = 24 * 60 * 60 * 1000 };

struct fixture {
    uv_loop_t loop;
    struct fl_logs_store *store;
    struct fl_arena *arena;
    char dir[64];
    char path[80];
};

struct test_job {
    struct fl_logs_job job;
    void (*body)(struct fl_logs_db *db, struct fixture *f, void *context);
    struct fixture *f;
    void *context;
    bool stored;
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
    test->body(db, test->f, test->context);
}

static void note_done(struct fl_logs_job *job, bool stored)
{
    FL_CONTAINER_OF(job, struct test_job, job)->stored = stored;
}

static void run(struct fixture *f, void (*body)(struct fl_logs_db *, struct fixture *, void *),
                void *context)
{
    struct test_job test = {
        .job = {.run = run_body, .done = note_done}, .body = body, .f = f, .context = context};
    fl_logs_store_submit(f->store, &test.job);
    (void)uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_true(test.stored);
}

static void add_group(struct fl_logs_db *db, const char *name, struct fl_logs_group *ret_group)
{
    const struct fl_logs_group group = {.name = fl_str_of(name),
                                        .created_ms = 1,
                                        .class = FL_STR("STANDARD"),
                                        .tags = FL_STR("{}")};
    fl_logs_add_group(db, &group, ret_group);
}

static struct fl_logs_group find_group(struct fl_logs_db *db, struct fixture *f, const char *name)
{
    struct fl_logs_group group;
    assert_true(fl_logs_find_group(db, fl_str_of(name), f->arena, &group));
    return group;
}

static struct fl_logs_stream find_stream(struct fl_logs_db *db, struct fixture *f, int number)
{
    struct fl_logs_stream stream;
    struct fl_logs_group group = find_group(db, f, "g");
    assert_true(fl_logs_find_stream(db, group.id, fl_str_printf(f->arena, "s%d", number), f->arena,
                                    &stream));
    return stream;
}

static void make_streams(struct fl_logs_db *db, struct fixture *f, FL_UNUSED void *context)
{
    struct fl_logs_group group;
    struct fl_logs_stream stream;
    add_group(db, "g", &group);
    for (int i = 0; i < STREAMS; i++)
        fl_logs_add_stream(db, group.id, fl_str_printf(f->arena, "s%d", i), 1, &stream);
}

/* ---- random histories ---- */

struct told {
    int64_t time_ms;
    int64_t number; /* in the message, too */
    int stream;
};

struct history {
    uint64_t seed;
    int64_t now_ms;
    struct told events[MAX_EVENTS];
    size_t count;
};

static uint64_t draw(struct history *history, uint64_t below)
{
    history->seed = history->seed * 6364136223846793005u + 1442695040888963407u;
    return (history->seed >> 33) % below;
}

/* Mostly a trickle in order; now and then a large batch, long lines, a clock that jumps. */
static void add_some(struct fl_logs_db *db, struct fixture *f, void *context)
{
    static char line[3000];
    struct history *history = context;
    struct fl_logs_event events[600];
    int number = (int)draw(history, STREAMS);
    size_t count = 1 + (draw(history, 8) ? draw(history, 5) : draw(history, 600));
    struct fl_logs_stream stream = find_stream(db, f, number);
    int64_t jump_ms = draw(history, 6) ? 0 : (int64_t)draw(history, 3 * DAY_MS) - DAY_MS;
    count = FL_MIN(count, MAX_EVENTS - history->count);
    memset(line, 'x', sizeof(line));
    history->now_ms += (int64_t)draw(history, 5000);
    for (size_t i = 0; i < count; i++) {
        struct told *told = &history->events[history->count];
        *told = (struct told){.time_ms =
                                  FL_MAX(history->now_ms + jump_ms + (int64_t)draw(history, 9), 0),
                              .number = (int64_t)history->count,
                              .stream = number};
        events[i].time_ms = told->time_ms;
        events[i].message = fl_str_printf(f->arena, "%lld %.*s", (long long)told->number,
                                          (int)(draw(history, 4) ? 10 : draw(history, 3000)), line);
        history->count++;
    }
    fl_logs_add_events(db, &stream, events, count, history->now_ms);
}

static void pack_everything(struct fl_logs_db *db, FL_UNUSED struct fixture *f, void *context)
{
    const struct history *history = context;
    struct fl_logs_upkeep upkeep = {.now_ms = history->now_ms + 3600 * 1000};
    do
        fl_logs_keep_up(db, &upkeep);
    while (upkeep.more);
}

static int compare_told(const void *a, const void *b)
{
    const struct told *left = a, *right = b;
    if (left->time_ms != right->time_ms)
        return left->time_ms < right->time_ms ? -1 : 1;
    return left->number < right->number ? -1 : left->number > right->number;
}

struct question {
    struct history *history;
    struct fl_logs_query query;
    int stream; /* -1: all */
    bool even;  /* only events with an even number */
};

/* The number that a message begins with. */
static int64_t told_number(struct fl_str message)
{
    int64_t number = -1;
    struct fl_str first = FL_STR("");
    (void)fl_str_split(&message, ' ', &first);
    (void)fl_str_to_i64(first, &number);
    return number;
}

static bool is_even(FL_UNUSED void *context, const struct fl_logs_event *event)
{
    return told_number(event->message) % 2 == 0;
}

static bool is_told(const struct question *question, const struct told *told)
{
    return (question->stream < 0 || told->stream == question->stream) &&
           (!question->even || told->number % 2 == 0) &&
           told->time_ms > question->query.after.time_ms &&
           told->time_ms < question->query.before.time_ms;
}

/* Page after page, each as the one before says, beside the list. */
static void ask(struct fl_logs_db *db, struct fixture *f, void *context)
{
    struct question *question = context;
    struct history *history = question->history;
    FL_CLEANUP_FREE struct told *expected = fl_calloc(history->count + 1, sizeof(*expected));
    size_t count = 0, seen = 0;
    struct fl_logs_page page;
    if (question->stream >= 0)
        question->query.stream_id = find_stream(db, f, question->stream).id;
    question->query.group_id = find_group(db, f, "g").id;
    for (size_t i = 0; i < history->count; i++)
        if (is_told(question, &history->events[i]))
            expected[count++] = history->events[i];
    qsort(expected, count, sizeof(*expected), compare_told);
    do {
        fl_logs_read(db, &question->query, f->arena, &page);
        assert_true(page.count <= question->query.max_events);
        assert_true(page.count > 0 || !page.more);
        for (size_t i = 0; i < page.count; i++, seen++) {
            assert_true(seen < count);
            const struct told *told =
                &expected[question->query.descending ? count - 1 - seen : seen];
            assert_int_equal(told_number(page.events[i].message), told->number);
            assert_int_equal(page.events[i].time_ms, told->time_ms);
        }
        if (question->query.descending)
            question->query.before = page.last;
        else
            question->query.after = page.last;
    } while (page.more);
    assert_int_equal(seen, count);
}

static void ask_something(struct fixture *f, struct history *history)
{
    struct question question = {
        .history = history,
        .stream = (int)draw(history, STREAMS + 1) - 1,
        .even = draw(history, 2),
        .query = {.descending = draw(history, 2),
                  .after = {draw(history, 2) ? -1
                                             : (int64_t)draw(history, (uint64_t)history->now_ms),
                            INT64_MAX},
                  .before = {draw(history, 2) ? INT64_MAX
                                              : (int64_t)draw(history, (uint64_t)history->now_ms),
                             INT64_MIN},
                  .max_events = 1 + draw(history, draw(history, 2) ? 50 : 5000),
                  .max_bytes = draw(history, 3) ? 1 << 20 : 5000},
    };
    if (question.even)
        question.query.wanted = is_even;
    run(f, ask, &question);
}

static void pages_give_back_what_was_added(void **state)
{
    struct fixture *f = *state;
    FL_CLEANUP_FREE struct history *history = fl_calloc(1, sizeof(*history));
    fl_random_bytes(&history->seed, sizeof(history->seed));
    print_message("seed %llu\n", (unsigned long long)history->seed);
    history->now_ms = 10LL * DAY_MS;
    open_store(f);
    run(f, make_streams, NULL);
    for (int turn = 0; turn < 300; turn++) {
        run(f, add_some, history);
        if (draw(history, 25) == 0)
            run(f, pack_everything, history);
        if (draw(history, 4) == 0)
            ask_something(f, history);
        if (draw(history, 60) == 0) {
            close_store(f);
            open_store(f);
        }
    }
    run(f, pack_everything, history);
    for (int i = 0; i < 30; i++)
        ask_something(f, history);
}

/* ---- work ---- */

enum { MANY_STREAMS = 100, MANY_BLOCKS = 250 };

static void fill_many_streams(struct fl_logs_db *db, struct fixture *f, FL_UNUSED void *context)
{
    struct fl_logs_group group = find_group(db, f, "g");
    for (int i = 0; i < MANY_STREAMS; i++) {
        struct fl_logs_stream stream;
        fl_logs_add_stream(db, group.id, fl_str_printf(f->arena, "many%d", i), 1, &stream);
        for (int j = 0; j < MANY_BLOCKS; j++) {
            struct fl_logs_event event = {.time_ms = j, .message = FL_STR("x")};
            fl_logs_add_events(db, &stream, &event, 1, 1);
        }
    }
}

static bool is_many_7(FL_UNUSED void *context, struct fl_str stream_name)
{
    return fl_str_is(stream_name, "many7");
}

static void read_one_of_many(struct fl_logs_db *db, struct fixture *f, void *context)
{
    struct fl_logs_query query = {.group_id = find_group(db, f, "g").id,
                                  .descending = *(bool *)context,
                                  .after = FL_LOGS_BEGINNING,
                                  .before = FL_LOGS_END,
                                  .max_events = 1000,
                                  .max_bytes = 1 << 20,
                                  .sought = is_many_7};
    struct fl_logs_page page;
    size_t pages = 0, count = 0;
    do {
        fl_logs_read(db, &query, f->arena, &page);
        for (size_t i = 0; i < page.count; i++, count++)
            assert_int_equal(page.events[i].time_ms,
                             query.descending ? MANY_BLOCKS - 1 - (int)count : (int)count);
        if (query.descending)
            query.before = page.last;
        else
            query.after = page.last;
        pages++;
    } while (page.more);
    assert_int_equal(count, MANY_BLOCKS);
    assert_true(pages > 1);
}

static void looking_through_many_blocks_takes_several_pages(void **state)
{
    struct fixture *f = *state;
    bool up = false, down = true;
    open_store(f);
    run(f, make_streams, NULL);
    run(f, fill_many_streams, NULL);
    run(f, read_one_of_many, &up);
    run(f, read_one_of_many, &down);
}

/* ---- upkeep ---- */

struct counts {
    int64_t blocks, streams, groups, plain;
};

static int64_t number_of(struct fl_logs_db *db, const char *sql)
{
    int64_t number = -1;
    assert_int_equal(fl_db_number(&db->db, sql, &number, NULL), 0);
    return number;
}

static void count_rows(struct fl_logs_db *db, FL_UNUSED struct fixture *f, void *context)
{
    *(struct counts *)context =
        (struct counts){number_of(db, "SELECT count(*) FROM log_block"),
                        number_of(db, "SELECT count(*) FROM log_stream"),
                        number_of(db, "SELECT count(*) FROM log_group"),
                        number_of(db, "SELECT count(*) FROM log_block WHERE loose = 2")};
}

static struct counts counts_of(struct fixture *f)
{
    struct counts counts;
    run(f, count_rows, &counts);
    return counts;
}

/* Ten events a day, in every stream, for ten days. */
static void fill_ten_days(struct fl_logs_db *db, struct fixture *f, FL_UNUSED void *context)
{
    for (int i = 0; i < STREAMS * 100; i++) {
        struct fl_logs_stream stream = find_stream(db, f, i % STREAMS);
        struct fl_logs_event event = {.time_ms = (int64_t)(i / STREAMS) * DAY_MS / 10,
                                      .message = FL_STR("0123456789")};
        fl_logs_add_events(db, &stream, &event, 1, event.time_ms);
    }
}

static void small_blocks_of_quiet_streams_are_packed(void **state)
{
    struct fixture *f = *state;
    struct history history = {.now_ms = 10LL * DAY_MS};
    open_store(f);
    run(f, make_streams, NULL);
    run(f, fill_ten_days, NULL);
    assert_int_equal(counts_of(f).plain, STREAMS * 100);
    run(f, pack_everything, &history);
    assert_int_equal(counts_of(f).plain, 0);
    assert_in_range(counts_of(f).blocks, STREAMS * 10, STREAMS * 11);
}

static void keep_three_days(struct fl_logs_db *db, struct fixture *f, FL_UNUSED void *context)
{
    struct fl_logs_group group = find_group(db, f, "g");
    group.retention_days = 3;
    fl_logs_write_group(db, &group);
}

static void check_three_days(struct fl_logs_db *db, struct fixture *f, FL_UNUSED void *context)
{
    struct fl_logs_stream stream = find_stream(db, f, 1);
    assert_int_equal(stream.first_ms, 71LL * DAY_MS / 10);
    assert_int_equal(find_group(db, f, "g").stored_bytes, STREAMS * stream.stored_bytes);
    assert_int_equal(stream.stored_bytes, 29 * 36);
}

static void what_is_beyond_the_retention_is_deleted(void **state)
{
    struct fixture *f = *state;
    struct history history = {.now_ms = 10LL * DAY_MS};
    open_store(f);
    run(f, make_streams, NULL);
    run(f, fill_ten_days, NULL);
    run(f, keep_three_days, NULL);
    run(f, pack_everything, &history);
    run(f, check_three_days, NULL);
}

static void remove_one_stream(struct fl_logs_db *db, struct fixture *f, FL_UNUSED void *context)
{
    struct fl_logs_group group = find_group(db, f, "g");
    struct fl_logs_stream stream = find_stream(db, f, 0), again;
    fl_logs_remove_stream(db, &stream);
    assert_false(fl_logs_find_stream(db, group.id, FL_STR("s0"), f->arena, &again));
    assert_int_equal(find_group(db, f, "g").stored_bytes, (STREAMS - 1) * 100 * 36);
}

static void remove_the_group(struct fl_logs_db *db, struct fixture *f, FL_UNUSED void *context)
{
    struct fl_logs_group group = find_group(db, f, "g");
    fl_logs_remove_group(db, &group);
    add_group(db, "g", &group);
}

static void what_is_removed_makes_room(void **state)
{
    struct fixture *f = *state;
    struct history history = {.now_ms = 10LL * DAY_MS};
    open_store(f);
    run(f, make_streams, NULL);
    run(f, fill_ten_days, NULL);
    run(f, remove_one_stream, NULL);
    run(f, pack_everything, &history);
    assert_int_equal(counts_of(f).streams, STREAMS - 1);
    run(f, remove_the_group, NULL);
    run(f, pack_everything, &history);
    struct counts counts = counts_of(f);
    assert_int_equal(counts.blocks, 0);
    assert_int_equal(counts.streams, 0);
    assert_int_equal(counts.groups, 1);
}

/* Noise, which does not get smaller. */
static void fill_with_noise(struct fl_logs_db *db, struct fixture *f, void *context)
{
    struct history *history = context;
    struct fl_logs_stream stream = find_stream(db, f, 0);
    char *noise = fl_arena_alloc(f->arena, 200 * 1000);
    struct fl_logs_event event = {.time_ms = history->now_ms, .message = {noise, 200 * 1000}};
    fl_random_bytes(noise, 200 * 1000);
    history->now_ms += 1000;
    fl_logs_add_events(db, &stream, &event, 1, history->now_ms);
}

static void keep_two_mebibytes(struct fl_logs_db *db, FL_UNUSED struct fixture *f, void *context)
{
    const struct history *history = context;
    struct fl_logs_upkeep upkeep = {.now_ms = history->now_ms, .max_bytes = 2 << 20};
    int64_t evicted = 0;
    do {
        fl_logs_keep_up(db, &upkeep);
        evicted += upkeep.evicted_bytes;
    } while (upkeep.more);
    assert_true(evicted > 0);
    assert_true(upkeep.file_bytes <= 2 << 20);
}

static void the_newest_are_left(struct fl_logs_db *db, struct fixture *f, void *context)
{
    const struct history *history = context;
    struct fl_logs_stream stream = find_stream(db, f, 0);
    const struct fl_logs_query query = {.stream_id = stream.id,
                                        .after = FL_LOGS_BEGINNING,
                                        .before = FL_LOGS_END,
                                        .max_events = 1000,
                                        .max_bytes = 64 << 20};
    struct fl_logs_page page;
    fl_logs_read(db, &query, f->arena, &page);
    assert_true(page.count > 0 && page.count < 40);
    assert_int_equal(page.events[page.count - 1].time_ms, history->now_ms - 1000);
    assert_int_equal(stream.stored_bytes, page.count * (200 * 1000 + FL_LOGS_EVENT_OVERHEAD));
    assert_int_equal(stream.first_ms, page.events[0].time_ms);
}

static void the_oldest_go_when_the_file_is_too_large(void **state)
{
    struct fixture *f = *state;
    struct history history = {.now_ms = 1000};
    open_store(f);
    run(f, make_streams, NULL);
    for (int i = 0; i < 100; i++)
        run(f, fill_with_noise, &history);
    run(f, keep_two_mebibytes, &history);
    run(f, the_newest_are_left, &history);
}

static void size_of_file(struct fl_logs_db *db, FL_UNUSED struct fixture *f, void *context)
{
    *(int64_t *)context = number_of(db, "PRAGMA page_count") * number_of(db, "PRAGMA page_size");
}

static void room_goes_back_to_the_disk(void **state)
{
    struct fixture *f = *state;
    struct history history = {.now_ms = 1000};
    int64_t before, after;
    open_store(f);
    run(f, make_streams, NULL);
    for (int i = 0; i < 100; i++)
        run(f, fill_with_noise, &history);
    run(f, size_of_file, &before);
    run(f, remove_the_group, NULL);
    run(f, pack_everything, &history);
    run(f, size_of_file, &after);
    assert_true(before > 19 << 20);
    assert_true(after < 6 << 20);
}

/* ---- the last format, and damage ---- */

static const char last_format[] =
    "PRAGMA journal_mode=WAL; PRAGMA application_id=1179405383; PRAGMA user_version=1;"
    "CREATE TABLE log_group ("
    " id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, created_ms INTEGER NOT NULL,"
    " stored_bytes INTEGER NOT NULL DEFAULT 0);"
    "CREATE TABLE log_stream ("
    " id INTEGER PRIMARY KEY, group_id INTEGER NOT NULL, name TEXT NOT NULL,"
    " created_ms INTEGER NOT NULL, stored_bytes INTEGER NOT NULL DEFAULT 0,"
    " first_ms INTEGER NOT NULL DEFAULT -1, last_ms INTEGER NOT NULL DEFAULT -1,"
    " last_ingested_ms INTEGER NOT NULL DEFAULT -1,"
    " ship_offset INTEGER NOT NULL DEFAULT 0, UNIQUE (group_id, name));"
    "CREATE TABLE log_event ("
    " seq INTEGER PRIMARY KEY, group_id INTEGER NOT NULL, stream_id INTEGER NOT NULL,"
    " time_ms INTEGER NOT NULL, ingested_ms INTEGER NOT NULL, message TEXT NOT NULL);"
    "CREATE INDEX log_event_by_stream ON log_event (stream_id, time_ms);"
    "CREATE INDEX log_event_by_group ON log_event (group_id, time_ms);"
    "INSERT INTO log_group VALUES (1, 'g', 7, 99);"
    "INSERT INTO log_stream VALUES (1, 1, 's0', 8, 50, 0, 5999, 9, 4711),"
    " (2, 1, 's1', 8, 49, -1, -1, -1, 0);"
    "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 5999)"
    " INSERT INTO log_event SELECT i + 1, 1, 1, 5999 - i, 9, i || ' line' FROM n;";

static void make_last_format(struct fixture *f)
{
    sqlite3 *sqlite;
    assert_int_equal(sqlite3_open(f->path, &sqlite), SQLITE_OK);
    if (sqlite3_exec(sqlite, last_format, NULL, NULL, NULL) != SQLITE_OK)
        fail_msg("%s", sqlite3_errmsg(sqlite));
    assert_int_equal(sqlite3_close(sqlite), SQLITE_OK);
}

static void check_upgraded(struct fl_logs_db *db, struct fixture *f, FL_UNUSED void *context)
{
    struct fl_logs_stream stream = find_stream(db, f, 0);
    struct fl_logs_query query = {.stream_id = stream.id,
                                  .after = FL_LOGS_BEGINNING,
                                  .before = FL_LOGS_END,
                                  .max_events = 10000,
                                  .max_bytes = 1 << 20};
    struct fl_logs_page page;
    fl_logs_read(db, &query, f->arena, &page);
    assert_int_equal(page.count, 6000);
    for (int i = 0; i < 6000; i++) {
        assert_int_equal(page.events[i].time_ms, i);
        assert_int_equal(page.events[i].seq, 6000 - i);
        assert_int_equal(told_number(page.events[i].message), 5999 - i);
    }
    assert_int_equal(stream.ship_offset, 4711);
    assert_int_equal(stream.stored_bytes, 50);
    assert_int_equal(find_stream(db, f, 1).first_ms, -1);
    assert_int_equal(find_group(db, f, "g").stored_bytes, 99);
    assert_true(db->next_seq > 6000);
    assert_int_equal(number_of(db, "PRAGMA auto_vacuum"), 2);
    assert_int_equal(number_of(db, "PRAGMA user_version"), 2);
}

static void a_file_of_the_last_format_is_brought_up_to_date(void **state)
{
    struct fixture *f = *state;
    make_last_format(f);
    open_store(f);
    run(f, check_upgraded, NULL);
    close_store(f);
    open_store(f);
    run(f, check_upgraded, NULL);
}

static void damage_one(struct fl_logs_db *db, FL_UNUSED struct fixture *f, FL_UNUSED void *context)
{
    assert_int_equal(fl_db_exec(&db->db,
                                "UPDATE log_block SET data = substr(data, 1, 40) || x'00' || "
                                "substr(data, 42), codec = 1 WHERE id = 2"),
                     SQLITE_OK);
}

static void read_the_rest(struct fl_logs_db *db, struct fixture *f, FL_UNUSED void *context)
{
    const struct fl_logs_query query = {.group_id = find_group(db, f, "g").id,
                                        .after = FL_LOGS_BEGINNING,
                                        .before = FL_LOGS_END,
                                        .max_events = 1000,
                                        .max_bytes = 64 << 20};
    struct fl_logs_page page;
    fl_logs_read(db, &query, f->arena, &page);
    assert_int_equal(page.count, STREAMS * 100 - 1);
}

static void a_damaged_block_is_passed_over(void **state)
{
    struct fixture *f = *state;
    open_store(f);
    run(f, make_streams, NULL);
    run(f, fill_ten_days, NULL);
    run(f, damage_one, NULL);
    run(f, read_the_rest, NULL);
}

#define WITH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH(pages_give_back_what_was_added),
        WITH(looking_through_many_blocks_takes_several_pages),
        WITH(small_blocks_of_quiet_streams_are_packed),
        WITH(what_is_beyond_the_retention_is_deleted),
        WITH(what_is_removed_makes_room),
        WITH(the_oldest_go_when_the_file_is_too_large),
        WITH(room_goes_back_to_the_disk),
        WITH(a_file_of_the_last_format_is_brought_up_to_date),
        WITH(a_damaged_block_is_passed_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
