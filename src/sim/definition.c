/* What the workload's definitions are: half of the families are a few containers that know nothing
 * of each other, the other half what a person may write: containers that wait for each other, are
 * checked, are started again, give up waiting, and are not all essential.
 *
 * A container's name begins with "e" if it is essential and with "n" if not, which is how answers
 * are judged without their definition; its image says how it lives. */
#include "sim/world.h"

enum { MOST_CONTAINERS = 5 };

/* What of a container others may rely on. */
struct draft {
    bool is_essential, is_batch, is_checked;
};

static struct ecs_PortMapping_list port_of(struct fl_arena *arena, int family)
{
    struct ecs_PortMapping_list list = {1, fl_arena_new_object(arena, struct ecs_PortMapping)};
    FL_SET(list.items, ecs_PortMapping, containerPort, 80);
    FL_SET(list.items, ecs_PortMapping, hostPort, 9000 + family);
    return list;
}

static struct fl_str name_of(struct fl_arena *arena, bool is_essential, size_t i)
{
    return fl_str_printf(arena, "%c%zu", is_essential ? 'e' : 'n', i);
}

/* Drawn one by one: the order in which arguments are evaluated is the compiler's. */
static void fill_plain(struct sim *sim, struct fl_arena *arena, int family, size_t i,
                       struct ecs_ContainerDefinition *c)
{
    bool is_service = family % 2 == 0 || i > 1;
    int32_t cpu = 50 * (int32_t)sim_below(sim, 6);
    cpu += (int32_t)sim_below(sim, 2);
    int32_t memory = 50 * (1 + (int32_t)sim_below(sim, 8));
    int32_t timeout_s = 2 + (int32_t)sim_below(sim, 10);
    FL_SET(c, ecs_ContainerDefinition, name, name_of(arena, i != 1, i));
    FL_SET(c, ecs_ContainerDefinition, image, is_service ? FL_STR("service:1") : FL_STR("batch:1"));
    FL_SET(c, ecs_ContainerDefinition, cpu, cpu);
    FL_SET(c, ecs_ContainerDefinition, memory, memory);
    FL_SET(c, ecs_ContainerDefinition, essential, i != 1);
    FL_SET(c, ecs_ContainerDefinition, stopTimeout, timeout_s);
    if (family % 4 == 3 && i == 0)
        FL_SET(c, ecs_ContainerDefinition, portMappings, port_of(arena, family));
}

/* ---- containers that are tied together ---- */

static int32_t between(struct sim *sim, int32_t least, int32_t most)
{
    return least + (int32_t)sim_below(sim, (uint64_t)(most - least + 1));
}

static void draw_check(struct sim *sim, struct fl_arena *arena, struct ecs_ContainerDefinition *c)
{
    struct ecs_HealthCheck *check = fl_arena_new_object(arena, struct ecs_HealthCheck);
    struct fl_str_list command = {2, fl_arena_new_array(arena, struct fl_str, 2)};
    command.items[0] = FL_STR("CMD");
    command.items[1] = FL_STR("/well");
    FL_SET(check, ecs_HealthCheck, command, command);
    FL_SET(check, ecs_HealthCheck, interval, between(sim, 5, 60));
    FL_SET(check, ecs_HealthCheck, timeout, between(sim, 2, 10));
    FL_SET(check, ecs_HealthCheck, retries, between(sim, 1, 3));
    if (sim_chance(sim, 500))
        FL_SET(check, ecs_HealthCheck, startPeriod, between(sim, 0, 60));
    FL_SET(c, ecs_ContainerDefinition, healthCheck, check);
}

/* Who ends well has done his work. */
static void draw_restart(struct sim *sim, struct fl_arena *arena, const struct draft *draft,
                         struct ecs_ContainerDefinition *c)
{
    struct ecs_ContainerRestartPolicy *policy =
        fl_arena_new_object(arena, struct ecs_ContainerRestartPolicy);
    FL_SET(policy, ecs_ContainerRestartPolicy, enabled, !sim_chance(sim, 100));
    FL_SET(policy, ecs_ContainerRestartPolicy, restartAttemptPeriod, 60);
    if (draft->is_batch || sim_chance(sim, 300)) {
        struct fl_int_list codes = {1, fl_arena_new_array(arena, int32_t, 1)};
        FL_SET(policy, ecs_ContainerRestartPolicy, ignoredExitCodes, codes);
    }
    FL_SET(c, ecs_ContainerDefinition, restartPolicy, policy);
}

