/* Sessions by instance, their heartbeats and payloads. */
#include "server/sessions.h"

#include <bsd/sys/queue.h>
#include <bsd/sys/tree.h>

#include "base/clock.h"
#include "base/id.h"
#include "base/log.h"
#include "wire/acs.h"
#include "wire/arn.h"
#include "wire/url.h"

/* Bounds of one payload message; what is more goes into the next. */
enum {
    PAYLOAD_TASKS = 100,
    PAYLOAD_BYTES = 1 << 20,
    MAX_UNACKED = 256,
    ID_SIZE = 33,
    CODE_NORMAL = 1000
};

#define INACTIVE "The container instance is not registered or is inactive."

#define IN_USE                                                                                     \
    "Another agent is connected as this container instance. Two hosts with one identity? One has " \
    "a copy of the other's data directory."

struct unacked {
    char id[ID_SIZE];
    int64_t sent_ms;
};

struct session {
    RB_ENTRY(session) by_instance;
    LIST_ENTRY(session) to_send; /* in the list while task_count > 0 */
    struct fl_sessions *owner;
    struct fl_ws *ws;
    uint64_t number;
    struct fl_arena *arena; /* names below */
    struct fl_str cluster;
    struct fl_str instance;
    struct fl_str cluster_arn;
    struct fl_str instance_arn;
    struct fl_str nonce; /* empty: the agent has none */
    struct fl_str peer;
    int64_t heard_ms;  /* monotonic */
    int64_t probed_ms; /* while is_doubted */
    bool is_doubted;   /* another agent wants its place, and it has not spoken since */
    bool has_rival;    /* said so once */
    struct fl_str tasks[PAYLOAD_TASKS];
    size_t task_count;
    size_t task_bytes;
    struct fl_arena *task_arena;
    struct unacked unacked[MAX_UNACKED]; /* oldest first */
    size_t unacked_count;
    int64_t ends_ms; /* monotonic: when the connection is to be renewed */
    bool is_closing;
    bool is_replaced;
    bool is_expired;
    TAILQ_ENTRY(session) by_leave; /* closed, and expected back */
    int64_t gone_ms;
};

RB_HEAD(session_tree, session);

struct fl_sessions {
    struct fl_core *core;
    struct fl_engine *engine;
    struct session_tree tree;
    TAILQ_HEAD(, session) leaving; /* the one that has been gone longest first */
    LIST_HEAD(, session) to_send;  /* a turn speaks to few agents of many */
    size_t count;
    uint64_t last_number;
    uint64_t epoch;
    int64_t life_ms;
    uint32_t counter;
    uv_timer_t heartbeat;
    uv_timer_t grace;
    unsigned timers; /* that are not closed yet */
};

static int order(const struct session *a, const struct session *b)
{
    int by_cluster = fl_str_cmp(a->cluster, b->cluster);
    return by_cluster ? by_cluster : fl_str_cmp(a->instance, b->instance);
}

RB_GENERATE_INTERNAL(session_tree, session, by_instance, order, FL_UNUSED static)

static struct session *find(struct fl_sessions *sessions, struct fl_str cluster,
                            struct fl_str instance)
{
    struct session probe = {.cluster = cluster, .instance = instance};
    return RB_FIND(session_tree, &sessions->tree, &probe);
}

static void session_drop(struct session *session)
{
    if (session->task_count > 0)
        LIST_REMOVE(session, to_send);
    fl_arena_free(session->task_arena);
    fl_arena_free(session->arena);
    free(session);
}

static void new_message_id(char ret_id[ID_SIZE])
{
    uint8_t bytes[16];
    fl_random_bytes(bytes, sizeof(bytes));
    fl_hex(bytes, sizeof(bytes), ret_id);
}

static void close_session(struct session *session, const char *why)
{
    if (session->is_closing)
        return;
    session->is_closing = true;
    fl_log_info("agent of instance %.*s: session closed: %s", FL_STR_ARG(session->instance), why);
    fl_ws_close(session->ws, 1000, fl_str_of(why));
}

static void remember_unacked(struct session *session, const char *id)
{
    if (session->unacked_count == MAX_UNACKED) {
        close_session(session, "too many messages wait for an acknowledgement");
        return;
    }
    struct unacked *entry = &session->unacked[session->unacked_count++];
    memcpy(entry->id, id, ID_SIZE);
    entry->sent_ms = fl_clock_mono_ms();
}

