/* What clients ask for: storms of RunTask, StopTask, DescribeTasks, definitions that change, drains
 * and deregistration of instances. */
#include "sim/world.h"

enum { ATTEMPTS = 6, TASKS_A_CALL = 5, DESCRIBED = 10, UPDATED = 3 };

#define NEW(message, type) fl_arena_new_object((message)->arena, struct ecs_##type)

/* ---- definitions ---- */

void sim_client_register(struct sim *sim, int family)
{
    struct sim_message *call = sim_message_new(sim);
    struct ecs_RegisterTaskDefinitionRequest *input = NEW(call, RegisterTaskDefinitionRequest);
    struct ecs_ContainerDefinition_list list = sim_definition_draw(sim, call->arena, family);
    FL_SET(input, ecs_RegisterTaskDefinitionRequest, family,
           fl_str_printf(call->arena, "f%d", family));
    FL_SET(input, ecs_RegisterTaskDefinitionRequest, containerDefinitions, list);
    struct sim_operation *operation =
        sim_client_call(sim, ECS_OP_RegisterTaskDefinition, call, input);
    operation->family = family;
    operation->attempts_left = ATTEMPTS;
    sim_client_send(sim, operation);
}

static void deregister_definition(struct sim *sim)
{
    struct sim_message *call = sim_message_new(sim);
    struct ecs_DeregisterTaskDefinitionRequest *input = NEW(call, DeregisterTaskDefinitionRequest);
    int family = (int)sim_below(sim, SIM_FAMILIES);
    int revision = 1 + (int)sim_below(sim, 5);
    FL_SET(input, ecs_DeregisterTaskDefinitionRequest, taskDefinition,
           fl_str_printf(call->arena, "f%d:%d", family, revision));
    sim_client_send(sim, sim_client_call(sim, ECS_OP_DeregisterTaskDefinition, call, input));
}

/* ---- tasks ---- */

static void add_strategy(struct sim_message *call, struct ecs_RunTaskRequest *input,
                         enum ecs_PlacementStrategyType type, const char *field)
{
    struct ecs_PlacementStrategy_list *list = &input->placementStrategy;
    if (!list->items)
        list->items = fl_arena_new_array(call->arena, struct ecs_PlacementStrategy, 2);
    struct ecs_PlacementStrategy *strategy = &list->items[list->n++];
    FL_SET(strategy, ecs_PlacementStrategy, type, type);
    if (field)
        FL_SET(strategy, ecs_PlacementStrategy, field, fl_str_of(field));
    input->has |= UINT64_C(1) << ecs_RunTaskRequest_placementStrategy;
}

static void add_constraint(struct sim_message *call, struct ecs_RunTaskRequest *input,
                           enum ecs_PlacementConstraintType type, const char *expression)
{
    struct ecs_PlacementConstraint_list list = {1, NEW(call, PlacementConstraint)};
    FL_SET(list.items, ecs_PlacementConstraint, type, type);
    if (expression)
        FL_SET(list.items, ecs_PlacementConstraint, expression, fl_str_of(expression));
    FL_SET(input, ecs_RunTaskRequest, placementConstraints, list);
}

static void add_wishes(struct sim *sim, struct sim_message *call, struct ecs_RunTaskRequest *input)
{
    enum { KINDS = 7 };
    switch (sim_below(sim, KINDS)) {
    case 1:
        add_strategy(call, input, ECS_PlacementStrategyType_binpack, "memory");
        break;
    case 2:
        add_strategy(call, input, ECS_PlacementStrategyType_random, NULL);
        break;
    case 3:
        add_constraint(call, input, ECS_PlacementConstraintType_memberOf,
                       "attribute:rack in [r0, r1, r2, r3]");
        break;
    case 4:
        add_constraint(call, input, ECS_PlacementConstraintType_distinctInstance, NULL);
        break;
    case 5:
        add_strategy(call, input, ECS_PlacementStrategyType_spread, "attribute:rack");
        break;
    case 6:
        add_strategy(call, input, ECS_PlacementStrategyType_spread, "instanceId");
        add_strategy(call, input, ECS_PlacementStrategyType_binpack, "cpu");
        break;
    }
}

static void run_tasks(struct sim *sim)
{
    struct sim_message *call = sim_message_new(sim);
    struct ecs_RunTaskRequest *input = NEW(call, RunTaskRequest);
    uint32_t count = 1 + (uint32_t)sim_below(sim, 2 * TASKS_A_CALL);
    bool has_token = sim_chance(sim, 700);
    FL_SET(input, ecs_RunTaskRequest, cluster, FL_STR("default"));
    FL_SET(input, ecs_RunTaskRequest, count, (int32_t)count);
    add_wishes(sim, call, input);
    FL_SET(input, ecs_RunTaskRequest, taskDefinition,
           fl_str_printf(call->arena, "f%u", (unsigned)sim_below(sim, SIM_FAMILIES)));
    if (has_token)
        FL_SET(input, ecs_RunTaskRequest, clientToken,
               fl_str_printf(call->arena, "t%zu", sim->clients.count));
    struct sim_operation *operation = sim_client_call(sim, ECS_OP_RunTask, call, input);
    operation->count = count;
    operation->has_token = has_token;
    operation->attempts_left = has_token ? ATTEMPTS : 1;
    sim->clients.asked += count;
    sim_client_send(sim, operation);
}

