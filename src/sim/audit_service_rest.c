/* When the faults have stopped long enough ago (L7): every ACTIVE service has what it is to have,
 * of its PRIMARY deployment alone, as far as that can run and has room; what was deleted has ended;
 * and whoever has what he wants is quiet. */
#include "sim/core_view.h"
#include "sim/world.h"

enum { SETTLED_MS = 10 * 60 * 1000 };

/* ---- what a service has ---- */

struct tally {
    int64_t primary;
    size_t running, others, unknown, is_protected, drained, gone;
    bool is_restless;
    bool starts_again; /* one of them does: sim_starts_again */
};

bool sim_starts_again(const struct sim *sim, const struct sim_task *task)
{
    int64_t since_ms = sim_server_wall_ms(sim) - sim->settle_ms - SIM_QUIET_US / SIM_MS;
    return task->started_us < sim->now_us - 2 * SIM_QUIET_US && task->started_ms > since_ms;
}

static void count_task(struct sim *sim, FL_UNUSED struct sim_service *service,
                       const struct sim_task *task, void *context)
{
    struct tally *tally = context;
    bool is_its = task->deployment == tally->primary && task->status == REC_TaskStatus_RUNNING &&
                  task->desired != REC_TaskStatus_STOPPED && !sim_is_gone(sim, task);
    tally->running += is_its;
    tally->others += !is_its;
    tally->gone += sim_is_gone(sim, task);
    tally->starts_again |= sim_starts_again(sim, task);
    tally->drained += sim->ledger.instances[task->instance].status == SIM_INSTANCE_DRAINING;
    tally->is_protected += task->protected_ms > sim_server_wall_ms(sim); /* the same */
    tally->unknown += task->checks == SIM_CHECKS_UNKNOWN; /* while a clock that was set back lets it
                                                             begin for another hour */
    tally->is_restless |= !sim_kind_is_good(task->family);
}

bool sim_is_restless(const struct sim *sim, const struct sim_task *task)
{
    const struct sim_service *service;
    if (!task->service)
        return false;
    service = &sim->services.all[task->service - 1];
    return service->is_restless || !sim_kind_is_good(task->family);
}

static bool has_room_on(const struct sim *sim, const struct rec_ServiceRevision *revision,
                        const struct sim_core_instance *at)
{
    int64_t cpu, memory;
    sim_core_definition_size(sim->server.core, revision->family, revision->revision, &cpu, &memory);
    return at->cpu_used + cpu <= at->rec->cpu && at->memory_used + memory <= at->rec->memory;
}

bool sim_has_room(const struct sim *sim, const struct rec_ServiceRevision *revision)
{
    struct sim_core_instance at = {0};
    while (sim_core_next_instance(sim->server.core, &at))
        if (at.connected && fl_str_is(at.rec->status, "ACTIVE") && has_room_on(sim, revision, &at))
            return true;
    return false;
}

/* A bake time that began before the clock was set back lasts an hour more. */
static bool is_baking(const struct sim *sim, const struct rec_Service *rec)
{
    const struct rec_ServiceDeployment *rollout =
        rec->rollout.n ? sim_core_rollout(sim->server.core, rec->name, rec->rollout) : NULL;
    return rollout && FL_HAS(rollout, rec_ServiceDeployment, stageSince) &&
           rollout->stageSince > sim_server_wall_ms(sim) - SETTLED_MS;
}

/* With no step that the bounds allow a deployment waits for somebody to change them. */
static bool is_blocked(const struct sim_service *service, const struct tally *tally)
{
    return service->floor == service->ceiling && tally->others > 0;
}

/* ---- zones ---- */

enum { ZONES = 3, AGAIN_MS = 10 * 60 * 1000 };

static size_t zone_at(const struct sim_core_instance *at)
{
    const struct rec_Instance *rec = at->rec;
    for (size_t i = 0; i < rec->attributes.n; i++)
        if (fl_str_is(rec->attributes.items[i].name, "ecs.availability-zone")) {
            struct fl_str zone = rec->attributes.items[i].value;
            return (size_t)(zone.p[zone.n - 1] - 'a') % ZONES;
        }
    return 0;
}

static void count_zone(struct sim *sim, FL_UNUSED struct sim_service *service,
                       const struct sim_task *task, void *context)
{
    size_t *counts = context;
    struct sim_core_instance at;
    if (sim_core_instance(sim->server.core, fl_str_of(sim->ledger.instances[task->instance].id),
                          &at))
        counts[zone_at(&at)]++;
}

