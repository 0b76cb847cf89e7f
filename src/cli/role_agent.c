/* `fairlead agent`: a host's agent in the foreground. */
#include <errno.h>
#include <stdio.h>

#include "agent/agent.h"
#include "cli/cli.h"
#include "cli/install.h"

/* What --token says, else the machine's key, if a server keeps its data here; a host that has
 * joined needs neither. */
static int find_admission(const struct fl_options *options, struct fl_admission *ret_admission,
                          struct fl_err *err)
{
    struct fl_str token = options->value[FL_OPTION_TOKEN];
    if (token.n)
        return fl_admission_read(token, ret_admission, err);
    *ret_admission = (struct fl_admission){0};
    (void)fl_install_read_key(options->value[FL_OPTION_DATA_DIR], "agent", options->arena,
                              &ret_admission->machine_key, NULL);
    return 0;
}

int fl_cli_agent(int argc, char **argv)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_options options;
    fl_options_parse(FL_COMMAND_AGENT, "A host's agent, in the foreground.", argc, argv, arena,
                     &options);
    struct fl_err err = {0};
    struct fl_admission admission;
    int r = fl_install_prepare(&options, &err);
    if (r == 0)
        r = find_admission(&options, &admission, &err);
    if (r < 0) {
        (void)fprintf(stderr, "fairlead: %s\n", err.text);
        return 1;
    }
    struct fl_str url = options.value[FL_OPTION_SERVER];
    const struct fl_agent_config config = {
        .data_dir = options.value[FL_OPTION_DATA_DIR],
        .server_url = url.n > 0 ? url : fl_options_endpoint(&options),
        .admission = admission,
        .region = options.value[FL_OPTION_REGION],
        .account = options.value[FL_OPTION_ACCOUNT],
        .cluster = options.value[FL_OPTION_CLUSTER],
        .name = options.value[FL_OPTION_NAME],
        .zone = options.value[FL_OPTION_ZONE],
        .instance_type = options.value[FL_OPTION_INSTANCE_TYPE],
        .attributes = options.attributes,
        .attribute_count = options.attribute_count,
        .cpu_units = (int64_t)fl_options_number(&options, FL_OPTION_CPU_UNITS),
        .ecs_config = options.value[FL_OPTION_ECS_CONFIG],
        .memory_mib = (int64_t)fl_options_number(&options, FL_OPTION_MEMORY_MIB),
        .metadata_port = (uint16_t)fl_options_number(&options, FL_OPTION_METADATA_PORT),
        .introspection_port = (uint16_t)fl_options_number(&options, FL_OPTION_INTROSPECTION_PORT),
    };
    return fl_agent_run(&config);
}
