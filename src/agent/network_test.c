/* The network as containers and their clients see it: ports answer everywhere they should, the way
 * out works, what is not ours stays untouched, and nothing remains.
 *
 * Method: network_fixture.h. Needs root, iproute2, nft and iptables; skipped without. */
#include "agent/network_fixture.h"

#include <net/if.h>

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

/* Whoever comes by IPv6 is the bridge to the container. Where bridged frames are filtered
 * (br_netfilter) ::1 cannot answer; then it refuses at once, and clients go on to 127.0.0.1. */
static void a_published_port_answers_by_ipv6(FL_UNUSED void **state)
{
    uint8_t bytes[16];
    char gateway[FL_IPV6_TEXT_SIZE], expected[128];
    int rc;
    fl_ipv6_of(fl_str_of(t.network->tag), t.network->addresses.subnet.base + 1, bytes);
    fl_ipv6_text(bytes, gateway);
    snprintf(expected, sizeof(expected), "web %s", gateway);
    assert_true(t.network->ipv6);
    for (int filtered = 0; filtered < 2; filtered++) {
        bool has_filter =
            sh("echo %d 2>&- >/proc/sys/net/bridge/bridge-nf-call-ip6tables", filtered) == 0;
        (void)fl_network_mend(t.network, &rc, NULL);
        struct fl_endpoint web = attach(t.network, "web", web_ports, 2);
        assert_true(web.bindings[0].ipv6);
        start_server(web.netns_fd, 80, "web");
        for (int udp = 0; udp < 2; udp++) {
            assert_string_equal(ask_within(t.home_fd, "2001:db8::1", 8080, udp, PATIENCE_MS),
                                expected);
            assert_string_equal(ask_within(t.world_fd, "2001:db8::1", 8080, udp, PATIENCE_MS),
                                expected);
            assert_string_equal(
                ask_within(t.home_fd, "::1", 8080, udp, udp ? SHORT_MS : PATIENCE_MS),
                filtered && has_filter ? "" : expected);
        }
        detach(t.network, "web", &web);
        stop_servers();
        assert_string_equal(ask_within(t.home_fd, "2001:db8::1", 8080, false, SHORT_MS), "");
    }
}

/* A container whose ports nobody reaches has no IPv6 address, and none has a way out. */
static void containers_have_no_way_out_by_ipv6(FL_UNUSED void **state)
{
    struct fl_endpoint web = attach(t.network, "web", web_ports, 2);
    struct fl_endpoint plain = attach(t.network, "plain", NULL, 0);
    start_server(t.world_fd, 7, "world");
    assert_string_equal(ask_within(web.netns_fd, "2001:db8::2", 7, false, SHORT_MS), "");
    enter(plain.netns_fd);
    int has_address = sh("ip -6 addr show dev eth0 | grep -q inet6");
    enter(web.netns_fd);
    int has_link_local = sh("ip -6 addr show dev eth0 | grep -q fe80");
    enter(t.home_fd);
    assert_int_not_equal(has_address, 0);
    assert_int_not_equal(has_link_local, 0);
    detach(t.network, "web", &web);
    detach(t.network, "plain", &plain);
}

/* Containers of an agent that knew no IPv6. */
static void what_has_no_ipv6_is_not_published_there(FL_UNUSED void **state)
{
    struct fl_endpoint again, web = attach(t.network, "web", web_ports, 2);
    struct fl_err err = {0};
    fl_network_close(t.network);
    t.network = open_network("fl1a2b3c", t.data_dir);
    web.bindings[0].ipv6 = web.bindings[1].ipv6 = false;
    fl_network_restore_begin(t.network);
    assert_int_equal(fl_network_restore(t.network, FL_STR("web"), &web, &err), 0);
    assert_int_equal(fl_network_restore_end(t.network, &err), 0);
    assert_int_equal(fl_network_renew(t.network, FL_STR("web"), t.arena, &again, &err), 0);
    assert_false(again.bindings[0].ipv6);
    start_server(again.netns_fd, 80, "web");
    assert_true(is_reached("web", t.home_fd, "127.0.0.1", 8080, false));
    assert_string_equal(ask_within(t.home_fd, "2001:db8::1", 8080, false, PATIENCE_MS), "");
    close(again.netns_fd);
    detach(t.network, "web", &web);
}