static enum ecs_ContainerCondition draw_condition(struct sim *sim, const struct draft *on)
{
    uint64_t what = sim_below(sim, 4);
    if (what == 0 && on->is_checked)
        return ECS_ContainerCondition_HEALTHY;
    if (what == 1 && on->is_batch && !on->is_essential)
        return ECS_ContainerCondition_COMPLETE;
    if (what == 2 && on->is_batch && !on->is_essential)
        return ECS_ContainerCondition_SUCCESS;
    if (on->is_checked && sim_chance(sim, 500))
        return ECS_ContainerCondition_HEALTHY;
    return ECS_ContainerCondition_START;
}

/* On some of those that come before it in an order that is not that of the list. */
static void draw_dependencies(struct sim *sim, struct fl_arena *arena, const struct draft *drafts,
                              size_t i, size_t n, bool is_reversed,
                              struct ecs_ContainerDefinition *c)
{
    struct ecs_ContainerDependency_list list = {
        0, fl_arena_new_array(arena, struct ecs_ContainerDependency, n)};
    for (size_t k = 0; k < n; k++) {
        if ((is_reversed ? k <= i : k >= i) || !sim_chance(sim, 450))
            continue;
        struct ecs_ContainerDependency *on = &list.items[list.n++];
        FL_SET(on, ecs_ContainerDependency, containerName,
               name_of(arena, drafts[k].is_essential, k));
        FL_SET(on, ecs_ContainerDependency, condition, draw_condition(sim, &drafts[k]));
    }
    if (list.n)
        FL_SET(c, ecs_ContainerDefinition, dependsOn, list);
}

/* From those that it may depend on. */
static void draw_volumes(struct sim *sim, struct fl_arena *arena, const struct draft *drafts,
                         size_t i, size_t n, bool is_reversed, struct ecs_ContainerDefinition *c)
{
    struct ecs_VolumeFrom_list list = {1, fl_arena_new_object(arena, struct ecs_VolumeFrom)};
    size_t from = sim_below(sim, n);
    if (!sim_chance(sim, 100) || (is_reversed ? from <= i : from >= i))
        return;
    FL_SET(list.items, ecs_VolumeFrom, sourceContainer,
           name_of(arena, drafts[from].is_essential, from));
    FL_SET(c, ecs_ContainerDefinition, volumesFrom, list);
}

static struct fl_str draw_image(struct sim *sim, const struct draft *draft)
{
    if (draft->is_batch)
        return FL_STR("batch:1");
    return sim_chance(sim, 400) ? FL_STR("flaky:1") : FL_STR("service:1");
}

static void fill_tied(struct sim *sim, struct fl_arena *arena, const struct draft *draft, size_t i,
                      struct ecs_ContainerDefinition *c)
{
    FL_SET(c, ecs_ContainerDefinition, name, name_of(arena, draft->is_essential, i));
    FL_SET(c, ecs_ContainerDefinition, image, draw_image(sim, draft));
    FL_SET(c, ecs_ContainerDefinition, cpu, between(sim, 0, 100));
    FL_SET(c, ecs_ContainerDefinition, memory, between(sim, 10, 100));
    FL_SET(c, ecs_ContainerDefinition, essential, draft->is_essential);
    if (sim_chance(sim, 700))
        FL_SET(c, ecs_ContainerDefinition, stopTimeout, between(sim, 2, 12));
    if (sim_chance(sim, 500))
        FL_SET(c, ecs_ContainerDefinition, startTimeout, between(sim, 5, 120));
    if (draft->is_checked)
        draw_check(sim, arena, c);
    if (sim_chance(sim, 400))
        draw_restart(sim, arena, draft, c);
}

static void fill_all_tied(struct sim *sim, struct fl_arena *arena,
                          struct ecs_ContainerDefinition_list *list)
{
    struct draft drafts[MOST_CONTAINERS] = {0};
    size_t one = sim_below(sim, list->n); /* there is to be one that is essential */
    bool is_reversed = sim_chance(sim, 500);
    for (size_t i = 0; i < list->n; i++) {
        drafts[i].is_essential = i == one || sim_chance(sim, 300);
        drafts[i].is_batch = sim_chance(sim, drafts[i].is_essential ? 150 : 600);
        drafts[i].is_checked = sim_chance(sim, 500);
    }
    for (size_t i = 0; i < list->n; i++) {
        fill_tied(sim, arena, &drafts[i], i, &list->items[i]);
        draw_dependencies(sim, arena, drafts, i, list->n, is_reversed, &list->items[i]);
        draw_volumes(sim, arena, drafts, i, list->n, is_reversed, &list->items[i]);
    }
}

