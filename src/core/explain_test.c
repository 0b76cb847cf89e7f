/* What is told about a task that finds no place: every rule once, counted, the most frequent first,
 * the closest instance named; the same at five instances and at many. */
#include "core/core_fixture.h"

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

static void many_instances_stay_readable(FL_UNUSED void **state)
{
    enum { MANY = 60 };
    struct fix *f = fix_new();
    char id[64];
    fix_ok(f, "CreateCluster", "{}");
    fix_register(f, "big", 4000, 4000, "");
    for (int i = 0; i < MANY; i++)
        fix_add_instance(f, "default", i % 2 ? 1000 + i : 5000, 1000 + i, "", id);
    assert_int_equal(explain(f, "", "big"), 200);
    assert_int_equal(fix_size(f, "excluded"), 2);
    assert_true(strlen(fix_text(f, "text")) < 600);
    assert_int_equal(fix_int(f, "excluded.0.instances"), MANY / 2);
    assert_int_equal(fix_int(f, "excluded.0.lacks"), 4000 - 1000 - (MANY - 1));
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_rule_is_told),
        cmocka_unit_test(many_instances_stay_readable),
        cmocka_unit_test(wrong_questions_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
