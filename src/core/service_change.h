/* How services' records are changed. Private to core. Every way of changing one goes through here:
 * edit a copy, put it. */
#pragma once

#include "core/decide.h"
#include "core/service.h"

/* A copy of the record, in the decision's arena, to be changed and put. */
struct rec_Service *fl_service_edit(struct fl_decision *d, const struct fl_service *service);
/* Puts it with the next version. */
void fl_service_put(struct fl_decision *d, struct rec_Service *rec);
/* The entry of a deployment in an edited record; NULL when there is none. */
struct rec_Deployment *fl_service_entry(const struct rec_Service *rec, int64_t number);
/* Adds an entry in front of the others. */
struct rec_Deployment *fl_service_add_entry(struct fl_decision *d, struct rec_Service *rec,
                                            int64_t number, struct fl_str status);
/* Says how a deployment fares; sets updatedAt. */
void fl_entry_set_rollout(struct fl_decision *d, struct rec_Deployment *entry,
                          enum ecs_DeploymentRolloutState state, struct fl_str reason);

struct rec_ServiceDeployment *fl_rollout_edit(struct fl_decision *d,
                                              const struct fl_rollout *rollout);
/* Puts it with updatedAt. */
void fl_rollout_put(struct fl_decision *d, struct rec_ServiceDeployment *rec);

/* Adds an event "(service <name>) <text>"; the oldest beyond a hundred goes. */
void fl_service_say(struct fl_decision *d, struct fl_service *service, const char *fmt, ...)
    FL_PRINTF(3, 4);
/* The same about one of its deployments, or tasks of it: an event of a task set is "(service
 * <name>, taskSet <id>) <text>". */
void fl_service_say_of(struct fl_decision *d, struct fl_service *service, int64_t number,
                       const char *fmt, ...) FL_PRINTF(4, 5);
/* As fl_service_say, unless the newest event of these words is younger than six hours: for what
 * would be said again with every attempt. */
void fl_service_say_once(struct fl_decision *d, struct fl_service *service, const char *fmt, ...)
    FL_PRINTF(3, 4);
/* The same again, but an event that begins with `over` (after the service's name) says that the
 * cause is gone: what was said before it does not count. */
void fl_service_say_until(struct fl_decision *d, struct fl_service *service, const char *over,
                          const char *fmt, ...) FL_PRINTF(4, 5);
/* What an event says, without the service's name. */
struct fl_str fl_service_said(const struct fl_service_event *event);
/* Events older than this say nothing about whether a thing was said; nor do events of the time
 * before the clock was set back. */
enum { FL_EVENT_AGAIN_MS = 6 * 60 * 60 * 1000 };
bool fl_event_is_recent(const struct fl_decision *d, const struct fl_service_event *event);

/* Deletes the records of revisions that nothing names any more. */
void fl_service_prune(struct fl_decision *d, struct fl_service *service);
/* "ecs-svc/<number>" */
struct fl_str fl_deployment_id(struct fl_decision *d, int64_t number);
/* Nineteen digits, not in use by the service (NULL: a new one). */
int64_t fl_new_number(struct fl_decision *d, const struct fl_service *service);

/* Begins a rollout to a new revision: `rec` is a new service's record or an edited one, `revision`
 * the configuration (cluster, service, number and createdAt are filled in). What was PRIMARY
 * becomes ACTIVE, a rollout that is under way is STOPPED. Puts all of it; returns the revision's
 * number. */
int64_t fl_rollout_begin(struct fl_decision *d, struct rec_Service *rec,
                         struct rec_ServiceRevision *revision);
/* Ends the current rollout, if there is one: with a status that is final, and why. The result is
 * taken from the target's deployment. `rec` loses its `rollout` and is put by the caller. */
void fl_rollout_end(struct fl_decision *d, struct fl_service *service, struct rec_Service *rec,
                    enum ecs_ServiceDeploymentStatus status, struct fl_str reason);

struct fl_str fl_service_arn(struct fl_decision *d, const struct rec_Service *rec);
struct fl_str fl_revision_arn(struct fl_decision *d, const struct rec_Service *rec, int64_t number);
struct fl_str fl_rollout_arn(struct fl_decision *d, const struct rec_ServiceDeployment *rec);

/* service_pin.c: a task of a service has reported which images it got: its revision keeps to them.
 */
void fl_revision_pin(struct fl_decision *d, const struct fl_task *task);
/* The image that the task's agent is told to run for a container. */
struct fl_str fl_revision_image(struct fl_decision *d, const struct fl_task *task,
                                const struct ecs_ContainerDefinition *c);

/* Deletes records: a service's, when it is INACTIVE, with all that is its own. */
void fl_drop_service(struct fl_decision *d, struct fl_service *service);

/* The name in a name, "cluster/name" or an ARN, which must be of that cluster. 0 or refused. */
int fl_read_service_name(struct fl_decision *d, const struct fl_cluster *cluster,
                         struct fl_str given, struct fl_str *ret_name);
/* The service of that name or ARN, INACTIVE ones too; NULL after refusing. */
struct fl_service *fl_find_service(struct fl_decision *d, struct fl_cluster *cluster,
                                   struct fl_str given);

/* services.c, service_show.c, service_list.c, rollouts_show.c */
int fl_create_service(struct fl_decision *d, const void *input, void *output);
int fl_update_service(struct fl_decision *d, const void *input, void *output);
int fl_delete_service(struct fl_decision *d, const void *input, void *output);
int fl_describe_services(struct fl_decision *d, const void *input, void *output);
/* rollback.c */
/* The service deployment of an ARN, and its service; NULL after refusing. */
struct fl_service *fl_find_rollout(struct fl_decision *d, struct fl_str arn_text,
                                   struct fl_rollout **ret_rollout);
int fl_stop_service_deployment(struct fl_decision *d, const void *input, void *output);
int fl_list_services(struct fl_decision *d, const void *input, void *output);
int fl_list_services_by_namespace(struct fl_decision *d, const void *input, void *output);
int fl_list_rollouts(struct fl_decision *d, const void *input, void *output);
int fl_describe_rollouts(struct fl_decision *d, const void *input, void *output);
int fl_describe_revisions(struct fl_decision *d, const void *input, void *output);
/* rollouts_show.c: what an ARN "…:<type>/<cluster>/<service>/<id>" names: 0 or refused; the service
 * is NULL when there is none. */
int fl_find_service_below(struct fl_decision *d, struct fl_str text, const char *type,
                          struct fl_service **ret_service, struct fl_str *ret_id);
/* A service as the API shows it. */
void fl_show_service(struct fl_decision *d, const struct fl_service *service, bool with_tags,
                     struct ecs_Service *out);
/* protection.c */
int fl_get_protection(struct fl_decision *d, const void *input, void *output);
int fl_update_protection(struct fl_decision *d, const void *input, void *output);
/* task_sets.c */
int fl_create_task_set(struct fl_decision *d, const void *input, void *output);
int fl_update_task_set(struct fl_decision *d, const void *input, void *output);
int fl_set_primary_task_set(struct fl_decision *d, const void *input, void *output);
int fl_delete_task_set(struct fl_decision *d, const void *input, void *output);
int fl_describe_task_sets(struct fl_decision *d, const void *input, void *output);
