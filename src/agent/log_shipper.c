/* One follow per container: a spool, how far it is stored, and one call to the server at a time.
 *
 * step() is the only place that decides what is next; it runs when the file changes, when a timer
 * is due and when an answer has come. */
#include "agent/log_shipper.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/queue.h>
#include <sys/stat.h>

#include "agent/log_spool.h"
#include "base/clock.h"
#include "base/log.h"
#include "wire/acs.h"
#include "wire/json.h"
#include "wire/url.h"

enum {
    WINDOW_BYTES = 512 * 1024, /* of the spool, per call; holds the longest event */
    BODY_BYTES = 1024 * 1024,  /* of JSON, unless a single event is longer */
    STREAM_MAX = 4096,
    BODY_MAX = 4 * 1024 * 1024, /* a longest event of nothing but escapes */
    MAX_EVENTS = 10000,
    PUNCH_STEP = 1024 * 1024,
    CALL_TIMEOUT_MS = 30000,
    BACKOFF_MIN_MS = 200,
    BACKOFF_MAX_MS = 10000,
    ENSURE_MS = 30000,
    PACE_MS = 20,      /* between two calls for a trickle of lines */
    MISSING_MS = 200,  /* until a spool that is not there yet is looked for again */
    GIVE_UP_AFTER = 3, /* refusals of a finished spool */
};

struct fl_log_shipper {
    uv_loop_t *loop;
    struct fl_aws_client *client;
    LIST_HEAD(, follow) follows;
    bool is_away; /* said in the log; once per absence */
};

struct follow {
    LIST_ENTRY(follow) entry;
    struct fl_log_shipper *shipper;
    char *container_id;
    char *spool_path;
    char *group;
    char *stream;
    bool create_group;
    int fd; /* the spool; -1 until it is there */
    uv_timer_t timer;
    uv_fs_event_t watch;
    unsigned open_handles;
    struct call *call; /* under way */
    bool is_started;   /* else only ensured */
    bool is_finishing;
    bool knows_offset;
    bool is_backlogged; /* the last batch was cut by its bounds: more is there */
    int64_t offset;     /* how far the server has stored the spool */
    int64_t punched;
    unsigned backoff_ms;
    unsigned refusals;
    int64_t ensure_until_ms; /* monotonic */
    fl_log_ensured ensured;
    void *ensured_context;
    fl_log_finished finished;
    void *finished_context;
};

/* Outlives its follow when that is closed before the answer comes. */
struct call {
    struct follow *follow;
};

static void step(struct follow *follow);

struct fl_log_shipper *fl_log_shipper_open(uv_loop_t *loop, struct fl_aws_client *client)
{
    struct fl_log_shipper *shipper = fl_calloc(1, sizeof(*shipper));
    shipper->loop = loop;
    shipper->client = client;
    LIST_INIT(&shipper->follows);
    return shipper;
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct follow *follow = handle->data;
    if (--follow->open_handles > 0)
        return;
    free(follow->container_id);
    free(follow->spool_path);
    free(follow->group);
    free(follow->stream);
    free(follow);
}

static void drop(struct follow *follow)
{
    LIST_REMOVE(follow, entry);
    if (follow->call)
        follow->call->follow = NULL;
    if (follow->fd >= 0)
        (void)close(follow->fd);
    uv_close((uv_handle_t *)&follow->timer, on_handle_closed);
    uv_close((uv_handle_t *)&follow->watch, on_handle_closed);
}

void fl_log_shipper_close(struct fl_log_shipper *shipper)
{
    struct follow *follow;
    while ((follow = LIST_FIRST(&shipper->follows)))
        drop(follow);
    free(shipper);
}

static struct follow *find(struct fl_log_shipper *shipper, struct fl_str container_id)
{
    struct follow *follow;
    LIST_FOREACH (follow, &shipper->follows, entry)
        if (fl_str_is(container_id, follow->container_id))
            return follow;
    return NULL;
}

static char *copy(struct fl_str s)
{
    return fl_strndup(s.p, s.n);
}

