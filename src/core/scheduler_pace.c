/* The pace of launches of a server that is strict: ECS launches at most so many tasks of a service
 * in any minute. What was launched the tasks' records say, which outlive that minute by far; so the
 * times are kept beside the service and are the same after a restart. */
#include "core/scheduler.h"

enum { MAX_LAUNCHES = 500, SPAN_MS = 60 * 1000 };

/* When the newest tasks were launched, in this order. */
struct fl_pace {
    int64_t at_ms[MAX_LAUNCHES];
    size_t n;
};

void fl_service_note_launch(const struct fl_core *core, struct fl_service *service, int64_t at_ms)
{
    if (!core->strict)
        return;
    if (!service->pace)
        service->pace = fl_calloc(1, sizeof(*service->pace));
    struct fl_pace *pace = service->pace;
    size_t i = pace->n;
    while (i > 0 && pace->at_ms[i - 1] > at_ms)
        i--;
    if (pace->n < MAX_LAUNCHES) {
        memmove(pace->at_ms + i + 1, pace->at_ms + i, (pace->n++ - i) * sizeof(at_ms));
        pace->at_ms[i] = at_ms;
    } else if (i > 0) { /* it takes the oldest one's place */
        memmove(pace->at_ms, pace->at_ms + 1, (i - 1) * sizeof(at_ms));
        pace->at_ms[i - 1] = at_ms;
    }
}

/* How many were launched in the last minute, and when the first of them was. A service that was
 * made anew has launched nothing of what one of its name did; and what is said to be yet to come
 * was before the clock was set back, who knows when. */
static size_t count(const struct fl_service *service, int64_t now_ms, int64_t *ret_first_ms)
{
    const struct fl_pace *pace = service->pace;
    size_t n = 0;
    for (size_t i = pace ? pace->n : 0; i > 0; i--) {
        int64_t at_ms = pace->at_ms[i - 1];
        if (at_ms <= now_ms - SPAN_MS || at_ms > now_ms || at_ms < service->rec->createdAt)
            continue;
        *ret_first_ms = at_ms;
        n++;
    }
    return n;
}

size_t fl_schedule_allowance(struct fl_schedule *s, size_t wanted)
{
    int64_t first_ms = 0;
    size_t launched = count(s->service, s->d->now_ms, &first_ms);
    if (launched + wanted <= MAX_LAUNCHES || !s->d->core->strict)
        return wanted;
    (void)fl_schedule_await(s, first_ms + SPAN_MS);
    return MAX_LAUNCHES - launched;
}

int64_t fl_service_next_launch(const struct fl_service *service, int64_t now_ms)
{
    int64_t first_ms = 0;
    return count(service, now_ms, &first_ms) < MAX_LAUNCHES ? now_ms : first_ms + SPAN_MS;
}
