/* DescribeParameters, tags, and the end of parameters: what is done with them without a value. */
#include "server/parameters_internal.h"

enum { DESCRIBE_PAGE = 50 };

/* ---- DescribeParameters ---- */

static void show(struct fl_parameters_call *call, struct fl_str id,
                 const struct rec_Parameter *parameter, const struct rec_ParameterVersion *version,
                 struct ssm_ParameterMetadata *out)
{
    const struct rec_ParameterValue *value = fl_parameters_value(call, id, version->version);
    FL_SET(out, ssm_ParameterMetadata, Name, parameter->name);
    FL_SET(out, ssm_ParameterMetadata, ARN, fl_parameters_arn(call, id));
    FL_SET(out, ssm_ParameterMetadata, Type, version->type);
    if (FL_HAS(version, rec_ParameterVersion, keyId))
        FL_SET(out, ssm_ParameterMetadata, KeyId, version->keyId);
    FL_SET(out, ssm_ParameterMetadata, LastModifiedDate, version->modifiedAt);
    FL_SET(out, ssm_ParameterMetadata, LastModifiedUser, version->modifiedBy);
    if (value->description.n)
        FL_SET(out, ssm_ParameterMetadata, Description, value->description);
    if (value->allowedPattern.n)
        FL_SET(out, ssm_ParameterMetadata, AllowedPattern, value->allowedPattern);
    FL_SET(out, ssm_ParameterMetadata, Version, version->version);
    FL_SET(out, ssm_ParameterMetadata, Tier, version->tier);
    FL_SET(out, ssm_ParameterMetadata, Policies, ((struct ssm_ParameterInlinePolicy_list){0}));
    FL_SET(out, ssm_ParameterMetadata, DataType, version->dataType);
}

/* The filters of either kind; false after failing the call. */
static bool read_filters(struct fl_parameters_call *call,
                         struct ssm_ParameterStringFilter_list *ret_filters)
{
    const struct ssm_DescribeParametersRequest *in = call->input;
    struct fl_err err;
    if (in->Filters.n > 0 && in->ParameterFilters.n > 0) {
        fl_parameters_fail(call, "ValidationException",
                           "You can use either Filters or ParameterFilters in a single request.");
        return false;
    }
    *ret_filters = in->Filters.n > 0 ? fl_parameters_old_filters(&in->Filters, call->arena)
                                     : in->ParameterFilters;
    return fl_parameters_pass(call, fl_parameters_check_filters(ret_filters, false, &err), &err);
}

void fl_parameters_describe(struct fl_parameters_call *call)
{
    const struct ssm_DescribeParametersRequest *in = call->input;
    struct ssm_DescribeParametersResult *out = call->output;
    size_t max = in->MaxResults > 0 ? (size_t)in->MaxResults : DESCRIBE_PAGE;
    struct ssm_ParameterMetadata_list page = {
        0, fl_arena_new_array(call->arena, struct ssm_ParameterMetadata, max)};
    FL_CLEANUP_BUF struct fl_buf id = FL_BUF_INIT(2 * FL_PARAMETERS_MAX_ARN);
    struct ssm_ParameterStringFilter_list filters;
    const struct rec_Parameter *parameter;
    struct fl_str key, last = FL_STR("");
    if (!read_filters(call, &filters) || !fl_parameters_read_token(call, in->NextToken, &key))
        return;
    /* Nobody shares parameters here, so Shared finds none. */
    while (!in->Shared &&
           (parameter = fl_vault_next(call->caller.vault, FL_VAULT_PARAMETER, key, &key))) {
        fl_buf_clear(&id);
        fl_buf_add_char(&id, '/');
        fl_buf_add_str(&id, key);
        const struct rec_ParameterVersion *version =
            fl_parameters_select(&filters, fl_buf_str(&id), parameter);
        if (!version)
            continue;
        if (page.n == max) {
            FL_SET(out, ssm_DescribeParametersResult, NextToken, fl_parameters_token(call, last));
            break;
        }
        show(call, fl_buf_str(&id), parameter, version, &page.items[page.n++]);
        last = key;
    }
    FL_SET(out, ssm_DescribeParametersResult, Parameters, page);
}

/* ---- the end of parameters ---- */

void fl_parameters_delete(struct fl_parameters_call *call)
{
    const struct ssm_DeleteParameterRequest *in = call->input;
    struct fl_parameters_ref ref;
    if (fl_parameters_need(call, in->Name, &ref) && ref.selector.n == 0)
        fl_parameters_remove(call, ref.id);
    else
        fl_parameters_fail(call, "ParameterNotFound",
                           "Parameter %.*s not found: versions are not deleted alone.",
                           FL_STR_ARG(in->Name));
}

