/* RunTask: check everything, place count tasks one after the other, put their records, send them.
 * StartTask: the same on the instances that the caller names. */
#include "core/launch.h"

/* The next task of the same call, or NULL. */
static struct fl_task *next_of_call(struct fl_task *task)
{
    struct fl_task *next = RB_NEXT(fl_token_tree, NULL, task);
    bool is_same = next && next->cluster == task->cluster &&
                   fl_str_eq(next->rec->clientToken, task->rec->clientToken);
    return is_same ? next : NULL;
}

static int refuse_reuse(struct fl_decision *d, struct fl_task *task)
{
    struct fl_str_list ids = {.items =
                                  fl_arena_new_array(d->arena, struct fl_str, FL_MAX_LAUNCHED)};
    for (; task && ids.n < FL_MAX_LAUNCHED; task = next_of_call(task))
        ids.items[ids.n++] = fl_task_arn(d, task->rec);
    d->error_ids = ids;
    return fl_refuse(d, "ConflictException",
                     "The clientToken was used before with another request.");
}

/* A token seen before: the same request gets the same tasks, another one ConflictException. */
static int repeat(struct fl_decision *d, struct fl_task *task, struct fl_str hash,
                  struct ecs_RunTaskResponse *out)
{
    if (FL_BUG(43, false, !fl_str_eq(task->rec->requestHash, hash)))
        return refuse_reuse(d, task);
    out->tasks.items = fl_arena_new_array(d->arena, struct ecs_Task, FL_MAX_LAUNCHED);
    for (; task && out->tasks.n < FL_MAX_LAUNCHED; task = next_of_call(task))
        fl_show_task(d, task, true, &out->tasks.items[out->tasks.n++]);
    FL_SET(out, ecs_RunTaskResponse, tasks, out->tasks);
    FL_SET(out, ecs_RunTaskResponse, failures, out->failures);
    return 0;
}

static void run(struct fl_decision *d, struct fl_launch *launch, int count,
                struct ecs_RunTaskResponse *out)
{
    out->tasks.items = fl_arena_new_array(d->arena, struct ecs_Task, FL_MAX_LAUNCHED);
    for (int i = 0; i < count; i++) {
        struct fl_instance *instance = fl_placement_choose(d, &launch->placement, launch->cluster);
        if (!instance) {
            fl_placement_explain(d, &launch->placement, launch->cluster, &out->failures);
            break;
        }
        struct fl_task *task = fl_launch_on(d, launch, instance);
        fl_show_task(d, task, true, &out->tasks.items[out->tasks.n++]);
    }
    FL_SET(out, ecs_RunTaskResponse, tasks, out->tasks);
    FL_SET(out, ecs_RunTaskResponse, failures, out->failures);
}

int fl_run_task(struct fl_decision *d, const void *input, void *output)
{
    const struct ecs_RunTaskRequest *in = input;
    struct fl_cluster *cluster = fl_find_cluster(d, in->cluster);
    struct fl_launch launch;
    if (!cluster || fl_launch_check(d, in) < 0)
        return -1;
    struct fl_str hash =
        in->clientToken.n ? fl_request_hash(d, &ecs_shape_RunTaskRequest, in) : FL_STR("");
    struct fl_task *earlier =
        in->clientToken.n ? fl_state_token(d->core, cluster->rec->name, in->clientToken) : NULL;
    if (FL_BUG(12, false, earlier != NULL))
        return repeat(d, earlier, hash, output);
    if (fl_launch_prepare(d, in, cluster, &launch) < 0)
        return -1;
    if (in->clientToken.n) {
        FL_SET(&launch.rec, rec_Task, clientToken, in->clientToken);
        FL_SET(&launch.rec, rec_Task, requestHash, hash);
    }
    run(d, &launch, FL_HAS(in, ecs_RunTaskRequest, count) ? in->count : 1, output);
    return 0;
}

/* The members that the two requests share. */
static struct ecs_RunTaskRequest as_run_task(const struct ecs_StartTaskRequest *in)
{
    struct ecs_RunTaskRequest run = {0};
#define SHARE(member)                                                                              \
    do {                                                                                           \
        if (FL_HAS(in, ecs_StartTaskRequest, member))                                              \
            FL_SET(&run, ecs_RunTaskRequest, member, in->member);                                  \
    } while (0)
    SHARE(cluster);
    SHARE(enableECSManagedTags);
    SHARE(enableExecuteCommand);
    SHARE(group);
    SHARE(networkConfiguration);
    SHARE(overrides);
    SHARE(propagateTags);
    SHARE(startedBy);
    SHARE(tags);
    SHARE(taskDefinition);
    SHARE(volumeConfigurations);
#undef SHARE
    return run;
}

static void start_on(struct fl_decision *d, struct fl_launch *launch, struct fl_str id,
                     struct ecs_StartTaskResponse *out)
{
    struct fl_instance *instance = fl_state_instance(launch->cluster, id);
    struct ecs_Failure *failure = &out->failures.items[out->failures.n];
    if (!instance) {
        struct rec_Instance missing = {.cluster = launch->cluster->rec->name, .id = id};
        FL_SET(failure, ecs_Failure, arn, fl_instance_arn(d, &missing));
        FL_SET(failure, ecs_Failure, reason, FL_STR("MISSING"));
        out->failures.n++;
        return;
    }
    struct fl_hindrance hindrance = fl_placement_hindrance(&launch->placement, instance);
    if (hindrance.obstacle != FL_OBSTACLE_NONE) {
        fl_placement_fail(d, &launch->placement, instance, hindrance, failure);
        out->failures.n++;
        return;
    }
    struct fl_task *task = fl_launch_on(d, launch, instance);
    fl_show_task(d, task, true, &out->tasks.items[out->tasks.n++]);
}

int fl_start_task(struct fl_decision *d, const void *input, void *output)
{
    const struct ecs_StartTaskRequest *in = input;
    struct ecs_StartTaskResponse *out = output;
    struct ecs_RunTaskRequest run = as_run_task(in);
    struct fl_cluster *cluster = fl_find_cluster(d, in->cluster);
    struct fl_launch launch;
    if (!cluster || fl_launch_check(d, &run) < 0)
        return -1;
    if (in->containerInstances.n == 0)
        return fl_refuse(d, "InvalidParameterException", "Container Instances cannot be empty.");
    if (in->containerInstances.n > FL_MAX_LAUNCHED)
        return fl_refuse(d, "InvalidParameterException",
                         "At most %d container instances can be named.", FL_MAX_LAUNCHED);
    struct fl_str ids[FL_MAX_LAUNCHED];
    for (size_t i = 0; i < in->containerInstances.n; i++)
        if (fl_read_name(d, in->containerInstances.items[i], "container-instance", &ids[i]) < 0)
            return -1;
    if (fl_launch_prepare(d, &run, cluster, &launch) < 0)
        return -1;
    out->tasks.items = fl_arena_new_array(d->arena, struct ecs_Task, FL_MAX_LAUNCHED);
    out->failures.items = fl_arena_new_array(d->arena, struct ecs_Failure, FL_MAX_LAUNCHED);
    for (size_t i = 0; i < in->containerInstances.n; i++)
        start_on(d, &launch, ids[i], out);
    FL_SET(out, ecs_StartTaskResponse, tasks, out->tasks);
    FL_SET(out, ecs_StartTaskResponse, failures, out->failures);
    return 0;
}
