/* What an agent makes of its containers, after every step, against what the runtime really holds
 * and against a plain reading of the rules: who may start, who is started again, who may be told to
 * end, what health is. A step's effects name the tasks that it touched. */
#include "sim/world.h"

/* PATIENCE: what a timer may be late by; SLACK: what an answer to a check may take. */
enum { KILL = 9, PATIENCE_MS = 10 * 1000, SLACK_MS = 4 * 60 * 1000 };

static struct sim_container *real_of(const struct sim_host *host,
                                     const struct fl_task_container *container)
{
    return sim_runtime_container(host, sim_key(fl_str_of(container->id)));
}

static bool is_alive(const struct sim_container *c)
{
    return c && (c->state == SIM_RUNNING || c->state == SIM_STARTING);
}

/* What a container waits for: whose volumes it borrows, too. */
static size_t tie_count(const struct fl_task_container *container)
{
    return container->spec->depends_on_count + container->spec->volumes_from_count;
}

static struct fl_dependency tie_at(const struct fl_task_container *container, size_t i)
{
    const struct fl_container_spec *spec = container->spec;
    if (i < spec->depends_on_count)
        return spec->depends_on[i];
    return (struct fl_dependency){spec->volumes_from[i - spec->depends_on_count].source_container,
                                  FL_WHEN_STARTED};
}

static const struct fl_task_container *tied_to(const struct fl_task_container *container, size_t i)
{
    return fl_task_container_named(container->task, tie_at(container, i).container);
}

/* ---- who may start ---- */

/* Has it ever been so, as far as the runtime knows? */
static bool was_met(enum fl_condition condition, const struct sim_container *on)
{
    if (!on || on->first_ms == 0)
        return false;
    switch (condition) {
    case FL_WHEN_STARTED:
        return true;
    case FL_WHEN_COMPLETE:
        return !is_alive(on);
    case FL_WHEN_SUCCESS:
        return on->state == SIM_DEAD && on->exit_code == 0;
    case FL_WHEN_HEALTHY:
        return on->was_well;
    }
    return false;
}

static void check_start(struct sim *sim, const struct sim_host *host,
                        const struct fl_task_container *container)
{
    for (size_t i = 0; i < tie_count(container); i++) {
        const struct fl_dependency tie = tie_at(container, i);
        if (!was_met(tie.condition, real_of(host, tied_to(container, i))))
            sim_violation(sim, "D1",
                          "host %u starts container %.12s, whose dependency on %.*s is not met",
                          host->index, container->id, FL_STR_ARG(tie.container));
    }
    if (sim_ledger_task(sim, fl_task_id(container->task->arn))->is_ending)
        sim_violation(sim, "D2", "host %u starts container %.12s of a task that is to end",
                      host->index, container->id);
}

/* ---- restarts ---- */

static bool is_ignored(const struct fl_restart_policy *policy, int exit_code)
{
    for (size_t i = 0; i < policy->ignored_exit_code_count; i++)
        if (policy->ignored_exit_codes[i] == exit_code)
            return true;
    return false;
}

static bool allows(const struct fl_task_container *container, const struct sim_container *c)
{
    const struct fl_restart_policy *policy = &container->spec->restart;
    return policy->enabled && !is_ignored(policy, c->exit_code) &&
           c->ended_ms - c->ran_ms >= policy->attempt_period_s * 1000;
}

static void check_restart(struct sim *sim, const struct sim_host *host,
                          const struct fl_task_container *container)
{
    const struct sim_container *c = real_of(host, container);
    if (container->restarts == 0)
        return;
    if (!c || is_alive(c) || c->run >= container->restarts)
        sim_violation(sim, "D3", "host %u starts container %.12s again, which has not ended",
                      host->index, container->id);
    else if (c->state == SIM_DEAD && !allows(container, c))
        sim_violation(sim, "D3", "host %u starts container %.12s again: its policy does not say so",
                      host->index, container->id);
}

/* An end that is told before its start, which production never does, makes a run without length. */
bool sim_audit_restarts(const struct sim_host *host, const struct sim_container *c)
{
    const struct fl_task_container *known = fl_brain_container(host->brain, fl_str_of(c->id));
    return known && known->restarts == c->run && known->task->desired_running &&
           !known->stop_wanted && known->state == FL_CONTAINER_RUNNING && allows(known, c);
}

