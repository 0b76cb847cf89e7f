/* From a call to the vault's records and the answer; what all operations share.
 *
 * A parameter is one record with what its versions are, and one for each version with what it
 * keeps: a new version seals the small one anew, and not a hundred values. */
#include "server/parameters.h"

#include <stdarg.h>
#include <stdio.h>

#include "server/parameters_internal.h"
#include "wire/base64.h"

/* Fifty versions of 8 KiB in which every character is escaped, and a description each. */
enum { MAX_ANSWER = 8 << 20 };
/* An id in Base64. */
enum { MAX_TOKEN = 2 * FL_PARAMETERS_MAX_ARN };

static const struct {
    int operation;
    fl_parameters_handler handler;
} operations[] = {
    {SSM_OP_AddTagsToResource, fl_parameters_add_tags},
    {SSM_OP_DeleteParameter, fl_parameters_delete},
    {SSM_OP_DeleteParameters, fl_parameters_delete_some},
    {SSM_OP_DescribeParameters, fl_parameters_describe},
    {SSM_OP_GetParameter, fl_parameters_get},
    {SSM_OP_GetParameterHistory, fl_parameters_get_history},
    {SSM_OP_GetParameters, fl_parameters_get_some},
    {SSM_OP_GetParametersByPath, fl_parameters_get_by_path},
    {SSM_OP_LabelParameterVersion, fl_parameters_label},
    {SSM_OP_ListTagsForResource, fl_parameters_list_tags},
    {SSM_OP_PutParameter, fl_parameters_put},
    {SSM_OP_RemoveTagsFromResource, fl_parameters_remove_tags},
    {SSM_OP_UnlabelParameterVersion, fl_parameters_unlabel},
};

bool fl_parameters_execution_may(int operation)
{
    return operation == SSM_OP_GetParameter || operation == SSM_OP_GetParameters;
}

/* ---- a call's way ---- */

static void end(void *context)
{
    struct fl_parameters_call *call = context;
    if (call->error)
        call->reply(call->context, call->error == ssm_error_InternalServerError ? 500 : 400,
                    fl_str_of(call->error), call->error_text);
    else
        call->reply(call->context, 200, FL_STR(""), fl_buf_str(&call->body));
    fl_buf_free(&call->body);
    free(call);
}

static fl_parameters_handler find_handler(int operation)
{
    for (size_t i = 0; i < FL_ARRAY_SIZE(operations); i++)
        if (operations[i].operation == operation)
            return operations[i].handler;
    return NULL;
}

void fl_parameters_handle(const struct fl_parameters_caller *caller, int operation,
                          const void *input, struct fl_arena *arena, int64_t now_ms,
                          fl_parameters_reply reply, void *context)
{
    const struct fl_shape *shape = ssm_service.operations[operation].output;
    fl_parameters_handler handler = find_handler(operation);
    struct fl_parameters_call *call = fl_calloc(1, sizeof(*call));
    FL_ASSERT(handler);
    *call = (struct fl_parameters_call){
        .caller = *caller,
        .operation = operation,
        .input = input,
        .output = fl_arena_alloc(arena, fl_shape_size(shape)),
        .arena = arena,
        .now_ms = now_ms,
        .body = FL_BUF_INIT(MAX_ANSWER),
        .reply = reply,
        .context = context,
    };
    handler(call);
    if (!call->error)
        fl_shape_encode(shape, call->output, &call->body);
    if (call->body.overflow)
        fl_parameters_fail(call, "ValidationException",
                           "The answer would be too long: ask for less of it at once.");
    fl_vault_commit(call->caller.vault, end, call);
}

void fl_parameters_fail(struct fl_parameters_call *call, const char *code, const char *fmt, ...)
{
    char text[1024];
    va_list args;
    if (call->error)
        return;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    call->error = code;
    call->error_text = fl_str_dup(call->arena, fl_str_of(text));
}

bool fl_parameters_pass(struct fl_parameters_call *call, const char *code, const struct fl_err *err)
{
    if (code)
        fl_parameters_fail(call, code, "%s", err->text);
    return !code;
}

/* ---- records ---- */

static struct fl_str value_id(const struct fl_parameters_call *call, struct fl_str id,
                              int64_t version)
{
    return fl_str_printf(call->arena, "%.*s\n%lld", FL_STR_ARG(fl_str_from(id, 1)),
                         (long long)version);
}

