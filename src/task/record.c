/* Records to and from JSON. What is 0, empty or false is left out. */
#include "task/record.h"

#include <errno.h>

#include "base/id.h"
#include "wire/json.h"

static void put_int(struct fl_json_writer *jw, const char *key, int64_t value)
{
    if (value != 0)
        fl_jw_member_int(jw, key, value);
}

static void put_str(struct fl_json_writer *jw, const char *key, struct fl_str value)
{
    if (value.n > 0)
        fl_jw_member_str(jw, key, value);
}

static void put_flag(struct fl_json_writer *jw, const char *key, bool value)
{
    if (value)
        fl_jw_member_bool(jw, key, true);
}

static void write_bindings(struct fl_json_writer *jw, const struct fl_task_container *container)
{
    if (container->binding_count == 0)
        return;
    fl_jw_key(jw, "bindings");
    fl_jw_array_begin(jw);
    for (size_t i = 0; i < container->binding_count; i++) {
        fl_jw_object_begin(jw);
        fl_jw_member_int(jw, "containerPort", container->bindings[i].container_port);
        fl_jw_member_int(jw, "hostPort", container->bindings[i].host_port);
        put_flag(jw, "udp", container->bindings[i].udp);
        put_int(jw, "more", container->bindings[i].more);
        put_flag(jw, "ipv6", container->bindings[i].ipv6);
        fl_jw_object_end(jw);
    }
    fl_jw_array_end(jw);
}

static void write_address(struct fl_json_writer *jw, const struct fl_task_container *container)
{
    char hex[9];
    static const uint8_t none[4];
    if (memcmp(container->address, none, 4) == 0)
        return;
    fl_hex(container->address, 4, hex);
    fl_jw_member_str(jw, "address", fl_str_of(hex));
}

static void write_runs(struct fl_json_writer *jw, const struct fl_task_container *container)
{
    put_int(jw, "restarts", container->restarts);
    put_int(jw, "runStartedAt", container->run_started_ms);
    if (!container->has_exit_code)
        put_int(jw, "lastExitCode", container->exit_code);
    if (container->health_since_ms == 0 && container->health_streak == 0)
        return;
    fl_jw_member_str(jw, "health", fl_str_of(fl_health_name(container->health)));
    put_int(jw, "healthSince", container->health_since_ms);
    put_int(jw, "healthStreak", container->health_streak);
}

static void write_container(struct fl_json_writer *jw, const struct fl_task_container *container)
{
    fl_jw_object_begin(jw);
    fl_jw_member_str(jw, "name", container->spec->name);
    fl_jw_member_str(jw, "id", fl_str_of(container->id));
    fl_jw_member_str(jw, "state", fl_str_of(fl_container_state_name(container->state)));
    put_flag(jw, "launched", container->launched);
    put_flag(jw, "stopWanted", container->stop_wanted);
    put_int(jw, "stopSignal", container->stop_signal);
    put_int(jw, "killDue", container->kill_due_ms);
    if (container->has_exit_code)
        fl_jw_member_int(jw, "exitCode", container->exit_code);
    put_str(jw, "reason", container->reason);
    put_str(jw, "imageDigest", container->image_digest);
    put_str(jw, "logStream", container->log_stream);
    write_address(jw, container);
    write_bindings(jw, container);
    put_int(jw, "startedAt", container->started_ms);
    put_int(jw, "finishedAt", container->finished_ms);
    put_int(jw, "startDue", container->start_due_ms);
    write_runs(jw, container);
    fl_jw_object_end(jw);
}

static void write_spec(struct fl_json_writer *jw, const struct fl_task *task)
{
    if (!task->spec)
        return;
    fl_jw_key(jw, "containers");
    fl_jw_array_begin(jw);
    for (size_t i = 0; i < task->container_count; i++)
        write_container(jw, &task->containers[i]);
    fl_jw_array_end(jw);
    fl_jw_key(jw, "spec");
    fl_jw_raw(jw, task->spec_text);
}

struct fl_str fl_task_record_key(struct fl_arena *arena, struct fl_str arn)
{
    static const char prefix[] = "task/";
    size_t n = sizeof(prefix) - 1;
    char *key = fl_arena_alloc(arena, n + arn.n + 1);
    memcpy(key, prefix, n);
    memcpy(key + n, arn.p, arn.n);
    return (struct fl_str){key, n + arn.n};
}

