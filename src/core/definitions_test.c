/* Task definitions: revisions, defaults that are given back, what an instance must offer, listings,
 * and every refusal in ECS's words. Requests as a client sends them; after each part a core built
 * from the records must agree. */
#include "core/core_fixture.h"

#define CONTAINER(more) "{'name':'app','image':'busybox:1','memory':64" more "}"
#define DEFINITION(more) "{'family':'web','containerDefinitions':[" CONTAINER("") "]" more "}"
#define WITH(more) "{'family':'web','containerDefinitions':[" CONTAINER(more) "]}"

static void revisions_only_grow(FL_UNUSED void **state)
{
    struct fix *f = fix_new();
    for (int i = 1; i <= 12; i++) {
        fix_register(f, "web", 0, 64, "");
        assert_int_equal(fix_int(f, "taskDefinition.revision"), i);
    }
    fix_register(f, "web-b", 0, 64, "");
    assert_int_equal(fix_int(f, "taskDefinition.revision"), 1);
    fix_register(f, "we", 0, 64, "");
    fix_ok(f, "DescribeTaskDefinition", "{'taskDefinition':'web'}");
    assert_int_equal(fix_int(f, "taskDefinition.revision"), 12);
    assert_string_equal(fix_text(f, "taskDefinition.taskDefinitionArn"),
                        "arn:aws:ecs:eu-central-1:000000000000:task-definition/web:12");
    fix_ok(f, "DeregisterTaskDefinition", "{'taskDefinition':'web:12'}");
    assert_string_equal(fix_text(f, "taskDefinition.status"), "INACTIVE");
    assert_int_equal(f->records_put, 1);
    fix_recover(f, true);
    fix_ok(f, "DescribeTaskDefinition", "{'taskDefinition':'web'}");
    assert_int_equal(fix_int(f, "taskDefinition.revision"), 11);
    fix_ok(f, "DescribeTaskDefinition",
           "{'taskDefinition':'arn:aws:ecs:r:1:task-definition/web:12'}");
    assert_string_equal(fix_text(f, "taskDefinition.status"), "INACTIVE");
    fix_ok(f, "DeregisterTaskDefinition", "{'taskDefinition':'web:12'}");
    assert_int_equal(f->records_put, 0);
    fix_register(f, "web", 0, 64, "");
    assert_int_equal(fix_int(f, "taskDefinition.revision"), 13);
    fix_ok(f, "DeregisterTaskDefinition", "{'taskDefinition':'we:1'}");
    fix_refused(f, "ClientException", "Unable to describe task definition.",
                "DescribeTaskDefinition", "{'taskDefinition':'we'}");
    fix_recover(f, false);
    fix_free(f);
}

static void unknown_ones_are_refused(FL_UNUSED void **state)
{
    struct fix *f = fix_new();
    static const char *const names[] = {
        "nope", "web:2", "web:0", "web:-1",          "web:x",
        "web:", ":1",    "",      "web:99999999999", "arn:aws:ecs:r:1:task/web:1",
    };
    fix_register(f, "web", 0, 64, "");
    for (size_t i = 0; i < FL_ARRAY_SIZE(names); i++)
        fix_refused(f, "ClientException", "Unable to describe task definition.",
                    "DescribeTaskDefinition", "{'taskDefinition':'%s'}", names[i]);
    fix_refused(f, "ClientException",
                "The specified task definition does not exist. Specify a valid account, family, "
                "revision and try again.",
                "DeregisterTaskDefinition", "{'taskDefinition':'web:2'}");
    assert_int_equal(fix_call(f, "DeregisterTaskDefinition", "{'taskDefinition':'web'}"), 400);
    assert_string_equal(fix_text(f, "__type"), "InvalidParameterException");
    fix_free(f);
}

