/* Signed calls end to end: what the client sends must pass the verifier behind a real server,
 * errors of every AWS shape must be read, a websocket's signed handshake must verify too. Method: a
 * server that answers with the verifier's verdict; the blocking call from a thread. */
#include "net/aws_client.h"

#include <pthread.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "net/test_loop.h"

struct fixture {
    struct test_loop t;
    struct fl_http_client *http;
    struct fl_aws_client *aws;
    struct fl_sigv4_cache *cache;
    struct fl_credentials key;
    struct fl_sigv4_result verdict; /* of the last request; texts die with it, the status stays */
    unsigned answers;
    unsigned status;
    struct fl_str body;
    bool socket_closed;
};

static bool look_up(void *context, struct fl_str access_key_id, struct fl_credentials *ret_key)
{
    const struct fixture *f = context;
    *ret_key = f->key;
    return fl_str_eq(access_key_id, f->key.access_key_id);
}

static void on_request(void *context, struct fl_http_exchange *exchange)
{
    struct fixture *f = context;
    const struct fl_sigv4_request request = {exchange->method,       exchange->path,
                                             exchange->query,        exchange->headers,
                                             exchange->header_count, exchange->body};
    f->verdict = fl_sigv4_verify(&request, FL_STR("us-east-1"), fl_clock_wall_ms(), f->cache,
                                 look_up, f, exchange->arena);
    struct fl_str answer =
        f->verdict.status == FL_SIGV4_OK
            ? fl_str_printf(exchange->arena, "%.*s|%.*s|%.*s", FL_STR_ARG(f->verdict.service),
                            FL_STR_ARG(fl_http_header(exchange, "x-amz-target")),
                            FL_STR_ARG(exchange->body))
            : f->verdict.text;
    fl_http_reply(exchange, f->verdict.status == FL_SIGV4_OK ? 200 : 400, NULL, 0, answer);
}

static struct fl_aws_config config_of(struct fixture *f)
{
    return (struct fl_aws_config){test_url(&f->t, ""), FL_STR("us-east-1"), f->key};
}

static int setup(void **state)
{
    struct fixture *f = fl_calloc(1, sizeof(*f));
    struct fl_err err = {0};
    test_start(&f->t, on_request, f);
    f->key = (struct fl_credentials){FL_STR("AKIDEXAMPLE"), FL_STR("secret"), FL_STR("to/ken+==")};
    f->cache = fl_sigv4_cache_new();
    assert_int_equal(fl_http_client_new(&f->t.loop, &f->http, &err), 0);
    const struct fl_aws_config config = config_of(f);
    f->aws = fl_aws_client_new(f->http, &config);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    fl_aws_client_free(f->aws);
    fl_http_client_free(f->http);
    test_stop(&f->t);
    fl_sigv4_cache_free(f->cache);
    free(f);
    return 0;
}

static void on_answer(void *context, const struct fl_http_response *response)
{
    struct fixture *f = context;
    f->answers++;
    f->status = response->status;
    f->body = fl_str_dup(f->t.arena, response->body);
}

static void calls_are_signed_so_that_they_verify(void **state)
{
    struct fixture *f = *state;
    fl_aws_call(f->aws, "ecs", "T.RunTask", FL_STR("{\"count\":1}"), 5000, on_answer, f);
    TEST_AWAIT(&f->t, f->answers == 1);
    assert_string_equal(f->body.p, "ecs|T.RunTask|{\"count\":1}");
    assert_int_equal(f->status, 200);
    fl_aws_call(f->aws, "logs", "T.PutLogEvents", FL_STR(""), 5000, on_answer, f);
    TEST_AWAIT(&f->t, f->answers == 2);
    assert_string_equal(f->body.p, "logs|T.PutLogEvents|");
}

static void a_wrong_secret_is_refused(void **state)
{
    struct fixture *f = *state;
    f->key.secret = FL_STR("rotated");
    fl_aws_call(f->aws, "ecs", "T.RunTask", FL_STR("{}"), 5000, on_answer, f);
    TEST_AWAIT(&f->t, f->answers == 1);
    assert_int_equal(f->status, 400);
    assert_int_equal(f->verdict.status, FL_SIGV4_MISMATCH);
}

