/* The measures as the call Utilization tells them. Unit of CPU: 1024 to a processor; of memory:
 * MiB. Percentages are of what is reserved, as ECS counts them. */
#include "server/measures_internal.h"
#include "wire/json.h"

struct view {
    const struct fl_measures *measures;
    const struct fl_measures_wanted *wanted;
    struct fl_json_writer *jw;
    int64_t now_ms;
};

static void member_double(struct fl_json_writer *jw, const char *key, double value)
{
    fl_jw_key(jw, key);
    fl_jw_double(jw, value);
}

static void member_time(struct fl_json_writer *jw, const char *key, int64_t ms)
{
    fl_jw_key(jw, key);
    fl_jw_time(jw, ms);
}

/* [[seconds, CPU, memory] …], oldest first. */
static void show_history(const struct view *v, const struct fl_points *points)
{
    if (!v->wanted->history)
        return;
    fl_jw_key(v->jw, "history");
    fl_jw_array_begin(v->jw);
    for (uint32_t i = 0; i < points->count; i++) {
        const struct fl_point *p =
            &points->items[(points->next + points->cap - points->count + i) % points->cap];
        fl_jw_array_begin(v->jw);
        fl_jw_time(v->jw, p->at_ms);
        fl_jw_double(v->jw, (double)p->cpu);
        fl_jw_double(v->jw, (double)p->memory);
        fl_jw_array_end(v->jw);
    }
    fl_jw_array_end(v->jw);
}

static void show_used(struct fl_json_writer *jw, struct fl_point used, int64_t cpu_reserved,
                      int64_t memory_reserved)
{
    member_double(jw, "cpuUsed", (double)used.cpu);
    member_double(jw, "memoryUsed", (double)used.memory);
    fl_jw_member_int(jw, "cpuReserved", cpu_reserved);
    fl_jw_member_int(jw, "memoryReserved", memory_reserved);
    if (cpu_reserved > 0)
        member_double(jw, "cpuPercent", 100 * (double)used.cpu / (double)cpu_reserved);
    if (memory_reserved > 0)
        member_double(jw, "memoryPercent", 100 * (double)used.memory / (double)memory_reserved);
}

static void show_container(const struct view *v, const struct fl_container_measures *container)
{
    struct fl_point last = fl_points_last(&container->points);
    fl_jw_object_begin(v->jw);
    fl_jw_member_str(v->jw, "name", fl_str_of(container->name));
    member_time(v->jw, "measuredAt", last.at_ms);
    member_double(v->jw, "cpuUsed", (double)last.cpu);
    member_double(v->jw, "memoryUsed", (double)last.memory);
    fl_jw_member_int(v->jw, "restarts", container->restarts);
    show_history(v, &container->points);
    fl_jw_object_end(v->jw);
}

static void show_task(const struct view *v, const struct fl_cluster_measures *cluster,
                      const struct fl_instance_measures *instance,
                      const struct fl_task_measures *task)
{
    struct fl_core_size size;
    struct fl_point sum = {0};
    if (!fl_core_task_size(v->measures->core, fl_str_of(cluster->name), fl_str_of(task->id),
                           fl_str_of(instance->id), &size))
        return;
    for (size_t i = 0; i < task->container_count; i++) {
        struct fl_point last = fl_points_last(&task->containers[i].points);
        sum.cpu += last.at_ms == task->updated_ms ? last.cpu : 0;
        sum.memory += last.at_ms == task->updated_ms ? last.memory : 0;
    }
    fl_jw_object_begin(v->jw);
    fl_jw_member_str(v->jw, "task", fl_str_of(task->id));
    member_time(v->jw, "measuredAt", task->updated_ms);
    show_used(v->jw, sum, size.cpu_reserved, size.memory_reserved);
    fl_jw_key(v->jw, "containers");
    fl_jw_array_begin(v->jw);
    for (size_t i = 0; i < task->container_count; i++)
        show_container(v, &task->containers[i]);
    fl_jw_array_end(v->jw);
    fl_jw_object_end(v->jw);
}

static void show_tasks(const struct view *v, const struct fl_cluster_measures *cluster,
                       const struct fl_instance_measures *instance)
{
    struct fl_task_measures *task;
    fl_jw_key(v->jw, "tasks");
    fl_jw_array_begin(v->jw);
    if (instance)
        RB_FOREACH (task, fl_task_measures_tree, (struct fl_task_measures_tree *)&instance->tasks)
            show_task(v, cluster, instance, task);
    fl_jw_array_end(v->jw);
}

