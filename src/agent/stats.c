/* Sampling: kept-open files of cgroups v1 and v2 and of /proc/<pid>/net/dev; statistics sets. */
#include "agent/stats_internal.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"

enum { TEXT_MAX = 16 * 1024, KIB = 1024 };

struct fl_str fl_stats_read(int fd, char *buffer, size_t size)
{
    ssize_t n = fd < 0 ? 0 : pread(fd, buffer, size - 1, 0);
    return (struct fl_str){buffer, n > 0 ? (size_t)n : 0};
}

int fl_stats_open(const struct fl_stats *stats, const char *group, const char *controller,
                  const char *name)
{
    char path[1024];
    bool v2 = stats->layout == FL_CGROUP_V2;
    int n = snprintf(path, sizeof(path), "%s/%s%s/%s", stats->cgroup_root, v2 ? "" : controller,
                     group, name);
    return n > 0 && (size_t)n < sizeof(path) ? open(path, O_RDONLY | O_CLOEXEC) : -1;
}

uint64_t fl_stats_number(struct fl_str text)
{
    uint64_t value = 0;
    for (size_t i = 0; i < text.n && text.p[i] >= '0' && text.p[i] <= '9'; i++)
        value = value * 10 + (uint64_t)(text.p[i] - '0');
    return value;
}

uint64_t fl_stats_value(struct fl_str text, const char *key)
{
    size_t n = strlen(key);
    const char *at = text.p;
    const char *end = text.p + text.n;
    while (at < end && (at = memmem(at, (size_t)(end - at), key, n)) != NULL) {
        if ((at == text.p || at[-1] == '\n') && at + n < end && at[n] == ' ')
            return fl_stats_number((struct fl_str){at + n + 1, (size_t)(end - at) - n - 1});
        at += n;
    }
    return 0;
}

/* ---- a container's files ---- */

static void open_files(const struct fl_stats *stats, struct fl_stats_container *container,
                       pid_t pid)
{
    static const struct {
        const char *controller;
        const char *v1;
        const char *v2;
    } files[FL_STATS_FILE_NETWORK] = {
        [FL_STATS_FILE_CPU] = {"cpuacct", "cpuacct.usage", "cpu.stat"},
        [FL_STATS_FILE_CPU_USER] = {"cpuacct", "cpuacct.usage_user", NULL},
        [FL_STATS_FILE_MEMORY] = {"memory", "memory.usage_in_bytes", "memory.current"},
        [FL_STATS_FILE_MEMORY_STAT] = {"memory", "memory.stat", "memory.stat"},
        [FL_STATS_FILE_IO] = {"blkio", "blkio.throttle.io_service_bytes_recursive", "io.stat"},
    };
    char path[256];
    bool v2 = stats->layout == FL_CGROUP_V2;
    for (int i = 0; i < FL_STATS_FILES; i++)
        container->fds[i] = -1;
    if (HASH_COUNT(stats->containers) >= stats->most_open)
        return;
    for (size_t i = 0; i < FL_ARRAY_SIZE(files); i++)
        container->fds[i] = v2 && !files[i].v2
                                ? -1
                                : fl_stats_open(stats, container->group, files[i].controller,
                                                v2 ? files[i].v2 : files[i].v1);
    (void)snprintf(path, sizeof(path), "%s/%d/net/dev", stats->proc_root, (int)pid);
    container->fds[FL_STATS_FILE_NETWORK] =
        container->own_network ? open(path, O_RDONLY | O_CLOEXEC) : -1;
}

static void container_free(struct fl_stats_container *container)
{
    for (int i = 0; i < FL_STATS_FILES; i++)
        if (container->fds[i] >= 0)
            (void)close(container->fds[i]);
    free(container->group);
    free(container);
}

struct fl_stats_container *fl_stats_find(const struct fl_stats *stats, struct fl_str id)
{
    struct fl_stats_container *container;
    HASH_FIND(hh, stats->containers, id.p, id.n, container);
    return container;
}

/* ---- one sample ---- */

