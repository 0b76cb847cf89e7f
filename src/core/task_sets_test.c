/* Task sets of a service with the EXTERNAL controller, and task protection. */
#include "core/rollout_fixture.h"

/* The agents obey, and what they have started settles. */
static void obey(struct fix *f)
{
    fix_obey(f);
    f->now_ms += FL_CORE_STRICT_SETTLE_MS;
    fix_schedule(f);
}

static void make_external(struct fix *f, int desired)
{
    fix_ok(f, "CreateService",
           "{'serviceName':'s','desiredCount':%d,'deploymentController':{'type':'EXTERNAL'}}",
           desired);
    assert_string_equal(fix_text(f, "service.deploymentController.type"), "EXTERNAL");
}

static void make_set(struct fix *f, double scale, char ret_id[40])
{
    fix_ok(f, "CreateTaskSet",
           "{'cluster':'default','service':'s','taskDefinition':'web','externalId':'x',"
           "'scale':{'value':%.2f,'unit':'PERCENT'}}",
           scale);
    (void)snprintf(ret_id, 40, "%s", fix_text(f, "taskSet.id"));
}

static void describe(struct fix *f, const char *set)
{
    fix_ok(f, "DescribeTaskSets", "{'cluster':'default','service':'s','taskSets':['%s']}", set);
    assert_int_equal(fix_size(f, "taskSets"), 1);
}

/* What happens to a task set's tasks is said of it; a service needs no count but its own. */
static void events_name_the_set(FL_UNUSED void **state)
{
    char set[40], words[100];
    struct fix *f = fix_ready();
    fix_ok(f, "CreateService", "{'serviceName':'s','deploymentController':{'type':'EXTERNAL'}}");
    assert_int_equal(fix_int(f, "service.desiredCount"), 0);
    fix_ok(f, "UpdateService", "{'service':'s','desiredCount':2}");
    make_set(f, 100, set);
    fix_schedule(f);
    obey(f);
    (void)snprintf(words, sizeof(words),
                   "(service s) updated computedDesiredCount for taskSet %s to 2.", set);
    assert_int_equal(fix_said(f, words), 1);
    (void)snprintf(words, sizeof(words), "(service s, taskSet %s) updated state to STEADY_STATE.",
                   set);
    assert_int_equal(fix_said(f, words), 1);
    assert_string_equal(fix_service(f, "services.0.taskDefinition"), "(none)");
    fix_ok(f, "UpdateServicePrimaryTaskSet",
           "{'cluster':'default','service':'s','primaryTaskSet':'%s'}", set);
    assert_string_equal(fix_id(fix_service(f, "services.0.taskDefinition")), "web:1");
    (void)snprintf(words, sizeof(words), "(service s, taskSet %s) has started 2 tasks: (task ",
                   set);
    assert_int_equal(fix_said(f, words), 1);
    assert_int_equal(fix_said(f, "(service s) has reached a steady state."), 1);
    fix_ok(f, "UpdateService", "{'service':'s','desiredCount':0}");
    fix_schedule(f);
    (void)snprintf(words, sizeof(words),
                   "(service s, taskSet %s) has stopped 2 running tasks: ", set);
    assert_int_equal(fix_said(f, words), 1);
    fix_recover(f, true);
    fix_free(f);
}

/* A set that is given no scale is steady with no task; time goes by, and it is said again. */
static void a_set_without_scale_is_empty(FL_UNUSED void **state)
{
    struct fix *f = fix_ready();
    make_external(f, 3);
    fix_ok(f, "CreateTaskSet", "{'cluster':'default','service':'s','taskDefinition':'web'}");
    assert_int_equal(fix_int(f, "taskSet.computedDesiredCount"), 0);
    assert_true(fl_json_number(fix_at(f->reply, "taskSet.scale.value")) == 0);
    fix_schedule(f);
    assert_string_equal(fix_newest_event(f), "(service s) has reached a steady state.");
    assert_int_equal(fix_said(f, ") updated state to STEADY_STATE."), 1);
    f->now_ms += 6 * 60 * 60 * (int64_t)1000;
    fix_quiet(f);
    assert_int_equal(fix_said(f, "has reached a steady state."), 2);
    fix_free(f);
}

