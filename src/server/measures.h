/* What agents measure, in memory alone: the newest values and a bounded history per container,
 * instance and cluster. Lost with the server, and told anew within a minute. */
#pragma once

#include "core/core.h"

enum {
    FL_MEASURES_OF_CONTAINER = 15,    /* points kept: five minutes at an agent's pace */
    FL_MEASURES_OF_INSTANCE = 60,     /* twenty minutes */
    FL_MEASURES_OF_CLUSTER = 120,     /* two hours, one a minute */
    FL_MEASURES_STALE_MS = 90 * 1000, /* older values are no present ones */
    FL_MEASURES_FORGET_MS = 30 * 60 * 1000,
    FL_MEASURES_MAX_CONTAINERS = 16, /* of a task: ten of its definition, and an agent's own */
};

/* One container in one round of its agent. */
struct fl_measure {
    struct fl_str name;
    double cpu_percent; /* of the whole host */
    double memory_mib;
    int64_t restarts;
};

struct fl_measures;
/* core outlives it. */
struct fl_measures *fl_measures_new(const struct fl_core *core);
void fl_measures_free(struct fl_measures *measures);

/* Cluster by name, instance and task by id. What the core does not know to be there is dropped. */
void fl_measures_task(struct fl_measures *measures, struct fl_str cluster, struct fl_str instance,
                      struct fl_str task, const struct fl_measure *containers, size_t count,
                      int64_t now_ms);
/* The agent has told of all its tasks: what it did not mention is gone. */
void fl_measures_round(struct fl_measures *measures, struct fl_str cluster, struct fl_str instance,
                       int64_t now_ms);
/* To be called about once a minute: clusters' histories, and what is too old. */
void fl_measures_minute(struct fl_measures *measures, int64_t now_ms);

/* The answer to the call Utilization. */
struct fl_measures_wanted {
    struct fl_str cluster; /* name; empty: all that have instances that tell */
    bool instances;
    bool tasks;
    bool history;
};
/* Appends JSON: see docs/instances.md. False when there is no such cluster. */
bool fl_measures_show(const struct fl_measures *measures, const struct fl_measures_wanted *wanted,
                      int64_t now_ms, struct fl_buf *buf);
