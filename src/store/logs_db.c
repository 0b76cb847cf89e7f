/* Groups and streams in SQL, and the statements of all parts. Every statement runs through
 * fl_logs_db_step, which keeps the first failure and lets nothing happen after it.
 *
 * What is removed gets a name with a ':', which no name of a client's can have, and a removed
 * stream the group 0: from then on nobody finds it, and the upkeep deletes it bit by bit. */
#include "store/logs_db.h"

const int64_t fl_logs_class_span_ms[FL_LOGS_CLASSES] = {10 * 1000, 10 * 60 * 1000,
                                                        24 * 60 * 60 * 1000};

/* Two indexes for a stream's blocks and two for a group's, one for reading up and one for reading
 * down; blocks are few, so their rows cost little. */
const char fl_logs_db_schema[] =
    "CREATE TABLE log_group ("
    " id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, created_ms INTEGER NOT NULL,"
    " stored_bytes INTEGER NOT NULL DEFAULT 0, retention_days INTEGER NOT NULL DEFAULT 0,"
    " class TEXT NOT NULL DEFAULT 'STANDARD', tags TEXT NOT NULL DEFAULT '{}');"
    "CREATE TABLE log_stream ("
    " id INTEGER PRIMARY KEY, group_id INTEGER NOT NULL, name TEXT NOT NULL,"
    " created_ms INTEGER NOT NULL, stored_bytes INTEGER NOT NULL DEFAULT 0,"
    " first_ms INTEGER NOT NULL DEFAULT -1, last_ms INTEGER NOT NULL DEFAULT -1,"
    " last_ingested_ms INTEGER NOT NULL DEFAULT -1, ship_offset INTEGER NOT NULL DEFAULT 0,"
    " plain_blocks INTEGER NOT NULL DEFAULT 0, loose_bytes INTEGER NOT NULL DEFAULT 0,"
    " last_seq INTEGER NOT NULL DEFAULT 0, UNIQUE (group_id, name));"
    "CREATE INDEX log_stream_unpacked ON log_stream (last_ingested_ms) WHERE plain_blocks > 0;"
    "CREATE TABLE log_block ("
    " id INTEGER PRIMARY KEY, group_id INTEGER NOT NULL, stream_id INTEGER NOT NULL,"
    " class INTEGER NOT NULL, first_ms INTEGER NOT NULL, last_ms INTEGER NOT NULL,"
    " stored_bytes INTEGER NOT NULL, plain_bytes INTEGER NOT NULL, codec INTEGER NOT NULL,"
    " loose INTEGER NOT NULL, data BLOB NOT NULL);"
    "CREATE INDEX log_block_stream_up ON log_block (stream_id, class, first_ms, last_ms);"
    "CREATE INDEX log_block_stream_down ON log_block (stream_id, class, last_ms, first_ms);"
    "CREATE INDEX log_block_group_up ON log_block (group_id, class, first_ms, last_ms);"
    "CREATE INDEX log_block_group_down ON log_block (group_id, class, last_ms, first_ms);"
    "CREATE INDEX log_block_loose ON log_block (stream_id) WHERE loose > 0;";

const struct fl_db_format fl_logs_db_format = {
    .application_id = 0x464c4c47, /* "FLLG" */
    .version = 2,
    .schema = fl_logs_db_schema,
    .upgrade = fl_logs_db_upgrade,
    .gives_back = true,
};

#define GROUP_COLUMNS "id, name, created_ms, stored_bytes, retention_days, class, tags"
#define STREAM_COLUMNS                                                                             \
    "id, group_id, name, created_ms, stored_bytes, first_ms, last_ms, last_ingested_ms, "          \
    "ship_offset, plain_blocks, loose_bytes"
#define SELECT_GROUPS "SELECT " GROUP_COLUMNS " FROM log_group WHERE substr(name, 1, 1) <> ':' AND "
#define SELECT_STREAMS "SELECT " STREAM_COLUMNS " FROM log_stream WHERE group_id = ?1 "
/* ?3 is the first (or last) time that a block of this class may begin (or end) with and still hold
 * something between ?4 and ?5. */
