/* The invariants. After every step what the step changed is checked; now and then everything is,
 * and a second core and second brains are made of the records alone and compared. */
#include <stdio.h>

#include "sim/core_view.h"
#include "sim/world.h"
#include "task/record.h"

enum {
    STOPPED = REC_TaskStatus_STOPPED,
    SAMPLED_HOSTS = 40,
    SAMPLED_BRAINS = 3,
    SAMPLED_TASKS = 60,
    SAMPLED_SERVICES = 5,
    PATIENCE_MS = 3 * 60 * 1000
};

/* What is looked at does not change what happens: samples have a stream of their own. */
static size_t sample(struct sim *sim, size_t count)
{
    return (size_t)fl_rand_below(&sim->samples, count);
}

static int code_of(const struct rec_Task *rec)
{
    return FL_HAS(rec, rec_Task, stopCode) ? (int)rec->stopCode + 1 : 0;
}

/* ---- the shadow of the core's records ---- */

static void hold(struct sim *sim, const struct sim_task *task, int sign)
{
    if (task->instance == SIM_NOWHERE || task->status == STOPPED)
        return;
    struct sim_instance *instance = &sim->ledger.instances[task->instance];
    instance->cpu_used += sign * task->cpu;
    instance->memory_used += sign * task->memory;
    if (instance->cpu_used > instance->cpu || instance->memory_used > instance->memory)
        sim_violation(sim, "S3", "instance %s: %lld of %lld CPU, %lld of %lld MiB are given away",
                      instance->id, (long long)instance->cpu_used, (long long)instance->cpu,
                      (long long)instance->memory_used, (long long)instance->memory);
}

static void take_record(struct sim *sim, struct sim_task *task, const struct rec_Task *rec)
{
    task->exists = true;
    task->status = (int)rec->status;
    task->desired = (int)rec->desired;
    task->code = code_of(rec);
    task->reason = sim_hash(rec->stoppedReason);
    task->version = rec->version;
    task->stopped_ms = rec->stoppedAt;
    task->cpu = rec->cpu;
    task->memory = rec->memory;
    task->stop_put |= rec->desired == REC_TaskStatus_STOPPED;
    task->instance = (uint32_t)(sim_ledger_instance(sim, rec->instance) - sim->ledger.instances);
    hold(sim, task, 1);
    sim_service_member(sim, task, rec);
}

static void check_step(struct sim *sim, const struct sim_task *task, const struct rec_Task *rec)
{
    if (rec->version <= task->version)
        sim_violation(sim, "S10", "task %s: version %lld after %lld", task->id,
                      (long long)rec->version, (long long)task->version);
    if (task->status == STOPPED || (int)rec->status < task->status)
        sim_violation(sim, "S4", "task %s: status %d after %d", task->id, (int)rec->status,
                      task->status);
    if ((int)rec->desired < task->desired)
        sim_violation(sim, "S4", "task %s: it is wanted again", task->id);
    if (task->code && (code_of(rec) != task->code || sim_hash(rec->stoppedReason) != task->reason))
        sim_violation(sim, "S4", "task %s: its stop code or reason is set twice", task->id);
    if (rec->status == REC_TaskStatus_STOPPED && code_of(rec) == 0)
        sim_violation(sim, "S4", "task %s: stopped without a stop code", task->id);
    if (FL_HAS(rec, rec_Task, stopCode) && rec->stopCode == ECS_TaskStopCode_TerminationNotice &&
        sim->ledger.instances[task->instance].host != SIM_NOWHERE)
        sim_violation(sim, "L5", "task %s: its host is said to have lost it, and has not",
                      task->id);
}

/* A task is given to an instance that takes tasks, and whose agent is there. */
static void check_place(struct sim *sim, const struct sim_task *task, const struct rec_Task *rec)
{
    struct sim_core_instance at;
    if (!sim_core_instance(sim->server.core, rec->instance, &at) || !at.connected)
        sim_violation(sim, "S9", "task %s is placed where no agent is", task->id);
    else if (!fl_str_is(at.rec->status, "ACTIVE"))
        sim_violation(sim, "S9", "task %s is placed on an instance that is %.*s", task->id,
                      FL_STR_ARG(at.rec->status));
}

