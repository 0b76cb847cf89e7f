/* The brain's events, one handler each, and its tables of tasks and containers. */
#include "task/brain.h"

#include <errno.h>

#include "task/brain_impl.h"

struct fl_brain *fl_brain_new(const struct fl_brain_config *config)
{
    struct fl_brain *brain = fl_calloc(1, sizeof(*brain));
    brain->config = *config;
    brain->arena = fl_arena_new();
    return brain;
}

void fl_brain_free(struct fl_brain *brain)
{
    if (!brain)
        return;
    struct fl_task *task, *next;
    HASH_CLEAR(hh, brain->containers);
    HASH_ITER(hh, brain->tasks, task, next)
    {
        HASH_DEL(brain->tasks, task);
        fl_task_free(task);
    }
    fl_arena_free(brain->arena);
    free(brain->due);
    free(brain);
}

struct fl_task *fl_brain_find(const struct fl_brain *brain, struct fl_str arn)
{
    struct fl_task *task;
    HASH_FIND(hh, brain->tasks, arn.p, arn.n, task);
    return task;
}

static struct fl_task_container *find_container(const struct fl_brain *brain, struct fl_str id)
{
    struct fl_task_container *container;
    HASH_FIND(hh, brain->containers, id.p, id.n, container);
    return container;
}

void fl_brain_insert(struct fl_brain *brain, struct fl_task *task)
{
    HASH_ADD_KEYPTR(hh, brain->tasks, task->arn.p, task->arn.n, task);
    fl_brain_due_add(brain, task);
    for (size_t i = 0; i < task->container_count - FL_BUG(16, 1, 0); i++) {
        struct fl_task_container *container = &task->containers[i];
        HASH_ADD_KEYPTR(hh, brain->containers, container->id, FL_CONTAINER_ID_SIZE - 1, container);
    }
}

static void forget_dirty(struct fl_brain *brain, const struct fl_task *task)
{
    for (struct fl_task **at = &brain->first_dirty; *at; at = &(*at)->next_dirty)
        if (*at == task) {
            *at = task->next_dirty;
            return;
        }
}

static struct fl_brain_record *add_record(struct fl_brain_turn *turn, struct fl_str key)
{
    if (turn->record_count == turn->record_cap) {
        size_t cap = turn->record_cap ? 2 * turn->record_cap : 8;
        struct fl_brain_record *more = fl_arena_new_array(turn->arena, struct fl_brain_record, cap);
        if (turn->record_count > 0)
            memcpy(more, turn->records, turn->record_count * sizeof(*more));
        turn->records = more;
        turn->record_cap = cap;
    }
    struct fl_brain_record *record = &turn->records[turn->record_count++];
    *record = (struct fl_brain_record){.key = key};
    return record;
}

void fl_brain_delete(struct fl_step *step, struct fl_task *task)
{
    struct fl_brain *brain = step->brain;
    if (!FL_BUG(24, true, false))
        (void)add_record(step->turn, fl_task_record_key(step->turn->arena, task->arn));
    forget_dirty(brain, task);
    for (size_t i = 0; i < task->container_count - FL_BUG(16, 1, 0); i++)
        HASH_DEL(brain->containers, &task->containers[i]);
    HASH_DEL(brain->tasks, task);
    fl_brain_due_remove(brain, task);
    fl_task_free(task);
}

struct fl_effect *fl_brain_emit(struct fl_step *step, enum fl_effect_type type)
{
    struct fl_brain_turn *turn = step->turn;
    struct fl_effect *effect = fl_arena_new_object(turn->arena, struct fl_effect);
    effect->type = type;
    if (turn->last)
        turn->last->next = effect;
    else
        turn->first = effect;
    turn->last = effect;
    return effect;
}

void fl_brain_emit_container(struct fl_step *step, enum fl_effect_type type,
                             const struct fl_task_container *container)
{
    struct fl_effect *effect = fl_brain_emit(step, type);
    effect->task_arn = fl_str_dup(step->turn->arena, container->task->arn);
    effect->container_id = fl_str_dup(step->turn->arena, fl_str_of(container->id));
}

