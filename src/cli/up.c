/* `fairlead up`: server and agent on this machine, in the background. Every step finds out first
 * whether it is done already, so that `up` may be called at any time; roles
 * that another build's program plays are taken over. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <time.h>

#include "agent/ecs_config.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/program.h"
#include "cli/cli.h"
#include "cli/daemons.h"
#include "cli/hosts.h"
#include "cli/install.h"
#include "cli/operator.h"
#include "cli/ports.h"
#include "cli/userenv.h"

enum {
    START_PATIENCE_MS = 60 * 1000,
    POLL_US = 5000,
    POLL_MAX_US = 200000,
    CALL_TIMEOUT_MS = 5 * 1000,
    STOP_PATIENCE_MS = 10 * 1000,
};

static void add_flag(const struct fl_options *options, enum fl_option which, const char **argv,
                     size_t *n)
{
    if (options->value[which].n == 0)
        return;
    FL_ASSERT(*n + 2 < FL_DAEMONS_MAX_ARGUMENTS);
    argv[(*n)++] = fl_str_printf(options->arena, "--%s", fl_options_name(which)).p;
    if (which != FL_OPTION_STRICT)
        argv[(*n)++] = fl_str_z(options->arena, options->value[which]);
}

static int start_role(const struct fl_options *options, const char *role,
                      const enum fl_option *passed, size_t passed_count,
                      struct fl_daemon *ret_daemon, struct fl_err *err)
{
    struct fl_str program;
    int r = fl_program_path(options->arena, &program, err);
    if (r < 0)
        return r;
    const char *argv[FL_DAEMONS_MAX_ARGUMENTS + 1] = {program.p, role};
    size_t n = 2;
    for (size_t i = 0; i < passed_count; i++)
        add_flag(options, passed[i], argv, &n);
    argv[n] = NULL;
    struct fl_str log =
        fl_str_printf(options->arena, "%s/log/%s.log", options->value[FL_OPTION_DATA_DIR].p, role);
    return fl_daemon_start(argv, log.p, ret_daemon, err);
}

/* What a role that died said last. */
static int died(const struct fl_options *options, const char *role, struct fl_err *err)
{
    struct fl_str path =
        fl_str_printf(options->arena, "%s/log/%s.log", options->value[FL_OPTION_DATA_DIR].p, role);
    FL_CLEANUP_FD int fd = open(path.p, O_RDONLY | O_CLOEXEC);
    off_t size = fd < 0 ? 0 : lseek(fd, 0, SEEK_END);
    char tail[2048];
    ssize_t n = fd < 0 ? 0 : pread(fd, tail, sizeof(tail), FL_MAX(0, size - (off_t)sizeof(tail)));
    struct fl_str last = fl_str_trim((struct fl_str){tail, n > 0 ? (size_t)n : 0});
    last = fl_str_from(last, (size_t)(fl_str_rindex(last, '\n') + 1));
    return fl_err_set(err, -ECHILD, "the %s ended at once: %.*s (see %s)", role, FL_STR_ARG(last),
                      path.p);
}

/* Longer and longer: a --strict server, which counts our questions, too, must have time to allow
 * the next ones. */
static void pause_a_little(long *pause_us)
{
    const struct timespec pause = {.tv_nsec = *pause_us * 1000};
    (void)nanosleep(&pause, NULL);
    *pause_us = FL_MIN(*pause_us * 11 / 10, (long)POLL_MAX_US);
}

static int await_server(const struct fl_options *options, struct fl_operator *caller,
                        const struct fl_daemon *server, struct fl_err *err)
{
    int64_t deadline = fl_clock_mono_ms() + START_PATIENCE_MS;
    long pause_us = POLL_US;
    for (;;) {
        const struct fl_json *answer;
        int r = fl_operator_call(caller, "ListClusters", NULL, 0, CALL_TIMEOUT_MS, &answer, err);
        if (r == 0 || r == -EPROTO)
            return r;
        if (!fl_daemon_runs(server))
            return died(options, "server", err);
        if (fl_clock_mono_ms() > deadline)
            return fl_err_set(err, -ETIMEDOUT, "the server does not answer at %s; see %s/log",
                              caller->config.endpoint.p, options->value[FL_OPTION_DATA_DIR].p);
        pause_a_little(&pause_us);
    }
}

/* The cluster that the agent will join; what is wrong in its file is better said now than in a log
 * file. */
static int find_cluster(const struct fl_options *options, const char **ret_cluster,
                        struct fl_err *err)
{
    struct fl_ecs_settings settings;
    struct fl_ecs_notes notes;
    bool given = options->value[FL_OPTION_ECS_CONFIG].n > 0;
    const char *path = given ? options->value[FL_OPTION_ECS_CONFIG].p : FL_ECS_CONFIG_FILE;
    int r = fl_ecs_config_read(path, given, options->arena, &settings, &notes, err);
    if (r == 0)
        *ret_cluster = settings.cluster.n ? fl_str_z(options->arena, settings.cluster) : "default";
    return r;
}

