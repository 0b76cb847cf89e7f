/* The frames of a websocket, either end: wslay between a socket and messages.
 *
 * Invariants: `closed` is called once and from the loop, never from within fl_ws_send or
 * fl_ws_close; memory is given back when the loop has closed the handles, so a callback may do what
 * it likes with its ws. Bytes read per event are bounded, so one peer cannot hold the loop. */
#include "net/ws.h"

#include <errno.h>
#include <openssl/sha.h>
#include <sys/socket.h>
#include <wslay/wslay.h>

#include "base/id.h"
#include "net/ws_internal.h"
#include "wire/base64.h"

enum {
    READ_PER_EVENT = 256 * 1024,
    CLOSE_MS = 2000,
    MAX_REASON = 123,
    MAX_WAITING = 4096, /* messages, the answers to pings among them */
    CODE_TRY_LATER = 1013,
};

struct fl_ws {
    uv_loop_t *loop;
    struct fl_ws_callbacks callbacks;
    void *context;
    wslay_event_context_ptr frames;
    uv_poll_t poll; /* opened by fl_ws_attach */
    uv_timer_t timer;
    unsigned open_handles;
    int fd; /* -1: not attached yet, or released */
    struct fl_tls_link *tls;
    struct fl_buf extra; /* read by the handshake, not yet by us */
    size_t read_budget;
    fl_ws_release release;
    void *release_context;
    fl_ws_abandon abandon;
    void *abandon_context;
    uint16_t close_code; /* 0: we have not asked for a close */
    struct fl_buf close_reason;
    struct fl_buf peer_reason;
    bool close_queued;
    bool busy;     /* inside on_poll, which settles everything at its end */
    bool broken;   /* the socket is of no more use */
    bool finished; /* `closed` was called */
};

/* ---- the socket ---- */

static ssize_t receive(struct fl_ws *ws, void *bytes, size_t n)
{
    ssize_t got;
    if (ws->tls)
        return fl_tls_link_recv(ws->tls, bytes, n);
    do
        got = recv(ws->fd, bytes, n, 0);
    while (got < 0 && errno == EINTR);
    return got;
}

static ssize_t transmit(struct fl_ws *ws, const void *bytes, size_t n, bool more)
{
    ssize_t sent;
    if (ws->tls)
        return fl_tls_link_send(ws->tls, bytes, n);
    do
        sent = send(ws->fd, bytes, n, MSG_NOSIGNAL | (more ? MSG_MORE : 0));
    while (sent < 0 && errno == EINTR);
    return sent;
}

/* Something is here that poll would not tell. */
static bool has_extra(const struct fl_ws *ws)
{
    return ws->extra.n > 0 || (ws->tls && fl_tls_link_pending(ws->tls));
}

/* ---- wslay's callbacks ---- */

static ssize_t on_recv(wslay_event_context_ptr frames, uint8_t *bytes, size_t n,
                       FL_UNUSED int flags, void *context)
{
    struct fl_ws *ws = context;
    ssize_t got = -1;
    n = FL_MIN(n, ws->read_budget);
    errno = EAGAIN;
    if (ws->extra.n > 0 && n > 0) {
        n = FL_MIN(n, ws->extra.n);
        memcpy(bytes, ws->extra.p, n);
        fl_buf_consume(&ws->extra, n);
        got = (ssize_t)n;
    } else if (ws->fd >= 0 && n > 0) {
        got = receive(ws, bytes, n);
    }
    if (got <= 0) {
        bool later = got < 0 && errno == EAGAIN;
        wslay_event_set_error(frames, later ? WSLAY_ERR_WOULDBLOCK : WSLAY_ERR_CALLBACK_FAILURE);
        return -1;
    }
    ws->read_budget -= (size_t)got;
    return got;
}

static ssize_t on_send(wslay_event_context_ptr frames, const uint8_t *bytes, size_t n, int flags,
                       void *context)
{
    struct fl_ws *ws = context;
    ssize_t sent = transmit(ws, bytes, n, flags & WSLAY_MSG_MORE);
    if (sent < 0)
        wslay_event_set_error(frames,
                              errno == EAGAIN ? WSLAY_ERR_WOULDBLOCK : WSLAY_ERR_CALLBACK_FAILURE);
    return sent;
}

static int on_mask(FL_UNUSED wslay_event_context_ptr frames, uint8_t *bytes, size_t n,
                   FL_UNUSED void *context)
{
    fl_random_bytes(bytes, n);
    return 0;
}

static void on_message(FL_UNUSED wslay_event_context_ptr frames,
                       const struct wslay_event_on_msg_recv_arg *arg, void *context)
{
    struct fl_ws *ws = context;
    struct fl_str text = {(const char *)arg->msg, arg->msg_length};
    if (arg->opcode == WSLAY_TEXT_FRAME && ws->close_code == 0 && ws->callbacks.message)
        ws->callbacks.message(ws->context, ws, text);
    if (arg->opcode == WSLAY_BINARY_FRAME)
        fl_ws_close(ws, WSLAY_CODE_UNSUPPORTED_DATA, FL_STR("text messages only"));
    if (arg->opcode == WSLAY_CONNECTION_CLOSE)
        fl_buf_add_str(&ws->peer_reason, fl_str_from(text, 2));
}

