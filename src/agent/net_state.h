/* What network.c (the host's side) and net_attach.c (the containers' side) share; nobody else
 * includes it.
 *
 * `endpoints` is the truth, the nftables table follows it: a change that fails in whatever way
 * leaves table_ready false, and the next change then puts the whole table in place anew. */
#pragma once

#include <netlink/netlink.h>
#include <uthash.h>

#include "agent/net_rules.h"
#include "agent/net_subnet.h"
#include "agent/network.h"
#include "agent/nft_client.h"

enum { FL_NET_TAG_SIZE = 10 };

/* A container in bridge mode. */
struct fl_net_endpoint {
    char *container_id; /* owned; the key */
    uint32_t address;
    size_t port_count;
    struct fl_rule_port *ports; /* owned */
    int *port_fds;              /* owned: what holds each host port; -1 for none */
    UT_hash_handle hh;
};

struct fl_network {
    char tag[FL_NET_TAG_SIZE];
    char gateway[FL_IPV4_TEXT_SIZE];
    struct nl_sock *sock; /* in the host's namespace */
    int bridge_index;
    struct fl_nft *nft;
    struct fl_address_pool addresses;
    struct fl_rule_services services;
    uint16_t dynamic_low;
    uint16_t dynamic_high;
    uint16_t dynamic_next;
    uint32_t next_link; /* numbers the host ends of veth pairs */
    bool table_ready;
    bool restoring;
    struct fl_net_endpoint *endpoints; /* uthash by container_id */
};

/* Closes the endpoint's port sockets and frees it; it must not be in the table any more. */
void fl_net_endpoint_free(struct fl_net_endpoint *endpoint);
