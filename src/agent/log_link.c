/* One connection at a time, made of a descriptor that does not block and the loop's word when it is
 * ready. A timer bounds everything, and brings the answer, so that no answer comes from within. */
#include "agent/log_link.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "agent/log_tls.h"
#include "base/clock.h"

enum {
    TIMEOUT_MS = 10000, /* for a connection, and for datagrams that nobody takes */
    SILENCE_MS = 30000, /* of a host that acknowledges nothing */
    SETTLE_MS = 2,      /* between two looks at what the other side has acknowledged */
    BUSY_MS = 5,        /* until a device that is busy is tried again */
    ERROR_MAX = 640,
    SENTENCE_MAX = 600,
};

enum state { CLOSED, RESOLVING, CONNECTING, SHAKING_HANDS, READY };

struct fl_log_link {
    uv_loop_t *loop;
    struct fl_arena *arena;
    struct fl_log_address address;
    enum state state;
    int fd;
    uv_poll_t *poll;
    uv_timer_t *timer;
    uv_getaddrinfo_t *resolving;
    struct addrinfo *found; /* all addresses of the host */
    struct addrinfo *next;  /* to be tried after the present one */
    SSL_CTX *tls;
    SSL *ssl;
    /* What is under way. */
    struct fl_log_load load;
    size_t done;     /* bytes, or datagrams */
    bool is_sending; /* an answer is to come */
    bool is_settling;
    bool has_answer;
    fl_log_sent sent;
    void *context;
    int64_t deadline_ms; /* monotonic */
    char error[ERROR_MAX];
};

static void proceed(struct fl_log_link *link);
static void on_timer(uv_timer_t *timer);

static void free_handle(uv_handle_t *handle)
{
    free(handle);
}

static void wait_ms(struct fl_log_link *link, unsigned ms)
{
    (void)uv_timer_start(link->timer, on_timer, ms, 0);
}

static void progress(struct fl_log_link *link)
{
    link->deadline_ms = fl_clock_mono_ms() + TIMEOUT_MS;
    wait_ms(link, TIMEOUT_MS);
}

static void disconnect(struct fl_log_link *link)
{
    SSL_free(FL_TAKE_PTR(link->ssl));
    if (link->poll) {
        (void)uv_poll_stop(link->poll);
        uv_close((uv_handle_t *)FL_TAKE_PTR(link->poll), free_handle);
    }
    if (link->fd >= 0)
        (void)close(FL_TAKE_FD(link->fd));
    link->state = CLOSED;
}

static void forget_addresses(struct fl_log_link *link)
{
    uv_freeaddrinfo(FL_TAKE_PTR(link->found));
    link->next = NULL;
}

static void answer(struct fl_log_link *link, const char *error)
{
    link->error[0] = '\0';
    if (error) {
        (void)snprintf(link->error, sizeof(link->error), "%s", error);
        disconnect(link);
    } else if (link->poll) {
        (void)uv_poll_stop(link->poll);
    }
    forget_addresses(link);
    link->has_answer = true;
    link->is_settling = false;
    wait_ms(link, 0);
}

static void fail(struct fl_log_link *link, const char *what, const char *why)
{
    static const char *const networks[] = {"udp", "tcp", "tcp", "unix", "unixgram"};
    const struct fl_log_address *a = &link->address;
    char text[SENTENCE_MAX];
    if (a->is_secret)
        (void)snprintf(text, sizeof(text), "%s %s: %s", what, networks[a->transport], why);
    else if (a->path.n)
        (void)snprintf(text, sizeof(text), "%s %s %s: %s", what, networks[a->transport], a->path.p,
                       why);
    else
        (void)snprintf(text, sizeof(text), "%s %s %s:%s: %s", what, networks[a->transport],
                       a->host.p, a->port.p, why);
    answer(link, text);
}

static void fail_errno(struct fl_log_link *link, const char *what, int error)
{
    fail(link, what, strerror(error));
}

