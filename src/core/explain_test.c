/* What is told about a task that finds no place: every rule once, counted, the most frequent first,
 * the closest instance named; the same at five instances and at many. */
#include "core/rollout_fixture.h"

static unsigned explain(struct fix *f, const char *task, const char *definition)
{
    struct fl_core_event event = {
        .kind = FL_CORE_EVENT_EXPLAIN,
        .request_id = 7,
        .task = fl_str_of(task),
        .definition = fl_str_of(definition),
    };
    fix_step(f, &event);
    assert_int_equal(f->records_put, 0);
    return f->status;
}

static unsigned explain_service(struct fix *f, const char *service)
{
    struct fl_core_event event = {
        .kind = FL_CORE_EVENT_EXPLAIN, .request_id = 7, .service = fl_str_of(service)};
    fix_step(f, &event);
    assert_int_equal(f->records_put, 0);
    return f->status;
}

/* The same about a RunTask that is given as JSON. */
static unsigned explain_call(struct fix *f, const char *text)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    struct ecs_RunTaskRequest call = {0};
    struct fl_shape_error fault;
    char *quoted = fl_arena_alloc(arena, strlen(text) + 1);
    for (size_t i = 0; text[i]; i++)
        quoted[i] = text[i] == '\'' ? '"' : text[i];
    struct fl_err err;
    const struct fl_json *json = fl_json_read(fl_str_of(quoted), arena, &err);
    assert_int_equal(fl_shape_decode(&ecs_shape_RunTaskRequest, json, arena, &call, &fault), 0);
    struct fl_core_event event = {.kind = FL_CORE_EVENT_EXPLAIN, .request_id = 7, .call = &call};
    fix_step(f, &event);
    assert_int_equal(f->records_put, 0);
    return f->status;
}

/* The text, with the ids of instances replaced by their letters (A, B, …) and of tasks by T. */
static void expect_text(struct fix *f, char ids[][64], size_t id_count, const char *expected)
{
    FL_CLEANUP_BUF struct fl_buf seen = FL_BUF_INIT(1 << 16);
    const char *text = fix_text(f, "text");
    while (*text) {
        size_t i = 0;
        while (i < id_count && strncmp(text, ids[i], 8) != 0)
            i++;
        if (i < id_count) {
            fl_buf_add_char(&seen, (char)('A' + i));
            text += 8 + strlen("…");
        } else {
            fl_buf_add_char(&seen, *text++);
        }
    }
    assert_string_equal(seen.p, expected);
}

