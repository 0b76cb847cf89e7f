/* Services as a user sees them: create, keep, update, scale, delete. After each part a core built
 * from the records must agree. */
#include "core/rollout_fixture.h"

static void a_service_lives(FL_UNUSED void **state)
{
    struct fix *f = fix_ready();
    fix_ok(f, "CreateService", "{'serviceName':'s','taskDefinition':'web','desiredCount':3}");
    assert_string_equal(fix_text(f, "service.deployments.0.rolloutState"), "IN_PROGRESS");
    fix_schedule(f);
    fix_ok(f, "DescribeServices", "{'services':['s']}");
    assert_int_equal(fix_int(f, "services.0.pendingCount"), 3);
    fix_obey(f);
    f->now_ms += FL_CORE_STRICT_SETTLE_MS;
    fix_schedule(f);
    fix_ok(f, "DescribeServices", "{'services':['s']}");
    assert_int_equal(fix_int(f, "services.0.runningCount"), 3);
    assert_string_equal(fix_text(f, "services.0.deployments.0.rolloutState"), "COMPLETED");
    assert_string_equal(fix_text(f, "services.0.events.0.message"),
                        "(service s) has reached a steady state.");
    fix_recover(f, true);
    fix_ok(f, "UpdateService", "{'service':'s','forceNewDeployment':true}");
    fix_schedule(f);
    fix_obey(f);
    fix_ok(f, "DescribeServices", "{'services':['s']}");
    assert_int_equal(fix_int(f, "services.0.runningCount"), 6);
    assert_int_equal(fix_size(f, "services.0.deployments"), 2);
    f->now_ms += FL_CORE_STRICT_SETTLE_MS;
    fix_schedule(f);
    fix_obey(f);
    fix_ok(f, "DescribeServices", "{'services':['s']}");
    assert_int_equal(fix_int(f, "services.0.runningCount"), 3);
    assert_int_equal(fix_size(f, "services.0.deployments"), 1);
    fix_ok(f, "UpdateService", "{'service':'s','desiredCount':1}");
    fix_schedule(f);
    fix_obey(f);
    fix_ok(f, "DescribeServices", "{'services':['s']}");
    assert_int_equal(fix_int(f, "services.0.runningCount"), 1);
    fix_recover(f, true);
    fix_refused(f, "InvalidParameterException",
                "The service cannot be stopped while it is scaled above 0.", "DeleteService",
                "{'service':'s'}");
    fix_ok(f, "DeleteService", "{'service':'s','force':true}");
    fix_schedule(f);
    fix_obey(f);
    fix_ok(f, "DescribeServices", "{'services':['s']}");
    assert_string_equal(fix_text(f, "services.0.status"), "INACTIVE");
    fix_recover(f, false);
    fix_free(f);
}

