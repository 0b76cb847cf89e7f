/* Passages: one per connection of a task's, from its coming to its end.
 *
 * A passage is freed at once when it ends. Handles of the loop and a name's resolution live longer,
 * on their own; their data is NULL by then. */
#include "agent/tunnel.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <sys/queue.h>
#include <sys/socket.h>

#include "agent/port_file.h"
#include "base/clock.h"
#include "base/util.h"
#include "net/tls_relay.h"

enum { ACCEPTS = 64, BACKLOG = 128, SETUP_MS = 10 * 1000, SWEEP_MS = 1000 };

#define PORT_FILE "tunnel.json"

enum phase { RESOLVING, CONNECTING, SHAKING_HANDS, CARRYING };

struct passage {
    LIST_ENTRY(passage) link;
    struct fl_tunnel *tunnel;
    enum phase phase;
    struct in_addr peer;
    uv_getaddrinfo_t *resolving;
    struct addrinfo *found; /* all addresses of the server */
    struct addrinfo *next;  /* to be tried after the present one */
    int outer;              /* to the server; -1 */
    uv_poll_t *outer_poll, *plain_poll;
    struct fl_tls_relay relay; /* plain: the task's */
    int64_t deadline_ms;
};

struct fl_tunnel {
    struct fl_tunnel_config config;
    int listener;
    uint16_t port;
    unsigned count;
    uv_poll_t poll;
    uv_timer_t sweep;
    unsigned open_handles;
    LIST_HEAD(, passage) passages;
};

static void on_event(uv_poll_t *poll, int status, int events);

/* ---- a passage's end ---- */

static void free_handle(uv_handle_t *handle)
{
    free(handle);
}

static uv_poll_t *new_poll(struct passage *passage, int fd)
{
    uv_poll_t *poll = fl_calloc(1, sizeof(*poll));
    FL_ASSERT(uv_poll_init(passage->tunnel->config.loop, poll, fd) == 0);
    poll->data = passage;
    return poll;
}

static void close_poll(uv_poll_t *poll)
{
    if (!poll)
        return;
    poll->data = NULL;
    uv_close((uv_handle_t *)poll, free_handle);
}

static void disconnect(struct passage *passage)
{
    fl_tls_link_free(FL_TAKE_PTR(passage->relay.tls));
    close_poll(FL_TAKE_PTR(passage->outer_poll));
    if (passage->outer >= 0)
        (void)close(FL_TAKE_FD(passage->outer));
}

static void end(struct passage *passage)
{
    LIST_REMOVE(passage, link);
    passage->tunnel->count--;
    disconnect(passage);
    close_poll(passage->plain_poll);
    (void)close(passage->relay.plain);
    uv_freeaddrinfo(passage->found);
    if (passage->resolving) {
        passage->resolving->data = NULL;
        (void)uv_cancel((uv_req_t *)passage->resolving);
    }
    free(passage);
}

/* ---- carrying ---- */

/* False: it is over. The server has the last word: its end is the passage's. */
static bool carry(struct passage *passage)
{
    bool moved;
    bool lives = fl_tls_relay_move(&passage->relay, &moved);
    if (moved)
        passage->deadline_ms = fl_clock_mono_ms() + passage->tunnel->config.idle_ms;
    fl_tls_relay_watch(&passage->relay, passage->outer_poll, passage->plain_poll, on_event);
    return lives && !fl_tls_flow_is_over(&passage->relay.in);
}

static bool shake_hands(struct passage *passage)
{
    bool wants_write = false;
    int r = fl_tls_link_handshake(passage->relay.tls, &wants_write, NULL);
    if (r == 0)
        fl_tls_relay_poll(passage->outer_poll, wants_write ? UV_WRITABLE : UV_READABLE, on_event);
    if (r <= 0)
        return r == 0;
    passage->phase = CARRYING;
    passage->plain_poll = new_poll(passage, passage->relay.plain);
    passage->deadline_ms = fl_clock_mono_ms() + passage->tunnel->config.idle_ms;
    return carry(passage);
}

/* ---- connecting ---- */

static bool is_same_host(const struct sockaddr_storage *a, const struct sockaddr_storage *b)
{
    const struct sockaddr_in *a4 = (const void *)a, *b4 = (const void *)b;
    const struct sockaddr_in6 *a6 = (const void *)a, *b6 = (const void *)b;
    if (a->ss_family == AF_INET && b->ss_family == AF_INET)
        return a4->sin_addr.s_addr == b4->sin_addr.s_addr ||
               ntohl(b4->sin_addr.s_addr) >> 24 == 127;
    return a->ss_family == b->ss_family &&
           memcmp(&a6->sin6_addr, &b6->sin6_addr, sizeof(a6->sin6_addr)) == 0;
}

