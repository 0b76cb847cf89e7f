/* Task definitions: registered, described, listed, deregistered, deleted.
 *
 * A revision is ACTIVE, then INACTIVE, then DELETE_IN_PROGRESS until no task names it and
 * FL_CORE_DELETED_DEFINITION_MS have passed; its number never comes back. */
#include "core/decide.h"
#include "core/definition_check.h"
#include "core/page.h"

#include "wire/arn.h"

enum { MAX_REVISIONS = 1000000, MAX_DELETED = 10 };

#define UNKNOWN                                                                                    \
    "The specified task definition does not exist. Specify a valid account, family, revision and " \
    "try again."

struct fl_definition *fl_find_definition(struct fl_decision *d, struct fl_str name)
{
    struct fl_arn arn;
    int64_t revision;
    if (fl_arn_parse(name, &arn)) {
        if (!fl_str_is(arn.service, "ecs") || !fl_str_is(arn.type, "task-definition") ||
            !fl_str_eq(arn.account, d->core->account) || !fl_str_eq(arn.region, d->core->region))
            return NULL;
        name = arn.rest;
    }
    ptrdiff_t colon = fl_str_rindex(name, ':');
    if (colon < 0)
        return fl_state_latest_active(d->core, name);
    if (!fl_str_to_i64(fl_str_from(name, (size_t)colon + 1), &revision) || revision < 1 ||
        revision > INT32_MAX)
        return NULL;
    return fl_state_definition(d->core, fl_str_sub(name, 0, (size_t)colon), (int32_t)revision);
}

/* ECS gives every container these members back, whether or not they were sent. */
static void complete_container(struct ecs_ContainerDefinition *c, bool is_same_port)
{
    FL_SET(c, ecs_ContainerDefinition, cpu, c->cpu);
    if (!FL_HAS(c, ecs_ContainerDefinition, essential))
        FL_SET(c, ecs_ContainerDefinition, essential, true);
    FL_SET(c, ecs_ContainerDefinition, portMappings, c->portMappings);
    FL_SET(c, ecs_ContainerDefinition, environment, c->environment);
    FL_SET(c, ecs_ContainerDefinition, mountPoints, c->mountPoints);
    FL_SET(c, ecs_ContainerDefinition, volumesFrom, c->volumesFrom);
    FL_SET(c, ecs_ContainerDefinition, systemControls, c->systemControls);
    fl_default_life(c);
    for (size_t i = 0; i < c->portMappings.n; i++) {
        struct ecs_PortMapping *port = &c->portMappings.items[i];
        if (!FL_HAS(port, ecs_PortMapping, protocol))
            FL_SET(port, ecs_PortMapping, protocol, ECS_TransportProtocol_tcp);
        if (FL_HAS(port, ecs_PortMapping, containerPort) &&
            !FL_HAS(port, ecs_PortMapping, hostPort))
            FL_SET(port, ecs_PortMapping, hostPort, is_same_port ? port->containerPort : 0);
    }
}

static void copy_members(const struct ecs_RegisterTaskDefinitionRequest *in,
                         struct ecs_TaskDefinition *def)
{
#define COPY(member)                                                                               \
    do {                                                                                           \
        if (FL_HAS(in, ecs_RegisterTaskDefinitionRequest, member))                                 \
            FL_SET(def, ecs_TaskDefinition, member, in->member);                                   \
    } while (0)
    COPY(family);
    COPY(taskRoleArn);
    COPY(executionRoleArn);
    COPY(networkMode);
    COPY(requiresCompatibilities);
    COPY(pidMode);
    COPY(ipcMode);
    COPY(proxyConfiguration);
    COPY(inferenceAccelerators);
    COPY(ephemeralStorage);
    COPY(runtimePlatform);
    COPY(enableFaultInjection);
#undef COPY
    FL_SET(def, ecs_TaskDefinition, containerDefinitions, in->containerDefinitions);
    FL_SET(def, ecs_TaskDefinition, volumes, in->volumes);
    FL_SET(def, ecs_TaskDefinition, placementConstraints, in->placementConstraints);
}

/* Sizes are kept as plain numbers, "1 vCPU" as "1024" and "2 GB" as "2048". */
static void copy_sizes(struct fl_decision *d, const struct ecs_RegisterTaskDefinitionRequest *in,
                       struct ecs_TaskDefinition *def)
{
    int64_t value;
    if (FL_HAS(in, ecs_RegisterTaskDefinitionRequest, cpu) && fl_read_cpu(in->cpu, &value))
        FL_SET(def, ecs_TaskDefinition, cpu, fl_str_printf(d->arena, "%lld", (long long)value));
    if (FL_HAS(in, ecs_RegisterTaskDefinitionRequest, memory) && fl_read_memory(in->memory, &value))
        FL_SET(def, ecs_TaskDefinition, memory, fl_str_printf(d->arena, "%lld", (long long)value));
}