/* "  eth0: 1296 16 0 0 0 0 0 0 1296 16 0 …": bytes, packets, errs, drop of either direction. */
static void add_link(struct fl_str line, uint64_t counters[FL_STATS_COUNTERS])
{
    static const int columns[16] = {FL_STATS_RX_BYTES,
                                    FL_STATS_RX_PACKETS,
                                    FL_STATS_RX_ERRORS,
                                    FL_STATS_RX_DROPPED,
                                    -1,
                                    -1,
                                    -1,
                                    -1,
                                    FL_STATS_TX_BYTES,
                                    FL_STATS_TX_PACKETS,
                                    FL_STATS_TX_ERRORS,
                                    FL_STATS_TX_DROPPED,
                                    -1,
                                    -1,
                                    -1,
                                    -1};
    ptrdiff_t colon = fl_str_index(line, ':');
    if (colon < 0 || fl_str_is(fl_str_trim(fl_str_sub(line, 0, (size_t)colon)), "lo"))
        return;
    const char *at = line.p + colon + 1;
    const char *end = line.p + line.n;
    for (size_t i = 0; i < FL_ARRAY_SIZE(columns) && at < end; i++) {
        while (at < end && *at == ' ')
            at++;
        if (columns[i] >= 0)
            counters[columns[i]] += fl_stats_number((struct fl_str){at, (size_t)(end - at)});
        while (at < end && *at != ' ')
            at++;
    }
}

static void read_network(int fd, uint64_t counters[FL_STATS_COUNTERS])
{
    char buffer[TEXT_MAX];
    struct fl_str text = fl_stats_read(fd, buffer, sizeof(buffer)), line;
    while (fl_str_split(&text, '\n', &line))
        add_link(line, counters);
}

/* v1: "8:0 Read 4096"; v2: "8:0 rbytes=4096 wbytes=0 rios=1 …". */
static void read_io(int fd, uint64_t counters[FL_STATS_COUNTERS])
{
    static const struct {
        const char *mark;
        int counter;
    } marks[] = {{" Read ", FL_STATS_READ_BYTES},
                 {" Write ", FL_STATS_WRITE_BYTES},
                 {" rbytes=", FL_STATS_READ_BYTES},
                 {" wbytes=", FL_STATS_WRITE_BYTES}};
    char buffer[TEXT_MAX];
    struct fl_str text = fl_stats_read(fd, buffer, sizeof(buffer)), line;
    while (fl_str_split(&text, '\n', &line))
        for (size_t i = 0; i < FL_ARRAY_SIZE(marks); i++) {
            const char *at = memmem(line.p, line.n, marks[i].mark, strlen(marks[i].mark));
            if (!at)
                continue;
            at += strlen(marks[i].mark);
            counters[marks[i].counter] +=
                fl_stats_number((struct fl_str){at, (size_t)(line.p + line.n - at)});
        }
}

static void read_cpu(const struct fl_stats *stats, const int fds[FL_STATS_FILES],
                     struct fl_stats_sample *sample)
{
    char buffer[2048];
    struct fl_str text = fl_stats_read(fds[FL_STATS_FILE_CPU], buffer, sizeof(buffer));
    if (stats->layout == FL_CGROUP_V2) {
        sample->cpu_ns = fl_stats_value(text, "usage_usec") * 1000;
        sample->cpu_user_ns = fl_stats_value(text, "user_usec") * 1000;
        return;
    }
    sample->cpu_ns = fl_stats_number(text);
    sample->cpu_user_ns =
        fl_stats_number(fl_stats_read(fds[FL_STATS_FILE_CPU_USER], buffer, sizeof(buffer)));
}

/* "cpu  user nice system idle iowait irq softirq …" in ticks; guests' time is in user's already. */
uint64_t fl_stats_system_ns(const struct fl_stats *stats)
{
    enum { COLUMNS = 8 };
    char buffer[512];
    struct fl_str text = fl_stats_read(stats->host_fd, buffer, sizeof(buffer)), line, word;
    uint64_t ticks = 0, value;
    if (!fl_str_split(&text, '\n', &line) || !fl_str_starts(line, FL_STR("cpu ")))
        return 0;
    line = fl_str_trim(fl_str_from(line, strlen("cpu ")));
    for (int i = 0; i < COLUMNS && fl_str_split(&line, ' ', &word); i++)
        ticks += fl_str_to_u64(word, &value) ? value : 0;
    return ticks * 1000000000 / (uint64_t)sysconf(_SC_CLK_TCK);
}

