/* Passing questions on by UDP; see the header. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "agent/resolver_internal.h"
#include "base/fs.h"
#include "base/id.h"

enum { DNS_PORT = 53, FILE_MAX = 64 * 1024, PORT_ATTEMPTS = 16 };

enum family { FAMILY_IPV4, FAMILY_IPV6, FAMILIES };

/* A question by UDP that is under way. Each question is asked from a port of its own, so that
 * nobody else's packet can be taken for its answer by chance; from two where servers have both
 * kinds of addresses, since a socket for both would not reach 127.0.0.1. */
struct fl_resolver_query {
    LIST_ENTRY(fl_resolver_query) all;
    struct fl_resolver *resolver;
    struct sockaddr_in client;
    uint16_t id; /* the client's; upstream it is another one */
    size_t n;
    uint8_t bytes[FL_DNS_QUERY_MAX];
    size_t server; /* which one is asked */
    uv_udp_t sockets[FAMILIES];
    bool is_open[FAMILIES];
    uv_timer_t timer;
    unsigned handles;
    bool ended;
};

/* ---- the host's name servers ---- */

static void add_server(struct fl_resolver *resolver, struct fl_str text)
{
    char z[INET6_ADDRSTRLEN];
    union fl_resolver_address address = {0};
    if (text.n >= sizeof(z) || resolver->server_count == FL_RESOLVER_SERVERS_MAX)
        return;
    memcpy(z, text.p, text.n);
    z[text.n] = '\0';
    if (uv_ip4_addr(z, DNS_PORT, &address.v4) != 0 && uv_ip6_addr(z, DNS_PORT, &address.v6) != 0)
        return;
    resolver->servers[resolver->server_count++] = address;
}

void fl_resolver_find_servers(struct fl_resolver *resolver)
{
    struct stat now;
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(FILE_MAX);
    if (stat(resolver->resolv_conf, &now) < 0 || (now.st_mtim.tv_sec == resolver->read_at.tv_sec &&
                                                  now.st_mtim.tv_nsec == resolver->read_at.tv_nsec))
        return;
    FL_CLEANUP_FD int fd = open(resolver->resolv_conf, O_RDONLY | O_CLOEXEC);
    char *at = fl_buf_reserve(&text, FILE_MAX - 1);
    ssize_t n = fd >= 0 && at ? read(fd, at, FILE_MAX - 1) : -1;
    struct fl_str rest = {at, n > 0 ? (size_t)n : 0}, line;
    resolver->server_count = 0;
    resolver->read_at = now.st_mtim;
    while (fl_str_split(&rest, '\n', &line))
        if (fl_str_starts(line, FL_STR("nameserver")))
            add_server(resolver, fl_str_trim(fl_str_from(line, strlen("nameserver"))));
    if (resolver->server_count == 0) /* resolv.conf(5): the one on the machine itself */
        add_server(resolver, FL_STR("127.0.0.1"));
}

/* ---- one question ---- */

static void on_query_closed(uv_handle_t *handle)
{
    struct fl_resolver_query *query = handle->data;
    struct fl_resolver *resolver = query->resolver;
    if (--query->handles > 0)
        return;
    free(query);
    fl_resolver_handle_closed(resolver);
}

static void end(struct fl_resolver_query *query)
{
    if (query->ended)
        return;
    query->ended = true;
    LIST_REMOVE(query, all);
    query->resolver->query_count--;
    uv_close((uv_handle_t *)&query->timer, on_query_closed);
    for (size_t i = 0; i < FAMILIES; i++)
        if (query->is_open[i])
            uv_close((uv_handle_t *)&query->sockets[i], on_query_closed);
}

/* A message that does not fit into the socket's buffer is lost, as messages by UDP are. */
static void send_to(struct fl_resolver *resolver, const struct sockaddr_in *client,
                    const uint8_t *bytes, size_t n)
{
    uv_buf_t buf = uv_buf_init((char *)bytes, (unsigned)n);
    (void)uv_udp_try_send(&resolver->udp, &buf, 1, (const struct sockaddr *)client);
}

static void refuse(struct fl_resolver *resolver, const struct sockaddr_in *client,
                   const uint8_t *bytes, size_t n, enum fl_dns_rcode rcode)
{
    uint8_t refusal[FL_DNS_REFUSAL_MAX];
    send_to(resolver, client, refusal, fl_dns_refuse(bytes, n, rcode, refusal));
}

static void give_up(struct fl_resolver_query *query)
{
    fl_dns_set_id(query->bytes, query->id);
    refuse(query->resolver, &query->client, query->bytes, query->n, FL_DNS_SERVFAIL);
    end(query);
}

