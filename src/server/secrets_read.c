/* What is read of secrets: a value, many values, the list of versions. */
#include "server/secrets_internal.h"
#include "wire/base64.h"

enum { VERSION_PAGE = 100, BATCH_PAGE = 20 };

static const int64_t day_ms = 24 * 60 * 60 * 1000;

/* ---- values ---- */

/* The version that a request means; NULL after failing the call. */
static const struct rec_SecretVersion *choose(struct fl_secrets_call *call,
                                              const struct rec_Secret *secret, struct fl_str id,
                                              struct fl_str stage)
{
    struct fl_str wanted = stage.n ? stage : FL_STR(FL_SECRETS_CURRENT);
    const struct rec_SecretVersion *version =
        id.n ? fl_secrets_find_version(secret, id) : fl_secrets_find_stage(secret, wanted);
    if (!version)
        fl_secrets_fail(call, secrets_error_ResourceNotFoundException,
                        "Secrets Manager can't find the specified secret value for %s: %.*s",
                        id.n ? "VersionId" : "staging label", FL_STR_ARG(id.n ? id : wanted));
    else if (id.n && stage.n && fl_secrets_find_stage(secret, stage) != version)
        fl_secrets_fail(call, secrets_error_InvalidRequestException,
                        "You provided a VersionStage that is not associated to the provided "
                        "VersionId.");
    else if (!fl_secrets_value_of(call, secret, version->id)) /* somebody has been at the store */
        fl_secrets_fail(call, secrets_error_InternalServiceError,
                        "The value of this version is missing in the server's store.");
    return call->error ? NULL : version;
}

/* The day of the last reading is kept, as AWS does: one record a day for each secret. */
static void note_access(struct fl_secrets_call *call, const struct rec_Secret *found,
                        struct fl_str version_id)
{
    int64_t today_ms = call->now_ms / day_ms * day_ms;
    const struct rec_SecretVersion *seen = fl_secrets_find_version(found, version_id);
    if (found->accessedAt == today_ms && seen->accessedAt == today_ms)
        return;
    struct rec_Secret *secret = fl_secrets_edit(call, found);
    struct rec_SecretVersion *version = fl_secrets_find_version(secret, version_id);
    FL_SET(secret, rec_Secret, accessedAt, today_ms);
    FL_SET(version, rec_SecretVersion, accessedAt, today_ms);
    fl_vault_put(call->secrets->vault, FL_VAULT_SECRET, secret->name, secret);
}

/* SecretValueEntry and GetSecretValueResponse have the same members; what is shown is a copy, for
 * the secret's record may change before the answer is written. */
#define SHOW_VALUE(type, out, secret, version)                                                     \
    do {                                                                                           \
        const struct rec_SecretValue *value_ = fl_secrets_value_of(call, secret, (version)->id);   \
        FL_ASSERT(value_);                                                                         \
        FL_SET(out, type, ARN, fl_secrets_arn(call, secret));                                      \
        FL_SET(out, type, Name, (secret)->name);                                                   \
        FL_SET(out, type, VersionId, (version)->id);                                               \
        if (FL_HAS(value_, rec_SecretValue, text))                                                 \
            FL_SET(out, type, SecretString, value_->text);                                         \
        if (FL_HAS(value_, rec_SecretValue, bytes))                                                \
            FL_SET(out, type, SecretBinary, value_->bytes);                                        \
        if ((version)->stages.n)                                                                   \
            FL_SET(out, type, VersionStages, (version)->stages);                                   \
        FL_SET(out, type, CreatedDate, (version)->createdAt);                                      \
    } while (0)

void fl_secrets_get_value(struct fl_secrets_call *call)
{
    const struct secrets_GetSecretValueRequest *in = call->input;
    struct secrets_GetSecretValueResponse *out = call->output;
    const struct rec_Secret *found = fl_secrets_need_live(call, in->SecretId);
    if (!found)
        return;
    const struct rec_Secret *secret = fl_secrets_edit(call, found);
    const struct rec_SecretVersion *version = choose(call, secret, in->VersionId, in->VersionStage);
    if (!version)
        return;
    SHOW_VALUE(secrets_GetSecretValueResponse, out, secret, version);
    note_access(call, found, version->id);
}

/* One secret of a batch: its value, or why not. */
static void get_one(struct fl_secrets_call *call, struct fl_str id,
                    struct secrets_SecretValueEntry_list *values,
                    struct secrets_APIErrorType_list *errors)
{
    struct fl_secrets_call one = *call;
    const struct rec_Secret *found = fl_secrets_need_live(&one, id);
    const struct rec_Secret *secret = found ? fl_secrets_edit(call, found) : NULL;
    const struct rec_SecretVersion *version =
        secret ? choose(&one, secret, FL_STR(""), FL_STR("")) : NULL;
    if (version) {
        SHOW_VALUE(secrets_SecretValueEntry, &values->items[values->n], secret, version);
        values->n++;
        note_access(call, found, version->id);
        return;
    }
    struct secrets_APIErrorType *error = &errors->items[errors->n++];
    FL_SET(error, secrets_APIErrorType, SecretId, id);
    FL_SET(error, secrets_APIErrorType, ErrorCode, fl_str_of(one.error));
    FL_SET(error, secrets_APIErrorType, Message, one.error_text);
}

