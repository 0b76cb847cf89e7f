/* Tasks that end: what a deployment remembers of them. */
#include "core/scheduler.h"

void fl_scheduler_task_ended(struct fl_decision *d, const struct fl_task *task)
{
    const struct fl_deployment *deployment = fl_task_deployment_of(task->cluster, task->rec);
    if (!deployment || FL_HAS(task->rec, rec_Task, startedAt) ||
        task->rec->stopCode != ECS_TaskStopCode_TaskFailedToStart)
        return;
    struct rec_Service *rec = fl_service_edit(d, deployment->service);
    struct rec_Deployment *entry = fl_service_entry(rec, deployment->number);
    FL_SET(entry, rec_Deployment, failedTasks, entry->failedTasks + 1);
    fl_service_put(d, rec);
}
