/* Tags: TagResource, UntagResource, ListTagsForResource on clusters, task definitions, tasks,
 * services, task sets and container instances, and the rules that tags given with any other call
 * must keep, too. */
#include "core/decide.h"
#include "core/service.h"
#include "core/task_sets.h"
#include "wire/arn.h"

/* Tags of AWS's own ("aws:…") do not count. */
enum { MAX_TAGS = 50 };

/* What carries the tags: a list in a record of some kind. The copy of the record is put back. */
struct tagged {
    enum fl_record_kind kind;
    union {
        struct rec_Cluster cluster;
        struct rec_Instance instance;
        struct rec_TaskDefinition definition;
        struct rec_Task task;
        struct rec_Service service;
    } rec;
    const struct fl_service *service; /* of a task set, whose entry in the record has the tags */
    int64_t set;                      /* its number; 0: it is no task set */
    struct ecs_Tag_list tags;
    const char *missing; /* the error for a resource that does not exist */
};

static bool is_reserved(struct fl_str key)
{
    return fl_str_case_eq(fl_str_sub(key, 0, 4), FL_STR("aws:"));
}

static ptrdiff_t find_key(const struct ecs_Tag_list *tags, size_t n, struct fl_str key)
{
    for (size_t i = 0; i < n; i++)
        if (fl_str_eq(tags->items[i].key, key))
            return (ptrdiff_t)i;
    return -1;
}

int fl_check_tags(struct fl_decision *d, const struct ecs_Tag_list *tags, const char *code)
{
    if (tags->n > MAX_TAGS)
        return fl_refuse(d, code, "At most %d tags are allowed.", MAX_TAGS);
    for (size_t i = 0; i < tags->n; i++) {
        struct fl_str key = tags->items[i].key;
        if (key.n == 0)
            return fl_refuse(d, code, "A tag's key should not be null or empty.");
        if (is_reserved(key))
            return fl_refuse(d, code,
                             "The tag key '%.*s' is not valid: keys that begin with 'aws:' are "
                             "reserved.",
                             FL_STR_ARG(key));
        if (find_key(tags, i, key) >= 0)
            return fl_refuse(d, code, "The tag key '%.*s' is given twice.", FL_STR_ARG(key));
    }
    return 0;
}

static int not_found(struct fl_decision *d, const struct tagged *t, struct fl_str text)
{
    return fl_refuse(d, t->missing, "The resource '%.*s' was not found.",
                     (int)FL_MIN(text.n, (size_t)300), text.p);
}

static int cannot_be_named(struct fl_decision *d, struct fl_str text)
{
    return fl_refuse(d, "InvalidParameterException",
                     "Invalid identifier: '%.*s' is not the ARN of a resource that has tags.",
                     (int)FL_MIN(text.n, (size_t)300), text.p);
}

/* The cluster that "<cluster>/<id>" names. */
static struct fl_cluster *cluster_of(struct fl_decision *d, struct fl_str rest)
{
    ptrdiff_t slash = fl_str_index(rest, '/');
    if (slash < 0)
        (void)fl_refuse(d, "InvalidParameterException",
                        "Long arn format must be used for tagging operations");
    return slash < 0 ? NULL : fl_find_cluster(d, fl_str_sub(rest, 0, (size_t)slash));
}

static int find_cluster(struct fl_decision *d, struct fl_str rest, struct tagged *ret)
{
    struct fl_cluster *cluster = fl_find_cluster(d, rest);
    if (!cluster)
        return -1;
    ret->kind = FL_RECORD_CLUSTER;
    ret->rec.cluster = *cluster->rec;
    ret->tags = cluster->rec->tags;
    return 0;
}

static int find_task(struct fl_decision *d, struct fl_str rest, struct tagged *ret)
{
    struct fl_cluster *cluster = cluster_of(d, rest);
    const struct fl_task *task = cluster ? fl_state_task(cluster, fl_id_of(rest)) : NULL;
    if (!task)
        return cluster ? not_found(d, ret, rest) : -1;
    ret->kind = FL_RECORD_TASK;
    ret->rec.task = *task->rec;
    ret->tags = task->rec->tags;
    return 0;
}

static int find_instance(struct fl_decision *d, struct fl_str rest, struct tagged *ret)
{
    struct fl_cluster *cluster = cluster_of(d, rest);
    const struct fl_instance *host = cluster ? fl_state_instance(cluster, fl_id_of(rest)) : NULL;
    if (!host || fl_str_is(host->rec->status, "INACTIVE"))
        return cluster ? not_found(d, ret, rest) : -1;
    ret->kind = FL_RECORD_INSTANCE;
    ret->rec.instance = *host->rec;
    ret->tags = host->rec->tags;
    return 0;
}

