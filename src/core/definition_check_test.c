/* What RegisterTaskDefinition refuses, and what it computes: every rule of definition_check.c,
 * definition_container.c, definition_ports.c and definition_fargate.c with a definition that breaks
 * it alone, Fargate's sizes from both sides. Requests as a client sends them. */
#include "core/core_fixture.h"

#define TASK(more, containers) "{'family':'f'" more ",'containerDefinitions':[" containers "]}"
#define C(more) "{'name':'app','image':'b','memory':64" more "}"
#define OTHER(more) "{'name':'two','image':'b','memory':64" more "}"
#define ONE(more) TASK("", C(more))
#define VPC(more) TASK(",'networkMode':'awsvpc'", C(more))
#define FARGATE_TASK(more, containers)                                                             \
    TASK(",'networkMode':'awsvpc','requiresCompatibilities':['FARGATE'],'cpu':'256',"              \
         "'memory':'512'" more,                                                                    \
         containers)
#define FARGATE(more) FARGATE_TASK("", C(more))

static const struct {
    const char *request, *message;
} refusals[] = {
    {TASK(",'tags':[]", C("")), "Tags can not be empty."},
    {TASK(",'tags':[{'key':'aws:a'}]", C("")),
     "The tag key 'aws:a' is not valid: keys that begin with 'aws:' are reserved."},
    {TASK(",'tags':[{'key':'a'},{'key':'a'}]", C("")), "The tag key 'a' is given twice."},
    {TASK(",'tags':[{'value':'a'}]", C("")), "A tag's key should not be null or empty."},
    {TASK(",'cpu':'127'", C("")),
     "Invalid 'cpu' setting for task. For more information, see the Troubleshooting section of the "
     "Amazon ECS Developer Guide."},
    {TASK(",'cpu':'.3 vCPU'", C("")),
     "Invalid 'cpu' setting for task. For more information, see the Troubleshooting section of the "
     "Amazon ECS Developer Guide."},
    {TASK(",'memory':'1 TB'", C("")), "Invalid 'memory' setting for task."},
    {TASK(",'taskRoleArn':'arn:aws:iam::1:user/x'", C("")), "Role is not valid"},
    {TASK(",'executionRoleArn':'a b'", C("")), "Role is not valid"},
    {TASK(",'inferenceAccelerators':[{'deviceName':'a','deviceType':'b'}]", C("")),
     "Unsupported field 'inferenceAccelerators'."},
    {TASK(",'ephemeralStorage':{'sizeInGiB':20}", C("")),
     "EphemeralStorage size should be at least 21"},
    {TASK(",'ephemeralStorage':{'sizeInGiB':201}", C("")),
     "EphemeralStorage size should be at most 200"},
    {TASK(",'requiresCompatibilities':['EXTERNAL'],'networkMode':'awsvpc'", C("")),
     "External compatible task definitions do not support network mode 'awsvpc'."},
    {TASK(",'volumes':[{}]", C("")), "Volume.name should not be null or empty."},
    {TASK(",'volumes':[{'name':'a/b'}]", C("")), "Volume.name contains invalid characters."},
    {TASK(",'volumes':[{'name':'a'},{'name':'a'}]", C("")), "Duplicate volume name: 'a'."},
    {TASK(",'volumes':[{'name':'a','host':{},'dockerVolumeConfiguration':{}}]", C("")),
     "Volume 'a' can be configured in one way only: by host, dockerVolumeConfiguration, "
     "efsVolumeConfiguration, s3filesVolumeConfiguration, fsxWindowsFileServerVolumeConfiguration "
     "or configuredAtLaunch."},
    {TASK(",'volumes':[{'name':'a','dockerVolumeConfiguration':{'autoprovision':true}}]", C("")),
     "Volume 'a': autoprovision is valid for the scope 'shared' only."},
    {TASK(",'volumes':[{'name':'a','configuredAtLaunch':true}]", C("")),
     "Volumes [a] are not referenced by any of the containers."},
    {TASK(",'volumes':[{'name':'a','efsVolumeConfiguration':{'fileSystemId':'f',"
          "'authorizationConfig':{'iam':'ENABLED'}}}]",
          C("")),
     "EFS IAM authorization requires TransitEncryption to be enabled."},
    {TASK(",'volumes':[{'name':'a','efsVolumeConfiguration':{'fileSystemId':'f',"
          "'transitEncryptionPort':99}}]",
          C("")),
     "TransitEncryptionPort requires that TransitEncryption is enabled."},
    {TASK(",'volumes':[{'name':'a','efsVolumeConfiguration':{'fileSystemId':'f',"
          "'rootDirectory':'/x','authorizationConfig':{'accessPointId':'p'}}}]",
          C("")),
     "When using an EFS access point, the root directory must either be set to \"/\" or be "
     "omitted."},
    {TASK(",'proxyConfiguration':{'containerName':'app'}", C("")),
     "proxyConfiguration is only supported when networkMode=awsvpc."},
    {TASK(",'networkMode':'awsvpc','proxyConfiguration':{'containerName':'x'}", C("")),
     "The container 'x' of proxyConfiguration does not exist."},
    {TASK(",'memory':'32'", C("")),
     "The 'memory' setting for container 'app' is greater than for the task."},
    {TASK(",'memory':'100'", C(",'memoryReservation':60") "," OTHER(",'memoryReservation':60")),
     "The sum of all container 'memoryReservation' values cannot be greater than the task-level "
     "'memory' value."},
    {TASK(",'cpu':'256'", C(",'cpu':200") "," OTHER(",'cpu':100")),
     "The sum of all container 'cpu' values cannot be greater than the task-level 'cpu' value."},
    {ONE(",'logConfiguration':{'logDriver':'awsfirelens'}"),
     "When awsfirelens log driver is specified in log configuration, a firelens configuration "
     "object must be specified."},
    {ONE(",'firelensConfiguration':{'type':'fluentbit'}"),
     "When a firelensConfiguration object is specified, at least one container has to be "
     "configured with the awsfirelens log driver."},
    {ONE(",'logConfiguration':{'logDriver':'awslogs','options':{'awslogs-group':'g',"
         "'awslogs-region':'r','mode':'x'}}"),
     "The log option mode of container 'app' should be one of [blocking,non-blocking]"},
    {TASK(",'volumes':[{'name':'v'}]", C(",'mountPoints':[{'sourceVolume':'v'}]")),
     "Container.mountPoints.containerPath should not be null or empty."},
    {TASK(",'volumes':[{'name':'v'}]",
          C(",'mountPoints':[{'sourceVolume':'v','containerPath':'/a'},"
            "{'sourceVolume':'v','containerPath':'/a'}]")),
     "Container 'app' has more than one mount point at '/a'."},
    {TASK(",'networkMode':'awsvpc'", C(",'links':['two']") "," OTHER("")),
     "Links are not supported when networkMode=awsvpc."},
    {VPC(",'dnsServers':['1.1.1.1']"),
     "DNS servers are not supported on container when networkMode=awsvpc."},
    {VPC(",'disableNetworking':true"),
     "Disable Networking is not supported on container when networkMode=awsvpc."},
    {VPC(",'extraHosts':[{'hostname':'a','ipAddress':'1.1.1.1'}]"),
     "Extra hosts are not supported on container when networkMode=awsvpc."},
    {VPC(",'hostname':'a'"), "hostname is not supported on container when networkMode=awsvpc."},
    {ONE(",'ulimits':[{'name':'nofile','softLimit':2,'hardLimit':1}]"),
     "Soft limit exceeds hard limit for ulimit nofile"},
    {ONE(",'ulimits':[{'name':'core','softLimit':1,'hardLimit':1},"
         "{'name':'core','softLimit':1,'hardLimit':1}]"),
     "Duplicate ulimit core."},
    {ONE(",'linuxParameters':{'capabilities':{'add':['CAP_CHOWN']}}"),
     "'CAP_CHOWN' is not a valid Linux capability."},
    {TASK(",'executionRoleArn':'r'", C(",'environment':[{'name':'A','value':'b'}],"
                                       "'secrets':[{'name':'A','valueFrom':'p'}]")),
     "The secret name must be unique and not shared with any new or existing environment variables "
     "set on the container, such as 'A'."},
    {TASK(",'executionRoleArn':'r'", C(",'secrets':[{'name':'A','valueFrom':''}]")),
     "Invalid setting for container 'app'. A secret's 'name' and 'valueFrom' should not be empty."},
    {TASK(",'executionRoleArn':'r'", C(",'secrets':[{'name':'A','valueFrom':'my-secret:key::'}]")),
     "The Systems Manager parameter name specified for secret A is invalid. The parameter name can "
     "be up to 2048 characters and include the following letters and symbols: a-zA-Z0-9_.-,"},
    {ONE(",'secrets':[{'name':'A','valueFrom':'p'}]"),
     "When you are specifying container secrets, you must also specify a value for "
     "'executionRoleArn'."},
    {ONE(",'repositoryCredentials':{'credentialsParameter':'arn:aws:secretsmanager:r:1:secret:x'}"),
     "Private repository authentication requires that the task definition specify a value for "
     "executionRoleArn."},
    {TASK(",'executionRoleArn':'r'", C(",'repositoryCredentials':{'credentialsParameter':''}")),
     "Invalid setting for container 'app'. 'credentialsParameter' should not be empty."},
    {ONE(",'environmentFiles':[{'type':'s3','value':'x'}]"), "Invalid arn syntax."},
    {ONE(",'resourceRequirements':[{'type':'GPU','value':'some'}]"),
     "Container 'app': the value of a GPU requirement must be a whole number between 1 and 64."},
    /* Ports. */
    {TASK(",'networkMode':'none'", C(",'portMappings':[{'containerPort':80}]")),
     "Port mappings are not supported when networkMode=none."},
    {ONE(",'portMappings':[{'containerPort':80,'containerPortRange':'1-2'}]"),
     "Invalid port mapping for container 'app': cannot specify both single port and port range."},
    {ONE(",'portMappings':[{'containerPortRange':'2-2'}]"),
     "Invalid 'containerPortRange' setting for container 'app'."},
    {ONE(",'portMappings':[{'containerPortRange':'80-65536'}]"),
     "Invalid 'containerPortRange' setting for container 'app'."},
    {TASK(",'networkMode':'host'", C(",'portMappings':[{'containerPortRange':'80-90'}]")),
     "'containerPortRange' is not supported when networkMode=host."},
    {ONE(",'portMappings':[{'containerPortRange':'80-90'},{'containerPortRange':'90-99'}]"),
     "The container port 90 is used multiple times in task."},
    {TASK("", C(",'portMappings':[{'containerPort':80,'hostPort':8080}]") "," OTHER(
                  ",'portMappings':[{'containerPort':81,'hostPort':8080}]")),
     "The host port 8080 is used multiple times in task."},
    {VPC(",'portMappings':[{'containerPort':80},{'containerPort':80}]"),
     "The container port 80 is used multiple times in task."},
    {ONE(",'portMappings':[{'containerPort':80,'name':'Web'}]"),
     "The port mapping name 'Web' is not valid: up to 64 lowercase letters, numbers, underscores "
     "and hyphens, not beginning with a hyphen."},
    {ONE(",'portMappings':[{'containerPort':80,'name':'a'},{'containerPort':81,'name':'a'}]"),
     "The port mapping name 'a' is already used in the task definition."},
    {ONE(",'portMappings':[{'containerPort':80,'appProtocol':'http'}]"),
     "A port mapping with 'appProtocol' must have a 'name'."},
    /* Fargate. */
    {TASK(",'requiresCompatibilities':['FARGATE']", C("")),
     "Fargate only supports network mode ‘awsvpc’."},
    {TASK(",'requiresCompatibilities':['FARGATE'],'networkMode':'awsvpc'", C("")),
     "Fargate requires that 'cpu' be defined at the task level."},
    {TASK(",'requiresCompatibilities':['FARGATE'],'networkMode':'awsvpc','cpu':'256'", C("")),
     "Fargate requires that 'memory' be defined at the task level."},
    {TASK(",'requiresCompatibilities':['FARGATE'],'networkMode':'awsvpc','cpu':'256',"
          "'memory':'3 GB'",
          C("")),
     "No Fargate configuration exists for given values: 256 CPU, 3072 memory. See the Amazon ECS "
     "documentation for the valid values."},
    {TASK(",'requiresCompatibilities':['FARGATE'],'networkMode':'awsvpc','cpu':'512',"
          "'memory':'1024','runtimePlatform':{'operatingSystemFamily':'WINDOWS_SERVER_2022_CORE'}",
          C("")),
     "No Fargate configuration exists for given values: 512 CPU, 1024 memory. See the Amazon ECS "
     "documentation for the valid values."},
    {FARGATE_TASK(",'pidMode':'host'", C("")),
     "Tasks using the Fargate launch type do not support pidMode 'host'. The supported value for "
     "pidMode is 'task'."},
    {FARGATE_TASK(",'ipcMode':'task'", C("")),
     "Fargate compatible task definitions do not support ipcMode"},
    {FARGATE_TASK(",'placementConstraints':[{'type':'memberOf','expression':'attribute:a exists'}]",
                  C("")),
     "Fargate compatible task definitions do not support constraints"},
    {FARGATE_TASK(",'volumes':[{'name':'v','dockerVolumeConfiguration':{}}]", C("")),
     "Fargate compatible task definitions do not support dockerVolumeConfiguration"},
    {FARGATE_TASK(",'volumes':[{'name':'v','host':{'sourcePath':'/x'}}]", C("")),
     "Fargate compatible task definitions do not support sourcePath"},
    {FARGATE(",'privileged':true"),
     "Fargate compatible task definitions do not support privileged"},
    {FARGATE(",'resourceRequirements':[{'type':'GPU','value':'1'}]"),
     "Fargate compatible task definitions do not support gpu"},
    {FARGATE(",'linuxParameters':{'maxSwap':1}"),
     "Fargate compatible task definitions do not support maxSwap"},
    {FARGATE(",'linuxParameters':{'sharedMemorySize':1}"),
     "Fargate compatible task definitions do not support sharedMemorySize"},
    {FARGATE(",'linuxParameters':{'capabilities':{'add':['CHOWN']}}"),
     "CHOWN is not allowed on Fargate."},
    {FARGATE(",'stopTimeout':121"),
     "Invalid setting for container 'app'. On Fargate the 'stopTimeout' must be at most 120."},
    {FARGATE(",'logConfiguration':{'logDriver':'syslog'}"),
     "syslog is not a valid log driver. Must be one of [awslogs,splunk,awsfirelens]"},
    {FARGATE(",'logConfiguration':{'logDriver':'awslogs','options':{'awslogs-group':'g',"
             "'awslogs-region':'r'}}"),
     "Fargate requires task definition to have execution role ARN to support log driver awslogs."},
    {FARGATE_TASK("", "{'name':'a','image':'1.dkr.ecr.us-east-1.amazonaws.com/a:1'}"),
     "Fargate requires task definition to have execution role ARN to support ECR images."},
};

