/* ecs.config: the table of variables, and their reading. The table's rows are in the order of ECS's
 * own list. A value is never an error by itself: ECS's agent takes the default and says so. */
#include "agent/ecs_config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "base/fs.h"
#include "wire/json.h"

enum kind {
    TEXT,
    SECRET, /* a text that nobody is shown */
    CHOICE, /* one of `choices`, separated by blanks */
    SWITCH,
    NUMBER,   /* from low to high */
    DURATION, /* milliseconds, from low to high */
    TEXTS,    /* a JSON list of texts or whole numbers */
    PORTS,    /* a JSON list of port numbers */
    PAIRS,    /* a JSON map of texts */
    RANGE,    /* "low,high" or "low-high", low <= high */
    LATER,    /* ours to honour, and not done yet */
    NOWHERE,  /* means nothing on a Fairlead host; `text` says why */
};

struct row {
    const char *name;
    enum kind kind;
    size_t at;        /* offset of the member */
    const char *text; /* the default as one would write it; or why nothing is done */
    int64_t low;
    int64_t high;
    const char *choices;
};

#define AT(member) offsetof(struct fl_ecs_settings, member)

/* ECS ignores intervals of image cleanup below ten minutes. */
enum { SECOND_MS = 1000, MINUTE_MS = 60 * SECOND_MS, CLEANUP_MS = 10 * MINUTE_MS };
#define HOUR_MS INT64_C(3600000)
#define YEAR_MS (365 * 24 * HOUR_MS)

static const char no_docker[] = "there is no Docker under this agent";
static const char no_windows[] = "it is for Windows";
static const char no_awsvpc[] = "network mode awsvpc";
static const char no_aws[] = "there is no EC2 under this host";
static const char no_init[] = "it is for the agent's own container, and this agent is a process";
static const char no_own_log[] = "the agent writes to stderr: its service manager keeps that";

