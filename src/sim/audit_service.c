/* What is promised of services, after every step: nothing that was acknowledged is lost (S1), what
 * the scheduler begins stays within the bounds (S6), records grow and end as they are to (S4, S10),
 * name what exists (S12), and a core with nothing to do does nothing (L8). */
#include "sim/core_view.h"
#include "sim/world.h"

enum {
    STOPPED = REC_TaskStatus_STOPPED,
    BY_SCHEDULER = ECS_TaskStopCode_ServiceSchedulerInitiated + 1,
    MOST_EVENTS = 100,
    INACTIVE_MS = 60 * 60 * 1000,
};

/* ---- the shadow of a service's record ---- */

static struct sim_service *touch(struct sim *sim, struct sim_service *service)
{
    struct sim_services *services = &sim->services;
    if (service->is_touched)
        return service;
    if (services->touched_count == services->touched_cap) {
        services->touched_cap = FL_MAX(2 * services->touched_cap, (size_t)16);
        services->touched =
            fl_realloc(services->touched, services->touched_cap * sizeof(*services->touched));
    }
    services->touched[services->touched_count++] = (uint32_t)(service - services->all);
    service->is_touched = true;
    return service;
}

static int status_of(struct fl_str text)
{
    static const char *const names[] = {[SIM_SERVICE_ACTIVE] = "ACTIVE",
                                        [SIM_SERVICE_DRAINING] = "DRAINING",
                                        [SIM_SERVICE_INACTIVE] = "INACTIVE"};
    for (size_t i = 0; i < FL_ARRAY_SIZE(names); i++)
        if (fl_str_is(text, names[i]))
            return (int)i;
    return -1;
}

static size_t share_up(size_t count, size_t percent)
{
    return (count * percent + 99) / 100;
}

/* A rollout in stages is under way, or is taken back. */
static bool has_two_sets(const struct sim *sim, const struct rec_Service *rec)
{
    const struct rec_ServiceDeployment *rollout =
        rec->rollout.n ? sim_core_rollout(sim->server.core, rec->name, rec->rollout) : NULL;
    return rollout && rollout->deploymentConfiguration->strategy != ECS_DeploymentStrategy_ROLLING;
}

/* Bounds are those of what all sets together are to have. */
static void take_sets(struct sim_service *service, const struct rec_Service *rec)
{
    service->desired = service->set_count = 0;
    for (size_t i = 0; i < rec->deployments.n; i++) {
        if (service->status == SIM_SERVICE_ACTIVE)
            service->desired += sim_set_wanted(rec, &rec->deployments.items[i]);
        if (service->set_count < SIM_SETS)
            service->sets[service->set_count++] = rec->deployments.items[i].number;
    }
}

static void take_service(struct sim *sim, struct sim_service *service,
                         const struct rec_Service *rec)
{
    const struct ecs_DeploymentConfiguration *config = rec->deploymentConfiguration;
    int status = status_of(rec->status);
    if (status < 0)
        sim_violation(sim, "S4", "service %s is %.*s", service->name, FL_STR_ARG(rec->status));
    service->exists = true;
    service->status = (enum sim_service_status)status;
    service->version = rec->version;
    service->ended_ms = rec->endedAt;
    service->is_daemon = rec->schedulingStrategy == ECS_SchedulingStrategy_DAEMON;
    service->desired = status == SIM_SERVICE_ACTIVE ? (size_t)rec->desiredCount : 0;
    service->is_external = rec->deploymentController == ECS_DeploymentControllerType_EXTERNAL;
    if (service->is_external)
        take_sets(service, rec);
    service->least = (size_t)config->minimumHealthyPercent;
    service->floor = share_up(service->desired, service->least);
    service->ceiling = service->desired * (size_t)config->maximumPercent / 100;
    if (has_two_sets(sim, rec))
        service->ceiling *= 2;
    service->is_steady = FL_HAS(rec, rec_Service, steadyAt);
    service->put_us = sim->now_us;
}

