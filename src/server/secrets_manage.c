/* Secrets as a whole: made, shown, changed, deleted and brought back; their tags; and their
 * resource policies, of which there are none. */
#include "base/id.h"
#include "server/secrets_internal.h"

enum { SUFFIX = 6, WINDOW_DEFAULT = 30, WINDOW_MIN = 7, WINDOW_MAX = 30 };

static const int64_t day_ms = 24 * 60 * 60 * 1000;

/* ---- tags ---- */

static bool check_tag_key(struct fl_secrets_call *call, struct fl_str key)
{
    if (key.n < 4 || !fl_str_case_eq(fl_str_sub(key, 0, 4), FL_STR("aws:")))
        return true;
    fl_secrets_fail(call, secrets_error_InvalidParameterException,
                    "Tag keys can't begin with 'aws:', which is reserved.");
    return false;
}

static struct secrets_Tag *find_tag(const struct secrets_Tag_list *tags, struct fl_str key)
{
    for (size_t i = 0; i < tags->n; i++)
        if (fl_str_eq(tags->items[i].Key, key))
            return &tags->items[i];
    return NULL;
}

/* The secret's tags with these in addition; false after failing the call. */
static bool add_tags(struct fl_secrets_call *call, struct rec_Secret *secret,
                     const struct secrets_Tag_list *added)
{
    struct secrets_Tag_list tags = {
        0, fl_arena_new_array(call->arena, struct secrets_Tag, secret->tags.n + added->n)};
    for (size_t i = 0; i < secret->tags.n; i++)
        tags.items[tags.n++] = secret->tags.items[i];
    for (size_t i = 0; i < added->n; i++) {
        const struct secrets_Tag *tag = &added->items[i];
        struct secrets_Tag *old = find_tag(&tags, tag->Key);
        if (!FL_HAS(tag, secrets_Tag, Key))
            fl_secrets_fail(call, secrets_error_InvalidParameterException, "A tag has no key.");
        if (call->error || !check_tag_key(call, tag->Key))
            return false;
        if (!old)
            old = &tags.items[tags.n++];
        *old = *tag;
        FL_SET(old, secrets_Tag, Value, tag->Value);
    }
    if (tags.n > FL_SECRETS_MAX_TAGS)
        fl_secrets_fail(call, secrets_error_InvalidParameterException,
                        "A secret can't have more than %d tags.", FL_SECRETS_MAX_TAGS);
    FL_SET(secret, rec_Secret, tags, tags);
    return !call->error;
}

void fl_secrets_tag(struct fl_secrets_call *call)
{
    const struct secrets_TagResourceRequest *in = call->input;
    const struct rec_Secret *found = fl_secrets_need_live(call, in->SecretId);
    struct rec_Secret *secret = found ? fl_secrets_edit(call, found) : NULL;
    if (secret && add_tags(call, secret, &in->Tags))
        fl_secrets_save(call, secret);
}

void fl_secrets_untag(struct fl_secrets_call *call)
{
    const struct secrets_UntagResourceRequest *in = call->input;
    const struct rec_Secret *found = fl_secrets_need_live(call, in->SecretId);
    if (!found)
        return;
    struct rec_Secret *secret = fl_secrets_edit(call, found);
    struct secrets_Tag_list *tags = &secret->tags;
    for (size_t k = 0; k < in->TagKeys.n; k++) {
        struct secrets_Tag *tag = find_tag(tags, in->TagKeys.items[k]);
        if (!tag)
            continue;
        memmove(tag, tag + 1, (size_t)(tags->items + tags->n - (tag + 1)) * sizeof(*tag));
        tags->n--;
    }
    fl_secrets_save(call, secret);
}

/* ---- making ---- */

static bool check_name(struct fl_secrets_call *call, struct fl_str name)
{
    static const char others[] = "-/_+=.@!";
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];
        bool is_plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (is_plain || (c && strchr(others, c)))
            continue;
        fl_secrets_fail(call, "ValidationException",
                        "Invalid name. Must be a valid name containing alphanumeric characters, or "
                        "any of the following: %s",
                        others);
        return false;
    }
    return true;
}

