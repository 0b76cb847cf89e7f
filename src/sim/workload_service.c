/* What clients ask of services: new ones of every size and bound, other definitions, good and bad,
 * other counts, task sets, and their end. */
#include "sim/core_view.h"
#include "sim/world.h"

enum { ATTEMPTS = 6, MOST_DESIRED = 8, CHANGES = 40 };

#define NEW(message, type) fl_arena_new_object((message)->arena, struct ecs_##type)

/* Most are good: a service that never runs shows little. */
static int draw_family(struct sim *sim)
{
    uint64_t kind =
        sim_chance(sim, 650) ? sim_below(sim, SIM_KIND_FLAKY + 1) : sim_below(sim, SIM_KINDS);
    return SIM_FAMILIES + (int)kind;
}

static struct fl_str draw_definition(struct sim *sim, struct sim_message *call)
{
    return fl_str_printf(call->arena, "f%d", draw_family(sim));
}

/* So low that what always fails is given up while somebody watches. */
static struct ecs_ThresholdConfiguration *draw_threshold(struct sim *sim, struct sim_message *call)
{
    struct ecs_ThresholdConfiguration *threshold = NEW(call, ThresholdConfiguration);
    enum ecs_ThresholdType type = (enum ecs_ThresholdType)sim_below(sim, 3);
    FL_SET(threshold, ecs_ThresholdConfiguration, type, type);
    FL_SET(threshold, ecs_ThresholdConfiguration, value,
           1 + (int32_t)sim_below(sim, type == ECS_ThresholdType_COUNT ? 5 : 60));
    return threshold;
}

static struct ecs_DeploymentCircuitBreaker *draw_breaker(struct sim *sim, struct sim_message *call)
{
    struct ecs_DeploymentCircuitBreaker *breaker = NEW(call, DeploymentCircuitBreaker);
    FL_SET(breaker, ecs_DeploymentCircuitBreaker, enable, true);
    FL_SET(breaker, ecs_DeploymentCircuitBreaker, rollback, sim_chance(sim, 600));
    if (sim_chance(sim, 300))
        FL_SET(breaker, ecs_DeploymentCircuitBreaker, resetOnHealthyTask, sim_chance(sim, 500));
    if (sim_chance(sim, 400))
        FL_SET(breaker, ecs_DeploymentCircuitBreaker, thresholdConfiguration,
               draw_threshold(sim, call));
    return breaker;
}

/* What a ROLLING deployment waits for, or does not. */
static void draw_ending(struct sim *sim, struct sim_message *call,
                        struct ecs_DeploymentConfiguration *config)
{
    int32_t least = config->minimumHealthyPercent;
    struct ecs_DeploymentEarlySuccessCriteria *criteria = NEW(call, DeploymentEarlySuccessCriteria);
    FL_SET(criteria, ecs_DeploymentEarlySuccessCriteria, enable, true);
    FL_SET(criteria, ecs_DeploymentEarlySuccessCriteria, healthyPercent,
           least + (int32_t)sim_below(sim, (uint64_t)(101 - least)));
    FL_SET(criteria, ecs_DeploymentEarlySuccessCriteria, sourceServiceRevisionCleanup,
           sim_chance(sim, 500) ? ECS_ServiceRevisionCleanup_BLOCKING
                                : ECS_ServiceRevisionCleanup_DEFERRED);
    FL_SET(config, ecs_DeploymentConfiguration, bakeTimeInMinutes, (int32_t)sim_below(sim, 3));
    if (sim_chance(sim, 500))
        FL_SET(config, ecs_DeploymentConfiguration, earlySuccessCriteria, criteria);
}

/* One of the strategies with stages, with short times. */
static void draw_stages(struct sim *sim, struct sim_message *call,
                        struct ecs_DeploymentConfiguration *config)
{
    struct ecs_LinearConfiguration *linear = NEW(call, LinearConfiguration);
    struct ecs_CanaryConfiguration *canary = NEW(call, CanaryConfiguration);
    enum ecs_DeploymentStrategy strategy =
        (enum ecs_DeploymentStrategy)(ECS_DeploymentStrategy_BLUE_GREEN + sim_below(sim, 3));
    FL_SET(config, ecs_DeploymentConfiguration, strategy, strategy);
    FL_SET(config, ecs_DeploymentConfiguration, bakeTimeInMinutes, (int32_t)sim_below(sim, 2));
    FL_SET(linear, ecs_LinearConfiguration, stepPercent, 50);
    FL_SET(linear, ecs_LinearConfiguration, stepBakeTimeInMinutes, 1);
    FL_SET(canary, ecs_CanaryConfiguration, canaryBakeTimeInMinutes, 1);
    if (strategy == ECS_DeploymentStrategy_LINEAR)
        FL_SET(config, ecs_DeploymentConfiguration, linearConfiguration, linear);
    if (strategy == ECS_DeploymentStrategy_CANARY)
        FL_SET(config, ecs_DeploymentConfiguration, canaryConfiguration, canary);
    if (sim_chance(sim, 600))
        sim_hooks_draw(sim, call, config);
}

