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

enum { A_CALL = 10 };

static const char arn_start[] = "arn:aws:ecs:eu-central-1:000000000000:task/default/";

/* ---- tasks ---- */

static struct whatif_hour *this_hour(struct whatif *w)
{
    size_t hour = (size_t)(w->now_ms / WHATIF_HOUR_MS);
    return &w->history.hours[FL_MIN(hour, (size_t)w->scenario->hours - 1)];
}

static void report(struct whatif *w, const char *id, const char *status)
{
    FL_CLEANUP_BUF struct fl_buf body = FL_BUF_INIT(WHATIF_MAX_BODY);
    fl_buf_printf(&body,
                  "{\"cluster\":\"default\",\"task\":\"%s%s\",\"status\":\"%s\","
                  "\"containers\":[{\"containerName\":\"app\",\"status\":\"%s\"}]}",
                  arn_start, id, status, status);
    int rc = whatif_command(w, ECS_OP_SubmitTaskStateChange, &body, "a report");
    FL_ASSERT(rc == 0 && whatif_reply(w)->status == 200);
}

/* The turn's tasks by their records: reading whole answers would cost a third of all time. */
static size_t take_ids(const struct whatif *w, char ids[A_CALL][WHATIF_ID])
{
    size_t count = 0;
    for (size_t i = 0; i < w->turn.record_count; i++) {
        struct fl_str key = w->turn.records[i].key;
        struct fl_str id = fl_str_from(key, (size_t)fl_str_rindex(key, '/') + 1);
        if (!fl_str_starts(key, FL_STR("t/")))
            continue;
        FL_ASSERT(count < A_CALL && id.n < WHATIF_ID);
        memcpy(ids[count], id.p, id.n);
        ids[count++][id.n] = 0;
    }
    return count;
}

static void begin_task(struct whatif *w, uint32_t index, const char *id)
{
    int64_t end_ms = w->now_ms + whatif_draw_duration_ms(w, &w->scenario->arrivals[index]);
    struct whatif_event *stop = whatif_push(w, end_ms, WHATIF_STOP, index);
    memcpy(stop->task, id, strlen(id) + 1);
    report(w, id, "RUNNING");
}

/* Asks for up to ten tasks. How many found a place, or -EINVAL. */
static int run(struct whatif *w, uint32_t index, uint64_t count)
{
    uint32_t definition = w->scenario->arrivals[index].definition;
    char what[64], ids[A_CALL][WHATIF_ID];
    (void)snprintf(what, sizeof(what), "a task of definitions[%u]", definition);
    FL_CLEANUP_BUF struct fl_buf body = FL_BUF_INIT(WHATIF_MAX_BODY);
    fl_buf_add_str(&body, fl_buf_str(&w->runs[definition]));
    fl_buf_printf(&body, ",\"count\":%d}", (int)FL_MIN(count, (uint64_t)A_CALL));
    if (whatif_command(w, ECS_OP_RunTask, &body, what) < 0)
        return -EINVAL;
    if (whatif_reply(w)->status != 200) {
        (void)whatif_answer(w, what);
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
static const char *short_reason(const struct fl_json *group)
{
    const char *reason = fl_json_z(fl_json_get(group, "reason"));
    return strncmp(reason, "MemberOf", 8) == 0 ? "memberOf" : reason;
}

/* The core explains a definition without what goes with a call (distinctInstance): instances that
 * fit by its words and were not taken are excluded by that. */
static void add_reason(struct whatif_hour *hour, const char *family, const struct fl_json *answer)
{
    const struct fl_json *groups = fl_json_get(answer, "excluded");
    size_t n = strlen(hour->reason);
    if (n + 70 > sizeof(hour->reason))
        return;
    n += (size_t)snprintf(hour->reason + n, sizeof(hour->reason) - n, "%s%.40s:", n ? "; " : "",
                          family);
    for (size_t i = 0; i < FL_MIN(fl_json_items(groups), (size_t)3); i++) {
        const struct fl_json *group = fl_json_item(groups, i);
        if (n + 70 > sizeof(hour->reason))
            return;
        n += (size_t)snprintf(hour->reason + n, sizeof(hour->reason) - n, "%s %.40s %lld",
                              i ? "," : "", short_reason(group),
                              (long long)fl_json_int(fl_json_get(group, "instances")));
    }
    int64_t fitting = fl_json_int(fl_json_get(answer, "fitting"));
    if (fitting && n + 70 < sizeof(hour->reason))
        (void)snprintf(hour->reason + n, sizeof(hour->reason) - n,
                       "%s the call's own constraints %lld", fl_json_items(groups) ? "," : "",
                       (long long)fitting);
}

/* The core says why no task of the arrival finds a place; once an hour for the table, and for the
 * end when more are waiting than ever before. */
static void explain(struct whatif *w, uint32_t index)
{
    struct whatif_line *line = &w->lines[index];
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
    whatif_step(w, &event);
    w->err = &ignored;
    const struct fl_json *answer = whatif_answer(w, "an explanation");
    w->err = err;
    add_reason(this_hour(w), family, answer);
    const char *text = fl_json_z(fl_json_get(answer, "text"));
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
    struct whatif_line *line = &w->lines[index];
    uint64_t left = arrival->count;
    w->totals->arrived += left;
    this_hour(w)->arrived += left;
    if (!arrival->at)
        whatif_plan_arrival(w, index, w->now_ms);
    int rc = line->waiting ? 0 : run_all(w, index, &left);
    line->waiting += left;
    w->totals->delayed += left;
    w->delayed_since += left;
    this_hour(w)->delayed += left;
    if (left)
        explain(w, index);
    return rc;
}

static void end_task(struct whatif *w, const struct whatif_event *event)
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
    if (fl_core_next_due(w->core) <= WHATIF_BEGIN_MS + w->now_ms)
        whatif_step(w, &timer);
    return retry(w);
}

static int play(struct whatif *w)
{
    int64_t minutes = 60 * (int64_t)w->scenario->hours;
    int rc = 0;
    whatif_plan_arrivals(w);
    for (int64_t i = 0; rc == 0 && i <= minutes; i++) {
        while (rc == 0 && w->heap_count && w->heap[0].at_ms < i * WHATIF_MINUTE_MS) {
            struct whatif_event event = whatif_pop(w);
            w->now_ms = event.at_ms;
            if (event.kind == WHATIF_ARRIVAL)
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
        fl_buf_free(&w->runs[i]);
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
        rc = whatif_set_up(w);
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
