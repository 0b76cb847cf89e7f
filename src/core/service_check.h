/* What CreateService and UpdateService refuse, in ECS's words where they are known. Private to
 * core. */
#pragma once

#include "core/service_change.h"

/* ECS's quotas. */
enum { FL_MAX_SERVICES = 5000, FL_MAX_DESIRED = 5000, FL_MAX_DEPLOYMENTS = 100 };

/* Is the request so small that what is kept of it stays far below a record's bound? 0 or refused.
 */
int fl_service_check_size(struct fl_decision *d);
/* The request by itself: bounds on its members, and what is not implemented yet by name. 0 or
 * refused. UpdateService's request is first made one of CreateService. */
int fl_service_check_request(struct fl_decision *d, const struct ecs_CreateServiceRequest *in);
/* A service as it would be, the defaults filled in: what contradicts itself, and tasks that could
 * not be launched at all. The definition is NULL under an external controller. 0 or refused. */
int fl_service_check(struct fl_decision *d, const struct rec_Service *rec,
                     const struct rec_ServiceRevision *config, struct fl_definition *definition);
/* May the service's tasks be moved between availability zones? NULL, or why not. */
const char *fl_service_rebalancing_obstacle(const struct rec_Service *rec);