static void each_rule_refuses_what_breaks_it(FL_UNUSED void **state)
{
    struct fix *f = fix_new();
    for (size_t i = 0; i < FL_ARRAY_SIZE(refusals); i++) {
        if (fix_call(f, "RegisterTaskDefinition", "%s", refusals[i].request) != 400)
            print_message("# accepted: %s\n", refusals[i].request);
        assert_int_equal(f->status, 400);
        assert_string_equal(fix_text(f, "message"), refusals[i].message);
        assert_string_equal(fix_text(f, "__type"), "ClientException");
        assert_int_equal(f->records_put, 0);
    }
    fix_free(f);
}

/* Neighbours of what is refused. */
static void what_is_allowed_is_taken(FL_UNUSED void **state)
{
    struct fix *f = fix_new();
    static const char *const requests[] = {
        ONE(",'memoryReservation':64"),
        ONE(",'healthCheck':{'command':['NONE']}"),
        ONE(",'healthCheck':{'command':['CMD','x'],'interval':5,'timeout':2,'retries':1,"
            "'startPeriod':0}"),
        ONE(",'healthCheck':{'command':['CMD-SHELL','x'],'interval':300,'timeout':60,'retries':10,"
            "'startPeriod':300}"),
        ONE(",'ulimits':[{'name':'core','softLimit':5,'hardLimit':-1},"
            "{'name':'cpu','softLimit':-1,'hardLimit':-1}]"),
        ONE(",'portMappings':[{'containerPort':53},{'containerPort':53,'protocol':'udp'}]"),
        ONE(",'portMappings':[{'containerPort':80},{'containerPort':80,'hostPort':81}]"),
        ONE(",'portMappings':[{'containerPortRange':'80-89'},{'containerPortRange':'90-99'},"
            "{'containerPortRange':'80-89','protocol':'udp'}]"),
        TASK("", C(",'dependsOn':[{'containerName':'two','condition':'SUCCESS'}]") "," OTHER(
                     ",'essential':false")),
        TASK("", C(",'links':['two:db'],'volumesFrom':[{'sourceContainer':'two'}]") "," OTHER("")),
        TASK(",'cpu':'.25 vCPU','memory':'0.5GB'", C("")),
        FARGATE(",'linuxParameters':{'capabilities':{'add':['SYS_PTRACE'],'drop':['ALL']},"
                "'initProcessEnabled':true}"),
    };
    for (size_t i = 0; i < FL_ARRAY_SIZE(requests); i++)
        fix_ok(f, "RegisterTaskDefinition", "%s", requests[i]);
    fix_recover(f, false);
    fix_free(f);
}

