/* PutParameter: a new parameter, or a new version of one. What a request for a new version does not
 * say stays as it was. */
#include "server/parameters_internal.h"
#include "server/parameters_pattern.h"

/* How many parameters an account has of each tier. */
enum { MAX_STANDARD = 10000, MAX_ADVANCED = 100000 };

static const char default_key[] = "alias/aws/ssm";

/* What the request asks for, together with what was there before. */
struct put {
    struct fl_str id;
    const struct rec_Parameter *old; /* NULL: a new parameter */
    struct rec_ParameterVersion version;
    struct rec_ParameterValue value;
};

/* ---- what can be said without looking at the parameter ---- */

static bool check_request(struct fl_parameters_call *call)
{
    const struct ssm_PutParameterRequest *in = call->input;
    struct fl_err err;
    struct fl_str prefix = fl_parameters_arn(call, FL_STR("/"));
    if (in->Value.n == 0)
        fl_parameters_fail(call, "ValidationException",
                           "1 validation error detected: Value '' at 'value' failed to satisfy "
                           "constraint: Member must have length greater than or equal to 1.");
    else if (in->Overwrite && in->Tags.n > 0)
        fl_parameters_fail(call, "ValidationException",
                           "Invalid request: tags and overwrite can't be used together. To create "
                           "a parameter with tags, please remove overwrite flag. To update tags "
                           "for an existing parameter, please use AddTagsToResource or "
                           "RemoveTagsFromResource.");
    else if (FL_HAS(in, ssm_PutParameterRequest, Policies))
        fl_parameters_fail(call, "ValidationException",
                           "Policies of parameters are not implemented yet.");
    else if (fl_str_is(in->DataType, "aws:ec2:image") ||
             fl_str_is(in->DataType, "aws:ssm:integration"))
        fl_parameters_fail(call, "ValidationException",
                           "The data type %.*s is not implemented yet.", FL_STR_ARG(in->DataType));
    else if (in->DataType.n > 0 && !fl_str_is(in->DataType, "text"))
        fl_parameters_fail(call, "ValidationException",
                           "The following data type is not supported: %.*s (Data type names are "
                           "all lowercase.)",
                           FL_STR_ARG(in->DataType));
    else
        (void)(fl_parameters_pass(call, fl_parameters_check_new_name(in->Name, prefix, &err),
                                  &err) &&
               fl_parameters_pass(call, fl_parameters_check_tags(&in->Tags, &err), &err));
    return !call->error;
}

/* ---- the new version ---- */

static bool choose_type(struct fl_parameters_call *call, const struct rec_ParameterVersion *last,
                        struct rec_ParameterVersion *version)
{
    const struct ssm_PutParameterRequest *in = call->input;
    bool is_given = FL_HAS(in, ssm_PutParameterRequest, Type);
    bool has_key = FL_HAS(in, ssm_PutParameterRequest, KeyId);
    if (!is_given && !last) {
        fl_parameters_fail(call, "ValidationException",
                           "A parameter type is required when you create a parameter.");
        return false;
    }
    enum ssm_ParameterType type = is_given ? in->Type : last->type;
    FL_SET(version, rec_ParameterVersion, type, type);
    if (has_key && type != SSM_ParameterType_SecureString) {
        fl_parameters_fail(call, "ValidationException",
                           "KeyId is required for SecureString type parameter only.");
        return false;
    }
    struct fl_str key = has_key ? in->KeyId
                        : last && last->type == SSM_ParameterType_SecureString
                            ? last->keyId
                            : fl_str_of(default_key);
    if (type == SSM_ParameterType_SecureString)
        FL_SET(version, rec_ParameterVersion, keyId, key);
    return true;
}

