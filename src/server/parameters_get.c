/* Reading parameters with their values: by name, by path, by version. */
#include "server/parameters_internal.h"

enum { PATH_PAGE = 10, HISTORY_PAGE = 50 };

static void show(struct fl_parameters_call *call, struct fl_str id, struct fl_str name,
                 const struct rec_ParameterVersion *version, bool is_decrypted,
                 struct ssm_Parameter *out)
{
    struct fl_str text = fl_parameters_text(call, id, version, is_decrypted);
    FL_SET(out, ssm_Parameter, Name, name);
    FL_SET(out, ssm_Parameter, Type, version->type);
    FL_SET(out, ssm_Parameter, Value, text);
    FL_SET(out, ssm_Parameter, Version, version->version);
    FL_SET(out, ssm_Parameter, LastModifiedDate, version->modifiedAt);
    FL_SET(out, ssm_Parameter, ARN, fl_parameters_arn(call, id));
    FL_SET(out, ssm_Parameter, DataType, version->dataType);
}

/* What a text means, shown; false after failing the call. */
static bool look_up(struct fl_parameters_call *call, struct fl_str text, bool is_decrypted,
                    struct ssm_Parameter *out)
{
    struct fl_parameters_ref ref;
    const struct rec_Parameter *parameter = fl_parameters_need(call, text, &ref);
    if (!parameter)
        return false;
    const struct rec_ParameterVersion *version = fl_parameters_version(parameter, ref.selector);
    if (!version) {
        fl_parameters_fail(call, "ParameterVersionNotFound",
                           "Systems Manager could not find version %.*s of %.*s. Verify the "
                           "version and try again.",
                           (int)FL_MIN(ref.selector.n, (size_t)100), ref.selector.p,
                           (int)FL_MIN(ref.id.n, (size_t)700), ref.id.p);
        return false;
    }
    show(call, ref.id, ref.name.n ? ref.name : parameter->name, version, is_decrypted, out);
    if (ref.selector.n)
        FL_SET(out, ssm_Parameter, Selector,
               fl_str_printf(call->arena, ":%.*s", FL_STR_ARG(ref.selector)));
    return !call->error;
}

void fl_parameters_get(struct fl_parameters_call *call)
{
    const struct ssm_GetParameterRequest *in = call->input;
    struct ssm_GetParameterResult *out = call->output;
    struct ssm_Parameter *parameter = fl_arena_new_object(call->arena, struct ssm_Parameter);
    if (look_up(call, in->Name, in->WithDecryption, parameter))
        FL_SET(out, ssm_GetParameterResult, Parameter, parameter);
}

static bool was_asked(const struct fl_str_list *names, size_t i)
{
    for (size_t k = 0; k < i; k++)
        if (fl_str_eq(names->items[k], names->items[i]))
            return true;
    return false;
}

/* Did the call fail for a parameter, or a version of it, that is not there? */
static bool is_missing(const struct fl_parameters_call *call)
{
    return fl_str_is(FL_STR("ParameterNotFound"), call->error) ||
           fl_str_is(FL_STR("ParameterVersionNotFound"), call->error);
}

void fl_parameters_get_some(struct fl_parameters_call *call)
{
    const struct ssm_GetParametersRequest *in = call->input;
    struct ssm_GetParametersResult *out = call->output;
    struct ssm_Parameter_list found = {
        0, fl_arena_new_array(call->arena, struct ssm_Parameter, in->Names.n)};
    struct fl_str_list missing = {0, fl_arena_new_array(call->arena, struct fl_str, in->Names.n)};
    for (size_t i = 0; i < in->Names.n; i++) {
        struct fl_str name = in->Names.items[i];
        if (was_asked(&in->Names, i))
            continue;
        if (look_up(call, name, in->WithDecryption, &found.items[found.n])) {
            found.n++;
            continue;
        }
        if (!is_missing(call))
            return;
        call->error = NULL;
        missing.items[missing.n++] = name;
    }
    FL_SET(out, ssm_GetParametersResult, Parameters, found);
    FL_SET(out, ssm_GetParametersResult, InvalidParameters, missing);
}

/* ---- by path ---- */

static void set_id(struct fl_buf *id, struct fl_str key)
{
    fl_buf_clear(id);
    fl_buf_add_char(id, '/');
    fl_buf_add_str(id, key);
}

/* The parameter below the path that comes after an id, and its version to be shown; NULL: none. */
static const struct rec_Parameter *next_below(const struct fl_parameters_call *call,
                                              struct fl_buf *id,
                                              const struct rec_ParameterVersion **ret_version)
{
    const struct ssm_GetParametersByPathRequest *in = call->input;
    const struct rec_Parameter *parameter;
    struct fl_str key = fl_str_from(fl_buf_str(id), 1);
    while ((parameter = fl_vault_next(call->caller.vault, FL_VAULT_PARAMETER, key, &key))) {
        set_id(id, key);
        if (!fl_parameters_is_below(fl_buf_str(id), in->Path, true))
            return NULL;
        *ret_version = fl_parameters_select(&in->ParameterFilters, fl_buf_str(id), parameter);
        if (*ret_version && fl_parameters_is_below(fl_buf_str(id), in->Path, in->Recursive))
            return parameter;
    }
    return NULL;
}

