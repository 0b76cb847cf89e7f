/* Lifecycle hooks: begun when their stage is, followed with every look, answered by a user, a task
 * or a time. A rollout's record keeps one entry per hook and stage, of the last step in which the
 * stage came. */
#include "core/hooks.h"

#include "base/bug.h"
#include "core/stages.h"

enum { DEFAULT_TIMEOUT_MINUTES = 1440 };
#define MINUTE_MS (60 * (int64_t)1000)

/* What one look at the hooks of a stage is about. */
struct run {
    struct fl_schedule *s;
    struct rec_ServiceDeployment *rec; /* edited */
    bool changed;
};

static bool is_pause(const struct ecs_DeploymentLifecycleHook *hook)
{
    return FL_HAS(hook, ecs_DeploymentLifecycleHook, targetType) &&
           hook->targetType == ECS_DeploymentLifecycleHookTargetType_PAUSE;
}

static bool is_open(const struct rec_RolloutHook *entry)
{
    return entry->detail->status == ECS_DeploymentLifecycleHookStatus_AWAITING_ACTION ||
           entry->detail->status == ECS_DeploymentLifecycleHookStatus_IN_PROGRESS;
}

bool fl_hooks_are_open(const struct rec_ServiceDeployment *rec)
{
    for (size_t i = 0; i < rec->hooks.n; i++)
        if (is_open(&rec->hooks.items[i]))
            return true;
    return false;
}

static void settle(struct rec_RolloutHook *entry, enum ecs_DeploymentLifecycleHookStatus status)
{
    FL_SET(entry->detail, ecs_DeploymentLifecycleHookDetail, status, status);
}

static struct fl_task *task_of(const struct fl_service *service,
                               const struct rec_RolloutHook *entry)
{
    return entry->task.n ? fl_state_task(service->cluster, entry->task) : NULL;
}

static void stop_task(struct fl_decision *d, const struct fl_service *service,
                      const struct rec_RolloutHook *entry, struct fl_str reason)
{
    struct fl_task *task = task_of(service, entry);
    if (FL_BUG(79, NULL, task) && task->rec->status != REC_TaskStatus_STOPPED)
        fl_request_stop(d, task, ECS_TaskStopCode_ServiceSchedulerInitiated, reason);
}

bool fl_hooks_cancel(struct fl_decision *d, struct fl_service *service,
                     struct rec_ServiceDeployment *rec)
{
    bool changed = false;
    for (size_t i = 0; i < rec->hooks.n; i++) {
        struct rec_RolloutHook *entry = &rec->hooks.items[i];
        if (!is_open(entry))
            continue;
        stop_task(d, service, entry, FL_STR("The service deployment goes on no more."));
        settle(entry, ECS_DeploymentLifecycleHookStatus_FAILED);
        changed = true;
    }
    return changed;
}

/* ---- beginning ---- */

static struct rec_RolloutHook *find_entry(const struct rec_ServiceDeployment *rec, size_t index,
                                          enum ecs_DeploymentLifecycleHookStage stage)
{
    for (size_t i = 0; i < rec->hooks.n; i++)
        if ((size_t)rec->hooks.items[i].index == index && rec->hooks.items[i].stage == stage)
            return &rec->hooks.items[i];
    return NULL;
}

static struct rec_RolloutHook *add_entry(struct fl_decision *d, struct rec_ServiceDeployment *rec)
{
    struct rec_RolloutHook_list list = {.n = rec->hooks.n + 1};
    list.items = fl_arena_new_array(d->arena, struct rec_RolloutHook, list.n);
    for (size_t i = 0; i < rec->hooks.n; i++)
        list.items[i] = rec->hooks.items[i];
    FL_SET(rec, rec_ServiceDeployment, hooks, list);
    return &list.items[list.n - 1];
}

/* As ECS's: a word and 43 characters of base64url. */
static struct fl_str new_hook_id(struct fl_decision *d, bool pauses)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    char id[43];
    for (size_t i = 0; i < sizeof(id); i++)
        id[i] = digits[fl_rand_below(&d->rand, sizeof(digits) - 1)];
    return fl_str_printf(d->arena, "ecs-%s-%.*s", pauses ? "pause" : "task", (int)sizeof(id), id);
}

