/* What an installation's network has to remember from one start to the next: `network.json` in the
 * data directory. */
#pragma once

#include <stdbool.h>

#include "agent/net_subnet.h"
#include "base/err.h"
#include "base/str.h"

struct fl_net_memory {
    struct fl_subnet subnet; /* of last time; a prefix of 0: none is known */
    bool forwards_ipv4;      /* it was us who switched forwarding on, since this host's boot */
    bool forwards_ipv6;
};

/* Zeroed where the file is not there or says nothing sensible. */
void fl_net_memory_read(struct fl_str data_dir, struct fl_net_memory *ret_memory);
int fl_net_memory_write(struct fl_str data_dir, const struct fl_net_memory *memory,
                        struct fl_err *err);
/* Removes the file; 0 when it is not there. */
int fl_net_memory_remove(struct fl_str data_dir, struct fl_err *err);
