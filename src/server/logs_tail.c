/* Sessions of StartLiveTail.
 *
 * A session collects what matches and is told of it every second, of at most 500 events, as in AWS;
 * what is beyond that, or beyond its share of the work that sessions may cost in a second (requests
 * wait for it), is left out and the update says "sampled". A client that does not read loses its
 * session, not our memory. */
#include "server/logs_tail.h"

#include <sys/queue.h>

#include "net/http_stream.h"
#include "server/logs_pattern.h"
#include "server/query.h"
#include "wire/event_stream.h"

enum {
    MAX_SESSIONS = 60,
    MAX_RESULTS = 500, /* per update */
    MAX_UPDATE = 1024 * 1024,
    MAX_EFFORT = 16 * 1024 * 1024, /* bytes times what patterns cost, per update, of all sessions */
    UPDATE_MS = 1000,
    LIFE_UPDATES = 3 * 60 * 60, /* three hours of them */
};

struct session {
    LIST_ENTRY(session) entry;
    struct fl_logs_tails *tails;
    struct fl_http_stream *stream;
    bool is_gone; /* its stream has ended */
    struct fl_arena *arena;
    struct fl_arena *scratch;
    struct fl_str_list groups; /* names */
    struct fl_str_list names;
    struct fl_str_list prefixes;
    const struct fl_logs_pattern *pattern;
    struct fl_buf results; /* JSON objects with commas between */
    size_t count;
    size_t effort;
    bool is_sampled;
    unsigned updates;
};

struct fl_logs_tails {
    uv_timer_t timer; /* runs while there are sessions */
    struct fl_str account;
    size_t count;
    LIST_HEAD(, session) sessions;
};

/* ---- what is sent ---- */

static bool send_message(struct session *session, const char *kind, const char *type,
                         const char *content_type, struct fl_str payload)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(MAX_UPDATE + 64 * 1024);
    bool is_event = strcmp(kind, "event") == 0;
    const struct fl_event_header headers[] = {
        {FL_STR(":message-type"), FL_EVENT_STRING, fl_str_of(kind)},
        {is_event ? FL_STR(":event-type") : FL_STR(":exception-type"), FL_EVENT_STRING,
         fl_str_of(type)},
        {FL_STR(":content-type"), FL_EVENT_STRING, fl_str_of(content_type)},
    };
    fl_event_stream_encode(&buf, headers, FL_ARRAY_SIZE(headers), payload);
    return !buf.overflow && fl_http_stream_write(session->stream, fl_buf_str(&buf));
}

static void write_list(struct fl_json_writer *jw, const char *key, const struct fl_str_list *list)
{
    fl_jw_key(jw, key);
    fl_jw_array_begin(jw);
    for (size_t i = 0; i < list->n; i++)
        fl_jw_str(jw, list->items[i]);
    fl_jw_array_end(jw);
}

static void write_start(struct fl_buf *buf, const struct logs_StartLiveTailRequest *in,
                        struct fl_str id)
{
    struct fl_json_writer jw = {.buf = buf};
    fl_jw_object_begin(&jw);
    fl_jw_member_str(&jw, "requestId", id);
    fl_jw_member_str(&jw, "sessionId", id);
    write_list(&jw, "logGroupIdentifiers", &in->logGroupIdentifiers);
    write_list(&jw, "logStreamNames", &in->logStreamNames);
    write_list(&jw, "logStreamNamePrefixes", &in->logStreamNamePrefixes);
    fl_jw_member_str(&jw, "logEventFilterPattern", in->logEventFilterPattern);
    fl_jw_object_end(&jw);
}

static bool update(struct session *session)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(MAX_UPDATE + 1024);
    struct fl_json_writer jw = {.buf = &buf};
    fl_jw_object_begin(&jw);
    fl_jw_key(&jw, "sessionMetadata");
    fl_jw_object_begin(&jw);
    fl_jw_member_bool(&jw, "sampled", session->is_sampled);
    fl_jw_object_end(&jw);
    fl_jw_key(&jw, "sessionResults");
    fl_jw_array_begin(&jw);
    if (session->results.n > 0)
        fl_jw_raw(&jw, fl_buf_str(&session->results));
    fl_jw_array_end(&jw);
    fl_jw_object_end(&jw);
    fl_buf_clear(&session->results);
    session->count = session->effort = 0;
    session->is_sampled = false;
    return send_message(session, "event", "sessionUpdate", "application/json", fl_buf_str(&buf));
}

/* ---- sessions ---- */

