/* The containers' side of the network: namespaces, addresses, host ports, and their place in the
 * nftables table. See network.h for the contract and net_state.h for the invariant. */
#include <errno.h>
#include <stdio.h>

#include "agent/net_conntrack.h"
#include "agent/net_link.h"
#include "agent/net_ports.h"
#include "agent/net_state.h"

enum { MAX_TABLE_TEXT = 7 << 20, MAX_PORTS = FL_TASK_SPEC_MAX_ITEMS, LINK_ATTEMPTS = 16 };

static struct fl_net_endpoint *new_endpoint(struct fl_str container_id, size_t port_count)
{
    struct fl_net_endpoint *endpoint = fl_calloc(1, sizeof(*endpoint));
    endpoint->container_id = fl_strndup(container_id.p, container_id.n);
    endpoint->port_count = port_count;
    endpoint->ports = fl_calloc(port_count + 1, sizeof(*endpoint->ports));
    endpoint->port_fds = fl_calloc(port_count + 1, sizeof(*endpoint->port_fds));
    for (size_t i = 0; i < port_count; i++)
        endpoint->port_fds[i] = -1;
    return endpoint;
}

void fl_net_endpoint_free(struct fl_net_endpoint *endpoint)
{
    for (size_t i = 0; i < endpoint->port_count; i++)
        if (endpoint->port_fds[i] >= 0)
            (void)close(endpoint->port_fds[i]);
    free(endpoint->port_fds);
    free(endpoint->ports);
    free(endpoint->container_id);
    free(endpoint);
}

static struct fl_net_endpoint *find_endpoint(struct fl_network *network, struct fl_str container_id)
{
    struct fl_net_endpoint *endpoint;
    HASH_FIND(hh, network->endpoints, container_id.p, container_id.n, endpoint);
    return endpoint;
}

static void add_endpoint(struct fl_network *network, struct fl_net_endpoint *endpoint)
{
    size_t n = strlen(endpoint->container_id);
    HASH_ADD_KEYPTR(hh, network->endpoints, endpoint->container_id, n, endpoint);
}

static void remove_endpoint(struct fl_network *network, struct fl_net_endpoint *endpoint)
{
    HASH_DEL(network->endpoints, endpoint);
    fl_address_free(&network->addresses, endpoint->address);
    fl_net_endpoint_free(endpoint);
}

/* Puts the whole table in place in one transaction, whatever is there. */
static int write_table(struct fl_network *network, struct fl_err *err)
{
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(MAX_TABLE_TEXT);
    struct fl_str tag = fl_str_of(network->tag);
    struct fl_net_endpoint *endpoint, *next;
    fl_rules_table(&text, tag, network->addresses.subnet, &network->services);
    HASH_ITER(hh, network->endpoints, endpoint, next)
    fl_rules_add_ports(&text, tag, endpoint->ports, endpoint->port_count);
    if (text.overflow)
        return fl_err_set(err, -E2BIG, "too many published ports");
    int rc = fl_nft_run(network->nft, fl_buf_str(&text), err);
    network->table_ready = rc == 0;
    return rc;
}

/* A refused change means that the table is not what we think (somebody flushed it): it is then
 * made anew from what we know. */
static int change_table(struct fl_network *network, const struct fl_buf *change, struct fl_err *err)
{
    if (network->restoring)
        return 0;
    if (network->table_ready && change->n == 0)
        return 0;
    if (network->table_ready && !change->overflow &&
        fl_nft_run(network->nft, fl_buf_str(change), NULL) == 0)
        return 0;
    network->table_ready = false;
    return write_table(network, err);
}

static int publish(struct fl_network *network, const struct fl_net_endpoint *endpoint,
                   struct fl_err *err)
{
    FL_CLEANUP_BUF struct fl_buf change = FL_BUF_INIT(MAX_TABLE_TEXT);
    fl_rules_add_ports(&change, fl_str_of(network->tag), endpoint->ports, endpoint->port_count);
    return change_table(network, &change, err);
}

/* After the table changed, so that no new entry is made the old way. */
static void forget_flows(const struct fl_net_endpoint *endpoint)
{
    for (size_t i = 0; i < endpoint->port_count; i++)
        if (endpoint->ports[i].udp)
            fl_conntrack_forget_udp(endpoint->ports[i].host_port);
}

static int refuse_port(const struct fl_rule_port *port, int rc, struct fl_err *err)
{
    char address[FL_IPV4_TEXT_SIZE];
    fl_ipv4_text(port->address, address);
    const char *protocol = port->udp ? "udp" : "tcp";
    if (rc == -EADDRINUSE)
        return fl_err_set(err, rc,
                          "failed to bind host port for 0.0.0.0:%u:%s:%u/%s: address already in "
                          "use",
                          port->host_port, address, port->container_port, protocol);
    return fl_err_errno(err, rc, "failed to bind host port for 0.0.0.0:%u:%s:%u/%s",
                        port->host_port, address, port->container_port, protocol);
}

