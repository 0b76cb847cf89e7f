/* What is encoded comes back, byte by byte and at every length; what is none is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "wire/base64.h"

static void every_length_comes_back(FL_UNUSED void **state)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    char bytes[256];
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (char)(i * 7);
    for (size_t n = 0; n <= sizeof(bytes); n++) {
        struct fl_str back = {0}, text = fl_base64_encode(arena, (struct fl_str){bytes, n});
        assert_int_equal(text.n, (n + 2) / 3 * 4);
        assert_true(fl_base64_decode(text, arena, &back));
        assert_true(fl_str_eq(back, (struct fl_str){bytes, n}));
    }
}

static void what_is_none_is_refused(FL_UNUSED void **state)
{
    static const char *const wrong[] = {"abc",    "!!!!",         "ab=c",       "====", " YWJj  ",
                                        "YWJj\n", "YWJj\n\n\n\n", "YW\xc3\xa4", "a===", "YWJjYQ"};
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_str bytes = FL_STR("as it was");
    for (size_t i = 0; i < FL_ARRAY_SIZE(wrong); i++)
        if (fl_base64_decode(fl_str_of(wrong[i]), arena, &bytes))
            fail_msg("\"%s\" was taken", wrong[i]);
    assert_true(fl_str_is(bytes, "as it was"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_length_comes_back),
        cmocka_unit_test(what_is_none_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