static void defaults_are_given_back(FL_UNUSED void **state)
{
    struct fix *f = fix_new();
    fix_ok(f, "RegisterTaskDefinition",
           "{'family':'web','networkMode':'bridge','tags':[{'key':'k','value':'v'}],"
           "'containerDefinitions':[{'name':'app','image':'busybox','memory':64,"
           "'portMappings':[{'containerPort':80},{'containerPort':53,'hostPort':5353,"
           "'protocol':'udp'}]},{'name':'side','image':'r.example:5000/a/b@sha256:00ff',"
           "'memoryReservation':8,'essential':false,'cpu':10}]}");
    assert_string_equal(fix_text(f, "tags.0.key"), "k");
    assert_string_equal(fix_text(f, "taskDefinition.status"), "ACTIVE");
    assert_int_equal(fix_int(f, "taskDefinition.containerDefinitions.0.cpu"), 0);
    assert_true(
        fl_json_is_true(fix_at(f->reply, "taskDefinition.containerDefinitions.0.essential")));
    assert_true(fl_json_is(fix_at(f->reply, "taskDefinition.containerDefinitions.1.essential"),
                           FL_JSON_FALSE));
    assert_int_equal(fix_int(f, "taskDefinition.containerDefinitions.0.portMappings.0.hostPort"),
                     0);
    assert_string_equal(
        fix_text(f, "taskDefinition.containerDefinitions.0.portMappings.0.protocol"), "tcp");
    assert_string_equal(
        fix_text(f, "taskDefinition.containerDefinitions.0.portMappings.1.protocol"), "udp");
    static const char *const lists[] = {"environment", "mountPoints", "volumesFrom",
                                        "systemControls"};
    for (size_t i = 0; i < FL_ARRAY_SIZE(lists); i++) {
        const struct fl_json *container = fix_at(f->reply, "taskDefinition.containerDefinitions.1");
        assert_true(fl_json_is(fl_json_get(container, lists[i]), FL_JSON_ARRAY));
    }
    assert_true(fl_json_is(fix_at(f->reply, "taskDefinition.volumes"), FL_JSON_ARRAY));
    assert_string_equal(fix_text(f, "taskDefinition.requiresAttributes.0.name"),
                        "com.amazonaws.ecs.capability.docker-remote-api.1.21");
    assert_string_equal(fix_text(f, "taskDefinition.compatibilities.0"), "EXTERNAL");
    assert_string_equal(fix_text(f, "taskDefinition.compatibilities.1"), "EC2");
    fix_ok(f, "DescribeTaskDefinition", "{'taskDefinition':'web'}");
    assert_null(fix_at(f->reply, "tags"));
    fix_ok(f, "DescribeTaskDefinition", "{'taskDefinition':'web','include':['TAGS']}");
    assert_string_equal(fix_text(f, "tags.0.value"), "v");
    fix_ok(f, "RegisterTaskDefinition",
           "{'family':'hosty','networkMode':'host','containerDefinitions':[" CONTAINER(
               ",'portMappings':[{'containerPort':80}]") "]}");
    assert_int_equal(fix_int(f, "taskDefinition.containerDefinitions.0.portMappings.0.hostPort"),
                     80);
    fix_recover(f, true);
    fix_free(f);
}

static bool requires(const struct fix *f, const char *name)
{
    const struct fl_json *list = fix_at(f->reply, "taskDefinition.requiresAttributes");
    for (size_t i = 0; i < fl_json_items(list); i++)
        if (strcmp(fl_json_z(fl_json_get(fl_json_item(list, i), "name")), name) == 0)
            return true;
    return false;
}

