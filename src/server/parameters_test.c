/* Goal: names, paths, labels, tags, filters, selectors and allowed patterns are judged as AWS does,
 * each refusal by its name. Method: the pure rules, with tables of what they are asked. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "server/parameters_pattern.h"
#include "server/parameters_rules.h"

#define REGION FL_STR("us-east-1")
#define ACCOUNT FL_STR("000000000000")
#define ARN "arn:aws:ssm:us-east-1:000000000000:parameter/"
#define LEVELS_5 "/a/b/c/d/e"

static int make_arena(void **state)
{
    *state = fl_arena_new();
    return 0;
}

static int free_arena(void **state)
{
    fl_arena_free(*state);
    return 0;
}

static void assert_code(const char *code, const char *wanted, const char *what)
{
    if (code && wanted ? strcmp(code, wanted) != 0 : code != wanted)
        fail_msg("%s: %s, not %s", what, code ? code : "taken", wanted ? wanted : "taken");
}

static void names_are_checked(void **state)
{
    static const struct {
        const char *name, *code, *text;
    } rows[] = {
        {"name", NULL, NULL},
        {"/name", NULL, NULL},
        {"/a/b-c/d.e_F9", NULL, NULL},
        {"/my-aws/ssm", NULL, NULL},
        {LEVELS_5 LEVELS_5 LEVELS_5, NULL, NULL},
        {LEVELS_5 LEVELS_5 LEVELS_5 "/x", "HierarchyLevelLimitExceededException", "15"},
        {"a/b", "ValidationException", "fully qualified"},
        {"/a//b", "ValidationException", "sub-paths divided by slash"},
        {"/a/", "ValidationException", "sub-paths divided by slash"},
        {"/", "ValidationException", "sub-paths divided by slash"},
        {"a b", "ValidationException", "sub-paths divided by slash"},
        {"a:1", "ValidationException", "sub-paths divided by slash"},
        {"\xc3\xa9t\xc3\xa9", "ValidationException", "sub-paths divided by slash"},
        {"aws-name", "ValidationException", "\"aws\" or \"ssm\""},
        {"/AWS", "ValidationException", "\"aws\" or \"ssm\""},
        {"SSM1", "ValidationException", "\"aws\" or \"ssm\""},
        {"/ssm/x", "ValidationException", "prefixed with \"ssm\""},
        {"/aws/x", "AccessDeniedException", "No access to reserved parameter name: /aws/x."},
    };
    struct fl_str prefix = FL_STR(ARN);
    for (size_t i = 0; i < FL_ARRAY_SIZE(rows); i++) {
        struct fl_err err = {0};
        const char *code = fl_parameters_check_new_name(fl_str_of(rows[i].name), prefix, &err);
        assert_code(code, rows[i].code, rows[i].name);
        if (code && !strstr(err.text, rows[i].text))
            fail_msg("%s: %s", rows[i].name, err.text);
    }
    char long_name[FL_PARAMETERS_MAX_ARN];
    struct fl_err err;
    memset(long_name, 'x', sizeof(long_name));
    size_t room = FL_PARAMETERS_MAX_ARN - prefix.n;
    assert_null(fl_parameters_check_new_name((struct fl_str){long_name, room}, prefix, &err));
    assert_string_equal(
        fl_parameters_check_new_name((struct fl_str){long_name, room + 1}, prefix, &err),
        "ValidationException");
    (void)state;
}

static void texts_are_taken_apart(void **state)
{
    static const struct {
        const char *text, *code, *id, *name, *selector;
    } rows[] = {
        {"x", NULL, "/x", "x", ""},
        {"/x", NULL, "/x", "/x", ""},
        {"/a/b:3", NULL, "/a/b", "/a/b", "3"},
        {"x:prod", NULL, "/x", "x", "prod"},
        {ARN "x", NULL, "/x", "", ""},
        {ARN "a/b:7", NULL, "/a/b", "", "7"},
        {"/aws/service/ecs", NULL, "/aws/service/ecs", "/aws/service/ecs", ""},
        {"arn:aws:ssm:us-east-1:111111111111:parameter/x", NULL, "", "", ""},
        {"arn:aws:ssm:eu-west-1:000000000000:parameter/x", NULL, "", "", ""},
        {"arn:aws:sqs:us-east-1:000000000000:parameter/x", NULL, "", "", ""},
        {"arn:aws:ssm:us-east-1:000000000000:document/x", NULL, "", "", ""},
        {"arn:", NULL, "", "", ""},
        {"a/b", "ValidationException", "", "", ""},
        {"/a//b", "ValidationException", "", "", ""},
        {"/", "ValidationException", "", "", ""},
        {":3", "ValidationException", "", "", ""},
        {"x:", "ValidationException", "", "", ""},
        {"x:1:2", "ValidationException", "", "", ""},
        {"x y", "ValidationException", "", "", ""},
        {ARN "a//b", "ValidationException", "", "", ""},
    };
    for (size_t i = 0; i < FL_ARRAY_SIZE(rows); i++) {
        struct fl_parameters_ref ref;
        struct fl_err err;
        const char *code =
            fl_parameters_parse_ref(fl_str_of(rows[i].text), REGION, ACCOUNT, *state, &ref, &err);
        assert_code(code, rows[i].code, rows[i].text);
        if (!fl_str_is(ref.id, rows[i].id) || !fl_str_is(ref.name, rows[i].name) ||
            !fl_str_is(ref.selector, rows[i].selector))
            fail_msg("%s: %.*s %.*s %.*s", rows[i].text, FL_STR_ARG(ref.id), FL_STR_ARG(ref.name),
                     FL_STR_ARG(ref.selector));
    }
}

static void paths_are_walked(void **state)
{
    static const struct {
        const char *id, *path;
        bool is_below, is_next;
    } rows[] = {
        {"/x", "/", true, true},        {"/a/b", "/", true, false},
        {"/a/b", "/a", true, true},     {"/a/b", "/a/", true, true},
        {"/a/b/c", "/a", true, false},  {"/a", "/a", false, false},
        {"/ab/c", "/a", false, false},  {"/a/b", "/a/b", false, false},
        {"/a/b/c", "/a/b", true, true}, {"/a.b/c", "/a", false, false},
    };
    static const char *const bad[] = {"a", "", "//", "/a//b", "/a b", "/a:b", "/a//"};
    struct fl_err err;
    for (size_t i = 0; i < FL_ARRAY_SIZE(rows); i++) {
        struct fl_str id = fl_str_of(rows[i].id), path = fl_str_of(rows[i].path);
        assert_null(fl_parameters_check_path(path, &err));
        if (fl_parameters_is_below(id, path, true) != rows[i].is_below ||
            fl_parameters_is_below(id, path, false) != rows[i].is_next)
            fail_msg("%s below %s", rows[i].id, rows[i].path);
    }
    for (size_t i = 0; i < FL_ARRAY_SIZE(bad); i++)
        assert_code(fl_parameters_check_path(fl_str_of(bad[i]), &err), "ValidationException",
                    bad[i]);
    assert_non_null(strstr(err.text, "must begin with a forward slash"));
    assert_non_null(strstr(err.text, "/get/parameters2-/by1./path0_."));
    (void)state;
}

static void labels_are_checked(void **state)
{
    static const char *const good[] = {"prod", "a", "my.label-2_x", "Release1"};
    static const char *const bad[] = {"", "1st", "aws-x", "SSM", "a b", "a/b", "a:b", "\xc3\xa9"};
    char long_label[101];
    for (size_t i = 0; i < FL_ARRAY_SIZE(good); i++)
        assert_true(fl_parameters_label_is_valid(fl_str_of(good[i])));
    for (size_t i = 0; i < FL_ARRAY_SIZE(bad); i++)
        assert_false(fl_parameters_label_is_valid(fl_str_of(bad[i])));
    memset(long_label, 'x', sizeof(long_label));
    assert_true(fl_parameters_label_is_valid((struct fl_str){long_label, 100}));
    assert_false(fl_parameters_label_is_valid((struct fl_str){long_label, 101}));
    (void)state;
}

static void tags_are_checked(void **state)
{
    struct ssm_Tag tags[FL_PARAMETERS_MAX_TAGS + 1] = {0};
    struct ssm_Tag_list list = {FL_ARRAY_SIZE(tags), tags};
    struct fl_err err;
    for (size_t i = 0; i < FL_ARRAY_SIZE(tags); i++)
        FL_SET(&tags[i], ssm_Tag, Key, fl_str_printf(*state, "key-%zu", i));
    assert_code(fl_parameters_check_tags(&list, &err), "TooManyTagsError", "51 tags");
    list.n--;
    assert_code(fl_parameters_check_tags(&list, &err), NULL, "50 tags");
    tags[3].Key = tags[7].Key;
    assert_code(fl_parameters_check_tags(&list, &err), "ValidationException", "a key twice");
    tags[3].Key = FL_STR("AWS:key");
    assert_code(fl_parameters_check_tags(&list, &err), "ValidationException", "a reserved key");
}

/* ---- selection ---- */

