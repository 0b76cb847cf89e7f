/* One step of the control plane: find the handler, decide, answer. */
#include "core/core.h"
#include "base/bug.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "core/decide.h"
#include "core/explain.h"
#include "core/former.h"
#include "core/hooks.h"
#include "core/scheduler.h"
#include "wire/arn.h"

/* A clock that goes back by less was not set back. */
enum { SET_BACK_MS = 1000 };
/* What is accepted keeps every record far below its bound; an answer, made of up to a hundred
 * objects that the caller names, may well ask for more than its own. */
enum { MAX_RECORD = 8 << 20, MAX_REPLY = 64 << 20, KEPT_SCRATCH = 1 << 20 };

struct fl_core *fl_core_new(const struct fl_core_config *config)
{
    struct fl_core *core = fl_calloc(1, sizeof(*core));
    core->region = fl_str_of(fl_strndup(config->region.p, config->region.n));
    core->account = fl_str_of(fl_strndup(config->account.p, config->account.n));
    core->endpoint = fl_str_of(fl_strndup(config->endpoint.p, config->endpoint.n));
    core->telemetry = fl_str_of(fl_strndup(config->telemetry.p, config->telemetry.n));
    core->strict = config->strict;
    core->settle_ms = config->settle_ms;
    core->lost_after_ms = config->lost_after_ms;
    RB_INIT(&core->due);
    RB_INIT(&core->clusters);
    RB_INIT(&core->definitions);
    RB_INIT(&core->doomed);
    RB_INIT(&core->families);
    RB_INIT(&core->settings);
    RB_INIT(&core->stopped);
    RB_INIT(&core->tokens);
    RB_INIT(&core->retired);
    RB_INIT(&core->machines);
    TAILQ_INIT(&core->doubted);
    return core;
}

void fl_core_free(struct fl_core *core)
{
    if (!core)
        return;
    fl_state_free(core);
    free((char *)core->region.p);
    free((char *)core->account.p);
    free((char *)core->endpoint.p);
    free((char *)core->telemetry.p);
    free(core);
}

static int kind_of_key(struct fl_str key)
{
    static const char first[FL_RECORD_KINDS] = {
        [FL_RECORD_CLUSTER] = 'c',  [FL_RECORD_INSTANCE] = 'i', [FL_RECORD_DEFINITION] = 'd',
        [FL_RECORD_FAMILY] = 'f',   [FL_RECORD_SETTING] = 's',  [FL_RECORD_TASK] = 't',
        [FL_RECORD_SERVICE] = 'm',  [FL_RECORD_EVENT] = 'n',    [FL_RECORD_ROLLOUT] = 'o',
        [FL_RECORD_REVISION] = 'r',
    };
    for (int kind = 0; kind < FL_RECORD_KINDS; kind++)
        if (key.n > 2 && key.p[0] == first[kind] && key.p[1] == '/')
            return kind;
    return -1;
}

static bool has_service(const struct fl_core *core, struct fl_str cluster_name, struct fl_str name)
{
    const struct fl_cluster *cluster = fl_state_cluster(core, cluster_name);
    return cluster && fl_state_service(cluster, name);
}

/* Does what a record refers to exist? Keys are loaded in order, so it came before. */
static bool refers_well(const struct fl_core *core, enum fl_record_kind kind, const void *rec)
{
    const struct rec_Instance *instance = rec;
    const struct rec_Service *service = rec;
    const struct rec_ServiceEvent *event = rec;
    const struct rec_ServiceDeployment *rollout = rec;
    const struct rec_ServiceRevision *revision = rec;
    const struct rec_Task *task = rec;
    const struct fl_cluster *cluster;
    switch (kind) {
    case FL_RECORD_CLUSTER:
    case FL_RECORD_DEFINITION:
    case FL_RECORD_FAMILY:
    case FL_RECORD_SETTING:
    case FL_RECORD_KINDS:
        return true;
    case FL_RECORD_INSTANCE:
        return fl_state_cluster(core, instance->cluster);
    case FL_RECORD_SERVICE:
        return fl_state_cluster(core, service->cluster);
    case FL_RECORD_EVENT:
        return has_service(core, event->cluster, event->service);
    case FL_RECORD_ROLLOUT:
        return has_service(core, rollout->cluster, rollout->service);
    case FL_RECORD_REVISION:
        return has_service(core, revision->cluster, revision->service) &&
               fl_state_definition(core, revision->family, revision->revision);
    case FL_RECORD_TASK:
        cluster = fl_state_cluster(core, task->cluster);
        return cluster && !fl_state_task(cluster, task->id) &&
               fl_state_definition(core, task->family, task->revision) &&
               (!FL_HAS(task, rec_Task, instance) || fl_state_instance(cluster, task->instance));
    }
    return false;
}

