/* How services' records are changed: copies, events, the beginning and the end of rollouts. */
#include "base/bug.h"
#include "core/hooks.h"
#include "core/stages.h"

#include <stdarg.h>
#include <stdio.h>

enum { MAX_EVENT = 4096 };

struct rec_Service *fl_service_edit(struct fl_decision *d, const struct fl_service *service)
{
    return fl_shape_copy(&rec_shape_Service, service->rec, d->arena);
}

void fl_service_put(struct fl_decision *d, struct rec_Service *rec)
{
    FL_SET(rec, rec_Service, version, rec->version + 1);
    fl_put(d, FL_RECORD_SERVICE, rec);
}

struct rec_Deployment *fl_service_entry(const struct rec_Service *rec, int64_t number)
{
    for (size_t i = 0; i < rec->deployments.n; i++)
        if (rec->deployments.items[i].number == number)
            return &rec->deployments.items[i];
    return NULL;
}

struct rec_Deployment *fl_service_add_entry(struct fl_decision *d, struct rec_Service *rec,
                                            int64_t number, struct fl_str status)
{
    struct rec_Deployment_list list = {.n = rec->deployments.n + 1};
    list.items = fl_arena_new_array(d->arena, struct rec_Deployment, list.n);
    for (size_t i = 0; i < rec->deployments.n; i++)
        list.items[i + 1] = rec->deployments.items[i];
    struct rec_Deployment *entry = &list.items[0];
    FL_SET(entry, rec_Deployment, number, number);
    FL_SET(entry, rec_Deployment, status, status);
    FL_SET(entry, rec_Deployment, desiredCount, 0);
    FL_SET(entry, rec_Deployment, createdAt, d->now_ms);
    FL_SET(entry, rec_Deployment, updatedAt, d->now_ms);
    FL_SET(rec, rec_Service, deployments, list);
    return entry;
}

void fl_entry_set_rollout(struct fl_decision *d, struct rec_Deployment *entry,
                          enum ecs_DeploymentRolloutState state, struct fl_str reason)
{
    FL_SET(entry, rec_Deployment, rolloutState, state);
    FL_SET(entry, rec_Deployment, rolloutStateReason, reason);
    FL_SET(entry, rec_Deployment, updatedAt, d->now_ms);
}

struct rec_ServiceDeployment *fl_rollout_edit(struct fl_decision *d,
                                              const struct fl_rollout *rollout)
{
    return fl_shape_copy(&rec_shape_ServiceDeployment, rollout->rec, d->arena);
}

void fl_rollout_put(struct fl_decision *d, struct rec_ServiceDeployment *rec)
{
    FL_SET(rec, rec_ServiceDeployment, updatedAt, d->now_ms);
    fl_put(d, FL_RECORD_ROLLOUT, rec);
}

static void drop_event(struct fl_decision *d, struct fl_service *service,
                       struct fl_service_event *event)
{
    fl_delete_record(d, FL_RECORD_EVENT, event->rec);
    fl_state_forget_event(service, event);
}

static void add_event(struct fl_decision *d, struct fl_service *service, struct fl_str message)
{
    const struct fl_service_event *last = TAILQ_LAST(&service->events, fl_service_event_list);
    struct rec_ServiceEvent rec = {0};
    FL_SET(&rec, rec_ServiceEvent, v, FL_RECORD_VERSION);
    FL_SET(&rec, rec_ServiceEvent, cluster, service->cluster->name);
    FL_SET(&rec, rec_ServiceEvent, service, service->name);
    FL_SET(&rec, rec_ServiceEvent, sequence, last ? last->rec->sequence + 1 : 1);
    FL_SET(&rec, rec_ServiceEvent, id, fl_new_uuid(d));
    FL_SET(&rec, rec_ServiceEvent, createdAt, d->now_ms);
    FL_SET(&rec, rec_ServiceEvent, message, message);
    fl_put(d, FL_RECORD_EVENT, &rec);
    while (service->event_count > FL_MAX_SERVICE_EVENTS)
        drop_event(d, service, TAILQ_FIRST(&service->events));
}

