/* A session goes through its stages: join (once, session_join.c), register, discover the endpoint,
 * connect. A step that fails
 * is tried again after a pause that grows; a refused handshake goes back to registration, a lost
 * connection only to connecting. One timer serves the pauses and, on an open connection, the
 * watch for a silent peer. */
#include "agent/session.h"

#include <stdio.h>

#include "agent/session_calls.h"
#include "agent/session_internal.h"
#include "base/clock.h"
#include "base/id.h"
#include "base/log.h"
#include "net/ws.h"
#include "wire/acs.h"
#include "wire/json.h"

enum {
    FIRST_PAUSE_MS = 250,
    LONGEST_PAUSE_MS = 5 * 1000,
    INACTIVE_PAUSE_MS = 30 * 1000, /* the control plane says that it knows us no more */
    SILENCE_MS = 60 * 1000,        /* and up to as much again */
    STABLE_MS = 1000,              /* a connection that lived as long ends the growth of pauses */
    FAILURES_BEFORE_DISCOVERY = 3,
};

static void on_pause_over(uv_timer_t *timer)
{
    fl_session_attempt(timer->data);
}

/* ±20 %, so that many hosts do not come at once. */
static int64_t jitter(struct fl_session *session, int64_t ms)
{
    return ms * 4 / 5 + (int64_t)fl_rand_below(&session->rand, (uint64_t)(ms * 2 / 5) + 1);
}

void fl_session_try_again(struct fl_session *session, enum fl_session_stage stage)
{
    session->stage = stage;
    session->pause_ms = session->pause_ms == 0
                            ? FIRST_PAUSE_MS
                            : FL_MIN(session->pause_ms * 3 / 2, (int64_t)LONGEST_PAUSE_MS);
    (void)uv_timer_start(session->timer, on_pause_over,
                         (uint64_t)jitter(session, session->pause_ms), 0);
}

void fl_session_note(struct fl_session *session, const char *what, struct fl_str why)
{
    char text[sizeof(session->last_failure)];
    (void)snprintf(text, sizeof(text), "%s: %.*s", what, FL_STR_ARG(fl_str_sub(why, 0, 200)));
    if (strcmp(text, session->last_failure) != 0)
        fl_log_warn("%s; trying again", text);
    memcpy(session->last_failure, text, sizeof(text));
}

void fl_session_note_answer(struct fl_session *session, const char *what,
                            const struct fl_http_response *response)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_str code, message;
    fl_aws_error(response, arena, &code, &message);
    fl_session_note(session, what,
                    fl_str_printf(arena, "%.*s: %.*s", FL_STR_ARG(code), FL_STR_ARG(message)));
}

/* ---- registration ---- */

static void on_cluster_made(void *context, const struct fl_http_response *response)
{
    struct fl_session *session = context;
    if (response->status == 200) {
        fl_session_attempt(session);
        return;
    }
    fl_session_note_answer(session, "the cluster cannot be created", response);
    session->cluster_made = false;
    fl_session_try_again(session, FL_SESSION_STAGE_REGISTER);
}

/* The official agent's habit: a missing default cluster is made. */
static bool make_cluster(struct fl_session *session, const struct fl_http_response *response)
{
    if (session->cluster_made || response->status != 400 ||
        !fl_str_is(session->config.cluster, "default") ||
        !fl_str_contains(response->body, FL_STR("Cluster not found.")))
        return false;
    session->cluster_made = true;
    fl_aws_call(session->config.aws, "ecs", FL_ECS_TARGET "CreateCluster",
                FL_STR("{\"clusterName\":\"default\"}"), FL_SESSION_CALL_MS, on_cluster_made,
                session);
    return true;
}

/* So that nothing is believed of another agent with our identity, while we are there, and of us,
 * while it is. */
static void introduce(struct fl_session *session)
{
    const struct fl_header headers[] = {
        {FL_STR(FL_ACS_NONCE_HEADER), fl_str_of(session->identity.nonce)},
        {FL_STR(FL_ACS_INSTANCE_HEADER), session->identity.instance_arn},
    };
    if (session->identity.instance_arn.n)
        fl_aws_client_introduce(session->config.aws, headers);
}

void fl_session_wait(struct fl_session *session, enum fl_session_stage stage)
{
    fl_session_try_again(session, stage);
    (void)uv_timer_start(session->timer, on_pause_over,
                         (uint64_t)jitter(session, INACTIVE_PAUSE_MS), 0);
}

/* A deregistered instance is INACTIVE, and is forgotten after a while. */
static bool is_deregistered(const struct fl_http_response *response)
{
    return response->status == 400 &&
           (fl_str_contains(response->body, FL_STR("is inactive.")) ||
            fl_str_contains(response->body, FL_STR("to register again was not found.")));
}

/* Deregistration is final, and an agent that is told of it stays away; one that is started again
 * joins as a new container instance. What still runs of the former one is then found to be unknown
 * to the control plane, and stopped. */
