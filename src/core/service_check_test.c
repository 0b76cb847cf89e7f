/* What CreateService and UpdateService refuse. */
#include "core/core_fixture.h"

static struct fix *fix_ready(void)
{
    char instance[64];
    struct fix *f = fix_new();
    fix_ok(f, "CreateCluster", "{}");
    fix_add_instance(f, "default", 1024, 1000, "{'name':'rack','value':'r1'}", instance);
    fix_register(f, "web", 100, 50, "");
    return f;
}

struct row {
    const char *members;
    const char *words;
};

static const struct row invalid[] = {
    {"'serviceName':''", "Service name cannot be empty."},
    {"'serviceName':'a b'",
     "Service name 'a b' is not valid: up to 255 letters (uppercase and lowercase), numbers, "
     "underscores, and hyphens are allowed."},
    {"'clientToken':'0123456789012345678901234567890123456'", "idempotency token longer than 36."},
    {"'desiredCount':null", "DesiredCount is missing"},
    {"'desiredCount':-1", "DesiredCount can not be lesser than 0"},
    {"'desiredCount':5001", "DesiredCount can not be greater than 5000"},
    {"'schedulingStrategy':'DAEMON'",
     "The daemon scheduling strategy does not support a desired count for services. Remove the "
     "desired count value and try again"},
    {"'schedulingStrategy':'DAEMON','desiredCount':null,"
     "'placementStrategy':[{'type':'random'}]",
     "The daemon scheduling strategy does not support placement strategies. Remove the placement "
     "strategy and try again"},
    {"'schedulingStrategy':'DAEMON','desiredCount':null,'launchType':'FARGATE'",
     "The daemon scheduling strategy does not support the FARGATE launch type. Change the launch "
     "type and try again"},
    {"'schedulingStrategy':'DAEMON','desiredCount':null,"
     "'deploymentConfiguration':{'maximumPercent':150}",
     "The daemon scheduling strategy does not support values above 100 for maximumPercent on a "
     "deployment configuration. Change the maximumPercent value to 100, and try again"},
    {"'schedulingStrategy':'DAEMON','desiredCount':null,"
     "'capacityProviderStrategy':[{'capacityProvider':'p'}]",
     "Specifying a capacity provider strategy is not supported when you create a service using "
     "the DAEMON scheduling strategy."},
    {"'launchType':'EC2','capacityProviderStrategy':[{'capacityProvider':'p'}]",
     "Specifying both a launch type and capacity provider strategy is not supported. Remove one "
     "and try again."},
    {"'launchType':'FARGATE'", "Task definition does not support launch_type FARGATE."},
    {"'platformVersion':'1.4.0'",
     "The platform version must be null when specifying an EC2 launch type."},
    {"'deploymentConfiguration':{'maximumPercent':100}",
     "Both maximumPercent and minimumHealthyPercent cannot be 100 as this will block "
     "deployments."},
    {"'deploymentConfiguration':{'maximumPercent':0,'minimumHealthyPercent':0}",
     "Both maximumPercent and minimumHealthyPercent cannot be 0 as this will block deployments."},
    {"'deploymentConfiguration':{'maximumPercent':99,'minimumHealthyPercent':0}",
     "maximumPercent should be at least 100."},
    {"'deploymentConfiguration':{'minimumHealthyPercent':-1}",
     "minimumHealthyPercent should be between 0 and 10000."},
    {"'deploymentConfiguration':{'minimumHealthyPercent':101}",
     "minimumHealthyPercent should be between 0 and 100."},
    {"'deploymentConfiguration':{'maximumPercent':2147483647}",
     "maximumPercent should be between 0 and 10000."},
    {"'deploymentConfiguration':{'deploymentCircuitBreaker':{'enable':true,'rollback':true,"
     "'thresholdConfiguration':{'type':'BOUNDED_PERCENT','value':101}}}",
     "The value of the deploymentCircuitBreaker's thresholdConfiguration should be between 1 and "
     "100."},
    {"'deploymentConfiguration':{'deploymentCircuitBreaker':{'enable':true,'rollback':true,"
     "'thresholdConfiguration':{'type':'COUNT','value':0}}}",
     "The value of the deploymentCircuitBreaker's thresholdConfiguration should be between 1 and "
     "5000."},
    {"'deploymentConfiguration':{'bakeTimeInMinutes':1441}",
     "bakeTimeInMinutes should be between 0 and 1440."},
    {"'deploymentConfiguration':{'earlySuccessCriteria':{'enable':true,'healthyPercent':100}}",
     "earlySuccessCriteria needs both healthyPercent and sourceServiceRevisionCleanup."},
    {"'deploymentConfiguration':{'minimumHealthyPercent':50,'earlySuccessCriteria':{'enable':true,"
     "'healthyPercent':49,'sourceServiceRevisionCleanup':'BLOCKING'}}",
     "healthyPercent should be between minimumHealthyPercent and 100."},
    {"'deploymentConfiguration':{'strategy':'BLUE_GREEN','earlySuccessCriteria':{'enable':true,"
     "'healthyPercent':100,'sourceServiceRevisionCleanup':'BLOCKING'}}",
     "earlySuccessCriteria is for the ROLLING strategy only."},
    {"'deploymentConfiguration':{'strategy':'LINEAR','linearConfiguration':{'stepPercent':2.9}}",
     "stepPercent should be a multiple of 0.1 from 3.0 to 100.0."},
    {"'deploymentConfiguration':{'strategy':'LINEAR','linearConfiguration':{'stepPercent':10.05}}",
     "stepPercent should be a multiple of 0.1 from 3.0 to 100.0."},
    {"'deploymentConfiguration':{'strategy':'LINEAR',"
     "'linearConfiguration':{'stepBakeTimeInMinutes':-1}}",
     "stepBakeTimeInMinutes should be between 0 and 1440."},
    {"'deploymentConfiguration':{'strategy':'CANARY','canaryConfiguration':{'canaryPercent':0}}",
     "canaryPercent should be a multiple of 0.1 from 0.1 to 100.0."},
    {"'deploymentConfiguration':{'strategy':'CANARY',"
     "'canaryConfiguration':{'canaryPercent':1e300}}",
     "canaryPercent should be a multiple of 0.1 from 0.1 to 100.0."},
    {"'deploymentConfiguration':{'strategy':'BLUE_GREEN','lifecycleHooks':[{'targetType':'PAUSE',"
     "'lifecycleStages':[]}]}",
     "A lifecycle hook needs at least one lifecycle stage."},
    {"'deploymentConfiguration':{'strategy':'BLUE_GREEN','lifecycleHooks':[{'targetType':'PAUSE',"
     "'lifecycleStages':['PRODUCTION_TRAFFIC_SHIFT']}]}",
     "A lifecycle hook of type PAUSE cannot be configured at PRODUCTION_TRAFFIC_SHIFT."},
    {"'healthCheckGracePeriodSeconds':-1",
     "healthCheckGracePeriodSeconds should be between 0 and 2147483647."},
    {"'placementStrategy':[{'type':'spread','field':'nonsense'}]",
     "'nonsense' is not a valid field for a placement strategy of type spread."},
    {"'placementStrategy':[{'type':'random'},{'type':'random'},{'type':'random'},"
     "{'type':'random'},{'type':'random'},{'type':'random'}]",
     "Too many placement strategies: at most 5."},
    {"'networkConfiguration':{'awsvpcConfiguration':{'subnets':['a']}}",
     "Network Configuration is not valid for the given networkMode of this task definition."},
    {"'taskDefinition':'vpc'",
     "Network Configuration must be provided when networkMode 'awsvpc' is specified."},
    {"'taskDefinition':'vpc','networkConfiguration':{'awsvpcConfiguration':{'subnets':[]}}",
     "subnets can not be empty."},
    {"'availabilityZoneRebalancing':'ENABLED',"
     "'deploymentConfiguration':{'maximumPercent':100,'minimumHealthyPercent':0}",
     "Availability Zone Rebalancing does not support maximumPercent <= 100%."},
    {"'availabilityZoneRebalancing':'ENABLED','placementStrategy':[{'type':'random'}]",
     "Availability Zone Rebalancing does not support a first placement strategy other than "
     "spread over attribute:ecs.availability-zone."},
    {"'deploymentController':{'type':'EXTERNAL'}",
     "taskDefinition is not valid for a service with the EXTERNAL deployment controller: it is a "
     "matter of its task sets."},
    {"'deploymentController':{'type':'EXTERNAL'},'schedulingStrategy':'DAEMON',"
     "'desiredCount':null,'taskDefinition':''",
     "The daemon scheduling strategy does not support the EXTERNAL deployment controller. Change "
     "the deployment controller and try again"},
    {"'tags':[{'key':'aws:x','value':'1'}]",
     "The tag key 'aws:x' is not valid: keys that begin with 'aws:' are reserved."},
};

