/* Applying records, and finding things. */
#include "core/state.h"
#include "core/gpu.h"

#include "base/bug.h"
#include "core/index.h"
#include "core/instance_record.h"
#include "core/rebalance.h"
#include "core/service.h"
#include "core/task_record.h"

int fl_cluster_order(const struct fl_cluster *a, const struct fl_cluster *b)
{
    return fl_str_cmp(a->rec->name, b->rec->name);
}

int fl_definition_order(const struct fl_definition *a, const struct fl_definition *b)
{
    int order = fl_str_cmp(a->family, b->family);
    if (order != 0)
        return order;
    return a->revision < b->revision ? -1 : a->revision > b->revision;
}

int fl_doomed_order(const struct fl_definition *a, const struct fl_definition *b)
{
    int64_t a_ms = a->rec->definition->deleteRequestedAt;
    int64_t b_ms = b->rec->definition->deleteRequestedAt;
    return a_ms != b_ms ? (a_ms < b_ms ? -1 : 1) : fl_definition_order(a, b);
}

int fl_family_order(const struct fl_family *a, const struct fl_family *b)
{
    return fl_str_cmp(a->rec->family, b->rec->family);
}

int fl_setting_order(const struct fl_setting *a, const struct fl_setting *b)
{
    if (a->rec->name != b->rec->name)
        return a->rec->name < b->rec->name ? -1 : 1;
    return fl_str_cmp(a->rec->principalArn, b->rec->principalArn);
}

uint64_t fl_id_start(struct fl_str id)
{
    uint64_t start = 0;
    for (size_t i = 0; i < sizeof(start); i++)
        start = start << 8 | (i < id.n ? (uint8_t)id.p[i] : 0);
    return start;
}

int fl_task_order(const struct fl_task *a, const struct fl_task *b)
{
    if (a->id_start != b->id_start)
        return a->id_start < b->id_start ? -1 : 1;
    return fl_str_cmp(a->rec->id, b->rec->id);
}

int fl_instance_order(const struct fl_instance *a, const struct fl_instance *b)
{
    return fl_str_cmp(a->rec->id, b->rec->id);
}

int fl_retired_order(const struct fl_instance *a, const struct fl_instance *b)
{
    if (a->rec->deregisteredAt != b->rec->deregisteredAt)
        return a->rec->deregisteredAt < b->rec->deregisteredAt ? -1 : 1;
    int order = fl_str_cmp(a->rec->cluster, b->rec->cluster);
    return order ? order : fl_str_cmp(a->rec->id, b->rec->id);
}

int fl_machine_order(const struct fl_instance *a, const struct fl_instance *b)
{
    int order = fl_str_cmp(a->rec->ec2InstanceId, b->rec->ec2InstanceId);
    if (order == 0 && a->rec->registeredAt != b->rec->registeredAt)
        return a->rec->registeredAt < b->rec->registeredAt ? -1 : 1;
    if (order == 0)
        order = fl_str_cmp(a->rec->cluster, b->rec->cluster);
    return order ? order : fl_str_cmp(a->rec->id, b->rec->id);
}

int fl_held_order(const struct fl_task *a, const struct fl_task *b)
{
    if (a->rec->createdAt != b->rec->createdAt)
        return a->rec->createdAt < b->rec->createdAt ? -1 : 1;
    return fl_str_cmp(a->rec->id, b->rec->id);
}

int fl_stop_order(const struct fl_task *a, const struct fl_task *b)
{
    if (a->rec->stoppedAt != b->rec->stoppedAt)
        return a->rec->stoppedAt < b->rec->stoppedAt ? -1 : 1;
    return fl_str_cmp(a->rec->id, b->rec->id);
}

int fl_token_order(const struct fl_task *a, const struct fl_task *b)
{
    int order = fl_str_cmp(a->rec->clientToken, b->rec->clientToken);
    if (order == 0)
        order = fl_str_cmp(a->rec->cluster, b->rec->cluster);
    return order ? order : fl_str_cmp(a->rec->id, b->rec->id);
}

