/* The SQLite store: one table, one writing thread.
 *
 * Until the first commit the connection is used by the caller's thread (opening, loading), from
 * then on by the worker's only; the worker's mutex orders the two. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/log.h"
#include "store/db_copy.h"
#include "store/store_impl.h"
#include "store/worker.h"

struct sqlite_store {
    struct fl_store store;
    struct fl_db db;
    sqlite3_stmt *put;
    sqlite3_stmt *del;
    struct fl_worker *worker;
    bool is_closing;
};

/* Operations to commit, or a slice of a copy to make after the commit. */
struct batch {
    struct fl_worker_job job;
    struct sqlite_store *owner;
    struct fl_db_copy *copy;
    const struct fl_store_op *ops;
    size_t count;
    void (*done)(void *context);
    void *context;
};

static const struct fl_db_format format = {
    .application_id = 0x464c5352, /* "FLSR" */
    .version = 1,
    .schema = "CREATE TABLE record (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;"
              "CREATE TABLE epoch (epoch INTEGER NOT NULL);"
              "INSERT INTO epoch VALUES (0);",
};

/* With a cache that holds the inner pages and the recent leaves, a commit writes without reading;
 * it grows with use only. What is in the log moves into the table within a commit, and whoever
 * commits then waits for it: a megabyte at a time makes no wait of it, and a page that is written
 * ten times in a row still moves once. */
static const char tuning[] = "PRAGMA cache_size=-16384; PRAGMA wal_autocheckpoint=256;";

/* A batch that might or might not be on disk can be neither answered nor taken back: the process
 * ends and the next one reads what is true. */
static _Noreturn void stop_process(struct sqlite_store *store)
{
    fl_log_error("the store failed and this process stops: %s", sqlite3_errmsg(store->db.sqlite));
    _exit(FL_STORE_EXIT);
}

static void must(struct sqlite_store *store, int code)
{
    if (code != SQLITE_OK)
        stop_process(store);
}

static void apply(struct sqlite_store *store, const struct fl_store_op *op)
{
    sqlite3_stmt *stmt = op->value.n > 0 ? store->put : store->del;
    fl_db_bind_blob(stmt, 1, op->key);
    if (op->value.n > 0)
        fl_db_bind_blob(stmt, 2, op->value);
    must(store, fl_db_run(stmt));
}

static bool has_ops(const struct fl_worker_job *chain)
{
    for (const struct fl_worker_job *job = chain; job; job = job->next)
        if (FL_CONTAINER_OF(job, struct batch, job)->count > 0)
            return true;
    return false;
}

static void commit_chain(struct sqlite_store *store, const struct fl_worker_job *chain)
{
    must(store, fl_db_exec(&store->db, "BEGIN IMMEDIATE"));
    for (const struct fl_worker_job *job = chain; job; job = job->next) {
        const struct batch *batch = FL_CONTAINER_OF(job, struct batch, job);
        for (size_t i = 0; i < batch->count; i++)
            apply(store, &batch->ops[i]);
    }
    must(store, fl_db_exec(&store->db, "COMMIT"));
}

static void run_chain(void *context, struct fl_worker_job *chain)
{
    struct sqlite_store *store = context;
    if (has_ops(chain))
        commit_chain(store, chain);
    for (struct fl_worker_job *job = chain; job; job = job->next) {
        struct batch *batch = FL_CONTAINER_OF(job, struct batch, job);
        if (batch->copy)
            fl_db_copy_step(batch->copy, &store->db);
    }
}

static void batch_done(struct fl_worker_job *job)
{
    struct batch *batch = FL_CONTAINER_OF(job, struct batch, job);
    void (*done)(void *context) = batch->done;
    void *context = batch->context;
    free(batch);
    done(context);
}

static void commit_batch(struct fl_store *base, const struct fl_store_op *ops, size_t count,
                         void (*done)(void *context), void *context)
{
    struct sqlite_store *store = FL_CONTAINER_OF(base, struct sqlite_store, store);
    struct batch *batch = fl_calloc(1, sizeof(*batch));
    *batch = (struct batch){
        .job.done = batch_done, .ops = ops, .count = count, .done = done, .context = context};
    fl_worker_submit(store->worker, &batch->job);
}

static void copy_slice_done(struct fl_worker_job *job)
{
    struct batch *batch = FL_CONTAINER_OF(job, struct batch, job);
    if (fl_db_copy_goes_on(batch->copy, batch->owner->is_closing))
        fl_worker_submit(batch->owner->worker, job);
    else
        free(batch);
}

