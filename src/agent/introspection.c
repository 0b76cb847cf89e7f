/* The introspection endpoint; see the header. */
#include "agent/introspection.h"

#include <stdio.h>

#include "net/http_server.h"
#include "wire/url.h"

enum { MAX_CONNECTIONS = 64, MAX_BODY = 1024, DOCUMENT_MAX = 64 * 1024 * 1024, SHORT_ID = 12 };

struct fl_introspection {
    struct fl_introspection_config config;
    struct fl_http_server *server;
};

static const char license_text[] =
    "Fairlead " FL_VERSION ": Copyright (c) 2026 The Fairlead authors. MIT License.\n";

static void reply(struct fl_http_exchange *exchange, unsigned status, const char *type,
                  struct fl_str body)
{
    const struct fl_header header = {FL_STR("Content-Type"), fl_str_of(type)};
    fl_http_reply(exchange, status, &header, 1, body);
}

static void reply_document(struct fl_http_exchange *exchange, const struct fl_buf *buf)
{
    if (buf->overflow)
        reply(exchange, 500, "text/plain; charset=utf-8", FL_STR("the document is too long\n"));
    else
        reply(exchange, 200, "application/json", fl_buf_str(buf));
}

static void write_container(const struct fl_metadata_facts *facts,
                            const struct fl_task_container *container, struct fl_json_writer *jw)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_str id = fl_str_of(container->id);
    fl_jw_object_begin(jw);
    fl_jw_member_str(jw, "DockerId", id);
    fl_jw_member_str(jw, "DockerName", fl_metadata_docker_name(container, arena));
    fl_jw_member_str(jw, "Name", container->spec->name);
    fl_jw_member_str(jw, "Image", container->spec->image);
    fl_jw_member_str(jw, "ImageID", container->image_digest);
    if (facts->created_ms && container->launched)
        fl_metadata_member_time(jw, "CreatedAt", facts->created_ms(facts->context, id));
    fl_metadata_member_time(jw, "StartedAt", container->started_ms);
    fl_metadata_write_ports(container, "Ports", "HostIp", jw);
    fl_metadata_write_networks(container, jw);
    fl_metadata_write_volumes(container, jw);
    if (container->spec->restart.enabled)
        fl_jw_member_int(jw, "RestartCount", container->restarts);
    fl_jw_object_end(jw);
}

static void write_task(const struct fl_metadata_facts *facts, const struct fl_task *task,
                       struct fl_json_writer *jw)
{
    fl_jw_object_begin(jw);
    fl_jw_member_str(jw, "Arn", task->arn);
    fl_jw_member_str(jw, "DesiredStatus",
                     task->desired_running ? FL_STR("RUNNING") : FL_STR("STOPPED"));
    fl_jw_member_str(jw, "KnownStatus", fl_str_of(fl_metadata_task_status(task)));
    fl_jw_member_str(jw, "Family", task->spec->family);
    fl_jw_member_str(jw, "Version", task->spec->revision);
    fl_jw_key(jw, "Containers");
    fl_jw_array_begin(jw);
    for (size_t i = 0; i < task->container_count; i++)
        write_container(facts, &task->containers[i], jw);
    fl_jw_array_end(jw);
    fl_jw_object_end(jw);
}

static bool has_container(const struct fl_task *task, struct fl_str docker_id)
{
    for (size_t i = 0; i < task->container_count; i++)
        if (docker_id.n >= SHORT_ID && fl_str_starts(fl_str_of(task->containers[i].id), docker_id))
            return true;
    return false;
}

/* The task of that ARN, or with a container whose id begins so. */
static const struct fl_task *find_task(const struct fl_brain *brain, struct fl_str arn,
                                       struct fl_str docker_id)
{
    const struct fl_task *task = NULL;
    while ((task = fl_brain_next_task(brain, task)) != NULL)
        if (task->spec && (arn.n > 0 ? fl_str_eq(task->arn, arn) : has_container(task, docker_id)))
            return task;
    return NULL;
}

static void reply_one(const struct fl_introspection *introspection,
                      struct fl_http_exchange *exchange, struct fl_str arn, struct fl_str docker_id)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(DOCUMENT_MAX);
    struct fl_json_writer jw = {.buf = &buf};
    const struct fl_task *task = find_task(introspection->config.brain, arn, docker_id);
    if (!task) {
        reply(exchange, 404, "application/json", FL_STR("{}"));
        return;
    }
    write_task(introspection->config.facts, task, &jw);
    reply_document(exchange, &buf);
}

