/* Sessions by instance: who has the place, how long, and that the other end lives. */
#include "server/sessions_internal.h"

#include "base/clock.h"
#include "base/id.h"
#include "base/log.h"
#include "wire/acs.h"
#include "wire/arn.h"
#include "wire/url.h"

enum { CODE_NORMAL = 1000, LOOKS_A_BEAT = 4 };

#define INACTIVE "The container instance is not registered or is inactive."

static int order(const struct fl_session_link *a, const struct fl_session_link *b)
{
    int by_cluster = fl_str_cmp(a->cluster, b->cluster);
    return by_cluster ? by_cluster : fl_str_cmp(a->instance, b->instance);
}

RB_GENERATE_INTERNAL(fl_session_tree, fl_session_link, by_instance, order, FL_UNUSED static)

struct fl_session_link *fl_sessions_find(struct fl_sessions *sessions, struct fl_str cluster,
                                         struct fl_str instance)
{
    struct fl_session_link probe = {.cluster = cluster, .instance = instance};
    return RB_FIND(fl_session_tree, &sessions->tree, &probe);
}

static void session_drop(struct fl_session_link *session)
{
    if (session->task_count > 0)
        LIST_REMOVE(session, to_send);
    fl_arena_free(session->task_arena);
    fl_arena_free(session->arena);
    free(session);
}

void fl_session_end(struct fl_session_link *session, const char *why)
{
    if (session->is_closing)
        return;
    session->is_closing = true;
    fl_log_info("agent of instance %.*s: session closed: %s", FL_STR_ARG(session->instance), why);
    fl_ws_close(session->ws, 1000, fl_str_of(why));
}

void fl_sessions_end(struct fl_sessions *sessions, const struct fl_core_effect *effect)
{
    struct fl_session_link *session = fl_sessions_find(sessions, effect->cluster, effect->instance);
    if (!session || session->is_closing)
        return;
    fl_session_send_inactive(session, INACTIVE);
    fl_session_end(session, "the instance was deregistered");
}

void fl_session_tell(struct fl_session_link *session, enum fl_core_event_kind kind,
                     struct fl_core_event *event)
{
    event->kind = kind;
    event->cluster = session->cluster;
    event->instance = session->instance;
    event->session = session->number;
    fl_engine_step(session->owner->engine, event);
}

static void on_message(void *context, FL_UNUSED struct fl_ws *ws, struct fl_str text)
{
    struct fl_session_link *session = context;
    session->heard_ms = fl_clock_mono_ms();
    session->is_doubted = false;
    fl_session_take(session, text);
}

/* It has not come back, or another session of the instance is there, of which the core knows. */
static void bid_farewell(struct fl_session_link *session)
{
    struct fl_core_event event = {0};
    TAILQ_REMOVE(&session->owner->leaving, session, by_leave);
    (void)RB_REMOVE(fl_session_tree, &session->owner->gone, session);
    if (session->owner->engine)
        fl_session_tell(session, FL_CORE_EVENT_AGENT_DISCONNECTED, &event);
    session_drop(session);
}

static void on_grace(uv_timer_t *timer)
{
    struct fl_sessions *sessions = timer->data;
    int64_t now_ms = fl_clock_mono_ms();
    struct fl_session_link *session;
    while ((session = TAILQ_FIRST(&sessions->leaving)) &&
           now_ms - session->gone_ms >= FL_SESSION_GRACE_MS)
        bid_farewell(session);
    if (session)
        (void)uv_timer_start(timer, on_grace,
                             (uint64_t)(session->gone_ms + FL_SESSION_GRACE_MS - now_ms), 0);
}

/* A connection that ended because it was old, or that the agent closed in an orderly way, is
 * followed by another at once: the core is not told of the moment between. One of an instance is
 * waited for at most, the last: an agent that comes and goes quickly does not fill our memory. */
static void expect_back(struct fl_session_link *session)
{
    struct fl_sessions *sessions = session->owner;
    struct fl_session_link *older = RB_FIND(fl_session_tree, &sessions->gone, session);
    if (older)
        bid_farewell(older);
    (void)RB_INSERT(fl_session_tree, &sessions->gone, session);
    session->gone_ms = fl_clock_mono_ms();
    session->ws = NULL;
    if (TAILQ_EMPTY(&sessions->leaving))
        (void)uv_timer_start(&sessions->grace, on_grace, FL_SESSION_GRACE_MS, 0);
    TAILQ_INSERT_TAIL(&sessions->leaving, session, by_leave);
}

