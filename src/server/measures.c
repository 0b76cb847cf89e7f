/* Points come in by task, rounds add them up by instance, minutes by cluster. */
#include <stdlib.h>

#include "server/measures_internal.h"

int fl_task_measures_order(const struct fl_task_measures *a, const struct fl_task_measures *b)
{
    return strcmp(a->id, b->id);
}

int fl_instance_measures_order(const struct fl_instance_measures *a,
                               const struct fl_instance_measures *b)
{
    return strcmp(a->id, b->id);
}

int fl_cluster_measures_order(const struct fl_cluster_measures *a,
                              const struct fl_cluster_measures *b)
{
    return strcmp(a->name, b->name);
}

RB_GENERATE(fl_task_measures_tree, fl_task_measures, by_id, fl_task_measures_order)
RB_GENERATE(fl_instance_measures_tree, fl_instance_measures, by_id, fl_instance_measures_order)
RB_GENERATE(fl_cluster_measures_tree, fl_cluster_measures, by_name, fl_cluster_measures_order)

static void add_point(struct fl_points *points, uint32_t cap, struct fl_point point)
{
    if (!points->items) {
        points->cap = cap;
        points->items = fl_calloc(cap, sizeof(*points->items));
    }
    points->items[points->next] = point;
    points->next = (points->next + 1) % points->cap;
    points->count = FL_MIN(points->count + 1, points->cap);
}

struct fl_point fl_points_last(const struct fl_points *points)
{
    if (points->count == 0)
        return (struct fl_point){0};
    return points->items[(points->next + points->cap - 1) % points->cap];
}

static void free_task(struct fl_instance_measures *instance, struct fl_task_measures *task)
{
    (void)RB_REMOVE(fl_task_measures_tree, &instance->tasks, task);
    for (size_t i = 0; i < task->container_count; i++) {
        free(task->containers[i].name);
        free(task->containers[i].points.items);
    }
    free(task->containers);
    free(task->id);
    free(task);
}

static void free_instance(struct fl_cluster_measures *cluster,
                          struct fl_instance_measures *instance)
{
    while (!RB_EMPTY(&instance->tasks))
        free_task(instance, RB_MIN(fl_task_measures_tree, &instance->tasks));
    (void)RB_REMOVE(fl_instance_measures_tree, &cluster->instances, instance);
    free(instance->points.items);
    free(instance->id);
    free(instance);
}

static void free_cluster(struct fl_measures *measures, struct fl_cluster_measures *cluster)
{
    while (!RB_EMPTY(&cluster->instances))
        free_instance(cluster, RB_MIN(fl_instance_measures_tree, &cluster->instances));
    (void)RB_REMOVE(fl_cluster_measures_tree, &measures->clusters, cluster);
    free(cluster->points.items);
    free(cluster->name);
    free(cluster);
}

struct fl_measures *fl_measures_new(const struct fl_core *core)
{
    struct fl_measures *measures = fl_calloc(1, sizeof(*measures));
    measures->core = core;
    RB_INIT(&measures->clusters);
    return measures;
}

void fl_measures_free(struct fl_measures *measures)
{
    if (!measures)
        return;
    while (!RB_EMPTY(&measures->clusters))
        free_cluster(measures, RB_MIN(fl_cluster_measures_tree, &measures->clusters));
    free(measures);
}

static struct fl_cluster_measures *use_cluster(struct fl_measures *measures, struct fl_str name)
{
    struct fl_cluster_measures *cluster = fl_calloc(1, sizeof(*cluster));
    cluster->name = fl_strndup(name.p, name.n);
    RB_INIT(&cluster->instances);
    struct fl_cluster_measures *there =
        RB_INSERT(fl_cluster_measures_tree, &measures->clusters, cluster);
    if (!there)
        return cluster;
    free(cluster->name);
    free(cluster);
    return there;
}

/* NULL: the core knows no such instance. */
static struct fl_instance_measures *use_instance(struct fl_measures *measures,
                                                 struct fl_str cluster_name, struct fl_str id)
{
    if (!fl_core_instance_active(measures->core, cluster_name, id))
        return NULL;
    struct fl_cluster_measures *cluster = use_cluster(measures, cluster_name);
    struct fl_instance_measures *instance = fl_calloc(1, sizeof(*instance));
    instance->id = fl_strndup(id.p, id.n);
    RB_INIT(&instance->tasks);
    struct fl_instance_measures *there =
        RB_INSERT(fl_instance_measures_tree, &cluster->instances, instance);
    if (!there)
        return instance;
    free(instance->id);
    free(instance);
    return there;
}

static struct fl_task_measures *use_task(struct fl_instance_measures *instance, struct fl_str id)
{
    struct fl_task_measures *task = fl_calloc(1, sizeof(*task));
    task->id = fl_strndup(id.p, id.n);
    struct fl_task_measures *there = RB_INSERT(fl_task_measures_tree, &instance->tasks, task);
    if (!there)
        return task;
    free(task->id);
    free(task);
    return there;
}

