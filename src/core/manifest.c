/* What an agent is told of all its tasks at once, and which of those that it asks about it is to
 * stop. Only what the records say goes out: an agent stops nothing because of what could be lost.
 */
#include "core/decide.h"
#include "core/expression.h"
#include "wire/acs.h"
#include "wire/arn.h"

static bool understands(const struct fl_instance *instance)
{
    struct fl_str value;
    return fl_instance_attribute(instance, FL_STR("ecs.capability.full-sync"), &value);
}

void fl_send_manifest(struct fl_decision *d, struct fl_instance *instance)
{
    struct fl_task *task;
    size_t count = instance->running_count + instance->pending_count, n = 0;
    if (!instance->connected || !understands(instance) || count > FL_ACS_MAX_MANIFEST)
        return;
    struct fl_str cluster_arn = fl_cluster_arn(d, instance->cluster->name);
    struct fl_acs_task *list = fl_arena_new_array(d->arena, struct fl_acs_task, count);
    RB_FOREACH (task, fl_held_tree, &instance->tasks) {
        if (n == count)
            break;
        list[n++] = (struct fl_acs_task){
            .arn = fl_task_arn(d, task->rec),
            .cluster_arn = cluster_arn,
            .desired_running = task->rec->desired != REC_TaskStatus_STOPPED,
            .is_running = task->rec->status == REC_TaskStatus_RUNNING,
        };
    }
    fl_send_tasks(d, instance, FL_CORE_EFFECT_AGENT_MANIFEST, list, n, FL_STR(""));
}

/* Is the task, by its whole ARN, wanted on that instance? */
static bool is_wanted(struct fl_decision *d, const struct fl_instance *instance, struct fl_str arn)
{
    const struct fl_task *task = fl_state_task(instance->cluster, fl_arn_last(arn));
    return task && task->instance == instance && task->rec->status != REC_TaskStatus_STOPPED &&
           task->rec->desired != REC_TaskStatus_STOPPED &&
           fl_str_eq(arn, fl_task_arn(d, task->rec));
}

void fl_verify_stops(struct fl_decision *d, const struct fl_core_event *event)
{
    struct fl_cluster *cluster = fl_state_cluster(d->core, event->cluster);
    struct fl_instance *instance = cluster ? fl_state_instance(cluster, event->instance) : NULL;
    size_t n = 0;
    if (!instance || !instance->connected || instance->session != event->session)
        return;
    struct fl_acs_task *list = fl_arena_new_array(d->arena, struct fl_acs_task, event->task_count);
    for (size_t i = 0; i < event->task_count; i++) {
        const struct fl_acs_task *asked = &event->tasks[i];
        if (FL_BUG(46, true, is_wanted(d, instance, asked->arn)))
            continue;
        list[n++] = (struct fl_acs_task){
            .arn = fl_str_dup(d->arena, asked->arn),
            .cluster_arn = fl_str_dup(d->arena, asked->cluster_arn),
        };
    }
    fl_send_tasks(d, instance, FL_CORE_EFFECT_AGENT_STOP_LIST, list, n,
                  fl_str_dup(d->arena, event->message_id));
}
