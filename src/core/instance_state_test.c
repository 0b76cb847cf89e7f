/* Draining, deregistration with and without tasks, what stays to be seen of an instance that is
 * gone, and when even that goes. */
#include "core/core_fixture.h"

static struct fix *fix_with_definition(void)
{
    struct fix *f = fix_new();
    fix_ok(f, "CreateCluster", "{}");
    fix_register(f, "web", 10, 20, "");
    return f;
}

static void run_on(struct fix *f, const char *instance, char ret_arn[200])
{
    fix_ok(f, "StartTask", "{'taskDefinition':'web','containerInstances':['%s']}", instance);
    (void)snprintf(ret_arn, 200, "%s", fix_text(f, "tasks.0.taskArn"));
    assert_string_not_equal(ret_arn, "(none)");
}

static const char *status_of(struct fix *f, const char *instance)
{
    fix_ok(f, "DescribeContainerInstances", "{'containerInstances':['%s']}", instance);
    return fix_text(f, "containerInstances.0.status");
}

static void draining_takes_no_more_tasks(FL_UNUSED void **state)
{
    struct fix *f = fix_with_definition();
    char ids[2][64], arn[200];
    fix_add_instance(f, "default", 1000, 1000, "", ids[0]);
    fix_add_instance(f, "default", 1000, 1000, "", ids[1]);
    run_on(f, ids[0], arn);
    fix_report(f, arn, "RUNNING", "");
    fix_ok(f, "UpdateContainerInstancesState",
           "{'status':'DRAINING','containerInstances':['%s','nope','%s']}", ids[0], ids[0]);
    assert_int_equal(f->records_put, 1);
    assert_int_equal(fix_size(f, "containerInstances"), 2);
    assert_string_equal(fix_text(f, "containerInstances.0.status"), "DRAINING");
    assert_int_equal(fix_int(f, "containerInstances.0.runningTasksCount"), 1);
    assert_string_equal(fix_text(f, "failures.0.reason"), "MISSING");
    for (int i = 0; i < 20; i++) {
        fix_ok(f, "RunTask", "{'taskDefinition':'web'}");
        assert_string_equal(fix_id(fix_text(f, "tasks.0.containerInstanceArn")), ids[1]);
    }
    fix_ok(f, "StartTask", "{'taskDefinition':'web','containerInstances':['%s']}", ids[0]);
    assert_string_equal(fix_text(f, "failures.0.reason"), "INACTIVE");
    fix_ok(f, "ListContainerInstances", "{'status':'DRAINING'}");
    assert_int_equal(fix_size(f, "containerInstanceArns"), 1);
    assert_string_equal(fix_id(fix_text(f, "containerInstanceArns.0")), ids[0]);
    fix_ok(f, "ListContainerInstances", "{'status':'ACTIVE'}");
    assert_int_equal(fix_size(f, "containerInstanceArns"), 1);
    fix_ok(f, "ListContainerInstances", "{}");
    assert_int_equal(fix_size(f, "containerInstanceArns"), 2);
    fix_recover(f, true);
    /* Its standalone task is left alone, and an agent that registers again does not end it. */
    fix_ok(f, "DescribeTasks", "{'tasks':['%s']}", arn);
    assert_string_equal(fix_text(f, "tasks.0.desiredStatus"), "RUNNING");
    fix_ok(f, "RegisterContainerInstance",
           "{'containerInstanceArn':'%s','totalResources':[{'name':'CPU','integerValue':1000},"
           "{'name':'MEMORY','integerValue':1000}]}",
           ids[0]);
    assert_string_equal(fix_text(f, "containerInstance.status"), "DRAINING");
    fix_ok(f, "UpdateContainerInstancesState", "{'status':'ACTIVE','containerInstances':['%s']}",
           ids[0]);
    fix_ok(f, "StartTask", "{'taskDefinition':'web','containerInstances':['%s']}", ids[0]);
    assert_int_equal(fix_size(f, "tasks"), 1);
    fix_recover(f, true);
    fix_free(f);
}

