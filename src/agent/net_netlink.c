/* Netlink requests and batches; see the header. */
#include "agent/net_netlink.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "base/util.h"

enum { MAX_REPLY = 65536, REPLY_DEADLINE_S = 10 };

int fl_nl_open(int protocol, struct nl_sock **ret_sock)
{
    struct timeval deadline = {.tv_sec = REPLY_DEADLINE_S};
    struct nl_sock *sock = nl_socket_alloc();
    if (!sock)
        return -ENOMEM;
    if (nl_connect(sock, protocol) < 0 ||
        setsockopt(nl_socket_get_fd(sock), SOL_SOCKET, SO_RCVTIMEO, &deadline, sizeof(deadline)) <
            0) {
        nl_socket_free(sock);
        return -EPROTO;
    }
    *ret_sock = sock;
    return 0;
}

struct nl_msg *fl_nl_new(int type, int flags, const void *head, size_t head_size)
{
    struct nl_msg *message = nlmsg_alloc_simple(type, NLM_F_REQUEST | flags);
    if (!message || nlmsg_append(message, (void *)head, head_size, NLMSG_ALIGNTO) < 0) {
        nlmsg_free(message);
        return NULL;
    }
    return message;
}

/* What is waited for: answers to requests first to last, of which the last is acknowledged. */
struct waiting {
    uint32_t first;
    uint32_t last;
    fl_nl_reply fn;
    void *context;
    int rc;
};

static int error_of(struct nlmsghdr *message)
{
    struct nlmsgerr *error = nlmsg_data(message);
    return nlmsg_datalen(message) < (int)sizeof(*error) ? -EBADMSG : error->error;
}

/* True: this was the last message of the reply. */
static bool take_reply(struct nlmsghdr *message, struct waiting *waiting)
{
    bool is_last = message->nlmsg_seq == waiting->last;
    int rc = 0;
    if (message->nlmsg_seq - waiting->first > waiting->last - waiting->first)
        return false;
    if (message->nlmsg_type == NLMSG_DONE)
        return is_last;
    if (message->nlmsg_type == NLMSG_ERROR)
        rc = error_of(message);
    else if (waiting->fn)
        rc = waiting->fn(message, waiting->context);
    if (waiting->rc == 0 && rc < 0)
        waiting->rc = rc;
    return is_last && (message->nlmsg_type == NLMSG_ERROR || rc < 0);
}

static int read_reply(int fd, struct waiting *waiting)
{
    FL_CLEANUP_FREE char *bytes = fl_malloc(MAX_REPLY);
    for (;;) {
        ssize_t got = recv(fd, bytes, MAX_REPLY, MSG_TRUNC);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0 || got > MAX_REPLY)
            return got < 0 ? -errno : -EMSGSIZE;
        int left = (int)got;
        struct nlmsghdr *message = (struct nlmsghdr *)(void *)bytes;
        for (; nlmsg_ok(message, left); message = nlmsg_next(message, &left))
            if (take_reply(message, waiting))
                return waiting->rc;
    }
}

static int send_all(struct nl_sock *sock, struct nl_msg **messages, size_t count,
                    struct waiting *waiting)
{
    struct iovec parts[FL_NL_BATCH_MAX];
    for (size_t i = 0; i < count; i++) {
        struct nlmsghdr *head = nlmsg_hdr(messages[i]);
        head->nlmsg_seq = nl_socket_use_seq(sock);
        head->nlmsg_flags |= i + 1 == count ? NLM_F_ACK : 0;
        parts[i] = (struct iovec){head, NLMSG_ALIGN(head->nlmsg_len)};
        waiting->last = head->nlmsg_seq;
    }
    waiting->first = nlmsg_hdr(messages[0])->nlmsg_seq;
    struct msghdr all = {.msg_iov = parts, .msg_iovlen = count};
    return sendmsg(nl_socket_get_fd(sock), &all, 0) < 0 ? -errno : 0;
}

int fl_nl_request(struct nl_sock *sock, struct nl_msg *message, fl_nl_reply fn, void *context)
{
    struct waiting waiting = {.fn = fn, .context = context};
    if (!message)
        return -ENOMEM;
    int rc = send_all(sock, &message, 1, &waiting);
    nlmsg_free(message);
    return rc < 0 ? rc : read_reply(nl_socket_get_fd(sock), &waiting);
}

int fl_nl_request_if(struct nl_sock *sock, struct nl_msg *message, bool complete)
{
    if (message && complete)
        return fl_nl_request(sock, message, NULL, NULL);
    nlmsg_free(message);
    return -ENOMEM;
}

void fl_nl_add(struct fl_nl_batch *batch, struct nl_msg *message, bool complete)
{
    bool fits = message && complete && batch->count < FL_NL_BATCH_MAX;
    if (fits)
        batch->messages[batch->count++] = message;
    else
        nlmsg_free(message);
    batch->broken = batch->broken || !fits;
}

int fl_nl_send(struct nl_sock *sock, struct fl_nl_batch *batch, fl_nl_reply fn, void *context)
{
    struct waiting waiting = {.fn = fn, .context = context};
    int rc = batch->broken ? -ENOMEM : 0;
    if (rc == 0 && batch->count > 0)
        rc = send_all(sock, batch->messages, batch->count, &waiting);
    bool is_sent = rc == 0 && batch->count > 0;
    for (size_t i = 0; i < batch->count; i++)
        nlmsg_free(batch->messages[i]);
    *batch = (struct fl_nl_batch){0};
    return is_sent ? read_reply(nl_socket_get_fd(sock), &waiting) : rc;
}