void fl_parameters_delete_some(struct fl_parameters_call *call)
{
    const struct ssm_DeleteParametersRequest *in = call->input;
    struct ssm_DeleteParametersResult *out = call->output;
    struct fl_str_list deleted = {0, fl_arena_new_array(call->arena, struct fl_str, in->Names.n)};
    struct fl_str_list missing = {0, fl_arena_new_array(call->arena, struct fl_str, in->Names.n)};
    for (size_t i = 0; i < in->Names.n; i++) {
        struct fl_parameters_ref ref;
        struct fl_str name = in->Names.items[i];
        bool is_there = fl_parameters_need(call, name, &ref) && ref.selector.n == 0;
        call->error = NULL;
        if (is_there)
            fl_parameters_remove(call, ref.id);
        if (is_there)
            deleted.items[deleted.n++] = name;
        else
            missing.items[missing.n++] = name;
    }
    FL_SET(out, ssm_DeleteParametersResult, DeletedParameters, deleted);
    FL_SET(out, ssm_DeleteParametersResult, InvalidParameters, missing);
}

/* ---- tags ---- */

/* The parameter whose tags are meant; NULL after failing the call. */
static const struct rec_Parameter *need_resource(struct fl_parameters_call *call,
                                                 enum ssm_ResourceTypeForTagging type,
                                                 struct fl_str text, struct fl_str *ret_id)
{
    struct fl_parameters_ref ref;
    if (type != SSM_ResourceTypeForTagging_Parameter) {
        fl_parameters_fail(call, "InvalidResourceType",
                           "The resource type is not valid: of %s there is nothing here. "
                           "Parameters have tags.",
                           fl_enum_text(&ssm_enum_ResourceTypeForTagging, (int)type));
        return NULL;
    }
    const struct rec_Parameter *parameter = fl_parameters_need(call, text, &ref);
    if (parameter && ref.selector.n == 0) {
        *ret_id = ref.id;
        return parameter;
    }
    call->error = NULL;
    fl_parameters_fail(call, "InvalidResourceId",
                       "The resource ID is not valid. Verify that you entered the correct ID and "
                       "try again.");
    return NULL;
}

static void save_tags(struct fl_parameters_call *call, struct fl_str id,
                      const struct rec_Parameter *parameter, struct ssm_Tag_list tags)
{
    struct rec_Parameter changed = *parameter;
    FL_SET(&changed, rec_Parameter, tags, tags);
    fl_parameters_save(call, id, &changed);
}

static struct ssm_Tag *find_tag(const struct ssm_Tag_list *tags, struct fl_str key)
{
    for (size_t i = 0; i < tags->n; i++)
        if (fl_str_eq(tags->items[i].Key, key))
            return &tags->items[i];
    return NULL;
}

void fl_parameters_add_tags(struct fl_parameters_call *call)
{
    const struct ssm_AddTagsToResourceRequest *in = call->input;
    struct fl_str id;
    struct fl_err err;
    const struct rec_Parameter *parameter =
        need_resource(call, in->ResourceType, in->ResourceId, &id);
    if (!parameter || !fl_parameters_pass(call, fl_parameters_check_tags(&in->Tags, &err), &err))
        return;
    size_t old = parameter->tags.n;
    struct ssm_Tag_list tags = {old,
                                fl_arena_new_array(call->arena, struct ssm_Tag, old + in->Tags.n)};
    for (size_t i = 0; i < old; i++)
        tags.items[i] = parameter->tags.items[i];
    for (size_t i = 0; i < in->Tags.n; i++) {
        struct ssm_Tag *tag = find_tag(&tags, in->Tags.items[i].Key);
        *(tag ? tag : &tags.items[tags.n++]) = in->Tags.items[i];
    }
    if (fl_parameters_pass(call, fl_parameters_check_tags(&tags, &err), &err))
        save_tags(call, id, parameter, tags);
}

void fl_parameters_remove_tags(struct fl_parameters_call *call)
{
    const struct ssm_RemoveTagsFromResourceRequest *in = call->input;
    struct fl_str id;
    const struct rec_Parameter *parameter =
        need_resource(call, in->ResourceType, in->ResourceId, &id);
    if (!parameter)
        return;
    struct ssm_Tag_list tags = {0,
                                fl_arena_new_array(call->arena, struct ssm_Tag, parameter->tags.n)};
    for (size_t i = 0; i < parameter->tags.n; i++) {
        bool is_kept = true;
        for (size_t k = 0; is_kept && k < in->TagKeys.n; k++)
            is_kept = !fl_str_eq(parameter->tags.items[i].Key, in->TagKeys.items[k]);
        if (is_kept)
            tags.items[tags.n++] = parameter->tags.items[i];
    }
    save_tags(call, id, parameter, tags);
}

void fl_parameters_list_tags(struct fl_parameters_call *call)
{
    const struct ssm_ListTagsForResourceRequest *in = call->input;
    struct ssm_ListTagsForResourceResult *out = call->output;
    struct fl_str id;
    const struct rec_Parameter *parameter =
        need_resource(call, in->ResourceType, in->ResourceId, &id);
    if (parameter)
        FL_SET(out, ssm_ListTagsForResourceResult, TagList, parameter->tags);
}
