/* The containers' host ports: which are held, and their place in the nftables tables. See network.h
 * for the contract and net_state.h for the invariant. */
#include <errno.h>
#include <fcntl.h>

#include "agent/net_conntrack.h"
#include "agent/net_ports.h"
#include "agent/net_state.h"
#include "base/fs.h"

enum { MAX_TABLE_TEXT = 7 << 20 };

/* How ECS's agent begins when it finds no port by itself. */
#define NO_PORTS "error retrieving docker port map: "

/* ---- endpoints ---- */

struct fl_net_endpoint *fl_net_endpoint_find(struct fl_network *network, struct fl_str container_id)
{
    struct fl_net_endpoint *endpoint;
    HASH_FIND(hh, network->endpoints, container_id.p, container_id.n, endpoint);
    return endpoint;
}

struct fl_net_endpoint *fl_net_endpoint_new(struct fl_str container_id, size_t port_count)
{
    struct fl_net_endpoint *endpoint = fl_calloc(1, sizeof(*endpoint));
    endpoint->container_id = fl_strndup(container_id.p, container_id.n);
    endpoint->port_count = port_count;
    endpoint->ports = fl_calloc(port_count + 1, sizeof(*endpoint->ports));
    return endpoint;
}

void fl_net_endpoint_add(struct fl_network *network, struct fl_net_endpoint *endpoint)
{
    size_t n = strlen(endpoint->container_id);
    HASH_ADD_KEYPTR(hh, network->endpoints, endpoint->container_id, n, endpoint);
}

void fl_net_endpoint_remove(struct fl_network *network, struct fl_net_endpoint *endpoint)
{
    HASH_DEL(network->endpoints, endpoint);
    fl_address_free(&network->addresses, endpoint->address);
    fl_net_endpoint_free(endpoint);
}

void fl_net_endpoint_free(struct fl_net_endpoint *endpoint)
{
    for (size_t i = 0; i < endpoint->fd_count; i++)
        if (endpoint->port_fds[i] >= 0)
            (void)close(endpoint->port_fds[i]);
    free(endpoint->port_fds);
    free(endpoint->ports);
    free(endpoint->container_id);
    free(endpoint);
}

/* ---- holding ports ---- */

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

static uint16_t after(const struct fl_network *network, uint16_t port)
{
    return port >= network->dynamic_high ? network->dynamic_low : (uint16_t)(port + 1);
}

/* Round robin, so that a port rests as long as possible before somebody else answers on it. */
static int hold_dynamic_port(struct fl_network *network, struct fl_rule_port *port, int *ret_fd,
                             struct fl_err *err)
{
    uint32_t range = (uint32_t)network->dynamic_high - network->dynamic_low + 1;
    for (uint32_t i = 0; i < range; i++) {
        uint16_t candidate = network->dynamic_next;
        network->dynamic_next = after(network, candidate);
        int fd = fl_port_hold(candidate, port->udp, network->ipv6);
        if (fd == -EADDRINUSE)
            continue;
        port->host_port = candidate;
        if (fd < 0)
            return refuse_port(port, fd, err);
        *ret_fd = fd;
        return 0;
    }
    return fl_err_set(err, -ENOSPC, NO_PORTS "a host port is unavailable");
}

/* How many ports from that one on could be held; *ret_rc says why it ended. */
static unsigned hold_run(const struct fl_network *network, uint16_t first, unsigned count, bool udp,
                         int *fds, int *ret_rc)
{
    *ret_rc = 0;
    for (unsigned i = 0; i < count; i++) {
        fds[i] = fl_port_hold((uint16_t)(first + i), udp, network->ipv6);
        if (fds[i] >= 0)
            continue;
        *ret_rc = fds[i];
        return i;
    }
    return count;
}

static void let_go(int *fds, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        (void)close(FL_TAKE_FD(fds[i]));
}

/* The first room behind the port given last, then from the beginning of the range; each port is
 * tried at most twice. */