static struct fl_str sentence(struct fl_decision *d, const struct fl_service *service,
                              const char *fmt, va_list args) FL_PRINTF(3, 0);
static struct fl_str sentence_of(struct fl_decision *d, const struct fl_service *service,
                                 struct fl_str set, const char *fmt, va_list args) FL_PRINTF(4, 0);

/* What a service says, or one of its task sets, which is "" or ", taskSet <id>". */
static struct fl_str sentence_of(struct fl_decision *d, const struct fl_service *service,
                                 struct fl_str set, const char *fmt, va_list args)
{
    char text[MAX_EVENT];
    int n = vsnprintf(text, sizeof(text), fmt, args);
    FL_ASSERT(n >= 0);
    return fl_str_printf(d->arena, "(service %.*s%.*s) %s", FL_STR_ARG(service->name),
                         FL_STR_ARG(set), text);
}

static struct fl_str sentence(struct fl_decision *d, const struct fl_service *service,
                              const char *fmt, va_list args)
{
    return sentence_of(d, service, FL_STR(""), fmt, args);
}

void fl_service_say(struct fl_decision *d, struct fl_service *service, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    add_event(d, service, sentence(d, service, fmt, args));
    va_end(args);
}

void fl_service_say_of(struct fl_decision *d, struct fl_service *service, int64_t number,
                       const char *fmt, ...)
{
    struct fl_str set = FL_STR("");
    va_list args;
    if (service->rec->deploymentController == ECS_DeploymentControllerType_EXTERNAL)
        set = fl_str_printf(d->arena, ", taskSet ecs-svc/%lld", (long long)number);
    va_start(args, fmt);
    add_event(d, service, sentence_of(d, service, set, fmt, args));
    va_end(args);
}

struct fl_str fl_service_said(const struct fl_service_event *event)
{
    ptrdiff_t end = fl_str_index(event->rec->message, ')');
    struct fl_str rest = fl_str_from(event->rec->message, (size_t)(end + 1));
    return fl_str_starts(rest, FL_STR(" ")) ? fl_str_from(rest, 1) : rest;
}

bool fl_event_is_recent(const struct fl_decision *d, const struct fl_service_event *event)
{
    return event->rec->createdAt <= d->now_ms &&
           event->rec->createdAt + FL_EVENT_AGAIN_MS > d->now_ms;
}

/* Was it said in the last hours, and nothing since that begins with `over` (NULL: no such words)?
 */
static bool was_said(const struct fl_decision *d, const struct fl_service *service,
                     struct fl_str message, const char *over)
{
    const struct fl_service_event *event;
    TAILQ_FOREACH_REVERSE(event, &service->events, fl_service_event_list, in_service)
    {
        if (!fl_event_is_recent(d, event))
            return false;
        if (FL_BUG(64, false, fl_str_eq(event->rec->message, message)))
            return true;
        if (over && fl_str_starts(fl_service_said(event), fl_str_of(over)))
            return false;
    }
    return false;
}

void fl_service_say_once(struct fl_decision *d, struct fl_service *service, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    struct fl_str message = sentence(d, service, fmt, args);
    va_end(args);
    if (!was_said(d, service, message, NULL))
        add_event(d, service, message);
}

void fl_service_say_until(struct fl_decision *d, struct fl_service *service, const char *over,
                          const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    struct fl_str message = sentence(d, service, fmt, args);
    va_end(args);
    if (!was_said(d, service, message, over))
        add_event(d, service, message);
}

struct fl_str fl_deployment_id(struct fl_decision *d, int64_t number)
{
    return fl_str_printf(d->arena, "ecs-svc/%lld", (long long)number);
}