#define BLOCK_COLUMNS                                                                              \
    "SELECT b.first_ms, b.last_ms, b.codec, b.plain_bytes, b.data, s.name "                        \
    "FROM log_block b INDEXED BY "
#define JOINED " CROSS JOIN log_stream s ON s.id = b.stream_id WHERE "
#define UP                                                                                         \
    " AND b.class = ?2 AND b.first_ms >= ?3 AND b.first_ms <= ?5 AND b.last_ms >= ?4 "             \
    "ORDER BY b.first_ms"
#define DOWN                                                                                       \
    " AND b.class = ?2 AND b.last_ms <= ?3 AND b.last_ms >= ?4 AND b.first_ms <= ?5 "              \
    "ORDER BY b.last_ms DESC"
#define VICTIM                                                                                     \
    "SELECT id, stream_id, stored_bytes, plain_bytes, loose, length(data) FROM log_block "
#define FIRST_OF_CLASS(class)                                                                      \
    "SELECT min(first_ms) AS first FROM log_block WHERE stream_id = ?1 AND class = " #class

static const char *const sql[FL_LOGS_STREAM_BLOCKS] = {
    [FL_LOGS_FIND_GROUP] = "SELECT " GROUP_COLUMNS " FROM log_group WHERE name = ?1",
    [FL_LOGS_FIND_STREAM] = SELECT_STREAMS "AND name = ?2",
    [FL_LOGS_ADD_GROUP] =
        "INSERT INTO log_group (name, created_ms, class, tags) VALUES (?1, ?2, ?3, ?4)",
    [FL_LOGS_ADD_STREAM] =
        "INSERT INTO log_stream (group_id, name, created_ms) VALUES (?1, ?2, ?3)",
    [FL_LOGS_ADD_BLOCK] = "INSERT INTO log_block (group_id, stream_id, class, first_ms, last_ms, "
                          "stored_bytes, plain_bytes, codec, loose, data) "
                          "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    [FL_LOGS_GROW_GROUP] = "UPDATE log_group SET stored_bytes = stored_bytes + ?2 WHERE id = ?1",
    [FL_LOGS_WRITE_GROUP] = "UPDATE log_group SET retention_days = ?2, tags = ?3 WHERE id = ?1",
    [FL_LOGS_WRITE_STREAM] =
        "UPDATE log_stream SET stored_bytes = ?2, first_ms = ?3, last_ms = ?4, last_ingested_ms = "
        "?5, ship_offset = ?6, plain_blocks = ?7, loose_bytes = ?8, last_seq = ?9 WHERE id = ?1",
    [FL_LOGS_REMOVE_GROUP] = "UPDATE log_group SET name = ':' || id WHERE id = ?1",
    [FL_LOGS_REMOVE_STREAM] = "UPDATE log_stream SET group_id = 0, name = ':' || id WHERE id = ?1",
    [FL_LOGS_GROUPS_FROM] = SELECT_GROUPS "name >= ?1 ORDER BY name",
    [FL_LOGS_GROUPS_AFTER] = SELECT_GROUPS "name > ?1 ORDER BY name",
    [FL_LOGS_STREAMS_BY_NAME] =
        SELECT_STREAMS "AND name >= ?2 AND (?4 = 0 OR name > ?2) ORDER BY name",
    [FL_LOGS_STREAMS_BY_NAME_DOWN] = SELECT_STREAMS "AND (?4 = 0 OR name < ?2) ORDER BY name DESC",
    [FL_LOGS_STREAMS_BY_LAST] =
        SELECT_STREAMS "AND (?4 = 0 OR (last_ms, name) > (?3, ?2)) ORDER BY last_ms, name",
    [FL_LOGS_STREAMS_BY_LAST_DOWN] = SELECT_STREAMS
    "AND (?4 = 0 OR (last_ms, name) < (?3, ?2)) ORDER BY last_ms DESC, name DESC",
    [FL_LOGS_LOOSE_BLOCKS] = "SELECT codec, plain_bytes, data FROM log_block "
                             "INDEXED BY log_block_loose WHERE stream_id = ?1 AND loose > 0",
    [FL_LOGS_DELETE_LOOSE] = "DELETE FROM log_block WHERE stream_id = ?1 AND loose > 0",
    [FL_LOGS_QUIET_STREAM] = "SELECT " STREAM_COLUMNS " FROM log_stream "
                             "INDEXED BY log_stream_unpacked "
                             "WHERE plain_blocks > 0 AND last_ingested_ms < ?1 LIMIT 1",
    [FL_LOGS_REMOVED_STREAM] = "SELECT id FROM log_stream WHERE group_id = 0 LIMIT 1",
    [FL_LOGS_REMOVED_GROUP] = "SELECT id FROM log_group WHERE name >= ':' AND name < ';' LIMIT 1",
    [FL_LOGS_PURGE_BLOCKS] = "DELETE FROM log_block WHERE id IN "
                             "(SELECT id FROM log_block WHERE stream_id = ?1 LIMIT ?2)",
    [FL_LOGS_PURGE_STREAM] = "DELETE FROM log_stream WHERE id = ?1",
    [FL_LOGS_EMPTY_GROUP] = "UPDATE log_stream SET group_id = 0, name = ':' || id WHERE id IN "
                            "(SELECT id FROM log_stream WHERE group_id = ?1 LIMIT ?2)",
    [FL_LOGS_PURGE_GROUP] = "DELETE FROM log_group WHERE id = ?1",
    [FL_LOGS_AGED_GROUPS] = "SELECT id, retention_days FROM log_group WHERE retention_days > 0",
    [FL_LOGS_EXPIRED_BLOCKS] =
        VICTIM "INDEXED BY log_block_group_down "
               "WHERE group_id = ?1 AND class = ?2 AND last_ms < ?3 LIMIT ?4",
    [FL_LOGS_OLDEST_BLOCKS] = VICTIM "ORDER BY id LIMIT ?1",
    [FL_LOGS_DELETE_BLOCK] = "DELETE FROM log_block WHERE id = ?1",
    [FL_LOGS_SHRINK_STREAM] =
        "UPDATE log_stream SET stored_bytes = stored_bytes - ?2, plain_blocks = plain_blocks - ?3, "
        "loose_bytes = loose_bytes - ?4, first_ms = coalesce((SELECT min(first) FROM "
        "(" FIRST_OF_CLASS(0) " UNION ALL " FIRST_OF_CLASS(1) " UNION ALL " FIRST_OF_CLASS(
            2) ")), -1) WHERE id = ?1",
    [FL_LOGS_SHRINK_GROUP] = "UPDATE log_group SET stored_bytes = stored_bytes - ?2 WHERE id = "
                             "(SELECT group_id FROM log_stream WHERE id = ?1)",
};

