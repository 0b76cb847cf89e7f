/* The walk through the stages of a rollout.
 *
 * Where it is, the record says: the stage, since when, how many steps of traffic were shifted, and
 * which hooks were begun. A look goes on by one stage at most; the change brings the next look. A
 * stage is over when its own condition holds and its hooks have succeeded. */
#include "core/stages.h"

#include "base/bug.h"
#include "core/hooks.h"

enum {
    DEFAULT_STEP = 100, /* this and the canary's: tenths of a percent */
    DEFAULT_STEP_MINUTES = 6,
    DEFAULT_CANARY = 50,
    DEFAULT_CANARY_MINUTES = 10,
};

/* ECS's, in their order. */
enum stage {
    RECONCILE_SERVICE,
    PRE_SCALE_UP,
    SCALE_UP,
    POST_SCALE_UP,
    TEST_TRAFFIC_SHIFT,
    POST_TEST_TRAFFIC_SHIFT,
    PRE_PRODUCTION_TRAFFIC_SHIFT,
    PRODUCTION_TRAFFIC_SHIFT,
    POST_PRODUCTION_TRAFFIC_SHIFT,
    BAKE_TIME,
    CLEAN_UP,
    STAGES
};

enum { NO_HOOKS = -1 };
#define MINUTE_MS (60 * (int64_t)1000)

/* How the API names them. PRE_PRODUCTION_TRAFFIC_SHIFT has no name as a stage that is under way:
 * it shows as the one before it. */