static void every_rule_is_told(FL_UNUSED void **state)
{
    struct fix *f = fix_new();
    char ids[6][64];
    fix_ok(f, "CreateCluster", "{}");
    fix_register(f, "filler", 900, 400, "");
    fix_ok(f, "RegisterTaskDefinition",
           "{'family':'web','placementConstraints':[{'type':'memberOf','expression':"
           "'attribute:rack exists'}],'containerDefinitions':[{'name':'app','image':'b',"
           "'cpu':200,'memory':400,'portMappings':[{'containerPort':80,'hostPort':8080}]}]}");
    assert_int_equal(explain(f, "", "web"), 200);
    expect_text(f, NULL, 0,
                "web:1 on cluster default needs 200 CPU units and 400 MiB, host port 8080/tcp; "
                "0 of 0 instances can take it\n"
                "  the cluster has no instances: RunTask refuses the call\n");
    fix_add_instance(f, "default", 1000, 300, "{'name':'rack','value':'r'}", ids[0]);
    fix_add_instance(f, "default", 1000, 390, "{'name':'rack','value':'r'}", ids[1]);
    fix_add_instance(f, "default", 1000, 1000, "{'name':'rack','value':'r'}", ids[2]);
    fix_add_instance(f, "default", 1000, 1000, "", ids[3]);
    fix_add_instance(f, "default", 1000, 1000, "{'name':'rack','value':'r'}", ids[4]);
    fix_add_instance(f, "default", 1000, 1000, "{'name':'rack','value':'r'}", ids[5]);
    fix_disconnect(f, "default", ids[5], f->sessions[5].session);
    fix_ok(f, "StartTask", "{'taskDefinition':'filler','containerInstances':['%s']}", ids[2]);
    assert_int_equal(explain(f, "", "web:1"), 200);
    assert_int_equal(fix_int(f, "instances"), 6);
    assert_int_equal(fix_int(f, "fitting"), 1);
    assert_int_equal(fix_size(f, "excluded"), 4);
    assert_int_equal(fix_int(f, "excluded.0.lacks"), 10);
    assert_int_equal(fix_int(f, "excluded.0.tooSmall"), 2);
    expect_text(f, ids, 6,
                "web:1 on cluster default needs 200 CPU units and 400 MiB, host port 8080/tcp; "
                "1 of 6 instances can take it: E\n"
                "  2 instances, RESOURCE:MEMORY: the closest, B, lacks 10 MiB (390 of 390 are "
                "free); 2 are too small even without tasks, for 400 are needed\n"
                "  1 instance, AGENT: the agent is not connected; `fairlead doctor` there says "
                "why: F\n"
                "  1 instance, memberOf: the constraint `attribute:rack exists` is not met: D\n"
                "  1 instance, RESOURCE:CPU: C lacks 100 CPU units (100 of 1000 are free)\n");
    fix_ok(f, "StartTask", "{'taskDefinition':'web','group':'g','containerInstances':['%s']}",
           ids[4]);
    char task[64];
    (void)snprintf(task, sizeof(task), "%s", fix_id(fix_text(f, "tasks.0.taskArn")));
    assert_int_equal(explain(f, task, ""), 200);
    assert_int_equal(fix_int(f, "fitting"), 0);
    assert_string_equal(fix_text(f, "excluded.4.reason"), "RESOURCE:PORTS");
    const char *text = fix_text(f, "text");
    assert_non_null(strstr(text, "is PENDING on "));
    assert_non_null(strstr(text, "host port 8080 is taken; on "));
    assert_non_null(strstr(text, " of g\n"));
    fix_free(f);
}

/* A call is explained with all that it brings; what RunTask itself then says has the same reasons.
 */
static void a_call_is_explained_as_it_is(FL_UNUSED void **state)
{
    static const char call[] =
        "{'taskDefinition':'web','count':2,'group':'g','placementConstraints':["
        "{'type':'distinctInstance'},{'type':'memberOf','expression':'attribute:rack == r'}],"
        "'placementStrategy':[{'type':'binpack','field':'memory'}],'overrides':{"
        "'containerOverrides':[{'name':'app','memory':700,'resourceRequirements':[{'type':'GPU',"
        "'value':'1'}]}]}}";
    struct fix *f = fix_new();
    char ids[5][64];
    fix_ok(f, "CreateCluster", "{}");
    fix_register(f, "web", 100, 100, "");
    for (int i = 0; i < 5; i++) {
        fix_add_instance(f, "default", 1000, i == 2 ? 600 : 1000,
                         i == 1 ? "" : "{'name':'rack','value':'r'}", ids[i]);
        if (i != 3)
            fix_ok(f, "RegisterContainerInstance",
                   "{'containerInstanceArn':'%s','totalResources':[{'name':'CPU','integerValue':"
                   "1000},{'name':'MEMORY','integerValue':%d}],'platformDevices':[{'id':'GPU-0',"
                   "'type':'GPU'}]}",
                   ids[i], i == 2 ? 600 : 1000);
    }
    fix_ok(f, "StartTask", "{'taskDefinition':'web','group':'g','containerInstances':['%s']}",
           ids[0]);
    assert_int_equal(explain_call(f, call), 200);
    expect_text(f, ids, 5,
                "the call runs 2 tasks of group g, each on its own instance; each, of web:1 on "
                "cluster default needs 100 CPU units and 700 MiB, 1 GPU; 1 of 5 instances can "
                "take it: E\n"
                "  1 instance, memberOf: the constraint `attribute:rack == r` is not met: B\n"
                "  1 instance, distinctInstance: a task of g is there already: A\n"
                "  1 instance, RESOURCE:MEMORY: C lacks 100 MiB (600 of 600 are free); 1 is too "
                "small even without tasks, for 700 are needed\n"
                "  1 instance, RESOURCE:GPU: D lacks 1 GPU (0 of 0 are free); 1 is too small "
                "even without tasks, for 1 are needed\n");
    fix_ok(f, "RunTask", "%s", call);
    assert_int_equal(fix_size(f, "tasks"), 1);
    for (size_t i = 0; i < fix_size(f, "failures"); i++) {
        char path[80];
        (void)snprintf(path, sizeof(path), "failures.%zu.arn", i);
        const char *reason = strcmp(fix_id(fix_text(f, path)), ids[2]) == 0
                                 ? "700 MiB are needed, 600 of 600 are free"
                                 : NULL;
        (void)snprintf(path, sizeof(path), "failures.%zu.detail", i);
        if (reason)
            assert_string_equal(fix_text(f, path), reason);
    }
    assert_int_equal(fix_size(f, "failures"), 5);
    assert_int_equal(explain_call(f, "{'taskDefinition':'web','count':11}"), 400);
    assert_string_equal(fix_text(f, "message"), "count should be between 1 and 10.");
    assert_int_equal(explain_call(f, "{'taskDefinition':'nothing'}"), 400);
    assert_string_equal(fix_text(f, "message"), "TaskDefinition not found.");
    fix_free(f);
}

