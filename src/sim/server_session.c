/* The control plane's end of its agents' sessions, by the rules of src/server/sessions.c. */
#include "sim/world.h"

enum {
    SILENCE_MS = 60 * 1000 - 30 * 1000 / 4, /* two heartbeats, less the answer's way */
    ACK_MS = 20 * 1000,
    PROBE_MS = 5 * 1000,
    PAYLOAD_BYTES = 1 << 20,
    MAX_UNACKED = 256,
};

struct unacked {
    uint64_t id;
    int64_t sent_us;
};

struct sim_session {
    UT_hash_handle hh; /* by_instance */
    UT_hash_handle hh_connection;
    char instance[SIM_ID];
    char instance_arn[160];
    uint32_t host;
    uint64_t connection, number, nonce;
    int64_t heard_us, probed_us;
    struct sim_message *payload; /* being gathered */
    struct sim_session *next_dirty;
    bool is_dirty, is_closing, is_replaced;
    bool is_doubted; /* another agent wants its place, and it has not spoken since */
    struct unacked unacked[MAX_UNACKED];
    size_t unacked_count;
};

static struct sim_session *find_session(struct sim *sim, struct fl_str instance)
{
    struct sim_session *session;
    HASH_FIND(hh, sim->server.by_instance, instance.p, instance.n, session);
    return session;
}

static struct sim_session *find_connection(struct sim *sim, uint64_t connection)
{
    struct sim_session *session;
    HASH_FIND(hh_connection, sim->server.by_connection, &connection, sizeof(connection), session);
    return session;
}

bool sim_server_has_session(struct sim *sim, struct fl_str instance)
{
    return find_session(sim, instance) != NULL;
}

bool sim_server_is_connected(const struct sim *sim, uint32_t host)
{
    for (const struct sim_session *s = sim->server.by_instance; s; s = s->hh.next)
        if (s->host == host && !s->is_closing && s->connection == sim->hosts[host].connection)
            return true;
    return false;
}

static void session_free(struct sim *sim, struct sim_session *session)
{
    for (struct sim_session **at = &sim->server.first_dirty; *at; at = &(*at)->next_dirty)
        if (*at == session) {
            *at = session->next_dirty;
            break;
        }
    sim_message_free(sim, session->payload);
    free(session);
}

static void tell_core(struct sim *sim, const struct sim_session *session,
                      enum fl_core_event_kind kind, struct fl_core_event *event)
{
    event->kind = kind;
    event->cluster = FL_STR("default");
    event->instance = fl_str_of(session->instance);
    event->session = session->number;
    sim_server_step(sim, event);
}

static void tell_connected(struct sim *sim, const struct sim_session *session)
{
    struct fl_core_event event = {
        .agent_version = FL_STR("0.1"),
        .agent_hash = FL_STR("sim"),
        .docker_version = FL_STR("none"),
    };
    tell_core(sim, session, FL_CORE_EVENT_AGENT_CONNECTED, &event);
}

static void end_session(struct sim *sim, struct sim_session *session)
{
    if (!session->is_replaced)
        HASH_DELETE(hh, sim->server.by_instance, session);
    HASH_DELETE(hh_connection, sim->server.by_connection, session);
    struct fl_core_event gone = {0};
    if (!FL_BUG(29, true, false)) /* the core is not told that an agent has gone */
        tell_core(sim, session, FL_CORE_EVENT_AGENT_DISCONNECTED, &gone);
    session_free(sim, session);
}

static void fire_session_closed(struct sim *sim, struct sim_event *event)
{
    struct sim_session *session = find_connection(sim, event->number);
    if (session && sim->server.up)
        end_session(sim, session);
    else
        sim_void(sim);
}
/* The host's end has broken, and we hear of it. */
const struct sim_action sim_server_closed = {"a connection has broken", fire_session_closed};

static void close_session(struct sim *sim, struct sim_session *session)
{
    if (session->is_closing)
        return;
    session->is_closing = true;
    struct sim_message *message = sim_message_new(sim);
    message->connection = session->connection;
    sim_frame_to_host(sim, session->host, &sim_host_closed, message);
    sim_at(sim, (int64_t)sim_below(sim, SIM_SECOND), &sim_server_closed, SIM_SERVER,
           session->connection, NULL);
}