/* With room where there are too few, none has two tasks less than another. A step that came to
 * nothing is tried again later, and with it one that the clock says is yet to come. */
static void check_zones(struct sim *sim, struct sim_service *service, const struct rec_Service *rec,
                        const struct rec_ServiceRevision *revision)
{
    struct sim_core_instance at = {0};
    size_t counts[ZONES] = {0}, most = 0;
    if (rec->availabilityZoneRebalancing != ECS_AvailabilityZoneRebalancing_ENABLED ||
        service->ceiling <= service->desired ||
        (FL_HAS(rec, rec_Service, rebalancedAt) &&
         rec->rebalancedAt > sim_server_wall_ms(sim) - 2 * AGAIN_MS))
        return;
    sim_service_each(sim, service, count_zone, counts);
    for (size_t i = 0; i < ZONES; i++)
        most = FL_MAX(most, counts[i]);
    while (sim_core_next_instance(sim->server.core, &at))
        if (at.connected && fl_str_is(at.rec->status, "ACTIVE") &&
            counts[zone_at(&at)] + 1 < most && has_room_on(sim, revision, &at))
            sim_violation(sim, "L7",
                          "service %s has %zu tasks in a zone, and room where it has %zu",
                          service->name, most, counts[zone_at(&at)]);
}

static void check_complete(struct sim *sim, const struct sim_service *service,
                           const struct rec_Service *rec, const struct tally *tally)
{
    if (tally->others || rec->deployments.n != 1)
        sim_violation(sim, "L7",
                      "service %s has what it wants, and %zu tasks besides, in %zu "
                      "deployments",
                      service->name, tally->others, rec->deployments.n);
    else if (rec->deployments.items[0].rolloutState != ECS_DeploymentRolloutState_COMPLETED ||
             rec->rollout.n)
        sim_violation(sim, "L7", "service %s has what it wants, and its rollout is not complete",
                      service->name);
    else if (!FL_HAS(rec, rec_Service, steadyAt) && !tally->starts_again)
        sim_violation(sim, "L7", "service %s has what it wants, and is not steady", service->name);
    else if (service->put_us > sim->now_us - SIM_QUIET_US && !tally->starts_again)
        sim_violation(sim, "L8", "service %s has what it wants, and is not quiet", service->name);
}

/* What never runs, or never is well, has been given up where a breaker was to see to that. */
static void check_breaker(struct sim *sim, const struct sim_service *service,
                          const struct rec_Service *rec, const struct rec_ServiceRevision *revision,
                          const struct tally *tally)
{
    const struct rec_ServiceDeployment *rollout =
        rec->rollout.n ? sim_core_rollout(sim->server.core, rec->name, rec->rollout) : NULL;
    const struct ecs_DeploymentCircuitBreaker *breaker =
        rollout ? rollout->deploymentConfiguration->deploymentCircuitBreaker : NULL;
    int kind = sim_family_of(revision->family) - SIM_FAMILIES;
    bool fails = kind == SIM_KIND_MISSING || kind == SIM_KIND_STILLBORN || kind == SIM_KIND_ILL;
    if (fails && breaker && breaker->enable && service->floor < service->ceiling &&
        tally->unknown == 0 && sim_has_room(sim, revision))
        sim_violation(sim, "L7", "service %.*s: its rollout can never be complete, and goes on",
                      FL_STR_ARG(rec->name));
}

static void mark_task(struct sim *sim, FL_UNUSED struct sim_service *service,
                      const struct sim_task *task, void *context)
{
    const int64_t *primary = context;
    sim->ledger.instances[task->instance].marks += task->deployment == *primary &&
                                                   task->status == REC_TaskStatus_RUNNING &&
                                                   task->desired != REC_TaskStatus_STOPPED;
}

/* As long as there are no more than the floor asks for, none can be replaced. */
static bool may_move(struct sim *sim, const struct sim_service *service, const struct tally *tally)
{
    struct sim_core_instance at = {0};
    size_t count = 0;
    while (sim_core_next_instance(sim->server.core, &at))
        count += at.connected && fl_str_is(at.rec->status, "ACTIVE");
    return (count * service->least + 99) / 100 + tally->drained + tally->gone <
           service->member_count;
}

