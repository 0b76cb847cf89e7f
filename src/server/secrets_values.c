/* Versions: their values and their labels. One version is AWSCURRENT, and the one that was is
 * AWSPREVIOUS; a label is on one version at most; a version that has none goes when there are too
 * many. */
#include "base/id.h"
#include "server/secrets_internal.h"
#include "wire/base64.h"

/* ---- values ---- */

bool fl_secrets_has_value(const struct fl_secrets_value *value)
{
    return value->has_text || value->has_bytes;
}

bool fl_secrets_check_value(struct fl_secrets_call *call, const struct fl_secrets_value *value)
{
    struct fl_str bytes = FL_STR("");
    if (value->has_text && value->has_bytes)
        fl_secrets_fail(call, secrets_error_InvalidParameterException,
                        "You can't specify both a binary secret value and a string secret value in "
                        "the same secret.");
    else if (value->has_bytes && !fl_base64_decode(value->bytes, call->arena, &bytes))
        fl_secrets_fail(call, "SerializationException", "SecretBinary is not Base64.");
    else if (value->has_bytes && (bytes.n == 0 || bytes.n > FL_SECRETS_MAX_VALUE))
        fl_secrets_fail(call, "ValidationException",
                        "SecretBinary has %zu bytes, but must have between 1 and %d.", bytes.n,
                        FL_SECRETS_MAX_VALUE);
    else if (value->text.n > FL_SECRETS_MAX_VALUE)
        fl_secrets_fail(call, "ValidationException",
                        "SecretString has %zu bytes, but must have between 1 and %d.",
                        value->text.n, FL_SECRETS_MAX_VALUE);
    return !call->error;
}

/* The value's id in the vault: a name has no newline in it. */
static struct fl_str value_id(struct fl_arena *arena, const struct rec_Secret *secret,
                              struct fl_str version)
{
    return fl_str_printf(arena, "%.*s\n%.*s", FL_STR_ARG(secret->name), FL_STR_ARG(version));
}

const struct rec_SecretValue *fl_secrets_value_of(const struct fl_secrets_call *call,
                                                  const struct rec_Secret *secret,
                                                  struct fl_str version)
{
    return fl_vault_get(call->secrets->vault, FL_VAULT_SECRET_VALUE,
                        value_id(call->arena, secret, version));
}

bool fl_secrets_is_same(const struct fl_secrets_call *call, const struct rec_Secret *secret,
                        struct fl_str version, const struct fl_secrets_value *value)
{
    const struct rec_SecretValue *kept = fl_secrets_value_of(call, secret, version);
    if (!kept)
        return !fl_secrets_has_value(value);
    return FL_HAS(kept, rec_SecretValue, text) == value->has_text &&
           FL_HAS(kept, rec_SecretValue, bytes) == value->has_bytes &&
           fl_str_eq(kept->text, value->text) && fl_str_eq(kept->bytes, value->bytes);
}

static void keep_value(struct fl_secrets_call *call, const struct rec_Secret *secret,
                       struct fl_str version, const struct fl_secrets_value *value)
{
    struct rec_SecretValue rec = {0};
    FL_SET(&rec, rec_SecretValue, v, 1);
    if (value->has_text)
        FL_SET(&rec, rec_SecretValue, text, value->text);
    else
        FL_SET(&rec, rec_SecretValue, bytes, value->bytes);
    fl_vault_put(call->secrets->vault, FL_VAULT_SECRET_VALUE,
                 value_id(call->arena, secret, version), &rec);
}

void fl_secrets_erase(struct fl_secrets *secrets, const struct rec_Secret *secret)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fl_str name = fl_str_dup(arena, secret->name);
    for (size_t i = 0; i < secret->versions.n; i++)
        fl_vault_remove(secrets->vault, FL_VAULT_SECRET_VALUE,
                        value_id(arena, secret, secret->versions.items[i].id));
    fl_vault_remove(secrets->vault, FL_VAULT_SECRET, name);
}

/* ---- labels ---- */

