/* The control plane's frames, turned into events. What we do not know is dropped, as the protocol
 * wants it; what is malformed is dropped with a line in the log. */
#include "agent/agent_internal.h"
#include "base/log.h"
#include "wire/json.h"

/* The task as the brain takes it; false when not even its name can be told. */
static bool read_order(const struct fl_json *json, struct fl_str cluster_arn,
                       struct fl_arena *arena, struct fl_brain_order *ret_order)
{
    struct fl_err err = {0};
    struct fl_task_spec *spec = fl_arena_new_object(arena, struct fl_task_spec);
    struct fl_str arn = fl_str_dup(arena, fl_json_text(fl_json_get(json, "arn")));
    if (arn.n == 0)
        return false;
    int r = fl_task_spec_decode(json, arena, spec, &err);
    struct fl_str own = fl_json_text(fl_json_get(json, "taskClusterArn"));
    *ret_order = (struct fl_brain_order){
        .arn = arn,
        .cluster_arn = fl_str_dup(arena, own.n ? own : cluster_arn),
        .spec = r == 0 ? spec : NULL,
        .error = r == 0 ? (struct fl_str){0} : fl_str_printf(arena, "%s", err.text),
    };
    return true;
}

static void on_payload(struct fl_agent *agent, const struct fl_acs_message *message)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_brain_event event = {.type = FL_EVENT_PAYLOAD};
    const struct fl_json *tasks = fl_json_get(message->body, "tasks");
    size_t count = fl_json_items(tasks), orders = 0;
    event.payload.header = fl_acs_read_header(message);
    if (event.payload.header.message_id.n == 0 || event.payload.header.cluster_arn.n == 0 ||
        event.payload.header.instance_arn.n == 0 || count > FL_ACS_MAX_TASKS) {
        fl_log_warn("a payload without names, or with %zu tasks, is dropped", count);
        return;
    }
    struct fl_brain_order *list = fl_arena_new_array(arena, struct fl_brain_order, count);
    for (size_t i = 0; i < count; i++)
        if (read_order(fl_json_item(tasks, i), event.payload.header.cluster_arn, arena,
                       &list[orders]))
            orders++;
    event.payload.orders = list;
    event.payload.order_count = orders;
    if (!fl_agent_post(agent, &event)) {
        fl_log_warn("a payload is not obeyed: its control plane has been replaced, or this host "
                    "is full");
        return;
    }
    for (size_t i = 0; i < count; i++)
        fl_agent_take_task_credentials(agent, fl_json_item(tasks, i),
                                       event.payload.header.message_id);
}

static void on_list(struct fl_agent *agent, const struct fl_acs_message *message,
                    enum fl_brain_event_type type)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_brain_event event = {.type = type};
    struct fl_acs_task *tasks;
    struct fl_err err;
    if (fl_acs_read_tasks(message, arena, &tasks, &event.list.task_count, &err) < 0) {
        fl_log_warn("a list of tasks is dropped: %s", err.text);
        return;
    }
    event.list.header = fl_acs_read_header(message);
    event.list.tasks = tasks;
    (void)fl_agent_post(agent, &event);
}

static void on_heartbeat(struct fl_agent *agent, const struct fl_acs_message *message)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(4096);
    fl_acs_heartbeat_ack(&buf, fl_acs_read_header(message).message_id);
    if (!buf.overflow)
        fl_session_send(agent->session, fl_buf_str(&buf));
}

static void on_error(const struct fl_acs_message *message)
{
    struct fl_str text = fl_str_sub(message->text, 0, 300);
    fl_log_warn("the control plane says %.*s: %.*s", FL_STR_ARG(message->type_name),
                FL_STR_ARG(text));
}

void fl_agent_on_frame(struct fl_agent *agent, struct fl_str text)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_err err;
    struct fl_acs_message message;
    if (fl_acs_decode(text, arena, &message, &err) < 0) {
        fl_log_warn("a frame of the control plane is dropped: %s", err.text);
        return;
    }
    switch (message.type) {
    case FL_ACS_PAYLOAD:
        on_payload(agent, &message);
        break;
    case FL_ACS_HEARTBEAT:
        on_heartbeat(agent, &message);
        break;
    case FL_ACS_TASK_MANIFEST:
        on_list(agent, &message, FL_EVENT_MANIFEST);
        break;
    case FL_ACS_STOP_VERIFICATION_ACK:
        on_list(agent, &message, FL_EVENT_STOP_LIST);
        break;
    case FL_ACS_CREDENTIALS:
        fl_agent_take_credentials(agent, &message);
        break;
    case FL_ACS_ERROR:
    case FL_ACS_INACTIVE_INSTANCE:
        on_error(&message);
        break;
    case FL_ACS_KEY:
        fl_session_take_key(agent->session, message.body);
        break;
    case FL_ACS_CERTIFICATES:
        fl_session_take_certificates(agent->session, message.body);
        break;
    case FL_ACS_CLOSE:
    case FL_ACS_OTHER:
    case FL_ACS_ACK:
    case FL_ACS_NACK:
    case FL_ACS_HEARTBEAT_ACK:
    case FL_ACS_STOP_VERIFICATION:
    case FL_ACS_CREDENTIALS_ACK:
        break;
    }
}