static int64_t timeout_ms(const struct ecs_DeploymentLifecycleHook *hook)
{
    const struct ecs_DeploymentLifecycleHookTimeoutConfiguration *timeout =
        hook->timeoutConfiguration;
    bool is_given = timeout && FL_HAS(timeout, ecs_DeploymentLifecycleHookTimeoutConfiguration,
                                      timeoutInMinutes);
    return (is_given ? timeout->timeoutInMinutes : DEFAULT_TIMEOUT_MINUTES) * MINUTE_MS;
}

static void fill_timeout(struct fl_decision *d, const struct ecs_DeploymentLifecycleHook *hook,
                         struct ecs_DeploymentLifecycleHookDetail *detail)
{
    const struct ecs_DeploymentLifecycleHookTimeoutConfiguration *timeout =
        hook->timeoutConfiguration;
    enum ecs_DeploymentLifecycleHookAction action = ECS_DeploymentLifecycleHookAction_ROLLBACK;
    if (timeout && FL_HAS(timeout, ecs_DeploymentLifecycleHookTimeoutConfiguration, action))
        action = timeout->action;
    FL_SET(detail, ecs_DeploymentLifecycleHookDetail, expiresAt, d->now_ms + timeout_ms(hook));
    FL_SET(detail, ecs_DeploymentLifecycleHookDetail, timeoutAction, action);
}

static void begin(struct run *run, size_t index, enum ecs_DeploymentLifecycleHookStage stage)
{
    struct fl_decision *d = run->s->d;
    const struct ecs_DeploymentLifecycleHook *hook =
        &run->rec->deploymentConfiguration->lifecycleHooks.items[index];
    struct rec_RolloutHook *entry = find_entry(run->rec, index, stage);
    struct ecs_DeploymentLifecycleHookDetail *detail =
        fl_arena_new_object(d->arena, struct ecs_DeploymentLifecycleHookDetail);
    bool pauses = is_pause(hook);
    if (!entry)
        entry = add_entry(d, run->rec);
    *entry = (struct rec_RolloutHook){0};
    FL_SET(detail, ecs_DeploymentLifecycleHookDetail, hookId, new_hook_id(d, pauses));
    FL_SET(detail, ecs_DeploymentLifecycleHookDetail, targetType,
           pauses ? ECS_DeploymentLifecycleHookTargetType_PAUSE
                  : ECS_DeploymentLifecycleHookTargetType_AWS_LAMBDA);
    if (!pauses)
        FL_SET(detail, ecs_DeploymentLifecycleHookDetail, targetArn, hook->hookTargetArn);
    FL_SET(detail, ecs_DeploymentLifecycleHookDetail, status,
           pauses ? ECS_DeploymentLifecycleHookStatus_AWAITING_ACTION
                  : ECS_DeploymentLifecycleHookStatus_IN_PROGRESS);
    fill_timeout(d, hook, detail);
    FL_SET(entry, rec_RolloutHook, detail, detail);
    FL_SET(entry, rec_RolloutHook, stage, stage);
    FL_SET(entry, rec_RolloutHook, index, (int32_t)index);
    FL_SET(entry, rec_RolloutHook, step, run->rec->step);
    run->changed = true;
}

/* ---- a task as hook ---- */

static void set_variable(struct ecs_KeyValuePair_list *list, const char *name, struct fl_str value)
{
    struct ecs_KeyValuePair *pair = &list->items[list->n++];
    FL_SET(pair, ecs_KeyValuePair, name, fl_str_of(name));
    FL_SET(pair, ecs_KeyValuePair, value, value);
}

/* What the rollout replaces; empty: nothing. */
static struct fl_str source_arn(const struct run *run)
{
    int64_t blue = fl_stages_blue(run->s->service);
    return blue ? fl_revision_arn(run->s->d, run->s->service->rec, blue) : FL_STR("");
}

static struct ecs_KeyValuePair_list variables(const struct run *run,
                                              const struct rec_RolloutHook *entry)
{
    const struct rec_Service *service = run->s->service->rec;
    const struct ecs_DeploymentLifecycleHook *hook =
        &run->rec->deploymentConfiguration->lifecycleHooks.items[entry->index];
    struct fl_decision *d = run->s->d;
    struct ecs_KeyValuePair_list list = {0};
    list.items = fl_arena_new_array(d->arena, struct ecs_KeyValuePair, 7);
    set_variable(
        &list, "FAIRLEAD_LIFECYCLE_STAGE",
        fl_str_of(fl_enum_text(&ecs_enum_DeploymentLifecycleHookStage, (int)entry->stage)));
    set_variable(&list, "FAIRLEAD_HOOK_ID", entry->detail->hookId);
    set_variable(&list, "FAIRLEAD_SERVICE_ARN", fl_service_arn(d, service));
    set_variable(&list, "FAIRLEAD_SERVICE_DEPLOYMENT_ARN", fl_rollout_arn(d, run->rec));
    set_variable(&list, "FAIRLEAD_TARGET_REVISION_ARN",
                 fl_revision_arn(d, service, run->rec->target));
    set_variable(&list, "FAIRLEAD_SOURCE_REVISION_ARN", source_arn(run));
    set_variable(&list, "FAIRLEAD_HOOK_DETAILS", hook->hookDetails);
    return list;
}