struct rec_SecretVersion *fl_secrets_find_version(const struct rec_Secret *secret, struct fl_str id)
{
    for (size_t i = 0; i < secret->versions.n; i++)
        if (fl_str_eq(secret->versions.items[i].id, id))
            return &secret->versions.items[i];
    return NULL;
}

static bool has_stage(const struct rec_SecretVersion *version, struct fl_str stage)
{
    for (size_t i = 0; i < version->stages.n; i++)
        if (fl_str_eq(version->stages.items[i], stage))
            return true;
    return false;
}

struct rec_SecretVersion *fl_secrets_find_stage(const struct rec_Secret *secret,
                                                struct fl_str stage)
{
    for (size_t i = 0; i < secret->versions.n; i++)
        if (has_stage(&secret->versions.items[i], stage))
            return &secret->versions.items[i];
    return NULL;
}

static void remove_stage(struct rec_SecretVersion *version, struct fl_str stage)
{
    struct fl_str_list *stages = &version->stages;
    size_t kept = 0;
    for (size_t i = 0; i < stages->n; i++)
        if (!fl_str_eq(stages->items[i], stage))
            stages->items[kept++] = stages->items[i];
    stages->n = kept;
}

/* The label is on this version alone (NULL: on none) from now on. */
static void set_stage(struct fl_secrets_call *call, struct rec_Secret *secret,
                      struct rec_SecretVersion *version, struct fl_str stage)
{
    struct rec_SecretVersion *holder = fl_secrets_find_stage(secret, stage);
    if (holder == version)
        return;
    if (holder)
        remove_stage(holder, stage);
    if (!version)
        return;
    struct fl_str_list stages = {
        version->stages.n + 1,
        fl_arena_new_array(call->arena, struct fl_str, version->stages.n + 1)};
    for (size_t i = 0; i < version->stages.n; i++)
        stages.items[i] = version->stages.items[i];
    stages.items[version->stages.n] = stage;
    FL_SET(version, rec_SecretVersion, stages, stages);
}

/* Where AWSCURRENT leaves, AWSPREVIOUS comes. */
static void move_stage(struct fl_secrets_call *call, struct rec_Secret *secret,
                       struct rec_SecretVersion *version, struct fl_str stage)
{
    struct rec_SecretVersion *holder = fl_secrets_find_stage(secret, stage);
    set_stage(call, secret, version, stage);
    if (fl_str_is(stage, FL_SECRETS_CURRENT) && holder && holder != version)
        set_stage(call, secret, holder, FL_STR(FL_SECRETS_PREVIOUS));
}

static bool check_stage_count(struct fl_secrets_call *call, const struct rec_Secret *secret)
{
    size_t n = 0;
    for (size_t i = 0; i < secret->versions.n; i++)
        n += secret->versions.items[i].stages.n;
    if (n > FL_SECRETS_MAX_STAGES)
        fl_secrets_fail(call, secrets_error_LimitExceededException,
                        "A secret can't have more than %d staging labels.", FL_SECRETS_MAX_STAGES);
    return !call->error;
}

/* ---- new versions ---- */

struct fl_str fl_secrets_version_id(struct fl_secrets_call *call, struct fl_str token)
{
    uint8_t bytes[16];
    char hex[33];
    if (token.n)
        return token;
    fl_random_bytes(bytes, sizeof(bytes));
    bytes[6] = (uint8_t)((bytes[6] & 0x0f) | 0x40);
    bytes[8] = (uint8_t)((bytes[8] & 0x3f) | 0x80);
    fl_hex(bytes, sizeof(bytes), hex);
    return fl_str_printf(call->arena, "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12, hex + 16,
                         hex + 20);
}

