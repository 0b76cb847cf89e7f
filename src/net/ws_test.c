/* Websockets on loopback: echoes both ways, large and fragmented messages, refusals, closing codes,
 * both ends leaving at every stage.
 * Method: our server against our client in one loop; frames our client never sends come from a raw
 * socket. */
#include "net/test_loop.h"
#include "net/ws.h"
#include "net/ws_internal.h"

struct end {
    struct fl_ws *ws; /* NULL: none yet, or closed */
    unsigned opened;
    unsigned messages;
    unsigned closed;
    struct fl_str last;
    uint16_t code;
    unsigned status;
    struct fl_str text;
    struct fl_arena *arena;
    bool echo;
};

struct fixture {
    struct test_loop t;
    struct end server;
    struct end client;
    struct fl_http_exchange *held;
};

static void on_opened(void *context, FL_UNUSED struct fl_ws *ws)
{
    struct end *end = context;
    end->opened++;
}

static void on_message(void *context, struct fl_ws *ws, struct fl_str text)
{
    struct end *end = context;
    assert_int_equal(end->closed, 0);
    end->messages++;
    end->last = fl_str_dup(end->arena, text);
    if (end->echo)
        fl_ws_send(ws, text);
    if (fl_str_is(text, "please close"))
        fl_ws_close(ws, 4000, FL_STR("as asked"));
}

static void on_closed(void *context, FL_UNUSED struct fl_ws *ws, uint16_t code, unsigned status,
                      struct fl_str text)
{
    struct end *end = context;
    end->ws = NULL;
    end->closed++;
    end->code = code;
    end->status = status;
    end->text = fl_str_dup(end->arena, text);
}

static const struct fl_ws_callbacks callbacks = {on_opened, on_message, on_closed};

static void on_request(void *context, struct fl_http_exchange *exchange)
{
    struct fixture *f = context;
    const struct fl_header type = {FL_STR("Content-Type"), FL_STR("text/plain")};
    if (fl_str_is(exchange->path, "/refuse")) {
        fl_http_reply(exchange, 403, &type, 1, FL_STR("not you"));
    } else if (fl_str_is(exchange->path, "/hold")) {
        f->held = exchange;
    } else {
        f->server.ws = fl_http_upgrade(exchange, &callbacks, &f->server);
        if (f->server.ws && fl_str_is(exchange->query, "greet"))
            fl_ws_send(f->server.ws, FL_STR("welcome"));
    }
}

static int setup(void **state)
{
    struct fixture *f = fl_calloc(1, sizeof(*f));
    test_start(&f->t, on_request, f);
    f->server.arena = f->client.arena = f->t.arena;
    f->server.echo = true;
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    if (f->client.ws)
        fl_ws_break(f->client.ws, 0, FL_STR("the test ends"));
    test_stop(&f->t);
    assert_null(f->server.ws); /* stopping the server closes what is left */
    assert_true(f->server.closed <= 1 && f->client.closed <= 1);
    free(f);
    return 0;
}

static void dial(struct fixture *f, const char *path)
{
    f->client.ws =
        fl_ws_connect(&f->t.loop, test_url(&f->t, path), NULL, NULL, 0, &callbacks, &f->client);
    assert_non_null(f->client.ws);
}

static void dial_and_wait(struct fixture *f, const char *path)
{
    dial(f, path);
    TEST_AWAIT(&f->t, f->client.opened);
}

static void await_both_closed(struct fixture *f)
{
    TEST_AWAIT(&f->t, f->client.closed && f->server.closed);
}

static void messages_go_both_ways(void **state)
{
    struct fixture *f = *state;
    dial(f, "/ws?greet");
    fl_ws_send(f->client.ws, FL_STR("early")); /* queued until the handshake is done */
    TEST_AWAIT(&f->t, f->client.messages == 2);
    assert_int_equal(f->client.opened, 1);
    assert_true(fl_str_is(f->client.last, "early"));
    fl_ws_send(f->client.ws, FL_STR(""));
    TEST_AWAIT(&f->t, f->client.messages == 3);
    assert_int_equal(f->client.last.n, 0);
    fl_ws_send(f->server.ws, FL_STR("gr\xc3\xbc\xc3\x9f"));
    TEST_AWAIT(&f->t, f->client.messages == 4);
    assert_true(fl_str_is(f->client.last, "gr\xc3\xbc\xc3\x9f"));
}

