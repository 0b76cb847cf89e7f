/* The tree being filled. Every directory is reached by openat2 from the root (in the program that
 * is the chroot's root too) with RESOLVE_BENEATH: a link on the way is followed only while it stays
 * inside.
 *
 * Two readings of an archive: a layer (owners is set) keeps owners, modes, devices, attributes, and
 * turns whiteouts into what overlayfs understands; a plain archive keeps only files and links. */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#include "base/fs.h"
#include "libexec/unpack.h"

struct dir_time {
    char *path;
    int64_t seconds;
    long nanoseconds;
};

struct fl_tree {
    bool owners;
    bool discard;
    int root_fd;
    int last_fd; /* the directory entered last, -1 for none */
    char last[FL_UNPACK_PATH_MAX + 1];
    struct dir_time *times;
    size_t time_count, time_cap;
    struct fl_buf opaque; /* paths, each ended by NUL */
};

enum { OPAQUE_BYTES_MAX = 16 << 20 };

struct fl_tree *fl_tree_new(int root_fd, bool owners, bool discard)
{
    struct fl_tree *tree = fl_calloc(1, sizeof(*tree));
    tree->owners = owners;
    tree->discard = discard;
    tree->last_fd = -1;
    tree->opaque = FL_BUF_INIT(OPAQUE_BYTES_MAX);
    tree->root_fd = root_fd;
    return tree;
}

static void forget_last(struct fl_tree *tree)
{
    fl_cleanup_fd(&tree->last_fd);
    tree->last_fd = -1;
}

void fl_tree_free(struct fl_tree *tree)
{
    if (!tree)
        return;
    forget_last(tree);
    for (size_t i = 0; i < tree->time_count; i++)
        free(tree->times[i].path);
    free(tree->times);
    fl_buf_free(&tree->opaque);
    free(tree);
}

static int open_beneath(const struct fl_tree *tree, const char *path)
{
    const struct open_how how = {.flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC,
                                 .resolve =
                                     RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV};
    long fd = syscall(SYS_openat2, tree->root_fd, *path ? path : ".", &how, sizeof(how));
    return fd < 0 ? -errno : (int)fd;
}

static int refuse_parent(int rc, const char *path, struct fl_err *err)
{
    if (rc == -EXDEV || rc == -ELOOP)
        return fl_err_set(err, -EBADMSG,
                          "the archive writes through a link that leads out of it: %s",
                          fl_printable(path));
    if (rc == -ENOTDIR || rc == -ENOENT || rc == -EEXIST)
        return fl_err_set(err, -EBADMSG, "the archive uses as a directory what is none: %s",
                          fl_printable(path));
    return fl_err_errno(err, rc, "cannot make the directory %s", fl_printable(path));
}

static bool is_whiteout(int dir_fd, const char *name)
{
    struct stat st;
    return fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISCHR(st.st_mode) &&
           st.st_rdev == makedev(0, 0);
}

/* One missing directory on the way to an entry; root's, 0755, as nobody described it. A whiteout
 * in its place means that what lies below is hidden: the new directory is opaque. */
static int make_missing(struct fl_tree *tree, int dir_fd, const char *name, const char *path)
{
    if (is_whiteout(dir_fd, name)) {
        if (unlinkat(dir_fd, name, 0) < 0)
            return -errno;
        fl_buf_add(&tree->opaque, path, strlen(path) + 1);
    }
    if (mkdirat(dir_fd, name, tree->owners ? 0755 : 0700) < 0 && errno != EEXIST)
        return -errno;
    return 0;
}

/* Opens path component by component, making what is missing. */
static int open_making(struct fl_tree *tree, const char *path)
{
    char prefix[FL_UNPACK_PATH_MAX + 1];
    struct fl_str rest = fl_str_of(path), part;
    size_t n = 0;
    int fd = open_beneath(tree, "");
    while (fd >= 0 && fl_str_split(&rest, '/', &part)) {
        FL_CLEANUP_FD int parent = fd;
        if (n)
            prefix[n++] = '/';
        memcpy(prefix + n, part.p, part.n);
        n += part.n;
        prefix[n] = '\0';
        fd = open_beneath(tree, prefix);
        if (fd == -ENOENT || fd == -ENOTDIR) {
            int rc = make_missing(tree, parent, prefix + n - part.n, prefix);
            fd = rc < 0 ? rc : open_beneath(tree, prefix);
        }
    }
    return fd;
}

int fl_tree_enter(struct fl_tree *tree, const char *path, size_t n, int *ret_fd, struct fl_err *err)
{
    if (tree->last_fd >= 0 && strlen(tree->last) == n && memcmp(tree->last, path, n) == 0) {
        *ret_fd = tree->last_fd;
        return 0;
    }
    forget_last(tree);
    memcpy(tree->last, path, n);
    tree->last[n] = '\0';
    int fd = open_beneath(tree, tree->last);
    if (fd == -ENOENT || fd == -ENOTDIR)
        fd = open_making(tree, tree->last);
    if (fd < 0)
        return refuse_parent(fd, tree->last, err);
    tree->last_fd = fd;
    *ret_fd = fd;
    return 0;
}