static struct ecs_DeploymentConfiguration *draw_bounds(struct sim *sim, struct sim_message *call)
{
    static const int32_t least[] = {0, 25, 50, 75, 100, 100}, most[] = {100, 125, 150, 200, 200};
    struct ecs_DeploymentConfiguration *config = NEW(call, DeploymentConfiguration);
    FL_SET(config, ecs_DeploymentConfiguration, minimumHealthyPercent,
           least[sim_below(sim, FL_ARRAY_SIZE(least))]);
    FL_SET(config, ecs_DeploymentConfiguration, maximumPercent,
           most[sim_below(sim, FL_ARRAY_SIZE(most))]);
    if (config->maximumPercent == 100 && config->minimumHealthyPercent == 100)
        FL_SET(config, ecs_DeploymentConfiguration, maximumPercent, 200);
    return config;
}

static struct ecs_DeploymentConfiguration *draw_configuration(struct sim *sim,
                                                              struct sim_message *call)
{
    struct ecs_DeploymentConfiguration *config = draw_bounds(sim, call);
    if (sim_chance(sim, 400))
        FL_SET(config, ecs_DeploymentConfiguration, deploymentCircuitBreaker,
               draw_breaker(sim, call));
    if (sim_chance(sim, 350))
        draw_stages(sim, call, config);
    else if (sim_chance(sim, 300))
        draw_ending(sim, call, config);
    return config;
}

/* Of a DAEMON, which has no more than one on an instance. */
static struct ecs_DeploymentConfiguration *draw_daemon(struct sim *sim, struct sim_message *call)
{
    static const int32_t least[] = {0, 0, 30, 60, 90};
    struct ecs_DeploymentConfiguration *config = NEW(call, DeploymentConfiguration);
    FL_SET(config, ecs_DeploymentConfiguration, minimumHealthyPercent,
           least[sim_below(sim, FL_ARRAY_SIZE(least))]);
    if (sim_chance(sim, 400))
        FL_SET(config, ecs_DeploymentConfiguration, deploymentCircuitBreaker,
               draw_breaker(sim, call));
    return config;
}

static struct ecs_PlacementStrategy_list draw_strategy(struct sim *sim, struct sim_message *call)
{
    struct ecs_PlacementStrategy_list list = {1, NEW(call, PlacementStrategy)};
    if (sim_chance(sim, 600)) {
        FL_SET(list.items, ecs_PlacementStrategy, type, ECS_PlacementStrategyType_spread);
        FL_SET(list.items, ecs_PlacementStrategy, field,
               sim_chance(sim, 500) ? FL_STR("attribute:ecs.availability-zone")
                                    : FL_STR("instanceId"));
    } else {
        FL_SET(list.items, ecs_PlacementStrategy, type, ECS_PlacementStrategyType_binpack);
        FL_SET(list.items, ecs_PlacementStrategy, field, FL_STR("memory"));
    }
    return list;
}

static void send(struct sim *sim, struct sim_operation *operation, struct fl_str name,
                 uint32_t attempts)
{
    const struct sim_service *service = sim_ledger_service(sim, name);
    operation->service = (uint32_t)(service - sim->services.all) + 1;
    operation->attempts_left = attempts;
    sim_client_send(sim, operation);
}

static struct ecs_DeploymentController *external(struct sim_message *call)
{
    struct ecs_DeploymentController *controller = NEW(call, DeploymentController);
    FL_SET(controller, ecs_DeploymentController, type, ECS_DeploymentControllerType_EXTERNAL);
    return controller;
}

