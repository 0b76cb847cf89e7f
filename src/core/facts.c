/* The few questions that the server asks of the state without a turn. */
#include "core/state.h"
#include "wire/arn.h"

static const struct fl_instance *find_instance(const struct fl_core *core, struct fl_str cluster,
                                               struct fl_str instance)
{
    const struct fl_cluster *found = fl_state_cluster(core, cluster);
    return found ? fl_state_instance(found, instance) : NULL;
}

bool fl_core_instance_active(const struct fl_core *core, struct fl_str cluster,
                             struct fl_str instance)
{
    const struct fl_instance *host = find_instance(core, cluster, instance);
    return host && !fl_str_is(host->rec->status, "INACTIVE");
}

bool fl_core_instance_known(const struct fl_core *core, struct fl_str cluster,
                            struct fl_str instance)
{
    return find_instance(core, cluster, instance) != NULL;
}

struct fl_str fl_core_task_instance(const struct fl_core *core, struct fl_str cluster,
                                    struct fl_str task)
{
    const struct fl_cluster *found = fl_state_cluster(core, cluster);
    const struct fl_task *placed = found ? fl_state_task(found, task) : NULL;
    return placed && placed->instance ? placed->instance->id : FL_STR("");
}

bool fl_core_instance_size(const struct fl_core *core, struct fl_str cluster,
                           struct fl_str instance, struct fl_core_size *ret_size)
{
    const struct fl_instance *host = find_instance(core, cluster, instance);
    if (!host)
        return false;
    *ret_size = (struct fl_core_size){
        .cpu = host->cpu,
        .memory = host->memory,
        .cpu_reserved = host->cpu_used,
        .memory_reserved = host->memory_used,
        .connected = host->connected,
    };
    return true;
}

bool fl_core_task_size(const struct fl_core *core, struct fl_str cluster, struct fl_str task,
                       struct fl_str instance, struct fl_core_size *ret_size)
{
    const struct fl_cluster *found = fl_state_cluster(core, cluster);
    const struct fl_task *held = found ? fl_state_task(found, task) : NULL;
    if (!held || held->rec->status == REC_TaskStatus_STOPPED || !held->instance ||
        !fl_str_eq(held->instance->id, instance))
        return false;
    *ret_size = (struct fl_core_size){
        .cpu = held->instance->cpu,
        .memory = held->instance->memory,
        .cpu_reserved = held->rec->cpu,
        .memory_reserved = held->rec->memory,
        .connected = held->instance->connected,
    };
    return true;
}

static bool is_inactive(const struct fl_cluster *cluster)
{
    return fl_str_is(cluster->rec->status, "INACTIVE");
}

bool fl_core_has_cluster(const struct fl_core *core, struct fl_str name)
{
    const struct fl_cluster *cluster = fl_state_cluster(core, name);
    return cluster && !is_inactive(cluster);
}

bool fl_core_cluster_next(const struct fl_core *core, struct fl_str *name)
{
    struct fl_cluster_tree *tree = (struct fl_cluster_tree *)&core->clusters;
    struct rec_Cluster rec = {.name = *name};
    struct fl_cluster probe = {.rec = &rec};
    struct fl_cluster *at = RB_NFIND(fl_cluster_tree, tree, &probe);
    while (at && (fl_str_eq(at->name, *name) || is_inactive(at)))
        at = RB_NEXT(fl_cluster_tree, tree, at);
    if (at)
        *name = at->name;
    return at;
}

bool fl_core_instance_next(const struct fl_core *core, struct fl_str cluster, struct fl_str *id)
{
    struct fl_cluster *found = fl_state_cluster(core, cluster);
    struct rec_Instance rec = {.id = *id};
    struct fl_instance probe = {.rec = &rec};
    struct fl_instance *at = found ? RB_NFIND(fl_instance_tree, &found->instances, &probe) : NULL;
    while (at && (fl_str_eq(at->id, *id) || fl_str_is(at->rec->status, "INACTIVE")))
        at = RB_NEXT(fl_instance_tree, &found->instances, at);
    if (at)
        *id = at->id;
    return at;
}
