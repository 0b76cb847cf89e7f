/* What agents report, and what the user then sees: states only go forward; repeated, stale and
 * unknown reports are answered OK and change nothing; stop codes, reasons, exit codes, times; what
 * a stopped task held is free again and its record goes an hour later. After each part a core built
 * from the records must agree. */
#include "core/core_fixture.h"

#define APP(rest) ",'containers':[{'containerName':'app'," rest "}]"

struct setup {
    struct fix *f;
    char instance[64];
    char task[200];
};

static void run_one(struct setup *s)
{
    fix_ok(s->f, "RunTask", "{'taskDefinition':'web'}");
    assert_int_equal(fix_size(s->f, "tasks"), 1);
    (void)snprintf(s->task, sizeof(s->task), "%s", fix_text(s->f, "tasks.0.taskArn"));
}

static struct setup begin(void)
{
    struct setup s = {.f = fix_new()};
    fix_ok(s.f, "CreateCluster", "{}");
    fix_add_instance(s.f, "default", 100, 100, "", s.instance);
    fix_ok(s.f, "RegisterTaskDefinition",
           "{'family':'web','containerDefinitions':[{'name':'app','image':'b',"
           "'cpu':100,'memory':60,'portMappings':[{'containerPort':80,'hostPort':8080}]},{'name':'"
           "side',"
           "'image':'b','essential':false,'memory':40}]}");
    return s;
}

static void expect(const struct setup *s, const char *path, const char *value)
{
    fix_ok(s->f, "DescribeTasks", "{'tasks':['%s']}", s->task);
    const struct fl_json *found = fix_at(s->f->reply, path);
    if (fl_json_is(found, FL_JSON_INTEGER)) {
        char text[32];
        (void)snprintf(text, sizeof(text), "%lld", (long long)fl_json_int(found));
        assert_string_equal(text, value);
        return;
    }
    assert_string_equal(fix_text(s->f, path), value);
}

/* The report is answered and nothing at all comes of it. */
static void expect_ignored(const struct setup *s, const char *task, const char *status,
                           const char *more)
{
    fix_report(s->f, task, status, more);
    assert_int_equal(s->f->records_put, 0);
    assert_int_equal(fl_json_items(s->f->sent), 0);
}

static void states_only_go_forward(FL_UNUSED void **state)
{
    struct setup s = begin();
    run_one(&s);
    expect_ignored(&s, s.task, "PENDING", "");
    expect_ignored(&s, s.task, "NONSENSE", "");
    s.f->now_ms += 5;
    fix_report(s.f, s.task, "RUNNING",
               APP("'status':'RUNNING','runtimeId':'r1','imageDigest':'sha256:00',"
                   "'networkBindings':[{'bindIP':'0.0.0.0','containerPort':80,'hostPort':8080,"
                   "'protocol':'tcp'}]") ",'pullStartedAt':1700000000.5");
    assert_int_equal(s.f->records_put, 1);
    expect(&s, "tasks.0.lastStatus", "RUNNING");
    expect(&s, "tasks.0.version", "2");
    expect(&s, "tasks.0.containers.0.runtimeId", "r1");
    expect(&s, "tasks.0.containers.0.imageDigest", "sha256:00");
    expect(&s, "tasks.0.containers.0.networkBindings.0.hostPort", "8080");
    assert_true(fl_json_number(fix_at(s.f->reply, "tasks.0.startedAt")) == 1700000000.128);
    assert_true(fl_json_number(fix_at(s.f->reply, "tasks.0.pullStartedAt")) == 1700000000.5);
    fix_recover(s.f, true);
    s.f->now_ms += 5;
    expect_ignored(&s, s.task, "RUNNING",
                   APP("'status':'RUNNING','runtimeId':'r1','imageDigest':'sha256:00'"));
    expect_ignored(&s, s.task, "PENDING", APP("'status':'PENDING','runtimeId':'r2'"));
    expect_ignored(&s, s.task, "RUNNING", ",'pullStartedAt':1800000000");
    fix_report(s.f, s.task, "STOPPED", APP("'status':'STOPPED','exitCode':3"));
    assert_int_equal(s.f->records_put, 1);
    expect_ignored(&s, s.task, "STOPPED", APP("'status':'STOPPED','exitCode':4"));
    expect_ignored(&s, s.task, "RUNNING", APP("'status':'RUNNING'"));
    expect(&s, "tasks.0.containers.0.exitCode", "3");
    expect(&s, "tasks.0.lastStatus", "STOPPED");
    fix_recover(s.f, false);
    fix_free(s.f);
}