static int64_t newest_version(enum fl_record_kind kind)
{
    return kind == FL_RECORD_TASK ? FL_RECORD_TASK_VERSION : FL_RECORD_VERSION;
}

int fl_core_load(struct fl_core *core, struct fl_str key, struct fl_str value, struct fl_err *err)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    const struct fl_json *json = fl_json_read(value, arena, err);
    struct fl_shape_error shape_error;
    int kind = kind_of_key(key);
    if (kind < 0)
        return fl_err_set(err, -EINVAL, "record %.*s is of an unknown kind", FL_STR_ARG(key));
    if (!json)
        return -EINVAL;
    int64_t version = fl_json_int(fl_json_get(json, "v"));
    if (version < 1 || version > newest_version((enum fl_record_kind)kind))
        return fl_err_set(err, -EINVAL, "record %.*s has a version that this release cannot read",
                          FL_STR_ARG(key));
    void *rec = fl_arena_alloc(arena, fl_shape_size(fl_record_shape((enum fl_record_kind)kind)));
    if (fl_shape_decode(fl_record_shape((enum fl_record_kind)kind), json, arena, rec,
                        &shape_error) < 0)
        return fl_err_set(err, -EINVAL, "record %.*s: %s", FL_STR_ARG(key), shape_error.text);
    if (!fl_str_eq(key, fl_record_key(arena, (enum fl_record_kind)kind, rec)))
        return fl_err_set(err, -EINVAL, "record %.*s does not lie where this release keeps it",
                          FL_STR_ARG(key));
    if (!refers_well(core, (enum fl_record_kind)kind, rec))
        return fl_err_set(err, -EINVAL, "record %.*s refers to one that does not exist",
                          FL_STR_ARG(key));
    fl_state_apply(core, (enum fl_record_kind)kind, rec);
    return 0;
}

void fl_turn_init(struct fl_turn *turn)
{
    *turn = (struct fl_turn){.arena = fl_arena_new()};
}

void fl_turn_free(struct fl_turn *turn)
{
    fl_arena_free(turn->arena);
    free(turn->records);
    free(turn->effects);
    fl_buf_free(&turn->scratch);
    *turn = (struct fl_turn){0};
}

void fl_turn_clear(struct fl_turn *turn)
{
    fl_arena_reset(turn->arena);
    turn->record_count = turn->effect_count = 0;
    if (turn->scratch.cap > KEPT_SCRATCH)
        fl_buf_free(&turn->scratch);
}

static struct fl_record *add_record(struct fl_turn *turn)
{
    if (turn->record_count == turn->record_cap) {
        turn->record_cap = FL_MAX(turn->record_cap * 2, (size_t)8);
        turn->records = fl_realloc(turn->records, turn->record_cap * sizeof(*turn->records));
    }
    struct fl_record *record = &turn->records[turn->record_count++];
    *record = (struct fl_record){0};
    return record;
}

static struct fl_core_effect *add_effect(struct fl_turn *turn, enum fl_core_effect_kind kind)
{
    if (turn->effect_count == turn->effect_cap) {
        turn->effect_cap = FL_MAX(turn->effect_cap * 2, (size_t)8);
        turn->effects = fl_realloc(turn->effects, turn->effect_cap * sizeof(*turn->effects));
    }
    struct fl_core_effect *effect = &turn->effects[turn->effect_count++];
    *effect = (struct fl_core_effect){.kind = kind};
    return effect;
}

int fl_refuse(struct fl_decision *d, const char *code, const char *fmt, ...)
{
    char text[1024];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    FL_ASSERT(n >= 0);
    d->error_code = code;
    d->error_text =
        fl_str_dup(d->arena, (struct fl_str){text, FL_MIN((size_t)n, sizeof(text) - 1)});
    return -1;
}

