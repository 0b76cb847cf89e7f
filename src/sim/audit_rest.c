/* When the faults have stopped long enough ago: everything that is wanted runs, everything else has
 * ended, everybody knows, and nothing is left over. */
#include "shapes/rec_shapes.h"
#include "sim/core_view.h"
#include "sim/world.h"

/* An agent that was told that its instance is deregistered stays away until it is restarted. */
static bool is_away(struct sim *sim, const struct sim_host *host)
{
    struct fl_str arn = fl_str_of(host->instance_arn);
    const struct sim_instance *instance = arn.n ? sim_ledger_instance(sim, fl_task_id(arn)) : NULL;
    return instance && host->was_registered && instance->leave_asked &&
           instance->status == SIM_INSTANCE_INACTIVE;
}

/* Deregistered by force, its tasks are accounted for no more, and what runs of them runs on until
 * their agent joins again. */
static bool is_abandoned(struct sim *sim, const struct sim_task *task)
{
    const struct sim_instance *instance = &sim->ledger.instances[task->instance];
    bool is_gone = instance->drop_put || instance->status == SIM_INSTANCE_INACTIVE;
    const struct sim_host *host = &sim->hosts[task->running_on];
    return is_gone && (is_away(sim, host) || !sim_host_has_manifests(host));
}

bool sim_is_gone(const struct sim *sim, const struct sim_task *task)
{
    const struct sim_instance *instance = &sim->ledger.instances[task->instance];
    uint32_t host = instance->host != SIM_NOWHERE ? instance->host : instance->machine;
    return sim->hosts[host].is_gone;
}

/* Its host has lost what it knew of it, and has joined again as another instance. */
static bool is_lost(struct sim *sim, const struct sim_task *task)
{
    const struct sim_instance *instance = &sim->ledger.instances[task->instance];
    return instance->host == SIM_NOWHERE && !is_away(sim, &sim->hosts[instance->machine]);
}

static void check_task(struct sim *sim, const struct sim_task *task)
{
    if (sim_is_restless(sim, task) || (task->exists && sim_is_gone(sim, task)))
        return;
    bool is_running = task->exists && task->status == REC_TaskStatus_RUNNING;
    if (task->exists && task->status != REC_TaskStatus_STOPPED && is_lost(sim, task))
        sim_violation(sim, "L1", "task %s has lost its host and is in status %d", task->id,
                      task->status);
    if (task->exists && task->status != REC_TaskStatus_STOPPED &&
        sim->ledger.instances[task->instance].host == SIM_NOWHERE)
        return;
    if (task->exists && task->desired == REC_TaskStatus_STOPPED &&
        task->status != REC_TaskStatus_STOPPED)
        sim_violation(sim, "L1", "task %s is to stop and does not", task->id);
    if (task->exists && task->desired != REC_TaskStatus_STOPPED && !is_running)
        sim_violation(sim, "L1", "task %s is to run and is in status %d", task->id, task->status);
    if (is_running && task->running == 0)
        sim_violation(sim, "L2", "task %s is said to run, and nothing of it does", task->id);
    if (!is_running && task->running > 0 && !is_abandoned(sim, task))
        sim_violation(sim, "L4", "task %s has ended, and %u of its containers run on host %u",
                      task->id, task->running, task->running_on);
}

static int health_of(const struct rec_Task *rec, struct fl_str name)
{
    for (size_t i = 0; i < rec->containers.n; i++)
        if (fl_str_eq(rec->containers.items[i].name, name))
            return (int)rec->containers.items[i].healthStatus;
    return -1;
}

/* The load is over, everybody is well, and everybody knows. */
static void check_health(struct sim *sim, const struct sim_host *host, const struct fl_task *task)
{
    const struct rec_Task *rec = sim_core_task(sim->server.core, fl_task_id(task->arn));
    bool is_running = rec && rec->status == REC_TaskStatus_RUNNING && task->desired_running;
    if (sim_is_restless(sim, sim_ledger_task(sim, fl_task_id(task->arn))))
        return;
    for (size_t i = 0; is_running && i < task->container_count; i++) {
        const struct fl_task_container *container = &task->containers[i];
        if (container->spec->health_check.test_count == 0 ||
            container->state != FL_CONTAINER_RUNNING)
            continue;
        if (health_of(rec, container->spec->name) != ECS_HealthStatus_HEALTHY)
            sim_violation(sim, "D6", "host %u: container %.12s is well, and is said to be %d",
                          host->index, container->id, health_of(rec, container->spec->name));
    }
}

static void check_host(struct sim *sim, const struct sim_host *host)
{
    if (host->is_gone || (host->up && is_away(sim, host)))
        return;
    if (!host->up || host->stage != SIM_OPEN || !sim_server_is_connected(sim, host->index)) {
        sim_violation(sim, "L3", "host %u is not connected", host->index);
        return;
    }
    for (const struct fl_task *t = NULL; (t = fl_brain_next_task(host->brain, t));)
        if (t->acked_seq != t->change_seq &&
            !sim_is_restless(sim, sim_ledger_task(sim, fl_task_id(t->arn))))
            sim_violation(sim, "L3", "host %u: the end of task %.*s is not reported", host->index,
                          FL_STR_ARG(fl_task_id(t->arn)));
    for (const struct fl_task *t = NULL; (t = fl_brain_next_task(host->brain, t));)
        check_health(sim, host, t);
    for (const struct sim_container *c = host->containers; c; c = c->next)
        if (c->state == SIM_RUNNING && !fl_brain_container(host->brain, fl_str_of(c->id)))
            sim_violation(sim, "L4", "host %u: container %.12s belongs to nobody", host->index,
                          c->id);
}

static void check_instance(struct sim *sim, const struct sim_instance *instance)
{
    if (instance->status == SIM_INSTANCE_INACTIVE &&
        sim_server_has_session(sim, fl_str_of(instance->id)))
        sim_violation(sim, "L3", "instance %s is INACTIVE, and its agent is connected",
                      instance->id);
}

void sim_audit_rest(struct sim *sim)
{
    if (!sim->server.up) {
        sim_violation(sim, "L2", "the server does not come back");
        return;
    }
    sim_audit_services_rest(sim);
    for (size_t i = 0; i < sim->ledger.task_count && !sim->ended; i++)
        check_task(sim, &sim->ledger.tasks[i]);
    for (size_t i = 0; i < sim->host_count && !sim->ended; i++)
        check_host(sim, &sim->hosts[i]);
    for (size_t i = 0; i < sim->ledger.instance_count && !sim->ended; i++)
        check_instance(sim, &sim->ledger.instances[i]);
    if (sim->clients.open)
        sim_violation(sim, "L2", "%zu calls have no end", sim->clients.open);
}