/* What the tier comes to: an advanced parameter never becomes a standard one again. */
static bool choose_tier(struct fl_parameters_call *call, const struct rec_ParameterVersion *last,
                        struct rec_ParameterVersion *version)
{
    const struct ssm_PutParameterRequest *in = call->input;
    bool was_advanced = last && last->tier == SSM_ParameterTier_Advanced;
    enum ssm_ParameterTier tier = FL_HAS(in, ssm_PutParameterRequest, Tier) ? in->Tier
                                  : was_advanced ? SSM_ParameterTier_Advanced
                                                 : SSM_ParameterTier_Standard;
    if (tier == SSM_ParameterTier_Intelligent_Tiering)
        tier = was_advanced || in->Value.n > FL_PARAMETERS_STANDARD_BYTES
                   ? SSM_ParameterTier_Advanced
                   : SSM_ParameterTier_Standard;
    FL_SET(version, rec_ParameterVersion, tier, tier);
    bool is_standard = tier == SSM_ParameterTier_Standard;
    if (is_standard && was_advanced)
        fl_parameters_fail(
            call, "ValidationException",
            "This parameter uses the advanced-parameter tier. You can't downgrade a parameter from "
            "the advanced-parameter tier to the standard-parameter tier. If necessary, you can "
            "delete the advanced parameter and recreate it as a standard parameter. Be aware that "
            "standard parameters have a value limit of %d characters.",
            FL_PARAMETERS_STANDARD_BYTES);
    else if (is_standard && in->Value.n > FL_PARAMETERS_STANDARD_BYTES)
        fl_parameters_fail(
            call, "ValidationException",
            "Standard tier parameters support a maximum parameter value of %d characters. To "
            "create a larger parameter value, upgrade the parameter to use the advanced-parameter "
            "tier. For more information, see "
            "https://docs.aws.amazon.com/systems-manager/latest/userguide/"
            "parameter-store-advanced-parameters.html",
            FL_PARAMETERS_STANDARD_BYTES);
    else if (in->Value.n > FL_PARAMETERS_ADVANCED_BYTES)
        fl_parameters_fail(
            call, "ValidationException",
            "Advanced tier parameters support a maximum parameter value of %d characters.",
            FL_PARAMETERS_ADVANCED_BYTES);
    return !call->error;
}

static void describe(struct fl_parameters_call *call, struct put *put)
{
    const struct ssm_PutParameterRequest *in = call->input;
    struct rec_ParameterVersion *version = &put->version;
    struct rec_ParameterValue *value = &put->value;
    const struct rec_ParameterVersion *last =
        put->old ? fl_parameters_version(put->old, FL_STR("")) : NULL;
    if (last)
        *value = *fl_parameters_value(call, put->id, last->version);
    FL_SET(version, rec_ParameterVersion, version, last ? last->version + 1 : 1);
    FL_SET(version, rec_ParameterVersion, dataType, FL_STR("text"));
    FL_SET(version, rec_ParameterVersion, modifiedAt, call->now_ms);
    FL_SET(version, rec_ParameterVersion, modifiedBy, call->caller.user);
    FL_SET(value, rec_ParameterValue, v, 1);
    FL_SET(value, rec_ParameterValue, text, in->Value);
    if (FL_HAS(in, ssm_PutParameterRequest, Description))
        FL_SET(value, rec_ParameterValue, description, in->Description);
    if (FL_HAS(in, ssm_PutParameterRequest, AllowedPattern))
        FL_SET(value, rec_ParameterValue, allowedPattern, in->AllowedPattern);
}

/* As fl_parameters_pattern_match: of a StringList each item has to. */
static int match(struct fl_parameters_pattern *pattern, const struct put *put)
{
    struct fl_str item, rest = put->value.text;
    int rc = 1;
    if (put->version.type != SSM_ParameterType_StringList)
        return fl_parameters_pattern_match(pattern, rest);
    while (rc == 1 && fl_str_split(&rest, ',', &item))
        rc = fl_parameters_pattern_match(pattern, item);
    return rc;
}

static bool check_pattern(struct fl_parameters_call *call, const struct put *put)
{
    struct fl_str text = put->value.allowedPattern;
    struct fl_err err;
    if (!FL_HAS(&put->value, rec_ParameterValue, allowedPattern) || text.n == 0)
        return true;
    struct fl_parameters_pattern *pattern = fl_parameters_pattern_new(text, &err);
    int rc = pattern ? match(pattern, put) : -EINVAL;
    fl_parameters_pattern_free(pattern);
    if (rc == -EINVAL)
        fl_parameters_fail(call, "InvalidAllowedPatternException", "%s", err.text);
    else if (rc == -E2BIG)
        fl_parameters_fail(call, "InvalidAllowedPatternException",
                           "The value cannot be compared with the pattern in bounded time.");
    else if (rc == 0)
        fl_parameters_fail(call, "ParameterPatternMismatchException",
                           "Parameter value, cannot be validated against allowedPattern: %.*s",
                           (int)FL_MIN(text.n, (size_t)900), text.p);
    return !call->error;
}

