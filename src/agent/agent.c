/* The agent's process: parts opened bottom up, the loop, parts closed top down.
 *
 * The runtime comes first: it moves the process into a mount namespace of its own, which has to
 * happen before any thread exists. */
#include "agent/agent.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>

#include "agent/agent_attributes.h"
#include "agent/agent_internal.h"
#include "agent/config_host.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/program.h"
#include "wire/install.h"

static void on_report_acked(void *context, struct fl_str task_arn, int64_t seq)
{
    struct fl_brain_event event = {.type = FL_EVENT_REPORT_ACKED};
    event.report.task_arn = task_arn;
    event.report.seq = seq;
    (void)fl_agent_post(context, &event);
}

static void on_session_opened(void *context)
{
    struct fl_agent *agent = context;
    fl_reporter_hurry(agent->reporter);
}

static void on_session_message(void *context, struct fl_str text)
{
    fl_agent_on_frame(context, text);
}

static void on_session_discovered(void *context, struct fl_str telemetry_endpoint,
                                  struct fl_str instance_arn)
{
    fl_agent_services_discovered(context, telemetry_endpoint, instance_arn);
}

/* What a copied data directory says of tasks and containers is true on another machine alone: kept,
 * it would be reported as the end of that one's tasks. Images and volumes are as good here. */
static int drop_foreign(struct fl_agent *agent, struct fl_err *err)
{
    static const char *const names[] = {"containers", "admission", "state.db", "state.db-wal",
                                        "state.db-shm"};
    char tag[FL_INSTALL_TAG_SIZE];
    fl_install_tag(agent->config.data_dir, tag);
    const struct fl_runtime_config runtime = {
        .data_dir = agent->dir, .libexec_dir = agent->config.libexec_dir, .tag = fl_str_of(tag)};
    fl_log_warn("%.*s was copied from another machine: joining as a new host",
                FL_STR_ARG(agent->dir));
    int r = fl_runtime_destroy(&runtime, err);
    for (size_t i = 0; i < FL_ARRAY_SIZE(names) && r == 0; i++) {
        const char *path =
            fl_str_printf(agent->arena, "%.*s/%s", FL_STR_ARG(agent->dir), names[i]).p;
        r = fl_fs_remove_tree(AT_FDCWD, path);
        if (r == -ENOENT)
            r = 0;
        if (r < 0)
            (void)fl_err_errno(err, r, "%s cannot be removed", path);
    }
    return r < 0 ? r : fl_identity_save(agent->dir, &agent->identity, err);
}

static int open_identity(struct fl_agent *agent, struct fl_err *err)
{
    struct fl_machine machine;
    fl_machine_read(FL_STR(""), &machine);
    int r = fl_identity_open(agent->dir, &machine, agent->arena, &agent->identity, err);
    return r == 0 && agent->identity.is_foreign ? drop_foreign(agent, err) : r;
}

/* What leaves the machine is encrypted, for a server whose certificate is known, or not sent. */
static int check_way(const struct fl_agent *agent, struct fl_err *err)
{
    struct fl_str url = agent->config.server_url;
    if (!fl_admission_is_safe(url))
        return fl_err_set(err, -EINVAL,
                          "%.*s is not on this machine: an agent talks TLS to another host; give "
                          "it the server's https:// URL (server --tls-listen) and a token",
                          FL_STR_ARG(url));
    if (fl_str_starts(url, FL_STR("https://")) && agent->admitted.pins.count == 0)
        return fl_err_set(err, -EINVAL,
                          "this host has not joined %.*s yet: give its agent the --token that "
                          "`fairlead token create` prints there",
                          FL_STR_ARG(url));
    return 0;
}

static int open_admission(struct fl_agent *agent, struct fl_err *err)
{
    struct fl_admitted *admitted = &agent->admitted;
    const struct fl_admission *admission = &agent->config.admission;
    int r = fl_admitted_read(agent->dir, agent->arena, admitted, err);
    if (r < 0)
        return r;
    if (admission->certificate.n)
        (void)fl_tls_pins_add(&admitted->pins, admission->certificate);
    if (!admitted->key.secret.n && !admission->token.n && !admission->machine_key.secret.n)
        return fl_err_set(err, -EACCES,
                          "this host has not joined a server yet: give its agent the --token that "
                          "`fairlead token create` prints there");
    return check_way(agent, err);
}

