/* The HTTP server's daemon: libmicrohttpd's epoll descriptor in our loop, connections and
 * deadlines.
 *
 * MHD knows timeouts of inactivity only, so one byte a second would hold a connection for ever. A
 * sweep over the connections enforces absolute deadlines; it runs only while there are any. MHD has
 * no call to end a connection: shutting the socket down makes it see the end. */
#include "net/http_server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>

#include "net/http_internal.h"
#include "net/ws_internal.h"

enum {
    CONNECTION_POOL = 32 * 1024, /* holds the header block */
    READ_STEP = 4096,
    INACTIVITY_S = 60,
    BACKLOG = 1024,
    SWEEP_MS = 1000,
    TICK_MS = 20, /* more than the kernel's coarsest */
};

static const struct fl_http_deadlines normal_deadlines = {
    .headers_ms = 10000, .body_ms = 30000, .idle_ms = 60000};

/* ---- running MHD ---- */

/* Handlers run in the loop's poll phase only, so that who collects a turn's events may end the turn
 * in a check or prepare handle: timers just wake the loop. */
static void on_timer(uv_timer_t *timer)
{
    fl_http_server_kick(timer->data);
}

static void run(struct fl_http_server *server)
{
    MHD_UNSIGNED_LONG_LONG wait_ms;
    (void)MHD_run(server->daemon);
    if (MHD_get_timeout(server->daemon, &wait_ms) == MHD_YES)
        (void)uv_timer_start(&server->timer, on_timer, wait_ms, 0);
    else
        (void)uv_timer_stop(&server->timer);
}

static void on_wake(uv_async_t *wake)
{
    struct fl_http_server *server = wake->data;
    if (!server->stopping)
        run(server);
}

static void on_poll(uv_poll_t *poll, FL_UNUSED int status, FL_UNUSED int events)
{
    run(poll->data);
}

void fl_http_server_kick(struct fl_http_server *server)
{
    if (!server->stopping)
        (void)uv_async_send(&server->wake);
}

/* ---- connections ---- */

int64_t fl_http_now_ms(void)
{
    return (int64_t)(uv_hrtime() / 1000000);
}

struct fl_http_connection *fl_http_connection_of(struct MHD_Connection *mhd)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info ? info->socket_context : NULL;
}

void fl_http_connection_enter(struct fl_http_connection *connection, enum fl_http_phase phase)
{
    const struct fl_http_deadlines *deadlines = &connection->server->deadlines;
    unsigned limit_ms = 0;
    switch (phase) {
    case FL_HTTP_WAITING:
        limit_ms = deadlines->idle_ms;
        connection->waiting_since_ms = fl_http_now_ms();
        connection->first_byte_seen = false;
        break;
    case FL_HTTP_HEADERS:
        limit_ms = deadlines->headers_ms;
        break;
    case FL_HTTP_BODY:
        limit_ms = deadlines->body_ms;
        break;
    case FL_HTTP_ANSWERING:
    case FL_HTTP_UPGRADED:
        break;
    }
    /* The headers' time began with their first byte, if that was noticed. */
    if (phase != FL_HTTP_HEADERS || !connection->first_byte_seen)
        connection->deadline_ms = fl_http_now_ms() + limit_ms;
    connection->phase = phase;
}

static bool is_loopback(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)address;
        return ntohl(in->sin_addr.s_addr) >> 24 == 127;
    }
    if (address->sa_family != AF_INET6)
        return false;
    const struct in6_addr *in6 = &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr;
    return IN6_IS_ADDR_LOOPBACK(in6) || (IN6_IS_ADDR_V4MAPPED(in6) && in6->s6_addr[12] == 127);
}

/* Has our end the peer's address? Nothing that comes from outside has. */
static bool is_own(int fd, const struct sockaddr *peer)
{
    struct sockaddr_storage own;
    socklen_t size = sizeof(own);
    if (getsockname(fd, (struct sockaddr *)&own, &size) < 0 || own.ss_family != peer->sa_family)
        return false;
    if (peer->sa_family == AF_INET)
        return ((const struct sockaddr_in *)(const void *)peer)->sin_addr.s_addr ==
               ((const struct sockaddr_in *)(const void *)&own)->sin_addr.s_addr;
    return peer->sa_family == AF_INET6 &&
           memcmp(&((const struct sockaddr_in6 *)(const void *)peer)->sin6_addr,
                  &((const struct sockaddr_in6 *)(const void *)&own)->sin6_addr,
                  sizeof(struct in6_addr)) == 0;
}