int64_t fl_new_number(struct fl_decision *d, const struct fl_service *service)
{
    const int64_t least = 1000000000000000000, all = INT64_MAX - least;
    int64_t number;
    do
        number = least + (int64_t)fl_rand_below(&d->rand, (uint64_t)all);
    while (service && fl_service_revision(service, number));
    return number;
}

struct fl_str fl_service_arn(struct fl_decision *d, const struct rec_Service *rec)
{
    return fl_str_printf(d->arena, "arn:aws:ecs:%.*s:%.*s:service/%.*s/%.*s",
                         FL_STR_ARG(d->core->region), FL_STR_ARG(d->core->account),
                         FL_STR_ARG(rec->cluster), FL_STR_ARG(rec->name));
}

struct fl_str fl_revision_arn(struct fl_decision *d, const struct rec_Service *rec, int64_t number)
{
    return fl_str_printf(d->arena, "arn:aws:ecs:%.*s:%.*s:service-revision/%.*s/%.*s/%lld",
                         FL_STR_ARG(d->core->region), FL_STR_ARG(d->core->account),
                         FL_STR_ARG(rec->cluster), FL_STR_ARG(rec->name), (long long)number);
}

struct fl_str fl_rollout_arn(struct fl_decision *d, const struct rec_ServiceDeployment *rec)
{
    return fl_str_printf(d->arena, "arn:aws:ecs:%.*s:%.*s:service-deployment/%.*s/%.*s/%.*s",
                         FL_STR_ARG(d->core->region), FL_STR_ARG(d->core->account),
                         FL_STR_ARG(rec->cluster), FL_STR_ARG(rec->service), FL_STR_ARG(rec->id));
}

/* ---- rollouts ---- */

static struct rec_RolloutSource source_of(const struct fl_deployment *deployment)
{
    const struct rec_Deployment *entry = fl_deployment_rec(deployment);
    struct rec_RolloutSource source = {0};
    FL_SET(&source, rec_RolloutSource, number, deployment->number);
    FL_SET(&source, rec_RolloutSource, requested, entry->desiredCount);
    FL_SET(&source, rec_RolloutSource, running, (int32_t)deployment->running_count);
    FL_SET(&source, rec_RolloutSource, pending, (int32_t)deployment->pending_count);
    return source;
}

static struct rec_RolloutSource_list sources_of(struct fl_decision *d,
                                                const struct fl_service *service)
{
    struct rec_RolloutSource_list list = {0};
    const struct fl_deployment *deployment;
    if (!service)
        return list;
    list.items =
        fl_arena_new_array(d->arena, struct rec_RolloutSource, service->rec->deployments.n);
    TAILQ_FOREACH (deployment, &service->deployments, in_service)
        list.items[list.n++] = source_of(deployment);
    return list;
}

void fl_rollout_end(struct fl_decision *d, struct fl_service *service, struct rec_Service *rec,
                    enum ecs_ServiceDeploymentStatus status, struct fl_str reason)
{
    const struct fl_rollout *current = fl_service_current(service);
    FL_UNSET(rec, rec_Service, rollout);
    rec->rollout = FL_STR("");
    if (!current)
        return;
    struct rec_ServiceDeployment *end = fl_rollout_edit(d, current);
    const struct fl_deployment *target = fl_service_deployment(service, end->target);
    if (target) {
        struct rec_RolloutSource *result = fl_arena_new_object(d->arena, struct rec_RolloutSource);
        *result = source_of(target);
        FL_SET(end, rec_ServiceDeployment, result, result);
    }
    (void)fl_hooks_cancel(d, service, end);
    FL_SET(end, rec_ServiceDeployment, status, status);
    if (reason.n)
        FL_SET(end, rec_ServiceDeployment, statusReason, reason);
    if (end->breakerStatus == ECS_ServiceDeploymentRollbackMonitorsStatus_MONITORING)
        end->breakerStatus = ECS_ServiceDeploymentRollbackMonitorsStatus_MONITORING_COMPLETE;
    FL_SET(end, rec_ServiceDeployment, finishedAt, d->now_ms);
    if (status == ECS_ServiceDeploymentStatus_STOPPED)
        FL_SET(end, rec_ServiceDeployment, stoppedAt, d->now_ms);
    fl_rollout_put(d, end);
}