static const struct row rows[] = {
    {"ECS_CLUSTER", TEXT, AT(cluster), "", 0, 0, NULL},
    {"ECS_RESERVED_PORTS", PORTS, AT(reserved_ports), "[22,2375,2376,51678,51679]", 0, 0, NULL},
    {"ECS_RESERVED_PORTS_UDP", PORTS, AT(reserved_ports_udp), "[]", 0, 0, NULL},
    {"ECS_ENGINE_AUTH_TYPE", CHOICE, AT(engine_auth_type), "", 0, 0, "dockercfg docker"},
    {"ECS_ENGINE_AUTH_DATA", SECRET, AT(engine_auth_data), "", 0, 0, NULL},
    {"AWS_DEFAULT_REGION", NOWHERE, 0, "--region says it for the whole installation", 0, 0, NULL},
    {"DOCKER_HOST", NOWHERE, 0, no_docker, 0, 0, NULL},
    {"ECS_LOGLEVEL", CHOICE, AT(log_level), "info", 0, 0, "debug info warn error crit none"},
    {"ECS_LOGLEVEL_ON_INSTANCE", NOWHERE, 0, no_own_log, 0, 0, NULL},
    {"ECS_LOGFILE", NOWHERE, 0, no_own_log, 0, 0, NULL},
    {"ECS_CHECKPOINT", NOWHERE, 0, "the agent's state is always kept", 0, 0, NULL},
    {"ECS_DATADIR", NOWHERE, 0, "--data-dir says it", 0, 0, NULL},
    {"ECS_UPDATES_ENABLED", NOWHERE, 0, "a new release is installed as a package", 0, 0, NULL},
    {"ECS_DISABLE_METRICS", SWITCH, AT(disable_metrics), "false", 0, 0, NULL},
    {"ECS_POLL_METRICS", NOWHERE, 0, "control groups are always polled", 0, 0, NULL},
    {"ECS_POLLING_METRICS_WAIT_DURATION", DURATION, AT(polling_interval_ms), "10s", 5 * SECOND_MS,
     20 * SECOND_MS, NULL},
    {"ECS_PULL_DEPENDENT_CONTAINERS_UPFRONT", SWITCH, AT(pull_dependents_upfront), "false", 0, 0,
     NULL},
    {"ECS_RESERVED_MEMORY", NUMBER, AT(reserved_memory_mib), "0", 0, INT32_MAX, NULL},
    {"ECS_AVAILABLE_LOGGING_DRIVERS", TEXTS, AT(logging_drivers),
     "[\"json-file\",\"awslogs\",\"syslog\",\"journald\",\"fluentd\",\"none\"]", 0, 0, NULL},
    {"ECS_DISABLE_PRIVILEGED", SWITCH, AT(disable_privileged), "false", 0, 0, NULL},
    {"ECS_SELINUX_CAPABLE", SWITCH, AT(selinux), "false", 0, 0, NULL},
    {"ECS_APPARMOR_CAPABLE", SWITCH, AT(apparmor), "false", 0, 0, NULL},
    {"ECS_ENGINE_TASK_CLEANUP_WAIT_DURATION", DURATION, AT(cleanup_delay_ms), "10s", SECOND_MS,
     YEAR_MS, NULL},
    {"ECS_ENGINE_TASK_CLEANUP_WAIT_DURATION_JITTER", DURATION, AT(cleanup_jitter_ms), "0s", 0,
     YEAR_MS, NULL},
    {"ECS_MANIFEST_PULL_TIMEOUT", DURATION, AT(manifest_timeout_ms), "1m", SECOND_MS, YEAR_MS,
     NULL},
    {"ECS_CONTAINER_STOP_TIMEOUT", DURATION, AT(stop_timeout_ms), "30s", 1, YEAR_MS, NULL},
    {"ECS_CONTAINER_START_TIMEOUT", DURATION, AT(start_timeout_ms), "3m", SECOND_MS, HOUR_MS, NULL},
    {"ECS_CONTAINER_CREATE_TIMEOUT", NOWHERE, 0, "creation and start are one step", 0, 0, NULL},
    {"ECS_ENABLE_TASK_IAM_ROLE", SWITCH, AT(task_role), "true", 0, 0, NULL},
    {"ECS_ENABLE_TASK_IAM_ROLE_NETWORK_HOST", SWITCH, AT(task_role_host), "true", 0, 0, NULL},
    {"ECS_DISABLE_IMAGE_CLEANUP", SWITCH, AT(disable_image_cleanup), "false", 0, 0, NULL},
    {"ECS_IMAGE_CLEANUP_INTERVAL", DURATION, AT(image_cleanup_interval_ms), "30m", CLEANUP_MS,
     YEAR_MS, NULL},
    {"ECS_IMAGE_MINIMUM_CLEANUP_AGE", DURATION, AT(image_cleanup_age_ms), "1h", 0, YEAR_MS, NULL},
    {"NON_ECS_IMAGE_MINIMUM_CLEANUP_AGE", DURATION, AT(untracked_cleanup_age_ms), "1h", 0, YEAR_MS,
     NULL},
    {"ECS_NUM_IMAGES_DELETE_PER_CYCLE", NUMBER, AT(images_per_cycle), "5", 1, 1000, NULL},
    {"ECS_IMAGE_PULL_BEHAVIOR", CHOICE, AT(pull_behavior), "default", 0, 0,
     "default always once prefer-cached"},
    {"ECS_IMAGE_PULL_INACTIVITY_TIMEOUT", DURATION, AT(pull_inactivity_ms), "1m", SECOND_MS,
     YEAR_MS, NULL},
    {"ECS_IMAGE_PULL_TIMEOUT", DURATION, AT(pull_timeout_ms), "2h", SECOND_MS, YEAR_MS, NULL},
    {"ECS_INSTANCE_ATTRIBUTES", PAIRS, AT(instance_attributes), "{}", 0, 0, NULL},
    {"ECS_INSTANCE_IP_COMPATIBILITY", LATER, 0, "tasks have IPv4 addresses", 0, 0, NULL},
    {"ECS_ENABLE_TASK_ENI", LATER, 0, no_awsvpc, 0, 0, NULL},
    {"ECS_ENABLE_HIGH_DENSITY_ENI", NOWHERE, 0, no_aws, 0, 0, NULL},
    {"ECS_CNI_PLUGINS_PATH", NOWHERE, 0, "networks are made without plugins", 0, 0, NULL},
    {"ECS_AWSVPC_BLOCK_IMDS", LATER, 0, no_awsvpc, 0, 0, NULL},
    {"ECS_AWSVPC_ADDITIONAL_LOCAL_ROUTES", LATER, 0, no_awsvpc, 0, 0, NULL},
    {"ECS_ENABLE_CONTAINER_METADATA", SWITCH, AT(container_metadata), "false", 0, 0, NULL},
    {"ECS_HOST_DATA_DIR", NOWHERE, 0, "--data-dir says it", 0, 0, NULL},
    {"ECS_ENABLE_TASK_CPU_MEM_LIMIT", SWITCH, AT(task_cpu_mem_limit), "true", 0, 0, NULL},
    {"ECS_CGROUP_PATH", NOWHERE, 0, "the control groups are found", 0, 0, NULL},
    {"ECS_CGROUP_CPU_PERIOD", DURATION, AT(cpu_period_ms), "100ms", 8, 100, NULL},
    {"ECS_AGENT_HEALTHCHECK_HOST", NOWHERE, 0, no_init, 0, 0, NULL},
    {"ECS_ENABLE_CPU_UNBOUNDED_WINDOWS_WORKAROUND", NOWHERE, 0, no_windows, 0, 0, NULL},
    {"ECS_ENABLE_MEMORY_UNBOUNDED_WINDOWS_WORKAROUND", NOWHERE, 0, no_windows, 0, 0, NULL},
    {"ECS_TASK_METADATA_RPS_LIMIT", RANGE, AT(metadata_rps), "40,60", 1, 100000, NULL},
    {"ECS_SHARED_VOLUME_MATCH_FULL_CONFIG", SWITCH, AT(match_shared_volumes), "false", 0, 0, NULL},
    {"ECS_CONTAINER_INSTANCE_PROPAGATE_TAGS_FROM", NOWHERE, 0, no_aws, 0, 0, NULL},
    {"ECS_CONTAINER_INSTANCE_TAGS", PAIRS, AT(instance_tags), "{}", 0, 0, NULL},
    {"ECS_ENABLE_UNTRACKED_IMAGE_CLEANUP", NOWHERE, 0, no_docker, 0, 0, NULL},
    {"ECS_EXCLUDE_UNTRACKED_IMAGE", TEXT, AT(excluded_images), "", 0, 0, NULL},
    {"ECS_DISABLE_DOCKER_HEALTH_CHECK", NOWHERE, 0, no_init, 0, 0, NULL},
    {"ECS_NVIDIA_RUNTIME", NOWHERE, 0, no_docker, 0, 0, NULL},
    {"ECS_ALTERNATE_CREDENTIAL_PROFILE", NOWHERE, 0, no_aws, 0, 0, NULL},
    {"ECS_ENABLE_SPOT_INSTANCE_DRAINING", NOWHERE, 0, no_aws, 0, 0, NULL},
    {"ECS_LOG_ROLLOVER_TYPE", NOWHERE, 0, no_own_log, 0, 0, NULL},
    {"ECS_LOG_OUTPUT_FORMAT", NOWHERE, 0, no_own_log, 0, 0, NULL},
    {"ECS_LOG_MAX_FILE_SIZE_MB", NOWHERE, 0, no_own_log, 0, 0, NULL},
    {"ECS_LOG_MAX_ROLL_COUNT", NOWHERE, 0, no_own_log, 0, 0, NULL},
    {"ECS_LOG_DRIVER", NOWHERE, 0, no_init, 0, 0, NULL},
    {"ECS_LOG_OPTS", NOWHERE, 0, no_init, 0, 0, NULL},
    {"ECS_ENABLE_AWSLOGS_EXECUTIONROLE_OVERRIDE", NOWHERE, 0, "logs are sent with the agent's key",
     0, 0, NULL},
    {"ECS_FSX_WINDOWS_FILE_SERVER_SUPPORTED", NOWHERE, 0, no_windows, 0, 0, NULL},
    {"ECS_ENABLE_RUNTIME_STATS", NOWHERE, 0, "it is for programs in Go", 0, 0, NULL},
    {"ECS_EXCLUDE_IPV6_PORTBINDING", SWITCH, AT(exclude_ipv6_bindings), "true", 0, 0, NULL},
    {"ECS_WARM_POOLS_CHECK", NOWHERE, 0, no_aws, 0, 0, NULL},
    {"ECS_SKIP_LOCALHOST_TRAFFIC_FILTER", SWITCH, AT(skip_localhost_filter), "false", 0, 0, NULL},
    {"ECS_ALLOW_OFFHOST_INTROSPECTION_ACCESS", SWITCH, AT(offhost_introspection), "false", 0, 0,
     NULL},
    {"ECS_ENABLE_GPU_SUPPORT", SWITCH, AT(gpu_support), "false", 0, 0, NULL},
    {"HTTP_PROXY", TEXT, AT(http_proxy), "", 0, 0, NULL},
    {"NO_PROXY", TEXT, AT(no_proxy), "", 0, 0, NULL},
    {"ECS_GMSA_SUPPORTED", NOWHERE, 0, no_windows, 0, 0, NULL},
    {"CREDENTIALS_FETCHER_HOST", NOWHERE, 0, no_windows, 0, 0, NULL},
    {"CREDENTIALS_FETCHER_SECRET_NAME_FOR_DOMAINLESS_GMSA", NOWHERE, 0, no_windows, 0, 0, NULL},
    {"ECS_DYNAMIC_HOST_PORT_RANGE", RANGE, AT(dynamic_ports), "0-0", 1, 65535, NULL},
    {"ECS_TASK_PIDS_LIMIT", NUMBER, AT(task_pids_limit), "0", 1, 4194304, NULL},
    {"ECS_PROPAGATE_TASK_MEMORY_LIMIT_CGROUPV2", SWITCH, AT(propagate_memory), "false", 0, 0, NULL},
    {"ECS_EBSTA_SUPPORTED", NOWHERE, 0, no_aws, 0, 0, NULL},
    {"ECS_ENABLE_FIRELENS_ASYNC", LATER, 0, "FireLens", 0, 0, NULL},
    {"ECS_DETAILED_OS_FAMILY", NOWHERE, 0, "the host's own name for itself is taken", 0, 0, NULL},
    {"ECS_PAUSE_LABELS", NOWHERE, 0, "there is no pause container", 0, 0, NULL},
    {"ECS_OFFHOST_INTROSPECTION_INTERFACE_NAME", NOWHERE, 0,
     "port 51678 is closed to other hosts on every interface, or open on every one", 0, 0, NULL},
    {"ECS_AGENT_LABELS", NOWHERE, 0, no_init, 0, 0, NULL},
    {"ECS_AGENT_APPARMOR_PROFILE", NOWHERE, 0, no_init, 0, 0, NULL},
    {"ECS_AGENT_PID_NAMESPACE_HOST", NOWHERE, 0, no_init, 0, 0, NULL},
    {"ECS_BACKEND_HOST", TEXT, AT(backend_host), "", 0, 0, NULL},
    {"ECS_AUDIT_LOGFILE", TEXT, AT(audit_file), "", 0, 0, NULL},
    {"ECS_AUDIT_LOGFILE_DISABLED", SWITCH, AT(audit_off), "false", 0, 0, NULL},
    {"ECS_EXTERNAL", NOWHERE, 0, no_aws, 0, 0, NULL},
};

