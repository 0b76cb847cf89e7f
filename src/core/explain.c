/* Why a task has no place: every instance of a cluster is asked for the first rule that excludes
 * it, equal answers are grouped and counted, and of those that lack something the closest is named.
 * Reads the state, changes nothing. */
#include "core/explain.h"

#include "core/gpu.h"
#include "core/scheduler.h"

enum { MAX_GROUPS = 64, MAX_SHOWN = 12, MAX_EXAMPLES = 3, MAX_TEXT = 64 << 10 };

/* Instances that the same rule excludes. */
struct excluded {
    struct fl_hindrance rule; /* of the closest */
    size_t count;
    size_t too_small; /* would lack it even when empty */
    const struct fl_instance *closest;
    const struct fl_instance *examples[MAX_EXAMPLES];
};

struct explanation {
    struct fl_decision *d;
    const struct fl_cluster *cluster;
    const struct fl_definition *definition;
    const struct fl_task *task;            /* NULL: it is not about one */
    const struct ecs_RunTaskRequest *call; /* the same */
    const struct fl_service *service;      /* the same */
    struct fl_placement placement;
    struct excluded groups[MAX_GROUPS];
    size_t group_count;
    size_t instances, fitting, others; /* others: excluded by rules beyond MAX_GROUPS */
    const struct fl_instance *fits[MAX_EXAMPLES];
};

static bool is_same_rule(const struct fl_hindrance *a, const struct fl_hindrance *b)
{
    return a->obstacle == b->obstacle && fl_str_eq(a->what, b->what) &&
           (a->obstacle != FL_OBSTACLE_PORTS || a->lacks == b->lacks);
}

static struct excluded *find_group(struct explanation *e, const struct fl_hindrance *rule)
{
    for (size_t i = 0; i < e->group_count; i++)
        if (is_same_rule(&e->groups[i].rule, rule))
            return &e->groups[i];
    if (e->group_count == MAX_GROUPS)
        return NULL;
    e->groups[e->group_count] = (struct excluded){.rule = *rule};
    return &e->groups[e->group_count++];
}

static bool is_too_small(const struct fl_placement *p, const struct fl_instance *instance,
                         enum fl_obstacle obstacle)
{
    struct fl_supply s = fl_placement_supply(p, instance, obstacle);
    return s.all < s.wanted;
}

static void look_at(struct explanation *e, const struct fl_instance *instance)
{
    struct fl_hindrance rule = fl_placement_hindrance(&e->placement, instance);
    if (fl_str_is(instance->rec->status, "INACTIVE"))
        return;
    e->instances++;
    if (rule.obstacle == FL_OBSTACLE_NONE) {
        if (e->fitting < MAX_EXAMPLES)
            e->fits[e->fitting] = instance;
        e->fitting++;
        return;
    }
    struct excluded *group = find_group(e, &rule);
    if (!group) {
        e->others++;
        return;
    }
    if (group->count < MAX_EXAMPLES)
        group->examples[group->count] = instance;
    if (!group->closest || rule.lacks < group->rule.lacks) {
        group->closest = instance;
        group->rule = rule;
    }
    group->count++;
    group->too_small += is_too_small(&e->placement, instance, rule.obstacle);
}

static int by_count(const void *a, const void *b)
{
    const struct excluded *x = a, *y = b;
    if (x->count != y->count)
        return x->count > y->count ? -1 : 1;
    return (int)x->rule.obstacle - (int)y->rule.obstacle;
}

/* Words. */

static void add_examples(struct fl_buf *text, const struct fl_instance *const *examples,
                         size_t count)
{
    for (size_t i = 0; i < FL_MIN(count, (size_t)MAX_EXAMPLES); i++) {
        fl_buf_add_z(text, i ? ", " : "");
        fl_explain_id(text, examples[i]->rec->id);
    }
    if (count > MAX_EXAMPLES)
        fl_buf_add_z(text, ", …");
}

static void add_needs(struct fl_buf *text, const struct fl_requirement *r)
{
    fl_buf_printf(text, "%lld CPU units and %lld MiB", (long long)r->cpu, (long long)r->memory);
    if (r->gpus)
        fl_buf_printf(text, ", %u GPU%s", r->gpus, r->gpus == 1 ? "" : "s");
    for (size_t i = 0; i < r->ports.n; i++)
        fl_buf_printf(text, "%s%d/%s",
                      i                ? ", "
                      : r->ports.n > 1 ? ", host ports "
                                       : ", host port ",
                      r->ports.items[i] / 2, r->ports.items[i] & 1 ? "udp" : "tcp");
}

