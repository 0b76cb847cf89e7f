/* What agents are told of all their tasks, and what they tell of health. */
#include "core/core_fixture.h"
#include "wire/arn.h"

static struct fix *fix_with_host(const char *attributes, char ret_id[64])
{
    struct fix *f = fix_new();
    fix_ok(f, "CreateCluster", "{}");
    fix_register(f, "web", 10, 20, "");
    fix_add_instance(f, "default", 1000, 1000, attributes, ret_id);
    return f;
}

static const char full_sync[] = "{'name':'ecs.capability.full-sync'}";

/* The list that was sent last, or NULL. */
static const struct fl_json *listed(const struct fix *f, const char *kind)
{
    const struct fl_json *found = NULL;
    for (size_t i = 0; i < fl_json_items(f->sent); i++) {
        const struct fl_json *sent = fl_json_item(f->sent, i);
        if (fl_str_is(fl_json_text(fl_json_get(sent, "list")), kind))
            found = sent;
    }
    return found ? fl_json_get(found, "tasks") : NULL;
}

static void start(struct fix *f, char ret_arn[200])
{
    fix_ok(f, "RunTask", "{'taskDefinition':'web'}");
    (void)snprintf(ret_arn, 200, "%s", fix_text(f, "tasks.0.taskArn"));
}

static void a_manifest_lists_what_the_instance_has(FL_UNUSED void **state)
{
    char id[64], arns[3][200];
    struct fix *f = fix_with_host(full_sync, id);
    for (int i = 0; i < 3; i++)
        start(f, arns[i]);
    fix_report(f, arns[1], "RUNNING", "");
    fix_ok(f, "StopTask", "{'task':'%s'}", arns[1]);
    fix_report(f, arns[2], "STOPPED", "");
    (void)fix_connect(f, "default", id);
    const struct fl_json *tasks = listed(f, "manifest");
    assert_int_equal(fl_json_members(tasks), 2);
    assert_true(fl_json_is_true(fl_json_get(tasks, arns[0])));
    assert_true(fl_json_is(fl_json_get(tasks, arns[1]), FL_JSON_FALSE));
    /* It comes last: what it lists has been sent before. */
    assert_ptr_equal(fl_json_get(fl_json_item(f->sent, fl_json_items(f->sent) - 1), "tasks"),
                     tasks);
    fix_recover(f, true);
    fix_free(f);
}

/* The roles of the tasks that are there, one after the other. */
static void note_roles(void *context, const struct fl_core_roles *roles)
{
    struct fl_buf *text = context;
    fl_buf_printf(text, "%.*s %.*s;", FL_STR_ARG(roles->task_role),
                  FL_STR_ARG(roles->execution_role));
}

static void assert_roles(const struct fix *f, const char *instance, const char *expected)
{
    FL_CLEANUP_ARENA struct fl_arena *arena = fl_arena_new();
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(4096);
    fl_core_each_roles(f->core, FL_STR("default"), fl_str_of(instance), arena, note_roles, &text);
    assert_string_equal(text.p ? text.p : "", expected);
}

static void roles_are_those_of_living_tasks(FL_UNUSED void **state)
{
    char id[64], arns[2][200];
    struct fix *f = fix_with_host("{'name':'com.amazonaws.ecs.capability.task-iam-role'},"
                                  "{'name':'com.amazonaws.ecs.capability.docker-remote-api.1.17'}",
                                  id);
    fix_ok(f, "RegisterTaskDefinition",
           "{'family':'web','taskRoleArn':'app','executionRoleArn':'arn:aws:iam::1:role/x',"
           "'containerDefinitions':[{'name':'app','image':'b','memory':4}]}");
    assert_roles(f, id, "");
    start(f, arns[0]);
    fix_ok(f, "RunTask", "{'taskDefinition':'web','overrides':{'taskRoleArn':'other'}}");
    (void)snprintf(arns[1], sizeof(arns[1]), "%s", fix_text(f, "tasks.0.taskArn"));
    assert_roles(f, id,
                 "arn:aws:iam::000000000000:role/app arn:aws:iam::1:role/x;"
                 "arn:aws:iam::000000000000:role/other arn:aws:iam::1:role/x;");
    struct fl_str last = fl_arn_last(fl_str_of(arns[1]));
    assert_true(fl_core_task_lives(f->core, FL_STR("default"), last));
    fix_report(f, arns[1], "STOPPED", "");
    assert_false(fl_core_task_lives(f->core, FL_STR("default"), last));
    assert_false(fl_core_task_lives(f->core, FL_STR("nowhere"), last));
    assert_roles(f, id, "arn:aws:iam::000000000000:role/app arn:aws:iam::1:role/x;");
    fix_free(f);
}

