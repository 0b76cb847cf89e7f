/* See the header. A setting that is right already is not written. */
#include "agent/net_kernel.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "agent/net_link.h"
#include "base/fs.h"

#define FORWARD_IPV4 "/proc/sys/net/ipv4/ip_forward"
#define FORWARD_IPV6 "/proc/sys/net/ipv6/conf/all/forwarding"

static bool says(const char *path, const char *value)
{
    FL_CLEANUP_BUF struct fl_buf now = FL_BUF_INIT(64);
    return fl_fs_read(AT_FDCWD, path, 63, &now) == 0 &&
           fl_str_is(fl_str_trim(fl_buf_str(&now)), value);
}

/* Writes a value to a file under /proc/sys/net unless it is there already. */
static int set_sysctl(const char *path, const char *value)
{
    if (says(path, value))
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
    (void)snprintf(path, sizeof(path), "/proc/sys/net/ipv6/conf/%s/accept_ra", link);
    if (says(path, "1"))
        (void)set_sysctl(path, "2");
}

/* Ports are published to other hosts by IPv6, too. */
static int forward_ipv6(struct fl_net_memory *memory, struct fl_err *err)
{
    if (says(FORWARD_IPV6, "1"))
        return 0;
    DIR *links = opendir("/proc/sys/net/ipv6/conf");
    for (struct dirent *link; links && (link = readdir(links)) != NULL;)
        if (link->d_name[0] != '.' && strcmp(link->d_name, "all") != 0)
            listen_on(link->d_name);
    if (links)
        (void)closedir(links);
    int rc = set_sysctl(FORWARD_IPV6, "1");
    memory->forwards_ipv6 = memory->forwards_ipv6 || rc == 0;
    return rc < 0 ? fl_err_errno(err, rc, "cannot switch on net.ipv6.conf.all.forwarding") : 0;
}

/* The bridge believes no router of its containers', and has the address that it is given alone. */
static int configure_ipv6(const char *tag, bool ipv6, struct fl_net_memory *memory,
                          struct fl_err *err)
{
    /* A kernel without IPv6 has nothing to switch off. */
    (void)set_bridge_sysctl(tag, "ipv6", "accept_ra", "0");
    (void)set_bridge_sysctl(tag, "ipv6", "addr_gen_mode", "1");
    int rc = set_bridge_sysctl(tag, "ipv6", "disable_ipv6", ipv6 ? "0" : "1");
    if (rc < 0 && ipv6)
        return fl_err_errno(err, rc, "cannot switch on IPv6 on bridge %s", tag);
    return ipv6 ? forward_ipv6(memory, err) : 0;
}

static int forward_ipv4(struct fl_net_memory *memory, struct fl_err *err)
{
    if (says(FORWARD_IPV4, "1"))
        return 0;
    int rc = set_sysctl(FORWARD_IPV4, "1");
    memory->forwards_ipv4 = memory->forwards_ipv4 || rc == 0;
    return rc < 0 ? fl_err_errno(err, rc, "cannot switch on net.ipv4.ip_forward") : 0;
}

int fl_net_kernel_configure(const char *tag, bool ipv6, struct fl_net_memory *memory,
                            struct fl_err *err)
{
    int rc = forward_ipv4(memory, err);
    if (rc < 0)
        return rc;
    rc = set_bridge_sysctl(tag, "ipv4", "route_localnet", "1");
    if (rc < 0)
        return fl_err_errno(err, rc, "cannot publish ports on 127.0.0.1 (route_localnet)");
    (void)set_bridge_sysctl(tag, "ipv4", "send_redirects", "0");
    return configure_ipv6(tag, ipv6, memory, err);
}

static void set_forwarding(const struct fl_net_memory *memory, const char *value)
{
    if (memory->forwards_ipv4)
        (void)set_sysctl(FORWARD_IPV4, value);
    if (memory->forwards_ipv6)
        (void)set_sysctl(FORWARD_IPV6, value);
}

static bool has_bridge(struct nl_sock *sock)
{
    bool has_one = true; /* in doubt, too */
    return fl_link_has_bridge(sock, &has_one) < 0 || has_one;
}

/* Who makes a bridge looks at the settings afterwards: one that comes between is seen by the second
 * look. */
void fl_net_kernel_restore(struct nl_sock *sock, const struct fl_net_memory *memory)
{
    if ((!memory->forwards_ipv4 && !memory->forwards_ipv6) || has_bridge(sock))
        return;
    set_forwarding(memory, "0");
    if (has_bridge(sock))
        set_forwarding(memory, "1");
}