static void updates_are_checked(FL_UNUSED void **state)
{
    struct fix *f = fix_with_definition();
    char id[64];
    fix_add_instance(f, "default", 100, 100, "", id);
    fix_refused(f, "InvalidParameterException", "Container Instances cannot be empty.",
                "UpdateContainerInstancesState", "{'status':'ACTIVE','containerInstances':[]}");
    fix_refused(f, "InvalidParameterException",
                "At most 10 container instances can be updated at a time.",
                "UpdateContainerInstancesState",
                "{'status':'ACTIVE','containerInstances':"
                "['1','2','3','4','5','6','7','8','9','10','11']}");
    fix_refused(f, "InvalidParameterException",
                "Container instance status should be one of [ACTIVE, DRAINING]",
                "UpdateContainerInstancesState",
                "{'status':'DEREGISTERING','containerInstances':['%s']}", id);
    fix_refused(f, "ClusterNotFoundException", "Cluster not found.",
                "UpdateContainerInstancesState",
                "{'cluster':'nope','status':'ACTIVE','containerInstances':['%s']}", id);
    fix_ok(f, "UpdateContainerInstancesState", "{'status':'ACTIVE','containerInstances':['%s']}",
           id);
    assert_int_equal(f->records_put, 0);
    fix_free(f);
}

static void tasks_forbid_deregistration_without_force(FL_UNUSED void **state)
{
    struct fix *f = fix_with_definition();
    char id[64], arn[200];
    fix_add_instance(f, "default", 1000, 1000, "", id);
    run_on(f, id, arn);
    for (int i = 0; i < 3; i++) { /* PENDING, RUNNING, told to stop */
        fix_refused(f, "InvalidParameterException", "Found running tasks on the instance.",
                    "DeregisterContainerInstance", "{'containerInstance':'%s','force':false}", id);
        if (i == 0)
            fix_report(f, arn, "RUNNING", "");
        else
            fix_ok(f, "StopTask", "{'task':'%s'}", arn);
    }
    fix_report(f, arn, "STOPPED", "");
    fix_ok(f, "DeregisterContainerInstance", "{'containerInstance':'%s'}", id);
    assert_string_equal(fix_text(f, "containerInstance.status"), "INACTIVE");
    assert_true(fl_json_is_true(fix_at(f->reply, "containerInstance.agentConnected")));
    assert_int_equal(fl_json_items(f->sent), 1);
    assert_true(fl_json_is_true(fix_at(f->sent, "0.closed")));
    fix_refused(f, "InvalidParameterException", "The referenced container instance was not found.",
                "DeregisterContainerInstance", "{'containerInstance':'%s'}", id);
    fix_refused(f, "InvalidParameterException", "The referenced container instance was not found.",
                "DeregisterContainerInstance", "{'containerInstance':'nope','force':true}");
    fix_recover(f, true);
    fix_free(f);
}

static void force_orphans_tasks(FL_UNUSED void **state)
{
    struct fix *f = fix_with_definition();
    char id[64], other[64], arns[3][200];
    fix_add_instance(f, "default", 1000, 1000, "", id);
    fix_add_instance(f, "default", 1000, 1000, "", other);
    for (int i = 0; i < 3; i++)
        run_on(f, id, arns[i]);
    fix_report(f, arns[1], "RUNNING", "");
    fix_report(f, arns[2], "RUNNING", "");
    fix_ok(f, "StopTask", "{'task':'%s','reason':'mine'}", arns[2]);
    fix_ok(f, "DeregisterContainerInstance", "{'containerInstance':'%s','force':true}", id);
    assert_int_equal(fix_int(f, "containerInstance.runningTasksCount"), 0);
    assert_int_equal(fix_int(f, "containerInstance.pendingTasksCount"), 0);
    assert_int_equal(fl_json_items(f->sent), 1);
    for (int i = 0; i < 3; i++) {
        fix_ok(f, "DescribeTasks", "{'tasks':['%s']}", arns[i]);
        assert_string_equal(fix_text(f, "tasks.0.lastStatus"), "STOPPED");
        assert_string_equal(fix_text(f, "tasks.0.containers.0.lastStatus"), "STOPPED");
        assert_string_equal(fix_text(f, "tasks.0.stopCode"), "UserInitiated");
        assert_string_equal(fix_text(f, "tasks.0.stoppedReason"),
                            i == 2 ? "mine" : "Container instance deregistration forced by user");
        fix_report(f, arns[i], "STOPPED", ""); /* the agent's own word comes too late */
        assert_int_equal(f->records_put, 0);
    }
    fix_ok(f, "ListTasks", "{'containerInstance':'%s'}", id);
    assert_int_equal(fix_size(f, "taskArns"), 0);
    fix_recover(f, true);
    fix_free(f);
}

