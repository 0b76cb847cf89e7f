/* ARNs and the short forms that ECS accepts instead: what is taken for one, what is not, and what
 * the parts are. Tables of texts with what each must give. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "wire/arn.h"

static void an_arn_comes_apart(FL_UNUSED void **state)
{
    static const struct {
        const char *text, *service, *region, *account, *type, *rest;
    } rows[] = {
        {"arn:aws:ecs:eu-west-1:111122223333:task/default/0a", "ecs", "eu-west-1", "111122223333",
         "task", "default/0a"},
        {"arn:aws-cn:ecs:cn-north-1:1:cluster/c", "ecs", "cn-north-1", "1", "cluster", "c"},
        {"arn:aws:ecs:r:1:task-definition/web:7", "ecs", "r", "1", "task-definition", "web:7"},
        {"arn:aws:logs:r:1:log-group:/ecs/web:*", "logs", "r", "1", "log-group", "/ecs/web:*"},
        {"arn:aws:iam::1:root", "iam", "", "1", "root", ""},
        {"arn:aws:iam::1:role/a/b", "iam", "", "1", "role", "a/b"},
        {"arn:aws:ecs:r:1:task/", "ecs", "r", "1", "task", ""},
    };
    for (size_t i = 0; i < FL_ARRAY_SIZE(rows); i++) {
        struct fl_arn arn;
        assert_true(fl_arn_parse(fl_str_of(rows[i].text), &arn));
        assert_true(fl_str_is(arn.service, rows[i].service));
        assert_true(fl_str_is(arn.region, rows[i].region));
        assert_true(fl_str_is(arn.account, rows[i].account));
        assert_true(fl_str_is(arn.type, rows[i].type));
        assert_true(fl_str_is(arn.rest, rows[i].rest));
    }
}

static void what_is_no_arn_is_refused_and_writes_nothing(FL_UNUSED void **state)
{
    static const char *const texts[] = {
        "",
        "arn",
        "arn:",
        "arn:aws",
        "arn:aws:ecs",
        "arn:aws:ecs:r",
        "arn:aws:ecs:r:1",
        "arn:aws:ecs:r:1:",
        "ARN:aws:ecs:r:1:task/x",
        "arn:gcp:ecs:r:1:task/x",
        "default",
        "web:7",
        "default/0a",
        ":::::",
    };
    struct fl_arn arn = {.type = FL_STR("untouched")};
    for (size_t i = 0; i < FL_ARRAY_SIZE(texts); i++)
        assert_false(fl_arn_parse(fl_str_of(texts[i]), &arn));
    assert_false(fl_arn_parse((struct fl_str){0}, &arn));
    assert_true(fl_str_is(arn.type, "untouched"));
}

static void every_form_ends_in_the_id(FL_UNUSED void **state)
{
    assert_true(fl_str_is(fl_arn_last(FL_STR("arn:aws:ecs:r:1:task/default/0a")), "0a"));
    assert_true(fl_str_is(fl_arn_last(FL_STR("arn:aws:ecs:r:1:task/0a")), "0a"));
    assert_true(fl_str_is(fl_arn_last(FL_STR("default/0a")), "0a"));
    assert_true(fl_str_is(fl_arn_last(FL_STR("0a")), "0a"));
    assert_true(fl_str_is(fl_arn_last(FL_STR("default/")), ""));
    assert_true(fl_str_is(fl_arn_last((struct fl_str){0}), ""));
}

static void what_is_put_together_comes_apart_again(FL_UNUSED void **state)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_str text =
        fl_arn_ecs(arena, FL_STR("eu-west-1"), FL_STR("1"), "task", FL_STR("default/0a"));
    struct fl_arn arn;
    assert_true(fl_str_is(text, "arn:aws:ecs:eu-west-1:1:task/default/0a"));
    assert_true(fl_arn_parse(text, &arn));
    assert_true(fl_str_is(arn.rest, "default/0a"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_arn_comes_apart),
        cmocka_unit_test(what_is_no_arn_is_refused_and_writes_nothing),
        cmocka_unit_test(every_form_ends_in_the_id),
        cmocka_unit_test(what_is_put_together_comes_apart_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