/* Whoever connects to an address of this machine's own does so from that same address. */
static bool leads_here(int fd)
{
    struct sockaddr_storage own, other;
    socklen_t own_size = sizeof(own), other_size = sizeof(other);
    return getsockname(fd, (struct sockaddr *)&own, &own_size) < 0 ||
           getpeername(fd, (struct sockaddr *)&other, &other_size) < 0 ||
           is_same_host(&own, &other);
}

static bool connect_next(struct passage *passage)
{
    const int one = 1;
    while (passage->next) {
        const struct addrinfo *address = passage->next;
        passage->next = address->ai_next;
        disconnect(passage);
        passage->outer = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (passage->outer < 0)
            continue;
        (void)setsockopt(passage->outer, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        if (connect(passage->outer, address->ai_addr, address->ai_addrlen) < 0 &&
            errno != EINPROGRESS)
            continue;
        passage->phase = CONNECTING;
        passage->outer_poll = new_poll(passage, passage->outer);
        fl_tls_relay_poll(passage->outer_poll, UV_WRITABLE, on_event);
        return true;
    }
    return false;
}

static bool on_connected(struct passage *passage)
{
    const struct fl_tunnel_config *config = &passage->tunnel->config;
    int error = 0;
    socklen_t size = sizeof(error);
    if (getsockopt(passage->outer, SOL_SOCKET, SO_ERROR, &error, &size) < 0 || error)
        return connect_next(passage);
    if (!config->allow_here && leads_here(passage->outer))
        return false;
    passage->phase = SHAKING_HANDS;
    passage->relay.tls = fl_tls_link_new(passage->outer, config->pins);
    return shake_hands(passage);
}

static bool proceed(struct passage *passage)
{
    switch (passage->phase) {
    case RESOLVING:
        return connect_next(passage);
    case CONNECTING:
        return on_connected(passage);
    case SHAKING_HANDS:
        return shake_hands(passage);
    case CARRYING:
        break;
    }
    return carry(passage);
}

static void on_event(uv_poll_t *poll, FL_UNUSED int status, FL_UNUSED int events)
{
    struct passage *passage = poll->data;
    if (passage && !proceed(passage))
        end(passage);
}

/* ---- where the server is ---- */

static void on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *found)
{
    struct passage *passage = request->data;
    free(request);
    if (!passage) {
        uv_freeaddrinfo(found);
        return;
    }
    passage->resolving = NULL;
    passage->found = passage->next = status == 0 ? found : NULL;
    if (!proceed(passage))
        end(passage);
}

/* "https://host:port/…" → host and port, in the arena; false for any other way. */
static bool split_url(struct fl_str url, struct fl_arena *arena, const char **ret_host,
                      const char **ret_port)
{
    const struct fl_str scheme = FL_STR("https://");
    if (!fl_str_starts(url, scheme))
        return false;
    struct fl_str host = fl_str_from(url, scheme.n), port = FL_STR("443");
    ptrdiff_t slash = fl_str_index(host, '/');
    host = slash < 0 ? host : fl_str_sub(host, 0, (size_t)slash);
    ptrdiff_t colon = fl_str_rindex(host, ':');
    if (colon > 0 && host.p[host.n - 1] != ']') {
        port = fl_str_from(host, (size_t)colon + 1);
        host = fl_str_sub(host, 0, (size_t)colon);
    }
    if (fl_str_starts(host, FL_STR("[")) && host.n > 2)
        host = fl_str_sub(host, 1, host.n - 2);
    *ret_host = fl_str_z(arena, host);
    *ret_port = fl_str_z(arena, port);
    return true;
}

static bool resolve(struct passage *passage)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    const struct fl_tunnel_config *config = &passage->tunnel->config;
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    const char *host, *port;
    if (!split_url(config->server_url(config->context), arena, &host, &port))
        return false;
    uv_getaddrinfo_t *request = fl_calloc(1, sizeof(*request));
    request->data = passage;
    if (uv_getaddrinfo(config->loop, request, on_resolved, host, port, &hints) < 0) {
        free(request);
        return false;
    }
    passage->resolving = request;
    return true;
}

/* ---- coming ---- */

static void on_sweep(uv_timer_t *timer)
{
    struct fl_tunnel *tunnel = timer->data;
    struct passage *passage, *next;
    int64_t now_ms = fl_clock_mono_ms();
    for (passage = LIST_FIRST(&tunnel->passages); passage; passage = next) {
        next = LIST_NEXT(passage, link);
        if (now_ms > passage->deadline_ms)
            end(passage);
    }
    if (LIST_EMPTY(&tunnel->passages))
        (void)uv_timer_stop(timer);
}

