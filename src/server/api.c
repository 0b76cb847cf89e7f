/* From an HTTP request to a core command or a logs job, and the AWS JSON answer. */
#include "server/api.h"

#include "base/clock.h"
#include "server/agent_access.h"
#include "server/ecr.h"
#include "server/parameters.h"
#include "server/query.h"
#include "server/tokens.h"
#include "shapes/ecr_shapes.h"
#include "shapes/ecs_shapes.h"
#include "shapes/logs_shapes.h"
#include "shapes/secrets_shapes.h"
#include "shapes/ssm_shapes.h"
#include "wire/acs.h"
#include "wire/arn.h"
#include "wire/json.h"
#include "wire/url.h"

static const char agent_target[] = "Fairlead_20261120.ShipLogs";
static const char explain_target[] = "Fairlead_20261120.Explain";
static const char hold_target[] = "Fairlead_20261120.Hold";
static const char backup_target[] = "Fairlead_20261120.Backup";
static const char utilization_target[] = "Fairlead_20261120.Utilization";
static const char join_target[] = "Fairlead_20261120.Join";
static const char own_prefix[] = "Fairlead_20261120.";

/* One request on its way. */
struct call {
    struct fl_api *api;
    struct fl_http_exchange *exchange;
    struct fl_caller caller;
    const struct fl_role_session *session; /* FL_ROLE_TASK and FL_ROLE_EXECUTION */
    struct fl_str service;                 /* that the signature is for */
};

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
                         struct call *ret_call)
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
    *ret_call = (struct call){
        .api = api,
        .exchange = exchange,
        .session = look_up.session,
        .service = result.service,
    };
    identify(&look_up, result.access_key_id, &ret_call->caller);
    return true;
}

