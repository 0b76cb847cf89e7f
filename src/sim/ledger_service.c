/* The shadow of the services, beside that of the tasks. */
#include "shapes/rec_shapes.h"
#include "sim/world.h"

struct sim_service *sim_ledger_service(struct sim *sim, struct fl_str name)
{
    struct sim_services *services = &sim->services;
    uint64_t key = sim_hash(name);
    uint32_t number = sim_index_find(&services->by_name, key);
    if (number)
        return &services->all[number - 1];
    if (services->count == services->cap) {
        services->cap = FL_MAX(2 * services->cap, (size_t)16);
        services->all = fl_realloc(services->all, services->cap * sizeof(*services->all));
    }
    struct sim_service *service = &services->all[services->count++];
    *service = (struct sim_service){0};
    memcpy(service->name, name.p, FL_MIN(name.n, sizeof(service->name) - 1));
    sim_index_add(&services->by_name, key, services->count);
    return service;
}

void sim_service_each(struct sim *sim, struct sim_service *service,
                      void (*each)(struct sim *sim, struct sim_service *service,
                                   const struct sim_task *task, void *context),
                      void *context)
{
    size_t n = 0;
    for (size_t i = 0; i < service->member_count; i++) {
        const struct sim_task *task = &sim->ledger.tasks[service->members[i]];
        if (!task->exists || task->is_given_up || task->status == REC_TaskStatus_STOPPED)
            continue;
        service->members[n++] = service->members[i];
        each(sim, service, task, context);
    }
    service->member_count = n;
}

int sim_family_of(struct fl_str family)
{
    uint64_t number;
    bool is_ours = family.n > 1 && family.p[0] == 'f' &&
                   fl_str_to_u64(fl_str_from(family, 1), &number) && number < SIM_ALL_FAMILIES;
    return is_ours ? (int)number : -1;
}

bool sim_kind_is_good(int family)
{
    return family >= SIM_FAMILIES && family <= SIM_FAMILIES + SIM_KIND_FLAKY;
}

/* Of the essential containers that are checked, which have names such as "e0c". */
static enum sim_checks checks_of(const struct rec_Task *rec)
{
    enum sim_checks checks = SIM_CHECKS_NONE;
    for (size_t i = 0; i < rec->containers.n; i++) {
        const struct rec_TaskContainer *c = &rec->containers.items[i];
        if (!fl_str_starts(c->name, FL_STR("e")) || !fl_str_ends(c->name, FL_STR("c")))
            continue;
        if (c->healthStatus == ECS_HealthStatus_UNHEALTHY)
            return SIM_CHECKS_FAILED;
        if (c->healthStatus != ECS_HealthStatus_HEALTHY)
            checks = SIM_CHECKS_UNKNOWN;
        else if (checks == SIM_CHECKS_NONE)
            checks = SIM_CHECKS_PASSED;
    }
    return checks;
}

static void add_member(struct sim *sim, struct sim_service *service, const struct sim_task *task)
{
    if (service->member_count == service->member_cap) {
        service->member_cap = FL_MAX(2 * service->member_cap, (size_t)16);
        service->members =
            fl_realloc(service->members, service->member_cap * sizeof(*service->members));
    }
    service->members[service->member_count++] = (uint32_t)(task - sim->ledger.tasks);
}

void sim_service_member(struct sim *sim, struct sim_task *task, const struct rec_Task *rec)
{
    static const struct fl_str prefix = {"service:", 8};
    if (!FL_HAS(rec, rec_Task, deployment))
        return;
    if (!task->service) {
        struct sim_service *service =
            sim_ledger_service(sim, fl_str_from(rec->group, FL_MIN(prefix.n, rec->group.n)));
        task->service = (uint32_t)(service - sim->services.all) + 1;
        add_member(sim, service, task);
    }
    task->is_given_up = FL_HAS(rec, rec_Task, lostAt);
    task->family = sim_family_of(rec->family);
    task->deployment = rec->deployment;
    task->started_ms = FL_HAS(rec, rec_Task, startedAt) ? rec->startedAt : 0;
    if (task->started_ms && !task->started_us)
        task->started_us = sim->now_us;
    task->protected_ms = FL_HAS(rec, rec_Task, protectedUntil) ? rec->protectedUntil : 0;
    task->checks = checks_of(rec);
}

void sim_services_free(struct sim *sim)
{
    for (size_t i = 0; i < sim->services.count; i++)
        free(sim->services.all[i].members);
    free(sim->services.all);
    free(sim->services.by_name.slots);
    free(sim->services.by_hook.slots);
    free(sim->services.hooks);
    free(sim->services.touched);
}