static int open_host_parts(struct fl_agent *agent, struct fl_err *err)
{
    const struct fl_agent_config *config = &agent->config;
    char *tag = fl_arena_alloc(agent->arena, FL_INSTALL_TAG_SIZE);
    fl_install_tag(config->data_dir, tag);
    const struct fl_runtime_config runtime = {.data_dir = agent->dir,
                                              .libexec_dir = config->libexec_dir,
                                              .tag = fl_str_of(tag),
                                              .no_task_limits = !config->ecs.task_cpu_mem_limit,
                                              .task_pids = config->ecs.task_pids_limit,
                                              .start_timeout_ms = config->ecs.start_timeout_ms,
                                              .cpu_period_ms = config->ecs.cpu_period_ms,
                                              .match_volumes = config->ecs.match_shared_volumes,
                                              .propagate_memory = config->ecs.propagate_memory};
    const struct fl_network_config network = {
        .tag = fl_str_of(tag),
        .libexec_dir = config->libexec_dir,
        .data_dir = agent->dir,
        .dynamic_low = (uint16_t)config->ecs.dynamic_ports.low,
        .dynamic_high = (uint16_t)config->ecs.dynamic_ports.high,
        .loopback_open = config->ecs.skip_localhost_filter};
    int r = fl_runtime_open(&agent->loop, &runtime, &fl_agent_runtime_callbacks, agent,
                            &agent->runtime, err);
    /* A published port and a container take a descriptor each. The runtime has seen the limits as
     * they were: containers get those. */
    (void)fl_program_raise_descriptor_limit();
    if (r == 0)
        agent->execer = fl_execer_open(&agent->loop, agent->runtime, config->libexec_dir);
    if (r == 0)
        r = fl_network_open(&network, &agent->network, err);
    return r;
}

static int load_record(void *context, struct fl_str key, struct fl_str value)
{
    struct fl_agent *agent = context;
    struct fl_err err = {0};
    int r = fl_brain_load(agent->brain, key, value, &err);
    if (r < 0)
        fl_log_error("%s", err.text);
    return r;
}

static int open_state(struct fl_agent *agent, struct fl_err *err)
{
    const struct fl_brain_config config = {
        .stop_timeout_ms = agent->config.ecs.stop_timeout_ms,
        .cleanup_delay_ms = agent->config.ecs.cleanup_delay_ms,
        .cleanup_jitter_ms = agent->config.ecs.cleanup_jitter_ms,
        .pull_upfront = agent->config.ecs.pull_dependents_upfront,
        .report_ipv6 = !agent->config.ecs.exclude_ipv6_bindings,
    };
    const char *path = fl_str_printf(agent->arena, "%.*s/state.db", FL_STR_ARG(agent->dir)).p;
    int r = fl_store_open_sqlite(path, &agent->loop, &agent->store, err);
    if (r < 0)
        return r;
    agent->brain = fl_brain_new(&config);
    r = fl_store_load(agent->store, load_record, agent, err);
    return r < 0 ? fl_err_set(err, r, "the agent's state in %s cannot be read", path) : 0;
}

static int open_server_parts(struct fl_agent *agent, struct fl_err *err)
{
    const struct fl_aws_config aws = {.endpoint = agent->config.server_url,
                                      .region = agent->config.region,
                                      .key = agent->admitted.key.secret.n
                                                 ? agent->admitted.key
                                                 : agent->config.admission.machine_key};
    int r = fl_http_client_new(&agent->loop, &agent->http, err);
    if (r < 0)
        return r;
    if (fl_str_starts(agent->config.server_url, FL_STR("https://")))
        fl_http_client_pin(agent->http, &agent->admitted.pins);
    agent->aws = fl_aws_client_new(agent->http, &aws);
    agent->shipper = fl_log_shipper_open(&agent->loop, agent->aws);
    agent->reporter = fl_reporter_new(&agent->loop, agent->aws, on_report_acked, agent);
    return fl_agent_images_open(agent, err);
}

