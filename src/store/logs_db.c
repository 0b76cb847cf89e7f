/* Groups, streams and events in SQL. Every statement runs through step(), which keeps the first
 * failure and lets nothing happen after it. */
#include "store/logs_db.h"

/* An event's rowid is its sequence number: events of all streams are appended at one end of the
 * table, and two indexes give the order within a stream and within a group. */
const struct fl_db_format fl_logs_db_format = {
    .application_id = 0x464c4c47, /* "FLLG" */
    .version = 1,
    .schema = "CREATE TABLE log_group ("
              " id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, created_ms INTEGER NOT NULL,"
              " stored_bytes INTEGER NOT NULL DEFAULT 0);"
              "CREATE TABLE log_stream ("
              " id INTEGER PRIMARY KEY, group_id INTEGER NOT NULL, name TEXT NOT NULL,"
              " created_ms INTEGER NOT NULL, stored_bytes INTEGER NOT NULL DEFAULT 0,"
              " first_ms INTEGER NOT NULL DEFAULT -1, last_ms INTEGER NOT NULL DEFAULT -1,"
              " last_ingested_ms INTEGER NOT NULL DEFAULT -1,"
              " ship_offset INTEGER NOT NULL DEFAULT 0, UNIQUE (group_id, name));"
              "CREATE TABLE log_event ("
              " seq INTEGER PRIMARY KEY, group_id INTEGER NOT NULL, stream_id INTEGER NOT NULL,"
              " time_ms INTEGER NOT NULL, ingested_ms INTEGER NOT NULL, message TEXT NOT NULL);"
              "CREATE INDEX log_event_by_stream ON log_event (stream_id, time_ms);"
              "CREATE INDEX log_event_by_group ON log_event (group_id, time_ms);",
};

#define GROUP_COLUMNS "id, name, created_ms, stored_bytes"
#define STREAM_COLUMNS                                                                             \
    "id, group_id, name, created_ms, stored_bytes, first_ms, last_ms, last_ingested_ms, "          \
    "ship_offset"
#define SELECT_STREAMS "SELECT " STREAM_COLUMNS " FROM log_stream WHERE group_id = ?1 "
/* The plain comparison on the time is implied by the one on (time, seq): it is what the index
 * understands. */
#define WITHIN                                                                                     \
    "e.time_ms >= ?2 AND e.time_ms <= ?4 AND (e.time_ms, e.seq) > (?2, ?3) AND "                   \
    "(e.time_ms, e.seq) < (?4, ?5) ORDER BY "
#define STREAM_EVENTS                                                                              \
    "SELECT e.time_ms, e.seq, e.ingested_ms, e.message, '' FROM log_event e "                      \
    "INDEXED BY log_event_by_stream WHERE e.stream_id = ?1 AND " WITHIN
#define GROUP_EVENTS                                                                               \
    "SELECT e.time_ms, e.seq, e.ingested_ms, e.message, s.name FROM log_event e "                  \
    "INDEXED BY log_event_by_group CROSS JOIN log_stream s ON s.id = e.stream_id "                 \
    "WHERE e.group_id = ?1 AND " WITHIN