/* A volume of Docker's lives as long as the task unless it says otherwise. */
static void complete_volumes(struct ecs_Volume_list *volumes)
{
    for (size_t i = 0; i < volumes->n; i++) {
        struct ecs_DockerVolumeConfiguration *docker = volumes->items[i].dockerVolumeConfiguration;
        if (docker && !FL_HAS(docker, ecs_DockerVolumeConfiguration, scope))
            FL_SET(docker, ecs_DockerVolumeConfiguration, scope, ECS_Scope_task);
    }
}

static struct fl_str definition_arn(struct fl_decision *d, struct fl_str family, int32_t revision)
{
    struct fl_str rest = fl_str_printf(d->arena, "%.*s:%d", FL_STR_ARG(family), revision);
    return fl_arn_ecs(d->arena, d->core->region, d->core->account, "task-definition", rest);
}

/* What the caller gave, and what ECS adds to it. */
static void fill(struct fl_decision *d, const struct ecs_RegisterTaskDefinitionRequest *in,
                 struct ecs_TaskDefinition *def)
{
    bool has_mode = FL_HAS(in, ecs_RegisterTaskDefinitionRequest, networkMode);
    bool is_same_port = has_mode && (in->networkMode == ECS_NetworkMode_host ||
                                     in->networkMode == ECS_NetworkMode_awsvpc);
    copy_members(in, def);
    copy_sizes(d, in, def);
    complete_volumes(&def->volumes);
    for (size_t i = 0; i < def->containerDefinitions.n; i++)
        complete_container(&def->containerDefinitions.items[i], is_same_port);
}

int fl_register_definition(struct fl_decision *d, const void *input, void *output)
{
    const struct ecs_RegisterTaskDefinitionRequest *in = input;
    struct ecs_RegisterTaskDefinitionResponse *out = output;
    if (fl_check_definition(d, in) < 0)
        return -1;
    int32_t last = fl_state_last_revision(d->core, in->family);
    if (last >= MAX_REVISIONS)
        return fl_refuse(d, "LimitExceededException",
                         "The family %.*s has had %d revisions, which is all that it can have.",
                         FL_STR_ARG(in->family), MAX_REVISIONS);
    struct ecs_TaskDefinition *def = fl_arena_new_object(d->arena, struct ecs_TaskDefinition);
    fill(d, in, def);
    FL_SET(def, ecs_TaskDefinition, revision, last ? last + FL_BUG(30, 0, 1) : 1);
    FL_SET(def, ecs_TaskDefinition, taskDefinitionArn,
           definition_arn(d, in->family, def->revision));
    FL_SET(def, ecs_TaskDefinition, status, ECS_TaskDefinitionStatus_ACTIVE);
    FL_SET(def, ecs_TaskDefinition, registeredAt, d->now_ms);
    FL_SET(def, ecs_TaskDefinition, registeredBy, fl_root_arn(d));
    fl_derive_attributes(d, def);
    fl_derive_compatibilities(d, in, def);
    struct rec_TaskDefinition rec = {0};
    FL_SET(&rec, rec_TaskDefinition, v, FL_RECORD_VERSION);
    FL_SET(&rec, rec_TaskDefinition, definition, def);
    if (FL_HAS(in, ecs_RegisterTaskDefinitionRequest, tags))
        FL_SET(&rec, rec_TaskDefinition, tags, in->tags);
    fl_put(d, FL_RECORD_DEFINITION, &rec);
    FL_SET(out, ecs_RegisterTaskDefinitionResponse, taskDefinition, def);
    if (in->tags.n)
        FL_SET(out, ecs_RegisterTaskDefinitionResponse, tags, in->tags);
    return 0;
}

int fl_describe_definition(struct fl_decision *d, const void *input, void *output)
{
    const struct ecs_DescribeTaskDefinitionRequest *in = input;
    struct ecs_DescribeTaskDefinitionResponse *out = output;
    struct fl_definition *definition = fl_find_definition(d, in->taskDefinition);
    if (!definition)
        return fl_refuse(d, "ClientException", "Unable to describe task definition.");
    FL_SET(out, ecs_DescribeTaskDefinitionResponse, taskDefinition, definition->rec->definition);
    for (size_t i = 0; i < in->include.n; i++)
        if (in->include.items[i] == ECS_TaskDefinitionField_TAGS)
            FL_SET(out, ecs_DescribeTaskDefinitionResponse, tags, definition->rec->tags);
    return 0;
}

