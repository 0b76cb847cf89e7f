/* `fairlead restore FILE`: what a backup holds becomes an installation's. Everything is looked
 * through before anything is in place, and server.db comes last: without it nothing is restored. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "cli/archive.h"
#include "cli/cli.h"
#include "cli/daemons.h"
#include "cli/install.h"
#include "cli/store_check.h"

/* Agents obey no epoch below the highest they saw; the server that was may have been started this
 * often since the backup. */
enum { EPOCH_LEAP = 1 << 16 };

static int refuse_occupied(struct fl_str data_dir, int dir, struct fl_err *err)
{
    static const char *const names[] = {"server.db", "server.db-wal", "logs.db", "logs.db-wal"};
    FL_CLEANUP_DAEMON struct fl_daemon server = fl_daemon_find(data_dir, "server");
    if (server.pid > 0)
        return fl_err_set(err, -EBUSY, "a server runs on %s: `fairlead down --data-dir %s` first",
                          data_dir.p, data_dir.p);
    for (size_t i = 0; i < FL_ARRAY_SIZE(names); i++) {
        if (faccessat(dir, names[i], F_OK, AT_SYMLINK_NOFOLLOW) == 0)
            return fl_err_set(err, -EEXIST,
                              "%s holds %s already: move what it keeps away, or restore into "
                              "another --data-dir",
                              data_dir.p, names[i]);
    }
    return 0;
}

/* What `restore` itself, or an earlier attempt, has made empty gives way; nothing else does. */
static int clear(int from, int to, const char *name, struct fl_err *err)
{
    (void)from;
    (void)unlinkat(to, name, AT_REMOVEDIR);
    if (faccessat(to, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
        return fl_err_set(err, -EEXIST,
                          "the data directory holds %s already: move it away, or restore into "
                          "another --data-dir",
                          name);
    return 0;
}

static int move(int from, int to, const char *name, struct fl_err *err)
{
    if (renameat2(from, name, to, name, RENAME_NOREPLACE) < 0)
        return fl_err_errno(err, -errno, "cannot put %s into place", name);
    return 0;
}

/* Everything but server.db. */
static int each_entry(int from, int to, int (*act)(int, int, const char *, struct fl_err *),
                      struct fl_err *err)
{
    FL_CLEANUP_FD int copy = openat(from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *list = copy < 0 ? NULL : fdopendir(copy);
    if (!list)
        return fl_err_errno(err, -errno, "cannot list what was unpacked");
    (void)FL_TAKE_FD(copy);
    int r = 0;
    for (struct dirent *entry = readdir(list); entry && r == 0; entry = readdir(list)) {
        const char *name = entry->d_name;
        if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0 && strcmp(name, "server.db") != 0)
            r = act(from, to, name, err);
    }
    (void)closedir(list);
    return r;
}

static int move_all(int from, int to, struct fl_err *err)
{
    (void)unlinkat(from, "server.db.lock", 0);
    (void)unlinkat(from, "logs.db.lock", 0);
    int r = each_entry(from, to, clear, err);
    if (r == 0)
        r = each_entry(from, to, move, err);
    if (r == 0 && syncfs(to) < 0)
        r = fl_err_errno(err, -errno, "cannot sync what was restored");
    if (r == 0)
        r = move(from, to, "server.db", err);
    return r == 0 && fsync(to) < 0 ? fl_err_errno(err, -errno, "cannot sync") : r;
}

/* The region and account that the records are of are the backup's, whatever the flags say. */
static int check_unpacked(const struct fl_options *options, const char *dir, struct fl_err *err)
{
    struct fl_options own = *options;
    fl_options_read_remembered(&own, dir);
    return fl_store_check(&own, dir, EPOCH_LEAP, err);
}

static int restore(const struct fl_options *options, const char *file, struct fl_err *err)
{
    struct fl_str data_dir = options->value[FL_OPTION_DATA_DIR];
    const char *unpacked = fl_str_printf(options->arena, "%s/restore", data_dir.p).p;
    FL_CLEANUP_FD int lock = -1;
    int r = fl_install_prepare(options, err);
    if (r == 0)
        r = fl_install_lock(data_dir, &lock, err);
    if (r < 0)
        return r;
    FL_CLEANUP_FD int dir = open(data_dir.p, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    r = dir < 0 ? fl_err_errno(err, -errno, "cannot open %s", data_dir.p)
                : refuse_occupied(data_dir, dir, err);
    if (r < 0)
        return r;
    r = fl_fs_remove_tree(dir, "restore");
    if (r < 0 || mkdirat(dir, "restore", 0700) < 0)
        return fl_err_errno(err, r < 0 ? r : -errno, "cannot make %s", unpacked);
    FL_CLEANUP_FD int from = openat(dir, "restore", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    r = fl_archive_unpack(file, unpacked, options->arena, err);
    if (r == 0)
        r = check_unpacked(options, unpacked, err);
    if (r == 0)
        r = move_all(from, dir, err);
    (void)fl_fs_remove_tree(dir, "restore");
    return r;
}

int fl_cli_restore(int argc, char **argv)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_options options;
    struct fl_err err = {0};
    fl_options_parse(
        FL_COMMAND_RESTORE,
        "Makes the data directory what it was when FILE was made by `fairlead backup`; "
        "it must hold no records.",
        argc, argv, arena, &options);
    if (options.operand_count != 1)
        fl_options_refuse_operands(FL_COMMAND_RESTORE, "restore");
    if (geteuid() != 0) {
        (void)fputs("fairlead: restore needs root: run `sudo fairlead restore`\n", stderr);
        return 1;
    }
    if (restore(&options, options.operands[0], &err) < 0) {
        (void)fprintf(stderr, "fairlead: %s\n", err.text);
        return 1;
    }
    (void)printf("restored into %s; `fairlead up%s` starts it\n",
                 options.value[FL_OPTION_DATA_DIR].p, fl_options_data_dir_flag(&options).p);
    return 0;
}
