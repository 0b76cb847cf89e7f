/* A recorded disk: what processes did to a directory, and what a power cut may leave of it.
 *
 * calls.c stands between the code under test and the C library, in this executable alone. While a
 * process records, every call that changes a file or a directory beneath the disk's root becomes
 * an operation in the trace, in the order in which the kernel took them; the files themselves lie
 * on a real file system, which plays the page cache. The trace lies in memory shared with the
 * children that record, so that it outlives them.
 *
 * The rules of a power cut (crash.c) are POSIX's at its least helpful: a synced file keeps its
 * bytes, a synced directory its names, and of everything else any part may be missing. A sync that
 * fails loses its writes on the spot or not, and no later sync brings them back. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    PROOF_ROOT = 0, /* the node of the root directory */
    PROOF_MAX_NODES = 2048,
    PROOF_MAX_OPS = 1 << 16,
    PROOF_MODEL_SIZE = 16384,
};

struct proof_rng {
    uint64_t state;
};
uint64_t proof_random(struct proof_rng *rng);
/* 0 … n-1 */
uint32_t proof_below(struct proof_rng *rng, uint32_t n);
/* Well mixed, never 0. */
uint64_t proof_mix(uint64_t a, uint64_t b);
uint64_t proof_hash(const void *bytes, size_t n);

/* What the code under test promised or was asked, at this place of the trace; the subject's. */
struct proof_mark {
    int kind;
    uint32_t index;
    uint64_t value;
};

enum proof_op_kind {
    PROOF_WRITE,
    PROOF_TRUNCATE,    /* to offset */
    PROOF_SYNC,        /* of a file */
    PROOF_SYNC_FAILED, /* of a file */
    PROOF_SYNC_DIR,
    PROOF_LINK,   /* node's name `to` means target */
    PROOF_UNLINK, /* node's name `from` goes */
    PROOF_RENAME, /* both at once, within one directory */
    PROOF_MARK,
};

struct proof_op {
    enum proof_op_kind kind;
    int node; /* the file, or the directory */
    int target;
    const char *from;
    const char *to;
    uint64_t offset;
    size_t n;
    const uint8_t *bytes;
    struct proof_mark mark;
};

/* What goes wrong while a process records. Calls are counted from 1. */
struct proof_plan {
    uint32_t fail_at; /* 0: nothing */
    bool forever;     /* else this one call */
    bool cut_short;   /* the call, if a write, first writes a half */
    bool kill;        /* the process is killed in that call */
    int error;        /* ENOSPC fails only what needs room */
    bool drop_syncs;  /* a sync does nothing and says it did */
};

struct proof_name {
    struct proof_name *next;
    const char *name;
    int node;
};

struct proof_node {
    bool is_dir;
    struct proof_name *names; /* of a directory, as processes see it now */
};

struct proof_disk {
    char root[64]; /* absolute, without a final slash */
    struct proof_plan plan;
    uint32_t calls;    /* of the present process */
    uint32_t injected; /* how many of them failed by plan */
    uint32_t undone;   /* how much work was refused and the process went on */
    struct proof_node nodes[PROOF_MAX_NODES];
    int node_count;
    struct proof_op ops[PROOF_MAX_OPS];
    size_t op_count;
    size_t first_op; /* those before it made the start, which no power cut touches */
    uint8_t start[PROOF_MODEL_SIZE]; /* the subject's model at first_op */
    uint8_t model[PROOF_MODEL_SIZE]; /* and now */
    void (*apply)(void *model, const struct proof_mark *mark);
    char complaint[512];
    size_t arena_used;
    uint8_t arena[];
};

/* Maps the disk. Its root is a new directory on a file system in memory. */
struct proof_disk *proof_disk_new(void);
/* Removes everything beneath the root, and the root when gone is set. */
void proof_disk_clear(const struct proof_disk *disk, bool gone);
/* An empty trace over an empty directory. */
void proof_disk_restart(struct proof_disk *disk);
/* The trace starts anew from the files that lie beneath the root, which are durable. */
void proof_disk_adopt(struct proof_disk *disk, const void *model);

/* Bytes that live until the next restart. */
void *proof_disk_keep(struct proof_disk *disk, const void *bytes, size_t n);
void proof_disk_add(struct proof_disk *disk, const struct proof_op *op);
/* The node that a name of a directory means now, or -1. */
int proof_disk_find(const struct proof_disk *disk, int dir, const char *name, size_t n);
/* A new file or directory under that name; the operation is added. */
int proof_disk_create(struct proof_disk *disk, int dir, const char *name, bool is_dir);
void proof_disk_unlink(struct proof_disk *disk, int dir, const char *name);
void proof_disk_rename(struct proof_disk *disk, int from_dir, const char *from, int to_dir,
                       const char *to);

/* Recording, in calls.c. begin is for a child: it ends with the process. */
void proof_record_begin(struct proof_disk *disk, uint64_t seed);
void proof_record_mark(const struct proof_mark *mark);
/* Between close and open a worker thread finds its queue empty, and then all of it: what shares a
 * transaction does not depend on the scheduler. close waits until the worker waits. */
void proof_gate_close(void);
void proof_gate_open(void);

/* Replaying, in crash.c: walks the trace and builds what a power cut at each place may leave. */
struct proof_replay;
struct proof_replay *proof_replay_new(const struct proof_disk *disk, uint64_t seed);
void proof_replay_free(struct proof_replay *replay);
/* Goes one operation on; false at the end. model follows the marks. */
bool proof_replay_step(struct proof_replay *replay, void *model);
/* Writes one of the possible states into the (empty) root. */
void proof_replay_crash(struct proof_replay *replay, struct proof_rng *rng);
/* How many operations wait for a sync at this place. */
size_t proof_replay_pending(const struct proof_replay *replay);
