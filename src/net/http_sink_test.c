/* Bodies that go into a sink and answers that come from a file: pieces in order however often the
 * sink pauses, clients that leave or dawdle, refusals in the middle. Method: one loop for the
 * server and a raw client; the sink is the test's. */
#include "net/http_internal.h"
#include "net/test_loop.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

struct fixture {
    struct test_loop t;
    struct fl_http_sink sink;
    struct fl_http_exchange *exchange; /* whose body is coming */
    struct fl_buf got;
    uv_timer_t ready;
    unsigned pauses;
    bool pauses_often;
    bool was_paused; /* for the piece that comes again */
    bool is_gone;
    bool refuses;
};

static void on_ready(uv_timer_t *timer)
{
    struct fixture *f = timer->data;
    if (f->exchange)
        fl_http_sink_ready(f->exchange);
}

static void refuse(struct fixture *f)
{
    const struct fl_header header = {FL_STR("X-Why"), FL_STR("enough")};
    fl_http_refuse_body(f->exchange, 507, "Insufficient Storage", &header, 1, FL_STR("no room"));
}

static bool take(struct fl_http_sink *sink, const char *bytes, size_t n)
{
    struct fixture *f = FL_CONTAINER_OF(sink, struct fixture, sink);
    f->was_paused = f->pauses_often && !f->was_paused;
    if (f->was_paused) {
        f->pauses++;
        (void)uv_timer_start(&f->ready, on_ready, 1, 0);
        return false;
    }
    fl_buf_add(&f->got, bytes, n);
    if (f->refuses)
        refuse(f);
    return true;
}

static void gone(struct fl_http_sink *sink)
{
    struct fixture *f = FL_CONTAINER_OF(sink, struct fixture, sink);
    f->is_gone = true;
    f->exchange = NULL;
}

static struct fl_http_sink *open_sink(void *context, struct fl_http_exchange *exchange)
{
    struct fixture *f = context;
    f->exchange = exchange;
    if (!fl_str_is(exchange->path, "/refused"))
        return fl_str_is(exchange->path, "/sink") ? &f->sink : NULL;
    refuse(f);
    return NULL;
}

static void answer_file(struct fl_http_exchange *exchange)
{
    const struct fl_header header = {FL_STR("X-File"), FL_STR("yes")};
    FILE *file = tmpfile();
    assert_non_null(file);
    assert_int_equal(fputs("0123456789", file), 1);
    assert_int_equal(fflush(file), 0);
    int fd = fcntl(fileno(file), F_DUPFD_CLOEXEC, 3);
    (void)fclose(file);
    fl_http_reply_file(exchange, 206, &header, 1, fd, 2, 5);
}

static void on_request(void *context, struct fl_http_exchange *exchange)
{
    struct fixture *f = context;
    f->exchange = NULL;
    if (fl_str_is(exchange->path, "/file"))
        answer_file(exchange);
    else
        fl_http_reply(exchange, 200, NULL, 0,
                      fl_str_printf(exchange->arena, "sink %d, %zu + %zu bytes",
                                    exchange->sink == &f->sink, f->got.n, exchange->body.n));
}

static int setup(void **state)
{
    struct fixture *f = fl_calloc(1, sizeof(*f));
    test_start(&f->t, on_request, f);
    f->t.server->config.open_sink = open_sink;
    f->sink = (struct fl_http_sink){take, gone};
    f->got = FL_BUF_INIT(64 << 20);
    assert_int_equal(uv_timer_init(&f->t.loop, &f->ready), 0);
    f->ready.data = f;
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    uv_close((uv_handle_t *)&f->ready, NULL);
    test_stop(&f->t);
    fl_buf_free(&f->got);
    free(f);
    return 0;
}

static struct test_raw say(struct fixture *f, const char *text)
{
    struct test_raw raw = test_connect(&f->t);
    fl_buf_add_z(&raw.out, text);
    return raw;
}

/* Numbers, so that a piece that is lost, doubled or misplaced shows. */
static void add_body(struct fl_buf *buf, size_t n)
{
    for (size_t i = 0; i < n / 8; i++)
        fl_buf_printf(buf, "%07zu ", i);
}

