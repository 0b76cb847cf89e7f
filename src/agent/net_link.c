/* Links, addresses and routes through rtnetlink; see the header.
 *
 * Messages are built and read with libnl's checked attribute functions; sending is done here,
 * because libnl's own error codes forget which errno the kernel gave. */
#include "agent/net_link.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <sched.h>
#include <sys/socket.h>

#include "base/util.h"

enum { MAX_REPLY = 65536, REPLY_DEADLINE_S = 10 };

/* Takes each message of a reply; a negative return value ends the request with it. */
typedef int (*reply_fn)(struct nlmsghdr *message, void *context);

static struct nl_msg *new_message(int type, int flags, void *head, size_t head_size)
{
    struct nl_msg *message = nlmsg_alloc_simple(type, NLM_F_REQUEST | NLM_F_ACK | flags);
    if (!message || nlmsg_append(message, head, head_size, NLMSG_ALIGNTO) < 0) {
        nlmsg_free(message);
        return NULL;
    }
    return message;
}

static int error_of(struct nlmsghdr *message)
{
    struct nlmsgerr *error = nlmsg_data(message);
    return nlmsg_datalen(message) < (int)sizeof(*error) ? -EBADMSG : error->error;
}

/* 1: this was the last message of the reply. */
static int take_reply(struct nlmsghdr *message, uint32_t sequence, reply_fn fn, void *context)
{
    if (message->nlmsg_seq != sequence)
        return 0;
    if (message->nlmsg_type == NLMSG_DONE)
        return 1;
    if (message->nlmsg_type == NLMSG_ERROR) {
        int rc = error_of(message);
        return rc < 0 ? rc : 1;
    }
    return fn ? fn(message, context) : 0;
}

static int read_reply(int fd, uint32_t sequence, reply_fn fn, void *context)
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
        for (; nlmsg_ok(message, left); message = nlmsg_next(message, &left)) {
            int rc = take_reply(message, sequence, fn, context);
            if (rc != 0)
                return FL_MIN(rc, 0);
        }
    }
}

/* Sends the message, frees it, and waits for the kernel's word. */
static int request(struct nl_sock *sock, struct nl_msg *message, reply_fn fn, void *context)
{
    if (!message)
        return -ENOMEM;
    struct nlmsghdr *head = nlmsg_hdr(message);
    head->nlmsg_seq = nl_socket_use_seq(sock);
    ssize_t sent = send(nl_socket_get_fd(sock), head, head->nlmsg_len, 0);
    uint32_t sequence = head->nlmsg_seq;
    int rc = sent < 0 ? -errno : 0;
    nlmsg_free(message);
    return rc < 0 ? rc : read_reply(nl_socket_get_fd(sock), sequence, fn, context);
}

/* The same for a message whose attributes may not have fitted. */
static int request_if(struct nl_sock *sock, struct nl_msg *message, bool complete)
{
    if (complete)
        return request(sock, message, NULL, NULL);
    nlmsg_free(message);
    return -ENOMEM;
}

int fl_link_socket(struct nl_sock **ret_sock)
{
    struct timeval deadline = {.tv_sec = REPLY_DEADLINE_S};
    struct nl_sock *sock = nl_socket_alloc();
    if (!sock)
        return -ENOMEM;
    if (nl_connect(sock, NETLINK_ROUTE) < 0 ||
        setsockopt(nl_socket_get_fd(sock), SOL_SOCKET, SO_RCVTIMEO, &deadline, sizeof(deadline)) <
            0) {
        nl_socket_free(sock);
        return -EPROTO;
    }
    *ret_sock = sock;
    return 0;
}

int fl_link_new_netns(int *ret_netns_fd, struct nl_sock **ret_sock)
{
    FL_CLEANUP_FD int home = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    if (home < 0 || unshare(CLONE_NEWNET) < 0)
        return -errno;
    int netns_fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    int rc = netns_fd < 0 ? -errno : fl_link_socket(ret_sock);
    /* A thread that could not return would do all its work in the wrong network. */
    FL_ASSERT(setns(home, CLONE_NEWNET) == 0);
    if (rc < 0 && netns_fd >= 0)
        close(netns_fd);
    if (rc == 0)
        *ret_netns_fd = netns_fd;
    return rc;
}

static int take_index(struct nlmsghdr *message, void *context)
{
    struct ifinfomsg *info = nlmsg_data(message);
    if (message->nlmsg_type == RTM_NEWLINK && nlmsg_datalen(message) >= (int)sizeof(*info))
        *(int *)context = info->ifi_index;
    return 0;
}

