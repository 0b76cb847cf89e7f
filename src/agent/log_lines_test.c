/* Multi-line events: where they begin and end. Method: strings. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "agent/log_lines.h"

/* All events as "text|…", newlines as '/'; then '?' if one is open. */
static void assert_events(const char *pattern, struct fl_str data, bool final, int64_t now_ms,
                          const char *expected)
{
    struct fl_log_lines lines = {.pieces = FL_LOG_JOINED, .next = FL_BUF_INIT(FL_SPOOL_TEXT_CAP)};
    struct fl_buf text = FL_BUF_INIT(FL_SPOOL_TEXT_CAP), out = FL_BUF_INIT(1 << 20);
    struct fl_log_event event;
    size_t at = 0;
    bool waits;
    lines.pattern = fl_log_pattern_new(fl_str_of(pattern), NULL);
    assert_non_null(lines.pattern);
    while (fl_log_lines_next(&lines, data, final, false, now_ms, &at, &event, &text, &waits)) {
        for (size_t i = 0; i < event.text.n; i++)
            fl_buf_add_char(&out, event.text.p[i] == '\n' ? '/' : event.text.p[i]);
        fl_buf_add_char(&out, '|');
    }
    if (waits)
        fl_buf_add_char(&out, '?');
    assert_string_equal(out.p ? out.p : "", expected);
    fl_buf_free(&out);
    fl_buf_free(&text);
    fl_log_lines_free(&lines);
}

#define DATA                                                                                       \
    FL_STR("1 o F  x\n10 o F INFO a\n11 o F   at b\n12 e F \n13 o F   at c\n14 o F INFO d\n")

static void events_begin_where_the_pattern_matches(FL_UNUSED void **state)
{
    assert_events("^INFO", DATA, true, 20, " x|INFO a/  at b//  at c|INFO d|");
    assert_events("^INFO", DATA, false, 20, " x|INFO a/  at b//  at c|?");
}

static void an_event_ends_by_its_age(FL_UNUSED void **state)
{
    assert_events("^INFO", DATA, false, 14 + FL_LOG_LINES_AGE_MS - 1, " x|INFO a/  at b//  at c|?");
    assert_events("^INFO", DATA, false, 14 + FL_LOG_LINES_AGE_MS,
                  " x|INFO a/  at b//  at c|INFO d|");
    assert_events("^INFO", DATA, false, 5, " x|INFO a/  at b//  at c|INFO d|");
}

static void the_shims_own_words_stand_alone(FL_UNUSED void **state)
{
    assert_events("^INFO", FL_STR("1 o F INFO a\n2 d F 3 lines dropped\n3 o F more\n"), true, 9,
                  "INFO a|3 lines dropped|more|");
}

static void events_end_at_the_limit(FL_UNUSED void **state)
{
    enum { LINES = 40, WIDTH = 16000 };
    static char line[WIDTH];
    struct fl_log_lines lines = {.pieces = FL_LOG_JOINED, .next = FL_BUF_INIT(FL_SPOOL_TEXT_CAP)};
    struct fl_buf data = FL_BUF_INIT(1 << 20), text = FL_BUF_INIT(FL_SPOOL_TEXT_CAP);
    struct fl_log_event event;
    size_t at = 0, total = 0;
    bool waits;
    memset(line, 'x', sizeof(line));
    for (int i = 0; i < LINES; i++) {
        fl_buf_add_z(&data, "1 o F ");
        fl_buf_add(&data, line, sizeof(line));
        fl_buf_add_char(&data, '\n');
    }
    lines.pattern = fl_log_pattern_new(FL_STR("never"), NULL);
    while (
        fl_log_lines_next(&lines, fl_buf_str(&data), true, false, 1, &at, &event, &text, &waits)) {
        assert_true(event.text.n <= FL_SPOOL_MAX_TEXT && event.text.n >= WIDTH);
        total += event.text.n;
    }
    assert_true(total > LINES * WIDTH && at == data.n);
    fl_log_lines_free(&lines);
    fl_buf_free(&data);
    fl_buf_free(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(events_begin_where_the_pattern_matches),
        cmocka_unit_test(an_event_ends_by_its_age),
        cmocka_unit_test(the_shims_own_words_stand_alone),
        cmocka_unit_test(events_end_at_the_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
