/* Owners, modes, extended attributes, times. Order matters: giving a file away clears set-id bits
 * and capabilities, so those come after. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "libexec/unpack.h"

enum { ID_MAX = 0x7fffffff };

/* What an image may set: the user's own attributes and file capabilities. overlayfs' attributes
 * steer mounts and are ours alone. */
static bool xattr_allowed(const char *name)
{
    struct fl_str s = fl_str_of(name);
    if (fl_str_is(s, "security.capability"))
        return true;
    return fl_str_starts(s, FL_STR("user.")) && !fl_str_starts(s, FL_STR("user.overlay."));
}

/* The calls by path see the working directory only, hence the fchdir. */
static int set_xattrs(int dir_fd, const char *name, struct archive_entry *entry)
{
    const char *key = NULL;
    const void *value = NULL;
    size_t n = 0;
    if (archive_entry_xattr_reset(entry) == 0)
        return 0;
    if (fchdir(dir_fd) < 0)
        return -errno;
    while (archive_entry_xattr_next(entry, &key, &value, &n) == ARCHIVE_OK) {
        if (key && xattr_allowed(key) && lsetxattr(name, key, value, n, 0) < 0 &&
            errno != ENOTSUP && errno != EPERM)
            return -errno;
    }
    return 0;
}

int fl_meta_times(int dir_fd, const char *name, int64_t seconds, long nanoseconds)
{
    const struct timespec times[2] = {{.tv_sec = seconds, .tv_nsec = nanoseconds},
                                      {.tv_sec = seconds, .tv_nsec = nanoseconds}};
    return utimensat(dir_fd, name, times, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

static int apply(int dir_fd, const char *name, struct archive_entry *entry)
{
    mode_t mode = archive_entry_perm(entry) & 07777;
    uid_t uid = (uid_t)archive_entry_uid(entry);
    gid_t gid = (gid_t)archive_entry_gid(entry);
    if (fchownat(dir_fd, name, uid, gid, AT_SYMLINK_NOFOLLOW) < 0)
        return -errno;
    if (archive_entry_filetype(entry) != AE_IFLNK && fchmodat(dir_fd, name, mode, 0) < 0)
        return -errno;
    return set_xattrs(dir_fd, name, entry);
}

int fl_meta_apply(int dir_fd, const char *name, struct archive_entry *entry, bool owners,
                  struct fl_err *err)
{
    int64_t uid = archive_entry_uid(entry), gid = archive_entry_gid(entry);
    if (!owners)
        return 0;
    if (uid < 0 || uid > ID_MAX || gid < 0 || gid > ID_MAX)
        return fl_err_set(err, -EBADMSG, "the archive has an owner out of range: %s",
                          fl_printable(archive_entry_pathname(entry)));
    int rc = apply(dir_fd, name, entry);
    if (rc < 0)
        return fl_err_errno(err, rc, "cannot set owner, mode or attributes of %s",
                            fl_printable(archive_entry_pathname(entry)));
    if (archive_entry_mtime_is_set(entry))
        (void)fl_meta_times(dir_fd, name, archive_entry_mtime(entry),
                            archive_entry_mtime_nsec(entry));
    return 0;
}