static void large_messages_pass(void **state)
{
    struct fixture *f = *state;
    const size_t sizes[] = {125, 126, 65535, 65536, 300 * 1024, FL_WS_MAX_MESSAGE};
    dial_and_wait(f, "/ws");
    for (size_t i = 0; i < FL_ARRAY_SIZE(sizes); i++) {
        char *text = fl_arena_alloc(f->t.arena, sizes[i]);
        memset(text, 'a' + (int)i, sizes[i]);
        fl_ws_send(f->client.ws, (struct fl_str){text, sizes[i]});
        TEST_AWAIT(&f->t, f->client.messages == i + 1);
        assert_true(fl_str_eq(f->client.last, (struct fl_str){text, sizes[i]}));
    }
}

static void oversized_messages_close_with_1009(void **state)
{
    struct fixture *f = *state;
    size_t n = FL_WS_MAX_MESSAGE + 1;
    char *text = fl_arena_alloc(f->t.arena, n);
    memset(text, 'a', n);
    dial_and_wait(f, "/ws");
    fl_ws_send(f->client.ws, (struct fl_str){text, n});
    await_both_closed(f);
    assert_int_equal(f->client.code, 1009);
    assert_int_equal(f->server.code, 1009);
    assert_int_equal(f->server.messages, 0);
}

static void a_full_queue_closes_with_1013(void **state)
{
    struct fixture *f = *state;
    const size_t n = FL_WS_MAX_MESSAGE;
    char *text = fl_arena_alloc(f->t.arena, n);
    memset(text, 'a', n);
    f->server.echo = false;
    dial_and_wait(f, "/ws");
    for (int i = 0; i < 6; i++)
        fl_ws_send(f->client.ws, (struct fl_str){text, n});
    await_both_closed(f);
    assert_int_equal(f->client.code, 1013);
    assert_true(f->server.code == 1013 || f->server.code == 1002); /* wslay knows no 1013 */
}

static void either_side_closes_with_its_code_after_what_is_queued(void **state)
{
    struct fixture *f = *state;
    dial_and_wait(f, "/ws");
    fl_ws_send(f->client.ws, FL_STR("last words"));
    fl_ws_close(f->client.ws, 1001, FL_STR("leaving"));
    fl_ws_send(f->client.ws, FL_STR("too late"));
    await_both_closed(f);
    assert_true(fl_str_is(f->server.last, "last words"));
    assert_int_equal(f->server.messages, 1);
    assert_int_equal(f->server.code, 1001);
    assert_true(fl_str_is(f->server.text, "leaving"));
    assert_int_equal(f->client.code, 1001);
}

static void a_callback_may_close(void **state)
{
    struct fixture *f = *state;
    dial_and_wait(f, "/ws");
    fl_ws_send(f->client.ws, FL_STR("please close"));
    await_both_closed(f);
    assert_int_equal(f->client.messages, 1); /* the echo came first */
    assert_int_equal(f->client.code, 4000);
    assert_true(fl_str_is(f->client.text, "as asked"));
}

static void a_refusal_is_seen_with_its_body(void **state)
{
    struct fixture *f = *state;
    dial(f, "/refuse");
    TEST_AWAIT(&f->t, f->client.closed);
    assert_int_equal(f->client.code, 1006);
    assert_int_equal(f->client.status, 403);
    assert_true(fl_str_is(f->client.text, "not you"));
    assert_int_equal(f->client.opened, 0);
}

static void failing_to_connect_is_told(void **state)
{
    static const char *const urls[] = {"http://127.0.0.1:1/", "https://127.0.0.1/", "ws://",
                                       "ws://127.0.0.1:1/a b", "ws://127.0.0.1:1/\r\nX: y"};
    struct fixture *f = *state;
    for (size_t i = 0; i < FL_ARRAY_SIZE(urls); i++) {
        f->client.closed = 0;
        f->client.ws =
            fl_ws_connect(&f->t.loop, fl_str_of(urls[i]), NULL, NULL, 0, &callbacks, &f->client);
        assert_int_equal(f->client.closed, 0); /* never from within the call */
        TEST_AWAIT(&f->t, f->client.closed);
        assert_int_equal(f->client.status, 0);
        assert_true(f->client.text.n > 0);
    }
}