/* On EC2 somebody has made the cluster that ecs.config names; here nobody could have, before `up`.
 */
static int make_cluster(struct fl_operator *caller, const char *cluster, struct fl_err *err)
{
    const struct fl_operator_member name = {"clusterName", cluster};
    const struct fl_json *answer;
    return fl_operator_call(caller, "CreateCluster", &name, 1, CALL_TIMEOUT_MS, &answer, err);
}

/* Number of the cluster's instances that are ACTIVE with their agent connected. */
static int count_connected(struct fl_operator *caller, const char *cluster, size_t *ret_count,
                           struct fl_err *err)
{
    const struct fl_operator_member query = {"cluster", cluster};
    struct fl_operator_items arns, instances;
    int r = fl_operator_list(caller, "ListContainerInstances", &query, 1, "containerInstanceArns",
                             &arns, err);
    if (r == 0)
        r = fl_operator_describe(caller, "DescribeContainerInstances", cluster,
                                 "containerInstances", &arns, &instances, err);
    if (r < 0)
        return r;
    *ret_count = 0;
    for (size_t i = 0; i < instances.n; i++)
        *ret_count += fl_json_is_true(fl_json_get(instances.items[i], "agentConnected")) &&
                      fl_str_is(fl_json_text(fl_json_get(instances.items[i], "status")), "ACTIVE");
    return 0;
}

static int await_agent(const struct fl_options *options, struct fl_operator *caller,
                       const char *cluster, const struct fl_daemon *agent, struct fl_err *err)
{
    int64_t deadline = fl_clock_mono_ms() + START_PATIENCE_MS;
    long pause_us = POLL_US;
    for (;;) {
        size_t connected = 0;
        int r = count_connected(caller, cluster, &connected, err);
        if (r == 0 && connected > 0)
            return 0;
        if (!fl_daemon_runs(agent))
            return died(options, "agent", err);
        if (fl_clock_mono_ms() > deadline)
            return r < 0 ? r
                         : fl_err_set(err, -ETIMEDOUT, "the agent does not connect; see %s/log",
                                      options->value[FL_OPTION_DATA_DIR].p);
        pause_a_little(&pause_us);
    }
}

static int bring_up_server(struct fl_options *options, struct fl_daemon *ret_server,
                           struct fl_err *err)
{
    static const enum fl_option passed[] = {
        FL_OPTION_DATA_DIR,     FL_OPTION_LISTEN,    FL_OPTION_TLS_LISTEN,
        FL_OPTION_ADVERTISE,    FL_OPTION_REGION,    FL_OPTION_ACCOUNT,
        FL_OPTION_SESSION_LIFE, FL_OPTION_LOGS_MAX,  FL_OPTION_HEARTBEAT,
        FL_OPTION_KEY_LIFE,     FL_OPTION_STRICT,    FL_OPTION_CERTIFICATE_LIFE,
        FL_OPTION_SETTLE,       FL_OPTION_LOST_AFTER};
    *ret_server = fl_daemon_find(options->value[FL_OPTION_DATA_DIR], "server");
    if (ret_server->pid > 0)
        return 0;
    struct fl_str host = {0};
    uint16_t port = 0;
    (void)fl_options_split_listen(options->value[FL_OPTION_LISTEN], &host, &port);
    if (!fl_port_is_free(host, port)) {
        struct fl_str holder = fl_port_holder(port, options->arena);
        return fl_err_set(err, -EADDRINUSE,
                          "port %u is taken by %.*s: end it, or choose another port with --listen "
                          "%.*s:PORT",
                          port, FL_STR_ARG(holder), FL_STR_ARG(host));
    }
    return start_role(options, "server", passed, FL_ARRAY_SIZE(passed), ret_server, err);
}

static int bring_up_agent(struct fl_options *options, struct fl_daemon *ret_agent,
                          struct fl_err *err)
{
    static const enum fl_option passed[] = {FL_OPTION_DATA_DIR,      FL_OPTION_SERVER,
                                            FL_OPTION_REGION,        FL_OPTION_ACCOUNT,
                                            FL_OPTION_CPU_UNITS,     FL_OPTION_MEMORY_MIB,
                                            FL_OPTION_METADATA_PORT, FL_OPTION_INTROSPECTION_PORT,
                                            FL_OPTION_ECS_CONFIG,    FL_OPTION_REGISTRIES};
    *ret_agent = fl_daemon_find(options->value[FL_OPTION_DATA_DIR], "agent");
    if (ret_agent->pid > 0)
        return 0;
    options->value[FL_OPTION_SERVER] = fl_options_endpoint(options);
    return start_role(options, "agent", passed, FL_ARRAY_SIZE(passed), ret_agent, err);
}

