/* The data directory: marker, lock, keys, remembered options. */
#include "cli/install.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/id.h"
#include "wire/json.h"

static const char marker_text[] =
    "This directory belongs to Fairlead; `fairlead uninstall` removes "
    "it.\n";

enum { LOCK_WAIT_MS = 60 * 1000 };

static int open_dir(struct fl_str data_dir, int *ret_fd)
{
    *ret_fd = open(data_dir.p, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return *ret_fd < 0 ? -errno : 0;
}

/* 1 for an empty directory, 0 for one that holds something. */
static int is_empty(int fd)
{
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (copy < 0)
        return -errno;
    DIR *dir = fdopendir(copy);
    if (!dir) {
        int r = -errno;
        (void)close(copy);
        return r;
    }
    int empty = 1;
    for (struct dirent *entry = readdir(dir); entry && empty; entry = readdir(dir))
        empty = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
    (void)closedir(dir);
    return empty;
}

int fl_install_check(struct fl_str data_dir, struct fl_err *err)
{
    FL_CLEANUP_FD int fd = -1;
    int r = open_dir(data_dir, &fd);
    if (r == -ENOENT)
        return fl_err_set(err, r, "there is no installation in %s", data_dir.p);
    if (r < 0)
        return fl_err_errno(err, r, "cannot open %s", data_dir.p);
    struct stat st;
    if (fstatat(fd, FL_INSTALL_MARKER, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
        return fl_err_set(err, -EPERM, "%s is not Fairlead's: it lacks the file " FL_INSTALL_MARKER,
                          data_dir.p);
    return 0;
}

static int mark(struct fl_str data_dir, int fd, struct fl_err *err)
{
    struct stat st;
    if (fstatat(fd, FL_INSTALL_MARKER, &st, AT_SYMLINK_NOFOLLOW) == 0)
        return 0;
    int r = is_empty(fd);
    if (r == 0)
        return fl_err_set(err, -EPERM,
                          "%s holds files that are not Fairlead's: choose another --data-dir",
                          data_dir.p);
    if (r > 0)
        r = fl_fs_write_atomic(fd, FL_INSTALL_MARKER, fl_str_of(marker_text), 0600);
    return r < 0 ? fl_err_errno(err, r, "cannot write %s", data_dir.p) : 0;
}

int fl_install_prepare(const struct fl_options *options, struct fl_err *err)
{
    struct fl_str dir = options->value[FL_OPTION_DATA_DIR];
    ptrdiff_t slash = fl_str_rindex(dir, '/');
    const char *parent = fl_str_z(options->arena, fl_str_sub(dir, 0, (size_t)slash));
    int r = *parent ? fl_fs_mkdirs(parent, 0755) : 0;
    if (r == 0)
        r = fl_fs_mkdirs_synced(dir.p, 0700);
    FL_CLEANUP_FD int fd = -1;
    if (r == 0)
        r = open_dir(dir, &fd);
    if (r < 0)
        return fl_err_errno(err, r, "cannot make the data directory %s", dir.p);
    r = mark(dir, fd, err);
    if (r < 0)
        return r;
    if (fchmod(fd, 0700) < 0 || fchown(fd, 0, 0) < 0)
        return fl_err_errno(err, -errno, "cannot make %s root's alone", dir.p);
    for (const char *const *name = (const char *const[]){"keys", "log", NULL}; *name; name++) {
        if (mkdirat(fd, *name, 0700) < 0 && errno != EEXIST)
            return fl_err_errno(err, -errno, "cannot make %s/%s", dir.p, *name);
    }
    if (fsync(fd) < 0)
        return fl_err_errno(err, -errno, "cannot sync %s", dir.p);
    return 0;
}

int fl_install_lock(struct fl_str data_dir, int *ret_fd, struct fl_err *err)
{
    FL_CLEANUP_FD int dir = -1;
    int r = open_dir(data_dir, &dir);
    FL_CLEANUP_FD int fd = r < 0 ? -1 : openat(dir, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return fl_err_errno(err, r < 0 ? r : -errno, "cannot lock %s", data_dir.p);
    int64_t deadline = fl_clock_mono_ms() + LOCK_WAIT_MS;
    while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        if (errno != EWOULDBLOCK || fl_clock_mono_ms() > deadline)
            return fl_err_set(err, -EBUSY, "another fairlead command is at work on %s", data_dir.p);
        const struct timespec pause = {.tv_nsec = 20 * 1000 * 1000};
        (void)nanosleep(&pause, NULL);
    }
    *ret_fd = FL_TAKE_FD(fd);
    return 0;
}

/* n characters of an alphabet whose size divides 256: no bias. */
static void random_text(const char *alphabet, size_t size, size_t n, char *ret_text)
{
    FL_ASSERT(256 % size == 0);
    uint8_t bytes[64];
    FL_ASSERT(n <= sizeof(bytes));
    fl_random_bytes(bytes, n);
    for (size_t i = 0; i < n; i++)
        ret_text[i] = alphabet[bytes[i] % size];
    ret_text[n] = '\0';
}

/* Shaped as AWS shapes its keys: AKIA and 16 of [A-Z2-7]; 40 characters of base64. */
static int make_key(int dir, const char *file)
{
    struct stat st;
    if (fstatat(dir, file, &st, AT_SYMLINK_NOFOLLOW) == 0)
        return 0;
    char id[17];
    char secret[41];
    random_text("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", 32, 16, id);
    random_text("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", 64, 40, secret);
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(512);
    fl_buf_printf(&text, "{\"accessKeyId\":\"AKIA%s\",\"secretAccessKey\":\"%s\"}\n", id, secret);
    return fl_fs_write_atomic(dir, file, fl_buf_str(&text), 0600);
}

int fl_install_make_keys(struct fl_str data_dir, struct fl_err *err)
{
    FL_CLEANUP_FD int root = -1;
    int r = open_dir(data_dir, &root);
    FL_CLEANUP_FD int dir =
        r < 0 ? -1 : openat(root, "keys", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (dir < 0)
        return fl_err_errno(err, r < 0 ? r : -errno, "cannot open %s/keys", data_dir.p);
    r = make_key(dir, "operator.json");
    if (r == 0)
        r = make_key(dir, "agent.json");
    return r < 0 ? fl_err_errno(err, r, "cannot write keys to %s/keys", data_dir.p) : 0;
}

int fl_install_read_key(struct fl_str data_dir, const char *name, struct fl_arena *arena,
                        struct fl_credentials *ret_key, struct fl_err *err)
{
    struct fl_str path = fl_str_printf(arena, "%s/keys/%s.json", data_dir.p, name);
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(4096);
    int r = fl_fs_read(AT_FDCWD, path.p, text.max, &text);
    if (r < 0)
        return fl_err_errno(err, r, "cannot read %s", path.p);
    const struct fl_json *root = fl_json_read(fl_buf_str(&text), arena, NULL);
    struct fl_str id = fl_json_text(fl_json_get(root, "accessKeyId"));
    struct fl_str secret = fl_json_text(fl_json_get(root, "secretAccessKey"));
    if (id.n == 0 || secret.n == 0)
        return fl_err_set(err, -EINVAL, "%s holds no key", path.p);
    *ret_key = (struct fl_credentials){.access_key_id = id, .secret = secret};
    return 0;
}

int fl_install_remember(const struct fl_options *options, int64_t env_user, struct fl_err *err)
{
    struct fl_str data_dir = options->value[FL_OPTION_DATA_DIR];
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(64 * 1024);
    struct fl_json_writer jw = {.buf = &text};
    fl_jw_object_begin(&jw);
    for (enum fl_option i = 0; i < FL_OPTION_COUNT; i++) {
        if (fl_options_is_remembered(i) && options->value[i].n > 0)
            fl_jw_member_str(&jw, fl_options_name(i), options->value[i]);
    }
    if (env_user >= 0)
        fl_jw_member_int(&jw, "env-user", env_user);
    fl_jw_object_end(&jw);
    FL_CLEANUP_FD int dir = -1;
    int r = open_dir(data_dir, &dir);
    if (r == 0)
        r = fl_fs_write_atomic(dir, "options.json", fl_buf_str(&text), 0600);
    return r < 0 ? fl_err_errno(err, r, "cannot write %s/options.json", data_dir.p) : 0;
}

int64_t fl_install_env_user(struct fl_str data_dir)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    FL_CLEANUP_FD int dir = -1;
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(64 * 1024);
    if (open_dir(data_dir, &dir) < 0 || fl_fs_read(dir, "options.json", text.max, &text) < 0)
        return -1;
    const struct fl_json *root = fl_json_read(fl_buf_str(&text), arena, NULL);
    const struct fl_json *user = fl_json_get(root, "env-user");
    return fl_json_is(user, FL_JSON_INTEGER) ? fl_json_int(user) : -1;
}
