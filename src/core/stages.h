/* Rollouts that go through stages: the strategies BLUE_GREEN, LINEAR and CANARY. Private to core.
 *
 * *Green* is the revision that a rollout brings, *blue* the one that it replaces. Both have their
 * full count of tasks from SCALE_UP to CLEAN_UP, so that until then the way back is to let green
 * go. Without a load balancer there is no traffic to shift: the shift is a weight that is shown. */
#pragma once

#include "core/scheduler.h"

/* A hundred percent of traffic, in the tenths in which weights are kept. */
enum { FL_ALL_TRAFFIC = 1000 };

/* Does what a request gives (NULL: nothing) go with the strategy of the service as it is to be? 0
 * or refused. */
int fl_stages_check(struct fl_decision *d, const struct ecs_DeploymentConfiguration *given,
                    const struct rec_Service *rec);
/* Puts a rollout that is about to begin into its first stage; nothing for ROLLING. */
void fl_stages_begin(struct fl_decision *d, struct rec_ServiceDeployment *rec);
/* Does the service's rollout go through stages now? Not when it is rolling back, and not when the
 * service is being deleted. NULL otherwise. */
const struct fl_rollout *fl_stages_rollout(const struct fl_service *service);
/* Is a stage before CLEAN_UP under way? Then the rollout is not complete, however it looks. */
bool fl_stages_hold(const struct fl_service *service);
/* Has CLEAN_UP begun? From then on there is no way back. */
bool fl_stages_are_final(const struct rec_ServiceDeployment *rec);
/* Number of the revision that is replaced; 0: there is none, or it may go. */
int64_t fl_stages_blue(const struct fl_service *service);
/* Percent of production traffic that is the target's, in tenths; -1: the rollout has no stages. */
int32_t fl_stages_weight(const struct rec_ServiceDeployment *rec);
/* How many tasks each deployment is to have, of the full count `desired`, when fl_stages_rollout
 * says that there are stages. The schedule's bounds are still those of one deployment; each of the
 * two gets them for itself. */
void fl_stages_targets(struct fl_schedule *s, size_t desired);
/* Goes on: hooks, times, the next stage. True when records were put; then the censuses are not to
 * be used any more. */
bool fl_schedule_stages(struct fl_schedule *s);
