/* What the store does between requests, in steps so small that nobody waits for one. */
#include <stdio.h>
#include <sys/statvfs.h>

#include "store/logs_db.h"

enum {
    BLOCKS_PER_STEP = 200,
    STREAMS_PER_STEP = 200,
    PACKED_PER_STEP = 16,
    VICTIMS_PER_STEP = 64,
    PAGES_PER_STEP = 512, /* given back to the disk */
    SPARE_PAGES = 1024,   /* free pages that are kept for what comes next */
    QUIET_MS = 5 * 60 * 1000,
    /* Of the disk that stays free: the twentieth part, but not more than a GiB. */
    RESERVE_SHARE = 20,
    RESERVE_BYTES = 1 << 30,
    /* Who else fills the disk does not cost us everything. */
    KEPT_BYTES = 64 << 20,
};

static const int64_t day_ms = 24 * 60 * 60 * 1000;

/* ---- deleting blocks ---- */

struct victim {
    int64_t id;
    int64_t stream_id;
    int64_t stored_bytes;
    int64_t loose_bytes;
    int64_t disk_bytes;
    bool is_plain;
};

static size_t read_victims(struct fl_logs_db *db, sqlite3_stmt *stmt, struct victim *victims,
                           size_t max)
{
    size_t count = 0;
    while (count < max && fl_logs_db_step(db, stmt)) {
        int loose = sqlite3_column_int(stmt, 4);
        victims[count++] = (struct victim){
            .id = sqlite3_column_int64(stmt, 0),
            .stream_id = sqlite3_column_int64(stmt, 1),
            .stored_bytes = sqlite3_column_int64(stmt, 2),
            .loose_bytes = loose == FL_LOGS_CLOSED ? 0 : sqlite3_column_int64(stmt, 3),
            .disk_bytes = sqlite3_column_int64(stmt, 5),
            .is_plain = loose == FL_LOGS_PLAIN,
        };
    }
    (void)sqlite3_reset(stmt);
    return count;
}

static int64_t delete_victims(struct fl_logs_db *db, const struct victim *victims, size_t count)
{
    int64_t stored_bytes = 0;
    for (size_t i = 0; i < count; i++) {
        const struct victim *victim = &victims[i];
        const int64_t shrunk[] = {victim->stream_id, victim->stored_bytes, victim->is_plain,
                                  victim->loose_bytes};
        (void)fl_logs_db_run(db, FL_LOGS_DELETE_BLOCK, &victim->id, 1);
        (void)fl_logs_db_run(db, FL_LOGS_SHRINK_STREAM, shrunk, 4);
        (void)fl_logs_db_run(db, FL_LOGS_SHRINK_GROUP, shrunk, 2);
        stored_bytes += victim->stored_bytes;
    }
    return stored_bytes;
}

/* ---- what was removed ---- */

/* The number in the first row; 0 without one. */
static int64_t find_id(struct fl_logs_db *db, enum fl_logs_stmt which)
{
    sqlite3_stmt *stmt = db->stmts[which];
    int64_t id = fl_logs_db_step(db, stmt) ? sqlite3_column_int64(stmt, 0) : 0;
    (void)sqlite3_reset(stmt);
    return id;
}

/* True when something was left to do. */
static bool purge(struct fl_logs_db *db)
{
    int64_t stream_id = find_id(db, FL_LOGS_REMOVED_STREAM);
    int64_t group_id = stream_id ? 0 : find_id(db, FL_LOGS_REMOVED_GROUP);
    const int64_t blocks[] = {stream_id, BLOCKS_PER_STEP};
    const int64_t streams[] = {group_id, STREAMS_PER_STEP};
    if (stream_id && fl_logs_db_run(db, FL_LOGS_PURGE_BLOCKS, blocks, 2) == 0)
        (void)fl_logs_db_run(db, FL_LOGS_PURGE_STREAM, &stream_id, 1);
    if (group_id && fl_logs_db_run(db, FL_LOGS_EMPTY_GROUP, streams, 2) == 0)
        (void)fl_logs_db_run(db, FL_LOGS_PURGE_GROUP, &group_id, 1);
    return stream_id || group_id;
}

/* ---- retention ---- */

static size_t expire_class(struct fl_logs_db *db, int64_t group_id, int class, int64_t horizon_ms)
{
    struct victim victims[VICTIMS_PER_STEP];
    sqlite3_stmt *stmt = db->stmts[FL_LOGS_EXPIRED_BLOCKS];
    fl_logs_db_bind(stmt, 1, group_id);
    fl_logs_db_bind(stmt, 2, class);
    fl_logs_db_bind(stmt, 3, horizon_ms);
    fl_logs_db_bind(stmt, 4, VICTIMS_PER_STEP);
    size_t count = read_victims(db, stmt, victims, VICTIMS_PER_STEP);
    (void)delete_victims(db, victims, count);
    return count;
}

