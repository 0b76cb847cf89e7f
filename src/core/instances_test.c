/* Container instances as an operator and their agents see them: registration and its repetition,
 * sessions old and new, what is sent again when an agent comes back, and the filter language on
 * real instances. After each part a core built from the records must agree. */
#include "core/core_fixture.h"

static struct fix *fix_with_cluster(void)
{
    struct fix *f = fix_new();
    fix_ok(f, "CreateCluster", "{}");
    return f;
}

static void registration_shows_what_was_sent(FL_UNUSED void **state)
{
    struct fix *f = fix_with_cluster();
    fix_ok(f, "RegisterContainerInstance",
           "{'totalResources':[{'name':'CPU','type':'INTEGER','integerValue':2048},"
           "{'name':'MEMORY','type':'INTEGER','integerValue':4000},"
           "{'name':'PORTS','type':'STRINGSET','stringSetValue':['22','x','0','65536','80']},"
           "{'name':'PORTS_UDP','type':'STRINGSET','stringSetValue':['53']}],"
           "'versionInfo':{'agentVersion':'1.0.0','agentHash':'h','dockerVersion':'d'},"
           "'attributes':[{'name':'rack','value':'r1'},{'name':'bare'},{'name':'rack',"
           "'value':'r2'}],'tags':[{'key':'a','value':'b'}]}");
    assert_string_equal(fix_text(f, "containerInstance.status"), "ACTIVE");
    assert_true(fl_json_is(fix_at(f->reply, "containerInstance.agentConnected"), FL_JSON_FALSE));
    assert_string_equal(fix_text(f, "containerInstance.versionInfo.agentVersion"), "1.0.0");
    assert_int_equal(fix_int(f, "containerInstance.registeredResources.0.integerValue"), 2048);
    assert_int_equal(fix_size(f, "containerInstance.registeredResources.2.stringSetValue"), 2);
    assert_string_equal(fix_text(f, "containerInstance.registeredResources.3.stringSetValue.0"),
                        "53");
    assert_int_equal(fix_size(f, "containerInstance.attributes"), 3);
    assert_string_equal(fix_text(f, "containerInstance.attributes.0.value"), "r1");
    assert_string_equal(fix_text(f, "containerInstance.attributes.2.value"), "eu-central-1a");
    assert_string_equal(fix_text(f, "containerInstance.tags.0.key"), "a");
    char id[64];
    (void)snprintf(id, sizeof(id), "%s",
                   fix_id(fix_text(f, "containerInstance.containerInstanceArn")));
    fix_ok(f, "DescribeContainerInstances", "{'containerInstances':['%s']}", id);
    assert_int_equal(fix_size(f, "containerInstances.0.tags"), 0);
    fix_ok(f, "DescribeContainerInstances", "{'containerInstances':['%s'],'include':['TAGS']}", id);
    assert_string_equal(fix_text(f, "containerInstances.0.tags.0.key"), "a");
    fix_recover(f, true);
    fix_free(f);
}

/* A registration whose answer was lost comes again with the same client token. */
static void a_client_token_makes_one_instance(FL_UNUSED void **state)
{
    static const char *const request =
        "{'clientToken':'%s','totalResources':[{'name':'CPU'},{'name':'MEMORY'}]}";
    static const char *const token = "01234567-89ab-4def-8123-456789ABCDEF";
    struct fix *f = fix_with_cluster();
    for (int i = 0; i < 2; i++) {
        fix_ok(f, "RegisterContainerInstance", request, token);
        assert_string_equal(fix_id(fix_text(f, "containerInstance.containerInstanceArn")),
                            "0123456789ab4def8123456789abcdef");
    }
    fix_recover(f, true);
    fix_ok(f, "RegisterContainerInstance", request, token);
    assert_int_equal(fl_core_count(f->core).instances, 1);
    for (size_t i = 0; i < 2; i++) /* no UUID: nothing can be told from it */
        fix_ok(f, "RegisterContainerInstance", request, "0123");
    fix_ok(f, "RegisterContainerInstance", request, "----------------------------------0-");
    assert_int_equal(fl_core_count(f->core).instances, 4);
    fix_free(f);
}