static void reply_all(const struct fl_introspection *introspection,
                      struct fl_http_exchange *exchange)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(DOCUMENT_MAX);
    struct fl_json_writer jw = {.buf = &buf};
    const struct fl_task *task = NULL;
    fl_jw_object_begin(&jw);
    fl_jw_key(&jw, "Tasks");
    fl_jw_array_begin(&jw);
    while ((task = fl_brain_next_task(introspection->config.brain, task)) != NULL)
        if (task->spec)
            write_task(introspection->config.facts, task, &jw);
    fl_jw_array_end(&jw);
    fl_jw_object_end(&jw);
    reply_document(exchange, &buf);
}

static void reply_tasks(const struct fl_introspection *introspection,
                        struct fl_http_exchange *exchange)
{
    struct fl_str arn = fl_url_parameter(exchange->arena, exchange->query, "taskarn");
    struct fl_str docker_id = fl_url_parameter(exchange->arena, exchange->query, "dockerid");
    if (arn.n > 0 && docker_id.n > 0)
        reply(exchange, 400, "text/plain; charset=utf-8",
              FL_STR("Request contains both dockerid and taskarn. Expect at most one of these."));
    else if (arn.n > 0 || docker_id.n > 0)
        reply_one(introspection, exchange, arn, docker_id);
    else
        reply_all(introspection, exchange);
}

static void reply_metadata(const struct fl_introspection *introspection,
                           struct fl_http_exchange *exchange)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(16 * 1024);
    struct fl_json_writer jw = {.buf = &buf};
    const struct fl_metadata_facts *facts = introspection->config.facts;
    fl_jw_object_begin(&jw);
    fl_jw_member_str(&jw, "Cluster", facts->cluster);
    fl_jw_key(&jw, "ContainerInstanceArn");
    if (facts->instance_arn.n > 0)
        fl_jw_str(&jw, facts->instance_arn);
    else
        fl_jw_raw(&jw, FL_STR("null"));
    fl_jw_member_str(&jw, "Version", FL_STR("Fairlead Agent - v" FL_VERSION));
    fl_jw_object_end(&jw);
    reply(exchange, 200, "application/json", fl_buf_str(&buf));
}

static void on_request(void *context, struct fl_http_exchange *exchange)
{
    const struct fl_introspection *introspection = context;
    if (!fl_str_is(exchange->method, "GET") && !fl_str_is(exchange->method, "HEAD"))
        reply(exchange, 405, "text/plain; charset=utf-8", FL_STR("405 method not allowed\n"));
    else if (fl_str_is(exchange->path, "/v1/metadata"))
        reply_metadata(introspection, exchange);
    else if (fl_str_is(exchange->path, "/v1/tasks"))
        reply_tasks(introspection, exchange);
    else if (fl_str_is(exchange->path, "/license"))
        reply(exchange, 200, "text/plain; charset=utf-8", fl_str_of(license_text));
    else
        reply(exchange, 200, "application/json",
              FL_STR("{\"AvailableCommands\":[\"/v1/metadata\",\"/v1/tasks\",\"/license\"]}"));
}

int fl_introspection_open(const struct fl_introspection_config *config,
                          struct fl_introspection **ret_introspection, struct fl_err *err)
{
    char listen[32];
    struct fl_introspection *introspection = fl_calloc(1, sizeof(*introspection));
    introspection->config = *config;
    (void)snprintf(listen, sizeof(listen), "%s:%u", config->offhost ? "0.0.0.0" : "127.0.0.1",
                   config->port ? config->port : (unsigned)FL_INTROSPECTION_PORT);
    const struct fl_http_server_config server = {.listen = fl_str_of(listen),
                                                 .max_body = MAX_BODY,
                                                 .max_connections = MAX_CONNECTIONS,
                                                 .handler = on_request,
                                                 .context = introspection};
    int r = fl_http_server_start(config->loop, &server, &introspection->server, err);
    if (r < 0) {
        free(introspection);
        return r;
    }
    *ret_introspection = introspection;
    return 0;
}

void fl_introspection_close(struct fl_introspection *introspection)
{
    if (!introspection)
        return;
    fl_http_server_stop(introspection->server);
    free(introspection);
}

uint16_t fl_introspection_port(const struct fl_introspection *introspection)
{
    return fl_http_server_port(introspection->server);
}
