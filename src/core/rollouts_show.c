/* Service deployments (rollouts) and service revisions as the API shows them. */
#include "core/page.h"
#include "core/stages.h"
#include "wire/arn.h"

enum { DEFAULT_PAGE = 20, MAX_DESCRIBED = 20 };

static const char invalid[] = "InvalidParameterException";

/* ---- ListServiceDeployments ---- */

static bool is_listed(const struct ecs_ListServiceDeploymentsRequest *in,
                      const struct rec_ServiceDeployment *rec)
{
    const struct ecs_CreatedAt *created = in->createdAt;
    bool has_status = in->status.n == 0;
    for (size_t i = 0; i < in->status.n; i++)
        has_status |= in->status.items[i] == rec->status;
    if (created && FL_HAS(created, ecs_CreatedAt, before) && rec->createdAt >= created->before)
        return false;
    if (created && FL_HAS(created, ecs_CreatedAt, after) && rec->createdAt <= created->after)
        return false;
    return has_status;
}

static void show_brief(struct fl_decision *d, const struct fl_service *service,
                       const struct rec_ServiceDeployment *rec,
                       struct ecs_ServiceDeploymentBrief *out)
{
    FL_SET(out, ecs_ServiceDeploymentBrief, serviceDeploymentArn, fl_rollout_arn(d, rec));
    FL_SET(out, ecs_ServiceDeploymentBrief, serviceArn, fl_service_arn(d, service->rec));
    FL_SET(out, ecs_ServiceDeploymentBrief, clusterArn, fl_cluster_arn(d, rec->cluster));
    FL_SET(out, ecs_ServiceDeploymentBrief, createdAt, rec->createdAt);
    if (FL_HAS(rec, rec_ServiceDeployment, startedAt))
        FL_SET(out, ecs_ServiceDeploymentBrief, startedAt, rec->startedAt);
    if (FL_HAS(rec, rec_ServiceDeployment, finishedAt))
        FL_SET(out, ecs_ServiceDeploymentBrief, finishedAt, rec->finishedAt);
    FL_SET(out, ecs_ServiceDeploymentBrief, targetServiceRevisionArn,
           fl_revision_arn(d, service->rec, rec->target));
    FL_SET(out, ecs_ServiceDeploymentBrief, status, rec->status);
    if (FL_HAS(rec, rec_ServiceDeployment, statusReason))
        FL_SET(out, ecs_ServiceDeploymentBrief, statusReason, rec->statusReason);
}

/* Orders pages as the tree does. */
static struct fl_str page_key(struct fl_decision *d, const struct rec_ServiceDeployment *rec)
{
    return fl_str_printf(d->arena, "%015lld/%.*s", (long long)rec->createdAt, FL_STR_ARG(rec->id));
}

/* The newest first. */
static void list_page(struct fl_decision *d, const struct ecs_ListServiceDeploymentsRequest *in,
                      const struct fl_service *service, const struct fl_page *page,
                      struct ecs_ListServiceDeploymentsResponse *out)
{
    struct fl_rollout *rollout;
    struct fl_str last = FL_STR("");
    out->serviceDeployments.items =
        fl_arena_new_array(d->arena, struct ecs_ServiceDeploymentBrief, page->max);
    RB_FOREACH_REVERSE(rollout, fl_rollout_tree, (struct fl_rollout_tree *)&service->rollouts)
    {
        struct fl_str key = page_key(d, rollout->rec);
        if ((page->after.n && fl_str_cmp(key, page->after) >= 0) || !is_listed(in, rollout->rec))
            continue;
        if (out->serviceDeployments.n == page->max) {
            FL_SET(out, ecs_ListServiceDeploymentsResponse, nextToken, fl_page_token(d, last));
            return;
        }
        last = key;
        show_brief(d, service, rollout->rec,
                   &out->serviceDeployments.items[out->serviceDeployments.n++]);
    }
}

int fl_list_rollouts(struct fl_decision *d, const void *input, void *output)
{
    const struct ecs_ListServiceDeploymentsRequest *in = input;
    struct ecs_ListServiceDeploymentsResponse *out = output;
    struct fl_cluster *cluster = fl_find_cluster(d, in->cluster);
    struct fl_page page;
    struct fl_str name;
    bool has_max = FL_HAS(in, ecs_ListServiceDeploymentsRequest, maxResults);
    if (!cluster || fl_read_service_name(d, cluster, in->service, &name) < 0 ||
        fl_page_read(d, in->nextToken, true, has_max ? in->maxResults : DEFAULT_PAGE, &page) < 0)
        return -1;
    const struct fl_service *service = fl_state_service(cluster, name);
    if (!service)
        return fl_refuse(d, "ServiceNotFoundException", "Service not found.");
    list_page(d, in, service, &page, out);
    FL_SET(out, ecs_ListServiceDeploymentsResponse, serviceDeployments, out->serviceDeployments);
    return 0;
}

