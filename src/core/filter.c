/* Compiled constraints and their verdicts. */
#include "core/filter.h"

enum { UNKNOWN, PASSES, FAILS };
enum { MAX_KEY = 1 << 20 };

static int key_order(const struct fl_filter *a, const struct fl_filter *b)
{
    return fl_str_cmp(a->key, b->key);
}
RB_PROTOTYPE(fl_filter_tree, fl_filter, by_key, key_order)
RB_GENERATE(fl_filter_tree, fl_filter, by_key, key_order)

static void add_text(struct fl_buf *key, struct fl_str text)
{
    fl_buf_printf(key, "%zu:", text.n);
    fl_buf_add_str(key, text);
}

/* Before they are made a key of. */
static int check_lengths(struct fl_decision *d, const struct fl_filter_spec *spec)
{
    for (size_t i = 0; i < spec->text_count; i++)
        if (spec->texts[i].n > FL_QUERY_MAX_LENGTH)
            return fl_refuse(d, "InvalidParameterException",
                             "The expression is longer than %d characters.", FL_QUERY_MAX_LENGTH);
    return 0;
}

/* Bounded by the lengths above, and by that of a task definition. */
static struct fl_str key_of(struct fl_arena *arena, const struct fl_filter_spec *spec)
{
    FL_CLEANUP_BUF struct fl_buf key = FL_BUF_INIT(MAX_KEY);
    for (size_t i = 0; i < spec->text_count; i++)
        add_text(&key, spec->texts[i]);
    fl_buf_add_char(&key, '|');
    for (size_t i = 0; spec->attributes && i < spec->attributes->n; i++) {
        add_text(&key, spec->attributes->items[i].name);
        add_text(&key, spec->attributes->items[i].value);
    }
    FL_ASSERT(!key.overflow);
    return fl_str_dup(arena, fl_buf_str(&key));
}

static void copy_attributes(struct fl_filter *filter, const struct ecs_Attribute_list *list)
{
    filter->attributes.items = fl_arena_new_array(filter->arena, struct ecs_Attribute, list->n);
    for (size_t i = 0; i < list->n; i++) {
        struct ecs_Attribute *copy = &filter->attributes.items[filter->attributes.n++];
        FL_SET(copy, ecs_Attribute, name, fl_str_dup(filter->arena, list->items[i].name));
        FL_SET(copy, ecs_Attribute, value, fl_str_dup(filter->arena, list->items[i].value));
    }
}

static void free_filter(struct fl_filter *filter)
{
    for (size_t i = 0; i < filter->member_count; i++)
        fl_expression_free(filter->members[i]);
    fl_arena_free(filter->arena);
    free(filter->verdicts);
    free(filter);
}

static struct fl_filter *make_filter(struct fl_decision *d, struct fl_str key,
                                     const struct fl_filter_spec *spec)
{
    struct fl_filter *filter = fl_calloc(1, sizeof(*filter));
    struct fl_err err;
    filter->arena = fl_arena_new();
    filter->key = fl_str_dup(filter->arena, key);
    if (spec->attributes)
        copy_attributes(filter, spec->attributes);
    for (size_t i = 0; i < spec->text_count; i++) {
        struct fl_expression *e = fl_expression_compile(filter->arena, spec->texts[i], &err);
        if (!e) {
            (void)fl_refuse(d, "InvalidParameterException", "%s", err.text);
            free_filter(filter);
            return NULL;
        }
        filter->texts[i] = fl_str_dup(filter->arena, spec->texts[i]);
        filter->is_live[i] = fl_expression_is_live(e);
        filter->live_count += filter->is_live[i];
        filter->members[filter->member_count++] = e;
    }
    return filter;
}

/* Makes room by dropping the one that has not been asked for longest, unless a view needs it. */
static void make_room(struct fl_index *index)
{
    struct fl_filter *filter, *before;
    TAILQ_FOREACH_REVERSE_SAFE(filter, &index->filters, fl_filter_list, by_use, before)
    {
        if (index->filter_count < FL_MAX_FILTERS)
            return;
        if (filter->users)
            continue;
        TAILQ_REMOVE(&index->filters, filter, by_use);
        (void)RB_REMOVE(fl_filter_tree, &index->filters_by_key, filter);
        index->filter_count--;
        free_filter(filter);
    }
}

