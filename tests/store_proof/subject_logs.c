/* The logs store: jobs that append lines and move a stream's ship offset in one transaction. A job
 * that is refused must leave nothing behind, and the store must go on after it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/logs_store.h"
#include "subject.h"

enum { STREAMS = 3, MAX_GROUP = 3, MAX_EVENTS = 6, MAX_MESSAGE = 900 };

struct stream {
    int64_t ship_offset, stored_bytes, first_ms, last_ms;
    uint64_t events; /* a hash, in order */
};

struct content {
    struct stream streams[STREAMS];
    int64_t stored_bytes; /* the group's */
};

struct life {
    struct proof_disk *disk;
    struct proof_rng *rng;
    uv_loop_t loop;
    struct fl_logs_store *store;
    struct content content;
    uint32_t index;
    uint32_t injected; /* failures at the last refusal */
    bool refused;      /* the present group */
};

struct append {
    struct fl_logs_job job;
    struct life *life;
    uint32_t index;
    uint32_t stream;
    size_t count;
    int64_t ship_offset;
    struct fl_logs_event events[MAX_EVENTS];
    char bytes[MAX_EVENTS][MAX_MESSAGE];
};

static const char *const stream_names[STREAMS] = {"web/main/1", "web/main/2", "db/main/1"};
static const int64_t now_ms = 1700000000000;

static uint64_t hash_content(const struct content *content)
{
    return proof_hash(content, sizeof(*content));
}

static void init(void *model)
{
    struct proof_history *history = model;
    history->hashes[0] = hash_content(&(struct content){0});
}

static void count_event(struct stream *stream, int64_t time_ms, struct fl_str message)
{
    uint64_t hash = proof_hash(message.p, message.n);
    stream->events = proof_mix(stream->events, hash + (uint64_t)time_ms);
}

/* Reading everything. */

struct reading {
    struct fl_logs_job job;
    struct content content;
    bool stored;
};

static void read_stream(struct fl_logs_db *db, struct fl_arena *arena, int64_t group_id,
                        const char *name, struct stream *stream)
{
    struct fl_logs_stream found;
    if (!fl_logs_find_stream(db, group_id, fl_str_of(name), arena, &found))
        return;
    stream->ship_offset = found.ship_offset;
    stream->stored_bytes = found.stored_bytes;
    stream->first_ms = found.first_ms;
    stream->last_ms = found.last_ms;
    const struct fl_logs_query query = {.group_id = group_id,
                                        .stream_id = found.id,
                                        .after = FL_LOGS_BEGINNING,
                                        .before = FL_LOGS_END,
                                        .max_events = SIZE_MAX / 4,
                                        .max_bytes = SIZE_MAX / 4};
    struct fl_logs_page page;
    fl_logs_read(db, &query, arena, &page);
    for (size_t i = 0; i < page.count; i++)
        count_event(stream, page.events[i].time_ms, page.events[i].message);
}

static void read_all(struct fl_logs_job *job, struct fl_logs_db *db)
{
    struct reading *reading = FL_CONTAINER_OF(job, struct reading, job);
    struct fl_arena *arena = fl_arena_new();
    struct fl_logs_group group;
    if (fl_logs_find_group(db, FL_STR("/ecs/web"), arena, &group)) {
        reading->content.stored_bytes = group.stored_bytes;
        for (size_t i = 0; i < STREAMS; i++)
            read_stream(db, arena, group.id, stream_names[i], &reading->content.streams[i]);
    }
    fl_arena_free(arena);
}

static void reading_done(struct fl_logs_job *job, bool stored)
{
    FL_CONTAINER_OF(job, struct reading, job)->stored = stored;
}

static int read_store(const char *root, uv_loop_t *loop, struct fl_logs_store **ret_store,
                      struct reading *reading, struct fl_err *err)
{
    char path[128];
    (void)snprintf(path, sizeof(path), "%s/logs.db", root);
    *reading = (struct reading){.job = {.run = read_all, .done = reading_done}};
    int rc = fl_logs_store_open(path, loop, ret_store, err);
    if (rc < 0)
        return rc;
    fl_logs_store_submit(*ret_store, &reading->job);
    (void)uv_run(loop, UV_RUN_DEFAULT);
    return reading->stored ? 0 : fl_err_set(err, -EIO, "cannot read");
}

/* Writing. */

static void run_append(struct fl_logs_job *job, struct fl_logs_db *db)
{
    struct append *append = FL_CONTAINER_OF(job, struct append, job);
    struct fl_str name = fl_str_of(stream_names[append->stream]);
    struct fl_arena *arena = fl_arena_new();
    struct fl_logs_group group;
    struct fl_logs_stream stream;
    if (!fl_logs_find_group(db, FL_STR("/ecs/web"), arena, &group))
        fl_logs_add_group(db,
                          &(struct fl_logs_group){.name = FL_STR("/ecs/web"),
                                                  .created_ms = now_ms,
                                                  .class = FL_STR("STANDARD"),
                                                  .tags = FL_STR("{}")},
                          &group);
    if (!fl_logs_find_stream(db, group.id, name, arena, &stream))
        fl_logs_add_stream(db, group.id, name, now_ms, &stream);
    stream.ship_offset = append->ship_offset;
    fl_logs_add_events(db, &stream, append->events, append->count, now_ms);
    fl_arena_free(arena);
}

