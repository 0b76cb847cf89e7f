/* The drivers' forms, byte by byte. Method: one event in each. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <time.h>

#include "agent/log_format.h"

static const struct fl_log_facts facts = {.id = FL_STR("0123456789abcdef"),
                                          .name = FL_STR("web"),
                                          .image = FL_STR("i:1"),
                                          .hostname = FL_STR("my host")};
static const struct fl_log_event event = {
    .time_ms = 1763661723045, .stream = 'e', .text = FL_STR("a <b>\r")};

/* The process's id stands between head and tail. */
static void assert_syslog(enum fl_syslog_form form, const char *head, const char *tail)
{
    struct fl_log_plan plan = {.tag = FL_STR("t"), .form = form, .facility = 3};
    struct fl_buf out = FL_BUF_INIT(4096);
    char expected[200];
    (void)snprintf(expected, sizeof(expected), "%s%d%s", head, (int)getpid(), tail);
    fl_log_syslog_add(&plan, &facts, &event, &out);
    assert_string_equal(out.p, expected);
    fl_buf_free(&out);
}

static void syslog_has_four_forms(FL_UNUSED void **state)
{
    (void)setenv("TZ", "UTC", 1);
    tzset();
    assert_syslog(FL_SYSLOG_UNIX, "<27>Nov 20 18:02:03 t[", "]: a <b>\r");
    assert_syslog(FL_SYSLOG_3164, "<27>Nov 20 18:02:03 my_host t[", "]: a <b>\r");
    assert_syslog(FL_SYSLOG_5424, "<27>1 2025-11-20T18:02:03Z my_host t ", " t - a <b>\r");
    assert_syslog(FL_SYSLOG_5424_MICRO, "<27>1 2025-11-20T18:02:03.045000Z my_host t ",
                  " t - a <b>\r");
}

static void the_journals_fields_are_counted(FL_UNUSED void **state)
{
    struct fl_key_value attr = {FL_STR("_1my-Label"), FL_STR("v")};
    struct fl_log_plan plan = {.tag = FL_STR("t"), .attrs = &attr, .attr_count = 1};
    struct fl_buf out = FL_BUF_INIT(4096);
    fl_log_journald_add(&plan, &facts, &event, &out);
    struct fl_str made = fl_buf_str(&out);
    assert_true(fl_str_starts(made, FL_STR("MESSAGE\n\6\0\0\0\0\0\0\0a <b>\r\nPRIORITY=3\n")));
    assert_true(fl_str_contains(made, FL_STR("CONTAINER_ID\n\14\0\0\0\0\0\0\0"
                                             "0123456789ab\n")));
    assert_true(fl_str_ends(made, FL_STR("MY_LABEL\n\1\0\0\0\0\0\0\0v\n")));
    fl_buf_free(&out);
}

static void fluentd_gets_message_pack(FL_UNUSED void **state)
{
    struct fl_log_plan plan = {.tag = FL_STR("t"), .has_fractions = true};
    struct fl_buf out = FL_BUF_INIT(4096);
    fl_log_fluentd_begin(&plan, &out);
    fl_log_fluentd_add(&plan, &facts, &event, &out);
    fl_log_fluentd_end(&plan, out.p, 1);
    struct fl_str made = fl_buf_str(&out);
    assert_true(fl_str_starts(made, FL_STR("\x92\xa1t\xdd\0\0\0\1\x92\xd7\0\x69\x1f\x57\x9b"
                                           "\x02\xae\xa5\x40\xde\0\4\xac"
                                           "container_id\xb0"
                                           "0123456789abcdef\xae"
                                           "container_name\xa4/web\xa6source\xa6stderr\xa3log")));
    fl_buf_free(&out);
}

static void what_is_no_utf_8_is_replaced(FL_UNUSED void **state)
{
    struct fl_log_plan plan = {.tag = FL_STR("t")};
    struct fl_log_event bad = event;
    struct fl_buf out = FL_BUF_INIT(4096);
    bad.text = FL_STR("\xff\xc3\xa4\xe2\x82");
    fl_log_fluentd_add(&plan, &facts, &bad, &out);
    assert_true(fl_str_ends(fl_buf_str(&out), FL_STR("\xa3log\xab\xef\xbf\xbd\xc3\xa4\xef\xbf\xbd"
                                                     "\xef\xbf\xbd")));
    fl_buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(syslog_has_four_forms),
        cmocka_unit_test(the_journals_fields_are_counted),
        cmocka_unit_test(fluentd_gets_message_pack),
        cmocka_unit_test(what_is_no_utf_8_is_replaced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