static void ask(struct fl_resolver_query *query);

static void on_timeout(uv_timer_t *timer)
{
    struct fl_resolver_query *query = timer->data;
    query->server++;
    ask(query);
}

static void lend_buffer(uv_handle_t *handle, FL_UNUSED size_t suggested, uv_buf_t *buf)
{
    struct fl_resolver_query *query = handle->data;
    *buf = uv_buf_init(query->resolver->incoming, sizeof(query->resolver->incoming));
}

static bool is_from(const struct sockaddr *from, const union fl_resolver_address *server)
{
    const struct sockaddr_in *v4 = (const void *)from;
    const struct sockaddr_in6 *v6 = (const void *)from;
    if (from->sa_family != server->any.sa_family)
        return false;
    if (from->sa_family == AF_INET)
        return v4->sin_port == server->v4.sin_port &&
               v4->sin_addr.s_addr == server->v4.sin_addr.s_addr;
    return v6->sin6_port == server->v6.sin6_port &&
           IN6_ARE_ADDR_EQUAL(&v6->sin6_addr, &server->v6.sin6_addr);
}

static void on_answer(uv_udp_t *socket, ssize_t n, const uv_buf_t *buf, const struct sockaddr *from,
                      unsigned flags)
{
    struct fl_resolver_query *query = socket->data;
    struct fl_resolver *resolver = query->resolver;
    if (n <= 0 || !from || flags & UV_UDP_PARTIAL || query->ended ||
        !is_from(from, &resolver->servers[query->server]) ||
        !fl_dns_is_answer(query->bytes, query->n, (const uint8_t *)buf->base, (size_t)n))
        return;
    fl_dns_set_id((uint8_t *)buf->base, query->id);
    send_to(resolver, &query->client, (const uint8_t *)buf->base, (size_t)n);
    end(query);
}

static int open_socket(struct fl_resolver_query *query, enum family family)
{
    static const struct sockaddr_in any4 = {.sin_family = AF_INET};
    static const struct sockaddr_in6 any6 = {.sin6_family = AF_INET6};
    uv_udp_t *socket = &query->sockets[family];
    const void *any = family == FAMILY_IPV6 ? (const void *)&any6 : (const void *)&any4;
    (void)uv_udp_init(query->resolver->loop, socket);
    socket->data = query;
    query->is_open[family] = true;
    query->handles++;
    int rc = uv_udp_bind(socket, any, 0);
    return rc < 0 ? rc : uv_udp_recv_start(socket, lend_buffer, on_answer);
}

static int send_question(struct fl_resolver_query *query, const struct sockaddr *server)
{
    enum family family = server->sa_family == AF_INET6 ? FAMILY_IPV6 : FAMILY_IPV4;
    uv_buf_t buf = uv_buf_init((char *)query->bytes, (unsigned)query->n);
    int rc = query->is_open[family] ? 0 : open_socket(query, family);
    return rc < 0 ? rc : uv_udp_try_send(&query->sockets[family], &buf, 1, server);
}

/* Asks the server whose turn it is, or the next one that can be; behind the last one it is given
 * up.
 */
static void ask(struct fl_resolver_query *query)
{
    struct fl_resolver *resolver = query->resolver;
    for (; query->server < resolver->server_count; query->server++) {
        (void)uv_timer_start(&query->timer, on_timeout, FL_RESOLVER_PATIENCE_MS, 0);
        if (send_question(query, &resolver->servers[query->server].any) >= 0)
            return;
    }
    give_up(query);
}

static void pass_on(struct fl_resolver *resolver, const struct sockaddr_in *client,
                    const uint8_t *bytes, size_t n)
{
    uint8_t id[2];
    struct fl_resolver_query *query = fl_calloc(1, sizeof(*query));
    query->resolver = resolver;
    query->client = *client;
    query->id = fl_dns_id(bytes);
    query->n = n;
    memcpy(query->bytes, bytes, n);
    fl_random_bytes(id, sizeof(id));
    fl_dns_set_id(query->bytes, fl_dns_id(id));
    query->timer.data = query;
    (void)uv_timer_init(resolver->loop, &query->timer);
    query->handles = 1;
    resolver->handles++;
    resolver->query_count++;
    LIST_INSERT_HEAD(&resolver->queries, query, all);
    ask(query);
}

/* ---- listening ---- */

