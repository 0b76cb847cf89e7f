/* Views: made by walking all seats once, kept by looking at what changed. */
#include "core/view.h"

#include "base/bug.h"
#include "core/tally.h"
#include "core/tournament.h"

enum { MAX_KEY = 64 << 10, KEY_WORDS = 3 };

/* What a strategy compares: a count of the bucket's value, or a word of an instance's key. */
enum step_kind { BY_VALUE, BY_WORD };
struct step {
    enum step_kind kind;
    unsigned at; /* which of the levels, or of the words */
};
enum word { FREE_CPU, FREE_MEMORY, GROUP_HERE };

struct bucket {
    RB_ENTRY(bucket) by_values;
    uint32_t values[FL_MAX_STRATEGIES]; /* by level; 0: has no such attribute */
    struct fl_view *view;
    struct fl_tournament tournament;
};
RB_HEAD(fl_bucket_tree, bucket);

struct seat {
    struct bucket *bucket;
    uint32_t place;
};

struct fl_view {
    TAILQ_ENTRY(fl_view) by_use;
    RB_ENTRY(fl_view) by_key;
    struct fl_str key;
    struct fl_filter *filter;
    struct fl_requirement requirement;
    struct fl_group *group;  /* that distinctInstance is about; NULL: does not matter */
    struct fl_group *spread; /* what is spread over instances; the same */
    struct step steps[FL_MAX_STRATEGIES];
    size_t step_count;
    struct fl_str level_names[FL_MAX_STRATEGIES]; /* attributes to spread over */
    struct fl_level *levels[FL_MAX_STRATEGIES];
    size_t level_count;
    enum word words[KEY_WORDS];
    size_t word_count;
    bool fills_up; /* what is chosen is likely to be chosen again: binpack comes first */
    struct fl_bucket_tree buckets;
    struct bucket **bucket_list; /* in the order of their first seat */
    size_t bucket_count, bucket_cap;
    struct seat *seats;
    uint32_t seat_count, seat_cap;
    uint64_t seen; /* the index's clock */
};

bool fl_is_instance_field(struct fl_str field)
{
    return fl_str_is(field, "instanceId") || fl_str_is(field, "host");
}

static int key_order(const struct fl_view *a, const struct fl_view *b)
{
    return fl_str_cmp(a->key, b->key);
}
RB_PROTOTYPE(fl_view_tree, fl_view, by_key, key_order)
RB_GENERATE(fl_view_tree, fl_view, by_key, key_order)

static int bucket_order(const struct bucket *a, const struct bucket *b)
{
    for (size_t i = 0; i < a->view->level_count; i++) {
        if (a->values[i] != b->values[i])
            return a->values[i] < b->values[i] ? -1 : 1;
    }
    return 0;
}
RB_PROTOTYPE(fl_bucket_tree, bucket, by_values, bucket_order)
RB_GENERATE(fl_bucket_tree, bucket, by_values, bucket_order)

/* Strategies to steps. What comes behind `random`, or repeats, decides nothing. */

static void add_word(struct fl_view *view, enum word word)
{
    for (size_t i = 0; i < view->word_count; i++)
        if (view->words[i] == word)
            return;
    view->steps[view->step_count++] = (struct step){BY_WORD, (unsigned)view->word_count};
    view->words[view->word_count++] = word;
}

static void add_level(struct fl_view *view, struct fl_str name)
{
    for (size_t i = 0; i < view->level_count; i++)
        if (fl_str_eq(view->level_names[i], name))
            return;
    view->steps[view->step_count++] = (struct step){BY_VALUE, (unsigned)view->level_count};
    view->level_names[view->level_count++] = name;
}