/* INACTIVE: to be described, in no list, for no task, with no session, and never back. */
static void an_inactive_instance_is_only_described(FL_UNUSED void **state)
{
    struct fix *f = fix_with_definition();
    char id[64], other[64];
    fix_add_instance(f, "default", 1000, 1000, "{'name':'a','value':'b'}", id);
    fix_add_instance(f, "default", 1000, 1000, "", other);
    fix_ok(f, "RunTask", "{'taskDefinition':'web','placementStrategy':[{'type':'random'}]}");
    fix_ok(f, "ListContainerInstances", "{'filter':'attribute:a == b'}");
    assert_int_equal(fix_size(f, "containerInstanceArns"), 1);
    fix_ok(f, "DeregisterContainerInstance", "{'containerInstance':'%s','force':true}", id);
    assert_string_equal(status_of(f, id), "INACTIVE");
    assert_true(fl_json_is(fix_at(f->reply, "containerInstances.0.agentConnected"), FL_JSON_FALSE));
    fix_ok(f, "ListContainerInstances", "{}");
    assert_int_equal(fix_size(f, "containerInstanceArns"), 1);
    fix_ok(f, "ListContainerInstances", "{'filter':'attribute:a == b'}");
    assert_int_equal(fix_size(f, "containerInstanceArns"), 0);
    fix_ok(f, "DescribeClusters", "{}");
    assert_int_equal(fix_int(f, "clusters.0.registeredContainerInstancesCount"), 1);
    for (int i = 0; i < 20; i++) {
        fix_ok(f, "RunTask", "{'taskDefinition':'web','placementStrategy':[{'type':'random'}]}");
        assert_string_equal(fix_id(fix_text(f, "tasks.0.containerInstanceArn")), other);
    }
    fix_ok(f, "StartTask", "{'taskDefinition':'web','containerInstances':['%s']}", id);
    assert_string_equal(fix_text(f, "failures.0.reason"), "INACTIVE");
    fix_ok(f, "UpdateContainerInstancesState", "{'status':'ACTIVE','containerInstances':['%s']}",
           id);
    assert_string_equal(fix_text(f, "failures.0.reason"), "INACTIVE");
    assert_false(fl_core_instance_active(f->core, FL_STR("default"), fl_str_of(id)));
    (void)fix_connect(f, "default", id);
    assert_int_equal(f->records_put, 0);
    fix_disconnect(f, "default", id, f->sessions[0].session);
    char words[200];
    (void)snprintf(words, sizeof(words), "Container instance %s is inactive.", id);
    fix_refused(f, "ClientException", words, "RegisterContainerInstance",
                "{'containerInstanceArn':'%s','totalResources':[{'name':'CPU'},"
                "{'name':'MEMORY'}]}",
                id);
    fix_recover(f, true);
    fix_free(f);
}

static void its_record_goes_after_its_tasks(FL_UNUSED void **state)
{
    struct fix *f = fix_with_definition();
    char ids[3][64], arn[200];
    for (int i = 0; i < 3; i++)
        fix_add_instance(f, "default", 1000, 1000, "", ids[i]);
    run_on(f, ids[0], arn);
    f->now_ms += 1000;
    fix_ok(f, "DeregisterContainerInstance", "{'containerInstance':'%s','force':true}", ids[0]);
    f->now_ms += 1000;
    fix_ok(f, "DeregisterContainerInstance", "{'containerInstance':'%s'}", ids[1]);
    f->now_ms -= 2000; /* a task that stops later by a clock that was set back */
    run_on(f, ids[2], arn);
    fix_recover(f, true);
    f->now_ms += 1000 + FL_CORE_INACTIVE_INSTANCE_MS;
    assert_int_equal(fl_core_next_due(f->core), f->now_ms);
    fix_timer(f);
    assert_int_equal(f->records_put, 2);
    assert_string_equal(status_of(f, ids[0]), "(none)");
    assert_string_equal(status_of(f, ids[1]), "INACTIVE");
    fix_recover(f, true);
    f->now_ms += 1000;
    fix_timer(f);
    assert_string_equal(status_of(f, ids[1]), "(none)");
    assert_string_equal(status_of(f, ids[2]), "ACTIVE");
    assert_int_equal(fl_core_count(f->core).instances, 1);
    assert_int_equal(fl_core_next_due(f->core), INT64_MAX);
    fix_recover(f, true);
    fix_free(f);
}

