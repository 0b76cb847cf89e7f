/* How fast tasks are placed in memory, on one core, and what tasks and instances weigh.
 *
 * Every kind of host has eight attributes; the task asks for an instance type by regular expression
 * (three of four hosts have it), is spread by zone and then packed by memory. "choose" is the
 * choice and its accounting alone, hosts filled to 70 %; "churn" frees a random task for each one
 * placed, hosts half full; "groups" does so with 300 groups of tasks by turns, "sizes" with 300
 * groups that have a size each (at 100,000 hosts more than there is room for views: each is made
 * anew); "scan" is the plain scan that the tests compare with, on empty hosts, where it is fastest.
 * "RunTask" goes through fl_core_step, ten tasks a call, records and answers included. */
#include <malloc.h>
#include <stdio.h>
#include <time.h>

#include "core/placement_naive.h"

enum { CPU = 8192, MEMORY = 32768, TASK_CPU = 128, TASK_MEMORY = 512, PER_HOST = 64 };
enum { MAX_SIZES = 3, GROUPS = 300, KINDS = 2 * GROUPS }; /* the second half has a size each */

/* As small as can be: what is measured is the engine's memory and not this. */
struct held {
    uint32_t seat;
    uint32_t kind;
};

struct bench {
    struct fl_core *core;
    struct fl_cluster *cluster;
    struct fl_turn turn;
    struct fl_decision d;
    uint32_t hosts;
    struct fl_placement placements[KINDS];
    struct fl_group *groups[KINDS];
    struct held *held;
    size_t held_count;
};