/* What a request must not ask for, by its name in the request. */
static bool refuse(struct fl_secrets_call *call, bool asked, const char *name, const char *why)
{
    if (asked)
        fl_secrets_fail(call, secrets_error_InvalidRequestException,
                        "%s is not implemented yet: %s.", name, why);
    return !asked;
}

static void show_created(struct fl_secrets_call *call, const struct rec_Secret *secret,
                         struct fl_str version)
{
    struct secrets_CreateSecretResponse *out = call->output;
    FL_SET(out, secrets_CreateSecretResponse, ARN, fl_secrets_arn(call, secret));
    FL_SET(out, secrets_CreateSecretResponse, Name, secret->name);
    if (fl_secrets_find_version(secret, version))
        FL_SET(out, secrets_CreateSecretResponse, VersionId, version);
}

/* There is one of that name: the same request's, sent again, or somebody else's. */
static void create_again(struct fl_secrets_call *call, const struct rec_Secret *secret,
                         struct fl_str token, const struct fl_secrets_value *value)
{
    if (fl_secrets_is_deleted(secret))
        fl_secrets_fail(call, secrets_error_InvalidRequestException,
                        "You can't create this secret because a secret with this name is already "
                        "scheduled for deletion.");
    else if (fl_str_eq(secret->token, token) && fl_secrets_is_same(call, secret, token, value))
        show_created(call, secret, token);
    else
        fl_secrets_fail(call, secrets_error_ResourceExistsException,
                        "The operation failed because the secret %.*s already exists.",
                        FL_STR_ARG(secret->name));
}

/* Evenly: 62 letters and digits of 256 values, those beyond 248 drawn again. */
static struct fl_str new_suffix(struct fl_secrets_call *call)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    enum { LETTERS = sizeof(letters) - 1, EVEN = 256 / LETTERS * LETTERS };
    char text[SUFFIX];
    for (size_t n = 0; n < SUFFIX;) {
        uint8_t byte;
        fl_random_bytes(&byte, 1);
        if (byte < EVEN)
            text[n++] = letters[byte % LETTERS];
    }
    return fl_str_dup(call->arena, (struct fl_str){text, SUFFIX});
}

static struct rec_Secret *new_secret(struct fl_secrets_call *call, struct fl_str token)
{
    const struct secrets_CreateSecretRequest *in = call->input;
    struct rec_Secret *secret = fl_arena_new_object(call->arena, struct rec_Secret);
    struct fl_str suffix = new_suffix(call);
    FL_SET(secret, rec_Secret, v, 1);
    FL_SET(secret, rec_Secret, name, in->Name);
    FL_SET(secret, rec_Secret, suffix, suffix);
    FL_SET(secret, rec_Secret, token, token);
    FL_SET(secret, rec_Secret, createdAt, call->now_ms);
    if (in->Description.n)
        FL_SET(secret, rec_Secret, description, in->Description);
    if (in->KmsKeyId.n)
        FL_SET(secret, rec_Secret, kmsKeyId, in->KmsKeyId);
    return secret;
}

