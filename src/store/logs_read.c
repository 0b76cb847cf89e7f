/* Pages of events out of blocks.
 *
 * The blocks that may hold something between the bounds are taken in the order of their first event
 * (last, when reading down), one at a time, and the best events so far are kept. A page that is
 * full narrows the bounds, so the blocks that follow are looked at for what lies before the worst
 * that was kept, and the rest is never read. Memory is a page and a block, however many streams
 * write at one time. */
#include <stdlib.h>

#include "store/logs_block.h"
#include "store/logs_db.h"

enum {
    FIRST_BUDGET = 64 << 20, /* effort times bytes that a page may take */
    LAST_BUDGET = 1 << 20,
    MAX_BLOCKS = 20000, /* looked at for a page, most of them of other streams */
};

struct scan {
    struct fl_logs_db *db;
    const struct fl_logs_query *query;
    struct fl_arena *arena;
    struct fl_logs_position after;  /* exclusive; narrowed when descending */
    struct fl_logs_position before; /* exclusive; narrowed when ascending */
    bool narrowed;
    size_t budget;
    size_t spent;
    struct fl_logs_event *kept; /* the best, not in order */
    size_t count;
    size_t cap;
    size_t bytes;
    struct fl_logs_event *block; /* the events of the block at hand */
    size_t block_cap;
    struct fl_buf buf;
};

static int compare_positions(struct fl_logs_position a, struct fl_logs_position b)
{
    if (a.time_ms != b.time_ms)
        return a.time_ms < b.time_ms ? -1 : 1;
    return a.seq < b.seq ? -1 : a.seq > b.seq;
}

static struct fl_logs_position position_of(const struct fl_logs_event *event)
{
    return (struct fl_logs_position){event->time_ms, event->seq};
}

static int compare_up(const void *a, const void *b)
{
    return compare_positions(position_of(a), position_of(b));
}

static int compare_down(const void *a, const void *b)
{
    return compare_up(b, a);
}

/* Nothing from this event on is returned; what precedes it is looked at in all blocks. */
static void narrow(struct scan *scan, const struct fl_logs_event *event)
{
    if (scan->query->descending)
        scan->after = position_of(event);
    else
        scan->before = position_of(event);
    scan->narrowed = true;
}

static bool fits(const struct fl_logs_query *query, size_t count, size_t bytes)
{
    return count <= query->max_events && (count <= 1 || bytes <= query->max_bytes);
}

/* Drops what does not fit into the page, the worst first. */
static void trim(struct scan *scan)
{
    size_t count = 0, bytes = 0;
    if (fits(scan->query, scan->count, scan->bytes))
        return;
    qsort(scan->kept, scan->count, sizeof(*scan->kept),
          scan->query->descending ? compare_down : compare_up);
    while (count < scan->count) {
        size_t n = scan->kept[count].message.n + FL_LOGS_EVENT_OVERHEAD;
        if (!fits(scan->query, count + 1, bytes + n))
            break;
        bytes += n;
        count++;
    }
    narrow(scan, &scan->kept[count]);
    scan->count = count;
    scan->bytes = bytes;
}

/* What lies beyond the bounds when they were narrowed after it was kept. */
static void drop_beyond(struct scan *scan)
{
    size_t count = 0;
    for (size_t i = 0; i < scan->count; i++) {
        struct fl_logs_position position = position_of(&scan->kept[i]);
        if (compare_positions(position, scan->after) > 0 &&
            compare_positions(position, scan->before) < 0)
            scan->kept[count++] = scan->kept[i];
        else
            scan->bytes -= scan->kept[i].message.n + FL_LOGS_EVENT_OVERHEAD;
    }
    scan->count = count;
}

static void keep(struct scan *scan, const struct fl_logs_event *event)
{
    if (scan->count == scan->cap) {
        size_t cap = FL_MAX(scan->cap * 2, (size_t)64);
        struct fl_logs_event *kept = fl_arena_new_array(scan->arena, struct fl_logs_event, cap);
        if (scan->count > 0)
            memcpy(kept, scan->kept, scan->count * sizeof(*kept));
        scan->kept = kept;
        scan->cap = cap;
    }
    struct fl_logs_event *copy = &scan->kept[scan->count++];
    *copy = *event;
    copy->message = fl_str_dup(scan->arena, event->message);
    copy->stream_name = fl_str_dup(scan->arena, event->stream_name);
    scan->bytes += event->message.n + FL_LOGS_EVENT_OVERHEAD;
    /* Twice what is needed, so that trimming is done seldom. */
    if (scan->count > 2 * scan->query->max_events || scan->bytes > 2 * scan->query->max_bytes)
        trim(scan);
}

