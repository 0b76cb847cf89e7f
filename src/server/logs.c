/* Requests become jobs of the logs store; what its thread wrote is answered on the loop's. */
#include "server/logs.h"

#include <stdarg.h>
#include <stdio.h>

#include "server/logs_call.h"

/* A page of events is at most 1 MiB of messages, which JSON can make six times as long. */
enum { MAX_ANSWER = 16 * 1024 * 1024 };

struct fl_logs {
    struct fl_logs_store *store;
    char *region;
    char *account;
};

static const struct {
    int operation;
    fl_logs_handler handler;
} operations[] = {
    {LOGS_OP_CreateLogGroup, fl_logs_create_group},
    {LOGS_OP_CreateLogStream, fl_logs_create_stream},
    {LOGS_OP_PutLogEvents, fl_logs_put_events},
    {LOGS_OP_DescribeLogGroups, fl_logs_describe_groups},
    {LOGS_OP_DescribeLogStreams, fl_logs_describe_streams},
    {LOGS_OP_GetLogEvents, fl_logs_get_events},
    {LOGS_OP_FilterLogEvents, fl_logs_filter_events},
};

int fl_logs_open(uv_loop_t *loop, const char *path, struct fl_str region, struct fl_str account,
                 struct fl_logs **ret_logs, struct fl_err *err)
{
    struct fl_logs_store *store;
    int status = fl_logs_store_open(path, loop, &store, err);
    if (status < 0)
        return status;
    struct fl_logs *logs = fl_calloc(1, sizeof(*logs));
    logs->store = store;
    logs->region = fl_strndup(region.p, region.n);
    logs->account = fl_strndup(account.p, account.n);
    *ret_logs = logs;
    return 0;
}

void fl_logs_close(struct fl_logs *logs)
{
    if (!logs)
        return;
    fl_logs_store_close(logs->store);
    free(logs->region);
    free(logs->account);
    free(logs);
}

void fl_logs_copy(struct fl_logs *logs, const char *path, fl_store_copied done, void *context)
{
    fl_logs_store_copy(logs->store, path, done, context);
}

static void run(struct fl_logs_job *job, struct fl_logs_db *db)
{
    struct fl_logs_call *call = FL_CONTAINER_OF(job, struct fl_logs_call, job);
    call->handler(call, db);
}

static void unavailable(struct fl_logs_call *call)
{
    call->reply(call->context, 503, FL_STR("ServiceUnavailableException"),
                FL_STR("The service cannot complete the request."));
}

static void done(struct fl_logs_job *job, bool stored)
{
    struct fl_logs_call *call = FL_CONTAINER_OF(job, struct fl_logs_call, job);
    if (!stored || call->body.overflow)
        unavailable(call);
    else if (call->error)
        call->reply(call->context, 400, fl_str_of(call->error), call->error_text);
    else
        call->reply(call->context, 200, FL_STR(""), fl_buf_str(&call->body));
    fl_buf_free(&call->body);
    free(call);
}

static struct fl_logs_call *new_call(struct fl_logs *logs, struct fl_arena *arena, int64_t now_ms,
                                     fl_logs_reply reply, void *context)
{
    struct fl_logs_call *call = fl_calloc(1, sizeof(*call));
    *call = (struct fl_logs_call){
        .job = {.run = run, .done = done},
        .arena = arena,
        .now_ms = now_ms,
        .region = fl_str_of(logs->region),
        .account = fl_str_of(logs->account),
        .reply = reply,
        .context = context,
        .body = FL_BUF_INIT(MAX_ANSWER),
    };
    call->jw.buf = &call->body;
    return call;
}

static fl_logs_handler find_handler(int operation)
{
    for (size_t i = 0; i < FL_ARRAY_SIZE(operations); i++)
        if (operations[i].operation == operation)
            return operations[i].handler;
    return NULL;
}

void fl_logs_handle(struct fl_logs *logs, int operation, const void *input, struct fl_arena *arena,
                    int64_t now_ms, fl_logs_reply reply, void *context)
{
    fl_logs_handler handler = find_handler(operation);
    if (!handler) {
        reply(context, 400, FL_STR("InvalidParameterException"),
              FL_STR("This operation is not implemented."));
        return;
    }
    struct fl_logs_call *call = new_call(logs, arena, now_ms, reply, context);
    call->handler = handler;
    call->input = input;
    fl_logs_store_submit(logs->store, &call->job);
}

void fl_logs_ship(struct fl_logs *logs, struct fl_str body, struct fl_arena *arena, int64_t now_ms,
                  fl_logs_reply reply, void *context)
{
    struct fl_logs_call *call = new_call(logs, arena, now_ms, reply, context);
    call->handler = fl_logs_ship_events;
    call->body_in = body;
    fl_logs_store_submit(logs->store, &call->job);
}

void fl_logs_fail(struct fl_logs_call *call, const char *code, const char *fmt, ...)
{
    char text[1024];
    if (call->error)
        return;
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    call->error = code;
    call->error_text = fl_str_dup(call->arena, fl_str_of(text));
}