static const struct {
    enum fl_logs_stmt first; /* of as many as there are classes */
    const char *sql;
} block_sql[] = {
    {FL_LOGS_STREAM_BLOCKS, BLOCK_COLUMNS "log_block_stream_up" JOINED "b.stream_id = ?1" UP},
    {FL_LOGS_STREAM_BLOCKS_DOWN,
     BLOCK_COLUMNS "log_block_stream_down" JOINED "b.stream_id = ?1" DOWN},
    {FL_LOGS_GROUP_BLOCKS,
     BLOCK_COLUMNS "log_block_group_up" JOINED "s.group_id = ?1 AND b.group_id = ?1" UP},
    {FL_LOGS_GROUP_BLOCKS_DOWN,
     BLOCK_COLUMNS "log_block_group_down" JOINED "s.group_id = ?1 AND b.group_id = ?1" DOWN},
};

static int prepare_all(struct fl_logs_db *db, struct fl_err *err)
{
    int status = 0;
    for (size_t i = 0; i < FL_LOGS_STREAM_BLOCKS && status == 0; i++)
        status = fl_db_prepare(&db->db, sql[i], &db->stmts[i], err);
    for (size_t i = 0; i < FL_ARRAY_SIZE(block_sql); i++)
        for (size_t class = 0; class < FL_LOGS_CLASSES && status == 0; class ++)
            status = fl_db_prepare(&db->db, block_sql[i].sql,
                                   &db->stmts[block_sql[i].first + class], err);
    return status;
}