/* ---- ARNs: …:<type>/<cluster>/<service>/<id> ---- */

int fl_find_service_below(struct fl_decision *d, struct fl_str text, const char *type,
                          struct fl_service **ret_service, struct fl_str *ret_id)
{
    struct fl_arn arn;
    struct fl_str rest, cluster_name, service_name;
    if (!fl_arn_parse(text, &arn))
        return fl_refuse(d, invalid, "Invalid identifier: '%.*s' is not the ARN of a %s.",
                         FL_STR_ARG(fl_cut(text, 300)), type);
    if (fl_read_name(d, text, type, ret_id) < 0)
        return -1;
    rest = arn.rest;
    bool is_whole = fl_str_split(&rest, '/', &cluster_name) &&
                    fl_str_split(&rest, '/', &service_name) && fl_str_eq(rest, *ret_id);
    const struct fl_cluster *cluster = is_whole ? fl_state_cluster(d->core, cluster_name) : NULL;
    *ret_service = cluster ? fl_state_service(cluster, service_name) : NULL;
    return 0;
}

/* Are these as many ARNs as can be asked about? */
static int check_arns(struct fl_decision *d, const struct fl_str_list *arns, const char *what)
{
    if (arns->n == 0)
        return fl_refuse(d, invalid, "%s cannot be empty.", what);
    if (arns->n > MAX_DESCRIBED)
        return fl_refuse(d, invalid, "%s cannot be more than %d.", what, MAX_DESCRIBED);
    return 0;
}

static void add_missing(struct ecs_Failure_list *failures, struct fl_str arn)
{
    struct ecs_Failure *failure = &failures->items[failures->n++];
    FL_SET(failure, ecs_Failure, arn, arn);
    FL_SET(failure, ecs_Failure, reason, FL_STR("MISSING"));
}

/* ---- DescribeServiceDeployments ---- */

static void show_source(struct fl_decision *d, const struct fl_service *service,
                        const struct rec_RolloutSource *source,
                        struct ecs_ServiceRevisionSummary *out)
{
    FL_SET(out, ecs_ServiceRevisionSummary, arn, fl_revision_arn(d, service->rec, source->number));
    FL_SET(out, ecs_ServiceRevisionSummary, requestedTaskCount, source->requested);
    FL_SET(out, ecs_ServiceRevisionSummary, runningTaskCount, source->running);
    FL_SET(out, ecs_ServiceRevisionSummary, pendingTaskCount, source->pending);
}

/* Of production traffic; none is shown for a roll-out without stages. */
static void show_weight(struct ecs_ServiceRevisionSummary *out, int32_t tenths)
{
    if (tenths >= 0)
        FL_SET(out, ecs_ServiceRevisionSummary, requestedProductionTrafficWeight,
               fl_percent_of(tenths));
}

/* What it has, or had when the roll-out ended. */
static struct ecs_ServiceRevisionSummary *show_target(struct fl_decision *d,
                                                      const struct fl_service *service,
                                                      const struct rec_ServiceDeployment *rec)
{
    struct ecs_ServiceRevisionSummary *out =
        fl_arena_new_object(d->arena, struct ecs_ServiceRevisionSummary);
    const struct fl_deployment *deployment = fl_service_deployment(service, rec->target);
    struct rec_RolloutSource source = {.number = rec->target};
    if (rec->result) {
        source = *rec->result;
    } else if (deployment) {
        source.requested = fl_deployment_rec(deployment)->desiredCount;
        source.running = (int32_t)deployment->running_count;
        source.pending = (int32_t)deployment->pending_count;
    }
    show_source(d, service, &source, out);
    show_weight(out, fl_stages_weight(rec));
    return out;
}

static void show_times(const struct rec_ServiceDeployment *rec, struct ecs_ServiceDeployment *out)
{
#define COPY(member)                                                                               \
    do {                                                                                           \
        if (FL_HAS(rec, rec_ServiceDeployment, member))                                            \
            FL_SET(out, ecs_ServiceDeployment, member, rec->member);                               \
    } while (0)
    COPY(createdAt);
    COPY(startedAt);
    COPY(finishedAt);
    COPY(stoppedAt);
    COPY(updatedAt);
    COPY(statusReason);
    COPY(lifecycleStage);
#undef COPY
}

static struct ecs_Rollback *show_rollback(struct fl_decision *d, const struct fl_service *service,
                                          const struct rec_ServiceDeployment *rec)
{
    struct ecs_Rollback *out = fl_arena_new_object(d->arena, struct ecs_Rollback);
    *out = *rec->rollback;
    if (FL_HAS(rec, rec_ServiceDeployment, rollbackTo))
        FL_SET(out, ecs_Rollback, serviceRevisionArn,
               fl_revision_arn(d, service->rec, rec->rollbackTo));
    return out;
}