RB_GENERATE(fl_held_tree, fl_task, on_instance, fl_held_order)
RB_GENERATE(fl_token_tree, fl_task, by_token, fl_token_order)
RB_GENERATE(fl_stopped_tree, fl_task, by_stop, fl_stop_order)
RB_GENERATE(fl_cluster_tree, fl_cluster, by_name, fl_cluster_order)
RB_GENERATE(fl_definition_tree, fl_definition, by_name, fl_definition_order)
RB_GENERATE(fl_doomed_tree, fl_definition, by_deletion, fl_doomed_order)
RB_GENERATE(fl_family_tree, fl_family, by_name, fl_family_order)
RB_GENERATE(fl_setting_tree, fl_setting, by_key, fl_setting_order)
RB_GENERATE(fl_task_tree, fl_task, by_id, fl_task_order)
RB_GENERATE(fl_instance_tree, fl_instance, by_id, fl_instance_order)
RB_GENERATE(fl_retired_tree, fl_instance, by_retirement, fl_retired_order)
RB_GENERATE(fl_machine_tree, fl_instance, by_machine, fl_machine_order)

const struct fl_shape *fl_record_shape(enum fl_record_kind kind)
{
    static const struct fl_shape *const shapes[FL_RECORD_KINDS] = {
        [FL_RECORD_CLUSTER] = &rec_shape_Cluster,
        [FL_RECORD_INSTANCE] = &rec_shape_Instance,
        [FL_RECORD_DEFINITION] = &rec_shape_TaskDefinition,
        [FL_RECORD_FAMILY] = &rec_shape_Family,
        [FL_RECORD_SETTING] = &rec_shape_Setting,
        [FL_RECORD_SERVICE] = &rec_shape_Service,
        [FL_RECORD_EVENT] = &rec_shape_ServiceEvent,
        [FL_RECORD_ROLLOUT] = &rec_shape_ServiceDeployment,
        [FL_RECORD_REVISION] = &rec_shape_ServiceRevision,
        [FL_RECORD_TASK] = &rec_shape_Task,
    };
    return shapes[kind];
}

/* "<kind>/<cluster>/<id>": made for every record that is put. */
static struct fl_str key_in_cluster(struct fl_arena *arena, char kind, struct fl_str cluster,
                                    struct fl_str id)
{
    size_t n = 2 + cluster.n + 1 + id.n;
    char *key = fl_arena_alloc(arena, n + 1);
    key[0] = kind;
    key[1] = '/';
    memcpy(key + 2, cluster.p, cluster.n);
    key[2 + cluster.n] = '/';
    memcpy(key + 3 + cluster.n, id.p, id.n);
    return (struct fl_str){key, n};
}

struct fl_str fl_record_key(struct fl_arena *arena, enum fl_record_kind kind, const void *rec)
{
    const struct rec_Cluster *cluster = rec;
    const struct rec_Instance *instance = rec;
    const struct rec_TaskDefinition *definition = rec;
    const struct rec_Family *family = rec;
    const struct rec_Setting *setting = rec;
    const struct rec_Service *service = rec;
    const struct rec_ServiceEvent *event = rec;
    const struct rec_ServiceDeployment *rollout = rec;
    const struct rec_ServiceRevision *revision = rec;
    const struct rec_Task *task = rec;
    switch (kind) {
    case FL_RECORD_CLUSTER:
        return fl_str_printf(arena, "c/%.*s", FL_STR_ARG(cluster->name));
    case FL_RECORD_INSTANCE:
        return key_in_cluster(arena, 'i', instance->cluster, instance->id);
    case FL_RECORD_DEFINITION:
        return fl_str_printf(arena, "d/%.*s/%010d", FL_STR_ARG(definition->definition->family),
                             definition->definition->revision);
    case FL_RECORD_FAMILY:
        return fl_str_printf(arena, "f/%.*s", FL_STR_ARG(family->family));
    case FL_RECORD_SETTING:
        return fl_str_printf(arena, "s/%s/%.*s",
                             fl_enum_text(&ecs_enum_SettingName, (int)setting->name),
                             FL_STR_ARG(setting->principalArn));
    case FL_RECORD_SERVICE:
        return key_in_cluster(arena, 'm', service->cluster, service->name);
    case FL_RECORD_EVENT:
        return fl_str_printf(arena, "n/%.*s/%.*s/%010d", FL_STR_ARG(event->cluster),
                             FL_STR_ARG(event->service), event->sequence);
    case FL_RECORD_ROLLOUT:
        return fl_str_printf(arena, "o/%.*s/%.*s/%.*s", FL_STR_ARG(rollout->cluster),
                             FL_STR_ARG(rollout->service), FL_STR_ARG(rollout->id));
    case FL_RECORD_REVISION:
        return fl_str_printf(arena, "r/%.*s/%.*s/%019lld", FL_STR_ARG(revision->cluster),
                             FL_STR_ARG(revision->service), (long long)revision->number);
    case FL_RECORD_TASK:
        if (task->v < FL_RECORD_TASK_VERSION)
            return fl_str_printf(arena, "t/%.*s/%.*s", FL_STR_ARG(task->cluster),
                                 FL_STR_ARG(task->id));
        return fl_str_printf(arena, "t/%015lld/%.*s/%.*s", (long long)task->createdAt,
                             FL_STR_ARG(task->cluster), FL_STR_ARG(task->id));
    case FL_RECORD_KINDS:
        break;
    }
    FL_ASSERT(!"a kind of record");
    return FL_STR("");
}