static void forget(struct session *session)
{
    LIST_REMOVE(session, entry);
    if (--session->tails->count == 0)
        (void)uv_timer_stop(&session->tails->timer);
    fl_buf_free(&session->results);
    fl_arena_free(session->scratch);
    fl_arena_free(session->arena);
    free(session);
}

/* The stream's memory goes right after this call, in the middle of one of our own perhaps. */
static void on_gone(void *context)
{
    struct session *session = context;
    session->is_gone = true;
}

static void on_update(uv_timer_t *timer)
{
    struct fl_logs_tails *tails = timer->data;
    struct session *session, *next;
    for (session = LIST_FIRST(&tails->sessions); session; session = next) {
        next = LIST_NEXT(session, entry);
        if (session->is_gone) {
            forget(session);
        } else if (session->updates == LIFE_UPDATES) {
            (void)send_message(
                session, "exception", "SessionTimeoutException", "application/json",
                FL_STR("{\"message\":\"The session has ended after three hours.\"}"));
            fl_http_stream_end(session->stream);
            session->updates++;
        } else if (session->updates < LIFE_UPDATES && update(session)) {
            session->updates++;
        } else if (session->updates < LIFE_UPDATES) {
            fl_http_stream_end(session->stream);
            session->updates = LIFE_UPDATES + 1;
        }
    }
}

struct fl_logs_tails *fl_logs_tails_new(uv_loop_t *loop, struct fl_str account)
{
    struct fl_logs_tails *tails = fl_calloc(1, sizeof(*tails));
    LIST_INIT(&tails->sessions);
    tails->account = account;
    (void)uv_timer_init(loop, &tails->timer);
    tails->timer.data = tails;
    uv_unref((uv_handle_t *)&tails->timer);
    return tails;
}

static void on_timer_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void fl_logs_tails_free(struct fl_logs_tails *tails)
{
    struct session *session;
    while ((session = LIST_FIRST(&tails->sessions))) {
        FL_ASSERT(session->is_gone);
        forget(session);
    }
    uv_close((uv_handle_t *)&tails->timer, on_timer_closed);
}

bool fl_logs_tails_have_room(const struct fl_logs_tails *tails)
{
    return tails->count < MAX_SESSIONS;
}

static struct fl_str_list copy_list(struct fl_arena *arena, const struct fl_str_list *list,
                                    bool as_names)
{
    struct fl_str_list copy = {.n = list->n};
    copy.items = fl_arena_new_array(arena, struct fl_str, list->n + 1);
    for (size_t i = 0; i < list->n; i++)
        copy.items[i] =
            fl_str_dup(arena, as_names ? fl_logs_name_of(list->items[i]) : list->items[i]);
    return copy;
}

static struct session *new_session(struct fl_logs_tails *tails,
                                   const struct logs_StartLiveTailRequest *in)
{
    struct session *session = fl_calloc(1, sizeof(*session));
    struct fl_err err;
    session->tails = tails;
    session->arena = fl_arena_new();
    session->scratch = fl_arena_new();
    session->results = FL_BUF_INIT(MAX_UPDATE);
    session->groups = copy_list(session->arena, &in->logGroupIdentifiers, true);
    session->names = copy_list(session->arena, &in->logStreamNames, false);
    session->prefixes = copy_list(session->arena, &in->logStreamNamePrefixes, false);
    struct fl_str text = fl_str_dup(session->arena, in->logEventFilterPattern);
    FL_ASSERT(fl_logs_pattern_parse(text, session->arena, &session->pattern, &err) == 0);
    LIST_INSERT_HEAD(&tails->sessions, session, entry);
    if (tails->count++ == 0)
        (void)uv_timer_start(&tails->timer, on_update, UPDATE_MS, UPDATE_MS);
    return session;
}

void fl_logs_tails_start(struct fl_logs_tails *tails, struct fl_http_exchange *exchange,
                         const struct logs_StartLiveTailRequest *in)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    char text[37];
    struct fl_str id = fl_str_dup(arena, fl_request_id(exchange, text));
    const struct fl_header headers[] = {
        {FL_STR("Content-Type"), FL_STR("application/vnd.amazon.eventstream")},
        {FL_STR("x-amzn-RequestId"), id},
    };
    FL_CLEANUP_BUF struct fl_buf start = FL_BUF_INIT(MAX_UPDATE);
    write_start(&start, in, id);
    struct session *session = new_session(tails, in);
    session->stream =
        fl_http_stream_start(exchange, 200, headers, FL_ARRAY_SIZE(headers), on_gone, session);
    if (session->is_gone)
        return;
    /* The protocol's first message, then AWS's. */
    (void)send_message(session, "event", "initial-response", "application/x-amz-json-1.1",
                       FL_STR("{}"));
    (void)send_message(session, "event", "sessionStart", "application/json", fl_buf_str(&start));
}

