/* From an HTTP request to who calls, and over to what is called; the AWS JSON answer. */
#include "base/clock.h"
#include "server/api_internal.h"
#include "server/query.h"
#include "server/tokens.h"
#include "wire/acs.h"
#include "wire/json.h"
#include "wire/url.h"

void fl_api_answer(struct fl_http_exchange *exchange, unsigned status, struct fl_str body)
{
    char id[37];
    struct fl_header headers[] = {
        {FL_STR("Content-Type"), FL_STR("application/x-amz-json-1.1")},
        {FL_STR("x-amzn-RequestId"), fl_request_id(exchange, id)},
    };
    fl_http_reply(exchange, status, headers, FL_ARRAY_SIZE(headers), body);
}

void fl_api_reply(uint64_t id, unsigned status, struct fl_str body)
{
    fl_api_answer((struct fl_http_exchange *)(uintptr_t)id, status, body);
}

void fl_api_refuse(struct fl_http_exchange *exchange, unsigned status, struct fl_str code,
                   struct fl_str text)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(64 * 1024);
    struct fl_json_writer jw = {.buf = &buf};
    fl_jw_object_begin(&jw);
    fl_jw_member_str(&jw, "__type", code);
    fl_jw_member_str(&jw, "message", text);
    fl_jw_object_end(&jw);
    fl_api_answer(exchange, status, fl_buf_str(&buf));
}

static const char *auth_code(enum fl_sigv4_status status)
{
    switch (status) {
    case FL_SIGV4_MISSING:
        return "MissingAuthenticationTokenException";
    case FL_SIGV4_INCOMPLETE:
        return "IncompleteSignatureException";
    case FL_SIGV4_UNKNOWN_KEY:
        return "UnrecognizedClientException";
    case FL_SIGV4_SESSION_OVER:
        return "ExpiredTokenException";
    case FL_SIGV4_EXPIRED:
    case FL_SIGV4_WRONG_SCOPE:
    case FL_SIGV4_MISMATCH:
        return "InvalidSignatureException";
    case FL_SIGV4_OK:
        break;
    }
    return NULL;
}

/* Where a signature's key comes from: with a session token the token says it. */
struct look_up {
    struct fl_api *api;
    struct fl_http_exchange *exchange;
    int64_t now_ms;
    struct fl_role_session *session; /* filled in where there is a token */
};

static bool find_key(void *context, struct fl_str access_key_id, struct fl_credentials *ret_key)
{
    struct look_up *look_up = context;
    struct fl_arena *arena = look_up->exchange->arena;
    struct fl_str token = fl_http_header(look_up->exchange, "X-Amz-Security-Token");
    if (!token.p)
        return fl_keys_lookup(look_up->api->keys, access_key_id, ret_key);
    look_up->session = fl_arena_new_object(arena, struct fl_role_session);
    return fl_issuer_look_up(look_up->api->issuer, access_key_id, fl_str_trim(token),
                             look_up->now_ms, arena, ret_key, look_up->session);
}

/* Only who has the secret is told that its session is over. */
static void check_session(const struct look_up *look_up, struct fl_sigv4_result *result)
{
    if (result->status != FL_SIGV4_OK || !look_up->session || !look_up->session->is_over)
        return;
    result->status = FL_SIGV4_SESSION_OVER;
    result->text = FL_STR("The security token included in the request is expired");
}

static void identify(const struct look_up *look_up, struct fl_str access_key_id,
                     struct fl_caller *ret_caller)
{
    if (!look_up->session) {
        fl_keys_used(look_up->api->keys, access_key_id, ret_caller);
        return;
    }
    bool is_task = look_up->session->role == FL_ACS_ROLE_TASK;
    *ret_caller = (struct fl_caller){.role = is_task ? FL_ROLE_TASK : FL_ROLE_EXECUTION};
}