/* The container that is told what the hook is about, and whose exit code is the answer. */
static struct fl_str main_container(const struct ecs_TaskDefinition *definition)
{
    const struct ecs_ContainerDefinition_list *list = &definition->containerDefinitions;
    for (size_t i = 0; i < list->n; i++)
        if (!FL_HAS(&list->items[i], ecs_ContainerDefinition, essential) ||
            list->items[i].essential)
            return list->items[i].name;
    return FL_STR("");
}

static struct ecs_RunTaskRequest request_of(const struct run *run,
                                            const struct rec_RolloutHook *entry,
                                            const struct ecs_TaskDefinition *definition)
{
    struct fl_decision *d = run->s->d;
    const struct fl_revision *target = fl_service_revision(run->s->service, run->rec->target);
    struct ecs_ContainerOverride *container =
        fl_arena_new_object(d->arena, struct ecs_ContainerOverride);
    struct ecs_TaskOverride *overrides = fl_arena_new_object(d->arena, struct ecs_TaskOverride);
    struct ecs_RunTaskRequest request = {0};
    FL_SET(container, ecs_ContainerOverride, name, main_container(definition));
    FL_SET(container, ecs_ContainerOverride, environment, variables(run, entry));
    overrides->containerOverrides.items = container;
    overrides->containerOverrides.n = 1;
    FL_SET(overrides, ecs_TaskOverride, containerOverrides, overrides->containerOverrides);
    FL_SET(&request, ecs_RunTaskRequest, overrides, overrides);
    FL_SET(&request, ecs_RunTaskRequest, startedBy, fl_deployment_id(d, run->rec->target));
    FL_SET(&request, ecs_RunTaskRequest, group,
           fl_str_printf(d->arena, FL_HOOK_GROUP "%.*s", FL_STR_ARG(run->s->service->name)));
    if (FL_HAS(target->rec, rec_ServiceRevision, launchType))
        FL_SET(&request, ecs_RunTaskRequest, launchType, target->rec->launchType);
    if (FL_HAS(definition, ecs_TaskDefinition, networkMode) &&
        definition->networkMode == ECS_NetworkMode_awsvpc && target->rec->networkConfiguration)
        FL_SET(&request, ecs_RunTaskRequest, networkConfiguration,
               target->rec->networkConfiguration);
    return request;
}

static const char *stage_name(const struct rec_RolloutHook *entry)
{
    return fl_enum_text(&ecs_enum_DeploymentLifecycleHookStage, (int)entry->stage);
}

static void fail(struct run *run, struct rec_RolloutHook *entry, struct fl_str why)
{
    settle(entry, ECS_DeploymentLifecycleHookStatus_FAILED);
    run->changed = true;
    fl_service_say(run->s->d, run->s->service,
                   "(deployment ecs-svc/%lld) lifecycle hook failed at %s: %.*s",
                   (long long)run->rec->target, stage_name(entry), FL_STR_ARG(why));
}

static void wait_for_room(struct run *run, const struct rec_RolloutHook *entry)
{
    fl_service_set_waiting(run->s->service, true);
    fl_service_say_once(run->s->d, run->s->service,
                        "(deployment ecs-svc/%lld) was unable to place the task of the lifecycle "
                        "hook at %s because no container instance met all of its requirements.",
                        (long long)run->rec->target, stage_name(entry));
}