/* Back is where the service was complete before. */
static void check_way_back(struct sim *sim, const struct sim_service *service,
                           const struct rec_Service *rec)
{
    const struct rec_ServiceDeployment *rollout =
        rec->rollout.n ? sim_core_rollout(sim->server.core, rec->name, rec->rollout) : NULL;
    if (rollout && FL_HAS(rollout, rec_ServiceDeployment, rollbackTo) &&
        rollout->rollbackTo == rollout->target)
        sim_violation(sim, "S6", "service %s is rolled back to where it comes from", service->name);
}

static void put_service(struct sim *sim, struct sim_service *service, const struct rec_Service *rec)
{
    if (!rec) {
        sim_violation(sim, "S11", "service %s has a record and is not there", service->name);
        return;
    }
    if (service->drop_put || (service->exists && rec->version <= service->version))
        sim_violation(sim, "S10", "service %s: version %lld after %lld", service->name,
                      (long long)rec->version, (long long)service->version);
    if (service->exists && status_of(rec->status) < (int)service->status)
        sim_violation(sim, "S4", "service %s: %.*s after status %d", service->name,
                      FL_STR_ARG(rec->status), (int)service->status);
    bool was_steady = service->is_steady;
    take_service(sim, service, rec);
    if (service->is_steady && !was_steady && !service->is_daemon)
        touch(sim, service)->is_becoming_steady = true;
    check_way_back(sim, service, rec);
}

static void drop_service(struct sim *sim, struct sim_service *service, int64_t now_ms)
{
    if (!service->exists || service->status != SIM_SERVICE_INACTIVE ||
        service->ended_ms + INACTIVE_MS > now_ms)
        sim_violation(sim, "S1", "service %s is forgotten too early", service->name);
    service->exists = false;
    service->drop_put = true;
}

/* m/<cluster>/<name>, n/<cluster>/<name>/…, and so on. */
static struct fl_str name_in(struct fl_str key)
{
    struct fl_str rest = fl_str_from(key, 2), name;
    (void)fl_str_split(&rest, '/', &name);
    (void)fl_str_split(&rest, '/', &name);
    return name;
}

/* A ROLLING deployment that is to bake has done so; a clock that was set back shortens that. */
static void check_bake(struct sim *sim, const struct rec_ServiceDeployment *rec)
{
    const struct ecs_DeploymentConfiguration *config = rec->deploymentConfiguration;
    int64_t until_ms = rec->stageSince + config->bakeTimeInMinutes * (int64_t)60000;
    if (rec->status != ECS_ServiceDeploymentStatus_SUCCESSFUL || config->bakeTimeInMinutes == 0 ||
        config->strategy != ECS_DeploymentStrategy_ROLLING)
        return;
    if (!FL_HAS(rec, rec_ServiceDeployment, lifecycleStage) ||
        (rec->stageSince <= rec->finishedAt && rec->finishedAt < until_ms))
        sim_violation(sim, "S6", "service %.*s: its deployment is complete before it has baked",
                      FL_STR_ARG(rec->service));
}

static void put_rollout(struct sim *sim, struct fl_str service, struct fl_str id)
{
    const struct rec_ServiceDeployment *rec = sim_core_rollout(sim->server.core, service, id);
    if (rec)
        check_bake(sim, rec);
    sim_audit_rollout(sim, service, id);
}

/* A late copy of the call that made a service may come when that has ended. What was promised of
 * the former one is not promised of this. */
void sim_audit_service_again(struct sim *sim, struct fl_str key)
{
    struct sim_service *service = sim_ledger_service(sim, name_in(key));
    uint32_t number = (uint32_t)(service - sim->services.all) + 1;
    if (!service->exists || service->status != SIM_SERVICE_INACTIVE)
        sim_violation(sim, "S1", "service %s has not ended, and another one takes its name",
                      service->name);
    service->exists = false;
    service->seen_version = 0;
    for (size_t i = 0; i < sim->clients.count; i++)
        if (sim->clients.operations[i].service == number)
            sim->clients.operations[i].service_version =
                FL_MIN(sim->clients.operations[i].service_version, INT64_C(1));
}

