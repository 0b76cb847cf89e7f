/* Container instances: registration, description, listing, and their agents' sessions. */
#include "core/decide.h"
#include "core/expression.h"
#include "core/filter.h"
#include "core/former.h"
#include "core/gpu.h"
#include "core/instance_document.h"
#include "core/page.h"
#include "wire/arn.h"

enum { MAX_DESCRIBED = 100, MAX_ATTRIBUTES = 500, MAX_TEXT = 512, MAX_PORTS = 100 };

static bool is_inactive(const struct fl_instance *instance)
{
    return fl_str_is(instance->rec->status, "INACTIVE");
}

static const struct ecs_Resource *resource(const struct ecs_RegisterContainerInstanceRequest *in,
                                           const char *name)
{
    for (size_t i = 0; i < in->totalResources.n; i++)
        if (fl_str_is(in->totalResources.items[i].name, name))
            return &in->totalResources.items[i];
    return NULL;
}

static size_t add_ports(const struct ecs_Resource *r, bool udp, struct fl_int_list *ports)
{
    int64_t port;
    for (size_t i = 0; r && i < r->stringSetValue.n && ports->n < MAX_PORTS; i++)
        if (fl_str_to_i64(r->stringSetValue.items[i], &port) && port > 0 && port < 65536)
            ports->items[ports->n++] = (int32_t)(port * 2 + udp);
    return ports->n;
}

static bool has_attribute(const struct ecs_Attribute_list *list, struct fl_str name)
{
    for (size_t i = 0; i < list->n; i++)
        if (fl_str_eq(list->items[i].name, name))
            return true;
    return false;
}

static int add_attribute(struct fl_decision *d, struct ecs_Attribute_list *list,
                         const struct ecs_Attribute *attribute)
{
    if (attribute->name.n == 0 || attribute->name.n > MAX_TEXT || attribute->value.n > MAX_TEXT)
        return fl_refuse(d, "InvalidParameterException", "Attribute '%.*s' is not valid.",
                         (int)FL_MIN(attribute->name.n, (size_t)MAX_TEXT), attribute->name.p);
    if (list->n == MAX_ATTRIBUTES)
        return fl_refuse(d, "AttributeLimitExceededException",
                         "An instance can have at most %d attributes.", MAX_ATTRIBUTES);
    if (has_attribute(list, attribute->name))
        return 0;
    struct ecs_Attribute *added = &list->items[list->n++];
    FL_SET(added, ecs_Attribute, name, attribute->name);
    if (FL_HAS(attribute, ecs_Attribute, value))
        FL_SET(added, ecs_Attribute, value, attribute->value);
    return 0;
}

/* Does the agent alone say whether it is there? It says so at every registration. */
static bool is_capability(struct fl_str name)
{
    return fl_str_starts(name, FL_STR("ecs.capability.")) ||
           fl_str_starts(name, FL_STR("com.amazonaws.ecs.capability."));
}

/* What the control plane knows of every instance; what is not known is left out. */
static int add_known(struct fl_decision *d, const struct fl_instance_document *document,
                     struct ecs_Attribute_list *list)
{
    struct fl_str zone = fl_str_printf(d->arena, "%.*sa", FL_STR_ARG(d->core->region));
    const struct {
        struct fl_str name, value;
    } known[] = {
        {FL_STR("ecs.availability-zone"), document->zone.n ? document->zone : zone},
        {FL_STR("ecs.ami-id"), document->image},
        {FL_STR("ecs.instance-type"), document->type},
    };
    for (size_t i = 0; i < FL_ARRAY_SIZE(known); i++) {
        struct ecs_Attribute attribute = {0};
        FL_SET(&attribute, ecs_Attribute, name, known[i].name);
        FL_SET(&attribute, ecs_Attribute, value, known[i].value);
        if (known[i].value.n && add_attribute(d, list, &attribute) < 0)
            return -1;
    }
    return 0;
}

/* What the agent sent, then (on re-registration, when it sends no custom ones) what was there, then
 * what we know. */
static int merge_attributes(struct fl_decision *d,
                            const struct ecs_RegisterContainerInstanceRequest *in,
                            const struct fl_instance_document *document,
                            const struct fl_instance *earlier, struct ecs_Attribute_list *ret_list)
{
    struct ecs_Attribute_list list = {0};
    list.items = fl_arena_new_array(d->arena, struct ecs_Attribute, MAX_ATTRIBUTES);
    for (size_t i = 0; i < in->attributes.n; i++)
        if (add_attribute(d, &list, &in->attributes.items[i]) < 0)
            return -1;
    for (size_t i = 0; earlier && i < earlier->rec->attributes.n; i++)
        if (!is_capability(earlier->rec->attributes.items[i].name) &&
            add_attribute(d, &list, &earlier->rec->attributes.items[i]) < 0)
            return -1;
    if (add_known(d, document, &list) < 0)
        return -1;
    *ret_list = list;
    return 0;
}