static void read_strategies(struct fl_view *view, const struct ecs_PlacementStrategy_list *list)
{
    for (size_t i = 0; i < list->n; i++) {
        const struct ecs_PlacementStrategy *s = &list->items[i];
        switch (s->type) {
        case ECS_PlacementStrategyType_random:
            return;
        case ECS_PlacementStrategyType_binpack:
            add_word(view, fl_str_case_eq(s->field, FL_STR("cpu")) ? FREE_CPU : FREE_MEMORY);
            break;
        case ECS_PlacementStrategyType_spread:
            if (fl_is_instance_field(s->field))
                add_word(view, GROUP_HERE);
            else
                add_level(view, fl_str_from(s->field, strlen("attribute:")));
            break;
        }
    }
}

/* Does the order of two instances in a bucket depend on what is spread there? What there is by
 * value does not belong to the view. */
static bool spreads(const struct fl_view *view)
{
    for (size_t i = 0; i < view->word_count; i++)
        if (view->words[i] == GROUP_HERE)
            return true;
    return false;
}

static struct fl_group *spread_use(struct fl_cluster *cluster, const struct fl_requirement *r)
{
    return r->part.n ? fl_part_use(cluster, r->part) : fl_group_use(cluster, r->group);
}

/* Everything that tells one view from another. */
static void write_key(const struct fl_view *view, struct fl_buf *key)
{
    const struct fl_requirement *r = &view->requirement;
    const int64_t numbers[] = {r->cpu,      r->memory,           r->gpus,
                               r->distinct, (int64_t)r->ports.n, (int64_t)view->step_count};
    fl_buf_add(key, &view->filter, sizeof(struct fl_filter *));
    fl_buf_add(key, numbers, sizeof(numbers));
    if (r->ports.n)
        fl_buf_add(key, r->ports.items, r->ports.n * sizeof(*r->ports.items));
    for (size_t i = 0; i < view->step_count; i++) {
        struct step step = view->steps[i];
        bool is_level = step.kind == BY_VALUE;
        fl_buf_printf(key, "%c%d:", is_level ? 'v' : 'w',
                      is_level ? (int)view->level_names[step.at].n : (int)view->words[step.at]);
        if (is_level)
            fl_buf_add_str(key, view->level_names[step.at]);
    }
    if (spreads(view))
        fl_buf_printf(key, "%c%.*s;", r->part.n ? 'p' : 'g',
                      FL_STR_ARG(r->part.n ? r->part : r->group));
    if (r->distinct)
        fl_buf_add_str(key, r->group);
    FL_ASSERT(!key->overflow);
}

/* Buckets. */

static struct bucket *use_bucket(struct fl_view *view, const struct fl_instance *instance)
{
    struct bucket probe = {.view = view};
    for (size_t i = 0; i < view->level_count; i++)
        probe.values[i] = fl_level_of(view->levels[i], instance);
    struct bucket *bucket = RB_FIND(fl_bucket_tree, &view->buckets, &probe);
    if (bucket)
        return bucket;
    bucket = fl_calloc(1, sizeof(*bucket));
    *bucket = probe;
    fl_tournament_init(&bucket->tournament);
    (void)RB_INSERT(fl_bucket_tree, &view->buckets, bucket);
    if (view->bucket_count == view->bucket_cap) {
        view->bucket_cap = FL_MAX(view->bucket_cap * 2, (size_t)4);
        view->bucket_list =
            fl_realloc(view->bucket_list, view->bucket_cap * sizeof(*view->bucket_list));
    }
    view->bucket_list[view->bucket_count++] = bucket;
    return bucket;
}

static void take_seat(struct fl_view *view, struct fl_instance *instance)
{
    struct bucket *bucket = use_bucket(view, instance);
    uint32_t place = bucket->tournament.count;
    fl_tournament_add(&bucket->tournament, instance);
    view->seats[instance->seat] = (struct seat){.bucket = bucket, .place = place};
    view->seat_count = instance->seat + 1;
}

/* Instances. */

static bool ports_are_free(const struct fl_int_list *wanted, const struct fl_instance *instance)
{
    for (size_t i = 0; i < wanted->n; i++)
        if (fl_load_has_port(instance, wanted->items[i]))
            return false;
    return true;
}

