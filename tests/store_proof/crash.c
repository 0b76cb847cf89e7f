/* What a power cut may leave: the durable state at a place of the trace, and of the operations
 * that wait for a sync any part, each writing of bytes whole, torn, or as zeros or rubbish. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "disk.h"

enum { SECTOR = 512 };

struct bytes {
    uint8_t *p;
    size_t n, cap;
};

struct names {
    struct proof_name *entries; /* an array; next is unused */
    size_t count, cap;
};

struct state {
    struct bytes durable;            /* a file's */
    struct names names;              /* a directory's */
    const struct proof_op **waiting; /* not synced, in order */
    size_t count, cap;
};

struct proof_replay {
    const struct proof_disk *disk;
    size_t at;
    size_t pending;
    struct proof_rng rng; /* decides what failed syncs lost */
    struct state *states; /* by node */
    struct bytes scratch;
};

/* How one power cut treats what waits. */
struct fate {
    struct proof_rng *rng;
    uint32_t keep_of_8; /* the chance that an operation survives */
    bool tear;
    bool shuffle;
    bool rubbish;  /* lost writes beyond the end leave zeros or rubbish */
    int favourite; /* the node that keeps everything, or -1 */
};

static void grow(struct bytes *bytes, size_t n)
{
    if (n > bytes->cap) {
        bytes->cap = FL_MAX(n, bytes->cap * 2);
        bytes->p = fl_realloc(bytes->p, bytes->cap);
    }
    if (n > bytes->n) {
        memset(bytes->p + bytes->n, 0, n - bytes->n);
        bytes->n = n;
    }
}

static void put_bytes(struct bytes *bytes, uint64_t offset, const uint8_t *from, size_t n)
{
    grow(bytes, offset + n);
    memcpy(bytes->p + offset, from, n);
}

static void apply_to_file(struct bytes *bytes, const struct proof_op *op)
{
    if (op->kind == PROOF_WRITE)
        put_bytes(bytes, op->offset, op->bytes, op->n);
    else if (op->offset < bytes->n)
        bytes->n = op->offset;
    else
        grow(bytes, op->offset);
}

static void set_entry(struct names *names, const char *name, int node)
{
    for (size_t i = 0; i < names->count; i++) {
        if (strcmp(names->entries[i].name, name) == 0) {
            names->entries[i].node = node;
            return;
        }
    }
    if (names->count == names->cap) {
        names->cap = FL_MAX(16, names->cap * 2);
        names->entries = fl_realloc(names->entries, names->cap * sizeof(*names->entries));
    }
    names->entries[names->count++] = (struct proof_name){.name = name, .node = node};
}

static void drop_entry(struct names *names, const char *name)
{
    for (size_t i = 0; i < names->count; i++) {
        if (strcmp(names->entries[i].name, name) == 0) {
            names->entries[i] = names->entries[--names->count];
            return;
        }
    }
}

static void apply_to_dir(struct names *names, const struct proof_op *op)
{
    if (op->kind == PROOF_UNLINK || op->kind == PROOF_RENAME)
        drop_entry(names, op->from);
    if (op->kind == PROOF_LINK || op->kind == PROOF_RENAME)
        set_entry(names, op->to, op->target);
}

struct proof_replay *proof_replay_new(const struct proof_disk *disk, uint64_t seed)
{
    struct proof_replay *replay = fl_calloc(1, sizeof(*replay));
    replay->disk = disk;
    replay->rng.state = seed;
    replay->states = fl_calloc((size_t)disk->node_count, sizeof(*replay->states));
    return replay;
}

void proof_replay_free(struct proof_replay *replay)
{
    for (int i = 0; i < replay->disk->node_count; i++) {
        free(replay->states[i].durable.p);
        free(replay->states[i].names.entries);
        free(replay->states[i].waiting);
    }
    free(replay->states);
    free(replay->scratch.p);
    free(replay);
}

size_t proof_replay_pending(const struct proof_replay *replay)
{
    return replay->pending;
}

