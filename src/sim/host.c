/* A host's agent: the brain, its turns and its store, by the rules of src/agent/agent_turn.c; and
 * how agent and machine die and come back. */
#include "sim/world.h"

#include <stdio.h>

enum { STOP_TIMEOUT_MS = 10 * 1000, CLEANUP_DELAY_MS = 30 * 1000, AUDITED_TURNS = 16 };

int64_t sim_host_mono_ms(const struct sim *sim, const struct sim_host *host)
{
    int64_t us = sim->now_us - host->booted_us;
    return (us + us * host->drift_ppm / 1000000) / SIM_MS + 1;
}

int64_t sim_host_wall_ms(const struct sim *sim, const struct sim_host *host)
{
    return sim_wall_ms(sim) + host->clock_ms;
}

int32_t sim_host_cpu(const struct sim_host *host)
{
    return 1000 * (int32_t)(host->index % 3 + 1);
}

/* ---- effects ---- */

bool sim_host_has_manifests(const struct sim_host *host)
{
    return host->index % 3 > 0;
}

bool sim_host_pulls_upfront(const struct sim_host *host)
{
    return host->index % 4 == 3;
}

static void carry_out(struct sim *sim, struct sim_host *host, struct fl_effect *effect)
{
    switch (effect->type) {
    case FL_EFFECT_ENSURE_IMAGE:
        sim_runtime_ensure_image(sim, host, effect->container_id);
        return;
    case FL_EFFECT_PREPARE:
        sim_runtime_prepare(sim, host, effect->container_id);
        return;
    case FL_EFFECT_LAUNCH:
        sim_runtime_launch(sim, host, effect->container_id);
        return;
    case FL_EFFECT_ADOPT:
        sim_runtime_adopt(sim, host, effect->container_id);
        return;
    case FL_EFFECT_SIGNAL:
        sim_runtime_signal(sim, host, effect->container_id, (int)effect->number);
        return;
    case FL_EFFECT_CHECK_HEALTH:
        sim_runtime_check(sim, host, effect->container_id);
        return;
    case FL_EFFECT_RELEASE:
        sim_runtime_release(sim, host, effect->container_id);
        return;
    case FL_EFFECT_REPORT:
        sim_report_send(sim, host, effect);
        return;
    case FL_EFFECT_ACK:
        sim_session_send_ack(sim, host, effect->header.message_id);
        return;
    case FL_EFFECT_STOP_VERIFICATION:
        sim_session_verify(sim, host, effect);
        return;
    case FL_EFFECT_REMOVE:
        sim_runtime_remove(sim, host, effect->task_arn);
        return;
    }
}

/* ---- turns ---- */

static void *take_report(void *context, const struct ecs_SubmitTaskStateChangeRequest *report)
{
    struct sim_message *call = sim_message_new(context);
    sim_message_ask(context, call, ECS_OP_SubmitTaskStateChange,
                    fl_shape_copy(&ecs_shape_SubmitTaskStateChangeRequest, report, call->arena));
    return call;
}

static void free_task(void *task)
{
    fl_task_free(task);
}

static void *take_task(FL_UNUSED void *context, const struct fl_task *task)
{
    return sim_value_object(0, fl_task_copy(task), free_task);
}

/* From a disk's record, text or not. */
int sim_host_load(struct fl_brain *brain, const struct sim_record *record, struct fl_err *err)
{
    if (!record->value->object)
        return fl_brain_load(brain, record->key, record->value->text, err);
    fl_brain_load_task(brain, record->value->object);
    return 0;
}

void sim_hosts_init(struct sim *sim)
{
    sim->brain_taker = (struct fl_brain_taker){take_report, take_task, sim};
}

static struct sim_host_turn *turn_new(struct sim *sim)
{
    struct sim_host_turn *turn = sim->free_turns;
    if (turn) {
        sim->free_turns = turn->next_free;
    } else {
        turn = fl_calloc(1, sizeof(*turn));
        turn->arena = fl_arena_new();
    }
    turn->epoch = 0;
    turn->brain = (struct fl_brain_turn){.arena = turn->arena,
                                         .taker = sim->codecs ? NULL : &sim->brain_taker};
    return turn;
}

static void turn_free(struct sim *sim, struct sim_host_turn *turn)
{
    for (size_t i = 0; i < turn->commit.count; i++)
        sim_value_release(turn->commit.writes[i].value);
    for (size_t i = 0; i < turn->brain.record_count; i++)
        sim_value_release(turn->brain.records[i].object);
    for (struct fl_effect *effect = turn->brain.first; effect; effect = effect->next)
        sim_message_free(sim, effect->object);
    turn->commit.count = 0;
    fl_arena_reset(turn->arena);
    turn->next_free = sim->free_turns;
    sim->free_turns = turn;
}

