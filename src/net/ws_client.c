/* The client's way into a websocket: name look-up, TCP connect, handshake (RFC 6455, 4.1).
 *
 * The opener lives from fl_ws_connect until the ws is attached or has ended. Every failure ends the
 * ws, and the ws's end, whoever caused it, ends the opener through its abandon hook: one way out.
 * The answer's head and the body of a refusal are bounded. */
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "base/id.h"
#include "net/ws_internal.h"
#include "wire/base64.h"

enum {
    HANDSHAKE_MS = 30000,
    MAX_ANSWER = 64 * 1024,
    MAX_REQUEST = 64 * 1024,
    KEY_BYTES = 16,
};

struct opener {
    struct fl_ws *ws; /* NULL once it is not ours any more */
    uv_loop_t *loop;
    struct fl_arena *arena;
    struct fl_str host;
    struct fl_str port;
    struct fl_str key;
    bool is_tls;
    struct fl_tls_pins pins;
    struct fl_tls_link *tls;
    bool tls_wants_write; /* during its handshake */
    uv_getaddrinfo_t look_up;
    struct addrinfo *addresses;
    struct addrinfo *next; /* to be tried */
    uv_timer_t timer;
    uv_poll_t *poll; /* of the present socket; frees itself when closed */
    int fd;
    bool looking_up;
    bool connected;
    bool secured; /* or in no need of it: the request may be sent */
    bool timer_closed;
    struct fl_buf request;
    struct fl_buf answer;
};

/* ---- the opener's end ---- */

static void free_if_done(struct opener *opener)
{
    if (opener->looking_up || !opener->timer_closed)
        return;
    uv_freeaddrinfo(opener->addresses);
    fl_buf_free(&opener->request);
    fl_buf_free(&opener->answer);
    fl_arena_free(opener->arena);
    free(opener);
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct opener *opener = handle->data;
    opener->timer_closed = true;
    free_if_done(opener);
}

static void on_poll_closed(uv_handle_t *handle)
{
    free(handle);
}

static void drop_poll(struct opener *opener)
{
    if (opener->poll)
        uv_close((uv_handle_t *)FL_TAKE_PTR(opener->poll), on_poll_closed);
}

static void drop_socket(struct opener *opener)
{
    drop_poll(opener);
    fl_tls_link_free(FL_TAKE_PTR(opener->tls));
    if (opener->fd >= 0)
        (void)close(FL_TAKE_FD(opener->fd));
}

static void end(struct opener *opener)
{
    if (opener->looking_up)
        (void)uv_cancel((uv_req_t *)&opener->look_up);
    drop_socket(opener);
    uv_close((uv_handle_t *)&opener->timer, on_timer_closed);
}

static void on_abandon(void *context)
{
    struct opener *opener = context;
    opener->ws = NULL;
    end(opener);
}

static void fail(struct opener *opener, unsigned http_status, struct fl_str text)
{
    if (opener->ws)
        fl_ws_break(opener->ws, http_status, text);
}

/* ---- the answer ---- */

static void on_release(void *context)
{
    (void)close((int)(intptr_t)context);
}

static struct fl_str header_of(struct fl_str head, const char *name)
{
    struct fl_str line;
    while (fl_str_split(&head, '\n', &line)) {
        struct fl_str key;
        if (fl_str_split(&line, ':', &key) && fl_str_case_eq(key, fl_str_of(name)))
            return fl_str_trim(line);
    }
    return (struct fl_str){NULL, 0};
}

/* "HTTP/1.1 101 …"; 0 if it is no status line. */
static unsigned status_of(struct fl_str head)
{
    uint64_t status = 0;
    if (!fl_str_starts(head, FL_STR("HTTP/1.")) || head.n < 12 ||
        !fl_str_to_u64(fl_str_sub(head, 9, 3), &status))
        return 0;
    return (unsigned)status;
}

