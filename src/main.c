/* The one executable: every subcommand meets here. */
#include <argp.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "cli/cli.h"
#include "cli/image.h"

struct command {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *summary;
};

static const struct command commands[] = {
    {"up", fl_cli_up, "start server and agent on this machine, in the background"},
    {"down", fl_cli_down, "end them; tasks keep running unless --tasks"},
    {"env", fl_cli_env, "lines for eval: endpoint and credentials"},
    {"status", fl_cli_status, "what runs (--json)"},
    {"explain", fl_cli_explain, "why a task finds no place on a cluster"},
    {"doctor", fl_cli_doctor, "what is wrong on this host and how to mend it"},
    {"image", fl_cli_image, "images of the built-in registry: load, ls, pull, rm"},
    {"server", fl_cli_server, "the control plane, in the foreground"},
    {"agent", fl_cli_agent, "a host's agent, in the foreground"},
    {"sim", fl_cli_sim, "play thousands of hosts in one process, with faults, from a seed"},
    {"backup", fl_cli_backup, "pack what the server keeps into a file, while it serves"},
    {"restore", fl_cli_restore, "make an installation of such a file"},
    {"store", fl_cli_store, "check that what the server keeps is whole"},
    {"token", fl_cli_token, "tokens by which other hosts join: create, ls, rm"},
    {"uninstall", fl_cli_uninstall, "remove everything that up made"},
};

static void print_usage(FILE *to)
{
    (void)fputs("usage: fairlead COMMAND [OPTION...]; `fairlead COMMAND --help` tells more\n\n",
                to);
    for (size_t i = 0; i < FL_ARRAY_SIZE(commands); i++)
        (void)fprintf(to, "  %-10s %s\n", commands[i].name, commands[i].summary);
}

int main(int argc, char **argv)
{
    argp_err_exit_status = 2;
    if (argc < 2) {
        print_usage(stderr);
        return 2;
    }
    if (strcmp(argv[1], "--version") == 0) {
        (void)puts("fairlead " FL_VERSION);
        return 0;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0) {
        print_usage(stdout);
        return 0;
    }
    for (size_t i = 0; i < FL_ARRAY_SIZE(commands); i++) {
        if (strcmp(argv[1], commands[i].name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    }
    (void)fprintf(stderr, "fairlead: there is no command \"%s\"; `fairlead help` lists them\n",
                  argv[1]);
    return 2;
}