/* The processor's time: other work on the machine does not count. */
static int64_t now_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static size_t heap(void)
{
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

static void add_host(struct bench *b, uint32_t i)
{
    static const char *const types[] = {"m5.large", "m5.xlarge", "m5.2xlarge", "t3.large"};
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    const struct {
        const char *name;
        struct fl_str value;
    } attributes[] = {
        {"ecs.availability-zone", fl_str_printf(arena, "eu-central-1%c", 'a' + (int)(i % 3))},
        {"ecs.instance-type", fl_str_of(types[i / 3 % 4])},
        {"ecs.os-type", FL_STR("linux")},
        {"ecs.os-family", FL_STR("LINUX")},
        {"ecs.cpu-architecture", FL_STR("x86_64")},
        {"ecs.ami-id", FL_STR("ami-0123456789abcdef0")},
        {"ecs.vpc-id", FL_STR("vpc-0123456789abcdef0")},
        {"ecs.subnet-id", fl_str_printf(arena, "subnet-%u", i % 3)},
    };
    struct ecs_Attribute items[FL_ARRAY_SIZE(attributes)] = {0};
    int32_t ports[] = {44, 4750, 4752, 103356, 103358};
    struct rec_Instance rec = {0};
    uint64_t words[2] = {fl_rand_u64(&b->d.rand), fl_rand_u64(&b->d.rand)};
    char id[33];
    fl_hex(words, sizeof(words), id);
    for (size_t k = 0; k < FL_ARRAY_SIZE(attributes); k++) {
        FL_SET(&items[k], ecs_Attribute, name, fl_str_of(attributes[k].name));
        FL_SET(&items[k], ecs_Attribute, value, attributes[k].value);
    }
    FL_SET(&rec, rec_Instance, v, FL_RECORD_VERSION);
    FL_SET(&rec, rec_Instance, id, fl_str_of(id));
    FL_SET(&rec, rec_Instance, cluster, FL_STR("default"));
    FL_SET(&rec, rec_Instance, status, FL_STR("ACTIVE"));
    FL_SET(&rec, rec_Instance, cpu, CPU);
    FL_SET(&rec, rec_Instance, memory, MEMORY);
    FL_SET(&rec, rec_Instance, ports, ((struct fl_int_list){FL_ARRAY_SIZE(ports), ports}));
    FL_SET(&rec, rec_Instance, attributes,
           ((struct ecs_Attribute_list){FL_ARRAY_SIZE(items), items}));
    FL_SET(&rec, rec_Instance, agentVersion, FL_STR("1.2.3"));
    FL_SET(&rec, rec_Instance, registeredAt, 1700000000000 + i);
    fl_state_apply(b->core, FL_RECORD_INSTANCE, &rec);
    fl_state_connect(b->core, fl_state_instance(b->cluster, rec.id), true, 1 + i, 1);
}

static void prepare(struct bench *b, int kind)
{
    static struct ecs_PlacementConstraint constraint;
    static struct ecs_PlacementStrategy strategies[2];
    struct ecs_TaskDefinition def = {0};
    FL_SET(&constraint, ecs_PlacementConstraint, type, ECS_PlacementConstraintType_memberOf);
    FL_SET(&constraint, ecs_PlacementConstraint, expression,
           FL_STR("attribute:ecs.instance-type =~ m5.*"));
    FL_SET(&strategies[0], ecs_PlacementStrategy, type, ECS_PlacementStrategyType_spread);
    FL_SET(&strategies[0], ecs_PlacementStrategy, field, FL_STR("attribute:ecs.availability-zone"));
    FL_SET(&strategies[1], ecs_PlacementStrategy, type, ECS_PlacementStrategyType_binpack);
    FL_SET(&strategies[1], ecs_PlacementStrategy, field, FL_STR("memory"));
    struct fl_placement *p = &b->placements[kind];
    int rc = fl_placement_prepare(&b->d, b->cluster, &def,
                                  &(struct ecs_PlacementConstraint_list){1, &constraint},
                                  &(struct ecs_PlacementStrategy_list){2, strategies}, p);
    FL_ASSERT(rc == 0);
    p->requirement.cpu = TASK_CPU;
    p->requirement.memory = kind < GROUPS ? TASK_MEMORY : TASK_MEMORY - GROUPS / 2 + kind % GROUPS;
    p->requirement.group = fl_str_printf(b->d.arena, "family:kind-%d", kind);
    b->groups[kind] = fl_group_use(b->cluster, p->requirement.group);
}

static struct bench *set_up(uint32_t hosts, size_t *ret_host_bytes)
{
    struct fl_core_config config = {.region = FL_STR("eu-central-1"),
                                    .account = FL_STR("000000000000"),
                                    .endpoint = FL_STR("http://127.0.0.1")};
    struct rec_Cluster rec = {0};
    struct bench *b = fl_calloc(1, sizeof(*b));
    b->core = fl_core_new(&config);
    b->hosts = hosts;
    fl_turn_init(&b->turn);
    b->d = (struct fl_decision){.core = b->core, .turn = &b->turn, .arena = b->turn.arena};
    fl_rand_seed(&b->d.rand, (const uint8_t[32]){1});
    FL_SET(&rec, rec_Cluster, v, FL_RECORD_VERSION);
    FL_SET(&rec, rec_Cluster, name, FL_STR("default"));
    FL_SET(&rec, rec_Cluster, status, FL_STR("ACTIVE"));
    fl_state_apply(b->core, FL_RECORD_CLUSTER, &rec);
    b->cluster = fl_state_cluster(b->core, FL_STR("default"));
    size_t before = heap();
    for (uint32_t i = 0; i < hosts; i++)
        add_host(b, i);
    *ret_host_bytes = (heap() - before) / hosts;
    for (int kind = 0; kind < KINDS; kind++)
        prepare(b, kind);
    b->held = fl_calloc((size_t)hosts * PER_HOST, sizeof(*b->held));
    return b;
}

static void account(struct bench *b, struct fl_instance *instance, uint32_t kind, int sign)
{
    static const struct fl_int_list no_ports;
    const struct fl_requirement *r = &b->placements[kind].requirement;
    struct fl_share share = {r->cpu, r->memory, &no_ports, b->groups[kind], NULL, true};
    fl_load_change(instance, &share, sign);
    fl_index_touch(b->cluster->index, instance);
}

static bool place(struct bench *b, uint32_t kind)
{
    struct fl_instance *instance = fl_placement_choose(&b->d, &b->placements[kind], b->cluster);
    if (!instance)
        return false;
    account(b, instance, kind, 1);
    b->held[b->held_count++] = (struct held){instance->seat, kind};
    return true;
}

static void release(struct bench *b, size_t at)
{
    struct held held = b->held[at];
    account(b, b->cluster->index->seats[held.seat], held.kind, -1);
    b->held[at] = b->held[--b->held_count];
}

static void clear(struct bench *b)
{
    while (b->held_count)
        release(b, b->held_count - 1);
}

enum { ENOUGH_NS = 1000000000 };

/* Placements a second while the hosts fill up to 70 %. */
static double choose(struct bench *b)
{
    size_t full = (size_t)b->hosts * PER_HOST * 3 / 4 * 7 / 10, count = 0;
    int64_t spent_ns = 0;
    while (b->held_count < full) /* once for warming up: the first time takes memory, too */
        FL_ASSERT(place(b, 0));
    while (spent_ns < ENOUGH_NS) {
        clear(b);
        (void)fl_placement_choose(&b->d, &b->placements[0], b->cluster);
        int64_t start_ns = now_ns();
        while (b->held_count < full)
            FL_ASSERT(place(b, 0));
        spent_ns += now_ns() - start_ns;
        count += full;
    }
    clear(b);
    return (double)count * 1e9 / (double)spent_ns;
}

/* The same while a task ends for each one placed; ten of each of the kinds by turns. */
static double churn(struct bench *b, uint32_t first, uint32_t kinds)
{
    size_t half = (size_t)b->hosts * PER_HOST * 3 / 4 / 2, count = 0;
    for (uint32_t i = 0; i < kinds; i++)
        FL_ASSERT(place(b, first + i));
    while (b->held_count < half)
        FL_ASSERT(place(b, 0));
    int64_t start_ns = now_ns();
    while (now_ns() - start_ns < ENOUGH_NS) {
        for (uint32_t i = 0; i < 10; i++, count++) {
            release(b, fl_rand_below(&b->d.rand, b->held_count));
            FL_ASSERT(place(b, first + (uint32_t)(count / 10) % kinds));
        }
    }
    double rate = (double)count * 1e9 / (double)(now_ns() - start_ns);
    clear(b);
    return rate;
}

static double scan(struct bench *b)
{
    struct naive naive = {.cluster = b->cluster, .placement = &b->placements[0], .any_tie = true};
    size_t count = 0;
    naive.ties = fl_calloc(b->hosts, sizeof(struct fl_instance *));
    int64_t start_ns = now_ns();
    do {
        FL_ASSERT(naive_choose(&naive, &b->d.rand));
        count++;
    } while (now_ns() - start_ns < ENOUGH_NS / 4);
    free(naive.ties);
    return (double)count * 1e9 / (double)(now_ns() - start_ns);
}

static void tear_down(struct bench *b)
{
    for (int kind = 0; kind < KINDS; kind++)
        fl_group_release(b->cluster, b->groups[kind]);
    fl_core_free(b->core);
    fl_turn_free(&b->turn);
    free(b->held);
    free(b);
}

/* One API command, given as JSON. */
static void command(struct bench *b, const char *operation, const char *text, uint64_t seed,
                    int *ret_ok)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_err err;
    struct fl_shape_error fault;
    const struct fl_json *json = fl_json_read(fl_str_of(text), arena, &err);
    int index = fl_aws_service_find(&ecs_service, fl_str_of(operation));
    struct fl_core_event event = {.kind = FL_CORE_EVENT_COMMAND, .operation = index};
    struct fl_turn turn;
    const struct fl_shape *shape = ecs_service.operations[index].input;
    void *input = fl_arena_alloc(arena, fl_shape_size(shape));
    int rc = fl_shape_decode(shape, json, arena, input, &fault);
    FL_ASSERT(rc == 0);
    event.now_ms = 1700000100000;
    event.input = input;
    memcpy(event.seed, &seed, sizeof(seed));
    fl_turn_init(&turn);
    fl_core_step(b->core, &event, &turn);
    *ret_ok = turn.effects[turn.effect_count - 1].status == 200 && turn.record_count > 0;
    fl_turn_free(&turn);
}

