/* `fairlead down`: ends server and agent; the tasks go on, unless --tasks stops them first. */
#include <errno.h>
#include <stdio.h>

#include "cli/cli.h"
#include "cli/daemons.h"
#include "cli/install.h"
#include "cli/operator.h"

enum {
    DAEMON_PATIENCE_MS = 10 * 1000,
    TASKS_PATIENCE_MS = 180 * 1000, /* more than the longest stopTimeout of ECS, 120 s */
};

static int stop_tasks(const struct fl_options *options, struct fl_err *err)
{
    struct fl_operator caller;
    size_t left = 0;
    int r = fl_operator_open(options, &caller, err);
    if (r == 0)
        r = fl_operator_stop_tasks(&caller, "Stopped by fairlead down", TASKS_PATIENCE_MS, &left,
                                   err);
    if (r == 0 && left > 0)
        r = fl_err_set(err, -ETIMEDOUT, "%zu tasks do not stop; server and agent still run", left);
    return r;
}

static int down(const struct fl_options *options, struct fl_err *err)
{
    struct fl_str data_dir = options->value[FL_OPTION_DATA_DIR];
    FL_CLEANUP_FD int lock = -1;
    int r = fl_install_check(data_dir, err);
    if (r == 0)
        r = fl_install_lock(data_dir, &lock, err);
    if (r < 0)
        return r;
    FL_CLEANUP_DAEMON struct fl_daemon server = fl_daemon_find(data_dir, "server");
    FL_CLEANUP_DAEMON struct fl_daemon agent = fl_daemon_find(data_dir, "agent");
    if (fl_options_on(options, FL_OPTION_TASKS)) {
        if (server.pid == 0 || agent.pid == 0)
            return fl_err_set(err, -ESRCH,
                              "--tasks needs server and agent running: `fairlead up%s` first",
                              fl_options_data_dir_flag(options).p);
        r = stop_tasks(options, err);
    }
    if (r == 0)
        r = fl_daemon_stop(&agent, DAEMON_PATIENCE_MS, err);
    if (r == 0)
        r = fl_daemon_stop(&server, DAEMON_PATIENCE_MS, err);
    return r;
}

int fl_cli_down(int argc, char **argv)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_options options;
    fl_options_parse(FL_COMMAND_DOWN, "Ends server and agent; tasks keep running.", argc, argv,
                     arena, &options);
    if (geteuid() != 0) {
        (void)fputs("fairlead: down needs root: run `sudo fairlead down`\n", stderr);
        return 1;
    }
    struct fl_err err = {0};
    if (down(&options, &err) < 0) {
        (void)fprintf(stderr, "fairlead: %s\n", err.text);
        return 1;
    }
    return 0;
}
