/* The store: an ordered set of records (key → bytes) made durable.
 *
 * One writer owns it. commit() is asynchronous: batches become durable in the order given, each
 * all or nothing, several of them in one transaction when they queue up (group commit); `done`
 * runs on the loop's thread, in order. A store that fails does not report: it logs one line and
 * stops the process (status FL_STORE_EXIT), which recovers by reading the store. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/err.h"
#include "base/str.h"

enum { FL_STORE_EXIT = 74 };

struct fl_store;

struct fl_store_op {
    struct fl_str key;   /* bytes, ordered by memcmp */
    struct fl_str value; /* empty: delete the key */
};

/* Opens (creating it, 0600) the SQLite store at path. Every open raises the epoch by one, durably;
 * a second process gets -EBUSY. */
int fl_store_open_sqlite(const char *path, uv_loop_t *loop, struct fl_store **ret_store,
                         struct fl_err *err);
/* A store that forgets, for tests: commits are done at the loop's next iteration. */
struct fl_store *fl_store_open_memory(uv_loop_t *loop);
/* Waits for what is queued, then closes. */
void fl_store_close(struct fl_store *store);

/* How often this store has been opened, this time included; grows strictly. */
uint64_t fl_store_epoch(const struct fl_store *store);

/* Every record in key order; the strings are valid during the call. Only before the first commit.
 * A call that returns non-zero ends the load with that value. */
int fl_store_load(struct fl_store *store,
                  int (*each)(void *context, struct fl_str key, struct fl_str value), void *context,
                  struct fl_err *err);

/* Takes a batch; the ops and their bytes stay the caller's and must live until done. A later op on
 * the same key wins. count may be 0: done then still waits for what was committed before. */
void fl_store_commit(struct fl_store *store, const struct fl_store_op *ops, size_t count,
                     void (*done)(void *context), void *context);

/* status 0: the copy is whole and synced; else -errno with err. Called once. */
typedef void (*fl_store_copied)(void *context, int status, const struct fl_err *err);

/* Copies the store to a new file (0600; it must not exist), a slice at a time between commits: what
 * was durable when the last slice was copied. A copy that fails leaves nothing and harms nothing.
 * Not for a store in memory. */
void fl_store_copy(struct fl_store *store, const char *path, fl_store_copied done, void *context);

/* Has SQLite check every page of the store at path, which nobody has open, and raises its epoch by
 * leap. -EBUSY, -EIO, -EINVAL with err. */
int fl_store_verify(const char *path, uint64_t leap, struct fl_err *err);
