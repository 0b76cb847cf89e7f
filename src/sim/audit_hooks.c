/* What is promised of lifecycle hooks (S13): a task that is one runs once for each time that its
 * stage comes and no more; its stage is left when it has ended well, or its time is up and that is
 * to be enough; one that fails leads back; who is waited for no more is stopped. */
#include "sim/core_view.h"
#include "sim/world.h"

#define GROUP "service-hook:"
enum { LATE_MS = 60 * 1000 };

/* ---- what really runs ---- */

static struct fl_str variable(const struct fl_task_container *container, const char *name)
{
    for (size_t i = 0; i < container->spec->environment_count; i++)
        if (fl_str_is(container->spec->environment[i].key, name))
            return container->spec->environment[i].value;
    return FL_STR("");
}

void sim_audit_hook_launch(struct sim *sim, const struct fl_task_container *container,
                           uint32_t task)
{
    struct sim_services *services = &sim->services;
    struct fl_str id = variable(container, "FAIRLEAD_HOOK_ID");
    if (id.n == 0)
        return;
    uint32_t number = sim_index_find(&services->by_hook, sim_hash(id));
    if (number == 0) {
        sim_index_add(&services->by_hook, sim_hash(id), ++services->hook_count);
        services->hooks =
            fl_realloc(services->hooks, services->hook_count * sizeof(*services->hooks));
        services->hooks[services->hook_count - 1] = task;
    } else if (services->hooks[number - 1] != task) {
        sim_violation(sim, "S13", "tasks %s and %s are both run for the hook %.*s",
                      sim->ledger.tasks[services->hooks[number - 1]].id, sim->ledger.tasks[task].id,
                      FL_STR_ARG(id));
    }
}

/* ---- what the records make of it ---- */

/* Stages in their order, each by its hooks' name and by the one that is shown; the one before a
 * shift of traffic has no name of its own. */
enum { NOT_ANY = -1, BEFORE_SHIFT = 6, SHIFT = 7 };

static int place_of_hook(enum ecs_DeploymentLifecycleHookStage stage)
{
    static const enum ecs_DeploymentLifecycleHookStage stages[] = {
        ECS_DeploymentLifecycleHookStage_RECONCILE_SERVICE,
        ECS_DeploymentLifecycleHookStage_PRE_SCALE_UP,
        ECS_DeploymentLifecycleHookStage_PRE_SCALE_UP, /* SCALE_UP has none */
        ECS_DeploymentLifecycleHookStage_POST_SCALE_UP,
        ECS_DeploymentLifecycleHookStage_TEST_TRAFFIC_SHIFT,
        ECS_DeploymentLifecycleHookStage_POST_TEST_TRAFFIC_SHIFT,
        ECS_DeploymentLifecycleHookStage_PRE_PRODUCTION_TRAFFIC_SHIFT,
        ECS_DeploymentLifecycleHookStage_PRODUCTION_TRAFFIC_SHIFT,
        ECS_DeploymentLifecycleHookStage_POST_PRODUCTION_TRAFFIC_SHIFT};
    for (size_t i = 0; i < FL_ARRAY_SIZE(stages); i++)
        if (stages[i] == stage)
            return (int)i;
    return NOT_ANY;
}

static int place_of(const struct rec_ServiceDeployment *rec)
{
    static const enum ecs_ServiceDeploymentLifecycleStage stages[] = {
        ECS_ServiceDeploymentLifecycleStage_RECONCILE_SERVICE,
        ECS_ServiceDeploymentLifecycleStage_PRE_SCALE_UP,
        ECS_ServiceDeploymentLifecycleStage_SCALE_UP,
        ECS_ServiceDeploymentLifecycleStage_POST_SCALE_UP,
        ECS_ServiceDeploymentLifecycleStage_TEST_TRAFFIC_SHIFT,
        ECS_ServiceDeploymentLifecycleStage_POST_TEST_TRAFFIC_SHIFT,
        ECS_ServiceDeploymentLifecycleStage_PRODUCTION_TRAFFIC_SHIFT, /* BEFORE_SHIFT: not shown */
        ECS_ServiceDeploymentLifecycleStage_PRODUCTION_TRAFFIC_SHIFT,
        ECS_ServiceDeploymentLifecycleStage_POST_PRODUCTION_TRAFFIC_SHIFT,
        ECS_ServiceDeploymentLifecycleStage_BAKE_TIME,
        ECS_ServiceDeploymentLifecycleStage_CLEAN_UP};
    if (rec->beforeShift)
        return BEFORE_SHIFT;
    for (size_t i = FL_ARRAY_SIZE(stages); i > 0; i--)
        if (stages[i - 1] == rec->lifecycleStage)
            return (int)i - 1;
    return NOT_ANY;
}