static void take_over(struct opener *opener, struct fl_str head, struct fl_str rest)
{
    if (!fl_str_case_eq(header_of(head, "upgrade"), FL_STR("websocket")) ||
        !fl_str_eq(header_of(head, "sec-websocket-accept"),
                   fl_ws_accept(opener->arena, opener->key))) {
        fail(opener, 101, FL_STR("the server's answer is no websocket handshake"));
        return;
    }
    struct fl_ws *ws = FL_TAKE_PTR(opener->ws);
    int fd = FL_TAKE_FD(opener->fd);
    struct fl_tls_link *tls = FL_TAKE_PTR(opener->tls);
    drop_poll(opener);
    end(opener); /* only marks it: freed by the loop, so `rest` stays valid here */
    fl_ws_attach(ws, fd, tls, rest.p, rest.n, on_release, (void *)(intptr_t)fd);
}

static void look_at_answer(struct opener *opener, bool at_end)
{
    struct fl_str all = fl_buf_str(&opener->answer);
    const char *gap = all.n ? memmem(all.p, all.n, "\r\n\r\n", 4) : NULL;
    if (!gap) {
        if (at_end || opener->answer.overflow)
            fail(opener, 0, FL_STR("the server closed the connection during the handshake"));
        return;
    }
    struct fl_str head = fl_str_sub(all, 0, (size_t)(gap - all.p) + 2);
    struct fl_str rest = fl_str_from(all, head.n + 2);
    unsigned status = status_of(head);
    uint64_t length;
    if (status == 101) {
        take_over(opener, head, rest);
        return;
    }
    bool known = fl_str_to_u64(header_of(head, "content-length"), &length);
    if (at_end || opener->answer.overflow || (known && rest.n >= length))
        fail(opener, status, known && rest.n > length ? fl_str_sub(rest, 0, length) : rest);
}

/* ---- connecting ---- */

static void try_next(struct opener *opener);

static void fail_errno(struct opener *opener, const char *what, int error)
{
    fail(opener, 0,
         fl_str_printf(opener->arena, "cannot %s %.*s:%.*s: %s", what, FL_STR_ARG(opener->host),
                       FL_STR_ARG(opener->port), strerror(error)));
}

/* Sends what is left of the request. */
static void send_request(struct opener *opener)
{
    ssize_t sent = opener->tls
                       ? fl_tls_link_send(opener->tls, opener->request.p, opener->request.n)
                       : send(opener->fd, opener->request.p, opener->request.n, MSG_NOSIGNAL);
    if (sent > 0)
        fl_buf_consume(&opener->request, (size_t)sent);
    else if (sent < 0 && errno != EAGAIN && errno != EINTR)
        fail_errno(opener, "write to", errno);
}

static void read_answer(struct opener *opener)
{
    char bytes[4096];
    ssize_t got = opener->tls ? fl_tls_link_recv(opener->tls, bytes, sizeof(bytes))
                              : recv(opener->fd, bytes, sizeof(bytes), 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got < 0) {
        fail_errno(opener, "read from", errno);
        return;
    }
    size_t room = MAX_ANSWER - opener->answer.n;
    fl_buf_add(&opener->answer, bytes, FL_MIN((size_t)got, room));
    opener->answer.overflow |= (size_t)got > room;
    look_at_answer(opener, got == 0);
}

static void secure(struct opener *opener)
{
    struct fl_err err;
    int r = fl_tls_link_handshake(opener->tls, &opener->tls_wants_write, &err);
    if (r < 0)
        fail(opener, 0, fl_str_of(err.text));
    else
        opener->secured = r == 1;
}

