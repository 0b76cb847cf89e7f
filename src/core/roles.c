/* A task's roles: what its agent is to get credentials of. */
#include "core/decide.h"

/* A definition may name a role by its name alone, which means one of this account. */
static struct fl_str role_arn(struct fl_decision *d, struct fl_str override,
                              struct fl_str definition)
{
    struct fl_str role = override.n ? override : definition;
    if (!role.n || fl_str_starts(role, FL_STR("arn:")))
        return fl_str_dup(d->arena, role);
    return fl_str_printf(d->arena, "arn:aws:iam::%.*s:role/%.*s", FL_STR_ARG(d->core->account),
                         FL_STR_ARG(role));
}

const struct fl_core_roles *fl_roles_of(struct fl_decision *d, const struct fl_task *task)
{
    const struct ecs_TaskDefinition *def = task->definition->rec->definition;
    const struct ecs_TaskOverride *o = task->rec->overrides;
    struct fl_str task_role = role_arn(d, o ? o->taskRoleArn : FL_STR(""), def->taskRoleArn);
    struct fl_str execution_role =
        role_arn(d, o ? o->executionRoleArn : FL_STR(""), def->executionRoleArn);
    if (!task_role.n && !execution_role.n)
        return NULL;
    struct fl_core_roles *roles = fl_arena_new_object(d->arena, struct fl_core_roles);
    *roles = (struct fl_core_roles){
        .task = fl_str_dup(d->arena, task->rec->id),
        .task_arn = fl_task_arn(d, task->rec),
        .cluster_arn = fl_cluster_arn(d, task->rec->cluster),
        .task_role = task_role,
        .execution_role = execution_role,
    };
    return roles;
}

void fl_core_each_roles(const struct fl_core *core, struct fl_str cluster, struct fl_str instance,
                        struct fl_arena *arena,
                        void (*take)(void *context, const struct fl_core_roles *roles),
                        void *context)
{
    struct fl_decision d = {.core = (struct fl_core *)core, .arena = arena};
    const struct fl_cluster *found = fl_state_cluster(core, cluster);
    struct fl_instance *host = found ? fl_state_instance(found, instance) : NULL;
    struct fl_task *task;
    if (!host)
        return;
    RB_FOREACH (task, fl_held_tree, &host->tasks) {
        const struct fl_core_roles *roles = fl_roles_of(&d, task);
        if (roles)
            take(context, roles);
    }
}

bool fl_core_task_lives(const struct fl_core *core, struct fl_str cluster, struct fl_str task)
{
    const struct fl_cluster *found = fl_state_cluster(core, cluster);
    const struct fl_task *named = found ? fl_state_task(found, task) : NULL;
    return named && named->rec->status != REC_TaskStatus_STOPPED;
}
