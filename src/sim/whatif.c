/* Playing a scenario: hosts are registered and connected, tasks are asked for when they arrive, are
 * reported RUNNING at once and STOPPED when their time has come. What finds no place waits in line,
 * by arrival, and is tried again every simulated minute. */
#include "sim/whatif.h"

#include <errno.h>
#include <stdio.h>

#include "base/id.h"
#include "shapes/ecs_shapes.h"
#include "sim/whatif_impl.h"
#include "wire/json.h"

enum { A_CALL = 10, ID = 48 };

/* Midnight, so that hours of the day are those of the scenario. */
static const int64_t begin_ms = INT64_C(1700006400000);
static const char arn_start[] = "arn:aws:ecs:eu-central-1:000000000000:task/default/";

enum event_kind { EVENT_ARRIVAL, EVENT_STOP };

struct event {
    int64_t at_ms;
    uint64_t number; /* first come, first served among those of a moment */
    enum event_kind kind;
    uint32_t arrival;
    char task[ID];
};

/* What an arrival has asked for and not got. */
struct line {
    uint64_t waiting;
    bool is_explained; /* in this hour */
};

struct whatif {
    const struct whatif_scenario *scenario;
    struct fl_core *core;
    struct fl_turn turn;
    struct fl_arena *arena;
    struct fl_rand rand;
    int64_t now_ms; /* from the beginning */
    struct event *heap;
    size_t heap_count, heap_cap;
    uint64_t next_number, sessions;
    json_t *runs[WHATIF_MAX_ITEMS]; /* RunTask's input for a definition */
    struct line lines[WHATIF_MAX_ITEMS];
    struct whatif_history history;
    struct fl_whatif_totals *totals;
    uint64_t delayed_since; /* the last sample */
    struct fl_err *err;
};

/* ---- what comes ---- */

static bool is_before(const struct event *a, const struct event *b)
{
    return a->at_ms != b->at_ms ? a->at_ms < b->at_ms : a->number < b->number;
}

