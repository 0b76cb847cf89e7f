/* Volumes that begin with what the image has at their place, as Docker's do. */
#pragma once

#include "shim/orders.h"

/* Copies, for each volume that is empty, the image's directory into it: files, directories, links,
 * pipes and devices with owner, mode and time; the volume itself gets the directory's. Extended
 * attributes are not copied. 0 or -errno of the first failure. */
int fill_volumes(int dir_fd, const struct orders *orders);