static bool authenticate(struct fl_api *api, struct fl_http_exchange *exchange,
                         struct fl_api_call *ret_call)
{
    const struct fl_sigv4_request request = {
        .method = exchange->method,
        .path = exchange->path,
        .query = exchange->query,
        .headers = exchange->headers,
        .header_count = exchange->header_count,
        .body = exchange->body,
    };
    struct look_up look_up = {api, exchange, fl_clock_wall_ms(), NULL};
    struct fl_sigv4_result result = fl_sigv4_verify(
        &request, api->region, look_up.now_ms, api->cache, find_key, &look_up, exchange->arena);
    check_session(&look_up, &result);
    const char *code = auth_code(result.status);
    if (code && fl_query_is(exchange)) {
        fl_query_refuse_auth(exchange, &result);
        return false;
    }
    if (code) {
        fl_api_refuse(exchange, 400, fl_str_of(code), result.text);
        return false;
    }
    *ret_call = (struct fl_api_call){
        .api = api,
        .exchange = exchange,
        .session = look_up.session,
        .service = result.service,
    };
    identify(&look_up, result.access_key_id, &ret_call->caller);
    return true;
}

void fl_api_deny(struct fl_api_call *call, const char *service, struct fl_str operation,
                 struct fl_str resource)
{
    struct fl_arena *arena = call->exchange->arena;
    const struct fl_api *api = call->api;
    struct fl_str instance = call->caller.instance;
    struct fl_str who =
        call->session ? call->session->principal
        : instance.n  ? fl_str_printf(arena, "arn:aws:sts::%.*s:assumed-role/fairlead-agent/%.*s",
                                      FL_STR_ARG(api->account), FL_STR_ARG(instance))
                      : fl_str_printf(arena, "arn:aws:iam::%.*s:user/fairlead-agent",
                                      FL_STR_ARG(api->account));
    struct fl_str on = resource.n ? fl_str_printf(arena, " on resource: arn:aws:ecs:%.*s:%.*s:%.*s",
                                                  FL_STR_ARG(api->region), FL_STR_ARG(api->account),
                                                  FL_STR_ARG(resource))
                                  : FL_STR("");
    struct fl_str text =
        fl_str_printf(arena, "User: %.*s is not authorized to perform: %s:%.*s%.*s",
                      FL_STR_ARG(who), service, FL_STR_ARG(operation), FL_STR_ARG(on));
    fl_api_refuse(call->exchange, 400, FL_STR("AccessDeniedException"), text);
}

struct fl_access fl_api_access(const struct fl_api_call *call)
{
    return (struct fl_access){.keys = call->api->keys,
                              .core = call->api->core,
                              .caller = &call->caller,
                              .arena = call->exchange->arena};
}

bool fl_api_is_of_a_task(const struct fl_api_call *call)
{
    return call->caller.role == FL_ROLE_TASK || call->caller.role == FL_ROLE_EXECUTION;
}

bool fl_api_is_machines_key(const struct fl_api_call *call)
{
    return call->caller.role == FL_ROLE_AGENT && call->caller.instance.n == 0;
}

void fl_api_on_answer(void *context, unsigned status, struct fl_str code, struct fl_str body)
{
    struct fl_http_exchange *exchange = context;
    if (status == 200)
        fl_api_answer(exchange, status, body);
    else
        fl_api_refuse(exchange, status, code, body);
}

const struct fl_json *fl_api_read_body(struct fl_http_exchange *exchange)
{
    struct fl_err err;
    const struct fl_json *json =
        fl_json_read(exchange->body.n ? exchange->body : FL_STR("{}"), exchange->arena, &err);
    if (!json)
        fl_api_refuse(exchange, 400, FL_STR("SerializationException"), fl_str_of(err.text));
    return json;
}

void *fl_api_decode(struct fl_http_exchange *exchange, const struct fl_shape *shape,
                    const struct fl_json *json, const char *invalid_code)
{
    struct fl_shape_error fault;
    void *input = fl_arena_alloc(exchange->arena, fl_shape_size(shape));
    if (fl_shape_decode(shape, json, exchange->arena, input, &fault) == 0)
        return input;
    fl_api_refuse(exchange, 400,
                  fault.fault == FL_SHAPE_TYPE ? FL_STR("SerializationException")
                                               : fl_str_of(invalid_code),
                  fl_str_of(fault.text));
    return NULL;
}

