/* The connection behind a logs job, and what its parts (logs_db.c, logs_events.c, logs_read.c,
 * logs_upkeep.c, logs_upgrade.c) use of each other. For this folder only. */
#pragma once

#include <zstd.h>

#include "store/db.h"
#include "store/logs_store.h"

/* Blocks by the time they span: who looks for what lies at a time looks that far back in each
 * class, so blocks that span long must be few. */
enum { FL_LOGS_CLASSES = 3 };
extern const int64_t fl_logs_class_span_ms[FL_LOGS_CLASSES];

/* What becomes of a block. */
enum fl_logs_looseness {
    FL_LOGS_CLOSED = 0, /* stays as it is */
    FL_LOGS_SMALL = 1,  /* packed, and will be again with what follows */
    FL_LOGS_PLAIN = 2,  /* not packed yet */
};

enum fl_logs_codec { FL_LOGS_CODEC_NONE = 0, FL_LOGS_CODEC_ZSTD = 1 };

enum fl_logs_stmt {
    FL_LOGS_FIND_GROUP,
    FL_LOGS_FIND_STREAM,
    FL_LOGS_ADD_GROUP,
    FL_LOGS_ADD_STREAM,
    FL_LOGS_ADD_BLOCK,
    FL_LOGS_GROW_GROUP,
    FL_LOGS_WRITE_GROUP,
    FL_LOGS_WRITE_STREAM,
    FL_LOGS_REMOVE_GROUP,
    FL_LOGS_REMOVE_STREAM,
    FL_LOGS_GROUPS_FROM,
    FL_LOGS_GROUPS_AFTER,
    FL_LOGS_STREAMS_BY_NAME,
    FL_LOGS_STREAMS_BY_NAME_DOWN,
    FL_LOGS_STREAMS_BY_LAST,
    FL_LOGS_STREAMS_BY_LAST_DOWN,
    FL_LOGS_LOOSE_BLOCKS,
    FL_LOGS_DELETE_LOOSE,
    FL_LOGS_QUIET_STREAM,
    FL_LOGS_REMOVED_STREAM,
    FL_LOGS_REMOVED_GROUP,
    FL_LOGS_PURGE_BLOCKS,
    FL_LOGS_PURGE_STREAM,
    FL_LOGS_EMPTY_GROUP,
    FL_LOGS_PURGE_GROUP,
    FL_LOGS_AGED_GROUPS,
    FL_LOGS_EXPIRED_BLOCKS,
    FL_LOGS_OLDEST_BLOCKS,
    FL_LOGS_DELETE_BLOCK,
    FL_LOGS_SHRINK_STREAM,
    FL_LOGS_SHRINK_GROUP,
    /* A statement a class, so that the classes can be read side by side. */
    FL_LOGS_STREAM_BLOCKS,
    FL_LOGS_STREAM_BLOCKS_DOWN = FL_LOGS_STREAM_BLOCKS + FL_LOGS_CLASSES,
    FL_LOGS_GROUP_BLOCKS = FL_LOGS_STREAM_BLOCKS_DOWN + FL_LOGS_CLASSES,
    FL_LOGS_GROUP_BLOCKS_DOWN = FL_LOGS_GROUP_BLOCKS + FL_LOGS_CLASSES,
    FL_LOGS_STMT_COUNT = FL_LOGS_GROUP_BLOCKS_DOWN + FL_LOGS_CLASSES,
};

struct fl_logs_db {
    struct fl_db db;
    sqlite3_stmt *stmts[FL_LOGS_STMT_COUNT];
    const char *path;
    int failed; /* SQLite's first refusal in this transaction */
    int64_t next_seq;
    uint64_t damaged; /* blocks met that could not be read */
    ZSTD_CCtx *packer;
    ZSTD_DCtx *unpacker;
};

extern const struct fl_db_format fl_logs_db_format;
/* The present tables, for a file that has none of them. */
extern const char fl_logs_db_schema[];
/* For fl_logs_db_format: from the format in which every event was a row. */
int fl_logs_db_upgrade(struct fl_db *db, int32_t from, struct fl_err *err);

/* Makes the statements of db->db's connection; 0 or -EIO with err. */
int fl_logs_db_prepare(struct fl_logs_db *db, struct fl_err *err);
/* Lets go of everything but the connection. */
void fl_logs_db_release(struct fl_logs_db *db);

/* True on a row; anything but a row or the end is the transaction's failure. */
bool fl_logs_db_step(struct fl_logs_db *db, sqlite3_stmt *stmt);
/* A statement without rows, with numbers bound from 1 on. Rows that it changed. */
int fl_logs_db_run(struct fl_logs_db *db, enum fl_logs_stmt which, const int64_t *numbers,
                   size_t count);
void fl_logs_db_bind(sqlite3_stmt *stmt, int index, int64_t value);
struct fl_logs_stream fl_logs_db_read_stream(sqlite3_stmt *stmt);
void fl_logs_db_write_stream(struct fl_logs_db *db, const struct fl_logs_stream *stream);

/* Events in order become blocks of the stream; adds to its loose counters. */
void fl_logs_write_blocks(struct fl_logs_db *db, struct fl_logs_stream *stream,
                          const struct fl_logs_event *const *events, size_t count, bool fresh);
/* The block's bytes, in buf if they have to be inflated; false when they are damaged. */
bool fl_logs_unpack(struct fl_logs_db *db, enum fl_logs_codec codec, int64_t plain_bytes,
                    struct fl_str data, struct fl_buf *buf, struct fl_str *ret_plain);
/* Packs the stream's loose blocks; its row is the caller's to write. */
void fl_logs_pack(struct fl_logs_db *db, struct fl_logs_stream *stream);