/* Removes what an entry is about to replace. The directory entered last stays: what goes is its
 * child. */
static int clear_place(int dir_fd, const char *name, struct fl_err *err)
{
    if (unlinkat(dir_fd, name, 0) == 0 || errno == ENOENT)
        return 0;
    int rc = errno == EISDIR || errno == EPERM ? fl_fs_remove_tree(dir_fd, name) : -errno;
    return rc < 0 ? fl_err_errno(err, rc, "cannot replace %s", fl_printable(name)) : 0;
}

static int put_file(const struct fl_tree *tree, struct fl_tar *tar, struct archive_entry *entry,
                    int dir_fd, const char *name, struct fl_err *err)
{
    const void *bytes = NULL;
    size_t n = 0;
    int64_t offset = 0;
    int rc;
    FL_CLEANUP_FD int fd =
        openat(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return fl_err_errno(err, -errno, "cannot write %s", fl_printable(name));
    while ((rc = fl_tar_data(tar, &bytes, &n, &offset, err)) > 0) {
        if (tree->discard)
            continue;
        if (lseek(fd, offset, SEEK_SET) < 0 || (rc = fl_fs_write_all(fd, bytes, n)) < 0)
            return fl_err_errno(err, rc < 0 ? rc : -errno, "cannot write %s", fl_printable(name));
    }
    /* A file may end in a hole. */
    if (rc == 0 && !tree->discard && ftruncate(fd, archive_entry_size(entry)) < 0)
        rc = fl_err_errno(err, -errno, "cannot write %s", fl_printable(name));
    return rc;
}

static int put_hardlink(struct fl_tree *tree, struct archive_entry *entry, int dir_fd,
                        const char *name, struct fl_err *err)
{
    struct fl_member target;
    int rc = fl_member_parse(archive_entry_hardlink(entry), &target, err);
    if (rc < 0)
        return rc;
    char parent[FL_UNPACK_PATH_MAX + 1];
    memcpy(parent, target.path, target.parent_n);
    parent[target.parent_n] = '\0';
    FL_CLEANUP_FD int from = open_beneath(tree, parent);
    if (from == -EXDEV || from == -ELOOP)
        return refuse_parent(from, target.path, err);
    if (from < 0 || linkat(from, target.name, dir_fd, name, 0) < 0)
        return fl_err_set(err, -EBADMSG, "the archive links to what it does not hold: %s",
                          fl_printable(target.path));
    return 0;
}

static int put_symlink(struct archive_entry *entry, int dir_fd, const char *name,
                       struct fl_err *err)
{
    const char *target = archive_entry_symlink(entry);
    if (!target || !*target || symlinkat(target, dir_fd, name) < 0)
        return fl_err_set(err, -EBADMSG, "the archive has an invalid link: %s", fl_printable(name));
    return 0;
}

static int put_node(struct archive_entry *entry, int dir_fd, const char *name, struct fl_err *err)
{
    mode_t type = archive_entry_filetype(entry);
    dev_t device = type == AE_IFIFO ? 0
                                    : makedev((unsigned)archive_entry_rdevmajor(entry),
                                              (unsigned)archive_entry_rdevminor(entry));
    if (mknodat(dir_fd, name, type | 0600, device) < 0)
        return fl_err_errno(err, -errno, "cannot make the device %s", fl_printable(name));
    return 0;
}

static void note_time(struct fl_tree *tree, const char *path, struct archive_entry *entry)
{
    if (!tree->owners || !archive_entry_mtime_is_set(entry))
        return;
    if (tree->time_count == tree->time_cap) {
        tree->time_cap = FL_MAX(256, tree->time_cap * 2);
        tree->times = fl_realloc(tree->times, tree->time_cap * sizeof(*tree->times));
    }
    const char *where = *path ? path : ".";
    tree->times[tree->time_count++] = (struct dir_time){
        fl_strndup(where, strlen(where)),
        archive_entry_mtime(entry),
        archive_entry_mtime_nsec(entry),
    };
}

/* A directory keeps what an earlier entry of the same name put into it. */
static int put_directory(struct fl_tree *tree, struct archive_entry *entry,
                         const struct fl_member *member, int dir_fd, struct fl_err *err)
{
    struct stat st;
    const char *name = *member->name ? member->name : ".";
    bool there = fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
    if (!there || !S_ISDIR(st.st_mode)) {
        bool hidden = is_whiteout(dir_fd, name);
        int rc = clear_place(dir_fd, name, err);
        if (rc < 0)
            return rc;
        if (mkdirat(dir_fd, name, 0700) < 0)
            return fl_err_errno(err, -errno, "cannot make the directory %s",
                                fl_printable(member->path));
        if (hidden)
            fl_buf_add(&tree->opaque, member->path, strlen(member->path) + 1);
    }
    note_time(tree, member->path, entry);
    return fl_meta_apply(dir_fd, name, entry, tree->owners, err);
}

/* ".wh.name" hides name of the layers below; what this layer itself put there stays, and a
 * directory then is opaque. */
static int put_whiteout(struct fl_tree *tree, const struct fl_member *member, int dir_fd,
                        struct fl_err *err)
{
    const char *hidden = member->name + 4;
    struct stat st;
    if (!*hidden || strcmp(hidden, ".") == 0 || strcmp(hidden, "..") == 0)
        return fl_err_set(err, -EBADMSG, "the archive has an invalid whiteout: %s",
                          fl_printable(member->path));
    if (strcmp(member->name, ".wh..wh..opq") == 0) {
        fl_buf_add(&tree->opaque, member->path, member->parent_n);
        fl_buf_add_char(&tree->opaque, '\0');
        return 0;
    }
    if (fstatat(dir_fd, hidden, &st, AT_SYMLINK_NOFOLLOW) == 0) {
        if (S_ISDIR(st.st_mode)) {
            fl_buf_add(&tree->opaque, member->path, (size_t)(member->name - member->path));
            fl_buf_add(&tree->opaque, hidden, strlen(hidden) + 1);
        }
        return 0;
    }
    if (mknodat(dir_fd, hidden, S_IFCHR, makedev(0, 0)) < 0)
        return fl_err_errno(err, -errno, "cannot make the whiteout %s", fl_printable(member->path));
    return 0;
}

static int put_other(struct fl_tree *tree, struct fl_tar *tar, struct archive_entry *entry,
                     const struct fl_member *member, int dir_fd, struct fl_err *err)
{
    const char *name = member->name;
    mode_t type = archive_entry_filetype(entry);
    if (!archive_entry_hardlink(entry) && type != AE_IFREG && type != AE_IFLNK &&
        !(tree->owners && (type == AE_IFCHR || type == AE_IFBLK || type == AE_IFIFO)))
        return 0;
    int rc = clear_place(dir_fd, name, err);
    if (rc < 0)
        return rc;
    if (archive_entry_hardlink(entry))
        return put_hardlink(tree, entry, dir_fd, name, err);
    if (type == AE_IFREG)
        rc = put_file(tree, tar, entry, dir_fd, name, err);
    else if (type == AE_IFLNK)
        rc = put_symlink(entry, dir_fd, name, err);
    else
        rc = put_node(entry, dir_fd, name, err);
    return rc < 0 ? rc : fl_meta_apply(dir_fd, name, entry, tree->owners, err);
}

/* AUFS' own bookkeeping in old layers, which nobody wants unpacked; and whiteouts as directories.
 */
static int check_whiteout_path(const struct fl_member *member, bool *ret_skip, struct fl_err *err)
{
    struct fl_str rest = fl_str_of(member->path), part;
    *ret_skip = false;
    while (fl_str_split(&rest, '/', &part)) {
        if (!fl_str_starts(part, FL_STR(".wh.")))
            continue;
        if (fl_str_starts(part, FL_STR(".wh..wh.")) && !fl_str_is(part, ".wh..wh..opq"))
            *ret_skip = true;
        else if (rest.n && !*ret_skip)
            return fl_err_set(err, -EBADMSG, "the archive uses a whiteout as a directory: %s",
                              fl_printable(member->path));
    }
    return 0;
}

int fl_tree_put(struct fl_tree *tree, struct fl_tar *tar, struct archive_entry *entry,
                struct fl_err *err)
{
    struct fl_member member;
    bool skip = false;
    int dir_fd = -1;
    int rc = fl_member_parse(archive_entry_pathname(entry), &member, err);
    if (rc == 0 && tree->owners)
        rc = check_whiteout_path(&member, &skip, err);
    if (rc < 0 || skip)
        return rc;
    bool directory = archive_entry_filetype(entry) == AE_IFDIR && !archive_entry_hardlink(entry);
    if (!*member.name && !directory)
        return fl_err_set(err, -EBADMSG, "the archive replaces its own root");
    rc = fl_tree_enter(tree, member.path, member.parent_n, &dir_fd, err);
    if (rc < 0)
        return rc;
    if (tree->owners && strncmp(member.name, ".wh.", 4) == 0)
        return put_whiteout(tree, &member, dir_fd, err);
    if (directory)
        return put_directory(tree, entry, &member, dir_fd, err);
    return put_other(tree, tar, entry, &member, dir_fd, err);
}

int fl_tree_finish(struct fl_tree *tree, int report_fd, struct fl_err *err)
{
    for (size_t i = tree->time_count; i-- > 0;) {
        const struct dir_time *t = &tree->times[i];
        FL_CLEANUP_FD int fd = open_beneath(tree, t->path);
        if (fd >= 0)
            (void)fl_meta_times(fd, ".", t->seconds, t->nanoseconds);
    }
    if (tree->opaque.overflow)
        return fl_err_set(err, -E2BIG, "the archive has too many opaque directories");
    int rc = fl_fs_write_all(report_fd, tree->opaque.p, tree->opaque.n);
    return rc < 0 ? fl_err_errno(err, rc, "cannot write the report") : 0;
}
