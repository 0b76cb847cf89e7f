/* Putting the control plane together: stores, core, engine, sessions, HTTP; and taking it apart. */
#include "server/server.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>

#include "base/log.h"
#include "base/program.h"
#include "net/tls_front.h"
#include "server/api.h"

/* A connection under TLS takes three descriptors. */
enum { MAX_CONNECTIONS = 4096, MAX_TLS_CONNECTIONS = 4096, RESERVED_DESCRIPTORS = 128 };

struct server {
    uv_loop_t loop;
    struct fl_arena *arena;
    struct fl_core *core;
    struct fl_store *store;
    struct fl_http_server *http;
    struct fl_tls_front *https; /* or NULL */
    uv_timer_t upkeep;          /* of certificate and keys */
    struct fl_api api;
    uv_signal_t signals[2];
    bool is_stopping;
};

static void on_effect(void *context, const struct fl_core_effect *effect)
{
    struct server *server = context;
    switch (effect->kind) {
    case FL_CORE_EFFECT_REPLY:
        fl_api_reply(effect->request_id, effect->status, effect->body);
        return;
    case FL_CORE_EFFECT_AGENT_TASK:
        fl_sessions_task(server->api.sessions, effect);
        return;
    case FL_CORE_EFFECT_AGENT_MANIFEST:
        fl_sessions_manifest(server->api.sessions, effect);
        return;
    case FL_CORE_EFFECT_AGENT_STOP_LIST:
        fl_sessions_stop_list(server->api.sessions, effect);
        return;
    case FL_CORE_EFFECT_AGENT_CLOSE:
        fl_sessions_end(server->api.sessions, effect);
        return;
    }
}

static void on_turn_done(void *context)
{
    struct server *server = context;
    fl_sessions_flush(server->api.sessions);
}

static void on_signal(uv_signal_t *handle, FL_UNUSED int number)
{
    struct server *server = handle->data;
    server->is_stopping = true;
    uv_stop(&server->loop);
}

static void watch_signals(struct server *server)
{
    static const int numbers[] = {SIGTERM, SIGINT};
    (void)signal(SIGPIPE, SIG_IGN);
    for (size_t i = 0; i < FL_ARRAY_SIZE(numbers); i++) {
        (void)uv_signal_init(&server->loop, &server->signals[i]);
        server->signals[i].data = server;
        (void)uv_signal_start(&server->signals[i], on_signal, numbers[i]);
    }
}

static const char *path_of(struct server *server, const struct fl_server_config *config,
                           const char *name)
{
    return fl_str_printf(server->arena, "%.*s/%s", FL_STR_ARG(config->data_dir), name).p;
}

static int open_core(struct server *server, const struct fl_server_config *config,
                     struct fl_err *err)
{
    static const struct fl_engine_callbacks callbacks = {on_effect, on_turn_done};
    struct fl_str advertise = config->advertise.n ? config->advertise
                                                  : fl_str_printf(server->arena, "http://%.*s",
                                                                  FL_STR_ARG(config->listen));
    struct fl_core_config core_config = {
        .region = config->region,
        .account = config->account,
        .endpoint = fl_str_printf(server->arena, "%.*s/acs", FL_STR_ARG(advertise)),
        .telemetry = fl_str_printf(server->arena, "%.*s/tcs", FL_STR_ARG(advertise)),
        .strict = config->strict,
        .settle_ms = config->settle_ms,
        .lost_after_ms = config->lost_after_ms,
    };
    int rc = fl_store_open_sqlite(path_of(server, config, "server.db"), &server->loop,
                                  &server->store, err);
    if (rc < 0)
        return rc;
    server->core = fl_core_new(&core_config);
    server->api.core = server->core;
    const struct fl_sessions_config sessions = {
        .epoch = fl_store_epoch(server->store),
        .life_ms = config->session_life_ms,
        .heartbeat_ms = config->heartbeat_ms,
        .keys = server->api.keys,
        .certificate = server->api.certificate,
    };
    server->api.sessions = fl_sessions_new(&server->loop, server->core, &sessions);
    rc = fl_engine_open(&server->loop, server->core, server->api.keys, server->api.vault,
                        server->store, &callbacks, server, &server->api.engine, err);
    if (rc < 0)
        return rc;
    fl_keys_attach(server->api.keys, server->core, server->store);
    rc = fl_vault_attach(server->api.vault, server->store, err);
    if (rc < 0)
        return rc;
    server->api.secrets =
        fl_secrets_open(&server->loop, server->api.vault, config->region, config->account);
    rc = fl_issuer_open(config->data_dir, server->core, 2 * config->session_life_ms,
                        &server->api.issuer, err);
    if (rc < 0)
        return rc;
    fl_sessions_attach(server->api.sessions, server->api.engine, server->api.issuer);
    server->api.telemetry = fl_telemetry_new(&server->loop, server->core, server->api.engine);
    return 0;
}

