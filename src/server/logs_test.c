/* The logs endpoint as a client sees it: JSON in, JSON or AWS's error out, through the shapes and
 * a real file. Covers names and refusals, paging both ways, filters, the limits of PutLogEvents,
 * and that what an agent ships is stored exactly once whatever is repeated. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/fs.h"
#include "server/logs.h"
#include "server/logs_pattern.h"
#include "shapes/logs_shapes.h"

#define NOW_MS INT64_C(1763640000000)

struct fixture {
    uv_loop_t loop;
    struct fl_logs *logs;
    struct fl_arena *arena;
    char dir[64];
    char path[80];
    unsigned status; /* of the last answer */
    char error[64];
    struct fl_arena *answers;
    const struct fl_json *json; /* body of the last answer, or NULL */
    char text[256];
};

static void open_logs(struct fixture *f)
{
    struct fl_err err = {0};
    const struct fl_logs_config config = {
        .path = f->path, .region = FL_STR("eu-west-1"), .account = FL_STR("123456789012")};
    if (fl_logs_open(&f->loop, &config, &f->logs, &err) != 0)
        fail_msg("%s", err.text);
}

static void close_logs(struct fixture *f)
{
    fl_logs_close(f->logs);
    f->logs = NULL;
    assert_int_equal(uv_run(&f->loop, UV_RUN_DEFAULT), 0);
}

