/* The shipper against a server that stores as ShipLogs does, plays dead, loses answers, refuses,
 * or loses its data, while the spool grows and the agent restarts. Method: the server is this
 * file's fl_aws_call; all faults come from a seeded generator; in the end the stream must be
 * exactly the lines written. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "agent/log_shipper.h"
#include "agent/log_spool.h"
#include "base/fs.h"
#include "base/id.h"
#include "base/log.h"
#include "wire/json.h"

/* A call that the server has taken and not yet answered. */
struct pending {
    uv_timer_t timer;
    fl_http_done done;
    void *context;
    struct fl_http_response response;
    char text[256];
};

static struct server {
    uv_loop_t loop;
    struct fl_buf stored; /* messages, each followed by a newline */
    int64_t offset;
    bool has_group;
    unsigned calls;
    unsigned fault_percent;
    unsigned dead_calls; /* that many calls get no answer at all */
    struct fl_rand rand;
} server;

static void forget(uv_handle_t *handle)
{
    free(handle->data);
}

static void answer(uv_timer_t *timer)
{
    struct pending *pending = timer->data;
    pending->response.body = fl_str_of(pending->text);
    pending->done(pending->context, &pending->response);
    uv_close((uv_handle_t *)timer, forget);
}

static void store(const struct fl_json *request)
{
    const struct fl_json *events = fl_json_get(request, "events");
    for (size_t i = 0; i < fl_json_items(events); i++) {
        fl_buf_add_str(&server.stored,
                       fl_json_text(fl_json_get(fl_json_item(events, i), "message")));
        fl_buf_add_char(&server.stored, '\n');
    }
    server.offset = fl_json_int(fl_json_get(request, "nextOffset"));
}

static bool happens(unsigned percent)
{
    return fl_rand_below(&server.rand, 100) < percent;
}

static void serve(struct pending *pending, const struct fl_json *request)
{
    bool create = fl_json_is_true(fl_json_get(request, "createGroup"));
    if (server.dead_calls > 0 || happens(server.fault_percent / 2)) {
        server.dead_calls -= server.dead_calls > 0;
        (void)snprintf(pending->text, sizeof(pending->text), "connection refused");
        return;
    }
    if (!server.has_group && !create) {
        pending->response.status = 400;
        (void)snprintf(pending->text, sizeof(pending->text),
                       "{\"__type\":\"ResourceNotFoundException\",\"message\":\"no group\"}");
        return;
    }
    server.has_group = true;
    if (fl_json_int(fl_json_get(request, "offset")) == server.offset)
        store(request);
    if (happens(server.fault_percent)) {
        pending->response.status = happens(50) ? 503 : 0;
        (void)snprintf(pending->text, sizeof(pending->text), "the answer got lost");
        return;
    }
    pending->response.status = 200;
    (void)snprintf(pending->text, sizeof(pending->text), "{\"nextOffset\":%lld}",
                   (long long)server.offset);
}

void fl_aws_send(FL_UNUSED struct fl_aws_client *client, const struct fl_aws_request *call,
                 fl_http_done done, void *context)
{
    struct pending *pending = fl_calloc(1, sizeof(*pending));
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    const struct fl_json *request = fl_json_read(call->body, arena, NULL);
    assert_string_equal(call->service, "logs");
    assert_true(fl_str_starts(call->extra->value, FL_STR("stream=")));
    assert_string_equal(call->target, "Fairlead_20261120.ShipLogs");
    assert_non_null(request);
    pending->done = done;
    pending->context = context;
    server.calls++;
    serve(pending, request);
    (void)uv_timer_init(&server.loop, &pending->timer);
    pending->timer.data = pending;
    (void)uv_timer_start(&pending->timer, answer, 0, 0);
}

void fl_aws_error(const struct fl_http_response *response, struct fl_arena *arena,
                  struct fl_str *ret_code, struct fl_str *ret_message)
{
    const struct fl_json *json = fl_json_read(response->body, arena, NULL);
    *ret_code = fl_str_dup(arena, fl_json_text(fl_json_get(json, "__type")));
    *ret_message = fl_str_dup(arena, fl_json_text(fl_json_get(json, "message")));
}

struct fixture {
    struct fl_log_shipper *shipper;
    struct fl_log_target target;
    char dir[64];
    char path[80];
    int spool;
    struct fl_buf expected;
    bool is_ensured;
    bool is_finished;
    char error[512];
};