static void wait_for_sync(struct proof_replay *replay, const struct proof_op *op)
{
    struct state *state = &replay->states[op->node];
    if (state->count == state->cap) {
        state->cap = FL_MAX(16, state->cap * 2);
        state->waiting = fl_realloc(state->waiting, state->cap * sizeof(op));
    }
    state->waiting[state->count++] = op;
    replay->pending++;
}

static void settle(struct proof_replay *replay, struct state *state, bool is_dir)
{
    for (size_t i = 0; i < state->count; i++) {
        if (is_dir)
            apply_to_dir(&state->names, state->waiting[i]);
        else
            apply_to_file(&state->durable, state->waiting[i]);
    }
    replay->pending -= state->count;
    state->count = 0;
}

static uint64_t some_sector_border(struct proof_rng *rng, size_t n)
{
    return proof_below(rng, (uint32_t)(n / SECTOR) + 1) * SECTOR;
}

/* A part of a write: up to a sector's border, up to any byte, or some of the sectors. */
static void apply_torn(struct bytes *bytes, const struct proof_op *op, struct proof_rng *rng)
{
    uint32_t kind = proof_below(rng, 3);
    if (kind < 2) {
        uint64_t n = kind ? some_sector_border(rng, op->n) : proof_below(rng, (uint32_t)op->n + 1);
        put_bytes(bytes, op->offset, op->bytes, FL_MIN(n, op->n));
        return;
    }
    for (uint64_t from = 0, n; from < op->n; from += n) {
        n = FL_MIN(SECTOR - (op->offset + from) % SECTOR, op->n - from);
        if (proof_below(rng, 2))
            put_bytes(bytes, op->offset + from, op->bytes + from, n);
    }
}

/* The file grew, but the bytes did not come. */
static void leave_rubbish(struct bytes *bytes, const struct proof_op *op, struct proof_rng *rng)
{
    size_t old = bytes->n, end = op->offset + op->n;
    bool noise = proof_below(rng, 2);
    grow(bytes, end);
    for (size_t i = FL_MAX(old, op->offset); noise && i < end; i++)
        bytes->p[i] = (uint8_t)(proof_random(rng) >> 13);
}

static void apply_by_fate(struct bytes *bytes, const struct proof_op *op, const struct fate *fate)
{
    bool kept = fate->favourite >= 0 ? fate->favourite == op->node
                                     : proof_below(fate->rng, 8) < fate->keep_of_8;
    if (!kept) {
        if (op->kind == PROOF_WRITE && fate->rubbish && proof_below(fate->rng, 2))
            leave_rubbish(bytes, op, fate->rng);
    } else if (op->kind == PROOF_WRITE && fate->tear && proof_below(fate->rng, 2)) {
        apply_torn(bytes, op, fate->rng);
    } else {
        apply_to_file(bytes, op);
    }
}

static void fail_sync(struct proof_replay *replay, struct state *state)
{
    struct fate fate = {.rng = &replay->rng,
                        .keep_of_8 = proof_below(&replay->rng, 9),
                        .tear = proof_below(&replay->rng, 2),
                        .favourite = -1};
    for (size_t i = 0; i < state->count; i++)
        apply_by_fate(&state->durable, state->waiting[i], &fate);
    replay->pending -= state->count;
    state->count = 0;
}

bool proof_replay_step(struct proof_replay *replay, void *model)
{
    if (replay->at == replay->disk->op_count)
        return false;
    const struct proof_op *op = &replay->disk->ops[replay->at++];
    struct state *state = &replay->states[op->node];
    switch (op->kind) {
    case PROOF_WRITE:
    case PROOF_TRUNCATE:
    case PROOF_LINK:
    case PROOF_UNLINK:
    case PROOF_RENAME:
        wait_for_sync(replay, op);
        break;
    case PROOF_SYNC:
    case PROOF_SYNC_DIR:
        settle(replay, state, op->kind == PROOF_SYNC_DIR);
        break;
    case PROOF_SYNC_FAILED:
        fail_sync(replay, state);
        break;
    case PROOF_MARK:
        replay->disk->apply(model, &op->mark);
        break;
    }
    return true;
}

