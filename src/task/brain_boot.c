/* After a restart: everything that was under way is derived from the records again.
 *
 * If the host was restarted meanwhile, no container of ours lives; else every launched one is
 * adopted, and the rest begins anew. */
#include "task/brain_impl.h"

#define RESTARTED FL_STR("The host was restarted.")

/* One whose image was ready had been cleared to start, unless images are made ready before. */
static void resume_preparing(struct fl_step *step, struct fl_task_container *container)
{
    bool upfront = step->brain->config.pull_upfront;
    if (container->restarts > 0) {
        fl_brain_emit_container(step, FL_EFFECT_PREPARE, container);
        return;
    }
    container->cleared = container->state == FL_CONTAINER_PULLED && !upfront;
    if (container->cleared || upfront)
        fl_brain_ask_image(step, container);
}

static void resume_container(struct fl_step *step, struct fl_task_container *container)
{
    switch (container->state) {
    case FL_CONTAINER_NONE:
    case FL_CONTAINER_PULLED:
        resume_preparing(step, container);
        break;
    case FL_CONTAINER_CREATED:
        fl_brain_emit_container(step, FL_EFFECT_ADOPT, container);
        break;
    case FL_CONTAINER_RUNNING:
        if (!FL_BUG(18, true, false))
            fl_brain_emit_container(step, FL_EFFECT_ADOPT, container);
        fl_brain_health_resume(step, container);
        if (!container->stop_wanted)
            break;
        fl_brain_emit_container(step, FL_EFFECT_SIGNAL, container);
        step->turn->last->number = container->stop_signal;
        break;
    case FL_CONTAINER_STOPPED:
        break;
    }
}

static void host_restarted(struct fl_step *step, struct fl_task *task)
{
    for (size_t i = 0; i < task->container_count; i++)
        if (task->containers[i].state != FL_CONTAINER_STOPPED)
            fl_brain_container_failed(step, &task->containers[i], RESTARTED);
}

/* A removal that was asked for and lost is not put off for longer than a new one; the clock of
 * another boot means nothing. */
static void resume_cleanup(struct fl_step *step, struct fl_task *task)
{
    if (task->cleanup_due_ms == 0)
        return;
    task->cleanup_due_ms =
        FL_MIN(task->cleanup_due_ms, step->event->now_ms + fl_brain_cleanup_ms(step->brain, task));
    fl_brain_mark(step->brain, task);
}

static void boot_task(struct fl_step *step, struct fl_task *task, bool same_boot)
{
    task->sent_seq = 0;
    resume_cleanup(step, task);
    if (!same_boot)
        host_restarted(step, task);
    else
        for (size_t i = 0; i < task->container_count; i++)
            resume_container(step, &task->containers[i]);
    fl_brain_settle(step, task);
    fl_brain_report(step, task);
    fl_brain_due_changed(step->brain, task);
}

void fl_brain_boot(struct fl_step *step)
{
    struct fl_brain *brain = step->brain;
    struct fl_str boot_id = step->event->boot.boot_id;
    bool same_boot = FL_BUG(19, false, fl_str_eq(brain->host.boot_id, boot_id));
    struct fl_task *task, *next;
    HASH_ITER(hh, brain->tasks, task, next)
    {
        boot_task(step, task, same_boot);
    }
    if (same_boot)
        return;
    brain->host.boot_id = fl_str_dup(brain->arena, boot_id);
    brain->host_dirty = true;
}

static void launch_anew(struct fl_step *step, struct fl_task_container *container)
{
    container->cleared = true;
    if (container->restarts > 0)
        fl_brain_emit_container(step, FL_EFFECT_PREPARE, container);
    else
        fl_brain_ask_image(step, container);
}

void fl_brain_gone(struct fl_step *step, struct fl_task_container *container)
{
    switch (container->state) {
    case FL_CONTAINER_CREATED:
        fl_brain_emit_container(step, FL_EFFECT_RELEASE, container);
        container->launched = container->restarts > 0;
        fl_container_move(container,
                          container->restarts > 0 ? FL_CONTAINER_PULLED : FL_CONTAINER_NONE);
        if (container->stop_wanted || !container->task->desired_running)
            fl_brain_container_stopped(step, container);
        else
            launch_anew(step, container);
        break;
    case FL_CONTAINER_RUNNING:
        fl_brain_container_failed(
            step, container,
            FL_STR("ContainerVanishedError: No container matching saved ID found"));
        break;
    case FL_CONTAINER_NONE:
    case FL_CONTAINER_PULLED:
    case FL_CONTAINER_STOPPED:
        break;
    }
}
