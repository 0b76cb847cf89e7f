/* /etc/hosts, /etc/resolv.conf and the hostname of containers. */
#include <arpa/inet.h>
#include <fcntl.h>

#include "agent/agent_internal.h"
#include "base/fs.h"

enum { FILE_MAX = 64 * 1024, SHORT_ID = 12 };

static const char localhost[] = "127.0.0.1\tlocalhost\n"
                                "::1\tlocalhost ip6-localhost ip6-loopback\n";

static struct fl_str host_file(const char *path, struct fl_arena *arena)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(FILE_MAX);
    int fd = open(path, O_RDONLY | O_CLOEXEC); /* resolv.conf is often a symlink */
    char *at = fl_buf_reserve(&buf, FILE_MAX - 1);
    ssize_t n = fd >= 0 && at ? read(fd, at, FILE_MAX - 1) : 0;
    if (fd >= 0)
        (void)close(fd);
    return fl_str_dup(arena, (struct fl_str){at, n > 0 ? (size_t)n : 0});
}

struct fl_str fl_agent_hostname_of(const struct fl_agent *agent,
                                   const struct fl_task_container *container,
                                   struct fl_arena *arena)
{
    if (container->spec->hostname.n > 0)
        return container->spec->hostname;
    if (container->task->spec->network_mode == FL_NET_HOST)
        return agent->hostname;
    return fl_str_dup(arena, (struct fl_str){container->id, SHORT_ID});
}

struct fl_str fl_agent_etc_hosts(enum fl_network_mode mode, const uint8_t address[4],
                                 struct fl_str hostname, struct fl_arena *arena)
{
    static const uint8_t none[4];
    char text[INET_ADDRSTRLEN] = "127.0.1.1";
    if (mode == FL_NET_HOST)
        return host_file("/etc/hosts", arena);
    if (memcmp(address, none, sizeof(none)) != 0)
        (void)inet_ntop(AF_INET, address, text, sizeof(text));
    return fl_str_printf(arena, "%s%s\t%.*s\n", localhost, text, FL_STR_ARG(hostname));
}

/* A resolver on the host's loopback (systemd-resolved's stub) is not there inside a container, and
 * containers have no way out by IPv6. */
static bool is_out_of_reach(struct fl_str line)
{
    if (!fl_str_starts(line, FL_STR("nameserver")))
        return false;
    struct fl_str address = fl_str_trim(fl_str_from(line, strlen("nameserver")));
    return fl_str_starts(address, FL_STR("127.")) || fl_str_index(address, ':') >= 0;
}

/* True: a name server was among the lines. */
static bool copy_lines(struct fl_str text, bool only_servers, struct fl_buf *buf)
{
    struct fl_str line;
    bool has_server = false;
    while (fl_str_split(&text, '\n', &line)) {
        bool is_server = fl_str_starts(line, FL_STR("nameserver"));
        if (is_out_of_reach(line) || (only_servers && !is_server))
            continue;
        has_server = has_server || is_server;
        fl_buf_add_str(buf, line);
        fl_buf_add_char(buf, '\n');
    }
    return has_server;
}

struct fl_str fl_agent_filter_resolv_conf(struct fl_str host, struct fl_str upstream,
                                          struct fl_arena *arena)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(4 * FILE_MAX);
    if (!copy_lines(host, false, &buf)) {
        fl_buf_add_z(&buf, "nameserver " FL_METADATA_HOST "\n");
        (void)copy_lines(upstream, true, &buf);
    }
    return fl_str_dup(arena, fl_buf_str(&buf));
}

struct fl_str fl_agent_etc_resolv_conf(enum fl_network_mode mode, struct fl_arena *arena)
{
    struct fl_str host = host_file(FL_RESOLV_CONF, arena);
    if (mode == FL_NET_HOST)
        return host;
    struct fl_str upstream = host_file("/run/systemd/resolve/resolv.conf", arena);
    return fl_agent_filter_resolv_conf(host, upstream, arena);
}