static int setup(void **state)
{
    struct fixture *f = fl_calloc(1, sizeof(*f));
    (void)snprintf(f->dir, sizeof(f->dir), "/tmp/fl-logs-test-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    (void)snprintf(f->path, sizeof(f->path), "%s/logs.db", f->dir);
    assert_int_equal(uv_loop_init(&f->loop), 0);
    f->arena = fl_arena_new();
    f->answers = fl_arena_new();
    open_logs(f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    close_logs(f);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    assert_int_equal(fl_fs_remove_tree(AT_FDCWD, f->dir), 0);
    fl_arena_free(f->arena);
    fl_arena_free(f->answers);
    free(f);
    return 0;
}

static void keep_answer(void *context, unsigned status, struct fl_str error, struct fl_str body)
{
    struct fixture *f = context;
    f->json = status == 200 && body.n > 0 ? fl_json_read(body, f->answers, NULL) : NULL;
    f->status = status;
    (void)snprintf(f->error, sizeof(f->error), "%.*s", FL_STR_ARG(error));
    (void)snprintf(f->text, sizeof(f->text), "%.*s", FL_STR_ARG(status == 200 ? FL_STR("") : body));
}

/* Calls an operation with JSON written with ' for ". Returns the answer's JSON. */
static FL_PRINTF(3, 4) const
    struct fl_json *call(struct fixture *f, const char *operation, const char *fmt, ...)
{
    char text[65536];
    struct fl_shape_error fault;
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    for (char *p = text; *p; p++)
        *p = *p == '\'' ? '"' : *p;
    int index = fl_aws_service_find(&logs_service, fl_str_of(operation));
    assert_true(index >= 0);
    const struct fl_shape *shape = logs_service.operations[index].input;
    fl_arena_reset(f->arena);
    const struct fl_json *json = fl_json_read(fl_str_of(text), f->arena, NULL);
    assert_non_null(json);
    void *input = fl_arena_alloc(f->arena, fl_shape_size(shape));
    if (fl_shape_decode(shape, json, f->arena, input, &fault) != 0)
        fail_msg("%s", fault.text);
    fl_logs_handle(f->logs, index, input, f->arena, NOW_MS, keep_answer, f);
    (void)uv_run(&f->loop, UV_RUN_DEFAULT);
    return f->json;
}

static FL_PRINTF(2, 3) const struct fl_json *ship(struct fixture *f, const char *fmt, ...)
{
    char text[65536];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    for (char *p = text; *p; p++)
        *p = *p == '\'' ? '"' : *p;
    fl_arena_reset(f->arena);
    fl_logs_ship(f->logs, fl_str_of(text), FL_STR(""), f->arena, NOW_MS, keep_answer, f);
    (void)uv_run(&f->loop, UV_RUN_DEFAULT);
    return f->json;
}

static void assert_refused(struct fixture *f, const char *error, const char *text)
{
    assert_string_equal(f->error, error);
    assert_int_equal(f->status, 400);
    if (!strstr(f->text, text))
        fail_msg("'%s' does not say '%s'", f->text, text);
}

static const char *text_of(const struct fl_json *json, const char *member)
{
    const char *text = fl_json_z(fl_json_get(json, member));
    return text ? text : "";
}

/* The messages of an answer, joined. */
static const char *messages(struct fixture *f)
{
    static char joined[4096];
    size_t n = 0;
    const struct fl_json *events = fl_json_get(f->json, "events");
    assert_int_equal(f->status, 200);
    joined[0] = '\0';
    for (size_t i = 0; i < fl_json_items(events); i++)
        n += (size_t)snprintf(joined + n, sizeof(joined) - n, "%s ",
                              text_of(fl_json_item(events, i), "message"));
    return joined;
}

static void make_stream(struct fixture *f, const char *group, const char *stream)
{
    (void)call(f, "CreateLogGroup", "{'logGroupName':'%s'}", group);
    (void)call(f, "CreateLogStream", "{'logGroupName':'%s','logStreamName':'%s'}", group, stream);
    assert_int_equal(f->status, 200);
}

/* Puts an event per letter, one millisecond apart, the first at NOW_MS + from. */
static void put_letters(struct fixture *f, const char *stream, int from, const char *letters)
{
    char events[4096] = "";
    size_t n = 0;
    for (int i = 0; letters[i]; i++)
        n += (size_t)snprintf(events + n, sizeof(events) - n, "%s{'timestamp':%lld,'message':'%c'}",
                              i ? "," : "", (long long)NOW_MS + from + i, letters[i]);
    (void)call(f, "PutLogEvents", "{'logGroupName':'g','logStreamName':'%s','logEvents':[%s]}",
               stream, events);
    assert_int_equal(f->status, 200);
    assert_true(strlen(text_of(f->json, "nextSequenceToken")) > 0);
}

static void groups_and_streams_exist_once(void **state)
{
    struct fixture *f = *state;
    make_stream(f, "g", "s");
    assert_null(call(f, "CreateLogGroup", "{'logGroupName':'g'}"));
    assert_refused(f, "ResourceAlreadyExistsException", "The specified log group already exists");
    (void)call(f, "CreateLogStream", "{'logGroupName':'g','logStreamName':'s'}");
    assert_refused(f, "ResourceAlreadyExistsException", "The specified log stream already exists");
    (void)call(f, "CreateLogStream", "{'logGroupName':'none','logStreamName':'s'}");
    assert_refused(f, "ResourceNotFoundException", "The specified log group does not exist.");
    (void)call(f, "GetLogEvents", "{'logGroupName':'g','logStreamName':'none'}");
    assert_refused(f, "ResourceNotFoundException", "The specified log stream does not exist.");
    (void)call(f, "GetLogEvents", "{'logStreamName':'none'}");
    assert_refused(f, "InvalidParameterException", "logGroupIdentifier");
}

static void groups_are_described_with_both_arns(void **state)
{
    struct fixture *f = *state;
    make_stream(f, "/ecs/web", "s");
    (void)call(f, "CreateLogGroup", "{'logGroupName':'/ecs/db'}");
    (void)call(f, "CreateLogGroup", "{'logGroupName':'other'}");
    const struct fl_json *groups = fl_json_get(
        call(f, "DescribeLogGroups", "{'logGroupNamePrefix':'/ecs/','limit':1}"), "logGroups");
    assert_int_equal(fl_json_items(groups), 1);
    assert_string_equal(text_of(fl_json_item(groups, 0), "logGroupName"), "/ecs/db");
    assert_string_equal(text_of(fl_json_item(groups, 0), "arn"),
                        "arn:aws:logs:eu-west-1:123456789012:log-group:/ecs/db:*");
    assert_string_equal(text_of(fl_json_item(groups, 0), "logGroupArn"),
                        "arn:aws:logs:eu-west-1:123456789012:log-group:/ecs/db");
    groups =
        fl_json_get(call(f, "DescribeLogGroups", "{'logGroupNamePrefix':'/ecs/','nextToken':'%s'}",
                         text_of(f->json, "nextToken")),
                    "logGroups");
    assert_int_equal(fl_json_items(groups), 1);
    assert_string_equal(text_of(fl_json_item(groups, 0), "logGroupName"), "/ecs/web");
    assert_null(fl_json_get(f->json, "nextToken"));
}

static void assert_streams(struct fixture *f, const char *expected)
{
    char names[256] = "";
    size_t n = 0;
    const struct fl_json *streams = fl_json_get(f->json, "logStreams");
    assert_int_equal(f->status, 200);
    for (size_t i = 0; i < fl_json_items(streams); i++)
        n += (size_t)snprintf(names + n, sizeof(names) - n, "%s ",
                              text_of(fl_json_item(streams, i), "logStreamName"));
    assert_string_equal(names, expected);
}

static void streams_are_described_in_either_order(void **state)
{
    struct fixture *f = *state;
    make_stream(f, "g", "a/1");
    make_stream(f, "g", "a/2");
    make_stream(f, "g", "b/1");
    put_letters(f, "a/2", 0, "xyz");
    put_letters(f, "a/1", 9, "x");
    (void)call(f, "DescribeLogStreams", "{'logGroupName':'g'}");
    assert_streams(f, "a/1 a/2 b/1 ");
    (void)call(f, "DescribeLogStreams", "{'logGroupName':'g','logStreamNamePrefix':'a/'}");
    assert_streams(f, "a/1 a/2 ");
    const struct fl_json *stream = fl_json_item(fl_json_get(f->json, "logStreams"), 1);
    assert_int_equal(fl_json_int(fl_json_get(stream, "lastEventTimestamp")), NOW_MS + 2);
    assert_int_equal(fl_json_int(fl_json_get(stream, "firstEventTimestamp")), NOW_MS);
    assert_int_equal(fl_json_int(fl_json_get(stream, "storedBytes")), 3 * 27);
    (void)call(f, "DescribeLogStreams",
               "{'logGroupName':'g','orderBy':'LastEventTime','descending':true,'limit':2}");
    assert_streams(f, "a/1 a/2 ");
    (void)call(f, "DescribeLogStreams",
               "{'logGroupName':'g','orderBy':'LastEventTime','descending':true,'nextToken':'%s'}",
               text_of(f->json, "nextToken"));
    assert_streams(f, "b/1 ");
    (void)call(f, "DescribeLogStreams",
               "{'logGroupName':'g','logStreamNamePrefix':'a/','descending':true}");
    assert_streams(f, "a/2 a/1 ");
    (void)call(f, "DescribeLogStreams",
               "{'logGroupName':'g','orderBy':'LastEventTime','logStreamNamePrefix':'a'}");
    assert_refused(f, "InvalidParameterException", "LastEventTime");
    (void)call(f, "DescribeLogStreams", "{'logGroupName':'g','nextToken':'nonsense'}");
    assert_refused(f, "InvalidParameterException", "nextToken");
}

static const char *get(struct fixture *f, const char *more)
{
    (void)call(f, "GetLogEvents", "{'logGroupName':'g','logStreamName':'s'%s}", more);
    return messages(f);
}

static const char *get_next(struct fixture *f, const char *member, int limit)
{
    char more[256];
    (void)snprintf(more, sizeof(more), ",'limit':%d,'nextToken':'%s'", limit,
                   text_of(f->json, member));
    return get(f, more);
}

static void pages_run_forward_and_end_with_the_same_token(void **state)
{
    struct fixture *f = *state;
    char token[128];
    make_stream(f, "g", "s");
    put_letters(f, "s", 0, "abcde");
    assert_string_equal(get(f, ",'startFromHead':true,'limit':2"), "a b ");
    assert_string_equal(get_next(f, "nextForwardToken", 2), "c d ");
    assert_string_equal(get_next(f, "nextForwardToken", 2), "e ");
    (void)snprintf(token, sizeof(token), "%s", text_of(f->json, "nextForwardToken"));
    assert_string_equal(get_next(f, "nextForwardToken", 2), "");
    assert_string_equal(text_of(f->json, "nextForwardToken"), token);
    assert_true(strncmp(token, "f/", 2) == 0);
    assert_string_equal(get_next(f, "nextBackwardToken", 2), "d e ");
    put_letters(f, "s", 5, "fg");
    (void)call(f, "GetLogEvents", "{'logGroupName':'g','logStreamName':'s','nextToken':'%s'}",
               token);
    assert_string_equal(messages(f), "f g ");
}

static void pages_run_backward_from_the_newest(void **state)
{
    struct fixture *f = *state;
    make_stream(f, "g", "s");
    put_letters(f, "s", 0, "abcde");
    assert_string_equal(get(f, ",'limit':2"), "d e ");
    assert_string_equal(get_next(f, "nextBackwardToken", 2), "b c ");
    assert_string_equal(get_next(f, "nextBackwardToken", 2), "a ");
    assert_string_equal(get_next(f, "nextBackwardToken", 2), "");
    assert_string_equal(get_next(f, "nextBackwardToken", 2), "");
    assert_string_equal(get_next(f, "nextForwardToken", 2), "a b ");
}

static void an_empty_stream_can_be_followed(void **state)
{
    struct fixture *f = *state;
    make_stream(f, "g", "s");
    assert_string_equal(get(f, ""), "");
    assert_string_equal(get_next(f, "nextForwardToken", 10), "");
    put_letters(f, "s", 0, "ab");
    (void)call(f, "GetLogEvents", "{'logGroupName':'g','logStreamName':'s'}");
    assert_string_equal(messages(f), "a b ");
}

static void times_bound_what_is_returned(void **state)
{
    struct fixture *f = *state;
    char more[128];
    make_stream(f, "g", "s");
    put_letters(f, "s", 0, "abcde");
    (void)snprintf(more, sizeof(more), ",'startTime':%lld,'endTime':%lld", (long long)NOW_MS + 1,
                   (long long)NOW_MS + 3);
    assert_string_equal(get(f, more), "b c ");
    (void)call(f, "FilterLogEvents", "{'logGroupName':'g'%s}", more);
    assert_string_equal(messages(f), "b c d ");
    (void)call(f, "GetLogEvents",
               "{'logGroupIdentifier':'arn:aws:logs:eu-west-1:123456789012:log-group:g',"
               "'logStreamName':'s','nextToken':'x/1'}");
    assert_refused(f, "InvalidParameterException", "nextToken");
}

static void putting_has_aws_limits(void **state)
{
    struct fixture *f = *state;
    static const char put[] = "{'logGroupName':'g','logStreamName':'s','logEvents':["
                              "{'timestamp':%lld,'message':'a'},{'timestamp':%lld,'message':'b'}]}";
    const int64_t day_ms = 86400000;
    make_stream(f, "g", "s");
    (void)call(f, "PutLogEvents", put, (long long)NOW_MS, (long long)NOW_MS - 1);
    assert_refused(f, "InvalidParameterException", "chronological order");
    (void)call(f, "PutLogEvents", put, (long long)NOW_MS - day_ms - 1, (long long)NOW_MS);
    assert_refused(f, "InvalidParameterException", "24 hours");
    (void)call(f, "PutLogEvents", put, (long long)NOW_MS - 14 * day_ms - 1,
               (long long)NOW_MS - 14 * day_ms);
    const struct fl_json *rejected = fl_json_get(f->json, "rejectedLogEventsInfo");
    assert_int_equal(fl_json_int(fl_json_get(rejected, "tooOldLogEventEndIndex")), 1);
    (void)call(f, "PutLogEvents", put, (long long)NOW_MS, (long long)NOW_MS + 7200001);
    rejected = fl_json_get(f->json, "rejectedLogEventsInfo");
    assert_int_equal(fl_json_int(fl_json_get(rejected, "tooNewLogEventStartIndex")), 1);
    assert_string_equal(get(f, ""), "b a ");
}

/* Eleven events of 100,000 bytes are more than 1 MiB; built as the structure, not as JSON. */
static void a_batch_beyond_one_mebibyte_is_refused(void **state)
{
    struct fixture *f = *state;
    struct logs_InputLogEvent events[11];
    char *message = fl_calloc(1, 100001);
    memset(message, 'x', 100000);
    make_stream(f, "g", "s");
    for (int i = 0; i < 11; i++) {
        events[i] = (struct logs_InputLogEvent){0};
        FL_SET(&events[i], logs_InputLogEvent, timestamp, NOW_MS);
        FL_SET(&events[i], logs_InputLogEvent, message, fl_str_of(message));
    }
    struct logs_PutLogEventsRequest in = {
        .logGroupName = FL_STR("g"), .logStreamName = FL_STR("s"), .logEvents = {11, events}};
    fl_logs_handle(f->logs, LOGS_OP_PutLogEvents, &in, f->arena, NOW_MS, keep_answer, f);
    (void)uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_refused(f, "InvalidParameterException", "1048576");
    in.logEvents.n = 10;
    fl_logs_handle(f->logs, LOGS_OP_PutLogEvents, &in, f->arena, NOW_MS, keep_answer, f);
    (void)uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_int_equal(f->status, 200);
    free(message);
}

static const char *filter(struct fixture *f, const char *more)
{
    (void)call(f, "FilterLogEvents", "{'logGroupName':'g'%s}", more);
    return f->status == 200 ? messages(f) : f->text;
}

static void filters_search_the_streams_of_a_group(void **state)
{
    struct fixture *f = *state;
    make_stream(f, "g", "a/1");
    make_stream(f, "g", "a/2");
    make_stream(f, "g", "b/1");
    put_letters(f, "a/1", 0, "adg");
    put_letters(f, "b/1", 1, "be");
    put_letters(f, "a/2", 1, "cf");
    assert_string_equal(filter(f, ""), "a d b c g e f ");
    assert_string_equal(filter(f, ",'logStreamNamePrefix':'a/'"), "a d c g f ");
    assert_string_equal(filter(f, ",'logStreamNames':['b/1']"), "b e ");
    assert_string_equal(text_of(fl_json_item(fl_json_get(f->json, "events"), 0), "logStreamName"),
                        "b/1");
    assert_string_equal(filter(f, ",'logStreamNames':['b/1','a/2']"), "b c e f ");
    assert_string_equal(filter(f, ",'filterPattern':'?d ?e'"), "d e ");
    assert_string_equal(filter(f, ",'startFromHead':false,'limit':3"), "f e g ");
    (void)call(f, "FilterLogEvents", "{'logGroupName':'g','limit':2,'nextToken':'%s'}",
               text_of(f->json, "nextToken"));
    assert_string_equal(messages(f), "c b ");
    assert_string_equal(filter(f, ",'limit':4"), "a d b c ");
    (void)call(f, "FilterLogEvents", "{'logGroupName':'g','nextToken':'%s'}",
               text_of(f->json, "nextToken"));
    assert_string_equal(messages(f), "g e f ");
    assert_null(fl_json_get(f->json, "nextToken"));
    (void)filter(f, ",'logStreamNames':['a/1','none']");
    assert_refused(f, "ResourceNotFoundException", "log stream does not exist");
    (void)filter(f, ",'filterPattern':'{ $.a = 1'");
    assert_refused(f, "InvalidParameterException", "the closing } is missing");
    (void)filter(f, ",'nextToken':'1'");
    assert_refused(f, "InvalidParameterException", "nextToken");
}

static bool matches(struct fl_arena *arena, const char *pattern_text, const char *message)
{
    FL_CLEANUP_ARENA struct fl_arena *scratch = fl_arena_new();
    const struct fl_logs_pattern *pattern;
    struct fl_err err = {0};
    if (fl_logs_pattern_parse(fl_str_of(pattern_text), arena, &pattern, &err) != 0)
        fail_msg("%s: %s", pattern_text, err.text);
    return fl_logs_pattern_matches(pattern, fl_str_of(message), scratch);
}

static void patterns_match_terms(void **state)
{
    struct fixture *f = *state;
    assert_true(matches(f->arena, "", "anything"));
    assert_true(matches(f->arena, " ERROR  disk ", "[ERROR] the disk is full"));
    assert_false(matches(f->arena, "ERROR disk", "[ERROR] the net is down"));
    assert_false(matches(f->arena, "error", "ERROR"));
    assert_true(matches(f->arena, "\"the disk\"", "[ERROR] the disk is full"));
    assert_false(matches(f->arena, "\"disk the\"", "[ERROR] the disk is full"));
    assert_true(matches(f->arena, "\"say \\\"hi\\\"\"", "they say \"hi\""));
    assert_false(matches(f->arena, "ERROR -full", "[ERROR] the disk is full"));
    assert_true(matches(f->arena, "ERROR -\"is empty\"", "[ERROR] the disk is full"));
    assert_true(matches(f->arena, "?WARN ?ERROR", "[ERROR] the disk is full"));
    assert_false(matches(f->arena, "?WARN ?INFO", "[ERROR] the disk is full"));
}

static void malformed_patterns_are_refused(void **state)
{
    static const char *const texts[] = {"\"open",
                                        "\"a\"b",
                                        "-",
                                        "? a",
                                        "a{b",
                                        "%a",
                                        "%(a)%",
                                        "%a{3,1}%",
                                        "%[a%",
                                        "%*a%",
                                        "%\\%",
                                        "{",
                                        "{}",
                                        "{ $.x }",
                                        "{ $.x = }",
                                        "{ $.x = 1",
                                        "{ x = 1 }",
                                        "{ $ = 1 }",
                                        "{ $.x = 1 } y",
                                        "{ $.x > a }",
                                        "{ ($.x = 1 }",
                                        "{ $.x = 1 && }",
                                        "{ $.x[y] = 1 }",
                                        "{ $.x IS 1 }",
                                        "{ $.*.*.* = 1 }",
                                        "{ $.a = %a% && $.b = %b% && $.c = %c% }",
                                        "[",
                                        "[]",
                                        "[a",
                                        "[a b]",
                                        "[a=]",
                                        "[..., ...]",
                                        "[a = 1 && b = 2]",
                                        "[a > x]",
                                        "[a] b",
                                        "{ ((((((((((((((((((((((((((((((((((((((((($.x = 1 }"};
    struct fixture *f = *state;
    for (size_t i = 0; i < FL_ARRAY_SIZE(texts); i++) {
        const struct fl_logs_pattern *pattern;
        struct fl_err err = {0};
        if (fl_logs_pattern_parse(fl_str_of(texts[i]), f->arena, &pattern, &err) >= 0)
            fail_msg("'%s' is accepted", texts[i]);
        assert_true(strlen(err.text) > 0);
    }
}

/* Patterns with a message that they match and one that they do not; NULL: none to show. */
static const struct {
    const char *pattern, *match, *other;
} pattern_rows[] = {
    {"INFO ?WARN", "INFO all is well", "WARN not so well"},
    {"?WARN ?%E[RX]+OR%", "ERROR", "INFO"},
    {"%^ERR.R \\d{3}$%", "ERROR 404", "an ERROR 404"},
    {"-%a|b%", "xyz", "xby"},
    {"%ab?c*d+%", "xacddx", "xabcx"},
    {"%[^a-c]z\\x41%", "dzA", "czA"},
    {"%a{2,3}b%", "aaab", "ab"},
    {"%a{0,2}$%", "", NULL},
    {"{ $.level = \"error\" }", "{\"level\": \"error\"}", "{\"level\": \"errors\"}"},
    {"{ $.level = err* }", " {\"level\": \"errors\"} ", "{\"level\": \"warn\"}"},
    {"{ $.ip != 123.123.* }", "{\"ip\": \"1.2.3.4\"}", "{\"ip\": \"123.123.1.1\"}"},
    {"{ $.ip != 123.123.* }", NULL, "{\"other\": 1}"},
    {"{ $.n > 3 }", "{\"n\": 3.5}", "{\"n\": 3}"},
    {"{ $.n <= 1e-3 }", "{\"n\": 0.001}", "{\"n\": \"0\"}"},
    {"{ $.n = 4* }", "{\"n\": 404}", "{\"n\": 500}"},
    {"{ $.n = \"404\" }", "{\"n\": \"404\"}", "{\"n\": 404}"},
    {"{ $.n = 404 }", "{\"n\": 4.04e2}", "not JSON: 404"},
    {"{ $.a.b = \"x\" && ($.n > 3 || $.k IS NULL) }", "{\"a\":{\"b\":\"x\"},\"k\":null}",
     "{\"a\":{\"b\":\"x\"},\"n\":3}"},
    {"{ $.a = 1 || $.b = 1 && $.c = 1 }", "{\"a\":1,\"c\":0}", "{\"b\":1,\"c\":0}"},
    {"{ $.k IS TRUE }", "{\"k\": true}", "{\"k\": \"true\"}"},
    {"{ $.k IS FALSE }", "{\"k\": false}", "{}"},
    {"{ $.k NOT EXISTS }", "{}", "{\"k\": null}"},
    {"{ $.k EXISTS }", "{\"k\": null}", "{}"},
    {"{ $.list[1] = 2 }", "{\"list\": [1, 2]}", "{\"list\": [2]}"},
    {"{ $.list[*].id = 2 }", "{\"list\": [{\"id\": 1}, {\"id\": 2}]}", "{\"list\": [{\"id\": 1}]}"},
    {"{ $.*.id = 2 }", "{\"a\": {\"id\": 2}}", "{\"id\": 2}"},
    {"{ $['a b'].c = %^x% }", "{\"a b\": {\"c\": \"xy\"}}", "{\"a b\": {\"c\": \"yx\"}}"},
    {"{ $.a = \"1\\*\" }", "{\"a\": \"1*\"}", "{\"a\": \"12\"}"},
    {"[ip, user, status]", "1.1.1.1 me 200", "1.1.1.1 200"},
    {"[ip, user, time, request, status = 4*, bytes > 1000]",
     "1.1.1.1 - [10/Oct/2000:13:25 +2] \"GET /a b\" 404 1534",
     "1.1.1.1 - [10/Oct/2000:13:25 +2] \"GET /a b\" 404 15"},
    {"[..., status = 404 || status = 410, bytes]", "a b c 410 0", "a b c 411 0"},
    {"[w1 = ERROR, ...]", "ERROR what a day", "INFO ERROR"},
    {"[a, ..., z != \"x\"]", "1 2 3 y", "1 2 3 x"},
    {"[a, ..., z]", "1 2", "1"},
    {"[a=id=7||a=id=8,b]", "id=8 x", "id=9 x"},
    {"[(a = 1 || a = 2) && a != 2*, b=*x*]", "1 fox", "2 fox"},
    {"[a = %^\\w+$%]", "word", "wo-rd"},
};

static void every_kind_of_pattern_matches(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < FL_ARRAY_SIZE(pattern_rows); i++) {
        const char *pattern = pattern_rows[i].pattern;
        const char *match = pattern_rows[i].match, *other = pattern_rows[i].other;
        if (match && !matches(f->arena, pattern, match))
            fail_msg("'%s' does not match '%s'", pattern, match);
        if (other && matches(f->arena, pattern, other))
            fail_msg("'%s' matches '%s'", pattern, other);
    }
}

static void a_deleted_group_is_not_found_by_any_name(void **state)
{
    struct fixture *f = *state;
    (void)call(f, "CreateLogGroup", "{'logGroupName':'gone'}");
    (void)call(f, "CreateLogStream", "{'logGroupName':'gone','logStreamName':'s'}");
    (void)call(f, "DeleteLogGroup", "{'logGroupName':'gone'}");
    assert_int_equal(f->status, 200);
    static const char *const names[] = {":1", "arn:aws:logs:r:0:log-group::1"};
    for (size_t i = 0; i < FL_ARRAY_SIZE(names); i++) {
        (void)call(f, "GetLogEvents", "{'logGroupIdentifier':'%s','logStreamName':'s'}", names[i]);
        assert_refused(f, "ResourceNotFoundException", "The specified log group does not exist.");
    }
}

/* What costs more per byte than its effort says would take minutes here. */
static void hostile_patterns_and_messages_cost_what_they_say(void **state)
{
    struct fixture *f = *state;
    enum { LONG = 128 * 1024 };
    char *text = fl_arena_alloc(f->arena, LONG + 1), wild[1000] = "{ $.a = \"*";
    const struct fl_logs_pattern *pattern;
    memset(text, 'a', LONG);
    text[LONG] = '\0';
    assert_false(matches(f->arena, "%.{0,255}.{0,255}.{0,255}.{0,200}x%", text));
    assert_true(matches(f->arena, "%^a{0,9}.*a?a?a?a{3,}$%", text));
    for (size_t i = 0; i < LONG; i++)
        text[i] = i % 2 ? ' ' : '[';
    assert_true(matches(f->arena, "[first = \"[\", ..., last = \"[\"]", text));
    assert_true(matches(f->arena, "[a = x, b = \"y z\", c]", "x [y z] [c"));
    memset(wild + strlen(wild), 'a', 900);
    memcpy(wild + strlen(wild), "b\" }", 5);
    assert_int_equal(fl_logs_pattern_parse(fl_str_of(wild), f->arena, &pattern, NULL), 0);
    assert_true(fl_logs_pattern_effort(pattern) > 900);
}

static void assert_offset(const struct fl_json *json, int64_t offset)
{
    assert_int_equal(fl_json_int(fl_json_get(json, "nextOffset")), offset);
}

static void shipping_creates_what_it_may(void **state)
{
    struct fixture *f = *state;
    static const char empty[] = "{'logGroupName':'g','logStreamName':'s','createGroup':%s,"
                                "'offset':0,'nextOffset':0,'events':[]}";
    (void)ship(f, empty, "false");
    assert_refused(f, "ResourceNotFoundException", "The specified log group does not exist.");
    assert_offset(ship(f, empty, "true"), 0);
    assert_offset(ship(f, empty, "false"), 0);
    assert_string_equal(get(f, ""), "");
}

static void what_is_shipped_is_stored_once(void **state)
{
    struct fixture *f = *state;
    static const char batch[] = "{'logGroupName':'g','logStreamName':'s','createGroup':true,"
                                "'offset':%d,'nextOffset':%d,"
                                "'events':[{'timestamp':%lld,'message':'%s'}]}";
    assert_offset(ship(f, batch, 0, 10, (long long)NOW_MS, "a"), 10);
    assert_offset(ship(f, batch, 0, 10, (long long)NOW_MS, "a"), 10);
    assert_offset(ship(f, batch, 20, 30, (long long)NOW_MS, "c"), 10);
    assert_offset(ship(f, batch, 10, 20, (long long)NOW_MS - 500, "b"), 20);
    close_logs(f);
    open_logs(f);
    assert_offset(ship(f, batch, 10, 20, (long long)NOW_MS, "b"), 20);
    assert_offset(ship(f, batch, 20, 25, (long long)NOW_MS + 1, "c"), 25);
    assert_string_equal(get(f, ",'startFromHead':true"), "a b c ");
}

static void bad_shipments_are_refused(void **state)
{
    static const char *const bodies[] = {
        "",
        "[]",
        "{'logGroupName':'g','logStreamName':'a:b','offset':0,'nextOffset':0}",
        "{'logGroupName':'g g','logStreamName':'s','offset':0,'nextOffset':0}",
        "{'logGroupName':'g','logStreamName':'s','offset':5,'nextOffset':4}",
        "{'logGroupName':'g','logStreamName':'s','offset':-1,'nextOffset':4}",
        "{'logGroupName':'g','logStreamName':'s','createGroup':true,'nextOffset':4,"
        "'events':[{'timestamp':1}]}",
        "{'logGroupName':'g','logStreamName':'s','createGroup':true,'nextOffset':4,"
        "'events':[{'message':'x'}]}",
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < FL_ARRAY_SIZE(bodies); i++) {
        (void)ship(f, "%s", bodies[i]);
        assert_refused(f, "InvalidParameterException", "");
    }
    (void)call(f, "DescribeLogGroups", "{}");
    assert_int_equal(fl_json_items(fl_json_get(f->json, "logGroups")), 0);
}

#define WITH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH(groups_and_streams_exist_once),
        WITH(groups_are_described_with_both_arns),
        WITH(streams_are_described_in_either_order),
        WITH(pages_run_forward_and_end_with_the_same_token),
        WITH(pages_run_backward_from_the_newest),
        WITH(an_empty_stream_can_be_followed),
        WITH(times_bound_what_is_returned),
        WITH(putting_has_aws_limits),
        WITH(a_batch_beyond_one_mebibyte_is_refused),
        WITH(filters_search_the_streams_of_a_group),
        WITH(patterns_match_terms),
        WITH(malformed_patterns_are_refused),
        WITH(every_kind_of_pattern_matches),
        WITH(a_deleted_group_is_not_found_by_any_name),
        WITH(hostile_patterns_and_messages_cost_what_they_say),
        WITH(shipping_creates_what_it_may),
        WITH(what_is_shipped_is_stored_once),
        WITH(bad_shipments_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
