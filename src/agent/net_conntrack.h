/* Connection tracking entries that a change of published ports leaves behind. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Forgets every UDP flow to that port and those that follow (the first 256 at most). A sender that
 * never pauses keeps its flow's entry alive, and the entry keeps sending its packets where the port
 * led when the flow began: to nobody before the port was published, to a container that is gone
 * after it. Best effort: a kernel that cannot filter (before 5.8) changes nothing, and such a flow
 * must then pause for its timeout (30 s). */
void fl_conntrack_forget_udp(uint16_t host_port, uint16_t more, bool ipv6);