/* ForceOverwriteReplicaSecret says what happens to secrets of other regions: there are none. */
void fl_secrets_create(struct fl_secrets_call *call)
{
    const struct secrets_CreateSecretRequest *in = call->input;
    const struct fl_secrets_value value = {FL_HAS(in, secrets_CreateSecretRequest, SecretString),
                                           FL_HAS(in, secrets_CreateSecretRequest, SecretBinary),
                                           in->SecretString, in->SecretBinary};
    if (!refuse(call, in->AddReplicaRegions.n > 0, "AddReplicaRegions", "there is one region") ||
        !refuse(call, in->Type.n > 0, "Type", "nothing rotates secrets of other services") ||
        !check_name(call, in->Name) || !fl_secrets_check_value(call, &value))
        return;
    struct fl_str token = fl_secrets_version_id(call, in->ClientRequestToken);
    const struct rec_Secret *old = fl_vault_get(call->secrets->vault, FL_VAULT_SECRET, in->Name);
    if (old) {
        create_again(call, old, token, &value);
        return;
    }
    struct rec_Secret *secret = new_secret(call, token);
    if (!add_tags(call, secret, &in->Tags) || !fl_secrets_check_room(call))
        return;
    if (fl_secrets_has_value(&value) &&
        !fl_secrets_add_version(call, secret, token, &value, (struct fl_str_list){0, NULL}))
        return;
    fl_secrets_save(call, secret);
    show_created(call, secret, token);
}

void fl_secrets_update(struct fl_secrets_call *call)
{
    const struct secrets_UpdateSecretRequest *in = call->input;
    struct secrets_UpdateSecretResponse *out = call->output;
    const struct fl_secrets_value value = {FL_HAS(in, secrets_UpdateSecretRequest, SecretString),
                                           FL_HAS(in, secrets_UpdateSecretRequest, SecretBinary),
                                           in->SecretString, in->SecretBinary};
    const struct rec_Secret *found = fl_secrets_need_live(call, in->SecretId);
    if (!found || !fl_secrets_check_value(call, &value) ||
        !refuse(call, in->Type.n > 0, "Type", "nothing rotates secrets of other services"))
        return;
    struct rec_Secret *secret = fl_secrets_edit(call, found);
    if (FL_HAS(in, secrets_UpdateSecretRequest, Description))
        FL_SET(secret, rec_Secret, description, in->Description);
    if (FL_HAS(in, secrets_UpdateSecretRequest, KmsKeyId))
        FL_SET(secret, rec_Secret, kmsKeyId, in->KmsKeyId);
    if (fl_secrets_has_value(&value)) {
        struct fl_str id = fl_secrets_version_id(call, in->ClientRequestToken);
        if (!fl_secrets_add_version(call, secret, id, &value, (struct fl_str_list){0, NULL}))
            return;
        FL_SET(out, secrets_UpdateSecretResponse, VersionId, id);
    }
    fl_secrets_save(call, secret);
    FL_SET(out, secrets_UpdateSecretResponse, ARN, fl_secrets_arn(call, secret));
    FL_SET(out, secrets_UpdateSecretResponse, Name, secret->name);
}

/* ---- showing ---- */

/* Versions without a label are on their way out, and not shown. */
static struct secrets_str_list_map show_stages(struct fl_secrets_call *call,
                                               const struct rec_Secret *secret)
{
    struct secrets_str_list_map map = {
        0, fl_arena_new_array(call->arena, struct secrets_str_list_map_item, secret->versions.n)};
    for (size_t i = 0; i < secret->versions.n; i++) {
        const struct rec_SecretVersion *version = &secret->versions.items[i];
        if (version->stages.n)
            map.items[map.n++] =
                (struct secrets_str_list_map_item){.key = version->id, .value = version->stages};
    }
    return map;
}

/* The key that encrypts where none was asked for is not shown, under its name neither. */
static bool has_own_key(const struct rec_Secret *secret)
{
    return secret->kmsKeyId.n && !fl_str_is(secret->kmsKeyId, "alias/aws/secretsmanager");
}