static void name_peer(struct fl_http_connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection->mhd, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    const struct sockaddr *address = info ? info->client_addr : NULL;
    if (!address)
        return;
    connection->is_loopback = is_loopback(address);
    connection->is_tls = connection->server->adopting >= 0;
    connection->is_here =
        is_own(connection->is_tls ? connection->server->adopting : connection->fd, address);
    socklen_t size =
        address->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
    (void)getnameinfo(address, size, connection->peer, sizeof(connection->peer), NULL, 0,
                      NI_NUMERICHOST);
}

static void on_sweep(uv_timer_t *timer);

static void start_sweep(struct fl_http_server *server)
{
    const struct fl_http_deadlines *d = &server->deadlines;
    unsigned step_ms = FL_MIN(FL_MIN(d->headers_ms, d->body_ms), d->idle_ms) / 4;
    step_ms = FL_MIN(step_ms, (unsigned)SWEEP_MS);
    (void)uv_timer_start(&server->sweep, on_sweep, step_ms, step_ms);
}

/* Before there is no room for anybody, who has waited longest without a request has to go: idle
 * connections cost a stranger nothing. */
static void make_room(struct fl_http_server *server)
{
    struct fl_http_connection *connection, *oldest = NULL;
    if (server->connection_count <= server->config.max_connections / 8 * 7)
        return;
    LIST_FOREACH (connection, &server->connections, link)
        if (connection->phase == FL_HTTP_WAITING && !connection->evicted &&
            (!oldest || connection->waiting_since_ms <= oldest->waiting_since_ms))
            oldest = connection;
    if (!oldest)
        return;
    oldest->evicted = true;
    (void)shutdown(oldest->fd, SHUT_RDWR);
}

static void on_connection(void *context, struct MHD_Connection *mhd, void **socket_context,
                          enum MHD_ConnectionNotificationCode what)
{
    struct fl_http_server *server = context;
    struct fl_http_connection *connection = *socket_context;
    if (what == MHD_CONNECTION_NOTIFY_CLOSED) {
        LIST_REMOVE(connection, link);
        server->connection_count--;
        free(connection);
        return;
    }
    connection = fl_calloc(1, sizeof(*connection));
    connection->server = server;
    connection->mhd = mhd;
    connection->fd = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
    name_peer(connection);
    fl_http_connection_enter(connection, FL_HTTP_WAITING);
    if (LIST_EMPTY(&server->connections))
        start_sweep(server);
    make_room(server);
    LIST_INSERT_HEAD(&server->connections, connection, link);
    server->connection_count++;
    *socket_context = connection;
}

void fl_http_refuse_with(struct fl_http_connection *connection, unsigned status, const char *reason,
                         const struct fl_header *headers, size_t header_count, struct fl_str body)
{
    enum { MAX_ANSWER = 16 * 1024 };
    FL_CLEANUP_BUF struct fl_buf answer = FL_BUF_INIT(MAX_ANSWER);
    fl_buf_printf(&answer, "HTTP/1.1 %u %s\r\n", status, reason);
    for (size_t i = 0; i < header_count; i++)
        fl_buf_printf(&answer, "%.*s: %.*s\r\n", FL_STR_ARG(headers[i].name),
                      FL_STR_ARG(headers[i].value));
    fl_buf_printf(&answer, "Content-Length: %zu\r\nConnection: close\r\n\r\n", body.n);
    fl_buf_add_str(&answer, body);
    (void)send(connection->fd, answer.p, answer.n, MSG_DONTWAIT | MSG_NOSIGNAL);
    (void)shutdown(connection->fd, SHUT_WR);
}

void fl_http_refuse(struct fl_http_connection *connection, unsigned status, const char *reason,
                    const char *type, const char *message)
{
    const struct fl_header header = {FL_STR("Content-Type"), FL_STR("application/x-amz-json-1.1")};
    char body[256];
    int n = snprintf(body, sizeof(body), "{\"__type\":\"%s\",\"message\":\"%s\"}", type, message);
    fl_http_refuse_with(connection, status, reason, &header, 1, (struct fl_str){body, (size_t)n});
}

/* ---- deadlines ---- */

/* A waiting connection that has got data since it waits has a request under way: the request's time
 * begins. MHD does not tell; the kernel knows, to the tick. */
