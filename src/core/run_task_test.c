/* RunTask and what follows it for the user: what is shown, what is refused, why nothing is placed,
 * client tokens, overrides and tags; ListTasks and DescribeTasks. Requests as a client sends them;
 * after each part a core built from the records must agree. */
#include "core/core_fixture.h"

/* A core with a cluster, one instance of 1024 CPU units and 1000 MiB, and the definition "web". */
static struct fix *fix_ready(char ret_instance[64])
{
    struct fix *f = fix_new();
    fix_ok(f, "CreateCluster", "{}");
    fix_add_instance(
        f, "default", 1024, 1000,
        "{'name':'rack','value':'r1'},{'name':'ecs.cpu-architecture','value':'x86_64'}",
        ret_instance);
    fix_register(f, "web", 100, 50, "");
    return f;
}

static int64_t remaining(struct fix *f, const char *instance, int resource)
{
    char path[80];
    fix_ok(f, "DescribeContainerInstances", "{'containerInstances':['%s']}", instance);
    (void)snprintf(path, sizeof(path), "containerInstances.0.remainingResources.%d.integerValue",
                   resource);
    return fix_int(f, path);
}

static void several_tasks_are_placed_and_described(FL_UNUSED void **state)
{
    char instance[64];
    struct fix *f = fix_ready(instance);
    fix_ok(f, "RunTask",
           "{'taskDefinition':'web','count':3,'group':'g','startedBy':'me','launchType':'EC2',"
           "'tags':[{'key':'a','value':'b'}]}");
    assert_int_equal(fix_size(f, "tasks"), 3);
    assert_int_equal(fl_json_items(f->sent), 3);
    assert_int_equal(f->records_put, 3);
    assert_string_equal(fix_text(f, "tasks.1.group"), "g");
    assert_string_equal(fix_text(f, "tasks.1.startedBy"), "me");
    assert_string_equal(fix_text(f, "tasks.1.cpu"), "100");
    assert_string_equal(fix_text(f, "tasks.1.memory"), "50");
    assert_string_equal(fix_text(f, "tasks.1.launchType"), "EC2");
    assert_string_equal(fix_text(f, "tasks.1.availabilityZone"), "eu-central-1a");
    assert_string_equal(fix_text(f, "tasks.1.tags.0.value"), "b");
    assert_string_equal(fix_text(f, "tasks.1.containers.0.name"), "app");
    assert_string_equal(fix_text(f, "tasks.1.containers.0.lastStatus"), "PENDING");
    assert_string_equal(fix_text(f, "tasks.1.overrides.containerOverrides.0.name"), "app");
    assert_int_equal(fix_int(f, "tasks.1.version"), 1);
    assert_string_not_equal(fix_text(f, "tasks.0.taskArn"), fix_text(f, "tasks.1.taskArn"));
    assert_string_equal(fl_json_z(fix_at(f->sent, "1.instance")), instance);
    assert_string_equal(fl_json_z(fix_at(f->sent, "1.task.arn")), fix_text(f, "tasks.1.taskArn"));
    char arn[200];
    (void)snprintf(arn, sizeof(arn), "%s", fix_text(f, "tasks.1.taskArn"));
    fix_recover(f, true);
    fix_ok(f, "DescribeTasks", "{'tasks':['%s','default/%s','%s','nope']}", arn, fix_id(arn),
           fix_id(arn));
    assert_int_equal(fix_size(f, "tasks"), 3);
    assert_int_equal(fix_size(f, "tasks.0.tags"), 0);
    assert_string_equal(fix_text(f, "failures.0.reason"), "MISSING");
    assert_string_equal(fix_text(f, "failures.0.arn"),
                        "arn:aws:ecs:eu-central-1:000000000000:task/default/nope");
    assert_int_equal(remaining(f, instance, 0), 1024 - 300);
    assert_int_equal(remaining(f, instance, 1), 1000 - 150);
    fix_ok(f, "DescribeClusters", "{}");
    assert_int_equal(fix_int(f, "clusters.0.pendingTasksCount"), 3);
    assert_int_equal(fix_int(f, "clusters.0.registeredContainerInstancesCount"), 1);
    fix_free(f);
}

