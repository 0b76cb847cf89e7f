/* In which order containers start and stop: nothing is made ready before what it depends on is as
 * it asks for, nothing that was launched is stopped before those that depend on it have ended. */
#include "task/brain_impl.h"

/* What the ECS agent gives a container that its dependencies keep from starting. */
enum { NEVER_STARTED_EXIT_CODE = 143 };

enum verdict { MET, WAITING, NEVER };

/* The sentences and the way containers are shown in them are the ECS agent's (all but the one about
 * health, for which it waits for ever). */
#define UNRESOLVED                                                                                 \
    "dependency graph: failed to resolve container ordering dependency [%s] for target [%s] "

static const char *describe(struct fl_arena *arena, const struct fl_task_container *c)
{
    bool wanted = c->task->desired_running && !c->stop_wanted && c->state != FL_CONTAINER_STOPPED;
    struct fl_str exit_code = {0};
    if (c->has_exit_code)
        exit_code = fl_str_printf(arena, " - Exit: %d", c->exit_code);
    return fl_str_printf(arena, "%.*s(%.*s) (%s->%s)%.*s", FL_STR_ARG(c->spec->name),
                         FL_STR_ARG(c->spec->image), fl_container_state_name(c->state),
                         wanted ? "RUNNING" : "STOPPED", FL_STR_ARG(exit_code))
        .p;
}

static struct fl_str linked(struct fl_str link)
{
    ptrdiff_t colon = fl_str_index(link, ':');
    return colon < 0 ? link : fl_str_sub(link, 0, (size_t)colon);
}

static size_t dependency_count(const struct fl_task_container *container)
{
    const struct fl_container_spec *spec = container->spec;
    return spec->depends_on_count + spec->link_count + spec->volumes_from_count;
}

/* Number i: who links to another or borrows its volumes depends on its start. NULL when the task
 * has no such container, which is for its launch to say. */
static const struct fl_task_container *dependency_at(const struct fl_task_container *container,
                                                     size_t i, enum fl_condition *ret_condition)
{
    const struct fl_container_spec *spec = container->spec;
    struct fl_str name;
    *ret_condition = FL_WHEN_STARTED;
    if (i < spec->depends_on_count) {
        *ret_condition = spec->depends_on[i].condition;
        name = spec->depends_on[i].container;
    } else if (i < spec->depends_on_count + spec->link_count) {
        name = linked(spec->links[i - spec->depends_on_count]);
    } else {
        name = spec->volumes_from[i - spec->depends_on_count - spec->link_count].source_container;
    }
    return fl_task_container_named(container->task, name);
}

static bool has_timed_out(const struct fl_step *step, const struct fl_task_container *on)
{
    return FL_BUG(47, false,
                  on->state != FL_CONTAINER_STOPPED && on->start_due_ms != 0 &&
                      on->start_due_ms <= step->event->now_ms);
}

/* Why the condition can never be met any more; NULL while it can. */
static const char *why_never(const struct fl_step *step, enum fl_condition condition,
                             const struct fl_task_container *on)
{
    bool has_ended = on->state == FL_CONTAINER_STOPPED;
    if (condition != FL_WHEN_STARTED && has_timed_out(step, on))
        return "dependency graph: container ordering dependency [%s] for target [%s] has timed "
               "out.";
    if (FL_BUG(37, false, condition == FL_WHEN_SUCCESS) && has_ended &&
        !(on->has_exit_code && on->exit_code == 0))
        return UNRESOLVED "as dependency did not exit successfully.";
    if (has_ended && on->started_ms == 0)
        return UNRESOLVED "because dependency will never start";
    if (condition == FL_WHEN_HEALTHY && has_ended)
        return UNRESOLVED "as dependency exited before it was healthy.";
    return NULL;
}

static bool is_met(enum fl_condition condition, const struct fl_task_container *on)
{
    switch (condition) {
    case FL_WHEN_STARTED:
        return on->started_ms != 0;
    case FL_WHEN_COMPLETE:
    case FL_WHEN_SUCCESS:
        return on->state == FL_CONTAINER_STOPPED || FL_BUG(48, on->restarts > 0, false);
    case FL_WHEN_HEALTHY:
        return on->state == FL_CONTAINER_RUNNING &&
               FL_BUG(36, true, on->health == FL_HEALTH_HEALTHY);
    }
    return false;
}

