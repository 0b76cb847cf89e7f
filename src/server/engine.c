/* Turns. One is open at a time; it is committed at the end of the loop's iteration, while those
 * before it may still be on their way to the disk: the store keeps their order. A question that has
 * changed nothing and has seen nothing that is not on the disk is answered on the spot. */
#include "server/engine.h"

#include "base/clock.h"
#include "base/id.h"

struct pending_turn {
    struct fl_engine *engine;
    struct fl_turn turn;
    struct fl_store_op *ops;
};

struct fl_engine {
    struct fl_core *core;
    struct fl_store *store;
    struct fl_engine_callbacks callbacks;
    void *context;
    struct pending_turn *open;  /* NULL: no event since the last commit */
    struct pending_turn *spare; /* one that is through, to be used again; or NULL */
    struct fl_random_stock random;
    size_t on_their_way; /* turns given to the store and not durable yet */
    uv_check_t end_of_iteration;
    uv_idle_t do_not_block; /* active while a turn is open, so that the loop comes round */
    uv_timer_t due;
    int64_t due_ms; /* what the timer is armed for */
};

static void arm_timer(struct fl_engine *engine);

static struct pending_turn *begin_turn(struct fl_engine *engine)
{
    struct pending_turn *pending = FL_TAKE_PTR(engine->spare);
    if (pending)
        return pending;
    pending = fl_calloc(1, sizeof(*pending));
    pending->engine = engine;
    fl_turn_init(&pending->turn);
    return pending;
}

static void free_turn(struct pending_turn *pending)
{
    if (!pending)
        return;
    fl_turn_free(&pending->turn);
    free(pending->ops);
    free(pending);
}

static void end_turn(struct pending_turn *pending)
{
    if (pending->engine->spare) {
        free_turn(pending);
        return;
    }
    fl_turn_clear(&pending->turn);
    free(pending->ops);
    pending->ops = NULL;
    pending->engine->spare = pending;
}

static void let_out(struct pending_turn *pending)
{
    struct fl_engine *engine = pending->engine;
    for (size_t i = 0; i < pending->turn.effect_count; i++)
        engine->callbacks.effect(engine->context, &pending->turn.effects[i]);
    engine->callbacks.turn_done(engine->context);
    end_turn(pending);
}

static void turn_is_durable(void *context)
{
    struct pending_turn *pending = context;
    pending->engine->on_their_way--;
    let_out(pending);
}

static void give_to_store(struct fl_engine *engine, struct pending_turn *pending)
{
    pending->ops = fl_calloc(pending->turn.record_count, sizeof(*pending->ops));
    for (size_t i = 0; i < pending->turn.record_count; i++)
        pending->ops[i] = (struct fl_store_op){.key = pending->turn.records[i].key,
                                               .value = pending->turn.records[i].value};
    engine->on_their_way++;
    fl_store_commit(engine->store, pending->ops, pending->turn.record_count, turn_is_durable,
                    pending);
}

/* A turn that changes nothing, and has seen nothing that is not on the disk, need not ask there. */
static bool may_leave(const struct fl_engine *engine, const struct fl_turn *turn)
{
    return turn->record_count == 0 && engine->on_their_way == 0;
}

static void commit_turn(struct fl_engine *engine)
{
    struct pending_turn *pending = FL_TAKE_PTR(engine->open);
    if (!pending)
        return;
    (void)uv_idle_stop(&engine->do_not_block);
    if (may_leave(engine, &pending->turn))
        let_out(pending);
    else
        give_to_store(engine, pending);
    arm_timer(engine);
}

static void on_end_of_iteration(uv_check_t *handle)
{
    commit_turn(handle->data);
}

static void on_idle(FL_UNUSED uv_idle_t *handle)
{
}

/* One call was answered, and that is all. */
static bool is_answer(const struct fl_turn *turn)
{
    return turn->effect_count == 1 && turn->effects[0].kind == FL_CORE_EFFECT_REPLY;
}