void sim_audit_service_record(struct sim *sim, struct fl_str key, bool is_drop, int64_t now_ms)
{
    struct sim_service *service = sim_ledger_service(sim, name_in(key));
    service->put_us = sim->now_us;
    if (key.p[0] == 'o' && !is_drop)
        put_rollout(sim, fl_str_of(service->name),
                    fl_str_from(key, (size_t)fl_str_rindex(key, '/') + 1));
    if (key.p[0] != 'm')
        return;
    if (is_drop)
        drop_service(sim, service, now_ms);
    else
        put_service(sim, service, sim_core_service(sim->server.core, fl_str_of(service->name)));
}

/* ---- the bounds ---- */

/* Since the clock is set back, too, there are a time when the core may take a host for lost and one
 * when it does; in doubt it is right. */
static bool is_lost(const struct sim *sim, const struct sim_task *task, int64_t now_ms, bool early)
{
    const struct sim_instance *instance = &sim->ledger.instances[task->instance];
    struct sim_core_instance at;
    if (sim->lost_after_ms == 0 ||
        !sim_core_instance(sim->server.core, fl_str_of(instance->id), &at) || at.connected)
        return false;
    int64_t away_ms = early ? instance->low_ms : instance->away_ms;
    int64_t since_ms = early ? sim->server.low_since_ms : sim->server.since_ms;
    return FL_MAX(away_ms, since_ms) + sim->lost_after_ms <= now_ms;
}

static bool is_healthy(const struct sim *sim, const struct sim_task *task, int64_t now_ms,
                       bool early)
{
    if (task->status != REC_TaskStatus_RUNNING || task->desired == STOPPED ||
        is_lost(sim, task, now_ms, early))
        return false;
    if (task->checks != SIM_CHECKS_NONE)
        return task->checks == SIM_CHECKS_PASSED;
    return task->started_ms > now_ms || /* the clock was set back */
           task->started_ms + sim->settle_ms <= now_ms;
}

static bool is_at_work(const struct sim *sim, const struct sim_instance *instance)
{
    struct sim_core_instance at;
    return instance->status == SIM_INSTANCE_ACTIVE &&
           sim_core_instance(sim->server.core, fl_str_of(instance->id), &at) && at.connected;
}

/* Daemons of instances that are to have none are no part of their bounds; whoever is protected goes
 * with his instance, or when he is not well. */
static void note_stop(struct sim *sim, struct sim_service *service, const struct sim_task *before,
                      int64_t now_ms)
{
    bool is_placed_well = is_at_work(sim, &sim->ledger.instances[before->instance]);
    bool was_healthy = is_healthy(sim, before, now_ms, true);
    service->stopped_healthy += was_healthy && (is_placed_well || !service->is_daemon);
    if (was_healthy && is_placed_well && before->protected_ms > now_ms &&
        service->status == SIM_SERVICE_ACTIVE)
        sim_violation(sim, "S6", "task %s is protected, and is stopped", before->id);
}

void sim_audit_member(struct sim *sim, const struct sim_task *before, const struct sim_task *task,
                      int64_t now_ms)
{
    struct sim_service *service = &sim->services.all[task->service - 1];
    if (!before)
        touch(sim, service)->started++;
    else if (before->desired != STOPPED && task->desired == STOPPED && task->code == BY_SCHEDULER)
        note_stop(sim, touch(sim, service), before, now_ms);
}

struct count {
    int64_t now_ms;
    size_t healthy, there;
};

static void count_task(struct sim *sim, FL_UNUSED struct sim_service *service,
                       const struct sim_task *task, void *context)
{
    struct count *count = context;
    count->healthy += is_healthy(sim, task, count->now_ms, false);
    count->there += !is_lost(sim, task, count->now_ms, true);
}