/* As Docker's own command shows it: page cache that nobody used lately is no use of memory. */
static uint64_t read_memory(const struct fl_stats *stats, const int fds[FL_STATS_FILES])
{
    char buffer[TEXT_MAX];
    uint64_t used =
        fl_stats_number(fl_stats_read(fds[FL_STATS_FILE_MEMORY], buffer, sizeof(buffer)));
    if (used == 0)
        return 0;
    struct fl_str text = fl_stats_read(fds[FL_STATS_FILE_MEMORY_STAT], buffer, sizeof(buffer));
    uint64_t inactive = fl_stats_value(text, stats->layout == FL_CGROUP_V2 ? "inactive_file"
                                                                           : "total_inactive_file");
    return used > inactive ? used - inactive : 0;
}

static void take_use(const struct fl_stats *stats, const struct fl_stats_container *container,
                     int64_t now_ns, uint64_t system_ns, struct fl_stats_sample *sample)
{
    sample->mono_ns = now_ns;
    sample->wall_ms = fl_clock_wall_ms();
    sample->system_ns = system_ns;
    sample->memory = read_memory(stats, container->fds);
    read_cpu(stats, container->fds, sample);
}

static void take_counters(const struct fl_stats_container *container, int64_t now_ns,
                          struct fl_stats_sample *sample)
{
    sample->counters_ns = now_ns;
    memset(sample->counters, 0, sizeof(sample->counters));
    read_io(container->fds[FL_STATS_FILE_IO], sample->counters);
    read_network(container->fds[FL_STATS_FILE_NETWORK], sample->counters);
}

void fl_stats_take(const struct fl_stats *stats, const struct fl_stats_container *container,
                   int64_t now_ns, uint64_t system_ns, struct fl_stats_sample *ret_sample)
{
    take_use(stats, container, now_ns, system_ns, ret_sample);
    take_counters(container, now_ns, ret_sample);
}

/* ---- gathering ---- */

static void add_value(struct fl_stats_set *set, double value)
{
    set->min = set->count == 0 || value < set->min ? value : set->min;
    set->max = set->count == 0 || value > set->max ? value : set->max;
    set->sum += value;
    set->count++;
}

static void add_counter(struct fl_stats_counter_set *set, uint64_t value)
{
    set->min = set->count == 0 || value < set->min ? value : set->min;
    set->max = set->count == 0 || value > set->max ? value : set->max;
    set->sum += value;
    set->count++;
}

static double per_second(uint64_t now, uint64_t before, double ns)
{
    return now > before ? (double)(now - before) * 1e9 / ns : 0;
}

static void gather_use(const struct fl_stats *stats, struct fl_stats_round *round,
                       const struct fl_stats_sample *last, const struct fl_stats_sample *now)
{
    double ns = (double)(now->mono_ns - last->mono_ns);
    if (last->mono_ns == 0 || ns <= 0)
        return;
    add_value(&round->cpu_percent,
              per_second(now->cpu_ns, last->cpu_ns, ns) / 1e9 * 100 / (double)stats->processors);
    add_value(&round->memory_mib, (double)(now->memory / KIB) / KIB);
}

/* A counter that went back (a namespace's link was replaced) counts as standing still. */
static void gather_counters(struct fl_stats_round *round, const struct fl_stats_sample *last,
                            const struct fl_stats_sample *now)
{
    double ns = (double)(now->counters_ns - last->counters_ns);
    if (last->counters_ns == 0 || ns <= 0)
        return;
    add_value(&round->rx_per_second,
              per_second(now->counters[FL_STATS_RX_BYTES], last->counters[FL_STATS_RX_BYTES], ns));
    add_value(&round->tx_per_second,
              per_second(now->counters[FL_STATS_TX_BYTES], last->counters[FL_STATS_TX_BYTES], ns));
    for (int i = 0; i < FL_STATS_COUNTERS; i++)
        add_counter(&round->counters[i], now->counters[i]);
}