static void agents_that_cannot_read_it_get_none(FL_UNUSED void **state)
{
    char id[64];
    struct fix *f = fix_with_host("", id);
    (void)fix_connect(f, "default", id);
    assert_null(listed(f, "manifest"));
    fix_free(f);
}

static void verify(struct fix *f, const char *instance, uint64_t session,
                   const struct fl_acs_task *tasks, size_t count)
{
    struct fl_core_event event = {
        .kind = FL_CORE_EVENT_STOP_VERIFICATION,
        .cluster = FL_STR("default"),
        .instance = fl_str_of(instance),
        .session = session,
        .message_id = FL_STR("m"),
        .tasks = tasks,
        .task_count = count,
    };
    fix_step(f, &event);
    assert_int_equal(f->records_put, 0);
}

static void only_what_is_not_wanted_is_to_stop(FL_UNUSED void **state)
{
    char id[64], other[64], arns[3][200], text[300];
    struct fix *f = fix_with_host(full_sync, id);
    for (int i = 0; i < 3; i++)
        start(f, arns[i]);
    fix_ok(f, "StopTask", "{'task':'%s'}", arns[1]);
    fix_report(f, arns[2], "STOPPED", "");
    fix_add_instance(f, "default", 1000, 1000, full_sync, other);
    fix_ok(f, "StartTask", "{'taskDefinition':'web','containerInstances':['%s']}", other);
    (void)snprintf(text, sizeof(text), "%s", fix_text(f, "tasks.0.taskArn"));
    const struct fl_acs_task asked[] = {
        {.arn = fl_str_of(arns[0])},
        {.arn = fl_str_of(arns[1])},
        {.arn = fl_str_of(arns[2])},
        {.arn = fl_str_of(text)}, /* of another instance */
        {.arn = FL_STR("arn:aws:ecs:r:a:task/default/unknown")},
        {.arn = FL_STR("nonsense")},
        {.arn = fl_str_of(fix_id(arns[0]))}, /* no ARN */
    };
    verify(f, id, f->sessions[0].session, asked, FL_ARRAY_SIZE(asked));
    const struct fl_json *tasks = listed(f, "stop");
    assert_int_equal(fl_json_members(tasks), FL_ARRAY_SIZE(asked) - 1);
    assert_null(fl_json_get(tasks, arns[0]));
    assert_string_equal(fl_json_z(fix_at(f->sent, "0.id")), "m");
    /* An older session's question is nobody's any more. */
    verify(f, id, f->sessions[0].session + 1000, asked, FL_ARRAY_SIZE(asked));
    assert_int_equal(fl_json_items(f->sent), 0);
    verify(f, "nope", 1, asked, FL_ARRAY_SIZE(asked));
    assert_int_equal(fl_json_items(f->sent), 0);
    fix_free(f);
}

static void tell(struct fix *f, enum fl_core_event_kind kind, const char *instance,
                 const char *task, const struct fl_core_health *health, size_t count)
{
    struct fl_core_event event = {
        .kind = kind,
        .cluster = FL_STR("default"),
        .instance = fl_str_of(instance),
        .task = fl_str_of(task),
        .health = health,
        .health_count = count,
    };
    fix_step(f, &event);
}

static const char *health_of(struct fix *f, const char *arn)
{
    fix_ok(f, "DescribeTasks", "{'tasks':['%s']}", arn);
    return fix_text(f, "tasks.0.containers.0.healthStatus");
}

static void a_containers_health_is_kept_when_it_changes(FL_UNUSED void **state)
{
    char id[64], arn[200];
    struct fix *f = fix_with_host("", id);
    struct fl_core_health health[] = {{.name = FL_STR("app"), .status = ECS_HealthStatus_HEALTHY},
                                      {.name = FL_STR("none")}};
    start(f, arn);
    fix_report(f, arn, "RUNNING", "");
    assert_string_equal(health_of(f, arn), "UNKNOWN");
    for (size_t i = 0; i < 3; i++) {
        tell(f, FL_CORE_EVENT_HEALTH, id, fix_id(arn), health, 2);
        assert_int_equal(f->records_put, i == 0);
    }
    assert_string_equal(health_of(f, arn), "HEALTHY");
    fix_recover(f, true);
    health[0].status = ECS_HealthStatus_UNHEALTHY;
    tell(f, FL_CORE_EVENT_HEALTH, "nope", fix_id(arn), health, 2);
    tell(f, FL_CORE_EVENT_HEALTH, id, "nope", health, 2);
    assert_string_equal(health_of(f, arn), "HEALTHY");
    tell(f, FL_CORE_EVENT_HEALTH, id, fix_id(arn), health, 2);
    assert_string_equal(health_of(f, arn), "UNHEALTHY");
    fix_report(f, arn, "STOPPED", "");
    health[0].status = ECS_HealthStatus_HEALTHY;
    tell(f, FL_CORE_EVENT_HEALTH, id, fix_id(arn), health, 2);
    assert_int_equal(f->records_put, 0);
    fix_recover(f, true);
    fix_free(f);
}