/* Metrics do not exist yet: no alarm is ever watched. */
static struct ecs_ServiceDeploymentAlarms *show_alarms(struct fl_decision *d)
{
    struct ecs_ServiceDeploymentAlarms *out =
        fl_arena_new_object(d->arena, struct ecs_ServiceDeploymentAlarms);
    FL_SET(out, ecs_ServiceDeploymentAlarms, status,
           ECS_ServiceDeploymentRollbackMonitorsStatus_DISABLED);
    FL_SET(out, ecs_ServiceDeploymentAlarms, alarmNames, out->alarmNames);
    FL_SET(out, ecs_ServiceDeploymentAlarms, triggeredAlarmNames, out->triggeredAlarmNames);
    return out;
}

static struct ecs_DeploymentLifecycleHookDetail_list
show_hooks(struct fl_decision *d, const struct rec_ServiceDeployment *rec)
{
    struct ecs_DeploymentLifecycleHookDetail_list list = {.n = rec->hooks.n};
    list.items = fl_arena_new_array(d->arena, struct ecs_DeploymentLifecycleHookDetail, list.n);
    for (size_t i = 0; i < list.n; i++)
        list.items[i] = *rec->hooks.items[i].detail;
    return list;
}

static void show_rollout(struct fl_decision *d, const struct fl_service *service,
                         const struct rec_ServiceDeployment *rec, struct ecs_ServiceDeployment *out)
{
    struct ecs_ServiceRevisionSummary_list sources = {.n = rec->sources.n};
    sources.items = fl_arena_new_array(d->arena, struct ecs_ServiceRevisionSummary, sources.n);
    for (size_t i = 0; i < sources.n; i++)
        show_source(d, service, &rec->sources.items[i], &sources.items[i]);
    FL_SET(out, ecs_ServiceDeployment, serviceDeploymentArn, fl_rollout_arn(d, rec));
    FL_SET(out, ecs_ServiceDeployment, serviceArn, fl_service_arn(d, service->rec));
    FL_SET(out, ecs_ServiceDeployment, clusterArn, fl_cluster_arn(d, rec->cluster));
    FL_SET(out, ecs_ServiceDeployment, sourceServiceRevisions, sources);
    FL_SET(out, ecs_ServiceDeployment, targetServiceRevision, show_target(d, service, rec));
    FL_SET(out, ecs_ServiceDeployment, status, rec->status);
    FL_SET(out, ecs_ServiceDeployment, deploymentConfiguration, rec->deploymentConfiguration);
    FL_SET(out, ecs_ServiceDeployment, alarms, show_alarms(d));
    if (rec->hooks.n)
        FL_SET(out, ecs_ServiceDeployment, lifecycleHookDetails, show_hooks(d, rec));
    if (rec->rollback)
        FL_SET(out, ecs_ServiceDeployment, rollback, show_rollback(d, service, rec));
    FL_SET(out, ecs_ServiceDeployment, deploymentCircuitBreaker,
           fl_arena_new_object(d->arena, struct ecs_ServiceDeploymentCircuitBreaker));
    FL_SET(out->deploymentCircuitBreaker, ecs_ServiceDeploymentCircuitBreaker, status,
           rec->breakerStatus);
    FL_SET(out->deploymentCircuitBreaker, ecs_ServiceDeploymentCircuitBreaker, failureCount,
           rec->failureCount);
    FL_SET(out->deploymentCircuitBreaker, ecs_ServiceDeploymentCircuitBreaker, threshold,
           fl_breaker_threshold(service, rec));
    show_times(rec, out);
}

int fl_describe_rollouts(struct fl_decision *d, const void *input, void *output)
{
    const struct ecs_DescribeServiceDeploymentsRequest *in = input;
    struct ecs_DescribeServiceDeploymentsResponse *out = output;
    size_t count = in->serviceDeploymentArns.n;
    if (check_arns(d, &in->serviceDeploymentArns, "serviceDeploymentArns") < 0)
        return -1;
    out->serviceDeployments.items =
        fl_arena_new_array(d->arena, struct ecs_ServiceDeployment, count);
    out->failures.items = fl_arena_new_array(d->arena, struct ecs_Failure, count);
    for (size_t i = 0; i < count; i++) {
        struct fl_str arn = in->serviceDeploymentArns.items[i], id;
        struct fl_service *service;
        if (fl_find_service_below(d, arn, "service-deployment", &service, &id) < 0)
            return -1;
        const struct fl_rollout *rollout = service ? fl_service_rollout(service, id) : NULL;
        if (rollout)
            show_rollout(d, service, rollout->rec,
                         &out->serviceDeployments.items[out->serviceDeployments.n++]);
        else
            add_missing(&out->failures, arn);
    }
    FL_SET(out, ecs_DescribeServiceDeploymentsResponse, serviceDeployments,
           out->serviceDeployments);
    FL_SET(out, ecs_DescribeServiceDeploymentsResponse, failures, out->failures);
    return 0;
}