static const struct row not_implemented[] = {
    {"'capacityProviderStrategy':[{'capacityProvider':'p'}]",
     "capacityProviderStrategy is not implemented yet."},
    {"'loadBalancers':[{'targetGroupArn':'t'}]", "loadBalancers is not implemented yet."},
    {"'serviceRegistries':[{'registryArn':'t'}]", "serviceRegistries is not implemented yet."},
    {"'serviceConnectConfiguration':{'enabled':true}",
     "serviceConnectConfiguration is not implemented yet."},
    {"'volumeConfigurations':[{'name':'v'}]", "volumeConfigurations is not implemented yet."},
    {"'vpcLatticeConfigurations':[{'roleArn':'r','targetGroupArn':'t','portName':'p'}]",
     "vpcLatticeConfigurations is not implemented yet."},
    {"'gatewayConnectors':[{'portName':'p'}]", "gatewayConnectors is not implemented yet."},
    {"'enableExecuteCommand':true", "enableExecuteCommand is not implemented yet."},
    {"'role':'r'", "role is not implemented yet."},
    {"'deploymentConfiguration':{'alarms':{'alarmNames':['a'],'rollback':true,'enable':true}}",
     "deploymentConfiguration.alarms is not implemented yet."},
    {"'deploymentConfiguration':{'strategy':'BLUE_GREEN','lifecycleHooks':[{"
     "'hookTargetArn':'arn:aws:lambda:eu-central-1:000000000000:function:f',"
     "'lifecycleStages':['PRE_SCALE_UP']}]}",
     "Lifecycle hooks of type AWS_LAMBDA are not implemented yet, unless hookTargetArn is the ARN "
     "of a task definition, which is then run."},
    {"'deploymentController':{'type':'CODE_DEPLOY'}",
     "The deployment controller CODE_DEPLOY is not implemented yet."},
    {"'taskDefinition':'fargate','launchType':'FARGATE',"
     "'networkConfiguration':{'awsvpcConfiguration':{'subnets':['a']}}",
     "The launch type FARGATE is not implemented yet."},
    {"'launchType':'EXTERNAL'", "The launch type EXTERNAL is not implemented yet."},
};