static void launch(struct run *run, struct rec_RolloutHook *entry)
{
    struct fl_decision *d = run->s->d;
    struct fl_service *service = run->s->service;
    struct fl_definition *definition = fl_find_definition(d, entry->detail->targetArn);
    struct fl_launch launch;
    if (!definition) {
        fail(run, entry, FL_STR("its task definition does not exist any more."));
        return;
    }
    struct ecs_RunTaskRequest request = request_of(run, entry, definition->rec->definition);
    if (fl_launch_prepare_for(d, &request, service->cluster, definition, &launch) < 0) {
        fail(run, entry, d->error_text);
        return;
    }
    struct fl_instance *instance = fl_placement_choose(d, &launch.placement, service->cluster);
    if (!instance) {
        wait_for_room(run, entry);
        return;
    }
    FL_SET(entry, rec_RolloutHook, task, fl_launch_on(d, &launch, instance)->rec->id);
    run->changed = true;
}

static const struct rec_TaskContainer *main_of(const struct fl_task *task)
{
    struct fl_str name = main_container(task->definition->rec->definition);
    for (size_t i = 0; i < task->rec->containers.n; i++)
        if (fl_str_eq(task->rec->containers.items[i].name, name))
            return &task->rec->containers.items[i];
    return NULL;
}

static void follow_task(struct run *run, struct rec_RolloutHook *entry)
{
    const struct fl_task *task = task_of(run->s->service, entry);
    if (!task) {
        fail(run, entry, FL_STR("nothing is known of its task any more."));
        return;
    }
    if (task->rec->status != REC_TaskStatus_STOPPED)
        return;
    const struct rec_TaskContainer *container = main_of(task);
    bool has_ended = container && FL_HAS(container, rec_TaskContainer, exitCode);
    if (has_ended && FL_BUG(78, true, container->exitCode == 0)) {
        settle(entry, ECS_DeploymentLifecycleHookStatus_SUCCEEDED);
        run->changed = true;
        return;
    }
    fail(run, entry,
         has_ended
             ? fl_str_printf(run->s->d->arena, "(task %.*s) ended with exit code %d.",
                             FL_STR_ARG(task->rec->id), (int)container->exitCode)
             : fl_str_printf(run->s->d->arena, "(task %.*s) did not run to its end: %.*s",
                             FL_STR_ARG(task->rec->id), FL_STR_ARG(task->rec->stoppedReason)));
}

/* ---- following ---- */

static void expire(struct run *run, struct rec_RolloutHook *entry)
{
    stop_task(run->s->d, run->s->service, entry, FL_STR("The lifecycle hook has timed out."));
    settle(entry, ECS_DeploymentLifecycleHookStatus_TIMED_OUT);
    run->changed = true;
    fl_service_say(run->s->d, run->s->service,
                   "(deployment ecs-svc/%lld) lifecycle hook timed out at %s.",
                   (long long)run->rec->target, stage_name(entry));
}

static enum fl_hooks_verdict verdict_of(const struct rec_RolloutHook *entry)
{
    switch (entry->detail->status) {
    case ECS_DeploymentLifecycleHookStatus_AWAITING_ACTION:
    case ECS_DeploymentLifecycleHookStatus_IN_PROGRESS:
        return FL_HOOKS_WAIT;
    case ECS_DeploymentLifecycleHookStatus_SUCCEEDED:
        return FL_HOOKS_DONE;
    case ECS_DeploymentLifecycleHookStatus_FAILED:
        return FL_BUG(77, FL_HOOKS_DONE, FL_HOOKS_FAILED);
    case ECS_DeploymentLifecycleHookStatus_TIMED_OUT:
        break;
    }
    return entry->detail->timeoutAction == ECS_DeploymentLifecycleHookAction_CONTINUE
               ? FL_HOOKS_DONE
               : FL_HOOKS_FAILED;
}

/* A clock that was set back gives no more time than there was. */
static void keep_up(struct run *run, struct rec_RolloutHook *entry)
{
    const struct ecs_DeploymentLifecycleHook *hook =
        &run->rec->deploymentConfiguration->lifecycleHooks.items[entry->index];
    int64_t latest_ms = run->s->d->now_ms + timeout_ms(hook);
    if (entry->detail->expiresAt <= latest_ms)
        return;
    FL_SET(entry->detail, ecs_DeploymentLifecycleHookDetail, expiresAt, latest_ms);
    run->changed = true;
}

static enum fl_hooks_verdict follow(struct run *run, struct rec_RolloutHook *entry)
{
    bool is_task = entry->detail->targetType == ECS_DeploymentLifecycleHookTargetType_AWS_LAMBDA;
    if (!is_open(entry))
        return verdict_of(entry);
    keep_up(run, entry);
    if (is_task && entry->task.n)
        follow_task(run, entry);
    if (is_open(entry) && FL_BUG(80, false, !fl_schedule_await(run->s, entry->detail->expiresAt)))
        expire(run, entry);
    else if (is_open(entry) && is_task && FL_BUG(76, true, entry->task.n == 0))
        launch(run, entry);
    return verdict_of(entry);
}

