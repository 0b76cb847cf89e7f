/* The agent's services beside running containers: metadata, statistics and telemetry,
 * introspection; what they learn from the containers' lives. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "agent/agent_internal.h"
#include "agent/metadata_file.h"
#include "agent/runtime_facts.h"
#include "base/log.h"

/* ---- facts ---- */

static int64_t created_ms(void *context, struct fl_str container_id)
{
    const struct fl_agent *agent = context;
    return fl_runtime_created_ms(agent->runtime, container_id);
}

static const char *ailment(void *context)
{
    const struct fl_agent *agent = context;
    if (!fl_runtime_is_well(agent->runtime))
        return "the container runtime's programs are gone";
    return fl_images_ailment(agent->images);
}

/* The address from which the host would speak to the world; nothing is sent. */
static struct fl_str host_address(struct fl_arena *arena)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9)}, own;
    socklen_t size = sizeof(own);
    char text[INET_ADDRSTRLEN];
    FL_CLEANUP_FD int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    (void)inet_pton(AF_INET, "192.0.2.1", &to.sin_addr);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&to, sizeof(to)) < 0 ||
        getsockname(fd, (struct sockaddr *)&own, &size) < 0 ||
        !inet_ntop(AF_INET, &own.sin_addr, text, sizeof(text)))
        return FL_STR("");
    return fl_str_dup(arena, fl_str_of(text));
}

/* ---- where the API is for tasks ---- */

static bool is_loopback_name(struct fl_str host)
{
    return fl_str_is(host, "localhost") || fl_str_ends(host, FL_STR(".localhost"));
}

/* A server on the host's IPv4 loopback has to be led to from the bridge; one on its IPv6 loopback
 * cannot be. port 0 then says that bridge tasks have no way to it. */
static void find_api(struct fl_agent *agent)
{
    struct fl_str url = agent->config.server_url;
    bool tls = fl_str_starts(url, FL_STR("https://"));
    struct fl_str host = fl_str_from(url, tls ? strlen("https://") : strlen("http://"));
    ptrdiff_t slash = fl_str_index(host, '/');
    host = slash < 0 ? host : fl_str_sub(host, 0, (size_t)slash);
    ptrdiff_t colon = fl_str_rindex(host, ':');
    bool bracketed = fl_str_starts(host, FL_STR("["));
    int64_t port = tls ? 443 : 80;
    if (colon > 0 && host.p[host.n - 1] != ']' &&
        fl_str_to_i64(fl_str_from(host, (size_t)colon + 1), &port))
        host = fl_str_sub(host, 0, (size_t)colon);
    agent->services.api_port = (uint16_t)port;
    if (is_loopback_name(host))
        host = FL_STR("127.0.0.1");
    if (fl_str_starts(host, FL_STR("127.")))
        agent->services.api_host = fl_str_dup(agent->arena, host);
    else if (bracketed && fl_str_is(host, "[::1]"))
        agent->services.api_port = 0;
}

static struct fl_str present_url(void *context)
{
    const struct fl_agent *agent = context;
    return fl_aws_client_endpoint(agent->aws);
}

/* Programs in tasks know no certificate of ours: where the server is elsewhere, the agent's
 * connections do, and the tasks' requests go through those. */
static int open_tunnel(struct fl_agent *agent, struct fl_err *err)
{
    const struct fl_tunnel_config config = {.loop = &agent->loop,
                                            .state_dir = agent->dir,
                                            .pins = &agent->admitted.pins,
                                            .server_url = present_url,
                                            .context = agent,
                                            .max_connections = FL_TUNNEL_CONNECTIONS,
                                            .max_per_peer = FL_TUNNEL_PER_PEER,
                                            .idle_ms = FL_TUNNEL_IDLE_MS};
    bool is_here = agent->services.api_host.n > 0 || agent->services.api_port == 0;
    if (is_here || !fl_str_starts(agent->config.server_url, FL_STR("https://")))
        return 0;
    int r = fl_tunnel_open(&config, &agent->tunnel, err);
    if (r < 0)
        return r;
    agent->services.api_host = FL_STR("127.0.0.1");
    agent->services.api_port = fl_tunnel_port(agent->tunnel);
    agent->services.api_is_tunnel = true;
    return 0;
}

/* ---- opening ---- */

static int open_metadata(struct fl_agent *agent, struct fl_err *err)
{
    const struct fl_ecs_range *limit = &agent->config.ecs.metadata_rps;
    const struct fl_metadata_config config = {
        .loop = &agent->loop,
        .state_dir = agent->dir,
        .port = agent->config.metadata_port,
        .steady = limit->low > 0 ? (unsigned)limit->low : FL_METADATA_STEADY,
        .burst = limit->high > 0 ? (unsigned)limit->high : FL_METADATA_BURST,
        .brain = agent->brain,
        .network = agent->network,
        .stats = agent->stats,
        .aws = agent->aws,
        .facts = &agent->facts,
        .wallet = agent->wallet,
        .audit = agent->audit,
    };
    return fl_metadata_open(&config, &agent->metadata, err);
}

/* Nobody's task depends on it: an agent whose port somebody else has (ECS's own agent, another
 * installation) does without. */
static void open_introspection(struct fl_agent *agent)
{
    struct fl_err err = {0};
    const struct fl_introspection_config config = {
        .loop = &agent->loop,
        .port = agent->config.introspection_port,
        .offhost = agent->config.ecs.offhost_introspection,
        .brain = agent->brain,
        .facts = &agent->facts,
    };
    if (fl_introspection_open(&config, &agent->introspection, &err) < 0)
        fl_log_warn("no introspection endpoint: %s", err.text);
}

