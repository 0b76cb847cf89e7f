/* Goal: agents and server understand each other over TLS, and an agent speaks to nobody whose
 * certificate it was not told of.
 * Method: our server against our clients in one loop; a plain socket and old TLS as strangers. */
#include "net/test_loop.h"

#include <openssl/ssl.h>
#include <signal.h>

#include "base/clock.h"
#include "net/http_client.h"
#include "net/tls_front.h"
#include "net/ws.h"

enum { DAY_MS = 24 * 60 * 60 * 1000, LARGE = 3 * 1024 * 1024 };

struct fixture {
    struct test_loop t;
    struct fl_buf pem;
    struct fl_tls_front *front;
    struct fl_tls_pins pins;
    struct fl_http_client *client;
    struct fl_http_response response;
    unsigned answers;
    unsigned requests;
    bool was_tls;
    struct fl_ws *server;
    unsigned messages, closed;
    struct fl_str last, why;
};

static void on_message(void *context, struct fl_ws *ws, struct fl_str text)
{
    struct fixture *f = context;
    if (ws == f->server) {
        fl_ws_send(ws, text);
        return;
    }
    f->messages++;
    f->last = fl_str_dup(f->t.arena, text);
}

static void on_closed(void *context, struct fl_ws *ws, FL_UNUSED uint16_t code,
                      FL_UNUSED unsigned status, struct fl_str text)
{
    struct fixture *f = context;
    if (ws != f->server)
        f->closed++;
    f->why = fl_str_dup(f->t.arena, text);
}

static const struct fl_ws_callbacks callbacks = {.message = on_message, .closed = on_closed};

static void on_request(void *context, struct fl_http_exchange *exchange)
{
    struct fixture *f = context;
    f->requests++;
    f->was_tls = exchange->is_tls;
    if (fl_str_is(exchange->path, "/ws"))
        f->server = fl_http_upgrade(exchange, &callbacks, f);
    else
        fl_http_reply(exchange, 200, NULL, 0, exchange->body);
}

static int setup(void **state)
{
    struct fixture *f = fl_calloc(1, sizeof(*f));
    struct fl_tls_certificate certificate;
    f->pem = FL_BUF_INIT(FL_TLS_MAX_PEM);
    assert_int_equal(fl_tls_make_certificate(fl_clock_wall_ms(), DAY_MS, &f->pem, NULL), 0);
    assert_int_equal(fl_tls_read_certificate(fl_buf_str(&f->pem), &certificate, NULL), 0);
    assert_true(fl_tls_pins_add(&f->pins, fl_str_of(certificate.hash)));
    test_start(&f->t, on_request, f);
    const struct fl_tls_front_config config = {.listen = FL_STR("127.0.0.1:0"),
                                               .pem = f->pem.p,
                                               .max_connections = 10,
                                               .http = f->t.server};
    assert_int_equal(fl_tls_front_open(&f->t.loop, &config, &f->front, NULL), 0);
    f->t.tls_port = fl_tls_front_port(f->front);
    assert_int_equal(fl_http_client_new(&f->t.loop, &f->client, NULL), 0);
    fl_http_client_pin(f->client, &f->pins);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    fl_http_client_free(f->client);
    fl_tls_front_close(f->front);
    test_stop(&f->t);
    fl_buf_free(&f->pem);
    free(f);
    return 0;
}

static void on_answer(void *context, const struct fl_http_response *response)
{
    struct fixture *f = context;
    f->answers++;
    f->response =
        (struct fl_http_response){response->status, fl_str_dup(f->t.arena, response->body)};
}

static void post(struct fixture *f, struct fl_str body)
{
    const struct fl_http_request request = {
        .method = FL_STR("POST"), .url = test_url(&f->t, "/"), .body = body};
    unsigned before = f->answers;
    fl_http_client_send(f->client, &request, on_answer, f);
    TEST_AWAIT(&f->t, f->answers > before);
}

static struct fl_ws *open_ws(struct fixture *f, const struct fl_tls_pins *pins)
{
    return fl_ws_connect(&f->t.loop, test_url(&f->t, "/ws"), pins, NULL, 0, &callbacks, f);
}

static void forget_pins(struct fixture *f)
{
    static const char zeros[] = "0000000000000000000000000000000000000000000000000000000000000000";
    f->pins.count = 0;
    assert_true(fl_tls_pins_add(&f->pins, fl_str_of(zeros)));
}

static void test_requests_go_both_ways(void **state)
{
    struct fixture *f = *state;
    struct fl_str large = {fl_calloc(1, TEST_MAX_BODY), TEST_MAX_BODY};
    memset((char *)large.p, 'x', large.n);
    post(f, FL_STR("hello"));
    assert_int_equal(f->response.status, 200);
    assert_true(fl_str_is(f->response.body, "hello"));
    assert_true(f->was_tls);
    post(f, large);
    assert_true(fl_str_eq(f->response.body, large));
    free((char *)large.p);
}

static void test_a_stranger_is_not_spoken_to(void **state)
{
    struct fixture *f = *state;
    forget_pins(f);
    post(f, FL_STR("a secret"));
    assert_int_equal(f->response.status, 0);
    assert_true(fl_str_is(f->response.body, FL_TLS_STRANGER));
    (void)open_ws(f, &f->pins);
    TEST_AWAIT(&f->t, f->closed == 1);
    assert_true(fl_str_is(f->why, FL_TLS_STRANGER));
    assert_int_equal(f->requests, 0);
}

static void test_without_pins_a_websocket_goes_nowhere(void **state)
{
    struct fixture *f = *state;
    (void)open_ws(f, NULL);
    TEST_AWAIT(&f->t, f->closed == 1);
    assert_int_equal(f->requests, 0);
}