static struct fl_acs_header new_header(struct session *session, char id[ID_SIZE])
{
    new_message_id(id);
    return (struct fl_acs_header){
        .cluster_arn = session->cluster_arn,
        .instance_arn = session->instance_arn,
        .message_id = fl_str_of(id),
        .seq = fl_acs_seq(session->owner->epoch, ++session->owner->counter),
        .generated_ms = fl_clock_wall_ms(),
    };
}

static void send_payload(struct session *session)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(FL_WS_MAX_MESSAGE);
    char id[ID_SIZE];
    if (session->task_count == 0)
        return;
    struct fl_acs_header header = new_header(session, id);
    fl_acs_payload(&buf, &header, session->tasks, session->task_count);
    FL_ASSERT(!buf.overflow);
    fl_ws_send(session->ws, fl_buf_str(&buf));
    remember_unacked(session, id);
    session->task_count = session->task_bytes = 0;
    LIST_REMOVE(session, to_send);
    fl_arena_reset(session->task_arena);
}

void fl_sessions_task(struct fl_sessions *sessions, const struct fl_core_effect *effect)
{
    struct session *session = find(sessions, effect->cluster, effect->instance);
    if (!session || session->is_closing)
        return;
    if (session->task_count == PAYLOAD_TASKS ||
        session->task_bytes + effect->task.n > PAYLOAD_BYTES)
        send_payload(session);
    if (session->task_count == 0)
        LIST_INSERT_HEAD(&sessions->to_send, session, to_send);
    session->tasks[session->task_count++] = fl_str_dup(session->task_arena, effect->task);
    session->task_bytes += effect->task.n;
}

void fl_sessions_flush(struct fl_sessions *sessions)
{
    while (!LIST_EMPTY(&sessions->to_send))
        send_payload(LIST_FIRST(&sessions->to_send));
}

/* An agent believes a manifest only if it is newer than every payload that it has seen: so what
 * was gathered for it goes first. It need not be acknowledged: the next one says the same. */
void fl_sessions_manifest(struct fl_sessions *sessions, const struct fl_core_effect *effect)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(FL_WS_MAX_MESSAGE);
    struct session *session = find(sessions, effect->cluster, effect->instance);
    char id[ID_SIZE];
    if (!session || session->is_closing)
        return;
    send_payload(session);
    struct fl_acs_header header = new_header(session, id);
    fl_acs_manifest(&buf, &header, effect->tasks, effect->task_count);
    if (!buf.overflow)
        fl_ws_send(session->ws, fl_buf_str(&buf));
}

void fl_sessions_stop_list(struct fl_sessions *sessions, const struct fl_core_effect *effect)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(FL_WS_MAX_MESSAGE);
    struct session *session = find(sessions, effect->cluster, effect->instance);
    if (!session || session->is_closing)
        return;
    if (effect->task_count)
        fl_log_info("agent of instance %.*s: told to stop %zu tasks that are not wanted there",
                    FL_STR_ARG(session->instance), effect->task_count);
    fl_acs_stop_verification_ack(&buf, effect->message_id, fl_clock_wall_ms(), effect->tasks,
                                 effect->task_count);
    if (!buf.overflow)
        fl_ws_send(session->ws, fl_buf_str(&buf));
}

static void send_heartbeat(struct session *session)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(4096);
    char id[ID_SIZE];
    new_message_id(id);
    fl_acs_heartbeat(&buf, fl_str_of(id));
    fl_ws_send(session->ws, fl_buf_str(&buf));
}

static void send_inactive(struct session *session)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(4096);
    fl_acs_error(&buf, "InactiveInstanceException", FL_STR(INACTIVE));
    fl_ws_send(session->ws, fl_buf_str(&buf));
}

void fl_sessions_end(struct fl_sessions *sessions, const struct fl_core_effect *effect)
{
    struct session *session = find(sessions, effect->cluster, effect->instance);
    if (!session || session->is_closing)
        return;
    send_inactive(session);
    close_session(session, "the instance was deregistered");
}

static void take_ack(struct session *session, struct fl_str id)
{
    for (size_t i = 0; i < session->unacked_count; i++) {
        if (!fl_str_is(id, session->unacked[i].id))
            continue;
        session->unacked_count--;
        memmove(&session->unacked[i], &session->unacked[i + 1],
                (session->unacked_count - i) * sizeof(session->unacked[0]));
        return;
    }
}

