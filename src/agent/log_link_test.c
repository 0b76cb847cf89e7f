/* Connections of log drivers: made when needed, made anew when lost, and never in the loop's way.
 * Method: sockets of this process at the other end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "agent/log_link.h"
#include "base/fs.h"

struct fixture {
    uv_loop_t loop;
    struct fl_log_link *link;
    char dir[64];
    char path[96];
    int listener;
    unsigned answers;
    char error[256];
};

static int set_up(void **state)
{
    struct fixture *f = fl_calloc(1, sizeof(*f));
    (void)snprintf(f->dir, sizeof(f->dir), "/tmp/fl-link-test-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    (void)snprintf(f->path, sizeof(f->path), "%s/s", f->dir);
    assert_int_equal(uv_loop_init(&f->loop), 0);
    f->listener = -1;
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    (void)fl_log_link_close(f->link);
    (void)uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    if (f->listener >= 0)
        (void)close(f->listener);
    assert_int_equal(fl_fs_remove_tree(AT_FDCWD, f->dir), 0);
    free(f);
    return 0;
}

static void on_sent(void *context, const char *error)
{
    struct fixture *f = context;
    f->answers++;
    (void)snprintf(f->error, sizeof(f->error), "%s", error ? error : "");
}

static void open_link(struct fixture *f, const char *address)
{
    struct fl_log_address to;
    assert_true(fl_log_address_read(fl_str_of(address), "1", &to));
    f->link = fl_log_link_new(&f->loop, &to);
}

static void send_load(struct fixture *f, struct fl_str bytes, const size_t *ends, size_t count)
{
    const struct fl_log_load load = {bytes, ends, count};
    unsigned before = f->answers;
    fl_log_link_send(f->link, &load, on_sent, f);
    assert_int_equal(f->answers, before);
    while (f->answers == before)
        (void)uv_run(&f->loop, UV_RUN_ONCE);
    assert_int_equal(f->answers, before + 1);
}

static void listen_at(struct fixture *f, int type)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", f->path);
    (void)unlink(f->path);
    f->listener = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(f->listener, (struct sockaddr *)&address, sizeof(address)), 0);
    if (type == SOCK_STREAM)
        assert_int_equal(listen(f->listener, 5), 0);
}

static void expect(int fd, const char *text)
{
    char bytes[256];
    ssize_t n = recv(fd, bytes, sizeof(bytes) - 1, 0);
    assert_true(n >= 0);
    bytes[n] = '\0';
    assert_string_equal(bytes, text);
}

static struct fl_str url(struct fixture *f, const char *scheme, char *space, size_t size)
{
    (void)snprintf(space, size, "%s://%s", scheme, f->path);
    return fl_str_of(space);
}

static void a_lost_connection_is_made_anew(void **state)
{
    struct fixture *f = *state;
    char space[128];
    listen_at(f, SOCK_STREAM);
    open_link(f, url(f, "unix", space, sizeof(space)).p);
    send_load(f, FL_STR("one\n"), NULL, 0);
    assert_string_equal(f->error, "");
    int fd = accept(f->listener, NULL, NULL);
    expect(fd, "one\n");
    (void)close(fd);
    send_load(f, FL_STR("two\n"), NULL, 0);
    assert_string_equal(f->error, "");
    fd = accept(f->listener, NULL, NULL);
    expect(fd, "two\n");
    (void)close(fd);
}

static void nobody_there_is_an_error_in_dockers_words(void **state)
{
    struct fixture *f = *state;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof(address);
    char text[64], expected[128];
    FL_CLEANUP_FD int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    (void)snprintf(text, sizeof(text), "tcp://127.0.0.1:%d", ntohs(address.sin_port));
    (void)snprintf(expected, sizeof(expected), "dial tcp %s: Connection refused", text + 6);
    open_link(f, text);
    send_load(f, FL_STR(""), NULL, 0);
    assert_string_equal(f->error, expected);
}

static void a_slow_reader_is_waited_for(void **state)
{
    enum { BYTES = 4 << 20 };
    struct fixture *f = *state;
    char space[128];
    static char bytes[BYTES], got[BYTES];
    size_t read_n = 0;
    listen_at(f, SOCK_STREAM);
    open_link(f, url(f, "unix", space, sizeof(space)).p);
    const struct fl_log_load load = {{bytes, BYTES}, NULL, 0};
    memset(bytes, 'x', BYTES);
    fl_log_link_send(f->link, &load, on_sent, f);
    for (int i = 0; i < 20; i++)
        (void)uv_run(&f->loop, UV_RUN_NOWAIT);
    assert_int_equal(f->answers, 0);
    FL_CLEANUP_FD int fd = accept(f->listener, NULL, NULL);
    while (read_n < BYTES) {
        (void)uv_run(&f->loop, UV_RUN_NOWAIT);
        ssize_t n = recv(fd, got + read_n, BYTES - read_n, MSG_DONTWAIT);
        read_n += n > 0 ? (size_t)n : 0;
    }
    while (f->answers == 0)
        (void)uv_run(&f->loop, UV_RUN_ONCE);
    assert_string_equal(f->error, "");
    assert_memory_equal(bytes, got, BYTES);
}

static void datagrams_stay_apart_and_one_too_large_is_alone_lost(void **state)
{
    struct fixture *f = *state;
    char space[128];
    enum { HUGE_BYTES = 8 << 20 };
    char *huge = fl_calloc(1, HUGE_BYTES + 4);
    memcpy(huge, "ab", 2);
    memcpy(huge + HUGE_BYTES + 2, "cd", 2);
    const size_t ends[] = {2, HUGE_BYTES + 2, HUGE_BYTES + 4};
    listen_at(f, SOCK_DGRAM);
    open_link(f, url(f, "unixgram", space, sizeof(space)).p);
    send_load(f, (struct fl_str){huge, HUGE_BYTES + 4}, ends, 3);
    assert_string_equal(f->error, "");
    expect(f->listener, "ab");
    expect(f->listener, "cd");
    free(huge);
}

/* A local datagram socket holds few messages: the next ones wait for room, and come in order. */
static void datagrams_wait_for_room(void **state)
{
    enum { MANY = 500 };
    struct fixture *f = *state;
    char space[128];
    uint16_t numbers[MANY], got;
    size_t ends[MANY];
    for (uint16_t i = 0; i < MANY; i++) {
        numbers[i] = i;
        ends[i] = (i + 1U) * sizeof(numbers[0]);
    }
    listen_at(f, SOCK_DGRAM);
    open_link(f, url(f, "unixgram", space, sizeof(space)).p);
    const struct fl_log_load load = {{(char *)numbers, sizeof(numbers)}, ends, MANY};
    fl_log_link_send(f->link, &load, on_sent, f);
    (void)uv_run(&f->loop, UV_RUN_NOWAIT);
    assert_int_equal(f->answers, 0);
    for (int i = 0; i < MANY;) {
        (void)uv_run(&f->loop, UV_RUN_NOWAIT);
        if (recv(f->listener, &got, sizeof(got), MSG_DONTWAIT) == sizeof(got))
            assert_int_equal(got, i++);
    }
    while (f->answers == 0)
        (void)uv_run(&f->loop, UV_RUN_ONCE);
    assert_string_equal(f->error, "");
}