static void sets_are_made_scaled_promoted_and_deleted(FL_UNUSED void **state)
{
    char blue[40], green[40];
    struct fix *f = fix_ready();
    make_external(f, 5);
    make_set(f, 100, blue);
    assert_string_equal(fix_text(f, "taskSet.status"), "ACTIVE");
    assert_string_equal(fix_text(f, "taskSet.stabilityStatus"), "STABILIZING");
    assert_int_equal(fix_int(f, "taskSet.computedDesiredCount"), 5);
    fix_schedule(f);
    obey(f);
    describe(f, blue);
    assert_int_equal(fix_int(f, "taskSets.0.runningCount"), 5);
    assert_string_equal(fix_text(f, "taskSets.0.stabilityStatus"), "STEADY_STATE");
    fix_ok(f, "UpdateServicePrimaryTaskSet",
           "{'cluster':'default','service':'s','primaryTaskSet':'%s'}", blue);
    fix_recover(f, true);
    make_set(f, 30, green); /* 1.5 tasks are 2 */
    assert_int_equal(fix_int(f, "taskSet.computedDesiredCount"), 2);
    fix_schedule(f);
    obey(f);
    fix_ok(f, "DescribeTaskSets", "{'cluster':'default','service':'s'}");
    assert_string_equal(fix_text(f, "taskSets.0.id"), blue);
    assert_string_equal(fix_text(f, "taskSets.0.status"), "PRIMARY");
    assert_int_equal(fix_int(f, "taskSets.1.runningCount"), 2);
    fix_ok(f, "ListTasks", "{'startedBy':'%s'}", green);
    assert_int_equal(fix_size(f, "taskArns"), 2);
    fix_ok(f, "UpdateTaskSet",
           "{'cluster':'default','service':'s','taskSet':'%s','scale':{'value':100}}", green);
    fix_schedule(f);
    obey(f);
    fix_ok(f, "UpdateServicePrimaryTaskSet",
           "{'cluster':'default','service':'s','primaryTaskSet':'%s'}", green);
    assert_string_equal(fix_text(f, "taskSet.status"), "PRIMARY");
    fix_refused(f, "InvalidParameterException",
                "The task set cannot be deleted while it is scaled above 0: scale it to 0 or use "
                "force.",
                "DeleteTaskSet", "{'cluster':'default','service':'s','taskSet':'%s'}", blue);
    fix_ok(f, "DeleteTaskSet", "{'cluster':'default','service':'s','taskSet':'%s','force':true}",
           blue);
    assert_string_equal(fix_text(f, "taskSet.status"), "DRAINING");
    fix_schedule(f);
    obey(f);
    fix_recover(f, true);
    fix_ok(f, "DescribeTaskSets", "{'cluster':'default','service':'s','taskSets':['%s','%s']}",
           blue, green);
    assert_string_equal(fix_text(f, "failures.0.reason"), "MISSING");
    assert_int_equal(fix_int(f, "taskSets.0.runningCount"), 5);
    fix_ok(f, "DeleteService", "{'service':'s','force':true}");
    fix_schedule(f);
    obey(f);
    fix_ok(f, "DescribeServices", "{'services':['s']}");
    assert_string_equal(fix_text(f, "services.0.status"), "INACTIVE");
    fix_recover(f, false);
    fix_free(f);
}

static void what_is_no_task_set_is_refused(FL_UNUSED void **state)
{
    struct fix *f = fix_ready();
    fix_ok(f, "CreateService", "{'serviceName':'s','taskDefinition':'web','desiredCount':1}");
    fix_refused(f, "InvalidParameterException",
                "Task sets are for services with the EXTERNAL deployment controller.",
                "CreateTaskSet", "{'cluster':'default','service':'s','taskDefinition':'web'}");
    fix_refused(f, "ServiceNotFoundException", "Service not found.", "DescribeTaskSets",
                "{'cluster':'default','service':'t'}");
    fix_ok(f, "CreateService",
           "{'serviceName':'e','desiredCount':1,'deploymentController':{'type':'EXTERNAL'}}");
    fix_refused(f, "TaskSetNotFoundException", "The specified task set was not found.",
                "UpdateTaskSet",
                "{'cluster':'default','service':'e','taskSet':'ecs-svc/1','scale':{'value':1}}");
    fix_refused(f, "InvalidParameterException", "scale.value must be between 0 and 100 percent.",
                "CreateTaskSet",
                "{'cluster':'default','service':'e','taskDefinition':'web',"
                "'scale':{'value':100.5}}");
    for (int i = 0; i < 5; i++)
        fix_ok(f, "CreateTaskSet", "{'cluster':'default','service':'e','taskDefinition':'web'}");
    fix_refused(f, "LimitExceededException", "A service can have at most 5 task sets.",
                "CreateTaskSet", "{'cluster':'default','service':'e','taskDefinition':'web'}");
    fix_free(f);
}