static void call_query(struct fl_api_call *call)
{
    const struct fl_query_caller caller = {
        .role = call->caller.role,
        .account = call->api->account,
        .service = call->service,
        .session = call->session,
    };
    fl_query_handle(call->exchange, &caller);
}

static void dispatch(struct fl_api_call *call)
{
    struct fl_str target = fl_http_header(call->exchange, "X-Amz-Target");
    if (!fl_api_call_own(call, target))
        fl_api_call_service(call, target);
}

/* May this agent's session be opened? Not by another instance's key. */
static bool may_connect(struct fl_api_call *call, bool is_telemetry)
{
    struct fl_http_exchange *exchange = call->exchange;
    const struct fl_access access = fl_api_access(call);
    const char *names[] = {is_telemetry ? "cluster" : "clusterArn",
                           is_telemetry ? "containerInstance" : "containerInstanceArn"};
    struct fl_str resource, value[2];
    for (size_t i = 0; i < FL_ARRAY_SIZE(names); i++)
        value[i] = fl_url_parameter(exchange->arena, exchange->query, names[i]);
    if (call->caller.role != FL_ROLE_AGENT ||
        fl_access_instance(&access, value[0], value[1], &resource))
        return true;
    fl_api_deny(call, "ecs", is_telemetry ? FL_STR("StartTelemetrySession") : FL_STR("Poll"),
                resource);
    return false;
}

/* Secrets and tasks do not cross a network in the clear, in either direction. */
static bool is_safe(const struct fl_http_exchange *exchange)
{
    return exchange->is_tls || exchange->peer_is_here;
}

static void refuse_plain(struct fl_http_exchange *exchange)
{
    fl_api_refuse(exchange, 400, FL_STR("AccessDeniedException"),
                  FL_STR("An agent on another host talks TLS: give it the server's https:// URL "
                         "(server --tls-listen) and a token."));
}

void fl_api_handle(void *context, struct fl_http_exchange *exchange)
{
    struct fl_api *api = context;
    struct fl_api_call call;
    bool is_get = fl_str_is(exchange->method, "GET");
    bool is_telemetry = is_get && fl_str_is(exchange->path, "/tcs/ws");
    bool is_session = is_telemetry || (is_get && fl_str_is(exchange->path, "/acs/ws"));
    if (fl_registry_has_path(exchange->path)) {
        fl_registry_handle(api->registry, exchange);
        return;
    }
    if (!is_session && !fl_str_is(exchange->path, "/")) {
        fl_api_refuse(exchange, 404, FL_STR("UnknownOperationException"),
                      FL_STR("Nothing is served at this path."));
        return;
    }
    if (!is_session && !fl_str_is(exchange->method, "POST")) {
        fl_api_refuse(exchange, 405, FL_STR("UnknownOperationException"),
                      FL_STR("The API is called with POST."));
        return;
    }
    if (fl_tokens_is_join(exchange)) {
        if (is_safe(exchange))
            fl_tokens_join(api, exchange, false);
        else
            refuse_plain(exchange);
        return;
    }
    if (!authenticate(api, exchange, &call))
        return;
    if (call.caller.role == FL_ROLE_AGENT &&
        (!is_safe(exchange) || (fl_api_is_machines_key(&call) && !exchange->peer_is_here))) {
        refuse_plain(exchange);
        return;
    }
    if (is_session && fl_api_is_of_a_task(&call)) {
        fl_api_deny(&call, "ecs", FL_STR("Poll"), FL_STR(""));
        return;
    }
    if (is_session && !may_connect(&call, is_telemetry))
        return;
    if (is_telemetry)
        fl_telemetry_accept(api->telemetry, exchange);
    else if (is_session)
        fl_sessions_accept(api->sessions, exchange);
    else if (fl_query_is(exchange))
        call_query(&call);
    else
        dispatch(&call);
}

struct fl_http_sink *fl_api_open_sink(void *context, struct fl_http_exchange *exchange)
{
    struct fl_api *api = context;
    return fl_registry_has_path(exchange->path) ? fl_registry_open_sink(api->registry, exchange)
                                                : NULL;
}
