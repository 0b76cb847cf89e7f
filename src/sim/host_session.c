/* An agent's session: register, connect, stay connected, by the rules of src/agent/session.c. */
#include <stdio.h>

#include "sim/world.h"

enum {
    FIRST_PAUSE_MS = 250,
    LONGEST_PAUSE_MS = 5000,
    INACTIVE_PAUSE_MS = 30 * 1000,
    SILENCE_MS = 60 * 1000,
    STABLE_MS = 1000,
    FAILURES_BEFORE_DISCOVERY = 3,
    CALL_TIMEOUT_MS = 10 * 1000,
};

static void attempt(struct sim *sim, struct sim_host *host);

static void fire_pause_over(struct sim *sim, struct sim_event *event)
{
    attempt(sim, &sim->hosts[event->who]);
}
static const struct sim_action pause_over = {"an agent tries again", fire_pause_over};

static void wait(struct sim *sim, struct sim_host *host, int64_t us)
{
    sim_at(sim, us * 4 / 5 + (int64_t)sim_below(sim, (uint64_t)us * 2 / 5 + 1), &pause_over,
           host->index, 0, NULL);
}

static void try_again(struct sim *sim, struct sim_host *host, enum sim_stage stage)
{
    host->stage = stage;
    host->pause_us = host->pause_us == 0
                         ? FIRST_PAUSE_MS * SIM_MS
                         : FL_MIN(host->pause_us * 3 / 2, LONGEST_PAUSE_MS * SIM_MS);
    wait(sim, host, host->pause_us);
}

static void fire_call_timeout(struct sim *sim, struct sim_event *event)
{
    struct sim_host *host = &sim->hosts[event->who];
    if (host->call != event->number)
        return;
    host->call = host->connection = 0;
    try_again(sim, host, SIM_REGISTER);
}

static void call(struct sim *sim, struct sim_host *host, int operation, struct fl_buf *body)
{
    static const struct sim_action timeout = {"an agent's call is given up", fire_call_timeout};
    struct sim_message *message = sim_message_new();
    message->operation = operation;
    message->text = fl_str_dup(message->arena, fl_buf_str(body));
    host->call = ++sim->next_ref;
    sim_at(sim, CALL_TIMEOUT_MS * SIM_MS, &timeout, host->index, host->call, NULL);
    sim_call(sim, host->index, host->call, message);
}

static void call_register(struct sim *sim, struct sim_host *host)
{
    FL_CLEANUP_BUF struct fl_buf body = FL_BUF_INIT(4096);
    fl_buf_printf(&body,
                  "{\"cluster\":\"default\",\"totalResources\":["
                  "{\"name\":\"CPU\",\"type\":\"INTEGER\",\"integerValue\":%d},"
                  "{\"name\":\"MEMORY\",\"type\":\"INTEGER\",\"integerValue\":%d},"
                  "{\"name\":\"PORTS\",\"type\":\"STRINGSET\",\"stringSetValue\":[\"22\"]}],"
                  "\"attributes\":[{\"name\":\"rack\",\"value\":\"r%u\"},"
                  "{\"name\":\"com.amazonaws.ecs.capability.docker-remote-api.1.18\"}]",
                  sim_host_cpu(host), 2 * sim_host_cpu(host), host->index % 7);
    if (host->instance_arn[0])
        fl_buf_printf(&body, ",\"containerInstanceArn\":\"%s\"", host->instance_arn);
    fl_buf_printf(&body, ",\"clientToken\":\"%s\"", host->client_token);
    fl_buf_add_char(&body, '}');
    call(sim, host, ECS_OP_RegisterContainerInstance, &body);
}

static void open_connection(struct sim *sim, struct sim_host *host)
{
    static const struct sim_action timeout = {"an agent's handshake is given up",
                                              fire_call_timeout};
    struct sim_message *message = sim_message_new();
    message->connection = ++sim->next_connection;
    message->text = fl_str_dup(message->arena, fl_str_of(host->instance_arn));
    host->connection = message->connection;
    host->call = ++sim->next_ref;
    sim_at(sim, CALL_TIMEOUT_MS * SIM_MS, &timeout, host->index, host->call, NULL);
    sim_frame_to_server(sim, host->index, &sim_server_connect, message);
}

static void attempt(struct sim *sim, struct sim_host *host)
{
    switch (host->stage) {
    case SIM_REGISTER:
        call_register(sim, host);
        break;
    case SIM_CONNECT:
        open_connection(sim, host);
        break;
    case SIM_OPEN:
        break;
    }
}

void sim_session_start(struct sim *sim, struct sim_host *host)
{
    host->stage = SIM_REGISTER;
    host->connection = host->call = 0;
    host->pause_us = 0;
    host->connect_failures = 0;
    host->making_cluster = false;
    attempt(sim, host);
}