/* The oldest one without a label, if there are as many versions as may be; NULL: none has to go. */
static struct rec_SecretVersion *surplus(struct fl_secrets_call *call,
                                         const struct rec_Secret *secret)
{
    if (secret->versions.n < FL_SECRETS_MAX_VERSIONS)
        return NULL;
    for (size_t i = 0; i < secret->versions.n; i++)
        if (secret->versions.items[i].stages.n == 0)
            return &secret->versions.items[i];
    fl_secrets_fail(call, secrets_error_LimitExceededException,
                    "A secret can't have more than %d versions.", FL_SECRETS_MAX_VERSIONS);
    return NULL;
}

static struct rec_SecretVersion *append_version(struct fl_secrets_call *call,
                                                struct rec_Secret *secret, struct fl_str id)
{
    struct rec_SecretVersion_list list = {
        0, fl_arena_new_array(call->arena, struct rec_SecretVersion, secret->versions.n + 1)};
    for (size_t i = 0; i < secret->versions.n; i++)
        list.items[list.n++] = secret->versions.items[i];
    struct rec_SecretVersion *version = &list.items[list.n++];
    FL_SET(version, rec_SecretVersion, id, id);
    FL_SET(version, rec_SecretVersion, createdAt, call->now_ms);
    FL_SET(secret, rec_Secret, versions, list);
    return version;
}

/* Labels first, as they may make the version that has to go. */
static void label(struct fl_secrets_call *call, struct rec_Secret *secret,
                  struct rec_SecretVersion *version, struct fl_str_list stages)
{
    bool is_first = secret->versions.n == 1;
    for (size_t i = 0; i < stages.n; i++)
        move_stage(call, secret, version, stages.items[i]);
    if (stages.n == 0 || is_first)
        move_stage(call, secret, version, FL_STR(FL_SECRETS_CURRENT));
}

static void drop_version(struct fl_secrets_call *call, struct rec_Secret *secret,
                         struct rec_SecretVersion *version)
{
    struct rec_SecretVersion_list *list = &secret->versions;
    fl_vault_remove(call->secrets->vault, FL_VAULT_SECRET_VALUE,
                    value_id(call->arena, secret, version->id));
    memmove(version, version + 1,
            (size_t)(list->items + list->n - (version + 1)) * sizeof(*version));
    list->n--;
}

bool fl_secrets_add_version(struct fl_secrets_call *call, struct rec_Secret *secret,
                            struct fl_str id, const struct fl_secrets_value *value,
                            struct fl_str_list stages)
{
    if (fl_secrets_find_version(secret, id)) {
        if (fl_secrets_is_same(call, secret, id, value))
            return true;
        fl_secrets_fail(call, secrets_error_ResourceExistsException,
                        "You can't use ClientRequestToken %.*s because that value is already in "
                        "use for a version of secret %.*s.",
                        FL_STR_ARG(id), FL_STR_ARG(fl_secrets_arn(call, secret)));
        return false;
    }
    struct rec_SecretVersion *old = surplus(call, secret);
    if (call->error || !fl_secrets_check_room(call))
        return false;
    struct fl_str gone = old ? old->id : FL_STR("");
    label(call, secret, append_version(call, secret, id), stages);
    if (!check_stage_count(call, secret))
        return false;
    if (gone.n)
        drop_version(call, secret, fl_secrets_find_version(secret, gone));
    keep_value(call, secret, id, value);
    return true;
}

