/* `fairlead backup FILE`: what the server keeps, in one file, while it serves or not. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "cli/archive.h"
#include "cli/cli.h"
#include "cli/daemons.h"
#include "cli/install.h"
#include "cli/operator.h"
#include "image/store.h"
#include "store/logs_store.h"

enum { TIMEOUT_MS = 12 * 60 * 60 * 1000 };

/* The copies are made by the one who owns the files: by the server if it runs, else by us. */
static int ask_server(const struct fl_options *options, struct fl_err *err)
{
    struct fl_operator caller;
    const struct fl_json *answer;
    int r = fl_operator_open(options, &caller, err);
    return r < 0 ? r
                 : fl_operator_send(&caller, "Fairlead_20261120.Backup", FL_STR("{}"), TIMEOUT_MS,
                                    &answer, err);
}

struct outcome {
    int status;
    struct fl_err err;
};

static void on_copied(void *context, int status, const struct fl_err *err)
{
    struct outcome *outcome = context;
    if (outcome->status < 0 || status == 0)
        return;
    outcome->status = status;
    outcome->err = *err;
}

static int copy_ourselves(const struct fl_options *options, struct fl_err *err)
{
    struct fl_arena *arena = options->arena;
    const char *dir = options->value[FL_OPTION_DATA_DIR].p;
    uv_loop_t loop;
    struct fl_store *store = NULL;
    struct fl_logs_store *logs = NULL;
    struct outcome outcome = {0};
    (void)uv_loop_init(&loop);
    int r = fl_store_open_sqlite(fl_str_printf(arena, "%s/server.db", dir).p, &loop, &store, err);
    if (r == 0)
        r = fl_logs_store_open(fl_str_printf(arena, "%s/logs.db", dir).p, &loop, &logs, err);
    if (r == 0) {
        fl_store_copy(store, fl_str_printf(arena, "%s/backup/server.db", dir).p, on_copied,
                      &outcome);
        fl_logs_store_copy(logs, fl_str_printf(arena, "%s/backup/logs.db", dir).p, on_copied,
                           &outcome);
        (void)uv_run(&loop, UV_RUN_DEFAULT);
        r = outcome.status;
        if (r < 0)
            *err = outcome.err;
    }
    fl_logs_store_close(logs);
    fl_store_close(store);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    (void)uv_loop_close(&loop);
    return r;
}

/* Images as they are at one moment: every reference packed leads to blobs that are, too, and pushes
 * need not wait for the packing. */
static int pack(const struct fl_options *options, const char *file, struct fl_err *err)
{
    FL_CLEANUP_IMAGE_STORE struct fl_image_store *images = NULL;
    struct fl_str data_dir = options->value[FL_OPTION_DATA_DIR];
    struct fl_str registry = fl_str_printf(options->arena, "%s/registry", data_dir.p);
    int r = fl_image_store_open(registry, true, &images, err);
    if (r == 0)
        r = fl_image_store_snapshot(
            images, fl_str_printf(options->arena, "%s/backup/registry", data_dir.p).p, err);
    return r < 0 ? r : fl_archive_pack(data_dir, file, options->arena, err);
}

static int make(const struct fl_options *options, const char *file, struct fl_err *err)
{
    struct fl_str data_dir = options->value[FL_OPTION_DATA_DIR];
    FL_CLEANUP_FD int lock = -1;
    int r = fl_install_check(data_dir, err);
    if (r == 0)
        r = fl_install_lock(data_dir, &lock, err);
    if (r < 0)
        return r;
    FL_CLEANUP_FD int dir = open(data_dir.p, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    FL_CLEANUP_DAEMON struct fl_daemon server = fl_daemon_find(data_dir, "server");
    r = dir < 0 ? -errno : fl_fs_remove_tree(dir, "backup");
    if (r == 0 && mkdirat(dir, "backup", 0700) < 0)
        r = -errno;
    if (r < 0)
        return fl_err_errno(err, r, "cannot make %s/backup", data_dir.p);
    r = server.pid > 0 ? ask_server(options, err) : copy_ourselves(options, err);
    if (r == 0)
        r = pack(options, file, err);
    (void)fl_fs_remove_tree(dir, "backup");
    return r;
}

int fl_cli_backup(int argc, char **argv)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_options options;
    struct fl_err err = {0};
    struct stat st;
    fl_options_parse(
        FL_COMMAND_BACKUP,
        "Packs what the server keeps (records, logs, images, keys) into FILE, while it "
        "serves.",
        argc, argv, arena, &options);
    if (options.operand_count != 1)
        fl_options_refuse_operands(FL_COMMAND_BACKUP, "backup");
    if (geteuid() != 0) {
        (void)fputs("fairlead: backup needs root: run `sudo fairlead backup`\n", stderr);
        return 1;
    }
    if (make(&options, options.operands[0], &err) < 0) {
        (void)fprintf(stderr, "fairlead: %s\n", err.text);
        return 1;
    }
    uint64_t size = stat(options.operands[0], &st) == 0 ? (uint64_t)st.st_size : 0;
    (void)printf("%s: %.1f MB. It holds keys and secrets: keep it as you keep those.\n",
                 options.operands[0], (double)size / 1e6);
    return 0;
}
