/* A host's images, network and containers: what the brain's effects ask for takes its time, fails,
 * hangs, is told late, twice or in another order. What the agent's memory holds follows
 * src/agent/agent_launch.c; containers themselves live on when the agent dies. */
#include "sim/world.h"

struct sim_live *sim_runtime_live(const struct sim_host *host, uint64_t key)
{
    for (struct sim_live *live = host->live; live; live = live->next)
        if (live->key == key)
            return live;
    return NULL;
}

static void free_live(struct sim_host *host, uint64_t key)
{
    for (struct sim_live **at = &host->live; *at; at = &(*at)->next)
        if ((*at)->key == key) {
            struct sim_live *live = *at;
            *at = live->next;
            free(live);
            return;
        }
}

static struct sim_live *new_live(struct sim_host *host, struct fl_str id)
{
    struct sim_live *live = fl_calloc(1, sizeof(*live));
    live->key = sim_key(id);
    memcpy(live->id, id.p, FL_MIN(id.n, sizeof(live->id) - 1));
    live->next = host->live;
    host->live = live;
    return live;
}

struct sim_container *sim_runtime_container(const struct sim_host *host, uint64_t key)
{
    for (struct sim_container *c = host->containers; c; c = c->next)
        if (c->key == key)
            return c;
    return NULL;
}

static const struct fl_task_container *find_known(const struct sim_host *host, const char *id)
{
    return fl_brain_container(host->brain, (struct fl_str){id, FL_CONTAINER_ID_SIZE - 1});
}

int64_t sim_runtime_delay(struct sim *sim, int64_t us)
{
    int64_t delay_us = sim_about(sim, us);
    if (sim_fault(sim, sim->knobs.hangs)) {
        sim_fault_counted(sim, "the runtime hangs", SIM_NOWHERE);
        delay_us += (int64_t)sim_below(sim, 2 * SIM_MINUTE);
    }
    return delay_us;
}

static void trouble(struct sim *sim, const struct fl_task_container *container)
{
    if (container)
        sim_ledger_task(sim, fl_task_id(container->task->arn))->troubled = true;
}

/* Why things fail that might as well not have. */
#define CHANCE "it was to be"

static void fail(struct sim *sim, struct sim_host *host, const struct fl_task_container *container,
                 enum fl_effect_type effect, enum fl_failure failure, const char *text)
{
    struct fl_brain_event event = {.type = FL_EVENT_FAILED};
    event.failed.container_id = fl_str_of(container->id);
    event.failed.effect = effect;
    event.failed.failure = failure;
    event.failed.text = fl_str_of(text);
    trouble(sim, container);
    (void)sim_host_post(sim, host, &event);
}

/* ---- image ---- */

static void fire_image(struct sim *sim, struct sim_event *event)
{
    struct sim_host *host = &sim->hosts[event->who];
    struct sim_live *live = sim_runtime_live(host, event->number);
    struct fl_brain_event ready = {.type = FL_EVENT_IMAGE_READY};
    if (!live) {
        sim_void(sim);
        return;
    }
    const struct fl_task_container *container = find_known(host, live->id);
    live->busy = false;
    if (live->released || !container || container->state == FL_CONTAINER_STOPPED) {
        free_live(host, event->number);
        return;
    }
    bool is_missing = fl_str_starts(container->spec->image, FL_STR("missing"));
    if (is_missing || sim_fault(sim, sim->knobs.pull_fails)) {
        sim_fault_counted(sim, "a pull fails", host->index);
        fail(sim, host, container, FL_EFFECT_ENSURE_IMAGE, FL_FAILURE_PULL,
             is_missing ? "manifest unknown" : CHANCE);
        free_live(host, event->number);
        return;
    }
    ready.image.container_id = fl_str_of(container->id);
    ready.image.digest = FL_STR("sha256:0123");
    ready.image.pull_started_ms = sim_host_wall_ms(sim, host) - 1;
    ready.image.pull_stopped_ms = sim_host_wall_ms(sim, host);
    (void)sim_host_post(sim, host, &ready);
}

