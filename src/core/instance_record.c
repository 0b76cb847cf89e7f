/* Clones of instance records that share their attributes. */
#include "core/instance_record.h"

static int compare_attributes(const struct ecs_Attribute *a, const struct ecs_Attribute *b)
{
    int order = fl_str_cmp(a->name, b->name);
    if (order == 0)
        order = fl_str_cmp(a->value, b->value);
    if (order == 0)
        order = fl_str_cmp(a->targetId, b->targetId);
    if (order == 0)
        order = (int)a->targetType - (int)b->targetType;
    if (order == 0 && a->has != b->has)
        order = a->has < b->has ? -1 : 1;
    return order;
}

static int set_order(const struct fl_attribute_set *a, const struct fl_attribute_set *b)
{
    const struct ecs_Attribute_list *x = &a->holder->attributes, *y = &b->holder->attributes;
    int order = x->n < y->n ? -1 : x->n > y->n;
    for (size_t i = 0; i < x->n && order == 0; i++)
        order = compare_attributes(&x->items[i], &y->items[i]);
    return order;
}
RB_PROTOTYPE(fl_attribute_tree, fl_attribute_set, by_content, set_order)
RB_GENERATE(fl_attribute_tree, fl_attribute_set, by_content, set_order)

static struct fl_attribute_set *use_set(struct fl_cluster *cluster,
                                        const struct ecs_Attribute_list *list)
{
    struct rec_Instance holder = {0};
    struct fl_attribute_set probe = {.holder = &holder};
    FL_SET(&holder, rec_Instance, attributes, *list);
    struct fl_attribute_set *set = RB_FIND(fl_attribute_tree, &cluster->attributes, &probe);
    if (!set) {
        set = fl_calloc(1, sizeof(*set));
        set->holder = fl_shape_clone(&rec_shape_Instance, &holder);
        (void)RB_INSERT(fl_attribute_tree, &cluster->attributes, set);
    }
    set->users++;
    return set;
}

struct rec_Instance *fl_instance_record_keep(struct fl_cluster *cluster,
                                             const struct rec_Instance *rec,
                                             struct fl_attribute_set **ret_set)
{
    struct rec_Instance lean = *rec;
    *ret_set = use_set(cluster, &rec->attributes);
    lean.attributes = (struct ecs_Attribute_list){0};
    struct rec_Instance *kept = fl_shape_clone(&rec_shape_Instance, &lean);
    kept->attributes = (*ret_set)->holder->attributes;
    return kept;
}

void fl_instance_record_drop(struct fl_cluster *cluster, struct rec_Instance *rec,
                             struct fl_attribute_set *set)
{
    free(rec);
    if (--set->users > 0)
        return;
    (void)RB_REMOVE(fl_attribute_tree, &cluster->attributes, set);
    free(set->holder);
    free(set);
}