static void unknown_reports_are_answered(FL_UNUSED void **state)
{
    struct setup s = begin();
    run_one(&s);
    static const char *const tasks[] = {
        "",
        "nope",
        "arn:aws:ecs:eu-central-1:000000000000:task/default/nope",
        "arn:aws:ecs:eu-central-1:000000000000:task/other/nope",
        "arn:aws:ecs:eu-central-1:000000000000:task/",
        "arn:aws:ecs:eu-central-1:000000000000:task",
        "///",
    };
    for (size_t i = 0; i < FL_ARRAY_SIZE(tasks); i++)
        expect_ignored(&s, tasks[i], "STOPPED", "");
    expect_ignored(&s, s.task, "PENDING", ",'containers':[{'containerName':'x','exitCode':1}]");
    fix_ok(s.f, "SubmitTaskStateChange", "{}");
    assert_int_equal(s.f->records_put, 0);
    fix_ok(s.f, "SubmitContainerStateChange", "{}");
    assert_int_equal(s.f->records_put, 0);
    fix_ok(s.f, "SubmitAttachmentStateChanges", "{'attachments':[]}");
    assert_int_equal(s.f->records_put, 0);
    /* An id alone is found with the report's cluster. */
    fix_ok(s.f, "SubmitTaskStateChange", "{'cluster':'default','task':'%s','status':'RUNNING'}",
           fix_id(s.task));
    assert_int_equal(s.f->records_put, 1);
    fix_free(s.f);
}

static void an_essential_exit_is_told(FL_UNUSED void **state)
{
    struct setup s = begin();
    run_one(&s);
    fix_report(s.f, s.task, "RUNNING", "");
    fix_report(s.f, s.task, "STOPPED",
               APP("'status':'STOPPED','exitCode':137,'reason':'OutOfMemoryError: Container killed "
                   "due to memory usage'"));
    expect(&s, "tasks.0.stopCode", "EssentialContainerExited");
    expect(&s, "tasks.0.stoppedReason", "Essential container in task exited");
    expect(&s, "tasks.0.desiredStatus", "STOPPED");
    expect(&s, "tasks.0.containers.0.exitCode", "137");
    expect(&s, "tasks.0.containers.0.reason",
           "OutOfMemoryError: Container killed due to memory usage");
    expect(&s, "tasks.0.containers.1.lastStatus", "STOPPED");
    expect(&s, "tasks.0.containers.1.exitCode", "(none)");
    fix_recover(s.f, true);
    fix_ok(s.f, "ListTasks", "{'desiredStatus':'STOPPED'}");
    assert_int_equal(fix_size(s.f, "taskArns"), 1);
    fix_free(s.f);
}

