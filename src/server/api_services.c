/* AWS's services: who may call what of each, with which codes it refuses, and who answers. */
#include "base/clock.h"
#include "server/api_internal.h"
#include "server/ecr.h"
#include "server/parameters.h"
#include "shapes/ecr_shapes.h"
#include "shapes/ecs_shapes.h"
#include "shapes/logs_shapes.h"
#include "shapes/secrets_shapes.h"
#include "shapes/ssm_shapes.h"
#include "wire/acs.h"
#include "wire/json.h"

/* ---- who may ---- */

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
static bool may_call_ecs(const struct fl_api_call *call, int operation)
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

static bool may_call_logs(const struct fl_api_call *call, int operation)
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
static bool may_call_ecr(const struct fl_api_call *call, int operation)
{
    bool is_limited = call->caller.role == FL_ROLE_AGENT || call->caller.role == FL_ROLE_EXECUTION;
    return !is_limited || fl_ecr_agent_may(operation);
}

/* Secrets and parameters: an execution role reads what a task names, and no more. */
static bool may_call_vault(const struct fl_api_call *call, bool is_for_execution)
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

static bool may_call_secrets(const struct fl_api_call *call, int operation)
{
    return may_call_vault(call, fl_secrets_execution_may(operation));
}

static bool may_call_ssm(const struct fl_api_call *call, int operation)
{
    return may_call_vault(call, fl_parameters_execution_may(operation));
}

/* ---- what is done ---- */

static bool is_heard(const struct fl_api_call *call)
{
    const struct fl_http_exchange *exchange = call->exchange;
    return fl_sessions_hears(call->api->sessions, fl_http_header(exchange, FL_ACS_INSTANCE_HEADER),
                             fl_http_header(exchange, FL_ACS_NONCE_HEADER), exchange->peer);
}

/* Under which name agents are to come back: the advertised one, if it is of the same kind as the
 * connection, else the one that led here. */
static struct fl_str reached_at(const struct fl_api_call *call)
{
    const struct fl_http_exchange *exchange = call->exchange;
    struct fl_str scheme = exchange->is_tls ? FL_STR("https://") : FL_STR("http://");
    if (fl_str_starts(call->api->advertise, scheme))
        return call->api->advertise;
    return fl_str_printf(exchange->arena, "%.*s%.*s", FL_STR_ARG(scheme),
                         FL_STR_ARG(fl_http_header(exchange, "host")));
}

static bool admit_ecs(struct fl_api_call *call, int operation)
{
    if (call->caller.role == FL_ROLE_AGENT && !is_heard(call)) {
        fl_api_refuse(call->exchange, 400, FL_STR("ClientException"), FL_STR(FL_SESSION_IN_USE));
        return false;
    }
    if (call->api->throttle &&
        !fl_throttle_take(call->api->throttle, operation, fl_clock_mono_ms())) {
        fl_api_refuse(call->exchange, 400, FL_STR("ThrottlingException"), FL_STR("Rate exceeded"));
        return false;
    }
    return true;
}

