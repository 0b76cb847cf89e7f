/* Account settings: defaults, values that are refused, whose value counts, pages; and what the
 * settings change. Requests as a client sends them; a rebuilt core must agree. */
#include "core/core_fixture.h"

static const char root[] = "arn:aws:iam::000000000000:root";
static const char user[] = "arn:aws:iam::000000000000:user/eve";

static void defaults_are_effective(FL_UNUSED void **state)
{
    struct fix *f = fix_new();
    fix_ok(f, "ListAccountSettings", "{}");
    assert_int_equal(fix_size(f, "settings"), 0);
    fix_ok(f, "ListAccountSettings", "{'effectiveSettings':true}");
    assert_int_equal(fix_size(f, "settings"), 10);
    assert_string_equal(fix_text(f, "settings.0.principalArn"), root);
    char token[100];
    (void)snprintf(token, sizeof(token), "%s", fix_text(f, "nextToken"));
    fix_ok(f, "ListAccountSettings", "{'effectiveSettings':true,'nextToken':'%s'}", token);
    assert_int_equal(fix_size(f, "settings"), 1);
    assert_string_equal(fix_text(f, "settings.0.name"), "taskLongArnFormat");
    assert_string_equal(fix_text(f, "settings.0.value"), "enabled");
    fix_ok(f, "ListAccountSettings", "{'effectiveSettings':true,'name':'guardDutyActivate'}");
    assert_string_equal(fix_text(f, "settings.0.type"), "aws_managed");
    fix_ok(f, "ListAccountSettings",
           "{'effectiveSettings':true,'name':'containerInsights','value':'enabled'}");
    assert_int_equal(fix_size(f, "settings"), 0);
    fix_free(f);
}

static void the_principal_s_own_value_counts_first(FL_UNUSED void **state)
{
    struct fix *f = fix_new();
    fix_ok(f, "PutAccountSettingDefault", "{'name':'containerInsights','value':'enabled'}");
    assert_string_equal(fix_text(f, "setting.principalArn"), root);
    fix_ok(f, "PutAccountSetting",
           "{'name':'containerInsights','value':'enhanced','principalArn':'%s'}", user);
    assert_string_equal(fix_text(f, "setting.principalArn"), user);
    fix_recover(f, true);
    fix_ok(f, "ListAccountSettings", "{'principalArn':'%s'}", user);
    assert_int_equal(fix_size(f, "settings"), 1);
    assert_string_equal(fix_text(f, "settings.0.value"), "enhanced");
    fix_ok(f, "ListAccountSettings",
           "{'principalArn':'arn:aws:iam::000000000000:role/x','effectiveSettings':true,"
           "'name':'containerInsights'}");
    assert_string_equal(fix_text(f, "settings.0.value"), "enabled");
    assert_string_equal(fix_text(f, "settings.0.principalArn"), root);
    fix_ok(f, "DeleteAccountSetting", "{'name':'containerInsights','principalArn':'%s'}", user);
    assert_string_equal(fix_text(f, "setting.value"), "enabled");
    fix_ok(f, "DeleteAccountSetting", "{'name':'containerInsights'}");
    assert_string_equal(fix_text(f, "setting.value"), "disabled");
    assert_int_equal(f->record_count, 0);
    fix_ok(f, "DeleteAccountSetting", "{'name':'containerInsights'}");
    fix_free(f);
}

static void new_clusters_have_the_account_s_insights(FL_UNUSED void **state)
{
    struct fix *f = fix_new();
    fix_ok(f, "PutAccountSetting", "{'name':'containerInsights','value':'enhanced'}");
    fix_ok(f, "CreateCluster", "{}");
    assert_string_equal(fix_text(f, "cluster.settings.0.value"), "enhanced");
    fix_ok(f, "CreateCluster",
           "{'clusterName':'c','settings':[{'name':'containerInsights','value':'disabled'}]}");
    assert_string_equal(fix_text(f, "cluster.settings.0.value"), "disabled");
    fix_free(f);
}

static void what_cannot_be_is_refused(FL_UNUSED void **state)
{
    struct fix *f = fix_new();
    fix_refused(f, "InvalidParameterException",
                "The value 'maybe' of the setting containerInsights should be one of "
                "[enhanced,enabled,disabled]",
                "PutAccountSetting", "{'name':'containerInsights','value':'maybe'}");
    fix_refused(f, "InvalidParameterException",
                "The value 'disabled' of the setting taskLongArnFormat should be one of [enabled]",
                "PutAccountSettingDefault", "{'name':'taskLongArnFormat','value':'disabled'}");
    fix_refused(f, "InvalidParameterException",
                "The setting guardDutyActivate is managed by AWS and cannot be changed.",
                "PutAccountSetting", "{'name':'guardDutyActivate','value':'on'}");
    fix_refused(f, "ClientException", "fargateFIPSMode is not implemented yet.",
                "PutAccountSetting", "{'name':'fargateFIPSMode','value':'enabled'}");
    static const char *const principals[] = {
        "me", "arn:aws:iam::1:root", "arn:aws:iam::000000000000:user/",
        "arn:aws:iam::000000000000:group/x", "arn:aws:ecs:eu-central-1:000000000000:cluster/x"};
    for (size_t i = 0; i < FL_ARRAY_SIZE(principals); i++) {
        assert_int_equal(fix_call(f, "PutAccountSetting",
                                  "{'name':'awsvpcTrunking','value':'enabled',"
                                  "'principalArn':'%s'}",
                                  principals[i]),
                         400);
        assert_int_equal(f->records_put, 0);
    }
    fix_refused(f, "InvalidParameterException",
                "You must also specify an account setting name to filter by value.",
                "ListAccountSettings", "{'value':'enabled'}");
    fix_refused(f, "InvalidParameterException", "maxResults should be between 1 and 10.",
                "ListAccountSettings", "{'maxResults':11}");
    fix_refused(f, "InvalidParameterException", "Invalid token.", "ListAccountSettings",
                "{'nextToken':'6e6f'}");
    fix_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_effective),
        cmocka_unit_test(the_principal_s_own_value_counts_first),
        cmocka_unit_test(new_clusters_have_the_account_s_insights),
        cmocka_unit_test(what_cannot_be_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
