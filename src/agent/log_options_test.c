/* What definitions may say about logs, and what is refused in Docker's words. Method: tables. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "agent/log_options.h"
#include "agent/log_pattern.h"

enum { MOST = 8 };

static const struct fl_key_value labels[] = {{FL_STR("team"), FL_STR("red")},
                                             {FL_STR("com.example.a"), FL_STR("1")}};
static const struct fl_log_facts facts = {
    .id = FL_STR("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"),
    .name = FL_STR("ecs-web-1-app"),
    .image = FL_STR("busybox:1"),
    .image_id = FL_STR("sha256:aabbccddeeff00112233"),
    .hostname = FL_STR("host"),
    .region = FL_STR("us-east-1"),
    .labels = labels,
    .label_count = 2,
};

/* Reads "a=b;c=d" as options of a driver. */
static int read_plan(const char *driver, const char *text, struct fl_arena *arena,
                     struct fl_log_plan *plan, struct fl_err *err)
{
    struct fl_key_value options[MOST];
    static struct fl_key_value env[] = {{FL_STR("STAGE"), FL_STR("prod")}};
    struct fl_container_spec spec = {.log_driver = fl_str_of(driver),
                                     .log_options = options,
                                     .environment = env,
                                     .environment_count = 1};
    struct fl_str rest = fl_str_of(text), option;
    while (fl_str_split(&rest, ';', &option)) {
        struct fl_str key = {0};
        assert_true(spec.log_option_count < MOST && fl_str_split(&option, '=', &key));
        options[spec.log_option_count++] = (struct fl_key_value){key, option};
    }
    return fl_log_plan_read(&spec, &facts, arena, plan, err);
}

static struct fl_log_plan good(const char *driver, const char *text, struct fl_arena *arena)
{
    struct fl_log_plan plan;
    struct fl_err err = {0};
    if (read_plan(driver, text, arena, &plan, &err) < 0)
        fail_msg("%s %s: %s", driver, text, err.text);
    return plan;
}

static void assert_str(struct fl_str s, const char *z)
{
    if (!fl_str_is(s, z))
        fail_msg("'%.*s' is not '%s'", FL_STR_ARG(s), z);
}

static void plans_say_what_options_mean(FL_UNUSED void **state)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_log_plan p = good("", "", arena);
    assert_int_equal(p.kind, FL_LOG_JSON_FILE);
    assert_false(p.drops);
    p = good("json-file", "max-size=10m;max-file=3;compress=true;labels=team", arena);
    assert_true(p.file_bytes == 10 << 20 && p.file_count == 3 && p.compresses);
    assert_int_equal(p.attr_count, 1);
    p = good("awslogs", "awslogs-group=g;awslogs-region=us-east-1;mode=non-blocking", arena);
    assert_true(p.drops && p.buffer_bytes == 0);
    assert_str(p.stream, (const char *)facts.id.p);
    p = good("awslogs", "awslogs-group=g;awslogs-stream=s;awslogs-datetime-format=%H:%M", arena);
    assert_str(p.pattern, "(?:[01][0-9]|2[0-3]):[0-5][0-9]");
    p = good("syslog", "syslog-address=tcp+tls://[::1]:99;syslog-facility=local3", arena);
    assert_int_equal(p.address.transport, FL_LOG_TLS);
    assert_str(p.address.host, "::1");
    assert_str(p.address.port, "99");
    assert_int_equal(p.facility, 19);
    assert_str(p.tag, "0123456789ab");
    p = good("syslog", "syslog-address=udp://h;labels-regex=^com;env=STAGE,NONE", arena);
    assert_str(p.address.port, "514");
    assert_int_equal(p.attr_count, 2);
    assert_str(p.attrs[0].key, "com.example.a");
    assert_str(p.attrs[1].value, "prod");
    p = good("syslog", "", arena);
    assert_str(p.address.path, "/dev/log");
    p = good("fluentd", "fluentd-retry-wait=2s;fluentd-max-retries=3;fluentd-async=true", arena);
    assert_true(p.retry_wait_ms == 2000 && p.max_retries == 3 && p.is_async);
    assert_str(p.address.port, "24224");
    p = good("journald", "tag={{.Name}} of {{ .ImageName }}/{{.ImageID}}", arena);
    assert_str(p.tag, "ecs-web-1-app of busybox:1/aabbccddeeff");
}