static bool check_batch(struct fl_secrets_call *call)
{
    const struct secrets_BatchGetSecretValueRequest *in = call->input;
    if ((in->SecretIdList.n > 0) == (in->Filters.n > 0))
        fl_secrets_fail(call, secrets_error_InvalidParameterException,
                        "Either 'SecretIdList' or 'Filters' must be provided, but not both.");
    else if (in->SecretIdList.n &&
             (FL_HAS(in, secrets_BatchGetSecretValueRequest, MaxResults) || in->NextToken.n))
        fl_secrets_fail(call, secrets_error_InvalidParameterException,
                        "'Filters' must be specified when 'MaxResults' or 'NextToken' is "
                        "provided.");
    return !call->error;
}

/* The ids of a batch: those of the list, or of the secrets that pass the filters. */
static struct fl_str_list batch_ids(struct fl_secrets_call *call, struct fl_str *ret_next)
{
    const struct secrets_BatchGetSecretValueRequest *in = call->input;
    const struct fl_secrets_order order = {
        .filters = &in->Filters, .by = SECRETS_SortByType_created_date, .is_descending = true};
    size_t count = 0, max = in->MaxResults > 0 ? (size_t)in->MaxResults : BATCH_PAGE;
    if (in->SecretIdList.n)
        return in->SecretIdList;
    const struct rec_Secret **page =
        fl_secrets_page(call, &order, in->NextToken, max, &count, ret_next);
    struct fl_str_list ids = {0, fl_arena_new_array(call->arena, struct fl_str, count)};
    for (size_t i = 0; i < count; i++)
        ids.items[ids.n++] = fl_secrets_arn(call, page[i]);
    return ids;
}

void fl_secrets_batch_get_value(struct fl_secrets_call *call)
{
    struct secrets_BatchGetSecretValueResponse *out = call->output;
    struct fl_str next = FL_STR("");
    if (!check_batch(call))
        return;
    struct fl_str_list ids = batch_ids(call, &next);
    struct secrets_SecretValueEntry_list values = {
        0, fl_arena_new_array(call->arena, struct secrets_SecretValueEntry, ids.n)};
    struct secrets_APIErrorType_list errors = {
        0, fl_arena_new_array(call->arena, struct secrets_APIErrorType, ids.n)};
    for (size_t i = 0; !call->error && i < ids.n; i++)
        get_one(call, ids.items[i], &values, &errors);
    FL_SET(out, secrets_BatchGetSecretValueResponse, SecretValues, values);
    FL_SET(out, secrets_BatchGetSecretValueResponse, Errors, errors);
    if (next.n)
        FL_SET(out, secrets_BatchGetSecretValueResponse, NextToken, next);
}

/* ---- versions of a secret ---- */

static void show_version(struct fl_secrets_call *call, const struct rec_Secret *secret,
                         const struct rec_SecretVersion *version,
                         struct secrets_SecretVersionsListEntry *out)
{
    struct fl_str_list keys = {1, fl_arena_new_array(call->arena, struct fl_str, 1)};
    keys.items[0] = secret->kmsKeyId;
    FL_SET(out, secrets_SecretVersionsListEntry, VersionId, version->id);
    if (version->stages.n)
        FL_SET(out, secrets_SecretVersionsListEntry, VersionStages, version->stages);
    if (FL_HAS(version, rec_SecretVersion, accessedAt))
        FL_SET(out, secrets_SecretVersionsListEntry, LastAccessedDate, version->accessedAt);
    FL_SET(out, secrets_SecretVersionsListEntry, CreatedDate, version->createdAt);
    if (secret->kmsKeyId.n)
        FL_SET(out, secrets_SecretVersionsListEntry, KmsKeyIds, keys);
}

/* The newest first. A token is the id of the last version shown. */
void fl_secrets_list_versions(struct fl_secrets_call *call)
{
    const struct secrets_ListSecretVersionIdsRequest *in = call->input;
    struct secrets_ListSecretVersionIdsResponse *out = call->output;
    const struct rec_Secret *secret = fl_secrets_need(call, in->SecretId);
    size_t max = in->MaxResults > 0 ? (size_t)in->MaxResults : VERSION_PAGE;
    struct fl_str after = FL_STR(""), last = FL_STR("");
    if (!secret)
        return;
    size_t i = secret->versions.n;
    if (in->NextToken.n) {
        const struct rec_SecretVersion *at = fl_base64_decode(in->NextToken, call->arena, &after)
                                                 ? fl_secrets_find_version(secret, after)
                                                 : NULL;
        if (!at) {
            fl_secrets_fail(call, secrets_error_InvalidNextTokenException,
                            "The NextToken value is invalid.");
            return;
        }
        i = (size_t)(at - secret->versions.items);
    }
    struct secrets_SecretVersionsListEntry_list list = {
        0, fl_arena_new_array(call->arena, struct secrets_SecretVersionsListEntry, i)};
    for (; i > 0 && list.n < max; i--) {
        const struct rec_SecretVersion *version = &secret->versions.items[i - 1];
        if (!version->stages.n && !in->IncludeDeprecated)
            continue;
        show_version(call, secret, version, &list.items[list.n++]);
        last = version->id;
    }
    FL_SET(out, secrets_ListSecretVersionIdsResponse, Versions, list);
    FL_SET(out, secrets_ListSecretVersionIdsResponse, ARN, fl_secrets_arn(call, secret));
    FL_SET(out, secrets_ListSecretVersionIdsResponse, Name, secret->name);
    if (i > 0)
        FL_SET(out, secrets_ListSecretVersionIdsResponse, NextToken,
               fl_base64_encode(call->arena, last));
}
