/* Lifecycle hooks of rollouts that go through stages. Private to core.
 *
 * A PAUSE hook waits for ContinueServiceDeployment. A hook whose target is a task definition, which
 * ECS does not know, is a task that runs once: its first essential container is told what it is for
 * in its environment, and that container's exit code is the answer. */
#pragma once

#include "core/scheduler.h"

/* Checks a configuration's hooks; 0 or refused. */
int fl_hooks_check(struct fl_decision *d, const struct ecs_DeploymentConfiguration *config);

enum fl_hooks_verdict { FL_HOOKS_DONE, FL_HOOKS_WAIT, FL_HOOKS_FAILED };

/* Begins and follows the hooks of one stage in `rec`, an edited copy of the current rollout, and
 * says how they stand together. Sets *changed when rec is to be put. */
enum fl_hooks_verdict fl_hooks_run(struct fl_schedule *s, struct rec_ServiceDeployment *rec,
                                   enum ecs_DeploymentLifecycleHookStage stage, bool *changed);
/* Ends in `rec` what waits or runs: nobody asks for the answer any more. True when rec is to be
 * put. */
bool fl_hooks_cancel(struct fl_decision *d, struct fl_service *service,
                     struct rec_ServiceDeployment *rec);
bool fl_hooks_are_open(const struct rec_ServiceDeployment *rec);

int fl_continue_rollout(struct fl_decision *d, const void *input, void *output);
