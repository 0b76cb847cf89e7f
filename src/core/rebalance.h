/* Evening out a service's tasks over availability zones. Private to core.
 *
 * When nothing else is to do for a service and its zones differ by more than one task, tasks are
 * started in the emptier ones, above the desired count but below the ceiling. The service's record
 * says how many (`rebalancing`), and until they are healthy that many more are wanted. Then they
 * are wanted no more, and the rule for who goes takes tasks from the fullest zones. Every such step
 * brings the zones closer together, so it ends; a step that comes to nothing is not tried again for
 * a while. */
#pragma once

#include "core/scheduler.h"

/* Adds what is wanted above the desired count, and takes a step if one is due. The censuses'
 * records are read anew when it has put any. */
void fl_schedule_rebalance(struct fl_schedule *s);
/* Are the tasks that are stopped now stopped for that? */
bool fl_rebalance_stops(const struct fl_schedule *s);
/* Says that they were, by zone. */
void fl_rebalance_say_stopped(struct fl_schedule *s, struct fl_task *const *tasks, size_t n);

/* The zones in which the cluster has instances that take tasks; may be some seconds old. */
struct fl_zones;
void fl_zones_free(struct fl_cluster *cluster);