/* Three versions: 4, a String; 5 with the labels "old" and "test"; 6, a SecureString. */
static struct rec_Parameter *sample(struct fl_arena *arena)
{
    static const char json[] =
        "{\"v\":1,\"name\":\"/app/db/password\",\"tags\":[{\"Key\":\"team\",\"Value\":\"blue\"}],"
        "\"versions\":[{\"version\":4,\"type\":\"String\",\"tier\":\"Standard\",\"dataType\":"
        "\"text\",\"modifiedAt\":1,\"modifiedBy\":\"me\"},{\"version\":5,\"type\":\"String\","
        "\"tier\":\"Standard\",\"dataType\":\"text\",\"labels\":[\"old\",\"test\"],\"modifiedAt\":"
        "2,\"modifiedBy\":\"me\"},{\"version\":6,\"type\":\"SecureString\",\"tier\":\"Advanced\","
        "\"keyId\":\"alias/aws/ssm\",\"dataType\":\"text\",\"modifiedAt\":3,\"modifiedBy\":"
        "\"me\"}]}";
    struct rec_Parameter *parameter = fl_arena_new_object(arena, struct rec_Parameter);
    struct fl_shape_error fault;
    assert_int_equal(fl_shape_decode(&rec_shape_Parameter,
                                     fl_json_read(fl_str_of(json), arena, NULL), arena, parameter,
                                     &fault),
                     0);
    return parameter;
}

