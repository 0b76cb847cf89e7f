/* Health checks: the brain says when, the command runs in the container, its answer is an event. */
#include "agent/agent_internal.h"
#include "agent/exec.h"

enum { OUTPUT_MAX = 4096 };

/* A check under way. Its container may be gone when it ends. */
struct fl_check {
    UT_hash_handle hh; /* by id */
    struct fl_agent *agent;
    char id[FL_CONTAINER_ID_SIZE];
    int run;
    int64_t timeout_ms;
};

/* A change is published at once; the control plane's own waiting for it is long enough. */
static void post(struct fl_agent *agent, struct fl_brain_event *event)
{
    const struct fl_task_container *container =
        fl_brain_container(agent->brain, event->health.container_id);
    enum fl_health before = container ? container->health : FL_HEALTH_UNKNOWN;
    (void)fl_agent_post(agent, event);
    container = fl_brain_container(agent->brain, event->health.container_id);
    if (container && container->health != before)
        fl_tcs_health_changed(agent->telemetry);
}

static void on_done(void *context, const struct fl_exec_result *result)
{
    struct fl_check *check = context;
    struct fl_agent *agent = check->agent;
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_brain_event event = {.type = FL_EVENT_HEALTH};
    event.health.container_id = fl_str_of(check->id);
    event.health.run = check->run;
    event.health.exit_code = result->timed_out ? -1 : result->status;
    event.health.output = result->output;
    if (result->timed_out)
        event.health.output = fl_str_printf(arena, "Health check exceeded timeout (%llds)",
                                            (long long)((check->timeout_ms + 999) / 1000));
    post(agent, &event);
    HASH_DEL(agent->checks, check);
    free(check);
}

/* CMD-SHELL is the container's default shell, as Docker has it. */
static size_t make_args(const struct fl_health_check *check, struct fl_str *args)
{
    size_t n = 0;
    if (fl_str_is(check->test[0], "CMD-SHELL")) {
        args[n++] = FL_STR("/bin/sh");
        args[n++] = FL_STR("-c");
    }
    for (size_t i = 1; i < check->test_count; i++)
        args[n++] = check->test[i];
    return n;
}

void fl_agent_check_health(struct fl_agent *agent, struct fl_str container_id)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    const struct fl_task_container *container = fl_brain_container(agent->brain, container_id);
    struct fl_check *check;
    HASH_FIND(hh, agent->checks, container_id.p, container_id.n, check);
    if (check || !container || container->state != FL_CONTAINER_RUNNING)
        return;
    const struct fl_health_check *spec = &container->spec->health_check;
    struct fl_str *args = fl_arena_new_array(arena, struct fl_str, spec->test_count + 2);
    check = fl_calloc(1, sizeof(*check));
    check->agent = agent;
    check->run = container->restarts;
    check->timeout_ms = spec->timeout_ms;
    memcpy(check->id, container->id, sizeof(check->id));
    HASH_ADD_KEYPTR(hh, agent->checks, check->id, container_id.n, check);
    const struct fl_exec_order order = {
        .container_id = container_id,
        .args = args,
        .arg_count = make_args(spec, args),
        .timeout_ms = spec->timeout_ms,
        .output_max = OUTPUT_MAX,
    };
    fl_exec_start(agent->execer, &order, on_done, check);
}

void fl_agent_health_free_all(struct fl_agent *agent)
{
    struct fl_check *check, *next;
    HASH_ITER(hh, agent->checks, check, next)
    {
        HASH_DEL(agent->checks, check);
        free(check);
    }
}