static void closing_before_the_handshake_ends_it(void **state)
{
    struct fixture *f = *state;
    dial(f, "/hold");
    TEST_AWAIT(&f->t, f->held);
    fl_ws_close(f->client.ws, 1000, FL_STR(""));
    TEST_AWAIT(&f->t, f->client.closed);
    assert_int_equal(f->client.opened, 0);
    /* The upgrade goes to a client that has left. */
    f->server.ws = fl_http_upgrade(FL_TAKE_PTR(f->held), &callbacks, &f->server);
    if (f->server.ws)
        TEST_AWAIT(&f->t, f->server.closed);
    assert_true(f->server.closed == 0 || f->server.code == 1006);
}

static void a_late_upgrade_works(void **state)
{
    struct fixture *f = *state;
    dial(f, "/hold");
    TEST_AWAIT(&f->t, f->held);
    f->server.ws = fl_http_upgrade(FL_TAKE_PTR(f->held), &callbacks, &f->server);
    assert_non_null(f->server.ws);
    fl_ws_send(f->client.ws, FL_STR("hello"));
    TEST_AWAIT(&f->t, f->client.messages == 1);
}

static void many_come_and_go(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 50; i++) {
        f->client.opened = f->client.closed = f->server.closed = 0;
        dial_and_wait(f, "/ws");
        fl_ws_close(f->client.ws, 1000, FL_STR(""));
        await_both_closed(f);
    }
}

/* ---- what only a raw socket does ---- */

#define HANDSHAKE                                                                                  \
    "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n"     \
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

/* A frame with the mask 0, which leaves the text readable. */
static void add_frame(struct test_raw *raw, uint8_t first, const char *text, bool masked)
{
    size_t n = strlen(text);
    assert_true(n < 126);
    fl_buf_add_char(&raw->out, (char)first);
    fl_buf_add_char(&raw->out, (char)(n | (masked ? 0x80 : 0)));
    if (masked)
        fl_buf_add(&raw->out, "\0\0\0\0", 4);
    fl_buf_add_z(&raw->out, text);
}

static struct test_raw raw_handshake(struct fixture *f)
{
    struct test_raw raw = test_connect(&f->t);
    fl_buf_add_z(&raw.out, HANDSHAKE);
    return raw;
}