/* False when the text would be longer than max. */
static bool encode(struct fl_decision *d, const struct fl_shape *shape, const void *object,
                   size_t max, struct fl_str *ret_text)
{
    struct fl_buf *buf = &d->turn->scratch;
    fl_buf_clear(buf);
    buf->max = max;
    fl_shape_encode(shape, object, buf);
    if (buf->overflow)
        return false;
    *ret_text = fl_str_dup(d->arena, fl_buf_str(buf));
    return true;
}

/* FNV-1a. */
struct fl_str fl_request_hash(struct fl_decision *d, const struct fl_shape *shape,
                              const void *request)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(16 << 20);
    uint64_t hash = 0xcbf29ce484222325u;
    fl_shape_encode(shape, request, &buf);
    for (size_t i = 0; i < buf.n; i++)
        hash = (hash ^ (uint8_t)buf.p[i]) * 0x100000001b3u;
    return fl_str_printf(d->arena, "%016llx", (unsigned long long)hash);
}

void fl_put(struct fl_decision *d, enum fl_record_kind kind, const void *rec)
{
    struct fl_record *record = add_record(d->turn);
    record->key = fl_record_key(d->arena, kind, rec);
    const struct fl_core_taker *taker = d->turn->taker;
    if (taker) {
        record->object = taker->record(taker->context, (int)kind, rec);
    } else {
        bool fits = encode(d, fl_record_shape(kind), rec, MAX_RECORD, &record->value);
        FL_ASSERT(fits);
    }
    fl_state_apply(d->core, kind, rec);
}

void fl_delete_record(struct fl_decision *d, enum fl_record_kind kind, const void *rec)
{
    struct fl_record *record = add_record(d->turn);
    record->key = fl_record_key(d->arena, kind, rec);
}

void fl_drop_task(struct fl_decision *d, struct fl_task *task)
{
    fl_delete_record(d, FL_RECORD_TASK, task->rec);
    d->turn->record_count -= FL_BUG(15, 1, 0);
    fl_state_forget_task(d->core, task);
}

/* The family's record comes first: there is no moment at which its last number is unknown. */
void fl_drop_definition(struct fl_decision *d, struct fl_definition *definition)
{
    struct rec_Family family = {0};
    FL_SET(&family, rec_Family, v, FL_RECORD_VERSION);
    FL_SET(&family, rec_Family, family, definition->family);
    FL_SET(&family, rec_Family, last, fl_state_last_revision(d->core, definition->family));
    fl_put(d, FL_RECORD_FAMILY, &family);
    fl_delete_record(d, FL_RECORD_DEFINITION, definition->rec);
    fl_state_forget_definition(d->core, definition);
}

void fl_drop_setting(struct fl_decision *d, struct fl_setting *setting)
{
    fl_delete_record(d, FL_RECORD_SETTING, setting->rec);
    fl_state_forget_setting(d->core, setting);
}

void fl_drop_instance(struct fl_decision *d, struct fl_instance *instance)
{
    fl_delete_record(d, FL_RECORD_INSTANCE, instance->rec);
    fl_state_forget_instance(d->core, instance);
}

void fl_send_tasks(struct fl_decision *d, const struct fl_instance *instance,
                   enum fl_core_effect_kind kind, const struct fl_acs_task *tasks, size_t count,
                   struct fl_str message_id)
{
    struct fl_core_effect *effect = add_effect(d->turn, kind);
    effect->cluster = fl_str_dup(d->arena, instance->cluster->rec->name);
    effect->instance = fl_str_dup(d->arena, instance->rec->id);
    effect->tasks = tasks;
    effect->task_count = count;
    effect->message_id = message_id;
}

void fl_close_agent(struct fl_decision *d, const struct fl_instance *instance)
{
    struct fl_core_effect *effect = add_effect(d->turn, FL_CORE_EFFECT_AGENT_CLOSE);
    effect->cluster = fl_str_dup(d->arena, instance->cluster->rec->name);
    effect->instance = fl_str_dup(d->arena, instance->rec->id);
}

void fl_send_task(struct fl_decision *d, const struct fl_task *task)
{
    if (!task->instance || !task->instance->connected)
        return;
    struct fl_core_effect *effect = add_effect(d->turn, FL_CORE_EFFECT_AGENT_TASK);
    effect->cluster = fl_str_dup(d->arena, task->cluster->rec->name);
    effect->instance = fl_str_dup(d->arena, task->instance->rec->id);
    fl_task_object(d, task, effect);
}

