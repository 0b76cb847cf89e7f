/* Host ports held by a bound socket that never listens: while it is open no process of the host
 * can take the port, and packets never reach it, because the nat table redirects them first. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Whether this host has IPv6: its loopback address can be bound. */
bool fl_port_has_ipv6(void);
/* A socket bound to 0.0.0.0:port (ipv6: to [::]:port for both families), owned by the caller, or
 * -errno: -EADDRINUSE when somebody else has the port on any address. What a closed server left in
 * TIME_WAIT does not count, if that server had set SO_REUSEADDR (as nearly all do). */
int fl_port_hold(uint16_t port, bool udp, bool ipv6);
/* The kernel's range of local ports; the usual 32768–60999 when it cannot be read. */
void fl_port_local_range(uint16_t *ret_low, uint16_t *ret_high);