/* Many come and go; placement goes on among those that are left, in the order of registration. */
static void churn(FL_UNUSED void **state)
{
    struct fix *f = fix_with_definition();
    struct fl_rand rand;
    uint8_t seed[32] = {42};
    char ids[40][64];
    size_t count = 0;
    fl_rand_seed(&rand, seed);
    for (int i = 0; i < 400; i++) {
        size_t at = (size_t)fl_rand_below(&rand, 40);
        f->now_ms += (int64_t)fl_rand_below(&rand, 3) * 60 * 1000;
        fix_timer(f);
        if (at >= count && count < 40) {
            fix_add_instance(f, "default", 100, 100, "", ids[count++]);
        } else if (at < count) {
            fix_ok(f, "DeregisterContainerInstance", "{'containerInstance':'%s','force':true}",
                   ids[at]);
            (void)fix_disconnect(f, "default", ids[at], 0);
            memmove(ids[at], ids[--count], sizeof(ids[0]));
            f->session_count = 0;
            for (size_t k = 0; k < count; k++)
                (void)fix_connect(f, "default", ids[k]);
        }
        if (count == 0)
            continue;
        fix_ok(f, "RunTask", "{'taskDefinition':'web','count':3}");
        for (size_t k = 0; k < fix_size(f, "tasks"); k++) {
            char path[64];
            bool is_there = false;
            (void)snprintf(path, sizeof(path), "tasks.%zu.containerInstanceArn", k);
            for (size_t n = 0; n < count; n++)
                is_there |= strcmp(fix_id(fix_text(f, path)), ids[n]) == 0;
            assert_true(is_there);
        }
        if (i % 20 == 0)
            fix_recover(f, i % 40 == 0);
    }
    fix_free(f);
}

static void add_machine(struct fix *f, const char *machine, bool connect, char ret_id[64])
{
    fix_ok(f, "RegisterContainerInstance",
           "{'totalResources':[{'name':'CPU','integerValue':1000},"
           "{'name':'MEMORY','integerValue':1000}],'instanceIdentityDocument':"
           "'{\\'instanceId\\':\\'%s\\',\\'availabilityZone\\':\\'eu-central-1c\\',"
           "\\'imageId\\':\\'ami-1\\',\\'instanceType\\':\\'m5.large\\'}'}",
           machine);
    (void)snprintf(ret_id, 64, "%s", fix_id(fix_text(f, "containerInstance.containerInstanceArn")));
    if (connect)
        (void)fix_connect(f, "default", ret_id);
}

static void let_two_minutes_pass(struct fix *f)
{
    struct fl_core_event timer = {.kind = FL_CORE_EVENT_TIMER};
    f->now_ms += 2 * 60 * 1000;
    fix_step(f, &timer);
}

/* A host whose data were lost registers anew: what its former registration ran is over. */
static void a_machine_registers_anew(FL_UNUSED void **state)
{
    struct fix *f = fix_with_definition();
    char ids[3][64], other[64], arn[200];
    add_machine(f, "i-1", true, ids[0]);
    add_machine(f, "i-2", true, other);
    run_on(f, ids[0], arn);
    fix_report(f, arn, "RUNNING", "");
    fix_recover(f, true);
    add_machine(f, "i-1", true, ids[1]); /* the former one's agent is there: two hosts */
    assert_string_equal(status_of(f, ids[0]), "ACTIVE");
    assert_string_equal(fix_text(f, "containerInstances.0.ec2InstanceId"), "i-1");
    fix_ok(f, "ListContainerInstances", "{'filter':'ec2InstanceId == i-1'}");
    assert_int_equal(fix_size(f, "containerInstanceArns"), 2);
    fix_disconnect(f, "default", ids[0], f->sessions[0].session);
    fix_disconnect(f, "default", other, f->sessions[1].session);
    assert_int_equal(f->records_put, 0);
    f->now_ms += 1000;
    add_machine(f, "i-1", true, ids[2]);
    assert_string_equal(status_of(f, ids[0]), "ACTIVE");
    let_two_minutes_pass(f);
    assert_string_equal(status_of(f, ids[0]), "INACTIVE");
    assert_string_equal(status_of(f, ids[1]), "ACTIVE");
    assert_string_equal(status_of(f, other), "ACTIVE");
    fix_ok(f, "DescribeTasks", "{'tasks':['%s']}", arn);
    assert_string_equal(fix_text(f, "tasks.0.lastStatus"), "STOPPED");
    assert_string_equal(fix_text(f, "tasks.0.stopCode"), "TerminationNotice");
    assert_string_equal(
        fix_text(f, "tasks.0.stoppedReason"),
        "Host (instance i-1) registered anew: what its former registration ran is lost.");
    fix_recover(f, true);
    fix_free(f);
}

