/* What an installation leaves on a machine besides its directory, found by its name and removed:
 * processes by cgroup, cgroups in every hierarchy, shims, mounts. */
#pragma once

#include "base/err.h"
#include "base/str.h"

/* SIGKILLs every process in the cgroups /<tag> of every hierarchy, waits until the groups are
 * empty, removes them. -EBUSY when something stays. */
int fl_leftovers_remove_cgroups(const char *tag, struct fl_err *err);
/* Ends the shims of the installation: they go by themselves when their container is gone; those
 * that have not after patience_ms are killed. */
void fl_leftovers_end_shims(struct fl_str data_dir, unsigned patience_ms);
/* -EBUSY and the path of a mount when one lies in the directory, as this process sees it. */
int fl_leftovers_check_mounts(struct fl_str data_dir, struct fl_err *err);
