/* The deployment circuit breaker: counts what goes wrong with a rollout's target and ends the
 * rollout when it is too much. Stage one: tasks that never reach RUNNING, launches that are
 * refused. Stage two: tasks that are replaced because their health checks failed.
 *
 * A task that becomes healthy resets the count (resetOnHealthyTask). When it did is not recorded,
 * so the number of healthy tasks at the last failure is: more of them than then means that one has
 * become healthy since. */
#include "base/bug.h"
#include "core/scheduler.h"

enum { LEAST = 3, MOST = 200, DEFAULT_PERCENT = 50, MAX_REASON = 1024 };

static const struct ecs_DeploymentCircuitBreaker *
breaker_of(const struct rec_ServiceDeployment *rollout)
{
    return rollout->deploymentConfiguration->deploymentCircuitBreaker;
}

static int64_t latest_count(const struct fl_service *service)
{
    const struct fl_deployment *primary = TAILQ_FIRST(&service->deployments);
    if (service->rec->schedulingStrategy == ECS_SchedulingStrategy_DAEMON && primary)
        return fl_deployment_rec(primary)->desiredCount;
    return service->rec->desiredCount;
}

int32_t fl_breaker_threshold(const struct fl_service *service,
                             const struct rec_ServiceDeployment *rollout)
{
    const struct ecs_DeploymentCircuitBreaker *breaker = breaker_of(rollout);
    const struct ecs_ThresholdConfiguration *config =
        breaker ? breaker->thresholdConfiguration : NULL;
    enum ecs_ThresholdType type = config ? config->type : ECS_ThresholdType_BOUNDED_PERCENT;
    int64_t value = config ? config->value : DEFAULT_PERCENT;
    int64_t share = (value * latest_count(service) + 99) / 100;
    switch (type) {
    case ECS_ThresholdType_COUNT:
        return (int32_t)value;
    case ECS_ThresholdType_BOUNDED_PERCENT:
        return (int32_t)FL_MIN(FL_MAX(share, (int64_t)LEAST), (int64_t)MOST);
    case ECS_ThresholdType_UNBOUNDED_PERCENT:
        return (int32_t)FL_MIN(FL_MAX(share, (int64_t)1), (int64_t)INT32_MAX);
    }
    FL_ASSERT(!"a type of threshold");
    return 0;
}

static bool resets(const struct rec_ServiceDeployment *rollout)
{
    const struct ecs_DeploymentCircuitBreaker *breaker = breaker_of(rollout);
    return !FL_HAS(breaker, ecs_DeploymentCircuitBreaker, resetOnHealthyTask) ||
           breaker->resetOnHealthyTask;
}

/* The rollout that the breaker watches. */
static struct fl_rollout *watched(const struct fl_service *service)
{
    struct fl_rollout *current = fl_service_current(service);
    return current && fl_rollout_is_forward(current->rec) &&
                   current->rec->breakerStatus ==
                       ECS_ServiceDeploymentRollbackMonitorsStatus_MONITORING
               ? current
               : NULL;
}

static int32_t healthy_of(const struct fl_schedule *s, int64_t number)
{
    for (size_t i = 0; i < s->count; i++)
        if (s->censuses[i].deployment->number == number)
            return (int32_t)s->censuses[i].healthy;
    return 0;
}

/* Brings the count in line with the healthy tasks there are. True: it has changed. */
static bool consider_health(const struct fl_schedule *s, struct rec_ServiceDeployment *rec)
{
    int32_t healthy = healthy_of(s, rec->target);
    if (!resets(rec) || rec->failureCount == 0 || healthy == rec->healthyAtFailure)
        return false;
    if (healthy > rec->healthyAtFailure)
        FL_SET(rec, rec_ServiceDeployment, failureCount, 0);
    FL_SET(rec, rec_ServiceDeployment, healthyAtFailure, healthy);
    return true;
}

void fl_breaker_count(struct fl_decision *d, struct fl_service *service, int64_t number,
                      struct fl_str reason)
{
    struct fl_schedule s = {.d = d, .service = service, .due_ms = INT64_MAX};
    const struct fl_rollout *rollout = watched(service);
    if (!rollout || rollout->rec->target != number)
        return;
    struct rec_ServiceDeployment *rec = fl_rollout_edit(d, rollout);
    fl_schedule_observe(&s);
    (void)consider_health(&s, rec);
    FL_SET(rec, rec_ServiceDeployment, failureCount, rec->failureCount + 1);
    FL_SET(rec, rec_ServiceDeployment, healthyAtFailure, healthy_of(&s, number));
    if (reason.n)
        FL_SET(rec, rec_ServiceDeployment, lastFailure, fl_cut(reason, MAX_REASON));
    fl_rollout_put(d, rec);
}

/* What was not even launched; health checks that fail have had their events. */
static void say_why(struct fl_decision *d, struct fl_service *service,
                    const struct rec_ServiceDeployment *rec)
{
    if (rec->lastFailure.n == 0)
        return;
    const char *end = fl_str_ends(rec->lastFailure, FL_STR(".")) ? "" : ".";
    fl_service_say(d, service, "could not launch %d tasks for deployment ecs-svc/%lld. %.*s%s",
                   rec->failureCount, (long long)rec->target, FL_STR_ARG(rec->lastFailure), end);
}

