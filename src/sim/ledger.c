/* The ledger: every task that has ever been, as the core's records have it, as somebody was told,
 * and as it really is. */
#include "shapes/rec_shapes.h"
#include "sim/world.h"

uint64_t sim_key(struct fl_str id)
{
    uint64_t key = 0;
    for (size_t i = 0; i < FL_MIN(id.n, (size_t)16); i++) {
        char c = id.p[i];
        key = key << 4 | (uint64_t)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    return key;
}

uint64_t sim_hash(struct fl_str text)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < text.n; i++)
        hash = (hash ^ (uint8_t)text.p[i]) * UINT64_C(0x100000001b3);
    return hash;
}

/* ---- an index by key: open addressing, never more than half full ---- */

static size_t find_slot(const struct sim_index *index, uint64_t key)
{
    size_t at = (size_t)key & (index->cap - 1);
    while (index->slots[at].number && index->slots[at].key != key)
        at = (at + 1) & (index->cap - 1);
    return at;
}

static void grow(struct sim_index *index)
{
    struct sim_index old = *index;
    index->cap = FL_MAX(2 * old.cap, (size_t)256);
    index->slots = fl_calloc(index->cap, sizeof(*index->slots));
    for (size_t i = 0; i < old.cap; i++)
        if (old.slots[i].number)
            index->slots[find_slot(index, old.slots[i].key)] = old.slots[i];
    free(old.slots);
}

uint32_t sim_index_find(const struct sim_index *index, uint64_t key)
{
    return index->cap ? index->slots[find_slot(index, key)].number : 0;
}

void sim_index_add(struct sim_index *index, uint64_t key, size_t number)
{
    if (2 * number >= index->cap)
        grow(index);
    struct sim_slot *slot = &index->slots[find_slot(index, key)];
    *slot = (struct sim_slot){key, (uint32_t)number};
}

/* ---- tasks and instances ---- */

struct sim_task *sim_ledger_task(struct sim *sim, struct fl_str id)
{
    struct sim_ledger *ledger = &sim->ledger;
    uint64_t key = sim_key(id);
    uint32_t number = sim_index_find(&ledger->by_task, key);
    if (number)
        return &ledger->tasks[number - 1];
    if (ledger->task_count == ledger->task_cap) {
        ledger->task_cap = FL_MAX(2 * ledger->task_cap, (size_t)256);
        ledger->tasks = fl_realloc(ledger->tasks, ledger->task_cap * sizeof(*ledger->tasks));
    }
    struct sim_task *task = &ledger->tasks[ledger->task_count++];
    *task = (struct sim_task){.key = key, .instance = SIM_NOWHERE};
    memcpy(task->id, id.p, FL_MIN(id.n, sizeof(task->id) - 1));
    sim_index_add(&ledger->by_task, key, ledger->task_count);
    return task;
}

struct sim_instance *sim_ledger_instance(struct sim *sim, struct fl_str id)
{
    struct sim_ledger *ledger = &sim->ledger;
    uint64_t key = sim_key(id);
    uint32_t number = sim_index_find(&ledger->by_instance, key);
    if (number)
        return &ledger->instances[number - 1];
    if (ledger->instance_count == ledger->instance_cap) {
        ledger->instance_cap = FL_MAX(2 * ledger->instance_cap, (size_t)64);
        ledger->instances =
            fl_realloc(ledger->instances, ledger->instance_cap * sizeof(*ledger->instances));
    }
    struct sim_instance *instance = &ledger->instances[ledger->instance_count++];
    *instance = (struct sim_instance){.key = key, .host = SIM_NOWHERE};
    if (id.n)
        memcpy(instance->id, id.p, FL_MIN(id.n, sizeof(instance->id) - 1));
    sim_index_add(&ledger->by_instance, key, ledger->instance_count);
    return instance;
}

/* ---- what is shown ---- */