/* Has the instance a task that the new one must not be beside? */
static bool is_taken(const struct fl_view *view, const struct fl_instance *instance)
{
    return view->group && fl_load_group(instance, view->group) > 0;
}

static bool can_take(const struct fl_view *view, const struct fl_instance *instance)
{
    const struct fl_requirement *r = &view->requirement;
    return instance->is_open && instance->cpu - instance->cpu_used >= r->cpu - FL_BUG(31, 1, 0) &&
           instance->memory - instance->memory_used >= r->memory &&
           instance->gpus_free >= r->gpus && !is_taken(view, instance) &&
           FL_BUG(33, true, ports_are_free(&r->ports, instance)) &&
           fl_filter_passes(view->filter, instance);
}

static struct fl_node make_leaf(const struct fl_view *view, const struct fl_instance *instance)
{
    uint32_t words[KEY_WORDS] = {0};
    if (!can_take(view, instance))
        return fl_node_nobody;
    for (size_t i = 0; i < view->word_count; i++) {
        switch (view->words[i]) {
        case FREE_CPU:
            words[i] = (uint32_t)(instance->cpu - instance->cpu_used);
            break;
        case FREE_MEMORY:
            words[i] = (uint32_t)(instance->memory - instance->memory_used);
            break;
        case GROUP_HERE:
            words[i] = fl_load_group(instance, view->spread);
            break;
        }
    }
    return (struct fl_node){(uint64_t)words[0] << 32 | words[1], words[2], 1};
}

/* Brings what the view knows of one instance up to date. */
static void look_at(struct fl_view *view, const struct fl_instance *instance, bool climb)
{
    struct seat *seat = &view->seats[instance->seat];
    fl_tournament_set(&seat->bucket->tournament, seat->place, make_leaf(view, instance), climb);
}

static bool has_moved(struct fl_view *view, const struct fl_instance *instance)
{
    const struct bucket *bucket = view->seats[instance->seat].bucket;
    for (size_t i = 0; i < view->level_count; i++)
        if (bucket->values[i] != fl_level_of(view->levels[i], instance))
            return true;
    return false;
}

static void take_seats(struct fl_index *index, struct fl_view *view)
{
    if (view->seat_cap < index->count) {
        view->seat_cap = index->cap;
        view->seats = fl_realloc(view->seats, view->seat_cap * sizeof(*view->seats));
    }
    index->view_seats += index->count - view->seat_count;
    while (view->seat_count < index->count)
        take_seat(view, index->seats[view->seat_count]);
}

static void free_buckets(struct fl_view *view)
{
    for (size_t i = 0; i < view->bucket_count; i++) {
        fl_tournament_free(&view->bucket_list[i]->tournament);
        free(view->bucket_list[i]);
    }
    RB_INIT(&view->buckets);
    view->bucket_count = 0;
}

static void build(struct fl_index *index, struct fl_view *view)
{
    free_buckets(view);
    index->view_seats -= view->seat_count;
    view->seat_count = 0;
    take_seats(index, view);
    for (uint32_t i = 0; i < index->count; i++)
        look_at(view, index->seats[i], false);
    for (size_t i = 0; i < view->bucket_count; i++)
        fl_tournament_settle(&view->bucket_list[i]->tournament);
    view->seen = index->clock;
}

static void catch_up(struct fl_index *index, struct fl_view *view)
{
    struct fl_instance *at;
    uint32_t known = view->seat_count;
    if (view->seen == index->clock)
        return;
    take_seats(index, view);
    TAILQ_FOREACH_REVERSE(at, &index->changes, fl_change_list, by_change)
    {
        if (at->changed <= view->seen)
            break;
        if (at->altered > view->seen && at->seat < known && has_moved(view, at)) {
            build(index, view);
            return;
        }
        look_at(view, at, true);
    }
    view->seen = index->clock;
}

/* The cluster's views. */

