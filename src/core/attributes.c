/* PutAttributes, DeleteAttributes, ListAttributes: what people say of container instances.
 *
 * A call is checked whole before any record is put. What the agent and the control plane say
 * (names that begin with "ecs." or "com.amazonaws.") is not for people to change. */
#include "core/decide.h"
#include "core/page.h"

enum { MAX_IN_CALL = 10, MAX_CUSTOM = 10, MAX_TEXT = 128 };

/* An instance that a call changes, with the attributes that it will have. */
struct target {
    struct fl_instance *instance;
    struct ecs_Attribute_list list;
};

struct change {
    struct fl_cluster *cluster;
    struct target targets[MAX_IN_CALL];
    size_t target_count;
};

static bool is_reserved(struct fl_str name)
{
    return fl_str_starts(name, FL_STR("ecs.")) || fl_str_starts(name, FL_STR("com.amazonaws."));
}

static bool consists_of(struct fl_str text, const char *others)
{
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];
        bool is_plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!is_plain && (c == '\0' || !strchr(others, c)))
            return false;
    }
    return text.n > 0 && text.n <= MAX_TEXT;
}

static int check_name(struct fl_decision *d, struct fl_str name)
{
    if (!consists_of(name, "-_/\\."))
        return fl_refuse(d, "InvalidParameterException",
                         "Attribute names have 1 to 128 letters, digits, hyphens, underscores, "
                         "slashes, backslashes or periods.");
    if (is_reserved(name))
        return fl_refuse(d, "InvalidParameterException",
                         "The attribute %.*s is set by Amazon ECS and cannot be changed.",
                         FL_STR_ARG(name));
    return 0;
}

static int check_value(struct fl_decision *d, const struct ecs_Attribute *attribute)
{
    struct fl_str value = attribute->value;
    if (!FL_HAS(attribute, ecs_Attribute, value) ||
        (consists_of(value, "-_.@/\\: ") && value.p[0] != ' ' && value.p[value.n - 1] != ' '))
        return 0;
    return fl_refuse(d, "InvalidParameterException",
                     "The value of attribute %.*s must have 1 to 128 letters, digits, hyphens, "
                     "underscores, periods, at signs, slashes, backslashes, colons or spaces, and "
                     "no space at its ends.",
                     FL_STR_ARG(attribute->name));
}

static struct fl_instance *find_target(struct fl_decision *d, const struct fl_cluster *cluster,
                                       const struct ecs_Attribute *attribute)
{
    bool is_arn = fl_str_starts(attribute->targetId, FL_STR("arn:"));
    struct fl_instance *instance;
    if (!is_arn && !FL_HAS(attribute, ecs_Attribute, targetType)) {
        (void)fl_refuse(d, "InvalidParameterException",
                        "targetType must be given when targetId is no ARN.");
        return NULL;
    }
    instance = fl_state_instance(cluster, fl_id_of(attribute->targetId));
    if (instance && !fl_str_is(instance->rec->status, "INACTIVE") &&
        (!is_arn || fl_str_eq(attribute->targetId, fl_instance_arn(d, instance->rec))))
        return instance;
    (void)fl_refuse(d, "TargetNotFoundException", "The specified target wasn't found.");
    return NULL;
}

/* The instance's attributes as they will be; room for what the call adds. */
static struct target *use_target(struct fl_decision *d, struct change *change,
                                 struct fl_instance *instance)
{
    for (size_t i = 0; i < change->target_count; i++)
        if (change->targets[i].instance == instance)
            return &change->targets[i];
    const struct ecs_Attribute_list *now = &instance->rec->attributes;
    struct target *target = &change->targets[change->target_count++];
    *target = (struct target){.instance = instance, .list.n = now->n};
    target->list.items = fl_arena_new_array(d->arena, struct ecs_Attribute, now->n + MAX_IN_CALL);
    if (now->n)
        memcpy(target->list.items, now->items, now->n * sizeof(*now->items));
    return target;
}

static struct ecs_Attribute *find_attribute(struct ecs_Attribute_list *list, struct fl_str name)
{
    for (size_t i = 0; i < list->n; i++)
        if (fl_str_eq(list->items[i].name, name))
            return &list->items[i];
    return NULL;
}

static size_t count_custom(const struct ecs_Attribute_list *list)
{
    size_t count = 0;
    for (size_t i = 0; i < list->n; i++)
        count += !is_reserved(list->items[i].name);
    return count;
}

