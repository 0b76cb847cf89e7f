/* From an HTTP exchange to a websocket (RFC 6455, 4.2).
 *
 * The ws exists as soon as the handler asks for it; the socket comes when MHD has written its 101.
 * If the client goes away in between, the ws ends with 1006 like any other. */
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "net/http_internal.h"
#include "net/ws_internal.h"

/* A header's comma-separated list holds the token, in any case. */
static bool has_token(const struct fl_http_exchange *exchange, const char *name, const char *token)
{
    for (size_t i = 0; i < exchange->header_count; i++) {
        struct fl_str rest = exchange->headers[i].value, part;
        if (!fl_str_case_eq(exchange->headers[i].name, fl_str_of(name)))
            continue;
        while (fl_str_split(&rest, ',', &part)) {
            if (fl_str_case_eq(fl_str_trim(part), fl_str_of(token)))
                return true;
        }
    }
    return false;
}

static const char *reason_against(const struct fl_http_exchange *exchange)
{
    enum { KEY_TEXT = 24 };
    struct fl_str key = fl_str_trim(fl_http_header(exchange, "sec-websocket-key"));
    if (!fl_str_is(exchange->method, "GET"))
        return "A websocket begins with GET.";
    if (!has_token(exchange, "upgrade", "websocket") ||
        !has_token(exchange, "connection", "upgrade"))
        return "The headers Upgrade: websocket and Connection: Upgrade are needed.";
    if (!fl_str_is(fl_str_trim(fl_http_header(exchange, "sec-websocket-version")), "13"))
        return "Sec-WebSocket-Version must be 13.";
    if (key.n != KEY_TEXT || !fl_str_ends(key, FL_STR("==")))
        return "Sec-WebSocket-Key must be 16 bytes in Base64.";
    return NULL;
}

static void refuse(struct fl_http_exchange *exchange, const char *reason)
{
    const struct fl_header type = {FL_STR("Content-Type"), FL_STR("application/x-amz-json-1.1")};
    struct fl_str body = fl_str_printf(
        exchange->arena, "{\"__type\":\"BadRequestException\",\"message\":\"%s\"}", reason);
    fl_http_reply(exchange, 400, &type, 1, body);
}

/* The ws has ended before it got its socket. */
static void on_abandon(void *context)
{
    struct fl_http_request_state *request = context;
    request->ws = NULL;
}

static void on_release(void *context)
{
    struct fl_http_connection *connection = context;
    struct fl_http_server *server = connection->server;
    connection->ws = NULL;
    (void)MHD_upgrade_action(connection->upgrade, MHD_UPGRADE_ACTION_CLOSE);
    fl_http_server_kick(server);
}

static void on_upgrade(void *context, FL_UNUSED struct MHD_Connection *mhd,
                       FL_UNUSED void *request_slot, const char *extra, size_t extra_n,
                       MHD_socket fd, struct MHD_UpgradeResponseHandle *upgrade)
{
    struct fl_http_request_state *request = context;
    struct fl_http_connection *connection = request->connection;
    struct fl_ws *ws = request->ws;
    const int one = 1;
    request->ws = NULL;
    connection->upgrade = upgrade;
    fl_http_connection_enter(connection, FL_HTTP_UPGRADED);
    if (!ws) {
        on_release(connection);
        return;
    }
    connection->ws = ws;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    fl_ws_attach(ws, fd, NULL, extra, extra_n, on_release, connection);
}

struct fl_ws *fl_http_upgrade(struct fl_http_exchange *exchange,
                              const struct fl_ws_callbacks *callbacks, void *context)
{
    struct fl_http_request_state *request =
        FL_CONTAINER_OF(exchange, struct fl_http_request_state, exchange);
    const char *reason = reason_against(exchange);
    if (!request->connection)
        reason = "The client has gone.";
    if (reason) {
        refuse(exchange, reason);
        return NULL;
    }
    struct fl_ws_callbacks server_side = *callbacks;
    server_side.opened = NULL; /* the client's side only */
    struct fl_str key = fl_str_trim(fl_http_header(exchange, "sec-websocket-key"));
    struct MHD_Response *response = MHD_create_response_for_upgrade(on_upgrade, request);
    FL_ASSERT(response);
    (void)MHD_add_response_header(response, "Upgrade", "websocket");
    (void)MHD_add_response_header(response, "Sec-WebSocket-Accept",
                                  fl_ws_accept(exchange->arena, key).p);
    struct fl_ws *ws = fl_ws_new(request->connection->server->loop, true, &server_side, context,
                                 on_abandon, request);
    request->ws = ws;
    fl_http_settle(request, MHD_HTTP_SWITCHING_PROTOCOLS, response);
    return ws;
}
