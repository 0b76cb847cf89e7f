/* Tunnels: one per connection, between its socket (TLS) and our end of a socket pair (plain).
 *
 * The relay moves the bytes; what is here is who may come, how long a handshake may last, and the
 * end. */
#include "net/tls_front.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <sys/queue.h>
#include <sys/socket.h>

#include "net/http_internal.h"
#include "net/tls_relay.h"

enum { ACCEPTS = 64, HANDSHAKE_MS = 10 * 1000, SWEEP_MS = 1000 };

struct tunnel {
    LIST_ENTRY(tunnel) link;
    struct fl_tls_front *front;
    struct fl_tls_relay relay;
    int outer;     /* the client's socket; the relay has our end of the pair */
    int handed_on; /* the other end, until the HTTP server has it; -1 */
    struct sockaddr_storage peer;
    socklen_t peer_size;
    uv_poll_t outer_poll, inner_poll;
    unsigned open_handles;
    int64_t deadline_ms; /* of the handshake; 0: it is done */
    bool wants_write;    /* during the handshake */
    bool is_over;
};

struct fl_tls_front {
    uv_loop_t *loop;
    struct fl_http_server *http;
    struct fl_tls_identity *identity;
    int listener;
    uint16_t port;
    unsigned max_connections, count;
    uv_poll_t poll;
    uv_timer_t sweep;
    unsigned open_handles;
    LIST_HEAD(, tunnel) tunnels;
};

static void on_event(uv_poll_t *poll, int status, int events);

/* ---- a tunnel's end ---- */

static void on_tunnel_closed(uv_handle_t *handle)
{
    struct tunnel *tunnel = handle->data;
    if (--tunnel->open_handles == 0)
        free(tunnel);
}

static void end(struct tunnel *tunnel)
{
    if (tunnel->is_over)
        return;
    tunnel->is_over = true;
    LIST_REMOVE(tunnel, link);
    tunnel->front->count--;
    fl_tls_link_free(FL_TAKE_PTR(tunnel->relay.tls));
    uv_close((uv_handle_t *)&tunnel->outer_poll, on_tunnel_closed);
    uv_close((uv_handle_t *)&tunnel->inner_poll, on_tunnel_closed);
    (void)close(tunnel->outer);
    (void)close(tunnel->relay.plain);
    if (tunnel->handed_on >= 0)
        (void)close(tunnel->handed_on);
}

/* ---- moving bytes ---- */

/* False: the tunnel is over. */
static bool shake_hands(struct tunnel *tunnel)
{
    int r = fl_tls_link_handshake(tunnel->relay.tls, &tunnel->wants_write, NULL);
    if (r == 0)
        return true;
    if (r < 0)
        return false;
    tunnel->deadline_ms = 0;
    int fd = FL_TAKE_FD(tunnel->handed_on);
    return fl_http_server_adopt(tunnel->front->http, fd, tunnel->outer,
                                (const struct sockaddr *)&tunnel->peer, tunnel->peer_size) == 0;
}

/* False: the tunnel is over. The HTTP server has the last word: its end is the tunnel's. */
static bool move(struct tunnel *tunnel)
{
    return fl_tls_relay_move(&tunnel->relay, NULL) && !fl_tls_flow_is_over(&tunnel->relay.out);
}

static void watch(struct tunnel *tunnel)
{
    if (!tunnel->deadline_ms) {
        fl_tls_relay_watch(&tunnel->relay, &tunnel->outer_poll, &tunnel->inner_poll, on_event);
        return;
    }
    int events = UV_READABLE | (tunnel->wants_write ? UV_WRITABLE : 0);
    fl_tls_relay_poll(&tunnel->outer_poll, events, on_event);
}

static void on_event(uv_poll_t *poll, FL_UNUSED int status, FL_UNUSED int events)
{
    struct tunnel *tunnel = poll->data;
    bool lives = true;
    if (tunnel->is_over)
        return;
    if (tunnel->deadline_ms)
        lives = shake_hands(tunnel);
    if (lives && !tunnel->deadline_ms)
        lives = move(tunnel);
    if (lives)
        watch(tunnel);
    else
        end(tunnel);
}

/* ---- accepting ---- */

