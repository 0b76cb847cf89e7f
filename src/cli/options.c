/* The table of options and its reading by argp. */
#include "cli/options.h"

#include <argp.h>
#include <ctype.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#include "base/fs.h"
#include "wire/json.h"

#define EVERY                                                                                      \
    (FL_COMMAND_UP | FL_COMMAND_DOWN | FL_COMMAND_ENV | FL_COMMAND_STATUS | FL_COMMAND_DOCTOR |    \
     FL_COMMAND_UNINSTALL | FL_COMMAND_SERVER | FL_COMMAND_AGENT | FL_COMMAND_EXPLAIN |            \
     FL_COMMAND_IMAGE | FL_COMMAND_BACKUP | FL_COMMAND_RESTORE | FL_COMMAND_STORE |                \
     FL_COMMAND_TOKEN)
#define SERVERS (FL_COMMAND_UP | FL_COMMAND_SERVER)
#define ROLES (FL_COMMAND_UP | FL_COMMAND_SERVER | FL_COMMAND_AGENT)
#define LISTENERS                                                                                  \
    (ROLES | FL_COMMAND_ENV | FL_COMMAND_STATUS | FL_COMMAND_DOCTOR | FL_COMMAND_EXPLAIN |         \
     FL_COMMAND_BACKUP | FL_COMMAND_TOKEN)

enum kind { KIND_TEXT, KIND_NUMBER, KIND_SWITCH, KIND_LIST };

struct row {
    const char *name;
    const char *argument;
    enum kind kind;
    unsigned commands;
    bool environment; /* also FAIRLEAD_<NAME> */
    bool remembered;  /* kept in the data directory by `up` */
    const char *standard;
    const char *doc;
};

static const char default_data_dir[] = "/var/lib/fairlead";

