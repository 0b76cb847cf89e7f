/* The load of a run that is all about services: many are created at once, and when every one is
 * complete all get a new definition. The run is over when that is complete, too. There are faults
 * all the time, but for an hour at most: after that everything has to come about. */
#include <stdio.h>

#include "shapes/rec_shapes.h"
#include "sim/core_view.h"
#include "sim/world.h"

enum { ATTEMPTS = 50, A_SECOND = 200, FAMILY = SIM_FAMILIES + SIM_KIND_PLAIN };
#define FAULTS_US SIM_HOUR
#define LONGEST_US (6 * SIM_HOUR)
#define REST_US (45 * SIM_MINUTE)

#define NEW(message, type) fl_arena_new_object((message)->arena, struct ecs_##type)

/* The same size for all, so that twice as many have room. */
static void register_next(struct sim *sim)
{
    struct sim_message *call = sim_message_new(sim);
    struct ecs_RegisterTaskDefinitionRequest *input = NEW(call, RegisterTaskDefinitionRequest);
    struct ecs_ContainerDefinition_list list = {1, NEW(call, ContainerDefinition)};
    FL_SET(list.items, ecs_ContainerDefinition, name, FL_STR("e0"));
    FL_SET(list.items, ecs_ContainerDefinition, image, FL_STR("service:1"));
    FL_SET(list.items, ecs_ContainerDefinition, cpu, 20);
    FL_SET(list.items, ecs_ContainerDefinition, memory, 20);
    FL_SET(list.items, ecs_ContainerDefinition, essential, true);
    FL_SET(input, ecs_RegisterTaskDefinitionRequest, family,
           fl_str_printf(call->arena, "f%d", (int)FAMILY));
    FL_SET(input, ecs_RegisterTaskDefinitionRequest, containerDefinitions, list);
    struct sim_operation *operation =
        sim_client_call(sim, ECS_OP_RegisterTaskDefinition, call, input);
    operation->family = FAMILY;
    operation->attempts_left = ATTEMPTS;
    sim_client_send(sim, operation);
}

static void send(struct sim *sim, struct sim_operation *operation, struct fl_str name)
{
    const struct sim_service *service = sim_ledger_service(sim, name);
    operation->service = (uint32_t)(service - sim->services.all) + 1;
    operation->attempts_left = ATTEMPTS;
    sim_client_send(sim, operation);
}

static void create(struct sim *sim, size_t i)
{
    struct sim_message *call = sim_message_new(sim);
    struct ecs_CreateServiceRequest *input = NEW(call, CreateServiceRequest);
    struct fl_str name = fl_str_printf(call->arena, "s%zu", i);
    FL_SET(input, ecs_CreateServiceRequest, cluster, FL_STR("default"));
    FL_SET(input, ecs_CreateServiceRequest, serviceName, name);
    FL_SET(input, ecs_CreateServiceRequest, clientToken, name);
    FL_SET(input, ecs_CreateServiceRequest, taskDefinition,
           fl_str_printf(call->arena, "f%d", (int)FAMILY));
    FL_SET(input, ecs_CreateServiceRequest, desiredCount, (int32_t)sim->config.tasks);
    send(sim, sim_client_call(sim, ECS_OP_CreateService, call, input), name);
}

static void update(struct sim *sim, size_t i)
{
    struct sim_message *call = sim_message_new(sim);
    struct ecs_UpdateServiceRequest *input = NEW(call, UpdateServiceRequest);
    struct fl_str name = fl_str_printf(call->arena, "s%zu", i);
    FL_SET(input, ecs_UpdateServiceRequest, cluster, FL_STR("default"));
    FL_SET(input, ecs_UpdateServiceRequest, service, name);
    FL_SET(input, ecs_UpdateServiceRequest, taskDefinition,
           fl_str_printf(call->arena, "f%d:2", (int)FAMILY));
    send(sim, sim_client_call(sim, ECS_OP_UpdateService, call, input), name);
}

/* With its newest definition, and so once it is so. */
static bool is_complete(const struct sim *sim, size_t i)
{
    char name[24];
    (void)snprintf(name, sizeof(name), "s%zu", i);
    const struct rec_Service *rec = sim_core_service(sim->server.core, fl_str_of(name));
    if (!rec || rec->deployments.items[0].rolloutState != ECS_DeploymentRolloutState_COMPLETED)
        return false;
    const struct rec_ServiceRevision *revision =
        sim_core_service_revision(sim->server.core, rec->name, rec->deployments.items[0].number);
    return revision && revision->revision == (sim->services.roll.phase == SIM_ROLL_CREATES ? 1 : 2);
}

static void end_phase(struct sim *sim)
{
    struct sim_roll *roll = &sim->services.roll;
    int64_t took_ms = (sim->now_us - roll->since_us) / SIM_MS;
    if (roll->phase == SIM_ROLL_CREATES) {
        sim->result->created_ms = took_ms;
        register_next(sim);
    } else {
        sim->result->rolled_ms = took_ms;
        sim->load_until_us = sim->now_us;
        sim->faults_until_us = FL_MIN(sim->faults_until_us, sim->now_us);
        sim->result->faults_ms = sim->faults_until_us / SIM_MS;
        sim->end_us = sim->now_us + (sim->config.mode == FL_SIM_LIVENESS ? REST_US : 0);
    }
    *roll = (struct sim_roll){.phase = roll->phase + 1, .since_us = sim->now_us};
}

void sim_roll_check(struct sim *sim)
{
    const struct sim_roll *roll = &sim->services.roll;
    if (sim->config.services && roll->phase != SIM_ROLL_IS_OVER)
        sim_violation(sim, "L7", "service s%zu is not complete after %d hours", roll->at,
                      (int)(LONGEST_US / SIM_HOUR));
}

/* The definition that the phase is about is there. */
static bool is_ready(const struct sim *sim)
{
    return sim->ledger.revision_seen[FAMILY] > (int)sim->services.roll.phase;
}

static void fire_roll(struct sim *sim, struct sim_event *event)
{
    struct sim_roll *roll = &sim->services.roll;
    for (size_t i = 0; i < A_SECOND && is_ready(sim) && roll->sent < sim->config.services; i++) {
        if (roll->phase == SIM_ROLL_CREATES)
            create(sim, roll->sent++);
        else
            update(sim, roll->sent++);
    }
    while (sim->server.up && roll->at < roll->sent && is_complete(sim, roll->at))
        roll->at++;
    if (roll->at == sim->config.services)
        end_phase(sim);
    if (roll->phase != SIM_ROLL_IS_OVER)
        sim_at(sim, SIM_SECOND, event->action, SIM_CLIENTS, 0, NULL);
}

void sim_roll_start(struct sim *sim)
{
    static const struct sim_action action = {"a client looks after its services", fire_roll};
    sim->services.roll.since_us = SIM_MINUTE;
    sim->load_until_us = sim->end_us = LONGEST_US;
    sim->faults_until_us = FAULTS_US;
    sim->next_full_check_us = LONGEST_US;
    register_next(sim);
    sim_at(sim, SIM_MINUTE, &action, SIM_CLIENTS, 0, NULL);
}