/* syslogd was started anew: its socket is another one. */
static void a_datagram_socket_that_returns_is_found(void **state)
{
    struct fixture *f = *state;
    char space[128];
    const size_t ends[] = {1};
    listen_at(f, SOCK_DGRAM);
    open_link(f, url(f, "unixgram", space, sizeof(space)).p);
    send_load(f, FL_STR("a"), ends, 1);
    (void)close(f->listener);
    send_load(f, FL_STR("b"), ends, 1);
    assert_true(strstr(f->error, "Connection refused") != NULL);
    listen_at(f, SOCK_DGRAM);
    send_load(f, FL_STR("b"), ends, 1);
    assert_string_equal(f->error, "");
    expect(f->listener, "b");
}

/* The answer of what is under way never comes. */
static void closing_is_always_possible(void **state)
{
    struct fixture *f = *state;
    const struct fl_log_load load = {FL_STR("x"), NULL, 0};
    open_link(f, "tcp://localhost:9");
    fl_log_link_send(f->link, &load, on_sent, f);
    assert_false(fl_log_link_close(f->link));
    (void)uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_int_equal(f->answers, 0);
    open_link(f, "tcp://localhost:9");
}

static void what_has_left_is_known_at_the_end(void **state)
{
    struct fixture *f = *state;
    char space[128];
    const struct fl_log_load load = {FL_STR("x"), NULL, 0};
    listen_at(f, SOCK_STREAM);
    open_link(f, url(f, "unix", space, sizeof(space)).p);
    fl_log_link_send(f->link, &load, on_sent, f);
    assert_true(fl_log_link_close(f->link));
    open_link(f, space);
}

#define WITH(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH(a_lost_connection_is_made_anew),
        WITH(nobody_there_is_an_error_in_dockers_words),
        WITH(a_slow_reader_is_waited_for),
        WITH(datagrams_stay_apart_and_one_too_large_is_alone_lost),
        WITH(datagrams_wait_for_room),
        WITH(a_datagram_socket_that_returns_is_found),
        WITH(closing_is_always_possible),
        WITH(what_has_left_is_known_at_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