static void each_needed_image(void *context, void (*each)(void *list, struct fl_str image),
                              void *list)
{
    const struct server *server = context;
    fl_core_each_image(server->core, each, list);
}

/* Where clients on this machine reach us: what repositoryUri begins with. */
static struct fl_str registry_host(struct server *server, struct fl_str listen_at)
{
    if (fl_str_starts(listen_at, FL_STR("0.0.0.0:")))
        return fl_str_printf(server->arena, "127.0.0.1:%.*s",
                             FL_STR_ARG(fl_str_from(listen_at, 8)));
    if (fl_str_starts(listen_at, FL_STR("[::]:")))
        return fl_str_printf(server->arena, "127.0.0.1:%.*s",
                             FL_STR_ARG(fl_str_from(listen_at, 5)));
    return listen_at;
}

static int open_registry(struct server *server, const struct fl_server_config *config,
                         struct fl_err *err)
{
    const struct fl_registry_config registry_config = {
        .dir = fl_str_of(path_of(server, config, "registry")),
        .host = registry_host(server, config->listen),
        .region = config->region,
        .account = config->account,
        .operator_key = fl_keys_operator(server->api.keys),
        .strict = config->strict,
        .each_needed = each_needed_image,
        .context = server,
    };
    return fl_registry_open(&server->loop, &registry_config, &server->api.registry, err);
}

static int open_logs(struct server *server, const struct fl_server_config *config,
                     struct fl_err *err)
{
    const struct fl_logs_config logs = {
        .path = path_of(server, config, "logs.db"),
        .region = config->region,
        .account = config->account,
        .max_bytes = config->logs_max_bytes,
    };
    return fl_logs_open(&server->loop, &logs, &server->api.logs, err);
}

/* As many as descriptors allow; of those we take all that we may have. Returns the limit for plain
 * connections. */
static unsigned connection_limits(bool with_tls, unsigned *ret_tls)
{
    uint64_t own = fl_program_raise_descriptor_limit();
    own -= FL_MIN(own / 2, (uint64_t)RESERVED_DESCRIPTORS);
    uint64_t tls = with_tls ? FL_MIN(own / 6, (uint64_t)MAX_TLS_CONNECTIONS) : 0;
    *ret_tls = (unsigned)tls;
    return (unsigned)FL_MIN(own - tls * 3, (uint64_t)MAX_CONNECTIONS);
}

static int open_tls(struct server *server, const struct fl_server_config *config,
                    unsigned connections, struct fl_err *err)
{
    const struct fl_tls_front_config front = {
        .listen = config->tls_listen,
        .pem = fl_certificate_pem(server->api.certificate, err),
        .max_connections = connections,
        .http = server->http,
    };
    return front.pem ? fl_tls_front_open(&server->loop, &front, &server->https, err) : -EIO;
}

/* Connections that are there live on. */
static void change_certificate(struct server *server)
{
    struct fl_err err = {0};
    const char *pem = fl_certificate_pem(server->api.certificate, &err);
    fl_log_info("other hosts are met with the next certificate from now on");
    if (server->https && (!pem || fl_tls_front_change(server->https, pem, &err) < 0))
        fl_log_error("other hosts are met with the former certificate: %s", err.text);
}

static void on_upkeep(uv_timer_t *timer)
{
    struct server *server = timer->data;
    struct fl_err err = {0};
    fl_keys_sweep(server->api.keys);
    enum fl_certificate_change change = fl_certificate_renew(server->api.certificate, &err);
    if (err.text[0])
        fl_log_error("the server's certificate cannot be renewed: %s", err.text);
    if (change == FL_CERTIFICATE_USE)
        change_certificate(server);
    if (change != FL_CERTIFICATE_SAME)
        fl_sessions_announce(server->api.sessions);
}