static void features_become_required_attributes(FL_UNUSED void **state)
{
    struct fix *f = fix_new();
    static const char *const rows[][2] = {
        {DEFINITION(",'networkMode':'awsvpc'"), "ecs.capability.task-eni"},
        {DEFINITION(",'taskRoleArn':'arn:aws:iam::1:role/x'"),
         "com.amazonaws.ecs.capability.task-iam-role"},
        {DEFINITION(",'cpu':'256'"), "ecs.capability.task-cpu-mem-limit"},
        {DEFINITION(",'pidMode':'task'"), "ecs.capability.pid-ipc-namespace-sharing"},
        {DEFINITION(",'runtimePlatform':{'cpuArchitecture':'ARM64'}"), "ecs.cpu-architecture"},
        {DEFINITION(",'runtimePlatform':{'operatingSystemFamily':'LINUX'}"), "ecs.os-type"},
        {WITH(",'privileged':true"), "com.amazonaws.ecs.capability.privileged-container"},
        {WITH(",'dependsOn':[{'containerName':'app','condition':'START'}]"),
         "ecs.capability.container-ordering"},
        {WITH(",'healthCheck':{'command':['CMD','true']}"),
         "ecs.capability.container-health-check"},
        {WITH(",'secrets':[{'name':'A','valueFrom':'arn:aws:secretsmanager:r:1:secret:x'}]"),
         "ecs.capability.secrets.asm.environment-variables"},
        {WITH(",'secrets':[{'name':'A','valueFrom':'param'}]"),
         "ecs.capability.secrets.ssm.environment-variables"},
        {WITH(",'logConfiguration':{'logDriver':'awslogs','options':{'awslogs-group':'g',"
              "'awslogs-region':'r'}}"),
         "com.amazonaws.ecs.capability.logging-driver.awslogs"},
        {WITH(",'logConfiguration':{'logDriver':'json-file'}"),
         "com.amazonaws.ecs.capability.logging-driver.json-file"},
        {DEFINITION(",'volumes':[{'name':'v','efsVolumeConfiguration':{'fileSystemId':'fs-1'}}]"),
         "ecs.capability.efs"},
        {DEFINITION(",'volumes':[{'name':'v','dockerVolumeConfiguration':{'driver':'zfs'}}]"),
         "ecs.capability.docker-plugin.zfs"},
    };
    for (size_t i = 0; i < FL_ARRAY_SIZE(rows); i++) {
        fix_ok(f, "RegisterTaskDefinition", "%s", rows[i][0]);
        if (!requires(f, rows[i][1]))
            print_message("# %s lacks %s\n", rows[i][0], rows[i][1]);
        assert_true(requires(f, rows[i][1]));
    }
    fix_ok(f, "RegisterTaskDefinition", DEFINITION(""));
    assert_int_equal(fix_size(f, "taskDefinition.requiresAttributes"), 0);
    fix_recover(f, false);
    fix_free(f);
}

