/* Account settings: PutAccountSetting, PutAccountSettingDefault, DeleteAccountSetting,
 * ListAccountSettings. What nobody has put has AWS's value.
 *
 * Every caller is the account's root so far, for whom setting a value and setting the default are
 * the same; a user's or role's own value can be put by naming it. */
#include <stdio.h>

#include "core/decide.h"
#include "core/page.h"
#include "wire/arn.h"

/* Pages of this listing are shorter than the others'. */
enum { MAX_LISTED = 10, MAX_SETTINGS = 10000, MAX_PRINCIPAL = 512 };

struct rule {
    enum ecs_SettingName name;
    const char *initial;
    const char *values[4]; /* that may be put, NULL-terminated; none: AWS manages the setting */
};

/* In the order in which they are listed. */
static const struct rule rules[] = {
    {ECS_SettingName_awsvpcTrunking, "disabled", {"enabled", "disabled"}},
    {ECS_SettingName_containerInsights, "disabled", {"enhanced", "enabled", "disabled"}},
    {ECS_SettingName_containerInstanceLongArnFormat, "enabled", {"enabled"}},
    {ECS_SettingName_defaultLogDriverMode, "non-blocking", {"blocking", "non-blocking"}},
    {ECS_SettingName_fargateEventWindows, "disabled", {"enabled", "disabled"}},
    {ECS_SettingName_fargateFIPSMode, "disabled", {"enabled", "disabled"}},
    {ECS_SettingName_fargateTaskRetirementWaitPeriod, "7", {"0", "7", "14"}},
    {ECS_SettingName_guardDutyActivate, "off", {NULL}},
    {ECS_SettingName_serviceLongArnFormat, "enabled", {"enabled"}},
    {ECS_SettingName_tagResourceAuthorization, "off", {"on", "off"}},
    {ECS_SettingName_taskLongArnFormat, "enabled", {"enabled"}},
};

struct fl_str fl_root_arn(struct fl_decision *d)
{
    return fl_str_printf(d->arena, "arn:aws:iam::%.*s:root", FL_STR_ARG(d->core->account));
}

static const struct rule *rule_of(enum ecs_SettingName name)
{
    for (size_t i = 0; i < FL_ARRAY_SIZE(rules); i++)
        if (rules[i].name == name)
            return &rules[i];
    FL_ASSERT(!"a rule for every setting");
    return NULL;
}

/* The setting that counts for a principal: its own, else the account's; NULL: nobody's. */
static const struct fl_setting *effective(struct fl_decision *d, enum ecs_SettingName name,
                                          struct fl_str principal)
{
    const struct fl_setting *own = fl_state_setting(d->core, name, principal);
    return own ? own : fl_state_setting(d->core, name, fl_root_arn(d));
}

struct fl_str fl_effective_setting(struct fl_decision *d, enum ecs_SettingName name)
{
    const struct fl_setting *setting = effective(d, name, fl_root_arn(d));
    return setting ? fl_str_dup(d->arena, setting->rec->value) : fl_str_of(rule_of(name)->initial);
}

/* Who is meant: the caller, or a user, a role or the root of this account. */
static int read_principal(struct fl_decision *d, struct fl_str given, struct fl_str *ret_principal)
{
    struct fl_arn arn;
    *ret_principal = given;
    if (given.n == 0) {
        *ret_principal = fl_root_arn(d);
        return 0;
    }
    bool is_valid = given.n <= MAX_PRINCIPAL && fl_arn_parse(given, &arn) &&
                    fl_str_is(arn.service, "iam") && arn.region.n == 0 &&
                    fl_str_eq(arn.account, d->core->account) &&
                    ((fl_str_is(arn.type, "root") && arn.rest.n == 0) ||
                     ((fl_str_is(arn.type, "user") || fl_str_is(arn.type, "role")) && arn.rest.n));
    for (size_t i = 0; is_valid && i < given.n; i++)
        is_valid = given.p[i] > ' ' && given.p[i] <= '~';
    if (is_valid)
        return 0;
    return fl_refuse(d, "InvalidParameterException",
                     "principalArn '%.*s' is not valid: it is the ARN of a user, a role or the "
                     "root of account %.*s.",
                     (int)FL_MIN(given.n, (size_t)300), given.p, FL_STR_ARG(d->core->account));
}

