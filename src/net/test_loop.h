/* For the tests of this folder: a server on a port of its own, a loop with a limit on waiting, and
 * a raw TCP client in the same loop. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <uv.h>

#include "net/http_server.h"

enum { TEST_MAX_BODY = 1024 * 1024, TEST_PATIENCE_MS = 10000, TEST_TICK_MS = 2 };

struct test_loop {
    uv_loop_t loop;
    uv_timer_t tick; /* lets uv_run return, so that a condition can be looked at */
    struct fl_http_server *server;
    struct fl_arena *arena;
    void *user;
    uint16_t tls_port; /* where a test has put TLS in front of the server; 0: nowhere */
};

static void test_on_tick(FL_UNUSED uv_timer_t *timer)
{
}

static inline void test_start(struct test_loop *t, fl_http_handler handler, void *context)
{
    struct fl_err err = {0};
    const struct fl_http_server_config config = {.listen = FL_STR("127.0.0.1:0"),
                                                 .max_body = TEST_MAX_BODY,
                                                 .max_connections = 100,
                                                 .handler = handler,
                                                 .context = context};
    assert_int_equal(uv_loop_init(&t->loop), 0);
    assert_int_equal(uv_timer_init(&t->loop, &t->tick), 0);
    assert_int_equal(uv_timer_start(&t->tick, test_on_tick, TEST_TICK_MS, TEST_TICK_MS), 0);
    assert_int_equal(fl_http_server_start(&t->loop, &config, &t->server, &err), 0);
    assert_true(fl_http_server_port(t->server) > 0);
    t->arena = fl_arena_new();
}

/* Everything must be closed at the end, or the loop does not close. */
static inline void test_stop(struct test_loop *t)
{
    fl_http_server_stop(t->server);
    uv_close((uv_handle_t *)&t->tick, NULL);
    (void)uv_run(&t->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&t->loop), 0);
    fl_arena_free(t->arena);
}

/* Runs the loop until the condition holds; fails the test if that takes too long. */
#define TEST_AWAIT(t, condition)                                                                   \
    do {                                                                                           \
        uint64_t limit_ = uv_hrtime() / 1000000 + TEST_PATIENCE_MS;                                \
        while (!(condition)) {                                                                     \
            assert_true(uv_hrtime() / 1000000 < limit_);                                           \
            (void)uv_run(&(t)->loop, UV_RUN_ONCE);                                                 \
        }                                                                                          \
    } while (0)

static inline struct fl_str test_url(struct test_loop *t, const char *path)
{
    return fl_str_printf(t->arena, "http%s://127.0.0.1:%u%s", t->tls_port ? "s" : "",
                         t->tls_port ? t->tls_port : fl_http_server_port(t->server), path);
}

/* ---- a raw client ---- */

struct test_raw {
    struct test_loop *t;
    int fd;
    struct fl_buf out; /* still to be sent */
    struct fl_buf in;
    bool at_end; /* the server closed, or reset, the connection */
};

static inline struct test_raw test_connect_to(struct test_loop *t, uint16_t port)
{
    struct test_raw raw = {t, -1, FL_BUF_INIT(64 * 1024 * 1024), FL_BUF_INIT(64 * 1024 * 1024),
                           false};
    const struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    raw.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(raw.fd >= 0);
    assert_int_equal(connect(raw.fd, (const struct sockaddr *)&to, sizeof(to)), 0);
    return raw;
}

static inline struct test_raw test_connect(struct test_loop *t)
{
    return test_connect_to(t, fl_http_server_port(t->server));
}

/* Moves what can be moved without waiting; true, so that it fits into a condition. */
static inline bool test_pump(struct test_raw *raw)
{
    char bytes[16384];
    ssize_t sent =
        raw->out.n ? send(raw->fd, raw->out.p, raw->out.n, MSG_DONTWAIT | MSG_NOSIGNAL) : 0;
    if (sent > 0)
        fl_buf_consume(&raw->out, (size_t)sent);
    ssize_t got = recv(raw->fd, bytes, sizeof(bytes), MSG_DONTWAIT);
    if (got > 0)
        fl_buf_add(&raw->in, bytes, (size_t)got);
    else if (got == 0 || errno != EAGAIN)
        raw->at_end = true;
    return true;
}

static inline bool test_has(struct test_raw *raw, const char *text)
{
    (void)test_pump(raw);
    return fl_str_contains(fl_buf_str(&raw->in), fl_str_of(text));
}

static inline bool test_at_end(struct test_raw *raw)
{
    (void)test_pump(raw);
    return raw->at_end;
}

static inline void test_disconnect(struct test_raw *raw)
{
    (void)close(raw->fd);
    fl_buf_free(&raw->in);
    fl_buf_free(&raw->out);
}
