/* A brain and random graphs of containers, also such as lead back to themselves, which a control
 * plane is to refuse and a hostile one sends: who can start does, in an order that the graph
 * allows; who leads into a circle never does; when the task is to stop, nobody is told before those
 * that depend on him have ended, and in the end nothing is left. Fixed seeds. */
#include "task/test_brain.h"

enum { GRAPHS = 400, MOST = 8, ROUNDS = 100 };

#define TASK "arn:aws:ecs:r:1:task/c/1"

struct graph {
    size_t n;
    struct fl_container_spec specs[MOST];
    struct fl_dependency lists[MOST][MOST];
    char names[MOST][24];
    bool leads[MOST][MOST]; /* at any distance */
    bool launched[MOST], ended[MOST];
    char ids[MOST][FL_CONTAINER_ID_SIZE];
};

static void draw(struct fl_rand *rand, struct graph *graph)
{
    uint64_t percent = 3 + fl_rand_below(rand, 35);
    *graph = (struct graph){.n = 1 + (size_t)fl_rand_below(rand, MOST)};
    for (size_t i = 0; i < graph->n; i++)
        (void)snprintf(graph->names[i], sizeof(graph->names[i]), "c%zu", i);
    for (size_t i = 0; i < graph->n; i++) {
        struct fl_container_spec *spec = &graph->specs[i];
        *spec = (struct fl_container_spec){.name = fl_str_of(graph->names[i]),
                                           .image = FL_STR("b"),
                                           .essential = true,
                                           .stop_timeout_s = 5,
                                           .depends_on = graph->lists[i]};
        for (size_t k = 0; k < graph->n; k++) {
            graph->leads[i][k] = i != k && fl_rand_below(rand, 100) < percent;
            if (graph->leads[i][k])
                spec->depends_on[spec->depends_on_count++] =
                    (struct fl_dependency){fl_str_of(graph->names[k]), FL_WHEN_STARTED};
        }
    }
    for (size_t via = 0; via < graph->n; via++)
        for (size_t i = 0; i < graph->n; i++)
            for (size_t k = 0; k < graph->n; k++)
                graph->leads[i][k] |= graph->leads[i][via] && graph->leads[via][k];
}

static bool can_start(const struct graph *graph, size_t i)
{
    for (size_t k = 0; k < graph->n; k++)
        if (graph->leads[k][k] && (i == k || graph->leads[i][k]))
            return false;
    return true;
}

static size_t number_of(const struct graph *graph, struct fl_str id)
{
    size_t i = 0;
    while (i < graph->n && !fl_str_is(id, graph->ids[i]))
        i++;
    assert_true(i < graph->n);
    return i;
}

static struct fl_brain_event about(enum fl_brain_event_type type, const char *id)
{
    struct fl_brain_event event = {.type = type};
    struct fl_str text = fl_str_of(id);
    if (type == FL_EVENT_IMAGE_READY) {
        event.image.container_id = text;
    } else if (type == FL_EVENT_PREPARED) {
        event.prepared.container_id = text;
    } else {
        event.process.container_id = text;
        event.process.at_ms = 1700000000000;
    }
    return event;
}

static void check_launch(const struct graph *graph, size_t i)
{
    assert_false(graph->launched[i]);
    for (size_t k = 0; k < graph->n; k++)
        assert_true(!graph->leads[i][k] || graph->launched[k]);
}

static void check_signal(const struct graph *graph, size_t i)
{
    for (size_t k = 0; k < graph->n; k++)
        assert_true(!graph->leads[k][i] || graph->ended[k] || !graph->launched[k]);
}

/* What the runtime makes of an effect; false: nothing. */
static bool answer(struct graph *graph, const struct fl_effect *effect,
                   struct fl_brain_event *ret_event)
{
    if (effect->container_id.n == 0)
        return false;
    size_t i = number_of(graph, effect->container_id);
    enum fl_brain_event_type type = FL_EVENT_IMAGE_READY;
    if (effect->type == FL_EFFECT_PREPARE) {
        type = FL_EVENT_PREPARED;
    } else if (effect->type == FL_EFFECT_LAUNCH) {
        check_launch(graph, i);
        graph->launched[i] = true;
        type = FL_EVENT_STARTED;
    } else if (effect->type == FL_EFFECT_SIGNAL) {
        check_signal(graph, i);
        graph->ended[i] = true;
        type = FL_EVENT_EXITED;
    } else if (effect->type != FL_EFFECT_ENSURE_IMAGE) {
        return false;
    }
    *ret_event = about(type, graph->ids[i]);
    return true;
}

/* Answers one effect after the other, the oldest first, until there is none. */
static void run_out(struct rig *rig, struct graph *graph)
{
    struct fl_brain_event waiting[ROUNDS];
    size_t first = 0, count = 0;
    do {
        for (const struct fl_effect *effect = rig->turn.first; effect; effect = effect->next) {
            assert_true(count < ROUNDS);
            count += answer(graph, effect, &waiting[count]);
        }
        if (first < count)
            rig_step(rig, waiting[first]);
    } while (first++ < count);
}

static void order(struct rig *rig, const struct graph *graph, int64_t seq, bool is_running)
{
    struct fl_task_spec spec = {.arn = FL_STR(TASK),
                                .family = FL_STR("f"),
                                .revision = FL_STR("1"),
                                .desired_running = is_running,
                                .containers = (struct fl_container_spec *)graph->specs,
                                .container_count = graph->n};
    struct fl_brain_order one = {.arn = spec.arn, .cluster_arn = FL_STR("c"), .spec = &spec};
    struct fl_brain_event event = {.type = FL_EVENT_PAYLOAD};
    event.payload.header.seq = seq;
    event.payload.orders = &one;
    event.payload.order_count = 1;
    rig_step(rig, event);
}

static void learn_ids(const struct rig *rig, struct graph *graph)
{
    const struct fl_task *task = fl_brain_task(rig->brain, FL_STR(TASK));
    for (size_t i = 0; i < graph->n; i++)
        memcpy(graph->ids[i], task->containers[i].id, sizeof(graph->ids[i]));
}

static void every_graph_starts_and_stops_in_its_order(FL_UNUSED void **state)
{
    static struct graph graph;
    struct fl_rand rand;
    size_t stuck = 0;
    fl_rand_seed(&rand, (uint8_t[32]){9});
    for (int round = 0; round < GRAPHS; round++) {
        struct rig *rig = rig_new();
        draw(&rand, &graph);
        order(rig, &graph, 1, true);
        learn_ids(rig, &graph);
        run_out(rig, &graph);
        for (size_t i = 0; i < graph.n; i++) {
            assert_true(graph.launched[i] == can_start(&graph, i));
            stuck += !graph.launched[i];
        }
        order(rig, &graph, 2, false);
        run_out(rig, &graph);
        assert_int_equal(fl_brain_task(rig->brain, FL_STR(TASK))->status, FL_TASK_STOPPED);
        rig_free(rig);
    }
    assert_true(stuck > GRAPHS / 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_graph_starts_and_stops_in_its_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
