/* A copy of the operator's environment for the user who ran `sudo fairlead up`: his own file,
 * ~/.config/fairlead/env-<tag>, 0600, written and removed with his rights. */
#pragma once

#include <stdint.h>

#include "cli/options.h"
#include "wire/sigv4.h"

/* The export lines that `fairlead env` prints; in the arena. */
struct fl_str fl_userenv_text(const struct fl_options *options, const struct fl_credentials *key);
/* Writes the copy for SUDO_UID. Returns the user, or -1 where there is none or it failed, which
 * harms nobody but him: `sudo fairlead env` still works. */
int64_t fl_userenv_write(const struct fl_options *options, const struct fl_credentials *key);
/* Reads the copy of the user who runs us; in the arena. -errno where there is none. */
int fl_userenv_read(const struct fl_options *options, struct fl_str *ret_text);
void fl_userenv_remove(const struct fl_options *options, int64_t user);
