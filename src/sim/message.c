/* Messages: used again and again, shared by the copies that the network makes, and mostly without
 * text. In a run with codecs what is called and answered goes through the production's JSON; the
 * history is the same either way. */
#include "shapes/rec_shapes.h"
#include "sim/world.h"

enum { MAX_TEXT = 1 << 24 };

struct sim_message *sim_message_new(struct sim *sim)
{
    struct sim_message *message = sim->free_messages;
    if (message) {
        sim->free_messages = message->next_free;
    } else {
        message = fl_malloc(sizeof(*message));
        message->arena = fl_arena_new();
    }
    *message = (struct sim_message){.arena = message->arena, .holders = 1};
    return message;
}

struct sim_message *sim_message_hold(struct sim_message *message)
{
    message->holders++;
    return message;
}

void sim_message_free(struct sim *sim, struct sim_message *message)
{
    if (!message || --message->holders > 0)
        return;
    for (size_t i = 0; i < message->order_count; i++)
        sim_message_free(sim, message->orders[i]);
    fl_arena_reset(message->arena);
    message->next_free = sim->free_messages;
    sim->free_messages = message;
}

void sim_messages_end(struct sim *sim)
{
    struct sim_message *message;
    while ((message = sim->free_messages) != NULL) {
        sim->free_messages = message->next_free;
        fl_arena_free(message->arena);
        free(message);
    }
}

/* ---- calls ---- */

void sim_message_ask(struct sim *sim, struct sim_message *message, int operation, const void *input)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(MAX_TEXT);
    message->operation = operation;
    message->input = input;
    if (!sim->codecs)
        return;
    fl_shape_encode(ecs_service.operations[operation].input, input, &buf);
    message->text = fl_str_dup(message->arena, fl_buf_str(&buf));
    message->input = NULL;
}

const void *sim_message_asked(struct sim *sim, struct sim_message *message)
{
    if (message->input)
        return message->input;
    const struct fl_shape *shape = ecs_service.operations[message->operation].input;
    struct fl_shape_error error;
    const struct fl_json *json = fl_json_read(message->text, message->arena, NULL);
    void *input = fl_arena_alloc(message->arena, fl_shape_size(shape));
    if (json && fl_shape_decode(shape, json, message->arena, input, &error) == 0)
        return input;
    sim_violation(sim, "A1", "a body of ours is refused: %.*s", FL_STR_ARG(message->text));
    return NULL;
}

/* ---- answers ---- */

/* Of the essential containers, which have names with "e": one UNHEALTHY makes the task so, else one
 * UNKNOWN. */
static enum ecs_HealthStatus health_of(const struct ecs_Task *task)
{
    enum ecs_HealthStatus health = ECS_HealthStatus_HEALTHY;
    for (size_t i = 0; i < task->containers.n; i++) {
        const struct ecs_Container *c = &task->containers.items[i];
        if (!fl_str_starts(c->name, FL_STR("e")) || health == ECS_HealthStatus_UNHEALTHY)
            continue;
        if (c->healthStatus != ECS_HealthStatus_HEALTHY)
            health = c->healthStatus;
    }
    return health;
}

static void read_task(const struct ecs_Task *task, struct sim_shown *ret_shown)
{
    struct fl_str id = fl_task_id(task->taskArn);
    *ret_shown = (struct sim_shown){
        .status = fl_enum_value(&rec_enum_TaskStatus, task->lastStatus),
        .code = FL_HAS(task, ecs_Task, stopCode) ? (int)task->stopCode + 1 : 0,
        .is_stopping = fl_str_is(task->desiredStatus, "STOPPED"),
        .is_well_told = task->healthStatus == health_of(task),
        .version = task->version,
        .reason = sim_hash(task->stoppedReason),
    };
    memcpy(ret_shown->id, id.p, FL_MIN(id.n, sizeof(ret_shown->id) - 1));
}

static void read_tasks(struct sim_message *message, const struct ecs_Task *tasks, size_t count)
{
    struct sim_answer *answer = &message->answer;
    answer->tasks = fl_arena_new_array(message->arena, struct sim_shown, count);
    answer->task_count = count;
    for (size_t i = 0; i < count; i++)
        read_task(&tasks[i], &answer->tasks[i]);
}