static int hold_range(struct fl_network *network, struct fl_rule_port *port, int *fds,
                      struct fl_err *err)
{
    unsigned count = port->more + 1U;
    uint32_t start = network->dynamic_next;
    for (int turn = 0; turn < 2; turn++, start = network->dynamic_low) {
        while (start + count - 1 <= network->dynamic_high) {
            int rc;
            unsigned held = hold_run(network, (uint16_t)start, count, port->udp, fds, &rc);
            port->host_port = (uint16_t)start;
            network->dynamic_next = after(network, (uint16_t)(start + held - (held == count)));
            if (held == count)
                return 0;
            let_go(fds, held);
            if (rc != -EADDRINUSE)
                return refuse_port(port, rc, err);
            start += held + 1;
        }
    }
    return fl_err_set(err, -ENOSPC, NO_PORTS "%u contiguous host ports are unavailable", count);
}

static int hold_port(struct fl_network *network, struct fl_rule_port *port, int *fds,
                     struct fl_err *err)
{
    if (port->more > 0)
        return hold_range(network, port, fds, err);
    if (port->host_port == 0)
        return hold_dynamic_port(network, port, fds, err);
    int fd = fl_port_hold(port->host_port, port->udp, network->ipv6);
    if (fd < 0)
        return refuse_port(port, fd, err);
    *fds = fd;
    return 0;
}

static void make_room(struct fl_net_endpoint *endpoint)
{
    for (size_t i = 0; i < endpoint->port_count; i++)
        endpoint->fd_count += endpoint->ports[i].more + 1U;
    endpoint->port_fds = fl_calloc(endpoint->fd_count + 1, sizeof(*endpoint->port_fds));
    for (size_t i = 0; i < endpoint->fd_count; i++)
        endpoint->port_fds[i] = -1;
}

/* Static ports first: a dynamic one must not take what a later mapping names. */
int fl_net_hold_ports(struct fl_network *network, struct fl_net_endpoint *endpoint,
                      const struct fl_port_mapping *mappings, struct fl_err *err)
{
    for (size_t i = 0; i < endpoint->port_count; i++)
        endpoint->ports[i] = (struct fl_rule_port){.address = endpoint->address,
                                                   .container_port = mappings[i].container_port,
                                                   .host_port = mappings[i].host_port,
                                                   .udp = mappings[i].udp,
                                                   .more = mappings[i].more,
                                                   .ipv6 = endpoint->ipv6};
    make_room(endpoint);
    for (int dynamic = 0; dynamic < 2; dynamic++) {
        int *fds = endpoint->port_fds;
        for (size_t i = 0; i < endpoint->port_count; i++) {
            struct fl_rule_port *port = &endpoint->ports[i];
            if ((mappings[i].host_port == 0 || port->more > 0) == dynamic) {
                int rc = hold_port(network, port, fds, err);
                if (rc < 0)
                    return rc;
            }
            fds += port->more + 1U;
        }
    }
    return 0;
}

/* The container was first: a host process that took the port meanwhile does not unpublish it. */
void fl_net_take_ports(struct fl_network *network, struct fl_net_endpoint *endpoint,
                       const struct fl_endpoint *adopted)
{
    for (size_t i = 0; i < endpoint->port_count; i++) {
        const struct fl_binding *binding = &adopted->bindings[i];
        endpoint->ports[i] = (struct fl_rule_port){.address = endpoint->address,
                                                   .container_port = binding->container_port,
                                                   .host_port = binding->host_port,
                                                   .udp = binding->udp,
                                                   .more = binding->more,
                                                   .ipv6 = endpoint->ipv6};
    }
    make_room(endpoint);
    int *fds = endpoint->port_fds;
    for (size_t i = 0; i < endpoint->port_count; i++)
        for (unsigned k = 0; k <= endpoint->ports[i].more; k++)
            *fds++ = fl_port_hold((uint16_t)(endpoint->ports[i].host_port + k),
                                  endpoint->ports[i].udp, network->ipv6);
}