int fl_logs_db_prepare(struct fl_logs_db *db, struct fl_err *err)
{
    int status = prepare_all(db, err);
    if (status == 0)
        status = fl_db_number(&db->db, "SELECT coalesce(max(last_seq), 0) + 1 FROM log_stream",
                              &db->next_seq, err);
    return status;
}

void fl_logs_db_release(struct fl_logs_db *db)
{
    for (size_t i = 0; i < FL_LOGS_STMT_COUNT; i++)
        (void)sqlite3_finalize(FL_TAKE_PTR(db->stmts[i]));
    (void)ZSTD_freeCCtx(FL_TAKE_PTR(db->packer));
    (void)ZSTD_freeDCtx(FL_TAKE_PTR(db->unpacker));
}

bool fl_logs_db_step(struct fl_logs_db *db, sqlite3_stmt *stmt)
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
    (void)fl_logs_db_step(db, stmt);
    (void)sqlite3_reset(stmt);
}

void fl_logs_db_bind(sqlite3_stmt *stmt, int index, int64_t value)
{
    FL_ASSERT(sqlite3_bind_int64(stmt, index, value) == SQLITE_OK);
}

int fl_logs_db_run(struct fl_logs_db *db, enum fl_logs_stmt which, const int64_t *numbers,
                   size_t count)
{
    for (size_t i = 0; i < count; i++)
        fl_logs_db_bind(db->stmts[which], (int)i + 1, numbers[i]);
    run(db, db->stmts[which]);
    return db->failed ? 0 : sqlite3_changes(db->db.sqlite);
}

static struct fl_logs_group read_group(sqlite3_stmt *stmt)
{
    return (struct fl_logs_group){
        .id = sqlite3_column_int64(stmt, 0),
        .name = fl_db_column(stmt, 1),
        .created_ms = sqlite3_column_int64(stmt, 2),
        .stored_bytes = sqlite3_column_int64(stmt, 3),
        .retention_days = sqlite3_column_int64(stmt, 4),
        .class = fl_db_column(stmt, 5),
        .tags = fl_db_column(stmt, 6),
    };
}

struct fl_logs_stream fl_logs_db_read_stream(sqlite3_stmt *stmt)
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
        .plain_blocks = sqlite3_column_int64(stmt, 9),
        .loose_bytes = sqlite3_column_int64(stmt, 10),
    };
}

bool fl_logs_find_group(struct fl_logs_db *db, struct fl_str name, struct fl_arena *arena,
                        struct fl_logs_group *ret_group)
{
    sqlite3_stmt *stmt = db->stmts[FL_LOGS_FIND_GROUP];
    if (fl_str_index(name, ':') >= 0) /* identifiers may have one: see above */
        return false;
    fl_db_bind_text(stmt, 1, name);
    bool found = fl_logs_db_step(db, stmt);
    if (found) {
        *ret_group = read_group(stmt);
        ret_group->name = fl_str_dup(arena, ret_group->name);
        ret_group->class = fl_str_dup(arena, ret_group->class);
        ret_group->tags = fl_str_dup(arena, ret_group->tags);
    }
    (void)sqlite3_reset(stmt);
    return found;
}

bool fl_logs_find_stream(struct fl_logs_db *db, int64_t group_id, struct fl_str name,
                         struct fl_arena *arena, struct fl_logs_stream *ret_stream)
{
    sqlite3_stmt *stmt = db->stmts[FL_LOGS_FIND_STREAM];
    fl_logs_db_bind(stmt, 1, group_id);
    fl_db_bind_text(stmt, 2, name);
    bool found = fl_logs_db_step(db, stmt);
    if (found) {
        *ret_stream = fl_logs_db_read_stream(stmt);
        ret_stream->name = fl_str_dup(arena, ret_stream->name);
    }
    (void)sqlite3_reset(stmt);
    return found;
}

