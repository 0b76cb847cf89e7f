/* Requests become jobs of the logs store; what its thread wrote is answered on the loop's. Between
 * them the store is kept up. */
#include "server/logs.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "server/logs_call.h"
#include "server/logs_tail.h"

/* Upkeep is due now and then, and after this much has been stored. */
enum { FIRST_UPKEEP_MS = 5 * 1000, UPKEEP_MS = 60 * 1000, UPKEEP_BYTES = 32 * 1024 * 1024 };

/* A page of events is at most 1 MiB of messages, which JSON can make six times as long. */
enum { MAX_ANSWER = 16 * 1024 * 1024 };

struct fl_logs {
    struct fl_logs_store *store;
    struct fl_logs_tails *tails;
    char *region;
    char *account;
    uv_timer_t timer; /* for the upkeep */
    struct fl_logs_job upkeep_job;
    struct fl_logs_upkeep upkeep;
    bool is_kept_up; /* a step of the upkeep is under way */
    bool is_closing;
    int64_t evicted_bytes; /* since the upkeep began; said when it ends */
    size_t stored_bytes;   /* since then */
};

static const struct {
    int operation;
    fl_logs_handler handler;
} operations[] = {
    {LOGS_OP_CreateLogGroup, fl_logs_create_group},
    {LOGS_OP_CreateLogStream, fl_logs_create_stream},
    {LOGS_OP_DeleteLogGroup, fl_logs_delete_group},
    {LOGS_OP_DeleteLogStream, fl_logs_delete_stream},
    {LOGS_OP_PutRetentionPolicy, fl_logs_put_retention},
    {LOGS_OP_DeleteRetentionPolicy, fl_logs_delete_retention},
    {LOGS_OP_TagLogGroup, fl_logs_tag_group},
    {LOGS_OP_UntagLogGroup, fl_logs_untag_group},
    {LOGS_OP_ListTagsLogGroup, fl_logs_list_group_tags},
    {LOGS_OP_TagResource, fl_logs_tag_resource},
    {LOGS_OP_UntagResource, fl_logs_untag_resource},
    {LOGS_OP_ListTagsForResource, fl_logs_list_resource_tags},
    {LOGS_OP_TestMetricFilter, fl_logs_test_filter},
    {LOGS_OP_PutLogEvents, fl_logs_put_events},
    {LOGS_OP_DescribeLogGroups, fl_logs_describe_groups},
    {LOGS_OP_DescribeLogStreams, fl_logs_describe_streams},
    {LOGS_OP_GetLogEvents, fl_logs_get_events},
    {LOGS_OP_FilterLogEvents, fl_logs_filter_events},
};

/* ---- upkeep ---- */

static void run_upkeep(struct fl_logs_job *job, struct fl_logs_db *db)
{
    fl_logs_keep_up(db, &FL_CONTAINER_OF(job, struct fl_logs, upkeep_job)->upkeep);
}

static void begin_upkeep(struct fl_logs *logs)
{
    if (logs->is_kept_up || logs->is_closing)
        return;
    logs->is_kept_up = true;
    logs->stored_bytes = 0;
    logs->upkeep.now_ms = fl_clock_wall_ms();
    fl_logs_store_submit(logs->store, &logs->upkeep_job);
}

/* Steps follow each other through the queue, so that requests come in between. */
static void upkeep_done(struct fl_logs_job *job, bool stored)
{
    struct fl_logs *logs = FL_CONTAINER_OF(job, struct fl_logs, upkeep_job);
    logs->is_kept_up = false;
    if (stored)
        logs->evicted_bytes += logs->upkeep.evicted_bytes;
    if (stored && logs->upkeep.more && !logs->is_closing) {
        begin_upkeep(logs);
        return;
    }
    if (logs->evicted_bytes > 0)
        fl_log_warn("logs take %lld MiB on disk, as much as they may: the oldest %lld bytes of "
                    "events were deleted",
                    (long long)(logs->upkeep.file_bytes >> 20), (long long)logs->evicted_bytes);
    logs->evicted_bytes = 0;
}

static void on_upkeep(uv_timer_t *timer)
{
    begin_upkeep(timer->data);
}

/* ---- open and close ---- */

