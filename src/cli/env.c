/* `fairlead env`: lines for eval, and nothing else on stdout. */
#include <stdio.h>

#include "cli/cli.h"
#include "cli/install.h"
#include "cli/userenv.h"

int fl_cli_env(int argc, char **argv)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_options options;
    fl_options_parse(FL_COMMAND_ENV, "Prints what a client needs: eval \"$(fairlead env)\"", argc,
                     argv, arena, &options);
    struct fl_credentials key;
    struct fl_err err = {0};
    struct fl_str text;
    if (fl_install_read_key(options.value[FL_OPTION_DATA_DIR], "operator", arena, &key, &err) ==
        0) {
        text = fl_userenv_text(&options, &key);
    } else if (fl_userenv_read(&options, &text) < 0) {
        (void)fprintf(stderr, "fairlead: no credentials here: run `sudo fairlead up%s` first\n",
                      fl_options_data_dir_flag(&options).p);
        return 1;
    }
    (void)fwrite(text.p, 1, text.n, stdout);
    return 0;
}