static void selectors_find_versions(void **state)
{
    static const struct {
        const char *selector;
        int64_t version; /* 0: none */
    } rows[] = {{"", 6},    {"4", 4},    {"6", 6},   {"7", 0},  {"0", 0},
                {"old", 5}, {"test", 5}, {"new", 0}, {"OLD", 0}};
    const struct rec_Parameter *parameter = sample(*state);
    for (size_t i = 0; i < FL_ARRAY_SIZE(rows); i++) {
        const struct rec_ParameterVersion *found =
            fl_parameters_version(parameter, fl_str_of(rows[i].selector));
        assert_int_equal(found ? found->version : 0, rows[i].version);
    }
}

/* [{"Key":…}, …] */
static struct ssm_ParameterStringFilter_list filters(struct fl_arena *arena, const char *json)
{
    struct ssm_DescribeParametersRequest in;
    struct fl_shape_error fault;
    struct fl_str text = fl_str_printf(arena, "{\"ParameterFilters\":%s}", json);
    if (fl_shape_decode(&ssm_shape_DescribeParametersRequest, fl_json_read(text, arena, NULL),
                        arena, &in, &fault) < 0)
        fail_msg("%s: %s", json, fault.text);
    return in.ParameterFilters;
}

#define FILTER(key, option, value)                                                                 \
    "{\"Key\":\"" key "\",\"Option\":\"" option "\",\"Values\":[\"" value "\"]}"