static void add_lack(struct fl_buf *text, const struct explanation *e, const struct excluded *x)
{
    const struct rec_Instance *rec = x->closest->rec;
    struct fl_supply s = fl_placement_supply(&e->placement, x->closest, x->rule.obstacle);
    fl_buf_printf(text, "%s", x->count == 1 ? "" : "the closest, ");
    fl_explain_id(text, rec->id);
    bool is_one_gpu = x->rule.obstacle == FL_OBSTACLE_GPU && x->rule.lacks == 1;
    fl_buf_printf(text, "%s lacks %lld %s (%lld of %lld are free)", x->count == 1 ? "" : ",",
                  (long long)x->rule.lacks, is_one_gpu ? "GPU" : s.unit, (long long)s.left,
                  (long long)s.all);
    if (x->too_small)
        fl_buf_printf(text, "; %zu %s too small even without tasks, for %lld are needed",
                      x->too_small, x->too_small == 1 ? "is" : "are", (long long)s.wanted);
}

static void add_port_holder(struct fl_buf *text, const struct excluded *x)
{
    struct fl_task *task;
    fl_buf_printf(text, "host port %lld is taken; on ", (long long)x->rule.lacks);
    fl_explain_id(text, x->closest->rec->id);
    RB_FOREACH (task, fl_held_tree, (struct fl_held_tree *)&x->closest->tasks) {
        for (size_t i = 0; i < task->rec->ports.n; i++) {
            if (task->rec->ports.items[i] / 2 != x->rule.lacks)
                continue;
            fl_buf_add_z(text, " by task ");
            fl_explain_id(text, task->rec->id);
            fl_buf_printf(text, " of %.*s", FL_STR_ARG(task->rec->group));
            return;
        }
    }
    fl_buf_add_z(text, " by the host itself");
}

/* What excludes them, and what would make them fit. */
static void add_rule(struct fl_buf *text, const struct explanation *e, const struct excluded *x)
{
    switch (x->rule.obstacle) {
    case FL_OBSTACLE_NONE:
        return;
    case FL_OBSTACLE_INACTIVE:
        fl_buf_add_z(text,
                     "not ACTIVE; they are being drained until their state is set to ACTIVE: ");
        break;
    case FL_OBSTACLE_AGENT:
        fl_buf_add_z(text, "the agent is not connected; `fairlead doctor` there says why: ");
        break;
    case FL_OBSTACLE_IMPAIRED:
        fl_buf_printf(text, "its agent can start nothing (%.*s): ", FL_STR_ARG(x->rule.what));
        break;
    case FL_OBSTACLE_ATTRIBUTE:
        fl_buf_printf(text, "the definition requires the attribute %.*s, which is missing: ",
                      FL_STR_ARG(x->rule.what));
        break;
    case FL_OBSTACLE_MEMBER_OF:
        fl_buf_printf(text, "the constraint `%.*s` is not met: ", FL_STR_ARG(x->rule.what));
        break;
    case FL_OBSTACLE_DISTINCT:
        fl_buf_printf(
            text, "a task of %.*s is there already: ", FL_STR_ARG(e->placement.requirement.group));
        break;
    case FL_OBSTACLE_CPU:
    case FL_OBSTACLE_MEMORY:
    case FL_OBSTACLE_GPU:
        add_lack(text, e, x);
        return;
    case FL_OBSTACLE_PORTS:
        add_port_holder(text, x);
        return;
    }
    add_examples(text, x->examples, x->count);
}

static const char *short_reason(enum fl_obstacle obstacle)
{
    return obstacle == FL_OBSTACLE_MEMBER_OF  ? "memberOf"
           : obstacle == FL_OBSTACLE_DISTINCT ? "distinctInstance"
                                              : fl_placement_reason(obstacle);
}

/* What a call adds to its definition. */
static void add_call(struct fl_buf *text, const struct explanation *e)
{
    size_t count = FL_HAS(e->call, ecs_RunTaskRequest, count) ? (size_t)e->call->count : 1;
    fl_buf_printf(text, "the call runs %zu task%s of group %.*s", count, count == 1 ? "" : "s",
                  FL_STR_ARG(e->placement.requirement.group));
    if (e->placement.requirement.distinct)
        fl_buf_add_z(text, ", each on its own instance");
    fl_buf_add_z(text, "; each, of ");
}

/* What the service wants and has. */
static void add_service(struct fl_buf *text, const struct explanation *e)
{
    const struct fl_deployment *primary = TAILQ_FIRST(&e->service->deployments);
    const struct rec_Deployment *entry = fl_deployment_rec(primary);
    fl_buf_printf(text,
                  "service %.*s wants %d task%s of deployment ecs-svc/%lld, of which %zu run and "
                  "%zu are pending; one more, of ",
                  FL_STR_ARG(e->service->name), entry->desiredCount,
                  entry->desiredCount == 1 ? "" : "s", (long long)entry->number,
                  primary->running_count, primary->pending_count);
}

