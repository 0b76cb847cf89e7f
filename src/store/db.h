/* SQLite as both stores use it: a file of mode 0600 that one process holds, WAL, every commit
 * synced, prepared statements. Nothing else in the project includes sqlite3.h. */
#pragma once

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

struct fl_db {
    sqlite3 *sqlite;
    int lock_fd;
};

struct fl_db_format {
    int32_t application_id; /* tells our files apart */
    int32_t version;        /* a later version refuses to open */
    const char *schema;     /* run once, on a new file */
    /* Brings a file of an earlier version up to this one, in a transaction that ends with the new
     * user_version; 0 or -errno with err. NULL: earlier versions refuse to open, too. */
    int (*upgrade)(struct fl_db *db, int32_t from, struct fl_err *err);
    bool gives_back; /* the file shrinks by "PRAGMA incremental_vacuum" */
};

/* Opens or creates the file (its directory must exist and is synced). The lock is a flock on
 * "<path>.lock": -EBUSY when another process, or this one, holds it. */
int fl_db_open(const char *path, const struct fl_db_format *format, struct fl_db *ret_db,
               struct fl_err *err);
void fl_db_close(struct fl_db *db);

/* Reads every page and compares tables with their indexes. -EIO and what SQLite found first. */
int fl_db_verify(struct fl_db *db, const char *path, struct fl_err *err);

/* Runs statements without results. The result code of SQLite. */
int fl_db_exec(struct fl_db *db, const char *sql);
/* The number that a statement, a pragma mostly, answers; 0 or -EIO with err. */
int fl_db_number(struct fl_db *db, const char *sql, int64_t *ret_value, struct fl_err *err);
/* Prepares a statement for the connection's life; 0 or -EIO with err. */
int fl_db_prepare(struct fl_db *db, const char *sql, sqlite3_stmt **ret_stmt, struct fl_err *err);
/* Binds bytes as a BLOB or as text, not copied: they must live until the statement is reset. */
void fl_db_bind_blob(sqlite3_stmt *stmt, int index, struct fl_str bytes);
void fl_db_bind_text(sqlite3_stmt *stmt, int index, struct fl_str text);
/* A column's bytes, valid until the next step or reset. */
struct fl_str fl_db_column(sqlite3_stmt *stmt, int column);
/* Steps a statement that returns no rows and resets it: SQLITE_OK or the failure. */
int fl_db_run(sqlite3_stmt *stmt);
