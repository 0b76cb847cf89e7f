/* Passing questions on by TCP: one after the other on a connection, each over a connection of its
 * own to the host's name server. See resolver.h. */
#include <errno.h>

#include "agent/resolver_internal.h"
#include "base/util.h"

enum { LENGTH = 2, BACKLOG = 64 };

/* A message with its length before it. */
struct framed {
    size_t n;
    uint8_t bytes[LENGTH + FL_DNS_MESSAGE_MAX];
};

struct fl_resolver_connection {
    LIST_ENTRY(fl_resolver_connection) all;
    struct fl_resolver *resolver;
    struct sockaddr_in peer;
    uv_tcp_t client;
    uv_tcp_t upstream;
    uv_timer_t timer; /* that anything happens */
    uv_connect_t connecting;
    uv_write_t writing;
    struct framed question; /* and what the client has sent behind it */
    struct framed answer;
    size_t server;
    bool asking; /* upstream is open */
    bool ended;
    unsigned handles;
};

static void end(struct fl_resolver_connection *connection);

static size_t length_of(const struct framed *framed)
{
    return framed->n < LENGTH ? SIZE_MAX : (size_t)(framed->bytes[0] << 8 | framed->bytes[1]);
}

static bool is_whole(const struct framed *framed)
{
    size_t length = length_of(framed);
    return length != SIZE_MAX && framed->n >= LENGTH + length;
}

static void put_length(struct framed *framed, size_t n)
{
    framed->bytes[0] = (uint8_t)(n >> 8);
    framed->bytes[1] = (uint8_t)n;
    framed->n = LENGTH + n;
}

static void on_closed(uv_handle_t *handle)
{
    struct fl_resolver_connection *connection = handle->data;
    struct fl_resolver *resolver = connection->resolver;
    if (--connection->handles > 0)
        return;
    free(connection);
    fl_resolver_handle_closed(resolver);
}

static void end(struct fl_resolver_connection *connection)
{
    if (connection->ended)
        return;
    connection->ended = true;
    LIST_REMOVE(connection, all);
    connection->resolver->connection_count--;
    if (connection->asking)
        uv_close((uv_handle_t *)&connection->upstream, on_closed);
    uv_close((uv_handle_t *)&connection->client, on_closed);
    uv_close((uv_handle_t *)&connection->timer, on_closed);
}

static void on_idle(uv_timer_t *timer)
{
    end(timer->data);
}

static void touch(struct fl_resolver_connection *connection)
{
    (void)uv_timer_start(&connection->timer, on_idle, FL_RESOLVER_IDLE_MS, 0);
}

static void take_question(struct fl_resolver_connection *connection);

static void on_answered(uv_write_t *request, int status)
{
    struct fl_resolver_connection *connection = request->data;
    if (status < 0 || connection->ended) {
        end(connection);
        return;
    }
    size_t used = LENGTH + length_of(&connection->question);
    connection->question.n -= used;
    memmove(connection->question.bytes, connection->question.bytes + used, connection->question.n);
    take_question(connection);
}

static void reply(struct fl_resolver_connection *connection)
{
    uv_buf_t buf = uv_buf_init((char *)connection->answer.bytes, (unsigned)connection->answer.n);
    connection->writing.data = connection;
    touch(connection);
    if (uv_write(&connection->writing, (uv_stream_t *)&connection->client, &buf, 1, on_answered) <
        0)
        end(connection);
}

static void refuse(struct fl_resolver_connection *connection, enum fl_dns_rcode rcode)
{
    const struct framed *question = &connection->question;
    put_length(&connection->answer, fl_dns_refuse(question->bytes + LENGTH, length_of(question),
                                                  rcode, connection->answer.bytes + LENGTH));
    reply(connection);
}

/* ---- upstream ---- */

static void ask(struct fl_resolver_connection *connection);

/* The handle is used again for the next question, or the next server. */
static void on_upstream_closed(uv_handle_t *handle)
{
    struct fl_resolver_connection *connection = handle->data;
    bool is_answered = is_whole(&connection->answer);
    on_closed(handle);
    if (connection->ended)
        return;
    if (is_answered)
        reply(connection);
    else
        ask(connection);
}

static void close_upstream(struct fl_resolver_connection *connection, bool is_answered)
{
    if (!connection->asking || connection->ended)
        return;
    connection->asking = false;
    if (!is_answered) {
        connection->answer.n = 0;
        connection->server++;
    }
    uv_close((uv_handle_t *)&connection->upstream, on_upstream_closed);
}

static void lend_answer(uv_handle_t *handle, FL_UNUSED size_t suggested, uv_buf_t *buf)
{
    struct framed *answer = &((struct fl_resolver_connection *)handle->data)->answer;
    *buf = uv_buf_init((char *)answer->bytes + answer->n,
                       (unsigned)(sizeof(answer->bytes) - answer->n));
}

static void on_upstream(uv_stream_t *stream, ssize_t n, FL_UNUSED const uv_buf_t *buf)
{
    struct fl_resolver_connection *connection = stream->data;
    struct framed *question = &connection->question, *answer = &connection->answer;
    if (n == 0 || connection->ended)
        return;
    if (n < 0) {
        close_upstream(connection, false);
        return;
    }
    answer->n += (size_t)n;
    if (!is_whole(answer))
        return;
    answer->n = LENGTH + length_of(answer);
    close_upstream(connection, fl_dns_is_answer(question->bytes + LENGTH, length_of(question),
                                                answer->bytes + LENGTH, length_of(answer)));
}

