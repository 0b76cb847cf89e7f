/* Version consistency: all tasks of a service revision run the image that its first task got, even
 * if the tag has moved since. */
#include "core/scheduler.h"

/* Pins of a revision for each of its containers: more architectures than this there are not. */
enum { MAX_ARCHITECTURES = 8 };

static struct fl_revision *revision_of(const struct fl_task *task)
{
    const struct fl_service *service =
        fl_state_service(task->cluster, fl_service_of_group(task->rec->group));
    return service ? fl_service_revision(service, task->rec->deployment) : NULL;
}

/* Images for several architectures have a manifest, so a digest, for each. */
static struct fl_str architecture_of(const struct fl_task *task)
{
    const struct ecs_Attribute_list *list = &task->instance->rec->attributes;
    for (size_t i = 0; i < list->n; i++)
        if (fl_str_is(list->items[i].name, "ecs.cpu-architecture"))
            return list->items[i].value;
    return FL_STR("");
}

static const struct rec_PinnedImage *find_pin(const struct rec_ServiceRevision *rec,
                                              struct fl_str container, struct fl_str architecture)
{
    for (size_t i = 0; i < rec->images.n; i++)
        if (fl_str_eq(rec->images.items[i].container, container) &&
            fl_str_eq(rec->images.items[i].architecture, architecture))
            return &rec->images.items[i];
    return NULL;
}

static bool is_pinned_at_all(const struct ecs_ContainerDefinition *c)
{
    bool is_off = FL_HAS(c, ecs_ContainerDefinition, versionConsistency) &&
                  c->versionConsistency == ECS_VersionConsistency_disabled;
    return !is_off && fl_str_index(c->image, '@') < 0;
}

/* What one agent says decides what all are sent: nothing but a digest will do. */
static bool is_digest(struct fl_str text)
{
    char bytes[32];
    struct fl_str hex = fl_str_sub(text, 7, text.n);
    return fl_str_starts(text, FL_STR("sha256:")) && hex.n == 2 * sizeof(bytes) &&
           fl_unhex(hex, bytes, sizeof(bytes));
}

static struct fl_str reported_digest(const struct rec_Task *rec, struct fl_str container)
{
    for (size_t i = 0; i < rec->containers.n; i++)
        if (fl_str_eq(rec->containers.items[i].name, container))
            return rec->containers.items[i].imageDigest;
    return FL_STR("");
}

void fl_revision_pin(struct fl_decision *d, const struct fl_task *task)
{
    const struct fl_revision *revision = task->instance ? revision_of(task) : NULL;
    if (!revision)
        return;
    struct rec_ServiceRevision rec = *revision->rec;
    const struct ecs_ContainerDefinition_list *containers =
        &revision->definition->rec->definition->containerDefinitions;
    struct rec_PinnedImage_list pins = {.n = rec.images.n};
    struct fl_str architecture = architecture_of(task);
    pins.items = fl_arena_new_array(d->arena, struct rec_PinnedImage, pins.n + containers->n);
    for (size_t i = 0; i < pins.n; i++)
        pins.items[i] = rec.images.items[i];
    for (size_t i = 0; i < containers->n && pins.n < MAX_ARCHITECTURES * containers->n; i++) {
        const struct ecs_ContainerDefinition *c = &containers->items[i];
        struct fl_str digest = reported_digest(task->rec, c->name);
        if (!is_digest(digest) || !is_pinned_at_all(c) || find_pin(&rec, c->name, architecture))
            continue;
        struct rec_PinnedImage *pin = &pins.items[pins.n++];
        FL_SET(pin, rec_PinnedImage, container, c->name);
        FL_SET(pin, rec_PinnedImage, image, c->image);
        FL_SET(pin, rec_PinnedImage, digest, digest);
        FL_SET(pin, rec_PinnedImage, architecture, architecture);
    }
    if (pins.n == rec.images.n)
        return;
    FL_SET(&rec, rec_ServiceRevision, images, pins);
    fl_put(d, FL_RECORD_REVISION, &rec);
}

struct fl_str fl_revision_image(struct fl_decision *d, const struct fl_task *task,
                                const struct ecs_ContainerDefinition *c)
{
    const struct fl_revision *revision =
        task->is_member && task->instance ? revision_of(task) : NULL;
    const struct rec_PinnedImage *pin =
        revision ? find_pin(revision->rec, c->name, architecture_of(task)) : NULL;
    if (!pin)
        return c->image;
    return fl_str_printf(d->arena, "%.*s@%.*s", FL_STR_ARG(c->image), FL_STR_ARG(pin->digest));
}
