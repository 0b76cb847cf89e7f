/* The tasks' way to a server behind TLS: what they send arrives as it is, who reads slowly holds
 * the other side back, and bounds and refusals end a connection at once. */
#include "agent/tunnel.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/fs.h"
#include "net/test_loop.h"
#include "net/tls_front.h"

enum { DAY_MS = 24 * 3600 * 1000, MOST = 4, SHORT_IDLE_MS = 50 };

#define GET "GET /a HTTP/1.1\r\nHost: 169.254.170.2:4566\r\n\r\n"

struct fixture {
    struct test_loop t;
    struct fl_tls_front *front;
    struct fl_tls_pins pins;
    struct fl_tunnel *tunnel;
    struct fl_tunnel_config config;
    struct fl_buf pem;
    struct fl_str url;
    char dir[32];
    unsigned requests;
    struct fl_str answer;
    char host[64];
    bool was_tls;
};

static void on_request(void *context, struct fl_http_exchange *exchange)
{
    struct fixture *f = context;
    struct fl_str host = fl_http_header(exchange, "Host");
    f->requests++;
    f->was_tls = exchange->is_tls;
    (void)snprintf(f->host, sizeof(f->host), "%.*s", FL_STR_ARG(host));
    fl_http_reply(exchange, 200, NULL, 0, f->answer.n ? f->answer : exchange->body);
}

static struct fl_str server_url(void *context)
{
    const struct fixture *f = context;
    return f->url;
}

static void make_certificate(struct fixture *f)
{
    struct fl_tls_certificate certificate;
    f->pem = FL_BUF_INIT(FL_TLS_MAX_PEM);
    assert_int_equal(fl_tls_make_certificate(fl_clock_wall_ms(), DAY_MS, &f->pem, NULL), 0);
    assert_int_equal(fl_tls_read_certificate(fl_buf_str(&f->pem), &certificate, NULL), 0);
    assert_true(fl_tls_pins_add(&f->pins, fl_str_of(certificate.hash)));
}