/* A running server cannot be given other options: better said than ignored. */
static int refuse_changes(const struct fl_options *wanted, struct fl_err *err)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_options kept;
    fl_options_parse(FL_COMMAND_UP, "", 3,
                     (char *[]){(char *)"up", (char *)"--data-dir",
                                (char *)wanted->value[FL_OPTION_DATA_DIR].p, NULL},
                     arena, &kept);
    for (enum fl_option i = 0; i < FL_OPTION_COUNT; i++) {
        if (fl_options_is_remembered(i) && wanted->given[i] && !kept.given[i] &&
            !fl_str_eq(wanted->value[i], kept.value[i]))
            return fl_err_set(err, -EBUSY,
                              "it runs with another --%s (%s): `fairlead down%s` first",
                              fl_options_name(i), kept.value[i].n ? kept.value[i].p : "none",
                              fl_options_data_dir_flag(wanted).p);
    }
    return 0;
}

/* An older program hands over to this one. Containers are their shims' and do not notice. */
static int take_over(struct fl_str data_dir, const char *role, struct fl_err *err)
{
    FL_CLEANUP_DAEMON struct fl_daemon daemon = fl_daemon_find(data_dir, role);
    if (daemon.pid == 0 || fl_daemon_is_this_program(&daemon))
        return 0;
    (void)printf("another build's %s (process %d) hands over to this one\n", role, (int)daemon.pid);
    return fl_daemon_stop(&daemon, STOP_PATIENCE_MS, err);
}

/* Without them everything works but the few actions that need another name. */
static void add_names(const struct fl_options *options)
{
    struct fl_err err;
    if (fl_hosts_add(options, FL_HOSTS_FILE, &err) < 0)
        (void)fprintf(stderr,
                      "fairlead: %s: live tails of logs will not find their name, "
                      "stream-api.fairlead.localhost\n",
                      err.text);
}

static int up(struct fl_options *options, struct fl_err *err)
{
    struct fl_str data_dir = options->value[FL_OPTION_DATA_DIR];
    FL_CLEANUP_FD int lock = -1;
    FL_CLEANUP_DAEMON struct fl_daemon server = fl_daemon_find(data_dir, "server");
    FL_CLEANUP_DAEMON struct fl_daemon agent = {.fd = -1};
    struct fl_operator caller;
    const char *cluster = NULL;
    int r = server.pid > 0 ? refuse_changes(options, err) : 0;
    fl_daemon_forget(&server);
    if (r == 0)
        r = find_cluster(options, &cluster, err);
    if (r == 0)
        r = fl_install_prepare(options, err);
    if (r == 0)
        r = fl_install_lock(data_dir, &lock, err);
    if (r == 0)
        r = take_over(data_dir, "agent", err);
    if (r == 0)
        r = take_over(data_dir, "server", err);
    if (r == 0)
        r = fl_install_make_keys(data_dir, err);
    if (r == 0)
        r = fl_operator_open(options, &caller, err);
    if (r == 0)
        r = bring_up_server(options, &server, err);
    if (r == 0)
        add_names(options);
    if (r == 0)
        r = fl_install_remember(options, fl_userenv_write(options, &caller.config.key), err);
    if (r == 0)
        r = await_server(options, &caller, &server, err);
    if (r == 0)
        r = make_cluster(&caller, cluster, err);
    if (r == 0)
        r = bring_up_agent(options, &agent, err);
    if (r == 0)
        r = await_agent(options, &caller, cluster, &agent, err);
    return r;
}

int fl_cli_up(int argc, char **argv)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_options options;
    fl_options_parse(FL_COMMAND_UP, "Starts server and agent on this machine, in the background.",
                     argc, argv, arena, &options);
    if (geteuid() != 0) {
        (void)fputs("fairlead: up needs root: run `sudo fairlead up`\n", stderr);
        return 1;
    }
    struct fl_err err = {0};
    if (up(&options, &err) < 0) {
        (void)fprintf(stderr, "fairlead: %s\n", err.text);
        return 1;
    }
    const char *program = program_invocation_name;
    const char *flag = fl_options_data_dir_flag(&options).p;
    (void)printf("Fairlead is up: %s, region %s, account %s\n"
                 "  credentials:  eval \"$(%s env%s)\"\n"
                 "  what runs:    %s status%s\n"
                 "  to stop:      sudo %s down%s  (tasks go on; with --tasks they stop too)\n",
                 fl_options_endpoint(&options).p, options.value[FL_OPTION_REGION].p,
                 options.value[FL_OPTION_ACCOUNT].p, program, flag, program, flag, program, flag);
    return 0;
}
