/* Image names: what is taken apart how, what is refused, and which registry a name means. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "image/name.h"

#define HEX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void expect(const char *text, const char *host, const char *repository, const char *tag)
{
    struct fl_image_name name;
    assert_int_equal(fl_image_name_parse(fl_str_of(text), &name, NULL), 0);
    assert_true(fl_str_is(name.host, host));
    assert_true(fl_str_is(name.repository, repository));
    assert_true(fl_str_is(name.tag, tag));
}

static void names_come_apart(FL_UNUSED void **state)
{
    expect("app", "", "app", "latest");
    expect("app:1", "", "app", "1");
    expect("team/app:v1.2_X-y", "", "team/app", "v1.2_X-y");
    expect("localhost/app", "localhost", "app", "latest");
    expect("127.0.0.1:4566/app:1", "127.0.0.1:4566", "app", "1");
    expect("quay.io/a/b--c__d.e", "quay.io", "a/b--c__d.e", "latest");
    expect("app@sha256:" HEX, "", "app", "");
    expect("app:1@sha256:" HEX, "", "app", "1");
}

static void hostile_names_are_refused(FL_UNUSED void **state)
{
    static const char *const bad[] = {
        "",           ":",
        "app:",       "/app",
        "app/",       "a//b",
        "../x",       "a/../b",
        ".",          "..",
        "App",        "a b",
        "app:.x",     "app:-x",
        "app:a/b",    "a___b",
        "-a",         "a-",
        "a..b",       "a+b",
        "app@sha256", "app@sha256:12",
        "app:1\n",    "a/b:..",
        "app@md5:0",  "host.io/",
        "a%2fb",      "localhost/",
    };
    for (size_t i = 0; i < FL_ARRAY_SIZE(bad); i++) {
        struct fl_image_name name;
        struct fl_err err = {0};
        assert_int_equal(fl_image_name_parse(fl_str_of(bad[i]), &name, &err), -EINVAL);
        assert_true(err.text[0] != '\0');
    }
}

static void overlong_parts_are_refused(FL_UNUSED void **state)
{
    char text[400];
    struct fl_image_name name;
    memset(text, 'a', sizeof(text));
    assert_int_equal(fl_image_name_parse((struct fl_str){text, 255}, &name, NULL), 0);
    assert_int_equal(fl_image_name_parse((struct fl_str){text, 256}, &name, NULL), -EINVAL);
    text[1] = ':';
    assert_int_equal(fl_image_name_parse((struct fl_str){text, 130}, &name, NULL), 0);
    assert_int_equal(fl_image_name_parse((struct fl_str){text, 131}, &name, NULL), -EINVAL);
}

static enum fl_image_place place(const char *text)
{
    const struct fl_registry_identity identity = {FL_STR("000000000000"), FL_STR("us-east-1"),
                                                  FL_STR("127.0.0.1:4566")};
    struct fl_image_name name;
    assert_int_equal(fl_image_name_parse(fl_str_of(text), &name, NULL), 0);
    return fl_image_name_place(&name, &identity);
}

static void the_builtin_registry_knows_its_names(FL_UNUSED void **state)
{
    assert_int_equal(place("app:1"), FL_IMAGE_SHORT);
    assert_int_equal(place("127.0.0.1:4566/app:1"), FL_IMAGE_BUILTIN);
    assert_int_equal(place("localhost:4566/app:1"), FL_IMAGE_BUILTIN);
    assert_int_equal(place("000000000000.dkr.ecr.us-east-1.amazonaws.com/app"), FL_IMAGE_BUILTIN);
    assert_int_equal(place("000000000000.dkr.ecr.eu-west-1.amazonaws.com/app"), FL_IMAGE_REMOTE);
    assert_int_equal(place("000000000001.dkr.ecr.us-east-1.amazonaws.com/app"), FL_IMAGE_REMOTE);
    assert_int_equal(place("localhost:5000/app"), FL_IMAGE_REMOTE);
    assert_int_equal(place("docker.io/library/app"), FL_IMAGE_REMOTE);
}

static void full_names_are_written_out(FL_UNUSED void **state)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    static const char *const pairs[][2] = {
        {"nope", "docker.io/library/nope:latest"},
        {"team/nope:1", "docker.io/team/nope:1"},
        {"quay.io/x", "quay.io/x:latest"},
        {"docker.io/x:2", "docker.io/library/x:2"},
        {"x@sha256:" HEX, "docker.io/library/x@sha256:" HEX},
    };
    for (size_t i = 0; i < FL_ARRAY_SIZE(pairs); i++) {
        struct fl_image_name name;
        assert_int_equal(fl_image_name_parse(fl_str_of(pairs[i][0]), &name, NULL), 0);
        assert_string_equal(fl_image_name_full(&name, arena).p, pairs[i][1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_come_apart),
        cmocka_unit_test(hostile_names_are_refused),
        cmocka_unit_test(overlong_parts_are_refused),
        cmocka_unit_test(the_builtin_registry_knows_its_names),
        cmocka_unit_test(full_names_are_written_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