static bool has_breaker(const struct rec_Service *rec)
{
    const struct ecs_DeploymentCircuitBreaker *breaker =
        rec->deploymentConfiguration->deploymentCircuitBreaker;
    return breaker && breaker->enable &&
           rec->deploymentController == ECS_DeploymentControllerType_ECS;
}

/* When the next service deployment is created: now, but of two in one millisecond, or few, the
 * second one is the younger. */
static int64_t created_ms(const struct fl_decision *d, const struct fl_service *service)
{
    const struct fl_rollout *last =
        service ? RB_MAX(fl_rollout_tree, (struct fl_rollout_tree *)&service->rollouts) : NULL;
    int64_t next_ms = last ? last->rec->createdAt + 1 : d->now_ms;
    return next_ms > d->now_ms && next_ms - d->now_ms <= FL_MAX_ROLLOUTS ? next_ms : d->now_ms;
}

static void fill_rollout(struct fl_decision *d, const struct rec_Service *rec, int64_t number,
                         struct rec_RolloutSource_list sources, struct rec_ServiceDeployment *out)
{
    FL_SET(out, rec_ServiceDeployment, v, FL_RECORD_VERSION);
    FL_SET(out, rec_ServiceDeployment, cluster, rec->cluster);
    FL_SET(out, rec_ServiceDeployment, service, rec->name);
    FL_SET(out, rec_ServiceDeployment, id, rec->rollout);
    FL_SET(out, rec_ServiceDeployment, target, number);
    FL_SET(out, rec_ServiceDeployment, sources, sources);
    FL_SET(out, rec_ServiceDeployment, status, ECS_ServiceDeploymentStatus_IN_PROGRESS);
    FL_SET(out, rec_ServiceDeployment, deploymentConfiguration, rec->deploymentConfiguration);
    FL_SET(out, rec_ServiceDeployment, breakerStatus,
           has_breaker(rec) ? ECS_ServiceDeploymentRollbackMonitorsStatus_MONITORING
                            : ECS_ServiceDeploymentRollbackMonitorsStatus_DISABLED);
    FL_SET(out, rec_ServiceDeployment, startedAt, out->createdAt);
    fl_stages_begin(d, out);
}

static bool is_named(const struct fl_service *service, int64_t number)
{
    struct fl_rollout *rollout;
    if (fl_service_deployment(service, number) || service->rec->lastCompleted == number)
        return true;
    RB_FOREACH (rollout, fl_rollout_tree, (struct fl_rollout_tree *)&service->rollouts) {
        if (rollout->rec->target == number || rollout->rec->rollbackTo == number)
            return true;
        for (size_t i = 0; i < rollout->rec->sources.n; i++)
            if (rollout->rec->sources.items[i].number == number)
                return true;
    }
    return false;
}

static void drop_revision(struct fl_decision *d, struct fl_service *service,
                          struct fl_revision *revision)
{
    fl_delete_record(d, FL_RECORD_REVISION, revision->rec);
    fl_state_forget_revision(d->core, service, revision);
}

static void drop_rollout(struct fl_decision *d, struct fl_service *service,
                         struct fl_rollout *rollout)
{
    fl_delete_record(d, FL_RECORD_ROLLOUT, rollout->rec);
    fl_state_forget_rollout(service, rollout);
}

void fl_service_prune(struct fl_decision *d, struct fl_service *service)
{
    struct fl_revision *revision, *next;
    RB_FOREACH_SAFE (revision, fl_revision_tree, &service->revisions, next)
        if (!is_named(service, revision->rec->number))
            drop_revision(d, service, revision);
}

