/* Starting programs that must inherit nothing of ours: no environment, no signal dispositions or
 * mask. Not for core or task. */
#pragma once

#include <spawn.h>

/* A search path and nothing else. */
extern char *const fl_spawn_environment[];

/* Sets every signal to its default and unblocks all, on attributes that are initialised; flags are
 * further POSIX_SPAWN_… ones, or 0. */
void fl_spawn_reset_signals(posix_spawnattr_t *attr, short flags);