static bool has_room(const struct fl_resolver *resolver, const struct sockaddr_in *client)
{
    size_t of_client = 0;
    const struct fl_resolver_query *query;
    LIST_FOREACH (query, &resolver->queries, all)
        of_client += query->client.sin_addr.s_addr == client->sin_addr.s_addr;
    return resolver->query_count < FL_RESOLVER_QUERIES_MAX && of_client < FL_RESOLVER_BY_CLIENT_MAX;
}

static void lend_incoming(uv_handle_t *handle, FL_UNUSED size_t suggested, uv_buf_t *buf)
{
    struct fl_resolver *resolver = handle->data;
    *buf = uv_buf_init(resolver->incoming, sizeof(resolver->incoming));
}

static void on_question(uv_udp_t *socket, ssize_t n, const uv_buf_t *buf,
                        const struct sockaddr *from, unsigned flags)
{
    struct fl_resolver *resolver = socket->data;
    const struct sockaddr_in *client = (const void *)from;
    const uint8_t *bytes = (const uint8_t *)buf->base;
    enum fl_dns_rcode rcode;
    if (n <= 0 || !from || flags & UV_UDP_PARTIAL)
        return;
    switch (fl_dns_judge(bytes, (size_t)n, &rcode)) {
    case FL_DNS_IGNORE:
        return;
    case FL_DNS_REFUSE:
        refuse(resolver, client, bytes, (size_t)n, rcode);
        return;
    case FL_DNS_FORWARD:
        break;
    }
    fl_resolver_find_servers(resolver);
    if (has_room(resolver, client))
        pass_on(resolver, client, bytes, (size_t)n);
    else
        refuse(resolver, client, bytes, (size_t)n, FL_DNS_SERVFAIL);
}

static int bound_port(const uv_udp_t *socket, uint16_t *ret_port)
{
    struct sockaddr_in name;
    int size = sizeof(name);
    int rc = uv_udp_getsockname(socket, (struct sockaddr *)&name, &size);
    if (rc == 0)
        *ret_port = ntohs(name.sin_port);
    return rc;
}

/* UDP takes any free port, TCP has to have the same one. */
static int listen_both(struct fl_resolver *resolver)
{
    struct sockaddr_in address;
    (void)uv_ip4_addr("127.0.0.1", 0, &address);
    int rc = uv_udp_bind(&resolver->udp, (const struct sockaddr *)&address, 0);
    if (rc == 0)
        rc = bound_port(&resolver->udp, &resolver->port);
    address.sin_port = htons(resolver->port);
    return rc == 0 ? fl_resolver_listen_tcp(resolver, &address) : rc;
}

void fl_resolver_handle_closed(struct fl_resolver *resolver)
{
    if (--resolver->handles == 0)
        free(resolver);
}

static void on_listener_closed(uv_handle_t *handle)
{
    fl_resolver_handle_closed(handle->data);
}

static struct fl_resolver *new_resolver(uv_loop_t *loop, const char *resolv_conf)
{
    struct fl_resolver *resolver = fl_calloc(1, sizeof(*resolver));
    resolver->loop = loop;
    resolver->resolv_conf = resolv_conf;
    resolver->udp.data = resolver->tcp.data = resolver;
    (void)uv_udp_init(loop, &resolver->udp);
    (void)uv_tcp_init(loop, &resolver->tcp);
    resolver->handles = 2;
    return resolver;
}

int fl_resolver_open(uv_loop_t *loop, const char *resolv_conf, struct fl_resolver **ret_resolver,
                     struct fl_err *err)
{
    int rc = -EADDRINUSE;
    for (int i = 0; i < PORT_ATTEMPTS && rc == -EADDRINUSE; i++) {
        struct fl_resolver *resolver = new_resolver(loop, resolv_conf);
        rc = listen_both(resolver);
        if (rc == 0)
            rc = uv_udp_recv_start(&resolver->udp, lend_incoming, on_question);
        if (rc == 0)
            *ret_resolver = resolver;
        else
            fl_resolver_close(resolver);
    }
    return rc < 0 ? fl_err_set(err, rc, "no resolver for tasks: %s", uv_strerror(rc)) : 0;
}

uint16_t fl_resolver_port(const struct fl_resolver *resolver)
{
    return resolver->port;
}

void fl_resolver_close(struct fl_resolver *resolver)
{
    if (!resolver)
        return;
    resolver->closing = true;
    while (!LIST_EMPTY(&resolver->queries))
        end(LIST_FIRST(&resolver->queries));
    fl_resolver_close_tcp(resolver);
    uv_close((uv_handle_t *)&resolver->udp, on_listener_closed);
    uv_close((uv_handle_t *)&resolver->tcp, on_listener_closed);
}