static void many_instances_stay_readable(FL_UNUSED void **state)
{
    enum { MANY = 5000, LINES = 8 };
    struct fix *f = fix_new();
    fix_ok(f, "CreateCluster", "{}");
    fix_ok(f, "RegisterTaskDefinition",
           "{'family':'big','placementConstraints':[{'type':'memberOf','expression':"
           "'attribute:rack != r7'}],'containerDefinitions':[{'name':'app','image':'b',"
           "'cpu':4000,'memory':4000}]}");
    for (int i = 0; i < MANY; i++) {
        fix_ok(f, "RegisterContainerInstance",
               "{'totalResources':[{'name':'CPU','type':'INTEGER','integerValue':%d},"
               "{'name':'MEMORY','type':'INTEGER','integerValue':%d}],"
               "'attributes':[{'name':'rack','value':'r%d'}]}",
               i % 2 ? 1000 + i % 999 : 5000, 1000 + i % 777, i % 40);
        char id[64];
        (void)snprintf(id, sizeof(id), "%s",
                       fix_id(fix_text(f, "containerInstance.containerInstanceArn")));
        if (i % 5)
            fix_agent_event(f, FL_CORE_EVENT_AGENT_CONNECTED, "default", id, 1);
    }
    assert_int_equal(explain(f, "", "big"), 200);
    assert_int_equal(fix_int(f, "instances"), MANY);
    assert_int_equal(fix_int(f, "fitting"), 0);
    int64_t sum = 0, lines = 0;
    for (size_t i = 0; i < fix_size(f, "excluded"); i++) {
        char path[40];
        (void)snprintf(path, sizeof(path), "excluded.%zu.instances", i);
        sum += fix_int(f, path);
    }
    assert_int_equal(sum, MANY);
    for (const char *at = fix_text(f, "text"); *at; at++)
        lines += *at == '\n';
    assert_true(lines <= LINES && strlen(fix_text(f, "text")) < 1200);
    assert_int_equal(fix_size(f, "excluded"), 4);
    fix_free(f);
}

