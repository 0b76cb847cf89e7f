/* What the files of what-if share. */
#pragma once

#include <stdbool.h>

#include "base/id.h"
#include "sim/core_view.h"
#include "sim/whatif.h"
#include "wire/json.h"

enum {
    WHATIF_MAX_ITEMS = 200,    /* groups of hosts, definitions, arrivals */
    WHATIF_MAX_HOSTS = 100000, /* in all */
    WHATIF_MAX_HOURS = 24 * 31,
    WHATIF_MAX_AT = 1000,
    WHATIF_MAX_TASKS = 10000000, /* about so many may arrive */
    WHATIF_MINUTE_MS = 60 * 1000,
    WHATIF_HOUR_MS = 60 * WHATIF_MINUTE_MS,
    WHATIF_SAMPLE_MINUTES = 5,
    WHATIF_REASON = 300,
    WHATIF_ID = 48,
    WHATIF_MAX_BODY = 1 << 20,
};

/* Midnight, so that hours of the day are those of the scenario. */
#define WHATIF_BEGIN_MS INT64_C(1700006400000)

struct whatif_hosts {
    uint32_t count;
    int cpu, memory;
    const struct fl_json *zones, *type, *attributes; /* of the document; NULL where not given */
};

struct whatif_definition {
    const char *family;
    int cpu, memory;
    const struct fl_json *ports, *constraints, *strategy;
};

enum whatif_duration { WHATIF_FIXED, WHATIF_EXPONENTIAL, WHATIF_UNIFORM };

struct whatif_arrival {
    uint32_t definition;
    uint32_t count;
    double per_hour;  /* 0: at the given times */
    double daily[24]; /* what the rate is multiplied with, by hour of the day */
    double daily_max;
    const struct fl_json *at; /* hours from the beginning */
    enum whatif_duration duration;
    double low, high; /* minutes; fixed and exponential: low alone */
};

struct whatif_scenario {
    struct fl_arena *arena; /* holds the document, which all below points into */
    const struct fl_json *document;
    uint64_t seed;
    uint32_t hours;
    uint32_t host_count;
    struct whatif_hosts hosts[WHATIF_MAX_ITEMS];
    struct whatif_definition definitions[WHATIF_MAX_ITEMS];
    struct whatif_arrival arrivals[WHATIF_MAX_ITEMS];
    size_t hosts_count, definition_count, arrival_count;
};

/* 0, or -EINVAL and a sentence that names the line or member. Freed in both cases. */
int whatif_scenario_read(struct fl_str text, struct whatif_scenario *ret, struct fl_err *err);
/* YAML (and so JSON) as JSON values in the arena, or NULL and a sentence with the line. */
const struct fl_json *whatif_yaml_parse(struct fl_str text, struct fl_arena *arena,
                                        struct fl_err *err);
void whatif_scenario_free(struct whatif_scenario *scenario);

struct whatif_sample {
    int64_t at_ms; /* from the beginning */
    uint64_t running, waiting;
    uint64_t delayed;   /* since the last one */
    double cpu, memory; /* 0 … 1 */
};

struct whatif_hour {
    uint64_t arrived, placed, ended, delayed;
    uint64_t running, waiting;
    double cpu, memory;
    uint64_t empty;
    char reason[WHATIF_REASON];
};

struct whatif_history {
    const struct whatif_scenario *scenario;
    struct whatif_hour *hours;
    struct whatif_sample *samples;
    size_t sample_count;
    /* By arrival: explain's text when most were waiting, and how many. */
    struct {
        char *text;
        uint64_t waiting;
        int64_t at_ms;
    } worst[WHATIF_MAX_ITEMS];
};

void whatif_table_write(const struct whatif_history *history, const struct fl_whatif_totals *totals,
                        struct fl_buf *out);
void whatif_svg_write(const struct whatif_history *history, struct fl_buf *out);

/* ---- a scenario being played ---- */

enum whatif_event_kind { WHATIF_ARRIVAL, WHATIF_STOP };

struct whatif_event {
    int64_t at_ms;
    uint64_t number; /* first come, first served among those of a moment */
    enum whatif_event_kind kind;
    uint32_t arrival;
    char task[WHATIF_ID];
};

/* What an arrival has asked for and not got. */
struct whatif_line {
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
    struct whatif_event *heap;
    size_t heap_count, heap_cap;
    uint64_t next_number, sessions;
    struct fl_buf runs[WHATIF_MAX_ITEMS]; /* RunTask's input for a definition, up to its count */
    struct whatif_line lines[WHATIF_MAX_ITEMS];
    struct whatif_history history;
    struct fl_whatif_totals *totals;
    uint64_t delayed_since; /* the last sample */
    struct fl_err *err;
};

/* ---- whatif_plan.c ---- */
/* The new event, for the caller to complete; valid until the next one. */
struct whatif_event *whatif_push(struct whatif *w, int64_t at_ms, enum whatif_event_kind kind,
                                 uint32_t arrival);
/* The next one, of which there must be one. */
struct whatif_event whatif_pop(struct whatif *w);
int64_t whatif_draw_duration_ms(struct whatif *w, const struct whatif_arrival *arrival);
/* The next time that a line of arrivals brings something, after from_ms; then all of them. */
void whatif_plan_arrival(struct whatif *w, uint32_t index, int64_t from_ms);
void whatif_plan_arrivals(struct whatif *w);

/* ---- whatif_core.c ---- */
/* Stamps the event with time and seed; the turn holds what it has brought about. */
void whatif_step(struct whatif *w, struct fl_core_event *event);
/* The turn's answer; NULL: there is none. */
const struct fl_core_effect *whatif_reply(const struct whatif *w);
/* The answer as JSON (until the next command), or NULL and the core's refusal as the error. */
const struct fl_json *whatif_answer(struct whatif *w, const char *what);
/* A call; 0, or -EINVAL and a sentence that begins with `what`. */
int whatif_command(struct whatif *w, int operation, const struct fl_buf *body, const char *what);
/* The same with its answer, or NULL. */
const struct fl_json *whatif_ask(struct whatif *w, int operation, const struct fl_buf *body,
                                 const char *what);
/* Cluster, hosts and definitions. 0 or -EINVAL. */
int whatif_set_up(struct whatif *w);