struct fl_str fl_task_record_write(const struct fl_task *task, struct fl_arena *arena)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(FL_TASK_RECORD_MAX);
    struct fl_json_writer jw = {.buf = &buf};
    fl_jw_object_begin(&jw);
    fl_jw_member_int(&jw, "version", FL_TASK_RECORD_VERSION);
    fl_jw_member_str(&jw, "arn", task->arn);
    put_str(&jw, "cluster", task->cluster_arn);
    put_flag(&jw, "desiredRunning", task->desired_running);
    fl_jw_member_str(&jw, "status", fl_str_of(fl_task_status_name(task->status)));
    put_str(&jw, "reason", task->reason);
    put_int(&jw, "pullStartedAt", task->pull_started_ms);
    put_int(&jw, "pullStoppedAt", task->pull_stopped_ms);
    put_int(&jw, "executionStoppedAt", task->execution_stopped_ms);
    put_int(&jw, "changeSeq", task->change_seq);
    put_int(&jw, "ackedSeq", task->acked_seq);
    put_int(&jw, "cleanupDue", task->cleanup_due_ms);
    write_spec(&jw, task);
    fl_jw_object_end(&jw);
    FL_ASSERT(!buf.overflow);
    return fl_str_dup(arena, fl_buf_str(&buf));
}

static int64_t get_int(const struct fl_json *json, const char *key)
{
    return fl_json_int(fl_json_get(json, key));
}

static struct fl_str get_str(const struct fl_json *json, const char *key, struct fl_arena *arena)
{
    return fl_str_dup(arena, fl_json_text(fl_json_get(json, key)));
}

static bool get_flag(const struct fl_json *json, const char *key)
{
    return fl_json_is_true(fl_json_get(json, key));
}

static void read_bindings(const struct fl_json *json, struct fl_task_container *container)
{
    const struct fl_json *list = fl_json_get(json, "bindings");
    struct fl_arena *arena = container->task->arena;
    container->binding_count = fl_json_items(list);
    container->bindings =
        fl_arena_new_array(arena, struct fl_task_binding, container->binding_count);
    for (size_t i = 0; i < container->binding_count; i++) {
        const struct fl_json *item = fl_json_item(list, i);
        container->bindings[i] = (struct fl_task_binding){
            .container_port = (uint16_t)get_int(item, "containerPort"),
            .host_port = (uint16_t)get_int(item, "hostPort"),
            .udp = get_flag(item, "udp"),
            .more = (uint16_t)get_int(item, "more"),
            .ipv6 = get_flag(item, "ipv6"),
        };
    }
}

static int read_runs(const struct fl_json *json, struct fl_task_container *container,
                     struct fl_err *err)
{
    struct fl_str health = fl_json_text(fl_json_get(json, "health"));
    container->restarts = (int)get_int(json, "restarts");
    container->run_started_ms = get_int(json, "runStartedAt");
    container->health_since_ms = get_int(json, "healthSince");
    container->health_streak = get_int(json, "healthStreak");
    if (!container->has_exit_code)
        container->exit_code = (int)get_int(json, "lastExitCode");
    if (health.n > 0 && !fl_health_read(health, &container->health))
        return fl_err_set(err, -EINVAL, "a container's health is unknown");
    return 0;
}

static int read_container(const struct fl_json *json, struct fl_task *task, struct fl_err *err)
{
    struct fl_str name = fl_json_text(fl_json_get(json, "name"));
    struct fl_str id = fl_json_text(fl_json_get(json, "id"));
    struct fl_task_container *container = fl_task_container_named(task, name);
    uint8_t raw[32];
    if (!container || !fl_unhex(id, raw, sizeof(raw)))
        return fl_err_set(err, -EINVAL, "a container's name or id is wrong");
    memcpy(container->id, id.p, id.n);
    if (!fl_container_state_read(fl_json_text(fl_json_get(json, "state")), &container->state))
        return fl_err_set(err, -EINVAL, "a container's state is unknown");
    const struct fl_json *exit_code = fl_json_get(json, "exitCode");
    container->launched = get_flag(json, "launched");
    container->stop_wanted = get_flag(json, "stopWanted");
    container->stop_signal = (int)get_int(json, "stopSignal");
    container->kill_due_ms = get_int(json, "killDue");
    container->has_exit_code = fl_json_is(exit_code, FL_JSON_INTEGER);
    container->exit_code = (int)fl_json_int(exit_code);
    container->reason = get_str(json, "reason", task->arena);
    container->image_digest = get_str(json, "imageDigest", task->arena);
    container->log_stream = get_str(json, "logStream", task->arena);
    container->started_ms = get_int(json, "startedAt");
    container->finished_ms = get_int(json, "finishedAt");
    (void)fl_unhex(fl_json_text(fl_json_get(json, "address")), container->address, 4);
    read_bindings(json, container);
    container->start_due_ms = get_int(json, "startDue");
    return read_runs(json, container, err);
}

