/* Clients: their calls, attempt by attempt, and what they make of the answers. An answer may be
 * lost; who had a token asks again, and is to get the same tasks. */
#include "sim/world.h"

enum { TIMEOUT_MS = 10 * 1000 };

/* ---- calls ---- */

static void fire_timeout(struct sim *sim, struct sim_event *event);
static const struct sim_action timeout_action = {"a call is given up", fire_timeout};

/* The operation and which of its attempts, in one number. */
static uint64_t ref_of(const struct sim *sim, const struct sim_operation *operation)
{
    return (uint64_t)(operation - sim->clients.operations + 1) << 8 | (operation->attempt & 0xff);
}

void sim_client_send(struct sim *sim, struct sim_operation *operation)
{
    operation->attempt++;
    operation->attempts_left--;
    uint64_t ref = ref_of(sim, operation);
    sim_at(sim, TIMEOUT_MS * SIM_MS, &timeout_action, SIM_CLIENTS, ref, NULL);
    sim_call(sim, SIM_CLIENTS, ref, sim_message_hold(operation->call));
}

struct sim_operation *sim_client_call(struct sim *sim, int operation, struct sim_message *call,
                                      const void *input)
{
    struct sim_clients *clients = &sim->clients;
    if (clients->count == clients->cap) {
        clients->cap = FL_MAX(2 * clients->cap, (size_t)256);
        clients->operations =
            fl_realloc(clients->operations, clients->cap * sizeof(*clients->operations));
    }
    struct sim_operation *added = &clients->operations[clients->count++];
    *added = (struct sim_operation){.operation = operation, .attempts_left = 1, .call = call};
    sim_message_ask(sim, call, operation, input);
    clients->open++;
    return added;
}

static void done(struct sim *sim, struct sim_operation *operation)
{
    operation->is_done = true;
    sim_message_free(sim, FL_TAKE_PTR(operation->call));
    sim->clients.open--;
}

static struct sim_operation *find(struct sim *sim, uint64_t ref)
{
    size_t index = (size_t)(ref >> 8);
    if (index == 0 || index > sim->clients.count)
        return NULL;
    struct sim_operation *operation = &sim->clients.operations[index - 1];
    bool is_it = (operation->attempt & 0xff) == (ref & 0xff) && !operation->is_done;
    return is_it ? operation : NULL;
}

static void fire_again(struct sim *sim, struct sim_event *event)
{
    struct sim_operation *operation = find(sim, event->number);
    if (operation)
        sim_client_send(sim, operation);
    else
        sim_void(sim);
}

static void again_or_never(struct sim *sim, struct sim_operation *operation)
{
    static const struct sim_action again = {"a client tries again", fire_again};
    if (operation->attempts_left == 0) {
        done(sim, operation);
        return;
    }
    sim_at(sim, sim_about(sim, SIM_SECOND), &again, SIM_CLIENTS, ref_of(sim, operation), NULL);
}

static void fire_timeout(struct sim *sim, struct sim_event *event)
{
    struct sim_operation *operation = find(sim, event->number);
    if (!operation || operation->timed_attempt == operation->attempt) {
        sim_void(sim);
        return;
    }
    operation->timed_attempt = operation->attempt;
    again_or_never(sim, operation);
}

/* ---- answers ---- */

static void check_repeated(struct sim *sim, const struct sim_operation *operation,
                           const struct sim_task *task)
{
    for (size_t i = 0; i < operation->placed; i++)
        if (&sim->ledger.tasks[operation->tasks[i]] == task)
            return;
    sim_violation(sim, "S5", "call %zu, repeated, is told of task %s that it did not make before",
                  (size_t)(operation - sim->clients.operations), task->id);
}

/* True while one of the call's tasks has not been forgotten: its token is known as long. */
bool sim_token_lives(const struct sim *sim, const struct sim_operation *operation)
{
    for (size_t i = 0; i < operation->placed; i++)
        if (!sim->ledger.tasks[operation->tasks[i]].drop_put)
            return true;
    return false;
}

/* One token is one set of tasks: another body with it is refused for as long as it is known. */
static void check_conflict(struct sim *sim, const struct sim_operation *operation)
{
    const struct sim_operation *first = &sim->clients.operations[operation->token_of - 1];
    if (sim_token_lives(sim, first))
        sim_violation(sim, "S5", "the token of call %u is taken for another call",
                      operation->token_of - 1);
}

static void take_tasks(struct sim *sim, struct sim_operation *operation,
                       const struct sim_answer *answer)
{
    bool is_repeated = operation->is_answered && sim_token_lives(sim, operation);
    if (answer->task_count > operation->count)
        sim_violation(sim, "S5", "%zu tasks for a call of %u", answer->task_count,
                      operation->count);
    for (size_t i = 0; i < answer->task_count && !sim->ended; i++) {
        struct sim_task *task = sim_ledger_see(sim, &answer->tasks[i]);
        if (task && is_repeated)
            check_repeated(sim, operation, task);
        else if (task && !operation->is_answered)
            operation->tasks[operation->placed++] = (uint32_t)(task - sim->ledger.tasks);
    }
    operation->is_answered = true;
}

static void fire_second_thoughts(struct sim *sim, struct sim_event *event)
{
    sim_client_stop(sim, sim->ledger.tasks[event->number].id);
}

