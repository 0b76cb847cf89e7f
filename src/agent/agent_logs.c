/* Which containers' logs are shipped, and where to. */
#include <errno.h>

#include "agent/agent_internal.h"
#include "agent/metadata_documents.h"
#include "base/log.h"

bool fl_agent_is_shipped(const struct fl_container_spec *spec)
{
    return spec->log_driver.n > 0 && !fl_str_is(spec->log_driver, "json-file") &&
           !fl_str_is(spec->log_driver, "none");
}

/* The labels that Docker would know of: ECS's own, then the definition's. */
static void set_labels(const struct fl_task_container *container, struct fl_log_facts *facts,
                       struct fl_arena *arena)
{
    const struct fl_task_spec *task = container->task->spec;
    const struct fl_container_spec *spec = container->spec;
    const struct fl_key_value ecs[] = {
        {FL_STR("com.amazonaws.ecs.cluster"), task->cluster_arn},
        {FL_STR("com.amazonaws.ecs.container-name"), spec->name},
        {FL_STR("com.amazonaws.ecs.task-arn"), container->task->arn},
        {FL_STR("com.amazonaws.ecs.task-definition-family"), task->family},
        {FL_STR("com.amazonaws.ecs.task-definition-version"), task->revision},
    };
    size_t n = FL_ARRAY_SIZE(ecs) + spec->label_count;
    struct fl_key_value *labels = fl_arena_new_array(arena, struct fl_key_value, n);
    for (size_t i = 0; i < n; i++)
        labels[i] = i < FL_ARRAY_SIZE(ecs) ? ecs[i] : spec->labels[i - FL_ARRAY_SIZE(ecs)];
    facts->labels = labels;
    facts->label_count = n;
}

/* The definition's options and those that are secret: of a container that has been launched, what
 * it was launched with. */
static int add_secret_options(const struct fl_agent *agent,
                              const struct fl_task_container *container, struct fl_arena *arena,
                              struct fl_container_spec *spec, struct fl_err *err)
{
    struct fl_key_value *secrets;
    size_t count, known = spec->log_option_count;
    if (!fl_runtime_log_secrets(agent->runtime, fl_str_of(container->id), arena, &secrets,
                                &count) &&
        !fl_task_secrets_pairs(agent->secrets, container->task->arn, spec, true, arena, &secrets,
                               &count))
        return fl_err_set(err, -ENOKEY, "the log driver's secret options are not known");
    struct fl_key_value *all = fl_arena_new_array(arena, struct fl_key_value, known + count);
    for (size_t i = 0; i < known + count; i++)
        all[i] = i < known ? spec->log_options[i] : secrets[i - known];
    spec->log_options = all;
    spec->log_option_count = known + count;
    return 0;
}

bool fl_agent_log_hides(const struct fl_container_spec *spec, struct fl_str option)
{
    for (size_t i = 0; i < spec->secret_count; i++)
        if (spec->secrets[i].is_log_option &&
            (option.n == 0 || fl_str_eq(spec->secrets[i].name, option)))
            return true;
    return false;
}

int fl_agent_log_target(struct fl_agent *agent, const struct fl_task_container *container,
                        struct fl_arena *arena, struct fl_log_target *ret_target,
                        struct fl_err *err)
{
    struct fl_str id = fl_str_dup(arena, fl_str_of(container->id));
    struct fl_log_facts *facts = fl_arena_new_object(arena, struct fl_log_facts);
    struct fl_log_plan *plan = fl_arena_new_object(arena, struct fl_log_plan);
    *facts = (struct fl_log_facts){
        .id = id,
        .name = fl_metadata_docker_name(container, arena),
        .image = container->spec->image,
        .image_id = container->image_digest,
        .hostname = agent->hostname,
        .region = agent->config.region,
    };
    set_labels(container, facts, arena);
    *ret_target = (struct fl_log_target){
        .container_id = id,
        .spool_path = fl_runtime_log_path(agent->runtime, id, arena),
        .plan = plan,
        .facts = facts,
    };
    struct fl_container_spec *spec = fl_arena_new_object(arena, struct fl_container_spec);
    *spec = *container->spec;
    if (!fl_agent_log_hides(spec, FL_STR("")))
        return fl_log_plan_read(spec, facts, arena, plan, err);
    int rc = add_secret_options(agent, container, arena, spec, err);
    if (rc == 0 && fl_log_plan_read(spec, facts, arena, plan, NULL) < 0)
        rc = fl_err_set(err, -EINVAL,
                        "the options of the log driver %.*s, of which some are secret, are wrong",
                        FL_STR_ARG(spec->log_driver));
    plan->address.is_secret = true;
    return rc;
}