/* Beside the tasks of a deployment that goes through stages, those that it replaces are all there.
 */
static size_t ceiling_of(struct sim *sim, const struct sim_service *service)
{
    const struct rec_Service *rec = sim_core_service(sim->server.core, fl_str_of(service->name));
    const struct rec_ServiceDeployment *rollout =
        rec && rec->rollout.n ? sim_core_rollout(sim->server.core, rec->name, rec->rollout) : NULL;
    bool has_stages =
        rollout && rollout->deploymentConfiguration->strategy != ECS_DeploymentStrategy_ROLLING;
    return has_stages ? 2 * service->ceiling : service->ceiling;
}

static void check_bounds(struct sim *sim, struct sim_service *service, int64_t now_ms)
{
    struct count count = {.now_ms = now_ms};
    size_t ceiling = ceiling_of(sim, service);
    sim_service_each(sim, service, count_task, &count);
    if (service->stopped_healthy && count.healthy < service->floor)
        sim_violation(sim, "S6", "service %s: %zu healthy tasks are stopped, %zu of %zu are left",
                      service->name, service->stopped_healthy, count.healthy, service->floor);
    if (service->is_becoming_steady && count.healthy < service->desired)
        sim_violation(sim, "S6", "service %s is said to be steady with %zu of %zu healthy tasks",
                      service->name, count.healthy, service->desired);
    if (service->started && count.there > ceiling)
        sim_violation(sim, "S6", "service %s: %zu tasks are started, there are %zu of at most %zu",
                      service->name, service->started, count.there, ceiling);
    if (service->started && service->status != SIM_SERVICE_ACTIVE)
        sim_violation(sim, "S6", "service %s starts tasks, and is not ACTIVE", service->name);
}

/* ---- the same for daemons: one on every instance that takes tasks ---- */

static void mark_task(struct sim *sim, struct sim_service *service, const struct sim_task *task,
                      void *context)
{
    struct count *count = context;
    struct sim_instance *instance = &sim->ledger.instances[task->instance];
    count->healthy +=
        instance->status == SIM_INSTANCE_ACTIVE && is_healthy(sim, task, count->now_ms, false);
    if (++instance->marks > 1)
        sim_violation(sim, "S6", "service %s has two daemons on instance %s", service->name,
                      instance->id);
}

static void check_daemons(struct sim *sim, struct sim_service *service, int64_t now_ms)
{
    struct count count = {.now_ms = now_ms};
    size_t at_work = 0;
    for (size_t i = 0; i < sim->ledger.instance_count; i++) {
        sim->ledger.instances[i].marks = 0;
        at_work += is_at_work(sim, &sim->ledger.instances[i]);
    }
    sim_service_each(sim, service, mark_task, &count);
    if (service->stopped_healthy && service->status == SIM_SERVICE_ACTIVE &&
        count.healthy < share_up(at_work, service->least))
        sim_violation(sim, "S6",
                      "service %s: %zu healthy daemons are stopped, %zu are left on %zu "
                      "instances",
                      service->name, service->stopped_healthy, count.healthy, at_work);
    if (service->started && service->status != SIM_SERVICE_ACTIVE)
        sim_violation(sim, "S6", "service %s starts tasks, and is not ACTIVE", service->name);
}

void sim_audit_bounds(struct sim *sim, int64_t now_ms)
{
    struct sim_services *services = &sim->services;
    for (size_t i = 0; i < services->touched_count; i++) {
        struct sim_service *service = &services->all[services->touched[i]];
        if (service->is_daemon)
            check_daemons(sim, service, now_ms);
        else
            check_bounds(sim, service, now_ms);
        service->is_touched = service->is_becoming_steady = false;
        service->started = service->stopped_healthy = 0;
    }
    services->touched_count = 0;
}

/* ---- what a step was asked ---- */