static void create_service(struct sim *sim)
{
    struct sim_message *call = sim_message_new(sim);
    struct ecs_CreateServiceRequest *input = NEW(call, CreateServiceRequest);
    struct fl_str name = fl_str_printf(call->arena, "s%zu", sim->services.asked++);
    bool has_token = sim_chance(sim, 500), is_daemon = sim_chance(sim, 150);
    bool is_external = !is_daemon && sim_chance(sim, 200);
    FL_SET(input, ecs_CreateServiceRequest, cluster, FL_STR("default"));
    FL_SET(input, ecs_CreateServiceRequest, serviceName, name);
    if (is_external) {
        FL_SET(input, ecs_CreateServiceRequest, deploymentController, external(call));
    } else {
        FL_SET(input, ecs_CreateServiceRequest, taskDefinition, draw_definition(sim, call));
        FL_SET(input, ecs_CreateServiceRequest, deploymentConfiguration,
               is_daemon ? draw_daemon(sim, call) : draw_configuration(sim, call));
    }
    if (is_daemon)
        FL_SET(input, ecs_CreateServiceRequest, schedulingStrategy, ECS_SchedulingStrategy_DAEMON);
    else
        FL_SET(input, ecs_CreateServiceRequest, desiredCount,
               (int32_t)sim_below(sim, MOST_DESIRED + 1));
    if (!is_daemon && sim_chance(sim, 600))
        FL_SET(input, ecs_CreateServiceRequest, placementStrategy, draw_strategy(sim, call));
    if (sim_chance(sim, 200)) /* else those have it that can */
        FL_SET(input, ecs_CreateServiceRequest, availabilityZoneRebalancing,
               ECS_AvailabilityZoneRebalancing_DISABLED);
    if (sim_chance(sim, 300))
        FL_SET(input, ecs_CreateServiceRequest, healthCheckGracePeriodSeconds,
               (int32_t)sim_below(sim, 60));
    if (has_token)
        FL_SET(input, ecs_CreateServiceRequest, clientToken, name);
    send(sim, sim_client_call(sim, ECS_OP_CreateService, call, input), name,
         has_token ? ATTEMPTS : 2);
}

/* One that somebody knows of and that is not being deleted; NULL: there is none. */
static const struct sim_service *some_service(struct sim *sim)
{
    const struct sim_services *services = &sim->services;
    if (services->count == 0)
        return NULL;
    const struct sim_service *service = &services->all[sim_below(sim, services->count)];
    bool is_usable =
        service->exists && service->seen_version && service->status == SIM_SERVICE_ACTIVE;
    return is_usable ? service : NULL;
}

static void update_service(struct sim *sim, const struct sim_service *service)
{
    struct sim_message *call = sim_message_new(sim);
    struct ecs_UpdateServiceRequest *input = NEW(call, UpdateServiceRequest);
    struct fl_str name = fl_str_dup(call->arena, fl_str_of(service->name));
    uint64_t what = service->is_external ? 7 + 2 * sim_below(sim, 2) : sim_below(sim, 10);
    FL_SET(input, ecs_UpdateServiceRequest, cluster, FL_STR("default"));
    FL_SET(input, ecs_UpdateServiceRequest, service, name);
    if (what < 6)
        FL_SET(input, ecs_UpdateServiceRequest, taskDefinition, draw_definition(sim, call));
    if (what == 5 || what == 6)
        FL_SET(input, ecs_UpdateServiceRequest, forceNewDeployment, true);
    if (!service->is_daemon && (what == 0 || what >= 7))
        FL_SET(input, ecs_UpdateServiceRequest, desiredCount,
               (int32_t)sim_below(sim, MOST_DESIRED + 1));
    if (what == 1)
        FL_SET(input, ecs_UpdateServiceRequest, deploymentConfiguration,
               service->is_daemon ? draw_daemon(sim, call) : draw_configuration(sim, call));
    send(sim, sim_client_call(sim, ECS_OP_UpdateService, call, input), name, 3);
}

static void delete_service(struct sim *sim, const struct sim_service *service)
{
    struct sim_message *call = sim_message_new(sim);
    struct ecs_DeleteServiceRequest *input = NEW(call, DeleteServiceRequest);
    struct fl_str name = fl_str_dup(call->arena, fl_str_of(service->name));
    FL_SET(input, ecs_DeleteServiceRequest, cluster, FL_STR("default"));
    FL_SET(input, ecs_DeleteServiceRequest, service, name);
    if (sim_chance(sim, 800))
        FL_SET(input, ecs_DeleteServiceRequest, force, true);
    send(sim, sim_client_call(sim, ECS_OP_DeleteService, call, input), name, 3);
}

static void describe_service(struct sim *sim, const struct sim_service *service)
{
    struct sim_message *call = sim_message_new(sim);
    struct ecs_DescribeServicesRequest *input = NEW(call, DescribeServicesRequest);
    struct fl_str_list list = {1, fl_arena_new_array(call->arena, struct fl_str, 1)};
    list.items[0] = fl_str_dup(call->arena, fl_str_of(service->name));
    FL_SET(input, ecs_DescribeServicesRequest, cluster, FL_STR("default"));
    FL_SET(input, ecs_DescribeServicesRequest, services, list);
    sim_client_send(sim, sim_client_call(sim, ECS_OP_DescribeServices, call, input));
}