int fl_deregister_definition(struct fl_decision *d, const void *input, void *output)
{
    const struct ecs_DeregisterTaskDefinitionRequest *in = input;
    struct ecs_DeregisterTaskDefinitionResponse *out = output;
    struct fl_str name = fl_id_of(in->taskDefinition);
    if (fl_str_index(name, ':') < 0)
        return fl_refuse(d, "InvalidParameterException",
                         "The task definition to deregister must be given with its revision: "
                         "family:revision or an ARN.");
    struct fl_definition *definition = fl_find_definition(d, in->taskDefinition);
    if (!definition)
        return fl_refuse(d, "ClientException", UNKNOWN);
    if (definition->rec->definition->status == ECS_TaskDefinitionStatus_DELETE_IN_PROGRESS)
        return fl_refuse(d, "ClientException",
                         "The specified task definition is in the process of being deleted. "
                         "Specify another revision and try again.");
    if (definition->rec->definition->status == ECS_TaskDefinitionStatus_ACTIVE) {
        struct ecs_TaskDefinition def = *definition->rec->definition;
        struct rec_TaskDefinition rec = *definition->rec;
        FL_SET(&def, ecs_TaskDefinition, status, ECS_TaskDefinitionStatus_INACTIVE);
        FL_SET(&def, ecs_TaskDefinition, deregisteredAt, d->now_ms);
        rec.definition = &def;
        fl_put(d, FL_RECORD_DEFINITION, &rec);
    }
    FL_SET(out, ecs_DeregisterTaskDefinitionResponse, taskDefinition, definition->rec->definition);
    return 0;
}

/* The revision, now being deleted; NULL with the failure filled. */
static struct ecs_TaskDefinition *delete_one(struct fl_decision *d, struct fl_str given,
                                             struct ecs_Failure *failure)
{
    struct fl_definition *definition = fl_find_definition(d, given);
    FL_SET(failure, ecs_Failure, arn, given);
    if (fl_str_index(fl_id_of(given), ':') < 0) {
        FL_SET(failure, ecs_Failure, reason,
               FL_STR("The specified task definition identifier is invalid. Specify a valid name "
                      "or ARN and try again."));
        return NULL;
    }
    if (!definition) {
        FL_SET(failure, ecs_Failure, reason, FL_STR(UNKNOWN));
        return NULL;
    }
    struct ecs_TaskDefinition def = *definition->rec->definition;
    FL_SET(failure, ecs_Failure, arn, def.taskDefinitionArn);
    if (def.status == ECS_TaskDefinitionStatus_ACTIVE) {
        FL_SET(failure, ecs_Failure, reason,
               FL_STR("The specified task definition is still in ACTIVE status. Please deregister "
                      "the target and try again."));
        return NULL;
    }
    if (def.status == ECS_TaskDefinitionStatus_INACTIVE) {
        struct rec_TaskDefinition rec = *definition->rec;
        FL_SET(&def, ecs_TaskDefinition, status, ECS_TaskDefinitionStatus_DELETE_IN_PROGRESS);
        FL_SET(&def, ecs_TaskDefinition, deleteRequestedAt, d->now_ms);
        rec.definition = &def;
        fl_put(d, FL_RECORD_DEFINITION, &rec);
    }
    return definition->rec->definition;
}

int fl_delete_definitions(struct fl_decision *d, const void *input, void *output)
{
    const struct ecs_DeleteTaskDefinitionsRequest *in = input;
    struct ecs_DeleteTaskDefinitionsResponse *out = output;
    size_t count = in->taskDefinitions.n;
    if (count == 0)
        return fl_refuse(d, "InvalidParameterException", "Task definitions cannot be empty.");
    if (count > MAX_DELETED)
        return fl_refuse(d, "InvalidParameterException",
                         "At most %d task definitions can be deleted at a time.", MAX_DELETED);
    out->taskDefinitions.items = fl_arena_new_array(d->arena, struct ecs_TaskDefinition, count);
    out->failures.items = fl_arena_new_array(d->arena, struct ecs_Failure, count);
    for (size_t i = 0; i < count; i++) {
        struct ecs_Failure *failure = &out->failures.items[out->failures.n];
        struct ecs_TaskDefinition *gone = delete_one(d, in->taskDefinitions.items[i], failure);
        if (gone)
            out->taskDefinitions.items[out->taskDefinitions.n++] = *gone;
        else
            out->failures.n++;
    }
    FL_SET(out, ecs_DeleteTaskDefinitionsResponse, taskDefinitions, out->taskDefinitions);
    FL_SET(out, ecs_DeleteTaskDefinitionsResponse, failures, out->failures);
    return 0;
}

static bool is_listed(const struct ecs_ListTaskDefinitionsRequest *in,
                      const struct fl_definition *definition)
{
    enum ecs_TaskDefinitionStatus status = FL_HAS(in, ecs_ListTaskDefinitionsRequest, status)
                                               ? in->status
                                               : ECS_TaskDefinitionStatus_ACTIVE;
    return definition->rec->definition->status == status &&
           (in->familyPrefix.n == 0 || fl_str_eq(definition->family, in->familyPrefix));
}

