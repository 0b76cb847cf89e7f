/* `fairlead sim` by itself, with --bug N. */
#include "cli/cli.h"

int main(int argc, char **argv)
{
    return fl_cli_sim(argc, argv);
}
