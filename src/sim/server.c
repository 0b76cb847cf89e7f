/* The control plane's process: the core, its turns, its store and its agents' sessions, by the
 * rules of src/server/engine.c and sessions.c. */
#include "sim/core_view.h"
#include "sim/world.h"

enum {
    HEARTBEAT_MS = 30 * 1000,
    SILENCE_MS = 60 * 1000,
    ACK_MS = 20 * 1000,
    PROBE_MS = 5 * 1000,
    PAYLOAD_BYTES = 1 << 20,
    MAX_UNACKED = 256,
    GROUP = 64, /* turns in one sync */
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

int64_t sim_server_wall_ms(const struct sim *sim)
{
    return sim_wall_ms(sim) + sim->server.clock_ms;
}

/* ---- turns ---- */

static void *take_record(FL_UNUSED void *context, int kind, const void *record)
{
    const struct fl_shape *shape = sim_core_shape(kind);
    return sim_value_object(kind, fl_shape_clone(shape, record), free);
}

static void *take_answer(void *context, int operation, const void *output)
{
    struct sim_message *message = sim_message_new(context);
    message->status = 200;
    sim_answer_read(message, operation, output);
    return message;
}

static void *take_task(void *context, const struct fl_task_spec *spec)
{
    struct sim_message *order = sim_message_new(context);
    struct fl_task_spec *copy = fl_arena_new_object(order->arena, struct fl_task_spec);
    fl_task_spec_copy(spec, order->arena, copy);
    order->order =
        (struct fl_brain_order){.arn = copy->arn, .cluster_arn = copy->cluster_arn, .spec = copy};
    return order;
}

void sim_server_init(struct sim *sim)
{
    sim->core_taker = (struct fl_core_taker){take_record, take_answer, take_task, sim};
    sim_disk_init(&sim->server.disk);
}

static struct sim_turn *turn_new(struct sim *sim)
{
    struct sim_turn *turn = sim->server.free_turns;
    if (turn) {
        sim->server.free_turns = turn->next_free;
        return turn;
    }
    turn = fl_calloc(1, sizeof(*turn));
    fl_turn_init(&turn->turn);
    turn->turn.taker = sim->codecs ? NULL : &sim->core_taker;
    return turn;
}

/* Its records become the commit's writes, which hold the values from now on. */
static void make_commit(struct sim_turn *turn)
{
    size_t count = turn->turn.record_count;
    if (count > turn->write_cap) {
        turn->write_cap = FL_MAX(2 * turn->write_cap, count);
        turn->commit.writes =
            fl_realloc(turn->commit.writes, turn->write_cap * sizeof(*turn->commit.writes));
    }
    for (size_t i = 0; i < count; i++) {
        struct fl_record *record = &turn->turn.records[i];
        struct sim_value *value = FL_TAKE_PTR(record->object);
        if (!value && record->value.n)
            value = sim_value_text(record->value);
        turn->commit.writes[i] = (struct sim_write){record->key, value};
    }
    turn->commit.count = count;
}

static void turn_free(struct sim *sim, struct sim_turn *turn)
{
    for (size_t i = 0; i < turn->commit.count; i++)
        sim_value_release(turn->commit.writes[i].value);
    for (size_t i = 0; i < turn->turn.record_count; i++)
        sim_value_release(turn->turn.records[i].object);
    for (size_t i = 0; i < turn->turn.effect_count; i++)
        sim_message_free(sim, turn->turn.effects[i].object);
    turn->commit.count = 0;
    fl_turn_reset(&turn->turn);
    turn->next_free = sim->server.free_turns;
    sim->server.free_turns = turn;
}

static void free_turns(struct sim *sim)
{
    struct sim_turn *turn;
    while ((turn = sim->server.free_turns) != NULL) {
        sim->server.free_turns = turn->next_free;
        fl_turn_free(&turn->turn);
        free(turn->commit.writes);
        free(turn);
    }
}

static void fire_commit(struct sim *sim, struct sim_event *event);
static const struct sim_action commit_action = {"the server commits", fire_commit};

static void step(struct sim *sim, struct fl_core_event *event)
{
    struct sim_server *server = &sim->server;
    event->now_ms = sim_server_wall_ms(sim);
    sim_seed(sim, event->seed);
    if (!server->open) {
        server->open = turn_new(sim);
        sim_at(sim, (int64_t)sim_below(sim, 200), &commit_action, SIM_SERVER, server->turns++,
               NULL);
    }
    size_t before = server->open->turn.record_count;
    fl_core_step(server->core, event, &server->open->turn);
    sim_audit_records(sim, &server->open->turn, before, event->now_ms);
}

static void fire_due(struct sim *sim, FL_UNUSED struct sim_event *event)
{
    struct fl_core_event timer = {.kind = FL_CORE_EVENT_TIMER};
    sim->server.due_ms = INT64_MAX;
    step(sim, &timer);
}

static void arm_timer(struct sim *sim)
{
    static const struct sim_action due = {"the core's timer", fire_due};
    enum { LONGEST_MS = 60 * 1000 };
    int64_t due_ms = fl_core_next_due(sim->server.core);
    if (due_ms == sim->server.due_ms || FL_BUG(21, due_ms != INT64_MAX, false))
        return; /* 21: the timer is never armed */
    sim->server.due_ms = due_ms;
    if (due_ms == INT64_MAX)
        return;
    int64_t wait_ms =
        FL_MIN(FL_MAX(due_ms - sim_server_wall_ms(sim), INT64_C(1)), (int64_t)LONGEST_MS);
    sim_at(sim, wait_ms * SIM_MS, &due, SIM_SERVER, 0, NULL);
}

static void take_effect(struct sim *sim, struct fl_core_effect *effect);
static void flush_sessions(struct sim *sim);

static void release_effects(struct sim *sim, struct sim_turn *turn)
{
    for (size_t i = 0; i < turn->turn.effect_count && !sim->ended; i++)
        take_effect(sim, &turn->turn.effects[i]);
    flush_sessions(sim);
}

static void start_sync(struct sim *sim);

static void fire_synced(struct sim *sim, FL_UNUSED struct sim_event *event)
{
    struct sim_disk *disk = &sim->server.disk;
    size_t count = disk->syncing;
    if (disk->full) {
        sim_note(sim, "the server's disk is full", SIM_SERVER, 0);
        sim_server_kill(sim);
        return;
    }
    disk->syncing = 0;
    for (size_t i = 0; i < count; i++) {
        struct sim_turn *turn = (struct sim_turn *)sim_disk_apply(disk);
        if (!FL_BUG(1, true, false))
            release_effects(sim, turn);
        turn_free(sim, turn);
    }
    start_sync(sim);
}

static void start_sync(struct sim *sim)
{
    static const struct sim_action synced = {"the server's disk has synced", fire_synced};
    struct sim_disk *disk = &sim->server.disk;
    if (disk->syncing || disk->waiting_count == 0)
        return;
    int64_t us = sim_about(sim, sim->knobs.sync_us);
    if (sim_fault(sim, sim->knobs.slow_sync))
        us += (int64_t)sim_below(sim, 3 * SIM_SECOND);
    disk->syncing = FL_MIN(disk->waiting_count, (size_t)GROUP);
    sim_at(sim, us, &synced, SIM_SERVER, disk->syncing, NULL);
}

static void fire_commit(struct sim *sim, FL_UNUSED struct sim_event *event)
{
    struct sim_turn *turn = FL_TAKE_PTR(sim->server.open);
    make_commit(turn);
    sim_disk_append(&sim->server.disk, &turn->commit);
    if (FL_BUG(1, true, false)) /* ack before commit */
        release_effects(sim, turn);
    start_sync(sim);
    arm_timer(sim);
}

/* ---- calls ---- */

static void fire_call(struct sim *sim, struct sim_event *event)
{
    struct sim_message *message = event->message;
    if (!sim->server.up) { /* no connection */
        sim_answer(sim, message->from, event->number, sim_message_new(sim));
        return;
    }
    struct fl_core_event command = {
        .kind = FL_CORE_EVENT_COMMAND,
        .request_id = (uint64_t)message->from << 32 | (event->number & UINT32_MAX),
        .operation = message->operation,
        .input = sim_message_asked(sim, message),
        .input_size = message->text.n,
    };
    if (command.input)
        step(sim, &command);
}
const struct sim_action sim_server_call = {"a call arrives", fire_call};

/* ---- sessions ---- */

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
                      enum fl_core_event_kind kind)
{
    struct fl_core_event event = {
        .kind = kind,
        .cluster = FL_STR("default"),
        .instance = fl_str_of(session->instance),
        .session = session->number,
    };
    if (kind == FL_CORE_EVENT_AGENT_CONNECTED) {
        event.agent_version = FL_STR("0.1");
        event.agent_hash = FL_STR("sim");
        event.docker_version = FL_STR("none");
    }
    step(sim, &event);
}