struct fl_cluster *fl_state_cluster(const struct fl_core *core, struct fl_str name)
{
    struct rec_Cluster rec = {.name = name};
    struct fl_cluster probe = {.rec = &rec};
    return RB_FIND(fl_cluster_tree, (struct fl_cluster_tree *)&core->clusters, &probe);
}

struct fl_task *fl_state_task(const struct fl_cluster *cluster, struct fl_str id)
{
    struct rec_Task rec = {.id = id};
    struct fl_task probe = {.id_start = fl_id_start(id), .rec = &rec};
    return RB_FIND(fl_task_tree, (struct fl_task_tree *)&cluster->tasks, &probe);
}

struct fl_task *fl_state_token(const struct fl_core *core, struct fl_str cluster,
                               struct fl_str token)
{
    struct rec_Task rec = {.cluster = cluster, .clientToken = token};
    struct fl_task probe = {.rec = &rec};
    struct fl_task *task = RB_NFIND(fl_token_tree, (struct fl_token_tree *)&core->tokens, &probe);
    bool is_it =
        task && fl_str_eq(task->rec->clientToken, token) && fl_str_eq(task->rec->cluster, cluster);
    return is_it ? task : NULL;
}

struct fl_instance *fl_state_instance(const struct fl_cluster *cluster, struct fl_str id)
{
    struct rec_Instance rec = {.id = id};
    struct fl_instance probe = {.rec = &rec};
    return RB_FIND(fl_instance_tree, (struct fl_instance_tree *)&cluster->instances, &probe);
}

struct fl_instance *fl_state_machine(const struct fl_core *core, struct fl_str machine)
{
    struct rec_Instance rec = {.ec2InstanceId = machine, .registeredAt = INT64_MIN};
    struct fl_instance probe = {.rec = &rec};
    return RB_NFIND(fl_machine_tree, (struct fl_machine_tree *)&core->machines, &probe);
}

struct fl_definition *fl_state_definition(const struct fl_core *core, struct fl_str family,
                                          int32_t revision)
{
    struct fl_definition probe = {.family = family, .revision = revision};
    return RB_FIND(fl_definition_tree, (struct fl_definition_tree *)&core->definitions, &probe);
}

struct fl_definition *fl_state_latest(const struct fl_core *core, struct fl_str family)
{
    struct fl_definition_tree *tree = (struct fl_definition_tree *)&core->definitions;
    struct fl_definition probe = {.family = family, .revision = INT32_MAX};
    struct fl_definition *beyond = RB_NFIND(fl_definition_tree, tree, &probe);
    struct fl_definition *last =
        beyond ? RB_PREV(fl_definition_tree, tree, beyond) : RB_MAX(fl_definition_tree, tree);
    return last && fl_str_eq(last->family, family) ? last : NULL;
}