/* The first group that has something to lose; the others wait for the next step. */
static bool expire(struct fl_logs_db *db, int64_t now_ms)
{
    sqlite3_stmt *stmt = db->stmts[FL_LOGS_AGED_GROUPS];
    size_t count = 0;
    while (count == 0 && fl_logs_db_step(db, stmt)) {
        int64_t group_id = sqlite3_column_int64(stmt, 0);
        int64_t horizon_ms = now_ms - sqlite3_column_int64(stmt, 1) * day_ms;
        for (int class = 0; class < FL_LOGS_CLASSES; class ++)
            count += expire_class(db, group_id, class, horizon_ms);
    }
    (void)sqlite3_reset(stmt);
    return count > 0;
}

/* ---- packing ---- */

static bool pack_quiet(struct fl_logs_db *db, int64_t now_ms)
{
    sqlite3_stmt *stmt = db->stmts[FL_LOGS_QUIET_STREAM];
    for (int i = 0; i < PACKED_PER_STEP; i++) {
        fl_logs_db_bind(stmt, 1, now_ms - QUIET_MS);
        bool found = fl_logs_db_step(db, stmt);
        struct fl_logs_stream stream = {0};
        if (found)
            stream = fl_logs_db_read_stream(stmt);
        (void)sqlite3_reset(stmt);
        if (!found)
            return false;
        fl_logs_pack(db, &stream);
        fl_logs_db_write_stream(db, &stream);
    }
    return true;
}

/* ---- room ---- */

static int64_t pragma(struct fl_logs_db *db, const char *sql)
{
    int64_t value = 0;
    return fl_db_number(&db->db, sql, &value, NULL) == 0 ? value : 0;
}

/* How large the file may be. */
static int64_t allowed_bytes(struct fl_logs_db *db, int64_t max_bytes, int64_t file_bytes)
{
    struct statvfs fs;
    int64_t allowed = max_bytes > 0 ? max_bytes : INT64_MAX;
    if (statvfs(db->path, &fs) < 0)
        return allowed;
    int64_t total = (int64_t)(fs.f_blocks * fs.f_frsize);
    int64_t spare = (int64_t)(fs.f_bavail * fs.f_frsize);
    int64_t reserve = FL_MIN(total / RESERVE_SHARE, (int64_t)RESERVE_BYTES);
    return FL_MIN(allowed, FL_MAX(file_bytes + spare - reserve, (int64_t)KEPT_BYTES));
}

static bool make_room(struct fl_logs_db *db, struct fl_logs_upkeep *upkeep)
{
    struct victim victims[VICTIMS_PER_STEP];
    sqlite3_stmt *stmt = db->stmts[FL_LOGS_OLDEST_BLOCKS];
    int64_t page = pragma(db, "PRAGMA page_size");
    int64_t free_bytes = pragma(db, "PRAGMA freelist_count") * page;
    int64_t whole = pragma(db, "PRAGMA page_count") * page;
    upkeep->file_bytes = whole - free_bytes;
    int64_t excess = upkeep->file_bytes - allowed_bytes(db, upkeep->max_bytes, whole);
    if (excess <= 0)
        return false;
    fl_logs_db_bind(stmt, 1, VICTIMS_PER_STEP);
    size_t count = read_victims(db, stmt, victims, VICTIMS_PER_STEP), wanted = 0;
    for (; wanted < count && excess > 0; wanted++)
        excess -= victims[wanted].disk_bytes;
    upkeep->evicted_bytes = delete_victims(db, victims, wanted);
    return wanted > 0;
}

static bool give_back(struct fl_logs_db *db)
{
    char sql[64];
    if (pragma(db, "PRAGMA freelist_count") <= SPARE_PAGES)
        return false;
    (void)snprintf(sql, sizeof(sql), "PRAGMA incremental_vacuum(%d)", PAGES_PER_STEP);
    int code = fl_db_exec(&db->db, sql);
    if (code != SQLITE_OK && !db->failed)
        db->failed = code;
    return code == SQLITE_OK;
}

void fl_logs_keep_up(struct fl_logs_db *db, struct fl_logs_upkeep *upkeep)
{
    upkeep->evicted_bytes = 0;
    upkeep->more = purge(db);
    upkeep->more |= expire(db, upkeep->now_ms);
    upkeep->more |= make_room(db, upkeep);
    upkeep->more |= pack_quiet(db, upkeep->now_ms);
    upkeep->more |= give_back(db);
    upkeep->more &= !db->failed;
}
