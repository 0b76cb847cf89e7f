/* Docker's ContainerStats document: one reading now, and the last periodic sample as the one
 * before. What Docker leaves empty or out on a cgroup layout is so here. */
#include "agent/stats_internal.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"

enum { TEXT_MAX = 16 * 1024 };

/* What is read for the document alone; opened now, read, closed. */
static struct fl_str read_once(const struct fl_stats *stats, const char *group,
                               const char *controller, const char *name, char *buffer, size_t size)
{
    FL_CLEANUP_FD int fd = fl_stats_open(stats, group, controller, name);
    return fl_stats_read(fd, buffer, size);
}

static void member_u64(struct fl_json_writer *jw, const char *key, uint64_t value)
{
    char text[24];
    (void)snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
    fl_jw_key(jw, key);
    fl_jw_raw(jw, fl_str_of(text));
}

static void member_time(struct fl_json_writer *jw, const char *key, int64_t wall_ms)
{
    char text[FL_RFC3339_SIZE];
    fl_time_rfc3339(wall_ms, text);
    fl_jw_member_str(jw, key, fl_str_of(text));
}

/* "max" and what is no number is no limit. */
static bool read_limit(struct fl_str text, uint64_t *ret_limit)
{
    return fl_str_to_u64(fl_str_trim(text), ret_limit);
}

static void write_pids(const struct fl_stats *stats, const struct fl_stats_container *container,
                       struct fl_json_writer *jw)
{
    char buffer[64];
    uint64_t limit;
    fl_jw_key(jw, "pids_stats");
    fl_jw_object_begin(jw);
    struct fl_str text =
        read_once(stats, container->group, "pids", "pids.current", buffer, sizeof(buffer));
    if (text.n > 0)
        member_u64(jw, "current", fl_stats_number(text));
    text = read_once(stats, container->group, "pids", "pids.max", buffer, sizeof(buffer));
    if (read_limit(text, &limit))
        member_u64(jw, "limit", limit);
    fl_jw_object_end(jw);
}

/* ---- blkio_stats ---- */

static void write_io_entry(struct fl_json_writer *jw, struct fl_str device, const char *operation,
                           uint64_t value)
{
    ptrdiff_t colon = fl_str_index(device, ':');
    fl_jw_object_begin(jw);
    member_u64(jw, "major", fl_stats_number(device));
    member_u64(jw, "minor", fl_stats_number(fl_str_from(device, (size_t)colon + 1)));
    fl_jw_member_str(jw, "op", fl_str_of(operation));
    member_u64(jw, "value", value);
    fl_jw_object_end(jw);
}

/* One line of either layout: "8:0 Read 4096" or "8:0 rbytes=4096 wbytes=0 …". */
static void write_io_line(struct fl_json_writer *jw, struct fl_str line, const char *const keys[2])
{
    static const char *const operations[2] = {"read", "write"};
    static const char *const words[2] = {"Read", "Write"};
    struct fl_str device, word;
    if (!fl_str_split(&line, ' ', &device) || fl_str_index(device, ':') < 0)
        return;
    for (int i = 0; i < 2; i++)
        if (fl_str_starts(line, fl_str_of(words[i])))
            write_io_entry(jw, device, operations[i],
                           fl_stats_number(fl_str_from(line, strlen(words[i]) + 1)));
    while (fl_str_split(&line, ' ', &word))
        for (int i = 0; i < 2; i++)
            if (fl_str_starts(word, fl_str_of(keys[i])))
                write_io_entry(jw, device, operations[i],
                               fl_stats_number(fl_str_from(word, strlen(keys[i]))));
}

static void write_io_list(struct fl_json_writer *jw, const char *name, struct fl_str text,
                          const char *const keys[2])
{
    struct fl_str line;
    fl_jw_key(jw, name);
    fl_jw_array_begin(jw);
    while (fl_str_split(&text, '\n', &line))
        write_io_line(jw, line, keys);
    fl_jw_array_end(jw);
}

static void write_blkio(const struct fl_stats *stats, const struct fl_stats_container *container,
                        struct fl_json_writer *jw)
{
    static const char *const empty[] = {"io_queue_recursive",     "io_service_time_recursive",
                                        "io_wait_time_recursive", "io_merged_recursive",
                                        "io_time_recursive",      "sectors_recursive"};
    static const char *const bytes[2] = {"rbytes=", "wbytes="};
    static const char *const operations[2] = {"rios=", "wios="};
    char buffer[TEXT_MAX];
    fl_jw_key(jw, "blkio_stats");
    fl_jw_object_begin(jw);
    write_io_list(jw, "io_service_bytes_recursive",
                  fl_stats_read(container->fds[FL_STATS_FILE_IO], buffer, sizeof(buffer)), bytes);
    struct fl_str text =
        stats->layout == FL_CGROUP_V2
            ? fl_stats_read(container->fds[FL_STATS_FILE_IO], buffer, sizeof(buffer))
            : read_once(stats, container->group, "blkio", "blkio.throttle.io_serviced_recursive",
                        buffer, sizeof(buffer));
    write_io_list(jw, "io_serviced_recursive", text, operations);
    for (size_t i = 0; i < FL_ARRAY_SIZE(empty); i++) {
        fl_jw_key(jw, empty[i]);
        fl_jw_raw(jw, FL_STR("[]"));
    }
    fl_jw_object_end(jw);
}

