/* An installation on disk, as `up` makes it: <data-dir>/fairlead.marker says that the directory is
 * ours, options.json what `up` was told, keys/{operator,agent}.json the two keys, log/ what server
 * and agent write, lock who changes it. Root's, 0700. */
#pragma once

#include "base/err.h"
#include "cli/options.h"
#include "wire/sigv4.h"

#define FL_INSTALL_MARKER "fairlead.marker"

/* Makes or checks the directory: refuses one that holds something and lacks the marker. */
int fl_install_prepare(const struct fl_options *options, struct fl_err *err);
/* 0 when the directory carries the marker, -ENOENT when there is none, -EPERM otherwise. */
int fl_install_check(struct fl_str data_dir, struct fl_err *err);
/* Takes the lock that up, down and uninstall hold while they work; waits up to 60 s. */
int fl_install_lock(struct fl_str data_dir, int *ret_fd, struct fl_err *err);

/* Keys that exist are kept. */
int fl_install_make_keys(struct fl_str data_dir, struct fl_err *err);
/* name: "operator" or "agent". -EACCES for who is not root. */
int fl_install_read_key(struct fl_str data_dir, const char *name, struct fl_arena *arena,
                        struct fl_credentials *ret_key, struct fl_err *err);

/* Keeps what `up` was told for a later one without flags, and whose copy of the key to remove. */
int fl_install_remember(const struct fl_options *options, int64_t env_user, struct fl_err *err);
/* The user who has a copy of the operator's key, -1 for none. */
int64_t fl_install_env_user(struct fl_str data_dir);
