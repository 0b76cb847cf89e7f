/* The task scale-in protection endpoint, …/task-protection/v1/state: a container asks for its
 * task's protection, and the agent passes that on, signed with the credentials of the task's role,
 * as ECS's agent does. */
#include "agent/metadata_internal.h"

#include "agent/credentials.h"
#include "agent/session_calls.h"
#include "base/clock.h"

enum { MOST_ASKING = 32, MOST_OF_A_TASK = 4, CALL_TIMEOUT_MS = 5000, BODY_MAX = 4096 };

struct fl_metadata_protecting {
    LIST_ENTRY(fl_metadata_protecting) link;
    struct fl_metadata *metadata;
    struct fl_http_exchange *exchange; /* its arena holds the text */
    struct fl_str task_arn;
};

/* What a PUT says. */
struct wish {
    bool enabled;
    int64_t minutes; /* 0: not said */
};

static void reply_error(struct fl_http_exchange *exchange, struct fl_str task_arn, unsigned status,
                        struct fl_str request_id, struct fl_str code, struct fl_str message)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(64 * 1024);
    struct fl_json_writer jw = {.buf = &buf};
    fl_jw_object_begin(&jw);
    if (request_id.n)
        fl_jw_member_str(&jw, "requestID", request_id);
    fl_jw_key(&jw, "error");
    fl_jw_object_begin(&jw);
    fl_jw_member_str(&jw, "Arn", task_arn);
    fl_jw_member_str(&jw, "Code", code);
    fl_jw_member_str(&jw, "Message", message);
    fl_jw_object_end(&jw);
    fl_jw_object_end(&jw);
    fl_metadata_reply(exchange, status, fl_buf_str(&buf));
}

/* ---- what the control plane answers ---- */

static void write_protection(struct fl_json_writer *jw, const struct fl_json *protection)
{
    const struct fl_json *expires = fl_json_get(protection, "expirationDate");
    fl_jw_key(jw, "protection");
    fl_jw_object_begin(jw);
    if (fl_json_is_number(expires)) {
        char text[FL_RFC3339_SIZE];
        fl_time_rfc3339((int64_t)(fl_json_number(expires) * 1000), text);
        fl_jw_member_str(jw, "ExpirationDate", fl_str_of(text));
    }
    fl_jw_member_bool(jw, "ProtectionEnabled",
                      fl_json_is_true(fl_json_get(protection, "protectionEnabled")));
    fl_jw_member_str(jw, "TaskArn", fl_json_text(fl_json_get(protection, "taskArn")));
    fl_jw_object_end(jw);
}

static void write_failure(struct fl_json_writer *jw, const struct fl_json *failure)
{
    fl_jw_key(jw, "failure");
    fl_jw_object_begin(jw);
    fl_jw_member_str(jw, "Arn", fl_json_text(fl_json_get(failure, "arn")));
    fl_jw_key(jw, "Detail");
    fl_jw_raw(jw, FL_STR("null"));
    fl_jw_member_str(jw, "Reason", fl_json_text(fl_json_get(failure, "reason")));
    fl_jw_object_end(jw);
}

/* False: the answer is none. */
static bool reply_answer(struct fl_http_exchange *exchange, const struct fl_json *json)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(64 * 1024);
    struct fl_json_writer jw = {.buf = &buf};
    const struct fl_json *failure = fl_json_item(fl_json_get(json, "failures"), 0);
    const struct fl_json *protection = fl_json_item(fl_json_get(json, "protectedTasks"), 0);
    if (!failure && !protection)
        return false;
    fl_jw_object_begin(&jw);
    if (failure)
        write_failure(&jw, failure);
    else
        write_protection(&jw, protection);
    fl_jw_object_end(&jw);
    fl_metadata_reply(exchange, 200, fl_buf_str(&buf));
    return true;
}

static void forget(struct fl_metadata_protecting *asking)
{
    LIST_REMOVE(asking, link);
    asking->metadata->protecting_count--;
    free(asking);
}

static void on_answer(void *context, const struct fl_http_response *response)
{
    struct fl_metadata_protecting *asking = context;
    struct fl_http_exchange *exchange = asking->exchange;
    struct fl_str id = fl_http_response_header(response, "x-amzn-requestid", 0);
    struct fl_str code, message;
    const struct fl_json *json =
        response->status == 200 ? fl_json_read(response->body, exchange->arena, NULL) : NULL;
    if (response->status == 0) {
        reply_error(exchange, asking->task_arn, 504, id, FL_STR("RequestCanceled"),
                    FL_STR("Timed out calling ECS Task Protection API"));
    } else if (response->status != 200) {
        fl_aws_error(response, exchange->arena, &code, &message);
        reply_error(exchange, asking->task_arn, response->status, id, code, message);
    } else if (!reply_answer(exchange, json)) {
        reply_error(exchange, asking->task_arn, 500, id, FL_STR("ServerException"),
                    FL_STR("Unexpected error occurred"));
    }
    forget(asking);
}

/* ---- what the container asks ---- */

