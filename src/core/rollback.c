/* The way back: a rollout that is given up. */
#include "core/scheduler.h"

static void make_primary(struct fl_decision *d, struct rec_Service *rec, int64_t number)
{
    struct rec_Deployment_list *list = &rec->deployments;
    for (size_t i = 0; i < list->n; i++)
        FL_SET(&list->items[i], rec_Deployment, status, FL_STR("ACTIVE"));
    for (size_t i = 0; i < list->n; i++)
        if (list->items[i].number == number) {
            struct rec_Deployment found = list->items[i];
            memmove(list->items + 1, list->items, i * sizeof(found));
            list->items[0] = found;
            FL_SET(&list->items[0], rec_Deployment, status, FL_STR("PRIMARY"));
            return;
        }
    (void)fl_service_add_entry(d, rec, number, FL_STR("PRIMARY"));
}

static void fail(struct fl_decision *d, struct rec_Service *rec, int64_t target,
                 struct fl_str reason)
{
    fl_entry_set_rollout(
        d, fl_service_entry(rec, target), ECS_DeploymentRolloutState_FAILED,
        fl_str_printf(d->arena, "ECS deployment failed: %.*s", FL_STR_ARG(reason)));
}

void fl_rollback_request(struct fl_decision *d, struct fl_service *service, struct fl_str reason)
{
    const struct fl_rollout *current = fl_service_current(service);
    struct rec_Service *rec = fl_service_edit(d, service);
    int64_t target = current->rec->target, back = service->rec->lastCompleted;
    fail(d, rec, target, reason);
    if (back == 0 || back == target || !fl_service_revision(service, back)) {
        fl_rollout_end(d, service, rec, ECS_ServiceDeploymentStatus_ROLLBACK_FAILED,
                       FL_STR("No rollback candidate was found to run the rollback."));
        fl_service_put(d, rec);
        return;
    }
    make_primary(d, rec, back);
    fl_entry_set_rollout(
        d, &rec->deployments.items[0], ECS_DeploymentRolloutState_IN_PROGRESS,
        fl_str_printf(d->arena, "ECS deployment ecs-svc/%lld in progress.", (long long)back));
    struct rec_ServiceDeployment *rollout = fl_rollout_edit(d, current);
    FL_SET(rollout, rec_ServiceDeployment, status,
           ECS_ServiceDeploymentStatus_ROLLBACK_IN_PROGRESS);
    FL_SET(rollout, rec_ServiceDeployment, rollbackTo, back);
    fl_service_put(d, rec);
    fl_rollout_put(d, rollout);
}