static void look_for_first_byte(struct fl_http_connection *connection)
{
    struct tcp_info info = {0};
    socklen_t size = sizeof(info);
    int64_t waited_ms = fl_http_now_ms() - connection->waiting_since_ms;
    if (connection->first_byte_seen ||
        getsockopt(connection->fd, IPPROTO_TCP, TCP_INFO, &info, &size) < 0)
        return;
    if (waited_ms <= (int64_t)info.tcpi_last_data_recv + TICK_MS)
        return;
    connection->first_byte_seen = true;
    connection->deadline_ms = fl_http_now_ms() + connection->server->deadlines.headers_ms;
}

static void expire(struct fl_http_connection *connection)
{
    if (connection->phase != FL_HTTP_WAITING || connection->first_byte_seen)
        fl_http_refuse(connection, 408, "Request Timeout", "RequestTimeoutException",
                       "The request did not arrive in time.");
    (void)shutdown(connection->fd, SHUT_RDWR);
}

/* MHD misses the end of a connection that comes together with the last data. Who waits for the rest
 * of a body would wait until its deadline. */
static bool has_left(const struct fl_http_connection *connection)
{
    char byte;
    return connection->phase == FL_HTTP_BODY &&
           recv(connection->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

static void on_sweep(uv_timer_t *timer)
{
    struct fl_http_server *server = timer->data;
    struct fl_http_connection *connection;
    if (LIST_EMPTY(&server->connections))
        (void)uv_timer_stop(&server->sweep);
    LIST_FOREACH (connection, &server->connections, link) {
        if (connection->phase == FL_HTTP_ANSWERING || connection->phase == FL_HTTP_UPGRADED)
            continue;
        if (connection->phase == FL_HTTP_WAITING)
            look_for_first_byte(connection);
        if (has_left(connection))
            (void)shutdown(connection->fd, SHUT_RDWR);
        else if (fl_http_now_ms() >= connection->deadline_ms)
            expire(connection);
    }
}

/* ---- start and stop ---- */

static int resolve(struct fl_str listen_at, struct addrinfo **ret_info, struct fl_err *err)
{
    char text[128], *host = text;
    ptrdiff_t colon = fl_str_rindex(listen_at, ':');
    if (colon < 0 || listen_at.n >= sizeof(text))
        return fl_err_set(err, -EINVAL,
                          "'%.*s' is not an address to listen on, like 127.0.0.1:4566",
                          FL_STR_ARG(listen_at));
    memcpy(text, listen_at.p, listen_at.n);
    text[listen_at.n] = '\0';
    text[colon] = '\0';
    if (colon >= 2 && text[0] == '[' && text[colon - 1] == ']') {
        text[colon - 1] = '\0';
        host++;
    }
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                                   .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE};
    if (*host == '\0' || getaddrinfo(host, text + colon + 1, &hints, ret_info) != 0)
        return fl_err_set(err, -EINVAL,
                          "'%.*s' is not an address to listen on, like 127.0.0.1:4566",
                          FL_STR_ARG(listen_at));
    return 0;
}

static int bind_and_listen(int fd, const struct addrinfo *info)
{
    const int one = 1;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(fd, info->ai_addr, info->ai_addrlen) < 0 || listen(fd, BACKLOG) < 0)
        return -errno;
    return 0;
}

uint16_t fl_http_bound_port(int fd)
{
    struct sockaddr_storage address;
    socklen_t size = sizeof(address);
    if (getsockname(fd, (struct sockaddr *)&address, &size) < 0)
        return 0;
    return address.ss_family == AF_INET6 ? ntohs(((struct sockaddr_in6 *)&address)->sin6_port)
                                         : ntohs(((struct sockaddr_in *)&address)->sin_port);
}

int fl_http_listen(struct fl_str listen_at, int *ret_fd, struct fl_err *err)
{
    struct addrinfo *info = NULL;
    int rc = resolve(listen_at, &info, err);
    if (rc < 0)
        return rc;
    FL_CLEANUP_FD int fd =
        socket(info->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP);
    rc = fd < 0 ? -errno : bind_and_listen(fd, info);
    freeaddrinfo(info);
    if (rc < 0)
        return fl_err_errno(err, rc, "cannot listen on %.*s", FL_STR_ARG(listen_at));
    *ret_fd = FL_TAKE_FD(fd);
    return 0;
}