static struct event *push(struct whatif *w, int64_t at_ms, enum event_kind kind, uint32_t arrival)
{
    if (w->heap_count == w->heap_cap) {
        w->heap_cap = FL_MAX(2 * w->heap_cap, (size_t)1024);
        w->heap = fl_realloc(w->heap, w->heap_cap * sizeof(*w->heap));
    }
    struct event added = {at_ms, w->next_number++, kind, arrival, ""};
    size_t at = w->heap_count++;
    while (at && is_before(&added, &w->heap[(at - 1) / 2])) {
        w->heap[at] = w->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    w->heap[at] = added;
    return &w->heap[at];
}

static struct event pop(struct whatif *w)
{
    struct event first = w->heap[0], last = w->heap[--w->heap_count];
    size_t at = 0, child;
    while ((child = 2 * at + 1) < w->heap_count) {
        if (child + 1 < w->heap_count && is_before(&w->heap[child + 1], &w->heap[child]))
            child++;
        if (!is_before(&w->heap[child], &last))
            break;
        w->heap[at] = w->heap[child];
        at = child;
    }
    w->heap[at] = last;
    return first;
}

/* ---- chance ---- */

/* Above 0, at most 1. */
static double draw(struct whatif *w)
{
    return (double)((fl_rand_u64(&w->rand) >> 11) + 1) / 9007199254740992.0;
}

/* -ln(u) for 0 < u <= 1, by ln u = 2 artanh((u - 1) / (u + 1)). The library's logarithm may differ
 * in its last bit from one machine to the next, and histories must not. */
static double minus_ln(double u)
{
    double whole = 0, sum = 0;
    for (; u < 0.5; u *= 2)
        whole += 0.693147180559945309417;
    double y = (1 - u) / (1 + u), power = y;
    for (int k = 1; k < 40; k += 2, power *= y * y)
        sum += power / k;
    return whole + 2 * sum;
}

static int64_t draw_duration_ms(struct whatif *w, const struct whatif_arrival *arrival)
{
    double minutes = arrival->low;
    switch (arrival->duration) {
    case WHATIF_FIXED:
        break;
    case WHATIF_EXPONENTIAL:
        minutes *= minus_ln(draw(w));
        break;
    case WHATIF_UNIFORM:
        minutes += (arrival->high - arrival->low) * draw(w);
        break;
    }
    return FL_MAX((int64_t)(minutes * WHATIF_MINUTE_MS), INT64_C(1000));
}

/* The next moment of arrivals that come by chance: candidates at the day's highest rate, of which
 * as many are taken as the hour's share says. */
static void plan_arrival(struct whatif *w, uint32_t index, int64_t from_ms)
{
    const struct whatif_arrival *arrival = &w->scenario->arrivals[index];
    double hour = (double)from_ms / WHATIF_HOUR_MS;
    double highest = arrival->per_hour * arrival->daily_max;
    if (highest <= 0)
        return;
    do
        hour += minus_ln(draw(w)) / highest;
    while (hour < w->scenario->hours &&
           draw(w) * arrival->daily_max > arrival->daily[(uint64_t)hour % 24]);
    if (hour < w->scenario->hours)
        (void)push(w, (int64_t)(hour * WHATIF_HOUR_MS), EVENT_ARRIVAL, index);
}

static void plan_arrivals(struct whatif *w)
{
    for (uint32_t i = 0; i < w->scenario->arrival_count; i++) {
        const struct whatif_arrival *arrival = &w->scenario->arrivals[i];
        for (size_t k = 0; k < json_array_size(arrival->at); k++) {
            double hour = json_number_value(json_array_get(arrival->at, k));
            (void)push(w, (int64_t)(hour * WHATIF_HOUR_MS), EVENT_ARRIVAL, i);
        }
        plan_arrival(w, i, 0);
    }
}

/* ---- the core ---- */

static void step(struct whatif *w, struct fl_core_event *event)
{
    event->now_ms = begin_ms + w->now_ms;
    for (size_t i = 0; i < sizeof(event->seed); i += sizeof(uint64_t)) {
        uint64_t word = fl_rand_u64(&w->rand);
        memcpy(event->seed + i, &word, sizeof(word));
    }
    fl_turn_reset(&w->turn);
    fl_core_step(w->core, event, &w->turn);
    w->totals->steps++;
}

static const struct fl_core_effect *reply_of(const struct whatif *w)
{
    for (size_t i = 0; i < w->turn.effect_count; i++)
        if (w->turn.effects[i].kind == FL_CORE_EFFECT_REPLY)
            return &w->turn.effects[i];
    return NULL;
}

/* The answer as JSON, or NULL and the core's refusal as the error. */
static json_t *answer_of(struct whatif *w, const char *what)
{
    const struct fl_core_effect *reply = reply_of(w);
    FL_ASSERT(reply);
    json_t *json = fl_json_parse(reply->body, NULL);
    if (reply->status == 200)
        return json;
    const char *message = json_string_value(json_object_get(json, "message"));
    (void)fl_err_set(w->err, -EINVAL, "%s is refused: %s", what,
                     message ? message : "for an unknown reason");
    json_decref(json);
    return NULL;
}

static int command(struct whatif *w, int operation, const json_t *json, const char *what)
{
    const struct fl_shape *shape = ecs_service.operations[operation].input;
    struct fl_shape_error fault;
    fl_arena_reset(w->arena);
    void *input = fl_arena_alloc(w->arena, fl_shape_size(shape));
    FL_CLEANUP_FREE char *text = json_dumps(json, JSON_ENCODE_ANY);
    if (fl_shape_decode(shape, fl_json_read(fl_str_of(text), w->arena, NULL), w->arena, input,
                        &fault) < 0)
        return fl_err_set(w->err, -EINVAL, "%s is refused: %s", what, fault.text);
    struct fl_core_event event = {
        .kind = FL_CORE_EVENT_COMMAND,
        .operation = operation,
        .input = input,
        .input_size = 1024,
    };
    step(w, &event);
    return 0;
}

static json_t *ask(struct whatif *w, int operation, const json_t *json, const char *what)
{
    return command(w, operation, json, what) < 0 ? NULL : answer_of(w, what);
}

/* ---- the beginning ---- */

static void add_attribute(json_t *list, const char *name, const char *value)
{
    if (value)
        (void)json_array_append_new(list, json_pack("{s:s, s:s}", "name", name, "value", value));
    else
        (void)json_array_append_new(list, json_pack("{s:s}", "name", name));
}

static json_t *host_body(const struct whatif_hosts *hosts, uint32_t index)
{
    size_t zones = json_array_size(hosts->zones);
    json_t *attributes = json_array(), *value;
    const char *key;
    add_attribute(attributes, "com.amazonaws.ecs.capability.docker-remote-api.1.18", NULL);
    if (zones)
        add_attribute(attributes, "ecs.availability-zone",
                      json_string_value(json_array_get(hosts->zones, index % zones)));
    if (hosts->type)
        add_attribute(attributes, "ecs.instance-type", json_string_value(hosts->type));
    json_object_foreach ((json_t *)hosts->attributes, key, value)
        add_attribute(attributes, key, json_string_value(value));
    return json_pack("{s:s, s:[{s:s, s:s, s:i}, {s:s, s:s, s:i}, {s:s, s:s, s:[s]}], s:o}",
                     "cluster", "default", "totalResources", "name", "CPU", "type", "INTEGER",
                     "integerValue", hosts->cpu, "name", "MEMORY", "type", "INTEGER",
                     "integerValue", hosts->memory, "name", "PORTS", "type", "STRINGSET",
                     "stringSetValue", "22", "attributes", attributes);
}

static int add_host(struct whatif *w, const struct whatif_hosts *hosts, uint32_t index)
{
    char what[64];
    (void)snprintf(what, sizeof(what), "a host of hosts[%zu]",
                   (size_t)(hosts - w->scenario->hosts));
    FL_CLEANUP_JSON json_t *body = host_body(hosts, index);
    FL_CLEANUP_JSON json_t *answer = ask(w, ECS_OP_RegisterContainerInstance, body, what);
    if (!answer)
        return -EINVAL;
    struct fl_str arn = fl_json_str(
        json_object_get(json_object_get(answer, "containerInstance"), "containerInstanceArn"));
    struct fl_core_event connected = {
        .kind = FL_CORE_EVENT_AGENT_CONNECTED,
        .cluster = FL_STR("default"),
        .instance = fl_str_from(arn, (size_t)fl_str_rindex(arn, '/') + 1),
        .session = ++w->sessions,
        .agent_version = FL_STR("0.1"),
        .agent_hash = FL_STR("sim"),
        .docker_version = FL_STR("none"),
    };
    step(w, &connected);
    return 0;
}

/* A definition may hold memberOf alone; what else there is goes with each call. */
static void split_constraints(const json_t *constraints, json_t *definition, json_t *run)
{
    json_t *of_definition = json_array(), *of_run = json_array(), *item;
    size_t i;
    json_array_foreach ((json_t *)constraints, i, item) {
        const char *type = json_string_value(json_object_get(item, "type"));
        bool is_member_of = type && strcmp(type, "memberOf") == 0;
        (void)json_array_append(is_member_of ? of_definition : of_run, item);
    }
    (void)json_object_set_new(definition, "placementConstraints", of_definition);
    (void)json_object_set_new(run, "placementConstraints", of_run);
}

static int add_definition(struct whatif *w, uint32_t index)
{
    const struct whatif_definition *def = &w->scenario->definitions[index];
    json_t *ports = json_array(), *run, *value;
    size_t i;
    char what[64];
    (void)snprintf(what, sizeof(what), "definitions[%u]", index);
    json_array_foreach ((json_t *)def->ports, i, value)
        (void)json_array_append_new(
            ports, json_pack("{s:O, s:O}", "containerPort", value, "hostPort", value));
    FL_CLEANUP_JSON json_t *body =
        json_pack("{s:s, s:[{s:s, s:s, s:i, s:i, s:o}]}", "family", def->family,
                  "containerDefinitions", "name", "app", "image", "app:1", "cpu", def->cpu,
                  "memory", def->memory, "portMappings", ports);
    run = w->runs[index] =
        json_pack("{s:s, s:s}", "cluster", "default", "taskDefinition", def->family);
    if (!body || !run)
        return fl_err_set(w->err, -EINVAL, "the scenario's %s cannot be used", what);
    split_constraints(def->constraints, body, run);
    if (def->strategy)
        (void)json_object_set(run, "placementStrategy", (json_t *)def->strategy);
    FL_CLEANUP_JSON json_t *answer = ask(w, ECS_OP_RegisterTaskDefinition, body, what);
    return answer ? 0 : -EINVAL;
}

static int set_up(struct whatif *w)
{
    struct fl_core_config config = {.region = FL_STR("eu-central-1"),
                                    .account = FL_STR("000000000000"),
                                    .endpoint = FL_STR("http://127.0.0.1")};
    w->core = fl_core_new(&config);
    FL_CLEANUP_JSON json_t *cluster = json_pack("{s:s}", "clusterName", "default");
    FL_CLEANUP_JSON json_t *made = ask(w, ECS_OP_CreateCluster, cluster, "the cluster");
    int rc = made ? 0 : -EINVAL;
    for (size_t i = 0; rc == 0 && i < w->scenario->hosts_count; i++)
        for (uint32_t k = 0; rc == 0 && k < w->scenario->hosts[i].count; k++)
            rc = add_host(w, &w->scenario->hosts[i], k);
    for (uint32_t i = 0; rc == 0 && i < w->scenario->definition_count; i++)
        rc = add_definition(w, i);
    return rc;
}

/* ---- tasks ---- */

static struct whatif_hour *this_hour(struct whatif *w)
{
    size_t hour = (size_t)(w->now_ms / WHATIF_HOUR_MS);
    return &w->history.hours[FL_MIN(hour, (size_t)w->scenario->hours - 1)];
}

static void report(struct whatif *w, const char *id, const char *status)
{
    char arn[sizeof(arn_start) + ID];
    (void)snprintf(arn, sizeof(arn), "%s%s", arn_start, id);
    FL_CLEANUP_JSON json_t *body =
        json_pack("{s:s, s:s, s:s, s:[{s:s, s:s}]}", "cluster", "default", "task", arn, "status",
                  status, "containers", "containerName", "app", "status", status);
    int rc = command(w, ECS_OP_SubmitTaskStateChange, body, "a report");
    FL_ASSERT(rc == 0 && reply_of(w)->status == 200);
}

/* The turn's tasks by their records: reading whole answers would cost a third of all time. */
static size_t take_ids(const struct whatif *w, char ids[A_CALL][ID])
{
    size_t count = 0;
    for (size_t i = 0; i < w->turn.record_count; i++) {
        struct fl_str key = w->turn.records[i].key;
        struct fl_str id = fl_str_from(key, (size_t)fl_str_rindex(key, '/') + 1);
        if (!fl_str_starts(key, FL_STR("t/")))
            continue;
        FL_ASSERT(count < A_CALL && id.n < ID);
        memcpy(ids[count], id.p, id.n);
        ids[count++][id.n] = 0;
    }
    return count;
}

static void begin_task(struct whatif *w, uint32_t index, const char *id)
{
    int64_t end_ms = w->now_ms + draw_duration_ms(w, &w->scenario->arrivals[index]);
    struct event *stop = push(w, end_ms, EVENT_STOP, index);
    memcpy(stop->task, id, strlen(id) + 1);
    report(w, id, "RUNNING");
}

/* Asks for up to ten tasks. How many found a place, or -EINVAL. */
static int run(struct whatif *w, uint32_t index, uint64_t count)
{
    uint32_t definition = w->scenario->arrivals[index].definition;
    char what[64], ids[A_CALL][ID];
    (void)snprintf(what, sizeof(what), "a task of definitions[%u]", definition);
    (void)json_object_set_new(w->runs[definition], "count",
                              json_integer((json_int_t)FL_MIN(count, (uint64_t)A_CALL)));
    if (command(w, ECS_OP_RunTask, w->runs[definition], what) < 0)
        return -EINVAL;
    if (reply_of(w)->status != 200) {
        FL_CLEANUP_JSON FL_UNUSED json_t *nothing = answer_of(w, what);
        return -EINVAL;
    }
    size_t placed = take_ids(w, ids);
    for (size_t i = 0; i < placed; i++)
        begin_task(w, index, ids[i]);
    w->totals->placed += placed;
    this_hour(w)->placed += placed;
    return (int)placed;
}

/* Until all have a place or one has none; *count are left. */
static int run_all(struct whatif *w, uint32_t index, uint64_t *count)
{
    while (*count) {
        uint64_t asked = FL_MIN(*count, (uint64_t)A_CALL);
        int placed = run(w, index, asked);
        if (placed < 0)
            return placed;
        *count -= (uint64_t)placed;
        if ((uint64_t)placed < asked)
            break;
    }
    return 0;
}

/* ---- why ---- */

/* In a table's line there is room for a word. */
static const char *short_reason(const json_t *group)
{
    const char *reason = json_string_value(json_object_get(group, "reason"));
    return strncmp(reason, "MemberOf", 8) == 0 ? "memberOf" : reason;
}

/* The core explains a definition without what goes with a call (distinctInstance): instances that
 * fit by its words and were not taken are excluded by that. */
static void add_reason(struct whatif_hour *hour, const char *family, const json_t *answer)
{
    const json_t *groups = json_object_get(answer, "excluded");
    size_t n = strlen(hour->reason);
    if (n + 70 > sizeof(hour->reason))
        return;
    n += (size_t)snprintf(hour->reason + n, sizeof(hour->reason) - n, "%s%.40s:", n ? "; " : "",
                          family);
    for (size_t i = 0; i < FL_MIN(json_array_size(groups), (size_t)3); i++) {
        const json_t *group = json_array_get(groups, i);
        if (n + 70 > sizeof(hour->reason))
            return;
        n += (size_t)snprintf(hour->reason + n, sizeof(hour->reason) - n, "%s %.40s %lld",
                              i ? "," : "", short_reason(group),
                              json_integer_value(json_object_get(group, "instances")));
    }
    json_int_t fitting = json_integer_value(json_object_get(answer, "fitting"));
    if (fitting && n + 70 < sizeof(hour->reason))
        (void)snprintf(hour->reason + n, sizeof(hour->reason) - n,
                       "%s the call's own constraints %lld", json_array_size(groups) ? "," : "",
                       fitting);
}

/* The core says why no task of the arrival finds a place; once an hour for the table, and for the
 * end when more are waiting than ever before. */
static void explain(struct whatif *w, uint32_t index)
{
    struct line *line = &w->lines[index];
    const char *family = w->scenario->definitions[w->scenario->arrivals[index].definition].family;
    if (line->is_explained)
        return;
    line->is_explained = true;
    struct fl_core_event event = {
        .kind = FL_CORE_EVENT_EXPLAIN,
        .cluster = FL_STR("default"),
        .definition = fl_str_of(family),
    };
    struct fl_err ignored, *err = w->err;
    step(w, &event);
    w->err = &ignored;
    FL_CLEANUP_JSON json_t *answer = answer_of(w, "an explanation");
    w->err = err;
    add_reason(this_hour(w), family, answer);
    const char *text = json_string_value(json_object_get(answer, "text"));
    if (!text || line->waiting <= w->history.worst[index].waiting)
        return;
    free(w->history.worst[index].text);
    w->history.worst[index].text = fl_strndup(text, strlen(text));
    w->history.worst[index].waiting = line->waiting;
    w->history.worst[index].at_ms = w->now_ms;
}

/* ---- time ---- */

static uint64_t waiting(const struct whatif *w)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < w->scenario->arrival_count; i++)
        sum += w->lines[i].waiting;
    return sum;
}

