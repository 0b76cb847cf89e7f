/* The name of an installation: several live side by side on one machine. Pure. */
#pragma once

#include "base/str.h"

#define FL_INSTALL_TAG_SIZE 9

/* "fl" and six hex digits of SHA-256 over the absolute path of the data directory, NUL-terminated:
 * what links, nftables tables, cgroups and blocks in files of this installation are called.
 * Trailing slashes do not count. */
void fl_install_tag(struct fl_str data_dir, char ret_tag[FL_INSTALL_TAG_SIZE]);
