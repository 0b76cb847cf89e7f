/* Applying the records of services, and finding them. */
#include "base/bug.h"
#include "core/service.h"

#include <stdio.h>

int fl_service_order(const struct fl_service *a, const struct fl_service *b)
{
    return fl_str_cmp(a->name, b->name);
}

int fl_service_due_order(const struct fl_service *a, const struct fl_service *b)
{
    if (a->due_ms != b->due_ms)
        return a->due_ms < b->due_ms ? -1 : 1;
    if (a->is_daemon != b->is_daemon)
        return a->is_daemon ? -1 : 1;
    int order = fl_str_cmp(a->cluster->name, b->cluster->name);
    return order ? order : fl_str_cmp(a->name, b->name);
}

int fl_member_order(const struct fl_task *a, const struct fl_task *b)
{
    return fl_held_order(a, b);
}

int fl_revision_order(const struct fl_revision *a, const struct fl_revision *b)
{
    return a->rec->number < b->rec->number ? -1 : a->rec->number > b->rec->number;
}

int fl_rollout_order(const struct fl_rollout *a, const struct fl_rollout *b)
{
    if (a->rec->createdAt != b->rec->createdAt)
        return a->rec->createdAt < b->rec->createdAt ? -1 : 1;
    return fl_str_cmp(a->rec->id, b->rec->id);
}

RB_GENERATE(fl_service_tree, fl_service, by_name, fl_service_order)
RB_GENERATE(fl_due_tree, fl_service, by_due, fl_service_due_order)
RB_GENERATE(fl_member_tree, fl_task, on_deployment, fl_member_order)
RB_GENERATE(fl_revision_tree, fl_revision, by_number, fl_revision_order)
RB_GENERATE(fl_rollout_tree, fl_rollout, by_age, fl_rollout_order)

struct fl_service *fl_state_service(const struct fl_cluster *cluster, struct fl_str name)
{
    struct fl_service probe = {.name = name};
    return RB_FIND(fl_service_tree, (struct fl_service_tree *)&cluster->services, &probe);
}

struct fl_deployment *fl_service_deployment(const struct fl_service *service, int64_t number)
{
    struct fl_deployment *deployment;
    TAILQ_FOREACH (deployment, &service->deployments, in_service)
        if (deployment->number == number)
            return deployment;
    return NULL;
}

struct fl_revision *fl_service_revision(const struct fl_service *service, int64_t number)
{
    struct rec_ServiceRevision rec = {.number = number};
    struct fl_revision probe = {.rec = &rec};
    return RB_FIND(fl_revision_tree, (struct fl_revision_tree *)&service->revisions, &probe);
}

struct fl_rollout *fl_service_rollout(const struct fl_service *service, struct fl_str id)
{
    struct fl_rollout *rollout;
    RB_FOREACH_REVERSE(rollout, fl_rollout_tree, (struct fl_rollout_tree *)&service->rollouts)
    if (fl_str_eq(rollout->rec->id, id))
        return rollout;
    return NULL;
}

struct fl_rollout *fl_service_current(const struct fl_service *service)
{
    return service->rec->rollout.n ? fl_service_rollout(service, service->rec->rollout) : NULL;
}

const struct rec_Deployment *fl_deployment_rec(const struct fl_deployment *deployment)
{
    const struct rec_Deployment_list *list = &deployment->service->rec->deployments;
    for (size_t i = 0; i < list->n; i++)
        if (list->items[i].number == deployment->number)
            return &list->items[i];
    FL_ASSERT(!"a deployment of the service's record");
    return NULL;
}

struct fl_str fl_service_of_group(struct fl_str group)
{
    static const struct fl_str prefix = {"service:", 8};
    if (!fl_str_starts(group, prefix))
        return FL_STR("");
    return (struct fl_str){group.p + prefix.n, group.n - prefix.n};
}

struct fl_deployment *fl_task_deployment_of(const struct fl_cluster *cluster,
                                            const struct rec_Task *rec)
{
    const struct fl_service *service = fl_state_service(cluster, fl_service_of_group(rec->group));
    if (FL_HAS(rec, rec_Task, lostAt))
        return NULL;
    return service ? fl_service_deployment(service, rec->deployment) : NULL;
}