static struct fl_family *find_family(const struct fl_core *core, struct fl_str family)
{
    struct rec_Family rec = {.family = family};
    struct fl_family probe = {.rec = &rec};
    return RB_FIND(fl_family_tree, (struct fl_family_tree *)&core->families, &probe);
}

int32_t fl_state_last_revision(const struct fl_core *core, struct fl_str family)
{
    const struct fl_definition *latest = fl_state_latest(core, family);
    const struct fl_family *deleted = find_family(core, family);
    return FL_MAX(latest ? latest->revision : 0, deleted ? deleted->rec->last : 0);
}

struct fl_setting *fl_state_setting(const struct fl_core *core, enum ecs_SettingName name,
                                    struct fl_str principal)
{
    struct rec_Setting rec = {.name = name, .principalArn = principal};
    struct fl_setting probe = {.rec = &rec};
    return RB_FIND(fl_setting_tree, (struct fl_setting_tree *)&core->settings, &probe);
}

struct fl_definition *fl_state_latest_active(const struct fl_core *core, struct fl_str family)
{
    struct fl_definition *at = fl_state_latest(core, family);
    while (at && fl_str_eq(at->family, family)) {
        if (at->rec->definition->status == ECS_TaskDefinitionStatus_ACTIVE)
            return at;
        at = RB_PREV(fl_definition_tree, &core->definitions, at);
    }
    return NULL;
}

/* A copy that stays where it is; owned by the caller. */
static struct fl_str keep(struct fl_str text)
{
    return (struct fl_str){fl_strndup(text.p ? text.p : "", text.n), text.n};
}

static void apply_cluster(struct fl_core *core, const struct rec_Cluster *rec)
{
    struct fl_cluster *cluster = fl_state_cluster(core, rec->name);
    struct rec_Cluster *clone = fl_shape_clone(&rec_shape_Cluster, rec);
    if (cluster) {
        free(cluster->rec);
        cluster->rec = clone;
        return;
    }
    cluster = fl_calloc(1, sizeof(*cluster));
    cluster->rec = clone;
    cluster->name = keep(clone->name);
    RB_INIT(&cluster->tasks);
    RB_INIT(&cluster->instances);
    RB_INIT(&cluster->groups);
    RB_INIT(&cluster->parts);
    RB_INIT(&cluster->digests);
    RB_INIT(&cluster->attributes);
    RB_INIT(&cluster->services);
    TAILQ_INIT(&cluster->waiting);
    TAILQ_INIT(&cluster->daemons);
    cluster->index = fl_index_new();
    (void)RB_INSERT(fl_cluster_tree, &core->clusters, cluster);
    core->counts.clusters++;
}

static bool is_registered(const struct rec_Instance *rec)
{
    return !fl_str_is(rec->status, "INACTIVE");
}

bool fl_state_is_impaired(const struct fl_instance *instance, struct fl_str *ret_reason)
{
    const struct ecs_InstanceHealthCheckResult_list *health = &instance->rec->health;
    for (size_t i = 0; i < health->n; i++) {
        if (health->items[i].type != ECS_InstanceHealthCheckType_CONTAINER_RUNTIME ||
            health->items[i].status != ECS_InstanceHealthCheckState_IMPAIRED)
            continue;
        *ret_reason = health->items[i].statusReason;
        return true;
    }
    return false;
}

static void open_or_close(struct fl_instance *instance)
{
    struct fl_str reason;
    instance->is_open =
        instance->connected && !fl_state_is_impaired(instance, &reason) &&
        FL_BUG(41, is_registered(instance->rec), fl_str_is(instance->rec->status, "ACTIVE"));
}

/* The tree of retired instances holds exactly those that may be forgotten one day. */
static void set_retired(struct fl_core *core, struct fl_instance *instance)
{
    bool is_retired = !is_registered(instance->rec) && instance->task_count == 0;
    if (is_retired == instance->is_retired)
        return;
    instance->is_retired = is_retired;
    if (is_retired)
        (void)RB_INSERT(fl_retired_tree, &core->retired, instance);
    else
        (void)RB_REMOVE(fl_retired_tree, &core->retired, instance);
}