int fl_link_index(struct nl_sock *sock, const char *name, int *ret_index)
{
    struct ifinfomsg info = {.ifi_family = AF_UNSPEC};
    struct nl_msg *message = new_message(RTM_GETLINK, 0, &info, sizeof(info));
    int index = 0;
    if (message)
        nla_put_string(message, IFLA_IFNAME, name);
    int rc = request(sock, message, take_index, &index);
    if (rc == 0 && index <= 0)
        rc = -ENODEV;
    if (rc == 0)
        *ret_index = index;
    return rc;
}

static int create_bridge(struct nl_sock *sock, const char *name, const uint8_t mac[6])
{
    struct ifinfomsg info = {.ifi_family = AF_UNSPEC};
    struct nl_msg *message =
        new_message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &info, sizeof(info));
    if (!message)
        return -ENOMEM;
    bool complete = nla_put_string(message, IFLA_IFNAME, name) == 0 &&
                    nla_put(message, IFLA_ADDRESS, 6, mac) == 0;
    struct nlattr *link = nla_nest_start(message, IFLA_LINKINFO);
    complete = complete && link && nla_put_string(message, IFLA_INFO_KIND, "bridge") == 0;
    if (complete)
        nla_nest_end(message, link);
    return request_if(sock, message, complete);
}

static int take_kind(struct nlmsghdr *message, void *context)
{
    struct nlattr *attrs[IFLA_MAX + 1], *link[IFLA_INFO_MAX + 1];
    if (message->nlmsg_type != RTM_NEWLINK ||
        nlmsg_parse(message, sizeof(struct ifinfomsg), attrs, IFLA_MAX, NULL) < 0)
        return 0;
    if (!attrs[IFLA_LINKINFO] || nla_parse_nested(link, IFLA_INFO_MAX, attrs[IFLA_LINKINFO], NULL))
        return 0;
    *(bool *)context = link[IFLA_INFO_KIND] && nla_strcmp(link[IFLA_INFO_KIND], "bridge") == 0;
    return 0;
}

static int check_is_bridge(struct nl_sock *sock, int index)
{
    struct ifinfomsg info = {.ifi_family = AF_UNSPEC, .ifi_index = index};
    bool is_bridge = false;
    int rc = request(sock, new_message(RTM_GETLINK, 0, &info, sizeof(info)), take_kind, &is_bridge);
    return rc < 0 ? rc : is_bridge ? 0 : -EEXIST;
}

int fl_link_make_bridge(struct nl_sock *sock, const char *name, const uint8_t mac[6],
                        int *ret_index)
{
    int index;
    int rc = create_bridge(sock, name, mac);
    if (rc < 0 && rc != -EEXIST)
        return rc;
    rc = fl_link_index(sock, name, &index);
    if (rc == 0)
        rc = check_is_bridge(sock, index);
    if (rc == 0)
        *ret_index = index;
    return rc;
}

struct address_search {
    int index;
    bool found;
    uint32_t address;
    uint8_t prefix;
};

static bool read_ipv4(struct nlattr *attr, uint32_t *ret_address)
{
    if (!attr || nla_len(attr) < 4)
        return false;
    *ret_address = fl_ipv4_of(nla_data(attr));
    return true;
}

static int take_address(struct nlmsghdr *message, void *context)
{
    struct address_search *search = context;
    struct nlattr *attrs[IFA_MAX + 1];
    struct ifaddrmsg *info = nlmsg_data(message);
    if (message->nlmsg_type != RTM_NEWADDR || search->found ||
        nlmsg_parse(message, sizeof(*info), attrs, IFA_MAX, NULL) < 0)
        return 0;
    if ((int)info->ifa_index != search->index || info->ifa_prefixlen >= 32)
        return 0;
    search->found = read_ipv4(attrs[IFA_LOCAL], &search->address);
    search->prefix = info->ifa_prefixlen;
    return 0;
}

int fl_link_address(struct nl_sock *sock, int index, uint32_t *ret_address, uint8_t *ret_prefix)
{
    struct ifaddrmsg info = {.ifa_family = AF_INET};
    struct address_search search = {.index = index};
    int rc = request(sock, new_message(RTM_GETADDR, NLM_F_DUMP, &info, sizeof(info)), take_address,
                     &search);
    if (rc < 0 || !search.found)
        return rc < 0 ? rc : -ENOENT;
    *ret_address = search.address;
    *ret_prefix = search.prefix;
    return 0;
}