static void on_closed(void *context, FL_UNUSED struct fl_ws *ws, FL_UNUSED uint16_t code,
                      unsigned status, FL_UNUSED struct fl_str text)
{
    struct fixture *f = context;
    f->socket_closed = true;
    f->status = status;
}

static void a_websocket_s_handshake_verifies(void **state)
{
    static const struct fl_ws_callbacks callbacks = {.closed = on_closed};
    struct fixture *f = *state;
    struct fl_header *headers;
    struct fl_str url = test_url(&f->t, "/ws?clusterArn=arn%3Aaws%3Aecs&seqNum=1");
    size_t n = fl_aws_sign_websocket(f->aws, "ecs", url, FL_STR(""), f->t.arena, &headers);
    (void)fl_ws_connect(&f->t.loop, url, NULL, headers, n, &callbacks, f);
    TEST_AWAIT(&f->t, f->socket_closed);
    assert_int_equal(f->verdict.status, FL_SIGV4_OK);
    assert_int_equal(f->status, 200); /* it is no websocket server, so the handshake failed */
}

static void error_of(struct fixture *f, unsigned status, const char *body, const char *code,
                     const char *message)
{
    const struct fl_http_response response = {status, fl_str_of(body)};
    struct fl_str got_code, got_message;
    fl_aws_error(&response, f->t.arena, &got_code, &got_message);
    assert_string_equal(fl_str_z(f->t.arena, got_code), code);
    assert_string_equal(fl_str_z(f->t.arena, got_message), message);
}

static void errors_of_every_shape_are_read(void **state)
{
    struct fixture *f = *state;
    error_of(f, 400, "{\"__type\":\"ClusterNotFoundException\",\"message\":\"no\"}",
             "ClusterNotFoundException", "no");
    error_of(f, 400, "{\"__type\":\"com.amazonaws.ecs#ServerException\",\"Message\":\"No\"}",
             "ServerException", "No");
    error_of(f, 400, "{\"__type\":\"X\"}", "X", "");
    error_of(f, 500, "<html>", "UnknownError", "HTTP status 500");
    error_of(f, 500, "[1]", "UnknownError", "HTTP status 500");
    error_of(f, 400, "{\"__type\":7,\"message\":[]}", "UnknownError", "");
    error_of(f, 0, "connection refused", "UnknownError", "connection refused");
}

/* The blocking call has a loop of its own, so it runs beside the server's. */
struct blocking {
    struct fl_aws_config config;
    struct fl_arena *arena;
    struct fl_http_response response;
    struct fl_err err;
    int rc;
    atomic_bool done;
};

static void *call_and_wait(void *argument)
{
    struct blocking *b = argument;
    b->rc = fl_aws_call_wait(&b->config, "ecs", "T.ListClusters", FL_STR("{}"), 5000, b->arena,
                             &b->response, &b->err);
    b->done = true;
    return NULL;
}

static void one_call_from_start_to_end(void **state)
{
    struct fixture *f = *state;
    struct blocking b = {.config = config_of(f), .arena = fl_arena_new()};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, call_and_wait, &b), 0);
    TEST_AWAIT(&f->t, b.done);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(b.rc, 0);
    assert_int_equal(b.response.status, 200);
    assert_string_equal(b.response.body.p, "ecs|T.ListClusters|{}");
    fl_arena_free(b.arena);
}

static void no_server_is_an_error(FL_UNUSED void **state)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    const struct fl_aws_config config = {
        FL_STR("http://127.0.0.1:1"), FL_STR("us-east-1"), {FL_STR("a"), FL_STR("b"), {NULL, 0}}};
    struct fl_http_response response;
    struct fl_err err = {0};
    assert_true(
        fl_aws_call_wait(&config, "ecs", "T.X", FL_STR("{}"), 5000, arena, &response, &err) < 0);
    assert_non_null(strstr(err.text, "no answer from http://127.0.0.1:1"));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(calls_are_signed_so_that_they_verify), CASE(a_wrong_secret_is_refused),
        CASE(a_websocket_s_handshake_verifies),     CASE(errors_of_every_shape_are_read),
        CASE(one_call_from_start_to_end),           cmocka_unit_test(no_server_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