static const char *overall_health(struct fix *f, const char *id)
{
    fix_ok(f, "DescribeContainerInstances",
           "{'containerInstances':['%s'],'include':['CONTAINER_INSTANCE_HEALTH']}", id);
    return fix_text(f, "containerInstances.0.healthStatus.overallStatus");
}

static void an_instances_health_is_the_worst_of_its_checks(FL_UNUSED void **state)
{
    char id[64];
    struct fix *f = fix_with_host("", id);
    struct fl_core_health checks[] = {
        {.type = ECS_InstanceHealthCheckType_CONTAINER_RUNTIME,
         .status = ECS_InstanceHealthCheckState_OK},
        {.type = ECS_InstanceHealthCheckType_AGENT_CONNECTIVITY,
         .status = ECS_InstanceHealthCheckState_INITIALIZING,
         .since_ms = f->now_ms - 5000,
         .reason = FL_STR("begins")},
    };
    assert_string_equal(overall_health(f, id), "INSUFFICIENT_DATA");
    fix_ok(f, "DescribeContainerInstances", "{'containerInstances':['%s']}", id);
    assert_null(fix_at(f->reply, "containerInstances.0.healthStatus"));
    tell(f, FL_CORE_EVENT_INSTANCE_HEALTH, id, "", checks, 2);
    assert_int_equal(f->records_put, 1);
    assert_string_equal(overall_health(f, id), "INITIALIZING");
    assert_string_equal(fix_text(f, "containerInstances.0.healthStatus.details.1.statusReason"),
                        "begins");
    f->now_ms += 60000;
    tell(f, FL_CORE_EVENT_INSTANCE_HEALTH, id, "", checks, 2);
    assert_int_equal(f->records_put, 0);
    checks[1].status = ECS_InstanceHealthCheckState_IMPAIRED;
    tell(f, FL_CORE_EVENT_INSTANCE_HEALTH, id, "", checks, 2);
    assert_string_equal(overall_health(f, id), "IMPAIRED");
    tell(f, FL_CORE_EVENT_INSTANCE_HEALTH, id, "", checks, 1);
    assert_string_equal(overall_health(f, id), "OK");
    fix_recover(f, true);
    assert_string_equal(overall_health(f, id), "OK");
    fix_ok(f, "DeregisterContainerInstance", "{'containerInstance':'%s'}", id);
    tell(f, FL_CORE_EVENT_INSTANCE_HEALTH, id, "", checks, 2);
    assert_int_equal(f->records_put, 0);
    fix_free(f);
}

/* What its agent cannot start is not placed there, and who asks is told why. */
static void an_impaired_instance_gets_no_tasks(FL_UNUSED void **state)
{
    char id[64];
    struct fix *f = fix_with_host("", id);
    struct fl_core_health check = {.type = ECS_InstanceHealthCheckType_CONTAINER_RUNTIME,
                                   .status = ECS_InstanceHealthCheckState_IMPAIRED,
                                   .reason = FL_STR("no space left on device")};
    fix_ok(f, "RegisterTaskDefinition",
           "{'family':'t','containerDefinitions':[{'name':'c','image':'i','memory':8}]}");
    tell(f, FL_CORE_EVENT_INSTANCE_HEALTH, id, "", &check, 1);
    fix_ok(f, "RunTask", "{'taskDefinition':'t'}");
    assert_string_equal(fix_text(f, "failures.0.reason"), "AGENT");
    fix_recover(f, true);
    fix_ok(f, "StartTask", "{'taskDefinition':'t','containerInstances':['%s']}", id);
    assert_string_equal(fix_text(f, "failures.0.reason"), "AGENT");
    check.status = ECS_InstanceHealthCheckState_OK;
    tell(f, FL_CORE_EVENT_INSTANCE_HEALTH, id, "", &check, 1);
    fix_ok(f, "RunTask", "{'taskDefinition':'t'}");
    assert_non_null(fix_at(f->reply, "tasks.0"));
    fix_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_manifest_lists_what_the_instance_has),
        cmocka_unit_test(roles_are_those_of_living_tasks),
        cmocka_unit_test(agents_that_cannot_read_it_get_none),
        cmocka_unit_test(only_what_is_not_wanted_is_to_stop),
        cmocka_unit_test(a_containers_health_is_kept_when_it_changes),
        cmocka_unit_test(an_instances_health_is_the_worst_of_its_checks),
        cmocka_unit_test(an_impaired_instance_gets_no_tasks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