static void groups_and_tags_have_defaults(FL_UNUSED void **state)
{
    char instance[64];
    struct fix *f = fix_ready(instance);
    fix_ok(f, "RegisterTaskDefinition",
           "{'family':'t','tags':[{'key':'a','value':'def'},{'key':'c','value':'d'}],"
           "'containerDefinitions':[{'name':'app','image':'b','memory':4}]}");
    fix_ok(f, "RunTask",
           "{'taskDefinition':'t:1','propagateTags':'TASK_DEFINITION','enableECSManagedTags':true,"
           "'tags':[{'key':'a','value':'b'}]}");
    assert_string_equal(fix_text(f, "tasks.0.group"), "family:t");
    assert_int_equal(fix_size(f, "tasks.0.tags"), 3);
    assert_string_equal(fix_text(f, "tasks.0.tags.0.value"), "b");
    assert_string_equal(fix_text(f, "tasks.0.tags.1.key"), "c");
    assert_string_equal(fix_text(f, "tasks.0.tags.2.key"), "aws:ecs:clusterName");
    fix_ok(f, "RunTask", "{'taskDefinition':'t'}");
    assert_int_equal(fix_size(f, "tasks.0.tags"), 0);
    assert_null(fix_at(f->reply, "tasks.0.startedBy"));
    fix_recover(f, false);
    fix_free(f);
}

static void overrides_reach_the_agent_and_count(FL_UNUSED void **state)
{
    char instance[64];
    struct fix *f = fix_ready(instance);
    fix_ok(f, "RunTask",
           "{'taskDefinition':'web','overrides':{'containerOverrides':[{'name':'app','cpu':200,"
           "'memory':300,'command':['sleep','1'],'environment':[{'name':'A','value':'x'}]}]}}");
    assert_string_equal(fix_text(f, "tasks.0.cpu"), "200");
    assert_string_equal(fix_text(f, "tasks.0.memory"), "300");
    assert_string_equal(fix_text(f, "tasks.0.overrides.containerOverrides.0.command.0"), "sleep");
    fix_ok(f, "RunTask", "{'taskDefinition':'web','overrides':{'cpu':'7','memory':'8'}}");
    assert_string_equal(fix_text(f, "tasks.0.cpu"), "7");
    assert_string_equal(fix_text(f, "tasks.0.memory"), "8");
    assert_int_equal(remaining(f, instance, 0), 1024 - 207);
    fix_recover(f, true);
    assert_int_equal(remaining(f, instance, 1), 1000 - 308);
    fix_free(f);
}

