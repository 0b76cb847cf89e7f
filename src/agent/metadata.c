/* Requests to the metadata endpoint: who asks, what for, and the answer. Ids and credentials are
 * never logged. */
#include "agent/metadata_internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "agent/port_file.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"

enum { MAX_CONNECTIONS = 512, MAX_PER_PEER = 128, MAX_BODY = 4096 };

#define PORT_FILE "metadata.json"

/* Who asks. */
struct caller {
    uint8_t address[4];
    bool is_container; /* the address is one of the bridge's containers */
};

/* ---- answers ---- */

void fl_metadata_reply(struct fl_http_exchange *exchange, unsigned status, struct fl_str json)
{
    const struct fl_header type = {FL_STR("Content-Type"), FL_STR("application/json")};
    fl_http_reply(exchange, status, &type, 1, json);
}

void fl_metadata_reply_error(struct fl_http_exchange *exchange, unsigned status, struct fl_str text)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(64 * 1024);
    struct fl_json_writer jw = {.buf = &buf};
    fl_jw_str(&jw, text);
    fl_metadata_reply(exchange, status, fl_buf_str(&buf));
}

static void reply_text(struct fl_http_exchange *exchange, unsigned status, struct fl_str text)
{
    const struct fl_header type = {FL_STR("Content-Type"), FL_STR("text/plain; charset=utf-8")};
    fl_http_reply(exchange, status, &type, 1, text);
}

void fl_metadata_reply_throttled(struct fl_http_exchange *exchange)
{
    reply_text(exchange, 429, FL_STR("You have reached maximum request limit."));
}

/* ---- who asks ---- */

static bool read_caller(const struct fl_metadata *metadata, const struct fl_http_exchange *exchange,
                        struct caller *ret_caller)
{
    if (inet_pton(AF_INET, fl_str_z(exchange->arena, exchange->peer), ret_caller->address) != 1)
        return false;
    ret_caller->is_container =
        fl_network_is_container(metadata->config.network, ret_caller->address);
    return true;
}

static bool has_address(const struct fl_task *task, const uint8_t address[4])
{
    for (size_t i = 0; i < task->container_count; i++)
        if (task->containers[i].state != FL_CONTAINER_STOPPED &&
            memcmp(task->containers[i].address, address, 4) == 0)
            return true;
    return false;
}

/* In host mode the address is the host's, and the id alone has to do. Without a network nobody can
 * ask. */
static bool may_ask(const struct fl_task *task, const struct caller *caller)
{
    switch (task->spec->network_mode) {
    case FL_NET_BRIDGE:
        return caller->is_container && has_address(task, caller->address);
    case FL_NET_HOST:
        return !caller->is_container;
    case FL_NET_NONE:
    case FL_NET_AWSVPC:
        break;
    }
    return false;
}

static const struct fl_task_container *
container_by_id(const struct fl_metadata *metadata, struct fl_str id, const struct caller *caller)
{
    struct fl_str container_id;
    if (!fl_metadata_id_read(metadata->key, id, &container_id))
        return NULL;
    const struct fl_task_container *container =
        fl_brain_container(metadata->config.brain, container_id);
    return container && may_ask(container->task, caller) ? container : NULL;
}

static const struct fl_task *task_by_address(const struct fl_metadata *metadata,
                                             const struct caller *caller)
{
    const struct fl_task *task = NULL;
    if (!caller->is_container)
        return NULL;
    while ((task = fl_brain_next_task(metadata->config.brain, task)) != NULL)
        if (task->spec && has_address(task, caller->address))
            return task;
    return NULL;
}

/* The task whose role's credentials have that id, if one of its containers asks. */
static const struct fl_task *task_by_credentials(const struct fl_metadata *metadata,
                                                 struct fl_str id, const struct caller *caller)
{
    struct fl_str arn;
    enum fl_acs_role role;
    if (!fl_wallet_find(metadata->config.wallet, id, &arn, &role) || role != FL_ACS_ROLE_TASK)
        return NULL;
    const struct fl_task *task = fl_brain_task(metadata->config.brain, arn);
    return task && task->spec && task->status != FL_TASK_STOPPED && may_ask(task, caller) ? task
                                                                                          : NULL;
}

static bool is_own_name(const struct fl_metadata *metadata, struct fl_str host)
{
    char loopback[32], named[32];
    uint16_t port = fl_http_server_port(metadata->server);
    (void)snprintf(loopback, sizeof(loopback), "127.0.0.1:%u", port);
    (void)snprintf(named, sizeof(named), "localhost:%u", port);
    return host.n == 0 || fl_str_is(host, FL_METADATA_HOST) ||
           fl_str_is(host, FL_METADATA_HOST ":80") || fl_str_is(host, loopback) ||
           fl_str_is(host, named);
}

/* The Host header, if there is one, names the endpoint: a name that leads here by a trick of DNS
 * does not. Of several each has to. Requests that somebody passes on are refused, too. */
