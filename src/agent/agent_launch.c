/* The way of a container to its start: image, log stream and network, launch.
 *
 * The brain may have changed its mind whenever an answer arrives, so each step looks the container
 * up anew; what belongs to nobody any more is given back. Each effect gets exactly one answer. */
#include <errno.h>

#include "agent/agent_internal.h"
#include "base/clock.h"
#include "base/log.h"

enum { PARALLEL_LAUNCHES = 16 };

/* How Docker's client begins every failure that it was told; people and alarms know the words. */
#define DAEMON "Error response from daemon: "

struct fl_live *fl_agent_live(struct fl_agent *agent, struct fl_str container_id)
{
    struct fl_live *live;
    HASH_FIND(hh, agent->live, container_id.p, container_id.n, live);
    return live;
}

struct fl_live *fl_agent_live_new(struct fl_agent *agent, struct fl_str container_id)
{
    struct fl_arena *arena = fl_arena_new();
    struct fl_live *live = fl_arena_new_object(arena, struct fl_live);
    live->agent = agent;
    live->arena = arena;
    live->endpoint.netns_fd = -1;
    FL_ASSERT(container_id.n == FL_CONTAINER_ID_SIZE - 1);
    memcpy(live->id, container_id.p, container_id.n);
    HASH_ADD_KEYPTR(hh, agent->live, live->id, container_id.n, live);
    return live;
}

/* From the moment on when nothing but work stands between the container and its start. */
static void begin_start(struct fl_live *live)
{
    if (!live->starting)
        fl_images_start_begins(live->agent->images);
    live->starting = true;
}

static void end_start(struct fl_live *live)
{
    if (live->starting && live->agent->images)
        fl_images_start_ends(live->agent->images);
    live->starting = false;
}

static void live_free(struct fl_live *live)
{
    end_start(live);
    HASH_DEL(live->agent->live, live);
    if (live->queued)
        TAILQ_REMOVE(&live->agent->launch_queue, live, queue);
    if (live->launching)
        live->agent->launching--;
    fl_agent_exit_forget(live);
    if (live->endpoint.netns_fd >= 0)
        (void)close(live->endpoint.netns_fd);
    fl_arena_free(live->arena);
}

void fl_agent_live_free_all(struct fl_agent *agent)
{
    struct fl_live *live, *next;
    HASH_ITER(hh, agent->live, live, next)
    {
        live_free(live);
    }
}

void fl_agent_fail(struct fl_agent *agent, struct fl_str container_id, enum fl_effect_type effect,
                   enum fl_failure failure, struct fl_str text)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_brain_event event = {.type = FL_EVENT_FAILED};
    if (failure == FL_FAILURE_CREATE || failure == FL_FAILURE_START)
        text = fl_str_printf(arena, DAEMON "%.*s", FL_STR_ARG(text));
    event.failed.container_id = container_id;
    event.failed.effect = effect;
    event.failed.failure = failure;
    event.failed.text = text;
    fl_log_info("container %.12s does not start: %.*s", container_id.p, FL_STR_ARG(text));
    (void)fl_agent_post(agent, &event);
}

/* ---- image ---- */

static struct fl_str *copy_list(struct fl_arena *arena, const struct fl_str *items, size_t count)
{
    struct fl_str *copy = fl_arena_new_array(arena, struct fl_str, count);
    for (size_t i = 0; i < count; i++)
        copy[i] = fl_str_dup(arena, items[i]);
    return copy;
}

static void copy_image(struct fl_live *live, const struct fl_image_ready *ready)
{
    struct fl_arena *arena = live->arena;
    const struct fl_image_config *from = &ready->config;
    live->image = (struct fl_image_ready){
        .digest = fl_str_dup(arena, ready->digest),
        .config =
            {
                .entry_point = copy_list(arena, from->entry_point, from->entry_point_count),
                .entry_point_count = from->entry_point_count,
                .command = copy_list(arena, from->command, from->command_count),
                .command_count = from->command_count,
                .environment = copy_list(arena, from->environment, from->environment_count),
                .environment_count = from->environment_count,
                .user = fl_str_dup(arena, from->user),
                .working_dir = fl_str_dup(arena, from->working_dir),
                .stop_signal = fl_str_dup(arena, from->stop_signal),
                .volumes = copy_list(arena, from->volumes, from->volume_count),
                .volume_count = from->volume_count,
            },
        .layers = copy_list(arena, ready->layers, ready->layer_count),
        .layer_count = ready->layer_count,
    };
}