void fl_logs_add_group(struct fl_logs_db *db, const struct fl_logs_group *group,
                       struct fl_logs_group *ret_group)
{
    sqlite3_stmt *stmt = db->stmts[FL_LOGS_ADD_GROUP];
    fl_db_bind_text(stmt, 1, group->name);
    fl_logs_db_bind(stmt, 2, group->created_ms);
    fl_db_bind_text(stmt, 3, group->class);
    fl_db_bind_text(stmt, 4, group->tags);
    run(db, stmt);
    *ret_group = *group;
    ret_group->id = sqlite3_last_insert_rowid(db->db.sqlite);
    ret_group->stored_bytes = ret_group->retention_days = 0;
}

void fl_logs_add_stream(struct fl_logs_db *db, int64_t group_id, struct fl_str name, int64_t now_ms,
                        struct fl_logs_stream *ret_stream)
{
    sqlite3_stmt *stmt = db->stmts[FL_LOGS_ADD_STREAM];
    fl_logs_db_bind(stmt, 1, group_id);
    fl_db_bind_text(stmt, 2, name);
    fl_logs_db_bind(stmt, 3, now_ms);
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

void fl_logs_write_group(struct fl_logs_db *db, const struct fl_logs_group *group)
{
    sqlite3_stmt *stmt = db->stmts[FL_LOGS_WRITE_GROUP];
    fl_logs_db_bind(stmt, 1, group->id);
    fl_logs_db_bind(stmt, 2, group->retention_days);
    fl_db_bind_text(stmt, 3, group->tags);
    run(db, stmt);
}

void fl_logs_remove_group(struct fl_logs_db *db, const struct fl_logs_group *group)
{
    (void)fl_logs_db_run(db, FL_LOGS_REMOVE_GROUP, &group->id, 1);
}

void fl_logs_remove_stream(struct fl_logs_db *db, const struct fl_logs_stream *stream)
{
    const int64_t shrunk[] = {stream->group_id, -stream->stored_bytes};
    (void)fl_logs_db_run(db, FL_LOGS_GROW_GROUP, shrunk, FL_ARRAY_SIZE(shrunk));
    (void)fl_logs_db_run(db, FL_LOGS_REMOVE_STREAM, &stream->id, 1);
}

void fl_logs_db_write_stream(struct fl_logs_db *db, const struct fl_logs_stream *stream)
{
    const int64_t values[] = {stream->id,           stream->stored_bytes,     stream->first_ms,
                              stream->last_ms,      stream->last_ingested_ms, stream->ship_offset,
                              stream->plain_blocks, stream->loose_bytes,      db->next_seq - 1};
    (void)fl_logs_db_run(db, FL_LOGS_WRITE_STREAM, values, FL_ARRAY_SIZE(values));
}

void fl_logs_scan_groups(struct fl_logs_db *db, struct fl_str from, bool after,
                         fl_logs_each_group each, void *context)
{
    sqlite3_stmt *stmt = db->stmts[after ? FL_LOGS_GROUPS_AFTER : FL_LOGS_GROUPS_FROM];
    fl_db_bind_text(stmt, 1, from);
    bool more = true;
    while (more && fl_logs_db_step(db, stmt)) {
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
    fl_logs_db_bind(stmt, 1, scan->group_id);
    fl_db_bind_text(stmt, 2, scan->name);
    fl_logs_db_bind(stmt, 3, scan->last_ms);
    fl_logs_db_bind(stmt, 4, scan->resume);
    bool more = true;
    while (more && fl_logs_db_step(db, stmt)) {
        struct fl_logs_stream stream = fl_logs_db_read_stream(stmt);
        more = each(context, &stream);
    }
    (void)sqlite3_reset(stmt);
}