const struct rec_Parameter *fl_parameters_find(const struct fl_parameters_call *call,
                                               struct fl_str id)
{
    bool may_be = id.n > 1 && id.n <= FL_PARAMETERS_MAX_ARN;
    return may_be ? fl_vault_get(call->caller.vault, FL_VAULT_PARAMETER, fl_str_from(id, 1)) : NULL;
}

const struct rec_Parameter *fl_parameters_need(struct fl_parameters_call *call, struct fl_str text,
                                               struct fl_parameters_ref *ret_ref)
{
    struct fl_err err;
    const char *code = fl_parameters_parse_ref(text, call->caller.region, call->caller.account,
                                               call->arena, ret_ref, &err);
    if (!fl_parameters_pass(call, code, &err))
        return NULL;
    const struct rec_Parameter *parameter = fl_parameters_find(call, ret_ref->id);
    if (!parameter && fl_str_starts(ret_ref->id, FL_STR("/aws/")))
        fl_parameters_fail(call, "ParameterNotFound",
                           "Parameter %.*s not found: AWS's public parameters are not kept here.",
                           FL_STR_ARG(text));
    else if (!parameter)
        fl_parameters_fail(call, "ParameterNotFound", "Parameter %.*s not found.",
                           FL_STR_ARG(text));
    return parameter;
}

/* Somebody has been at the store where a value is missing: the whole call fails. */
const struct rec_ParameterValue *fl_parameters_value(struct fl_parameters_call *call,
                                                     struct fl_str id, int64_t version)
{
    static const struct rec_ParameterValue nothing;
    const struct rec_ParameterValue *value =
        fl_vault_get(call->caller.vault, FL_VAULT_PARAMETER_VALUE, value_id(call, id, version));
    if (!value)
        fl_parameters_fail(call, ssm_error_InternalServerError,
                           "The value of version %lld of %.*s is missing in the server's store.",
                           (long long)version, FL_STR_ARG(id));
    return value ? value : &nothing;
}

struct fl_str fl_parameters_text(struct fl_parameters_call *call, struct fl_str id,
                                 const struct rec_ParameterVersion *version, bool is_decrypted)
{
    const struct rec_ParameterValue *value = fl_parameters_value(call, id, version->version);
    if (is_decrypted || version->type != SSM_ParameterType_SecureString)
        return value->text;
    return fl_vault_sealed_text(call->caller.vault, FL_VAULT_PARAMETER_VALUE,
                                value_id(call, id, version->version), value->text, call->arena);
}

void fl_parameters_save(struct fl_parameters_call *call, struct fl_str id,
                        const struct rec_Parameter *parameter)
{
    fl_vault_put(call->caller.vault, FL_VAULT_PARAMETER, fl_str_from(id, 1), parameter);
}

void fl_parameters_save_value(struct fl_parameters_call *call, struct fl_str id, int64_t version,
                              const struct rec_ParameterValue *value)
{
    fl_vault_put(call->caller.vault, FL_VAULT_PARAMETER_VALUE, value_id(call, id, version), value);
}

void fl_parameters_remove_value(struct fl_parameters_call *call, struct fl_str id, int64_t version)
{
    fl_vault_remove(call->caller.vault, FL_VAULT_PARAMETER_VALUE, value_id(call, id, version));
}

void fl_parameters_remove(struct fl_parameters_call *call, struct fl_str id)
{
    const struct rec_Parameter *parameter = fl_parameters_find(call, id);
    for (size_t i = 0; i < parameter->versions.n; i++)
        fl_parameters_remove_value(call, id, parameter->versions.items[i].version);
    fl_vault_remove(call->caller.vault, FL_VAULT_PARAMETER, fl_str_from(id, 1));
}

struct fl_str fl_parameters_arn(const struct fl_parameters_call *call, struct fl_str id)
{
    return fl_str_printf(call->arena, "arn:aws:ssm:%.*s:%.*s:parameter%.*s",
                         FL_STR_ARG(call->caller.region), FL_STR_ARG(call->caller.account),
                         FL_STR_ARG(id));
}

/* ---- pages ---- */

bool fl_parameters_read_token(struct fl_parameters_call *call, struct fl_str token,
                              struct fl_str *ret_after)
{
    *ret_after = FL_STR("");
    bool is_whole = token.n <= MAX_TOKEN && fl_base64_decode(token, call->arena, ret_after);
    if (!is_whole)
        fl_parameters_fail(call, "InvalidNextToken", "The specified token is not valid.");
    return is_whole;
}

struct fl_str fl_parameters_token(const struct fl_parameters_call *call, struct fl_str last)
{
    return fl_base64_encode(call->arena, last);
}