static void a_range_gets_neighbouring_ports(FL_UNUSED void **state)
{
    struct fl_port_mapping range = {8000, 0, false, 4}, wide = {1, 0, true, 999};
    struct fl_endpoint late;
    struct fl_err err = {0};
    t.network->dynamic_next = 49160;
    int listener = bound_socket(SOCK_STREAM, "127.0.0.1", 49162);
    struct fl_endpoint web = attach(t.network, "web", &range, 1);
    assert_int_equal(web.binding_count, 1);
    assert_int_equal(web.bindings[0].host_port, 49163);
    assert_int_equal(web.bindings[0].more, 4);
    assert_int_equal(t.network->dynamic_next, 49168);
    start_server(web.netns_fd, 8000, "first");
    start_server(web.netns_fd, 8004, "last");
    assert_true(is_reached("first", t.home_fd, "127.0.0.1", 49163, false));
    assert_true(is_reached("last", t.world_fd, "192.0.2.1", 49167, false));
    assert_string_equal(ask_within(t.home_fd, "127.0.0.1", 49168, false, SHORT_MS), "");
    assert_int_equal(
        fl_network_attach(t.network, FL_STR("wide"), FL_NET_BRIDGE, &wide, 1, t.arena, &late, &err),
        -ENOSPC);
    assert_string_equal(err.text,
                        "error retrieving docker port map: 1000 contiguous host ports are "
                        "unavailable");
    t.network->dynamic_next = 49997; /* the room at the end is too small */
    late = attach(t.network, "late", &range, 1);
    assert_int_equal(late.bindings[0].host_port, 49153);
    detach(t.network, "late", &late);
    detach(t.network, "web", &web);
    close(listener);
}

/* Also across the agent's end, which may come between the two runs. */
static void a_restarted_container_keeps_address_and_ports(FL_UNUSED void **state)
{
    struct fl_port_mapping port = {80, 0, false, 0};
    struct fl_endpoint again, web = attach(t.network, "web", &port, 1);
    struct fl_endpoint other = attach(t.network, "other", NULL, 0);
    struct fl_err err = {0};
    uint16_t host_port = web.bindings[0].host_port;
    start_server(web.netns_fd, 80, "first");
    assert_true(is_reached("first", other.netns_fd, "192.0.2.1", host_port, false));
    for (int agents = 1; agents <= 2; agents++) {
        assert_int_equal(fl_network_renew(t.network, FL_STR("web"), t.arena, &again, &err), 0);
        assert_int_equal(again.bindings[0].host_port, host_port);
        assert_memory_equal(again.address, web.address, 4);
        start_server(again.netns_fd, 80, "second");
        /* The first namespace is still there: its server and this test hold it. */
        assert_true(is_reached("second", t.home_fd, "127.0.0.1", host_port, false));
        assert_true(is_reached("second", other.netns_fd, "192.0.2.1", host_port, false));
        assert_true(is_reached("second", other.netns_fd, address_text(&web), 80, false));
        stop_servers();
        close(web.netns_fd);
        web = again;
        if (agents == 2)
            break;
        fl_network_close(t.network);
        t.network = open_network("fl1a2b3c", t.data_dir);
        fl_network_restore_begin(t.network);
        assert_int_equal(fl_network_restore(t.network, FL_STR("web"), &web, &err), 0);
        assert_int_equal(fl_network_restore(t.network, FL_STR("other"), &other, &err), 0);
        assert_int_equal(fl_network_restore_end(t.network, &err), 0);
    }
    assert_int_equal(fl_network_renew(t.network, FL_STR("nobody"), t.arena, &again, &err), -ENOENT);
    detach(t.network, "web", &web);
    detach(t.network, "other", &other);
}