/* Where the listing begins: behind the token, or at the path. False after failing the call. */
static bool begin_at(struct fl_parameters_call *call, struct fl_buf *id)
{
    const struct ssm_GetParametersByPathRequest *in = call->input;
    struct fl_str path = in->Path, after;
    struct fl_err err;
    if (!fl_parameters_pass(call, fl_parameters_check_path(path, &err), &err) ||
        !fl_parameters_pass(call, fl_parameters_check_filters(&in->ParameterFilters, true, &err),
                            &err) ||
        !fl_parameters_read_token(call, in->NextToken, &after))
        return false;
    fl_buf_add_str(id, after.n ? after : path);
    if (after.n == 0 && !fl_str_ends(path, FL_STR("/")))
        fl_buf_add_char(id, '/');
    if (after.n > 0 && !fl_parameters_is_below(after, path, true))
        fl_parameters_fail(call, "InvalidNextToken", "The specified token is not valid.");
    return !call->error;
}

void fl_parameters_get_by_path(struct fl_parameters_call *call)
{
    const struct ssm_GetParametersByPathRequest *in = call->input;
    struct ssm_GetParametersByPathResult *out = call->output;
    size_t max = in->MaxResults > 0 ? (size_t)in->MaxResults : PATH_PAGE;
    struct ssm_Parameter_list page = {0,
                                      fl_arena_new_array(call->arena, struct ssm_Parameter, max)};
    FL_CLEANUP_BUF struct fl_buf id = FL_BUF_INIT(64 * 1024);
    const struct rec_ParameterVersion *version = NULL;
    const struct rec_Parameter *parameter;
    struct fl_str last = FL_STR("");
    if (!begin_at(call, &id))
        return;
    while ((parameter = next_below(call, &id, &version))) {
        if (page.n == max) {
            FL_SET(out, ssm_GetParametersByPathResult, NextToken, fl_parameters_token(call, last));
            break;
        }
        last = fl_str_dup(call->arena, fl_buf_str(&id));
        show(call, last, parameter->name, version, in->WithDecryption, &page.items[page.n++]);
    }
    FL_SET(out, ssm_GetParametersByPathResult, Parameters, page);
}

/* ---- history ---- */

static void show_version(struct fl_parameters_call *call, struct fl_str id, struct fl_str name,
                         const struct rec_ParameterVersion *version, bool is_decrypted,
                         struct ssm_ParameterHistory *out)
{
    const struct rec_ParameterValue *value = fl_parameters_value(call, id, version->version);
    struct fl_str text = fl_parameters_text(call, id, version, is_decrypted);
    FL_SET(out, ssm_ParameterHistory, Name, name);
    FL_SET(out, ssm_ParameterHistory, Type, version->type);
    if (FL_HAS(version, rec_ParameterVersion, keyId))
        FL_SET(out, ssm_ParameterHistory, KeyId, version->keyId);
    FL_SET(out, ssm_ParameterHistory, LastModifiedDate, version->modifiedAt);
    FL_SET(out, ssm_ParameterHistory, LastModifiedUser, version->modifiedBy);
    if (value->description.n)
        FL_SET(out, ssm_ParameterHistory, Description, value->description);
    FL_SET(out, ssm_ParameterHistory, Value, text);
    if (value->allowedPattern.n)
        FL_SET(out, ssm_ParameterHistory, AllowedPattern, value->allowedPattern);
    FL_SET(out, ssm_ParameterHistory, Version, version->version);
    FL_SET(out, ssm_ParameterHistory, Labels, version->labels);
    FL_SET(out, ssm_ParameterHistory, Tier, version->tier);
    FL_SET(out, ssm_ParameterHistory, Policies, ((struct ssm_ParameterInlinePolicy_list){0}));
    FL_SET(out, ssm_ParameterHistory, DataType, version->dataType);
}

/* Oldest first; the token is the last version that was shown. */
void fl_parameters_get_history(struct fl_parameters_call *call)
{
    const struct ssm_GetParameterHistoryRequest *in = call->input;
    struct ssm_GetParameterHistoryResult *out = call->output;
    size_t max = in->MaxResults > 0 ? (size_t)in->MaxResults : HISTORY_PAGE;
    struct ssm_ParameterHistory_list page = {
        0, fl_arena_new_array(call->arena, struct ssm_ParameterHistory, max)};
    struct fl_parameters_ref ref;
    struct fl_str after;
    int64_t last = 0;
    const struct rec_Parameter *parameter = fl_parameters_need(call, in->Name, &ref);
    if (!parameter || !fl_parameters_read_token(call, in->NextToken, &after))
        return;
    if (after.n > 0 && !fl_str_to_i64(after, &last)) {
        fl_parameters_fail(call, "InvalidNextToken", "The specified token is not valid.");
        return;
    }
    for (size_t i = 0; i < parameter->versions.n; i++) {
        const struct rec_ParameterVersion *version = &parameter->versions.items[i];
        if (version->version <= last)
            continue;
        if (page.n == max) {
            FL_SET(out, ssm_GetParameterHistoryResult, NextToken,
                   fl_parameters_token(call, fl_str_printf(call->arena, "%lld", (long long)last)));
            break;
        }
        show_version(call, ref.id, parameter->name, version, in->WithDecryption,
                     &page.items[page.n++]);
        last = version->version;
    }
    FL_SET(out, ssm_GetParameterHistoryResult, Parameters, page);
}
