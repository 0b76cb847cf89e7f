/* How an agent comes to its key, keeps it, and loses it. */
#include "agent/session_calls.h"
#include "agent/session_internal.h"
#include "base/log.h"
#include "wire/arn.h"
#include "wire/json.h"

#define JOIN_TARGET "Fairlead_20261120.Join"

static void save(struct fl_session *session)
{
    struct fl_err err;
    if (fl_admitted_save(session->config.state_dir, session->config.admitted, &err) < 0)
        fl_log_error("%s", err.text);
}

/* ---- joining ---- */

static void use_key(struct fl_session *session, struct fl_str id, struct fl_str secret)
{
    struct fl_credentials *key = &session->config.admitted->key;
    *key = (struct fl_credentials){.access_key_id = fl_str_dup(session->arena, id),
                                   .secret = fl_str_dup(session->arena, secret)};
    fl_aws_client_set_key(session->config.aws, key);
}

static void take_hashes(struct fl_session *session, const struct fl_json *list)
{
    struct fl_tls_pins pins = {0};
    for (size_t i = 0; i < fl_json_items(list); i++)
        (void)fl_tls_pins_add(&pins, fl_json_text(fl_json_item(list, i)));
    if (pins.count)
        session->config.admitted->pins = pins;
}

void fl_session_join_anew(struct fl_session *session)
{
    struct fl_err err;
    fl_log_info("the former container instance of this host is no more: joining as a new one");
    fl_identity_renew(&session->identity, session->arena);
    if (fl_identity_save(session->config.state_dir, &session->identity, &err) < 0)
        fl_log_error("%s", err.text);
    session->config.admitted->key = (struct fl_credentials){0};
    save(session);
    fl_aws_client_set_key(session->config.aws, &session->config.admission.machine_key);
    session->stage = FL_SESSION_STAGE_JOIN;
    fl_session_attempt(session);
}

/* A control plane of an earlier release, or one that is not ours, knows of no joining, and has its
 * own words for that: there the key that we were given does for all. */
static bool knows_no_joining(const struct fl_session *session,
                             const struct fl_http_response *response)
{
    static const char *const refusals[] = {"AccessDenied", "UnrecognizedClient", "Signature",
                                           "Throttling"};
    for (size_t i = 0; i < FL_ARRAY_SIZE(refusals); i++)
        if (fl_str_contains(response->body, fl_str_of(refusals[i])))
            return false;
    return session->config.admission.machine_key.secret.n && response->status >= 400 &&
           response->status < 500;
}

/* The refusal is about the instance that we were, not about the token. */
static bool is_about_instance(const struct fl_session *session,
                              const struct fl_http_response *response)
{
    return session->identity.instance_arn.n && response->status == 400 &&
           fl_str_contains(response->body, FL_STR("\"The container instance "));
}

static void on_joined(void *context, const struct fl_http_response *response)
{
    struct fl_session *session = context;
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    const struct fl_json *json =
        response->status == 200 ? fl_json_read(response->body, arena, NULL) : NULL;
    struct fl_str id = fl_json_text(fl_json_get(json, "accessKeyId"));
    struct fl_str secret = fl_json_text(fl_json_get(json, "secretAccessKey"));
    if (id.n && secret.n) {
        use_key(session, id, secret);
        take_hashes(session, fl_json_get(json, "certificates"));
        save(session);
        fl_log_info("joined: this host has a key of its own");
    } else if (is_about_instance(session, response)) {
        fl_session_join_anew(session);
        return;
    } else if (!knows_no_joining(session, response)) {
        fl_session_look_elsewhere(session, response);
        fl_session_note_answer(session, "this host cannot join", response);
        fl_session_try_again(session, FL_SESSION_STAGE_JOIN);
        return;
    }
    session->stage = FL_SESSION_STAGE_REGISTER;
    fl_session_attempt(session);
}

/* The id that we have, or that a registration with our client token gets. */
static struct fl_str instance_id(const struct fl_session *session, struct fl_arena *arena)
{
    struct fl_str token = session->identity.client_token;
    if (session->identity.instance_arn.n)
        return fl_arn_last(session->identity.instance_arn);
    char *digits = fl_arena_alloc(arena, token.n + 1);
    size_t n = 0;
    for (size_t i = 0; i < token.n; i++)
        if (token.p[i] != '-')
            digits[n++] = token.p[i];
    return (struct fl_str){digits, n};
}

static void join_by_token(struct fl_session *session, struct fl_str body)
{
    const struct fl_header headers[] = {
        {FL_STR("Content-Type"), FL_STR("application/x-amz-json-1.1")},
        {FL_STR("X-Amz-Target"), FL_STR(JOIN_TARGET)},
        {FL_STR("X-Fairlead-Token"), session->config.admission.token},
    };
    const struct fl_http_request request = {
        .method = FL_STR("POST"),
        .url = session->config.server_url,
        .headers = headers,
        .header_count = FL_ARRAY_SIZE(headers),
        .body = body,
        .timeout_ms = FL_SESSION_CALL_MS,
    };
    fl_http_client_send(session->config.http, &request, on_joined, session);
}