static void remember_unacked(struct sim *sim, struct sim_session *session, uint64_t id)
{
    if (session->unacked_count == MAX_UNACKED) {
        close_session(sim, session);
        return;
    }
    session->unacked[session->unacked_count++] = (struct unacked){id, sim->now_us};
}

static struct fl_acs_header new_header(struct sim *sim, const struct sim_session *session,
                                       struct fl_arena *arena)
{
    struct sim_server *server = &sim->server;
    return (struct fl_acs_header){
        .cluster_arn = FL_STR("default"),
        .instance_arn = fl_str_dup(arena, fl_str_of(session->instance_arn)),
        .message_id = fl_str_printf(arena, "%llu", (unsigned long long)++sim->next_message),
        .seq = fl_acs_seq(server->epoch, ++server->counter),
        .generated_ms = sim_server_wall_ms(sim),
    };
}

static void send_payload(struct sim *sim, struct sim_session *session)
{
    struct sim_message *message = FL_TAKE_PTR(session->payload);
    if (!message)
        return;
    message->connection = session->connection;
    message->header = new_header(sim, session, message->arena);
    sim_frame_to_host(sim, session->host, &sim_host_payload, message);
    remember_unacked(sim, session, sim->next_message);
}

/* An agent believes a manifest only if it is newer than every payload that it has seen: so what
 * has been gathered goes first. */
void sim_sessions_list(struct sim *sim, const struct fl_core_effect *effect)
{
    bool is_manifest = effect->kind == FL_CORE_EFFECT_AGENT_MANIFEST;
    struct sim_session *session = find_session(sim, effect->instance);
    if (!session || session->is_closing)
        return;
    if (is_manifest)
        send_payload(sim, session);
    struct sim_message *message = sim_message_new(sim);
    message->connection = session->connection;
    if (is_manifest)
        message->header = new_header(sim, session, message->arena);
    else
        message->header.message_id = fl_str_dup(message->arena, effect->message_id);
    sim_message_list(message, effect->tasks, effect->task_count);
    sim_frame_to_host(sim, session->host, is_manifest ? &sim_host_manifest : &sim_host_stop_list,
                      message);
}

static struct sim_message *order_of(struct sim *sim, struct fl_core_effect *effect)
{
    struct sim_message *order = FL_TAKE_PTR(effect->object);
    if (order)
        return order;
    order = sim_message_new(sim);
    order->text = fl_str_dup(order->arena, effect->task);
    return order;
}

void sim_sessions_task(struct sim *sim, struct fl_core_effect *effect)
{
    struct sim_session *session = find_session(sim, effect->instance);
    if (!session || session->is_closing)
        return;
    struct sim_message *message = session->payload;
    if (message && (message->order_count == SIM_PAYLOAD_TASKS ||
                    message->order_bytes + effect->task.n > PAYLOAD_BYTES))
        send_payload(sim, session);
    if (!session->payload) {
        session->payload = sim_message_new(sim);
        session->payload->orders =
            fl_arena_new_array(session->payload->arena, struct sim_message *, SIM_PAYLOAD_TASKS);
    }
    message = session->payload;
    message->orders[message->order_count++] = order_of(sim, effect);
    message->order_bytes += effect->task.n;
    if (session->is_dirty)
        return;
    session->is_dirty = true;
    session->next_dirty = sim->server.first_dirty;
    sim->server.first_dirty = session;
}

void sim_sessions_flush(struct sim *sim)
{
    struct sim_session *session;
    while ((session = sim->server.first_dirty) != NULL) {
        sim->server.first_dirty = session->next_dirty;
        session->is_dirty = false;
        session->next_dirty = NULL;
        send_payload(sim, session);
    }
}

/* Its instance is INACTIVE. */
void sim_sessions_end(struct sim *sim, const struct fl_core_effect *effect)
{
    struct sim_session *session = find_session(sim, effect->instance);
    if (session)
        close_session(sim, session);
}