/* resource: the last parts of its ARN, or empty. */
static void deny(struct call *call, const char *service, struct fl_str operation,
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

static struct fl_access access_of(const struct call *call)
{
    return (struct fl_access){.keys = call->api->keys,
                              .core = call->api->core,
                              .caller = &call->caller,
                              .arena = call->exchange->arena};
}

/* What only agents call. */
static bool is_for_agents(int operation)
{
    static const int listed[] = {
        ECS_OP_DiscoverPollEndpoint,         ECS_OP_RegisterContainerInstance,
        ECS_OP_SubmitAttachmentStateChanges, ECS_OP_SubmitContainerStateChange,
        ECS_OP_SubmitTaskStateChange,
    };
    for (size_t i = 0; i < FL_ARRAY_SIZE(listed); i++)
        if (listed[i] == operation)
            return true;
    return false;
}

/* Until policies are evaluated (docs/decisions/0006). */
static bool may_call_ecs(const struct call *call, int operation)
{
    switch (call->caller.role) {
    case FL_ROLE_OPERATOR:
        return true;
    case FL_ROLE_AGENT:
        return fl_access_operation(operation);
    case FL_ROLE_TASK:
        return !is_for_agents(operation);
    case FL_ROLE_EXECUTION:
        return false;
    }
    return false;
}

static bool may_call_logs(const struct call *call, int operation)
{
    switch (call->caller.role) {
    case FL_ROLE_OPERATOR:
    case FL_ROLE_TASK:
        return true;
    case FL_ROLE_AGENT:
        return false;
    case FL_ROLE_EXECUTION:
        return operation == LOGS_OP_CreateLogGroup || operation == LOGS_OP_CreateLogStream ||
               operation == LOGS_OP_PutLogEvents;
    }
    return false;
}

/* An execution role does for a task what its agent does. */
static bool may_call_ecr(const struct call *call, int operation)
{
    bool is_limited = call->caller.role == FL_ROLE_AGENT || call->caller.role == FL_ROLE_EXECUTION;
    return !is_limited || fl_ecr_agent_may(operation);
}

/* Secrets and parameters: of an execution role's calls only those that read what a task names. */
static bool may_call_vault(const struct call *call, bool is_for_execution)
{
    switch (call->caller.role) {
    case FL_ROLE_OPERATOR:
    case FL_ROLE_TASK:
        return true;
    case FL_ROLE_AGENT:
        return false;
    case FL_ROLE_EXECUTION:
        return is_for_execution;
    }
    return false;
}

static bool is_of_a_task(const struct call *call)
{
    return call->caller.role == FL_ROLE_TASK || call->caller.role == FL_ROLE_EXECUTION;
}

/* Decodes the body into the operation's input; NULL after answering the refusal. */
static void *decode_input(struct call *call, const struct fl_operation *operation,
                          const char *invalid_code)
{
    struct fl_http_exchange *exchange = call->exchange;
    struct fl_err err;
    struct fl_shape_error fault;
    const struct fl_json *json =
        fl_json_read(exchange->body.n ? exchange->body : FL_STR("{}"), exchange->arena, &err);
    if (!json) {
        fl_api_refuse(exchange, 400, FL_STR("SerializationException"), fl_str_of(err.text));
        return NULL;
    }
    void *input = fl_arena_alloc(exchange->arena, fl_shape_size(operation->input));
    if (fl_shape_decode(operation->input, json, exchange->arena, input, &fault) == 0)
        return input;
    fl_api_refuse(exchange, 400,
                  fault.fault == FL_SHAPE_TYPE ? FL_STR("SerializationException")
                                               : fl_str_of(invalid_code),
                  fl_str_of(fault.text));
    return NULL;
}

static bool is_heard(const struct call *call)
{
    const struct fl_http_exchange *exchange = call->exchange;
    return fl_sessions_hears(call->api->sessions, fl_http_header(exchange, FL_ACS_INSTANCE_HEADER),
                             fl_http_header(exchange, FL_ACS_NONCE_HEADER), exchange->peer);
}

/* Under which name agents are to come back: the advertised one, if it is of the same kind as the
 * connection, else the one that led here. */
static struct fl_str reached_at(const struct call *call)
{
    const struct fl_http_exchange *exchange = call->exchange;
    struct fl_str scheme = exchange->is_tls ? FL_STR("https://") : FL_STR("http://");
    if (fl_str_starts(call->api->advertise, scheme))
        return call->api->advertise;
    return fl_str_printf(exchange->arena, "%.*s%.*s", FL_STR_ARG(scheme),
                         FL_STR_ARG(fl_http_header(exchange, "host")));
}

static void call_ecs(struct call *call, int operation)
{
    const struct fl_operation *op = &ecs_service.operations[operation];
    if (!may_call_ecs(call, operation)) {
        deny(call, "ecs", fl_str_of(op->name), FL_STR(""));
        return;
    }
    if (call->caller.role == FL_ROLE_AGENT && !is_heard(call)) {
        fl_api_refuse(call->exchange, 400, FL_STR("ClientException"), FL_STR(FL_SESSION_IN_USE));
        return;
    }
    if (call->api->throttle &&
        !fl_throttle_take(call->api->throttle, operation, fl_clock_mono_ms())) {
        fl_api_refuse(call->exchange, 400, FL_STR("ThrottlingException"), FL_STR("Rate exceeded"));
        return;
    }
    void *input =
        decode_input(call, op,
                     operation == ECS_OP_RegisterTaskDefinition ? "ClientException"
                                                                : "InvalidParameterException");
    if (!input)
        return;
    struct fl_str resource = FL_STR("");
    const struct fl_access access = access_of(call);
    if (call->caller.role == FL_ROLE_AGENT &&
        !fl_access_input(&access, operation, input, &resource)) {
        deny(call, "ecs", fl_str_of(op->name), resource);
        return;
    }
    struct fl_core_event event = {
        .kind = FL_CORE_EVENT_COMMAND,
        .request_id = (uint64_t)(uintptr_t)call->exchange,
        .operation = operation,
        .input = input,
        .input_size = call->exchange->body.n,
        .reached_at = operation == ECS_OP_DiscoverPollEndpoint ? reached_at(call) : FL_STR(""),
    };
    fl_engine_step(call->api->engine, &event);
}

/* The input of a RunTask inside another request; NULL after refusing. */
static const void *decode_run_task(struct call *call, const struct fl_json *json)
{
    struct fl_http_exchange *exchange = call->exchange;
    struct fl_shape_error fault;
    struct ecs_RunTaskRequest *input =
        fl_arena_new_object(exchange->arena, struct ecs_RunTaskRequest);
    if (fl_shape_decode(&ecs_shape_RunTaskRequest, json, exchange->arena, input, &fault) == 0)
        return input;
    fl_api_refuse(exchange, 400,
                  fault.fault == FL_SHAPE_TYPE ? FL_STR("SerializationException")
                                               : FL_STR("InvalidParameterException"),
                  fl_str_of(fault.text));
    return NULL;
}

/* The object that a call of our own, for operators only, brings along; NULL after refusing. */
static const struct fl_json *read_own_call(struct call *call, struct fl_str operation)
{
    struct fl_http_exchange *exchange = call->exchange;
    struct fl_err err;
    if (call->caller.role != FL_ROLE_OPERATOR) {
        deny(call, "ecs", operation, FL_STR(""));
        return NULL;
    }
    const struct fl_json *json =
        fl_json_read(exchange->body.n ? exchange->body : FL_STR("{}"), exchange->arena, &err);
    if (fl_json_is(json, FL_JSON_OBJECT))
        return json;
    fl_api_refuse(exchange, 400, FL_STR("SerializationException"),
                  json ? FL_STR("The request must be an object.") : fl_str_of(err.text));
    return NULL;
}

/* {"cluster"?, "task" | "service" | "taskDefinition" | "runTask"}: why there is no place for it. */
static void call_explain(struct call *call)
{
    struct fl_http_exchange *exchange = call->exchange;
    const struct fl_json *json = read_own_call(call, FL_STR("Explain"));
    if (!json)
        return;
    struct fl_core_event event = {
        .kind = FL_CORE_EVENT_EXPLAIN,
        .request_id = (uint64_t)(uintptr_t)exchange,
        .cluster = fl_json_text(fl_json_get(json, "cluster")),
        .task = fl_json_text(fl_json_get(json, "task")),
        .definition = fl_json_text(fl_json_get(json, "taskDefinition")),
        .service = fl_json_text(fl_json_get(json, "service")),
    };
    const struct fl_json *run_task = fl_json_get(json, "runTask");
    if (run_task && !(event.call = decode_run_task(call, run_task)))
        return;
    fl_engine_step(call->api->engine, &event);
}

/* {"held"}: services rest while everything is stopped, or go on. */
static void call_hold(struct call *call)
{
    const struct fl_json *json = read_own_call(call, FL_STR("Hold"));
    if (!json)
        return;
    struct fl_core_event event = {
        .kind = FL_CORE_EVENT_HOLD,
        .request_id = (uint64_t)(uintptr_t)call->exchange,
        .is_held = fl_json_is_true(fl_json_get(json, "held")),
    };
    fl_engine_step(call->api->engine, &event);
}

/* {"cluster"?, "instances"?, "tasks"?, "history"?}: what agents have measured. */
static void call_utilization(struct call *call)
{
    enum { MAX_ANSWER = 64 << 20 };
    struct fl_http_exchange *exchange = call->exchange;
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(MAX_ANSWER);
    const struct fl_json *json = read_own_call(call, FL_STR("Utilization"));
    if (!json)
        return;
    const struct fl_measures_wanted wanted = {
        .cluster = fl_arn_last(fl_json_text(fl_json_get(json, "cluster"))),
        .instances = fl_json_is_true(fl_json_get(json, "instances")),
        .tasks = fl_json_is_true(fl_json_get(json, "tasks")),
        .history = fl_json_is_true(fl_json_get(json, "history")),
    };
    if (!fl_measures_show(fl_telemetry_measures(call->api->telemetry), &wanted, fl_clock_wall_ms(),
                          &buf))
        fl_api_refuse(exchange, 400, FL_STR("ClusterNotFoundException"),
                      FL_STR("Cluster not found."));
    else if (buf.overflow)
        fl_api_refuse(
            exchange, 400, FL_STR("ClientException"),
            FL_STR("The answer would be too long: ask for one cluster, or for less of it."));
    else
        fl_api_answer(exchange, 200, fl_buf_str(&buf));
}

static void backup_made(void *context, const char *problem)
{
    struct fl_http_exchange *exchange = context;
    if (problem)
        fl_api_refuse(exchange, 400, FL_STR("ClientException"), fl_str_of(problem));
    else
        fl_api_answer(exchange, 200, FL_STR("{}"));
}

/* {}: copies of the server's files in <data-dir>/backup, for root on this machine to take. */
static void call_backup(struct call *call)
{
    if (read_own_call(call, FL_STR("Backup")))
        fl_backup_make(call->api->backup, backup_made, call->exchange);
}

static void on_answer(void *context, unsigned status, struct fl_str code, struct fl_str body)
{
    struct fl_http_exchange *exchange = context;
    if (status == 200)
        fl_api_answer(exchange, status, body);
    else
        fl_api_refuse(exchange, status, code, body);
}

static void call_logs(struct call *call, int operation)
{
    const struct fl_operation *op = &logs_service.operations[operation];
    if (!may_call_logs(call, operation)) {
        deny(call, "logs", fl_str_of(op->name), FL_STR(""));
        return;
    }
    if (!op->input) {
        fl_api_refuse(call->exchange, 400, FL_STR("ClientException"),
                      fl_str_printf(call->exchange->arena, "%s is not implemented yet.", op->name));
        return;
    }
    void *input = decode_input(call, op, "InvalidParameterException");
    if (input && operation == LOGS_OP_StartLiveTail)
        fl_logs_live_tail(call->api->logs, input, call->exchange, fl_clock_wall_ms(), on_answer,
                          call->exchange);
    else if (input)
        fl_logs_handle(call->api->logs, operation, input, call->exchange->arena, fl_clock_wall_ms(),
                       on_answer, call->exchange);
}

static void call_ecr(struct call *call, int operation)
{
    const struct fl_operation *op = &ecr_service.operations[operation];
    if (!may_call_ecr(call, operation)) {
        deny(call, "ecr", fl_str_of(op->name), FL_STR(""));
        return;
    }
    if (!op->input) {
        fl_api_refuse(call->exchange, 400, FL_STR("ClientException"),
                      fl_str_printf(call->exchange->arena, "%s is not implemented yet.", op->name));
        return;
    }
    void *input = decode_input(call, op, "InvalidParameterException");
    if (input)
        fl_ecr_handle(call->api->registry, operation, input, call->caller.role,
                      call->exchange->arena, on_answer, call->exchange);
}

static void call_ssm(struct call *call, int operation)
{
    const struct fl_operation *op = &ssm_service.operations[operation];
    struct fl_arena *arena = call->exchange->arena;
    if (!may_call_vault(call, fl_parameters_execution_may(operation))) {
        deny(call, "ssm", fl_str_of(op->name), FL_STR(""));
        return;
    }
    if (!op->input) {
        fl_api_refuse(call->exchange, 400, FL_STR("ValidationException"),
                      fl_str_printf(arena, "%s is not implemented yet.", op->name));
        return;
    }
    const struct fl_parameters_caller caller = {
        .vault = call->api->vault,
        .region = call->api->region,
        .account = call->api->account,
        .user = call->session ? call->session->principal
                              : fl_str_printf(arena, "arn:aws:iam::%.*s:root",
                                              FL_STR_ARG(call->api->account)),
    };
    void *input = decode_input(call, op, "ValidationException");
    if (input)
        fl_parameters_handle(&caller, operation, input, arena, fl_clock_wall_ms(), on_answer,
                             call->exchange);
}

static void call_secrets(struct call *call, int operation)
{
    const struct fl_operation *op = &secrets_service.operations[operation];
    if (!may_call_vault(call, fl_secrets_execution_may(operation))) {
        deny(call, "secretsmanager", fl_str_of(op->name), FL_STR(""));
        return;
    }
    if (!op->input) {
        fl_api_refuse(call->exchange, 400, FL_STR("InvalidRequestException"),
                      fl_str_printf(call->exchange->arena, "%s is not implemented yet.", op->name));
        return;
    }
    void *input = decode_input(call, op, "ValidationException");
    if (input)
        fl_secrets_handle(call->api->secrets, operation, input, call->exchange->arena,
                          fl_clock_wall_ms(), on_answer, call->exchange);
}

static void unknown_operation(struct fl_http_exchange *exchange, struct fl_str target)
{
    struct fl_str text = target.n
                             ? fl_str_printf(exchange->arena, "The operation '%.*s' is unknown.",
                                             (int)FL_MIN(target.n, (size_t)200), target.p)
                             : FL_STR("The request names no operation: X-Amz-Target is missing.");
    fl_api_refuse(exchange, 400, FL_STR("UnknownOperationException"), text);
}

/* An agent with a key of its own says in headers whose agent it is, and which stream it adds to. */
static bool may_ship(struct call *call, struct fl_str stream)
{
    struct fl_str resource = FL_STR(""),
                  arn = fl_http_header(call->exchange, FL_ACS_INSTANCE_HEADER);
    struct fl_arn parts;
    const struct fl_access access = access_of(call);
    if (call->caller.role != FL_ROLE_AGENT || call->caller.instance.n == 0)
        return true;
    struct fl_str cluster = FL_STR(""), id = fl_arn_parse(arn, &parts) ? parts.rest : FL_STR("");
    (void)fl_str_split(&id, '/', &cluster);
    if (fl_access_instance(&access, cluster, id, &resource) && stream.n &&
        fl_access_stream(&access, stream, &resource))
        return true;
    deny(call, "logs", FL_STR("ShipLogs"), resource);
    return false;
}

static bool is_machines_key(const struct call *call)
{
    return call->caller.role == FL_ROLE_AGENT && call->caller.instance.n == 0;
}

/* Calls of our own by the service's prefix; false: it is none. */
static bool dispatch_own(struct call *call, struct fl_str target)
{
    struct fl_str operation = target, prefix;
    if (!fl_str_starts(target, fl_str_of(own_prefix)) || !fl_str_is(call->service, "ecs"))
        return false;
    (void)fl_str_split(&operation, '.', &prefix);
    if (fl_str_is(target, explain_target)) {
        call_explain(call);
    } else if (fl_str_is(target, hold_target)) {
        call_hold(call);
    } else if (fl_str_is(target, utilization_target)) {
        call_utilization(call);
    } else if (fl_str_is(target, backup_target)) {
        call_backup(call);
    } else if (fl_str_is(target, join_target) && is_machines_key(call)) {
        fl_tokens_join(call->api, call->exchange, true);
    } else if (call->caller.role != FL_ROLE_OPERATOR) {
        deny(call, "ecs", operation, FL_STR(""));
    } else {
        return fl_tokens_call(call->api, call->exchange, operation);
    }
    return true;
}

static void dispatch(struct call *call)
{
    static const struct {
        const struct fl_aws_service *service;
        void (*handle)(struct call *call, int operation);
    } services[] = {{&ecs_service, call_ecs},
                    {&ecr_service, call_ecr},
                    {&logs_service, call_logs},
                    {&secrets_service, call_secrets},
                    {&ssm_service, call_ssm}};
    struct fl_str target = fl_http_header(call->exchange, "X-Amz-Target");
    struct fl_str name = target, prefix = FL_STR("");
    if (fl_str_is(target, agent_target) && is_of_a_task(call)) {
        deny(call, "logs", FL_STR("ShipLogs"), FL_STR(""));
        return;
    }
    if (fl_str_is(target, agent_target)) {
        struct fl_str stream = fl_url_parameter(
            call->exchange->arena, fl_http_header(call->exchange, FL_ACS_STREAM_HEADER), "stream");
        if (may_ship(call, stream))
            fl_logs_ship(call->api->logs, call->exchange->body, stream, call->exchange->arena,
                         fl_clock_wall_ms(), on_answer, call->exchange);
        return;
    }
    if (dispatch_own(call, target))
        return;
    (void)fl_str_split(&name, '.', &prefix);
    for (size_t i = 0; i < FL_ARRAY_SIZE(services); i++) {
        if (!fl_str_is(prefix, services[i].service->target_prefix))
            continue;
        if (!fl_str_is(call->service, services[i].service->signing_name)) {
            fl_api_refuse(call->exchange, 400, FL_STR("InvalidSignatureException"),
                          fl_str_printf(call->exchange->arena,
                                        "Credential should be scoped to correct service: '%s'.",
                                        services[i].service->signing_name));
            return;
        }
        int operation = fl_aws_service_find(services[i].service, name);
        if (operation < 0)
            break;
        services[i].handle(call, operation);
        return;
    }
    unknown_operation(call->exchange, target);
}

static void call_query(struct call *call)
{
    const struct fl_query_caller caller = {
        .role = call->caller.role,
        .account = call->api->account,
        .service = call->service,
        .session = call->session,
    };
    fl_query_handle(call->exchange, &caller);
}

/* May this agent's session be opened? Not by another instance's key. */
static bool may_connect(struct call *call, bool is_telemetry)
{
    struct fl_http_exchange *exchange = call->exchange;
    const struct fl_access access = access_of(call);
    const char *names[] = {is_telemetry ? "cluster" : "clusterArn",
                           is_telemetry ? "containerInstance" : "containerInstanceArn"};
    struct fl_str resource, value[2];
    for (size_t i = 0; i < FL_ARRAY_SIZE(names); i++)
        value[i] = fl_url_parameter(exchange->arena, exchange->query, names[i]);
    if (call->caller.role != FL_ROLE_AGENT ||
        fl_access_instance(&access, value[0], value[1], &resource))
        return true;
    deny(call, "ecs", is_telemetry ? FL_STR("StartTelemetrySession") : FL_STR("Poll"), resource);
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
    struct call call;
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
        (!is_safe(exchange) || (is_machines_key(&call) && !exchange->peer_is_here))) {
        refuse_plain(exchange);
        return;
    }
    if (is_session && is_of_a_task(&call)) {
        deny(&call, "ecs", FL_STR("Poll"), FL_STR(""));
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
