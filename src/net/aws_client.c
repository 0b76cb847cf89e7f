/* Signed AWS JSON calls over the HTTP client, and the signature for a websocket's handshake.
 *
 * Only what is sent as it was signed is signed: Host, Content-Type and X-Amz-Target. */
#include "net/aws_client.h"

#include <errno.h>

#include "base/clock.h"
#include "wire/json.h"

enum { MAX_HEADERS = 6 + FL_SIGV4_SIGNED_HEADERS };

struct fl_aws_client {
    struct fl_http_client *http;
    struct fl_arena *arena; /* holds the configuration */
    struct fl_aws_config config;
    struct fl_header introduction[2];
    size_t introduction_count;
};

struct fl_aws_client *fl_aws_client_new(struct fl_http_client *http,
                                        const struct fl_aws_config *config)
{
    struct fl_aws_client *client = fl_calloc(1, sizeof(*client));
    struct fl_arena *arena = fl_arena_new();
    client->http = http;
    client->arena = arena;
    client->config = (struct fl_aws_config){fl_str_dup(arena, config->endpoint),
                                            fl_str_dup(arena, config->region),
                                            {fl_str_dup(arena, config->key.access_key_id),
                                             fl_str_dup(arena, config->key.secret),
                                             fl_str_dup(arena, config->key.session_token)}};
    return client;
}

/* A former text stays in the arena: changes are rare. */
static void change(struct fl_aws_client *client, struct fl_str *text, struct fl_str to)
{
    if (!fl_str_eq(*text, to))
        *text = fl_str_dup(client->arena, to);
}

void fl_aws_client_set_key(struct fl_aws_client *client, const struct fl_credentials *key)
{
    change(client, &client->config.key.access_key_id, key->access_key_id);
    change(client, &client->config.key.secret, key->secret);
    change(client, &client->config.key.session_token, key->session_token);
}

struct fl_str fl_aws_client_endpoint(const struct fl_aws_client *client)
{
    return client->config.endpoint;
}

void fl_aws_client_set_endpoint(struct fl_aws_client *client, struct fl_str endpoint)
{
    change(client, &client->config.endpoint, endpoint);
}

/* Said anew with every registration, and rarely something new. */
static bool is_introduced(const struct fl_aws_client *client, const struct fl_header headers[2])
{
    for (size_t i = 0; i < client->introduction_count; i++)
        if (!fl_str_eq(client->introduction[i].name, headers[i].name) ||
            !fl_str_eq(client->introduction[i].value, headers[i].value))
            return false;
    return client->introduction_count > 0;
}

void fl_aws_client_introduce(struct fl_aws_client *client, const struct fl_header headers[2])
{
    if (is_introduced(client, headers))
        return;
    client->introduction_count = FL_ARRAY_SIZE(client->introduction);
    for (size_t i = 0; i < client->introduction_count; i++)
        client->introduction[i] = (struct fl_header){fl_str_dup(client->arena, headers[i].name),
                                                     fl_str_dup(client->arena, headers[i].value)};
}

void fl_aws_client_free(struct fl_aws_client *client)
{
    if (!client)
        return;
    fl_arena_free(client->arena);
    free(client);
}

/* Host (as curl and our websocket send it), path and query of an absolute URL. */
static void split_url(struct fl_str url, struct fl_str *ret_host, struct fl_str *ret_path,
                      struct fl_str *ret_query)
{
    struct fl_str rest = url;
    const char *mark = url.n ? memmem(url.p, url.n, "://", 3) : NULL;
    if (mark)
        rest = fl_str_from(url, (size_t)(mark - url.p) + 3);
    size_t n = 0;
    while (n < rest.n && rest.p[n] != '/' && rest.p[n] != '?')
        n++;
    *ret_host = fl_str_sub(rest, 0, n);
    *ret_path = fl_str_from(rest, n);
    ptrdiff_t question = fl_str_index(*ret_path, '?');
    *ret_query =
        question < 0 ? (struct fl_str){"", 0} : fl_str_from(*ret_path, (size_t)question + 1);
    if (question >= 0)
        *ret_path = fl_str_sub(*ret_path, 0, (size_t)question);
    if (ret_path->n == 0)
        *ret_path = FL_STR("/");
}

/* Appends the signature's headers; returns the new count. */
static size_t sign(const struct fl_aws_client *client, const struct fl_credentials *key,
                   const char *service, const struct fl_sigv4_request *request,
                   struct fl_header *headers, struct fl_arena *arena)
{
    return request->header_count + fl_sigv4_sign(request, key, client->config.region,
                                                 fl_str_of(service), fl_clock_wall_ms(), arena,
                                                 headers + request->header_count);
}

