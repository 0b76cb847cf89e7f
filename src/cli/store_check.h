/* Whether what the server keeps can be believed. */
#pragma once

#include "base/err.h"
#include "cli/options.h"

/* Checks the databases and images in dir, which nobody may use meanwhile; `leap` raises the store's
 * epoch by that much, 0 leaves it (an ordinary open's step aside). Prints a line for each part. */
int fl_store_check(const struct fl_options *options, const char *dir, uint64_t leap,
                   struct fl_err *err);
