/* The host's side of the network: the bridge, its subnet, the kernel's settings, and the removal
 * of all that. What a container gets is in net_attach.c. */
#include "agent/network.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "agent/net_docker.h"
#include "agent/net_link.h"
#include "agent/net_ports.h"
#include "agent/net_state.h"
#include "base/fs.h"
#include "base/id.h"

enum { MAX_USED_RANGES = 65536, MAX_MEMORY_FILE = 4096, GATEWAY_OFFSET = 1 };

#define MEMORY_FILE "network.json"

/* Writes a value to a file under /proc/sys/net unless it is there already. */
static int set_sysctl(const char *path, const char *value)
{
    FL_CLEANUP_BUF struct fl_buf now = FL_BUF_INIT(64);
    if (fl_fs_read(AT_FDCWD, path, 63, &now) == 0 &&
        fl_str_is(fl_str_trim(fl_buf_str(&now)), value))
        return 0;
    FL_CLEANUP_FD int fd = open(path, O_WRONLY | O_CLOEXEC);
    return fd < 0 ? -errno : fl_fs_write_all(fd, value, strlen(value));
}

/* The same for a setting of our bridge. */
static int set_bridge_sysctl(const char *tag, const char *family, const char *key,
                             const char *value)
{
    char path[128];
    snprintf(path, sizeof(path), "/proc/sys/net/%s/conf/%s/%s", family, tag, key);
    return set_sysctl(path, value);
}

/* A host that becomes a router forgets what routers told it, unless it is told to listen on. */
static void listen_on(const char *link)
{
    char path[400];
    FL_CLEANUP_BUF struct fl_buf now = FL_BUF_INIT(64);
    (void)snprintf(path, sizeof(path), "/proc/sys/net/ipv6/conf/%s/accept_ra", link);
    if (fl_fs_read(AT_FDCWD, path, 63, &now) == 0 && fl_str_is(fl_str_trim(fl_buf_str(&now)), "1"))
        (void)set_sysctl(path, "2");
}

/* Ports are published to other hosts by IPv6, too. */
static int forward_ipv6(struct fl_err *err)
{
    static const char path[] = "/proc/sys/net/ipv6/conf/all/forwarding";
    FL_CLEANUP_BUF struct fl_buf now = FL_BUF_INIT(64);
    if (fl_fs_read(AT_FDCWD, path, 63, &now) == 0 && fl_str_is(fl_str_trim(fl_buf_str(&now)), "1"))
        return 0;
    DIR *links = opendir("/proc/sys/net/ipv6/conf");
    for (struct dirent *link; links && (link = readdir(links)) != NULL;)
        if (link->d_name[0] != '.' && strcmp(link->d_name, "all") != 0)
            listen_on(link->d_name);
    if (links)
        (void)closedir(links);
    int rc = set_sysctl(path, "1");
    return rc < 0 ? fl_err_errno(err, rc, "cannot switch on net.ipv6.conf.all.forwarding") : 0;
}

/* The bridge believes no router of its containers', and has the address that it is given alone. */
static int configure_ipv6(const struct fl_network *network, struct fl_err *err)
{
    /* A kernel without IPv6 has nothing to switch off. */
    (void)set_bridge_sysctl(network->tag, "ipv6", "accept_ra", "0");
    (void)set_bridge_sysctl(network->tag, "ipv6", "addr_gen_mode", "1");
    int rc = set_bridge_sysctl(network->tag, "ipv6", "disable_ipv6", network->ipv6 ? "0" : "1");
    if (rc < 0 && network->ipv6)
        return fl_err_errno(err, rc, "cannot switch on IPv6 on bridge %s", network->tag);
    return network->ipv6 ? forward_ipv6(err) : 0;
}

static int configure_kernel(const struct fl_network *network, struct fl_err *err)
{
    int rc = set_sysctl("/proc/sys/net/ipv4/ip_forward", "1");
    if (rc < 0)
        return fl_err_errno(err, rc, "cannot switch on net.ipv4.ip_forward");
    rc = set_bridge_sysctl(network->tag, "ipv4", "route_localnet", "1");
    if (rc < 0)
        return fl_err_errno(err, rc, "cannot publish ports on 127.0.0.1 (route_localnet)");
    (void)set_bridge_sysctl(network->tag, "ipv4", "send_redirects", "0");
    return configure_ipv6(network, err);
}

