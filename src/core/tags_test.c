/* Tags on every kind of resource that has them: put, replaced, taken away, listed; limits, reserved
 * keys, ARNs that name nothing. Requests as a client sends them; a rebuilt core must agree. */
#include "core/core_fixture.h"

enum { KINDS = 4 };

/* A core with one resource of each kind that has tags; their ARNs. */
static struct fix *fix_tagged(char arns[KINDS][200])
{
    struct fix *f = fix_new();
    char instance[64];
    fix_ok(f, "CreateCluster", "{'clusterName':'c'}");
    (void)snprintf(arns[0], 200, "%s", fix_text(f, "cluster.clusterArn"));
    fix_add_instance(f, "c", 1024, 1024, "", instance);
    (void)snprintf(arns[1], 200, "arn:aws:ecs:eu-central-1:000000000000:container-instance/c/%s",
                   instance);
    fix_register(f, "web", 0, 64, "");
    (void)snprintf(arns[2], 200, "%s", fix_text(f, "taskDefinition.taskDefinitionArn"));
    fix_ok(f, "RunTask", "{'cluster':'c','taskDefinition':'web'}");
    (void)snprintf(arns[3], 200, "%s", fix_text(f, "tasks.0.taskArn"));
    return f;
}

static void every_resource_has_tags(FL_UNUSED void **state)
{
    char arns[KINDS][200];
    struct fix *f = fix_tagged(arns);
    for (int i = 0; i < KINDS; i++) {
        fix_ok(f, "TagResource",
               "{'resourceArn':'%s','tags':[{'key':'a','value':'1'},{'key':'b'}]}", arns[i]);
        fix_ok(f, "TagResource", "{'resourceArn':'%s','tags':[{'key':'a','value':'2'}]}", arns[i]);
        fix_recover(f, true);
        fix_ok(f, "ListTagsForResource", "{'resourceArn':'%s'}", arns[i]);
        assert_int_equal(fix_size(f, "tags"), 2);
        assert_string_equal(fix_text(f, "tags.0.value"), "2");
        fix_ok(f, "UntagResource", "{'resourceArn':'%s','tagKeys':['a','zzz']}", arns[i]);
        fix_ok(f, "ListTagsForResource", "{'resourceArn':'%s'}", arns[i]);
        assert_int_equal(fix_size(f, "tags"), 1);
        assert_string_equal(fix_text(f, "tags.0.key"), "b");
    }
    fix_recover(f, true);
    fix_free(f);
}

static void tags_are_shown_where_they_are_asked_for(FL_UNUSED void **state)
{
    char arns[KINDS][200];
    struct fix *f = fix_tagged(arns);
    fix_ok(f, "TagResource", "{'resourceArn':'%s','tags':[{'key':'a','value':'1'}]}", arns[3]);
    fix_ok(f, "DescribeTasks", "{'cluster':'c','tasks':['%s'],'include':['TAGS']}", arns[3]);
    assert_string_equal(fix_text(f, "tasks.0.tags.0.value"), "1");
    fix_ok(f, "StopTask", "{'cluster':'c','task':'%s'}", arns[3]);
    assert_int_equal(fix_size(f, "task.tags"), 0);
    fix_ok(f, "ListTagsForResource", "{'resourceArn':'%s'}", arns[3]);
    assert_int_equal(fix_size(f, "tags"), 0);
    fix_free(f);
}

