/* Deletes connection tracking entries by a filter in the kernel; see the header. */
#include "agent/net_conntrack.h"

#include <arpa/inet.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <netinet/in.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <stdbool.h>

#include "agent/net_link.h"

/* Which members of the tuple count; the kernel's values, which its public headers leave out. */
enum { MATCH_PROTOCOL = 1 << 3, MATCH_DESTINATION_PORT = 1 << 5 };

static bool put_tuple(struct nl_msg *message, uint16_t port)
{
    struct nlattr *tuple = nla_nest_start(message, CTA_TUPLE_ORIG);
    struct nlattr *protocol = tuple ? nla_nest_start(message, CTA_TUPLE_PROTO) : NULL;
    if (!protocol || nla_put_u8(message, CTA_PROTO_NUM, IPPROTO_UDP) < 0 ||
        nla_put_u16(message, CTA_PROTO_DST_PORT, htons(port)) < 0)
        return false;
    nla_nest_end(message, protocol);
    nla_nest_end(message, tuple);
    return true;
}

static bool put_filter(struct nl_msg *message)
{
    struct nlattr *filter = nla_nest_start(message, CTA_FILTER);
    if (!filter ||
        nla_put_u32(message, CTA_FILTER_ORIG_FLAGS, MATCH_PROTOCOL | MATCH_DESTINATION_PORT) < 0)
        return false;
    nla_nest_end(message, filter);
    return true;
}

void fl_conntrack_forget_udp(uint16_t host_port)
{
    FL_CLEANUP_NL_SOCK struct nl_sock *sock = nl_socket_alloc();
    struct nfgenmsg head = {.nfgen_family = AF_INET, .version = 1};
    if (!sock || nl_connect(sock, NETLINK_NETFILTER) < 0)
        return;
    struct nl_msg *message = nlmsg_alloc_simple(NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE,
                                                NLM_F_REQUEST | NLM_F_ACK);
    if (!message)
        return;
    /* Sent only when complete: a deletion without its filter would forget every flow. */
    if (nlmsg_append(message, &head, sizeof(head), NLMSG_ALIGNTO) == 0 &&
        put_tuple(message, host_port) && put_filter(message))
        (void)nl_send_sync(sock, message);
    else
        nlmsg_free(message);
}