/* ---- room ---- */

/* Is there room for one more? Tiers are counted together, and no installation comes near it. */
static bool check_room(struct fl_parameters_call *call, const struct put *put)
{
    size_t max = put->version.tier == SSM_ParameterTier_Advanced ? MAX_ADVANCED : MAX_STANDARD;
    size_t count = fl_vault_count(call->caller.vault, FL_VAULT_PARAMETER);
    if (fl_vault_has_room(call->caller.vault) && (put->old || count < max))
        return true;
    fl_parameters_fail(call, "ParameterLimitExceeded",
                       "You have exceeded the number of parameters for this account. Delete one or "
                       "more parameters and try again.");
    return false;
}

/* The oldest of a hundred versions goes when one more comes, unless it has a label. */
static bool check_oldest(struct fl_parameters_call *call, const struct put *put)
{
    const struct rec_ParameterVersion *oldest = put->old ? &put->old->versions.items[0] : NULL;
    if (!oldest || put->old->versions.n < FL_PARAMETERS_MAX_VERSIONS || oldest->labels.n == 0)
        return true;
    fl_parameters_fail(call, "ParameterMaxVersionLimitExceeded",
                       "You attempted to create a new version of %.*s by calling the PutParameter "
                       "API with the overwrite flag. Version %lld, the oldest version, can't be "
                       "deleted because it has a label associated with it. Move the label to "
                       "another version of the parameter, and try again.",
                       (int)FL_MIN(put->id.n, (size_t)600), put->id.p, (long long)oldest->version);
    return false;
}

/* ---- the call ---- */

static void save(struct fl_parameters_call *call, const struct put *put)
{
    const struct ssm_PutParameterRequest *in = call->input;
    struct rec_Parameter parameter = {0};
    struct rec_ParameterVersion_list list = {0};
    size_t old = put->old ? put->old->versions.n : 0, skipped = old >= FL_PARAMETERS_MAX_VERSIONS;
    if (put->old)
        parameter = *put->old;
    FL_SET(&parameter, rec_Parameter, v, 1);
    if (!put->old)
        FL_SET(&parameter, rec_Parameter, name, in->Name);
    if (in->Tags.n > 0)
        FL_SET(&parameter, rec_Parameter, tags, in->Tags);
    list.items = fl_arena_new_array(call->arena, struct rec_ParameterVersion, old + 1);
    for (size_t i = skipped; i < old; i++)
        list.items[list.n++] = put->old->versions.items[i];
    list.items[list.n++] = put->version;
    FL_SET(&parameter, rec_Parameter, versions, list);
    if (skipped)
        fl_parameters_remove_value(call, put->id, put->old->versions.items[0].version);
    fl_parameters_save_value(call, put->id, put->version.version, &put->value);
    fl_parameters_save(call, put->id, &parameter);
}

void fl_parameters_put(struct fl_parameters_call *call)
{
    const struct ssm_PutParameterRequest *in = call->input;
    struct ssm_PutParameterResult *out = call->output;
    struct put put = {.id = FL_STR("")};
    if (!check_request(call))
        return;
    put.id = fl_parameters_id(in->Name, call->arena);
    put.old = fl_parameters_find(call, put.id);
    if (put.old && !in->Overwrite) {
        fl_parameters_fail(call, "ParameterAlreadyExists",
                           "The parameter already exists. To overwrite this value, set the "
                           "overwrite option in the request to true.");
        return;
    }
    const struct rec_ParameterVersion *last =
        put.old ? fl_parameters_version(put.old, FL_STR("")) : NULL;
    if (!choose_type(call, last, &put.version) || !choose_tier(call, last, &put.version))
        return;
    describe(call, &put);
    if (call->error || !check_pattern(call, &put) || !check_oldest(call, &put) ||
        !check_room(call, &put))
        return;
    save(call, &put);
    FL_SET(out, ssm_PutParameterResult, Version, put.version.version);
    FL_SET(out, ssm_PutParameterResult, Tier, put.version.tier);
}
