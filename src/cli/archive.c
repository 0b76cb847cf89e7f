/* tar does the packing. What it unpacks may come from anywhere: it keeps names beneath the
 * directory, and nothing of it is used before it was looked through. A colon in a file's name is no
 * host's for it. */
#include "cli/archive.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "cli/ask.h"
#include "image/digest.h"
#include "wire/json.h"

enum { VERSION = 1, PATIENCE_MS = 12 * 60 * 60 * 1000, MAX_ABOUT = 64 * 1024, ANY_DEPTH = 32 };

static const char *const databases[] = {"server.db", "logs.db"};

/* tar's first words when it fails. 1 is its "some files changed while they were read": a blob's
 * file that the store removes meanwhile has a link less, and nothing else of it changes. */
static int run_tar(const char *const *argv, int worst, struct fl_err *err)
{
    char said[512];
    int status = fl_ask_program(argv, PATIENCE_MS, said, sizeof(said));
    if (status >= 0 && status <= worst)
        return 0;
    char *end = strchr(said, '\n');
    if (end)
        *end = '\0';
    return fl_err_set(err, -EIO, "%s", status < 0 || !said[0] ? "tar could not be run" : said);
}

static int hash_file(const char *path, struct fl_digest *ret_digest, struct fl_err *err)
{
    FL_CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    FL_CLEANUP_HASHER struct fl_hasher *hasher = fl_hasher_new();
    char chunk[65536];
    ssize_t n = fd < 0 ? -1 : 1;
    while (fd >= 0 && (n = read(fd, chunk, sizeof(chunk))) > 0)
        fl_hasher_add(hasher, chunk, (size_t)n);
    if (n < 0)
        return fl_err_errno(err, -errno, "cannot read %s", path);
    *ret_digest = fl_hasher_end(hasher);
    return 0;
}

static int write_about(const char *dir, struct fl_arena *arena, struct fl_err *err)
{
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(MAX_ABOUT);
    struct fl_json_writer jw = {.buf = &text};
    fl_jw_object_begin(&jw);
    fl_jw_member_int(&jw, "version", VERSION);
    fl_jw_member_str(&jw, "release", FL_STR(FL_VERSION));
    fl_jw_member_int(&jw, "madeAtMs", fl_clock_wall_ms());
    for (size_t i = 0; i < FL_ARRAY_SIZE(databases); i++) {
        struct fl_digest digest;
        int r = hash_file(fl_str_printf(arena, "%s/%s", dir, databases[i]).p, &digest, err);
        if (r < 0)
            return r;
        fl_jw_member_str(&jw, databases[i], fl_str_of(digest.hex));
    }
    fl_jw_object_end(&jw);
    const char *path = fl_str_printf(arena, "%s/backup.json", dir).p;
    int r = fl_fs_write_atomic(AT_FDCWD, path, fl_buf_str(&text), 0600);
    return r < 0 ? fl_err_errno(err, r, "cannot write %s", path) : 0;
}

/* Whole and durable under its name, or not there. */
static int publish(const char *partial, const char *file, struct fl_err *err)
{
    FL_CLEANUP_FD int fd = open(partial, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) < 0 || fchmod(fd, 0600) < 0 || rename(partial, file) < 0)
        return fl_err_errno(err, -errno, "cannot write %s", file);
    return 0;
}

int fl_archive_pack(struct fl_str data_dir, const char *file, struct fl_arena *arena,
                    struct fl_err *err)
{
    const char *copies = fl_str_printf(arena, "%s/backup", data_dir.p).p;
    const char *partial = fl_str_printf(arena, "%s.partial", file).p;
    const char *const argv[] = {"tar",
                                "--create",
                                "--force-local",
                                "--file",
                                partial,
                                "--numeric-owner",
                                "--warning=no-file-changed",
                                "--directory",
                                copies,
                                "backup.json",
                                "server.db",
                                "logs.db",
                                "registry",
                                "--directory",
                                data_dir.p,
                                "--anchored",
                                "--exclude=./agent",
                                "--exclude=./backup",
                                "--exclude=./fairlead.marker",
                                "--exclude=./lock",
                                "--exclude=./log",
                                "--exclude=./logs.db*",
                                "--exclude=./registry",
                                "--exclude=./restore",
                                "--exclude=./server.db*",
                                ".",
                                NULL};
    int r = write_about(copies, arena, err);
    mode_t before = umask(077);
    if (r == 0)
        r = run_tar(argv, 1, err);
    (void)umask(before);
    if (r == 0)
        r = publish(partial, file, err);
    if (r < 0)
        (void)unlink(partial);
    return r;
}

static int look_at(const char *path, FL_UNUSED const struct stat *st, int type,
                   FL_UNUSED struct FTW *where)
{
    bool fine = type == FTW_D || (type == FTW_F && S_ISREG(st->st_mode) && st->st_nlink == 1);
    if (!fine)
        (void)fprintf(stderr, "fairlead: %s is no plain file\n", path);
    return fine ? 0 : 1;
}

static int compare(const char *dir, struct fl_arena *arena, struct fl_err *err)
{
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(MAX_ABOUT);
    const char *path = fl_str_printf(arena, "%s/backup.json", dir).p;
    int r = fl_fs_read(AT_FDCWD, path, text.max, &text);
    const struct fl_json *about = r < 0 ? NULL : fl_json_read(fl_buf_str(&text), arena, NULL);
    const struct fl_json *version = fl_json_get(about, "version");
    if (!fl_json_is(version, FL_JSON_INTEGER))
        return fl_err_set(err, -EINVAL, "this is no file that `fairlead backup` made");
    if (fl_json_int(version) != VERSION)
        return fl_err_set(err, -EINVAL, "this backup has format %jd, this release knows format %d",
                          (intmax_t)fl_json_int(version), VERSION);
    for (size_t i = 0; i < FL_ARRAY_SIZE(databases); i++) {
        struct fl_digest digest;
        r = hash_file(fl_str_printf(arena, "%s/%s", dir, databases[i]).p, &digest, err);
        if (r < 0)
            return r;
        if (!fl_str_is(fl_json_text(fl_json_get(about, databases[i])), digest.hex))
            return fl_err_set(err, -EBADMSG, "%s in the backup is damaged", databases[i]);
    }
    return unlink(path) < 0 ? fl_err_errno(err, -errno, "cannot remove %s", path) : 0;
}

int fl_archive_unpack(const char *file, const char *dir, struct fl_arena *arena, struct fl_err *err)
{
    const char *const argv[] = {"tar",
                                "--extract",
                                "--force-local",
                                "--file",
                                file,
                                "--directory",
                                dir,
                                "--no-same-owner",
                                "--no-same-permissions",
                                "--keep-old-files",
                                "--delay-directory-restore",
                                NULL};
    mode_t before = umask(077);
    int r = run_tar(argv, 0, err);
    (void)umask(before);
    if (r == 0 && nftw(dir, look_at, ANY_DEPTH, FTW_PHYS | FTW_MOUNT) != 0)
        r = fl_err_set(err, -EINVAL, "%s holds what no backup holds", file);
    return r < 0 ? r : compare(dir, arena, err);
}