static void on_connected(struct opener *opener)
{
    const int one = 1;
    int error = 0;
    socklen_t size = sizeof(error);
    if (getsockopt(opener->fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
        error = errno;
    if (error && opener->next) {
        try_next(opener);
        return;
    }
    if (error) {
        fail_errno(opener, "connect to", error);
        return;
    }
    (void)setsockopt(opener->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    opener->connected = true;
    opener->secured = !opener->is_tls;
    if (!opener->is_tls)
        return;
    opener->tls = fl_tls_link_new(opener->fd, &opener->pins);
    secure(opener);
}

/* What is waited for next. The bytes of a short answer may have been taken off the socket already
 * and lie decrypted in the link: a writable socket reports at once, so they are read then. */
static int interest(const struct opener *opener)
{
    bool writes = !opener->connected || (opener->secured && opener->request.n > 0);
    if (opener->connected && !opener->secured)
        writes = opener->tls_wants_write;
    else if (opener->tls && fl_tls_link_pending(opener->tls))
        writes = true;
    return UV_READABLE | (writes ? UV_WRITABLE : 0);
}

static void on_poll(uv_poll_t *poll, FL_UNUSED int status, int events)
{
    struct opener *opener = poll->data;
    if (!opener->connected)
        on_connected(opener);
    else if (!opener->secured)
        secure(opener);
    else if (events & UV_READABLE || (opener->tls && fl_tls_link_pending(opener->tls)))
        read_answer(opener);
    else if (opener->request.n > 0)
        send_request(opener);
    if (opener->poll == poll && opener->ws)
        (void)uv_poll_start(poll, interest(opener), on_poll);
}

static int open_socket(const struct addrinfo *address)
{
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP);
    if (fd < 0)
        return -errno;
    if (connect(fd, address->ai_addr, address->ai_addrlen) == 0 || errno == EINPROGRESS)
        return fd;
    int error = errno;
    (void)close(fd);
    return -error;
}

static void try_next(struct opener *opener)
{
    int fd = -EADDRNOTAVAIL;
    drop_socket(opener);
    while (fd < 0 && opener->next) {
        fd = open_socket(opener->next);
        opener->next = opener->next->ai_next;
    }
    if (fd < 0) {
        fail_errno(opener, "connect to", -fd);
        return;
    }
    opener->fd = fd;
    opener->poll = fl_calloc(1, sizeof(*opener->poll));
    FL_ASSERT(uv_poll_init(opener->loop, opener->poll, fd) == 0);
    opener->poll->data = opener;
    (void)uv_poll_start(opener->poll, UV_READABLE | UV_WRITABLE, on_poll);
}

static void on_looked_up(uv_getaddrinfo_t *look_up, int status, struct addrinfo *addresses)
{
    struct opener *opener = look_up->data;
    opener->looking_up = false;
    opener->addresses = opener->next = addresses;
    if (!opener->ws) {
        free_if_done(opener);
        return;
    }
    if (status == 0)
        try_next(opener);
    else
        fail(opener, 0,
             fl_str_printf(opener->arena, "cannot find %.*s: %s", FL_STR_ARG(opener->host),
                           uv_strerror(status)));
}

static void on_timeout(uv_timer_t *timer)
{
    fail(timer->data, 0, FL_STR("the websocket handshake took too long"));
}

/* ---- the request ---- */

/* Bytes of the scheme; 0 for another one. */
static size_t scheme_of(struct fl_str url, bool *ret_tls)
{
    static const struct {
        const char *text;
        bool is_tls;
    } schemes[] = {{"ws://", false}, {"http://", false}, {"wss://", true}, {"https://", true}};
    for (size_t i = 0; i < FL_ARRAY_SIZE(schemes); i++) {
        if (!fl_str_starts(url, fl_str_of(schemes[i].text)))
            continue;
        *ret_tls = schemes[i].is_tls;
        return strlen(schemes[i].text);
    }
    return 0;
}

/* host[:port][/path]; false on what is no such thing. */
static bool take_apart(struct opener *opener, struct fl_str url, struct fl_str *ret_authority,
                       struct fl_str *ret_path)
{
    size_t scheme = scheme_of(url, &opener->is_tls);
    if (scheme == 0 || (opener->is_tls && opener->pins.count == 0))
        return false;
    struct fl_str rest = fl_str_from(url, scheme);
    size_t end_of_host = 0;
    while (end_of_host < rest.n && !strchr("/?#", rest.p[end_of_host]))
        end_of_host++;
    struct fl_str authority = fl_str_sub(rest, 0, end_of_host);
    ptrdiff_t colon = fl_str_rindex(authority, ':');
    if (fl_str_ends(authority, FL_STR("]")))
        colon = -1;
    struct fl_str host = colon < 0 ? authority : fl_str_sub(authority, 0, (size_t)colon);
    if (host.n > 2 && host.p[0] == '[' && host.p[host.n - 1] == ']')
        host = fl_str_sub(host, 1, host.n - 2);
    opener->host = fl_str_dup(opener->arena, host);
    opener->port = colon < 0 ? (opener->is_tls ? FL_STR("443") : FL_STR("80"))
                             : fl_str_dup(opener->arena, fl_str_from(authority, (size_t)colon + 1));
    *ret_authority = authority;
    *ret_path = fl_str_from(rest, end_of_host);
    return host.n > 0 && opener->port.n > 0;
}

static bool is_clean(struct fl_str s)
{
    for (size_t i = 0; i < s.n; i++) {
        if ((uint8_t)s.p[i] < ' ' || s.p[i] == 0x7f)
            return false;
    }
    return true;
}

static void make_key(struct opener *opener)
{
    uint8_t bytes[KEY_BYTES];
    fl_random_bytes(bytes, sizeof(bytes));
    opener->key = fl_base64_encode(opener->arena, (struct fl_str){(char *)bytes, sizeof(bytes)});
}

static bool add_headers(struct opener *opener, const struct fl_header *headers, size_t count,
                        bool *ret_host)
{
    for (size_t i = 0; i < count; i++) {
        if (!is_clean(headers[i].name) || !is_clean(headers[i].value))
            return false;
        fl_buf_printf(&opener->request, "%.*s: %.*s\r\n", FL_STR_ARG(headers[i].name),
                      FL_STR_ARG(headers[i].value));
        *ret_host |= fl_str_case_eq(headers[i].name, FL_STR("host"));
    }
    return true;
}

static bool write_request(struct opener *opener, struct fl_str url, const struct fl_header *headers,
                          size_t count)
{
    struct fl_str authority, path;
    bool has_host = false;
    if (!is_clean(url) || fl_str_index(url, ' ') >= 0 ||
        !take_apart(opener, url, &authority, &path))
        return false;
    make_key(opener);
    fl_buf_printf(&opener->request, "GET %s%.*s HTTP/1.1\r\n",
                  path.n && path.p[0] == '/' ? "" : "/", FL_STR_ARG(path));
    if (!add_headers(opener, headers, count, &has_host))
        return false;
    if (!has_host)
        fl_buf_printf(&opener->request, "Host: %.*s\r\n", FL_STR_ARG(authority));
    fl_buf_printf(&opener->request,
                  "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                  "Sec-WebSocket-Key: %.*s\r\n\r\n",
                  FL_STR_ARG(opener->key));
    return !opener->request.overflow;
}

/* An address that cannot be used is told like any other failure, from the loop. */
static void on_bad_url(uv_timer_t *timer)
{
    fail(timer->data, 0, FL_STR("the websocket's address or headers cannot be used"));
}

static void start(struct opener *opener, bool usable)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    if (usable)
        opener->looking_up = uv_getaddrinfo(opener->loop, &opener->look_up, on_looked_up,
                                            opener->host.p, opener->port.p, &hints) == 0;
    if (opener->looking_up)
        (void)uv_timer_start(&opener->timer, on_timeout, HANDSHAKE_MS, 0);
    else
        (void)uv_timer_start(&opener->timer, on_bad_url, 0, 0);
}

struct fl_ws *fl_ws_connect(uv_loop_t *loop, struct fl_str url, const struct fl_tls_pins *pins,
                            const struct fl_header *headers, size_t header_count,
                            const struct fl_ws_callbacks *callbacks, void *context)
{
    struct opener *opener = fl_calloc(1, sizeof(*opener));
    *opener = (struct opener){.loop = loop,
                              .arena = fl_arena_new(),
                              .fd = -1,
                              .request = FL_BUF_INIT(MAX_REQUEST),
                              .answer = FL_BUF_INIT(MAX_ANSWER)};
    if (pins)
        opener->pins = *pins;
    opener->look_up.data = opener;
    FL_ASSERT(uv_timer_init(loop, &opener->timer) == 0);
    opener->timer.data = opener;
    struct fl_ws *ws = fl_ws_new(loop, false, callbacks, context, on_abandon, opener);
    opener->ws = ws;
    start(opener, write_request(opener, url, headers, header_count));
    return ws;
}
