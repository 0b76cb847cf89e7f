/* The control plane's process: the core, its turns, its store and its agents' sessions, by the
 * rules of src/server/engine.c and sessions.c. */
#include "sim/core_view.h"
#include "sim/world.h"

enum { ROW_US = 30 }; /* of a sync, for each record: SQLite writes some 30,000 in a second */

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
    fl_turn_clear(&turn->turn);
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

static void release_effects(struct sim *sim, struct sim_turn *turn);

/* A question's answer leaves on the spot when nothing that it shows could still be lost. */
static bool may_leave(const struct sim *sim, const struct fl_turn *turn)
{
    return turn->record_count == 0 && sim->server.disk.waiting_count == 0 &&
           turn->effect_count == 1 && turn->effects[0].kind == FL_CORE_EFFECT_REPLY;
}

void sim_server_step(struct sim *sim, struct fl_core_event *event)
{
    struct sim_server *server = &sim->server;
    bool is_first = !server->open;
    event->now_ms = sim_server_wall_ms(sim);
    sim_seed(sim, event->seed);
    if (is_first)
        server->open = turn_new(sim);
    size_t before = server->open->turn.record_count;
    sim_audit_before(sim, event);
    fl_core_step(server->core, event, &server->open->turn);
    sim_audit_records(sim, &server->open->turn, before, event->now_ms);
    sim_audit_step(sim, event, &server->open->turn, before);
    if (!is_first)
        return;
    if (may_leave(sim, &server->open->turn)) {
        struct sim_turn *turn = FL_TAKE_PTR(server->open);
        release_effects(sim, turn);
        turn_free(sim, turn);
        return;
    }
    sim_at(sim, (int64_t)sim_below(sim, 200), &commit_action, SIM_SERVER, server->turns++, NULL);
}

static void fire_due(struct sim *sim, struct sim_event *event)
{
    if (event->number != sim->server.due_number) { /* it has been set anew */
        sim_void(sim);
        return;
    }
    struct fl_core_event timer = {.kind = FL_CORE_EVENT_TIMER};
    sim->server.due_ms = INT64_MAX;
    sim_server_step(sim, &timer);
}

static void arm_timer(struct sim *sim)
{
    static const struct sim_action due = {"the core's timer", fire_due};
    enum { LONGEST_MS = 60 * 1000 };
    int64_t due_ms = fl_core_next_due(sim->server.core);
    if (due_ms == sim->server.due_ms || FL_BUG(21, due_ms != INT64_MAX, false))
        return; /* 21: the timer is never armed */
    sim->server.due_ms = due_ms;
    sim->server.due_number++;
    if (due_ms == INT64_MAX)
        return;
    int64_t wait_ms =
        FL_MIN(FL_MAX(due_ms - sim_server_wall_ms(sim), INT64_C(1)), (int64_t)LONGEST_MS);
    sim_at(sim, wait_ms * SIM_MS, &due, SIM_SERVER, sim->server.due_number, NULL);
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

static void take_effect(struct sim *sim, struct fl_core_effect *effect)
{
    switch (effect->kind) {
    case FL_CORE_EFFECT_REPLY:
        sim_answer(sim, (uint32_t)(effect->request_id >> 32), effect->request_id & UINT32_MAX,
                   answer_of(sim, effect));
        return;
    case FL_CORE_EFFECT_AGENT_TASK:
        sim_sessions_task(sim, effect);
        return;
    case FL_CORE_EFFECT_AGENT_MANIFEST:
    case FL_CORE_EFFECT_AGENT_STOP_LIST:
        sim_sessions_list(sim, effect);
        return;
    case FL_CORE_EFFECT_AGENT_CLOSE:
        sim_sessions_end(sim, effect);
        return;
    }
}

static void release_effects(struct sim *sim, struct sim_turn *turn)
{
    for (size_t i = 0; i < turn->turn.effect_count && !sim->ended; i++)
        take_effect(sim, &turn->turn.effects[i]);
    sim_sessions_flush(sim);
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
    disk->syncing = disk->waiting_count;
    us += ROW_US * (int64_t)disk->waiting_writes;
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
    if (!sim_sessions_hear(sim, message)) {
        struct sim_message *answer = sim_message_new(sim);
        answer->status = 400;
        answer->text = FL_STR("in use");
        sim_answer(sim, message->from, event->number, answer);
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
        sim_server_step(sim, &command);
}
const struct sim_action sim_server_call = {"a call arrives", fire_call};

/* ---- life and death ---- */

static struct fl_core *new_core(const struct sim *sim)
{
    struct fl_core_config config = {
        .region = FL_STR("eu-central-1"),
        .account = FL_STR("000000000000"),
        .endpoint = FL_STR("http://server/"),
        .settle_ms = sim->settle_ms,
        .lost_after_ms = sim->lost_after_ms,
        .strict = sim->is_strict,
    };
    return fl_core_new(&config);
}

static struct fl_core *load(struct sim *sim, const struct sim_disk *disk)
{
    struct fl_core *core = new_core(sim);
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
    server->since_ms = server->low_since_ms = server->last_ms = 0;
    if (server->life > 1)
        sim_audit_recovered(sim);
    else
        make_cluster(sim);
    arm_timer(sim);
    sim_at(sim, SIM_HEARTBEAT_US, &sim_server_heartbeat, SIM_SERVER, 0, NULL);
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
    sim_sessions_drop(sim);
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
