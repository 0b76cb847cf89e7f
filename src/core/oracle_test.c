/* Placement against a plain scan (placement_naive.h) on one cluster in which everything changes:
 * random kinds of tasks with constraints, ports, groups and chained strategies; tasks that start,
 * stop and are forgotten; agents that come and go; instances that are added, altered and closed.
 * Both must name the very same instance from the same random stream, and when there is none the
 * same reason for every instance. With arguments (placements, first seed) it runs that many
 * instead. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/gpu.h"
#include "core/placement_naive.h"

enum { MAX_INSTANCES = 24, MAX_TASKS = 300, KINDS = 90, PER_SEED = 10000, MAX_TEXTS = 4 };

struct kind {
    struct fl_requirement requirement;
    int32_t ports[2];
    struct ecs_TaskDefinitionPlacementConstraint own;
    struct ecs_PlacementConstraint constraints[MAX_TEXTS];
    struct ecs_PlacementStrategy strategies[FL_MAX_STRATEGIES];
    struct ecs_Attribute required;
    struct ecs_TaskDefinition definition;
    size_t constraint_count, strategy_count;
};

struct world {
    struct fl_core *core;
    struct fl_cluster *cluster;
    struct fl_arena *arena;
    struct fl_rand rand;
    struct fl_turn turn;
    struct fl_instance *instances[MAX_INSTANCES];
    size_t instance_count;
    struct fl_task *tasks[MAX_TASKS];
    size_t task_count;
    struct kind kinds[KINDS];
    int64_t now_ms;
    size_t placed, refused;
};

static const char *const expressions[] = {
    "attribute:rack == r1",
    "attribute:rack != r1",
    "attribute:rack exists and not(attribute:zone == z1)",
    "attribute:zone in [z1, z2]",
    "attribute:rack =~ 'r[12]'",
    "runningTasksCount < 4",
    "runningTasksCount >= 1 or attribute:zone == z3",
    "task:group == g1",
    "not(task:group == g2)",
    "task:group !in [g0, g3]",
    "task:group =~ 'g[0-2]'",
    "agentConnected == true",
    "agentVersion >= 1.5.0",
    "ec2InstanceId =~ 'i-[0-7]'",
    "registeredAt > 2023-11-14T22:13:30",
    "registeredAt <= 2023-11-14T22:13:50Z",
};
static const char *const groups[] = {"g0", "g1", "g2", "g3"};
static const char *const fields[] = {"instanceId",     "host",           "attribute:zone",
                                     "attribute:rack", "attribute:zone", "attribute:serial"};

static size_t below(struct world *w, size_t bound)
{
    return fl_rand_below(&w->rand, bound);
}

static void random_id(struct world *w, char text[33])
{
    uint64_t words[2] = {fl_rand_u64(&w->rand), fl_rand_u64(&w->rand)};
    fl_hex(words, sizeof(words), text);
}

static void random_strategy(struct world *w, struct ecs_PlacementStrategy *s)
{
    size_t what = below(w, 9);
    *s = (struct ecs_PlacementStrategy){0};
    if (what == 0) {
        FL_SET(s, ecs_PlacementStrategy, type, ECS_PlacementStrategyType_random);
    } else if (what < 4) {
        FL_SET(s, ecs_PlacementStrategy, type, ECS_PlacementStrategyType_binpack);
        FL_SET(s, ecs_PlacementStrategy, field, below(w, 2) ? FL_STR("cpu") : FL_STR("MEMORY"));
    } else {
        FL_SET(s, ecs_PlacementStrategy, type, ECS_PlacementStrategyType_spread);
        FL_SET(s, ecs_PlacementStrategy, field, fl_str_of(fields[below(w, FL_ARRAY_SIZE(fields))]));
    }
}

static void random_constraint(struct world *w, struct kind *k)
{
    struct ecs_PlacementConstraint *c = &k->constraints[k->constraint_count++];
    *c = (struct ecs_PlacementConstraint){0};
    if (below(w, 5) == 0) {
        FL_SET(c, ecs_PlacementConstraint, type, ECS_PlacementConstraintType_distinctInstance);
        return;
    }
    FL_SET(c, ecs_PlacementConstraint, type, ECS_PlacementConstraintType_memberOf);
    FL_SET(c, ecs_PlacementConstraint, expression,
           fl_str_of(expressions[below(w, FL_ARRAY_SIZE(expressions))]));
}

static void random_kind(struct world *w, struct kind *k)
{
    *k = (struct kind){0};
    k->requirement.cpu = (int64_t)below(w, 4) * 50;
    k->requirement.memory = 4 + (int64_t)below(w, 150);
    k->requirement.group = fl_str_of(groups[below(w, FL_ARRAY_SIZE(groups))]);
    k->requirement.ports.items = k->ports;
    if (below(w, 6) == 0)
        k->requirement.gpus = 1 + (uint32_t)below(w, 3);
    if (below(w, 3) == 0)
        k->ports[k->requirement.ports.n++] = 16000 + (int32_t)below(w, 4);
    if (below(w, 8) == 0)
        k->ports[k->requirement.ports.n++] = 17000 + (int32_t)below(w, 4);
    for (size_t i = below(w, 4); i > 0; i--)
        if (below(w, 2))
            random_constraint(w, k);
    if (below(w, 8) == 0) {
        FL_SET(&k->own, ecs_TaskDefinitionPlacementConstraint, expression,
               fl_str_of(expressions[below(w, FL_ARRAY_SIZE(expressions))]));
        k->definition.placementConstraints.n = 1;
        k->definition.placementConstraints.items = &k->own;
    }
    if (below(w, 8) == 0) {
        FL_SET(&k->required, ecs_Attribute, name, FL_STR("rack"));
        if (below(w, 2))
            FL_SET(&k->required, ecs_Attribute, value, FL_STR("r2"));
        k->definition.requiresAttributes.n = 1;
        k->definition.requiresAttributes.items = &k->required;
    }
    k->strategy_count = below(w, FL_MAX_STRATEGIES + 1);
    for (size_t i = 0; i < k->strategy_count; i++)
        random_strategy(w, &k->strategies[i]);
}

/* Instances. */

