/* Statistics of containers: made-up control groups of both layouts, sampled at chosen times; the
 * sets and Docker's document compared with what the files said. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <unistd.h>

#include "agent/stats.h"
#include "base/fs.h"

enum { SECOND_NS = 1000000000, MIB = 1024 * 1024 };

#define ID "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define GROUP "/fl123456/task/" ID

struct world {
    struct fl_arena *arena;
    char dir[64];
    struct fl_stats *stats;
};

static void put(struct world *world, const char *dir, const char *name, const char *text)
{
    struct fl_str folder = fl_str_printf(world->arena, "%s/%s", world->dir, dir);
    struct fl_str path = fl_str_printf(world->arena, "%s/%s", folder.p, name);
    assert_int_equal(fl_fs_mkdirs(folder.p, 0755), 0);
    /* In place, as a kernel's file changes: it is held open. */
    int fd = open(path.p, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(fl_fs_write_all(fd, text, strlen(text)), 0);
    (void)close(fd);
}

static void open_world(struct world *world, enum fl_cgroup_layout layout)
{
    *world = (struct world){.arena = fl_arena_new(), .dir = "/tmp/fairlead-stats-XXXXXX"};
    assert_non_null(mkdtemp(world->dir));
    put(world, "proc", "stat", "cpu  100 0 50 850 0 0 0 0 0 0\ncpu0 1 1 1 1\n");
    put(world, "proc/77/net", "dev",
        "Inter-|   Receive                                                |  Transmit\n"
        " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs "
        "drop fifo colls carrier compressed\n"
        "    lo:     500       5    0    0    0     0          0         0      500       5    0 "
        "   0    0     0       0          0\n"
        "  eth0:    1000      10    1    2    0     0          0         0     2000      20    3 "
        "   4    0     0       0          0\n");
    struct fl_stats_config config = {
        .layout = layout,
        .cgroup_root = fl_str_of(world->dir),
        .proc_root = fl_str_printf(world->arena, "%s/proc", world->dir),
    };
    world->stats = fl_stats_new(&config);
}

static void close_world(struct world *world)
{
    fl_stats_free(world->stats);
    assert_int_equal(fl_fs_remove_tree(AT_FDCWD, world->dir), 0);
    fl_arena_free(world->arena);
}

static void fill_v1(struct world *world, const char *cpu_ns, const char *memory)
{
    put(world, "cpuacct" GROUP, "cpuacct.usage", cpu_ns);
    put(world, "cpuacct" GROUP, "cpuacct.usage_user", "300000000\n");
    put(world, "cpuacct" GROUP, "cpuacct.usage_percpu", "400000000 100000000 \n");
    put(world, "cpu" GROUP, "cpu.stat", "nr_periods 4\nnr_throttled 1\nthrottled_time 7\n");
    put(world, "memory" GROUP, "memory.usage_in_bytes", memory);
    put(world, "memory" GROUP, "memory.max_usage_in_bytes", "99\n");
    put(world, "memory" GROUP, "memory.failcnt", "0\n");
    put(world, "memory" GROUP, "memory.stat",
        "cache 5\ninactive_file 1\nhierarchical_memory_limit 67108864\ntotal_inactive_file "
        "1048576\n");
    put(world, "blkio" GROUP, "blkio.throttle.io_service_bytes_recursive",
        "8:0 Read 4096\n8:0 Write 512\n8:0 Sync 0\n8:0 Total 4608\nTotal 4608\n");
    put(world, "blkio" GROUP, "blkio.throttle.io_serviced_recursive", "8:0 Read 1\n8:0 Write 1\n");
    put(world, "pids" GROUP, "pids.current", "3\n");
    put(world, "pids" GROUP, "pids.max", "16384\n");
}

static void fill_v2(struct world *world, const char *usage_usec)
{
    struct fl_str cpu = fl_str_printf(world->arena,
                                      "usage_usec %s\nuser_usec 300\nsystem_usec 200\nnr_periods "
                                      "4\nnr_throttled 1\nthrottled_usec 7\n",
                                      usage_usec);
    put(world, GROUP, "cpu.stat", cpu.p);
    put(world, GROUP, "memory.current", "3145728\n");
    put(world, GROUP, "memory.max", "max\n");
    put(world, "/fl123456/task", "memory.max", "33554432\n");
    put(world, GROUP, "memory.stat", "anon 5\ninactive_file 1048576\n");
    put(world, GROUP, "io.stat",
        "8:0 rbytes=4096 wbytes=512 rios=1 wios=2 dbytes=0 dios=0\n8:16 rbytes=4 wbytes=8 rios=1 "
        "wios=1\n");
    put(world, GROUP, "pids.current", "3\n");
    put(world, GROUP, "pids.max", "max\n");
}

static json_t *document(struct world *world)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(256 * 1024);
    struct fl_json_writer jw = {.buf = &buf};
    assert_true(fl_stats_write_docker(world->stats, FL_STR(ID), FL_STR("ecs-web-1"), true, &jw));
    json_t *json = json_loadb(buf.p, buf.n, 0, NULL);
    assert_non_null(json);
    return json;
}

static int64_t at(const json_t *json, const char *a, const char *b)
{
    const json_t *value = json_object_get(json_object_get(json, a), b);
    assert_true(json_is_integer(value));
    return json_integer_value(value);
}

