/* The host's side of the network: the bridge, its subnet, and the removal of it all. What a
 * container gets is in net_attach.c. */
#include "agent/network.h"

#include <errno.h>
#include <net/if.h>

#include "agent/net_docker.h"
#include "agent/net_kernel.h"
#include "agent/net_link.h"
#include "agent/net_ports.h"
#include "agent/net_state.h"
#include "base/fs.h"
#include "base/id.h"

enum { MAX_USED_RANGES = 65536, GATEWAY_OFFSET = 1 };

static bool overlaps_any(struct fl_subnet subnet, const struct fl_subnet *used, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (fl_subnet_overlaps(subnet, used[i]))
            return true;
    return false;
}

static int find_free_subnet(struct fl_network *network, struct fl_subnet former,
                            struct fl_subnet *ret_subnet, struct fl_err *err)
{
    FL_CLEANUP_FREE struct fl_subnet *used = fl_calloc(MAX_USED_RANGES, sizeof(*used));
    size_t count;
    int rc =
        fl_link_used_ranges(network->sock, network->bridge_index, used, MAX_USED_RANGES, &count);
    if (rc < 0)
        return fl_err_errno(err, rc, "cannot read the host's addresses and routes");
    *ret_subnet = former;
    if (former.prefix > 0 && !overlaps_any(former, used, count))
        return 0;
    if (!fl_subnet_choose(used, count, ret_subnet))
        return fl_err_set(err, -EADDRNOTAVAIL,
                          "no private subnet is free for the bridge %s: every candidate overlaps "
                          "an address or route of this host",
                          network->tag);
    return 0;
}

/* A bridge that survived the agent keeps its subnet: running containers have addresses in it. */
static int choose_subnet(struct fl_network *network, struct fl_subnet former,
                         struct fl_subnet *ret_subnet, struct fl_err *err)
{
    uint32_t address;
    uint8_t prefix;
    int rc = fl_link_address(network->sock, network->bridge_index, &address, &prefix);
    if (rc == 0 && prefix == FL_SUBNET_PREFIX) {
        *ret_subnet = fl_subnet_of(address, prefix);
        return 0;
    }
    if (rc < 0 && rc != -ENOENT)
        return fl_err_errno(err, rc, "cannot read the address of bridge %s", network->tag);
    return find_free_subnet(network, former, ret_subnet, err);
}

static void use_subnet(struct fl_network *network, struct fl_subnet subnet)
{
    network->addresses.subnet = subnet;
    fl_ipv4_text(subnet.base + GATEWAY_OFFSET, network->gateway);
}

static int add_ipv6(struct fl_network *network, struct fl_subnet subnet)
{
    uint8_t address[16];
    fl_ipv6_of(fl_str_of(network->tag), subnet.base + GATEWAY_OFFSET, address);
    return fl_link_add_ipv6(network->sock, network->bridge_index, address);
}

static int address_bridge(struct fl_network *network, struct fl_subnet subnet, struct fl_err *err)
{
    int rc = fl_link_add_address(network->sock, network->bridge_index, subnet.base + GATEWAY_OFFSET,
                                 subnet.prefix);
    if (rc == 0 && network->ipv6)
        rc = add_ipv6(network, subnet);
    if (rc == 0)
        rc = fl_link_set_up(network->sock, network->bridge_index);
    if (rc == 0 && network->ipv6)
        rc = fl_link_add_ipv6_loopback(network->sock, network->bridge_index);
    return rc < 0 ? fl_err_errno(err, rc, "cannot set up bridge %s", network->tag) : 0;
}

/* The bridge's own link-layer address is fixed, or it would change with its ports. */
static int make_bridge(struct fl_network *network, struct fl_str data_dir, struct fl_err *err)
{
    struct fl_net_memory memory;
    uint8_t mac[6] = {0x02, 0x66};
    fl_random_bytes(mac + 2, 4);
    int rc = fl_link_make_bridge(network->sock, network->tag, mac, &network->bridge_index);
    if (rc < 0)
        return fl_err_errno(err, rc, "cannot make bridge %s", network->tag);
    fl_net_memory_read(data_dir, &memory);
    rc = fl_net_kernel_configure(network->tag, network->ipv6, &memory, err);
    if (rc == 0)
        rc = choose_subnet(network, memory.subnet, &memory.subnet, err);
    if (rc == 0)
        rc = fl_net_memory_write(data_dir, &memory, err);
    if (rc < 0)
        return rc;
    use_subnet(network, memory.subnet);
    return address_bridge(network, memory.subnet, err);
}

static int start_nft(struct fl_network *network, const struct fl_network_config *config,
                     struct fl_err *err)
{
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(256);
    int rc = fl_nft_open(config->libexec_dir, &network->nft, err);
    if (rc < 0)
        return rc;
    fl_rules_ensure_tables(&text, config->tag, network->ipv6);
    rc = fl_nft_run(network->nft, fl_buf_str(&text), err);
    return rc < 0 ? rc : fl_net_watch_open(config->tag, network->ipv6, &network->watch, err);
}