void fl_deployment_count(struct fl_task *task, int sign)
{
    struct fl_deployment *deployment = task->deployment;
    if (!deployment)
        return;
    deployment->running_count += (size_t)(sign * (task->rec->status == REC_TaskStatus_RUNNING));
    deployment->pending_count += (size_t)(sign * (task->rec->status < REC_TaskStatus_RUNNING));
    deployment->stopping_count += (size_t)(sign * (task->rec->desired == REC_TaskStatus_STOPPED));
    if (sign > 0)
        (void)RB_INSERT(fl_member_tree, &deployment->tasks, task);
    else
        (void)RB_REMOVE(fl_member_tree, &deployment->tasks, task);
}

void fl_deployment_leave(struct fl_core *core, struct fl_task *task)
{
    if (task->deployment)
        fl_service_wake(core, task->deployment->service);
    task->deployment = NULL;
}

void fl_service_set_due(struct fl_core *core, struct fl_service *service, int64_t due_ms)
{
    if (service->due_ms == due_ms)
        return;
    (void)RB_REMOVE(fl_due_tree, &core->due, service);
    service->due_ms = due_ms;
    (void)RB_INSERT(fl_due_tree, &core->due, service);
}

void fl_service_wake(struct fl_core *core, struct fl_service *service)
{
    fl_service_set_due(core, service, 0);
}

void fl_service_wake_for_hook(struct fl_core *core, struct fl_cluster *cluster, struct fl_str group)
{
    const struct fl_str prefix = FL_STR(FL_HOOK_GROUP);
    if (!fl_str_starts(group, prefix))
        return;
    struct fl_service *service =
        fl_state_service(cluster, (struct fl_str){group.p + prefix.n, group.n - prefix.n});
    if (service)
        fl_service_wake(core, service);
}

void fl_services_wake(struct fl_core *core)
{
    struct fl_cluster *cluster;
    struct fl_service *service;
    RB_FOREACH (cluster, fl_cluster_tree, &core->clusters)
        RB_FOREACH (service, fl_service_tree, &cluster->services)
            fl_service_wake(core, service);
}

void fl_service_set_waiting(struct fl_service *service, bool is_waiting)
{
    if (is_waiting == service->is_waiting)
        return;
    service->is_waiting = is_waiting;
    service->cluster->waiting_count += is_waiting ? 1 : (size_t)-1;
    if (is_waiting)
        TAILQ_INSERT_TAIL(&service->cluster->waiting, service, by_waiting);
    else
        TAILQ_REMOVE(&service->cluster->waiting, service, by_waiting);
}

void fl_cluster_room(struct fl_core *core, struct fl_cluster *cluster)
{
    struct fl_service *service;
    TAILQ_FOREACH (service, &cluster->waiting, by_waiting)
        if (service->due_ms > service->again_ms)
            fl_service_set_due(core, service, service->again_ms);
}

static void wake_daemons(struct fl_core *core, const struct fl_cluster *cluster)
{
    struct fl_service *service;
    TAILQ_FOREACH (service, &cluster->daemons, by_daemon)
        fl_service_wake(core, service);
}

void fl_daemons_wake_for(struct fl_core *core, const struct fl_instance *instance)
{
    if (instance && fl_str_is(instance->rec->status, "DRAINING"))
        wake_daemons(core, instance->cluster);
}

void fl_services_wake_for(struct fl_core *core, struct fl_instance *instance)
{
    struct fl_task *task;
    fl_cluster_room(core, instance->cluster);
    wake_daemons(core, instance->cluster);
    RB_FOREACH (task, fl_held_tree, &instance->tasks)
        if (task->is_member && task->deployment)
            fl_service_wake(core, task->deployment->service);
}

/* Has the service all that it wants, a task there included? */
static bool is_content(const struct fl_service *service, const struct fl_instance *instance)
{
    struct fl_task *task;
    if (!FL_HAS(service->rec, rec_Service, steadyAt))
        return false;
    RB_FOREACH (task, fl_held_tree, (struct fl_held_tree *)&instance->tasks)
        if (task->is_member && task->deployment && task->deployment->service == service)
            return true;
    return false;
}

void fl_services_wake_for_session(struct fl_core *core, struct fl_instance *instance)
{
    struct fl_service *service;
    struct fl_task *task;
    fl_cluster_room(core, instance->cluster);
    TAILQ_FOREACH (service, &instance->cluster->daemons, by_daemon)
        if (!is_content(service, instance))
            fl_service_wake(core, service);
    RB_FOREACH (task, fl_held_tree, &instance->tasks)
        if (task->is_member && task->deployment && !task->deployment->service->is_daemon)
            fl_service_wake(core, task->deployment->service);
}