static void expect_mended(const char *damage)
{
    struct fl_err err = {0};
    int rc = -1;
    assert_int_equal(sh("%s", damage), 0);
    assert_true(fl_network_mend(t.network, &rc, &err));
    assert_int_equal(rc, 0);
    assert_true(is_reached("web", t.home_fd, "127.0.0.1", 8080, false));
    assert_true(is_reached("web", t.world_fd, "192.0.2.1", 8080, true));
    assert_false(fl_network_mend(t.network, &rc, &err));
}

static void what_others_do_to_the_tables_is_mended(FL_UNUSED void **state)
{
    struct fl_port_mapping port = {81, 8083, false, 0};
    struct fl_endpoint late, web = attach(t.network, "web", web_ports, 2);
    struct fl_err err = {0};
    int rc;
    start_server(web.netns_fd, 80, "web");
    (void)fl_network_mend(t.network, &rc, &err); /* an earlier test's damage */
    assert_false(fl_network_mend(t.network, &rc, &err));
    late = attach(t.network, "late", &port, 1);
    assert_false(fl_network_mend(t.network, &rc, &err));
    detach(t.network, "late", &late);
    assert_int_equal(sh("nft add table ip strangers && nft delete table ip strangers"), 0);
    assert_false(fl_network_mend(t.network, &rc, &err));
    expect_mended("nft delete table ip fl1a2b3c && nft delete table ip6 fl1a2b3c");
    expect_mended("nft flush chain ip fl1a2b3c guard");
    expect_mended("nft flush map ip6 fl1a2b3c tcp_ports");
    expect_mended("nft delete element ip fl1a2b3c tcp_ports '{ 8080 }'");
    detach(t.network, "web", &web);
}