static bool fits(struct fix *f, int cpu, int memory)
{
    return fix_call(f, "RegisterTaskDefinition",
                    "{'family':'f','networkMode':'awsvpc','requiresCompatibilities':['FARGATE'],"
                    "'cpu':'%d','memory':'%d','containerDefinitions':[{'name':'a','image':'b'}]}",
                    cpu, memory) == 200;
}

static void fargate_has_74_sizes(FL_UNUSED void **state)
{
    struct fix *f = fix_new();
    int count = 0;
    for (int cpu = 256; cpu <= 32768; cpu *= 2)
        for (int memory = 512; memory <= 131072; memory += 512)
            count += fits(f, cpu, memory);
    assert_int_equal(count, 74);
    assert_true(fits(f, 256, 512) && fits(f, 16384, 122880) && fits(f, 8192, 20480));
    assert_false(fits(f, 256, 513) || fits(f, 8192, 17408) || fits(f, 16384, 36864));
    fix_free(f);
}

static void sizes_and_compatibilities_are_given_back(FL_UNUSED void **state)
{
    struct fix *f = fix_new();
    fix_ok(f, "RegisterTaskDefinition", "%s",
           TASK(",'networkMode':'awsvpc','cpu':'1 vCPU','memory':'2 GB'",
                C(",'portMappings':[{'containerPort':80}],"
                  "'healthCheck':{'command':['CMD','x'],'retries':2}")));
    assert_string_equal(fix_text(f, "taskDefinition.cpu"), "1024");
    assert_string_equal(fix_text(f, "taskDefinition.memory"), "2048");
    assert_string_equal(fix_text(f, "taskDefinition.compatibilities.0"), "EC2");
    assert_string_equal(fix_text(f, "taskDefinition.compatibilities.1"), "FARGATE");
    assert_int_equal(fix_int(f, "taskDefinition.containerDefinitions.0.portMappings.0.hostPort"),
                     80);
    assert_int_equal(fix_int(f, "taskDefinition.containerDefinitions.0.healthCheck.interval"), 30);
    assert_int_equal(fix_int(f, "taskDefinition.containerDefinitions.0.healthCheck.timeout"), 5);
    assert_int_equal(fix_int(f, "taskDefinition.containerDefinitions.0.healthCheck.retries"), 2);
    fix_ok(f, "RegisterTaskDefinition", "%s", VPC(""));
    assert_int_equal(fix_size(f, "taskDefinition.compatibilities"), 1);
    fix_ok(f, "RegisterTaskDefinition", "%s", ONE(""));
    assert_int_equal(fix_size(f, "taskDefinition.compatibilities"), 2);
    fix_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_rule_refuses_what_breaks_it),
        cmocka_unit_test(what_is_allowed_is_taken),
        cmocka_unit_test(fargate_has_74_sizes),
        cmocka_unit_test(sizes_and_compatibilities_are_given_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
