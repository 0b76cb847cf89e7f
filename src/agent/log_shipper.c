/* One follow per container: a spool, how far it is stored, and one batch at a time.
 *
 * step() is the only place that decides what is next; it runs when the file changes, when a timer
 * is due and when an answer has come. */
#include "agent/log_shipper.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/queue.h>
#include <sys/stat.h>

#include "agent/log_lines.h"
#include "agent/log_sink.h"
#include "base/clock.h"
#include "base/log.h"

enum {
    WINDOW_BYTES = 512 * 1024, /* of the spool, per batch; holds the longest event */
    PUNCH_STEP = 1024 * 1024,
    BLOCK_BYTES = 4096,
    BACKOFF_MIN_MS = 200,
    BACKOFF_MAX_MS = 10000,
    ENSURE_MS = 30000,
    PACE_MS = 20,        /* between two batches for a trickle of lines */
    MISSING_MS = 200,    /* until a spool that is not there yet is looked for again */
    OPEN_EVENT_MS = 500, /* until an event that may end by its age is looked at again */
    GIVE_UP_AFTER = 3,   /* refusals of a finished spool */
    GIVE_UP_MS = 600000, /* with a backend that is not our server, after the container's end */
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
    struct fl_log_sink *sink;
    struct fl_log_lines lines;
    bool is_server;      /* the backend is our server: waited for without end */
    bool goes_on;        /* a backend that is away does not keep the container from its start */
    bool is_away;        /* said in the log; once per absence of another backend */
    bool has_open_event; /* that may end by its age */
    int64_t punch_step;
    unsigned first_backoff_ms;
    int64_t finish_until_ms; /* monotonic, once finishing */
    int fd;                  /* the spool; -1 until it is there */
    uv_timer_t timer;
    uv_fs_event_t watch;
    unsigned open_handles;
    bool is_sending; /* an answer is to come */
    bool is_started; /* else only ensured */
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
    free(follow);
}