static struct follow *add(struct fl_log_shipper *shipper, const struct fl_log_target *target)
{
    struct follow *follow = fl_calloc(1, sizeof(*follow));
    follow->shipper = shipper;
    follow->container_id = copy(target->container_id);
    follow->spool_path = copy(target->spool_path);
    follow->group = copy(target->group);
    follow->stream = copy(target->stream);
    follow->create_group = target->create_group;
    follow->fd = -1;
    follow->backoff_ms = BACKOFF_MIN_MS;
    (void)uv_timer_init(shipper->loop, &follow->timer);
    (void)uv_fs_event_init(shipper->loop, &follow->watch);
    follow->timer.data = follow->watch.data = follow;
    follow->open_handles = 2;
    LIST_INSERT_HEAD(&shipper->follows, follow, entry);
    return follow;
}

static void on_timer(uv_timer_t *timer)
{
    step(timer->data);
}

/* step() runs again after the delay and not before. */
static void wait_ms(struct follow *follow, unsigned ms)
{
    (void)uv_timer_start(&follow->timer, on_timer, ms, 0);
}

static void on_change(uv_fs_event_t *watch, FL_UNUSED const char *name, FL_UNUSED int events,
                      FL_UNUSED int status)
{
    step(watch->data);
}

/* A shipment under construction. */
struct batch {
    struct fl_buf body;
    struct fl_json_writer jw;
    size_t count;
    int64_t next_offset;
    bool is_cut; /* by the bounds, not by the end of the spool */
};

static void batch_begin(struct batch *batch)
{
    *batch = (struct batch){.body = FL_BUF_INIT(BODY_MAX)};
    batch->jw.buf = &batch->body;
    fl_jw_object_begin(&batch->jw);
    fl_jw_key(&batch->jw, "events");
    fl_jw_array_begin(&batch->jw);
}

static void batch_end(struct batch *batch, const struct follow *follow)
{
    fl_jw_array_end(&batch->jw);
    fl_jw_member_str(&batch->jw, "logGroupName", fl_str_of(follow->group));
    fl_jw_member_str(&batch->jw, "logStreamName", fl_str_of(follow->stream));
    fl_jw_member_bool(&batch->jw, "createGroup", follow->create_group);
    fl_jw_member_int(&batch->jw, "offset", follow->offset);
    fl_jw_member_int(&batch->jw, "nextOffset", batch->next_offset);
    fl_jw_object_end(&batch->jw);
}

/* False, and the batch as it was, when there is no room for the event. */
static bool batch_add(struct batch *batch, int64_t time_ms, struct fl_str text)
{
    size_t before = batch->body.n;
    if (batch->count == MAX_EVENTS)
        return false;
    struct fl_json_writer saved = batch->jw;
    fl_jw_object_begin(&batch->jw);
    fl_jw_member_int(&batch->jw, "timestamp", time_ms);
    fl_jw_member_str(&batch->jw, "message", text);
    fl_jw_object_end(&batch->jw);
    if (batch->body.n > BODY_BYTES && batch->count > 0) {
        batch->body.n = before;
        batch->jw = saved;
        return false;
    }
    batch->count++;
    return true;
}

/* Adds the events of data, which lies at `start` in the spool. */
static void batch_fill(struct batch *batch, struct fl_str data, int64_t start, bool final)
{
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(FL_SPOOL_TEXT_CAP);
    size_t at = 0;
    int64_t time_ms;
    while (fl_log_spool_next(data, final, &at, &time_ms, &text)) {
        if (text.n > 0 && !batch_add(batch, time_ms, fl_buf_str(&text))) {
            batch->is_cut = true;
            return;
        }
        batch->next_offset = start + (int64_t)at;
    }
    if (at > 0)
        batch->next_offset = start + (int64_t)at;
}

/* Reads the spool from the stored offset on. What was punched, or never stored by a server that
 * lost its data, is a hole and skipped. 0 or -errno. */