/* A service with nothing said but what must be shows what ECS shows. */
static void every_member_is_shown(FL_UNUSED void **state)
{
    static const char *const texts[][2] = {
        {"service.serviceArn", "arn:aws:ecs:eu-central-1:000000000000:service/default/s"},
        {"service.serviceName", "s"},
        {"service.clusterArn", "arn:aws:ecs:eu-central-1:000000000000:cluster/default"},
        {"service.status", "ACTIVE"},
        {"service.launchType", "EC2"},
        {"service.taskDefinition", "arn:aws:ecs:eu-central-1:000000000000:task-definition/web:1"},
        {"service.deploymentConfiguration.strategy", "ROLLING"},
        {"service.schedulingStrategy", "REPLICA"},
        {"service.deploymentController.type", "ECS"},
        {"service.createdBy", "arn:aws:iam::000000000000:root"},
        {"service.propagateTags", "NONE"},
        {"service.availabilityZoneRebalancing", "ENABLED"},
        {"service.resourceManagementType", "CUSTOMER"},
        {"service.deployments.0.status", "PRIMARY"},
        {"service.deployments.0.launchType", "EC2"},
        {"service.deployments.0.taskDefinition",
         "arn:aws:ecs:eu-central-1:000000000000:task-definition/web:1"},
    };
    static const char *const lists[] = {
        "loadBalancers", "serviceRegistries", "events", "placementConstraints", "placementStrategy",
    };
    static const struct {
        const char *path;
        int value;
    } numbers[] = {
        {"service.desiredCount", 2},
        {"service.runningCount", 0},
        {"service.pendingCount", 0},
        {"service.deploymentConfiguration.maximumPercent", 200},
        {"service.deploymentConfiguration.minimumHealthyPercent", 100},
        {"service.deploymentConfiguration.bakeTimeInMinutes", 0},
        {"service.deployments.0.failedTasks", 0},
        {"service.deployments.0.desiredCount", 2},
    };
    struct fix *f = fix_ready();
    fix_ok(f, "CreateService", "{'serviceName':'s','taskDefinition':'web','desiredCount':2}");
    for (size_t i = 0; i < FL_ARRAY_SIZE(texts); i++)
        assert_string_equal(fix_text(f, texts[i][0]), texts[i][1]);
    for (size_t i = 0; i < FL_ARRAY_SIZE(numbers); i++)
        assert_int_equal(fix_int(f, numbers[i].path), numbers[i].value);
    for (size_t i = 0; i < FL_ARRAY_SIZE(lists); i++)
        assert_true(fl_json_is(fl_json_get(fix_at(f->reply, "service"), lists[i]), FL_JSON_ARRAY));
    assert_null(fix_at(f->reply, "service.taskSets"));
    fix_ok(f, "CreateService",
           "{'serviceName':'e','desiredCount':2,'deploymentController':{'type':'EXTERNAL'}}");
    assert_true(fl_json_is(fix_at(f->reply, "service.taskSets"), FL_JSON_ARRAY));
    assert_int_equal(fix_size(f, "service.deployments"), 0);
    assert_null(fix_at(f->reply, "service.taskDefinition"));
    fix_free(f);
}

static void creation_is_idempotent(FL_UNUSED void **state)
{
    struct fix *f = fix_ready();
    fix_ok(f, "CreateService",
           "{'serviceName':'s','taskDefinition':'web','desiredCount':1,'clientToken':'t'}");
    fix_ok(f, "CreateService",
           "{'serviceName':'s','taskDefinition':'web','desiredCount':1,'clientToken':'t'}");
    assert_int_equal(f->records_put, 0);
    assert_string_equal(fix_text(f, "service.serviceName"), "s");
    fix_refused(f, "InvalidParameterException", "Creation of service was not idempotent.",
                "CreateService",
                "{'serviceName':'s','taskDefinition':'web','desiredCount':2,'clientToken':'t'}");
    fix_refused(f, "InvalidParameterException", "Creation of service was not idempotent.",
                "CreateService", "{'serviceName':'s','taskDefinition':'web','desiredCount':1}");
    fix_recover(f, true);
    fix_ok(f, "CreateService",
           "{'serviceName':'s','taskDefinition':'web','desiredCount':1,'clientToken':'t'}");
    fix_free(f);
}

/* While it is DRAINING nobody takes its name; then anybody may, and what was is gone. */
static void a_name_comes_back(FL_UNUSED void **state)
{
    struct fix *f = fix_ready();
    fix_ok(f, "CreateService", "{'serviceName':'s','taskDefinition':'web','desiredCount':1}");
    fix_schedule(f);
    fix_obey(f);
    fix_ok(f, "DeleteService", "{'service':'s','force':true}");
    assert_string_equal(fix_text(f, "service.status"), "DRAINING");
    assert_int_equal(fix_int(f, "service.desiredCount"), 0);
    fix_schedule(f);
    fix_refused(f, "InvalidParameterException", "Unable to Start a service that is still Draining.",
                "CreateService", "{'serviceName':'s','taskDefinition':'web','desiredCount':1}");
    fix_ok(f, "DeleteService", "{'service':'s'}");
    assert_int_equal(f->records_put, 0);
    fix_obey(f);
    fix_refused(f, "ServiceNotFoundException", "Service not found.", "DeleteService",
                "{'service':'s'}");
    fix_recover(f, true);
    fix_ok(f, "CreateService", "{'serviceName':'s','taskDefinition':'web','desiredCount':2}");
    assert_int_equal(fix_size(f, "service.events"), 0);
    fix_ok(f, "ListServiceDeployments", "{'service':'s'}");
    assert_int_equal(fix_size(f, "serviceDeployments"), 1);
    fix_schedule(f);
    fix_obey(f);
    fix_recover(f, true);
    fix_free(f);
}