void sim_hosts_end(struct sim *sim)
{
    struct sim_host_turn *turn;
    while ((turn = sim->free_turns) != NULL) {
        sim->free_turns = turn->next_free;
        fl_arena_free(turn->arena);
        free(turn->commit.writes);
        free(turn);
    }
}

static void make_commit(struct sim_host_turn *turn)
{
    size_t count = turn->brain.record_count;
    if (count > turn->write_cap) {
        turn->write_cap = FL_MAX(2 * turn->write_cap, count);
        turn->commit.writes =
            fl_realloc(turn->commit.writes, turn->write_cap * sizeof(*turn->commit.writes));
    }
    for (size_t i = 0; i < count; i++) {
        struct fl_brain_record *record = &turn->brain.records[i];
        struct sim_value *value = FL_TAKE_PTR(record->object);
        if (!value && record->value.n)
            value = sim_value_text(record->value);
        turn->commit.writes[i] = (struct sim_write){record->key, value};
    }
    turn->commit.count = count;
}

static void release_effects(struct sim *sim, struct sim_host *host, struct sim_host_turn *turn)
{
    host->epoch = FL_MAX(host->epoch, turn->epoch);
    for (struct fl_effect *effect = turn->brain.first; effect && !sim->ended; effect = effect->next)
        carry_out(sim, host, effect);
}

static void start_sync(struct sim *sim, struct sim_host *host);

static void fire_synced(struct sim *sim, struct sim_event *event)
{
    struct sim_host *host = &sim->hosts[event->who];
    size_t count = host->disk.syncing;
    if (host->disk.full) {
        sim_note(sim, "the disk is full", host->index, 0);
        sim_host_kill(sim, host);
        return;
    }
    host->disk.syncing = 0;
    for (size_t i = 0; i < count; i++) {
        struct sim_host_turn *turn = (struct sim_host_turn *)sim_disk_apply(&host->disk);
        if (!FL_BUG(4, true, false))
            release_effects(sim, host, turn);
        turn_free(sim, turn);
    }
    start_sync(sim, host);
}

static void start_sync(struct sim *sim, struct sim_host *host)
{
    static const struct sim_action synced = {"the disk has synced", fire_synced};
    if (host->disk.syncing || host->disk.waiting_count == 0)
        return;
    int64_t us = sim_about(sim, sim->knobs.sync_us);
    if (sim_fault(sim, sim->knobs.slow_sync))
        us += (int64_t)sim_below(sim, 3 * SIM_SECOND);
    host->disk.syncing = host->disk.waiting_count;
    sim_at(sim, us, &synced, host->index, host->disk.syncing, NULL);
}

static void fire_due(struct sim *sim, struct sim_event *event)
{
    struct sim_host *host = &sim->hosts[event->who];
    struct fl_brain_event timer = {.type = FL_EVENT_TIMER};
    if (event->number != host->due_number) {
        sim_void(sim);
        return;
    }
    host->due_ms = INT64_MAX;
    (void)sim_host_post(sim, host, &timer);
}

static void set_due(struct sim *sim, struct sim_host *host)
{
    static const struct sim_action due = {"the brain's timer", fire_due};
    int64_t due_ms = fl_brain_next_due(host->brain);
    if (due_ms == host->due_ms)
        return;
    host->due_ms = due_ms;
    host->due_number++;
    if (due_ms == INT64_MAX)
        return;
    int64_t wait_ms = FL_MAX(due_ms - sim_host_mono_ms(sim, host), INT64_C(0));
    sim_at(sim, wait_ms * SIM_MS + SIM_MS, &due, host->index, host->due_number, NULL);
}

/* One turn in so many; it changes nothing of what happens. */
static void audit_now_and_then(struct sim *sim, const struct sim_host *host)
{
    if (fl_rand_below(&sim->samples, AUDITED_TURNS) == 0)
        sim_audit_overdue(sim, host);
}

static void fire_commit(struct sim *sim, struct sim_event *event)
{
    struct sim_host *host = &sim->hosts[event->who];
    struct sim_host_turn *turn = FL_TAKE_PTR(host->open);
    audit_now_and_then(sim, host);
    fl_brain_flush(host->brain, &turn->brain);
    set_due(sim, host);
    if (turn->brain.record_count == 0 && !turn->brain.first) {
        turn_free(sim, turn);
        return;
    }
    make_commit(turn);
    sim_disk_append(&host->disk, &turn->commit);
    if (FL_BUG(4, true, false)) /* effects before their records are durable */
        release_effects(sim, host, turn);
    start_sync(sim, host);
}

static struct sim_host_turn *open_turn(struct sim *sim, struct sim_host *host)
{
    static const struct sim_action commit = {"the agent commits", fire_commit};
    if (host->open)
        return host->open;
    host->open = turn_new(sim);
    sim_at(sim, (int64_t)sim_below(sim, 500), &commit, host->index, 0, NULL);
    return host->open;
}

