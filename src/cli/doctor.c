/* `fairlead doctor`: what is wrong on this host and how to mend it, one row per check. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/program.h"
#include "cli/cli.h"
#include "cli/daemons.h"
#include "cli/options.h"
#include "cli/ports.h"

enum verdict { FINE, NOTE, WRONG };

struct finding {
    enum verdict verdict;
    struct fl_str text;
};

enum { FILE_MAX = 1 << 20, MODULES_MAX = 8 << 20 };

static struct finding find_root(const struct fl_options *options)
{
    (void)options;
    if (geteuid() == 0)
        return (struct finding){FINE, FL_STR("running as root")};
    return (struct finding){NOTE, FL_STR("not root: `up` and some checks here need sudo")};
}

static bool on_path(const char *program)
{
    static const char *const dirs[] = {"/usr/local/sbin", "/usr/local/bin", "/usr/sbin",
                                       "/usr/bin",        "/sbin",          "/bin"};
    for (size_t i = 0; i < FL_ARRAY_SIZE(dirs); i++) {
        char path[128];
        (void)snprintf(path, sizeof(path), "%s/%s", dirs[i], program);
        if (access(path, X_OK) == 0)
            return true;
    }
    return false;
}

static struct finding find_runtime(const struct fl_options *options)
{
    (void)options;
    if (on_path("crun"))
        return (struct finding){FINE, FL_STR("crun is installed")};
    if (on_path("runc"))
        return (struct finding){NOTE, FL_STR("runc is installed, crun (faster) is not: apt-get "
                                             "install crun")};
    return (struct finding){WRONG, FL_STR("no OCI runtime: apt-get install crun")};
}

static struct finding find_seccomp(const struct fl_options *options)
{
    (void)options;
    if (access("/usr/share/containers/seccomp.json", R_OK) == 0)
        return (struct finding){FINE, FL_STR("the distribution's seccomp profile is there")};
    return (struct finding){WRONG, FL_STR("no seccomp profile: apt-get install "
                                          "golang-github-containers-common")};
}

/* Whether the first mount would load it: a fresh host shows no file system that nobody used yet. */
static bool has_overlay_module(void)
{
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(MODULES_MAX);
    struct utsname host;
    char path[sizeof(host.release) + 64];
    if (uname(&host) < 0)
        return false;
    (void)snprintf(path, sizeof(path), "/lib/modules/%s/modules.dep", host.release);
    return fl_fs_read(AT_FDCWD, path, MODULES_MAX, &text) == 0 &&
           fl_str_contains(fl_buf_str(&text), FL_STR("/overlay.ko"));
}

static struct finding find_overlay(const struct fl_options *options)
{
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(FILE_MAX);
    (void)options;
    if (fl_fs_read(AT_FDCWD, "/proc/filesystems", FILE_MAX, &text) == 0 &&
        fl_str_contains(fl_buf_str(&text), FL_STR("\toverlay\n")))
        return (struct finding){FINE, FL_STR("the kernel has overlayfs")};
    if (has_overlay_module())
        return (struct finding){FINE, FL_STR("the kernel has overlayfs, as a module")};
    return (struct finding){WRONG, FL_STR("the kernel shows no overlayfs: modprobe overlay")};
}

static struct finding find_cgroups(const struct fl_options *options)
{
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(FILE_MAX);
    (void)options;
    if (fl_fs_read(AT_FDCWD, "/sys/fs/cgroup/cgroup.controllers", FILE_MAX, &text) == 0) {
        if (fl_str_contains(fl_buf_str(&text), FL_STR("memory")))
            return (struct finding){FINE, FL_STR("cgroup v2")};
        return (struct finding){WRONG, FL_STR("cgroup v2 without the memory controller: boot the "
                                              "kernel with cgroup_enable=memory")};
    }
    if (access("/sys/fs/cgroup/memory", F_OK) == 0)
        return (struct finding){FINE, FL_STR("cgroup v1")};
    return (struct finding){NOTE, FL_STR("no cgroups are mounted at /sys/fs/cgroup: the agent "
                                         "mounts its own")};
}

