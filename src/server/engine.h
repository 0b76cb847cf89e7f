/* The core's driver: collects events into turns, commits each turn's records, and lets its effects
 * out when they are durable: an answer in a turn is seen only when nothing it shows can be lost. */
#pragma once

#include <uv.h>

#include "core/core.h"
#include "server/keys.h"
#include "server/vault.h"
#include "store/store.h"

struct fl_engine;

struct fl_engine_callbacks {
    /* An effect whose turn is durable; valid during the call. */
    void (*effect)(void *context, const struct fl_core_effect *effect);
    /* After the last effect of a turn. */
    void (*turn_done)(void *context);
};

/* Loads every record into the core, the keys, or the vault. All of them outlive the engine. */
int fl_engine_open(uv_loop_t *loop, struct fl_core *core, struct fl_keys *keys,
                   struct fl_vault *vault, struct fl_store *store,
                   const struct fl_engine_callbacks *callbacks, void *context,
                   struct fl_engine **ret_engine, struct fl_err *err);
/* Commits what is open. The loop must run once more for the handles to close. */
void fl_engine_close(struct fl_engine *engine);

/* Decides an event now, in the turn that is open; time and seed are filled in here. An answer may
 * be given before it returns. */
void fl_engine_step(struct fl_engine *engine, struct fl_core_event *event);
