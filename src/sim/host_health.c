/* Health checks of containers, and what the control plane is told of them now and then, by the
 * rules of src/agent/agent_health.c and telemetry_health.c. The telemetry's session, which
 * production has besides, is the connection's own here. */
#include "sim/world.h"

enum { TELL_MS = 20 * 1000 };

/* Now and then one falls ill, and gets well again; once the load is over, all are well. */
static void live_on(struct sim *sim, struct sim_container *c)
{
    if (c->living == SIM_ILL)
        return;
    if (c->is_ill)
        c->is_ill = sim_is_busy(sim) && !sim_chance(sim, 400);
    else
        c->is_ill = sim_is_busy(sim) && sim_chance(sim, 80);
}

static void fire_checked(struct sim *sim, struct sim_event *event)
{
    struct sim_host *host = &sim->hosts[event->who];
    struct sim_container *c = sim_runtime_container(host, event->number);
    struct fl_brain_event checked = {.type = FL_EVENT_HEALTH};
    if (!c || c->state == SIM_STARTING) {
        sim_void(sim);
        return;
    }
    live_on(sim, c);
    checked.health.container_id = fl_str_of(c->id);
    checked.health.run = c->run;
    checked.health.exit_code = c->is_ill || c->state != SIM_RUNNING;
    c->was_well |= checked.health.exit_code == 0;
    (void)sim_host_post(sim, host, &checked);
    sim_audit_check(sim, host, c, checked.health.exit_code);
}

void sim_runtime_check(struct sim *sim, struct sim_host *host, struct fl_str id)
{
    static const struct sim_action checked = {"a health check ends", fire_checked};
    sim_at(sim, sim_runtime_delay(sim, 50 * SIM_MS), &checked, host->index, sim_key(id), NULL);
}

/* ---- telemetry ---- */

static bool is_told_of(const struct fl_task_container *container)
{
    return container->state == FL_CONTAINER_RUNNING && container->spec->health_check.test_count > 0;
}

static int status_of(enum fl_health health)
{
    switch (health) {
    case FL_HEALTH_UNKNOWN:
        return ECS_HealthStatus_UNKNOWN;
    case FL_HEALTH_HEALTHY:
        return ECS_HealthStatus_HEALTHY;
    case FL_HEALTH_UNHEALTHY:
        return ECS_HealthStatus_UNHEALTHY;
    }
    return ECS_HealthStatus_UNKNOWN;
}

static void add_task(struct sim_message *message, const struct fl_task *task)
{
    struct sim_told_health *told = &message->health[message->health_count];
    *told = (struct sim_told_health){.task = fl_str_dup(message->arena, fl_task_id(task->arn))};
    for (size_t i = 0; i < task->container_count; i++) {
        const struct fl_task_container *container = &task->containers[i];
        if (!is_told_of(container))
            continue;
        if (!told->containers)
            told->containers =
                fl_arena_new_array(message->arena, struct fl_core_health, task->container_count);
        told->containers[told->container_count++] =
            (struct fl_core_health){.name = fl_str_dup(message->arena, container->spec->name),
                                    .status = status_of(container->health)};
    }
    message->health_count += told->container_count > 0;
}

static struct sim_message *health_of(struct sim *sim, const struct sim_host *host)
{
    size_t count = 0;
    struct sim_message *message = sim_message_new(sim);
    message->connection = host->connection;
    for (const struct fl_task *t = NULL; (t = fl_brain_next_task(host->brain, t));)
        count++;
    message->health = fl_arena_new_array(message->arena, struct sim_told_health, count);
    for (const struct fl_task *t = NULL; (t = fl_brain_next_task(host->brain, t));)
        add_task(message, t);
    return message;
}

static void fire_tell(struct sim *sim, struct sim_event *event)
{
    struct sim_host *host = &sim->hosts[event->who];
    if (host->connection != event->number || host->stage != SIM_OPEN) {
        sim_void(sim);
        return;
    }
    sim_at(sim, TELL_MS * SIM_MS, event->action, host->index, event->number, NULL);
    struct sim_message *message = health_of(sim, host);
    if (message->health_count) {
        sim_frame_to_server(sim, host->index, &sim_server_health, message);
    } else {
        sim_void(sim);
        sim_message_free(sim, message);
    }
}

void sim_health_start(struct sim *sim, struct sim_host *host)
{
    static const struct sim_action tell = {"an agent tells of health", fire_tell};
    sim_at(sim, sim_about(sim, TELL_MS * SIM_MS), &tell, host->index, host->connection, NULL);
}