/* As a Docker that starts again does. */
static void dockers_chain_is_asked_again(FL_UNUSED void **state)
{
    struct fl_endpoint web = attach(t.network, "web", web_ports, 2);
    struct fl_err err = {0};
    int rc;
    start_server(web.netns_fd, 80, "web");
    assert_int_equal(sh("iptables -F DOCKER-USER && iptables -A DOCKER-USER -j RETURN"), 0);
    assert_string_equal(ask_within(t.world_fd, "192.0.2.1", 8080, false, SHORT_MS), "");
    assert_false(fl_network_mend(t.network, &rc, &err));
    assert_true(is_reached("web", t.world_fd, "192.0.2.1", 8080, false));
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

static bool has_link(const char *beginning)
{
    struct if_nameindex *links = if_nameindex();
    bool found = false;
    assert_non_null(links);
    for (size_t i = 0; links[i].if_index; i++)
        found |= strncmp(links[i].if_name, beginning, strlen(beginning)) == 0;
    if_freenameindex(links);
    return found;
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
    assert_true(has_link("fl999999"));
    assert_int_equal(fl_network_destroy(&config, &err), 0);
    assert_false(has_link("fl999999")); /* though the container's namespace is still there */
    assert_true(is_reached("web", t.home_fd, "127.0.0.1", 8080, false));
    assert_true(is_reached("web", t.world_fd, "192.0.2.1", 8080, false));
    close(guest.netns_fd);
    detach(t.network, "web", &web);
}

/* Namespaces made in advance are like any other, and are taken once. */
static void a_stock_of_namespaces_is_used_up(FL_UNUSED void **state)
{
    struct fl_endpoint endpoints[FL_NET_SPARES_MAX + 1];
    char id[16];
    fl_network_stock(t.network);
    assert_int_equal(t.network->spare_count, FL_NET_SPARES_MAX);
    for (size_t i = 0; i <= FL_NET_SPARES_MAX; i++) {
        snprintf(id, sizeof(id), "stock%zu", i);
        endpoints[i] = attach(t.network, id, NULL, 0);
        start_server(endpoints[i].netns_fd, 80, id);
        assert_true(is_reached(id, t.home_fd, address_text(&endpoints[i]), 80, false));
    }
    assert_int_equal(t.network->spare_count, 0);
    for (size_t i = 0; i <= FL_NET_SPARES_MAX; i++) {
        snprintf(id, sizeof(id), "stock%zu", i);
        detach(t.network, id, &endpoints[i]);
    }
    fl_network_stock(t.network); /* for the last test to find nothing of */
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

static void set_forwarding(char value)
{
    assert_int_equal(sh("echo %c >/proc/sys/net/ipv4/ip_forward && "
                        "echo %c >/proc/sys/net/ipv6/conf/all/forwarding",
                        value, value),
                     0);
}

static bool forwards(char value)
{
    return sh("grep -q %c /proc/sys/net/ipv4/ip_forward && "
              "grep -q %c /proc/sys/net/ipv6/conf/all/forwarding",
              value, value) == 0;
}

/* Switched on by the second installation, which the first one needs. */
static void forwarding_stays_on_while_another_bridge_needs_it(FL_UNUSED void **state)
{
    struct fl_network_config config = config_of("fl888888", t.other_dir);
    struct fl_err err = {0};
    set_forwarding('0');
    fl_network_close(open_network("fl888888", t.other_dir));
    assert_true(forwards('1'));
    assert_int_equal(fl_network_destroy(&config, &err), 0);
    assert_true(forwards('1'));
}

/* The memory of an earlier boot, and no memory at all, switch nothing off. */
static void forwarding_that_was_on_stays_on(FL_UNUSED void **state)
{
    struct fl_network_config config = config_of("fl1a2b3c", t.data_dir);
    struct fl_err err = {0};
    set_forwarding('1');
    t.network = open_network("fl1a2b3c", t.data_dir);
    fl_network_close(t.network);
    t.network = NULL;
    assert_int_equal(fl_network_destroy(&config, &err), 0);
    assert_true(forwards('1'));
    set_forwarding('0');
    fl_network_close(open_network("fl1a2b3c", t.data_dir));
    assert_int_equal(sh("sed -i 's/\"boot\": *\"[^\"]*/\"boot\":\"another/' %s/network.json &&"
                        "grep -q another %s/network.json",
                        t.data_dir, t.data_dir),
                     0);
    assert_int_equal(fl_network_destroy(&config, &err), 0);
    assert_true(forwards('1'));
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
    assert_true(forwards('0'));
    output_of("nft -s list ruleset", &rules);
    assert_string_equal(rules.p, t.rules_before);
}

static int open_all(FL_UNUSED void **state)
{
    t.arena = fl_arena_new();
    set_forwarding('0');
    t.network = open_network("fl1a2b3c", t.data_dir);
    return 0;
}

static int close_all(FL_UNUSED void **state)
{
    fl_network_close(t.network);
    fl_arena_free(t.arena);
    free(t.rules_before);
    return rmdir(t.data_dir) < 0 ? -1 : rmdir(t.other_dir);
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
        SERVED_TEST(a_published_port_answers_by_ipv6),
        SERVED_TEST(containers_have_no_way_out_by_ipv6),
        SERVED_TEST(what_has_no_ipv6_is_not_published_there),
        SERVED_TEST(a_range_gets_neighbouring_ports),
        SERVED_TEST(a_restarted_container_keeps_address_and_ports),
        SERVED_TEST(what_others_do_to_the_tables_is_mended),
        SERVED_TEST(dockers_chain_is_asked_again),
        SERVED_TEST(a_killed_nft_helper_is_replaced),
        SERVED_TEST(the_nft_helper_has_one_capability),
        SERVED_TEST(two_installations_live_side_by_side),
        SERVED_TEST(a_stock_of_namespaces_is_used_up),
        SERVED_TEST(many_containers),
        SERVED_TEST(forwarding_stays_on_while_another_bridge_needs_it),
        SERVED_TEST(nothing_remains_and_nothing_else_changed),
        SERVED_TEST(forwarding_that_was_on_stays_on),
    };
    if (!prepare()) {
        printf("1..0 # SKIP needs root, network namespaces, ip, nft and iptables\n");
        return 0;
    }
    return cmocka_run_group_tests(tests, open_all, close_all);
}