bool sim_host_post(struct sim *sim, struct sim_host *host, struct fl_brain_event *event)
{
    struct sim_host_turn *turn = open_turn(sim, host);
    event->now_ms = sim_host_mono_ms(sim, host);
    event->wall_ms = sim_host_wall_ms(sim, host);
    if (event->type == FL_EVENT_PAYLOAD)
        sim_seed(sim, event->random);
    const struct fl_effect *last = turn->brain.last;
    bool obeyed = fl_brain_step(host->brain, event, &turn->brain);
    sim_audit_effects(sim, host, last ? last->next : turn->brain.first);
    if (!obeyed || event->type != FL_EVENT_PAYLOAD)
        return obeyed;
    uint64_t epoch = fl_acs_seq_epoch(event->payload.header.seq);
    if (epoch < host->epoch)
        sim_violation(sim, "S7", "host %u obeys epoch %llu after %llu", host->index,
                      (unsigned long long)epoch, (unsigned long long)host->epoch);
    turn->epoch = FL_MAX(turn->epoch, epoch);
    return true;
}

/* ---- life and death ---- */

uint64_t sim_host_nonce(const struct sim_host *host)
{
    return (uint64_t)host->index << 32 | host->life;
}

void sim_host_instance_id(const struct sim_host *host, char ret_id[SIM_ID])
{
    const char *from = host->client_token;
    struct fl_str id = fl_task_id(fl_str_of(host->instance_arn));
    size_t n = 0;
    if (id.n)
        n = FL_MIN(id.n, (size_t)SIM_ID - 1), memcpy(ret_id, id.p, n);
    for (; id.n == 0 && *from; from++)
        if (*from != '-')
            ret_id[n++] = *from;
    ret_id[n] = '\0';
}

static void make_token(struct sim *sim, struct sim_host *host)
{
    uint64_t high = fl_rand_u64(&sim->rand), low = fl_rand_u64(&sim->rand);
    (void)snprintf(host->client_token, sizeof(host->client_token), "%08x-%04x-4%03x-8%03x-%012llx",
                   (unsigned)(high >> 32), (unsigned)(high >> 16 & 0xffff),
                   (unsigned)(high & 0xfff), (unsigned)(low >> 48 & 0xfff),
                   (unsigned long long)(low & UINT64_C(0xffffffffffff)));
}

void sim_host_renew_identity(struct sim *sim, struct sim_host *host)
{
    if (host->instance_arn[0]) {
        struct fl_str arn = fl_str_of(host->instance_arn);
        struct sim_instance *instance = sim_ledger_instance(sim, fl_task_id(arn));
        if (instance->host == host->index)
            instance->host = SIM_NOWHERE;
    }
    host->instance_arn[0] = '\0';
    make_token(sim, host);
    sim->identity_count++;
}

/* A new data directory has a new identity. */
static void make_identity(struct sim *sim, struct sim_host *host)
{
    sim_host_renew_identity(sim, host);
    host->machine = host->index;
}

/* What a copied data directory says is true on another machine alone: kept, it would be reported as
 * the end of that one's tasks. */
static void drop_foreign(struct sim *sim, struct sim_host *host)
{
    sim_note(sim, "the data directory is another machine's", host->index, host->machine);
    sim_disk_wipe(&host->disk);
    host->instance_arn[0] = '\0'; /* it is still the other's */
    make_identity(sim, host);
}

static void fire_start(struct sim *sim, struct sim_event *event)
{
    struct sim_host *host = &sim->hosts[event->who];
    if (!host->up && !host->is_gone)
        sim_host_start(sim, host);
}
const struct sim_action sim_host_start_action = {"an agent starts", fire_start};

void sim_host_init(struct sim *sim, struct sim_host *host, uint32_t index)
{
    host->index = index;
    host->boot = 1;
    make_identity(sim, host);
    host->drift_ppm = sim->config.calm ? 0 : (int64_t)sim_below(sim, 100000) - 50000;
    sim_disk_init(&host->disk);
    TAILQ_INIT(&host->reports);
    sim_report_forget(sim, host);
    bool is_late = sim_chance(sim, 150); /* it joins while others work */
    int64_t within_us = is_late ? sim->load_until_us : 5 * SIM_SECOND;
    sim_at_any(sim, (int64_t)sim_below(sim, (uint64_t)within_us), &sim_host_start_action, index, 0,
               NULL);
}