static struct MHD_Daemon *start_daemon(struct fl_http_server *server, int fd)
{
    return MHD_start_daemon(
        MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_ALLOW_UPGRADE, 0, NULL, NULL,
        fl_http_on_request, server, MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_URI_LOG_CALLBACK,
        fl_http_on_uri, server, MHD_OPTION_NOTIFY_COMPLETED, fl_http_on_completed, server,
        MHD_OPTION_NOTIFY_CONNECTION, on_connection, server, MHD_OPTION_CONNECTION_LIMIT,
        server->config.max_connections, MHD_OPTION_PER_IP_CONNECTION_LIMIT,
        server->config.max_connections_per_peer, MHD_OPTION_CONNECTION_TIMEOUT,
        (unsigned)INACTIVITY_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_POOL,
        MHD_OPTION_CONNECTION_MEMORY_INCREMENT, (size_t)READ_STEP, MHD_OPTION_STRICT_FOR_CLIENT, 1,
        MHD_OPTION_END);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct fl_http_server *server = handle->data;
    if (--server->open_handles == 0)
        free(server);
}

static void open_handles(struct fl_http_server *server)
{
    int epoll_fd = MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
    FL_ASSERT(uv_poll_init(server->loop, &server->poll, epoll_fd) == 0);
    FL_ASSERT(uv_timer_init(server->loop, &server->timer) == 0);
    FL_ASSERT(uv_timer_init(server->loop, &server->sweep) == 0);
    FL_ASSERT(uv_async_init(server->loop, &server->wake, on_wake) == 0);
    server->poll.data = server->timer.data = server->sweep.data = server->wake.data = server;
    server->open_handles = 4;
    (void)uv_poll_start(&server->poll, UV_READABLE, on_poll);
}

int fl_http_server_start(uv_loop_t *loop, const struct fl_http_server_config *config,
                         struct fl_http_server **ret_server, struct fl_err *err)
{
    FL_CLEANUP_FD int fd = -1;
    int rc = fl_http_listen(config->listen, &fd, err);
    if (rc < 0)
        return rc;
    struct fl_http_server *server = fl_calloc(1, sizeof(*server));
    server->loop = loop;
    server->config = *config;
    server->config.listen = (struct fl_str){NULL, 0}; /* the caller's, and not needed any more */
    server->deadlines = normal_deadlines;
    server->adopting = -1;
    server->port = fl_http_bound_port(fd);
    LIST_INIT(&server->connections);
    server->daemon = start_daemon(server, fd);
    if (!server->daemon) {
        free(server);
        return fl_err_set(err, -ENOMEM, "the HTTP server cannot start");
    }
    (void)FL_TAKE_FD(fd); /* MHD closes it */
    open_handles(server);
    *ret_server = server;
    return 0;
}

int fl_http_server_adopt(struct fl_http_server *server, int fd, int outer,
                         const struct sockaddr *peer, socklen_t peer_size)
{
    server->adopting = outer;
    /* MHD closes it, in any case. */
    bool is_taken = MHD_add_connection(server->daemon, fd, peer, peer_size) == MHD_YES;
    server->adopting = -1;
    fl_http_server_kick(server);
    return is_taken ? 0 : -ECONNREFUSED;
}

uint16_t fl_http_server_port(const struct fl_http_server *server)
{
    return server->port;
}

void fl_http_server_set_deadlines(struct fl_http_server *server,
                                  const struct fl_http_deadlines *deadlines)
{
    server->deadlines = *deadlines;
}

/* MHD insists that nothing is suspended or upgraded when it is stopped. */
static void let_everyone_go(struct fl_http_server *server)
{
    struct fl_http_connection *connection, *next;
    LIST_FOREACH (connection, &server->connections, link) {
        if (connection->phase == FL_HTTP_ANSWERING)
            MHD_resume_connection(connection->mhd);
    }
    for (connection = LIST_FIRST(&server->connections); connection; connection = next) {
        next = LIST_NEXT(connection, link);
        if (connection->ws)
            fl_ws_break(connection->ws, 0, FL_STR("the server stops"));
    }
    (void)MHD_run(server->daemon);
}

void fl_http_server_stop(struct fl_http_server *server)
{
    if (!server)
        return;
    server->stopping = true;
    let_everyone_go(server);
    uv_close((uv_handle_t *)&server->poll, on_handle_closed);
    uv_close((uv_handle_t *)&server->timer, on_handle_closed);
    uv_close((uv_handle_t *)&server->sweep, on_handle_closed);
    uv_close((uv_handle_t *)&server->wake, on_handle_closed);
    MHD_stop_daemon(server->daemon);
    server->daemon = NULL;
}