static int set_dynamic_range(struct fl_network *network, const struct fl_network_config *config,
                             struct fl_err *err)
{
    network->dynamic_low = config->dynamic_low;
    network->dynamic_high = config->dynamic_high;
    if (config->dynamic_low == 0 && config->dynamic_high == 0)
        fl_port_local_range(&network->dynamic_low, &network->dynamic_high);
    network->dynamic_next = network->dynamic_low;
    if (network->dynamic_low == 0 || network->dynamic_low > network->dynamic_high)
        return fl_err_set(err, -EINVAL, "the range of dynamic host ports is not a range: %u-%u",
                          network->dynamic_low, network->dynamic_high);
    return 0;
}

static int open_parts(struct fl_network *network, const struct fl_network_config *config,
                      struct fl_err *err)
{
    int rc = set_dynamic_range(network, config, err);
    if (rc < 0)
        return rc;
    network->has_ipv6_links = access("/proc/sys/net/ipv6/conf/default", F_OK) == 0;
    network->ipv6 = network->has_ipv6_links && fl_port_has_ipv6();
    network->loopback_open = config->loopback_open;
    rc = fl_nl_open(NETLINK_ROUTE, &network->sock);
    if (rc < 0)
        return fl_err_errno(err, rc, "cannot open a netlink socket");
    rc = make_bridge(network, config->data_dir, err);
    if (rc == 0)
        rc = start_nft(network, config, err);
    return rc < 0 ? rc : fl_docker_allow(config->tag, err);
}

static int check_tag(struct fl_str tag, struct fl_err *err)
{
    if (fl_rules_tag_valid(tag))
        return 0;
    return fl_err_set(err, -EINVAL, "\"%.*s\" cannot name a network", FL_STR_ARG(tag));
}

int fl_network_open(const struct fl_network_config *config, struct fl_network **ret_network,
                    struct fl_err *err)
{
    int rc = check_tag(config->tag, err);
    if (rc < 0)
        return rc;
    struct fl_network *network = fl_calloc(1, sizeof(*network));
    memcpy(network->tag, config->tag.p, config->tag.n);
    fl_random_bytes(&network->next_link, sizeof(network->next_link));
    rc = open_parts(network, config, err);
    if (rc < 0) {
        fl_network_close(network);
        return rc;
    }
    *ret_network = network;
    return 0;
}

void fl_network_close(struct fl_network *network)
{
    struct fl_net_endpoint *endpoint, *next;
    if (!network)
        return;
    HASH_ITER(hh, network->endpoints, endpoint, next)
    {
        HASH_DEL(network->endpoints, endpoint);
        fl_net_endpoint_free(endpoint);
    }
    fl_net_drop_spares(network);
    fl_net_watch_close(network->watch);
    fl_nft_close(network->nft);
    nl_socket_free(network->sock);
    free(network);
}

static int delete_tables(const struct fl_network_config *config, struct fl_err *err)
{
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(256);
    struct fl_nft *nft;
    int rc = fl_nft_open(config->libexec_dir, &nft, err);
    if (rc < 0)
        return rc;
    fl_rules_delete_table(&text, "ip", config->tag);
    rc = fl_nft_run(nft, fl_buf_str(&text), err);
    /* A host without IPv6 has no such table and needs no word about it. */
    fl_buf_clear(&text);
    fl_rules_delete_table(&text, "ip6", config->tag);
    (void)fl_nft_run(nft, fl_buf_str(&text), NULL);
    fl_nft_close(nft);
    return rc;
}

/* The host ends of containers go with their namespaces, which the kernel takes apart when it finds
 * the time. Who uninstalls does not wait for that. */
static void delete_host_ends(struct nl_sock *sock, struct fl_str tag)
{
    struct if_nameindex *links = if_nameindex();
    for (size_t i = 0; links && links[i].if_index; i++) {
        struct fl_str name = fl_str_of(links[i].if_name);
        if (name.n > tag.n && fl_str_starts(name, tag))
            (void)fl_link_delete(sock, name.p);
    }
    if_freenameindex(links);
}

static int delete_bridge(const struct fl_network_config *config, struct fl_err *err)
{
    struct fl_net_memory memory;
    FL_CLEANUP_NL_SOCK struct nl_sock *sock = NULL;
    char name[FL_NET_TAG_SIZE] = {0};
    memcpy(name, config->tag.p, config->tag.n);
    int rc = fl_nl_open(NETLINK_ROUTE, &sock);
    if (rc == 0) {
        delete_host_ends(sock, config->tag);
        rc = fl_link_delete(sock, name);
    }
    fl_net_memory_read(config->data_dir, &memory);
    if (rc == 0 || rc == -ENODEV)
        fl_net_kernel_restore(sock, &memory);
    return rc < 0 && rc != -ENODEV ? fl_err_errno(err, rc, "cannot remove bridge %s", name) : 0;
}

/* Each part is removed whatever became of the others; err tells of the last failure. */
int fl_network_destroy(const struct fl_network_config *config, struct fl_err *err)
{
    int rc = check_tag(config->tag, err);
    if (rc < 0)
        return rc;
    int table = delete_tables(config, err);
    int bridge = delete_bridge(config, err);
    int docker = fl_docker_forget(config->tag, err);
    int memory = fl_net_memory_remove(config->data_dir, err);
    return table < 0 ? table : bridge < 0 ? bridge : docker < 0 ? docker : memory;
}