/* Half the budget is what the next block that runs out of it may take: whatever overlaps, the sum
 * is bounded, and at least one event is looked at per block. */
static bool spend(struct scan *scan, const struct fl_logs_event *event)
{
    if (scan->spent > scan->budget) {
        narrow(scan, event);
        drop_beyond(scan);
        scan->spent = 0;
        scan->budget = FL_MAX(scan->budget / 2, (size_t)LAST_BUDGET);
        return false;
    }
    scan->spent += event->message.n * FL_MAX(scan->query->effort, (size_t)1) + FL_LOGS_HEAD_BYTES;
    return true;
}

/* False when the rest of the block need not be looked at. */
static bool consider(struct scan *scan, const struct fl_logs_event *event)
{
    const struct fl_logs_query *query = scan->query;
    struct fl_logs_position position = position_of(event);
    if (compare_positions(position, scan->after) <= 0)
        return !query->descending;
    if (compare_positions(position, scan->before) >= 0)
        return query->descending;
    if (!spend(scan, event))
        return false;
    if (!query->wanted || query->wanted(query->context, event))
        keep(scan, event);
    return true;
}

static size_t read_block(struct scan *scan, struct fl_str plain, struct fl_str stream_name)
{
    struct fl_logs_block_reader reader;
    size_t count = 0;
    if (!fl_logs_block_open(&reader, plain)) {
        scan->db->damaged++;
        return 0;
    }
    if (reader.left > scan->block_cap) {
        scan->block_cap = reader.left;
        scan->block = fl_realloc(scan->block, scan->block_cap * sizeof(*scan->block));
    }
    while (fl_logs_block_next(&reader)) {
        scan->block[count] = reader.event;
        scan->block[count++].stream_name = stream_name;
    }
    scan->db->damaged += reader.left > 0;
    return count;
}

/* The row that a class's statement stands at. */
static void consider_block(struct scan *scan, sqlite3_stmt *stmt)
{
    struct fl_str plain, name = fl_db_column(stmt, 5);
    if (scan->query->sought && !scan->query->sought(scan->query->context, name))
        return;
    if (!fl_logs_unpack(scan->db, (enum fl_logs_codec)sqlite3_column_int(stmt, 2),
                        sqlite3_column_int64(stmt, 3), fl_db_column(stmt, 4), &scan->buf, &plain)) {
        scan->db->damaged++;
        return;
    }
    size_t count = read_block(scan, plain, name);
    if (scan->query->descending) {
        for (size_t i = count; i > 0 && consider(scan, &scan->block[i - 1]); i--)
            ;
    } else {
        for (size_t i = 0; i < count && consider(scan, &scan->block[i]); i++)
            ;
    }
}

static int64_t minus(int64_t time_ms, int64_t span_ms)
{
    return time_ms < INT64_MIN + span_ms ? INT64_MIN : time_ms - span_ms;
}

static int64_t plus(int64_t time_ms, int64_t span_ms)
{
    return time_ms > INT64_MAX - span_ms ? INT64_MAX : time_ms + span_ms;
}

/* The blocks of each class, side by side. */
struct cursors {
    sqlite3_stmt *stmts[FL_LOGS_CLASSES];
    bool has_row[FL_LOGS_CLASSES];
};