static void registering_again_keeps_the_instance(FL_UNUSED void **state)
{
    struct fix *f = fix_with_cluster();
    char id[64];
    fix_add_instance(f, "default", 100, 200, "{'name':'rack','value':'r1'}", id);
    fix_register(f, "web", 10, 20, "");
    fix_ok(f, "RunTask", "{'taskDefinition':'web'}");
    fix_ok(f, "RegisterContainerInstance",
           "{'containerInstanceArn':'arn:aws:ecs:r:1:container-instance/default/%s',"
           "'totalResources':[{'name':'CPU','type':'INTEGER','integerValue':50},"
           "{'name':'MEMORY','type':'INTEGER','integerValue':60}],'attributes':"
           "[{'name':'os','value':'linux'}]}",
           id);
    assert_string_equal(fix_id(fix_text(f, "containerInstance.containerInstanceArn")), id);
    assert_int_equal(fix_int(f, "containerInstance.remainingResources.0.integerValue"), 40);
    assert_int_equal(fix_size(f, "containerInstance.attributes"), 3);
    assert_int_equal(fix_int(f, "containerInstance.pendingTasksCount"), 1);
    fix_recover(f, true);
    assert_int_equal(fl_core_count(f->core).instances, 1);
    assert_int_equal(fix_call(f, "RegisterContainerInstance",
                              "{'containerInstanceArn':'nope','totalResources':[{'name':'CPU'},"
                              "{'name':'MEMORY'}]}"),
                     400);
    fix_refused(f, "InvalidParameterException",
                "totalResources must hold CPU and MEMORY as integers.", "RegisterContainerInstance",
                "{'totalResources':[{'name':'CPU'}]}");
    fix_refused(f, "InvalidParameterException",
                "totalResources must hold CPU and MEMORY as integers.", "RegisterContainerInstance",
                "{'totalResources':[{'name':'CPU','integerValue':-1},{'name':'MEMORY'}]}");
    assert_int_equal(fix_call(f, "RegisterContainerInstance",
                              "{'totalResources':[{'name':'CPU'},{'name':'MEMORY'}],"
                              "'attributes':[{'name':'%0600d'}]}",
                              7),
                     400);
    fix_free(f);
}

static void attributes_have_a_limit(FL_UNUSED void **state)
{
    struct fix *f = fix_with_cluster();
    for (int count = 499; count <= 501; count += 2) {
        FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(1 << 20);
        fl_buf_add_z(&text, "{'totalResources':[{'name':'CPU'},{'name':'MEMORY'}],'attributes':[");
        for (int i = 0; i < count; i++)
            fl_buf_printf(&text, "%s{'name':'a%d'}", i ? "," : "", i);
        fl_buf_add_z(&text, "]}");
        (void)fix_call(f, "RegisterContainerInstance", "%s", text.p);
        assert_int_equal(f->status, count == 499 ? 200 : 400);
    }
    assert_string_equal(fix_text(f, "__type"), "AttributeLimitExceededException");
    fix_free(f);
}

/* A hundred times the largest instance is more than an answer may hold. */
static void an_answer_too_long_is_refused(FL_UNUSED void **state)
{
    struct fix *f = fix_with_cluster();
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(16 << 20);
    char id[64], value[6 * 512 + 1];
    for (size_t i = 0; i < 512; i++)
        memcpy(value + 6 * i, "\\u0001", 7);
    fl_buf_add_z(&text, "{'totalResources':[{'name':'CPU'},{'name':'MEMORY'}],'attributes':[");
    for (int i = 0; i < 499; i++)
        fl_buf_printf(&text, "%s{'name':'a%d','value':'%s'}", i ? "," : "", i, value);
    fl_buf_add_z(&text, "]}");
    fix_ok(f, "RegisterContainerInstance", "%s", text.p);
    (void)snprintf(id, sizeof(id), "%s",
                   fix_id(fix_text(f, "containerInstance.containerInstanceArn")));
    fl_buf_clear(&text);
    fl_buf_add_z(&text, "{'containerInstances':[");
    for (int i = 0; i < 100; i++)
        fl_buf_printf(&text, "%s'%s'", i ? "," : "", id);
    fl_buf_add_z(&text, "]}");
    fix_refused(f, "ClientException",
                "The answer would be longer than 67108864 bytes: ask for less at a time.",
                "DescribeContainerInstances", "%s", text.p);
    fix_recover(f, true);
    fix_free(f);
}

static bool is_connected(struct fix *f, const char *id)
{
    fix_ok(f, "DescribeContainerInstances", "{'containerInstances':['%s']}", id);
    return fl_json_is_true(fix_at(f->reply, "containerInstances.0.agentConnected"));
}

