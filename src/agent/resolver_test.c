/* The resolver as a container meets it: answers come back by UDP and TCP, the next server is asked
 * when one is silent, what is no question is refused or ignored, and nobody takes all the room.
 *
 * Method: a network namespace of its own, where the test's name server listens on 127.0.0.53 and
 * its client sends from 127.0.0.1. Needs root; skipped without. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "agent/resolver.h"
#include "agent/resolver_message.h"
#include "base/clock.h"
#include "base/fs.h"

enum { PATIENCE_MS = 20000, SHORT_MS = 300 };

/* "example.test", type A. */
static const uint8_t question[] = {0x12, 0x34, 0x01, 0,   0,   1,   0,   0,   0,   0,
                                   0,    0,    7,    'e', 'x', 'a', 'm', 'p', 'l', 'e',
                                   4,    't',  'e',  's', 't', 0,   0,   1,   0,   1};

static struct {
    uv_loop_t loop;
    uv_udp_t udp;
    uv_tcp_t tcp;
    struct fl_resolver *resolver;
    char resolv_conf[64];
    bool is_silent;
    bool is_forged_first; /* an answer with another id comes before the right one */
    unsigned asked;
    char buffer[65535];
} t;

/* ---- the name server ---- */

static void lend(FL_UNUSED uv_handle_t *handle, FL_UNUSED size_t suggested, uv_buf_t *buf)
{
    *buf = uv_buf_init(t.buffer, sizeof(t.buffer));
}

/* The question with the bit of an answer, and a mark. */
static void make_answer(uint8_t *bytes)
{
    bytes[2] |= 0x80;
    bytes[3] = 0xa0;
}

static void on_asked(uv_udp_t *socket, ssize_t n, const uv_buf_t *buf, const struct sockaddr *from,
                     FL_UNUSED unsigned flags)
{
    uint8_t *bytes = (uint8_t *)buf->base;
    uv_buf_t answer = uv_buf_init(buf->base, n > 0 ? (unsigned)n : 0);
    if (n <= 0)
        return;
    t.asked++;
    if (t.is_silent)
        return;
    make_answer(bytes);
    if (t.is_forged_first) {
        bytes[0] ^= 0xff;
        (void)uv_udp_try_send(socket, &answer, 1, from);
        bytes[0] ^= 0xff;
    }
    assert_int_equal(uv_udp_try_send(socket, &answer, 1, from), n);
}

static void on_closed(uv_handle_t *handle)
{
    free(handle);
}

static void on_asked_by_tcp(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    uv_buf_t answer = uv_buf_init(buf->base, n > 0 ? (unsigned)n : 0);
    if (n == 0)
        return;
    if (n > 2 && !t.is_silent) {
        make_answer((uint8_t *)buf->base + 2);
        assert_int_equal(uv_try_write(stream, &answer, 1), n);
    }
    t.asked += n > 2;
    if (n < 0)
        uv_close((uv_handle_t *)stream, on_closed);
}

static void on_connection(uv_stream_t *listener, int status)
{
    uv_tcp_t *connection = fl_calloc(1, sizeof(*connection));
    assert_int_equal(status, 0);
    assert_int_equal(uv_tcp_init(&t.loop, connection), 0);
    assert_int_equal(uv_accept(listener, (uv_stream_t *)connection), 0);
    assert_int_equal(uv_read_start((uv_stream_t *)connection, lend, on_asked_by_tcp), 0);
}

static void start_server(void)
{
    struct sockaddr_in name;
    uv_ip4_addr("127.0.0.53", 53, &name);
    assert_int_equal(uv_udp_init(&t.loop, &t.udp), 0);
    assert_int_equal(uv_udp_bind(&t.udp, (struct sockaddr *)&name, 0), 0);
    assert_int_equal(uv_udp_recv_start(&t.udp, lend, on_asked), 0);
    assert_int_equal(uv_tcp_init(&t.loop, &t.tcp), 0);
    assert_int_equal(uv_tcp_bind(&t.tcp, (struct sockaddr *)&name, 0), 0);
    assert_int_equal(uv_listen((uv_stream_t *)&t.tcp, 16, on_connection), 0);
}

/* ---- the client ---- */

static int client(int type)
{
    struct sockaddr_in name = {.sin_family = AF_INET,
                               .sin_port = htons(fl_resolver_port(t.resolver)),
                               .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&name, sizeof(name)), 0);
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    return fd;
}

/* What comes while the loop runs: bytes, 0 at the end of a connection, -1 when nothing does. */
static ssize_t await(int fd, uint8_t *bytes, size_t size, int patience_ms)
{
    int64_t deadline_ms = fl_clock_mono_ms() + patience_ms;
    for (;;) {
        (void)uv_run(&t.loop, UV_RUN_NOWAIT);
        ssize_t n = recv(fd, bytes, size, 0);
        if (n >= 0 || fl_clock_mono_ms() > deadline_ms)
            return n;
        (void)usleep(1000);
    }
}