/* In the step that made it the task of a service, or of its hook, may be given up, too: its rollout
 * goes on. */
static int64_t most_steps(const struct rec_Task *rec)
{
    return fl_str_starts(rec->group, FL_STR("service")) ? 2 : 1;
}

static void put_task(struct sim *sim, struct fl_str id, int64_t now_ms)
{
    const struct rec_Task *rec = sim_core_task(sim->server.core, id);
    struct sim_task *task = sim_ledger_task(sim, id);
    if (!rec) {
        sim_violation(sim, "S11", "task %s has a record and is not there", task->id);
        return;
    }
    struct sim_task before = *task;
    if (task->exists) {
        check_step(sim, task, rec);
        hold(sim, task, -1);
    } else if (rec->version > most_steps(rec) || task->drop_put) {
        sim_violation(sim, "S10", "task %s begins with version %lld", task->id,
                      (long long)rec->version);
    } else {
        check_place(sim, task, rec);
        sim->ledger.live++;
    }
    take_record(sim, task, rec);
    if (task->service)
        sim_audit_member(sim, before.exists ? &before : NULL, task, now_ms);
}

static void drop_task(struct sim *sim, struct fl_str id, int64_t now_ms)
{
    struct sim_task *task = sim_ledger_task(sim, id);
    if (!task->exists || task->status != STOPPED ||
        task->stopped_ms + FL_CORE_STOPPED_TASK_MS > now_ms)
        sim_violation(sim, "S1", "task %s is forgotten too early", task->id);
    task->exists = false;
    task->drop_put = true;
    sim->ledger.live--;
}

static void take_instance(struct sim_instance *instance, const struct rec_Instance *rec)
{
    instance->exists = true;
    instance->cpu = rec->cpu;
    instance->memory = rec->memory;
    instance->status = (enum sim_instance_status)sim_instance_status(rec->status);
    instance->version = rec->version;
    instance->inactive_ms = rec->deregisteredAt;
}

static void put_instance(struct sim *sim, struct fl_str id)
{
    struct sim_core_instance at;
    struct sim_instance *instance = sim_ledger_instance(sim, id);
    if (!sim_core_instance(sim->server.core, id, &at))
        return;
    if (instance->drop_put && at.rec->version == 1) { /* a late copy of its first registration */
        instance->drop_put = instance->leave_asked = false;
        instance->seen_version = 0;
        instance->status = SIM_INSTANCE_ACTIVE;
    }
    if (instance->drop_put || (instance->exists && at.rec->version <= instance->version))
        sim_violation(sim, "S10", "instance %s: version %lld after %lld", instance->id,
                      (long long)at.rec->version, (long long)instance->version);
    if (instance->exists && instance->status == SIM_INSTANCE_INACTIVE &&
        !fl_str_is(at.rec->status, "INACTIVE"))
        sim_violation(sim, "S4", "instance %s: it was INACTIVE and is not", instance->id);
    if (instance->status != SIM_INSTANCE_INACTIVE && fl_str_is(at.rec->status, "INACTIVE"))
        instance->inactive_us = sim->now_us;
    take_instance(instance, at.rec);
}

static void drop_instance(struct sim *sim, struct fl_str id, int64_t now_ms)
{
    struct sim_instance *instance = sim_ledger_instance(sim, id);
    if (!instance->exists || instance->status != SIM_INSTANCE_INACTIVE ||
        instance->inactive_ms + FL_CORE_INACTIVE_INSTANCE_MS > now_ms)
        sim_violation(sim, "S1", "instance %s is forgotten too early", instance->id);
    instance->exists = false;
    instance->drop_put = true;
}

static bool comes_again(const struct fl_turn *turn, size_t i)
{
    for (size_t k = i + 1; k < turn->record_count; k++)
        if (fl_str_eq(turn->records[k].key, turn->records[i].key))
            return true;
    return false;
}