#define PLAIN(key, value) "{\"Key\":\"" key "\",\"Values\":[\"" value "\"]}"

static void filters_select(void **state)
{
    static const struct {
        const char *filters;
        int64_t version; /* that is shown; 0: none */
    } rows[] = {
        {"[]", 6},
        {"[" PLAIN("Name", "/app/db/password") "]", 6},
        {"[" PLAIN("Name", "app/db/password") "]", 6},
        {"[" PLAIN("Name", "/app/db") "]", 0},
        {"[" FILTER("Name", "BeginsWith", "/app/d") "]", 6},
        {"[" FILTER("Name", "BeginsWith", "app") "]", 6},
        {"[" FILTER("Name", "BeginsWith", "db") "]", 0},
        {"[" FILTER("Name", "Contains", "b/pass") "]", 6},
        {"[" PLAIN("Type", "SecureString") "]", 6},
        {"[" PLAIN("Type", "String") "]", 0},
        {"[" FILTER("Type", "BeginsWith", "Secure") "]", 6},
        {"[{\"Key\":\"Type\",\"Values\":[\"String\",\"SecureString\"]}]", 6},
        {"[" PLAIN("KeyId", "alias/aws/ssm") "]", 6},
        {"[" FILTER("KeyId", "BeginsWith", "alias/x") "]", 0},
        {"[" PLAIN("Tier", "Advanced") "]", 6},
        {"[" PLAIN("Tier", "Standard") "]", 0},
        {"[" PLAIN("DataType", "text") "]", 6},
        {"[" PLAIN("Path", "/app/db") "]", 6},
        {"[" PLAIN("Path", "/app") "]", 0},
        {"[" FILTER("Path", "OneLevel", "/app") "]", 0},
        {"[" FILTER("Path", "Recursive", "/app/") "]", 6},
        {"[" FILTER("Path", "Recursive", "/ap") "]", 0},
        {"[" PLAIN("tag:team", "blue") "]", 6},
        {"[{\"Key\":\"tag:team\"}]", 6},
        {"[" PLAIN("tag:team", "red") "]", 0},
        {"[{\"Key\":\"tag:other\"}]", 0},
        {"[" FILTER("tag:team", "BeginsWith", "bl") "]", 6},
        {"[" PLAIN("Tier", "Advanced") "," PLAIN("Type", "String") "]", 0},
        {"[" PLAIN("Tier", "Advanced") "," PLAIN("Type", "SecureString") "]", 6},
        {"[" PLAIN("Label", "test") "]", 5},
        {"[" PLAIN("Label", "test") "," PLAIN("Type", "String") "]", 5},
        {"[" PLAIN("Label", "test") "," PLAIN("Type", "SecureString") "]", 0},
        {"[" PLAIN("Label", "none") "]", 0},
    };
    const struct rec_Parameter *parameter = sample(*state);
    for (size_t i = 0; i < FL_ARRAY_SIZE(rows); i++) {
        struct ssm_ParameterStringFilter_list list = filters(*state, rows[i].filters);
        struct fl_err err;
        bool is_by_path = strstr(rows[i].filters, "Label") != NULL;
        assert_code(fl_parameters_check_filters(&list, is_by_path, &err), NULL, rows[i].filters);
        const struct rec_ParameterVersion *found =
            fl_parameters_select(&list, FL_STR("/app/db/password"), parameter);
        if ((found ? found->version : 0) != rows[i].version)
            fail_msg("%s: %lld", rows[i].filters, (long long)(found ? found->version : 0));
    }
}