static struct sim_session *session_new(struct sim *sim, const struct sim_message *message)
{
    struct sim_session *session = fl_calloc(1, sizeof(*session));
    struct fl_str id = fl_str_from(message->text, (size_t)fl_str_rindex(message->text, '/') + 1);
    FL_ASSERT(id.n < sizeof(session->instance));
    memcpy(session->instance, id.p, id.n);
    FL_ASSERT(message->text.n < sizeof(session->instance_arn));
    memcpy(session->instance_arn, message->text.p, message->text.n);
    session->host = message->from;
    session->connection = message->connection;
    session->nonce = message->ref;
    session->number = ++sim->server.last_number;
    session->heard_us = sim->now_us;
    return session;
}

static void answer_connect(struct sim *sim, const struct sim_message *message,
                           const struct sim_action *action, unsigned status, const char *text)
{
    struct sim_message *answer = sim_message_new(sim);
    answer->text = fl_str_of(text);
    answer->connection = message->connection;
    answer->status = status;
    sim_frame_to_host(sim, message->from, action, answer);
}

static void register_session(struct sim *sim, struct sim_session *session)
{
    struct sim_session *older = find_session(sim, fl_str_of(session->instance));
    if (older) {
        HASH_DELETE(hh, sim->server.by_instance, older);
        older->is_replaced = true;
        close_session(sim, older);
    }
    HASH_ADD_KEYPTR(hh, sim->server.by_instance, session->instance, strlen(session->instance),
                    session);
    HASH_ADD(hh_connection, sim->server.by_connection, connection, sizeof(session->connection),
             session);
}

static void send_heartbeat(struct sim *sim, struct sim_session *session)
{
    struct sim_message *message = sim_message_new(sim);
    message->connection = session->connection;
    sim_frame_to_host(sim, session->host, &sim_host_heartbeat, message);
}

static void beat(struct sim *sim, struct sim_session *session)
{
    bool is_silent = sim->now_us - session->heard_us > SILENCE_MS * SIM_MS;
    bool is_unacked =
        session->unacked_count && sim->now_us - session->unacked[0].sent_us > ACK_MS * SIM_MS;
    if (is_silent || is_unacked)
        close_session(sim, session);
    else
        send_heartbeat(sim, session);
}

/* May the newer one have the place? Not while another agent holds it. Whether that one lives is
 * asked now, and seen when the newer one tries again. */
static bool gives_way(struct sim *sim, struct sim_session *session, uint64_t nonce)
{
    if (session->is_closing || session->nonce == nonce)
        return true;
    if (session->is_doubted)
        return sim->now_us - session->probed_us > PROBE_MS * SIM_MS;
    session->is_doubted = true;
    session->probed_us = sim->now_us;
    send_heartbeat(sim, session);
    return false;
}

bool sim_sessions_hear(struct sim *sim, const struct sim_message *call)
{
    struct sim_session *session =
        call->speaker[0] ? find_session(sim, fl_str_of(call->speaker)) : NULL;
    return !session || gives_way(sim, session, call->nonce);
}

static void fire_connect(struct sim *sim, struct sim_event *event)
{
    struct sim_message *message = event->message;
    if (!sim->server.up) {
        answer_connect(sim, message, &sim_host_refused, 0, "");
        return;
    }
    struct sim_session *session = session_new(sim, message);
    if (!fl_core_instance_active(sim->server.core, FL_STR("default"),
                                 fl_str_of(session->instance))) {
        session_free(sim, session);
        answer_connect(sim, message, &sim_host_refused, 400, "inactive");
        return;
    }
    struct sim_session *older = find_session(sim, fl_str_of(session->instance));
    if (older && !gives_way(sim, older, session->nonce)) {
        session_free(sim, session);
        answer_connect(sim, message, &sim_host_refused, 400, "in use");
        return;
    }
    register_session(sim, session);
    answer_connect(sim, message, &sim_host_opened, 101, "");
    tell_connected(sim, session);
}
const struct sim_action sim_server_connect = {"an agent connects", fire_connect};