enum fl_failure fl_agent_image_failure(enum fl_image_failure failure)
{
    switch (failure) {
    case FL_IMAGE_CANNOT_PULL:
        return FL_FAILURE_PULL;
    case FL_IMAGE_CANNOT_PULL_MANIFEST:
        return FL_FAILURE_PULL_MANIFEST;
    case FL_IMAGE_TIMEOUT:
        return FL_FAILURE_TIMEOUT;
    }
    return FL_FAILURE_PULL;
}

static void on_image(void *context, const struct fl_image_ready *ready,
                     enum fl_image_failure failure, struct fl_str error)
{
    struct fl_live *live = context;
    struct fl_agent *agent = live->agent;
    struct fl_str id = fl_str_of(live->id);
    const struct fl_task_container *container = fl_brain_container(agent->brain, id);
    live->busy = false;
    if (live->released || !container || container->state == FL_CONTAINER_STOPPED) {
        live_free(live);
        return;
    }
    if (!ready) {
        fl_agent_fail(agent, id, FL_EFFECT_ENSURE_IMAGE, fl_agent_image_failure(failure), error);
        live_free(live);
        return;
    }
    copy_image(live, ready);
    if (container->cleared)
        begin_start(live);
    struct fl_brain_event event = {.type = FL_EVENT_IMAGE_READY};
    event.image.container_id = id;
    event.image.digest = ready->digest;
    event.image.stop_signal = fl_runtime_signal_number(ready->config.stop_signal);
    event.image.pull_started_ms = live->pull_started_ms;
    event.image.pull_stopped_ms = fl_clock_wall_ms();
    (void)fl_agent_post(agent, &event);
}

static void ensure_image(struct fl_live *live, const struct fl_task_container *container)
{
    struct fl_agent *agent = live->agent;
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_registry_login login;
    bool has_login =
        fl_task_secrets_login(agent->secrets, container->task->arn, container->spec, arena, &login);
    live->pull_started_ms = fl_clock_wall_ms();
    fl_images_ensure(agent->images, container->spec->image, has_login ? &login : NULL, on_image,
                     live);
}

static void on_secrets(void *context, struct fl_str error)
{
    struct fl_live *live = context;
    struct fl_agent *agent = live->agent;
    struct fl_str id = fl_str_of(live->id);
    const struct fl_task_container *container = fl_brain_container(agent->brain, id);
    bool is_wanted = !live->released && container && container->state != FL_CONTAINER_STOPPED;
    if (is_wanted && error.n == 0) {
        ensure_image(live, container);
        return;
    }
    if (is_wanted)
        fl_agent_fail(agent, id, FL_EFFECT_ENSURE_IMAGE, FL_FAILURE_RESOURCE, error);
    live_free(live);
}

void fl_agent_ensure_image(struct fl_agent *agent, struct fl_str container_id)
{
    const struct fl_task_container *container = fl_brain_container(agent->brain, container_id);
    if (!container || fl_agent_live(agent, container_id) ||
        container->state == FL_CONTAINER_STOPPED)
        return;
    struct fl_live *live = fl_agent_live_new(agent, container_id);
    live->busy = true;
    fl_task_secrets_ensure(agent->secrets, container->task->spec, on_secrets, live);
}

/* ---- log stream and network ---- */

static struct fl_task_binding *copy_bindings(const struct fl_endpoint *endpoint,
                                             struct fl_arena *arena)
{
    struct fl_task_binding *bindings =
        fl_arena_new_array(arena, struct fl_task_binding, endpoint->binding_count);
    for (size_t i = 0; i < endpoint->binding_count; i++)
        bindings[i] = (struct fl_task_binding){
            .container_port = endpoint->bindings[i].container_port,
            .host_port = endpoint->bindings[i].host_port,
            .udp = endpoint->bindings[i].udp,
            .more = endpoint->bindings[i].more,
            .ipv6 = endpoint->bindings[i].ipv6,
        };
    return bindings;
}