static const struct {
    const char *request, *code, *message;
} refusals[] = {
    {"{'taskDefinition':'web','count':0}", "InvalidParameterException",
     "count should be between 1 and 10."},
    {"{'taskDefinition':'web','count':11}", "InvalidParameterException",
     "count should be between 1 and 10."},
    {"{'taskDefinition':'nope'}", "ClientException", "TaskDefinition not found."},
    {"{'taskDefinition':'web:9'}", "ClientException", "TaskDefinition not found."},
    {"{'taskDefinition':'old:1'}", "ClientException", "TaskDefinition is inactive"},
    {"{'taskDefinition':'far','launchType':'FARGATE'}", "ClientException",
     "The launch type FARGATE is not implemented yet."},
    {"{'taskDefinition':'web','launchType':'EXTERNAL'}", "ClientException",
     "The launch type EXTERNAL is not implemented yet."},
    {"{'taskDefinition':'web','enableExecuteCommand':true}", "ClientException",
     "enableExecuteCommand is not implemented yet."},
    {"{'taskDefinition':'web','capacityProviderStrategy':[{'capacityProvider':'x'}]}",
     "ClientException", "capacityProviderStrategy is not implemented yet."},
    {"{'taskDefinition':'gmsa'}", "ClientException", "credentialSpecs is not implemented yet."},
    {"{'taskDefinition':'web','networkConfiguration':{'awsvpcConfiguration':{'subnets':"
     "['s']}}}",
     "InvalidParameterException",
     "Network Configuration is not valid for the given networkMode of this task definition."},
    {"{'taskDefinition':'vpc','networkConfiguration':{'awsvpcConfiguration':{'subnets':[]}}}",
     "InvalidParameterException", "subnets can not be empty."},
    {"{'taskDefinition':'vpc','networkConfiguration':{'awsvpcConfiguration':{'subnets':['s'],"
     "'assignPublicIp':'ENABLED'}}}",
     "InvalidParameterException", "Assign public IP is not supported for this launch type."},
    {"{'taskDefinition':'web','launchType':'FARGATE'}", "InvalidParameterException",
     "Task definition does not support launch_type FARGATE."},
    {"{'taskDefinition':'web','launchType':'EC2','capacityProviderStrategy':[{"
     "'capacityProvider':'x'}]}",
     "InvalidParameterException",
     "Specifying both a launch type and capacity provider strategy is not supported. Remove one "
     "and try again."},
    {"{'taskDefinition':'web','platformVersion':'1.4.0'}", "InvalidParameterException",
     "The platform version must be null when specifying an EC2 launch type."},
    {"{'taskDefinition':'web','propagateTags':'SERVICE'}", "InvalidParameterException",
     "propagateTags=SERVICE is for tasks of a service: specify TASK_DEFINITION or NONE."},
    {"{'taskDefinition':'web','clientToken':'a b'}", "InvalidParameterException",
     "clientToken contains invalid characters: those between 33 and 126 are allowed."},
    {"{'taskDefinition':'web','tags':[{'key':'AWS:x','value':'y'}]}", "InvalidParameterException",
     "The tag key 'AWS:x' is not valid: keys that begin with 'aws:' are reserved."},
    {"{'taskDefinition':'web','cluster':'arn:aws:ecs:eu-central-1:111122223333:cluster/default'}",
     "InvalidParameterException",
     "Invalid identifier: Identifier is for 111122223333. Your accountId is 000000000000"},
    {"{'taskDefinition':'web','cluster':'arn:aws:ecs:us-east-1:000000000000:cluster/default'}",
     "InvalidParameterException",
     "Invalid identifier: Identifier is for us-east-1. Your region is eu-central-1"},
    {"{'taskDefinition':'vpc'}", "InvalidParameterException",
     "Network Configuration must be provided when networkMode 'awsvpc' is specified."},
    {"{'taskDefinition':'web','overrides':{'containerOverrides':[{'name':'x'}]}}",
     "InvalidParameterException",
     "Override for container named x is not a container in the TaskDefinition."},
    {"{'taskDefinition':'web','overrides':{'containerOverrides':[{'name':'app','cpu':-1}]}}",
     "InvalidParameterException",
     "Override for container app: cpu and memory must not be negative."},
    {"{'taskDefinition':'web','overrides':{'cpu':'-100'}}", "InvalidParameterException",
     "Invalid 'cpu' override for task: it must be a whole number, not negative."},
    {"{'taskDefinition':'web','overrides':{'memory':'4294967296'}}", "InvalidParameterException",
     "Invalid 'memory' override for task: it must be a whole number, not negative."},
    {"{'taskDefinition':'web','overrides':{'containerOverrides':[{'name':'app',"
     "'environmentFiles':[{'type':'s3','value':'x'}]}]}}",
     "ClientException", "Overriding environmentFiles is not implemented yet."},
    {"{'taskDefinition':'web','placementStrategy':[{'type':'spread','field':'x'}]}",
     "InvalidParameterException",
     "'x' is not a valid field for a placement strategy of type spread."},
    {"{'taskDefinition':'web','placementStrategy':[{'type':'binpack'}]}",
     "InvalidParameterException",
     "'' is not a valid field for a placement strategy of type binpack."},
    {"{'taskDefinition':'web','placementStrategy':[{'field':'cpu'}]}", "InvalidParameterException",
     "A placement strategy needs a type."},
    {"{'taskDefinition':'web','placementConstraints':[{}]}", "InvalidParameterException",
     "A placement constraint needs a type."},
    {"{'taskDefinition':'web','placementConstraints':[{'type':'memberOf'}]}",
     "InvalidParameterException", "Invalid expression '': a subject is expected at character 1."},
    {"{'taskDefinition':'web','placementConstraints':[{'type':'memberOf','expression':"
     "'attribute:a =~ *'}]}",
     "InvalidParameterException", "Invalid expression: '*' is no regular expression."},
    {"{'taskDefinition':'web','placementConstraints':[{'type':'memberOf','expression':"
     "'colour == red'}]}",
     "InvalidParameterException", "Invalid expression: unknown subject 'colour'."},
};

