/* `fairlead store check [FILE]`: the databases by SQLite's own check, the records by loading them
 * as the server does, the images by their digests. */
#include "cli/store_check.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/fs.h"
#include "cli/archive.h"
#include "cli/cli.h"
#include "cli/install.h"
#include "core/core.h"
#include "image/repository.h"
#include "server/keys.h"
#include "server/vault.h"
#include "store/logs_store.h"
#include "store/store.h"

struct loaded {
    struct fl_core *core;
    struct fl_keys *keys;
    struct fl_vault *vault;
};

static int add_record(void *context, struct fl_str key, struct fl_str value)
{
    struct loaded *loaded = context;
    struct fl_err err = {0};
    int r;
    if (fl_str_starts(key, FL_STR(FL_KEYS_PREFIX)))
        r = fl_keys_load_record(loaded->keys, key, value, &err);
    else if (fl_str_starts(key, FL_STR(FL_VAULT_PREFIX)))
        r = fl_vault_load_record(loaded->vault, key, value, &err);
    else
        r = fl_core_load(loaded->core, key, value, &err);
    if (r < 0)
        (void)fprintf(stderr, "fairlead: record %.*s: %s\n", FL_STR_ARG(key), err.text);
    return r;
}

static int check_records(const struct fl_options *options, const char *dir, uint64_t leap,
                         struct fl_err *err)
{
    const char *path = fl_str_printf(options->arena, "%s/server.db", dir).p;
    const struct fl_core_config config = {
        .region = options->value[FL_OPTION_REGION],
        .account = options->value[FL_OPTION_ACCOUNT],
        .endpoint = FL_STR("http://127.0.0.1/acs"),
    };
    if (access(path, F_OK) < 0)
        return fl_err_errno(err, -errno, "cannot open %s", path);
    uv_loop_t loop;
    struct fl_store *store = NULL;
    struct loaded loaded = {fl_core_new(&config), fl_keys_new(), NULL};
    (void)uv_loop_init(&loop);
    int r = fl_store_verify(path, leap, err);
    if (r == 0)
        r = fl_vault_open(fl_str_of(dir), &loaded.vault, err);
    if (r == 0)
        r = fl_store_open_sqlite(path, &loop, &store, err);
    if (r == 0)
        r = fl_store_load(store, add_record, &loaded, err);
    if (r == 0) {
        struct fl_core_counts n = fl_core_count(loaded.core);
        (void)printf("records: %zu clusters, %zu instances, %zu task definitions, %zu services, "
                     "%zu tasks\n",
                     n.clusters, n.instances, n.definitions, n.services, n.tasks);
    }
    fl_core_free(loaded.core);
    fl_keys_free(loaded.keys);
    fl_vault_free(loaded.vault);
    if (store)
        fl_store_close(store);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    (void)uv_loop_close(&loop);
    return r;
}

static int check_logs(const struct fl_options *options, const char *dir, struct fl_err *err)
{
    const char *path = fl_str_printf(options->arena, "%s/logs.db", dir).p;
    if (access(path, F_OK) < 0 && errno == ENOENT)
        return 0;
    int r = fl_logs_store_verify(path, err);
    if (r == 0)
        (void)printf("logs: whole\n");
    return r;
}

/* name is the image's. */
static int check_blob(struct fl_image_store *store, const struct fl_digest *digest, uint64_t size,
                      struct fl_str name, struct fl_err *err)
{
    FL_CLEANUP_FD int fd = fl_image_store_open_blob(store, digest);
    FL_CLEANUP_HASHER struct fl_hasher *hasher = fl_hasher_new();
    uint64_t seen = 0;
    char chunk[65536];
    ssize_t n = fd < 0 ? -1 : 1;
    while (fd >= 0 && (n = read(fd, chunk, sizeof(chunk))) > 0) {
        fl_hasher_add(hasher, chunk, (size_t)n);
        seen += (uint64_t)n;
    }
    struct fl_digest found = fl_hasher_end(hasher);
    if (n == 0 && seen == size && fl_digest_eq(&found, digest))
        return 0;
    return fl_err_set(err, -EBADMSG, "image %.*s: sha256:%s is %s; push or load it again",
                      FL_STR_ARG(name), digest->hex, n < 0 ? "missing" : "damaged");
}

/* An index may list images that nobody has brought. Those that were pushed are their repository's
 * own; of one that was loaded, this machine's is looked at. */
