/* The simulator: the production core and brains, with a clock, network, disks, runtimes and clients
 * that are all played, in one process, from one seed. The same configuration gives the same
 * history, event for event, on every machine. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What is called, answered, ordered and stored: as structures, or through the production's JSON.
 * The history is the same; only the time that it takes is not. */
enum fl_sim_codecs {
    FL_SIM_CODECS_SOMETIMES, /* one seed in sixteen */
    FL_SIM_CODECS_NEVER,
    FL_SIM_CODECS_ALWAYS,
};

enum fl_sim_mode {
    FL_SIM_SAFETY,   /* faults until the end; nothing wrong may ever be seen */
    FL_SIM_LIVENESS, /* faults stop; everything that is wanted must come about */
};

struct fl_sim_config {
    uint64_t seed;
    unsigned hosts; /* 1 … 100,000 */
    unsigned tasks; /* about how many are asked for; 0: ten per host */
    enum fl_sim_mode mode;
    enum fl_sim_codecs codecs;
    bool calm; /* no faults at all: for measuring */
    /* So many services, with `tasks` each, are created, then get a new definition, all of them at
     * once, and nothing else is asked for; the run ends when that has come about. 0: the usual
     * load.
     */
    unsigned services;
};

/* How often something was broken. */
struct fl_sim_fault {
    const char *what; /* a literal */
    uint64_t count;
};

enum { FL_SIM_FAULT_KINDS = 32 };

struct fl_sim_result {
    /* Calls, answers and frames that arrived, timers that were due, completions, syncs, commits,
     * clients' decisions, faults. Not what came for a process that had died, nor timers whose
     * reason was gone. */
    uint64_t events;
    uint64_t faults;
    uint64_t violations; /* 0 or 1: the first one ends the run */
    uint64_t trace_hash; /* over everything that happened */
    uint64_t tasks;      /* that were placed */
    uint64_t restarts;   /* of server and agents */
    int64_t simulated_ms;
    int64_t created_ms; /* with services: what it took until all of them were complete, */
    int64_t rolled_ms;  /* and once more after their update, */
    int64_t faults_ms;  /* and how long there were faults */
    struct fl_sim_fault kinds[FL_SIM_FAULT_KINDS];
    size_t kind_count;
    char text[16384]; /* the violation: invariant, step, what it was, the last events */
};

/* Adds a number of faults of one kind. */
void fl_sim_count(struct fl_sim_result *result, const char *what, uint64_t count);
/* Plays one run to its end, or to its first violation. */
void fl_sim_run(const struct fl_sim_config *config, struct fl_sim_result *ret_result);
