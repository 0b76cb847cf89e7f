/* JSON from outside and to outside: every refusal says why; whatever is written parses again.
 * Method: literal texts in, literal texts out; and random texts, nearly right or quite right, about
 * which jansson has to agree. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "wire/json_oracle.h"

static void refused(struct fl_str text, const char *reason)
{
    struct fl_err err = {0};
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    assert_null(fl_json_read(text, arena, &err));
    assert_int_not_equal(err.status, 0);
    if (!strstr(err.text, reason))
        fail_msg("\"%s\" does not say \"%s\"", err.text, reason);
}

static void accepted(const char *text)
{
    struct fl_err err = {0};
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    if (!fl_json_read(fl_str_of(text), arena, &err))
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
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    const struct fl_json *json =
        fl_json_read(FL_STR("{\"a\":\"1\",\"c\":3,\"a\":\"2\"}"), arena, NULL);
    assert_string_equal(fl_json_z(fl_json_get(json, "a")), "2");
    assert_int_equal(fl_json_members(json), 2);
    assert_int_equal(fl_json_int(fl_json_get(json, "c")), 3);
    assert_null(fl_json_get(json, "b"));
    assert_int_equal(fl_json_text(fl_json_get(json, "b")).n, 0);
    assert_int_equal(fl_json_text(json).n, 0);
}

/* Beyond the number that is looked through one by one, too; first and last are far apart. */
static void equal_members_are_found_among_many(FL_UNUSED void **state)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(1 << 20);
    for (int members = 2; members < 3000; members *= 3) {
        fl_buf_clear(&buf);
        fl_buf_add_char(&buf, '{');
        for (int i = 0; i < 2 * members; i++)
            fl_buf_printf(&buf, "%s\"name%d\":%d", i ? "," : "", i % members, i);
        fl_buf_add_char(&buf, '}');
        const struct fl_json *json = fl_json_read(fl_buf_str(&buf), arena, NULL);
        assert_int_equal(fl_json_members(json), members);
        for (int i = 0; i < members; i++)
            assert_int_equal(fl_json_int(fl_json_member(json, (size_t)i)), members + i);
    }
}

static void what_a_text_says_is_read(FL_UNUSED void **state)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    const struct fl_json *json = fl_json_read(
        FL_STR(" {\"s\":\"a\\u20ac\\ud83d\\udc0e\\n\",\"l\":[true,false,null,-1.5e3],\"n\":"
               "-9223372036854775808,\"o\":{}} "),
        arena, NULL);
    const struct fl_json *list = fl_json_get(json, "l");
    assert_string_equal(fl_json_z(fl_json_get(json, "s")), "a\xe2\x82\xac\xf0\x9f\x90\x8e\n");
    assert_true(fl_json_int(fl_json_get(json, "n")) == INT64_MIN);
    assert_int_equal(fl_json_items(list), 4);
    assert_true(fl_json_is_true(fl_json_item(list, 0)));
    assert_true(fl_json_is(fl_json_item(list, 1), FL_JSON_FALSE));
    assert_true(fl_json_is(fl_json_item(list, 2), FL_JSON_NULL));
    assert_true(fl_json_number(fl_json_item(list, 3)) == -1500.0);
    assert_null(fl_json_item(list, 4));
    assert_true(fl_json_is(fl_json_get(json, "o"), FL_JSON_OBJECT));
    assert_int_equal(fl_json_items(fl_json_get(json, "o")), 0);
}

