/* `fairlead doctor`: what is wrong on this host and how to mend it, one row per check. */
#include "cli/doctor.h"

#include <stdio.h>
#include <unistd.h>

#include "base/program.h"
#include "cli/ask.h"
#include "cli/cli.h"
#include "cli/daemons.h"
#include "cli/ports.h"
#include "wire/json.h"

static struct fl_finding find_root(const struct fl_options *options)
{
    (void)options;
    if (geteuid() == 0)
        return (struct fl_finding){FL_FINE, FL_STR("running as root")};
    return (struct fl_finding){FL_NOTE, FL_STR("not root: `up` and some checks here need sudo")};
}

static struct fl_finding find_seccomp(const struct fl_options *options)
{
    (void)options;
    if (access("/usr/share/containers/seccomp.json", R_OK) == 0)
        return (struct fl_finding){FL_FINE, FL_STR("the distribution's seccomp profile is there")};
    return (struct fl_finding){FL_WRONG, FL_STR("no seccomp profile: apt-get install "
                                                "golang-github-containers-common")};
}

static struct fl_finding find_programs(const struct fl_options *options)
{
    static const char *const programs[] = {"fairlead-shim", "fairlead-unpack", "fairlead-nft"};
    struct fl_err err;
    struct fl_str dir;
    if (fl_program_libexec_dir(options->arena, &dir, &err) < 0)
        return (struct fl_finding){FL_WRONG, fl_str_dup(options->arena, fl_str_of(err.text))};
    for (size_t i = 0; i < FL_ARRAY_SIZE(programs); i++) {
        struct fl_str path = fl_str_printf(options->arena, "%s/%s", dir.p, programs[i]);
        if (access(path.p, X_OK) < 0)
            return (struct fl_finding){FL_WRONG, fl_str_printf(options->arena,
                                                               "%s is missing: build or "
                                                               "install again",
                                                               path.p)};
    }
    return (struct fl_finding){FL_FINE, FL_STR("the helper programs are there")};
}

static struct fl_finding find_port(const struct fl_options *options)
{
    FL_CLEANUP_DAEMON struct fl_daemon server =
        fl_daemon_find(options->value[FL_OPTION_DATA_DIR], "server");
    const char *listen = options->value[FL_OPTION_LISTEN].p;
    struct fl_str host = {0};
    uint16_t port = 0;
    (void)fl_options_split_listen(options->value[FL_OPTION_LISTEN], &host, &port);
    if (server.pid > 0)
        return (struct fl_finding){
            FL_FINE,
            fl_str_printf(options->arena, "the server runs (process %d)", (int)server.pid)};
    if (fl_port_is_free(host, port))
        return (struct fl_finding){FL_FINE, fl_str_printf(options->arena, "%s is free", listen)};
    return (struct fl_finding){
        FL_WRONG, fl_str_printf(options->arena, "%s is taken by %.*s: choose another with --listen",
                                listen, FL_STR_ARG(fl_port_holder(port, options->arena)))};
}

/* "aws-cli/2.15.0 …" or "aws-cli/1.46.2 …". */
static bool reads_endpoint_variable(const char *version)
{
    unsigned major = 0;
    unsigned minor = 0;
    if (sscanf(version, "aws-cli/%5u.%5u", &major, &minor) != 2)
        return false;
    return major > 2 || (major == 2 && minor >= 13) || (major == 1 && minor >= 29);
}

static struct fl_finding find_client(const struct fl_options *options)
{
    char version[128];
    const char *const ask[] = {"aws", "--version", NULL};
    if (fl_ask_program(ask, FL_DOCTOR_PATIENCE_MS, version, sizeof(version)) != 0)
        return (struct fl_finding){FL_NOTE, FL_STR("no AWS CLI on PATH: pip install awscli")};
    version[strcspn(version, " \n")] = '\0';
    if (reads_endpoint_variable(version))
        return (struct fl_finding){FL_FINE, fl_str_printf(options->arena, "%s", version)};
    return (struct fl_finding){
        FL_NOTE, fl_str_printf(options->arena,
                               "%s ignores AWS_ENDPOINT_URL (2.13 or 1.29 is needed): pip install "
                               "--upgrade awscli, or pass --endpoint-url",
                               version)};
}

static const struct {
    const char *name;
    fl_check find;
} checks[] = {
    {"root", find_root},
    {"kernel", fl_doctor_kernel},
    {"cgroups", fl_doctor_cgroups},
    {"overlayfs", fl_doctor_overlay},
    {"firewall", fl_doctor_firewall},
    {"kvm", fl_doctor_kvm},
    {"runtime", fl_doctor_runtime},
    {"seccomp", find_seccomp},
    {"programs", find_programs},
    {"port", find_port},
    {"names", fl_doctor_names},
    {"API names", fl_doctor_api_names},
    {"clock", fl_doctor_clock},
    {"disk", fl_doctor_disk},
    {"certificate", fl_doctor_certificate},
    {"client", find_client},
};

static const char *const labels[] = {[FL_FINE] = "ok", [FL_NOTE] = "note", [FL_WRONG] = "wrong"};

static void print_json(const struct fl_finding *findings)
{
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(64 * 1024);
    struct fl_json_writer jw = {.buf = &text};
    fl_jw_array_begin(&jw);
    for (size_t i = 0; i < FL_ARRAY_SIZE(checks); i++) {
        fl_jw_object_begin(&jw);
        fl_jw_member_str(&jw, "check", fl_str_of(checks[i].name));
        fl_jw_member_str(&jw, "verdict", fl_str_of(labels[findings[i].verdict]));
        fl_jw_member_str(&jw, "text", findings[i].text);
        fl_jw_object_end(&jw);
    }
    fl_jw_array_end(&jw);
    (void)printf("%.*s\n", FL_STR_ARG(fl_buf_str(&text)));
}

static void print_rows(const struct fl_finding *findings)
{
    for (size_t i = 0; i < FL_ARRAY_SIZE(checks); i++)
        (void)printf("%-6s%-10s %.*s\n", labels[findings[i].verdict], checks[i].name,
                     FL_STR_ARG(findings[i].text));
}

int fl_cli_doctor(int argc, char **argv)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_options options;
    struct fl_finding findings[FL_ARRAY_SIZE(checks)];
    fl_options_parse(FL_COMMAND_DOCTOR, "Tells what is wrong on this host and how to mend it.",
                     argc, argv, arena, &options);
    int wrong = 0;
    for (size_t i = 0; i < FL_ARRAY_SIZE(checks); i++) {
        findings[i] = checks[i].find(&options);
        wrong += findings[i].verdict == FL_WRONG;
    }
    if (fl_options_on(&options, FL_OPTION_JSON))
        print_json(findings);
    else
        print_rows(findings);
    if (wrong > 0)
        (void)fprintf(stderr, "fairlead: %d of %zu checks found something wrong\n", wrong,
                      FL_ARRAY_SIZE(checks));
    return wrong > 0 ? 1 : 0;
}
