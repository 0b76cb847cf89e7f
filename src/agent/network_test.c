/* The network as containers and their clients see it: ports answer everywhere they should, the way
 * out works, what is not ours stays untouched, and nothing remains.
 *
 * Method: the process enters a network namespace of its own (the "host"), linked to a second one
 * (the "world"), with rules as Docker leaves them. Servers in container namespaces answer with
 * their name and the address they saw. Needs root, iproute2, nft and iptables; skipped without. */
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

/* Answers "<name> <address of the client>". */
static void answer(int fd, bool udp, const char *name)
{
    char text[128], address[INET_ADDRSTRLEN], ignored[16];
    struct sockaddr_in peer = {0};
    socklen_t size = sizeof(peer);
    int connection = udp ? fd : accept4(fd, (struct sockaddr *)&peer, &size, SOCK_CLOEXEC);
    if (udp)
        (void)recvfrom(fd, ignored, sizeof(ignored), 0, (struct sockaddr *)&peer, &size);
    inet_ntop(AF_INET, &peer.sin_addr, address, sizeof(address));
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
    struct pollfd fds[2] = {{.fd = bound_socket(SOCK_STREAM, "0.0.0.0", port), .events = POLLIN},
                            {.fd = bound_socket(SOCK_DGRAM, "0.0.0.0", port), .events = POLLIN}};
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

/* What the server at address:port says to a client in that namespace; "" when nothing comes. */
static const char *ask_within(int netns_fd, const char *address, uint16_t port, bool udp,
                              int patience_ms)
{
    static char reply[128];
    struct timeval patience = {.tv_sec = patience_ms / 1000, .tv_usec = patience_ms % 1000 * 1000};
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons(port)};
    inet_pton(AF_INET, address, &name.sin_addr);
    enter(netns_fd);
    FL_CLEANUP_FD int fd = socket(AF_INET, (udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, 0);
    enter(t.home_fd);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    reply[0] = '\0';
    if (connect(fd, (struct sockaddr *)&name, sizeof(name)) < 0)
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

static const struct fl_port_mapping web_ports[] = {{80, 8080, false, 0}, {80, 8080, true, 0}};

static void expect_answers_from_everywhere(void)
{
    struct fl_endpoint web = attach(t.network, "web", web_ports, 2);
    struct fl_endpoint other = attach(t.network, "other", NULL, 0);
    start_server(web.netns_fd, 80, "web");
    for (int udp = 0; udp < 2; udp++) {
        assert_true(is_reached("web", t.home_fd, "127.0.0.1", 8080, udp));
        assert_true(is_reached("web", t.home_fd, "127.9.9.9", 8080, udp));
        assert_true(is_reached("web", t.home_fd, "192.0.2.1", 8080, udp));
        assert_true(is_reached("web", t.home_fd, t.network->gateway, 8080, udp));
        assert_true(is_reached("web", t.home_fd, address_text(&web), 80, udp));
        assert_true(is_reached("web", other.netns_fd, "192.0.2.1", 8080, udp));
        assert_true(is_reached("web", other.netns_fd, t.network->gateway, 8080, udp));
        assert_true(is_reached("web", other.netns_fd, address_text(&web), 80, udp));
        assert_true(is_reached("web", web.netns_fd, "192.0.2.1", 8080, udp));
        assert_string_equal(ask(t.world_fd, "192.0.2.1", 8080, udp), "web 192.0.2.2");
    }
    fl_network_detach(t.network, FL_STR("web"));
    assert_string_equal(ask_within(t.home_fd, "127.0.0.1", 8080, false, SHORT_MS), "");
    close(web.netns_fd);
    detach(t.network, "other", &other);
}

/* With and without br_netfilter, which lets the bridge itself redirect (where it is loaded). */
static void a_published_port_answers_from_everywhere(FL_UNUSED void **state)
{
    for (int filtered = 0; filtered < 2; filtered++) {
        (void)sh("echo %d 2>&- >/proc/sys/net/bridge/bridge-nf-call-iptables", filtered);
        expect_answers_from_everywhere();
        stop_servers();
    }
}

static void the_way_out_is_by_the_hosts_address(FL_UNUSED void **state)
{
    struct fl_endpoint client = attach(t.network, "client", NULL, 0);
    start_server(t.world_fd, 7, "world");
    start_server(t.home_fd, 7, "host");
    for (int udp = 0; udp < 2; udp++) {
        assert_string_equal(ask(client.netns_fd, "192.0.2.2", 7, udp), "world 192.0.2.1");
        assert_true(is_reached("host", client.netns_fd, t.network->gateway, 7, udp));
    }
    detach(t.network, "client", &client);
}

/* The container makes 127.0.0.1 an address beyond its gateway, as root in it can. */
static void the_hosts_loopback_is_out_of_reach(FL_UNUSED void **state)
{
    struct fl_endpoint rogue = attach(t.network, "rogue", NULL, 0);
    start_server(t.home_fd, 9, "host");
    enter(rogue.netns_fd);
    assert_int_equal(sh("ip addr del 127.0.0.1/8 dev lo && ip addr add 127.0.0.9/32 dev lo && "
                        "echo 1 > /proc/sys/net/ipv4/conf/eth0/route_localnet && "
                        "ip route add 127.0.0.1 via %s src %s",
                        t.network->gateway, address_text(&rogue)),
                     0);
    enter(t.home_fd);
    assert_string_equal(ask_within(rogue.netns_fd, "127.0.0.1", 9, false, SHORT_MS), "");
    /* Without the guard it is within reach: the question above was a real one. */
    assert_int_equal(sh("nft flush chain ip %s guard", t.network->tag), 0);
    assert_true(is_reached("host", rogue.netns_fd, "127.0.0.1", 9, false));
    t.network->table_ready = false;
    detach(t.network, "rogue", &rogue);
}

static void expect_port_refused(const char *protocol, bool udp)
{
    struct fl_port_mapping ports[] = {{80, 0, false, 0}, {81, 8081, udp, 0}};
    char expected[160], address[FL_IPV4_TEXT_SIZE];
    struct fl_endpoint endpoint;
    struct fl_err err = {0};
    fl_ipv4_text(t.network->addresses.subnet.base + t.network->addresses.last + 1, address);
    snprintf(expected, sizeof(expected),
             "failed to bind host port for 0.0.0.0:8081:%s:81/%s: address already in use", address,
             protocol);
    assert_int_equal(fl_network_attach(t.network, FL_STR("late"), FL_NET_BRIDGE, ports, 2, t.arena,
                                       &endpoint, &err),
                     -EADDRINUSE);
    assert_string_equal(err.text, expected);
}

static void a_taken_port_is_refused_with_dockers_sentence(FL_UNUSED void **state)
{
    struct fl_port_mapping tcp = {80, 8081, false, 0}, udp = {80, 8081, true, 0};
    int listener = bound_socket(SOCK_STREAM, "192.0.2.1", 8081);
    assert_true(listener >= 0);
    expect_port_refused("tcp", false);
    close(listener);
    struct fl_endpoint first = attach(t.network, "first", &tcp, 1);
    expect_port_refused("tcp", false);
    assert_int_equal(bound_socket(SOCK_STREAM, "0.0.0.0", 8081), -EADDRINUSE);
    struct fl_endpoint second = attach(t.network, "second", &udp, 1);
    expect_port_refused("udp", true);
    detach(t.network, "first", &first);
    detach(t.network, "second", &second);
    listener = bound_socket(SOCK_STREAM, "0.0.0.0", 8081);
    assert_true(listener >= 0);
    close(listener);
}

/* A server that closes first leaves its port in TIME_WAIT; that must not refuse a container. */
static void a_port_in_time_wait_can_be_published(FL_UNUSED void **state)
{
    struct fl_port_mapping port = {80, 8082, false, 0};
    start_server(t.home_fd, 8082, "host");
    assert_true(is_reached("host", t.home_fd, "127.0.0.1", 8082, false));
    stop_servers();
    struct fl_endpoint web = attach(t.network, "web", &port, 1);
    assert_int_equal(bound_socket(SOCK_STREAM, "0.0.0.0", 8082), -EADDRINUSE);
    start_server(web.netns_fd, 80, "web");
    assert_true(is_reached("web", t.home_fd, "127.0.0.1", 8082, false));
    detach(t.network, "web", &web);
}

static void dynamic_ports_are_free_ones_of_the_range(FL_UNUSED void **state)
{
    struct fl_port_mapping ports[] = {{80, 0, false, 0}, {81, 0, false, 0}, {80, 49154, false, 0}};
    t.network->dynamic_next = 49153;
    int listener = bound_socket(SOCK_STREAM, "127.0.0.1", 49153);
    struct fl_endpoint web = attach(t.network, "web", ports, 3);
    assert_int_equal(web.binding_count, 3);
    assert_int_equal(web.bindings[0].host_port, 49155);
    assert_int_equal(web.bindings[1].host_port, 49156);
    assert_int_equal(web.bindings[2].host_port, 49154);
    assert_int_equal(web.bindings[1].container_port, 81);
    start_server(web.netns_fd, 81, "web");
    assert_true(is_reached("web", t.home_fd, "127.0.0.1", 49156, false));
    detach(t.network, "web", &web);
    close(listener);
}

/* One socket of the world keeps sending while the port is published, moves, and is unpublished. */
static void a_udp_sender_that_never_pauses_follows_the_port(FL_UNUSED void **state)
{
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons(8080)};
    static const char *const containers[] = {"web", "heir"};
    struct timeval patience = {.tv_sec = PATIENCE_MS / 1000};
    char reply[64];
    inet_pton(AF_INET, "192.0.2.1", &name.sin_addr);
    enter(t.world_fd);
    FL_CLEANUP_FD int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    enter(t.home_fd);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    assert_int_equal(sendto(fd, "?", 1, 0, (struct sockaddr *)&name, sizeof(name)), 1);
    for (int i = 0; i < 2; i++) {
        struct fl_endpoint web = attach(t.network, containers[i], web_ports, 2);
        start_server(web.netns_fd, 80, containers[i]);
        assert_int_equal(sendto(fd, "?", 1, 0, (struct sockaddr *)&name, sizeof(name)), 1);
        ssize_t n = recv(fd, reply, sizeof(reply) - 1, 0);
        assert_true(n > 0);
        assert_memory_equal(reply, containers[i], strlen(containers[i]));
        detach(t.network, containers[i], &web);
        stop_servers(); /* forked from us, it has our hold on the port too */
    }
}

static void impossible_wishes_are_refused(FL_UNUSED void **state)
{
    struct fl_port_mapping zero = {0, 80, false, 0};
    struct fl_endpoint endpoint, first = attach(t.network, "same", NULL, 0);
    struct fl_network_config config = config_of("Bad-Tag", t.data_dir);
    struct fl_network *network;
    struct fl_err err;
    assert_int_equal(fl_network_attach(t.network, FL_STR("zero"), FL_NET_BRIDGE, &zero, 1, t.arena,
                                       &endpoint, &err),
                     -EINVAL);
    assert_int_equal(fl_network_attach(t.network, FL_STR("same"), FL_NET_BRIDGE, NULL, 0, t.arena,
                                       &endpoint, &err),
                     -EEXIST);
    assert_int_equal(fl_network_attach(t.network, FL_STR("vpc"), FL_NET_AWSVPC, NULL, 0, t.arena,
                                       &endpoint, &err),
                     -ENOTSUP);
    assert_int_equal(fl_network_open(&config, &network, &err), -EINVAL);
    detach(t.network, "same", &first);
}

static void modes_none_and_host(FL_UNUSED void **state)
{
    struct fl_endpoint endpoint;
    assert_int_equal(fl_network_attach(t.network, FL_STR("none"), FL_NET_NONE, web_ports, 2,
                                       t.arena, &endpoint, NULL),
                     0);
    assert_int_equal(endpoint.binding_count, 0);
    start_server(endpoint.netns_fd, 80, "none");
    assert_true(is_reached("none", endpoint.netns_fd, "127.0.0.1", 80, false));
    assert_string_equal(ask_within(endpoint.netns_fd, "192.0.2.1", 80, false, SHORT_MS), "");
    close(endpoint.netns_fd);
    assert_int_equal(fl_network_attach(t.network, FL_STR("host"), FL_NET_HOST, web_ports, 2,
                                       t.arena, &endpoint, NULL),
                     0);
    assert_int_equal(endpoint.netns_fd, -1);
    assert_int_equal(endpoint.binding_count, 2);
    assert_int_equal(endpoint.bindings[0].host_port, 80);
}

static void ports_outlive_the_agent(FL_UNUSED void **state)
{
    struct fl_endpoint web = attach(t.network, "web", web_ports, 2);
    struct fl_err err = {0};
    start_server(web.netns_fd, 80, "web");
    fl_network_close(t.network);
    assert_true(is_reached("web", t.home_fd, "127.0.0.1", 8080, false));
    t.network = open_network("fl1a2b3c", t.data_dir);
    assert_true(is_reached("web", t.home_fd, "127.0.0.1", 8080, false));
    fl_network_restore_begin(t.network);
    assert_int_equal(fl_network_restore(t.network, FL_STR("web"), &web, &err), 0);
    assert_int_equal(fl_network_restore(t.network, FL_STR("twin"), &web, &err), -EADDRINUSE);
    assert_int_equal(fl_network_restore_end(t.network, &err), 0);
    assert_true(is_reached("web", t.world_fd, "192.0.2.1", 8080, false));
    assert_int_equal(bound_socket(SOCK_STREAM, "0.0.0.0", 8080), -EADDRINUSE);
    detach(t.network, "web", &web);
    assert_string_equal(ask_within(t.home_fd, "127.0.0.1", 8080, false, SHORT_MS), "");
}

static void a_flushed_table_comes_back(FL_UNUSED void **state)
{
    struct fl_port_mapping ports = {80, 8083, false, 0};
    struct fl_endpoint web = attach(t.network, "web", web_ports, 2);
    start_server(web.netns_fd, 80, "web");
    assert_int_equal(sh("nft delete table ip %s", t.network->tag), 0);
    struct fl_endpoint late = attach(t.network, "late", &ports, 1);
    start_server(late.netns_fd, 80, "late");
    assert_true(is_reached("web", t.home_fd, "127.0.0.1", 8080, false));
    assert_true(is_reached("late", t.home_fd, "127.0.0.1", 8083, false));
    detach(t.network, "late", &late);
    detach(t.network, "web", &web);
}

static bool is_nft(int64_t pid)
{
    char path[64];
    FL_CLEANUP_BUF struct fl_buf name = FL_BUF_INIT(64);
    snprintf(path, sizeof(path), "/proc/%lld/comm", (long long)pid);
    return fl_fs_read(AT_FDCWD, path, 63, &name) == 0 &&
           fl_str_is(fl_str_trim(fl_buf_str(&name)), "fairlead-nft");
}

/* The one child of this process that is the nft helper. */
static pid_t nft_pid(void)
{
    FL_CLEANUP_BUF struct fl_buf children = FL_BUF_INIT(4096);
    assert_int_equal(fl_fs_read(AT_FDCWD, "/proc/thread-self/children", 4095, &children), 0);
    struct fl_str rest = fl_buf_str(&children), word;
    int64_t pid;
    while (fl_str_split(&rest, ' ', &word))
        if (fl_str_to_i64(word, &pid) && is_nft(pid))
            return (pid_t)pid;
    fail_msg("no fairlead-nft is running");
    return -1;
}

static void a_killed_nft_helper_is_replaced(FL_UNUSED void **state)
{
    pid_t old = nft_pid();
    assert_int_equal(kill(old, SIGKILL), 0);
    struct fl_endpoint web = attach(t.network, "web", web_ports, 2);
    start_server(web.netns_fd, 80, "web");
    assert_true(is_reached("web", t.home_fd, "127.0.0.1", 8080, true));
    assert_int_not_equal(nft_pid(), old);
    detach(t.network, "web", &web);
}

static void the_nft_helper_has_one_capability(FL_UNUSED void **state)
{
    char path[64];
    FL_CLEANUP_BUF struct fl_buf status = FL_BUF_INIT(8192);
    snprintf(path, sizeof(path), "/proc/%d/status", nft_pid());
    assert_int_equal(fl_fs_read(AT_FDCWD, path, 8191, &status), 0);
    const char *lines[] = {"CapPrm:\t0000000000001000",
                           "CapEff:\t0000000000001000",
                           "CapBnd:\t0000000000000000",
                           "CapAmb:\t0000000000000000",
                           "NoNewPrivs:\t1",
                           "Uid:\t65534\t65534"};
    for (size_t i = 0; i < FL_ARRAY_SIZE(lines); i++)
        assert_true(fl_str_contains(fl_buf_str(&status), fl_str_of(lines[i])));
}

static void two_installations_live_side_by_side(FL_UNUSED void **state)
{
    struct fl_port_mapping port = {80, 8090, false, 0};
    struct fl_network_config config = config_of("fl999999", t.other_dir);
    struct fl_network *other = open_network("fl999999", t.other_dir);
    struct fl_err err = {0};
    struct fl_endpoint web = attach(t.network, "web", web_ports, 2);
    struct fl_endpoint guest = attach(other, "web", &port, 1);
    assert_string_not_equal(other->gateway, t.network->gateway);
    start_server(web.netns_fd, 80, "web");
    start_server(guest.netns_fd, 80, "guest");
    assert_true(is_reached("guest", web.netns_fd, "192.0.2.1", 8090, false));
    assert_true(is_reached("web", guest.netns_fd, "192.0.2.1", 8080, false));
    fl_network_close(other);
    assert_int_equal(fl_network_destroy(&config, &err), 0);
    assert_true(is_reached("web", t.home_fd, "127.0.0.1", 8080, false));
    assert_true(is_reached("web", t.world_fd, "192.0.2.1", 8080, false));
    close(guest.netns_fd);
    detach(t.network, "web", &web);
}

static int compare_times(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

static int64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void print_times(const char *what, int64_t times[MANY])
{
    qsort(times, MANY, sizeof(*times), compare_times);
    print_message("# %s of %d containers: p50 %lld us, p90 %lld us, max %lld us\n", what, MANY,
                  (long long)times[MANY / 2], (long long)times[MANY * 9 / 10],
                  (long long)times[MANY - 1]);
}

static void many_containers(FL_UNUSED void **state)
{
    static struct fl_endpoint endpoints[MANY];
    static int64_t attach_us[MANY], detach_us[MANY];
    struct fl_port_mapping port = {80, 0, false, 0};
    char id[16];
    for (int i = 0; i < MANY; i++) {
        snprintf(id, sizeof(id), "many%d", i);
        attach_us[i] = -now_us();
        endpoints[i] = attach(t.network, id, &port, 1);
        attach_us[i] += now_us();
        for (int j = 0; j < i; j++)
            assert_memory_not_equal(endpoints[i].address, endpoints[j].address, 4);
    }
    start_server(endpoints[MANY - 1].netns_fd, 80, "last");
    assert_true(is_reached("last", t.home_fd, "127.0.0.1",
                           endpoints[MANY - 1].bindings[0].host_port, false));
    for (int i = 0; i < MANY; i++) {
        snprintf(id, sizeof(id), "many%d", i);
        detach_us[i] = -now_us();
        fl_network_detach(t.network, fl_str_of(id));
        detach_us[i] += now_us();
        close(endpoints[i].netns_fd);
    }
    print_times("attach", attach_us);
    print_times("detach", detach_us);
}

/* The namespaces die in the background, and with them the host ends of the pairs. */
static void await_no_link(const char *tag)
{
    int64_t deadline_ms = fl_clock_mono_ms() + 10000;
    while (sh("ip -br link | grep -q '^%s'", tag) == 0 && fl_clock_mono_ms() < deadline_ms)
        poll(NULL, 0, 20);
    assert_int_not_equal(sh("ip -br link | grep '^%s'", tag), 0);
}

static void nothing_remains_and_nothing_else_changed(FL_UNUSED void **state)
{
    struct fl_network_config config = config_of("fl1a2b3c", t.data_dir);
    FL_CLEANUP_BUF struct fl_buf rules = FL_BUF_INIT(1 << 20);
    struct fl_err err = {0};
    fl_network_close(t.network);
    t.network = NULL;
    assert_int_equal(sh("iptables -S DOCKER-USER | grep -q fl1a2b3c"), 0);
    assert_int_equal(fl_network_destroy(&config, &err), 0);
    assert_int_equal(fl_network_destroy(&config, &err), 0);
    await_no_link("fl1a2b3c");
    output_of("nft -s list ruleset", &rules);
    assert_string_equal(rules.p, t.rules_before);
    assert_int_equal(rmdir(t.data_dir), 0);
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
                   "ip link set uplink netns /proc/%d/fd/%d",
                   getpid(), t.home_fd) == 0;
    enter(t.home_fd);
    return made && sh("echo 1 >/proc/sys/net/ipv4/conf/all/rp_filter && "
                      "ip link set lo up && ip addr add 192.0.2.1/24 dev uplink && "
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

static int open_all(FL_UNUSED void **state)
{
    t.arena = fl_arena_new();
    t.network = open_network("fl1a2b3c", t.data_dir);
    return 0;
}

static int close_all(FL_UNUSED void **state)
{
    fl_network_close(t.network);
    fl_arena_free(t.arena);
    free(t.rules_before);
    return rmdir(t.other_dir);
}

#define SERVED_TEST(name) cmocka_unit_test_teardown(name, end_of_test)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SERVED_TEST(a_published_port_answers_from_everywhere),
        SERVED_TEST(the_way_out_is_by_the_hosts_address),
        SERVED_TEST(the_hosts_loopback_is_out_of_reach),
        SERVED_TEST(a_taken_port_is_refused_with_dockers_sentence),
        SERVED_TEST(a_port_in_time_wait_can_be_published),
        SERVED_TEST(dynamic_ports_are_free_ones_of_the_range),
        SERVED_TEST(a_udp_sender_that_never_pauses_follows_the_port),
        SERVED_TEST(impossible_wishes_are_refused),
        SERVED_TEST(modes_none_and_host),
        SERVED_TEST(ports_outlive_the_agent),
        SERVED_TEST(a_flushed_table_comes_back),
        SERVED_TEST(a_killed_nft_helper_is_replaced),
        SERVED_TEST(the_nft_helper_has_one_capability),
        SERVED_TEST(two_installations_live_side_by_side),
        SERVED_TEST(many_containers),
        SERVED_TEST(nothing_remains_and_nothing_else_changed),
    };
    if (!prepare()) {
        printf("1..0 # SKIP needs root, network namespaces, ip, nft and iptables\n");
        return 0;
    }
    return cmocka_run_group_tests(tests, open_all, close_all);
}
