/* Task sets: the deployments of a service whose controller is EXTERNAL. Private to core. Who
 * deploys makes, scales and removes them by hand; the scheduler keeps each at its computed count
 * and says whether it is stable. */
#pragma once

#include "core/scheduler.h"

/* ECS has no more in a service. */
enum { FL_MAX_TASK_SETS = 5 };

bool fl_service_is_external(const struct fl_service *service);
/* What each set is to have, and the bounds over all of them. */
void fl_task_sets_target(struct fl_schedule *s);
/* Notes the counts that they are to have. True when records were put. */
bool fl_task_sets_show(struct fl_schedule *s);
/* Sets that are gone leave the record, the others' stability is noted. True when it changed. Says
 * whether there are sets and all of them are stable. */
bool fl_task_sets_settle(struct fl_schedule *s, struct rec_Service *rec, bool *ret_stable);
/* The sets as the API shows them in the service. */
struct ecs_TaskSet_list fl_show_task_sets(struct fl_decision *d, const struct fl_service *service);