static void read_instances(struct sim_message *message,
                           const struct ecs_ContainerInstance *instances, size_t count)
{
    struct sim_answer *answer = &message->answer;
    answer->instances = fl_arena_new_array(message->arena, struct sim_shown_instance, count);
    answer->instance_count = count;
    for (size_t i = 0; i < count; i++) {
        struct sim_shown_instance *shown = &answer->instances[i];
        struct fl_str id = fl_task_id(instances[i].containerInstanceArn);
        shown->status = sim_instance_status(instances[i].status);
        shown->version = instances[i].version;
        memcpy(shown->id, id.p, FL_MIN(id.n, sizeof(shown->id) - 1));
    }
}

static void read_about_tasks(struct sim_message *message, int operation, const void *output)
{
    const struct ecs_RunTaskResponse *run = output;
    const struct ecs_StopTaskResponse *stop = output;
    const struct ecs_DescribeTasksResponse *described = output;
    const struct ecs_RegisterTaskDefinitionResponse *definition = output;
    if (operation == ECS_OP_RunTask)
        read_tasks(message, run->tasks.items, run->tasks.n);
    else if (operation == ECS_OP_StopTask)
        read_tasks(message, stop->task, 1);
    else if (operation == ECS_OP_DescribeTasks)
        read_tasks(message, described->tasks.items, described->tasks.n);
    else if (operation == ECS_OP_RegisterTaskDefinition)
        message->answer.revision = definition->taskDefinition->revision;
}

void sim_answer_read(struct sim_message *message, int operation, const void *output)
{
    const struct ecs_RegisterContainerInstanceResponse *registered = output;
    const struct ecs_DeregisterContainerInstanceResponse *gone = output;
    const struct ecs_UpdateContainerInstancesStateResponse *updated = output;
    const struct ecs_DescribeContainerInstancesResponse *described = output;
    if (operation == ECS_OP_RegisterContainerInstance)
        message->answer.instance_arn =
            fl_str_dup(message->arena, registered->containerInstance->containerInstanceArn);
    else if (operation == ECS_OP_DeregisterContainerInstance)
        read_instances(message, gone->containerInstance, 1);
    else if (operation == ECS_OP_UpdateContainerInstancesState)
        read_instances(message, updated->containerInstances.items, updated->containerInstances.n);
    else if (operation == ECS_OP_DescribeContainerInstances)
        read_instances(message, described->containerInstances.items,
                       described->containerInstances.n);
    else
        read_about_tasks(message, operation, output);
}

const struct sim_answer *sim_message_answered(struct sim *sim, struct sim_message *message,
                                              int operation)
{
    if (message->text.n == 0)
        return &message->answer;
    const struct fl_shape *shape = ecs_service.operations[operation].output;
    struct fl_shape_error error;
    const struct fl_json *json = fl_json_read(message->text, message->arena, NULL);
    void *output = fl_arena_alloc(message->arena, fl_shape_size(shape));
    if (json && fl_shape_decode(shape, json, message->arena, output, &error) == 0)
        sim_answer_read(message, operation, output);
    else
        sim_violation(sim, "A1", "an answer cannot be read: %.*s", FL_STR_ARG(message->text));
    return &message->answer;
}

/* ---- orders ---- */

void sim_message_list(struct sim_message *message, const struct fl_acs_task *tasks, size_t count)
{
    message->tasks = fl_arena_new_array(message->arena, struct fl_acs_task, count);
    message->task_count = count;
    for (size_t i = 0; i < count; i++)
        message->tasks[i] = (struct fl_acs_task){
            .arn = fl_str_dup(message->arena, tasks[i].arn),
            .cluster_arn = fl_str_dup(message->arena, tasks[i].cluster_arn),
            .desired_running = tasks[i].desired_running,
            .is_running = tasks[i].is_running,
        };
}

void sim_order_read(struct sim *sim, struct sim_message *order)
{
    struct fl_err err = {0};
    if (order->order.spec || order->text.n == 0)
        return;
    const struct fl_json *json = fl_json_read(order->text, order->arena, &err);
    struct fl_task_spec *spec = fl_arena_new_object(order->arena, struct fl_task_spec);
    if (fl_task_spec_decode(json, order->arena, spec, &err) < 0) {
        sim_violation(sim, "A1", "a task cannot be read: %s", err.text);
        return;
    }
    order->order =
        (struct fl_brain_order){.arn = spec->arn, .cluster_arn = spec->cluster_arn, .spec = spec};
}