static bool has_room(const struct fl_tunnel *tunnel, struct in_addr peer)
{
    const struct passage *passage;
    unsigned of_peer = 0;
    LIST_FOREACH (passage, &tunnel->passages, link)
        of_peer += passage->peer.s_addr == peer.s_addr;
    return tunnel->count < tunnel->config.max_connections && of_peer < tunnel->config.max_per_peer;
}

static void add_passage(struct fl_tunnel *tunnel, int fd, struct in_addr peer)
{
    const int one = 1;
    if (!has_room(tunnel, peer)) {
        (void)close(fd);
        return;
    }
    struct passage *passage = fl_calloc(1, sizeof(*passage));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    passage->tunnel = tunnel;
    passage->peer = peer;
    passage->outer = -1;
    passage->relay.plain = fd;
    passage->deadline_ms = fl_clock_mono_ms() + SETUP_MS;
    if (LIST_EMPTY(&tunnel->passages))
        (void)uv_timer_start(&tunnel->sweep, on_sweep, SWEEP_MS, SWEEP_MS);
    LIST_INSERT_HEAD(&tunnel->passages, passage, link);
    tunnel->count++;
    if (!resolve(passage))
        end(passage);
}

static void on_connection(uv_poll_t *poll, FL_UNUSED int status, FL_UNUSED int events)
{
    struct fl_tunnel *tunnel = poll->data;
    for (int i = 0; i < ACCEPTS; i++) {
        struct sockaddr_in peer;
        socklen_t size = sizeof(peer);
        int fd = accept4(tunnel->listener, (struct sockaddr *)&peer, &size,
                         SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0)
            return;
        add_passage(tunnel, fd, peer.sin_addr);
    }
}

/* ---- open and close ---- */

static int listen_at(struct fl_tunnel *tunnel, uint16_t port)
{
    const int one = 1;
    struct sockaddr_in at = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof(at);
    FL_CLEANUP_FD int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
        bind(fd, (const struct sockaddr *)&at, sizeof(at)) < 0 || listen(fd, BACKLOG) < 0 ||
        getsockname(fd, (struct sockaddr *)&at, &size) < 0)
        return -errno;
    tunnel->port = ntohs(at.sin_port);
    tunnel->listener = FL_TAKE_FD(fd);
    return 0;
}

/* Several installations on one host share it without an argument. */
static int find_port(struct fl_tunnel *tunnel)
{
    struct fl_str dir = tunnel->config.state_dir;
    uint16_t kept = fl_port_file_read(dir, PORT_FILE);
    const uint16_t wanted[] = {kept ? kept : FL_TUNNEL_PORT, FL_TUNNEL_PORT, 0};
    int r = -EADDRINUSE;
    for (size_t i = 0; i < FL_ARRAY_SIZE(wanted) && r == -EADDRINUSE; i++)
        r = listen_at(tunnel, wanted[i]);
    if (r == 0 && tunnel->port != kept)
        fl_port_file_write(dir, PORT_FILE, tunnel->port);
    return r;
}

int fl_tunnel_open(const struct fl_tunnel_config *config, struct fl_tunnel **ret_tunnel,
                   struct fl_err *err)
{
    struct fl_tunnel *tunnel = fl_calloc(1, sizeof(*tunnel));
    tunnel->config = *config;
    LIST_INIT(&tunnel->passages);
    int r = find_port(tunnel);
    if (r < 0) {
        free(tunnel);
        return fl_err_errno(err, r, "no port for the tasks' way to the server");
    }
    FL_ASSERT(uv_poll_init(config->loop, &tunnel->poll, tunnel->listener) == 0);
    FL_ASSERT(uv_timer_init(config->loop, &tunnel->sweep) == 0);
    tunnel->poll.data = tunnel->sweep.data = tunnel;
    tunnel->open_handles = 2;
    (void)uv_poll_start(&tunnel->poll, UV_READABLE, on_connection);
    *ret_tunnel = tunnel;
    return 0;
}

uint16_t fl_tunnel_port(const struct fl_tunnel *tunnel)
{
    return tunnel->port;
}

unsigned fl_tunnel_count(const struct fl_tunnel *tunnel)
{
    return tunnel->count;
}

static void on_closed(uv_handle_t *handle)
{
    struct fl_tunnel *tunnel = handle->data;
    if (--tunnel->open_handles == 0)
        free(tunnel);
}

void fl_tunnel_close(struct fl_tunnel *tunnel)
{
    if (!tunnel)
        return;
    while (!LIST_EMPTY(&tunnel->passages))
        end(LIST_FIRST(&tunnel->passages));
    uv_close((uv_handle_t *)&tunnel->poll, on_closed);
    uv_close((uv_handle_t *)&tunnel->sweep, on_closed);
    (void)close(tunnel->listener);
}
