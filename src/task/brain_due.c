/* Which task is due next: a heap of all tasks by the time when their timer is to come, so that a
 * turn on a host of a thousand idle containers looks at one of them. */
#include "task/brain_impl.h"

static int64_t container_due(const struct fl_task_container *container)
{
    const int64_t dues[] = {container->kill_due_ms, container->check_due_ms,
                            container->start_due_ms};
    int64_t due_ms = INT64_MAX;
    for (size_t i = 0; i < FL_ARRAY_SIZE(dues); i++)
        if (dues[i] != 0)
            due_ms = FL_MIN(due_ms, dues[i]);
    return due_ms;
}

static int64_t task_due(const struct fl_task *task)
{
    int64_t due_ms = task->cleanup_due_ms ? task->cleanup_due_ms : INT64_MAX;
    for (size_t i = 0; i < task->container_count; i++)
        due_ms = FL_MIN(due_ms, container_due(&task->containers[i]));
    return due_ms;
}

static void put(struct fl_brain *brain, size_t at, struct fl_task *task)
{
    brain->due[at] = task;
    task->due_index = at;
}

static void sift_up(struct fl_brain *brain, struct fl_task *task)
{
    size_t at = task->due_index;
    for (; at > 0 && task->due_ms < brain->due[(at - 1) / 2]->due_ms; at = (at - 1) / 2)
        put(brain, at, brain->due[(at - 1) / 2]);
    put(brain, at, task);
}

static void sift_down(struct fl_brain *brain, struct fl_task *task)
{
    size_t at = task->due_index, child;
    for (; (child = 2 * at + 1) < brain->due_count; at = child) {
        if (child + 1 < brain->due_count &&
            brain->due[child + 1]->due_ms < brain->due[child]->due_ms)
            child++;
        if (brain->due[child]->due_ms >= task->due_ms)
            break;
        put(brain, at, brain->due[child]);
    }
    put(brain, at, task);
}

static void place(struct fl_brain *brain, struct fl_task *task, int64_t due_ms)
{
    task->due_ms = due_ms;
    sift_up(brain, task);
    sift_down(brain, task);
}

void fl_brain_due_add(struct fl_brain *brain, struct fl_task *task)
{
    if (brain->due_count == brain->due_cap) {
        brain->due_cap = FL_MAX(2 * brain->due_cap, (size_t)64);
        brain->due = fl_realloc(brain->due, brain->due_cap * sizeof(struct fl_task *));
    }
    put(brain, brain->due_count++, task);
    place(brain, task, task_due(task));
}

void fl_brain_due_remove(struct fl_brain *brain, struct fl_task *task)
{
    struct fl_task *last = brain->due[--brain->due_count];
    if (last == task)
        return;
    put(brain, task->due_index, last);
    place(brain, last, last->due_ms);
}

void fl_brain_due_changed(struct fl_brain *brain, struct fl_task *task)
{
    int64_t due_ms = task_due(task);
    if (due_ms != task->due_ms)
        place(brain, task, due_ms);
}

struct fl_task *fl_brain_due_first(const struct fl_brain *brain)
{
    return brain->due_count > 0 ? brain->due[0] : NULL;
}