void sim_audit_records(struct sim *sim, const struct fl_turn *turn, size_t from, int64_t now_ms)
{
    for (size_t i = from; i < turn->record_count; i++) {
        struct fl_str key = turn->records[i].key;
        struct fl_str id = fl_str_from(key, (size_t)fl_str_rindex(key, '/') + 1);
        bool is_drop = turn->records[i].value.n == 0 && !turn->records[i].object;
        bool is_last = key.p[0] != 'c' && key.p[0] != 'd' && !comes_again(turn, i);
        if (key.p[0] == 'i' && is_drop)
            drop_instance(sim, id, now_ms);
        else if (key.p[0] == 'i' && is_last)
            put_instance(sim, id);
        else if (key.p[0] == 't' && is_drop)
            drop_task(sim, id, now_ms);
        else if (key.p[0] == 't' && is_last)
            put_task(sim, id, now_ms);
        else if (key.p[0] == 'm' && is_drop && comes_again(turn, i))
            sim_audit_service_again(sim, key);
        else if (memchr("mnor", key.p[0], 4) && (is_drop || is_last))
            sim_audit_service_record(sim, key, is_drop, now_ms);
    }
    sim_audit_bounds(sim, now_ms);
}

/* ---- recovery ---- */

static void check_promise(struct sim *sim, const struct sim_task *task)
{
    if (!task->is_seen || (!task->exists && task->drop_put))
        return;
    if (!task->exists)
        sim_violation(sim, "S1", "task %s was shown and is lost", task->id);
    else if (task->version < task->seen_version || task->status < task->seen_status)
        sim_violation(sim, "S1", "task %s: version %lld was shown, %lld is what is left", task->id,
                      (long long)task->seen_version, (long long)task->version);
    else if (task->stop_is_seen && task->desired != STOPPED)
        sim_violation(sim, "S1", "task %s: its stop was acknowledged and is lost", task->id);
}

static void check_instance_promise(struct sim *sim, const struct sim_instance *instance)
{
    if (instance->seen_version == 0 || instance->drop_put)
        return;
    if (!instance->exists || instance->version < instance->seen_version)
        sim_violation(sim, "S1", "instance %s: version %lld was shown, %lld is what is left",
                      instance->id, (long long)instance->seen_version,
                      (long long)instance->version);
}

static void check_definitions(struct sim *sim)
{
    char family[16];
    for (int i = 0; i < SIM_ALL_FAMILIES; i++) {
        (void)snprintf(family, sizeof(family), "f%d", i);
        int32_t latest = sim_core_latest_revision(sim->server.core, fl_str_of(family));
        if (latest < sim->ledger.revision_seen[i])
            sim_violation(sim, "S1", "definition %s:%d was acknowledged and is lost", family,
                          sim->ledger.revision_seen[i]);
    }
}

void sim_audit_recovered(struct sim *sim)
{
    struct sim_ledger *ledger = &sim->ledger;
    struct sim_core_instance at = {0};
    sim_audit_services_recovered(sim);
    for (size_t i = 0; i < ledger->task_count; i++) {
        ledger->tasks[i].exists = false;
        ledger->tasks[i].service = 0;
    }
    for (size_t i = 0; i < ledger->instance_count; i++) {
        ledger->instances[i].exists = false;
        ledger->instances[i].away_ms = ledger->instances[i].low_ms = 0;
        ledger->instances[i].cpu_used = ledger->instances[i].memory_used = 0;
    }
    while (sim_core_next_instance(sim->server.core, &at))
        take_instance(sim_ledger_instance(sim, at.rec->id), at.rec);
    ledger->live = 0;
    for (const struct rec_Task *rec = NULL; (rec = sim_core_next_task(sim->server.core, rec));) {
        ledger->live++;
        take_record(sim, sim_ledger_task(sim, rec->id), rec);
    }
    for (size_t i = 0; i < ledger->task_count; i++)
        check_promise(sim, &ledger->tasks[i]);
    for (size_t i = 0; i < ledger->instance_count; i++)
        check_instance_promise(sim, &ledger->instances[i]);
    for (size_t i = 0; i < sim->host_count; i++) {
        struct fl_str arn = fl_str_of(sim->hosts[i].instance_arn);
        const struct sim_instance *its = arn.n ? sim_ledger_instance(sim, fl_task_id(arn)) : NULL;
        if (its && !its->exists && !its->drop_put)
            sim_violation(sim, "S1", "host %zu: its registration was acknowledged and is lost", i);
    }
    check_definitions(sim);
}

