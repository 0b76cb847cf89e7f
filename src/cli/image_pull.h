/* `fairlead image pull NAME`: has the agent of this machine pull an image, and shows how far it is.
 */
#pragma once

#include "base/str.h"

/* Returns the exit status: 0 pulled, 1 not (one line on stderr), 130 interrupted: the pull goes on.
 * json: nothing but the end, as an object. */
int fl_cli_image_pull(struct fl_str data_dir, struct fl_str name, bool json);