static void fail(struct fl_step *step, struct fl_task_container *target,
                 const struct fl_task_container *on, const char *why)
{
    struct fl_arena *arena = target->task->arena;
    const char *dependency = describe(arena, on);
    struct fl_buf text = FL_BUF_INIT(4096);
    fl_buf_add_z(&text, "CannotStartContainerError: ");
    for (const char *at = why; *at; at++) {
        if (at[0] == '%' && at[1] == 's') {
            fl_buf_add_z(&text, dependency);
            dependency = describe(arena, target);
            at++;
        } else {
            fl_buf_add(&text, at, 1);
        }
    }
    struct fl_str reason = fl_str_dup(arena, fl_buf_str(&text));
    fl_buf_free(&text);
    target->has_exit_code = true;
    target->exit_code = NEVER_STARTED_EXIT_CODE;
    fl_brain_container_failed(step, target, reason);
}

/* Whether the target may start; when it never will, it has failed. */
static enum verdict judge(struct fl_step *step, struct fl_task_container *target)
{
    enum verdict verdict = MET;
    for (size_t i = 0; i < dependency_count(target); i++) {
        enum fl_condition condition;
        const struct fl_task_container *on = dependency_at(target, i, &condition);
        const char *why = on ? why_never(step, condition, on) : NULL;
        if (why) {
            fail(step, target, on, why);
            return NEVER;
        }
        if (on && !is_met(condition, on))
            verdict = WAITING;
    }
    return verdict;
}

void fl_brain_ask_image(struct fl_step *step, struct fl_task_container *container)
{
    container->asked = true;
    fl_brain_emit_container(step, FL_EFFECT_ENSURE_IMAGE, container);
}

static void clear(struct fl_step *step, struct fl_task_container *container)
{
    container->cleared = true;
    if (!container->asked)
        fl_brain_ask_image(step, container);
    else if (container->state == FL_CONTAINER_PULLED && container->image_ready)
        fl_brain_emit_container(step, FL_EFFECT_PREPARE, container);
}

static bool is_held_back(const struct fl_task_container *container)
{
    return !container->cleared && container->restarts == 0 &&
           container->state <= FL_CONTAINER_PULLED;
}

/* One that fails may take the next one with it, and an essential one the task. */
void fl_brain_start_in_order(struct fl_step *step, struct fl_task *task)
{
    for (size_t i = 0; i < task->container_count && task->desired_running; i++) {
        struct fl_task_container *container = &task->containers[i];
        if (!is_held_back(container))
            continue;
        enum verdict verdict = judge(step, container);
        if (verdict == MET)
            clear(step, container);
        else if (verdict == NEVER)
            i = SIZE_MAX; /* from the first one again */
    }
}

static bool is_launched(const struct fl_task_container *container)
{
    return container->state == FL_CONTAINER_CREATED || container->state == FL_CONTAINER_RUNNING;
}

static bool has_live_dependant(const struct fl_task_container *container)
{
    const struct fl_task *task = container->task;
    for (size_t i = 0; i < task->container_count; i++) {
        const struct fl_task_container *other = &task->containers[i];
        enum fl_condition condition;
        for (size_t k = 0; is_launched(other) && k < dependency_count(other); k++)
            if (FL_BUG(38, NULL, dependency_at(other, k, &condition)) == container)
                return true;
    }
    return false;
}

void fl_brain_stop_in_order(struct fl_step *step, struct fl_task *task)
{
    for (size_t i = 0; i < task->container_count; i++)
        if (!is_launched(&task->containers[i]))
            fl_brain_stop_container(step, &task->containers[i]);
    for (size_t i = 0; i < task->container_count; i++)
        if (is_launched(&task->containers[i]) && !has_live_dependant(&task->containers[i]))
            fl_brain_stop_container(step, &task->containers[i]);
}

bool fl_brain_has_order(const struct fl_task *task)
{
    for (size_t i = 0; i < task->container_count; i++)
        if (dependency_count(&task->containers[i]) > 0)
            return true;
    return false;
}