static void tell_core(struct session *session, enum fl_core_event_kind kind,
                      struct fl_core_event *event)
{
    event->kind = kind;
    event->cluster = session->cluster;
    event->instance = session->instance;
    event->session = session->number;
    fl_engine_step(session->owner->engine, event);
}

/* The core compares the tasks with its records, and answers by an effect. */
static void ask_core(struct session *session, const struct fl_acs_message *message,
                     const struct fl_acs_header *header)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_core_event event = {.message_id = header->message_id};
    struct fl_acs_task *tasks;
    struct fl_err err;
    if (fl_acs_read_tasks(message, arena, &tasks, &event.task_count, &err) < 0) {
        fl_log_warn("agent of instance %.*s: %s", FL_STR_ARG(session->instance), err.text);
        return;
    }
    event.tasks = tasks;
    tell_core(session, FL_CORE_EVENT_STOP_VERIFICATION, &event);
}

static void take_message(struct session *session, const struct fl_acs_message *message)
{
    struct fl_acs_header header = fl_acs_read_header(message);
    switch (message->type) {
    case FL_ACS_ACK:
        take_ack(session, header.message_id);
        return;
    case FL_ACS_NACK:
        fl_log_warn("agent of instance %.*s refuses message %.*s", FL_STR_ARG(session->instance),
                    FL_STR_ARG(header.message_id));
        return;
    case FL_ACS_STOP_VERIFICATION:
        ask_core(session, message, &header);
        return;
    case FL_ACS_HEARTBEAT_ACK:   /* that something was heard is noted already */
    case FL_ACS_CREDENTIALS_ACK: /* of credentials in payloads; nothing depends on it */
    case FL_ACS_OTHER:
    case FL_ACS_PAYLOAD:
    case FL_ACS_HEARTBEAT:
    case FL_ACS_TASK_MANIFEST:
    case FL_ACS_STOP_VERIFICATION_ACK:
    case FL_ACS_CLOSE:
    case FL_ACS_ERROR:
    case FL_ACS_INACTIVE_INSTANCE:
        return;
    }
}

static void on_message(void *context, FL_UNUSED struct fl_ws *ws, struct fl_str text)
{
    struct session *session = context;
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_acs_message message;
    struct fl_err err;
    session->heard_ms = fl_clock_mono_ms();
    session->is_doubted = false;
    if (fl_acs_decode(text, arena, &message, &err) < 0) {
        fl_log_warn("agent of instance %.*s: %s", FL_STR_ARG(session->instance), err.text);
        return;
    }
    take_message(session, &message);
}

/* It has not come back, or another session of the instance is there, of which the core knows. */
static void bid_farewell(struct session *session)
{
    struct fl_core_event event = {0};
    TAILQ_REMOVE(&session->owner->leaving, session, by_leave);
    if (session->owner->engine)
        tell_core(session, FL_CORE_EVENT_AGENT_DISCONNECTED, &event);
    session_drop(session);
}

static void on_grace(uv_timer_t *timer)
{
    struct fl_sessions *sessions = timer->data;
    int64_t now_ms = fl_clock_mono_ms();
    struct session *session;
    while ((session = TAILQ_FIRST(&sessions->leaving)) &&
           now_ms - session->gone_ms >= FL_SESSION_GRACE_MS)
        bid_farewell(session);
    if (session)
        (void)uv_timer_start(timer, on_grace,
                             (uint64_t)(session->gone_ms + FL_SESSION_GRACE_MS - now_ms), 0);
}

/* A connection that ended because it was old, or that the agent closed in an orderly way, is
 * followed by another at once: the core is not told of the moment between. */
static void expect_back(struct session *session)
{
    struct fl_sessions *sessions = session->owner;
    session->gone_ms = fl_clock_mono_ms();
    session->ws = NULL;
    if (TAILQ_EMPTY(&sessions->leaving))
        (void)uv_timer_start(&sessions->grace, on_grace, FL_SESSION_GRACE_MS, 0);
    TAILQ_INSERT_TAIL(&sessions->leaving, session, by_leave);
}

