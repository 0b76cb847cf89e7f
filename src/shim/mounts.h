/* Volumes and tmpfs, mounted into the root file system before the runtime starts.
 *
 * A volume may hold anything: its links are other containers' work, and may change while we look.
 * So the runtime, which would follow them, is not asked to mount into one. */
#pragma once

#include "shim/orders.h"

/* Mounts what is ordered, in that order. A place that leads into /proc or /sys is refused
 * (-EPERM), one that changes under our hands, too (-ELOOP); *ret_place is the one that failed. */
int mounts_make(int dir_fd, const struct orders *orders, const char **ret_place);