static void add_head(struct fl_buf *text, const struct explanation *e)
{
    const struct fl_definition *def = e->definition;
    if (e->task) {
        const struct rec_Task *rec = e->task->rec;
        fl_buf_add_z(text, "task ");
        fl_explain_id(text, rec->id);
        fl_buf_printf(text, " is %s", fl_enum_text(&rec_enum_TaskStatus, (int)rec->status));
        if (e->task->instance) {
            fl_buf_add_z(text, rec->status == REC_TaskStatus_STOPPED ? " and was on " : " on ");
            fl_explain_id(text, e->task->instance->rec->id);
        }
        fl_buf_add_z(text, "; one more like it, of ");
    }
    if (e->call)
        add_call(text, e);
    if (e->service)
        add_service(text, e);
    fl_buf_printf(text, "%.*s:%d on cluster %.*s needs ", FL_STR_ARG(def->family), def->revision,
                  FL_STR_ARG(e->cluster->rec->name));
    add_needs(text, &e->placement.requirement);
    fl_buf_printf(text, "; %zu of %zu instance%s can take it", e->fitting, e->instances,
                  e->instances == 1 ? "" : "s");
    if (e->fitting) {
        fl_buf_add_z(text, ": ");
        add_examples(text, e->fits, e->fitting);
    }
    fl_buf_add_char(text, '\n');
    if (e->service) {
        fl_explain_service(e->d, e->service, text);
        return;
    }
    if (e->task && e->task->rec->stoppedReason.n) {
        fl_buf_add_z(text, "  why it stops: ");
        fl_explain_end(e->task->rec, text);
    }
    if (def->rec->definition->status != ECS_TaskDefinitionStatus_ACTIVE)
        fl_buf_add_z(text, "  the definition is not ACTIVE: RunTask refuses it\n");
    if (e->instances == 0)
        fl_buf_add_z(text, "  the cluster has no instances: RunTask refuses the call\n");
}

static void add_text(struct fl_buf *text, const struct explanation *e)
{
    size_t rest = e->others;
    add_head(text, e);
    for (size_t i = 0; i < e->group_count; i++) {
        const struct excluded *x = &e->groups[i];
        if (i >= MAX_SHOWN) {
            rest += x->count;
            continue;
        }
        fl_buf_printf(text, "  %zu instance%s, %s: ", x->count, x->count == 1 ? "" : "s",
                      short_reason(x->rule.obstacle));
        add_rule(text, e, x);
        fl_buf_add_char(text, '\n');
    }
    if (rest)
        fl_buf_printf(text, "  %zu more, for rules of the same kinds\n", rest);
}

/* JSON. */

static void write_group(struct fl_json_writer *jw, const struct explanation *e,
                        const struct excluded *x)
{
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(MAX_TEXT);
    bool is_lack = x->rule.obstacle == FL_OBSTACLE_CPU || x->rule.obstacle == FL_OBSTACLE_MEMORY ||
                   x->rule.obstacle == FL_OBSTACLE_GPU;
    add_rule(&text, e, x);
    fl_jw_object_begin(jw);
    fl_jw_member_str(jw, "reason", fl_str_of(fl_placement_reason(x->rule.obstacle)));
    if (x->rule.what.n)
        fl_jw_member_str(jw, "rule", x->rule.what);
    fl_jw_member_int(jw, "instances", (int64_t)x->count);
    if (is_lack) {
        fl_jw_member_int(jw, "lacks", x->rule.lacks);
        fl_jw_member_int(jw, "tooSmall", (int64_t)x->too_small);
    }
    fl_jw_member_str(jw, "closest", fl_instance_arn(e->d, x->closest->rec));
    fl_jw_member_str(jw, "text", fl_buf_str(&text));
    fl_jw_object_end(jw);
}

static struct fl_str write_body(const struct explanation *e)
{
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(MAX_TEXT);
    FL_CLEANUP_BUF struct fl_buf body = FL_BUF_INIT(1 << 20);
    struct fl_json_writer jw = {.buf = &body};
    add_text(&text, e);
    fl_jw_object_begin(&jw);
    fl_jw_member_str(&jw, "cluster", e->cluster->rec->name);
    fl_jw_member_str(&jw, "taskDefinitionArn", e->definition->rec->definition->taskDefinitionArn);
    if (e->task)
        fl_jw_member_str(&jw, "taskArn", fl_task_arn(e->d, e->task->rec));
    if (e->service)
        fl_jw_member_str(&jw, "serviceArn", fl_service_arn(e->d, e->service->rec));
    fl_jw_member_int(&jw, "instances", (int64_t)e->instances);
    fl_jw_member_int(&jw, "fitting", (int64_t)e->fitting);
    fl_jw_key(&jw, "excluded");
    fl_jw_array_begin(&jw);
    for (size_t i = 0; i < e->group_count; i++)
        write_group(&jw, e, &e->groups[i]);
    fl_jw_array_end(&jw);
    fl_jw_member_str(&jw, "text", fl_buf_str(&text));
    fl_jw_object_end(&jw);
    return fl_str_dup(e->d->arena, fl_buf_str(&body));
}