/* ---- everything ---- */

/* The core has what the host said of itself, and knows whether its agent is there. */
static void check_host_of(struct sim *sim, const struct sim_instance *instance,
                          const struct sim_core_instance *at)
{
    bool is_inactive = instance->status == SIM_INSTANCE_INACTIVE; /* its session is being closed */
    if (is_inactive && sim->now_us - instance->inactive_us > PATIENCE_MS * SIM_MS &&
        sim_server_has_session(sim, fl_str_of(instance->id)))
        sim_violation(sim, "L3", "instance %s is INACTIVE, and its agent is still connected",
                      instance->id);
    if (!is_inactive && at->connected != sim_server_has_session(sim, fl_str_of(instance->id)))
        sim_violation(sim, "S8", "instance %s: the core believes the agent %s", instance->id,
                      at->connected ? "connected" : "away");
    if (instance->host != SIM_NOWHERE && at->rec->cpu != sim_host_cpu(&sim->hosts[instance->host]))
        sim_violation(sim, "S3", "instance %s: %d CPU, which its host has not", instance->id,
                      at->rec->cpu);
}

static void check_instances(struct sim *sim)
{
    struct sim_core_instance at = {0};
    size_t count = fl_core_count(sim->server.core).instances;
    if (count > sim->identity_count)
        sim_violation(sim, "S5", "%zu instances, and no more than %zu hosts have ever been", count,
                      sim->identity_count);
    while (sim_core_next_instance(sim->server.core, &at)) {
        const struct sim_instance *mine = sim_ledger_instance(sim, at.rec->id);
        if (at.cpu_used != mine->cpu_used || at.memory_used != mine->memory_used)
            sim_violation(sim, "S3",
                          "instance %s: the core counts %lld CPU and %lld MiB, its "
                          "tasks make %lld and %lld",
                          mine->id, (long long)at.cpu_used, (long long)at.memory_used,
                          (long long)mine->cpu_used, (long long)mine->memory_used);
        check_host_of(sim, mine, &at);
        if (mine->status == SIM_INSTANCE_INACTIVE && at.task_count)
            sim_violation(sim, "S9", "instance %s is INACTIVE, and %zu tasks are on it", mine->id,
                          at.task_count);
    }
}