static void wrong_questions_are_refused(FL_UNUSED void **state)
{
    struct fix *f = fix_new();
    assert_int_equal(explain(f, "", "web"), 400);
    assert_string_equal(fix_text(f, "__type"), "ClusterNotFoundException");
    fix_ok(f, "CreateCluster", "{}");
    assert_int_equal(explain(f, "", "web"), 400);
    assert_string_equal(fix_text(f, "message"), "TaskDefinition not found.");
    assert_int_equal(explain(f, "", ""), 400);
    assert_int_equal(explain(f, "1234", ""), 400);
    assert_string_equal(fix_text(f, "message"), "The referenced task was not found.");
    fix_free(f);
}

/* A service's next task, and what else keeps it from being started. */
static void a_service_is_explained(FL_UNUSED void **state)
{
    struct fix *f = fix_new();
    char ids[1][64];
    fix_ok(f, "CreateCluster", "{}");
    fix_register(f, "web", 100, 600, "");
    fix_add_instance(f, "default", 1024, 1000, "", ids[0]);
    fix_ok(f, "CreateService", "{'serviceName':'s','taskDefinition':'web','desiredCount':2}");
    fix_schedule(f);
    assert_int_equal(explain_service(f, "s"), 200);
    const char *text = fix_text(f, "text");
    assert_non_null(strstr(text, "service s wants 2 tasks of deployment ecs-svc/"));
    assert_non_null(strstr(text, "of which 0 run and 1 are pending; one more, of web:1 on cluster "
                                 "default needs 100 CPU units and 600 MiB; 0 of 1 instance can "
                                 "take it\n"));
    assert_non_null(strstr(text, "  the last event: (service s) "));
    assert_non_null(strstr(text, "  1 instance, RESOURCE:MEMORY: "));
    assert_string_equal(fix_text(f, "serviceArn"),
                        "arn:aws:ecs:eu-central-1:000000000000:service/default/s");
    assert_int_equal(explain_service(f, "arn:aws:ecs:eu-central-1:000000000000:service/default/s"),
                     200);
    assert_int_equal(explain_service(f, "no"), 400);
    assert_string_equal(fix_text(f, "__type"), "ServiceNotFoundException");
    fix_ok(f, "CreateService",
           "{'serviceName':'e','desiredCount':2,'deploymentController':{'type':'EXTERNAL'}}");
    assert_int_equal(explain_service(f, "e"), 400);
    fix_ok(f, "DeleteService", "{'service':'s','force':true}");
    assert_int_equal(explain_service(f, "s"), 400);
    assert_string_equal(fix_text(f, "__type"), "ServiceNotActiveException");
    fix_free(f);
}

/* Why its tasks fail is said by the newest of them; control characters are not. */
static void a_service_whose_tasks_fail_is_explained(FL_UNUSED void **state)
{
    struct fix *f = fix_ready();
    fix_ok(f, "CreateService", "{'serviceName':'s','taskDefinition':'web','desiredCount':1}");
    fix_schedule(f);
    assert_int_equal(explain_service(f, "s"), 200);
    assert_null(strstr(fix_text(f, "text"), "failed"));
    fix_fail(f, "CannotPullContainerError:\\u001b[2J no such image");
    assert_int_equal(explain_service(f, "s"), 200);
    const char *said = strstr(fix_text(f, "text"), "  the last task that failed: ");
    assert_non_null(said);
    assert_non_null(strstr(said, "… of web:1: CannotPullContainerError: [2J no such image\n"));
    fix_ok(f, "ListTasks", "{'desiredStatus':'STOPPED'}");
    char arn[128];
    (void)snprintf(arn, sizeof(arn), "%s", fix_text(f, "taskArns.0"));
    assert_int_equal(explain(f, arn, ""), 200);
    assert_non_null(strstr(fix_text(f, "text"), "\n  why it stops: CannotPullContainerError: "));
    fix_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_rule_is_told),
        cmocka_unit_test(a_call_is_explained_as_it_is),
        cmocka_unit_test(many_instances_stay_readable),
        cmocka_unit_test(a_service_is_explained),
        cmocka_unit_test(a_service_whose_tasks_fail_is_explained),
        cmocka_unit_test(wrong_questions_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