void sim_runtime_ensure_image(struct sim *sim, struct sim_host *host, struct fl_str id)
{
    static const struct sim_action image = {"an image is ready", fire_image};
    const struct fl_task_container *container = fl_brain_container(host->brain, id);
    uint64_t key = sim_key(id);
    if (!container || sim_runtime_live(host, key) || container->state == FL_CONTAINER_STOPPED)
        return;
    new_live(host, id)->busy = true;
    sim_at(sim, sim_runtime_delay(sim, sim_chance(sim, 300) ? 2 * SIM_SECOND : 5 * SIM_MS), &image,
           host->index, key, NULL);
}

/* ---- network ---- */

static void fire_prepared(struct sim *sim, struct sim_event *event)
{
    struct sim_host *host = &sim->hosts[event->who];
    struct sim_live *live = sim_runtime_live(host, event->number);
    struct fl_brain_event prepared = {.type = FL_EVENT_PREPARED};
    if (!live) {
        sim_void(sim);
        return;
    }
    const struct fl_task_container *container = find_known(host, live->id);
    live->busy = false;
    if (live->released || !container || container->state != FL_CONTAINER_PULLED) {
        free_live(host, event->number);
        return;
    }
    if (sim_fault(sim, sim->knobs.launch_fails)) {
        sim_fault_counted(sim, "a preparation fails", host->index);
        fail(sim, host, container, FL_EFFECT_PREPARE, FL_FAILURE_START, CHANCE);
        sim_runtime_release(sim, host, fl_str_of(container->id));
        return;
    }
    live->attached = true;
    prepared.prepared.container_id = fl_str_of(container->id);
    prepared.prepared.log_stream = FL_STR("a/b/c");
    (void)sim_host_post(sim, host, &prepared);
}

void sim_runtime_prepare(struct sim *sim, struct sim_host *host, struct fl_str id)
{
    static const struct sim_action prepared = {"a container is prepared", fire_prepared};
    uint64_t key = sim_key(id);
    const struct fl_task_container *container = fl_brain_container(host->brain, id);
    struct sim_live *live = sim_runtime_live(host, key);
    if (!live && container && container->restarts > 0)
        live = new_live(host, id);
    if (!live || live->busy || live->attached)
        return;
    if (!container || container->state != FL_CONTAINER_PULLED) {
        free_live(host, key);
        return;
    }
    live->busy = true;
    sim_at(sim, sim_runtime_delay(sim, 20 * SIM_MS), &prepared, host->index, key, NULL);
}

/* ---- what the watch tells ---- */

/* Again, if the agent has lost what it learned. */
static void note_told(struct sim *sim, const struct sim_host *host, struct sim_container *c)
{
    const struct fl_task_container *known = find_known(host, c->id);
    if (known && known->started_ms == 0)
        c->told_ms = sim_host_mono_ms(sim, host);
}

static void fire_told_started(struct sim *sim, struct sim_event *event)
{
    struct sim_host *host = &sim->hosts[event->who];
    struct sim_container *c = sim_runtime_container(host, event->number);
    struct sim_live *live = sim_runtime_live(host, event->number);
    struct fl_brain_event started = {.type = FL_EVENT_STARTED};
    if (!c || (c->state != SIM_RUNNING && c->state != SIM_DEAD)) { /* it is about to run again */
        sim_void(sim);
        return;
    }
    started.process.container_id = fl_str_of(c->id);
    started.process.at_ms = c->ran_ms;
    started.process.run = c->run;
    note_told(sim, host, c);
    (void)sim_host_post(sim, host, &started);
    if (live)
        live->launching = false;
}
static const struct sim_action told_started = {"a start is told", fire_told_started};

static void fire_told_exited(struct sim *sim, struct sim_event *event)
{
    struct sim_host *host = &sim->hosts[event->who];
    struct sim_container *c = sim_runtime_container(host, event->number);
    struct fl_brain_event exited = {.type = FL_EVENT_EXITED};
    if (!c || c->state != SIM_DEAD) { /* it has been started again */
        sim_void(sim);
        return;
    }
    exited.process.container_id = fl_str_of(c->id);
    exited.process.at_ms = c->ended_ms;
    exited.process.exit_code = c->exit_code;
    exited.process.run = c->run;
    note_told(sim, host, c); /* an end tells of the start, too */
    bool restarts = sim_audit_restarts(host, c);
    (void)sim_host_post(sim, host, &exited);
    sim_audit_end(sim, host, c, restarts);
}
static const struct sim_action told_exited = {"an exit is told", fire_told_exited};