int fl_logs_open(uv_loop_t *loop, const struct fl_logs_config *config, struct fl_logs **ret_logs,
                 struct fl_err *err)
{
    struct fl_logs_store *store;
    int status = fl_logs_store_open(config->path, loop, &store, err);
    if (status < 0)
        return status;
    struct fl_logs *logs = fl_calloc(1, sizeof(*logs));
    logs->store = store;
    logs->region = fl_strndup(config->region.p, config->region.n);
    logs->account = fl_strndup(config->account.p, config->account.n);
    logs->tails = fl_logs_tails_new(loop, fl_str_of(logs->account));
    logs->upkeep.max_bytes = config->max_bytes;
    logs->upkeep_job = (struct fl_logs_job){.run = run_upkeep, .done = upkeep_done};
    (void)uv_timer_init(loop, &logs->timer);
    logs->timer.data = logs;
    uv_unref((uv_handle_t *)&logs->timer);
    (void)uv_timer_start(&logs->timer, on_upkeep, FIRST_UPKEEP_MS, UPKEEP_MS);
    *ret_logs = logs;
    return 0;
}

static void on_timer_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void fl_logs_close(struct fl_logs *logs)
{
    if (!logs)
        return;
    logs->is_closing = true;
    fl_logs_store_close(logs->store);
    fl_logs_tails_free(logs->tails);
    free(logs->region);
    free(logs->account);
    uv_close((uv_handle_t *)&logs->timer, on_timer_closed);
}

void fl_logs_copy(struct fl_logs *logs, const char *path, fl_store_copied done, void *context)
{
    fl_logs_store_copy(logs->store, path, done, context);
}
/* ---- calls ---- */

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

void fl_logs_note_stored(struct fl_logs_call *call, struct fl_str group, struct fl_str stream,
                         const struct fl_logs_event *events, size_t count)
{
    call->stored_group = group;
    call->stored_stream = stream;
    call->stored = events;
    call->stored_count = count;
}

static void tell_stored(const struct fl_logs_call *call)
{
    struct fl_logs *logs = call->logs;
    for (size_t i = 0; i < call->stored_count; i++)
        logs->stored_bytes += call->stored[i].message.n + FL_LOGS_EVENT_OVERHEAD;
    if (logs->stored_bytes > UPKEEP_BYTES)
        begin_upkeep(logs);
    fl_logs_tails_offer(logs->tails, call->stored_group, call->stored_stream, call->stored,
                        call->stored_count);
}

/* What these did leaves work behind. */
static bool makes_room(const struct fl_logs_call *call)
{
    return call->handler == fl_logs_delete_group || call->handler == fl_logs_delete_stream ||
           call->handler == fl_logs_put_retention;
}

static void start_tail(struct fl_logs_call *call)
{
    if (fl_logs_tails_have_room(call->logs->tails))
        fl_logs_tails_start(call->logs->tails, call->exchange, call->input);
    else
        call->reply(call->context, 400, FL_STR("LimitExceededException"),
                    FL_STR("Too many Live Tail sessions are open."));
}

static void done(struct fl_logs_job *job, bool stored)
{
    struct fl_logs_call *call = FL_CONTAINER_OF(job, struct fl_logs_call, job);
    if (stored && call->stored_count > 0)
        tell_stored(call);
    if (stored && makes_room(call))
        begin_upkeep(call->logs);
    if (!stored || call->body.overflow)
        unavailable(call);
    else if (call->error)
        call->reply(call->context, 400, fl_str_of(call->error), call->error_text);
    else if (call->exchange)
        start_tail(call);
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
        .logs = logs,
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

void fl_logs_live_tail(struct fl_logs *logs, const void *input, struct fl_http_exchange *exchange,
                       int64_t now_ms, fl_logs_reply reply, void *context)
{
    struct fl_logs_call *call = new_call(logs, exchange->arena, now_ms, reply, context);
    call->handler = fl_logs_check_tail;
    call->input = input;
    call->exchange = exchange;
    fl_logs_store_submit(logs->store, &call->job);
}

void fl_logs_ship(struct fl_logs *logs, struct fl_str body, struct fl_str stream,
                  struct fl_arena *arena, int64_t now_ms, fl_logs_reply reply, void *context)
{
    struct fl_logs_call *call = new_call(logs, arena, now_ms, reply, context);
    call->handler = fl_logs_ship_events;
    call->body_in = body;
    call->stream_in = stream;
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