static void on_closed(void *context, FL_UNUSED struct fl_ws *ws, uint16_t code,
                      FL_UNUSED unsigned http_status, FL_UNUSED struct fl_str text)
{
    struct fl_session_link *session = context;
    struct fl_sessions *sessions = session->owner;
    if (!session->is_replaced)
        (void)RB_REMOVE(fl_session_tree, &sessions->tree, session);
    sessions->count--;
    if (sessions->engine) {
        bool by_agent = !session->is_closing && code == CODE_NORMAL;
        if (session->is_expired || by_agent) {
            expect_back(session);
            return;
        }
        struct fl_core_event event = {0};
        fl_session_tell(session, FL_CORE_EVENT_AGENT_DISCONNECTED, &event);
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

static bool is_rival(const struct fl_session_link *session, const struct fl_session_link *newer)
{
    return session->nonce.n && newer->nonce.n && !fl_str_eq(session->nonce, newer->nonce);
}

/* May the newer one have the place? Not while another agent holds it. Whether that one lives is
 * asked now, and seen when the newer one tries again. */
static bool gives_way(struct fl_session_link *session, const struct fl_session_link *newer)
{
    int64_t now_ms = fl_clock_mono_ms();
    if (session->is_closing || !is_rival(session, newer))
        return true;
    if (session->is_doubted)
        return now_ms - session->probed_ms > FL_SESSION_PROBE_MS;
    session->is_doubted = true;
    session->probed_ms = now_ms;
    fl_session_send_heartbeat(session);
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

bool fl_sessions_hears(struct fl_sessions *sessions, struct fl_str instance_arn,
                       struct fl_str nonce, struct fl_str peer)
{
    struct fl_arn arn;
    struct fl_str rest, cluster = FL_STR("");
    if (!nonce.n || !fl_arn_parse(instance_arn, &arn))
        return true;
    rest = arn.rest;
    (void)fl_str_split(&rest, '/', &cluster);
    struct fl_session_link *session = fl_sessions_find(sessions, cluster, rest);
    const struct fl_session_link speaker = {.nonce = nonce, .peer = peer};
    return !session || gives_way(session, &speaker);
}

static struct fl_session_link *session_new(struct fl_sessions *sessions, struct fl_str cluster_arn,
                                           struct fl_str instance_arn)
{
    struct fl_session_link *session = fl_calloc(1, sizeof(*session));
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

/* An agent that has just begun says that it has no credentials; one that was away may have missed
 * some. Who comes back at once has what it was sent before. */
static void plan_refresh(struct fl_session_link *session, bool is_asked)
{
    struct fl_sessions *sessions = session->owner;
    const struct fl_session_link *former =
        fl_sessions_find(sessions, session->cluster, session->instance);
    if (!former)
        former = RB_FIND(fl_session_tree, &sessions->gone, session);
    session->refresh_ms = former && !is_asked ? former->refresh_ms : fl_clock_mono_ms();
}

/* A newer session of an instance fences the older one. */
static void register_session(struct fl_session_link *session)
{
    struct fl_sessions *sessions = session->owner;
    struct fl_session_link *older = fl_sessions_find(sessions, session->cluster, session->instance);
    if (older) {
        (void)RB_REMOVE(fl_session_tree, &sessions->tree, older);
        older->is_replaced = true;
        fl_session_end(older, "a newer session of the same instance");
    }
    (void)RB_INSERT(fl_session_tree, &sessions->tree, session);
    sessions->count++;
    fl_session_send_certificates(session);
}

void fl_sessions_announce(struct fl_sessions *sessions)
{
    struct fl_session_link *session;
    RB_FOREACH (session, fl_session_tree, &sessions->tree)
        fl_session_send_certificates(session);
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
    bool is_asked = fl_str_is(fl_url_parameter(arena, exchange->query, "sendCredentials"), "true");
    struct fl_session_link *session = session_new(sessions, cluster_arn, instance_arn);
    if (!fl_core_instance_active(sessions->core, session->cluster, session->instance)) {
        session_drop(session);
        refuse(exchange, "InactiveInstanceException", INACTIVE);
        return;
    }
    session->nonce =
        fl_str_dup(session->arena, fl_url_parameter(arena, exchange->query, FL_ACS_NONCE));
    session->peer = fl_str_dup(session->arena, exchange->peer);
    struct fl_session_link *older = fl_sessions_find(sessions, session->cluster, session->instance);
    if (older && !gives_way(older, session)) {
        session_drop(session);
        refuse(exchange, "InvalidInstanceException", FL_SESSION_IN_USE);
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
    plan_refresh(session, is_asked);
    register_session(session);
    fl_log_info("agent of instance %.*s connected", FL_STR_ARG(session->instance));
    fl_session_tell(session, FL_CORE_EVENT_AGENT_CONNECTED, &event);
    if (fl_clock_mono_ms() >= session->refresh_ms)
        fl_session_refresh_credentials(session);
}

/* As ECS does: no connection lives for ever. */
static void expire(struct fl_session_link *session)
{
    if (session->is_closing)
        return;
    session->is_expired = true;
    fl_session_send_close(session, FL_ACS_EXPIRED);
    fl_session_end(session, FL_ACS_EXPIRED);
}

/* The core hears of it now, and not when a farewell that nobody answers has been waited for. */
static void give_up(struct fl_session_link *session)
{
    struct fl_core_event event = {0};
    if (session->is_closing)
        return;
    fl_session_tell(session, FL_CORE_EVENT_AGENT_DISCONNECTED, &event);
    fl_session_end(session, "no answer to heartbeats");
}

static void beat(struct fl_session_link *session, int64_t now_ms)
{
    if (session->unacked_count && now_ms - session->unacked[0].sent_ms > FL_SESSION_ACK_MS) {
        fl_session_end(session, "a payload was not acknowledged");
        return;
    }
    if (now_ms > session->ends_ms) {
        expire(session);
        return;
    }
    if (now_ms >= session->refresh_ms)
        fl_session_refresh_credentials(session);
    fl_session_send_heartbeat(session);
    fl_session_offer_key(session);
}

/* Silence is looked for more often than heartbeats are sent: what an agent said between two of them
 * must not put off by another one that it is found to be gone. */
static void on_look(uv_timer_t *timer)
{
    struct fl_sessions *sessions = timer->data;
    int64_t now_ms = fl_clock_mono_ms();
    bool is_beat = ++sessions->looks % LOOKS_A_BEAT == 0;
    struct fl_session_link *session;
    RB_FOREACH (session, fl_session_tree, &sessions->tree) {
        if (now_ms - session->heard_ms > sessions->silence_ms)
            give_up(session);
        else if (is_beat)
            beat(session, now_ms);
    }
}

static void start_timers(uv_loop_t *loop, struct fl_sessions *sessions)
{
    (void)uv_timer_init(loop, &sessions->heartbeat);
    (void)uv_timer_init(loop, &sessions->grace);
    sessions->timers = 2;
    sessions->heartbeat.data = sessions->grace.data = sessions;
    uint64_t look_ms = (uint64_t)FL_MAX(sessions->pace_ms / LOOKS_A_BEAT, 1);
    (void)uv_timer_start(&sessions->heartbeat, on_look, look_ms, look_ms);
}

/* Who is gone is found within two heartbeats of its last word: the last look before their end is
 * the first one that can find it, since words and looks take a moment. */
static void set_pace(struct fl_sessions *sessions, const struct fl_sessions_config *config)
{
    int64_t heartbeat_ms =
        config->heartbeat_ms > 0 ? config->heartbeat_ms : FL_SESSION_HEARTBEAT_MS;
    sessions->life_ms = config->life_ms > 0 ? config->life_ms : FL_SESSION_LIFE_MS;
    sessions->pace_ms = FL_MIN(heartbeat_ms, FL_MAX(sessions->life_ms / 4, 1));
    sessions->silence_ms = 2 * heartbeat_ms - sessions->pace_ms / LOOKS_A_BEAT;
}

struct fl_sessions *fl_sessions_new(uv_loop_t *loop, struct fl_core *core,
                                    const struct fl_sessions_config *config)
{
    struct fl_sessions *sessions = fl_calloc(1, sizeof(*sessions));
    sessions->core = core;
    sessions->epoch = config->epoch;
    sessions->keys = config->keys;
    sessions->certificate = config->certificate;
    RB_INIT(&sessions->tree);
    RB_INIT(&sessions->gone);
    LIST_INIT(&sessions->to_send);
    TAILQ_INIT(&sessions->leaving);
    set_pace(sessions, config);
    start_timers(loop, sessions);
    return sessions;
}

void fl_sessions_attach(struct fl_sessions *sessions, struct fl_engine *engine,
                        const struct fl_issuer *issuer)
{
    sessions->engine = engine;
    sessions->issuer = issuer;
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