static void say(int fd, const void *bytes, size_t n)
{
    assert_int_equal(send(fd, bytes, n, MSG_NOSIGNAL), n);
}

static void expect_answer(const uint8_t *answer, ssize_t n)
{
    assert_int_equal(n, sizeof(question));
    assert_int_equal(fl_dns_id(answer), 0x1234);
    assert_int_equal(answer[3], 0xa0);
    assert_memory_equal(answer + 12, question + 12, sizeof(question) - 12);
}

static void expect_refusal(int fd, enum fl_dns_rcode rcode)
{
    uint8_t answer[512];
    ssize_t n = await(fd, answer, sizeof(answer), PATIENCE_MS);
    assert_true(n >= 12);
    assert_int_equal(fl_dns_id(answer), 0x1234);
    assert_int_equal(answer[3] & 0x0f, rcode);
}

static void use_servers(const char *text)
{
    struct stat before, now;
    FILE *file = fopen(t.resolv_conf, "we");
    assert_non_null(file);
    memset(&before, 0, sizeof(before));
    (void)stat(t.resolv_conf, &before);
    do {
        rewind(file);
        assert_true(fputs(text, file) >= 0 && fflush(file) == 0);
        assert_int_equal(stat(t.resolv_conf, &now), 0);
    } while (now.st_mtim.tv_nsec == before.st_mtim.tv_nsec);
    (void)fclose(file);
}

/* ---- tests ---- */

static void a_question_by_udp_is_answered(FL_UNUSED void **state)
{
    uint8_t answer[512];
    FL_CLEANUP_FD int fd = client(SOCK_DGRAM);
    for (int forged = 0; forged < 2; forged++) {
        t.is_forged_first = forged;
        say(fd, question, sizeof(question));
        expect_answer(answer, await(fd, answer, sizeof(answer), PATIENCE_MS));
    }
    assert_int_equal(await(fd, answer, sizeof(answer), SHORT_MS), -1);
}

static void questions_by_tcp_are_answered_in_order(FL_UNUSED void **state)
{
    uint8_t two[2 * (2 + sizeof(question))], answer[512];
    FL_CLEANUP_FD int fd = client(SOCK_STREAM);
    for (int i = 0; i < 2; i++) {
        uint8_t *at = two + i * (2 + sizeof(question));
        at[0] = 0;
        at[1] = sizeof(question);
        memcpy(at + 2, question, sizeof(question));
    }
    say(fd, two, 1);
    assert_int_equal(await(fd, answer, sizeof(answer), SHORT_MS), -1);
    say(fd, two + 1, sizeof(two) - 1);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(await(fd, answer, 2, PATIENCE_MS), 2);
        assert_int_equal(answer[1], sizeof(question));
        expect_answer(answer, await(fd, answer, sizeof(question), PATIENCE_MS));
    }
    assert_int_equal(t.asked, 2);
}

static void a_silent_server_gives_way_to_the_next(FL_UNUSED void **state)
{
    uint8_t answer[512];
    FL_CLEANUP_FD int fd = client(SOCK_DGRAM);
    FL_CLEANUP_FD int tcp = client(SOCK_STREAM);
    const uint8_t length[] = {0, sizeof(question)};
    use_servers("# nobody is at the first\nnameserver 127.0.0.99\nnameserver 127.0.0.53\n");
    say(fd, question, sizeof(question));
    expect_answer(answer, await(fd, answer, sizeof(answer), PATIENCE_MS));
    say(tcp, length, sizeof(length));
    say(tcp, question, sizeof(question));
    assert_int_equal(await(tcp, answer, 2, PATIENCE_MS), 2);
    expect_answer(answer, await(tcp, answer, sizeof(question), PATIENCE_MS));
}

/* The namespace's ::1 has no server; another address of IPv6 has no way to it. */
static void one_by_ipv6_gives_way_to_one_by_ipv4(FL_UNUSED void **state)
{
    uint8_t answer[512];
    FL_CLEANUP_FD int fd = client(SOCK_DGRAM);
    static const char *const before[] = {"::1", "2001:db8::53", "fe80::1%lo"};
    for (size_t i = 0; i < sizeof(before) / sizeof(before[0]); i++) {
        char text[128];
        (void)snprintf(text, sizeof(text), "nameserver %s\nnameserver 127.0.0.53\n", before[i]);
        use_servers(text);
        say(fd, question, sizeof(question));
        expect_answer(answer, await(fd, answer, sizeof(answer), PATIENCE_MS));
    }
    assert_int_equal(t.asked, 3);
}

static void without_a_server_it_says_so(FL_UNUSED void **state)
{
    FL_CLEANUP_FD int fd = client(SOCK_DGRAM);
    use_servers("options edns0\n"); /* which means 127.0.0.1, where nobody listens */
    say(fd, question, sizeof(question));
    expect_refusal(fd, FL_DNS_SERVFAIL);
    assert_int_equal(t.asked, 0);
    use_servers("nameserver 127.0.0.53\n");
    t.is_silent = true;
    say(fd, question, sizeof(question));
    expect_refusal(fd, FL_DNS_SERVFAIL);
    assert_int_equal(t.asked, 1);
}