static const struct row rows[FL_OPTION_COUNT] = {
    [FL_OPTION_DATA_DIR] = {"data-dir", "DIR", KIND_TEXT, EVERY, true, false, default_data_dir,
                            "where everything is kept (/var/lib/fairlead)"},
    [FL_OPTION_LISTEN] = {"listen", "ADDR:PORT", KIND_TEXT, LISTENERS, true, true, "127.0.0.1:4566",
                          "where the API answers (127.0.0.1:4566)"},
    [FL_OPTION_REGION] = {"region", "REGION", KIND_TEXT, LISTENERS, true, true, "us-east-1",
                          "the installation's region (us-east-1)"},
    [FL_OPTION_ACCOUNT] = {"account", "ID", KIND_TEXT, ROLES, true, true, "000000000000",
                           "12 digits (000000000000)"},
    [FL_OPTION_CPU_UNITS] = {"cpu-units", "N", KIND_NUMBER, FL_COMMAND_UP | FL_COMMAND_AGENT, true,
                             true, "", "CPU units this host offers (1024 per CPU)"},
    [FL_OPTION_MEMORY_MIB] = {"memory-mib", "N", KIND_NUMBER, FL_COMMAND_UP | FL_COMMAND_AGENT,
                              true, true, "", "MiB this host offers (what it has)"},
    [FL_OPTION_METADATA_PORT] = {"metadata-port", "PORT", KIND_NUMBER,
                                 FL_COMMAND_UP | FL_COMMAND_AGENT, true, true, "",
                                 "where the agent serves tasks' metadata (51679, or a free one)"},
    [FL_OPTION_INTROSPECTION_PORT] = {"introspection-port", "PORT", KIND_NUMBER,
                                      FL_COMMAND_UP | FL_COMMAND_AGENT, true, true, "",
                                      "where the agent tells of itself (51678)"},
    [FL_OPTION_STRICT] = {"strict", NULL, KIND_SWITCH, FL_COMMAND_UP | FL_COMMAND_SERVER, true,
                          true, "",
                          "behave as ECS does and no better, its request limits included"},
    [FL_OPTION_SESSION_LIFE] = {"session-life", "SECONDS", KIND_NUMBER,
                                FL_COMMAND_UP | FL_COMMAND_SERVER, true, true, "",
                                "agents' connections are renewed after this time (1800)"},
    [FL_OPTION_LOGS_MAX] = {"logs-max-mib", "N", KIND_NUMBER, FL_COMMAND_UP | FL_COMMAND_SERVER,
                            true, true, "",
                            "disk that logs may take; the oldest go first (what can be spared)"},
    [FL_OPTION_TLS_LISTEN] = {"tls-listen", "ADDR:PORT", KIND_TEXT, SERVERS | FL_COMMAND_DOCTOR,
                              true, true, "",
                              "where agents on other hosts are met, over TLS (nowhere)"},
    [FL_OPTION_ADVERTISE] = {"advertise", "URL", KIND_TEXT, SERVERS, true, true, "",
                             "the URL that agents are told (by which they have come)"},
    [FL_OPTION_HEARTBEAT] = {"heartbeat", "SECONDS", KIND_NUMBER, SERVERS, true, true, "",
                             "agents that leave two heartbeats unanswered are gone (30)"},
    [FL_OPTION_KEY_LIFE] = {"key-life", "SECONDS", KIND_NUMBER, SERVERS, true, true, "",
                            "agents get another key after this time (86400)"},
    [FL_OPTION_CERTIFICATE_LIFE] = {"certificate-life", "SECONDS", KIND_NUMBER, SERVERS, true, true,
                                    "", "how long the server's certificate lives (a year)"},
    [FL_OPTION_SETTLE] = {"settle", "SECONDS", KIND_NUMBER, SERVERS, true, true, "",
                          "a service's task that nothing checks is healthy after this time "
                          "(2; 40 when strict)"},
    [FL_OPTION_LOST_AFTER] = {"lost-after", "SECONDS", KIND_NUMBER, SERVERS, true, true, "",
                              "services' tasks on a host that is away for so long are replaced; "
                              "0: never (120; 0 when strict)"},
    [FL_OPTION_SERVER] = {"server", "URL", KIND_TEXT, FL_COMMAND_AGENT, true, false, "",
                          "the server to join"},
    [FL_OPTION_TOKEN] = {"token", "T", KIND_TEXT, FL_COMMAND_AGENT, true, false, "",
                         "what `fairlead token create` printed; to join with, once"},
    [FL_OPTION_CLUSTER] = {"cluster", "NAME", KIND_TEXT, FL_COMMAND_AGENT | FL_COMMAND_EXPLAIN,
                           true, false, "", "the cluster to join, or to ask about (default)"},
    [FL_OPTION_NAME] = {"name", "NAME", KIND_TEXT, FL_COMMAND_AGENT, true, false, "",
                        "this host's name"},
    [FL_OPTION_ZONE] = {"zone", "ZONE", KIND_TEXT, FL_COMMAND_AGENT, true, false, "",
                        "its availability zone"},
    [FL_OPTION_INSTANCE_TYPE] = {"instance-type", "TYPE", KIND_TEXT, FL_COMMAND_AGENT, true, false,
                                 "", "its instance type"},
    [FL_OPTION_ECS_CONFIG] = {"ecs-config", "FILE", KIND_TEXT, FL_COMMAND_UP | FL_COMMAND_AGENT,
                              true, true, "",
                              "the ECS agent's settings (/etc/ecs/ecs.config, if it is there)"},
    [FL_OPTION_REGISTRIES] = {"registries", "FILE", KIND_TEXT, FL_COMMAND_UP | FL_COMMAND_AGENT,
                              true, true, "",
                              "mirrors and trust of registries (/etc/fairlead/registries.json, if "
                              "it is there)"},
    [FL_OPTION_ATTRIBUTE] = {"attribute", "NAME=VALUE", KIND_LIST, FL_COMMAND_AGENT, false, false,
                             "", "an attribute of this host; may be repeated"},
    [FL_OPTION_TASKS] = {"tasks", NULL, KIND_SWITCH, FL_COMMAND_DOWN, false, false, "",
                         "stop the tasks too"},
    [FL_OPTION_JSON] = {"json", NULL, KIND_SWITCH,
                        FL_COMMAND_STATUS | FL_COMMAND_DOCTOR | FL_COMMAND_EXPLAIN |
                            FL_COMMAND_IMAGE,
                        false, false, "", "answer in JSON"},
    [FL_OPTION_CLI_INPUT_JSON] = {"cli-input-json", "FILE", KIND_TEXT, FL_COMMAND_EXPLAIN, false,
                                  false, "", "the call to explain, as `aws ecs run-task` takes it"},
    [FL_OPTION_EXPIRES] = {"expires", "TIME", KIND_TEXT, FL_COMMAND_TOKEN, false, false, "24h",
                           "how long it is good: 30m, 24h, 7d, never (24h)"},
    [FL_OPTION_USES] = {"uses", "N", KIND_NUMBER, FL_COMMAND_TOKEN, false, false, "1",
                        "how many hosts may join with it (1)"},
    [FL_OPTION_YES] = {"yes", NULL, KIND_SWITCH, FL_COMMAND_UNINSTALL, false, false, "",
                       "do not ask"},
    [FL_OPTION_KEEP_DATA] = {"keep-data", NULL, KIND_SWITCH, FL_COMMAND_UNINSTALL, false, false, "",
                             "leave the data directory for a later `up`"},
};

