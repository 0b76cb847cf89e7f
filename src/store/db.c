/* Opening, locking and checking of a SQLite file. */
#include "store/db.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>

/* EXCLUSIVE: no shared-memory file, and SQLite's own lock beside ours. The caches are small
 * because the working set of both stores is in our own memory or read in order. */
static const char pragmas[] = "PRAGMA locking_mode=EXCLUSIVE;"
                              "PRAGMA journal_mode=WAL;"
                              "PRAGMA synchronous=FULL;"
                              "PRAGMA foreign_keys=OFF;"
                              "PRAGMA temp_store=MEMORY;"
                              "PRAGMA cache_size=-1024;"
                              "PRAGMA journal_size_limit=16777216;";

static int lock(const char *path, int *ret_fd, struct fl_err *err)
{
    char name[4096];
    if ((size_t)snprintf(name, sizeof(name), "%s.lock", path) >= sizeof(name))
        return fl_err_set(err, -ENAMETOOLONG, "the store's path %.64s… is too long", path);
    FL_CLEANUP_FD int fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return fl_err_errno(err, -errno, "cannot open %s", name);
    if (flock(fd, LOCK_EX | LOCK_NB) < 0)
        return errno == EWOULDBLOCK ? fl_err_set(err, -EBUSY, "another process uses %s", path)
                                    : fl_err_errno(err, -errno, "cannot lock %s", name);
    *ret_fd = FL_TAKE_FD(fd);
    return 0;
}

/* SQLite would create the file with the umask's mode; ours is made first. */
static int create(const char *path, struct fl_err *err)
{
    FL_CLEANUP_FD int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return fl_err_errno(err, -errno, "cannot open %s", path);
    return 0;
}

/* Writes a file's bytes over themselves and syncs them. */
static int rewrite(int fd)
{
    char chunk[65536];
    ssize_t got;
    for (off_t at = 0; (got = pread(fd, chunk, sizeof(chunk), at)) > 0; at += got) {
        ssize_t put = pwrite(fd, chunk, (size_t)got, at);
        if (put != got)
            return put < 0 ? -errno : -ENOSPC;
    }
    return got < 0 || fsync(fd) < 0 ? -errno : 0;
}

/* What a dead process left in its log may be in the page cache alone: it was killed before its
 * sync, or the sync failed, and then the kernel takes the pages for clean and no later sync writes
 * them. SQLite would believe what it reads there and append to it. So it is made true first. */
static int settle_log(const char *path, const char *suffix, struct fl_err *err)
{
    char name[4096];
    if ((size_t)snprintf(name, sizeof(name), "%s%s", path, suffix) >= sizeof(name))
        return fl_err_set(err, -ENAMETOOLONG, "the store's path %.64s… is too long", path);
    FL_CLEANUP_FD int fd = open(name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 && errno == ENOENT)
        return 0;
    int status = fd < 0 ? -errno : rewrite(fd);
    return status < 0 ? fl_err_errno(err, status, "cannot settle %s", name) : 0;
}

static int sync_directory(const char *path, struct fl_err *err)
{
    char name[4096];
    const char *slash = strrchr(path, '/');
    int n = slash ? (int)FL_MAX(slash - path, 1) : 1;
    if ((size_t)snprintf(name, sizeof(name), "%.*s", n, slash ? path : ".") >= sizeof(name))
        return fl_err_set(err, -ENAMETOOLONG, "the store's path is too long");
    FL_CLEANUP_FD int fd = open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) < 0)
        return fl_err_errno(err, -errno, "cannot sync the directory %s", name);
    return 0;
}

static int fail(struct fl_db *db, struct fl_err *err, const char *what)
{
    int code = sqlite3_errcode(db->sqlite);
    return fl_err_set(err, code == SQLITE_BUSY ? -EBUSY : -EIO, "%s: %s", what,
                      sqlite3_errmsg(db->sqlite));
}

int fl_db_exec(struct fl_db *db, const char *sql)
{
    return sqlite3_exec(db->sqlite, sql, NULL, NULL, NULL);
}

int fl_db_number(struct fl_db *db, const char *sql, int64_t *ret_value, struct fl_err *err)
{
    sqlite3_stmt *stmt;
    int status = fl_db_prepare(db, sql, &stmt, err);
    if (status < 0)
        return status;
    if (sqlite3_step(stmt) == SQLITE_ROW)
        *ret_value = sqlite3_column_int64(stmt, 0);
    else
        status = fail(db, err, "cannot read from the store");
    (void)sqlite3_finalize(stmt);
    return status;
}

/* The schema and its version go in together, so a crash between leaves an empty file. */
static int make_schema(struct fl_db *db, const struct fl_db_format *format, struct fl_err *err)
{
    char stamp[128];
    (void)snprintf(stamp, sizeof(stamp), "PRAGMA application_id=%d; PRAGMA user_version=%d; COMMIT",
                   format->application_id, format->version);
    if (fl_db_exec(db, "BEGIN IMMEDIATE") || fl_db_exec(db, format->schema) ||
        fl_db_exec(db, stamp))
        return fail(db, err, "cannot create the store's tables");
    return 0;
}