static void fire_told_failed(struct sim *sim, struct sim_event *event)
{
    struct sim_host *host = &sim->hosts[event->who];
    const struct sim_container *c = sim_runtime_container(host, event->number);
    const struct fl_task_container *container = c ? find_known(host, c->id) : NULL;
    if (container)
        fail(sim, host, container, FL_EFFECT_LAUNCH, FL_FAILURE_START, CHANCE);
}
static const struct sim_action told_failed = {"a failed launch is told", fire_told_failed};

static void tell(struct sim *sim, const struct sim_host *host, const struct sim_container *c,
                 const struct sim_action *action)
{
    if (!host->up || c->watched_by != host->life)
        return;
    int64_t us = sim_about(sim, 2 * SIM_MS);
    if (sim_fault(sim, sim->knobs.lies)) {
        sim_fault_counted(sim, "the runtime tells it late", host->index);
        us += (int64_t)sim_below(sim, 20 * SIM_SECOND);
    }
    sim_at(sim, us, action, host->index, c->key, NULL);
    if (!sim_fault(sim, sim->knobs.lies))
        return;
    sim_fault_counted(sim, "the runtime tells it twice", host->index);
    sim_at(sim, us + (int64_t)sim_below(sim, SIM_SECOND), action, host->index, c->key, NULL);
}

/* ---- the container's own life ---- */

static void count_running(struct sim *sim, const struct sim_host *host,
                          const struct sim_container *c)
{
    struct sim_task *task = &sim->ledger.tasks[c->task];
    if (task->running > 0 && task->running_on != host->index)
        sim_violation(sim, "S2", "task %s runs on hosts %u and %u", task->id, task->running_on,
                      host->index);
    task->running++;
    task->running_on = host->index;
}

static void end_container(struct sim *sim, struct sim_container *c, int exit_code)
{
    struct sim_task *task = &sim->ledger.tasks[c->task];
    if (c->state == SIM_RUNNING) {
        task->running--;
        task->has_worked |= exit_code == 0;
    }
    task->troubled = true;
    c->state = SIM_DEAD;
    c->exit_code = exit_code;
}

static int code_of(struct sim *sim, const struct sim_container *c)
{
    if (c->living == SIM_DONE || c->living == SIM_WRONG)
        return c->living == SIM_WRONG;
    return sim_is_busy(sim) ? (int)sim_below(sim, 3) / 2 : 0;
}

static void fire_exits(struct sim *sim, struct sim_event *event)
{
    struct sim_host *host = &sim->hosts[event->who];
    struct sim_container *c = sim_runtime_container(host, event->number);
    if (!c || c->state != SIM_RUNNING) {
        sim_void(sim);
        return;
    }
    c->ended_ms = sim_host_wall_ms(sim, host);
    end_container(sim, c, code_of(sim, c));
    tell(sim, host, c, &told_exited);
}
static const struct sim_action exits = {"a container exits", fire_exits};

/* Something happens to it, unless the load is over. */
static void fire_flakes(struct sim *sim, struct sim_event *event)
{
    if (sim_is_busy(sim))
        fire_exits(sim, event);
    else
        sim_void(sim);
}

/* Most work is short; some takes as long as makes a restart worth while. */
static void arrange_end(struct sim *sim, const struct sim_host *host, const struct sim_container *c)
{
    static const struct sim_action flakes = {"something happens to a container", fire_flakes};
    switch (c->living) {
    case SIM_SERVICE:
    case SIM_STILLBORN:
    case SIM_ILL:
        return;
    case SIM_CRASHING:
        sim_at_any(sim, sim_about(sim, sim_chance(sim, 300) ? 20 * SIM_MS : 40 * SIM_SECOND),
                   &exits, host->index, c->key, NULL);
        return;
    case SIM_BATCH:
        sim_at_any(sim, sim_about(sim, sim_chance(sim, 200) ? 20 * SIM_MS : SIM_MINUTE), &exits,
                   host->index, c->key, NULL);
        return;
    case SIM_DONE:
    case SIM_WRONG:
        sim_at_any(sim, sim_about(sim, sim_chance(sim, 500) ? SIM_SECOND : 20 * SIM_SECOND), &exits,
                   host->index, c->key, NULL);
        return;
    case SIM_FLAKY:
        sim_at_any(sim, sim_about(sim, sim_chance(sim, 200) ? SIM_SECOND : 2 * SIM_MINUTE), &flakes,
                   host->index, c->key, NULL);
        return;
    }
}