/* What is INACTIVE has no seat, and no session. */
static void give_seat(struct fl_cluster *cluster, struct fl_instance *instance, bool is_new)
{
    if (is_registered(instance->rec)) {
        if (is_new)
            fl_index_add(cluster->index, instance);
        else
            fl_index_alter(cluster->index, instance);
        return;
    }
    if (is_new)
        instance->seat = FL_NO_SEAT;
    else
        fl_index_remove(cluster->index, instance);
    instance->connected = false;
    instance->session = 0;
}

void fl_state_trust(struct fl_core *core, struct fl_instance *instance)
{
    if (instance->is_doubted)
        TAILQ_REMOVE(&core->doubted, instance, by_doubt);
    instance->is_doubted = false;
}

static void leave_machine(struct fl_core *core, struct fl_instance *instance)
{
    if (instance->has_machine)
        (void)RB_REMOVE(fl_machine_tree, &core->machines, instance);
    instance->has_machine = false;
}

static void join_machine(struct fl_core *core, struct fl_instance *instance)
{
    instance->has_machine = is_registered(instance->rec) && instance->rec->ec2InstanceId.n > 0;
    if (instance->has_machine)
        (void)RB_INSERT(fl_machine_tree, &core->machines, instance);
    else
        fl_state_trust(core, instance);
}

static void apply_instance(struct fl_core *core, const struct rec_Instance *rec)
{
    struct fl_cluster *cluster = fl_state_cluster(core, rec->cluster);
    FL_ASSERT(cluster);
    struct fl_instance *instance = fl_state_instance(cluster, rec->id);
    struct fl_attribute_set *attributes;
    struct rec_Instance *clone = fl_instance_record_keep(cluster, rec, &attributes);
    bool is_new = !instance;
    if (!is_new) {
        leave_machine(core, instance);
        cluster->active_instances -= is_registered(instance->rec);
        fl_load_remove_ports(instance, &instance->rec->ports);
        fl_instance_record_drop(cluster, FL_TAKE_PTR(instance->rec), instance->attributes);
        instance->rec = clone;
    } else {
        instance = fl_alloc_lines(sizeof(*instance));
        instance->rec = clone;
        instance->id = keep(clone->id);
        instance->cluster = cluster;
        fl_load_init(instance);
        RB_INIT(&instance->tasks);
        (void)RB_INSERT(fl_instance_tree, &cluster->instances, instance);
        core->counts.instances++;
    }
    instance->attributes = attributes;
    instance->cpu = clone->cpu;
    instance->memory = clone->memory;
    fl_load_add_ports(instance, &clone->ports);
    fl_gpu_settle(instance);
    give_seat(cluster, instance, is_new);
    open_or_close(instance);
    set_retired(core, instance);
    join_machine(core, instance);
    cluster->active_instances += is_registered(instance->rec);
    fl_services_wake_for(core, instance);
}

/* What is to be deleted goes when nothing names it any more. */
static void settle_definition(struct fl_core *core, struct fl_definition *definition)
{
    bool is_doomed = definition->users == 0 && definition->rec->definition->status ==
                                                   ECS_TaskDefinitionStatus_DELETE_IN_PROGRESS;
    if (is_doomed == definition->is_doomed)
        return;
    definition->is_doomed = is_doomed;
    if (is_doomed)
        (void)RB_INSERT(fl_doomed_tree, &core->doomed, definition);
    else
        (void)RB_REMOVE(fl_doomed_tree, &core->doomed, definition);
}

void fl_state_count_user(struct fl_core *core, struct fl_definition *definition, int sign)
{
    if (!definition)
        return;
    definition->users += (size_t)sign;
    settle_definition(core, definition);
}

static void apply_family(struct fl_core *core, const struct rec_Family *rec)
{
    struct fl_family *family = find_family(core, rec->family);
    struct rec_Family *clone = fl_shape_clone(&rec_shape_Family, rec);
    if (family) {
        free(family->rec);
        family->rec = clone;
        return;
    }
    family = fl_calloc(1, sizeof(*family));
    family->rec = clone;
    (void)RB_INSERT(fl_family_tree, &core->families, family);
}

