/* The history store for logs: groups, streams and events in a SQLite file of their own.
 *
 * A worker thread owns the file. A job is a function that runs there; the jobs queued at that
 * moment share one transaction, see all earlier writes, and are told done after the commit, in
 * order. The functions that take a struct fl_logs_db may be called from a job's run only. They
 * report no failure: once SQLite refuses something, reads find nothing, writes do nothing, and the
 * whole transaction is rolled back and every job in it told so. A failure that leaves the file's
 * state unknown stops the process (FL_STORE_EXIT).
 *
 * Events lie in blocks: what one call added to a stream is a block, small ones are packed together
 * later, large ones are compressed at once. A block knows the times it spans. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"
#include "store/store.h"
#include "store/worker.h"

/* What CloudWatch counts for an event beyond its message's bytes. */
enum { FL_LOGS_EVENT_OVERHEAD = 26 };

struct fl_logs_store;
struct fl_logs_db;

/* A job; the owner embeds it, sets run and done, and keeps it until done. */
struct fl_logs_job {
    struct fl_worker_job worker_job; /* the store's */
    /* On the worker's thread, inside a transaction. Decide first, then write: what a job wrote is
     * committed even if its answer is a refusal. */
    void (*run)(struct fl_logs_job *job, struct fl_logs_db *db);
    /* On the loop's thread. stored is false when the transaction was rolled back (a full disk). */
    void (*done)(struct fl_logs_job *job, bool stored);
    bool stored; /* the store's */
};

/* As fl_store_open_sqlite: created 0600, -EBUSY when another process has it. */
int fl_logs_store_open(const char *path, uv_loop_t *loop, struct fl_logs_store **ret_store,
                       struct fl_err *err);
/* Has SQLite check every page of the file, which nobody has open. */
int fl_logs_store_verify(const char *path, struct fl_err *err);
/* Waits for what is queued, calls done for it, closes. The loop must run once more afterwards. */
void fl_logs_store_close(struct fl_logs_store *store);
void fl_logs_store_submit(struct fl_logs_store *store, struct fl_logs_job *job);
/* As fl_store_copy. */
void fl_logs_store_copy(struct fl_logs_store *store, const char *path, fl_store_copied done,
                        void *context);

struct fl_logs_group {
    int64_t id;
    struct fl_str name;
    int64_t created_ms;
    int64_t stored_bytes;   /* messages and overhead */
    int64_t retention_days; /* 0: for ever */
    struct fl_str class;    /* as CloudWatch names it */
    struct fl_str tags;     /* a JSON object of strings */
};

struct fl_logs_stream {
    int64_t id;
    int64_t group_id;
    struct fl_str name;
    int64_t created_ms;
    int64_t stored_bytes;
    int64_t first_ms;         /* earliest event, -1 without events */
    int64_t last_ms;          /* latest event, -1 without events */
    int64_t last_ingested_ms; /* -1 without events */
    int64_t ship_offset;      /* how far the agent's spool is stored, in bytes */
    int64_t plain_blocks;     /* the store's: blocks not packed yet */
    int64_t loose_bytes;      /* the store's: in blocks that will be packed, or packed again */
};

struct fl_logs_event {
    int64_t time_ms;
    int64_t seq; /* order of insertion, over all streams; the store's when adding */
    int64_t ingested_ms;
    struct fl_str message;
    struct fl_str stream_name; /* when scanning a group */
};

/* False when there is none. Strings go into the arena. */
bool fl_logs_find_group(struct fl_logs_db *db, struct fl_str name, struct fl_arena *arena,
                        struct fl_logs_group *ret_group);
bool fl_logs_find_stream(struct fl_logs_db *db, int64_t group_id, struct fl_str name,
                         struct fl_arena *arena, struct fl_logs_stream *ret_stream);

/* The name must be free; ret_… refers to the caller's name, class and tags. */
void fl_logs_add_group(struct fl_logs_db *db, const struct fl_logs_group *group,
                       struct fl_logs_group *ret_group);
