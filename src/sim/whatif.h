/* What if: the production core with hosts, definitions and arrivals that a person describes.
 * Nothing breaks here; what is asked is where tasks go, how full the hosts get, what waits, and
 * why. The same scenario gives the same answer on every machine. */
#pragma once

#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

enum { FL_WHATIF_MAX_TEXT = 4 << 20, FL_WHATIF_MAX_OUTPUT = 16 << 20 };

struct fl_whatif_totals {
    uint64_t arrived; /* tasks that were asked for */
    uint64_t placed;
    uint64_t ended;
    uint64_t waiting; /* at the end */
    uint64_t delayed; /* did not find a place at once */
    uint64_t waited_minutes;
    uint64_t hosts;
    uint64_t steps; /* events that the core took */
};

/* Plays a scenario (YAML or JSON, see examples/what-if) to its end. table gets lines for a person,
 * svg (may be NULL) a plot. -EINVAL and one sentence for a scenario that is not good. */
int fl_whatif_run(struct fl_str scenario, struct fl_buf *table, struct fl_buf *svg,
                  struct fl_whatif_totals *ret_totals, struct fl_err *err);
