/* Links, addresses and routes through rtnetlink; see the header. */
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

enum { LOOPBACK_INDEX = 1, LAST_METRIC = 2048 };

int fl_link_new_netns(int *ret_netns_fd, struct nl_sock **ret_sock)
{
    FL_CLEANUP_FD int home = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    if (home < 0 || unshare(CLONE_NEWNET) < 0)
        return -errno;
    int netns_fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    int rc = netns_fd < 0 ? -errno : fl_nl_open(NETLINK_ROUTE, ret_sock);
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
    struct nl_msg *message = fl_nl_new(RTM_GETLINK, 0, &info, sizeof(info));
    int index = 0;
    if (message)
        nla_put_string(message, IFLA_IFNAME, name);
    int rc = fl_nl_request(sock, message, take_index, &index);
    if (rc == 0 && index <= 0)
        rc = -ENODEV;
    if (rc == 0)
        *ret_index = index;
    return rc;
}

static int create_bridge(struct nl_sock *sock, const char *name, const uint8_t mac[6])
{
    struct ifinfomsg info = {.ifi_family = AF_UNSPEC};
    struct nl_msg *message = fl_nl_new(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &info, sizeof(info));
    if (!message)
        return -ENOMEM;
    bool complete = nla_put_string(message, IFLA_IFNAME, name) == 0 &&
                    nla_put(message, IFLA_ADDRESS, 6, mac) == 0;
    struct nlattr *link = nla_nest_start(message, IFLA_LINKINFO);
    complete = complete && link && nla_put_string(message, IFLA_INFO_KIND, "bridge") == 0;
    if (complete)
        nla_nest_end(message, link);
    return fl_nl_request_if(sock, message, complete);
}

static int take_kind(struct nlmsghdr *message, void *context)
{
    struct nlattr *attrs[IFLA_MAX + 1], *link[IFLA_INFO_MAX + 1];
    if (message->nlmsg_type != RTM_NEWLINK ||
        nlmsg_parse(message, sizeof(struct ifinfomsg), attrs, IFLA_MAX, NULL) < 0)
        return 0;
    if (!attrs[IFLA_LINKINFO] || nla_parse_nested(link, IFLA_INFO_MAX, attrs[IFLA_LINKINFO], NULL))
        return 0;
    if (link[IFLA_INFO_KIND] && nla_strcmp(link[IFLA_INFO_KIND], "bridge") == 0)
        *(bool *)context = true;
    return 0;
}

int fl_link_has_bridge(struct nl_sock *sock, bool *ret_has_one)
{
    struct ifinfomsg info = {.ifi_family = AF_UNSPEC};
    *ret_has_one = false;
    return fl_nl_request(sock, fl_nl_new(RTM_GETLINK, NLM_F_DUMP, &info, sizeof(info)), take_kind,
                         ret_has_one);
}

static int check_is_bridge(struct nl_sock *sock, int index)
{
    struct ifinfomsg info = {.ifi_family = AF_UNSPEC, .ifi_index = index};
    bool is_bridge = false;
    int rc =
        fl_nl_request(sock, fl_nl_new(RTM_GETLINK, 0, &info, sizeof(info)), take_kind, &is_bridge);
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
    int rc = fl_nl_request(sock, fl_nl_new(RTM_GETADDR, NLM_F_DUMP, &info, sizeof(info)),
                           take_address, &search);
    if (rc < 0 || !search.found)
        return rc < 0 ? rc : -ENOENT;
    *ret_address = search.address;
    *ret_prefix = search.prefix;
    return 0;
}

static void add_ipv4(struct fl_nl_batch *batch, int index, uint32_t address, uint8_t prefix)
{
    struct ifaddrmsg info = {
        .ifa_family = AF_INET, .ifa_prefixlen = prefix, .ifa_index = (unsigned)index};
    struct nl_msg *message = fl_nl_new(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, &info, sizeof(info));
    uint32_t wire = htonl(address);
    uint32_t broadcast = htonl(address | (prefix < 32 ? UINT32_MAX >> prefix : 0));
    bool complete = message && nla_put(message, IFA_LOCAL, 4, &wire) == 0 &&
                    nla_put(message, IFA_ADDRESS, 4, &wire) == 0 &&
                    nla_put(message, IFA_BROADCAST, 4, &broadcast) == 0;
    fl_nl_add(batch, message, complete);
}