/* An INACTIVE service is describable for an hour. */
static void an_inactive_service_goes(FL_UNUSED void **state)
{
    struct fix *f = fix_ready();
    fix_ok(f, "CreateService", "{'serviceName':'s','taskDefinition':'web','desiredCount':0}");
    fix_ok(f, "DeleteService", "{'service':'s'}");
    fix_schedule(f);
    f->now_ms += 60 * 60 * 1000 - 1;
    fix_schedule(f);
    fix_ok(f, "DescribeServices", "{'services':['s']}");
    assert_string_equal(fix_text(f, "services.0.status"), "INACTIVE");
    assert_string_equal(fix_id(fix_text(f, "services.0.taskDefinition")), "web:1");
    fix_recover(f, true);
    f->now_ms += 2;
    fix_schedule(f);
    fix_ok(f, "DescribeServices", "{'services':['s']}");
    assert_string_equal(fix_text(f, "failures.0.reason"), "MISSING");
    assert_string_equal(fix_text(f, "failures.0.arn"),
                        "arn:aws:ecs:eu-central-1:000000000000:service/default/s");
    assert_int_equal(fix_find_record(f, "m/"), fix_find_record(f, "s"));
    fix_recover(f, true);
    fix_free(f);
}

/* What changes the tasks begins a deployment; what does not, none. */
static void updates_begin_deployments_or_not(FL_UNUSED void **state)
{
    static const struct {
        const char *members;
        bool begins;
    } rows[] = {
        {"'desiredCount':2", false},
        {"'taskDefinition':'web'", false},
        {"'deploymentConfiguration':{'minimumHealthyPercent':50}", false},
        {"'healthCheckGracePeriodSeconds':30", false},
        {"'enableECSManagedTags':true,'propagateTags':'SERVICE'", false},
        {"'placementConstraints':[],'placementStrategy':[]", false},
        {"'loadBalancers':[],'serviceRegistries':[],'capacityProviderStrategy':[]", false},
        {"'availabilityZoneRebalancing':'DISABLED'", false},
        {"'forceNewDeployment':false", false},
        {"'forceNewDeployment':true", true},
        {"'placementStrategy':[{'type':'binpack','field':'cpu'}]", true},
        {"'placementStrategy':[{'type':'binpack','field':'cpu'}]", false},
        {"'placementStrategy':[]", true},
        {"'placementStrategy':[{}]", false}, /* the other way to say so */
        {"'placementConstraints':[{'type':'distinctInstance'}]", true},
        {"'placementConstraints':[]", true},
        {"'taskDefinition':'other'", true},
        {"'taskDefinition':'other:1','desiredCount':3", false},
    };
    struct fix *f = fix_ready();
    char before[64];
    fix_register(f, "other", 100, 50, "");
    fix_ok(f, "CreateService", "{'serviceName':'s','taskDefinition':'web','desiredCount':1}");
    for (size_t i = 0; i < FL_ARRAY_SIZE(rows); i++) {
        (void)snprintf(before, sizeof(before), "%s", fix_text(f, "service.deployments.0.id"));
        f->now_ms += 1000;
        fix_ok(f, "UpdateService", "{'service':'s',%s}", rows[i].members);
        bool has_begun = strcmp(before, fix_text(f, "service.deployments.0.id")) != 0;
        if (has_begun != rows[i].begins)
            print_message("# %s\n", rows[i].members);
        assert_int_equal(has_begun, rows[i].begins);
    }
    assert_int_equal(fix_int(f, "service.desiredCount"), 3);
    assert_int_equal(fix_int(f, "service.deploymentConfiguration.minimumHealthyPercent"), 50);
    assert_int_equal(fix_int(f, "service.deploymentConfiguration.maximumPercent"), 200);
    assert_int_equal(fix_int(f, "service.healthCheckGracePeriodSeconds"), 30);
    fix_recover(f, true);
    fix_free(f);
}

