/* Files. Everything is opened CLOEXEC. Not for core or task. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/str.h"

/* Reads a whole file of at most max bytes, following no final symlink, into buf (appended).
 * -EFBIG beyond max. */
int fl_fs_read(int dir_fd, const char *path, size_t max, struct fl_buf *buf);
/* Replaces a file atomically: temporary beside it, fsync, rename, fsync of the directory. */
int fl_fs_write_atomic(int dir_fd, const char *path, struct fl_str bytes, mode_t mode);
/* The same without any fsync, for what need not survive a power cut. */
int fl_fs_write_fast(int dir_fd, const char *path, struct fl_str bytes, mode_t mode);
/* mkdir -p; 0 when it exists already. */
int fl_fs_mkdirs(const char *path, mode_t mode);
/* The same, for what shall survive a power cut. Those that exist are synced into their parents too:
 * who made them may not have lived to do it. */
int fl_fs_mkdirs_synced(const char *path, mode_t mode);
/* Removes name beneath dir_fd with everything in it: never follows a symlink, never crosses into
 * another file system (-EXDEV), however deep it is. 0 when it does not exist. */
int fl_fs_remove_tree(int dir_fd, const char *name);
/* Writes all n bytes, going on after EINTR and short writes. */
int fl_fs_write_all(int fd, const void *bytes, size_t n);