static void what_is_no_question_is_refused_or_ignored(FL_UNUSED void **state)
{
    uint8_t bytes[sizeof(question)], answer[512];
    const uint8_t too_long[] = {0xff, 0xff};
    FL_CLEANUP_FD int fd = client(SOCK_DGRAM);
    FL_CLEANUP_FD int tcp = client(SOCK_STREAM);
    say(fd, question, sizeof(question) - 3);
    expect_refusal(fd, FL_DNS_FORMERR);
    memcpy(bytes, question, sizeof(bytes));
    bytes[5] = 2;
    say(fd, bytes, sizeof(bytes));
    expect_refusal(fd, FL_DNS_FORMERR);
    bytes[5] = 1;
    bytes[12] = 0xc0;
    say(fd, bytes, sizeof(bytes));
    expect_refusal(fd, FL_DNS_FORMERR);
    memcpy(bytes, question, sizeof(bytes));
    bytes[2] = 0x28;
    say(fd, bytes, sizeof(bytes));
    expect_refusal(fd, FL_DNS_NOTIMP);
    bytes[2] = 0x80;
    say(fd, bytes, sizeof(bytes));
    say(fd, question, 11);
    assert_int_equal(await(fd, answer, sizeof(answer), SHORT_MS), -1);
    say(tcp, too_long, sizeof(too_long));
    assert_int_equal(await(tcp, answer, sizeof(answer), PATIENCE_MS), 0);
    assert_int_equal(t.asked, 0);
}

static void nobody_takes_all_the_room(FL_UNUSED void **state)
{
    enum { UDP_ROOM = 32, TCP_ROOM = 8 };
    uint8_t answer[512];
    int connections[TCP_ROOM + 1];
    FL_CLEANUP_FD int fd = client(SOCK_DGRAM);
    t.is_silent = true;
    for (int i = 0; i < UDP_ROOM; i++)
        say(fd, question, sizeof(question));
    assert_int_equal(await(fd, answer, sizeof(answer), SHORT_MS), -1);
    assert_int_equal(t.asked, UDP_ROOM);
    say(fd, question, sizeof(question));
    expect_refusal(fd, FL_DNS_SERVFAIL);
    assert_int_equal(t.asked, UDP_ROOM);
    for (int i = 0; i <= TCP_ROOM; i++) {
        connections[i] = client(SOCK_STREAM);
        assert_int_equal(
            await(connections[i], answer, sizeof(answer), i < TCP_ROOM ? 50 : SHORT_MS),
            i < TCP_ROOM ? -1 : 0);
    }
    for (int i = 0; i <= TCP_ROOM; i++)
        close(connections[i]);
}

/* ---- the stage ---- */

static int set_up(FL_UNUSED void **state)
{
    struct fl_err err = {0};
    t.is_silent = t.is_forged_first = false;
    t.asked = 0;
    (void)snprintf(t.resolv_conf, sizeof(t.resolv_conf), "/tmp/fairlead-resolver-XXXXXX");
    int fd = mkstemp(t.resolv_conf);
    assert_true(fd >= 0);
    close(fd);
    use_servers("nameserver 127.0.0.53\n");
    assert_int_equal(uv_loop_init(&t.loop), 0);
    start_server();
    return fl_resolver_open(&t.loop, t.resolv_conf, &t.resolver, &err);
}

static void close_any(uv_handle_t *handle, FL_UNUSED void *context)
{
    if (!uv_is_closing(handle))
        uv_close(handle, handle == (uv_handle_t *)&t.udp || handle == (uv_handle_t *)&t.tcp
                             ? NULL
                             : on_closed);
}

static int tear_down(FL_UNUSED void **state)
{
    fl_resolver_close(t.resolver);
    uv_walk(&t.loop, close_any, NULL);
    (void)uv_run(&t.loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&t.loop), 0);
    return unlink(t.resolv_conf);
}

static bool enter_namespace(void)
{
    struct ifreq lo = {.ifr_name = "lo", .ifr_flags = IFF_UP};
    if (unshare(CLONE_NEWNET) < 0)
        return false;
    FL_CLEANUP_FD int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    return fd >= 0 && ioctl(fd, SIOCSIFFLAGS, &lo) == 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_question_by_udp_is_answered),
        TEST(questions_by_tcp_are_answered_in_order),
        TEST(a_silent_server_gives_way_to_the_next),
        TEST(one_by_ipv6_gives_way_to_one_by_ipv4),
        TEST(without_a_server_it_says_so),
        TEST(what_is_no_question_is_refused_or_ignored),
        TEST(nobody_takes_all_the_room),
    };
    if (!enter_namespace()) {
        printf("1..0 # SKIP needs root and a network namespace\n");
        return 0;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