static bool family_is(struct sim *sim, const struct rec_Service *rec, struct fl_str definition)
{
    const struct rec_ServiceRevision *revision =
        sim_core_service_revision(sim->server.core, rec->name, rec->deployments.items[0].number);
    struct fl_str family;
    return revision && fl_str_split(&definition, ':', &family) &&
           fl_str_eq(revision->family, family);
}

static bool is_created(struct sim *sim, const struct rec_Service *rec,
                       const struct ecs_CreateServiceRequest *in)
{
    if (!rec || rec->desiredCount != in->desiredCount || !fl_str_is(rec->status, "ACTIVE"))
        return false;
    if (in->deploymentController)
        return rec->deployments.n == 0;
    return rec->deployments.n == 1 && family_is(sim, rec, in->taskDefinition);
}

static bool is_updated(struct sim *sim, const struct rec_Service *rec,
                       const struct ecs_UpdateServiceRequest *in)
{
    if (!rec || !fl_str_is(rec->status, "ACTIVE"))
        return false;
    if (FL_HAS(in, ecs_UpdateServiceRequest, desiredCount) && rec->desiredCount != in->desiredCount)
        return false;
    return in->taskDefinition.n == 0 || family_is(sim, rec, in->taskDefinition);
}

static bool is_continued(struct sim *sim, const struct rec_Service *rec,
                         const struct ecs_ContinueServiceDeploymentRequest *in)
{
    const struct rec_ServiceDeployment *rollout =
        rec ? sim_core_rollout(sim->server.core, rec->name, fl_task_id(in->serviceDeploymentArn))
            : NULL;
    for (size_t i = 0; rollout && i < rollout->hooks.n; i++) {
        const struct ecs_DeploymentLifecycleHookDetail *hook = rollout->hooks.items[i].detail;
        if (fl_str_eq(hook->hookId, in->hookId))
            return hook->status != ECS_DeploymentLifecycleHookStatus_AWAITING_ACTION;
    }
    return false;
}

static bool is_stopped(struct sim *sim, const struct rec_Service *rec,
                       const struct ecs_StopServiceDeploymentRequest *in)
{
    const struct rec_ServiceDeployment *rollout =
        rec ? sim_core_rollout(sim->server.core, rec->name, fl_task_id(in->serviceDeploymentArn))
            : NULL;
    return rollout && rollout->status != ECS_ServiceDeploymentStatus_PENDING &&
           rollout->status != ECS_ServiceDeploymentStatus_IN_PROGRESS;
}

/* Is what was asked for in the records now? A call that changes nothing was answered before. */
static bool is_done(struct sim *sim, const struct fl_core_event *event,
                    const struct rec_Service *rec)
{
    switch (event->operation) {
    case ECS_OP_CreateService:
        return is_created(sim, rec, event->input);
    case ECS_OP_UpdateService:
        return is_updated(sim, rec, event->input);
    case ECS_OP_DeleteService:
        return !rec || !fl_str_is(rec->status, "ACTIVE");
    case ECS_OP_ContinueServiceDeployment:
        return is_continued(sim, rec, event->input);
    case ECS_OP_StopServiceDeployment:
        return is_stopped(sim, rec, event->input);
    }
    return sim_set_is_done(rec, event);
}

static void take_command(struct sim *sim, const struct fl_core_event *event,
                         const struct fl_turn *turn, bool has_put)
{
    size_t index = (size_t)(event->request_id & UINT32_MAX) >> 8;
    if (event->request_id >> 32 != SIM_CLIENTS || index == 0 ||
        turn->effects[turn->effect_count - 1].status != 200)
        return;
    struct sim_operation *operation = &sim->clients.operations[index - 1];
    if (!operation->service)
        return;
    struct sim_service *service = &sim->services.all[operation->service - 1];
    const struct rec_Service *rec = sim_core_service(sim->server.core, fl_str_of(service->name));
    has_put |= event->operation == ECS_OP_StopServiceDeployment; /* again: it is on its way back */
    if (has_put && !is_done(sim, event, rec))
        sim_violation(sim, "S1", "service %s: call %u is answered and not obeyed", service->name,
                      (unsigned)index - 1);
    if (rec && (!operation->service_version || rec->version < operation->service_version))
        operation->service_version = rec->version;
}