static void copy_store(struct fl_store *base, const char *path, fl_store_copied done, void *context)
{
    struct sqlite_store *store = FL_CONTAINER_OF(base, struct sqlite_store, store);
    struct batch *batch = fl_calloc(1, sizeof(*batch));
    *batch = (struct batch){
        .job.done = copy_slice_done, .owner = store, .copy = fl_db_copy_new(path, done, context)};
    fl_worker_submit(store->worker, &batch->job);
}

static int load_records(struct fl_store *base,
                        int (*each)(void *context, struct fl_str key, struct fl_str value),
                        void *context, struct fl_err *err)
{
    struct sqlite_store *store = FL_CONTAINER_OF(base, struct sqlite_store, store);
    sqlite3_stmt *stmt;
    FL_ASSERT(!base->committed);
    int status =
        fl_db_prepare(&store->db, "SELECT key, value FROM record ORDER BY key", &stmt, err);
    if (status < 0)
        return status;
    int code = SQLITE_DONE;
    while (status == 0 && (code = sqlite3_step(stmt)) == SQLITE_ROW)
        status = each(context, fl_db_column(stmt, 0), fl_db_column(stmt, 1));
    if (status == 0 && code != SQLITE_DONE)
        status =
            fl_err_set(err, -EIO, "cannot read the store: %s", sqlite3_errmsg(store->db.sqlite));
    (void)sqlite3_finalize(stmt);
    return status;
}

static void close_store(struct fl_store *base)
{
    struct sqlite_store *store = FL_CONTAINER_OF(base, struct sqlite_store, store);
    store->is_closing = true;
    if (store->worker)
        fl_worker_stop(store->worker);
    fl_db_close(&store->db);
    free(store);
}

static const struct fl_store_impl impl = {
    .close = close_store,
    .load = load_records,
    .commit = commit_batch,
    .copy = copy_store,
};

/* Durable before anything is done in the new epoch's name. */
static int raise_epoch(struct sqlite_store *store, struct fl_err *err)
{
    sqlite3_stmt *stmt;
    int status =
        fl_db_prepare(&store->db, "UPDATE epoch SET epoch = epoch + 1 RETURNING epoch", &stmt, err);
    if (status < 0)
        return status;
    if (sqlite3_step(stmt) == SQLITE_ROW)
        store->store.epoch = (uint64_t)sqlite3_column_int64(stmt, 0);
    if (fl_db_run(stmt) != SQLITE_OK || store->store.epoch == 0)
        status =
            fl_err_set(err, -EIO, "cannot raise the epoch: %s", sqlite3_errmsg(store->db.sqlite));
    (void)sqlite3_finalize(stmt);
    return status;
}

static int prepare(struct sqlite_store *store, struct fl_err *err)
{
    if (fl_db_exec(&store->db, tuning) != SQLITE_OK)
        return fl_err_set(err, -EIO, "cannot set up the store: %s",
                          sqlite3_errmsg(store->db.sqlite));
    int status = fl_db_prepare(
        &store->db, "INSERT INTO record VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = ?2",
        &store->put, err);
    if (status == 0)
        status = fl_db_prepare(&store->db, "DELETE FROM record WHERE key = ?1", &store->del, err);
    return status;
}

int fl_store_open_sqlite(const char *path, uv_loop_t *loop, struct fl_store **ret_store,
                         struct fl_err *err)
{
    struct sqlite_store *store = fl_calloc(1, sizeof(*store));
    store->store.impl = &impl;
    int status = fl_db_open(path, &format, &store->db, err);
    if (status < 0) {
        free(store);
        return status;
    }
    status = raise_epoch(store, err);
    if (status == 0)
        status = prepare(store, err);
    if (status == 0) {
        status = fl_worker_start(loop, run_chain, store, &store->worker);
        if (status < 0)
            (void)fl_err_errno(err, status, "cannot start the store's thread");
    }
    if (status < 0) {
        close_store(&store->store);
        return status;
    }
    *ret_store = &store->store;
    return 0;
}

int fl_store_verify(const char *path, uint64_t leap, struct fl_err *err)
{
    struct fl_db db;
    char sql[64];
    int status = fl_db_open(path, &format, &db, err);
    if (status < 0)
        return status;
    status = fl_db_verify(&db, path, err);
    (void)snprintf(sql, sizeof(sql), "UPDATE epoch SET epoch = epoch + %" PRIu64, leap);
    if (status == 0 && leap > 0 && fl_db_exec(&db, sql) != SQLITE_OK)
        status = fl_err_set(err, -EIO, "cannot raise the epoch: %s", sqlite3_errmsg(db.sqlite));
    fl_db_close(&db);
    return status;
}