/* One on every instance that takes it; somebody may be left on one that is DRAINING. */
static void check_daemons(struct sim *sim, struct sim_service *service,
                          const struct rec_Service *rec, const struct rec_ServiceRevision *revision,
                          const struct tally *tally)
{
    struct sim_core_instance at = {0};
    int64_t primary = rec->deployments.items[0].number;
    size_t lacking = 0;
    for (size_t i = 0; i < sim->ledger.instance_count; i++)
        sim->ledger.instances[i].marks = 0;
    sim_service_each(sim, service, mark_task, &primary);
    while (sim_core_next_instance(sim->server.core, &at)) {
        if (!at.connected || !fl_str_is(at.rec->status, "ACTIVE") ||
            sim_ledger_instance(sim, at.rec->id)->marks)
            continue;
        lacking++;
        if (has_room_on(sim, revision, &at) && may_move(sim, service, tally))
            sim_violation(sim, "L7",
                          "service %s has no daemon on instance %.*s, where there is "
                          "room",
                          service->name, FL_STR_ARG(at.rec->id));
    }
    if (lacking == 0 && tally->drained == 0 && rec->deployments.n == 1 &&
        rec->deployments.items[0].rolloutState != ECS_DeploymentRolloutState_COMPLETED)
        sim_violation(sim, "L7", "service %s has all its daemons, and its rollout is not complete",
                      service->name);
}

static void check_active(struct sim *sim, struct sim_service *service,
                         const struct rec_Service *rec)
{
    const struct rec_Deployment *primary = &rec->deployments.items[0];
    const struct rec_ServiceRevision *revision =
        sim_core_service_revision(sim->server.core, rec->name, primary->number);
    struct tally tally = {.primary = primary->number};
    sim_service_each(sim, service, count_task, &tally);
    if (primary->rolloutState == ECS_DeploymentRolloutState_IN_PROGRESS)
        check_breaker(sim, service, rec, revision, &tally);
    if (primary->rolloutState == ECS_DeploymentRolloutState_FAILED ||
        !sim_kind_is_good(sim_family_of(revision->family)))
        return;
    if (tally.is_protected || is_baking(sim, rec))
        return;
    if (service->is_daemon) {
        check_daemons(sim, service, rec, revision, &tally);
        return;
    }
    if (tally.running > service->desired)
        sim_violation(sim, "L7", "service %s runs %zu of %zu tasks", service->name, tally.running,
                      service->desired);
    else if (tally.drained && service->floor < service->ceiling && sim_has_room(sim, revision))
        sim_violation(sim, "L7", "service %s has %zu tasks on instances that are DRAINING",
                      service->name, tally.drained);
    else if (tally.running == service->desired) {
        check_complete(sim, service, rec, &tally);
        check_zones(sim, service, rec, revision);
    } else if (!is_blocked(service, &tally) && sim_has_room(sim, revision))
        sim_violation(sim, "L7", "service %s runs %zu of %zu tasks, and there is room for more",
                      service->name, tally.running, service->desired);
}

static void mark_restless(struct sim *sim, struct sim_service *service,
                          const struct rec_Service *rec)
{
    service->is_restless = false;
    for (size_t i = 0; rec && i < rec->deployments.n; i++) {
        const struct rec_ServiceRevision *revision = sim_core_service_revision(
            sim->server.core, rec->name, rec->deployments.items[i].number);
        service->is_restless |= !revision || !sim_kind_is_good(sim_family_of(revision->family));
    }
}

static void count_any(struct sim *sim, struct sim_service *service, const struct sim_task *task,
                      FL_UNUSED void *context)
{
    sim_violation(sim, "L7", "service %s has ended, and its task %s has not", service->name,
                  task->id);
}

void sim_audit_services_rest(struct sim *sim)
{
    for (size_t i = 0; i < sim->services.count && !sim->ended; i++) {
        struct sim_service *service = &sim->services.all[i];
        const struct rec_Service *rec =
            sim_core_service(sim->server.core, fl_str_of(service->name));
        mark_restless(sim, service, rec);
        if (service->exists && service->status == SIM_SERVICE_DRAINING)
            sim_violation(sim, "L7", "service %s is still DRAINING", service->name);
        else if (service->exists && service->status == SIM_SERVICE_ACTIVE && service->is_external)
            sim_audit_sets_rest(sim, service, rec);
        else if (service->exists && service->status == SIM_SERVICE_ACTIVE)
            check_active(sim, service, rec), sim_audit_hooks_rest(sim, rec);
        else
            sim_service_each(sim, service, count_any, NULL);
    }
}