/* ---- cpu_stats, precpu_stats ---- */

static void write_percpu(const struct fl_stats *stats, const struct fl_stats_container *container,
                         struct fl_json_writer *jw)
{
    char buffer[TEXT_MAX];
    struct fl_str text = read_once(stats, container->group, "cpuacct", "cpuacct.usage_percpu",
                                   buffer, sizeof(buffer)),
                  word;
    text = fl_str_trim(text);
    if (stats->layout == FL_CGROUP_V2 || text.n == 0)
        return;
    fl_jw_key(jw, "percpu_usage");
    fl_jw_array_begin(jw);
    while (fl_str_split(&text, ' ', &word))
        fl_jw_int(jw, (int64_t)fl_stats_number(word));
    fl_jw_array_end(jw);
}

static void write_throttling(const struct fl_stats *stats,
                             const struct fl_stats_container *container, struct fl_json_writer *jw)
{
    char buffer[2048];
    struct fl_str text =
        read_once(stats, container->group, "cpu", "cpu.stat", buffer, sizeof(buffer));
    bool v2 = stats->layout == FL_CGROUP_V2;
    member_u64(jw, "periods", fl_stats_value(text, "nr_periods"));
    member_u64(jw, "throttled_periods", fl_stats_value(text, "nr_throttled"));
    member_u64(jw, "throttled_time",
               v2 ? fl_stats_value(text, "throttled_usec") * 1000
                  : fl_stats_value(text, "throttled_time"));
}

static void write_cpu(const struct fl_stats *stats, const struct fl_stats_container *container,
                      const struct fl_stats_sample *sample, bool is_now, struct fl_json_writer *jw)
{
    fl_jw_key(jw, is_now ? "cpu_stats" : "precpu_stats");
    fl_jw_object_begin(jw);
    fl_jw_key(jw, "cpu_usage");
    fl_jw_object_begin(jw);
    member_u64(jw, "total_usage", sample->cpu_ns);
    if (is_now)
        write_percpu(stats, container, jw);
    member_u64(jw, "usage_in_kernelmode",
               sample->cpu_ns - FL_MIN(sample->cpu_user_ns, sample->cpu_ns));
    member_u64(jw, "usage_in_usermode", sample->cpu_user_ns);
    fl_jw_object_end(jw);
    member_u64(jw, "system_cpu_usage", sample->system_ns);
    fl_jw_member_int(jw, "online_cpus", stats->processors);
    fl_jw_key(jw, "throttling_data");
    fl_jw_object_begin(jw);
    if (is_now)
        write_throttling(stats, container, jw);
    fl_jw_object_end(jw);
    fl_jw_object_end(jw);
}

/* ---- memory_stats ---- */