static void test_messages_go_both_ways(void **state)
{
    struct fixture *f = *state;
    struct fl_str large = {fl_calloc(1, LARGE), LARGE};
    memset((char *)large.p, 'y', large.n);
    struct fl_ws *ws = open_ws(f, &f->pins);
    fl_ws_send(ws, FL_STR("one"));
    TEST_AWAIT(&f->t, f->messages == 1);
    assert_true(fl_str_is(f->last, "one"));
    fl_ws_send(ws, large);
    TEST_AWAIT(&f->t, f->messages == 2);
    assert_true(fl_str_eq(f->last, large));
    for (int i = 0; i < 1000; i++)
        fl_ws_send(ws, FL_STR("many"));
    TEST_AWAIT(&f->t, f->messages == 1002);
    fl_ws_close(ws, 1000, FL_STR("done"));
    TEST_AWAIT(&f->t, f->closed == 1);
    free((char *)large.p);
}

static void test_the_next_certificate_may_be_known_before(void **state)
{
    struct fixture *f = *state;
    FL_CLEANUP_BUF struct fl_buf next = FL_BUF_INIT(FL_TLS_MAX_PEM);
    struct fl_tls_certificate certificate;
    assert_int_equal(fl_tls_make_certificate(fl_clock_wall_ms(), DAY_MS, &next, NULL), 0);
    assert_int_equal(fl_tls_read_certificate(fl_buf_str(&next), &certificate, NULL), 0);
    assert_true(fl_tls_pins_add(&f->pins, fl_str_of(certificate.hash)));
    struct fl_ws *ws = open_ws(f, &f->pins);
    fl_ws_send(ws, FL_STR("before"));
    TEST_AWAIT(&f->t, f->messages == 1);
    assert_int_equal(fl_tls_front_change(f->front, next.p, NULL), 0);
    post(f, FL_STR("again"));
    assert_true(fl_str_is(f->response.body, "again"));
    /* Connections that are there live on; the next one is met with the next certificate. */
    fl_ws_send(ws, FL_STR("after"));
    TEST_AWAIT(&f->t, f->messages == 2);
    struct fl_tls_pins only = {0};
    assert_true(fl_tls_pins_add(&only, fl_str_of(certificate.hash)));
    struct fl_ws *other = open_ws(f, &only);
    fl_ws_send(other, FL_STR("new"));
    TEST_AWAIT(&f->t, f->messages == 3);
    fl_ws_close(ws, 1000, FL_STR(""));
    fl_ws_close(other, 1000, FL_STR(""));
    TEST_AWAIT(&f->t, f->closed >= 2);
}

/* One request in plain text gets no answer, and no handler. */
static void test_plain_text_is_refused(void **state)
{
    struct fixture *f = *state;
    struct test_raw raw = test_connect_to(&f->t, f->t.tls_port);
    fl_buf_add_z(&raw.out, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    TEST_AWAIT(&f->t, test_at_end(&raw));
    assert_false(test_has(&raw, "HTTP/1.1"));
    assert_int_equal(f->requests, 0);
    test_disconnect(&raw);
}

/* A client that knows nothing newer than TLS 1.1. */
static void test_old_tls_is_refused(void **state)
{
    struct fixture *f = *state;
    struct test_raw raw = test_connect_to(&f->t, f->t.tls_port);
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
    assert_true(SSL_CTX_set_cipher_list(context, "ALL:@SECLEVEL=0"));
    assert_true(SSL_CTX_set_min_proto_version(context, TLS1_VERSION));
    assert_true(SSL_CTX_set_max_proto_version(context, TLS1_1_VERSION));
    SSL *ssl = SSL_new(context);
    SSL_set_bio(ssl, in, out);
    assert_int_equal(SSL_connect(ssl), -1);
    char *hello;
    long n = BIO_get_mem_data(out, &hello);
    assert_true(n > 0);
    fl_buf_add(&raw.out, hello, (size_t)n);
    TEST_AWAIT(&f->t, test_at_end(&raw));
    (void)BIO_write(in, raw.in.p ? raw.in.p : "", (int)raw.in.n);
    assert_int_not_equal(SSL_connect(ssl), 1);
    assert_false(SSL_is_init_finished(ssl));
    assert_int_equal(f->requests, 0);
    SSL_free(ssl);
    SSL_CTX_free(context);
    test_disconnect(&raw);
}

static void test_pins_are_hashes(FL_UNUSED void **state)
{
    struct fl_tls_pins pins = {0};
    char hash[FL_TLS_HASH_SIZE] = "";
    assert_false(fl_tls_pins_add(&pins, FL_STR("")));
    assert_false(fl_tls_pins_add(&pins, FL_STR("abc")));
    for (int i = 0; i < FL_TLS_MAX_PINS + 1; i++) {
        memset(hash, 'a' + i, sizeof(hash) - 1);
        assert_int_equal(fl_tls_pins_add(&pins, fl_str_of(hash)), i < FL_TLS_MAX_PINS);
    }
    assert_true(fl_tls_pins_add(&pins, fl_str_of(pins.hash[1])));
    assert_int_equal(pins.count, FL_TLS_MAX_PINS);
    struct fl_tls_certificate certificate;
    assert_true(fl_tls_read_certificate(FL_STR("no certificate"), &certificate, NULL) < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_requests_go_both_ways, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_stranger_is_not_spoken_to, setup, teardown),
        cmocka_unit_test_setup_teardown(test_without_pins_a_websocket_goes_nowhere, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_messages_go_both_ways, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_next_certificate_may_be_known_before, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_plain_text_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_old_tls_is_refused, setup, teardown),
        cmocka_unit_test(test_pins_are_hashes),
    };
    (void)signal(SIGPIPE, SIG_IGN); /* as agent and server do */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