static const char *const sql[FL_LOGS_STMT_COUNT] = {
    [FL_LOGS_FIND_GROUP] = "SELECT " GROUP_COLUMNS " FROM log_group WHERE name = ?1",
    [FL_LOGS_FIND_STREAM] = SELECT_STREAMS "AND name = ?2",
    [FL_LOGS_ADD_GROUP] = "INSERT INTO log_group (name, created_ms) VALUES (?1, ?2)",
    [FL_LOGS_ADD_STREAM] =
        "INSERT INTO log_stream (group_id, name, created_ms) VALUES (?1, ?2, ?3)",
    [FL_LOGS_ADD_EVENT] = "INSERT INTO log_event (group_id, stream_id, time_ms, ingested_ms, "
                          "message) VALUES (?1, ?2, ?3, ?4, ?5)",
    [FL_LOGS_GROW_GROUP] = "UPDATE log_group SET stored_bytes = stored_bytes + ?2 WHERE id = ?1",
    [FL_LOGS_WRITE_STREAM] = "UPDATE log_stream SET stored_bytes = ?2, first_ms = ?3, last_ms = ?4,"
                             " last_ingested_ms = ?5, ship_offset = ?6 WHERE id = ?1",
    [FL_LOGS_GROUPS_FROM] =
        "SELECT " GROUP_COLUMNS " FROM log_group WHERE name >= ?1 ORDER BY name",
    [FL_LOGS_GROUPS_AFTER] =
        "SELECT " GROUP_COLUMNS " FROM log_group WHERE name > ?1 ORDER BY name",
    [FL_LOGS_STREAMS_BY_NAME] =
        SELECT_STREAMS "AND name >= ?2 AND (?4 = 0 OR name > ?2) ORDER BY name",
    [FL_LOGS_STREAMS_BY_NAME_DOWN] = SELECT_STREAMS "AND (?4 = 0 OR name < ?2) ORDER BY name DESC",
    [FL_LOGS_STREAMS_BY_LAST] =
        SELECT_STREAMS "AND (?4 = 0 OR (last_ms, name) > (?3, ?2)) ORDER BY last_ms, name",
    [FL_LOGS_STREAMS_BY_LAST_DOWN] = SELECT_STREAMS
    "AND (?4 = 0 OR (last_ms, name) < (?3, ?2)) ORDER BY last_ms DESC, name DESC",
    [FL_LOGS_STREAM_EVENTS] = STREAM_EVENTS "e.time_ms, e.seq",
    [FL_LOGS_STREAM_EVENTS_DOWN] = STREAM_EVENTS "e.time_ms DESC, e.seq DESC",
    [FL_LOGS_GROUP_EVENTS] = GROUP_EVENTS "e.time_ms, e.seq",
    [FL_LOGS_GROUP_EVENTS_DOWN] = GROUP_EVENTS "e.time_ms DESC, e.seq DESC",
};

int fl_logs_db_prepare(struct fl_logs_db *db, struct fl_err *err)
{
    int status = 0;
    for (size_t i = 0; i < FL_LOGS_STMT_COUNT && status == 0; i++)
        status = fl_db_prepare(&db->db, sql[i], &db->stmts[i], err);
    return status;
}

/* True on a row; anything but a row or the end is the transaction's failure. */
static bool step(struct fl_logs_db *db, sqlite3_stmt *stmt)
{
    if (db->failed)
        return false;
    int code = sqlite3_step(stmt);
    if (code != SQLITE_ROW && code != SQLITE_DONE)
        db->failed = code;
    return code == SQLITE_ROW;
}

static void run(struct fl_logs_db *db, sqlite3_stmt *stmt)
{
    (void)step(db, stmt);
    (void)sqlite3_reset(stmt);
}

static void bind_int(sqlite3_stmt *stmt, int index, int64_t value)
{
    FL_ASSERT(sqlite3_bind_int64(stmt, index, value) == SQLITE_OK);
}

static struct fl_logs_group read_group(sqlite3_stmt *stmt)
{
    return (struct fl_logs_group){
        .id = sqlite3_column_int64(stmt, 0),
        .name = fl_db_column(stmt, 1),
        .created_ms = sqlite3_column_int64(stmt, 2),
        .stored_bytes = sqlite3_column_int64(stmt, 3),
    };
}

static struct fl_logs_stream read_stream(sqlite3_stmt *stmt)
{
    return (struct fl_logs_stream){
        .id = sqlite3_column_int64(stmt, 0),
        .group_id = sqlite3_column_int64(stmt, 1),
        .name = fl_db_column(stmt, 2),
        .created_ms = sqlite3_column_int64(stmt, 3),
        .stored_bytes = sqlite3_column_int64(stmt, 4),
        .first_ms = sqlite3_column_int64(stmt, 5),
        .last_ms = sqlite3_column_int64(stmt, 6),
        .last_ingested_ms = sqlite3_column_int64(stmt, 7),
        .ship_offset = sqlite3_column_int64(stmt, 8),
    };
}