static const struct fl_instance_measures *find_instance(const struct fl_cluster_measures *cluster,
                                                        struct fl_str id)
{
    char text[64];
    struct fl_instance_measures probe = {.id = text};
    if (!cluster || id.n >= sizeof(text))
        return NULL;
    memcpy(text, id.p, id.n);
    text[id.n] = '\0';
    return RB_FIND(fl_instance_measures_tree,
                   (struct fl_instance_measures_tree *)&cluster->instances, &probe);
}

/* Every instance that is registered, those too that have never told anything. */
static void show_instance(const struct view *v, const struct fl_cluster_measures *cluster,
                          struct fl_str id, const struct fl_core_size *size)
{
    const struct fl_instance_measures *instance = find_instance(cluster, id);
    fl_jw_object_begin(v->jw);
    fl_jw_member_str(v->jw, "containerInstance", id);
    fl_jw_member_bool(v->jw, "agentConnected", size->connected);
    fl_jw_member_int(v->jw, "cpuRegistered", size->cpu);
    fl_jw_member_int(v->jw, "memoryRegistered", size->memory);
    if (instance) {
        struct fl_point last = fl_points_last(&instance->points);
        member_time(v->jw, "measuredAt", last.at_ms);
        show_used(v->jw, last, size->cpu_reserved, size->memory_reserved);
        show_history(v, &instance->points);
    }
    if (v->wanted->tasks)
        show_tasks(v, cluster, instance);
    fl_jw_object_end(v->jw);
}

static void show_instances(const struct view *v, struct fl_str name,
                           const struct fl_cluster_measures *cluster)
{
    struct fl_core_size size;
    struct fl_str id = FL_STR("");
    fl_jw_key(v->jw, "containerInstances");
    fl_jw_array_begin(v->jw);
    while (fl_core_instance_next(v->measures->core, name, &id))
        if (fl_core_instance_size(v->measures->core, name, id, &size))
            show_instance(v, cluster, id, &size);
    fl_jw_array_end(v->jw);
}

static void show_cluster(const struct view *v, struct fl_str name,
                         const struct fl_cluster_measures *cluster)
{
    struct fl_core_size total = {0}, size;
    struct fl_str id = FL_STR("");
    size_t registered = 0, telling = 0;
    struct fl_point sum = {0};
    if (cluster)
        sum = fl_cluster_measures_sum(cluster, v->now_ms, &telling);
    for (; fl_core_instance_next(v->measures->core, name, &id); registered++)
        if (fl_core_instance_size(v->measures->core, name, id, &size)) {
            total.cpu += size.cpu;
            total.memory += size.memory;
            total.cpu_reserved += size.cpu_reserved;
            total.memory_reserved += size.memory_reserved;
        }
    fl_jw_object_begin(v->jw);
    fl_jw_member_str(v->jw, "cluster", name);
    fl_jw_member_int(v->jw, "instancesRegistered", (int64_t)registered);
    fl_jw_member_int(v->jw, "instancesMeasured", (int64_t)telling);
    fl_jw_member_int(v->jw, "cpuRegistered", total.cpu);
    fl_jw_member_int(v->jw, "memoryRegistered", total.memory);
    show_used(v->jw, sum, total.cpu_reserved, total.memory_reserved);
    if (cluster)
        show_history(v, &cluster->points);
    if (v->wanted->instances || v->wanted->tasks)
        show_instances(v, name, cluster);
    fl_jw_object_end(v->jw);
}

static const struct fl_cluster_measures *find_cluster(const struct fl_measures *measures,
                                                      struct fl_str name)
{
    struct fl_cluster_measures *cluster;
    RB_FOREACH (cluster, fl_cluster_measures_tree,
                (struct fl_cluster_measures_tree *)&measures->clusters)
        if (fl_str_is(name, cluster->name))
            return cluster;
    return NULL;
}

bool fl_measures_show(const struct fl_measures *measures, const struct fl_measures_wanted *wanted,
                      int64_t now_ms, struct fl_buf *buf)
{
    struct fl_json_writer jw = {.buf = buf};
    const struct view v = {measures, wanted, &jw, now_ms};
    struct fl_str name = FL_STR("");
    if (wanted->cluster.n && !fl_core_has_cluster(measures->core, wanted->cluster))
        return false;
    fl_jw_object_begin(&jw);
    fl_jw_key(&jw, "clusters");
    fl_jw_array_begin(&jw);
    if (wanted->cluster.n)
        show_cluster(&v, wanted->cluster, find_cluster(measures, wanted->cluster));
    else
        while (fl_core_cluster_next(measures->core, &name))
            show_cluster(&v, name, find_cluster(measures, name));
    fl_jw_array_end(&jw);
    fl_jw_object_end(&jw);
    return true;
}
