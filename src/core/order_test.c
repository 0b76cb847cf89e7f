/* Who depends on whom: random graphs of containers, of which those that lead back to themselves are
 * refused in ECS's words, and all others are taken. Whether a graph does is found here by closing
 * it (Warshall), not by starting things in rounds. Fixed seeds. */
#include "core/core_fixture.h"

enum { GRAPHS = 3000, MOST = 10 };

struct graph {
    size_t n;
    bool on[MOST][MOST];    /* [i][k]: i depends on k, as it is written */
    bool leads[MOST][MOST]; /* at any distance */
    int kind[MOST][MOST];   /* 0: dependsOn, 1: a link, 2: borrowed volumes */
};

static size_t below(struct fl_rand *rand, size_t bound)
{
    return (size_t)fl_rand_below(rand, bound);
}

static void draw(struct fl_rand *rand, struct graph *graph)
{
    size_t percent = 3 + below(rand, 30);
    *graph = (struct graph){.n = 1 + below(rand, MOST)};
    for (size_t i = 0; i < graph->n; i++)
        for (size_t k = 0; k < graph->n; k++) {
            graph->on[i][k] = i != k && below(rand, 100) < percent;
            graph->leads[i][k] = graph->on[i][k];
            graph->kind[i][k] = below(rand, 6) < 4 ? 0 : 1 + (int)below(rand, 2);
        }
    for (size_t via = 0; via < graph->n; via++)
        for (size_t i = 0; i < graph->n; i++)
            for (size_t k = 0; k < graph->n; k++)
                graph->leads[i][k] |= graph->leads[i][via] && graph->leads[via][k];
}

/* The first that waits for itself, or for one that does; n: there is none. */
static size_t first_in_a_circle(const struct graph *graph)
{
    for (size_t i = 0; i < graph->n; i++)
        for (size_t k = 0; k < graph->n; k++)
            if (graph->leads[k][k] && (i == k || graph->leads[i][k]))
                return i;
    return graph->n;
}

/* Links and volumes are refused with a sentence of their own, before, when they alone lead back. */
static bool leads_back_without_order(const struct graph *graph)
{
    struct graph other = {.n = graph->n};
    for (size_t i = 0; i < graph->n; i++)
        for (size_t k = 0; k < graph->n; k++)
            other.leads[i][k] = graph->on[i][k] && graph->kind[i][k] > 0;
    for (size_t via = 0; via < graph->n; via++)
        for (size_t i = 0; i < graph->n; i++)
            for (size_t k = 0; k < graph->n; k++)
                other.leads[i][k] |= other.leads[i][via] && other.leads[via][k];
    return first_in_a_circle(&other) < graph->n;
}

static void write_list(struct fl_buf *out, const struct graph *graph, size_t i, int kind)
{
    static const char *const members[] = {"dependsOn", "links", "volumesFrom"};
    static const char *const before[] = {"{\"containerName\":\"", "\"", "{\"sourceContainer\":\""};
    static const char *const after[] = {"\",\"condition\":\"START\"}", "\"", "\"}"};
    const char *comma = "";
    fl_buf_printf(out, ",\"%s\":[", members[kind]);
    for (size_t k = 0; k < graph->n; k++) {
        if (!graph->on[i][k] || graph->kind[i][k] != kind)
            continue;
        fl_buf_printf(out, "%s%sc%zu%s", comma, before[kind], k, after[kind]);
        comma = ",";
    }
    fl_buf_add_z(out, "]");
}

static void write_definition(struct fl_buf *out, const struct graph *graph)
{
    fl_buf_add_z(out, "{\"family\":\"f\",\"containerDefinitions\":[");
    for (size_t i = 0; i < graph->n; i++) {
        fl_buf_printf(out, "%s{\"name\":\"c%zu\",\"image\":\"b\",\"memory\":8", i ? "," : "", i);
        for (int kind = 0; kind < 3; kind++)
            write_list(out, graph, i, kind);
        fl_buf_add_z(out, "}");
    }
    fl_buf_add_z(out, "]}");
}

static void circles_and_nothing_else_are_refused(FL_UNUSED void **state)
{
    struct fix *f = fix_new();
    struct fl_rand rand;
    size_t refused = 0;
    fl_rand_seed(&rand, (uint8_t[32]){8});
    for (size_t i = 0; i < GRAPHS; i++) {
        FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(64 * 1024);
        struct graph graph;
        char words[80];
        draw(&rand, &graph);
        if (leads_back_without_order(&graph))
            continue;
        write_definition(&text, &graph);
        size_t first = first_in_a_circle(&graph);
        (void)snprintf(words, sizeof(words), "Container 'c%zu' has a circular dependency.", first);
        unsigned status = fix_send(f, "RegisterTaskDefinition", fl_buf_str(&text));
        if (status != (first < graph.n ? 400 : 200))
            print_message("# %s\n%s\n", text.p, f->reply_text);
        assert_int_equal(status, first < graph.n ? 400 : 200);
        refused += status == 400;
        if (status == 200)
            continue;
        assert_string_equal(fix_text(f, "__type"), "ClientException");
        assert_string_equal(fix_text(f, "message"), words);
        assert_int_equal(f->records_put, 0);
    }
    assert_true(refused > GRAPHS / 10 && refused < GRAPHS * 9 / 10);
    fix_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(circles_and_nothing_else_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
