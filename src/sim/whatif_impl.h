/* What the files of what-if share. */
#pragma once

#include <stdbool.h>

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
};

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
