/* One descriptor through a Unix socket. The runtime connects, sends and goes on without waiting:
 * what it sent is still there when it has ended. */
#include "shim/console.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/util.h"

#define NAME "console"

int console_listen(void)
{
    const struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = NAME};
    FL_CLEANUP_FD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
        listen(fd, 1) < 0)
        return -errno;
    return FL_TAKE_FD(fd);
}

static int take_descriptor(int fd)
{
    char byte[64];
    char control[CMSG_SPACE(sizeof(int))];
    struct iovec bytes = {.iov_base = byte, .iov_len = sizeof(byte)};
    struct msghdr message = {.msg_iov = &bytes,
                             .msg_iovlen = 1,
                             .msg_control = control,
                             .msg_controllen = sizeof(control)};
    int found = -1;
    if (recvmsg(fd, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT) < 0)
        return -errno;
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (!header || header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS ||
        header->cmsg_len != CMSG_LEN(sizeof(int)))
        return -EPROTO;
    memcpy(&found, CMSG_DATA(header), sizeof(found));
    return found;
}

int console_receive(int listen_fd)
{
    FL_CLEANUP_FD int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
    int rc = fd < 0 ? -errno : take_descriptor(fd);
    (void)close(listen_fd);
    (void)unlink(NAME);
    return rc;
}