void fl_secrets_put_value(struct fl_secrets_call *call)
{
    const struct secrets_PutSecretValueRequest *in = call->input;
    struct secrets_PutSecretValueResponse *out = call->output;
    const struct fl_secrets_value value = {FL_HAS(in, secrets_PutSecretValueRequest, SecretString),
                                           FL_HAS(in, secrets_PutSecretValueRequest, SecretBinary),
                                           in->SecretString, in->SecretBinary};
    const struct rec_Secret *found = fl_secrets_need_live(call, in->SecretId);
    if (found && in->RotationToken.n)
        fl_secrets_fail(call, secrets_error_InvalidRequestException,
                        "RotationToken is not implemented yet: there is no rotation.");
    if (found && !fl_secrets_has_value(&value))
        fl_secrets_fail(call, secrets_error_InvalidRequestException,
                        "You must provide either SecretString or SecretBinary.");
    if (call->error || !fl_secrets_check_value(call, &value))
        return;
    struct rec_Secret *secret = fl_secrets_edit(call, found);
    struct fl_str id = fl_secrets_version_id(call, in->ClientRequestToken);
    if (!fl_secrets_add_version(call, secret, id, &value, in->VersionStages))
        return;
    fl_secrets_save(call, secret);
    const struct rec_SecretVersion *version = fl_secrets_find_version(secret, id);
    FL_SET(out, secrets_PutSecretValueResponse, ARN, fl_secrets_arn(call, secret));
    FL_SET(out, secrets_PutSecretValueResponse, Name, secret->name);
    FL_SET(out, secrets_PutSecretValueResponse, VersionId, id);
    if (version->stages.n)
        FL_SET(out, secrets_PutSecretValueResponse, VersionStages, version->stages);
}

/* ---- moving labels ---- */

static struct rec_SecretVersion *need_version(struct fl_secrets_call *call,
                                              const struct rec_Secret *secret, struct fl_str id)
{
    struct rec_SecretVersion *version = fl_secrets_find_version(secret, id);
    if (!version)
        fl_secrets_fail(call, secrets_error_ResourceNotFoundException,
                        "Secrets Manager can't find the specified secret version: %.*s.",
                        FL_STR_ARG(id));
    return version;
}

static bool check_move(struct fl_secrets_call *call, const struct rec_SecretVersion *holder,
                       const struct rec_SecretVersion *from, const struct rec_SecretVersion *to)
{
    const struct secrets_UpdateSecretVersionStageRequest *in = call->input;
    struct fl_str stage = in->VersionStage;
    if (!from && !to)
        fl_secrets_fail(call, secrets_error_InvalidParameterException,
                        "You must specify MoveToVersionId, RemoveFromVersionId, or both.");
    else if (from && from != holder)
        fl_secrets_fail(call, secrets_error_InvalidParameterException,
                        "Staging label %.*s is not attached to version %.*s.", FL_STR_ARG(stage),
                        FL_STR_ARG(from->id));
    else if (!to && fl_str_is(stage, FL_SECRETS_CURRENT))
        fl_secrets_fail(call, secrets_error_InvalidParameterException,
                        "You can only move staging label AWSCURRENT to a different secret version. "
                        "It can’t be completely removed.");
    else if (to && holder && holder != to && !from)
        fl_secrets_fail(call, secrets_error_InvalidParameterException,
                        "The parameter RemoveFromVersionId can't be empty. Staging label %.*s is "
                        "currently attached to version %.*s, so you must explicitly reference that "
                        "version in RemoveFromVersionId.",
                        FL_STR_ARG(stage), FL_STR_ARG(holder->id));
    return !call->error;
}

void fl_secrets_update_stage(struct fl_secrets_call *call)
{
    const struct secrets_UpdateSecretVersionStageRequest *in = call->input;
    struct secrets_UpdateSecretVersionStageResponse *out = call->output;
    const struct rec_Secret *found = fl_secrets_need_live(call, in->SecretId);
    if (!found)
        return;
    struct rec_Secret *secret = fl_secrets_edit(call, found);
    struct rec_SecretVersion *from = NULL, *to = NULL;
    if (in->RemoveFromVersionId.n && !(from = need_version(call, secret, in->RemoveFromVersionId)))
        return;
    if (in->MoveToVersionId.n && !(to = need_version(call, secret, in->MoveToVersionId)))
        return;
    if (!check_move(call, fl_secrets_find_stage(secret, in->VersionStage), from, to))
        return;
    move_stage(call, secret, to, in->VersionStage);
    if (!check_stage_count(call, secret))
        return;
    fl_secrets_save(call, secret);
    FL_SET(out, secrets_UpdateSecretVersionStageResponse, ARN, fl_secrets_arn(call, secret));
    FL_SET(out, secrets_UpdateSecretVersionStageResponse, Name, secret->name);
}