/* What is asked about. */

static int find_definition(struct explanation *e, struct fl_str name)
{
    struct ecs_RunTaskRequest nothing = {0};
    e->definition = fl_find_definition(e->d, name);
    if (!e->definition)
        return fl_refuse(e->d, "ClientException", "TaskDefinition not found.");
    fl_launch_require(e->d, &nothing, e->definition, &e->placement.requirement);
    return 0;
}

/* A task's record says what it asked for. */
static int find_task(struct explanation *e, struct fl_str name)
{
    struct fl_requirement *r = &e->placement.requirement;
    e->task = fl_state_task(e->cluster, fl_id_of(name));
    if (!e->task)
        return fl_refuse(e->d, "InvalidParameterException", "The referenced task was not found.");
    e->definition = e->task->definition;
    r->cpu = e->task->rec->cpu;
    r->memory = e->task->rec->memory;
    r->gpus = fl_gpu_held(e->task->rec);
    r->ports = e->task->rec->ports;
    r->group = e->task->rec->group;
    return 0;
}

/* What RunTask refuses is refused here in the same words. */
static int find_call(struct explanation *e, const struct ecs_RunTaskRequest *in,
                     struct fl_cluster *cluster)
{
    struct fl_launch *launch = fl_arena_new_object(e->d->arena, struct fl_launch);
    if (fl_launch_check(e->d, in) < 0 || fl_launch_prepare(e->d, in, cluster, launch) < 0)
        return -1;
    e->call = in;
    e->definition = launch->definition;
    e->placement = launch->placement;
    return 0;
}

/* One more task of the PRIMARY deployment. A daemon is alone of its kind on an instance. */
static int find_service(struct explanation *e, struct fl_str given)
{
    struct fl_launch *launch = fl_arena_new_object(e->d->arena, struct fl_launch);
    struct fl_str name;
    if (fl_read_name(e->d, given, "service", &name) < 0)
        return -1;
    e->service = fl_state_service(e->cluster, name);
    if (!e->service)
        return fl_refuse(e->d, "ServiceNotFoundException", "Service not found.");
    if (!fl_str_is(e->service->rec->status, "ACTIVE"))
        return fl_refuse(e->d, "ServiceNotActiveException", "Service was not ACTIVE.");
    const struct fl_deployment *primary = TAILQ_FIRST(&e->service->deployments);
    if (!primary)
        return fl_refuse(e->d, "InvalidParameterException",
                         "The service has no task set, so it starts no tasks.");
    const struct fl_revision *revision = fl_service_revision(e->service, primary->number);
    if (fl_service_prepare(e->d, e->service->rec, revision->rec, revision->definition, launch) < 0)
        return -1;
    e->definition = launch->definition;
    e->placement = launch->placement;
    e->placement.requirement.distinct |= e->service->is_daemon;
    return 0;
}

/* A task or a definition by its own words alone. */
static int find_kind(struct explanation *e, const struct fl_core_event *event,
                     struct fl_cluster *cluster)
{
    const struct ecs_PlacementConstraint_list no_constraints = {0};
    const struct ecs_PlacementStrategy_list no_strategies = {0};
    if ((event->task.n ? find_task(e, event->task) : find_definition(e, event->definition)) < 0)
        return -1;
    struct fl_requirement requirement = e->placement.requirement;
    if (fl_placement_prepare(e->d, cluster, e->definition->rec->definition, &no_constraints,
                             &no_strategies, &e->placement) < 0)
        return -1;
    e->placement.requirement = requirement;
    return 0;
}

int fl_explain(struct fl_decision *d, const struct fl_core_event *event, struct fl_str *ret_body)
{
    struct explanation *e = fl_arena_new_object(d->arena, struct explanation);
    const struct ecs_RunTaskRequest *call = event->call;
    struct fl_cluster *cluster =
        fl_find_cluster(d, call && !event->cluster.n ? call->cluster : event->cluster);
    struct fl_instance *at;
    if (!cluster)
        return -1;
    e->d = d;
    e->cluster = cluster;
    if ((call               ? find_call(e, call, cluster)
         : event->service.n ? find_service(e, event->service)
                            : find_kind(e, event, cluster)) < 0)
        return -1;
    RB_FOREACH (at, fl_instance_tree, &cluster->instances)
        look_at(e, at);
    qsort(e->groups, e->group_count, sizeof(*e->groups), by_count);
    *ret_body = write_body(e);
    return 0;
}