/* The way to the server is the agent's, as the ports are that ECS's list names. */
static struct fl_ecs_texts reserved_ports(const struct fl_agent *agent)
{
    const struct fl_ecs_texts *told = &agent->config.ecs.reserved_ports;
    struct fl_str *items = fl_arena_new_array(agent->arena, struct fl_str, told->n + 1);
    struct fl_ecs_texts all = {.items = items, .n = told->n};
    for (size_t i = 0; i < told->n; i++)
        items[i] = told->items[i];
    if (agent->tunnel)
        items[all.n++] = fl_str_printf(agent->arena, "%u", fl_tunnel_port(agent->tunnel));
    return all;
}

static void open_session(struct fl_agent *agent)
{
    static const struct fl_session_callbacks callbacks = {.discovered = on_session_discovered,
                                                          .opened = on_session_opened,
                                                          .message = on_session_message};
    struct fl_session_config session = {
        .loop = &agent->loop,
        .aws = agent->aws,
        .http = agent->http,
        .server_url = agent->config.server_url,
        .admitted = &agent->admitted,
        .admission = agent->config.admission,
        .state_dir = agent->dir,
        .identity = agent->identity,
        .ec2_instance_id =
            fl_machine_instance_id(&agent->identity.machine, agent->dir, agent->arena),
        .cluster = agent->config.cluster,
        .describe = fl_runtime_describe(agent->runtime),
        .cpu_units = agent->config.cpu_units,
        .memory_mib = agent->config.memory_mib,
        .reserved_ports = reserved_ports(agent),
        .reserved_ports_udp = agent->config.ecs.reserved_ports_udp,
        .gpus = &agent->gpus,
        .tags = agent->config.ecs.instance_tags,
    };
    if (agent->config.ecs.gpu_support)
        fl_gpus_find("/proc/driver/nvidia/gpus", "/dev", agent->arena, &agent->gpus);
    session.capabilities =
        fl_agent_capabilities(&agent->config, agent->arena, &session.capability_count);
    session.custom =
        fl_agent_custom_attributes(&agent->config, agent->arena, &session.custom_count);
    agent->session = fl_session_start(&session, &callbacks, agent);
}

/* The order matters: adoption needs the network restored, effects leave only in the loop. */
static void boot(struct fl_agent *agent)
{
    struct fl_brain_event event = {.type = FL_EVENT_BOOT};
    event.boot.boot_id = fl_config_boot_id(agent->arena);
    (void)fl_agent_post(agent, &event);
    fl_agent_restore(agent);
}

static void on_signal(uv_signal_t *handle, FL_UNUSED int number)
{
    struct fl_agent *agent = handle->data;
    agent->ending = true;
    uv_stop(&agent->loop);
}

static void watch_signals(struct fl_agent *agent)
{
    (void)signal(SIGPIPE, SIG_IGN);
    agent->on_term.data = agent->on_int.data = agent;
    (void)uv_signal_init(&agent->loop, &agent->on_term);
    (void)uv_signal_init(&agent->loop, &agent->on_int);
    (void)uv_signal_start(&agent->on_term, on_signal, SIGTERM);
    (void)uv_signal_start(&agent->on_int, on_signal, SIGINT);
}