static void show(struct fl_decision *d, const struct fl_instance *instance,
                 const struct ecs_Attribute *attribute, struct ecs_Attribute_list *out)
{
    struct ecs_Attribute *shown = &out->items[out->n++];
    FL_SET(shown, ecs_Attribute, name, fl_str_dup(d->arena, attribute->name));
    if (FL_HAS(attribute, ecs_Attribute, value))
        FL_SET(shown, ecs_Attribute, value, fl_str_dup(d->arena, attribute->value));
    FL_SET(shown, ecs_Attribute, targetId, fl_instance_arn(d, instance->rec));
}

static int begin(struct fl_decision *d, struct fl_str cluster,
                 const struct ecs_Attribute_list *list, struct change *change)
{
    *change = (struct change){.cluster = fl_find_cluster(d, cluster)};
    if (!change->cluster)
        return -1;
    if (list->n == 0)
        return fl_refuse(d, "InvalidParameterException", "Attributes cannot be empty.");
    if (list->n > MAX_IN_CALL)
        return fl_refuse(d, "InvalidParameterException",
                         "At most %d attributes can be named in a call.", MAX_IN_CALL);
    return 0;
}

static void put_all(struct fl_decision *d, const struct change *change)
{
    for (size_t i = 0; i < change->target_count; i++) {
        const struct target *target = &change->targets[i];
        struct rec_Instance rec = *target->instance->rec;
        FL_SET(&rec, rec_Instance, attributes, target->list);
        FL_SET(&rec, rec_Instance, version, rec.version + 1);
        fl_put(d, FL_RECORD_INSTANCE, &rec);
    }
}

static int put_one(struct fl_decision *d, struct change *change, const struct ecs_Attribute *given,
                   struct ecs_Attribute_list *out)
{
    if (check_name(d, given->name) < 0 || check_value(d, given) < 0)
        return -1;
    struct fl_instance *instance = find_target(d, change->cluster, given);
    if (!instance)
        return -1;
    struct target *target = use_target(d, change, instance);
    struct ecs_Attribute *attribute = find_attribute(&target->list, given->name);
    if (!attribute)
        attribute = &target->list.items[target->list.n++];
    *attribute = (struct ecs_Attribute){0};
    FL_SET(attribute, ecs_Attribute, name, given->name);
    if (FL_HAS(given, ecs_Attribute, value))
        FL_SET(attribute, ecs_Attribute, value, given->value);
    /* What the agent brought along may be more; it does not count against who changes that. */
    if (count_custom(&target->list) >
        FL_MAX((size_t)MAX_CUSTOM, count_custom(&instance->rec->attributes)))
        return fl_refuse(d, "AttributeLimitExceededException",
                         "You can apply up to %d custom attributes for each resource.", MAX_CUSTOM);
    show(d, instance, given, out);
    return 0;
}

int fl_put_attributes(struct fl_decision *d, const void *input, void *output)
{
    const struct ecs_PutAttributesRequest *in = input;
    struct ecs_PutAttributesResponse *out = output;
    struct change change;
    if (begin(d, in->cluster, &in->attributes, &change) < 0)
        return -1;
    out->attributes.items = fl_arena_new_array(d->arena, struct ecs_Attribute, MAX_IN_CALL);
    for (size_t i = 0; i < in->attributes.n; i++)
        if (put_one(d, &change, &in->attributes.items[i], &out->attributes) < 0)
            return -1;
    put_all(d, &change);
    FL_SET(out, ecs_PutAttributesResponse, attributes, out->attributes);
    return 0;
}

/* What is not there is not deleted, and not listed as such. */
static int delete_one(struct fl_decision *d, struct change *change,
                      const struct ecs_Attribute *given, struct ecs_Attribute_list *out)
{
    if (check_name(d, given->name) < 0)
        return -1;
    struct fl_instance *instance = find_target(d, change->cluster, given);
    if (!instance)
        return -1;
    struct target *target = use_target(d, change, instance);
    struct ecs_Attribute *attribute = find_attribute(&target->list, given->name);
    if (!attribute || (given->value.n && !fl_str_eq(given->value, attribute->value)))
        return 0;
    show(d, instance, attribute, out);
    size_t behind = target->list.n - (size_t)(attribute - target->list.items) - 1;
    memmove(attribute, attribute + 1, behind * sizeof(*attribute));
    target->list.n--;
    return 0;
}

