/* How services and what belongs to them are named in requests: a name of another cluster, account,
 * region or service means nothing here, however well the last part of it fits. */
#include "core/service_fixture.h"

#define ARN(type, rest) "arn:aws:ecs:eu-central-1:000000000000:" type "/" rest
#define ELSEWHERE "Invalid identifier: Identifier is for cluster other. Your cluster is default"

/* Two clusters with a service of the same name. */
static struct place *two_clusters(void)
{
    struct place *p = place_new();
    (void)place_add_host(p, "a", 1000);
    fix_ok(p->f, "CreateCluster", "{'clusterName':'other'}");
    fix_ok(p->f, "CreateService", "{'serviceName':'s','taskDefinition':'web','desiredCount':1}");
    fix_ok(p->f, "CreateService",
           "{'cluster':'other','serviceName':'s','taskDefinition':'web','desiredCount':1}");
    return p;
}

static void another_clusters_service_is_not_meant(FL_UNUSED void **state)
{
    static const char *const names[] = {ARN("service", "other/s"), "other/s"};
    struct place *p = two_clusters();
    for (size_t i = 0; i < FL_ARRAY_SIZE(names); i++) {
        fix_refused(p->f, "InvalidParameterException", ELSEWHERE, "DeleteService",
                    "{'service':'%s','force':true}", names[i]);
        fix_refused(p->f, "InvalidParameterException", ELSEWHERE, "UpdateService",
                    "{'service':'%s','desiredCount':0}", names[i]);
        fix_refused(p->f, "InvalidParameterException", ELSEWHERE, "DescribeServices",
                    "{'services':['%s']}", names[i]);
        fix_refused(p->f, "InvalidParameterException", ELSEWHERE, "ListServiceDeployments",
                    "{'service':'%s'}", names[i]);
        fix_refused(p->f, "InvalidParameterException", ELSEWHERE, "ListTasks",
                    "{'serviceName':'%s'}", names[i]);
        fix_ok(p->f, "DeleteService", "{'cluster':'other','service':'%s','force':true}", names[i]);
    }
    fix_ok(p->f, "DescribeServices", "{'services':['%s','default/s','%s']}",
           ARN("service", "default/s"), ARN("service", "s"));
    assert_int_equal(fix_size(p->f, "services"), 3);
    assert_string_equal(fix_text(p->f, "services.0.status"), "ACTIVE");
    fix_ok(p->f, "DescribeServices",
           "{'cluster':'arn:aws:ecs:eu-central-1:000000000000:cluster/other','services':['s']}");
    assert_string_equal(fix_text(p->f, "services.0.status"), "DRAINING");
    place_free(p);
}

static void another_services_task_set_is_not_meant(FL_UNUSED void **state)
{
    static const char *const wrong[] = {
        "arn:aws:ecs:eu-central-1:000000000000:task-set/default/other/%s",
        "arn:aws:ecs:eu-central-1:000000000000:task-set/other/e/%s",
        "arn:aws:ecs:eu-central-1:111122223333:task-set/default/e/%s",
        "arn:aws:ecs:us-east-1:000000000000:task-set/default/e/%s",
        "arn:aws:ecs:eu-central-1:000000000000:service/default/e/%s",
    };
    struct place *p = two_clusters();
    char set[64], arn[200];
    fix_ok(p->f, "CreateService",
           "{'serviceName':'e','desiredCount':1,'deploymentController':{'type':'EXTERNAL'}}");
    fix_ok(p->f, "CreateTaskSet", "{'cluster':'default','service':'e','taskDefinition':'web'}");
    (void)snprintf(set, sizeof(set), "%s", fix_text(p->f, "taskSet.id"));
    for (size_t i = 0; i < FL_ARRAY_SIZE(wrong); i++) {
        FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(300);
        fl_buf_printf(&text, "%.*s%s", (int)strlen(wrong[i]) - 2, wrong[i], set);
        fix_refused(p->f, "TaskSetNotFoundException", "The specified task set was not found.",
                    "DeleteTaskSet",
                    "{'cluster':'default','service':'e','taskSet':'%s','force':true}", text.p);
    }
    (void)snprintf(arn, sizeof(arn), "%s", ARN("task-set", "default/e/"));
    fix_ok(p->f, "DeleteTaskSet",
           "{'cluster':'default','service':'e','taskSet':'%s%s','force':true}", arn, set);
    place_free(p);
}

/* What a task set keeps of a request is bounded by the request. */
static void requests_are_bounded(FL_UNUSED void **state)
{
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(1 << 20);
    struct place *p = place_new();
    fix_ok(p->f, "CreateService",
           "{'serviceName':'e','desiredCount':1,'deploymentController':{'type':'EXTERNAL'}}");
    fl_buf_printf(&text, "{\"cluster\":\"default\",\"service\":\"e\",\"taskDefinition\":\"web\","
                         "\"networkConfiguration\":{\"awsvpcConfiguration\":{\"subnets\":[");
    for (int i = 0; i < 5000; i++)
        fl_buf_printf(&text, "%s\"subnet-%08x\"", i ? "," : "", (unsigned)i);
    fl_buf_add_z(&text, "]}}}");
    assert_int_equal(fix_send(p->f, "CreateTaskSet", fl_buf_str(&text)), 400);
    assert_string_equal(fix_text(p->f, "message"), "The request is longer than 65536 bytes.");
    place_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(another_clusters_service_is_not_meant),
        cmocka_unit_test(another_services_task_set_is_not_meant),
        cmocka_unit_test(requests_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