static void wrong_requests_are_refused(FL_UNUSED void **state)
{
    char instance[64];
    struct fix *f = fix_ready(instance);
    fix_register(f, "old", 0, 4, "");
    fix_ok(f, "DeregisterTaskDefinition", "{'taskDefinition':'old:1'}");
    fix_ok(f, "RegisterTaskDefinition",
           "{'family':'far','networkMode':'awsvpc','cpu':'256','memory':'512',"
           "'containerDefinitions':[{'name':'a','image':'b'}]}");
    fix_register(f, "gmsa", 0, 4, ",'credentialSpecs':['credentialspec:x']");
    fix_ok(f, "RegisterTaskDefinition",
           "{'family':'vpc','networkMode':'awsvpc','containerDefinitions':[{'name':'app',"
           "'image':'b','memory':4}]}");
    for (size_t i = 0; i < FL_ARRAY_SIZE(refusals); i++) {
        if (fix_call(f, "RunTask", "%s", refusals[i].request) != 400)
            print_message("# accepted: %s\n", refusals[i].request);
        assert_string_equal(fix_text(f, "message"), refusals[i].message);
        assert_string_equal(fix_text(f, "__type"), refusals[i].code);
        assert_int_equal(f->records_put, 0);
    }
    assert_int_equal(fl_core_count(f->core).tasks, 0);
    fix_ok(f, "CreateCluster", "{'clusterName':'empty'}");
    fix_refused(f, "InvalidParameterException",
                "No Container Instances were found in your cluster.", "RunTask",
                "{'cluster':'empty','taskDefinition':'web'}");
    fix_free(f);
}

/* What placement remembers views and filters by is made of these texts. */
static void texts_for_placement_have_bounds(FL_UNUSED void **state)
{
    char instance[64];
    struct fix *f = fix_ready(instance);
    static const char strategy[] =
        "{'taskDefinition':'web','placementStrategy':[{'type':'spread','field':'attribute:%0*d'}]}";
    static const char constraint[] =
        "{'taskDefinition':'web','placementConstraints':[{'type':'memberOf','expression':"
        "'attribute:a == %0*d'}]}";
    fix_ok(f, "RunTask", strategy, 128, 7);
    assert_int_equal(fix_call(f, "RunTask", strategy, 129, 7), 400);
    assert_int_equal(fix_call(f, "RunTask", strategy, 100000, 7), 400);
    assert_int_equal(fix_call(f, "RunTask", constraint, 2001, 7), 400);
    assert_int_equal(fix_call(f, "RunTask", constraint, 2 << 20, 7), 400);
    fix_refused(f, "InvalidParameterException", "The expression is longer than 2000 characters.",
                "ListContainerInstances", "{'filter':'%0*d'}", 2 << 20, 7);
    fix_free(f);
}

