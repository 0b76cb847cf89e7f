/* awslogs: batches become the server's ShipLogs calls. The server keeps, per log stream, how far
 * the spool is stored, in the transaction that stores the lines. */
#include "agent/log_sink.h"
#include "wire/acs.h"
#include "wire/json.h"
#include "wire/url.h"

enum {
    BODY_BYTES = 1024 * 1024,   /* of JSON, unless a single event is longer */
    BODY_MAX = 4 * 1024 * 1024, /* a longest event of nothing but escapes */
    MAX_EVENTS = 10000,
    CALL_TIMEOUT_MS = 30000,
    STREAM_MAX = 4096,
};

struct awslogs {
    struct fl_log_sink sink;
    struct fl_aws_client *client;
    char *group;
    char *stream;
    bool create_group;
    struct call *call; /* under way */
    struct fl_buf body;
    struct fl_json_writer jw;
    size_t count;
};

/* Outlives its sink when that is closed before the answer comes. */
struct call {
    struct awslogs *aws;
};

static void begin(struct awslogs *aws)
{
    aws->body = FL_BUF_INIT(BODY_MAX);
    aws->jw = (struct fl_json_writer){.buf = &aws->body};
    aws->count = 0;
    fl_jw_object_begin(&aws->jw);
    fl_jw_key(&aws->jw, "events");
    fl_jw_array_begin(&aws->jw);
}

/* CloudWatch has no empty events. */
static bool add(struct fl_log_sink *sink, const struct fl_log_event *event)
{
    struct awslogs *aws = (struct awslogs *)sink;
    if (event->text.n == 0)
        return true;
    if (aws->body.n == 0)
        begin(aws);
    size_t before = aws->body.n;
    struct fl_json_writer saved = aws->jw;
    if (aws->count == MAX_EVENTS)
        return false;
    fl_jw_object_begin(&aws->jw);
    fl_jw_member_int(&aws->jw, "timestamp", event->time_ms);
    fl_jw_member_str(&aws->jw, "message", event->text);
    fl_jw_object_end(&aws->jw);
    if (aws->body.n > BODY_BYTES && aws->count > 0) {
        aws->body.n = before;
        aws->jw = saved;
        return false;
    }
    aws->count++;
    return true;
}

/* The answer's nextOffset, or -1. */
static int64_t answered_offset(struct fl_str body)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    const struct fl_json *json = fl_json_read(body, arena, NULL);
    const struct fl_json *offset = fl_json_get(json, "nextOffset");
    return fl_json_is(offset, FL_JSON_INTEGER) ? FL_MAX(fl_json_int(offset), -1) : -1;
}

static bool is_final(const struct fl_http_response *response, struct fl_str code)
{
    return response->status >= 400 && response->status < 500 &&
           (fl_str_is(code, "ResourceNotFoundException") ||
            fl_str_is(code, "InvalidParameterException"));
}

static void on_answer(void *context, const struct fl_http_response *response)
{
    FL_CLEANUP_FREE struct call *call = context;
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct awslogs *aws = call->aws;
    if (!aws)
        return;
    aws->call = NULL;
    struct fl_log_answer answer = {
        .offset = response->status == 200 ? answered_offset(response->body) : -1,
        .code = FL_STR(""),
        .message = response->body,
    };
    if (response->status >= 400) {
        fl_aws_error(response, arena, &answer.code, &answer.message);
        answer.is_final = is_final(response, answer.code);
    }
    aws->sink.answered(aws->sink.context, &answer);
}

static void send_batch(struct fl_log_sink *sink, int64_t from, int64_t to)
{
    struct awslogs *aws = (struct awslogs *)sink;
    struct fl_json_writer *jw = &aws->jw;
    if (aws->body.n == 0)
        begin(aws);
    fl_jw_array_end(jw);
    fl_jw_member_str(jw, "logGroupName", fl_str_of(aws->group));
    fl_jw_member_str(jw, "logStreamName", fl_str_of(aws->stream));
    fl_jw_member_bool(jw, "createGroup", aws->create_group);
    fl_jw_member_int(jw, "offset", from);
    fl_jw_member_int(jw, "nextOffset", to);
    fl_jw_object_end(jw);
    FL_ASSERT(!aws->body.overflow && !aws->call);
    aws->call = fl_calloc(1, sizeof(*aws->call));
    aws->call->aws = aws;
    FL_CLEANUP_BUF struct fl_buf name = FL_BUF_INIT(STREAM_MAX);
    fl_buf_add_z(&name, "stream=");
    fl_url_encode(&name, fl_str_of(aws->stream));
    const struct fl_header stream = {FL_STR(FL_ACS_STREAM_HEADER), fl_buf_str(&name)};
    const struct fl_aws_request request = {.service = "logs",
                                           .target = "Fairlead_20261120.ShipLogs",
                                           .body = fl_buf_str(&aws->body),
                                           .timeout_ms = CALL_TIMEOUT_MS,
                                           .extra = &stream};
    fl_aws_send(aws->client, &request, on_answer, aws->call);
    fl_buf_free(&aws->body);
}

static void close_sink(struct fl_log_sink *sink)
{
    struct awslogs *aws = (struct awslogs *)sink;
    if (aws->call)
        aws->call->aws = NULL;
    fl_buf_free(&aws->body);
    free(aws->group);
    free(aws->stream);
    free(aws);
}

struct fl_log_sink *fl_log_awslogs_new(struct fl_aws_client *client, const struct fl_log_plan *plan)
{
    static const struct fl_log_sink_ops ops = {
        .failure = "failed to create Cloudwatch log stream: ",
        .add = add,
        .send = send_batch,
        .close = close_sink,
    };
    struct awslogs *aws = fl_calloc(1, sizeof(*aws));
    aws->sink.ops = &ops;
    aws->sink.pieces = FL_LOG_JOINED;
    aws->client = client;
    aws->group = fl_strndup(plan->group.p, plan->group.n);
    aws->stream = fl_strndup(plan->stream.p, plan->stream.n);
    aws->create_group = plan->create_group;
    return &aws->sink;
}