/* After how many shifts of traffic the stage was left last. The one before a shift comes again at
 * once, in place of that time. */
static int left_at(const struct rec_ServiceDeployment *rec, int stage)
{
    int now = place_of(rec);
    if (stage == 0 && rec->sources.n <= 1) /* it is left out */
        return NOT_ANY;
    if (stage == SHIFT && now == BEFORE_SHIFT)
        return rec->step ? rec->step : NOT_ANY;
    if (now <= stage)
        return NOT_ANY;
    return stage < BEFORE_SHIFT ? 0 : rec->step - (stage == BEFORE_SHIFT);
}

static const struct rec_RolloutHook *find(const struct rec_ServiceDeployment *rec, size_t index,
                                          enum ecs_DeploymentLifecycleHookStage stage)
{
    for (size_t i = 0; i < rec->hooks.n; i++)
        if ((size_t)rec->hooks.items[i].index == index && rec->hooks.items[i].stage == stage)
            return &rec->hooks.items[i];
    return NULL;
}

static bool is_good(const struct rec_RolloutHook *entry)
{
    return entry->detail->status == ECS_DeploymentLifecycleHookStatus_SUCCEEDED ||
           (entry->detail->status == ECS_DeploymentLifecycleHookStatus_TIMED_OUT &&
            entry->detail->timeoutAction == ECS_DeploymentLifecycleHookAction_CONTINUE);
}

static bool is_open(const struct rec_RolloutHook *entry)
{
    return entry->detail->status == ECS_DeploymentLifecycleHookStatus_IN_PROGRESS ||
           entry->detail->status == ECS_DeploymentLifecycleHookStatus_AWAITING_ACTION;
}

static void check_left(struct sim *sim, const struct rec_ServiceDeployment *rec, size_t index,
                       enum ecs_DeploymentLifecycleHookStage stage)
{
    int step = left_at(rec, place_of_hook(stage));
    const struct rec_RolloutHook *entry = find(rec, index, stage);
    if (step != NOT_ANY && (!entry || entry->step != step || !is_good(entry)))
        sim_violation(
            sim, "S13",
            "service %.*s: hook %zu of its deployment has not succeeded at stage %d after "
            "%d steps, and it goes on",
            FL_STR_ARG(rec->service), index, (int)stage, step);
}

/* Every hook of every stage that the deployment has behind it. */
static void check_way(struct sim *sim, const struct rec_ServiceDeployment *rec)
{
    const struct ecs_DeploymentLifecycleHook_list *hooks =
        &rec->deploymentConfiguration->lifecycleHooks;
    for (size_t i = 0; i < hooks->n; i++)
        for (size_t k = 0; k < hooks->items[i].lifecycleStages.n; k++)
            check_left(sim, rec, i, hooks->items[i].lifecycleStages.items[k]);
    for (size_t i = 0; i < rec->hooks.n; i++)
        if (!is_open(&rec->hooks.items[i]) && !is_good(&rec->hooks.items[i]))
            sim_violation(sim, "S13",
                          "service %.*s: a hook of its deployment fails, and it goes on",
                          FL_STR_ARG(rec->service));
}

/* The answer is the container's own. */
static void check_answers(struct sim *sim, const struct rec_ServiceDeployment *rec)
{
    for (size_t i = 0; i < rec->hooks.n; i++) {
        const struct rec_RolloutHook *entry = &rec->hooks.items[i];
        if (entry->task.n && entry->detail->status == ECS_DeploymentLifecycleHookStatus_SUCCEEDED &&
            !sim_ledger_task(sim, entry->task)->has_worked)
            sim_violation(sim, "S13",
                          "task %.*s is a hook that is said to have succeeded, and has not",
                          FL_STR_ARG(entry->task));
    }
}