static void limits_and_reserved_keys(FL_UNUSED void **state)
{
    char arns[KINDS][200];
    struct fix *f = fix_tagged(arns);
    for (int i = 0; i < 50; i++)
        fix_ok(f, "TagResource", "{'resourceArn':'%s','tags':[{'key':'k%d','value':''}]}", arns[0],
               i);
    fix_ok(f, "TagResource", "{'resourceArn':'%s','tags':[{'key':'k7','value':'x'}]}", arns[0]);
    fix_refused(f, "LimitExceededException", "A resource can have at most 50 tags.", "TagResource",
                "{'resourceArn':'%s','tags':[{'key':'more'}]}", arns[0]);
    fix_refused(f, "InvalidParameterException",
                "The tag key 'Aws:x' is not valid: keys that begin with 'aws:' are reserved.",
                "TagResource", "{'resourceArn':'%s','tags':[{'key':'Aws:x'}]}", arns[1]);
    fix_refused(f, "InvalidParameterException",
                "The tag key 'aws:x' is not valid: keys that begin with 'aws:' are reserved.",
                "UntagResource", "{'resourceArn':'%s','tagKeys':['aws:x']}", arns[1]);
    fix_refused(f, "InvalidParameterException", "Tags can not be empty.", "TagResource",
                "{'resourceArn':'%s','tags':[]}", arns[1]);
    fix_refused(f, "InvalidParameterException", "Tag keys can not be empty.", "UntagResource",
                "{'resourceArn':'%s','tagKeys':[]}", arns[1]);
    fix_refused(f, "InvalidParameterException", "The tag key 'a' is given twice.",
                "RegisterContainerInstance",
                "{'cluster':'c','tags':[{'key':'a'},{'key':'a'}],'totalResources':["
                "{'name':'CPU','type':'INTEGER','integerValue':1},"
                "{'name':'MEMORY','type':'INTEGER','integerValue':1}]}");
    /* What Fairlead itself put on a task neither counts nor goes. */
    fix_ok(f, "RunTask", "{'cluster':'c','taskDefinition':'web','enableECSManagedTags':true}");
    char arn[200];
    (void)snprintf(arn, sizeof(arn), "%s", fix_text(f, "tasks.0.taskArn"));
    for (int i = 0; i < 50; i++)
        fix_ok(f, "TagResource", "{'resourceArn':'%s','tags':[{'key':'k%d'}]}", arn, i);
    fix_ok(f, "ListTagsForResource", "{'resourceArn':'%s'}", arn);
    assert_int_equal(fix_size(f, "tags"), 51);
    fix_free(f);
}

static void arns_that_name_nothing(FL_UNUSED void **state)
{
    char arns[KINDS][200];
    struct fix *f = fix_tagged(arns);
    static const struct {
        const char *arn, *code;
    } rows[] = {
        {"c", "InvalidParameterException"},
        {"arn:aws:s3:::bucket", "InvalidParameterException"},
        {"arn:aws:ecs:eu-central-1:000000000000:gold/x", "InvalidParameterException"},
        {"arn:aws:ecs:eu-central-1:1:cluster/c", "InvalidParameterException"},
        {"arn:aws:ecs:us-east-1:000000000000:cluster/c", "InvalidParameterException"},
        {"arn:aws:ecs:eu-central-1:000000000000:task/0123", "InvalidParameterException"},
        {"arn:aws:ecs:eu-central-1:000000000000:cluster/x", "ClusterNotFoundException"},
        {"arn:aws:ecs:eu-central-1:000000000000:task/x/1", "ClusterNotFoundException"},
        {"arn:aws:ecs:eu-central-1:000000000000:task/c/1", "ResourceNotFoundException"},
        {"arn:aws:ecs:eu-central-1:000000000000:task-definition/web", "ResourceNotFoundException"},
        {"arn:aws:ecs:eu-central-1:000000000000:service/c/s", "ResourceNotFoundException"},
        {"arn:aws:ecs:eu-central-1:000000000000:container-instance/c/1",
         "ResourceNotFoundException"},
    };
    for (size_t i = 0; i < FL_ARRAY_SIZE(rows); i++) {
        assert_int_equal(fix_call(f, "TagResource",
                                  "{'resourceArn':'%s','tags':[{'key':'a','value':'b'}]}",
                                  rows[i].arn),
                         400);
        assert_string_equal(fix_text(f, "__type"), rows[i].code);
        assert_int_equal(fix_call(f, "ListTagsForResource", "{'resourceArn':'%s'}", rows[i].arn),
                         400);
    }
    assert_string_equal(fix_text(f, "__type"), "InvalidParameterException");
    fix_ok(f, "DeregisterTaskDefinition", "{'taskDefinition':'web:1'}");
    fix_refused(f, "InvalidParameterException",
                "The specified task definition is inactive. Specify an active task definition and "
                "try again.",
                "TagResource", "{'resourceArn':'%s','tags':[{'key':'a'}]}", arns[2]);
    fix_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_resource_has_tags),
        cmocka_unit_test(tags_are_shown_where_they_are_asked_for),
        cmocka_unit_test(limits_and_reserved_keys),
        cmocka_unit_test(arns_that_name_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
