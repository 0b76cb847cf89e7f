/* What comes when: a heap of events, and chance, drawn from the scenario's seed. */
#include "sim/whatif_impl.h"

static bool is_before(const struct whatif_event *a, const struct whatif_event *b)
{
    return a->at_ms != b->at_ms ? a->at_ms < b->at_ms : a->number < b->number;
}

struct whatif_event *whatif_push(struct whatif *w, int64_t at_ms, enum whatif_event_kind kind,
                                 uint32_t arrival)
{
    if (w->heap_count == w->heap_cap) {
        w->heap_cap = FL_MAX(2 * w->heap_cap, (size_t)1024);
        w->heap = fl_realloc(w->heap, w->heap_cap * sizeof(*w->heap));
    }
    struct whatif_event added = {at_ms, w->next_number++, kind, arrival, ""};
    size_t at = w->heap_count++;
    while (at && is_before(&added, &w->heap[(at - 1) / 2])) {
        w->heap[at] = w->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    w->heap[at] = added;
    return &w->heap[at];
}

struct whatif_event whatif_pop(struct whatif *w)
{
    struct whatif_event first = w->heap[0], last = w->heap[--w->heap_count];
    size_t at = 0, child;
    while ((child = 2 * at + 1) < w->heap_count) {
        if (child + 1 < w->heap_count && is_before(&w->heap[child + 1], &w->heap[child]))
            child++;
        if (!is_before(&w->heap[child], &last))
            break;
        w->heap[at] = w->heap[child];
        at = child;
    }
    w->heap[at] = last;
    return first;
}

/* ---- chance ---- */

/* Above 0, at most 1. */
static double draw(struct whatif *w)
{
    return (double)((fl_rand_u64(&w->rand) >> 11) + 1) / 9007199254740992.0;
}

/* -ln(u) for 0 < u <= 1, by ln u = 2 artanh((u - 1) / (u + 1)). The library's logarithm may differ
 * in its last bit from one machine to the next, and histories must not. */
static double minus_ln(double u)
{
    double whole = 0, sum = 0;
    for (; u < 0.5; u *= 2)
        whole += 0.693147180559945309417;
    double y = (1 - u) / (1 + u), power = y;
    for (int k = 1; k < 40; k += 2, power *= y * y)
        sum += power / k;
    return whole + 2 * sum;
}

int64_t whatif_draw_duration_ms(struct whatif *w, const struct whatif_arrival *arrival)
{
    double minutes = arrival->low;
    switch (arrival->duration) {
    case WHATIF_FIXED:
        break;
    case WHATIF_EXPONENTIAL:
        minutes *= minus_ln(draw(w));
        break;
    case WHATIF_UNIFORM:
        minutes += (arrival->high - arrival->low) * draw(w);
        break;
    }
    return FL_MAX((int64_t)(minutes * WHATIF_MINUTE_MS), INT64_C(1000));
}

/* The next moment of arrivals that come by chance: candidates at the day's highest rate, of which
 * as many are taken as the hour's share says. */
void whatif_plan_arrival(struct whatif *w, uint32_t index, int64_t from_ms)
{
    const struct whatif_arrival *arrival = &w->scenario->arrivals[index];
    double hour = (double)from_ms / WHATIF_HOUR_MS;
    double highest = arrival->per_hour * arrival->daily_max;
    if (highest <= 0)
        return;
    do
        hour += minus_ln(draw(w)) / highest;
    while (hour < w->scenario->hours &&
           draw(w) * arrival->daily_max > arrival->daily[(uint64_t)hour % 24]);
    if (hour < w->scenario->hours)
        (void)whatif_push(w, (int64_t)(hour * WHATIF_HOUR_MS), WHATIF_ARRIVAL, index);
}

void whatif_plan_arrivals(struct whatif *w)
{
    for (uint32_t i = 0; i < w->scenario->arrival_count; i++) {
        const struct whatif_arrival *arrival = &w->scenario->arrivals[i];
        for (size_t k = 0; k < fl_json_items(arrival->at); k++) {
            double hour = fl_json_number(fl_json_item(arrival->at, k));
            (void)whatif_push(w, (int64_t)(hour * WHATIF_HOUR_MS), WHATIF_ARRIVAL, i);
        }
        whatif_plan_arrival(w, i, 0);
    }
}
