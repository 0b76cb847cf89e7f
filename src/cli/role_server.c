/* `fairlead server`: the control plane in the foreground. */
#include <stdio.h>

#include "cli/cli.h"
#include "cli/install.h"
#include "core/core.h"
#include "server/server.h"

#define MAX_LIFE_S UINT64_C(86400)
enum { SETTLE_MS = 2 * 1000, LOST_AFTER_MS = 120 * 1000 };

/* A time that an option gives in seconds. */
static int64_t milliseconds(const struct fl_options *options, enum fl_option which)
{
    return (int64_t)fl_options_number(options, which) * 1000;
}

/* As it was said, else ECS's value for a strict server, else ours. */
static int64_t milliseconds_or(const struct fl_options *options, enum fl_option which,
                               int64_t strict_ms, int64_t ours_ms)
{
    if (options->value[which].n)
        return milliseconds(options, which);
    return fl_options_on(options, FL_OPTION_STRICT) ? strict_ms : ours_ms;
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
        .settle_ms =
            milliseconds_or(&options, FL_OPTION_SETTLE, FL_CORE_STRICT_SETTLE_MS, SETTLE_MS),
        .lost_after_ms = milliseconds_or(&options, FL_OPTION_LOST_AFTER, 0, LOST_AFTER_MS),
        .logs_max_bytes = (int64_t)fl_options_number(&options, FL_OPTION_LOGS_MAX) * 1024 * 1024,
        .heartbeat_ms = milliseconds(&options, FL_OPTION_HEARTBEAT),
        .key_life_ms = milliseconds(&options, FL_OPTION_KEY_LIFE),
        .certificate_life_ms = milliseconds(&options, FL_OPTION_CERTIFICATE_LIFE),
        .session_life_ms =
            (int64_t)FL_MIN(fl_options_number(&options, FL_OPTION_SESSION_LIFE), MAX_LIFE_S) * 1000,
    };
    return fl_server_run(&config);
}