static bool is_failure(const struct sim *sim, const struct rec_RolloutHook *entry)
{
    const struct rec_Task *task =
        entry->task.n ? sim_core_task(sim->server.core, entry->task) : NULL;
    if (is_open(entry) || is_good(entry))
        return false;
    return !task || entry->detail->status == ECS_DeploymentLifecycleHookStatus_TIMED_OUT ||
           (task->status == REC_TaskStatus_STOPPED &&
            (!FL_HAS(&task->containers.items[0], rec_TaskContainer, exitCode) ||
             task->containers.items[0].exitCode != 0));
}

/* Nobody is led back for hooks that have all done well. */
static void check_reason(struct sim *sim, const struct rec_ServiceDeployment *rec)
{
    bool has_failed = false;
    if (!rec->rollback || !fl_str_starts(rec->rollback->reason, FL_STR("hook execution failure")))
        return;
    for (size_t i = 0; i < rec->hooks.n; i++)
        has_failed |= is_failure(sim, &rec->hooks.items[i]);
    if (!has_failed)
        sim_violation(sim, "S13",
                      "service %.*s: its deployment is rolled back for hooks that have "
                      "not failed",
                      FL_STR_ARG(rec->service));
}

void sim_audit_rollout(struct sim *sim, struct fl_str service, struct fl_str id)
{
    const struct rec_Service *owner = sim_core_service(sim->server.core, service);
    const struct rec_ServiceDeployment *rec = sim_core_rollout(sim->server.core, service, id);
    if (!owner || !rec || rec->deploymentConfiguration->lifecycleHooks.n == 0)
        return;
    bool goes_on = rec->status == ECS_ServiceDeploymentStatus_IN_PROGRESS &&
                   fl_str_is(owner->status, "ACTIVE");
    if (goes_on || rec->status == ECS_ServiceDeploymentStatus_SUCCESSFUL)
        check_way(sim, rec);
    check_answers(sim, rec);
    check_reason(sim, rec);
}

/* ---- now and then, and at the end ---- */

static bool is_waited_for(const struct sim *sim, const struct rec_Task *task)
{
    struct fl_str name = fl_str_from(task->group, sizeof(GROUP) - 1);
    const struct rec_Service *rec = sim_core_service(sim->server.core, name);
    const struct rec_ServiceDeployment *rollout =
        rec && rec->rollout.n ? sim_core_rollout(sim->server.core, name, rec->rollout) : NULL;
    for (size_t i = 0; rollout && i < rollout->hooks.n; i++)
        if (fl_str_eq(rollout->hooks.items[i].task, task->id) && is_open(&rollout->hooks.items[i]))
            return true;
    return false;
}

void sim_audit_hooks(struct sim *sim)
{
    for (const struct rec_Task *rec = NULL; (rec = sim_core_next_task(sim->server.core, rec));)
        if (fl_str_starts(rec->group, FL_STR(GROUP)) && rec->status != REC_TaskStatus_STOPPED &&
            rec->desired != REC_TaskStatus_STOPPED && !is_waited_for(sim, rec))
            sim_violation(sim, "S13", "task %.*s is a hook that nobody waits for, and is to run",
                          FL_STR_ARG(rec->id));
}

void sim_audit_hooks_rest(struct sim *sim, const struct rec_Service *rec)
{
    const struct rec_ServiceDeployment *rollout =
        rec->rollout.n ? sim_core_rollout(sim->server.core, rec->name, rec->rollout) : NULL;
    for (size_t i = 0; rollout && i < rollout->hooks.n; i++)
        if (is_open(&rollout->hooks.items[i]) &&
            rollout->hooks.items[i].detail->expiresAt < sim_server_wall_ms(sim) - LATE_MS)
            sim_violation(sim, "L7", "service %.*s: a lifecycle hook is waited for in vain",
                          FL_STR_ARG(rec->name));
}
