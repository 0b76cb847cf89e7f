/* The spool's grammar: whole, joined, cut and damaged lines, and that reading in pieces of any size
 * gives what reading at once gives. Method: strings; a seeded generator makes the long one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "agent/log_spool.h"
#include "base/id.h"

/* All events of data as "time:text|…"; returns how far it got. */
static size_t read_all(struct fl_str data, bool final, struct fl_buf *out)
{
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(FL_SPOOL_TEXT_CAP);
    size_t at = 0;
    struct fl_log_event event;
    while (fl_log_spool_next(data, FL_LOG_JOINED, final, &at, &event, &text)) {
        fl_buf_printf(out, "%lld:", (long long)event.time_ms);
        fl_buf_add_str(out, fl_buf_str(&text));
        fl_buf_add_char(out, '|');
    }
    return at;
}

static void assert_reads(struct fl_str data, bool final, const char *expected, size_t end)
{
    FL_CLEANUP_BUF struct fl_buf out = FL_BUF_INIT(1 << 20);
    size_t at = read_all(data, final, &out);
    fl_buf_add_char(&out, '\0');
    assert_string_equal(out.p, expected);
    assert_int_equal(at, end);
}

static void lines_become_events(FL_UNUSED void **state)
{
    assert_reads(FL_STR("10 o F one\n11 e F two  words \n12 o F \n"), false,
                 "10:one|11:two  words |12:|", 38);
    assert_reads(FL_STR(""), true, "", 0);
}

static void an_unfinished_line_waits_for_its_end(FL_UNUSED void **state)
{
    assert_reads(FL_STR("10 o F one\n11 o F tw"), false, "10:one|", 11);
    assert_reads(FL_STR("10 o F one\n11 o F tw"), true, "10:one|11:tw|", 20);
    assert_reads(FL_STR("10 o P one\n"), false, "", 0);
    assert_reads(FL_STR("10 o P one\n"), true, "10:one|", 11);
}

static void partial_records_are_joined_within_a_stream(FL_UNUSED void **state)
{
    assert_reads(FL_STR("1 o P a\n2 o P b\n3 o F c\n4 o F d\n"), false, "1:abc|4:d|", 32);
    assert_reads(FL_STR("1 o P a\n2 e F x\n3 o F c\n"), false, "1:a|2:x|3:c|", 24);
    assert_reads(FL_STR("1 o P a\n2 o F \n"), false, "1:a|", 15);
}

static void pieces_may_stay_pieces(FL_UNUSED void **state)
{
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(FL_SPOOL_TEXT_CAP);
    struct fl_log_event event;
    size_t at = 0;
    struct fl_str data = FL_STR("1 o P a\n2 o F b\n3 d F note\n");
    assert_true(fl_log_spool_next(data, FL_LOG_IN_PIECES, false, &at, &event, &text));
    assert_true(event.is_partial && event.stream == 'o' && fl_str_is(event.text, "a"));
    assert_true(fl_log_spool_next(data, FL_LOG_IN_PIECES, false, &at, &event, &text));
    assert_true(!event.is_partial && fl_str_is(event.text, "b"));
    assert_true(fl_log_spool_next(data, FL_LOG_IN_PIECES, false, &at, &event, &text));
    assert_true(event.stream == 'd' && fl_str_is(event.text, "note"));
}

static void damage_is_skipped_to_the_next_newline(FL_UNUSED void **state)
{
    assert_reads(FL_STR("garbage\n1 o F a\n"), false, "1:a|", 16);
    assert_reads(FL_STR("\0\0\0\0 F x\n1 o F a\n-1 o F b\n2 x F c\n3 o X d\n4 o F\n5 oo F e\n"),
                 true, "1:a|", 57);
    assert_reads(FL_STR("1 o P a\nwhat\n2 o F b\n"), false, "1:a|2:b|", 21);
    assert_reads(FL_STR("99999999999999999999 o F b\n"), false, "", 27);
}

static void nul_bytes_are_replaced(FL_UNUSED void **state)
{
    assert_reads(FL_STR("1 o F a\0b\0\n"), false,
                 "1:a\xef\xbf\xbd"
                 "b\xef\xbf\xbd|",
                 11);
}

