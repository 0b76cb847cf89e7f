/* Moving bytes between a TLS link and a plain socket. */
#include "net/tls_relay.h"

#include <errno.h>
#include <sys/socket.h>

enum { ROUNDS = 16 };

/* Takes what a call to read brought. True when that was something. */
static bool fill(struct fl_tls_flow *flow, ssize_t got)
{
    flow->at_end |= got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR);
    if (got <= 0)
        return false;
    flow->at = 0;
    flow->n = (size_t)got;
    return true;
}

/* True when something was written; *ret_broken: nobody reads any more. */
static bool drain(struct fl_tls_flow *flow, ssize_t sent, bool *ret_broken)
{
    *ret_broken |= sent < 0 && errno != EAGAIN && errno != EINTR;
    if (sent <= 0)
        return false;
    flow->at += (size_t)sent;
    if (flow->at == flow->n)
        flow->at = flow->n = 0;
    return true;
}

static bool can_read(const struct fl_tls_flow *flow)
{
    return flow->n == 0 && !flow->at_end;
}

/* One round, from the link. True when anything moved. */
static bool move_in(struct fl_tls_relay *relay, bool *ret_broken)
{
    struct fl_tls_flow *flow = &relay->in;
    bool moved = false;
    if (can_read(flow)) {
        moved = fill(flow, fl_tls_link_recv(relay->tls, flow->bytes, sizeof(flow->bytes)));
        if (flow->at_end)
            (void)shutdown(relay->plain, SHUT_WR);
    }
    if (flow->n > 0)
        moved |= drain(flow,
                       send(relay->plain, flow->bytes + flow->at, flow->n - flow->at, MSG_NOSIGNAL),
                       ret_broken);
    return moved;
}

static bool move_out(struct fl_tls_relay *relay, bool *ret_broken)
{
    struct fl_tls_flow *flow = &relay->out;
    bool moved = false;
    if (can_read(flow)) {
        moved = fill(flow, recv(relay->plain, flow->bytes, sizeof(flow->bytes), 0));
        if (flow->at_end)
            fl_tls_link_finish(relay->tls);
    }
    if (flow->n > 0)
        moved |=
            drain(flow, fl_tls_link_send(relay->tls, flow->bytes + flow->at, flow->n - flow->at),
                  ret_broken);
    return moved;
}

bool fl_tls_relay_move(struct fl_tls_relay *relay, bool *ret_moved)
{
    bool is_broken = false, moved = true, any = false;
    for (int i = 0; i < ROUNDS && moved && !is_broken; i++) {
        moved = move_in(relay, &is_broken);
        moved |= move_out(relay, &is_broken);
        any |= moved;
    }
    relay->stopped_short = moved;
    if (ret_moved)
        *ret_moved = any;
    return !is_broken;
}

bool fl_tls_flow_is_over(const struct fl_tls_flow *flow)
{
    return flow->at_end && flow->n == 0;
}

void fl_tls_relay_poll(uv_poll_t *poll, int events, uv_poll_cb on_event)
{
    if (events)
        (void)uv_poll_start(poll, events, on_event);
    else
        (void)uv_poll_stop(poll);
}

void fl_tls_relay_watch(const struct fl_tls_relay *relay, uv_poll_t *tls_poll,
                        uv_poll_t *plain_poll, uv_poll_cb on_event)
{
    const struct fl_tls_flow *in = &relay->in, *out = &relay->out;
    int tls = (can_read(in) ? UV_READABLE : 0) | (out->n ? UV_WRITABLE : 0);
    int plain = (can_read(out) ? UV_READABLE : 0) | (in->n ? UV_WRITABLE : 0);
    /* Decrypted bytes that poll knows nothing of: a writable socket reports at once. */
    if (can_read(in) && relay->stopped_short && fl_tls_link_pending(relay->tls))
        tls |= UV_WRITABLE;
    fl_tls_relay_poll(tls_poll, tls, on_event);
    fl_tls_relay_poll(plain_poll, plain, on_event);
}