/* Commands that take more than options, and what: a line for each way to call them. */
static const struct {
    enum fl_command command;
    const char *operands;
} with_operands[] = {
    {FL_COMMAND_EXPLAIN, "task|service|definition NAME\nrun-task --cli-input-json=FILE"},
    {FL_COMMAND_IMAGE,
     "load FILE|DIR [NAME[:TAG]]\nls\npull NAME[:TAG]|NAME@DIGEST\nrm NAME[:TAG]"},
    {FL_COMMAND_BACKUP, "FILE"},
    {FL_COMMAND_RESTORE, "FILE"},
    {FL_COMMAND_STORE, "check [FILE]"},
    {FL_COMMAND_TOKEN, "create\nls\nrm ID"},
};

static const char *operands_of(enum fl_command command)
{
    for (size_t i = 0; i < FL_ARRAY_SIZE(with_operands); i++) {
        if (with_operands[i].command == command)
            return with_operands[i].operands;
    }
    return NULL;
}

/* argp's keys start above the characters, so that no option has a short form by accident. */
enum { KEY_BASE = 0x1000 };

static _Noreturn void refuse(const char *fmt, ...) FL_PRINTF(1, 2);

static void refuse(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    (void)fputs("fairlead: ", stderr);
    (void)vfprintf(stderr, fmt, args);
    (void)fputc('\n', stderr);
    va_end(args);
    exit(2);
}

static void take_operand(struct fl_options *options, const char *operand, struct argp_state *state)
{
    if (!options->takes_operands || options->operand_count == FL_OPTIONS_MAX_OPERANDS)
        argp_error(state, "unexpected argument \"%s\"", operand);
    options->operands[options->operand_count++] = operand;
}

static error_t take(int key, char *arg, struct argp_state *state)
{
    struct fl_options *options = state->input;
    if (key == ARGP_KEY_ARG)
        take_operand(options, arg, state);
    if (key == ARGP_KEY_ARG)
        return 0;
    if (key < KEY_BASE || key >= KEY_BASE + FL_OPTION_COUNT)
        return ARGP_ERR_UNKNOWN;
    enum fl_option which = (enum fl_option)(key - KEY_BASE);
    options->given[which] = true;
    if (rows[which].kind == KIND_LIST) {
        if (options->attribute_count == FL_OPTIONS_MAX_ATTRIBUTES)
            argp_error(state, "more than %d attributes", FL_OPTIONS_MAX_ATTRIBUTES);
        options->attributes[options->attribute_count++] = fl_str_of(arg);
    } else {
        options->value[which] = arg ? fl_str_of(arg) : FL_STR("1");
    }
    return 0;
}

static void read_flags(enum fl_command command, const char *summary, int argc, char **argv,
                       struct fl_options *options)
{
    struct argp_option accepted[FL_OPTION_COUNT + 1] = {0};
    size_t n = 0;
    for (int i = 0; i < FL_OPTION_COUNT; i++) {
        if (rows[i].commands & command)
            accepted[n++] = (struct argp_option){.name = rows[i].name,
                                                 .key = KEY_BASE + i,
                                                 .arg = rows[i].argument,
                                                 .doc = rows[i].doc};
    }
    const struct argp argp = {
        .options = accepted, .parser = take, .args_doc = operands_of(command), .doc = summary};
    char name[64];
    (void)snprintf(name, sizeof(name), "fairlead %s", argv[0]);
    argv[0] = name;
    (void)argp_parse(&argp, argc, argv, 0, NULL, options);
}

static void read_environment(struct fl_options *options)
{
    for (int i = 0; i < FL_OPTION_COUNT; i++) {
        if (options->given[i] || !rows[i].environment)
            continue;
        char name[64];
        (void)snprintf(name, sizeof(name), "FAIRLEAD_%s", rows[i].name);
        for (char *p = name; *p; p++)
            *p = *p == '-' ? '_' : (char)toupper((unsigned char)*p);
        const char *value = getenv(name);
        if (!value || !*value || (rows[i].kind == KIND_SWITCH && strcmp(value, "0") == 0))
            continue;
        options->value[i] = fl_str_dup(options->arena, fl_str_of(value));
        options->given[i] = true;
    }
}