/* An agent's client token is a UUID of its data directory: the instance made with it has the same
 * digits as its id, so that a registration whose answer was lost is found again. Empty for a token
 * of another form. */
static struct fl_str id_of_token(struct fl_decision *d, struct fl_str token)
{
    enum { UUID_SIZE = 36, DIGITS = 32 };
    char *digits = fl_arena_alloc(d->arena, DIGITS + 1);
    uint8_t bytes[DIGITS / 2];
    size_t n = 0;
    if (token.n != UUID_SIZE)
        return FL_STR("");
    for (size_t i = 0; i < token.n && n <= DIGITS; i++)
        if (token.p[i] != '-')
            digits[n++] = token.p[i];
    if (n != DIGITS || !fl_unhex((struct fl_str){digits, n}, bytes, sizeof(bytes)))
        return FL_STR("");
    fl_hex(bytes, sizeof(bytes), digits);
    return (struct fl_str){digits, n};
}

static struct fl_str new_instance_id(struct fl_decision *d, const struct fl_cluster *cluster,
                                     struct fl_str token)
{
    struct fl_str id = id_of_token(d, token);
    return id.n && !fl_state_instance(cluster, id) ? id : fl_new_id(d);
}

/* The instance that an agent registers again, by its ARN or client token; NULL for a new one. */
static int find_earlier(struct fl_decision *d, const struct fl_cluster *cluster,
                        const struct ecs_RegisterContainerInstanceRequest *in,
                        struct fl_instance **ret_instance)
{
    struct fl_instance *instance = NULL;
    if (in->containerInstanceArn.n) {
        instance = fl_state_instance(cluster, fl_id_of(in->containerInstanceArn));
        if (!instance)
            return fl_refuse(d, "ClientException",
                             "The container instance to register again was not found.");
    } else if (in->clientToken.n) {
        instance = fl_state_instance(cluster, id_of_token(d, in->clientToken));
    }
    if (instance && is_inactive(instance))
        return fl_refuse(d, "ClientException", "Container instance %.*s is inactive.",
                         FL_STR_ARG(instance->id));
    *ret_instance = instance;
    return 0;
}

static void fill_ports(struct fl_decision *d, const struct ecs_RegisterContainerInstanceRequest *in,
                       struct rec_Instance *rec)
{
    struct fl_int_list ports = {.items = fl_arena_new_array(d->arena, int32_t, MAX_PORTS)};
    (void)add_ports(resource(in, "PORTS"), false, &ports);
    (void)add_ports(resource(in, "PORTS_UDP"), true, &ports);
    FL_SET(rec, rec_Instance, ports, ports);
}

static int check_resources(struct fl_decision *d,
                           const struct ecs_RegisterContainerInstanceRequest *in)
{
    const struct ecs_Resource *cpu = resource(in, "CPU"), *memory = resource(in, "MEMORY");
    if (!cpu || !memory || cpu->integerValue < 0 || memory->integerValue < 0)
        return fl_refuse(d, "InvalidParameterException",
                         "totalResources must hold CPU and MEMORY as integers.");
    return 0;
}

/* What an agent says of itself; what it leaves out stays as it was. True when anything changed. */
static bool set_versions(struct rec_Instance *rec, struct fl_str agent, struct fl_str hash,
                         struct fl_str docker)
{
    bool changed = (agent.n && !fl_str_eq(rec->agentVersion, agent)) ||
                   (hash.n && !fl_str_eq(rec->agentHash, hash)) ||
                   (docker.n && !fl_str_eq(rec->dockerVersion, docker));
    if (agent.n)
        FL_SET(rec, rec_Instance, agentVersion, agent);
    if (hash.n)
        FL_SET(rec, rec_Instance, agentHash, hash);
    if (docker.n)
        FL_SET(rec, rec_Instance, dockerVersion, docker);
    return changed;
}

/* ECS does not let a machine change its type: its attributes would lie. */
static int check_type(struct fl_decision *d, const struct fl_instance *earlier,
                      const struct fl_instance_document *document)
{
    struct fl_str type = FL_STR("");
    if (!earlier || !document->type.n ||
        !fl_instance_attribute(earlier, FL_STR("ecs.instance-type"), &type) ||
        fl_str_eq(type, document->type))
        return 0;
    return fl_refuse(d, "ClientException", "Container instance type changes are not supported.");
}