/* Its former session was still believed in when it registered: it ends, and nobody comes back. */
static void a_dead_session_gives_way_to_its_successor(FL_UNUSED void **state)
{
    struct fix *f = fix_with_definition();
    char ids[2][64], arn[200];
    add_machine(f, "i-1", true, ids[0]);
    run_on(f, ids[0], arn);
    f->now_ms += 1000;
    add_machine(f, "i-1", false, ids[1]);
    for (int i = 0; i < 2; i++) {
        struct fl_core_event event = {
            .kind = FL_CORE_EVENT_AGENT_DISCONNECTED,
            .cluster = FL_STR("default"),
            .instance = fl_str_of(ids[0]),
            .session = f->sessions[0].session,
        };
        fix_step(f, &event);
        assert_string_equal(status_of(f, ids[0]), "ACTIVE");
        let_two_minutes_pass(f);
        assert_string_equal(status_of(f, ids[0]), i == 0 ? "ACTIVE" : "INACTIVE");
        (void)fix_connect(f, "default", ids[0]);
        (void)fix_connect(f, "default", ids[1]);
    }
    fix_ok(f, "DescribeTasks", "{'tasks':['%s']}", arn);
    assert_string_equal(fix_text(f, "tasks.0.lastStatus"), "STOPPED");
    assert_string_equal(status_of(f, ids[1]), "ACTIVE");
    fix_recover(f, true);
    fix_free(f);
}

static void a_document_tells_attributes(FL_UNUSED void **state)
{
    struct fix *f = fix_with_definition();
    char id[64];
    add_machine(f, "i-1", true, id);
    static const char *const filters[] = {"attribute:ecs.availability-zone == eu-central-1c",
                                          "attribute:ecs.ami-id == ami-1",
                                          "attribute:ecs.instance-type == m5.large"};
    for (size_t i = 0; i < FL_ARRAY_SIZE(filters); i++) {
        fix_ok(f, "ListContainerInstances", "{'filter':'%s'}", filters[i]);
        assert_int_equal(fix_size(f, "containerInstanceArns"), 1);
    }
    fix_refused(f, "ClientException", "Container instance type changes are not supported.",
                "RegisterContainerInstance",
                "{'containerInstanceArn':'%s','totalResources':[{'name':'CPU'},{'name':'MEMORY'}],"
                "'instanceIdentityDocument':'{\\'instanceType\\':\\'m5.small\\'}'}",
                id);
    static const char *const useless[] = {"", "{", "[]", "{\\'instanceId\\':7}",
                                          "{\\'instanceId\\':\\'a b\\'}"};
    for (size_t i = 0; i < FL_ARRAY_SIZE(useless); i++) {
        fix_ok(f, "RegisterContainerInstance",
               "{'totalResources':[{'name':'CPU'},{'name':'MEMORY'}],"
               "'instanceIdentityDocument':'%s'}",
               useless[i]);
        assert_null(fix_at(f->reply, "containerInstance.ec2InstanceId"));
    }
    fix_recover(f, true);
    fix_free(f);
}

/* What an agent can do no more is forgotten; what was said of the host otherwise is kept. */
static void capabilities_follow_the_agent(FL_UNUSED void **state)
{
    struct fix *f = fix_with_definition();
    char id[64];
    fix_add_instance(f, "default", 10, 10,
                     "{'name':'ecs.capability.old'},{'name':'rack','value':'r1'},"
                     "{'name':'com.amazonaws.ecs.capability.kept'}",
                     id);
    fix_ok(f, "RegisterContainerInstance",
           "{'containerInstanceArn':'%s','totalResources':[{'name':'CPU'},{'name':'MEMORY'}],"
           "'attributes':[{'name':'com.amazonaws.ecs.capability.kept'},"
           "{'name':'ecs.capability.new'}]}",
           id);
    fix_ok(f, "ListContainerInstances", "{'filter':'attribute:ecs.capability.old exists'}");
    assert_int_equal(fix_size(f, "containerInstanceArns"), 0);
    fix_ok(f, "ListContainerInstances",
           "{'filter':'attribute:ecs.capability.new exists and attribute:rack == r1'}");
    assert_int_equal(fix_size(f, "containerInstanceArns"), 1);
    fix_recover(f, true);
    fix_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(draining_takes_no_more_tasks),
        cmocka_unit_test(updates_are_checked),
        cmocka_unit_test(tasks_forbid_deregistration_without_force),
        cmocka_unit_test(force_orphans_tasks),
        cmocka_unit_test(an_inactive_instance_is_only_described),
        cmocka_unit_test(its_record_goes_after_its_tasks),
        cmocka_unit_test(churn),
        cmocka_unit_test(a_machine_registers_anew),
        cmocka_unit_test(a_dead_session_gives_way_to_its_successor),
        cmocka_unit_test(a_document_tells_attributes),
        cmocka_unit_test(capabilities_follow_the_agent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
