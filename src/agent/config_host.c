/* The host's facts and the agent's defaults. */
#include "agent/config_host.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/utsname.h>

#include "base/fs.h"
#include "base/program.h"

enum { CPU_UNITS_PER_PROCESSOR = 1024 };

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
    int64_t reserved = config->ecs.reserved_memory_mib;
    if (config->cpu_units == 0)
        config->cpu_units = processor_units();
    if (config->memory_mib == 0)
        config->memory_mib = host_memory_mib(arena);
    if (config->memory_mib <= reserved)
        return fl_err_set(err, -EINVAL,
                          "%lld MiB of memory are reserved, the host offers %lld: reserve less",
                          (long long)reserved, (long long)config->memory_mib);
    config->memory_mib -= reserved;
    return 0;
}

static int read_ecs_config(struct fl_agent_config *config, struct fl_arena *arena,
                           struct fl_err *err)
{
    bool given = config->ecs_config.n > 0;
    const char *path = given ? fl_str_z(arena, config->ecs_config) : FL_ECS_CONFIG_FILE;
    return fl_ecs_config_read(path, given, arena, &config->ecs, &config->notes, err);
}

static void fill_from_ecs_config(struct fl_agent_config *config)
{
    if (config->cluster.n == 0)
        config->cluster = config->ecs.cluster.n > 0 ? config->ecs.cluster : FL_STR("default");
    if (config->server_url.n == 0)
        config->server_url = config->ecs.backend_host;
}

int fl_config_complete(const struct fl_agent_config *config, struct fl_arena *arena,
                       struct fl_agent_config *ret_config, struct fl_err *err)
{
    struct fl_agent_config full = *config;
    int r = read_ecs_config(&full, arena, err);
    if (r < 0)
        return r;
    fill_from_ecs_config(&full);
    if (full.registry_dir.n == 0)
        full.registry_dir = fl_str_printf(arena, "%.*s/registry", FL_STR_ARG(full.data_dir));
    r = fill_resources(&full, arena, err);
    if (r == 0 && full.libexec_dir.n == 0)
        r = fl_program_libexec_dir(arena, &full.libexec_dir, err);
    if (r == 0)
        *ret_config = full;
    return r;
}
