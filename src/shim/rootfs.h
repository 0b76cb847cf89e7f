/* The container's root file system: an overlay in the shim's own mount namespace, so that it
 * is gone when the last process that uses it is gone, whatever happens to us. */
#pragma once

#include "shim/orders.h"

/* Mounts the layers with `upper` and `work` beneath dir_fd onto `rootfs` there. dir_fd must have
 * been opened in the shim's mount namespace. -errno. */
int rootfs_mount(int dir_fd, const struct orders *orders);