static int find_service(struct fl_decision *d, struct fl_str rest, struct tagged *ret)
{
    struct fl_cluster *cluster = cluster_of(d, rest);
    const struct fl_service *service = cluster ? fl_state_service(cluster, fl_id_of(rest)) : NULL;
    if (!service || fl_str_is(service->rec->status, "INACTIVE"))
        return cluster ? not_found(d, ret, rest) : -1;
    ret->kind = FL_RECORD_SERVICE;
    ret->rec.service = *service->rec;
    ret->tags = service->rec->tags;
    return 0;
}

/* "<cluster>/<service>/ecs-svc/<number>". */
static int find_task_set(struct fl_decision *d, struct fl_str rest, struct tagged *ret)
{
    struct fl_cluster *cluster = cluster_of(d, rest);
    struct fl_str left = rest, name = FL_STR(""), form = FL_STR("");
    bool is_whole = fl_str_split(&left, '/', &name) && fl_str_split(&left, '/', &name) &&
                    fl_str_split(&left, '/', &form) && fl_str_is(form, "ecs-svc");
    const struct fl_service *service = cluster && is_whole ? fl_state_service(cluster, name) : NULL;
    const struct fl_deployment *set =
        service && fl_service_is_external(service) && fl_str_to_i64(left, &ret->set)
            ? fl_service_deployment(service, ret->set)
            : NULL;
    if (!set)
        return cluster ? not_found(d, ret, rest) : -1;
    ret->kind = FL_RECORD_SERVICE;
    ret->service = service;
    ret->tags = fl_deployment_rec(set)->tags;
    return 0;
}

static int find_definition(struct fl_decision *d, struct fl_str rest, struct tagged *ret)
{
    const struct fl_definition *definition =
        fl_str_index(rest, ':') < 0 ? NULL : fl_find_definition(d, rest);
    if (!definition)
        return not_found(d, ret, rest);
    ret->kind = FL_RECORD_DEFINITION;
    ret->rec.definition = *definition->rec;
    ret->tags = definition->rec->tags;
    return 0;
}

/* The resource that an ARN names; 0 or refused. */
static int find(struct fl_decision *d, struct fl_str text, struct tagged *ret)
{
    static const struct {
        const char *type;
        int (*find)(struct fl_decision *d, struct fl_str rest, struct tagged *ret);
    } types[] = {
        {"cluster", find_cluster},
        {"task", find_task},
        {"service", find_service},
        {"task-set", find_task_set},
        {"container-instance", find_instance},
        {"task-definition", find_definition},
    };
    static const char *const others[] = {"capacity-provider", "daemon"};
    struct fl_arn arn;
    struct fl_str name;
    if (!fl_arn_parse(text, &arn) || arn.rest.n == 0)
        return cannot_be_named(d, text);
    for (size_t i = 0; i < FL_ARRAY_SIZE(types); i++)
        if (fl_str_is(arn.type, types[i].type))
            return fl_read_name(d, text, types[i].type, &name) < 0
                       ? -1
                       : types[i].find(d, arn.rest, ret);
    for (size_t i = 0; i < FL_ARRAY_SIZE(others); i++)
        if (fl_str_is(arn.type, others[i]))
            return not_found(d, ret, text);
    return cannot_be_named(d, text);
}

static void put_of_set(struct fl_decision *d, const struct tagged *t)
{
    struct rec_Service *rec = fl_service_edit(d, t->service);
    struct rec_Deployment *entry = fl_service_entry(rec, t->set);
    FL_SET(entry, rec_Deployment, tags, t->tags);
    fl_service_put(d, rec);
}

static void put(struct fl_decision *d, struct tagged *t)
{
    if (t->set) {
        put_of_set(d, t);
        return;
    }
    switch (t->kind) {
    case FL_RECORD_CLUSTER:
        FL_SET(&t->rec.cluster, rec_Cluster, tags, t->tags);
        break;
    case FL_RECORD_INSTANCE:
        FL_SET(&t->rec.instance, rec_Instance, tags, t->tags);
        FL_SET(&t->rec.instance, rec_Instance, version, t->rec.instance.version + 1);
        break;
    case FL_RECORD_DEFINITION:
        FL_SET(&t->rec.definition, rec_TaskDefinition, tags, t->tags);
        break;
    case FL_RECORD_TASK:
        FL_SET(&t->rec.task, rec_Task, tags, t->tags);
        FL_SET(&t->rec.task, rec_Task, version, t->rec.task.version + 1);
        break;
    case FL_RECORD_SERVICE:
        FL_SET(&t->rec.service, rec_Service, tags, t->tags);
        FL_SET(&t->rec.service, rec_Service, version, t->rec.service.version + 1);
        break;
    case FL_RECORD_FAMILY:
    case FL_RECORD_SETTING:
    case FL_RECORD_EVENT:
    case FL_RECORD_ROLLOUT:
    case FL_RECORD_REVISION:
    case FL_RECORD_KINDS:
        FL_ASSERT(!"a kind that has tags");
    }
    fl_put(d, t->kind, &t->rec);
}

