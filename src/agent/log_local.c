/* Sinks whose backend keeps no offset: syslog, journald, fluentd. What was sent is noted beside the
 * spool as soon as the other side has it, so an agent that comes later goes on there. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "agent/log_format.h"
#include "agent/log_link.h"
#include "agent/log_sink.h"
#include "base/fs.h"
#include "base/log.h"

enum {
    BATCH_BYTES = 256 * 1024,
    BATCH_EVENTS = 4096,
    OFFSET_SIZE = 32,
};

struct local {
    struct fl_log_sink sink;
    struct fl_arena *arena;
    struct fl_log_plan plan;
    struct fl_log_facts facts; /* what formats need of them */
    struct fl_log_link *link;
    char *offset_path;
    int offset_fd; /* -1 until there is something to note */
    struct fl_buf out;
    struct fl_buf one; /* an event whose length comes first */
    size_t ends[BATCH_EVENTS];
    size_t count;
    int64_t from;
    int64_t to;
    int64_t failures; /* in a row */
};

static bool add(struct fl_log_sink *sink, const struct fl_log_event *event)
{
    struct local *local = (struct local *)sink;
    const struct fl_log_plan *plan = &local->plan;
    if (local->count == BATCH_EVENTS || local->out.n >= BATCH_BYTES)
        return false;
    if (plan->kind == FL_LOG_JOURNALD) {
        fl_log_journald_add(plan, &local->facts, event, &local->out);
    } else if (plan->kind == FL_LOG_FLUENTD) {
        if (local->count == 0)
            fl_log_fluentd_begin(plan, &local->out);
        fl_log_fluentd_add(plan, &local->facts, event, &local->out);
    } else {
        bool is_counted = plan->address.transport == FL_LOG_TLS &&
                          (plan->form == FL_SYSLOG_5424 || plan->form == FL_SYSLOG_5424_MICRO);
        fl_buf_clear(&local->one);
        fl_log_syslog_add(plan, &local->facts, event, &local->one);
        if (is_counted)
            fl_buf_printf(&local->out, "%zu ", local->one.n);
        fl_buf_add_str(&local->out, fl_buf_str(&local->one));
        if (!is_counted && !fl_log_is_datagram(&plan->address))
            fl_buf_add_char(&local->out, '\n');
    }
    local->ends[local->count++] = local->out.n;
    return true;
}

/* The file holds one number of a fixed width: who writes it anew replaces it whole. */
static void note_offset(struct local *local, int64_t offset)
{
    char text[OFFSET_SIZE];
    if (local->offset_fd < 0)
        local->offset_fd =
            open(local->offset_path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    int n = snprintf(text, sizeof(text), "%020lld\n", (long long)offset);
    if (local->offset_fd < 0 || pwrite(local->offset_fd, text, (size_t)n, 0) != n)
        fl_log_warn("container %.*s: how far its log was sent cannot be noted: %s",
                    FL_STR_ARG(fl_str_sub(local->facts.id, 0, 12)), strerror(errno));
}

static int64_t noted_offset(const struct local *local)
{
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(OFFSET_SIZE);
    int64_t offset;
    if (fl_fs_read(AT_FDCWD, local->offset_path, OFFSET_SIZE, &text) < 0 ||
        !fl_str_to_i64(fl_str_trim(fl_buf_str(&text)), &offset))
        return 0;
    return FL_MAX(offset, 0);
}

/* fluentd-max-retries: what was tried so often is given up. */
static bool gives_up(struct local *local)
{
    if (local->plan.kind != FL_LOG_FLUENTD || local->from == local->to ||
        ++local->failures <= local->plan.max_retries)
        return false;
    fl_log_warn("container %.*s: %zu lines of its log are given up after %lld retries",
                FL_STR_ARG(fl_str_sub(local->facts.id, 0, 12)), local->count,
                (long long)local->plan.max_retries);
    return true;
}

static void on_sent(void *context, const char *error)
{
    struct local *local = context;
    struct fl_log_answer answer = {.offset = -1, .message = fl_str_of(error)};
    bool is_done = !error || gives_up(local);
    if (is_done) {
        local->failures = 0;
        answer.offset = local->from == local->to ? noted_offset(local) : local->to;
        if (local->from != local->to)
            note_offset(local, local->to);
    }
    fl_buf_clear(&local->out);
    local->count = 0;
    local->sink.answered(local->sink.context, &answer);
}

static void send_batch(struct fl_log_sink *sink, int64_t from, int64_t to)
{
    struct local *local = (struct local *)sink;
    local->from = from;
    local->to = to;
    if (local->plan.kind == FL_LOG_FLUENTD && local->count > 0)
        fl_log_fluentd_end(&local->plan, local->out.p, (uint32_t)local->count);
    const struct fl_log_load load = {fl_buf_str(&local->out), local->ends, local->count};
    fl_log_link_send(local->link, &load, on_sent, local);
}

static void close_sink(struct fl_log_sink *sink)
{
    struct local *local = (struct local *)sink;
    if (fl_log_link_close(local->link) && local->to > local->from)
        note_offset(local, local->to);
    if (local->offset_fd >= 0)
        (void)close(local->offset_fd);
    fl_buf_free(&local->out);
    fl_buf_free(&local->one);
    free(local->offset_path);
    fl_arena_free(local->arena);
    free(local);
}

static void copy_plan(struct local *local, const struct fl_log_plan *plan,
                      const struct fl_log_facts *facts)
{
    struct fl_arena *arena = local->arena;
    local->plan = *plan;
    local->plan.tag = fl_str_dup(arena, plan->tag);
    local->plan.attrs = fl_arena_new_array(arena, struct fl_key_value, plan->attr_count);
    for (size_t i = 0; i < plan->attr_count; i++)
        local->plan.attrs[i] = (struct fl_key_value){fl_str_dup(arena, plan->attrs[i].key),
                                                     fl_str_dup(arena, plan->attrs[i].value)};
    local->facts = (struct fl_log_facts){
        .id = fl_str_dup(arena, facts->id),
        .name = fl_str_dup(arena, facts->name),
        .image = fl_str_dup(arena, facts->image),
        .hostname = fl_str_dup(arena, facts->hostname),
    };
}

struct fl_log_sink *fl_log_local_new(uv_loop_t *loop, const struct fl_log_plan *plan,
                                     const struct fl_log_facts *facts, struct fl_str spool_path)
{
    static const struct fl_log_sink_ops ops = {
        .failure = "",
        .add = add,
        .send = send_batch,
        .close = close_sink,
    };
    struct local *local = fl_calloc(1, sizeof(*local));
    local->sink.ops = &ops;
    local->sink.pieces = FL_LOG_IN_PIECES;
    local->arena = fl_arena_new();
    copy_plan(local, plan, facts);
    local->link = fl_log_link_new(loop, &plan->address);
    struct fl_str path = fl_str_printf(local->arena, "%.*s.offset", FL_STR_ARG(spool_path));
    local->offset_path = fl_strndup(path.p, path.n);
    local->offset_fd = -1;
    local->out = FL_BUF_INIT(8 * 1024 * 1024);
    local->one = FL_BUF_INIT(1024 * 1024);
    return &local->sink;
}
