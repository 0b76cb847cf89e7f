/* What the control plane orders: payloads, manifests, stop lists.
 *
 * A sequence number carries its server's epoch; an epoch below the highest seen belongs to a
 * server that has been replaced, and is not obeyed. */
#include "task/brain_impl.h"

/* The sentence in front of what decoding said is the ECS agent's, misspelling included. */
static const char unreadable[] = "UnrecogniedTaskError: Error loading task - ";
static const char lost[] = "The host has no record of the task: it ended since the control plane's "
                           "records were made.";

static bool outdated(const struct fl_brain *brain, int64_t seq)
{
    return FL_BUG(6, false, fl_acs_seq_epoch(seq) < fl_acs_seq_epoch(brain->host.seq));
}

static void note_seq(struct fl_brain *brain, int64_t seq)
{
    if (seq <= brain->host.seq)
        return;
    brain->host.seq = seq;
    brain->host_dirty = true;
}

static void acknowledge(struct fl_step *step, const struct fl_acs_header *header)
{
    struct fl_arena *arena = step->turn->arena;
    fl_brain_emit(step, FL_EFFECT_ACK)->header = (struct fl_acs_header){
        .cluster_arn = fl_str_dup(arena, header->cluster_arn),
        .instance_arn = fl_str_dup(arena, header->instance_arn),
        .message_id = fl_str_dup(arena, header->message_id),
    };
}

static void make_id(struct fl_rand *rand, char ret_id[FL_CONTAINER_ID_SIZE])
{
    uint64_t words[4];
    for (size_t i = 0; i < FL_ARRAY_SIZE(words); i++)
        words[i] = fl_rand_u64(rand);
    fl_hex(words, sizeof(words), ret_id);
}

static void accept_task(struct fl_step *step, const struct fl_brain_order *order,
                        struct fl_rand *rand)
{
    struct fl_err err = {0};
    struct fl_task *task = fl_task_new(order->arn, order->cluster_arn);
    if (order->spec && fl_task_set_spec(task, order->spec, FL_BRAIN_MAX_SPEC, &err) == 0)
        task->desired_running = order->spec->desired_running;
    else
        task->reason = fl_str_printf(
            task->arena, "%s%.*s", unreadable,
            FL_STR_ARG(order->spec ? fl_str_of(err.text) : fl_str_sub(order->error, 0, 900)));
    for (size_t i = 0; i < task->container_count; i++)
        make_id(rand, task->containers[i].id);
    fl_brain_insert(step->brain, task);
    for (size_t i = 0; i < task->container_count; i++)
        if (task->desired_running && step->brain->config.pull_upfront)
            fl_brain_ask_image(step, &task->containers[i]);
    if (!task->desired_running)
        fl_brain_stop_task(step, task);
    fl_brain_settle(step, task);
    fl_brain_due_changed(step->brain, task);
}

/* Who gives orders about a task whose end it has acknowledged has forgotten that: it is told again.
 */
static void repeat_end(struct fl_step *step, struct fl_task *task)
{
    if (task->acked_seq == task->change_seq)
        task->change_seq++;
    task->cleanup_due_ms = 0;
    fl_brain_mark(step->brain, task);
    fl_brain_report(step, task);
    fl_brain_due_changed(step->brain, task);
}

static void obey(struct fl_step *step, const struct fl_brain_order *order, struct fl_rand *rand)
{
    struct fl_task *task = fl_brain_find(step->brain, order->arn);
    if (!task) {
        accept_task(step, order, rand);
    } else if (task->status == FL_TASK_STOPPED) {
        repeat_end(step, task);
    } else if (order->spec && !order->spec->desired_running && task->desired_running &&
               FL_BUG(20, task->status == FL_TASK_RUNNING, true)) {
        fl_brain_stop_task(step, task);
        fl_brain_settle(step, task);
        fl_brain_due_changed(step->brain, task);
    }
}

