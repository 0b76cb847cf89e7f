/* Clients: storms of RunTask with tokens and retries, StopTask, DescribeTasks, definitions that
 * change. An answer may be lost; who had a token asks again, and is to get the same tasks. */
#include <stdio.h>

#include "sim/world.h"

enum { TIMEOUT_MS = 10 * 1000, ATTEMPTS = 6, TASKS_A_CALL = 5, DESCRIBED = 10 };

/* ---- calls ---- */

static void fire_timeout(struct sim *sim, struct sim_event *event);
static const struct sim_action timeout_action = {"a call is given up", fire_timeout};

/* The operation and which of its attempts, in one number. */
static uint64_t ref_of(const struct sim *sim, const struct sim_operation *operation)
{
    return (uint64_t)(operation - sim->clients.operations + 1) << 8 | (operation->attempt & 0xff);
}

static void send(struct sim *sim, struct sim_operation *operation)
{
    struct sim_message *message = sim_message_new();
    message->operation = operation->operation;
    message->text = fl_str_dup(message->arena, operation->body);
    operation->attempt++;
    operation->attempts_left--;
    uint64_t ref = ref_of(sim, operation);
    sim_at(sim, TIMEOUT_MS * SIM_MS, &timeout_action, SIM_CLIENTS, ref, NULL);
    sim_call(sim, SIM_CLIENTS, ref, message);
}

static struct sim_operation *add(struct sim *sim, int operation, struct fl_buf *body)
{
    struct sim_clients *clients = &sim->clients;
    if (clients->count == clients->cap) {
        clients->cap = FL_MAX(2 * clients->cap, (size_t)256);
        clients->operations =
            fl_realloc(clients->operations, clients->cap * sizeof(*clients->operations));
    }
    struct sim_operation *added = &clients->operations[clients->count++];
    *added = (struct sim_operation){
        .operation = operation,
        .attempts_left = 1,
        .body = {fl_strndup(body->p, body->n), body->n},
    };
    clients->open++;
    return added;
}

