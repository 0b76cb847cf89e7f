/* Turns: events of one iteration of the loop, one commit, then the effects. */
#include "agent/agent_internal.h"
#include "base/clock.h"

struct turn {
    struct fl_agent *agent;
    struct fl_arena *arena;
    struct fl_brain_turn brain;
    struct fl_store_op *ops;
    bool has_payload; /* fl_images_start_begins has been told of it */
};

static void turn_free(struct turn *turn)
{
    if (turn->has_payload && turn->agent->images)
        fl_images_start_ends(turn->agent->images);
    fl_arena_free(turn->arena);
}

static struct turn *present_turn(struct fl_agent *agent)
{
    if (agent->turn)
        return agent->turn;
    struct fl_arena *arena = fl_arena_new();
    struct turn *turn = fl_arena_new_object(arena, struct turn);
    turn->agent = agent;
    turn->arena = arena;
    turn->brain.arena = arena;
    agent->turn = turn;
    return turn;
}

static void on_durable(void *context)
{
    struct turn *turn = context;
    for (const struct fl_effect *effect = turn->brain.first; effect; effect = effect->next)
        if (!turn->agent->ending)
            fl_agent_carry_out(turn->agent, effect);
    turn_free(turn);
}

/* Its tasks are about to start, most likely: pulls hold still while it is committed, too. */
static void note_payload(struct fl_agent *agent)
{
    struct turn *turn = present_turn(agent);
    if (!turn->has_payload)
        fl_images_start_begins(agent->images);
    turn->has_payload = true;
}

static void on_due(uv_timer_t *timer)
{
    struct fl_brain_event event = {.type = FL_EVENT_TIMER};
    (void)fl_agent_post(timer->data, &event);
}

static void set_due(struct fl_agent *agent)
{
    int64_t due_ms = fl_brain_next_due(agent->brain);
    if (due_ms == INT64_MAX) {
        (void)uv_timer_stop(&agent->due);
        return;
    }
    int64_t wait_ms = due_ms - fl_clock_mono_ms();
    uv_update_time(&agent->loop);
    (void)uv_timer_start(&agent->due, on_due, (uint64_t)FL_MAX(wait_ms, 0), 0);
}

static void commit(struct fl_agent *agent)
{
    struct turn *turn = FL_TAKE_PTR(agent->turn);
    if (!turn)
        return;
    fl_brain_flush(agent->brain, &turn->brain);
    set_due(agent);
    size_t count = turn->brain.record_count;
    if (count == 0 && !turn->brain.first) {
        turn_free(turn);
        return;
    }
    turn->ops = fl_arena_new_array(turn->arena, struct fl_store_op, count);
    for (size_t i = 0; i < count; i++)
        turn->ops[i] =
            (struct fl_store_op){turn->brain.records[i].key, turn->brain.records[i].value};
    fl_store_commit(agent->store, turn->ops, count, on_durable, turn);
}

static void on_prepare(uv_prepare_t *handle)
{
    commit(handle->data);
}

static void on_check(uv_check_t *handle)
{
    commit(handle->data);
}

void fl_agent_turns_start(struct fl_agent *agent)
{
    agent->due.data = agent->before_poll.data = agent->after_poll.data = agent;
    (void)uv_timer_init(&agent->loop, &agent->due);
    (void)uv_prepare_init(&agent->loop, &agent->before_poll);
    (void)uv_check_init(&agent->loop, &agent->after_poll);
    (void)uv_prepare_start(&agent->before_poll, on_prepare);
    (void)uv_check_start(&agent->after_poll, on_check);
}

void fl_agent_turns_stop(struct fl_agent *agent)
{
    commit(agent);
    uv_close((uv_handle_t *)&agent->due, NULL);
    uv_close((uv_handle_t *)&agent->before_poll, NULL);
    uv_close((uv_handle_t *)&agent->after_poll, NULL);
}

bool fl_agent_post(struct fl_agent *agent, struct fl_brain_event *event)
{
    event->now_ms = fl_clock_mono_ms();
    event->wall_ms = fl_clock_wall_ms();
    if (event->type == FL_EVENT_PAYLOAD) {
        fl_random_bytes(event->random, sizeof(event->random));
        note_payload(agent);
    }
    return fl_brain_step(agent->brain, event, &present_turn(agent)->brain);
}