/* ---- registration ---- */

static struct fl_str registered_arn(const struct fl_json *json)
{
    return fl_json_text(
        fl_json_get(fl_json_get(json, "containerInstance"), "containerInstanceArn"));
}

static void make_cluster(struct sim *sim, struct sim_host *host)
{
    FL_CLEANUP_BUF struct fl_buf body = FL_BUF_INIT(256);
    fl_buf_add_z(&body, "{\"clusterName\":\"default\"}");
    host->making_cluster = true;
    call(sim, host, ECS_OP_CreateCluster, &body);
}

static void take_identity(struct sim *sim, struct sim_host *host, struct fl_str arn)
{
    struct fl_str id = fl_str_from(arn, (size_t)fl_str_rindex(arn, '/') + 1);
    (void)snprintf(host->instance_arn, sizeof(host->instance_arn), "%.*s", FL_STR_ARG(arn));
    sim_ledger_instance(sim, id)->host = host->index;
}

void sim_session_answer(struct sim *sim, struct sim_host *host, const struct sim_event *event)
{
    const struct sim_message *message = event->message;
    if (!host->up || host->call != event->number)
        return;
    const struct fl_json *json = fl_json_read(message->text, message->arena, NULL);
    host->call = 0;
    if (host->making_cluster) {
        host->making_cluster = false;
        if (message->status == 200)
            attempt(sim, host);
        else
            try_again(sim, host, SIM_REGISTER);
        return;
    }
    if (message->status == 400 && fl_str_contains(message->text, FL_STR("Cluster not found."))) {
        make_cluster(sim, host);
        return;
    }
    struct fl_str arn = message->status == 200 ? registered_arn(json) : (struct fl_str){0};
    if (arn.n == 0) {
        if (message->status == 400)
            sim_violation(sim, "S1", "host %u cannot register: %.*s", host->index,
                          FL_STR_ARG(message->text));
        try_again(sim, host, SIM_REGISTER);
        return;
    }
    if (!host->instance_arn[0])
        take_identity(sim, host, arn);
    host->stage = SIM_CONNECT;
    attempt(sim, host);
}

/* ---- the connection ---- */

static void lose(struct sim *sim, struct sim_host *host)
{
    bool was_open = host->stage == SIM_OPEN;
    host->connection = 0;
    if (was_open && sim->now_us - host->opened_us >= STABLE_MS * SIM_MS)
        host->pause_us = 0;
    try_again(sim, host, SIM_CONNECT);
}

static void fire_silence(struct sim *sim, struct sim_event *event)
{
    struct sim_host *host = &sim->hosts[event->who];
    if (host->stage != SIM_OPEN || host->silence_number != event->number)
        return;
    sim_at_any(sim, SIM_MS, &sim_server_closed, SIM_SERVER, host->connection, NULL);
    lose(sim, host);
}

/* One timer for each connection looks at when something was heard last. */
static void watch_silence(struct sim *sim, struct sim_host *host)
{
    static const struct sim_action silence = {"an agent hears nothing", fire_silence};
    int64_t wait_us = SILENCE_MS * SIM_MS + (int64_t)sim_below(sim, SILENCE_MS * SIM_MS);
    sim_at(sim, wait_us, &silence, host->index, ++host->silence_number, NULL);
}

static bool is_of_ours(const struct sim_host *host, const struct sim_event *event)
{
    return host->up && host->connection == event->number;
}

static void fire_opened(struct sim *sim, struct sim_event *event)
{
    struct sim_host *host = &sim->hosts[event->who];
    if (!is_of_ours(host, event)) { /* given up meanwhile: the server learns of it */
        sim_at_any(sim, SIM_MS, &sim_server_closed, SIM_SERVER, event->number, NULL);
        return;
    }
    host->call = 0;
    host->stage = SIM_OPEN;
    host->opened_us = sim->now_us;
    host->connect_failures = 0;
    watch_silence(sim, host);
    sim_report_hurry(sim, host);
}
const struct sim_action sim_host_opened = {"a connection is open", fire_opened};

static void fire_refused(struct sim *sim, struct sim_event *event)
{
    struct sim_host *host = &sim->hosts[event->who];
    if (!is_of_ours(host, event))
        return;
    host->connection = host->call = 0;
    if (event->message->status) {
        sim_violation(sim, "S1", "host %u is not known any more", host->index);
        try_again(sim, host, SIM_REGISTER);
        return;
    }
    bool again = ++host->connect_failures < FAILURES_BEFORE_DISCOVERY;
    try_again(sim, host, again ? SIM_CONNECT : SIM_REGISTER);
}
const struct sim_action sim_host_refused = {"a connection is refused", fire_refused};

