/* From format 1, in which every event was a row, to blocks. All of it is one transaction: whatever
 * interrupts it, the file is as the last release left it. */
#include <errno.h>

#include "store/logs_db.h"

enum { EVENTS_AT_ONCE = 4096, BYTES_AT_ONCE = 1024 * 1024 };

/* The old tables step aside, so that the new ones have the names and the indexes of a new file. */
static const char step_aside[] = "BEGIN IMMEDIATE;"
                                 "DROP INDEX log_event_by_group;"
                                 "ALTER TABLE log_group RENAME TO old_group;"
                                 "ALTER TABLE log_stream RENAME TO old_stream;";
static const char move_names[] =
    "INSERT INTO log_group (id, name, created_ms, stored_bytes)"
    " SELECT id, name, created_ms, stored_bytes FROM old_group;"
    "INSERT INTO log_stream (id, group_id, name, created_ms, stored_bytes, first_ms, last_ms,"
    " last_ingested_ms, ship_offset)"
    " SELECT id, group_id, name, created_ms, stored_bytes, first_ms, last_ms, last_ingested_ms,"
    " ship_offset FROM old_stream;";
static const char finish[] = "DROP TABLE log_event; DROP TABLE old_group; DROP TABLE old_stream;"
                             "PRAGMA user_version=2; COMMIT;";

/* Events of one stream on their way into blocks. */
struct moving {
    struct fl_logs_db *db;
    struct fl_logs_stream stream; /* id 0: none yet */
    struct fl_arena *arena;
    struct fl_logs_event events[EVENTS_AT_ONCE];
    const struct fl_logs_event *ordered[EVENTS_AT_ONCE];
    size_t count;
    size_t bytes;
};

static void flush(struct moving *moving)
{
    if (moving->count > 0)
        fl_logs_write_blocks(moving->db, &moving->stream, moving->ordered, moving->count, false);
    moving->count = moving->bytes = 0;
    fl_arena_reset(moving->arena);
}

static void enter_stream(struct moving *moving, const struct fl_logs_stream *stream)
{
    flush(moving);
    if (moving->stream.id)
        fl_logs_db_write_stream(moving->db, &moving->stream);
    moving->stream = *stream;
}

static void move_event(struct moving *moving, const struct fl_logs_event *event)
{
    if (moving->count == EVENTS_AT_ONCE || moving->bytes > BYTES_AT_ONCE)
        flush(moving);
    struct fl_logs_event *copy = &moving->events[moving->count];
    *copy = *event;
    copy->message = fl_str_dup(moving->arena, event->message);
    moving->ordered[moving->count++] = copy;
    moving->bytes += event->message.n;
}

static int move_events(struct fl_logs_db *db, struct fl_err *err)
{
    sqlite3_stmt *stmt;
    struct fl_logs_stream none = {0};
    int status = fl_db_prepare(
        &db->db,
        "SELECT s.id, s.group_id, s.name, s.created_ms, s.stored_bytes, s.first_ms, s.last_ms,"
        " s.last_ingested_ms, s.ship_offset, 0, 0, e.time_ms, e.seq, e.ingested_ms, e.message "
        "FROM log_event e INDEXED BY log_event_by_stream CROSS JOIN old_stream s "
        "ON s.id = e.stream_id ORDER BY e.stream_id, e.time_ms, e.seq",
        &stmt, err);
    if (status < 0)
        return status;
    struct moving *moving = fl_calloc(1, sizeof(*moving));
    moving->db = db;
    moving->arena = fl_arena_new();
    while (fl_logs_db_step(db, stmt)) {
        struct fl_logs_stream stream = fl_logs_db_read_stream(stmt);
        const struct fl_logs_event event = {.time_ms = sqlite3_column_int64(stmt, 11),
                                            .seq = sqlite3_column_int64(stmt, 12),
                                            .ingested_ms = sqlite3_column_int64(stmt, 13),
                                            .message = fl_db_column(stmt, 14)};
        stream.name = FL_STR("");
        if (stream.id != moving->stream.id)
            enter_stream(moving, &stream);
        move_event(moving, &event);
    }
    enter_stream(moving, &none);
    (void)sqlite3_finalize(stmt);
    fl_arena_free(moving->arena);
    free(moving);
    return 0;
}

static int failed(struct fl_db *db, struct fl_err *err)
{
    (void)fl_err_set(err, -EIO, "cannot bring the logs store up to date: %s",
                     sqlite3_errmsg(db->sqlite));
    (void)fl_db_exec(db, "ROLLBACK");
    return -EIO;
}

/* Room that becomes free can be given back once the file was laid out for it, which the old one
 * was not. It is not needed for anything else: a full disk may forbid it. */
static void lay_out(struct fl_db *db)
{
    (void)fl_db_exec(db, "PRAGMA auto_vacuum=INCREMENTAL; VACUUM");
}

int fl_logs_db_upgrade(struct fl_db *db, int32_t from, struct fl_err *err)
{
    struct fl_logs_db logs = {.db = *db};
    if (from != 1)
        return fl_err_set(err, -EINVAL, "the logs store has the unknown format %d", (int)from);
    if (fl_db_exec(db, step_aside) || fl_db_exec(db, fl_logs_db_schema) ||
        fl_db_exec(db, move_names))
        return failed(db, err);
    int status = fl_logs_db_prepare(&logs, err);
    if (status == 0)
        status = fl_db_number(db, "SELECT coalesce(max(seq), 0) + 1 FROM log_event", &logs.next_seq,
                              err);
    if (status == 0)
        status = move_events(&logs, err);
    fl_logs_db_release(&logs);
    if (status < 0 || logs.failed || fl_db_exec(db, finish))
        return failed(db, err);
    lay_out(db);
    return 0;
}
