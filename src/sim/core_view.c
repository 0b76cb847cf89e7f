/* Reading a core's memory. */
#include "sim/core_view.h"

#include "core/service.h"

static struct fl_cluster *cluster_of(const struct fl_core *core)
{
    return fl_state_cluster(core, FL_STR("default"));
}

const struct rec_Task *sim_core_task(const struct fl_core *core, struct fl_str id)
{
    struct fl_cluster *cluster = cluster_of(core);
    struct fl_task *task = cluster ? fl_state_task(cluster, id) : NULL;
    return task ? task->rec : NULL;
}

static void show(const struct fl_instance *instance, struct sim_core_instance *ret_instance)
{
    *ret_instance = (struct sim_core_instance){
        .rec = instance->rec,
        .cpu_used = instance->cpu_used,
        .memory_used = instance->memory_used,
        .task_count = instance->running_count + instance->pending_count,
        .connected = instance->connected,
    };
}

bool sim_core_instance(const struct fl_core *core, struct fl_str id,
                       struct sim_core_instance *ret_instance)
{
    struct fl_cluster *cluster = cluster_of(core);
    struct fl_instance *instance = cluster ? fl_state_instance(cluster, id) : NULL;
    if (instance)
        show(instance, ret_instance);
    return instance;
}

const struct rec_Task *sim_core_next_task(const struct fl_core *core, const struct rec_Task *after)
{
    struct fl_cluster *cluster = cluster_of(core);
    struct fl_task *at = after ? fl_state_task(cluster, after->id) : NULL;
    if (!cluster)
        return NULL;
    at = at ? RB_NEXT(fl_task_tree, &cluster->tasks, at) : RB_MIN(fl_task_tree, &cluster->tasks);
    return at ? at->rec : NULL;
}

bool sim_core_next_instance(const struct fl_core *core, struct sim_core_instance *at)
{
    struct fl_cluster *cluster = cluster_of(core);
    if (!cluster)
        return false;
    struct fl_instance *instance = at->rec ? RB_NEXT(fl_instance_tree, &cluster->instances,
                                                     fl_state_instance(cluster, at->rec->id))
                                           : RB_MIN(fl_instance_tree, &cluster->instances);
    if (instance)
        show(instance, at);
    return instance;
}

int32_t sim_core_latest_revision(const struct fl_core *core, struct fl_str family)
{
    const struct fl_definition *definition = fl_state_latest(core, family);
    return definition ? definition->revision : 0;
}

static struct fl_service *service_of(const struct fl_core *core, struct fl_str name)
{
    struct fl_cluster *cluster = cluster_of(core);
    return cluster ? fl_state_service(cluster, name) : NULL;
}

const struct rec_Service *sim_core_service(const struct fl_core *core, struct fl_str name)
{
    const struct fl_service *service = service_of(core, name);
    return service ? service->rec : NULL;
}

const struct rec_Service *sim_core_next_service(const struct fl_core *core,
                                                const struct rec_Service *after)
{
    struct fl_cluster *cluster = cluster_of(core);
    struct fl_service *at = after ? service_of(core, after->name) : NULL;
    if (!cluster)
        return NULL;
    at = at ? RB_NEXT(fl_service_tree, &cluster->services, at)
            : RB_MIN(fl_service_tree, &cluster->services);
    return at ? at->rec : NULL;
}

const struct rec_ServiceRevision *sim_core_service_revision(const struct fl_core *core,
                                                            struct fl_str service, int64_t number)
{
    const struct fl_service *at = service_of(core, service);
    const struct fl_revision *revision = at ? fl_service_revision(at, number) : NULL;
    return revision ? revision->rec : NULL;
}

const struct rec_ServiceDeployment *sim_core_rollout(const struct fl_core *core,
                                                     struct fl_str service, struct fl_str id)
{
    const struct fl_service *at = service_of(core, service);
    const struct fl_rollout *rollout = at ? fl_service_rollout(at, id) : NULL;
    return rollout ? rollout->rec : NULL;
}

void sim_core_definition_size(const struct fl_core *core, struct fl_str family, int32_t revision,
                              int64_t *ret_cpu, int64_t *ret_memory)
{
    const struct fl_definition *definition = fl_state_definition(core, family, revision);
    const struct ecs_ContainerDefinition_list *list =
        &definition->rec->definition->containerDefinitions;
    *ret_cpu = *ret_memory = 0;
    for (size_t i = 0; i < list->n; i++) {
        *ret_cpu += list->items[i].cpu;
        *ret_memory += list->items[i].memory;
    }
}

