/* Who listens on a TCP port of this network namespace. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

/* True when nothing keeps us from listening there (an address that is not ours counts as free:
 * the server will say what is wrong with it). */
bool fl_port_is_free(struct fl_str host, uint16_t port);
/* "python3 (process 4711)" of who listens on the port, or "another process"; in the arena. */
struct fl_str fl_port_holder(uint16_t port, struct fl_arena *arena);