void fl_brain_mark(struct fl_brain *brain, struct fl_task *task)
{
    if (task->dirty)
        return;
    task->dirty = true;
    task->next_dirty = brain->first_dirty;
    brain->first_dirty = task;
}

int fl_brain_load(struct fl_brain *brain, struct fl_str key, struct fl_str value,
                  struct fl_err *err)
{
    if (fl_str_eq(key, FL_HOST_RECORD_KEY))
        return fl_host_record_read(value, brain->arena, &brain->host, err);
    if (!fl_str_starts(key, FL_STR("task/")))
        return fl_err_set(err, -EPROTO, "the agent's store holds an unknown record \"%.*s\"",
                          FL_STR_ARG(fl_str_sub(key, 0, 80)));
    struct fl_task *task;
    int r = fl_task_record_read(value, &task, err);
    if (r == 0)
        fl_brain_insert(brain, task);
    return r;
}

void fl_brain_load_task(struct fl_brain *brain, const struct fl_task *task)
{
    fl_brain_insert(brain, fl_task_copy(task));
}

/* The first pull's begin and the last one's end are the task's. */
static void note_pull(struct fl_task *task, int64_t started_ms, int64_t stopped_ms)
{
    if (task->pull_started_ms == 0 || started_ms < task->pull_started_ms)
        task->pull_started_ms = started_ms;
    task->pull_stopped_ms = FL_MAX(task->pull_stopped_ms, stopped_ms);
}

static void on_image_ready(struct fl_step *step, struct fl_task_container *container)
{
    const struct fl_brain_event *event = step->event;
    if (container->state > FL_CONTAINER_PULLED || container->restarts > 0)
        return;
    if (container->state == FL_CONTAINER_NONE)
        fl_container_move(container, FL_CONTAINER_PULLED);
    container->image_ready = true;
    container->image_digest = fl_str_dup(container->task->arena, event->image.digest);
    container->stop_signal = event->image.stop_signal > 0 ? event->image.stop_signal : STOP_SIGNAL;
    note_pull(container->task, event->image.pull_started_ms, event->image.pull_stopped_ms);
    if (container->cleared)
        fl_brain_emit_container(step, FL_EFFECT_PREPARE, container);
}

/* A container that was stopped while its network was on the way gives it back. */
static void on_prepared(struct fl_step *step, struct fl_task_container *container)
{
    const struct fl_brain_event *event = step->event;
    if (container->state != FL_CONTAINER_PULLED) {
        if (container->state == FL_CONTAINER_STOPPED)
            fl_brain_emit_container(step, FL_EFFECT_RELEASE, container);
        return;
    }
    struct fl_arena *arena = container->task->arena;
    fl_container_move(container, FL_CONTAINER_CREATED);
    container->launched = true;
    container->log_stream = fl_str_dup(arena, event->prepared.log_stream);
    memcpy(container->address, event->prepared.address, sizeof(container->address));
    container->binding_count = event->prepared.binding_count;
    container->bindings =
        fl_arena_new_array(arena, struct fl_task_binding, container->binding_count);
    for (size_t i = 0; i < container->binding_count; i++)
        container->bindings[i] = event->prepared.bindings[i];
    fl_brain_emit_container(step, FL_EFFECT_LAUNCH, container);
}

/* A failure that answers an effect whose time is over is a repetition. */
static bool is_answer(enum fl_container_state state, enum fl_effect_type effect)
{
    if (effect == FL_EFFECT_ENSURE_IMAGE)
        return state <= FL_CONTAINER_PULLED;
    return state == (effect == FL_EFFECT_PREPARE ? FL_CONTAINER_PULLED : FL_CONTAINER_CREATED);
}

const char *fl_failure_name(enum fl_failure failure)
{
    static const char *const names[] = {
        [FL_FAILURE_RESOURCE] = "",
        [FL_FAILURE_PULL] = "CannotPullContainerError",
        [FL_FAILURE_PULL_MANIFEST] = "CannotPullImageManifestError",
        [FL_FAILURE_TIMEOUT] = "DockerTimeoutError",
        [FL_FAILURE_CONFIG] = "HostConfigError",
        [FL_FAILURE_CREATE] = "CannotCreateContainerError",
        [FL_FAILURE_START] = "CannotStartContainerError",
    };
    return names[failure];
}