/* The first of two members of the same name counts for the reader, so what a row says comes
 * first. */
static void refuse_row(struct fix *f, const char *code, const struct row *row)
{
    static const char *const usual[][2] = {
        {"'serviceName'", "'serviceName':'s'"},
        {"'taskDefinition'", "'taskDefinition':'web'"},
        {"'desiredCount'", "'desiredCount':1"},
    };
    char members[2000];
    int n = snprintf(members, sizeof(members), "%s", row->members);
    for (size_t i = 0; i < FL_ARRAY_SIZE(usual); i++)
        if (!strstr(row->members, usual[i][0]))
            n += snprintf(members + n, sizeof(members) - (size_t)n, ",%s", usual[i][1]);
    fix_refused(f, code, row->words, "CreateService", "{%s}", members);
}

static void create_refuses(FL_UNUSED void **state)
{
    struct fix *f = fix_ready();
    fix_ok(f, "RegisterTaskDefinition",
           "{'family':'vpc','networkMode':'awsvpc','containerDefinitions':[{'name':'a',"
           "'image':'i','memory':10}]}");
    fix_ok(f, "RegisterTaskDefinition",
           "{'family':'fargate','networkMode':'awsvpc','requiresCompatibilities':['FARGATE'],"
           "'cpu':'256','memory':'512','containerDefinitions':[{'name':'a','image':'i'}]}");
    for (size_t i = 0; i < FL_ARRAY_SIZE(invalid); i++)
        refuse_row(f, "InvalidParameterException", &invalid[i]);
    for (size_t i = 0; i < FL_ARRAY_SIZE(not_implemented); i++)
        refuse_row(f, "ClientException", &not_implemented[i]);
    fix_refused(f, "ClusterNotFoundException", "Cluster not found.", "CreateService",
                "{'cluster':'no','serviceName':'s','taskDefinition':'web','desiredCount':1}");
    fix_refused(f, "ClientException", "TaskDefinition not found.", "CreateService",
                "{'serviceName':'s','taskDefinition':'no','desiredCount':1}");
    fix_refused(f, "ClientException", "TaskDefinition not found.", "CreateService",
                "{'serviceName':'s','desiredCount':1}");
    fix_ok(f, "DeregisterTaskDefinition", "{'taskDefinition':'web:1'}");
    fix_refused(f, "ClientException", "TaskDefinition is inactive", "CreateService",
                "{'serviceName':'s','taskDefinition':'web:1','desiredCount':1}");
    fix_free(f);
}