static struct fl_container_measures *use_container(struct fl_task_measures *task,
                                                   struct fl_str name)
{
    for (size_t i = 0; i < task->container_count; i++)
        if (fl_str_is(name, task->containers[i].name))
            return &task->containers[i];
    if (task->container_count == FL_MEASURES_MAX_CONTAINERS)
        return NULL;
    task->containers =
        fl_realloc(task->containers, (task->container_count + 1) * sizeof(*task->containers));
    struct fl_container_measures *container = &task->containers[task->container_count++];
    *container = (struct fl_container_measures){.name = fl_strndup(name.p, name.n)};
    return container;
}

/* A hostile agent may say anything, no number at all included. */
static double sane(double value, double most)
{
    return value > most ? most : value >= 0 ? value : 0;
}

void fl_measures_task(struct fl_measures *measures, struct fl_str cluster, struct fl_str instance,
                      struct fl_str task, const struct fl_measure *containers, size_t count,
                      int64_t now_ms)
{
    struct fl_core_size size;
    if (!fl_core_task_size(measures->core, cluster, task, instance, &size))
        return;
    struct fl_instance_measures *host = use_instance(measures, cluster, instance);
    struct fl_task_measures *told = host ? use_task(host, task) : NULL;
    if (!told)
        return;
    told->updated_ms = now_ms;
    told->round = host->round;
    for (size_t i = 0; i < count; i++) {
        struct fl_container_measures *container = use_container(told, containers[i].name);
        if (!container)
            return;
        container->restarts = containers[i].restarts;
        add_point(&container->points, FL_MEASURES_OF_CONTAINER,
                  (struct fl_point){
                      now_ms,
                      (float)(sane(containers[i].cpu_percent, 100) * (double)size.cpu / 100),
                      (float)sane(containers[i].memory_mib, (double)INT32_MAX)});
    }
}

static struct fl_point sum_of_task(const struct fl_task_measures *task, int64_t now_ms)
{
    struct fl_point sum = {.at_ms = now_ms};
    for (size_t i = 0; i < task->container_count; i++) {
        struct fl_point last = fl_points_last(&task->containers[i].points);
        if (last.at_ms != task->updated_ms) /* it has ended; the others have not */
            continue;
        sum.cpu += last.cpu;
        sum.memory += last.memory;
    }
    return sum;
}

void fl_measures_round(struct fl_measures *measures, struct fl_str cluster, struct fl_str instance,
                       int64_t now_ms)
{
    struct fl_instance_measures *host = use_instance(measures, cluster, instance);
    struct fl_point sum = {.at_ms = now_ms};
    struct fl_task_measures *task, *next;
    if (!host)
        return;
    RB_FOREACH_SAFE (task, fl_task_measures_tree, &host->tasks, next) {
        if (task->round != host->round) {
            free_task(host, task);
            continue;
        }
        struct fl_point its = sum_of_task(task, now_ms);
        sum.cpu += its.cpu;
        sum.memory += its.memory;
    }
    host->round++;
    host->updated_ms = now_ms;
    add_point(&host->points, FL_MEASURES_OF_INSTANCE, sum);
}

struct fl_point fl_cluster_measures_sum(const struct fl_cluster_measures *cluster, int64_t now_ms,
                                        size_t *ret_telling)
{
    struct fl_point sum = {.at_ms = now_ms};
    struct fl_instance_measures *instance;
    *ret_telling = 0;
    RB_FOREACH (instance, fl_instance_measures_tree,
                (struct fl_instance_measures_tree *)&cluster->instances) {
        struct fl_point last = fl_points_last(&instance->points);
        if (now_ms - last.at_ms > FL_MEASURES_STALE_MS)
            continue;
        sum.cpu += last.cpu;
        sum.memory += last.memory;
        ++*ret_telling;
    }
    return sum;
}

static void forget_old(struct fl_measures *measures, struct fl_cluster_measures *cluster,
                       int64_t now_ms)
{
    struct fl_instance_measures *instance, *next;
    RB_FOREACH_SAFE (instance, fl_instance_measures_tree, &cluster->instances, next)
        if (now_ms - instance->updated_ms > FL_MEASURES_FORGET_MS ||
            !fl_core_instance_active(measures->core, fl_str_of(cluster->name),
                                     fl_str_of(instance->id)))
            free_instance(cluster, instance);
}

void fl_measures_minute(struct fl_measures *measures, int64_t now_ms)
{
    struct fl_cluster_measures *cluster, *next;
    size_t telling;
    RB_FOREACH_SAFE (cluster, fl_cluster_measures_tree, &measures->clusters, next) {
        forget_old(measures, cluster, now_ms);
        add_point(&cluster->points, FL_MEASURES_OF_CLUSTER,
                  fl_cluster_measures_sum(cluster, now_ms, &telling));
        if (RB_EMPTY(&cluster->instances))
            free_cluster(measures, cluster);
    }
}