static void long_things_are_refused(FL_UNUSED void **state)
{
    char instance[64];
    struct fix *f = fix_ready(instance);
    static const struct {
        const char *member;
        int most;
    } rows[] = {{"startedBy", 128}, {"group", 255}, {"clientToken", 64}};
    for (size_t i = 0; i < FL_ARRAY_SIZE(rows); i++) {
        assert_int_equal(fix_call(f, "RunTask", "{'taskDefinition':'web','%s':'%0*d'}",
                                  rows[i].member, rows[i].most + 1, 7),
                         400);
        fix_ok(f, "RunTask", "{'taskDefinition':'web','%s':'%0*d'}", rows[i].member, rows[i].most,
               7);
    }
    fix_refused(f, "InvalidParameterException", "The overrides are longer than 8192 characters.",
                "RunTask",
                "{'taskDefinition':'web','overrides':{'containerOverrides':[{'name':'app',"
                "'command':['%09000d']}]}}",
                7);
    FL_CLEANUP_BUF struct fl_buf many = FL_BUF_INIT(1 << 16);
    fl_buf_add_z(&many,
                 "{'taskDefinition':'web','placementConstraints':[{'type':'distinctInstance'}");
    for (int i = 0; i < 10; i++)
        fl_buf_add_z(&many, ",{'type':'memberOf','expression':'agentConnected == true'}");
    fl_buf_add_z(&many, "]}");
    assert_int_equal(fix_call(f, "RunTask", "%s", many.p), 400);
    assert_int_equal(f->records_put, 0);
    fix_free(f);
}

static void a_failure_says_why_for_each_instance(FL_UNUSED void **state)
{
    char instance[64], other[64];
    struct fix *f = fix_ready(instance);
    static const struct {
        const char *request, *reason, *detail;
    } rows[] = {
        {"{'taskDefinition':'bigcpu'}", "RESOURCE:CPU",
         "1025 CPU units are needed, 1024 of 1024 are free"},
        {"{'taskDefinition':'bigmem'}", "RESOURCE:MEMORY",
         "1001 MiB are needed, 1000 of 1000 are free"},
        {"{'taskDefinition':'ssh'}", "RESOURCE:PORTS", "host port 22 is taken"},
        {"{'taskDefinition':'role'}", "ATTRIBUTE", "com.amazonaws.ecs.capability.task-iam-role"},
        {"{'taskDefinition':'web','placementConstraints':[{'type':'memberOf','expression':"
         "'attribute:rack == r2'}]}",
         "MemberOf placement constraint unsatisfied.", "attribute:rack == r2"},
        {"{'taskDefinition':'arm'}", "ATTRIBUTE", "ecs.cpu-architecture"},
        {"{'taskDefinition':'picky'}", "MemberOf placement constraint unsatisfied.",
         "attribute:gpu exists"},
    };
    fix_ok(f, "RegisterTaskDefinition",
           "{'family':'arm','runtimePlatform':{'cpuArchitecture':'ARM64'},'containerDefinitions':"
           "[{'name':'app','image':'b','memory':4}]}");
    fix_register(f, "bigcpu", 1025, 50, "");
    fix_register(f, "bigmem", 1, 1001, "");
    fix_register(f, "ssh", 1, 4, ",'portMappings':[{'containerPort':22,'hostPort':22}]");
    fix_ok(f, "RegisterTaskDefinition",
           "{'family':'role','taskRoleArn':'x','containerDefinitions':[{'name':'app','image':'b',"
           "'memory':4}]}");
    fix_ok(f, "RegisterTaskDefinition",
           "{'family':'picky','placementConstraints':[{'type':'memberOf','expression':"
           "'attribute:gpu exists'}],'containerDefinitions':[{'name':'app','image':'b',"
           "'memory':4}]}");
    for (size_t i = 0; i < FL_ARRAY_SIZE(rows); i++) {
        fix_ok(f, "RunTask", "%s", rows[i].request);
        assert_int_equal(fix_size(f, "tasks"), 0);
        assert_int_equal(fix_size(f, "failures"), 1);
        assert_string_equal(fix_text(f, "failures.0.reason"), rows[i].reason);
        assert_string_equal(fix_text(f, "failures.0.detail"), rows[i].detail);
        assert_string_equal(fix_id(fix_text(f, "failures.0.arn")), instance);
        assert_int_equal(f->records_put, 0);
    }
    fix_disconnect(f, "default", instance, f->sessions[0].session);
    fix_add_instance(f, "default", 10, 1000, "", other);
    fix_ok(f, "RunTask", "{'taskDefinition':'web'}");
    assert_int_equal(fix_size(f, "failures"), 2);
    bool is_first = strcmp(fix_id(fix_text(f, "failures.0.arn")), instance) == 0;
    assert_string_equal(fix_text(f, is_first ? "failures.0.reason" : "failures.1.reason"), "AGENT");
    assert_string_equal(fix_text(f, is_first ? "failures.1.reason" : "failures.0.reason"),
                        "RESOURCE:CPU");
    fix_free(f);
}

