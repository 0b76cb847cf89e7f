/* The connection behind a logs job. For this folder only. */
#pragma once

#include "store/db.h"
#include "store/logs_store.h"

enum fl_logs_stmt {
    FL_LOGS_FIND_GROUP,
    FL_LOGS_FIND_STREAM,
    FL_LOGS_ADD_GROUP,
    FL_LOGS_ADD_STREAM,
    FL_LOGS_ADD_EVENT,
    FL_LOGS_GROW_GROUP,
    FL_LOGS_WRITE_STREAM,
    FL_LOGS_GROUPS_FROM,
    FL_LOGS_GROUPS_AFTER,
    FL_LOGS_STREAMS_BY_NAME,
    FL_LOGS_STREAMS_BY_NAME_DOWN,
    FL_LOGS_STREAMS_BY_LAST,
    FL_LOGS_STREAMS_BY_LAST_DOWN,
    FL_LOGS_STREAM_EVENTS,
    FL_LOGS_STREAM_EVENTS_DOWN,
    FL_LOGS_GROUP_EVENTS,
    FL_LOGS_GROUP_EVENTS_DOWN,
    FL_LOGS_STMT_COUNT,
};

struct fl_logs_db {
    struct fl_db db;
    sqlite3_stmt *stmts[FL_LOGS_STMT_COUNT];
    int failed; /* SQLite's first refusal in this transaction */
};

extern const struct fl_db_format fl_logs_db_format;
/* 0 or -EIO with err. */
int fl_logs_db_prepare(struct fl_logs_db *db, struct fl_err *err);