/* ---- DescribeServiceRevisions ---- */

static struct fl_str pinned_digest(const struct rec_ServiceRevision *rec, struct fl_str container)
{
    for (size_t i = 0; i < rec->images.n; i++)
        if (fl_str_eq(rec->images.items[i].container, container))
            return rec->images.items[i].digest;
    return FL_STR("");
}

static struct ecs_ContainerImage_list show_images(struct fl_decision *d,
                                                  const struct fl_revision *revision)
{
    const struct ecs_ContainerDefinition_list *containers =
        &revision->definition->rec->definition->containerDefinitions;
    struct ecs_ContainerImage_list list = {.n = containers->n};
    list.items = fl_arena_new_array(d->arena, struct ecs_ContainerImage, list.n);
    for (size_t i = 0; i < list.n; i++) {
        const struct ecs_ContainerDefinition *c = &containers->items[i];
        struct fl_str digest = pinned_digest(revision->rec, c->name);
        FL_SET(&list.items[i], ecs_ContainerImage, containerName, c->name);
        FL_SET(&list.items[i], ecs_ContainerImage, image, c->image);
        if (digest.n)
            FL_SET(&list.items[i], ecs_ContainerImage, imageDigest, digest);
    }
    return list;
}

static void show_revision(struct fl_decision *d, const struct fl_service *service,
                          const struct fl_revision *revision, struct ecs_ServiceRevision *out)
{
    const struct rec_ServiceRevision *rec = revision->rec;
    FL_SET(out, ecs_ServiceRevision, serviceRevisionArn,
           fl_revision_arn(d, service->rec, rec->number));
    FL_SET(out, ecs_ServiceRevision, serviceArn, fl_service_arn(d, service->rec));
    FL_SET(out, ecs_ServiceRevision, clusterArn, fl_cluster_arn(d, rec->cluster));
    FL_SET(out, ecs_ServiceRevision, taskDefinition,
           revision->definition->rec->definition->taskDefinitionArn);
    FL_SET(out, ecs_ServiceRevision, loadBalancers, rec->loadBalancers);
    FL_SET(out, ecs_ServiceRevision, serviceRegistries, rec->serviceRegistries);
    FL_SET(out, ecs_ServiceRevision, containerImages, show_images(d, revision));
    FL_SET(out, ecs_ServiceRevision, guardDutyEnabled, false);
    FL_SET(out, ecs_ServiceRevision, createdAt, rec->createdAt);
    if (FL_HAS(rec, rec_ServiceRevision, launchType))
        FL_SET(out, ecs_ServiceRevision, launchType, rec->launchType);
    if (FL_HAS(rec, rec_ServiceRevision, networkConfiguration))
        FL_SET(out, ecs_ServiceRevision, networkConfiguration, rec->networkConfiguration);
    if (FL_HAS(rec, rec_ServiceRevision, serviceConnectConfiguration))
        FL_SET(out, ecs_ServiceRevision, serviceConnectConfiguration,
               rec->serviceConnectConfiguration);
}

int fl_describe_revisions(struct fl_decision *d, const void *input, void *output)
{
    const struct ecs_DescribeServiceRevisionsRequest *in = input;
    struct ecs_DescribeServiceRevisionsResponse *out = output;
    size_t count = in->serviceRevisionArns.n;
    if (check_arns(d, &in->serviceRevisionArns, "serviceRevisionArns") < 0)
        return -1;
    out->serviceRevisions.items = fl_arena_new_array(d->arena, struct ecs_ServiceRevision, count);
    out->failures.items = fl_arena_new_array(d->arena, struct ecs_Failure, count);
    for (size_t i = 0; i < count; i++) {
        struct fl_str arn = in->serviceRevisionArns.items[i], id;
        struct fl_service *service;
        int64_t number = 0;
        if (fl_find_service_below(d, arn, "service-revision", &service, &id) < 0)
            return -1;
        const struct fl_revision *revision =
            service && fl_str_to_i64(id, &number) ? fl_service_revision(service, number) : NULL;
        if (revision)
            show_revision(d, service, revision,
                          &out->serviceRevisions.items[out->serviceRevisions.n++]);
        else
            add_missing(&out->failures, arn);
    }
    FL_SET(out, ecs_DescribeServiceRevisionsResponse, serviceRevisions, out->serviceRevisions);
    FL_SET(out, ecs_DescribeServiceRevisionsResponse, failures, out->failures);
    return 0;
}
