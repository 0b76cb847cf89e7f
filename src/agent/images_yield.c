/* Pulls give way to starts. Unpacking keeps every processor busy and the host's starts are made of
 * many small steps, each of which would wait for one; so what pulls holds still while a container
 * starts. A priority alone does not do it: where shims are a scheduling group of their own, it is
 * worth nothing to them.
 *
 * What holding costs is paid from a credit that grows as fast as time passes and is bounded: in any
 * span of time pulls are held for at most half of it and CREDIT_MAX_MS. */
#include "agent/images_internal.h"
#include "base/clock.h"

enum {
    CREDIT_MAX_MS = 100, /* several times what a start takes */
    WORTH_MS = 50        /* with less credit a hold is not begun */
};

static void count(struct fl_yielding *yielding)
{
    int64_t now_ms = fl_clock_mono_ms(), passed_ms = now_ms - yielding->as_of_ms;
    int64_t credit_ms = yielding->credit_ms + (yielding->holds ? -passed_ms : passed_ms);
    yielding->credit_ms = FL_MIN(credit_ms, (int64_t)CREDIT_MAX_MS);
    yielding->as_of_ms = now_ms;
}

static void on_time(uv_timer_t *timer);

static void settle(struct fl_images *images)
{
    struct fl_yielding *yielding = &images->yielding;
    count(yielding);
    int64_t least_ms = yielding->holds ? 1 : WORTH_MS;
    bool holds = yielding->starts > 0 && yielding->credit_ms >= least_ms;
    if (holds != yielding->holds)
        fl_unpacker_hold(images->unpacker, holds);
    yielding->holds = holds;
    (void)uv_timer_stop(yielding->timer);
    if (yielding->starts == 0)
        return;
    int64_t wait_ms = holds ? yielding->credit_ms : WORTH_MS - yielding->credit_ms;
    uv_update_time(uv_handle_get_loop((uv_handle_t *)yielding->timer));
    (void)uv_timer_start(yielding->timer, on_time, (uint64_t)wait_ms, 0);
}

static void on_time(uv_timer_t *timer)
{
    settle(timer->data);
}

void fl_images_start_begins(struct fl_images *images)
{
    images->yielding.starts++;
    settle(images);
}

void fl_images_start_ends(struct fl_images *images)
{
    FL_ASSERT(images->yielding.starts > 0);
    images->yielding.starts--;
    settle(images);
}

void fl_images_yield_open(struct fl_images *images, uv_timer_t *timer)
{
    images->yielding = (struct fl_yielding){
        .timer = timer, .credit_ms = CREDIT_MAX_MS, .as_of_ms = fl_clock_mono_ms()};
}
