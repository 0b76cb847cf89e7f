/* Deletes connection tracking entries by a filter in the kernel; see the header. */
#include "agent/net_conntrack.h"

#include <arpa/inet.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <netinet/in.h>

#include "agent/net_netlink.h"
#include "base/util.h"

/* Each deletion goes through the whole table. */
enum { FORGOTTEN_MAX = 256 };

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

/* Nothing is sent unless it is complete: a deletion without its filter would forget every flow. */
static void forget(struct nl_sock *sock, int family, uint16_t port)
{
    struct nfgenmsg head = {.nfgen_family = (uint8_t)family, .version = 1};
    struct nl_msg *message =
        fl_nl_new(NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE, 0, &head, sizeof(head));
    (void)fl_nl_request_if(sock, message,
                           message && put_tuple(message, port) && put_filter(message));
}

void fl_conntrack_forget_udp(uint16_t host_port, uint16_t more, bool ipv6)
{
    FL_CLEANUP_NL_SOCK struct nl_sock *sock = NULL;
    unsigned count = FL_MIN(more + 1U, (unsigned)FORGOTTEN_MAX);
    if (fl_nl_open(NETLINK_NETFILTER, &sock) < 0)
        return;
    for (unsigned i = 0; i < count; i++) {
        forget(sock, AF_INET, (uint16_t)(host_port + i));
        if (ipv6)
            forget(sock, AF_INET6, (uint16_t)(host_port + i));
    }
}