/* Round robin, so that a port rests as long as possible before somebody else answers on it. */
static int hold_dynamic_port(struct fl_network *network, struct fl_rule_port *port, int *ret_fd,
                             struct fl_err *err)
{
    uint32_t range = (uint32_t)network->dynamic_high - network->dynamic_low + 1;
    for (uint32_t i = 0; i < range; i++) {
        uint16_t candidate = network->dynamic_next;
        network->dynamic_next =
            candidate == network->dynamic_high ? network->dynamic_low : (uint16_t)(candidate + 1);
        int fd = fl_port_hold(candidate, port->udp);
        if (fd == -EADDRINUSE)
            continue;
        port->host_port = candidate;
        if (fd < 0)
            return refuse_port(port, fd, err);
        *ret_fd = fd;
        return 0;
    }
    return fl_err_set(err, -EADDRINUSE, "no host port between %u and %u is free",
                      network->dynamic_low, network->dynamic_high);
}

static int hold_port(struct fl_network *network, struct fl_rule_port *port, int *ret_fd,
                     struct fl_err *err)
{
    if (port->host_port == 0)
        return hold_dynamic_port(network, port, ret_fd, err);
    int fd = fl_port_hold(port->host_port, port->udp);
    if (fd < 0)
        return refuse_port(port, fd, err);
    *ret_fd = fd;
    return 0;
}

/* Static ports first: a dynamic one must not take what a later mapping names. */
static int hold_ports(struct fl_network *network, struct fl_net_endpoint *endpoint,
                      const struct fl_port_mapping *mappings, struct fl_err *err)
{
    for (int dynamic = 0; dynamic < 2; dynamic++) {
        for (size_t i = 0; i < endpoint->port_count; i++) {
            struct fl_rule_port *port = &endpoint->ports[i];
            if ((mappings[i].host_port == 0) != dynamic)
                continue;
            *port = (struct fl_rule_port){.address = endpoint->address,
                                          .container_port = mappings[i].container_port,
                                          .host_port = mappings[i].host_port,
                                          .udp = mappings[i].udp};
            int rc = hold_port(network, port, &endpoint->port_fds[i], err);
            if (rc < 0)
                return rc;
        }
    }
    return 0;
}

/* A veth's name may still belong to a namespace that is dying: the next number is tried then. */
static int make_veth(struct fl_network *network, uint32_t address, int netns_fd)
{
    char name[16];
    uint8_t mac[6];
    int rc = -EEXIST;
    fl_ipv4_mac(address, mac);
    for (int i = 0; i < LINK_ATTEMPTS && rc == -EEXIST; i++) {
        snprintf(name, sizeof(name), "%s%06x", network->tag, network->next_link++ & 0xffffff);
        rc = fl_link_make_veth(network->sock, name, network->bridge_index, netns_fd, mac);
    }
    return rc;
}

static int set_up_loopback(struct nl_sock *sock)
{
    int index;
    int rc = fl_link_index(sock, "lo", &index);
    return rc < 0 ? rc : fl_link_set_up(sock, index);
}

static int set_up_eth0(const struct fl_network *network, struct nl_sock *sock, uint32_t address)
{
    struct fl_subnet subnet = network->addresses.subnet;
    int index;
    int rc = fl_link_index(sock, "eth0", &index);
    fl_link_mute_ipv6(sock, "eth0");
    if (rc == 0)
        rc = fl_link_add_address(sock, index, address, subnet.prefix);
    if (rc == 0)
        rc = fl_link_set_up(sock, index);
    return rc < 0 ? rc : fl_link_add_default_route(sock, subnet.base + 1);
}

/* address 0: a namespace with only lo. */
static int make_netns(struct fl_network *network, uint32_t address, int *ret_netns_fd,
                      struct fl_err *err)
{
    FL_CLEANUP_FD int netns_fd = -1;
    FL_CLEANUP_NL_SOCK struct nl_sock *sock = NULL;
    int rc = fl_link_new_netns(&netns_fd, &sock);
    if (rc == 0)
        rc = set_up_loopback(sock);
    if (rc == 0 && address)
        rc = make_veth(network, address, netns_fd);
    if (rc == 0 && address)
        rc = set_up_eth0(network, sock, address);
    if (rc < 0)
        return fl_err_errno(err, rc, "cannot make the container's network namespace");
    *ret_netns_fd = FL_TAKE_FD(netns_fd);
    return 0;
}

static void fill_bindings(const struct fl_rule_port *ports, size_t port_count,
                          struct fl_arena *arena, struct fl_endpoint *endpoint)
{
    endpoint->bindings = fl_arena_new_array(arena, struct fl_binding, port_count + 1);
    endpoint->binding_count = port_count;
    for (size_t i = 0; i < port_count; i++)
        endpoint->bindings[i] = (struct fl_binding){.container_port = ports[i].container_port,
                                                    .host_port = ports[i].host_port,
                                                    .udp = ports[i].udp};
}

