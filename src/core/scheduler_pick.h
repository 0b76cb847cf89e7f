/* Who goes when a service has too many tasks. Private to core.
 *
 * Placed by spreading, it goes from where the service has most; packed, from where it leaves most
 * room. A service that names no strategy keeps its zones balanced, then its instances. Who is equal
 * by that goes at random. Every pick changes the counts that the next one is made by. */
#pragma once

#include "core/scheduler.h"

struct fl_picker;

/* Counts the tasks that the service has and keeps; lives in the decision's arena. */
struct fl_picker *fl_picker_new(struct fl_schedule *s);
/* These are to be picked from, in place of the ones before. */
void fl_picker_offer(struct fl_picker *picker, struct fl_member *const *members, size_t n);
/* The next one, which is offered no more; NULL: none is left. Takes time by the number offered. */
struct fl_member *fl_picker_next(struct fl_picker *picker);