static void a_record_without_end_is_given_up(FL_UNUSED void **state)
{
    FL_CLEANUP_BUF struct fl_buf data = FL_BUF_INIT(1 << 20);
    for (int i = 0; i < FL_SPOOL_MAX_RECORD + 10; i++)
        fl_buf_add_char(&data, 'x');
    fl_buf_add_z(&data, "\n1 o F a\n");
    assert_reads(fl_buf_str(&data), false, "1:a|", data.n);
}

static void joined_lines_are_cut_at_the_cap(FL_UNUSED void **state)
{
    enum { PIECE = 16384, PIECES = 40 };
    static char piece[PIECE];
    FL_CLEANUP_BUF struct fl_buf data = FL_BUF_INIT(1 << 20);
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(FL_SPOOL_TEXT_CAP);
    size_t at = 0, total = 0, events = 0;
    struct fl_log_event event;
    memset(piece, 'y', sizeof(piece));
    for (int i = 0; i < PIECES; i++) {
        fl_buf_add_z(&data, i + 1 < PIECES ? "1 o P " : "1 o F ");
        fl_buf_add(&data, piece, sizeof(piece));
        fl_buf_add_char(&data, '\n');
    }
    for (; fl_log_spool_next(fl_buf_str(&data), FL_LOG_JOINED, false, &at, &event, &text);
         events++) {
        assert_true(text.n <= FL_SPOOL_MAX_TEXT);
        total += text.n;
    }
    assert_int_equal(total, PIECE * PIECES);
    assert_int_equal(events, 3);
    assert_int_equal(at, data.n);
}

static void fill_randomly(struct fl_buf *data, struct fl_rand *rand)
{
    for (int i = 0; i < 400; i++) {
        fl_buf_printf(data, "%d %c %c ", 1000 + i, "oe"[fl_rand_below(rand, 4) == 0],
                      "FP"[fl_rand_below(rand, 3) == 0]);
        for (uint64_t n = fl_rand_below(rand, 30); n > 0; n--)
            fl_buf_add_char(data, (char)('a' + fl_rand_below(rand, 26)));
        fl_buf_add_char(data, '\n');
        if (fl_rand_below(rand, 20) == 0)
            fl_buf_add_z(data, "torn\n");
    }
}

/* Hands over prefixes that grow by random steps, going on at the end of the last event. */
static void reading_in_pieces_changes_nothing(FL_UNUSED void **state)
{
    uint8_t seed[32] = {3};
    struct fl_rand rand;
    FL_CLEANUP_BUF struct fl_buf data = FL_BUF_INIT(1 << 20);
    FL_CLEANUP_BUF struct fl_buf whole = FL_BUF_INIT(1 << 20);
    FL_CLEANUP_BUF struct fl_buf pieces = FL_BUF_INIT(1 << 20);
    fl_rand_seed(&rand, seed);
    fill_randomly(&data, &rand);
    (void)read_all(fl_buf_str(&data), true, &whole);
    size_t start = 0, seen = 0;
    while (seen < data.n) {
        seen = FL_MIN(data.n, seen + 1 + fl_rand_below(&rand, 100));
        start +=
            read_all(fl_str_sub(fl_buf_str(&data), start, seen - start), seen == data.n, &pieces);
    }
    assert_int_equal(start, data.n);
    assert_true(fl_str_eq(fl_buf_str(&whole), fl_buf_str(&pieces)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_become_events),
        cmocka_unit_test(an_unfinished_line_waits_for_its_end),
        cmocka_unit_test(partial_records_are_joined_within_a_stream),
        cmocka_unit_test(pieces_may_stay_pieces),
        cmocka_unit_test(damage_is_skipped_to_the_next_newline),
        cmocka_unit_test(nul_bytes_are_replaced),
        cmocka_unit_test(a_record_without_end_is_given_up),
        cmocka_unit_test(joined_lines_are_cut_at_the_cap),
        cmocka_unit_test(reading_in_pieces_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