static int open_dir(struct fl_str path)
{
    FL_CLEANUP_FREE char *path_z = fl_strndup(path.p, path.n);
    int fd = open(path_z, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

/* The subnet of last time, when the file is there and says something sensible. */
static bool recall_subnet(struct fl_str data_dir, struct fl_subnet *ret)
{
    FL_CLEANUP_FD int dir_fd = open_dir(data_dir);
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    FL_CLEANUP_BUF struct fl_buf bytes = FL_BUF_INIT(MAX_MEMORY_FILE);
    if (dir_fd < 0 || fl_fs_read(dir_fd, MEMORY_FILE, MAX_MEMORY_FILE - 1, &bytes) < 0 || !bytes.n)
        return false;
    const struct fl_json *json = fl_json_read(fl_buf_str(&bytes), arena, NULL);
    struct fl_str text = fl_json_text(fl_json_get(json, "subnet"));
    return fl_subnet_parse(text, ret) && ret->prefix == FL_SUBNET_PREFIX;
}

static int remember_subnet(struct fl_str data_dir, struct fl_subnet subnet)
{
    char text[FL_SUBNET_TEXT_SIZE];
    FL_CLEANUP_BUF struct fl_buf json = FL_BUF_INIT(MAX_MEMORY_FILE);
    FL_CLEANUP_FD int dir_fd = open_dir(data_dir);
    if (dir_fd < 0)
        return dir_fd;
    fl_subnet_text(subnet, text);
    fl_buf_printf(&json, "{\"subnet\": \"%s\"}\n", text);
    return fl_fs_write_atomic(dir_fd, MEMORY_FILE, fl_buf_str(&json), 0600);
}

static bool overlaps_any(struct fl_subnet subnet, const struct fl_subnet *used, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (fl_subnet_overlaps(subnet, used[i]))
            return true;
    return false;
}

static int find_free_subnet(struct fl_network *network, struct fl_str data_dir,
                            struct fl_subnet *ret_subnet, struct fl_err *err)
{
    FL_CLEANUP_FREE struct fl_subnet *used = fl_calloc(MAX_USED_RANGES, sizeof(*used));
    size_t count;
    int rc =
        fl_link_used_ranges(network->sock, network->bridge_index, used, MAX_USED_RANGES, &count);
    if (rc < 0)
        return fl_err_errno(err, rc, "cannot read the host's addresses and routes");
    if (recall_subnet(data_dir, ret_subnet) && !overlaps_any(*ret_subnet, used, count))
        return 0;
    if (!fl_subnet_choose(used, count, ret_subnet))
        return fl_err_set(err, -EADDRNOTAVAIL,
                          "no private subnet is free for the bridge %s: every candidate overlaps "
                          "an address or route of this host",
                          network->tag);
    return 0;
}

/* A bridge that survived the agent keeps its subnet: running containers have addresses in it. */
static int choose_subnet(struct fl_network *network, struct fl_str data_dir,
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
    return find_free_subnet(network, data_dir, ret_subnet, err);
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

static int address_bridge(struct fl_network *network, struct fl_str data_dir, struct fl_err *err)
{
    struct fl_subnet subnet;
    int rc = choose_subnet(network, data_dir, &subnet, err);
    if (rc < 0)
        return rc;
    use_subnet(network, subnet);
    rc = remember_subnet(data_dir, subnet);
    if (rc < 0)
        return fl_err_errno(err, rc, "cannot write %s", MEMORY_FILE);
    rc = fl_link_add_address(network->sock, network->bridge_index, subnet.base + GATEWAY_OFFSET,
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
    uint8_t mac[6] = {0x02, 0x66};
    fl_random_bytes(mac + 2, 4);
    int rc = fl_link_make_bridge(network->sock, network->tag, mac, &network->bridge_index);
    if (rc < 0)
        return fl_err_errno(err, rc, "cannot make bridge %s", network->tag);
    rc = configure_kernel(network, err);
    return rc < 0 ? rc : address_bridge(network, data_dir, err);
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

static int delete_bridge(const struct fl_network_config *config, struct fl_err *err)
{
    FL_CLEANUP_NL_SOCK struct nl_sock *sock = NULL;
    char name[FL_NET_TAG_SIZE] = {0};
    memcpy(name, config->tag.p, config->tag.n);
    int rc = fl_nl_open(NETLINK_ROUTE, &sock);
    if (rc == 0)
        rc = fl_link_delete(sock, name);
    return rc < 0 && rc != -ENODEV ? fl_err_errno(err, rc, "cannot remove bridge %s", name) : 0;
}

static int forget_subnet(const struct fl_network_config *config, struct fl_err *err)
{
    FL_CLEANUP_FD int dir_fd = open_dir(config->data_dir);
    if (dir_fd == -ENOENT || (dir_fd >= 0 && unlinkat(dir_fd, MEMORY_FILE, 0) == 0))
        return 0;
    int rc = dir_fd < 0 ? dir_fd : -errno;
    return rc == -ENOENT ? 0 : fl_err_errno(err, rc, "cannot remove %s", MEMORY_FILE);
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
    int memory = forget_subnet(config, err);
    return table < 0 ? table : bridge < 0 ? bridge : docker < 0 ? docker : memory;
}
