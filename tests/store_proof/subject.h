/* What is proven: a piece of code that keeps things on a disk, with a workload and a model. */
#pragma once

#include "disk.h"

struct proof_subject {
    const char *name;
    /* How its process ends when the disk fails: 0, or a failure that it reported (PROOF_REFUSED),
     * or FL_STORE_EXIT. */
    bool may_stop;
    uint32_t cut_one_in; /* after a failing call: power cuts at one in so many places */
    bool goes_on;        /* after a full disk, with a line for each refusal */
    /* In a child that records: opens what lies on the disk, compares it with the model, works.
     * Returns the exit status. */
    int (*live)(struct proof_disk *disk, struct proof_rng *rng);
    void (*init)(void *model); /* of the empty disk; zeroed before */
    void (*apply)(void *model, const struct proof_mark *mark);
    /* In the parent: opens what a power cut left and compares it with the model. False with a
     * sentence. */
    bool (*check)(const char *root, const void *model, char *why, size_t size);
};

/* Of a life. */
enum {
    PROOF_REFUSED = 3,  /* opening, or a call, failed with a message on stderr */
    PROOF_VIOLATED = 9, /* the disk's complaint says what */
};

/* Notes what is wrong and ends the child. */
_Noreturn void proof_violated(struct proof_disk *disk, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

extern const struct proof_subject proof_store, proof_logs, proof_files;

/* Both stores: a history of states, each with a hash. The state found must be one of those between
 * the last that is acknowledged and the last that was submitted. */
enum { PROOF_HISTORY = 1024 };
enum proof_history_mark {
    PROOF_SUBMITTED, /* index would lead to the state value */
    PROOF_ACKED,     /* index */
    PROOF_REVERTED,  /* all after index was refused: it must not come back */
    PROOF_SHOWN,     /* index was read after opening: from now on it stays, and nothing newer */
    PROOF_EPOCH,     /* value was handed out */
};
struct proof_history {
    uint32_t acked;
    uint32_t submitted;
    uint64_t epoch;
    uint64_t hashes[PROOF_HISTORY]; /* by index */
};
void proof_history_apply(void *model, const struct proof_mark *mark);
/* The index of a state found, or -1 with a sentence. */
int proof_history_find(const struct proof_history *history, uint64_t hash, char *why, size_t size);
/* Small pages and early checkpoints on all connections from now on, and salts from a seed. */
void proof_sqlite_prepare(uint64_t seed);
