/* The block is put at the file's end and replaced as a whole. Where /etc/hosts is a mount of its
 * own, as in containers, it cannot be replaced by a rename: then what is behind the unchanged
 * beginning is written over. Several installations take turns by a lock on the directory. */
#include "cli/hosts.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "wire/install.h"

enum { FILE_MAX = 1 << 20 };

static const char names[] = "127.0.0.1 api.fairlead.localhost stream-api.fairlead.localhost "
                            "data-api.fairlead.localhost";

static struct fl_str begin_mark(struct fl_arena *arena, struct fl_str data_dir)
{
    char tag[FL_INSTALL_TAG_SIZE];
    fl_install_tag(data_dir, tag);
    return fl_str_printf(arena, "# begin fairlead %s\n", tag);
}

static struct fl_str end_mark(struct fl_arena *arena, struct fl_str data_dir)
{
    char tag[FL_INSTALL_TAG_SIZE];
    fl_install_tag(data_dir, tag);
    return fl_str_printf(arena, "# end fairlead %s\n", tag);
}

static ptrdiff_t find(struct fl_str text, struct fl_str needle)
{
    const char *at = memmem(text.p, text.n, needle.p, needle.n);
    return at ? at - text.p : -1;
}

/* The text without the block. A block whose end somebody has removed is one line long. */
static struct fl_str without_block(struct fl_arena *arena, struct fl_str text,
                                   struct fl_str data_dir)
{
    struct fl_str begin = begin_mark(arena, data_dir), end = end_mark(arena, data_dir);
    ptrdiff_t at = find(text, begin);
    if (at < 0)
        return text;
    struct fl_str behind = fl_str_from(text, (size_t)at + begin.n);
    ptrdiff_t stop = find(behind, end);
    if (stop >= 0)
        behind = fl_str_from(behind, (size_t)stop + end.n);
    return fl_str_printf(arena, "%.*s%.*s", (int)at, text.p, FL_STR_ARG(behind));
}

static struct fl_str with_block(struct fl_arena *arena, struct fl_str text, struct fl_str data_dir)
{
    bool needs_line = text.n > 0 && text.p[text.n - 1] != '\n';
    return fl_str_printf(arena, "%.*s%s%.*s%s\n%.*s", FL_STR_ARG(text), needs_line ? "\n" : "",
                         FL_STR_ARG(begin_mark(arena, data_dir)), names,
                         FL_STR_ARG(end_mark(arena, data_dir)));
}

/* Writes what differs, from the first byte that does. */
static int write_over(const char *path, struct fl_str old, struct fl_str new)
{
    size_t same = 0;
    FL_CLEANUP_FD int fd = open(path, O_WRONLY | O_CLOEXEC);
    while (same < old.n && same < new.n &&old.p[same] == new.p[same])
        same++;
    if (fd < 0 || lseek(fd, (off_t)same, SEEK_SET) < 0)
        return -errno;
    int r = fl_fs_write_all(fd, new.p + same, new.n - same);
    if (r == 0 && ftruncate(fd, (off_t) new.n) < 0)
        r = -errno;
    return r;
}

static int replace(const char *path, struct fl_str old, struct fl_str new)
{
    struct stat st;
    if (stat(path, &st) < 0)
        return -errno;
    /* Everybody reads this file, whatever who calls us thinks of new ones. */
    mode_t mask = umask(0);
    int r = fl_fs_write_atomic(AT_FDCWD, path, new, st.st_mode & 07777);
    (void)umask(mask);
    return r == -EBUSY || r == -EXDEV || r == -EROFS || r == -EACCES ? write_over(path, old, new)
                                                                     : r;
}

/* Some systems keep the file elsewhere and link to it. */
static const char *real_path(struct fl_arena *arena, const char *path)
{
    char real[PATH_MAX];
    return realpath(path, real) ? fl_arena_memdup(arena, real, strlen(real)) : path;
}

/* Nobody else changes the file by this module until the descriptor is closed. */
static int lock_directory(struct fl_arena *arena, const char *path, int *ret_fd)
{
    struct fl_str dir = fl_str_of(path);
    dir = fl_str_sub(dir, 0, (size_t)FL_MAX(fl_str_rindex(dir, '/'), 1));
    FL_CLEANUP_FD int fd = open(fl_str_z(arena, dir), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || flock(fd, LOCK_EX) < 0)
        return -errno;
    *ret_fd = FL_TAKE_FD(fd);
    return 0;
}

static int change(struct fl_str data_dir, const char *path, bool wanted, struct fl_err *err)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(FILE_MAX);
    FL_CLEANUP_FD int lock = -1;
    path = real_path(arena, path);
    int r = lock_directory(arena, path, &lock);
    if (r == 0)
        r = fl_fs_read(AT_FDCWD, path, buf.max, &buf);
    if (r == -ENOENT && !wanted)
        return 0;
    if (r < 0)
        return fl_err_errno(err, r, "cannot read %s", path);
    struct fl_str old = fl_buf_str(&buf), new = without_block(arena, old, data_dir);
    if (wanted)
        new = with_block(arena, new, data_dir);
    if (fl_str_eq(old, new))
        return 0;
    r = replace(path, old, new);
    return r < 0 ? fl_err_errno(err, r, "cannot write %s", path) : 0;
}

static bool is_reached_by_name(const struct fl_options *options)
{
    struct fl_str host = {0};
    uint16_t port = 0;
    return fl_options_split_listen(options->value[FL_OPTION_LISTEN], &host, &port) &&
           (fl_str_is(host, "127.0.0.1") || fl_str_is(host, "0.0.0.0"));
}

int fl_hosts_add(const struct fl_options *options, const char *path, struct fl_err *err)
{
    return change(options->value[FL_OPTION_DATA_DIR], path, is_reached_by_name(options), err);
}

int fl_hosts_remove(struct fl_str data_dir, const char *path, struct fl_err *err)
{
    return change(data_dir, path, false, err);
}

struct fl_str fl_hosts_endpoint(const struct fl_options *options, const char *path)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(FILE_MAX);
    struct fl_str host = {0};
    uint16_t port = 0;
    if (!is_reached_by_name(options) ||
        fl_fs_read(AT_FDCWD, real_path(options->arena, path), buf.max, &buf) < 0 ||
        find(fl_buf_str(&buf), begin_mark(options->arena, options->value[FL_OPTION_DATA_DIR])) < 0)
        return fl_options_endpoint(options);
    (void)fl_options_split_listen(options->value[FL_OPTION_LISTEN], &host, &port);
    return fl_str_printf(options->arena, "http://api.fairlead.localhost:%u", port);
}