static const struct {
    enum ecs_ServiceDeploymentLifecycleStage shown;
    int hooks;
} names[STAGES] = {
#define BOTH(stage)                                                                                \
    [stage] = {ECS_ServiceDeploymentLifecycleStage_##stage,                                        \
               ECS_DeploymentLifecycleHookStage_##stage}
#define WITHOUT_HOOKS(stage) [stage] = {ECS_ServiceDeploymentLifecycleStage_##stage, NO_HOOKS}
    BOTH(RECONCILE_SERVICE),
    BOTH(PRE_SCALE_UP),
    WITHOUT_HOOKS(SCALE_UP),
    BOTH(POST_SCALE_UP),
    BOTH(TEST_TRAFFIC_SHIFT),
    BOTH(POST_TEST_TRAFFIC_SHIFT),
    [PRE_PRODUCTION_TRAFFIC_SHIFT] =
        {ECS_ServiceDeploymentLifecycleStage_POST_TEST_TRAFFIC_SHIFT,
         ECS_DeploymentLifecycleHookStage_PRE_PRODUCTION_TRAFFIC_SHIFT},
    BOTH(PRODUCTION_TRAFFIC_SHIFT),
    BOTH(POST_PRODUCTION_TRAFFIC_SHIFT),
    WITHOUT_HOOKS(BAKE_TIME),
    WITHOUT_HOOKS(CLEAN_UP),
#undef WITHOUT_HOOKS
#undef BOTH
};

static bool has_stages(const struct rec_ServiceDeployment *rec)
{
    const struct ecs_DeploymentConfiguration *config = rec->deploymentConfiguration;
    return FL_HAS(config, ecs_DeploymentConfiguration, strategy) &&
           config->strategy != ECS_DeploymentStrategy_ROLLING;
}

static enum stage stage_of(const struct rec_ServiceDeployment *rec)
{
    if (rec->beforeShift)
        return PRE_PRODUCTION_TRAFFIC_SHIFT;
    for (enum stage stage = 0; stage < STAGES; stage++)
        if (names[stage].shown == rec->lifecycleStage && stage != PRE_PRODUCTION_TRAFFIC_SHIFT)
            return stage;
    FL_ASSERT(!"a stage");
    return CLEAN_UP;
}

static void enter(struct fl_decision *d, struct rec_ServiceDeployment *rec, enum stage stage)
{
    bool is_before_shift = stage == PRE_PRODUCTION_TRAFFIC_SHIFT;
    if (!is_before_shift)
        FL_SET(rec, rec_ServiceDeployment, lifecycleStage, names[stage].shown);
    if (stage == PRODUCTION_TRAFFIC_SHIFT)
        FL_SET(rec, rec_ServiceDeployment, step, rec->step + 1);
    FL_SET(rec, rec_ServiceDeployment, beforeShift, is_before_shift);
    FL_SET(rec, rec_ServiceDeployment, stageSince, d->now_ms);
}

void fl_stages_begin(struct fl_decision *d, struct rec_ServiceDeployment *rec)
{
    if (has_stages(rec))
        enter(d, rec, rec->sources.n > 1 ? RECONCILE_SERVICE : PRE_SCALE_UP);
}

const struct fl_rollout *fl_stages_rollout(const struct fl_service *service)
{
    const struct fl_rollout *current = fl_service_current(service);
    bool goes_on = current && has_stages(current->rec) &&
                   current->rec->status == ECS_ServiceDeploymentStatus_IN_PROGRESS &&
                   fl_str_is(service->rec->status, "ACTIVE");
    return goes_on ? current : NULL;
}

bool fl_stages_hold(const struct fl_service *service)
{
    const struct fl_rollout *rollout = fl_stages_rollout(service);
    return rollout && !fl_stages_are_final(rollout->rec);
}

bool fl_stages_are_final(const struct rec_ServiceDeployment *rec)
{
    return has_stages(rec) && stage_of(rec) == CLEAN_UP;
}

static size_t well_count(struct fl_deployment *deployment)
{
    struct fl_task *task;
    size_t n = 0;
    RB_FOREACH (task, fl_member_tree, &deployment->tasks) {
        enum fl_checks checks = fl_task_checks(task);
        n += task->rec->status == REC_TaskStatus_RUNNING &&
             task->rec->desired != REC_TaskStatus_STOPPED &&
             (checks == FL_CHECKS_NONE || checks == FL_CHECKS_PASSED);
    }
    return n;
}

/* Whoever has most tasks that are well serves, not who came last and may never run. */
static struct fl_deployment *most_well(const struct fl_service *service, int64_t target)
{
    struct fl_deployment *deployment, *best = NULL;
    size_t most = 0, n;
    TAILQ_FOREACH (deployment, &service->deployments, in_service) {
        if (deployment->number == target || ((n = well_count(deployment)) <= most && best))
            continue;
        best = deployment;
        most = n;
    }
    return best;
}

int64_t fl_stages_blue(const struct fl_service *service)
{
    const struct fl_rollout *rollout = fl_stages_rollout(service);
    const struct rec_Service *rec = service->rec;
    if (!rollout || fl_stages_are_final(rollout->rec))
        return 0;
    struct fl_deployment *last =
        FL_HAS(rec, rec_Service, lastCompleted) && rec->lastCompleted != rollout->rec->target
            ? fl_service_deployment(service, rec->lastCompleted)
            : NULL;
    if (last && well_count(last))
        return last->number;
    struct fl_deployment *best = most_well(service, rollout->rec->target);
    if (last && !well_count(best))
        return last->number;
    return best ? best->number : 0;
}

/* ---- traffic ---- */

static int32_t linear_tenths(const struct ecs_DeploymentConfiguration *config)
{
    const struct ecs_LinearConfiguration *linear = config->linearConfiguration;
    int32_t tenths = DEFAULT_STEP;
    if (linear && FL_HAS(linear, ecs_LinearConfiguration, stepPercent))
        (void)fl_percent_tenths(linear->stepPercent, &tenths);
    return tenths;
}

static int32_t canary_tenths(const struct ecs_DeploymentConfiguration *config)
{
    const struct ecs_CanaryConfiguration *canary = config->canaryConfiguration;
    int32_t tenths = DEFAULT_CANARY;
    if (canary && FL_HAS(canary, ecs_CanaryConfiguration, canaryPercent))
        (void)fl_percent_tenths(canary->canaryPercent, &tenths);
    return tenths;
}

/* How long a step of traffic stands before the next one. */
static int64_t step_ms(const struct ecs_DeploymentConfiguration *config)
{
    const struct ecs_LinearConfiguration *linear = config->linearConfiguration;
    const struct ecs_CanaryConfiguration *canary = config->canaryConfiguration;
    int32_t minutes = 0;
    switch (config->strategy) {
    case ECS_DeploymentStrategy_ROLLING:
    case ECS_DeploymentStrategy_BLUE_GREEN:
        break;
    case ECS_DeploymentStrategy_LINEAR:
        minutes = linear && FL_HAS(linear, ecs_LinearConfiguration, stepBakeTimeInMinutes)
                      ? linear->stepBakeTimeInMinutes
                      : DEFAULT_STEP_MINUTES;
        break;
    case ECS_DeploymentStrategy_CANARY:
        minutes = canary && FL_HAS(canary, ecs_CanaryConfiguration, canaryBakeTimeInMinutes)
                      ? canary->canaryBakeTimeInMinutes
                      : DEFAULT_CANARY_MINUTES;
        break;
    }
    return minutes * MINUTE_MS;
}

/* The target's share after so many steps. */
static int32_t weight_of_step(const struct ecs_DeploymentConfiguration *config, int32_t step)
{
    switch (config->strategy) {
    case ECS_DeploymentStrategy_ROLLING:
    case ECS_DeploymentStrategy_BLUE_GREEN:
        break;
    case ECS_DeploymentStrategy_LINEAR:
        return FL_MIN(step * linear_tenths(config), (int32_t)FL_ALL_TRAFFIC);
    case ECS_DeploymentStrategy_CANARY:
        return step == 1 ? canary_tenths(config) : FL_ALL_TRAFFIC;
    }
    return FL_ALL_TRAFFIC;
}

static bool is_way_back(enum ecs_ServiceDeploymentStatus status)
{
    return status == ECS_ServiceDeploymentStatus_ROLLBACK_REQUESTED ||
           status == ECS_ServiceDeploymentStatus_ROLLBACK_IN_PROGRESS ||
           status == ECS_ServiceDeploymentStatus_ROLLBACK_SUCCESSFUL;
}

int32_t fl_stages_weight(const struct rec_ServiceDeployment *rec)
{
    if (!has_stages(rec))
        return -1;
    if (rec->step == 0 || is_way_back(rec->status))
        return 0;
    return rec->sources.n ? weight_of_step(rec->deploymentConfiguration, rec->step)
                          : FL_ALL_TRAFFIC;
}

/* ---- one look ---- */

void fl_stages_targets(struct fl_schedule *s, size_t desired)
{
    const struct rec_ServiceDeployment *rec = fl_stages_rollout(s->service)->rec;
    enum stage stage = stage_of(rec);
    int64_t blue = fl_stages_blue(s->service);
    for (size_t i = 0; i < s->count; i++) {
        struct fl_census *census = &s->censuses[i];
        bool is_green = census->deployment->number == rec->target;
        bool is_blue = census->deployment->number == blue;
        bool serves = is_blue || (is_green && stage >= PRODUCTION_TRAFFIC_SHIFT);
        census->wanted = is_blue || (is_green && stage >= SCALE_UP) ? desired : 0;
        census->floor = serves ? s->floor : 0;
        census->ceiling = s->ceiling;
    }
}

static bool is_green_whole(const struct fl_schedule *s, int64_t target)
{
    for (size_t i = 0; i < s->count; i++)
        if (s->censuses[i].deployment->number == target)
            return s->censuses[i].healthy >= s->censuses[i].wanted;
    return false;
}

/* Tasks of an earlier rollout that go, or can be made to. What the floor keeps, because blue is not
 * what it is to be, stays until green is. */
static bool has_goers(const struct fl_schedule *s, const struct fl_census *census)
{
    size_t healthy = 0;
    for (size_t i = 0; i < s->count; i++)
        healthy += s->censuses[i].healthy;
    for (size_t i = 0; i < census->count; i++) {
        const struct fl_member *member = &census->members[i];
        if (!member->is_lost && !member->is_protected &&
            (member->state == FL_MEMBER_GOING || healthy > s->floor))
            return true;
    }
    return false;
}

static bool has_leftovers(const struct fl_schedule *s, int64_t target)
{
    int64_t blue = fl_stages_blue(s->service);
    for (size_t i = 0; i < s->count; i++) {
        int64_t number = s->censuses[i].deployment->number;
        if (number != target && number != blue && has_goers(s, &s->censuses[i]))
            return true;
    }
    return false;
}

static int64_t bake_ms(const struct rec_ServiceDeployment *rec)
{
    /* A bake time is for two revisions side by side; the first one is alone. */
    return rec->sources.n ? rec->deploymentConfiguration->bakeTimeInMinutes * MINUTE_MS : 0;
}

/* The stage's own condition, hooks left out. */
static bool is_over(struct fl_schedule *s, const struct rec_ServiceDeployment *rec,
                    enum stage stage)
{
    switch (stage) {
    case RECONCILE_SERVICE:
        return !has_leftovers(s, rec->target);
    case SCALE_UP:
    case PRE_PRODUCTION_TRAFFIC_SHIFT:
        return is_green_whole(s, rec->target);
    case PRODUCTION_TRAFFIC_SHIFT:
        return fl_stages_weight(rec) == FL_ALL_TRAFFIC ||
               !fl_schedule_await(s, rec->stageSince + step_ms(rec->deploymentConfiguration));
    case BAKE_TIME:
        return !fl_schedule_await(s, rec->stageSince + bake_ms(rec));
    case CLEAN_UP:
        return false;
    case PRE_SCALE_UP:
    case POST_SCALE_UP:
    case TEST_TRAFFIC_SHIFT:
    case POST_TEST_TRAFFIC_SHIFT:
    case POST_PRODUCTION_TRAFFIC_SHIFT:
    case STAGES:
        break;
    }
    return true;
}

/* From CLEAN_UP on green is what the service is; there is no way back any more. */
static void accept(struct fl_schedule *s, int64_t target)
{
    struct rec_Service *rec = fl_service_edit(s->d, s->service);
    FL_SET(rec, rec_Service, lastCompleted, target);
    fl_service_put(s->d, rec);
}

static void go_on(struct fl_schedule *s, struct rec_ServiceDeployment *rec, enum stage stage)
{
    bool again = stage == PRODUCTION_TRAFFIC_SHIFT && fl_stages_weight(rec) < FL_ALL_TRAFFIC;
    enum stage next = again ? PRE_PRODUCTION_TRAFFIC_SHIFT : stage + 1;
    enter(s->d, rec, next);
    if (next == CLEAN_UP &&
        rec->breakerStatus == ECS_ServiceDeploymentRollbackMonitorsStatus_MONITORING)
        rec->breakerStatus = ECS_ServiceDeploymentRollbackMonitorsStatus_MONITORING_COMPLETE;
    fl_rollout_put(s->d, rec);
    if (next == CLEAN_UP)
        accept(s, rec->target);
}

static bool cancel_hooks(struct fl_schedule *s)
{
    const struct fl_rollout *current = fl_service_current(s->service);
    if (!current || !fl_hooks_are_open(current->rec))
        return false;
    struct rec_ServiceDeployment *rec = fl_rollout_edit(s->d, current);
    (void)fl_hooks_cancel(s->d, s->service, rec);
    fl_rollout_put(s->d, rec);
    return true;
}

static enum fl_hooks_verdict run_hooks(struct fl_schedule *s, struct rec_ServiceDeployment *rec,
                                       enum stage stage, bool *changed)
{
    if (names[stage].hooks == NO_HOOKS)
        return FL_HOOKS_DONE;
    return fl_hooks_run(s, rec, (enum ecs_DeploymentLifecycleHookStage)names[stage].hooks, changed);
}

/* A clock that was set back makes a stage begin now: its time is waited for anew, not for longer.
 */
static bool keep_up(const struct fl_schedule *s, struct rec_ServiceDeployment *rec)
{
    if (rec->stageSince <= s->d->now_ms)
        return false;
    FL_SET(rec, rec_ServiceDeployment, stageSince, s->d->now_ms);
    return true;
}

bool fl_schedule_stages(struct fl_schedule *s)
{
    const struct fl_rollout *rollout = fl_stages_rollout(s->service);
    if (!rollout)
        return cancel_hooks(s);
    struct rec_ServiceDeployment *rec = fl_rollout_edit(s->d, rollout);
    bool changed = keep_up(s, rec);
    enum stage stage = stage_of(rec);
    enum fl_hooks_verdict verdict = run_hooks(s, rec, stage, &changed);
    if (FL_BUG(81, true, verdict == FL_HOOKS_DONE) && is_over(s, rec, stage)) {
        go_on(s, rec, stage);
        return true;
    }
    if (changed)
        fl_rollout_put(s->d, rec);
    if (FL_BUG(86, false, verdict == FL_HOOKS_FAILED))
        fl_rollback_request(s->d, s->service, FL_STR("hook execution failure(s) detected."));
    return changed || verdict == FL_HOOKS_FAILED;
}