static void a_body_comes_in_order_however_often_it_pauses(void **state)
{
    enum { BODY = 4 << 20 };
    struct fixture *f = *state;
    FL_CLEANUP_BUF struct fl_buf body = FL_BUF_INIT(BODY + 1);
    add_body(&body, BODY); /* more than a body that is collected may have */
    for (int pauses = 0; pauses < 2; pauses++) {
        f->pauses_often = pauses;
        fl_buf_clear(&f->got);
        struct test_raw raw = say(f, "PUT /sink HTTP/1.1\r\nHost: h\r\nContent-Length: 4194304"
                                     "\r\n\r\n");
        fl_buf_add(&raw.out, body.p, body.n);
        TEST_AWAIT(&f->t, test_has(&raw, "sink 1, 4194304 + 0 bytes"));
        assert_true(fl_str_eq(fl_buf_str(&f->got), fl_buf_str(&body)));
        test_disconnect(&raw);
    }
    assert_true(f->pauses > 10);
    assert_false(f->is_gone);
}

static void other_bodies_are_collected(void **state)
{
    struct fixture *f = *state;
    struct test_raw raw = say(f, "PUT /other HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc");
    TEST_AWAIT(&f->t, test_has(&raw, "sink 0, 0 + 3 bytes"));
    test_disconnect(&raw);
}

static void who_leaves_is_gone(void **state)
{
    struct fixture *f = *state;
    for (int pauses = 0; pauses < 2; pauses++) {
        f->pauses_often = pauses;
        f->is_gone = false;
        struct test_raw raw = say(f, "PUT /sink HTTP/1.1\r\nHost: h\r\nContent-Length: 900000"
                                     "\r\n\r\n");
        add_body(&raw.out, 400000);
        TEST_AWAIT(&f->t, test_pump(&raw) && raw.out.n == 0);
        test_disconnect(&raw);
        TEST_AWAIT(&f->t, f->is_gone);
    }
}

static void who_dawdles_is_cut_off(void **state)
{
    struct fixture *f = *state;
    const struct fl_http_deadlines deadlines = {200, 200, 200};
    fl_http_server_set_deadlines(f->t.server, &deadlines);
    struct test_raw raw =
        say(f, "PUT /sink HTTP/1.1\r\nHost: h\r\nContent-Length: 900000\r\n\r\nx");
    TEST_AWAIT(&f->t, test_has(&raw, "408"));
    TEST_AWAIT(&f->t, f->is_gone);
    test_disconnect(&raw);
}

static void a_body_is_refused_before_its_end(void **state)
{
    struct fixture *f = *state;
    static const char *const paths[] = {"/sink", "/refused"};
    f->refuses = true;
    for (size_t i = 0; i < FL_ARRAY_SIZE(paths); i++) {
        struct test_raw raw =
            say(f, fl_str_printf(f->t.arena,
                                 "PUT %s HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
                                 "5\r\nhello\r\n",
                                 paths[i])
                       .p);
        TEST_AWAIT(&f->t, test_has(&raw, "no room"));
        assert_true(test_has(&raw, "HTTP/1.1 507 Insufficient Storage\r\n"));
        assert_true(test_has(&raw, "X-Why: enough\r\n"));
        test_disconnect(&raw);
    }
    TEST_AWAIT(&f->t, f->is_gone);
}

static void a_file_is_sent_in_part(void **state)
{
    struct fixture *f = *state;
    struct test_raw raw = say(f, "GET /file HTTP/1.1\r\nHost: h\r\n\r\n");
    TEST_AWAIT(&f->t, test_has(&raw, "\r\n\r\n23456"));
    assert_true(test_has(&raw, "HTTP/1.1 206 "));
    assert_true(test_has(&raw, "Content-Length: 5\r\n") && test_has(&raw, "X-File: yes\r\n"));
    fl_buf_clear(&raw.in);
    fl_buf_add_z(&raw.out, "HEAD /file HTTP/1.1\r\nHost: h\r\n\r\nGET /other HTTP/1.1\r\nHost: "
                           "h\r\n\r\n");
    TEST_AWAIT(&f->t, test_has(&raw, "sink 0"));
    assert_true(test_has(&raw, "Content-Length: 5\r\n"));
    assert_false(test_has(&raw, "23456"));
    test_disconnect(&raw);
}

static void a_stopped_server_ends_bodies(void **state)
{
    struct fixture *f = *state;
    f->pauses_often = true;
    struct test_raw raw = say(f, "PUT /sink HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nx");
    TEST_AWAIT(&f->t, test_pump(&raw) && f->pauses > 0);
    (void)uv_timer_stop(&f->ready);
    fl_http_server_stop(f->t.server);
    f->t.server = NULL;
    assert_true(f->is_gone);
    test_disconnect(&raw);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_body_comes_in_order_however_often_it_pauses),
        CASE(other_bodies_are_collected),
        CASE(who_leaves_is_gone),
        CASE(who_dawdles_is_cut_off),
        CASE(a_body_is_refused_before_its_end),
        CASE(a_file_is_sent_in_part),
        CASE(a_stopped_server_ends_bodies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
