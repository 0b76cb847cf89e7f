/* Forms: what clients encode comes out again, what is badly encoded is refused, look-ups find whole
 * names and prefixes that end at a dot. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "wire/form.h"

static void expect(const struct fl_form *form, const char *name, const char *value)
{
    const struct fl_form_item *item = fl_form_find(form, fl_str_of(name));
    assert_non_null(item);
    assert_true(fl_str_is(item->value, value));
}

static void values_are_decoded(FL_UNUSED void **state)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_form form;
    struct fl_err err;
    assert_int_equal(
        fl_form_parse(arena, FL_STR("b=2&a=x+y%2B&&c=%C3%A9&d&e=&f=1=2&a.b=z&a%20=w"), &form, &err),
        0);
    assert_int_equal(form.n, 8);
    expect(&form, "a", "x y+");
    expect(&form, "b", "2");
    expect(&form, "c", "\xc3\xa9");
    expect(&form, "d", "");
    expect(&form, "e", "");
    expect(&form, "f", "1=2");
    expect(&form, "a ", "w");
    assert_null(fl_form_find(&form, FL_STR("g")));
    assert_int_equal(fl_form_parse(arena, FL_STR(""), &form, &err), 0);
    assert_int_equal(form.n, 0);
}

static void the_last_of_a_name_counts(FL_UNUSED void **state)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_form form;
    struct fl_err err;
    assert_int_equal(fl_form_parse(arena, FL_STR("a=1&b=2&a=3&a=4"), &form, &err), 0);
    assert_int_equal(form.n, 2);
    expect(&form, "a", "4");
}

static void prefixes_end_at_a_dot(FL_UNUSED void **state)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_form form;
    struct fl_err err;
    assert_int_equal(
        fl_form_parse(arena, FL_STR("Tags-x=1&Tags.member.1.Key=a&Tagsy=2"), &form, &err), 0);
    assert_true(fl_form_has(&form, FL_STR("Tags")));
    assert_true(fl_form_has(&form, FL_STR("Tags.member.1")));
    assert_true(fl_form_has(&form, FL_STR("Tagsy")));
    assert_false(fl_form_has(&form, FL_STR("Tag")));
    assert_false(fl_form_has(&form, FL_STR("Tags.member.2")));
}

static void what_is_no_form_is_refused(FL_UNUSED void **state)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    FL_CLEANUP_BUF struct fl_buf many = FL_BUF_INIT(1 << 20);
    struct fl_form form;
    struct fl_err err;
    static const char *const bad[] = {"a=%", "a=%4", "a=%zz", "%=1"};
    for (size_t i = 0; i < FL_ARRAY_SIZE(bad); i++)
        assert_true(fl_form_parse(arena, fl_str_of(bad[i]), &form, &err) < 0);
    for (int i = 0; i < FL_FORM_MAX_ITEMS; i++)
        fl_buf_printf(&many, "a%d=&", i);
    assert_true(fl_form_parse(arena, fl_buf_str(&many), &form, &err) < 0);
    assert_int_equal(
        fl_form_parse(arena, fl_str_sub(fl_buf_str(&many), 0, many.n - 1), &form, &err), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_decoded),
        cmocka_unit_test(the_last_of_a_name_counts),
        cmocka_unit_test(prefixes_end_at_a_dot),
        cmocka_unit_test(what_is_no_form_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