/* Every task as its agent reports it once it runs. */
static void report_running(struct bench *b)
{
    struct fl_task *task;
    RB_FOREACH (task, fl_task_tree, &b->cluster->tasks) {
        char text[1024];
        int ok;
        (void)snprintf(
            text, sizeof(text),
            "{\"task\":\"arn:aws:ecs:eu-central-1:000000000000:task/default/%.*s\","
            "\"status\":\"RUNNING\",\"pullStartedAt\":1700000101,\"pullStoppedAt\":1700000102,"
            "\"containers\":[{\"containerName\":\"app\",\"status\":\"RUNNING\","
            "\"runtimeId\":\"%.*s%.*s\",\"imageDigest\":\"sha256:"
            "4b825dc642cb6eb9a060e54bf8d69288fbee4904aabbccddeeff001122334455\","
            "\"networkBindings\":[{\"bindIP\":\"0.0.0.0\",\"containerPort\":80,"
            "\"hostPort\":32768,\"protocol\":\"tcp\"}]}]}",
            FL_STR_ARG(task->rec->id), FL_STR_ARG(task->rec->id), FL_STR_ARG(task->rec->id));
        command(b, "SubmitTaskStateChange", text, 3, &ok);
        FL_ASSERT(ok && task->rec->status == REC_TaskStatus_RUNNING);
    }
}