static void free_view(struct fl_cluster *cluster, struct fl_view *view)
{
    free_buckets(view);
    fl_group_release(cluster, view->group);
    fl_group_release(cluster, view->spread);
    for (size_t i = 0; i < view->level_count; i++)
        fl_level_release(cluster, view->levels[i]);
    free((int32_t *)view->requirement.ports.items);
    free((char *)view->key.p);
    free(view->bucket_list);
    free(view->seats);
    free(view);
}

void fl_view_drop(struct fl_cluster *cluster, struct fl_view *view)
{
    struct fl_index *index = cluster->index;
    TAILQ_REMOVE(&index->views, view, by_use);
    (void)RB_REMOVE(fl_view_tree, &index->views_by_key, view);
    index->view_count--;
    index->view_seats -= view->seat_count;
    index->epoch++;
    view->filter->users--;
    free_view(cluster, view);
}

static void make_room(struct fl_cluster *cluster)
{
    struct fl_index *index = cluster->index;
    while (index->view_count > 0 && (index->view_count >= FL_MAX_VIEWS ||
                                     index->view_seats + index->count > FL_MAX_VIEW_SEATS))
        fl_view_drop(cluster, TAILQ_LAST(&index->views, fl_view_list));
}

/* Makes the view's own what the caller's spec only points to. */
static void own(struct fl_cluster *cluster, struct fl_view *view, struct fl_str key)
{
    struct fl_int_list *ports = &view->requirement.ports;
    int32_t *items = fl_calloc(ports->n + 1, sizeof(*items));
    if (ports->n)
        memcpy(items, ports->items, ports->n * sizeof(*items));
    ports->items = items;
    for (size_t i = 0; i < view->level_count; i++) {
        view->levels[i] = fl_level_use(cluster, view->level_names[i]);
        view->level_names[i] = view->levels[i]->name;
    }
    view->key = (struct fl_str){memcpy(fl_calloc(1, key.n), key.p, key.n), key.n};
    if (view->requirement.distinct)
        view->group = fl_group_use(cluster, view->requirement.group);
    if (spreads(view))
        view->spread = spread_use(cluster, &view->requirement);
    view->requirement.group = view->requirement.part = FL_STR("");
    view->filter->users++;
}

struct fl_view *fl_view_get(struct fl_cluster *cluster, struct fl_filter *filter,
                            const struct fl_requirement *requirement,
                            const struct ecs_PlacementStrategy_list *strategies)
{
    struct fl_index *index = cluster->index;
    struct fl_view spec = {.filter = filter, .requirement = *requirement};
    struct fl_view *view;
    FL_CLEANUP_BUF struct fl_buf key = FL_BUF_INIT(MAX_KEY);
    read_strategies(&spec, strategies);
    spec.fills_up = spec.word_count > 0 && spec.words[0] != GROUP_HERE;
    write_key(&spec, &key);
    spec.key = fl_buf_str(&key);
    view = RB_FIND(fl_view_tree, &index->views_by_key, &spec);
    if (view) {
        TAILQ_REMOVE(&index->views, view, by_use);
        TAILQ_INSERT_HEAD(&index->views, view, by_use);
        return view;
    }
    fl_index_settle(cluster);
    make_room(cluster);
    view = fl_calloc(1, sizeof(*view));
    *view = spec;
    own(cluster, view, spec.key);
    TAILQ_INSERT_HEAD(&index->views, view, by_use);
    (void)RB_INSERT(fl_view_tree, &index->views_by_key, view);
    index->view_count++;
    build(index, view);
    return view;
}

/* The choice. */