static int batch_read(struct batch *batch, const struct follow *follow)
{
    struct stat st;
    off_t start = lseek(follow->fd, follow->offset, SEEK_DATA);
    if (start < 0)
        start = follow->offset;
    if (fstat(follow->fd, &st) < 0)
        return -errno;
    if (st.st_size <= start)
        return 0;
    size_t wanted = (size_t)FL_MIN((off_t)WINDOW_BYTES, st.st_size - start);
    FL_CLEANUP_FREE char *window = fl_malloc(wanted);
    ssize_t n = pread(follow->fd, window, wanted, start);
    if (n < 0)
        return -errno;
    bool reaches_end = start + n >= st.st_size;
    batch_fill(batch, (struct fl_str){window, (size_t)n}, start,
               follow->is_finishing && reaches_end);
    batch->is_cut = batch->is_cut || !reaches_end;
    return 0;
}

/* The answer's nextOffset, or -1. */
static int64_t answered_offset(struct fl_str body)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    const struct fl_json *json = fl_json_read(body, arena, NULL);
    const struct fl_json *offset = fl_json_get(json, "nextOffset");
    return fl_json_is(offset, FL_JSON_INTEGER) ? FL_MAX(fl_json_int(offset), -1) : -1;
}

static void punch(struct follow *follow)
{
    if (follow->fd < 0 || follow->offset - follow->punched < PUNCH_STEP)
        return;
    (void)fallocate(follow->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, follow->punched,
                    follow->offset - follow->punched);
    follow->punched = follow->offset;
}

/* Ends the ensure that is waiting, if one is; an error ends the follow too. */
static void end_ensure(struct follow *follow, struct fl_str error)
{
    fl_log_ensured ensured = FL_TAKE_PTR(follow->ensured);
    void *context = follow->ensured_context;
    if (!ensured)
        return;
    if (error.n > 0)
        drop(follow);
    ensured(context, error);
}

static void end_finish(struct follow *follow)
{
    fl_log_finished finished = follow->finished;
    void *context = follow->finished_context;
    drop(follow);
    finished(context);
}

static void accept_answer(struct follow *follow, int64_t offset)
{
    if (follow->shipper->is_away)
        fl_log_info("logs are shipped again");
    follow->shipper->is_away = false;
    follow->knows_offset = true;
    follow->offset = offset;
    follow->backoff_ms = BACKOFF_MIN_MS;
    follow->refusals = 0;
    punch(follow);
    if (follow->is_started && !follow->is_backlogged && !follow->is_finishing)
        wait_ms(follow, PACE_MS);
    if (follow->ensured)
        end_ensure(follow, FL_STR(""));
    else
        step(follow);
}

static void say_away(struct fl_log_shipper *shipper, struct fl_str code, struct fl_str message)
{
    if (!shipper->is_away)
        fl_log_warn("logs cannot be shipped and wait in their spools: %.*s %.*s", FL_STR_ARG(code),
                    FL_STR_ARG(message));
    shipper->is_away = true;
}

static bool is_final(const struct fl_http_response *response, struct fl_str code)
{
    return response->status >= 400 && response->status < 500 &&
           (fl_str_is(code, "ResourceNotFoundException") ||
            fl_str_is(code, "InvalidParameterException"));
}

static void refuse_answer(struct follow *follow, const struct fl_http_response *response)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_str code = FL_STR(""), message = response->body;
    if (response->status >= 400)
        fl_aws_error(response, arena, &code, &message);
    bool final = is_final(response, code);
    if (follow->ensured && (final || fl_clock_mono_ms() >= follow->ensure_until_ms)) {
        end_ensure(follow,
                   fl_str_printf(arena,
                                 "failed to initialize logging driver: failed to create "
                                 "Cloudwatch log stream: %.*s%s%.*s",
                                 FL_STR_ARG(code), code.n > 0 ? ": " : "", FL_STR_ARG(message)));
        return;
    }
    say_away(follow->shipper, code, message);
    follow->refusals += final;
    if (follow->is_finishing && follow->refusals >= GIVE_UP_AFTER) {
        end_finish(follow);
        return;
    }
    wait_ms(follow, follow->backoff_ms);
    follow->backoff_ms = FL_MIN(follow->backoff_ms * 2, (unsigned)BACKOFF_MAX_MS);
}