static int check_format(struct fl_db *db, const char *path, const struct fl_db_format *format,
                        struct fl_err *err)
{
    int64_t id = 0, version = 0;
    int status = fl_db_number(db, "PRAGMA application_id", &id, err);
    if (status == 0)
        status = fl_db_number(db, "PRAGMA user_version", &version, err);
    if (status < 0)
        return status;
    if (id == 0 && version == 0)
        return make_schema(db, format, err);
    if (id != format->application_id)
        return fl_err_set(err, -EINVAL, "%s is not a store of this kind", path);
    if (version < format->version && format->upgrade)
        return format->upgrade(db, (int32_t)version, err);
    if (version != format->version)
        return fl_err_set(err, -EINVAL, "%s has format %d, this release knows format %d", path,
                          (int)version, format->version);
    return 0;
}

static int open_sqlite(struct fl_db *db, const char *path, const struct fl_db_format *format,
                       struct fl_err *err)
{
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW;
    if (sqlite3_open_v2(path, &db->sqlite, flags, NULL) != SQLITE_OK)
        return fl_err_set(err, -EIO, "cannot open %s: %s", path,
                          db->sqlite ? sqlite3_errmsg(db->sqlite) : "out of memory");
    /* Heeded on a file that is still empty only. */
    if (format->gives_back && fl_db_exec(db, "PRAGMA auto_vacuum=INCREMENTAL") != SQLITE_OK)
        return fail(db, err, path);
    if (fl_db_exec(db, pragmas) != SQLITE_OK)
        return fail(db, err, path);
    return check_format(db, path, format, err);
}

int fl_db_open(const char *path, const struct fl_db_format *format, struct fl_db *ret_db,
               struct fl_err *err)
{
    struct fl_db db = {.lock_fd = -1};
    int status = lock(path, &db.lock_fd, err);
    if (status == 0)
        status = create(path, err);
    if (status == 0)
        status = settle_log(path, "-wal", err);
    if (status == 0)
        status = settle_log(path, "-journal", err);
    if (status == 0)
        status = open_sqlite(&db, path, format, err);
    if (status == 0)
        status = sync_directory(path, err);
    if (status < 0) {
        fl_db_close(&db);
        return status;
    }
    *ret_db = db;
    return 0;
}

void fl_db_close(struct fl_db *db)
{
    sqlite3_stmt *stmt;
    while (db->sqlite && (stmt = sqlite3_next_stmt(db->sqlite, NULL)))
        (void)sqlite3_finalize(stmt);
    (void)sqlite3_close(db->sqlite);
    db->sqlite = NULL;
    if (db->lock_fd >= 0)
        (void)close(db->lock_fd);
    db->lock_fd = -1;
}

int fl_db_verify(struct fl_db *db, const char *path, struct fl_err *err)
{
    sqlite3_stmt *stmt;
    int status = fl_db_prepare(db, "PRAGMA integrity_check(1)", &stmt, err);
    if (status < 0)
        return status;
    bool is_row = sqlite3_step(stmt) == SQLITE_ROW;
    struct fl_str said = is_row ? fl_db_column(stmt, 0) : FL_STR("it cannot be read whole");
    /* A line of its own says which database of the connection is meant: there is but one. */
    said = fl_str_from(said, (size_t)(fl_str_rindex(said, '\n') + 1));
    if (!fl_str_is(said, "ok"))
        status = fl_err_set(err, -EIO, "%s is damaged: %.*s", path,
                            (int)FL_MIN(said.n, (size_t)200), said.p);
    (void)sqlite3_finalize(stmt);
    return status;
}

int fl_db_prepare(struct fl_db *db, const char *sql, sqlite3_stmt **ret_stmt, struct fl_err *err)
{
    if (sqlite3_prepare_v3(db->sqlite, sql, -1, SQLITE_PREPARE_PERSISTENT, ret_stmt, NULL) !=
        SQLITE_OK)
        return fail(db, err, "cannot prepare a statement");
    return 0;
}

void fl_db_bind_blob(sqlite3_stmt *stmt, int index, struct fl_str bytes)
{
    FL_ASSERT(sqlite3_bind_blob64(stmt, index, bytes.p ? bytes.p : "", bytes.n, SQLITE_STATIC) ==
              SQLITE_OK);
}

void fl_db_bind_text(sqlite3_stmt *stmt, int index, struct fl_str text)
{
    FL_ASSERT(sqlite3_bind_text64(stmt, index, text.p ? text.p : "", text.n, SQLITE_STATIC,
                                  SQLITE_UTF8) == SQLITE_OK);
}

struct fl_str fl_db_column(sqlite3_stmt *stmt, int column)
{
    const char *p = sqlite3_column_blob(stmt, column);
    size_t n = (size_t)sqlite3_column_bytes(stmt, column);
    return (struct fl_str){p ? p : "", p ? n : 0};
}

int fl_db_run(sqlite3_stmt *stmt)
{
    int code = sqlite3_step(stmt);
    (void)sqlite3_reset(stmt);
    return code == SQLITE_DONE || code == SQLITE_ROW ? SQLITE_OK : code;
}