static bool is_direct(const struct fl_metadata *metadata, const struct fl_http_exchange *exchange)
{
    for (size_t i = 0; i < exchange->header_count; i++)
        if (fl_str_case_eq(exchange->headers[i].name, FL_STR("Host")) &&
            !is_own_name(metadata, exchange->headers[i].value))
            return false;
    return !fl_http_header(exchange, "X-Forwarded-For").p &&
           !fl_http_header(exchange, "Forwarded").p;
}

/* ---- documents ---- */

static const struct fl_task_container *container_in(const struct fl_task *task, struct fl_str id)
{
    for (size_t i = 0; i < task->container_count; i++)
        if (fl_str_is(id, task->containers[i].id))
            return &task->containers[i];
    return NULL;
}

static bool write_stats(const struct fl_metadata *metadata,
                        const struct fl_task_container *container, enum fl_metadata_version version,
                        struct fl_json_writer *jw)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    return fl_stats_write_docker(metadata->config.stats, fl_str_of(container->id),
                                 fl_metadata_docker_name(container, arena),
                                 version == FL_METADATA_V4, jw);
}

static void write_task_stats(const struct fl_metadata *metadata, const struct fl_task *task,
                             enum fl_metadata_version version, struct fl_json_writer *jw)
{
    fl_jw_object_begin(jw);
    for (size_t i = 0; i < task->container_count; i++) {
        fl_jw_key(jw, task->containers[i].id);
        if (!write_stats(metadata, &task->containers[i], version, jw))
            fl_jw_raw(jw, FL_STR("null"));
    }
    fl_jw_object_end(jw);
}

static void reply_container(struct fl_metadata *metadata, struct fl_http_exchange *exchange,
                            const struct fl_metadata_route *route,
                            const struct fl_task_container *container)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(FL_METADATA_DOCUMENT_MAX);
    struct fl_json_writer jw = {.buf = &buf};
    bool stats = route->what == FL_METADATA_CONTAINER_STATS;
    bool written = container != NULL;
    if (written && stats)
        written = write_stats(metadata, container, route->version, &jw);
    else if (written)
        fl_metadata_write_container(metadata->config.facts, container, route->version, &jw);
    struct fl_str id = container ? fl_str_of(container->id) : fl_str_sub(route->id, 0, 64);
    if (written && !buf.overflow)
        fl_metadata_reply(exchange, 200, fl_buf_str(&buf));
    else
        fl_metadata_reply_error(exchange, 500,
                                stats ? fl_str_printf(exchange->arena,
                                                      "Unable to get container stats for: %.*s",
                                                      FL_STR_ARG(id))
                                      : fl_str_printf(exchange->arena,
                                                      "Unable to generate metadata for container "
                                                      "'%.*s'",
                                                      FL_STR_ARG(id)));
}

static void reply_task(struct fl_metadata *metadata, struct fl_http_exchange *exchange,
                       const struct fl_metadata_route *route, const struct fl_task *task)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(FL_METADATA_DOCUMENT_MAX);
    struct fl_json_writer jw = {.buf = &buf};
    if (route->what == FL_METADATA_TASK_TAGS) {
        fl_metadata_tags_ask(metadata, exchange, task, route->version);
        return;
    }
    if (route->what == FL_METADATA_TASK_STATS)
        write_task_stats(metadata, task, route->version, &jw);
    else
        fl_metadata_write_task(metadata->config.facts, task, route->version, NULL, &jw);
    if (buf.overflow)
        fl_metadata_reply_error(exchange, 500, FL_STR("failed to get task metadata"));
    else
        fl_metadata_reply(exchange, 200, fl_buf_str(&buf));
}

static void refuse(struct fl_http_exchange *exchange, const struct fl_metadata_route *route)
{
    struct fl_str text;
    unsigned status = fl_metadata_refusal(route, exchange->peer, exchange->arena, &text);
    fl_metadata_reply_error(exchange, status, text);
}

static void reply_route(struct fl_metadata *metadata, struct fl_http_exchange *exchange,
                        const struct fl_metadata_route *route, const struct fl_task *task,
                        const struct fl_task_container *container)
{
    switch (route->what) {
    case FL_METADATA_CONTAINER:
    case FL_METADATA_CONTAINER_STATS:
        if (task)
            reply_container(metadata, exchange, route, container);
        else
            refuse(exchange, route);
        break;
    case FL_METADATA_TASK:
    case FL_METADATA_TASK_TAGS:
    case FL_METADATA_TASK_STATS:
        if (task)
            reply_task(metadata, exchange, route, task);
        else
            refuse(exchange, route);
        break;
    case FL_METADATA_CREDENTIALS:
        fl_metadata_reply_credentials(metadata, exchange, route, task);
        break;
    case FL_METADATA_PROTECTION:
        fl_metadata_protect(metadata, exchange, task);
        break;
    case FL_METADATA_NOTHING:
        reply_text(exchange, 404, FL_STR("404 page not found\n"));
        break;
    }
}

/* ---- requests ---- */

/* Who is known is counted by task, who is not by address: a stranger uses up nobody's share. */
static bool is_allowed(struct fl_metadata *metadata, const struct fl_http_exchange *exchange,
                       const struct fl_task *task)
{
    struct fl_str key = task ? task->arn : exchange->peer;
    return fl_metadata_throttle_take(metadata->throttle, key, fl_clock_mono_ms());
}