/* Those that wait are served first: who arrives while others wait joins the line. */
static int arrive(struct whatif *w, uint32_t index)
{
    const struct whatif_arrival *arrival = &w->scenario->arrivals[index];
    struct line *line = &w->lines[index];
    uint64_t left = arrival->count;
    w->totals->arrived += left;
    this_hour(w)->arrived += left;
    if (!arrival->at)
        plan_arrival(w, index, w->now_ms);
    int rc = line->waiting ? 0 : run_all(w, index, &left);
    line->waiting += left;
    w->totals->delayed += left;
    w->delayed_since += left;
    this_hour(w)->delayed += left;
    if (left)
        explain(w, index);
    return rc;
}

static void end_task(struct whatif *w, const struct event *event)
{
    report(w, event->task, "STOPPED");
    w->totals->ended++;
    this_hour(w)->ended++;
}

static int retry(struct whatif *w)
{
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && i < w->scenario->arrival_count; i++) {
        w->totals->waited_minutes += w->lines[i].waiting;
        if (w->lines[i].waiting)
            rc = run_all(w, i, &w->lines[i].waiting);
        if (w->lines[i].waiting)
            explain(w, i);
    }
    return rc;
}

static void sample(struct whatif *w, bool is_hour)
{
    struct sim_core_sums sums;
    sim_core_sum(w->core, &sums);
    double cpu = (double)sums.cpu_used / (double)sums.cpu;
    double memory = (double)sums.memory_used / (double)sums.memory;
    w->history.samples[w->history.sample_count++] =
        (struct whatif_sample){w->now_ms, sums.running, waiting(w), w->delayed_since, cpu, memory};
    w->delayed_since = 0;
    if (!is_hour || w->now_ms == 0)
        return;
    struct whatif_hour *hour = &w->history.hours[w->now_ms / WHATIF_HOUR_MS - 1];
    hour->running = sums.running;
    hour->waiting = waiting(w);
    hour->cpu = cpu;
    hour->memory = memory;
    hour->empty = sums.empty;
    for (size_t i = 0; i < w->scenario->arrival_count; i++)
        w->lines[i].is_explained = false;
}