static struct finding find_programs(const struct fl_options *options)
{
    static const char *const programs[] = {"fairlead-shim", "fairlead-unpack", "fairlead-nft"};
    struct fl_err err;
    struct fl_str dir;
    if (fl_program_libexec_dir(options->arena, &dir, &err) < 0)
        return (struct finding){WRONG, fl_str_dup(options->arena, fl_str_of(err.text))};
    for (size_t i = 0; i < FL_ARRAY_SIZE(programs); i++) {
        struct fl_str path = fl_str_printf(options->arena, "%s/%s", dir.p, programs[i]);
        if (access(path.p, X_OK) < 0)
            return (struct finding){WRONG, fl_str_printf(options->arena,
                                                         "%s is missing: build or "
                                                         "install again",
                                                         path.p)};
    }
    return (struct finding){FINE, FL_STR("the helper programs are there")};
}

static struct finding find_port(const struct fl_options *options)
{
    FL_CLEANUP_DAEMON struct fl_daemon server =
        fl_daemon_find(options->value[FL_OPTION_DATA_DIR], "server");
    const char *listen = options->value[FL_OPTION_LISTEN].p;
    struct fl_str host = {0};
    uint16_t port = 0;
    (void)fl_options_split_listen(options->value[FL_OPTION_LISTEN], &host, &port);
    if (server.pid > 0)
        return (struct finding){
            FINE, fl_str_printf(options->arena, "the server runs (process %d)", (int)server.pid)};
    if (fl_port_is_free(host, port))
        return (struct finding){FINE, fl_str_printf(options->arena, "%s is free", listen)};
    return (struct finding){
        WRONG, fl_str_printf(options->arena, "%s is taken by %.*s: choose another with --listen",
                             listen, FL_STR_ARG(fl_port_holder(port, options->arena)))};
}

/* "aws-cli/2.15.0 …" or "aws-cli/1.46.2 …". */
static bool reads_endpoint_variable(const char *version)
{
    unsigned major = 0;
    unsigned minor = 0;
    if (sscanf(version, "aws-cli/%u.%u", &major, &minor) != 2)
        return false;
    return major > 2 || (major == 2 && minor >= 13) || (major == 1 && minor >= 29);
}

static struct finding find_client(const struct fl_options *options)
{
    char version[128] = "";
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) < 0)
        return (struct finding){NOTE, FL_STR("cannot look for the AWS CLI")};
    pid_t child = fork();
    if (child == 0) {
        (void)dup2(fds[1], 1);
        (void)dup2(fds[1], 2);
        (void)execlp("aws", "aws", "--version", (char *)NULL);
        _exit(127);
    }
    (void)close(fds[1]);
    ssize_t n = read(fds[0], version, sizeof(version) - 1);
    (void)close(fds[0]);
    if (child > 0)
        (void)waitpid(child, NULL, 0);
    if (n <= 0)
        return (struct finding){NOTE, FL_STR("no AWS CLI on PATH: pip install awscli")};
    version[strcspn(version, " \n")] = '\0';
    if (reads_endpoint_variable(version))
        return (struct finding){FINE, fl_str_printf(options->arena, "%s", version)};
    return (struct finding){NOTE,
                            fl_str_printf(options->arena,
                                          "%s ignores AWS_ENDPOINT_URL (2.13 or 1.29 is needed): "
                                          "pip install --upgrade awscli, or pass --endpoint-url",
                                          version)};
}

int fl_cli_doctor(int argc, char **argv)
{
    static struct finding (*const checks[])(const struct fl_options *options) = {
        find_root,    find_runtime,  find_seccomp, find_overlay,
        find_cgroups, find_programs, find_port,    find_client,
    };
    static const char *const labels[] = {[FINE] = "ok", [NOTE] = "note", [WRONG] = "wrong"};
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_options options;
    fl_options_parse(FL_COMMAND_DOCTOR, "Tells what is wrong on this host and how to mend it.",
                     argc, argv, arena, &options);
    int wrong = 0;
    for (size_t i = 0; i < FL_ARRAY_SIZE(checks); i++) {
        struct finding finding = checks[i](&options);
        (void)printf("%-6s %.*s\n", labels[finding.verdict], FL_STR_ARG(finding.text));
        wrong += finding.verdict == WRONG;
    }
    if (wrong > 0)
        (void)fprintf(stderr, "fairlead: %d of %zu checks found something wrong\n", wrong,
                      FL_ARRAY_SIZE(checks));
    return wrong > 0 ? 1 : 0;
}