static void some_may_be_placed_and_the_rest_fail(FL_UNUSED void **state)
{
    char instance[64];
    struct fix *f = fix_ready(instance);
    fix_register(f, "third", 400, 4, ",'portMappings':[{'containerPort':80}]");
    fix_ok(f, "RunTask", "{'taskDefinition':'third','count':3}");
    assert_int_equal(fix_size(f, "tasks"), 2);
    assert_string_equal(fix_text(f, "failures.0.reason"), "RESOURCE:CPU");
    fix_register(f, "port", 1, 4, ",'portMappings':[{'containerPort':80,'hostPort':8080}]");
    fix_register(f, "udp", 1, 4,
                 ",'portMappings':[{'containerPort':80,'hostPort':8080,'protocol':'udp'}]");
    fix_ok(f, "RunTask", "{'taskDefinition':'port','count':2}");
    assert_int_equal(fix_size(f, "tasks"), 1);
    assert_string_equal(fix_text(f, "failures.0.reason"), "RESOURCE:PORTS");
    fix_ok(f, "RunTask", "{'taskDefinition':'udp'}");
    assert_int_equal(fix_size(f, "tasks"), 1);
    fix_recover(f, true);
    fix_ok(f, "RunTask", "{'taskDefinition':'port'}");
    assert_int_equal(fix_size(f, "tasks"), 0);
    fix_ok(f, "DescribeContainerInstances", "{'containerInstances':['%s']}", instance);
    assert_string_equal(fix_text(f, "containerInstances.0.remainingResources.2.stringSetValue.2"),
                        "8080");
    assert_string_equal(fix_text(f, "containerInstances.0.remainingResources.3.stringSetValue.0"),
                        "8080");
    fix_free(f);
}

static void distinct_instances_ignore_stopping_tasks(FL_UNUSED void **state)
{
    char instance[64], arn[200];
    struct fix *f = fix_ready(instance);
    static const char request[] =
        "{'taskDefinition':'web','placementConstraints':[{'type':'distinctInstance'}]}";
    fix_ok(f, "RunTask", "%s", request);
    (void)snprintf(arn, sizeof(arn), "%s", fix_text(f, "tasks.0.taskArn"));
    fix_ok(f, "RunTask", "%s", request);
    assert_string_equal(fix_text(f, "failures.0.reason"),
                        "DistinctInstance placement constraint unsatisfied.");
    fix_ok(f, "RunTask",
           "{'taskDefinition':'web','group':'other','placementConstraints':"
           "[{'type':'distinctInstance'}]}");
    assert_int_equal(fix_size(f, "tasks"), 1);
    fix_ok(f, "StopTask", "{'task':'%s'}", arn);
    fix_ok(f, "RunTask", "%s", request);
    assert_int_equal(fix_size(f, "tasks"), 1);
    fix_free(f);
}

static void a_repeated_token_runs_nothing_again(FL_UNUSED void **state)
{
    char instance[64], elsewhere[64];
    struct fix *f = fix_ready(instance);
    static const char request[] = "{'taskDefinition':'web','count':2,'clientToken':'tok'}";
    fix_ok(f, "RunTask", "%s", request);
    assert_int_equal(f->records_put, 2);
    fix_recover(f, true);
    fix_ok(f, "RunTask", "%s", request);
    assert_int_equal(f->records_put, 0);
    assert_int_equal(fl_json_items(f->sent), 0);
    assert_int_equal(fix_size(f, "tasks"), 2);
    fix_call(f, "RunTask", "{'taskDefinition':'web','count':3,'clientToken':'tok'}");
    assert_int_equal(f->status, 400);
    assert_string_equal(fix_text(f, "__type"), "ConflictException");
    assert_int_equal(fix_size(f, "resourceIds"), 2);
    /* The same token in another cluster is another token. */
    fix_ok(f, "CreateCluster", "{'clusterName':'aaa'}");
    fix_add_instance(f, "aaa", 1024, 1000, "", elsewhere);
    static const char other[] =
        "{'cluster':'aaa','taskDefinition':'web','count':3,'clientToken':'tok'}";
    fix_ok(f, "RunTask", "%s", other);
    assert_int_equal(fix_size(f, "tasks"), 3);
    fix_ok(f, "RunTask", "%s", other);
    assert_int_equal(f->records_put, 0);
    assert_int_equal(fix_size(f, "tasks"), 3);
    fix_ok(f, "RunTask", "%s", request);
    assert_int_equal(fix_size(f, "tasks"), 2);
    fix_recover(f, false);
    fix_free(f);
}