static const struct {
    const char *request, *message;
} refusals[] = {
    {"{'family':'a b','containerDefinitions':[" CONTAINER("") "]}",
     "Family contains invalid characters."},
    {"{'family':'','containerDefinitions':[" CONTAINER("") "]}",
     "Family should not be null or empty."},
    {"{'family':'web','containerDefinitions':[]}", "Container list cannot be empty."},
    {"{'family':'web','containerDefinitions':[{'image':'busybox','memory':64}]}",
     "Container.name should not be null or empty."},
    {"{'family':'web','containerDefinitions':[{'name':'a/b','image':'busybox','memory':64}]}",
     "Container.name contains invalid characters"},
    {"{'family':'web','containerDefinitions':[{'name':'app','memory':64}]}",
     "Container.image should not be null or empty."},
    {"{'family':'web','containerDefinitions':[{'name':'app','image':'busy box','memory':64}]}",
     "Container.image contains invalid characters"},
    {"{'family':'web','containerDefinitions':[{'name':'app','image':'caf\xc3\xa9','memory':64}]}",
     "Container.image contains invalid characters"},
    {"{'family':'web','containerDefinitions':[{'name':'app','image':'busybox'}]}",
     "Invalid setting for container 'app'. At least one of 'memory' or 'memoryReservation' must be "
     "specified."},
    {"{'family':'web','containerDefinitions':[{'name':'app','image':'busybox','memory':3}]}",
     "Invalid setting for container 'app'. The 'memory' and 'memoryReservation' must be at least 4 "
     "MiB."},
    {WITH(",'memoryReservation':-5"),
     "Invalid setting for container 'app'. The 'memory' and 'memoryReservation' must be at least 4 "
     "MiB."},
    {WITH(",'memoryReservation':64"),
     "Invalid setting for container 'app'. The 'memory' must be greater than the "
     "'memoryReservation'."},
    {WITH(",'cpu':-1"), "Invalid setting for container 'app'. The 'cpu' must not be negative."},
    {WITH(",'stopTimeout':-1"),
     "Invalid setting for container 'app'. The 'stopTimeout' must be between 0 and 86400."},
    {WITH(",'logConfiguration':{'logDriver':'awslogs','options':{'awslogs-group':'g'}}"),
     "Log driver awslogs requires options: awslogs-region, awslogs-group"},
    {WITH(",'logConfiguration':{'logDriver':'awslogs'}"),
     "Log driver awslogs requires options: awslogs-region, awslogs-group"},
    {WITH(",'mountPoints':[{'sourceVolume':'data','containerPath':'/d'}]"),
     "Unknown volume 'data'."},
    {WITH(",'portMappings':[{'containerPort':65536}]"),
     "Container 'app' has an invalid port mapping: ports are between 1 and 65535."},
    {WITH(",'portMappings':[{'containerPort':80,'hostPort':-1}]"),
     "Container 'app' has an invalid port mapping: ports are between 1 and 65535."},
    {WITH(",'portMappings':[{'hostPort':80}]"),
     "Container 'app' has an invalid port mapping: ports are between 1 and 65535."},
    {"{'family':'web','networkMode':'host','containerDefinitions':[" CONTAINER(
         ",'portMappings':[{'containerPort':80,'hostPort':81}]") "]}",
     "When networkMode=host, the host ports and container ports in port mappings must match."},
    {"{'family':'web','networkMode':'awsvpc','containerDefinitions':[" CONTAINER(
         ",'portMappings':[{'containerPort':80,'hostPort':81}]") "]}",
     "When networkMode=awsvpc, the host ports and container ports in port mappings must match."},
    {WITH(",'essential':false"), "A task definition must have at least one essential container."},
    {"{'family':'web','containerDefinitions':[" CONTAINER("") "," CONTAINER("") "]}",
     "Container names must be unique: 'app' occurs twice."},
    {DEFINITION(",'cpu':'many'"),
     "Invalid 'cpu' setting for task. For more information, see the Troubleshooting section of the "
     "Amazon ECS Developer Guide."},
    {DEFINITION(",'cpu':'-1'"),
     "Invalid 'cpu' setting for task. For more information, see the Troubleshooting section of the "
     "Amazon ECS Developer Guide."},
    {DEFINITION(",'memory':'1'"), "Invalid 'memory' setting for task."},
    {DEFINITION(",'memory':'9999999999'"), "Invalid 'memory' setting for task."},
    {DEFINITION(",'placementConstraints':[{'type':'memberOf','expression':'a ='}]"),
     "Invalid expression 'a =': an operator is expected at character 3."},
};

static void refusals_use_the_words_of_ecs(FL_UNUSED void **state)
{
    struct fix *f = fix_new();
    for (size_t i = 0; i < FL_ARRAY_SIZE(refusals); i++) {
        if (fix_call(f, "RegisterTaskDefinition", "%s", refusals[i].request) != 400)
            print_message("# accepted: %s\n", refusals[i].request);
        assert_int_equal(f->status, 400);
        assert_string_equal(fix_text(f, "message"), refusals[i].message);
        assert_int_equal(f->records_put, 0);
    }
    assert_int_equal(fl_core_count(f->core).definitions, 0);
    fix_free(f);
}

static void sizes_are_bounded(FL_UNUSED void **state)
{
    struct fix *f = fix_new();
    FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(1 << 20);
    for (int count = 10; count <= 11; count++) {
        fl_buf_clear(&text);
        fl_buf_add_z(&text, "{\"family\":\"web\",\"containerDefinitions\":[");
        for (int i = 0; i < count; i++)
            fl_buf_printf(&text, "%s{\"name\":\"c%d\",\"image\":\"b\",\"memory\":4}", i ? "," : "",
                          i);
        fl_buf_add_z(&text, "]}");
        assert_int_equal(fix_send(f, "RegisterTaskDefinition", fl_buf_str(&text)),
                         count == 10 ? 200 : 400);
    }
    assert_string_equal(fix_text(f, "message"),
                        "A task definition can have at most 10 containers, this one has 11.");
    for (int more = 0; more <= 1; more++) {
        fl_buf_clear(&text);
        fl_buf_add_z(&text,
                     "{\"family\":\"web\",\"containerDefinitions\":[{\"name\":\"c\",\"image\":"
                     "\"b\",\"memory\":4,\"command\":[\"");
        while (text.n < 65536 - 5 + (size_t)more)
            fl_buf_add_char(&text, 'x');
        fl_buf_add_z(&text, "\"]}]}");
        assert_int_equal(fix_send(f, "RegisterTaskDefinition", fl_buf_str(&text)),
                         more ? 400 : 200);
    }
    assert_string_equal(fix_text(f, "message"),
                        "Actual length: '65537'. Max allowed length is '65536' bytes.");
    fix_recover(f, true);
    fix_free(f);
}

