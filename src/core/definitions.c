/* RegisterTaskDefinition, DescribeTaskDefinition, ListTaskDefinitions, DeregisterTaskDefinition. */
#include "core/decide.h"
#include "core/page.h"

#include "wire/arn.h"

struct fl_definition *fl_find_definition(struct fl_decision *d, struct fl_str name)
{
    struct fl_arn arn;
    int64_t revision;
    if (fl_arn_parse(name, &arn)) {
        if (!fl_str_is(arn.type, "task-definition"))
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
static void complete_container(struct ecs_ContainerDefinition *c, bool is_host_mode)
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
            FL_SET(port, ecs_PortMapping, hostPort, is_host_mode ? port->containerPort : 0);
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
    COPY(cpu);
    COPY(memory);
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

static struct fl_str definition_arn(struct fl_decision *d, struct fl_str family, int32_t revision)
{
    struct fl_str rest = fl_str_printf(d->arena, "%.*s:%d", FL_STR_ARG(family), revision);
    return fl_arn_ecs(d->arena, d->core->region, d->core->account, "task-definition", rest);
}

int fl_register_definition(struct fl_decision *d, const void *input, void *output)
{
    const struct ecs_RegisterTaskDefinitionRequest *in = input;
    struct ecs_RegisterTaskDefinitionResponse *out = output;
    if (fl_check_definition(d, in) < 0)
        return -1;
    struct ecs_TaskDefinition *def = fl_arena_new_object(d->arena, struct ecs_TaskDefinition);
    const struct fl_definition *latest = fl_state_latest(d->core, in->family);
    copy_members(in, def);
    bool is_host_mode = FL_HAS(in, ecs_RegisterTaskDefinitionRequest, networkMode) &&
                        in->networkMode == ECS_NetworkMode_host;
    for (size_t i = 0; i < def->containerDefinitions.n; i++)
        complete_container(&def->containerDefinitions.items[i], is_host_mode);
    FL_SET(def, ecs_TaskDefinition, revision, latest ? latest->revision + FL_BUG(30, 0, 1) : 1);
    FL_SET(def, ecs_TaskDefinition, taskDefinitionArn,
           definition_arn(d, in->family, def->revision));
    FL_SET(def, ecs_TaskDefinition, status, ECS_TaskDefinitionStatus_ACTIVE);
    FL_SET(def, ecs_TaskDefinition, registeredAt, d->now_ms);
    FL_SET(def, ecs_TaskDefinition, registeredBy,
           fl_str_printf(d->arena, "arn:aws:iam::%.*s:root", FL_STR_ARG(d->core->account)));
    fl_derive_attributes(d, def);
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
        return fl_refuse(d, "ClientException",
                         "The specified task definition does not exist. Specify a valid account, "
                         "family, revision and try again.");
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