static int64_t unit_ms(struct fl_str unit)
{
    static const struct {
        const char *name;
        int64_t ms;
    } units[] = {{"h", 3600 * 1000}, {"m", MINUTE_MS}, {"s", SECOND_MS}, {"ms", 1}};
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

int64_t fl_ecs_config_duration_ms(struct fl_str text)
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

/* In upper or lower case, as ECS's agent takes them; kept as the table has it. */
static bool take_choice(struct fl_str text, const char *choices, struct fl_str *ret_choice)
{
    struct fl_str rest = fl_str_of(choices), choice;
    while (fl_str_split(&rest, ' ', &choice))
        if (fl_str_case_eq(choice, text)) {
            *ret_choice = choice;
            return true;
        }
    return false;
}

static bool take_switch(struct fl_str text, bool *ret_value)
{
    bool on = fl_str_case_eq(text, FL_STR("true")) || fl_str_is(text, "1");
    bool off = fl_str_case_eq(text, FL_STR("false")) || fl_str_is(text, "0");
    if (on || off)
        *ret_value = on;
    return on || off;
}

static bool take_texts(struct fl_str text, bool ports, struct fl_arena *arena,
                       struct fl_ecs_texts *ret_texts)
{
    const struct fl_json *list = fl_json_read(text, arena, NULL);
    if (!fl_json_is(list, FL_JSON_ARRAY) || fl_json_items(list) > FL_ECS_CONFIG_MAX_ITEMS)
        return false;
    size_t n = fl_json_items(list);
    struct fl_str *items = fl_arena_new_array(arena, struct fl_str, FL_MAX(n, (size_t)1));
    for (size_t i = 0; i < n; i++) {
        const struct fl_json *item = fl_json_item(list, i);
        int64_t port;
        items[i] = fl_json_is(item, FL_JSON_INTEGER)
                       ? fl_str_printf(arena, "%lld", (long long)fl_json_int(item))
                       : fl_json_text(item);
        if (items[i].n == 0 ||
            (ports && (!fl_str_to_i64(items[i], &port) || port < 1 || port > 65535)))
            return false;
    }
    *ret_texts = (struct fl_ecs_texts){items, n};
    return true;
}

static bool take_pairs(struct fl_str text, struct fl_arena *arena, struct fl_ecs_pairs *ret_pairs)
{
    const struct fl_json *map = fl_json_read(text, arena, NULL);
    if (!fl_json_is(map, FL_JSON_OBJECT) || fl_json_members(map) > FL_ECS_CONFIG_MAX_ITEMS)
        return false;
    size_t count = FL_MAX(fl_json_members(map), (size_t)1), n = 0;
    struct fl_key_value *items = fl_arena_new_array(arena, struct fl_key_value, count);
    for (size_t i = 0; i < fl_json_members(map); i++) {
        const struct fl_json *value = fl_json_member(map, i);
        if (!fl_json_is(value, FL_JSON_STRING))
            return false;
        items[n++] = (struct fl_key_value){.key = fl_json_text(fl_json_member_name(map, i)),
                                           .value = fl_json_text(value)};
    }
    *ret_pairs = (struct fl_ecs_pairs){items, n};
    return true;
}

static bool take_range(const struct row *row, struct fl_str text, struct fl_ecs_range *ret_range)
{
    struct fl_str low;
    char separator = fl_str_index(text, ',') >= 0 ? ',' : '-';
    struct fl_ecs_range range;
    if (!fl_str_split(&text, separator, &low) || !fl_str_to_i64(fl_str_trim(low), &range.low) ||
        !fl_str_to_i64(fl_str_trim(text), &range.high))
        return false;
    if (range.low < row->low || range.high > row->high || range.low > range.high)
        return false;
    *ret_range = range;
    return true;
}

static bool take_number(const struct row *row, struct fl_str text, int64_t *ret_value)
{
    int64_t value = -1;
    bool read = true;
    if (row->kind == DURATION)
        value = fl_ecs_config_duration_ms(text);
    else
        read = fl_str_to_i64(text, &value);
    if (!read || value < row->low || value > row->high)
        return false;
    *ret_value = value;
    return true;
}

/* False: the member is as it was. */
static bool take(const struct row *row, struct fl_str text, struct fl_arena *arena,
                 struct fl_ecs_settings *settings)
{
    void *member = (char *)settings + row->at;
    switch (row->kind) {
    case CHOICE:
        return take_choice(text, row->choices, member);
    case TEXT:
    case SECRET:
        *(struct fl_str *)member = fl_str_dup(arena, text);
        return true;
    case SWITCH:
        return take_switch(text, member);
    case NUMBER:
    case DURATION:
        return take_number(row, text, member);
    case TEXTS:
    case PORTS:
        return take_texts(text, row->kind == PORTS, arena, member);
    case PAIRS:
        return take_pairs(text, arena, member);
    case RANGE:
        return take_range(row, text, member);
    case LATER:
    case NOWHERE:
        return true;
    }
    return false;
}

struct reading {
    struct fl_arena *arena;
    struct fl_ecs_settings settings;
    struct fl_str lines[2 * FL_ARRAY_SIZE(rows)];
    size_t line_count;
};

static void note(struct reading *reading, struct fl_str line)
{
    if (reading->line_count < FL_ARRAY_SIZE(reading->lines))
        reading->lines[reading->line_count++] = line;
}

static void read_value(struct reading *reading, const struct row *row, struct fl_str text)
{
    if (row->kind == LATER)
        note(reading,
             fl_str_printf(reading->arena, "%s is not implemented yet: %s", row->name, row->text));
    else if (row->kind == NOWHERE)
        note(reading,
             fl_str_printf(reading->arena, "%s has no effect here: %s", row->name, row->text));
    else if (!take(row, text, reading->arena, &reading->settings))
        note(reading, fl_str_printf(reading->arena, "%s: \"%.*s\" is not understood, %s is used",
                                    row->name, (int)FL_MIN(text.n, (size_t)200), text.p,
                                    *row->text ? row->text : "nothing"));
}

/* {"A=1"} in quotes as a shell would have them, or without. */
static struct fl_str unquoted(struct fl_str value)
{
    bool quoted = value.n >= 2 && value.p[0] == value.p[value.n - 1] &&
                  (value.p[0] == '"' || value.p[0] == '\'');
    return quoted ? fl_str_sub(value, 1, value.n - 2) : value;
}

static const struct row *find_row(struct fl_str name)
{
    for (size_t i = 0; i < FL_ARRAY_SIZE(rows); i++)
        if (fl_str_is(name, rows[i].name))
            return &rows[i];
    return NULL;
}

/* NULL: the environment does not say; an empty variable is none. */
static const char *said_by_environment(const struct row *row)
{
    const char *value = getenv(row->name);
    return value && *value ? value : NULL;
}

static int read_line(struct reading *reading, struct fl_str line, struct fl_err *err)
{
    line = fl_str_trim(line);
    struct fl_str name;
    if (line.n == 0 || line.p[0] == '#')
        return 0;
    if (fl_str_starts(line, FL_STR("export ")))
        line = fl_str_trim(fl_str_from(line, strlen("export ")));
    if (fl_str_index(line, '=') <= 0 || !fl_str_split(&line, '=', &name))
        return fl_err_set(err, -EINVAL, "\"%.*s\" is not NAME=VALUE",
                          (int)FL_MIN(line.n, (size_t)80), line.p);
    const struct row *row = find_row(name);
    if (!row)
        note(reading, fl_str_printf(reading->arena, "%.*s is not a variable of the ECS agent",
                                    (int)FL_MIN(name.n, (size_t)80), name.p));
    else if (!said_by_environment(row))
        read_value(reading, row, unquoted(line));
    return 0;
}

static int read_lines(struct reading *reading, struct fl_str text, const char *name,
                      struct fl_err *err)
{
    struct fl_str line;
    for (int number = 1; fl_str_split(&text, '\n', &line); number++) {
        struct fl_err why = {0};
        if (read_line(reading, line, &why) < 0)
            return fl_err_set(err, -EINVAL, "%s, line %d: %s", name, number, why.text);
    }
    return 0;
}

static void read_environment(struct reading *reading)
{
    for (size_t i = 0; i < FL_ARRAY_SIZE(rows); i++) {
        const char *value = rows[i].kind == NOWHERE ? NULL : said_by_environment(&rows[i]);
        if (value)
            read_value(reading, &rows[i], fl_str_of(value));
    }
}

int fl_ecs_config_parse(struct fl_str text, const char *name, struct fl_arena *arena,
                        struct fl_ecs_settings *ret_settings, struct fl_ecs_notes *ret_notes,
                        struct fl_err *err)
{
    struct reading *reading = fl_arena_new_object(arena, struct reading);
    reading->arena = arena;
    for (size_t i = 0; i < FL_ARRAY_SIZE(rows); i++)
        (void)take(&rows[i], fl_str_of(rows[i].text), arena, &reading->settings);
    int r = read_lines(reading, text, name, err);
    if (r < 0)
        return r;
    read_environment(reading);
    *ret_settings = reading->settings;
    *ret_notes = (struct fl_ecs_notes){reading->lines, reading->line_count};
    return 0;
}

int fl_ecs_config_read(const char *path, bool required, struct fl_arena *arena,
                       struct fl_ecs_settings *ret_settings, struct fl_ecs_notes *ret_notes,
                       struct fl_err *err)
{
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(FL_ECS_CONFIG_MAX);
    int r = fl_fs_read(AT_FDCWD, path, text.max, &text);
    if (r < 0 && (r != -ENOENT || required))
        return fl_err_errno(err, r, "cannot read %s", path);
    return fl_ecs_config_parse(fl_buf_str(&text), path, arena, ret_settings, ret_notes, err);
}
