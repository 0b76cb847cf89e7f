/* Finds connection tracking entries by protocol and port, then deletes each by itself; see the
 * header. One walk through the kernel's table for each family, however many ports are meant. */
#include "agent/net_conntrack.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <netinet/in.h>

#include "agent/net_netlink.h"
#include "base/util.h"

/* Which members of the tuple count; the kernel's value, which its public headers leave out. */
enum { MATCH_PROTOCOL = 1 << 3 };
/* What is found beyond this many entries is left to time out. */
enum { MAX_FOUND = 4096, MAX_TUPLE = 128 };

struct found {
    uint8_t family;
    int tuple_size;
    uint8_t tuple[MAX_TUPLE]; /* the contents of CTA_TUPLE_ORIG */
};

struct search {
    uint16_t first;
    uint16_t more;
    struct found *items; /* owned; grows */
    size_t count;
    size_t room;
};

static bool is_meant(struct nlattr *tuple, const struct search *search)
{
    struct nlattr *parts[CTA_TUPLE_MAX + 1], *protocol[CTA_PROTO_MAX + 1];
    if (nla_parse_nested(parts, CTA_TUPLE_MAX, tuple, NULL) < 0 || !parts[CTA_TUPLE_PROTO] ||
        nla_parse_nested(protocol, CTA_PROTO_MAX, parts[CTA_TUPLE_PROTO], NULL) < 0 ||
        !protocol[CTA_PROTO_NUM] || !protocol[CTA_PROTO_DST_PORT] ||
        nla_len(protocol[CTA_PROTO_NUM]) < 1 || nla_len(protocol[CTA_PROTO_DST_PORT]) < 2)
        return false;
    uint16_t port = ntohs(nla_get_u16(protocol[CTA_PROTO_DST_PORT]));
    return nla_get_u8(protocol[CTA_PROTO_NUM]) == IPPROTO_UDP && port >= search->first &&
           port - search->first <= search->more;
}

static void keep(struct search *search, uint8_t family, struct nlattr *tuple)
{
    if (search->count == MAX_FOUND || nla_len(tuple) > MAX_TUPLE)
        return;
    if (search->count == search->room) {
        search->room = FL_MAX(search->room * 2, (size_t)16);
        search->items = fl_realloc(search->items, search->room * sizeof(*search->items));
    }
    struct found *found = &search->items[search->count++];
    found->family = family;
    found->tuple_size = nla_len(tuple);
    memcpy(found->tuple, nla_data(tuple), (size_t)nla_len(tuple));
}

static int take_entry(struct nlmsghdr *message, void *context)
{
    struct nlattr *attrs[CTA_MAX + 1];
    struct nfgenmsg *head = nlmsg_data(message);
    if ((message->nlmsg_type & 0xff) == IPCTNL_MSG_CT_NEW &&
        nlmsg_parse(message, sizeof(*head), attrs, CTA_MAX, NULL) == 0 && attrs[CTA_TUPLE_ORIG] &&
        is_meant(attrs[CTA_TUPLE_ORIG], context))
        keep(context, head->nfgen_family, attrs[CTA_TUPLE_ORIG]);
    return 0;
}

static struct nl_msg *request(int type, int flags, uint8_t family)
{
    struct nfgenmsg head = {.nfgen_family = family, .version = 1};
    return fl_nl_new(NFNL_SUBSYS_CTNETLINK << 8 | type, flags, &head, sizeof(head));
}

/* A kernel before 5.8 knows no filter and tells of all entries. */
static bool put_filter(struct nl_msg *message)
{
    struct nlattr *tuple = nla_nest_start(message, CTA_TUPLE_ORIG);
    struct nlattr *protocol = tuple ? nla_nest_start(message, CTA_TUPLE_PROTO) : NULL;
    if (!protocol || nla_put_u8(message, CTA_PROTO_NUM, IPPROTO_UDP) < 0)
        return false;
    nla_nest_end(message, protocol);
    nla_nest_end(message, tuple);
    struct nlattr *filter = nla_nest_start(message, CTA_FILTER);
    if (!filter || nla_put_u32(message, CTA_FILTER_ORIG_FLAGS, MATCH_PROTOCOL) < 0)
        return false;
    nla_nest_end(message, filter);
    return true;
}

static void find(struct nl_sock *sock, uint8_t family, struct search *search)
{
    struct nl_msg *message = request(IPCTNL_MSG_CT_GET, NLM_F_DUMP, family);
    if (message && put_filter(message))
        (void)fl_nl_request(sock, message, take_entry, search);
    else
        nlmsg_free(message);
}

/* Nothing is sent unless it is complete: a deletion without its tuple would forget every flow. */
static void forget(struct nl_sock *sock, const struct found *found)
{
    struct nl_msg *message = request(IPCTNL_MSG_CT_DELETE, 0, found->family);
    bool is_complete = message && nla_put(message, CTA_TUPLE_ORIG | NLA_F_NESTED, found->tuple_size,
                                          found->tuple) == 0;
    (void)fl_nl_request_if(sock, message, is_complete);
}

void fl_conntrack_forget_udp(uint16_t first_port, uint16_t more)
{
    FL_CLEANUP_NL_SOCK struct nl_sock *sock = NULL;
    struct search search = {.first = first_port, .more = more};
    if (fl_nl_open(NETLINK_NETFILTER, &sock) < 0)
        return;
    find(sock, AF_INET, &search);
    find(sock, AF_INET6, &search);
    for (size_t i = 0; i < search.count; i++)
        forget(sock, &search.items[i]);
    free(search.items);
}
