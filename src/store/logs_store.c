/* The logs store's worker: a transaction around each chain of jobs. */
#include "store/logs_store.h"

#include "base/log.h"
#include "store/db_copy.h"
#include "store/logs_db.h"

struct fl_logs_store {
    struct fl_logs_db db;
    struct fl_worker *worker;
    char *path;
    bool is_closing;
};

/* A job that writes nothing; its slice is made after the transaction. */
struct copying {
    struct fl_logs_job job;
    struct fl_logs_store *owner;
    struct fl_db_copy *copy;
};

/* Whether the file is known to be as it was before the transaction. */
static bool can_go_on(int code)
{
    int primary = code & 0xff;
    return primary == SQLITE_FULL || primary == SQLITE_NOMEM || primary == SQLITE_TOOBIG;
}

static void roll_back(struct fl_logs_db *db)
{
    fl_log_error("the logs store could not write: %s", sqlite3_errstr(db->failed));
    if (!can_go_on(db->failed))
        _exit(FL_STORE_EXIT);
    if (!sqlite3_get_autocommit(db->db.sqlite) && fl_db_exec(&db->db, "ROLLBACK") != SQLITE_OK)
        _exit(FL_STORE_EXIT);
}

/* What tells the job of a copy apart. */
static void copy_nothing(FL_UNUSED struct fl_logs_job *job, FL_UNUSED struct fl_logs_db *db)
{
}

static void run_chain(void *context, struct fl_worker_job *chain)
{
    struct fl_logs_store *store = context;
    struct fl_logs_db *db = &store->db;
    db->failed = fl_db_exec(&db->db, "BEGIN");
    for (struct fl_worker_job *at = chain; at; at = at->next) {
        struct fl_logs_job *job = FL_CONTAINER_OF(at, struct fl_logs_job, worker_job);
        job->run(job, db);
    }
    if (db->failed == SQLITE_OK)
        db->failed = fl_db_exec(&db->db, "COMMIT");
    if (db->failed != SQLITE_OK)
        roll_back(db);
    if (db->damaged > 0)
        fl_log_error("the logs store holds damaged blocks: %llu were met and passed over",
                     (unsigned long long)db->damaged);
    db->damaged = 0;
    for (struct fl_worker_job *at = chain; at; at = at->next) {
        struct fl_logs_job *job = FL_CONTAINER_OF(at, struct fl_logs_job, worker_job);
        job->stored = db->failed == SQLITE_OK;
        if (job->run == copy_nothing)
            fl_db_copy_step(FL_CONTAINER_OF(job, struct copying, job)->copy, &db->db);
    }
}

static void job_done(struct fl_worker_job *worker_job)
{
    struct fl_logs_job *job = FL_CONTAINER_OF(worker_job, struct fl_logs_job, worker_job);
    job->done(job, job->stored);
}

int fl_logs_store_open(const char *path, uv_loop_t *loop, struct fl_logs_store **ret_store,
                       struct fl_err *err)
{
    struct fl_logs_store *store = fl_calloc(1, sizeof(*store));
    int status = fl_db_open(path, &fl_logs_db_format, &store->db.db, err);
    if (status < 0) {
        free(store);
        return status;
    }
    store->db.path = store->path = fl_strndup(path, strlen(path));
    status = fl_logs_db_prepare(&store->db, err);
    if (status == 0) {
        status = fl_worker_start(loop, run_chain, store, &store->worker);
        if (status < 0)
            (void)fl_err_errno(err, status, "cannot start the logs store's thread");
    }
    if (status < 0) {
        fl_logs_store_close(store);
        return status;
    }
    *ret_store = store;
    return 0;
}

int fl_logs_store_verify(const char *path, struct fl_err *err)
{
    struct fl_db db;
    int status = fl_db_open(path, &fl_logs_db_format, &db, err);
    if (status < 0)
        return status;
    status = fl_db_verify(&db, path, err);
    fl_db_close(&db);
    return status;
}

void fl_logs_store_close(struct fl_logs_store *store)
{
    if (!store)
        return;
    store->is_closing = true;
    if (store->worker)
        fl_worker_stop(store->worker);
    fl_logs_db_release(&store->db);
    fl_db_close(&store->db.db);
    free(store->path);
    free(store);
}

void fl_logs_store_submit(struct fl_logs_store *store, struct fl_logs_job *job)
{
    job->worker_job.done = job_done;
    fl_worker_submit(store->worker, &job->worker_job);
}

static void copy_slice_done(struct fl_logs_job *job, FL_UNUSED bool stored)
{
    struct copying *copying = FL_CONTAINER_OF(job, struct copying, job);
    if (fl_db_copy_goes_on(copying->copy, copying->owner->is_closing))
        fl_logs_store_submit(copying->owner, job);
    else
        free(copying);
}

void fl_logs_store_copy(struct fl_logs_store *store, const char *path, fl_store_copied done,
                        void *context)
{
    struct copying *copying = fl_calloc(1, sizeof(*copying));
    *copying = (struct copying){
        .job = {.run = copy_nothing, .done = copy_slice_done},
        .owner = store,
        .copy = fl_db_copy_new(path, done, context),
    };
    fl_logs_store_submit(store, &copying->job);
}
