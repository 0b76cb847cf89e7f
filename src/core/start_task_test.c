/* StartTask: the named instances and no others, with RunTask's checks of what they have left and
 * one failure for each that does not take the task; refusals change nothing. Recovery is compared
 * after every change. */
#include "core/core_fixture.h"

static struct fix *fix_with_hosts(char ids[3][64])
{
    struct fix *f = fix_new();
    fix_ok(f, "CreateCluster", "{}");
    fix_register(f, "web", 100, 100, ",'portMappings':[{'containerPort':80,'hostPort':8080}]");
    fix_register(f, "big", 1000, 100, "");
    fix_register(f, "wide", 10, 1000, "");
    for (int i = 0; i < 3; i++)
        fix_add_instance(f, "default", 300, 300, i ? "{'name':'rack','value':'r1'}" : "", ids[i]);
    return f;
}

static void tasks_start_where_they_are_told_to(FL_UNUSED void **state)
{
    char ids[3][64];
    struct fix *f = fix_with_hosts(ids);
    fix_ok(f, "StartTask",
           "{'taskDefinition':'web','containerInstances':['%s','%s'],"
           "'group':'g','startedBy':'me','tags':[{'key':'a','value':'b'}]}",
           ids[2], ids[0]);
    assert_int_equal(fix_size(f, "tasks"), 2);
    assert_int_equal(fix_size(f, "failures"), 0);
    assert_string_equal(fix_id(fix_text(f, "tasks.0.containerInstanceArn")), ids[2]);
    assert_string_equal(fix_id(fix_text(f, "tasks.1.containerInstanceArn")), ids[0]);
    assert_string_equal(fix_text(f, "tasks.0.group"), "g");
    assert_string_equal(fix_text(f, "tasks.0.startedBy"), "me");
    assert_string_equal(fix_text(f, "tasks.0.tags.0.key"), "a");
    assert_string_equal(fix_text(f, "tasks.0.lastStatus"), "PENDING");
    assert_int_equal(f->records_put, 2);
    assert_int_equal(fl_json_items(f->sent), 2);
    assert_string_equal(fl_json_z(fix_at(f->sent, "0.instance")), ids[2]);
    fix_recover(f, false);
    fix_ok(f, "StartTask",
           "{'taskDefinition':'web','containerInstances':["
           "'arn:aws:ecs:eu-central-1:000000000000:container-instance/default/%s']}",
           ids[1]);
    assert_int_equal(fix_size(f, "tasks"), 1);
    assert_string_equal(fix_text(f, "tasks.0.group"), "family:web");
    fix_recover(f, false);
    fix_free(f);
}

static void failures_are_told_one_by_one(FL_UNUSED void **state)
{
    char ids[3][64];
    struct fix *f = fix_with_hosts(ids);
    fix_ok(f, "StartTask", "{'taskDefinition':'web','containerInstances':['%s','nope','%s']}",
           ids[0], ids[0]);
    assert_int_equal(fix_size(f, "tasks"), 1);
    assert_int_equal(fix_size(f, "failures"), 2);
    assert_string_equal(fix_text(f, "failures.0.reason"), "MISSING");
    assert_string_equal(fix_text(f, "failures.0.arn"),
                        "arn:aws:ecs:eu-central-1:000000000000:container-instance/default/nope");
    assert_string_equal(fix_text(f, "failures.1.reason"), "RESOURCE:PORTS");
    assert_string_equal(fix_text(f, "failures.1.detail"), "host port 8080 is taken");
    fix_ok(f, "StartTask", "{'taskDefinition':'big','containerInstances':['%s']}", ids[0]);
    assert_string_equal(fix_text(f, "failures.0.reason"), "RESOURCE:CPU");
    assert_string_equal(fix_text(f, "failures.0.detail"),
                        "1000 CPU units are needed, 200 of 300 are free");
    fix_ok(f, "StartTask", "{'taskDefinition':'wide','containerInstances':['%s']}", ids[0]);
    assert_string_equal(fix_text(f, "failures.0.reason"), "RESOURCE:MEMORY");
    fix_ok(f, "RegisterTaskDefinition",
           "{'family':'picky','placementConstraints':[{'type':'memberOf','expression':"
           "'attribute:rack exists'}],'containerDefinitions':[{'name':'app','image':'b',"
           "'memory':4}]}");
    fix_ok(f, "StartTask", "{'taskDefinition':'picky','containerInstances':['%s','%s']}", ids[0],
           ids[1]);
    assert_int_equal(fix_size(f, "tasks"), 1);
    assert_string_equal(fix_text(f, "failures.0.reason"),
                        "MemberOf placement constraint unsatisfied.");
    fix_ok(f, "RegisterTaskDefinition",
           "{'family':'role','taskRoleArn':'x','containerDefinitions':[{'name':'app','image':'b',"
           "'memory':4}]}");
    fix_ok(f, "StartTask", "{'taskDefinition':'role','containerInstances':['%s']}", ids[0]);
    assert_string_equal(fix_text(f, "failures.0.reason"), "ATTRIBUTE");
    fix_disconnect(f, "default", ids[2], f->sessions[2].session);
    fix_ok(f, "StartTask", "{'taskDefinition':'web','containerInstances':['%s']}", ids[2]);
    assert_string_equal(fix_text(f, "failures.0.reason"), "AGENT");
    assert_int_equal(f->records_put, 0);
    fix_recover(f, false);
    fix_free(f);
}

static void wrong_calls_are_refused(FL_UNUSED void **state)
{
    char ids[3][64];
    struct fix *f = fix_with_hosts(ids);
    fix_refused(f, "InvalidParameterException", "Container Instances cannot be empty.", "StartTask",
                "{'taskDefinition':'web','containerInstances':[]}");
    fix_refused(f, "InvalidParameterException", "At most 10 container instances can be named.",
                "StartTask",
                "{'taskDefinition':'web','containerInstances':['1','2','3','4','5','6','7','8',"
                "'9','10','11']}");
    fix_refused(f, "ClientException", "TaskDefinition not found.", "StartTask",
                "{'taskDefinition':'none','containerInstances':['%s']}", ids[0]);
    fix_refused(f, "ClusterNotFoundException", "Cluster not found.", "StartTask",
                "{'cluster':'c','taskDefinition':'web','containerInstances':['%s']}", ids[0]);
    fix_refused(f, "InvalidParameterException", "startedBy longer than 128.", "StartTask",
                "{'taskDefinition':'web','containerInstances':['%s'],'startedBy':'%0200d'}", ids[0],
                0);
    fix_refused(f, "ClientException", "enableExecuteCommand is not implemented yet.", "StartTask",
                "{'taskDefinition':'web','containerInstances':['%s'],"
                "'enableExecuteCommand':true}",
                ids[0]);
    fix_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tasks_start_where_they_are_told_to),
        cmocka_unit_test(failures_are_told_one_by_one),
        cmocka_unit_test(wrong_calls_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
