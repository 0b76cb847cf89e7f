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

static int bind_any(int fd, uint16_t port)
{
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(port)};
    return bind(fd, (struct sockaddr *)&any, sizeof(any)) < 0 ? -errno : 0;
}

/* With SO_REUSEADDR a port in TIME_WAIT can be bound, but so can one that is bound and not
 * listened on: only listening tells them apart. shutdown ends the listening and keeps the port;
 * without SO_REUSEADDR from then on nobody else can share it. */
static int bind_over_time_wait(int fd, uint16_t port)
{
    int rc = set_reuse(fd, 1);
    if (rc == 0)
        rc = bind_any(fd, port);
    if (rc == 0 && listen(fd, 0) < 0)
        rc = -errno;
    if (rc == 0 && shutdown(fd, SHUT_RDWR) < 0)
        rc = -errno;
    return rc < 0 ? rc : set_reuse(fd, 0);
}

int fl_port_hold(uint16_t port, bool udp)
{
    FL_CLEANUP_FD int fd = socket(AF_INET, (udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    int rc = bind_any(fd, port);
    if (rc == -EADDRINUSE && !udp)
        rc = bind_over_time_wait(fd, port);
    return rc < 0 ? rc : FL_TAKE_FD(fd);
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
