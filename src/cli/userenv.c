/* The user's copy of the environment. His directories are his: root touches them only with his
 * rights, in a child, so that no link there can lead root anywhere. */
#include "cli/userenv.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fs.h"
#include "cli/hosts.h"
#include "wire/install.h"

enum { MAX_TEXT = 16 * 1024 };

struct fl_str fl_userenv_text(const struct fl_options *options, const struct fl_credentials *key)
{
    struct fl_str region = options->value[FL_OPTION_REGION];
    return fl_str_printf(options->arena,
                         "export AWS_ENDPOINT_URL=%s\n"
                         "export AWS_ACCESS_KEY_ID=%.*s\n"
                         "export AWS_SECRET_ACCESS_KEY=%.*s\n"
                         "export AWS_DEFAULT_REGION=%.*s\n"
                         "export AWS_REGION=%.*s\n",
                         fl_hosts_endpoint(options, FL_HOSTS_FILE).p,
                         FL_STR_ARG(key->access_key_id), FL_STR_ARG(key->secret),
                         FL_STR_ARG(region), FL_STR_ARG(region));
}

static struct fl_str path_in(const struct fl_options *options, const char *home)
{
    char tag[FL_INSTALL_TAG_SIZE];
    fl_install_tag(options->value[FL_OPTION_DATA_DIR], tag);
    return fl_str_printf(options->arena, "%s/.config/fairlead/env-%s", home, tag);
}

/* Runs in a child that has become the user; text empty: remove. */
static int change_file(struct fl_arena *arena, struct fl_str path, struct fl_str text)
{
    if (text.n == 0)
        return unlink(path.p) < 0 ? -errno : 0;
    struct fl_str dir = fl_str_sub(path, 0, (size_t)fl_str_rindex(path, '/'));
    int r = fl_fs_mkdirs(fl_str_z(arena, dir), 0700);
    return r < 0 ? r : fl_fs_write_fast(AT_FDCWD, path.p, text, 0600);
}

static int as_user(const struct fl_options *options, const struct passwd *user, struct fl_str text)
{
    struct fl_str path = path_in(options, user->pw_dir);
    pid_t child = fork();
    if (child < 0)
        return -errno;
    if (child == 0) {
        if (initgroups(user->pw_name, user->pw_gid) < 0 ||
            setresgid(user->pw_gid, user->pw_gid, user->pw_gid) < 0 ||
            setresuid(user->pw_uid, user->pw_uid, user->pw_uid) < 0)
            _exit(1);
        _exit(change_file(options->arena, path, text) < 0 ? 1 : 0);
    }
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    return status == 0 ? 0 : -EIO;
}

int64_t fl_userenv_write(const struct fl_options *options, const struct fl_credentials *key)
{
    const char *text = getenv("SUDO_UID");
    uint64_t uid;
    if (!text || !fl_str_to_u64(fl_str_of(text), &uid) || uid == 0 || uid > UINT32_MAX)
        return -1;
    const struct passwd *user = getpwuid((uid_t)uid);
    if (!user || as_user(options, user, fl_userenv_text(options, key)) < 0)
        return -1;
    return (int64_t)uid;
}

int fl_userenv_read(const struct fl_options *options, struct fl_str *ret_text)
{
    const struct passwd *user = getpwuid(getuid());
    if (!user)
        return -ENOENT;
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(MAX_TEXT);
    int r = fl_fs_read(AT_FDCWD, path_in(options, user->pw_dir).p, text.max, &text);
    if (r == 0)
        *ret_text = fl_str_dup(options->arena, fl_buf_str(&text));
    return r;
}

void fl_userenv_remove(const struct fl_options *options, int64_t user)
{
    const struct passwd *entry = user < 0 ? NULL : getpwuid((uid_t)user);
    if (entry)
        (void)as_user(options, entry, FL_STR(""));
}
