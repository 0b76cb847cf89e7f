/* Clones of task records: first one without the shared texts, then these are pointed to. An empty
 * text takes no room in a clone. */
#include "core/task_record.h"

static struct fl_str without(struct fl_str text, bool is_shared)
{
    return is_shared ? FL_STR("") : text;
}

/* The containers without their images' digests; to be freed. */
static struct rec_TaskContainer_list lean_containers(const struct rec_TaskContainer_list *list)
{
    struct rec_TaskContainer_list lean = {.n = list->n};
    lean.items = fl_calloc(list->n + 1, sizeof(*lean.items));
    for (size_t i = 0; i < list->n; i++) {
        lean.items[i] = list->items[i];
        lean.items[i].imageDigest = FL_STR("");
    }
    return lean;
}

struct rec_Task *fl_task_record_keep(const struct fl_task_context *context,
                                     const struct rec_Task *rec)
{
    struct rec_Task lean = *rec;
    lean.cluster = FL_STR("");
    lean.instance = without(rec->instance, context->instance);
    lean.family = without(rec->family, context->definition);
    lean.group = without(rec->group, context->group);
    lean.containers = lean_containers(&rec->containers);
    struct rec_Task *kept = fl_shape_clone(&rec_shape_Task, &lean);
    free(lean.containers.items);
    kept->cluster = context->cluster->name;
    if (context->instance)
        kept->instance = context->instance->id;
    if (context->definition)
        kept->family = context->definition->family;
    if (context->group)
        kept->group = context->group->name;
    for (size_t i = 0; i < kept->containers.n; i++)
        if (rec->containers.items[i].imageDigest.n)
            kept->containers.items[i].imageDigest =
                fl_digest_use(context->cluster, rec->containers.items[i].imageDigest);
    return kept;
}

void fl_task_record_drop(struct fl_cluster *cluster, struct rec_Task *rec)
{
    for (size_t i = 0; i < rec->containers.n; i++)
        if (rec->containers.items[i].imageDigest.n)
            fl_digest_release(cluster, rec->containers.items[i].imageDigest);
    free(rec);
}