/* A frame of a connection that the server does not know (any more) is answered by a reset. */
static struct sim_session *heard(struct sim *sim, struct sim_event *event)
{
    struct sim_session *session = sim->server.up ? find_connection(sim, event->number) : NULL;
    if (session) {
        session->heard_us = sim->now_us;
        session->is_doubted = false;
        return session;
    }
    struct sim_message *answer = sim_message_new(sim);
    answer->connection = event->number;
    sim_frame_to_host(sim, event->message->from, &sim_host_closed, answer);
    return NULL;
}

static void fire_ack(struct sim *sim, struct sim_event *event)
{
    struct sim_session *session = heard(sim, event);
    uint64_t id = event->message->ref;
    for (size_t i = 0; session && i < session->unacked_count; i++) {
        if (session->unacked[i].id != id)
            continue;
        session->unacked_count--;
        memmove(&session->unacked[i], &session->unacked[i + 1],
                (session->unacked_count - i) * sizeof(session->unacked[0]));
        return;
    }
}
const struct sim_action sim_server_ack = {"a payload is acknowledged", fire_ack};

static void fire_verify(struct sim *sim, struct sim_event *event)
{
    struct sim_session *session = heard(sim, event);
    struct fl_core_event question = {
        .message_id = event->message->header.message_id,
        .tasks = event->message->tasks,
        .task_count = event->message->task_count,
    };
    if (session)
        tell_core(sim, session, FL_CORE_EVENT_STOP_VERIFICATION, &question);
}
const struct sim_action sim_server_verify = {"an agent asks what it is to stop", fire_verify};

static void fire_health(struct sim *sim, struct sim_event *event)
{
    struct sim_session *session = heard(sim, event);
    const struct sim_message *message = event->message;
    for (size_t i = 0; session && i < message->health_count && !sim->ended; i++) {
        struct fl_core_event told = {
            .task = message->health[i].task,
            .health = message->health[i].containers,
            .health_count = message->health[i].container_count,
        };
        tell_core(sim, session, FL_CORE_EVENT_HEALTH, &told);
    }
}
const struct sim_action sim_server_health = {"an agent's telemetry arrives", fire_health};

static void fire_heard(struct sim *sim, struct sim_event *event)
{
    (void)heard(sim, event);
}
const struct sim_action sim_server_heard = {"a heartbeat is answered", fire_heard};

static void fire_heartbeat(struct sim *sim, struct sim_event *event)
{
    struct sim_session *session, *next;
    HASH_ITER(hh, sim->server.by_instance, session, next)
    {
        beat(sim, session);
    }
    sim_at(sim, SIM_HEARTBEAT_US, event->action, SIM_SERVER, 0, NULL);
}

const struct sim_action sim_server_heartbeat = {"the server's heartbeat", fire_heartbeat};

void sim_server_tell_sessions(struct sim *sim, struct fl_core *core)
{
    struct fl_turn turn;
    struct sim_session *session, *next;
    fl_turn_init(&turn);
    HASH_ITER(hh, sim->server.by_instance, session, next)
    {
        struct fl_core_event event = {
            .kind = FL_CORE_EVENT_AGENT_CONNECTED,
            .now_ms = sim_server_wall_ms(sim),
            .cluster = FL_STR("default"),
            .instance = fl_str_of(session->instance),
            .session = session->number,
            .agent_version = FL_STR("0.1"),
            .agent_hash = FL_STR("sim"),
            .docker_version = FL_STR("none"),
        };
        fl_core_step(core, &event, &turn);
    }
    if (turn.record_count)
        sim_violation(sim, "S11", "a session's opening changed a recovered core");
    fl_turn_free(&turn);
}

void sim_sessions_drop(struct sim *sim)
{
    struct sim_session *session, *next;
    HASH_CLEAR(hh, sim->server.by_instance);
    HASH_ITER(hh_connection, sim->server.by_connection, session, next)
    {
        HASH_DELETE(hh_connection, sim->server.by_connection, session);
        if (!sim->ended && sim_chance(sim, 700)) { /* else the agent finds out by itself */
            struct sim_message *message = sim_message_new(sim);
            message->connection = session->connection;
            sim_frame_to_host(sim, session->host, &sim_host_closed, message);
        }
        session_free(sim, session);
    }
}