static void the_specification_s_example_key_is_answered(void **state)
{
    struct fixture *f = *state;
    struct test_raw raw = raw_handshake(f);
    /* Frames right behind the handshake must not get lost. */
    add_frame(&raw, 0x81, "together", true);
    TEST_AWAIT(&f->t, test_has(&raw, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    TEST_AWAIT(&f->t, test_has(&raw, "\x81\x08together"));
    test_disconnect(&raw);
    TEST_AWAIT(&f->t, f->server.closed);
    assert_int_equal(f->server.code, 1006);
}

static void fragments_are_assembled_and_pings_answered(void **state)
{
    struct fixture *f = *state;
    struct test_raw raw = raw_handshake(f);
    add_frame(&raw, 0x01, "one ", true);
    add_frame(&raw, 0x89, "ping", true);
    add_frame(&raw, 0x00, "two ", true);
    add_frame(&raw, 0x80, "three", true);
    TEST_AWAIT(&f->t, test_has(&raw, "\x81\x0done two three"));
    assert_true(test_has(&raw, "\x8a\x04ping"));
    assert_int_equal(f->server.messages, 1);
    test_disconnect(&raw);
    TEST_AWAIT(&f->t, f->server.closed);
}

static void bad_frames_close_with_their_code(void **state)
{
    static const struct {
        uint8_t first;
        const char *text;
        bool masked;
        uint16_t code;
    } cases[] = {
        {0x82, "binary", true, 1003},   {0x81, "unmasked", false, 1002},
        {0x81, "\xff\xfe", true, 1007}, {0x80, "nothing to continue", true, 1002},
        {0xc1, "reserved", true, 1002}, {0x83, "unknown opcode", true, 1002},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < FL_ARRAY_SIZE(cases); i++) {
        struct test_raw raw = raw_handshake(f);
        char frame[4] = {(char)0x88, 0, (char)(cases[i].code >> 8), (char)cases[i].code};
        f->server.closed = 0;
        f->server.messages = 0;
        TEST_AWAIT(&f->t, test_has(&raw, "\r\n\r\n"));
        size_t head = raw.in.n;
        add_frame(&raw, cases[i].first, cases[i].text, cases[i].masked);
        TEST_AWAIT(&f->t, test_pump(&raw) && raw.in.n >= head + 4);
        assert_int_equal((uint8_t)raw.in.p[head], (uint8_t)frame[0]);
        assert_memory_equal(raw.in.p + head + 2, frame + 2, 2);
        test_disconnect(&raw);
        TEST_AWAIT(&f->t, f->server.closed);
        assert_int_equal(f->server.code, cases[i].code);
        assert_int_equal(f->server.messages, 0);
    }
}

static void a_fragmented_control_frame_ends_the_connection(void **state)
{
    struct fixture *f = *state;
    struct test_raw raw = raw_handshake(f);
    add_frame(&raw, 0x09, "split ping", true);
    TEST_AWAIT(&f->t, test_at_end(&raw));
    assert_int_equal(f->server.closed, 1);
    assert_int_equal(f->server.code, 1006);
    test_disconnect(&raw);
}

static void a_peer_that_never_answers_a_close_is_left(void **state)
{
    struct fixture *f = *state;
    struct test_raw raw = raw_handshake(f);
    TEST_AWAIT(&f->t, test_pump(&raw) && f->server.ws && test_has(&raw, "\r\n\r\n"));
    fl_ws_close(f->server.ws, 1001, FL_STR("going"));
    TEST_AWAIT(&f->t, test_pump(&raw) && f->server.closed);
    assert_int_equal(f->server.code, 1001);
    TEST_AWAIT(&f->t, test_at_end(&raw));
    test_disconnect(&raw);
}

static void what_is_no_upgrade_is_refused(void **state)
{
    static const char *const requests[] = {
        "POST /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        "Content-Length: 0\r\n\r\n",
        "GET /ws HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 8\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: short\r\n\r\n",
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < FL_ARRAY_SIZE(requests); i++) {
        struct test_raw raw = test_connect(&f->t);
        fl_buf_add_z(&raw.out, requests[i]);
        TEST_AWAIT(&f->t, test_has(&raw, "BadRequestException"));
        assert_true(test_has(&raw, "HTTP/1.1 400 "));
        assert_null(f->server.ws);
        test_disconnect(&raw);
    }
}

static void stopping_the_server_closes_its_websockets(void **state)
{
    struct fixture *f = *state;
    dial_and_wait(f, "/ws");
    fl_ws_send(f->client.ws, FL_STR("x"));
    TEST_AWAIT(&f->t, f->client.messages == 1);
    fl_http_server_stop(f->t.server);
    f->t.server = NULL;
    assert_int_equal(f->server.closed, 1);
    TEST_AWAIT(&f->t, f->client.closed);
    assert_int_equal(f->client.code, 1006);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(messages_go_both_ways),
        CASE(large_messages_pass),
        CASE(oversized_messages_close_with_1009),
        CASE(a_full_queue_closes_with_1013),
        CASE(either_side_closes_with_its_code_after_what_is_queued),
        CASE(a_callback_may_close),
        CASE(a_refusal_is_seen_with_its_body),
        CASE(failing_to_connect_is_told),
        CASE(closing_before_the_handshake_ends_it),
        CASE(a_late_upgrade_works),
        CASE(many_come_and_go),
        CASE(the_specification_s_example_key_is_answered),
        CASE(fragments_are_assembled_and_pings_answered),
        CASE(bad_frames_close_with_their_code),
        CASE(a_fragmented_control_frame_ends_the_connection),
        CASE(a_peer_that_never_answers_a_close_is_left),
        CASE(what_is_no_upgrade_is_refused),
        CASE(stopping_the_server_closes_its_websockets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