/* ---- a service's ---- */

static const char *image_of(enum sim_kind kind)
{
    switch (kind) {
    case SIM_KIND_PLAIN:
    case SIM_KIND_CHECKED:
    case SIM_KIND_HUGE:
        return "service:1";
    case SIM_KIND_FLAKY:
        return "flaky:1";
    case SIM_KIND_MISSING:
        return "missing:1";
    case SIM_KIND_STILLBORN:
        return "stillborn:1";
    case SIM_KIND_CRASHING:
        return "crashing:1";
    case SIM_KIND_ILL:
        return "ill:1";
    case SIM_KINDS:
        break;
    }
    return "";
}

/* One container that decides, and now and then one that does not; the auditor knows by the name
 * which one is checked. */
static struct ecs_ContainerDefinition_list draw_member(struct sim *sim, struct fl_arena *arena,
                                                       enum sim_kind kind)
{
    struct ecs_ContainerDefinition_list list = {.n = 1 + sim_below(sim, 2)};
    bool is_checked = kind == SIM_KIND_CHECKED || kind == SIM_KIND_ILL;
    list.items = fl_arena_new_array(arena, struct ecs_ContainerDefinition, list.n);
    for (size_t i = 0; i < list.n; i++) {
        struct ecs_ContainerDefinition *c = &list.items[i];
        int32_t cpu = kind == SIM_KIND_HUGE ? 100000 : between(sim, 10, 60);
        FL_SET(c, ecs_ContainerDefinition, name,
               i ? FL_STR("n1") : fl_str_of(is_checked ? "e0c" : "e0"));
        FL_SET(c, ecs_ContainerDefinition, image,
               i ? FL_STR("service:1") : fl_str_of(image_of(kind)));
        FL_SET(c, ecs_ContainerDefinition, cpu, cpu);
        FL_SET(c, ecs_ContainerDefinition, memory, between(sim, 10, 60));
        FL_SET(c, ecs_ContainerDefinition, essential, i == 0);
        FL_SET(c, ecs_ContainerDefinition, stopTimeout, between(sim, 2, 10));
    }
    if (is_checked)
        draw_check(sim, arena, &list.items[0]);
    return list;
}

/* ---- a hook's ---- */

static struct ecs_ContainerDefinition_list draw_hook(struct sim *sim, struct fl_arena *arena,
                                                     enum sim_hook hook)
{
    static const char *const images[SIM_HOOKS] = {[SIM_HOOK_GOOD] = "done:1",
                                                  [SIM_HOOK_BAD] = "wrong:1",
                                                  [SIM_HOOK_LONG] = "service:1",
                                                  [SIM_HOOK_MISSING] = "missing:1",
                                                  [SIM_HOOK_HUGE] = "done:1"};
    struct ecs_ContainerDefinition_list list = {
        1, fl_arena_new_object(arena, struct ecs_ContainerDefinition)};
    FL_SET(list.items, ecs_ContainerDefinition, name, FL_STR("e0"));
    FL_SET(list.items, ecs_ContainerDefinition, image, fl_str_of(images[hook]));
    FL_SET(list.items, ecs_ContainerDefinition, cpu,
           hook == SIM_HOOK_HUGE ? 100000 : between(sim, 10, 60));
    FL_SET(list.items, ecs_ContainerDefinition, memory, 20);
    FL_SET(list.items, ecs_ContainerDefinition, essential, true);
    return list;
}

struct ecs_ContainerDefinition_list sim_definition_draw(struct sim *sim, struct fl_arena *arena,
                                                        int family)
{
    if (family >= SIM_HOOK_FAMILIES)
        return draw_hook(sim, arena, (enum sim_hook)(family - SIM_HOOK_FAMILIES));
    if (family >= SIM_FAMILIES)
        return draw_member(sim, arena, (enum sim_kind)(family - SIM_FAMILIES));
    struct ecs_ContainerDefinition_list list = {.n = 1 + (size_t)family % 3};
    bool is_tied = family >= SIM_FAMILIES / 2;
    if (is_tied)
        list.n = 1 + sim_below(sim, MOST_CONTAINERS);
    list.items = fl_arena_new_array(arena, struct ecs_ContainerDefinition, list.n);
    for (size_t i = 0; i < list.n && !is_tied; i++)
        fill_plain(sim, arena, family, i, &list.items[i]);
    if (is_tied)
        fill_all_tied(sim, arena, &list);
    return list;
}
