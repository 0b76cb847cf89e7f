/* Attributes that people put on instances: their limits, their listing, and what they do to
 * placement; besides, what else is said of an instance: endpoints, updates. */
#include "core/core_fixture.h"

static struct fix *fix_with_instances(char ids[2][64])
{
    struct fix *f = fix_new();
    fix_ok(f, "CreateCluster", "{}");
    for (int i = 0; i < 2; i++)
        fix_add_instance(f, "default", 1000, 1000, "{'name':'ecs.os-type','value':'linux'}",
                         ids[i]);
    return f;
}

#define SHORT "'targetType':'container-instance','targetId'"

static void what_is_put_is_listed_and_constrains(FL_UNUSED void **state)
{
    char ids[2][64], arn[200];
    struct fix *f = fix_with_instances(ids);
    fix_ok(f, "PutAttributes",
           "{'attributes':[{'name':'stack','value':'prod'," SHORT ":'%s'},"
           "{'name':'bare'," SHORT ":'%s'},{'name':'stack','value':'test'," SHORT ":'%s'}]}",
           ids[0], ids[1], ids[1]);
    assert_int_equal(fix_size(f, "attributes"), 3);
    assert_int_equal(f->records_put, 2);
    assert_string_equal(fix_text(f, "attributes.0.value"), "prod");
    (void)snprintf(arn, sizeof(arn), "%s", fix_text(f, "attributes.0.targetId"));
    assert_string_equal(fix_id(arn), ids[0]);
    fix_register(f, "web", 1, 4, "");
    for (int i = 0; i < 10; i++) {
        fix_ok(f, "RunTask",
               "{'taskDefinition':'web','placementConstraints':[{'type':'memberOf',"
               "'expression':'attribute:stack == prod'}]}");
        assert_string_equal(fix_id(fix_text(f, "tasks.0.containerInstanceArn")), ids[0]);
    }
    /* By its ARN no type has to be said; the value is replaced. */
    fix_ok(f, "PutAttributes", "{'attributes':[{'name':'stack','value':'test','targetId':'%s'}]}",
           arn);
    fix_ok(f, "ListAttributes",
           "{'targetType':'container-instance','attributeName':'stack','attributeValue':'test'}");
    assert_int_equal(fix_size(f, "attributes"), 2);
    fix_ok(f, "ListAttributes", "{'targetType':'container-instance','attributeName':'bare'}");
    assert_int_equal(fix_size(f, "attributes"), 1);
    assert_null(fix_at(f->reply, "attributes.0.value"));
    fix_recover(f, true);
    /* An agent that registers again does not say them, and they stay. */
    fix_ok(f, "RegisterContainerInstance",
           "{'containerInstanceArn':'%s','totalResources':[{'name':'CPU'},{'name':'MEMORY'}]}",
           arn);
    fix_ok(f, "ListAttributes", "{'targetType':'container-instance','attributeName':'stack'}");
    assert_int_equal(fix_size(f, "attributes"), 2);
    fix_ok(f, "DeleteAttributes",
           "{'attributes':[{'name':'stack','targetId':'%s'},{'name':'none','targetId':'%s'},"
           "{'name':'stack','value':'other'," SHORT ":'%s'}]}",
           arn, arn, ids[1]);
    assert_int_equal(fix_size(f, "attributes"), 1);
    assert_string_equal(fix_text(f, "attributes.0.targetId"), arn);
    assert_string_equal(fix_text(f, "attributes.0.value"), "test");
    fix_ok(f, "ListAttributes", "{'targetType':'container-instance','attributeName':'stack'}");
    assert_int_equal(fix_size(f, "attributes"), 1);
    fix_ok(f, "DeleteAttributes", "{'attributes':[{'name':'none','targetId':'%s'}]}", arn);
    assert_int_equal(f->records_put, 0);
    fix_recover(f, true);
    fix_free(f);
}

static void listings_have_pages(FL_UNUSED void **state)
{
    char ids[2][64], token[400] = "", last[600] = "";
    struct fix *f = fix_with_instances(ids);
    size_t count = 0, pages = 0;
    for (int i = 0; i < 10; i++)
        fix_ok(f, "PutAttributes", "{'attributes':[{'name':'a%d'," SHORT ":'%s'}]}", 9 - i,
               ids[i % 2]);
    do {
        fix_ok(f, "ListAttributes", "{'targetType':'container-instance','maxResults':3%s%s%s}",
               token[0] ? ",'nextToken':'" : "", token, token[0] ? "'" : "");
        for (size_t i = 0; i < fix_size(f, "attributes"); i++) {
            char path[64], key[600], id[200];
            (void)snprintf(path, sizeof(path), "attributes.%zu.targetId", i);
            (void)snprintf(id, sizeof(id), "%s", fix_text(f, path));
            (void)snprintf(path, sizeof(path), "attributes.%zu.name", i);
            (void)snprintf(key, sizeof(key), "%s/%s", id, fix_text(f, path));
            assert_true(strcmp(last, key) < 0);
            memcpy(last, key, sizeof(last));
            count++;
        }
        pages++;
        const char *next = fl_json_z(fix_at(f->reply, "nextToken"));
        (void)snprintf(token, sizeof(token), "%s", next ? next : "");
    } while (token[0]);
    assert_int_equal(count, 14); /* with zone and type of each */
    assert_int_equal(pages, 5);
    fix_free(f);
}