static void filters_are_refused(void **state)
{
    static const struct {
        const char *filters;
        bool is_by_path;
        const char *code, *text;
    } rows[] = {
        {"[" PLAIN("Label", "x") "]", false, "InvalidFilterKey", "Label"},
        {"[" PLAIN("Size", "x") "]", false, "InvalidFilterKey", "Size"},
        {"[" PLAIN("tag:", "x") "]", false, "InvalidFilterKey", "tag:"},
        {"[" PLAIN("Name", "x") "]", true, "InvalidFilterKey", "[Type, KeyId, Label]"},
        {"[" PLAIN("Path", "/x") "]", true, "InvalidFilterKey", "Path"},
        {"[" PLAIN("Tier", "Standard") "]", true, "InvalidFilterKey", "Tier"},
        {"[" PLAIN("tag:x", "y") "]", true, "InvalidFilterKey", "tag:x"},
        {"[" PLAIN("Type", "String") "," PLAIN("Type", "String") "]", false, "InvalidFilterKey",
         "duplicated in the request: Type"},
        {"[" FILTER("Type", "Contains", "S") "]", false, "InvalidFilterOption",
         "[Equals, BeginsWith]"},
        {"[" FILTER("Path", "Equals", "/x") "]", false, "InvalidFilterOption",
         "[OneLevel, Recursive]"},
        {"[" FILTER("Label", "BeginsWith", "x") "]", true, "InvalidFilterOption", "[Equals]"},
        {"[{\"Key\":\"Name\"}]", false, "InvalidFilterValue", "values are missing"},
        {"[" PLAIN("Type", "Number") "]", true, "InvalidFilterValue",
         "[String, StringList, SecureString]"},
        {"[" PLAIN("Tier", "Gold") "]", false, "InvalidFilterValue", "Gold"},
        {"[" PLAIN("Path", "x") "]", false, "ValidationException", "forward slash"},
        {"[" PLAIN("Path", "/AWS/x") "]", false, "ValidationException", "global namespace"},
    };
    for (size_t i = 0; i < FL_ARRAY_SIZE(rows); i++) {
        struct ssm_ParameterStringFilter_list list = filters(*state, rows[i].filters);
        struct fl_err err = {0};
        assert_code(fl_parameters_check_filters(&list, rows[i].is_by_path, &err), rows[i].code,
                    rows[i].filters);
        if (!strstr(err.text, rows[i].text))
            fail_msg("%s: %s", rows[i].filters, err.text);
    }
}

/* ---- patterns ---- */

static void patterns_match_whole_values(FL_UNUSED void **state)
{
    static const struct {
        const char *pattern, *value;
        bool does_match;
    } rows[] = {
        {"\\d{1,4}", "100", true},
        {"\\d{1,4}", "10,000", false},
        {"^\\d+$", "12", true},
        {"^\\d+$", "12a", false},
        {".{8,20}", "p#sW*rd33", true},
        {".{8,20}", "short", false},
        {"a", "aa", false},
        {"", "", true},
        {"", "a", false},
        {"dev|test|prod", "test", true},
        {"dev|test|prod", "testprod", false},
        {"^(dev|prod)-[a-z]+$", "prod-eu", true},
        {"^(dev|prod)-[a-z]+$", "stage-eu", false},
        {"(?:ab)+", "ababab", true},
        {"(?:ab)+", "aba", false},
        {"(a|b|)c", "c", true},
        {"(a*)*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaa", false},
        {"(a*)*b", "aaab", true},
        {"((a{2}){2}){2}", "aaaaaaaa", true},
        {"((a{2}){2}){2}", "aaaaaaa", false},
        {"a{0}b", "b", true},
        {"a{2,}", "a", false},
        {"a{2,}", "aaaaa", true},
        {"a{0,}", "", true},
        {"a+?b*?", "aab", true},
        {"[^a-c]", "d", true},
        {"[^a-c]", "b", false},
        {"[a-]+", "a-a", true},
        {"[-a]+", "-", true},
        {"[\\w.-]+@[\\w-]+\\.\\w{2,3}", "me.too@example.org", true},
        {"[\\w.-]+@[\\w-]+\\.\\w{2,3}", "me.too.example.org", false},
        {"[\\D]", "x", true},
        {"\\D", "7", false},
        {"\\S\\s\\S", "a b", true},
        {"[^\\s]+", "a\tb", false},
        {"\\x41\\u00e9", "A\xc3\xa9", true},
        {"...", "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", true},
        {"[\xc3\xa0-\xc3\xbf]", "\xc3\xa9", true},
        {".", "\n", false},
        {"(.|\n)*", "a\nb", true},
        {"a$|b", "a", true},
        {"a^b", "ab", false},
        {"\\$\\{x\\}", "${x}", true},
        {"(?=.*\\d).{3,}", "ab1", true},
        {"(?=.*\\d).{3,}", "abc", false},
        {"(?i)yes|\\bno\\b", "YES", true},
    };
    for (size_t i = 0; i < FL_ARRAY_SIZE(rows); i++) {
        struct fl_err err = {0};
        struct fl_parameters_pattern *pattern =
            fl_parameters_pattern_new(fl_str_of(rows[i].pattern), &err);
        if (!pattern)
            fail_msg("%s: %s", rows[i].pattern, err.text);
        if (fl_parameters_pattern_match(pattern, fl_str_of(rows[i].value)) != rows[i].does_match)
            fail_msg("%s on %s", rows[i].pattern, rows[i].value);
        fl_parameters_pattern_free(pattern);
    }
}