static bool is_for(const struct ecs_DeploymentLifecycleHook *hook,
                   enum ecs_DeploymentLifecycleHookStage stage)
{
    for (size_t i = 0; i < hook->lifecycleStages.n; i++)
        if (hook->lifecycleStages.items[i] == stage)
            return true;
    return false;
}

enum fl_hooks_verdict fl_hooks_run(struct fl_schedule *s, struct rec_ServiceDeployment *rec,
                                   enum ecs_DeploymentLifecycleHookStage stage, bool *changed)
{
    const struct ecs_DeploymentLifecycleHook_list *hooks =
        &rec->deploymentConfiguration->lifecycleHooks;
    struct run run = {.s = s, .rec = rec};
    enum fl_hooks_verdict worst = FL_HOOKS_DONE;
    for (size_t i = 0; i < hooks->n; i++) {
        if (!is_for(&hooks->items[i], stage))
            continue;
        const struct rec_RolloutHook *entry = find_entry(rec, i, stage);
        if (!entry || FL_BUG(84, false, entry->step != rec->step))
            begin(&run, i, stage);
        enum fl_hooks_verdict verdict = follow(&run, find_entry(rec, i, stage));
        worst = FL_MAX(worst, verdict);
    }
    *changed |= run.changed;
    return worst;
}

/* ---- ContinueServiceDeployment ---- */

static struct rec_RolloutHook *find_hook(const struct rec_ServiceDeployment *rec, struct fl_str id)
{
    for (size_t i = 0; i < rec->hooks.n; i++)
        if (fl_str_eq(rec->hooks.items[i].detail->hookId, id))
            return &rec->hooks.items[i];
    return NULL;
}

/* The hook in the edited record, if it waits for a user; NULL after refusing. */
static struct rec_RolloutHook *find_waiting(struct fl_decision *d, const struct fl_service *service,
                                            const struct rec_ServiceDeployment *rec,
                                            struct fl_str id)
{
    struct rec_RolloutHook *entry = find_hook(rec, id);
    const char *why = NULL;
    if (!entry)
        why = "the service deployment has no lifecycle hook of that hookId";
    else if (rec->status != ECS_ServiceDeploymentStatus_IN_PROGRESS)
        why = "the service deployment is not IN_PROGRESS";
    else if (!fl_str_is(service->rec->status, "ACTIVE"))
        why = "its service is being deleted";
    else if (entry->detail->status != ECS_DeploymentLifecycleHookStatus_AWAITING_ACTION)
        why = "the lifecycle hook is not AWAITING_ACTION";
    if (!why)
        return entry;
    (void)fl_refuse(d, "InvalidParameterException",
                    "The service deployment cannot be continued: %s.", why);
    return NULL;
}

int fl_continue_rollout(struct fl_decision *d, const void *input, void *output)
{
    const struct ecs_ContinueServiceDeploymentRequest *in = input;
    struct ecs_ContinueServiceDeploymentResponse *out = output;
    struct fl_rollout *rollout;
    struct fl_service *service = fl_find_rollout(d, in->serviceDeploymentArn, &rollout);
    if (!service)
        return -1;
    struct rec_ServiceDeployment *rec = fl_rollout_edit(d, rollout);
    struct rec_RolloutHook *entry = find_waiting(d, service, rec, in->hookId);
    if (!entry)
        return -1;
    bool goes_back = FL_HAS(in, ecs_ContinueServiceDeploymentRequest, action) &&
                     in->action == ECS_DeploymentLifecycleHookAction_ROLLBACK;
    settle(entry, goes_back ? ECS_DeploymentLifecycleHookStatus_FAILED
                            : ECS_DeploymentLifecycleHookStatus_SUCCEEDED);
    fl_rollout_put(d, rec);
    if (goes_back)
        fl_rollback_request(d, service,
                            FL_STR("Service deployment rolled back because that was asked for at a "
                                   "lifecycle hook."));
    FL_SET(out, ecs_ContinueServiceDeploymentResponse, serviceDeploymentArn,
           fl_rollout_arn(d, rec));
    return 0;
}
