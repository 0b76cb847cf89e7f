/* The containers' side of the network: namespaces, addresses, and whose ports are published. See
 * network.h for the contract and net_state.h for the invariant. */
#include <errno.h>
#include <stdio.h>

#include "agent/net_docker.h"
#include "agent/net_link.h"
#include "agent/net_state.h"

enum { MAX_PORTS = FL_TASK_SPEC_MAX_ITEMS, LINK_ATTEMPTS = 16 };

/* A veth's name may still belong to a namespace that is dying: the next number is tried then. A
 * container that starts again may have left a port with the same address: then that one claims it.
 */
static int make_veth(struct fl_network *network, uint32_t address, int netns_fd, bool is_renewed)
{
    char name[16];
    uint8_t mac[6];
    int rc = -EEXIST;
    fl_ipv4_mac(address, mac);
    const struct fl_link_pair pair = {.host_name = name,
                                      .bridge_index = network->bridge_index,
                                      .netns_fd = netns_fd,
                                      .mac = mac,
                                      .mute_ipv6 = network->has_ipv6_links};
    for (int i = 0; i < LINK_ATTEMPTS && rc == -EEXIST; i++) {
        snprintf(name, sizeof(name), "%s%06x", network->tag, network->next_link++ & 0xffffff);
        rc = fl_link_make_veth(network->sock, &pair);
    }
    if (rc == 0 && is_renewed)
        (void)fl_link_claim_mac(network->sock, name, mac);
    return rc;
}

/* An IPv6 address is for being reached: one whose ports are not published has none. */
static int equip(const struct fl_network *network, struct nl_sock *sock,
                 const struct fl_net_endpoint *endpoint)
{
    uint8_t ipv6[16];
    struct fl_subnet subnet = network->addresses.subnet;
    fl_ipv6_of(fl_str_of(network->tag), endpoint->address, ipv6);
    const struct fl_link_equipment equipment = {.address = endpoint->address,
                                                .prefix = subnet.prefix,
                                                .gateway = subnet.base + 1,
                                                .ipv6 = endpoint->ipv6 ? ipv6 : NULL,
                                                .mute_ipv6 = network->has_ipv6_links};
    return fl_link_equip(sock, &equipment);
}

static int take_netns(struct fl_network *network, int *ret_netns_fd, struct nl_sock **ret_sock)
{
    if (network->spare_count == 0)
        return fl_link_new_netns(ret_netns_fd, ret_sock);
    const struct fl_net_spare *spare = &network->spares[--network->spare_count];
    *ret_netns_fd = spare->netns_fd;
    *ret_sock = spare->sock;
    return 0;
}

void fl_network_stock(struct fl_network *network)
{
    while (network->spare_count < FL_NET_SPARES_MAX) {
        struct fl_net_spare *spare = &network->spares[network->spare_count];
        if (fl_link_new_netns(&spare->netns_fd, &spare->sock) < 0)
            return;
        network->spare_count++;
    }
}

void fl_net_drop_spares(struct fl_network *network)
{
    while (network->spare_count > 0) {
        struct fl_net_spare *spare = &network->spares[--network->spare_count];
        nl_socket_free(spare->sock);
        (void)close(spare->netns_fd);
    }
}

/* endpoint NULL: a namespace with only lo. */
static int make_netns(struct fl_network *network, const struct fl_net_endpoint *endpoint,
                      bool is_renewed, int *ret_netns_fd, struct fl_err *err)
{
    FL_CLEANUP_FD int netns_fd = -1;
    FL_CLEANUP_NL_SOCK struct nl_sock *sock = NULL;
    int rc = take_netns(network, &netns_fd, &sock);
    if (rc == 0 && endpoint)
        rc = make_veth(network, endpoint->address, netns_fd, is_renewed);
    if (rc == 0)
        rc = endpoint ? equip(network, sock, endpoint) : fl_link_equip_nothing(sock);
    if (rc < 0)
        return fl_err_errno(err, rc, "cannot make the container's network namespace");
    *ret_netns_fd = FL_TAKE_FD(netns_fd);
    return 0;
}

