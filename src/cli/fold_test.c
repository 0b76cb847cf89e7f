/* Lines that a person reads: none wider than asked for, no word broken, nothing lost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cli/fold.h"

static void folds(const char *text, size_t width, size_t indent, const char *expected)
{
    FL_CLEANUP_BUF struct fl_buf out = FL_BUF_INIT(1 << 20);
    fl_fold(fl_str_of(text), width, indent, &out);
    fl_buf_add_char(&out, '\0');
    assert_string_equal(fl_buf_str(&out).p, expected);
}

static void lines_are_broken_at_spaces(FL_UNUSED void **state)
{
    folds("one two three\n", 7, 2, "one two\n  three\n");
    folds("one two three\nfour", 80, 2, "one two three\nfour");
    folds("  one  two\n\n  three\n", 6, 4, "  one\n    two\n\n  three\n");
    folds("", 10, 2, "");
    folds("a b  ", 10, 2, "a b  ");
}

static void a_long_word_stays_whole(FL_UNUSED void **state)
{
    folds("abcdefghij k lm", 5, 2, "abcdefghij\n  k\n  lm");
    folds("x abcdefghij", 5, 2, "x\n  abcdefghij");
}

static void characters_count_and_not_bytes(FL_UNUSED void **state)
{
    folds("ab… cd…\n", 7, 1, "ab… cd…\n");
    folds("ab… cd…\n", 6, 1, "ab…\n cd…\n");
}

static void without_a_width_nothing_is_broken(FL_UNUSED void **state)
{
    folds("one two three\nfour  five\n", 0, 2, "one two three\nfour  five\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_are_broken_at_spaces),
        cmocka_unit_test(a_long_word_stays_whole),
        cmocka_unit_test(characters_count_and_not_bytes),
        cmocka_unit_test(without_a_width_nothing_is_broken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