static void sets_come_from_two_samples(FL_UNUSED void **state)
{
    struct world world;
    double processors = (double)sysconf(_SC_NPROCESSORS_ONLN);
    open_world(&world, FL_CGROUP_HYBRID);
    fill_v1(&world, "500000000\n", "3145728\n");
    fl_stats_add(world.stats, FL_STR(ID), FL_STR(GROUP), 77, true);
    assert_int_equal(fl_stats_count(world.stats), 1);
    assert_null(fl_stats_round(world.stats, FL_STR(ID)));
    fl_stats_sample(world.stats, (int64_t)1 << 60, true);
    fl_stats_next_round(world.stats);
    assert_null(fl_stats_round(world.stats, FL_STR(ID)));
    fill_v1(&world, "2500000000\n", "5242880\n");
    fl_stats_sample(world.stats, ((int64_t)1 << 60) + (int64_t)10 * SECOND_NS, true);
    const struct fl_stats_round *round = fl_stats_round(world.stats, FL_STR(ID));
    assert_non_null(round);
    assert_int_equal(round->cpu_percent.count, 1);
    assert_true(fabs(round->cpu_percent.sum - 20 / processors) < 1e-6);
    assert_true(round->memory_mib.max == 4);
    assert_int_equal(round->counters[FL_STATS_RX_BYTES].sum, 1000);
    assert_int_equal(round->counters[FL_STATS_TX_DROPPED].max, 4);
    assert_int_equal(round->counters[FL_STATS_READ_BYTES].max, 4096);
    assert_int_equal(round->counters[FL_STATS_WRITE_BYTES].max, 512);
    assert_true(round->rx_per_second.max == 0);
    fl_stats_sample(world.stats, ((int64_t)1 << 60) + (int64_t)20 * SECOND_NS, false);
    assert_int_equal(round->cpu_percent.count, 2);
    assert_int_equal(round->counters[FL_STATS_RX_BYTES].count, 1);
    close_world(&world);
}

static void v1_makes_dockers_document(FL_UNUSED void **state)
{
    struct world world;
    open_world(&world, FL_CGROUP_V1);
    fill_v1(&world, "500000000\n", "3145728\n");
    fl_stats_add(world.stats, FL_STR(ID), FL_STR(GROUP), 77, true);
    json_t *json = document(&world);
    assert_string_equal(json_string_value(json_object_get(json, "name")), "/ecs-web-1");
    assert_string_equal(json_string_value(json_object_get(json, "id")), ID);
    const json_t *cpu = json_object_get(json, "cpu_stats");
    assert_int_equal(at(cpu, "cpu_usage", "total_usage"), 500000000);
    assert_int_equal(at(cpu, "cpu_usage", "usage_in_kernelmode"), 200000000);
    assert_int_equal(
        json_array_size(json_object_get(json_object_get(cpu, "cpu_usage"), "percpu_usage")), 2);
    assert_int_equal(at(cpu, "throttling_data", "throttled_time"), 7);
    assert_int_equal(at(json, "cpu_stats", "system_cpu_usage"),
                     (int64_t)1000 * SECOND_NS / sysconf(_SC_CLK_TCK));
    assert_int_equal(at(json, "pids_stats", "limit"), 16384);
    assert_int_equal(at(json, "memory_stats", "usage"), 3 * MIB);
    assert_int_equal(at(json, "memory_stats", "limit"), 64 * MIB);
    assert_int_equal(at(json_object_get(json, "memory_stats"), "stats", "cache"), 5);
    const json_t *io =
        json_object_get(json_object_get(json, "blkio_stats"), "io_service_bytes_recursive");
    assert_int_equal(json_array_size(io), 2);
    assert_int_equal(at(json_object_get(json, "networks"), "eth0", "tx_packets"), 20);
    assert_non_null(
        json_object_get(json_object_get(json, "network_rate_stats"), "rx_bytes_per_sec"));
    json_decref(json);
    close_world(&world);
}

static void v2_makes_dockers_document(FL_UNUSED void **state)
{
    struct world world;
    open_world(&world, FL_CGROUP_V2);
    fill_v2(&world, "500");
    fl_stats_add(world.stats, FL_STR(ID), FL_STR(GROUP), 77, false);
    json_t *json = document(&world);
    assert_int_equal(at(json_object_get(json, "cpu_stats"), "cpu_usage", "total_usage"), 500000);
    assert_int_equal(at(json_object_get(json, "cpu_stats"), "cpu_usage", "usage_in_usermode"),
                     300000);
    assert_int_equal(at(json_object_get(json, "cpu_stats"), "throttling_data", "throttled_time"),
                     7000);
    assert_int_equal(at(json, "memory_stats", "limit"), 32 * MIB);
    assert_null(json_object_get(json_object_get(json, "pids_stats"), "limit"));
    const json_t *io =
        json_object_get(json_object_get(json, "blkio_stats"), "io_service_bytes_recursive");
    assert_int_equal(json_array_size(io), 4);
    assert_null(json_object_get(json, "networks"));
    assert_null(json_object_get(json, "network_rate_stats"));
    json_decref(json);
    close_world(&world);
}

static void what_has_ended_is_unknown(FL_UNUSED void **state)
{
    struct world world;
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(1024);
    struct fl_json_writer jw = {.buf = &buf};
    open_world(&world, FL_CGROUP_V2);
    fl_stats_add(world.stats, FL_STR(ID), FL_STR(GROUP), 77, true);
    fl_stats_remove(world.stats, FL_STR(ID));
    fl_stats_remove(world.stats, FL_STR(ID));
    assert_false(fl_stats_write_docker(world.stats, FL_STR(ID), FL_STR("x"), true, &jw));
    assert_int_equal(buf.n, 0);
    assert_int_equal(fl_stats_count(world.stats), 0);
    close_world(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sets_come_from_two_samples),
        cmocka_unit_test(v1_makes_dockers_document),
        cmocka_unit_test(v2_makes_dockers_document),
        cmocka_unit_test(what_has_ended_is_unknown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