void sim_audit_end(struct sim *sim, struct sim_host *host, const struct sim_container *c,
                   bool restarts)
{
    const struct fl_task_container *known = fl_brain_container(host->brain, fl_str_of(c->id));
    if (restarts && known->restarts != c->run + 1)
        sim_violation(sim, "D3", "host %u leaves container %.12s, which its policy starts again",
                      host->index, c->id);
    if (known && known->restarts == c->run && known->state != FL_CONTAINER_STOPPED)
        sim_violation(sim, "D4", "host %u: container %.12s has ended, which changes nothing",
                      host->index, c->id);
    if (known && known->state == FL_CONTAINER_STOPPED && known->spec->essential &&
        known->task->desired_running)
        sim_violation(sim, "D4", "host %u: essential container %.12s has ended, its task goes on",
                      host->index, c->id);
}

/* ---- ends ---- */

static bool depends(const struct fl_task_container *container, struct fl_str on)
{
    for (size_t i = 0; i < tie_count(container); i++)
        if (fl_str_eq(tie_at(container, i).container, on))
            return true;
    return false;
}

static int64_t stop_timeout_ms(const struct fl_task_container *container)
{
    return FL_MAX(container->spec->stop_timeout_s, INT64_C(0)) * 1000;
}

static void check_signal(struct sim *sim, const struct sim_host *host,
                         const struct fl_task_container *container, int64_t number)
{
    const struct fl_task *task = container->task;
    struct sim_container *c = real_of(host, container);
    int64_t now_ms = sim_host_mono_ms(sim, host);
    for (size_t i = 0; i < task->container_count; i++)
        if (depends(&task->containers[i], container->spec->name) &&
            is_alive(real_of(host, &task->containers[i])))
            sim_violation(sim, "D5", "host %u ends container %.12s, on which %.12s depends",
                          host->index, container->id, task->containers[i].id);
    if (!c)
        return;
    if (number == KILL && now_ms - c->term_ms < stop_timeout_ms(container))
        sim_violation(sim, "D5", "host %u kills container %.12s %lld ms after it was told to end",
                      host->index, container->id, (long long)(now_ms - c->term_ms));
    if (c->term_ms == 0)
        c->term_ms = now_ms;
}

/* ---- health ---- */

static void check_checking(struct sim *sim, const struct sim_host *host,
                           const struct fl_task_container *container)
{
    const struct sim_live *live = sim_runtime_live(host, sim_key(fl_str_of(container->id)));
    int64_t interval_ms = container->spec->health_check.interval_ms;
    if (container->state != FL_CONTAINER_RUNNING || container->stop_wanted)
        sim_violation(sim, "D6", "host %u checks container %.12s, which is not to run", host->index,
                      container->id);
    if (live && live->checked_ms && sim_host_mono_ms(sim, host) - live->checked_ms < interval_ms)
        sim_violation(sim, "D6", "host %u checks container %.12s too soon", host->index,
                      container->id);
}

/* The rule, read once more: a success makes well at once; failures count when the start is over, or
 * once anything has been known, and so many in a row make ill. */
void sim_audit_check(struct sim *sim, struct sim_host *host, const struct sim_container *c,
                     int exit_code)
{
    const struct fl_task_container *known = fl_brain_container(host->brain, fl_str_of(c->id));
    struct sim_live *live = sim_runtime_live(host, c->key);
    if (!known || !live || known->state != FL_CONTAINER_RUNNING || known->restarts != c->run)
        return;
    const struct fl_health_check *check = &known->spec->health_check;
    bool is_starting = live->health == FL_HEALTH_UNKNOWN &&
                       sim_host_wall_ms(sim, host) < c->ran_ms + check->start_period_ms;
    live->checked_ms = sim_host_mono_ms(sim, host);
    if (exit_code == 0) {
        live->streak = 0;
        live->health = FL_HEALTH_HEALTHY;
    } else if (!is_starting && ++live->streak >= check->retries) {
        live->health = FL_HEALTH_UNHEALTHY;
    }
    if (known->health != live->health)
        sim_violation(sim, "D6", "host %u: container %.12s is of health %d, and its checks make %d",
                      host->index, c->id, (int)known->health, (int)live->health);
}

/* ---- tasks ---- */