static int check_value(struct fl_decision *d, enum ecs_SettingName name, struct fl_str value)
{
    const struct rule *rule = rule_of(name);
    char allowed[100] = "";
    const char *text = fl_enum_text(&ecs_enum_SettingName, (int)name);
    if (!rule->values[0])
        return fl_refuse(d, "InvalidParameterException",
                         "The setting %s is managed by AWS and cannot be changed.", text);
    for (size_t i = 0; rule->values[i]; i++) {
        if (fl_str_is(value, rule->values[i]))
            return 0;
        size_t n = strlen(allowed);
        (void)snprintf(allowed + n, sizeof(allowed) - n, "%s%s", i ? "," : "", rule->values[i]);
    }
    return fl_refuse(d, "InvalidParameterException",
                     "The value '%.*s' of the setting %s should be one of [%s]",
                     (int)FL_MIN(value.n, (size_t)100), value.p, text, allowed);
}

/* There are no microVMs with FIPS yet: saying that they are on would be untrue. */
static int check_promise(struct fl_decision *d, enum ecs_SettingName name, struct fl_str value)
{
    if (name == ECS_SettingName_fargateFIPSMode && fl_str_is(value, "enabled"))
        return fl_refuse(d, "ClientException", "fargateFIPSMode is not implemented yet.");
    return 0;
}

static struct ecs_Setting *show(struct fl_decision *d, enum ecs_SettingName name,
                                struct fl_str value, struct fl_str principal,
                                struct ecs_Setting *out)
{
    FL_SET(out, ecs_Setting, name, name);
    FL_SET(out, ecs_Setting, value, fl_str_dup(d->arena, value));
    FL_SET(out, ecs_Setting, principalArn, fl_str_dup(d->arena, principal));
    FL_SET(out, ecs_Setting, type,
           rule_of(name)->values[0] ? ECS_SettingType_user : ECS_SettingType_aws_managed);
    return out;
}

static int put(struct fl_decision *d, enum ecs_SettingName name, struct fl_str value,
               struct fl_str given, struct ecs_Setting **ret_setting)
{
    struct rec_Setting rec = {0};
    struct fl_str principal;
    if (check_value(d, name, value) < 0 || check_promise(d, name, value) < 0 ||
        read_principal(d, given, &principal) < 0)
        return -1;
    const struct fl_setting *known = fl_state_setting(d->core, name, principal);
    if (!known && d->core->setting_count >= MAX_SETTINGS)
        return fl_refuse(d, "ClientException", "There can be at most %d account settings.",
                         MAX_SETTINGS);
    FL_SET(&rec, rec_Setting, v, FL_RECORD_VERSION);
    FL_SET(&rec, rec_Setting, name, name);
    FL_SET(&rec, rec_Setting, principalArn, principal);
    FL_SET(&rec, rec_Setting, value, value);
    if (!known || !fl_str_eq(known->rec->value, value))
        fl_put(d, FL_RECORD_SETTING, &rec);
    *ret_setting =
        show(d, name, value, principal, fl_arena_new_object(d->arena, struct ecs_Setting));
    return 0;
}

int fl_put_setting(struct fl_decision *d, const void *input, void *output)
{
    const struct ecs_PutAccountSettingRequest *in = input;
    struct ecs_PutAccountSettingResponse *out = output;
    struct ecs_Setting *setting;
    if (put(d, in->name, in->value, in->principalArn, &setting) < 0)
        return -1;
    FL_SET(out, ecs_PutAccountSettingResponse, setting, setting);
    return 0;
}

int fl_put_default_setting(struct fl_decision *d, const void *input, void *output)
{
    const struct ecs_PutAccountSettingDefaultRequest *in = input;
    struct ecs_PutAccountSettingDefaultResponse *out = output;
    struct ecs_Setting *setting;
    if (put(d, in->name, in->value, FL_STR(""), &setting) < 0)
        return -1;
    FL_SET(out, ecs_PutAccountSettingDefaultResponse, setting, setting);
    return 0;
}