static int minute(struct whatif *w, int64_t number)
{
    struct fl_core_event timer = {.kind = FL_CORE_EVENT_TIMER};
    w->now_ms = number * WHATIF_MINUTE_MS;
    if (number % WHATIF_SAMPLE_MINUTES == 0)
        sample(w, number % 60 == 0);
    if (fl_core_next_due(w->core) <= begin_ms + w->now_ms)
        step(w, &timer);
    return retry(w);
}

static int play(struct whatif *w)
{
    int64_t minutes = 60 * (int64_t)w->scenario->hours;
    int rc = 0;
    plan_arrivals(w);
    for (int64_t i = 0; rc == 0 && i <= minutes; i++) {
        while (rc == 0 && w->heap_count && w->heap[0].at_ms < i * WHATIF_MINUTE_MS) {
            struct event event = pop(w);
            w->now_ms = event.at_ms;
            if (event.kind == EVENT_ARRIVAL)
                rc = arrive(w, event.arrival);
            else
                end_task(w, &event);
        }
        rc = rc < 0 ? rc : minute(w, i);
    }
    w->totals->waiting = waiting(w);
    return rc;
}

static void tear_down(struct whatif *w)
{
    for (size_t i = 0; i < WHATIF_MAX_ITEMS; i++) {
        json_decref(w->runs[i]);
        free(w->history.worst[i].text);
    }
    fl_turn_free(&w->turn);
    fl_core_free(w->core);
    fl_arena_free(w->arena);
    free(w->history.hours);
    free(w->history.samples);
    free(w->heap);
}