/* What does not exist yet keeps the name it was given; the part that exists is made canonical, so
 * that one directory has one name. */
static void make_data_dir_absolute(struct fl_options *options)
{
    struct fl_str *dir = &options->value[FL_OPTION_DATA_DIR];
    char real[PATH_MAX];
    const char *text = fl_str_z(options->arena, *dir);
    if (realpath(text, real)) {
        *dir = fl_str_dup(options->arena, fl_str_of(real));
    } else {
        if (text[0] != '/') {
            if (!getcwd(real, sizeof(real)))
                refuse("the current directory has no path; give --data-dir an absolute one");
            *dir = fl_str_printf(options->arena, "%s/%s", real, text);
        }
        while (dir->n > 1 && dir->p[dir->n - 1] == '/')
            *dir = fl_str_dup(options->arena, fl_str_sub(*dir, 0, dir->n - 1));
        ptrdiff_t slash = fl_str_rindex(*dir, '/');
        struct fl_str name = fl_str_from(*dir, (size_t)slash + 1);
        const char *parent = fl_str_z(options->arena, fl_str_sub(*dir, 0, (size_t)slash + 1));
        if (realpath(parent, real))
            *dir = fl_str_printf(options->arena, "%s/%.*s", strcmp(real, "/") == 0 ? "" : real,
                                 FL_STR_ARG(name));
    }
    if (fl_str_is(*dir, "/") || dir->n > 200)
        refuse("--data-dir must name a directory of its own, with a path of at most 200 bytes");
}

/* A daemon has another directory than who starts it. */
static void make_absolute(struct fl_options *options, enum fl_option which)
{
    struct fl_str *path = &options->value[which];
    char dir[PATH_MAX];
    if (path->n == 0 || path->p[0] == '/')
        return;
    if (!getcwd(dir, sizeof(dir)))
        refuse("the current directory has no path; give --%s an absolute one", rows[which].name);
    *path = fl_str_printf(options->arena, "%s/%.*s", dir, FL_STR_ARG(*path));
}

/* An unreadable file says nothing: ordinary users may ask for help without root's directory. */
void fl_options_read_remembered(struct fl_options *options, const char *dir)
{
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(64 * 1024);
    struct fl_str path = fl_str_printf(options->arena, "%s/options.json", dir);
    if (fl_fs_read(AT_FDCWD, path.p, text.max, &text) < 0)
        return;
    const struct fl_json *root = fl_json_read(fl_buf_str(&text), options->arena, NULL);
    for (int i = 0; i < FL_OPTION_COUNT; i++) {
        struct fl_str value = fl_json_text(fl_json_get(root, rows[i].name));
        if (rows[i].remembered && !options->given[i] && value.n > 0)
            options->value[i] = fl_str_dup(options->arena, value);
    }
}

static bool is_made_of(struct fl_str s, const char *extra)
{
    for (size_t i = 0; i < s.n; i++) {
        if (!isalnum((unsigned char)s.p[i]) && !strchr(extra, s.p[i]))
            return false;
    }
    return s.n > 0;
}

static void validate(const struct fl_options *options)
{
    struct fl_str host;
    uint16_t port;
    struct fl_str account = options->value[FL_OPTION_ACCOUNT];
    uint64_t digits;
    if (!fl_options_split_listen(options->value[FL_OPTION_LISTEN], &host, &port))
        refuse("--listen wants ADDR:PORT, as in 127.0.0.1:4566");
    struct fl_str tls = options->value[FL_OPTION_TLS_LISTEN];
    if (tls.n && !fl_options_split_listen(tls, &host, &port))
        refuse("--tls-listen wants ADDR:PORT, as in 0.0.0.0:4567");
    struct fl_str url = options->value[FL_OPTION_ADVERTISE];
    if (url.n && !fl_str_starts(url, FL_STR("http://")) && !fl_str_starts(url, FL_STR("https://")))
        refuse("--advertise wants a URL, as in https://fairlead.example:4567");
    if (account.n != 12 || !fl_str_to_u64(account, &digits))
        refuse("--account wants 12 digits");
    if (!is_made_of(options->value[FL_OPTION_REGION], "-") ||
        options->value[FL_OPTION_REGION].n > 32)
        refuse("--region wants letters, digits and dashes");
    for (int i = 0; i < FL_OPTION_COUNT; i++) {
        uint64_t number;
        if (rows[i].kind == KIND_NUMBER && options->value[i].n > 0 &&
            (!fl_str_to_u64(options->value[i], &number) || number == 0 || number > INT32_MAX))
            refuse("--%s wants a number from 1 to %d", rows[i].name, INT32_MAX);
    }
    if (fl_options_number(options, FL_OPTION_METADATA_PORT) > UINT16_MAX ||
        fl_options_number(options, FL_OPTION_INTROSPECTION_PORT) > UINT16_MAX)
        refuse("a port is a number from 1 to %d", UINT16_MAX);
}