int fl_register_instance(struct fl_decision *d, const void *input, void *output)
{
    const struct ecs_RegisterContainerInstanceRequest *in = input;
    struct ecs_RegisterContainerInstanceResponse *out = output;
    struct fl_cluster *cluster = fl_find_cluster(d, in->cluster);
    struct fl_instance *instance = NULL;
    struct ecs_Attribute_list attributes;
    struct fl_instance_document document;
    fl_instance_document_read(d, in->instanceIdentityDocument, &document);
    if (!cluster || fl_check_tags(d, &in->tags, "InvalidParameterException") < 0 ||
        check_resources(d, in) < 0 || find_earlier(d, cluster, in, &instance) < 0 ||
        check_type(d, instance, &document) < 0 ||
        merge_attributes(d, in, &document, instance, &attributes) < 0)
        return -1;
    enum ecs_ContainerInstanceField tags = ECS_ContainerInstanceField_TAGS;
    const struct ecs_ContainerInstanceField_list with_tags = {1, &tags};
    struct rec_Instance rec = {0};
    if (instance) /* a copy: the record dies when the new one is put */
        rec = *(struct rec_Instance *)fl_shape_copy(&rec_shape_Instance, instance->rec, d->arena);
    else {
        FL_SET(&rec, rec_Instance, v, FL_RECORD_VERSION);
        FL_SET(&rec, rec_Instance, id, new_instance_id(d, cluster, in->clientToken));
        FL_SET(&rec, rec_Instance, cluster, cluster->rec->name);
        FL_SET(&rec, rec_Instance, status, FL_STR("ACTIVE"));
        FL_SET(&rec, rec_Instance, registeredAt, d->now_ms);
        FL_SET(&rec, rec_Instance, tags, in->tags);
    }
    if (document.instance_id.n)
        FL_SET(&rec, rec_Instance, ec2InstanceId, document.instance_id);
    FL_SET(&rec, rec_Instance, cpu, resource(in, "CPU")->integerValue + FL_BUG(7, 1, 0));
    FL_SET(&rec, rec_Instance, memory, resource(in, "MEMORY")->integerValue);
    FL_SET(&rec, rec_Instance, attributes, attributes);
    FL_SET(&rec, rec_Instance, version, rec.version + 1);
    if (in->versionInfo)
        (void)set_versions(&rec, fl_cut(in->versionInfo->agentVersion, MAX_TEXT),
                           fl_cut(in->versionInfo->agentHash, MAX_TEXT),
                           fl_cut(in->versionInfo->dockerVersion, MAX_TEXT));
    fill_ports(d, in, &rec);
    if (fl_gpu_register(d, in, &rec) < 0)
        return -1;
    fl_put(d, FL_RECORD_INSTANCE, &rec);
    instance = fl_state_instance(cluster, rec.id);
    FL_SET(out, ecs_RegisterContainerInstanceResponse, containerInstance,
           fl_arena_new_object(d->arena, struct ecs_ContainerInstance));
    fl_show_instance(d, instance, &with_tags, out->containerInstance);
    return 0;
}

void fl_fail_instance(struct fl_decision *d, const struct fl_cluster *cluster, struct fl_str given,
                      const char *reason, struct ecs_Failure *ret_failure)
{
    struct rec_Instance named = {.cluster = cluster->rec->name, .id = fl_id_of(given)};
    FL_SET(ret_failure, ecs_Failure, arn, fl_instance_arn(d, &named));
    FL_SET(ret_failure, ecs_Failure, reason, fl_str_of(reason));
}

int fl_describe_instances(struct fl_decision *d, const void *input, void *output)
{
    const struct ecs_DescribeContainerInstancesRequest *in = input;
    struct ecs_DescribeContainerInstancesResponse *out = output;
    struct fl_cluster *cluster = fl_find_cluster(d, in->cluster);
    size_t count = in->containerInstances.n;
    if (!cluster)
        return -1;
    if (count == 0 || count > MAX_DESCRIBED)
        return fl_refuse(d, "InvalidParameterException",
                         count ? "At most 100 container instances can be described at a time."
                               : "Container Instances cannot be empty.");
    out->containerInstances.items =
        fl_arena_new_array(d->arena, struct ecs_ContainerInstance, count);
    out->failures.items = fl_arena_new_array(d->arena, struct ecs_Failure, count);
    for (size_t i = 0; i < count; i++) {
        struct fl_str given = in->containerInstances.items[i];
        struct fl_instance *instance = fl_state_instance(cluster, fl_id_of(given));
        if (instance) {
            fl_show_instance(d, instance, &in->include,
                             &out->containerInstances.items[out->containerInstances.n++]);
            continue;
        }
        fl_fail_instance(d, cluster, given, "MISSING", &out->failures.items[out->failures.n++]);
    }
    FL_SET(out, ecs_DescribeContainerInstancesResponse, containerInstances,
           out->containerInstances);
    FL_SET(out, ecs_DescribeContainerInstancesResponse, failures, out->failures);
    return 0;
}