static void on_closed(void *context, FL_UNUSED struct fl_ws *ws, uint16_t code,
                      FL_UNUSED unsigned http_status, FL_UNUSED struct fl_str text)
{
    struct session *session = context;
    struct fl_sessions *sessions = session->owner;
    if (!session->is_replaced)
        (void)RB_REMOVE(session_tree, &sessions->tree, session);
    sessions->count--;
    if (sessions->engine) {
        if (session->is_expired || code == CODE_NORMAL) {
            expect_back(session);
            return;
        }
        struct fl_core_event event = {0};
        tell_core(session, FL_CORE_EVENT_AGENT_DISCONNECTED, &event);
    }
    session_drop(session);
}

static void refuse(struct fl_http_exchange *exchange, const char *type, const char *text)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(4096);
    struct fl_header header = {FL_STR("Content-Type"), FL_STR("application/json")};
    fl_acs_error(&buf, type, fl_str_of(text));
    fl_http_reply(exchange, 400, &header, 1, fl_buf_str(&buf));
}

static bool is_rival(const struct session *session, const struct session *newer)
{
    return session->nonce.n && newer->nonce.n && !fl_str_eq(session->nonce, newer->nonce);
}

/* May the newer one have the place? Not while another agent holds it. Whether that one lives is
 * asked now, and seen when the newer one tries again. */
static bool gives_way(struct session *session, const struct session *newer)
{
    int64_t now_ms = fl_clock_mono_ms();
    if (session->is_closing || !is_rival(session, newer))
        return true;
    if (session->is_doubted)
        return now_ms - session->probed_ms > FL_SESSION_PROBE_MS;
    session->is_doubted = true;
    session->probed_ms = now_ms;
    send_heartbeat(session);
    if (!session->has_rival)
        fl_log_warn("instance %.*s: an agent at %.*s has the identity of the one connected from "
                    "%.*s, and is refused: one of them has a copy of the other's data directory",
                    FL_STR_ARG(session->instance), FL_STR_ARG(newer->peer),
                    FL_STR_ARG(session->peer));
    session->has_rival = true;
    return false;
}

/* Up to a sixth more, so that agents that came together do not go together. */
static int64_t lifetime_ms(int64_t life_ms)
{
    uint8_t some[2];
    fl_random_bytes(some, sizeof(some));
    return life_ms + life_ms / 6 * (some[0] * 256 + some[1]) / 65536;
}

static struct session *session_new(struct fl_sessions *sessions, struct fl_str cluster_arn,
                                   struct fl_str instance_arn)
{
    struct session *session = fl_calloc(1, sizeof(*session));
    struct fl_str cluster = fl_arn_last(cluster_arn);
    session->owner = sessions;
    session->number = ++sessions->last_number;
    session->arena = fl_arena_new();
    session->task_arena = fl_arena_new();
    session->cluster = fl_str_dup(session->arena, cluster.n ? cluster : FL_STR("default"));
    session->instance = fl_str_dup(session->arena, fl_arn_last(instance_arn));
    session->cluster_arn = fl_str_dup(session->arena, cluster_arn);
    session->instance_arn = fl_str_dup(session->arena, instance_arn);
    session->heard_ms = fl_clock_mono_ms();
    session->ends_ms = session->heard_ms + lifetime_ms(sessions->life_ms);
    return session;
}

/* A newer session of an instance fences the older one. */
static void register_session(struct session *session)
{
    struct fl_sessions *sessions = session->owner;
    struct session *older = find(sessions, session->cluster, session->instance);
    if (older) {
        (void)RB_REMOVE(session_tree, &sessions->tree, older);
        older->is_replaced = true;
        close_session(older, "a newer session of the same instance");
    }
    (void)RB_INSERT(session_tree, &sessions->tree, session);
    sessions->count++;
}

