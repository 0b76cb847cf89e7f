/* What network.c (the host's side), net_attach.c (the containers' side) and net_publish.c (their
 * ports) share; nobody else includes it.
 *
 * `endpoints` is the truth, the nftables tables follow it: a change that fails in whatever way
 * leaves table_ready false, and the next change then puts the whole tables in place anew. */
#pragma once

#include <netlink/netlink.h>
#include <uthash.h>

#include "agent/net_rules.h"
#include "agent/net_subnet.h"
#include "agent/net_watch.h"
#include "agent/network.h"
#include "agent/nft_client.h"

enum { FL_NET_TAG_SIZE = 10, FL_NET_SPARES_MAX = 2 };

/* A network namespace of nobody's yet, and a netlink socket in it. */
struct fl_net_spare {
    int netns_fd;
    struct nl_sock *sock;
};

/* A container in bridge mode. */
struct fl_net_endpoint {
    char *container_id; /* owned; the key */
    uint32_t address;
    bool ipv6; /* it has an address of that family, too */
    size_t port_count;
    struct fl_rule_port *ports; /* owned */
    size_t fd_count;
    int *port_fds; /* owned: what holds each host port, those of ranges one by one; -1 for none */
    UT_hash_handle hh;
};

struct fl_network {
    char tag[FL_NET_TAG_SIZE];
    char gateway[FL_IPV4_TEXT_SIZE];
    bool ipv6;               /* the host has it: ports are published there, too */
    bool has_ipv6_links;     /* the kernel's links have IPv6 settings */
    bool bridge_is_filtered; /* as fl_net_bridge_is_filtered said when the tables were written */
    bool loopback_open;      /* the guard of 127.0.0.0/8 was switched off */
    struct nl_sock *sock;    /* in the host's namespace */
    int bridge_index;
    struct fl_nft *nft;
    struct fl_net_watch *watch;
    struct fl_address_pool addresses;
    struct fl_rule_services services;
    uint16_t dynamic_low;
    uint16_t dynamic_high;
    uint16_t dynamic_next;
    uint32_t next_link;                            /* numbers the host ends of veth pairs */
    struct fl_net_spare spares[FL_NET_SPARES_MAX]; /* made in advance; the first spare_count */
    size_t spare_count;
    bool table_ready;
    bool restoring;
    struct fl_net_endpoint *endpoints; /* uthash by container_id */
};

/* What the tables say of this network. */
static inline struct fl_rules fl_net_rules(const struct fl_network *network)
{
    return (struct fl_rules){.tag = fl_str_of(network->tag),
                             .subnet = network->addresses.subnet,
                             .ipv6 = network->ipv6,
                             .ipv6_loopback = !network->bridge_is_filtered,
                             .loopback_open = network->loopback_open,
                             .services = &network->services};
}

/* net_attach.c: lets go of what fl_network_stock made. */
void fl_net_drop_spares(struct fl_network *network);

/* net_publish.c. An endpoint is found by its container's id, made without an address and with its
 * ports not held, added to the network, and removed and freed; freeing lets go of its ports. */
struct fl_net_endpoint *fl_net_endpoint_find(struct fl_network *network,
                                             struct fl_str container_id);
struct fl_net_endpoint *fl_net_endpoint_new(struct fl_str container_id, size_t port_count);
void fl_net_endpoint_add(struct fl_network *network, struct fl_net_endpoint *endpoint);
void fl_net_endpoint_remove(struct fl_network *network, struct fl_net_endpoint *endpoint);
void fl_net_endpoint_free(struct fl_net_endpoint *endpoint);

/* Holds the host ports that the mappings ask for, chooses the rest. */
int fl_net_hold_ports(struct fl_network *network, struct fl_net_endpoint *endpoint,
                      const struct fl_port_mapping *mappings, struct fl_err *err);
/* Holds those of an adopted container, as far as they can be had. */
void fl_net_take_ports(struct fl_network *network, struct fl_net_endpoint *endpoint,
                       const struct fl_endpoint *adopted);
/* Puts the endpoint's ports into the tables, or takes them out; while restoring, nothing. */
int fl_net_publish(struct fl_network *network, const struct fl_net_endpoint *endpoint,
                   struct fl_err *err);
void fl_net_unpublish(struct fl_network *network, const struct fl_net_endpoint *endpoint);
/* What was on its way to the endpoint's ports otherwise is led by the tables again (UDP). */
void fl_net_forget_flows(const struct fl_net_endpoint *endpoint);
/* Whether IPv6 frames on bridges pass the packet filter (br_netfilter): what answers to ::1 is then
 * led back before the kernel looks where it came from, and dropped for coming over a link. */
bool fl_net_bridge_is_filtered(void);
/* Puts the whole tables in place in one transaction, whatever is there. */
int fl_net_write_tables(struct fl_network *network, struct fl_err *err);