/* A set that is told no scale has none, and one without tasks needs no force. */
static void a_set_without_tasks_goes_without_force(FL_UNUSED void **state)
{
    char id[40];
    struct fix *f = fix_ready();
    make_external(f, 2);
    fix_ok(f, "CreateTaskSet", "{'cluster':'default','service':'s','taskDefinition':'web'}");
    assert_int_equal(fix_int(f, "taskSet.computedDesiredCount"), 0);
    assert_string_equal(fix_text(f, "taskSet.scale.unit"), "PERCENT");
    (void)snprintf(id, sizeof(id), "%s", fix_text(f, "taskSet.id"));
    fix_ok(f, "UpdateTaskSet",
           "{'cluster':'default','service':'s','taskSet':'%s','scale':{'value':100}}", id);
    fix_ok(f, "DeleteTaskSet", "{'cluster':'default','service':'s','taskSet':'%s'}", id);
    assert_string_equal(fix_text(f, "taskSet.status"), "DRAINING");
    fix_schedule(f);
    fix_ok(f, "DescribeTaskSets", "{'cluster':'default','service':'s'}");
    assert_int_equal(fix_size(f, "taskSets"), 0);
    fix_free(f);
}

static void a_set_is_tagged(FL_UNUSED void **state)
{
    char arn[160];
    struct fix *f = fix_ready();
    make_external(f, 1);
    fix_ok(f, "CreateTaskSet",
           "{'cluster':'default','service':'s','taskDefinition':'web',"
           "'tags':[{'key':'a','value':'1'}]}");
    (void)snprintf(arn, sizeof(arn), "%s", fix_text(f, "taskSet.taskSetArn"));
    fix_ok(f, "TagResource",
           "{'resourceArn':'%s','tags':[{'key':'a','value':'2'},{'key':'b','value':'3'}]}", arn);
    fix_ok(f, "UntagResource", "{'resourceArn':'%s','tagKeys':['b']}", arn);
    fix_recover(f, true);
    fix_ok(f, "ListTagsForResource", "{'resourceArn':'%s'}", arn);
    assert_int_equal(fix_size(f, "tags"), 1);
    assert_string_equal(fix_text(f, "tags.0.value"), "2");
    fix_ok(f, "DescribeTaskSets", "{'cluster':'default','service':'s','include':['TAGS']}");
    assert_string_equal(fix_text(f, "taskSets.0.tags.0.value"), "2");
    assert_int_equal(
        fix_call(f, "TagResource", "{'resourceArn':'%s1','tags':[{'key':'a','value':'b'}]}", arn),
        400);
    assert_string_equal(fix_text(f, "__type"), "ResourceNotFoundException");
    fix_free(f);
}

/* The same call again gets the same set, another one with its token is refused. */
static void a_token_stands_for_one_set(FL_UNUSED void **state)
{
    static const char call[] = "{'cluster':'default','service':'s','taskDefinition':'web',"
                               "'clientToken':'one','scale':{'value':%d}}";
    char id[40];
    struct fix *f = fix_ready();
    make_external(f, 1);
    fix_ok(f, "CreateTaskSet", call, 50);
    (void)snprintf(id, sizeof(id), "%s", fix_text(f, "taskSet.id"));
    fix_recover(f, true);
    fix_ok(f, "CreateTaskSet", call, 50);
    assert_string_equal(fix_text(f, "taskSet.id"), id);
    fix_refused(f, "InvalidParameterException", "Creation of task set was not idempotent.",
                "CreateTaskSet", call, 60);
    fix_free(f);
}