void fl_aws_send(struct fl_aws_client *client, const struct fl_aws_request *call, fl_http_done done,
                 void *context)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_str host, path, query;
    split_url(client->config.endpoint, &host, &path, &query);
    struct fl_header headers[MAX_HEADERS] = {
        {FL_STR("Host"), host},
        {FL_STR("Content-Type"), FL_STR("application/x-amz-json-1.1")},
        {FL_STR("X-Amz-Target"), fl_str_of(call->target)}};
    struct fl_sigv4_request request = {FL_STR("POST"), path, query, headers, 3, call->body};
    struct fl_http_request wanted = {.method = FL_STR("POST"),
                                     .url = client->config.endpoint,
                                     .headers = headers,
                                     .header_count =
                                         sign(client, call->key ? call->key : &client->config.key,
                                              call->service, &request, headers, arena),
                                     .body = call->body,
                                     .timeout_ms = call->timeout_ms};
    for (size_t i = 0; !call->key && i < client->introduction_count; i++)
        headers[wanted.header_count++] = client->introduction[i];
    if (call->extra)
        headers[wanted.header_count++] = *call->extra;
    fl_http_client_send(client->http, &wanted, done, context);
}

void fl_aws_call(struct fl_aws_client *client, const char *service, const char *target,
                 struct fl_str body, unsigned timeout_ms, fl_http_done done, void *context)
{
    const struct fl_aws_request request = {
        .service = service, .target = target, .body = body, .timeout_ms = timeout_ms};
    fl_aws_send(client, &request, done, context);
}

size_t fl_aws_sign_websocket(struct fl_aws_client *client, const char *service, struct fl_str url,
                             struct fl_str body, struct fl_arena *arena,
                             struct fl_header **ret_headers)
{
    struct fl_header *headers = fl_arena_new_array(arena, struct fl_header, MAX_HEADERS);
    struct fl_str host, path, query;
    split_url(url, &host, &path, &query);
    headers[0] = (struct fl_header){FL_STR("Host"), fl_str_dup(arena, host)};
    struct fl_sigv4_request request = {FL_STR("GET"), path, query, headers, 1, body};
    *ret_headers = headers;
    return sign(client, &client->config.key, service, &request, headers, arena);
}

static struct fl_str member(const struct fl_json *object, const char *a, const char *b)
{
    const struct fl_json *value = fl_json_get(object, a);
    return fl_json_text(value ? value : fl_json_get(object, b));
}

void fl_aws_error(const struct fl_http_response *response, struct fl_arena *arena,
                  struct fl_str *ret_code, struct fl_str *ret_message)
{
    const struct fl_json *json =
        response->status ? fl_json_read(response->body, arena, NULL) : NULL;
    if (!fl_json_is(json, FL_JSON_OBJECT)) {
        *ret_code = FL_STR("UnknownError");
        *ret_message = response->status == 0
                           ? fl_str_dup(arena, response->body)
                           : fl_str_printf(arena, "HTTP status %u", response->status);
        return;
    }
    struct fl_str code = member(json, "__type", "code");
    ptrdiff_t hash = fl_str_rindex(code, '#');
    if (hash >= 0)
        code = fl_str_from(code, (size_t)hash + 1);
    *ret_code = code.n ? fl_str_dup(arena, code) : FL_STR("UnknownError");
    *ret_message = fl_str_dup(arena, member(json, "message", "Message"));
}

/* ---- one call with a loop of its own ---- */

struct waiting {
    struct fl_arena *arena;
    struct fl_http_response response;
};

static void on_done(void *context, const struct fl_http_response *response)
{
    struct waiting *waiting = context;
    waiting->response = (struct fl_http_response){
        .status = response->status, .body = fl_str_dup(waiting->arena, response->body)};
}

int fl_aws_call_wait(const struct fl_aws_config *config, const char *service, const char *target,
                     struct fl_str body, unsigned timeout_ms, struct fl_arena *arena,
                     struct fl_http_response *ret_response, struct fl_err *err)
{
    struct waiting waiting = {.arena = arena};
    struct fl_http_client *http;
    uv_loop_t loop;
    int rc = uv_loop_init(&loop);
    if (rc < 0)
        return fl_err_set(err, rc, "no event loop: %s", uv_strerror(rc));
    rc = fl_http_client_new(&loop, &http, err);
    if (rc == 0) {
        struct fl_aws_client *client = fl_aws_client_new(http, config);
        fl_aws_call(client, service, target, body, timeout_ms, on_done, &waiting);
        (void)uv_run(&loop, UV_RUN_DEFAULT);
        fl_aws_client_free(client);
        fl_http_client_free(http);
        (void)uv_run(&loop, UV_RUN_DEFAULT);
        if (waiting.response.status == 0)
            rc = fl_err_set(err, -EIO, "no answer from %.*s: %.*s", FL_STR_ARG(config->endpoint),
                            FL_STR_ARG(waiting.response.body));
    }
    (void)uv_loop_close(&loop);
    if (rc == 0)
        *ret_response = waiting.response;
    return rc;
}
