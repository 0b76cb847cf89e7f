/* What is promised of the task sets of a service with an EXTERNAL controller: calls about them are
 * obeyed (S1), and at the end each has its share of the service's count (L7). The bounds of all
 * sets together are checked in audit_service.c. */
#include "sim/core_view.h"
#include "sim/world.h"

/* Shares are hundredths of a percent, and are rounded up. */
size_t sim_set_wanted(const struct rec_Service *rec, const struct rec_Deployment *set)
{
    if (fl_str_is(set->status, "DRAINING"))
        return 0;
    return ((size_t)rec->desiredCount * (size_t)set->scale + 9999) / 10000;
}

/* ---- calls ---- */

/* The set of that id; NULL: there is none. */
static const struct rec_Deployment *set_of(const struct rec_Service *rec, struct fl_str id)
{
    int64_t number;
    if (!rec || !fl_str_to_i64(fl_str_from(id, strlen("ecs-svc/")), &number))
        return NULL;
    for (size_t i = 0; i < rec->deployments.n; i++)
        if (rec->deployments.items[i].number == number)
            return &rec->deployments.items[i];
    return NULL;
}

static bool is_set_made(const struct rec_Service *rec, const struct ecs_CreateTaskSetRequest *in)
{
    for (size_t i = 0; rec && i < rec->deployments.n; i++)
        if (fl_str_eq(rec->deployments.items[i].externalId, in->externalId))
            return true;
    return false;
}

static bool is_set_scaled(const struct rec_Service *rec, const struct ecs_UpdateTaskSetRequest *in)
{
    const struct rec_Deployment *set = set_of(rec, in->taskSet);
    return set && set->scale == (int32_t)(in->scale->value * 100);
}

static bool is_set_primary(const struct rec_Service *rec,
                           const struct ecs_UpdateServicePrimaryTaskSetRequest *in)
{
    const struct rec_Deployment *set = set_of(rec, in->primaryTaskSet);
    return set && set == rec->deployments.items && fl_str_is(set->status, "PRIMARY");
}

static bool is_set_deleted(const struct rec_Service *rec, const struct ecs_DeleteTaskSetRequest *in)
{
    const struct rec_Deployment *set = set_of(rec, in->taskSet);
    return !set || fl_str_is(set->status, "DRAINING");
}

bool sim_set_is_done(const struct rec_Service *rec, const struct fl_core_event *event)
{
    switch (event->operation) {
    case ECS_OP_CreateTaskSet:
        return is_set_made(rec, event->input);
    case ECS_OP_UpdateTaskSet:
        return is_set_scaled(rec, event->input);
    case ECS_OP_UpdateServicePrimaryTaskSet:
        return is_set_primary(rec, event->input);
    case ECS_OP_DeleteTaskSet:
        return is_set_deleted(rec, event->input);
    }
    return true;
}

/* ---- at the end ---- */

struct set_tally {
    int64_t number;
    size_t running, others, drained;
    bool is_protected, starts_again;
};

static void count_of_set(struct sim *sim, FL_UNUSED struct sim_service *service,
                         const struct sim_task *task, void *context)
{
    struct set_tally *tally = context;
    bool is_running = task->status == REC_TaskStatus_RUNNING &&
                      task->desired != REC_TaskStatus_STOPPED && !sim_is_gone(sim, task);
    tally->starts_again |= sim_starts_again(sim, task);
    tally->is_protected |= task->protected_ms > sim_server_wall_ms(sim);
    if (task->deployment != tally->number)
        return;
    tally->running += is_running;
    tally->others += !is_running;
    tally->drained += sim->ledger.instances[task->instance].status == SIM_INSTANCE_DRAINING;
}

static bool set_has_room(struct sim *sim, const struct rec_Service *rec, int64_t number)
{
    return sim_has_room(sim, sim_core_service_revision(sim->server.core, rec->name, number));
}

/* Nothing is lacking: nothing is left over, either. */
static void check_sets_complete(struct sim *sim, const struct sim_service *service,
                                const struct rec_Service *rec, size_t excess)
{
    if (excess)
        sim_violation(sim, "L7", "service %s: its task sets have %zu tasks too many", service->name,
                      excess);
    for (size_t i = 0; i < rec->deployments.n && !sim->ended; i++)
        if (fl_str_is(rec->deployments.items[i].status, "DRAINING"))
            sim_violation(sim, "L7", "service %s: a task set is still DRAINING", service->name);
    if (rec->deployments.n && !FL_HAS(rec, rec_Service, steadyAt))
        sim_violation(sim, "L7", "service %s has what its task sets want, and is not steady",
                      service->name);
    else if (service->put_us > sim->now_us - SIM_QUIET_US)
        sim_violation(sim, "L8", "service %s has what its task sets want, and is not quiet",
                      service->name);
}

/* Every set has its share, as far as there is room and the bounds of all together allow a step. */
void sim_audit_sets_rest(struct sim *sim, struct sim_service *service,
                         const struct rec_Service *rec)
{
    size_t lacking = 0, excess = 0, drained = 0;
    bool may_go_on = false;
    if (service->is_restless) /* the healthy ones of other sets may be needed for the floor */
        return;
    for (size_t i = 0; i < rec->deployments.n; i++) {
        const struct rec_Deployment *set = &rec->deployments.items[i];
        struct set_tally tally = {.number = set->number};
        size_t wanted = sim_set_wanted(rec, set);
        sim_service_each(sim, service, count_of_set, &tally);
        if (tally.is_protected || tally.starts_again)
            return;
        lacking += wanted > tally.running ? wanted - tally.running : 0;
        excess += tally.others + (tally.running > wanted ? tally.running - wanted : 0);
        drained += tally.drained;
        may_go_on |=
            (wanted > tally.running || tally.drained) && set_has_room(sim, rec, set->number);
    }
    bool is_stuck = service->floor == service->ceiling && excess + drained > 0;
    if (lacking + drained == 0 && !is_stuck)
        check_sets_complete(sim, service, rec, excess);
    else if (may_go_on && !is_stuck)
        sim_violation(
            sim, "L7",
            "service %s: its task sets lack %zu tasks, %zu are to move, and there is room",
            service->name, lacking, drained);
}