static void fire_runs(struct sim *sim, struct sim_event *event)
{
    struct sim_host *host = &sim->hosts[event->who];
    struct sim_container *c = sim_runtime_container(host, event->number);
    if (!c || c->state != SIM_STARTING) {
        sim_void(sim);
        return;
    }
    if (c->living == SIM_STILLBORN || sim_fault(sim, sim->knobs.launch_fails)) {
        sim_fault_counted(sim, "a launch fails", host->index);
        c->state = SIM_FAILED;
        tell(sim, host, c, &told_failed);
        return;
    }
    c->state = SIM_RUNNING;
    c->ran_ms = sim_host_wall_ms(sim, host);
    c->is_ill = c->living == SIM_ILL || (sim_is_busy(sim) && sim_chance(sim, 200));
    if (c->first_ms == 0)
        c->first_ms = sim_host_mono_ms(sim, host);
    count_running(sim, host, c);
    tell(sim, host, c, &told_started);
    arrange_end(sim, host, c);
}

static enum sim_living living_of(struct fl_str image)
{
    static const char *const names[] = {
        [SIM_SERVICE] = "service:1",   [SIM_BATCH] = "batch:1",         [SIM_FLAKY] = "flaky:1",
        [SIM_CRASHING] = "crashing:1", [SIM_STILLBORN] = "stillborn:1", [SIM_ILL] = "ill:1",
        [SIM_DONE] = "done:1",         [SIM_WRONG] = "wrong:1"};
    for (size_t i = 0; i < FL_ARRAY_SIZE(names); i++)
        if (fl_str_is(image, names[i]))
            return (enum sim_living)i;
    return SIM_SERVICE;
}

static struct sim_container *new_container(struct sim *sim, struct sim_host *host,
                                           const struct fl_task_container *container)
{
    struct sim_container *c = fl_calloc(1, sizeof(*c));
    struct sim_task *task = sim_ledger_task(sim, fl_task_id(container->task->arn));
    memcpy(c->id, container->id, sizeof(c->id));
    c->key = sim_key(fl_str_of(c->id));
    c->task = (uint32_t)(task - sim->ledger.tasks);
    c->living = living_of(container->spec->image);
    c->watched_by = host->life;
    c->next = host->containers;
    host->containers = c;
    return c;
}

void sim_runtime_launch(struct sim *sim, struct sim_host *host, struct fl_str id)
{
    static const struct sim_action runs = {"a container runs", fire_runs};
    uint64_t key = sim_key(id);
    struct sim_live *live = sim_runtime_live(host, key);
    const struct fl_task_container *container = fl_brain_container(host->brain, id);
    if (!live || live->launching || !container || container->state != FL_CONTAINER_CREATED)
        return;
    if (sim_fault(sim, sim->knobs.launch_fails)) {
        sim_fault_counted(sim, "a launch is refused", host->index);
        fail(sim, host, container, FL_EFFECT_LAUNCH, FL_FAILURE_CREATE, CHANCE);
        return;
    }
    struct sim_container *c = sim_runtime_container(host, key);
    if (c && (c->state != SIM_DEAD || c->run >= container->restarts)) {
        sim_violation(sim, "H1", "host %u launches container %.12s twice", host->index, id.p);
        return;
    }
    live->launching = true;
    if (!c)
        c = new_container(sim, host, container);
    sim_audit_hook_launch(sim, container, c->task);
    c->state = SIM_STARTING;
    c->run = container->restarts;
    c->watched_by = host->life;
    sim_at_any(sim, sim_runtime_delay(sim, 60 * SIM_MS), &runs, host->index, key, NULL);
}