struct fl_str fl_cut(struct fl_str s, size_t max)
{
    if (s.n <= max)
        return s;
    while (max > 0 && ((unsigned char)s.p[max] & 0xc0) == 0x80)
        max--;
    return fl_str_sub(s, 0, max);
}

struct fl_str fl_new_id(struct fl_decision *d)
{
    uint64_t words[2] = {fl_rand_u64(&d->rand), fl_rand_u64(&d->rand)};
    char *text = fl_arena_alloc(d->arena, 33);
    fl_hex(words, sizeof(words), text);
    return fl_str_of(text);
}

struct fl_str fl_new_uuid(struct fl_decision *d)
{
    struct fl_str hex = fl_new_id(d);
    char *h = (char *)hex.p;
    h[12] = '4';
    h[16] = "89ab"[(h[16] - '0') & 3];
    return fl_str_printf(d->arena, "%.8s-%.4s-%.4s-%.4s-%.12s", h, h + 8, h + 12, h + 16, h + 20);
}

struct fl_str fl_id_of(struct fl_str text)
{
    return fl_arn_last(text);
}

int fl_read_name(struct fl_decision *d, struct fl_str text, const char *type,
                 struct fl_str *ret_name)
{
    struct fl_arn arn;
    *ret_name = fl_id_of(text);
    if (!fl_str_starts(text, FL_STR("arn:")))
        return 0;
    if (!fl_arn_parse(text, &arn) || !fl_str_is(arn.service, "ecs") || !fl_str_is(arn.type, type))
        return fl_refuse(d, "InvalidParameterException",
                         "Invalid identifier: '%.*s' is not the ARN of a %s.",
                         (int)FL_MIN(text.n, (size_t)300), text.p, type);
    if (!fl_str_eq(arn.account, d->core->account))
        return fl_refuse(d, "InvalidParameterException",
                         "Invalid identifier: Identifier is for %.*s. Your accountId is %.*s",
                         (int)FL_MIN(arn.account.n, (size_t)20), arn.account.p,
                         FL_STR_ARG(d->core->account));
    if (!fl_str_eq(arn.region, d->core->region))
        return fl_refuse(d, "InvalidParameterException",
                         "Invalid identifier: Identifier is for %.*s. Your region is %.*s",
                         (int)FL_MIN(arn.region.n, (size_t)30), arn.region.p,
                         FL_STR_ARG(d->core->region));
    return 0;
}

struct fl_cluster *fl_find_cluster(struct fl_decision *d, struct fl_str name)
{
    struct fl_str id = FL_STR("default");
    if (name.n && fl_read_name(d, name, "cluster", &id) < 0)
        return NULL;
    struct fl_cluster *cluster = fl_state_cluster(d->core, id);
    if (!cluster || fl_str_is(cluster->rec->status, "INACTIVE")) {
        (void)fl_refuse(d, "ClusterNotFoundException", "Cluster not found.");
        return NULL;
    }
    return cluster;
}

struct fl_str fl_cluster_arn(struct fl_decision *d, struct fl_str name)
{
    return fl_arn_ecs(d->arena, d->core->region, d->core->account, "cluster", name);
}

/* "a/b" */
static struct fl_str path(struct fl_arena *arena, struct fl_str a, struct fl_str b)
{
    char *text = fl_arena_alloc(arena, a.n + b.n + 2);
    if (a.n)
        memcpy(text, a.p, a.n);
    text[a.n] = '/';
    if (b.n)
        memcpy(text + a.n + 1, b.p, b.n);
    return (struct fl_str){text, a.n + 1 + b.n};
}

static struct fl_str arn_below(struct fl_decision *d, const char *type, struct fl_str cluster,
                               struct fl_str id)
{
    return fl_arn_ecs(d->arena, d->core->region, d->core->account, type,
                      path(d->arena, cluster, id));
}

struct fl_str fl_instance_arn(struct fl_decision *d, const struct rec_Instance *rec)
{
    return arn_below(d, "container-instance", rec->cluster, rec->id);
}

struct fl_str fl_task_arn(struct fl_decision *d, const struct rec_Task *rec)
{
    return arn_below(d, "task", rec->cluster, rec->id);
}