/* Nobody else can have the address, so nobody is asked for it (duplicate address detection). */
static void add_ipv6(struct fl_nl_batch *batch, int index, const uint8_t address[16])
{
    struct ifaddrmsg info = {.ifa_family = AF_INET6,
                             .ifa_prefixlen = FL_IPV6_PREFIX,
                             .ifa_flags = IFA_F_NODAD,
                             .ifa_index = (unsigned)index};
    struct nl_msg *message = fl_nl_new(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, &info, sizeof(info));
    bool complete = message && nla_put(message, IFA_LOCAL, 16, address) == 0 &&
                    nla_put(message, IFA_ADDRESS, 16, address) == 0;
    fl_nl_add(batch, message, complete);
}

int fl_link_add_address(struct nl_sock *sock, int index, uint32_t address, uint8_t prefix)
{
    struct fl_nl_batch batch = {0};
    add_ipv4(&batch, index, address, prefix);
    int rc = fl_nl_send(sock, &batch, NULL, NULL);
    return rc == -EEXIST ? 0 : rc;
}

int fl_link_add_ipv6(struct nl_sock *sock, int index, const uint8_t address[16])
{
    struct fl_nl_batch batch = {0};
    add_ipv6(&batch, index, address);
    int rc = fl_nl_send(sock, &batch, NULL, NULL);
    return rc == -EEXIST ? 0 : rc;
}

static void set_up(struct fl_nl_batch *batch, int index)
{
    struct ifinfomsg info = {
        .ifi_family = AF_UNSPEC, .ifi_index = index, .ifi_flags = IFF_UP, .ifi_change = IFF_UP};
    fl_nl_add(batch, fl_nl_new(RTM_NEWLINK, 0, &info, sizeof(info)), true);
}

int fl_link_set_up(struct nl_sock *sock, int index)
{
    struct fl_nl_batch batch = {0};
    set_up(&batch, index);
    return fl_nl_send(sock, &batch, NULL, NULL);
}

/* A link that is down, and one whose peer is, has no IPv6 address yet and will give itself none:
 * with it would come multicast chatter that a bridge repeats to every container. */
static bool put_mute(struct nl_msg *message)
{
    struct nlattr *families = nla_nest_start(message, IFLA_AF_SPEC);
    struct nlattr *ipv6 = families ? nla_nest_start(message, AF_INET6) : NULL;
    if (!ipv6 || nla_put_u8(message, IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE) < 0)
        return false;
    nla_nest_end(message, ipv6);
    nla_nest_end(message, families);
    return true;
}

static void mute_ipv6(struct fl_nl_batch *batch, int index)
{
    struct ifinfomsg info = {.ifi_family = AF_UNSPEC, .ifi_index = index};
    struct nl_msg *message = fl_nl_new(RTM_NEWLINK, 0, &info, sizeof(info));
    fl_nl_add(batch, message, message && put_mute(message));
}

static void add_default_route(struct fl_nl_batch *batch, uint32_t gateway)
{
    struct rtmsg route = {.rtm_family = AF_INET,
                          .rtm_table = RT_TABLE_MAIN,
                          .rtm_protocol = RTPROT_BOOT,
                          .rtm_scope = RT_SCOPE_UNIVERSE,
                          .rtm_type = RTN_UNICAST};
    struct nl_msg *message =
        fl_nl_new(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, &route, sizeof(route));
    uint32_t wire = htonl(gateway);
    fl_nl_add(batch, message, message && nla_put(message, RTA_GATEWAY, 4, &wire) == 0);
}

/* With a metric behind that of the host's own route, which stays the one for what it sends. */
int fl_link_add_ipv6_loopback(struct nl_sock *sock, int index)
{
    static const uint8_t loopback[16] = {[15] = 1};
    struct rtmsg route = {.rtm_family = AF_INET6,
                          .rtm_dst_len = 128,
                          .rtm_table = RT_TABLE_LOCAL,
                          .rtm_protocol = RTPROT_BOOT,
                          .rtm_type = RTN_LOCAL};
    struct nl_msg *message =
        fl_nl_new(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, &route, sizeof(route));
    bool complete = message && nla_put(message, RTA_DST, 16, loopback) == 0 &&
                    nla_put_u32(message, RTA_OIF, (uint32_t)index) == 0 &&
                    nla_put_u32(message, RTA_PRIORITY, LAST_METRIC) == 0;
    int rc = fl_nl_request_if(sock, message, complete);
    return rc == -EEXIST ? 0 : rc;
}

