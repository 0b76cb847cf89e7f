/* The way back from a rollout: to the revision that was last COMPLETED, whose deployment becomes
 * PRIMARY again. It is asked for (ROLLBACK_REQUESTED) by the circuit breaker, by a user or by a
 * stage, and taken by the scheduler's next look (ROLLBACK_IN_PROGRESS); it has succeeded when the
 * service is steady. What failed is ACTIVE and FAILED until its tasks are gone. */
#include "base/bug.h"
#include "core/stages.h"

bool fl_rollout_is_forward(const struct rec_ServiceDeployment *rec)
{
    return rec->status == ECS_ServiceDeploymentStatus_PENDING ||
           rec->status == ECS_ServiceDeploymentStatus_IN_PROGRESS;
}

static bool is_triggered(const struct rec_ServiceDeployment *rec)
{
    return rec->breakerStatus == ECS_ServiceDeploymentRollbackMonitorsStatus_TRIGGERED;
}

void fl_rollback_request(struct fl_decision *d, struct fl_service *service, struct fl_str reason)
{
    const struct fl_rollout *current = fl_service_current(service);
    if (!current || !fl_rollout_is_forward(current->rec))
        return;
    struct rec_ServiceDeployment *rec = fl_rollout_edit(d, current);
    struct ecs_Rollback *rollback = fl_arena_new_object(d->arena, struct ecs_Rollback);
    FL_SET(rollback, ecs_Rollback, reason, reason);
    FL_SET(rollback, ecs_Rollback, startedAt, d->now_ms);
    FL_SET(rec, rec_ServiceDeployment, rollback, rollback);
    FL_SET(rec, rec_ServiceDeployment, status, ECS_ServiceDeploymentStatus_ROLLBACK_REQUESTED);
    FL_SET(rec, rec_ServiceDeployment, statusReason, reason);
    if (rec->breakerStatus == ECS_ServiceDeploymentRollbackMonitorsStatus_MONITORING)
        FL_SET(rec, rec_ServiceDeployment, breakerStatus,
               ECS_ServiceDeploymentRollbackMonitorsStatus_MONITORING_COMPLETE);
    fl_rollout_put(d, rec);
}

/* Says of the edited record's deployment that it has failed, and why. */
static void fail_entry(struct fl_decision *d, struct fl_service *service, struct rec_Service *rec,
                       const struct rec_ServiceDeployment *rollout, struct fl_str reason)
{
    struct rec_Deployment *entry = fl_service_entry(rec, rollout->target);
    const char *words = "tasks failed to start.";
    struct fl_str text = is_triggered(rollout) ? fl_str_of(words) : reason;
    if (entry)
        fl_entry_set_rollout(d, entry, ECS_DeploymentRolloutState_FAILED,
                             fl_str_printf(d->arena, "ECS deployment %s: %.*s",
                                           is_triggered(rollout) ? "circuit breaker" : "failed",
                                           FL_STR_ARG(text)));
    fl_service_say(d, service, "(deployment ecs-svc/%lld) deployment failed: %.*s",
                   (long long)rollout->target, FL_STR_ARG(text));
}

static void end_as_failed(struct fl_decision *d, struct fl_service *service,
                          enum ecs_ServiceDeploymentStatus status, struct fl_str cause,
                          struct fl_str reason)
{
    const struct fl_rollout *current = fl_service_current(service);
    struct rec_Service *rec = fl_service_edit(d, service);
    if (!current)
        return;
    fail_entry(d, service, rec, current->rec, cause);
    fl_rollout_end(d, service, rec, status, reason);
    fl_service_put(d, rec);
}

void fl_rollout_fail(struct fl_decision *d, struct fl_service *service, struct fl_str reason)
{
    end_as_failed(d, service, ECS_ServiceDeploymentStatus_STOPPED, reason, reason);
}

void fl_rollback_fail(struct fl_decision *d, struct fl_service *service, struct fl_str reason)
{
    struct rec_Service *rec = fl_service_edit(d, service);
    fl_service_say(d, service,
                   "(deployment ecs-svc/%lld) deployment failed: tasks failed to start.",
                   (long long)rec->deployments.items[0].number);
    fl_rollout_end(d, service, rec, ECS_ServiceDeploymentStatus_ROLLBACK_FAILED, reason);
    fl_service_put(d, rec);
}

/* The entry in front, as PRIMARY; all the others ACTIVE. */
static struct rec_Deployment *promote(struct fl_decision *d, struct rec_Service *rec,
                                      int64_t number)
{
    struct rec_Deployment_list *list = &rec->deployments;
    for (size_t i = 0; i < list->n; i++)
        FL_SET(&list->items[i], rec_Deployment, status, FL_STR("ACTIVE"));
    if (!fl_service_entry(rec, number))
        return fl_service_add_entry(d, rec, number, FL_STR("PRIMARY"));
    size_t at = (size_t)(fl_service_entry(rec, number) - list->items);
    struct rec_Deployment entry = list->items[at];
    memmove(list->items + 1, list->items, at * sizeof(entry));
    list->items[0] = entry;
    FL_SET(&list->items[0], rec_Deployment, status, FL_STR("PRIMARY"));
    return &list->items[0];
}