static int read_spec(const struct fl_json *json, struct fl_task *task, struct fl_err *err)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    const struct fl_json *text = fl_json_get(json, "spec");
    struct fl_task_spec spec;
    if (!text)
        return 0;
    int r = fl_task_spec_decode(text, arena, &spec, err);
    if (r == 0)
        r = fl_task_set_spec(task, &spec, FL_TASK_RECORD_MAX, err);
    const struct fl_json *containers = fl_json_get(json, "containers");
    if (r == 0 && fl_json_items(containers) != task->container_count)
        r = fl_err_set(err, -EINVAL, "containers do not fit the specification");
    for (size_t i = 0; r == 0 && i < task->container_count; i++)
        r = read_container(fl_json_item(containers, i), task, err);
    return r;
}

static int check_version(const struct fl_json *json, struct fl_err *err)
{
    int64_t version = get_int(json, "version");
    if (version == FL_TASK_RECORD_VERSION)
        return 0;
    return fl_err_set(err, -EPROTO,
                      "a record of version %lld is in the agent's store, this release reads %d",
                      (long long)version, FL_TASK_RECORD_VERSION);
}

static int read_task(const struct fl_json *json, struct fl_task *task, struct fl_err *err)
{
    if (!fl_task_status_read(fl_json_text(fl_json_get(json, "status")), &task->status))
        return fl_err_set(err, -EINVAL, "a task's status is unknown");
    task->desired_running = get_flag(json, "desiredRunning");
    task->reason = get_str(json, "reason", task->arena);
    task->pull_started_ms = get_int(json, "pullStartedAt");
    task->pull_stopped_ms = get_int(json, "pullStoppedAt");
    task->execution_stopped_ms = get_int(json, "executionStoppedAt");
    task->change_seq = get_int(json, "changeSeq");
    task->acked_seq = get_int(json, "ackedSeq");
    task->cleanup_due_ms = get_int(json, "cleanupDue");
    return read_spec(json, task, err);
}

int fl_task_record_read(struct fl_str value, struct fl_task **ret_task, struct fl_err *err)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    const struct fl_json *json = fl_json_read(value, arena, err);
    if (!json)
        return -EINVAL;
    int r = check_version(json, err);
    if (r < 0)
        return r;
    struct fl_str arn = fl_json_text(fl_json_get(json, "arn"));
    if (arn.n == 0)
        return fl_err_set(err, -EINVAL, "a task's record has no arn");
    struct fl_task *task = fl_task_new(arn, fl_json_text(fl_json_get(json, "cluster")));
    r = read_task(json, task, err);
    if (r < 0)
        fl_task_free(task);
    else
        *ret_task = task;
    return r;
}

struct fl_str fl_host_record_write(const struct fl_host_record *host, struct fl_arena *arena)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(4096);
    struct fl_json_writer jw = {.buf = &buf};
    fl_jw_object_begin(&jw);
    fl_jw_member_int(&jw, "version", FL_TASK_RECORD_VERSION);
    put_int(&jw, "seq", host->seq);
    put_str(&jw, "bootId", host->boot_id);
    fl_jw_object_end(&jw);
    return fl_str_dup(arena, fl_buf_str(&buf));
}

int fl_host_record_read(struct fl_str value, struct fl_arena *arena,
                        struct fl_host_record *ret_host, struct fl_err *err)
{
    const struct fl_json *json = fl_json_read(value, arena, err);
    int r = json ? check_version(json, err) : -EINVAL;
    if (r < 0)
        return r;
    *ret_host = (struct fl_host_record){
        .seq = get_int(json, "seq"),
        .boot_id = get_str(json, "bootId", arena),
    };
    return 0;
}