static void an_older_sessions_end_does_not_disconnect(FL_UNUSED void **state)
{
    struct fix *f = fix_with_cluster();
    char id[64];
    fix_add_instance(f, "default", 100, 200, "", id);
    uint64_t first = f->sessions[0].session;
    uint64_t second = fix_connect(f, "default", id);
    assert_int_equal(f->records_put, 0);
    assert_true(is_connected(f, id));
    assert_string_equal(fix_text(f, "containerInstances.0.versionInfo.agentVersion"), "1.2.3");
    fix_disconnect(f, "default", id, first);
    assert_true(is_connected(f, id));
    fix_disconnect(f, "default", id, second);
    assert_false(is_connected(f, id));
    fix_disconnect(f, "default", id, second);
    fix_agent_event(f, FL_CORE_EVENT_AGENT_CONNECTED, "default", "nope", 99);
    fix_agent_event(f, FL_CORE_EVENT_AGENT_CONNECTED, "nope", id, 99);
    fix_agent_event(f, FL_CORE_EVENT_AGENT_DISCONNECTED, "nope", "nope", 99);
    assert_int_equal(f->records_put, 0);
    assert_false(is_connected(f, id));
    assert_true(fl_core_instance_active(f->core, FL_STR("default"), fl_str_of(id)));
    assert_false(fl_core_instance_active(f->core, FL_STR("default"), FL_STR("nope")));
    assert_false(fl_core_instance_active(f->core, FL_STR("nope"), fl_str_of(id)));
    fix_recover(f, true);
    fix_free(f);
}

static void a_returning_agent_is_told_what_it_may_have_missed(FL_UNUSED void **state)
{
    struct fix *f = fix_with_cluster();
    char id[64], arns[4][200];
    fix_add_instance(f, "default", 100, 200, "", id);
    fix_register(f, "web", 10, 20, "");
    fix_ok(f, "RunTask", "{'taskDefinition':'web','count':4}");
    for (int i = 0; i < 4; i++) {
        char path[40];
        (void)snprintf(path, sizeof(path), "tasks.%d.taskArn", i);
        (void)snprintf(arns[i], sizeof(arns[i]), "%s", fix_text(f, path));
    }
    /* 0 stays PENDING, 1 runs, 2 runs and is to stop, 3 has stopped. */
    fix_report(f, arns[1], "RUNNING", "");
    fix_report(f, arns[2], "RUNNING", "");
    fix_report(f, arns[3], "STOPPED", "");
    fix_disconnect(f, "default", id, f->sessions[0].session);
    fix_ok(f, "StopTask", "{'task':'%s'}", arns[2]);
    assert_int_equal(fl_json_items(f->sent), 0);
    fix_recover(f, true);
    (void)fix_connect(f, "default", id);
    assert_int_equal(fl_json_items(f->sent), 2);
    for (size_t i = 0; i < 2; i++) {
        const struct fl_json *task = fl_json_get(fl_json_item(f->sent, i), "task");
        const char *arn = fl_json_z(fl_json_get(task, "arn"));
        const char *desired = fl_json_z(fl_json_get(task, "desiredStatus"));
        assert_true(strcmp(arn, arns[0]) == 0 || strcmp(arn, arns[2]) == 0);
        assert_string_equal(desired, strcmp(arn, arns[0]) == 0 ? "RUNNING" : "STOPPED");
    }
    fix_free(f);
}