static void drop(struct follow *follow)
{
    LIST_REMOVE(follow, entry);
    follow->sink->ops->close(FL_TAKE_PTR(follow->sink));
    fl_log_lines_free(&follow->lines);
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

static void on_answer(void *context, const struct fl_log_answer *answer);

static void set_sink(struct follow *follow, const struct fl_log_target *target)
{
    const struct fl_log_plan *plan = target->plan;
    follow->is_server = plan->kind == FL_LOG_AWSLOGS;
    follow->sink = follow->is_server ? fl_log_awslogs_new(follow->shipper->client, plan)
                                     : fl_log_local_new(follow->shipper->loop, plan, target->facts,
                                                        target->spool_path);
    follow->sink->answered = on_answer;
    follow->sink->context = follow;
    follow->lines.pieces = follow->sink->pieces;
    follow->lines.next = FL_BUF_INIT(FL_SPOOL_TEXT_CAP);
    if (plan->pattern.n > 0)
        follow->lines.pattern = fl_log_pattern_new(plan->pattern, NULL);
    follow->goes_on = plan->drops || plan->is_async;
    follow->first_backoff_ms =
        plan->retry_wait_ms > 0 ? (unsigned)plan->retry_wait_ms : BACKOFF_MIN_MS;
    follow->backoff_ms = follow->first_backoff_ms;
    int64_t step = plan->buffer_bytes > 0 ? plan->buffer_bytes / 8 : PUNCH_STEP;
    follow->punch_step = FL_MAX(FL_MIN(step, (int64_t)PUNCH_STEP), (int64_t)BLOCK_BYTES);
}

static struct follow *add(struct fl_log_shipper *shipper, const struct fl_log_target *target)
{
    struct follow *follow = fl_calloc(1, sizeof(*follow));
    follow->shipper = shipper;
    follow->container_id = copy(target->container_id);
    follow->spool_path = copy(target->spool_path);
    set_sink(follow, target);
    follow->fd = -1;
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

/* A batch under construction. */
struct batch {
    int64_t next_offset;
    bool is_cut; /* by the bounds, not by the end of the spool */
};

/* What the shim says about the log itself is for the host's operator, too. */
static void tell(const struct follow *follow, const struct fl_log_event *event)
{
    if (event->stream == 'd')
        fl_log_warn("container %.12s: log: %.*s", follow->container_id, FL_STR_ARG(event->text));
}

/* Adds the events of data, which lies at `start` in the spool. */
static void batch_fill(struct batch *batch, struct follow *follow, struct fl_str data,
                       int64_t start, bool final)
{
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(FL_SPOOL_TEXT_CAP);
    struct fl_log_event event;
    int64_t now_ms = fl_clock_wall_ms();
    size_t at = 0;
    bool is_full = data.n == WINDOW_BYTES;
    while (fl_log_lines_next(&follow->lines, data, final, is_full && at == 0, now_ms, &at, &event,
                             &text, &follow->has_open_event)) {
        if (!follow->sink->ops->add(follow->sink, &event)) {
            batch->is_cut = true;
            return;
        }
        tell(follow, &event);
        batch->next_offset = start + (int64_t)at;
    }
    if (at > 0)
        batch->next_offset = start + (int64_t)at;
}

/* Reads the spool from the stored offset on. What was punched, or never stored by a server that
 * lost its data, is a hole and skipped. 0 or -errno. */
static int batch_read(struct batch *batch, struct follow *follow)
{
    struct stat st;
    off_t start = lseek(follow->fd, follow->offset, SEEK_DATA);
    if (start < 0)
        start = follow->offset;
    if (fstat(follow->fd, &st) < 0)
        return -errno;
    follow->has_open_event = false;
    if (st.st_size <= start)
        return 0;
    size_t wanted = (size_t)FL_MIN((off_t)WINDOW_BYTES, st.st_size - start);
    FL_CLEANUP_FREE char *window = fl_malloc(wanted);
    ssize_t n = pread(follow->fd, window, wanted, start);
    if (n < 0)
        return -errno;
    bool reaches_end = start + n >= st.st_size;
    batch_fill(batch, follow, (struct fl_str){window, (size_t)n}, start,
               follow->is_finishing && reaches_end);
    batch->is_cut = batch->is_cut || !reaches_end;
    return 0;
}

/* Whole blocks only: one that two punches share would stay, and the spool seem to begin there. */
static void punch(struct follow *follow)
{
    int64_t end = follow->offset / BLOCK_BYTES * BLOCK_BYTES;
    if (follow->fd < 0 || end - follow->punched < follow->punch_step)
        return;
    (void)fallocate(follow->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, follow->punched,
                    end - follow->punched);
    follow->punched = end;
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

/* Whether the backend is known to be away; one line in the log per absence. */
static bool *away_flag(struct follow *follow)
{
    return follow->is_server ? &follow->shipper->is_away : &follow->is_away;
}

static void accept_answer(struct follow *follow, int64_t offset)
{
    bool *is_away = away_flag(follow);
    if (*is_away)
        fl_log_info("logs are shipped again");
    *is_away = false;
    follow->knows_offset = true;
    follow->offset = offset;
    follow->backoff_ms = follow->first_backoff_ms;
    follow->refusals = 0;
    punch(follow);
    if (follow->is_started && !follow->is_backlogged && !follow->is_finishing)
        wait_ms(follow, PACE_MS);
    if (follow->ensured)
        end_ensure(follow, FL_STR(""));
    else
        step(follow);
}

static void say_away(struct follow *follow, const struct fl_log_answer *answer)
{
    bool *is_away = away_flag(follow);
    if (!*is_away && follow->is_server)
        fl_log_warn("logs cannot be shipped and wait in their spools: %.*s %.*s",
                    FL_STR_ARG(answer->code), FL_STR_ARG(answer->message));
    else if (!*is_away)
        fl_log_warn("container %.12s: its log cannot be sent and waits in its spool: %.*s",
                    follow->container_id, FL_STR_ARG(answer->message));
    *is_away = true;
}

/* A start that has to wait for its backend fails in time; one that has not goes on. */
static bool refuse_ensure(struct follow *follow, const struct fl_log_answer *answer)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    if (!follow->ensured)
        return false;
    if (!answer->is_final && follow->goes_on) {
        end_ensure(follow, FL_STR(""));
        return false;
    }
    if (!answer->is_final && follow->is_server && fl_clock_mono_ms() < follow->ensure_until_ms)
        return false;
    end_ensure(follow, fl_str_printf(arena, "failed to initialize logging driver: %s%.*s%s%.*s",
                                     follow->sink->ops->failure, FL_STR_ARG(answer->code),
                                     answer->code.n > 0 ? ": " : "", FL_STR_ARG(answer->message)));
    return true;
}

static void refuse_answer(struct follow *follow, const struct fl_log_answer *answer)
{
    say_away(follow, answer);
    wait_ms(follow, follow->backoff_ms);
    follow->backoff_ms =
        FL_MIN(follow->backoff_ms * 2, FL_MAX(follow->first_backoff_ms, (unsigned)BACKOFF_MAX_MS));
    if (refuse_ensure(follow, answer))
        return;
    follow->refusals += answer->is_final;
    bool is_late = !follow->is_server && fl_clock_mono_ms() >= follow->finish_until_ms;
    if (follow->is_finishing && (follow->refusals >= GIVE_UP_AFTER || is_late)) {
        fl_log_warn("container %.12s: the rest of its log is given up", follow->container_id);
        end_finish(follow);
    }
}

static void on_answer(void *context, const struct fl_log_answer *answer)
{
    struct follow *follow = context;
    follow->is_sending = false;
    if (answer->offset >= 0)
        accept_answer(follow, answer->offset);
    else
        refuse_answer(follow, answer);
}

static void send_batch(struct follow *follow, const struct batch *batch)
{
    follow->is_backlogged = batch->is_cut;
    follow->is_sending = true;
    follow->sink->ops->send(follow->sink, follow->offset, batch->next_offset);
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
    struct batch batch = {.next_offset = follow->offset};
    int status = open_spool(follow) ? batch_read(&batch, follow) : -ENOENT;
    if (batch.next_offset > follow->offset)
        send_batch(follow, &batch);
    else if (follow->is_finishing)
        end_finish(follow);
    else if (status < 0)
        wait_ms(follow, MISSING_MS);
    else if (follow->has_open_event)
        wait_ms(follow, OPEN_EVENT_MS);
}

static void step(struct follow *follow)
{
    if (follow->is_sending || uv_is_active((uv_handle_t *)&follow->timer))
        return;
    if (!follow->knows_offset)
        send_batch(follow, &(struct batch){.next_offset = follow->offset});
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
    follow->finish_until_ms = fl_clock_mono_ms() + GIVE_UP_MS;
    follow->finished = done;
    follow->finished_context = context;
    wait_ms(follow, 0);
    return true;
}
