/* A worker: one thread that owns something slow (a database) and takes jobs from the loop's thread.
 *
 * Jobs run in the order submitted; all that are queued when the thread comes back for more are
 * handed to it as one chain, so that they can share a transaction. `done` of each runs on the
 * loop's thread, in the same order, only after the whole chain has been run. The worker keeps the
 * loop alive while jobs are out and not otherwise. */
#pragma once

#include <uv.h>

struct fl_worker;

/* The head of a job; the owner embeds it and sets done. It must live until done is called. */
struct fl_worker_job {
    struct fl_worker_job *next; /* the worker's own; in run: the chain, NULL-terminated */
    void (*done)(struct fl_worker_job *job);
};

/* Runs a chain of jobs, on the worker's thread. */
typedef void (*fl_worker_run)(void *context, struct fl_worker_job *chain);

/* 0 or -errno. */
int fl_worker_start(uv_loop_t *loop, fl_worker_run run, void *context,
                    struct fl_worker **ret_worker);
/* On the loop's thread only. */
void fl_worker_submit(struct fl_worker *worker, struct fl_worker_job *job);
/* Waits until everything queued has run, calls the outstanding done callbacks (which must not
 * submit more) and ends the thread. The loop must run once more to let go of the handle. */
void fl_worker_stop(struct fl_worker *worker);
