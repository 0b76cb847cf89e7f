/* Seats and the order of changes. Instances nearly always come in the order of registration, so a
 * new one takes the last seat; records loaded from the store come by id and are sorted once. */
#include "core/index.h"

#include "core/filter.h"
#include "core/tally.h"
#include "core/view.h"

struct fl_index *fl_index_new(void)
{
    struct fl_index *index = fl_calloc(1, sizeof(*index));
    TAILQ_INIT(&index->changes);
    TAILQ_INIT(&index->filters);
    TAILQ_INIT(&index->views);
    TAILQ_INIT(&index->levels);
    TAILQ_INIT(&index->tallies);
    RB_INIT(&index->filters_by_key);
    RB_INIT(&index->views_by_key);
    return index;
}

void fl_index_drop_views(struct fl_cluster *cluster)
{
    while (!TAILQ_EMPTY(&cluster->index->views))
        fl_view_drop(cluster, TAILQ_FIRST(&cluster->index->views));
}

void fl_index_free(struct fl_cluster *cluster)
{
    fl_index_drop_views(cluster);
    fl_filters_drop(cluster->index);
    free(cluster->index->seats);
    free(cluster->index);
    cluster->index = NULL;
}

/* A gap compares as equal: it is closed before the order is looked at. */
static int seat_order(const struct fl_instance *a, const struct fl_instance *b)
{
    if (!a || !b)
        return 0;
    if (a->rec->registeredAt != b->rec->registeredAt)
        return a->rec->registeredAt < b->rec->registeredAt ? -1 : 1;
    return fl_str_cmp(a->rec->id, b->rec->id);
}

void fl_index_add(struct fl_index *index, struct fl_instance *instance)
{
    if (index->count == index->cap) {
        index->cap = FL_MAX(index->cap * 2, (uint32_t)16);
        index->seats = fl_realloc(index->seats, index->cap * sizeof(*index->seats));
    }
    if (index->count && (!index->seats[index->count - 1] ||
                         seat_order(index->seats[index->count - 1], instance) > 0))
        index->is_unsorted = true;
    instance->seat = index->count;
    index->seats[index->count++] = instance;
    instance->changed = instance->altered = index->altered = ++index->clock;
    TAILQ_INSERT_TAIL(&index->changes, instance, by_change);
    fl_levels_add(index, instance);
}

void fl_index_remove(struct fl_index *index, struct fl_instance *instance)
{
    index->altered = ++index->clock;
    index->seats[instance->seat] = NULL;
    index->has_gaps = true;
    instance->seat = FL_NO_SEAT;
    TAILQ_REMOVE(&index->changes, instance, by_change);
}

void fl_index_touch(struct fl_index *index, struct fl_instance *instance)
{
    instance->changed = ++index->clock;
    if (TAILQ_NEXT(instance, by_change)) {
        TAILQ_REMOVE(&index->changes, instance, by_change);
        TAILQ_INSERT_TAIL(&index->changes, instance, by_change);
    }
}

void fl_index_alter(struct fl_index *index, struct fl_instance *instance)
{
    uint32_t seat = instance->seat;
    fl_index_touch(index, instance);
    instance->altered = index->altered = instance->changed;
    fl_filters_forget(index, seat);
    fl_levels_alter(index, instance);
    if ((seat > 0 && seat_order(index->seats[seat - 1], instance) > 0) ||
        (seat + 1 < index->count && seat_order(instance, index->seats[seat + 1]) > 0))
        index->is_unsorted = true;
}

static int compare_seats(const void *a, const void *b)
{
    return seat_order(*(struct fl_instance *const *)a, *(struct fl_instance *const *)b);
}

static void close_gaps(struct fl_index *index)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < index->count; i++)
        if (index->seats[i])
            index->seats[count++] = index->seats[i];
    index->count = count;
}

void fl_index_settle(struct fl_cluster *cluster)
{
    struct fl_index *index = cluster->index;
    if (index->has_old_values)
        fl_index_drop_views(cluster);
    index->has_old_values = false;
    if (!index->is_unsorted && !index->has_gaps)
        return;
    close_gaps(index);
    if (index->is_unsorted)
        qsort(index->seats, index->count, sizeof(struct fl_instance *), compare_seats);
    for (uint32_t i = 0; i < index->count; i++)
        index->seats[i]->seat = i;
    fl_index_drop_views(cluster);
    fl_filters_forget_all(index);
    index->is_unsorted = index->has_gaps = false;
}