/* Everything but the table; the endpoint is freed by the caller on failure. */
static int equip(struct fl_network *network, struct fl_net_endpoint *endpoint,
                 const struct fl_port_mapping *mappings, int *ret_netns_fd, struct fl_err *err)
{
    if (!fl_address_take(&network->addresses, &endpoint->address))
        return fl_err_set(err, -EADDRNOTAVAIL, "no address is free on bridge %s", network->tag);
    int rc = hold_ports(network, endpoint, mappings, err);
    return rc < 0 ? rc : make_netns(network, endpoint->address, ret_netns_fd, err);
}

static int attach_to_bridge(struct fl_network *network, struct fl_str container_id,
                            const struct fl_port_mapping *mappings, size_t port_count,
                            struct fl_arena *arena, struct fl_endpoint *ret_endpoint,
                            struct fl_err *err)
{
    FL_CLEANUP_FD int netns_fd = -1;
    if (find_endpoint(network, container_id))
        return fl_err_set(err, -EEXIST, "container %.*s has a network already",
                          FL_STR_ARG(container_id));
    struct fl_net_endpoint *endpoint = new_endpoint(container_id, port_count);
    add_endpoint(network, endpoint);
    int rc = equip(network, endpoint, mappings, &netns_fd, err);
    if (rc == 0)
        rc = publish(network, endpoint, err);
    if (rc < 0) {
        remove_endpoint(network, endpoint);
        return rc;
    }
    forget_flows(endpoint);
    *ret_endpoint = (struct fl_endpoint){.netns_fd = FL_TAKE_FD(netns_fd)};
    fl_ipv4_bytes(endpoint->address, ret_endpoint->address);
    fill_bindings(endpoint->ports, port_count, arena, ret_endpoint);
    return 0;
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
                                .udp = mappings[i].udp};
    return 0;
}

static int attach_to_nothing(struct fl_network *network, struct fl_endpoint *ret_endpoint,
                             struct fl_err *err)
{
    int netns_fd;
    int rc = make_netns(network, 0, &netns_fd, err);
    if (rc == 0)
        *ret_endpoint = (struct fl_endpoint){.netns_fd = netns_fd};
    return rc;
}

static int check_mappings(const struct fl_port_mapping *mappings, size_t count, struct fl_err *err)
{
    if (count > MAX_PORTS)
        return fl_err_set(err, -E2BIG, "more than %d port mappings", MAX_PORTS);
    for (size_t i = 0; i < count; i++)
        if (mappings[i].container_port == 0)
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

/* The container was first: a host process that took the port meanwhile does not unpublish it. */
static void take_over(struct fl_net_endpoint *adopted, const struct fl_endpoint *endpoint)
{
    for (size_t i = 0; i < adopted->port_count; i++) {
        const struct fl_binding *binding = &endpoint->bindings[i];
        adopted->ports[i] = (struct fl_rule_port){.address = adopted->address,
                                                  .container_port = binding->container_port,
                                                  .host_port = binding->host_port,
                                                  .udp = binding->udp};
        adopted->port_fds[i] = fl_port_hold(binding->host_port, binding->udp);
    }
}

static bool bindings_valid(const struct fl_endpoint *endpoint)
{
    if (endpoint->binding_count > MAX_PORTS)
        return false;
    for (size_t i = 0; i < endpoint->binding_count; i++)
        if (endpoint->bindings[i].host_port == 0 || endpoint->bindings[i].container_port == 0)
            return false;
    return true;
}

int fl_network_restore(struct fl_network *network, struct fl_str container_id,
                       const struct fl_endpoint *endpoint, struct fl_err *err)
{
    uint32_t address = fl_ipv4_of(endpoint->address);
    if (address == 0)
        return 0;
    if (!bindings_valid(endpoint) || find_endpoint(network, container_id))
        return fl_err_set(err, -EINVAL,
                          "container %.*s: its network is known already or has "
                          "impossible ports",
                          FL_STR_ARG(container_id));
    if (!fl_address_claim(&network->addresses, address))
        return fl_err_set(err, -EADDRINUSE, "container %.*s: its address is taken or not of %s/%d",
                          FL_STR_ARG(container_id), network->gateway, FL_SUBNET_PREFIX);
    struct fl_net_endpoint *adopted = new_endpoint(container_id, endpoint->binding_count);
    adopted->address = address;
    take_over(adopted, endpoint);
    add_endpoint(network, adopted);
    return publish(network, adopted, err);
}

int fl_network_restore_end(struct fl_network *network, struct fl_err *err)
{
    network->restoring = false;
    return write_table(network, err);
}

/* A table that cannot be changed now is written anew with the next change. */
void fl_network_detach(struct fl_network *network, struct fl_str container_id)
{
    FL_CLEANUP_BUF struct fl_buf change = FL_BUF_INIT(MAX_TABLE_TEXT);
    struct fl_net_endpoint *endpoint = find_endpoint(network, container_id);
    if (!endpoint)
        return;
    fl_rules_delete_ports(&change, fl_str_of(network->tag), endpoint->ports, endpoint->port_count);
    HASH_DEL(network->endpoints, endpoint);
    if (change.n)
        (void)change_table(network, &change, NULL);
    forget_flows(endpoint);
    fl_address_free(&network->addresses, endpoint->address);
    fl_net_endpoint_free(endpoint);
}
