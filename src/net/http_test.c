/* The HTTP server and client on loopback: whole requests, late answers, bodies of every kind,
 * limits and deadlines (shortened), clients that leave. Method: both in one loop; where the client
 * library is too polite, a raw socket speaks instead. */
#include "net/http_client.h"
#include "net/http_internal.h"
#include "net/test_loop.h"

enum { BIG = 8 << 20 };

struct fixture {
    struct test_loop t;
    struct fl_http_client *client;
    struct fl_http_exchange *held; /* "/hold" keeps it here */
    uv_timer_t late;
    unsigned handled;
    unsigned answers;
    struct fl_http_response last;
};

static void reply_text(struct fl_http_exchange *exchange, unsigned status, struct fl_str body)
{
    const struct fl_header headers[] = {{FL_STR("Content-Type"), FL_STR("text/plain")},
                                        {FL_STR("X-Peer"), exchange->peer}};
    fl_http_reply(exchange, status, headers, FL_ARRAY_SIZE(headers), body);
}

/* What the server understood of the request. */
static struct fl_str told(struct fl_http_exchange *exchange)
{
    struct fl_str body = exchange->body;
    return fl_str_printf(exchange->arena, "%.*s %.*s ?%.*s [%.*s] %zu:%.*s",
                         FL_STR_ARG(exchange->method), FL_STR_ARG(exchange->path),
                         FL_STR_ARG(exchange->query),
                         FL_STR_ARG(fl_http_header(exchange, "x-test")), body.n,
                         FL_STR_ARG(fl_str_sub(body, 0, 64)));
}

static void on_late(uv_timer_t *timer)
{
    struct fixture *f = timer->data;
    struct fl_http_exchange *exchange = FL_TAKE_PTR(f->held);
    reply_text(exchange, 202, told(exchange));
}

static void on_request(void *context, struct fl_http_exchange *exchange)
{
    struct fixture *f = context;
    f->handled++;
    assert_true(exchange->peer_is_loopback);
    if (fl_str_is(exchange->path, "/late")) {
        f->held = exchange;
        assert_int_equal(uv_timer_start(&f->late, on_late, 10, 0), 0);
    } else if (fl_str_is(exchange->path, "/hold")) {
        f->held = exchange;
    } else if (fl_str_is(exchange->path, "/big")) {
        char *body = fl_arena_alloc(exchange->arena, BIG);
        memset(body, 'b', BIG);
        reply_text(exchange, 200, (struct fl_str){body, BIG});
    } else {
        reply_text(exchange, 200, told(exchange));
    }
}

static int setup(void **state)
{
    struct fixture *f = fl_calloc(1, sizeof(*f));
    struct fl_err err = {0};
    test_start(&f->t, on_request, f);
    assert_int_equal(fl_http_client_new(&f->t.loop, &f->client, &err), 0);
    assert_int_equal(uv_timer_init(&f->t.loop, &f->late), 0);
    f->late.data = f;
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    fl_http_client_free(f->client);
    uv_close((uv_handle_t *)&f->late, NULL);
    test_stop(&f->t);
    free(f);
    return 0;
}

static void on_answer(void *context, const struct fl_http_response *response)
{
    struct fixture *f = context;
    f->answers++;
    f->last.status = response->status;
    f->last.body = fl_str_dup(f->t.arena, response->body);
}

static void send_request(struct fixture *f, const char *method, const char *path,
                         struct fl_str body)
{
    const struct fl_header header = {FL_STR("X-Test"), FL_STR("yes")};
    const struct fl_http_request request = {.method = fl_str_of(method),
                                            .url = test_url(&f->t, path),
                                            .headers = &header,
                                            .header_count = 1,
                                            .body = body,
                                            .timeout_ms = 5000};
    unsigned before = f->answers;
    fl_http_client_send(f->client, &request, on_answer, f);
    assert_int_equal(f->answers, before); /* never called back at once */
}