void fl_engine_step(struct fl_engine *engine, struct fl_core_event *event)
{
    event->now_ms = fl_clock_wall_ms();
    fl_random_take(&engine->random, event->seed, sizeof(event->seed));
    if (engine->open) {
        fl_core_step(engine->core, event, &engine->open->turn);
        return;
    }
    struct pending_turn *turn = begin_turn(engine);
    fl_core_step(engine->core, event, &turn->turn);
    if (is_answer(&turn->turn) && may_leave(engine, &turn->turn)) {
        let_out(turn);
        return;
    }
    engine->open = turn;
    (void)uv_idle_start(&engine->do_not_block, on_idle);
}

static void on_due(uv_timer_t *timer)
{
    struct fl_engine *engine = timer->data;
    struct fl_core_event event = {.kind = FL_CORE_EVENT_TIMER};
    engine->due_ms = INT64_MAX;
    fl_engine_step(engine, &event);
}

/* The wall clock may be set: never sleep longer than a minute without looking again. */
static void arm_timer(struct fl_engine *engine)
{
    enum { LONGEST_MS = 60 * 1000 };
    int64_t due_ms = fl_core_next_due(engine->core);
    if (due_ms == engine->due_ms)
        return;
    engine->due_ms = due_ms;
    if (due_ms == INT64_MAX) {
        (void)uv_timer_stop(&engine->due);
        return;
    }
    int64_t wait_ms = FL_MIN(FL_MAX(due_ms - fl_clock_wall_ms(), (int64_t)1), (int64_t)LONGEST_MS);
    (void)uv_timer_start(&engine->due, on_due, (uint64_t)wait_ms, 0);
}

struct loading {
    struct fl_core *core;
    struct fl_keys *keys;
    struct fl_vault *vault;
    struct fl_err *err;
};

static int load_record(void *context, struct fl_str key, struct fl_str value)
{
    struct loading *loading = context;
    if (fl_str_starts(key, FL_STR(FL_KEYS_PREFIX)))
        return fl_keys_load_record(loading->keys, key, value, loading->err);
    if (fl_str_starts(key, FL_STR(FL_VAULT_PREFIX)))
        return fl_vault_load_record(loading->vault, key, value, loading->err);
    return fl_core_load(loading->core, key, value, loading->err);
}

int fl_engine_open(uv_loop_t *loop, struct fl_core *core, struct fl_keys *keys,
                   struct fl_vault *vault, struct fl_store *store,
                   const struct fl_engine_callbacks *callbacks, void *context,
                   struct fl_engine **ret_engine, struct fl_err *err)
{
    struct loading loading = {.core = core, .keys = keys, .vault = vault, .err = err};
    int rc = fl_store_load(store, load_record, &loading, err);
    if (rc < 0)
        return rc;
    struct fl_engine *engine = fl_calloc(1, sizeof(*engine));
    engine->core = core;
    engine->store = store;
    engine->callbacks = *callbacks;
    engine->context = context;
    engine->due_ms = INT64_MAX;
    (void)uv_check_init(loop, &engine->end_of_iteration);
    (void)uv_idle_init(loop, &engine->do_not_block);
    (void)uv_timer_init(loop, &engine->due);
    engine->end_of_iteration.data = engine->do_not_block.data = engine->due.data = engine;
    (void)uv_check_start(&engine->end_of_iteration, on_end_of_iteration);
    arm_timer(engine);
    *ret_engine = engine;
    return 0;
}

static void last_handle_closed(uv_handle_t *handle)
{
    struct fl_engine *engine = handle->data;
    free_turn(engine->spare);
    free(engine);
}

void fl_engine_close(struct fl_engine *engine)
{
    commit_turn(engine);
    uv_close((uv_handle_t *)&engine->end_of_iteration, NULL);
    uv_close((uv_handle_t *)&engine->do_not_block, NULL);
    uv_close((uv_handle_t *)&engine->due, last_handle_closed);
}