/* Some of a service's newest tasks. */
static void protect_tasks(struct sim *sim, const struct sim_service *service)
{
    struct sim_message *call = sim_message_new(sim);
    struct ecs_UpdateTaskProtectionRequest *input = NEW(call, UpdateTaskProtectionRequest);
    struct fl_str_list list = {.n = FL_MIN(service->member_count, (size_t)3)};
    list.items = fl_arena_new_array(call->arena, struct fl_str, list.n);
    for (size_t i = 0; i < list.n; i++) {
        uint32_t task = service->members[service->member_count - 1 - i];
        list.items[i] = fl_str_dup(call->arena, fl_str_of(sim->ledger.tasks[task].id));
    }
    FL_SET(input, ecs_UpdateTaskProtectionRequest, cluster, FL_STR("default"));
    FL_SET(input, ecs_UpdateTaskProtectionRequest, tasks, list);
    FL_SET(input, ecs_UpdateTaskProtectionRequest, protectionEnabled, sim_chance(sim, 800));
    if (input->protectionEnabled)
        FL_SET(input, ecs_UpdateTaskProtectionRequest, expiresInMinutes,
               1 + (int32_t)sim_below(sim, 10));
    sim_client_send(sim, sim_client_call(sim, ECS_OP_UpdateTaskProtection, call, input));
}

/* ---- task sets ---- */

static struct ecs_Scale *draw_scale(struct sim *sim, struct sim_message *call)
{
    static const double shares[] = {0, 10, 25, 50, 100, 100};
    struct ecs_Scale *scale = NEW(call, Scale);
    FL_SET(scale, ecs_Scale, value, shares[sim_below(sim, FL_ARRAY_SIZE(shares))]);
    FL_SET(scale, ecs_Scale, unit, ECS_ScaleUnit_PERCENT);
    return scale;
}

static struct fl_str draw_set(struct sim *sim, struct sim_message *call,
                              const struct sim_service *service)
{
    int64_t number = service->sets[sim_below(sim, service->set_count)];
    return fl_str_printf(call->arena, "ecs-svc/%lld", (long long)number);
}

static void create_set(struct sim *sim, struct sim_message *call, struct fl_str name)
{
    struct ecs_CreateTaskSetRequest *input = NEW(call, CreateTaskSetRequest);
    struct fl_str id = fl_str_printf(call->arena, "set%zu", sim->clients.count);
    FL_SET(input, ecs_CreateTaskSetRequest, cluster, FL_STR("default"));
    FL_SET(input, ecs_CreateTaskSetRequest, service, name);
    FL_SET(input, ecs_CreateTaskSetRequest, externalId, id);
    FL_SET(input, ecs_CreateTaskSetRequest, clientToken, id);
    FL_SET(input, ecs_CreateTaskSetRequest, taskDefinition, draw_definition(sim, call));
    FL_SET(input, ecs_CreateTaskSetRequest, scale, draw_scale(sim, call));
    send(sim, sim_client_call(sim, ECS_OP_CreateTaskSet, call, input), name, ATTEMPTS);
}

static void scale_set(struct sim *sim, struct sim_message *call, const struct sim_service *service,
                      struct fl_str name)
{
    struct ecs_UpdateTaskSetRequest *input = NEW(call, UpdateTaskSetRequest);
    FL_SET(input, ecs_UpdateTaskSetRequest, cluster, FL_STR("default"));
    FL_SET(input, ecs_UpdateTaskSetRequest, service, name);
    FL_SET(input, ecs_UpdateTaskSetRequest, taskSet, draw_set(sim, call, service));
    FL_SET(input, ecs_UpdateTaskSetRequest, scale, draw_scale(sim, call));
    send(sim, sim_client_call(sim, ECS_OP_UpdateTaskSet, call, input), name, 3);
}

static void promote_set(struct sim *sim, struct sim_message *call,
                        const struct sim_service *service, struct fl_str name)
{
    struct ecs_UpdateServicePrimaryTaskSetRequest *input =
        NEW(call, UpdateServicePrimaryTaskSetRequest);
    FL_SET(input, ecs_UpdateServicePrimaryTaskSetRequest, cluster, FL_STR("default"));
    FL_SET(input, ecs_UpdateServicePrimaryTaskSetRequest, service, name);
    FL_SET(input, ecs_UpdateServicePrimaryTaskSetRequest, primaryTaskSet,
           draw_set(sim, call, service));
    send(sim, sim_client_call(sim, ECS_OP_UpdateServicePrimaryTaskSet, call, input), name, 3);
}

