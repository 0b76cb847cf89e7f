/* Events into blocks, and small blocks into larger ones. */
#include <stdlib.h>

#include "store/logs_block.h"
#include "store/logs_db.h"

enum {
    BLOCK_BYTES = 256 * 1024,  /* of messages; one batch or event may be more */
    AT_ONCE_BYTES = 32 * 1024, /* a batch as large is compressed at once */
    CLOSED_BYTES = 64 * 1024,  /* a packed block as large is not packed again */
    LOOSE_BYTES = 256 * 1024,  /* of a stream, then they are packed */
    PLAIN_BLOCKS = 256,        /* of a stream, then they are packed */
    LEVEL = 1,                 /* zstd's: the higher ones gain little on lines */
};

/* ---- blocks in and out ---- */

static int compare_events(const void *a, const void *b)
{
    const struct fl_logs_event *left = *(const struct fl_logs_event *const *)a;
    const struct fl_logs_event *right = *(const struct fl_logs_event *const *)b;
    if (left->time_ms != right->time_ms)
        return left->time_ms < right->time_ms ? -1 : 1;
    return left->seq < right->seq ? -1 : left->seq > right->seq;
}

static void sort_events(const struct fl_logs_event **events, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        if (compare_events(&events[i - 1], &events[i]) > 0) {
            qsort(events, count, sizeof(*events), compare_events);
            return;
        }
    }
}

static struct fl_str compress(struct fl_logs_db *db, struct fl_str plain, struct fl_buf *buf)
{
    if (!db->packer && !(db->packer = ZSTD_createCCtx())) {
        db->failed = db->failed ? db->failed : SQLITE_NOMEM;
        return plain;
    }
    (void)ZSTD_CCtx_setParameter(db->packer, ZSTD_c_compressionLevel, LEVEL);
    (void)ZSTD_CCtx_setParameter(db->packer, ZSTD_c_checksumFlag, 1);
    size_t room = ZSTD_compressBound(plain.n);
    char *at = fl_buf_reserve(buf, room);
    size_t n = ZSTD_compress2(db->packer, at, room, plain.p, plain.n);
    return ZSTD_isError(n) || n >= plain.n ? plain : (struct fl_str){at, n};
}

static int class_of(int64_t span_ms)
{
    int class = 0;
    while (class < FL_LOGS_CLASSES - 1 && span_ms > fl_logs_class_span_ms[class])
        class ++;
    return class;
}

static enum fl_logs_looseness looseness_of(size_t plain_bytes, bool fresh)
{
    if (plain_bytes >= (fresh ? AT_ONCE_BYTES : CLOSED_BYTES))
        return FL_LOGS_CLOSED;
    return fresh ? FL_LOGS_PLAIN : FL_LOGS_SMALL;
}

static void insert_block(struct fl_logs_db *db, const struct fl_logs_stream *stream,
                         const int64_t span[2], int64_t stored_bytes, size_t plain_bytes,
                         enum fl_logs_codec codec, enum fl_logs_looseness loose, struct fl_str data)
{
    const int64_t values[] = {stream->group_id,
                              stream->id,
                              class_of(span[1] - span[0]),
                              span[0],
                              span[1],
                              stored_bytes,
                              (int64_t)plain_bytes,
                              codec,
                              loose};
    fl_db_bind_blob(db->stmts[FL_LOGS_ADD_BLOCK], FL_ARRAY_SIZE(values) + 1, data);
    (void)fl_logs_db_run(db, FL_LOGS_ADD_BLOCK, values, FL_ARRAY_SIZE(values));
}

static void write_block(struct fl_logs_db *db, struct fl_logs_stream *stream,
                        const struct fl_logs_event *const *events, size_t count, bool fresh)
{
    FL_CLEANUP_BUF struct fl_buf plain = FL_BUF_INIT(FL_LOGS_BLOCK_MAX);
    FL_CLEANUP_BUF struct fl_buf packed = FL_BUF_INIT(2 * (size_t)FL_LOGS_BLOCK_MAX);
    const int64_t span[2] = {events[0]->time_ms, events[count - 1]->time_ms};
    int64_t stored_bytes = 0;
    for (size_t i = 0; i < count; i++)
        stored_bytes += (int64_t)events[i]->message.n + FL_LOGS_EVENT_OVERHEAD;
    fl_logs_block_write(&plain, events, count);
    FL_ASSERT(!plain.overflow);
    enum fl_logs_looseness loose = looseness_of(plain.n, fresh);
    struct fl_str data = fl_buf_str(&plain);
    if (loose != FL_LOGS_PLAIN)
        data = compress(db, data, &packed);
    insert_block(db, stream, span, stored_bytes, plain.n,
                 data.n < plain.n ? FL_LOGS_CODEC_ZSTD : FL_LOGS_CODEC_NONE, loose, data);
    stream->plain_blocks += loose == FL_LOGS_PLAIN;
    stream->loose_bytes += loose == FL_LOGS_CLOSED ? 0 : (int64_t)plain.n;
}

