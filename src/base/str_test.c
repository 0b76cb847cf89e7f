/* Slices, numbers and capped buffers: what the rest of the program leans on, refusals included. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/id.h"
#include "base/str.h"

static void numbers_refuse_what_is_not_a_number(FL_UNUSED void **state)
{
    int64_t value = 42;
    assert_true(fl_str_to_i64(FL_STR("-17"), &value));
    assert_int_equal(value, -17);
    assert_false(fl_str_to_i64(FL_STR(""), &value));
    assert_false(fl_str_to_i64(FL_STR("1x"), &value));
    assert_false(fl_str_to_i64(FL_STR("9223372036854775808"), &value));
    assert_int_equal(value, -17);
}

static void a_buffer_stops_at_its_cap_and_says_so(FL_UNUSED void **state)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(8);
    fl_buf_add_z(&buf, "12345678");
    assert_false(buf.overflow);
    fl_buf_add_char(&buf, '9');
    assert_true(buf.overflow);
    assert_int_equal(buf.n, 8);
    assert_string_equal(buf.p, "12345678");
}

static void splitting_yields_every_part(FL_UNUSED void **state)
{
    struct fl_str rest = FL_STR("a,,b"), part;
    assert_true(fl_str_split(&rest, ',', &part) && fl_str_is(part, "a"));
    assert_true(fl_str_split(&rest, ',', &part) && fl_str_is(part, ""));
    assert_true(fl_str_split(&rest, ',', &part) && fl_str_is(part, "b"));
    assert_false(fl_str_split(&rest, ',', &part));
}

static void one_seed_gives_one_sequence(FL_UNUSED void **state)
{
    uint8_t seed[32] = {7};
    struct fl_rand a, b;
    fl_rand_seed(&a, seed);
    fl_rand_seed(&b, seed);
    for (int i = 0; i < 100; i++)
        assert_int_equal(fl_rand_u64(&a), fl_rand_u64(&b));
    for (int i = 0; i < 1000; i++)
        assert_true(fl_rand_below(&a, 10) < 10);
}

static void hex_goes_there_and_back(FL_UNUSED void **state)
{
    char text[9];
    uint8_t bytes[4];
    fl_hex("\x00\xff\x10\x7f", 4, text);
    assert_string_equal(text, "00ff107f");
    assert_true(fl_unhex(fl_str_of(text), bytes, 4));
    assert_memory_equal(bytes, "\x00\xff\x10\x7f", 4);
    assert_false(fl_unhex(FL_STR("00ff10"), bytes, 4));
    assert_false(fl_unhex(FL_STR("00ff10zz"), bytes, 4));
}

/* Around the length up to which a text is formatted on the stack. */
static void texts_of_any_length_are_formatted(FL_UNUSED void **state)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    for (int n = 250; n < 1000; n += n < 260 ? 1 : 100) {
        FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(2048);
        struct fl_str text = fl_str_printf(arena, "%*d|", n, 7);
        fl_buf_printf(&buf, "%*d|", n, 7);
        assert_int_equal(text.n, n + 1);
        assert_string_equal(text.p + n - 1, "7|");
        assert_string_equal(buf.p, text.p);
        assert_int_equal(buf.n, text.n);
    }
}

/* What is taken from the stock is there once. */
static void random_bytes_do_not_repeat(FL_UNUSED void **state)
{
    struct fl_random_stock stock = {.left = 0};
    uint8_t before[32] = {0}, bytes[32];
    for (int i = 0; i < 200; i++) {
        fl_random_take(&stock, bytes, sizeof(bytes));
        assert_memory_not_equal(bytes, before, sizeof(bytes));
        memcpy(before, bytes, sizeof(bytes));
        for (size_t k = 0; k < sizeof(bytes); k++)
            assert_int_equal(stock.bytes[stock.left + k], 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_refuse_what_is_not_a_number),
        cmocka_unit_test(a_buffer_stops_at_its_cap_and_says_so),
        cmocka_unit_test(splitting_yields_every_part),
        cmocka_unit_test(one_seed_gives_one_sequence),
        cmocka_unit_test(hex_goes_there_and_back),
        cmocka_unit_test(texts_of_any_length_are_formatted),
        cmocka_unit_test(random_bytes_do_not_repeat),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