/* ---- sending ---- */

static bool is_tcp(const struct fl_log_link *link)
{
    return link->address.transport == FL_LOG_TCP || link->address.transport == FL_LOG_TLS;
}

/* What the other side's kernel has not acknowledged would be lost with the connection. */
static void settle(struct fl_log_link *link)
{
    int left = 0, error = 0;
    socklen_t size = sizeof(error);
    if (getsockopt(link->fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error) {
        fail_errno(link, "write", error);
        return;
    }
    if (is_tcp(link) && ioctl(link->fd, SIOCOUTQ, &left) == 0 && left > 0) {
        link->is_settling = true;
        (void)uv_poll_stop(link->poll);
        wait_ms(link, SETTLE_MS);
        return;
    }
    answer(link, NULL);
}

/* What is wrong, the next call on the descriptor says better than the poll's status. */
static void on_ready(uv_poll_t *poll, FL_UNUSED int status, FL_UNUSED int events)
{
    proceed(poll->data);
}

static void await(struct fl_log_link *link, int events)
{
    (void)uv_poll_start(link->poll, events, on_ready);
}

/* True when the call has to be made again later. */
static bool await_tls(struct fl_log_link *link, int rc)
{
    int error = SSL_get_error(link->ssl, rc);
    if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE)
        return false;
    await(link, error == SSL_ERROR_WANT_READ ? UV_READABLE : UV_WRITABLE);
    return true;
}

static void fail_tls(struct fl_log_link *link, const char *what)
{
    char reason[128];
    fl_log_tls_reason(link->ssl, reason, sizeof(reason));
    fail(link, what, reason);
}

/* A backend that reads slowly is waited for: what had to be sent again would arrive twice. */
static void send_stream(struct fl_log_link *link)
{
    (void)uv_timer_stop(link->timer);
    while (link->done < link->load.bytes.n) {
        struct fl_str rest = fl_str_from(link->load.bytes, link->done);
        ssize_t n = link->ssl ? SSL_write(link->ssl, rest.p, (int)FL_MIN(rest.n, (size_t)INT32_MAX))
                              : send(link->fd, rest.p, rest.n, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n <= 0 && link->ssl) {
            if (!await_tls(link, (int)n))
                fail_tls(link, "write");
            return;
        }
        if (n < 0 && errno == EAGAIN) {
            await(link, UV_WRITABLE);
            return;
        }
        if (n < 0 && errno != EINTR) {
            fail_errno(link, "write", errno);
            return;
        }
        link->done += (size_t)FL_MAX(n, 0);
    }
    settle(link);
}

/* Of a host that listens not, a datagram's sender hears only with the next one: UDP is that way.
 * What is too large for a datagram is lost, and nothing else with it. */
static void send_datagrams(struct fl_log_link *link)
{
    bool is_udp = link->address.transport == FL_LOG_UDP, has_progress = false;
    while (link->done < link->load.count) {
        size_t begin = link->done ? link->load.ends[link->done - 1] : 0;
        ssize_t n = send(link->fd, link->load.bytes.p + begin, link->load.ends[link->done] - begin,
                         MSG_NOSIGNAL | MSG_DONTWAIT);
        int error = n < 0 ? errno : 0;
        if (has_progress && (error == EAGAIN || error == ENOBUFS))
            progress(link);
        if (error == EAGAIN) {
            await(link, UV_WRITABLE);
            return;
        }
        if (error == ENOBUFS) {
            wait_ms(link, BUSY_MS);
            return;
        }
        if (error == EINTR || (is_udp && error == ECONNREFUSED))
            continue;
        if (error && error != EMSGSIZE) {
            fail_errno(link, "write", error);
            return;
        }
        link->done++;
        has_progress = true;
    }
    answer(link, NULL);
}

/* ---- connecting ---- */

static void connect_next(struct fl_log_link *link);