static struct fl_str list_key(struct fl_decision *d, const struct fl_definition *definition)
{
    return fl_str_printf(d->arena, "%.*s:%d", FL_STR_ARG(definition->family), definition->revision);
}

/* Where the listing goes on: the neighbour of the page's last item. */
static struct fl_definition *list_start(struct fl_decision *d, struct fl_str after, bool descending)
{
    struct fl_definition_tree *tree = &d->core->definitions;
    ptrdiff_t colon = fl_str_rindex(after, ':');
    int64_t revision = 0;
    if (after.n == 0 || colon < 0 ||
        !fl_str_to_i64(fl_str_from(after, (size_t)colon + 1), &revision))
        return descending ? RB_MAX(fl_definition_tree, tree) : RB_MIN(fl_definition_tree, tree);
    struct fl_definition probe = {.family = fl_str_sub(after, 0, (size_t)colon),
                                  .revision = (int32_t)revision};
    struct fl_definition *at = RB_NFIND(fl_definition_tree, tree, &probe);
    if (descending)
        return at ? RB_PREV(fl_definition_tree, tree, at) : RB_MAX(fl_definition_tree, tree);
    return at && fl_definition_order(at, &probe) == 0 ? RB_NEXT(fl_definition_tree, tree, at) : at;
}

/* The first revision of the next family, or NULL. */
static struct fl_definition *next_family(struct fl_decision *d, struct fl_str family)
{
    struct fl_definition probe = {.family = family, .revision = INT32_MAX};
    return RB_NFIND(fl_definition_tree, &d->core->definitions, &probe);
}

static bool family_is_listed(struct fl_decision *d,
                             const struct ecs_ListTaskDefinitionFamiliesRequest *in,
                             struct fl_str family)
{
    bool is_active = fl_state_latest_active(d->core, family) != NULL;
    if (!fl_str_starts(family, in->familyPrefix))
        return false;
    if (!FL_HAS(in, ecs_ListTaskDefinitionFamiliesRequest, status) ||
        in->status == ECS_TaskDefinitionFamilyStatus_ALL)
        return true;
    return is_active == (in->status == ECS_TaskDefinitionFamilyStatus_ACTIVE);
}

int fl_list_families(struct fl_decision *d, const void *input, void *output)
{
    const struct ecs_ListTaskDefinitionFamiliesRequest *in = input;
    struct ecs_ListTaskDefinitionFamiliesResponse *out = output;
    struct fl_page_list list;
    if (fl_page_list_begin(d, in->nextToken,
                           FL_HAS(in, ecs_ListTaskDefinitionFamiliesRequest, maxResults),
                           in->maxResults, &list) < 0)
        return -1;
    struct fl_definition *at = list.page.after.n
                                   ? next_family(d, list.page.after)
                                   : RB_MIN(fl_definition_tree, &d->core->definitions);
    for (; at; at = next_family(d, at->family)) {
        if (family_is_listed(d, in, at->family) && !fl_page_list_add(&list, at->family, at->family))
            break;
    }
    FL_SET(out, ecs_ListTaskDefinitionFamiliesResponse, families, list.list);
    if (list.more)
        FL_SET(out, ecs_ListTaskDefinitionFamiliesResponse, nextToken,
               fl_page_token(d, list.last_key));
    return 0;
}

int fl_list_definitions(struct fl_decision *d, const void *input, void *output)
{
    const struct ecs_ListTaskDefinitionsRequest *in = input;
    struct ecs_ListTaskDefinitionsResponse *out = output;
    bool descending =
        FL_HAS(in, ecs_ListTaskDefinitionsRequest, sort) && in->sort == ECS_SortOrder_DESC;
    struct fl_page_list list;
    if (fl_page_list_begin(d, in->nextToken, FL_HAS(in, ecs_ListTaskDefinitionsRequest, maxResults),
                           in->maxResults, &list) < 0)
        return -1;
    struct fl_definition *at = list_start(d, list.page.after, descending);
    while (at) {
        if (is_listed(in, at) &&
            !fl_page_list_add(&list, list_key(d, at), at->rec->definition->taskDefinitionArn))
            break;
        at = descending ? RB_PREV(fl_definition_tree, &d->core->definitions, at)
                        : RB_NEXT(fl_definition_tree, &d->core->definitions, at);
    }
    FL_SET(out, ecs_ListTaskDefinitionsResponse, taskDefinitionArns, list.list);
    if (list.more)
        FL_SET(out, ecs_ListTaskDefinitionsResponse, nextToken, fl_page_token(d, list.last_key));
    return 0;
}