void fl_logs_write_blocks(struct fl_logs_db *db, struct fl_logs_stream *stream,
                          const struct fl_logs_event *const *events, size_t count, bool fresh)
{
    const int64_t longest_ms = fl_logs_class_span_ms[FL_LOGS_CLASSES - 1];
    size_t begin = 0, bytes = 0;
    for (size_t i = 0; i < count; i++) {
        size_t n = events[i]->message.n + FL_LOGS_HEAD_BYTES;
        if (i > begin &&
            (bytes + n > BLOCK_BYTES || events[i]->time_ms - events[begin]->time_ms > longest_ms)) {
            write_block(db, stream, &events[begin], i - begin, fresh);
            begin = i;
            bytes = 0;
        }
        bytes += n;
    }
    if (count > begin)
        write_block(db, stream, &events[begin], count - begin, fresh);
}

void fl_logs_add_events(struct fl_logs_db *db, struct fl_logs_stream *stream,
                        struct fl_logs_event *events, size_t count, int64_t now_ms)
{
    FL_CLEANUP_FREE const struct fl_logs_event **ordered = fl_calloc(count + 1, sizeof(*ordered));
    int64_t bytes = 0;
    for (size_t i = 0; i < count; i++) {
        events[i].seq = db->next_seq++;
        events[i].ingested_ms = now_ms;
        ordered[i] = &events[i];
        bytes += (int64_t)events[i].message.n + FL_LOGS_EVENT_OVERHEAD;
        if (stream->first_ms < 0 || events[i].time_ms < stream->first_ms)
            stream->first_ms = events[i].time_ms;
        stream->last_ms = FL_MAX(stream->last_ms, events[i].time_ms);
        stream->last_ingested_ms = now_ms;
    }
    sort_events(ordered, count);
    fl_logs_write_blocks(db, stream, ordered, count, true);
    if (stream->plain_blocks > PLAIN_BLOCKS || stream->loose_bytes > LOOSE_BYTES)
        fl_logs_pack(db, stream);
    stream->stored_bytes += bytes;
    fl_logs_db_write_stream(db, stream);
    const int64_t grown[] = {stream->group_id, bytes};
    if (bytes > 0)
        (void)fl_logs_db_run(db, FL_LOGS_GROW_GROUP, grown, FL_ARRAY_SIZE(grown));
}

bool fl_logs_unpack(struct fl_logs_db *db, enum fl_logs_codec codec, int64_t plain_bytes,
                    struct fl_str data, struct fl_buf *buf, struct fl_str *ret_plain)
{
    if (codec == FL_LOGS_CODEC_NONE) {
        *ret_plain = data;
        return true;
    }
    if (codec != FL_LOGS_CODEC_ZSTD || plain_bytes < 0 || plain_bytes > FL_LOGS_BLOCK_MAX ||
        (!db->unpacker && !(db->unpacker = ZSTD_createDCtx())))
        return false;
    fl_buf_clear(buf);
    char *at = fl_buf_reserve(buf, (size_t)plain_bytes);
    size_t n = ZSTD_decompressDCtx(db->unpacker, at, (size_t)plain_bytes, data.p, data.n);
    *ret_plain = (struct fl_str){at, (size_t)plain_bytes};
    return n == (size_t)plain_bytes;
}

/* ---- packing ---- */

struct gathered {
    struct fl_arena *arena;
    const struct fl_logs_event **events;
    size_t count;
    size_t cap;
};

static void gather(struct gathered *gathered, const struct fl_logs_event *event)
{
    if (gathered->count == gathered->cap) {
        size_t cap = FL_MAX(gathered->cap * 2, (size_t)256);
        const struct fl_logs_event **events =
            fl_arena_new_array(gathered->arena, const struct fl_logs_event *, cap);
        if (gathered->count > 0)
            memcpy(events, gathered->events, gathered->count * sizeof(*events));
        gathered->events = events;
        gathered->cap = cap;
    }
    struct fl_logs_event *copy = fl_arena_new_object(gathered->arena, struct fl_logs_event);
    *copy = *event;
    copy->message = fl_str_dup(gathered->arena, event->message);
    gathered->events[gathered->count++] = copy;
}

/* False when a block is damaged: then all stay as they are. */
static bool gather_loose(struct fl_logs_db *db, int64_t stream_id, struct gathered *gathered)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(FL_LOGS_BLOCK_MAX);
    sqlite3_stmt *stmt = db->stmts[FL_LOGS_LOOSE_BLOCKS];
    struct fl_logs_block_reader reader;
    struct fl_str plain;
    bool sound = true;
    fl_logs_db_bind(stmt, 1, stream_id);
    while (sound && fl_logs_db_step(db, stmt)) {
        sound =
            fl_logs_unpack(db, (enum fl_logs_codec)sqlite3_column_int(stmt, 0),
                           sqlite3_column_int64(stmt, 1), fl_db_column(stmt, 2), &buf, &plain) &&
            fl_logs_block_open(&reader, plain);
        while (sound && fl_logs_block_next(&reader))
            gather(gathered, &reader.event);
        sound = sound && reader.left == 0;
    }
    (void)sqlite3_reset(stmt);
    return sound && !db->failed;
}

void fl_logs_pack(struct fl_logs_db *db, struct fl_logs_stream *stream)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct gathered gathered = {.arena = arena};
    bool sound = gather_loose(db, stream->id, &gathered);
    stream->plain_blocks = 0;
    stream->loose_bytes = 0;
    if (!sound) {
        db->damaged++;
        return;
    }
    sort_events(gathered.events, gathered.count);
    (void)fl_logs_db_run(db, FL_LOGS_DELETE_LOOSE, &stream->id, 1);
    fl_logs_write_blocks(db, stream, gathered.events, gathered.count, false);
}
