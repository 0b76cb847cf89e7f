/* What a change of published ports costs the processor when ten are published, and when a thousand
 * are: the agent's own network code and its helper, in a network namespace of the program's own.
 *
 * A container with one port is attached and detached again and again. Both processes' time is
 * counted, by what the change needs: attachments without a port are taken off. Needs root. */
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "agent/network.h"
#include "base/fs.h"

enum { ROUNDS = 300, BLOCK = 50, FEW = 10, MANY = 1000 };

static struct fl_arena *arena;

static _Noreturn void stop(const char *what)
{
    (void)fprintf(stderr, "ports: %s\n", what);
    exit(1);
}

static void attach(struct fl_network *network, const char *id, size_t ports)
{
    struct fl_port_mapping mappings[BLOCK];
    struct fl_endpoint endpoint;
    struct fl_err err = {0};
    for (size_t i = 0; i < ports; i++)
        mappings[i] = (struct fl_port_mapping){.container_port = (uint16_t)(80 + i)};
    if (fl_network_attach(network, fl_str_of(id), FL_NET_BRIDGE, mappings, ports, arena, &endpoint,
                          &err) < 0)
        stop(err.text);
    (void)close(endpoint.netns_fd);
}

/* The one child of this process. */
static pid_t helper(void)
{
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(64);
    int64_t pid;
    if (fl_fs_read(AT_FDCWD, "/proc/thread-self/children", 63, &text) < 0 ||
        !fl_str_to_i64(fl_str_trim(fl_buf_str(&text)), &pid))
        stop("the helper is not found");
    return (pid_t)pid;
}

static int64_t process_ns(pid_t pid)
{
    clockid_t clock;
    struct timespec used;
    if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &used) < 0)
        stop("a process's time cannot be read");
    return used.tv_sec * INT64_C(1000000000) + used.tv_nsec;
}

static double microseconds_a_round(struct fl_network *network, size_t ports)
{
    pid_t nft = helper();
    int64_t before = process_ns(0) + process_ns(nft);
    for (int i = 0; i < ROUNDS; i++) {
        attach(network, "changing", ports);
        fl_network_detach(network, FL_STR("changing"));
    }
    return (double)(process_ns(0) + process_ns(nft) - before) / 1000 / ROUNDS;
}

/* Of the attachment alone, which is what a start waits for. */
static double microseconds_an_attachment(struct fl_network *network, bool from_stock)
{
    int64_t used = 0;
    for (int i = 0; i < ROUNDS; i++) {
        if (from_stock)
            fl_network_stock(network);
        used -= process_ns(0);
        attach(network, "changing", 0);
        used += process_ns(0);
        fl_network_detach(network, FL_STR("changing"));
    }
    return (double)used / 1000 / ROUNDS;
}

static void publish(struct fl_network *network, const char *prefix, size_t ports)
{
    char id[32];
    for (size_t done = 0; done < ports;) {
        size_t now = FL_MIN(ports - done, (size_t)BLOCK);
        (void)snprintf(id, sizeof(id), "%s%zu", prefix, done);
        attach(network, id, now);
        done += now;
    }
}

static void measure(const char *libexec, const char *dir)
{
    struct fl_network *network;
    struct fl_err err = {0};
    const struct fl_network_config config = {.tag = FL_STR("flbench"),
                                             .libexec_dir = fl_str_of(libexec),
                                             .data_dir = fl_str_of(dir),
                                             .dynamic_low = 20000,
                                             .dynamic_high = 60000};
    if (fl_network_open(&config, &network, &err) < 0)
        stop(err.text);
    publish(network, "few", FEW);
    double bare = microseconds_a_round(network, 0);
    double few = microseconds_a_round(network, 1);
    publish(network, "many", MANY - FEW);
    double bare_too = microseconds_a_round(network, 0);
    double many = microseconds_a_round(network, 1);
    printf("a port published and taken back, beside %d: %.0f us of processor time, beside %d: "
           "%.0f us (a container without ports: %.0f and %.0f us)\n",
           FEW, few - bare, MANY, many - bare_too, bare, bare_too);
    double made = microseconds_an_attachment(network, false);
    double taken = microseconds_an_attachment(network, true);
    printf("an attachment without ports: %.0f us, with a namespace made in advance: %.0f us\n",
           made, taken);
    fl_network_close(network);
    (void)fl_network_destroy(&config, &err);
}

int main(int argc, char **argv)
{
    char dir[] = "/tmp/fairlead-ports-XXXXXX";
    if (argc != 2)
        stop("usage: bench-ports LIBEXEC_DIR");
    if (unshare(CLONE_NEWNET) < 0)
        stop("needs root");
    if (!mkdtemp(dir))
        stop("no directory");
    arena = fl_arena_new();
    measure(argv[1], dir);
    fl_arena_free(arena);
    (void)rmdir(dir);
    return 0;
}