static void fetch(struct fixture *f, const char *method, const char *path, struct fl_str body)
{
    unsigned before = f->answers;
    send_request(f, method, path, body);
    TEST_AWAIT(&f->t, f->answers > before);
}

static void assert_answer(struct fixture *f, unsigned status, const char *body)
{
    assert_string_equal(fl_str_z(f->t.arena, f->last.body), body);
    assert_int_equal(f->last.status, status);
}

static void requests_arrive_whole_and_raw(void **state)
{
    struct fixture *f = *state;
    fetch(f, "POST", "/a%20b//%2F/../c?x=%41&y=+", FL_STR("hello"));
    assert_answer(f, 200, "POST /a%20b//%2F/../c ?x=%41&y=+ [yes] 5:hello");
    fetch(f, "GET", "/", FL_STR(""));
    assert_answer(f, 200, "GET / ? [yes] 0:");
    fetch(f, "DELETE", "/thing", FL_STR(""));
    assert_answer(f, 200, "DELETE /thing ? [yes] 0:");
    fetch(f, "PUT", "/thing", FL_STR("v"));
    assert_answer(f, 200, "PUT /thing ? [yes] 1:v");
}

static void answers_may_come_later(void **state)
{
    struct fixture *f = *state;
    fetch(f, "POST", "/late", FL_STR("x"));
    assert_answer(f, 202, "POST /late ? [yes] 1:x");
    fetch(f, "POST", "/now", FL_STR("y"));
    assert_answer(f, 200, "POST /now ? [yes] 1:y");
}

static void many_requests_at_once_are_all_answered(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 50; i++)
        send_request(f, "POST", "/x", FL_STR("{}"));
    TEST_AWAIT(&f->t, f->answers == 50);
    assert_int_equal(f->last.status, 200);
    assert_int_equal(f->handled, 50);
}

static void large_bodies_below_the_limit_pass(void **state)
{
    struct fixture *f = *state;
    char *body = fl_arena_alloc(f->t.arena, TEST_MAX_BODY);
    memset(body, 'a', TEST_MAX_BODY);
    fetch(f, "POST", "/", (struct fl_str){body, TEST_MAX_BODY});
    assert_int_equal(f->last.status, 200);
    assert_true(fl_str_starts(f->last.body, FL_STR("POST / ? [yes] 1048576:aaaa")));
}

static void a_client_bounds_its_answers_and_its_time(void **state)
{
    struct fixture *f = *state;
    struct fl_http_request request = {
        .method = FL_STR("POST"), .url = test_url(&f->t, "/"), .max_body = 4};
    fl_http_client_send(f->client, &request, on_answer, f);
    TEST_AWAIT(&f->t, f->answers == 1);
    assert_answer(f, 0, "the answer is larger than allowed");
    request.url = test_url(&f->t, "/hold");
    request.timeout_ms = 50;
    fl_http_client_send(f->client, &request, on_answer, f);
    TEST_AWAIT(&f->t, f->answers == 2);
    assert_int_equal(f->last.status, 0);
    assert_true(fl_str_contains(f->last.body, FL_STR("timed out")));
    request.url = FL_STR("file:///etc/passwd");
    fl_http_client_send(f->client, &request, on_answer, f);
    TEST_AWAIT(&f->t, f->answers == 3);
    assert_int_equal(f->last.status, 0);
    reply_text(FL_TAKE_PTR(f->held), 200, FL_STR("too late"));
}

/* A big answer ("/big"), taken in pieces, with a pause after the first. */
struct drinker {
    struct fixture *f;
    struct fl_http_flight *flight;
    size_t got;
    unsigned pauses;
    bool wants_head, thirsty, had_enough;
};

static bool on_head(void *context, const struct fl_http_response *head)
{
    struct drinker *d = context;
    assert_int_equal(head->status, 200);
    assert_true(fl_str_is(fl_http_response_header(head, "CONTENT-type", 0), "text/plain"));
    assert_int_equal(fl_http_response_header(head, "content-type", 1).n, 0);
    return d->wants_head;
}