/* A stopped task and a definition that is going are as they were: nothing can be changed. */
static int check_changeable(struct fl_decision *d, const struct tagged *t)
{
    if (t->kind == FL_RECORD_TASK && t->rec.task.status == REC_TaskStatus_STOPPED)
        return fl_refuse(d, "InvalidParameterException",
                         "The specified task is stopped. Specify a running task and try again.");
    if (t->kind == FL_RECORD_DEFINITION &&
        t->rec.definition.definition->status != ECS_TaskDefinitionStatus_ACTIVE)
        return fl_refuse(d, "InvalidParameterException",
                         "The specified task definition is inactive. Specify an active task "
                         "definition and try again.");
    return 0;
}

/* The resource's tags with the given ones put in or replaced. */
static struct ecs_Tag_list merged(struct fl_decision *d, const struct ecs_Tag_list *old,
                                  const struct ecs_Tag_list *given)
{
    struct ecs_Tag_list list = {.n = old->n};
    list.items = fl_arena_new_array(d->arena, struct ecs_Tag, old->n + given->n);
    for (size_t i = 0; i < old->n; i++)
        list.items[i] = old->items[i];
    for (size_t i = 0; i < given->n; i++) {
        ptrdiff_t at = find_key(old, old->n, given->items[i].key);
        list.items[at >= 0 ? (size_t)at : list.n++] = given->items[i];
    }
    return list;
}

static size_t count_own(const struct ecs_Tag_list *tags)
{
    size_t n = 0;
    for (size_t i = 0; i < tags->n; i++)
        n += !is_reserved(tags->items[i].key);
    return n;
}

int fl_tag_resource(struct fl_decision *d, const void *input, FL_UNUSED void *output)
{
    const struct ecs_TagResourceRequest *in = input;
    struct tagged t = {.missing = "ResourceNotFoundException"};
    if (in->tags.n == 0)
        return fl_refuse(d, "InvalidParameterException", "Tags can not be empty.");
    if (fl_check_tags(d, &in->tags, "InvalidParameterException") < 0 ||
        find(d, in->resourceArn, &t) < 0 || check_changeable(d, &t) < 0)
        return -1;
    t.tags = merged(d, &t.tags, &in->tags);
    if (count_own(&t.tags) > MAX_TAGS)
        return fl_refuse(d, "LimitExceededException", "A resource can have at most %d tags.",
                         MAX_TAGS);
    put(d, &t);
    return 0;
}

int fl_untag_resource(struct fl_decision *d, const void *input, FL_UNUSED void *output)
{
    const struct ecs_UntagResourceRequest *in = input;
    struct ecs_Tag_list left = {0};
    struct tagged t = {.missing = "ResourceNotFoundException"};
    for (size_t i = 0; i < in->tagKeys.n; i++)
        if (is_reserved(in->tagKeys.items[i]))
            return fl_refuse(d, "InvalidParameterException",
                             "The tag key '%.*s' is not valid: keys that begin with 'aws:' are "
                             "reserved.",
                             FL_STR_ARG(in->tagKeys.items[i]));
    if (in->tagKeys.n == 0)
        return fl_refuse(d, "InvalidParameterException", "Tag keys can not be empty.");
    if (find(d, in->resourceArn, &t) < 0 || check_changeable(d, &t) < 0)
        return -1;
    left.items = fl_arena_new_array(d->arena, struct ecs_Tag, t.tags.n);
    for (size_t i = 0; i < t.tags.n; i++) {
        bool goes = false;
        for (size_t k = 0; k < in->tagKeys.n; k++)
            goes |= fl_str_eq(in->tagKeys.items[k], t.tags.items[i].key);
        if (!goes)
            left.items[left.n++] = t.tags.items[i];
    }
    bool changes = left.n != t.tags.n;
    t.tags = left;
    if (changes)
        put(d, &t);
    return 0;
}

int fl_list_tags(struct fl_decision *d, const void *input, void *output)
{
    const struct ecs_ListTagsForResourceRequest *in = input;
    struct ecs_ListTagsForResourceResponse *out = output;
    struct tagged t = {.missing = "InvalidParameterException"};
    if (find(d, in->resourceArn, &t) < 0)
        return -1;
    FL_SET(out, ecs_ListTagsForResourceResponse, tags, t.tags);
    return 0;
}