/* One that starts again keeps its address and its ports: others know it by them. */
static int make_network(struct fl_live *live, const struct fl_task_container *container,
                        struct fl_err *err)
{
    struct fl_network *network = live->agent->network;
    struct fl_str id = fl_str_of(live->id);
    const struct fl_container_spec *spec = container->spec;
    bool is_cut_off = spec->docker.network_disabled;
    int r = -ENOENT;
    if (container->restarts > 0)
        r = fl_network_renew(network, id, live->arena, &live->endpoint, err);
    if (r == -ENOENT)
        r = fl_network_attach(
            network, id, is_cut_off ? FL_NET_NONE : container->task->spec->network_mode,
            spec->ports, is_cut_off ? 0 : spec->port_count, live->arena, &live->endpoint, err);
    return r;
}

static void attach(struct fl_live *live, const struct fl_task_container *container)
{
    struct fl_err err = {0};
    struct fl_agent *agent = live->agent;
    struct fl_str id = fl_str_of(live->id);
    int r = make_network(live, container, &err);
    if (r < 0) {
        live->endpoint.netns_fd = -1;
        fl_agent_fail(agent, id, FL_EFFECT_PREPARE,
                      r == -ENOSPC ? FL_FAILURE_CONFIG : FL_FAILURE_START, fl_str_of(err.text));
        fl_agent_release(agent, id);
        return;
    }
    live->attached = true;
    struct fl_log_target target;
    struct fl_brain_event event = {.type = FL_EVENT_PREPARED};
    event.prepared.container_id = id;
    if (!fl_agent_log_hides(container->spec, FL_STR("awslogs-stream")) &&
        fl_agent_log_target(agent, container, live->arena, &target, NULL) == 0)
        event.prepared.log_stream = target.plan->stream;
    memcpy(event.prepared.address, live->endpoint.address, sizeof(event.prepared.address));
    event.prepared.bindings = copy_bindings(&live->endpoint, live->arena);
    event.prepared.binding_count = live->endpoint.binding_count;
    (void)fl_agent_post(agent, &event);
}

static void on_log_ensured(void *context, struct fl_str error)
{
    struct fl_live *live = context;
    struct fl_agent *agent = live->agent;
    struct fl_str id = fl_str_of(live->id);
    const struct fl_task_container *container = fl_brain_container(agent->brain, id);
    live->busy = false;
    bool wanted = container && container->state == FL_CONTAINER_PULLED && !live->released;
    if (error.n == 0)
        fl_agent_log_begin(agent, id);
    if (error.n > 0 && wanted)
        fl_agent_fail(agent, id, FL_EFFECT_PREPARE, FL_FAILURE_START, error);
    if (!wanted)
        (void)fl_agent_log_finish(agent, id);
    if (error.n > 0 || !wanted)
        live_free(live);
    else
        attach(live, container);
}

void fl_agent_prepare(struct fl_agent *agent, struct fl_str container_id)
{
    const struct fl_task_container *container = fl_brain_container(agent->brain, container_id);
    struct fl_live *live = fl_agent_live(agent, container_id);
    bool is_restart = container && container->restarts > 0;
    if (!container || container->state == FL_CONTAINER_STOPPED)
        fl_network_detach(agent->network, container_id);
    if (!live && is_restart && container->state == FL_CONTAINER_PULLED)
        live = fl_agent_live_new(agent, container_id);
    if (!live || live->busy || live->attached)
        return;
    if (!container || container->state != FL_CONTAINER_PULLED) {
        live_free(live);
        return;
    }
    begin_start(live);
    if (is_restart) {
        attach(live, container);
        return;
    }
    struct fl_err err = {0};
    struct fl_log_target target;
    if (fl_agent_log_target(agent, container, live->arena, &target, &err) < 0) {
        fl_agent_fail(agent, container_id, FL_EFFECT_PREPARE, FL_FAILURE_CREATE,
                      fl_str_of(err.text));
        live_free(live);
        return;
    }
    if (!fl_agent_is_shipped(container->spec)) {
        attach(live, container);
        return;
    }
    live->busy = true;
    fl_log_shipper_ensure(agent->shipper, &target, on_log_ensured, live);
}