static void on_sweep(uv_timer_t *timer)
{
    struct fl_tls_front *front = timer->data;
    struct tunnel *tunnel, *next;
    int64_t now_ms = fl_http_now_ms();
    if (LIST_EMPTY(&front->tunnels))
        (void)uv_timer_stop(timer);
    for (tunnel = LIST_FIRST(&front->tunnels); tunnel; tunnel = next) {
        next = LIST_NEXT(tunnel, link);
        if (tunnel->deadline_ms && now_ms > tunnel->deadline_ms)
            end(tunnel);
    }
}

static void add_tunnel(struct fl_tls_front *front, int fd, const struct sockaddr_storage *peer,
                       socklen_t peer_size)
{
    const int one = 1;
    int pair[2];
    if (front->count >= front->max_connections ||
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0) {
        (void)close(fd);
        return;
    }
    struct tunnel *tunnel = fl_calloc(1, sizeof(*tunnel));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    tunnel->front = front;
    tunnel->outer = fd;
    tunnel->relay.plain = pair[0];
    tunnel->handed_on = pair[1];
    tunnel->peer = *peer;
    tunnel->peer_size = peer_size;
    tunnel->relay.tls = fl_tls_link_accept(fd, front->identity);
    tunnel->deadline_ms = fl_http_now_ms() + HANDSHAKE_MS;
    FL_ASSERT(uv_poll_init(front->loop, &tunnel->outer_poll, fd) == 0);
    FL_ASSERT(uv_poll_init(front->loop, &tunnel->inner_poll, pair[0]) == 0);
    tunnel->outer_poll.data = tunnel->inner_poll.data = tunnel;
    tunnel->open_handles = 2;
    if (LIST_EMPTY(&front->tunnels))
        (void)uv_timer_start(&front->sweep, on_sweep, SWEEP_MS, SWEEP_MS);
    LIST_INSERT_HEAD(&front->tunnels, tunnel, link);
    front->count++;
    watch(tunnel);
}

static void on_connection(uv_poll_t *poll, FL_UNUSED int status, FL_UNUSED int events)
{
    struct fl_tls_front *front = poll->data;
    for (int i = 0; i < ACCEPTS; i++) {
        struct sockaddr_storage peer;
        socklen_t size = sizeof(peer);
        int fd =
            accept4(front->listener, (struct sockaddr *)&peer, &size, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0)
            return;
        add_tunnel(front, fd, &peer, size);
    }
}

/* ---- open and close ---- */

int fl_tls_front_open(uv_loop_t *loop, const struct fl_tls_front_config *config,
                      struct fl_tls_front **ret_front, struct fl_err *err)
{
    struct fl_tls_identity *identity = NULL;
    int listener = -1;
    int r = fl_tls_identity_new(config->pem, &identity, err);
    if (r == 0)
        r = fl_http_listen(config->listen, &listener, err);
    if (r < 0) {
        fl_tls_identity_free(identity);
        return r;
    }
    struct fl_tls_front *front = fl_calloc(1, sizeof(*front));
    front->loop = loop;
    front->http = config->http;
    front->identity = identity;
    front->listener = listener;
    front->port = fl_http_bound_port(listener);
    front->max_connections = config->max_connections;
    LIST_INIT(&front->tunnels);
    FL_ASSERT(uv_poll_init(loop, &front->poll, listener) == 0);
    FL_ASSERT(uv_timer_init(loop, &front->sweep) == 0);
    front->poll.data = front->sweep.data = front;
    front->open_handles = 2;
    (void)uv_poll_start(&front->poll, UV_READABLE, on_connection);
    *ret_front = front;
    return 0;
}

uint16_t fl_tls_front_port(const struct fl_tls_front *front)
{
    return front->port;
}

int fl_tls_front_change(struct fl_tls_front *front, const char *pem, struct fl_err *err)
{
    struct fl_tls_identity *identity;
    int r = fl_tls_identity_new(pem, &identity, err);
    if (r < 0)
        return r;
    fl_tls_identity_free(front->identity);
    front->identity = identity;
    return 0;
}

static void on_front_closed(uv_handle_t *handle)
{
    struct fl_tls_front *front = handle->data;
    if (--front->open_handles == 0)
        free(front);
}

void fl_tls_front_close(struct fl_tls_front *front)
{
    if (!front)
        return;
    while (!LIST_EMPTY(&front->tunnels))
        end(LIST_FIRST(&front->tunnels));
    uv_close((uv_handle_t *)&front->poll, on_front_closed);
    uv_close((uv_handle_t *)&front->sweep, on_front_closed);
    (void)close(front->listener);
    fl_tls_identity_free(front->identity);
}