static void answer(struct fl_metadata *metadata, struct fl_http_exchange *exchange,
                   const struct caller *caller)
{
    struct fl_metadata_route route = fl_metadata_route(exchange->path, exchange->query);
    const struct fl_task_container *container = NULL;
    const struct fl_task *task = task_by_address(metadata, caller);
    bool by_id = !route.by_address && route.what != FL_METADATA_NOTHING &&
                 route.what != FL_METADATA_CREDENTIALS;
    if (route.what == FL_METADATA_CREDENTIALS) {
        task = task_by_credentials(metadata, route.id, caller);
    } else if (by_id) {
        container = container_by_id(metadata, route.id, caller);
        if (container)
            task = container->task;
    } else if (task) {
        container = container_in(task, route.id);
    }
    if (!is_allowed(metadata, exchange, task)) {
        fl_metadata_reply_throttled(exchange);
        return;
    }
    reply_route(metadata, exchange, &route, by_id && !container ? NULL : task, container);
}

static void on_request(void *context, struct fl_http_exchange *exchange)
{
    struct fl_metadata *metadata = context;
    struct caller caller;
    struct fl_str cleaned = fl_metadata_cleaned(exchange->path, exchange->arena);
    const struct fl_header location = {FL_STR("Location"), cleaned};
    bool is_read = fl_str_is(exchange->method, "GET") || fl_str_is(exchange->method, "HEAD");
    if (!read_caller(metadata, exchange, &caller) || !is_direct(metadata, exchange))
        fl_metadata_reply_error(exchange, 403, FL_STR("the request did not come from a task"));
    else if (is_read && !fl_str_starts(exchange->path, FL_STR("/"))) /* meant for a proxy */
        reply_text(exchange, 404, FL_STR("404 page not found\n"));
    else if (cleaned.n > 0)
        fl_http_reply(exchange, 301, &location, 1, FL_STR(""));
    else if (!is_read && !fl_str_starts(exchange->path, FL_STR("/api/")))
        reply_text(exchange, 405, FL_STR("405 method not allowed\n"));
    else
        answer(metadata, exchange, &caller);
}

/* ---- start and stop ---- */

static int listen_at(struct fl_metadata *metadata, uint16_t port, struct fl_err *err)
{
    char listen[32];
    (void)snprintf(listen, sizeof(listen), "127.0.0.1:%u", port);
    const struct fl_http_server_config server = {.listen = fl_str_of(listen),
                                                 .max_body = MAX_BODY,
                                                 .max_connections = MAX_CONNECTIONS,
                                                 .max_connections_per_peer = MAX_PER_PEER,
                                                 .handler = on_request,
                                                 .context = metadata};
    return fl_http_server_start(metadata->config.loop, &server, &metadata->server, err);
}

/* Several installations on one host share it without an argument. */
static int start_server(struct fl_metadata *metadata, struct fl_err *err)
{
    struct fl_str dir = metadata->config.state_dir;
    uint16_t remembered = fl_port_file_read(dir, PORT_FILE);
    const uint16_t wanted[] = {remembered ? remembered : FL_METADATA_PORT, FL_METADATA_PORT, 0};
    if (metadata->config.port)
        return listen_at(metadata, metadata->config.port, err);
    int r = -EADDRINUSE;
    for (size_t i = 0; i < FL_ARRAY_SIZE(wanted) && r == -EADDRINUSE; i++)
        r = listen_at(metadata, wanted[i], err);
    if (r == 0 && fl_metadata_port(metadata) != remembered)
        fl_port_file_write(dir, PORT_FILE, fl_metadata_port(metadata));
    return r;
}

int fl_metadata_open(const struct fl_metadata_config *config, struct fl_metadata **ret_metadata,
                     struct fl_err *err)
{
    struct fl_metadata *metadata = fl_calloc(1, sizeof(*metadata));
    metadata->config = *config;
    metadata->arena = fl_arena_new();
    LIST_INIT(&metadata->asking);
    LIST_INIT(&metadata->protecting);
    metadata->throttle = fl_metadata_throttle_new(config->steady, config->burst);
    int r = fl_metadata_key_open(config->state_dir, metadata->key, err);
    if (r == 0)
        r = start_server(metadata, err);
    if (r < 0) {
        fl_metadata_close(metadata);
        return r;
    }
    *ret_metadata = metadata;
    return 0;
}

void fl_metadata_close(struct fl_metadata *metadata)
{
    if (!metadata)
        return;
    fl_metadata_tags_end(metadata);
    fl_metadata_protect_end(metadata);
    if (metadata->server)
        fl_http_server_stop(metadata->server);
    fl_metadata_throttle_free(metadata->throttle);
    fl_arena_free(metadata->arena);
    free(metadata);
}

uint16_t fl_metadata_port(const struct fl_metadata *metadata)
{
    return fl_http_server_port(metadata->server);
}

void fl_metadata_id(const struct fl_metadata *metadata, struct fl_str container_id,
                    char ret_id[FL_METADATA_ID_SIZE])
{
    fl_metadata_id_make(metadata->key, container_id, ret_id);
}