void sim_runtime_adopt(struct sim *sim, struct sim_host *host, struct fl_str id)
{
    uint64_t key = sim_key(id);
    struct sim_container *c = sim_runtime_container(host, key);
    struct fl_brain_event gone = {.type = FL_EVENT_GONE};
    const struct fl_task_container *container = fl_brain_container(host->brain, id);
    if (!container || sim_runtime_live(host, key))
        return;
    struct sim_live *live = new_live(host, id);
    live->attached = true;
    if (container->state == FL_CONTAINER_RUNNING) { /* else its start is still to be told */
        live->health = container->health;
        live->streak = container->health_streak;
    }
    if (!c || c->run < container->restarts) {
        gone.process.container_id = id;
        (void)sim_host_post(sim, host, &gone);
        return;
    }
    c->watched_by = host->life;
    if (c->state == SIM_FAILED)
        tell(sim, host, c, &told_failed);
    if (c->state == SIM_RUNNING || c->state == SIM_DEAD)
        tell(sim, host, c, &told_started);
    if (c->state == SIM_DEAD)
        tell(sim, host, c, &told_exited);
}

/* ---- the end ---- */

/* Nobody's task dies because an agent or the server was away. */
static void check_reason(struct sim *sim, const struct sim_host *host,
                         const struct sim_container *c)
{
    const struct sim_task *task = &sim->ledger.tasks[c->task];
    if (!task->stop_put && !task->troubled)
        sim_violation(sim, "L5", "host %u ends task %s, which nobody stopped", host->index,
                      task->id);
}

void sim_runtime_signal(struct sim *sim, struct sim_host *host, struct fl_str id, int number)
{
    struct sim_container *c = sim_runtime_container(host, sim_key(id));
    if (!c || c->state != SIM_RUNNING)
        return;
    check_reason(sim, host, c);
    if (number == 9)
        sim_at_any(sim, sim_runtime_delay(sim, 5 * SIM_MS), &exits, host->index, c->key, NULL);
    else if (!sim_chance(sim, sim->knobs.ignores_term))
        sim_at_any(sim, sim_runtime_delay(sim, SIM_SECOND), &exits, host->index, c->key, NULL);
}

void sim_runtime_release(struct sim *sim, struct sim_host *host, struct fl_str id)
{
    uint64_t key = sim_key(id);
    struct sim_live *live = sim_runtime_live(host, key);
    const struct sim_container *c = sim_runtime_container(host, key);
    if (c && (c->state == SIM_RUNNING || c->state == SIM_STARTING))
        sim_violation(sim, "H3", "host %u takes the network of container %.12s, which runs",
                      host->index, id.p);
    if (!live) {
        sim_void(sim);
        return;
    }
    live->released = true;
    if (!live->busy)
        free_live(host, key);
}

static void remove_container(struct sim *sim, struct sim_host *host, uint64_t key)
{
    for (struct sim_container **at = &host->containers; *at; at = &(*at)->next) {
        struct sim_container *c = *at;
        if (c->key != key)
            continue;
        if (c->state == SIM_RUNNING || c->state == SIM_STARTING)
            sim_violation(sim, "H4", "host %u removes container %.12s, which runs", host->index,
                          c->id);
        *at = c->next;
        free(c);
        return;
    }
}

void sim_runtime_remove(struct sim *sim, struct sim_host *host, struct fl_str task_arn)
{
    const struct fl_task *task = fl_brain_task(host->brain, task_arn);
    struct fl_brain_event removed = {.type = FL_EVENT_REMOVED};
    if (!task || task->status != FL_TASK_STOPPED)
        return;
    for (size_t i = 0; i < task->container_count; i++)
        remove_container(sim, host, sim_key(fl_str_of(task->containers[i].id)));
    sim_ledger_task(sim, fl_task_id(task_arn))->is_ending = false;
    removed.removed.task_arn = task->arn;
    (void)sim_host_post(sim, host, &removed);
}

void sim_runtime_forget(struct sim_host *host)
{
    while (host->live)
        free_live(host, host->live->key);
}

void sim_runtime_die(struct sim *sim, struct sim_host *host)
{
    struct sim_container *c;
    while ((c = host->containers) != NULL) {
        end_container(sim, c, 137);
        host->containers = c->next;
        free(c);
    }
}