int fl_delete_attributes(struct fl_decision *d, const void *input, void *output)
{
    const struct ecs_DeleteAttributesRequest *in = input;
    struct ecs_DeleteAttributesResponse *out = output;
    struct change change;
    if (begin(d, in->cluster, &in->attributes, &change) < 0)
        return -1;
    out->attributes.items = fl_arena_new_array(d->arena, struct ecs_Attribute, MAX_IN_CALL);
    for (size_t i = 0; i < in->attributes.n; i++)
        if (delete_one(d, &change, &in->attributes.items[i], &out->attributes) < 0)
            return -1;
    if (out->attributes.n)
        put_all(d, &change);
    FL_SET(out, ecs_DeleteAttributesResponse, attributes, out->attributes);
    return 0;
}

static int by_name(const void *a, const void *b)
{
    const struct ecs_Attribute *const *x = a, *const *y = b;
    return fl_str_cmp((*x)->name, (*y)->name);
}

/* One instance's attributes in the order of their names. */
static const struct ecs_Attribute **in_order(struct fl_decision *d,
                                             const struct ecs_Attribute_list *list)
{
    const struct ecs_Attribute **sorted =
        fl_arena_new_array(d->arena, const struct ecs_Attribute *, list->n);
    for (size_t i = 0; i < list->n; i++)
        sorted[i] = &list->items[i];
    qsort(sorted, list->n, sizeof(*sorted), by_name);
    return sorted;
}

struct listing {
    const struct ecs_ListAttributesRequest *in;
    struct fl_page page;
    struct ecs_Attribute_list *out;
    struct fl_str last_key;
    bool more;
};

static bool is_wanted(const struct ecs_ListAttributesRequest *in,
                      const struct ecs_Attribute *attribute)
{
    return (!in->attributeName.n || fl_str_eq(in->attributeName, attribute->name)) &&
           (!in->attributeValue.n || fl_str_eq(in->attributeValue, attribute->value));
}

static void list_instance(struct fl_decision *d, const struct fl_instance *instance,
                          struct listing *listing)
{
    const struct ecs_Attribute_list *list = &instance->rec->attributes;
    const struct ecs_Attribute **sorted = in_order(d, list);
    for (size_t i = 0; i < list->n && !listing->more; i++) {
        if (!is_wanted(listing->in, sorted[i]))
            continue;
        struct fl_str key = fl_str_printf(d->arena, "%.*s/%.*s", FL_STR_ARG(instance->rec->id),
                                          FL_STR_ARG(sorted[i]->name));
        if (fl_str_cmp(key, listing->page.after) <= 0)
            continue;
        listing->more = listing->out->n == listing->page.max;
        if (listing->more)
            return;
        show(d, instance, sorted[i], listing->out);
        listing->last_key = key;
    }
}

int fl_list_attributes(struct fl_decision *d, const void *input, void *output)
{
    const struct ecs_ListAttributesRequest *in = input;
    struct ecs_ListAttributesResponse *out = output;
    struct fl_cluster *cluster = fl_find_cluster(d, in->cluster);
    struct listing listing = {.in = in, .out = &out->attributes};
    struct fl_instance *instance;
    if (!cluster)
        return -1;
    if (in->attributeValue.n && !in->attributeName.n)
        return fl_refuse(d, "InvalidParameterException",
                         "attributeValue needs an attributeName to go with it.");
    if (fl_page_read(d, in->nextToken, FL_HAS(in, ecs_ListAttributesRequest, maxResults),
                     in->maxResults, &listing.page) < 0)
        return -1;
    out->attributes.items = fl_arena_new_array(d->arena, struct ecs_Attribute, listing.page.max);
    struct fl_str first =
        fl_str_sub(listing.page.after, 0, (size_t)FL_MAX(fl_str_index(listing.page.after, '/'), 0));
    RB_FOREACH (instance, fl_instance_tree, &cluster->instances)
        if (!listing.more && fl_str_cmp(instance->rec->id, first) >= 0 &&
            !fl_str_is(instance->rec->status, "INACTIVE"))
            list_instance(d, instance, &listing);
    FL_SET(out, ecs_ListAttributesResponse, attributes, out->attributes);
    if (listing.more)
        FL_SET(out, ecs_ListAttributesResponse, nextToken, fl_page_token(d, listing.last_key));
    return 0;
}
