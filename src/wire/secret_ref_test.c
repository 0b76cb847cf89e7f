/* References to secrets and what is picked from their JSON. Method: each form of valueFrom that
 * ECS documents is taken apart; values of every type are picked; what is no reference, no object
 * or lacks what is asked for is refused in the ECS agent's words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>

#include "wire/secret_ref.h"

#define SECRET "arn:aws:secretsmanager:eu-central-1:000000000001:secret:db-AbCdEf"

static void assert_str(struct fl_str actual, const char *expected)
{
    assert_int_equal(actual.n, strlen(expected));
    assert_memory_equal(actual.p ? actual.p : "", expected, actual.n);
}

static void a_reference_has_four_parts_at_most(void **state)
{
    static const struct {
        const char *text, *id, *key, *stage, *version;
    } rows[] = {
        {SECRET, SECRET, "", "", ""},
        {SECRET ":::", SECRET, "", "", ""},
        {SECRET ":password::", SECRET, "password", "", ""},
        {SECRET "::AWSPREVIOUS:", SECRET, "", "AWSPREVIOUS", ""},
        {SECRET ":::9d4cb84b", SECRET, "", "", "9d4cb84b"},
        {SECRET ":k:s:v", SECRET, "k", "s", "v"},
        {"just-a-name", "just-a-name", "", "", ""},
    };
    (void)state;
    for (size_t i = 0; i < FL_ARRAY_SIZE(rows); i++) {
        struct fl_secret_ref ref;
        assert_int_equal(fl_secret_ref_parse(fl_str_of(rows[i].text), &ref, NULL), 0);
        assert_str(ref.secret_id, rows[i].id);
        assert_str(ref.json_key, rows[i].key);
        assert_str(ref.version_stage, rows[i].stage);
        assert_str(ref.version_id, rows[i].version);
    }
}

static void other_numbers_of_parts_are_refused(void **state)
{
    static const char *const texts[] = {
        "",          "arn:",        "arn:aws:secretsmanager:r:1:secret",
        SECRET ":k", SECRET ":k:s", SECRET ":k:s:v:more"};
    (void)state;
    for (size_t i = 0; i < FL_ARRAY_SIZE(texts); i++) {
        struct fl_secret_ref ref;
        struct fl_err err = {0};
        assert_int_equal(fl_secret_ref_parse(fl_str_of(texts[i]), &ref, &err), -EINVAL);
        assert_non_null(strstr(err.text, "an invalid ARN format"));
    }
}

static void a_key_is_picked_whatever_its_type(void **state)
{
    static const char text[] =
        "{\"s\":\"a b\",\"n\":42,\"t\":true,\"o\":{\"x\":[1,\"y\"]},\"\":\"e\"}";
    static const struct {
        const char *key, *value;
    } rows[] = {{"s", "a b"}, {"n", "42"}, {"t", "true"}, {"o", "{\"x\":[1,\"y\"]}"}, {"", "e"}};
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_str value;
    (void)state;
    for (size_t i = 0; i < FL_ARRAY_SIZE(rows); i++) {
        assert_int_equal(
            fl_secret_pick(fl_str_of(text), fl_str_of(rows[i].key), arena, &value, NULL), 0);
        assert_str(value, rows[i].value);
    }
}

static void what_cannot_be_picked_is_refused_without_the_value(void **state)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_err err = {0};
    struct fl_str value;
    (void)state;
    assert_int_equal(fl_secret_pick(FL_STR("{\"a\":\"hidden\"}"), FL_STR("b"), arena, &value, &err),
                     -ENOENT);
    assert_string_equal(err.text,
                        "retrieved secret from Secrets Manager did not contain json key b");
    assert_int_equal(fl_secret_pick(FL_STR("hidden"), FL_STR("b"), arena, &value, &err), -EINVAL);
    assert_null(strstr(err.text, "hidden"));
    assert_int_equal(fl_secret_pick(FL_STR("[1]"), FL_STR("b"), arena, &value, &err), -EINVAL);
}

static void a_login_has_a_user_and_a_password(void **state)
{
    static const struct {
        const char *text, *error;
    } rows[] = {
        {"", "asm fetching authorization data: empty secrets value"},
        {"hidden", "asm fetching authorization data: unable to unmarshal secret value, invalid "
                   "schema"},
        {"{\"password\":\"p\"}",
         "asm fetching username: AuthorizationData is malformed, empty field"},
        {"{\"username\":\"u\",\"password\":7}",
         "asm fetching password: AuthorizationData is malformed, empty field"},
    };
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_str user, password;
    (void)state;
    assert_int_equal(fl_secret_read_login(FL_STR("{\"username\":\"u\",\"password\":\"p\\\"q\"}"),
                                          arena, &user, &password, NULL),
                     0);
    assert_str(user, "u");
    assert_str(password, "p\"q");
    assert_int_equal(fl_secret_read_login(FL_STR("{\"Username\":\"u\",\"Password\":\"p\"}"), arena,
                                          &user, &password, NULL),
                     0);
    for (size_t i = 0; i < FL_ARRAY_SIZE(rows); i++) {
        struct fl_err err = {0};
        assert_int_equal(
            fl_secret_read_login(fl_str_of(rows[i].text), arena, &user, &password, &err), -EINVAL);
        assert_string_equal(err.text, rows[i].error);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_reference_has_four_parts_at_most),
        cmocka_unit_test(other_numbers_of_parts_are_refused),
        cmocka_unit_test(a_key_is_picked_whatever_its_type),
        cmocka_unit_test(what_cannot_be_picked_is_refused_without_the_value),
        cmocka_unit_test(a_login_has_a_user_and_a_password),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