int fl_link_add_address(struct nl_sock *sock, int index, uint32_t address, uint8_t prefix)
{
    struct ifaddrmsg info = {
        .ifa_family = AF_INET, .ifa_prefixlen = prefix, .ifa_index = (unsigned)index};
    struct nl_msg *message =
        new_message(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, &info, sizeof(info));
    uint32_t wire = htonl(address);
    uint32_t broadcast = htonl(address | (prefix < 32 ? UINT32_MAX >> prefix : 0));
    if (!message)
        return -ENOMEM;
    bool complete = nla_put(message, IFA_LOCAL, 4, &wire) == 0 &&
                    nla_put(message, IFA_ADDRESS, 4, &wire) == 0 &&
                    nla_put(message, IFA_BROADCAST, 4, &broadcast) == 0;
    int rc = request_if(sock, message, complete);
    return rc == -EEXIST ? 0 : rc;
}

int fl_link_set_up(struct nl_sock *sock, int index)
{
    struct ifinfomsg info = {
        .ifi_family = AF_UNSPEC, .ifi_index = index, .ifi_flags = IFF_UP, .ifi_change = IFF_UP};
    return request(sock, new_message(RTM_NEWLINK, 0, &info, sizeof(info)), NULL, NULL);
}

void fl_link_mute_ipv6(struct nl_sock *sock, const char *name)
{
    struct ifinfomsg info = {.ifi_family = AF_UNSPEC};
    struct nl_msg *message = new_message(RTM_NEWLINK, 0, &info, sizeof(info));
    if (!message)
        return;
    bool complete = nla_put_string(message, IFLA_IFNAME, name) == 0;
    struct nlattr *families = nla_nest_start(message, IFLA_AF_SPEC);
    struct nlattr *ipv6 = families ? nla_nest_start(message, AF_INET6) : NULL;
    complete = complete && ipv6 &&
               nla_put_u8(message, IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE) == 0;
    if (complete) {
        nla_nest_end(message, ipv6);
        nla_nest_end(message, families);
    }
    (void)request_if(sock, message, complete);
}

int fl_link_add_default_route(struct nl_sock *sock, uint32_t gateway)
{
    struct rtmsg route = {.rtm_family = AF_INET,
                          .rtm_table = RT_TABLE_MAIN,
                          .rtm_protocol = RTPROT_BOOT,
                          .rtm_scope = RT_SCOPE_UNIVERSE,
                          .rtm_type = RTN_UNICAST};
    struct nl_msg *message =
        new_message(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, &route, sizeof(route));
    uint32_t wire = htonl(gateway);
    if (!message)
        return -ENOMEM;
    return request_if(sock, message, nla_put(message, RTA_GATEWAY, 4, &wire) == 0);
}

int fl_link_delete(struct nl_sock *sock, const char *name)
{
    struct ifinfomsg info = {.ifi_family = AF_UNSPEC};
    struct nl_msg *message = new_message(RTM_DELLINK, 0, &info, sizeof(info));
    if (!message)
        return -ENOMEM;
    return request_if(sock, message, nla_put_string(message, IFLA_IFNAME, name) == 0);
}

static bool put_veth_peer(struct nl_msg *message, int netns_fd, const uint8_t mac[6])
{
    struct ifinfomsg info = {.ifi_family = AF_UNSPEC};
    struct nlattr *link = nla_nest_start(message, IFLA_LINKINFO);
    if (!link || nla_put_string(message, IFLA_INFO_KIND, "veth") < 0)
        return false;
    struct nlattr *data = nla_nest_start(message, IFLA_INFO_DATA);
    struct nlattr *peer = data ? nla_nest_start(message, VETH_INFO_PEER) : NULL;
    if (!peer || nlmsg_append(message, &info, sizeof(info), NLMSG_ALIGNTO) < 0 ||
        nla_put_string(message, IFLA_IFNAME, "eth0") < 0 ||
        nla_put(message, IFLA_ADDRESS, 6, mac) < 0 ||
        nla_put_u32(message, IFLA_NET_NS_FD, (uint32_t)netns_fd) < 0)
        return false;
    nla_nest_end(message, peer);
    nla_nest_end(message, data);
    nla_nest_end(message, link);
    return true;
}

/* Where frames of the bridge pass through the packet filter (br_netfilter), what a container sends
 * to a port of its own is turned round within the bridge: the port must then let it back out. */
static bool put_hairpin(struct nl_msg *message)
{
    struct nlattr *link = nla_nest_start(message, IFLA_LINKINFO);
    if (!link || nla_put_string(message, IFLA_INFO_SLAVE_KIND, "bridge") < 0)
        return false;
    struct nlattr *data = nla_nest_start(message, IFLA_INFO_SLAVE_DATA);
    if (!data || nla_put_u8(message, IFLA_BRPORT_MODE, 1) < 0)
        return false;
    nla_nest_end(message, data);
    nla_nest_end(message, link);
    return true;
}

