/* The life of one task through the whole core, as an agent and a user see it: registration,
 * session, RunTask, RUNNING, StopTask, STOPPED, and the record's end an hour later. After every
 * step a core built from the records alone must answer like the live one. */
#include "core/core_fixture.h"

static void a_task_lives_and_is_forgotten(FL_UNUSED void **state)
{
    struct fix *f = fix_new();
    char instance[64], arn[200];
    fix_ok(f, "CreateCluster", "{}");
    fix_register(f, "web", 128, 64, "");
    assert_int_equal(fix_int(f, "taskDefinition.revision"), 1);
    fix_recover(f, false);
    fix_add_instance(f, "default", 1024, 512, "", instance);
    fix_recover(f, false);
    fix_ok(f, "RunTask", "{'taskDefinition':'web'}");
    assert_int_equal(fix_size(f, "tasks"), 1);
    assert_int_equal(fix_size(f, "failures"), 0);
    assert_string_equal(fix_text(f, "tasks.0.lastStatus"), "PENDING");
    assert_string_equal(fix_text(f, "tasks.0.desiredStatus"), "RUNNING");
    assert_string_equal(fix_id(fix_text(f, "tasks.0.containerInstanceArn")), instance);
    assert_int_equal(fl_json_items(f->sent), 1);
    (void)snprintf(arn, sizeof(arn), "%s", fix_text(f, "tasks.0.taskArn"));
    fix_recover(f, false);

    fix_report(f, arn, "RUNNING", ",'containers':[{'containerName':'app','status':'RUNNING'}]");
    assert_int_equal(f->records_put, 1);
    fix_recover(f, false);
    fix_ok(f, "DescribeTasks", "{'tasks':['%s']}", arn);
    assert_string_equal(fix_text(f, "tasks.0.lastStatus"), "RUNNING");
    assert_string_equal(fix_text(f, "tasks.0.containers.0.lastStatus"), "RUNNING");
    assert_string_equal(fix_text(f, "tasks.0.connectivity"), "CONNECTED");

    fix_ok(f, "StopTask", "{'task':'%s'}", arn);
    assert_string_equal(fix_text(f, "task.desiredStatus"), "STOPPED");
    assert_string_equal(fix_text(f, "task.stopCode"), "UserInitiated");
    assert_string_equal(fix_text(f, "task.stoppedReason"), "Task stopped by user");
    assert_int_equal(fl_json_items(f->sent), 1);
    assert_string_equal(fl_json_z(fix_at(f->sent, "0.task.desiredStatus")), "STOPPED");
    fix_recover(f, false);
    f->now_ms += 1000;
    fix_report(f, arn, "STOPPED",
               ",'containers':[{'containerName':'app','status':'STOPPED','exitCode':0}]");
    fix_recover(f, false);
    fix_ok(f, "DescribeTasks", "{'tasks':['%s']}", arn);
    assert_string_equal(fix_text(f, "tasks.0.lastStatus"), "STOPPED");
    assert_int_equal(fix_int(f, "tasks.0.containers.0.exitCode"), 0);

    f->now_ms += FL_CORE_STOPPED_TASK_MS - 1;
    fix_timer(f);
    assert_int_equal(f->records_put, 0);
    assert_true(fl_core_next_due(f->core) == f->now_ms + 1);
    f->now_ms++;
    fix_timer(f);
    assert_int_equal(f->records_put, 1);
    assert_true(fl_core_next_due(f->core) == INT64_MAX);
    fix_recover(f, false);
    fix_ok(f, "DescribeTasks", "{'tasks':['%s']}", arn);
    assert_string_equal(fix_text(f, "failures.0.reason"), "MISSING");
    fix_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_task_lives_and_is_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