/* `task:group` in constraints: tasks kept together and kept apart. */
static void groups_attract_and_repel(FL_UNUSED void **state)
{
    struct fix *f = fix_with_cluster();
    char ids[3][64], arn[200];
    for (int i = 0; i < 3; i++)
        fix_add_instance(f, "default", 1000, 1000, "", ids[i]);
    fix_register(f, "db", 1, 4, "");
    fix_ok(f, "RunTask", "{'taskDefinition':'db','group':'database'}");
    (void)snprintf(arn, sizeof(arn), "%s", fix_text(f, "tasks.0.taskArn"));
    char home[64];
    (void)snprintf(home, sizeof(home), "%s", fix_id(fix_text(f, "tasks.0.containerInstanceArn")));
#define AT(expression)                                                                             \
    "{'taskDefinition':'db','group':'g','placementConstraints':[{'type':'memberOf',"               \
    "'expression':'" expression "'}]}"
    for (int i = 0; i < 10; i++) {
        fix_ok(f, "RunTask", AT("task:group == database"));
        assert_string_equal(fix_id(fix_text(f, "tasks.0.containerInstanceArn")), home);
        fix_ok(f, "RunTask", AT("task:group =~ data.*"));
        assert_string_equal(fix_id(fix_text(f, "tasks.0.containerInstanceArn")), home);
        fix_ok(f, "RunTask", AT("not(task:group == database)"));
        assert_string_not_equal(fix_id(fix_text(f, "tasks.0.containerInstanceArn")), home);
        fix_ok(f, "RunTask", AT("task:group !in [database,x]"));
        assert_string_not_equal(fix_id(fix_text(f, "tasks.0.containerInstanceArn")), home);
    }
    fix_ok(f, "ListContainerInstances", "{'filter':'task:group == database'}");
    assert_int_equal(fix_size(f, "containerInstanceArns"), 1);
    fix_report(f, arn, "STOPPED", "");
    fix_ok(f, "ListContainerInstances", "{'filter':'task:group == database'}");
    assert_int_equal(fix_size(f, "containerInstanceArns"), 0);
    fix_ok(f, "RunTask", AT("task:group == database"));
    assert_int_equal(fix_size(f, "failures"), 3);
#undef AT
    fix_free(f);
}

static const struct {
    const char *filter;
    size_t count;
} filter_rows[] = {
    {"attribute:rack == r1", 2},
    {"attribute:rack != r1", 1},
    {"attribute:rack exists", 3},
    {"attribute:rack !exists", 1},
    {"not(attribute:rack == r1)", 2},
    {"attribute:rack in [r1, r2]", 3},
    {"attribute:rack !in [r1,r3]", 1},
    {"attribute:type =~ t2.*", 2},
    {"attribute:type =~ 2", 0},
    {"attribute:type =~ t2", 0},
    {"attribute:type =~ \\\"t2.small|t2\\\"", 1},
    {"attribute:type =~ \\\"(t2|m5)[.](small|large)\\\"", 2},
    {"attribute:type !~ t2.*", 1},
    {"attribute:rack == r1 and attribute:type =~ t2.* or attribute:rack == r2", 3},
    {"attribute:rack == r1 and (attribute:type =~ m5.* or attribute:rack == r2)", 0},
    {"agentConnected == true", 4},
    {"agentConnected == false", 0},
    {"agentVersion >= 1.2.3", 4},
    {"agentVersion > 1.2.3", 0},
    {"agentVersion < 1.10.0", 4},
    {"runningTasksCount == 0", 4},
    {"runningTasksCount > 0", 0},
    {"attribute:size > 9", 1},
    {"attribute:ecs.availability-zone == eu-central-1a", 4},
    {"attribute:type =~ \\\"(x+x+)+y\\\"", 0},
    {"registeredAt > 2018-06-18", 4},
    {"registeredAt < 2018-06-18T22:28:28Z", 0},
    {"registeredAt == 2023-11-14T22:13:20", 4},
    {"registeredAt == 2023-11-14T22:13:20+00:00", 4},
    {"registeredAt == 2023-11-15T00:13:20+02:00", 4},
    {"registeredAt == 2023-11-14T20:13:20-0200", 4},
    {"registeredAt != 2023-11-14T22:13:20Z", 0},
    {"registeredAt >= 2023-11-14T22:13:21Z", 0},
    {"registeredAt <= \\\"2023-11-14T22:13:20Z\\\"", 4},
    {"ec2InstanceId == i-1", 0},
    {"ec2InstanceId != i-1", 4},
    {"task:group == family:web", 0},
    {"not(task:group == family:web)", 4},
    {"task:group != family:web", 4},
    {"task:group in [family:web, x]", 0},
    {"task:group !~ family.*", 4},
};

static const char *const refused_filters[] = {
    "registeredAt > 2018",
    "registeredAt > 2018-13-01",
    "registeredAt > 2018-06-18T25:00:00Z",
    "registeredAt > 2018-06-18T22:28:28+0",
    "registeredAt > 2018-06-18T22:28:28Zulu",
    "registeredAt in [2018-06-18]",
    "task:group > a",
    "task:group exists",
    "runningTasksCount =~ 1",
    "agentConnected exists",
};