struct fl_filter *fl_filter_get(struct fl_decision *d, struct fl_cluster *cluster,
                                const struct fl_filter_spec *spec)
{
    struct fl_index *index = cluster->index;
    if (check_lengths(d, spec) < 0)
        return NULL;
    struct fl_filter probe = {.key = key_of(d->arena, spec)};
    struct fl_filter *filter = RB_FIND(fl_filter_tree, &index->filters_by_key, &probe);
    if (filter) {
        TAILQ_REMOVE(&index->filters, filter, by_use);
    } else {
        filter = make_filter(d, probe.key, spec);
        if (!filter)
            return NULL;
        make_room(index);
        (void)RB_INSERT(fl_filter_tree, &index->filters_by_key, filter);
        index->filter_count++;
    }
    TAILQ_INSERT_HEAD(&index->filters, filter, by_use);
    return filter;
}

const struct ecs_Attribute *fl_filter_lacks(const struct fl_filter *filter,
                                            const struct fl_instance *instance)
{
    for (size_t i = 0; i < filter->attributes.n; i++) {
        const struct ecs_Attribute *required = &filter->attributes.items[i];
        struct fl_str value;
        if (!fl_instance_attribute(instance, required->name, &value) ||
            (required->value.n && !fl_str_eq(value, required->value)))
            return required;
    }
    return NULL;
}

int fl_filter_fails(const struct fl_filter *filter, const struct fl_instance *instance)
{
    for (size_t i = 0; i < filter->member_count; i++)
        if (!fl_expression_matches(filter->members[i], instance))
            return (int)i;
    return -1;
}

static bool passes_settled(const struct fl_filter *filter, const struct fl_instance *instance)
{
    for (size_t i = 0; i < filter->member_count; i++)
        if (!filter->is_live[i] && !fl_expression_matches(filter->members[i], instance))
            return false;
    return !fl_filter_lacks(filter, instance);
}

static bool passes_live(const struct fl_filter *filter, const struct fl_instance *instance)
{
    for (size_t i = 0; i < filter->member_count; i++)
        if (filter->is_live[i] && !fl_expression_matches(filter->members[i], instance))
            return false;
    return true;
}

bool fl_filter_passes(struct fl_filter *filter, const struct fl_instance *instance)
{
    if (instance->seat >= filter->verdict_count) {
        uint32_t count = FL_MAX(filter->verdict_count * 2, instance->seat + 64);
        filter->verdicts = fl_realloc(filter->verdicts, count);
        memset(filter->verdicts + filter->verdict_count, UNKNOWN, count - filter->verdict_count);
        filter->verdict_count = count;
    }
    uint8_t *verdict = &filter->verdicts[instance->seat];
    if (*verdict == UNKNOWN)
        *verdict = passes_settled(filter, instance) ? PASSES : FAILS;
    return *verdict == PASSES && (filter->live_count == 0 || passes_live(filter, instance));
}

void fl_filters_forget(struct fl_index *index, uint32_t seat)
{
    struct fl_filter *filter;
    TAILQ_FOREACH (filter, &index->filters, by_use)
        if (seat < filter->verdict_count)
            filter->verdicts[seat] = UNKNOWN;
}

void fl_filters_forget_all(struct fl_index *index)
{
    struct fl_filter *filter;
    TAILQ_FOREACH (filter, &index->filters, by_use)
        if (filter->verdict_count)
            memset(filter->verdicts, UNKNOWN, filter->verdict_count);
}

void fl_filters_drop(struct fl_index *index)
{
    struct fl_filter *filter;
    while ((filter = TAILQ_FIRST(&index->filters))) {
        TAILQ_REMOVE(&index->filters, filter, by_use);
        (void)RB_REMOVE(fl_filter_tree, &index->filters_by_key, filter);
        free_filter(filter);
    }
    index->filter_count = 0;
}