/* SecretListEntry and DescribeSecretResponse name the same members alike, but for the versions. */
#define SHOW(type, out, secret, versions_member)                                                   \
    do {                                                                                           \
        struct secrets_str_list_map stages_ = show_stages(call, secret);                           \
        FL_SET(out, type, ARN, fl_secrets_arn(call, secret));                                      \
        FL_SET(out, type, Name, (secret)->name);                                                   \
        if ((secret)->description.n)                                                               \
            FL_SET(out, type, Description, (secret)->description);                                 \
        if (has_own_key(secret))                                                                   \
            FL_SET(out, type, KmsKeyId, (secret)->kmsKeyId);                                       \
        FL_SET(out, type, LastChangedDate, (secret)->changedAt);                                   \
        if (FL_HAS(secret, rec_Secret, accessedAt))                                                \
            FL_SET(out, type, LastAccessedDate, (secret)->accessedAt);                             \
        if (fl_secrets_is_deleted(secret))                                                         \
            FL_SET(out, type, DeletedDate, (secret)->deleteAt);                                    \
        if ((secret)->tags.n)                                                                      \
            FL_SET(out, type, Tags, (secret)->tags);                                               \
        if (stages_.n)                                                                             \
            FL_SET(out, type, versions_member, stages_);                                           \
        FL_SET(out, type, CreatedDate, (secret)->createdAt);                                       \
    } while (0)

void fl_secrets_describe(struct fl_secrets_call *call)
{
    const struct secrets_DescribeSecretRequest *in = call->input;
    struct secrets_DescribeSecretResponse *out = call->output;
    const struct rec_Secret *secret = fl_secrets_need(call, in->SecretId);
    if (secret)
        SHOW(secrets_DescribeSecretResponse, out, secret, VersionIdsToStages);
}

void fl_secrets_list(struct fl_secrets_call *call)
{
    enum { PAGE = 100 };
    const struct secrets_ListSecretsRequest *in = call->input;
    struct secrets_ListSecretsResponse *out = call->output;
    const struct fl_secrets_order order = {
        .filters = &in->Filters,
        .with_deleted = in->IncludePlannedDeletion,
        .by = FL_HAS(in, secrets_ListSecretsRequest, SortBy) ? in->SortBy
                                                             : SECRETS_SortByType_created_date,
        .is_descending = !FL_HAS(in, secrets_ListSecretsRequest, SortOrder) ||
                         in->SortOrder == SECRETS_SortOrderType_desc,
    };
    struct fl_str next = FL_STR("");
    size_t count = 0, max = in->MaxResults > 0 ? (size_t)in->MaxResults : PAGE;
    const struct rec_Secret **page =
        fl_secrets_page(call, &order, in->NextToken, max, &count, &next);
    if (!page)
        return;
    struct secrets_SecretListEntry_list list = {
        count, fl_arena_new_array(call->arena, struct secrets_SecretListEntry, count)};
    for (size_t i = 0; i < count; i++)
        SHOW(secrets_SecretListEntry, &list.items[i], page[i], SecretVersionsToStages);
    FL_SET(out, secrets_ListSecretsResponse, SecretList, list);
    if (next.n)
        FL_SET(out, secrets_ListSecretsResponse, NextToken, next);
}

/* ---- deleting ---- */

static bool check_window(struct fl_secrets_call *call)
{
    const struct secrets_DeleteSecretRequest *in = call->input;
    bool has_window = FL_HAS(in, secrets_DeleteSecretRequest, RecoveryWindowInDays);
    if (has_window && in->ForceDeleteWithoutRecovery)
        fl_secrets_fail(call, secrets_error_InvalidParameterException,
                        "You can't use ForceDeleteWithoutRecovery in conjunction with "
                        "RecoveryWindowInDays.");
    else if (has_window &&
             (in->RecoveryWindowInDays < WINDOW_MIN || in->RecoveryWindowInDays > WINDOW_MAX))
        fl_secrets_fail(call, secrets_error_InvalidParameterException,
                        "The RecoveryWindowInDays value must be between %d and %d days "
                        "(inclusive).",
                        WINDOW_MIN, WINDOW_MAX);
    return !call->error;
}

static void show_deleted(struct fl_secrets_call *call, struct fl_str arn, struct fl_str name,
                         int64_t when_ms)
{
    struct secrets_DeleteSecretResponse *out = call->output;
    FL_SET(out, secrets_DeleteSecretResponse, ARN, arn);
    FL_SET(out, secrets_DeleteSecretResponse, Name, name);
    FL_SET(out, secrets_DeleteSecretResponse, DeletionDate, when_ms);
}