static void run_ecs(struct fl_api_call *call, int operation, void *input)
{
    struct fl_str resource = FL_STR("");
    const struct fl_access access = fl_api_access(call);
    if (call->caller.role == FL_ROLE_AGENT &&
        !fl_access_input(&access, operation, input, &resource)) {
        fl_api_deny(call, "ecs", fl_str_of(ecs_service.operations[operation].name), resource);
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

static void run_logs(struct fl_api_call *call, int operation, void *input)
{
    struct fl_http_exchange *exchange = call->exchange;
    if (operation == LOGS_OP_StartLiveTail)
        fl_logs_live_tail(call->api->logs, input, exchange, fl_clock_wall_ms(), fl_api_on_answer,
                          exchange);
    else
        fl_logs_handle(call->api->logs, operation, input, exchange->arena, fl_clock_wall_ms(),
                       fl_api_on_answer, exchange);
}

static void run_ecr(struct fl_api_call *call, int operation, void *input)
{
    fl_ecr_handle(call->api->registry, operation, input, call->caller.role, call->exchange->arena,
                  fl_api_on_answer, call->exchange);
}

static void run_secrets(struct fl_api_call *call, int operation, void *input)
{
    fl_secrets_handle(call->api->secrets, operation, input, call->exchange->arena,
                      fl_clock_wall_ms(), fl_api_on_answer, call->exchange);
}

static void run_ssm(struct fl_api_call *call, int operation, void *input)
{
    struct fl_arena *arena = call->exchange->arena;
    const struct fl_parameters_caller caller = {
        .vault = call->api->vault,
        .region = call->api->region,
        .account = call->api->account,
        .user = call->session ? call->session->principal
                              : fl_str_printf(arena, "arn:aws:iam::%.*s:root",
                                              FL_STR_ARG(call->api->account)),
    };
    fl_parameters_handle(&caller, operation, input, arena, fl_clock_wall_ms(), fl_api_on_answer,
                         call->exchange);
}

/* ---- which service ---- */

static const struct service {
    const struct fl_aws_service *api;
    bool (*may)(const struct fl_api_call *call, int operation);
    bool (*admit)(struct fl_api_call *call, int operation); /* or NULL; answers when it does not */
    const char *unserved;                                   /* an operation that is not there */
    const char *invalid;                                    /* input that does not fit */
    void (*run)(struct fl_api_call *call, int operation, void *input);
} services[] = {
    {&ecs_service, may_call_ecs, admit_ecs, "ClientException", "InvalidParameterException",
     run_ecs},
    {&ecr_service, may_call_ecr, NULL, "ClientException", "InvalidParameterException", run_ecr},
    {&logs_service, may_call_logs, NULL, "ClientException", "InvalidParameterException", run_logs},
    {&secrets_service, may_call_secrets, NULL, "InvalidRequestException", "ValidationException",
     run_secrets},
    {&ssm_service, may_call_ssm, NULL, "ValidationException", "ValidationException", run_ssm},
};

static const char *invalid_code(const struct service *service, int operation)
{
    bool is_definition = service->api == &ecs_service && operation == ECS_OP_RegisterTaskDefinition;
    return is_definition ? "ClientException" : service->invalid;
}

static void call_operation(struct fl_api_call *call, const struct service *service, int operation)
{
    struct fl_http_exchange *exchange = call->exchange;
    const struct fl_operation *op = &service->api->operations[operation];
    if (!service->may(call, operation)) {
        fl_api_deny(call, service->api->signing_name, fl_str_of(op->name), FL_STR(""));
        return;
    }
    if (service->admit && !service->admit(call, operation))
        return;
    if (!op->input) {
        fl_api_refuse(exchange, 400, fl_str_of(service->unserved),
                      fl_str_printf(exchange->arena, "%s is not implemented yet.", op->name));
        return;
    }
    const struct fl_json *json = fl_api_read_body(exchange);
    void *input =
        json ? fl_api_decode(exchange, op->input, json, invalid_code(service, operation)) : NULL;
    if (input)
        service->run(call, operation, input);
}

static const struct service *find_service(struct fl_str target_prefix)
{
    for (size_t i = 0; i < FL_ARRAY_SIZE(services); i++)
        if (fl_str_is(target_prefix, services[i].api->target_prefix))
            return &services[i];
    return NULL;
}

static void unknown_operation(struct fl_http_exchange *exchange, struct fl_str target)
{
    struct fl_str text = target.n
                             ? fl_str_printf(exchange->arena, "The operation '%.*s' is unknown.",
                                             (int)FL_MIN(target.n, (size_t)200), target.p)
                             : FL_STR("The request names no operation: X-Amz-Target is missing.");
    fl_api_refuse(exchange, 400, FL_STR("UnknownOperationException"), text);
}

void fl_api_call_service(struct fl_api_call *call, struct fl_str target)
{
    struct fl_str name = target, prefix = FL_STR("");
    (void)fl_str_split(&name, '.', &prefix);
    const struct service *service = find_service(prefix);
    int operation = service ? fl_aws_service_find(service->api, name) : -1;
    if (service && !fl_str_is(call->service, service->api->signing_name))
        fl_api_refuse(call->exchange, 400, FL_STR("InvalidSignatureException"),
                      fl_str_printf(call->exchange->arena,
                                    "Credential should be scoped to correct service: '%s'.",
                                    service->api->signing_name));
    else if (operation < 0)
        unknown_operation(call->exchange, target);
    else
        call_operation(call, service, operation);
}