static void follow_ecs_config(const struct fl_agent_config *config)
{
    for (size_t i = 0; i < config->notes.n; i++)
        fl_log_warn("ecs.config: %.*s", FL_STR_ARG(config->notes.lines[i]));
    for (size_t i = 0; i < config->ecs.logging_drivers.n; i++)
        if (!fl_agent_has_logging_driver(config->ecs.logging_drivers.items[i]))
            fl_log_warn("ecs.config: ECS_AVAILABLE_LOGGING_DRIVERS: the driver %.*s is not "
                        "implemented yet",
                        FL_STR_ARG(config->ecs.logging_drivers.items[i]));
    if (fl_str_is(config->ecs.log_level, "debug"))
        fl_log_set_level(FL_LOG_DEBUG);
    else if (fl_str_is(config->ecs.log_level, "warn"))
        fl_log_set_level(FL_LOG_WARN);
    else if (!fl_str_is(config->ecs.log_level, "info"))
        fl_log_set_level(FL_LOG_ERROR);
}

static int open_all(struct fl_agent *agent, const struct fl_agent_config *config,
                    struct fl_err *err)
{
    int r = fl_config_complete(config, agent->arena, &agent->config, err);
    if (r < 0)
        return r;
    follow_ecs_config(&agent->config);
    agent->hostname = fl_config_hostname(agent->arena);
    agent->dir = fl_str_printf(agent->arena, "%.*s/agent", FL_STR_ARG(config->data_dir));
    r = fl_fs_mkdirs_synced(agent->dir.p, 0700);
    if (r < 0)
        return fl_err_errno(err, r, "%s cannot be made", agent->dir.p);
    r = open_identity(agent, err);
    if (r == 0)
        r = open_admission(agent, err);
    if (r == 0)
        r = open_host_parts(agent, err);
    if (r == 0)
        r = open_state(agent, err);
    if (r == 0)
        r = open_server_parts(agent, err);
    if (r == 0)
        r = fl_agent_services_open(agent, err);
    if (r < 0)
        return r;
    fl_agent_turns_start(agent);
    watch_signals(agent);
    boot(agent);
    fl_agent_network_watch(agent);
    fl_log_info("agent %s: %.*s", FL_VERSION, FL_STR_ARG(fl_runtime_describe(agent->runtime)));
    open_session(agent);
    return 0;
}

static void close_loop_parts(struct fl_agent *agent)
{
    if (agent->due.data) {
        fl_agent_turns_stop(agent);
        uv_close((uv_handle_t *)&agent->on_term, NULL);
        uv_close((uv_handle_t *)&agent->on_int, NULL);
    }
    fl_agent_network_unwatch(agent);
    if (agent->shipper)
        fl_log_shipper_close(agent->shipper);
    fl_agent_images_close(agent);
    if (agent->http)
        fl_http_client_free(agent->http);
    fl_agent_services_close(agent);
    fl_session_close(agent->session);
    fl_reporter_free(agent->reporter);
}

/* Containers live on under their shims; the next agent adopts them. */
static void close_all(struct fl_agent *agent)
{
    agent->ending = true;
    close_loop_parts(agent);
    fl_execer_close(agent->execer);
    fl_agent_health_free_all(agent);
    fl_agent_live_free_all(agent);
    fl_agent_log_free_all(agent);
    if (agent->runtime)
        fl_runtime_close(agent->runtime);
    if (agent->network)
        fl_network_close(agent->network);
    if (agent->store)
        fl_store_close(agent->store);
    (void)uv_run(&agent->loop, UV_RUN_DEFAULT);
    fl_aws_client_free(agent->aws);
    fl_brain_free(agent->brain);
    (void)uv_loop_close(&agent->loop);
    fl_arena_free(agent->arena);
}

int fl_agent_run(const struct fl_agent_config *config)
{
    struct fl_err err = {0};
    struct fl_agent *agent = fl_calloc(1, sizeof(*agent));
    agent->arena = fl_arena_new();
    TAILQ_INIT(&agent->launch_queue);
    int r = uv_loop_init(&agent->loop);
    if (r == 0)
        r = open_all(agent, config, &err);
    else
        (void)fl_err_set(&err, r, "no event loop: %s", uv_strerror(r));
    if (r == 0)
        (void)uv_run(&agent->loop, UV_RUN_DEFAULT);
    else
        (void)fprintf(stderr, "fairlead agent: %s\n", err.text);
    close_all(agent);
    free(agent);
    return r == 0 ? 0 : 1;
}
