/* Connection tracking entries that a change of published ports leaves behind. */
#pragma once

#include <stdint.h>

/* Forgets every UDP flow to that port and the `more` that follow. A sender that never pauses keeps
 * its flow's entry alive, and the entry keeps sending its packets where the port led when the flow
 * began: to nobody before the port was published, to a container that is gone after it. Best
 * effort: where it fails, such a flow must pause for its timeout (30 s). */
void fl_conntrack_forget_udp(uint16_t first_port, uint16_t more);