static int create_veth(struct nl_sock *sock, const char *host_name, int bridge_index, int netns_fd,
                       const uint8_t mac[6])
{
    struct ifinfomsg info = {.ifi_family = AF_UNSPEC};
    struct nl_msg *message =
        new_message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &info, sizeof(info));
    if (!message)
        return -ENOMEM;
    bool complete = nla_put_string(message, IFLA_IFNAME, host_name) == 0 &&
                    nla_put_u32(message, IFLA_MASTER, (uint32_t)bridge_index) == 0 &&
                    put_veth_peer(message, netns_fd, mac);
    return request_if(sock, message, complete);
}

/* The pair is created down and set up afterwards: IFF_UP at birth fails before the peer exists. */
int fl_link_make_veth(struct nl_sock *sock, const char *host_name, int bridge_index, int netns_fd,
                      const uint8_t mac[6])
{
    struct ifinfomsg up = {.ifi_family = AF_UNSPEC, .ifi_flags = IFF_UP, .ifi_change = IFF_UP};
    int rc = create_veth(sock, host_name, bridge_index, netns_fd, mac);
    if (rc < 0)
        return rc;
    fl_link_mute_ipv6(sock, host_name);
    struct nl_msg *message = new_message(RTM_NEWLINK, 0, &up, sizeof(up));
    if (!message)
        return -ENOMEM;
    bool complete = nla_put_string(message, IFLA_IFNAME, host_name) == 0 && put_hairpin(message);
    return request_if(sock, message, complete);
}

struct ranges {
    int skip_index;
    struct fl_subnet *items;
    size_t max;
    size_t count;
};

static int add_range(struct ranges *ranges, uint32_t address, uint8_t prefix)
{
    if (ranges->count == ranges->max)
        return -E2BIG;
    ranges->items[ranges->count++] = fl_subnet_of(address, prefix);
    return 0;
}

static int take_address_range(struct nlmsghdr *message, void *context)
{
    struct ranges *ranges = context;
    struct nlattr *attrs[IFA_MAX + 1];
    struct ifaddrmsg *info = nlmsg_data(message);
    uint32_t address;
    if (message->nlmsg_type != RTM_NEWADDR ||
        nlmsg_parse(message, sizeof(*info), attrs, IFA_MAX, NULL) < 0)
        return 0;
    if ((int)info->ifa_index == ranges->skip_index || info->ifa_prefixlen > 32 ||
        !read_ipv4(attrs[IFA_ADDRESS], &address))
        return 0;
    return add_range(ranges, address, info->ifa_prefixlen);
}

static int take_route_range(struct nlmsghdr *message, void *context)
{
    struct ranges *ranges = context;
    struct nlattr *attrs[RTA_MAX + 1];
    struct rtmsg *route = nlmsg_data(message);
    uint32_t address;
    if (message->nlmsg_type != RTM_NEWROUTE ||
        nlmsg_parse(message, sizeof(*route), attrs, RTA_MAX, NULL) < 0)
        return 0;
    int index =
        attrs[RTA_OIF] && nla_len(attrs[RTA_OIF]) >= 4 ? (int)nla_get_u32(attrs[RTA_OIF]) : 0;
    /* Halves of everything (0.0.0.0/1, 128.0.0.0/1) are how tunnels write a default route. */
    if (route->rtm_dst_len <= 1 || route->rtm_dst_len > 32 ||
        (index != 0 && index == ranges->skip_index) || !read_ipv4(attrs[RTA_DST], &address))
        return 0;
    return add_range(ranges, address, route->rtm_dst_len);
}

int fl_link_used_ranges(struct nl_sock *sock, int skip_index, struct fl_subnet *items, size_t max,
                        size_t *ret_count)
{
    struct ranges ranges = {.skip_index = skip_index, .items = items, .max = max};
    struct ifaddrmsg info = {.ifa_family = AF_INET};
    struct rtmsg route = {.rtm_family = AF_INET};
    int rc = request(sock, new_message(RTM_GETADDR, NLM_F_DUMP, &info, sizeof(info)),
                     take_address_range, &ranges);
    if (rc == 0)
        rc = request(sock, new_message(RTM_GETROUTE, NLM_F_DUMP, &route, sizeof(route)),
                     take_route_range, &ranges);
    if (rc == 0)
        *ret_count = ranges.count;
    return rc;
}
