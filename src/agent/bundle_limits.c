/* How much a container may have: resource limits of its processes, limits of its cgroup. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>

#include "agent/bundle_args.h"
#include "agent/bundle_making.h"

enum { PIDS_MAX = 16384, MIB = 1024 * 1024, MIN_SHARES = 2 };

/* OCI limits are unsigned: -1 becomes the largest, which jansson-minded parsers must not see. */
static void write_limit_value(struct fl_json_writer *jw, const char *key, rlim_t value)
{
    char text[32];
    (void)snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
    fl_jw_key(jw, key);
    fl_jw_raw(jw, fl_str_of(text));
}

static rlim_t wanted_limit(int64_t value)
{
    return value < 0 ? RLIM_INFINITY : (rlim_t)value;
}

/* Without CAP_SYS_RESOURCE our own hard limit is the most we can give; refusing to start would
 * help nobody. */
static void write_rlimit(struct fl_bundle_making *m, const struct fl_ulimit *limit, int number)
{
    rlim_t most = m->host->may_raise_limits ? RLIM_INFINITY : m->host->limits[number].rlim_max;
    rlim_t hard = FL_MIN(wanted_limit(limit->hard), most);
    rlim_t soft = FL_MIN(wanted_limit(limit->soft), hard);
    char name[32] = "RLIMIT_";
    size_t n = strlen(name);
    for (size_t i = 0; i < limit->name.n && n + 1 < sizeof(name); i++)
        name[n++] = (char)toupper((unsigned char)limit->name.p[i]);
    if (hard < wanted_limit(limit->hard))
        fl_bundle_note(m, "%.*s lowered to the host's hard limit %llu", FL_STR_ARG(limit->name),
                       (unsigned long long)hard);
    fl_jw_object_begin(&m->jw);
    fl_jw_member_str(&m->jw, "type", (struct fl_str){name, n});
    write_limit_value(&m->jw, "hard", hard);
    write_limit_value(&m->jw, "soft", soft);
    fl_jw_object_end(&m->jw);
}

/* The agent raises its own limit of descriptors; a container must not inherit that. */
static void write_descriptor_limit(struct fl_bundle_making *m)
{
    const struct rlimit *host = &m->host->limits[RLIMIT_NOFILE];
    const struct fl_ulimit limit = {
        .name = FL_STR("nofile"),
        .soft = host->rlim_cur == RLIM_INFINITY ? -1 : (int64_t)host->rlim_cur,
        .hard = host->rlim_max == RLIM_INFINITY ? -1 : (int64_t)host->rlim_max,
    };
    write_rlimit(m, &limit, RLIMIT_NOFILE);
}

int fl_bundle_write_rlimits(struct fl_bundle_making *m)
{
    const struct fl_container_spec *container = m->launch->container;
    bool has_descriptors = false;
    fl_jw_key(&m->jw, "rlimits");
    fl_jw_array_begin(&m->jw);
    for (size_t i = 0; i < container->ulimit_count; i++) {
        int number = fl_bundle_rlimit_number(container->ulimits[i].name);
        if (number < 0)
            return fl_err_set(m->err, -EINVAL, "invalid ulimit type: %.*s",
                              FL_STR_ARG(container->ulimits[i].name));
        write_rlimit(m, &container->ulimits[i], number);
        has_descriptors |= number == RLIMIT_NOFILE;
    }
    if (!has_descriptors)
        write_descriptor_limit(m);
    fl_jw_array_end(&m->jw);
    return 0;
}

/* Memory and swap together, -1: unlimited. Without a wish there is no swap. */
static void write_swap(struct fl_bundle_making *m, int64_t limit_mib)
{
    int64_t swap = m->launch->container->docker.memory_swap_bytes;
    if (!m->host->cgroup->has_swap) {
        if (swap != 0)
            fl_bundle_note(m, "swap is not limited, the kernel does not account it");
        return;
    }
    fl_jw_member_int(&m->jw, "swap", swap < 0 ? -1 : FL_MAX(swap, limit_mib * (int64_t)MIB));
}

/* v2 has no swappiness of a group. */
static void write_swappiness(struct fl_bundle_making *m)
{
    if (!m->launch->container->docker.has_swappiness)
        return;
    if (m->host->cgroup->layout == FL_CGROUP_V2)
        fl_bundle_note(m, "swappiness is not set, cgroup v2 has none");
    else
        fl_jw_member_int(&m->jw, "swappiness", m->launch->container->docker.swappiness);
}

/* On v2 a limit of the task's group cannot be seen from within a container: where it is wanted, it
 * is the container's own, too. */
static int64_t memory_limit_mib(const struct fl_bundle_making *m)
{
    int64_t own = m->launch->container->memory_mib;
    bool has_tasks = m->host->propagate_memory && m->host->cgroup->layout == FL_CGROUP_V2;
    return own > 0 || !has_tasks ? own : m->launch->task->memory_mib;
}

static void write_memory(struct fl_bundle_making *m)
{
    const struct fl_container_spec *container = m->launch->container;
    int64_t limit_mib = memory_limit_mib(m);
    if (limit_mib <= 0 && container->memory_reservation_mib <= 0)
        return;
    fl_jw_key(&m->jw, "memory");
    fl_jw_object_begin(&m->jw);
    if (limit_mib > 0) {
        fl_jw_member_int(&m->jw, "limit", limit_mib * MIB);
        write_swap(m, limit_mib);
    }
    if (container->memory_reservation_mib > 0)
        fl_jw_member_int(&m->jw, "reservation", container->memory_reservation_mib * MIB);
    write_swappiness(m);
    fl_jw_object_end(&m->jw);
}

void fl_bundle_write_resources(struct fl_bundle_making *m)
{
    fl_jw_key(&m->jw, "resources");
    fl_jw_object_begin(&m->jw);
    fl_bundle_write_device_rules(m);
    write_memory(m);
    if (m->host->cgroup->has_cpu) {
        fl_jw_key(&m->jw, "cpu");
        fl_jw_object_begin(&m->jw);
        fl_jw_member_int(&m->jw, "shares", FL_MAX(m->launch->container->cpu_units, MIN_SHARES));
        fl_jw_object_end(&m->jw);
    }
    if (m->host->cgroup->has_pids) {
        fl_jw_key(&m->jw, "pids");
        fl_jw_object_begin(&m->jw);
        fl_jw_member_int(&m->jw, "limit", PIDS_MAX);
        fl_jw_object_end(&m->jw);
    }
    fl_jw_object_end(&m->jw);
}