static int step_order(struct step step, struct fl_tally *const *tallies, const struct bucket *a,
                      const struct bucket *b)
{
    const struct fl_node *x = &a->tournament.root, *y = &b->tournament.root;
    if (step.kind == BY_VALUE) {
        int64_t m = fl_tally_count(tallies[step.at], a->values[step.at]);
        int64_t n = fl_tally_count(tallies[step.at], b->values[step.at]);
        return m < n ? -1 : m > n;
    }
    if (step.at == 2)
        return x->low < y->low ? -1 : x->low > y->low;
    uint32_t m = (uint32_t)(step.at ? x->high : x->high >> 32);
    uint32_t n = (uint32_t)(step.at ? y->high : y->high >> 32);
    return m < n ? -1 : m > n;
}

static int compare(const struct fl_view *view, struct fl_tally *const *tallies,
                   const struct bucket *a, const struct bucket *b)
{
    int order = 0;
    for (size_t i = 0; i < view->step_count && order == 0; i++)
        order = step_order(view->steps[i], tallies, a, b);
    return order;
}

/* The first of the best buckets; how many instances are as good as its best. */
static size_t best_bucket(const struct fl_view *view, struct fl_tally *const *tallies,
                          uint64_t *ret_ties)
{
    size_t best = SIZE_MAX;
    for (size_t i = 0; i < view->bucket_count; i++) {
        const struct bucket *bucket = view->bucket_list[i];
        uint32_t count = bucket->tournament.root.count;
        if (count == 0)
            continue;
        int order = best == SIZE_MAX ? -1 : compare(view, tallies, bucket, view->bucket_list[best]);
        if (order < 0) {
            best = i;
            *ret_ties = 0;
        }
        if (order <= 0)
            *ret_ties += count;
    }
    return best;
}

/* What accounting for a task there, and looking at it afterwards, will read: in a large cluster it
 * is far away, and so all of it is fetched at once. */
static void fetch(const struct fl_view *view, const struct fl_instance *instance)
{
    const struct fl_instance *next = TAILQ_NEXT(instance, by_change);
    __builtin_prefetch(&instance->group_count, 1);
    __builtin_prefetch(&view->seats[instance->seat], 1);
    __builtin_prefetch(&view->filter->verdicts[instance->seat]);
    __builtin_prefetch(instance->by_change.tqe_prev, 1);
    if (next)
        __builtin_prefetch(&next->by_change, 1);
}

static struct fl_instance *pick_from(struct fl_view *view, struct bucket *bucket, uint32_t n)
{
    struct fl_tournament *t = &bucket->tournament;
    if (fl_tournament_won_again(t))
        return t->holders[t->apart];
    struct fl_instance *instance = t->holders[fl_tournament_pick(t, n, view->fills_up)];
    fetch(view, instance);
    return instance;
}

void fl_view_tallies(struct fl_cluster *cluster, const struct fl_view *view,
                     const struct fl_requirement *requirement,
                     struct fl_tally *tallies[FL_MAX_STRATEGIES])
{
    struct fl_group *spread = view->level_count ? spread_use(cluster, requirement) : NULL;
    fl_tally_make_room(cluster, view->level_count);
    for (size_t i = 0; i < view->level_count; i++)
        tallies[i] = fl_tally_get(cluster, view->levels[i], spread);
    fl_group_release(cluster, spread);
}

struct fl_instance *fl_view_choose(struct fl_cluster *cluster, struct fl_view *view,
                                   struct fl_tally *const *tallies, struct fl_rand *rand)
{
    struct fl_index *index = cluster->index;
    uint64_t ties = 0;
    catch_up(index, view);
    size_t best = best_bucket(view, tallies, &ties);
    if (best == SIZE_MAX)
        return NULL;
    uint64_t n = ties > 1 ? fl_rand_below(rand, ties) : 0;
    for (size_t i = best; i < view->bucket_count; i++) {
        struct bucket *bucket = view->bucket_list[i];
        uint32_t count = bucket->tournament.root.count;
        if (count == 0 || compare(view, tallies, bucket, view->bucket_list[best]) != 0)
            continue;
        if (n < count)
            return pick_from(view, bucket, (uint32_t)n);
        n -= count;
    }
    FL_ASSERT(!"one of the ties is drawn");
    return NULL;
}