static void compare(struct sim *sim, const struct sim_task *task, const struct sim_shown *shown)
{
    bool is_older = shown->version < task->seen_version;
    if (is_older ? shown->status > task->seen_status : shown->status < task->seen_status)
        sim_violation(sim, "S4", "task %s: status %d in version %lld, %d in version %lld", task->id,
                      shown->status, (long long)shown->version, task->seen_status,
                      (long long)task->seen_version);
    if (shown->version == task->seen_version &&
        (shown->status != task->seen_status || shown->is_stopping != task->stop_is_seen ||
         shown->code != task->seen_code || shown->reason != task->seen_reason))
        sim_violation(sim, "S10", "task %s: two states of version %lld", task->id,
                      (long long)shown->version);
    if (!is_older && task->seen_code &&
        (shown->code != task->seen_code || shown->reason != task->seen_reason))
        sim_violation(sim, "S4", "task %s: its stop code or reason changes", task->id);
}

/* What was shown was durable; so it is still there. */
static void check_kept(struct sim *sim, const struct sim_task *task, const struct sim_shown *shown)
{
    if (!sim->server.up || task->drop_put)
        return;
    if (!task->exists)
        sim_violation(sim, "S1", "task %s was shown and is lost", task->id);
    else if (task->version < shown->version)
        sim_violation(sim, "S1", "task %s: version %lld was shown, %lld is what is left", task->id,
                      (long long)shown->version, (long long)task->version);
}

struct sim_task *sim_ledger_see(struct sim *sim, const struct sim_shown *shown)
{
    if (shown->id[0] == '\0' || shown->status < 0) {
        sim_violation(sim, "A1", "a task is shown that cannot be read");
        return NULL;
    }
    struct sim_task *task = sim_ledger_task(sim, fl_str_of(shown->id));
    if (!shown->is_well_told)
        sim_violation(sim, "D6", "task %s: its health is not that of its containers", task->id);
    check_kept(sim, task, shown);
    if (task->is_seen)
        compare(sim, task, shown);
    if (!task->is_seen || shown->version > task->seen_version) {
        task->seen_status = shown->status;
        task->seen_code = shown->code;
        task->seen_version = shown->version;
        task->seen_reason = shown->reason;
        task->stop_is_seen = shown->is_stopping;
    }
    task->is_seen = true;
    return task;
}

int sim_instance_status(struct fl_str text)
{
    static const char *const names[] = {[SIM_INSTANCE_ACTIVE] = "ACTIVE",
                                        [SIM_INSTANCE_DRAINING] = "DRAINING",
                                        [SIM_INSTANCE_INACTIVE] = "INACTIVE"};
    for (size_t i = 0; i < FL_ARRAY_SIZE(names); i++)
        if (fl_str_is(text, names[i]))
            return (int)i;
    return -1;
}

struct sim_instance *sim_ledger_see_instance(struct sim *sim,
                                             const struct sim_shown_instance *shown)
{
    struct sim_instance *instance = sim_ledger_instance(sim, fl_str_of(shown->id));
    if (shown->status < 0)
        sim_violation(sim, "A1", "instance %s is shown in a state that there is not", shown->id);
    if (sim->server.up && !instance->drop_put &&
        (!instance->exists || instance->version < shown->version))
        sim_violation(sim, "S1", "instance %s: version %lld was shown and is lost", shown->id,
                      (long long)shown->version);
    if (shown->version == instance->seen_version && shown->status != (int)instance->seen_status)
        sim_violation(sim, "S10", "instance %s: two states of version %lld", shown->id,
                      (long long)shown->version);
    if (shown->version > instance->seen_version) {
        if (instance->seen_version && instance->seen_status == SIM_INSTANCE_INACTIVE &&
            shown->status != SIM_INSTANCE_INACTIVE)
            sim_violation(sim, "S4", "instance %s: it was INACTIVE and is not", shown->id);
        instance->seen_version = shown->version;
        instance->seen_status = (enum sim_instance_status)shown->status;
    }
    return instance;
}

void sim_ledger_free(struct sim *sim)
{
    free(sim->ledger.tasks);
    free(sim->ledger.by_task.slots);
    free(sim->ledger.by_instance.slots);
    free(sim->ledger.instances);
}