static void on_answer(void *context, const struct fl_http_response *response)
{
    FL_CLEANUP_FREE struct call *call = context;
    struct follow *follow = call->follow;
    if (!follow)
        return;
    follow->call = NULL;
    int64_t offset = response->status == 200 ? answered_offset(response->body) : -1;
    if (offset >= 0)
        accept_answer(follow, offset);
    else
        refuse_answer(follow, response);
}

static void send_batch(struct follow *follow, struct batch *batch)
{
    batch_end(batch, follow);
    FL_ASSERT(!batch->body.overflow);
    follow->is_backlogged = batch->is_cut;
    follow->call = fl_calloc(1, sizeof(*follow->call));
    follow->call->follow = follow;
    FL_CLEANUP_BUF struct fl_buf name = FL_BUF_INIT(STREAM_MAX);
    fl_buf_add_z(&name, "stream=");
    fl_url_encode(&name, fl_str_of(follow->stream));
    const struct fl_header stream = {FL_STR(FL_ACS_STREAM_HEADER), fl_buf_str(&name)};
    const struct fl_aws_request request = {.service = "logs",
                                           .target = "Fairlead_20261120.ShipLogs",
                                           .body = fl_buf_str(&batch->body),
                                           .timeout_ms = CALL_TIMEOUT_MS,
                                           .extra = &stream};
    fl_aws_send(follow->shipper->client, &request, on_answer, follow->call);
}

static bool open_spool(struct follow *follow)
{
    if (follow->fd >= 0)
        return true;
    follow->fd = open(follow->spool_path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (follow->fd >= 0)
        (void)uv_fs_event_start(&follow->watch, on_change, follow->spool_path, 0);
    return follow->fd >= 0;
}

/* Ships what is there; when that is nothing, a finishing follow is done. */
static void ship(struct follow *follow)
{
    struct batch batch;
    batch_begin(&batch);
    batch.next_offset = follow->offset;
    int status = open_spool(follow) ? batch_read(&batch, follow) : -ENOENT;
    if (batch.next_offset > follow->offset)
        send_batch(follow, &batch);
    else if (follow->is_finishing)
        end_finish(follow);
    else if (status < 0)
        wait_ms(follow, MISSING_MS);
    fl_buf_free(&batch.body);
}

static void ask_offset(struct follow *follow)
{
    struct batch batch;
    batch_begin(&batch);
    batch.next_offset = follow->offset;
    send_batch(follow, &batch);
    fl_buf_free(&batch.body);
}

static void step(struct follow *follow)
{
    if (follow->call || uv_is_active((uv_handle_t *)&follow->timer))
        return;
    if (!follow->knows_offset)
        ask_offset(follow);
    else if (follow->is_started || follow->is_finishing)
        ship(follow);
}

void fl_log_shipper_ensure(struct fl_log_shipper *shipper, const struct fl_log_target *target,
                           fl_log_ensured done, void *context)
{
    struct follow *follow = find(shipper, target->container_id);
    if (!follow)
        follow = add(shipper, target);
    FL_ASSERT(!follow->ensured);
    follow->ensured = done;
    follow->ensured_context = context;
    follow->ensure_until_ms = fl_clock_mono_ms() + ENSURE_MS;
    follow->knows_offset = false;
    step(follow);
}

void fl_log_shipper_start(struct fl_log_shipper *shipper, const struct fl_log_target *target)
{
    struct follow *follow = find(shipper, target->container_id);
    if (!follow)
        follow = add(shipper, target);
    follow->is_started = true;
    step(follow);
}

bool fl_log_shipper_finish(struct fl_log_shipper *shipper, struct fl_str container_id,
                           fl_log_finished done, void *context)
{
    struct follow *follow = find(shipper, container_id);
    if (!follow)
        return false;
    follow->is_finishing = true;
    follow->finished = done;
    follow->finished_context = context;
    wait_ms(follow, 0);
    return true;
}