static void shake_hands(struct fl_log_link *link)
{
    int rc = SSL_connect(link->ssl);
    if (rc == 1) {
        link->state = READY;
        proceed(link);
    } else if (!await_tls(link, rc)) {
        fail_tls(link, "dial");
    }
}

static void on_connected(struct fl_log_link *link)
{
    int error = 0;
    socklen_t size = sizeof(error);
    if (getsockopt(link->fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
        error = errno;
    if (error && link->next) {
        disconnect(link);
        connect_next(link);
        return;
    }
    if (error) {
        fail_errno(link, "dial", error);
        return;
    }
    forget_addresses(link);
    link->state = READY;
    if (link->address.transport == FL_LOG_TLS) {
        link->ssl = fl_log_tls_session(link->tls, &link->address, link->fd);
        link->state = SHAKING_HANDS;
    }
    if (link->state == SHAKING_HANDS && !link->ssl)
        fail(link, "dial", "tls: no session can be made");
    else
        proceed(link);
}

static void connect_to(struct fl_log_link *link, const struct sockaddr *address, socklen_t size)
{
    static const unsigned silence_ms = SILENCE_MS;
    int type = fl_log_is_datagram(&link->address) ? SOCK_DGRAM : SOCK_STREAM;
    link->state = CONNECTING;
    link->fd = socket(address->sa_family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (link->fd < 0) {
        fail_errno(link, "dial", errno);
        return;
    }
    link->poll = fl_calloc(1, sizeof(*link->poll));
    link->poll->data = link;
    if (uv_poll_init(link->loop, link->poll, link->fd) < 0) {
        free(FL_TAKE_PTR(link->poll));
        fail(link, "dial", "cannot be polled");
        return;
    }
    if (is_tcp(link))
        (void)setsockopt(link->fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &silence_ms, sizeof(silence_ms));
    progress(link);
    if (connect(link->fd, address, size) == 0)
        on_connected(link);
    else if (errno == EINPROGRESS)
        await(link, UV_WRITABLE);
    else if (link->next)
        connect_next(link);
    else
        fail_errno(link, "dial", errno);
}

static void connect_next(struct fl_log_link *link)
{
    struct addrinfo *to = link->next;
    disconnect(link);
    link->next = to->ai_next;
    connect_to(link, to->ai_addr, to->ai_addrlen);
}

static void connect_path(struct fl_log_link *link)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    FL_ASSERT(link->address.path.n < sizeof(address.sun_path));
    memcpy(address.sun_path, link->address.path.p, link->address.path.n);
    connect_to(link, (const struct sockaddr *)&address, sizeof(address));
}

static void on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *found)
{
    struct fl_log_link *link = request->data;
    free(request);
    if (!link) {
        uv_freeaddrinfo(found);
        return;
    }
    link->resolving = NULL;
    if (status < 0 || !found) {
        uv_freeaddrinfo(found);
        fail(link, "dial", status < 0 ? uv_strerror(status) : "no such host");
        return;
    }
    link->found = link->next = found;
    connect_next(link);
}

static void resolve(struct fl_log_link *link)
{
    struct addrinfo hints = {.ai_socktype =
                                 fl_log_is_datagram(&link->address) ? SOCK_DGRAM : SOCK_STREAM};
    link->state = RESOLVING;
    link->resolving = fl_calloc(1, sizeof(*link->resolving));
    link->resolving->data = link;
    progress(link);
    if (uv_getaddrinfo(link->loop, link->resolving, on_resolved, link->address.host.p,
                       link->address.port.p, &hints) == 0)
        return;
    free(FL_TAKE_PTR(link->resolving));
    fail(link, "dial", "the name cannot be looked up");
}

static void start_connection(struct fl_log_link *link)
{
    struct fl_err err = {0};
    if (link->address.transport == FL_LOG_TLS && !link->tls)
        link->tls = fl_log_tls_context(&link->address, &err);
    if (link->address.transport == FL_LOG_TLS && !link->tls)
        answer(link, err.text);
    else if (link->address.path.n)
        connect_path(link);
    else
        resolve(link);
}

/* ---- */

static void proceed(struct fl_log_link *link)
{
    switch (link->state) {
    case CLOSED:
    case RESOLVING:
        return;
    case CONNECTING:
        on_connected(link);
        return;
    case SHAKING_HANDS:
        shake_hands(link);
        return;
    case READY:
        (void)uv_poll_stop(link->poll);
        if (fl_log_is_datagram(&link->address))
            send_datagrams(link);
        else
            send_stream(link);
        return;
    }
}

static void on_timer(uv_timer_t *timer)
{
    struct fl_log_link *link = timer->data;
    if (link->has_answer) {
        link->has_answer = link->is_sending = false;
        link->sent(link->context, link->error[0] ? link->error : NULL);
        return;
    }
    if (link->is_settling) {
        settle(link);
        return;
    }
    int64_t left_ms = link->deadline_ms - fl_clock_mono_ms();
    if (left_ms <= 0) {
        if (link->resolving)
            FL_TAKE_PTR(link->resolving)->data = NULL;
        fail(link, link->state == READY ? "write" : "dial", "i/o timeout");
        return;
    }
    wait_ms(link, (unsigned)left_ms);
    proceed(link);
}

/* Whether the other side has closed what was connected before; what it said meets no ear. */
static bool is_lost(struct fl_log_link *link)
{
    char bytes[512];
    if (link->state != READY || fl_log_is_datagram(&link->address))
        return false;
    if (link->ssl) {
        int n = SSL_read(link->ssl, bytes, sizeof(bytes));
        return n <= 0 && SSL_get_error(link->ssl, n) != SSL_ERROR_WANT_READ;
    }
    ssize_t n = recv(link->fd, bytes, sizeof(bytes), MSG_DONTWAIT);
    return n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
}

void fl_log_link_send(struct fl_log_link *link, const struct fl_log_load *load, fl_log_sent sent,
                      void *context)
{
    FL_ASSERT(!link->is_sending);
    link->is_sending = true;
    link->load = *load;
    link->done = 0;
    link->error[0] = '\0';
    link->sent = sent;
    link->context = context;
    if (is_lost(link))
        disconnect(link);
    progress(link);
    if (link->state == READY)
        proceed(link);
    else
        start_connection(link);
}

struct fl_log_link *fl_log_link_new(uv_loop_t *loop, const struct fl_log_address *address)
{
    struct fl_arena *arena = fl_arena_new();
    struct fl_log_link *link = fl_calloc(1, sizeof(*link));
    struct fl_str *const parts[] = {&link->address.host,      &link->address.port,
                                    &link->address.path,      &link->address.ca_file,
                                    &link->address.cert_file, &link->address.key_file};
    link->loop = loop;
    link->arena = arena;
    link->address = *address;
    for (size_t i = 0; i < FL_ARRAY_SIZE(parts); i++)
        *parts[i] = fl_str_dup(arena, *parts[i]);
    link->fd = -1;
    link->timer = fl_calloc(1, sizeof(*link->timer));
    (void)uv_timer_init(loop, link->timer);
    link->timer->data = link;
    return link;
}

static bool has_left(const struct fl_log_link *link)
{
    size_t all = fl_log_is_datagram(&link->address) ? link->load.count : link->load.bytes.n;
    return link->is_sending && !link->error[0] && link->state == READY && link->done == all;
}

bool fl_log_link_close(struct fl_log_link *link)
{
    bool left = has_left(link);
    if (link->resolving)
        link->resolving->data = NULL;
    disconnect(link);
    forget_addresses(link);
    SSL_CTX_free(link->tls);
    uv_close((uv_handle_t *)link->timer, free_handle);
    fl_arena_free(link->arena);
    free(link);
    return left;
}