struct fl_str fl_container_arn(struct fl_decision *d, const struct rec_Task *task,
                               const struct rec_TaskContainer *container)
{
    return arn_below(d, "container", task->cluster, path(d->arena, task->id, container->id));
}

static fl_handler handler_of(int operation)
{
    static const struct {
        int operation;
        fl_handler handler;
    } handlers[] = {
        {ECS_OP_CreateCluster, fl_create_cluster},
        {ECS_OP_DescribeClusters, fl_describe_clusters},
        {ECS_OP_ListClusters, fl_list_clusters},
        {ECS_OP_UpdateCluster, fl_update_cluster},
        {ECS_OP_UpdateClusterSettings, fl_update_cluster_settings},
        {ECS_OP_DeleteCluster, fl_delete_cluster},
        {ECS_OP_ListTaskDefinitionFamilies, fl_list_families},
        {ECS_OP_DeleteTaskDefinitions, fl_delete_definitions},
        {ECS_OP_TagResource, fl_tag_resource},
        {ECS_OP_UntagResource, fl_untag_resource},
        {ECS_OP_ListTagsForResource, fl_list_tags},
        {ECS_OP_PutAccountSetting, fl_put_setting},
        {ECS_OP_PutAccountSettingDefault, fl_put_default_setting},
        {ECS_OP_DeleteAccountSetting, fl_delete_setting},
        {ECS_OP_ListAccountSettings, fl_list_settings},
        {ECS_OP_RegisterTaskDefinition, fl_register_definition},
        {ECS_OP_DescribeTaskDefinition, fl_describe_definition},
        {ECS_OP_ListTaskDefinitions, fl_list_definitions},
        {ECS_OP_DeregisterTaskDefinition, fl_deregister_definition},
        {ECS_OP_RunTask, fl_run_task},
        {ECS_OP_StartTask, fl_start_task},
        {ECS_OP_StopTask, fl_stop_task},
        {ECS_OP_DescribeTasks, fl_describe_tasks},
        {ECS_OP_ListTasks, fl_list_tasks},
        {ECS_OP_CreateService, fl_create_service},
        {ECS_OP_UpdateService, fl_update_service},
        {ECS_OP_DeleteService, fl_delete_service},
        {ECS_OP_DescribeServices, fl_describe_services},
        {ECS_OP_ContinueServiceDeployment, fl_continue_rollout},
        {ECS_OP_StopServiceDeployment, fl_stop_service_deployment},
        {ECS_OP_ListServices, fl_list_services},
        {ECS_OP_ListServicesByNamespace, fl_list_services_by_namespace},
        {ECS_OP_ListServiceDeployments, fl_list_rollouts},
        {ECS_OP_DescribeServiceDeployments, fl_describe_rollouts},
        {ECS_OP_DescribeServiceRevisions, fl_describe_revisions},
        {ECS_OP_GetTaskProtection, fl_get_protection},
        {ECS_OP_UpdateTaskProtection, fl_update_protection},
        {ECS_OP_CreateTaskSet, fl_create_task_set},
        {ECS_OP_UpdateTaskSet, fl_update_task_set},
        {ECS_OP_UpdateServicePrimaryTaskSet, fl_set_primary_task_set},
        {ECS_OP_DeleteTaskSet, fl_delete_task_set},
        {ECS_OP_DescribeTaskSets, fl_describe_task_sets},
        {ECS_OP_RegisterContainerInstance, fl_register_instance},
        {ECS_OP_DescribeContainerInstances, fl_describe_instances},
        {ECS_OP_ListContainerInstances, fl_list_instances},
        {ECS_OP_DeregisterContainerInstance, fl_deregister_instance},
        {ECS_OP_UpdateContainerInstancesState, fl_update_instances_state},
        {ECS_OP_UpdateContainerAgent, fl_update_agent},
        {ECS_OP_PutAttributes, fl_put_attributes},
        {ECS_OP_DeleteAttributes, fl_delete_attributes},
        {ECS_OP_ListAttributes, fl_list_attributes},
        {ECS_OP_DiscoverPollEndpoint, fl_discover_poll_endpoint},
        {ECS_OP_SubmitTaskStateChange, fl_submit_task_state},
        {ECS_OP_SubmitContainerStateChange, fl_submit_container_state},
        {ECS_OP_SubmitAttachmentStateChanges, fl_submit_attachment_states},
    };
    for (size_t i = 0; i < FL_ARRAY_SIZE(handlers); i++)
        if (handlers[i].operation == operation)
            return handlers[i].handler;
    return NULL;
}