static void fire_closed(struct sim *sim, struct sim_event *event)
{
    struct sim_host *host = &sim->hosts[event->who];
    if (!is_of_ours(host, event))
        return;
    host->call = 0;
    lose(sim, host);
}
const struct sim_action sim_host_closed = {"a connection has ended", fire_closed};

static void fire_heartbeat(struct sim *sim, struct sim_event *event)
{
    struct sim_host *host = &sim->hosts[event->who];
    if (!is_of_ours(host, event) || host->stage != SIM_OPEN)
        return;
    watch_silence(sim, host);
    struct sim_message *answer = sim_message_new();
    answer->connection = host->connection;
    sim_frame_to_server(sim, host->index, &sim_server_heard, answer);
}
const struct sim_action sim_host_heartbeat = {"a heartbeat arrives", fire_heartbeat};

/* ---- payloads ---- */

static void read_order(struct fl_str text, struct fl_arena *arena, struct fl_brain_order *ret_order)
{
    struct fl_err err = {0};
    const struct fl_json *json = fl_json_read(text, arena, &err);
    struct fl_task_spec *spec = fl_arena_new_object(arena, struct fl_task_spec);
    int r = fl_task_spec_decode(json, arena, spec, &err);
    *ret_order = (struct fl_brain_order){
        .arn = fl_str_dup(arena, fl_json_text(fl_json_get(json, "arn"))),
        .cluster_arn = fl_str_dup(arena, fl_json_text(fl_json_get(json, "taskClusterArn"))),
        .spec = r == 0 ? spec : NULL,
        .error = r == 0 ? (struct fl_str){0} : fl_str_printf(arena, "%s", err.text),
    };
}

static bool obey(struct sim *sim, struct sim_host *host, const struct sim_message *message)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_brain_event event = {.type = FL_EVENT_PAYLOAD};
    struct fl_brain_order *orders =
        fl_arena_new_array(arena, struct fl_brain_order, message->task_count);
    for (size_t i = 0; i < message->task_count; i++)
        read_order(message->tasks[i], arena, &orders[i]);
    event.payload.header = message->header;
    event.payload.orders = orders;
    event.payload.order_count = message->task_count;
    return sim_host_post(sim, host, &event);
}

static struct sim_message *copy_payload(const struct sim_message *message)
{
    struct sim_message *copy = sim_message_new();
    copy->header = message->header;
    copy->header.message_id = FL_STR("0");
    copy->header.cluster_arn = FL_STR("default");
    copy->header.instance_arn = fl_str_dup(copy->arena, message->header.instance_arn);
    copy->tasks = fl_arena_new_array(copy->arena, struct fl_str, message->task_count);
    copy->task_count = message->task_count;
    for (size_t i = 0; i < copy->task_count; i++)
        copy->tasks[i] = fl_str_dup(copy->arena, message->tasks[i]);
    return copy;
}

/* One in a few is kept, for the day when an old server speaks up. */
static void keep_old(struct sim *sim, struct sim_host *host, const struct sim_message *message)
{
    if (!sim->knobs.zombie_us || sim_below(sim, 4) > 0)
        return;
    sim_message_free(host->old_frame);
    host->old_frame = copy_payload(message);
    host->old_epoch = fl_acs_seq_epoch(message->header.seq);
}

static void fire_payload(struct sim *sim, struct sim_event *event)
{
    struct sim_host *host = &sim->hosts[event->who];
    if (!is_of_ours(host, event) || host->stage != SIM_OPEN)
        return;
    watch_silence(sim, host);
    if (event->message->header.seq <= host->last_seq)
        sim_violation(sim, "S7", "host %u: sequence number %llx after %llx", host->index,
                      (unsigned long long)event->message->header.seq,
                      (unsigned long long)host->last_seq);
    host->last_seq = event->message->header.seq;
    if (!obey(sim, host, event->message) && !sim->ended)
        sim_violation(sim, "H5", "host %u does not obey the present server", host->index);
    keep_old(sim, host, event->message);
}
const struct sim_action sim_host_payload = {"a payload arrives", fire_payload};

static void fire_old_payload(struct sim *sim, struct sim_event *event)
{
    struct sim_host *host = &sim->hosts[event->who];
    if (host->up && host->old_frame)
        (void)obey(sim, host, host->old_frame);
}
const struct sim_action sim_host_old_payload = {"a replaced server speaks", fire_old_payload};

void sim_session_send_ack(struct sim *sim, struct sim_host *host, struct fl_str message_id)
{
    if (host->stage != SIM_OPEN || !host->connection)
        return;
    struct sim_message *message = sim_message_new();
    message->connection = host->connection;
    (void)fl_str_to_u64(message_id, &message->ref);
    sim_frame_to_server(sim, host->index, &sim_server_ack, message);
}