static void listings_filter_tasks(FL_UNUSED void **state)
{
    char instance[64], other[64], arn[200];
    struct fix *f = fix_ready(instance);
    fix_register(f, "job", 1, 4, "");
    fix_ok(f, "RunTask", "{'taskDefinition':'web','count':2,'startedBy':'me'}");
    (void)snprintf(arn, sizeof(arn), "%s", fix_text(f, "tasks.0.taskArn"));
    fix_add_instance(f, "default", 1024, 1000, "{'name':'rack','value':'r2'}", other);
    fix_ok(f, "RunTask",
           "{'taskDefinition':'job','count':4,'placementConstraints':[{'type':'memberOf',"
           "'expression':'attribute:rack == r2'}]}");
    static const struct {
        const char *filter;
        size_t count;
    } rows[] = {
        {"'family':'web'", 2},
        {"'family':'job'", 4},
        {"'family':'we'", 0},
        {"'startedBy':'me'", 2},
        {"'desiredStatus':'RUNNING'", 6},
        {"'desiredStatus':'PENDING'", 0},
        {"'desiredStatus':'STOPPED'", 0},
        {"'launchType':'EC2'", 6},
        {"'launchType':'FARGATE'", 0},
        {"'maxResults':5", 5},
    };
    for (size_t i = 0; i < FL_ARRAY_SIZE(rows); i++) {
        fix_ok(f, "ListTasks", "{%s}", rows[i].filter);
        assert_int_equal(fix_size(f, "taskArns"), rows[i].count);
    }
    fix_ok(f, "ListTasks", "{'containerInstance':'%s'}", other);
    assert_int_equal(fix_size(f, "taskArns"), 4);
    /* A task leaves the default list when StopTask returns, not when it has stopped. */
    fix_ok(f, "StopTask", "{'task':'%s','reason':'enough'}", arn);
    assert_string_equal(fix_text(f, "task.stoppedReason"), "enough");
    fix_ok(f, "ListTasks", "{'family':'web'}");
    assert_int_equal(fix_size(f, "taskArns"), 1);
    fix_ok(f, "ListTasks", "{'desiredStatus':'STOPPED'}");
    assert_int_equal(fix_size(f, "taskArns"), 1);
    fix_refused(f, "ServiceNotFoundException", "Service not found.", "ListTasks",
                "{'serviceName':'x'}");
    fix_refused(f, "InvalidParameterException", "Tasks cannot be empty.", "DescribeTasks",
                "{'tasks':[]}");
    fix_refused(f, "InvalidParameterException", "The referenced task was not found.", "StopTask",
                "{'task':'nope'}");
    fix_recover(f, false);
    fix_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(several_tasks_are_placed_and_described),
        cmocka_unit_test(groups_and_tags_have_defaults),
        cmocka_unit_test(overrides_reach_the_agent_and_count),
        cmocka_unit_test(wrong_requests_are_refused),
        cmocka_unit_test(long_things_are_refused),
        cmocka_unit_test(texts_for_placement_have_bounds),
        cmocka_unit_test(a_failure_says_why_for_each_instance),
        cmocka_unit_test(some_may_be_placed_and_the_rest_fail),
        cmocka_unit_test(distinct_instances_ignore_stopping_tasks),
        cmocka_unit_test(a_repeated_token_runs_nothing_again),
        cmocka_unit_test(listings_filter_tasks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
