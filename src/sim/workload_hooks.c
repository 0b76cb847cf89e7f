/* What clients ask of services' lifecycle hooks: pauses, which somebody ends or nobody does, and
 * tasks that are run once, and do it well, or not, or never come to an end. */
#include "sim/core_view.h"
#include "sim/world.h"

enum { MOST_HOOKS = 3 };

#define NEW(message, type) fl_arena_new_object((message)->arena, struct ecs_##type)

/* Two tenths are at stages where there are no pauses. */
static struct ecs_DeploymentLifecycleHookStage_list
draw_stages(struct sim *sim, struct sim_message *call, bool is_pause)
{
    static const enum ecs_DeploymentLifecycleHookStage stages[] = {
        ECS_DeploymentLifecycleHookStage_RECONCILE_SERVICE,
        ECS_DeploymentLifecycleHookStage_PRE_SCALE_UP,
        ECS_DeploymentLifecycleHookStage_POST_SCALE_UP,
        ECS_DeploymentLifecycleHookStage_POST_TEST_TRAFFIC_SHIFT,
        ECS_DeploymentLifecycleHookStage_PRE_PRODUCTION_TRAFFIC_SHIFT,
        ECS_DeploymentLifecycleHookStage_POST_PRODUCTION_TRAFFIC_SHIFT,
        ECS_DeploymentLifecycleHookStage_TEST_TRAFFIC_SHIFT,
        ECS_DeploymentLifecycleHookStage_PRODUCTION_TRAFFIC_SHIFT};
    size_t most = FL_ARRAY_SIZE(stages) - (is_pause ? 2 : 0), first = sim_below(sim, most);
    struct ecs_DeploymentLifecycleHookStage_list list = {
        .n = 1 + sim_chance(sim, 300),
        .items = fl_arena_new_array(call->arena, enum ecs_DeploymentLifecycleHookStage, 2)};
    for (size_t i = 0; i < list.n; i++)
        list.items[i] = stages[(first + i) % most];
    return list;
}

static struct ecs_DeploymentLifecycleHookTimeoutConfiguration *
draw_timeout(struct sim *sim, struct sim_message *call, unsigned continues)
{
    struct ecs_DeploymentLifecycleHookTimeoutConfiguration *timeout =
        NEW(call, DeploymentLifecycleHookTimeoutConfiguration);
    FL_SET(timeout, ecs_DeploymentLifecycleHookTimeoutConfiguration, timeoutInMinutes,
           1 + (int32_t)sim_below(sim, 2));
    FL_SET(timeout, ecs_DeploymentLifecycleHookTimeoutConfiguration, action,
           sim_chance(sim, continues) ? ECS_DeploymentLifecycleHookAction_CONTINUE
                                      : ECS_DeploymentLifecycleHookAction_ROLLBACK);
    return timeout;
}

/* Most of them do well: a deployment that is rolled back at once shows little. */
static enum sim_hook draw_task(struct sim *sim)
{
    return sim_chance(sim, 650) ? SIM_HOOK_GOOD : (enum sim_hook)sim_below(sim, SIM_HOOKS);
}

static void draw_hook(struct sim *sim, struct sim_message *call,
                      struct ecs_DeploymentLifecycleHook *hook)
{
    bool is_pause = sim_chance(sim, 350) || sim->is_strict; /* ECS knows no other ones */
    int family = SIM_HOOK_FAMILIES + (int)draw_task(sim);
    FL_SET(hook, ecs_DeploymentLifecycleHook, lifecycleStages, draw_stages(sim, call, is_pause));
    FL_SET(hook, ecs_DeploymentLifecycleHook, timeoutConfiguration,
           draw_timeout(sim, call, is_pause ? 700 : 300));
    FL_SET(hook, ecs_DeploymentLifecycleHook, targetType,
           is_pause ? ECS_DeploymentLifecycleHookTargetType_PAUSE
                    : ECS_DeploymentLifecycleHookTargetType_AWS_LAMBDA);
    if (!is_pause)
        FL_SET(hook, ecs_DeploymentLifecycleHook, hookTargetArn,
               fl_str_printf(call->arena,
                             "arn:aws:ecs:eu-central-1:000000000000:task-definition/f%d:1",
                             family));
}

void sim_hooks_draw(struct sim *sim, struct sim_message *call,
                    struct ecs_DeploymentConfiguration *config)
{
    struct ecs_DeploymentLifecycleHook_list list = {.n = 1 + sim_below(sim, MOST_HOOKS)};
    list.items = fl_arena_new_array(call->arena, struct ecs_DeploymentLifecycleHook, list.n);
    for (size_t i = 0; i < list.n; i++)
        draw_hook(sim, call, &list.items[i]);
    FL_SET(config, ecs_DeploymentConfiguration, lifecycleHooks, list);
}

/* ---- pauses ---- */

/* The hook for which the service's rollout waits; empty: none. */
static struct fl_str pause_of(const struct rec_ServiceDeployment *rollout)
{
    for (size_t i = 0; i < rollout->hooks.n; i++)
        if (rollout->hooks.items[i].detail->status ==
            ECS_DeploymentLifecycleHookStatus_AWAITING_ACTION)
            return rollout->hooks.items[i].detail->hookId;
    return FL_STR("");
}

struct fl_str sim_rollout_arn(struct sim_message *call, const struct rec_Service *rec)
{
    return fl_str_printf(call->arena,
                         "arn:aws:ecs:eu-central-1:000000000000:service-deployment/default/"
                         "%.*s/%.*s",
                         FL_STR_ARG(rec->name), FL_STR_ARG(rec->rollout));
}

static void end_pause(struct sim *sim, const struct rec_Service *rec)
{
    const struct rec_ServiceDeployment *rollout =
        rec->rollout.n ? sim_core_rollout(sim->server.core, rec->name, rec->rollout) : NULL;
    struct fl_str hook = rollout ? pause_of(rollout) : FL_STR("");
    if (hook.n == 0 || !sim_chance(sim, 300))
        return;
    struct sim_message *call = sim_message_new(sim);
    struct ecs_ContinueServiceDeploymentRequest *input =
        NEW(call, ContinueServiceDeploymentRequest);
    FL_SET(input, ecs_ContinueServiceDeploymentRequest, serviceDeploymentArn,
           sim_rollout_arn(call, rec));
    FL_SET(input, ecs_ContinueServiceDeploymentRequest, hookId, fl_str_dup(call->arena, hook));
    if (sim_chance(sim, 300))
        FL_SET(input, ecs_ContinueServiceDeploymentRequest, action,
               ECS_DeploymentLifecycleHookAction_ROLLBACK);
    const struct sim_service *service = sim_ledger_service(sim, rec->name);
    struct sim_operation *operation =
        sim_client_call(sim, ECS_OP_ContinueServiceDeployment, call, input);
    operation->service = (uint32_t)(service - sim->services.all) + 1;
    operation->attempts_left = 3;
    sim_client_send(sim, operation);
}

void sim_hooks_end_pauses(struct sim *sim)
{
    const struct rec_Service *rec = NULL;
    while (sim->server.core && (rec = sim_core_next_service(sim->server.core, rec)))
        end_pause(sim, rec);
}