static void patterns_are_refused(FL_UNUSED void **state)
{
    static const struct {
        const char *pattern, *text;
    } rows[] = {
        {"(a", "missing closing parenthesis at character 2."},
        {"a)", "unmatched closing parenthesis"},
        {"[a", "missing terminating ]"},
        {"[z-a]", "range out of order"},
        {"*a", "quantifier does not follow"},
        {"a{3,1}", "numbers out of order"},
        {"a{99999}", "number too big"},
        {"((a{4096}){4096}){4096}", "too large"},
        {"a\\", "at end of pattern"},
        {"\\C", "\\C is disabled"},
    };
    struct fl_err err = {0};
    for (size_t i = 0; i < FL_ARRAY_SIZE(rows); i++) {
        assert_null(fl_parameters_pattern_new(fl_str_of(rows[i].pattern), &err));
        if (!strstr(err.text, rows[i].text))
            fail_msg("%s: %s", rows[i].pattern, err.text);
    }
    char deep[200] = {0};
    memset(deep, '(', 60);
    assert_null(fl_parameters_pattern_new(fl_str_of(deep), &err));
    assert_non_null(strstr(err.text, "too deeply nested"));
}

/* What would take longer than anybody lives is given up. */
static void no_pattern_takes_long(FL_UNUSED void **state)
{
    struct fl_err err = {0};
    char value[8192];
    memset(value, 'a', sizeof(value));
    struct fl_parameters_pattern *pattern = fl_parameters_pattern_new(FL_STR("(a|a|a)*[bc]"), &err);
    assert_non_null(pattern);
    assert_int_equal(fl_parameters_pattern_match(pattern, (struct fl_str){value, sizeof(value)}),
                     -E2BIG);
    fl_parameters_pattern_free(pattern);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(names_are_checked, make_arena, free_arena),
        cmocka_unit_test_setup_teardown(texts_are_taken_apart, make_arena, free_arena),
        cmocka_unit_test_setup_teardown(paths_are_walked, make_arena, free_arena),
        cmocka_unit_test_setup_teardown(labels_are_checked, make_arena, free_arena),
        cmocka_unit_test_setup_teardown(tags_are_checked, make_arena, free_arena),
        cmocka_unit_test_setup_teardown(selectors_find_versions, make_arena, free_arena),
        cmocka_unit_test_setup_teardown(filters_select, make_arena, free_arena),
        cmocka_unit_test_setup_teardown(filters_are_refused, make_arena, free_arena),
        cmocka_unit_test(patterns_match_whole_values),
        cmocka_unit_test(no_pattern_takes_long),
        cmocka_unit_test(patterns_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
