/* Links, addresses and routes through rtnetlink.
 *
 * A struct nl_sock belongs to the network namespace it was opened in, whatever namespace its
 * thread is in later. Everything returns 0 or -errno. */
#pragma once

#include <netlink/netlink.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/net_subnet.h"

static inline void fl_cleanup_nl_sock(struct nl_sock **sock)
{
    nl_socket_free(*sock);
}
#define FL_CLEANUP_NL_SOCK __attribute__((cleanup(fl_cleanup_nl_sock)))

/* A socket in the calling thread's namespace, owned by the caller (nl_socket_free). */
int fl_link_socket(struct nl_sock **ret_sock);
/* A new network namespace and a socket in it, both owned by the caller. The calling thread enters
 * it for a moment; no other thread notices. */
int fl_link_new_netns(int *ret_netns_fd, struct nl_sock **ret_sock);

/* The interface's index: -ENODEV when there is no such link. */
int fl_link_index(struct nl_sock *sock, const char *name, int *ret_index);
/* Makes a bridge of that name unless there is one, and its index known. -EEXIST when the name
 * belongs to a link of another kind. */
int fl_link_make_bridge(struct nl_sock *sock, const char *name, const uint8_t mac[6],
                        int *ret_index);
/* The first IPv4 address of a link that is one of a network (no /32), with its prefix: -ENOENT when
 * it has none. */
int fl_link_address(struct nl_sock *sock, int index, uint32_t *ret_address, uint8_t *ret_prefix);
/* Adds an address; 0 when the link has it already. */
int fl_link_add_address(struct nl_sock *sock, int index, uint32_t address, uint8_t prefix);
int fl_link_set_up(struct nl_sock *sock, int index);
/* Keeps a link that is down from giving itself an IPv6 address when it comes up: with it would come
 * multicast chatter that a bridge repeats to every container. Where there is no IPv6, nothing. */
void fl_link_mute_ipv6(struct nl_sock *sock, const char *name);
int fl_link_add_default_route(struct nl_sock *sock, uint32_t gateway);
int fl_link_delete(struct nl_sock *sock, const char *name);

/* A veth pair: host_name is a port of the bridge and up, its peer "eth0" with that MAC is born
 * down inside the other namespace. -EEXIST when host_name is taken. */
int fl_link_make_veth(struct nl_sock *sock, const char *host_name, int bridge_index, int netns_fd,
                      const uint8_t mac[6]);

/* All IPv4 ranges that the host's addresses and routes speak of, but for the default route and for
 * what belongs to link skip_index (0: nothing is skipped). -E2BIG when there are more than max. */
int fl_link_used_ranges(struct nl_sock *sock, int skip_index, struct fl_subnet *ranges, size_t max,
                        size_t *ret_count);