/* ---- its end ---- */

static void on_handle_closed(uv_handle_t *handle)
{
    struct fl_ws *ws = handle->data;
    if (--ws->open_handles > 0)
        return;
    wslay_event_context_free(ws->frames);
    fl_buf_free(&ws->extra);
    fl_buf_free(&ws->close_reason);
    fl_buf_free(&ws->peer_reason);
    free(ws);
}

static void let_go(struct fl_ws *ws)
{
    if (ws->fd >= 0) {
        uv_close((uv_handle_t *)&ws->poll, on_handle_closed);
        fl_tls_link_free(FL_TAKE_PTR(ws->tls));
        ws->fd = -1;
        ws->release(ws->release_context);
    } else if (ws->abandon) {
        ws->abandon(ws->abandon_context);
    }
    uv_close((uv_handle_t *)&ws->timer, on_handle_closed);
}

static void finish(struct fl_ws *ws, uint16_t code, unsigned http_status, struct fl_str text)
{
    if (ws->finished)
        return;
    ws->finished = true;
    let_go(ws);
    if (ws->callbacks.closed)
        ws->callbacks.closed(ws->context, ws, code, http_status, text);
}

/* Our own word first (wslay takes 1013 from a peer for a mistake), then the peer's, then wslay's.
 */
static uint16_t final_code(const struct fl_ws *ws)
{
    if (ws->close_code)
        return ws->close_code;
    if (wslay_event_get_close_received(ws->frames))
        return wslay_event_get_status_code_received(ws->frames);
    if (wslay_event_get_close_sent(ws->frames))
        return wslay_event_get_status_code_sent(ws->frames);
    return WSLAY_CODE_ABNORMAL_CLOSURE;
}

static void finish_frames(struct fl_ws *ws)
{
    finish(ws, final_code(ws), 0, fl_buf_str(&ws->peer_reason));
}

static void on_timer(uv_timer_t *timer)
{
    finish_frames(timer->data);
}

void fl_ws_break(struct fl_ws *ws, unsigned http_status, struct fl_str text)
{
    finish(ws, WSLAY_CODE_ABNORMAL_CLOSURE, http_status, text);
}

/* ---- the loop's side ---- */

/* A close frame would overtake queued messages, so it is queued when they are out. */
static void queue_close(struct fl_ws *ws)
{
    bool hurry = ws->close_code == CODE_TRY_LATER;
    if (ws->close_code == 0 || ws->close_queued ||
        (!hurry && wslay_event_get_queued_msg_count(ws->frames) > 0))
        return;
    ws->close_queued = true;
    (void)wslay_event_queue_close(ws->frames, ws->close_code,
                                  (const uint8_t *)(ws->close_reason.n ? ws->close_reason.p : ""),
                                  ws->close_reason.n);
}

/* wslay reads no more after a close frame or an error; the rest is thrown away, so that the peer
 * gets to read our close frame. */
static void drain(struct fl_ws *ws)
{
    char bytes[16 * 1024];
    while (ws->read_budget > 0) {
        ssize_t got = receive(ws, bytes, FL_MIN(sizeof(bytes), ws->read_budget));
        if (got == 0 || (got < 0 && errno != EAGAIN))
            ws->broken = true;
        if (got <= 0)
            return;
        ws->read_budget -= (size_t)got;
    }
}

static void send_frames(struct fl_ws *ws)
{
    queue_close(ws);
    if (wslay_event_want_write(ws->frames) && wslay_event_send(ws->frames) != 0)
        ws->broken = true;
}

/* wslay answers pings by itself; who sends them and does not read would fill our memory. */
static bool has_too_much(const struct fl_ws *ws)
{
    return wslay_event_get_queued_msg_count(ws->frames) > MAX_WAITING ||
           wslay_event_get_queued_msg_length(ws->frames) > FL_WS_MAX_QUEUE;
}

static void on_poll(uv_poll_t *poll, int status, int events);