/* A definition that an earlier agent took, and this one does not, leaves its lines in the spool. */
static bool follow(struct fl_agent *agent, const struct fl_task_container *container)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_err err = {0};
    struct fl_log_target target;
    int rc = fl_agent_log_target(agent, container, arena, &target, &err);
    if (rc == 0)
        fl_log_shipper_start(agent->shipper, &target);
    else
        fl_log_warn("container %.12s: its log is not followed: %s", container->id, err.text);
    return rc == 0;
}

static struct fl_shipping *find(const struct fl_agent *agent, struct fl_str container_id)
{
    struct fl_shipping *shipping;
    HASH_FIND(hh, agent->shipping, container_id.p, container_id.n, shipping);
    return shipping;
}

bool fl_agent_log_delays_removal(struct fl_agent *agent, struct fl_str container_id)
{
    struct fl_shipping *shipping = find(agent, container_id);
    if (shipping)
        shipping->remove_after = true;
    return shipping != NULL;
}

void fl_agent_log_begin(struct fl_agent *agent, struct fl_str container_id)
{
    if (find(agent, container_id))
        return;
    struct fl_shipping *shipping = fl_calloc(1, sizeof(*shipping));
    shipping->agent = agent;
    FL_ASSERT(container_id.n == FL_CONTAINER_ID_SIZE - 1);
    memcpy(shipping->id, container_id.p, container_id.n);
    HASH_ADD_KEYPTR(hh, agent->shipping, shipping->id, container_id.n, shipping);
}

static void end(struct fl_shipping *shipping)
{
    HASH_DEL(shipping->agent->shipping, shipping);
    free(shipping);
}

void fl_agent_log_start(struct fl_agent *agent, const struct fl_task_container *container)
{
    if (fl_agent_is_shipped(container->spec))
        (void)follow(agent, container);
}

void fl_agent_log_resume(struct fl_agent *agent, const struct fl_task_container *container)
{
    struct fl_str id = fl_str_of(container->id);
    if (fl_agent_is_shipped(container->spec) && !find(agent, id) && follow(agent, container))
        fl_agent_log_begin(agent, id);
}

/* Patience with the last run's lines was over before their end; meanwhile the next one began. */
static bool runs_again(const struct fl_task_container *container, const struct fl_live *live)
{
    return container && container->restarts > 0 && !(live && live->exit_held) &&
           (container->state == FL_CONTAINER_CREATED || container->state == FL_CONTAINER_RUNNING);
}

static void on_finished(void *context)
{
    struct fl_shipping *shipping = context;
    struct fl_agent *agent = shipping->agent;
    struct fl_str id = fl_str_of(shipping->id);
    struct fl_live *live = fl_agent_live(agent, id);
    const struct fl_task_container *container = fl_brain_container(agent->brain, id);
    bool remove_after = shipping->remove_after;
    bool resume = runs_again(container, live);
    end(shipping);
    if (resume)
        fl_agent_log_resume(agent, container);
    if (live)
        fl_agent_exit_log_shipped(live);
    if (remove_after && container)
        fl_agent_remove(agent, container->task->arn);
}

bool fl_agent_log_finish(struct fl_agent *agent, struct fl_str container_id)
{
    struct fl_shipping *shipping = find(agent, container_id);
    if (!shipping || shipping->finishing)
        return shipping != NULL;
    shipping->finishing = true;
    if (fl_log_shipper_finish(agent->shipper, container_id, on_finished, shipping))
        return true;
    end(shipping);
    return false;
}

void fl_agent_log_free_all(struct fl_agent *agent)
{
    struct fl_shipping *shipping, *next;
    HASH_ITER(hh, agent->shipping, shipping, next)
    {
        end(shipping);
    }
}