static enum fl_http_flow on_piece(void *context, struct fl_str bytes)
{
    struct drinker *d = context;
    if (d->had_enough)
        return FL_HTTP_ENOUGH;
    if (!d->thirsty && d->got > 0) {
        d->pauses++;
        return FL_HTTP_LATER;
    }
    d->got += bytes.n;
    return FL_HTTP_TAKEN;
}

static void on_drunk(void *context, const struct fl_http_response *response)
{
    struct drinker *d = context;
    d->flight = NULL;
    on_answer(d->f, response);
}

static void drink(struct drinker *d)
{
    static const struct fl_http_taker taker = {on_head, on_piece};
    const struct fl_http_request request = {.method = FL_STR("GET"),
                                            .url = test_url(&d->f->t, "/big"),
                                            .max_body = 100,
                                            .taker = &taker};
    d->flight = fl_http_client_send(d->f->client, &request, on_drunk, d);
}

static void an_answer_is_taken_piece_by_piece(void **state)
{
    struct fixture *f = *state;
    struct drinker d = {.f = f, .wants_head = true};
    drink(&d);
    TEST_AWAIT(&f->t, d.pauses > 0);
    size_t before = d.got;
    for (int i = 0; i < 5; i++)
        (void)uv_run(&f->t.loop, UV_RUN_ONCE);
    assert_int_equal(d.got, before); /* nothing comes while it waits */
    assert_int_equal(f->answers, 0);
    d.thirsty = true;
    fl_http_resume(d.flight);
    TEST_AWAIT(&f->t, f->answers == 1);
    assert_answer(f, 200, "");
    assert_int_equal(d.got, BIG);
}

static void a_taker_may_refuse(void **state)
{
    struct fixture *f = *state;
    struct drinker enough = {.f = f, .wants_head = true, .had_enough = true}, none = {.f = f},
                   cut = {.f = f, .wants_head = true};
    drink(&enough);
    TEST_AWAIT(&f->t, f->answers == 1);
    assert_int_equal(f->last.status, 0);
    drink(&none); /* then it is an answer as any other, and too large a one */
    TEST_AWAIT(&f->t, f->answers == 2);
    assert_answer(f, 0, "the answer is larger than allowed");
    drink(&cut);
    TEST_AWAIT(&f->t, cut.pauses > 0);
    fl_http_cancel(cut.flight);
    fetch(f, "GET", "/", FL_STR(""));
    assert_int_equal(f->answers, 3);
}

static void a_freed_client_calls_nobody(void **state)
{
    struct fixture *f = *state;
    struct fl_err err = {0};
    send_request(f, "POST", "/hold", FL_STR(""));
    TEST_AWAIT(&f->t, f->held);
    fl_http_client_free(f->client);
    reply_text(FL_TAKE_PTR(f->held), 200, FL_STR("nobody"));
    assert_int_equal(fl_http_client_new(&f->t.loop, &f->client, &err), 0);
    fetch(f, "GET", "/", FL_STR(""));
    assert_int_equal(f->answers, 1);
}

/* ---- what only a raw socket does ---- */

static struct test_raw say(struct fixture *f, const char *text)
{
    struct test_raw raw = test_connect(&f->t);
    fl_buf_add_z(&raw.out, text);
    return raw;
}

static void chunked_bodies_are_put_together(void **state)
{
    struct test_raw raw = say(*state, "POST /c HTTP/1.1\r\nHost: h\r\nX-Test: t\r\n"
                                      "Transfer-Encoding: chunked\r\n\r\n"
                                      "5\r\nhello\r\n1\r\n \r\n5\r\nworld\r\n0\r\n\r\n");
    TEST_AWAIT(raw.t, test_has(&raw, "POST /c ? [t] 11:hello world"));
    assert_true(test_has(&raw, "Content-Length: 28\r\n"));
    assert_false(raw.at_end);
    test_disconnect(&raw);
}