/* ---- launch ---- */

/* The devices that the container is given; its environment names them. */
static int add_gpus(struct fl_live *live, const struct fl_container_spec *spec,
                    struct fl_launch *launch, struct fl_err *err)
{
    struct fl_str *nodes;
    if (spec->gpu_count == 0)
        return 0;
    int r = fl_gpus_nodes(&live->agent->gpus, spec->gpus, spec->gpu_count, live->arena, &nodes,
                          &launch->device_node_count, err);
    if (r < 0)
        return r;
    launch->device_nodes = nodes;
    return 0;
}

/* The container's variables and its log driver's options, with their values. */
static int add_secrets(struct fl_live *live, const struct fl_task_container *container,
                       struct fl_launch *launch, struct fl_err *err)
{
    const struct fl_task_secrets *secrets = live->agent->secrets;
    struct fl_key_value *variables, *options;
    if (!fl_task_secrets_pairs(secrets, container->task->arn, container->spec, false, live->arena,
                               &variables, &launch->secret_count) ||
        !fl_task_secrets_pairs(secrets, container->task->arn, container->spec, true, live->arena,
                               &options, &launch->log_secret_count))
        return fl_err_set(err, -ENOKEY, "its secrets are not known any more");
    launch->secrets = variables;
    launch->log_secrets = options;
    return 0;
}

/* What the container's links add to its environment. */
static int add_links(struct fl_live *live, const struct fl_task_container *container,
                     struct fl_launch *launch, struct fl_err *err)
{
    struct fl_key_value *links = NULL;
    size_t count = 0, known = launch->extra_environment_count;
    int rc = fl_agent_link_variables(container, live->arena, &links, &count, err);
    if (rc < 0 || count == 0)
        return rc;
    struct fl_key_value *all = fl_arena_new_array(live->arena, struct fl_key_value, known + count);
    for (size_t i = 0; i < known + count; i++)
        all[i] = i < known ? launch->extra_environment[i] : links[i - known];
    launch->extra_environment = all;
    launch->extra_environment_count = known + count;
    return 0;
}

static int fill_launch(struct fl_live *live, const struct fl_task_container *container,
                       struct fl_launch *launch, struct fl_err *err)
{
    struct fl_agent *agent = live->agent;
    struct fl_arena *arena = live->arena;
    enum fl_network_mode mode = container->task->spec->network_mode;
    struct fl_str hostname = fl_agent_hostname_of(agent, container, arena);
    *launch = (struct fl_launch){
        .container_id = fl_str_of(live->id),
        .task_id = fl_task_id(container->task->arn),
        .task = container->task->spec,
        .container = container->spec,
        .image = &live->image.config,
        .layers = live->image.layers,
        .layer_count = live->image.layer_count,
        .hostname = hostname,
        .etc_hosts = fl_agent_etc_hosts(mode, live->endpoint.address, hostname, arena),
        .etc_resolv_conf = fl_agent_etc_resolv_conf(mode, arena),
        .netns_fd = live->endpoint.netns_fd,
    };
    struct fl_log_target target;
    int rc = fl_agent_log_target(agent, container, arena, &target, err);
    if (rc < 0)
        return rc;
    launch->log = target.plan;
    fl_agent_add_environment(agent, container, arena, launch);
    rc = add_links(live, container, launch, err);
    if (rc == 0)
        rc = add_secrets(live, container, launch, err);
    if (rc == 0)
        rc = add_gpus(live, container->spec, launch, err);
    if (rc == 0)
        rc = fl_agent_add_hosts(container, arena, &launch->etc_hosts, err);
    return rc == 0 ? fl_agent_set_dns(container->spec, arena, &launch->etc_resolv_conf, err) : rc;
}