/* The namespace's lo, and what the container's end of the pair is called by number. */
static int find_eth0(struct nl_sock *sock, int *ret_index)
{
    struct ifinfomsg info = {.ifi_family = AF_UNSPEC};
    struct fl_nl_batch batch = {0};
    *ret_index = 0;
    set_up(&batch, LOOPBACK_INDEX);
    struct nl_msg *message = fl_nl_new(RTM_GETLINK, 0, &info, sizeof(info));
    fl_nl_add(&batch, message, message && nla_put_string(message, IFLA_IFNAME, "eth0") == 0);
    int rc = fl_nl_send(sock, &batch, take_index, ret_index);
    return rc == 0 && *ret_index <= 0 ? -ENODEV : rc;
}

int fl_link_equip(struct nl_sock *sock, const struct fl_link_equipment *equipment)
{
    struct fl_nl_batch batch = {0};
    int index;
    int rc = find_eth0(sock, &index);
    if (rc < 0)
        return rc;
    if (equipment->mute_ipv6)
        mute_ipv6(&batch, index);
    add_ipv4(&batch, index, equipment->address, equipment->prefix);
    if (equipment->ipv6)
        add_ipv6(&batch, index, equipment->ipv6);
    set_up(&batch, index);
    add_default_route(&batch, equipment->gateway);
    return fl_nl_send(sock, &batch, NULL, NULL);
}

int fl_link_equip_nothing(struct nl_sock *sock)
{
    return fl_link_set_up(sock, LOOPBACK_INDEX);
}

int fl_link_delete(struct nl_sock *sock, const char *name)
{
    struct ifinfomsg info = {.ifi_family = AF_UNSPEC};
    struct nl_msg *message = fl_nl_new(RTM_DELLINK, 0, &info, sizeof(info));
    if (!message)
        return -ENOMEM;
    return fl_nl_request_if(sock, message, nla_put_string(message, IFLA_IFNAME, name) == 0);
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

static void create_veth(struct fl_nl_batch *batch, const struct fl_link_pair *pair)
{
    struct ifinfomsg info = {.ifi_family = AF_UNSPEC};
    struct nl_msg *message = fl_nl_new(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &info, sizeof(info));
    bool complete = message && nla_put_string(message, IFLA_IFNAME, pair->host_name) == 0 &&
                    nla_put_u32(message, IFLA_MASTER, (uint32_t)pair->bridge_index) == 0 &&
                    put_veth_peer(message, pair->netns_fd, pair->mac);
    fl_nl_add(batch, message, complete);
}

/* The pair is created down and set up afterwards: IFF_UP at birth fails before the peer exists. */
int fl_link_make_veth(struct nl_sock *sock, const struct fl_link_pair *pair)
{
    struct ifinfomsg up = {.ifi_family = AF_UNSPEC, .ifi_flags = IFF_UP, .ifi_change = IFF_UP};
    struct fl_nl_batch batch = {0};
    create_veth(&batch, pair);
    struct nl_msg *message = fl_nl_new(RTM_NEWLINK, 0, &up, sizeof(up));
    bool complete = message && nla_put_string(message, IFLA_IFNAME, pair->host_name) == 0 &&
                    put_hairpin(message) && (!pair->mute_ipv6 || put_mute(message));
    fl_nl_add(&batch, message, complete);
    return fl_nl_send(sock, &batch, NULL, NULL);
}

int fl_link_claim_mac(struct nl_sock *sock, const char *host_name, const uint8_t mac[6])
{
    struct ndmsg neighbour = {
        .ndm_family = AF_BRIDGE, .ndm_state = NUD_NOARP, .ndm_flags = NTF_MASTER | NTF_STICKY};
    int rc = fl_link_index(sock, host_name, &neighbour.ndm_ifindex);
    if (rc < 0)
        return rc;
    struct nl_msg *message =
        fl_nl_new(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, &neighbour, sizeof(neighbour));
    return fl_nl_request_if(sock, message, message && nla_put(message, NDA_LLADDR, 6, mac) == 0);
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
    int rc = fl_nl_request(sock, fl_nl_new(RTM_GETADDR, NLM_F_DUMP, &info, sizeof(info)),
                           take_address_range, &ranges);
    if (rc == 0)
        rc = fl_nl_request(sock, fl_nl_new(RTM_GETROUTE, NLM_F_DUMP, &route, sizeof(route)),
                           take_route_range, &ranges);
    if (rc == 0)
        *ret_count = ranges.count;
    return rc;
}
