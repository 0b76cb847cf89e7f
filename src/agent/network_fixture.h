/* The stage of network_test: this process enters a network namespace of its own (the "host"),
 * linked to a second one (the "world"), with rules as Docker leaves them; servers in namespaces
 * answer with their name and the address they saw. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>

#include "agent/net_state.h"
#include "agent/network.h"
#include "base/clock.h"
#include "base/fs.h"

enum { MAX_SERVERS = 32, PATIENCE_MS = 20000, SHORT_MS = 400, MANY = 200 };

static struct {
    int home_fd;
    int world_fd;
    pid_t servers[MAX_SERVERS];
    size_t server_count;
    char libexec[512];
    char data_dir[64];
    char other_dir[64];
    char *rules_before;
    struct fl_arena *arena;
    struct fl_network *network;
} t;

/* Runs a line of shell; its exit code. output_fd -1: our own standard output. */
static int run_shell(const char *command, int output_fd)
{
    const char *argv[] = {"sh", "-c", command, NULL};
    posix_spawn_file_actions_t actions;
    pid_t pid;
    int status = -1;
    posix_spawn_file_actions_init(&actions);
    if (output_fd >= 0)
        posix_spawn_file_actions_adddup2(&actions, output_fd, STDOUT_FILENO);
    if (posix_spawn(&pid, "/bin/sh", &actions, NULL, (char *const *)argv, environ) == 0)
        assert_int_equal(waitpid(pid, &status, 0), pid);
    posix_spawn_file_actions_destroy(&actions);
    return status;
}

static int sh(const char *format, ...) FL_PRINTF(1, 2);

static int sh(const char *format, ...)
{
    char command[512];
    va_list args;
    va_start(args, format);
    vsnprintf(command, sizeof(command), format, args);
    va_end(args);
    return run_shell(command, -1);
}

static void output_of(const char *command, struct fl_buf *ret_output)
{
    char chunk[4096];
    FL_CLEANUP_FD int fd = memfd_create("output", MFD_CLOEXEC);
    assert_int_equal(run_shell(command, fd), 0);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    for (ssize_t n; (n = read(fd, chunk, sizeof(chunk))) > 0;)
        fl_buf_add(ret_output, chunk, (size_t)n);
}

static void enter(int netns_fd)
{
    assert_int_equal(setns(netns_fd, CLONE_NEWNET), 0);
}

static int bound_socket(int type, const char *address, uint16_t port)
{
    int on = 1;
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons(port)};
    int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
    inet_pton(AF_INET, address, &name.sin_addr);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(fd, (struct sockaddr *)&name, sizeof(name)) == 0 &&
        (type != SOCK_STREAM || listen(fd, 16) == 0))
        return fd;
    int rc = -errno;
    close(fd);
    return rc;
}

/* Listens to both families. */
static int server_socket(int type, uint16_t port)
{
    int on = 1, off = 0;
    struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    int fd = socket(AF_INET6, type | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
    if (bind(fd, (struct sockaddr *)&any, sizeof(any)) < 0 ||
        (type == SOCK_STREAM && listen(fd, 16) < 0))
        return -1;
    return fd;
}

static void write_peer(const struct sockaddr_in6 *peer, char ret_text[INET6_ADDRSTRLEN])
{
    const uint8_t *bytes = peer->sin6_addr.s6_addr;
    if (IN6_IS_ADDR_V4MAPPED(&peer->sin6_addr))
        inet_ntop(AF_INET, bytes + 12, ret_text, INET6_ADDRSTRLEN);
    else
        inet_ntop(AF_INET6, bytes, ret_text, INET6_ADDRSTRLEN);
}

/* Answers "<name> <address of the client>". */
static void answer(int fd, bool udp, const char *name)
{
    char text[128], address[INET6_ADDRSTRLEN], ignored[16];
    struct sockaddr_in6 peer = {0};
    socklen_t size = sizeof(peer);
    int connection = udp ? fd : accept4(fd, (struct sockaddr *)&peer, &size, SOCK_CLOEXEC);
    if (udp)
        (void)recvfrom(fd, ignored, sizeof(ignored), 0, (struct sockaddr *)&peer, &size);
    write_peer(&peer, address);
    int n = snprintf(text, sizeof(text), "%s %s", name, address);
    (void)sendto(connection, text, (size_t)n, MSG_NOSIGNAL, udp ? (struct sockaddr *)&peer : NULL,
                 udp ? size : 0);
    if (!udp)
        close(connection);
}

static _Noreturn void serve(int netns_fd, uint16_t port, const char *name, int ready_fd)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (setns(netns_fd, CLONE_NEWNET) < 0)
        _exit(1);
    struct pollfd fds[2] = {{.fd = server_socket(SOCK_STREAM, port), .events = POLLIN},
                            {.fd = server_socket(SOCK_DGRAM, port), .events = POLLIN}};
    if (fds[0].fd < 0 || fds[1].fd < 0 || write(ready_fd, "r", 1) != 1)
        _exit(1);
    while (poll(fds, 2, -1) > 0)
        for (int i = 0; i < 2; i++)
            if (fds[i].revents)
                answer(fds[i].fd, i == 1, name);
    _exit(1);
}

