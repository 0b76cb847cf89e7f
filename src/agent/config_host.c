/* The host's facts and the agent's defaults. */
#include "agent/config_host.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/utsname.h>

#include "base/fs.h"
#include "base/program.h"

enum {
    DEFAULT_STOP_TIMEOUT_MS = 30 * 1000,
    DEFAULT_CLEANUP_DELAY_MS = 10 * 1000,
    MIN_CLEANUP_DELAY_MS = 1000,
    CPU_UNITS_PER_PROCESSOR = 1024,
};

static struct fl_str read_file(const char *path, struct fl_arena *arena)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(64 * 1024);
    if (fl_fs_read(AT_FDCWD, path, buf.max, &buf) < 0)
        return (struct fl_str){0};
    return fl_str_dup(arena, fl_str_trim(fl_buf_str(&buf)));
}

struct fl_str fl_config_boot_id(struct fl_arena *arena)
{
    return read_file("/proc/sys/kernel/random/boot_id", arena);
}

struct fl_str fl_config_hostname(struct fl_arena *arena)
{
    struct utsname name;
    return uname(&name) == 0 ? fl_str_dup(arena, fl_str_of(name.nodename)) : FL_STR("localhost");
}

struct fl_str fl_config_cpu_architecture(struct fl_arena *arena)
{
    struct utsname name;
    if (uname(&name) < 0)
        return FL_STR("x86_64");
    return strcmp(name.machine, "aarch64") == 0 ? FL_STR("arm64")
                                                : fl_str_dup(arena, fl_str_of(name.machine));
}

static int64_t unit_ms(struct fl_str unit)
{
    static const struct {
        const char *name;
        int64_t ms;
    } units[] = {{"h", 3600 * 1000}, {"m", 60 * 1000}, {"s", 1000}, {"ms", 1}};
    for (size_t i = 0; i < FL_ARRAY_SIZE(units); i++)
        if (fl_str_is(unit, units[i].name))
            return units[i].ms;
    return -1;
}

static size_t span(struct fl_str s, bool digits)
{
    size_t n = 0;
    while (n < s.n && (s.p[n] >= '0' && s.p[n] <= '9') == digits)
        n++;
    return n;
}

int64_t fl_config_duration_ms(struct fl_str text)
{
    enum { MOST = 1000000 };
    int64_t total = 0;
    while (text.n > 0) {
        size_t digits = span(text, true);
        size_t letters = span(fl_str_from(text, digits), false);
        int64_t value, unit = unit_ms(fl_str_sub(text, digits, letters));
        if (!fl_str_to_i64(fl_str_sub(text, 0, digits), &value) || value > MOST || unit < 0)
            return -1;
        total += value * unit;
        text = fl_str_from(text, digits + letters);
    }
    return total;
}

static int64_t env_duration_ms(const char *name, int64_t least, int64_t otherwise)
{
    const char *text = getenv(name);
    int64_t ms = text && *text ? fl_config_duration_ms(fl_str_of(text)) : -1;
    return ms >= least ? ms : otherwise;
}

static int64_t processor_units(void)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof(set), &set) < 0)
        return CPU_UNITS_PER_PROCESSOR;
    return (int64_t)CPU_COUNT(&set) * CPU_UNITS_PER_PROCESSOR;
}

/* "MemTotal:       16314264 kB", the first line. */
static int64_t host_memory_mib(struct fl_arena *arena)
{
    struct fl_str text = read_file("/proc/meminfo", arena), line, word;
    if (!fl_str_split(&text, '\n', &line) || !fl_str_starts(line, FL_STR("MemTotal:")))
        return 0;
    line = fl_str_trim(fl_str_from(line, strlen("MemTotal:")));
    int64_t kib;
    if (!fl_str_split(&line, ' ', &word) || !fl_str_to_i64(word, &kib))
        return 0;
    return kib / 1024;
}

static int fill_resources(struct fl_agent_config *config, struct fl_arena *arena,
                          struct fl_err *err)
{
    if (config->cpu_units == 0)
        config->cpu_units = processor_units();
    if (config->memory_mib == 0)
        config->memory_mib = host_memory_mib(arena);
    if (config->memory_mib <= config->reserved_memory_mib)
        return fl_err_set(err, -EINVAL,
                          "%lld MiB of memory are reserved, the host offers %lld: reserve less",
                          (long long)config->reserved_memory_mib, (long long)config->memory_mib);
    config->memory_mib -= config->reserved_memory_mib;
    return 0;
}

int fl_config_complete(const struct fl_agent_config *config, struct fl_arena *arena,
                       struct fl_agent_config *ret_config, struct fl_err *err)
{
    struct fl_agent_config full = *config;
    if (full.cluster.n == 0)
        full.cluster = FL_STR("default");
    if (full.registry_dir.n == 0)
        full.registry_dir = fl_str_printf(arena, "%.*s/registry", FL_STR_ARG(full.data_dir));
    if (full.stop_timeout_ms == 0)
        full.stop_timeout_ms =
            env_duration_ms("ECS_CONTAINER_STOP_TIMEOUT", 1, DEFAULT_STOP_TIMEOUT_MS);
    if (full.cleanup_delay_ms == 0)
        full.cleanup_delay_ms = env_duration_ms("ECS_ENGINE_TASK_CLEANUP_WAIT_DURATION",
                                                MIN_CLEANUP_DELAY_MS, DEFAULT_CLEANUP_DELAY_MS);
    int r = fill_resources(&full, arena, err);
    if (r == 0 && full.libexec_dir.n == 0)
        r = fl_program_libexec_dir(arena, &full.libexec_dir, err);
    if (r == 0)
        *ret_config = full;
    return r;
}
