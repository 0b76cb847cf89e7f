/* The connection of one container's log driver: made when there is something to send, and again
 * after it was lost. Nothing here blocks the loop. */
#pragma once

#include <uv.h>

#include "agent/log_address.h"

struct fl_log_link;

/* What is sent at once; all must stay until done is called. */
struct fl_log_load {
    struct fl_str bytes; /* empty: only the connection is made */
    const size_t *ends;  /* of datagrams: where in bytes each one ends */
    size_t count;
};

/* error is NULL when the other side's kernel has all of it (tcp) or this one's has taken it
 * (others); else it says, as Docker would, what failed, and any part may have arrived. */
typedef void (*fl_log_sent)(void *context, const char *error);

/* The address is copied. */
struct fl_log_link *fl_log_link_new(uv_loop_t *loop, const struct fl_log_address *address);
/* One at a time; sent is called once, never from within. */
void fl_log_link_send(struct fl_log_link *link, const struct fl_log_load *load, fl_log_sent sent,
                      void *context);
/* What is under way is never answered; true when all of it has left this process. */
bool fl_log_link_close(struct fl_log_link *link);
