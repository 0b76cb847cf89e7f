/* fairlead-unpack: the program that reads foreign archives.
 *
 * Descriptors at start: 0 anything, 1 the report (paths of opaque directories, each ended by NUL),
 * 2 the complaint (one sentence, if the exit status is not 0), 3 the archive, 4 the directory to
 * fill, which is empty and private. It confines itself to that directory before it looks at the
 * first byte of the archive. What it leaves after a refusal is the caller's to remove.
 *
 * SIGURG has it hold still until SIGCONT comes, a second at most. Sent too early, when the program
 * has only begun, it does nothing. */
#pragma once

#include <archive.h>
#include <archive_entry.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

enum { FL_UNPACK_REPORT_FD = 1, FL_UNPACK_ARCHIVE_FD = 3, FL_UNPACK_DIR_FD = 4 };

enum {
    FL_UNPACK_PATH_MAX = 4096,
    FL_UNPACK_DEPTH_MAX = 256,
    FL_UNPACK_RATIO_MAX = 1000,
    FL_UNPACK_RATIO_FROM = 100 << 20, /* bytes; smaller archives may be as dense as they like */
};

struct fl_unpack_limits {
    uint64_t bytes; /* unpacked, holes included */
    uint64_t entries;
};

/* Moves into the directory, gives up every privilege that unpacking does not need, and filters
 * system calls. owners: keep what is needed to give files away and to make devices. */
int fl_confine(bool owners, uint64_t file_bytes_max, struct fl_err *err);

/* The archive's bytes, decompressed (gzip, zstd, or as they are), from a file or a pipe. */
struct fl_plain;
int fl_plain_open(int fd, struct fl_plain **ret_plain, struct fl_err *err);
/* 1 with some bytes (at least one, valid until the next call), 0 at the end. */
int fl_plain_next(struct fl_plain *plain, const void **ret_bytes, size_t *ret_n,
                  struct fl_err *err);
/* Bytes of the archive read so far. */
uint64_t fl_plain_packed(const struct fl_plain *plain);
void fl_plain_close(struct fl_plain *plain);
/* libarchive's words about its last failure, if it has any; static buffer. */
const char *fl_archive_reason(struct archive *archive);

/* The same, counted and hashed on their way into the tar reader. */
struct fl_tar;
int fl_tar_open(int fd, const struct fl_unpack_limits *limits, struct fl_tar **ret_tar,
                struct fl_err *err);
/* 1 with the next entry, 0 at the end. */
int fl_tar_next(struct fl_tar *tar, struct archive_entry **ret_entry, struct fl_err *err);
/* 1 with a run of the entry's data, 0 at its end. */
int fl_tar_data(struct fl_tar *tar, const void **ret_bytes, size_t *ret_n, int64_t *ret_offset,
                struct fl_err *err);
/* Reads to the end of the stream. The hex digest of all of it (65 bytes). */
int fl_tar_finish(struct fl_tar *tar, char ret_hex[65], struct fl_err *err);
void fl_tar_close(struct fl_tar *tar);

/* A path inside the archive, cut into its directory and its last component. */
struct fl_member {
    char path[FL_UNPACK_PATH_MAX + 1]; /* clean: no "", ".", ".."; "" for the root itself */
    const char *name;                  /* last component, inside path */
    size_t parent_n;                   /* bytes of path before the name and its slash */
};

/* Refuses "..", overlong and overdeep paths; leading slashes go. */
int fl_member_parse(const char *text, struct fl_member *ret_member, struct fl_err *err);

/* Where entries go; knows the directory it was in last. */
struct fl_tree;
/* root_fd: the directory to fill, the caller's. discard: files stay empty; for trying a layer out.
 * The working directory is the tree's to change while entries are put. */
struct fl_tree *fl_tree_new(int root_fd, bool owners, bool discard);
void fl_tree_free(struct fl_tree *tree);
/* Descriptor (the tree's) of the directory that path[0..n) names, made if missing. Never leaves
 * the root: links that are absolute or lead out are refused. */
int fl_tree_enter(struct fl_tree *tree, const char *path, size_t n, int *ret_fd,
                  struct fl_err *err);
/* Puts one entry in place, its data read from tar. */
int fl_tree_put(struct fl_tree *tree, struct fl_tar *tar, struct archive_entry *entry,
                struct fl_err *err);
/* Gives the directories their times, writes the report to report_fd. */
int fl_tree_finish(struct fl_tree *tree, int report_fd, struct fl_err *err);

/* Owner, mode, extended attributes and time of what was just made. */
int fl_meta_apply(int dir_fd, const char *name, struct archive_entry *entry, bool owners,
                  struct fl_err *err);
int fl_meta_times(int dir_fd, const char *name, int64_t seconds, long nanoseconds);
/* name with whatever could not be printed on one line replaced; static buffer. */
const char *fl_printable(const char *text);