static void apply_setting(struct fl_core *core, const struct rec_Setting *rec)
{
    struct fl_setting *setting = fl_state_setting(core, rec->name, rec->principalArn);
    struct rec_Setting *clone = fl_shape_clone(&rec_shape_Setting, rec);
    if (setting) {
        free(setting->rec);
        setting->rec = clone;
        return;
    }
    setting = fl_calloc(1, sizeof(*setting));
    setting->rec = clone;
    (void)RB_INSERT(fl_setting_tree, &core->settings, setting);
    core->setting_count++;
}

static void apply_definition(struct fl_core *core, const struct rec_TaskDefinition *rec)
{
    const struct ecs_TaskDefinition *def = rec->definition;
    struct fl_definition *definition = fl_state_definition(core, def->family, def->revision);
    struct rec_TaskDefinition *clone = fl_shape_clone(&rec_shape_TaskDefinition, rec);
    bool is_new = !definition;
    if (is_new) {
        definition = fl_calloc(1, sizeof(*definition));
        definition->family = keep(clone->definition->family);
        core->counts.definitions++;
    } else {
        FL_ASSERT(!definition->is_doomed);
        free(definition->rec);
    }
    definition->rec = clone;
    definition->revision = clone->definition->revision;
    if (is_new)
        (void)RB_INSERT(fl_definition_tree, &core->definitions, definition);
    settle_definition(core, definition);
}

/* Adds a task to, or takes it out of, the sums that its record implies. */
static void count_task(struct fl_task *task, int sign)
{
    struct fl_instance *instance = task->instance;
    bool is_running = task->rec->status == REC_TaskStatus_RUNNING;
    bool is_pending = task->rec->status < REC_TaskStatus_RUNNING;
    task->cluster->running_count += (size_t)(sign * is_running);
    task->cluster->pending_count += (size_t)(sign * is_pending);
    if (task->is_member)
        fl_deployment_count(task, sign);
    if (!instance)
        return;
    instance->running_count += (size_t)(sign * is_running);
    instance->pending_count += (size_t)(sign * is_pending);
    if (sign > 0)
        (void)RB_INSERT(fl_held_tree, &instance->tasks, task);
    else
        (void)RB_REMOVE(fl_held_tree, &instance->tasks, task);
    struct fl_share share = {
        .cpu = task->rec->cpu,
        .memory = task->rec->memory,
        .ports = &task->rec->ports,
        .group = task->group,
        .part = task->is_member && task->deployment ? task->deployment->part : NULL,
        .is_counted = task->rec->desired != REC_TaskStatus_STOPPED,
    };
    fl_load_change(instance, &share, sign);
    fl_gpu_change(instance, task->rec, sign);
    if (!FL_BUG(32, true, false))
        fl_index_touch(task->cluster->index, instance);
}

static void release_task(struct fl_task *task)
{
    if (!task->holds)
        return;
    count_task(task, -1);
    fl_group_release(task->cluster, task->group);
    task->group = NULL;
    task->holds = false;
}

/* A task that has no client token and is no service's needs no room in those trees. */
static struct fl_task *new_task(struct fl_core *core, struct fl_cluster *cluster,
                                struct rec_Task *rec)
{
    bool has_token = rec->clientToken.n > 0, is_member = FL_HAS(rec, rec_Task, deployment);
    struct fl_task *task =
        fl_calloc(1, has_token || is_member ? sizeof(*task) : offsetof(struct fl_task, by_token));
    task->id_start = fl_id_start(rec->id);
    task->rec = rec;
    task->cluster = cluster;
    (void)RB_INSERT(fl_task_tree, &cluster->tasks, task);
    task->is_member = is_member;
    if (is_member)
        task->deployment = fl_task_deployment_of(cluster, rec);
    else if (has_token)
        (void)RB_INSERT(fl_token_tree, &core->tokens, task);
    core->counts.tasks++;
    return task;
}

/* A record names another instance than the one that it replaces. */
static void move_task(struct fl_core *core, struct fl_instance *from, struct fl_instance *to)
{
    if (from == to)
        return;
    if (to) {
        to->task_count++;
        set_retired(core, to);
    }
    if (from) {
        from->task_count--;
        set_retired(core, from);
    }
}

