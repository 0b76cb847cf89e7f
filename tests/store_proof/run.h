/* Runs: processes that work and end in every way, and the power cuts after each of their calls. */
#pragma once

#include "subject.h"

struct proof_totals {
    uint64_t states;
    uint64_t injected; /* calls that failed by plan */
    uint64_t runs;
    uint64_t lives;
    uint64_t stops;    /* lives that the disk ended with FL_STORE_EXIT */
    uint64_t refusals; /* lives that ended with a message */
    uint64_t undone;   /* transactions that were refused by lives that went on */
};

/* Several generations of processes from one seed, each started on what a power cut left of the one
 * before. At most max_states. False with a sentence. */
bool proof_run(struct proof_disk *disk, const struct proof_subject *subject, uint64_t seed,
               uint64_t max_states, bool drop_syncs, struct proof_totals *totals, char *why,
               size_t size);
/* One process whose n-th call fails as the plan says, one that finds the disk mended, and some
 * power cuts. *ret_more is false when it made fewer calls. */
bool proof_run_failing(struct proof_disk *disk, const struct proof_subject *subject, uint64_t seed,
                       const struct proof_plan *plan, struct proof_totals *totals, char *why,
                       size_t size, bool *ret_more);