static void a_failed_start_tells_the_agents_reason(FL_UNUSED void **state)
{
    struct setup s = begin();
    run_one(&s);
    fix_report(s.f, s.task, "STOPPED",
               ",'reason':'CannotPullContainerError: no such image'"
               ",'containers':[{'containerName':'app','status':'STOPPED','reason':"
               "'CannotPullContainerError: no such image'}]");
    expect(&s, "tasks.0.stopCode", "TaskFailedToStart");
    expect(&s, "tasks.0.stoppedReason", "CannotPullContainerError: no such image");
    expect(&s, "tasks.0.startedAt", "(none)");
    expect(&s, "tasks.0.containers.0.exitCode", "(none)");
    fix_recover(s.f, false);
    run_one(&s);
    fix_report(s.f, s.task, "STOPPED", "");
    expect(&s, "tasks.0.stopCode", "TaskFailedToStart");
    expect(&s, "tasks.0.stoppedReason", "Task failed to start");
    /* Stopped before anybody heard that it ran: its exit code shows that it did. */
    run_one(&s);
    fix_report(s.f, s.task, "STOPPED",
               APP("'status':'STOPPED','exitCode':0") ",'executionStoppedAt':1700000000.25");
    expect(&s, "tasks.0.stopCode", "EssentialContainerExited");
    expect(&s, "tasks.0.containers.0.exitCode", "0");
    assert_true(fl_json_number(fix_at(s.f->reply, "tasks.0.startedAt")) == 1700000000.25);
    fix_recover(s.f, true);
    fix_free(s.f);
}

static void what_the_user_asked_for_is_kept(FL_UNUSED void **state)
{
    struct setup s = begin();
    run_one(&s);
    fix_report(s.f, s.task, "RUNNING", "");
    fix_ok(s.f, "StopTask", "{'task':'%s','reason':'maintenance'}", s.task);
    assert_int_equal(s.f->records_put, 1);
    assert_int_equal(fl_json_items(s.f->sent), 1);
    assert_int_equal(fix_int(s.f, "task.version"), 3);
    fix_ok(s.f, "StopTask", "{'task':'%s','reason':'again'}", s.task);
    assert_int_equal(s.f->records_put, 0);
    assert_int_equal(fl_json_items(s.f->sent), 0);
    fix_recover(s.f, true);
    s.f->now_ms += 1000;
    fix_report(s.f, s.task, "STOPPED", ",'reason':'Essential container in task exited'");
    expect(&s, "tasks.0.stopCode", "UserInitiated");
    expect(&s, "tasks.0.stoppedReason", "maintenance");
    assert_true(fl_json_number(fix_at(s.f->reply, "tasks.0.stoppingAt")) == 1700000000.123);
    assert_true(fl_json_number(fix_at(s.f->reply, "tasks.0.stoppedAt")) == 1700000001.123);
    fix_ok(s.f, "StopTask", "{'task':'%s'}", s.task);
    assert_string_equal(fix_text(s.f, "task.lastStatus"), "STOPPED");
    assert_int_equal(s.f->records_put, 0);
    fix_free(s.f);
}

static void what_a_stopped_task_held_is_free(FL_UNUSED void **state)
{
    struct setup s = begin();
    for (int i = 0; i < 3; i++) {
        run_one(&s);
        fix_ok(s.f, "StopTask", "{'task':'%s'}", s.task);
        fix_ok(s.f, "RunTask", "{'taskDefinition':'web'}");
        assert_int_equal(fix_size(s.f, "tasks"), 0);
        fix_report(s.f, s.task, "STOPPED", "");
        fix_recover(s.f, i == 1);
    }
    fix_ok(s.f, "DescribeContainerInstances", "{'containerInstances':['%s']}", s.instance);
    for (int i = 0; i < 2; i++)
        assert_int_equal(fix_int(s.f, i ? "containerInstances.0.remainingResources.1.integerValue"
                                        : "containerInstances.0.remainingResources.0.integerValue"),
                         100);
    assert_int_equal(fix_int(s.f, "containerInstances.0.pendingTasksCount"), 0);
    fix_free(s.f);
}

