/* The process's mount namespace. Not for core or task. */
#pragma once

#include "base/err.h"

/* Moves the process into a mount namespace of its own: what is mounted or unmounted there is not
 * seen outside, while the host's later mounts still arrive. In a chroot the root becomes a
 * mount, which container runtimes ask for. The current directory becomes "/". To be called before
 * threads exist. */
int fl_mounts_unshare(struct fl_err *err);
