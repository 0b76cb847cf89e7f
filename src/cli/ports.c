/* Ports and their holders, from /proc/net/tcp and the descriptors of every process. */
#include "cli/ports.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <sys/socket.h>

#include "base/fs.h"

enum {
    MAX_TABLE_BYTES = 64 << 20,
    MAX_INODES = 64,
};

bool fl_port_is_free(struct fl_str host, uint16_t port)
{
    char name[256];
    char service[8];
    (void)snprintf(name, sizeof(name), "%.*s", FL_STR_ARG(host));
    (void)snprintf(service, sizeof(service), "%u", port);
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                                   .ai_flags = AI_NUMERICSERV | AI_PASSIVE};
    struct addrinfo *found = NULL;
    if (getaddrinfo(name, service, &hints, &found) != 0)
        return true;
    FL_CLEANUP_FD int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int on = 1;
    bool taken = fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0 &&
                 bind(fd, found->ai_addr, found->ai_addrlen) < 0 && errno == EADDRINUSE;
    freeaddrinfo(found);
    return !taken;
}

/* Inodes of the listening sockets on the port; returns their number. */
static size_t listeners(const char *table, uint16_t port, unsigned long inodes[MAX_INODES])
{
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(MAX_TABLE_BYTES);
    if (fl_fs_read(AT_FDCWD, table, text.max, &text) < 0)
        return 0;
    size_t n = 0;
    struct fl_str rest = fl_buf_str(&text);
    struct fl_str line;
    while (n < MAX_INODES && fl_str_split(&rest, '\n', &line)) {
        unsigned local_port;
        unsigned state;
        unsigned long inode;
        char copy[256];
        (void)snprintf(copy, sizeof(copy), "%.*s", FL_STR_ARG(line));
        if (sscanf(copy, " %*d: %*[0-9A-F]:%x %*[0-9A-F]:%*x %x %*s %*s %*s %*d %*d %lu",
                   &local_port, &state, &inode) == 3 &&
            local_port == port && state == 0x0a)
            inodes[n++] = inode;
    }
    return n;
}

static bool holds(int process, const unsigned long *inodes, size_t count)
{
    int fds = openat(process, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fds < 0 ? NULL : fdopendir(fds);
    if (!dir)
        return false;
    bool found = false;
    for (struct dirent *entry = readdir(dir); entry && !found; entry = readdir(dir)) {
        char link[64];
        ssize_t n = readlinkat(dirfd(dir), entry->d_name, link, sizeof(link) - 1);
        unsigned long inode;
        if (n <= 0)
            continue;
        link[n] = '\0';
        if (sscanf(link, "socket:[%lu]", &inode) != 1)
            continue;
        for (size_t i = 0; i < count; i++)
            found = found || inodes[i] == inode;
    }
    (void)closedir(dir);
    return found;
}

struct fl_str fl_port_holder(uint16_t port, struct fl_arena *arena)
{
    unsigned long inodes[2 * MAX_INODES];
    size_t count = listeners("/proc/net/tcp", port, inodes);
    count += listeners("/proc/net/tcp6", port, inodes + count);
    struct fl_str holder = FL_STR("another process");
    DIR *proc = count > 0 ? opendir("/proc") : NULL;
    if (!proc)
        return holder;
    for (struct dirent *entry = readdir(proc); entry; entry = readdir(proc)) {
        uint64_t pid;
        if (!fl_str_to_u64(fl_str_of(entry->d_name), &pid))
            continue;
        FL_CLEANUP_FD int dir =
            openat(dirfd(proc), entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        FL_CLEANUP_BUF struct fl_buf name = FL_BUF_INIT(64);
        if (dir >= 0 && holds(dir, inodes, count) && fl_fs_read(dir, "comm", 64, &name) == 0) {
            holder = fl_str_printf(arena, "%.*s (process %s)",
                                   FL_STR_ARG(fl_str_trim(fl_buf_str(&name))), entry->d_name);
            break;
        }
    }
    (void)closedir(proc);
    return holder;
}