static void sample_one(const struct fl_stats *stats, struct fl_stats_container *container,
                       int64_t now_ns, uint64_t system_ns, bool counters)
{
    struct fl_stats_sample now = container->last;
    take_use(stats, container, now_ns, system_ns, &now);
    gather_use(stats, &container->round, &container->last, &now);
    if (counters) {
        take_counters(container, now_ns, &now);
        gather_counters(&container->round, &container->last, &now);
    }
    container->round.has_network = container->own_network;
    container->last = now;
}

void fl_stats_sample(struct fl_stats *stats, int64_t now_ns, bool counters)
{
    struct fl_stats_container *container, *next;
    if (!stats->containers)
        return;
    uint64_t system_ns = fl_stats_system_ns(stats);
    stats->processors = FL_MAX(sysconf(_SC_NPROCESSORS_ONLN), 1L);
    HASH_ITER(hh, stats->containers, container, next)
    {
        sample_one(stats, container, now_ns, system_ns, counters);
    }
}

const struct fl_stats_round *fl_stats_round(const struct fl_stats *stats,
                                            struct fl_str container_id)
{
    const struct fl_stats_container *container = fl_stats_find(stats, container_id);
    return container && container->round.cpu_percent.count > 0 ? &container->round : NULL;
}

void fl_stats_next_round(struct fl_stats *stats)
{
    struct fl_stats_container *container, *next;
    HASH_ITER(hh, stats->containers, container, next)
    {
        memset(&container->round, 0, sizeof(container->round));
    }
}

/* ---- coming and going ---- */

void fl_stats_add(struct fl_stats *stats, struct fl_str container_id, struct fl_str group,
                  pid_t pid, bool own_network)
{
    if (container_id.n >= FL_CONTAINER_ID_SIZE || fl_stats_find(stats, container_id))
        return;
    struct fl_stats_container *container = fl_calloc(1, sizeof(*container));
    memcpy(container->id, container_id.p, container_id.n);
    container->group = fl_strndup(group.p, group.n);
    container->own_network = own_network;
    open_files(stats, container, pid);
    HASH_ADD_KEYPTR(hh, stats->containers, container->id, container_id.n, container);
    sample_one(stats, container, fl_clock_mono_ms() * 1000000, fl_stats_system_ns(stats), true);
}

void fl_stats_remove(struct fl_stats *stats, struct fl_str container_id)
{
    struct fl_stats_container *container = fl_stats_find(stats, container_id);
    if (!container)
        return;
    HASH_DEL(stats->containers, container);
    container_free(container);
}

size_t fl_stats_count(const struct fl_stats *stats)
{
    return HASH_COUNT(stats->containers);
}

/* Half of the descriptors that the process may have. */
static size_t most_open(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur == RLIM_INFINITY)
        return SIZE_MAX;
    return limit.rlim_cur / 2 / FL_STATS_FILES;
}

struct fl_stats *fl_stats_new(const struct fl_stats_config *config)
{
    struct fl_stats *stats = fl_calloc(1, sizeof(*stats));
    stats->layout = config->layout;
    stats->cgroup_root = fl_strndup(config->cgroup_root.p, config->cgroup_root.n);
    stats->proc_root = fl_strndup(config->proc_root.p, config->proc_root.n);
    stats->processors = FL_MAX(sysconf(_SC_NPROCESSORS_ONLN), 1L);
    stats->most_open = most_open();
    char path[256];
    (void)snprintf(path, sizeof(path), "%s/stat", stats->proc_root);
    stats->host_fd = open(path, O_RDONLY | O_CLOEXEC);
    return stats;
}

void fl_stats_free(struct fl_stats *stats)
{
    struct fl_stats_container *container, *next;
    if (!stats)
        return;
    HASH_ITER(hh, stats->containers, container, next)
    {
        HASH_DEL(stats->containers, container);
        container_free(container);
    }
    if (stats->host_fd >= 0)
        (void)close(stats->host_fd);
    free(stats->cgroup_root);
    free(stats->proc_root);
    free(stats);
}
