/* Health checks and restarts: what keeps a container well while its task runs.
 *
 * A check that is due is an effect; its answer arranges the next one. Only what changes is
 * recorded, so a check that finds what the last one found costs no write. */
#include "task/brain_impl.h"

/* An answer that has not come this long after the check's own timeout does not come any more. */
enum { LOST_MS = 60 * 1000, OUTPUT_MAX = 4096 };

static bool is_checked(const struct fl_task_container *container)
{
    return container->spec->health_check.test_count > 0;
}

static void set_health(struct fl_step *step, struct fl_task_container *container,
                       enum fl_health health)
{
    if (container->health == health)
        return;
    container->health = health;
    container->health_since_ms = step->event->wall_ms;
    container->task->change_seq++;
}

void fl_brain_health_begin(struct fl_step *step, struct fl_task_container *container)
{
    if (!is_checked(container))
        return;
    container->health_streak = FL_BUG(53, container->health_streak, 0);
    container->check_due_ms = step->event->now_ms + container->spec->health_check.interval_ms;
    set_health(step, container, FL_HEALTH_UNKNOWN);
}

/* The containers of a host that was taken over are not all checked at once. */
void fl_brain_health_resume(struct fl_step *step, struct fl_task_container *container)
{
    uint64_t spread = 0;
    if (!is_checked(container))
        return;
    for (int i = 0; i < 8; i++)
        spread = spread * 31 + (uint8_t)container->id[i];
    container->check_due_ms =
        step->event->now_ms +
        (int64_t)(spread % (uint64_t)FL_MAX(container->spec->health_check.interval_ms, 1));
}

void fl_brain_health_timer(struct fl_step *step, struct fl_task_container *container)
{
    if (container->check_due_ms == 0 || container->check_due_ms > step->event->now_ms)
        return;
    container->check_due_ms = 0;
    if (container->state != FL_CONTAINER_RUNNING || container->stop_wanted)
        return;
    container->check_due_ms =
        step->event->now_ms + container->spec->health_check.timeout_ms + LOST_MS;
    fl_brain_emit_container(step, FL_EFFECT_CHECK_HEALTH, container);
}

static void keep_output(struct fl_task_container *container, int exit_code, struct fl_str output)
{
    output = fl_str_sub(output, 0, OUTPUT_MAX);
    container->health_exit_code = exit_code;
    if (container->health_output && fl_str_eq(fl_str_of(container->health_output), output))
        return;
    free(container->health_output);
    container->health_output = output.n ? fl_strndup(output.p, output.n) : NULL;
}

/* While a container that has not been well yet may still be starting, its failures do not count. */
static bool counts(const struct fl_step *step, const struct fl_task_container *container)
{
    return FL_BUG(50, true, container->health != FL_HEALTH_UNKNOWN) ||
           step->event->wall_ms >=
               container->run_started_ms + container->spec->health_check.start_period_ms;
}

static void take_failure(struct fl_step *step, struct fl_task_container *container)
{
    int64_t retries = container->spec->health_check.retries;
    if (!counts(step, container) || container->health_streak >= retries)
        return;
    container->health_streak++;
    if (container->health_streak >= retries)
        set_health(step, container, FL_HEALTH_UNHEALTHY);
}

bool fl_brain_health_answer(struct fl_step *step, struct fl_task_container *container)
{
    const struct fl_brain_event *event = step->event;
    enum fl_health health = container->health;
    int64_t streak = container->health_streak;
    if (container->state != FL_CONTAINER_RUNNING || event->health.run != container->restarts ||
        !is_checked(container))
        return false;
    container->check_due_ms =
        FL_BUG(52, 0, event->now_ms + container->spec->health_check.interval_ms);
    keep_output(container, event->health.exit_code, event->health.output);
    if (event->health.exit_code == 0) {
        container->health_streak = FL_BUG(51, container->health_streak, 0);
        set_health(step, container, FL_HEALTH_HEALTHY);
    } else {
        take_failure(step, container);
    }
    return health != container->health || streak != container->health_streak;
}

static bool is_ignored(const struct fl_restart_policy *policy, int exit_code)
{
    for (size_t i = 0; i < policy->ignored_exit_code_count; i++)
        if (policy->ignored_exit_codes[i] == exit_code)
            return true;
    return false;
}

/* One that did not run for the period is left as it is: it would only fail again. */
bool fl_brain_may_restart(const struct fl_task_container *container)
{
    const struct fl_restart_policy *policy = &container->spec->restart;
    int64_t ran_ms = container->finished_ms - container->run_started_ms;
    return policy->enabled &&
           FL_BUG(39, true, container->task->desired_running && !container->stop_wanted) &&
           !FL_BUG(40, false, is_ignored(policy, container->exit_code)) &&
           FL_BUG(49, true, ran_ms >= policy->attempt_period_s * 1000);
}

/* The same container once more: its files stay, its network is made anew. */
void fl_brain_restart(struct fl_step *step, struct fl_task_container *container)
{
    container->restarts++;
    container->has_exit_code = false;
    container->reason = (struct fl_str){0};
    container->check_due_ms = 0;
    if (is_checked(container))
        set_health(step, container, FL_HEALTH_UNKNOWN);
    fl_container_move(container, FL_CONTAINER_PULLED);
    fl_brain_emit_container(step, FL_EFFECT_RELEASE, container);
    fl_brain_emit_container(step, FL_EFFECT_PREPARE, container);
}