/* An expression is refused when it is given, not when a task is to be placed. */
static void expressions_are_read_at_once(FL_UNUSED void **state)
{
    struct fix *f = fix_ready();
    assert_int_equal(fix_call(f, "CreateService",
                              "{'serviceName':'s','taskDefinition':'web','desiredCount':1,"
                              "'placementConstraints':[{'type':'memberOf','expression':'a ==='}]}"),
                     400);
    assert_string_equal(fix_text(f, "__type"), "InvalidParameterException");
    fix_ok(f, "CreateService", "{'serviceName':'s','taskDefinition':'web','desiredCount':1}");
    assert_int_equal(fix_call(f, "UpdateService",
                              "{'service':'s','placementConstraints':[{'type':'memberOf',"
                              "'expression':'a ==='}]}"),
                     400);
    fix_free(f);
}

static void update_refuses(FL_UNUSED void **state)
{
    struct fix *f = fix_ready();
    fix_ok(f, "CreateService", "{'serviceName':'s','taskDefinition':'web','desiredCount':1}");
    fix_ok(f, "CreateService",
           "{'serviceName':'d','taskDefinition':'web','schedulingStrategy':'DAEMON'}");
    fix_ok(f, "CreateService",
           "{'serviceName':'e','desiredCount':1,'deploymentController':{'type':'EXTERNAL'}}");
    fix_refused(f, "ServiceNotFoundException", "Service not found.", "UpdateService",
                "{'service':'no','desiredCount':1}");
    fix_refused(f, "InvalidParameterException",
                "The daemon scheduling strategy does not support a desired count for services. "
                "Remove the desired count value and try again",
                "UpdateService", "{'service':'d','desiredCount':1}");
    fix_refused(f, "InvalidParameterException", "DesiredCount can not be lesser than 0",
                "UpdateService", "{'service':'s','desiredCount':-1}");
    fix_refused(f, "InvalidParameterException",
                "Both maximumPercent and minimumHealthyPercent cannot be 100 as this will block "
                "deployments.",
                "UpdateService",
                "{'service':'s','deploymentConfiguration':{'maximumPercent':100}}");
    fix_refused(f, "ClientException", "loadBalancers is not implemented yet.", "UpdateService",
                "{'service':'s','loadBalancers':[{'targetGroupArn':'t'}]}");
    fix_refused(f, "ClientException", "TaskDefinition not found.", "UpdateService",
                "{'service':'s','taskDefinition':'no'}");
    fix_refused(f, "ClientException",
                "Changing the deployment controller of a service is not implemented yet.",
                "UpdateService", "{'service':'s','deploymentController':{'type':'EXTERNAL'}}");
    fix_refused(f, "InvalidParameterException",
                "taskDefinition is not valid for a service with the EXTERNAL deployment "
                "controller: it is a matter of its task sets.",
                "UpdateService", "{'service':'e','taskDefinition':'web'}");
    fix_refused(f, "InvalidParameterException",
                "forceNewDeployment is not valid for a service with the EXTERNAL deployment "
                "controller: it is a matter of its task sets.",
                "UpdateService", "{'service':'e','forceNewDeployment':true}");
    fix_refused(f, "InvalidParameterException",
                "A service with the EXTERNAL deployment controller cannot have a maximumPercent "
                "other than 200 or a minimumHealthyPercent other than 100.",
                "UpdateService",
                "{'service':'e','deploymentConfiguration':{'minimumHealthyPercent':50}}");
    fix_ok(f, "UpdateService", "{'service':'e','desiredCount':3}");
    assert_int_equal(fix_int(f, "service.desiredCount"), 3);
    fix_ok(f, "DeleteService", "{'service':'s','force':true}");
    fix_refused(f, "ServiceNotActiveException", "Service was not ACTIVE.", "UpdateService",
                "{'service':'s','desiredCount':1}");
    fix_recover(f, false);
    fix_free(f);
}