static void settle(struct fl_ws *ws)
{
    queue_close(ws);
    bool want_write = wslay_event_want_write(ws->frames);
    bool sent = wslay_event_get_close_sent(ws->frames);
    bool received = wslay_event_get_close_received(ws->frames);
    if (ws->broken || (sent && received && !want_write)) {
        finish_frames(ws);
        return;
    }
    bool ending = ws->close_code || sent || received || !wslay_event_get_read_enabled(ws->frames);
    if (ending && !uv_is_active((uv_handle_t *)&ws->timer))
        (void)uv_timer_start(&ws->timer, on_timer, CLOSE_MS, 0);
    bool soon = want_write || (!ending && has_extra(ws));
    (void)uv_poll_start(&ws->poll, UV_READABLE | (soon ? UV_WRITABLE : 0), on_poll);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct fl_ws *ws = poll->data;
    ws->busy = true;
    ws->read_budget = READ_PER_EVENT;
    if (status < 0)
        ws->broken = true;
    if (!ws->broken && ((events & UV_READABLE) || has_extra(ws))) {
        if (!wslay_event_get_read_enabled(ws->frames))
            drain(ws);
        else if (wslay_event_recv(ws->frames) != 0)
            ws->broken = true;
    }
    if (!ws->finished && !ws->broken)
        send_frames(ws);
    if (!ws->finished && has_too_much(ws))
        ws->broken = true;
    ws->busy = false;
    if (!ws->finished)
        settle(ws);
}

static void wake(struct fl_ws *ws)
{
    if (ws->fd >= 0 && !ws->busy)
        (void)uv_poll_start(&ws->poll, UV_READABLE | UV_WRITABLE, on_poll);
}

/* ---- entry points ---- */

struct fl_ws *fl_ws_new(uv_loop_t *loop, bool is_server, const struct fl_ws_callbacks *callbacks,
                        void *context, fl_ws_abandon abandon, void *abandon_context)
{
    static const struct wslay_event_callbacks hooks = {.recv_callback = on_recv,
                                                       .send_callback = on_send,
                                                       .genmask_callback = on_mask,
                                                       .on_msg_recv_callback = on_message};
    struct fl_ws *ws = fl_calloc(1, sizeof(*ws));
    *ws = (struct fl_ws){.loop = loop,
                         .callbacks = *callbacks,
                         .context = context,
                         .open_handles = 1,
                         .fd = -1,
                         .extra = FL_BUF_INIT(SIZE_MAX / 2),
                         .abandon = abandon,
                         .abandon_context = abandon_context,
                         .close_reason = FL_BUF_INIT(MAX_REASON),
                         .peer_reason = FL_BUF_INIT(MAX_REASON)};
    int rc = is_server ? wslay_event_context_server_init(&ws->frames, &hooks, ws)
                       : wslay_event_context_client_init(&ws->frames, &hooks, ws);
    FL_ASSERT(rc == 0);
    wslay_event_config_set_max_recv_msg_length(ws->frames, FL_WS_MAX_MESSAGE);
    FL_ASSERT(uv_timer_init(loop, &ws->timer) == 0);
    ws->timer.data = ws;
    return ws;
}

void fl_ws_attach(struct fl_ws *ws, int fd, struct fl_tls_link *tls, const void *extra, size_t n,
                  fl_ws_release release, void *release_context)
{
    FL_ASSERT(ws->fd < 0 && !ws->finished);
    ws->release = release;
    ws->release_context = release_context;
    ws->fd = fd;
    ws->tls = tls;
    fl_buf_add(&ws->extra, extra, n);
    FL_ASSERT(uv_poll_init(ws->loop, &ws->poll, fd) == 0);
    ws->poll.data = ws;
    ws->open_handles++;
    /* A writable socket reports at once, so what came with the handshake is read then. */
    wake(ws);
    if (!ws->callbacks.opened)
        return;
    ws->callbacks.opened(ws->context, ws);
}

void fl_ws_send(struct fl_ws *ws, struct fl_str text)
{
    if (ws->finished || ws->close_code)
        return;
    size_t queued = wslay_event_get_queued_msg_length(ws->frames);
    if (text.n > FL_WS_MAX_QUEUE || queued > FL_WS_MAX_QUEUE - text.n) {
        fl_ws_close(ws, CODE_TRY_LATER, FL_STR("too much waits to be sent"));
        return;
    }
    const struct wslay_event_msg message = {WSLAY_TEXT_FRAME,
                                            (const uint8_t *)(text.n ? text.p : ""), text.n};
    (void)wslay_event_queue_msg(ws->frames, &message);
    wake(ws);
}

void fl_ws_close(struct fl_ws *ws, uint16_t code, struct fl_str reason)
{
    if (ws->finished || ws->close_code)
        return;
    ws->close_code = code;
    fl_buf_add_str(&ws->close_reason, fl_str_sub(reason, 0, MAX_REASON));
    (void)uv_timer_start(&ws->timer, on_timer, CLOSE_MS, 0);
    wake(ws);
}

struct fl_str fl_ws_accept(struct fl_arena *arena, struct fl_str key)
{
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    struct fl_str text = fl_str_printf(arena, "%.*s%s", FL_STR_ARG(key), guid);
    uint8_t digest[SHA_DIGEST_LENGTH];
    SHA1((const uint8_t *)text.p, text.n, digest);
    return fl_base64_encode(arena, (struct fl_str){(char *)digest, sizeof(digest)});
}