static struct fl_service *new_service(struct fl_core *core, struct fl_cluster *cluster,
                                      struct fl_str name)
{
    struct fl_service *service = fl_calloc(1, sizeof(*service));
    service->name = (struct fl_str){fl_strndup(name.p, name.n), name.n};
    service->cluster = cluster;
    TAILQ_INIT(&service->deployments);
    TAILQ_INIT(&service->events);
    RB_INIT(&service->revisions);
    RB_INIT(&service->rollouts);
    (void)RB_INSERT(fl_service_tree, &cluster->services, service);
    (void)RB_INSERT(fl_due_tree, &core->due, service);
    core->counts.services++;
    return service;
}

struct fl_str fl_part_name(char buf[FL_PART_NAME], struct fl_str service, int64_t number)
{
    int n = snprintf(buf, FL_PART_NAME, "%.*s/%lld", FL_STR_ARG(service), (long long)number);
    FL_ASSERT(n > 0 && n < FL_PART_NAME);
    return (struct fl_str){buf, (size_t)n};
}

static struct fl_deployment *new_deployment(struct fl_service *service, int64_t number)
{
    char name[FL_PART_NAME];
    struct fl_deployment *deployment = fl_calloc(1, sizeof(*deployment));
    deployment->service = service;
    deployment->number = number;
    deployment->part = fl_part_use(service->cluster, fl_part_name(name, service->name, number));
    RB_INIT(&deployment->tasks);
    return deployment;
}

static void free_deployment(struct fl_deployment *deployment)
{
    FL_ASSERT(RB_EMPTY(&deployment->tasks));
    fl_group_release(deployment->service->cluster, deployment->part);
    free(deployment);
}

static bool has_entry(const struct rec_Service *rec, int64_t number)
{
    for (size_t i = 0; i < rec->deployments.n; i++)
        if (rec->deployments.items[i].number == number)
            return true;
    return false;
}

/* The deployments of the record, in its order; who is gone from it has no task that counts. */
static void settle_deployments(struct fl_service *service)
{
    struct fl_deployment_list before = TAILQ_HEAD_INITIALIZER(before);
    struct fl_deployment *deployment, *next;
    TAILQ_CONCAT(&before, &service->deployments, in_service);
    TAILQ_FOREACH_SAFE (deployment, &before, in_service, next) {
        if (has_entry(service->rec, deployment->number))
            continue;
        TAILQ_REMOVE(&before, deployment, in_service);
        free_deployment(deployment);
    }
    for (size_t i = 0; i < service->rec->deployments.n; i++) {
        int64_t number = service->rec->deployments.items[i].number;
        TAILQ_FOREACH (deployment, &before, in_service)
            if (deployment->number == number)
                break;
        if (deployment)
            TAILQ_REMOVE(&before, deployment, in_service);
        else
            deployment = new_deployment(service, number);
        TAILQ_INSERT_TAIL(&service->deployments, deployment, in_service);
    }
}

static void set_daemon(struct fl_core *core, struct fl_service *service, bool is_daemon)
{
    if (is_daemon == service->is_daemon)
        return;
    (void)RB_REMOVE(fl_due_tree, &core->due, service);
    service->is_daemon = is_daemon;
    (void)RB_INSERT(fl_due_tree, &core->due, service);
    if (is_daemon)
        TAILQ_INSERT_TAIL(&service->cluster->daemons, service, by_daemon);
    else
        TAILQ_REMOVE(&service->cluster->daemons, service, by_daemon);
}

void fl_apply_service(struct fl_core *core, const struct rec_Service *rec)
{
    struct fl_cluster *cluster = fl_state_cluster(core, rec->cluster);
    FL_ASSERT(cluster);
    struct fl_service *service = fl_state_service(cluster, rec->name);
    struct rec_Service *clone = fl_shape_clone(&rec_shape_Service, rec);
    if (!service)
        service = new_service(core, cluster, clone->name);
    else
        cluster->active_services -= fl_str_is(service->rec->status, "ACTIVE");
    free(service->rec);
    service->rec = clone;
    settle_deployments(service);
    set_daemon(core, service,
               clone->schedulingStrategy == ECS_SchedulingStrategy_DAEMON &&
                   !fl_str_is(clone->status, "INACTIVE"));
    cluster->active_services += fl_str_is(clone->status, "ACTIVE");
    if (!FL_BUG(69, true, false))
        fl_service_wake(core, service);
}