static void done(struct sim *sim, struct sim_operation *operation)
{
    operation->is_done = true;
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
        send(sim, operation);
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
    if (operation && operation->timed_attempt != operation->attempt) {
        operation->timed_attempt = operation->attempt;
        again_or_never(sim, operation);
    }
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
static bool token_lives(const struct sim *sim, const struct sim_operation *operation)
{
    for (size_t i = 0; i < operation->placed; i++)
        if (!sim->ledger.tasks[operation->tasks[i]].drop_put)
            return true;
    return false;
}

static void take_tasks(struct sim *sim, struct sim_operation *operation, const struct fl_json *list)
{
    bool is_repeated = operation->is_answered && token_lives(sim, operation);
    if (fl_json_items(list) > operation->count)
        sim_violation(sim, "S5", "%zu tasks for a call of %u", fl_json_items(list),
                      operation->count);
    for (size_t i = 0; i < fl_json_items(list) && !sim->ended; i++) {
        struct sim_task *task = sim_ledger_see(sim, fl_json_item(list, i));
        if (task && is_repeated)
            check_repeated(sim, operation, task);
        else if (task && !operation->is_answered)
            operation->tasks[operation->placed++] = (uint32_t)(task - sim->ledger.tasks);
    }
    operation->is_answered = true;
}

static void stop(struct sim *sim, const char *id)
{
    FL_CLEANUP_BUF struct fl_buf body = FL_BUF_INIT(256);
    fl_buf_printf(&body, "{\"cluster\":\"default\",\"task\":\"%s\"}", id);
    struct sim_operation *operation = add(sim, ECS_OP_StopTask, &body);
    operation->attempts_left = 3;
    send(sim, operation);
}

static void fire_second_thoughts(struct sim *sim, struct sim_event *event)
{
    stop(sim, sim->ledger.tasks[event->number].id);
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

static void take_run(struct sim *sim, struct sim_operation *operation, const struct fl_json *json)
{
    bool was_answered = operation->is_answered;
    take_tasks(sim, operation, fl_json_get(json, "tasks"));
    think_again(sim, operation);
    if (operation->has_token && !was_answered && sim_chance(sim, 150) &&
        operation->attempts_left) { /* a client that forgot that it had an answer */
        again_or_never(sim, operation);
        return;
    }
    done(sim, operation);
}

/* No two registrations are told the same revision. */
static void take_revision(struct sim *sim, int family, const struct fl_json *definition)
{
    struct sim_ledger *ledger = &sim->ledger;
    int revision = (int)fl_json_int(fl_json_get(definition, "revision"));
    uint64_t bit = UINT64_C(1) << (revision % 64);
    uint64_t *word = &ledger->revisions[family][revision % SIM_REVISIONS / 64];
    if (revision < SIM_REVISIONS && *word & bit)
        sim_violation(sim, "S1", "definition f%d:%d is acknowledged twice", family, revision);
    *word |= bit;
    ledger->revision_seen[family] = FL_MAX(ledger->revision_seen[family], revision);
}

static void take_answer(struct sim *sim, struct sim_operation *operation,
                        const struct fl_json *json)
{
    const struct fl_json *list = fl_json_get(json, "tasks");
    if (operation->operation == ECS_OP_RunTask) {
        take_run(sim, operation, json);
        return;
    }
    if (operation->operation == ECS_OP_StopTask) {
        struct sim_task *task = sim_ledger_see(sim, fl_json_get(json, "task"));
        if (task && !task->stop_is_seen)
            sim_violation(sim, "S1", "a stop of task %s is acknowledged, and it is wanted",
                          task->id);
    }
    if (operation->operation == ECS_OP_DescribeTasks)
        for (size_t i = 0; i < fl_json_items(list) && !sim->ended; i++)
            (void)sim_ledger_see(sim, fl_json_item(list, i));
    if (operation->operation == ECS_OP_RegisterTaskDefinition)
        take_revision(sim, operation->family, fl_json_get(json, "taskDefinition"));
    done(sim, operation);
}

static void take_refusal(struct sim *sim, struct sim_operation *operation, struct fl_str text)
{
    if (operation->has_token && fl_str_contains(text, FL_STR("ConflictException")))
        sim_violation(sim, "S5", "a call that is repeated as it was is refused");
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
        const struct fl_json *json =
            fl_json_read(event->message->text, event->message->arena, NULL);
        take_answer(sim, operation, json);
    } else if (event->message->status == 400) {
        take_refusal(sim, operation, event->message->text);
    } else {
        again_or_never(sim, operation);
    }
}

/* ---- what is asked ---- */

/* Drawn one by one: the order in which arguments are evaluated is the compiler's. */
static void add_container(struct sim *sim, int family, unsigned i, struct fl_buf *body)
{
    bool is_service = family % 2 == 0 || i > 1;
    unsigned cpu = 50 * (unsigned)sim_below(sim, 6);
    cpu += (unsigned)sim_below(sim, 2);
    unsigned memory = 50 * (1 + (unsigned)sim_below(sim, 8));
    unsigned timeout_s = 2 + (unsigned)sim_below(sim, 10);
    fl_buf_printf(body,
                  "%s{\"name\":\"c%u\",\"image\":\"%s:1\",\"cpu\":%u,\"memory\":%u,"
                  "\"essential\":%s,\"stopTimeout\":%u",
                  i ? "," : "", i, is_service ? "service" : "batch", cpu, memory,
                  i == 1 ? "false" : "true", timeout_s);
    if (family % 4 == 3 && i == 0)
        fl_buf_printf(body, ",\"portMappings\":[{\"containerPort\":80,\"hostPort\":%d}]",
                      9000 + family);
    fl_buf_add_char(body, '}');
}

static void register_definition(struct sim *sim, int family)
{
    FL_CLEANUP_BUF struct fl_buf body = FL_BUF_INIT(8192);
    fl_buf_printf(&body, "{\"family\":\"f%d\",\"containerDefinitions\":[", family);
    for (unsigned i = 0; i < 1 + (unsigned)family % 3; i++)
        add_container(sim, family, i, &body);
    fl_buf_add_z(&body, "]}");
    struct sim_operation *operation = add(sim, ECS_OP_RegisterTaskDefinition, &body);
    operation->family = family;
    operation->attempts_left = ATTEMPTS;
    send(sim, operation);
}

static void deregister_definition(struct sim *sim)
{
    FL_CLEANUP_BUF struct fl_buf body = FL_BUF_INIT(256);
    int family = (int)sim_below(sim, SIM_FAMILIES);
    fl_buf_printf(&body, "{\"taskDefinition\":\"f%d:%d\"}", family, 1 + (int)sim_below(sim, 5));
    send(sim, add(sim, ECS_OP_DeregisterTaskDefinition, &body));
}

static void run_tasks(struct sim *sim)
{
    static const char *const extras[] = {
        "",
        ",\"placementStrategy\":[{\"type\":\"binpack\",\"field\":\"memory\"}]",
        ",\"placementStrategy\":[{\"type\":\"random\"}]",
        ",\"placementConstraints\":[{\"type\":\"memberOf\",\"expression\":"
        "\"attribute:rack in [r0, r1, r2, r3]\"}]",
        ",\"placementConstraints\":[{\"type\":\"distinctInstance\"}]",
        ",\"placementStrategy\":[{\"type\":\"spread\",\"field\":\"attribute:rack\"}]",
        ",\"placementStrategy\":[{\"type\":\"spread\",\"field\":\"instanceId\"},"
        "{\"type\":\"binpack\",\"field\":\"cpu\"}]",
    };
    FL_CLEANUP_BUF struct fl_buf body = FL_BUF_INIT(1024);
    uint32_t count = 1 + (uint32_t)sim_below(sim, 2 * TASKS_A_CALL);
    bool has_token = sim_chance(sim, 700);
    size_t extra = sim_below(sim, FL_ARRAY_SIZE(extras));
    fl_buf_printf(&body, "{\"cluster\":\"default\",\"taskDefinition\":\"f%u\",\"count\":%u%s",
                  (unsigned)sim_below(sim, SIM_FAMILIES), count, extras[extra]);
    if (has_token)
        fl_buf_printf(&body, ",\"clientToken\":\"t%zu\"", sim->clients.count);
    fl_buf_add_char(&body, '}');
    struct sim_operation *operation = add(sim, ECS_OP_RunTask, &body);
    operation->count = count;
    operation->has_token = has_token;
    operation->attempts_left = has_token ? ATTEMPTS : 1;
    sim->clients.asked += count;
    send(sim, operation);
}

static const char *some_task(struct sim *sim)
{
    size_t count = sim->ledger.task_count;
    size_t back = sim_chance(sim, 700) ? FL_MIN(count, (size_t)50) : count;
    return count ? sim->ledger.tasks[count - 1 - sim_below(sim, back)].id : NULL;
}

static void stop_task(struct sim *sim)
{
    const char *id = some_task(sim);
    if (id)
        stop(sim, id);
}

static void describe_tasks(struct sim *sim)
{
    FL_CLEANUP_BUF struct fl_buf body = FL_BUF_INIT(1024);
    size_t count = 1 + sim_below(sim, DESCRIBED);
    if (sim->ledger.task_count == 0)
        return;
    fl_buf_add_z(&body, "{\"cluster\":\"default\",\"tasks\":[");
    for (size_t i = 0; i < count; i++)
        fl_buf_printf(&body, "%s\"%s\"", i ? "," : "", some_task(sim));
    fl_buf_add_z(&body, "]}");
    send(sim, add(sim, ECS_OP_DescribeTasks, &body));
}

static void do_something(struct sim *sim)
{
    uint64_t what = sim_below(sim, 100);
    if (what < 40 && sim->clients.asked < sim->config.tasks)
        run_tasks(sim);
    else if (what < 65)
        stop_task(sim);
    else if (what < 94)
        describe_tasks(sim);
    else if (what < 98)
        register_definition(sim, (int)sim_below(sim, SIM_FAMILIES));
    else
        deregister_definition(sim);
}

static void fire_load(struct sim *sim, struct sim_event *event)
{
    int64_t calls = 1 + (int64_t)sim->config.tasks * 10 / (TASKS_A_CALL * 4);
    int storm = sim_chance(sim, 50) ? 20 : 1;
    for (int i = 0; i < storm; i++)
        do_something(sim);
    if (sim->now_us < sim->load_until_us)
        sim_at(sim, sim_about(sim, storm * (sim->load_until_us / calls)), event->action,
               SIM_CLIENTS, 0, NULL);
}

void sim_clients_start(struct sim *sim)
{
    static const struct sim_action load = {"a client calls", fire_load};
    for (int i = 0; i < SIM_FAMILIES; i++)
        register_definition(sim, i);
    sim_at(sim, 10 * SIM_SECOND, &load, SIM_CLIENTS, 0, NULL);
}

void sim_clients_free(struct sim *sim)
{
    for (size_t i = 0; i < sim->clients.count; i++)
        free((char *)sim->clients.operations[i].body.p);
    free(sim->clients.operations);
}