static int check_image(struct fl_image_store *store, struct fl_str repository,
                       const struct fl_repository_image *listed, struct fl_err *err)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_image image = {0};
    struct fl_str name =
        listed->tag_count
            ? fl_str_printf(arena, "%.*s:%.*s", FL_STR_ARG(repository), FL_STR_ARG(listed->tags[0]))
            : fl_str_printf(arena, "%.*s@sha256:%s", FL_STR_ARG(repository), listed->digest.hex);
    int r = check_blob(store, &listed->digest, listed->size, name, err);
    if (r < 0)
        return r;
    if (fl_image_store_read_image(store, &listed->digest, arena, &image, NULL) < 0 &&
        (fl_image_store_read_manifest(store, &listed->digest, arena, &image.manifest, NULL) < 0 ||
         image.manifest.is_index))
        return 0;
    r = check_blob(store, &image.manifest.config.digest, image.manifest.config.size, name, err);
    for (size_t i = 0; i < image.manifest.layer_count && r == 0; i++)
        r = check_blob(store, &image.manifest.layers[i].digest, image.manifest.layers[i].size, name,
                       err);
    return r;
}

static int check_repository(struct fl_image_store *store, struct fl_str repository, size_t *count,
                            struct fl_err *err)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_repository_image *images = NULL;
    size_t n = 0;
    int r = fl_repository_list_images(store, repository, arena, &images, &n);
    if (r < 0)
        return fl_err_errno(err, r, "cannot list the images of %.*s", FL_STR_ARG(repository));
    for (size_t i = 0; i < n && r == 0; i++)
        r = check_image(store, repository, &images[i], err);
    *count += n;
    return r;
}

static int check_images(const struct fl_options *options, const char *dir, struct fl_err *err)
{
    FL_CLEANUP_IMAGE_STORE struct fl_image_store *store = NULL;
    struct fl_str *names = NULL;
    size_t n = 0, count = 0;
    struct fl_str path = fl_str_printf(options->arena, "%s/registry", dir);
    if (access(path.p, F_OK) < 0 && errno == ENOENT)
        return 0;
    int r = fl_image_store_open(path, true, &store, err);
    if (r == 0)
        r = fl_repository_list(store, options->arena, &names, &n);
    if (r < 0)
        return fl_err_errno(err, r, "cannot list the images");
    for (size_t i = 0; i < n && r == 0; i++)
        r = check_repository(store, names[i], &count, err);
    if (r == 0)
        (void)printf("images: %zu, every blob as its digest says\n", count);
    return r;
}

int fl_store_check(const struct fl_options *options, const char *dir, uint64_t leap,
                   struct fl_err *err)
{
    int r = check_records(options, dir, leap, err);
    if (r == 0)
        r = check_logs(options, dir, err);
    return r < 0 ? r : check_images(options, dir, err);
}

static int check_file(const struct fl_options *options, const char *file, struct fl_err *err)
{
    char dir[] = "/var/tmp/fairlead-check-XXXXXX";
    if (!mkdtemp(dir))
        return fl_err_errno(err, -errno, "cannot make a directory in /var/tmp");
    int r = fl_archive_unpack(file, dir, options->arena, err);
    if (r == 0)
        r = fl_store_check(options, dir, 0, err);
    (void)fl_fs_remove_tree(AT_FDCWD, dir);
    return r;
}

static int check_installation(const struct fl_options *options, struct fl_err *err)
{
    struct fl_str data_dir = options->value[FL_OPTION_DATA_DIR];
    FL_CLEANUP_FD int lock = -1;
    int r = fl_install_check(data_dir, err);
    if (r == 0)
        r = fl_install_lock(data_dir, &lock, err);
    if (r == 0)
        r = fl_store_check(options, data_dir.p, 0, err);
    if (r == -EBUSY)
        r = fl_err_set(err, r,
                       "the server uses %s: `fairlead down%s` first, or check a backup with "
                       "`fairlead store check FILE`",
                       data_dir.p, fl_options_data_dir_flag(options).p);
    return r;
}

int fl_cli_store(int argc, char **argv)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_options options;
    struct fl_err err = {0};
    fl_options_parse(FL_COMMAND_STORE,
                     "Whether what the server keeps, or a backup of it, is whole.", argc, argv,
                     arena, &options);
    size_t count = options.operand_count;
    if (count == 0 || count > 2 || strcmp(options.operands[0], "check") != 0)
        fl_options_refuse_operands(FL_COMMAND_STORE, "store");
    if (geteuid() != 0) {
        (void)fputs("fairlead: store check needs root: run `sudo fairlead store check`\n", stderr);
        return 1;
    }
    int r = count == 2 ? check_file(&options, options.operands[1], &err)
                       : check_installation(&options, &err);
    if (r < 0)
        (void)fprintf(stderr, "fairlead: %s\n", err.text);
    return r < 0;
}