static const struct {
    const char *driver, *options, *words;
} refusals[] = {
    {"splunk", "", "logger: no log driver named 'splunk' is registered"},
    {"syslog", "foo=1", "unknown log opt 'foo' for syslog log driver"},
    {"syslog", "syslog-address=h:1", "syslog-address should be in form proto://address, got h:1"},
    {"syslog", "syslog-address=tcp://:1", "invalid value for log opt 'syslog-address': 'tcp://:1'"},
    {"syslog", "syslog-address=tcp://h:0", "invalid value"},
    {"syslog", "syslog-address=unix://x", "invalid value"},
    {"syslog", "syslog-facility=local9", "invalid syslog facility"},
    {"syslog", "syslog-format=x", "Invalid syslog format"},
    {"syslog", "tag={{.Oops}}", "template: log-tag: \"{{.Oops}}\""},
    {"syslog", "tag={{.ID", "template: log-tag"},
    {"syslog", "mode=x", "logger: invalid mode specified: x"},
    {"syslog", "max-buffer-size=1m", "only supported with 'mode=non-blocking'"},
    {"syslog", "mode=non-blocking;max-buffer-size=0", "invalid value"},
    {"syslog", "labels-regex=(", "could not parse the pattern"},
    {"fluentd", "fluentd-address=udp://h:1", "invalid value for log opt 'fluentd-address'"},
    {"fluentd", "fluentd-retry-wait=x", "invalid value for log opt 'fluentd-retry-wait'"},
    {"fluentd", "fluentd-async=maybe", "invalid value for log opt 'fluentd-async'"},
    {"json-file", "max-file=0", "max-file cannot be less than 1"},
    {"json-file", "max-file=2", "max-file must be used with max-size"},
    {"json-file", "compress=true;max-size=1m", "compress cannot be true"},
    {"awslogs", "", "must specify a value for log opt 'awslogs-group'"},
    {"awslogs", "awslogs-group=g;awslogs-region=eu-x-1", "names eu-x-1, but this installation's"},
    {"awslogs", "awslogs-group=g;awslogs-datetime-format=%Q", "invalid value"},
    {"awslogs", "awslogs-group=g;awslogs-endpoint=x", "unknown log opt 'awslogs-endpoint'"},
};

static void wrong_options_are_named(FL_UNUSED void **state)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    for (size_t i = 0; i < FL_ARRAY_SIZE(refusals); i++) {
        struct fl_log_plan plan;
        struct fl_err err = {0};
        assert_true(read_plan(refusals[i].driver, refusals[i].options, arena, &plan, &err) < 0);
        if (!strstr(err.text, refusals[i].words))
            fail_msg("%s: %s", refusals[i].options, err.text);
    }
}

static void sizes_are_dockers(FL_UNUSED void **state)
{
    static const struct {
        const char *text;
        int64_t bytes;
    } rows[] = {{"4096", 4096},    {"1k", 1024}, {"10m", 10 << 20}, {"2MB", 2 << 20},
                {"1GiB", 1 << 30}, {"5b", 5},    {"", -1},          {"m", -1},
                {"1x", -1},        {"-1", -1},   {"1 k", 1024},     {"99999999999999999999", -1},
                {"9999999t", -1}};
    for (size_t i = 0; i < FL_ARRAY_SIZE(rows); i++)
        if (fl_log_size(fl_str_of(rows[i].text)) != rows[i].bytes)
            fail_msg("%s is %lld", rows[i].text, (long long)fl_log_size(fl_str_of(rows[i].text)));
}

/* The example of the AWS documentation. */
static void times_of_day_are_recognized(FL_UNUSED void **state)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_str text = fl_log_datetime_pattern(FL_STR("\\[%b %d, %Y %H:%M:%S\\]"), arena);
    struct fl_log_pattern *pattern = fl_log_pattern_new(text, NULL);
    assert_non_null(pattern);
    assert_true(fl_log_pattern_matches(pattern, FL_STR("[May 01, 2017 19:00:01] A message")));
    assert_false(fl_log_pattern_matches(pattern, FL_STR("[May 32, 2017 19:00:01] A message")));
    assert_false(fl_log_pattern_matches(pattern, FL_STR("  at 19:00:01")));
    fl_log_pattern_free(pattern);
}

/* Without a limit this one takes years. */
static void a_pattern_takes_no_time(FL_UNUSED void **state)
{
    struct fl_log_pattern *pattern = fl_log_pattern_new(FL_STR("^(a+)+$"), NULL);
    assert_non_null(pattern);
    for (int i = 0; i < 100; i++)
        assert_false(fl_log_pattern_matches(
            pattern,
            FL_STR("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab")));
    assert_true(fl_log_pattern_matches(pattern, FL_STR("aaa")));
    fl_log_pattern_free(pattern);
}

/* Each step is allowed, and all of them would keep the agent from everything else. */
static void a_slow_pattern_is_given_up(FL_UNUSED void **state)
{
    static char line[16 * 1024];
    struct fl_log_pattern *pattern = fl_log_pattern_new(FL_STR("[a-c]{1,90}[a-c]{1,90}d"), NULL);
    assert_non_null(pattern);
    memset(line, 'b', sizeof(line));
    memcpy(line + sizeof(line) - 2, "xd", 2);
    int lines = 0;
    while (!fl_log_pattern_matches(pattern, (struct fl_str){line, sizeof(line)}))
        assert_true(++lines < 1000);
    assert_true(fl_log_pattern_matches(pattern, FL_STR("x")));
    fl_log_pattern_free(pattern);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plans_say_what_options_mean),
        cmocka_unit_test(wrong_options_are_named),
        cmocka_unit_test(sizes_are_dockers),
        cmocka_unit_test(times_of_day_are_recognized),
        cmocka_unit_test(a_pattern_takes_no_time),
        cmocka_unit_test(a_slow_pattern_is_given_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