static struct fl_service *service_of(const struct fl_core *core, struct fl_str cluster,
                                     struct fl_str name)
{
    struct fl_service *service = fl_state_service(fl_state_cluster(core, cluster), name);
    FL_ASSERT(service);
    return service;
}

void fl_apply_revision(struct fl_core *core, const struct rec_ServiceRevision *rec)
{
    struct fl_service *service = service_of(core, rec->cluster, rec->service);
    struct fl_revision *revision = fl_service_revision(service, rec->number);
    struct rec_ServiceRevision *clone = fl_shape_clone(&rec_shape_ServiceRevision, rec);
    if (revision) {
        free(revision->rec);
        revision->rec = clone;
        return;
    }
    revision = fl_calloc(1, sizeof(*revision));
    revision->rec = clone;
    revision->definition = fl_state_definition(core, clone->family, clone->revision);
    fl_state_count_user(core, revision->definition, 1);
    (void)RB_INSERT(fl_revision_tree, &service->revisions, revision);
}

void fl_apply_rollout(struct fl_core *core, const struct rec_ServiceDeployment *rec)
{
    struct fl_service *service = service_of(core, rec->cluster, rec->service);
    struct fl_rollout *rollout = fl_service_rollout(service, rec->id);
    struct rec_ServiceDeployment *clone = fl_shape_clone(&rec_shape_ServiceDeployment, rec);
    fl_service_wake(core, service);
    if (rollout) {
        free(rollout->rec);
        rollout->rec = clone;
        return;
    }
    rollout = fl_calloc(1, sizeof(*rollout));
    rollout->rec = clone;
    service->rollout_count++;
    (void)RB_INSERT(fl_rollout_tree, &service->rollouts, rollout);
}

void fl_apply_event(struct fl_core *core, const struct rec_ServiceEvent *rec)
{
    struct fl_service *service = service_of(core, rec->cluster, rec->service);
    struct fl_service_event *event = fl_calloc(1, sizeof(*event));
    event->rec = fl_shape_clone(&rec_shape_ServiceEvent, rec);
    TAILQ_INSERT_TAIL(&service->events, event, in_service);
    service->event_count++;
}

void fl_state_forget_event(struct fl_service *service, struct fl_service_event *event)
{
    TAILQ_REMOVE(&service->events, event, in_service);
    service->event_count--;
    free(event->rec);
    free(event);
}

void fl_state_forget_rollout(struct fl_service *service, struct fl_rollout *rollout)
{
    (void)RB_REMOVE(fl_rollout_tree, &service->rollouts, rollout);
    service->rollout_count--;
    free(rollout->rec);
    free(rollout);
}

void fl_state_forget_revision(struct fl_core *core, struct fl_service *service,
                              struct fl_revision *revision)
{
    (void)RB_REMOVE(fl_revision_tree, &service->revisions, revision);
    fl_state_count_user(core, revision->definition, -1);
    free(revision->rec);
    free(revision);
}

void fl_state_forget_service(struct fl_core *core, struct fl_service *service)
{
    struct fl_service_event *event;
    struct fl_rollout *rollout;
    struct fl_revision *revision;
    struct fl_deployment *deployment;
    while ((event = TAILQ_FIRST(&service->events)))
        fl_state_forget_event(service, event);
    while ((rollout = RB_MIN(fl_rollout_tree, &service->rollouts)))
        fl_state_forget_rollout(service, rollout);
    while ((revision = RB_MIN(fl_revision_tree, &service->revisions)))
        fl_state_forget_revision(core, service, revision);
    while ((deployment = TAILQ_FIRST(&service->deployments))) {
        TAILQ_REMOVE(&service->deployments, deployment, in_service);
        free_deployment(deployment);
    }
    free(service->pace);
    fl_service_set_waiting(service, false);
    set_daemon(core, service, false);
    service->cluster->active_services -= fl_str_is(service->rec->status, "ACTIVE");
    core->counts.services--;
    (void)RB_REMOVE(fl_due_tree, &core->due, service);
    (void)RB_REMOVE(fl_service_tree, &service->cluster->services, service);
    free(service->rec);
    free((char *)service->name.p);
    free(service);
}
