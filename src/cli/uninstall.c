/* `fairlead uninstall`: removes everything that `up` made. The data directory goes last, so that
 * an uninstall that stops half-way can be run again. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "agent/network.h"
#include "agent/runtime.h"
#include "base/fs.h"
#include "base/program.h"
#include "cli/cli.h"
#include "cli/daemons.h"
#include "cli/hosts.h"
#include "cli/install.h"
#include "cli/leftovers.h"
#include "cli/operator.h"
#include "cli/userenv.h"
#include "wire/install.h"

enum {
    TASKS_PATIENCE_MS = 10 * 1000,
    DAEMON_PATIENCE_MS = 10 * 1000,
    SHIM_PATIENCE_MS = 5 * 1000,
};

/* Containers get their SIGTERM and a while to end; who does not is killed with the cgroup. */
static void ask_tasks_to_stop(const struct fl_options *options)
{
    struct fl_operator caller;
    struct fl_err err;
    size_t left = 0;
    if (fl_operator_open(options, &caller, &err) == 0)
        (void)fl_operator_stop_tasks(&caller, "Stopped by fairlead uninstall", TASKS_PATIENCE_MS,
                                     &left, &err);
}

static int end_processes(const struct fl_options *options, const char *tag, struct fl_err *err)
{
    struct fl_str data_dir = options->value[FL_OPTION_DATA_DIR];
    FL_CLEANUP_DAEMON struct fl_daemon server = fl_daemon_find(data_dir, "server");
    FL_CLEANUP_DAEMON struct fl_daemon agent = fl_daemon_find(data_dir, "agent");
    if (server.pid > 0 && agent.pid > 0)
        ask_tasks_to_stop(options);
    int r = fl_daemon_stop(&agent, DAEMON_PATIENCE_MS, err);
    if (r == 0)
        r = fl_daemon_stop(&server, DAEMON_PATIENCE_MS, err);
    if (r == 0)
        r = fl_leftovers_remove_cgroups(tag, err);
    if (r < 0)
        return r;
    fl_leftovers_end_shims(data_dir, SHIM_PATIENCE_MS);
    /* A shim that was at work may have made a group again. */
    return fl_leftovers_remove_cgroups(tag, err);
}

static int remove_network(const struct fl_options *options, const char *tag, struct fl_err *err)
{
    struct fl_str libexec_dir;
    int r = fl_program_libexec_dir(options->arena, &libexec_dir, err);
    if (r < 0)
        return r;
    const struct fl_network_config config = {
        .tag = fl_str_of(tag),
        .libexec_dir = libexec_dir,
        .data_dir = options->value[FL_OPTION_DATA_DIR],
    };
    return fl_network_destroy(&config, err);
}

/* Everything but the marker, which goes with the directory itself. */
static int remove_contents(const char *data_dir)
{
    DIR *dir = opendir(data_dir);
    int r = dir ? 0 : -errno;
    for (struct dirent *entry = dir ? readdir(dir) : NULL; entry && r == 0; entry = readdir(dir)) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
            strcmp(entry->d_name, FL_INSTALL_MARKER) != 0)
            r = fl_fs_remove_tree(dirfd(dir), entry->d_name);
    }
    if (dir)
        (void)closedir(dir);
    return r;
}

static int remove_data(struct fl_str data_dir, struct fl_arena *arena, struct fl_err *err)
{
    int r = fl_leftovers_check_mounts(data_dir, err);
    if (r < 0)
        return r;
    ptrdiff_t slash = fl_str_rindex(data_dir, '/');
    const char *parent = slash == 0 ? "/" : fl_str_z(arena, fl_str_sub(data_dir, 0, (size_t)slash));
    FL_CLEANUP_FD int dir = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    r = dir < 0 ? -errno : remove_contents(data_dir.p);
    if (r == 0)
        r = fl_fs_remove_tree(dir, data_dir.p + slash + 1);
    return r < 0 ? fl_err_errno(err, r, "cannot remove %s", data_dir.p) : 0;
}

static int uninstall(const struct fl_options *options, struct fl_err *err)
{
    struct fl_str data_dir = options->value[FL_OPTION_DATA_DIR];
    char tag[FL_INSTALL_TAG_SIZE];
    fl_install_tag(data_dir, tag);
    FL_CLEANUP_FD int lock = -1;
    int r = fl_install_lock(data_dir, &lock, err);
    if (r == 0)
        r = end_processes(options, tag, err);
    if (r == 0)
        r = remove_network(options, tag, err);
    if (r == 0)
        r = fl_hosts_remove(data_dir, FL_HOSTS_FILE, err);
    if (r < 0)
        return r;
    fl_runtime_forget_memory(fl_str_of(tag));
    fl_userenv_remove(options, fl_install_env_user(data_dir));
    return fl_options_on(options, FL_OPTION_KEEP_DATA) ? 0
                                                       : remove_data(data_dir, options->arena, err);
}

static bool is_confirmed(const struct fl_options *options)
{
    if (fl_options_on(options, FL_OPTION_YES))
        return true;
    const char *dir = options->value[FL_OPTION_DATA_DIR].p;
    if (fl_options_on(options, FL_OPTION_KEEP_DATA))
        (void)printf("This stops every task of %s. Go on? [y/N] ", dir);
    else
        (void)printf("This stops every task and removes %s with everything in it. Go on? [y/N] ",
                     dir);
    (void)fflush(stdout);
    char answer[16] = "";
    return fgets(answer, sizeof(answer), stdin) && (answer[0] == 'y' || answer[0] == 'Y');
}

int fl_cli_uninstall(int argc, char **argv)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_options options;
    fl_options_parse(FL_COMMAND_UNINSTALL, "Removes everything that `fairlead up` made.", argc,
                     argv, arena, &options);
    if (geteuid() != 0) {
        (void)fputs("fairlead: uninstall needs root: run `sudo fairlead uninstall`\n", stderr);
        return 1;
    }
    struct fl_err err = {0};
    if (fl_install_check(options.value[FL_OPTION_DATA_DIR], &err) < 0) {
        (void)fprintf(stderr, "fairlead: %s\n", err.text);
        return 1;
    }
    if (!is_confirmed(&options)) {
        (void)fputs("fairlead: nothing was removed\n", stderr);
        return 1;
    }
    if (uninstall(&options, &err) < 0) {
        (void)fprintf(stderr, "fairlead: %s\n", err.text);
        return 1;
    }
    return 0;
}
