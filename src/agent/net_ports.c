/* Host ports; see the header. */
#include "agent/net_ports.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>

#include "base/fs.h"
#include "base/util.h"

static int set_reuse(int fd, int on)
{
    return setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ? -errno : 0;
}

static int bind_any(int fd, uint16_t port, bool ipv6)
{
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr_in6 any6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    const struct sockaddr *name = ipv6 ? (const struct sockaddr *)&any6 : (void *)&any;
    return bind(fd, name, ipv6 ? sizeof(any6) : sizeof(any)) < 0 ? -errno : 0;
}

/* With SO_REUSEADDR a port in TIME_WAIT can be bound, but so can one that is bound and not
 * listened on: only listening tells them apart. shutdown ends the listening and keeps the port;
 * without SO_REUSEADDR from then on nobody else can share it. */
static int bind_over_time_wait(int fd, uint16_t port, bool ipv6)
{
    int rc = set_reuse(fd, 1);
    if (rc == 0)
        rc = bind_any(fd, port, ipv6);
    if (rc == 0 && listen(fd, 0) < 0)
        rc = -errno;
    if (rc == 0 && shutdown(fd, SHUT_RDWR) < 0)
        rc = -errno;
    return rc < 0 ? rc : set_reuse(fd, 0);
}

/* One socket for both families, whatever net.ipv6.bindv6only says. */
static int open_socket(bool udp, bool ipv6)
{
    int off = 0;
    FL_CLEANUP_FD int fd =
        socket(ipv6 ? AF_INET6 : AF_INET, (udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, 0);
    if (fd < 0 || (ipv6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)) < 0))
        return -errno;
    return FL_TAKE_FD(fd);
}

int fl_port_hold(uint16_t port, bool udp, bool ipv6)
{
    FL_CLEANUP_FD int fd = open_socket(udp, ipv6);
    if (fd < 0)
        return fd;
    int rc = bind_any(fd, port, ipv6);
    if (rc == -EADDRINUSE && !udp)
        rc = bind_over_time_wait(fd, port, ipv6);
    return rc < 0 ? rc : FL_TAKE_FD(fd);
}

bool fl_port_has_ipv6(void)
{
    struct sockaddr_in6 loopback = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    FL_CLEANUP_FD int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    return fd >= 0 && bind(fd, (struct sockaddr *)&loopback, sizeof(loopback)) == 0;
}

void fl_port_local_range(uint16_t *ret_low, uint16_t *ret_high)
{
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(64);
    unsigned low, high;
    *ret_low = 32768;
    *ret_high = 60999;
    if (fl_fs_read(AT_FDCWD, "/proc/sys/net/ipv4/ip_local_port_range", 64, &text) < 0)
        return;
    if (sscanf(text.p, "%5u %5u", &low, &high) != 2 || low < 1 || low > high || high > 65535)
        return;
    *ret_low = (uint16_t)low;
    *ret_high = (uint16_t)high;
}