static void filters_choose_instances(FL_UNUSED void **state)
{
    struct fix *f = fix_with_cluster();
    static const char *const attributes[] = {
        "{'name':'rack','value':'r1'},{'name':'type','value':'t2.small'}",
        ("{'name':'rack','value':'r1'},{'name':'type','value':'t2.medium'},"
         "{'name':'size','value':'10'}"),
        "{'name':'rack','value':'r2'},{'name':'type','value':'m5.large'}",
        "{'name':'size','value':'9'}",
    };
    char id[64];
    for (size_t i = 0; i < FL_ARRAY_SIZE(attributes); i++)
        fix_add_instance(f, "default", 100, 200, attributes[i], id);
    for (size_t i = 0; i < FL_ARRAY_SIZE(filter_rows); i++) {
        fix_ok(f, "ListContainerInstances", "{'filter':'%s'}", filter_rows[i].filter);
        if (fix_size(f, "containerInstanceArns") != filter_rows[i].count)
            print_message("# %s: %zu\n", filter_rows[i].filter,
                          fix_size(f, "containerInstanceArns"));
        assert_int_equal(fix_size(f, "containerInstanceArns"), filter_rows[i].count);
    }
    for (size_t i = 0; i < FL_ARRAY_SIZE(refused_filters); i++)
        assert_int_equal(
            fix_call(f, "ListContainerInstances", "{'filter':'%s'}", refused_filters[i]), 400);
    fix_ok(f, "ListContainerInstances", "{'status':'ACTIVE'}");
    assert_int_equal(fix_size(f, "containerInstanceArns"), 4);
    fix_ok(f, "ListContainerInstances", "{'status':'DRAINING'}");
    assert_int_equal(fix_size(f, "containerInstanceArns"), 0);
    fix_refused(f, "InvalidParameterException", "Container Instances cannot be empty.",
                "DescribeContainerInstances", "{'containerInstances':[]}");
    fix_ok(f, "DescribeContainerInstances", "{'containerInstances':['%s','nope']}", id);
    assert_string_equal(fix_text(f, "failures.0.reason"), "MISSING");
    fix_free(f);
}

/* A pattern made to backtrack for ever ends at the match limit and matches nothing. */
static void hostile_patterns_end(FL_UNUSED void **state)
{
    struct fix *f = fix_with_cluster();
    char attribute[600], id[64];
    static const char *const patterns[] = {"(x+x+)+[yz]", "(x|x|xx)*[yz]",
                                           "((x{1,20}){1,20}){1,20}[yz]", "(?:x?){500}x{500}[yz]"};
    static const char *const refused[] = {"(((x{1000}){1000}){1000})", "(?<=x+)y", "[z-a]", "("};
    (void)snprintf(attribute, sizeof(attribute), "{'name':'a','value':'%0500d'}", 0);
    for (char *c = attribute; *c; c++)
        if (*c == '0')
            *c = 'x';
    fix_add_instance(f, "default", 100, 200, attribute, id);
    for (size_t i = 0; i < FL_ARRAY_SIZE(patterns); i++) {
        fix_ok(f, "ListContainerInstances", "{'filter':'attribute:a =~ \\\"%s\\\"'}", patterns[i]);
        assert_int_equal(fix_size(f, "containerInstanceArns"), 0);
    }
    /* Nor is it told that the instance does not match. */
    fix_ok(f, "ListContainerInstances", "{'filter':'attribute:a !~ \\\"%s\\\"'}", patterns[0]);
    assert_int_equal(fix_size(f, "containerInstanceArns"), 0);
    for (size_t i = 0; i < FL_ARRAY_SIZE(refused); i++)
        assert_int_equal(fix_call(f, "ListContainerInstances",
                                  "{'filter':'attribute:a =~ \\\"%s\\\"'}", refused[i]),
                         400);
    fix_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(registration_shows_what_was_sent),
        cmocka_unit_test(registering_again_keeps_the_instance),
        cmocka_unit_test(a_client_token_makes_one_instance),
        cmocka_unit_test(attributes_have_a_limit),
        cmocka_unit_test(an_answer_too_long_is_refused),
        cmocka_unit_test(an_older_sessions_end_does_not_disconnect),
        cmocka_unit_test(a_returning_agent_is_told_what_it_may_have_missed),
        cmocka_unit_test(filters_choose_instances),
        cmocka_unit_test(groups_attract_and_repel),
        cmocka_unit_test(hostile_patterns_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
