/* `fairlead image load FILE|DIR [NAME[:TAG]]`, `image ls`, `image pull NAME`, `image rm
 * NAME[:TAG]`: the built-in registry's store, worked on directly (the server need not run), and
 * this host's agent. */
#pragma once

/* argv[0] is "image". Returns the exit status: 0, 1 after one line on stderr, 2 for wrong usage. */
int fl_cli_image(int argc, char **argv);
