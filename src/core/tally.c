/* Levels and tallies. */
#include "core/tally.h"

#include "base/util.h"
#include "core/expression.h"

/* So many values more than seats could have are old ones that nobody has any more. */
enum { MANY_VALUES = 1000 };

struct fl_value {
    RB_ENTRY(fl_value) by_text;
    struct fl_str text;
    uint32_t number;
};

static int value_order(const struct fl_value *a, const struct fl_value *b)
{
    return fl_str_cmp(a->text, b->text);
}
RB_PROTOTYPE(fl_value_tree, fl_value, by_text, value_order)
RB_GENERATE(fl_value_tree, fl_value, by_text, value_order)

/* Levels. */

static uint32_t number_of(struct fl_level *level, const struct fl_instance *instance)
{
    struct fl_value probe, *value;
    if (!fl_instance_attribute(instance, level->name, &probe.text))
        return 0;
    value = RB_FIND(fl_value_tree, &level->values, &probe);
    if (value)
        return value->number;
    value = fl_calloc(1, sizeof(*value));
    value->text =
        (struct fl_str){fl_strndup(probe.text.p ? probe.text.p : "", probe.text.n), probe.text.n};
    value->number = ++level->value_count;
    (void)RB_INSERT(fl_value_tree, &level->values, value);
    return value->number;
}

static void add_seat(struct fl_level *level, const struct fl_instance *instance)
{
    FL_ASSERT(instance->seat == level->seat_count);
    if (level->seat_count == level->seat_cap) {
        level->seat_cap = FL_MAX(level->seat_cap * 2, (uint32_t)16);
        level->by_seat = fl_realloc(level->by_seat, level->seat_cap * sizeof(*level->by_seat));
    }
    level->by_seat[level->seat_count++] = number_of(level, instance);
}

struct fl_level *fl_level_use(struct fl_cluster *cluster, struct fl_str name)
{
    struct fl_index *index = cluster->index;
    struct fl_level *level;
    TAILQ_FOREACH (level, &index->levels, in_index) {
        if (fl_str_eq(level->name, name)) {
            level->users++;
            return level;
        }
    }
    level = fl_calloc(1, sizeof(*level));
    level->name = (struct fl_str){fl_strndup(name.p, name.n), name.n};
    level->users = 1;
    RB_INIT(&level->values);
    for (uint32_t i = 0; i < index->count; i++)
        add_seat(level, index->seats[i]);
    TAILQ_INSERT_TAIL(&index->levels, level, in_index);
    return level;
}

static void drop_tally(struct fl_cluster *cluster, struct fl_tally *tally)
{
    struct fl_index *index = cluster->index;
    TAILQ_REMOVE(&index->tallies, tally, by_use);
    SLIST_REMOVE(&tally->group->tallies, tally, fl_tally, of_group);
    index->tally_count--;
    index->tally_counts -= tally->cap;
    index->epoch++;
    fl_group_release(cluster, tally->group);
    free(tally->counts);
    free(tally);
}

void fl_level_release(struct fl_cluster *cluster, struct fl_level *level)
{
    struct fl_tally *tally, *next_tally;
    struct fl_value *value, *next_value;
    if (--level->users > 0)
        return;
    TAILQ_FOREACH_SAFE (tally, &cluster->index->tallies, by_use, next_tally)
        if (tally->level == level)
            drop_tally(cluster, tally);
    RB_FOREACH_SAFE (value, fl_value_tree, &level->values, next_value) {
        (void)RB_REMOVE(fl_value_tree, &level->values, value);
        free((char *)value->text.p);
        free(value);
    }
    TAILQ_REMOVE(&cluster->index->levels, level, in_index);
    free((char *)level->name.p);
    free(level->by_seat);
    free(level);
}

/* Tallies. */

static void add(struct fl_index *index, struct fl_tally *tally, uint32_t value, int64_t more)
{
    if (value >= tally->cap) {
        uint32_t cap = FL_MAX(tally->cap * 2, value + 8);
        tally->counts = fl_realloc(tally->counts, cap * sizeof(*tally->counts));
        memset(tally->counts + tally->cap, 0, (cap - tally->cap) * sizeof(*tally->counts));
        index->tally_counts += cap - tally->cap;
        tally->cap = cap;
    }
    tally->counts[value] += more;
}

void fl_tally_make_room(struct fl_cluster *cluster, size_t count)
{
    struct fl_index *index = cluster->index;
    while (index->tally_count > 0 && (index->tally_count + count > FL_MAX_TALLIES ||
                                      index->tally_counts >= FL_MAX_TALLY_COUNTS))
        drop_tally(cluster, TAILQ_LAST(&index->tallies, fl_tally_list));
}

static struct fl_tally *make_tally(struct fl_cluster *cluster, struct fl_level *level,
                                   struct fl_group *group)
{
    struct fl_index *index = cluster->index;
    struct fl_tally *tally = fl_calloc(1, sizeof(*tally));
    tally->level = level;
    tally->group = group;
    group->users++;
    for (uint32_t i = 0; group->task_count > 0 && i < index->count; i++) {
        uint32_t here = fl_load_group(index->seats[i], group);
        if (here)
            add(index, tally, level->by_seat[i], here);
    }
    SLIST_INSERT_HEAD(&group->tallies, tally, of_group);
    TAILQ_INSERT_HEAD(&index->tallies, tally, by_use);
    index->tally_count++;
    return tally;
}

struct fl_tally *fl_tally_get(struct fl_cluster *cluster, struct fl_level *level,
                              struct fl_group *group)
{
    struct fl_index *index = cluster->index;
    struct fl_tally *tally;
    SLIST_FOREACH (tally, &group->tallies, of_group)
        if (tally->level == level)
            break;
    if (tally) {
        TAILQ_REMOVE(&index->tallies, tally, by_use);
        TAILQ_INSERT_HEAD(&index->tallies, tally, by_use);
        return tally;
    }
    return make_tally(cluster, level, group);
}

void fl_tally_change(struct fl_group *group, const struct fl_instance *instance, int64_t more)
{
    struct fl_tally *tally;
    group->task_count += (size_t)more;
    SLIST_FOREACH (tally, &group->tallies, of_group)
        add(instance->cluster->index, tally, fl_level_of(tally->level, instance), more);
}

/* Instances. */

void fl_levels_add(struct fl_index *index, const struct fl_instance *instance)
{
    struct fl_level *level;
    TAILQ_FOREACH (level, &index->levels, in_index)
        add_seat(level, instance);
}

static void move(struct fl_index *index, const struct fl_level *level,
                 const struct fl_instance *instance, uint32_t before, uint32_t after)
{
    struct fl_tally *tally;
    for (uint32_t i = 0; i < instance->group_count; i++) {
        const struct fl_group_count *here = &instance->groups[i];
        SLIST_FOREACH (tally, &here->group->tallies, of_group) {
            if (tally->level != level)
                continue;
            add(index, tally, before, -(int64_t)here->count);
            add(index, tally, after, here->count);
        }
    }
}

void fl_levels_alter(struct fl_index *index, const struct fl_instance *instance)
{
    struct fl_level *level;
    TAILQ_FOREACH (level, &index->levels, in_index) {
        uint32_t before = fl_level_of(level, instance), after = number_of(level, instance);
        if (before == after)
            continue;
        level->by_seat[instance->seat] = after;
        move(index, level, instance, before, after);
        index->has_old_values |= level->value_count > 2 * level->seat_count + MANY_VALUES;
    }
}
