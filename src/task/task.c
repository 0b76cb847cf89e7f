/* States of tasks and containers: the tables of what may follow what, and their names. */
#include "task/task.h"

#include <errno.h>

#include "base/util.h"

static const char *const container_names[] = {
    [FL_CONTAINER_NONE] = "NONE",       [FL_CONTAINER_PULLED] = "PULLED",
    [FL_CONTAINER_CREATED] = "CREATED", [FL_CONTAINER_RUNNING] = "RUNNING",
    [FL_CONTAINER_STOPPED] = "STOPPED",
};

static const char *const task_names[] = {
    [FL_TASK_PENDING] = "PENDING",
    [FL_TASK_RUNNING] = "RUNNING",
    [FL_TASK_STOPPED] = "STOPPED",
};

static const char *const health_names[] = {
    [FL_HEALTH_UNKNOWN] = "UNKNOWN",
    [FL_HEALTH_HEALTHY] = "HEALTHY",
    [FL_HEALTH_UNHEALTHY] = "UNHEALTHY",
};

#define TO(state) (1u << (state))

static const unsigned container_moves[] = {
    [FL_CONTAINER_NONE] = TO(FL_CONTAINER_PULLED) | TO(FL_CONTAINER_STOPPED),
    [FL_CONTAINER_PULLED] = TO(FL_CONTAINER_CREATED) | TO(FL_CONTAINER_STOPPED),
    [FL_CONTAINER_CREATED] = TO(FL_CONTAINER_NONE) | TO(FL_CONTAINER_PULLED) |
                             TO(FL_CONTAINER_RUNNING) | TO(FL_CONTAINER_STOPPED),
    [FL_CONTAINER_RUNNING] = TO(FL_CONTAINER_PULLED) | TO(FL_CONTAINER_STOPPED),
    [FL_CONTAINER_STOPPED] = 0,
};

static const unsigned task_moves[] = {
    [FL_TASK_PENDING] = TO(FL_TASK_RUNNING) | TO(FL_TASK_STOPPED),
    [FL_TASK_RUNNING] = TO(FL_TASK_STOPPED),
    [FL_TASK_STOPPED] = 0,
};

struct fl_str fl_task_id(struct fl_str arn)
{
    ptrdiff_t slash = fl_str_rindex(arn, '/');
    return slash < 0 ? arn : fl_str_from(arn, (size_t)slash + 1);
}

const char *fl_container_state_name(enum fl_container_state state)
{
    return container_names[state];
}

const char *fl_task_status_name(enum fl_task_status status)
{
    return task_names[status];
}

static int name_index(const char *const *names, size_t count, struct fl_str name)
{
    for (size_t i = 0; i < count; i++)
        if (fl_str_is(name, names[i]))
            return (int)i;
    return -1;
}

bool fl_container_state_read(struct fl_str name, enum fl_container_state *ret_state)
{
    int i = name_index(container_names, FL_ARRAY_SIZE(container_names), name);
    if (i >= 0)
        *ret_state = (enum fl_container_state)i;
    return i >= 0;
}

const char *fl_health_name(enum fl_health health)
{
    return health_names[health];
}

bool fl_health_read(struct fl_str name, enum fl_health *ret_health)
{
    int i = name_index(health_names, FL_ARRAY_SIZE(health_names), name);
    if (i >= 0)
        *ret_health = (enum fl_health)i;
    return i >= 0;
}

bool fl_task_status_read(struct fl_str name, enum fl_task_status *ret_status)
{
    int i = name_index(task_names, FL_ARRAY_SIZE(task_names), name);
    if (i >= 0)
        *ret_status = (enum fl_task_status)i;
    return i >= 0;
}

void fl_container_move(struct fl_task_container *container, enum fl_container_state to)
{
    FL_ASSERT(container_moves[container->state] & TO(to));
    container->state = to;
}

void fl_task_move(struct fl_task *task, enum fl_task_status to)
{
    FL_ASSERT(task_moves[task->status] & TO(to));
    task->status = to;
}

