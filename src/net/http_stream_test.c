/* Answers that go on: pieces arrive as they are written, an end is an end and the connection can be
 * used again, a client that leaves or does not read is noticed, a server that stops lets go.
 * Method: raw sockets in the server's own loop. */
#include "net/http_internal.h"
#include "net/http_stream.h"
#include "net/test_loop.h"

struct fixture {
    struct test_loop t;
    struct fl_http_stream *stream;
    struct fl_http_exchange *held; /* "/hold": answered by the test */
    unsigned started;
    unsigned gone;
};

static void on_gone(void *context)
{
    struct fixture *f = context;
    f->gone++;
    f->stream = NULL;
}

static void start(struct fixture *f, struct fl_http_exchange *exchange)
{
    const struct fl_header header = {FL_STR("Content-Type"), FL_STR("text/stream")};
    struct fl_http_stream *stream = fl_http_stream_start(exchange, 200, &header, 1, on_gone, f);
    f->started++;
    if (f->gone < f->started)
        f->stream = stream;
}

static void on_request(void *context, struct fl_http_exchange *exchange)
{
    struct fixture *f = context;
    if (fl_str_is(exchange->path, "/hold"))
        f->held = exchange;
    else
        start(f, exchange);
}

static int setup(void **state)
{
    struct fixture *f = fl_calloc(1, sizeof(*f));
    test_start(&f->t, on_request, f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    test_stop(&f->t);
    assert_int_equal(f->gone, f->started);
    free(f);
    return 0;
}

static void ask(struct test_raw *raw, const char *path)
{
    fl_buf_printf(&raw->out, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path);
}

static void pieces_arrive_as_they_are_written(void **state)
{
    struct fixture *f = *state;
    struct test_raw raw = test_connect(&f->t);
    ask(&raw, "/");
    TEST_AWAIT(&f->t, test_pump(&raw) && f->stream);
    assert_true(fl_http_stream_write(f->stream, FL_STR("first")));
    TEST_AWAIT(&f->t, test_has(&raw, "5\r\nfirst\r\n"));
    assert_true(test_has(&raw, "Content-Type: text/stream\r\n"));
    assert_true(fl_http_stream_write(f->stream, FL_STR("sec")));
    assert_true(fl_http_stream_write(f->stream, FL_STR("ond")));
    TEST_AWAIT(&f->t, test_has(&raw, "second"));
    fl_http_stream_end(f->stream);
    TEST_AWAIT(&f->t, test_has(&raw, "\r\n0\r\n") && f->gone == 1);
    ask(&raw, "/");
    TEST_AWAIT(&f->t, test_pump(&raw) && f->started == 2);
    test_disconnect(&raw);
}

static void a_client_that_left_is_noticed_by_the_next_piece(void **state)
{
    struct fixture *f = *state;
    struct test_raw raw = test_connect(&f->t);
    ask(&raw, "/");
    TEST_AWAIT(&f->t, test_pump(&raw) && f->stream);
    test_disconnect(&raw);
    TEST_AWAIT(&f->t, f->gone == 1 || fl_http_stream_write(f->stream, FL_STR("x")));
    TEST_AWAIT(&f->t, f->gone == 1 || (fl_http_stream_write(f->stream, FL_STR("x")), false));
}

static void a_client_that_does_not_read_fills_the_backlog_alone(void **state)
{
    struct fixture *f = *state;
    struct test_raw raw = test_connect(&f->t);
    struct fl_str piece = {fl_arena_alloc(f->t.arena, 1 << 20), 1 << 20};
    unsigned written = 0;
    ask(&raw, "/");
    TEST_AWAIT(&f->t, test_pump(&raw) && f->stream);
    TEST_AWAIT(&f->t, !fl_http_stream_write(f->stream, piece) || ++written > 64);
    assert_in_range(written, FL_HTTP_STREAM_BACKLOG / (1 << 20), 64);
    fl_http_stream_end(f->stream);
    test_disconnect(&raw);
    TEST_AWAIT(&f->t, f->gone == 1);
}

static void who_left_before_the_answer_has_no_stream(void **state)
{
    struct fixture *f = *state;
    struct test_raw raw = test_connect(&f->t);
    ask(&raw, "/hold");
    TEST_AWAIT(&f->t, test_pump(&raw) && f->held);
    test_disconnect(&raw);
    fl_http_server_stop(FL_TAKE_PTR(f->t.server));
    start(f, f->held);
    assert_int_equal(f->gone, 1);
}

static void a_server_that_stops_lets_its_streams_go(void **state)
{
    struct fixture *f = *state;
    struct test_raw raw = test_connect(&f->t);
    ask(&raw, "/");
    TEST_AWAIT(&f->t, test_pump(&raw) && f->stream);
    assert_true(fl_http_stream_write(f->stream, FL_STR("something")));
    TEST_AWAIT(&f->t, test_has(&raw, "something"));
    fl_http_server_stop(FL_TAKE_PTR(f->t.server));
    assert_int_equal(f->gone, 1);
    TEST_AWAIT(&f->t, test_at_end(&raw));
    test_disconnect(&raw);
}

#define WITH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH(pieces_arrive_as_they_are_written),
        WITH(a_client_that_left_is_noticed_by_the_next_piece),
        WITH(a_client_that_does_not_read_fills_the_backlog_alone),
        WITH(who_left_before_the_answer_has_no_stream),
        WITH(a_server_that_stops_lets_its_streams_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