/* Opens the breaker of a rollout that it watches. */
static void trigger(struct fl_decision *d, struct fl_service *service, struct fl_rollout *rollout,
                    struct fl_str because)
{
    struct rec_ServiceDeployment *rec = fl_rollout_edit(d, rollout);
    FL_SET(rec, rec_ServiceDeployment, breakerStatus,
           ECS_ServiceDeploymentRollbackMonitorsStatus_TRIGGERED);
    fl_rollout_put(d, rec);
    say_why(d, service, rec);
    bool goes_back = breaker_of(rec)->rollback;
    struct fl_str reason =
        fl_str_printf(d->arena, "Service deployment %s because %.*s.",
                      goes_back ? "rolled back" : "stopped", FL_STR_ARG(because));
    if (goes_back)
        fl_rollback_request(d, service, reason);
    else
        fl_rollout_fail(d, service, reason);
}

void fl_breaker_give_up(struct fl_decision *d, struct fl_service *service, int64_t number)
{
    struct fl_rollout *rollout = watched(service);
    if (!rollout || rollout->rec->target != number)
        return;
    struct fl_str last = rollout->rec->lastFailure;
    if (fl_str_ends(last, FL_STR(".")))
        last.n--;
    trigger(d, service, rollout,
            fl_str_printf(d->arena, "its tasks cannot be started: %.*s", FL_STR_ARG(last)));
}

bool fl_is_incurable(struct fl_str stopped_reason)
{
    static const struct {
        const char *error, *text;
    } known[] = {
        {"CannotPull", "not found"},
        {"CannotPull", "repository does not exist"},
        {"CannotPull", "manifest unknown"},
        {"CannotPull", "no matching manifest for"},
        {"ResourceInitializationError", "ResourceNotFoundException"},
        {"ResourceInitializationError", "ParameterNotFound"},
        {"ResourceInitializationError", "invalid parameters"},
        {"ResourceInitializationError", "did not contain json key"},
        {"Fetching secret data", "ResourceNotFoundException"},
        {"Fetching secret data", "AccessDeniedException"},
        {"Fetching secret data", "InvalidRequestException"},
        {"Fetching secret data", "ValidationException"},
        {"Fetching secret data", "invalid parameters"},
        {"Fetching secret data", "invalid ARN format"},
        {"Fetching secret data", "retrieved secret from Secrets Manager"},
        {"asm fetching", "ResourceNotFoundException"},
        {"asm fetching", "AccessDeniedException"},
        {"asm fetching", "InvalidRequestException"},
        {"asm fetching", "ValidationException"},
        {"asm fetching", "empty"},
        {"asm fetching", "invalid schema"},
        {"CannotStartContainerError", "ResourceNotFoundException"},
        {"CannotStartContainerError", "executable file not found in $PATH"},
        {"CannotCreateContainerError", "unable to find user"},
        {"CannotCreateContainerError", "unable to find group"},
        {"CannotCreateContainerError", "No command specified"},
    };
    for (size_t i = 0; i < FL_ARRAY_SIZE(known); i++)
        if (fl_str_starts(stopped_reason, fl_str_of(known[i].error)) &&
            fl_str_contains(stopped_reason, fl_str_of(known[i].text)))
            return true;
    return false;
}

/* The way back is watched like the way there, by the deployment's own count. */
static bool judge_rollback(struct fl_schedule *s, const struct fl_rollout *rollout)
{
    const struct rec_ServiceDeployment *rec = rollout->rec;
    const struct rec_Deployment *entry = s->count ? s->censuses[0].entry : NULL;
    if (rec->status != ECS_ServiceDeploymentStatus_ROLLBACK_IN_PROGRESS || !entry ||
        rec->breakerStatus == ECS_ServiceDeploymentRollbackMonitorsStatus_DISABLED ||
        entry->number != rec->rollbackTo ||
        entry->failedTasks < fl_breaker_threshold(s->service, rec))
        return false;
    fl_rollback_fail(s->d, s->service,
                     FL_STR("Service deployment rollback failed because the circuit breaker "
                            "threshold was exceeded."));
    return true;
}

bool fl_schedule_breaker(struct fl_schedule *s)
{
    struct fl_rollout *current = fl_service_current(s->service);
    struct fl_rollout *rollout = watched(s->service);
    if (!rollout)
        return current && judge_rollback(s, current);
    if (FL_BUG(61, true, rollout->rec->failureCount == 0))
        return false;
    struct rec_ServiceDeployment *rec = fl_rollout_edit(s->d, rollout);
    if (consider_health(s, rec)) {
        fl_rollout_put(s->d, rec);
        return true;
    }
    if (rec->failureCount < fl_breaker_threshold(s->service, rec))
        return false;
    trigger(s->d, s->service, rollout, FL_STR("the circuit breaker threshold was exceeded"));
    return true;
}