/* ---- a core that has nothing to do ---- */

/* Timers that bring about nothing, or ever more, drop by drop: other events and time let as many
 * through. */
static void count_timer(struct sim *sim, const struct fl_core_event *event, bool has_put)
{
    struct sim_services *services = &sim->services;
    bool is_timer = event->kind == FL_CORE_EVENT_TIMER;
    uint64_t most = 300 + 4 * sim->ledger.live;
    uint64_t leak = 2 * (uint64_t)((sim->now_us - services->leaked_us) / SIM_SECOND);
    if (leak)
        services->leaked_us = sim->now_us;
    leak += is_timer ? 0 : 4;
    services->idle_timers -= FL_MIN(services->idle_timers, leak);
    services->busy_timers -= FL_MIN(services->busy_timers, leak);
    services->idle_timers += is_timer && !has_put;
    services->busy_timers += is_timer && has_put;
    if (services->idle_timers > most)
        sim_violation(sim, "L8", "the core's timer comes up again and again, and nothing is due");
    if (services->busy_timers > most)
        sim_violation(sim, "L8", "the core's timer changes records again and again");
}

static void note_session(struct sim *sim, const struct fl_core_event *event)
{
    struct sim_instance *instance = sim_ledger_instance(sim, event->instance);
    if (event->kind == FL_CORE_EVENT_AGENT_CONNECTED)
        instance->away_ms = instance->low_ms = 0;
    else if (event->kind == FL_CORE_EVENT_AGENT_DISCONNECTED && instance->away_ms == 0 &&
             !sim_server_has_session(sim, event->instance)) /* an older session may end later */
        instance->away_ms = instance->low_ms = event->now_ms;
}

/* The clock was set back: what is said to be yet to come is now. */
static void note_clock(struct sim *sim, int64_t now_ms)
{
    struct sim_server *server = &sim->server;
    if (server->since_ms == 0)
        server->since_ms = server->low_since_ms = now_ms;
    if (now_ms < server->last_ms) {
        server->low_since_ms = FL_MIN(server->low_since_ms, now_ms);
        for (size_t i = 0; i < sim->ledger.instance_count; i++)
            sim->ledger.instances[i].low_ms = FL_MIN(sim->ledger.instances[i].low_ms, now_ms);
    }
    server->last_ms = now_ms;
}

void sim_audit_before(struct sim *sim, const struct fl_core_event *event)
{
    note_clock(sim, event->now_ms);
}

void sim_audit_step(struct sim *sim, const struct fl_core_event *event, const struct fl_turn *turn,
                    size_t from)
{
    bool has_put = turn->record_count > from;
    if (event->kind == FL_CORE_EVENT_COMMAND)
        take_command(sim, event, turn, has_put);
    else
        note_session(sim, event);
    count_timer(sim, event, has_put);
}

/* ---- everything ---- */

static void check_promise(struct sim *sim, const struct sim_service *service)
{
    if (service->seen_version == 0 || service->drop_put)
        return;
    if (!service->exists || service->version < service->seen_version)
        sim_violation(sim, "S1", "service %s: version %lld was promised, %lld is what is left",
                      service->name, (long long)service->seen_version, (long long)service->version);
}

void sim_audit_services_recovered(struct sim *sim)
{
    const struct rec_Service *rec = NULL;
    for (size_t i = 0; i < sim->services.count; i++) {
        sim->services.all[i].exists = false;
        sim->services.all[i].member_count = 0;
    }
    while ((rec = sim_core_next_service(sim->server.core, rec)))
        take_service(sim, sim_ledger_service(sim, rec->name), rec);
    for (size_t i = 0; i < sim->services.count; i++)
        check_promise(sim, &sim->services.all[i]);
}