static void open_cursors(struct scan *scan, struct cursors *cursors)
{
    const struct fl_logs_query *query = scan->query;
    enum fl_logs_stmt first = query->stream_id ? FL_LOGS_STREAM_BLOCKS : FL_LOGS_GROUP_BLOCKS;
    first += query->descending ? FL_LOGS_CLASSES : 0;
    for (int i = 0; i < FL_LOGS_CLASSES; i++) {
        sqlite3_stmt *stmt = scan->db->stmts[first + i];
        int64_t span_ms = fl_logs_class_span_ms[i];
        fl_logs_db_bind(stmt, 1, query->stream_id ? query->stream_id : query->group_id);
        fl_logs_db_bind(stmt, 2, i);
        fl_logs_db_bind(stmt, 3,
                        query->descending ? plus(query->before.time_ms, span_ms)
                                          : minus(query->after.time_ms, span_ms));
        fl_logs_db_bind(stmt, 4, query->after.time_ms);
        fl_logs_db_bind(stmt, 5, query->before.time_ms);
        cursors->stmts[i] = stmt;
        cursors->has_row[i] = fl_logs_db_step(scan->db, stmt);
    }
}

/* The class whose row comes next in the order of the scan; -1 at the end. */
static int next_class(const struct cursors *cursors, bool descending)
{
    int best = -1;
    int64_t best_ms = 0;
    for (int i = 0; i < FL_LOGS_CLASSES; i++) {
        if (!cursors->has_row[i])
            continue;
        int64_t time_ms = sqlite3_column_int64(cursors->stmts[i], descending ? 1 : 0);
        if (best < 0 || (descending ? time_ms > best_ms : time_ms < best_ms)) {
            best = i;
            best_ms = time_ms;
        }
    }
    return best;
}

/* Neither this block nor any behind it has something between the bounds. */
static bool is_beyond(const struct scan *scan, sqlite3_stmt *stmt)
{
    return scan->query->descending ? sqlite3_column_int64(stmt, 1) < scan->after.time_ms
                                   : sqlite3_column_int64(stmt, 0) > scan->before.time_ms;
}

/* Ends the page before the block that the statement stands at, as all blocks behind it begin there
 * or later; not while that would be where the page began. */
static bool give_up(struct scan *scan, sqlite3_stmt *stmt)
{
    const struct fl_logs_query *query = scan->query;
    int64_t time_ms = sqlite3_column_int64(stmt, query->descending ? 1 : 0);
    if (query->descending ? time_ms >= query->before.time_ms : time_ms <= query->after.time_ms)
        return false;
    if (query->descending)
        scan->after = (struct fl_logs_position){time_ms, INT64_MAX - 1};
    else
        scan->before = (struct fl_logs_position){time_ms, 1};
    scan->narrowed = true;
    drop_beyond(scan);
    return true;
}

/* A full page narrows the bounds as soon as that spares blocks. */
static void read_blocks(struct scan *scan)
{
    struct cursors cursors = {0};
    size_t seen = 0;
    int class;
    open_cursors(scan, &cursors);
    while ((class = next_class(&cursors, scan->query->descending)) >= 0 &&
           !is_beyond(scan, cursors.stmts[class]) &&
           (++seen < MAX_BLOCKS || !give_up(scan, cursors.stmts[class]))) {
        consider_block(scan, cursors.stmts[class]);
        trim(scan);
        cursors.has_row[class] = fl_logs_db_step(scan->db, cursors.stmts[class]);
    }
    for (int i = 0; i < FL_LOGS_CLASSES; i++)
        (void)sqlite3_reset(cursors.stmts[i]);
}

/* The last position that is done with: right before the bound that was narrowed. */
static struct fl_logs_position last_position(const struct scan *scan)
{
    struct fl_logs_position last = scan->query->descending ? scan->after : scan->before;
    last.seq += scan->query->descending ? 1 : -1;
    return last;
}

void fl_logs_read(struct fl_logs_db *db, const struct fl_logs_query *query, struct fl_arena *arena,
                  struct fl_logs_page *ret_page)
{
    struct scan scan = {
        .db = db,
        .query = query,
        .arena = arena,
        .after = query->after,
        .before = query->before,
        .budget = FIRST_BUDGET,
        .buf = FL_BUF_INIT(FL_LOGS_BLOCK_MAX),
    };
    read_blocks(&scan);
    if (scan.count > 1)
        qsort(scan.kept, scan.count, sizeof(*scan.kept),
              query->descending ? compare_down : compare_up);
    *ret_page = (struct fl_logs_page){.events = scan.kept, .count = scan.count};
    ret_page->more = scan.narrowed;
    if (scan.narrowed)
        ret_page->last = last_position(&scan);
    fl_buf_free(&scan.buf);
    free(scan.block);
}