static void fill(const struct fl_net_endpoint *from, int netns_fd, struct fl_arena *arena,
                 struct fl_endpoint *ret_endpoint)
{
    *ret_endpoint = (struct fl_endpoint){.netns_fd = netns_fd, .binding_count = from->port_count};
    fl_ipv4_bytes(from->address, ret_endpoint->address);
    ret_endpoint->bindings = fl_arena_new_array(arena, struct fl_binding, from->port_count + 1);
    for (size_t i = 0; i < from->port_count; i++)
        ret_endpoint->bindings[i] =
            (struct fl_binding){.container_port = from->ports[i].container_port,
                                .host_port = from->ports[i].host_port,
                                .udp = from->ports[i].udp,
                                .more = from->ports[i].more,
                                .ipv6 = from->ipv6};
}

/* Everything but the tables; the endpoint is freed by the caller on failure. */
static int prepare(struct fl_network *network, struct fl_net_endpoint *endpoint,
                   const struct fl_port_mapping *mappings, int *ret_netns_fd, struct fl_err *err)
{
    if (!fl_address_take(&network->addresses, &endpoint->address))
        return fl_err_set(err, -EADDRNOTAVAIL, "no address is free on bridge %s", network->tag);
    endpoint->ipv6 = network->ipv6 && endpoint->port_count > 0;
    int rc = fl_net_hold_ports(network, endpoint, mappings, err);
    return rc < 0 ? rc : make_netns(network, endpoint, false, ret_netns_fd, err);
}

static int attach_to_bridge(struct fl_network *network, struct fl_str container_id,
                            const struct fl_port_mapping *mappings, size_t port_count,
                            struct fl_arena *arena, struct fl_endpoint *ret_endpoint,
                            struct fl_err *err)
{
    FL_CLEANUP_FD int netns_fd = -1;
    if (fl_net_endpoint_find(network, container_id))
        return fl_err_set(err, -EEXIST, "container %.*s has a network already",
                          FL_STR_ARG(container_id));
    struct fl_net_endpoint *endpoint = fl_net_endpoint_new(container_id, port_count);
    fl_net_endpoint_add(network, endpoint);
    int rc = prepare(network, endpoint, mappings, &netns_fd, err);
    if (rc == 0)
        rc = fl_net_publish(network, endpoint, err);
    if (rc < 0) {
        fl_net_endpoint_remove(network, endpoint);
        return rc;
    }
    fill(endpoint, FL_TAKE_FD(netns_fd), arena, ret_endpoint);
    return 0;
}

int fl_network_renew(struct fl_network *network, struct fl_str container_id, struct fl_arena *arena,
                     struct fl_endpoint *ret_endpoint, struct fl_err *err)
{
    int netns_fd;
    struct fl_net_endpoint *endpoint = fl_net_endpoint_find(network, container_id);
    if (!endpoint)
        return fl_err_set(err, -ENOENT, "container %.*s has no network", FL_STR_ARG(container_id));
    int rc = make_netns(network, endpoint, true, &netns_fd, err);
    if (rc == 0)
        fill(endpoint, netns_fd, arena, ret_endpoint);
    return rc;
}

static int attach_to_host(const struct fl_port_mapping *mappings, size_t port_count,
                          struct fl_arena *arena, struct fl_endpoint *ret_endpoint)
{
    *ret_endpoint = (struct fl_endpoint){.netns_fd = -1, .binding_count = port_count};
    ret_endpoint->bindings = fl_arena_new_array(arena, struct fl_binding, port_count + 1);
    for (size_t i = 0; i < port_count; i++)
        ret_endpoint->bindings[i] =
            (struct fl_binding){.container_port = mappings[i].container_port,
                                .host_port = mappings[i].container_port,
                                .udp = mappings[i].udp,
                                .more = mappings[i].more};
    return 0;
}

static int attach_to_nothing(struct fl_network *network, struct fl_endpoint *ret_endpoint,
                             struct fl_err *err)
{
    int netns_fd;
    int rc = make_netns(network, NULL, false, &netns_fd, err);
    if (rc == 0)
        *ret_endpoint = (struct fl_endpoint){.netns_fd = netns_fd};
    return rc;
}

static int check_mappings(const struct fl_port_mapping *mappings, size_t count, struct fl_err *err)
{
    if (count > MAX_PORTS)
        return fl_err_set(err, -E2BIG, "more than %d port mappings", MAX_PORTS);
    for (size_t i = 0; i < count; i++)
        if (mappings[i].container_port == 0 ||
            mappings[i].container_port + mappings[i].more > UINT16_MAX)
            return fl_err_set(err, -EINVAL, "a port mapping without a container port");
    return 0;
}

