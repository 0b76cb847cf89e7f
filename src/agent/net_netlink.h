/* Talking with the kernel over netlink: requests, batches of them, and their answers.
 *
 * A struct nl_sock belongs to the network namespace it was opened in, whatever namespace its thread
 * is in later. Messages are built with libnl's checked functions; sending is done here, because
 * libnl's own error codes forget which errno the kernel gave. Everything returns 0 or -errno. */
#pragma once

#include <netlink/attr.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <stdbool.h>
#include <stddef.h>

static inline void fl_cleanup_nl_sock(struct nl_sock **sock)
{
    nl_socket_free(*sock);
}
#define FL_CLEANUP_NL_SOCK __attribute__((cleanup(fl_cleanup_nl_sock)))

/* Takes each message of a reply; a negative return value ends the request with it. */
typedef int (*fl_nl_reply)(struct nlmsghdr *message, void *context);

/* A socket of that protocol in the calling thread's namespace, owned by the caller
 * (nl_socket_free). An answer that does not come within ten seconds is -EAGAIN. */
int fl_nl_open(int protocol, struct nl_sock **ret_sock);
/* A request that begins with that head; NULL when there is no memory. */
struct nl_msg *fl_nl_new(int type, int flags, const void *head, size_t head_size);
/* Sends the message, frees it, and waits for the kernel's word; -ENOMEM for NULL. */
int fl_nl_request(struct nl_sock *sock, struct nl_msg *message, fl_nl_reply fn, void *context);
/* The same for a message whose attributes may not have fitted: sent only when it is complete. */
int fl_nl_request_if(struct nl_sock *sock, struct nl_msg *message, bool complete);

enum { FL_NL_BATCH_MAX = 8 };

/* Requests that are sent at once and carried out in order. One that cannot be made leaves the batch
 * broken, and nothing of it is sent. Zeroed memory is an empty batch. */
struct fl_nl_batch {
    struct nl_msg *messages[FL_NL_BATCH_MAX];
    size_t count;
    bool broken;
};

/* Takes the message; NULL or an incomplete one breaks the batch. */
void fl_nl_add(struct fl_nl_batch *batch, struct nl_msg *message, bool complete);
/* Sends the batch and empties it. The first error is the answer; what comes behind the request that
 * failed is tried all the same. */
int fl_nl_send(struct nl_sock *sock, struct fl_nl_batch *batch, fl_nl_reply fn, void *context);
