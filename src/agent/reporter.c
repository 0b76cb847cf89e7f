/* Reports wait in one list; a single timer wakes those whose pause is over. */
#include "agent/reporter.h"

#include <sys/queue.h>

#include "base/clock.h"
#include "base/log.h"

enum {
    FIRST_PAUSE_MS = 1000,
    LONGEST_PAUSE_MS = 30 * 1000,
    CALL_TIMEOUT_MS = 10 * 1000,
};

static const char target[] = "AmazonEC2ContainerServiceV20141113.SubmitTaskStateChange";

struct report {
    TAILQ_ENTRY(report) entry;
    struct fl_reporter *reporter;
    struct fl_arena *arena;
    struct fl_str task_arn;
    struct fl_str body;
    int64_t seq;
    int64_t pause_ms; /* before the next attempt, 0: none has failed */
    int64_t due_ms;   /* monotonic; not before */
    bool under_way;
};

struct fl_reporter {
    struct fl_aws_client *aws;
    fl_reporter_acked acked;
    void *context;
    uv_timer_t *timer;
    TAILQ_HEAD(reports, report) reports;
    unsigned under_way;
    bool failing; /* said so once */
};

static void pump(struct fl_reporter *reporter);

static void report_free(struct report *report)
{
    fl_arena_free(report->arena);
}

static void on_timer(uv_timer_t *timer)
{
    pump(timer->data);
}

struct fl_reporter *fl_reporter_new(uv_loop_t *loop, struct fl_aws_client *aws,
                                    fl_reporter_acked acked, void *context)
{
    struct fl_reporter *reporter = fl_calloc(1, sizeof(*reporter));
    reporter->aws = aws;
    reporter->acked = acked;
    reporter->context = context;
    reporter->timer = fl_calloc(1, sizeof(*reporter->timer));
    reporter->timer->data = reporter;
    (void)uv_timer_init(loop, reporter->timer);
    TAILQ_INIT(&reporter->reports);
    return reporter;
}

static void on_timer_closed(uv_handle_t *handle)
{
    free(handle);
}

void fl_reporter_free(struct fl_reporter *reporter)
{
    if (!reporter)
        return;
    struct report *report;
    while ((report = TAILQ_FIRST(&reporter->reports)) != NULL) {
        TAILQ_REMOVE(&reporter->reports, report, entry);
        report_free(report);
    }
    uv_close((uv_handle_t *)reporter->timer, on_timer_closed);
    free(reporter);
}

static void put_off(struct report *report)
{
    report->pause_ms = report->pause_ms == 0
                           ? FIRST_PAUSE_MS
                           : FL_MIN(2 * report->pause_ms, (int64_t)LONGEST_PAUSE_MS);
    report->due_ms = fl_clock_mono_ms() + report->pause_ms;
}

static void note_failure(struct fl_reporter *reporter, const struct fl_http_response *response)
{
    if (!reporter->failing)
        fl_log_warn("reports are not taken (status %u: %.*s): repeating", response->status,
                    FL_STR_ARG(fl_str_sub(response->body, 0, 200)));
    reporter->failing = true;
}

static void on_answer(void *context, const struct fl_http_response *response)
{
    struct report *report = context;
    struct fl_reporter *reporter = report->reporter;
    reporter->under_way--;
    report->under_way = false;
    if (response->status == 200) {
        reporter->failing = false;
        TAILQ_REMOVE(&reporter->reports, report, entry);
        reporter->acked(reporter->context, report->task_arn, report->seq);
        report_free(report);
    } else {
        note_failure(reporter, response);
        put_off(report);
    }
    pump(reporter);
}

static void set_timer(struct fl_reporter *reporter, int64_t due_ms)
{
    int64_t wait_ms = due_ms - fl_clock_mono_ms();
    if (due_ms == INT64_MAX)
        (void)uv_timer_stop(reporter->timer);
    else
        (void)uv_timer_start(reporter->timer, on_timer, (uint64_t)FL_MAX(wait_ms, 1), 0);
}

/* Sends what is due while there is room, and sets the timer for the rest. */
static void pump(struct fl_reporter *reporter)
{
    int64_t now_ms = fl_clock_mono_ms(), next_ms = INT64_MAX;
    struct report *report;
    TAILQ_FOREACH (report, &reporter->reports, entry) {
        if (reporter->under_way >= FL_REPORTER_PARALLEL)
            break;
        if (report->under_way)
            continue;
        if (report->due_ms > now_ms) {
            next_ms = FL_MIN(next_ms, report->due_ms);
            continue;
        }
        report->under_way = true;
        reporter->under_way++;
        fl_aws_call(reporter->aws, "ecs", target, report->body, CALL_TIMEOUT_MS, on_answer, report);
    }
    set_timer(reporter, next_ms);
}

void fl_reporter_send(struct fl_reporter *reporter, struct fl_str task_arn, int64_t seq,
                      struct fl_str body)
{
    struct fl_arena *arena = fl_arena_new();
    struct report *report = fl_arena_new_object(arena, struct report);
    report->reporter = reporter;
    report->arena = arena;
    report->task_arn = fl_str_dup(arena, task_arn);
    report->body = fl_str_dup(arena, body);
    report->seq = seq;
    TAILQ_INSERT_TAIL(&reporter->reports, report, entry);
    pump(reporter);
}

void fl_reporter_hurry(struct fl_reporter *reporter)
{
    struct report *report;
    TAILQ_FOREACH (report, &reporter->reports, entry) {
        report->due_ms = 0;
        report->pause_ms = 0;
    }
    pump(reporter);
}