/* As the agent has been told. */
static bool is_met(enum fl_condition condition, const struct fl_task_container *on)
{
    switch (condition) {
    case FL_WHEN_STARTED:
        return on->started_ms != 0;
    case FL_WHEN_COMPLETE:
        return on->state == FL_CONTAINER_STOPPED && on->started_ms != 0;
    case FL_WHEN_SUCCESS:
        return on->state == FL_CONTAINER_STOPPED && on->has_exit_code && on->exit_code == 0;
    case FL_WHEN_HEALTHY:
        return on->state == FL_CONTAINER_RUNNING && on->health == FL_HEALTH_HEALTHY;
    }
    return false;
}

static bool is_waiting(const struct fl_task_container *container)
{
    return container->state <= FL_CONTAINER_PULLED && container->restarts == 0 &&
           !container->cleared;
}

static bool has_reason_to_wait(const struct fl_task_container *container)
{
    for (size_t i = 0; i < tie_count(container); i++)
        if (!is_met(tie_at(container, i).condition, tied_to(container, i)))
            return true;
    return false;
}

/* Who says that a dependency has taken too long is right about it; its task may end for it. Of what
 * went with the machine nobody can tell any more. */
static void check_patience(struct sim *sim, const struct sim_host *host,
                           const struct fl_task_container *container)
{
    bool is_right = false;
    if (!fl_str_ends(container->reason, FL_STR("has timed out.")))
        return;
    for (size_t i = 0; i < container->spec->depends_on_count; i++) {
        const struct fl_task_container *on =
            fl_task_container_named(container->task, container->spec->depends_on[i].container);
        const struct sim_container *c = real_of(host, on);
        int64_t waited_ms = c ? sim_host_mono_ms(sim, host) - c->first_ms : INT64_MAX;
        is_right |= on->spec->start_timeout_s > 0 && (!c || c->first_ms != 0) &&
                    waited_ms >= on->spec->start_timeout_s * 1000;
    }
    sim_ledger_task(sim, fl_task_id(container->task->arn))->troubled = true;
    if (!is_right)
        sim_violation(sim, "D7", "host %u: container %.12s has not waited long enough", host->index,
                      container->id);
}

static void check_container(struct sim *sim, const struct sim_host *host,
                            const struct fl_task_container *container)
{
    bool is_wanted = container->task->desired_running;
    if (is_wanted && container->spec->essential && container->state == FL_CONTAINER_STOPPED)
        sim_violation(sim, "D4", "host %u: essential container %.12s has ended, its task goes on",
                      host->index, container->id);
    if (is_wanted && is_waiting(container) && !has_reason_to_wait(container))
        sim_violation(sim, "D7", "host %u: container %.12s waits for nothing", host->index,
                      container->id);
    if (!is_wanted && container->state < FL_CONTAINER_CREATED)
        sim_violation(sim, "D4", "host %u: container %.12s is still to start, its task is to end",
                      host->index, container->id);
    if (container->state == FL_CONTAINER_STOPPED)
        check_patience(sim, host, container);
}

static bool is_launched(const struct fl_task_container *container)
{
    return container->state == FL_CONTAINER_CREATED || container->state == FL_CONTAINER_RUNNING;
}

/* Of what is to end, those are told on which nobody depends any more. */
static void check_progress(struct sim *sim, const struct sim_host *host, const struct fl_task *task,
                           const struct fl_task_container *container)
{
    if (!is_launched(container) || container->stop_wanted)
        return;
    for (size_t i = 0; i < task->container_count; i++)
        if (is_launched(&task->containers[i]) &&
            depends(&task->containers[i], container->spec->name))
            return;
    sim_violation(sim, "D4", "host %u: container %.12s is to end and is not told", host->index,
                  container->id);
}

static void check_task(struct sim *sim, const struct sim_host *host, const struct fl_task *task)
{
    for (size_t i = 0; i < task->container_count; i++) {
        check_container(sim, host, &task->containers[i]);
        if (!task->desired_running)
            check_progress(sim, host, task, &task->containers[i]);
    }
    sim_ledger_task(sim, fl_task_id(task->arn))->is_ending = !task->desired_running;
}

/* ---- steps ---- */