void fl_session_join(struct fl_session *session)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    FL_CLEANUP_BUF struct fl_buf body = FL_BUF_INIT(4096);
    struct fl_json_writer jw = {.buf = &body};
    fl_jw_object_begin(&jw);
    fl_jw_member_str(&jw, "cluster", session->config.cluster);
    fl_jw_member_str(&jw, "instance", instance_id(session, arena));
    fl_jw_object_end(&jw);
    if (session->config.admission.token.n)
        join_by_token(session, fl_buf_str(&body));
    else
        fl_aws_call(session->config.aws, "ecs", JOIN_TARGET, fl_buf_str(&body), FL_SESSION_CALL_MS,
                    on_joined, session);
}

/* ---- keys that die ---- */

void fl_session_shut_out(struct fl_session *session)
{
    const struct fl_admission *admission = &session->config.admission;
    bool may_join = admission->token.n || admission->machine_key.secret.n;
    if (session->was_registered || !may_join) {
        fl_session_note(session, "this host takes no more tasks",
                        may_join ? FL_STR("its key is dead; start its agent again, and it joins "
                                          "anew")
                                 : FL_STR("its key is dead; start its agent with a new --token"));
        fl_session_wait(session, FL_SESSION_STAGE_REGISTER);
        return;
    }
    session->config.admitted->key = (struct fl_credentials){0};
    fl_aws_client_set_key(session->config.aws, &admission->machine_key);
    session->stage = FL_SESSION_STAGE_JOIN;
    fl_session_attempt(session);
}

bool fl_session_is_shut_out(struct fl_session *session, const struct fl_http_response *response)
{
    if (!session->config.admitted->key.secret.n || response->status != 400 ||
        !fl_str_contains(response->body, FL_STR("UnrecognizedClientException")))
        return false;
    fl_session_shut_out(session);
    return true;
}

/* ---- news ---- */

static void on_key_used(FL_UNUSED void *context, FL_UNUSED const struct fl_http_response *response)
{
}

/* The former key is good until this one has been used, and that is at once. */
void fl_session_take_key(struct fl_session *session, const struct fl_json *body)
{
    struct fl_admitted *admitted = session->config.admitted;
    struct fl_str id = fl_json_text(fl_json_get(body, "accessKeyId"));
    struct fl_str secret = fl_json_text(fl_json_get(body, "secretAccessKey"));
    struct fl_admitted next = *admitted;
    struct fl_err err;
    if (!id.n || !secret.n || fl_str_eq(id, admitted->key.access_key_id))
        return;
    next.key = (struct fl_credentials){.access_key_id = id, .secret = secret};
    if (fl_admitted_save(session->config.state_dir, &next, &err) < 0) {
        fl_log_error("this host keeps its former key: %s", err.text);
        return;
    }
    use_key(session, id, secret);
    fl_aws_call(session->config.aws, "ecs", FL_ECS_TARGET "DiscoverPollEndpoint", FL_STR("{}"),
                FL_SESSION_CALL_MS, on_key_used, session);
}

void fl_session_take_certificates(struct fl_session *session, const struct fl_json *body)
{
    struct fl_tls_pins before = session->config.admitted->pins;
    take_hashes(session, fl_json_get(body, "certificates"));
    if (memcmp(&before, &session->config.admitted->pins, sizeof(before)) != 0)
        save(session);
}

/* ---- where the server is ---- */

void fl_session_remember_server(struct fl_session *session, struct fl_str endpoint)
{
    struct fl_admitted *admitted = session->config.admitted;
    const char *mark = memmem(endpoint.p, endpoint.n, "://", 3);
    size_t n = mark ? (size_t)(mark - endpoint.p) + 3 : endpoint.n;
    while (n < endpoint.n && endpoint.p[n] != '/')
        n++;
    struct fl_str url = fl_str_sub(endpoint, 0, n);
    if (!fl_str_starts(url, FL_STR("https://")) || fl_str_eq(url, admitted->server))
        return;
    admitted->server = fl_str_dup(session->arena, url);
    save(session);
}

void fl_session_look_elsewhere(struct fl_session *session, const struct fl_http_response *response)
{
    struct fl_str other = session->config.admitted->server;
    if (response->status != 0 || !other.n || !session->config.admitted->key.secret.n)
        return;
    session->is_elsewhere = !session->is_elsewhere;
    fl_aws_client_set_endpoint(session->config.aws,
                               session->is_elsewhere ? other : session->config.server_url);
}