static int setup(void **state)
{
    struct fixture *f = fl_calloc(1, sizeof(*f));
    uint8_t seed[32] = {11};
    (void)snprintf(f->dir, sizeof(f->dir), "/tmp/fl-shipper-test-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    (void)snprintf(f->path, sizeof(f->path), "%s/log", f->dir);
    f->spool = open(f->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    assert_true(f->spool >= 0);
    f->expected = FL_BUF_INIT(64 << 20);
    f->target = (struct fl_log_target){.container_id = FL_STR("c1"),
                                       .spool_path = fl_str_of(f->path),
                                       .group = FL_STR("g"),
                                       .stream = FL_STR("s"),
                                       .create_group = true};
    server = (struct server){.stored = FL_BUF_INIT(64 << 20)};
    fl_rand_seed(&server.rand, seed);
    assert_int_equal(uv_loop_init(&server.loop), 0);
    f->shipper = fl_log_shipper_open(&server.loop, NULL);
    fl_log_set_level(FL_LOG_ERROR);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    fl_log_shipper_close(f->shipper);
    (void)uv_run(&server.loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&server.loop), 0);
    (void)close(f->spool);
    assert_int_equal(fl_fs_remove_tree(AT_FDCWD, f->dir), 0);
    fl_buf_free(&f->expected);
    fl_buf_free(&server.stored);
    free(f);
    return 0;
}

static void write_line(struct fixture *f, const char *text)
{
    FL_CLEANUP_BUF struct fl_buf record = FL_BUF_INIT(1 << 20);
    fl_buf_printf(&record, "1763640000000 o F %s\n", text);
    fl_buf_printf(&f->expected, "%s%s", text, *text ? "\n" : "");
    assert_int_equal(fl_fs_write_all(f->spool, record.p, record.n), 0);
}

static void on_ensured(void *context, struct fl_str error)
{
    struct fixture *f = context;
    f->is_ensured = true;
    (void)snprintf(f->error, sizeof(f->error), "%.*s", FL_STR_ARG(error));
}

static void on_finished(void *context)
{
    struct fixture *f = context;
    f->is_finished = true;
}

static void on_deadline(uv_timer_t *timer)
{
    fail_msg("waited 60 s for %s", (const char *)timer->data);
}

/* Runs the loop until *flag is set. */
static void wait_for(const bool *flag, const char *what)
{
    uv_timer_t deadline = {.data = (void *)what};
    (void)uv_timer_init(&server.loop, &deadline);
    (void)uv_timer_start(&deadline, on_deadline, 60000, 0);
    while (!*flag)
        (void)uv_run(&server.loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&deadline, NULL);
    (void)uv_run(&server.loop, UV_RUN_NOWAIT);
}

static void finish(struct fixture *f)
{
    assert_true(fl_log_shipper_finish(f->shipper, f->target.container_id, on_finished, f));
    assert_false(f->is_finished);
    wait_for(&f->is_finished, "the end");
    assert_false(fl_log_shipper_finish(f->shipper, f->target.container_id, on_finished, f));
}

static void assert_all_stored(struct fixture *f)
{
    assert_int_equal(server.stored.n, f->expected.n);
    assert_true(fl_str_eq(fl_buf_str(&server.stored), fl_buf_str(&f->expected)));
}

static void a_stream_is_ensured_then_followed_to_the_end(void **state)
{
    struct fixture *f = *state;
    fl_log_shipper_ensure(f->shipper, &f->target, on_ensured, f);
    assert_false(f->is_ensured);
    wait_for(&f->is_ensured, "ensure");
    assert_string_equal(f->error, "");
    write_line(f, "first");
    write_line(f, "");
    fl_log_shipper_start(f->shipper, &f->target);
    while (server.stored.n == 0)
        (void)uv_run(&server.loop, UV_RUN_ONCE);
    write_line(f, "second");
    while (server.stored.n < f->expected.n)
        (void)uv_run(&server.loop, UV_RUN_ONCE);
    assert_int_equal(fl_fs_write_all(f->spool, "5 e F no newline", 16), 0);
    fl_buf_add_z(&f->expected, "no newline\n");
    finish(f);
    assert_all_stored(f);
    assert_int_equal(server.offset, lseek(f->spool, 0, SEEK_END));
}

static void a_missing_group_is_an_error_before_the_start(void **state)
{
    struct fixture *f = *state;
    f->target.create_group = false;
    fl_log_shipper_ensure(f->shipper, &f->target, on_ensured, f);
    wait_for(&f->is_ensured, "ensure");
    assert_string_equal(f->error, "failed to initialize logging driver: failed to create "
                                  "Cloudwatch log stream: ResourceNotFoundException: no group");
    assert_false(fl_log_shipper_finish(f->shipper, f->target.container_id, on_finished, f));
}

static void a_container_without_spool_is_finished_at_once(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(unlink(f->path), 0);
    fl_log_shipper_start(f->shipper, &f->target);
    finish(f);
    assert_int_equal(server.stored.n, 0);
}

static void a_group_that_is_gone_does_not_hold_up_the_end(void **state)
{
    struct fixture *f = *state;
    f->target.create_group = false;
    write_line(f, "lost");
    fl_log_shipper_start(f->shipper, &f->target);
    finish(f);
    assert_int_equal(server.stored.n, 0);
}

static void a_server_that_is_away_is_waited_for(void **state)
{
    struct fixture *f = *state;
    server.dead_calls = 3;
    write_line(f, "line");
    fl_log_shipper_start(f->shipper, &f->target);
    finish(f);
    assert_all_stored(f);
    assert_true(server.calls >= 5);
}

static void restart(struct fixture *f)
{
    fl_log_shipper_close(f->shipper);
    f->shipper = fl_log_shipper_open(&server.loop, NULL);
    fl_log_shipper_start(f->shipper, &f->target);
}

/* Some lines, the last of which the shipper may see half-written. */
static void write_some(struct fixture *f, int round)
{
    char line[200];
    for (uint64_t i = fl_rand_below(&server.rand, 20); i > 0; i--) {
        int width = (int)fl_rand_below(&server.rand, 100);
        (void)snprintf(line, sizeof(line), "%d %0*d", round, width, 0);
        write_line(f, line);
    }
    assert_int_equal(fl_fs_write_all(f->spool, "1763640000000 e F hal", 21), 0);
    (void)uv_run(&server.loop, UV_RUN_NOWAIT);
    assert_int_equal(fl_fs_write_all(f->spool, "f\n", 2), 0);
    fl_buf_add_z(&f->expected, "half\n");
}

static void nothing_is_lost_or_doubled_whoever_restarts(void **state)
{
    struct fixture *f = *state;
    server.fault_percent = 20;
    fl_log_shipper_start(f->shipper, &f->target);
    for (int round = 0; round < 25; round++) {
        unsigned calls = server.calls;
        write_some(f, round);
        while (server.calls == calls)
            (void)uv_run(&server.loop, UV_RUN_ONCE);
        if (happens(30))
            restart(f);
    }
    finish(f);
    assert_all_stored(f);
}

static void what_is_stored_is_punched_out_and_large_batches_are_cut(void **state)
{
    enum { LINES = 6000, WIDTH = 1000 };
    struct fixture *f = *state;
    struct stat st;
    char line[WIDTH + 32];
    for (int i = 0; i < LINES; i++) {
        (void)snprintf(line, sizeof(line), "%0*d\x01", WIDTH, i);
        write_line(f, line);
    }
    fl_log_shipper_start(f->shipper, &f->target);
    finish(f);
    assert_all_stored(f);
    assert_true(server.calls > 6);
    assert_int_equal(fstat(f->spool, &st), 0);
    assert_true(st.st_size > LINES * WIDTH);
    assert_true((int64_t)st.st_blocks * 512 < 2 * 1024 * 1024);
}

/* The server's data is gone, the spool's beginning too: what is still there is shipped. */
static void a_server_that_lost_its_data_gets_what_is_left(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 100; i++)
        write_line(f, "this line is punched out of the spool");
    write_line(f, "cut by the edge of the hole");
    off_t size = lseek(f->spool, 0, SEEK_END);
    fl_buf_clear(&f->expected);
    write_line(f, "left");
    assert_int_equal(fallocate(f->spool, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, size - 5),
                     0);
    fl_log_shipper_start(f->shipper, &f->target);
    finish(f);
    assert_all_stored(f);
}

#define WITH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH(a_stream_is_ensured_then_followed_to_the_end),
        WITH(a_missing_group_is_an_error_before_the_start),
        WITH(a_container_without_spool_is_finished_at_once),
        WITH(a_group_that_is_gone_does_not_hold_up_the_end),
        WITH(a_server_that_is_away_is_waited_for),
        WITH(nothing_is_lost_or_doubled_whoever_restarts),
        WITH(what_is_stored_is_punched_out_and_large_batches_are_cut),
        WITH(a_server_that_lost_its_data_gets_what_is_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