static void what_is_asked_of_nothing_is_nothing(FL_UNUSED void **state)
{
    assert_null(fl_json_get(NULL, "a"));
    assert_null(fl_json_item(NULL, 0));
    assert_null(fl_json_z(NULL));
    assert_int_equal(fl_json_items(NULL) + fl_json_members(NULL) + fl_json_text(NULL).n, 0);
    assert_true(fl_json_int(NULL) == 0 && fl_json_number(NULL) == 0 && !fl_json_is_true(NULL));
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

/* ---- random texts ---- */

static uint32_t draw(uint64_t *seed, uint32_t below)
{
    *seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(*seed >> 33) % below;
}

static void add_random_string(struct fl_buf *buf, uint64_t *seed)
{
    static const char *const parts[] = {"a",
                                        "b",
                                        "key",
                                        "plain text of some length",
                                        "\\n",
                                        "\\u0041",
                                        "\\ud83d\\udc0e",
                                        "\xc3\xa9",
                                        "\\/",
                                        "\xf0\x9f\x90\x8e",
                                        "\\\\\\\"",
                                        "\xed\x9f\xbf",
                                        "\\ud83d",
                                        "\\u0000",
                                        "\xff",
                                        "\\x",
                                        "\t",
                                        "\xed\xa0\x80"};
    const uint32_t good = 12;
    fl_buf_add_char(buf, '"');
    for (uint32_t n = draw(seed, 4); n > 0; n--)
        fl_buf_add_z(buf, parts[draw(seed, draw(seed, 40) ? good : FL_ARRAY_SIZE(parts))]);
    fl_buf_add_char(buf, '"');
}

static void add_random_number(struct fl_buf *buf, uint64_t *seed)
{
    static const char *const odd[] = {"9223372036854775807",
                                      "-9223372036854775808",
                                      "9223372036854775808",
                                      "-0",
                                      "-0.0",
                                      "1e308",
                                      "1e309",
                                      "4.9e-324",
                                      "1E+2",
                                      "123456789012345678901234567890.5",
                                      "0.1234567890123456789",
                                      "1763640000.123",
                                      "01",
                                      "1.",
                                      "-"};
    uint32_t kind = draw(seed, 4);
    if (kind == 0)
        fl_buf_add_z(buf, odd[draw(seed, draw(seed, 40) ? 2 : FL_ARRAY_SIZE(odd))]);
    else if (kind == 1)
        fl_buf_printf(buf, "%d", (int)draw(seed, UINT32_MAX));
    else
        fl_buf_printf(buf, "%s%u.%u", kind == 2 ? "-" : "", draw(seed, 1u << draw(seed, 31)),
                      draw(seed, UINT32_MAX));
    if (kind == 3 && draw(seed, 2))
        fl_buf_printf(buf, "e%d", (int)draw(seed, 600) - 300);
}

static void add_random(struct fl_buf *buf, uint64_t *seed, int depth)
{
    static const char *const words[] = {"true", "false", "null", "{}", "[]", " ", "nul"};
    uint32_t kind = draw(seed, depth < 6 ? 8 : 4);
    if (kind < 2) {
        add_random_string(buf, seed);
    } else if (kind == 2) {
        add_random_number(buf, seed);
    } else if (kind == 3) {
        fl_buf_add_z(buf, words[draw(seed, draw(seed, 40) ? 5 : FL_ARRAY_SIZE(words))]);
    } else {
        bool is_object = kind < 6;
        uint32_t n = draw(seed, 200) ? draw(seed, 6) : 100;
        fl_buf_add_char(buf, is_object ? '{' : '[');
        for (uint32_t i = 0; i < n; i++) {
            fl_buf_add_z(buf, i == 0 ? "" : draw(seed, 5) ? "," : " ,\n");
            if (is_object) {
                add_random_string(buf, seed);
                fl_buf_add_z(buf, draw(seed, 5) ? ":" : "\t: ");
            }
            add_random(buf, seed, n > 6 ? 6 : depth + 1);
        }
        fl_buf_add_char(buf, is_object ? '}' : ']');
    }
}

static void break_somewhere(struct fl_buf *buf, uint64_t *seed)
{
    static const char bytes[] = "{}[],:\"\\0e.-+ \x80\xc3t";
    for (uint32_t n = draw(seed, 3); n > 0 && buf->n > 0; n--)
        buf->p[draw(seed, (uint32_t)buf->n)] = bytes[draw(seed, sizeof(bytes))];
    if (draw(seed, 8) == 0)
        buf->n = draw(seed, (uint32_t)buf->n + 1);
}

static void jansson_agrees_about_random_texts(FL_UNUSED void **state)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(8 << 20), again = FL_BUF_INIT(8 << 20);
    size_t accepted_count = 0, rounds = 60000;
    for (uint64_t round = 1; round <= rounds; round++) {
        uint64_t seed = round;
        const struct fl_json *json, *second;
        fl_arena_reset(arena);
        fl_buf_clear(&buf);
        add_random(&buf, &seed, 0);
        if (draw(&seed, 2))
            break_somewhere(&buf, &seed);
        if (!oracle_check(fl_buf_str(&buf), arena, &json))
            fail_msg("round %llu: %.*s", (unsigned long long)round, (int)buf.n, buf.p);
        if (!json)
            continue;
        accepted_count++;
        fl_buf_clear(&again);
        fl_jw_json(&(struct fl_json_writer){.buf = &again}, json);
        assert_true(oracle_check(fl_buf_str(&again), arena, &second) && second);
    }
    assert_in_range(accepted_count, rounds / 4, rounds * 3 / 4);
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
        cmocka_unit_test(equal_members_are_found_among_many),
        cmocka_unit_test(what_a_text_says_is_read),
        cmocka_unit_test(what_is_asked_of_nothing_is_nothing),
        cmocka_unit_test(jansson_agrees_about_random_texts),
        cmocka_unit_test(commas_come_by_themselves),
        cmocka_unit_test(strings_are_escaped_and_repaired),
        cmocka_unit_test(bad_bytes_become_replacement_characters),
        cmocka_unit_test(times_have_up_to_three_decimals),
        cmocka_unit_test(doubles_read_back_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