void sim_host_start(struct sim *sim, struct sim_host *host)
{
    char boot_id[40];
    struct fl_err err;
    struct fl_brain_event boot = {.type = FL_EVENT_BOOT};
    if (host->disk.full) {
        sim_at_any(sim, sim_about(sim, 5 * SIM_SECOND), &sim_host_start_action, host->index, 0,
                   NULL);
        return;
    }
    if (FL_BUG(35, false, host->machine != host->index)) /* 35: a copy passes for the original */
        drop_foreign(sim, host);
    host->life++;
    host->up = true;
    host->was_registered = false;
    host->due_ms = INT64_MAX;
    host->brain =
        fl_brain_new(&(struct fl_brain_config){.stop_timeout_ms = STOP_TIMEOUT_MS,
                                               .cleanup_delay_ms = CLEANUP_DELAY_MS,
                                               .pull_upfront = sim_host_pulls_upfront(host)});
    for (const struct sim_record *at = NULL; (at = sim_disk_next(&host->disk, at));)
        if (sim_host_load(host->brain, at, &err) < 0)
            sim_violation(sim, "S11", "host %u: a record of ours is refused: %s", host->index,
                          err.text);
    host->started_us = sim->now_us;
    sim_audit_boot(sim, host);
    (void)snprintf(boot_id, sizeof(boot_id), "boot-%u-%u", host->index, host->boot);
    boot.boot.boot_id = fl_str_of(boot_id);
    (void)sim_host_post(sim, host, &boot);
    sim_session_start(sim, host);
}

static void crash_disk(struct sim *sim, struct sim_host *host)
{
    struct sim_disk *disk = &host->disk;
    bool is_kept = !disk->full && !sim->ended && sim_chance(sim, 500);
    size_t kept = is_kept ? disk->syncing : 0;
    struct sim_commit *commit;
    while ((commit = kept ? sim_disk_apply(disk) : sim_disk_lose(disk)) != NULL) {
        turn_free(sim, (struct sim_host_turn *)commit);
        kept -= kept > 0;
    }
    disk->syncing = 0;
}

static void break_connection(struct sim *sim, struct sim_host *host)
{
    if (host->connection && !sim->ended && sim_chance(sim, 700))
        sim_at_any(sim, (int64_t)sim_below(sim, SIM_SECOND), &sim_server_closed, SIM_SERVER,
                   host->connection, NULL);
    host->connection = 0;
}

static void die(struct sim *sim, struct sim_host *host)
{
    if (!host->up)
        return;
    host->up = false;
    host->life++;
    host->frozen_us = 0;
    break_connection(sim, host);
    sim_runtime_forget(host);
    sim_report_forget(sim, host);
    if (host->open)
        turn_free(sim, FL_TAKE_PTR(host->open));
    crash_disk(sim, host);
    fl_brain_free(FL_TAKE_PTR(host->brain));
    sim->result->restarts++;
}

void sim_host_kill(struct sim *sim, struct sim_host *host)
{
    die(sim, host);
    sim_at_any(sim, 20 * SIM_MS + (int64_t)sim_below(sim, 20 * SIM_SECOND), &sim_host_start_action,
               host->index, 0, NULL);
}

void sim_host_reboot(struct sim *sim, struct sim_host *host)
{
    die(sim, host);
    sim_runtime_die(sim, host);
    host->boot++;
    host->booted_us = sim->now_us;
    sim_at_any(sim, SIM_SECOND + (int64_t)sim_below(sim, 60 * SIM_SECOND), &sim_host_start_action,
               host->index, 0, NULL);
}

void sim_host_lose(struct sim *sim, struct sim_host *host)
{
    char id[SIM_ID];
    die(sim, host);
    sim_runtime_die(sim, host);
    host->is_gone = true;
    sim_host_instance_id(host, id); /* it may be registered, and not have learned of it */
    sim_ledger_instance(sim, fl_str_of(id))->machine = host->index;
}

/* Installed anew: nothing of what it was is left, and the control plane sees another instance. */
void sim_host_wipe(struct sim *sim, struct sim_host *host)
{
    sim_host_reboot(sim, host);
    sim_disk_wipe(&host->disk);
    make_identity(sim, host);
    host->epoch = 0;
    host->last_seq = 0;
    sim_message_free(sim, FL_TAKE_PTR(host->old_frame));
}

void sim_host_clone(struct sim *sim, struct sim_host *host, const struct sim_host *from)
{
    sim_host_wipe(sim, host);
    for (const struct sim_record *at = NULL; (at = sim_disk_next(&from->disk, at));)
        sim_disk_write(&host->disk, at->key, at->value);
    memcpy(host->instance_arn, from->instance_arn, sizeof(host->instance_arn));
    memcpy(host->client_token, from->client_token, sizeof(host->client_token));
    host->machine = from->machine;
}

void sim_host_free(struct sim *sim, struct sim_host *host)
{
    sim->ended = true;
    die(sim, host);
    sim_runtime_die(sim, host);
    sim_disk_wipe(&host->disk);
    sim_message_free(sim, host->old_frame);
}
