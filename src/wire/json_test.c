/* JSON from outside and to outside: every refusal says why; whatever is written parses again.
 * Method: literal texts in, literal texts out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "wire/json.h"

static void refused(struct fl_str text, const char *reason)
{
    struct fl_err err = {0};
    json_t *json = fl_json_parse(text, &err);
    assert_null(json);
    assert_int_not_equal(err.status, 0);
    if (!strstr(err.text, reason))
        fail_msg("\"%s\" does not say \"%s\"", err.text, reason);
}

static void accepted(const char *text)
{
    struct fl_err err = {0};
    FL_CLEANUP_JSON json_t *json = fl_json_parse(fl_str_of(text), &err);
    if (!json)
        fail_msg("%s: %s", text, err.text);
}

static void nest(struct fl_buf *buf, size_t levels, const char *open, const char *close)
{
    for (size_t i = 0; i < levels; i++)
        fl_buf_add_z(buf, open);
    for (size_t i = 0; i < levels; i++)
        fl_buf_add_z(buf, close);
}

static void depth_is_bounded(FL_UNUSED void **state)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(1 << 20);
    nest(&buf, FL_JSON_MAX_DEPTH, "[", "]");
    accepted(buf.p);
    fl_buf_clear(&buf);
    nest(&buf, FL_JSON_MAX_DEPTH + 1, "[", "]");
    refused(fl_buf_str(&buf), "nested deeper than 40 levels");
    fl_buf_clear(&buf);
    nest(&buf, 100, "[", "]");
    refused(fl_buf_str(&buf), "nested deeper than 40 levels");
    fl_buf_clear(&buf);
    nest(&buf, 100000, "{\"a\":", "}");
    refused(fl_buf_str(&buf), "nested deeper than 40 levels");
}

static void the_number_of_values_is_bounded(FL_UNUSED void **state)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(4 << 20);
    fl_buf_add_char(&buf, '[');
    for (int i = 0; i < FL_JSON_MAX_VALUES; i++)
        fl_buf_add_z(&buf, "0,");
    fl_buf_add_z(&buf, "0]");
    refused(fl_buf_str(&buf), "more than 500000 values");
    memset(buf.p, ',', buf.n);
    buf.p[0] = buf.p[buf.n - 1] = '"';
    accepted(buf.p);
}

static void brackets_in_strings_do_not_nest(FL_UNUSED void **state)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(1024);
    fl_buf_add_z(&buf, "[\"\\\"");
    nest(&buf, 100, "[", "{");
    fl_buf_add_z(&buf, "\\\\\"]");
    accepted(buf.p);
}

static void what_is_not_json_is_refused(FL_UNUSED void **state)
{
    refused(FL_STR(""), "not valid JSON");
    refused(FL_STR("{"), "not valid JSON");
    refused(FL_STR("{} x"), "not valid JSON");
    refused(FL_STR("{'a': 1}"), "not valid JSON");
    refused(FL_STR("[1,]"), "not valid JSON");
    refused(FL_STR("nul"), "not valid JSON");
    refused(FL_STR("\"\\"), "not valid JSON");
    refused(FL_STR("99999999999999999999"), "not valid JSON");
    refused(FL_STR("]"), "not valid JSON");
    accepted(" {} \n");
    accepted("null");
    accepted("\"text\"");
}

static void nul_and_bad_utf8_are_refused(FL_UNUSED void **state)
{
    refused(FL_STR("{\"a\":\"\0\"}"), "NUL byte at offset 6");
    refused(FL_STR("{}\0"), "NUL byte at offset 2");
    refused(FL_STR("\"\\u0000\""), "NUL character");
    refused(FL_STR("\"\xff\""), "not UTF-8");
    refused(FL_STR("\"\xc0\xaf\""), "not UTF-8");
    refused(FL_STR("\"\xed\xa0\x80\""), "not UTF-8");
}

static void the_last_of_two_equal_members_wins(FL_UNUSED void **state)
{
    FL_CLEANUP_JSON json_t *json = fl_json_parse(FL_STR("{\"a\":\"1\",\"a\":\"2\"}"), NULL);
    assert_true(fl_str_is(fl_json_str(json_object_get(json, "a")), "2"));
    assert_int_equal(fl_json_str(json_object_get(json, "b")).n, 0);
    assert_int_equal(fl_json_str(json).n, 0);
}

static void commas_come_by_themselves(FL_UNUSED void **state)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(1024);
    struct fl_json_writer jw = {.buf = &buf};
    fl_jw_object_begin(&jw);
    fl_jw_member_int(&jw, "a", INT64_MIN);
    fl_jw_key(&jw, "b");
    fl_jw_array_begin(&jw);
    fl_jw_object_begin(&jw);
    fl_jw_object_end(&jw);
    fl_jw_array_begin(&jw);
    fl_jw_array_end(&jw);
    fl_jw_bool(&jw, false);
    fl_jw_raw(&jw, FL_STR("null"));
    fl_jw_int(&jw, 0);
    fl_jw_array_end(&jw);
    fl_jw_member_bool(&jw, "c", true);
    fl_jw_member_str(&jw, "d", FL_STR(""));
    fl_jw_object_end(&jw);
    assert_string_equal(buf.p, "{\"a\":-9223372036854775808,\"b\":[{},[],false,null,0],"
                               "\"c\":true,\"d\":\"\"}");
}

static void written(struct fl_str value, const char *expected)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(1024);
    struct fl_json_writer jw = {.buf = &buf};
    fl_jw_str(&jw, value);
    assert_string_equal(buf.p, expected);
    accepted(buf.p);
}

static void strings_are_escaped_and_repaired(FL_UNUSED void **state)
{
    written(FL_STR("a\"b\\c/\n\t\r\b\f\x01\x1f\x7f"),
            "\"a\\\"b\\\\c/\\n\\t\\r\\b\\f\\u0001\\u001f\x7f\"");
}

static void bad_bytes_become_replacement_characters(FL_UNUSED void **state)
{
    written(FL_STR("\xc3\xa9\xe2\x82\xac\xf0\x9f\x90\x8e"),
            "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x90\x8e\"");
    written(FL_STR("a\xff"), "\"a\xef\xbf\xbd\"");
    written(FL_STR("\xc3"), "\"\xef\xbf\xbd\"");
    written(FL_STR("\xe2\x82"), "\"\xef\xbf\xbd\xef\xbf\xbd\"");
    written(FL_STR("\xc0\x80"), "\"\xef\xbf\xbd\xef\xbf\xbd\"");
    written(FL_STR("\xed\xa0\x80"), "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"");
}

static void time_written(int64_t wall_ms, const char *expected)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(64);
    struct fl_json_writer jw = {.buf = &buf};
    fl_jw_time(&jw, wall_ms);
    assert_string_equal(buf.p, expected);
}

static void times_have_up_to_three_decimals(FL_UNUSED void **state)
{
    time_written(0, "0");
    time_written(1763640000000, "1763640000");
    time_written(1763640000120, "1763640000.12");
    time_written(1763640000007, "1763640000.007");
    time_written(-1500, "-1.5");
    time_written(INT64_MIN, "-9223372036854775.808");
}

static void double_written(double value, const char *expected)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(64);
    struct fl_json_writer jw = {.buf = &buf};
    fl_jw_double(&jw, value);
    assert_string_equal(buf.p, expected);
    accepted(buf.p);
}

static void doubles_read_back_the_same(FL_UNUSED void **state)
{
    double_written(0.1, "0.1");
    double_written(100, "100");
    double_written(1.0 / 3, "0.3333333333333333");
    double_written(1e300, "1e+300");
    double_written(0.0 / 0.0, "null");
    double_written(1e308 * 10, "null");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(depth_is_bounded),
        cmocka_unit_test(the_number_of_values_is_bounded),
        cmocka_unit_test(brackets_in_strings_do_not_nest),
        cmocka_unit_test(what_is_not_json_is_refused),
        cmocka_unit_test(nul_and_bad_utf8_are_refused),
        cmocka_unit_test(the_last_of_two_equal_members_wins),
        cmocka_unit_test(commas_come_by_themselves),
        cmocka_unit_test(strings_are_escaped_and_repaired),
        cmocka_unit_test(bad_bytes_become_replacement_characters),
        cmocka_unit_test(times_have_up_to_three_decimals),
        cmocka_unit_test(doubles_read_back_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