void sim_client_conflict(struct sim *sim, struct sim_operation *operation)
{
    uint32_t index = (uint32_t)(operation - sim->clients.operations);
    struct sim_message *call = sim_message_new(sim);
    struct ecs_RunTaskRequest *input = NEW(call, RunTaskRequest);
    FL_SET(input, ecs_RunTaskRequest, cluster, FL_STR("default"));
    FL_SET(input, ecs_RunTaskRequest, count, (int32_t)(operation->count % SIM_MAX_COUNT) + 1);
    FL_SET(input, ecs_RunTaskRequest, startedBy, FL_STR("another"));
    FL_SET(input, ecs_RunTaskRequest, taskDefinition, FL_STR("f0"));
    FL_SET(input, ecs_RunTaskRequest, clientToken, fl_str_printf(call->arena, "t%u", index));
    struct sim_operation *other = sim_client_call(sim, ECS_OP_RunTask, call, input);
    other->token_of = index + 1;
    other->count = (uint32_t)input->count;
    other->has_token = true;
    other->attempts_left = 3;
    sim_client_send(sim, other);
}

static const char *some_task(struct sim *sim)
{
    size_t count = sim->ledger.task_count;
    size_t back = sim_chance(sim, 700) ? FL_MIN(count, (size_t)50) : count;
    return count ? sim->ledger.tasks[count - 1 - sim_below(sim, back)].id : NULL;
}

void sim_client_stop(struct sim *sim, const char *id)
{
    struct sim_message *call = sim_message_new(sim);
    struct ecs_StopTaskRequest *input = NEW(call, StopTaskRequest);
    FL_SET(input, ecs_StopTaskRequest, cluster, FL_STR("default"));
    FL_SET(input, ecs_StopTaskRequest, task, fl_str_dup(call->arena, fl_str_of(id)));
    struct sim_operation *operation = sim_client_call(sim, ECS_OP_StopTask, call, input);
    operation->attempts_left = 3;
    sim_client_send(sim, operation);
}

static void stop_task(struct sim *sim)
{
    const char *id = some_task(sim);
    if (id)
        sim_client_stop(sim, id);
}

static void describe_tasks(struct sim *sim)
{
    struct fl_str_list list = {.n = 1 + sim_below(sim, DESCRIBED)};
    if (sim->ledger.task_count == 0)
        return;
    struct sim_message *call = sim_message_new(sim);
    struct ecs_DescribeTasksRequest *input = NEW(call, DescribeTasksRequest);
    list.items = fl_arena_new_array(call->arena, struct fl_str, list.n);
    for (size_t i = 0; i < list.n; i++)
        list.items[i] = fl_str_dup(call->arena, fl_str_of(some_task(sim)));
    FL_SET(input, ecs_DescribeTasksRequest, cluster, FL_STR("default"));
    FL_SET(input, ecs_DescribeTasksRequest, tasks, list);
    sim_client_send(sim, sim_client_call(sim, ECS_OP_DescribeTasks, call, input));
}

/* ---- instances ---- */

static struct fl_str some_instance(struct sim *sim, struct sim_message *call)
{
    const struct sim_ledger *ledger = &sim->ledger;
    return fl_str_dup(call->arena,
                      fl_str_of(ledger->instances[sim_below(sim, ledger->instance_count)].id));
}

static struct fl_str_list some_instances(struct sim *sim, struct sim_message *call)
{
    struct fl_str_list list = {.n = 1 + sim_below(sim, UPDATED)};
    list.items = fl_arena_new_array(call->arena, struct fl_str, list.n);
    for (size_t i = 0; i < list.n; i++)
        list.items[i] = some_instance(sim, call);
    return list;
}

/* Drained ones are taken back more often than others are drained, or nothing would run. */
static void update_instances(struct sim *sim)
{
    struct sim_message *call = sim_message_new(sim);
    struct ecs_UpdateContainerInstancesStateRequest *input =
        NEW(call, UpdateContainerInstancesStateRequest);
    bool is_drain = sim_chance(sim, 400);
    FL_SET(input, ecs_UpdateContainerInstancesStateRequest, cluster, FL_STR("default"));
    FL_SET(input, ecs_UpdateContainerInstancesStateRequest, containerInstances,
           some_instances(sim, call));
    FL_SET(input, ecs_UpdateContainerInstancesStateRequest, status,
           is_drain ? ECS_ContainerInstanceStatus_DRAINING : ECS_ContainerInstanceStatus_ACTIVE);
    struct sim_operation *operation =
        sim_client_call(sim, ECS_OP_UpdateContainerInstancesState, call, input);
    operation->status = is_drain ? SIM_INSTANCE_DRAINING : SIM_INSTANCE_ACTIVE;
    operation->attempts_left = 3;
    sim_client_send(sim, operation);
}