static void run_tasks(uint32_t hosts)
{
    static const char run[] =
        "{\"taskDefinition\":\"web\",\"count\":10,\"placementConstraints\":[{\"type\":\"memberOf\","
        "\"expression\":\"attribute:ecs.instance-type =~ m5.*\"}],\"placementStrategy\":[{\"type\":"
        "\"spread\",\"field\":\"attribute:ecs.availability-zone\"},{\"type\":\"binpack\","
        "\"field\":\"memory\"}]}";
    size_t host_bytes, tasks = 0;
    int ok;
    struct bench *b = set_up(hosts, &host_bytes);
    command(b, "RegisterTaskDefinition",
            "{\"family\":\"web\",\"containerDefinitions\":[{\"name\":\"app\",\"image\":\"web:1\","
            "\"cpu\":128,\"memory\":512,\"portMappings\":[{\"containerPort\":80}]}]}",
            1, &ok);
    FL_ASSERT(ok);
    command(b, "RunTask", run, 1, &ok);
    size_t before = heap();
    int64_t start_ns = now_ns();
    while (tasks < (size_t)hosts * PER_HOST / 2 && now_ns() - start_ns < ENOUGH_NS) {
        command(b, "RunTask", run, 2 + tasks, &ok);
        FL_ASSERT(ok);
        tasks += 10;
    }
    double rate = (double)tasks * 1e9 / (double)(now_ns() - start_ns);
    size_t pending_bytes = (heap() - before) / tasks;
    report_running(b);
    (void)printf("%8u %12.0f %12zu %12zu %12zu\n", hosts, rate, pending_bytes,
                 (heap() - before) / tasks, host_bytes);
    (void)fflush(stdout);
    tear_down(b);
}

/* The best of a few rounds, which the sizes have by turns: what else the machine does disturbs them
 * alike, and the caches that they share with it least. */
static void print_placements(const uint32_t *sizes, struct bench **b, size_t count)
{
    enum { ROUNDS = 3 };
    double chosen[MAX_SIZES] = {0};
    for (int round = 0; round < ROUNDS; round++)
        for (size_t i = 0; i < count; i++)
            chosen[i] = FL_MAX(chosen[i], choose(b[i]));
    for (size_t i = 0; i < count; i++) {
        double churned = churn(b[i], 0, 1);
        double groups = churn(b[i], 0, GROUPS), kinds = churn(b[i], GROUPS, GROUPS);
        (void)printf("%8u %12.0f %11.0f%% %12.0f %12.0f %12.0f %8.0f\n", sizes[i], chosen[i],
                     100 * chosen[i] / chosen[0], churned, groups, kinds, scan(b[i]));
        (void)fflush(stdout);
    }
}

int main(void)
{
    static const uint32_t sizes[MAX_SIZES] = {1000, 5000, 100000};
    struct bench *b[MAX_SIZES];
    size_t host_bytes;
    for (size_t i = 0; i < MAX_SIZES; i++)
        b[i] = set_up(sizes[i], &host_bytes);
    (void)printf("placements/s of processor time, memberOf + spread by zone + binpack by memory\n");
    (void)printf("%8s %12s %12s %12s %12s %12s %8s\n", "hosts", "choose", "of 1000's", "churn",
                 "groups", "sizes", "scan");
    print_placements(sizes, b, MAX_SIZES);
    for (size_t i = 0; i < MAX_SIZES; i++)
        tear_down(b[i]);
    (void)printf("RunTask, count 10, through fl_core_step; bytes in the heap\n");
    (void)printf("%8s %12s %12s %12s %12s\n", "hosts", "tasks/s", "a pending", "a running",
                 "an instance");
    for (size_t i = 0; i < MAX_SIZES; i++)
        run_tasks(sizes[i]);
    return 0;
}