struct fl_task *fl_task_new(struct fl_str arn, struct fl_str cluster_arn)
{
    struct fl_task *task = fl_calloc(1, sizeof(*task));
    task->arena = fl_arena_new();
    task->arn = fl_str_dup(task->arena, arn);
    task->cluster_arn = fl_str_dup(task->arena, cluster_arn);
    return task;
}

struct fl_spec_holder {
    unsigned holders;
    struct fl_arena *arena;
    struct fl_task_spec spec;
};

static void make_containers(struct fl_task *task)
{
    task->container_count = task->spec->container_count;
    task->containers =
        fl_arena_new_array(task->arena, struct fl_task_container, task->container_count);
    for (size_t i = 0; i < task->container_count; i++) {
        task->containers[i].task = task;
        task->containers[i].spec = &task->spec->containers[i];
    }
}

int fl_task_set_spec(struct fl_task *task, const struct fl_task_spec *spec, size_t max,
                     struct fl_err *err)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(max);
    fl_task_spec_encode(spec, &buf);
    if (buf.overflow)
        return fl_err_set(err, -EINVAL, "it is larger than %zu bytes", max);
    struct fl_spec_holder *holder = fl_calloc(1, sizeof(*holder));
    holder->holders = 1;
    holder->arena = fl_arena_new();
    fl_task_spec_copy(spec, holder->arena, &holder->spec);
    task->holder = holder;
    task->spec = &holder->spec;
    task->spec_text = fl_str_dup(holder->arena, fl_buf_str(&buf));
    make_containers(task);
    return 0;
}

static void copy_container(const struct fl_task_container *from, struct fl_task_container *to)
{
    struct fl_arena *arena = to->task->arena;
    struct fl_task_container copy = *from;
    copy.hh = to->hh;
    copy.task = to->task;
    copy.reason = fl_str_dup(arena, from->reason);
    copy.image_digest = fl_str_dup(arena, from->image_digest);
    copy.log_stream = fl_str_dup(arena, from->log_stream);
    copy.bindings = fl_arena_new_array(arena, struct fl_task_binding, from->binding_count);
    for (size_t i = 0; i < from->binding_count; i++)
        copy.bindings[i] = from->bindings[i];
    copy.check_due_ms = 0;
    copy.health_exit_code = 0;
    copy.health_output = NULL;
    copy.asked = copy.image_ready = copy.cleared = false;
    *to = copy;
}

struct fl_task *fl_task_copy(const struct fl_task *task)
{
    struct fl_task *made = fl_task_new(task->arn, task->cluster_arn);
    struct fl_task copy = *task;
    copy.hh = made->hh;
    copy.arena = made->arena;
    copy.arn = made->arn;
    copy.cluster_arn = made->cluster_arn;
    copy.reason = fl_str_dup(made->arena, task->reason);
    copy.sent_seq = 0;
    copy.dirty = false;
    copy.next_dirty = NULL;
    *made = copy;
    if (!task->holder)
        return made;
    made->holder->holders++;
    make_containers(made);
    for (size_t i = 0; i < made->container_count; i++)
        copy_container(&task->containers[i], &made->containers[i]);
    return made;
}

static void release_spec(struct fl_spec_holder *holder)
{
    if (!holder || --holder->holders > 0)
        return;
    fl_arena_free(holder->arena);
    free(holder);
}

void fl_task_free(struct fl_task *task)
{
    if (!task)
        return;
    for (size_t i = 0; i < task->container_count; i++)
        free(task->containers[i].health_output);
    release_spec(task->holder);
    fl_arena_free(task->arena);
    free(task);
}

struct fl_task_container *fl_task_container_named(const struct fl_task *task, struct fl_str name)
{
    for (size_t i = 0; i < task->container_count; i++)
        if (fl_str_eq(task->containers[i].spec->name, name))
            return &task->containers[i];
    return NULL;
}

bool fl_task_all_stopped(const struct fl_task *task)
{
    for (size_t i = 0; i < task->container_count; i++)
        if (task->containers[i].state != FL_CONTAINER_STOPPED)
            return false;
    return true;
}