size_t sim_core_service_events(const struct fl_core *core, struct fl_str service)
{
    const struct fl_service *at = service_of(core, service);
    return at ? at->event_count : 0;
}

void sim_core_sum(const struct fl_core *core, struct sim_core_sums *ret_sums)
{
    struct fl_cluster *cluster = cluster_of(core);
    struct fl_instance *at;
    *ret_sums = (struct sim_core_sums){.running = cluster->running_count};
    RB_FOREACH (at, fl_instance_tree, &cluster->instances) {
        ret_sums->cpu += at->cpu;
        ret_sums->memory += at->memory;
        ret_sums->cpu_used += at->cpu_used;
        ret_sums->memory_used += at->memory_used;
        ret_sums->empty += at->running_count + at->pending_count == 0;
    }
}

const struct fl_shape *sim_core_shape(int kind)
{
    return fl_record_shape((enum fl_record_kind)kind);
}

void sim_core_load(struct fl_core *core, int kind, const void *record)
{
    fl_state_apply(core, (enum fl_record_kind)kind, record);
}

static const char *tell(struct fl_arena *arena, const char *what, struct fl_str id)
{
    return fl_str_printf(arena, "%s %.*s", what, FL_STR_ARG(id)).p;
}

/* What is to be forgotten next. */
static const char *ends_differ(const struct fl_core *a, const struct fl_core *b,
                               struct fl_arena *arena)
{
    const struct fl_task *task = RB_MIN(fl_stopped_tree, (struct fl_stopped_tree *)&a->stopped);
    const struct fl_task *other = RB_MIN(fl_stopped_tree, (struct fl_stopped_tree *)&b->stopped);
    const struct fl_instance *at = RB_MIN(fl_retired_tree, (struct fl_retired_tree *)&a->retired);
    const struct fl_instance *twin = RB_MIN(fl_retired_tree, (struct fl_retired_tree *)&b->retired);
    if (!task != !other || (task && !fl_str_eq(task->rec->id, other->rec->id)))
        return tell(arena, "what is forgotten next:", FL_STR("a task"));
    if (!at != !twin || (at && !fl_str_eq(at->id, twin->id)))
        return tell(arena, "what is forgotten next:", FL_STR("an instance"));
    return NULL;
}

static const char *definitions_differ(const struct fl_core *a, const struct fl_core *b,
                                      struct fl_arena *arena)
{
    struct fl_definition *one;
    RB_FOREACH (one, fl_definition_tree, (struct fl_definition_tree *)&a->definitions) {
        struct fl_definition *other = fl_state_definition(b, one->family, one->revision);
        if (!other || !fl_shape_equal(&rec_shape_TaskDefinition, one->rec, other->rec))
            return tell(arena, "definition", one->family);
    }
    return NULL;
}

static const char *tasks_differ(struct fl_cluster *a, const struct fl_cluster *b,
                                struct fl_arena *arena)
{
    struct fl_task *one;
    RB_FOREACH (one, fl_task_tree, &a->tasks) {
        struct fl_task *other = fl_state_task(b, one->rec->id);
        if (!other || !fl_shape_equal(&rec_shape_Task, one->rec, other->rec) ||
            one->holds != other->holds || one->is_stopped != other->is_stopped)
            return tell(arena, "task", one->rec->id);
    }
    return NULL;
}

static bool counts_differ(const struct fl_instance *a, const struct fl_instance *b)
{
    return a->cpu_used != b->cpu_used || a->memory_used != b->memory_used ||
           a->running_count != b->running_count || a->pending_count != b->pending_count ||
           a->port_count != b->port_count || a->connected != b->connected ||
           a->is_open != b->is_open;
}

static const char *instances_differ(struct fl_cluster *a, const struct fl_cluster *b,
                                    struct fl_arena *arena)
{
    struct fl_instance *one;
    RB_FOREACH (one, fl_instance_tree, &a->instances) {
        struct fl_instance *other = fl_state_instance(b, one->id);
        if (!other || !fl_shape_equal(&rec_shape_Instance, one->rec, other->rec) ||
            counts_differ(one, other))
            return tell(arena, "instance", one->id);
    }
    return NULL;
}