static void start_server(int netns_fd, uint16_t port, const char *name)
{
    int ready[2];
    char byte;
    assert_true(t.server_count < MAX_SERVERS);
    assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
    pid_t pid = fork();
    if (pid == 0)
        serve(netns_fd, port, name, ready[1]);
    close(ready[1]);
    t.servers[t.server_count++] = pid;
    assert_int_equal(read(ready[0], &byte, 1), 1);
    close(ready[0]);
}

/* An address of either family with its port; the size of what was filled in. */
static socklen_t name_of(const char *address, uint16_t port, struct sockaddr_storage *ret_name)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)ret_name;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)ret_name;
    memset(ret_name, 0, sizeof(*ret_name));
    if (inet_pton(AF_INET, address, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(port);
        return sizeof(*v4);
    }
    assert_int_equal(inet_pton(AF_INET6, address, &v6->sin6_addr), 1);
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
    return sizeof(*v6);
}

/* What the server at address:port says to a client in that namespace; "" when nothing comes. */
static const char *ask_within(int netns_fd, const char *address, uint16_t port, bool udp,
                              int patience_ms)
{
    static char reply[128];
    struct timeval patience = {.tv_sec = patience_ms / 1000, .tv_usec = patience_ms % 1000 * 1000};
    struct sockaddr_storage name;
    socklen_t size = name_of(address, port, &name);
    enter(netns_fd);
    FL_CLEANUP_FD int fd =
        socket(name.ss_family, (udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, 0);
    enter(t.home_fd);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    reply[0] = '\0';
    if (connect(fd, (struct sockaddr *)&name, size) < 0)
        return reply;
    if (udp && send(fd, "?", 1, 0) < 0)
        return reply;
    ssize_t n = recv(fd, reply, sizeof(reply) - 1, 0);
    reply[n > 0 ? n : 0] = '\0';
    return reply;
}

static const char *ask(int netns_fd, const char *address, uint16_t port, bool udp)
{
    return ask_within(netns_fd, address, port, udp, PATIENCE_MS);
}

/* True when the server's first word is that name, whoever it thinks we are. */
static bool is_reached(const char *name, int netns_fd, const char *address, uint16_t port, bool udp)
{
    struct fl_str reply = fl_str_of(ask(netns_fd, address, port, udp)), word;
    return fl_str_split(&reply, ' ', &word) && fl_str_is(word, name);
}

static struct fl_network_config config_of(const char *tag, const char *data_dir)
{
    return (struct fl_network_config){.tag = fl_str_of(tag),
                                      .libexec_dir = fl_str_of(t.libexec),
                                      .data_dir = fl_str_of(data_dir),
                                      .dynamic_low = 49153,
                                      .dynamic_high = 49999};
}

static struct fl_network *open_network(const char *tag, const char *data_dir)
{
    struct fl_network_config config = config_of(tag, data_dir);
    struct fl_network *network = NULL;
    struct fl_err err = {0};
    if (fl_network_open(&config, &network, &err) < 0)
        fail_msg("open: %s", err.text);
    return network;
}

static struct fl_endpoint attach(struct fl_network *network, const char *id,
                                 const struct fl_port_mapping *ports, size_t port_count)
{
    struct fl_endpoint endpoint;
    struct fl_err err = {0};
    if (fl_network_attach(network, fl_str_of(id), FL_NET_BRIDGE, ports, port_count, t.arena,
                          &endpoint, &err) < 0)
        fail_msg("attach: %s", err.text);
    return endpoint;
}

static void detach(struct fl_network *network, const char *id, const struct fl_endpoint *endpoint)
{
    fl_network_detach(network, fl_str_of(id));
    close(endpoint->netns_fd);
}

static const char *address_text(const struct fl_endpoint *endpoint)
{
    static char text[INET_ADDRSTRLEN];
    return inet_ntop(AF_INET, endpoint->address, text, sizeof(text));
}

static void stop_servers(void)
{
    for (size_t i = 0; i < t.server_count; i++) {
        kill(t.servers[i], SIGKILL);
        waitpid(t.servers[i], NULL, 0);
    }
    t.server_count = 0;
}

static int end_of_test(FL_UNUSED void **state)
{
    stop_servers();
    return 0;
}

/* What Docker leaves: a policy of DROP and a chain for others; and a table of the user's. */
static bool make_rules(void)
{
    FL_CLEANUP_BUF struct fl_buf rules = FL_BUF_INIT(1 << 20);
    if (sh("iptables -N DOCKER-USER && iptables -A DOCKER-USER -j RETURN && "
           "iptables -A FORWARD -j DOCKER-USER && iptables -P FORWARD DROP && "
           "nft add table inet users && nft add chain inet users input "
           "'{ type filter hook input priority 5; policy accept; }' && "
           "nft add rule inet users input tcp dport 22 accept") != 0)
        return false;
    output_of("nft -s list ruleset", &rules);
    t.rules_before = fl_strndup(rules.p, rules.n);
    return true;
}

/* Ends in the "host": 192.0.2.1, strict about where packets come from, linked to the "world":
 * 192.0.2.2, which has no other route. */
static bool make_world(void)
{
    if (unshare(CLONE_NEWNET) < 0)
        return false;
    t.home_fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    enter(t.home_fd);
    if (unshare(CLONE_NEWNET) < 0)
        return false;
    t.world_fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    bool made = sh("ip link add outside type veth peer name uplink && "
                   "ip addr add 192.0.2.2/24 dev outside && ip link set outside up && "
                   "ip addr add 2001:db8::2/64 dev outside nodad && "
                   "ip link set uplink netns /proc/%d/fd/%d",
                   getpid(), t.home_fd) == 0;
    enter(t.home_fd);
    return made && sh("echo 1 >/proc/sys/net/ipv4/conf/all/rp_filter && "
                      "ip link set lo up && ip addr add 192.0.2.1/24 dev uplink && "
                      "ip addr add 2001:db8::1/64 dev uplink nodad && "
                      "ip link set uplink up") == 0;
}

/* The helpers lie in libexec beside the tests. */
static void find_libexec(void)
{
    char self[400];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    self[n > 0 ? n : 0] = '\0';
    char *slash = strrchr(self, '/');
    if (slash)
        *slash = '\0';
    snprintf(t.libexec, sizeof(t.libexec), "%s/libexec", self);
}

static bool prepare(void)
{
    snprintf(t.data_dir, sizeof(t.data_dir), "/tmp/fairlead-network-XXXXXX");
    snprintf(t.other_dir, sizeof(t.other_dir), "/tmp/fairlead-network-XXXXXX");
    find_libexec();
    return geteuid() == 0 && make_world() && make_rules() && mkdtemp(t.data_dir) &&
           mkdtemp(t.other_dir);
}
