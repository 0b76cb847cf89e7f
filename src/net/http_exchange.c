/* A request's way through the server: its URI, headers and body are copied into the exchange, the
 * handler gets it whole, the answer goes back through MHD now or later.
 *
 * The exchange owns all it points to, so it survives its connection: whoever answers late, or after
 * the client or the whole server has gone, finds it as it was. */
#include <stdio.h>
#include <sys/socket.h>

#include "net/http_internal.h"
#include "net/ws_internal.h"

/* Thrown away after a refusal: enough for a client to notice the answer while it still sends. */
enum { MAX_DRAINED = 16 * 1024 * 1024, DRAIN_MS = 2000 };

/* Bodies are taken in before anyone knows who sends them: beyond SMALL_BODY bytes each must find
 * room in what all of them may have together. */
enum { SMALL_BODY = 64 * 1024, MAX_BODIES = 128 * 1024 * 1024 };

/* A body that goes into a sink is given a second more for every such number of bytes. */
enum { SINK_BYTES_PER_S = 16 * 1024 };

static void free_request(struct fl_http_request_state *request)
{
    if (request->response)
        MHD_destroy_response(request->response);
    fl_arena_free(request->exchange.arena);
    fl_buf_free(&request->body);
    free(request);
}

void *fl_http_on_uri(void *context, const char *uri, struct MHD_Connection *mhd)
{
    struct fl_http_server *server = context;
    struct fl_http_request_state *request = fl_calloc(1, sizeof(*request));
    struct fl_http_exchange *exchange = &request->exchange;
    request->connection = fl_http_connection_of(mhd);
    request->body = FL_BUF_INIT(server->config.max_body);
    exchange->arena = fl_arena_new();
    fl_random_take(&server->random, exchange->id, sizeof(exchange->id));
    struct fl_str whole = fl_str_dup(exchange->arena, fl_str_of(uri));
    ptrdiff_t mark = fl_str_index(whole, '?');
    exchange->path = mark < 0 ? whole : fl_str_sub(whole, 0, (size_t)mark);
    exchange->query = mark < 0 ? (struct fl_str){"", 0} : fl_str_from(whole, (size_t)mark + 1);
    fl_http_connection_enter(request->connection, FL_HTTP_HEADERS);
    return request;
}

/* ---- headers and body ---- */

struct collect {
    struct fl_http_exchange *exchange;
    struct fl_header *headers;
    size_t room;
};

static enum MHD_Result on_header(void *context, FL_UNUSED enum MHD_ValueKind kind, const char *name,
                                 size_t name_n, const char *value, size_t value_n)
{
    struct collect *collect = context;
    struct fl_http_exchange *exchange = collect->exchange;
    if (exchange->header_count == collect->room)
        return MHD_NO;
    collect->headers[exchange->header_count++] =
        (struct fl_header){fl_str_dup(exchange->arena, (struct fl_str){name, name_n}),
                           fl_str_dup(exchange->arena, (struct fl_str){value, value_n})};
    return MHD_YES;
}

/* The body is the handler's now, or nobody's. */
static void uncount_body(struct fl_http_request_state *request)
{
    request->connection->server->body_bytes -= request->counted;
    request->counted = 0;
}

/* An answer has been written: whatever else comes of the body is thrown away. */
static void give_up_body(struct fl_http_request_state *request)
{
    request->refused = true;
    uncount_body(request);
    fl_buf_free(&request->body);
    /* What follows is thrown away for a moment: closing at once would make the client's kernel
     * drop the answer. */
    request->connection->deadline_ms = fl_http_now_ms() + DRAIN_MS;
}

static void refuse_body(struct fl_http_request_state *request, unsigned status, const char *reason,
                        const char *type, const char *message)
{
    fl_http_refuse(request->connection, status, reason, type, message);
    give_up_body(request);
}

static void refuse_large(struct fl_http_request_state *request)
{
    char message[128];
    (void)snprintf(message, sizeof(message), "Request body is larger than %zu bytes.",
                   request->connection->server->config.max_body);
    refuse_body(request, 413, "Content Too Large", "RequestTooLargeException", message);
}

