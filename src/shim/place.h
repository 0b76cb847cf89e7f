/* Where in the root file system the definition's mounts and devices come to lie. */
#pragma once

#include <stdbool.h>

#include "shim/orders.h"

/* Follows the image's links for each place, as the runtime will. A place that leads into /proc, or
 * by a link into /sys, is refused: what is mounted there would change what the runtime itself, and
 * the container's confinement, rely on. -EPERM with *ret_place the one that was refused; -ELOOP. */
int place_check(int dir_fd, const struct orders *orders, const char **ret_place);
/* The path without links that `path` leads to, beneath rootfs_fd as its root; components that do
 * not exist are taken as they are written. ret_path has PATH_MAX bytes. -ELOOP, -ENAMETOOLONG. */
int place_resolve(int rootfs_fd, const char *path, char *ret_path);
/* Whether `path`, to which `place` leads, is the root, in /proc, or by a link in /sys. */
bool place_is_forbidden(const char *path, const char *place);