static void deletion_waits_for_deployments(FL_UNUSED void **state)
{
    struct fix *f = fix_ready();
    fix_ok(f, "CreateService", "{'serviceName':'s','taskDefinition':'web','desiredCount':1}");
    fix_schedule(f);
    fix_obey(f);
    fix_ok(f, "UpdateService", "{'service':'s','desiredCount':0,'forceNewDeployment':true}");
    fix_refused(f, "InvalidParameterException",
                "The service cannot be stopped while deployments are active.", "DeleteService",
                "{'service':'s'}");
    fix_schedule(f);
    fix_obey(f);
    fix_ok(f, "DeleteService", "{'service':'s'}");
    fix_free(f);
}

static void services_are_listed(FL_UNUSED void **state)
{
    struct fix *f = fix_ready();
    char token[200];
    for (int i = 0; i < 12; i++)
        fix_ok(f, "CreateService",
               "{'serviceName':'s%02d','taskDefinition':'web','schedulingStrategy':'%s'%s}", i,
               i % 4 ? "REPLICA" : "DAEMON", i % 4 ? ",'desiredCount':0" : "");
    fix_ok(f, "ListServices", "{}");
    assert_int_equal(fix_size(f, "serviceArns"), 10);
    assert_string_equal(fix_text(f, "serviceArns.0"),
                        "arn:aws:ecs:eu-central-1:000000000000:service/default/s00");
    (void)snprintf(token, sizeof(token), "%s", fix_text(f, "nextToken"));
    fix_ok(f, "ListServices", "{'nextToken':'%s'}", token);
    assert_int_equal(fix_size(f, "serviceArns"), 2);
    assert_null(fix_at(f->reply, "nextToken"));
    fix_ok(f, "ListServices", "{'schedulingStrategy':'DAEMON'}");
    assert_int_equal(fix_size(f, "serviceArns"), 3);
    fix_ok(f, "ListServices", "{'launchType':'FARGATE'}");
    assert_int_equal(fix_size(f, "serviceArns"), 0);
    fix_ok(f, "ListServices", "{'resourceManagementType':'ECS'}");
    assert_int_equal(fix_size(f, "serviceArns"), 0);
    fix_refused(f, "InvalidParameterException", "maxResults should be between 1 and 100.",
                "ListServices", "{'maxResults':101}");
    fix_refused(f, "NamespaceNotFoundException", "The namespace 'n' was not found.",
                "ListServicesByNamespace", "{'namespace':'n'}");
    fix_refused(f, "InvalidParameterException", "Invalid token.", "ListServicesByNamespace",
                "{'namespace':'n','nextToken':'x'}");
    fix_ok(f, "DeleteService", "{'service':'s01'}");
    fix_schedule(f);
    fix_ok(f, "ListServices", "{'maxResults':100}");
    assert_int_equal(fix_size(f, "serviceArns"), 11);
    fix_refused(f, "InvalidParameterException", "Services cannot be empty.", "DescribeServices",
                "{'services':[]}");
    fix_refused(f, "InvalidParameterException", "At most 10 services can be described at a time.",
                "DescribeServices", "{'services':['a','b','c','d','e','f','g','h','i','j','k']}");
    fix_recover(f, false);
    fix_free(f);
}