bool fl_logs_find_group(struct fl_logs_db *db, struct fl_str name, struct fl_arena *arena,
                        struct fl_logs_group *ret_group)
{
    sqlite3_stmt *stmt = db->stmts[FL_LOGS_FIND_GROUP];
    fl_db_bind_text(stmt, 1, name);
    bool found = step(db, stmt);
    if (found) {
        *ret_group = read_group(stmt);
        ret_group->name = fl_str_dup(arena, ret_group->name);
    }
    (void)sqlite3_reset(stmt);
    return found;
}

bool fl_logs_find_stream(struct fl_logs_db *db, int64_t group_id, struct fl_str name,
                         struct fl_arena *arena, struct fl_logs_stream *ret_stream)
{
    sqlite3_stmt *stmt = db->stmts[FL_LOGS_FIND_STREAM];
    bind_int(stmt, 1, group_id);
    fl_db_bind_text(stmt, 2, name);
    bool found = step(db, stmt);
    if (found) {
        *ret_stream = read_stream(stmt);
        ret_stream->name = fl_str_dup(arena, ret_stream->name);
    }
    (void)sqlite3_reset(stmt);
    return found;
}

void fl_logs_add_group(struct fl_logs_db *db, struct fl_str name, int64_t now_ms,
                       struct fl_logs_group *ret_group)
{
    sqlite3_stmt *stmt = db->stmts[FL_LOGS_ADD_GROUP];
    fl_db_bind_text(stmt, 1, name);
    bind_int(stmt, 2, now_ms);
    run(db, stmt);
    *ret_group = (struct fl_logs_group){
        .id = sqlite3_last_insert_rowid(db->db.sqlite), .name = name, .created_ms = now_ms};
}

void fl_logs_add_stream(struct fl_logs_db *db, int64_t group_id, struct fl_str name, int64_t now_ms,
                        struct fl_logs_stream *ret_stream)
{
    sqlite3_stmt *stmt = db->stmts[FL_LOGS_ADD_STREAM];
    bind_int(stmt, 1, group_id);
    fl_db_bind_text(stmt, 2, name);
    bind_int(stmt, 3, now_ms);
    run(db, stmt);
    *ret_stream = (struct fl_logs_stream){
        .id = sqlite3_last_insert_rowid(db->db.sqlite),
        .group_id = group_id,
        .name = name,
        .created_ms = now_ms,
        .first_ms = -1,
        .last_ms = -1,
        .last_ingested_ms = -1,
    };
}

static void add_event(struct fl_logs_db *db, const struct fl_logs_stream *stream,
                      const struct fl_logs_event *event, int64_t now_ms)
{
    sqlite3_stmt *stmt = db->stmts[FL_LOGS_ADD_EVENT];
    bind_int(stmt, 1, stream->group_id);
    bind_int(stmt, 2, stream->id);
    bind_int(stmt, 3, event->time_ms);
    bind_int(stmt, 4, now_ms);
    fl_db_bind_text(stmt, 5, event->message);
    run(db, stmt);
}

static void write_stream(struct fl_logs_db *db, const struct fl_logs_stream *stream)
{
    sqlite3_stmt *stmt = db->stmts[FL_LOGS_WRITE_STREAM];
    bind_int(stmt, 1, stream->id);
    bind_int(stmt, 2, stream->stored_bytes);
    bind_int(stmt, 3, stream->first_ms);
    bind_int(stmt, 4, stream->last_ms);
    bind_int(stmt, 5, stream->last_ingested_ms);
    bind_int(stmt, 6, stream->ship_offset);
    run(db, stmt);
}

static void grow_group(struct fl_logs_db *db, int64_t group_id, int64_t bytes)
{
    sqlite3_stmt *stmt = db->stmts[FL_LOGS_GROW_GROUP];
    bind_int(stmt, 1, group_id);
    bind_int(stmt, 2, bytes);
    run(db, stmt);
}