static void open_telemetry(struct fl_agent *agent)
{
    enum { DEFAULT_SAMPLE_MS = 10000 };
    int64_t sample_ms = agent->config.ecs.polling_interval_ms;
    const struct fl_tcs_config config = {
        .loop = &agent->loop,
        .aws = agent->aws,
        .pins = &agent->admitted.pins,
        .brain = agent->brain,
        .stats = agent->stats,
        .cluster = agent->config.cluster,
        .data_dir = agent->dir,
        .sample_ms = sample_ms > 0 ? sample_ms : DEFAULT_SAMPLE_MS,
        .metrics_off = agent->config.ecs.disable_metrics,
        .ailment = ailment,
        .context = agent,
    };
    agent->telemetry = fl_tcs_new(&config);
}

/* Tasks get their credentials without it, too, as in ECS. */
static void open_audit(struct fl_agent *agent)
{
    struct fl_err err = {0};
    struct fl_str path = agent->config.ecs.audit_file;
    if (agent->config.ecs.audit_off)
        return;
    if (path.n == 0)
        path =
            fl_str_printf(agent->arena, "%.*s/log/audit.log", FL_STR_ARG(agent->config.data_dir));
    if (fl_audit_open(path, &agent->audit, &err) < 0)
        fl_log_warn("requests for credentials are not noted: %s", err.text);
}

static bool is_task_wanted(void *context, struct fl_str task_arn)
{
    const struct fl_agent *agent = context;
    const struct fl_task *task = fl_brain_task(agent->brain, task_arn);
    return task && task->desired_running && task->status != FL_TASK_STOPPED;
}

static void open_secrets(struct fl_agent *agent)
{
    const struct fl_task_secrets_config config = {
        .loop = &agent->loop,
        .aws = agent->aws,
        .wallet = agent->wallet,
        .is_wanted = is_task_wanted,
        .context = agent,
    };
    agent->secrets = fl_task_secrets_new(&config);
}

static int serve(struct fl_agent *agent, struct fl_err *err)
{
    agent->services.metadata_port = fl_metadata_port(agent->metadata);
    agent->services.resolver_port = fl_resolver_port(agent->resolver);
    if (agent->introspection && !agent->config.ecs.offhost_introspection)
        agent->services.introspection_port = fl_introspection_port(agent->introspection);
    find_api(agent);
    int r = open_tunnel(agent, err);
    return r < 0 ? r
                 : fl_network_serve(agent->network, &agent->services, &agent->has_metadata_address,
                                    err);
}

int fl_agent_services_open(struct fl_agent *agent, struct fl_err *err)
{
    const struct fl_stats_config stats = {.layout = fl_runtime_layout(agent->runtime),
                                          .cgroup_root = FL_STR("/sys/fs/cgroup"),
                                          .proc_root = FL_STR("/proc")};
    agent->stats = fl_stats_new(&stats);
    agent->facts = (struct fl_metadata_facts){
        .cluster = agent->config.cluster,
        .zone = agent->config.zone,
        .host_address = host_address(agent->arena),
        .created_ms = created_ms,
        .context = agent,
    };
    agent->wallet = fl_wallet_new();
    open_secrets(agent);
    fl_agent_expect_credentials(agent);
    open_audit(agent);
    int r = open_metadata(agent, err);
    if (r < 0)
        return r;
    open_introspection(agent);
    open_telemetry(agent);
    r = fl_resolver_open(&agent->loop, FL_RESOLV_CONF, &agent->resolver, err);
    return r < 0 ? r : serve(agent, err);
}

void fl_agent_services_close(struct fl_agent *agent)
{
    fl_tunnel_close(agent->tunnel);
    fl_tcs_close(agent->telemetry);
    fl_introspection_close(agent->introspection);
    fl_resolver_close(agent->resolver);
    fl_metadata_close(agent->metadata);
    fl_stats_free(agent->stats);
    fl_task_secrets_free(agent->secrets);
    fl_wallet_free(agent->wallet);
    fl_audit_close(agent->audit);
}

/* ---- what they learn ---- */

void fl_agent_services_discovered(struct fl_agent *agent, struct fl_str telemetry_endpoint,
                                  struct fl_str instance_arn)
{
    if (!fl_str_eq(agent->facts.instance_arn, instance_arn))
        agent->facts.instance_arn = fl_str_dup(agent->arena, instance_arn);
    fl_tcs_discovered(agent->telemetry, telemetry_endpoint, agent->facts.instance_arn);
}

static void complete_file(struct fl_agent *agent, const struct fl_task_container *container)
{
    struct fl_err err = {0};
    if (fl_metadata_file_write(agent->dir, &agent->facts, container, true, &err) < 0)
        fl_log_warn("container %.12s: its metadata file: %s", container->id, err.text);
}

void fl_agent_services_started(struct fl_agent *agent, struct fl_str container_id)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    const struct fl_task_container *container = fl_brain_container(agent->brain, container_id);
    pid_t pid = fl_runtime_pid(agent->runtime, container_id);
    if (!container || container->state == FL_CONTAINER_STOPPED || pid == 0)
        return;
    const struct fl_task *task = container->task;
    struct fl_str group =
        fl_runtime_group(agent->runtime, fl_task_id(task->arn), container_id, arena);
    fl_stats_add(agent->stats, container_id, group, pid, task->spec->network_mode == FL_NET_BRIDGE);
    if (agent->config.ecs.container_metadata)
        complete_file(agent, container);
}

void fl_agent_services_ended(struct fl_agent *agent, struct fl_str container_id)
{
    fl_stats_remove(agent->stats, container_id);
}

void fl_agent_services_removed(struct fl_agent *agent, struct fl_str task_arn)
{
    fl_metadata_file_remove(agent->dir, &agent->facts, task_arn);
    fl_task_secrets_forget(agent->secrets, task_arn);
    fl_wallet_forget(agent->wallet, task_arn);
}
