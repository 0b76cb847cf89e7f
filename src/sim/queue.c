/* A binary heap. */
#include "sim/queue.h"

#include "base/util.h"

static bool is_before(const struct sim_event *a, const struct sim_event *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->order < b->order;
}

void sim_queue_put(struct sim_queue *queue, struct sim_event event)
{
    if (queue->count == queue->cap) {
        queue->cap = FL_MAX(2 * queue->cap, (size_t)1024);
        queue->heap = fl_realloc(queue->heap, queue->cap * sizeof(*queue->heap));
    }
    event.order = queue->next_order++;
    size_t at = queue->count++;
    while (at > 0 && is_before(&event, &queue->heap[(at - 1) / 2])) {
        queue->heap[at] = queue->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    queue->heap[at] = event;
}

bool sim_queue_take(struct sim_queue *queue, struct sim_event *ret_event)
{
    struct sim_event *heap = queue->heap;
    if (queue->count == 0)
        return false;
    *ret_event = heap[0];
    struct sim_event last = heap[--queue->count];
    size_t at = 0;
    for (size_t child; (child = 2 * at + 1) < queue->count; at = child) {
        if (child + 1 < queue->count && is_before(&heap[child + 1], &heap[child]))
            child++;
        if (!is_before(&heap[child], &last))
            break;
        heap[at] = heap[child];
    }
    heap[at] = last;
    return true;
}

int64_t sim_queue_next(const struct sim_queue *queue)
{
    return queue->count ? queue->heap[0].at_us : INT64_MAX;
}

void sim_queue_free(struct sim_queue *queue)
{
    free(queue->heap);
    *queue = (struct sim_queue){0};
}
