/* The running program: where it lies with the helper programs beside it, what it may open. Not for
 * core or task. */
#pragma once

#include "base/err.h"
#include "base/str.h"

/* Absolute path of the running executable, in the arena. */
int fl_program_path(struct fl_arena *arena, struct fl_str *ret_path, struct fl_err *err);
/* Absolute path of the directory that holds fairlead-shim, fairlead-unpack and fairlead-nft, in
 * the arena: libexec/ beside the executable, or ../libexec/fairlead when installed. */
int fl_program_libexec_dir(struct fl_arena *arena, struct fl_str *ret_dir, struct fl_err *err);
/* Raises the soft limit of open descriptors to the hard one; returns what then holds. */
uint64_t fl_program_raise_descriptor_limit(void);