static void lists_stay_below_what_an_agent_takes(FL_UNUSED void **state)
{
    struct fix *f = fix_new();
    for (int count = 600; count <= 601; count++) {
        FL_CLEANUP_BUF struct fl_buf text = FL_BUF_INIT(1 << 20);
        fl_buf_add_z(&text, "{'family':'web','containerDefinitions':[{'name':'app','image':'b',"
                            "'memory':4,'command':[''");
        for (int i = 1; i < count; i++)
            fl_buf_add_z(&text, ",''");
        fl_buf_add_z(&text, "]}]}");
        (void)fix_call(f, "RegisterTaskDefinition", "%s", text.p);
        assert_int_equal(f->status, count == 600 ? 200 : 400);
    }
    assert_string_equal(fix_text(f, "message"),
                        "Container 'app' has more than 600 items of command.");
    fix_free(f);
}

static void expect_listing(struct fix *f, const char *request, const char *expected)
{
    FL_CLEANUP_BUF struct fl_buf all = FL_BUF_INIT(1 << 16);
    char token[300] = "";
    do {
        fix_ok(f, "ListTaskDefinitions", "{'maxResults':3,'nextToken':'%s'%s}", token, request);
        for (size_t i = 0; i < fix_size(f, "taskDefinitionArns"); i++) {
            const struct fl_json *arn = fl_json_item(fix_at(f->reply, "taskDefinitionArns"), i);
            fl_buf_printf(&all, "%s ", fix_id(fl_json_z(arn)));
        }
        const char *next = fl_json_z(fix_at(f->reply, "nextToken"));
        (void)snprintf(token, sizeof(token), "%s", next ? next : "");
    } while (token[0]);
    assert_string_equal(all.p ? all.p : "", expected);
}

static void listings_are_ordered_and_filtered(FL_UNUSED void **state)
{
    struct fix *f = fix_new();
    for (int i = 0; i < 11; i++)
        fix_register(f, "b", 0, 64, "");
    fix_register(f, "a", 0, 64, "");
    fix_register(f, "bb", 0, 64, "");
    fix_ok(f, "DeregisterTaskDefinition", "{'taskDefinition':'b:2'}");
    fix_recover(f, true);
    expect_listing(f, "", "a:1 b:1 b:3 b:4 b:5 b:6 b:7 b:8 b:9 b:10 b:11 bb:1 ");
    expect_listing(f, ",'sort':'ASC'", "a:1 b:1 b:3 b:4 b:5 b:6 b:7 b:8 b:9 b:10 b:11 bb:1 ");
    expect_listing(f, ",'sort':'DESC'", "bb:1 b:11 b:10 b:9 b:8 b:7 b:6 b:5 b:4 b:3 b:1 a:1 ");
    expect_listing(f, ",'familyPrefix':'b'", "b:1 b:3 b:4 b:5 b:6 b:7 b:8 b:9 b:10 b:11 ");
    expect_listing(f, ",'status':'INACTIVE'", "b:2 ");
    expect_listing(f, ",'familyPrefix':'zz'", "");
    fix_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(revisions_only_grow),
        cmocka_unit_test(unknown_ones_are_refused),
        cmocka_unit_test(defaults_are_given_back),
        cmocka_unit_test(features_become_required_attributes),
        cmocka_unit_test(refusals_use_the_words_of_ecs),
        cmocka_unit_test(sizes_are_bounded),
        cmocka_unit_test(lists_stay_below_what_an_agent_takes),
        cmocka_unit_test(listings_are_ordered_and_filtered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