static void end_session(struct sim *sim, struct sim_session *session)
{
    if (!session->is_replaced)
        HASH_DELETE(hh, sim->server.by_instance, session);
    HASH_DELETE(hh_connection, sim->server.by_connection, session);
    if (!FL_BUG(29, true, false)) /* the core is not told that an agent has gone */
        tell_core(sim, session, FL_CORE_EVENT_AGENT_DISCONNECTED);
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

static void send_payload(struct sim *sim, struct sim_session *session)
{
    struct sim_message *message = FL_TAKE_PTR(session->payload);
    struct sim_server *server = &sim->server;
    uint64_t id = ++sim->next_message;
    if (!message)
        return;
    message->connection = session->connection;
    message->header = (struct fl_acs_header){
        .cluster_arn = FL_STR("default"),
        .instance_arn = fl_str_dup(message->arena, fl_str_of(session->instance_arn)),
        .message_id = fl_str_printf(message->arena, "%llu", (unsigned long long)id),
        .seq = fl_acs_seq(server->epoch, ++server->counter),
        .generated_ms = sim_server_wall_ms(sim),
    };
    sim_frame_to_host(sim, session->host, &sim_host_payload, message);
    remember_unacked(sim, session, id);
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

static void gather_task(struct sim *sim, struct fl_core_effect *effect)
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

static void flush_sessions(struct sim *sim)
{
    struct sim_session *session;
    while ((session = sim->server.first_dirty) != NULL) {
        sim->server.first_dirty = session->next_dirty;
        session->is_dirty = false;
        session->next_dirty = NULL;
        send_payload(sim, session);
    }
}

static struct sim_message *answer_of(struct sim *sim, struct fl_core_effect *effect)
{
    struct sim_message *answer = FL_TAKE_PTR(effect->object);
    if (answer)
        return answer;
    answer = sim_message_new(sim);
    answer->status = effect->status;
    answer->text = fl_str_dup(answer->arena, effect->body);
    return answer;
}

/* Its instance is INACTIVE. */
static void end_instance(struct sim *sim, const struct fl_core_effect *effect)
{
    struct sim_session *session = find_session(sim, effect->instance);
    if (session)
        close_session(sim, session);
}

static void take_effect(struct sim *sim, struct fl_core_effect *effect)
{
    switch (effect->kind) {
    case FL_CORE_EFFECT_REPLY:
        sim_answer(sim, (uint32_t)(effect->request_id >> 32), effect->request_id & UINT32_MAX,
                   answer_of(sim, effect));
        return;
    case FL_CORE_EFFECT_AGENT_TASK:
        gather_task(sim, effect);
        return;
    case FL_CORE_EFFECT_AGENT_CLOSE:
        end_instance(sim, effect);
        return;
    }
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
static bool gives_way(struct sim *sim, struct sim_session *session, const struct sim_session *newer)
{
    if (session->is_closing || session->nonce == newer->nonce)
        return true;
    if (session->is_doubted)
        return sim->now_us - session->probed_us > PROBE_MS * SIM_MS;
    session->is_doubted = true;
    session->probed_us = sim->now_us;
    send_heartbeat(sim, session);
    return false;
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
    if (older && !gives_way(sim, older, session)) {
        session_free(sim, session);
        answer_connect(sim, message, &sim_host_refused, 400, "in use");
        return;
    }
    register_session(sim, session);
    answer_connect(sim, message, &sim_host_opened, 101, "");
    tell_core(sim, session, FL_CORE_EVENT_AGENT_CONNECTED);
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
    sim_at(sim, HEARTBEAT_MS * SIM_MS, event->action, SIM_SERVER, 0, NULL);
}

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

/* ---- life and death ---- */

static struct fl_core *new_core(void)
{
    struct fl_core_config config = {
        .region = FL_STR("eu-central-1"),
        .account = FL_STR("000000000000"),
        .endpoint = FL_STR("http://server/"),
    };
    return fl_core_new(&config);
}

static struct fl_core *load(struct sim *sim, const struct sim_disk *disk)
{
    struct fl_core *core = new_core();
    struct fl_err err;
    for (const struct sim_record *at = NULL; (at = sim_disk_next(disk, at));)
        if (at->value->object)
            sim_core_load(core, at->value->kind, at->value->object);
        else if (fl_core_load(core, at->key, at->value->text, &err) < 0)
            sim_violation(sim, "S11", "a record of ours is refused: %s", err.text);
    return core;
}

static void add_commit(struct sim_disk *disk, const struct sim_commit *commit)
{
    for (size_t i = 0; i < commit->count; i++)
        sim_disk_write(disk, commit->writes[i].key, commit->writes[i].value);
}

/* What is not committed yet. */
static void add_turn(struct sim_disk *disk, const struct fl_turn *turn)
{
    for (size_t i = 0; i < turn->record_count; i++) {
        const struct fl_record *record = &turn->records[i];
        struct sim_value *text = record->value.n ? sim_value_text(record->value) : NULL;
        sim_disk_write(disk, record->key, text ? text : record->object);
        sim_value_release(text);
    }
}

struct fl_core *sim_server_rebuild(struct sim *sim)
{
    struct sim_disk disk;
    struct sim_commit *commit;
    sim_disk_init(&disk);
    for (const struct sim_record *at = NULL; (at = sim_disk_next(&sim->server.disk, at));)
        sim_disk_write(&disk, at->key, at->value);
    TAILQ_FOREACH (commit, &sim->server.disk.waiting, entry)
        add_commit(&disk, commit);
    if (sim->server.open)
        add_turn(&disk, &sim->server.open->turn);
    struct fl_core *core = load(sim, &disk);
    sim_disk_wipe(&disk);
    return core;
}

static void make_cluster(struct sim *sim)
{
    struct sim_message *message = sim_message_new(sim);
    struct ecs_CreateClusterRequest *input =
        fl_arena_new_object(message->arena, struct ecs_CreateClusterRequest);
    FL_SET(input, ecs_CreateClusterRequest, clusterName, FL_STR("default"));
    sim_message_ask(sim, message, ECS_OP_CreateCluster, input);
    sim_call(sim, SIM_CLIENTS, 0, message);
}

static void fire_start(struct sim *sim, FL_UNUSED struct sim_event *event)
{
    if (!sim->server.up)
        sim_server_start(sim);
}
static const struct sim_action start_action = {"the server starts", fire_start};

void sim_server_start(struct sim *sim)
{
    static const struct sim_action heartbeat = {"the server's heartbeat", fire_heartbeat};
    struct sim_server *server = &sim->server;
    if (server->disk.full) {
        sim_at_any(sim, sim_about(sim, 5 * SIM_SECOND), &start_action, SIM_SERVER, 0, NULL);
        return;
    }
    server->life++;
    server->core = load(sim, &server->disk);
    server->up = true;
    server->started_us = sim->now_us;
    server->epoch += FL_BUG(3, 0, 1);
    server->counter = 0;
    server->last_number = 0;
    server->due_ms = INT64_MAX;
    if (server->life > 1)
        sim_audit_recovered(sim);
    else
        make_cluster(sim);
    arm_timer(sim);
    sim_at(sim, HEARTBEAT_MS * SIM_MS, &heartbeat, SIM_SERVER, 0, NULL);
}

static void drop_sessions(struct sim *sim)
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

/* The transaction that was under way is there, or it is not. */
static void crash_disk(struct sim *sim)
{
    struct sim_disk *disk = &sim->server.disk;
    bool is_kept = !disk->full && !sim->ended && sim_chance(sim, 500);
    size_t kept = is_kept ? disk->syncing : 0;
    struct sim_commit *commit;
    while ((commit = kept ? sim_disk_apply(disk) : sim_disk_lose(disk)) != NULL) {
        turn_free(sim, (struct sim_turn *)commit);
        kept -= kept > 0;
    }
    disk->syncing = 0;
}

static void die(struct sim *sim)
{
    struct sim_server *server = &sim->server;
    server->up = false;
    server->life++;
    server->frozen_us = 0;
    drop_sessions(sim);
    if (server->open)
        turn_free(sim, FL_TAKE_PTR(server->open));
    crash_disk(sim);
    fl_core_free(FL_TAKE_PTR(server->core));
}

void sim_server_kill(struct sim *sim)
{
    if (!sim->server.up)
        return;
    die(sim);
    sim->result->restarts++;
    sim_at_any(sim, 20 * SIM_MS + (int64_t)sim_below(sim, 20 * SIM_SECOND), &start_action,
               SIM_SERVER, 0, NULL);
}

void sim_server_free(struct sim *sim)
{
    sim->ended = true;
    die(sim);
    sim_disk_wipe(&sim->server.disk);
    free_turns(sim);
}