static void random_attributes(struct world *w, struct rec_Instance *rec)
{
    static const char *const names[] = {"zone", "rack", "serial"};
    struct ecs_Attribute_list list = {.items =
                                          fl_arena_new_array(w->arena, struct ecs_Attribute, 3)};
    for (size_t i = 0; i < FL_ARRAY_SIZE(names); i++) {
        struct ecs_Attribute *a = &list.items[list.n];
        if (i > 0 && below(w, 4) == 0)
            continue;
        FL_SET(a, ecs_Attribute, name, fl_str_of(names[i]));
        FL_SET(a, ecs_Attribute, value,
               fl_str_printf(w->arena, "%c%zu", names[i][0], 1 + below(w, i == 2 ? 40 : 3)));
        list.n++;
    }
    FL_SET(rec, rec_Instance, attributes, list);
}

/* Altered instances keep some, lose some that tasks hold, and get some back. */
static void random_gpus(struct world *w, struct rec_Instance *rec)
{
    struct fl_str_list gpus = {.items = fl_arena_new_array(w->arena, struct fl_str, 6)};
    size_t most = below(w, 2) ? below(w, 7) : 0;
    for (size_t i = 0; i < most; i++)
        if (below(w, 5))
            gpus.items[gpus.n++] = fl_str_printf(w->arena, "GPU-%zu", i);
    FL_SET(rec, rec_Instance, gpus, gpus);
}

static void random_instance(struct world *w, struct rec_Instance *rec)
{
    struct fl_int_list ports = {.items = fl_arena_new_array(w->arena, int32_t, 4)};
    for (int32_t p = 16000; p < 16004; p++)
        if (below(w, 6) == 0)
            ports.items[ports.n++] = p;
    FL_SET(rec, rec_Instance, status, below(w, 12) ? FL_STR("ACTIVE") : FL_STR("DRAINING"));
    FL_SET(rec, rec_Instance, cpu, 100 + 100 * (int32_t)below(w, 8));
    FL_SET(rec, rec_Instance, memory, 100 + 100 * (int32_t)below(w, 8));
    FL_SET(rec, rec_Instance, ports, ports);
    random_gpus(w, rec);
    FL_SET(rec, rec_Instance, agentVersion, fl_str_printf(w->arena, "1.%zu.0", below(w, 12)));
    FL_SET(rec, rec_Instance, ec2InstanceId, fl_str_printf(w->arena, "i-%zu", below(w, 12)));
    if (below(w, 2) || rec->attributes.n == 0)
        random_attributes(w, rec);
}

static void add_instance(struct world *w)
{
    char id[33];
    struct rec_Instance rec = {0};
    if (w->instance_count == MAX_INSTANCES)
        return;
    random_id(w, id);
    FL_SET(&rec, rec_Instance, v, FL_RECORD_VERSION);
    FL_SET(&rec, rec_Instance, id, fl_str_of(id));
    FL_SET(&rec, rec_Instance, cluster, FL_STR("c"));
    FL_SET(&rec, rec_Instance, registeredAt, 1700000000000 + (int64_t)below(w, 60) * 1000);
    random_instance(w, &rec);
    fl_state_apply(w->core, FL_RECORD_INSTANCE, &rec);
    struct fl_instance *instance = fl_state_instance(w->cluster, rec.id);
    fl_state_connect(w->core, instance, true, 1, 1);
    w->instances[w->instance_count++] = instance;
}