static bool deployments_differ(const struct fl_service *a, const struct fl_service *b)
{
    const struct fl_deployment *one = TAILQ_FIRST(&a->deployments);
    const struct fl_deployment *other = TAILQ_FIRST(&b->deployments);
    for (; one && other; one = TAILQ_NEXT(one, in_service), other = TAILQ_NEXT(other, in_service))
        if (one->number != other->number || one->running_count != other->running_count ||
            one->pending_count != other->pending_count ||
            one->stopping_count != other->stopping_count)
            return true;
    return one || other;
}

static bool events_differ(const struct fl_service *a, const struct fl_service *b)
{
    const struct fl_service_event *one = TAILQ_FIRST(&a->events);
    const struct fl_service_event *other = TAILQ_FIRST(&b->events);
    for (; one && other; one = TAILQ_NEXT(one, in_service), other = TAILQ_NEXT(other, in_service))
        if (!fl_shape_equal(&rec_shape_ServiceEvent, one->rec, other->rec))
            return true;
    return one || other || a->event_count != b->event_count;
}

static bool revisions_differ(struct fl_service *a, const struct fl_service *b)
{
    struct fl_revision *one;
    size_t count = 0;
    RB_FOREACH (one, fl_revision_tree, &a->revisions) {
        const struct fl_revision *other = fl_service_revision(b, one->rec->number);
        if (!other || !fl_shape_equal(&rec_shape_ServiceRevision, one->rec, other->rec) ||
            one->definition->revision != other->definition->revision)
            return true;
        count++;
    }
    RB_FOREACH (one, fl_revision_tree, (struct fl_revision_tree *)&b->revisions)
        count--;
    return count;
}

static bool rollouts_differ(struct fl_service *a, const struct fl_service *b)
{
    struct fl_rollout *one;
    RB_FOREACH (one, fl_rollout_tree, &a->rollouts) {
        const struct fl_rollout *other = fl_service_rollout(b, one->rec->id);
        if (!other || !fl_shape_equal(&rec_shape_ServiceDeployment, one->rec, other->rec))
            return true;
    }
    return a->rollout_count != b->rollout_count;
}

static const char *services_differ(struct fl_cluster *a, const struct fl_cluster *b,
                                   struct fl_arena *arena)
{
    struct fl_service *one;
    size_t count = 0;
    RB_FOREACH (one, fl_service_tree, &a->services) {
        struct fl_service *other = fl_state_service(b, one->name);
        if (!other || !fl_shape_equal(&rec_shape_Service, one->rec, other->rec) ||
            one->is_daemon != other->is_daemon)
            return tell(arena, "service", one->name);
        if (deployments_differ(one, other) || revisions_differ(one, other))
            return tell(arena, "a deployment or revision of service", one->name);
        if (rollouts_differ(one, other) || events_differ(one, other))
            return tell(arena, "a rollout or an event of service", one->name);
        count++;
    }
    RB_FOREACH (one, fl_service_tree, (struct fl_service_tree *)&b->services)
        count--;
    return count || a->active_services != b->active_services
               ? tell(arena, "the count of services of", a->name)
               : NULL;
}

static const char *clusters_differ(struct fl_cluster *a, const struct fl_core *core,
                                   struct fl_arena *arena)
{
    struct fl_cluster *b = fl_state_cluster(core, a->name);
    if (!b || !fl_shape_equal(&rec_shape_Cluster, a->rec, b->rec) ||
        a->running_count != b->running_count || a->pending_count != b->pending_count ||
        a->active_instances != b->active_instances)
        return tell(arena, "cluster", a->name);
    const char *found = instances_differ(a, b, arena);
    if (!found)
        found = services_differ(a, b, arena);
    return found ? found : tasks_differ(a, b, arena);
}

const char *sim_core_differs(const struct fl_core *a, const struct fl_core *b,
                             struct fl_arena *arena)
{
    struct fl_core_counts one = fl_core_count(a), other = fl_core_count(b);
    struct fl_cluster *cluster;
    if (memcmp(&one, &other, sizeof(one)) != 0)
        return tell(arena, "the count of", FL_STR("its records"));
    RB_FOREACH (cluster, fl_cluster_tree, (struct fl_cluster_tree *)&a->clusters) {
        const char *found = clusters_differ(cluster, b, arena);
        if (found)
            return found;
    }
    const char *found = ends_differ(a, b, arena);
    return found ? found : definitions_differ(a, b, arena);
}