static void records_go_an_hour_after_the_stop(FL_UNUSED void **state)
{
    struct setup s = begin();
    int64_t first = s.f->now_ms;
    char early[200];
    run_one(&s);
    (void)snprintf(early, sizeof(early), "%s", s.task);
    assert_true(fl_core_next_due(s.f->core) == INT64_MAX);
    fix_report(s.f, s.task, "STOPPED", "");
    s.f->now_ms += 1000;
    run_one(&s);
    fix_report(s.f, s.task, "STOPPED", "");
    fix_recover(s.f, true);
    assert_true(fl_core_next_due(s.f->core) == first + FL_CORE_STOPPED_TASK_MS);
    fix_timer(s.f);
    assert_int_equal(s.f->records_put, 0);
    s.f->now_ms = first + FL_CORE_STOPPED_TASK_MS;
    fix_timer(s.f);
    assert_int_equal(s.f->records_put, 1);
    assert_true(fl_core_next_due(s.f->core) == first + 1000 + FL_CORE_STOPPED_TASK_MS);
    fix_recover(s.f, true);
    fix_ok(s.f, "DescribeTasks", "{'tasks':['%s','%s']}", early, s.task);
    assert_int_equal(fix_size(s.f, "tasks"), 1);
    expect_ignored(&s, early, "RUNNING", "");
    s.f->now_ms += 1000;
    fix_timer(s.f);
    assert_int_equal(fl_core_count(s.f->core).tasks, 0);
    fix_free(s.f);
}

static void the_older_container_report_works(FL_UNUSED void **state)
{
    struct setup s = begin();
    run_one(&s);
    fix_ok(s.f, "SubmitContainerStateChange",
           "{'task':'%s','containerName':'side','status':'RUNNING','runtimeId':'x'}", s.task);
    assert_int_equal(s.f->records_put, 1);
    expect(&s, "tasks.0.containers.1.lastStatus", "RUNNING");
    expect(&s, "tasks.0.lastStatus", "PENDING");
    fix_ok(s.f, "SubmitContainerStateChange",
           "{'task':'%s','containerName':'side','status':'STOPPED','exitCode':0}", s.task);
    expect(&s, "tasks.0.containers.1.exitCode", "0");
    fix_recover(s.f, false);
    fix_free(s.f);
}

/* Reasons are cut at a character's border, so that a repeated report stays a repeated one even
 * after a restart; bindings out of all bounds are not kept. */
static void foreign_texts_are_bounded(FL_UNUSED void **state)
{
    struct setup s = begin();
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(1 << 20);
    run_one(&s);
    fl_buf_add_z(&text, ",'containers':[{'containerName':'app','status':'RUNNING','reason':'x");
    while (text.n < 3000)
        fl_buf_add_z(&text, "\xe2\x82\xac");
    fl_buf_add_z(&text, "','networkBindings':[{'bindIP':'");
    while (text.n < 4000)
        fl_buf_add_z(&text, "0");
    fl_buf_add_z(&text, "'}]}]");
    const char *more = text.p;
    fix_report(s.f, s.task, "RUNNING", more);
    assert_int_equal(s.f->records_put, 1);
    fix_recover(s.f, true);
    expect_ignored(&s, s.task, "RUNNING", more);
    expect(&s, "tasks.0.containers.0.lastStatus", "RUNNING");
    size_t n = strlen(fix_text(s.f, "tasks.0.containers.0.reason"));
    assert_true(n > 1000 && n <= 1024);
    assert_int_equal(fix_size(s.f, "tasks.0.containers.0.networkBindings"), 0);
    fix_free(s.f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(states_only_go_forward),
        cmocka_unit_test(unknown_reports_are_answered),
        cmocka_unit_test(an_essential_exit_is_told),
        cmocka_unit_test(a_failed_start_tells_the_agents_reason),
        cmocka_unit_test(what_the_user_asked_for_is_kept),
        cmocka_unit_test(what_a_stopped_task_held_is_free),
        cmocka_unit_test(records_go_an_hour_after_the_stop),
        cmocka_unit_test(the_older_container_report_works),
        cmocka_unit_test(foreign_texts_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