static void alter_instance(struct world *w)
{
    struct fl_instance *instance = w->instances[below(w, w->instance_count)];
    struct rec_Instance *rec = fl_shape_copy(&rec_shape_Instance, instance->rec, w->arena);
    if (below(w, 2)) {
        fl_state_connect(w->core, instance, !instance->connected, 2, 1);
        return;
    }
    random_instance(w, rec);
    fl_state_apply(w->core, FL_RECORD_INSTANCE, rec);
}

/* Tasks. */

static void put_task(struct world *w, const struct kind *k, const struct fl_instance *instance)
{
    char id[33];
    struct rec_Task rec = {0};
    struct rec_TaskContainer containers[2] = {0};
    struct fl_decision d = {.core = w->core, .arena = w->arena};
    uint32_t gpus = k->requirement.gpus;
    uint64_t taken = 0;
    random_id(w, id);
    for (int i = 0; i < 2; i++) {
        FL_SET(&containers[i], rec_TaskContainer, id, fl_str_of(id));
        FL_SET(&containers[i], rec_TaskContainer, name, i ? FL_STR("b") : FL_STR("a"));
        FL_SET(&containers[i], rec_TaskContainer, status, REC_TaskStatus_PENDING);
        fl_gpu_assign(&d, instance, i ? gpus - gpus / 2 : gpus / 2, &taken, &containers[i]);
    }
    FL_SET(&rec, rec_Task, containers, ((struct rec_TaskContainer_list){2, containers}));
    FL_SET(&rec, rec_Task, v, FL_RECORD_VERSION);
    FL_SET(&rec, rec_Task, id, fl_str_of(id));
    FL_SET(&rec, rec_Task, cluster, FL_STR("c"));
    FL_SET(&rec, rec_Task, instance, instance->rec->id);
    FL_SET(&rec, rec_Task, family, FL_STR("f"));
    FL_SET(&rec, rec_Task, revision, 1);
    FL_SET(&rec, rec_Task, status, REC_TaskStatus_PENDING);
    FL_SET(&rec, rec_Task, desired, REC_TaskStatus_RUNNING);
    FL_SET(&rec, rec_Task, group, k->requirement.group);
    FL_SET(&rec, rec_Task, cpu, (int32_t)k->requirement.cpu);
    FL_SET(&rec, rec_Task, memory, (int32_t)k->requirement.memory);
    FL_SET(&rec, rec_Task, ports, k->requirement.ports);
    FL_SET(&rec, rec_Task, createdAt, ++w->now_ms);
    fl_state_apply(w->core, FL_RECORD_TASK, &rec);
    w->tasks[w->task_count++] = fl_state_task(w->cluster, rec.id);
}

static void move_task(struct world *w)
{
    if (w->task_count == 0)
        return;
    size_t at = below(w, w->task_count);
    struct rec_Task *rec = fl_shape_copy(&rec_shape_Task, w->tasks[at]->rec, w->arena);
    size_t what = below(w, 4);
    if (what == 0 && rec->status < REC_TaskStatus_RUNNING) {
        rec->status = REC_TaskStatus_RUNNING;
    } else if (what == 1) {
        rec->desired = REC_TaskStatus_STOPPED;
    } else {
        rec->status = rec->desired = REC_TaskStatus_STOPPED;
        FL_SET(rec, rec_Task, stoppedAt, ++w->now_ms);
    }
    fl_state_apply(w->core, FL_RECORD_TASK, rec);
    if (rec->status != REC_TaskStatus_STOPPED)
        return;
    fl_state_forget_task(w->core, w->tasks[at]);
    w->tasks[at] = w->tasks[--w->task_count];
}

/* The comparison. */

static void compare_failures(struct world *w, struct fl_decision *d,
                             const struct fl_placement *placement)
{
    struct ecs_Failure_list failures = {0};
    struct fl_instance *at;
    size_t i = 0;
    fl_placement_explain(d, placement, w->cluster, &failures);
    RB_FOREACH (at, fl_instance_tree, &w->cluster->instances) {
        enum fl_obstacle obstacle = naive_obstacle(placement, at);
        assert_int_not_equal(obstacle, FL_OBSTACLE_NONE);
        if (obstacle == FL_OBSTACLE_INACTIVE)
            continue;
        assert_true(i < failures.n);
        assert_true(fl_str_ends(failures.items[i].arn, at->rec->id));
        assert_true(fl_str_is(failures.items[i].reason, fl_placement_reason(obstacle)));
        i++;
    }
    assert_int_equal(i, failures.n);
}