/* A client that stops what it has only just begun. */
static void think_again(struct sim *sim, const struct sim_operation *operation)
{
    static const struct sim_action thoughts = {"a client has second thoughts",
                                               fire_second_thoughts};
    if (operation->placed && sim_chance(sim, 400))
        sim_at(sim, (int64_t)sim_below(sim, 500 * SIM_MS), &thoughts, SIM_CLIENTS,
               operation->tasks[0], NULL);
}

static void take_run(struct sim *sim, struct sim_operation *operation,
                     const struct sim_answer *answer)
{
    bool was_answered = operation->is_answered;
    if (operation->token_of)
        check_conflict(sim, operation);
    take_tasks(sim, operation, answer);
    think_again(sim, operation);
    if (operation->has_token && !was_answered && operation->placed && !operation->token_of &&
        sim_chance(sim, 100)) {
        uint32_t index = (uint32_t)(operation - sim->clients.operations);
        sim_client_conflict(sim, operation);
        operation = &sim->clients.operations[index]; /* the table has grown */
    }
    if (operation->has_token && !was_answered && sim_chance(sim, 150) &&
        operation->attempts_left) { /* a client that forgot that it had an answer */
        again_or_never(sim, operation);
        return;
    }
    done(sim, operation);
}

/* No two registrations are told the same revision. */
static void take_revision(struct sim *sim, int family, int revision)
{
    struct sim_ledger *ledger = &sim->ledger;
    uint64_t bit = UINT64_C(1) << (revision % 64);
    uint64_t *word = &ledger->revisions[family][revision % SIM_REVISIONS / 64];
    if (revision < SIM_REVISIONS && *word & bit)
        sim_violation(sim, "S1", "definition f%d:%d is acknowledged twice", family, revision);
    *word |= bit;
    ledger->revision_seen[family] = FL_MAX(ledger->revision_seen[family], revision);
}

static void fire_rejoin(struct sim *sim, struct sim_event *event)
{
    sim_host_kill(sim, &sim->hosts[event->number]);
}

/* Somebody starts the agent of a host that was deregistered again, but not always. */
static void rejoin(struct sim *sim, const struct sim_instance *instance)
{
    static const struct sim_action again = {"an operator restarts an agent", fire_rejoin};
    if (instance->host != SIM_NOWHERE && sim_chance(sim, 600))
        sim_at_any(sim, (int64_t)sim_below(sim, 3 * SIM_MINUTE), &again, SIM_CLIENTS,
                   instance->host, NULL);
}

static void take_instance(struct sim *sim, const struct sim_operation *operation,
                          const struct sim_shown_instance *shown)
{
    const struct sim_instance *instance = sim_ledger_see_instance(sim, shown);
    if (operation->operation == ECS_OP_UpdateContainerInstancesState &&
        shown->status != operation->status)
        sim_violation(sim, "S1", "instance %s: a change of its state is acknowledged and not made",
                      shown->id);
    if (operation->operation != ECS_OP_DeregisterContainerInstance)
        return;
    if (shown->status != SIM_INSTANCE_INACTIVE)
        sim_violation(sim, "S1", "instance %s: deregistered, and not INACTIVE", shown->id);
    rejoin(sim, instance);
}

static void take_answer(struct sim *sim, struct sim_operation *operation,
                        const struct sim_answer *answer)
{
    if (operation->operation == ECS_OP_RunTask) {
        take_run(sim, operation, answer);
        return;
    }
    for (size_t i = 0; i < answer->task_count && !sim->ended; i++) {
        struct sim_task *task = sim_ledger_see(sim, &answer->tasks[i]);
        if (task && operation->operation == ECS_OP_StopTask && !task->stop_is_seen)
            sim_violation(sim, "S1", "a stop of task %s is acknowledged, and it is wanted",
                          task->id);
    }
    if (operation->service)
        sim_service_answered(sim, operation);
    if (operation->operation == ECS_OP_RegisterTaskDefinition)
        take_revision(sim, operation->family, answer->revision);
    for (size_t i = 0; i < answer->instance_count && !sim->ended; i++)
        take_instance(sim, operation, &answer->instances[i]);
    done(sim, operation);
}

static void take_refusal(struct sim *sim, struct sim_operation *operation, struct fl_str text)
{
    bool is_conflict = fl_str_contains(text, FL_STR("ConflictException"));
    if (operation->has_token && !operation->token_of && is_conflict)
        sim_violation(sim, "S5", "a call that is repeated as it was is refused");
    if (operation->service)
        sim_service_refused(sim, operation, text);
    if (operation->operation == ECS_OP_RegisterTaskDefinition)
        sim_violation(sim, "A1", "a definition is refused: %.*s", FL_STR_ARG(text));
    done(sim, operation);
}

void sim_clients_answer(struct sim *sim, const struct sim_event *event)
{
    struct sim_operation *operation = find(sim, event->number);
    if (!operation || operation->timed_attempt == operation->attempt)
        return;
    operation->timed_attempt = operation->attempt; /* this attempt has had its answer */
    if (event->message->status == 200) {
        take_answer(sim, operation,
                    sim_message_answered(sim, event->message, operation->operation));
    } else if (event->message->status == 400) {
        take_refusal(sim, operation, event->message->text);
    } else {
        again_or_never(sim, operation);
    }
}

void sim_clients_free(struct sim *sim)
{
    for (size_t i = 0; i < sim->clients.count; i++)
        sim_message_free(sim, sim->clients.operations[i].call);
    free(sim->clients.operations);
}
