/* Options of all subcommands, one table: flag, environment variable FAIRLEAD_<NAME>, what an
 * earlier `up` on the same data directory was told, default; the first that says something wins. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

enum fl_option {
    FL_OPTION_DATA_DIR,
    FL_OPTION_LISTEN,
    FL_OPTION_REGION,
    FL_OPTION_ACCOUNT,
    FL_OPTION_CPU_UNITS,
    FL_OPTION_MEMORY_MIB,
    FL_OPTION_METADATA_PORT,
    FL_OPTION_INTROSPECTION_PORT,
    FL_OPTION_STRICT,
    FL_OPTION_SESSION_LIFE,
    FL_OPTION_LOGS_MAX,
    FL_OPTION_TLS_LISTEN,
    FL_OPTION_ADVERTISE,
    FL_OPTION_HEARTBEAT,
    FL_OPTION_KEY_LIFE,
    FL_OPTION_CERTIFICATE_LIFE,
    FL_OPTION_SETTLE,
    FL_OPTION_LOST_AFTER,
    FL_OPTION_SERVER,
    FL_OPTION_TOKEN,
    FL_OPTION_CLUSTER,
    FL_OPTION_NAME,
    FL_OPTION_ZONE,
    FL_OPTION_INSTANCE_TYPE,
    FL_OPTION_ECS_CONFIG,
    FL_OPTION_REGISTRIES,
    FL_OPTION_ATTRIBUTE,
    FL_OPTION_TASKS,
    FL_OPTION_JSON,
    FL_OPTION_CLI_INPUT_JSON,
    FL_OPTION_YES,
    FL_OPTION_EXPIRES,
    FL_OPTION_USES,
    FL_OPTION_KEEP_DATA,
    FL_OPTION_COUNT,
};

/* Subcommands as bits: an option says which ones take it. */
enum fl_command {
    FL_COMMAND_UP = 1 << 0,
    FL_COMMAND_DOWN = 1 << 1,
    FL_COMMAND_ENV = 1 << 2,
    FL_COMMAND_STATUS = 1 << 3,
    FL_COMMAND_DOCTOR = 1 << 4,
    FL_COMMAND_UNINSTALL = 1 << 5,
    FL_COMMAND_SERVER = 1 << 6,
    FL_COMMAND_AGENT = 1 << 7,
    FL_COMMAND_EXPLAIN = 1 << 8,
    FL_COMMAND_IMAGE = 1 << 9,
    FL_COMMAND_BACKUP = 1 << 10,
    FL_COMMAND_RESTORE = 1 << 11,
    FL_COMMAND_STORE = 1 << 12,
    FL_COMMAND_TOKEN = 1 << 13,
};

enum { FL_OPTIONS_MAX_ATTRIBUTES = 64, FL_OPTIONS_MAX_OPERANDS = 3 };

struct fl_options {
    struct fl_arena *arena;               /* holds every text */
    struct fl_str value[FL_OPTION_COUNT]; /* NUL-terminated; a switch that is on is "1" */
    bool given[FL_OPTION_COUNT];          /* by flag or environment */
    struct fl_str attributes[FL_OPTIONS_MAX_ATTRIBUTES]; /* "name=value" of every --attribute */
    size_t attribute_count;
    bool takes_operands; /* the command does */
    const char *operands[FL_OPTIONS_MAX_OPERANDS];
    size_t operand_count;
};

/* Reads the command line. Wrong usage ends the process with status 2 and a line on stderr. The data
 * directory comes back absolute. Which operands make sense is the command's to say. */
void fl_options_parse(enum fl_command command, const char *summary, int argc, char **argv,
                      struct fl_arena *arena, struct fl_options *ret_options);
/* Takes what an `up` remembered in dir, for options that no flag or variable has set. */
void fl_options_read_remembered(struct fl_options *options, const char *dir);
/* Ends the process with status 2: the operands make no sense to the command. */
_Noreturn void fl_options_refuse_operands(enum fl_command command, const char *name);
/* Number of an option that is one; 0 when it is empty. */
uint64_t fl_options_number(const struct fl_options *options, enum fl_option which);
bool fl_options_on(const struct fl_options *options, enum fl_option which);

/* Name of the flag without the dashes ("data-dir"), and whether `up` remembers it. */
const char *fl_options_name(enum fl_option which);
bool fl_options_is_remembered(enum fl_option which);

/* "127.0.0.1:4566" or "[::1]:4566" in two; the host comes without brackets. */
bool fl_options_split_listen(struct fl_str listen, struct fl_str *ret_host, uint16_t *ret_port);
/* The URL at which this machine reaches a server that listens there, in the options' arena. */
struct fl_str fl_options_endpoint(const struct fl_options *options);
/* " --data-dir D" for printed commands, empty for the default directory. */
struct fl_str fl_options_data_dir_flag(const struct fl_options *options);