static void begin(struct fl_http_request_state *request, struct MHD_Connection *mhd,
                  const char *method)
{
    struct fl_http_exchange *exchange = &request->exchange;
    struct fl_http_connection *connection = request->connection;
    int count = MHD_get_connection_values(mhd, MHD_HEADER_KIND, NULL, NULL);
    struct collect collect = {exchange,
                              fl_arena_new_array(exchange->arena, struct fl_header, count),
                              (size_t)FL_MAX(count, 0)};
    (void)MHD_get_connection_values_n(mhd, MHD_HEADER_KIND, on_header, &collect);
    exchange->headers = collect.headers;
    exchange->method = fl_str_dup(exchange->arena, fl_str_of(method));
    exchange->peer = fl_str_dup(exchange->arena, fl_str_of(connection->peer));
    exchange->peer_is_loopback = connection->is_loopback;
    exchange->peer_is_here = connection->is_loopback || connection->is_here;
    exchange->is_tls = connection->is_tls;
    request->begun = true;
    fl_http_connection_enter(connection, FL_HTTP_BODY);
    request->body_since_ms = fl_http_now_ms();
    if (connection->server->config.open_sink)
        exchange->sink = request->sink =
            connection->server->config.open_sink(connection->server->config.context, exchange);
    if (request->sink || request->refused)
        return;

    uint64_t length;
    struct fl_str declared = fl_str_trim(fl_http_header(exchange, "content-length"));
    if (fl_str_to_u64(declared, &length) && length > connection->server->config.max_body)
        refuse_large(request);
}

static void keep_body(struct fl_http_request_state *request, const char *bytes, size_t n)
{
    struct fl_http_server *server = request->connection->server;
    fl_buf_add(&request->body, bytes, n);
    request->counted += n;
    server->body_bytes += n;
    if (request->body.overflow)
        refuse_large(request);
    else if (request->counted > SMALL_BODY && server->body_bytes > MAX_BODIES)
        refuse_body(request, 503, "Service Unavailable", "ServiceUnavailableException",
                    "Too many large requests are under way.");
}

/* The sink's own time does not count against the client: see fl_http_sink_ready. */
static void pause_body(struct fl_http_request_state *request)
{
    request->paused_ms = fl_http_now_ms();
    fl_http_connection_enter(request->connection, FL_HTTP_ANSWERING);
    MHD_suspend_connection(request->connection->mhd);
}

static void set_sink_deadline(struct fl_http_request_state *request)
{
    request->connection->deadline_ms = request->body_since_ms +
                                       request->connection->server->deadlines.body_ms +
                                       (int64_t)(request->streamed * 1000 / SINK_BYTES_PER_S);
}

static enum MHD_Result stream_body(struct fl_http_request_state *request, const char *bytes,
                                   size_t *n)
{
    bool is_taken = request->sink->take(request->sink, bytes, *n);
    if (request->refused) {
        *n = 0;
        return MHD_YES;
    }
    if (!is_taken) {
        pause_body(request);
        return MHD_YES;
    }
    request->streamed += *n;
    set_sink_deadline(request);
    *n = 0;
    return MHD_YES;
}

static enum MHD_Result take_body(struct fl_http_request_state *request, const char *bytes,
                                 size_t *n)
{
    if (request->sink && !request->refused)
        return stream_body(request, bytes, n);
    if (request->refused)
        request->drained += *n;
    else
        keep_body(request, bytes, *n);
    *n = 0;
    return request->drained > MAX_DRAINED ? MHD_NO : MHD_YES;
}

/* ---- the answer ---- */

static enum MHD_Result queue(struct fl_http_request_state *request, struct MHD_Connection *mhd)
{
    enum MHD_Result result = MHD_queue_response(mhd, request->status, request->response);
    MHD_destroy_response(request->response);
    request->response = NULL;
    return result;
}

static enum MHD_Result hand_over(struct fl_http_request_state *request, struct MHD_Connection *mhd)
{
    struct fl_http_connection *connection = request->connection;
    request->exchange.body = fl_buf_str(&request->body);
    request->sink = NULL;
    uncount_body(request);
    request->handed = true;
    request->in_handler = true;
    fl_http_connection_enter(connection, FL_HTTP_ANSWERING);
    connection->server->config.handler(connection->server->config.context, &request->exchange);
    request->in_handler = false;
    if (request->answered)
        return queue(request, mhd);
    MHD_suspend_connection(mhd);
    return MHD_YES;
}

enum MHD_Result fl_http_on_request(void *context, struct MHD_Connection *mhd,
                                   FL_UNUSED const char *url, const char *method,
                                   FL_UNUSED const char *version, const char *bytes, size_t *n,
                                   void **request_slot)
{
    const struct fl_http_server *server = context;
    struct fl_http_request_state *request = *request_slot;
    if (!request || server->stopping)
        return MHD_NO;
    if (!request->begun) {
        begin(request, mhd, method);
        return MHD_YES;
    }
    if (*n > 0)
        return take_body(request, bytes, n);
    if (request->refused)
        return MHD_NO;
    if (!request->handed)
        return hand_over(request, mhd);
    return request->answered && request->response ? queue(request, mhd) : MHD_NO;
}