void fl_sessions_accept(struct fl_sessions *sessions, struct fl_http_exchange *exchange)
{
    static const struct fl_ws_callbacks callbacks = {.message = on_message, .closed = on_closed};
    struct fl_arena *arena = exchange->arena;
    struct fl_str cluster_arn = fl_url_parameter(arena, exchange->query, "clusterArn");
    struct fl_str instance_arn = fl_url_parameter(arena, exchange->query, "containerInstanceArn");
    struct fl_core_event event = {
        .agent_version = fl_url_parameter(arena, exchange->query, "agentVersion"),
        .agent_hash = fl_url_parameter(arena, exchange->query, "agentHash"),
        .docker_version = fl_url_parameter(arena, exchange->query, "dockerVersion"),
    };
    struct session *session = session_new(sessions, cluster_arn, instance_arn);
    if (!fl_core_instance_active(sessions->core, session->cluster, session->instance)) {
        session_drop(session);
        refuse(exchange, "InactiveInstanceException", INACTIVE);
        return;
    }
    session->nonce =
        fl_str_dup(session->arena, fl_url_parameter(arena, exchange->query, FL_ACS_NONCE));
    session->peer = fl_str_dup(session->arena, exchange->peer);
    struct session *older = find(sessions, session->cluster, session->instance);
    if (older && !gives_way(older, session)) {
        session_drop(session);
        refuse(exchange, "InvalidInstanceException", IN_USE);
        return;
    }
    if (sessions->count >= FL_SESSION_MAX) {
        session_drop(session);
        refuse(exchange, "ServerException", "Too many agent sessions.");
        return;
    }
    event.agent_version = fl_str_dup(session->arena, event.agent_version);
    event.agent_hash = fl_str_dup(session->arena, event.agent_hash);
    event.docker_version = fl_str_dup(session->arena, event.docker_version);
    session->ws = fl_http_upgrade(exchange, &callbacks, session);
    if (!session->ws) {
        session_drop(session);
        return;
    }
    register_session(session);
    fl_log_info("agent of instance %.*s connected", FL_STR_ARG(session->instance));
    tell_core(session, FL_CORE_EVENT_AGENT_CONNECTED, &event);
}

/* As ECS does: no connection lives for ever. */
static void expire(struct session *session)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(4096);
    if (session->is_closing)
        return;
    session->is_expired = true;
    fl_acs_close(&buf, FL_STR(FL_ACS_EXPIRED));
    fl_ws_send(session->ws, fl_buf_str(&buf));
    close_session(session, FL_ACS_EXPIRED);
}

static void on_heartbeat(uv_timer_t *timer)
{
    struct fl_sessions *sessions = timer->data;
    int64_t now_ms = fl_clock_mono_ms();
    struct session *session;
    RB_FOREACH (session, session_tree, &sessions->tree) {
        if (now_ms - session->heard_ms > FL_SESSION_SILENCE_MS) {
            close_session(session, "no answer to heartbeats");
            continue;
        }
        if (session->unacked_count && now_ms - session->unacked[0].sent_ms > FL_SESSION_ACK_MS) {
            close_session(session, "a payload was not acknowledged");
            continue;
        }
        if (now_ms > session->ends_ms) {
            expire(session);
            continue;
        }
        send_heartbeat(session);
    }
}

static void start_timers(uv_loop_t *loop, struct fl_sessions *sessions)
{
    int64_t pace_ms = FL_MIN((int64_t)FL_SESSION_HEARTBEAT_MS, FL_MAX(sessions->life_ms / 4, 1));
    (void)uv_timer_init(loop, &sessions->heartbeat);
    (void)uv_timer_init(loop, &sessions->grace);
    sessions->timers = 2;
    sessions->heartbeat.data = sessions->grace.data = sessions;
    (void)uv_timer_start(&sessions->heartbeat, on_heartbeat, (uint64_t)pace_ms, (uint64_t)pace_ms);
}

struct fl_sessions *fl_sessions_new(uv_loop_t *loop, struct fl_core *core, uint64_t epoch,
                                    int64_t life_ms)
{
    struct fl_sessions *sessions = fl_calloc(1, sizeof(*sessions));
    sessions->core = core;
    sessions->epoch = epoch;
    RB_INIT(&sessions->tree);
    LIST_INIT(&sessions->to_send);
    TAILQ_INIT(&sessions->leaving);
    sessions->life_ms = life_ms > 0 ? life_ms : FL_SESSION_LIFE_MS;
    start_timers(loop, sessions);
    return sessions;
}

void fl_sessions_attach(struct fl_sessions *sessions, struct fl_engine *engine)
{
    sessions->engine = engine;
}

static void timer_closed(uv_handle_t *handle)
{
    struct fl_sessions *sessions = handle->data;
    if (--sessions->timers == 0)
        free(sessions);
}

void fl_sessions_free(struct fl_sessions *sessions)
{
    sessions->engine = NULL;
    while (!TAILQ_EMPTY(&sessions->leaving))
        bid_farewell(TAILQ_FIRST(&sessions->leaving));
    uv_close((uv_handle_t *)&sessions->heartbeat, timer_closed);
    uv_close((uv_handle_t *)&sessions->grace, timer_closed);
}