/* Unset means: where it is possible. */
static void rebalancing_has_a_default(FL_UNUSED void **state)
{
    static const struct row rows[] = {
        {"'desiredCount':0", "ENABLED"},
        {"'desiredCount':0,'availabilityZoneRebalancing':'DISABLED'", "DISABLED"},
        {"'schedulingStrategy':'DAEMON'", "DISABLED"},
        {"'desiredCount':0,'deploymentConfiguration':{'maximumPercent':100,"
         "'minimumHealthyPercent':0}",
         "DISABLED"},
        {"'desiredCount':0,'placementStrategy':[{'type':'binpack','field':'cpu'}]", "DISABLED"},
        {"'desiredCount':0,'placementStrategy':[{'type':'spread',"
         "'field':'attribute:ecs.availability-zone'},{'type':'binpack','field':'cpu'}]",
         "ENABLED"},
    };
    struct fix *f = fix_ready();
    for (size_t i = 0; i < FL_ARRAY_SIZE(rows); i++) {
        fix_ok(f, "CreateService", "{'serviceName':'s%zu','taskDefinition':'web',%s}", i,
               rows[i].members);
        assert_string_equal(fix_text(f, "service.availabilityZoneRebalancing"), rows[i].words);
    }
    fix_ok(f, "CreateService",
           "{'serviceName':'e','desiredCount':1,'deploymentController':{'type':'EXTERNAL'}}");
    assert_string_equal(fix_text(f, "service.availabilityZoneRebalancing"), "DISABLED");
    /* What was left to the default is kept, so this contradicts it. */
    fix_refused(f, "InvalidParameterException",
                "Availability Zone Rebalancing does not support maximumPercent <= 100%.",
                "UpdateService",
                "{'service':'s0','deploymentConfiguration':{'maximumPercent':100,"
                "'minimumHealthyPercent':50}}");
    fix_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(create_refuses),
        cmocka_unit_test(expressions_are_read_at_once),
        cmocka_unit_test(update_refuses),
        cmocka_unit_test(rebalancing_has_a_default),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
