/* The file that `fairlead backup` makes: a tar archive of what the server keeps. Its first member
 * backup.json says how it was made and the digests of the two databases; blobs of images are named
 * by theirs. Not in it: what belongs to hosts (agent/), what daemons wrote to log/. */
#pragma once

#include "base/err.h"
#include "base/str.h"

/* Packs <data-dir>, databases and images from the copies in <data-dir>/backup, into file (0600;
 * replaced when it is whole and synced). */
int fl_archive_pack(struct fl_str data_dir, const char *file, struct fl_arena *arena,
                    struct fl_err *err);
/* Unpacks into dir, an empty directory of root's, and compares digests. What is not a plain file
 * or a directory is refused. */
int fl_archive_unpack(const char *file, const char *dir, struct fl_arena *arena,
                      struct fl_err *err);