static struct whatif *whatif_new(const struct whatif_scenario *scenario,
                                 struct fl_whatif_totals *totals, struct fl_err *err)
{
    struct whatif *w = fl_calloc(1, sizeof(*w));
    uint8_t seed[32] = {0};
    memcpy(seed, &scenario->seed, sizeof(scenario->seed));
    fl_rand_seed(&w->rand, seed);
    w->scenario = w->history.scenario = scenario;
    w->totals = totals;
    w->err = err;
    w->arena = fl_arena_new();
    fl_turn_init(&w->turn);
    w->history.hours = fl_calloc(scenario->hours, sizeof(*w->history.hours));
    w->history.samples = fl_calloc((size_t)scenario->hours * 60 / WHATIF_SAMPLE_MINUTES + 1,
                                   sizeof(*w->history.samples));
    totals->hosts = scenario->host_count;
    return w;
}

int fl_whatif_run(struct fl_str text, struct fl_buf *table, struct fl_buf *svg,
                  struct fl_whatif_totals *ret_totals, struct fl_err *err)
{
    struct whatif_scenario *scenario = fl_calloc(1, sizeof(*scenario));
    *ret_totals = (struct fl_whatif_totals){0};
    int rc = whatif_scenario_read(text, scenario, err);
    if (rc == 0) {
        struct whatif *w = whatif_new(scenario, ret_totals, err);
        rc = set_up(w);
        if (rc == 0)
            rc = play(w);
        if (rc == 0)
            whatif_table_write(&w->history, ret_totals, table);
        if (rc == 0 && svg)
            whatif_svg_write(&w->history, svg);
        tear_down(w);
        free(w);
    }
    whatif_scenario_free(scenario);
    free(scenario);
    return rc;
}