static void turn_back(struct fl_decision *d, struct rec_Service *rec,
                      const struct rec_ServiceDeployment *rollout, int64_t to)
{
    struct rec_Deployment *failed = fl_service_entry(rec, rollout->target);
    if (failed)
        FL_SET(failed, rec_Deployment, desiredCount, 0);
    struct rec_Deployment *entry = promote(d, rec, to);
    FL_SET(entry, rec_Deployment, desiredCount, rec->desiredCount);
    FL_SET(entry, rec_Deployment, failedTasks, 0);
    FL_SET(entry, rec_Deployment, failedStarts, 0);
    FL_UNSET(entry, rec_Deployment, nextStartAt);
    entry->nextStartAt = 0;
    fl_entry_set_rollout(d, entry, ECS_DeploymentRolloutState_IN_PROGRESS,
                         fl_str_printf(d->arena,
                                       "ECS deployment%s: rolling back to deploymentId "
                                       "ecs-svc/%lld.",
                                       is_triggered(rollout) ? " circuit breaker" : "",
                                       (long long)to));
    FL_UNSET(rec, rec_Service, steadyAt);
    rec->steadyAt = 0;
}

static void begin(struct fl_schedule *s, const struct fl_rollout *rollout, int64_t to)
{
    struct rec_ServiceDeployment *way = fl_rollout_edit(s->d, rollout);
    struct rec_Service *rec = fl_service_edit(s->d, s->service);
    fail_entry(s->d, s->service, rec, way, way->rollback->reason);
    turn_back(s->d, rec, way, to);
    FL_SET(way, rec_ServiceDeployment, status, ECS_ServiceDeploymentStatus_ROLLBACK_IN_PROGRESS);
    FL_SET(way, rec_ServiceDeployment, rollbackTo, FL_BUG(62, way->target, to));
    fl_service_put(s->d, rec);
    fl_rollout_put(s->d, way);
    fl_service_say(s->d, s->service, "rolling back to deployment ecs-svc/%lld.", (long long)to);
}

bool fl_schedule_rollback(struct fl_schedule *s)
{
    const struct fl_rollout *current = fl_service_current(s->service);
    const struct rec_Service *rec = s->service->rec;
    if (!current || current->rec->status != ECS_ServiceDeploymentStatus_ROLLBACK_REQUESTED)
        return false;
    bool can = FL_HAS(rec, rec_Service, lastCompleted) &&
               rec->lastCompleted != current->rec->target &&
               fl_service_revision(s->service, rec->lastCompleted);
    if (can)
        begin(s, current, rec->lastCompleted);
    else
        end_as_failed(s->d, s->service, ECS_ServiceDeploymentStatus_ROLLBACK_FAILED,
                      current->rec->rollback->reason,
                      FL_STR("No rollback candidate was found to run the rollback."));
    return true;
}

/* ---- StopServiceDeployment ---- */

struct fl_service *fl_find_rollout(struct fl_decision *d, struct fl_str arn,
                                   struct fl_rollout **ret_rollout)
{
    struct fl_service *service;
    struct fl_str id;
    if (fl_find_service_below(d, arn, "service-deployment", &service, &id) < 0)
        return NULL;
    *ret_rollout = service ? fl_service_rollout(service, id) : NULL;
    if (*ret_rollout)
        return service;
    (void)fl_refuse(d, "ServiceDeploymentNotFoundException", "Service deployment not found.");
    return NULL;
}

static bool is_going_back(const struct rec_ServiceDeployment *rec)
{
    return rec->status == ECS_ServiceDeploymentStatus_ROLLBACK_REQUESTED ||
           rec->status == ECS_ServiceDeploymentStatus_ROLLBACK_IN_PROGRESS;
}

int fl_stop_service_deployment(struct fl_decision *d, const void *input, void *output)
{
    const struct ecs_StopServiceDeploymentRequest *in = input;
    struct ecs_StopServiceDeploymentResponse *out = output;
    struct fl_rollout *rollout;
    if (FL_HAS(in, ecs_StopServiceDeploymentRequest, stopType) &&
        in->stopType != ECS_StopServiceDeploymentStopType_ROLLBACK)
        return fl_refuse(d, "InvalidParameterException",
                         "The stopType ABORT is not supported. Valid values: [ROLLBACK].");
    struct fl_service *service = fl_find_rollout(d, in->serviceDeploymentArn, &rollout);
    if (!service)
        return -1;
    bool is_open = fl_rollout_is_forward(rollout->rec) || is_going_back(rollout->rec);
    if (is_open && fl_stages_are_final(rollout->rec))
        return fl_refuse(d, "ConflictException",
                         "The service deployment cannot be stopped: what it replaces is being "
                         "cleaned up.");
    if (!is_open || !fl_str_is(service->rec->status, "ACTIVE"))
        return fl_refuse(
            d, "ConflictException", "The service deployment cannot be stopped: %s.",
            is_open ? "its service is being deleted"
                    : fl_enum_text(&ecs_enum_ServiceDeploymentStatus, (int)rollout->rec->status));
    FL_SET(out, ecs_StopServiceDeploymentResponse, serviceDeploymentArn,
           fl_rollout_arn(d, rollout->rec));
    if (!FL_BUG(88, true, false))
        fl_rollback_request(
            d, service,
            FL_STR("Service deployment rolled back because it was stopped by the user."));
    return 0;
}
