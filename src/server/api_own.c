/* Calls of our own: what `fairlead` asks, and what agents ship. */
#include "base/clock.h"
#include "server/api_internal.h"
#include "server/tokens.h"
#include "shapes/ecs_shapes.h"
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

/* The object that a call of our own, for operators only, brings along; NULL after refusing. */
static const struct fl_json *read_own_call(struct fl_api_call *call, struct fl_str operation)
{
    struct fl_http_exchange *exchange = call->exchange;
    if (call->caller.role != FL_ROLE_OPERATOR) {
        fl_api_deny(call, "ecs", operation, FL_STR(""));
        return NULL;
    }
    const struct fl_json *json = fl_api_read_body(exchange);
    if (!json || fl_json_is(json, FL_JSON_OBJECT))
        return json;
    fl_api_refuse(exchange, 400, FL_STR("SerializationException"),
                  FL_STR("The request must be an object."));
    return NULL;
}

/* {"cluster"?, "task" | "service" | "taskDefinition" | "runTask"}: why there is no place for it. */
static void call_explain(struct fl_api_call *call)
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
    if (run_task && !(event.call = fl_api_decode(exchange, &ecs_shape_RunTaskRequest, run_task,
                                                 "InvalidParameterException")))
        return;
    fl_engine_step(call->api->engine, &event);
}

/* {"held"}: services rest while everything is stopped, or go on. */
static void call_hold(struct fl_api_call *call)
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
static void call_utilization(struct fl_api_call *call)
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
static void call_backup(struct fl_api_call *call)
{
    if (read_own_call(call, FL_STR("Backup")))
        fl_backup_make(call->api->backup, backup_made, call->exchange);
}

/* An agent with a key of its own says in headers whose agent it is, and which stream it adds to. */
static bool may_ship(struct fl_api_call *call, struct fl_str stream)
{
    struct fl_str resource = FL_STR(""),
                  arn = fl_http_header(call->exchange, FL_ACS_INSTANCE_HEADER);
    struct fl_arn parts;
    const struct fl_access access = fl_api_access(call);
    if (call->caller.role != FL_ROLE_AGENT || call->caller.instance.n == 0)
        return true;
    struct fl_str cluster = FL_STR(""), id = fl_arn_parse(arn, &parts) ? parts.rest : FL_STR("");
    (void)fl_str_split(&id, '/', &cluster);
    if (fl_access_instance(&access, cluster, id, &resource) && stream.n &&
        fl_access_stream(&access, stream, &resource))
        return true;
    fl_api_deny(call, "logs", FL_STR("ShipLogs"), resource);
    return false;
}

static void ship(struct fl_api_call *call)
{
    struct fl_http_exchange *exchange = call->exchange;
    struct fl_str stream =
        fl_url_parameter(exchange->arena, fl_http_header(exchange, FL_ACS_STREAM_HEADER), "stream");
    if (fl_api_is_of_a_task(call))
        fl_api_deny(call, "logs", FL_STR("ShipLogs"), FL_STR(""));
    else if (may_ship(call, stream))
        fl_logs_ship(call->api->logs, exchange->body, stream, exchange->arena, fl_clock_wall_ms(),
                     fl_api_on_answer, exchange);
}

/* By the service's prefix; false: it is none. */
static bool call_by_name(struct fl_api_call *call, struct fl_str target)
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
    } else if (fl_str_is(target, join_target) && fl_api_is_machines_key(call)) {
        fl_tokens_join(call->api, call->exchange, true);
    } else if (call->caller.role != FL_ROLE_OPERATOR) {
        fl_api_deny(call, "ecs", operation, FL_STR(""));
    } else {
        return fl_tokens_call(call->api, call->exchange, operation);
    }
    return true;
}

bool fl_api_call_own(struct fl_api_call *call, struct fl_str target)
{
    if (!fl_str_is(target, agent_target))
        return call_by_name(call, target);
    ship(call);
    return true;
}
