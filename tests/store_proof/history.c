/* The model of both stores, and SQLite's settings for short traces. */
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "base/util.h"
#include "subject.h"

void proof_history_apply(void *model, const struct proof_mark *mark)
{
    struct proof_history *history = model;
    FL_ASSERT(mark->index < PROOF_HISTORY);
    switch ((enum proof_history_mark)mark->kind) {
    case PROOF_SUBMITTED:
        history->hashes[mark->index] = mark->value;
        history->submitted = mark->index;
        break;
    case PROOF_ACKED:
        history->acked = FL_MAX(history->acked, mark->index);
        break;
    case PROOF_REVERTED:
        history->submitted = mark->index;
        break;
    case PROOF_SHOWN:
        history->acked = history->submitted = mark->index;
        break;
    case PROOF_EPOCH:
        history->epoch = mark->value;
        break;
    }
}

int proof_history_find(const struct proof_history *history, uint64_t hash, char *why, size_t size)
{
    for (uint32_t i = history->submitted + 1; i > history->acked; i--)
        if (history->hashes[i - 1] == hash)
            return (int)i - 1;
    for (uint32_t i = 0; i < history->acked; i++) {
        if (history->hashes[i] == hash) {
            (void)snprintf(why, size, "state %u was found, but %u is acknowledged", i,
                           history->acked);
            return -1;
        }
    }
    (void)snprintf(why, size, "a state was found that never was (%u acknowledged, %u submitted)",
                   history->acked, history->submitted);
    return -1;
}

void proof_violated(struct proof_disk *disk, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(disk->complaint, sizeof(disk->complaint), fmt, args);
    va_end(args);
    _exit(PROOF_VIOLATED);
}

static int page_size, checkpoint_pages;

static int set_up(sqlite3 *db, FL_UNUSED const char **message,
                  FL_UNUSED const struct sqlite3_api_routines *api)
{
    char text[64];
    (void)snprintf(text, sizeof(text), "PRAGMA page_size=%d", page_size);
    (void)sqlite3_wal_autocheckpoint(db, checkpoint_pages);
    return sqlite3_exec(db, text, NULL, NULL, NULL);
}

void proof_sqlite_prepare(uint64_t seed)
{
    static const int page_sizes[] = {512, 1024, 4096};
    struct proof_rng rng = {seed};
    page_size = page_sizes[proof_below(&rng, 3)];
    checkpoint_pages = 4 + (int)proof_below(&rng, 60);
    (void)sqlite3_auto_extension((void (*)(void))set_up);
    (void)sqlite3_test_control(SQLITE_TESTCTRL_PRNG_SEED, (int)(seed & 0x7fffffff) | 1, NULL);
}