static void on_failed(struct fl_step *step, struct fl_task_container *container)
{
    struct fl_arena *arena = container->task->arena;
    if (!is_answer(container->state, step->event->failed.effect))
        return;
    if (step->event->failed.failure == FL_FAILURE_RESOURCE) {
        fl_brain_task_failed(step, container, fl_str_dup(arena, step->event->failed.text));
        return;
    }
    fl_brain_container_failed(step, container,
                              fl_str_printf(arena, "%s: %.*s",
                                            fl_failure_name(step->event->failed.failure),
                                            FL_STR_ARG(step->event->failed.text)));
}

/* Others' patience is measured from the first start, however often there is another one. */
static void started(struct fl_step *step, struct fl_task_container *container)
{
    fl_container_move(container, FL_CONTAINER_RUNNING);
    container->run_started_ms = step->event->process.at_ms;
    if (container->started_ms == 0) {
        container->started_ms = container->run_started_ms;
        if (container->spec->start_timeout_s > 0)
            container->start_due_ms = step->event->now_ms + container->spec->start_timeout_s * 1000;
    }
    fl_brain_health_begin(step, container);
    if (container->restarts > 0 || fl_brain_has_order(container->task))
        container->task->change_seq++;
}

static void on_started(struct fl_step *step, struct fl_task_container *container)
{
    if (container->state != FL_CONTAINER_CREATED || step->event->process.run != container->restarts)
        return;
    started(step, container);
    if (container->stop_wanted) {
        container->stop_wanted = false;
        fl_brain_stop_container(step, container);
    }
}

/* An exit tells that the start came before it, should that message be missing. */
static void on_exited(struct fl_step *step, struct fl_task_container *container)
{
    const struct fl_brain_event *event = step->event;
    if (event->process.run != container->restarts)
        return;
    if (FL_BUG(22, false, container->state == FL_CONTAINER_CREATED))
        started(step, container);
    if (container->state != FL_CONTAINER_RUNNING)
        return;
    container->has_exit_code = true;
    container->exit_code = event->process.exit_code;
    container->finished_ms = event->process.at_ms;
    if (event->process.oom_killed)
        container->reason = FL_STR("OutOfMemoryError: Container killed due to memory usage");
    if (fl_brain_may_restart(container))
        fl_brain_restart(step, container);
    else
        fl_brain_container_stopped(step, container);
}

static void on_container_event(struct fl_step *step, struct fl_str id,
                               void (*handle)(struct fl_step *, struct fl_task_container *))
{
    struct fl_task_container *container = find_container(step->brain, id);
    if (!container)
        return;
    handle(step, container);
    fl_brain_settle(step, container->task);
    fl_brain_due_changed(step->brain, container->task);
}

static void on_health(struct fl_step *step)
{
    struct fl_task_container *container =
        find_container(step->brain, step->event->health.container_id);
    if (!container)
        return;
    if (fl_brain_health_answer(step, container))
        fl_brain_settle(step, container->task);
    fl_brain_due_changed(step->brain, container->task);
}

static void on_timer(struct fl_step *step)
{
    struct fl_task *task;
    while ((task = fl_brain_due_first(step->brain)) && task->due_ms <= step->event->now_ms) {
        fl_brain_task_timer(step, task);
        fl_brain_due_changed(step->brain, task);
        FL_ASSERT(task->due_ms > step->event->now_ms);
    }
}

/* Ids are random: what follows from one is spread, and the same after a restart. */
int64_t fl_brain_cleanup_ms(const struct fl_brain *brain, const struct fl_task *task)
{
    uint64_t hash = UINT64_C(14695981039346656037);
    for (size_t i = 0; i < task->arn.n; i++)
        hash = (hash ^ (uint8_t)task->arn.p[i]) * UINT64_C(1099511628211);
    hash = (hash ^ hash >> 32) & INT64_MAX;
    return brain->config.cleanup_delay_ms +
           (int64_t)(hash % (uint64_t)(brain->config.cleanup_jitter_ms + 1));
}