/* {"__type":"<code>","message":"<text>"…}, AWS JSON's error body. */
static struct fl_str error_body(struct fl_decision *d)
{
    FL_CLEANUP_BUF struct fl_buf buf = FL_BUF_INIT(MAX_REPLY);
    struct fl_json_writer jw = {.buf = &buf};
    fl_jw_object_begin(&jw);
    fl_jw_member_str(&jw, "__type", fl_str_of(d->error_code));
    fl_jw_member_str(&jw, "message", d->error_text);
    if (d->error_ids.n) {
        fl_jw_key(&jw, "resourceIds");
        fl_jw_array_begin(&jw);
        for (size_t i = 0; i < d->error_ids.n; i++)
            fl_jw_str(&jw, d->error_ids.items[i]);
        fl_jw_array_end(&jw);
    }
    fl_jw_object_end(&jw);
    return fl_str_dup(d->arena, fl_buf_str(&buf));
}

static struct fl_core_effect *answer(struct fl_decision *d, uint64_t request_id, int rc,
                                     struct fl_str body)
{
    struct fl_core_effect *reply = add_effect(d->turn, FL_CORE_EFFECT_REPLY);
    reply->request_id = request_id;
    reply->status = rc == 0 ? 200 : 400;
    reply->body = rc == 0 ? body : error_body(d);
    return reply;
}

static void explain(struct fl_decision *d, const struct fl_core_event *event)
{
    struct fl_str body = FL_STR("{}");
    int rc = fl_explain(d, event, &body);
    (void)answer(d, event->request_id, rc, body);
}

static void command(struct fl_decision *d, const struct fl_core_event *event)
{
    const struct fl_operation *operation = &ecs_service.operations[event->operation];
    fl_handler handler = handler_of(event->operation);
    const struct fl_core_taker *taker = d->turn->taker;
    struct fl_str body = FL_STR("{}");
    void *output = NULL;
    int rc;
    if (!handler) {
        rc = fl_refuse(d, "ClientException", "%s is not implemented yet.", operation->name);
    } else {
        size_t records_before = d->turn->record_count;
        output = fl_arena_alloc(d->arena, fl_shape_size(operation->output));
        rc = handler(d, event->input, output);
        FL_ASSERT(rc == 0 || d->turn->record_count == records_before);
        if (rc == 0 && !taker && !encode(d, operation->output, output, MAX_REPLY, &body))
            rc = fl_refuse(d, "ClientException",
                           "The answer would be longer than %d bytes: ask for less at a time.",
                           MAX_REPLY);
    }
    struct fl_core_effect *reply = answer(d, event->request_id, rc, body);
    if (rc == 0 && taker)
        reply->object = taker->answer(taker->context, event->operation, output);
}

static int64_t stopped_due(const struct fl_core *core)
{
    struct fl_task *first = RB_MIN(fl_stopped_tree, (struct fl_stopped_tree *)&core->stopped);
    return first ? first->rec->stoppedAt +
                       FL_BUG(13, FL_CORE_STOPPED_TASK_MS / 60, FL_CORE_STOPPED_TASK_MS)
                 : INT64_MAX;
}

static int64_t doomed_due(const struct fl_core *core)
{
    struct fl_definition *first = RB_MIN(fl_doomed_tree, (struct fl_doomed_tree *)&core->doomed);
    return first ? first->rec->definition->deleteRequestedAt + FL_CORE_DELETED_DEFINITION_MS
                 : INT64_MAX;
}

static int64_t retired_due(const struct fl_core *core)
{
    struct fl_instance *first = RB_MIN(fl_retired_tree, (struct fl_retired_tree *)&core->retired);
    return first ? first->rec->deregisteredAt + FL_CORE_INACTIVE_INSTANCE_MS : INT64_MAX;
}

