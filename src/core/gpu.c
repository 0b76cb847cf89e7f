/* GPUs as sets of bits over an instance's list of ids. */
#include "core/gpu.h"

enum { MAX_GPU_ID = 128 };

/* Requirements. */

int fl_gpu_check(struct fl_decision *d, const char *code, struct fl_str container,
                 const struct ecs_ResourceRequirement_list *list)
{
    for (size_t i = 0; i < list->n; i++) {
        const struct ecs_ResourceRequirement *r = &list->items[i];
        int64_t value;
        if (r->type != ECS_ResourceType_GPU)
            return fl_refuse(d, "ClientException",
                             "Container '%.*s': resource requirements of type %s are not "
                             "implemented.",
                             FL_STR_ARG(container),
                             fl_enum_text(&ecs_enum_ResourceType, (int)r->type));
        if (r->sharingStrategy)
            return fl_refuse(d, "ClientException",
                             "Container '%.*s': sharing a GPU (sharingStrategy) is not "
                             "implemented.",
                             FL_STR_ARG(container));
        if (i > 0)
            return fl_refuse(d, code, "Container '%.*s' has more than one requirement of type GPU.",
                             FL_STR_ARG(container));
        if (!fl_str_to_i64(r->value, &value) || value < 1 || value > FL_MAX_GPUS)
            return fl_refuse(d, code,
                             "Container '%.*s': the value of a GPU requirement must be a whole "
                             "number between 1 and %d.",
                             FL_STR_ARG(container), FL_MAX_GPUS);
    }
    return 0;
}

static uint32_t sum(const struct ecs_ResourceRequirement_list *list)
{
    uint32_t count = 0;
    for (size_t i = 0; i < list->n; i++) {
        int64_t value;
        if (list->items[i].type == ECS_ResourceType_GPU &&
            fl_str_to_i64(list->items[i].value, &value) && value > 0 && value <= FL_MAX_GPUS)
            count += (uint32_t)value;
    }
    return count;
}

uint32_t fl_gpu_wanted(const struct ecs_ContainerDefinition *container,
                       const struct ecs_ContainerOverride *override)
{
    bool is_overridden = override && override->resourceRequirements.n > 0;
    return sum(is_overridden ? &override->resourceRequirements : &container->resourceRequirements);
}

uint32_t fl_gpu_held(const struct rec_Task *rec)
{
    size_t count = 0;
    for (size_t i = 0; i < rec->containers.n; i++)
        count += rec->containers.items[i].gpuIds.n;
    return (uint32_t)count;
}

/* Instances. */

/* The bit of an id; 0 when the instance has none of that name. */
static uint64_t bit_of(const struct fl_instance *instance, struct fl_str id)
{
    const struct fl_str_list *gpus = &instance->rec->gpus;
    for (size_t i = 0; i < gpus->n && i < FL_MAX_GPUS; i++)
        if (fl_str_eq(gpus->items[i], id))
            return UINT64_C(1) << i;
    return 0;
}

static uint64_t bits_of(const struct fl_instance *instance, const struct rec_Task *rec)
{
    uint64_t bits = 0;
    for (size_t i = 0; i < rec->containers.n; i++)
        for (size_t k = 0; k < rec->containers.items[i].gpuIds.n; k++)
            bits |= bit_of(instance, rec->containers.items[i].gpuIds.items[k]);
    return bits;
}

static void count_free(struct fl_instance *instance)
{
    size_t taken = (size_t)__builtin_popcountll(instance->gpus_taken);
    instance->gpus_free = (uint8_t)(FL_MIN(instance->rec->gpus.n, (size_t)FL_MAX_GPUS) - taken);
}

void fl_gpu_change(struct fl_instance *instance, const struct rec_Task *rec, int sign)
{
    if (instance->rec->gpus.n == 0)
        return;
    if (sign > 0)
        instance->gpus_taken |= bits_of(instance, rec);
    else
        instance->gpus_taken &= ~bits_of(instance, rec);
    count_free(instance);
}

void fl_gpu_settle(struct fl_instance *instance)
{
    struct fl_task *task;
    instance->gpus_taken = 0;
    if (instance->rec->gpus.n > 0)
        RB_FOREACH (task, fl_held_tree, &instance->tasks)
            instance->gpus_taken |= bits_of(instance, task->rec);
    count_free(instance);
}

void fl_gpu_assign(struct fl_decision *d, const struct fl_instance *instance, uint32_t count,
                   uint64_t *taken, struct rec_TaskContainer *container)
{
    const struct fl_str_list *gpus = &instance->rec->gpus;
    struct fl_str_list list = {.items = fl_arena_new_array(d->arena, struct fl_str, count)};
    for (size_t i = 0; i < gpus->n && i < FL_MAX_GPUS && list.n < count; i++) {
        uint64_t bit = UINT64_C(1) << i;
        if ((instance->gpus_taken | *taken) & bit)
            continue;
        *taken |= bit;
        list.items[list.n++] = gpus->items[i];
    }
    FL_ASSERT(list.n == count);
    if (count)
        FL_SET(container, rec_TaskContainer, gpuIds, list);
}

struct fl_str_list fl_gpu_ids(struct fl_decision *d, const struct fl_instance *instance,
                              bool only_free)
{
    const struct fl_str_list *gpus = &instance->rec->gpus;
    struct fl_str_list list = {.items = fl_arena_new_array(d->arena, struct fl_str, gpus->n)};
    for (size_t i = 0; i < gpus->n && i < FL_MAX_GPUS; i++)
        if (!only_free || !(instance->gpus_taken >> i & 1))
            list.items[list.n++] = gpus->items[i];
    return list;
}

/* Registration. */

static int add_id(struct fl_decision *d, struct fl_str id, struct fl_str_list *list)
{
    bool is_known = false;
    for (size_t i = 0; i < list->n; i++)
        is_known |= fl_str_eq(list->items[i], id);
    if (is_known)
        return 0;
    if (id.n == 0 || id.n > MAX_GPU_ID)
        return fl_refuse(d, "InvalidParameterException",
                         "The id of a GPU must have between 1 and %d characters.", MAX_GPU_ID);
    if (list->n == FL_MAX_GPUS)
        return fl_refuse(d, "InvalidParameterException", "An instance can have at most %d GPUs.",
                         FL_MAX_GPUS);
    list->items[list->n++] = id;
    return 0;
}

int fl_gpu_register(struct fl_decision *d, const struct ecs_RegisterContainerInstanceRequest *in,
                    struct rec_Instance *rec)
{
    struct fl_str_list list = {.items = fl_arena_new_array(d->arena, struct fl_str, FL_MAX_GPUS)};
    for (size_t i = 0; i < in->totalResources.n; i++) {
        const struct ecs_Resource *r = &in->totalResources.items[i];
        for (size_t k = 0; fl_str_is(r->name, "GPU") && k < r->stringSetValue.n; k++)
            if (add_id(d, r->stringSetValue.items[k], &list) < 0)
                return -1;
    }
    for (size_t i = 0; i < in->platformDevices.n; i++)
        if (in->platformDevices.items[i].type == ECS_PlatformDeviceType_GPU &&
            add_id(d, in->platformDevices.items[i].id, &list) < 0)
            return -1;
    FL_SET(rec, rec_Instance, gpus, list);
    return 0;
}