static void clusters_know_their_services(FL_UNUSED void **state)
{
    struct fix *f = fix_ready();
    fix_ok(f, "CreateCluster", "{'clusterName':'c'}");
    fix_ok(f, "CreateService",
           "{'cluster':'c','serviceName':'a','taskDefinition':'web','desiredCount':0}");
    fix_ok(f, "DescribeClusters", "{'clusters':['c'],'include':['STATISTICS']}");
    assert_int_equal(fix_int(f, "clusters.0.activeServicesCount"), 1);
    assert_string_equal(fix_text(f, "clusters.0.statistics.4.name"), "activeEC2ServiceCount");
    assert_string_equal(fix_text(f, "clusters.0.statistics.4.value"), "1");
    fix_refused(f, "ClusterContainsServicesException",
                "The Cluster cannot be deleted while Services are active.", "DeleteCluster",
                "{'cluster':'c'}");
    fix_ok(f, "DeleteService", "{'cluster':'c','service':'a'}");
    fix_ok(f, "DescribeClusters", "{'clusters':['c'],'include':['STATISTICS']}");
    assert_int_equal(fix_int(f, "clusters.0.activeServicesCount"), 0);
    assert_string_equal(fix_text(f, "clusters.0.statistics.6.name"), "drainingEC2ServiceCount");
    assert_string_equal(fix_text(f, "clusters.0.statistics.6.value"), "1");
    fix_schedule(f);
    fix_ok(f, "DeleteCluster", "{'cluster':'c'}");
    fix_recover(f, true);
    f->now_ms += 60 * 60 * 1000 + 1;
    fix_schedule(f);
    fix_recover(f, true);
    fix_free(f);
}

static void tags_are_kept_and_handed_on(FL_UNUSED void **state)
{
    static const char arn[] = "arn:aws:ecs:eu-central-1:000000000000:service/default/s";
    struct fix *f = fix_ready();
    fix_ok(f, "CreateService",
           "{'serviceName':'s','taskDefinition':'web','desiredCount':1,'enableECSManagedTags':true,"
           "'propagateTags':'SERVICE','tags':[{'key':'a','value':'1'}]}");
    fix_ok(f, "TagResource", "{'resourceArn':'%s','tags':[{'key':'b','value':'2'}]}", arn);
    fix_ok(f, "ListTagsForResource", "{'resourceArn':'%s'}", arn);
    assert_int_equal(fix_size(f, "tags"), 2);
    fix_ok(f, "UntagResource", "{'resourceArn':'%s','tagKeys':['a']}", arn);
    fix_schedule(f);
    fix_ok(f, "ListTasks", "{'serviceName':'s'}");
    fix_ok(f, "DescribeTasks", "{'tasks':['%s'],'include':['TAGS']}", fix_text(f, "taskArns.0"));
    assert_int_equal(fix_size(f, "tasks.0.tags"), 3);
    assert_string_equal(fix_text(f, "tasks.0.tags.0.key"), "b");
    assert_string_equal(fix_text(f, "tasks.0.tags.1.key"), "aws:ecs:clusterName");
    assert_string_equal(fix_text(f, "tasks.0.tags.2.key"), "aws:ecs:serviceName");
    assert_string_equal(fix_text(f, "tasks.0.tags.2.value"), "s");
    fix_ok(f, "DescribeServices", "{'services':['s']}");
    assert_null(fix_at(f->reply, "services.0.tags"));
    fix_ok(f, "DescribeServices", "{'services':['s'],'include':['TAGS']}");
    assert_int_equal(fix_size(f, "services.0.tags"), 1);
    fix_recover(f, true);
    fix_free(f);
}

/* A task that nobody's service started cannot pass for one. */
static void tasks_belong_to_services(FL_UNUSED void **state)
{
    struct fix *f = fix_ready();
    fix_ok(f, "CreateService", "{'serviceName':'s','taskDefinition':'web','desiredCount':1}");
    fix_schedule(f);
    fix_refused(f, "InvalidParameterException",
                "The group 'service:s' is not valid: groups that begin with 'service:' are "
                "reserved for the tasks of services.",
                "RunTask", "{'taskDefinition':'web','group':'service:s'}");
    fix_ok(f, "RunTask", "{'taskDefinition':'web','group':'s'}");
    fix_ok(f, "ListTasks", "{'serviceName':'s'}");
    assert_int_equal(fix_size(f, "taskArns"), 1);
    fix_ok(f, "ListTasks",
           "{'serviceName':'arn:aws:ecs:eu-central-1:000000000000:service/default/s'}");
    assert_int_equal(fix_size(f, "taskArns"), 1);
    fix_ok(f, "DescribeTasks", "{'tasks':['%s']}", fix_text(f, "taskArns.0"));
    assert_string_equal(fix_text(f, "tasks.0.group"), "service:s");
    assert_true(strncmp(fix_text(f, "tasks.0.startedBy"), "ecs-svc/", 8) == 0);
    fix_refused(f, "ServiceNotFoundException", "Service not found.", "ListTasks",
                "{'serviceName':'no'}");
    fix_free(f);
}

