/* Starting fairlead-unpack: its descriptors, arguments, and what it says. For both who waits
 * (load.c) and who has an event loop (src/agent/images.c). */
#pragma once

#include "base/err.h"
#include "base/str.h"
#include "image/digest.h"

/* What the helper writes to: memory files that cannot grow, so that it cannot fill memory. */
struct fl_unpack_channels {
    int report_fd;    /* paths of opaque directories, each ended by NUL */
    int complaint_fd; /* one sentence */
};

int fl_unpack_channels_open(struct fl_unpack_channels *ret_channels, struct fl_err *err);
void fl_unpack_channels_close(struct fl_unpack_channels *channels);

/* The sentence, made safe to print; never empty. In the arena. */
struct fl_str fl_unpack_complaint(const struct fl_unpack_channels *channels,
                                  struct fl_arena *arena);
/* Marks the reported directories beneath dir_fd as opaque for overlayfs. */
int fl_unpack_mark_opaque(const struct fl_unpack_channels *channels, int dir_fd,
                          struct fl_err *err);

/* "<libexec>/fairlead-unpack" in the arena. */
const char *fl_unpack_program(struct fl_str libexec_dir, struct fl_arena *arena);

/* Extracts an archive's files and links into an empty directory, waiting for the end. */
int fl_unpack_archive(struct fl_str libexec_dir, int archive_fd, int dir_fd, struct fl_err *err);
/* Tries a layer out in an empty directory, files without contents: 0 if it would unpack and its
 * digest is diff_id. */
int fl_unpack_check(struct fl_str libexec_dir, int archive_fd, int dir_fd,
                    const struct fl_digest *diff_id, struct fl_err *err);