/* What its service is allowed to launch. */
static void note_launch(const struct fl_core *core, const struct fl_task *task)
{
    struct fl_service *service =
        task->is_member ? fl_state_service(task->cluster, fl_service_of_group(task->rec->group))
                        : NULL;
    if (service)
        fl_service_note_launch(core, service, task->rec->createdAt);
}

/* The new record takes its shares before the old one gives its own back: they may be the same. */
static void apply_task(struct fl_core *core, const struct rec_Task *rec)
{
    struct fl_cluster *cluster = fl_state_cluster(core, rec->cluster);
    FL_ASSERT(cluster);
    bool holds = rec->status != REC_TaskStatus_STOPPED;
    struct fl_task *task = fl_state_task(cluster, rec->id);
    struct fl_definition *definition = fl_state_definition(core, rec->family, rec->revision);
    struct fl_instance *instance =
        FL_HAS(rec, rec_Task, instance) ? fl_state_instance(cluster, rec->instance) : NULL;
    struct fl_group *group = holds ? fl_group_use(cluster, rec->group) : NULL;
    struct fl_task_context context = {cluster, instance, definition, group};
    bool gives_room = task && task->holds &&
                      (!holds || (rec->desired == REC_TaskStatus_STOPPED &&
                                  task->rec->desired != REC_TaskStatus_STOPPED));
    struct rec_Task *kept = fl_task_record_keep(&context, rec);
    move_task(core, task ? task->instance : NULL, instance);
    if (task) {
        FL_ASSERT(task->rec->status <= kept->status && !task->is_stopped);
        release_task(task);
        if (task->is_member && FL_HAS(rec, rec_Task, lostAt))
            fl_deployment_leave(core, task);
        fl_task_record_drop(cluster, FL_TAKE_PTR(task->rec));
        task->rec = kept;
    } else {
        task = new_task(core, cluster, kept);
        fl_state_count_user(core, definition, 1);
        note_launch(core, task);
    }
    task->definition = definition;
    task->instance = instance;
    task->group = group;
    task->holds = holds;
    if (holds) {
        count_task(task, 1);
    } else if (!task->is_stopped) {
        task->is_stopped = true;
        (void)RB_INSERT(fl_stopped_tree, &core->stopped, task);
    }
    if (task->is_member && FL_BUG(70, NULL, task->deployment))
        fl_service_wake(core, task->deployment->service);
    else if (!holds)
        fl_service_wake_for_hook(core, cluster, rec->group);
    if (task->is_member && !holds)
        task->deployment = NULL; /* which may go before it does */
    if (task->is_member && !task->deployment)
        fl_daemons_wake_for(core, instance);
    if (gives_room)
        fl_cluster_room(core, cluster);
}

void fl_state_apply(struct fl_core *core, enum fl_record_kind kind, const void *rec)
{
    switch (kind) {
    case FL_RECORD_CLUSTER:
        apply_cluster(core, rec);
        return;
    case FL_RECORD_INSTANCE:
        apply_instance(core, rec);
        return;
    case FL_RECORD_DEFINITION:
        apply_definition(core, rec);
        return;
    case FL_RECORD_FAMILY:
        apply_family(core, rec);
        return;
    case FL_RECORD_SETTING:
        apply_setting(core, rec);
        return;
    case FL_RECORD_SERVICE:
        fl_apply_service(core, rec);
        return;
    case FL_RECORD_EVENT:
        fl_apply_event(core, rec);
        return;
    case FL_RECORD_ROLLOUT:
        fl_apply_rollout(core, rec);
        return;
    case FL_RECORD_REVISION:
        fl_apply_revision(core, rec);
        return;
    case FL_RECORD_TASK:
        apply_task(core, rec);
        return;
    case FL_RECORD_KINDS:
        break;
    }
    FL_ASSERT(!"a kind of record");
}