/* To erase what is not there is no error; the ARN has no suffix, for there is none. */
static void delete_missing(struct fl_secrets_call *call, struct fl_str id)
{
    struct fl_str head =
        fl_str_printf(call->arena, "arn:aws:secretsmanager:%s:%s:secret:", call->secrets->region,
                      call->secrets->account);
    struct fl_str name = fl_str_starts(id, head) ? fl_str_from(id, head.n) : id;
    struct fl_str arn = fl_str_printf(call->arena, "%.*s%.*s", FL_STR_ARG(head), FL_STR_ARG(name));
    if (check_name(call, name))
        show_deleted(call, arn, name, call->now_ms);
}

void fl_secrets_delete(struct fl_secrets_call *call)
{
    const struct secrets_DeleteSecretRequest *in = call->input;
    const struct rec_Secret *found = fl_secrets_look_up(call, in->SecretId);
    if (!check_window(call))
        return;
    if (!found && in->ForceDeleteWithoutRecovery) {
        delete_missing(call, in->SecretId);
        return;
    }
    if (!in->ForceDeleteWithoutRecovery && !(found = fl_secrets_need_live(call, in->SecretId)))
        return;
    int64_t days = in->ForceDeleteWithoutRecovery ? 0
                   : FL_HAS(in, secrets_DeleteSecretRequest, RecoveryWindowInDays)
                       ? in->RecoveryWindowInDays
                       : WINDOW_DEFAULT;
    int64_t when_ms = call->now_ms + days * day_ms;
    struct rec_Secret *secret = fl_secrets_edit(call, found);
    show_deleted(call, fl_secrets_arn(call, secret), secret->name, when_ms);
    if (in->ForceDeleteWithoutRecovery) {
        fl_secrets_erase(call->secrets, found);
        return;
    }
    FL_SET(secret, rec_Secret, deleteAt, when_ms);
    fl_secrets_save(call, secret);
}

void fl_secrets_restore(struct fl_secrets_call *call)
{
    const struct secrets_RestoreSecretRequest *in = call->input;
    struct secrets_RestoreSecretResponse *out = call->output;
    const struct rec_Secret *found = fl_secrets_need(call, in->SecretId);
    if (!found)
        return;
    struct rec_Secret *secret = fl_secrets_edit(call, found);
    FL_SET(out, secrets_RestoreSecretResponse, ARN, fl_secrets_arn(call, secret));
    FL_SET(out, secrets_RestoreSecretResponse, Name, secret->name);
    if (!fl_secrets_is_deleted(secret))
        return;
    FL_UNSET(secret, rec_Secret, deleteAt);
    fl_secrets_save(call, secret);
}

/* ---- policies ---- */

void fl_secrets_get_policy(struct fl_secrets_call *call)
{
    const struct secrets_GetResourcePolicyRequest *in = call->input;
    struct secrets_GetResourcePolicyResponse *out = call->output;
    const struct rec_Secret *secret = fl_secrets_need_live(call, in->SecretId);
    if (!secret)
        return;
    FL_SET(out, secrets_GetResourcePolicyResponse, ARN, fl_secrets_arn(call, secret));
    FL_SET(out, secrets_GetResourcePolicyResponse, Name, secret->name);
}

void fl_secrets_delete_policy(struct fl_secrets_call *call)
{
    const struct secrets_DeleteResourcePolicyRequest *in = call->input;
    struct secrets_DeleteResourcePolicyResponse *out = call->output;
    const struct rec_Secret *secret = fl_secrets_need_live(call, in->SecretId);
    if (!secret)
        return;
    FL_SET(out, secrets_DeleteResourcePolicyResponse, ARN, fl_secrets_arn(call, secret));
    FL_SET(out, secrets_DeleteResourcePolicyResponse, Name, secret->name);
}
