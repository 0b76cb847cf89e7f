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
    if (host->call != event->number) {
        sim_void(sim);
        return;
    }
    host->call = host->connection = 0;
    try_again(sim, host, SIM_REGISTER);
}

void sim_session_introduce(const struct sim_host *host, struct sim_message *call)
{
    struct fl_str id = fl_task_id(fl_str_of(host->instance_arn));
    call->nonce = sim_host_nonce(host);
    memcpy(call->speaker, id.p, FL_MIN(id.n, sizeof(call->speaker) - 1));
}

/* Takes the message, which is a call already. */
static void call(struct sim *sim, struct sim_host *host, struct sim_message *message)
{
    static const struct sim_action timeout = {"an agent's call is given up", fire_call_timeout};
    host->call = ++sim->next_ref;
    sim_session_introduce(host, message);
    sim_at(sim, CALL_TIMEOUT_MS * SIM_MS, &timeout, host->index, host->call, NULL);
    sim_call(sim, host->index, host->call, message);
}

static struct ecs_Resource number_of(const char *name, int32_t value)
{
    struct ecs_Resource resource = {0};
    FL_SET(&resource, ecs_Resource, name, fl_str_of(name));
    FL_SET(&resource, ecs_Resource, type, FL_STR("INTEGER"));
    FL_SET(&resource, ecs_Resource, integerValue, value);
    return resource;
}

static struct ecs_Resource_list resources_of(const struct sim_host *host, struct fl_arena *arena)
{
    struct ecs_Resource_list list = {3, fl_arena_new_array(arena, struct ecs_Resource, 3)};
    struct fl_str_list ports = {1, fl_arena_new_array(arena, struct fl_str, 1)};
    struct ecs_Resource *reserved = &list.items[2];
    ports.items[0] = FL_STR("22");
    list.items[0] = number_of("CPU", sim_host_cpu(host));
    list.items[1] = number_of("MEMORY", 2 * sim_host_cpu(host));
    FL_SET(reserved, ecs_Resource, name, FL_STR("PORTS"));
    FL_SET(reserved, ecs_Resource, type, FL_STR("STRINGSET"));
    FL_SET(reserved, ecs_Resource, stringSetValue, ports);
    return list;
}

/* What the workload's definitions ask for; manifests only of hosts that take them. */
static struct ecs_Attribute_list attributes_of(const struct sim_host *host, struct fl_arena *arena)
{
    static const char *const names[] = {
        "com.amazonaws.ecs.capability.docker-remote-api.1.18",
        "com.amazonaws.ecs.capability.docker-remote-api.1.24",
        "ecs.capability.container-ordering",
        "ecs.capability.container-health-check",
        "ecs.capability.container-restart-policy",
        "ecs.capability.full-sync",
    };
    size_t count = FL_ARRAY_SIZE(names) - !sim_host_has_manifests(host);
    struct ecs_Attribute_list list = {2 + count,
                                      fl_arena_new_array(arena, struct ecs_Attribute, 2 + count)};
    FL_SET(&list.items[0], ecs_Attribute, name, FL_STR("rack"));
    FL_SET(&list.items[0], ecs_Attribute, value, fl_str_printf(arena, "r%u", host->index % 7));
    FL_SET(&list.items[1], ecs_Attribute, name, FL_STR("ecs.availability-zone"));
    FL_SET(&list.items[1], ecs_Attribute, value,
           fl_str_printf(arena, "eu-central-1%c", 'a' + (int)(host->index % 3)));
    for (size_t i = 0; i < count; i++)
        FL_SET(&list.items[2 + i], ecs_Attribute, name, fl_str_of(names[i]));
    return list;
}

static void call_register(struct sim *sim, struct sim_host *host)
{
    struct sim_message *message = sim_message_new(sim);
    struct ecs_RegisterContainerInstanceRequest *input =
        fl_arena_new_object(message->arena, struct ecs_RegisterContainerInstanceRequest);
    FL_SET(input, ecs_RegisterContainerInstanceRequest, cluster, FL_STR("default"));
    FL_SET(input, ecs_RegisterContainerInstanceRequest, totalResources,
           resources_of(host, message->arena));
    FL_SET(input, ecs_RegisterContainerInstanceRequest, attributes,
           attributes_of(host, message->arena));
    if (host->instance_arn[0])
        FL_SET(input, ecs_RegisterContainerInstanceRequest, containerInstanceArn,
               fl_str_dup(message->arena, fl_str_of(host->instance_arn)));
    FL_SET(input, ecs_RegisterContainerInstanceRequest, clientToken,
           fl_str_dup(message->arena, fl_str_of(host->client_token)));
    FL_SET(input, ecs_RegisterContainerInstanceRequest, instanceIdentityDocument,
           fl_str_printf(message->arena, "{\"instanceId\":\"mi-%017u\"}", host->index));
    sim_message_ask(sim, message, ECS_OP_RegisterContainerInstance, input);
    call(sim, host, message);
}