static bool join_anew(struct fl_session *session, const struct fl_http_response *response)
{
    if (!is_deregistered(response))
        return false;
    if (session->was_registered) {
        fl_session_note_answer(
            session, "this host takes no more tasks until its agent is started again", response);
        fl_session_wait(session, FL_SESSION_STAGE_REGISTER);
        return true;
    }
    fl_session_join_anew(session);
    return true;
}

static void on_registered(void *context, const struct fl_http_response *response)
{
    struct fl_session *session = context;
    if (make_cluster(session, response) || fl_session_is_shut_out(session, response) ||
        join_anew(session, response))
        return;
    struct fl_str arn = {0};
    if (response->status == 200)
        arn = fl_session_read_registered(response->body, session->arena);
    if (arn.n == 0) {
        fl_session_look_elsewhere(session, response);
        fl_session_note_answer(session, "this host cannot be registered", response);
        fl_session_try_again(session, FL_SESSION_STAGE_REGISTER);
        return;
    }
    if (session->identity.instance_arn.n == 0) {
        struct fl_err err;
        session->identity.instance_arn = arn;
        fl_log_info("registered as %.*s", FL_STR_ARG(arn));
        if (fl_identity_save(session->config.state_dir, &session->identity, &err) < 0)
            fl_log_error("%s", err.text);
    }
    session->was_registered = true;
    introduce(session);
    session->stage = FL_SESSION_STAGE_DISCOVER;
    fl_session_attempt(session);
}

static void call_register(struct fl_session *session)
{
    introduce(session);
    FL_CLEANUP_BUF struct fl_buf body = FL_BUF_INIT(FL_SESSION_MAX_BODY);
    fl_session_write_register(&session->config, &session->identity, &body);
    fl_aws_call(session->config.aws, "ecs", FL_ECS_TARGET "RegisterContainerInstance",
                fl_buf_str(&body), FL_SESSION_CALL_MS, on_registered, session);
}

/* ---- discovery ---- */

static void on_discovered(void *context, const struct fl_http_response *response)
{
    struct fl_session *session = context;
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    const struct fl_json *json =
        response->status == 200 ? fl_json_read(response->body, arena, NULL) : NULL;
    struct fl_str endpoint = fl_json_text(fl_json_get(json, "endpoint"));
    if (endpoint.n == 0 && fl_session_is_shut_out(session, response))
        return;
    if (endpoint.n == 0) {
        fl_session_look_elsewhere(session, response);
        fl_session_note_answer(session, "the control plane's endpoint cannot be discovered",
                               response);
        fl_session_try_again(session, FL_SESSION_STAGE_REGISTER);
        return;
    }
    if (!fl_admission_is_safe(endpoint)) {
        fl_session_note(session, "the control plane tells of an endpoint without TLS", endpoint);
        fl_session_wait(session, FL_SESSION_STAGE_REGISTER);
        return;
    }
    fl_session_remember_server(session, endpoint);
    fl_buf_clear(&session->endpoint_buf);
    fl_buf_add_str(&session->endpoint_buf, endpoint);
    if (!fl_str_ends(endpoint, FL_STR("/")))
        fl_buf_add_char(&session->endpoint_buf, '/');
    session->stage = FL_SESSION_STAGE_CONNECT;
    session->connect_failures = 0;
    session->callbacks.discovered(session->context,
                                  fl_json_text(fl_json_get(json, "telemetryEndpoint")),
                                  session->identity.instance_arn);
    fl_session_attempt(session);
}

static void call_discover(struct fl_session *session)
{
    FL_CLEANUP_BUF struct fl_buf body = FL_BUF_INIT(4096);
    struct fl_json_writer jw = {.buf = &body};
    fl_jw_object_begin(&jw);
    fl_jw_member_str(&jw, "cluster", session->config.cluster);
    fl_jw_member_str(&jw, "containerInstance", session->identity.instance_arn);
    fl_jw_object_end(&jw);
    fl_aws_call(session->config.aws, "ecs", FL_ECS_TARGET "DiscoverPollEndpoint", fl_buf_str(&body),
                FL_SESSION_CALL_MS, on_discovered, session);
}

/* ---- the connection ---- */

static void on_silence(uv_timer_t *timer)
{
    struct fl_session *session = timer->data;
    fl_log_warn("nothing heard from the control plane for a minute: connecting again");
    if (session->ws)
        fl_ws_close(session->ws, 1000, FL_STR("silence"));
}

static void watch_silence(struct fl_session *session)
{
    uint64_t wait_ms = SILENCE_MS + fl_rand_below(&session->rand, SILENCE_MS);
    (void)uv_timer_start(session->timer, on_silence, wait_ms, 0);
}

static void on_opened(void *context, FL_UNUSED struct fl_ws *ws)
{
    struct fl_session *session = context;
    if (session->closing)
        return;
    session->stage = FL_SESSION_STAGE_OPEN;
    session->opened_ms = fl_clock_mono_ms();
    session->was_open = true;
    session->connect_failures = 0;
    session->last_failure[0] = '\0';
    fl_log_info("connected to the control plane");
    watch_silence(session);
    session->callbacks.opened(session->context);
}