static void check_rollout(struct sim *sim, const struct rec_Service *rec)
{
    const struct fl_core *core = sim->server.core;
    if (rec->rollout.n == 0)
        return;
    const struct rec_ServiceDeployment *rollout = sim_core_rollout(core, rec->name, rec->rollout);
    if (!rollout || !sim_core_service_revision(core, rec->name, rollout->target))
        sim_violation(sim, "S12", "service %.*s: its rollout or that one's revision is not there",
                      FL_STR_ARG(rec->name));
    else if (FL_HAS(rollout, rec_ServiceDeployment, finishedAt))
        sim_violation(sim, "S12", "service %.*s: its rollout is under way and has ended",
                      FL_STR_ARG(rec->name));
}

/* Deployments have their revisions, the first one is PRIMARY and no other, events are kept. */
static void check_service(struct sim *sim, const struct rec_Service *rec)
{
    bool has_sets = rec->deploymentController == ECS_DeploymentControllerType_EXTERNAL;
    for (size_t i = 0; i < rec->deployments.n; i++) {
        const struct rec_Deployment *entry = &rec->deployments.items[i];
        if (!sim_core_service_revision(sim->server.core, rec->name, entry->number))
            sim_violation(sim, "S12", "service %.*s: deployment %lld has no revision",
                          FL_STR_ARG(rec->name), (long long)entry->number);
        bool is_primary = fl_str_is(entry->status, "PRIMARY");
        if (has_sets ? is_primary && i > 0 : is_primary != (i == 0))
            sim_violation(sim, "S12", "service %.*s: its deployment %zu is %.*s",
                          FL_STR_ARG(rec->name), i, FL_STR_ARG(entry->status));
    }
    if (fl_str_is(rec->status, "ACTIVE") && rec->deployments.n == 0 && !has_sets)
        sim_violation(sim, "S12", "service %.*s has no deployment", FL_STR_ARG(rec->name));
    if (sim_core_service_events(sim->server.core, rec->name) > MOST_EVENTS)
        sim_violation(sim, "S12", "service %.*s keeps too many events", FL_STR_ARG(rec->name));
    check_rollout(sim, rec);
}

static bool has_deployment(const struct rec_Service *rec, int64_t number)
{
    for (size_t i = 0; i < rec->deployments.n; i++)
        if (rec->deployments.items[i].number == number)
            return true;
    return false;
}

static void check_tasks(struct sim *sim, struct fl_arena *arena)
{
    for (const struct rec_Task *rec = NULL; (rec = sim_core_next_task(sim->server.core, rec));) {
        if (!FL_HAS(rec, rec_Task, deployment) || FL_HAS(rec, rec_Task, lostAt) ||
            rec->status == REC_TaskStatus_STOPPED)
            continue;
        const struct rec_Service *service =
            sim_core_service(sim->server.core, fl_str_from(rec->group, 8));
        struct fl_str by = fl_str_printf(arena, "ecs-svc/%lld", (long long)rec->deployment);
        if (!service || !has_deployment(service, rec->deployment))
            sim_violation(sim, "S12", "task %.*s is of %.*s, which has no such deployment",
                          FL_STR_ARG(rec->id), FL_STR_ARG(rec->group));
        else if (!fl_str_eq(rec->startedBy, by))
            sim_violation(sim, "S12", "task %.*s is of deployment %lld and says it is of %.*s",
                          FL_STR_ARG(rec->id), (long long)rec->deployment,
                          FL_STR_ARG(rec->startedBy));
    }
}

void sim_audit_services(struct sim *sim)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    for (const struct rec_Service *rec = NULL;
         (rec = sim_core_next_service(sim->server.core, rec)) && !sim->ended;)
        check_service(sim, rec);
    for (size_t i = 0; i < sim->services.count && !sim->ended; i++)
        check_promise(sim, &sim->services.all[i]);
    check_tasks(sim, arena);
    sim_audit_hooks(sim);
}