void fl_options_parse(enum fl_command command, const char *summary, int argc, char **argv,
                      struct fl_arena *arena, struct fl_options *ret_options)
{
    *ret_options = (struct fl_options){.arena = arena, .takes_operands = operands_of(command)};
    read_flags(command, summary, argc, argv, ret_options);
    read_environment(ret_options);
    if (!ret_options->given[FL_OPTION_DATA_DIR])
        ret_options->value[FL_OPTION_DATA_DIR] = fl_str_of(default_data_dir);
    make_data_dir_absolute(ret_options);
    make_absolute(ret_options, FL_OPTION_ECS_CONFIG);
    make_absolute(ret_options, FL_OPTION_REGISTRIES);
    fl_options_read_remembered(ret_options, ret_options->value[FL_OPTION_DATA_DIR].p);
    for (int i = 0; i < FL_OPTION_COUNT; i++) {
        if (ret_options->value[i].n == 0)
            ret_options->value[i] = fl_str_of(rows[i].standard);
    }
    validate(ret_options);
}

void fl_options_refuse_operands(enum fl_command command, const char *name)
{
    const char *line = operands_of(command);
    for (const char *head = "usage:"; line; head = "   or:") {
        const char *end = strchrnul(line, '\n');
        (void)fprintf(stderr, "%s fairlead %s %.*s\n", head, name, (int)(end - line), line);
        line = *end ? end + 1 : NULL;
    }
    exit(2);
}

uint64_t fl_options_number(const struct fl_options *options, enum fl_option which)
{
    uint64_t number = 0;
    (void)fl_str_to_u64(options->value[which], &number);
    return number;
}

bool fl_options_on(const struct fl_options *options, enum fl_option which)
{
    return options->value[which].n > 0;
}

const char *fl_options_name(enum fl_option which)
{
    return rows[which].name;
}

bool fl_options_is_remembered(enum fl_option which)
{
    return rows[which].remembered;
}

bool fl_options_split_listen(struct fl_str listen, struct fl_str *ret_host, uint16_t *ret_port)
{
    ptrdiff_t colon = fl_str_rindex(listen, ':');
    if (colon <= 0)
        return false;
    struct fl_str host = fl_str_sub(listen, 0, (size_t)colon);
    uint64_t port;
    if (!fl_str_to_u64(fl_str_from(listen, (size_t)colon + 1), &port) || port == 0 || port > 65535)
        return false;
    if (host.p[0] == '[') {
        if (host.n < 3 || host.p[host.n - 1] != ']')
            return false;
        host = fl_str_sub(host, 1, host.n - 2);
    }
    if (!is_made_of(host, ".:-"))
        return false;
    *ret_host = host;
    *ret_port = (uint16_t)port;
    return true;
}

struct fl_str fl_options_endpoint(const struct fl_options *options)
{
    struct fl_str host = {0};
    uint16_t port = 0;
    bool ok = fl_options_split_listen(options->value[FL_OPTION_LISTEN], &host, &port);
    FL_ASSERT(ok);
    if (fl_str_is(host, "0.0.0.0"))
        host = FL_STR("127.0.0.1");
    if (fl_str_is(host, "::"))
        host = FL_STR("::1");
    bool six = fl_str_index(host, ':') >= 0;
    return fl_str_printf(options->arena, "http://%s%.*s%s:%u", six ? "[" : "", FL_STR_ARG(host),
                         six ? "]" : "", port);
}

struct fl_str fl_options_data_dir_flag(const struct fl_options *options)
{
    struct fl_str dir = options->value[FL_OPTION_DATA_DIR];
    if (fl_str_is(dir, default_data_dir))
        return FL_STR("");
    return fl_str_printf(options->arena, " --data-dir %s", dir.p);
}