static void open_connection(struct sim *sim, struct sim_host *host)
{
    static const struct sim_action timeout = {"an agent's handshake is given up",
                                              fire_call_timeout};
    struct sim_message *message = sim_message_new(sim);
    message->connection = ++sim->next_connection;
    message->text = fl_str_dup(message->arena, fl_str_of(host->instance_arn));
    message->ref = sim_host_nonce(host);
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

static void make_cluster(struct sim *sim, struct sim_host *host)
{
    struct sim_message *message = sim_message_new(sim);
    struct ecs_CreateClusterRequest *input =
        fl_arena_new_object(message->arena, struct ecs_CreateClusterRequest);
    FL_SET(input, ecs_CreateClusterRequest, clusterName, FL_STR("default"));
    sim_message_ask(sim, message, ECS_OP_CreateCluster, input);
    host->making_cluster = true;
    call(sim, host, message);
}

static void take_identity(struct sim *sim, struct sim_host *host, struct fl_str arn)
{
    struct fl_str id = fl_str_from(arn, (size_t)fl_str_rindex(arn, '/') + 1);
    (void)snprintf(host->instance_arn, sizeof(host->instance_arn), "%.*s", FL_STR_ARG(arn));
    struct sim_instance *instance = sim_ledger_instance(sim, id);
    instance->host = instance->machine = host->index;
}

static bool is_deregistered(struct sim *sim, const struct sim_host *host,
                            const struct sim_message *answer)
{
    if (answer->status != 400 ||
        (!fl_str_contains(answer->text, FL_STR("is inactive.")) &&
         !fl_str_contains(answer->text, FL_STR("to register again was not found."))))
        return false;
    char id[SIM_ID];
    sim_host_instance_id(host, id);
    const struct sim_instance *instance = sim_ledger_instance(sim, fl_str_of(id));
    if (!instance->leave_asked ||
        (!instance->drop_put && instance->status != SIM_INSTANCE_INACTIVE))
        sim_violation(sim, "S1", "host %u is said to be deregistered", host->index);
    return true;
}

/* Deregistration is final: an agent that is told of it stays away, one that is started again joins
 * as a new container instance. */
static void take_inactive(struct sim *sim, struct sim_host *host)
{
    if (host->was_registered) {
        host->stage = SIM_REGISTER;
        wait(sim, host, INACTIVE_PAUSE_MS * SIM_MS);
        return;
    }
    sim_host_renew_identity(sim, host);
    attempt(sim, host);
}

void sim_session_answer(struct sim *sim, struct sim_host *host, const struct sim_event *event)
{
    struct sim_message *message = event->message;
    if (!host->up || host->call != event->number)
        return;
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
    if (is_deregistered(sim, host, message)) {
        take_inactive(sim, host);
        return;
    }
    struct fl_str arn = {0};
    if (message->status == 200)
        arn = sim_message_answered(sim, message, ECS_OP_RegisterContainerInstance)->instance_arn;
    if (arn.n == 0) {
        if (message->status == 400 && !fl_str_is(message->text, "in use"))
            sim_violation(sim, "S1", "host %u cannot register: %.*s", host->index,
                          FL_STR_ARG(message->text));
        try_again(sim, host, SIM_REGISTER);
        return;
    }
    if (!host->instance_arn[0])
        take_identity(sim, host, arn);
    host->was_registered = true;
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

static void fire_silence(struct sim *sim, struct sim_event *event);
static const struct sim_action silence = {"an agent hears nothing", fire_silence};

static void fire_silence(struct sim *sim, struct sim_event *event)
{
    struct sim_host *host = &sim->hosts[event->who];
    if (host->stage != SIM_OPEN || host->silence_number != event->number) {
        sim_void(sim);
        return;
    }
    if (host->silent_us > sim->now_us) { /* it has heard something meanwhile */
        sim_void(sim);
        sim_at(sim, host->silent_us - sim->now_us, &silence, host->index, event->number, NULL);
        return;
    }
    sim_at_any(sim, SIM_MS, &sim_server_closed, SIM_SERVER, host->connection, NULL);
    lose(sim, host);
}

/* One timer for each connection looks at when something was heard last. */
static void hear(struct sim *sim, struct sim_host *host)
{
    int64_t wait_us = SILENCE_MS * SIM_MS + (int64_t)sim_below(sim, SILENCE_MS * SIM_MS);
    host->silent_us = sim->now_us + wait_us;
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
    hear(sim, host);
    sim_at(sim, host->silent_us - sim->now_us, &silence, host->index, ++host->silence_number, NULL);
    sim_report_hurry(sim, host);
    sim_health_start(sim, host);
}
const struct sim_action sim_host_opened = {"a connection is open", fire_opened};

static void fire_refused(struct sim *sim, struct sim_event *event)
{
    struct sim_host *host = &sim->hosts[event->who];
    if (!is_of_ours(host, event))
        return;
    host->connection = host->call = 0;
    if (event->message->status && fl_str_is(event->message->text, "in use")) {
        try_again(sim, host, SIM_CONNECT); /* another agent is there: it may go */
        return;
    }
    if (event->message->status) {
        struct fl_str id = fl_task_id(fl_str_of(host->instance_arn));
        if (sim_ledger_instance(sim, id)->status != SIM_INSTANCE_INACTIVE)
            sim_violation(sim, "S1", "host %u is not known any more", host->index);
        host->stage = SIM_REGISTER;
        wait(sim, host, INACTIVE_PAUSE_MS * SIM_MS);
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
    hear(sim, host);
    struct sim_message *answer = sim_message_new(sim);
    answer->connection = host->connection;
    sim_frame_to_server(sim, host->index, &sim_server_heard, answer);
}
const struct sim_action sim_host_heartbeat = {"a heartbeat arrives", fire_heartbeat};

/* ---- payloads ---- */

static bool obey(struct sim *sim, struct sim_host *host, const struct sim_message *message,
                 const struct fl_acs_header *header)
{
    struct fl_brain_order orders[SIM_PAYLOAD_TASKS];
    struct fl_brain_event event = {.type = FL_EVENT_PAYLOAD};
    for (size_t i = 0; i < message->order_count; i++) {
        sim_order_read(sim, message->orders[i]);
        orders[i] = message->orders[i]->order;
    }
    event.payload.header = *header;
    event.payload.orders = orders;
    event.payload.order_count = message->order_count;
    return sim_host_post(sim, host, &event);
}

/* One in a few is kept, for the day when an old server speaks up. */
static void keep_old(struct sim *sim, struct sim_host *host, struct sim_message *message)
{
    if (!sim->knobs.zombie_us || sim_below(sim, 4) > 0)
        return;
    sim_message_free(sim, host->old_frame);
    host->old_frame = sim_message_hold(message);
    host->old_epoch = fl_acs_seq_epoch(message->header.seq);
}

static void fire_payload(struct sim *sim, struct sim_event *event)
{
    struct sim_host *host = &sim->hosts[event->who];
    if (!is_of_ours(host, event) || host->stage != SIM_OPEN)
        return;
    hear(sim, host);
    if (event->message->header.seq <= host->last_seq)
        sim_violation(sim, "S7", "host %u: sequence number %llx after %llx", host->index,
                      (unsigned long long)event->message->header.seq,
                      (unsigned long long)host->last_seq);
    host->last_seq = event->message->header.seq;
    if (!obey(sim, host, event->message, &event->message->header) && !sim->ended)
        sim_violation(sim, "H5", "host %u does not obey the present server", host->index);
    keep_old(sim, host, event->message);
}
const struct sim_action sim_host_payload = {"a payload arrives", fire_payload};

static void fire_list(struct sim *sim, struct sim_event *event, enum fl_brain_event_type type)
{
    struct sim_host *host = &sim->hosts[event->who];
    struct fl_brain_event list = {.type = type};
    if (!is_of_ours(host, event) || host->stage != SIM_OPEN)
        return;
    hear(sim, host);
    if (type == FL_EVENT_MANIFEST)
        host->last_seq = event->message->header.seq;
    list.list.header = event->message->header;
    list.list.tasks = event->message->tasks;
    list.list.task_count = event->message->task_count;
    if (!sim_host_post(sim, host, &list))
        sim_violation(sim, "H5", "host %u does not believe the present server", host->index);
}

static void fire_manifest(struct sim *sim, struct sim_event *event)
{
    fire_list(sim, event, FL_EVENT_MANIFEST);
}
const struct sim_action sim_host_manifest = {"a manifest arrives", fire_manifest};

static void fire_stop_list(struct sim *sim, struct sim_event *event)
{
    fire_list(sim, event, FL_EVENT_STOP_LIST);
}
const struct sim_action sim_host_stop_list = {"a list of what is to stop arrives", fire_stop_list};

void sim_session_verify(struct sim *sim, struct sim_host *host, const struct fl_effect *effect)
{
    if (host->stage != SIM_OPEN || !host->connection)
        return;
    struct sim_message *message = sim_message_new(sim);
    message->connection = host->connection;
    message->header.message_id = fl_str_dup(message->arena, effect->header.message_id);
    sim_message_list(message, effect->tasks, effect->task_count);
    sim_frame_to_server(sim, host->index, &sim_server_verify, message);
}

static void fire_old_payload(struct sim *sim, struct sim_event *event)
{
    struct sim_host *host = &sim->hosts[event->who];
    if (!host->up || !host->old_frame)
        return;
    struct fl_acs_header header = host->old_frame->header;
    header.message_id = FL_STR("0"); /* nobody waits for its acknowledgement */
    (void)obey(sim, host, host->old_frame, &header);
}
const struct sim_action sim_host_old_payload = {"a replaced server speaks", fire_old_payload};

void sim_session_send_ack(struct sim *sim, struct sim_host *host, struct fl_str message_id)
{
    if (host->stage != SIM_OPEN || !host->connection)
        return;
    struct sim_message *message = sim_message_new(sim);
    message->connection = host->connection;
    (void)fl_str_to_u64(message_id, &message->ref);
    sim_frame_to_server(sim, host->index, &sim_server_ack, message);
}