static int setup(void **state)
{
    struct fixture *f = fl_calloc(1, sizeof(*f));
    (void)snprintf(f->dir, sizeof(f->dir), "/tmp/fl-tunnel-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    make_certificate(f);
    test_start(&f->t, on_request, f);
    const struct fl_tls_front_config front = {.listen = FL_STR("127.0.0.1:0"),
                                              .pem = f->pem.p,
                                              .max_connections = 50,
                                              .http = f->t.server};
    assert_int_equal(fl_tls_front_open(&f->t.loop, &front, &f->front, NULL), 0);
    f->url = fl_str_printf(f->t.arena, "https://localhost:%u/", fl_tls_front_port(f->front));
    f->config = (struct fl_tunnel_config){.loop = &f->t.loop,
                                          .state_dir = fl_str_of(f->dir),
                                          .pins = &f->pins,
                                          .server_url = server_url,
                                          .context = f,
                                          .max_connections = MOST,
                                          .max_per_peer = MOST,
                                          .idle_ms = FL_TUNNEL_IDLE_MS,
                                          .allow_here = true};
    *state = f;
    return 0;
}

static void open_tunnel(struct fixture *f)
{
    assert_int_equal(fl_tunnel_open(&f->config, &f->tunnel, NULL), 0);
}

/* Passages are there at the end of some tests: they are freed with the tunnel. */
static int teardown(void **state)
{
    struct fixture *f = *state;
    fl_tunnel_close(f->tunnel);
    fl_tls_front_close(f->front);
    test_stop(&f->t);
    fl_buf_free(&f->pem);
    (void)fl_fs_remove_tree(AT_FDCWD, f->dir);
    free(f);
    return 0;
}

static struct test_raw come(struct fixture *f)
{
    return test_connect_to(&f->t, fl_tunnel_port(f->tunnel));
}

static void test_requests_arrive_as_they_were_sent(void **state)
{
    struct fixture *f = *state;
    open_tunnel(f);
    struct test_raw raw = come(f);
    for (unsigned i = 1; i <= 3; i++) {
        fl_buf_add_z(&raw.out, GET);
        TEST_AWAIT(&f->t, test_pump(&raw) && f->requests == i);
    }
    TEST_AWAIT(&f->t, test_has(&raw, "HTTP/1.1 200"));
    assert_true(f->was_tls);
    assert_string_equal(f->host, "169.254.170.2:4566");
    test_disconnect(&raw);
    TEST_AWAIT(&f->t, fl_tunnel_count(f->tunnel) == 0);
}

/* Who has sent all that it has to say still hears the answer, all of it. */
static void test_an_answer_outlives_the_request(void **state)
{
    struct fixture *f = *state;
    struct fl_str large = {fl_calloc(1, TEST_MAX_BODY), TEST_MAX_BODY};
    f->answer = large;
    open_tunnel(f);
    struct test_raw raw = come(f);
    fl_buf_add_z(&raw.out, "GET /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    TEST_AWAIT(&f->t, test_pump(&raw) && f->requests == 1);
    assert_int_equal(shutdown(raw.fd, SHUT_WR), 0);
    TEST_AWAIT(&f->t, test_at_end(&raw));
    assert_true(raw.in.n > large.n);
    TEST_AWAIT(&f->t, fl_tunnel_count(f->tunnel) == 0);
    test_disconnect(&raw);
    free((char *)large.p);
}

/* All that is there just now; true, so that it fits into a condition. */
static bool throw_away(const struct test_raw *raw)
{
    static char bytes[256 * 1024];
    while (recv(raw->fd, bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
        ;
    return true;
}

/* A client that sends and sends and reads nothing: what is taken from it is what sockets and the
 * buffers hold, not what it has. */
static void test_a_slow_reader_holds_the_other_side_back(void **state)
{
    struct fixture *f = *state;
    struct fl_str large = {fl_calloc(1, TEST_MAX_BODY), TEST_MAX_BODY};
    const size_t one = strlen(GET), enough = 48 * one;
    size_t sent = 0;
    f->answer = large;
    open_tunnel(f);
    struct test_raw raw = come(f);
    while (sent < enough)
        for (size_t at = 0; at < one; at++, sent++)
            assert_int_equal(send(raw.fd, &GET[at], 1, MSG_NOSIGNAL), 1);
    unsigned before = 0;
    for (int quiet = 0; quiet < 100; quiet = f->requests == before ? quiet + 1 : 0) {
        before = f->requests;
        (void)uv_run(&f->t.loop, UV_RUN_ONCE);
        assert_true(f->requests < enough / one);
    }
    TEST_AWAIT(&f->t, throw_away(&raw) && f->requests == enough / one);
    test_disconnect(&raw);
    TEST_AWAIT(&f->t, fl_tunnel_count(f->tunnel) == 0);
    free((char *)large.p);
}

static void assert_closed_at_once(struct fixture *f)
{
    struct test_raw raw = come(f);
    fl_buf_add_z(&raw.out, GET);
    TEST_AWAIT(&f->t, test_at_end(&raw));
    assert_int_equal(raw.in.n, 0);
    assert_int_equal(f->requests, 0);
    TEST_AWAIT(&f->t, fl_tunnel_count(f->tunnel) == 0);
    test_disconnect(&raw);
}

static void test_a_server_that_is_away_ends_the_connection(void **state)
{
    struct fixture *f = *state;
    open_tunnel(f);
    f->url = FL_STR("https://127.0.0.1:1");
    assert_closed_at_once(f);
    f->url = FL_STR("https://[::1]:1/path");
    assert_closed_at_once(f);
}

static void test_nothing_goes_in_plain_text_or_to_strangers(void **state)
{
    static const char zeros[] = "0000000000000000000000000000000000000000000000000000000000000000";
    struct fixture *f = *state;
    struct fl_str right = f->url;
    open_tunnel(f);
    f->url = fl_str_printf(f->t.arena, "http://127.0.0.1:%u", fl_http_server_port(f->t.server));
    assert_closed_at_once(f);
    f->url = right;
    f->pins.count = 0;
    assert_true(fl_tls_pins_add(&f->pins, fl_str_of(zeros)));
    assert_closed_at_once(f);
}

/* The server trusts this machine's own connections with more. */
static void test_a_server_on_this_machine_is_not_gone_to(void **state)
{
    struct fixture *f = *state;
    f->config.allow_here = false;
    open_tunnel(f);
    assert_closed_at_once(f);
}

static void assert_bounded(struct fixture *f, size_t most)
{
    struct test_raw raw[MOST + 1];
    open_tunnel(f);
    for (size_t i = 0; i <= most; i++) {
        raw[i] = come(f);
        if (i < most)
            TEST_AWAIT(&f->t, fl_tunnel_count(f->tunnel) == i + 1);
    }
    TEST_AWAIT(&f->t, test_at_end(&raw[most]));
    for (size_t i = 0; i < most; i++)
        assert_false(test_at_end(&raw[i]));
    for (size_t i = 0; i <= most; i++)
        test_disconnect(&raw[i]);
    TEST_AWAIT(&f->t, fl_tunnel_count(f->tunnel) == 0);
}

static void test_connections_are_bounded(void **state)
{
    assert_bounded(*state, MOST);
}

static void test_connections_of_one_are_bounded(void **state)
{
    struct fixture *f = *state;
    f->config.max_per_peer = MOST - 2;
    assert_bounded(f, MOST - 2);
}

static void test_who_says_nothing_is_let_go(void **state)
{
    struct fixture *f = *state;
    f->config.idle_ms = SHORT_IDLE_MS;
    open_tunnel(f);
    struct test_raw raw = come(f);
    TEST_AWAIT(&f->t, test_at_end(&raw));
    test_disconnect(&raw);
}

/* Tasks in host mode have the port in their environment. */
static void test_the_port_stays(void **state)
{
    struct fixture *f = *state;
    open_tunnel(f);
    uint16_t port = fl_tunnel_port(f->tunnel);
    struct test_raw raw = come(f);
    TEST_AWAIT(&f->t, fl_tunnel_count(f->tunnel) == 1);
    fl_tunnel_close(FL_TAKE_PTR(f->tunnel));
    TEST_AWAIT(&f->t, test_at_end(&raw));
    open_tunnel(f);
    assert_int_equal(fl_tunnel_port(f->tunnel), port);
    test_disconnect(&raw);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_requests_arrive_as_they_were_sent),
        TEST(test_an_answer_outlives_the_request),
        TEST(test_a_slow_reader_holds_the_other_side_back),
        TEST(test_a_server_that_is_away_ends_the_connection),
        TEST(test_nothing_goes_in_plain_text_or_to_strangers),
        TEST(test_a_server_on_this_machine_is_not_gone_to),
        TEST(test_connections_are_bounded),
        TEST(test_connections_of_one_are_bounded),
        TEST(test_who_says_nothing_is_let_go),
        TEST(test_the_port_stays),
    };
    (void)signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