/* 0, or the words of a refusal. */
static const char *read_wish(struct fl_str body, struct fl_arena *arena, struct wish *ret_wish)
{
    static const char undecodable[] = "UpdateTaskProtection: failed to decode request";
    const struct fl_json *json = fl_json_read(body, arena, NULL);
    const struct fl_json *enabled = fl_json_get(json, "ProtectionEnabled");
    const struct fl_json *minutes = fl_json_get(json, "ExpiresInMinutes");
    if (!fl_json_is(json, FL_JSON_OBJECT))
        return undecodable;
    for (size_t i = 0; i < fl_json_members(json); i++) {
        const struct fl_json *value = fl_json_member(json, i);
        if (value != enabled && value != minutes)
            return undecodable;
    }
    if (minutes && !fl_json_is(minutes, FL_JSON_INTEGER) && !fl_json_is(minutes, FL_JSON_NULL))
        return undecodable;
    if (enabled && !fl_json_is(enabled, FL_JSON_TRUE) && !fl_json_is(enabled, FL_JSON_FALSE) &&
        !fl_json_is(enabled, FL_JSON_NULL))
        return undecodable;
    if (!enabled || fl_json_is(enabled, FL_JSON_NULL))
        return "Invalid request: does not contain 'ProtectionEnabled' field";
    ret_wish->enabled = fl_json_is(enabled, FL_JSON_TRUE);
    ret_wish->minutes = fl_json_is(minutes, FL_JSON_INTEGER) ? fl_json_int(minutes) : 0;
    return NULL;
}

static void write_call(const struct fl_metadata *metadata, struct fl_str task_arn,
                       const struct wish *wish, struct fl_json_writer *jw)
{
    fl_jw_object_begin(jw);
    fl_jw_member_str(jw, "cluster", metadata->config.facts->cluster);
    fl_jw_key(jw, "tasks");
    fl_jw_array_begin(jw);
    fl_jw_str(jw, task_arn);
    fl_jw_array_end(jw);
    if (wish) {
        fl_jw_member_bool(jw, "protectionEnabled", wish->enabled);
        if (wish->minutes)
            fl_jw_member_int(jw, "expiresInMinutes", wish->minutes);
    }
    fl_jw_object_end(jw);
}

static bool has_room(const struct fl_metadata *metadata, const struct fl_task *task)
{
    const struct fl_metadata_protecting *asking;
    int of_task = 0;
    LIST_FOREACH (asking, &metadata->protecting, link)
        of_task += fl_str_eq(asking->task_arn, task->arn);
    return metadata->protecting_count < MOST_ASKING && of_task < MOST_OF_A_TASK;
}

static void ask(struct fl_metadata *metadata, struct fl_http_exchange *exchange,
                const struct fl_task *task, const struct wish *wish)
{
    const struct fl_acs_credentials *role =
        fl_wallet_of(metadata->config.wallet, task->arn, FL_ACS_ROLE_TASK);
    FL_CLEANUP_BUF struct fl_buf body = FL_BUF_INIT(BODY_MAX);
    struct fl_json_writer jw = {.buf = &body};
    struct fl_metadata_protecting *asking = fl_calloc(1, sizeof(*asking));
    asking->metadata = metadata;
    asking->exchange = exchange;
    asking->task_arn = fl_str_dup(exchange->arena, task->arn);
    LIST_INSERT_HEAD(&metadata->protecting, asking, link);
    metadata->protecting_count++;
    write_call(metadata, task->arn, wish, &jw);
    const struct fl_credentials key = {role->access_key_id, role->secret, role->session_token};
    const struct fl_aws_request request = {
        .service = "ecs",
        .target = wish ? FL_ECS_TARGET "UpdateTaskProtection" : FL_ECS_TARGET "GetTaskProtection",
        .body = fl_buf_str(&body),
        .timeout_ms = CALL_TIMEOUT_MS,
        .key = &key,
    };
    fl_aws_send(metadata->config.aws, &request, on_answer, asking);
}

void fl_metadata_protect(struct fl_metadata *metadata, struct fl_http_exchange *exchange,
                         const struct fl_task *task)
{
    bool is_put = fl_str_is(exchange->method, "PUT");
    struct wish wish = {0};
    const char *refusal = task && is_put ? read_wish(exchange->body, exchange->arena, &wish) : NULL;
    if (!task)
        reply_error(exchange, FL_STR(""), 404, FL_STR(""), FL_STR("ResourceNotFoundException"),
                    FL_STR("Failed to find a task for the request"));
    else if (!is_put && !fl_str_is(exchange->method, "GET"))
        fl_metadata_reply_error(exchange, 405, FL_STR("method not allowed"));
    else if (refusal)
        reply_error(exchange, task->arn, 400, FL_STR(""), FL_STR("InvalidParameterException"),
                    fl_str_of(refusal));
    else if (!fl_wallet_of(metadata->config.wallet, task->arn, FL_ACS_ROLE_TASK))
        reply_error(exchange, task->arn, 403, FL_STR(""), FL_STR("AccessDeniedException"),
                    FL_STR("Invalid Request: no task IAM role credentials available for task"));
    else if (!has_room(metadata, task))
        fl_metadata_reply_throttled(exchange);
    else
        ask(metadata, exchange, task, is_put ? &wish : NULL);
}

void fl_metadata_protect_end(struct fl_metadata *metadata)
{
    struct fl_metadata_protecting *asking;
    while ((asking = LIST_FIRST(&metadata->protecting)) != NULL) {
        reply_error(asking->exchange, asking->task_arn, 500, FL_STR(""), FL_STR("ServerException"),
                    FL_STR("The agent is ending."));
        forget(asking);
    }
}