static void on_report_acked(struct fl_step *step)
{
    struct fl_task *task = fl_brain_find(step->brain, step->event->report.task_arn);
    int64_t seq = step->event->report.seq;
    if (!task || seq > task->change_seq || seq <= task->acked_seq)
        return;
    task->acked_seq = FL_BUG(25, task->change_seq, seq);
    if (seq >= task->sent_seq)
        task->sent_seq = 0;
    if (task->status == FL_TASK_STOPPED && task->acked_seq == task->change_seq)
        task->cleanup_due_ms = step->event->now_ms + fl_brain_cleanup_ms(step->brain, task);
    fl_brain_mark(step->brain, task);
    if (!FL_BUG(17, true, false))
        fl_brain_report(step, task);
    fl_brain_due_changed(step->brain, task);
}

static void on_removed(struct fl_step *step)
{
    struct fl_task *task = fl_brain_find(step->brain, step->event->removed.task_arn);
    if (task && task->status == FL_TASK_STOPPED && task->acked_seq == task->change_seq)
        fl_brain_delete(step, task);
}

bool fl_brain_step(struct fl_brain *brain, const struct fl_brain_event *event,
                   struct fl_brain_turn *turn)
{
    struct fl_step step = {.brain = brain, .event = event, .turn = turn};
    switch (event->type) {
    case FL_EVENT_BOOT:
        fl_brain_boot(&step);
        break;
    case FL_EVENT_PAYLOAD:
        return fl_brain_payload(&step);
    case FL_EVENT_MANIFEST:
        return fl_brain_manifest(&step);
    case FL_EVENT_STOP_LIST:
        fl_brain_stop_list(&step);
        break;
    case FL_EVENT_IMAGE_READY:
        on_container_event(&step, event->image.container_id, on_image_ready);
        break;
    case FL_EVENT_PREPARED:
        on_container_event(&step, event->prepared.container_id, on_prepared);
        break;
    case FL_EVENT_FAILED:
        on_container_event(&step, event->failed.container_id, on_failed);
        break;
    case FL_EVENT_STARTED:
        on_container_event(&step, event->process.container_id, on_started);
        break;
    case FL_EVENT_EXITED:
        on_container_event(&step, event->process.container_id, on_exited);
        break;
    case FL_EVENT_GONE:
        on_container_event(&step, event->process.container_id, fl_brain_gone);
        break;
    case FL_EVENT_HEALTH:
        on_health(&step);
        break;
    case FL_EVENT_TIMER:
        on_timer(&step);
        break;
    case FL_EVENT_REPORT_ACKED:
        on_report_acked(&step);
        break;
    case FL_EVENT_REMOVED:
        on_removed(&step);
        break;
    }
    return true;
}

static void put_task(struct fl_brain_turn *turn, const struct fl_task *task)
{
    const struct fl_brain_taker *taker = turn->taker;
    struct fl_brain_record *record = add_record(turn, fl_task_record_key(turn->arena, task->arn));
    if (taker)
        record->object = taker->record(taker->context, task);
    else
        record->value = fl_task_record_write(task, turn->arena);
}

void fl_brain_flush(struct fl_brain *brain, struct fl_brain_turn *turn)
{
    if (FL_BUG(26, false, brain->host_dirty))
        add_record(turn, FL_HOST_RECORD_KEY)->value =
            fl_host_record_write(&brain->host, turn->arena);
    brain->host_dirty = false;
    for (struct fl_task *task = brain->first_dirty; task; task = task->next_dirty) {
        task->dirty = false;
        put_task(turn, task);
    }
    brain->first_dirty = NULL;
}

int64_t fl_brain_next_due(const struct fl_brain *brain)
{
    const struct fl_task *task = fl_brain_due_first(brain);
    return task ? task->due_ms : INT64_MAX;
}

const struct fl_task *fl_brain_task(const struct fl_brain *brain, struct fl_str arn)
{
    return fl_brain_find(brain, arn);
}

const struct fl_task_container *fl_brain_container(const struct fl_brain *brain,
                                                   struct fl_str container_id)
{
    return find_container(brain, container_id);
}

const struct fl_task *fl_brain_next_task(const struct fl_brain *brain, const struct fl_task *task)
{
    return task ? task->hh.next : brain->tasks;
}
