/* Ports lie sorted (twice when two hold them: a host may reserve one that a task already has);
 * groups lie unsorted, for an instance has tasks of few. */
#include "core/load.h"

#include "core/tally.h"

static int group_order(const struct fl_group *a, const struct fl_group *b)
{
    return fl_str_cmp(a->name, b->name);
}
RB_PROTOTYPE(fl_group_tree, fl_group, by_name, group_order)
RB_GENERATE(fl_group_tree, fl_group, by_name, group_order)

static struct fl_group *use(struct fl_group_tree *tree, struct fl_str name)
{
    struct fl_group probe = {.name = name};
    struct fl_group *group = RB_FIND(fl_group_tree, tree, &probe);
    if (!group) {
        group = fl_calloc(1, sizeof(*group));
        group->name = (struct fl_str){fl_strndup(name.p ? name.p : "", name.n), name.n};
        (void)RB_INSERT(fl_group_tree, tree, group);
    }
    group->users++;
    return group;
}

static void release(struct fl_group_tree *tree, struct fl_group *group)
{
    if (--group->users > 0)
        return;
    (void)RB_REMOVE(fl_group_tree, tree, group);
    free((char *)group->name.p);
    free(group);
}

struct fl_group *fl_group_use(struct fl_cluster *cluster, struct fl_str name)
{
    return use(&cluster->groups, name);
}

struct fl_group *fl_part_use(struct fl_cluster *cluster, struct fl_str name)
{
    struct fl_group *part = use(&cluster->parts, name);
    part->is_part = true;
    return part;
}

void fl_group_release(struct fl_cluster *cluster, struct fl_group *group)
{
    if (group)
        release(group->is_part ? &cluster->parts : &cluster->groups, group);
}

struct fl_str fl_digest_use(struct fl_cluster *cluster, struct fl_str digest)
{
    return use(&cluster->digests, digest)->name;
}

void fl_digest_release(struct fl_cluster *cluster, struct fl_str digest)
{
    struct fl_group probe = {.name = digest};
    struct fl_group *found = RB_FIND(fl_group_tree, &cluster->digests, &probe);
    FL_ASSERT(found);
    release(&cluster->digests, found);
}

void fl_digest_each(struct fl_cluster *cluster, void (*each)(void *context, struct fl_str digest),
                    void *context)
{
    struct fl_group *digest;
    RB_FOREACH (digest, fl_group_tree, &cluster->digests)
        each(context, digest->name);
}

/* The first place whose port is not below the given one. */
static uint32_t find_port(const struct fl_instance *instance, int32_t port)
{
    uint32_t low = 0, high = instance->port_count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (instance->ports[middle] < port)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bool fl_load_has_port(const struct fl_instance *instance, int32_t port)
{
    uint32_t at = find_port(instance, port);
    return at < instance->port_count && instance->ports[at] == port;
}

void fl_load_add_ports(struct fl_instance *instance, const struct fl_int_list *ports)
{
    if (ports->n == 0)
        return;
    instance->ports =
        fl_realloc(instance->ports, (instance->port_count + ports->n) * sizeof(*instance->ports));
    for (size_t i = 0; i < ports->n; i++) {
        uint32_t at = find_port(instance, ports->items[i]);
        memmove(&instance->ports[at + 1], &instance->ports[at],
                (instance->port_count - at) * sizeof(*instance->ports));
        instance->ports[at] = ports->items[i];
        instance->port_count++;
    }
}

void fl_load_remove_ports(struct fl_instance *instance, const struct fl_int_list *ports)
{
    for (size_t i = 0; i < ports->n; i++) {
        uint32_t at = find_port(instance, ports->items[i]);
        FL_ASSERT(at < instance->port_count && instance->ports[at] == ports->items[i]);
        instance->port_count--;
        memmove(&instance->ports[at], &instance->ports[at + 1],
                (instance->port_count - at) * sizeof(*instance->ports));
    }
}

static struct fl_group_count *find_group(const struct fl_instance *instance,
                                         const struct fl_group *group)
{
    for (uint32_t i = 0; i < instance->group_count; i++)
        if (instance->groups[i].group == group)
            return &instance->groups[i];
    return NULL;
}

uint32_t fl_load_group(const struct fl_instance *instance, const struct fl_group *group)
{
    const struct fl_group_count *found = find_group(instance, group);
    return found ? found->count : 0;
}

static void grow_groups(struct fl_instance *instance)
{
    bool is_own = instance->groups == instance->own_groups;
    instance->group_cap *= 2;
    instance->groups = fl_realloc(is_own ? NULL : instance->groups,
                                  instance->group_cap * sizeof(*instance->groups));
    if (is_own)
        memcpy(instance->groups, instance->own_groups, sizeof(instance->own_groups));
}

static void count_group(struct fl_instance *instance, struct fl_group *group, int sign)
{
    struct fl_group_count *found = find_group(instance, group);
    if (!found) {
        FL_ASSERT(sign > 0);
        if (instance->group_count == instance->group_cap)
            grow_groups(instance);
        found = &instance->groups[instance->group_count++];
        *found = (struct fl_group_count){.group = group};
    }
    found->count += (uint32_t)sign;
    if (found->count == 0)
        *found = instance->groups[--instance->group_count];
}

static void count(struct fl_instance *instance, struct fl_group *group, int sign)
{
    count_group(instance, group, sign);
    fl_tally_change(group, instance, sign);
}

void fl_load_change(struct fl_instance *instance, const struct fl_share *share, int sign)
{
    instance->cpu_used += sign * share->cpu;
    instance->memory_used += sign * share->memory;
    FL_ASSERT(instance->cpu_used >= 0 && instance->memory_used >= 0);
    if (sign > 0)
        fl_load_add_ports(instance, share->ports);
    else
        fl_load_remove_ports(instance, share->ports);
    if (!share->is_counted)
        return;
    count(instance, share->group, sign);
    if (share->part)
        count(instance, share->part, sign);
}

void fl_load_init(struct fl_instance *instance)
{
    instance->groups = instance->own_groups;
    instance->group_cap = FL_OWN_GROUPS;
}

void fl_load_free(struct fl_instance *instance)
{
    if (instance->groups != instance->own_groups)
        free(instance->groups);
    free(instance->ports);
}