static void check_effect(struct sim *sim, const struct sim_host *host,
                         const struct fl_effect *effect)
{
    const struct fl_task_container *container =
        effect->container_id.n ? fl_brain_container(host->brain, effect->container_id) : NULL;
    if (!container)
        return;
    switch (effect->type) {
    case FL_EFFECT_PREPARE:
        check_restart(sim, host, container);
        check_start(sim, host, container);
        return;
    case FL_EFFECT_ENSURE_IMAGE:
        if (!sim_host_pulls_upfront(host))
            check_start(sim, host, container);
        return;
    case FL_EFFECT_LAUNCH:
        check_start(sim, host, container);
        return;
    case FL_EFFECT_SIGNAL:
        check_signal(sim, host, container, effect->number);
        return;
    case FL_EFFECT_CHECK_HEALTH:
        check_checking(sim, host, container);
        return;
    case FL_EFFECT_ADOPT:
    case FL_EFFECT_RELEASE:
    case FL_EFFECT_REPORT:
    case FL_EFFECT_ACK:
    case FL_EFFECT_STOP_VERIFICATION:
    case FL_EFFECT_REMOVE:
        return;
    }
}

void sim_audit_effects(struct sim *sim, struct sim_host *host, const struct fl_effect *from)
{
    struct fl_str last = {0};
    for (const struct fl_effect *effect = from; effect; effect = effect->next)
        check_effect(sim, host, effect);
    for (const struct fl_effect *effect = from; effect; effect = effect->next) {
        const struct fl_task *task = effect->task_arn.n && !fl_str_eq(effect->task_arn, last)
                                         ? fl_brain_task(host->brain, effect->task_arn)
                                         : NULL;
        last = effect->task_arn;
        if (task)
            check_task(sim, host, task);
    }
}

void sim_audit_boot(struct sim *sim, struct sim_host *host)
{
    for (const struct fl_task *t = NULL; (t = fl_brain_next_task(host->brain, t));) {
        sim_ledger_task(sim, fl_task_id(t->arn))->is_ending = !t->desired_running;
        for (size_t i = 0; i < t->container_count; i++) {
            struct sim_container *c = real_of(host, &t->containers[i]);
            if (c && !t->containers[i].stop_wanted) /* what told it to is forgotten */
                c->term_ms = 0;
        }
    }
}

/* ---- now and then ---- */

static void check_waiting(struct sim *sim, const struct sim_host *host,
                          const struct fl_task_container *container, int64_t now_ms)
{
    const struct fl_container_spec *spec = container->spec;
    for (size_t i = 0; is_waiting(container) && i < spec->depends_on_count; i++) {
        const struct fl_task_container *on =
            fl_task_container_named(container->task, spec->depends_on[i].container);
        const struct sim_container *c = real_of(host, on);
        if (spec->depends_on[i].condition != FL_WHEN_STARTED && on->spec->start_timeout_s > 0 &&
            on->started_ms != 0 && c && !is_met(spec->depends_on[i].condition, on) &&
            now_ms - c->told_ms > on->spec->start_timeout_s * 1000 + PATIENCE_MS)
            sim_violation(sim, "D7", "host %u: container %.12s waits too long", host->index,
                          container->id);
    }
}

static void check_checked(struct sim *sim, const struct sim_host *host,
                          const struct fl_task_container *container, int64_t now_ms)
{
    const struct fl_health_check *check = &container->spec->health_check;
    const struct sim_live *live = sim_runtime_live(host, sim_key(fl_str_of(container->id)));
    if (check->test_count == 0 || container->state != FL_CONTAINER_RUNNING ||
        container->stop_wanted || !live || live->checked_ms == 0)
        return;
    if (now_ms - live->checked_ms > check->interval_ms + check->timeout_ms + SLACK_MS)
        sim_violation(sim, "D6", "host %u: container %.12s is not checked any more", host->index,
                      container->id);
}

void sim_audit_overdue(struct sim *sim, const struct sim_host *host)
{
    int64_t awake_us = sim->now_us - FL_MAX(host->started_us, host->frozen_us);
    if (!host->up || awake_us < PATIENCE_MS * SIM_MS)
        return;
    int64_t now_ms = sim_host_mono_ms(sim, host);
    for (const struct fl_task *t = NULL; (t = fl_brain_next_task(host->brain, t));)
        for (size_t i = 0; t->desired_running && i < t->container_count; i++) {
            check_waiting(sim, host, &t->containers[i], now_ms);
            if (awake_us > SLACK_MS * SIM_MS)
                check_checked(sim, host, &t->containers[i], now_ms);
        }
}