static void protected_tasks_stay(FL_UNUSED void **state)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fix *f = fix_ready();
    fix_ok(f, "CreateService", "{'serviceName':'s','taskDefinition':'web','desiredCount':3}");
    fix_schedule(f);
    obey(f);
    fix_ok(f, "ListTasks", "{}");
    const struct fl_json *arns = fix_copy(fix_at(f->reply, "taskArns"), arena);
    const char *kept = fl_json_z(fl_json_item(arns, 1));
    fix_ok(f, "UpdateTaskProtection",
           "{'cluster':'default','tasks':['%s','nope'],'protectionEnabled':true,"
           "'expiresInMinutes':1}",
           kept);
    assert_string_equal(fix_text(f, "protectedTasks.0.taskArn"), kept);
    assert_string_equal(fix_text(f, "failures.0.reason"), "MISSING");
    fix_recover(f, true);
    fix_ok(f, "UpdateService", "{'service':'s','desiredCount':0}");
    fix_schedule(f);
    obey(f);
    fix_ok(f, "ListTasks", "{}");
    assert_int_equal(fix_size(f, "taskArns"), 1);
    assert_string_equal(fix_text(f, "taskArns.0"), kept);
    fix_ok(f, "GetTaskProtection", "{'cluster':'default'}");
    assert_int_equal(fix_size(f, "protectedTasks"), 1);
    f->now_ms += 60 * 1000;
    fix_schedule(f);
    obey(f);
    fix_ok(f, "ListTasks", "{}");
    assert_int_equal(fix_size(f, "taskArns"), 0);
    fix_ok(f, "RunTask", "{'taskDefinition':'web'}");
    char arn[200];
    (void)snprintf(arn, sizeof(arn), "%s", fix_text(f, "tasks.0.taskArn"));
    fix_ok(f, "UpdateTaskProtection",
           "{'cluster':'default','tasks':['%s'],'protectionEnabled':true}", arn);
    assert_string_equal(fix_text(f, "failures.0.reason"), "TASK_NOT_VALID");
    fix_ok(f, "UpdateService", "{'service':'s','desiredCount':1}");
    fix_schedule(f);
    fix_ok(f, "ListTasks", "{'serviceName':'s'}");
    fix_ok(f, "UpdateTaskProtection",
           "{'cluster':'default','tasks':['%.200s'],'protectionEnabled':true}",
           fix_text(f, "taskArns.0"));
    fix_ok(f, "DeleteService", "{'service':'s','force':true}");
    fix_schedule(f);
    fix_ok(f, "ListTasks", "{'serviceName':'s'}");
    assert_int_equal(fix_size(f, "taskArns"), 0);
    fix_refused(f, "InvalidParameterException", "expiresInMinutes must be between 1 and 2880.",
                "UpdateTaskProtection",
                "{'cluster':'default','tasks':['%s'],'protectionEnabled':true,"
                "'expiresInMinutes':2881}",
                arn);
    fix_free(f);
}

/* A deployment waits for protected tasks of the one before, which can get no more protection. */
static void protection_does_not_block_a_deployment(FL_UNUSED void **state)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct fix *f = fix_ready();
    fix_ok(f, "CreateService", "{'serviceName':'s','taskDefinition':'web','desiredCount':1}");
    fix_schedule(f);
    obey(f);
    fix_ok(f, "ListTasks", "{}");
    const struct fl_json *arns = fix_copy(fix_at(f->reply, "taskArns"), arena);
    const char *kept = fl_json_z(fl_json_item(arns, 0));
    fix_ok(f, "UpdateTaskProtection",
           "{'cluster':'default','tasks':['%s'],'protectionEnabled':true}", kept);
    fix_ok(f, "UpdateService", "{'service':'s','forceNewDeployment':true}");
    fix_schedule(f);
    obey(f);
    fix_ok(f, "ListTasks", "{}");
    assert_int_equal(fix_size(f, "taskArns"), 2);
    fix_ok(f, "UpdateTaskProtection",
           "{'cluster':'default','tasks':['%s'],'protectionEnabled':true}", kept);
    assert_string_equal(fix_text(f, "failures.0.reason"), "DEPLOYMENT_BLOCKED");
    fix_ok(f, "UpdateTaskProtection",
           "{'cluster':'default','tasks':['%s'],'protectionEnabled':false}", kept);
    fix_schedule(f);
    obey(f);
    fix_ok(f, "DescribeServices", "{'services':['s']}");
    assert_int_equal(fix_size(f, "services.0.deployments"), 1);
    assert_string_equal(fix_text(f, "services.0.deployments.0.rolloutState"), "COMPLETED");
    fix_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(events_name_the_set),
        cmocka_unit_test(a_set_without_scale_is_empty),
        cmocka_unit_test(sets_are_made_scaled_promoted_and_deleted),
        cmocka_unit_test(what_is_no_task_set_is_refused),
        cmocka_unit_test(a_set_without_tasks_goes_without_force),
        cmocka_unit_test(a_set_is_tagged),
        cmocka_unit_test(a_token_stands_for_one_set),
        cmocka_unit_test(protected_tasks_stay),
        cmocka_unit_test(protection_does_not_block_a_deployment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