static bool is_listed(const struct ecs_ListContainerInstancesRequest *in, struct fl_filter *filter,
                      const struct fl_instance *instance)
{
    struct fl_str status = instance->rec->status;
    if (FL_HAS(in, ecs_ListContainerInstancesRequest, status)) {
        if (!fl_str_is(status, fl_enum_text(&ecs_enum_ContainerInstanceStatus, (int)in->status)))
            return false;
    } else if (fl_str_is(status, "INACTIVE")) {
        return false;
    }
    return !filter || fl_filter_passes(filter, instance);
}

int fl_list_instances(struct fl_decision *d, const void *input, void *output)
{
    const struct ecs_ListContainerInstancesRequest *in = input;
    struct ecs_ListContainerInstancesResponse *out = output;
    struct fl_cluster *cluster = fl_find_cluster(d, in->cluster);
    struct fl_filter *filter = NULL;
    struct fl_filter_spec spec = {.texts = {in->filter}, .text_count = 1};
    struct fl_page_list list;
    struct fl_instance *instance;
    if (!cluster)
        return -1;
    if (in->filter.n && !(filter = fl_filter_get(d, cluster, &spec)))
        return -1;
    if (fl_page_list_begin(d, in->nextToken,
                           FL_HAS(in, ecs_ListContainerInstancesRequest, maxResults),
                           in->maxResults, &list) < 0)
        return -1;
    RB_FOREACH (instance, fl_instance_tree, &cluster->instances) {
        struct fl_str id = instance->rec->id;
        if (fl_str_cmp(id, list.page.after) <= 0 || !is_listed(in, filter, instance))
            continue;
        if (!fl_page_list_add(&list, id, fl_instance_arn(d, instance->rec)))
            break;
    }
    FL_SET(out, ecs_ListContainerInstancesResponse, containerInstanceArns, list.list);
    if (list.more)
        FL_SET(out, ecs_ListContainerInstancesResponse, nextToken, fl_page_token(d, list.last_key));
    return 0;
}

int fl_discover_poll_endpoint(struct fl_decision *d, const void *input, void *output)
{
    const struct ecs_DiscoverPollEndpointRequest *in = input;
    struct ecs_DiscoverPollEndpointResponse *out = output;
    if (in->cluster.n && !fl_find_cluster(d, in->cluster))
        return -1;
    struct fl_str endpoint = d->core->endpoint, telemetry = d->core->telemetry;
    if (d->reached_at.n) {
        endpoint = fl_str_printf(d->arena, "%.*s/acs", FL_STR_ARG(d->reached_at));
        telemetry = fl_str_printf(d->arena, "%.*s/tcs", FL_STR_ARG(d->reached_at));
    }
    FL_SET(out, ecs_DiscoverPollEndpointResponse, endpoint, endpoint);
    if (telemetry.n)
        FL_SET(out, ecs_DiscoverPollEndpointResponse, telemetryEndpoint, telemetry);
    return 0;
}

/* What the agent may not know yet: tasks to start, tasks to stop. Doubled delivery is harmless. */
static void send_outstanding(struct fl_decision *d, struct fl_instance *instance)
{
    struct fl_task *task;
    RB_FOREACH (task, fl_held_tree, (struct fl_held_tree *)&instance->tasks)
        if (task->rec->status < REC_TaskStatus_RUNNING ||
            FL_BUG(2, false, task->rec->desired == REC_TaskStatus_STOPPED))
            fl_send_task(d, task);
}

static struct fl_instance *find_instance(struct fl_decision *d, const struct fl_core_event *event)
{
    struct fl_cluster *cluster = fl_state_cluster(d->core, event->cluster);
    return cluster ? fl_state_instance(cluster, event->instance) : NULL;
}

void fl_agent_connected(struct fl_decision *d, const struct fl_core_event *event)
{
    struct fl_instance *instance = find_instance(d, event);
    if (!instance || is_inactive(instance))
        return;
    fl_state_connect(d->core, instance, true, event->session, d->now_ms);
    fl_former_connected(d, instance);
    struct rec_Instance rec = *instance->rec;
    if (set_versions(&rec, fl_cut(event->agent_version, MAX_TEXT),
                     fl_cut(event->agent_hash, MAX_TEXT),
                     fl_cut(event->docker_version, MAX_TEXT))) {
        FL_SET(&rec, rec_Instance, version, rec.version + 1);
        fl_put(d, FL_RECORD_INSTANCE, &rec);
    }
    send_outstanding(d, instance);
    fl_send_manifest(d, instance);
}

void fl_agent_disconnected(struct fl_decision *d, const struct fl_core_event *event)
{
    struct fl_instance *instance = find_instance(d, event);
    if (!instance || is_inactive(instance) ||
        FL_BUG(14, false, instance->session != event->session))
        return;
    fl_state_connect(d->core, instance, false, 0, d->now_ms);
    fl_former_disconnected(d, instance);
}