void fl_logs_add_events(struct fl_logs_db *db, struct fl_logs_stream *stream,
                        const struct fl_logs_event *events, size_t count, int64_t now_ms)
{
    int64_t bytes = 0;
    for (size_t i = 0; i < count; i++) {
        add_event(db, stream, &events[i], now_ms);
        bytes += (int64_t)events[i].message.n + FL_LOGS_EVENT_OVERHEAD;
        if (stream->first_ms < 0 || events[i].time_ms < stream->first_ms)
            stream->first_ms = events[i].time_ms;
        stream->last_ms = FL_MAX(stream->last_ms, events[i].time_ms);
        stream->last_ingested_ms = now_ms;
    }
    stream->stored_bytes += bytes;
    write_stream(db, stream);
    if (bytes > 0)
        grow_group(db, stream->group_id, bytes);
}

void fl_logs_scan_groups(struct fl_logs_db *db, struct fl_str from, bool after,
                         fl_logs_each_group each, void *context)
{
    sqlite3_stmt *stmt = db->stmts[after ? FL_LOGS_GROUPS_AFTER : FL_LOGS_GROUPS_FROM];
    fl_db_bind_text(stmt, 1, from);
    bool more = true;
    while (more && step(db, stmt)) {
        struct fl_logs_group group = read_group(stmt);
        more = each(context, &group);
    }
    (void)sqlite3_reset(stmt);
}

static sqlite3_stmt *stream_scan_stmt(struct fl_logs_db *db, const struct fl_logs_stream_scan *scan)
{
    enum fl_logs_stmt up = scan->by_last_event ? FL_LOGS_STREAMS_BY_LAST : FL_LOGS_STREAMS_BY_NAME;
    return db->stmts[up + (scan->descending ? 1 : 0)];
}

void fl_logs_scan_streams(struct fl_logs_db *db, const struct fl_logs_stream_scan *scan,
                          fl_logs_each_stream each, void *context)
{
    sqlite3_stmt *stmt = stream_scan_stmt(db, scan);
    bind_int(stmt, 1, scan->group_id);
    fl_db_bind_text(stmt, 2, scan->name);
    bind_int(stmt, 3, scan->last_ms);
    bind_int(stmt, 4, scan->resume);
    bool more = true;
    while (more && step(db, stmt)) {
        struct fl_logs_stream stream = read_stream(stmt);
        more = each(context, &stream);
    }
    (void)sqlite3_reset(stmt);
}

static sqlite3_stmt *event_scan_stmt(struct fl_logs_db *db, const struct fl_logs_event_scan *scan)
{
    enum fl_logs_stmt up = scan->stream_id ? FL_LOGS_STREAM_EVENTS : FL_LOGS_GROUP_EVENTS;
    return db->stmts[up + (scan->descending ? 1 : 0)];
}

void fl_logs_scan_events(struct fl_logs_db *db, const struct fl_logs_event_scan *scan,
                         fl_logs_each_event each, void *context)
{
    sqlite3_stmt *stmt = event_scan_stmt(db, scan);
    bind_int(stmt, 1, scan->stream_id ? scan->stream_id : scan->group_id);
    bind_int(stmt, 2, scan->after.time_ms);
    bind_int(stmt, 3, scan->after.seq);
    bind_int(stmt, 4, scan->before.time_ms);
    bind_int(stmt, 5, scan->before.seq);
    bool more = true;
    while (more && step(db, stmt)) {
        struct fl_logs_event event = {
            .time_ms = sqlite3_column_int64(stmt, 0),
            .seq = sqlite3_column_int64(stmt, 1),
            .ingested_ms = sqlite3_column_int64(stmt, 2),
            .message = fl_db_column(stmt, 3),
            .stream_name = fl_db_column(stmt, 4),
        };
        more = each(context, &event);
    }
    (void)sqlite3_reset(stmt);
}