static void expect_100_continue_is_answered(void **state)
{
    struct test_raw raw = say(*state, "POST /e HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n"
                                      "Expect: 100-continue\r\n\r\n");
    TEST_AWAIT(raw.t, test_has(&raw, "100 Continue\r\n\r\n"));
    fl_buf_add_z(&raw.out, "abc");
    TEST_AWAIT(raw.t, test_has(&raw, "3:abc"));
    test_disconnect(&raw);
}

static void pipelined_posts_are_answered_in_order(void **state)
{
    struct fixture *f = *state;
    struct test_raw raw = say(f, "POST /late HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n1"
                                 "POST /2 HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n2"
                                 "POST /3 HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n3");
    TEST_AWAIT(raw.t, test_has(&raw, "POST /3 ? [] 1:3"));
    const char *first = strstr(raw.in.p, "POST /late ? [] 1:1");
    const char *second = strstr(raw.in.p, "POST /2 ? [] 1:2");
    assert_true(first && second && first < second);
    assert_int_equal(f->handled, 3);
    test_disconnect(&raw);
}

#define REFUSAL                                                                                    \
    "{\"__type\":\"RequestTooLargeException\",\"message\":\"Request body is larger than 1048576 "  \
    "bytes.\"}"

static void a_body_declared_too_large_is_refused_unread(void **state)
{
    struct fixture *f = *state;
    struct test_raw raw =
        say(f, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000000\r\n\r\nabc");
    TEST_AWAIT(raw.t, test_has(&raw, REFUSAL));
    assert_true(test_has(&raw, "HTTP/1.1 413 "));
    TEST_AWAIT(raw.t, test_at_end(&raw));
    assert_int_equal(f->handled, 0);
    test_disconnect(&raw);
    fetch(f, "GET", "/", FL_STR(""));
    assert_int_equal(f->last.status, 200);
}

static void a_body_growing_too_large_is_refused(void **state)
{
    struct fixture *f = *state;
    struct test_raw raw =
        say(f, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
    FL_CLEANUP_BUF struct fl_buf chunk = FL_BUF_INIT(100000);
    fl_buf_add_z(&chunk, "10000\r\n");
    for (int i = 0; i < 0x10000; i++)
        fl_buf_add_char(&chunk, 'x');
    fl_buf_add_z(&chunk, "\r\n");
    for (int i = 0; i < 200; i++)
        fl_buf_add_str(&raw.out, fl_buf_str(&chunk));
    TEST_AWAIT(raw.t, test_has(&raw, REFUSAL));
    assert_int_equal(f->handled, 0);
    test_disconnect(&raw);
}

static void a_client_library_sees_the_refusal(void **state)
{
    struct fixture *f = *state;
    size_t n = 3 * (size_t)TEST_MAX_BODY;
    char *body = fl_arena_alloc(f->t.arena, n);
    fetch(f, "POST", "/", (struct fl_str){body, n});
    assert_answer(f, 413, REFUSAL);
}

static void shorten(struct fixture *f, unsigned headers_ms, unsigned body_ms, unsigned idle_ms)
{
    const struct fl_http_deadlines deadlines = {headers_ms, body_ms, idle_ms};
    fl_http_server_set_deadlines(f->t.server, &deadlines);
}

/* Adds a byte of a never-ending header now and then; true when the server has had enough. */
static bool drip(struct test_raw *raw)
{
    if (raw->out.n == 0)
        fl_buf_add_char(&raw->out, 'a');
    return test_at_end(raw);
}

static void slow_headers_end_at_the_deadline(void **state)
{
    struct fixture *f = *state;
    shorten(f, 200, 60000, 60000);
    struct test_raw in_first_line = say(f, "POST /");
    struct test_raw in_headers = say(f, "POST / HTTP/1.1\r\nHost: h\r\nX-");
    TEST_AWAIT(&f->t, drip(&in_first_line) + drip(&in_headers) == 2);
    assert_true(fl_str_starts(fl_buf_str(&in_first_line.in), FL_STR("HTTP/1.1 408 ")));
    assert_true(fl_str_starts(fl_buf_str(&in_headers.in), FL_STR("HTTP/1.1 408 ")));
    assert_int_equal(f->handled, 0);
    test_disconnect(&in_first_line);
    test_disconnect(&in_headers);
}

static void slow_bodies_end_at_the_deadline(void **state)
{
    struct fixture *f = *state;
    shorten(f, 60000, 200, 60000);
    struct test_raw raw = say(f, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n");
    TEST_AWAIT(&f->t, drip(&raw));
    assert_true(fl_str_starts(fl_buf_str(&raw.in), FL_STR("HTTP/1.1 408 ")));
    assert_int_equal(f->handled, 0);
    test_disconnect(&raw);
}

static void idle_connections_are_closed_silently(void **state)
{
    struct fixture *f = *state;
    shorten(f, 60000, 60000, 200);
    struct test_raw fresh = test_connect(&f->t);
    struct test_raw used = say(f, "GET /u HTTP/1.1\r\nHost: h\r\n\r\n");
    TEST_AWAIT(&f->t, test_has(&used, "GET /u ? [] 0:"));
    size_t answered = used.in.n;
    TEST_AWAIT(&f->t, test_at_end(&fresh) + test_at_end(&used) == 2);
    assert_int_equal(fresh.in.n, 0);
    assert_int_equal(used.in.n, answered);
    test_disconnect(&fresh);
    test_disconnect(&used);
}

static void a_slow_handler_is_no_slow_client(void **state)
{
    struct fixture *f = *state;
    shorten(f, 80, 80, 80);
    struct test_raw raw = say(f, "GET /hold HTTP/1.1\r\nHost: h\r\n\r\n");
    struct test_raw idle = test_connect(&f->t);
    TEST_AWAIT(&f->t, test_pump(&raw) && f->held);
    TEST_AWAIT(&f->t, test_at_end(&idle)); /* the deadlines have run out for others */
    assert_false(test_at_end(&raw));
    reply_text(FL_TAKE_PTR(f->held), 200, FL_STR("at last"));
    TEST_AWAIT(&f->t, test_has(&raw, "at last"));
    test_disconnect(&raw);
    test_disconnect(&idle);
}

static void a_client_may_leave_before_the_answer(void **state)
{
    struct fixture *f = *state;
    struct test_raw raw = say(f, "POST /hold HTTP/1.1\r\nHost: h\r\nX-Test: kept\r\n"
                                 "Content-Length: 4\r\n\r\nbody");
    TEST_AWAIT(&f->t, test_pump(&raw) && f->held);
    test_disconnect(&raw);
    fetch(f, "GET", "/", FL_STR(""));
    assert_string_equal(told(f->held).p, "POST /hold ? [kept] 4:body");
    reply_text(FL_TAKE_PTR(f->held), 200, FL_STR("nobody"));
    fetch(f, "GET", "/", FL_STR(""));
    assert_int_equal(f->last.status, 200);
}

static void exchanges_survive_the_server(void **state)
{
    struct fixture *f = *state;
    struct test_raw raw = say(f, "POST /hold HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nb");
    TEST_AWAIT(&f->t, test_pump(&raw) && f->held);
    fl_http_server_stop(f->t.server);
    f->t.server = NULL;
    TEST_AWAIT(&f->t, test_at_end(&raw));
    assert_string_equal(told(f->held).p, "POST /hold ? [] 1:b");
    reply_text(FL_TAKE_PTR(f->held), 200, FL_STR("nobody"));
    test_disconnect(&raw);
}

static void malformed_requests_are_refused(void **state)
{
    static const char *const requests[] = {
        "GARBAGE\r\n\r\n", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: x\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n", /* no Host */
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < FL_ARRAY_SIZE(requests); i++) {
        struct test_raw raw = say(f, requests[i]);
        TEST_AWAIT(&f->t, test_at_end(&raw));
        assert_true(raw.in.n == 0 || test_has(&raw, "HTTP/1.1 4") || test_has(&raw, "HTTP/1.0 4"));
        test_disconnect(&raw);
    }
    assert_int_equal(f->handled, 0);
}

static void header_blocks_are_bounded(void **state)
{
    struct fixture *f = *state;
    struct test_raw raw = say(f, "GET / HTTP/1.1\r\nHost: h\r\nX-Test: ");
    for (int i = 0; i < 40000; i++)
        fl_buf_add_char(&raw.out, 'h');
    fl_buf_add_z(&raw.out, "\r\n\r\n");
    TEST_AWAIT(&f->t, test_at_end(&raw));
    assert_int_equal(f->handled, 0);
    test_disconnect(&raw);

    struct test_raw fits = say(f, "GET /fits HTTP/1.1\r\nHost: h\r\nX-Big: ");
    for (int i = 0; i < 16000; i++)
        fl_buf_add_char(&fits.out, 'h');
    fl_buf_add_z(&fits.out, "\r\n\r\n");
    TEST_AWAIT(&f->t, test_has(&fits, "GET /fits"));
    test_disconnect(&fits);
}

static void an_address_that_is_none_is_refused(FL_UNUSED void **state)
{
    static const char *const addresses[] = {"", "4566", "localhost:80", "127.0.0.1:x", ":80"};
    struct fl_http_server *server = NULL;
    uv_loop_t loop;
    assert_int_equal(uv_loop_init(&loop), 0);
    for (size_t i = 0; i < FL_ARRAY_SIZE(addresses); i++) {
        struct fl_err err = {0};
        struct fl_http_server_config config = {.listen = fl_str_of(addresses[i]), .max_body = 1};
        assert_int_equal(fl_http_server_start(&loop, &config, &server, &err), -EINVAL);
        assert_true(err.text[0]);
    }
    assert_int_equal(uv_loop_close(&loop), 0);
}

static void a_taken_port_is_told(void **state)
{
    struct fixture *f = *state;
    struct fl_http_server *second = NULL;
    struct fl_err err = {0};
    struct fl_http_server_config config = {
        .listen = fl_str_printf(f->t.arena, "127.0.0.1:%u", fl_http_server_port(f->t.server)),
        .max_body = 1};
    assert_int_equal(fl_http_server_start(&f->t.loop, &config, &second, &err), -EADDRINUSE);
    assert_non_null(strstr(err.text, "127.0.0.1:"));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(requests_arrive_whole_and_raw),
        CASE(answers_may_come_later),
        CASE(many_requests_at_once_are_all_answered),
        CASE(large_bodies_below_the_limit_pass),
        CASE(a_client_bounds_its_answers_and_its_time),
        CASE(an_answer_is_taken_piece_by_piece),
        CASE(a_taker_may_refuse),
        CASE(a_freed_client_calls_nobody),
        CASE(chunked_bodies_are_put_together),
        CASE(expect_100_continue_is_answered),
        CASE(pipelined_posts_are_answered_in_order),
        CASE(a_body_declared_too_large_is_refused_unread),
        CASE(a_body_growing_too_large_is_refused),
        CASE(a_client_library_sees_the_refusal),
        CASE(slow_headers_end_at_the_deadline),
        CASE(slow_bodies_end_at_the_deadline),
        CASE(idle_connections_are_closed_silently),
        CASE(a_slow_handler_is_no_slow_client),
        CASE(a_client_may_leave_before_the_answer),
        CASE(exchanges_survive_the_server),
        CASE(malformed_requests_are_refused),
        CASE(header_blocks_are_bounded),
        cmocka_unit_test(an_address_that_is_none_is_refused),
        CASE(a_taken_port_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