static int open_http(struct server *server, const struct fl_server_config *config,
                     struct fl_err *err)
{
    bool with_tls = config->tls_listen.n > 0;
    unsigned for_tls;
    unsigned limit = connection_limits(with_tls, &for_tls);
    const struct fl_http_server_config http = {
        .listen = config->listen,
        .max_body = FL_API_MAX_BODY,
        .max_connections = limit + for_tls,
        .handler = fl_api_handle,
        .open_sink = fl_api_open_sink,
        .context = &server->api,
    };
    int rc = fl_http_server_start(&server->loop, &http, &server->http, err);
    if (rc == 0 && with_tls)
        rc = open_tls(server, config, for_tls, err);
    uint64_t pace_ms = fl_certificate_pace_ms(server->api.certificate);
    (void)uv_timer_start(&server->upkeep, on_upkeep, pace_ms, pace_ms);
    return rc;
}

static int open_server(struct server *server, const struct fl_server_config *config,
                       struct fl_err *err)
{
    server->api.region = config->region;
    server->api.account = config->account;
    server->api.cache = fl_sigv4_cache_new();
    if (config->strict)
        server->api.throttle = fl_throttle_new();
    server->api.advertise = config->advertise;
    int rc = fl_keys_load(config->data_dir, config->key_life_ms, &server->api.keys, err);
    if (rc == 0)
        rc = fl_certificate_open(config->data_dir, config->certificate_life_ms,
                                 &server->api.certificate, err);
    if (rc == 0)
        rc = fl_vault_open(config->data_dir, &server->api.vault, err);
    if (rc == 0)
        rc = open_core(server, config, err);
    if (rc == 0)
        rc = open_logs(server, config, err);
    if (rc == 0)
        rc = open_registry(server, config, err);
    if (rc == 0)
        server->api.backup =
            fl_backup_new(server->store, server->api.logs, path_of(server, config, "."));
    if (rc == 0)
        rc = open_http(server, config, err);
    return rc;
}

/* What was answered is durable already; this only spares the next start some work. */
static void close_server(struct server *server)
{
    fl_tls_front_close(server->https);
    fl_http_server_stop(server->http);
    uv_close((uv_handle_t *)&server->upkeep, NULL);
    fl_registry_close(server->api.registry);
    fl_secrets_close(server->api.secrets);
    fl_telemetry_free(server->api.telemetry);
    if (server->api.engine)
        fl_engine_close(server->api.engine);
    if (server->api.sessions)
        fl_sessions_free(server->api.sessions);
    if (server->store)
        fl_store_close(server->store);
    if (server->api.logs)
        fl_logs_close(server->api.logs);
    fl_backup_free(server->api.backup);
    for (size_t i = 0; i < FL_ARRAY_SIZE(server->signals); i++)
        uv_close((uv_handle_t *)&server->signals[i], NULL);
    for (int i = 0; i < 100 && uv_run(&server->loop, UV_RUN_NOWAIT); i++)
        ;
    (void)uv_loop_close(&server->loop);
    fl_core_free(server->core);
    fl_issuer_free(server->api.issuer);
    fl_keys_free(server->api.keys);
    fl_vault_free(server->api.vault);
    fl_certificate_free(server->api.certificate);
    fl_sigv4_cache_free(server->api.cache);
    fl_throttle_free(server->api.throttle);
    fl_arena_free(server->arena);
}

int fl_server_run(const struct fl_server_config *config)
{
    struct server server = {.arena = fl_arena_new()};
    struct fl_err err = {0};
    /* Pushes wait for the disk on these threads; others need some, too. */
    (void)setenv("UV_THREADPOOL_SIZE", "8", 0);
    (void)uv_loop_init(&server.loop);
    watch_signals(&server);
    (void)uv_timer_init(&server.loop, &server.upkeep);
    server.upkeep.data = &server;
    int rc = open_server(&server, config, &err);
    if (rc < 0) {
        (void)fprintf(stderr, "fairlead server: %s\n", err.text);
        close_server(&server);
        return 1;
    }
    struct fl_core_counts counts = fl_core_count(server.core);
    fl_log_info("serving on %.*s: %zu clusters, %zu instances, %zu task definitions, %zu services, "
                "%zu tasks",
                FL_STR_ARG(config->listen), counts.clusters, counts.instances, counts.definitions,
                counts.services, counts.tasks);
    while (!server.is_stopping)
        (void)uv_run(&server.loop, UV_RUN_DEFAULT);
    fl_log_info("stopping");
    close_server(&server);
    return 0;
}
