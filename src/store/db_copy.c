/* SQLite's online backup over one connection of ours and one to the new file. */
#include "store/db_copy.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

/* A megabyte: the owner's jobs wait for a slice, not for the copy. */
enum { SLICE_PAGES = 256 };

struct fl_db_copy {
    char *path;
    int fd; /* of the new file, to sync it; -1 before the first step */
    sqlite3 *to;
    sqlite3_backup *backup;
    int status; /* 1: there is more to copy */
    struct fl_err err;
    fl_store_copied done;
    void *context;
};

static int fail(struct fl_db_copy *copy, int code)
{
    return fl_err_set(&copy->err, code == SQLITE_FULL ? -ENOSPC : -EIO,
                      "cannot copy the store to %s: %s", copy->path, sqlite3_errstr(code));
}

static int open_target(struct fl_db_copy *copy, struct fl_db *from)
{
    copy->fd = open(copy->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (copy->fd < 0)
        return fl_err_errno(&copy->err, -errno, "cannot create %s", copy->path);
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW;
    int code = sqlite3_open_v2(copy->path, &copy->to, flags, NULL);
    /* Nothing of it counts before it is whole, and then it is synced at once. */
    if (code == SQLITE_OK)
        code = sqlite3_exec(copy->to, "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;", NULL,
                            NULL, NULL);
    if (code == SQLITE_OK) {
        copy->backup = sqlite3_backup_init(copy->to, "main", from->sqlite, "main");
        code = copy->backup ? SQLITE_OK : sqlite3_errcode(copy->to);
    }
    return code == SQLITE_OK ? 0 : fail(copy, code);
}

static int finish(struct fl_db_copy *copy)
{
    int code = sqlite3_backup_finish(copy->backup);
    copy->backup = NULL;
    if (code != SQLITE_OK)
        return fail(copy, code);
    (void)sqlite3_close(copy->to);
    copy->to = NULL;
    return fsync(copy->fd) < 0 ? fl_err_errno(&copy->err, -errno, "cannot sync %s", copy->path) : 0;
}

static int step(struct fl_db_copy *copy, struct fl_db *from)
{
    int status = copy->fd < 0 ? open_target(copy, from) : 0;
    if (status < 0)
        return status;
    int code = sqlite3_backup_step(copy->backup, SLICE_PAGES);
    if (code == SQLITE_OK)
        return 1;
    return code == SQLITE_DONE ? finish(copy) : fail(copy, code);
}

struct fl_db_copy *fl_db_copy_new(const char *path, fl_store_copied done, void *context)
{
    struct fl_db_copy *copy = fl_calloc(1, sizeof(*copy));
    *copy = (struct fl_db_copy){.path = fl_strndup(path, strlen(path)),
                                .fd = -1,
                                .status = 1,
                                .done = done,
                                .context = context};
    return copy;
}

void fl_db_copy_step(struct fl_db_copy *copy, struct fl_db *from)
{
    copy->status = step(copy, from);
}

bool fl_db_copy_goes_on(struct fl_db_copy *copy, bool give_up)
{
    if (copy->status == 1 && !give_up)
        return true;
    if (copy->status == 1)
        copy->status = fl_err_set(&copy->err, -ECANCELED, "the process ends");
    if (copy->backup)
        (void)sqlite3_backup_finish(copy->backup);
    (void)sqlite3_close(copy->to);
    if (copy->fd >= 0) {
        if (copy->status < 0)
            (void)unlink(copy->path);
        (void)close(copy->fd);
    }
    copy->done(copy->context, copy->status, &copy->err);
    free(copy->path);
    free(copy);
    return false;
}