static void refusals(FL_UNUSED void **state)
{
    char ids[2][64], long_name[131];
    struct fix *f = fix_with_instances(ids);
    static const char *const bad_names[] = {"", "a b", "a:b", "a@b", "\\u00e4"};
    static const char *const bad_values[] = {"", " a", "a ", "a;b", "a\\nb"};
    memset(long_name, 'a', sizeof(long_name) - 1);
    long_name[sizeof(long_name) - 1] = '\0';
    for (size_t i = 0; i <= FL_ARRAY_SIZE(bad_names); i++) {
        const char *name = i < FL_ARRAY_SIZE(bad_names) ? bad_names[i] : long_name;
        assert_int_equal(fix_call(f, "PutAttributes",
                                  "{'attributes':[{'name':'%s'," SHORT ":'%s'}]}", name, ids[0]),
                         400);
        assert_string_equal(fix_text(f, "__type"), "InvalidParameterException");
    }
    for (size_t i = 0; i < FL_ARRAY_SIZE(bad_values); i++)
        assert_int_equal(fix_call(f, "PutAttributes",
                                  "{'attributes':[{'name':'a','value':'%s'," SHORT ":'%s'}]}",
                                  bad_values[i], ids[0]),
                         400);
    static const char *const calls[] = {"PutAttributes", "DeleteAttributes"};
    for (size_t i = 0; i < FL_ARRAY_SIZE(calls); i++) {
        fix_refused(f, "InvalidParameterException", "Attributes cannot be empty.", calls[i],
                    "{'attributes':[]}");
        fix_refused(f, "InvalidParameterException",
                    "The attribute ecs.os-type is set by Amazon ECS and cannot be changed.",
                    calls[i], "{'attributes':[{'name':'ecs.os-type'," SHORT ":'%s'}]}", ids[0]);
        fix_refused(f, "InvalidParameterException",
                    "targetType must be given when targetId is no ARN.", calls[i],
                    "{'attributes':[{'name':'a','targetId':'%s'}]}", ids[0]);
        fix_refused(f, "TargetNotFoundException", "The specified target wasn't found.", calls[i],
                    "{'attributes':[{'name':'b'," SHORT ":'%s'},{'name':'a'," SHORT ":'nope'}]}",
                    ids[0]);
        fix_refused(f, "TargetNotFoundException", "The specified target wasn't found.", calls[i],
                    "{'attributes':[{'name':'b','targetId':'arn:aws:ecs:eu-central-1:000000000000:"
                    "container-instance/other/%s'}]}",
                    ids[0]);
        fix_refused(f, "InvalidParameterException", "At most 10 attributes can be named in a call.",
                    calls[i],
                    "{'attributes':[{'name':'a'},{'name':'a'},{'name':'a'},{'name':'a'},"
                    "{'name':'a'},{'name':'a'},{'name':'a'},{'name':'a'},{'name':'a'},"
                    "{'name':'a'},{'name':'a'}]}");
    }
    fix_refused(f, "InvalidParameterException",
                "attributeValue needs an attributeName to go with it.", "ListAttributes",
                "{'targetType':'container-instance','attributeValue':'a'}");
    for (int i = 0; i < 10; i++)
        fix_ok(f, "PutAttributes", "{'attributes':[{'name':'a%d'," SHORT ":'%s'}]}", i, ids[0]);
    fix_refused(f, "AttributeLimitExceededException",
                "You can apply up to 10 custom attributes for each resource.", "PutAttributes",
                "{'attributes':[{'name':'one-more'," SHORT ":'%s'}]}", ids[0]);
    fix_ok(f, "PutAttributes", "{'attributes':[{'name':'a3','value':'v'," SHORT ":'%s'}]}", ids[0]);
    fix_ok(f, "DeregisterContainerInstance", "{'containerInstance':'%s'}", ids[0]);
    fix_refused(f, "TargetNotFoundException", "The specified target wasn't found.", "PutAttributes",
                "{'attributes':[{'name':'a'," SHORT ":'%s'}]}", ids[0]);
    fix_free(f);
}

static void endpoints_are_told(FL_UNUSED void **state)
{
    char ids[2][64];
    struct fix *f = fix_with_instances(ids);
    fix_ok(f, "DiscoverPollEndpoint", "{'containerInstance':'%s'}", ids[0]);
    assert_string_equal(fix_text(f, "endpoint"), "http://127.0.0.1:4566/acs");
    assert_string_equal(fix_text(f, "telemetryEndpoint"), "http://127.0.0.1:4566/tcs");
    fix_recover(f, true);
    fix_free(f);
}

static void agents_are_not_updated_from_here(FL_UNUSED void **state)
{
    char ids[2][64];
    struct fix *f = fix_with_instances(ids);
    fix_refused(f, "NoUpdateAvailableException",
                "There is no update available for the container agent 1.2.3: agents are updated "
                "with the package that they were installed from.",
                "UpdateContainerAgent", "{'containerInstance':'%s'}", ids[0]);
    fix_refused(f, "InvalidParameterException", "The referenced container instance was not found.",
                "UpdateContainerAgent", "{'containerInstance':'nope'}");
    fix_ok(f, "RegisterContainerInstance", "{'totalResources':[{'name':'CPU'},{'name':'MEMORY'}]}");
    char id[64];
    (void)snprintf(id, sizeof(id), "%s",
                   fix_id(fix_text(f, "containerInstance.containerInstanceArn")));
    fix_refused(f, "MissingVersionException",
                "The version of the container agent is not known: it has not connected.",
                "UpdateContainerAgent", "{'containerInstance':'%s'}", id);
    fix_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_put_is_listed_and_constrains),
        cmocka_unit_test(listings_have_pages),
        cmocka_unit_test(refusals),
        cmocka_unit_test(endpoints_are_told),
        cmocka_unit_test(agents_are_not_updated_from_here),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
