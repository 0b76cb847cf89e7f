/* The kernel's settings under /proc/sys/net that tasks' network needs, and the way back. */
#pragma once

#include <netlink/netlink.h>

#include "agent/net_memory.h"

/* Settings of the bridge `tag`, which is there; and that the host forwards, by IPv6 too if ipv6.
 * What had to be switched on is noted in memory. */
int fl_net_kernel_configure(const char *tag, bool ipv6, struct fl_net_memory *memory,
                            struct fl_err *err);
/* After the bridge's removal: switches off again what memory says that was switched on by us,
 * unless the host has another bridge, whose owner may count on it. */
void fl_net_kernel_restore(struct nl_sock *sock, const struct fl_net_memory *memory);