static void deregister(struct sim *sim, struct sim_message *call, struct fl_str instance,
                       bool is_forced)
{
    struct ecs_DeregisterContainerInstanceRequest *input =
        NEW(call, DeregisterContainerInstanceRequest);
    FL_SET(input, ecs_DeregisterContainerInstanceRequest, cluster, FL_STR("default"));
    FL_SET(input, ecs_DeregisterContainerInstanceRequest, containerInstance, instance);
    sim_ledger_instance(sim, instance)->leave_asked = true;
    if (is_forced)
        FL_SET(input, ecs_DeregisterContainerInstanceRequest, force, true);
    struct sim_operation *operation =
        sim_client_call(sim, ECS_OP_DeregisterContainerInstance, call, input);
    operation->attempts_left = 3;
    sim_client_send(sim, operation);
}

static void deregister_instance(struct sim *sim)
{
    struct sim_message *call = sim_message_new(sim);
    struct fl_str instance = some_instance(sim, call);
    deregister(sim, call, instance, sim_chance(sim, 500));
}

/* As often as it takes. */
static void fire_write_off(struct sim *sim, struct sim_event *event)
{
    bool is_over = true;
    for (size_t i = 0; i < sim->ledger.instance_count; i++) {
        const struct sim_instance *instance = &sim->ledger.instances[i];
        if (instance->machine != event->number || instance->drop_put ||
            instance->status == SIM_INSTANCE_INACTIVE)
            continue;
        struct sim_message *call = sim_message_new(sim);
        deregister(sim, call, fl_str_dup(call->arena, fl_str_of(instance->id)), true);
        is_over = false;
    }
    if (!is_over)
        sim_at(sim, 2 * SIM_MINUTE, event->action, SIM_CLIENTS, event->number, NULL);
}

void sim_client_write_off(struct sim *sim, uint32_t host)
{
    static const struct sim_action action = {"a client writes a host off", fire_write_off};
    sim_at(sim, sim_about(sim, 3 * SIM_MINUTE), &action, SIM_CLIENTS, host, NULL);
}

static void describe_instances(struct sim *sim)
{
    struct sim_message *call = sim_message_new(sim);
    struct ecs_DescribeContainerInstancesRequest *input =
        NEW(call, DescribeContainerInstancesRequest);
    FL_SET(input, ecs_DescribeContainerInstancesRequest, cluster, FL_STR("default"));
    FL_SET(input, ecs_DescribeContainerInstancesRequest, containerInstances,
           some_instances(sim, call));
    sim_client_send(sim, sim_client_call(sim, ECS_OP_DescribeContainerInstances, call, input));
}

static void do_with_instances(struct sim *sim)
{
    uint64_t what = sim_below(sim, 100);
    if (sim->ledger.instance_count == 0)
        return;
    if (what < 50)
        update_instances(sim);
    else if (what < 60)
        deregister_instance(sim);
    else
        describe_instances(sim);
}

/* ---- the load ---- */

static void do_something(struct sim *sim)
{
    uint64_t what = sim_below(sim, 100);
    if (what < 40 && sim->clients.asked < sim->config.tasks)
        run_tasks(sim);
    else if (what < 65)
        stop_task(sim);
    else if (what < 86)
        describe_tasks(sim);
    else if (what < 94)
        do_with_instances(sim);
    else if (what < 98)
        sim_client_register(sim, (int)sim_below(sim, SIM_FAMILIES));
    else
        deregister_definition(sim);
}

static void fire_load(struct sim *sim, struct sim_event *event)
{
    int64_t calls = 1 + (int64_t)sim->config.tasks * 10 / (TASKS_A_CALL * 4);
    int storm = sim_chance(sim, 50) ? 20 : 1;
    for (int i = 0; i < storm; i++)
        do_something(sim);
    if (sim->now_us < sim->load_until_us)
        sim_at(sim, sim_about(sim, storm * (sim->load_until_us / calls)), event->action,
               SIM_CLIENTS, 0, NULL);
}

void sim_clients_start(struct sim *sim)
{
    static const struct sim_action load = {"a client calls", fire_load};
    for (int i = 0; i < (sim->has_services ? (int)SIM_ALL_FAMILIES : (int)SIM_FAMILIES); i++)
        sim_client_register(sim, i);
    sim_at(sim, 10 * SIM_SECOND, &load, SIM_CLIENTS, 0, NULL);
    if (sim->has_services)
        sim_service_load_start(sim);
}
