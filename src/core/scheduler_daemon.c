/* DAEMON services: one task on every instance that takes it. */
#include "core/scheduler.h"

void fl_schedule_daemon(struct fl_schedule *s)
{
    (void)s;
}