void fl_http_on_completed(FL_UNUSED void *server, FL_UNUSED struct MHD_Connection *mhd,
                          void **request_slot, FL_UNUSED enum MHD_RequestTerminationCode why)
{
    struct fl_http_request_state *request = *request_slot;
    *request_slot = NULL;
    if (!request)
        return;
    struct fl_http_sink *sink = FL_TAKE_PTR(request->sink);
    uncount_body(request);
    fl_http_connection_enter(request->connection, FL_HTTP_WAITING);
    request->connection = NULL;
    if (sink)
        sink->gone(sink);
    if (request->ws)
        fl_ws_break(request->ws, 0, FL_STR("the client has gone"));
    if (request->answered || !request->handed)
        free_request(request);
}

void fl_http_settle(struct fl_http_request_state *request, unsigned status,
                    struct MHD_Response *response)
{
    FL_ASSERT(!request->answered);
    request->answered = true;
    request->status = status;
    request->response = response;
    if (request->in_handler)
        return;
    if (!request->connection) {
        free_request(request);
        return;
    }
    /* Without a thread of its own, MHD notices a resumed connection only when it is run. */
    MHD_resume_connection(request->connection->mhd);
    fl_http_server_kick(request->connection->server);
}

static void add_headers(struct fl_http_exchange *exchange, struct MHD_Response *response,
                        const struct fl_header *headers, size_t header_count)
{
    for (size_t i = 0; i < header_count; i++)
        (void)MHD_add_response_header(response, fl_str_z(exchange->arena, headers[i].name),
                                      fl_str_z(exchange->arena, headers[i].value));
}

void fl_http_reply(struct fl_http_exchange *exchange, unsigned status,
                   const struct fl_header *headers, size_t header_count, struct fl_str body)
{
    struct fl_http_request_state *request =
        FL_CONTAINER_OF(exchange, struct fl_http_request_state, exchange);
    struct MHD_Response *response =
        MHD_create_response_from_buffer(body.n, (void *)body.p, MHD_RESPMEM_MUST_COPY);
    FL_ASSERT(response);
    add_headers(exchange, response, headers, header_count);
    fl_http_settle(request, status, response);
}

void fl_http_reply_file(struct fl_http_exchange *exchange, unsigned status,
                        const struct fl_header *headers, size_t header_count, int fd,
                        uint64_t offset, uint64_t size)
{
    struct fl_http_request_state *request =
        FL_CONTAINER_OF(exchange, struct fl_http_request_state, exchange);
    struct MHD_Response *response = MHD_create_response_from_fd_at_offset64(size, fd, offset);
    FL_ASSERT(response);
    add_headers(exchange, response, headers, header_count);
    fl_http_settle(request, status, response);
}

void fl_http_sink_ready(struct fl_http_exchange *exchange)
{
    struct fl_http_request_state *request =
        FL_CONTAINER_OF(exchange, struct fl_http_request_state, exchange);
    struct fl_http_connection *connection = request->connection;
    if (!request->paused_ms)
        return;
    request->body_since_ms += fl_http_now_ms() - request->paused_ms;
    request->paused_ms = 0;
    fl_http_connection_enter(connection, FL_HTTP_BODY);
    set_sink_deadline(request);
    MHD_resume_connection(connection->mhd);
    fl_http_server_kick(connection->server);
}

void fl_http_refuse_body(struct fl_http_exchange *exchange, unsigned status, const char *reason,
                         const struct fl_header *headers, size_t header_count, struct fl_str body)
{
    struct fl_http_request_state *request =
        FL_CONTAINER_OF(exchange, struct fl_http_request_state, exchange);
    fl_http_sink_ready(exchange);
    fl_http_refuse_with(request->connection, status, reason, headers, header_count, body);
    give_up_body(request);
}

struct fl_str fl_http_header(const struct fl_http_exchange *exchange, const char *name)
{
    struct fl_str wanted = fl_str_of(name);
    for (size_t i = 0; i < exchange->header_count; i++) {
        if (fl_str_case_eq(exchange->headers[i].name, wanted))
            return exchange->headers[i].value;
    }
    return (struct fl_str){NULL, 0};
}