static void place_one(struct world *w)
{
    const struct kind *k = &w->kinds[below(w, KINDS)];
    struct fl_instance *ties[MAX_INSTANCES];
    struct fl_decision d = {.core = w->core, .turn = &w->turn, .arena = w->arena};
    struct fl_placement placement;
    struct ecs_PlacementConstraint_list constraints = {
        k->constraint_count, (struct ecs_PlacementConstraint *)k->constraints};
    struct ecs_PlacementStrategy_list strategies = {k->strategy_count,
                                                    (struct ecs_PlacementStrategy *)k->strategies};
    d.rand.s[0] = fl_rand_u64(&w->rand);
    int rc =
        fl_placement_prepare(&d, w->cluster, &k->definition, &constraints, &strategies, &placement);
    if (rc < 0)
        print_message("# %.*s\n", FL_STR_ARG(d.error_text));
    assert_int_equal(rc, 0);
    bool distinct = placement.requirement.distinct;
    placement.requirement = k->requirement;
    placement.requirement.distinct = distinct;
    for (size_t i = 1 + below(w, 3); i > 0 && w->task_count < MAX_TASKS; i--) {
        struct naive naive = {.cluster = w->cluster, .placement = &placement, .ties = ties};
        struct fl_rand rand = d.rand;
        struct fl_instance *expected = naive_choose(&naive, &rand);
        struct fl_instance *chosen = fl_placement_choose(&d, &placement, w->cluster);
        assert_ptr_equal(chosen, expected);
        if (!chosen) {
            compare_failures(w, &d, &placement);
            w->refused++;
            return;
        }
        put_task(w, k, chosen);
        w->placed++;
    }
}

static struct world *new_world(uint32_t seed)
{
    struct fl_core_config config = {
        .region = FL_STR("r"), .account = FL_STR("1"), .endpoint = FL_STR("http://x")};
    struct world *w = fl_calloc(1, sizeof(*w));
    struct rec_Cluster cluster = {0};
    uint8_t bytes[32] = {(uint8_t)seed, (uint8_t)(seed >> 8), (uint8_t)(seed >> 16)};
    fl_rand_seed(&w->rand, bytes);
    fl_turn_init(&w->turn);
    w->arena = w->turn.arena;
    w->core = fl_core_new(&config);
    FL_SET(&cluster, rec_Cluster, name, FL_STR("c"));
    FL_SET(&cluster, rec_Cluster, status, FL_STR("ACTIVE"));
    fl_state_apply(w->core, FL_RECORD_CLUSTER, &cluster);
    w->cluster = fl_state_cluster(w->core, FL_STR("c"));
    for (size_t i = 0; i < KINDS; i++)
        random_kind(w, &w->kinds[i]);
    for (size_t i = 1 + below(w, 12); i > 0; i--)
        add_instance(w);
    return w;
}

/* Places about `count` tasks; returns how many, those refused included. */
static size_t live(uint32_t seed, size_t count)
{
    struct world *w = new_world(seed);
    while (w->placed + w->refused < count) {
        size_t what = below(w, 1000);
        if (what < 400)
            place_one(w);
        else if (what < 940)
            move_task(w);
        else if (what < 980)
            alter_instance(w);
        else if (what < 990)
            random_kind(w, &w->kinds[below(w, KINDS)]);
        else if (what < 995)
            add_instance(w);
        else
            fl_index_drop_views(w->cluster);
        fl_arena_reset(w->arena);
    }
    size_t done = w->placed + w->refused;
    assert_true(w->placed > count / 4 && w->refused > count / 100);
    fl_core_free(w->core);
    fl_turn_free(&w->turn);
    free(w);
    return done;
}

static void views_agree_with_the_scan(FL_UNUSED void **state)
{
    for (uint32_t seed = 1; seed <= 4; seed++) {
        print_message("# seed %u\n", seed);
        (void)live(seed, PER_SEED);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(views_agree_with_the_scan)};
    uint64_t wanted = 0, seed = 1;
    if (argc < 2)
        return cmocka_run_group_tests(tests, NULL, NULL);
    if (!fl_str_to_u64(fl_str_of(argv[1]), &wanted) ||
        (argc > 2 && !fl_str_to_u64(fl_str_of(argv[2]), &seed)))
        return 2;
    for (uint64_t done = 0; done < wanted; seed++) {
        (void)printf("seed %llu, %llu of %llu\n", (unsigned long long)seed,
                     (unsigned long long)done, (unsigned long long)wanted);
        (void)fflush(stdout);
        done += live((uint32_t)seed, 10 * PER_SEED);
    }
    return 0;
}