/* The oldest service deployments, and what only they named. */
static void drop_old_rollouts(struct fl_decision *d, struct fl_service *service)
{
    struct fl_rollout *oldest;
    bool dropped = false;
    while ((oldest = RB_MIN(fl_rollout_tree, &service->rollouts)) &&
           !fl_str_eq(oldest->rec->id, service->rec->rollout) &&
           (service->rollout_count > FL_MAX_ROLLOUTS ||
            oldest->rec->createdAt + FL_ROLLOUT_KEPT_MS < d->now_ms)) {
        drop_rollout(d, service, oldest);
        dropped = true;
    }
    if (dropped)
        fl_service_prune(d, service);
}

/* Twenty-one characters, as ECS's. */
static struct fl_str new_rollout_id(struct fl_decision *d)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    char *id = fl_arena_alloc(d->arena, 22);
    for (size_t i = 0; i < 21; i++)
        id[i] = digits[fl_rand_below(&d->rand, sizeof(digits) - 1)];
    return (struct fl_str){id, 21};
}

int64_t fl_rollout_begin(struct fl_decision *d, struct rec_Service *rec,
                         struct rec_ServiceRevision *revision)
{
    struct fl_cluster *cluster = fl_state_cluster(d->core, rec->cluster);
    struct fl_service *service = fl_state_service(cluster, rec->name);
    int64_t number = fl_new_number(d, service);
    struct rec_RolloutSource_list sources = sources_of(d, service);
    struct rec_ServiceDeployment rollout = {0};
    if (service)
        fl_rollout_end(d, service, rec, ECS_ServiceDeploymentStatus_STOPPED,
                       FL_STR("Service deployment stopped: another one has begun."));
    for (size_t i = 0; i < rec->deployments.n; i++)
        FL_SET(&rec->deployments.items[i], rec_Deployment, status, FL_STR("ACTIVE"));
    struct rec_Deployment *entry = fl_service_add_entry(d, rec, number, FL_STR("PRIMARY"));
    FL_SET(entry, rec_Deployment, desiredCount, rec->desiredCount);
    fl_entry_set_rollout(
        d, entry, ECS_DeploymentRolloutState_IN_PROGRESS,
        fl_str_printf(d->arena, "ECS deployment ecs-svc/%lld in progress.", (long long)number));
    FL_SET(rec, rec_Service, rollout, new_rollout_id(d));
    FL_UNSET(rec, rec_Service, steadyAt);
    FL_SET(&rollout, rec_ServiceDeployment, createdAt, created_ms(d, service));
    fill_rollout(d, rec, number, sources, &rollout);
    FL_SET(revision, rec_ServiceRevision, v, FL_RECORD_VERSION);
    FL_SET(revision, rec_ServiceRevision, cluster, rec->cluster);
    FL_SET(revision, rec_ServiceRevision, service, rec->name);
    FL_SET(revision, rec_ServiceRevision, number, number);
    FL_SET(revision, rec_ServiceRevision, createdAt, d->now_ms);
    fl_service_put(d, rec);
    fl_put(d, FL_RECORD_REVISION, revision);
    fl_rollout_put(d, &rollout);
    drop_old_rollouts(d, fl_state_service(cluster, rec->name));
    return number;
}

void fl_drop_service(struct fl_decision *d, struct fl_service *service)
{
    struct fl_service_event *event;
    struct fl_rollout *rollout;
    struct fl_revision *revision;
    while ((event = TAILQ_FIRST(&service->events)))
        drop_event(d, service, event);
    while ((rollout = RB_MIN(fl_rollout_tree, &service->rollouts)))
        drop_rollout(d, service, rollout);
    while ((revision = RB_MIN(fl_revision_tree, &service->revisions)))
        drop_revision(d, service, revision);
    fl_delete_record(d, FL_RECORD_SERVICE, service->rec);
    fl_state_forget_service(d->core, service);
}
