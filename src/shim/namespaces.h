/* The namespaces that the container does not get anew: the shim enters them, the runtime inherits.
 */
#pragma once

#include "shim/orders.h"

/* What the task's containers share: its IPC namespace, and the mount namespace in which its shared
 * memory lies, of which a copy becomes ours. *dir_fd, the container's directory, is opened anew
 * from its path there. 0 (also without a holder) or -errno. */
int namespaces_enter_holder(const struct orders *orders, const char *dir, int *dir_fd);
/* Enters the network namespace, if there is one, and closes its descriptor. */
int namespaces_enter_network(const struct orders *orders);
/* Sets the kernel parameters of the namespaces that we are in by now. */
int namespaces_set_sysctls(const struct orders *orders);