static void delete_set(struct sim *sim, struct sim_message *call, const struct sim_service *service,
                       struct fl_str name)
{
    struct ecs_DeleteTaskSetRequest *input = NEW(call, DeleteTaskSetRequest);
    FL_SET(input, ecs_DeleteTaskSetRequest, cluster, FL_STR("default"));
    FL_SET(input, ecs_DeleteTaskSetRequest, service, name);
    FL_SET(input, ecs_DeleteTaskSetRequest, taskSet, draw_set(sim, call, service));
    if (sim_chance(sim, 700))
        FL_SET(input, ecs_DeleteTaskSetRequest, force, true);
    send(sim, sim_client_call(sim, ECS_OP_DeleteTaskSet, call, input), name, 3);
}

static void change_set(struct sim *sim, const struct sim_service *service)
{
    struct sim_message *call = sim_message_new(sim);
    struct fl_str name = fl_str_dup(call->arena, fl_str_of(service->name));
    uint64_t what = sim_below(sim, 100);
    if (service->set_count == 0 || (what < 25 && service->set_count < SIM_SETS))
        create_set(sim, call, name);
    else if (what < 60)
        scale_set(sim, call, service, name);
    else if (what < 75)
        promote_set(sim, call, service, name);
    else
        delete_set(sim, call, service, name);
}

static void stop_rollout(struct sim *sim, const struct sim_service *service)
{
    const struct rec_Service *rec =
        sim->server.core ? sim_core_service(sim->server.core, fl_str_of(service->name)) : NULL;
    if (!rec || rec->rollout.n == 0)
        return;
    struct sim_message *call = sim_message_new(sim);
    struct ecs_StopServiceDeploymentRequest *input = NEW(call, StopServiceDeploymentRequest);
    FL_SET(input, ecs_StopServiceDeploymentRequest, serviceDeploymentArn,
           sim_rollout_arn(call, rec));
    send(sim, sim_client_call(sim, ECS_OP_StopServiceDeployment, call, input), rec->name, 3);
}

static void change_something(struct sim *sim)
{
    size_t most = 2 + sim->config.hosts / 2;
    uint64_t what = sim_below(sim, 100);
    const struct sim_service *service = some_service(sim);
    if (!service || (what < 20 && sim->services.asked < most))
        create_service(sim);
    else if (service->is_external && what < 70)
        change_set(sim, service);
    else if (what < 25 && service->member_count)
        protect_tasks(sim, service);
    else if (what < 72)
        update_service(sim, service);
    else if (what < 78)
        stop_rollout(sim, service);
    else if (what < 85)
        describe_service(sim, service);
    else if (what < 92)
        delete_service(sim, service);
    else
        sim_client_register(sim, draw_family(sim));
}

static void fire_change(struct sim *sim, struct sim_event *event)
{
    if (sim->services.asked < 4 * (2 + (size_t)sim->config.hosts / 2))
        change_something(sim);
    sim_hooks_end_pauses(sim);
    if (sim->now_us < sim->load_until_us)
        sim_at(sim, sim_about(sim, sim->load_until_us / CHANGES), event->action, SIM_CLIENTS, 0,
               NULL);
}

void sim_service_load_start(struct sim *sim)
{
    static const struct sim_action change = {"a client changes a service", fire_change};
    sim_at(sim, 15 * SIM_SECOND, &change, SIM_CLIENTS, 0, NULL);
}

void sim_service_answered(struct sim *sim, struct sim_operation *operation)
{
    struct sim_service *service = &sim->services.all[operation->service - 1];
    if (operation->service_version == 0)
        sim_violation(sim, "S1", "service %s: a call is answered that nobody has obeyed",
                      service->name);
    service->seen_version = FL_MAX(service->seen_version, operation->service_version);
}

void sim_service_refused(struct sim *sim, const struct sim_operation *operation, struct fl_str text)
{
    const struct sim_service *service = &sim->services.all[operation->service - 1];
    bool is_again = fl_str_contains(text, FL_STR("not idempotent"));
    bool is_early = fl_str_contains(text, FL_STR("TaskDefinition not found")) ||
                    fl_str_contains(text, FL_STR("Cluster not found"));
    if (operation->operation == ECS_OP_CreateService && !is_again && !is_early)
        sim_violation(sim, "A1", "service %s is refused: %.*s", service->name, FL_STR_ARG(text));
}