void fl_state_forget_task(struct fl_core *core, struct fl_task *task)
{
    release_task(task);
    if (task->is_stopped)
        (void)RB_REMOVE(fl_stopped_tree, &core->stopped, task);
    if (!task->is_member && task->rec->clientToken.n)
        (void)RB_REMOVE(fl_token_tree, &core->tokens, task);
    (void)RB_REMOVE(fl_task_tree, &task->cluster->tasks, task);
    core->counts.tasks--;
    fl_state_count_user(core, task->definition, -1);
    move_task(core, task->instance, NULL);
    fl_task_record_drop(task->cluster, task->rec);
    free(task);
}

static void free_definition(struct fl_core *core, struct fl_definition *definition)
{
    if (definition->is_doomed)
        (void)RB_REMOVE(fl_doomed_tree, &core->doomed, definition);
    (void)RB_REMOVE(fl_definition_tree, &core->definitions, definition);
    free(definition->rec);
    free((char *)definition->family.p);
    free(definition);
}

void fl_state_forget_definition(struct fl_core *core, struct fl_definition *definition)
{
    FL_ASSERT(definition->is_doomed);
    core->counts.definitions--;
    free_definition(core, definition);
}

void fl_state_forget_setting(struct fl_core *core, struct fl_setting *setting)
{
    (void)RB_REMOVE(fl_setting_tree, &core->settings, setting);
    core->setting_count--;
    free(setting->rec);
    free(setting);
}

static void free_instance(struct fl_instance *instance)
{
    fl_instance_record_drop(instance->cluster, instance->rec, instance->attributes);
    free((char *)instance->id.p);
    fl_load_free(instance);
    free(instance);
}

void fl_state_forget_instance(struct fl_core *core, struct fl_instance *instance)
{
    FL_ASSERT(instance->is_retired);
    (void)RB_REMOVE(fl_retired_tree, &core->retired, instance);
    (void)RB_REMOVE(fl_instance_tree, &instance->cluster->instances, instance);
    core->counts.instances--;
    free_instance(instance);
}

void fl_state_connect(struct fl_core *core, struct fl_instance *instance, bool connected,
                      uint64_t session, int64_t now_ms)
{
    instance->connected = connected;
    instance->session = session;
    instance->away_ms = connected ? 0 : now_ms;
    open_or_close(instance);
    if (!FL_BUG(34, true, false))
        fl_index_alter(instance->cluster->index, instance);
    fl_services_wake_for_session(core, instance);
}

static void free_cluster(struct fl_core *core, struct fl_cluster *cluster)
{
    struct fl_task *task, *next_task;
    struct fl_instance *instance, *next_instance;
    struct fl_service *service, *next_service;
    RB_FOREACH_SAFE (task, fl_task_tree, &cluster->tasks, next_task)
        fl_state_forget_task(core, task);
    RB_FOREACH_SAFE (service, fl_service_tree, &cluster->services, next_service)
        fl_state_forget_service(core, service);
    fl_zones_free(cluster);
    fl_index_free(cluster);
    RB_FOREACH_SAFE (instance, fl_instance_tree, &cluster->instances, next_instance) {
        if (instance->is_retired)
            (void)RB_REMOVE(fl_retired_tree, &core->retired, instance);
        leave_machine(core, instance);
        (void)RB_REMOVE(fl_instance_tree, &cluster->instances, instance);
        free_instance(instance);
    }
    (void)RB_REMOVE(fl_cluster_tree, &core->clusters, cluster);
    free(cluster->rec);
    free((char *)cluster->name.p);
    free(cluster);
}

void fl_state_free(struct fl_core *core)
{
    struct fl_cluster *cluster, *next_cluster;
    struct fl_definition *definition, *next_definition;
    struct fl_family *family, *next_family;
    struct fl_setting *setting, *next_setting;
    RB_FOREACH_SAFE (cluster, fl_cluster_tree, &core->clusters, next_cluster)
        free_cluster(core, cluster);
    RB_FOREACH_SAFE (definition, fl_definition_tree, &core->definitions, next_definition)
        free_definition(core, definition);
    RB_FOREACH_SAFE (family, fl_family_tree, &core->families, next_family) {
        (void)RB_REMOVE(fl_family_tree, &core->families, family);
        free(family->rec);
        free(family);
    }
    RB_FOREACH_SAFE (setting, fl_setting_tree, &core->settings, next_setting)
        fl_state_forget_setting(core, setting);
}