/* ---- what is offered ---- */

static bool has(const struct fl_str_list *list, struct fl_str name)
{
    for (size_t i = 0; i < list->n; i++)
        if (fl_str_eq(list->items[i], name))
            return true;
    return false;
}

static bool has_prefix(const struct fl_str_list *list, struct fl_str name)
{
    for (size_t i = 0; i < list->n; i++)
        if (fl_str_starts(name, list->items[i]))
            return true;
    return false;
}

static bool is_sought(const struct session *session, struct fl_str group, struct fl_str stream)
{
    return !session->is_gone && has(&session->groups, group) &&
           (session->names.n == 0 || has(&session->names, stream)) &&
           (session->prefixes.n == 0 || has_prefix(&session->prefixes, stream));
}

static void collect(struct session *session, struct fl_str group, struct fl_str stream,
                    const struct fl_logs_event *event)
{
    size_t before = session->results.n;
    struct fl_json_writer jw = {.buf = &session->results, .need_comma = before > 0};
    struct fl_str account = session->tails->account;
    fl_jw_object_begin(&jw);
    fl_jw_member_str(&jw, "logStreamName", stream);
    fl_jw_member_str(
        &jw, "logGroupIdentifier",
        fl_str_printf(session->scratch, "%.*s:%.*s", FL_STR_ARG(account), FL_STR_ARG(group)));
    fl_jw_member_str(&jw, "message", event->message);
    fl_jw_member_int(&jw, "timestamp", event->time_ms);
    fl_jw_member_int(&jw, "ingestionTime", event->ingested_ms);
    fl_jw_object_end(&jw);
    session->count++;
    if (!session->results.overflow)
        return;
    session->results.n = before;
    session->results.overflow = false;
    session->count = MAX_RESULTS;
    session->is_sampled = true;
}

static void offer(struct session *session, struct fl_str group, struct fl_str stream,
                  const struct fl_logs_event *events, size_t count)
{
    const size_t share = MAX_EFFORT / session->tails->count;
    const size_t per_byte = FL_MAX(fl_logs_pattern_effort(session->pattern), (size_t)1);
    if (session->count >= MAX_RESULTS && session->is_sampled)
        return;
    for (size_t i = 0; i < count; i++) {
        size_t effort = (events[i].message.n + 1) * per_byte;
        if (effort > share - FL_MIN(session->effort, share)) {
            session->is_sampled = true;
            continue;
        }
        session->effort += effort;
        if (!fl_logs_pattern_matches(session->pattern, events[i].message, session->scratch))
            continue;
        if (session->count >= MAX_RESULTS) {
            session->is_sampled = true;
            return;
        }
        collect(session, group, stream, &events[i]);
    }
    fl_arena_reset(session->scratch);
}

void fl_logs_tails_offer(struct fl_logs_tails *tails, struct fl_str group, struct fl_str stream,
                         const struct fl_logs_event *events, size_t count)
{
    struct session *session;
    LIST_FOREACH (session, &tails->sessions, entry)
        if (is_sought(session, group, stream))
            offer(session, group, stream, events, count);
}

/* ---- the check ---- */

void fl_logs_check_tail(struct fl_logs_call *call, struct fl_logs_db *db)
{
    const struct logs_StartLiveTailRequest *in = call->input;
    const struct fl_logs_pattern *pattern;
    struct fl_logs_group group;
    struct fl_err err;
    bool by_stream = in->logStreamNames.n > 0 || in->logStreamNamePrefixes.n > 0;
    if (in->logStreamNames.n > 0 && in->logStreamNamePrefixes.n > 0)
        fl_logs_fail(call, logs_error_InvalidParameterException,
                     "logStreamNames and logStreamNamePrefixes are mutually exclusive.");
    else if (by_stream && in->logGroupIdentifiers.n > 1)
        fl_logs_fail(call, logs_error_InvalidParameterException,
                     "Log streams can be named for a single log group only.");
    else if (fl_logs_pattern_parse(in->logEventFilterPattern, call->arena, &pattern, &err) < 0)
        fl_logs_fail(call, logs_error_InvalidParameterException, "%s", err.text);
    for (size_t i = 0; i < in->logGroupIdentifiers.n && !call->error; i++)
        (void)fl_logs_need_group(call, db, fl_logs_name_of(in->logGroupIdentifiers.items[i]),
                                 &group);
}
