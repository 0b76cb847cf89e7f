/* Links, addresses and routes through rtnetlink. The sockets are of NETLINK_ROUTE; everything
 * returns 0 or -errno. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "agent/net_netlink.h"
#include "agent/net_subnet.h"

/* A new network namespace and a socket in it, both owned by the caller. The calling thread enters
 * it for a moment; no other thread notices. */
int fl_link_new_netns(int *ret_netns_fd, struct nl_sock **ret_sock);

/* The interface's index: -ENODEV when there is no such link. */
int fl_link_index(struct nl_sock *sock, const char *name, int *ret_index);
/* Makes a bridge of that name unless there is one, and its index known. -EEXIST when the name
 * belongs to a link of another kind. */
int fl_link_make_bridge(struct nl_sock *sock, const char *name, const uint8_t mac[6],
                        int *ret_index);
/* Whether any link of the namespace is a bridge. */
int fl_link_has_bridge(struct nl_sock *sock, bool *ret_has_one);
/* The first IPv4 address of a link that is one of a network (no /32), with its prefix: -ENOENT when
 * it has none. */
int fl_link_address(struct nl_sock *sock, int index, uint32_t *ret_address, uint8_t *ret_prefix);
/* Adds an address; 0 when the link has it already. */
int fl_link_add_address(struct nl_sock *sock, int index, uint32_t address, uint8_t prefix);
int fl_link_set_up(struct nl_sock *sock, int index);
/* The same for IPv6: in a network of FL_IPV6_PREFIX bits, in use at once. */
int fl_link_add_ipv6(struct nl_sock *sock, int index, const uint8_t address[16]);
/* Makes ::1 an address that answers to the host's own connections may come back to over this link:
 * the kernel keeps packets from elsewhere out by themselves. 0 when it is one already. */
int fl_link_add_ipv6_loopback(struct nl_sock *sock, int index);
int fl_link_delete(struct nl_sock *sock, const char *name);

struct fl_link_pair {
    const char *host_name; /* becomes a port of the bridge, up */
    int bridge_index;
    int netns_fd;       /* where the peer "eth0" is born, down */
    const uint8_t *mac; /* the peer's, six bytes */
    bool mute_ipv6;     /* the host's end gives itself no IPv6 address; needs IPv6 in the kernel */
};

/* Makes a veth pair: -EEXIST when host_name is taken. */
int fl_link_make_veth(struct nl_sock *sock, const struct fl_link_pair *pair);
/* Lets the bridge send to the port of that name what is for the address, for as long as the port is
 * there, whatever another port says that had it before. */
int fl_link_claim_mac(struct nl_sock *sock, const char *host_name, const uint8_t mac[6]);

struct fl_link_equipment {
    uint32_t address;
    uint8_t prefix;
    uint32_t gateway;
    const uint8_t *ipv6; /* an address without a way out; NULL: none */
    bool mute_ipv6;      /* as above */
};

/* In a new namespace that has "eth0", by a socket of that namespace: lo and eth0 up, address,
 * default route. */
int fl_link_equip(struct nl_sock *sock, const struct fl_link_equipment *equipment);
/* In one that has only lo. */
int fl_link_equip_nothing(struct nl_sock *sock);

/* All IPv4 ranges that the host's addresses and routes speak of, but for the default route and for
 * what belongs to link skip_index (0: nothing is skipped). -E2BIG when there are more than max. */
int fl_link_used_ranges(struct nl_sock *sock, int skip_index, struct fl_subnet *ranges, size_t max,
                        size_t *ret_count);