/* ---- the tables ---- */

bool fl_net_bridge_is_filtered(void)
{
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(16);
    return fl_fs_read(AT_FDCWD, "/proc/sys/net/bridge/bridge-nf-call-ip6tables", 15, &text) == 0 &&
           !fl_str_is(fl_str_trim(fl_buf_str(&text)), "0");
}

static int write_tables(struct fl_network *network, struct fl_err *err)
{
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(MAX_TABLE_TEXT);
    struct fl_net_endpoint *endpoint, *next;
    struct fl_rules rules = fl_net_rules(network);
    fl_rules_tables(&text, &rules);
    HASH_ITER(hh, network->endpoints, endpoint, next)
    fl_rules_add_ports(&text, &rules, endpoint->ports, endpoint->port_count);
    if (text.overflow)
        return fl_err_set(err, -E2BIG, "too many published ports");
    return fl_nft_run(network->nft, fl_buf_str(&text), err);
}

/* A kernel that has IPv6 and cannot translate its addresses publishes on IPv4 alone. */
int fl_net_write_tables(struct fl_network *network, struct fl_err *err)
{
    network->bridge_is_filtered = fl_net_bridge_is_filtered();
    int rc = write_tables(network, err);
    if (rc == -EPROTO && network->ipv6) {
        network->ipv6 = false;
        rc = write_tables(network, err);
        network->ipv6 = rc < 0;
    }
    network->table_ready = rc == 0;
    if (rc == 0)
        fl_net_watch_written(network->watch);
    return rc;
}

/* A refused change means that the table is not what we think (somebody flushed it): it is then
 * made anew from what we know. */
static int change_tables(struct fl_network *network, const struct fl_buf *change, long elements,
                         struct fl_err *err)
{
    if (network->restoring)
        return 0;
    if (network->table_ready && change->n == 0)
        return 0;
    if (network->table_ready && !change->overflow &&
        fl_nft_run(network->nft, fl_buf_str(change), NULL) == 0) {
        fl_net_watch_changed(network->watch, elements);
        return 0;
    }
    network->table_ready = false;
    return fl_net_write_tables(network, err);
}

static long elements_of(const struct fl_net_endpoint *endpoint)
{
    return (long)endpoint->fd_count * (endpoint->ipv6 ? 2 : 1);
}

/* After the tables changed, so that no new entry is made the old way. */
void fl_net_forget_flows(const struct fl_net_endpoint *endpoint)
{
    for (size_t i = 0; i < endpoint->port_count; i++)
        if (endpoint->ports[i].udp)
            fl_conntrack_forget_udp(endpoint->ports[i].host_port, endpoint->ports[i].more);
}

int fl_net_publish(struct fl_network *network, const struct fl_net_endpoint *endpoint,
                   struct fl_err *err)
{
    FL_CLEANUP_BUF struct fl_buf change = FL_BUF_INIT(MAX_TABLE_TEXT);
    struct fl_rules rules = fl_net_rules(network);
    fl_rules_add_ports(&change, &rules, endpoint->ports, endpoint->port_count);
    int rc = change_tables(network, &change, elements_of(endpoint), err);
    if (rc == 0 && !network->restoring)
        fl_net_forget_flows(endpoint);
    return rc;
}

/* A table that cannot be changed now is written anew with the next change. */
void fl_net_unpublish(struct fl_network *network, const struct fl_net_endpoint *endpoint)
{
    FL_CLEANUP_BUF struct fl_buf change = FL_BUF_INIT(MAX_TABLE_TEXT);
    struct fl_rules rules = fl_net_rules(network);
    fl_rules_delete_ports(&change, &rules, endpoint->ports, endpoint->port_count);
    if (change.n)
        (void)change_tables(network, &change, -elements_of(endpoint), NULL);
    fl_net_forget_flows(endpoint);
}
