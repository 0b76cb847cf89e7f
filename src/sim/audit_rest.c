/* When the faults have stopped long enough ago: everything that is wanted runs, everything else has
 * ended, everybody knows, and nothing is left over. */
#include "shapes/rec_shapes.h"
#include "sim/world.h"

/* Tasks of a host that was installed anew stay as they were: nobody can say what became of them. */
static bool is_orphan(const struct sim *sim, const struct sim_task *task)
{
    return sim->ledger.instances[task->instance].host == SIM_NOWHERE;
}

static void check_task(struct sim *sim, const struct sim_task *task)
{
    bool is_running = task->exists && task->status == REC_TaskStatus_RUNNING;
    if (task->exists && is_orphan(sim, task))
        return;
    if (task->exists && task->desired == REC_TaskStatus_STOPPED &&
        task->status != REC_TaskStatus_STOPPED)
        sim_violation(sim, "L1", "task %s is to stop and does not", task->id);
    if (task->exists && task->desired != REC_TaskStatus_STOPPED && !is_running)
        sim_violation(sim, "L1", "task %s is to run and is in status %d", task->id, task->status);
    if (is_running && task->running == 0)
        sim_violation(sim, "L2", "task %s is said to run, and nothing of it does", task->id);
    if (!is_running && task->running > 0)
        sim_violation(sim, "L4", "task %s has ended, and %u of its containers run on host %u",
                      task->id, task->running, task->running_on);
}

static void check_host(struct sim *sim, const struct sim_host *host)
{
    if (!host->up || host->stage != SIM_OPEN || !sim_server_is_connected(sim, host->index)) {
        sim_violation(sim, "L3", "host %u is not connected", host->index);
        return;
    }
    for (const struct fl_task *t = NULL; (t = fl_brain_next_task(host->brain, t));)
        if (t->acked_seq != t->change_seq)
            sim_violation(sim, "L3", "host %u: the end of task %.*s is not reported", host->index,
                          FL_STR_ARG(fl_task_id(t->arn)));
    for (const struct sim_container *c = host->containers; c; c = c->next)
        if (c->state == SIM_RUNNING && !fl_brain_container(host->brain, fl_str_of(c->id)))
            sim_violation(sim, "L4", "host %u: container %.12s belongs to nobody", host->index,
                          c->id);
}

void sim_audit_rest(struct sim *sim)
{
    if (!sim->server.up) {
        sim_violation(sim, "L2", "the server does not come back");
        return;
    }
    for (size_t i = 0; i < sim->ledger.task_count && !sim->ended; i++)
        check_task(sim, &sim->ledger.tasks[i]);
    for (size_t i = 0; i < sim->host_count && !sim->ended; i++)
        check_host(sim, &sim->hosts[i]);
    if (sim->clients.open)
        sim_violation(sim, "L2", "%zu calls have no end", sim->clients.open);
}