/* Tasks first: with the last one that named it a definition or an instance goes, too. */
static void expire(struct fl_decision *d)
{
    enum { AT_ONCE = 1000 };
    fl_former_judge(d);
    for (int i = 0; i < AT_ONCE; i++) {
        if (stopped_due(d->core) <= d->now_ms)
            fl_drop_task(d, RB_MIN(fl_stopped_tree, &d->core->stopped));
        else if (retired_due(d->core) <= d->now_ms)
            fl_drop_instance(d, RB_MIN(fl_retired_tree, &d->core->retired));
        else if (doomed_due(d->core) <= d->now_ms)
            fl_drop_definition(d, RB_MIN(fl_doomed_tree, &d->core->doomed));
        else
            return;
    }
}

/* After the clock was set back nothing that is waited for is as far away as it seems. */
static void note_time(struct fl_core *core, int64_t now_ms)
{
    if (core->since_ms == 0 || now_ms < core->since_ms)
        core->since_ms = now_ms;
    if (now_ms < core->last_ms - SET_BACK_MS)
        fl_services_wake(core);
    core->last_ms = now_ms;
}

void fl_core_step(struct fl_core *core, const struct fl_core_event *event, struct fl_turn *turn)
{
    struct fl_decision d = {
        .core = core,
        .turn = turn,
        .arena = turn->arena,
        .now_ms = event->now_ms,
        .input_size = event->input_size,
        .reached_at = event->reached_at,
    };
    fl_rand_seed(&d.rand, event->seed);
    note_time(core, event->now_ms);
    switch (event->kind) {
    case FL_CORE_EVENT_COMMAND:
        command(&d, event);
        return;
    case FL_CORE_EVENT_AGENT_CONNECTED:
        fl_agent_connected(&d, event);
        return;
    case FL_CORE_EVENT_AGENT_DISCONNECTED:
        fl_agent_disconnected(&d, event);
        return;
    case FL_CORE_EVENT_STOP_VERIFICATION:
        fl_verify_stops(&d, event);
        return;
    case FL_CORE_EVENT_HEALTH:
        fl_take_health(&d, event);
        return;
    case FL_CORE_EVENT_INSTANCE_HEALTH:
        fl_take_instance_health(&d, event);
        return;
    case FL_CORE_EVENT_TIMER:
        expire(&d);
        fl_scheduler_run(&d);
        return;
    case FL_CORE_EVENT_EXPLAIN:
        explain(&d, event);
        return;
    case FL_CORE_EVENT_HOLD:
        core->is_held = event->is_held;
        (void)answer(&d, event->request_id, 0, FL_STR("{}"));
        return;
    }
    FL_ASSERT(!"a kind of event");
}

int64_t fl_core_next_due(const struct fl_core *core)
{
    int64_t records_ms = FL_MIN(stopped_due(core), FL_MIN(doomed_due(core), retired_due(core)));
    return FL_MIN(records_ms, FL_MIN(fl_former_due(core), fl_scheduler_due(core)));
}

struct fl_core_counts fl_core_count(const struct fl_core *core)
{
    return core->counts;
}

/* What services' next tasks are to run, and what they would be rolled back to. */
static void each_pinned(const struct fl_cluster *cluster,
                        void (*each)(void *context, struct fl_str image), void *context)
{
    struct fl_service *service;
    struct fl_revision *revision;
    RB_FOREACH (service, fl_service_tree, (struct fl_service_tree *)&cluster->services)
        RB_FOREACH (revision, fl_revision_tree, &service->revisions)
            if (revision->rec->number == service->rec->lastCompleted ||
                fl_service_deployment(service, revision->rec->number))
                for (size_t i = 0; i < revision->rec->images.n; i++)
                    each(context, revision->rec->images.items[i].digest);
}

void fl_core_each_image(const struct fl_core *core,
                        void (*each)(void *context, struct fl_str image), void *context)
{
    struct fl_core *c = (struct fl_core *)core; /* the trees' macros know no const */
    struct fl_cluster *cluster;
    struct fl_definition *definition;
    RB_FOREACH (cluster, fl_cluster_tree, &c->clusters) {
        fl_digest_each(cluster, each, context);
        each_pinned(cluster, each, context);
    }
    RB_FOREACH (definition, fl_definition_tree, &c->definitions) {
        const struct ecs_TaskDefinition *d = definition->rec->definition;
        for (size_t i = 0; i < d->containerDefinitions.n; i++)
            each(context, d->containerDefinitions.items[i].image);
    }
}