static int order_ports(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

/* No host port is given away twice. */
static void check_ports(struct sim *sim)
{
    FL_CLEANUP_FREE uint64_t *held = NULL;
    size_t count = 0, cap = 0;
    for (const struct rec_Task *rec = NULL; (rec = sim_core_next_task(sim->server.core, rec));) {
        const struct sim_task *task = sim_ledger_task(sim, rec->id);
        for (size_t i = 0; rec->status != REC_TaskStatus_STOPPED && i < rec->ports.n; i++) {
            if (count == cap)
                held = fl_realloc(held, (cap = FL_MAX(2 * cap, (size_t)64)) * sizeof(*held));
            held[count++] = (uint64_t)task->instance << 32 | (uint32_t)rec->ports.items[i];
        }
    }
    if (count)
        qsort(held, count, sizeof(*held), order_ports);
    for (size_t i = 1; i < count; i++)
        if (held[i] == held[i - 1])
            sim_violation(sim, "S3", "instance %s: host port %u is held twice",
                          sim->ledger.instances[held[i] >> 32].id,
                          (unsigned)(held[i] & 0xffff) / 2);
}

/* The tasks that carry a token are those of one call. */
static void check_tokens(struct sim *sim)
{
    uint64_t index;
    for (size_t i = 0; i < sim->clients.count; i++)
        sim->clients.operations[i].live = 0;
    for (const struct rec_Task *rec = NULL; (rec = sim_core_next_task(sim->server.core, rec));) {
        if (rec->clientToken.n == 0 || !fl_str_to_u64(fl_str_from(rec->clientToken, 1), &index))
            continue;
        struct sim_operation *operation = &sim->clients.operations[index];
        bool is_known = operation->placed == 0; /* it has left no token */
        if (operation->placed && !sim_token_lives(sim, operation))
            continue; /* the token was forgotten and has been used again */
        for (size_t k = 0; k < operation->placed && !is_known; k++)
            is_known = fl_str_is(rec->id, sim->ledger.tasks[operation->tasks[k]].id);
        if (!is_known || ++operation->live > operation->count)
            sim_violation(
                sim, "S5", "token %.*s has made task %s; its call was told of %u others of %u",
                FL_STR_ARG(rec->clientToken), rec->id.p, operation->placed, operation->count);
    }
}

static struct fl_str ask(struct sim *sim, struct fl_core *core, int operation, const void *input,
                         struct fl_turn *turn)
{
    struct fl_core_event event = {
        .kind = FL_CORE_EVENT_COMMAND,
        .now_ms = sim_server_wall_ms(sim),
        .operation = operation,
        .input = input,
    };
    fl_core_step(core, &event, turn);
    return turn->effects[turn->effect_count - 1].body;
}

static void compare_answers(struct sim *sim, struct fl_core *other, int operation,
                            const void *input)
{
    struct fl_turn a, b;
    fl_turn_init(&a);
    fl_turn_init(&b);
    struct fl_str live = ask(sim, sim->server.core, operation, input, &a);
    struct fl_str loaded = ask(sim, other, operation, input, &b);
    if (!fl_str_eq(live, loaded))
        sim_violation(sim, "S11", "the core says %.*s, a recovered one %.*s",
                      (int)FL_MIN(live.n, (size_t)400), live.p, (int)FL_MIN(loaded.n, (size_t)400),
                      loaded.p);
    fl_turn_free(&a);
    fl_turn_free(&b);
}

static void compare_tasks(struct sim *sim, struct fl_core *other)
{
    struct fl_str ids[SAMPLED_TASKS];
    struct ecs_DescribeTasksRequest describe = {.tasks = {0, ids}};
    struct ecs_ListTasksRequest list = {0};
    for (size_t i = 0; i < SAMPLED_TASKS && sim->ledger.task_count; i++)
        ids[describe.tasks.n++] =
            fl_str_of(sim->ledger.tasks[sample(sim, sim->ledger.task_count)].id);
    if (describe.tasks.n)
        compare_answers(sim, other, ECS_OP_DescribeTasks, &describe);
    compare_answers(sim, other, ECS_OP_ListTasks, &list);
}

static void compare_instances(struct sim *sim, struct fl_core *other)
{
    struct fl_str ids[SAMPLED_HOSTS];
    struct ecs_DescribeContainerInstancesRequest describe = {.containerInstances = {0, ids}};
    struct ecs_ListContainerInstancesRequest list = {0};
    for (size_t i = 0; i < SAMPLED_HOSTS && sim->ledger.instance_count; i++)
        ids[describe.containerInstances.n++] =
            fl_str_of(sim->ledger.instances[sample(sim, sim->ledger.instance_count)].id);
    if (describe.containerInstances.n)
        compare_answers(sim, other, ECS_OP_DescribeContainerInstances, &describe);
    compare_answers(sim, other, ECS_OP_ListContainerInstances, &list);
}

static void compare_services(struct sim *sim, struct fl_core *other)
{
    struct fl_str names[SAMPLED_SERVICES];
    struct ecs_DescribeServicesRequest describe = {.services = {0, names}};
    for (size_t i = 0; i < SAMPLED_SERVICES && sim->services.count; i++)
        names[describe.services.n++] =
            fl_str_of(sim->services.all[sample(sim, sim->services.count)].name);
    if (describe.services.n)
        compare_answers(sim, other, ECS_OP_DescribeServices, &describe);
}

static void compare_recovered(struct sim *sim)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_core *other = sim_server_rebuild(sim);
    struct fl_core_counts a = fl_core_count(sim->server.core), b = fl_core_count(other);
    if (memcmp(&a, &b, sizeof(a)) != 0)
        sim_violation(sim, "S11", "%zu tasks, %zu instances; recovered: %zu, %zu", a.tasks,
                      a.instances, b.tasks, b.instances);
    sim_server_tell_sessions(sim, other);
    const char *difference = sim_core_differs(sim->server.core, other, arena);
    if (difference)
        sim_violation(sim, "S11", "%s is recovered as another", difference);
    if (!sim->ended && sim->codecs)
        compare_tasks(sim, other);
    if (!sim->ended && sim->codecs)
        compare_instances(sim, other);
    if (!sim->ended && sim->codecs)
        compare_services(sim, other);
    fl_core_free(other);
}