/* Who stops everything wants nothing started meanwhile. */
static void a_held_scheduler_rests(FL_UNUSED void **state)
{
    struct fix *f = fix_ready();
    struct fl_core_event hold = {.kind = FL_CORE_EVENT_HOLD, .request_id = 7, .is_held = true};
    fix_ok(f, "CreateService", "{'serviceName':'s','taskDefinition':'web','desiredCount':1}");
    fix_step(f, &hold);
    assert_int_equal(f->status, 200);
    fix_timer(f);
    assert_int_equal(f->records_put, 0);
    assert_true(fl_core_next_due(f->core) > f->now_ms);
    hold.is_held = false;
    fix_step(f, &hold);
    fix_schedule(f);
    fix_ok(f, "ListTasks", "{'serviceName':'s'}");
    assert_int_equal(fix_size(f, "taskArns"), 1);
    fix_free(f);
}

/* A definition that a service runs may be deregistered and deleted: it stays until no revision
 * names it. */
static void a_definition_in_use_stays(FL_UNUSED void **state)
{
    struct fix *f = fix_ready();
    fix_ok(f, "CreateService", "{'serviceName':'s','taskDefinition':'web','desiredCount':1}");
    fix_ok(f, "DeregisterTaskDefinition", "{'taskDefinition':'web:1'}");
    fix_ok(f, "DeleteTaskDefinitions", "{'taskDefinitions':['web:1']}");
    f->now_ms += FL_CORE_DELETED_DEFINITION_MS * 2;
    fix_schedule(f);
    fix_obey(f);
    fix_recover(f, true);
    fix_ok(f, "UpdateService", "{'service':'s','desiredCount':2}");
    fix_schedule(f);
    fix_obey(f);
    fix_ok(f, "DescribeServices", "{'services':['s']}");
    assert_int_equal(fix_int(f, "services.0.runningCount"), 2);
    fix_ok(f, "DeleteService", "{'service':'s','force':true}");
    fix_schedule(f);
    fix_obey(f);
    f->now_ms += 2 * 60 * 60 * 1000 + FL_CORE_DELETED_DEFINITION_MS;
    fix_schedule(f);
    fix_recover(f, true);
    assert_int_equal(fix_call(f, "DescribeTaskDefinition", "{'taskDefinition':'web:1'}"), 400);
    fix_free(f);
}

/* However often a client asks, the record stays small: what came of earlier wishes goes first. */
static void deployments_are_bounded(FL_UNUSED void **state)
{
    struct fix *f = fix_ready();
    fix_ok(f, "CreateService", "{'serviceName':'s','taskDefinition':'web','desiredCount':1}");
    for (int i = 1; i < 100; i++)
        fix_ok(f, "UpdateService", "{'service':'s','forceNewDeployment':true}");
    fix_refused(f, "InvalidParameterException",
                "The service has 100 deployments already: tasks of earlier ones must stop before "
                "another one can begin.",
                "UpdateService", "{'service':'s','forceNewDeployment':true}");
    fix_ok(f, "UpdateService", "{'service':'s','desiredCount':2}");
    fix_schedule(f);
    fix_ok(f, "UpdateService", "{'service':'s','forceNewDeployment':true}");
    fix_recover(f, false);
    fix_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_service_lives),
        cmocka_unit_test(deployments_are_bounded),
        cmocka_unit_test(every_member_is_shown),
        cmocka_unit_test(creation_is_idempotent),
        cmocka_unit_test(a_name_comes_back),
        cmocka_unit_test(an_inactive_service_goes),
        cmocka_unit_test(updates_begin_deployments_or_not),
        cmocka_unit_test(deletion_waits_for_deployments),
        cmocka_unit_test(services_are_listed),
        cmocka_unit_test(clusters_know_their_services),
        cmocka_unit_test(tags_are_kept_and_handed_on),
        cmocka_unit_test(tasks_belong_to_services),
        cmocka_unit_test(a_held_scheduler_rests),
        cmocka_unit_test(a_definition_in_use_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