static uint64_t host_memory(void)
{
    return (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* The tightest of the container's and its task's; the host's memory where there is none. */
static uint64_t memory_limit(const struct fl_stats *stats,
                             const struct fl_stats_container *container, struct fl_str memory_stat)
{
    uint64_t limit = host_memory(), found;
    char buffer[64], task[512];
    if (stats->layout != FL_CGROUP_V2) {
        found = fl_stats_value(memory_stat, "hierarchical_memory_limit");
        return found > 0 ? FL_MIN(found, limit) : limit;
    }
    const char *slash = strrchr(container->group, '/');
    (void)snprintf(task, sizeof(task), "%.*s", (int)(slash - container->group), container->group);
    const char *const groups[] = {container->group, task};
    for (size_t i = 0; i < FL_ARRAY_SIZE(groups); i++)
        if (read_limit(read_once(stats, groups[i], "", "memory.max", buffer, sizeof(buffer)),
                       &found))
            limit = FL_MIN(limit, found);
    return limit;
}

static void write_memory_values(struct fl_str text, struct fl_json_writer *jw)
{
    struct fl_str line, key;
    fl_jw_key(jw, "stats");
    fl_jw_object_begin(jw);
    while (fl_str_split(&text, '\n', &line)) {
        uint64_t value;
        if (!fl_str_split(&line, ' ', &key) || !fl_str_to_u64(line, &value))
            continue;
        fl_jw_key_str(jw, key);
        fl_jw_raw(jw, line);
    }
    fl_jw_object_end(jw);
}

static void write_memory(const struct fl_stats *stats, const struct fl_stats_container *container,
                         struct fl_json_writer *jw)
{
    char values[TEXT_MAX], buffer[64];
    struct fl_str text =
        fl_stats_read(container->fds[FL_STATS_FILE_MEMORY_STAT], values, sizeof(values));
    fl_jw_key(jw, "memory_stats");
    fl_jw_object_begin(jw);
    member_u64(jw, "usage",
               fl_stats_number(
                   fl_stats_read(container->fds[FL_STATS_FILE_MEMORY], buffer, sizeof(buffer))));
    if (stats->layout != FL_CGROUP_V2) {
        member_u64(jw, "max_usage",
                   fl_stats_number(read_once(stats, container->group, "memory",
                                             "memory.max_usage_in_bytes", buffer, sizeof(buffer))));
        member_u64(jw, "failcnt",
                   fl_stats_number(read_once(stats, container->group, "memory", "memory.failcnt",
                                             buffer, sizeof(buffer))));
    }
    write_memory_values(text, jw);
    member_u64(jw, "limit", memory_limit(stats, container, text));
    fl_jw_object_end(jw);
}

/* ---- networks ---- */

static void write_networks(const struct fl_stats_sample *now, struct fl_json_writer *jw)
{
    static const char *const names[FL_STATS_READ_BYTES] = {
        [FL_STATS_RX_BYTES] = "rx_bytes",   [FL_STATS_RX_DROPPED] = "rx_dropped",
        [FL_STATS_RX_ERRORS] = "rx_errors", [FL_STATS_RX_PACKETS] = "rx_packets",
        [FL_STATS_TX_BYTES] = "tx_bytes",   [FL_STATS_TX_DROPPED] = "tx_dropped",
        [FL_STATS_TX_ERRORS] = "tx_errors", [FL_STATS_TX_PACKETS] = "tx_packets",
    };
    fl_jw_key(jw, "networks");
    fl_jw_object_begin(jw);
    fl_jw_key(jw, "eth0");
    fl_jw_object_begin(jw);
    for (size_t i = 0; i < FL_ARRAY_SIZE(names); i++)
        member_u64(jw, names[i], now->counters[i]);
    fl_jw_object_end(jw);
    fl_jw_object_end(jw);
}

static double rate(const struct fl_stats_sample *now, const struct fl_stats_sample *last, int which)
{
    int64_t ns = now->counters_ns - last->counters_ns;
    if (ns <= 0 || now->counters[which] <= last->counters[which])
        return 0;
    return (double)(now->counters[which] - last->counters[which]) * 1e9 / (double)ns;
}

static void write_rates(const struct fl_stats_sample *now, const struct fl_stats_sample *last,
                        struct fl_json_writer *jw)
{
    fl_jw_key(jw, "network_rate_stats");
    fl_jw_object_begin(jw);
    fl_jw_key(jw, "rx_bytes_per_sec");
    fl_jw_double(jw, rate(now, last, FL_STATS_RX_BYTES));
    fl_jw_key(jw, "tx_bytes_per_sec");
    fl_jw_double(jw, rate(now, last, FL_STATS_TX_BYTES));
    fl_jw_object_end(jw);
}

bool fl_stats_write_docker(struct fl_stats *stats, struct fl_str container_id, struct fl_str name,
                           bool rates, struct fl_json_writer *jw)
{
    const struct fl_stats_container *container = fl_stats_find(stats, container_id);
    struct fl_stats_sample now;
    char full_name[512];
    if (!container)
        return false;
    fl_stats_take(stats, container, fl_clock_mono_ms() * 1000000, fl_stats_system_ns(stats), &now);
    fl_jw_object_begin(jw);
    member_time(jw, "read", now.wall_ms);
    member_time(jw, "preread", container->last.wall_ms);
    write_pids(stats, container, jw);
    write_blkio(stats, container, jw);
    fl_jw_member_int(jw, "num_procs", 0);
    fl_jw_key(jw, "storage_stats");
    fl_jw_raw(jw, FL_STR("{}"));
    write_cpu(stats, container, &now, true, jw);
    write_cpu(stats, container, &container->last, false, jw);
    write_memory(stats, container, jw);
    (void)snprintf(full_name, sizeof(full_name), "/%.*s", FL_STR_ARG(name));
    fl_jw_member_str(jw, "name", fl_str_of(full_name));
    fl_jw_member_str(jw, "id", container_id);
    if (container->own_network)
        write_networks(&now, jw);
    if (rates && container->own_network)
        write_rates(&now, &container->last, jw);
    fl_jw_object_end(jw);
    return true;
}