static void on_asked(uv_write_t *request, int status)
{
    struct fl_resolver_connection *connection = request->data;
    if (status < 0)
        close_upstream(connection, false);
}

static void on_connected(uv_connect_t *request, int status)
{
    struct fl_resolver_connection *connection = request->data;
    struct framed *question = &connection->question;
    uv_buf_t buf = uv_buf_init((char *)question->bytes, (unsigned)(LENGTH + length_of(question)));
    if (connection->ended)
        return;
    connection->writing.data = connection;
    if (status < 0 ||
        uv_write(&connection->writing, (uv_stream_t *)&connection->upstream, &buf, 1, on_asked) <
            0 ||
        uv_read_start((uv_stream_t *)&connection->upstream, lend_answer, on_upstream) < 0)
        close_upstream(connection, false);
}

static void ask(struct fl_resolver_connection *connection)
{
    struct fl_resolver *resolver = connection->resolver;
    connection->answer.n = 0;
    if (connection->server >= resolver->server_count) {
        refuse(connection, FL_DNS_SERVFAIL);
        return;
    }
    touch(connection);
    (void)uv_tcp_init(resolver->loop, &connection->upstream);
    connection->upstream.data = connection->connecting.data = connection;
    connection->asking = true;
    connection->handles++;
    if (uv_tcp_connect(&connection->connecting, &connection->upstream,
                       &resolver->servers[connection->server].any, on_connected) < 0)
        close_upstream(connection, false);
}

/* ---- the client ---- */

static void lend_question(uv_handle_t *handle, FL_UNUSED size_t suggested, uv_buf_t *buf)
{
    struct framed *question = &((struct fl_resolver_connection *)handle->data)->question;
    *buf = uv_buf_init((char *)question->bytes + question->n,
                       (unsigned)(LENGTH + FL_DNS_QUERY_MAX - question->n));
}

static void on_client(uv_stream_t *stream, ssize_t n, FL_UNUSED const uv_buf_t *buf)
{
    struct fl_resolver_connection *connection = stream->data;
    if (n < 0) {
        end(connection);
        return;
    }
    connection->question.n += (size_t)n;
    (void)uv_read_stop(stream);
    take_question(connection);
}

/* Answers the question that is there, or reads on. While one is under way nothing is read. A
 * message of more than is taken ends the connection: the rest of it would be read as the next one.
 */
static void take_question(struct fl_resolver_connection *connection)
{
    struct framed *question = &connection->question;
    enum fl_dns_rcode rcode;
    if (!is_whole(question)) {
        bool is_too_long = question->n >= LENGTH && length_of(question) > FL_DNS_QUERY_MAX;
        touch(connection);
        if (is_too_long ||
            uv_read_start((uv_stream_t *)&connection->client, lend_question, on_client) < 0)
            end(connection);
        return;
    }
    switch (fl_dns_judge(question->bytes + LENGTH, length_of(question), &rcode)) {
    case FL_DNS_IGNORE:
        end(connection);
        break;
    case FL_DNS_REFUSE:
        refuse(connection, rcode);
        break;
    case FL_DNS_FORWARD:
        fl_resolver_find_servers(connection->resolver);
        connection->server = 0;
        ask(connection);
        break;
    }
}

static bool has_room(const struct fl_resolver *resolver, const struct sockaddr_in *peer)
{
    size_t of_client = 0;
    const struct fl_resolver_connection *connection;
    LIST_FOREACH (connection, &resolver->connections, all)
        of_client += connection->peer.sin_addr.s_addr == peer->sin_addr.s_addr;
    return resolver->connection_count < FL_RESOLVER_CONNECTIONS_MAX &&
           of_client < FL_RESOLVER_BY_CLIENT_TCP_MAX;
}

/* One that there is no room for is taken and closed: it would wait in the kernel otherwise. */
static void on_connection(uv_stream_t *listener, int status)
{
    struct fl_resolver *resolver = listener->data;
    if (status < 0 || resolver->closing)
        return;
    struct fl_resolver_connection *connection = fl_calloc(1, sizeof(*connection));
    int size = sizeof(connection->peer);
    connection->resolver = resolver;
    connection->client.data = connection->timer.data = connection;
    (void)uv_tcp_init(resolver->loop, &connection->client);
    (void)uv_timer_init(resolver->loop, &connection->timer);
    connection->handles = 2;
    resolver->handles++;
    int rc = uv_accept(listener, (uv_stream_t *)&connection->client);
    if (rc == 0)
        rc = uv_tcp_getpeername(&connection->client, (struct sockaddr *)&connection->peer, &size);
    bool is_welcome = rc == 0 && has_room(resolver, &connection->peer);
    resolver->connection_count++;
    LIST_INSERT_HEAD(&resolver->connections, connection, all);
    if (is_welcome)
        take_question(connection);
    else
        end(connection);
}

int fl_resolver_listen_tcp(struct fl_resolver *resolver, const struct sockaddr_in *address)
{
    int rc = uv_tcp_bind(&resolver->tcp, (const struct sockaddr *)address, 0);
    return rc < 0 ? rc : uv_listen((uv_stream_t *)&resolver->tcp, BACKLOG, on_connection);
}

void fl_resolver_close_tcp(struct fl_resolver *resolver)
{
    while (!LIST_EMPTY(&resolver->connections))
        end(LIST_FIRST(&resolver->connections));
}
