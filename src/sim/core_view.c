/* Reading a core's memory. */
#include "sim/core_view.h"

#include "core/state.h"

static struct fl_cluster *cluster_of(const struct fl_core *core)
{
    return fl_state_cluster(core, FL_STR("default"));
}

const struct rec_Task *sim_core_task(const struct fl_core *core, struct fl_str id)
{
    struct fl_cluster *cluster = cluster_of(core);
    struct fl_task *task = cluster ? fl_state_task(cluster, id) : NULL;
    return task ? task->rec : NULL;
}

static void show(const struct fl_instance *instance, struct sim_core_instance *ret_instance)
{
    *ret_instance = (struct sim_core_instance){
        .rec = instance->rec,
        .cpu_used = instance->cpu_used,
        .memory_used = instance->memory_used,
        .connected = instance->connected,
    };
}

bool sim_core_instance(const struct fl_core *core, struct fl_str id,
                       struct sim_core_instance *ret_instance)
{
    struct fl_cluster *cluster = cluster_of(core);
    struct fl_instance *instance = cluster ? fl_state_instance(cluster, id) : NULL;
    if (instance)
        show(instance, ret_instance);
    return instance;
}

const struct rec_Task *sim_core_next_task(const struct fl_core *core, const struct rec_Task *after)
{
    struct fl_cluster *cluster = cluster_of(core);
    struct fl_task *at = after ? fl_state_task(cluster, after->id) : NULL;
    if (!cluster)
        return NULL;
    at = at ? RB_NEXT(fl_task_tree, &cluster->tasks, at) : RB_MIN(fl_task_tree, &cluster->tasks);
    return at ? at->rec : NULL;
}

bool sim_core_next_instance(const struct fl_core *core, struct sim_core_instance *at)
{
    struct fl_cluster *cluster = cluster_of(core);
    if (!cluster)
        return false;
    struct fl_instance *instance = at->rec ? RB_NEXT(fl_instance_tree, &cluster->instances,
                                                     fl_state_instance(cluster, at->rec->id))
                                           : RB_MIN(fl_instance_tree, &cluster->instances);
    if (instance)
        show(instance, at);
    return instance;
}

int32_t sim_core_latest_revision(const struct fl_core *core, struct fl_str family)
{
    const struct fl_definition *definition = fl_state_latest(core, family);
    return definition ? definition->revision : 0;
}

void sim_core_sum(const struct fl_core *core, struct sim_core_sums *ret_sums)
{
    struct fl_cluster *cluster = cluster_of(core);
    struct fl_instance *at;
    *ret_sums = (struct sim_core_sums){.running = cluster->running_count};
    RB_FOREACH (at, fl_instance_tree, &cluster->instances) {
        ret_sums->cpu += at->cpu;
        ret_sums->memory += at->memory;
        ret_sums->cpu_used += at->cpu_used;
        ret_sums->memory_used += at->memory_used;
        ret_sums->empty += at->running_count + at->pending_count == 0;
    }
}

const struct fl_shape *sim_core_shape(int kind)
{
    return fl_record_shape((enum fl_record_kind)kind);
}

void sim_core_load(struct fl_core *core, int kind, const void *record)
{
    fl_state_apply(core, (enum fl_record_kind)kind, record);
}
