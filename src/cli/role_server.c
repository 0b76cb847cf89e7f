/* `fairlead server`: the control plane in the foreground. */
#include <stdio.h>

#include "cli/cli.h"
#include "cli/install.h"
#include "server/server.h"

#define MAX_LIFE_S UINT64_C(86400)

/* A time that an option gives in seconds. */
static int64_t milliseconds(const struct fl_options *options, enum fl_option which)
{
    return (int64_t)fl_options_number(options, which) * 1000;
}

int fl_cli_server(int argc, char **argv)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_options options;
    fl_options_parse(FL_COMMAND_SERVER, "The control plane, in the foreground.", argc, argv, arena,
                     &options);
    struct fl_err err = {0};
    if (fl_install_prepare(&options, &err) < 0 ||
        fl_install_make_keys(options.value[FL_OPTION_DATA_DIR], &err) < 0) {
        (void)fprintf(stderr, "fairlead: %s\n", err.text);
        return 1;
    }
    const struct fl_server_config config = {
        .data_dir = options.value[FL_OPTION_DATA_DIR],
        .listen = options.value[FL_OPTION_LISTEN],
        .tls_listen = options.value[FL_OPTION_TLS_LISTEN],
        .advertise = options.value[FL_OPTION_ADVERTISE],
        .region = options.value[FL_OPTION_REGION],
        .account = options.value[FL_OPTION_ACCOUNT],
        .strict = fl_options_on(&options, FL_OPTION_STRICT),
        .logs_max_bytes = (int64_t)fl_options_number(&options, FL_OPTION_LOGS_MAX) * 1024 * 1024,
        .heartbeat_ms = milliseconds(&options, FL_OPTION_HEARTBEAT),
        .key_life_ms = milliseconds(&options, FL_OPTION_KEY_LIFE),
        .certificate_life_ms = milliseconds(&options, FL_OPTION_CERTIFICATE_LIFE),
        .session_life_ms =
            (int64_t)FL_MIN(fl_options_number(&options, FL_OPTION_SESSION_LIFE), MAX_LIFE_S) * 1000,
    };
    return fl_server_run(&config);
}