/* What the image and the definition say lies in the container's directory already. */
static int relaunch(struct fl_live *live, const struct fl_task_container *container,
                    struct fl_err *err)
{
    struct fl_agent *agent = live->agent;
    const struct fl_task_spec *task = container->task->spec;
    struct fl_str hostname = fl_agent_hostname_of(agent, container, live->arena);
    struct fl_relaunch order = {
        .container_id = fl_str_of(live->id),
        .task_id = fl_task_id(container->task->arn),
        .task = task,
        .run = container->restarts,
        .etc_hosts =
            fl_agent_etc_hosts(task->network_mode, live->endpoint.address, hostname, live->arena),
        .netns_fd = live->endpoint.netns_fd,
    };
    int rc = fl_agent_add_hosts(container, live->arena, &order.etc_hosts, err);
    return rc == 0 ? fl_runtime_relaunch(agent->runtime, &order, err) : rc;
}

static int launch_first(struct fl_live *live, const struct fl_task_container *container,
                        struct fl_err *err)
{
    struct fl_launch order;
    int rc = fill_launch(live, container, &order, err);
    return rc == 0 ? fl_runtime_launch(live->agent->runtime, &order, err) : rc;
}

static void launch(struct fl_live *live, const struct fl_task_container *container)
{
    struct fl_err err = {0};
    struct fl_agent *agent = live->agent;
    int r = container->restarts > 0 ? relaunch(live, container, &err)
                                    : launch_first(live, container, &err);
    if (live->endpoint.netns_fd >= 0)
        (void)close(FL_TAKE_FD(live->endpoint.netns_fd));
    if (r < 0) {
        fl_agent_fail(agent, fl_str_of(live->id), FL_EFFECT_LAUNCH,
                      r == -EINVAL ? FL_FAILURE_CREATE : FL_FAILURE_START, fl_str_of(err.text));
        return;
    }
    live->launching = true;
    agent->launching++;
    if (container->restarts > 0)
        fl_agent_log_resume(agent, container);
    else
        fl_agent_log_start(agent, container);
}

/* A machine that starts hundreds of containers at once starts none of them soon. */
static void pump_launches(struct fl_agent *agent)
{
    struct fl_live *live;
    while (agent->launching < PARALLEL_LAUNCHES &&
           (live = TAILQ_FIRST(&agent->launch_queue)) != NULL) {
        const struct fl_task_container *container =
            fl_brain_container(agent->brain, fl_str_of(live->id));
        TAILQ_REMOVE(&agent->launch_queue, live, queue);
        live->queued = false;
        if (container && container->state == FL_CONTAINER_CREATED)
            launch(live, container);
        if (!live->launching)
            end_start(live);
    }
}

void fl_agent_launch(struct fl_agent *agent, struct fl_str container_id)
{
    struct fl_live *live = fl_agent_live(agent, container_id);
    if (!live || live->queued || live->launching)
        return;
    live->queued = true;
    TAILQ_INSERT_TAIL(&agent->launch_queue, live, queue);
    pump_launches(agent);
}

void fl_agent_launch_ended(struct fl_agent *agent, struct fl_str container_id)
{
    struct fl_live *live = fl_agent_live(agent, container_id);
    if (!live || !live->launching)
        return;
    live->launching = false;
    end_start(live);
    agent->launching--;
    pump_launches(agent);
    fl_agent_network_launched(agent);
}

/* ---- the end ---- */

/* Nothing of the container runs: its address and ports are free again, unless it is about to start
 * once more. The spool stays until the task is removed, and so does the shipper while lines are
 * left. */
void fl_agent_release(struct fl_agent *agent, struct fl_str container_id)
{
    struct fl_live *live = fl_agent_live(agent, container_id);
    const struct fl_task_container *container = fl_brain_container(agent->brain, container_id);
    if (!container || container->state == FL_CONTAINER_STOPPED)
        fl_runtime_let_go(agent->runtime, container_id);
    if (!container || container->restarts == 0 || container->state != FL_CONTAINER_PULLED)
        fl_network_detach(agent->network, container_id);
    (void)fl_agent_log_finish(agent, container_id);
    if (container && container->task->status == FL_TASK_STOPPED)
        fl_task_secrets_forget(agent->secrets, container->task->arn);
    if (!live)
        return;
    live->released = true;
    if (!live->busy)
        live_free(live);
}