static void on_message(void *context, FL_UNUSED struct fl_ws *ws, struct fl_str text)
{
    struct fl_session *session = context;
    if (session->closing)
        return;
    watch_silence(session);
    session->callbacks.message(session->context, text);
}

static void session_free(struct fl_session *session)
{
    fl_buf_free(&session->endpoint_buf);
    fl_arena_free(session->arena);
    free(session);
}

/* What the control plane says instead of shaking hands decides where to go on. */
static void on_refused(struct fl_session *session, unsigned http_status, struct fl_str text)
{
    fl_session_note(session, "the control plane cannot be reached", text);
    if (fl_str_contains(text, FL_STR("InvalidInstanceException"))) {
        fl_session_try_again(session,
                             FL_SESSION_STAGE_CONNECT); /* another agent is there: it may go */
        return;
    }
    if (fl_str_contains(text, FL_STR("UnrecognizedClientException"))) {
        fl_session_shut_out(session);
        return;
    }
    if (http_status != 0) {
        if (fl_str_contains(text, FL_STR("InactiveInstanceException")))
            fl_session_wait(session, FL_SESSION_STAGE_REGISTER);
        else
            fl_session_try_again(session, FL_SESSION_STAGE_REGISTER);
        return;
    }
    bool again = ++session->connect_failures < FAILURES_BEFORE_DISCOVERY;
    fl_session_try_again(session, again ? FL_SESSION_STAGE_CONNECT : FL_SESSION_STAGE_DISCOVER);
}

static void on_closed(void *context, FL_UNUSED struct fl_ws *ws, uint16_t code,
                      unsigned http_status, struct fl_str text)
{
    struct fl_session *session = context;
    session->ws = NULL;
    if (session->closing) {
        session_free(session);
        return;
    }
    if (session->stage != FL_SESSION_STAGE_OPEN) {
        on_refused(session, http_status, text);
        return;
    }
    fl_log_info("the connection to the control plane has ended (%u)", code);
    if (fl_clock_mono_ms() - session->opened_ms >= STABLE_MS)
        session->pause_ms = 0;
    fl_session_try_again(session, FL_SESSION_STAGE_CONNECT);
}

static void open_connection(struct fl_session *session)
{
    static const struct fl_ws_callbacks callbacks = {
        .opened = on_opened, .message = on_message, .closed = on_closed};
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_header *headers;
    struct fl_str url = fl_session_url(fl_buf_str(&session->endpoint_buf), &session->config,
                                       &session->identity, !session->was_open, arena);
    size_t count =
        fl_aws_sign_websocket(session->config.aws, "ecs", url, FL_STR(""), arena, &headers);
    session->ws = fl_ws_connect(session->config.loop, url, &session->config.admitted->pins, headers,
                                count, &callbacks, session);
}

void fl_session_attempt(struct fl_session *session)
{
    switch (session->stage) {
    case FL_SESSION_STAGE_JOIN:
        fl_session_join(session);
        break;
    case FL_SESSION_STAGE_REGISTER:
        call_register(session);
        break;
    case FL_SESSION_STAGE_DISCOVER:
        call_discover(session);
        break;
    case FL_SESSION_STAGE_CONNECT:
        open_connection(session);
        break;
    case FL_SESSION_STAGE_OPEN:
        break;
    }
}

static void seed(struct fl_session *session)
{
    uint8_t bytes[32];
    fl_random_bytes(bytes, sizeof(bytes));
    fl_rand_seed(&session->rand, bytes);
}

struct fl_session *fl_session_start(const struct fl_session_config *config,
                                    const struct fl_session_callbacks *callbacks, void *context)
{
    struct fl_session *session = fl_calloc(1, sizeof(*session));
    session->config = *config;
    session->callbacks = *callbacks;
    session->context = context;
    session->arena = fl_arena_new();
    session->endpoint_buf = FL_BUF_INIT(4096);
    seed(session);
    session->identity = config->identity;
    session->timer = fl_calloc(1, sizeof(*session->timer));
    session->timer->data = session;
    (void)uv_timer_init(config->loop, session->timer);
    session->stage =
        config->admitted->key.secret.n ? FL_SESSION_STAGE_REGISTER : FL_SESSION_STAGE_JOIN;
    fl_session_attempt(session);
    return session;
}

static void on_timer_closed(uv_handle_t *handle)
{
    free(handle);
}

void fl_session_close(struct fl_session *session)
{
    if (!session)
        return;
    session->closing = true;
    uv_close((uv_handle_t *)session->timer, on_timer_closed);
    if (session->ws)
        fl_ws_close(session->ws, 1001, FL_STR("the agent ends"));
    else
        session_free(session);
}

void fl_session_send(struct fl_session *session, struct fl_str text)
{
    if (session->stage == FL_SESSION_STAGE_OPEN && session->ws)
        fl_ws_send(session->ws, text);
}