bool fl_brain_payload(struct fl_step *step)
{
    struct fl_brain *brain = step->brain;
    const struct fl_brain_event *event = step->event;
    size_t count = event->payload.order_count;
    if (outdated(brain, event->payload.header.seq) ||
        HASH_COUNT(brain->tasks) + count > FL_BRAIN_MAX_TASKS)
        return false;
    struct fl_rand rand;
    fl_rand_seed(&rand, event->random);
    note_seq(brain, event->payload.header.seq);
    for (int running = 0; running <= 1; running++)
        for (size_t i = 0; i < count; i++) {
            const struct fl_brain_order *order = &event->payload.orders[i];
            if ((order->spec && order->spec->desired_running) == running)
                obey(step, order, &rand);
        }
    acknowledge(step, &event->payload.header);
    return true;
}

static bool listed_running(const struct fl_brain_event *event, struct fl_str arn)
{
    for (size_t i = 0; i < event->list.task_count; i++)
        if (event->list.tasks[i].desired_running && fl_str_eq(event->list.tasks[i].arn, arn))
            return true;
    return false;
}

static size_t find_candidates(struct fl_step *step, struct fl_acs_task *ret_tasks)
{
    size_t count = 0;
    struct fl_arena *arena = step->turn->arena;
    for (const struct fl_task *task = step->brain->tasks; task; task = task->hh.next)
        if (task->desired_running && !listed_running(step->event, task->arn))
            ret_tasks[count++] = (struct fl_acs_task){
                .arn = fl_str_dup(arena, task->arn),
                .cluster_arn = fl_str_dup(arena, task->cluster_arn),
            };
    return count;
}

/* The control plane believes that it runs here, and we have no record of it. */
static void disown(struct fl_step *step, const struct fl_acs_task *listed)
{
    struct fl_task *task = fl_task_new(listed->arn, listed->cluster_arn);
    task->reason = fl_str_of(lost);
    fl_brain_insert(step->brain, task);
    fl_brain_settle(step, task);
}

/* Who lists a task whose end it has acknowledged is a control plane whose records went back in
 * time: one that was restored from a backup. It is told of the end again, as long as we remember
 * it, and then that there was one. */
static void correct(struct fl_step *step)
{
    for (size_t i = 0; i < step->event->list.task_count; i++) {
        const struct fl_acs_task *listed = &step->event->list.tasks[i];
        struct fl_task *task = fl_brain_find(step->brain, listed->arn);
        if (task && task->status == FL_TASK_STOPPED)
            repeat_end(step, task);
        else if (!task && listed->is_running && HASH_COUNT(step->brain->tasks) < FL_BRAIN_MAX_TASKS)
            disown(step, listed);
    }
}

bool fl_brain_manifest(struct fl_step *step)
{
    struct fl_brain *brain = step->brain;
    const struct fl_acs_header *header = &step->event->list.header;
    if (outdated(brain, header->seq) || header->seq <= brain->host.seq)
        return false;
    note_seq(brain, header->seq);
    acknowledge(step, header);
    correct(step);
    struct fl_acs_task *tasks =
        fl_arena_new_array(step->turn->arena, struct fl_acs_task, HASH_COUNT(brain->tasks));
    size_t count = find_candidates(step, tasks);
    brain->manifest_id.n = 0;
    if (count == 0)
        return true;
    size_t n = FL_MIN(header->message_id.n, sizeof(brain->manifest_bytes));
    memcpy(brain->manifest_bytes, header->message_id.p, n);
    brain->manifest_id = (struct fl_str){brain->manifest_bytes, n};
    struct fl_effect *effect = fl_brain_emit(step, FL_EFFECT_STOP_VERIFICATION);
    effect->header.message_id = fl_str_dup(step->turn->arena, header->message_id);
    effect->tasks = tasks;
    effect->task_count = count;
    return true;
}

void fl_brain_stop_list(struct fl_step *step)
{
    struct fl_brain *brain = step->brain;
    const struct fl_brain_event *event = step->event;
    if (brain->manifest_id.n == 0 || !fl_str_eq(brain->manifest_id, event->list.header.message_id))
        return;
    brain->manifest_id.n = 0;
    for (size_t i = 0; i < event->list.task_count; i++) {
        struct fl_task *task = fl_brain_find(brain, event->list.tasks[i].arn);
        if (!task || !task->desired_running)
            continue;
        fl_brain_stop_task(step, task);
        fl_brain_settle(step, task);
        fl_brain_due_changed(step->brain, task);
    }
}
