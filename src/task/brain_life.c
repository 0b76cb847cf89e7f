/* How containers and tasks come to their end, and what is reported of them. */
#include "task/brain_impl.h"
#include "task/report.h"

/* A SIGKILL or a removal that had no effect is repeated after these. */
enum { KILL_AGAIN_MS = 10 * 1000, REMOVE_AGAIN_MS = 60 * 1000 };

static int64_t stop_timeout_ms(const struct fl_step *step,
                               const struct fl_task_container *container)
{
    int64_t seconds = container->spec->stop_timeout_s;
    int64_t timeout_ms = seconds >= 0 ? seconds * 1000 : step->brain->config.stop_timeout_ms;
    return FL_BUG(54, timeout_ms / 2, timeout_ms);
}

static void signal_container(struct fl_step *step, const struct fl_task_container *container,
                             int number)
{
    fl_brain_emit_container(step, FL_EFFECT_SIGNAL, container);
    step->turn->last->number = number;
}

/* An image that was made ready and for which nothing more has been asked. */
static void give_back_image(struct fl_step *step, struct fl_task_container *container)
{
    if (container->state == FL_CONTAINER_PULLED && container->image_ready && !container->cleared)
        fl_brain_emit_container(step, FL_EFFECT_RELEASE, container);
}

void fl_brain_stop_container(struct fl_step *step, struct fl_task_container *container)
{
    switch (container->state) {
    case FL_CONTAINER_NONE:
    case FL_CONTAINER_PULLED:
        container->has_exit_code = container->restarts > 0; /* of its last run */
        container->start_due_ms = 0;
        give_back_image(step, container);
        fl_container_move(container, FL_CONTAINER_STOPPED);
        break;
    case FL_CONTAINER_CREATED:
        container->stop_wanted = true;
        break;
    case FL_CONTAINER_RUNNING:
        if (container->stop_wanted)
            break;
        container->stop_wanted = true;
        container->kill_due_ms =
            FL_BUG(23, 0, step->event->now_ms + stop_timeout_ms(step, container));
        signal_container(step, container, container->stop_signal);
        if (FL_BUG(27, true, false))
            fl_brain_emit_container(step, FL_EFFECT_RELEASE, container);
        break;
    case FL_CONTAINER_STOPPED:
        break;
    }
}

void fl_brain_stop_task(struct fl_step *step, struct fl_task *task)
{
    task->desired_running = false;
    fl_brain_stop_in_order(step, task);
}

void fl_brain_container_stopped(struct fl_step *step, struct fl_task_container *container)
{
    struct fl_task *task = container->task;
    bool was_running = container->state == FL_CONTAINER_RUNNING;
    give_back_image(step, container);
    fl_container_move(container, FL_CONTAINER_STOPPED);
    container->kill_due_ms = 0;
    container->stop_wanted = false;
    container->check_due_ms = 0;
    container->start_due_ms = 0;
    if (container->launched)
        fl_brain_emit_container(step, FL_EFFECT_RELEASE, container);
    if (was_running && container->spec->essential && task->execution_stopped_ms == 0)
        task->execution_stopped_ms =
            container->finished_ms ? container->finished_ms : step->event->wall_ms;
    if (FL_BUG(55, was_running, true) && container->spec->essential && task->desired_running)
        fl_brain_stop_task(step, task);
    else if (task->desired_running && (task->status == FL_TASK_RUNNING || fl_brain_has_order(task)))
        task->change_seq++;
}

void fl_brain_container_failed(struct fl_step *step, struct fl_task_container *container,
                               struct fl_str reason)
{
    container->reason = reason;
    if (container->spec->essential && container->task->reason.n == 0)
        container->task->reason = reason;
    fl_brain_container_stopped(step, container);
}

void fl_brain_task_failed(struct fl_step *step, struct fl_task_container *container,
                          struct fl_str reason)
{
    struct fl_task *task = container->task;
    if (task->reason.n == 0)
        task->reason = reason;
    fl_brain_container_failed(step, container, reason);
    if (task->desired_running)
        fl_brain_stop_task(step, task);
}

static bool all_started(const struct fl_task *task)
{
    for (size_t i = 0; i < task->container_count; i++)
        if (task->containers[i].state < FL_CONTAINER_RUNNING && task->containers[i].restarts == 0)
            return false;
    return true;
}

static void change_status(struct fl_task *task, enum fl_task_status to)
{
    fl_task_move(task, to);
    task->change_seq++;
}

void fl_brain_settle(struct fl_step *step, struct fl_task *task)
{
    if (task->status == FL_TASK_STOPPED)
        return;
    fl_brain_mark(step->brain, task);
    fl_brain_start_in_order(step, task);
    if (FL_BUG(56, false, !task->desired_running))
        fl_brain_stop_in_order(step, task);
    if (fl_task_all_stopped(task)) {
        task->desired_running = false;
        change_status(task, FL_TASK_STOPPED);
    } else if (task->status == FL_TASK_PENDING && task->desired_running && all_started(task)) {
        change_status(task, FL_TASK_RUNNING);
    }
    fl_brain_report(step, task);
}

/* One report per task is under way at a time; what changes meanwhile goes into the next one. */
void fl_brain_report(struct fl_step *step, struct fl_task *task)
{
    if (task->sent_seq != 0 || task->acked_seq == task->change_seq)
        return;
    task->sent_seq = task->change_seq;
    struct fl_effect *effect = fl_brain_emit(step, FL_EFFECT_REPORT);
    effect->task_arn = fl_str_dup(step->turn->arena, task->arn);
    effect->number = task->change_seq;
    const struct fl_brain_taker *taker = step->turn->taker;
    struct ecs_SubmitTaskStateChangeRequest report =
        fl_report_make(task, step->brain->config.report_ipv6, step->turn->arena);
    if (taker)
        effect->object = taker->report(taker->context, &report);
    else
        effect->text = fl_report_write(&report, step->turn->arena);
}

/* Who waited for one of these has given up, once the task is settled. */
static void end_patience(struct fl_step *step, struct fl_task *task)
{
    bool is_due = false;
    for (size_t i = 0; i < task->container_count; i++)
        is_due |= task->containers[i].start_due_ms != 0 &&
                  task->containers[i].start_due_ms <= step->event->now_ms;
    if (!is_due)
        return;
    fl_brain_settle(step, task);
    for (size_t i = 0; i < task->container_count; i++)
        if (task->containers[i].start_due_ms <= step->event->now_ms)
            task->containers[i].start_due_ms = 0;
}

void fl_brain_task_timer(struct fl_step *step, struct fl_task *task)
{
    int64_t now_ms = step->event->now_ms;
    for (size_t i = 0; i < task->container_count; i++) {
        struct fl_task_container *container = &task->containers[i];
        if (container->kill_due_ms == 0 || container->kill_due_ms > now_ms)
            continue;
        container->kill_due_ms = now_ms + KILL_AGAIN_MS;
        signal_container(step, container, KILL_SIGNAL);
        fl_brain_mark(step->brain, task);
    }
    end_patience(step, task);
    for (size_t i = 0; i < task->container_count; i++)
        fl_brain_health_timer(step, &task->containers[i]);
    if (task->cleanup_due_ms == 0 || task->cleanup_due_ms > now_ms)
        return;
    task->cleanup_due_ms = now_ms + REMOVE_AGAIN_MS;
    fl_brain_mark(step->brain, task);
    fl_brain_emit(step, FL_EFFECT_REMOVE)->task_arn = fl_str_dup(step->turn->arena, task->arn);
}