void fl_logs_add_stream(struct fl_logs_db *db, int64_t group_id, struct fl_str name, int64_t now_ms,
                        struct fl_logs_stream *ret_stream);
/* Writes a group's retention and tags back. */
void fl_logs_write_group(struct fl_logs_db *db, const struct fl_logs_group *group);
/* From here on nobody finds it, nor its events; the upkeep frees their room. */
void fl_logs_remove_group(struct fl_logs_db *db, const struct fl_logs_group *group);
void fl_logs_remove_stream(struct fl_logs_db *db, const struct fl_logs_stream *stream);

/* Appends events (at most some MiB) and writes the stream back, with the counters brought up to
 * date and with the ship_offset that the caller has set in it. Gives the events their numbers. */
void fl_logs_add_events(struct fl_logs_db *db, struct fl_logs_stream *stream,
                        struct fl_logs_event *events, size_t count, int64_t now_ms);

/* Called per row while scanning, the strings valid during the call; false ends the scan. */
typedef bool (*fl_logs_each_group)(void *context, const struct fl_logs_group *group);
typedef bool (*fl_logs_each_stream)(void *context, const struct fl_logs_stream *stream);

/* Groups by name, from the first that is ≥ from, or > from when after is set. */
void fl_logs_scan_groups(struct fl_logs_db *db, struct fl_str from, bool after,
                         fl_logs_each_group each, void *context);

struct fl_logs_stream_scan {
    int64_t group_id;
    bool by_last_event; /* else by name */
    bool descending;
    bool resume; /* start behind the stream (last_ms, name) */
    int64_t last_ms;
    struct fl_str name; /* not resuming, by name and ascending: where to start, inclusive */
};
void fl_logs_scan_streams(struct fl_logs_db *db, const struct fl_logs_stream_scan *scan,
                          fl_logs_each_stream each, void *context);

/* Events are ordered by (time, sequence). */
struct fl_logs_position {
    int64_t time_ms;
    int64_t seq;
};
#define FL_LOGS_BEGINNING ((struct fl_logs_position){INT64_MIN, INT64_MIN})
#define FL_LOGS_END ((struct fl_logs_position){INT64_MAX, INT64_MAX})

/* What to read: the first (or last) events between two positions. */
struct fl_logs_query {
    int64_t group_id;
    int64_t stream_id;              /* 0: all streams of the group */
    bool descending;                /* from the last one down, and returned in that order */
    struct fl_logs_position after;  /* exclusive */
    struct fl_logs_position before; /* exclusive */
    size_t max_events;              /* at least 1 */
    size_t max_bytes; /* of messages with overhead; a first event that is longer comes alone */
    /* Which streams of the group, and which events; NULL: all. They are asked out of order. */
    bool (*sought)(void *context, struct fl_str stream_name);
    bool (*wanted)(void *context, const struct fl_logs_event *event);
    void *context;
    size_t effort; /* what `wanted` costs per byte of a message, 1 being a search for one word */
};

struct fl_logs_page {
    struct fl_logs_event *events; /* in the arena, their strings too */
    size_t count;
    bool more; /* the page ended before the bounds: go on behind `last` */
    struct fl_logs_position last;
};

/* Fills a page, complete up to page->last. A call does a bounded amount of work, so a page may be
 * short, or empty, and there be more. */
void fl_logs_read(struct fl_logs_db *db, const struct fl_logs_query *query, struct fl_arena *arena,
                  struct fl_logs_page *ret_page);

/* ---- upkeep ---- */

struct fl_logs_upkeep {
    int64_t now_ms;
    int64_t max_bytes; /* of the file; 0: what the disk can spare */
    /* What was done. */
    bool more;             /* not through yet */
    int64_t evicted_bytes; /* stored bytes that went because of max_bytes */
    int64_t file_bytes;    /* in use, of the file */
};

/* One step of what has to be done now and then: events beyond their group's retention and what was
 * removed are deleted, the oldest events while the file is too large, small blocks of streams that
 * have become quiet are packed, free room goes back to the disk. */
void fl_logs_keep_up(struct fl_logs_db *db, struct fl_logs_upkeep *upkeep);