static void append_done(struct fl_logs_job *job, bool stored)
{
    struct append *append = FL_CONTAINER_OF(job, struct append, job);
    struct life *life = append->life;
    life->refused |= !stored;
    if (stored)
        proof_record_mark(&(struct proof_mark){PROOF_ACKED, append->index, 0});
    free(append);
}

static void fill_event(struct life *life, struct append *append, size_t i)
{
    size_t n = 1 + proof_below(life->rng, MAX_MESSAGE - 1);
    for (size_t at = 0; at < n; at++)
        append->bytes[i][at] = (char)('a' + proof_below(life->rng, 26));
    append->events[i].message = (struct fl_str){append->bytes[i], n};
    append->events[i].time_ms = now_ms + proof_below(life->rng, 5) + (int64_t)life->index * 10;
}

static int compare_times(const void *a, const void *b)
{
    const struct fl_logs_event *left = a, *right = b;
    return (left->time_ms > right->time_ms) - (left->time_ms < right->time_ms);
}

static void foresee(struct content *content, const struct append *append)
{
    struct stream *stream = &content->streams[append->stream];
    stream->ship_offset = append->ship_offset;
    for (size_t i = 0; i < append->count; i++) {
        const struct fl_logs_event *event = &append->events[i];
        int64_t bytes = (int64_t)event->message.n + FL_LOGS_EVENT_OVERHEAD;
        stream->stored_bytes += bytes;
        content->stored_bytes += bytes;
        if (stream->first_ms == 0)
            stream->first_ms = event->time_ms;
        stream->last_ms = event->time_ms;
        count_event(stream, event->time_ms, event->message);
    }
}

static void submit(struct life *life)
{
    struct append *append = fl_calloc(1, sizeof(*append));
    append->job = (struct fl_logs_job){.run = run_append, .done = append_done};
    append->life = life;
    append->index = ++life->index;
    append->stream = proof_below(life->rng, STREAMS);
    append->count = 1 + proof_below(life->rng, MAX_EVENTS);
    append->ship_offset =
        life->content.streams[append->stream].ship_offset + 1 + proof_below(life->rng, 4096);
    for (size_t i = 0; i < append->count; i++)
        fill_event(life, append, i);
    qsort(append->events, append->count, sizeof(append->events[0]), compare_times);
    foresee(&life->content, append);
    proof_record_mark(
        &(struct proof_mark){PROOF_SUBMITTED, append->index, hash_content(&life->content)});
    fl_logs_store_submit(life->store, &append->job);
}

/* All of a group lies in one transaction: it is stored, or nothing of it is. */
static void write_group(struct life *life)
{
    struct content before = life->content;
    uint32_t index = life->index, size = 1 + proof_below(life->rng, MAX_GROUP);
    life->refused = false;
    proof_gate_close();
    for (uint32_t i = 0; i < size; i++)
        submit(life);
    proof_gate_open();
    (void)uv_run(&life->loop, UV_RUN_DEFAULT);
    if (!life->refused)
        return;
    if (life->disk->injected == life->injected)
        proof_violated(life->disk, "a job was refused though no call failed");
    life->injected = life->disk->injected;
    life->disk->undone++;
    life->content = before;
    life->index = index;
    proof_record_mark(&(struct proof_mark){PROOF_REVERTED, index, 0});
}

static int open_life(struct life *life)
{
    const struct proof_history *model = (void *)life->disk->model;
    struct reading reading;
    struct fl_err err = {0};
    char why[200];
    if (read_store(life->disk->root, &life->loop, &life->store, &reading, &err) < 0) {
        (void)fprintf(stderr, "%s\n", err.text);
        return PROOF_REFUSED;
    }
    int found = proof_history_find(model, hash_content(&reading.content), why, sizeof(why));
    if (found < 0)
        proof_violated(life->disk, "%s", why);
    life->content = reading.content;
    life->index = (uint32_t)found;
    proof_record_mark(&(struct proof_mark){PROOF_SHOWN, life->index, 0});
    return 0;
}

static void close_life(struct life *life)
{
    fl_logs_store_close(FL_TAKE_PTR(life->store));
    (void)uv_run(&life->loop, UV_RUN_DEFAULT);
}

static int live(struct proof_disk *disk, struct proof_rng *rng)
{
    struct life life = {.disk = disk, .rng = rng};
    uint32_t groups = 4 + proof_below(rng, 10);
    (void)uv_loop_init(&life.loop);
    int status = open_life(&life);
    for (uint32_t i = 0; status == 0 && i < groups; i++) {
        write_group(&life);
        if (proof_below(rng, 10) == 0) {
            close_life(&life);
            status = open_life(&life);
        }
    }
    if (status == 0 && proof_below(rng, 2))
        close_life(&life);
    return status;
}

static bool check(const char *root, const void *model, char *why, size_t size)
{
    static uv_loop_t loop;
    static bool has_loop;
    struct fl_logs_store *store = NULL;
    struct reading reading;
    struct fl_err err = {0};
    bool good = false;
    if (!has_loop)
        has_loop = uv_loop_init(&loop) == 0;
    if (read_store(root, &loop, &store, &reading, &err) < 0)
        (void)snprintf(why, size, "it does not open: %s", err.text);
    else
        good = proof_history_find(model, hash_content(&reading.content), why, size) >= 0;
    fl_logs_store_close(store);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    return good;
}

const struct proof_subject proof_logs = {
    .name = "logs",
    .cut_one_in = 64,
    .may_stop = true,
    .goes_on = true,
    .live = live,
    .init = init,
    .apply = proof_history_apply,
    .check = check,
};