static struct fate draw_fate(const struct proof_replay *replay, struct proof_rng *rng)
{
    static const uint32_t keep[8] = {8, 0, 1, 4, 7, 4, 6, 4};
    uint32_t mode = proof_below(rng, 10);
    struct fate fate = {.rng = rng, .favourite = -1};
    if (mode < 8)
        fate.keep_of_8 = keep[mode];
    else
        fate.favourite = (int)proof_below(rng, (uint32_t)replay->disk->node_count);
    fate.tear = mode > 0 && proof_below(rng, 2);
    fate.shuffle = mode > 4 && proof_below(rng, 2);
    fate.rubbish = mode > 1 && proof_below(rng, 2);
    return fate;
}

static void shuffle(const struct proof_op **ops, size_t count, struct proof_rng *rng)
{
    for (size_t i = count; i > 1; i--) {
        size_t j = proof_below(rng, (uint32_t)i);
        const struct proof_op *op = ops[j];
        ops[j] = ops[i - 1];
        ops[i - 1] = op;
    }
}

/* The order in which what waits reaches the disk. */
static const struct proof_op **in_order(const struct state *state, const struct fate *fate)
{
    const struct proof_op **ops = fl_malloc((state->count + 1) * sizeof(*ops));
    if (state->count)
        memcpy(ops, state->waiting, state->count * sizeof(*ops));
    if (fate->shuffle)
        shuffle(ops, state->count, fate->rng);
    return ops;
}

static void write_file(struct proof_replay *replay, int dir_fd, const char *name, int node,
                       const struct fate *fate)
{
    const struct state *state = &replay->states[node];
    struct bytes *bytes = &replay->scratch;
    bytes->n = 0;
    if (state->durable.n)
        put_bytes(bytes, 0, state->durable.p, state->durable.n);
    const struct proof_op **ops = in_order(state, fate);
    for (size_t i = 0; i < state->count; i++)
        apply_by_fate(bytes, ops[i], fate);
    free(ops);
    FL_CLEANUP_FD int fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    FL_ASSERT(fd >= 0 && fl_fs_write_all(fd, bytes->p, bytes->n) == 0);
}

static struct names surviving_names(const struct proof_replay *replay, int node,
                                    const struct fate *fate)
{
    const struct state *state = &replay->states[node];
    struct names names = {0};
    for (size_t i = 0; i < state->names.count; i++)
        set_entry(&names, state->names.entries[i].name, state->names.entries[i].node);
    const struct proof_op **ops = in_order(state, fate);
    for (size_t i = 0; i < state->count; i++) {
        bool kept = fate->favourite >= 0 ? fate->favourite != node
                                         : proof_below(fate->rng, 8) < fate->keep_of_8;
        if (kept)
            apply_to_dir(&names, ops[i]);
    }
    free(ops);
    return names;
}

static void write_dir(struct proof_replay *replay, int dir_fd, int node, const struct fate *fate)
{
    struct names names = surviving_names(replay, node, fate);
    for (size_t i = 0; i < names.count; i++) {
        const char *name = names.entries[i].name;
        int child = names.entries[i].node;
        if (!replay->disk->nodes[child].is_dir) {
            write_file(replay, dir_fd, name, child, fate);
            continue;
        }
        FL_ASSERT(mkdirat(dir_fd, name, 0700) == 0);
        FL_CLEANUP_FD int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        write_dir(replay, fd, child, fate);
    }
    free(names.entries);
}

void proof_replay_crash(struct proof_replay *replay, struct proof_rng *rng)
{
    struct fate fate = draw_fate(replay, rng);
    FL_CLEANUP_FD int root = open(replay->disk->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    FL_ASSERT(root >= 0);
    write_dir(replay, root, PROOF_ROOT, &fate);
}