/* ---- brains ---- */

static void load(struct fl_brain *brain, struct sim_disk *disk)
{
    for (const struct sim_record *at = NULL; (at = sim_disk_next(disk, at));)
        (void)sim_host_load(brain, at, NULL);
}

static struct fl_brain *rebuild_brain(const struct sim_host *host)
{
    struct fl_brain_config config = {0};
    struct fl_brain *brain = fl_brain_new(&config);
    struct sim_commit *commit;
    struct sim_disk disk;
    sim_disk_init(&disk);
    for (const struct sim_record *at = NULL; (at = sim_disk_next(&host->disk, at));)
        sim_disk_write(&disk, at->key, at->value);
    TAILQ_FOREACH (commit, &host->disk.waiting, entry)
        for (size_t i = 0; i < commit->count; i++)
            sim_disk_write(&disk, commit->writes[i].key, commit->writes[i].value);
    load(brain, &disk);
    sim_disk_wipe(&disk);
    return brain;
}

static void check_brain(struct sim *sim, const struct sim_host *host)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    size_t live = 0, rebuilt = 0;
    if (!host->up || host->open)
        return;
    struct fl_brain *other = rebuild_brain(host);
    for (const struct fl_task *t = NULL; (t = fl_brain_next_task(other, t));)
        rebuilt++;
    for (const struct fl_task *t = NULL; (t = fl_brain_next_task(host->brain, t)); live++) {
        const struct fl_task *twin = fl_brain_task(other, t->arn);
        if (!twin || !fl_str_eq(fl_task_record_write(t, arena), fl_task_record_write(twin, arena)))
            sim_violation(sim, "S11", "host %u: task %.*s is recovered as another", host->index,
                          FL_STR_ARG(fl_task_id(t->arn)));
    }
    if (live != rebuilt)
        sim_violation(sim, "S11", "host %u: %zu tasks, recovered %zu", host->index, live, rebuilt);
    fl_brain_free(other);
}

/* What stopped over an hour ago is forgotten within minutes. */
static void check_forgotten(struct sim *sim)
{
    int64_t due_ms = fl_core_next_due(sim->server.core);
    if (due_ms > 0 && due_ms < sim_server_wall_ms(sim) - PATIENCE_MS &&
        sim->now_us - sim->server.started_us > PATIENCE_MS * SIM_MS &&
        sim->now_us - sim->server.clock_set_us > PATIENCE_MS * SIM_MS)
        sim_violation(sim, "L6", "stopped tasks are not forgotten");
}

void sim_audit_full(struct sim *sim)
{
    for (size_t i = 0; i < SAMPLED_BRAINS && !sim->ended; i++)
        check_brain(sim, &sim->hosts[sample(sim, sim->host_count)]);
    for (size_t i = 0; i < sim->host_count && !sim->ended; i++)
        sim_audit_overdue(sim, &sim->hosts[i]);
    if (!sim->server.up || sim->ended)
        return;
    for (size_t i = 0; i < sim->ledger.task_count; i++)
        check_promise(sim, &sim->ledger.tasks[i]);
    for (size_t i = 0; i < sim->ledger.instance_count; i++)
        check_instance_promise(sim, &sim->ledger.instances[i]);
    check_instances(sim);
    check_ports(sim);
    check_tokens(sim);
    check_forgotten(sim);
    check_definitions(sim);
    sim_audit_services(sim);
    if (!sim->ended)
        compare_recovered(sim);
}
