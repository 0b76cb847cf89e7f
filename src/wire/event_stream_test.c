/* Event streams: what is written reads back, a message whose CRCs another library computed is
 * written and read byte by byte, and nothing passes that was cut or changed. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "wire/event_stream.h"

/* One string header and a payload; the CRCs are zlib's. */
static const char vector[] = "\x00\x00\x00\x3d\x00\x00\x00\x20\x07\xfd\x83\x96\x0c"
                             "content-type\x07\x00\x10"
                             "application/json{'foo':'bar'}\x8d\x9c\x08\xb1";

static void a_known_message_is_written_and_read(void **state)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(1024);
    const struct fl_event_header header = {FL_STR("content-type"), FL_EVENT_STRING,
                                           FL_STR("application/json")};
    struct fl_event_message message;
    (void)state;
    fl_event_stream_encode(&buf, &header, 1, FL_STR("{'foo':'bar'}"));
    assert_int_equal(buf.n, sizeof(vector) - 1);
    assert_memory_equal(buf.p, vector, buf.n);
    assert_int_equal(fl_event_stream_decode(fl_buf_str(&buf), arena, &message), buf.n);
    assert_int_equal(message.header_count, 1);
    assert_true(fl_str_is(message.headers[0].value, "application/json"));
    assert_true(fl_str_is(message.payload, "{'foo':'bar'}"));
}

static void every_type_of_header_reads_back(void **state)
{
    static const char zeros[16];
    const struct fl_event_header headers[] = {
        {FL_STR("a"), FL_EVENT_TRUE, {zeros, 0}},      {FL_STR("b"), FL_EVENT_FALSE, {zeros, 0}},
        {FL_STR("c"), FL_EVENT_BYTE, {zeros, 1}},      {FL_STR("d"), FL_EVENT_SHORT, {zeros, 2}},
        {FL_STR("e"), FL_EVENT_INTEGER, {zeros, 4}},   {FL_STR("f"), FL_EVENT_LONG, {zeros, 8}},
        {FL_STR("g"), FL_EVENT_BYTES, {zeros, 3}},     {FL_STR("h"), FL_EVENT_STRING, {"xy", 2}},
        {FL_STR("i"), FL_EVENT_TIMESTAMP, {zeros, 8}}, {FL_STR("j"), FL_EVENT_UUID, {zeros, 16}},
    };
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(1024);
    struct fl_event_message message;
    (void)state;
    fl_event_stream_encode(&buf, headers, FL_ARRAY_SIZE(headers), FL_STR(""));
    assert_int_equal(fl_event_stream_decode(fl_buf_str(&buf), arena, &message), buf.n);
    assert_int_equal(message.header_count, FL_ARRAY_SIZE(headers));
    for (size_t i = 0; i < FL_ARRAY_SIZE(headers); i++) {
        assert_int_equal(message.headers[i].type, headers[i].type);
        assert_true(fl_str_eq(message.headers[i].name, headers[i].name));
        assert_true(fl_str_eq(message.headers[i].value, headers[i].value));
    }
}

static void what_was_cut_waits_and_what_was_changed_is_refused(void **state)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_event_message message;
    char changed[sizeof(vector)];
    (void)state;
    for (size_t n = 0; n < sizeof(vector) - 1; n++)
        assert_int_equal(fl_event_stream_decode((struct fl_str){vector, n}, arena, &message), 0);
    for (size_t i = 0; i < sizeof(vector) - 1; i++) {
        memcpy(changed, vector, sizeof(vector));
        changed[i] ^= 1;
        assert_int_equal(
            fl_event_stream_decode((struct fl_str){changed, sizeof(vector) - 1}, arena, &message),
            -EBADMSG);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_known_message_is_written_and_read),
        cmocka_unit_test(every_type_of_header_reads_back),
        cmocka_unit_test(what_was_cut_waits_and_what_was_changed_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