/* The answer is what counts from now on. */
int fl_delete_setting(struct fl_decision *d, const void *input, void *output)
{
    const struct ecs_DeleteAccountSettingRequest *in = input;
    struct ecs_DeleteAccountSettingResponse *out = output;
    struct fl_str principal;
    if (read_principal(d, in->principalArn, &principal) < 0)
        return -1;
    struct fl_setting *own = fl_state_setting(d->core, in->name, principal);
    if (own)
        fl_drop_setting(d, own);
    const struct fl_setting *left = effective(d, in->name, principal);
    struct fl_str value = left ? left->rec->value : fl_str_of(rule_of(in->name)->initial);
    FL_SET(out, ecs_DeleteAccountSettingResponse, setting,
           show(d, in->name, value, principal, fl_arena_new_object(d->arena, struct ecs_Setting)));
    return 0;
}

/* The i-th setting as the listing has it; false when it is not in the listing. */
static bool list_one(struct fl_decision *d, const struct ecs_ListAccountSettingsRequest *in,
                     struct fl_str principal, size_t i, struct ecs_Setting *out)
{
    enum ecs_SettingName name = rules[i].name;
    const struct fl_setting *own = fl_state_setting(d->core, name, principal);
    const struct fl_setting *counts = in->effectiveSettings ? effective(d, name, principal) : own;
    if (FL_HAS(in, ecs_ListAccountSettingsRequest, name) && in->name != name)
        return false;
    if (!counts && !in->effectiveSettings)
        return false;
    struct fl_str value = counts ? counts->rec->value : fl_str_of(rules[i].initial);
    if (FL_HAS(in, ecs_ListAccountSettingsRequest, value) && !fl_str_eq(in->value, value))
        return false;
    (void)show(d, name, value, counts ? counts->rec->principalArn : fl_root_arn(d), out);
    return true;
}

static int check_listing(struct fl_decision *d, const struct ecs_ListAccountSettingsRequest *in,
                         struct fl_page *ret_page, uint64_t *ret_from)
{
    bool has_max = FL_HAS(in, ecs_ListAccountSettingsRequest, maxResults);
    *ret_from = 0;
    if (has_max && (in->maxResults < 1 || in->maxResults > MAX_LISTED))
        return fl_refuse(d, "InvalidParameterException", "maxResults should be between 1 and %d.",
                         MAX_LISTED);
    if (FL_HAS(in, ecs_ListAccountSettingsRequest, value) &&
        !FL_HAS(in, ecs_ListAccountSettingsRequest, name))
        return fl_refuse(d, "InvalidParameterException",
                         "You must also specify an account setting name to filter by value.");
    if (fl_page_read(d, in->nextToken, true, has_max ? in->maxResults : MAX_LISTED, ret_page) < 0)
        return -1;
    if (in->nextToken.n &&
        (!fl_str_to_u64(ret_page->after, ret_from) || *ret_from >= FL_ARRAY_SIZE(rules)))
        return fl_refuse(d, "InvalidParameterException", "Invalid token.");
    return 0;
}

int fl_list_settings(struct fl_decision *d, const void *input, void *output)
{
    const struct ecs_ListAccountSettingsRequest *in = input;
    struct ecs_ListAccountSettingsResponse *out = output;
    struct ecs_Setting setting;
    struct fl_str principal;
    struct fl_page page;
    uint64_t from;
    if (read_principal(d, in->principalArn, &principal) < 0 ||
        check_listing(d, in, &page, &from) < 0)
        return -1;
    out->settings.items = fl_arena_new_array(d->arena, struct ecs_Setting, page.max);
    for (size_t i = from; i < FL_ARRAY_SIZE(rules); i++) {
        setting = (struct ecs_Setting){0};
        if (!list_one(d, in, principal, i, &setting))
            continue;
        if (out->settings.n == page.max) {
            FL_SET(out, ecs_ListAccountSettingsResponse, nextToken,
                   fl_page_token(d, fl_str_printf(d->arena, "%zu", i)));
            break;
        }
        out->settings.items[out->settings.n++] = setting;
    }
    FL_SET(out, ecs_ListAccountSettingsResponse, settings, out->settings);
    return 0;
}