int fl_network_attach(struct fl_network *network, struct fl_str container_id,
                      enum fl_network_mode mode, const struct fl_port_mapping *ports,
                      size_t port_count, struct fl_arena *arena, struct fl_endpoint *ret_endpoint,
                      struct fl_err *err)
{
    int rc = check_mappings(ports, port_count, err);
    if (rc < 0)
        return rc;
    switch (mode) {
    case FL_NET_BRIDGE:
        return attach_to_bridge(network, container_id, ports, port_count, arena, ret_endpoint, err);
    case FL_NET_HOST:
        return attach_to_host(ports, port_count, arena, ret_endpoint);
    case FL_NET_NONE:
        return attach_to_nothing(network, ret_endpoint, err);
    case FL_NET_AWSVPC:
        break;
    }
    return fl_err_set(err, -ENOTSUP, "network mode awsvpc is not supported on this host");
}

void fl_network_restore_begin(struct fl_network *network)
{
    network->restoring = true;
}

static bool is_possible(const struct fl_binding *binding)
{
    return binding->host_port > 0 && binding->host_port + binding->more <= UINT16_MAX &&
           binding->container_port > 0 && binding->container_port + binding->more <= UINT16_MAX;
}

static bool bindings_valid(const struct fl_endpoint *endpoint)
{
    if (endpoint->binding_count > MAX_PORTS)
        return false;
    for (size_t i = 0; i < endpoint->binding_count; i++)
        if (!is_possible(&endpoint->bindings[i]))
            return false;
    return true;
}

int fl_network_restore(struct fl_network *network, struct fl_str container_id,
                       const struct fl_endpoint *endpoint, struct fl_err *err)
{
    uint32_t address = fl_ipv4_of(endpoint->address);
    if (address == 0)
        return 0;
    if (!bindings_valid(endpoint) || fl_net_endpoint_find(network, container_id))
        return fl_err_set(err, -EINVAL,
                          "container %.*s: its network is known already or has "
                          "impossible ports",
                          FL_STR_ARG(container_id));
    if (!fl_address_claim(&network->addresses, address))
        return fl_err_set(err, -EADDRINUSE, "container %.*s: its address is taken or not of %s/%d",
                          FL_STR_ARG(container_id), network->gateway, FL_SUBNET_PREFIX);
    struct fl_net_endpoint *adopted = fl_net_endpoint_new(container_id, endpoint->binding_count);
    adopted->address = address;
    adopted->ipv6 = network->ipv6 && adopted->port_count > 0 && endpoint->bindings[0].ipv6;
    fl_net_take_ports(network, adopted, endpoint);
    fl_net_endpoint_add(network, adopted);
    return fl_net_publish(network, adopted, err);
}

int fl_network_restore_end(struct fl_network *network, struct fl_err *err)
{
    network->restoring = false;
    return fl_net_write_tables(network, err);
}

/* Flows that began while the tables were not there went past them. */
static int mend(struct fl_network *network, struct fl_err *err)
{
    struct fl_net_endpoint *endpoint, *next;
    int rc = fl_net_write_tables(network, err);
    HASH_ITER(hh, network->endpoints, endpoint, next)
    fl_net_forget_flows(endpoint);
    return rc;
}

/* A Docker that came after us, or was started again, has a chain without our rules. */
bool fl_network_mend(struct fl_network *network, int *ret_rc, struct fl_err *err)
{
    enum fl_net_watch_word word = FL_NET_DAMAGED;
    if (network->restoring)
        return false;
    if (network->table_ready)
        word = fl_net_watch_look(network->watch);
    if (word != FL_NET_QUIET && fl_net_watch_docker_lacks_us(network->watch))
        (void)fl_docker_allow(fl_str_of(network->tag), NULL);
    bool is_outdated = network->ipv6 && network->bridge_is_filtered != fl_net_bridge_is_filtered();
    if (word != FL_NET_DAMAGED && !is_outdated)
        return false;
    *ret_rc = mend(network, err);
    return word == FL_NET_DAMAGED || *ret_rc < 0;
}

void fl_network_detach(struct fl_network *network, struct fl_str container_id)
{
    struct fl_net_endpoint *endpoint = fl_net_endpoint_find(network, container_id);
    if (!endpoint)
        return;
    HASH_DEL(network->endpoints, endpoint);
    fl_net_unpublish(network, endpoint);
    fl_address_free(&network->addresses, endpoint->address);
    fl_net_endpoint_free(endpoint);
}
